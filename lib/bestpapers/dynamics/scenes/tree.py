"""A tree: trunk, limbs, twigs, and hundreds of leaves or blossoms, lit from one side.

Each piece of trunk, limb and bough is a segment with one joint (`worlds.Branching`); twigs and leaves are rigid with the piece
that they grow on.
The eight to twelve slowest modes below 5 Hz are kept: the whole tree sways, the limbs swing against each other. All of them
follow from what the picture shows: the wood decides the shapes and ratios, girth and height the slowest frequency.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..worlds import Array, Branching, Part, Scene
from .backgrounds import Background, draw_background, mix, step
from .canvas import Colour, fbm, foliage, leaf, noise, smooth, tapered, tones

UP = -0.5 * math.pi
MODES = 12  # at most


@dataclass(frozen=True)
class Species:
    """How a tree grows, and what it wears. Lengths in picture heights, angles in radians.

    girth: radius of the trunk at the ground.   bole: share of the trunk below the first limb.   limbs: how many.
    reach: length of the lowest and of the highest limb.   spread: their angle to the trunk.   lift: how much they turn upwards
    as they grow (negative: they droop).   leaf: length and width.   peak: where a leaf is widest.   leaves: to a twig.
    foliage: palettes, one of which a tree wears.   bark, birch: colour, and whether it is white with dark marks.
    blossom: share of the leaves that are flowers.
    """

    girth: float
    bole: float
    limbs: int
    reach: tuple[float, float]
    spread: tuple[float, float]
    lift: float
    leaf: tuple[float, float]
    peak: float
    leaves: int
    foliage: tuple[tuple[Colour, ...], ...]
    bark: Colour
    birch: bool = False
    blossom: float = 0.0
    petals: tuple[Colour, ...] = ()


SPRING = ((0.55, 0.72, 0.22), (0.44, 0.66, 0.20), (0.65, 0.78, 0.30))
SUMMER = ((0.22, 0.46, 0.16), (0.30, 0.55, 0.18), (0.38, 0.60, 0.20), (0.18, 0.40, 0.18))
OLIVE = ((0.42, 0.52, 0.32), (0.52, 0.60, 0.40), (0.34, 0.44, 0.26))
GOLD = ((0.93, 0.70, 0.16), (0.88, 0.58, 0.12), (0.80, 0.74, 0.24), (0.95, 0.80, 0.30))
FLAME = ((0.85, 0.30, 0.12), (0.92, 0.48, 0.12), (0.70, 0.18, 0.14), (0.94, 0.62, 0.18))
PINK = ((0.98, 0.76, 0.83), (0.96, 0.64, 0.76), (1.0, 0.88, 0.92))
WHITE = ((0.98, 0.97, 0.95), (0.95, 0.93, 0.96), (1.0, 0.93, 0.94))

SPECIES = {
    "oak": Species(
        0.038, 0.30, 9, (0.46, 0.26), (1.25, 0.35), 0.40, (0.042, 0.024), 0.55, 10, (SUMMER, SPRING, GOLD), (0.36, 0.28, 0.21)
    ),
    "maple": Species(
        0.030, 0.30, 9, (0.42, 0.25), (1.05, 0.3), 0.35, (0.040, 0.031), 0.45, 9, (FLAME, GOLD, FLAME, SUMMER),
        (0.40, 0.34, 0.29),
    ),
    "birch": Species(
        0.020, 0.26, 11, (0.32, 0.15), (0.70, 0.4), -0.40, (0.026, 0.018), 0.35, 12, (SPRING, GOLD, SUMMER),
        (0.86, 0.85, 0.82), birch=True,
    ),
    "cherry": Species(
        0.028, 0.25, 9, (0.46, 0.27), (1.2, 0.45), 0.25, (0.028, 0.014), 0.45, 11, (SPRING,),
        (0.34, 0.22, 0.20), blossom=0.8, petals=PINK,
    ),
    "apple": Species(
        0.027, 0.27, 9, (0.42, 0.26), (1.25, 0.5), 0.32, (0.032, 0.019), 0.45, 10, (SPRING, SUMMER),
        (0.38, 0.31, 0.26), blossom=0.5, petals=WHITE,
    ),
    "willow": Species(
        0.033, 0.36, 9, (0.42, 0.28), (1.0, 0.4), -1.9, (0.046, 0.010), 0.40, 13, (SPRING, OLIVE, GOLD), (0.34, 0.30, 0.22)
    ),
}  # fmt: skip


# ----------------------------------------------------------------------------------------------------------- materials


def bark(u: Array, v: Array, skin: Array, pixel: float) -> Array:
    """Wood: a round limb lit from the side, with ridges along it, or white with dark marks across."""
    dark, bright = skin[0:3].T, skin[3:6].T
    length, foot, top, seed, across, towards, white = skin[6:13]
    half = np.maximum(foot + (top - foot) * np.clip(u / length, 0, 1), 0.4 * pixel)
    t = np.clip(v / half, -1.0, 1.0)
    facing = np.clip(across * t + (0.25 + towards) * np.sqrt(1 - t * t), 0.0, 1.0)
    bend = np.arcsin(0.98 * t) * half  # along the surface
    ridge = fbm(26.0 * u, 150.0 * bend, seed.astype(int), 3)
    facing = facing * (1 - white) * (0.78 + 0.5 * ridge) + facing * white * (0.94 + 0.1 * ridge)
    colour = dark + np.clip(facing, 0, 1)[:, None] * (bright - dark)
    marks = step(0.30, 0.55, noise(9.0 * bend / np.maximum(foot, 1e-4) / 9.0, 95.0 * u, seed.astype(int) + 9))
    colour = mix(colour, 0.28 * colour, white * marks * step(0.012, 0.02, half))
    moss = (
        (1 - white)
        * 0.25
        * step(0.1, 0.7, fbm(14.0 * u, 40.0 * bend, seed.astype(int) + 4, 2))
        * step(-0.2, -0.9, across * t)
    )
    return mix(colour, colour * np.array([0.85, 1.25, 0.6]), moss)  # type: ignore[return-value]


def blossom(u: Array, v: Array, skin: Array, pixel: float) -> Array:
    """A flower of five petals: darker towards its middle, with a golden heart."""
    dark, bright = skin[0:3].T, skin[3:6].T
    radius, _, facing, tilt, seed = skin[6:11]
    r, angle = np.hypot(u, v) / radius, np.arctan2(v, u)
    petal = np.abs(np.cos(2.5 * angle))
    shine = facing * (0.80 + 0.25 * petal + tilt * np.cos(angle)) * (0.82 + 0.25 * r)
    shine = shine + 0.06 * noise(5 * u / radius, 5 * v / radius, seed.astype(int))
    colour = dark + np.clip(shine, 0, 1.2)[:, None] * (bright - dark)
    colour = mix(colour, colour * np.array([0.95, 0.62, 0.72]), 0.75 * step(0.62, 0.2, r))
    return mix(colour, (dark + bright) * np.array([0.62, 0.50, 0.16]), 0.8 * step(0.30, 0.18, r))  # type: ignore[return-value]


# -------------------------------------------------------------------------------------------------------------- growth


@dataclass
class Limb:
    """A piece of wood as it grew: nodes (n + 1, 2), radii (n + 1,), segments (n,), level 0 (trunk) to 3, depth -1 to 1."""

    nodes: Array
    radii: Array
    segments: list[int]
    level: int
    depth: float
    twig: float = 0.0  # 0 to 1: how much this is a place for leaves


class Growth:
    """Grows the wood of one tree into a `Branching`."""

    def __init__(self, rng: np.random.Generator, kind: Species, base: tuple[float, float], height: float) -> None:
        self.rng, self.kind = rng, kind
        self.wood = Branching()
        self.limbs: list[Limb] = []
        lean = UP + rng.normal(0, 0.05)
        self.height = height
        trunk = self._limb(-1, base, lean, height * 0.78, kind.girth, 0, 0.0, 5)
        n = kind.limbs + int(rng.integers(-1, 2))
        side = 1.0 if rng.random() < 0.5 else -1.0
        for k in range(n):
            t = k / (n - 1)
            at = kind.bole + (0.97 - kind.bole) * t
            point, segment, radius, angle = self._on(trunk, at)
            spread = kind.spread[0] + (kind.spread[1] - kind.spread[0]) * t
            reach = (kind.reach[0] + (kind.reach[1] - kind.reach[0]) * t) * height / 0.9 * rng.uniform(0.85, 1.12)
            depth = float(np.clip(rng.normal(0, 0.5), -1, 1))
            turn = side * spread * rng.uniform(0.8, 1.15)
            if k % 3 == 2:  # towards us or away: short and steep to the eye
                depth = float(rng.choice([-1.0, 1.0]) * rng.uniform(0.6, 1.0))
                reach, turn = 0.7 * reach, 0.45 * turn
            else:
                side = -side
            limb = self._limb(segment, point, angle + turn, reach, 0.62 * radius, 1, depth, 3)
            self._boughs(limb, reach, depth)
        # the leader goes on above the trunk
        self._boughs(trunk, 0.30 * height, 0.1, first=0.8)

    def _boughs(self, limb: Limb, reach: float, depth: float, first: float = 0.30) -> None:
        rng = self.rng
        n = int(rng.integers(4, 6)) if first < 0.5 else 4
        side = 1.0 if rng.random() < 0.5 else -1.0
        for k in range(n):
            at = first + (0.98 - first) * (k + rng.uniform(0.2, 0.8)) / n
            point, segment, radius, angle = self._on(limb, at)
            length = 0.50 * reach * (1.15 - 0.55 * at) * rng.uniform(0.8, 1.25)
            z = float(np.clip(depth + rng.normal(0, 0.45), -1, 1))
            bough = self._limb(segment, point, angle + side * rng.uniform(0.45, 0.95), length, 0.55 * radius, 2, z, 2)
            for j in range(3):
                point, segment, radius, angle2 = self._on(bough, 0.25 + 0.3 * j)
                turn = (1 if j % 2 else -1) * side * rng.uniform(0.4, 0.9)
                self._limb(segment, point, angle2 + turn, 0.62 * length * rng.uniform(0.8, 1.2), 0.6 * radius, 3, z, 1)
            side = -side

    def _limb(
        self,
        parent: int,
        base: tuple[float, float],
        angle: float,
        length: float,
        radius: float,
        level: int,
        depth: float,
        pieces: int,
    ) -> Limb:
        rng, kind = self.rng, self.kind
        radius = max(radius, 0.0012)
        nodes, radii, segments = [base], [radius], []
        leaves = {0: 0.0, 1: 0.25, 2: 1.0, 3: 1.0}[level]
        for n in range(pieces):
            if level:
                towards = UP if kind.lift > 0 else -UP
                pull = abs(kind.lift) * (1.0 if kind.lift > 0 else (0.0, 0.35, 0.95, 1.3)[level])
                angle += pull / pieces * math.sin(towards - angle)
            angle += rng.normal(0, 0.10 if level else 0.05)
            piece = length / pieces
            x, y = nodes[-1]
            tip = (x + piece * math.cos(angle), y + piece * math.sin(angle))
            ends = radius * (1 - (0.88 if level else 0.72) * ((n + 1) / pieces) ** 1.2)
            load = leaves * kind.leaf[0] * kind.leaf[1] * kind.leaves * 0.05 / pieces
            # the beam rule alone would let thin wood swing slower than the trunk: wood so thin is short and much divided
            soft = (radius / kind.girth) ** 2.4 * (1.0 if level else 0.4)
            drag = radii[-1] * piece + leaves * 0.5 * kind.leaf[0] * kind.leaf[1] * kind.leaves / pieces
            if level == 3:  # twigs are stiff: they are one piece with what they grow on
                self.wood.load[parent] += load
                self.wood.drag[parent] += drag
            else:
                parent = self.wood.segment(parent, nodes[-1], tip, radii[-1], load=load, drag=drag, soft=soft)
            segments.append(parent)
            nodes.append(tip)
            radii.append(max(ends, 0.0011))
        limb = Limb(np.array(nodes), np.array(radii), segments, level, depth, leaves)
        self.limbs.append(limb)
        return limb

    @staticmethod
    def _on(limb: Limb, at: float) -> tuple[tuple[float, float], int, float, float]:
        """A place on a limb, `at` 0 to 1: point, segment, radius, direction."""
        place = min(at, 0.999) * len(limb.segments)
        k = int(place)
        t = place - k
        a, b = limb.nodes[k], limb.nodes[k + 1]
        point = a + t * (b - a)
        radius = limb.radii[k] + t * (limb.radii[k + 1] - limb.radii[k])
        return (float(point[0]), float(point[1])), limb.segments[k], float(radius), math.atan2(b[1] - a[1], b[0] - a[0])


# --------------------------------------------------------------------------------------------------------------- build


def build(rng: np.random.Generator) -> Scene:
    """A tree on a meadow."""
    name = str(rng.choice(list(SPECIES)))
    kind = SPECIES[name]
    kind = replace(kind, girth=kind.girth * float(rng.uniform(0.8, 1.25)))
    hour = {"cherry": "day"}.get(name) if rng.random() < 0.5 else None
    ground = draw_background("tree", rng, hour=hour)
    height = float(rng.uniform(0.82, 1.0))
    foot = (0.8 + float(rng.uniform(-0.2, 0.2)), float(min(0.965, max(ground.horizon + 0.07, rng.uniform(0.88, 0.96)))))
    growth = Growth(rng, kind, foot, height)
    # so that the picture tells the modes: stout and short trees swing faster, and the higher a mode, the more air damps it
    first = min(0.8, max(0.35, 0.55 * (kind.girth / 0.03) ** 0.8 * (0.9 / height) ** 1.3))
    body = growth.wood.solve(first, np.linspace(0.045, 0.095, MODES))
    wood = _wood(growth, ground, rng)
    leaves = _leaves(growth, ground, rng)
    parts = [part for _, part in sorted(wood + leaves, key=lambda item: item[0])]
    return Scene(
        "tree", [body], [*parts, *_tufts(foot, kind.girth, ground, rng)], _shadowed(ground, foot, height), sway=0.011
    )


def _wood(growth: Growth, ground: Background, rng: np.random.Generator) -> list[tuple[float, Part]]:
    kind, light = growth.kind, ground.light
    out = []
    for limb in growth.limbs:
        curve = smooth(limb.nodes, 4)
        radii = np.interp(np.arange(len(curve)) / 4, np.arange(len(limb.radii)), limb.radii)
        if limb.level == 0:  # roots spread at the ground
            radii[:3] *= (1.7, 1.28, 1.08)
        tone = tones(ground, np.array(kind.bark) * (0.8 if limb.level and not kind.birch else 1.0), 0.7)
        white = 1.0 if kind.birch and limb.level < 2 else 0.0
        if kind.birch and not white:
            tone = tones(ground, (0.30, 0.22, 0.20))
        for n, segment in enumerate(limb.segments):
            piece, r = curve[4 * n : 4 * n + 5], radii[4 * n : 4 * n + 5]
            along = piece[-1] - piece[0]
            length, angle = float(np.hypot(*along)), math.atan2(along[1], along[0])
            # a little longer at both ends, so that joints do not gape when they bend
            more = along / length * 0.5 * r[0]
            piece = np.concatenate(
                [piece[:1] - more * (n > 0 or limb.level > 0), piece, piece[-1:] + along / length * 0.5 * r[-1]]
            )
            outline = tapered(piece, np.concatenate([0.8 * r[:1] if limb.level == 0 and n else r[:1], r, 0.7 * r[-1:]]))
            across = -math.sin(angle) * light[0] + math.cos(angle) * light[1]
            skin = (*tone, length, float(r[0]), float(r[-1]), float(rng.integers(1 << 20)), across, light[2], white)
            base = limb.nodes[n]
            frame = (float(base[0]), float(base[1]), angle)
            motion = growth.wood.motion(segment)
            part = Part(outline, bark, skin, frame, 0, (float(base[0]), float(base[1])), motion)
            out.append((0.55 * limb.depth - 0.02 * limb.level, part))
    return out


def _leaves(growth: Growth, ground: Background, rng: np.random.Generator) -> list[tuple[float, Part]]:
    kind, light = growth.kind, np.array(ground.light)
    palette = np.array(kind.foliage[int(rng.integers(len(kind.foliage)))])
    petals = np.array(kind.petals) if kind.petals else palette
    twigs = [limb for limb in growth.limbs if limb.twig]
    tips = np.concatenate([limb.nodes for limb in twigs])
    centre, extent = tips.mean(0), tips.std(0) * 1.7 + 1e-6
    out = []
    for limb in twigs:
        hue = palette[int(rng.integers(len(palette)))] * rng.uniform(0.9, 1.1)
        count = round(1.2 * kind.leaves * min(1.0, limb.twig) * rng.uniform(0.8, 1.2))
        middle = limb.nodes.mean(0)
        for k in range(count):
            point, segment, _, angle = Growth._on(
                limb, (k + rng.uniform(0.1, 1.2)) / (count + 0.3) if limb.level > 1 else rng.uniform(0.4, 1)
            )
            side = 1 if k % 2 else -1
            size = rng.uniform(0.75, 1.2)
            depth = 0.75 * limb.depth + rng.uniform(-0.65, 0.65)
            spot = np.array(point) + rng.normal(0, 0.35 * kind.leaf[0], 2)
            bulge = np.array([*((spot - centre) / extent), 0.9 * depth])
            clump = np.array([*((spot - middle) / 0.05), 0.5])
            normal = bulge / (np.linalg.norm(bulge) + 0.3) + 0.55 * clump / (np.linalg.norm(clump) + 0.5)
            normal = normal + rng.normal(0, 0.28, 3)
            normal /= np.linalg.norm(normal) + 1e-9
            open_ = np.clip(0.50 + 0.5 * depth + 0.30 * (np.linalg.norm(bulge[:2]) - 0.7), 0.12, 1.0)
            facing = float(np.clip(0.36 + 0.72 * normal @ light, 0.04, 1.05) * (0.30 + 0.70 * open_))
            flower = rng.random() < kind.blossom
            colour = (petals if flower else palette)[int(rng.integers(len(petals if flower else palette)))]
            if not flower:
                colour = 0.45 * colour + 0.55 * hue
            colour = np.clip(colour * rng.uniform(0.9, 1.1) + rng.normal(0, 0.012, 3), 0.02, 1)
            tone = tones(ground, colour, 0.42 + 0.38 * float(open_))
            motion = growth.wood.motion(segment)
            turn = angle + side * rng.uniform(0.3, 1.1)
            if flower:
                radius = 0.0155 * size
                frame = (float(spot[0]), float(spot[1]), float(rng.uniform(0, 2 * math.pi)))
                outline = _rosette(frame, radius)
                skin = (*tone, radius, 0.0, 0.88 * facing, rng.uniform(-0.2, 0.2), float(rng.integers(1 << 20)))
                part = Part(outline, blossom, skin, frame, 0, growth.wood.base[segment], motion)
                depth += 0.15
            else:
                turn += 0.5 * math.sin(math.pi / 2 - turn) * rng.uniform(0.3, 1.0)  # tips hang
                if kind.lift < -0.6:
                    turn += 0.7 * math.sin(math.pi / 2 - turn)
                length, width = kind.leaf[0] * size, kind.leaf[1] * size * rng.uniform(0.7, 1.1)
                frame = (
                    float(spot[0] - 0.3 * length * math.cos(turn)),
                    float(spot[1] - 0.3 * length * math.sin(turn)),
                    turn,
                )
                outline = leaf(frame, length, width, 6, kind.peak)
                tilt = float(0.35 * (-math.sin(turn) * light[0] + math.cos(turn) * light[1]) + rng.uniform(-0.12, 0.12))
                skin = (*tone, length, width, facing, tilt, float(rng.integers(1 << 20)))
                part = Part(outline, foliage, skin, frame, 0, growth.wood.base[segment], motion)
            out.append((float(depth), part))
    return out


def _rosette(frame: tuple[float, float, float], radius: float) -> Array:
    angle = np.arange(20) * 2 * math.pi / 20
    r = radius * (0.80 + 0.22 * np.cos(5 * angle))
    return np.column_stack([frame[0] + r * np.cos(angle + frame[2]), frame[1] + r * np.sin(angle + frame[2])])


def _tufts(foot: tuple[float, float], girth: float, ground: Background, rng: np.random.Generator) -> list[Part]:
    """Grass that stands before the trunk."""
    out = []
    for _ in range(46):
        x = foot[0] + rng.normal(0, 1.6 * girth)
        y = foot[1] + rng.uniform(0.004, 0.022)
        length, turn = rng.uniform(0.012, 0.034), UP + rng.normal(0, 0.32)
        colour = np.array([0.36, 0.50, 0.20]) * rng.uniform(0.7, 1.15) + rng.normal(0, 0.02, 3)
        frame = (float(x), float(y), float(turn))
        skin = (*tones(ground, np.clip(colour, 0, 1), 0.7), length, 0.007, float(rng.uniform(0.25, 0.8)), 0.1, 0.0)
        out.append(Part(leaf(frame, length, 0.006, 5, 0.25), foliage, skin, frame))
    return out


def _shadowed(
    ground: Background, foot: tuple[float, float], height: float
) -> Callable[[int, int], NDArray[np.float32]]:
    """The background with the tree's shadow on the ground."""

    def paint(rows: int, columns: int) -> NDArray[np.float32]:
        picture = ground.paint(rows, columns)
        x = (np.arange(columns) + 0.5) / rows + 0.8 - 0.5 * columns / rows
        y = (np.arange(rows) + 0.5)[:, None] / rows
        away = -ground.light[0]
        u = (x - foot[0] - 0.30 * away) / (0.30 + 0.16 * abs(away))
        v = (y - foot[1] - 0.012) / 0.045
        spots = noise(34 * x + 0 * y, 90 * y + 0 * x, 5)
        soft = step(1.15, 0.35, np.hypot(u, v) + 0.22 * spots) * step(ground.horizon, ground.horizon + 0.02, y)
        deep = 0.55 * float(np.clip(np.mean(ground.sun), 0.3, 1.0))
        tint = 1 - deep * soft[..., None] * np.array([1.0, 0.93, 0.80])
        return np.asarray(picture * tint, np.float32)

    return paint
