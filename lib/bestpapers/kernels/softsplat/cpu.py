"""Splatting on the CPU: a program per band of target rows, a loop over its sources, four channels at a time.

1. *Sort.* The sources are dealt out by the row in which they land (a counting sort), so that each band has a list of
   its own.
2. *Own.* A band adds up its list in a small buffer, which no other program writes to, and in the order of the list. So
   there is no race, and the sums do not depend on the number of threads. A source that lands between two bands is in
   both lists; each band drops what falls outside of it.
3. *Shares first.* What a source gives to each of its four targets is found once, divided by the target's total already.
   Then a channel costs four multiplications and additions per source.

The backward pass needs no list: a source asks its four targets, and nobody else writes its gradient. There, a program
has a row of sources.
"""

from __future__ import annotations

import llvmlite.ir as ir
import numpy as np
import torch
from numba import njit, prange, types
from numba.extending import intrinsic
from torch import Tensor

from ..loops import FAR, PARALLEL, SERIAL, arrays, exp_neg, renew
from . import reference

F = np.float32
U = np.uint64  # an index that cannot be negative needs no check for "from the end"
SMALL = F(reference.SMALL)
BAND = 16  # target rows of a band
ROWS = 4  # source rows of a program of the backward pass
CHUNKS = 16  # pieces of an image that threads share out when they sort
MODE = dict(summation=0, average=1, linear=2, softmax=3)


def forward(input: Tensor, flow: Tensor, weight: Tensor, mode: str) -> tuple[Tensor, Tensor, Tensor]:
    """output [B, C, H, W], top [B, H, W] (only where there is a weight) and total [B, H, W]."""
    B, _, H, W = input.shape
    output, top, total = torch.empty_like(input), flow.new_empty(B, H, W), flow.new_empty(B, H, W)
    x, f, z, *out = arrays(input.flatten(2), flow, weight, output, top, total)
    _splat_bands(x, f, z, MODE[mode], *_sort(f), *out)
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
    # what is not wanted is not written: any tensor of the shape will do
    g_input = torch.empty_like(input) if wants_input else grad
    g_flow, g_weight = (
        (torch.empty_like(flow), flow.new_empty(len(flow), 1, *flow.shape[2:])) if wants_rest else (flow, flow)
    )
    tensors = (input.flatten(2), flow, weight, output.flatten(2), top.flatten(1), total.flatten(1), grad.flatten(2))
    results = *arrays(g_input.flatten(2)), wants_input, *arrays(g_flow, g_weight), wants_rest
    _pull_rows(*arrays(*tensors), MODE[mode], *results)
    return g_input if wants_input else None, *((g_flow, g_weight) if wants_rest else (None, None))


def _sort(flow: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The sources in the order of the rows in which they land, where each of them lands, and where each row begins.

    flow [B, 2, H, W] -> order, cell [B, H W] int32, first [B, H + 2] int64: the sources order[b, first[b, y] : first[b,
    y + 1]] land between the rows y - 1 and y. Those that land nowhere are left out. A cell is the number of the target
    up and to the left, in an image with one more row and column on each side: so sources on the edge need no special
    case.
    """
    B, _, H, W = flow.shape
    count = np.zeros((B, CHUNKS, H + 2), np.int64)
    _count_rows(flow, count)
    ends = count.transpose(0, 2, 1).reshape(B, -1).cumsum(1).reshape(B, H + 2, CHUNKS).transpose(0, 2, 1)
    fill = ends - count  # where each chunk begins to write into each row's part
    order, cell = np.empty((B, H * W), np.int32), np.empty((B, H * W), np.int32)
    first = fill[:, 0].copy()
    _deal(flow, np.ascontiguousarray(fill), order, cell)
    return order, cell, first


@njit(inline="always", **SERIAL)
def _lands(fx, fy, x, y, W, H):
    """The pixel up and to the left of the point where source (x, y) lands, and whether any of the four around it is
    inside."""
    # a NaN fails every comparison; so numbers are only turned into integers where they are small
    px, py = np.floor(fx) + F(x), np.floor(fy) + F(y)
    inside = (px >= F(-1)) & (px < F(W)) & (py >= F(-1)) & (py < F(H))
    return (int(px) if inside else 0), (int(py) if inside else 0), inside


@njit(**PARALLEL)
def _count_rows(flow, count):
    """How many sources of each chunk land in each row: count [B, CHUNKS, H + 2]; row -1 is counted at 0."""
    B, _, H, W = flow.shape
    for task in prange(B * CHUNKS):
        b, chunk = task // CHUNKS, task % CHUNKS
        for y in range(chunk * H // CHUNKS, (chunk + 1) * H // CHUNKS):
            for x in range(W):
                _, row, inside = _lands(flow[b, 0, y, x], flow[b, 1, y, x], x, y, W, H)
                if inside:
                    count[b, chunk, row + 1] += 1


@njit(**PARALLEL)
def _deal(flow, fill, order, cell):
    B, _, H, W = flow.shape
    for task in prange(B * CHUNKS):
        b, chunk = task // CHUNKS, task % CHUNKS
        for y in range(chunk * H // CHUNKS, (chunk + 1) * H // CHUNKS):
            for x in range(W):
                column, row, inside = _lands(flow[b, 0, y, x], flow[b, 1, y, x], x, y, W, H)
                if inside:
                    at = fill[b, chunk, row + 1]
                    fill[b, chunk, row + 1] = at + 1
                    order[b, at], cell[b, at] = y * W + x, (row + 1) * (W + 2) + column + 1


@njit(inline="always", **SERIAL)
def _bilinear(fx, fy, k):
    """b of corner k: 0 and 1 above, 0 and 2 to the left. Taken of the flow, not of the position, so that no digit is
    lost."""
    along_x = fx - np.floor(fx) if k % 2 else np.floor(fx) + F(1) - fx
    along_y = fy - np.floor(fy) if k >= 2 else np.floor(fy) + F(1) - fy
    return along_x * along_y


@njit(inline="always", **SERIAL)
def _strength(z, top, mode):
    """e^Z or Z relative to the largest that reaches the target; 1 where there is no weight."""
    if mode == 3:
        s = max(top - z, F(0))
        return exp_neg(min(s, FAR)) if s <= FAR else F(0)
    if mode == 2:
        return min(z / (top if top > F(0) else F(1)), F(1))
    return F(1)


@njit(**SERIAL)
def _times_exp_neg(share, s):
    for j in range(len(share)):
        below = max(s[j], F(0))
        e = exp_neg(min(below, FAR))
        share[j] *= e if below <= FAR else F(0)


@njit(**SERIAL)
def _divide(share, total):
    for j in range(len(share)):
        share[j] = share[j] / total[j] if total[j] > SMALL else F(0)


@njit(**SERIAL)
def _shares(q, at, width, flow_x, flow_y, weight, mode, share, own, top, total):
    """The shares of a band's sources q [n] in their four targets at, at + 1, at + width and at + width + 1.

    share [n, 4]; top, total: a number for each target, the largest weight and the denominator; own [n, 4]: memory to
    work in, for what each source reads at its targets, so that the loops with an exponential and a division run over
    plain rows
    """
    top[:], total[:] = F(-np.inf), F(0)
    for i in range(len(q)):
        for k in range(4):
            share[i, k] = _bilinear(flow_x[q[i]], flow_y[q[i]], k)
            if mode >= 2 and share[i, k] > SMALL:
                p = at[i] + k // 2 * width + k % 2
                top[p] = max(top[p], weight[q[i]])
    if mode >= 2:
        for i in range(len(q)):
            for k in range(4):
                largest = top[at[i] + k // 2 * width + k % 2]
                if mode == 3:
                    own[i, k] = largest - weight[q[i]]
                else:
                    share[i, k] *= _strength(weight[q[i]], largest, mode)
        if mode == 3:
            _times_exp_neg(share.reshape(-1), own.reshape(-1))
    for i in range(len(q)):
        for k in range(4):
            total[at[i] + k // 2 * width + k % 2] += share[i, k]
    if mode > 0:
        for i in range(len(q)):
            for k in range(4):
                own[i, k] = total[at[i] + k // 2 * width + k % 2]
        _divide(share.reshape(-1), own.reshape(-1))


@intrinsic
def _add_four(typing, buffer, at, weight, values):
    """buffer[at : at + 4] += weight * values in one instruction each: values is a tuple of four float32.

    The compiler finds vectors in loops. To find them in four neighbouring lines is a search that Numba leaves out, so
    here the vector is spelt out: it makes `_add` twice as fast.
    """

    def generate(context, builder, signature, arguments):
        array, index, w, four = arguments
        vector = ir.VectorType(ir.FloatType(), 4)
        x, ws = ir.Constant(vector, ir.Undefined), ir.Constant(vector, ir.Undefined)
        for k in range(4):
            lane = ir.Constant(ir.IntType(32), k)
            x = builder.insert_element(x, builder.extract_value(four, k), lane)
            ws = builder.insert_element(ws, w, lane)
        first = context.make_array(signature.args[0])(context, builder, array).data
        place = builder.bitcast(builder.gep(first, [index]), vector.as_pointer())
        product = builder.fmul(x, ws, flags=["contract"])
        builder.store(builder.fadd(builder.load(place, align=4), product, flags=["contract"]), place, align=4)
        return context.get_dummy_value()

    return types.void(buffer, at, weight, values), generate


@njit(**SERIAL)
def _add(q, at, share, width, x0, x1, x2, x3, buffer):
    """Add four channels of the sources to the buffer, where the four numbers of a target lie side by side."""
    below = U(4 * width)
    for i in range(len(q)):
        s, p = U(q[i]), U(4) * U(at[i])
        four = (x0[s], x1[s], x2[s], x3[s])
        _add_four(buffer, p, share[i, 0], four)  # type: ignore[call-arg]
        _add_four(buffer, p + U(4), share[i, 1], four)
        _add_four(buffer, p + below, share[i, 2], four)
        _add_four(buffer, p + below + U(4), share[i, 3], four)


@njit(**SERIAL)
def _take_out(buffer, y0, y1, W, out0, out1, out2, out3):
    """Copy the rows y0 to y1 of four channels from the buffer."""
    for y in range(y0, y1):
        begin = 4 * ((y - y0 + 1) * (W + 2) + 1)
        row = buffer[begin : begin + 4 * W]
        r0, r1, r2, r3 = out0[y], out1[y], out2[y], out3[y]
        for x in range(W):
            r0[x], r1[x], r2[x], r3[x] = row[4 * x], row[4 * x + 1], row[4 * x + 2], row[4 * x + 3]


@njit(**PARALLEL)
def _splat_bands(input, flow, weight, mode, order, cell, first, output, top, total):
    """A program per band of target rows; its list of sources; four channels at a time."""
    B, C, _ = input.shape
    _, H, W = top.shape
    width, bands = W + 2, (H + BAND - 1) // BAND
    for task in prange(B * bands):
        b, y0 = task // bands, task % bands * BAND
        y1 = min(H, y0 + BAND)
        begin, end = first[b, y0], first[b, y1 + 1]
        q, at = order[b, begin:end], cell[b, begin:end] - np.int32(y0 * width)  # the buffers begin at the row above y0
        share, own = np.empty((len(q), 4), np.float32), np.empty((len(q), 4), np.float32)
        cells = (y1 - y0 + 2) * width
        tops, totals, buffer = np.empty(cells, np.float32), np.empty(cells, np.float32), np.empty(4 * cells, np.float32)
        flow_x, flow_y, z = flow[b, 0].reshape(-1), flow[b, 1].reshape(-1), weight[b, 0].reshape(-1)
        _shares(q, at, width, flow_x, flow_y, z, mode, share, own, tops, totals)
        for y in range(y0, y1):
            inner = (y - y0 + 1) * width + 1
            top[b, y], total[b, y] = tops[inner : inner + W], totals[inner : inner + W]
        for c in range(0, C, 4):
            # past the last channel, the last one is done once more
            c1, c2, c3 = min(c + 1, C - 1), min(c + 2, C - 1), min(c + 3, C - 1)
            x, out = input[b], output[b]
            buffer[:] = F(0)
            _add(q, at, share, width, x[c], x[c1], x[c2], x[c3], buffer)
            _take_out(buffer, y0, y1, W, out[c], out[c1], out[c2], out[c3])


@njit(**SERIAL)
def _aim(flow_x, flow_y, weight, top, total, mode, y0, W, H, at, strength, inverse, share):
    """The four targets of the sources in whole rows from y0 on, and what each says: all [n, 4].

    at: their numbers; strength: e, 1 where there is no weight; inverse: 1 over the denominator, 0 for a target that is
    outside or a hole; share: b e / denominator
    """
    for i in range(len(at)):
        s = y0 * W + i
        column, row, inside = _lands(flow_x[s], flow_y[s], i % W, y0 + i // W, W, H)
        for k in range(4):
            x, y = column + k % 2, row + k // 2
            there = inside and 0 <= x < W and 0 <= y < H
            p = y * W + x if there else 0
            at[i, k] = p
            inverse[i, k] = F(1) if there else F(0)
            strength[i, k] = _strength(weight[s], top[p], mode) if mode == 2 else F(1)
            share[i, k] = top[p] - weight[s] if mode == 3 else F(0)
    if mode == 3:
        _times_exp_neg(strength.reshape(-1), share.reshape(-1))
    if mode > 0:
        for i in range(len(at)):
            for k in range(4):
                share[i, k] = total[at[i, k]]
        _divide(inverse.reshape(-1), share.reshape(-1))
    for i in range(len(at)):
        for k in range(4):
            b = _bilinear(flow_x[y0 * W + i], flow_y[y0 * W + i], k)
            share[i, k] = b * strength[i, k] * inverse[i, k] if inverse[i, k] > F(0) else F(0)


@njit(**SERIAL)
def _pull(c, first, at, share, minus, x, output, grad, g_input, wants_input, worth, wants_worth):
    """Four channels from c on of the sources from `first` on: their gradient, and what they add to `worth`.

    The gradient is what the four targets have, by share. worth [n, 4] is grad (X - output): what more of this source
    would be worth to each of its targets. Past the last channel, the last one is done once more, with a gradient of 0.
    """
    last = len(x) - 1
    c1, c2, c3 = min(c + 1, last), min(c + 2, last), min(c + 3, last)
    live1, live2, live3 = F(c + 1 <= last), F(c + 2 <= last), F(c + 3 <= last)
    for i in range(len(at)):
        q = U(first + i)
        pull0, pull1, pull2, pull3 = F(0), F(0), F(0), F(0)
        for k in range(4):
            p, w = U(at[i, k]), share[i, k]
            g0, g1, g2, g3 = grad[c, p], live1 * grad[c1, p], live2 * grad[c2, p], live3 * grad[c3, p]
            pull0, pull1, pull2, pull3 = pull0 + w * g0, pull1 + w * g1, pull2 + w * g2, pull3 + w * g3
            if wants_worth:
                first_pair = g0 * (x[c, q] - minus * output[c, p]) + g1 * (x[c1, q] - minus * output[c1, p])
                other_pair = g2 * (x[c2, q] - minus * output[c2, p]) + g3 * (x[c3, q] - minus * output[c3, p])
                worth[i, k] += first_pair + other_pair
        if wants_input:
            g_input[c3, q], g_input[c2, q], g_input[c1, q], g_input[c, q] = pull3, pull2, pull1, pull0


@njit(**SERIAL)
def _finish(flow_x, flow_y, top, mode, at, strength, inverse, worth, g_x, g_y, g_z):
    """Gradients of flow and weight of some sources, from what they are worth to their targets."""
    for i in range(len(at)):
        fx, fy = flow_x[i], flow_y[i]
        right, down = fx - np.floor(fx), fy - np.floor(fy)
        left, up = np.floor(fx) + F(1) - fx, np.floor(fy) + F(1) - fy
        x, y, z = F(0), F(0), F(0)
        for k in range(4):
            if inverse[i, k] > F(0):  # a source without targets has no gradient, even if its input is no number
                own = worth[i, k] * inverse[i, k]
                along_x, along_y = right if k % 2 else left, down if k >= 2 else up
                x += own * strength[i, k] * along_y * (F(1) if k % 2 else F(-1))
                y += own * strength[i, k] * along_x * (F(1) if k >= 2 else F(-1))
                z += own * along_x * along_y * (strength[i, k] if mode == 3 else F(1) / top[at[i, k]])
        g_x[i], g_y[i], g_z[i] = x, y, z if mode >= 2 else F(0)


@njit(**PARALLEL)
def _pull_rows(
    input, flow, weight, output, top, total, grad, mode, g_input, wants_input, g_flow, g_weight, wants_rest
):  # fmt: skip
    """A program per four rows of sources; four channels at a time."""
    B, C, _ = input.shape
    _, _, H, W = flow.shape
    blocks = (H + ROWS - 1) // ROWS
    for task in prange(B * blocks):
        b, y0 = task // blocks, task % blocks * ROWS
        first, end = y0 * W, min(H, y0 + ROWS) * W
        flow_x, flow_y, z = flow[b, 0].reshape(-1), flow[b, 1].reshape(-1), weight[b, 0].reshape(-1)
        at, worth = np.empty((end - first, 4), np.int32), np.zeros((end - first, 4), np.float32)
        strength, inverse, share = np.empty_like(worth), np.empty_like(worth), np.empty_like(worth)
        _aim(flow_x, flow_y, z, top[b], total[b], mode, y0, W, H, at, strength, inverse, share)
        minus = F(mode > 0)  # a sum is no mean: there, more of a source takes nothing from the others
        for c in range(0, C, 4):
            _pull(
                c, first, at, share, minus, input[b], output[b], grad[b], g_input[b], wants_input, worth, wants_rest
            )  # fmt: skip
        if wants_rest:
            g_x, g_y, g_z = g_flow[b, 0].reshape(-1), g_flow[b, 1].reshape(-1), g_weight[b, 0].reshape(-1)
            _finish(
                flow_x[first:end], flow_y[first:end], top[b], mode, at, strength, inverse, worth,
                g_x[first:end], g_y[first:end], g_z[first:end],
            )  # fmt: skip


renew(__name__, reference)
