"""Body plans of mushrooms, morels and lichens."""

from __future__ import annotations

import math

from bestpapers.bioclip.organisms.canvas import (
    MOTTLE,
    NET,
    NONE,
    RAYS,
    RINGS,
    SPOTS,
    STRIPES,
    Point,
    blob,
    chain,
    oval,
    poly,
    seg,
)
from bestpapers.bioclip.organisms.sketch import (
    WHITE,
    Look,
    Options,
    Sketch,
    bound,
    count,
    dim,
    grow,
    mirrored,
    mix,
    opts,
    place,
    spot,
)

# ----------------------------------------------------------------------------------------------------------- mushrooms


def _mushroom(
    s: Sketch,
    *,
    cap: tuple[float, float],
    stem: tuple[float, float, float],
    crown: str = "dome",
    under: str = "gills",
    on_cap: str = "",
    ring: float = 0.0,
    volva: bool = False,
    young: bool = False,
    umbo: float = 0.0,
    gloss: float = 0.2,
) -> None:
    """A cap on a stem.

    cap     half its width, and its height
    stem    its length, and its radius at the top and at the foot
    crown   "dome", seen a little from below, or "funnel", seen from above, with gills that run down the stem
    under   "gills" or "pores"; boletes, which have pores and no ring, also have a net on the stem
    on_cap  "", "warts" or "scales"
    ring    how far below the cap a ring hangs, as a share of the stem; 0: none
    volva, young   a torn bag at the foot; a small one beside it
    umbo    height of a knob on the cap's middle, in heights of the cap
    """
    t, w = s.t, s.w
    lean, tilt = 0.10 * w[0], 0.10 * w[1]
    wide, high = grow(cap[0], t.bulk, 0.18), grow(cap[1], t.head, 0.22)
    long, top, foot = grow(stem[0], t.elongation, 0.20), grow(stem[1], t.limbs, 0.18), grow(stem[2], t.limbs, 0.20)
    foot, top = min(foot, 0.40 * long), min(top, 0.28 * long)
    s.shadow(0.05, -0.02, 0.35 + foot)
    if crown == "dome":
        _underside(s, under, lean, long, tilt, wide)
    if young:
        x = -0.54 - 0.06 * w[5]
        s.part(seg(x, 0.6 * foot, x - 0.03, 0.45 * long, 0.75 * foot, 0.6 * foot), dim(s.second, 0.95), bevel=0.1)
        bud = [(-0.42 * wide, 0.0), (-0.32 * wide, 0.34 * high), (0.0, 0.56 * high), (0.32 * wide, 0.34 * high)]
        bud = place(x - 0.03, 0.4 * long, 0.0, [*bud, (0.42 * wide, 0.0), (0.0, -0.04)])
        s.part(blob(bud, 4), s.main, bevel=0.2, light=0.75, gloss=gloss)

    grain: Options = opts(pattern=STRIPES, scale=14, duty=0.3, wild=0.4, amount=0.6)
    if under == "pores" and not ring:
        grain = opts(pattern=NET, scale=7.5, duty=0.12, wild=0.6, amount=0.7 * s.amount)
    line = [(0.0, 0.03 + 0.6 * foot), (0.3 * lean, 0.45 * long), (lean, long)]
    stalk = chain(line, [foot, 0.45 * foot + 0.55 * top, top], 4)
    s.part(stalk, s.second, bevel=0.9 * top, light=0.7, ink=dim(s.second, 0.72), **grain)
    if volva:
        cup = [(-1.25 * foot, 0.5 * foot), (-1.3 * foot, 1.7 * foot), (-0.7 * foot, 1.4 * foot), (0.0, 1.75 * foot)]
        cup += [(0.8 * foot, 1.4 * foot), (1.35 * foot, 1.75 * foot), (1.25 * foot, 0.4 * foot), (0.0, -0.1)]
        s.part(blob(cup, 4), dim(s.second, 0.93), bevel=0.12, light=0.6)
    if crown == "funnel":
        _funnel(s, lean, long, tilt, wide, high, top, gloss)
        return
    if ring:
        y = long - ring * long
        x, r = lean * y / long, grow(2.1, t.contrast, 0.18) * top
        skirt = [(-0.9 * top, 0.13), (-r, -0.06), (-0.5 * r, -0.11), (0.1 * r, -0.07), (0.6 * r, -0.12), (r, -0.05)]
        cloth = poly(place(x, y, 0.0, [*skirt, (0.9 * top, 0.13)]), 0.015)
        s.part(cloth, mix(s.second, WHITE, 0.4), bevel=0.07, light=0.6, rim=0.4)
    _dome(s, on_cap, lean, long + 0.04, tilt, wide, high, umbo, gloss)


def _underside(s: Sketch, under: str, x: float, y: float, tilt: float, wide: float) -> None:
    """Gills or pores round the top of the stem at (x, y), seen below the rim."""
    flat = grow(0.15, s.t.ornament, 0.22)
    tone = mix(s.accent, (0.25, 0.15, 0.10), 0.15)
    if under == "gills":
        fine: Options = opts(pattern=RAYS, ink=dim(tone, 0.55), scale=44, duty=0.45, frame=(x, y + 0.12, 0.0))
    else:
        fine = opts(pattern=SPOTS, ink=dim(tone, 0.6), scale=15, duty=0.35, wild=0.3)
        s.part(oval(x, y - 0.02, 0.94 * wide, flat, tilt), dim(tone, 0.85), bevel=0.1)  # the thickness of the sponge
    s.part(oval(x, y + 0.02, 0.94 * wide, flat, tilt), tone, bevel=0.08, rim=0.5, **fine)


def _dome(
    s: Sketch, on_cap: str, x: float, y: float, tilt: float, wide: float, high: float, umbo: float, gloss: float
) -> None:
    """The cap from the side; the middle of its rim is at (x, y)."""
    t = s.t

    def at(u: float, v: float) -> Point:  # u along the rim (-1 to 1), v upwards in heights of the cap
        return spot(x, y, tilt, wide * u, high * v)

    right = [(1.0, -0.06), (0.96, 0.28), (0.70, 0.76), (0.30, 0.98)]
    rim = [(0.66, 0.10), (0.0, 0.16), (-0.66, 0.10)]
    outline = [*mirrored(right, -1), (0.0, 1.0 + umbo), *reversed(right), *rim]
    coat: Options = {}
    if s.pattern == MOTTLE:
        coat = s.marks(dim(s.main, 0.62), 3.5, 0.4)
    elif s.pattern == RAYS:
        coat = s.marks(dim(s.main, 0.6), 40.0, 0.35, 0.2, frame=(*at(0.0, 1.3), 0.0))
    fade = opts(to=mix(s.main, s.accent, 0.25), axis=(*at(0.0, 1.0), *at(0.0, 0.0)))
    s.part(blob([at(*p) for p in outline], 5), s.main, bevel=0.75 * high, light=0.75, gloss=gloss, **fade, **coat)
    if not on_cap:
        return
    n, size = count(9, 26, t.scale), grow(0.055, t.contrast, 0.35)
    for k in range(1, n + 1):  # evenly scattered
        u, v = 1.8 * (k * 0.754878 % 1.0) - 0.9, 0.12 + 0.88 * (k * 0.569840 % 1.0)
        if v > 1.0 - 0.72 * u * u:
            continue
        if on_cap == "warts":
            s.part(oval(*at(u, v), size * (1.15 - 0.5 * abs(u)), 0.8 * size), WHITE, clip=True, rim=0)
        else:
            s.part(oval(*at(u, v), 1.3 * size, 0.6 * size), dim(s.accent, 0.7), clip=True, rim=0, alpha=s.amount)
    if on_cap == "scales":
        s.part(oval(*at(0.0, 1.0 + umbo), 0.25 * wide, 0.28 * high), dim(s.accent, 0.7), clip=True, rim=0, soft=0.05)


def _funnel(s: Sketch, x: float, y: float, tilt: float, wide: float, high: float, top: float, gloss: float) -> None:
    """A cap with a hollow middle, from above, and gills that run down the stem, whose top is at (x, y)."""
    t, w = s.t, s.w
    deep = grow(0.36, t.ornament, 0.20) * wide  # half the depth of the disc as it is seen
    rim = y + high
    wave = [1.0 + 0.035 * w[8 + i] for i in range(12)]

    def disc(k: float) -> list[Point]:  # the rim, k times as wide
        ring = [(k * r, i * math.pi / 6) for i, r in enumerate(wave)]
        return place(x, rim, tilt, [(r * wide * math.cos(a), r * deep * math.sin(a)) for r, a in ring])

    left, right = place(x, rim, tilt, [(-wide, 0.0), (wide, 0.0)])
    cone = [left, (x - 0.55 * wide, rim - 0.72 * high), (x - top, y - 0.25 * high), (x + top, y - 0.25 * high)]
    gills = opts(pattern=RAYS, ink=dim(s.accent, 0.55), scale=52, duty=0.45, frame=(x, y - 0.9 * high, 0.0))
    s.part(poly([*cone, (x + 0.55 * wide, rim - 0.72 * high), right], 0.02), s.accent, bevel=0.12, light=0.6, **gills)
    coat = s.marks(dim(s.main, 0.6), 3.5, 0.4) if s.pattern == MOTTLE else {}
    s.part(blob(disc(1.0), 3), s.main, bevel=0.12, light=0.5, gloss=gloss, **coat)
    if s.pattern == RINGS:
        zones = count(2, 4, t.scale)
        for k in range(zones):
            outer = 0.88 - 0.66 * k / zones
            s.part(blob(disc(outer), 3), mix(s.main, dim(s.main, 0.55), s.amount), clip=True, rim=0, soft=0.03)
            s.part(blob(disc(outer - 0.33 / zones), 3), s.main, clip=True, rim=0, soft=0.03)
    hollow = oval(x, rim + 0.05 * deep, 0.42 * wide, 0.38 * deep, tilt)
    s.part(hollow, dim(s.main, 0.45), clip=True, soft=0.35 * deep, rim=0)


# --------------------------------------------------------------------------------------------------- morels and lichens


def _morel(s: Sketch) -> None:
    """A tall cap like a honeycomb on a pale stem."""
    t, w = s.t, s.w
    lean = 0.12 * w[0]
    long, high = grow(0.75, t.limbs, 0.22), grow(1.05, t.elongation, 0.2)
    wide, stalk = grow(0.42, t.bulk, 0.2), grow(0.20, t.head, 0.19)
    point = 0.55 + 0.22 * bound(t.ornament) / 2.2
    s.shadow(0.05, -0.02, 0.5)
    grain = opts(pattern=MOTTLE, ink=dim(s.second, 0.8), scale=8, duty=0.4, seed=s.seed)
    line = [(0.0, 0.08), (0.02, 0.4 * long), (0.5 * lean, long + 0.1)]
    s.part(chain(line, [1.25 * stalk, 0.95 * stalk, stalk], 4), s.second, bevel=0.18, light=0.7, **grain)
    base = long - 0.05
    outline = [(0.30, -0.04), (0.85, 0.10), (1.0, 0.35), (0.80 + 0.15 * (0.55 - point), 0.68), (point - 0.15, 0.92)]
    right = [(0.5 * lean + wide * u + lean * v, base + high * v) for u, v in outline]
    left = [(0.5 * lean - wide * u + lean * v, base + high * v) for u, v in outline]
    top = (1.5 * lean, base + 1.03 * high)
    pits = grow(4.4, t.scale, 0.34)
    comb = opts(pattern=NET, ink=s.main, scale=pits, duty=grow(0.26, t.contrast, 0.31), wild=0.45, seed=s.seed)
    cap = blob([*right, top, *reversed(left)], 4)
    s.part(cap, dim(s.accent, 0.5), bevel=0.9 * wide, light=0.9, fur=0.02, **comb)


def _lichen(s: Sketch) -> None:
    """Grey stalks on a crust: forked like antlers, or ending in cups."""
    t, w = s.t, s.w
    tall, thick = grow(1.05, t.elongation, 0.23), grow(0.062, t.bulk, 0.28)
    cup = 0.17 * math.exp(0.45 * bound(t.ornament))
    fork = grow(0.34, t.limbs, 0.28)
    s.shadow(0.0, -0.04, 0.95)
    crumbs = s.marks(dim(s.main, 0.72), 11.0, 0.4, pattern=MOTTLE)
    crust = [(0.9 * (0.9 + 0.1 * (i % 2)) * math.cos(0.449 * i), 0.05 + 0.13 * math.sin(0.449 * i)) for i in range(14)]
    s.part(blob(crust, 3), mix(s.second, s.main, 0.3), bevel=0.08, fur=0.03, **crumbs)
    stalks = ((-0.60, 0.72), (0.62, 0.78), (-0.26, 0.95), (0.30, 0.90), (0.02, 1.1))
    for k, (x, size) in enumerate(stalks):
        lean = 0.22 * x + 0.08 * w[k]
        high = tall * size
        tip = (x + lean, high)
        shapes = chain([(x, 0.03), (x + 0.35 * lean, 0.5 * high), tip], [1.3 * thick, thick, 0.9 * thick], 3)
        if k % 2 == 0 or s.pattern == NONE:  # forks
            for side, f in ((-1, 0.55), (1, 0.68), (-1, 0.84), (1, 0.40)):
                bx, by = x + lean * f, high * f
                arm = fork * (1.1 - 0.4 * f)
                end = (bx + side * 0.75 * arm + 0.04 * w[6 + k], by + 0.75 * arm)
                shapes.append(seg(bx, by, *end, 0.8 * thick, 0.5 * thick))
                for d in (-0.5, 0.5):
                    shapes.append(seg(*end, end[0] + side * 0.08 + d * 0.16, end[1] + 0.30 * arm, 0.5 * thick, 0.018))
        s.part(shapes, dim(s.main, 0.82 + 0.05 * k), bevel=0.06, light=0.6, blend=0.03, **crumbs)
        if k % 2 or s.pattern != NONE:  # cups
            r = cup * (0.8 + 0.12 * k % 0.3)
            stalk = [(-r, 0.45 * r), (-0.9 * thick, -0.9 * r), (0.9 * thick, -0.9 * r), (r, 0.45 * r)]
            trumpet = poly(place(*tip, 0.0, stalk), 0.02)
            s.part(trumpet, dim(s.main, 0.9), bevel=0.1, light=0.6, **crumbs)
            s.part(oval(tip[0], high + 0.45 * r, r, 0.30 * r), dim(s.main, 0.5), rim=0.4)
        knobs = [(tip[0], high + 0.04)] if k % 2 == 0 and s.pattern == NONE else []
        knobs += [(tip[0] + u * cup, high + 0.46 * cup) for u in (-0.8, 0.0, 0.8)] if s.pattern == SPOTS else []
        for u, v in knobs:
            s.part(oval(u, v, 0.05, 0.045), s.accent, bevel=0.04)


LOOKS: dict[str, Look] = {
    "Amanitaceae": Look(
        _mushroom,
        (0.01, 0.85, 0.82),
        (0.12, 0.10, 0.93),
        (0.12, 0.10, 0.92),
        hues=0.07,
        options=opts(cap=(0.68, 0.46), stem=(0.95, 0.12, 0.17), ring=0.32, volva=True, on_cap="warts", gloss=0.35),
    ),
    "Agaricaceae": Look(
        _mushroom,
        (0.09, 0.22, 0.86),
        (0.09, 0.18, 0.84),
        (0.07, 0.50, 0.50),
        (NONE, NONE, RAYS),
        hues=0.035,
        options=opts(cap=(0.80, 0.28), stem=(1.30, 0.075, 0.11), ring=0.34, on_cap="scales", umbo=0.28, gloss=0.0),
    ),
    "Boletaceae": Look(
        _mushroom,
        (0.065, 0.62, 0.50),
        (0.11, 0.28, 0.84),
        (0.15, 0.50, 0.80),
        (NONE, NONE, MOTTLE),
        hues=0.035,
        options=opts(cap=(0.66, 0.44), stem=(0.78, 0.20, 0.30), under="pores"),
    ),
    "Suillaceae": Look(
        _mushroom,
        (0.10, 0.80, 0.70),
        (0.13, 0.45, 0.85),
        (0.14, 0.75, 0.88),
        (NONE, RAYS),
        hues=0.04,
        options=opts(cap=(0.52, 0.34), stem=(0.80, 0.12, 0.13), under="pores", ring=0.30, young=True, gloss=0.9),
    ),
    "Russulaceae": Look(
        _mushroom,
        (0.00, 0.65, 0.80),
        (0.11, 0.10, 0.93),
        (0.11, 0.22, 0.92),
        (NONE, MOTTLE, RINGS),
        hues=0.09,
        options=opts(cap=(0.74, 0.32), stem=(0.62, 0.17, 0.16), crown="funnel"),
    ),
    "Morchellaceae": Look(_morel, (0.11, 0.55, 0.72), (0.11, 0.20, 0.90), (0.09, 0.70, 0.45), hues=0.04),
    "Cladoniaceae": Look(
        _lichen, (0.30, 0.12, 0.78), (0.28, 0.25, 0.55), (0.01, 0.75, 0.75), (NONE, SPOTS, MOTTLE), hues=0.08
    ),
}
