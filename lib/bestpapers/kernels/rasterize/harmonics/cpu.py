"""Spherical harmonics on the CPU: a loop over Gaussians, shared out among the threads, with the cameras inside."""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import njit, prange

from ...loops import PARALLEL, SERIAL, arrays, renew
from .. import rules

LENGTH_MIN = rules.LENGTH_MIN

_B0 = 0.5 / math.sqrt(math.pi)
_B1 = math.sqrt(3 / (4 * math.pi))
_B2 = (math.sqrt(15 / (4 * math.pi)), math.sqrt(5 / (16 * math.pi)), math.sqrt(15 / (16 * math.pi)))
_B3 = (
    math.sqrt(35 / (32 * math.pi)), math.sqrt(105 / (4 * math.pi)), math.sqrt(21 / (32 * math.pi)),
    math.sqrt(7 / (16 * math.pi)), math.sqrt(105 / (16 * math.pi)),
)  # fmt: skip


def forward(degree, dirs, coeffs, seen):
    """As `reference.spherical_harmonics`: dirs [C, N, 3], coeffs [N, K, D] -> [C, N, D]; 0 unless seen [C, N]."""
    out = np.zeros((*dirs.shape[:2], coeffs.shape[-1]), np.float32)
    _harmonics_forward(degree, *arrays(dirs, coeffs, seen), out)
    return torch.from_numpy(out)


def backward(degree, dirs, coeffs, seen, grad):
    """Gradients of dirs and coeffs."""
    g_dirs, g_coeffs = np.zeros(dirs.shape, np.float32), np.zeros(coeffs.shape, np.float32)
    _harmonics_backward(degree, *arrays(dirs, coeffs, seen, grad), g_dirs, g_coeffs)
    return torch.from_numpy(g_dirs), torch.from_numpy(g_coeffs)


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
def _harmonics_forward(degree, dirs, coeffs, seen, out):
    C, N, D = out.shape
    used = (degree + 1) ** 2
    for n in prange(N):
        b = np.empty(16)
        for c in range(C):
            if not seen[c, n]:
                continue
            x, y, z = dirs[c, n]
            inv = 1.0 / max(math.sqrt(x * x + y * y + z * z), LENGTH_MIN)
            _basis(degree, x * inv, y * inv, z * inv, b)
            for d in range(D):
                total = 0.0
                for k in range(used):
                    total += b[k] * coeffs[n, k, d]
                out[c, n, d] = total


@njit(**PARALLEL)
def _harmonics_backward(degree, dirs, coeffs, seen, grad, g_dirs, g_coeffs):
    C, N, D = grad.shape
    used = (degree + 1) ** 2
    for n in prange(N):
        b, gb = np.empty(16), np.empty(16)
        for c in range(C):
            if not seen[c, n]:
                continue
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


renew(__name__, rules)
