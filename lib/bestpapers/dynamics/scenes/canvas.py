"""The painter of scenes: colours of parts, baked once in the pose of frame 0, looked up in every frame.

Each part has a *skin*, a small picture of its surface in the pose of frame 0, painted by its material at SUPER samples per
pixel, hidden sides included. A frame is then drawn sample by sample: which part is seen (`Scene.samples`), where on it (the
inverse of the part's motion), what colour its skin has there; a pixel is the mean of its samples. In frame 0 the samples fall
on the texels, in other frames between them, where four are mixed.

A material is a function (u, v, skin, pixel) -> (N, 3), see `worlds.Material`. It is called once for all texels of all parts
that share it, so write it in numpy over whole arrays: `skin` has a row for each number of the part. Make it a function of a
module, not of each part, or nothing is shared. `noise`, `fbm`, `mix`, `step` are the tools; `leaf`, `tapered`, `circle`,
`ellipse`, `smooth` make outlines; `foliage` is a material for leaves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from ..worlds import ACROSS, SERIAL, SUPER, Array, FieldPart, Floats, Part, Scene, place
from .backgrounds import Background, cell, mix, step

Point = tuple[float, float]
Colour = tuple[float, float, float]

MARGIN = 0.12  # picture heights around the frame that are painted too, since they can swing in
CHUNK = 200_000  # texels to a call of a material


# ------------------------------------------------------------------------------------------------------------- painter


class Painter:
    """Draws the frames of one scene at one size."""

    def __init__(self, scene: Scene, height: int, width: int) -> None:
        self.scene, self.size = scene, (height, width)
        self.scale = float(SUPER * height)
        self.shift = 0.5 * SUPER * width - 0.5 * ACROSS * self.scale
        g = scene.geometry
        self.rects = np.array([self._rect(n) for n in range(len(g.pivot))], np.int64)  # left, top, width, height
        ends = np.cumsum(self.rects[:, 2] * self.rects[:, 3])
        self.starts = np.concatenate([[0], ends[:-1]])
        self.texels = self._bake(int(ends[-1]))
        self.base = scene._standing(height, width)
        self.pivot = g.pivot * self.scale + np.array([self.shift - 0.5, -0.5])
        self.kind = np.zeros(len(g.pivot), np.int32)
        self.waves: dict[int, Floats] = {}
        for number, part, _, _ in g.fields:
            self.kind[number] = 1
            left, top, w, h = self.rects[number]
            # displacement at half the samples' density, in samples
            columns, rows = np.meshgrid(
                left + 0.5 + SUPER * np.arange(-(-w // SUPER)), top + 0.5 + SUPER * np.arange(-(-h // SUPER))
            )
            x, y = (columns + 0.5 * (SUPER - 1) - self.shift) / self.scale, (rows + 0.5 * (SUPER - 1)) / self.scale
            waves = np.asarray(part.shapes(x.ravel(), y.ravel()), float) * self.scale
            self.waves[number] = waves.reshape(waves.shape[0], 2, *x.shape).astype(np.float32)
        self.gain, self.offset = self._finish()

    def _rect(self, number: int) -> tuple[int, int, int, int]:
        """Left, top, width, height of a part's skin, in samples of frame 0."""
        height, width = self.size
        if number == 0:
            return 0, 0, SUPER * width, SUPER * height
        part = self.scene.parts[number - 1]
        edge = MARGIN * self.scale
        x = part.outline[:, 0] * self.scale + self.shift - 0.5
        y = part.outline[:, 1] * self.scale - 0.5
        more = 0.5 * edge if isinstance(part, FieldPart) else 1.0
        left, right = max(math.floor(x.min() - more), -edge), min(math.ceil(x.max() + more), SUPER * width + edge)
        top, bottom = max(math.floor(y.min() - more), -edge), min(math.ceil(y.max() + more), SUPER * height + edge)
        if right < left or bottom < top:  # never seen
            return 0, 0, 1, 1
        return int(left), int(top), int(right - left) + 1, int(bottom - top) + 1

    def _bake(self, total: int) -> Floats:
        """(texels, 3): all skins, one after the other."""
        out = np.zeros((total, 3), np.float32)
        pixel = 1 / self.scale
        groups: dict[int, list[int]] = {}
        for n, part in enumerate(self.scene.parts, 1):
            if isinstance(part, Part):
                groups.setdefault(id(part.material), []).append(n)
        height, width = self.size
        back = np.asarray(self.scene.background(SUPER * height, SUPER * width), np.float32)
        out[: self.starts[1] if len(self.starts) > 1 else total] = back.reshape(-1, 3)
        for n, field, _, _ in self.scene.geometry.fields:
            x, y = self._positions(n)
            out[self.starts[n] : self.starts[n] + len(x)] = field.paint(x, y, pixel)
        for numbers in groups.values():
            batch: list[int] = []
            texels = 0
            for k, n in enumerate(numbers):
                batch.append(n)
                texels += int(self.rects[n, 2] * self.rects[n, 3])
                if texels > CHUNK or k == len(numbers) - 1:
                    self._paint(batch, out, pixel)
                    batch, texels = [], 0
        return out

    def _positions(self, number: int) -> tuple[Array, Array]:
        left, top, w, h = self.rects[number]
        y, x = np.divmod(np.arange(w * h), w)
        return (x + left + 0.5 - self.shift) / self.scale, (y + top + 0.5) / self.scale

    def _paint(self, numbers: Sequence[int], out: Floats, pixel: float) -> None:
        parts = [self.scene.parts[n - 1] for n in numbers]
        us, vs, skins = [], [], []
        for n, part in zip(numbers, parts):
            assert isinstance(part, Part)
            x, y = self._positions(n)
            c, s = math.cos(part.frame[2]), math.sin(part.frame[2])
            x, y = x - part.frame[0], y - part.frame[1]
            us.append(c * x + s * y)
            vs.append(c * y - s * x)
            skins.append(part.skin)
        sizes = [len(u) for u in us]
        skin = np.repeat(np.array(skins, np.float64).reshape(len(parts), -1).T, sizes, axis=1)
        first = parts[0]
        assert isinstance(first, Part)
        colours = np.asarray(first.material(np.concatenate(us), np.concatenate(vs), skin, pixel))
        at = 0
        for n, size in zip(numbers, sizes):
            out[self.starts[n] : self.starts[n] + size] = colours[at : at + size]
            at += size

    def _finish(self) -> tuple[Floats | None, Floats | None]:
        if self.scene.finish is None:
            return None, None
        height, width = self.size
        rows, columns = np.divmod(np.arange(height * width), width)
        gain, offset = self.scene.finish(*place(rows, columns, height, width))
        full = (height * width, 3)
        return (
            np.broadcast_to(np.asarray(gain, np.float32), full).reshape(height, width, 3).copy(),
            np.broadcast_to(np.asarray(offset, np.float32), full).reshape(height, width, 3).copy(),
        )

    def frame(self, q: Array) -> NDArray[np.uint8]:
        """(H, W, 3): the frame with modal coordinates q (J,)."""
        scene, (height, width) = self.scene, self.size
        g = scene.geometry
        ids = scene.samples(q, height, width, self.base)
        pose = (q @ g.motion).reshape(-1, 3)
        pose[:, :2] *= self.scale
        out = np.empty((height, width, 3), np.float32)
        rest = np.zeros((0, 0, 2), np.float32)
        if g.fields:
            rest = np.zeros((*ids.shape, 2), np.float32)
            for number, _, start, end in g.fields:
                self._unwave(number, q[start:end], rest, ids)
        _colour(ids, pose, self.pivot, self.kind, rest, self.texels, self.starts, self.rects, SUPER, out)
        for glow in scene.glows:
            self._shine(glow, q, out)
        if self.gain is not None and self.offset is not None:
            out = out * self.gain + self.offset
        return (np.clip(out, 0.0, 1.0) * np.float32(255) + np.float32(0.5)).astype(np.uint8)

    def _unwave(self, number: int, q: Array, rest: Floats, ids: NDArray[np.int32]) -> None:
        """Where what a field shows at each sample was in frame 0: r with r + u(r) = x, by fixed point."""
        left, top, w, h = self.rects[number]
        moved = np.tensordot(q.astype(np.float32), self.waves[number], axes=1) / SUPER  # in steps of the grid
        grid_x, grid_y = (
            a.astype(np.float32) for a in np.meshgrid(np.arange(moved.shape[2]), np.arange(moved.shape[1]))
        )
        back_x, back_y = moved[0], moved[1]
        for _ in range(8 if q.any() else 0):
            both = [
                cv2.remap(m, grid_x - back_x, grid_y - back_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
                for m in (moved[0], moved[1])
            ]
            back_x, back_y = both[0], both[1]
        size = (SUPER * moved.shape[2], SUPER * moved.shape[1])
        full = [cv2.resize(SUPER * b, size, interpolation=cv2.INTER_LINEAR)[:h, :w] for b in (back_x, back_y)]
        r0, r1 = max(0, top), min(ids.shape[0], top + h)
        c0, c1 = max(0, left), min(ids.shape[1], left + w)
        here = ids[r0:r1, c0:c1] == number
        for axis in (0, 1):
            rest[r0:r1, c0:c1, axis][here] = full[axis][r0 - top : r1 - top, c0 - left : c1 - left][here]

    def _shine(self, glow: Any, q: Array, out: Floats) -> None:
        height, width = self.size
        x, y = glow.centre
        if glow.body >= 0:
            start, end = self.scene.starts[glow.body], self.scene.starts[glow.body + 1]
            shift = q[start:end] @ glow.motion
            x, y = x + shift[0], y + shift[1]
        x, y = (x - 0.5 * ACROSS) * height + 0.5 * width - 0.5, y * height - 0.5
        r = glow.radius * height
        c0, c1 = max(0, int(x - 4 * r)), min(width, int(x + 4 * r) + 2)
        r0, r1 = max(0, int(y - 4 * r)), min(height, int(y + 4 * r) + 2)
        if c0 >= c1 or r0 >= r1:
            return
        across = np.exp(-0.5 * ((np.arange(c0, c1) - x) / r) ** 2)
        down = np.exp(-0.5 * ((np.arange(r0, r1) - y) / r) ** 2)
        out[r0:r1, c0:c1] += (down[:, None] * across)[..., None].astype(np.float32) * np.asarray(
            glow.colour, np.float32
        )


@njit(**SERIAL)
def _colour(ids, pose, pivot, kind, rest, texels, starts, rects, samples, out):
    """Mean colour of each pixel's samples: the inverse motion of the part that a sample shows, then its skin, bilinear."""
    height, width, _ = out.shape
    share = np.float32(1.0 / (samples * samples))
    for i in range(height):
        for j in range(width):
            r, g, b = np.float32(0), np.float32(0), np.float32(0)
            for a in range(samples * samples):
                y, x = i * samples + a // samples, j * samples + a % samples
                p = ids[y, x]
                if kind[p] == 1:
                    rx, ry = x - rest[y, x, 0], y - rest[y, x, 1]
                else:
                    t = pose[p, 2]
                    ax, ay = x - pose[p, 0] - pivot[p, 0], y - pose[p, 1] - pivot[p, 1]
                    size = 1.0 / (1.0 + t * t)
                    rx = pivot[p, 0] + size * (ax + t * ay)
                    ry = pivot[p, 1] + size * (ay - t * ax)
                w, h = rects[p, 2], rects[p, 3]
                rx = min(max(rx - rects[p, 0], 0.0), w - 1.0)
                ry = min(max(ry - rects[p, 1], 0.0), h - 1.0)
                c, l = int(rx), int(ry)
                fx, fy = np.float32(rx - c), np.float32(ry - l)
                here = starts[p] + l * w + c
                right, below = min(c + 1, w - 1) - c, (min(l + 1, h - 1) - l) * w
                for k in range(3):
                    top = texels[here, k] + fx * (texels[here + right, k] - texels[here, k])
                    low = texels[here + below, k] + fx * (texels[here + below + right, k] - texels[here + below, k])
                    value = top + fy * (low - top)
                    if k == 0:
                        r += value
                    elif k == 1:
                        g += value
                    else:
                        b += value
            out[i, j, 0], out[i, j, 1], out[i, j, 2] = share * r, share * g, share * b


# ------------------------------------------------------------------------------------------------------------ textures


@njit(**SERIAL)
def _noises(x, y, seed, out):
    for n in range(len(x)):
        i, j = math.floor(x[n]), math.floor(y[n])
        fx, fy = x[n] - i, y[n] - j
        fx, fy = fx * fx * (3.0 - 2.0 * fx), fy * fy * (3.0 - 2.0 * fy)
        i, j, s = int(i), int(j), int(seed[n % len(seed)])
        above = cell(i, j, s) * (1.0 - fx) + cell(i + 1, j, s) * fx
        below = cell(i, j + 1, s) * (1.0 - fx) + cell(i + 1, j + 1, s) * fx
        out[n] = 2.0 * (above + fy * (below - above)) - 1.0


def noise(x: ArrayLike, y: ArrayLike, seed: int | Array = 0) -> Array:
    """Smooth noise in [-1, 1] with features of size 1, at positions of any shape; seed: one for all, or one each."""
    x, y = np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float))
    out = np.empty(x.size)
    seeds = np.atleast_1d(np.asarray(seed, np.int64)).ravel()
    _noises(np.ascontiguousarray(x).ravel(), np.ascontiguousarray(y).ravel(), seeds, out)
    return out.reshape(x.shape)


def fbm(x: ArrayLike, y: ArrayLike, seed: int | Array = 0, octaves: int = 4, gain: float = 0.5) -> Array:
    """Noise of several sizes, each half of the last, in about [-1, 1]."""
    total, size, weight = np.zeros(np.broadcast(x, y).shape), 1.0, 1.0
    norm = sum(gain**k for k in range(octaves))
    for k in range(octaves):
        total += (
            weight / norm * noise(size * np.asarray(x) + 17.0 * k, size * np.asarray(y) - 5.0 * k, np.asarray(seed) + k)
        )
        size, weight = 2.0 * size, gain * weight
    return total


# ----------------------------------------------------------------------------------------------------------- materials


def tones(ground: Background, colour: Colour | Array, deep: float = 0.8) -> tuple[float, ...]:
    """What a surface of that colour shows in the shade (3) and in the light (3), for a skin. deep: darkens the shade."""
    dark = ground.lit(np.asarray(colour), 0.0) * deep
    # white in full sun is just white
    bright = ground.lit(np.asarray(colour), 1.0) / max(1.0, float(ground.lit((1.0, 1.0, 1.0), 1.0).mean()))
    return (*(float(c) for c in dark), *(float(c) for c in bright))


def foliage(u: Array, v: Array, skin: Array, pixel: float) -> Array:
    """A leaf: two halves that face differently, a pale midrib, a glow towards the edge where light shines through.

    skin: colour in the shade (3) and in the light (3), length, width, how much it faces the light 0 to 1, how much its two
    halves differ -1 to 1, seed.
    """
    dark, bright = skin[0:3].T, skin[3:6].T
    length, width, facing, tilt, seed = skin[6:11]
    t, w = u / length, v / width
    side = np.tanh(8 * w)
    shine = facing * (1 + tilt * side) + 0.10 * noise(4 * t, 5 * w, seed.astype(int))
    shine = shine + 0.16 * (t - 0.4)
    colour = dark + np.clip(shine, 0, 1.25)[:, None] * (bright - dark)
    rib = step(0.09, 0.02, np.abs(w)) * step(1.0, 0.7, t) * (0.06 * width > 0.4 * pixel)
    return mix(colour, colour * 1.25 + 0.04, 0.55 * rib)  # type: ignore[return-value]


# ------------------------------------------------------------------------------------------------------------ outlines


def circle(x: float, y: float, radius: float, corners: int = 16) -> Array:
    """A round outline (V, 2)."""
    return ellipse(x, y, radius, radius, 0.0, corners)


def ellipse(x: float, y: float, rx: float, ry: float, turn: float = 0.0, corners: int = 16) -> Array:
    """An ellipse with half axes rx along `turn` and ry across."""
    t = np.arange(corners) * 2 * math.pi / corners
    c, s = math.cos(turn), math.sin(turn)
    u, v = rx * np.cos(t), ry * np.sin(t)
    return np.column_stack([x + c * u - s * v, y + s * u + c * v])


def turned(u: Array, v: Array, frame: tuple[float, float, float]) -> Array:
    """(V, 2): points with coordinates u along and v across in a frame (x, y, angle)."""
    c, s = math.cos(frame[2]), math.sin(frame[2])
    return np.column_stack([frame[0] + c * u - s * v, frame[1] + s * u + c * v])


def leaf(frame: tuple[float, float, float], length: float, width: float, corners: int = 7, peak: float = 0.42) -> Array:
    """A pointed leaf from the frame's origin along u; widest at `peak` of its length."""
    t = np.linspace(0.0, 1.0, corners)
    half = 0.5 * width * np.sin(math.pi * t ** (math.log(0.5) / math.log(peak))) ** 0.9
    u = length * np.concatenate([t, t[-2:0:-1]])
    return turned(u, np.concatenate([half, -half[-2:0:-1]]), frame)


def smooth(points: Sequence[Point] | Array, samples: int = 6) -> Array:
    """An open smooth curve (Catmull-Rom) through points: ((n - 1) samples + 1, 2)."""
    p = np.asarray(points, float)
    q = np.concatenate([[2 * p[0] - p[1]], p, [2 * p[-1] - p[-2]]])
    t = (np.arange(samples) / samples)[:, None]
    pieces = [
        b + 0.5 * t * (d - a + t * (2 * a - 5 * b + 4 * d - e + t * (3 * (b - d) + e - a)))
        for a, b, d, e in zip(q, q[1:], q[2:], q[3:])
    ]
    return np.concatenate([*pieces, p[-1:]])


def tapered(points: Sequence[Point] | Array, radii: Sequence[float] | Array) -> Array:
    """A band round an open curve (n, 2), as wide as its radii (n,) say."""
    p, r = np.asarray(points, float), np.asarray(radii, float)[:, None]
    along = np.gradient(p, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-12
    side = np.column_stack([-along[:, 1], along[:, 0]]) * r
    return np.concatenate([p + side, (p - side)[::-1]])
