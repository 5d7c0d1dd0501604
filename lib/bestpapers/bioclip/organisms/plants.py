"""Body plans of flowers, leaves, trees, ferns and mosses."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bestpapers.bioclip.organisms.canvas import (
    MOTTLE,
    NET,
    NONE,
    PATCH,
    RAYS,
    RINGS,
    SPOTS,
    STRIPES,
    VEINS,
    Point,
    blob,
    chain,
    oval,
    poly,
    seg,
)
from bestpapers.bioclip.organisms.sketch import (
    BARK,
    GREEN,
    LEAF,
    TAU,
    WHITE,
    Look,
    Options,
    Sketch,
    bound,
    count,
    dim,
    grow,
    leaf,
    mix,
    notched,
    opts,
    place,
    spot,
)

UP = math.pi / 2


def _veins(s: Sketch, x: float, y: float, turn: float, scale: float = 7.0) -> Options:
    """A midrib from (x, y) in the direction `turn`, and side veins."""
    ink = mix(s.second, (1.0, 1.0, 0.8), 0.35)
    return opts(pattern=VEINS, ink=ink, scale=scale, duty=0.16, wild=0.7, amount=0.7, frame=(x, y, turn))


# ------------------------------------------------------------------------------------------------------------- flowers


def _rose(s: Sketch) -> None:
    """A twig with one open flower of five petals, toothed leaves and round fruit."""
    t, w = s.t, s.w
    petal, wide = grow(0.62, t.elongation, 0.19), grow(0.33, t.bulk, 0.19)
    fruit = grow(0.17, t.head, 0.31)
    sway = 0.12 * w[0]
    twig = chain([(-0.15, -1.15), (-0.05, -0.6), (0.0, 0.1)], [0.045, 0.04, 0.035], 3)
    s.part(twig, mix(BARK, GREEN, 0.4), bevel=0.04)
    for k, (a, size) in enumerate(((-0.35, 0.72), (-2.75, 0.78), (-1.0, 0.55))):
        a += sway + 0.08 * w[1 + k]
        size = grow(size, t.limbs, 0.23)
        x, y = -0.03, -0.55 - 0.12 * (k == 2)
        outline = leaf(x, y, a, size, 0.30 * size, teeth=8, bite=0.22, peak=0.42)
        s.part(outline, s.second, bevel=0.06, **_veins(s, x, y, a, 9.0))
    for k in range(count(1, 3, t.ornament)):  # fruit on stalks
        x, y = 0.42 + 0.26 * k - 0.75 * (k == 2), -0.86 - 0.07 * k + 0.04 * w[5]
        s.part(chain([(-0.05, -0.62), (0.6 * x, -0.55), (x, y + fruit)], [0.02] * 3, 3), GREEN, rim=0.2)
        s.part(oval(x, y, fruit, grow(fruit, t.elongation, 0.23)), s.accent, bevel=fruit, light=0.7, gloss=0.6)
    centre = (0.02 + 0.04 * w[4], 0.22)
    for k in (0, 2, 4, 1, 3):
        a = UP + sway + k * TAU / 5 + 0.06 * w[6 + k]
        blush = opts(to=mix(s.main, WHITE, 0.65), axis=(*spot(*centre, a, 0.9 * petal), *centre))
        lines: Options = {}
        if s.pattern == VEINS:
            lines = opts(pattern=RAYS, ink=dim(s.main, 0.7), scale=60, duty=0.3, amount=0.6 * s.amount)
        elif s.pattern == PATCH:  # pale towards the edge
            lines = opts(pattern=RINGS, ink=WHITE, scale=0.5 / petal, duty=0.6, amount=s.amount, to=s.main)
        s.part(
            notched(*centre, a, petal, wide, 0.13),
            s.main,
            bevel=0.10,
            light=0.45,
            **(blush | lines),
            frame=(*centre, 0.0),
        )
    gold = (0.95, 0.78, 0.20)
    n = count(12, 22, t.scale)
    stamen = grow(0.20, t.contrast, 0.31)
    ends = [spot(*centre, i * TAU / n, stamen * (1.0 if i % 2 else 0.7)) for i in range(n)]
    s.part([seg(*centre, *end, 0.012) for end in ends], mix(gold, WHITE, 0.5), rim=0)
    s.part([oval(*end, 0.028, 0.028) for end in ends], gold, rim=0.3)
    s.part(oval(*centre, 0.075, 0.075), (0.62, 0.72, 0.25), bevel=0.06)


def _daisy(s: Sketch) -> None:
    """A head of many ray florets round a disc, on a leafy stem."""
    t, w = s.t, s.w
    disc, ray = grow(0.24, t.head, 0.34), grow(0.36, t.limbs, 0.28)
    n = count(10, 24, t.ornament)
    wide = (disc + 0.4 * ray) * math.sin(math.pi / n) * grow(1.15, t.bulk, 0.23)
    lean = 0.10 * w[0]
    x, y = 0.3 * lean, 0.32
    stem = [(-lean, -1.15), (0.3 * lean, -0.5), (x, y)]
    s.part(chain(stem, [0.05, 0.045, 0.045], 4), s.second, bevel=0.05, fur=0.008)
    size = grow(0.62, t.elongation, 0.19)
    for k, (at, a) in enumerate(((-0.88, 0.45), (-0.62, math.pi - 0.55))):
        a += 0.12 * w[1 + k]
        foot = (0.1 * lean, at)
        outline = leaf(*foot, a, size, grow(0.20, t.bulk, 0.23), teeth=5, bite=0.18, peak=0.35, sharp=1.1)
        s.part(outline, dim(s.second, 0.9), bevel=0.06, **_veins(s, *foot, a))
    for layer in (0, 1):  # the back row shows between the front one
        tone = dim(s.main, 0.78 + 0.22 * layer)
        for k in range(n):
            a = (k + 0.5 * layer) * TAU / n + 0.1 * w[3] + 0.03 * w[4 + k % 15]
            reach = disc + ray * (1.0 if layer else 1.06)
            base = mix(tone, s.accent, 0.75) if s.pattern == RINGS else dim(tone, 0.85)
            ends = place(x, y, a, [(disc, 0.0), (disc + 0.75 * ray, 0.0)])
            gradient = opts(to=tone, axis=(*ends[0], *ends[1]))
            start = spot(x, y, a, 0.3 * disc)
            petal = leaf(*start, a, reach - 0.3 * disc, wide, peak=0.62, sharp=0.8)
            s.part(petal, base, bevel=0.04, rim=0.3, **gradient)
    grain = s.marks(mix(s.accent, s.main, 0.6), 13.0, 0.45, 0.3, pattern=SPOTS, amount=1.0)
    s.part(oval(x, y, disc, disc), dim(s.accent, 0.75), bevel=0.6 * disc, light=0.8, **grain)
    s.part(oval(x, y, 0.45 * disc, 0.45 * disc), dim(s.accent, 0.5), clip=True, soft=0.1, rim=0, alpha=0.7)


def _orchid(s: Sketch) -> None:
    """One large flower like an insect (three sepals, two petals, a furry lip) below buds, leaves at the foot."""
    t, w = s.t, s.w
    sway = 0.10 * w[0]
    sepal, lip = grow(0.54, t.limbs, 0.2), grow(0.42, t.elongation, 0.2)
    broad = grow(0.26, t.bulk, 0.23)
    x, y = 0.06, 0.15
    for k, (a, size) in enumerate(((0.85, 0.95), (math.pi - 0.8, 0.85), (1.25, 0.7))):
        foot = (0.0, -0.95)
        a += 0.07 * w[1 + k]
        blade = leaf(*foot, a, size, 0.13, peak=0.4, sharp=0.9)
        lines = opts(pattern=STRIPES, ink=dim(s.second, 0.7), scale=14, duty=0.3, frame=(*foot, a + UP))
        s.part(blade, s.second, bevel=0.06, **lines)
    top = (-0.05 + 2 * sway, 1.12)
    s.part(chain([(0.0, -0.95), (-0.04, 0.1), top], [0.055, 0.05, 0.03], 4), mix(s.second, LEAF, 0.5), bevel=0.05)
    for k, (u, v) in enumerate(((-0.20, 0.78), (0.14, 0.92), (-0.05, 1.10))):  # buds
        size = grow(0.15 - 0.03 * k, t.head, 0.23)
        bud = oval(u + 1.6 * sway, v, 0.62 * size, size, -0.3 * (1 - k))
        s.part(bud, s.main, to=LEAF, axis=(u, v, u, v - size), bevel=0.08)
    stripe = opts(pattern=STRIPES, ink=dim(s.main, 0.6), scale=12, duty=0.2, amount=0.6 * s.amount)
    for a in (UP, UP + 2.0, UP - 2.0):
        a += 0.06 * w[5] + sway
        outline = leaf(x, y, a, sepal, 0.36 * sepal, peak=0.55, sharp=0.8)
        s.part(outline, s.main, bevel=0.08, **stripe, frame=(x, y, a + UP))
    for side in (-1, 1):
        a = UP + side * grow(0.95, t.head, 0.16) + sway
        s.part(leaf(x, y, a, 0.62 * sepal, 0.11 * sepal + 0.02, peak=0.5), dim(s.main, 0.75), bevel=0.05)
    # the lip: a body with two shoulders
    c = y - 0.10 - lip
    arm = grow(0.20, t.ornament, 0.39)
    arms = [seg(x, c + 0.45 * lip, x + side * (broad + 0.5 * arm), c + 0.15 * lip, 0.12, 0.055) for side in (-1, 1)]
    s.part([oval(x, c + 0.12, 0.9 * broad, lip * 0.85), *arms], s.accent, blend=0.1, bevel=0.2, light=0.6, fur=0.014)
    shine = mix(s.main, WHITE, 0.55)
    if s.pattern == SPOTS:
        dots = opts(pattern=SPOTS, ink=shine, scale=grow(8.5, t.scale), duty=0.3, amount=s.amount, frame=(x, c, 0.0))
        s.part(oval(x, c + 0.12, 0.85 * broad, lip * 0.8), None, clip=True, rim=0, **dots)
    elif s.pattern == STRIPES:  # across, as on a bee
        bars = opts(pattern=STRIPES, ink=shine, scale=grow(4.0, t.scale), duty=0.35, wild=0.2, frame=(x, c, UP))
        s.part(oval(x, c + 0.12, 0.8 * broad, lip * 0.75), None, clip=True, rim=0, **bars, amount=s.amount)
    else:  # a shield
        s.part(oval(x, c + 0.18, 0.5 * broad, 0.13), shine, clip=True, rim=0)
        s.part(oval(x, c + 0.20, 0.3 * broad, 0.08), s.accent, clip=True, rim=0)
    s.part([oval(x, y, 0.075, 0.10), seg(x, y, x, y + 0.12, 0.045, 0.03)], (0.80, 0.78, 0.35), bevel=0.05)


# --------------------------------------------------------------------------------------------------- leaves of trees


def _acorn(s: Sketch, x: float, y: float, turn: float, size: float) -> None:
    """A nut in its cup, which hangs from (x, y) in the direction `turn`."""
    nut = spot(x, y, turn, 0.9 * size)
    s.part(oval(*nut, 0.85 * size, 0.52 * size, turn), s.accent, bevel=0.5 * size, light=0.7, gloss=0.5)
    tip = place(x, y, turn, [(1.65 * size, 0.0), (1.85 * size, 0.0)])
    s.part(seg(*tip[0], *tip[1], 0.03, 0.01), dim(s.accent, 0.6), rim=0)
    cup = spot(x, y, turn, 0.35 * size)
    scales = opts(pattern=NET, ink=dim(BARK, 0.55), scale=9.0, duty=0.16, frame=(*cup, turn))
    s.part(oval(*cup, 0.42 * size, 0.62 * size, turn), mix(BARK, s.second, 0.25), bevel=0.3 * size, **scales)


def _oak(s: Sketch) -> None:
    """One leaf with rounded lobes (almost none: a beech) and two nuts in cups."""
    t, w = s.t, s.w
    long, wide = grow(1.70, t.elongation, 0.12), grow(0.60, t.bulk, 0.2)
    lobes = count(4, 8, t.scale)
    depth = min(0.72, 0.36 * math.exp(0.5 * bound(t.ornament)))
    turn = UP - 0.25 + 0.12 * w[0]
    x, y = -0.18, -0.78
    size = grow(0.21, t.head, 0.28)
    stalk = [(-0.50, -0.88), (-0.30, -0.86), (x, y)]
    s.part(chain(stalk, [0.05, 0.035, 0.03], 3), BARK, bevel=0.04)
    twig = grow(0.22, t.limbs, 0.46)
    for k, a in enumerate((-1.25, -2.25)):
        end = (-0.34 + 0.30 * (1 - 2 * k) + 0.03 * w[1 + k], -0.86 - twig * (0.55 if k else 0.4))
        s.part(seg(-0.32, -0.87, *end, 0.025), GREEN, rim=0.2)
        _acorn(s, *end, a + 0.12 * w[3 + k], size)
    outline = leaf(x, y, turn, long, wide, teeth=lobes, bite=depth, peak=0.58, sharp=0.75, smooth=3)
    far = spot(x, y, turn, long)
    tinge = opts(to=mix(s.main, s.accent, 0.35 if s.pattern == PATCH else 0.0), axis=(x, y, *far))
    s.part(outline, s.main, bevel=0.10, light=0.55, **tinge)
    if s.pattern == MOTTLE:
        s.part(outline, None, clip=True, rim=0, **s.marks(dim(s.accent, 0.9), 4.5, 0.25))
    veins = _veins(s, x, y, turn, lobes / long) | opts(ink=mix(s.main, (1.0, 1.0, 0.7), 0.45), duty=0.14)
    s.part(outline, None, clip=True, rim=0, **veins)


def _maple(s: Sketch) -> None:
    """One palmate leaf, from shallow lobes (a maple) to leaflets (a horse chestnut), and a pair of winged keys."""
    t, w = s.t, s.w
    turn = 0.12 * w[0]
    depth = 0.38 * math.exp(-0.30 * bound(t.limbs))  # how far from the stalk the notches end
    long, wide = grow(1.0, t.elongation, 0.12), grow(1.0, t.bulk, 0.16)
    side_lobes = count(2, 3, t.head)
    teeth = grow(0.16, t.ornament, 0.54)
    x, y = 0.0, -0.12
    step, half = 2.15 / side_lobes, 0.52 * min(0.42, 1.075 / side_lobes)
    points, tips = [], []
    for k in range(-side_lobes, side_lobes + 1):
        a = UP + turn - k * step * min(1.25, wide)
        reach = long * (1.02, 0.92, 0.66 if side_lobes == 3 else 0.56, 0.46)[abs(k)]
        low = depth * reach + 0.04
        saw = [(0.22, 0.62), (0.47, 0.92 + teeth), (0.51, 0.48), (0.75, 0.28 + 0.6 * teeth), (0.78, 0.13)]
        edge = [(low, 0.55 * half), *((low + (reach - low) * u, v * half * reach * wide) for u, v in saw)]
        tips.append(spot(x, y, a, reach))
        points += place(x, y, a, [*edge, (reach, 0.0), *((u, -v) for u, v in reversed(edge))])
        points.append(spot(x, y, a - 0.5 * step, 0.9 * low) if k < side_lobes else (x - 0.02, y - 0.02))
    end = (-0.28 + 0.2 * w[1] - 0.3 * turn, -1.08)
    s.part(chain([(x, y), (-0.05, -0.55), end], [0.028, 0.03, 0.038], 4), mix(s.accent, s.main, 0.3), bevel=0.03)
    # keys: two winged seeds
    key = grow(0.46, t.scale, 0.28)
    kx, ky = 0.42, -0.72 + 0.03 * w[2]
    s.part(chain([(end[0] + 0.08, -0.86), (0.2, -0.58), (kx, ky)], [0.014] * 3, 3), s.second, rim=0)
    ribs = opts(pattern=STRIPES, ink=dim(s.second, 0.6), scale=14, duty=0.25, amount=0.6)
    for side in (-1, 1):
        a = -UP + side * (0.75 + 0.25 * bound(t.contrast) / 2.2 + 0.08 * w[3])
        vane = leaf(kx, ky, a, key, 0.24 * key, peak=0.66, sharp=0.8)
        s.part(vane, mix(s.second, s.accent, 0.35), bevel=0.05, frame=(kx, ky, a + UP), **ribs)
        seed = spot(kx, ky, a, 0.22 * key)
        s.part(oval(*seed, 0.20 * key, 0.16 * key, a), s.second, bevel=0.06)
    tinge: Options = {}
    if s.pattern == PATCH:  # the tips turn first
        tinge = opts(
            pattern=RINGS, ink=s.accent, scale=0.5, duty=0.55, wild=0.1, amount=0.9 * s.amount, frame=(x, y, 0)
        )
    elif s.pattern == MOTTLE:
        tinge = s.marks(s.accent, 4.0, 0.35)
    s.part(poly(points, 0.012), s.main, bevel=0.09, light=0.5, **tinge)
    rib = mix(s.main, (1.0, 1.0, 0.75), 0.45)
    s.part([seg(x, y, *tip, 0.022, 0.008) for tip in tips], rib, clip=True, rim=0)


def _birch(s: Sketch) -> None:
    """A hanging twig: small toothed leaves in a row, long catkins, and little cones."""
    t, w = s.t, s.w
    sway = 0.10 * w[0]
    size, wide = grow(0.74, t.elongation, 0.19), grow(0.29, t.bulk, 0.22)
    twig = [(-0.85, 0.60), (-0.35, 0.66), (0.30, 0.58), (0.72, 0.42)]
    bark = opts(pattern=STRIPES, ink=WHITE, scale=5, duty=0.3, wild=0.3, along=True, amount=0.5)
    s.part(chain(twig, [0.065, 0.05, 0.04, 0.022], 4), mix(BARK, s.accent, 0.25), bevel=0.05, **bark)
    catkin = grow(0.78, t.limbs, 0.25)
    scales = opts(pattern=STRIPES, ink=dim(s.accent, 0.55), scale=grow(11, t.scale), duty=0.4, along=True)
    for k in range(count(2, 4, t.ornament)):
        x = (-0.52, 0.52, 0.10, -0.14)[k]
        y = 0.62 - 0.10 * (k == 1)
        drop = catkin * (1.0, 0.85, 0.75, 0.9)[k]
        line = [(x, y), (x + 0.02, y - 0.16), (x + 0.03 + sway, y - 0.3 - 0.4 * drop), (x + 2 * sway, y - 0.3 - drop)]
        r = grow(0.068, t.head, 0.23)
        s.part(chain(line[:2], [0.018, 0.02]), s.second, rim=0)
        s.part(chain(line[1:], [0.8 * r, 1.1 * r, 0.6 * r], 4), s.accent, bevel=0.07, light=0.7, fur=0.012, **scales)
    leaves = ((-0.70, 0.62, -2.3), (-0.30, 0.66, 2.1), (-0.25, 0.62, -1.35), (0.20, 0.60, 1.1))
    for k, (x, y, a) in enumerate((*leaves, (0.68, 0.42, -0.75))):
        a += sway + 0.12 * w[1 + k]
        u, v = spot(x, y, a, 0.10)
        s.part(seg(x, y, u, v, 0.02), s.second, rim=0.2)
        outline = leaf(u, v, a, size, wide, teeth=count(5, 9, t.scale), bite=0.26, peak=0.34, sharp=0.95)
        s.part(outline, s.main, bevel=0.05, light=0.6, **(_veins(s, u, v, a, 8.0) | opts(ink=dim(s.main, 0.6))))
        if s.pattern == PATCH:  # yellow at the tip
            tip = spot(u, v, a, size)
            patch = oval(*tip, 0.55 * size, 0.55 * size)
            s.part(patch, (0.92, 0.78, 0.20), clip=True, soft=0.3, rim=0, alpha=0.8 * s.amount)
    for k in range(count(0, 2, t.contrast)):  # woody cones, as on alders
        x, y = 0.66 + 0.15 * k, 0.30 - 0.06 * k
        s.part(seg(x, 0.46, x, y + 0.08, 0.015), BARK, rim=0)
        s.part(oval(x, y, 0.075, 0.10), dim(BARK, 0.6), bevel=0.06, pattern=NET, ink=dim(BARK, 1.3), scale=12, duty=0.2)


# ------------------------------------------------------------------------------------------ conifers, ferns, mosses


def _conifer(s: Sketch) -> None:
    """A whole tree: a trunk and tiers of hanging branches, with cones."""
    t, w = s.t, s.w
    tall, wide = grow(2.0, t.elongation, 0.16), grow(0.72, t.bulk, 0.25)
    tiers = count(4, 8, t.scale)
    droop = grow(0.55, t.limbs, 0.46)
    blunt = 0.18 + 0.08 * bound(t.head)  # how wide the top is
    lean = 0.06 * w[0]
    s.shadow(0.0, -0.02, 0.75 * wide)
    bark = opts(pattern=STRIPES, ink=dim(s.second, 0.5), scale=11, duty=0.35, wild=0.6)
    trunk = chain([(0.0, 0.0), (0.02, 0.3), (lean, 0.85 * tall)], [0.105, 0.085, 0.03])
    s.part(trunk, s.second, bevel=0.08, **bark)
    base = 0.30
    high = (tall - base) / tiers
    for k in range(tiers):
        f = k / tiers
        half = wide * ((1.0 - f) ** 0.9 * (1.0 - blunt) + blunt) * (1.0 + 0.05 * w[1 + k % 8])
        y = base + k * high
        x = lean * f
        n = max(3, round(7 * (1.0 - 0.55 * f)))
        hem = []
        for i in range(2 * n + 1):
            u = -1.0 + i / n
            sag = droop * 0.26 * (abs(u) ** 1.5) * half
            ragged = 0.09 * (i % 2) - 0.02 * w[8 + (i + k) % 12] * (i % 2)
            hem.append((x + half * u, y - sag + ragged + 0.06 * (1 - abs(u))))
        peak = [(x + 0.22 * half, y + 1.0 * high), (x, y + 1.55 * high), (x - 0.22 * half, y + 1.0 * high)]
        tone = 0.80 + 0.32 * f
        needles = s.marks(dim(s.main, 0.58), 8.0, 0.4, 0.9)
        shade = opts(to=dim(s.main, tone * 0.68), axis=(0, y + high, 0, y - 0.1))
        s.part(poly(hem + peak, 0.01), dim(s.main, tone), bevel=0.12, light=0.6, fur=0.018, **shade, **needles)
        for i in range(count(0, 3, t.ornament)):
            if k < tiers - 1:
                u = (-0.62, 0.55, 0.05)[i] * half
                s.part(oval(x + u, y - 0.05 * droop, 0.042, 0.095), s.accent, bevel=0.05, rim=0.4)


def _frond(s: Sketch, foot: Point, bend: float, length: float, tone: float, pinnae: int, pose: Sequence[float]) -> None:
    """One frond: a stalk that arches by `bend` radians, pinnae on both sides, smaller to the tip."""
    t = s.t
    wide, peak = grow(0.50, t.bulk, 0.22) * length / 1.9, 0.30 + 0.06 * bound(t.limbs)
    spread, teeth, bite = grow(1.12, t.head, 0.12), count(3, 6, t.ornament), 0.30 * math.exp(0.35 * bound(t.scale))
    steps = pinnae + 3
    width = 0.54 * length / steps * grow(1.0, t.elongation, 0.19)
    stalk, shapes = [foot], []
    a = UP - 0.25 * bend
    for k in range(steps):
        if k >= 3:
            f = (k - 3) / pinnae
            reach = wide * (f / peak * 0.45 + 0.55 if f < peak else (1.0 - f) / (1.0 - peak)) ** 0.9 + 0.03
            cut = opts(teeth=teeth if reach > 0.12 else 0, bite=min(0.6, bite))
            for side in (-1, 1):
                turn = a + side * (spread + 0.05 * pose[k % len(pose)])
                shapes.append(leaf(*stalk[-1], turn, reach, width, peak=0.30, sharp=0.7, **cut))
        stalk.append(spot(*stalk[-1], a, length / steps))
        a -= bend / steps
    sori = opts(pattern=SPOTS, ink=s.second, scale=grow(15, t.contrast, 0.16), duty=0.2) if s.pattern == SPOTS else {}
    fade = opts(to=dim(mix(s.main, s.accent, 0.5), tone), axis=(*stalk[3], *stalk[-1]))
    s.part(shapes, dim(s.main, tone), bevel=0.05, rim=0.3, **fade, **sori)
    radii = [0.042 * (1.0 - 0.8 * k / steps) for k in range(steps + 1)]
    s.part(chain(stalk, radii), mix(s.second, s.main, 0.3), bevel=0.03, rim=0.3)


def _fern(s: Sketch) -> None:
    """Two fronds from one crown, and a young one rolled up."""
    t, w = s.t, s.w
    arch = 0.75 + 0.15 * w[0]
    _frond(s, (-0.05, -0.9), -(arch + 0.35), 1.45, 0.72, 8, w[2:8])
    _frond(s, (0.0, -0.9), arch, 1.95, 1.0, count(9, 15, t.scale), w[8:14])
    coil = [spot(-0.26, -0.38, 0.1 + 0.75 * i, 0.115 * (1.0 - 0.09 * i)) for i in range(9)]
    radii = [0.05, 0.045, *(0.036 - 0.001 * i for i in range(9))]
    s.part(chain([(-0.02, -0.9), (-0.10, -0.62), *coil], radii, 2), mix(s.main, s.second, 0.4), bevel=0.04)


def _peat_moss(s: Sketch) -> None:
    """A cushion of soft heads like stars on drooping stems."""
    t, w = s.t, s.w
    size, drop = grow(0.34, t.head, 0.19), grow(0.40, t.elongation, 0.31)
    rays, thin = count(7, 12, t.scale), 1.6 * grow(0.30, t.bulk, 0.31)
    foot = -0.36 - 0.5 * drop
    s.shadow(0.0, -0.30 - drop, 1.0)
    mound = [(-1.0, foot), (-0.85, 0.02), (-0.35, 0.30), (0.35, 0.30), (0.85, 0.02), (1.0, foot), (0.0, -0.36 - drop)]
    moss = opts(pattern=MOTTLE, ink=dim(s.second, 0.45), scale=7.0, duty=0.5, seed=s.seed)
    s.part(blob(mound, 4), dim(s.second, 0.75), bevel=0.2, fur=0.04, **moss)
    green = mix(s.main, s.accent, 0.35) if s.pattern == PATCH else s.main
    heads = (  # from back to front
        ((-0.62, 0.12), (-0.2, 0.30), (0.26, 0.30), (0.66, 0.10)),
        ((-0.80, -0.18), (-0.36, 0.0), (0.08, 0.04), (0.48, -0.02), (0.84, -0.22)),
        ((-0.58, -0.34), (-0.14, -0.30), (0.28, -0.32), (0.66, -0.40)),
    )
    for row, places in enumerate(heads):
        tone = 0.78 + 0.13 * row
        for k, (x, y) in enumerate(places):
            x, y = x + 0.03 * w[(3 * row + k) % 20], y + 0.03 * w[(5 * row + k + 7) % 20]
            turn = 0.4 * w[(row + 2 * k) % 20]
            stem = [(x, y), (x * 1.02, y - 0.5 * drop), (0.85 * x, y - drop)]
            s.part(chain(stem, [0.09, 0.10, 0.05], 2), dim(s.second, tone), bevel=0.07, fur=0.03)
            for reach, tilt, bright in ((size, 0.0, 0.8 * tone), (0.62 * size, 0.3, tone + 0.12)):
                star = []
                for i in range(2 * rays):
                    a, r = turn + tilt + i * math.pi / rays, reach * (1.0 if i % 2 else thin)
                    star.append((x + r * math.cos(a), y + 0.85 * r * math.sin(a)))
                s.part(poly(star, 0.012), dim(green, bright), bevel=0.05, rim=0.35)
            bud = dim(s.accent if s.pattern == PATCH else s.main, 1.1 * tone)
            s.part(oval(x, y, 0.24 * size, 0.20 * size), bud, bevel=0.06, fur=0.01)


def _haircap_moss(s: Sketch) -> None:
    """Upright shoots with stiff pointed leaves; from some rises a red stalk with a capsule."""
    t, w = s.t, s.w
    tall = grow(0.92, t.elongation, 0.22)
    needle, slim = grow(0.32, t.limbs, 0.25), grow(0.036, t.bulk, 0.23)
    seta = grow(0.72, t.head, 0.28)
    capsule = grow(0.10, t.ornament, 0.28)
    whorls = count(6, 10, t.scale)
    s.shadow(0.0, -0.04, 0.85)
    shoots = ((-0.62, 0.72), (0.60, 0.80), (-0.30, 0.95), (0.26, 0.88), (0.0, 1.05))
    for k, (x, size) in enumerate(shoots):
        lean = 0.10 * w[k] + 0.12 * x
        high = tall * size
        tone = 0.75 + 0.07 * k
        if k != 1:
            tip = (x + 3.0 * lean + 0.10 * w[8 + k], high + seta * (0.75 + 0.1 * (k % 3)))
            stalk = chain([(x + lean, high), (x + 1.8 * lean, high + 0.5 * seta), tip], [0.022] * 3, 3)
            s.part(stalk, s.accent, rim=0.3)
            a = -0.9 + 0.3 * w[12 + k] if s.pattern == PATCH else UP + 0.2 * w[12 + k] - 0.3  # hanging or upright
            end = spot(*tip, a, 1.7 * capsule)
            cap = opts(pattern=STRIPES, ink=dim(s.second, 0.55), scale=9, duty=0.3, along=True, amount=s.amount)
            s.part(chain([tip, end], [0.72 * capsule, 0.62 * capsule]), s.second, bevel=0.08, **cap)
            beak = place(*tip, a, [(2.2 * capsule, 0.0), (3.0 * capsule, 0.0)])
            s.part(seg(*beak[0], *beak[1], 0.5 * capsule, 0.01), dim(s.accent, 0.9), bevel=0.05)
        shapes = chain([(x, 0.0), (x + 0.5 * lean, 0.5 * high), (x + lean, high)], [0.04, 0.035, 0.03])
        for i in range(whorls):
            f = 0.12 + 0.88 * i / (whorls - 1)
            cx, cy = x + lean * f, high * f
            for side in (-1, 1):
                a = UP - lean + side * (0.95 - 0.45 * f**3)
                u, v = spot(cx, cy, a, needle * (0.75 + 0.35 * math.sin(math.pi * f)))
                shapes.append(seg(cx, cy, u, v, slim, 0.008))
        crown = [spot(x + lean, high, UP + b, 0.85 * needle) for b in (-0.35, 0.0, 0.35)]
        shapes += [seg(x + lean, high, *c, slim, 0.008) for c in crown]
        fade = opts(to=dim(s.main, tone * 1.1), axis=(x, 0.1, x, high))
        s.part(shapes, dim(s.main, tone * 0.65), bevel=0.04, rim=0.4, **fade)


LOOKS: dict[str, Look] = {
    "Rosaceae": Look(
        _rose, (0.94, 0.45, 0.94), (0.30, 0.60, 0.42), (0.99, 0.85, 0.72), (NONE, VEINS, PATCH), hues=0.054, turn=0.25
    ),
    "Fagaceae": Look(
        _oak, (0.26, 0.65, 0.50), (0.28, 0.60, 0.45), (0.08, 0.65, 0.60), (NONE, MOTTLE, PATCH), hues=0.095, turn=0.3
    ),
    "Betulaceae": Look(
        _birch, (0.27, 0.62, 0.58), (0.25, 0.50, 0.45), (0.11, 0.60, 0.65), (NONE, NONE, PATCH), hues=0.054, turn=0.15
    ),
    "Asteraceae": Look(
        _daisy, (0.14, 0.85, 0.96), (0.29, 0.60, 0.42), (0.08, 0.75, 0.45), (NONE, NONE, RINGS), hues=0.095, turn=0.2
    ),
    "Sapindaceae": Look(
        _maple, (0.16, 0.70, 0.65), (0.17, 0.55, 0.62), (0.02, 0.80, 0.75), (NONE, PATCH, MOTTLE), hues=0.121, turn=0.3
    ),
    "Orchidaceae": Look(
        _orchid,
        (0.87, 0.42, 0.88),
        (0.30, 0.55, 0.48),
        (0.03, 0.65, 0.32),
        (NONE, STRIPES, SPOTS),
        hues=0.081,
        turn=0.12,
    ),
    "Pinaceae": Look(
        _conifer, (0.38, 0.55, 0.42), (0.06, 0.45, 0.42), (0.07, 0.65, 0.55), (STRIPES, MOTTLE), hues=0.054, turn=0.08
    ),
    "Dryopteridaceae": Look(
        _fern, (0.29, 0.68, 0.52), (0.09, 0.55, 0.42), (0.22, 0.70, 0.65), (NONE, NONE, SPOTS), hues=0.054, turn=0.2
    ),
    "Sphagnaceae": Look(
        _peat_moss, (0.22, 0.50, 0.72), (0.20, 0.45, 0.52), (0.01, 0.60, 0.68), (NONE, PATCH), hues=0.108, turn=0.1
    ),
    "Polytrichaceae": Look(
        _haircap_moss, (0.33, 0.62, 0.48), (0.10, 0.65, 0.72), (0.03, 0.75, 0.62), (NONE, PATCH), hues=0.068, turn=0.1
    ),
}
