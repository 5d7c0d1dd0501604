"""Forward warping by splatting, summation to softmax: the one public function is `softsplat`.

Each source pixel is carried along its flow, lands between four target pixels and is shared out among them. Where
several land on one target, the mode says who counts. `reference.py` is the definition, `cpu.py` the form for the CPU,
`gpu.py` the one for CUDA. None of them adds with atomics: each target is summed up by one program, always in the same
order, so equal calls give equal bits.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .. import arguments, dispatch
from . import reference

__all__ = ["MODES", "Splat", "softsplat"]

MODES = ("summation", "average", "linear", "softmax")
WEIGHTED = ("linear", "softmax")  # the modes that take a weight


class Splat(NamedTuple):
    """output [B, C, H, W], of the input's type; holes [B, 1, H, W] bool, True where nothing landed (output 0 there)."""

    output: Tensor
    holes: Tensor


def softsplat(
    input: Tensor,
    flow: Tensor,
    weight: Tensor | None = None,
    *,
    mode: str = "softmax",
    backend: str = "auto",
) -> Splat:
    """Carry every pixel of `input` along its `flow`, forwards, and add up what lands at each pixel.

    Source q lands at the point q + flow(q); its share in target p is b = max(0, 1 - |ax|) max(0, 1 - |ay|), a = p - q -
    flow(q). With sums over all sources, out(p) is

        summation  sum b X              light adds up: too bright where sources crowd, too dark where they thin out
        average    sum b X / sum b      front and back mixed alike
        linear     sum b Z X / sum b Z
        softmax    sum b e^Z X / sum b e^Z    the same for Z and Z + c; from the average (all Z alike) to a z-buffer

    Gradients flow to input, flow and weight; there is none through `holes`.

    Shapes:
        input   [B, C, H, W]  any finite numbers, any number of channels, 0 included
        flow    [B, 2, H, W]  in pixels, x (to the right) before y (down); pixel centres at integers
        weight  [B, 1, H, W]  Z: finite; for `linear` not negative either. Only for `linear` and `softmax`, where a
                temperature is the caller's to multiply in
        -> `Splat`: output [B, C, H, W], holes [B, 1, H, W]

    Types: each may be of any float type. If the input is float64, all is computed in float64 (by the reference), else
    in float32; the output has the input's type, and every gradient that of its tensor.

    Rules:
        - Any finite weight is safe: e^Z is taken relative to the largest Z that reaches the same target (for `linear`,
          Z is divided by it), and nothing is added to a denominator. Sources that are weak everywhere count as much as
          strong ones.
        - A hole is a target without sources: the sum in the denominator (for `summation`, sum b) is at most 1e-30. The
          output is 0 there, and but for `summation` no gradient comes from it. For `linear`, sources of weight 0 count
          as none.
        - What lands outside the image is lost; on its edge, the part inside counts.
        - A source whose flow is NaN or infinite in x or y lands nowhere and gets gradient 0, whatever its input is.
          Other inputs are not looked at: a NaN spreads to the four pixels around the point where it lands.
        - On integer targets b has a kink in that direction. The gradient is the derivative from the right, as in
          `torch.nn.functional.grid_sample`: a point in [n, n + 1) belongs to n and n + 1. With softmax and linear, a
          source that touches a target there (b = 0) counts as no stronger than the strongest that reaches it, so no
          gradient is infinite.

    Raises:
        ValueError: a shape, type, mode or weight is wrong; the message names the argument.
        RuntimeError: the backend asked for cannot run here; the message says why.

    Sources: Niklaus and Liu 2020, Softmax splatting, equations 3 to 10, the sign in the gradient of the flow as in
    their erratum; Niklaus et al. 2023 for the maximum of each target. Rules for holes, kinks and what is not finite:
    ours.
    """
    _check(input, flow, weight, mode)
    dtype = torch.float64 if input.dtype == torch.float64 else torch.float32
    name = dispatch.choose("softsplat", backend, input.device, dtype)
    x, f, z = input.to(dtype), flow.to(dtype), None if weight is None else weight.to(dtype)
    if name == "reference" or not flow.numel():  # without a pixel there is nothing to compile for
        output, holes = reference.splat(x, f, z, mode)
    else:
        # imported on first use: compilers are slow to load
        module = importlib.import_module(f"{__name__}.{dispatch.PASSES[name]}")
        output, holes = _Splat.apply(module, x, f, z, mode)
    return Splat(output.to(input.dtype), holes)


_need = arguments.needs("softsplat")


def _check(input: Tensor, flow: Tensor, weight: Tensor | None, mode: str) -> None:
    """Refuse bad arguments with a sentence."""
    _need(mode in MODES, f"there is no mode {mode!r}; choose one of {', '.join(MODES)}")
    weighted = mode in WEIGHTED
    _need(weight is not None or not weighted, f"mode {mode!r} needs a weight [B, 1, H, W]; average needs none")
    _need(
        weight is None or weighted,
        f"mode {mode!r} takes no weight; leave it out, or choose one of {', '.join(WEIGHTED)}",
    )
    tensors = dict(input=input, flow=flow) | ({} if weight is None else dict(weight=weight))
    arguments.check_tensors(_need, tensors)
    _need(input.dim() == 4, f"input must have shape [B, C, H, W], got {list(input.shape)}")
    B, _, H, W = input.shape
    _need(
        flow.shape == (B, 2, H, W),
        f"flow must have shape [B, 2, H, W] = {[B, 2, H, W]} like input, got {list(flow.shape)}",
    )
    _need(
        B * (H + 2) * (W + 2) < 2**31, f"{B} x {H} x {W} pixels are too many for one call; give less than 2^31 in all"
    )
    if weight is None:
        return
    _need(
        weight.shape == (B, 1, H, W),
        f"weight must have shape [B, 1, H, W] = {[B, 1, H, W]} like input, got {list(weight.shape)}",
    )
    found = arguments.first_not_finite(dict(weight=weight))
    if found is not None:
        _need(False, f"weight{found.at} is {found.value}; {found.of_that_kind} values of weight are not finite")
    if mode == "linear" and weight.numel():
        lowest = weight.detach().min().item()
        _need(lowest >= 0, f"weight is {lowest} somewhere; mode 'linear' needs weights of at least 0")


class _Splat(torch.autograd.Function):
    """Autograd around the hand-written forward and backward passes of one module (`cpu` or `gpu`).

    The forward pass returns the output and two numbers for each target, from which the backward pass knows every share:
    top [B, H, W], the largest weight that reaches it, and total [B, H, W], the denominator relative to it.
    """

    @staticmethod
    def forward(
        ctx, module: ModuleType, input: Tensor, flow: Tensor, weight: Tensor | None, mode: str
    ) -> tuple[Tensor, Tensor]:
        input, flow = input.contiguous(), flow.contiguous()
        # modes without a weight never read it: any tensor will do
        z = flow if weight is None else weight.contiguous()
        output, top, total = module.forward(input, flow, z, mode)
        holes = total[:, None] <= reference.SMALL
        ctx.module, ctx.mode = module, mode
        ctx.save_for_backward(input, flow, z, output, top, total)
        ctx.mark_non_differentiable(holes)
        return output, holes

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor, _: Tensor | None):
        _, wants_input, wants_flow, wants_weight, _ = ctx.needs_input_grad
        g_input, g_flow, g_weight = ctx.module.backward(
            *ctx.saved_tensors, grad.contiguous(), ctx.mode, wants_input, wants_flow or wants_weight
        )
        return None, g_input, g_flow if wants_flow else None, g_weight if wants_weight else None, None
