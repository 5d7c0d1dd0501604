"""Pictures of a texture that moves by a known law, so that the exact flow is known too."""

import numpy as np
import torch


def texture(seed=0, waves=60, shortest=5.0):
    """(y, x) -> values in 0..1, smooth: a sum of waves of 5 to 40 px, so that it can be looked up between pixels exactly."""
    rng = np.random.default_rng(seed)
    length = shortest * 8 ** rng.random(waves)
    angle, phase = 2 * np.pi * rng.random((2, waves))
    ky, kx = 2 * np.pi / length * np.sin(angle), 2 * np.pi / length * np.cos(angle)
    height = np.sqrt(length) / np.sqrt(length).sum()

    def value(y, x):
        arg = ky * np.asarray(y)[..., None] + kx * np.asarray(x)[..., None] + phase
        return np.clip(0.5 + 2.2 * (height * np.sin(arg)).sum(-1), 0, 1)

    return value


def clip(displacement, frames=12, height=48, width=64, seed=0):
    """uint8 (T, H, W, 3) and the exact flow (T, 2, H, W), of a texture that a law moves.

    displacement(n, y, x) -> (dx, dy): how far the texture point at (x, y) of frame 0 has moved in frame n.
    """
    paint = texture(seed)
    y, x = np.mgrid[:height, :width].astype(float)
    pictures, flow = [], []
    for n in range(frames):
        sy, sx = y, x
        for _ in range(60):  # where the point that is now at (x, y) has come from
            dx, dy = displacement(n, sy, sx)
            sy, sx = y - dy, x - dx
        grey = paint(sy, sx)
        pictures.append(np.stack([grey, grey**1.2, 0.9 * grey], -1))
        flow.append(np.stack(np.broadcast_arrays(*displacement(n, y, x), y)[:2]))
    return (255 * np.stack(pictures)).round().astype(np.uint8), torch.tensor(np.stack(flow), dtype=torch.float32)


def sway(px=2.0, period=20, length=60.0):
    """A slow wave to and fro, still at the left edge; 0 at n = 0."""

    def law(n, y, x):
        bend = px * np.sin(2 * np.pi * n / period) * np.sin(np.pi * np.asarray(x) / length / 2) ** 2
        return bend, 0.5 * bend * np.cos(2 * np.pi * np.asarray(y) / length)

    return law


def turn(degrees, height=48, width=64):
    """A turn about the middle, by so many degrees a frame."""

    def law(n, y, x):
        a = np.deg2rad(degrees * n)
        u, v = x - (width - 1) / 2, y - (height - 1) / 2
        return (np.cos(a) - 1) * u - np.sin(a) * v, np.sin(a) * u + (np.cos(a) - 1) * v

    return law
