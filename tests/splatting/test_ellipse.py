import io
import itertools
import json
import math
import shutil
import subprocess

import numpy as np
import pytest
import torch
from PIL import Image
from traitlets import TraitError

from bestpapers.course.widgets.join import joined
from bestpapers.kernels.rasterize import reference
from bestpapers.splatting.filters import DILATION, MIP_VARIANCE, widen_2d
from bestpapers.splatting.widgets import Ellipse, ellipse

from .. import pages

# scales, turn, roll, position, depth, focal: in the image, at its border, in the clamp's zone on both sides
CASES = [
    ((0.3, 0.025, 0.1), 60.0, -30.0, 24.0, 2.0, 24.0),
    ((0.05, 0.05, 0.05), 0.0, 0.0, 16.0, 1.0, 64.0),
    ((0.1, 0.4, 0.0125), -80.0, 15.0, 32.0, 3.0, 12.0),
    ((0.2, 0.02, 0.1), 35.0, 80.0, 45.0, 1.5, 8.0),
    ((0.02, 0.3, 0.07), 10.0, -90.0, -16.0, 8.0, 20.0),
]


def solve(scales, turn, roll, position, depth, focal, clamp=True):
    R = ellipse.rotation(ellipse.quaternion(turn, roll))
    mean = ellipse.center(position, depth, focal)
    return R, mean, ellipse.linear(scales, R, mean, focal, clamp)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("eps2d", [DILATION, MIP_VARIANCE])
def test_the_ellipse_is_the_rasterisers(case, eps2d):
    scales, turn, roll, position, depth, focal = case
    R, mean, S = solve(*case)
    t = lambda values: torch.as_tensor(np.asarray(values), dtype=torch.float64)  # noqa: E731
    q = t(ellipse.quaternion(turn, roll))
    K = t([[focal, 0, ellipse.WIDTH / 2], [0, focal, ellipse.HEIGHT / 2], [0, 0, 1]])
    means2d, depths, conics, rho, _ = reference.project(
        t(mean)[None], q[None], t(scales)[None], t(np.eye(4))[None], K[None], ellipse.WIDTH, ellipse.HEIGHT, eps2d=eps2d
    )
    np.testing.assert_allclose(R, reference.rotation_matrices(q), atol=1e-15)
    np.testing.assert_allclose(means2d[0, 0], [position, ellipse.HEIGHT / 2], rtol=1e-12)
    assert depths.item() == depth
    inverse = np.linalg.inv(S + eps2d * np.eye(2))
    np.testing.assert_allclose(conics[0, 0], inverse[[0, 0, 1], [0, 1, 1]], rtol=1e-9, atol=1e-12)
    assert ellipse.rho(S, eps2d) == pytest.approx(rho.item(), rel=1e-9)
    assert ellipse.rho(S, eps2d) == pytest.approx(widen_2d(t(S), eps2d, True)[1].item(), rel=1e-9)


def test_the_clamp_acts_beyond_its_limits_only():
    limit = ellipse.WIDTH / 2 * 2.3  # px from the left edge: the middle and 1.3 half widths
    for position, same in (
        (24.0, True),
        (limit - 0.01, True),
        (limit + 0.01, False),
        (ellipse.WIDTH - limit - 0.01, False),
    ):
        case = ((0.1, 0.1, 0.1), 0.0, 0.0, position, 2.0, 16.0)
        assert np.array_equal(solve(*case)[2], solve(*case, clamp=False)[2]) == same, position


def test_without_the_clamp_the_map_is_the_derivative():
    case = CASES[3]
    R, mean, S = solve(*case, clamp=False)
    f = lambda p: case[-1] * p[:2] / p[2]  # noqa: E731
    steps = 1e-6 * np.eye(3)
    J = np.stack([(f(mean + step) - f(mean - step)) / 2e-6 for step in steps], axis=1)
    np.testing.assert_allclose(S, J @ R @ np.diag(np.square(case[0])) @ R.T @ J.T, rtol=1e-7)


def test_tiny_gaussians_meet_the_floor_of_rho():
    S = solve((0.0125,) * 3, 0.0, 0.0, 16.0, 8.0, 8.0)[2]
    assert ellipse.rho(S, 0.3) == 0.005


def test_the_points_have_no_luck_of_the_draw():
    points = ellipse.standard_points().astype(np.float64)
    assert points.shape == (400, 3)
    np.testing.assert_allclose(points.mean(0), 0, atol=1e-7)
    np.testing.assert_allclose(points.T @ points / len(points), np.eye(3), atol=1e-6)
    assert len(np.unique(points[:, 0])) == 400
    assert np.abs(points).max() > 2.5  # drawn, not laid on a sphere


def test_points_of_a_far_gaussian_confirm_the_linear_map_and_those_of_a_near_one_do_not():
    R, mean, S = solve((0.02, 0.0125, 0.03), 40.0, 20.0, 30.0, 8.0, 24.0)
    middle, cov = ellipse.moments(ellipse.on_screen(ellipse.standard_points(), (0.02, 0.0125, 0.03), R, mean, 24.0))
    np.testing.assert_allclose(cov, S, rtol=1e-3)
    np.testing.assert_allclose(middle, [30.0, 12.0], atol=1e-2)
    R, mean, S = solve(*CASES[0])
    _, cov = ellipse.moments(ellipse.on_screen(ellipse.standard_points(), CASES[0][0], R, mean, 24.0))
    many = np.random.default_rng(1).standard_normal((200_000, 3))  # an independent and far larger sample
    _, true = ellipse.moments(ellipse.on_screen(many, CASES[0][0], R, mean, 24.0))
    flat, few, full = (np.sqrt(np.diag(c)) for c in (S, cov, true))
    np.testing.assert_allclose(few, full, rtol=0.03)
    assert (flat < 0.95 * full).all()


def test_points_behind_the_camera_are_left_out():
    z = np.array([[0.0, 0, -2.6], [0, 0, 0], [0, 0, 1]])
    seen = ellipse.on_screen(z, (0.4, 0.4, 0.4), np.eye(3), np.array([0, 0, 1.0]), 8.0)
    np.testing.assert_array_equal(seen, [[16, 12], [16, 12]])


node = shutil.which("node")


@pytest.mark.skipif(
    node is None, reason="node is not installed: the browser's functions are not compared with Python's"
)
def test_the_browser_computes_the_same(tmp_path):
    module = tmp_path / "ellipse.mjs"
    module.write_text(joined(Ellipse.module), encoding="utf-8")
    points = [*ellipse.standard_points()[:50].tolist(), [0.0, 0.0, -2.6]]
    cases = [*CASES, ((0.1, 0.1, 0.4), 0.0, 0.0, 20.0, 1.0, 16.0)]  # here the last point lies behind the camera
    script = f"""
        import * as m from {json.dumps(module.as_uri())};
        const c = {json.dumps(Ellipse().constants)};
        const points = {json.dumps(points)};
        const solve = ([scales, turn, roll, position, depth, focal], clamp) => {{
          const q = m.quaternion(turn, roll);
          const mean = m.center(position, depth, focal, c);
          const S = m.linear(scales, m.rotation(q), mean, focal, clamp, c);
          const seen = m.onScreen(points, scales, m.rotation(q), mean, focal, c);
          const found = m.moments(seen);
          return {{ q, mean, S, seen, middle: found.mean, cov: found.cov, rho: [c.mip, c.dilation].map((e) => m.rho(S, e, c)),
            det: m.det(S), half: m.halfWidth(S, c) }};
        }};
        console.log(JSON.stringify({json.dumps(cases)}.flatMap((k) => [solve(k, true), solve(k, false)])));"""
    done = subprocess.run([node, "--input-type=module", "-e", script], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert [len(result["seen"]) for result in found[-3:]] == [51, 50, 50]
    for result, (case, clamp) in zip(found, itertools.product(cases, (True, False)), strict=True):
        R, mean, S = solve(*case, clamp)
        seen = ellipse.on_screen(points, case[0], R, mean, case[-1])
        middle, cov = ellipse.moments(seen)
        want = {
            "q": ellipse.quaternion(case[1], case[2]),
            "mean": mean,
            "S": S,
            "seen": seen,
            "middle": middle,
            "cov": cov,
            "rho": [ellipse.rho(S, eps) for eps in (MIP_VARIANCE, DILATION)],
            "det": ellipse.det(S),
            "half": ellipse.half_width(S),
        }
        assert set(want) == set(result)
        for name, values in want.items():
            np.testing.assert_allclose(result[name], values, rtol=1e-12, atol=1e-14, err_msg=f"{name}, {case}, {clamp}")


def test_words_and_still_follow_the_traits():
    widget = Ellipse()
    assert widget.describe() == Ellipse().describe()
    assert "across the image 2.69 px by the linear map, 2.94 px by the points" in widget.describe()
    ((png, alt),) = widget.still()
    assert "400 true points" in alt
    assert Image.open(io.BytesIO(png)).width == 860
    assert png == Ellipse().still()[0][0]
    widget.scales = [0.0125, 0.0125, 0.0125]
    assert "sizes 0.0125, 0.0125, 0.0125" in widget.describe()
    assert widget.still()[0][0] != png


@pytest.mark.parametrize(
    "change",
    [
        {"scales": [0.1, 0.1]},
        {"scales": [0.1, 0.1, 0.0]},
        {"depth": 0.5},
        {"focal": float("nan")},
        {"turn": 91.0},
        {"position": 49.0},
    ],
)
def test_values_out_of_range_are_refused(change):
    with pytest.raises(TraitError, match=f"{next(iter(change))}.*(must be between|of length)"):
        Ellipse(**change)


def test_every_control_answers_the_keyboard(tmp_path):
    with pages.opened(tmp_path, Ellipse(position=40.0)) as page:
        assert page.get_by_role("slider").count() == 8
        assert page.locator(".bp-point").first.get_attribute("d").count("M") == 400
        assert pages.press_each_slider(page) == []
        assert page.get_by_role("slider", name="place across").get_attribute("aria-valuetext") == "39 px"
        before = pages.drawing(page), page.locator("output").inner_text()
        page.get_by_role("checkbox").focus()
        page.keyboard.press("Space")
        assert pages.drawing(page) != before[0]
        assert page.locator("output").inner_text() != before[1]
        for key in ("Home", "End"):  # the ends of all ranges at once
            for slider in page.get_by_role("slider").all():
                slider.focus()
                page.keyboard.press(key)
            assert "NaN" not in pages.drawing(page) + page.locator("output").inner_text()


@pytest.mark.parametrize(("turn", "roll"), [(0.0, -30.0), (60.0, -30.0), (60.0, 80.0)])
@pytest.mark.parametrize("axis", [1, 2])
def test_its_axes_are_dragged_by_their_ends(tmp_path, turn, roll, axis):
    with pages.opened(tmp_path, Ellipse(turn=turn, roll=roll, scales=[0.2, 0.1, 0.1])) as page:
        svg = page.locator("figure:first-child svg").bounding_box()
        step = svg["width"] / (ellipse.WIDTH + 2 * ellipse.BORDER[0])  # of the window, for one pixel of the image
        to = svg["x"] + (24 + 4 + 16) * step, svg["y"] + (12 + 6 + 8) * step

        def handle():
            box = page.locator(".bp-handle circle").nth(axis).bounding_box()
            return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

        page.mouse.move(*handle())
        page.mouse.down()
        page.mouse.move(*to, steps=12)
        page.mouse.move(to[0] + 1, to[1])
        page.mouse.move(*to)
        page.mouse.up()
        np.testing.assert_allclose(handle(), to, atol=0.2 * step)
        assert page.locator(".bp-linear").first.get_attribute("d").count("NaN") == 0
        if axis == 2:  # it lies in the image's plane: its length says its size, and its direction the roll
            size, rolled = (page.get_by_role("slider", name=n) for n in ("size, 2nd axis", "roll in the image"))
            assert size.get_attribute("aria-valuetext") == f"{(math.hypot(4, 6) - 2.6) / 3 * 2 / 24:.3g}"
            want = math.degrees(math.atan2(6, 4)) - 90
            assert float(rolled.get_attribute("aria-valuetext")[:-1].replace("−", "-")) == pytest.approx(want, abs=0.2)


def test_its_centre_is_dragged_and_all_comes_back(tmp_path):
    with pages.opened(tmp_path, Ellipse()) as page:
        pages.assert_resets(page)
        page.evaluate("scrollTo(0, 0)")
        svg = page.locator("figure:first-child svg").bounding_box()
        ring = page.locator(".bp-handle circle").first.bounding_box()
        at = ring["x"] + ring["width"] / 2, ring["y"] + ring["height"] / 2
        page.mouse.move(*at)
        page.mouse.down()
        page.mouse.move(at[0] - svg["width"] / 8, at[1] - 30, steps=3)
        page.mouse.move(at[0] - svg["width"], at[1], steps=3)
        assert page.get_by_role("slider", name="place across").get_attribute("aria-valuetext") == "−16 px"
        page.mouse.move(at[0] - svg["width"] / 8, at[1] - 30, steps=3)
        page.mouse.up()
        assert page.get_by_role("slider", name="place across").get_attribute("aria-valuetext") == "16 px"


def test_the_drawn_ellipses_have_the_right_sizes(tmp_path):
    scales, position, focal = Ellipse().scales, 40.0, 24.0
    R, mean, S = solve(scales, 60.0, -30.0, position, 2.0, focal, clamp=False)
    _, sampled = ellipse.moments(ellipse.on_screen(ellipse.standard_points(), scales, R, mean, focal))
    want = {
        "figure:first-child .bp-linear": 9 * S,
        "figure:first-child .bp-sampled": 9 * sampled,
        "figure:last-child .bp-linear": S,
        "figure:last-child .bp-mip": S + 0.1 * np.eye(2),
        "figure:last-child .bp-dilation": S + 0.3 * np.eye(2),
    }
    with pages.opened(tmp_path, Ellipse(position=position, clamp=False)) as page:
        for path, covariance in want.items():
            box = page.locator(path).evaluate("e => { const b = e.getBBox(); return [b.width, b.height]; }")
            np.testing.assert_allclose(box, 2 * np.sqrt(np.diag(covariance)), rtol=2e-3, err_msg=path)


def test_the_readout_is_python_s(tmp_path):
    with pages.opened(tmp_path, Ellipse()) as page:
        text = page.locator("output").inner_text()
    assert "std across the image: linear 2.69 px, points 2.94 px, error −0.24 px (−8 %)" in text
    assert "std down the image: linear 1.07 px, points 1.15 px" in text
    assert "ρ = 0.77 with ε = 0.1 px², 0.568 with ε = 0.3 px²" in text


@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_phone_and_takes_the_page_s_colours(tmp_path, dark):
    pages.assert_fits_a_phone(tmp_path, Ellipse(), dark)


def test_without_scripts_the_still_is_shown(tmp_path):
    pages.assert_still_shown(tmp_path, Ellipse())
