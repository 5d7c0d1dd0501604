"""Coordinates in which float32 is good enough: what lies far off, as in UTM, is counted from an origin of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from .cameras import Camera

FAR = 100.0  # times its own size from the origin of coordinates: from there on float32 has too few digits for a scene


def placed(camera: Camera, origin: ArrayLike, unit: float = 1.0) -> Camera:
    """The same camera in coordinates that count from `origin` [3] in steps of `unit`: x' = (x - origin) / unit."""
    viewmat = camera.viewmat.copy()
    viewmat[:3, 3] = -viewmat[:3, :3] @ ((camera.position - np.asarray(origin)) / unit)
    return Camera(viewmat, camera.K, camera.width, camera.height)


def counted_from(cameras: Sequence[Camera], origin: Sequence[float]) -> tuple[Camera, ...]:
    """Cameras in coordinates that count from `origin` [3]; the same ones, to the last bit, where it is (0, 0, 0)."""
    return tuple(placed(camera, origin) for camera in cameras) if any(origin) else tuple(cameras)


def far_origin(points: ArrayLike) -> tuple[float, float, float]:
    """What the coordinates of points [N, 3] had better be counted from: (0, 0, 0), unless they lie FAR away from there, as
    in UTM; then their median."""
    points = np.asarray(points, dtype=np.float64).reshape(-1, 3)
    if not len(points):
        return 0.0, 0.0, 0.0
    middle = np.median(points, axis=0)
    size = np.median(np.linalg.norm(points - middle, axis=1))
    if not 0 < FAR * size < np.linalg.norm(middle):
        return 0.0, 0.0, 0.0
    x, y, z = middle.tolist()
    return x, y, z


def as_points(points: NDArray[np.float64]) -> Tensor:
    """Points [N, 3] as float32, or as float64 where float32 would lose them (`far_origin`)."""
    return torch.from_numpy(points) if any(far_origin(points)) else torch.from_numpy(points).float()
