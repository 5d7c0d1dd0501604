"""What the eight kinds of things look like: their parts, from back to front, and their limbs.

Sizes are in cells; a thing stays a tenth of a cell inside its box. Each has a share of the caption's colour (PAINT) that is
large enough to be seen in a picture of 32 pixels, and structure enough that a missing or a surplus limb is seen at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from .paint import Colour, Limb, Part, Point, bone, box, cut, join, outline, oval, rope

WOOD: Colour = (0.55, 0.37, 0.24)
DARK: Colour = (0.13, 0.11, 0.16)
WHITE: Colour = (0.98, 0.97, 0.94)
BEAK: Colour = (0.96, 0.56, 0.14)
GLOW: Colour = (1.0, 0.87, 0.50)
SLATE: Colour = (0.36, 0.36, 0.44)
TEA: Colour = (0.36, 0.20, 0.11)
PI = math.pi


def _eye(x: float, y: float, r: float) -> list[Part]:
    return [
        Part(oval(x, y, r, 1.15 * r), DARK, rim=0),
        Part(oval(x - 0.3 * r, y - 0.4 * r, 0.4 * r, 0.4 * r), WHITE, rim=0),
    ]


def _cat() -> list[Part]:
    """Standing, to the right, its face to us."""
    parts = [Part(rope([(0.62, 1.75), (0.22, 1.45), (0.30, 0.95), (0.62, 0.62)], 0.15, 0.12), limb="tail", bevel=0.12)]
    for n, (x, foot, tone) in enumerate(((0.98, 2.72, 0.72), (2.02, 2.72, 0.72), (0.62, 2.84, 1.0), (1.72, 2.84, 1.0))):
        leg = bone((x, 1.9), (x, foot - 0.16), 0.2, 0.15)
        parts.append(Part(leg, tone=tone, limb=f"leg {n + 1}", bevel=0.16))
        parts.append(
            Part(oval(x + 0.05, foot - 0.1, 0.2, 0.11), tone=tone + 0.45 * (tone == 1), limb=f"leg {n + 1}", rim=0.25)
        )
    body = join(oval(0.85, 1.78, 0.52, 0.46), oval(1.65, 1.76, 0.55, 0.42), blend=0.5)
    parts.append(Part(body, bevel=0.45, gloss=0.15))
    for side in (-1, 1):
        x = 2.16 + 0.36 * side
        ear = outline([(x - 0.2, 0.75), (x + 0.14 * side, 0.2), (x + 0.2, 0.75)], 0.05)
        parts.append(Part(ear, limb=f"ear {1 if side < 0 else 2}", bevel=0.1))
        inner = outline([(x - 0.06, 0.7), (x + 0.1 * side, 0.42), (x + 0.08, 0.7)], 0.02)
        parts.append(Part(inner, (0.95, 0.70, 0.68), limb=f"ear {1 if side < 0 else 2}", rim=0))
    parts.append(Part(oval(2.16, 1.06, 0.66, 0.56), bevel=0.45, gloss=0.2))
    parts += [
        Part(oval(2.2, 1.3, 0.34, 0.24), tone=1.6, rim=0, clip=True),
        Part(oval(2.2, 1.2, 0.1, 0.07), (0.85, 0.35, 0.4), rim=0),
    ]
    parts.append(Part(rope([(2.03, 1.36), (2.13, 1.42), (2.2, 1.34), (2.27, 1.42), (2.37, 1.36)], 0.025), DARK, rim=0))
    return parts + _eye(1.92, 0.98, 0.12) + _eye(2.42, 0.98, 0.12)


def _bird() -> list[Part]:
    """Standing, to the right."""
    parts = []
    for n, x in enumerate((1.22, 1.6)):
        shin = join(bone((x, 1.3), (x, 1.8), 0.075), bone((x - 0.1, 1.82), (x + 0.2, 1.82), 0.07))
        parts.append(Part(shin, BEAK, limb=f"leg {n + 1}", rim=0.25))
    tail = outline([(0.8, 0.75), (0.16, 0.5), (0.22, 0.78), (0.12, 0.98), (0.8, 1.15)], 0.05)
    parts.append(Part(tail, tone=0.72, limb="tail", bevel=0.1))
    beak = outline([(2.42, 0.42), (2.86, 0.62), (2.42, 0.76)], 0.03)
    parts.append(Part(beak, BEAK, limb="beak", bevel=0.1))
    body = join(oval(1.3, 0.94, 0.74, 0.52, -0.15), oval(2.1, 0.58, 0.42, 0.4), blend=0.35)
    parts.append(Part(body, bevel=0.42, gloss=0.15))
    parts.append(Part(oval(1.65, 1.2, 0.5, 0.3, -0.3), tone=1.62, rim=0, clip=True))
    wing = join(oval(1.15, 0.92, 0.48, 0.3, -0.12), outline([(1.0, 0.7), (0.42, 0.98), (1.0, 1.18)], 0.04), blend=0.1)
    parts.append(Part(wing, tone=0.76, limb="wing", bevel=0.2))
    return parts + _eye(2.2, 0.52, 0.11)


def _fish() -> list[Part]:
    """To the right."""
    tail = outline([(0.95, 0.92), (0.16, 0.32), (0.4, 1.0), (0.16, 1.68), (0.95, 1.08)], 0.05)
    fin = outline([(1.1, 0.52), (1.3, 0.14), (2.0, 0.2), (2.05, 0.5)], 0.05)
    belly = outline([(1.3, 1.5), (1.2, 1.84), (1.75, 1.78), (1.9, 1.5)], 0.05)
    parts = [
        Part(tail, tone=0.74, limb="tail", bevel=0.12),
        Part(fin, tone=0.74, limb="fin 1", bevel=0.1),
        Part(belly, tone=0.74, limb="fin 2", bevel=0.1),
        Part(join(oval(1.75, 1.0, 1.05, 0.58), oval(1.2, 1.0, 0.65, 0.38), blend=0.2), bevel=0.5, gloss=0.35),
        Part(oval(1.75, 1.42, 0.95, 0.3), tone=1.55, rim=0, clip=True),
    ]
    for x in (1.12, 1.5):  # bands, then the gill
        parts.append(Part(rope([(x, 0.3), (x - 0.1, 0.85), (x, 1.4)], 0.085, 0.05), WHITE, rim=0, clip=True))
    parts.append(Part(rope([(2.0, 0.55), (1.88, 1.0), (2.02, 1.4)], 0.035), tone=0.5, rim=0, clip=True))
    parts.append(Part(rope([(2.76, 1.12), (2.6, 1.2), (2.5, 1.16)], 0.03), tone=0.4, rim=0, clip=True))
    return [*parts, Part(oval(2.34, 0.84, 0.19, 0.19), WHITE, rim=0.2), *_eye(2.38, 0.84, 0.11)]


def _tree() -> list[Part]:
    trunk = join(
        bone((1.5, 3.7), (1.5, 2.2), 0.24, 0.17),
        bone((1.5, 3.6), (1.08, 3.8), 0.12, 0.06),
        bone((1.5, 3.6), (1.92, 3.8), 0.12, 0.06),
        blend=0.2,
    )
    fork = join(bone((1.5, 2.75), (0.85, 2.2), 0.1), bone((1.5, 2.9), (2.2, 2.25), 0.1))
    parts = [Part(trunk, WOOD, limb="trunk", bevel=0.2), Part(fork, WOOD, tone=0.85, bevel=0.1)]
    parts.append(Part(rope([(1.42, 3.5), (1.46, 3.1), (1.42, 2.7)], 0.035), WOOD, 0.65, limb="trunk", rim=0))
    puffs = [(1.5, 1.55, 0.95, 0.72, 0.78), (0.72, 1.72, 0.56, 0.52, 0.86), (2.28, 1.72, 0.56, 0.52, 0.82)]
    puffs += [(0.98, 1.0, 0.62, 0.55, 1.0), (2.02, 1.02, 0.6, 0.54, 0.94), (1.5, 0.68, 0.62, 0.54, 1.08)]
    for n, (x, y, rx, ry, tone) in enumerate(puffs):
        parts.append(Part(oval(x, y, rx, ry), tone=tone, limb=f"bough {n}" if n in (1, 2) else "", bevel=0.45, rim=0.3))
    for x, y in (
        (0.7, 1.6),
        (1.25, 1.5),
        (1.95, 1.65),
        (1.05, 0.85),
        (1.6, 0.5),
        (2.1, 0.95),
        (1.62, 1.15),
        (2.45, 1.7),
    ):
        parts.append(Part(oval(x, y, 0.12, 0.07, -0.5), tone=1.4, rim=0, clip=False))
    return parts


def _house() -> list[Part]:
    parts = [
        Part(box(2.0, 0.4, 2.28, 1.2), (0.62, 0.36, 0.30), limb="chimney", bevel=0.08),
        Part(box(1.95, 0.3, 2.33, 0.42), (0.62, 0.36, 0.30), tone=0.75, limb="chimney"),
        Part(box(0.42, 1.2, 2.58, 2.82), bevel=0.14),
    ]
    for y in (1.72, 2.1, 2.48):
        parts.append(Part(box(0.3, y, 2.7, y + 0.01, 0.015), tone=0.8, rim=0, clip=True))
    roof = outline([(0.2, 1.36), (1.5, 0.26), (2.8, 1.36)], 0.08)
    parts.append(Part(roof, SLATE, bevel=0.2))
    for y in (0.7, 0.95, 1.2):
        parts.append(Part(box(0, y, 3, y + 0.01, 0.015), SLATE, 0.7, rim=0, clip=True))
    parts.append(Part(oval(1.5, 0.98, 0.16, 0.16), GLOW, rim=0.5))
    for n, x in enumerate((0.78, 2.22)):
        parts.append(Part(box(x - 0.2, 1.7, x + 0.2, 2.16), WHITE, limb=f"window {n + 1}", rim=0.2))
        for dx in (-0.1, 0.1):
            for dy in (1.82, 2.04):
                parts.append(
                    Part(
                        box(x + dx - 0.06, dy - 0.06, x + dx + 0.06, dy + 0.06, 0.01),
                        GLOW,
                        limb=f"window {n + 1}",
                        rim=0.15,
                    )
                )
    parts.append(Part(box(1.28, 1.9, 1.72, 2.8), WOOD, limb="door", bevel=0.1))
    parts.append(Part(oval(1.62, 2.4, 0.05, 0.05), GLOW, limb="door", rim=0))
    return parts


def _table() -> list[Part]:
    """Its top reaches the upper edge of its box, where things stand on it."""
    parts = []
    for n, (x, y0, y1, tone) in enumerate(
        ((0.72, 0.5, 1.6, 0.62), (3.28, 0.5, 1.6, 0.62), (0.34, 0.6, 1.84, 0.9), (3.66, 0.6, 1.84, 0.9))
    ):
        parts.append(Part(bone((x, y0), (x, y1), 0.15, 0.1), tone=tone, limb=f"leg {n + 1}", bevel=0.12))
    parts.append(Part(box(0.3, 0.5, 3.7, 0.84, 0.02), tone=0.8, bevel=0.1))
    parts.append(Part(oval(2.0, 0.7, 0.09, 0.07), GLOW, limb="knob", rim=0.4))
    top = outline([(0.42, 0.1), (3.58, 0.1), (3.84, 0.5), (0.16, 0.5)], 0.07)
    parts.append(Part(top, tone=1.12, bevel=0.16, gloss=0.3))
    for points in ([(0.7, 0.24), (1.6, 0.2), (2.4, 0.26)], [(1.5, 0.4), (2.4, 0.36), (3.4, 0.4)]):
        parts.append(Part(rope(points, 0.025), tone=0.8, rim=0, clip=True))
    return parts


def _cup() -> list[Part]:
    ring = cut(oval(1.42, 1.02, 0.42, 0.4), oval(1.42, 1.02, 0.23, 0.2))
    body = outline([(0.3, 0.5), (1.34, 0.5), (1.2, 1.5), (1.02, 1.72), (0.62, 1.72), (0.44, 1.5)], 0.07)
    return [
        Part(ring, tone=0.85, limb="handle", bevel=0.12),
        Part(body, bevel=0.4, gloss=0.3),
        Part(outline([(0.1, 0.86), (1.6, 0.86), (1.6, 1.06), (0.1, 1.06)]), WHITE, rim=0, clip=True),
        Part(oval(0.82, 0.46, 0.6, 0.22), tone=1.35, bevel=0.08),
        Part(oval(0.82, 0.48, 0.47, 0.14), TEA, rim=0.3),
        Part(oval(0.7, 0.46, 0.16, 0.04), TEA, tone=1.45, rim=0, clip=True),
    ]


def _boat() -> list[Part]:
    hull = outline([(0.2, 2.06), (2.82, 2.0), (2.4, 2.72), (0.66, 2.76)], 0.08)
    parts = [
        Part(bone((1.42, 0.2), (1.42, 2.1), 0.065), WOOD, limb="mast", rim=0.3),
        Part(outline([(1.46, 0.14), (1.9, 0.26), (1.46, 0.4)], 0.02), (0.90, 0.30, 0.26), limb="flag", rim=0.2),
        Part(outline([(1.58, 0.5), (2.62, 1.78), (1.58, 1.86)], 0.05), WHITE, limb="sail 1", bevel=0.3),
        Part(outline([(1.26, 0.62), (1.26, 1.86), (0.42, 1.8)], 0.05), tone=1.25, limb="sail 2", bevel=0.3),
        Part(hull, bevel=0.3, gloss=0.2),
        Part(outline([(0, 2.2), (3, 2.14), (3, 2.26), (0, 2.32)]), WHITE, rim=0, clip=True),
    ]
    for x in (0.98, 1.5, 2.02):
        parts.append(Part(oval(x, 2.5, 0.09, 0.09), DARK, tone=1.2, rim=0))
    return parts


@dataclass(frozen=True)
class Kind:
    """Of what a kind is made: its plural, its box in cells (h, w), its parts, and limbs that can be wrong, by name."""

    plural: str
    cells: tuple[int, int]
    parts: Callable[[], list[Part]]
    limbs: dict[str, Limb]


def _limbs(at: dict[str, Point], *places: tuple[float, float, float]) -> dict[str, Limb]:
    return {name: Limb(point, places) for name, point in at.items()}


KINDS: dict[str, Kind] = {
    "cat": Kind(
        "cats",
        (3, 3),
        _cat,
        _limbs({"leg 3": (0.62, 1.9)}, (0.25, -0.5, PI), (0.55, 0.0, 0.0), (-0.1, 0.1, 1.4))
        | _limbs({"leg 4": (1.72, 1.9)}, (-0.4, -0.5, PI), (-0.5, 0.0, 0.0), (0.5, 0.1, -1.1))
        | _limbs({"tail": (0.62, 1.75)}, (1.5, 0.2, 2.2), (0.55, -0.25, 0.5))
        | _limbs({"ear 1": (1.8, 0.75), "ear 2": (2.52, 0.75)}, (-0.5, 0.75, -0.6), (0.3, 0.8, 2.4)),
    ),
    "bird": Kind(
        "birds",
        (2, 3),
        _bird,
        _limbs({"leg 1": (1.22, 1.3), "leg 2": (1.6, 1.3)}, (0.0, -0.75, PI), (-0.45, -0.1, 0.9), (0.5, -0.15, -0.6))
        | _limbs({"beak": (2.42, 0.6)}, (-0.72, -0.05, PI), (-0.3, 0.65, 1.2))
        | _limbs({"tail": (0.8, 0.95)}, (0.7, -0.45, 1.2), (1.1, 0.35, PI))
        | _limbs({"wing": (1.4, 0.85)}, (0.4, -0.4, 1.7), (0.75, 0.35, PI)),
    ),
    "fish": Kind(
        "fish",
        (2, 3),
        _fish,
        _limbs({"tail": (0.95, 1.0)}, (1.5, -0.3, 2.0), (0.9, 0.6, -1.3))
        | _limbs({"fin 1": (1.6, 0.5), "fin 2": (1.6, 1.5)}, (0.95, 0.3, 1.4), (-0.75, 0.4, -1.2)),
    ),
    "tree": Kind(
        "trees",
        (4, 3),
        _tree,
        _limbs({"trunk": (1.5, 2.3)}, (0.8, 0.0, -0.25), (-0.8, 0.0, 0.25), (0.0, -0.3, 2.2))
        | _limbs({"bough 1": (0.72, 1.72), "bough 2": (2.28, 1.72)}, (0.75, 1.35, 0.0), (-0.6, 1.3, 0.0)),
    ),
    "house": Kind(
        "houses",
        (3, 3),
        _house,
        _limbs({"door": (1.5, 2.35)}, (-0.6, -1.45, 0.4), (0.55, -0.85, 0.0), (1.1, 0.0, -0.6))
        | _limbs({"window 1": (0.78, 1.93), "window 2": (2.22, 1.93)}, (-0.3, -1.1, 0.6), (0.35, 0.5, 0.7))
        | _limbs({"chimney": (2.14, 1.1)}, (0.5, 0.9, 1.57), (-1.6, 0.0, -0.5)),
    ),
    "table": Kind(
        "tables",
        (2, 4),
        _table,
        _limbs({"leg 3": (0.34, 0.6)}, (0.1, -0.3, PI), (1.1, 0.0, 0.0), (0.6, 0.1, -0.9))
        | _limbs({"leg 4": (3.66, 0.6)}, (-0.1, -0.3, PI), (-1.2, 0.0, 0.0), (-0.6, 0.1, 0.9)),
    ),
    "cup": Kind(
        "cups",
        (2, 2),
        _cup,
        _limbs({"handle": (1.2, 1.02)}, (-0.75, 0.0, PI), (-0.38, 0.62, 1.57), (-0.38, -0.75, -1.57)),
    ),
    "boat": Kind(
        "boats",
        (3, 3),
        _boat,
        _limbs({"sail 1": (1.58, 1.3), "sail 2": (1.26, 1.3)}, (0.0, 1.2, PI), (-0.4, 0.0, PI / 2))
        | _limbs({"mast": (1.42, 2.1)}, (-0.7, 0.0, -0.9), (0.6, 0.1, 1.0)),
    ),
}
