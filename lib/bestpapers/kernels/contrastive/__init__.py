"""The symmetric image-text loss of CLIP without its B x B matrix of logits: the one public function is `contrastive_loss`.

The matrix is made tile by tile, once in the forward and once in the backward pass, and each tile is used up before the next.
What the forward pass keeps is two numbers for each row and column, the largest logit and the sum of exponentials, from which
the backward pass knows every softmax. Memory so grows as B d, not as B^2. `reference.py` is the definition, `cpu.py` the form
for the CPU, `gpu.py` the one for CUDA.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor
from torch import distributed as dist
from torch.autograd.function import once_differentiable

from .. import arguments, dispatch
from . import reference

__all__ = ["contrastive_loss"]


def contrastive_loss(
    image_features: Tensor,
    text_features: Tensor,
    logit_scale: Tensor,
    *,
    backend: str = "auto",
    group: dist.ProcessGroup | None = None,
    local_loss: bool = False,
    gather_with_grad: bool = False,
) -> Tensor:
    """1/2 [CE(s V T^t, diagonal) + CE(s T V^t, diagonal)]: each image among all texts, each text among all images.

    Names, values and gradients are those of `open_clip.ClipLoss`; gradients flow to all three tensors.

    Shapes:
        image_features, text_features  [B, d]  row i of one belongs to row i of the other; normalised by the caller
        logit_scale                    []      s, the multiplier itself (after exp), any finite number
        -> the loss, a number [], natural logarithm

    Types: the features are both float32, or both float64 (then only the reference runs), or both float16 or bfloat16: these
    are widened to float32 first, and their gradients come back in their own type. The scale may be of any float type. The
    loss is computed and returned in the wide type, under autocast as well.

    Args:
        backend: "auto" (Triton on CUDA, Numba on CPU, else the reference), "reference", "numba" or "triton".
        group: None: all pairs are here, even if torch.distributed runs. A process group (`torch.distributed.group.WORLD`):
            every rank brings B pairs, and all W B of them are compared. The features of all ranks are gathered on each.
        local_loss: False: every rank computes the loss of all pairs. True: of its own pairs among all, a W-th of the work.
        gather_with_grad: True: what a rank's features do to the losses of other ranks comes back to them as gradient.
            Averaged over the ranks, as DDP does, gradients are then those of one process with the whole batch. False: the
            features of other ranks are constants. Without local_loss that makes the gradient W times smaller; with
            local_loss it points in another direction, though the loss looks right.

    Raises:
        ValueError: a shape, type or value is wrong (NaN and infinity included); the message names the argument.
        RuntimeError: the backend asked for cannot run here; the message says why.

    Sources: Radford et al. 2021 (CLIP); open_clip/loss.py for the ranks. Sums of exponentials with a running maximum: Milakov
    and Gimelshein 2018.
    """
    _check(image_features, text_features, logit_scale, group, local_loss or gather_with_grad)
    dtype = torch.promote_types(image_features.dtype, torch.float32)
    name = dispatch.choose("contrastive_loss", backend, image_features.device, dtype)
    ops = reference if name == "reference" else _compiled(name)

    images, texts, first = image_features, text_features, 0
    if group is not None:
        rank, count = dist.get_rank(group), len(images)
        images, texts = _gather(images, texts, group, gather_with_grad)
        first = rank * count
        if not local_loss and not gather_with_grad:  # constants, but for the own rows
            images, texts = (
                torch.cat([everyone[:first], own, everyone[first + count :]])
                for everyone, own in ((images, image_features), (texts, text_features))
            )
    _check_finite(images, texts, logit_scale, len(image_features), group)

    with torch.autocast(images.device.type, enabled=False):
        images, texts, scale = images.to(dtype), texts.to(dtype), logit_scale.to(dtype)
        if group is None or not local_loss:
            return ops.both_ways(images, texts, scale)
        own_images, own_texts = image_features.to(dtype), text_features.to(dtype)
        return (ops.one_way(own_images, texts, scale, first) + ops.one_way(own_texts, images, scale, first)) / 2


# ---- input ----------------------------------------------------------------------------------------------------------------


_need = arguments.needs("contrastive_loss")


def _check(images, texts, scale, group, flags: bool) -> None:
    """Refuse bad arguments with a sentence. Sizes are compared among ranks, since a gather of unequal ones may hang."""
    arguments.check_tensors(_need, dict(image_features=images, text_features=texts, logit_scale=scale))
    _need(images.dim() == 2, f"image_features must have shape [B, d], got {list(images.shape)}")
    _need(images.numel() > 0, f"image_features is empty: its shape is {list(images.shape)}; give at least one pair")
    _need(
        texts.shape == images.shape,
        f"text_features must have the shape of image_features, {list(images.shape)}, got {list(texts.shape)}",
    )
    _need(
        texts.dtype == images.dtype,
        f"text_features is {texts.dtype} but image_features is {images.dtype}; use one float type for both",
    )
    _need(scale.dim() == 0, f"logit_scale must be a number, a tensor of shape [], got {list(scale.shape)}")
    _need(
        group is not None or not flags,
        "local_loss and gather_with_grad say how ranks share their features: give the process group too, such as "
        "group=torch.distributed.group.WORLD",
    )
    if group is not None:
        shape = torch.tensor(images.shape, device=images.device)
        shapes = [torch.empty_like(shape) for _ in range(dist.get_world_size(group))]
        dist.all_gather(shapes, shape, group=group)
        sizes = [tuple(s.tolist()) for s in shapes]
        listed = ", ".join(f"rank {r} {list(s)}" for r, s in enumerate(sizes))
        _need(len(set(sizes)) == 1, f"all ranks must bring features of one shape, got {listed} (drop the last batch?)")


def _check_finite(images, texts, scale, count: int, group) -> None:
    """After the gather: a NaN in the features of one rank stops all, where otherwise the others would wait for ever."""
    found = arguments.first_not_finite(dict(image_features=images, text_features=texts, logit_scale=scale))
    if found is None:
        return
    name, index, value, bad = found
    where = ""
    if group is not None and index:
        where, index = f" on rank {index[0] // count}", [index[0] % count, *index[1:]]
    _need(False, f"{name}{index or ''} is {value}{where}; {bad} values of {name} are not finite")


# ---- ranks ----------------------------------------------------------------------------------------------------------------


def _gather(images: Tensor, texts: Tensor, group, with_grad: bool) -> tuple[Tensor, Tensor]:
    """The features of all ranks in their order, [W B, d] each; constants unless `with_grad`."""
    with torch.set_grad_enabled(with_grad and torch.is_grad_enabled()):
        everyone = _AllGather.apply(torch.stack([images, texts]), group)  # one message for both
        return everyone[:, 0].flatten(0, 1), everyone[:, 1].flatten(0, 1)


class _AllGather(torch.autograd.Function):
    """[...] on every rank -> [W, ...]; the gradient of a rank's part is the sum of what all ranks have for it."""

    @staticmethod
    def forward(ctx, own, group):
        ctx.group = group
        parts = [torch.empty_like(own) for _ in range(dist.get_world_size(group))]
        dist.all_gather(parts, own, group=group)
        return torch.stack(parts)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        total = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=ctx.group)  # a reduce-scatter would do, but not every backend has one
        return total[dist.get_rank(ctx.group)], None


# ---- autograd -------------------------------------------------------------------------------------------------------------


class Sums(NamedTuple):
    """What the forward pass of a backend returns, for logits [m, n] between m queries and n keys.

    row_max [m], col_max [n]: the largest logit of each row and column
    row_sum [m], col_sum [n]: the sum of exp(logit - largest), at least 1
    label [m]: the logit of each query's own key. Taken from the same product as the others, it makes max - label + log(sum)
        a sum of terms >= 0 that keeps its digits where the loss is small.

    A side without softmax has max = sum = infinity, which makes its probabilities exp(logit - max) / sum zero.
    """

    row_max: Tensor
    row_sum: Tensor
    col_max: Tensor
    col_sum: Tensor
    label: Tensor


class _Compiled:
    """Autograd around the hand-written forward and backward passes of one module (`cpu` or `gpu`)."""

    def __init__(self, module: ModuleType):
        self.module = module

    def one_way(self, queries: Tensor, keys: Tensor, scale: Tensor, first: int = 0) -> Tensor:
        return _Loss.apply(self.module, queries, keys, scale, first, False)

    def both_ways(self, images: Tensor, texts: Tensor, scale: Tensor) -> Tensor:
        return _Loss.apply(self.module, images, texts, scale, 0, True)


def _compiled(name: str) -> _Compiled:
    # imported on first use: compilers are slow to load
    return _Compiled(importlib.import_module(f"{__name__}.{dispatch.PASSES[name]}"))


class _Loss(torch.autograd.Function):
    """Mean over the rows of logsumexp(logits) - label, averaged with the same over the columns if `both`."""

    @staticmethod
    def forward(ctx, module, queries, keys, scale, first, both):
        queries, keys = queries.contiguous(), keys.contiguous()
        sums = Sums(*module.forward(queries, keys, scale, first, both))
        ctx.module, ctx.first, ctx.both = module, first, both
        ctx.save_for_backward(queries, keys, scale, *sums)
        loss = _mean_loss(sums.row_max, sums.row_sum, sums.label)
        if both:
            loss = (loss + _mean_loss(sums.col_max, sums.col_sum, sums.label)) / 2
        return loss.to(queries.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        queries, keys, scale, *rest = ctx.saved_tensors
        sums, (_, wants_queries, wants_keys, wants_scale, _, _) = Sums(*rest), ctx.needs_input_grad
        need = (wants_queries or not wants_keys, wants_keys)
        # G keys and G^t queries with G = dL/dlogits, without the scale: so the scale's own gradient, the sum of
        # G * (queries keys^t), costs no pass over the tiles. It is that of (G keys) * queries
        g_queries, g_keys = ctx.module.backward(queries, keys, scale, ctx.first, ctx.both, sums, need)
        g_scale = None
        if wants_scale:
            pair = (g_keys, keys) if g_queries is None else (g_queries, queries)
            g_scale = grad * _inner(*pair).to(grad.dtype)
        factor = grad * scale
        g_queries = g_queries.mul_(factor) if wants_queries else None
        g_keys = g_keys.mul_(factor) if wants_keys else None
        return None, g_queries, g_keys, g_scale, None, None


def _mean_loss(largest: Tensor, total: Tensor, label: Tensor) -> Tensor:
    return ((largest - label).double() + total.double().log()).mean()


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """sum(a * b) in float64, some rows at a time: torch makes a float64 copy of what it sums."""
    parts = [(x * y).sum(dtype=torch.float64) for x, y in zip(a.split(512), b.split(512), strict=True)]
    return torch.stack(parts).sum()
