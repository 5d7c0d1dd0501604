"""The definition of the colours: real spherical harmonics up to degree 3."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def spherical_harmonics(degree: int, dirs: Tensor, coeffs: Tensor) -> Tensor:
    """Evaluate real spherical harmonics (Condon-Shortley signs, the basis of 3D Gaussian Splatting).

    Shapes: dirs [..., 3] of any length > 0, coeffs [..., K, D] with K >= (degree + 1)^2 -> [..., D]; degree 0 to 3.
    """
    x, y, z = torch.nn.functional.normalize(dirs, dim=-1).unbind(-1)
    basis = [torch.full_like(x, 0.5 / math.sqrt(math.pi))]
    if degree >= 1:
        c = math.sqrt(3 / (4 * math.pi))
        basis += [-c * y, c * z, -c * x]
    if degree >= 2:
        c0, c1, c2 = math.sqrt(15 / (4 * math.pi)), math.sqrt(5 / (16 * math.pi)), math.sqrt(15 / (16 * math.pi))
        basis += [c0 * x * y, -c0 * y * z, c1 * (2 * z * z - x * x - y * y), -c0 * x * z, c2 * (x * x - y * y)]
    if degree >= 3:
        c0, c1, c2 = math.sqrt(35 / (32 * math.pi)), math.sqrt(105 / (4 * math.pi)), math.sqrt(21 / (32 * math.pi))
        c3, c4 = math.sqrt(7 / (16 * math.pi)), math.sqrt(105 / (16 * math.pi))
        basis += [
            -c0 * y * (3 * x * x - y * y), c1 * x * y * z, -c2 * y * (4 * z * z - x * x - y * y),
            c3 * z * (2 * z * z - 3 * x * x - 3 * y * y), -c2 * x * (4 * z * z - x * x - y * y),
            c4 * z * (x * x - y * y), -c0 * x * (x * x - 3 * y * y),
        ]  # fmt: skip
    b = torch.stack(basis, dim=-1)  # [..., K']
    return (b[..., None] * coeffs[..., : b.shape[-1], :]).sum(-2)
