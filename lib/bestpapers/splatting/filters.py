"""The filters that tell the methods of the paper apart, each as a few lines on plain tensors.

Two questions are asked of every Gaussian. *In 3D:* how fine may it be at all, given the cameras that saw it? (the smoothing
filter, once per training step). *In 2D:* how is it widened so that a pixel cannot miss it? (dilation, EWA or the Mip filter,
at every rendering). `METHODS` lists which method answers how.

Source: Yu et al. 2024: 3D smoothing filter (Eq. 7 to 9) and 2D Mip filter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .cameras import Camera

SMOOTHING = 0.2  # s of Eq. 9: variance of the 3D filter, in units of the squared sampling interval (pixel footprint)^2
MIP_VARIANCE = 0.1  # px^2, variance of the 2D Mip filter; a box of one pixel has 1/12
DILATION = 0.3  # px^2, what 3D Gaussian Splatting adds to every projected covariance

NEAR = 0.2  # scene units: a camera sees a Gaussian only farther than this (official code, whatever the unit is)
NEAR_SHARE = 0.1  # ours, of the middle distance between cameras and Gaussians: the limit where that is below 2
MARGIN = 0.15  # of the image's width or height: so far outside the image still counts as seen (official code)


@dataclass(frozen=True)
class Method:
    """One row of the paper's tables.

    label: as the tables print it; eps2d: variance in px^2 added to each projected Gaussian; compensate: keep the light, on
    average over places inside a pixel, by lowering the opacity (the factor rho); smooth_3d: band-limit the Gaussians
    themselves (Eq. 9).
    """

    label: str
    eps2d: float
    compensate: bool
    smooth_3d: bool

    @property
    def rasterize_mode(self) -> str:
        """What `rasterization` calls it."""
        return "antialiased" if self.compensate else "classic"


METHODS = {
    "3dgs": Method("3DGS", DILATION, False, False),
    "ewa": Method("3DGS + EWA", DILATION, True, False),
    "mip": Method("Mip-Splatting", MIP_VARIANCE, True, True),
    "mip-no-3d": Method("Mip-Splatting w/o 3D filter", MIP_VARIANCE, True, False),
    "mip-no-2d": Method("Mip-Splatting w/o 2D filter", 0.0, False, True),
    "3dgs-no-dilation": Method("3DGS w/o dilation", 0.0, False, False),
}


def method(name: str) -> Method:
    """Look up a method by its key in METHODS; ValueError names the choices."""
    if name not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {name!r}")
    return METHODS[name]


def widen_2d(cov2d: Tensor, eps2d: float, compensate: bool) -> tuple[Tensor, Tensor]:
    """Convolve projected Gaussians [..., 2, 2] (px^2) with one of variance eps2d; return them and their opacity factor [...].

    Without compensation the factor is 1: the Gaussian grows at full height and gains light (a dilation). With it the factor
    is rho = sqrt(det S / det S'), which keeps the integral, as a convolution must (2D Mip filter).
    """
    wide = cov2d + eps2d * torch.eye(2, dtype=cov2d.dtype, device=cov2d.device)
    if not compensate:
        return wide, torch.ones_like(cov2d[..., 0, 0])
    return wide, (torch.det(cov2d).clamp(min=0) / torch.det(wide)).sqrt()


def near_limit(means: Tensor, cameras: Sequence[Camera]) -> float:
    """How far in front of a camera a Gaussian counts as seen, scene units: 0.2, but at most a tenth of the median distance
    between a camera and a Gaussian.

    The authors' program takes 0.2 in any unit. Where cameras stand at 0.1 from what they see, it finds next to nothing seen,
    and its 3D filter blurs the scene; here such a scene trains as it would in larger units. From a distance of 2 on the limit
    is theirs.
    """
    eyes = torch.tensor([camera.position.tolist() for camera in cameras]).to(means)
    some = means[:: max(1, len(means) // 1000)]  # a sample is enough
    return min(NEAR, NEAR_SHARE * torch.cdist(eyes, some).median().item())


def sampling_rate(means: Tensor, cameras: Sequence[Camera], rule: str = "code") -> Tensor:
    """nu [N]: pixels per scene unit at which the best camera samples each Gaussian (Eq. 7).

    means [N, 3], scene units. A camera counts if it sees the centre (z > `near_limit`, at most 15 % outside the image); what
    no camera sees gets the lowest rate among the seen ones.

    rule: "paper" is Eq. 7, the largest f_n / z_n over the cameras that see it. "code" is what the authors' program does:
        the largest f of ALL cameras over the smallest z of those that see it. Both agree when the focal lengths do.

    Raises ValueError if there is no camera, or no camera sees any Gaussian.
    """
    if rule not in ("code", "paper"):
        raise ValueError(f'sampling_rate: rule must be "code" or "paper", got {rule!r}')
    if len(cameras) == 0:
        raise ValueError("sampling_rate: no cameras given")
    nearest = torch.full_like(means[:, 0], float("inf"))  # smallest z among the cameras that see it
    best = torch.zeros_like(nearest)  # largest f / z
    near = near_limit(means, cameras)
    for camera in cameras:
        view = torch.tensor(camera.viewmat).to(means)
        (fx, cx), (fy, cy) = camera.K[0, [0, 2]], camera.K[1, [1, 2]]
        x, y, z = (means @ view[:3, :3].T + view[:3, 3]).unbind(-1)
        u, v = fx * x / z + cx, fy * y / z + cy
        w, h = camera.width, camera.height
        seen = (z > near) & (u >= -MARGIN * w) & (u <= (1 + MARGIN) * w) & (v >= -MARGIN * h) & (v <= (1 + MARGIN) * h)
        nearest = torch.where(seen, torch.minimum(nearest, z), nearest)
        best = torch.where(seen, torch.maximum(best, fx / z), best)
    if rule == "code":
        best = torch.where(nearest.isfinite(), max(c.K[0, 0] for c in cameras) / nearest, torch.zeros_like(best))
    seen = best > 0
    if not seen.any():
        raise ValueError(
            "sampling_rate: no camera sees any Gaussian; check the camera axes (x right, y down, z forward)"
        )
    return torch.where(seen, best, best[seen].min())


def smoothing_scale(means: Tensor, cameras: Sequence[Camera], rule: str = "code") -> Tensor:
    """phi [N]: standard deviation in scene units of each Gaussian's 3D smoothing filter, sqrt(0.2) / nu.

    Eq. 9 prints the variance as s / nu; only s / nu^2 has the unit of a variance, and that is what the authors' code uses.
    """
    return SMOOTHING**0.5 / sampling_rate(means.detach(), cameras, rule)


def smooth_3d(scales: Tensor, opacities: Tensor, phi: Tensor) -> tuple[Tensor, Tensor]:
    """Convolve 3D Gaussians with isotropic ones of standard deviation phi (Eq. 9).

    scales [N, 3], opacities [N], phi [N] -> scales' = sqrt(s^2 + phi^2) and opacities' = o sqrt(det S / det S'). The filter
    is isotropic, so the rotation stays as it is. phi carries no gradient.
    """
    wide = torch.hypot(scales, phi[:, None])  # sqrt(s^2 + phi^2) that neither over- nor underflows
    return wide, opacities * (scales / wide).prod(-1)
