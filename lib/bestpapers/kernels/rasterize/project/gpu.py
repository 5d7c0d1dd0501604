"""Projection on the GPU: a program per block of Gaussians, a loop over the cameras.

The gradient of a camera, to which all programs contribute, is written out in parts, which are then summed in a fixed order.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from ...programs import BLOCK, launch, load3, store3
from .. import rules

VIEW_MARGIN, EXTENT_SIGMA = tl.constexpr(rules.VIEW_MARGIN), tl.constexpr(rules.EXTENT_SIGMA)
DET_MIN, RHO2_MIN = tl.constexpr(rules.DET_MIN), tl.constexpr(rules.RHO_MIN**2)
LENGTH_MIN = tl.constexpr(rules.LENGTH_MIN)

CAMERA_TERMS = 16  # gradients per camera: rotation 9, translation 3, fx fy cx cy


def forward(means, quats, scales, viewmats, Ks, width, height, eps2d, near_plane, far_plane):
    """As `reference.project`; Gaussians that are not between the near and far planes hold zeros."""
    C, N = len(viewmats), len(means)
    means2d, depths, conics, rhos = (means.new_empty(C, N, *tail) for tail in ((2,), (), (3,), ()))
    radii = torch.empty(C, N, 2, dtype=torch.int32, device=means.device)
    inputs, settings = (means, quats, scales, viewmats, Ks), (width, height, eps2d, near_plane, far_plane)
    arguments = (*inputs, means2d, depths, conics, rhos, radii)
    launch(_project_forward, -(-N // BLOCK), *arguments, C, N, *settings, BLOCK=BLOCK)
    return means2d, depths, conics, rhos, radii


def backward(means, quats, scales, viewmats, Ks, width, height, eps2d, near_plane, far_plane, *upstream, cameras):
    """Gradients of all five tensors, from those of means2d, depths, conics and compensations. Those of viewmats and Ks are None
    unless `cameras`."""
    C, N = len(viewmats), len(means)
    g_means, g_quats, g_scales = (torch.empty_like(t) for t in (means, quats, scales))
    programs = -(-N // BLOCK)
    parts = means.new_empty(programs, C, CAMERA_TERMS if cameras else 0)
    inputs, settings = (means, quats, scales, viewmats, Ks), (width, height, eps2d, near_plane, far_plane)
    arguments = (*inputs, *upstream, g_means, g_quats, g_scales, parts)
    launch(_project_backward, programs, *arguments, C, N, *settings, CAMERAS=cameras, BLOCK=BLOCK)
    if not cameras:
        return g_means, g_quats, g_scales, None, None
    g_cameras = parts.sum(0, dtype=torch.float64).float()
    g_viewmats, g_Ks = torch.zeros_like(viewmats), torch.zeros_like(Ks)
    g_viewmats[:, :3, :3] = g_cameras[:, :9].unflatten(-1, (3, 3))
    g_viewmats[:, :3, 3] = g_cameras[:, 9:12]
    for k, (i, j) in enumerate(((0, 0), (1, 1), (0, 2), (1, 2))):
        g_Ks[:, i, j] = g_cameras[:, 12 + k]
    return g_means, g_quats, g_scales, g_viewmats, g_Ks


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
    size = tl.maximum(tl.maximum(tl.abs(w), tl.abs(x)), tl.maximum(tl.abs(y), tl.abs(z)))
    first = 1.0 / tl.where(size > LENGTH_MIN, size, 1.0)  # the square of 1e20 is no float32
    w, x, y, z = w * first, x * first, y * first, z * first
    inv = 1.0 / tl.maximum(tl.sqrt(w * w + x * x + y * y + z * z), LENGTH_MIN)
    return w * inv, x * inv, y * inv, z * inv, first * inv


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
    mean, scale = load3(MEANS, n, live), load3(SCALES, n, live)
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
        store3(CONICS, g, live, conic_xx.to(tl.float32), conic_xy.to(tl.float32), conic_yy.to(tl.float32))
        tl.store(RHOS + g, tl.where(inside, rho, 0.0), mask=live)
        tl.store(RADII + g * 2, tl.where(on_screen, tl.minimum(rx, 2.0**30), 0.0).to(tl.int32), mask=live)
        tl.store(RADII + g * 2 + 1, tl.where(on_screen, tl.minimum(ry, 2.0**30), 0.0).to(tl.int32), mask=live)


@triton.jit
def _project_backward(
    MEANS, QUATS, SCALES, VIEWS, KS, G_MEANS2D, G_DEPTHS, G_CONICS, G_RHOS,
    G_MEANS, G_QUATS, G_SCALES, PARTS, C, N, width, height, eps2d, near, far, CAMERAS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Laid out as the forward pass, whose steps it repeats rather than load their results.

    Gradients of a Gaussian are summed over the cameras in registers, those of a camera, if asked for, over the block's
    Gaussians: PARTS [programs, C, 16] holds one row per program and camera.
    """
    n = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)  # [BLOCK]
    live = n < N
    mean, scale = load3(MEANS, n, live), load3(SCALES, n, live)
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
        if CAMERAS:
            part = PARTS + (tl.program_id(0).to(tl.int64) * C + c) * 16
            g_rotation = (
                ga0 * j00 + gx * m0, ga1 * j00 + gx * m1, ga2 * j00 + gx * m2,
                gb0 * j11 + gy * m0, gb1 * j11 + gy * m1, gb2 * j11 + gy * m2,
                ga0 * j02 + gb0 * j12 + gz * m0, ga1 * j02 + gb1 * j12 + gz * m1, ga2 * j02 + gb2 * j12 + gz * m2,
            )  # fmt: skip
            _store_sums(part, g_rotation, 9)
            _store_sums(part + 9, (gx, gy, gz, g_fx, g_fy, g_cx, g_cy), 7)

    store3(G_MEANS, n, live, gm0, gm1, gm2)
    gs0, gs1 = p00 * r00 + p10 * r10 + p20 * r20, p01 * r01 + p11 * r11 + p21 * r21
    store3(G_SCALES, n, live, gs0, gs1, p02 * r02 + p12 * r12 + p22 * r22)
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
