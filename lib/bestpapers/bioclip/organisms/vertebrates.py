"""Body plans of mammals, birds, reptiles, frogs and fish."""

from __future__ import annotations

import math
from typing import Any

from bestpapers.bioclip.organisms.canvas import (
    MOTTLE,
    NONE,
    PATCH,
    SPOTS,
    STRIPES,
    ZIGZAG,
    Colour,
    Point,
    blob,
    chain,
    oval,
    poly,
    seg,
)
from bestpapers.bioclip.organisms.sketch import (
    BARK,
    BLACK,
    BONE,
    TAU,
    WHITE,
    Look,
    Sketch,
    bound,
    dim,
    grow,
    hsv,
    mix,
    opts,
    place,
    spot,
)

# ------------------------------------------------------------------------------------------------------------- mammals


def _quadruped(
    s: Sketch,
    *,
    leg: float,
    girth: float,
    neck: tuple[float, float],
    head: float,
    snout: float,
    ear: str,
    tail: str,
    length: float = 0.40,
    horns: str = "",
    hump: float = 0.0,
    wool: float = 0.0,
    fine: float = 1.0,
) -> None:
    """From the side, walking to the right.

    leg, girth, head, snout, length   leg's length, trunk's and head's radius, snout's and half the trunk's length
    neck   its angle and length; ear: "round" or "point"; tail: "long", "bushy" or "stub"
    horns  "", "antlers" or "horns"; hump: height of the shoulders; wool: depth of the fur; fine: thickness of the feet
    """
    t, w = s.t, s.w
    long, girth = grow(length, t.elongation, 0.2), grow(girth, t.bulk, 0.19)
    leg, head = grow(leg, t.limbs, 0.23), grow(head, t.head, 0.19)
    y = leg + 0.75 * girth
    coat = s.marks(dim(s.main, 0.35), 4.5)
    if s.pattern == PATCH:  # a dark back
        coat |= opts(wild=0.1, frame=(0.0, 0.8 * y, 0.0))
    far, mouth = dim(s.main, 0.62), dim(s.main, 0.3)
    paw = 0.055 * fine
    s.shadow(0.05, 0.0, long + 0.25)

    def limb(x: float, swing: float, hind: bool) -> list[Any]:
        knee, foot = x + (-0.05 if hind else 0.03) + 0.12 * leg * swing, x + 0.30 * leg * swing
        joints = [(x, y - 0.15 * girth), (knee, 0.5 * leg), (foot, paw), (foot + 0.06, 0.7 * paw)]
        return chain(joints, [0.55 * girth * (1.0 if hind else 0.85), 1.25 * paw, paw, 0.9 * paw])

    s.part(limb(-long + 0.10, w[0], True) + limb(long - 0.06, w[1], False), far, blend=0.05)
    _tail(s, tail, -long - 0.55 * girth, y + 0.35 * girth)

    # where the head is: at the end of the neck, with the nose pointing down by `drop`
    a, drop = neck[0] + 0.22 * w[3], -0.35 + 0.15 * w[4]
    nx, ny = long + 0.25 * girth, y + 0.35 * girth
    hx, hy = nx + neck[1] * math.cos(a), ny + neck[1] * math.sin(a)
    sx, sy = hx + snout * math.cos(drop), hy + snout * math.sin(drop)
    ex, ey = hx - 0.35 * head, hy + 0.75 * head
    lobe = head if horns else grow(head, t.ornament, 0.3)  # the size of the ears
    if ear == "round":
        s.part(oval(ex + 0.5 * head, ey + 0.05, 0.40 * lobe, 0.42 * lobe), far)
    else:
        tip = (ex + 0.45 * head, ey + 1.0 * lobe)
        s.part(poly([(ex + 0.25 * head, ey - 0.1), tip, (ex + 0.8 * head, ey - 0.05)], 0.015), far)
    if horns == "antlers":
        _antlers(s, hx + 0.1 * head, hy + 0.7 * head, 0.34, 0.75)

    trunk = [
        oval(-long, y, 1.05 * girth, girth),
        oval(long - 0.02, y + 0.02 + hump, 1.1 * girth, (1.08 + 2 * hump) * girth),
        seg(-long, y + 0.02, long, y + 0.02, 0.88 * girth),
        seg(nx - 0.12, ny - 0.1, hx, hy, 0.62 * girth, 0.72 * head),
        *limb(-long + 0.02, w[5], True),
        *limb(long + 0.02, w[6], False),
    ]
    pale = opts(to=s.second, axis=(0, y - 0.25 * girth, 0, y - 1.15 * girth))
    s.part(trunk, s.main, blend=0.09, bevel=1.1 * girth, light=0.55, fur=wool, **pale, **coat)
    if tail == "stub" and horns:  # a pale rump
        s.part(oval(-long - 0.9 * girth, y + 0.05, 0.55 * girth, 0.8 * girth), s.second, clip=True, soft=0.05, rim=0)
    if tail == "long" and t.ornament > 0.7:  # a mane
        s.part(oval(hx - 0.05, hy - 0.02, 1.55 * head, 1.65 * head), dim(s.main, 0.5), bevel=0.1, fur=0.035)
    skull = [oval(hx, hy, head, 0.92 * head), seg(hx, hy - 0.12 * head, sx, sy, 0.6 * head, 0.42 * head)]
    pale = opts(to=s.second, axis=(hx, hy - 0.1 * head, hx, hy - 1.1 * head))
    s.part(skull, s.main, blend=0.08, bevel=0.8 * head, light=0.55, fur=0.6 * wool, **pale, **coat)
    s.part(oval(sx + 0.35 * head * math.cos(drop), sy + 0.16 * head, 0.16 * head, 0.13 * head), BLACK, rim=0)
    lips = seg(sx + 0.3 * head, sy - 0.15 * head, sx - 0.3 * head, sy - 0.22 * head, 0.018)
    s.part(lips, mouth, alpha=0.7, rim=0)
    s.eye(hx + 0.3 * head, hy + 0.2 * head, 0.17 * head)
    if ear == "round":
        s.part(oval(ex - 0.1 * head, ey, 0.42 * lobe, 0.42 * lobe), s.main, bevel=0.05)
        s.part(oval(ex - 0.1 * head, ey, 0.22 * lobe, 0.24 * lobe), dim(s.second, 0.7), rim=0)
    else:  # ears lie back beside horns
        tip = (ex - 0.65 * head, ey + 0.5 * head) if horns else (ex - 0.05 * head, ey + 1.15 * lobe)
        shape = poly([(ex - 0.35 * head, ey - 0.12), tip, (ex + 0.32 * head, ey - 0.05)], 0.02)
        s.part(shape, s.main, to=dim(s.main, 0.6), axis=(ex, ey, *tip), bevel=0.05)
    if horns == "antlers":
        _antlers(s, hx - 0.05 * head, hy + 0.75 * head, 0.36, 1.0)
    elif horns == "horns":
        curl, n = max(1.2, min(5.2, 2.6 + 1.3 * t.ornament)), 9
        turns = [1.2 + curl * k / n for k in range(n + 1)]
        cx, cy, r = hx - 0.35 * head, hy + 0.35 * head, 0.55 * head
        horn = [(cx + r * math.cos(b) * (1 - 0.02 * k), cy + r * math.sin(b)) for k, b in enumerate(turns)]
        rings = opts(pattern=STRIPES, ink=BARK, scale=16, duty=0.35, amount=0.6, along=True)
        radii = [0.095 - 0.075 * k / n for k in range(n + 1)]
        s.part(chain(horn, radii), mix(BONE, BARK, 0.35), bevel=0.06, light=0.7, **rings)


def _tail(s: Sketch, kind: str, x: float, y: float) -> None:
    """A mammal's tail, from (x, y) to the left."""
    sway = 0.15 * s.w[2]
    if kind == "long":
        line = [(0.1, 0.0), (-0.14, -0.16), (-0.28, -0.20 + sway), (-0.42, 0.02 + 2 * sway)]
        shapes = chain(place(x, y, 0.0, line), [0.06, 0.045, 0.04, 0.045], 3)
        s.part(shapes, s.main, to=dim(s.main, 0.5), axis=(x, y, x - 0.45, y), bevel=0.05)
    elif kind == "bushy":
        line = [(0.1, 0.0), (-0.12, -0.10), (-0.28, -0.22 + sway), (-0.38, -0.30 + sway)]
        shapes = chain(place(x, y, 0.0, line), [0.05, 0.10, 0.12, 0.03], 3)
        s.part(shapes, s.main, to=s.second, axis=(x - 0.22, y, x - 0.36, y - 0.12), bevel=0.1, fur=0.015)
    else:
        stub = seg(x + 0.12, y, x - 0.02, y - 0.06, 0.06, 0.045)
        s.part(stub, s.main, to=s.second, axis=(x, y + 0.1, x, y - 0.1), bevel=0.06)


def _antlers(s: Sketch, x: float, y: float, size: float, tone: float) -> None:
    """One antler from (x, y): a beam with three tines."""
    size = grow(size, s.t.ornament, 0.46)
    beam = [(0.0, 0.0), (-0.35, 0.45), (-0.25, 1.0), (0.1, 1.3)]
    beam = [(x + u * size, y + v * size) for u, v in beam]
    shapes = chain(beam, [0.035, 0.03, 0.026, 0.016], 3)
    for (bx, by), (u, v) in zip(beam, ((0.35, 0.25), (0.38, 0.32), (0.30, 0.34))):
        by += 0.08 * size
        shapes.append(seg(bx, by, bx + u * size, by + v * size, 0.026, 0.014))
    s.part(shapes, dim(BONE, 0.85 * tone), bevel=0.03)


# --------------------------------------------------------------------------------------------------------------- birds


def _bird(
    s: Sketch,
    *,
    kind: str,
    lean: float,
    body: tuple[float, float],
    head: float,
    beak: float,
    tail: float,
    foot: Colour = BLACK,
) -> None:
    """A perched bird that looks to the right.

    kind   "crow", "tit" or "raptor": the shape of the beak and where the colours are
    lean   the angle of the body's axis; body: its half length and half width
    """
    t, w = s.t, s.w
    raptor, tit, pied = kind == "raptor", kind == "tit", kind == "crow" and s.pattern == PATCH
    a, da = lean + 0.10 * w[0], lean + 0.10 * w[0] + 0.12 * w[2] - 0.05  # axes of the body and the tail
    long, wide, head = grow(body[0], t.elongation, 0.16), grow(body[1], t.bulk, 0.19), grow(head, t.head, 0.19)
    tail = grow(tail, t.limbs, 0.39)
    feathers = s.main if raptor else s.second

    def at(u: float, v: float) -> Point:  # along the body's axis (1 = front), across it (positive: the back)
        return spot(0.0, 0.0, a, u * long, v * wide)

    hx, hy = at(0.95, 0.35)
    hx, hy = hx + 0.06 + 0.04 * w[1], hy + 0.35 * head
    nod = 0.12 * w[4] - 0.05

    def face(u: float, v: float) -> Point:  # in radii of the head
        return spot(hx, hy, nod, u * head, v * head)

    bx, by = at(-0.8, 0.05)
    fan = place(bx, by, da, [(0.0, -0.09), (-tail, -0.108), (-1.03 * tail, 0.072), (0.0, 0.09)])
    end = spot(bx, by, da, -tail)
    bars = s.marks(s.accent, 9, 0.4, 0.0, frame=(bx, by, da)) if raptor else {}
    shade = opts(to=dim(s.second, 0.5), axis=(bx, by, *end))
    s.part(poly(fan, 0.02), dim(s.second, 0.75), bevel=0.05, **shade, **bars)
    low = -wide - 0.16
    for k in (-1, 1):
        fx = 0.02 + 0.07 * k + 0.05 * w[3]
        kx, ky = at(-0.10 + 0.2 * k, -0.75)
        if raptor:
            s.part(seg(kx, ky + 0.1, fx, low + 0.12, 0.12, 0.06), dim(s.main, 0.9), bevel=0.08, fur=0.01)
        toes = [seg(fx, low + 0.04, fx + d, low, 0.02, 0.014) for d in (-0.07, 0.05, 0.12)]
        s.part([seg(kx, ky, fx, low + 0.04, 0.022), *toes], foot, rim=0.2)
    perch = chain([(-0.9, low - 0.08), (0.0, low - 0.045), (0.9, low - 0.02)], [0.06, 0.055, 0.035], 3)
    s.below.part(perch, BARK, bevel=0.06, pattern=MOTTLE, ink=dim(BARK, 0.6), scale=9)

    beak = grow(beak, t.ornament, 0.28) / head
    if raptor:
        hook = [(0.7, 0.35), (0.8 + 0.6 * beak, 0.32), (0.85 + beak, -0.1), (0.8 + 0.9 * beak, -0.5)]
        hook += [(0.75 + 0.5 * beak, -0.12), (0.7, -0.3)]
        horn = opts(to=(0.95, 0.75, 0.20), axis=(*face(0.9 + 0.6 * beak, 0), *face(0.85 + 0.2 * beak, 0)))
        s.part(blob([face(*p) for p in hook], 4), (0.20, 0.19, 0.20), bevel=0.04, **horn)
    else:
        cone = [(0.7, 0.28), (0.95 + 0.5 * beak, 0.14), (0.9 + beak, -0.12), (0.7, -0.28)]
        s.part(poly([face(*p) for p in cone], 0.012), foot, bevel=0.03, gloss=0.4)
        s.part(seg(*face(0.8, -0.06), *face(0.85 + 0.8 * beak, -0.09), 0.008), dim(foot, 0.4), rim=0)

    shapes = [oval(0, 0, long, wide, a), oval(hx, hy, head, head), seg(*at(0.5, 0.15), hx, hy, 0.7 * wide, 0.8 * head)]
    coat = s.marks(dim(s.main, 0.45), 8, 0.35, 0.5, frame=(0, 0, a)) if raptor else {}
    belly = opts(to=mix(s.main, s.second, 0.6) if raptor else s.second, axis=(*at(0.0, 0.05), *at(0.1, -0.45)))
    s.part(shapes, s.main, blend=0.10, bevel=0.8 * wide, fur=0.004, **belly, **coat)
    if pied:
        s.part(oval(*at(0.15, -0.55), 0.62 * long, 0.62 * wide, a), WHITE, clip=True, rim=0)
    if tit:  # a coloured breast, white cheeks, a black cap and bib
        s.part(oval(*at(0.2, -0.45), 0.75 * long, 0.75 * wide, a), s.accent, clip=True, soft=0.04, rim=0)
        s.part(oval(hx, hy, 1.1 * head, 1.1 * head), WHITE, clip=True, rim=0)
        cap = [(-1.4, 0.12 + 0.15 * bound(t.contrast)), (1.2, 0.22), (1.2, 1.3), (-1.4, 1.3)]
        s.part(poly([face(*p) for p in cap]), BLACK, clip=True, rim=0)
        s.part(oval(*face(0.35, -0.95), (0.5 + 0.12 * bound(t.contrast)) * head, 0.5 * head), BLACK, clip=True, rim=0)
        if s.pattern == PATCH:  # a tie
            s.part(seg(*face(0.3, -1.0), *at(-0.2, -1.0), 0.05, 0.03), BLACK, clip=True, rim=0)

    lift = 0.10 * w[5]
    wing = [(0.62, 0.35), (0.45, -0.30), (-0.15, -0.38 + lift), (-1.15, -0.02 + lift), (-1.25, 0.22 + lift)]
    wing += [(-0.4, 0.62), (0.3, 0.66)]
    shade = opts(to=dim(feathers, 0.5), axis=(*at(0.4, 0), *at(-1.2, 0)))
    s.part(blob([at(*p) for p in wing], 4), dim(feathers, 0.72 if raptor else 0.85), bevel=0.09, light=0.6, **shade)
    for k in range(4):
        quill = seg(*at(-0.05 - 0.12 * k, -0.28 + 0.16 * k), *at(-1.1, 0.05 * k + lift), 0.011)
        s.part(quill, dim(feathers, 0.38), clip=True, rim=0, alpha=0.8)
    if tit:
        s.part(seg(*at(0.28, -0.45), *at(0.05, 0.7), 0.025), WHITE, clip=True, rim=0, alpha=s.amount)
    if pied:
        s.part(oval(*at(0.42, 0.28), 0.42 * long, 0.2 * wide, a), WHITE, clip=True, rim=0)
    if raptor:  # a frown
        s.part(seg(*face(0.15, 0.42), *face(0.9, 0.26), 0.022), dim(s.main, 0.4), rim=0)
        s.eye(*face(0.38, 0.18), 0.21 * head, (0.95, 0.75, 0.15))
    else:
        s.eye(*face(0.40, 0.16), 0.17 * head, dim(s.main, 0.5))


def _waterfowl(s: Sketch) -> None:
    """From the side, swimming to the right."""
    t, w = s.t, s.w
    long, deep, head = grow(0.55, t.elongation, 0.16), grow(0.26, t.bulk, 0.19), grow(0.155, t.head, 0.16)
    neck, bill = grow(0.26, t.limbs, 0.46), grow(0.24, t.ornament, 0.23)
    bob = 0.08 * w[0]
    nx, ny = 0.72 * long, 0.35 * deep
    hx, hy = nx + 0.12 + 0.06 * w[1], ny + neck + 0.15
    tail = poly([(-0.75 * long, 0.12), (-1.25 * long, 0.34 + 0.05 * w[2]), (-1.05 * long, 0.02)], 0.02)
    s.part(tail, dim(s.second, 0.8), bevel=0.05)
    yellow = hsv(0.11 + 0.03 * t.accent, 0.8, 0.9)
    s.part(seg(hx + 0.6 * head, hy - 0.05, hx + head + bill, hy - 0.11 + bob, 0.075, 0.042), yellow, bevel=0.04)
    s.part(seg(hx + 0.9 * head, hy - 0.08, hx + head + bill, hy - 0.12 + bob, 0.009), dim(yellow, 0.5), rim=0)
    hull = [(-0.8 * long, -0.55 * deep), (0.0, -0.9 * deep), (0.75 * long, -0.6 * deep), (0.98 * long, 0.05)]
    hull = [(-long, 0.16), *hull, (0.55 * long, 0.75 * deep), (-0.3 * long, 0.85 * deep)]
    s.part(blob(hull, 5), s.main, to=s.second, axis=(0.6 * long, 0.0, -0.2 * long, -0.05), bevel=0.8 * deep)
    throat = [(0.62 * long, 0.0), (0.78 * long, ny + 0.35 * neck), (nx + 0.04, ny + 0.8 * neck), (hx, hy)]
    shapes = [*chain(throat, [0.19, 0.12, 0.095, 0.11], 3), oval(hx, hy, head, 0.92 * head)]
    hood = opts(to=s.accent, axis=(nx, ny + 0.22 * neck, nx, ny + 0.30 * neck))
    s.part(shapes, s.main, blend=0.05, bevel=0.13, **hood)
    if s.pattern == PATCH:  # a ring round the neck
        s.part(seg(nx - 0.18, ny + 0.30 * neck, nx + 0.22, ny + 0.26 * neck, 0.03), WHITE, clip=True, rim=0)
    elif s.pattern == SPOTS:  # a cheek
        s.part(oval(hx - 0.1 * head, hy - 0.25 * head, 0.5 * head, 0.55 * head), WHITE, clip=True, rim=0)
    s.eye(hx + 0.28 * head, hy + 0.22 * head, 0.17 * head)
    wing = [(0.45 * long, 0.35 * deep), (0.35 * long, -0.35 * deep), (-0.35 * long, -0.35 * deep)]
    wing += [(-1.08 * long, 0.55 * deep + 0.04 * w[3]), (-0.5 * long, 0.78 * deep), (0.15 * long, 0.75 * deep)]
    shade = opts(to=dim(s.second, 0.55), axis=(0.3 * long, 0, -long, 0.1))
    bars = opts(pattern=STRIPES, ink=dim(s.second, 0.6), scale=grow(4.5, t.scale), duty=0.3, frame=(0, 0, 0.3))
    s.part(blob(wing, 5), dim(s.second, 0.92), bevel=0.12, light=0.7, amount=0.7 * s.amount, **shade, **bars)
    mirror = oval(-0.45 * long, 0.02 * deep, 0.2 * long, 0.16 * deep, -0.1)
    s.part(mirror, hsv(0.62 + 0.06 * t.accent, 0.75, 0.7), clip=True, rim=0)
    y = -0.62 * deep  # water in front of the lower half
    waves = opts(pattern=STRIPES, ink=(0.80, 0.90, 0.95), scale=9, duty=0.25, wild=0.9, amount=0.7, seed=3)
    shine = opts(to=(0.62, 0.78, 0.86), axis=(0, y - 0.2, 0, y), alpha=0.92, soft=0.06, rim=0)
    pool = oval(0.05, y - 0.10, 1.45 * long, 0.13)
    s.part(pool, (0.42, 0.60, 0.72), **shine, **waves, frame=(0, 0, math.pi / 2))


# ------------------------------------------------------------------------------------------- reptiles, amphibians, fish


def _snake(s: Sketch) -> None:
    """From above, winding to the right."""
    t, w = s.t, s.w
    thick, size = grow(0.105, t.bulk, 0.28), grow(0.135, t.head, 0.23)
    swing, phase = 0.30 + 0.05 * w[0], 0.5 * w[1]
    long, winds = grow(1.55, t.elongation, 0.12), grow(1.35, t.limbs, 0.12)
    line = [
        (long * (u - 0.55), swing * math.sin(phase + TAU * winds * u) * (1 - 0.35 * u))
        for u in (k / 8 for k in range(9))
    ]
    radii = [thick * r for r in (0.22, 0.55, 0.85, 1.0, 1.05, 1.0, 0.9, 0.75, 0.62)]
    turn = math.atan2(line[-1][1] - line[-2][1], line[-1][0] - line[-2][0])

    def face(u: float, v: float) -> Point:  # in sizes of the head
        return spot(*line[-1], turn, u * size, v * size)

    shadow = chain([(x + 0.02, y - 0.05) for x, y in line], [1.1 * r for r in radii], 4)
    s.below.part(shadow, BLACK, alpha=0.3, soft=0.1, rim=0)
    tongue = [seg(*face(1.5, 0), *face(2.3, 0), 0.012)]
    tongue += [seg(*face(2.3, 0), *face(2.8, k * 0.06 / size), 0.011, 0.008) for k in (-1, 1)]
    s.part(tongue, (0.75, 0.12, 0.15), rim=0)
    if t.ornament > 0.3:  # a rattle
        x, y = line[0]
        rings = [oval(x - 0.02 - 0.05 * k, y + 0.01 * k, 0.035, 0.042 - 0.003 * k) for k in range(4)]
        s.part(rings, BONE, bevel=0.03)
    ink = dim(s.second, 0.35)
    coat = s.marks(ink, 4.5, 0.45, 0.25, along=True)
    if s.pattern == ZIGZAG:
        coat |= opts(duty=0.38 * thick, wild=0.42 * thick, scale=grow(4.2, t.scale))
    elif s.pattern == SPOTS:
        coat |= opts(scale=0.5 / thick, duty=0.45, wild=0.2, frame=(0, 0.5 * thick, 0))
    s.part(chain(line, radii, 5), s.main, bevel=1.1 * thick, light=0.8, **coat)
    half = [(-0.6, 0.45), (0.2, 0.85), (1.1, 0.55), (1.65, 0.16)]
    s.part(blob([face(u, v) for u, v in [*half, *((u, -v) for u, v in half[::-1])]], 4), s.main, bevel=0.09, light=0.7)
    mask = [seg(*face(-0.5, 0.1 * k), *face(0.35, 0.5 * k), 0.025, 0.02) for k in (-1, 1)]
    s.part(mask, ink, clip=True, rim=0, alpha=s.amount)
    for k in (-1, 1):
        s.eye(*face(0.85, 0.45 * k), 0.032, (0.9, 0.7, 0.2))


def _lizard(s: Sketch) -> None:
    """From above, to the right, with spread legs."""
    t, w = s.t, s.w
    thick, r = grow(0.115, t.bulk, 0.23), grow(0.12, t.head, 0.19)
    tail, long = grow(0.85, t.limbs, 0.23), grow(0.42, t.elongation, 0.19)
    line = [(-tail - long, 0.25 * w[1] + 0.30), (-0.62 * tail - long, 0.05 + 0.18 * w[1]), (-0.25 * tail - long, -0.08)]
    line += [(-long, -0.02), (0.0, 0.10 * w[0]), (long, 0.02), (long + 0.14, 0.04)]
    radii = [0.012, 0.045, 0.075, 0.9 * thick, 1.15 * thick, 0.85 * thick, 0.62 * thick]
    for k, (x, y, side, front) in enumerate(
        ((-long, -0.02, 1, -1), (-long, -0.02, -1, -1), (0.82 * long, 0.03, 1, 1), (0.82 * long, 0.03, -1, 1)), 2
    ):
        kx, ky = x + front * (0.08 + 0.05 * w[k]) + (0.10 if front < 0 else 0.0), y + side * 0.24
        fx, fy = kx + (0.14 + 0.05 * w[k + 4]) * front, ky + side * 0.11
        ends = place(
            fx, fy, 0.0, [(front * 0.11 * math.cos(a), front * 0.11 * math.sin(a)) for a in (-0.9, -0.3, 0.3, 0.9)]
        )
        toes = [seg(fx, fy, *end, 0.014, 0.008) for end in ends]
        s.part([*chain([(x, y), (kx, ky), (fx, fy)], [0.065, 0.045, 0.03]), *toes], dim(s.main, 0.7), bevel=0.04)
    coat = s.marks(dim(s.second, 0.4), 6.5, 0.4, 0.5, along=True)
    if s.pattern == PATCH:  # a stripe along the back
        coat |= opts(pattern=ZIGZAG, duty=0.035, wild=0.0, ink=s.accent)
    s.part(chain(line, radii, 5), s.main, bevel=1.1 * thick, light=0.7, **coat)
    half = [(-0.9, 0.75), (0.2, 0.95), (1.4, 0.35)]
    x, y = long + 0.20, 0.05
    head = [(x + r * u, y + r * v) for u, v in [*half, (1.7, 0.0), *((u, -v) for u, v in half[::-1])]]
    s.part(blob(head, 4), s.main, to=mix(s.main, s.accent, 0.7), axis=(x, y, x + 1.6 * r, y), bevel=0.09)
    for k in (-1, 1):
        s.eye(x + 0.45 * r, y + 0.55 * r * k, 0.032)


def _frog(s: Sketch) -> None:
    """From the side, sitting, to the right."""
    t, w = s.t, s.w
    long, deep = grow(0.46, t.elongation, 0.16), grow(0.29, t.bulk, 0.19)
    leg, r = grow(0.30, t.limbs, 0.23), grow(0.21, t.head, 0.16)
    a = 0.48 + 0.10 * w[0]

    def at(u: float, v: float) -> Point:  # along the body's axis and across it
        return spot(0.0, 0.0, a, u * long, v * deep)

    floor = at(-0.9, -0.5)[1] - 0.10
    s.shadow(0.0, floor - 0.02, 0.62)
    far, limb, mouth = dim(s.main, 0.68), dim(s.main, 0.9), dim(s.main, 0.3)
    coat = s.marks(dim(s.main, 0.38), 5.0, 0.35, 0.08 if s.pattern == PATCH else 0.6, frame=(0.0, 0.1, 0.4))
    hx, hy = at(0.95, 0.10)
    arm = [at(0.45, -0.5), (0.36, floor + 0.16), (0.44, floor + 0.03), (0.56, floor)]
    s.part(chain(arm, [0.09, 0.06, 0.045, 0.03]), far)
    s.part(oval(hx + 0.12, hy + 0.85 * r, 0.4 * r, 0.4 * r), far)
    body = [oval(0, 0, long, deep, a), oval(hx, hy, 1.25 * r, 0.85 * r, 0.1), seg(0, 0, hx, hy, 0.8 * deep, 0.7 * r)]
    belly = opts(to=s.second, axis=(*at(0.2, -0.15), *at(0.2, -0.75)))
    s.part(body, s.main, blend=0.10, bevel=0.8 * deep, light=0.6, gloss=0.25, **belly, **coat)
    lips = [(hx + 1.2 * r, hy - 0.08 * r), (hx + 0.5 * r, hy - 0.30 * r), (hx - 0.35 * r, hy - 0.22 * r)]
    s.part(chain(lips, [0.015] * 3, 3), mouth, rim=0)
    if s.pattern == PATCH:  # a dark mask behind the eye
        s.part(oval(hx - 0.35 * r, hy + 0.12 * r, 0.55 * r, 0.22 * r, 0.2), mouth, clip=True, rim=0)
    kx, ky = at(-0.95, 0.05)  # the near hind leg: thigh, shank, foot; then the near front leg
    thigh = oval(kx + 0.10, ky - 0.02, leg, 0.62 * leg, 0.5 + 0.15 * w[1])
    s.part(thigh, s.main, bevel=0.15, light=0.6, gloss=0.2, **coat)
    shank = [(kx + 0.10 + 0.75 * leg, ky + 0.25 * leg), (kx - 0.25 * leg, floor + 0.10), (kx + 0.25, floor + 0.02)]
    s.part(chain(shank, [0.075, 0.065, 0.05]), limb, bevel=0.07)
    toes = [seg(kx + 0.20, floor + 0.02, kx + 0.50, floor + d, 0.035, 0.02) for d in (-0.04, 0.0, 0.05)]
    s.part(toes, limb, bevel=0.04)
    arm = [at(0.35, -0.55), (0.20 + 0.05 * w[2], floor + 0.18), (0.28, floor + 0.02)]
    s.part(chain(arm, [0.095, 0.065, 0.045]), s.main, blend=0.03, bevel=0.08)
    toes = [seg(0.28, floor + 0.02, 0.42, floor + d, 0.03, 0.02) for d in (-0.05, 0.0, 0.05)]
    s.part(toes, limb, bevel=0.04)
    ex, ey = hx - 0.10 * r, hy + 0.80 * r  # the eye sits on top
    s.part(oval(ex, ey, 0.52 * r, 0.50 * r), s.main, bevel=0.1)
    s.part(oval(ex + 0.04 * r, ey + 0.02 * r, 0.36 * r, 0.36 * r), hsv(0.12 + 0.02 * t.accent, 0.8, 0.95), rim=0.5)
    s.part(oval(ex + 0.06 * r, ey + 0.02 * r, 0.24 * r, 0.15 * r), BLACK, rim=0)
    s.part(oval(ex + 0.12 * r, ey + 0.10 * r, 0.06 * r, 0.06 * r), WHITE, rim=0)


def _fish(s: Sketch) -> None:
    """From the side, to the right."""
    t, w = s.t, s.w
    long, deep, big = grow(0.72, t.elongation, 0.12), grow(0.25, t.bulk, 0.28), grow(1.0, t.limbs, 0.34)
    bend = 0.10 * w[0]
    tint = mix(s.main, s.accent, 0.45)
    rays = opts(pattern=STRIPES, ink=dim(s.main, 0.5), scale=16, duty=0.3, amount=0.5, bevel=0.03)

    def at(u: float, v: float, up: float = 0.0) -> Point:  # u from tail (-1) to snout (1), v across; then up
        return (u * long, v * deep + bend * u * u - 0.3 * bend + up)

    x, y = at(-0.98, 0)
    end, notch = x - 0.30, max(0.02, 0.16 + 0.06 * bound(t.ornament))
    tail = [at(-0.86, 0.22), (end, y + 0.30 * big), (end + notch, y), (end, y - 0.30 * big), at(-0.86, -0.22)]
    shade = opts(to=dim(tint, 0.7), axis=(x, y, x - 0.3, y), frame=(0, 0, math.pi / 2))
    s.part(poly(tail, 0.015), tint, **shade, **rays)
    for fin in (
        [at(0.22, 0.8), at(-0.02, 0.9, 0.22 * big), at(-0.18, 0.85, 0.10 * big), at(-0.20, 0.7)],
        [at(-0.55, 0.45), at(-0.66, 0.4, 0.10), at(-0.68, 0.3)],
        [at(-0.38, -0.55), at(-0.60, -0.5, -0.17 * big), at(-0.62, -0.3)],
        [at(-0.02, -0.8), at(-0.16, -0.9, -0.15 * big), at(-0.22, -0.7)],
    ):
        s.part(poly(fin, 0.012), tint, **rays)
    kype = 0.05 * max(0.0, bound(t.head))  # the hook of the jaw
    back = [
        (1.02, 0.02 - 0.4 * kype),
        (0.86, 0.42),
        (0.5, 0.86),
        (0.05, 1.0),
        (-0.5, 0.62),
        (-0.85, 0.24),
        (-0.98, 0.24),
    ]
    belly = [(-0.98, -0.24), (-0.85, -0.24), (-0.5, -0.58), (0.05, -1.0), (0.5, -0.86), (0.84, -0.48)]
    pale = opts(to=s.second, axis=(0, 0.45 * deep, 0, -0.55 * deep))
    s.part(blob([at(*p) for p in back + belly], 4), s.main, bevel=0.75 * deep, light=0.45, gloss=0.35, **pale)
    if s.pattern == PATCH:  # a coloured band from gill to tail
        band = chain([at(0.6, -0.05), at(0.0, 0.0), at(-0.9, 0.0)], [0.28 * deep, 0.32 * deep, 0.12 * deep], 3)
        s.part(band, s.accent, clip=True, soft=0.08, alpha=s.amount, rim=0)
    r = 0.13 * max(0.10, min(0.30, 0.2 + 0.06 * t.contrast))
    for k in range(min(34, math.ceil(34 * grow(0.5, t.scale, 0.54)))):  # evenly scattered dots
        u, v = -0.82 + 1.35 * ((k * 0.618034) % 1.0), -0.25 + 1.1 * ((k * 0.754878) % 1.0)
        s.part(oval(*at(u, v * (1 - 0.5 * u * u)), r, r), dim(s.main, 0.3), clip=True, rim=0, alpha=s.amount)
    x, y = at(0.58, 0)
    gill = chain([(x - 0.02, y + 0.55 * deep), (x - 0.08, y), (x, y - 0.6 * deep)], [0.014] * 3, 3)
    s.part(gill, dim(s.main, 0.45), clip=True, rim=0)
    fin = [(x - 0.08, y - 0.12 * deep), (x - 0.28, y - 0.45 * deep - 0.04 * w[1]), (x - 0.20, y - 0.75 * deep)]
    s.part(poly(fin, 0.012), tint, **rays)
    s.part(seg(*at(0.99, -0.10 - kype), *at(0.80, -0.22), 0.013), dim(s.main, 0.35), rim=0)
    s.eye(*at(0.80, 0.20), 0.045, (0.92, 0.85, 0.55))


LOOKS: dict[str, Look] = {
    "Felidae": Look(
        _quadruped,
        (0.085, 0.60, 0.82),
        (0.10, 0.18, 0.95),
        (0.12, 0.8, 0.8),
        (NONE, SPOTS, STRIPES),
        options=opts(leg=0.36, girth=0.185, neck=(0.75, 0.14), head=0.165, snout=0.10, ear="round", tail="long"),
    ),
    "Canidae": Look(
        _quadruped,
        (0.07, 0.45, 0.62),
        (0.10, 0.12, 0.90),
        (0.12, 0.8, 0.8),
        (NONE, NONE, MOTTLE),
        hues=0.034,
        options=opts(leg=0.42, girth=0.165, neck=(0.8, 0.17), head=0.14, snout=0.20, ear="point", tail="bushy"),
    ),
    "Ursidae": Look(
        _quadruped,
        (0.065, 0.60, 0.40),
        (0.07, 0.45, 0.50),
        (0.1, 0.5, 0.7),
        (NONE, PATCH),
        hues=0.027,
        options=opts(
            leg=0.34,
            girth=0.27,
            neck=(0.25, 0.16),
            head=0.17,
            snout=0.17,
            ear="round",
            tail="stub",
            hump=0.03,
            wool=0.012,
            length=0.36,
            fine=1.5,
        ),
    ),
    "Cervidae": Look(
        _quadruped,
        (0.06, 0.58, 0.60),
        (0.09, 0.12, 0.95),
        (0.1, 0.5, 0.7),
        (NONE, SPOTS),
        hues=0.027,
        options=opts(
            leg=0.56,
            girth=0.165,
            neck=(1.0, 0.30),
            head=0.115,
            snout=0.17,
            ear="point",
            tail="stub",
            horns="antlers",
            length=0.36,
            fine=0.7,
        ),
    ),
    "Bovidae": Look(
        _quadruped,
        (0.07, 0.40, 0.55),
        (0.10, 0.12, 0.90),
        (0.1, 0.5, 0.7),
        (NONE, PATCH),
        hues=0.027,
        options=opts(
            leg=0.34,
            girth=0.25,
            neck=(0.55, 0.16),
            head=0.155,
            snout=0.17,
            ear="point",
            tail="stub",
            horns="horns",
            hump=0.04,
            wool=0.02,
            length=0.36,
        ),
    ),
    "Corvidae": Look(
        _bird,
        (0.65, 0.45, 0.18),
        (0.62, 0.45, 0.28),
        (0.1, 0.1, 0.9),
        (NONE, NONE, PATCH),
        hues=0.081,
        options=opts(lean=0.42, body=(0.44, 0.25), head=0.20, beak=0.24, tail=0.55, kind="crow"),
    ),
    "Paridae": Look(
        _bird,
        (0.24, 0.45, 0.55),
        (0.58, 0.35, 0.55),
        (0.14, 0.65, 0.92),
        (NONE, PATCH),
        hues=0.095,
        options=opts(
            lean=0.50, body=(0.38, 0.28), head=0.25, beak=0.11, tail=0.42, foot=(0.22, 0.24, 0.30), kind="tit"
        ),
    ),
    "Accipitridae": Look(
        _bird,
        (0.075, 0.55, 0.45),
        (0.10, 0.25, 0.90),
        (0.09, 0.3, 0.3),
        (MOTTLE, STRIPES, SPOTS),
        hues=0.034,
        options=opts(
            lean=1.02, body=(0.48, 0.28), head=0.19, beak=0.17, tail=0.48, foot=(0.95, 0.75, 0.15), kind="raptor"
        ),
    ),
    "Anatidae": Look(
        _waterfowl,
        (0.07, 0.45, 0.42),
        (0.10, 0.20, 0.72),
        (0.40, 0.75, 0.38),
        (NONE, PATCH, SPOTS),
        hues=0.054,
    ),
    "Viperidae": Look(
        _snake,
        (0.10, 0.40, 0.66),
        (0.07, 0.50, 0.45),
        (0.1, 0.5, 0.7),
        (ZIGZAG, ZIGZAG, STRIPES, SPOTS),
        hues=0.054,
        turn=0.5,
    ),
    "Lacertidae": Look(
        _lizard,
        (0.27, 0.60, 0.60),
        (0.08, 0.55, 0.45),
        (0.15, 0.55, 0.85),
        (NONE, SPOTS, MOTTLE, PATCH),
        hues=0.081,
        turn=0.6,
    ),
    "Ranidae": Look(
        _frog, (0.22, 0.62, 0.58), (0.15, 0.25, 0.92), (0.12, 0.8, 0.9), (SPOTS, MOTTLE, PATCH), hues=0.074, turn=0.12
    ),
    "Salmonidae": Look(
        _fish, (0.50, 0.35, 0.45), (0.12, 0.08, 0.90), (0.98, 0.60, 0.80), (NONE, PATCH), hues=0.081, turn=0.2
    ),
}
