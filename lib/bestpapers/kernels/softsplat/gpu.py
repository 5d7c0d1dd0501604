"""Splatting on the GPU, in Triton: a program per block of targets, a loop over the sources that land around them.

The usual way has a thread per source add to its four targets by atomics, in an order that differs from run to run. Here
the sources are sorted by the cell in which they land, the square between four pixels. A target then finds its sources
in four segments of that order, one for each cell around it, and adds them up by itself: no atomics, and equal runs give
equal bits. The CPU does the same with bands of rows in place of cells.

The backward pass needs no list: a program has a block of sources, each of which asks its four targets.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..programs import BLOCK, launch
from . import reference

SMALL = tl.constexpr(reference.SMALL)
CHANNELS = 8  # channels that a program adds up at a time
MODE = dict(summation=0, average=1, linear=2, softmax=3)


def forward(input: Tensor, flow: Tensor, weight: Tensor, mode: str) -> tuple[Tensor, Tensor, Tensor]:
    """output [B, C, H, W], top [B, H, W] (only where there is a weight) and total [B, H, W]."""
    B, C, H, W = input.shape
    output, top, total = torch.empty_like(input), flow.new_empty(B, H, W), flow.new_empty(B, H, W)
    order, start = _sort(flow)
    lists, blocks = (flow, weight, order, start, top, total), -(-B * H * W // BLOCK)
    launch(_totals, blocks, *lists, B * H * W, H, W, MODE=MODE[mode], BLOCK=BLOCK)
    groups = -(-C // CHANNELS)
    launch(
        _splat, (blocks, groups), *lists, input, output, B * H * W, C, H, W,
        MODE=MODE[mode], BLOCK=BLOCK, CHANNELS=CHANNELS,
    )  # fmt: skip
    return output, top, total


def backward(
    input: Tensor,
    flow: Tensor,
    weight: Tensor,
    output: Tensor,
    top: Tensor,
    total: Tensor,
    grad: Tensor,
    mode: str,
    wants_input: bool,
    wants_rest: bool,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of input, flow and weight; None for what is not wanted."""
    B, C, H, W = input.shape
    g_input = torch.empty_like(input) if wants_input else None
    g_flow, g_weight = (torch.empty_like(flow), flow.new_empty(B, 1, H, W)) if wants_rest else (None, None)
    launch(
        _pull, -(-B * H * W * 4 // BLOCK), input, flow, weight, output, top, total, grad,
        *(flow if g is None else g for g in (g_input, g_flow, g_weight)), B * H * W, C, H, W,
        MODE=MODE[mode], BLOCK=BLOCK // 4, WANTS_INPUT=wants_input, WANTS_REST=wants_rest,
    )  # fmt: skip
    return g_input, g_flow, g_weight


def _sort(flow: Tensor) -> tuple[Tensor, Tensor]:
    """The sources in the order of the cells in which they land, and where each cell begins.

    flow [B, 2, H, W] -> order [B H W] int32, start [B (H + 1) (W + 1) + 1] int32: cell (x, y) is the square whose upper
    left pixel is (x - 1, y - 1), and its sources are order[start[cell] : start[cell + 1]]. Those that land nowhere come
    last.
    """
    B, _, H, W = flow.shape
    x = flow[:, 0].floor() + torch.arange(W, device=flow.device)
    y = flow[:, 1].floor() + torch.arange(H, device=flow.device)[:, None]
    inside = (x >= -1) & (x < W) & (y >= -1) & (y < H)  # a NaN fails every comparison
    image = torch.arange(B, device=flow.device)[:, None, None]
    cells = B * (H + 1) * (W + 1)
    cell = (image * (H + 1) + (y + 1).where(inside, 0).int()) * (W + 1) + (x + 1).where(inside, 0).int()
    sorted_cells, order = cell.where(inside, cells).int().flatten().sort(stable=True)
    numbers = torch.arange(cells + 1, dtype=torch.int32, device=flow.device)
    return order.int(), torch.searchsorted(sorted_cells, numbers, out_int32=True)


@triton.jit
def _bilinear(FLOW, image, s, size, live, k):
    """b of corner k of sources s: 0 and 1 above, 0 and 2 to the left. Taken of the flow, so that no digit is lost."""
    fx = tl.load(FLOW + image * 2 * size + s, mask=live, other=0.0)
    fy = tl.load(FLOW + (image * 2 + 1) * size + s, mask=live, other=0.0)
    along_x = tl.where(k % 2 == 1, fx - tl.floor(fx), tl.floor(fx) + 1 - fx)
    along_y = tl.where(k >= 2, fy - tl.floor(fy), tl.floor(fy) + 1 - fy)
    return tl.where(live, along_x * along_y, 0.0)


@triton.jit
def _strength(z, top, MODE: tl.constexpr):
    """e^Z or Z relative to the largest that reaches the target; 1 where there is no weight."""
    if MODE == 3:
        e = tl.exp(tl.minimum(z - top, 0.0))
    elif MODE == 2:
        e = tl.minimum(z / tl.where(top > 0.0, top, 1.0), 1.0)
    else:
        e = tl.full(z.shape, 1.0, tl.float32)
    return e


@triton.jit
def _segment(START, p, live, k, H, W):
    """Image of targets p, and the sources that have them as corner k: where they begin in the order, and how many."""
    image, y, x = p // (H * W), p // W % H, p % W
    # a source has this pixel as its upper left corner (k = 0) if its cell begins here, which is cell (x + 1, y + 1)
    cell = (image * (H + 1) + y + 1 - k // 2) * (W + 1) + x + 1 - k % 2
    first = tl.load(START + cell, mask=live, other=0)
    return image.to(tl.int64), first, tl.load(START + cell + 1, mask=live, other=0) - first


@triton.jit
def _totals(FLOW, WEIGHT, ORDER, START, TOP, TOTAL, n, H, W, MODE: tl.constexpr, BLOCK: tl.constexpr):
    """A program per block of targets: the largest weight that reaches each, then the denominator relative to it."""
    p = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside, size = p < n, H * W
    top = tl.full([BLOCK], -float("inf"), tl.float32)
    if MODE >= 2:
        for k in range(4):
            image, first, count = _segment(START, p, inside, k, H, W)
            for i in range(tl.max(count)):
                live = i < count
                s = tl.load(ORDER + first + i, mask=live, other=0) % size
                z = tl.load(WEIGHT + image * size + s, mask=live, other=0.0)
                top = tl.where(_bilinear(FLOW, image, s, size, live, k) > SMALL, tl.maximum(top, z), top)
    total = tl.zeros([BLOCK], tl.float32)
    for k in range(4):
        image, first, count = _segment(START, p, inside, k, H, W)
        for i in range(tl.max(count)):
            live = i < count
            s = tl.load(ORDER + first + i, mask=live, other=0) % size
            z = tl.load(WEIGHT + image * size + s, mask=live, other=0.0)
            total += _bilinear(FLOW, image, s, size, live, k) * tl.where(live, _strength(z, top, MODE), 0.0)
    tl.store(TOP + p, top, mask=inside)
    tl.store(TOTAL + p, total, mask=inside)


@triton.jit
def _splat(
    FLOW, WEIGHT, ORDER, START, TOP, TOTAL, INPUT, OUTPUT, n, C, H, W,
    MODE: tl.constexpr, BLOCK: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """A program per block of targets and group of channels; a loop over the sources, each by its share."""
    p = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    inside, size = p < n, H * W
    top, total = tl.load(TOP + p, mask=inside, other=0.0), tl.load(TOTAL + p, mask=inside, other=0.0)
    out = tl.zeros([CHANNELS, BLOCK], tl.float32)
    for k in range(4):
        image, first, count = _segment(START, p, inside, k, H, W)
        planes = (image[None, :] * C + c[:, None]) * size
        for i in range(tl.max(count)):
            live = i < count
            s = tl.load(ORDER + first + i, mask=live, other=0) % size
            z = tl.load(WEIGHT + image * size + s, mask=live, other=0.0)
            share = _bilinear(FLOW, image, s, size, live, k) * tl.where(live, _strength(z, top, MODE), 0.0)
            if MODE > 0:
                share = tl.where(total > SMALL, tl.div_rn(share, tl.where(total > SMALL, total, 1.0)), 0.0)
            x = tl.load(INPUT + planes + s[None, :], mask=live[None, :] & (c < C)[:, None], other=0.0)
            out += share[None, :] * x
    image = (p // size).to(tl.int64)
    place = (image[None, :] * C + c[:, None]) * size + (p % size)[None, :]
    tl.store(OUTPUT + place, out, mask=inside[None, :] & (c < C)[:, None])


@triton.jit
def _pull(
    INPUT, FLOW, WEIGHT, OUTPUT, TOP, TOTAL, GRAD, G_INPUT, G_FLOW, G_WEIGHT, n, C, H, W,
    MODE: tl.constexpr, BLOCK: tl.constexpr, WANTS_INPUT: tl.constexpr, WANTS_REST: tl.constexpr,
):  # fmt: skip
    """A program per block of sources; a loop over the channels; the four targets of each source side by side."""
    q, k = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK), tl.arange(0, 4)[:, None]
    live, size = q < n, H * W
    image, s = (q // size).to(tl.int64), q % size
    fx = tl.load(FLOW + image * 2 * size + s, mask=live, other=0.0)
    fy = tl.load(FLOW + (image * 2 + 1) * size + s, mask=live, other=0.0)
    z = tl.load(WEIGHT + image * size + s, mask=live, other=0.0)
    x, y = tl.floor(fx) + s % W, tl.floor(fy) + s // W
    near = live & (x >= -1) & (x < W) & (y >= -1) & (y < H)  # a NaN fails every comparison
    column, row = (
        tl.where(near, x, 0.0).to(tl.int32) + k % 2,
        tl.where(near, y, 0.0).to(tl.int32) + k // 2,
    )  # [4, BLOCK]
    there = near[None, :] & (column >= 0) & (column < W) & (row >= 0) & (row < H)
    at = row * W + column
    top = tl.load(TOP + image * size + at, mask=there, other=0.0)
    total = tl.load(TOTAL + image * size + at, mask=there, other=0.0)
    if MODE == 0:
        total = tl.full(at.shape, 1.0, tl.float32)
    there = there & (total > SMALL)
    inverse = tl.where(there, 1 / tl.where(there, total, 1.0), 0.0)
    strength = _strength(z + tl.zeros(at.shape, tl.float32), top, MODE)
    along_x = tl.where(k % 2 == 1, fx - tl.floor(fx), tl.floor(fx) + 1 - fx)
    along_y = tl.where(k >= 2, fy - tl.floor(fy), tl.floor(fy) + 1 - fy)
    share = tl.where(there, along_x * along_y * strength * inverse, 0.0)
    worth = tl.zeros(at.shape, tl.float32)
    for c in range(C):
        plane = (image * C + c) * size
        g = tl.load(GRAD + plane + at, mask=there, other=0.0)
        if WANTS_INPUT:
            tl.store(G_INPUT + plane + s, tl.sum(share * g, 0), mask=live)
        if WANTS_REST:
            value = tl.load(INPUT + plane + s, mask=live, other=0.0) + tl.zeros(at.shape, tl.float32)
            if MODE > 0:
                value -= tl.load(OUTPUT + plane + at, mask=there, other=0.0)
            worth += g * value
    if WANTS_REST:
        own = tl.where(there, worth * inverse, 0.0)  # no targets, no gradient, even if the input is no number
        along_x, along_y = tl.where(there, along_x, 0.0), tl.where(there, along_y, 0.0)
        by_flow = own * tl.where(there, strength, 0.0)
        by_weight = tl.zeros(at.shape, tl.float32)
        if MODE == 3:
            by_weight = by_flow * along_x * along_y
        elif MODE == 2:
            by_weight = own * along_x * along_y / tl.where(there, top, 1.0)
        tl.store(
            G_FLOW + image * 2 * size + s, tl.sum(by_flow * along_y * tl.where(k % 2 == 1, 1.0, -1.0), 0), mask=live
        )
        g_y = tl.sum(by_flow * along_x * tl.where(k >= 2, 1.0, -1.0), 0)
        tl.store(G_FLOW + (image * 2 + 1) * size + s, g_y, mask=live)
        tl.store(G_WEIGHT + image * size + s, tl.sum(by_weight, 0), mask=live)
