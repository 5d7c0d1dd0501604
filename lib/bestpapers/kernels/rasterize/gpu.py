"""Gaussian rasterisation on the GPU, in Triton. Same definitions as `reference.py`, same structure as `cpu.py`.

A Triton kernel is written like vectorised torch for *one program*; the launch says how many programs run side by side.
Capitals (MEANS, OUT) are pointers to tensors, `tl.arange` makes the vector on which a program works, and a mask keeps the lanes
that overrun a tensor from touching memory. Here a program is

* a block of Gaussians, for projection, spherical harmonics and the counting of tiles;
* a block of (Gaussian, tile) pairs, for dealing the Gaussians out to the tiles;
* a tile, for compositing: a loop over the tile's Gaussians from near to far, with the tile's 256 pixels as the vector.

As on the CPU, nothing is added up in shared memory cells. Whatever many programs contribute to (the gradient of a Gaussian
that many tiles see, or of a camera that sees many Gaussians) is written out in parts and summed in a second step, in a fixed
order. So two runs give the same bits, which atomic additions would not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from . import rules

# Kernels may only use global names that are marked as compile-time constants.
TILE = tl.constexpr(rules.TILE)
PIXELS = tl.constexpr(rules.TILE**2)
ALPHA_MIN, ALPHA_MAX = tl.constexpr(rules.ALPHA_MIN), tl.constexpr(rules.ALPHA_MAX)
TRANSMITTANCE_MIN = tl.constexpr(rules.TRANSMITTANCE_MIN)
VIEW_MARGIN, EXTENT_SIGMA = tl.constexpr(rules.VIEW_MARGIN), tl.constexpr(rules.EXTENT_SIGMA)
DET_MIN, RHO2_MIN = tl.constexpr(rules.DET_MIN), tl.constexpr(rules.RHO_MIN**2)
LENGTH_MIN = tl.constexpr(rules.LENGTH_MIN)

BLOCK = 128  # Gaussians or pairs per program: one per thread, in four warps
MAX_CHANNELS = 16  # colour channels that one compositing pass holds in registers; more of them take more passes
CHUNK = tl.constexpr(16)  # a tile asks once in this many Gaussians whether all of its pixels are finished
CAMERA_TERMS = 16  # gradients per camera: rotation 9, translation 3, fx fy cx cy
GEOMETRY_TERMS = 6  # gradients per pair besides the colour's: mean 2, conic 3, opacity 1


class Tiles(NamedTuple):
    """Which Gaussians each tile draws, nearest first. G = C * N Gaussians counted over all cameras, P pairs.

    start [tiles + 1] int64: the list of tile t is pairs start[t] to start[t + 1]
    owner [P] int32: the Gaussian of each pair, in 0..G-1
    slot [P] int64: the pair's place in Gaussian order; Gaussian g owns slots first[g] to first[g] + counts[g]
    """

    start: Tensor
    owner: Tensor
    slot: Tensor
    first: Tensor
    counts: Tensor


def project_forward(means, quats, scales, viewmats, Ks, width, height, eps2d, near_plane, far_plane):
    """As `reference.project`; Gaussians that are not between the near and far planes hold zeros."""
    C, N = len(viewmats), len(means)
    means2d, depths, conics, rhos = (means.new_empty(C, N, *tail) for tail in ((2,), (), (3,), ()))
    radii = torch.empty(C, N, 2, dtype=torch.int32, device=means.device)
    inputs, settings = (means, quats, scales, viewmats, Ks), (width, height, eps2d, near_plane, far_plane)
    arguments = (*inputs, means2d, depths, conics, rhos, radii)
    _launch(_project_forward, -(-N // BLOCK), *arguments, C, N, *settings, BLOCK=BLOCK)
    return means2d, depths, conics, rhos, radii


def project_backward(means, quats, scales, viewmats, Ks, width, height, eps2d, near_plane, far_plane, *upstream):
    """Gradients of all five tensors, from those of means2d, depths, conics and compensations."""
    C, N = len(viewmats), len(means)
    g_means, g_quats, g_scales = (torch.empty_like(t) for t in (means, quats, scales))
    programs = -(-N // BLOCK)
    parts = means.new_empty(programs, C, CAMERA_TERMS)
    inputs, settings = (means, quats, scales, viewmats, Ks), (width, height, eps2d, near_plane, far_plane)
    arguments = (*inputs, *upstream, g_means, g_quats, g_scales, parts)
    _launch(_project_backward, programs, *arguments, C, N, *settings, BLOCK=BLOCK)
    g_cameras = parts.sum(0, dtype=torch.float64).float()
    g_viewmats, g_Ks = torch.zeros_like(viewmats), torch.zeros_like(Ks)
    g_viewmats[:, :3, :3] = g_cameras[:, :9].unflatten(-1, (3, 3))
    g_viewmats[:, :3, 3] = g_cameras[:, 9:12]
    for k, (i, j) in enumerate(((0, 0), (1, 1), (0, 2), (1, 2))):
        g_Ks[:, i, j] = g_cameras[:, 12 + k]
    return g_means, g_quats, g_scales, g_viewmats, g_Ks


def harmonics_forward(degree, dirs, coeffs):
    """As `reference.spherical_harmonics`: dirs [C, N, 3], coeffs [N, K, D] -> [C, N, D]."""
    (C, N, _), (_, K, D) = dirs.shape, coeffs.shape
    out = dirs.new_empty(C, N, D)
    grid = (-(-N * D // BLOCK), C)
    _launch(_harmonics_forward, grid, dirs, coeffs, out, N, K, D=D, USED=(degree + 1) ** 2, BLOCK=BLOCK)
    return out


def harmonics_backward(degree, dirs, coeffs, grad):
    """Gradients of dirs and coeffs."""
    (C, N, _), (_, K, D) = dirs.shape, coeffs.shape
    used, sizes = (degree + 1) ** 2, (C, N, K)
    g_dirs = torch.empty_like(dirs)
    g_coeffs = torch.empty_like(coeffs) if used == K else torch.zeros_like(coeffs)  # unused coefficients do not matter
    constants = dict(D=D, USED=used, BLOCK=BLOCK)
    _launch(_harmonics_backward_dirs, (-(-N // BLOCK), C), dirs, coeffs, grad, g_dirs, N, K, **constants)
    _launch(_harmonics_backward_coeffs, -(-N * D // BLOCK), dirs, grad, g_coeffs, *sizes, **constants)
    return g_dirs, g_coeffs


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
    _launch(_count_tiles, -(-G // BLOCK), splats, counts, G, width, height, **exact)

    order = depths.flatten().argsort(stable=True)  # equal depths keep the order of the arrays
    each = counts[order]
    end = each.cumsum(0)
    pairs = int(end[-1]) if G else 0  # the one place where the CPU waits for the GPU
    first = torch.empty_like(end)
    first[order] = end - each
    owner = torch.repeat_interleave(order, each, output_size=pairs)  # nearest first
    tile = torch.empty(pairs, dtype=torch.int16 if tiles < 2**15 - 1 else torch.int32, device=depths.device)
    _launch(_deal, -(-pairs // BLOCK), splats, owner, first, tile, N, pairs, width, height, **exact)
    tile, slot = tile.sort(stable=True)
    start = torch.searchsorted(tile, torch.arange(tiles + 1, dtype=tile.dtype, device=tile.device))
    return Tiles(start, owner[slot].int(), slot, first, counts)


def composite_forward(means2d, conics, colors, opacities, tiles: Tiles, width, height):
    """As `reference.composite`, over the lists of `bin_tiles`."""
    C, _, D = colors.shape
    image, alpha = colors.new_empty(C, height, width, D), colors.new_empty(C, height, width)
    splats, lists = _pack(means2d, conics, opacities), (tiles.start, tiles.owner)
    for d, options in _passes(D, warps=2):
        arguments = (splats, colors, *lists, image, alpha, width, height, D, d)
        _launch(_composite_forward, len(tiles.start) - 1, *arguments, **options)
    return image, alpha


def composite_backward(means2d, conics, colors, opacities, tiles: Tiles, width, height, image, alpha, g_image, g_alpha):
    """Gradients of means2d, conics, colors and opacities.

    All of them are linear in (g_image, g_alpha), so channels that do not fit into one pass take further ones, each with a
    share of the gradient, and the results of the passes are added.
    """
    (C, N, D), P = colors.shape, len(tiles.owner)
    splats, lists = _pack(means2d, conics, opacities), (tiles.start, tiles.owner, tiles.slot)
    images = (image, alpha, g_image, g_alpha)
    geometry, g_colors = colors.new_zeros(C, N, GEOMETRY_TERMS), []
    for d, options in _passes(D, warps=1):
        # zeros, since pairs behind an opaque front are never visited
        parts = colors.new_zeros(P, GEOMETRY_TERMS + options["CHANNELS"])
        arguments = (splats, colors, *lists, *images, parts, width, height, D, d)
        _launch(_composite_backward, len(tiles.start) - 1, *arguments, **options)
        total = _sum_slots(parts, tiles).unflatten(0, (C, N))
        geometry += total[..., :GEOMETRY_TERMS]
        g_colors.append(total[..., GEOMETRY_TERMS:])
    return geometry[..., :2], geometry[..., 2:5], torch.cat(g_colors, dim=-1), geometry[..., 5]


def _launch(kernel, grid, *arguments, **options):
    """Run `kernel` on a grid of so many programs: a number, or a tuple of them."""
    grid = grid if isinstance(grid, tuple) else (grid,)
    options.setdefault("enable_fp_fusion", True)  # a * b + c in one instruction; from Triton 3.10 on not the default
    if all(grid):  # CUDA refuses an empty launch
        with torch.cuda.device_of(arguments[0]):  # Triton launches on the current device, which may be another one
            kernel[grid](*arguments, **options)


def _pack(means2d: Tensor, conics: Tensor, opacities: Tensor) -> Tensor:
    """All that a tile needs of a Gaussian side by side, [G, 8] with two unused: one 32-byte sector of memory per Gaussian."""
    parts = (means2d, conics, opacities[..., None], torch.zeros_like(means2d))
    return torch.cat(parts, dim=-1).reshape(-1, 8)


def _sum_slots(parts: Tensor, tiles: Tiles) -> Tensor:
    """Add up the slots of each Gaussian: parts [P, terms] -> [G, terms]."""
    (_, terms), G = parts.shape, len(tiles.first)
    BT = triton.next_power_of_2(terms)
    BG = max(1, 256 // BT)
    out = parts.new_empty(G, terms)
    _launch(_sum_slots_kernel, -(-G // BG), parts, tiles.first, tiles.counts, out, G, terms, BG=BG, BS=8, BT=BT)
    return out


def _passes(D: int, warps: int) -> Iterator[tuple[int, dict[str, int]]]:
    """First channel of each compositing pass, and its launch: how many channels, and how many warps of 32 threads per tile.

    Few warps mean many pixels per thread: what every thread needs (the numbers of the Gaussian) is loaded less often, and sums
    over the tile have less far to go. With a single warp they need no barrier at all, which is why the backward pass, with its
    ten sums per pair, takes one; the forward pass takes two, to be through with a crowded tile sooner. More channels need more
    registers than that many warps have.
    """
    for d in range(0, max(D, 1), MAX_CHANNELS):  # without channels there is still alpha
        channels = min(D - d, MAX_CHANNELS)
        yield d, dict(CHANNELS=channels, num_warps=max(warps, triton.next_power_of_2(-(-channels // 4))))


# ---- projection -----------------------------------------------------------------------------------------------------------


@triton.jit
def _load3(P, n, live):
    """Row n of [N, 3], as three vectors."""
    return (
        tl.load(P + n * 3, mask=live, other=1.0),
        tl.load(P + n * 3 + 1, mask=live, other=1.0),
        tl.load(P + n * 3 + 2, mask=live, other=1.0),
    )


@triton.jit
def _store3(P, n, live, a, b, c):
    tl.store(P + n * 3, a, mask=live)
    tl.store(P + n * 3 + 1, b, mask=live)
    tl.store(P + n * 3 + 2, c, mask=live)


@triton.jit
def _store_sums(P, vectors, n):
    """The sum of each of n vectors, side by side."""
    for i in tl.static_range(n):
        tl.store(P + i, tl.sum(vectors[i], 0))


@triton.jit
def _load_quaternion(QUATS, n, live):
    """The unit quaternion, and what the raw one was multiplied with."""
    w = tl.load(QUATS + n * 4, mask=live, other=1.0)
    x = tl.load(QUATS + n * 4 + 1, mask=live, other=1.0)
    y = tl.load(QUATS + n * 4 + 2, mask=live, other=1.0)
    z = tl.load(QUATS + n * 4 + 3, mask=live, other=1.0)
    inv = 1.0 / tl.maximum(tl.sqrt(w * w + x * x + y * y + z * z), LENGTH_MIN)
    return w * inv, x * inv, y * inv, z * inv, inv


@triton.jit
def _rotation(w, x, y, z):
    """Rotation matrix of a unit quaternion, row by row."""
    return (
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    )  # fmt: skip


@triton.jit
def _load_camera(VIEWS, KS, c):
    """Rotation of camera c (9 numbers, row by row), translation (3), and fx, fy, cx, cy."""
    v, k = VIEWS + c * 16, KS + c * 9
    return (
        (tl.load(v), tl.load(v + 1), tl.load(v + 2),
         tl.load(v + 4), tl.load(v + 5), tl.load(v + 6),
         tl.load(v + 8), tl.load(v + 9), tl.load(v + 10)),
        (tl.load(v + 3), tl.load(v + 7), tl.load(v + 11)),
        (tl.load(k), tl.load(k + 4), tl.load(k + 2), tl.load(k + 5)),
    )  # fmt: skip


@triton.jit
def _clamped(x, z, f, c, size):
    """x pulled back to the view's margin, whether it had to be, and the limit of x / z that it was pulled to."""
    margin = size * (0.5 * VIEW_MARGIN) / f
    low, high = -(c / f + margin), (size - c) / f + margin
    limit = tl.minimum(tl.maximum(x / z, low), high)
    outside = (x / z < low) | (x / z > high)
    return tl.where(outside, z * limit, x), outside, limit


@triton.jit
def _half(mean, scale, R, V, t, K, width, height, near, far):
    """The steps that forward and backward share: a block of Gaussians meets one camera. Returns

    center: x, y, z in the camera, with z = 1 for those not between the planes, which must not divide by zero
    inside: whether they are between the planes
    x_clamp, y_clamp: as `_clamped`
    J: j00, j02, j11, j12, the entries of the projection's slope [[j00, 0, j02], [0, j11, j12]] that are not 0
    M: J V, row by row
    half: M R diag(scale), row by row, so that the covariance is S = half half^T
    """
    m0, m1, m2 = mean
    s0, s1, s2 = scale
    fx, fy, cx, cy = K
    r00, r01, r02, r10, r11, r12, r20, r21, r22 = R
    v00, v01, v02, v10, v11, v12, v20, v21, v22 = V
    x = v00 * m0 + v01 * m1 + v02 * m2 + t[0]
    y = v10 * m0 + v11 * m1 + v12 * m2 + t[1]
    z = v20 * m0 + v21 * m1 + v22 * m2 + t[2]
    inside = (z > near) & (z < far)
    z = tl.where(inside, z, 1.0)
    x_clamp, y_clamp = _clamped(x, z, fx, cx, width), _clamped(y, z, fy, cy, height)
    j00, j02, j11, j12 = fx / z, -fx * x_clamp[0] / (z * z), fy / z, -fy * y_clamp[0] / (z * z)
    a0, a1, a2 = j00 * v00 + j02 * v20, j00 * v01 + j02 * v21, j00 * v02 + j02 * v22
    b0, b1, b2 = j11 * v10 + j12 * v20, j11 * v11 + j12 * v21, j11 * v12 + j12 * v22
    h00, h10 = (a0 * r00 + a1 * r10 + a2 * r20) * s0, (b0 * r00 + b1 * r10 + b2 * r20) * s0
    h01, h11 = (a0 * r01 + a1 * r11 + a2 * r21) * s1, (b0 * r01 + b1 * r11 + b2 * r21) * s1
    h02, h12 = (a0 * r02 + a1 * r12 + a2 * r22) * s2, (b0 * r02 + b1 * r12 + b2 * r22) * s2
    J, M, half = (j00, j02, j11, j12), (a0, a1, a2, b0, b1, b2), (h00, h01, h02, h10, h11, h12)
    return (x, y, z), inside, x_clamp, y_clamp, J, M, half


@triton.jit
def _covariance(half, eps2d):
    """Covariance S = half half^T (xx, xy, yy), det S, floored det(S + eps2d I), and whether the floor left it alone.

    In float64: det S of a needle is the difference of two nearly equal products, and its conic nearly cancels along the needle.
    A few dozen float64 operations per Gaussian are no burden, even where they are 64 times slower than float32 ones.
    """
    h00, h01, h02 = half[0].to(tl.float64), half[1].to(tl.float64), half[2].to(tl.float64)
    h10, h11, h12 = half[3].to(tl.float64), half[4].to(tl.float64), half[5].to(tl.float64)
    xx, yy = h00 * h00 + h01 * h01 + h02 * h02, h10 * h10 + h11 * h11 + h12 * h12
    xy = h00 * h10 + h01 * h11 + h02 * h12
    sharp = xx * yy - xy * xy
    det = (xx + eps2d) * (yy + eps2d) - xy * xy
    return xx, xy, yy, sharp, tl.maximum(det, DET_MIN), det >= DET_MIN


@triton.jit
def _project_forward(
    MEANS, QUATS, SCALES, VIEWS, KS, MEANS2D, DEPTHS, CONICS, RHOS, RADII,
    C, N, width, height, eps2d, near, far, BLOCK: tl.constexpr,
):  # fmt: skip
    """A program per block of Gaussians; a loop over the cameras, so that each Gaussian is loaded and rotated once."""
    n = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)  # [BLOCK]
    live = n < N
    mean, scale = _load3(MEANS, n, live), _load3(SCALES, n, live)
    qw, qx, qy, qz, _q_inv = _load_quaternion(QUATS, n, live)
    R = _rotation(qw, qx, qy, qz)
    for c in range(C):
        V, t, K = _load_camera(VIEWS, KS, c)
        center, inside, _, _, _, _, half = _half(mean, scale, R, V, t, K, width, height, near, far)
        xx, xy, yy, sharp, det, _ = _covariance(half, eps2d)
        inv = tl.where(inside, 1.0 / det, 0.0)
        rho = tl.sqrt(tl.maximum((sharp * inv).to(tl.float32), RHO2_MIN))
        conic_xx, conic_xy, conic_yy = (yy + eps2d) * inv, -xy * inv, (xx + eps2d) * inv
        width_x, width_y = tl.sqrt((xx + eps2d).to(tl.float32)), tl.sqrt((yy + eps2d).to(tl.float32))

        x, y, z = center
        fx, fy, cx, cy = K
        u, v = fx * x / z + cx, fy * y / z + cy
        rx, ry = tl.ceil(width_x * EXTENT_SIGMA), tl.ceil(width_y * EXTENT_SIGMA)
        on_screen = inside & (u + rx > 0) & (u - rx < width) & (v + ry > 0) & (v - ry < height)
        g = c * N + n
        tl.store(MEANS2D + g * 2, tl.where(inside, u, 0.0), mask=live)
        tl.store(MEANS2D + g * 2 + 1, tl.where(inside, v, 0.0), mask=live)
        tl.store(DEPTHS + g, tl.where(inside, z, 0.0), mask=live)
        _store3(CONICS, g, live, conic_xx.to(tl.float32), conic_xy.to(tl.float32), conic_yy.to(tl.float32))
        tl.store(RHOS + g, tl.where(inside, rho, 0.0), mask=live)
        tl.store(RADII + g * 2, tl.where(on_screen, tl.minimum(rx, 2.0**30), 0.0).to(tl.int32), mask=live)
        tl.store(RADII + g * 2 + 1, tl.where(on_screen, tl.minimum(ry, 2.0**30), 0.0).to(tl.int32), mask=live)


@triton.jit
def _project_backward(
    MEANS, QUATS, SCALES, VIEWS, KS, G_MEANS2D, G_DEPTHS, G_CONICS, G_RHOS,
    G_MEANS, G_QUATS, G_SCALES, PARTS, C, N, width, height, eps2d, near, far, BLOCK: tl.constexpr,
):  # fmt: skip
    """Laid out as the forward pass, whose steps it repeats rather than load their results.

    Gradients of a Gaussian are summed over the cameras in registers, those of a camera over the block's Gaussians:
    PARTS [programs, C, 16] holds one row per program and camera.
    """
    n = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)  # [BLOCK]
    live = n < N
    mean, scale = _load3(MEANS, n, live), _load3(SCALES, n, live)
    qw, qx, qy, qz, q_inv = _load_quaternion(QUATS, n, live)
    R = _rotation(qw, qx, qy, qz)
    m0, m1, m2 = mean
    s0, s1, s2 = scale
    r00, r01, r02, r10, r11, r12, r20, r21, r22 = R
    zero = tl.zeros([BLOCK], tl.float32)
    gm0, gm1, gm2 = zero, zero, zero  # of the mean
    p00, p01, p02, p10, p11, p12, p20, p21, p22 = zero, zero, zero, zero, zero, zero, zero, zero, zero  # of R diag(s)
    for c in range(C):
        V, t, K = _load_camera(VIEWS, KS, c)
        center, inside, x_clamp, y_clamp, J, M, half = _half(mean, scale, R, V, t, K, width, height, near, far)
        x, y, z = center
        fx, fy, _, _ = K
        v00, v01, v02, v10, v11, v12, v20, v21, v22 = V
        xc, x_clamped, x_limit = x_clamp
        yc, y_clamped, y_limit = y_clamp
        j00, j02, j11, j12 = J
        a0, a1, a2, b0, b1, b2 = M
        h00, h01, h02, h10, h11, h12 = half
        xx, xy, yy, sharp, det, true_det = _covariance(half, eps2d)

        inside = inside & live
        g = c * N + n
        gu = tl.load(G_MEANS2D + g * 2, mask=inside, other=0.0)
        gv = tl.load(G_MEANS2D + g * 2 + 1, mask=inside, other=0.0)
        gz = tl.load(G_DEPTHS + g, mask=inside, other=0.0)
        ga = tl.load(G_CONICS + g * 3, mask=inside, other=0.0)
        gb = tl.load(G_CONICS + g * 3 + 1, mask=inside, other=0.0)
        gc = tl.load(G_CONICS + g * 3 + 2, mask=inside, other=0.0)
        gr = tl.load(G_RHOS + g, mask=inside, other=0.0)

        # The conic Q = S'^-1 = (qa, qb, qc): dL/dS = -Q G Q, with G the symmetric matrix of the gradient (gb counts for both
        # corners). Where the determinant sits on its floor, Q is linear in S instead. All of it is in float64, as S is.
        inv = 1.0 / det
        qa, qb, qc = (yy + eps2d) * inv, -xy * inv, (xx + eps2d) * inv
        k00, k01 = qa * ga + qb * gb * 0.5, qa * gb * 0.5 + qb * gc
        k10, k11 = qb * ga + qc * gb * 0.5, qb * gb * 0.5 + qc * gc
        gxx = tl.where(true_det, -(k00 * qa + k01 * qb), gc * inv)
        gxy = tl.where(true_det, -2 * (k00 * qb + k01 * qc), -gb * inv)
        gyy = tl.where(true_det, -(k10 * qb + k11 * qc), ga * inv)
        # rho^2 = det S / det S': its derivative is (adj S - rho^2 adj S') / det S', without the second term on the floor
        rho2 = sharp * inv
        gr = tl.where(rho2 >= RHO2_MIN, gr / (2 * tl.sqrt(tl.maximum(rho2.to(tl.float32), RHO2_MIN))), 0.0) * inv
        rho2 = tl.where(true_det, rho2, 0.0)
        gxx += gr * (yy - rho2 * (yy + eps2d))
        gxy -= gr * (xy - rho2 * xy) * 2
        gyy += gr * (xx - rho2 * (xx + eps2d))

        # S = half half^T and half = M P, with M = J V and P = R diag(s)
        gh00, gh10 = (2 * gxx * h00 + gxy * h10).to(tl.float32), (2 * gyy * h10 + gxy * h00).to(tl.float32)
        gh01, gh11 = (2 * gxx * h01 + gxy * h11).to(tl.float32), (2 * gyy * h11 + gxy * h01).to(tl.float32)
        gh02, gh12 = (2 * gxx * h02 + gxy * h12).to(tl.float32), (2 * gyy * h12 + gxy * h02).to(tl.float32)
        p00, p01, p02 = p00 + a0 * gh00 + b0 * gh10, p01 + a0 * gh01 + b0 * gh11, p02 + a0 * gh02 + b0 * gh12
        p10, p11, p12 = p10 + a1 * gh00 + b1 * gh10, p11 + a1 * gh01 + b1 * gh11, p12 + a1 * gh02 + b1 * gh12
        p20, p21, p22 = p20 + a2 * gh00 + b2 * gh10, p21 + a2 * gh01 + b2 * gh11, p22 + a2 * gh02 + b2 * gh12
        e00, e01, e02 = gh00 * s0, gh01 * s1, gh02 * s2
        e10, e11, e12 = gh10 * s0, gh11 * s1, gh12 * s2
        ga0, gb0 = e00 * r00 + e01 * r01 + e02 * r02, e10 * r00 + e11 * r01 + e12 * r02
        ga1, gb1 = e00 * r10 + e01 * r11 + e02 * r12, e10 * r10 + e11 * r11 + e12 * r12
        ga2, gb2 = e00 * r20 + e01 * r21 + e02 * r22, e10 * r20 + e11 * r21 + e12 * r22

        # J and the centre (x, y, z), through u = fx x/z + cx as well
        g00, g02 = ga0 * v00 + ga1 * v01 + ga2 * v02, ga0 * v20 + ga1 * v21 + ga2 * v22
        g11, g12 = gb0 * v10 + gb1 * v11 + gb2 * v12, gb0 * v20 + gb1 * v21 + gb2 * v22
        gx, gy = gu * fx / z, gv * fy / z
        gz -= (gu * fx * x + gv * fy * y + g00 * fx + g11 * fy) / (z * z)
        gz += 2 * (fx * xc * g02 + fy * yc * g12) / (z * z * z)
        g_fx, g_cx = (gu * x + g00 - g02 * xc / z) / z, gu
        g_fy, g_cy = (gv * y + g11 - g12 * yc / z) / z, gv
        gxc, gyc = -fx / (z * z) * g02, -fy / (z * z) * g12
        gx += tl.where(x_clamped, 0.0, gxc)
        gy += tl.where(y_clamped, 0.0, gyc)
        # a clamped x is z * limit, and the limit moves with the intrinsics
        gxc, gyc = tl.where(x_clamped, gxc, 0.0), tl.where(y_clamped, gyc, 0.0)
        gz += gxc * x_limit + gyc * y_limit
        g_fx, g_cx = g_fx - gxc * z * x_limit / fx, g_cx - gxc * z / fx
        g_fy, g_cy = g_fy - gyc * z * y_limit / fy, g_cy - gyc * z / fy

        gm0 += gx * v00 + gy * v10 + gz * v20
        gm1 += gx * v01 + gy * v11 + gz * v21
        gm2 += gx * v02 + gy * v12 + gz * v22
        part = PARTS + (tl.program_id(0).to(tl.int64) * C + c) * 16
        g_rotation = (
            ga0 * j00 + gx * m0, ga1 * j00 + gx * m1, ga2 * j00 + gx * m2,
            gb0 * j11 + gy * m0, gb1 * j11 + gy * m1, gb2 * j11 + gy * m2,
            ga0 * j02 + gb0 * j12 + gz * m0, ga1 * j02 + gb1 * j12 + gz * m1, ga2 * j02 + gb2 * j12 + gz * m2,
        )  # fmt: skip
        _store_sums(part, g_rotation, 9)
        _store_sums(part + 9, (gx, gy, gz, g_fx, g_fy, g_cx, g_cy), 7)

    _store3(G_MEANS, n, live, gm0, gm1, gm2)
    gs0, gs1 = p00 * r00 + p10 * r10 + p20 * r20, p01 * r01 + p11 * r11 + p21 * r21
    _store3(G_SCALES, n, live, gs0, gs1, p02 * r02 + p12 * r12 + p22 * r22)
    # from R diag(s) to R, to the unit quaternion, to the raw one (whose length does not matter)
    p00, p01, p02, p10, p11 = p00 * s0, p01 * s1, p02 * s2, p10 * s0, p11 * s1
    p12, p20, p21, p22 = p12 * s2, p20 * s0, p21 * s1, p22 * s2
    gw = 2 * (qz * (p10 - p01) + qy * (p02 - p20) + qx * (p21 - p12))
    gx = 2 * (qy * (p01 + p10) + qz * (p02 + p20) + qw * (p21 - p12) - 2 * qx * (p11 + p22))
    gy = 2 * (qx * (p01 + p10) + qz * (p12 + p21) + qw * (p02 - p20) - 2 * qy * (p00 + p22))
    gz = 2 * (qx * (p02 + p20) + qy * (p12 + p21) + qw * (p10 - p01) - 2 * qz * (p00 + p11))
    along = gw * qw + gx * qx + gy * qy + gz * qz
    tl.store(G_QUATS + n * 4, (gw - along * qw) * q_inv, mask=live)
    tl.store(G_QUATS + n * 4 + 1, (gx - along * qx) * q_inv, mask=live)
    tl.store(G_QUATS + n * 4 + 2, (gy - along * qy) * q_inv, mask=live)
    tl.store(G_QUATS + n * 4 + 3, (gz - along * qz) * q_inv, mask=live)


# ---- spherical harmonics --------------------------------------------------------------------------------------------------

_C0 = tl.constexpr(0.5 / math.sqrt(math.pi))
_C1 = tl.constexpr(math.sqrt(3 / (4 * math.pi)))
_C20, _C21, _C22 = (tl.constexpr(math.sqrt(a / math.pi)) for a in (15 / 4, 5 / 16, 15 / 16))
_C30, _C31, _C32, _C33, _C34 = (
    tl.constexpr(math.sqrt(a / math.pi)) for a in (35 / 32, 105 / 4, 21 / 32, 7 / 16, 105 / 16)
)


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
    x, y, z = _load3(DIRS, g, live)
    inv = 1.0 / tl.maximum(tl.sqrt(x * x + y * y + z * z), LENGTH_MIN)
    return x * inv, y * inv, z * inv, inv


@triton.jit
def _harmonics_forward(
    DIRS, COEFFS, OUT, N, K, D: tl.constexpr, USED: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """A lane per Gaussian and channel, so that neighbouring lanes read neighbouring coefficients; a row of programs per camera.

    static_range unrolls the loop over the basis functions, so that k is known when the kernel is compiled and each turn
    contains its one polynomial and no branch.
    """
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)  # [BLOCK]
    n, d, c, live = i // D, i % D, tl.program_id(1).to(tl.int64), i // D < N
    x, y, z, _ = _load_direction(DIRS, c * N + n, live)
    out = tl.zeros([BLOCK], tl.float32)
    for k in tl.static_range(USED):
        b, _, _, _ = _harmonic(k, x, y, z)
        out += b * tl.load(COEFFS + (n * K + k) * D + d, mask=live, other=0.0)
    tl.store(OUT + (c * N + n) * D + d, out, mask=live)


@triton.jit
def _harmonics_backward_dirs(
    DIRS, COEFFS, GRAD, G_DIRS, N, K, D: tl.constexpr, USED: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """A lane per Gaussian, a row of programs per camera: a direction collects over all coefficients and channels."""
    n = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)  # [BLOCK]
    live, g = n < N, tl.program_id(1).to(tl.int64) * N + n
    x, y, z, inv = _load_direction(DIRS, g, live)
    gx, gy, gz = tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32)
    for d in range(D):
        grad = tl.load(GRAD + g * D + d, mask=live, other=0.0)
        for k in tl.static_range(1, USED):
            _, bx, by, bz = _harmonic(k, x, y, z)
            gb = grad * tl.load(COEFFS + (n * K + k) * D + d, mask=live, other=0.0)
            gx, gy, gz = gx + gb * bx, gy + gb * by, gz + gb * bz
    along = gx * x + gy * y + gz * z  # the length of the direction does not matter
    _store3(G_DIRS, g, live, (gx - along * x) * inv, (gy - along * y) * inv, (gz - along * z) * inv)


@triton.jit
def _harmonics_backward_coeffs(
    DIRS, GRAD, G_COEFFS, C, N, K, D: tl.constexpr, USED: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """A lane per Gaussian and channel, as in the forward pass: a coefficient collects over the cameras."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)  # [BLOCK]
    n, d, live = i // D, i % D, i // D < N
    for k in tl.static_range(USED):
        total = tl.zeros([BLOCK], tl.float32)
        for c in range(C):
            x, y, z, _ = _load_direction(DIRS, c * N + n, live)
            b, _, _, _ = _harmonic(k, x, y, z)
            total += b * tl.load(GRAD + (c * N + n) * D + d, mask=live, other=0.0)
        tl.store(G_COEFFS + (n * K + k) * D + d, total, mask=live)


# ---- binning --------------------------------------------------------------------------------------------------------------


@triton.jit
def _load_splat(SPLATS, g, live):
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
    mx, my, A, B, C, o = _load_splat(SPLATS, g, g < G)
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
    mx, my, A, B, C, o = _load_splat(SPLATS, g, live)
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


# ---- compositing ----------------------------------------------------------------------------------------------------------


@triton.jit
def _pixels(width, height):
    """The pixels of this program's tile: camera, column and row [256], and whether they are inside the image."""
    tile, k = tl.program_id(0), tl.arange(0, PIXELS)
    tiles_x, tiles_y = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    x, y = tile % tiles_x * TILE + k % TILE, tile // tiles_x % tiles_y * TILE + k // TILE
    return tile // (tiles_x * tiles_y), x, y, (x < width) & (y < height)


# An image in registers is a tuple of vectors, one per channel. The compiler unrolls loops over `channels`, which it knows, and
# can take a tuple apart and put it together, but not change it in place.


@triton.jit
def _zeros(channels):
    out = ()
    for _ in tl.static_range(channels):
        out = out + (tl.zeros([PIXELS], tl.float32),)  # noqa: RUF005 (Triton knows no starred expression)
    return out


@triton.jit
def _load_channels(P, first, live, channels):
    """Numbers (or vectors of them) that lie side by side, from `first` on; zeros where not live."""
    out = ()
    for d in tl.static_range(channels):
        out = out + (tl.load(P + first + d, mask=live, other=0.0),)  # noqa: RUF005
    return out


@triton.jit
def _add_scaled(image, weight, color, channels):
    """image + weight * color, channel by channel."""
    out = ()
    for d in tl.static_range(channels):
        out = out + (image[d] + weight * color[d],)  # noqa: RUF005
    return out


@triton.jit
def _blend(px, py, T, mx, my, A, B, C, o):
    """A Gaussian meets the tile: offsets dx, dy, alpha (0 where it is skipped), whether alpha was clamped, T alpha, and new T.

    A finished pixel is marked by a minus sign on its T: nothing more is drawn there.
    """
    dx, dy = px - mx, py - my
    sigma = (0.5 * A * dx + B * dy) * dx + 0.5 * C * dy * dy
    raw = o * tl.exp(-sigma)
    alpha = tl.where((raw >= ALPHA_MIN) & (sigma >= 0.0), tl.minimum(raw, ALPHA_MAX), 0.0)
    before = tl.maximum(T, 0.0)
    after = before - before * alpha
    full = after <= TRANSMITTANCE_MIN  # it would use up the light: the pixel is finished before this Gaussian
    alpha = tl.where(full, 0.0, alpha)
    return dx, dy, alpha, raw > ALPHA_MAX, before * alpha, tl.where(full, -tl.abs(T), after)


@triton.jit
def _composite_forward(
    SPLATS, COLORS, START, OWNER, IMAGE, ALPHA, width, height, D, first_channel, CHANNELS: tl.constexpr
):  # fmt: skip
    """A program per tile, the tile's pixels [256] as the vector; an image is a tuple of such vectors, one per channel.

    Memory is slow to answer, so the loop asks ahead: while a Gaussian is drawn, the numbers of the next one are on their way,
    and so is the index of the one after that.
    """
    camera, x, y, inside = _pixels(width, height)
    px, py = x + 0.5, y + 0.5
    T = tl.where(inside, 1.0, 0.0)
    seen = tl.zeros([PIXELS], tl.float32)  # equals 1 - T, but keeps its digits where it is small
    image = _zeros(CHANNELS)
    p, end = tl.load(START + tl.program_id(0)), tl.load(START + tl.program_id(0) + 1)

    COLORS += first_channel
    g = tl.load(OWNER + p, mask=p < end, other=0).to(tl.int64)
    mx, my, A, B, C, o = _load_splat(SPLATS, g, p < end)
    color = _load_channels(COLORS, g * D, p < end, CHANNELS)
    g = tl.load(OWNER + p + 1, mask=p + 1 < end, other=0).to(tl.int64)
    while (p < end) & (tl.max(T, 0) > 0.0):
        stop = tl.minimum(p + CHUNK, end)
        while p < stop:
            next_mx, next_my, next_A, next_B, next_C, next_o = _load_splat(SPLATS, g, p + 1 < end)
            next_color = _load_channels(COLORS, g * D, p + 1 < end, CHANNELS)
            g = tl.load(OWNER + p + 2, mask=p + 2 < end, other=0).to(tl.int64)

            _, _, _, _, weight, T = _blend(px, py, T, mx, my, A, B, C, o)
            seen += weight
            image = _add_scaled(image, weight, color, CHANNELS)
            mx, my, A, B, C, o, color = next_mx, next_my, next_A, next_B, next_C, next_o, next_color
            p += 1

    pixel = (camera.to(tl.int64) * height + y) * width + x
    tl.store(ALPHA + pixel, seen, mask=inside)
    for d in tl.static_range(CHANNELS):
        tl.store(IMAGE + pixel * D + first_channel + d, image[d], mask=inside)


@triton.jit
def _composite_backward(
    SPLATS, COLORS, START, OWNER, SLOT, IMAGE, ALPHA, G_IMAGE, G_ALPHA, PARTS,
    width, height, D, first_channel, CHANNELS: tl.constexpr,
):  # fmt: skip
    """The forward loop once more, front to back, which ends as early. A row of PARTS [P, 6 + CHANNELS] per pair: mean 2,
    conic 3, opacity 1, colour.

    q = g . c is what this Gaussian's colour is worth to the loss at each pixel, and `rest` what everything not yet drawn adds
    to it. A larger alpha trades one for the other: dL/dalpha = T q - rest / (1 - alpha), rest without this Gaussian.
    """
    camera, x, y, inside = _pixels(width, height)
    px, py = x + 0.5, y + 0.5
    T = tl.where(inside, 1.0, 0.0)
    pixel = (camera.to(tl.int64) * height + y) * width + x
    ga = tl.load(G_ALPHA + pixel, mask=inside, other=0.0)
    ga = tl.where(first_channel == 0, ga, 0.0)  # of several passes over the channels only one carries alpha's share
    gc = _load_channels(G_IMAGE, pixel * D + first_channel, inside, CHANNELS)
    image = _load_channels(IMAGE, pixel * D + first_channel, inside, CHANNELS)
    rest = ga * tl.load(ALPHA + pixel, mask=inside, other=0.0)
    for d in tl.static_range(CHANNELS):
        rest += gc[d] * image[d]
    p, end = tl.load(START + tl.program_id(0)), tl.load(START + tl.program_id(0) + 1)

    COLORS += first_channel
    g = tl.load(OWNER + p, mask=p < end, other=0).to(tl.int64)
    mx, my, A, B, C, o = _load_splat(SPLATS, g, p < end)
    color = _load_channels(COLORS, g * D, p < end, CHANNELS)
    g = tl.load(OWNER + p + 1, mask=p + 1 < end, other=0).to(tl.int64)
    while (p < end) & (tl.max(T, 0) > 0.0):
        stop = tl.minimum(p + CHUNK, end)
        while p < stop:
            next_mx, next_my, next_A, next_B, next_C, next_o = _load_splat(SPLATS, g, p + 1 < end)
            next_color = _load_channels(COLORS, g * D, p + 1 < end, CHANNELS)
            g = tl.load(OWNER + p + 2, mask=p + 2 < end, other=0).to(tl.int64)
            part = PARTS + tl.load(SLOT + p) * (6 + CHANNELS)

            dx, dy, alpha, clamped, weight, T = _blend(px, py, T, mx, my, A, B, C, o)
            q = ga
            for d in tl.static_range(CHANNELS):
                q += gc[d] * color[d]
            rest -= weight * q
            slope = tl.where(clamped, 0.0, weight * q - rest * alpha / (1.0 - alpha))  # dL / d log alpha
            sx, sy = tl.sum(slope * dx, 0), tl.sum(slope * dy, 0)
            tl.store(part, A * sx + B * sy)
            tl.store(part + 1, B * sx + C * sy)
            tl.store(part + 2, tl.sum(slope * dx * dx, 0) * -0.5)
            tl.store(part + 3, -tl.sum(slope * dx * dy, 0))
            tl.store(part + 4, tl.sum(slope * dy * dy, 0) * -0.5)
            tl.store(part + 5, tl.sum(slope, 0) / o)
            for d in tl.static_range(CHANNELS):
                tl.store(part + 6 + d, tl.sum(weight * gc[d], 0))
            mx, my, A, B, C, o, color = next_mx, next_my, next_A, next_B, next_C, next_o, next_color
            p += 1


@triton.jit
def _sum_slots_kernel(
    PARTS, FIRST, COUNT, OUT, G, terms, BG: tl.constexpr, BS: tl.constexpr, BT: tl.constexpr
):  # fmt: skip
    """A program per block of Gaussians, [BG, BS, BT] = Gaussians x slots x terms as the vector.

    Most Gaussians are done in one step of BS slots; the loop is for those that reach many tiles.
    """
    g = tl.program_id(0).to(tl.int64) * BG + tl.arange(0, BG)  # [BG]
    t = tl.arange(0, BT)
    first = tl.load(FIRST + g, mask=g < G, other=0)
    count = tl.load(COUNT + g, mask=g < G, other=0)
    total = tl.zeros([BG, BT], tl.float32)
    for i in range(0, tl.max(count, 0), BS):
        s = i + tl.arange(0, BS)
        cell = (s[None, :] < count[:, None])[:, :, None] & (t < terms)[None, None, :]
        at = (first[:, None] + s[None, :])[:, :, None] * terms + t[None, None, :]
        total += tl.sum(tl.load(PARTS + at, mask=cell, other=0.0), 1)
    tl.store(OUT + g[:, None] * terms + t[None, :], total, mask=(g < G)[:, None] & (t < terms)[None, :])
