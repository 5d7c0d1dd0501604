"""A linear model on the features of a frozen one: what a few labels are worth without training anything else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
STRENGTHS = tuple(10.0**k for k in range(-3, 5))  # of the penalty; one is chosen


def probe(x: ArrayLike, y: ArrayLike, new: ArrayLike, strengths: Sequence[float] = STRENGTHS) -> Floats:
    """A linear model of features x (n, d) for labels y (n,), asked for new ones (m, d): ridge regression on standardised
    features, with the penalty that is best when each label is left out in turn; cut to 0..1. (m,)"""
    x, y, new = (np.asarray(a, np.float64) for a in (x, y, new))
    if x.ndim != 2 or x.shape[:1] != y.shape or new.shape[1:] != x.shape[1:] or len(x) < 3:
        raise ValueError(
            f"probe: wants (n, d), (n,), (m, d) of three labels at least, got {x.shape}, {y.shape}, {new.shape}"
        )
    centre, scale = x.mean(0), np.maximum(x.std(0), 1e-9)
    u, s, vt = np.linalg.svd((x - centre) / scale, full_matrices=False)
    apart = y - y.mean()
    best, least = np.zeros(x.shape[1]), np.inf
    for strength in strengths:
        kept = s**2 / (s**2 + strength)
        leverage = (u**2 @ kept) + 1 / len(x)
        left_out = np.square((apart - u @ (kept * (u.T @ apart))) / np.maximum(1 - leverage, 1e-9)).mean()
        if left_out < least:
            best, least = vt.T @ (s / (s**2 + strength) * (u.T @ apart)), float(left_out)
    found: Floats = np.clip((new - centre) / scale @ best + y.mean(), 0, 1)
    return found
