"""The definition of projection: EWA splatting (Zwicker et al. 2001), the compensation rho from Mip-Splatting (Yu et al. 2024).

Differentiable through autograd, in float32 or float64, on any device.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .. import rules


def rotation_matrices(quats: Tensor) -> Tensor:
    """Quaternions [..., 4] (w, x, y, z, any length) to rotation matrices [..., 3, 3]."""
    size = quats.detach().abs().amax(-1, keepdim=True)  # taken out first: the square of 1e20 is no float32
    quats = quats / torch.where(size > rules.LENGTH_MIN, size, 1.0)
    w, x, y, z = torch.nn.functional.normalize(quats, dim=-1).unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, dim=-1).reshape(*quats.shape[:-1], 3, 3)


def project(
    means: Tensor, quats: Tensor, scales: Tensor, viewmats: Tensor, Ks: Tensor, width: int, height: int,
    *, eps2d: float = 0.3, near_plane: float = rules.NEAR_PLANE, far_plane: float = rules.FAR_PLANE,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Project 3D Gaussians to image-plane ellipses (EWA splatting: the perspective map, linearised at each centre).

    Shapes:
        means [N, 3], quats [N, 4] wxyz, scales [N, 3] standard deviations, scene units
        viewmats [C, 4, 4] world to camera (x right, y down, z forward), Ks [C, 3, 3] intrinsics in px
        -> means2d [C, N, 2] px; depths [C, N] camera z; conics [C, N, 3] = (xx, xy, yy) of S'^-1, px^-2;
           compensations [C, N] rho; radii [C, N, 2] int32 px, 0 where the Gaussian is culled

    S is the projected covariance, S' = S + eps2d I the blurred one, and rho = sqrt(det S / det S').
    """
    R, t = viewmats[:, None, :3, :3], viewmats[:, None, :3, 3]  # [C, 1, 3, 3], [C, 1, 3]
    fx, fy, cx, cy = (Ks[:, None, i, j] for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))  # [C, 1]
    center = (R @ means[None, :, :, None]).squeeze(-1) + t  # [C, N, 3], camera space
    x, y, depths = center.unbind(-1)
    inside = (depths > near_plane) & (depths < far_plane)
    z = torch.where(inside, depths, torch.ones_like(depths))  # culled ones must not divide by zero
    means2d = torch.stack([fx * x / z + cx, fy * y / z + cy], dim=-1)

    # J, the Jacobian of (x, y, z) -> (fx x/z, fy y/z), at a centre pulled back to the view's margin
    margin_x, margin_y = rules.VIEW_MARGIN * 0.5 * width / fx, rules.VIEW_MARGIN * 0.5 * height / fy
    xc = z * torch.clamp(x / z, min=-(cx / fx + margin_x), max=(width - cx) / fx + margin_x)
    yc = z * torch.clamp(y / z, min=-(cy / fy + margin_y), max=(height - cy) / fy + margin_y)
    zero = torch.zeros_like(z)
    J = torch.stack([fx / z, zero, -fx * xc / z**2, zero, fy / z, -fy * yc / z**2], dim=-1).unflatten(-1, (2, 3))

    axes = rotation_matrices(quats) * scales[:, None, :]  # [N, 3, 3]: columns are the ellipsoid's half axes
    half = J @ R @ axes  # [C, N, 2, 3], so that S = half half^T
    S = half @ half.transpose(-1, -2)
    # det S as the squared area that half's two rows span: the difference xx yy - xy^2 of a needle would cancel in float32
    det_sharp = torch.linalg.cross(half[..., 0, :], half[..., 1, :]).square().sum(-1)
    det = (det_sharp + eps2d * (S[..., 0, 0] + S[..., 1, 1]) + eps2d**2).clamp(min=rules.DET_MIN)
    xx, xy, yy = S[..., 0, 0] + eps2d, S[..., 0, 1], S[..., 1, 1] + eps2d
    conics = torch.stack([yy, -xy, xx], dim=-1) / det[..., None]
    compensations = (det_sharp / det).clamp(min=rules.RHO_MIN**2).sqrt()

    with torch.no_grad():
        radii = torch.ceil(rules.EXTENT_SIGMA * torch.stack([xx, yy], dim=-1).sqrt())
        size = means2d.new_tensor([width, height])
        on_screen = ((means2d + radii > 0) & (means2d - radii < size)).all(-1) & inside
        radii = torch.where(on_screen[..., None], radii.clamp(max=2**30), 0).int()
    return means2d, depths, conics, compensations, radii
