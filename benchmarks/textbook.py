"""The yardstick of `rasterize.py`: compositing in Numba as one writes it first, a loop per pixel.

Every pixel, in parallel over pixels, walks through the Gaussians of its tile from near to far. Backward, each pixel walks the
same list from the last Gaussian that it drew to the first, and adds its share to gradients that each thread holds for itself;
these are added up afterwards. This is the structure of the CUDA code of 3D Gaussian Splatting, moved to a CPU.

It shares with the library all that comes before compositing: projection, sorting, and tile lists with exact culling. (With
the square boxes of the first papers its lists would be longer.) What a comparison shows is therefore compositing alone, with
the same work before it on both sides.
"""

import math
import sys
from unittest import mock

import numba
import numpy as np
import torch
from numba import njit, prange

from bestpapers.kernels import rasterize
from bestpapers.kernels.rasterize import rules
from bestpapers.kernels.rasterize.harmonics import cpu as harmonics
from bestpapers.kernels.rasterize.project import cpu as project
from bestpapers.kernels.rasterize.tiles import cpu as tiles

TILE, ALPHA_MIN, ALPHA_MAX = rules.TILE, np.float32(rules.ALPHA_MIN), np.float32(rules.ALPHA_MAX)
T_MIN, HALF, ONE = np.float32(rules.TRANSMITTANCE_MIN), np.float32(0.5), np.float32(1)
_NUMBA = dict(parallel=True, cache=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"})  # as the library


def rasterization(**arguments):
    """The library's `rasterization` with the compositing of this file."""
    here = sys.modules[__name__]
    with mock.patch.object(rasterize, "_compiled", return_value=rasterize._Compiled(project, harmonics, tiles, here)):
        return rasterize.rasterization(**arguments, backend="numba")


def _flat(means2d, conics, colors, opacities):
    return [t.detach().flatten(0, 1).numpy() for t in (means2d, conics, colors, opacities)]


def forward(means2d, conics, colors, opacities, lists, width, height):
    shape = len(colors), height, width
    image, light = np.empty((*shape, colors.shape[-1]), np.float32), np.empty(shape, np.float32)
    last = np.empty(shape, np.int64)  # the last pair of each pixel
    _forward(*_flat(means2d, conics, colors, opacities), lists.start, lists.owner, image, light, last)
    return torch.from_numpy(image), torch.from_numpy(1 - light), torch.from_numpy(light), torch.from_numpy(last)


def backward(means2d, conics, colors, opacities, lists, width, height, light, last, g_image, g_alpha):
    splats = _flat(means2d, conics, colors, opacities)
    total = np.zeros((numba.get_num_threads(), len(splats[0]), 6 + colors.shape[-1]), np.float32)
    kept, grads = (light.numpy(), last.numpy()), (g_image.numpy(), g_alpha.numpy())
    _backward(*splats, lists.start, lists.owner, *grads, *kept, total)
    total = torch.from_numpy(total.sum(0)).reshape(*opacities.shape, -1)
    return total[..., :2], total[..., 2:5], total[..., 6:], total[..., 5]


@njit(**_NUMBA)
def _forward(means2d, conics, colors, opacities, start, owner, image, light, last):
    C, height, width, D = image.shape
    tiles_x, tiles_y = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    for pixel in prange(C * height * width):
        c, y, x = pixel // (height * width), pixel // width % height, pixel % width
        tile = (c * tiles_y + y // TILE) * tiles_x + x // TILE
        T = ONE
        last[c, y, x] = start[tile]
        for d in range(D):
            image[c, y, x, d] = 0
        for p in range(start[tile], start[tile + 1]):
            g = owner[p]
            dx, dy = np.float32(x) + HALF - means2d[g, 0], np.float32(y) + HALF - means2d[g, 1]
            sigma = HALF * (conics[g, 0] * dx * dx + conics[g, 2] * dy * dy) + conics[g, 1] * dx * dy
            if sigma < 0:
                continue
            alpha = min(ALPHA_MAX, opacities[g] * math.exp(-sigma))
            if alpha < ALPHA_MIN:
                continue
            if T * (ONE - alpha) <= T_MIN:
                break
            for d in range(D):
                image[c, y, x, d] += T * alpha * colors[g, d]
            T *= ONE - alpha
            last[c, y, x] = p + 1
        light[c, y, x] = T


@njit(**_NUMBA)
def _backward(means2d, conics, colors, opacities, start, owner, g_image, g_alpha, light, last, total):
    C, height, width, D = g_image.shape
    tiles_x, tiles_y = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    for pixel in prange(C * height * width):
        mine = total[numba.get_thread_id()]  # no two threads write to the same place
        c, y, x = pixel // (height * width), pixel // width % height, pixel % width
        tile = (c * tiles_y + y // TILE) * tiles_x + x // TILE
        T, behind = light[c, y, x], np.float32(0)  # behind: what the Gaussians farther away are worth to the loss
        for p in range(last[c, y, x] - 1, start[tile] - 1, -1):
            g = owner[p]
            dx, dy = np.float32(x) + HALF - means2d[g, 0], np.float32(y) + HALF - means2d[g, 1]
            A, B, C2 = conics[g, 0], conics[g, 1], conics[g, 2]
            sigma = HALF * (A * dx * dx + C2 * dy * dy) + B * dx * dy
            if sigma < 0:
                continue
            raw = opacities[g] * math.exp(-sigma)
            alpha = min(ALPHA_MAX, raw)
            if alpha < ALPHA_MIN:
                continue
            T /= ONE - alpha  # the light that was left before this Gaussian
            worth = g_alpha[c, y, x]
            for d in range(D):
                worth += g_image[c, y, x, d] * colors[g, d]
                mine[g, 6 + d] += T * alpha * g_image[c, y, x, d]
            if raw < ALPHA_MAX:  # clamped: alpha does not move
                g_log = (T * worth - behind / (ONE - alpha)) * alpha
                mine[g, 0] += g_log * (A * dx + B * dy)
                mine[g, 1] += g_log * (B * dx + C2 * dy)
                mine[g, 2] -= HALF * g_log * dx * dx
                mine[g, 3] -= g_log * dx * dy
                mine[g, 4] -= HALF * g_log * dy * dy
                mine[g, 5] += g_log / opacities[g]
            behind += T * alpha * worth
