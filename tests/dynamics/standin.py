"""A plain plant for tests and trials: a few branches with leaves, quick to make, with the world's physics and no painting."""

from __future__ import annotations

import math

import numpy as np

from bestpapers.dynamics.worlds import Branching, Part, Scene, _gain


def _colour(u, v, skin, pixel):
    stripe = 0.06 * np.sin(90 * u + skin[3]) * np.sin(70 * v)
    return np.clip(np.stack([skin[0] + stripe, skin[1] + stripe, skin[2] + 0 * u], -1), 0, 1)


def _sky(height, width):
    y = np.linspace(0.0, 1.0, height)[:, None] + np.zeros(width)
    return np.stack([0.55 + 0.3 * y, 0.75 + 0.1 * y, 0.9 + 0 * y], -1)


def plant(seed: int, depth: int = 3) -> Scene:
    """A bush of two or three stems; seeds give different ones."""
    rng = np.random.default_rng(seed)
    bodies, parts = [], []
    for stem in range(int(rng.integers(2, 4))):
        tree, pending, drawn = Branching(), [], []
        start = (0.8 + rng.uniform(-0.5, 0.5), rng.uniform(0.9, 1.05))
        pending.append((-1, start, -math.pi / 2 + rng.uniform(-0.2, 0.2), rng.uniform(0.16, 0.3), 0.022, 0))
        while pending:
            parent, base, angle, length, radius, level = pending.pop(0)
            tip = (base[0] + length * math.cos(angle), base[1] + length * math.sin(angle))
            number = tree.segment(parent, base, tip, radius, load=2e-4 * (level + 1))
            drawn.append((number, base, tip, radius, level))
            if level < depth:
                for side in (-1, 1) if level else (-1, 0, 1):
                    turn = angle + side * rng.uniform(0.3, 0.7)
                    pending.append((number, tip, turn, length * rng.uniform(0.6, 0.85), 0.62 * radius, level + 1))
        bodies.append(tree.solve(float(rng.uniform(0.4, 0.8)), np.full(8, 0.06)))
        for number, base, tip, radius, level in drawn:
            along = math.atan2(tip[1] - base[1], tip[0] - base[0])
            across = np.array([-math.sin(along), math.cos(along)]) * radius * 0.7
            a, b = np.array(base), np.array(tip)
            outline = np.stack([a + across, b + 0.7 * across, b - 0.7 * across, a - across])
            skin = (0.35, 0.25, 0.15, float(rng.uniform(0, 6)))
            parts.append(Part(outline, _colour, skin, (*base, along), stem, base, tree.motion(number)))
            if level >= depth - 1:
                t = np.linspace(0, 2 * math.pi, 12, endpoint=False)
                leaf = b + np.stack([0.045 * np.cos(t), 0.02 * np.sin(t)], 1) @ np.array(
                    [[math.cos(along), math.sin(along)], [-math.sin(along), math.cos(along)]]
                )
                green = (float(rng.uniform(0.1, 0.35)), float(rng.uniform(0.4, 0.65)), 0.15, float(rng.uniform(0, 6)))
                parts.append(Part(leaf, _colour, green, (*tip, along), stem, base, tree.motion(number)))
    scene = Scene("tree", bodies, parts, _sky)
    scene.gain = _gain(scene)
    return scene
