import numpy as np
import pytest

from bestpapers.dynamics.scenes import backgrounds
from bestpapers.dynamics.scenes.backgrounds import HOURS, PALETTES, WHEN, Sheet, draw_background, mix, noise, step

KINDS = tuple(WHEN)


def drawn(kind="tree", seed=0, **wishes):
    return draw_background(kind, np.random.default_rng(seed), **wishes)


# --------------------------------------------------------------------------------------------------------------- tools


def test_noise_is_bounded_smooth_and_the_same_each_time():
    x, y = np.meshgrid(np.linspace(-3, 3, 200), np.linspace(-2, 2, 150))
    n = noise(x, y, 7)
    assert n.shape == x.shape
    assert np.abs(n).max() <= 1.0
    assert n.std() > 0.1
    assert np.array_equal(n, noise(x, y, 7))
    assert np.abs(n - noise(x, y, 8)).mean() > 0.1
    one = noise(x, y, 7, octaves=1)
    assert np.abs(np.diff(one, axis=1)).max() < 0.25  # features of size 1, points 0.03 apart
    assert np.abs(np.diff(n, axis=1)).mean() > np.abs(np.diff(one, axis=1)).mean()  # finer octaves


def test_noise_is_continuous_across_its_cells():
    at = np.arange(-3.0, 4.0)
    for octaves in (1, 4):
        left, right = noise(at - 1e-6, 0.3, 5, octaves), noise(at + 1e-6, 0.3, 5, octaves)
        np.testing.assert_allclose(left, right, atol=1e-4)


def test_step_and_mix_reach_their_ends():
    np.testing.assert_allclose(step(0.2, 0.4, [0.0, 0.2, 0.3, 0.4, 1.0]), [0, 0, 0.5, 1, 1], atol=1e-6)
    np.testing.assert_allclose(step(0.4, 0.2, [0.0, 0.3, 1.0]), [1, 0.5, 0], atol=1e-6)
    a, b = (0.1, 0.2, 0.3), (0.9, 0.8, 0.7)
    np.testing.assert_allclose(mix(a, b, [0.0, 0.5, 1.0]), [a, (0.5, 0.5, 0.5), b], atol=1e-6)


# --------------------------------------------------------------------------------------------------------------- sheet


def test_a_sheet_knows_where_its_pixels_are():
    sheet = Sheet.picture(40, 48)  # narrower than the nominal frame: its middle
    assert sheet.x.shape == (40, 48)
    assert sheet.x[0, 0] == pytest.approx(0.8 - 24 / 40 + 0.5 / 40, abs=1e-6)
    assert sheet.x.mean() == pytest.approx(0.8, abs=1e-5)
    assert sheet.y[-1, 0] == pytest.approx(39.5 / 40, abs=1e-6)


def test_fill_covers_the_polygons_area():
    sheet = Sheet.picture(100, 160)
    sheet.fill([(0.3, 0.2), (0.9, 0.2), (0.9, 0.7)], (1.0, 0.5, 0.0))
    area = sheet.rgb[..., 0].sum() / 100**2
    assert area == pytest.approx(0.5 * 0.6 * 0.5, rel=0.1)  # OpenCV's soft edge is half a pixel too wide
    assert sheet.rgb[30, 85, 1] == pytest.approx(0.5, abs=0.01)
    assert sheet.rgb[60, 40, 0] == 0.0
    before = sheet.rgb.copy()
    sheet.fill([(5.0, 5.0), (6.0, 5.0), (6.0, 6.0)], (1, 1, 1))  # outside
    assert np.array_equal(sheet.rgb, before)


def test_light_adds_up_to_white_at_most():
    sheet = Sheet.picture(20, 32)
    sheet.lay((0.5, 0.2, 0.9))
    for _ in range(30):
        sheet.shine((1.0, 0.8, 0.5), 0.6)
        sheet.glow(0.8, 0.5, 0.2, (1.0, 0.9, 0.8), 0.9)
    assert sheet.rgb.max() <= 1.0 + 1e-6
    assert sheet.rgb[10, 16].min() > 0.9


def test_a_glow_fades_with_distance_and_reaches_no_farther_than_four_radii():
    sheet = Sheet.picture(80, 128)
    sheet.glow(0.8, 0.5, 0.05, (1, 1, 1), 0.5)
    row = sheet.rgb[40, 64:, 0]
    assert (np.diff(row[:17]) <= 1e-7).all()
    assert row[0] > 0.3
    assert row[18:].max() == 0.0


def test_sample_gives_back_pixels_and_mixes_between_them():
    sheet = Sheet.picture(12, 16)
    sheet.rgb[:] = np.random.default_rng(0).random(sheet.rgb.shape)
    again = sheet.sample(sheet.x.ravel(), sheet.y.ravel())
    np.testing.assert_allclose(again.reshape(sheet.rgb.shape), sheet.rgb, atol=1e-4)
    between = sheet.sample([0.5 * (sheet.x[3, 4] + sheet.x[3, 5])], [sheet.y[3, 4]])
    np.testing.assert_allclose(between[0], 0.5 * (sheet.rgb[3, 4] + sheet.rgb[3, 5]), atol=1e-4)
    np.testing.assert_allclose(sheet.sample([-9.0], [-9.0])[0], sheet.rgb[0, 0], atol=1e-6)


def test_rows_share_the_pixels():
    sheet = Sheet.picture(20, 32)
    band = sheet.rows(0.25, 0.5)
    assert band is not None
    band.lay((1.0, 0.0, 0.0))
    assert sheet.rgb[5:10, :, 0].min() == 1.0
    assert sheet.rgb[:5].max() == 0.0
    assert sheet.rgb[10:].max() == 0.0
    np.testing.assert_allclose(band.y, sheet.y[5:10])
    assert band.top == pytest.approx(0.25)
    assert sheet.rows(2.0, 3.0) is None


# ---------------------------------------------------------------------------------------------------------- background


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_a_background_that_is_the_same_each_time(kind):
    b = drawn(kind, 3)
    assert b.hour in WHEN[kind]
    assert np.linalg.norm(b.light) == pytest.approx(1.0, abs=1e-6)
    assert b.light[1] < 0  # from above
    picture = b.paint(48, 64)
    assert picture.shape == (48, 64, 3)
    assert picture.dtype == np.float32
    assert picture.min() >= 0.0
    assert picture.max() <= 1.0
    assert picture.std() > 0.03
    assert np.array_equal(picture, drawn(kind, 3).paint(48, 64))
    assert np.abs(picture - drawn(kind, 4).paint(48, 64)).mean() > 0.02


@pytest.mark.parametrize("kind", KINDS)
def test_a_background_is_the_same_picture_at_every_size(kind):
    for seed in (1, 2):
        b = drawn(kind, seed)
        small = b.paint(48, 80)
        large = b.paint(144, 240).reshape(48, 3, 80, 3, 3).mean((1, 3))
        assert np.abs(small - large).mean() < 0.03


def test_another_shape_shows_the_middle():
    b = drawn("tree", 5, blur=0.0)
    # not at the very edge, where outlines are cut
    np.testing.assert_allclose(b.paint(48, 64)[:, 2:-2], b.paint(48, 80)[:, 10:70], atol=2e-3)


def test_hours_differ_as_they_should():
    bright = {hour: np.mean([drawn("tree", s, hour=hour).paint(40, 64).mean() for s in range(4)]) for hour in HOURS}
    assert bright["night"] < bright["dusk"] < bright["day"]
    assert bright["dusk"] < bright["golden"]
    warm = {hour: np.mean([np.subtract(*drawn("tree", s, hour=hour).paint(40, 64)[:10].mean((0, 1))[[0, 2]]) for s in range(4)]) for hour in HOURS}  # fmt: skip
    assert warm["golden"] > warm["day"]  # more red than blue in the sky
    dark = [drawn("tree", 0, hour=hour).dark for hour in ("day", "golden", "dusk", "night")]
    assert dark == sorted(dark)


def test_what_faces_the_light_is_brighter_and_has_its_colour():
    b = drawn("tree", 0, hour="golden")
    colours = b.lit((0.5, 0.5, 0.5), np.array([0.0, 0.5, 1.0]))
    assert (np.diff(colours.sum(1)) > 0).all()
    assert colours[2, 0] > colours[2, 2]  # warm light
    np.testing.assert_allclose(colours[0], 0.5 * np.array(b.sky), rtol=1e-5)


def test_far_hills_fade_to_the_haze():
    b = drawn("tree", 2, hour="day", layers=["sky", "hills"], horizon=0.7)
    sheet = Sheet.picture(120, 192)
    b.draw(sheet)
    at = round(0.7 * 120) - 3
    away = np.abs(sheet.rgb[at] - np.array(b.haze)).mean()
    assert away < np.abs(np.array((0.2, 0.31, 0.19)) - np.array(b.haze)).mean()


def test_blur_takes_detail_away():
    sharp, soft = drawn("flowers", 1, blur=0.0).paint(96, 128), drawn("flowers", 1, blur=0.02).paint(96, 128)
    assert np.abs(np.diff(soft, axis=1)).mean() < 0.5 * np.abs(np.diff(sharp, axis=1)).mean()


def test_lit_windows_shine_at_night():
    lamps, light = {}, {}
    for hour in ("day", "night"):
        b = drawn("water", 0, hour=hour, layers=["sky"])
        sheet = Sheet.picture(96, 160)
        b.draw(sheet)
        before = sheet.rgb.copy()
        lamps[hour] = backgrounds.houses(sheet, b, np.random.default_rng(1), 0.6, 0.3, 0.1)
        panes = [sheet.rgb[round(y * 96 - 0.5), round((x + 0.5 * half) * 96 - 0.5), 0] for x, y, half in lamps[hour] if 0.1 < x < 1.5]
        light[hour] = np.mean(panes) if panes else 0.0
        assert np.abs(sheet.rgb - before).max() > 0.2
    assert len(lamps["night"]) > 2 * len(lamps["day"])
    assert light["night"] > 0.6


def test_wishes_are_granted():
    b = drawn("lanterns", 0, hour="night", horizon=0.7, blur=0.01, layers=["sky", "bokeh"])
    assert (b.hour, b.horizon, b.blur) == ("night", 0.7, 0.01)
    assert [name for name, _ in b.layers] == ["sky", "bokeh"]


def test_unknown_wishes_are_refused():
    with pytest.raises(ValueError, match="kind of scene 'sea': choose one of tree"):
        drawn("sea")
    with pytest.raises(ValueError, match="hour 'noon': choose one of dawn"):
        drawn(hour="noon")
    with pytest.raises(ValueError, match="layer 'castle': choose among sky"):
        drawn(layers=["sky", "castle"])


def test_all_layers_and_hours_paint():
    assert set(PALETTES) == set(HOURS)
    names = list(backgrounds._PAINTERS)
    for hour in HOURS:
        for name in names:
            alone = drawn("lanterns", 1, hour=hour, layers=["sky"], blur=0.0).paint(40, 64)
            both = drawn("lanterns", 1, hour=hour, layers=["sky", name], blur=0.0)
            painted = both.paint(40, 64)
            assert np.isfinite(painted).all()
            if name not in ("sky", "orb"):
                assert np.abs(painted - alone).max() > 0.01, (hour, name)
