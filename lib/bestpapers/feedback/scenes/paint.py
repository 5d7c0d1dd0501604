"""A small painter of cut-outs: pictures of things from signed distances, lit from the upper left.

Lengths are in cells of the board (a picture has 8 x 8 of them), x to the right, y down, from the upper left corner of the
thing's box. A shape is a function (x, y) -> signed distance, negative inside, of whole arrays. A part is a shape with a
colour and a surface; parts are painted back to front. A sprite is the finished thing, at some number of pixels to a cell.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Colour = tuple[float, float, float]
Point = tuple[float, float]
Shape = Callable[[Array, Array], Array]

MARGIN = 1  # cells round a thing's box that are painted too: a misplaced limb reaches there
SAMPLES = 16  # to a cell, along each side, at least
LIGHT = np.array([-0.45, -0.62, 0.64])  # towards the light
DIM = 0.3  # how dark a shadow is
EDGE = 0.1  # cells: the width of the darker outline
PAINT: Colour = (-1.0, -1.0, -1.0)  # stands for the colour that the caption names

# --------------------------------------------------------------------------------------------------------------- shapes


def oval(x0: float, y0: float, rx: float, ry: float, turn: float = 0.0) -> Shape:
    """An ellipse with half axes rx, ry, turned clockwise by `turn` radians; its distance is exact near the outline only."""
    c, s = math.cos(turn), math.sin(turn)

    def distance(x: Array, y: Array) -> Array:
        u, v = (x - x0) * c + (y - y0) * s, (y - y0) * c - (x - x0) * s
        k = np.hypot(u / rx, v / ry)
        return k * (k - 1) / np.maximum(np.hypot(u / rx**2, v / ry**2), 1e-6)

    return distance


def bone(a: Point, b: Point, ra: float, rb: float | None = None) -> Shape:
    """A round cone from a to b, of radius ra at a and rb at b (default: the same)."""
    rb = ra if rb is None else rb
    dx, dy = b[0] - a[0], b[1] - a[1]

    def distance(x: Array, y: Array) -> Array:
        t = np.clip(((x - a[0]) * dx + (y - a[1]) * dy) / (dx * dx + dy * dy), 0, 1)
        return np.hypot(x - a[0] - t * dx, y - a[1] - t * dy) - ra - t * (rb - ra)

    return distance


def rope(points: Sequence[Point], ra: float, rb: float | None = None) -> Shape:
    """Round cones along a smooth line through the points, from radius ra at its start to rb at its end."""
    rb = ra if rb is None else rb
    p = np.array([points[0], *points, points[-1]], float)
    line = [p[1]]
    for i in range(1, len(p) - 2):
        for t in (0.25, 0.5, 0.75, 1.0):  # Catmull and Rom's curve
            bend = 2 * p[i - 1] - 5 * p[i] + 4 * p[i + 1] - p[i + 2] + t * (3 * (p[i] - p[i + 1]) + p[i + 2] - p[i - 1])
            line.append(p[i] + 0.5 * t * (p[i + 1] - p[i - 1] + t * bend))
    radii = np.linspace(ra, rb, len(line))
    joints = [((float(q[0]), float(q[1])), r) for q, r in zip(line, radii.tolist())]
    return join(*(bone(a, b, r, s) for (a, r), (b, s) in pairwise(joints)))


def outline(points: Sequence[Point], grow: float = 0.0) -> Shape:
    """A closed outline of straight lines, grown by `grow` on all sides, which rounds its corners."""

    def distance(x: Array, y: Array) -> Array:
        best, inside = np.full(x.shape, 1e9), np.zeros(x.shape, bool)
        for (ax, ay), (bx, by) in zip(points, [*points[1:], points[0]]):
            dx, dy, px, py = bx - ax, by - ay, x - ax, y - ay
            t = np.clip((px * dx + py * dy) / (dx * dx + dy * dy), 0, 1)
            best = np.minimum(best, (px - t * dx) ** 2 + (py - t * dy) ** 2)
            if dy:  # a ray to the right crosses this side
                inside ^= ((py < 0) != (py < dy)) & (px < dx * py / dy)
        return np.where(inside, -1, 1) * np.sqrt(best) - grow

    return distance


def box(x0: float, y0: float, x1: float, y1: float, grow: float = 0.03) -> Shape:
    return outline([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], grow)


def join(*shapes: Shape, blend: float = 0.0) -> Shape:
    """What lies in any of the shapes; with `blend` they melt into each other over that length."""

    def distance(x: Array, y: Array) -> Array:
        best = shapes[0](x, y)
        for shape in shapes[1:]:
            d = shape(x, y)
            h = np.maximum(0, 1 - np.abs(best - d) / blend) if blend else 0.0
            best = np.minimum(best, d) - 0.25 * blend * h * h
        return best

    return distance


def cut(shape: Shape, hole: Shape) -> Shape:
    """What lies in the shape and not in the hole."""
    return lambda x, y: np.maximum(shape(x, y), -hole(x, y))


def moved(shape: Shape, pivot: Point, dx: float, dy: float, turn: float) -> Shape:
    """The shape, turned clockwise about the pivot by `turn` radians and then shifted."""
    c, s = math.cos(turn), math.sin(turn)

    def distance(x: Array, y: Array) -> Array:
        u, v = x - pivot[0] - dx, y - pivot[1] - dy
        return shape(pivot[0] + c * u + s * v, pivot[1] + c * v - s * u)

    return distance


# ---------------------------------------------------------------------------------------------------------------- parts


@dataclass(frozen=True)
class Part:
    """A shape with its surface.

    colour  (r, g, b) in 0..1, or PAINT, the colour that the caption names
    tone    below 1 darker, above 1 mixed with so much white: 1.2 is a fifth white
    limb    parts of the same name belong together: they can be missing, doubled or misplaced
    clip    shown only on the last part that is not clipped, and lit as that is
    bevel   cells over which the surface bends down at its edge, 0: flat; `gloss` is the strength of a highlight there
    rim     how much darker the outline is
    """

    shape: Shape
    colour: Colour = PAINT
    tone: float = 1.0
    limb: str = ""
    clip: bool = False
    bevel: float = 0.0
    gloss: float = 0.0
    rim: float = 0.4


@dataclass(frozen=True)
class Limb:
    """Where else a limb could be, which would be wrong.

    at      the point that it hangs from
    places  (dx, dy, turn): shifted by so many cells after a turn of so many radians about that point
    """

    at: Point
    places: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True)
class Sprite:
    """A thing as painted, MARGIN cells larger than its box on each side.

    colour (h, w, 3) times alpha, alpha (h, w), shadow (h, w), all 0..1. In double precision until a picture is rounded to
    bytes, so that the same bytes come out on every processor.
    """

    colour: Array
    alpha: Array
    shadow: Array

    def over(self, ground: Array) -> Array:
        """The thing on a ground (h, w, 3)."""
        return ground * (1 - DIM * self.shadow[..., None]) * (1 - self.alpha[..., None]) + self.colour


def edited(parts: Sequence[Part], limb: str, placed: Limb, how: str, place: int) -> list[Part]:
    """The parts with a limb "missing", "misplaced" or "doubled"; the two latter say by `place` where it goes, on top."""
    mine = [part for part in parts if part.limb == limb]
    dx, dy, turn = placed.places[place]
    there = [replace(part, shape=moved(part.shape, placed.at, dx, dy, turn)) for part in mine]
    rest = list(parts) if how == "doubled" else [part for part in parts if part.limb != limb]
    return rest if how == "missing" else rest + there


def paint(parts: Sequence[Part], colour: Colour, cells: tuple[int, int], pixels: int) -> Sprite:
    """Paint the parts of a thing of (h, w) cells at `pixels` a cell."""
    h, w = cells
    k = -(-SAMPLES // pixels)  # samples to a pixel, along each side
    n = k * pixels
    y, x = np.mgrid[0 : n * (h + 2 * MARGIN), 0 : n * (w + 2 * MARGIN)]
    y, x = (y + 0.5) / n - MARGIN, (x + 0.5) / n - MARGIN
    rgb, alpha = np.zeros((*x.shape, 3)), np.zeros(x.shape)
    under, lit = np.zeros(x.shape), np.ones(x.shape)  # of the last part that is not clipped
    for part in parts:
        d = part.shape(x, y)
        cover = np.clip(0.5 - d * n, 0, 1)
        tone, spark = np.ones(x.shape), np.zeros(x.shape)
        if part.bevel:
            sy, sx = np.gradient(d)
            steep = (1 - np.clip(-d / part.bevel, 0, 1)) ** 1.6  # 1 at the edge, 0 where the surface is flat
            slope = steep / np.maximum(np.hypot(sx, sy), 1e-9)
            facing = slope * (sx * LIGHT[0] + sy * LIGHT[1]) + np.sqrt(1 - 0.999 * steep**2) * LIGHT[2]
            tone += 0.5 * (facing - LIGHT[2])
            spark = part.gloss * np.clip(6 * facing - 5, 0, 1)
        tone *= 1 - part.rim * np.clip(1 + d / EDGE, 0, 1)
        if part.clip:
            cover, tone = cover * under, tone * lit
        else:
            under, lit = cover, tone
        base = np.array(colour if part.colour == PAINT else part.colour)
        base = base * part.tone if part.tone < 1 else base + (part.tone - 1) * (1 - base)
        value = np.clip(base * tone[..., None], 0, 1)
        value += spark[..., None] * (1 - value)
        rgb += cover[..., None] * (value - rgb)
        alpha += cover * (1 - alpha)
    rgb, alpha = (a.reshape(a.shape[0] // k, k, a.shape[1] // k, k, -1).mean((1, 3)) for a in (rgb, alpha))
    alpha, edge = alpha[..., 0], MARGIN * pixels
    shadow = np.zeros_like(alpha)  # below, to the right; it stays in the box, so that few patches make up all pictures
    down, right = max(1, round(0.12 * pixels)), max(1, round(0.08 * pixels))
    shadow[down:, right:] = alpha[:-down, :-right]
    shadow = cv2.GaussianBlur(shadow, (0, 0), 0.1 * pixels)
    shadow[:edge], shadow[-edge:], shadow[:, :edge], shadow[:, -edge:] = 0, 0, 0, 0
    return Sprite(rgb, alpha, shadow)
