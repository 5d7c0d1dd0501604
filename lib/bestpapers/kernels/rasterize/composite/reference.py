"""The definition of compositing (3D Gaussian Splatting, Kerbl et al. 2023): every pixel looks at every Gaussian.

Pixel (i, j) has its centre at (i + 0.5, j + 0.5). There are no tiles here, which is slow and easy to believe.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .. import rules

CHUNK_PAIRS = 2**22  # pixel-Gaussian pairs held at a time by `composite`: 0.8 GB of float32 with its backward pass


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
