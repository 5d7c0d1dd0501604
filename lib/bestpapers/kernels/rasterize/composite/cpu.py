"""Compositing on the CPU: a program per tile, a loop over its Gaussians, the rows of pixels that they reach as the vector.

The innermost loops have no branches, only selections, so that the compiler turns them into vector instructions.

The backward pass goes from far to near, so that what lies behind a Gaussian is a sum that grows: the other way it would be a
difference of nearly equal numbers, and lose two or three digits. It writes one row of partial gradients per (Gaussian, tile)
pair, into slots ordered by Gaussian, and adds the slots up afterwards: threads never write to the same place, and the order of
additions, so the result, does not depend on their number.
"""

from __future__ import annotations

import numpy as np
import torch
from numba import njit, prange

from ...loops import FAR, PARALLEL, SERIAL, arrays, exp_neg, renew
from .. import rules
from ..tiles.cpu import Tiles

F = np.float32
TILE = rules.TILE
BLOCK = TILE * TILE
ALPHA_MIN, ALPHA_MAX, T_MIN = F(rules.ALPHA_MIN), F(rules.ALPHA_MAX), F(rules.TRANSMITTANCE_MIN)


def forward(means2d, conics, colors, opacities, tiles: Tiles, width, height):
    """As `reference.composite`, over the lists of `bin_tiles`; and what `backward` wants to know of each pixel: how much light
    is left, and how many pairs of its tile's list it has looked at up to the last one that it shows."""
    C, N, D = colors.shape
    image, size = np.empty((C, height, width, D), np.float32), (C, height, width)
    alpha, left, drawn = np.empty(size, np.float32), np.empty(size, np.float32), np.empty(size, np.int32)
    colors = arrays(colors.reshape(C * N, D))[0]
    _composite_forward(tiles.splats, colors, tiles.start, tiles.owner, image, alpha, left, drawn)
    return tuple(map(torch.from_numpy, (image, alpha, left, drawn)))


def backward(means2d, conics, colors, opacities, tiles: Tiles, width, height, left, drawn, g_image, g_alpha):
    """Gradients of means2d, conics, colors and opacities."""
    C, N, D = colors.shape
    partial = np.zeros((len(tiles.owner), 6 + D), np.float32)  # per pair: mean 2, conic 3, opacity 1, colour D
    images = arrays(colors.reshape(C * N, D), left, drawn, g_image, g_alpha)
    _composite_backward(tiles.splats, *images, tiles.start, tiles.owner, tiles.slot, partial)
    out = [np.empty((C * N, n), np.float32) for n in (2, 3, D, 1)]
    _sum_slots(partial, tiles.first_slot, *out)
    return tuple(
        torch.from_numpy(a).reshape(t.shape) for a, t in zip(out, (means2d, conics, colors, opacities), strict=True)
    )


# A tile's state is kept flat, 256 floats per quantity, and a Gaussian meets the rows of it that it reaches as one slice. The
# functions below loop over such slices from 0 to their length: an index that could be negative (as it could in a loop from
# `first` to `last`) would cost a check per pixel, and with it the vectorisation, a factor of 13 in time.


@njit(**SERIAL)
def _row():
    """State of its own for each quantity: rows of one array could overlap for all that the compiler knows."""
    return np.zeros(BLOCK, np.float32)


@njit(**SERIAL)
def _open_tile(tile, width, height, px, py, T):
    """Reset a tile's state: pixel centres; transmittance, 1 inside the image and 0 (finished) outside.

    Returns the camera, the tile's first column and row, and how many rows and columns of it are inside the image.
    """
    tiles_x, tiles_y = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    camera, x0, y0 = tile // (tiles_x * tiles_y), tile % tiles_x * TILE, tile // tiles_x % tiles_y * TILE
    rows, columns = min(TILE, height - y0), min(TILE, width - x0)
    for k in range(BLOCK):
        r, i = k // TILE, k % TILE
        px[k], py[k] = F(x0 + i) + F(0.5), F(y0 + r) + F(0.5)
        T[k] = F(1.0) if r < rows and i < columns else F(0.0)
    return camera, x0, y0, rows, columns


@njit(**SERIAL)
def _rows_in_reach(splat, y0, rows):
    """The pixels of the block within reach of a Gaussian: first and one past the last, whole rows of 16."""
    my, reach = splat[1], splat[6]
    first = max(F(0.0), np.ceil(my - reach - F(y0) - F(0.5)))
    last = min(F(rows - 1), np.floor(my + reach - F(y0) - F(0.5)))
    return int(first) * TILE, max(int(first), int(last) + 1) * TILE


@njit(**SERIAL)
def _finished(T):
    brightest = F(-1.0)
    for k in range(BLOCK):
        brightest = max(brightest, T[k])
    return brightest <= F(0.0)


@njit(inline="always", **SERIAL)
def _alpha(dx, dy, A, B, C, o):
    """What a Gaussian covers of a pixel at this distance from its mean; 0 where it is skipped."""
    sigma = F(0.5) * (A * dx * dx + C * dy * dy) + B * dx * dy
    a = min(o * exp_neg(min(max(sigma, F(0.0)), FAR)), ALPHA_MAX)
    return a if (a >= ALPHA_MIN) & (sigma >= F(0.0)) & (sigma <= FAR) else F(0.0)


@njit(**SERIAL)
def _blend(splat, px, py, T, weight, drawn, number):
    """The `number`-th Gaussian of a tile meets a slice of its pixels: write its weight T alpha, and update T and `drawn`.

    A finished pixel is marked by a minus sign on its T: nothing more is drawn there, and what light was left stays known.
    """
    mx, my, A, B, C, o = splat[0], splat[1], splat[2], splat[3], splat[4], splat[5]
    for k in range(len(px)):
        light = T[k]
        before = max(light, F(0.0))
        a = _alpha(px[k] - mx, py[k] - my, A, B, C, o)
        full = before * (F(1.0) - a) <= T_MIN  # it would use up the light: the pixel is finished before this Gaussian
        a = F(0.0) if full else a
        weight[k] = a * before
        T[k] = -abs(light) if full else before * (F(1.0) - a)
        drawn[k] = number if a > F(0.0) else drawn[k]


@njit(**SERIAL)
def _blend_backward(splat, px, py, T, weight, drawn, number, q, behind, out):
    """`_blend` taken back: T as it was before this Gaussian, its weight, and the gradients of its mean (2), conic (3) and
    opacity (1), summed over the slice.

    q = g . c is what this Gaussian's colour is worth to the loss at each pixel, and `behind` what all farther ones add to it.
    A larger alpha trades one for the other: dL/dalpha = T q - behind / (1 - alpha).
    """
    mx, my, A, B, C, o = splat[0], splat[1], splat[2], splat[3], splat[4], splat[5]
    s, sx, sy, sxx, sxy, syy = F(0.0), F(0.0), F(0.0), F(0.0), F(0.0), F(0.0)
    for k in range(len(px)):
        dx, dy = px[k] - mx, py[k] - my
        a = _alpha(dx, dy, A, B, C, o)
        a = a if number <= drawn[k] else F(0.0)
        passes = F(1.0) / (F(1.0) - a)
        before = T[k] * passes
        T[k] = before
        weight[k] = a * before
        own = weight[k] * q[k]
        g_log = own - behind[k] * a * passes  # dL / d log alpha
        g_log = F(0.0) if a >= ALPHA_MAX else g_log  # clamped: alpha does not move
        behind[k] += own
        s += g_log
        sx += g_log * dx
        sy += g_log * dy
        sxx += g_log * dx * dx
        sxy += g_log * dx * dy
        syy += g_log * dy * dy
    out[0], out[1] = A * sx + B * sy, B * sx + C * sy
    out[2], out[3], out[4] = F(-0.5) * sxx, -sxy, F(-0.5) * syy
    out[5] = s / o


@njit(**SERIAL)
def _add_scaled(out, x, factor):
    for k in range(len(out)):
        out[k] += factor * x[k]


@njit(**SERIAL)
def _dot(x, y):
    total = F(0.0)
    for k in range(len(x)):
        total += x[k] * y[k]
    return total


@njit(**PARALLEL)
def _composite_forward(splats, colors, start, owner, image, alpha_out, left_out, drawn_out):
    _, height, width, D = image.shape
    for tile in prange(len(start) - 1):
        px, py, T, weight, drawn = _row(), _row(), _row(), _row(), np.zeros(BLOCK, np.int32)
        color = np.zeros((D, BLOCK), np.float32)
        camera, x0, y0, rows, columns = _open_tile(tile, width, height, px, py, T)
        for n in range(start[tile + 1] - start[tile]):
            if n % 32 == 31 and _finished(T):
                break
            g = owner[start[tile] + n]
            a, b = _rows_in_reach(splats[g], y0, rows)
            _blend(splats[g], px[a:b], py[a:b], T[a:b], weight[a:b], drawn[a:b], np.int32(n + 1))
            for d in range(D):
                _add_scaled(color[d, a:b], weight[a:b], colors[g, d])
        for r in range(rows):
            for i in range(columns):
                k, y, x = r * TILE + i, y0 + r, x0 + i
                left_out[camera, y, x], drawn_out[camera, y, x] = abs(T[k]), drawn[k]
                alpha_out[camera, y, x] = F(1.0) - abs(T[k])
                for d in range(D):
                    image[camera, y, x, d] = color[d, k]


@njit(**PARALLEL)
def _composite_backward(splats, colors, left, drawn_in, g_image, g_alpha, start, owner, slot, partial):
    """Back to front, tile by tile: the partial gradients of each (Gaussian, tile) pair into its slot."""
    _, height, width, D = g_image.shape
    for tile in prange(len(start) - 1):
        px, py, T, weight, q, behind, ga = _row(), _row(), _row(), _row(), _row(), _row(), _row()
        gc, drawn = np.zeros((D, BLOCK), np.float32), np.zeros(BLOCK, np.int32)
        camera, x0, y0, rows, columns = _open_tile(tile, width, height, px, py, T)
        last = 0
        for r in range(rows):
            for i in range(columns):
                k, y, x = r * TILE + i, y0 + r, x0 + i
                T[k], drawn[k], ga[k] = left[camera, y, x], drawn_in[camera, y, x], g_alpha[camera, y, x]
                last = max(last, drawn[k])
                for d in range(D):
                    gc[d, k] = g_image[camera, y, x, d]
        for n in range(last, 0, -1):
            pair = start[tile] + n - 1
            g, row = owner[pair], partial[slot[pair]]
            a, b = _rows_in_reach(splats[g], y0, rows)
            q[a:b] = ga[a:b]
            for d in range(D):
                _add_scaled(q[a:b], gc[d, a:b], colors[g, d])
            _blend_backward(
                splats[g], px[a:b], py[a:b], T[a:b], weight[a:b], drawn[a:b], np.int32(n), q[a:b], behind[a:b], row[:6]
            )
            for d in range(D):
                row[6 + d] = _dot(weight[a:b], gc[d, a:b])


@njit(**PARALLEL)
def _sum_slots(partial, first_slot, g_means2d, g_conics, g_colors, g_opacities):
    D = g_colors.shape[1]
    for g in prange(len(first_slot) - 1):
        total = np.zeros(6 + D, np.float32)
        for s in range(first_slot[g], first_slot[g + 1]):
            for k in range(6 + D):
                total[k] += partial[s, k]
        g_means2d[g, 0], g_means2d[g, 1] = total[0], total[1]
        g_conics[g, 0], g_conics[g, 1], g_conics[g, 2] = total[2], total[3], total[4]
        g_opacities[g, 0] = total[5]
        for d in range(D):
            g_colors[g, d] = total[6 + d]


renew(__name__, rules)
