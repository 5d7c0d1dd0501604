"""Spherical harmonics on the GPU: a program per block of Gaussians and channels, one polynomial at a time.

All cameras are done by the same program, one after the other: it reads the coefficients from memory for the first, and from its
cache for the others. Those of a Gaussian that no camera sees are not read at all.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl

from ...programs import BLOCK, launch, load3, store3
from .. import rules

LENGTH_MIN = tl.constexpr(rules.LENGTH_MIN)

_C0 = tl.constexpr(0.5 / math.sqrt(math.pi))
_C1 = tl.constexpr(math.sqrt(3 / (4 * math.pi)))
_C20, _C21, _C22 = (tl.constexpr(math.sqrt(a / math.pi)) for a in (15 / 4, 5 / 16, 15 / 16))
_C30, _C31, _C32, _C33, _C34 = (
    tl.constexpr(math.sqrt(a / math.pi)) for a in (35 / 32, 105 / 4, 21 / 32, 7 / 16, 105 / 16)
)


def forward(degree, dirs, coeffs, seen):
    """As `reference.spherical_harmonics`: dirs [C, N, 3], coeffs [N, K, D] -> [C, N, D]; 0 unless seen [C, N]."""
    (C, N, _), (_, K, D) = dirs.shape, coeffs.shape
    out = dirs.new_empty(C, N, D)
    constants = dict(D=D, USED=(degree + 1) ** 2, BLOCK=BLOCK)
    launch(_harmonics_forward, -(-N * D // BLOCK), dirs, coeffs, seen.view(torch.int8), out, C, N, K, **constants)
    return out


def backward(degree, dirs, coeffs, seen, grad):
    """Gradients of dirs and coeffs."""
    (C, N, _), (_, K, D) = dirs.shape, coeffs.shape
    used, sizes, seen = (degree + 1) ** 2, (C, N, K), seen.view(torch.int8)
    g_dirs = torch.empty_like(dirs)
    g_coeffs = torch.empty_like(coeffs) if used == K else torch.zeros_like(coeffs)  # unused coefficients do not matter
    constants = dict(D=D, USED=used, BLOCK=BLOCK)
    launch(_harmonics_backward_dirs, -(-N // BLOCK), dirs, coeffs, seen, grad, g_dirs, *sizes, **constants)
    launch(_harmonics_backward_coeffs, -(-N * D // BLOCK), dirs, seen, grad, g_coeffs, *sizes, **constants)
    return g_dirs, g_coeffs


@triton.jit
def _harmonic(k: tl.constexpr, x, y, z):
    """Basis function k in the unit direction (x, y, z), and its derivatives in x, y and z (unused ones cost nothing)."""
    xx, yy, zz, zero = x * x, y * y, z * z, x * 0.0
    # (constants stand on the right, since the interpreter cannot multiply a compile-time constant by a vector)
    b, bx, by, bz = zero + _C0, zero, zero, zero
    if k == 1:
        b, by = y * -_C1, zero - _C1
    elif k == 2:
        b, bz = z * _C1, zero + _C1
    elif k == 3:
        b, bx = x * -_C1, zero - _C1
    elif k == 4:
        b, bx, by = x * y * _C20, y * _C20, x * _C20
    elif k == 5:
        b, by, bz = y * z * -_C20, z * -_C20, y * -_C20
    elif k == 6:
        b, bx, by, bz = (2 * zz - xx - yy) * _C21, x * (-2 * _C21), y * (-2 * _C21), z * (4 * _C21)
    elif k == 7:
        b, bx, bz = x * z * -_C20, z * -_C20, x * -_C20
    elif k == 8:
        b, bx, by = (xx - yy) * _C22, x * (2 * _C22), y * (-2 * _C22)
    elif k == 9:
        b, bx, by = y * (3 * xx - yy) * -_C30, x * y * (-6 * _C30), (xx - yy) * (-3 * _C30)
    elif k == 10:
        b, bx, by, bz = x * y * z * _C31, y * z * _C31, x * z * _C31, x * y * _C31
    elif k == 11:
        b, bx = y * (4 * zz - xx - yy) * -_C32, x * y * (2 * _C32)
        by, bz = (4 * zz - xx - 3 * yy) * -_C32, y * z * (-8 * _C32)
    elif k == 12:
        b, bx = z * (2 * zz - 3 * xx - 3 * yy) * _C33, x * z * (-6 * _C33)
        by, bz = y * z * (-6 * _C33), (2 * zz - xx - yy) * (3 * _C33)
    elif k == 13:
        b, bx = x * (4 * zz - xx - yy) * -_C32, (4 * zz - 3 * xx - yy) * -_C32
        by, bz = x * y * (2 * _C32), x * z * (-8 * _C32)
    elif k == 14:
        b, bx, by, bz = z * (xx - yy) * _C34, x * z * (2 * _C34), y * z * (-2 * _C34), (xx - yy) * _C34
    elif k == 15:
        b, bx, by = x * (xx - 3 * yy) * -_C30, (xx - yy) * (-3 * _C30), x * y * (6 * _C30)
    return b, bx, by, bz


@triton.jit
def _load_direction(DIRS, g, live):
    """The unit direction, and what the raw one was multiplied with."""
    x, y, z = load3(DIRS, g, live)
    inv = 1.0 / tl.maximum(tl.sqrt(x * x + y * y + z * z), LENGTH_MIN)
    return x * inv, y * inv, z * inv, inv


@triton.jit
def _harmonics_forward(
    DIRS, COEFFS, SEEN, OUT, C, N, K, D: tl.constexpr, USED: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """A lane per Gaussian and channel, so that neighbouring lanes read neighbouring coefficients.

    static_range unrolls the loop over the basis functions, so that k is known when the kernel is compiled and each turn
    contains its one polynomial and no branch.
    """
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)  # [BLOCK]
    n, d, live = i // D, i % D, i // D < N
    for c in range(C):
        seen = tl.load(SEEN + c * N + n, mask=live, other=0) != 0
        x, y, z, _ = _load_direction(DIRS, c * N + n, seen)
        out = tl.zeros([BLOCK], tl.float32)
        for k in tl.static_range(USED):
            b, _, _, _ = _harmonic(k, x, y, z)
            out += b * tl.load(COEFFS + (n * K + k) * D + d, mask=seen, other=0.0)
        tl.store(OUT + (c * N + n) * D + d, out, mask=live)


@triton.jit
def _harmonics_backward_dirs(
    DIRS, COEFFS, SEEN, GRAD, G_DIRS, C, N, K, D: tl.constexpr, USED: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """A lane per Gaussian: a direction collects over all coefficients and channels."""
    n = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)  # [BLOCK]
    live = n < N
    for c in range(C):
        g = c * N + n
        seen = tl.load(SEEN + g, mask=live, other=0) != 0
        x, y, z, inv = _load_direction(DIRS, g, seen)
        gx, gy, gz = tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32)
        for k in tl.static_range(1, USED):
            gb = tl.zeros([BLOCK], tl.float32)
            for d in range(D):
                coeff = tl.load(COEFFS + (n * K + k) * D + d, mask=seen, other=0.0)
                gb += coeff * tl.load(GRAD + g * D + d, mask=seen, other=0.0)
            _, bx, by, bz = _harmonic(k, x, y, z)
            gx, gy, gz = gx + gb * bx, gy + gb * by, gz + gb * bz
        along = gx * x + gy * y + gz * z  # the length of the direction does not matter
        store3(G_DIRS, g, live, (gx - along * x) * inv, (gy - along * y) * inv, (gz - along * z) * inv)


@triton.jit
def _harmonics_backward_coeffs(
    DIRS, SEEN, GRAD, G_COEFFS, C, N, K, D: tl.constexpr, USED: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """A lane per Gaussian and channel, as in the forward pass: a coefficient collects over the cameras."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)  # [BLOCK]
    n, d, live = i // D, i % D, i // D < N
    for k in tl.static_range(USED):
        total = tl.zeros([BLOCK], tl.float32)
        for c in range(C):
            seen = tl.load(SEEN + c * N + n, mask=live, other=0) != 0
            x, y, z, _ = _load_direction(DIRS, c * N + n, seen)
            b, _, _, _ = _harmonic(k, x, y, z)
            total += b * tl.load(GRAD + (c * N + n) * D + d, mask=seen, other=0.0)
        tl.store(G_COEFFS + (n * K + k) * D + d, total, mask=live)
