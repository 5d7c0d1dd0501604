"""A tree."""

from __future__ import annotations

import numpy as np

from ..worlds import Array, Branching, Part, Scene
from .canvas import tapered


def bark(u: Array, v: Array, skin: Array, pixel: float) -> Array:
    return np.stack([0.4 + 0 * u, 0.3 + 0.1 * np.sin(200 * u), 0.2 + 0 * u], -1)


def sky(height: int, width: int) -> Array:
    y = np.linspace(0.0, 1.0, height)[:, None] + np.zeros(width)
    return np.stack([0.5 + 0.3 * y, 0.7 + 0.1 * y, 0.9 + 0 * y], -1)


def build(rng: np.random.Generator) -> Scene:
    b = Branching()
    points = [(0.8, 1.0), (0.8, 0.7), (0.82, 0.4), (0.85, 0.2)]
    for n in range(3):
        b.segment(n - 1, points[n], points[n + 1], 0.05 - 0.012 * n)
    body = b.solve(0.6, np.full(8, 0.06))
    parts = []
    for n in range(3):
        (x, y), tip = points[n], points[n + 1]
        outline = tapered([(x, y), tip], [0.05 - 0.012 * n, 0.04 - 0.012 * n])
        parts.append(Part(outline, bark, (), (x, y, 0.0), 0, (x, y), b.motion(n)))
    return Scene("tree", [body], parts, sky)
