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
    B, _, H, W = input.shape
    none = flow.new_empty(0, 0, 0, 0)
    g_input = torch.empty_like(input) if wants_input else none
    g_flow, g_weight = (flow.new_empty(B, n, H, W) if wants_rest else none for n in (2, 1))
    tensors = (input.flatten(2), flow, weight, output.flatten(2), top.flatten(1), total.flatten(1), grad.flatten(2))
    _pull_rows(*arrays(*tensors), MODE[mode], *arrays(g_input, g_flow, g_weight))
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
def _pull(at, share, grad, out):
    """The gradient of a row of a channel: what its four targets have, by share."""
    for i in range(len(out)):
        total = F(0)
        for k in range(4):
            total += share[i, k] * grad[U(at[i, k])]
        out[i] = total


@njit(**SERIAL)
def _worth(at, x, output, grad, minus, worth):
    """Add to worth [W, 4] what a channel says: grad (X - output), what more of this source is worth to each of its
    targets."""
    for i in range(len(x)):
        for k in range(4):
            p = U(at[i, k])
            worth[i, k] += grad[p] * (x[i] - minus * output[p])


@njit(**PARALLEL)
def _pull_rows(input, flow, weight, output, top, total, grad, mode, g_input, g_flow, g_weight):
    """A program per row of sources; the channels one by one; the row as the vector."""
    B, C, _ = input.shape
    _, _, H, W = flow.shape
    for task in prange(B * H):
        b, y = task // H, task % H
        at, share = np.empty((W, 4), np.int32), np.empty((W, 4), np.float32)
        strength, inverse = np.empty((W, 4), np.float32), np.empty((W, 4), np.float32)  # e, and 1 over the denominator
        fx, fy, z = flow[b, 0, y], flow[b, 1, y], weight[b, 0, y]
        for x in range(W):
            column, row, inside = _lands(fx[x], fy[x], x, y, W, H)
            for k in range(4):
                i, j = column + k % 2, row + k // 2
                there = inside and 0 <= i < W and 0 <= j < H
                p = j * W + i if there else 0
                everything = total[b, p] if mode > 0 else F(1)
                there = there and everything > SMALL
                at[x, k] = p
                strength[x, k] = _strength(z[x], top[b, p], mode)
                inverse[x, k] = F(1) / everything if there else F(0)
                share[x, k] = _bilinear(fx[x], fy[x], k) * strength[x, k] * inverse[x, k] if there else F(0)
        if g_input.size:
            for c in range(C):
                _pull(at, share, grad[b, c], g_input[b, c, y])
        if g_flow.size:
            worth = np.zeros((W, 4), np.float32)
            for c in range(C):
                _worth(at, input[b, c, y * W : (y + 1) * W], output[b, c], grad[b, c], F(mode > 0), worth)
            for x in range(W):
                right, down = fx[x] - np.floor(fx[x]), fy[x] - np.floor(fy[x])
                left, up = np.floor(fx[x]) + F(1) - fx[x], np.floor(fy[x]) + F(1) - fy[x]
                g_x, g_y, g_z = F(0), F(0), F(0)
                for k in range(4):
                    if inverse[x, k] > F(0):  # a source without targets has no gradient, even if its input is no number
                        own = worth[x, k] * inverse[x, k]
                        along_x, along_y = right if k % 2 else left, down if k >= 2 else up
                        g_x += own * strength[x, k] * along_y * (F(1) if k % 2 else F(-1))
                        g_y += own * strength[x, k] * along_x * (F(1) if k >= 2 else F(-1))
                        g_z += own * along_x * along_y * (strength[x, k] if mode == 3 else F(1) / top[b, at[x, k]])
                g_flow[b, 0, y, x], g_flow[b, 1, y, x] = g_x, g_y
                g_weight[b, 0, y, x] = g_z if mode >= 2 else F(0)


renew(__name__, reference)
