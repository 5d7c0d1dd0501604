"""The painter: distances against closed forms, coverage against areas, patterns, clipping, frames."""

import math
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.path import Path

from bestpapers.bioclip.organisms import canvas as p

IDENTITY = np.array([1.0, 0, 0, 0, 1.0, 0])
LIGHT = np.array([-0.42, 0.62, 0.66])
RED, BLUE, GREY = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.5, 0.5, 0.5)
STAR = [(r * math.cos(k * math.pi / 5), r * math.sin(k * math.pi / 5)) for k, r in enumerate([0.8, 0.3] * 5)]


def distances(shape, points):
    """Signed distance, u and v of one shape at points [N, 2]: [N, 3]."""
    canvas = p.Canvas()
    canvas.part(shape, RED)
    _, shapes, vertices = canvas.arrays()
    edges = p._edges(shapes, vertices)
    return np.array([p._distance(shapes[0], edges, x, y) for x, y in points])


def picture(canvas, size=64, frame=IDENTITY):
    """Picture on black, and what is covered."""
    image, mask = np.zeros((size, size, 3)), np.zeros((size, size))
    p.paint(image, mask, frame, *canvas.arrays(), LIGHT)
    return image, mask


def one(shapes, colour=RED, size=64, frame=IDENTITY, **options):
    canvas = p.Canvas()
    canvas.part(shapes, colour, **({"rim": 0.0} | options))
    return picture(canvas, size, frame)


def area(mask):
    return mask.sum() * (2 / len(mask)) ** 2


@pytest.fixture
def points():
    return np.random.default_rng(0).uniform(-1, 1, (200, 2))


def test_distance_to_circle(points):
    expected = np.hypot(points[:, 0] - 0.2, points[:, 1] + 0.1) - 0.5
    np.testing.assert_allclose(distances(p.oval(0.2, -0.1, 0.5, 0.5, 0.7), points)[:, 0], expected, atol=1e-12)


def test_distance_to_capsule_and_place_along_it(points):
    d, u, v = distances(p.seg(-0.5, -0.3, 0.5, -0.3, 0.2), points).T
    along = (points[:, 0] + 0.5).clip(0, 1)
    np.testing.assert_allclose(u, along, atol=1e-12)
    away = np.hypot(points[:, 0] + 0.5 - along, points[:, 1] + 0.3)
    np.testing.assert_allclose(v, np.copysign(away, points[:, 1] + 0.3), atol=1e-12)
    np.testing.assert_allclose(d, away - 0.2, atol=1e-12)


def test_distance_to_outline(points):
    d = distances(p.poly(STAR), points)[:, 0]
    corners = np.array([*STAR, STAR[0]])
    t = np.linspace(0, 1, 2001)[:, None]
    edge = np.concatenate([a + t * (b - a) for a, b in pairwise(corners)])
    nearest = np.sqrt(((points[:, None] - edge[None]) ** 2).sum(-1)).min(1)
    np.testing.assert_allclose(np.abs(d), nearest, atol=3e-4)
    np.testing.assert_array_equal(d < 0, Path(corners, closed=True).contains_points(points))
    np.testing.assert_allclose(distances(p.poly(STAR, 0.1), points)[:, 0], d - 0.1, atol=1e-12)


def test_distance_to_ellipse_is_zero_on_it_and_grows_by_one_per_unit_off_it():
    a = np.linspace(0, 6, 50)
    on = np.stack([0.6 * np.cos(a), 0.25 * np.sin(a)], -1)
    normal = np.stack([np.cos(a) / 0.6, np.sin(a) / 0.25], -1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    c, s = math.cos(0.5), math.sin(0.5)
    turn = np.array([[c, s], [-s, c]])
    shape = p.oval(0, 0, 0.6, 0.25, 0.5)
    np.testing.assert_allclose(distances(shape, on @ turn)[:, 0], 0, atol=1e-12)
    np.testing.assert_allclose(distances(shape, (on + 1e-4 * normal) @ turn)[:, 0], 1e-4, rtol=0.01)


def test_curve_goes_through_its_points():
    nodes = [(-0.6, 0.0), (-0.2, 0.4), (0.3, -0.3), (0.7, 0.2)]
    _, closed, _ = p.blob(nodes, 4)
    np.testing.assert_allclose(closed[::4], nodes, atol=1e-12)
    bones = p.chain(nodes, [0.1, 0.2, 0.1, 0.05], 4)
    assert len(bones) == 12
    np.testing.assert_allclose([bone[1:3] for bone in bones[::4]], nodes[:3], atol=1e-12)
    lengths = [math.dist(bone[1:3], bone[3:5]) for bone in bones]
    np.testing.assert_allclose([bone[8] for bone in bones], np.cumsum(lengths), atol=1e-12)  # u at each end
    with pytest.raises(ValueError, match="zip"):
        p.chain(nodes, [0.1, 0.2])


AREAS = {
    "circle": (p.oval(0.11, -0.07, 0.5, 0.5), math.pi * 0.25),
    "ellipse": (p.oval(0.0, 0.05, 0.7, 0.3, 0.4), math.pi * 0.21),
    "capsule": (p.seg(-0.4, -0.3, 0.4, 0.3, 0.2), 0.4 + math.pi * 0.04),
    "star": (p.poly(STAR), 10 * 0.5 * 0.8 * 0.3 * math.sin(math.pi / 5)),
}


@pytest.mark.parametrize("size", [16, 33, 128])
@pytest.mark.parametrize("name", AREAS)
def test_coverage_equals_area(name, size):
    shape, expected = AREAS[name]
    _, mask = one(shape, size=size)
    assert area(mask) == pytest.approx(expected, rel=0.3 / size + 0.001)  # corners are rounded over a pixel
    assert mask.min() >= 0
    assert mask.max() == 1


def test_an_edge_through_a_pixel_covers_its_share():
    # a half plane whose edge lies a quarter into column 5 of 8 (columns are 0.25 wide, column 5 begins at 0.25)
    _, mask = one(p.poly([(-3, -3), (0.3125, -3), (0.3125, 3), (-3, 3)]), size=8)
    np.testing.assert_allclose(mask, np.tile([1, 1, 1, 1, 1, 0.25, 0, 0], (8, 1)), atol=1e-12)


def test_frame_moves_turns_and_mirrors():
    x, y, turn = 0.3, -0.2, 0.6
    still, _ = one(p.oval(x, y, 0.3, 0.1, turn))
    c, s = math.cos(turn), math.sin(turn)
    moved, _ = one(p.oval(0, 0, 0.3, 0.1), frame=np.array([c, s, -c * x - s * y, -s, c, s * x - c * y]))
    np.testing.assert_allclose(moved, still, atol=1e-9)
    mirrored, _ = one(p.oval(x, y, 0.3, 0.1, turn), frame=np.array([-1.0, 0, 0, 0, 1.0, 0]))
    np.testing.assert_allclose(mirrored, still[:, ::-1], atol=1e-9)
    near, _ = one(p.oval(x, y, 0.3, 0.1, turn), frame=np.array([0.5, 0, 0, 0, 0.5, 0]))
    large, _ = one(p.oval(2 * x, 2 * y, 0.6, 0.2, turn))
    np.testing.assert_allclose(near, large, atol=1e-9)


def test_later_parts_lie_in_front_and_alpha_lets_through():
    canvas = p.Canvas()
    canvas.part(p.oval(0, 0, 0.8, 0.8), RED, rim=0)
    canvas.part(p.oval(0, 0, 0.4, 0.4), BLUE, rim=0, alpha=0.25)
    image, _ = picture(canvas)
    np.testing.assert_allclose(image[32, 32], [0.75, 0, 0.25], atol=1e-12)
    np.testing.assert_allclose(image[32, 10], RED, atol=1e-12)


def test_clipped_part_shows_on_the_last_part_only():
    canvas = p.Canvas()
    canvas.part(p.oval(0.5, 0, 0.4, 0.4), GREY, rim=0)
    canvas.part(p.oval(-0.5, 0, 0.4, 0.4), RED, rim=0)
    canvas.part(p.poly([(-2, 0), (2, 0), (2, 2), (-2, 2)]), BLUE, rim=0, clip=True)
    image, mask = picture(canvas)
    _, alone = one(p.oval(-0.5, 0, 0.4, 0.4))
    _, other = one(p.oval(0.5, 0, 0.4, 0.4))
    np.testing.assert_allclose(mask, np.maximum(alone, other), atol=1e-9)  # nothing was painted beside them
    np.testing.assert_allclose(image[20, 48], GREY, atol=1e-12)
    np.testing.assert_allclose(image[24, 16], BLUE, atol=1e-12)
    np.testing.assert_allclose(image[40, 16], RED, atol=1e-12)


def test_clipped_part_without_a_part_below_paints_nothing():
    image, mask = one(p.oval(0, 0, 0.5, 0.5), clip=True)
    assert not image.any()
    assert not mask.any()


def test_gradient_runs_along_its_axis():
    image, _ = one(p.oval(0, 0, 3, 3), RED, to=BLUE, axis=(0.0, 0.5, 0.0, -0.5))
    np.testing.assert_allclose(image[0, 0], RED, atol=1e-12)
    np.testing.assert_allclose(image[-1, -1], BLUE, atol=1e-12)
    np.testing.assert_allclose(image[31:33, 7].mean(0), [0.5, 0, 0.5], atol=1e-12)


def test_soft_edge_falls_off_over_its_width():
    _, mask = one(p.poly([(-3, -3), (0, -3), (0, 3), (-3, 3)]), soft=1.0)
    row = mask[32]
    x = (2 * np.arange(64) + 1) / 64 - 1
    assert (np.diff(row) <= 1e-12).all()
    np.testing.assert_allclose(row[x <= -0.5], 1)
    np.testing.assert_allclose(row[x >= 0.5], 0)
    assert row[31] + row[32] == pytest.approx(1)


def test_bevel_is_light_towards_the_light():
    image, _ = one(p.oval(0, 0, 0.8, 0.8), GREY, bevel=0.8, light=0.8)
    assert image[18, 18, 0] > 0.5 > image[46, 46, 0]


def test_rim_darkens_the_outline_only():
    image, _ = one(p.oval(0, 0, 0.8, 0.8), GREY, rim=0.6)
    assert image[32, 32, 0] == pytest.approx(0.5)
    assert image[32, 6, 0] < 0.4


def test_blend_fills_the_notch_between_shapes():
    pair = [p.oval(-0.3, 0, 0.3, 0.3), p.oval(0.3, 0, 0.3, 0.3)]
    _, apart = one(pair)
    _, melted = one(pair, blend=0.3)
    assert (melted >= apart - 1e-12).all()
    assert area(melted) > area(apart) + 0.02


def test_fur_frays_the_outline():
    _, smooth = one(p.oval(0, 0, 0.6, 0.6), size=128)
    _, frayed = one(p.oval(0, 0, 0.6, 0.6), size=128, fur=0.08)
    x = (2 * np.arange(128) + 1) / 128 - 1
    r = np.hypot(x[:, None], x[None])
    off = np.abs(smooth - frayed) > 1e-9
    assert off.any()
    assert (np.abs(r[off] - 0.6) < 0.1).all()


@pytest.mark.parametrize("duty", [0.25, 0.5, 0.75])
@pytest.mark.parametrize("kind", [p.STRIPES, p.RINGS, p.RAYS, p.SPOTS])
def test_share_of_ink(kind, duty):
    scale = 16 if kind == p.RAYS else 5
    image, _ = one(p.oval(0, 0, 3, 3), (0.0, 0.0, 0.0), 256, pattern=kind, ink=(1.0,) * 3, scale=scale, duty=duty)
    assert image.mean() == pytest.approx(duty, abs=0.03)


@pytest.mark.parametrize("kind", range(1, len(p.PATTERNS)), ids=p.PATTERNS[1:])
def test_pattern(kind):
    options = dict(pattern=kind, ink=BLUE, scale=3.0, duty=0.3, wild=0.4)
    shape = p.oval(0, 0, 0.9, 0.9)
    image, mask = one(shape, **options)
    inside = mask == 1
    shares = image[inside][:, 2]
    assert 0.02 < shares.mean() < 0.98  # some ink, not all
    np.testing.assert_allclose(image[inside][:, 0] + shares, 1, atol=1e-12)  # a mixture of the two colours
    none, _ = one(shape, **options, amount=0.0)
    assert not none[..., 2].any()
    bare, covered = one(shape, None, **options)  # without a colour, only the ink is there
    np.testing.assert_allclose(bare[..., 2][inside], shares, atol=1e-12)
    np.testing.assert_allclose(covered[inside], shares, atol=1e-12)
    assert not bare[..., 0].any()


@pytest.mark.parametrize("kind", [p.STRIPES, p.SPOTS, p.MOTTLE, p.NET])
def test_seed_draws_the_pattern(kind):
    pictures = [one(p.oval(0, 0, 3, 3), pattern=kind, ink=BLUE, wild=0.8, seed=seed)[0] for seed in (1, 1, 2)]
    np.testing.assert_array_equal(pictures[0], pictures[1])
    assert np.abs(pictures[0] - pictures[2]).mean() > 0.01


def test_pattern_along_a_chain_follows_it():
    bones = p.chain([(-0.6, -0.6), (0.0, 0.0), (0.6, -0.6)], [0.2] * 3)
    image, _ = one(bones, pattern=p.ZIGZAG, ink=BLUE, duty=0.05, wild=0.0, along=True)
    blue = image[..., 2] > 0.5
    y, x = np.nonzero(blue)
    x, y = (2 * x + 1) / 64 - 1, 1 - (2 * y + 1) / 64
    assert len(x) > 50
    assert (np.abs(y + np.abs(x))[np.abs(x) < 0.5] < 0.1).all()  # a line down the middle


@pytest.mark.parametrize("kind", range(len(p.PATTERNS)), ids=p.PATTERNS)
def test_small_picture_is_the_large_one_made_small(kind):
    canvas = p.Canvas()
    canvas.part(p.blob(STAR, 4), GREY, bevel=0.3, pattern=kind, ink=RED, scale=1.5, duty=0.4, wild=0.3)
    small, _ = picture(canvas, 32)
    large, _ = picture(canvas, 128)
    assert np.abs(small - large.reshape(32, 4, 32, 4, 3).mean((1, 3))).mean() < 0.012


def test_threads_paint_the_same():
    canvas = p.Canvas()
    for k in range(8):
        canvas.part(p.blob(STAR, 4, 0.02 * k), (0.1 * k, 0.5, 0.5), bevel=0.1, pattern=p.NET, wild=0.5, seed=k)
    alone = picture(canvas)[0]
    with ThreadPoolExecutor(4) as pool:
        for image, _ in pool.map(lambda _: picture(canvas), range(16)):
            np.testing.assert_array_equal(image, alone)


def test_no_parts_paint_nothing():
    image, mask = picture(p.Canvas())
    assert not image.any()
    assert not mask.any()
