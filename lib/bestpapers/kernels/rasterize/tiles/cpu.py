"""The tiles' lists on the CPU: count, sort by depth once, deal out.

The Gaussians are radix-sorted by depth, then dealt out to the tiles in that order: every list is born sorted.

Three loops ask which tiles a Gaussian reaches, to count and to deal, and must hear the same answer to the last tile: what they
ask is compiled EXACT, without leave to reorder or fuse, so that it rounds alike wherever it is called from.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np
from numba import njit, prange

from ...loops import EXACT, PARALLEL, SERIAL, arrays, renew
from .. import rules

TILE = rules.TILE


class Tiles(NamedTuple):
    """Which Gaussians each tile draws, nearest first. G = C * N Gaussians counted over all cameras, P pairs.

    start [tiles + 1]: the list of tile t is pairs start[t] to start[t + 1]
    owner [P] int32: the Gaussian of each pair, in 0..G-1
    slot [P] int32: the pair's place in Gaussian order; Gaussian g owns slots first_slot[g] to first_slot[g + 1]
    splats [G, 7] float32: all that a tile needs of a Gaussian, side by side: mean 2, conic 3, opacity 1, and the half height in
        px of the ellipse on which alpha falls to 1/255
    """

    start: np.ndarray
    owner: np.ndarray
    slot: np.ndarray
    first_slot: np.ndarray
    splats: np.ndarray


def bin_tiles(means2d, conics, opacities, depths, width, height) -> Tiles:
    """Sort the Gaussians by depth and deal them out to the tiles that they reach."""
    C, N = depths.shape
    splats = arrays(means2d.reshape(C * N, 2), conics.reshape(C * N, 3), opacities.reshape(C * N, 1))
    tiles_x, tiles_y = -(-width // TILE), -(-height // TILE)
    counts, reach_y = np.zeros(C * N, np.int64), np.zeros(C * N, np.float32)
    _count_tiles(*splats, width, height, counts, reach_y)
    first_slot = np.zeros(C * N + 1, np.int64)
    np.cumsum(counts, out=first_slot[1:])
    order = _sort_by_depth(depths.numpy().reshape(-1).view(np.uint32), counts)
    chunks = numba.get_num_threads()  # the lists come out the same for any number
    fill = np.zeros((chunks, C * tiles_x * tiles_y), np.int64)
    _histogram(*splats, reach_y, N, width, height, order, fill)
    start = np.zeros(fill.shape[1] + 1, np.int64)
    np.cumsum(fill.sum(0), out=start[1:])
    fill[1:] = fill[:-1].cumsum(0) if chunks > 1 else 0
    fill[0] = 0
    fill += start[:-1]  # where each chunk starts writing into each tile's list
    owner, slot = np.empty(start[-1], np.int32), np.empty(start[-1], np.int32)
    _deal(*splats, reach_y, N, width, height, order, first_slot, fill, owner, slot)
    return Tiles(start, owner, slot, first_slot, np.concatenate([*splats, reach_y[:, None]], axis=1))


@njit(**EXACT)
def _level(opacity):
    """sigma at which alpha has fallen to ALPHA_MIN, with a hair to spare for float32 rounding; negative: never seen."""
    if opacity < rules.ALPHA_MIN:
        return -1.0
    return math.log(opacity / rules.ALPHA_MIN) * (1 + 1e-5) + 1e-5


@njit(**EXACT)
def _pixel_rows(my, reach, height):
    """First and last row whose pixel centres lie within `reach` of my (first > last if there is none).

    np.ceil and np.floor, whose results are floats: those of `math` are whole numbers, which end at 9e18."""
    return max(0.0, np.ceil(my - reach - 0.5)), min(height - 1.0, np.floor(my + reach - 0.5))


@njit(**EXACT)
def _tile_span(mean, conic, level, first_row, last_row, width):
    """First and last tile column that the ellipse sigma = level reaches between two pixel rows (first > last: none).

    The ellipse's right edge, as a function of y, is a hill with its top at y = -B/C * (half width): over a band of rows
    the farthest point is the top, if the band holds it, or else the band's edge nearest to it. The left edge is its mirror
    image through the centre.
    """
    A, B, C = np.float64(conic[0]), np.float64(conic[1]), np.float64(conic[2])
    det = A * C - B * B
    if det <= 0.0 or A <= 0.0 or C <= 0.0:  # a needle whose conic has lost its shape to float32: the whole band
        return 0, (width - 1) // TILE
    low, high = first_row + 0.5 - mean[1], last_row + 0.5 - mean[1]
    top = -B / C * math.sqrt(2 * level * C / det)
    y = min(max(top, low), high)
    right = (-B * y + math.sqrt(max(0.0, 2 * level * A - det * y * y))) / A
    y = min(max(-top, low), high)
    left = (-B * y - math.sqrt(max(0.0, 2 * level * A - det * y * y))) / A
    first, last = max(0.0, np.ceil(mean[0] + left - 0.5)), min(width - 1.0, np.floor(mean[0] + right - 0.5))
    if first > last:
        return 0, -1
    return int(first) // TILE, int(last) // TILE


@njit(**PARALLEL)
def _count_tiles(mean, conic, opacity, width, height, counts, reach_y):
    for g in prange(len(counts)):
        level = _level(np.float64(opacity[g, 0]))
        if level < 0.0:
            continue
        A, B, C = np.float64(conic[g, 0]), np.float64(conic[g, 1]), np.float64(conic[g, 2])
        det = A * C - B * B
        reach_y[g] = math.sqrt(2 * level * A / det) * (1 + 1e-6) if det > 0.0 and A > 0.0 else 3e38
        first, last = _pixel_rows(np.float64(mean[g, 1]), np.float64(reach_y[g]), height)
        if first > last:
            continue
        for ty in range(int(first) // TILE, int(last) // TILE + 1):
            band = max(first, float(ty * TILE)), min(last, float(ty * TILE + TILE - 1))
            left, right = _tile_span(mean[g], conic[g], level, band[0], band[1], width)
            counts[g] += right - left + 1


@njit(**SERIAL)
def _sort_by_depth(keys, counts):
    """Indices of the Gaussians that reach a tile, nearest first, equal depths in array order.

    A radix sort on the bits of the float32 depths, 11 bits at a time: positive floats sort like their bit patterns.
    """
    n = 0
    for g in range(len(counts)):
        n += counts[g] > 0
    order, other = np.empty(n, np.int32), np.empty(n, np.int32)
    n = 0
    for g in range(len(counts)):
        if counts[g] > 0:
            order[n] = g
            n += 1
    for shift in (0, 11, 22):
        place = np.zeros(2049, np.int64)
        for i in range(n):
            place[((keys[order[i]] >> np.uint32(shift)) & np.uint32(2047)) + 1] += 1
        for d in range(2048):
            place[d + 1] += place[d]
        for i in range(n):
            digit = (keys[order[i]] >> np.uint32(shift)) & np.uint32(2047)
            other[place[digit]] = order[i]
            place[digit] += 1
        order, other = other, order
    return order


@njit(**PARALLEL)
def _histogram(mean, conic, opacity, reach_y, N, width, height, order, count):
    """How many Gaussians each chunk of the depth order gives to each tile: count [chunks, tiles]."""
    tiles_x, tiles_y = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    chunks, n = len(count), len(order)
    for chunk in prange(chunks):
        for i in range(chunk * n // chunks, (chunk + 1) * n // chunks):
            g = order[i]
            level = _level(np.float64(opacity[g, 0]))
            first, last = _pixel_rows(np.float64(mean[g, 1]), np.float64(reach_y[g]), height)
            for ty in range(int(first) // TILE, int(last) // TILE + 1):
                band = max(first, float(ty * TILE)), min(last, float(ty * TILE + TILE - 1))
                left, right = _tile_span(mean[g], conic[g], level, band[0], band[1], width)
                row = (g // N * tiles_y + ty) * tiles_x
                for tx in range(left, right + 1):
                    count[chunk, row + tx] += 1


@njit(**PARALLEL)
def _deal(mean, conic, opacity, reach_y, N, width, height, order, first_slot, fill, owner, slot):
    """Write the tiles' lists. Each chunk of the depth order has its own part of every list: fill [chunks, tiles]."""
    tiles_x, tiles_y = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    chunks, n = len(fill), len(order)
    for chunk in prange(chunks):
        for i in range(chunk * n // chunks, (chunk + 1) * n // chunks):
            g = order[i]
            own = first_slot[g]
            level = _level(np.float64(opacity[g, 0]))
            first, last = _pixel_rows(np.float64(mean[g, 1]), np.float64(reach_y[g]), height)
            for ty in range(int(first) // TILE, int(last) // TILE + 1):
                band = max(first, float(ty * TILE)), min(last, float(ty * TILE + TILE - 1))
                left, right = _tile_span(mean[g], conic[g], level, band[0], band[1], width)
                row = (g // N * tiles_y + ty) * tiles_x
                for tx in range(left, right + 1):
                    at = fill[chunk, row + tx]
                    fill[chunk, row + tx] = at + 1
                    owner[at], slot[at] = g, own
                    own += 1


renew(__name__, rules)
