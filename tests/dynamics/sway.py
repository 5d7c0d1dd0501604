"""A meadow of stalks that sway, with its exact spectral volume: a picture to pull for the tests of the widget."""

import cv2
import numpy as np

K, FRAMES, RATE = 16, 150, 30.0


def meadow(height=160, width=256, grid=(80, 128), seed=0):
    """Picture uint8 (H, W, 3) and S complex64 (16, 2, h, w): stalks bend about their feet, each in its own three modes."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    sky = np.stack([120 + 90 * y / height, 160 + 60 * y / height, 215 - 10 * y / height], -1)
    hills = 0.72 * height + 0.05 * height * np.sin(x / width * 7 + 1)
    picture = np.where(
        (y > hills)[..., None], np.stack([90 + 0 * y, 120 - 30 * (y - hills) / height, 60 + 0 * y], -1), sky
    )
    for _ in range(40):  # clouds, so that a ground that moves would be seen
        cv2.circle(
            picture,
            (int(rng.uniform(0, width)), int(rng.uniform(0, 0.5 * height))),
            int(rng.uniform(2, 7)),
            (235, 238, 242),
            -1,
        )
    picture = picture.astype(np.uint8)
    h, w = grid
    S = np.zeros((K, 2, h, w), np.complex64)
    v = (np.arange(h)[:, None] + 0.5) * height / h - 0.5
    for foot in np.linspace(0.12, 0.88, 6) * width:
        top, lean = height * rng.uniform(0.2, 0.4), rng.uniform(-12, 12)
        ys = np.linspace(0.98 * height, top, 40)
        share = (0.98 * height - ys) / (0.98 * height - top)
        xs = foot + lean * share**2
        hue = tuple(int(c) for c in rng.integers([150, 60, 60], [250, 160, 200]))
        layers = [np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8)]
        cv2.polylines(layers[0], [np.stack([xs, ys], -1).round().astype(np.int32)], False, 255, max(2, width // 80))
        for leaf in range(5):
            i = int(6 + 6 * leaf)
            tip = (int(xs[i] + (-1) ** leaf * width * 0.05), int(ys[i] - height * 0.04))
            cv2.line(layers[0], (int(xs[i]), int(ys[i])), tip, 255, max(2, width // 100))
        for petal in range(9):
            a = 2 * np.pi * petal / 9
            middle = (int(xs[-1] + 0.032 * width * np.cos(a)), int(ys[-1] + 0.032 * width * np.sin(a)))
            cv2.circle(layers[1], middle, width // 55, 255, -1)
        picture[layers[0] > 0] = (45, 110, 50)
        picture[layers[1] > 0] = hue
        cv2.circle(picture, (int(xs[-1]), int(ys[-1])), width // 50, (240, 205, 90), -1)
        mask = cv2.resize(np.maximum(*layers), (w, h), interpolation=cv2.INTER_AREA) > 90
        bend = np.clip((0.98 * height - v) / (0.98 * height - top), 0, 1.3)
        for k, size in (
            (int(rng.integers(2, 5)), 330),
            (int(rng.integers(5, 9)), 120),
            (int(rng.integers(10, 15)), 40),
        ):
            wave = size * width / 256 * np.exp(1j * rng.uniform(0, 2 * np.pi)) / (height / h)
            form = bend**2 if k < 5 else bend**2 * np.cos(2.5 * bend)
            S[k, 0][mask] = np.broadcast_to(wave * form, mask.shape)[mask]
            S[k, 1] = 0.4 * 1j**0.9 * S[k, 0]
    return picture, S
