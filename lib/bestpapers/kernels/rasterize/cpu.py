"""Gaussian rasterisation on the CPU, compiled by Numba. Same definitions as `reference.py`, written for speed.

Four ideas carry it; `gpu.py` has the same ones, so reading one teaches the other:

1. *Tiles.* The image is cut into 16 x 16 tiles, and each tile gets the list of Gaussians whose ellipse alpha = 1/255 reaches
   the rectangle of its pixel centres, computed exactly. What a tile skips, the definition would have skipped too.
2. *Sort once.* Gaussians are radix-sorted by depth, then dealt out to the tiles in that order: every list is born sorted.
3. *A program per tile, a loop over its Gaussians, the rows of pixels that they reach as the vector.* The innermost loops have
   no branches, only selections, so that the compiler turns them into vector instructions.
4. *No shared sums.* The backward pass writes one row of partial gradients per (Gaussian, tile) pair, into slots ordered by
   Gaussian, and adds the slots up afterwards. Threads never write to the same place, and the order of additions, so the
   result, does not depend on their number.

Geometry per Gaussian is computed in float64 and stored in float32: it is cheap, and det S of a needle needs the digits.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from ..loops import FAR, PARALLEL, SERIAL, exp_neg
from . import rules

F = np.float32
TILE = rules.TILE
BLOCK = TILE * TILE
ALPHA_MIN, ALPHA_MAX, T_MIN = F(rules.ALPHA_MIN), F(rules.ALPHA_MAX), F(rules.TRANSMITTANCE_MIN)
LENGTH_MIN = rules.LENGTH_MIN


class Tiles(NamedTuple):
    """Which Gaussians each tile draws, nearest first. G = C * N Gaussians counted over all cameras, P pairs.

    start [tiles + 1]: the list of tile t is pairs start[t] to start[t + 1]
    owner [P] int32: the Gaussian of each pair, in 0..G-1
    slot [P] int32: the pair's place in Gaussian order; Gaussian g owns slots first_slot[g] to first_slot[g + 1]
    reach_y [G] float32: half height in px of the ellipse on which alpha falls to 1/255
    """

    start: np.ndarray
    owner: np.ndarray
    slot: np.ndarray
    first_slot: np.ndarray
    reach_y: np.ndarray


def project_forward(means, quats, scales, viewmats, Ks, width, height, eps2d, near_plane, far_plane):
    """As `reference.project`; culled Gaussians (radii 0) that lie behind the near plane hold zeros."""
    C, N = len(viewmats), len(means)
    out = [np.zeros((C, N, *tail), np.float32) for tail in ((2,), (), (3,), ())]
    radii = np.zeros((C, N, 2), np.int32)
    settings = (float(width), float(height), float(eps2d), float(near_plane), float(far_plane))
    _project_forward(*_arrays(means, quats, scales, viewmats, Ks), *settings, *out, radii)
    return *map(torch.from_numpy, out), torch.from_numpy(radii)


def project_backward(means, quats, scales, viewmats, Ks, width, height, eps2d, near_plane, far_plane, *grads):
    """Gradients of all five tensors, from those of means2d, depths, conics and compensations."""
    inputs = _arrays(means, quats, scales, viewmats, Ks)
    out = [np.zeros(a.shape, np.float32) for a in inputs[:3]]
    chunks = max(1, min(64, len(means) // 256))  # of a size that does not depend on the number of threads
    g_cameras = np.zeros((chunks, len(viewmats), 16), np.float64)  # rotation 9, translation 3, fx fy cx cy
    settings = (float(width), float(height), float(eps2d), float(near_plane), float(far_plane))
    _project_backward(*inputs, *settings, *_arrays(*grads), *out, g_cameras)
    g_cameras = torch.from_numpy(g_cameras.sum(0)).to(torch.float32)
    g_view, g_K = torch.zeros_like(viewmats), torch.zeros_like(Ks)
    g_view[:, :3, :3] = g_cameras[:, :9].unflatten(-1, (3, 3))
    g_view[:, :3, 3] = g_cameras[:, 9:12]
    for k, (i, j) in enumerate(((0, 0), (1, 1), (0, 2), (1, 2))):
        g_K[:, i, j] = g_cameras[:, 12 + k]
    return *map(torch.from_numpy, out), g_view, g_K


def harmonics_forward(degree, dirs, coeffs):
    """As `reference.spherical_harmonics`: dirs [C, N, 3], coeffs [N, K, D] -> [C, N, D]."""
    out = np.empty((*dirs.shape[:2], coeffs.shape[-1]), np.float32)
    _harmonics_forward(degree, *_arrays(dirs, coeffs), out)
    return torch.from_numpy(out)


def harmonics_backward(degree, dirs, coeffs, grad):
    """Gradients of dirs and coeffs."""
    g_dirs, g_coeffs = np.zeros(dirs.shape, np.float32), np.zeros(coeffs.shape, np.float32)
    _harmonics_backward(degree, *_arrays(dirs, coeffs, grad), g_dirs, g_coeffs)
    return torch.from_numpy(g_dirs), torch.from_numpy(g_coeffs)


def bin_tiles(means2d, conics, opacities, depths, width, height) -> Tiles:
    """Sort the Gaussians by depth and deal them out to the tiles that they reach."""
    C, N = depths.shape
    arrays = _arrays(means2d.reshape(C * N, 2), conics.reshape(C * N, 3), opacities.reshape(C * N, 1))
    tiles_x, tiles_y = -(-width // TILE), -(-height // TILE)
    counts, reach_y = np.zeros(C * N, np.int64), np.zeros(C * N, np.float32)
    _count_tiles(*arrays, width, height, counts, reach_y)
    first_slot = np.zeros(C * N + 1, np.int64)
    np.cumsum(counts, out=first_slot[1:])
    order = _sort_by_depth(depths.numpy().reshape(-1).view(np.uint32), counts)
    chunks = numba.get_num_threads()  # the lists come out the same for any number
    fill = np.zeros((chunks, C * tiles_x * tiles_y), np.int64)
    _histogram(*arrays, reach_y, N, width, height, order, fill)
    start = np.zeros(fill.shape[1] + 1, np.int64)
    np.cumsum(fill.sum(0), out=start[1:])
    fill[1:] = fill[:-1].cumsum(0) if chunks > 1 else 0
    fill[0] = 0
    fill += start[:-1]  # where each chunk starts writing into each tile's list
    owner, slot = np.empty(start[-1], np.int32), np.empty(start[-1], np.int32)
    _deal(*arrays, reach_y, N, width, height, order, first_slot, fill, owner, slot)
    return Tiles(start, owner, slot, first_slot, reach_y)


def composite_forward(means2d, conics, colors, opacities, tiles: Tiles, width, height):
    """As `reference.composite`, over the lists of `bin_tiles`."""
    C, N, D = colors.shape
    image, alpha = np.empty((C, height, width, D), np.float32), np.empty((C, height, width), np.float32)
    splats = _pack(means2d, conics, opacities, tiles)
    _composite_forward(splats, *_arrays(colors.reshape(C * N, D)), tiles.start, tiles.owner, image, alpha)
    return torch.from_numpy(image), torch.from_numpy(alpha)


def composite_backward(means2d, conics, colors, opacities, tiles: Tiles, width, height, image, alpha, g_image, g_alpha):
    """Gradients of means2d, conics, colors and opacities."""
    C, N, D = colors.shape
    splats = _pack(means2d, conics, opacities, tiles)
    partial = np.zeros((len(tiles.owner), 6 + D), np.float32)  # per pair: mean 2, conic 3, opacity 1, colour D
    arrays = _arrays(colors.reshape(C * N, D), image, alpha, g_image, g_alpha)
    _composite_backward(splats, *arrays, tiles.start, tiles.owner, tiles.slot, partial)
    out = [np.empty((C * N, n), np.float32) for n in (2, 3, D, 1)]
    _sum_slots(partial, tiles.first_slot, *out)
    return tuple(
        torch.from_numpy(a).reshape(t.shape) for a, t in zip(out, (means2d, conics, colors, opacities), strict=True)
    )


def _arrays(*tensors: Tensor) -> list[np.ndarray]:
    return [t.detach().numpy() for t in tensors]


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


# ---- projection -----------------------------------------------------------------------------------------------------------


@njit(**SERIAL)
def _rotation(q, R):
    """Fill R [3, 3] from the quaternion q (any length); return 1/|q|."""
    inv = 1.0 / max(math.sqrt(q[0] ** 2 + q[1] ** 2 + q[2] ** 2 + q[3] ** 2), LENGTH_MIN)
    w, x, y, z = q[0] * inv, q[1] * inv, q[2] * inv, q[3] * inv
    R[0, 0], R[0, 1], R[0, 2] = 1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)
    R[1, 0], R[1, 1], R[1, 2] = 2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)
    R[2, 0], R[2, 1], R[2, 2] = 2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)
    return inv


@njit(**SERIAL)
def _clamped(x, z, f, c, size):
    """x pulled back to the view's margin, and the limit that it was pulled to as a slope (0 if it was inside)."""
    margin = rules.VIEW_MARGIN * 0.5 * size / f
    low, high = -(c / f + margin), (size - c) / f + margin
    if x / z < low:
        return z * low, low
    if x / z > high:
        return z * high, high
    return x, 0.0


@njit(**SERIAL)
def _half(mean, quat, scale, view, K, width, height, near, far, Rq, M, half, cam):
    """The steps that forward and backward share. Fills Rq [3, 3], M = J R [2, 3] and half = M Rq diag(s) [2, 3], so that
    S = half half^T; cam = x, y, z, clamped x and y, and their limits. Returns 1/|q|, or 0 for a culled Gaussian."""
    for i in range(3):
        cam[i] = view[i, 0] * mean[0] + view[i, 1] * mean[1] + view[i, 2] * mean[2] + view[i, 3]
    z = cam[2]
    if not (near < z < far):
        return 0.0
    fx, fy = K[0, 0], K[1, 1]
    cam[3], cam[5] = _clamped(cam[0], z, fx, K[0, 2], width)
    cam[4], cam[6] = _clamped(cam[1], z, fy, K[1, 2], height)
    inv = _rotation(quat, Rq)
    for k in range(3):
        M[0, k] = fx / z * view[0, k] - fx * cam[3] / (z * z) * view[2, k]
        M[1, k] = fy / z * view[1, k] - fy * cam[4] / (z * z) * view[2, k]
    for i in range(2):
        for k in range(3):
            half[i, k] = (M[i, 0] * Rq[0, k] + M[i, 1] * Rq[1, k] + M[i, 2] * Rq[2, k]) * scale[k]
    return inv


@njit(**SERIAL)
def _covariance(half, eps2d):
    """Blurred covariance (xx, xy, yy), its floored determinant, whether that is the true one, and det S."""
    xx = half[0, 0] ** 2 + half[0, 1] ** 2 + half[0, 2] ** 2
    yy = half[1, 0] ** 2 + half[1, 1] ** 2 + half[1, 2] ** 2
    xy = half[0, 0] * half[1, 0] + half[0, 1] * half[1, 1] + half[0, 2] * half[1, 2]
    sharp = xx * yy - xy * xy
    xx += eps2d
    yy += eps2d
    det = xx * yy - xy * xy
    return xx, xy, yy, max(det, rules.DET_MIN), det >= rules.DET_MIN, sharp


@njit(**PARALLEL)
def _project_forward(
    means, quats, scales, views, Ks, width, height, eps2d, near, far, means2d, depths, conics, rhos, radii
):
    C, N = depths.shape
    chunk = 256
    for block in prange((N + chunk - 1) // chunk):
        Rq, M, half, cam = np.empty((3, 3)), np.empty((2, 3)), np.empty((2, 3)), np.empty(7)
        for n in range(block * chunk, min(N, (block + 1) * chunk)):
            for c in range(C):
                K = Ks[c]
                if _half(means[n], quats[n], scales[n], views[c], K, width, height, near, far, Rq, M, half, cam) == 0.0:
                    continue
                xx, xy, yy, det, _, sharp = _covariance(half, eps2d)
                u, v = K[0, 0] * cam[0] / cam[2] + K[0, 2], K[1, 1] * cam[1] / cam[2] + K[1, 2]
                means2d[c, n, 0], means2d[c, n, 1], depths[c, n] = u, v, cam[2]
                conics[c, n, 0], conics[c, n, 1], conics[c, n, 2] = yy / det, -xy / det, xx / det
                rhos[c, n] = max(rules.RHO_MIN, math.sqrt(max(0.0, sharp / det)))
                rx, ry = math.ceil(rules.EXTENT_SIGMA * math.sqrt(xx)), math.ceil(rules.EXTENT_SIGMA * math.sqrt(yy))
                if u + rx > 0 and u - rx < width and v + ry > 0 and v - ry < height:
                    radii[c, n, 0], radii[c, n, 1] = min(rx, 2**30), min(ry, 2**30)


@njit(**PARALLEL)
def _project_backward(
    means, quats, scales, views, Ks, width, height, eps2d, near, far,
    g_means2d, g_depths, g_conics, g_rhos, g_means, g_quats, g_scales, g_cameras,
):  # fmt: skip
    chunks, C, _ = g_cameras.shape
    N = len(means)
    for block in prange(chunks):
        Rq, M, half, cam = np.empty((3, 3)), np.empty((2, 3)), np.empty((2, 3)), np.empty(7)
        gh, gM, gP, gt = np.empty((2, 3)), np.empty((2, 3)), np.empty((3, 3)), np.empty(3)
        for n in range(block * N // chunks, (block + 1) * N // chunks):
            q, s = quats[n], scales[n]
            for c in range(C):
                view, K, g_cam = views[c], Ks[c], g_cameras[block, c]
                inv = _half(means[n], q, s, view, K, width, height, near, far, Rq, M, half, cam)
                if inv == 0.0:
                    continue
                # conic = adj(S') / det and rho = sqrt(det S / det), back to the entries of S
                xx, xy, yy, det, true_det, sharp = _covariance(half, eps2d)
                ga, gb, gc = g_conics[c, n, 0] / det, g_conics[c, n, 1] / det, g_conics[c, n, 2] / det
                rho2 = sharp / det
                g_sharp, g_det = 0.0, -(ga * yy - gb * xy + gc * xx) / det
                if rho2 > rules.RHO_MIN**2:
                    g_sharp = g_rhos[c, n] / (2 * math.sqrt(rho2) * det)
                    g_det -= g_sharp * rho2
                if not true_det:
                    g_det = 0.0
                gxx = gc + g_det * yy + g_sharp * (yy - eps2d)
                gyy = ga + g_det * xx + g_sharp * (xx - eps2d)
                gxy = -gb - 2 * (g_det + g_sharp) * xy
                # S = half half^T, half = M P, P = Rq diag(s), M = J R
                for k in range(3):
                    gh[0, k] = 2 * gxx * half[0, k] + gxy * half[1, k]
                    gh[1, k] = 2 * gyy * half[1, k] + gxy * half[0, k]
                for i in range(3):
                    gM[0, i] = gh[0, 0] * Rq[i, 0] * s[0] + gh[0, 1] * Rq[i, 1] * s[1] + gh[0, 2] * Rq[i, 2] * s[2]
                    gM[1, i] = gh[1, 0] * Rq[i, 0] * s[0] + gh[1, 1] * Rq[i, 1] * s[1] + gh[1, 2] * Rq[i, 2] * s[2]
                    for k in range(3):
                        gP[i, k] = M[0, i] * gh[0, k] + M[1, i] * gh[1, k]
                for k in range(3):
                    g_scales[n, k] += gP[0, k] * Rq[0, k] + gP[1, k] * Rq[1, k] + gP[2, k] * Rq[2, k]
                    for i in range(3):
                        gP[i, k] *= s[k]  # from here on the gradient of Rq
                _add_quaternion_gradient(q, inv, gP, g_quats[n])
                # J and the centre
                fx, fy, z = K[0, 0], K[1, 1], cam[2]
                g00, g02, g11, g12 = 0.0, 0.0, 0.0, 0.0
                for k in range(3):
                    g00 += gM[0, k] * view[0, k]
                    g02 += gM[0, k] * view[2, k]
                    g11 += gM[1, k] * view[1, k]
                    g12 += gM[1, k] * view[2, k]
                gu, gv = g_means2d[c, n, 0], g_means2d[c, n, 1]
                gt[0], gt[1] = gu * fx / z, gv * fy / z
                gt[2] = g_depths[c, n] - (gu * fx * cam[0] + gv * fy * cam[1] + g00 * fx + g11 * fy) / (z * z)
                gt[2] += 2 * (fx * cam[3] * g02 + fy * cam[4] * g12) / (z * z * z)
                g_fx, g_cx = gu * cam[0] / z + g00 / z - g02 * cam[3] / (z * z), gu
                g_fy, g_cy = gv * cam[1] / z + g11 / z - g12 * cam[4] / (z * z), gv
                gx, gy = -fx / (z * z) * g02, -fy / (z * z) * g12  # of the clamped x and y
                if cam[5] == 0.0:
                    gt[0] += gx
                else:  # clamped: x = z * limit, and the limit moves with the intrinsics
                    gt[2] += gx * cam[5]
                    g_fx -= gx * z * cam[5] / fx
                    g_cx -= gx * z / fx
                if cam[6] == 0.0:
                    gt[1] += gy
                else:
                    gt[2] += gy * cam[6]
                    g_fy -= gy * z * cam[6] / fy
                    g_cy -= gy * z / fy
                for k in range(3):
                    g_means[n, k] += gt[0] * view[0, k] + gt[1] * view[1, k] + gt[2] * view[2, k]
                    g_cam[k] += gM[0, k] * fx / z + gt[0] * means[n, k]
                    g_cam[3 + k] += gM[1, k] * fy / z + gt[1] * means[n, k]
                    g_cam[6 + k] += gt[2] * means[n, k]
                    g_cam[6 + k] -= (gM[0, k] * fx * cam[3] + gM[1, k] * fy * cam[4]) / (z * z)
                    g_cam[9 + k] += gt[k]
                g_cam[12] += g_fx
                g_cam[13] += g_fy
                g_cam[14] += g_cx
                g_cam[15] += g_cy


@njit(**SERIAL)
def _add_quaternion_gradient(q, inv, g, out):
    """Add to out [4] the gradient of the raw quaternion, given g [3, 3] of its rotation matrix and inv = 1/|q|."""
    w, x, y, z = q[0] * inv, q[1] * inv, q[2] * inv, q[3] * inv
    gw = 2 * (z * (g[1, 0] - g[0, 1]) + y * (g[0, 2] - g[2, 0]) + x * (g[2, 1] - g[1, 2]))
    gx = 2 * (y * (g[0, 1] + g[1, 0]) + z * (g[0, 2] + g[2, 0]) + w * (g[2, 1] - g[1, 2]) - 2 * x * (g[1, 1] + g[2, 2]))
    gy = 2 * (x * (g[0, 1] + g[1, 0]) + z * (g[1, 2] + g[2, 1]) + w * (g[0, 2] - g[2, 0]) - 2 * y * (g[0, 0] + g[2, 2]))
    gz = 2 * (x * (g[0, 2] + g[2, 0]) + y * (g[1, 2] + g[2, 1]) + w * (g[1, 0] - g[0, 1]) - 2 * z * (g[0, 0] + g[1, 1]))
    along = gw * w + gx * x + gy * y + gz * z  # lengthening q changes nothing
    out[0] += (gw - along * w) * inv
    out[1] += (gx - along * x) * inv
    out[2] += (gy - along * y) * inv
    out[3] += (gz - along * z) * inv


# ---- spherical harmonics --------------------------------------------------------------------------------------------------

_B0 = 0.5 / math.sqrt(math.pi)
_B1 = math.sqrt(3 / (4 * math.pi))
_B2 = (math.sqrt(15 / (4 * math.pi)), math.sqrt(5 / (16 * math.pi)), math.sqrt(15 / (16 * math.pi)))
_B3 = (
    math.sqrt(35 / (32 * math.pi)), math.sqrt(105 / (4 * math.pi)), math.sqrt(21 / (32 * math.pi)),
    math.sqrt(7 / (16 * math.pi)), math.sqrt(105 / (16 * math.pi)),
)  # fmt: skip


@njit(**SERIAL)
def _basis(degree, x, y, z, b):
    """Fill b [(degree + 1)^2] with the basis in the unit direction (x, y, z)."""
    b[0] = _B0
    if degree >= 1:
        b[1], b[2], b[3] = -_B1 * y, _B1 * z, -_B1 * x
    if degree >= 2:
        b[4], b[5], b[7] = _B2[0] * x * y, -_B2[0] * y * z, -_B2[0] * x * z
        b[6], b[8] = _B2[1] * (2 * z * z - x * x - y * y), _B2[2] * (x * x - y * y)
    if degree >= 3:
        xx, yy, zz = x * x, y * y, z * z
        b[9], b[15] = -_B3[0] * y * (3 * xx - yy), -_B3[0] * x * (xx - 3 * yy)
        b[10], b[14] = _B3[1] * x * y * z, _B3[4] * z * (xx - yy)
        b[11], b[13] = -_B3[2] * y * (4 * zz - xx - yy), -_B3[2] * x * (4 * zz - xx - yy)
        b[12] = _B3[3] * z * (2 * zz - 3 * xx - 3 * yy)


@njit(**SERIAL)
def _basis_gradient(degree, x, y, z, g):
    """Gradient of sum_k g[k] b_k(x, y, z) in x, y and z."""
    gx, gy, gz = 0.0, 0.0, 0.0
    if degree >= 1:
        gx, gy, gz = -_B1 * g[3], -_B1 * g[1], _B1 * g[2]
    if degree >= 2:
        gx += _B2[0] * (g[4] * y - g[7] * z) - 2 * _B2[1] * g[6] * x + 2 * _B2[2] * g[8] * x
        gy += _B2[0] * (g[4] * x - g[5] * z) - 2 * _B2[1] * g[6] * y - 2 * _B2[2] * g[8] * y
        gz += -_B2[0] * (g[5] * y + g[7] * x) + 4 * _B2[1] * g[6] * z
    if degree >= 3:
        xx, yy, zz = x * x, y * y, z * z
        gx += -_B3[0] * (6 * g[9] * x * y + 3 * g[15] * (xx - yy)) + _B3[1] * g[10] * y * z + 2 * _B3[4] * g[14] * x * z
        gx += _B3[2] * (2 * g[11] * x * y - g[13] * (4 * zz - 3 * xx - yy)) - 6 * _B3[3] * g[12] * x * z
        gy += -_B3[0] * (3 * g[9] * (xx - yy) - 6 * g[15] * x * y) + _B3[1] * g[10] * x * z - 2 * _B3[4] * g[14] * y * z
        gy += _B3[2] * (2 * g[13] * x * y - g[11] * (4 * zz - xx - 3 * yy)) - 6 * _B3[3] * g[12] * y * z
        gz += _B3[1] * g[10] * x * y + _B3[4] * g[14] * (xx - yy) - 8 * _B3[2] * z * (g[11] * y + g[13] * x)
        gz += 3 * _B3[3] * g[12] * (2 * zz - xx - yy)
    return gx, gy, gz


@njit(**PARALLEL)
def _harmonics_forward(degree, dirs, coeffs, out):
    C, N, D = out.shape
    used = (degree + 1) ** 2
    for n in prange(N):
        b = np.empty(16)
        for c in range(C):
            x, y, z = dirs[c, n]
            inv = 1.0 / max(math.sqrt(x * x + y * y + z * z), LENGTH_MIN)
            _basis(degree, x * inv, y * inv, z * inv, b)
            for d in range(D):
                total = 0.0
                for k in range(used):
                    total += b[k] * coeffs[n, k, d]
                out[c, n, d] = total


@njit(**PARALLEL)
def _harmonics_backward(degree, dirs, coeffs, grad, g_dirs, g_coeffs):
    C, N, D = grad.shape
    used = (degree + 1) ** 2
    for n in prange(N):
        b, gb = np.empty(16), np.empty(16)
        for c in range(C):
            length = math.sqrt(dirs[c, n, 0] ** 2 + dirs[c, n, 1] ** 2 + dirs[c, n, 2] ** 2)
            inv = 1.0 / max(length, LENGTH_MIN)
            x, y, z = dirs[c, n, 0] * inv, dirs[c, n, 1] * inv, dirs[c, n, 2] * inv
            _basis(degree, x, y, z, b)
            for k in range(used):
                gb[k] = 0.0
                for d in range(D):
                    gb[k] += coeffs[n, k, d] * grad[c, n, d]
                    g_coeffs[n, k, d] += b[k] * grad[c, n, d]
            gx, gy, gz = _basis_gradient(degree, x, y, z, gb)
            along = gx * x + gy * y + gz * z  # the length of the direction does not matter
            g_dirs[c, n, 0] = (gx - along * x) * inv
            g_dirs[c, n, 1] = (gy - along * y) * inv
            g_dirs[c, n, 2] = (gz - along * z) * inv


# ---- binning --------------------------------------------------------------------------------------------------------------


@njit(**SERIAL)
def _level(opacity):
    """sigma at which alpha has fallen to ALPHA_MIN, with a hair to spare for float32 rounding; negative: never seen."""
    if opacity < rules.ALPHA_MIN:
        return -1.0
    return math.log(opacity / rules.ALPHA_MIN) * (1 + 1e-5) + 1e-5


@njit(**SERIAL)
def _pixel_rows(my, reach, height):
    """First and last row whose pixel centres lie within `reach` of my (first > last if there is none)."""
    return max(0.0, math.ceil(my - reach - 0.5)), min(height - 1.0, math.floor(my + reach - 0.5))


@njit(**SERIAL)
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
    first, last = max(0.0, math.ceil(mean[0] + left - 0.5)), min(width - 1.0, math.floor(mean[0] + right - 0.5))
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


# ---- compositing ----------------------------------------------------------------------------------------------------------


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
