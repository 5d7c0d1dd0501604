"""Pinhole cameras in OpenCV's conventions, where they stand, and how a rasterizer takes them.

World x right, y up, z towards the viewer. A camera's x is right, y down, z forward; the centre of pixel i is at i + 0.5; the
principal point of `look_at` is the middle of the image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

Array = NDArray[np.float64]

FOV_DEG = 50.0


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera.

    viewmat  [4, 4] float64, world to camera, OpenCV axes: x_cam = R x_world + t
    K        [3, 3] float64, in pixels: [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]
    width, height  pixels

    Raises ValueError when a matrix has the wrong shape or non-finite entries, when the rotation is not a rotation, when
    a focal length is not positive, or when the image has no pixels. The arrays are copies and read-only.
    """

    viewmat: Array
    K: Array
    width: int
    height: int

    def __post_init__(self) -> None:
        for name, shape in (("viewmat", (4, 4)), ("K", (3, 3))):
            value = np.array(getattr(self, name), dtype=np.float64)
            if value.shape != shape:
                raise ValueError(f"Camera.{name}: expected shape {shape}, got {value.shape}")
            if not np.isfinite(value).all():
                raise ValueError(f"Camera.{name}: entries must be finite, got\n{value}")
            value.setflags(write=False)
            object.__setattr__(self, name, value)
        for name in ("width", "height"):
            object.__setattr__(self, name, _pixels(f"Camera.{name}", getattr(self, name)))
        R = self.viewmat[:3, :3]
        if not np.allclose(R @ R.T, np.eye(3), atol=1e-6) or np.linalg.det(R) < 0:
            raise ValueError(
                "Camera.viewmat: the upper left 3 x 3 block is not a rotation (scale, shear or mirror in it)"
            )
        if not np.allclose(self.viewmat[3], (0, 0, 0, 1)):
            raise ValueError(f"Camera.viewmat: the last row must be 0 0 0 1, got {self.viewmat[3]}")
        if self.K[0, 0] <= 0 or self.K[1, 1] <= 0:
            raise ValueError(f"Camera.K: focal lengths must be positive, got {self.K[0, 0]:g} and {self.K[1, 1]:g}")

    @property
    def position(self) -> Array:
        """The optical centre in the world, [3] float64."""
        return -self.viewmat[:3, :3].T @ self.viewmat[:3, 3]

    def at(self, *, width: int) -> Camera:
        """The same view on an image `width` pixels wide: same field of view, another sampling rate.

        The height follows the aspect ratio, rounded to whole pixels; focal length and centre scale with each side.
        """
        width = _pixels("Camera.at: width", width)
        height = max(1, round(self.height * width / self.width))
        K = np.diag((width / self.width, height / self.height, 1.0)) @ self.K
        return Camera(self.viewmat, K, width, height)

    def scaled(self, factor: float) -> Camera:
        """The same view with `factor` times as many pixels along each side; both sides must stay whole numbers."""
        factor = _positive("Camera.scaled: factor", factor)
        width, height = self.width * factor, self.height * factor
        if min(width, height) < 1 - 1e-6 or abs(width - round(width)) > 1e-6 or abs(height - round(height)) > 1e-6:
            raise ValueError(
                f"Camera.scaled: {self.width} x {self.height} pixels times {factor:g} is {width:g} x {height:g}; "
                "an image needs whole pixels, at least one"
            )
        return self.at(width=round(width))

    def zoomed(self, factor: float) -> Camera:
        """The same image size with `factor` times the focal length: above 1 zooms in, below 1 zooms out."""
        factor = _positive("Camera.zoomed: factor", factor)
        return Camera(self.viewmat, self.K @ np.diag((factor, factor, 1.0)), self.width, self.height)

    def project(self, points: ArrayLike) -> tuple[Array, Array]:
        """World points [N, 3] -> image positions [N, 2] in pixels, and depths z [N] along the optical axis."""
        cam = np.asarray(points, dtype=np.float64) @ self.viewmat[:3, :3].T + self.viewmat[:3, 3]
        uvw = cam @ self.K.T
        return uvw[:, :2] / uvw[:, 2:], cam[:, 2]

    def rays(self, uv: ArrayLike) -> tuple[Array, Array]:
        """Image positions [N, 2] in pixels -> ray origins [N, 3] and directions [N, 3] in the world.

        Directions have z_cam = 1, so origin + z * direction is the point at depth z.
        """
        uv = np.asarray(uv, dtype=np.float64)
        cam = np.column_stack([uv, np.ones(len(uv))]) @ np.linalg.inv(self.K).T
        return np.tile(self.position, (len(uv), 1)), cam @ self.viewmat[:3, :3]


def look_at(
    eye: ArrayLike,
    target: ArrayLike = (0.0, 0.0, 0.0),
    up: ArrayLike = (0.0, 1.0, 0.0),
    fov_deg: float = FOV_DEG,
    size: int = 96,
) -> Camera:
    """A square camera of `size` pixels at `eye` that looks at `target`; `up` points up in the image.

    eye, target, up  [3] in scene units; fov_deg  full angle of view in degrees, in (0, 180).
    Raises ValueError on a non-finite position, on eye == target, and on an `up` along the line of sight.
    """
    eye, target, up = (_vector(f"look_at: {n}", v) for n, v in (("eye", eye), ("target", target), ("up", up)))
    fov_deg = _fov("look_at: fov_deg", fov_deg)
    size = _pixels("look_at: size", size)
    forward = target - eye
    if np.linalg.norm(forward) < 1e-9:
        raise ValueError(f"look_at: eye and target are the same point {eye}; the direction of view is undefined")
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, up)
    if np.linalg.norm(right) < 1e-9 * max(1.0, float(np.linalg.norm(up))):
        raise ValueError(f"look_at: up {up} is zero or lies along the line of sight; choose another")
    right /= np.linalg.norm(right)
    R = np.stack([right, np.cross(forward, right), forward])  # rows: camera x (right), y (down), z (forward)
    viewmat = np.eye(4)
    viewmat[:3, :3], viewmat[:3, 3] = R, -R @ eye
    f = 0.5 * size / math.tan(math.radians(fov_deg) / 2)
    return Camera(viewmat, np.array([[f, 0, size / 2], [0, f, size / 2], [0, 0, 1]]), size, size)


def camera_ring(
    n: int,
    *,
    distance: tuple[float, float] = (2.6, 3.4),
    tilt_deg: tuple[float, float] = (3.0, 22.0),
    fov_deg: float = FOV_DEG,
    size: int = 96,
    seed: int = 0,
    target: ArrayLike = (0.0, 0.0, 0.0),
) -> tuple[Camera, ...]:
    """`n` cameras around the +z axis, all looking at `target`.

    They go round the axis at even steps from a random start; each draws its distance from `target` and its angle
    against the axis uniformly from the ranges given. Equal seeds give equal cameras.
    """
    n = _count("camera_ring: n", n)
    target = _vector("camera_ring: target", target)
    near, far = (_positive("camera_ring: distance", d) for d in distance)
    low, high = tilt_deg
    if not (0 <= low <= high < 90) or near > far:
        raise ValueError(
            f"camera_ring: distance {distance} and tilt_deg {tilt_deg} must be (low, high), the tilt within 0 to 90"
        )
    rng = np.random.default_rng(seed)
    around = 2 * np.pi * (np.arange(n) + rng.uniform()) / max(n, 1)
    tilt = np.radians(rng.uniform(low, high, n))
    d = rng.uniform(near, far, n)
    toward = np.stack([np.sin(tilt) * np.cos(around), np.sin(tilt) * np.sin(around), np.cos(tilt)], axis=1)
    return tuple(look_at(target + d[i] * toward[i], target, fov_deg=fov_deg, size=size) for i in range(n))


def stack(
    cameras: Sequence[Camera], device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, int, int]:
    """Cameras of one image size -> viewmats [C, 4, 4], Ks [C, 3, 3], width, height, as the rasterizer takes them."""
    if len(cameras) == 0:
        raise ValueError("stack: no cameras given")
    sizes = {(c.width, c.height) for c in cameras}
    if len(sizes) > 1:
        raise ValueError(f"stack: cameras must share one image size, got (width, height) {sorted(sizes)}")
    viewmats = torch.from_numpy(np.stack([c.viewmat for c in cameras])).to(device, dtype)
    Ks = torch.from_numpy(np.stack([c.K for c in cameras])).to(device, dtype)
    return viewmats, Ks, cameras[0].width, cameras[0].height


# --------------------------------------------------------------------------------------------------------------- checks


def _count(what: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        raise ValueError(f"{what} must be a whole number, at least 0, got {value!r}")
    return int(value)


def _pixels(what: str, value: int) -> int:
    if _count(what, value) < 1:
        raise ValueError(f"{what} must be at least 1, got {value}")
    return int(value)


def _positive(what: str, value: float) -> float:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{what} must be finite and positive, got {value}")
    return float(value)


def _fov(what: str, value: float) -> float:
    if not (math.isfinite(value) and 0 < value < 180):
        raise ValueError(f"{what} must be between 0 and 180 degrees, got {value}")
    return float(value)


def _vector(what: str, value: ArrayLike) -> Array:
    v = np.array(value, dtype=np.float64)
    if v.shape != (3,) or not np.isfinite(v).all():
        raise ValueError(f"{what} must be three finite numbers, got {value!r}")
    return v
