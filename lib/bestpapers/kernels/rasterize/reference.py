"""Gaussian rasterisation in plain torch: the definition that the fast backends are tested against.

Three functions, in the order in which a picture is made: `project` (3D Gaussians to 2D ellipses), `spherical_harmonics`
(colour seen from a direction) and `composite` (ellipses to pixels, nearest first). All are differentiable through autograd
and run in float32 or float64 on any device. There are no tiles here: every pixel looks at every Gaussian, which is slow and
easy to believe.

Shapes: N Gaussians, C cameras, H x W pixels, D channels. Pixel (i, j) has its centre at (i + 0.5, j + 0.5).
Sources: EWA splatting (Zwicker et al. 2001) for the projection, 3D Gaussian Splatting (Kerbl et al. 2023) for compositing,
Mip-Splatting (Yu et al. 2024), the 2D Mip filter, for the compensation rho.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from . import rules

CHUNK_PAIRS = 2**22  # pixel-Gaussian pairs held at a time by `composite`: 0.8 GB of float32 with its backward pass


def rotation_matrices(quats: Tensor) -> Tensor:
    """Quaternions [..., 4] (w, x, y, z, any length) to rotation matrices [..., 3, 3]."""
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
    det_sharp = S[..., 0, 0] * S[..., 1, 1] - S[..., 0, 1] ** 2
    xx, xy, yy = S[..., 0, 0] + eps2d, S[..., 0, 1], S[..., 1, 1] + eps2d
    det = (xx * yy - xy**2).clamp(min=rules.DET_MIN)
    conics = torch.stack([yy, -xy, xx], dim=-1) / det[..., None]
    compensations = (det_sharp / det).clamp(min=rules.RHO_MIN**2).sqrt()

    with torch.no_grad():
        radii = torch.ceil(rules.EXTENT_SIGMA * torch.stack([xx, yy], dim=-1).sqrt())
        size = means2d.new_tensor([width, height])
        on_screen = ((means2d + radii > 0) & (means2d - radii < size)).all(-1) & inside
        radii = torch.where(on_screen[..., None], radii.clamp(max=2**30), 0).int()
    return means2d, depths, conics, compensations, radii


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


def composite(
    means2d: Tensor, conics: Tensor, colors: Tensor, opacities: Tensor, depths: Tensor, width: int, height: int,
    *, alpha_min: float = rules.ALPHA_MIN, transmittance_min: float = rules.TRANSMITTANCE_MIN,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Blend ellipses into pixels, nearest first, over nothing (the caller adds a background).

    Shapes:
        means2d [C, N, 2], conics [C, N, 3], colors [C, N, D], opacities [C, N] (0 = culled), depths [C, N]
        -> colors [C, H, W, D], alphas [C, H, W]

    `depths` only give the order; equal depths keep the order of the arrays. Memory stays bounded because pixels are
    worked off in chunks whose intermediates are computed again in the backward pass.
    """
    C, N, D = colors.shape
    v, u = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = torch.stack([u, v], dim=-1).reshape(-1, 2).to(colors) + 0.5  # [H*W, 2], pixel centres
    colors = torch.cat([colors, torch.ones_like(colors[..., :1])], dim=-1)  # the channel of ones becomes alpha

    def blend(px: Tensor, mean: Tensor, conic: Tensor, color: Tensor, opacity: Tensor) -> Tensor:
        dx, dy = (px[:, None, :] - mean).unbind(-1)  # [P, N]
        sigma = 0.5 * (conic[:, 0] * dx * dx + conic[:, 2] * dy * dy) + conic[:, 1] * dx * dy
        alpha = (opacity * torch.exp(-sigma)).clamp(max=rules.ALPHA_MAX)
        alpha = torch.where((alpha >= alpha_min) & (sigma >= 0), alpha, 0.0)
        # light left after each Gaussian; a sum of logs, since the gradient of cumprod is slow
        after = torch.exp(torch.cumsum(torch.log1p(-alpha), dim=-1))  # [P, N]
        before = torch.cat([torch.ones_like(after[:, :1]), after[:, :-1]], dim=-1)
        # `after` only falls, so "stop at the first one that would leave too little" is a plain mask
        weight = torch.where(after > transmittance_min, alpha * before, 0.0)
        return weight @ color

    images = []
    for c in range(C):
        order = torch.argsort(depths[c], stable=True)
        order = order[opacities[c, order] > 0]
        splats = means2d[c, order], conics[c, order], colors[c, order], opacities[c, order]
        images.append(_Chunked.apply(blend, max(1, CHUNK_PAIRS // max(N, 1)), pixels, *splats))
    out = torch.stack(images).reshape(C, height, width, D + 1)
    return out[..., :D], out[..., D]


class _Chunked(torch.autograd.Function):
    """blend(pixels, *splats), a chunk of pixels at a time; the backward pass computes each chunk again.

    `torch.utils.checkpoint` would do the same, but what it keeps of each chunk ends up between the large temporaries, so
    that the allocator cannot use their space again and the process grows tenfold.
    """

    @staticmethod
    def forward(ctx, blend, step, pixels, *splats):
        ctx.blend, ctx.step = blend, step
        ctx.save_for_backward(pixels, *splats)
        out = pixels.new_empty(len(pixels), splats[2].shape[-1])
        for px, part in zip(pixels.split(step), out.split(step), strict=True):
            part.copy_(blend(px, *splats))
        return out

    @staticmethod
    def backward(ctx, grad):
        pixels, *splats = ctx.saved_tensors
        leaves = [t.detach().requires_grad_() for t in splats]
        total = [torch.zeros_like(t) for t in splats]
        for px, g in zip(pixels.split(ctx.step), grad.split(ctx.step), strict=True):
            with torch.enable_grad():
                out = ctx.blend(px, *leaves)
            for t, part in zip(total, torch.autograd.grad(out, leaves, g), strict=True):
                t += part
        return None, None, None, *total
