"""Splatting in plain torch: the definition that the fast backends are tested against.

A list of pairs (source, target) is made, four for each source that lands inside, and `index_add` sums them up. Runs in
float32 or float64 on any device, with autograd's gradients. Source: Niklaus and Liu 2020 (softmax splatting); the
maximum of each target in place of one for all is from Niklaus et al. 2023 (splatting-based synthesis).
"""

from __future__ import annotations

import torch
from torch import Tensor

SMALL = 1e-30  # a target with less than this in all is a hole: the reciprocal of less may be no float32


def splat(input: Tensor, flow: Tensor, weight: Tensor | None, mode: str) -> tuple[Tensor, Tensor]:
    """output [B, C, H, W] and holes [B, 1, H, W], as `softsplat` says."""
    B, _, H, W = input.shape
    source, target, b = pairs(flow)

    def total(values: Tensor) -> Tensor:
        """[..., pairs] -> [..., pixels]: the sum at each target."""
        return values.new_zeros(*values.shape[:-1], B * H * W).index_add(-1, target, values)

    share = b
    if weight is not None:
        z, reached = weight.flatten()[source], b.detach() > SMALL
        top = z.new_full((B * H * W,), -torch.inf)
        top = top.scatter_reduce(0, target[reached], z.detach()[reached], "amax")[target]
        # relative to the strongest, so at most 1. A stronger one can only touch the target, with b = 0: it counts as 1
        e = (
            torch.exp((z - top).where(z <= top, 0))
            if mode == "softmax"
            else (z / top.where(top > 0, 1)).where(z <= top, 1)
        )
        share = b * e
    everything = total(share)
    holes = everything <= SMALL
    if mode != "summation":
        share = (share / everything.where(~holes, 1)[target]).where(~holes[target], 0)
    output = total(input.movedim(1, 0).flatten(1)[:, source] * share)  # [C, pixels]
    return output.unflatten(1, (B, H, W)).movedim(0, 1).contiguous(), holes.reshape(B, 1, H, W)


def pairs(flow: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Every source with each of the four pixels around the point where it lands, if that pixel is inside the image.

    -> source, target [P] int64, numbers of pixels in 0..B H W - 1; b [P], the bilinear weight, which may be 0
    """
    B, _, H, W = flow.shape
    flow = flow.where(flow.isfinite().all(1, keepdim=True), 2 * (H + W))  # what is not finite lands outside
    low = flow.detach().floor()
    # taken of the flow and not of the position: so no digit is lost far from the origin
    (right, down), (left, up) = (flow - low).unbind(1), (low + 1 - flow).unbind(1)
    x = low[:, 0] + torch.arange(W, device=flow.device)
    y = low[:, 1] + torch.arange(H, device=flow.device)[:, None]
    image = torch.arange(B, device=flow.device)[:, None, None]
    lists = []
    for i, j, b in ((0, 0, left * up), (1, 0, right * up), (0, 1, left * down), (1, 1, right * down)):
        inside = (x + i >= 0) & (x + i < W) & (y + j >= 0) & (y + j < H)
        target = (image * H + (y + j).where(inside, 0).long()) * W + (x + i).where(inside, 0).long()
        lists.append((inside.flatten().nonzero()[:, 0], target[inside], b[inside]))
    source, target, b = (torch.cat(parts) for parts in zip(*lists, strict=True))
    return source, target, b
