"""Organisms of three kingdoms: what 36 families look like, and a camera that photographs them.

A family has a body plan (`vertebrates`, `invertebrates`, `plants`, `fungi`) with its options, colours and patterns: a
`Look`. Fourteen inherited `Traits` bend that plan into a species. `render` draws a specimen: clean on plain ground, or
as a photograph that varies in pose, turn, distance, background, light and noise, and is partly hidden now and then.

The trees of life that give species their traits are the business of `bestpapers.bioclip.worlds`.
"""

from __future__ import annotations

import math
import operator

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bestpapers.bioclip.organisms import fungi, invertebrates, plants, vertebrates
from bestpapers.bioclip.organisms.canvas import Canvas, _box, chain, oval, paint
from bestpapers.bioclip.organisms.sketch import BARK, GREEN, LEAF, Look, Sketch, Traits, dim, hsv, mix

__all__ = ["LOOKS", "Look", "Traits", "render"]

LOOKS: dict[str, Look] = vertebrates.LOOKS | invertebrates.LOOKS | plants.LOOKS | fungi.LOOKS

LIGHT = np.array([-0.42, 0.62, 0.66])  # towards the light: from the upper left, in front
MARGIN = 0.84  # how much of the picture's side a clean specimen fills
GROUND = 0.93  # the grey behind a clean specimen
JITTER = 0.1  # standard deviation of each trait within a species
IDENTITY = np.array([1.0, 0, 0, 0, 1.0, 0])
SCENERY = (  # the background at the top and at the bottom: hue, saturation, value
    ((0.57, 0.35, 0.92), (0.25, 0.45, 0.55)),  # sky and meadow
    ((0.28, 0.35, 0.75), (0.26, 0.55, 0.40)),  # grass
    ((0.33, 0.45, 0.30), (0.30, 0.50, 0.18)),  # forest
    ((0.12, 0.25, 0.85), (0.10, 0.40, 0.60)),  # sand
    ((0.07, 0.25, 0.55), (0.07, 0.40, 0.30)),  # soil
    ((0.58, 0.12, 0.95), (0.58, 0.10, 0.80)),  # snow
    ((0.60, 0.05, 0.65), (0.10, 0.08, 0.45)),  # rock
    ((0.54, 0.40, 0.75), (0.50, 0.45, 0.50)),  # water
)


def render(family: str, t: Traits, seed: int | None, size: int = 64) -> NDArray[np.uint8]:
    """A picture of a specimen: [size, size, 3] uint8, RGB, rows from the top.

    family  a key of LOOKS
    t       the traits of the species, 14 finite numbers
    seed    None: a clean specimen in its plainest pose on grey ground, no randomness at all. Else everything that
            differs between photographs is drawn from it: all traits but `pattern` (standard deviation 0.1), pose,
            turn, mirror image, distance, place, background, in a quarter of pictures grass or twigs in front, light,
            colour cast, noise. Two species with the same seed share these, so make the seed from species and number
    size    side in pixels, 8 to 4096; the picture is the same one at any size, but for the noise

    The same arguments give the same bytes. Threads may call it at the same time: painting releases the GIL. Raises
    ValueError for a family that LOOKS does not have, traits that are not 14 finite numbers, or a bad seed or size.
    """
    if family not in LOOKS:
        raise ValueError(f"no look for the family {family!r}; there are {', '.join(sorted(LOOKS))}")
    numbers = np.asarray(t, dtype=np.float64)
    if numbers.shape != (len(Traits._fields),) or not np.isfinite(numbers).all():
        raise ValueError(f"traits must be {len(Traits._fields)} finite numbers, not {t!r}")
    if not 8 <= operator.index(size) <= 4096:
        raise ValueError(f"size must be 8 to 4096 pixels, not {size}")
    if seed is not None and operator.index(seed) < 0:
        raise ValueError(f"seed must be None or a number from 0 up, not {seed}")

    look = LOOKS[family]
    rng = np.random.default_rng(seed or 0)
    pose = np.zeros(24)
    if seed is not None:
        pose = rng.standard_normal(24).clip(-1.7, 1.7)
        numbers = numbers + JITTER * rng.standard_normal(len(numbers)) * (np.array(Traits._fields) != "pattern")
    s = Sketch(look, Traits(*numbers.tolist()), pose.tolist(), int(rng.integers(1000)))
    look.plan(s, **look.options)
    parts, shapes, vertices = s.arrays()

    angle, flip, zoom, dx, dy = 0.0, 1.0, 1.0, 0.0, 0.0
    image = np.full((size, size, 3), GROUND)
    mask = np.zeros((size, size))
    if seed is not None:
        angle = look.turn * rng.standard_normal()
        flip = -1.0 if rng.random() < 0.5 else 1.0
        zoom = rng.uniform(0.8, 1.12)
        dx, dy = rng.uniform(-0.12, 0.12, 2)
        _background(image, mask, rng)
    frame = _frame(_extent(parts, shapes, vertices), angle, flip, zoom, dx, dy)
    if s.below.parts:
        paint(image, mask, frame, *s.below.arrays(), LIGHT)
    paint(image, mask, frame, parts, shapes, vertices, LIGHT)
    if seed is not None:
        if rng.random() < 0.25:
            _foreground(image, mask, rng)
        image *= rng.uniform(0.75, 1.2) * (1 + 0.05 * rng.standard_normal(3))
        image += 0.03 * rng.standard_normal(image.shape, dtype=np.float32)
    return (image.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def _frame(
    box: tuple[float, float, float, float], angle: float, flip: float, zoom: float, dx: float, dy: float
) -> NDArray[np.float64]:
    """The frame, as `paint` takes it, that puts the middle of a box of the organism at (dx, dy) on the picture."""
    x0, y0, x1, y1 = box
    k = max(x1 - x0, y1 - y0) / 2 / MARGIN / zoom
    c, s = k * math.cos(angle), k * math.sin(angle)
    x, y = (x0 + x1) / 2 - flip * (c * dx + s * dy), (y0 + y1) / 2 - (c * dy - s * dx)
    return np.array([flip * c, flip * s, x, -s, c, y])


@njit(cache=True, error_model="numpy", nogil=True)
def _extent(parts, shapes, vertices):
    """Bounding box of all parts but the clipped ones, which lie on others: x0, y0, x1, y1."""
    x0, y0, x1, y1 = 1e9, 1e9, -1e9, -1e9
    for part in parts:
        if part[13] == 0.0:
            for n in range(int(part[0]), int(part[0] + part[1])):
                a, b, c, d = _box(shapes[n], vertices)
                x0, y0, x1, y1 = min(x0, a), min(y0, b), max(x1, c), max(y1, d)
    return x0, y0, x1, y1


def _background(image: NDArray[np.float64], mask: NDArray[np.float64], rng: np.random.Generator) -> None:
    """Paint a gradient with soft blurs, in the colours of a scene."""
    shift = rng.normal(0, 1, (2, 3)) * (0.02, 0.06, 0.06)
    high, low = (
        hsv(h, min(1.0, max(0.0, s)), min(1.0, max(0.0, v)))
        for h, s, v in (shift + SCENERY[rng.integers(len(SCENERY))]).tolist()
    )
    c = Canvas()
    c.part(oval(0, 0, 9, 9), high, to=low, axis=(0, rng.uniform(0.2, 1), 0, rng.uniform(-1, -0.2)), rim=0)
    for x, y, r, k, side in rng.uniform((-1.1, -1.1, 0.15, 0.7, 0), (1.1, 1.1, 0.5, 1.35, 1), (6, 5)).tolist():
        c.part(oval(x, y, r, r), dim(mix(high, low, side), k), alpha=0.5, soft=0.25 + 0.5 * r, rim=0)
    paint(image, mask, IDENTITY, *c.arrays(), LIGHT)


def _foreground(image: NDArray[np.float64], mask: NDArray[np.float64], rng: np.random.Generator) -> None:
    """Paint one to three blades of grass or twigs from the lower edge."""
    c = Canvas()
    colour = (GREEN, LEAF, BARK, (0.72, 0.66, 0.38))[rng.integers(4)]
    for _ in range(rng.integers(1, 4)):
        x, lean, r = rng.uniform(-0.7, 0.7), rng.normal(0, 0.35), rng.uniform(0.03, 0.08)
        line = [(x, -1.2), (x + 0.4 * lean, 0.0), (x + 1.5 * lean, rng.uniform(0.3, 1.2))]
        c.part(chain(line, [r, 0.9 * r, 0.2 * r], 3), colour, bevel=r)
    paint(image, mask, IDENTITY, *c.arrays(), LIGHT)
