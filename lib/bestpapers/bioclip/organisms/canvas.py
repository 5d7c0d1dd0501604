"""A small painter: pictures from signed distances, for `organisms`.

A picture is a list of parts, painted from back to front. A part is a smooth union of shapes (round cones, ovals, closed
outlines) that share one material: colours, a pattern, a bevel that catches the light, a rim, fur. A signed distance says
how far a point lies outside a shape (negative: inside); an edge is soft over the pixel that it runs through, so a picture
is the same thing at 32 and at 512 pixels.

Positions and lengths are in units of half the picture's side: x right, y up, [-1, 1] from edge to edge. Colours are
(r, g, b) in [0, 1].

Read `Canvas.part` for what a part can be, `paint` for how it gets onto the picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]
Colour = tuple[float, float, float]
Point = tuple[float, float]

SEG, OVAL, POLY = 0, 1, 2  # kinds of shape
# patterns; the numbers go to the kernel
PATTERNS = ("none", "stripes", "spots", "rings", "rays", "veins", "zigzag", "patch", "spiral", "mottle", "net")
NONE, STRIPES, SPOTS, RINGS, RAYS, VEINS, ZIGZAG, PATCH, SPIRAL, MOTTLE, NET = range(11)


# -------------------------------------------------------------------------------------------------------------- shapes


def seg(ax: float, ay: float, bx: float, by: float, ra: float, rb: float | None = None) -> tuple[Any, ...]:
    """A round cone from a to b with radius ra at a and rb at b (default: the same)."""
    return (SEG, ax, ay, bx, by, ra, ra if rb is None else rb, 0.0, math.hypot(bx - ax, by - ay))


def oval(x: float, y: float, rx: float, ry: float, turn: float = 0.0) -> tuple[Any, ...]:
    """An ellipse with half axes rx and ry, turned anticlockwise by `turn` radians."""
    return (OVAL, x, y, rx, ry, math.cos(turn), math.sin(turn), 0.0, 0.0)


def poly(points: Sequence[Point] | Array, grow: float = 0.0) -> tuple[Any, ...]:
    """A closed outline of straight lines, grown by `grow` on all sides (which rounds its corners)."""
    return (POLY, points, grow)


def blob(points: Sequence[Point], samples: int = 5, grow: float = 0.0) -> tuple[Any, ...]:
    """A closed smooth outline through the points, with `samples` straight pieces between two of them."""
    return (POLY, _spline(np.array(points), samples, True), grow)


def chain(points: Sequence[Point], radii: Sequence[float], samples: int = 0) -> list[tuple[Any, ...]]:
    """Round cones from point to point; with `samples`, along a smooth curve through them.

    Patterns with along=True follow the chain: their u is the length from its first point, their v the distance from its
    middle (positive to the left).
    """
    nodes = [(*p, r) for p, r in zip(points, radii, strict=True)]
    if samples:
        nodes = _spline(np.array(nodes), samples, False).tolist()
    shapes, u = [], 0.0
    for (ax, ay, ra), (bx, by, rb) in pairwise(nodes):
        end = u + math.hypot(bx - ax, by - ay)
        shapes.append((SEG, ax, ay, bx, by, ra, rb, u, end))
        u = end
    return shapes


@njit(cache=True, error_model="numpy")
def _spline(points, samples, closed):
    """Catmull-Rom curve through points [n, k]: [n * samples, k] closed, [(n - 1) * samples + 1, k] open."""
    n, k = points.shape
    pieces = n if closed else n - 1
    out = np.empty((pieces * samples + (0 if closed else 1), k))
    for i in range(pieces):
        for j in range(samples):
            t = j / samples
            for c in range(k):
                if closed:
                    a, b, d, e = points[i - 1, c], points[i, c], points[(i + 1) % n, c], points[(i + 2) % n, c]
                else:
                    a, b, d, e = points[max(i - 1, 0), c], points[i, c], points[i + 1, c], points[min(i + 2, n - 1), c]
                out[i * samples + j, c] = b + 0.5 * t * (
                    d - a + t * (2.0 * a - 5.0 * b + 4.0 * d - e + t * (3.0 * (b - d) + e - a))
                )
    if not closed:
        out[-1] = points[-1]
    return out


# --------------------------------------------------------------------------------------------------------------- parts


class Canvas:
    """Collects parts; `paint` puts them onto a picture."""

    def __init__(self) -> None:
        self.parts: list[tuple[float, ...]] = []
        self.shapes: list[tuple[float, ...]] = []
        self.outlines: list[Any] = []
        self.n_vertices = 0

    def part(
        self,
        shapes: Sequence[tuple[Any, ...]] | tuple[Any, ...],
        colour: Colour | None,
        *,
        to: Colour | None = None,
        axis: tuple[float, float, float, float] = (0.0, 0.6, 0.0, -0.6),
        blend: float = 0.0,
        clip: bool = False,
        alpha: float = 1.0,
        soft: float = 0.0,
        bevel: float = 0.0,
        light: float = 0.5,
        gloss: float = 0.0,
        rim: float = 0.35,
        fur: float = 0.0,
        pattern: int = NONE,
        ink: Colour = (0.0, 0.0, 0.0),
        amount: float = 1.0,
        scale: float = 4.0,
        duty: float = 0.5,
        wild: float = 0.0,
        frame: tuple[float, float, float] = (0.0, 0.0, 0.0),
        along: bool = False,
        seed: int = 0,
    ) -> None:
        """Add a part.

        shapes      one shape or several; where they meet they melt into each other over `blend`
        colour, to  the colour, or a gradient from `colour` at axis[:2] to `to` at axis[2:]; None: only the ink is painted
        clip        show the part only on the last part that is not clipped, and light it as that is lit
        alpha       opacity
        soft        width of a soft edge, for shadows and backgrounds
        bevel       width over which the surface bends down at the edge; `light` is how much that shows, `gloss` the
                    strength of a highlight
        rim         how much darker the outline is
        fur         depth of a ragged edge
        pattern     with colour `ink` and strength `amount`; scale in waves per unit (rays: per turn); `duty` is the
                    share of ink, `wild` the irregularity; `seed` draws it. frame = (x, y, turn) places it on the picture,
                    along=True along the chain
        """
        if isinstance(shapes, tuple):
            shapes = [shapes]
        first = len(self.shapes)
        for shape in shapes:
            if shape[0] == POLY:
                _, points, grow = shape
                shape = (POLY, self.n_vertices, len(points), grow, 0.0, 0.0, 0.0, 0.0, 0.0)
                self.outlines.append(points)
                self.n_vertices += len(points)
            self.shapes.append(shape)
        bare = colour is None
        colour = ink if colour is None else colour
        shade = (*colour, *(colour if to is None else to), *axis, clip, alpha, soft, bevel, light, gloss, rim, fur)
        marks = (pattern, *ink, amount, scale, duty, wild, *frame, along, seed, bare)
        self.parts.append((first, len(shapes), blend, *shade, *marks))

    def arrays(self) -> tuple[Array, Array, Array]:
        """Parts [P, 35], shapes [S, 9] and vertices of outlines [V, 2], as `paint` takes them."""
        vertices = np.concatenate(self.outlines) if self.outlines else np.empty((0, 2))
        parts, shapes = np.array(self.parts, dtype=np.float64), np.array(self.shapes, dtype=np.float64)
        return parts.reshape(-1, 35), shapes.reshape(-1, 9), vertices


# -------------------------------------------------------------------------------------------------------------- kernel


@njit(cache=True, error_model="numpy")
def _clamp(x):
    return min(1.0, max(0.0, x))


@njit(cache=True, error_model="numpy")
def _hash(i, j, seed):
    """A number in [0, 1) for a cell of a grid: always the same one."""
    n = (i * 374761393 + j * 668265263 + seed * 974634777) & 0xFFFFFFFF
    n = ((n ^ (n >> 13)) * 1274126177) & 0xFFFFFFFF
    n = ((n ^ (n >> 15)) * 2246822519) & 0xFFFFFFFF
    return ((n ^ (n >> 13)) & 0xFFFFFF) / 16777216.0


@njit(cache=True, error_model="numpy")
def _noise(x, y, seed):
    """Smooth noise in [-1, 1] with features of size 1."""
    i, j = math.floor(x), math.floor(y)
    fx, fy = x - i, y - j
    fx, fy = fx * fx * (3.0 - 2.0 * fx), fy * fy * (3.0 - 2.0 * fy)
    i, j = int(i), int(j)
    below = _hash(i, j, seed) * (1.0 - fx) + _hash(i + 1, j, seed) * fx
    above = _hash(i, j + 1, seed) * (1.0 - fx) + _hash(i + 1, j + 1, seed) * fx
    return 2.0 * (below + fy * (above - below)) - 1.0


@njit(cache=True, error_model="numpy")
def _edges(shapes, vertices):
    """Edges of all outlines [V, 5]: from (x, y) by (dx, dy), and 1 / length^2."""
    edges = np.empty((len(vertices), 5))
    for s in shapes:
        if s[0] == POLY:
            start, count = int(s[1]), int(s[2])
            ax, ay = vertices[start + count - 1, 0], vertices[start + count - 1, 1]
            for n in range(start, start + count):
                bx, by = vertices[n, 0], vertices[n, 1]
                dx, dy = bx - ax, by - ay
                edges[n, 0], edges[n, 1], edges[n, 2], edges[n, 3] = ax, ay, dx, dy
                edges[n, 4] = 1.0 / (dx * dx + dy * dy + 1e-12)
                ax, ay = bx, by
    return edges


@njit(cache=True, error_model="numpy")
def _outline(edges, start, count, x, y):
    """Signed distance to a closed outline: the nearest edge, and the even-odd rule for the sign."""
    best, inside = 1e9, False
    for n in range(start, start + count):
        dx, dy, px, py = edges[n, 2], edges[n, 3], x - edges[n, 0], y - edges[n, 1]
        t = _clamp((px * dx + py * dy) * edges[n, 4])
        qx, qy = px - t * dx, py - t * dy
        best = min(best, qx * qx + qy * qy)
        if (py < 0.0) != (py < dy) and px < dx * py / dy:  # a ray to the right crosses this edge
            inside = not inside
    return -math.sqrt(best) if inside else math.sqrt(best)


@njit(cache=True, error_model="numpy")
def _distance(s, edges, x, y):
    """Signed distance to shape s [9], and the place (u along, v across) on a round cone."""
    if s[0] == SEG:
        px, py, dx, dy = x - s[1], y - s[2], s[3] - s[1], s[4] - s[2]
        length2 = dx * dx + dy * dy + 1e-12
        t = _clamp((px * dx + py * dy) / length2)
        qx, qy = px - t * dx, py - t * dy
        away = math.sqrt(qx * qx + qy * qy)
        return away - s[5] - t * (s[6] - s[5]), s[7] + t * (s[8] - s[7]), math.copysign(away, dx * py - dy * px)
    if s[0] == OVAL:  # exact on the outline, and to first order near it
        px, py = x - s[1], y - s[2]
        qx, qy = (px * s[5] + py * s[6]) / s[3], (py * s[5] - px * s[6]) / s[4]
        k = math.sqrt(qx * qx + qy * qy)
        slope = math.sqrt((qx / s[3]) ** 2 + (qy / s[4]) ** 2)
        return (k * (k - 1.0) / slope if slope > 1e-9 else -min(s[3], s[4])), 0.0, 0.0
    return _outline(edges, int(s[1]), int(s[2]), x, y) - s[3], 0.0, 0.0


@njit(cache=True, error_model="numpy")
def _box(s, vertices):
    """Bounding box of a shape: x0, y0, x1, y1."""
    if s[0] == SEG:
        x0, x1 = min(s[1] - s[5], s[3] - s[6]), max(s[1] + s[5], s[3] + s[6])
        return x0, min(s[2] - s[5], s[4] - s[6]), x1, max(s[2] + s[5], s[4] + s[6])
    if s[0] == OVAL:
        rx = math.sqrt((s[3] * s[5]) ** 2 + (s[4] * s[6]) ** 2)
        ry = math.sqrt((s[3] * s[6]) ** 2 + (s[4] * s[5]) ** 2)
        return s[1] - rx, s[2] - ry, s[1] + rx, s[2] + ry
    x0, y0, x1, y1 = 1e9, 1e9, -1e9, -1e9
    for n in range(int(s[1]), int(s[1] + s[2])):
        x0, x1 = min(x0, vertices[n, 0]), max(x1, vertices[n, 0])
        y0, y1 = min(y0, vertices[n, 1]), max(y1, vertices[n, 1])
    return x0 - s[3], y0 - s[3], x1 + s[3], y1 + s[3]


@njit(cache=True, error_model="numpy")
def _ink(kind, x, y, scale, duty, wild, seed, pixel):
    """How much ink a pattern puts at (x, y), 0 to 1; its edges are soft over a pixel (as wide as `pixel`)."""
    wave = max(1e-6, 2.0 * math.pi * scale * pixel)  # what a sine changes over a pixel, at most
    if kind == STRIPES:
        x += wild * _noise(scale * x, scale * y, seed) / scale
        return _clamp(0.5 + (math.sin(2.0 * math.pi * scale * x) - math.cos(math.pi * duty)) / wave)
    if kind == SPOTS:  # one spot to a cell; every other row is shifted by half a cell
        row = math.floor(scale * y)
        u = scale * x + 0.5 * (row % 2)
        column = math.floor(u)
        i, j = int(column), int(row)
        r = math.sqrt(duty / math.pi) * (1.0 - 0.6 * wild * _hash(i, j, seed + 2))
        slack = wild * (0.5 - min(0.5, r))
        px = u - column - 0.5 + slack * (2.0 * _hash(i, j, seed) - 1.0)
        py = scale * y - row - 0.5 + slack * (2.0 * _hash(i, j, seed + 1) - 1.0)
        return _clamp(0.5 + (r - math.sqrt(px * px + py * py)) / (scale * pixel))
    if kind == RINGS:
        r = math.sqrt(x * x + y * y)
        r += wild * _noise(scale * x, scale * y, seed) / scale
        return _clamp(0.5 + (math.sin(2.0 * math.pi * scale * r) - math.cos(math.pi * duty)) / wave)
    if kind == RAYS:
        r = math.sqrt(x * x + y * y) + 1e-9
        angle = math.atan2(y, x) + wild * _noise(6.0 * r, 2.0 * math.atan2(y, x), seed)
        return _clamp(0.5 + (math.sin(scale * angle) - math.cos(math.pi * duty)) / (scale * pixel / r))
    if kind == VEINS:  # a midrib along x, side veins that run forward on both sides
        line = 0.5 * duty - abs((scale * (x - wild * abs(y))) % 1.0 - 0.5)
        return max(_clamp(0.5 + line / (scale * pixel)), _clamp(0.5 + (0.35 * duty / scale - abs(y)) / pixel))
    if kind == ZIGZAG:
        tri = 4.0 * abs((scale * x) % 1.0 - 0.5) - 1.0
        return _clamp(0.5 + (duty - abs(y - wild * tri)) / pixel)
    if kind == PATCH:
        return _clamp(0.5 + (y - wild * math.sin(2.0 * math.pi * scale * x)) / pixel)
    if kind == SPIRAL:  # one line that winds outwards, each turn wider than the last
        r = math.sqrt(x * x + y * y) + 1e-9
        turn = (math.atan2(y, x) / (2.0 * math.pi) - scale * math.log(r)) % 1.0
        return _clamp(0.5 + (0.5 * duty - min(turn, 1.0 - turn)) * r / (scale * pixel))
    if kind == MOTTLE:
        n = _noise(scale * x, scale * y, seed) + 0.5 * _noise(2.0 * scale * x, 2.0 * scale * y, seed + 1)
        return _clamp(0.5 + (n - 1.2 * (1.0 - 2.0 * duty)) * 4.0)
    if kind == NET:  # lines between cells: where the two nearest of scattered points are equally near
        i, j = math.floor(scale * x), math.floor(scale * y)
        near, next_ = 9.0, 9.0
        for a in range(-1, 2):
            for b in range(-1, 2):
                ci, cj = int(i) + a, int(j) + b
                px = ci + 0.5 + wild * (_hash(ci, cj, seed) - 0.5) + 0.5 * (cj % 2) - scale * x
                py = cj + 0.5 + wild * (_hash(ci, cj, seed + 1) - 0.5) - scale * y
                d = math.sqrt(px * px + py * py)
                if d < near:
                    near, next_ = d, near
                elif d < next_:
                    next_ = d
        return _clamp(0.5 + (duty - (next_ - near)) / (2.0 * scale * pixel))
    return 0.0


@njit(cache=True, error_model="numpy", nogil=True)
def paint(image, mask, frame, parts, shapes, vertices, light):
    """Paint parts over a square picture, back to front.

    image     [S, S, 3] float64, rows from the top; changed in place
    mask      [S, S] float64: how much of each pixel has been painted so far; changed in place
    frame     [6]: a point (X, Y) of the picture is at (f0 X + f1 Y + f2, f3 X + f4 Y + f5) among the parts; a rotation,
              mirror image, scale and shift, so that distances keep their proportions
    parts, shapes, vertices   from `Canvas.arrays`
    light     [3], unit vector towards the light: right, up, out of the picture
    """
    S = len(image)
    f0, f1, f2, f3, f4, f5 = frame
    det = f0 * f4 - f1 * f3
    pixel = 2.0 / S * math.sqrt(abs(det))
    field = np.empty((S + 2, S + 2, 3))  # distance, u, v; with a margin of a pixel for the slope
    under, lit = np.zeros((S, S)), np.ones((S, S))  # of the last part that is not clipped
    edges, boxes = _edges(shapes, vertices), np.empty((len(shapes), 4))
    for n in range(len(shapes)):
        boxes[n] = _box(shapes[n], vertices)
    for p in range(len(parts)):
        first, count, blend = int(parts[p, 0]), int(parts[p, 1]), parts[p, 2]
        gx, gy = parts[p, 11] - parts[p, 9], parts[p, 12] - parts[p, 10]
        g2 = gx * gx + gy * gy + 1e-12
        clip, alpha, soft = parts[p, 13] > 0.0, parts[p, 14], max(parts[p, 15], pixel)
        bevel, shine, gloss, rim, fur = parts[p, 16], parts[p, 17], parts[p, 18], parts[p, 19], parts[p, 20]
        kind, amount, scale, duty, wild = int(parts[p, 21]), parts[p, 25], parts[p, 26], parts[p, 27], parts[p, 28]
        cos, sin = math.cos(parts[p, 31]), math.sin(parts[p, 31])
        along, seed, bare = parts[p, 32] > 0.0, int(parts[p, 33]), parts[p, 34] > 0.0
        edge = max(0.035, 1.2 * pixel)  # width of the rim
        reach = 0.5 * soft + blend + fur + 2.0 * pixel  # farther out nothing of this part is seen

        # the pixels that the part may touch: its box, carried to the picture
        x0, y0, x1, y1 = 1e9, 1e9, -1e9, -1e9
        for n in range(first, first + count):
            x0, y0 = min(x0, boxes[n, 0]), min(y0, boxes[n, 1])
            x1, y1 = max(x1, boxes[n, 2]), max(y1, boxes[n, 3])
        left, low, right, high = 1e9, 1e9, -1e9, -1e9
        for corner in range(4):
            cx = (x0 - reach if corner % 2 else x1 + reach) - f2
            cy = (y0 - reach if corner // 2 else y1 + reach) - f5
            X, Y = (f4 * cx - f1 * cy) / det, (f0 * cy - f3 * cx) / det
            left, right, low, high = min(left, X), max(right, X), min(low, Y), max(high, Y)
        j0, j1 = max(0, math.floor((left + 1.0) * 0.5 * S)), min(S, math.ceil((right + 1.0) * 0.5 * S))
        i0, i1 = max(0, math.floor((1.0 - high) * 0.5 * S)), min(S, math.ceil((1.0 - low) * 0.5 * S))
        if not clip:
            under[:], lit[:] = 0.0, 1.0

        for i in range(i0 - 1, i1 + 1):
            Y = 1.0 - (2.0 * i + 1.0) / S
            for j in range(j0 - 1, j1 + 1):
                if clip and bevel <= 0.0 and (i < i0 or i >= i1 or j < j0 or j >= j1 or under[i, j] <= 0.0):
                    continue  # not seen, and no neighbour asks for its distance
                X = (2.0 * j + 1.0) / S - 1.0
                x, y = f0 * X + f1 * Y + f2, f3 * X + f4 * Y + f5
                best, nearest, u, v = 1e3, 1e3, 0.0, 0.0
                for n in range(first, first + count):
                    away = max(max(boxes[n, 0] - x, x - boxes[n, 2]), max(boxes[n, 1] - y, y - boxes[n, 3]))
                    if away > reach and (best < 1e3 or away > 3.0 * reach):
                        continue
                    d, du, dv = _distance(shapes[n], edges, x, y)
                    if d < nearest:
                        nearest, u, v = d, du, dv
                    if blend > 0.0:
                        h = max(0.0, 1.0 - abs(best - d) / blend)
                        best = min(best, d) - 0.25 * h * h * blend
                    else:
                        best = min(best, d)
                if fur > 0.0 and abs(best) < 3.0 * fur:
                    best += fur * _noise(x / (1.3 * fur), y / (1.3 * fur), seed)
                field[i + 1, j + 1, 0], field[i + 1, j + 1, 1], field[i + 1, j + 1, 2] = best, u, v

        for i in range(i0, i1):
            Y = 1.0 - (2.0 * i + 1.0) / S
            for j in range(j0, j1):
                if clip and under[i, j] <= 0.0:
                    continue
                d = field[i + 1, j + 1, 0]
                cover = _clamp(0.5 - d / soft)
                if soft > pixel:
                    cover = cover * cover * (3.0 - 2.0 * cover)
                if clip:
                    cover *= under[i, j]
                else:
                    under[i, j] = cover
                cover *= alpha
                if cover <= 0.0:
                    continue
                X = (2.0 * j + 1.0) / S - 1.0
                x, y = f0 * X + f1 * Y + f2, f3 * X + f4 * Y + f5
                t = _clamp(((x - parts[p, 9]) * gx + (y - parts[p, 10]) * gy) / g2)
                r = parts[p, 3] + t * (parts[p, 6] - parts[p, 3])
                g = parts[p, 4] + t * (parts[p, 7] - parts[p, 4])
                b = parts[p, 5] + t * (parts[p, 8] - parts[p, 5])
                if kind != NONE:
                    if along:
                        px, py = field[i + 1, j + 1, 1], field[i + 1, j + 1, 2]
                    else:
                        qx, qy = x - parts[p, 29], y - parts[p, 30]
                        px, py = qx * cos + qy * sin, qy * cos - qx * sin
                    w = amount * _ink(kind, px, py, scale, duty, wild, seed, pixel)
                    if bare:
                        cover *= w
                    r, g, b = r + w * (parts[p, 22] - r), g + w * (parts[p, 23] - g), b + w * (parts[p, 24] - b)
                tone, spark = lit[i, j] if clip else 1.0, 0.0
                if bevel > 0.0:
                    sx = field[i + 1, j + 2, 0] - field[i + 1, j, 0]
                    sy = field[i, j + 1, 0] - field[i + 2, j + 1, 0]
                    steep = (1.0 - _clamp(-d / bevel)) ** 1.5  # 1 at the edge, 0 where the surface is flat
                    length = math.sqrt(sx * sx + sy * sy) + 1e-9
                    sx, sy = sx / length * steep, sy / length * steep
                    facing = sx * light[0] + sy * light[1] + math.sqrt(1.0 - 0.999 * steep * steep) * light[2]
                    tone *= 1.0 + shine * (facing - light[2])
                    spark = gloss * _clamp(6.0 * facing - 5.0)
                tone *= 1.0 - rim * _clamp(1.0 + d / edge)
                if not clip:
                    lit[i, j] = tone
                for c, value in enumerate((r, g, b)):
                    value = value * tone
                    value += spark * (1.0 - value)
                    image[i, j, c] += cover * (_clamp(value) - image[i, j, c])
                if not clip:
                    mask[i, j] += cover * (1.0 - mask[i, j])
