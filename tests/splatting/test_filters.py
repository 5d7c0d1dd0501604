"""The filters against golden figures, closed forms, and the properties that the paper claims."""

import math

import numpy as np
import pytest
import torch

from bestpapers.kernels.rasterize.reference import rotation_matrices
from bestpapers.splatting import filters
from bestpapers.splatting.coordinates import placed
from bestpapers.splatting.data import Camera

from .golden import CAMERA, COEF, F64, MEANS, OPACITIES, PHI, SCALES


def camera(focal=100.0, z=0.0, size=100):
    view = np.eye(4)
    view[2, 3] = z
    return Camera(view, [[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]], size, size)


def test_golden_size_and_opacity_factor():
    phi = filters.smoothing_scale(MEANS, [CAMERA])
    # the third lies at u = 159, beyond 1.15 x 128 px: no camera sees it, so it would take the largest phi; the golden
    # figures give every Gaussian the rate of its own depth
    torch.testing.assert_close(phi[[0, 1, 3]], PHI[[0, 1, 3]], rtol=1e-6, atol=0)
    scales, opacities = filters.smooth_3d(SCALES, OPACITIES, PHI)
    torch.testing.assert_close(opacities / OPACITIES, COEF, rtol=1e-7, atol=0)
    torch.testing.assert_close(scales**2, SCALES**2 + PHI[:, None] ** 2)


def test_what_no_camera_sees_gets_the_largest_filter():
    phi = filters.smoothing_scale(MEANS, [CAMERA])
    assert phi[2] == phi[[0, 1, 3]].max()


def test_rule_of_the_paper_and_of_the_code():
    # z = 2 before f = 100 and z = 4 before f = 200: 50 samples per unit in both
    cameras = [camera(100.0, z=-2.0), camera(200.0)]
    point = torch.tensor([[0.0, 0.0, 4.0]], dtype=F64)
    assert filters.smoothing_scale(point, cameras, "code").item() == pytest.approx(math.sqrt(0.2) * 2 / 200)
    assert filters.smoothing_scale(point, cameras, "paper").item() == pytest.approx(math.sqrt(0.2) / 50)


def test_rules_agree_for_equal_focal_lengths():
    cameras = [camera(100.0, z=z) for z in (0.0, 1.0, -1.0)]
    points = torch.rand(50, 3, dtype=F64, generator=torch.Generator().manual_seed(0)) + torch.tensor([-0.5, -0.5, 2.0])
    torch.testing.assert_close(
        filters.sampling_rate(points, cameras, "paper"), filters.sampling_rate(points, cameras, "code")
    )


@pytest.mark.parametrize(("x", "seen"), [(1.3 - 1e-9, True), (1.3 + 1e-9, False), (-1.3, True), (-1.3 - 1e-9, False)])
def test_margin_of_fifteen_percent(x, seen):
    # f = 50, size 100, z = 1: u = 50 x + 50, so u = 115 at x = 1.3
    points = torch.tensor([[x, 0, 1.0], [0, 0, 8.0]], dtype=F64)
    rate = filters.sampling_rate(points, [camera(50.0)])
    assert rate.tolist() == pytest.approx([50.0 if seen else 50 / 8, 50 / 8])


@pytest.mark.parametrize(
    ("x", "y", "seen"), [(2.59, 0, True), (2.61, 0, False), (0, 0.81, True), (0, 0.82, False), (0, -0.82, False)]
)
def test_the_margin_is_of_its_own_side(x, y, seen):
    # 200 x 100 px, fx = 50, fy = 80, z = 1: u = 50 x + 100 up to 230, v = 80 y + 50 up to 115
    wide = Camera(np.eye(4), [[50, 0, 100], [0, 80, 50], [0, 0, 1]], 200, 100)
    points = torch.tensor([[x, y, 1.0], [0, 0, 8.0]], dtype=F64)
    for rule in ("code", "paper"):
        assert filters.sampling_rate(points, [wide], rule)[0].item() == pytest.approx(50.0 if seen else 50 / 8)


def test_nearer_than_the_near_plane_is_not_seen():
    points = torch.tensor([[0, 0, 0.2], [0, 0, 0.2001], *[[0, 0, 4.0]] * 3], dtype=F64)
    assert filters.sampling_rate(points, [camera(50.0)]).tolist() == pytest.approx([12.5, 50 / 0.2001, *[12.5] * 3])


def test_the_near_limit_goes_with_the_unit_of_a_small_scene():
    """In units of 3 % everything lies nearer than the authors' 0.2; the filter is the same part of the scene."""
    cameras = [camera(100.0, z=z) for z in (0.0, 1.0)]
    points = torch.rand(50, 3, dtype=F64, generator=torch.Generator().manual_seed(0)) + torch.tensor([-0.5, -0.5, 2.0])
    assert filters.near_limit(points, cameras) == filters.NEAR
    small = [placed(c, (0, 0, 0), 1 / 0.03) for c in cameras]
    torch.testing.assert_close(
        filters.smoothing_scale(0.03 * points, small), 0.03 * filters.smoothing_scale(points, cameras)
    )


@pytest.mark.parametrize(
    ("points", "cameras", "rule", "message"),
    [
        ([[0, 0, -1.0]], [camera()], "code", "no camera sees any Gaussian"),
        ([[0, 0, 1.0]], [], "code", "no cameras given"),
        ([[0, 0, 1.0]], [camera()], "both", 'rule must be "code" or "paper"'),
    ],
)
def test_bad_input_is_named(points, cameras, rule, message):
    with pytest.raises(ValueError, match=message):
        filters.sampling_rate(torch.tensor(points), cameras, rule)


def test_unknown_method():
    with pytest.raises(ValueError, match="method must be one of 3dgs, ewa, mip"):
        filters.method("nerf")


def test_methods_are_those_of_the_paper():
    rows = {name: (m.eps2d, m.compensate, m.smooth_3d) for name, m in filters.METHODS.items()}
    assert rows == {
        "3dgs": (0.3, False, False),
        "ewa": (0.3, True, False),
        "mip": (0.1, True, True),
        "mip-no-3d": (0.1, True, False),
        "mip-no-2d": (0.0, False, True),
        "3dgs-no-dilation": (0.0, False, False),
    }


@pytest.mark.parametrize(
    ("g", "mip", "ewa", "gain"),
    [(0.1, 0.0909, 0.0323, 31), (0.2, 0.2857, 0.1176, 8.5), (0.3, 0.4737, 0.2308, 4.33), (0.5, 0.7143, 0.4545, 2.2),
     (0.8, 0.8649, 0.6809, 1.47), (1.5, 0.9574, 0.8824, 1.13), (3.0, 0.9890, 0.9677, 1.03)],
)  # fmt: skip
def test_height_at_the_centre_and_light(g, mip, ewa, gain):
    cov = g**2 * torch.eye(2, dtype=F64)
    for eps, want in ((0.1, mip), (0.3, ewa)):
        wide, rho = filters.widen_2d(cov, eps, True)
        assert rho.item() == pytest.approx(want, abs=5e-5)
        assert (rho * (wide.det() / cov.det()).sqrt()).item() == pytest.approx(1, abs=1e-12)  # the light is kept
    wide, one = filters.widen_2d(cov, 0.3, False)
    assert one.item() == 1
    assert (wide.det() / cov.det()).sqrt().item() == pytest.approx(gain, rel=6e-3)


def test_a_splat_without_width_has_no_light_and_no_nan():
    """Rounding gives needles a determinant a little below zero."""
    v = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
    needles = v[:, :, None] * v[:, None, :]
    assert (needles.det() < 0).any()
    _, rho = filters.widen_2d(needles, 0.3, True)
    assert rho.isfinite().all()
    assert rho.max() < 1e-3


def test_opacity_factor_is_a_ratio_of_volumes():
    generator = torch.Generator().manual_seed(0)
    scales = torch.rand(20, 3, dtype=F64, generator=generator) + 0.01
    phi = torch.rand(20, dtype=F64, generator=generator)
    R = rotation_matrices(torch.randn(20, 4, dtype=F64, generator=generator))
    sigma = R @ torch.diag_embed(scales**2) @ R.mT
    wide = sigma + torch.diag_embed((phi**2)[:, None].expand(-1, 3))
    new_scales, factor = filters.smooth_3d(scales, torch.ones(20, dtype=F64), phi)
    torch.testing.assert_close(factor, (sigma.det() / wide.det()).sqrt())
    torch.testing.assert_close(R @ torch.diag_embed(new_scales**2) @ R.mT, wide)


def test_a_round_gaussian_as_wide_as_its_filter():
    one = torch.ones(1, dtype=F64)
    assert filters.smooth_3d(one[:, None].expand(1, 3), one, one)[1].item() == pytest.approx(2**-1.5)


def test_every_gaussian_is_band_limited():
    """C12: in the best camera no axis is narrower than sqrt(0.2) px, whatever the trained scale."""
    generator = torch.Generator().manual_seed(1)
    cameras = [camera(f, z) for f, z in ((60.0, 0.0), (60.0, 1.0), (60.0, -1.5))]
    points = torch.randn(300, 3, dtype=F64, generator=generator) * 0.3 + torch.tensor([0, 0, 4.0])
    scales = torch.exp(torch.randn(300, 3, dtype=F64, generator=generator) * 4 - 6)
    wide, _ = filters.smooth_3d(scales, torch.ones(300, dtype=F64), filters.smoothing_scale(points, cameras))
    assert (wide.amin(-1) * filters.sampling_rate(points, cameras)).min() >= math.sqrt(0.2) - 1e-12
