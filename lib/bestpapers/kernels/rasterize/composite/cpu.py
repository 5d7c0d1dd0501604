"""Compositing on the CPU: a program per tile, a loop over its Gaussians, the rows of pixels that they reach as the vector.

The innermost loops have no branches, only selections, so that the compiler turns them into vector instructions. The backward
pass writes one row of partial gradients per (Gaussian, tile) pair, into slots ordered by Gaussian, and adds the slots up
afterwards: threads never write to the same place, and the order of additions, so the result, does not depend on their number.
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
    """As `reference.composite`, over the lists of `bin_tiles`."""
    C, N, D = colors.shape
    image, alpha = np.empty((C, height, width, D), np.float32), np.empty((C, height, width), np.float32)
    splats = _pack(means2d, conics, opacities, tiles)
    _composite_forward(splats, *arrays(colors.reshape(C * N, D)), tiles.start, tiles.owner, image, alpha)
    return torch.from_numpy(image), torch.from_numpy(alpha)


def backward(means2d, conics, colors, opacities, tiles: Tiles, width, height, image, alpha, g_image, g_alpha):
    """Gradients of means2d, conics, colors and opacities."""
    C, N, D = colors.shape
    splats = _pack(means2d, conics, opacities, tiles)
    partial = np.zeros((len(tiles.owner), 6 + D), np.float32)  # per pair: mean 2, conic 3, opacity 1, colour D
    images = arrays(colors.reshape(C * N, D), image, alpha, g_image, g_alpha)
    _composite_backward(splats, *images, tiles.start, tiles.owner, tiles.slot, partial)
    out = [np.empty((C * N, n), np.float32) for n in (2, 3, D, 1)]
    _sum_slots(partial, tiles.first_slot, *out)
    return tuple(
        torch.from_numpy(a).reshape(t.shape) for a, t in zip(out, (means2d, conics, colors, opacities), strict=True)
    )


def _pack(means2d, conics, opacities, tiles: Tiles) -> np.ndarray:
    """All that a tile needs of a Gaussian, side by side: one cache line instead of four. [G, 7]"""
    G = len(tiles.reach_y)
    parts = (
        means2d.reshape(G, 2),
        conics.reshape(G, 3),
        opacities.reshape(G, 1),
        torch.from_numpy(tiles.reach_y[:, None]),
    )
    return torch.cat(parts, dim=1).numpy()


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


@njit(**SERIAL)
def _blend(splat, px, py, T, alpha, weight):
    """A Gaussian meets a slice of pixels: write its alpha (0 where it is skipped) and weight T alpha, and update T.

    A finished pixel is marked by a minus sign on its T: nothing more is drawn there, and what light was left stays known.
    """
    mx, my, A, B, C, o = splat[0], splat[1], splat[2], splat[3], splat[4], splat[5]
    for k in range(len(px)):
        dx, dy, light = px[k] - mx, py[k] - my, T[k]
        before = max(light, F(0.0))
        sigma = F(0.5) * (A * dx * dx + C * dy * dy) + B * dx * dy
        a = min(o * exp_neg(min(max(sigma, F(0.0)), FAR)), ALPHA_MAX)
        seen = (a >= ALPHA_MIN) & (sigma >= F(0.0)) & (sigma <= FAR)
        a = a if seen else F(0.0)
        full = before * (F(1.0) - a) <= T_MIN  # it would use up the light: the pixel is finished before this Gaussian
        a = F(0.0) if full else a
        alpha[k] = a
        weight[k] = a * before
        T[k] = -abs(light) if full else before * (F(1.0) - a)


@njit(**SERIAL)
def _blend_backward(splat, px, py, alpha, weight, q, rest, out):
    """After `_blend`: the gradients of the Gaussian's mean (2), conic (3) and opacity (1), summed over the slice.

    q = g . c is what this Gaussian's colour is worth to the loss at each pixel, and `rest` what everything not yet drawn
    adds to it. A larger alpha trades one for the other: dL/dalpha = T q - rest / (1 - alpha), rest without this Gaussian.
    """
    mx, my, A, B, C, o = splat[0], splat[1], splat[2], splat[3], splat[4], splat[5]
    s, sx, sy, sxx, sxy, syy = F(0.0), F(0.0), F(0.0), F(0.0), F(0.0), F(0.0)
    for k in range(len(px)):
        dx, dy, a, own = px[k] - mx, py[k] - my, alpha[k], weight[k] * q[k]
        behind = rest[k] - own
        rest[k] = behind
        g_log = own - behind * a / (F(1.0) - a)  # dL / d log alpha
        g_log = F(0.0) if a >= ALPHA_MAX else g_log  # clamped: alpha does not move
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
def _composite_forward(splats, colors, start, owner, image, alpha_out):
    _, height, width, D = image.shape
    for tile in prange(len(start) - 1):
        px, py, T, alpha, weight = _row(), _row(), _row(), _row(), _row()
        color = np.zeros((D, BLOCK), np.float32)
        camera, x0, y0, rows, columns = _open_tile(tile, width, height, px, py, T)
        for p in range(start[tile], start[tile + 1]):
            if (p - start[tile]) % 32 == 31 and _finished(T):
                break
            g = owner[p]
            a, b = _rows_in_reach(splats[g], y0, rows)
            _blend(splats[g], px[a:b], py[a:b], T[a:b], alpha[a:b], weight[a:b])
            for d in range(D):
                _add_scaled(color[d, a:b], weight[a:b], colors[g, d])
        for r in range(rows):
            for i in range(columns):
                alpha_out[camera, y0 + r, x0 + i] = F(1.0) - abs(T[r * TILE + i])
                for d in range(D):
                    image[camera, y0 + r, x0 + i, d] = color[d, r * TILE + i]


@njit(**PARALLEL)
def _composite_backward(splats, colors, image, alpha_in, g_image, g_alpha, start, owner, slot, partial):
    """Front to back once more, tile by tile: the partial gradients of each (Gaussian, tile) pair into its slot."""
    _, height, width, D = image.shape
    for tile in prange(len(start) - 1):
        px, py, T, alpha, weight, q, rest, ga = _row(), _row(), _row(), _row(), _row(), _row(), _row(), _row()
        gc = np.zeros((D, BLOCK), np.float32)
        camera, x0, y0, rows, columns = _open_tile(tile, width, height, px, py, T)
        for r in range(rows):
            for i in range(columns):
                k, y, x = r * TILE + i, y0 + r, x0 + i
                ga[k] = g_alpha[camera, y, x]
                rest[k] = ga[k] * alpha_in[camera, y, x]
                for d in range(D):
                    gc[d, k] = g_image[camera, y, x, d]
                    rest[k] += gc[d, k] * image[camera, y, x, d]
        for p in range(start[tile], start[tile + 1]):
            if (p - start[tile]) % 32 == 31 and _finished(T):
                break
            g, row = owner[p], partial[slot[p]]
            a, b = _rows_in_reach(splats[g], y0, rows)
            q[a:b] = ga[a:b]
            for d in range(D):
                _add_scaled(q[a:b], gc[d, a:b], colors[g, d])
            _blend(splats[g], px[a:b], py[a:b], T[a:b], alpha[a:b], weight[a:b])
            _blend_backward(splats[g], px[a:b], py[a:b], alpha[a:b], weight[a:b], q[a:b], rest[a:b], row[:6])
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
