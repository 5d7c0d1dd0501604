"""Projection on the CPU: a loop over Gaussians, shared out among the threads, with the cameras inside.

Geometry per Gaussian is computed in float64 and stored in float32: it is cheap, and det S of a needle needs the digits.
Gradients of a camera, which sees many Gaussians, are summed in a fixed number of parts: they do not depend on the threads'.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import njit, prange

from ...loops import PARALLEL, SERIAL, arrays, renew
from .. import rules

LENGTH_MIN = rules.LENGTH_MIN


def forward(means, quats, scales, viewmats, Ks, width, height, eps2d, near_plane, far_plane):
    """As `reference.project`; culled Gaussians (radii 0) that lie behind the near plane hold zeros."""
    C, N = len(viewmats), len(means)
    out = [np.zeros((C, N, *tail), np.float32) for tail in ((2,), (), (3,), ())]
    radii = np.zeros((C, N, 2), np.int32)
    settings = (float(width), float(height), float(eps2d), float(near_plane), float(far_plane))
    _project_forward(*arrays(means, quats, scales, viewmats, Ks), *settings, *out, radii)
    return *map(torch.from_numpy, out), torch.from_numpy(radii)


def backward(means, quats, scales, viewmats, Ks, width, height, eps2d, near_plane, far_plane, *grads, cameras):
    """Gradients of all five tensors, from those of means2d, depths, conics and compensations. Those of viewmats and Ks are None
    unless `cameras`."""
    inputs = arrays(means, quats, scales, viewmats, Ks)
    out = [np.zeros(a.shape, np.float32) for a in inputs[:3]]
    chunks = max(1, min(64, len(means) // 256))  # of a size that does not depend on the number of threads
    parts = np.zeros((chunks, len(viewmats), 16 * cameras), np.float64)  # rotation 9, translation 3, fx fy cx cy
    settings = (float(width), float(height), float(eps2d), float(near_plane), float(far_plane))
    _project_backward(*inputs, *settings, *arrays(*grads), *out, parts)
    if not cameras:
        return *map(torch.from_numpy, out), None, None
    g_cameras = torch.from_numpy(parts.sum(0)).to(torch.float32)
    g_view, g_K = torch.zeros_like(viewmats), torch.zeros_like(Ks)
    g_view[:, :3, :3] = g_cameras[:, :9].unflatten(-1, (3, 3))
    g_view[:, :3, 3] = g_cameras[:, 9:12]
    for k, (i, j) in enumerate(((0, 0), (1, 1), (0, 2), (1, 2))):
        g_K[:, i, j] = g_cameras[:, 12 + k]
    return *map(torch.from_numpy, out), g_view, g_K


@njit(**SERIAL)
def _rotation(q, R):
    """Fill R [3, 3] from the quaternion q (any length); return 1/|q|."""
    w, x, y, z = np.float64(q[0]), np.float64(q[1]), np.float64(q[2]), np.float64(q[3])
    inv = 1.0 / max(math.sqrt(w * w + x * x + y * y + z * z), LENGTH_MIN)
    w, x, y, z = w * inv, x * inv, y * inv, z * inv
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
    chunks, C, terms = g_cameras.shape  # no terms: nobody asks for the cameras' gradients
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
                if terms == 0:
                    continue
                for k in range(3):
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


renew(__name__, rules)
