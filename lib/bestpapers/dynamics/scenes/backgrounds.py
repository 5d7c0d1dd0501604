"""What stands still behind a scene: sky, clouds, hills, a forest edge, houses, a meadow, lights out of focus.

A background is drawn once for each size, by image operations on a `Sheet`; all lengths are in scene units, so that the
same background is the same picture at every size. Scene units: the picture's height is 1, x to the right, y down; the
nominal frame is [0, 1.6] x [0, 1], and a picture of another shape shows its middle.

Nothing here moves. `Background` also says where the light comes from and what colour it has, so that the parts in front
of it can be lit in keeping.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float32]
Colour = tuple[float, float, float]

ASPECT = 1.6  # width of the nominal frame, in heights
HOURS = ("dawn", "day", "golden", "dusk", "night")

# hour: top of the sky, its middle, above the horizon, direct light, light from the sky, what far things fade to
PALETTES: dict[str, tuple[Colour, Colour, Colour, Colour, Colour, Colour]] = {
    "dawn": (
        (0.40, 0.50, 0.72),
        (0.80, 0.70, 0.76),
        (1.00, 0.83, 0.72),
        (1.00, 0.80, 0.66),
        (0.62, 0.60, 0.74),
        (0.86, 0.77, 0.80),
    ),
    "day": (
        (0.22, 0.45, 0.78),
        (0.47, 0.68, 0.90),
        (0.80, 0.89, 0.95),
        (1.00, 0.97, 0.88),
        (0.52, 0.62, 0.76),
        (0.72, 0.83, 0.92),
    ),
    "golden": (
        (0.33, 0.49, 0.72),
        (0.74, 0.73, 0.70),
        (1.00, 0.83, 0.55),
        (1.00, 0.80, 0.48),
        (0.55, 0.54, 0.62),
        (0.95, 0.79, 0.60),
    ),
    "dusk": (
        (0.09, 0.13, 0.33),
        (0.36, 0.29, 0.50),
        (0.96, 0.55, 0.38),
        (0.92, 0.52, 0.42),
        (0.30, 0.29, 0.46),
        (0.46, 0.36, 0.49),
    ),
    "night": (
        (0.02, 0.04, 0.13),
        (0.05, 0.09, 0.23),
        (0.15, 0.21, 0.38),
        (0.62, 0.70, 0.92),
        (0.12, 0.16, 0.30),
        (0.11, 0.16, 0.29),
    ),
}
# which hours a kind of scene is seen at, and how often
WHEN: dict[str, dict[str, float]] = {
    "tree": {"dawn": 0.2, "day": 0.35, "golden": 0.3, "dusk": 0.15},
    "flowers": {"dawn": 0.2, "day": 0.45, "golden": 0.35},
    "lanterns": {"golden": 0.12, "dusk": 0.5, "night": 0.38},
    "water": {"dawn": 0.25, "golden": 0.2, "dusk": 0.35, "night": 0.2},
}

# --------------------------------------------------------------------------------------------------------------- noise


@njit(cache=True, error_model="numpy")
def cell(i: int, j: int, seed: int) -> float:
    """A number in [0, 1) for a cell of a grid: always the same one."""
    n = (i * 374761393 + j * 668265263 + seed * 974634777) & 0xFFFFFFFF
    n = ((n ^ (n >> 13)) * 1274126177) & 0xFFFFFFFF
    n = ((n ^ (n >> 15)) * 2246822519) & 0xFFFFFFFF
    return ((n ^ (n >> 13)) & 0xFFFFFF) / 16777216.0


@njit(cache=True, error_model="numpy", nogil=True)
def _octaves(x, y, seed, octaves, gain, out):
    """Sum of smooth value noises, each twice as fine and `gain` times as strong as the last, into out [n]."""
    for n in range(len(x)):
        total, weight, size, px, py = 0.0, 0.0, 1.0, x[n], y[n]
        for o in range(octaves):
            fx, fy = math.floor(px), math.floor(py)
            i, j = int(fx), int(fy)
            fx, fy = px - fx, py - fy
            fx = fx * fx * fx * (fx * (6.0 * fx - 15.0) + 10.0)
            fy = fy * fy * fy * (fy * (6.0 * fy - 15.0) + 10.0)
            s = seed + 17 * o
            a = cell(i, j, s) + fx * (cell(i + 1, j, s) - cell(i, j, s))
            b = cell(i, j + 1, s) + fx * (cell(i + 1, j + 1, s) - cell(i, j + 1, s))
            total += size * (2.0 * (a + fy * (b - a)) - 1.0)
            weight += size
            size *= gain
            # turned by a little, so that the grids of the octaves do not line up
            px, py = 1.92 * px + 0.64 * py + 13.7, 1.92 * py - 0.64 * px + 7.3
        out[n] = total / weight


@njit(cache=True, error_model="numpy", nogil=True)
def _bilinear(image, px, py, out):
    """Colours of image (H, W, 3) at pixel positions px, py (N,), clamped to the edge, into out (N, 3)."""
    height, width = image.shape[:2]
    for n in range(len(px)):
        x, y = min(max(px[n], 0.0), width - 1.0), min(max(py[n], 0.0), height - 1.0)
        j, i = min(int(x), max(width - 2, 0)), min(int(y), max(height - 2, 0))
        fx, fy = x - j, y - i
        right, below = min(j + 1, width - 1), min(i + 1, height - 1)
        for c in range(3):
            a = image[i, j, c] + fx * (image[i, right, c] - image[i, j, c])
            b = image[below, j, c] + fx * (image[below, right, c] - image[below, j, c])
            out[n, c] = a + fy * (b - a)


def noise(x: ArrayLike, y: ArrayLike, seed: int, octaves: int = 4, gain: float = 0.5) -> Array:
    """Smooth noise at points x, y (of one shape) with features of size 1 and finer: float32 in [-1, 1], that shape."""
    px, py = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
    out = np.empty(px.size, np.float32)
    _octaves(px.ravel(), py.ravel(), seed, octaves, gain, out)
    return out.reshape(px.shape)


def step(low: float | Array, high: float | Array, value: ArrayLike) -> Array:
    """0 below low, 1 above high, smooth between (low may be the larger one: then it falls)."""
    t = np.clip((np.asarray(value, np.float32) - low) / (np.asarray(high) - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)  # type: ignore[return-value]


def mix(a: ArrayLike, b: ArrayLike, t: ArrayLike) -> Array:
    """From colour a (t = 0) to colour b (t = 1). t of shape (...) with colours (3,) or (..., 3) gives (..., 3)."""
    a, b, t = np.asarray(a, np.float32), np.asarray(b, np.float32), np.asarray(t, np.float32)[..., None]
    return a + t * (b - a)


def tone(colour: ArrayLike, factor: float) -> Array:
    """The colour, darker (factor < 1) or brighter."""
    return np.asarray(colour, np.float32) * np.float32(factor)


# --------------------------------------------------------------------------------------------------------------- sheet


class Sheet:
    """A rectangle of the scene that is being painted, in square pixels.

    x, y     (H, W) float32: scene coordinates of the pixels' middles
    pixel    side of a pixel in scene units
    left, top   scene coordinates of its upper left corner
    rgb      (H, W, 3) float32, about 0..1
    """

    def __init__(self, pixel: float, left: float, top: float, width: int, height: int) -> None:
        self.pixel, self.left, self.top = float(pixel), float(left), float(top)
        self.columns = (self.left + (np.arange(width) + 0.5) * self.pixel).astype(np.float32)
        rows = (self.top + (np.arange(height) + 0.5) * self.pixel).astype(np.float32)
        self.x, self.y = np.meshgrid(self.columns, rows)
        self.rgb = np.zeros((height, width, 3), np.float32)

    @classmethod
    def picture(cls, height: int, width: int) -> Sheet:
        """The sheet of a picture's pixels."""
        return cls(1.0 / height, 0.5 * (ASPECT - width / height), 0.0, width, height)

    def sample(self, x: ArrayLike, y: ArrayLike) -> Array:
        """Colours (N, 3) at points x, y (N,), bilinear; beyond the edge those of the edge."""
        out = np.empty((np.size(x), 3), np.float32)
        px = (np.ravel(np.asarray(x, np.float64)) - self.left) / self.pixel - 0.5
        py = (np.ravel(np.asarray(y, np.float64)) - self.top) / self.pixel - 0.5
        _bilinear(self.rgb, px, py, out)
        return out

    def lay(self, colour: ArrayLike, cover: ArrayLike = 1.0) -> None:
        """Cover what is there. colour (3,) or (H, W, 3); cover (H, W) or one number, 0..1."""
        cover = np.asarray(cover, np.float32)[..., None]
        self.rgb += cover * (np.asarray(colour, np.float32) - self.rgb)

    def shine(self, colour: ArrayLike, amount: ArrayLike) -> None:
        """Add light: never beyond white."""
        light = np.asarray(amount, np.float32)[..., None] * np.asarray(colour, np.float32)
        self.rgb += np.clip(light, 0.0, 1.0) * (1.0 - np.clip(self.rgb, 0.0, 1.0))

    def soften(self, radius: float) -> None:
        """Blur by `radius` scene units (out of focus)."""
        if radius > 0.3 * self.pixel:
            cv2.GaussianBlur(self.rgb, (0, 0), radius / self.pixel, dst=self.rgb, borderType=cv2.BORDER_REFLECT)

    def window(self, x0: float, y0: float, x1: float, y1: float) -> tuple[slice, slice] | None:
        """The pixels of a box of the scene as slices of rows and columns, or None if it lies outside."""
        height, width = self.x.shape
        j0, j1 = math.floor((x0 - self.left) / self.pixel), math.ceil((x1 - self.left) / self.pixel)
        i0, i1 = math.floor((y0 - self.top) / self.pixel), math.ceil((y1 - self.top) / self.pixel)
        i0, j0, i1, j1 = max(i0, 0), max(j0, 0), min(i1, height), min(j1, width)
        return (slice(i0, i1), slice(j0, j1)) if i1 > i0 and j1 > j0 else None

    def fill(self, points: ArrayLike, colour: ArrayLike, alpha: float = 1.0) -> None:
        """Paint a polygon (N, 2) in one colour."""
        xy = np.asarray(points, np.float64)
        box = self.window(*(xy.min(axis=0) - 2 * self.pixel), *(xy.max(axis=0) + 2 * self.pixel))
        if box is None:
            return
        rows, columns = box
        mask = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.uint8)
        origin = (self.left + columns.start * self.pixel, self.top + rows.start * self.pixel)
        # OpenCV puts a pixel's middle at whole numbers; 4 bits of fractions
        fixed = np.round(((xy - origin) / self.pixel - 0.5) * 16.0).astype(np.int32)
        cv2.fillPoly(mask, [fixed], 255, lineType=cv2.LINE_AA, shift=4)
        part = self.rgb[box]
        part += (alpha / 255.0 * mask.astype(np.float32))[..., None] * (np.asarray(colour, np.float32) - part)

    def rows(self, y0: float, y1: float) -> Sheet | None:
        """The rows from scene y0 to y1 as a sheet that shares this one's pixels, or None if there are none."""
        first = max(0, math.floor((y0 - self.top) / self.pixel))
        last = min(len(self.rgb), math.ceil((y1 - self.top) / self.pixel))
        if last <= first:
            return None
        part = Sheet.__new__(Sheet)
        part.pixel, part.left, part.top, part.columns = (
            self.pixel,
            self.left,
            self.top + first * self.pixel,
            self.columns,
        )
        part.x, part.y, part.rgb = self.x[first:last], self.y[first:last], self.rgb[first:last]
        return part

    def glow(self, x: float, y: float, radius: float, colour: ArrayLike, strength: float = 1.0) -> None:
        """A soft light round a point, that reaches about three radii."""
        box = self.window(x - 4 * radius, y - 4 * radius, x + 4 * radius, y + 4 * radius)
        if box is None:
            return
        away = np.hypot(self.x[box] - x, self.y[box] - y) / radius
        light = np.clip(strength * (np.exp(-(away**2)) * 0.6 + 0.4 * np.exp(-1.2 * away)) * step(4.0, 2.5, away), 0, 1)
        part = self.rgb[box]
        part += light[..., None] * np.asarray(colour, np.float32) * (1.0 - np.clip(part, 0.0, 1.0))


# ---------------------------------------------------------------------------------------------------------- background


@dataclass(frozen=True)
class Background:
    """A background, drawn by `draw_background`.

    kind      of the scene in front of it
    hour      one of HOURS
    seed      of all noise
    light     unit vector towards the light: x right, y down, z towards the viewer
    top, middle, low, sun, sky, haze   colours 0..1: three of the sky, of direct light, of the sky's light, of far things
    horizon   scene y where ground and sky meet
    source    scene (x, y) of sun or moon; may lie outside the frame
    blur      scene units: how far out of focus all of it is
    layers    what is painted, from far to near: names of `_PAINTERS` with a seed each
    """

    kind: str
    hour: str
    seed: int
    light: tuple[float, float, float]
    top: Colour
    middle: Colour
    low: Colour
    sun: Colour
    sky: Colour
    haze: Colour
    horizon: float
    source: tuple[float, float]
    blur: float
    layers: tuple[tuple[str, int], ...]

    @property
    def dark(self) -> float:
        """0 by day .. 1 at night: how much lamps show."""
        return {"dawn": 0.25, "day": 0.0, "golden": 0.15, "dusk": 0.75, "night": 1.0}[self.hour]

    def lit(self, colour: ArrayLike, facing: ArrayLike = 0.6) -> Array:
        """What a surface of this colour shows; facing (...) in 0..1 is how far it turns to the light. (..., 3)."""
        shine = np.asarray(self.sky, np.float32) + np.asarray(facing, np.float32)[..., None] * (
            0.85 * np.asarray(self.sun, np.float32)
        )
        return np.asarray(colour, np.float32) * shine

    def draw(self, sheet: Sheet) -> None:
        """Paint all layers onto a sheet."""
        for name, seed in self.layers:
            _PAINTERS[name](sheet, self, np.random.default_rng((self.seed, seed)))
        sheet.soften(self.blur)

    def paint(self, height: int, width: int) -> Array:
        """The background of a picture as float32 (height, width, 3), 0..1."""
        sheet = Sheet.picture(height, width)
        self.draw(sheet)
        return np.clip(sheet.rgb, 0.0, 1.0)


def vary(rng: np.random.Generator, colour: Colour, amount: float) -> Colour:
    """The colour, with chance in brightness and in each channel."""
    both = np.asarray(colour) * (1.0 + amount * rng.uniform(-1, 1)) + 0.5 * amount * rng.uniform(-1, 1, 3)
    r, g, b = np.clip(both, 0.0, 1.0)
    return float(r), float(g), float(b)


def draw_background(
    kind: str,
    rng: np.random.Generator,
    *,
    hour: str | None = None,
    horizon: float | None = None,
    blur: float | None = None,
    layers: Sequence[str] | None = None,
) -> Background:
    """Draw the background of a scene.

    kind      "tree" | "flowers" | "lanterns" | "water": which hours, horizons and layers are likely
    hour, horizon, blur, layers   wishes that take the place of chance
    Raises ValueError for another kind, hour or layer.
    """
    if kind not in WHEN:
        raise ValueError(f"kind of scene {kind!r}: choose one of {', '.join(WHEN)}")
    if hour is not None and hour not in HOURS:
        raise ValueError(f"hour {hour!r}: choose one of {', '.join(HOURS)}")
    often = WHEN[kind]
    drawn = str(rng.choice(list(often), p=list(often.values())))
    hour = hour or drawn
    colours = [vary(rng, c, 0.07) for c in PALETTES[hour]]
    if horizon is None:
        low, high = {"tree": (0.68, 0.84), "flowers": (0.16, 0.42), "lanterns": (0.6, 0.85), "water": (0.4, 0.56)}[kind]
        horizon = float(rng.uniform(low, high))
    side = -1.0 if rng.random() < 0.5 else 1.0
    height = {"dawn": 0.16, "day": 0.9, "golden": 0.22, "dusk": 0.02, "night": 0.4}[hour] * rng.uniform(0.7, 1.2)
    source = (0.8 + side * float(rng.uniform(0.1, 0.7)), horizon - float(height))
    depth = {"dawn": 0.15, "day": 0.55, "golden": 0.2, "dusk": 0.1, "night": 0.3}[hour]
    across = np.array([source[0] - 0.8, min(source[1] - 0.75, -0.1), 0.0])
    towards = across / np.linalg.norm(across) * math.sqrt(1.0 - depth**2) + (0.0, 0.0, depth)
    if blur is None:
        low, high = {"tree": (0.0, 0.0015), "flowers": (0.006, 0.02), "lanterns": (0.004, 0.011), "water": (0, 0)}[kind]
        blur = float(rng.uniform(low, high))
    names = list(layers) if layers is not None else _choose(kind, hour, rng)
    for name in names:
        if name not in _PAINTERS:
            raise ValueError(f"layer {name!r}: choose among {', '.join(_PAINTERS)}")
    seeds = rng.integers(0, 2**31, len(names))
    top, middle, low_sky, sun, sky, haze = colours
    return Background(
        kind=kind,
        hour=hour,
        seed=int(rng.integers(0, 2**31)),
        light=(float(towards[0]), float(towards[1]), float(towards[2])),
        top=top,
        middle=middle,
        low=low_sky,
        sun=sun,
        sky=sky,
        haze=haze,
        horizon=horizon,
        source=source,
        blur=blur,
        layers=tuple((name, int(s)) for name, s in zip(names, seeds, strict=True)),
    )


def _choose(kind: str, hour: str, rng: np.random.Generator) -> list[str]:
    """Names of layers, from far to near."""
    names = ["sky"]
    if hour == "night":
        names.append("stars")
    names.append("orb")
    if rng.random() < {"dawn": 0.7, "day": 0.85, "golden": 0.8, "dusk": 0.85, "night": 0.35}[hour]:
        names.append(str(rng.choice(["cumulus", "streaks"], p=[0.65, 0.35] if hour == "day" else [0.35, 0.65])))
    if kind == "tree":
        names.append(str(rng.choice(["hills", "mountains"], p=[0.65, 0.35])))
        if rng.random() < 0.75:
            names.append("forest")
        names += ["meadow", "fringe"]
    elif kind == "flowers":
        names.append(str(rng.choice(["hills", "mountains"], p=[0.6, 0.4])))
        if rng.random() < 0.8:
            names.append("forest")
        names.append("meadow")
        if rng.random() < 0.7:
            names.append("sparkle")
    elif kind == "lanterns":
        names.append(str(rng.choice(["hills", "mountains"])))
        names.append(str(rng.choice(["houses", "forest", "both"], p=[0.4, 0.35, 0.25])))
        if names[-1] == "both":
            names[-1:] = ["forest", "houses"]
        names += ["ground", "bokeh"]
    else:
        names.append(str(rng.choice(["hills", "mountains"])))
    return names


# -------------------------------------------------------------------------------------------------------------- layers


def _sky(sheet: Sheet, b: Background, rng: np.random.Generator) -> None:
    """Three colours from top to horizon, and a glow round the sun."""
    t = np.clip(sheet.y / max(b.horizon, 0.05), 0.0, 1.0)
    sheet.lay(mix(mix(b.top, b.middle, step(0.0, 0.75, t)), b.low, step(0.45, 1.0, t)))
    sx, sy = b.source
    away = np.hypot(sheet.x - sx, 1.25 * (sheet.y - sy))
    if b.hour != "night":
        warm = mix(b.sun, (1.0, 0.95, 0.85), 0.3)
        sheet.shine(warm, 0.55 * np.exp(-away / 0.22) + 0.25 * np.exp(-away / 0.6))
    else:
        sheet.shine(b.sun, 0.22 * np.exp(-away / 0.15) + 0.10 * np.exp(-away / 0.5))


def _stars(sheet: Sheet, b: Background, rng: np.random.Generator) -> None:
    """Stars of all sizes, and sometimes a faint band of them."""
    n = int(rng.integers(60, 180))
    x, y, size = rng.uniform(-0.2, 1.8, n), b.horizon * rng.random(n) ** 1.3, rng.random(n) ** 4
    band = np.exp(-(((sheet.y - 0.3 + rng.uniform(-1, 1) * (sheet.x - 0.8)) / 0.12) ** 2))
    cloudy = np.clip(noise(5 * sheet.x, 5 * sheet.y, int(rng.integers(2**30)), 5) + 0.4, 0, 1)
    sheet.shine((0.55, 0.6, 0.8), 0.16 * rng.random() * band * cloudy * step(b.horizon, 0.3 * b.horizon, sheet.y))
    for k in range(n):
        radius = 0.0011 + 0.0014 * float(size[k])
        tint = mix((1.0, 0.86, 0.72), (0.78, 0.86, 1.0), float(rng.random()))
        spread = max(radius, 0.5 * sheet.pixel)  # a star smaller than a pixel is a fainter pixel
        sheet.glow(float(x[k]), float(y[k]), spread, tint, (0.35 + 0.65 * float(size[k])) * (radius / spread) ** 2)


def _orb(sheet: Sheet, b: Background, rng: np.random.Generator) -> None:
    """The sun near the horizon, or the moon."""
    x, y = b.source
    if b.hour == "day":
        return
    radius = float(rng.uniform(0.03, 0.05))
    away = np.hypot(sheet.x - x, sheet.y - y)
    edge = step(radius + 0.8 * sheet.pixel, radius - 0.8 * sheet.pixel, away)
    if b.hour in ("night", "dusk") and (b.hour == "night" or rng.random() < 0.4):
        if b.hour == "dusk":  # the moon stands high, opposite to where the sun went
            x, y = 1.6 - x, 0.3 * b.horizon
            away = np.hypot(sheet.x - x, sheet.y - y)
            edge = step(radius + 0.8 * sheet.pixel, radius - 0.8 * sheet.pixel, away)
        seas = noise(1.2 * (sheet.x - x) / radius + 9, 1.2 * (sheet.y - y) / radius, int(rng.integers(2**30)), 4)
        phase = float(rng.uniform(-0.7, 1.6))
        bitten = np.hypot(sheet.x - x + phase * radius, sheet.y - y - 0.25 * phase * radius)
        if phase < 0.9:
            edge = edge * step(0.9 * radius, 1.08 * radius, bitten)
        sheet.shine((0.75, 0.8, 0.95), 0.4 * np.exp(-np.maximum(away - radius, 0) / (1.2 * radius)) * (1 - edge))
        sheet.lay(mix((0.97, 0.95, 0.88), (0.78, 0.78, 0.78), step(0.0, 0.6, seas)), edge)
    else:
        sheet.shine(mix(b.sun, (1, 1, 0.9), 0.5), 0.9 * np.exp(-np.maximum(away - radius, 0) / radius))
        sheet.lay(mix(b.sun, (1.0, 0.98, 0.88), 0.75), edge)


def _clouds(sheet: Sheet, b: Background, rng: np.random.Generator, stretch: float, scale: float) -> None:
    seed, cover = int(rng.integers(2**30)), float(rng.uniform(-0.05, 0.22))
    above = sheet.rows(-9.0, b.horizon + 0.02)
    if above is None:
        return
    sheet = above
    # clouds are farther away towards the horizon: flatter and smaller
    v = np.log(np.maximum(b.horizon + 0.12 - sheet.y, 0.02))
    u = scale * (sheet.x - 0.8) / np.maximum(b.horizon + 0.25 - sheet.y, 0.1)
    v = -stretch * scale * v
    u = u + 0.35 * noise(2 * u, 2 * v, seed + 3, 3)
    thick = noise(u, v, seed, 6, 0.52) - cover + 0.12
    dx, dy = b.source[0] - sheet.x, b.source[1] - sheet.y
    away = np.hypot(dx, dy) + 1e-3
    ahead = noise(u + 0.28 * dx / away, v + 0.28 * stretch * dy / away, seed, 4, 0.52) - cover + 0.12
    facing = np.clip(0.55 + 1.6 * (thick - ahead), 0.0, 1.0)
    white = mix(b.sun, (1.0, 1.0, 1.0), 0.55 if b.hour in ("day", "dawn") else 0.12)
    shade = mix(mix(b.middle, b.sky, 0.5), b.low, 0.25)
    if b.hour == "night":
        white, shade = tone(b.sun, 0.42), tone(b.middle, 1.0)
    near = np.exp(-away / 0.5)  # bright rims round the sun
    colour = mix(shade, white, np.clip(facing * (0.75 + 0.5 * near), 0, 1))
    density = step(0.0, 0.34, thick) * step(b.horizon + 0.02, b.horizon - 0.2, sheet.y)
    sheet.lay(colour, 0.9 * density)
    sheet.lay(b.low, 0.55 * density * step(b.horizon - 0.22, b.horizon, sheet.y))


def _cumulus(sheet: Sheet, b: Background, rng: np.random.Generator) -> None:
    """Heaped clouds."""
    _clouds(sheet, b, rng, 1.5, float(rng.uniform(1.0, 1.7)))


def _streaks(sheet: Sheet, b: Background, rng: np.random.Generator) -> None:
    """Long thin clouds."""
    _clouds(sheet, b, rng, float(rng.uniform(3.5, 6.0)), float(rng.uniform(0.6, 1.0)))


def _range(sheet: Sheet, b: Background, rng: np.random.Generator, peaks: bool) -> None:
    count = int(rng.integers(2, 5))
    green = vary(rng, (0.20, 0.31, 0.19), 0.25)
    stone = vary(rng, (0.34, 0.34, 0.39), 0.15)
    tall = float(rng.uniform(0.16, 0.34) if peaks else rng.uniform(0.06, 0.16)) * min(1.0, 1.6 * b.horizon)
    snowline = float(rng.uniform(0.25, 1.2)) * tall
    seeds = rng.integers(0, 2**30, count)
    # what lies below the horizon is covered by what comes later
    band = sheet.rows(b.horizon - 2.2 * tall - 0.05, b.horizon + 0.06)
    if band is None:
        return
    sheet = band
    for k in range(count):
        near, seed = (k + 1) / (count + 0.6), int(seeds[k])
        frequency = (1.5 if peaks else 1.1) * (1.0 + 0.8 * near)
        row = np.full_like(sheet.columns, 3.1 * k)
        rock: ArrayLike = green
        line = noise(frequency * sheet.columns, row, seed, 2 if peaks else 3, 0.35 if peaks else 0.5)
        if peaks:  # creases of noise become summits
            finer = noise(5.0 * frequency * sheet.columns, row, seed + 4, 4, 0.55)
            line = np.asarray(0.96 - 1.7 * np.abs(line) - 0.22 * np.abs(finer), np.float32)
        ridge = b.horizon - tall * (1.0 - 0.75 * near) * (0.75 + 0.75 * line) - 0.02 * (count - k) / count
        if near > 0.55:  # crowns of far trees against the sky
            ridge = ridge - 0.007 * near * np.abs(noise(85 * sheet.columns, 0.3 * k, seed + 5, 3))
        down = sheet.y - ridge[None]
        inside = step(-0.7 * sheet.pixel, 0.7 * sheet.pixel, down)
        lit_from = 0.05 * float(np.sign(b.light[0]))
        if peaks:  # gullies that run downhill
            u, v = 15.0 * sheet.x + 0.8 * noise(9.0 * sheet.x, 7.0 * sheet.y, seed + 2, 3), 7.0 * down
            relief = -np.abs(noise(u, v, seed + 1, 4, 0.55))
            aside = -np.abs(noise(u + 3.0 * lit_from, v, seed + 1, 4, 0.55))
            facing = np.clip(0.42 + 1.5 * (relief - aside), 0.0, 1.0)
            white = step(0.02, -0.02, down - snowline * (0.5 + near) + 0.09 * tall / 0.2 * relief) * (near < 0.7)
            rock = mix(mix(stone, green, step(0.3 * tall, 1.0 * tall, down) * near), (0.93, 0.95, 1.0), 0.9 * white)
        else:
            relief = noise(42.0 * sheet.x, 60.0 * sheet.y, seed + 1, 4, 0.6)
            broad = noise(5.0 * sheet.x, 9.0 * sheet.y, seed + 3, 3)
            facing = np.clip(0.48 + 0.30 * relief + 0.30 * broad, 0.0, 1.0)
            rock = mix(green, np.add(tone(green, 1.6), (0.08, 0.05, 0.0)), step(0.05, 0.4, broad))  # fields among woods
        fade = (1.0 - near) ** 0.9 * 0.88
        veil = np.clip(fade + (1.0 - fade) * 0.5 * step(0.0, 0.6 * tall, down), 0, 1)  # mist lies in the valleys
        sheet.lay(mix(b.lit(rock, facing), b.haze, veil), inside)


def _hills(sheet: Sheet, b: Background, rng: np.random.Generator) -> None:
    """Rounded hills, one behind the other."""
    _range(sheet, b, rng, False)


def _mountains(sheet: Sheet, b: Background, rng: np.random.Generator) -> None:
    """Peaks, with snow on the far ones."""
    _range(sheet, b, rng, True)


def crowns(
    sheet: Sheet,
    b: Background,
    rng: np.random.Generator,
    base: float,
    height: float,
    far: float,
    spread: tuple[float, float] = (-0.1, 1.7),
    density: float = 1.0,
) -> None:
    """A row of trees that stand at scene y `base`, about `height` tall; far 0..1 is how much haze lies before them."""
    conifers, autumn = float(rng.random()), float(rng.choice([0.0, 0.05, 0.3], p=[0.5, 0.35, 0.15]))
    broad, needles = vary(rng, (0.18, 0.31, 0.14), 0.22), vary(rng, (0.11, 0.23, 0.15), 0.22)
    x = spread[0]
    while x < spread[1]:
        tall = height * float(np.clip(np.exp(rng.normal(-0.1, 0.24)), 0.45, 1.25))
        pointed = rng.random() < conifers
        wide = tall * float(rng.uniform(0.17, 0.26) if pointed else rng.uniform(0.36, 0.58))
        green = vary(rng, needles if pointed else broad, 0.16)
        if not pointed and rng.random() < autumn:
            green = vary(rng, ((0.44, 0.31, 0.10), (0.46, 0.20, 0.09), (0.36, 0.34, 0.10))[int(rng.integers(3))], 0.15)
        _crown(sheet, b, x, base, wide, tall, green, far, bool(pointed), int(rng.integers(2**30)))
        x += wide * float(rng.uniform(0.4, 1.25)) / density
    if spread[1] - spread[0] > 0.5:  # bushes along the foot
        band = sheet.rows(base - 0.4 * height, base)
        seed = int(rng.integers(2**30))
        if band is not None:
            top = base - 0.16 * height * (1.1 + noise(5.0 / height * 0.16 * band.columns, 0.0, seed, 4, 0.6))
            leaves = noise(9.0 / height * band.x, 9.0 / height * band.y, seed + 1, 3, 0.6)
            inside = step(-0.02 * height, 0.02 * height, band.y - top[None] + 0.03 * height * leaves)
            bush = 0.9 * mix(broad, needles, 0.5)
            band.lay(mix(b.lit(bush, np.clip(0.25 + 0.5 * leaves, 0, 1)), b.haze, far), inside)


def _crown(
    sheet: Sheet,
    b: Background,
    x: float,
    base: float,
    wide: float,
    tall: float,
    green: Colour,
    far: float,
    pointed: bool,
    seed: int,
) -> None:
    """One tree of a row: a ragged heap of leaves that catches the light."""
    box = sheet.window(x - 1.5 * wide, base - 1.2 * tall, x + 1.5 * wide, base)
    if box is None:
        return
    u, v = (sheet.x[box] - x) / wide, (base - sheet.y[box]) / tall  # v from 0 at the foot to 1 at the top
    clumps = noise(3.2 * u, 3.2 * v * tall / wide, seed, 4, 0.62)
    if pointed:
        tiers = np.mod(7.0 * v + 0.5 * clumps, 1.0)
        body = (1.0 - v) * (0.75 + 0.4 * (1.0 - tiers)) - np.abs(u) + 0.22 * clumps * (1.1 - v)
        body = np.where(v < 1.0, body, -1.0)
    else:
        around = np.sqrt((u / 0.95) ** 2 + ((v - 0.56) / 0.44) ** 2)
        body = 0.9 - around + 0.42 * clumps
    size = max(2.0 * sheet.pixel / wide, 0.02)
    inside = step(-size, size, body)
    bulge = np.clip(body, 0.0, 1.0) ** 0.5
    lx, ly, _ = b.light
    facing = np.clip(0.35 + 0.45 * (u * lx + (0.55 - v) * 2.0 * ly) + 0.5 * clumps, 0.0, 1.0)
    facing = facing * (0.55 + 0.45 * bulge)
    colour = b.lit(tone(green, 1.15), facing)
    if not pointed:
        trunk = step(0.07, 0.045, np.abs(u)) * step(0.0, 0.02, v) * step(0.5, 0.4, v) * (1.0 - inside)
        sheet_part = sheet.rgb[box]
        sheet_part += trunk[..., None] * (mix(b.lit((0.16, 0.12, 0.09), 0.2), b.haze, far) - sheet_part)
    part = sheet.rgb[box]
    part += inside[..., None] * (mix(colour, b.haze, far) - part)


def _forest(sheet: Sheet, b: Background, rng: np.random.Generator) -> None:
    """The edge of a wood: two or three rows of trees, the far ones paler."""
    rows = int(rng.integers(2, 4))
    tall = float(rng.uniform(0.10, 0.22)) * (1.0 if b.kind != "lanterns" else 1.7) * min(1.0, 1.8 * b.horizon)
    for k in range(rows):
        far = 0.62 * (1.0 - (k + 0.6) / rows) + 0.08
        gap = float(rng.uniform(0.55, 1.2)) if k == rows - 1 else 1.3
        crowns(sheet, b, rng, b.horizon + 0.012 * (k + 1), tall * (0.75 + 0.35 * k / rows), far, density=gap)


def _plane(sheet: Sheet, b: Background) -> tuple[Array, Array, Array]:
    """The ground in perspective: u across, v along (logarithmic, so that grain grows towards the viewer), cover."""
    down = np.maximum(sheet.y - b.horizon, 1e-3)
    return (sheet.x - 0.8) / (down + 0.06), np.log(down + 0.06), step(-0.6, 0.6, (sheet.y - b.horizon) / sheet.pixel)


def _meadow(sheet: Sheet, b: Background, rng: np.random.Generator) -> None:
    """Grass in perspective, with drifts of small flowers, light and shadow."""
    u, v, cover = _plane(sheet, b)
    seed = int(rng.integers(2**30))
    grass, dry = vary(rng, (0.30, 0.47, 0.14), 0.22), vary(rng, (0.56, 0.52, 0.20), 0.2)
    broad = noise(1.1 * u, 3.0 * v, seed, 4)
    blades = noise(34 * u, 9 * v, seed + 1, 4, 0.6)
    fine = noise(90 * u, 16 * v, seed + 2, 2, 0.6)
    facing = np.clip(0.48 + 0.22 * broad + 0.38 * blades + 0.20 * fine, 0.0, 1.0)
    colour = b.lit(mix(grass, dry, np.clip(0.35 + 0.7 * broad, 0, 1)), facing)
    near = step(0.0, 0.45, sheet.y - b.horizon)
    colour = mix(colour, b.haze, 0.55 * (1.0 - near) ** 2)
    lit_side = 0.5 + 0.5 * np.tanh(2.0 * (sheet.x - 0.8) * np.sign(b.source[0] - 0.8))
    colour = colour * (0.86 + 0.24 * lit_side * (1 - near) + 0.04 * near)[..., None]
    sheet.lay(colour, cover)
    for _ in range(int(rng.integers(1, 4))):  # drifts of flowers
        petal = vary(
            rng,
            ((0.95, 0.93, 0.85), (0.93, 0.78, 0.2), (0.75, 0.35, 0.6), (0.5, 0.45, 0.85), (0.85, 0.25, 0.2))[
                int(rng.integers(5))
            ],
            0.1,
        )
        s = int(rng.integers(2**30))
        where = step(0.05, 0.45, noise(0.9 * u + 5, 2.5 * v, s, 3))
        dots = step(0.42, 0.62, noise(38 * u, 30 * v, s + 1, 1))
        sheet.lay(b.lit(petal, 0.55), cover * dots * where * (0.25 + 0.6 * near))


def _ground(sheet: Sheet, b: Background, rng: np.random.Generator) -> None:
    """Dark ground of a garden or street, with the gleam of lamps."""
    u, v, cover = _plane(sheet, b)
    seed = int(rng.integers(2**30))
    earth = vary(rng, (0.26, 0.23, 0.20), 0.3)
    grain = noise(20 * u, 10 * v, seed, 4, 0.6)
    sheet.lay(
        mix(b.lit(earth, np.clip(0.25 + 0.3 * grain, 0, 1)), b.haze, 0.25 * np.exp(-(sheet.y - b.horizon) / 0.1)), cover
    )
    warm = (1.0, 0.68, 0.34)
    for _ in range(int(rng.integers(2, 6))):
        x, wide = float(rng.uniform(0, 1.6)), float(rng.uniform(0.05, 0.2))
        spot = np.exp(-(((sheet.x - x) / wide) ** 2) - ((sheet.y - b.horizon - 0.05) / 0.07) ** 2)
        sheet.shine(warm, cover * b.dark * 0.35 * spot * (1.0 + 0.5 * grain))


def _fringe(sheet: Sheet, b: Background, rng: np.random.Generator) -> None:
    """Blades of grass in the foreground, dark against the meadow."""
    n = int(rng.integers(120, 320))
    tall = float(rng.uniform(0.05, 0.13))
    green = vary(rng, (0.20, 0.34, 0.10), 0.25)
    for _ in range(n):
        x, h = float(rng.uniform(-0.05, 1.65)), tall * float(rng.uniform(0.35, 1.25))
        lean, w = 0.5 * h * float(rng.normal()), 0.0035 * float(rng.uniform(0.6, 1.5))
        t = np.linspace(0, 1, 6)
        mid_x, mid_y = x + lean * t**2, 1.01 - h * t
        edge = w * (1 - t)
        shape = np.concatenate([np.c_[mid_x - edge, mid_y], np.c_[mid_x + edge, mid_y][::-1]])
        sheet.fill(shape, b.lit(tone(green, float(rng.uniform(0.7, 1.4))), float(rng.uniform(0.1, 0.8))), 0.95)


def houses(
    sheet: Sheet,
    b: Background,
    rng: np.random.Generator,
    base: float,
    size: float,
    far: float,
    spread: tuple[float, float] = (-0.1, 1.7),
    gaps: float = 0.3,
) -> list[tuple[float, float, float]]:
    """A row of houses that stand at scene y `base`, about `size` tall; far 0..1 is the haze before them.

    Returns its lit windows as (x, y, half width), for glows and reflections.
    """
    walls = ((0.62, 0.52, 0.42), (0.66, 0.40, 0.32), (0.70, 0.66, 0.58), (0.45, 0.50, 0.52), (0.72, 0.58, 0.34))
    lamps: list[tuple[float, float, float]] = []
    lit_share = 0.12 + 0.6 * b.dark
    x = spread[0]
    while x < spread[1]:
        w, h = size * float(rng.uniform(0.5, 1.0)), size * float(rng.uniform(0.55, 1.0))
        wall = b.lit(vary(rng, walls[int(rng.integers(len(walls)))], 0.15), 0.35)
        roof = b.lit(
            vary(rng, ((0.38, 0.22, 0.18), (0.24, 0.24, 0.28), (0.42, 0.28, 0.18))[int(rng.integers(3))], 0.2), 0.5
        )
        eaves, peak = base - 0.68 * h, base - h
        style = int(rng.integers(3))
        sheet.fill([(x, base), (x, eaves), (x + w, eaves), (x + w, base)], mix(wall, b.haze, far))
        side = 0.5 - 0.5 * math.copysign(1.0, b.light[0])
        sheet.fill(
            [
                (x + side * 0.86 * w, base),
                (x + side * 0.86 * w, eaves),
                (x + (0.14 + side * 0.86) * w, eaves),
                (x + (0.14 + side * 0.86) * w, base),
            ],
            mix(tone(wall, 1.25), b.haze, far),
            0.5,
        )
        if style == 0:  # gable towards us
            sheet.fill([(x, eaves + 1e-3), (x + 0.5 * w, peak), (x + w, eaves + 1e-3)], mix(wall, b.haze, far))
            for a, c in ((x, x + 0.5 * w), (x + w, x + 0.5 * w)):
                sheet.fill(
                    [(a, eaves + 0.03 * h), (a, eaves - 0.05 * h), (c, peak - 0.05 * h), (c, peak + 0.03 * h)],
                    mix(roof, b.haze, far),
                )
        else:
            slope = (0.06 if style == 1 else 0.2) * w
            sheet.fill(
                [(x - 0.04 * w, eaves), (x + slope, peak), (x + w - slope, peak), (x + 1.04 * w, eaves)],
                mix(roof, b.haze, far),
            )
            cx = x + float(rng.uniform(0.25, 0.7)) * w
            sheet.fill(
                [
                    (cx, peak + 0.05 * h),
                    (cx, peak - 0.12 * h),
                    (cx + 0.09 * w, peak - 0.12 * h),
                    (cx + 0.09 * w, peak + 0.05 * h),
                ],
                mix(tone(wall, 0.7), b.haze, far),
            )
        columns, floors = int(rng.integers(2, 5)), int(rng.integers(1, 4))
        for i in range(columns):
            for j in range(floors):
                wx, wy = x + w * (i + 0.5) / columns, base - 0.66 * h * (j + 0.55) / floors
                half, up = 0.22 * w / columns, 0.24 * 0.68 * h / floors
                frame = [(wx - half, wy - up), (wx + half, wy - up), (wx + half, wy + up), (wx - half, wy + up)]
                if rng.random() < lit_share:
                    glow = mix((1.0, 0.80, 0.46), (1.0, 0.62, 0.28), float(rng.random()))
                    sheet.fill(frame, mix(mix(b.lit(glow, 0.6), glow, b.dark), b.haze, 0.4 * far))
                    sheet.fill(
                        [
                            (wx - 0.08 * half, wy - up),
                            (wx + 0.08 * half, wy - up),
                            (wx + 0.08 * half, wy + up),
                            (wx - 0.08 * half, wy + up),
                        ],
                        tone(wall, 0.6),
                        0.7,
                    )
                    sheet.glow(wx, wy, 2.2 * max(half, up), glow, 0.4 * b.dark)
                    lamps.append((wx, wy, half))
                else:
                    sheet.fill(frame, mix(mix(tone(wall, 0.42), b.sky, 0.25), b.haze, far))
        x += w * (1.02 if rng.random() > gaps else float(rng.uniform(1.2, 2.6)))
    return lamps


def _houses(sheet: Sheet, b: Background, rng: np.random.Generator) -> None:
    """A street of houses across, some windows lit."""
    houses(sheet, b, rng, b.horizon + 0.02, float(rng.uniform(0.22, 0.42)), 0.15, gaps=float(rng.uniform(0.0, 0.5)))


def _discs(
    sheet: Sheet,
    rng: np.random.Generator,
    count: int,
    y: tuple[float, float],
    size: tuple[float, float],
    colours: Sequence[Colour],
    strength: float,
) -> None:
    """Points of light far out of focus: discs with a brighter rim."""
    for _ in range(count):
        cx, cy, r = float(rng.uniform(-0.05, 1.65)), float(rng.uniform(*y)), float(rng.uniform(*size))
        box = sheet.window(cx - 1.3 * r, cy - 1.3 * r, cx + 1.3 * r, cy + 1.3 * r)
        colour = vary(rng, colours[int(rng.integers(len(colours)))], 0.12)
        power = strength * float(rng.uniform(0.25, 1.0))
        if box is None:
            continue
        away = np.hypot(sheet.x[box] - cx, sheet.y[box] - cy) / r
        soft = max(0.08, 1.5 * sheet.pixel / r)
        light = power * step(1.0 + soft, 1.0 - soft, away) * (0.62 + 0.38 * step(0.6, 1.0, away))
        part = sheet.rgb[box]
        part += light[..., None] * np.asarray(colour, np.float32) * (1.0 - np.clip(part, 0, 1))


def _bokeh(sheet: Sheet, b: Background, rng: np.random.Generator) -> None:
    """Lamps of a town or a garden, out of focus."""
    sheet.soften(float(rng.uniform(0.004, 0.01)))
    warm = (
        (1.0, 0.72, 0.36),
        (1.0, 0.84, 0.56),
        (1.0, 0.55, 0.28),
        (0.75, 0.85, 1.0),
        (1.0, 0.45, 0.5),
        (0.55, 0.9, 0.75),
    )
    used = warm[: int(rng.integers(2, len(warm) + 1))]
    count = int(rng.integers(14, 46) * (0.35 + 0.65 * b.dark))
    _discs(sheet, rng, count, (b.horizon - 0.25, b.horizon + 0.1), (0.012, 0.034), used, 0.30 + 0.35 * b.dark)


def _sparkle(sheet: Sheet, b: Background, rng: np.random.Generator) -> None:
    """Light through leaves and on dew, out of focus."""
    warm = (mix(b.sun, (1, 1, 0.85), 0.4), mix(b.sun, (0.8, 1.0, 0.6), 0.4))
    used = [(float(c[0]), float(c[1]), float(c[2])) for c in warm]
    _discs(sheet, rng, int(rng.integers(10, 40)), (b.horizon - 0.1, 1.0), (0.012, 0.05), used, 0.28)


_PAINTERS: dict[str, Callable[[Sheet, Background, np.random.Generator], None]] = {
    "sky": _sky,
    "stars": _stars,
    "orb": _orb,
    "cumulus": _cumulus,
    "streaks": _streaks,
    "hills": _hills,
    "mountains": _mountains,
    "forest": _forest,
    "houses": _houses,
    "meadow": _meadow,
    "ground": _ground,
    "fringe": _fringe,
    "bokeh": _bokeh,
    "sparkle": _sparkle,
}
