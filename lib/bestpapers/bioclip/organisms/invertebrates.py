"""Body plans of butterflies, beetles, bees, spiders and snails."""

from __future__ import annotations

import math

from bestpapers.bioclip.organisms.canvas import (
    MOTTLE,
    NONE,
    PATCH,
    RAYS,
    SPIRAL,
    SPOTS,
    STRIPES,
    Point,
    blob,
    chain,
    oval,
    seg,
)
from bestpapers.bioclip.organisms.sketch import (
    BLACK,
    BONE,
    TAU,
    WHITE,
    Look,
    Sketch,
    bound,
    count,
    dim,
    grow,
    leaf,
    mirrored,
    mix,
    opts,
    place,
    spot,
)

# --------------------------------------------------------------------------------------------------------- butterflies


def _butterfly(s: Sketch, *, tails: bool) -> None:
    """Seen from above with open wings; `tails`: swallowtails, with dark bands and a blue hem on the hind wing."""
    t, w = s.t, s.w
    wide, tall = grow(1.0, t.elongation, 0.14), grow(1.0, t.bulk, 0.11)
    hem = 0.13 * grow(1.0, t.contrast, 0.46)
    tail = grow(0.34, t.limbs, 0.39) if tails else 0.0
    dark = dim(s.second, 0.55)

    rays = opts(pattern=RAYS, ink=dark, scale=round(grow(26, t.scale, 0.39)), duty=0.3)
    veins = s.marks(dark, 6.5, 0.35, 0.4) if s.pattern == SPOTS else rays if s.pattern == RAYS else {}
    veins |= opts(amount=0.8)
    lift = 0.06 * w[2]
    hind = [(0.03, 0.10), (0.38, 0.12), (0.70, 0.02), (0.78, -0.30), (0.62, -0.60), (0.26, -0.70), (0.10, -0.42)]
    fore = [(0.03, 0.24), (0.22, 0.48), (0.62, 0.80 + lift), (0.96, 0.86 + lift), (0.94, 0.55 + lift)]
    fore += [(0.80, 0.20), (0.55, 0.04), (0.25, 0.0)] if tails else [(0.74, 0.28), (0.70, 0.06), (0.30, 0.0)]
    point = [(0.52, -0.68), (0.54, -0.66 - tail), (0.46, -0.70 - tail), (0.38, -0.72)] if tails else []

    for side in (-1, 1):
        reach = side * wide * (1.0 - 0.08 * abs(w[0]) + 0.05 * side * w[1])
        veins |= opts(frame=(0.06 * side, 0.16, 0.0)) if veins.get("pattern") == RAYS else {}

        def wing(points: list[Point], inset: float = 0.0, reach: float = reach) -> list[Point]:
            x, y = sum(p[0] for p in points) / len(points), sum(p[1] for p in points) / len(points)
            return [(reach * (u + inset * (x - u)), tall * (v + inset * (y - v))) for u, v in points]

        s.part(blob(wing([*hind[:5], *point, *hind[5:]]), 4), dark, bevel=0.05)
        s.part(blob(wing(hind, hem + 0.06), 4), s.main, clip=True, rim=0, **veins)
        if tails:  # a row of blue in the hem, then the red eye near the tail
            row = [(0.42 + 0.30 * math.cos(a), -0.24 + 0.36 * math.sin(a)) for a in (-0.15, -0.57, -0.99, -1.41)]
            s.part([oval(x, y, 0.06, 0.05) for x, y in wing(row)], s.accent, clip=True, rim=0, soft=0.03)
            eye = wing([(0.25, -0.60)])[0]
            s.part(oval(*eye, 0.075, 0.075), (0.85, 0.22, 0.12), clip=True, rim=0)
        else:
            row = [(0.40 + 0.335 * math.cos(a), -0.24 + 0.40 * math.sin(a)) for a in (0.1, -0.28, -0.66, -1.04, -1.42)]
            s.part([oval(x, y, 0.026, 0.026) for x, y in wing(row)], WHITE, clip=True, rim=0)

        s.part(blob(wing(fore), 4), dark, bevel=0.05)
        s.part(blob(wing(fore, hem), 4), s.main, clip=True, rim=0, **veins)
        if tails:  # dark bars from the front edge, a row of pale dots in the hem
            bars = [
                wing([(0.32 + 0.16 * k, 0.80), (0.36 + 0.13 * k, 0.30 + 0.06 * k)])
                for k in range(count(2, 4, t.ornament))
            ]
            s.part([seg(*top, *end, 0.055, 0.03) for top, end in bars], dark, clip=True, rim=0)
            row = [(0.90 - 0.045 * k, 0.76 - 0.125 * k) for k in range(6)]
            s.part([oval(x, y, 0.03, 0.03) for x, y in wing(row)], s.main, clip=True, rim=0)
        else:  # a dark tip with white dots
            tip = [(0.62, 0.95), (0.66 - 0.06 * bound(t.ornament), 0.58), (1.05, 0.30), (1.2, 0.9)]
            s.part(blob(wing(tip), 4), dark, clip=True, rim=0)
            row = wing([(0.72, 0.68), (0.83, 0.60), (0.76, 0.50), (0.66, 0.78)])
            dots = [oval(x, y, r, r) for (x, y), r in zip(row, (0.05, 0.04, 0.045, 0.03))]
            s.part(dots, WHITE, clip=True, rim=0)
            if s.pattern == PATCH:  # a band across the fore wing
                band = chain(wing([(0.30, 0.62), (0.48, 0.42), (0.66, 0.10)]), [0.06, 0.085, 0.07], 3)
                s.part(band, s.accent, clip=True, rim=0, alpha=s.amount)

    feelers = [chain(mirrored([(0.02, 0.36), (0.12, 0.60), (0.26, 0.78)], k), [0.014] * 3, 3) for k in (-1, 1)]
    s.part([shape for feeler in feelers for shape in feeler], BLACK, rim=0)
    s.part([oval(0.26 * k, 0.79, 0.032, 0.032) for k in (-1, 1)], BLACK, rim=0)
    s.part(chain([(0.0, -0.46), (0.0, 0.02), (0.0, 0.22)], [0.03, 0.06, 0.085], 3), dark, bevel=0.06, fur=0.01)
    s.part(oval(0.0, 0.35, 0.07, 0.065), dark, bevel=0.05)


# ----------------------------------------------------------------------------------------------------- beetles and bees


def _ladybird(s: Sketch) -> None:
    """Seen from above, head up: a dome of two wing cases with spots."""
    t, w = s.t, s.w
    wide, long = grow(0.54, t.bulk, 0.14), grow(0.60, t.elongation, 0.14)
    head = grow(0.20, t.head, 0.23)
    top = 0.78 * long
    for side in (-1, 1):
        for k, (y, a) in enumerate(((0.42, 0.6), (0.02, -0.1), (-0.40, -0.7))):
            a += 0.15 * w[k] * side
            reach = grow(0.34, t.limbs, 0.19)
            knee, foot = place(0.86 * wide, y * long, a, [(0.6 * reach, 0.0), (reach, -0.10)])
            s.part(chain(mirrored([(0.6 * wide, y * long), knee, foot], side), [0.045, 0.04, 0.024]), BLACK, rim=0)
        feeler = [(0.4 * head, top + 0.9 * head), (0.9 * head, top + 1.7 * head), (1.35 * head, top + 1.75 * head)]
        s.part(chain(mirrored(feeler, side), [0.02, 0.018, 0.03], 2), BLACK, rim=0)
    s.part(oval(0.0, top + 0.75 * head, 0.95 * head, 0.72 * head), BLACK, bevel=0.08)
    s.part([oval(0.55 * side * head, top + 1.0 * head, 0.2 * head, 0.16 * head) for side in (-1, 1)], WHITE, rim=0)
    s.part(oval(0.0, top, 0.66 * wide, 1.05 * head), BLACK, bevel=0.1, gloss=0.3)  # the shield behind the head
    cheek = head * grow(0.42, t.contrast, 0.46)
    for side in (-1, 1):
        s.part(oval(0.50 * wide * side, top + 0.2 * head, cheek, 1.2 * cheek), BONE, clip=True, rim=0)

    s.part(oval(0.0, 0.0, wide, long), s.main, bevel=0.9 * wide, light=0.75, gloss=0.5)
    layout = [(0.0, 0.76), (0.48, 0.30), (0.42, -0.30), (0.22, -0.70), (0.78, -0.08), (0.24, 0.02), (0.62, 0.62)]
    r = grow(0.105, t.scale, 0.22)
    for x, y in layout[: count(1, 7, t.ornament + 0.6)]:
        for side in (-1, 1) if x else (1,):
            dot = oval(x * wide * side, y * long, r, 1.1 * r)
            if s.pattern == PATCH:  # drawn out into bars
                dot = seg(x * wide * side, y * long, (x + 0.16) * wide * side, (y + 0.06) * long, r, 0.8 * r)
            s.part(dot, dim(BLACK, 0.35), clip=True, rim=0)
    s.part(seg(0.0, 0.95 * long, 0.0, -1.1 * long, 0.016), dim(s.main, 0.25), clip=True, rim=0)


def _bee(s: Sketch) -> None:
    """From the side, in flight, furry; the stripes follow the abdomen."""
    t, w = s.t, s.w
    deep, long = grow(0.27, t.bulk, 0.25), grow(0.46, t.elongation, 0.2)
    chest, head = grow(0.255, t.bulk, 0.16), grow(0.165, t.head, 0.19)
    wing = grow(0.78, t.limbs, 0.19)
    sag = 0.25 + 0.12 * w[0]
    bx, by = -0.12 - long * math.cos(sag), -0.02 - long * math.sin(sag)
    fuzz = 0.018 * grow(1.0, t.bulk, 0.78)
    black = mix(BLACK, s.second, 0.15)

    for k in range(3):  # legs
        x = 0.02 + 0.14 * k
        knee = (x - 0.02 + 0.04 * w[1 + k], -0.38)
        foot = (x - 0.14 + 0.06 * w[1 + k], -0.56 + 0.05 * k)
        s.part(chain([(x, -0.15), knee, foot], [0.045, 0.045, 0.022]), black, rim=0)
    far = leaf(0.10, 0.20, 1.75 + 0.25 * w[4], wing, 0.20 * wing, peak=0.62, sharp=0.8)
    s.part(far, (0.80, 0.86, 0.90), alpha=0.6, rim=0.45)
    tip = place(bx, by, math.pi + sag, [(0.75 * long, 0.0), (long + 0.10, 0.0)])
    s.part(seg(*tip[0], *tip[1], 0.04, 0.005), BLACK, rim=0)
    stripes = s.marks(black, 2.0 / long, 0.5, 0.1, pattern=STRIPES, amount=0.95, frame=(bx, by, sag))
    abdomen = oval(bx, by, 1.1 * long, deep, sag)
    s.part(abdomen, s.main, bevel=0.9 * deep, light=0.65, fur=fuzz, gloss=0.15, **stripes)
    if s.pattern == PATCH:  # the tail of bumble bees
        x, y = spot(bx, by, sag, -0.95 * long)
        s.part(oval(x, y, 0.45 * long, 1.2 * deep, sag), s.accent, clip=True, rim=0, soft=0.05)
    feelers = [(0.52 + 0.6 * head, 0.02), (0.60 + head, 0.20), (0.66 + 1.5 * head, 0.16 + 0.05 * w[5])]
    s.part(chain(feelers, [0.024, 0.022, 0.026]), BLACK, rim=0)
    s.part(oval(0.50, -0.05, head, 1.15 * head), black, bevel=0.1)
    s.part(oval(0.20, 0.0, 1.1 * chest, chest), mix(s.main, s.second, 0.35), bevel=0.2, fur=1.4 * fuzz)
    if s.pattern != NONE:  # a dark band between the wings
        s.part(oval(0.18, 0.02, 0.30 * chest, 1.3 * chest), black, clip=True, soft=0.06, rim=0)
    s.eye(0.50 + 0.3 * head, 0.0, 0.36 * head, dim(s.second, 0.6))
    near = leaf(0.14, 0.16, 2.15 + 0.25 * w[4], 1.05 * wing, 0.23 * wing, peak=0.62, sharp=0.8)
    s.part(near, (0.86, 0.91, 0.95), alpha=0.72, rim=0.5)
    for a in (2.02, 2.28):
        x, y = spot(0.14, 0.16, a + 0.25 * w[4], 0.92 * wing)
        s.part(seg(0.14, 0.16, x, y, 0.010), (0.45, 0.42, 0.40), clip=True, alpha=0.7, rim=0)


# --------------------------------------------------------------------------------------------------- spiders and snails


def _spider(s: Sketch) -> None:
    """Hangs head down in its web, seen from its back."""
    t, w = s.t, s.w
    belly, long = grow(0.31, t.bulk, 0.22), grow(0.38, t.elongation, 0.23)
    chest, leg = grow(0.19, t.head, 0.19), grow(1.0, t.limbs, 0.19)
    silk = (0.72, 0.73, 0.75)
    hub = (0.1 * w[8], 0.05 + 0.1 * w[9])
    spokes = [i * TAU / 11 for i in range(11)]
    threads = [seg(*hub, hub[0] + 2 * math.cos(a), hub[1] + 2 * math.sin(a), 0.008) for a in spokes]
    for k in range(5):
        r = 0.34 + 0.27 * k
        ring = [(hub[0] + r * math.cos(a), hub[1] + r * math.sin(a)) for a in [*spokes, spokes[0]]]
        threads += chain(ring, [0.008] * len(ring))
    s.below.part(threads, silk, rim=0, alpha=0.8)

    bands = opts(pattern=STRIPES, ink=dim(s.second, 0.35), scale=5.5, duty=0.45, amount=s.amount, along=True)
    for side in (-1, 1):
        for k, (a, reach) in enumerate(((-1.05, 1.0), (-0.42, 0.80), (0.42, 0.66), (1.02, 0.92))):
            a += 0.10 * w[k] + 0.06 * side * w[4 + k]
            knee = (0.16 + 0.46 * reach * leg * math.cos(a), -0.22 + 0.52 * reach * leg * math.sin(a))
            b = a + (0.45 if a > 0 else -0.45)
            foot = (knee[0] + 0.42 * reach * leg * math.cos(b), knee[1] + 0.50 * reach * leg * math.sin(b))
            joints = mirrored([(0.08, -0.22), knee, foot], side)
            s.part(chain(joints, [0.055, 0.042, 0.018], 3), s.second, bevel=0.05, **bands)
    s.part(oval(0.0, -0.26, 0.86 * chest, 1.1 * chest), dim(s.second, 0.7), bevel=0.12)
    s.part([oval(0.06 * k, -0.26 - 0.85 * chest, 0.03, 0.03) for k in (-2, -1, 1, 2)], BLACK, rim=0)
    y = -0.16 + 0.9 * long
    body = [(0.0, y - 1.05 * long), (belly, y - 0.35 * long), (0.86 * belly, y + 0.45 * long), (0.0, y + 1.05 * long)]
    body += [(-x, v) for x, v in body[2:0:-1]]
    s.part(blob(body, 5), s.main, bevel=0.9 * belly, light=0.65)
    ink = dim(s.second, 0.28)
    if s.pattern == STRIPES:  # bars across, as on a wasp
        bars = s.marks(ink, 5.0, 0.5, 0.15, amount=1.0, frame=(0.0, 0.0, math.pi / 2))
        s.part(oval(0.0, y, 2 * belly, 2 * long), None, clip=True, rim=0, **bars)
    elif s.pattern == SPOTS:  # four spots
        r = grow(0.075, t.scale, 0.39)
        corners = ((-0.42, 0.35), (0.42, 0.35), (-0.36, -0.2), (0.36, -0.2))
        s.part([oval(x * belly, y + v * long, r, r) for x, v in corners], s.accent, clip=True, rim=0)
    else:  # a cross of pale dots on a dark leaf
        dark_leaf = leaf(0.0, y + 0.95 * long, -math.pi / 2, 1.8 * long, 0.62 * belly, peak=0.4, teeth=4, bite=0.3)
        s.part(dark_leaf, mix(s.main, ink, s.amount), clip=True, rim=0)
        r = grow(0.05, t.scale, 0.39)
        cross = [(0.0, v) for v in (0.62, 0.38, 0.14, -0.14)] + [(u, 0.38) for u in (-0.55, -0.3, 0.3, 0.55)]
        dots = [oval(x * belly, y + v * long, r, 1.2 * r) for x, v in cross]
        s.part(dots, WHITE, clip=True, rim=0)


def _snail(s: Sketch) -> None:
    """From the side, creeping to the right: a coiled shell on a long foot, eyes on stalks."""
    t, w = s.t, s.w
    r = grow(0.46, t.bulk, 0.16)
    tall = grow(1.0, t.elongation, 0.12)
    stretch = grow(0.86, t.limbs, 0.16) + 0.05 * w[0]
    flesh = s.second
    floor = -0.42
    s.shadow(0.05, floor - 0.05, 1.0)
    hx, hy = stretch, -0.02 + 0.10 * w[1]
    stalk = grow(0.30, t.head, 0.31)
    for k, (dx, dy) in enumerate(((0.02, 1.0), (0.42, 0.85))):
        x, y = hx + (dx + 0.08 * w[2 + k]) * stalk, hy + 0.06 + dy * stalk
        s.part(seg(hx - 0.02, hy, x, y, 0.045, 0.026), dim(flesh, 0.9 + 0.1 * k), bevel=0.04)
        s.part(oval(x, y, 0.042, 0.042), BLACK, rim=0)
    s.part(seg(hx + 0.06, hy - 0.04, hx + 0.2, hy - 0.14, 0.03, 0.02), dim(flesh, 0.9))
    foot = [(-1.0 - 0.3 * (stretch - 0.86), floor), (-0.55, floor + 0.13), (0.0, floor + 0.22), (0.45, floor + 0.20)]
    foot += [(hx - 0.16, hy - 0.02), (hx, hy + 0.09), (hx + 0.11, hy), (hx + 0.06, hy - 0.16), (0.62, floor)]
    texture = opts(pattern=MOTTLE, ink=dim(flesh, 0.7), scale=11.0, duty=0.4, seed=s.seed)
    s.part(blob([*foot, (-0.2, floor - 0.02)], 4), flesh, bevel=0.14, light=0.6, gloss=0.3, **texture)
    cx, cy = -0.10, floor + 0.14 + r * tall
    lip = oval(cx + 0.62 * r, cy - 0.62 * r * tall, 0.34 * r, 0.30 * r, 0.5)
    shell = oval(cx, cy, r, r * tall)
    s.part([shell, lip], s.main, blend=0.1, bevel=0.6 * r, light=0.7, gloss=0.35)
    coil = opts(clip=True, rim=0, pattern=SPIRAL, scale=grow(2.1, t.scale, 0.09))
    for k in range({NONE: 0, PATCH: 1}.get(s.pattern, 2)):  # dark bands that follow the coils
        turn = 0.6 + TAU * (0.5, 0.25)[k]
        s.part(shell, None, ink=s.accent, duty=min(0.34, grow(0.20, t.contrast, 0.4)), frame=(cx, cy, turn), **coil)
    s.part(shell, None, ink=dim(s.main, 0.3), duty=0.12, frame=(cx, cy, 0.6), **coil)


LOOKS: dict[str, Look] = {
    "Nymphalidae": Look(
        _butterfly,
        (0.065, 0.82, 0.90),
        (0.06, 0.55, 0.20),
        (0.13, 0.55, 0.95),
        (NONE, SPOTS, RAYS, PATCH),
        hues=0.081,
        turn=0.5,
        options=opts(tails=False),
    ),
    "Papilionidae": Look(
        _butterfly,
        (0.15, 0.42, 0.94),
        (0.65, 0.40, 0.20),
        (0.60, 0.70, 0.75),
        (RAYS, RAYS, SPOTS),
        hues=0.047,
        turn=0.5,
        options=opts(tails=True),
    ),
    "Coccinellidae": Look(
        _ladybird, (0.01, 0.86, 0.85), (0.0, 0.3, 0.2), (0.1, 0.2, 0.9), (SPOTS, SPOTS, PATCH), hues=0.047, turn=0.7
    ),
    "Apidae": Look(
        _bee, (0.12, 0.75, 0.88), (0.08, 0.60, 0.45), (0.10, 0.15, 0.92), (NONE, STRIPES, PATCH), hues=0.041, turn=0.3
    ),
    "Araneidae": Look(
        _spider,
        (0.09, 0.55, 0.70),
        (0.08, 0.50, 0.55),
        (0.13, 0.20, 0.95),
        (NONE, SPOTS, STRIPES),
        hues=0.068,
        turn=0.3,
    ),
    "Helicidae": Look(
        _snail,
        (0.11, 0.45, 0.78),
        (0.10, 0.25, 0.68),
        (0.06, 0.60, 0.35),
        (NONE, PATCH, STRIPES),
        hues=0.068,
        turn=0.12,
    ),
}
