"""Inputs for the tests of `softsplat`, in float64 on the CPU but exact in float32, and what is asked of them."""

from __future__ import annotations

import torch
from torch import Tensor

from bestpapers.kernels.softsplat import Splat, softsplat

F32, F64 = torch.float32, torch.float64
WEIGHTED = ("linear", "softmax")
NAMES = ("output", "input", "flow", "weight")


def scene(shape, mode: str, kind: str = "rough", seed: int = 0) -> list[Tensor]:
    """input [B, C, H, W], flow and, for a mode that takes one, weight.

    rough: every pixel goes its own way, up to some 5 px; smooth: a wave; integer: rough, whole pixels, many on one
    target; still: no flow at all; away: half of the pixels leave the image; crowd: all land around one point; steep:
    rough, with weights up to +-1e4; faint: rough, with weights around -50 (softmax) or 1e-30 (linear)
    """
    B, C, H, W = shape
    g = torch.Generator().manual_seed(1000 * seed + H * W)
    x = torch.randn(B, C, H, W, generator=g)
    z = torch.randn(B, 1, H, W, generator=g)
    flow = 2.5 * torch.randn(B, 2, H, W, generator=g)
    row, column = torch.arange(H)[:, None], torch.arange(W)
    if kind == "smooth":
        wave = torch.stack([1.7 * torch.sin(row / 5) + 0.1 * column, 2.3 * torch.cos(column / 7) + 0.2 + 0 * row])
        flow = wave + 0.01 * flow
    if kind == "integer":
        flow = flow.round()
    if kind == "still":
        flow = torch.zeros(B, 2, H, W)
    if kind == "away":
        flow = flow + 40 * (torch.rand(B, 1, H, W, generator=g) > 0.5) * torch.sign(flow)
    if kind == "crowd":
        flow = torch.stack([W / 2 - column + 0 * row, H / 2 - row + 0 * column]) + 0.3 * flow
    z = z * 5000 if kind == "steep" else z
    if mode == "linear":
        z = z.abs() * (1e-30 if kind == "faint" else 1)
    elif kind == "faint":
        z = z - 50
    return [t.to(F64) for t in ([x, flow, z] if mode in WEIGHTED else [x, flow])]


def upstream(like: Tensor) -> Tensor:
    """A gradient without symmetry."""
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(7)).to(like)


def pull(tensors, mode: str, backend: str, dtype=F64, device="cpu") -> tuple[list[Tensor], Tensor]:
    """[output, gradients of all tensors] in float64 on the CPU; holes."""
    inputs = [t.detach().clone().to(device, dtype).requires_grad_() for t in tensors]
    output, holes = softsplat(*inputs, mode=mode, backend=backend)
    grads = torch.autograd.grad(output, inputs, upstream(output.cpu()).to(output))
    return [t.detach().double().cpu() for t in (output, *grads)], holes.cpu()


def by_loops(input: Tensor, flow: Tensor, weight: Tensor | None, mode: str) -> Splat:
    """The formulas, target by target and source by source."""
    B, _, H, W = input.shape
    output, holes = torch.zeros_like(input), torch.ones(B, 1, H, W, dtype=torch.bool)
    for b in range(B):
        for y in range(H):
            for x in range(W):
                found = []
                for v in range(H):
                    for u in range(W):
                        ax, ay = x - u - flow[b, 0, v, u], y - v - flow[b, 1, v, u]
                        share = (1 - ax.abs()).clamp(min=0) * (1 - ay.abs()).clamp(min=0)
                        if share > 0:
                            found.append((share, input[b, :, v, u], 0 if weight is None else weight[b, 0, v, u]))
                if found:
                    shares, values, z = (torch.stack([torch.as_tensor(f[i]) for f in found]) for i in range(3))
                    if mode == "softmax":
                        shares = shares * torch.exp(z - z.max())
                    if mode == "linear":
                        shares = shares * z
                    total = shares.sum() if mode != "summation" else 1
                    output[b, :, y, x] = (shares[:, None] * values).sum(0) / total
                    holes[b, 0, y, x] = False
    return Splat(output, holes)
