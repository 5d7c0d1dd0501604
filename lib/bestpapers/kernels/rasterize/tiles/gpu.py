"""The tiles' lists on the GPU: count, sort by depth, deal out, sort by tile.

A program is a block of Gaussians where tiles are counted, a block of (Gaussian, tile) pairs where they are dealt out.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from ...programs import BLOCK, launch
from .. import rules

TILE = tl.constexpr(rules.TILE)
ALPHA_MIN = tl.constexpr(rules.ALPHA_MIN)


class Tiles(NamedTuple):
    """Which Gaussians each tile draws, nearest first. G = C * N Gaussians counted over all cameras, P pairs.

    start [tiles + 1] int64: the list of tile t is pairs start[t] to start[t + 1]
    owner [P] int32: the Gaussian of each pair, in 0..G-1
    slot [P] int64: the pair's place in Gaussian order; Gaussian g owns slots first[g] to first[g] + counts[g]
    splats [G, 8]: all that a tile needs of a Gaussian, side by side
    """

    start: Tensor
    owner: Tensor
    slot: Tensor
    first: Tensor
    counts: Tensor
    splats: Tensor


def bin_tiles(means2d, conics, opacities, depths, width, height) -> Tiles:
    """Sort the Gaussians by depth and deal them out to the tiles that they reach.

    The usual way sorts pairs by a 64-bit key (tile, depth). Sorting the Gaussians by depth *before* they are dealt out leaves
    a stable sort by tile alone, whose key fits into 16 bits for up to 32,766 tiles: a radix sort in two passes, not eight.
    """
    G, (C, N) = depths.numel(), depths.shape
    tiles = C * -(-width // rules.TILE) * -(-height // rules.TILE)
    splats = _pack(means2d, conics, opacities)
    counts = torch.empty(G, dtype=torch.int32, device=depths.device)
    # Two kernels must find the same tiles, to the last one: without fused multiply-adds both round alike.
    exact = dict(BLOCK=BLOCK, enable_fp_fusion=False)
    launch(_count_tiles, -(-G // BLOCK), splats, counts, G, width, height, **exact)

    order = depths.flatten().argsort(stable=True)  # equal depths keep the order of the arrays
    each = counts[order]
    end = each.cumsum(0)
    pairs = int(end[-1]) if G else 0  # the one place where the CPU waits for the GPU
    first = torch.empty_like(end)
    first[order] = end - each
    owner = torch.repeat_interleave(order, each, output_size=pairs)  # nearest first
    tile = torch.empty(pairs, dtype=torch.int16 if tiles < 2**15 - 1 else torch.int32, device=depths.device)
    launch(_deal, -(-pairs // BLOCK), splats, owner, first, tile, N, pairs, width, height, **exact)
    tile, slot = tile.sort(stable=True)
    start = torch.searchsorted(tile, torch.arange(tiles + 1, dtype=tile.dtype, device=tile.device))
    return Tiles(start, owner[slot].int(), slot, first, counts, splats)


def _pack(means2d: Tensor, conics: Tensor, opacities: Tensor) -> Tensor:
    """Mean 2, conic 3, opacity 1 and two unused, [G, 8]: one 32-byte sector of memory per Gaussian."""
    parts = (means2d, conics, opacities[..., None], torch.zeros_like(means2d))
    return torch.cat(parts, dim=-1).reshape(-1, 8)


@triton.jit
def load_splat(SPLATS, g, live):
    """Mean (2), conic (3) and opacity of Gaussian g: a number or a vector of them. Zeros where not live."""
    row = SPLATS + g.to(tl.int64) * 8
    return (
        tl.load(row, mask=live, other=0.0),
        tl.load(row + 1, mask=live, other=0.0),
        tl.load(row + 2, mask=live, other=0.0),
        tl.load(row + 3, mask=live, other=0.0),
        tl.load(row + 4, mask=live, other=0.0),
        tl.load(row + 5, mask=live, other=0.0),
    )


@triton.jit
def _reach(my, A, B, C, o, height):
    """What of the ellipse alpha = ALPHA_MIN the rows need: its level sigma, det Q, and the pixel rows from first to last.

    The level has a hair to spare for rounding. det Q is taken in float64, for needles; where even that is not positive, the
    conic has lost its shape to float32, and the ellipse counts as unbounded.
    """
    level = tl.log(tl.maximum(o, ALPHA_MIN) / ALPHA_MIN) * (1 + 1e-5) + 1e-5
    det = (A.to(tl.float64) * C - B.to(tl.float64) * B).to(tl.float32)
    det = tl.where((A > 0.0) & (C > 0.0), det, 0.0)
    reach = tl.where(det > 0.0, tl.sqrt(2 * level * A / tl.maximum(det, 1e-37)) * (1 + 1e-6), 1e37)
    first = tl.maximum(tl.ceil(my - reach - 0.5), 0.0)
    last = tl.minimum(tl.floor(my + reach - 0.5), height - 1.0)
    return level, det, first, tl.where(o < ALPHA_MIN, -1.0, last)


@triton.jit
def _tile_span(mx, my, A, B, C, level, det, first, last, row, width):
    """First column, and number, of the tiles that the ellipse reaches in tile row `row`.

    The ellipse's right edge, as a function of y, is a hill with its top at y = -B/C * (half width): over a band of rows the
    farthest point is the top, if the band holds it, or else the band's edge nearest to it. The left edge is its mirror image
    through the centre.
    """
    low = tl.maximum(first, row * TILE) + 0.5 - my
    high = tl.minimum(last, row * TILE + (TILE - 1)) + 0.5 - my
    bounded, safe = det > 0.0, tl.where(det > 0.0, det, 1.0)
    a, c = tl.where(bounded, A, 1.0), tl.where(bounded, C, 1.0)
    top = -B / c * tl.sqrt(2 * level * c / safe)
    y = tl.minimum(tl.maximum(top, low), high)
    right = (-B * y + tl.sqrt(tl.maximum(2 * level * a - safe * y * y, 0.0))) / a
    y = tl.minimum(tl.maximum(-top, low), high)
    left = (-B * y - tl.sqrt(tl.maximum(2 * level * a - safe * y * y, 0.0))) / a
    left = tl.where(bounded, tl.maximum(tl.ceil(mx + left - 0.5), 0.0), 0.0)
    right = tl.where(bounded, tl.minimum(tl.floor(mx + right - 0.5), width - 1.0), width - 1.0)
    column = tl.minimum(left, width - 1.0).to(tl.int32) // TILE
    count = tl.maximum(right, 0.0).to(tl.int32) // TILE - column + 1
    return column, tl.where((left <= right) & (low <= high), count, 0)


@triton.jit
def _count_tiles(SPLATS, COUNT, G, width, height, BLOCK: tl.constexpr):
    """A program per block of Gaussians; a loop over as many tile rows as the tallest of the block reaches."""
    g = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)  # [BLOCK]
    mx, my, A, B, C, o = load_splat(SPLATS, g, g < G)
    level, det, first, last = _reach(my, A, B, C, o, height)
    row = tl.minimum(first, height - 1.0).to(tl.int32) // TILE
    rows = tl.where(first <= last, tl.maximum(last, 0.0).to(tl.int32) // TILE - row + 1, 0)
    count = tl.zeros([BLOCK], tl.int32)
    for i in range(tl.max(rows, 0)):
        _, tiles = _tile_span(mx, my, A, B, C, level, det, first, last, row + i, width)
        count += tl.where(i < rows, tiles, 0)
    tl.store(COUNT + g, count, mask=g < G)


@triton.jit
def _deal(SPLATS, OWNER, FIRST, TILES, N, P, width, height, BLOCK: tl.constexpr):
    """A program per block of pairs: the k-th pair of a Gaussian finds the k-th tile that the Gaussian reaches.

    A lane per pair, not per Gaussian: a Gaussian that covers the picture is shared out among thousands of lanes.
    """
    p = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)  # [BLOCK]
    live = p < P
    g = tl.load(OWNER + p, mask=live, other=0)
    k = (p - tl.load(FIRST + g, mask=live, other=0)).to(tl.int32)  # tiles of this Gaussian that come before
    mx, my, A, B, C, o = load_splat(SPLATS, g, live)
    level, det, first, last = _reach(my, A, B, C, o, height)
    row = tl.minimum(first, height - 1.0).to(tl.int32) // TILE
    rows = tl.where((first <= last) & live, tl.maximum(last, 0.0).to(tl.int32) // TILE - row + 1, 0)
    tiles_x, tiles_y = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    camera = (g // N).to(tl.int32)
    tile = tl.zeros([BLOCK], tl.int32)
    for i in range(tl.max(rows, 0)):
        column, tiles = _tile_span(mx, my, A, B, C, level, det, first, last, row + i, width)
        tiles = tl.where(i < rows, tiles, 0)
        here = (k >= 0) & (k < tiles)
        tile = tl.where(here, (camera * tiles_y + row + i) * tiles_x + column + k, tile)
        k -= tiles  # negative once found
    tl.store(TILES + p, tile.to(TILES.dtype.element_ty), mask=live)
