"""t-SNE: a plane in which close neighbours stay close (van der Maaten and Hinton, 2008), for a few hundred points.

    points, divergence = tsne(features, seed=0)

It is a picture and no measure: distances between groups mean nothing, and another seed puts them elsewhere.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist

EARLY, STEPS = 100, 400  # steps in which neighbours attract one another 12 times as much; steps in all
RATE, SLOW, FAST = 200.0, 0.5, 0.8  # learning rate; momentum early and later
TINY = 1e-30  # under a logarithm


def affinities(x: ArrayLike, perplexity: float = 30) -> NDArray[np.float64]:
    """How much two points are neighbours: x [N, D] -> [N, N], symmetric, with sum 1 and a diagonal of 0.

    Each point has a Gaussian of its own, so wide that its neighbours' shares have an entropy of ln(perplexity): about that
    many neighbours, in dense places and thin ones. Raises ValueError for a perplexity that N - 1 others cannot give.
    """
    points = np.asarray(x, np.float64)
    N = len(points)
    if points.ndim != 2 or not 1 <= perplexity < N - 1 or not np.isfinite(points).all():
        raise ValueError(f"affinities: wants finite [N, D], 1 <= perplexity < N - 1, got {points.shape}, {perplexity}")
    d = cdist(points, points, "sqeuclidean")
    np.fill_diagonal(d, np.inf)
    beta, low, high = np.full(N, 1 / np.median(d)), np.zeros(N), np.full(N, np.inf)  # 1 / (2 variance), and its bounds
    for _ in range(60):  # bisection on the entropy
        p = np.exp(-(d - d.min(1, keepdims=True)) * beta[:, None])
        p /= p.sum(1, keepdims=True)
        wide = -(p * np.log(p + TINY)).sum(1) > np.log(perplexity)
        low, high = np.where(wide, beta, low), np.where(wide, high, beta)
        middle = (low + np.minimum(high, 1e300)) / 2
        beta = np.where(np.isinf(high), 2 * beta, middle)
    return (p + p.T) / (2 * N)


def tsne(x: ArrayLike, seed: int = 0, perplexity: float = 30, steps: int = STEPS) -> tuple[NDArray[np.float64], float]:
    """x [N, D] -> points of the plane [N, 2], and the divergence of the two sets of affinities, which is what is made small.

    In the plane neighbours are told by q_ij, in proportion to 1 / (1 + |y_i - y_j|^2). Gradient descent with momentum on
    KL(p || q) from a small random start, exact: N^2 work a step.
    """
    p = affinities(x, perplexity)
    N = len(p)
    y = 1e-4 * np.random.default_rng(seed).standard_normal((N, 2))
    speed = np.zeros_like(y)
    for step in range(steps):
        early = step < EARLY
        near = 1 / (1 + cdist(y, y, "sqeuclidean"))
        np.fill_diagonal(near, 0)
        force = ((12 if early else 1) * p - near / near.sum()) * near
        pull = force.sum(1)[:, None] * y - force @ y  # a quarter of the gradient
        speed = (SLOW if early else FAST) * speed - RATE * pull
        y = y + speed
    near = 1 / (1 + cdist(y, y, "sqeuclidean"))
    np.fill_diagonal(near, 0)
    return y, float((p * np.log((p + TINY) / (near / near.sum() + TINY))).sum())
