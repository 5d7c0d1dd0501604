import math

import numpy as np
import pytest

from bestpapers.dynamics.scenes import canvas
from bestpapers.dynamics.scenes.backgrounds import draw_background


def area(outline):
    x, y = outline.T
    return abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def test_noise_is_smooth_bounded_and_its_own_for_each_seed():
    x, y = np.meshgrid(np.linspace(-5, 5, 201), np.linspace(-5, 5, 201))
    for make in (canvas.noise, canvas.fbm):
        n = make(x, y, 3)
        assert n.shape == x.shape
        assert np.abs(n).max() <= 1
        assert n.std() > 0.15
        assert abs(n.mean()) < 0.12
        assert np.abs(np.diff(n, axis=1)).max() < 0.45
        np.testing.assert_array_equal(n, make(x, y, 3))
        assert (n != make(x, y, 4)).mean() > 0.9
    both = canvas.noise(np.array([0.3, 0.3]), np.array([0.6, 0.6]), np.array([1, 2]))
    assert both[0] == canvas.noise(0.3, 0.6, 1) != both[1] == canvas.noise(0.3, 0.6, 2)


def test_step_and_mix():
    np.testing.assert_allclose(canvas.step(1.0, 2.0, np.array([0.0, 1.5, 3.0])), [0, 0.5, 1])
    np.testing.assert_allclose(canvas.step(2.0, 1.0, np.array([0.0, 1.5, 3.0])), [1, 0.5, 0])
    mixed = canvas.mix((0.0, 0.0, 0.0), (1.0, 0.5, 0.2), np.array([0.0, 0.5]))
    np.testing.assert_allclose(mixed, [[0, 0, 0], [0.5, 0.25, 0.1]])


def test_outlines_have_their_sizes():
    assert area(canvas.circle(0.3, 0.2, 0.1, 200)) == pytest.approx(math.pi * 0.01, rel=1e-3)
    turned = canvas.ellipse(0.0, 0.0, 0.2, 0.1, math.pi / 2, 200)
    np.testing.assert_allclose(np.ptp(turned, axis=0), [0.2, 0.4], rtol=1e-3)
    leaf = canvas.leaf((0.5, 0.5, math.pi / 2), 0.2, 0.08, 41)
    np.testing.assert_allclose(leaf[:, 1].min(), 0.5, atol=1e-9)
    np.testing.assert_allclose(leaf[:, 1].max(), 0.7, atol=1e-9)
    assert np.ptp(leaf[:, 0]) == pytest.approx(0.08, rel=0.02)
    widest = leaf[np.abs(leaf[:, 0] - 0.5).argmax(), 1] - 0.5
    assert widest / 0.2 == pytest.approx(0.42, abs=0.05)
    band = canvas.tapered([(0, 0), (1, 0)], [0.1, 0.05])
    assert area(band) == pytest.approx(0.15)


def test_a_smooth_curve_goes_through_its_points():
    points = np.array([[0, 0], [1, 0.5], [2, 0], [3, 1]])
    curve = canvas.smooth(points, 8)
    assert curve.shape == (25, 2)
    np.testing.assert_allclose(curve[::8], points, atol=1e-12)
    turns = np.diff(np.arctan2(*np.diff(curve, axis=0).T[::-1]))
    assert np.abs(turns).max() < 0.5


def test_tones_are_darker_in_the_shade_and_never_beyond_white():
    for hour in ("dawn", "day", "golden", "dusk"):
        ground = draw_background("tree", np.random.default_rng(0), hour=hour)
        tone = np.array(canvas.tones(ground, (1.0, 1.0, 1.0)))
        assert tone[:3].mean() < tone[3:].mean() <= 1.0 + 1e-6


def test_a_leaf_is_brighter_where_it_faces_the_light():
    u, v = np.linspace(0.005, 0.03, 20), np.full(20, 0.004)
    skin = np.array([0.0, 0.1, 0.0, 0.4, 0.8, 0.2, 0.035, 0.02, 0.5, 0.0, 7.0])[:, None] + np.zeros(20)
    half = canvas.foliage(u, v, skin, 0.002)
    skin[8] = 1.0
    full = canvas.foliage(u, v, skin, 0.002)
    assert half.shape == (20, 3)
    assert (full[:, 1] > half[:, 1]).all()
    skin[9] = 0.3
    assert canvas.foliage(u, v, skin, 0.002)[:, 1].mean() > canvas.foliage(u, -v, skin, 0.002)[:, 1].mean()
