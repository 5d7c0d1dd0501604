import math

import numpy as np
import pytest

from bestpapers.dynamics.scenes import water
from bestpapers.dynamics.scenes.water import GRAVITY, Waves, deep_water
from bestpapers.dynamics.worlds import SUPER, FieldPart, Wind, make_scene

H, W = 48, 64
SEEDS = (1, 7, 11)


@pytest.fixture(scope="module", params=SEEDS)
def scene(request):
    return make_scene("water", request.param)


def the_field(scene):
    """The number of the field's part, and the part."""
    return next((n, p) for n, p in enumerate(scene.parts, 1) if isinstance(p, FieldPart))


def grid(waves, columns=160, rows=80):
    x, y = np.meshgrid(np.linspace(0.0, 1.6, columns), np.linspace(waves.waterline, 1.0, rows))
    return x.ravel(), y.ravel()


def pixels(height, width):
    rows, columns = np.divmod(np.arange(height * width), width)
    return (columns + 0.5) / height + 0.8 - 0.5 * width / height, (rows + 0.5) / height


def some_waves(heading=0.4):
    return Waves(0.45, 2.0, 0.12, np.array([6.0, 3.0, 1.5]), np.array([heading, -0.2, 0.1]))


# --------------------------------------------------------------------------------------------------------------- waves


def test_waves_on_deep_water_obey_their_dispersion():
    length = np.array([0.5, 1.0, 2.0, 8.0])
    hertz = deep_water(length)
    np.testing.assert_allclose((2 * math.pi * hertz) ** 2, GRAVITY * 2 * math.pi / length, rtol=1e-12)
    assert hertz[1] == pytest.approx(1.2495, abs=1e-3)  # a wave of one metre
    assert hertz[0] == pytest.approx(2 * hertz[2], rel=1e-12)  # four times as long: half as quick


def test_two_standing_waves_make_one_that_travels():
    """cos(wt) of the one and sin(wt) of the other: a shape that moves along, of the same height at all times."""
    waves = some_waves()
    x, y = grid(waves)
    shapes = waves.shapes(x, y)
    for w in range(3):
        c, s = shapes[2 * w, 0], shapes[2 * w + 1, 0]
        size = np.sqrt(c**2 + s**2)
        times = np.linspace(0, 2 * math.pi, 16, endpoint=False)
        series = np.cos(times)[:, None] * c + np.sin(times)[:, None] * s
        np.testing.assert_allclose(np.sqrt(2 * (series**2).mean(0)), size, rtol=1e-9, atol=1e-12)
    # along the way of the wave its phase rises by 2 pi over one length
    right, away, _ = waves.plane(x, y)
    turn = np.arctan2(shapes[1, 0], shapes[0, 0])
    expected = 2 * math.pi / 6.0 * (math.sin(0.4) * right + math.cos(0.4) * away)
    strong = np.hypot(shapes[0, 0], shapes[1, 0]) > 1e-3
    np.testing.assert_allclose(np.exp(1j * turn[strong]), np.exp(1j * expected[strong]), atol=1e-9)


def test_nothing_moves_at_the_far_shore_and_most_in_front():
    waves = some_waves()
    x = np.linspace(0.0, 1.6, 50)
    assert not waves.shapes(x, np.full(50, waves.waterline)).any()
    assert not waves.shapes(x, np.full(50, waves.waterline - 0.1)).any()
    y = np.linspace(waves.waterline, 1.0, 60)
    shapes = waves.shapes(np.full(60, 0.7), y)
    for w in range(3):
        size = np.sqrt((shapes[2 * w : 2 * w + 2] ** 2).sum((0, 1)))
        assert (np.diff(size) >= -1e-12).all()
        assert size[-1] > 0.5
    near = np.abs(waves.shapes(x, np.full(50, waves.waterline + 1e-3))).max()
    assert near < 1e-2


def test_waves_look_shorter_far_away_and_leave_out_what_no_pixel_shows():
    waves = Waves(0.45, 2.0, 0.12, np.array([3.0]), np.array([0.0]))
    y = np.linspace(0.45, 1.0, 4000)
    _, away, _ = waves.plane(np.full(4000, 0.8), y)
    phase = 2 * math.pi / 3.0 * away
    local = 2 * math.pi / np.abs(np.gradient(phase, y))
    size = np.sqrt((waves.shapes(np.full(4000, 0.8), y) ** 2).sum((0, 1)))
    assert (np.diff(local[5:-5]) > 0).all()
    assert not size[local < 0.9 * water.FINEST[0]].any()


def test_frequencies_come_in_pairs_that_the_lengths_in_the_picture_tell(scene):
    _, part = the_field(scene)
    waves = part.shapes.waves
    count = len(waves.length)
    np.testing.assert_allclose(scene.frequencies[: 2 * count], np.repeat(deep_water(waves.length), 2))
    assert 0.25 < scene.frequencies[: 2 * count].min() < 1.0
    assert scene.frequencies[: 2 * count].max() < 2.5
    order = np.argsort(waves.length)
    assert (np.diff(deep_water(waves.length)[order]) < 0).all()


# ------------------------------------------------------------------------------------------------------------ the field


def gradients(part, x, y, h=1e-4):
    """(2, J, 2, N): derivatives of the shapes along x and y."""
    return np.stack([
        (part.shapes(x + h, y) - part.shapes(x - h, y)) / (2 * h),
        (part.shapes(x, y + h) - part.shapes(x, y - h)) / (2 * h),
    ])  # fmt: skip


@pytest.mark.parametrize("seed", range(10))
def test_the_field_never_folds(seed):
    """Its Jacobian stays positive, and the map inverts by fixed point, in a wind twice the ordinary one."""
    scene = make_scene("water", seed)
    _, part = the_field(scene)
    count = int(scene.starts[part.body + 1])
    x, y = grid(part.shapes.waves, 80, 50)
    slopes = gradients(part, x, y)
    for wind in (Wind(2.0, 0.1, 3), Wind(2.0, 3.0, 4, 0.35, 1.2)):
        q = scene.motion(wind, 150)[::5, :count]
        g = np.tensordot(q, slopes, axes=([1], [1]))  # (T, along, component, N)
        a, b, c, d = g[:, 0, 0], g[:, 1, 0], g[:, 0, 1], g[:, 1, 1]
        assert ((1 + a) * (1 + d) - b * c).min() > 0.1
        half, root = 0.5 * (a + d), np.sqrt((0.25 * (a + d) ** 2 - (a * d - b * c)).astype(complex))
        assert np.maximum(abs(half + root), abs(half - root)).max() < 0.97


def test_flow_in_the_water_is_the_field_itself(scene):
    number, part = the_field(scene)
    q = scene.motion(Wind(1.0, 0.2, 1), 30)
    flow = scene.flow(q, H, W)
    here = (scene.ids(H, W) == number).ravel()
    assert here.mean() > 0.25
    x, y = pixels(H, W)
    count = int(scene.starts[part.body + 1])
    expected = np.tensordot(q[:, :count], part.shapes(x[here], y[here]), axes=1) * H
    np.testing.assert_allclose(flow.reshape(30, 2, -1)[:, :, here], expected, atol=1e-5)
    assert not flow[0].any()
    assert not flow[:, :, ~scene.mask(H, W)].any()


def test_frames_show_the_still_through_the_inverse_field(scene):
    """Our own inverse, sample by sample in double precision, gives what the painter draws."""
    number, part = the_field(scene)
    height, width = 64, 96
    q = scene.motion(Wind(1.2, 0.2, 6), 60)[[25, 55]]
    frames = scene.frames(q, height, width).astype(float)
    count = int(scene.starts[part.body + 1])
    x, y = pixels(SUPER * height, SUPER * width)
    for row, frame in zip(q, frames):
        ids = scene.samples(row, height, width)
        px, py = x.copy(), y.copy()
        for _ in range(60):
            u = np.tensordot(row[:count], part.shapes(px, py), axes=1)
            px, py = x - u[0], y - u[1]
        u = np.tensordot(row[:count], part.shapes(px, py), axes=1)
        assert np.hypot(px + u[0] - x, py + u[1] - y).max() < 1e-9  # it has converged
        colours = np.asarray(part.paint(px, py, 1 / (SUPER * height)), float).reshape(SUPER * height, SUPER * width, 3)
        mean = colours.reshape(height, SUPER, width, SUPER, 3).mean((1, 3))
        rows, columns = np.divmod(np.arange(height * width), width)
        gain, offset = scene.finish((columns + 0.5) / height + 0.8 - 0.5 * width / height, (rows + 0.5) / height)
        expected = 255 * np.clip(mean.reshape(-1, 3) * gain + offset, 0, 1).reshape(height, width, 3)
        whole = (ids == number).reshape(height, SUPER, width, SUPER).all((1, 3))
        error = np.abs(frame - expected)[whole]
        assert whole.sum() > 1000
        # the painter mixes the four texels around a place; the paint itself is finer where it glitters
        assert error.mean() < 2.0
        assert np.quantile(error, 0.95) < 9.0


def test_the_spectrum_is_that_of_the_flow(scene):
    q = scene.motion(Wind(1.3, 3.0, 2), 150)
    flow = scene.flow(q, 24, 32)
    expected = np.fft.rfft(flow.astype(float), axis=0)[:16]
    np.testing.assert_allclose(scene.spectrum(q, 24, 32), expected, atol=2e-4 * np.abs(expected).max())


def test_water_is_seen_until_something_stands_before_it_or_it_leaves(scene):
    number, _ = the_field(scene)
    q = scene.motion(Wind(1.0, 0.2, 1), 10)
    seen, here = scene.visible(q, H, W), scene.ids(H, W) == number
    assert seen[0].all()
    assert seen[:, here].mean() > 0.85
    flow = scene.flow(q, H, W)
    rows, columns = np.mgrid[:H, :W]
    outside = (rows + flow[:, 1] > H - 0.5) | (columns + flow[:, 0] > W - 0.5) | (columns + flow[:, 0] < -0.5)
    assert not (seen & outside).any()


# ------------------------------------------------------------------------------------------------------ boats and reeds


def with_boats(count=1):
    for seed in range(60):
        scene = make_scene("water", seed)
        boats = the_field(scene)[1].shapes.boats
        if len(boats) == count:
            return scene, boats
    raise AssertionError("no boats in sixty scenes")


def test_a_boats_picture_in_the_water_rocks_with_it():
    scene, boats = with_boats(1)
    _, part = the_field(scene)
    boat = boats[0]
    hull = next(p for p in scene.parts if not isinstance(p, FieldPart) and p.pivot == (boat.x, boat.y))
    first = 2 * len(part.shapes.waves.length)
    for x, up in ((boat.x, 0.3 * boat.long), (boat.x + 0.2 * boat.long, 0.5 * boat.long)):
        at, mirrored = np.array([x, boat.y - up]), part.shapes(np.array([x]), np.array([boat.y + up]))[:, :, 0]
        arm = at - np.array(hull.pivot)
        own = hull.motion[:, :2] + hull.motion[:, 2:] * np.array([-arm[1], arm[0]])
        np.testing.assert_allclose(mirrored[first:, 0], own[first:, 0], atol=2e-3 * boat.long)
        np.testing.assert_allclose(mirrored[first:, 1], -own[first:, 1], atol=2e-3 * boat.long)
        assert np.abs(own[first:]).max() > 4e-3 * boat.long
    assert not hull.motion[:first].any()  # waves do not carry it
    far = part.shapes(np.array([boat.x + 4 * boat.long]), np.array([boat.y + 0.1]))[first:]
    assert np.abs(far).max() < 1e-6


def test_an_ordinary_wind_rolls_boats_and_bends_reeds_gently():
    for seed in range(8):
        scene = make_scene("water", seed)
        q = scene.motion(Wind(1.0, 0.1, 3), 150)
        for part in scene.parts:
            if not isinstance(part, FieldPart) and part.body >= 0:
                own = q[:, scene.starts[part.body] : scene.starts[part.body + 1]]
                turn = own @ part.motion[:, 2]
                assert np.abs(turn).max() < 0.8
        flow = scene.flow(q[::10], H, W)
        assert 0.0 < np.abs(flow).max() < 0.25 * H


def test_reeds_stand_on_the_near_shore_and_bend_from_there():
    found = 0
    for seed in range(30):
        scene = make_scene("water", seed)
        stalks = [p for p in scene.parts if not isinstance(p, FieldPart) and p.body > 0]
        for part in stalks:
            if part.pivot[1] > 1.0:  # the foot
                assert not part.motion[:, :2].any()
                found += 1
        if found > 5:
            return
    raise AssertionError("no reeds in thirty scenes")


# ------------------------------------------------------------------------------------------------------------- pictures


def test_the_water_shows_the_shore_upside_down():
    good = 0
    for seed in range(6):
        scene = make_scene("water", seed)
        line = the_field(scene)[1].shapes.waves.waterline
        picture = scene.picture(96, 160).astype(float)
        at = round(line * 96)
        above, below = picture[at - 14 : at - 2].mean(2)[::-1], picture[at + 2 : at + 14].mean(2)
        like = np.corrcoef((above - above.mean(1, keepdims=True)).ravel(), (below - below.mean(1, keepdims=True)).ravel())[0, 1]
        good += like > 0.3
    assert good >= 5


def test_scenes_are_the_same_each_time_and_differ_from_each_other(scene):
    again = water.build(np.random.default_rng([3, scene.seed]))
    np.testing.assert_array_equal(again.frequencies, scene.frequencies)
    np.testing.assert_array_equal(again.picture(H, W), scene.picture(H, W))
    other = make_scene("water", scene.seed + 1)
    assert np.abs(other.picture(H, W).astype(float) - scene.picture(H, W)).mean() > 8


def test_paint_gives_the_same_in_any_order_of_sizes(scene):
    first = scene.picture(H, W)
    lake = the_field(scene)[1].paint
    x, y = np.array([0.4, 0.9, 1.2]), np.array([0.8, 0.9, 0.95])
    colours = lake(x, y, 1 / 96)
    lake(x, y, 1 / 64)
    np.testing.assert_allclose(lake(x, y, 1 / 96), colours, atol=0.06)
    again = water.build(np.random.default_rng([3, scene.seed]))
    again.picture(32, 32)
    assert np.array_equal(again.picture(H, W), first)


def test_many_seeds_build_and_vary():
    kinds, eyes = set(), []
    for seed in range(16):
        scene = water.build(np.random.default_rng(seed))
        _, part = the_field(scene)
        kinds.add((len(part.shapes.boats), len(scene.bodies) > 1))
        eyes.append(part.shapes.waves.eye)
        assert np.isfinite(scene.frequencies).all()
    assert len(kinds) >= 4
    assert max(eyes) > 2 * min(eyes)
