import io
import json
import math
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image
from traitlets import TraitError

from bestpapers.course.widgets.join import joined
from bestpapers.splatting.widgets import FilterPlot, filterplot

from .. import pages

# fact: squared distance to the box; share let through at 0.25 cycles/px and at the Nyquist rate
DISTANCE = {1 / 12: 0.144, 0.1: 0.120, 0.12: 0.112, 0.3: 0.238, 1.0: 0.516}
RESPONSE = {0.1: (0.884, 0.610), 0.3: (0.691, 0.228), 1.0: (0.291, 0.007)}


@pytest.mark.parametrize("variance", DISTANCE)
def test_known_distances(variance):
    assert filterplot.distance(variance) == pytest.approx(DISTANCE[variance], abs=5e-4)


@pytest.mark.parametrize("variance", RESPONSE)
def test_known_responses(variance):
    np.testing.assert_allclose(filterplot.gaussian_response([0.25, 0.5], variance), RESPONSE[variance], atol=5e-4)


def test_known_responses_of_the_box():
    np.testing.assert_allclose(filterplot.box_response([0.0, 0.25, 0.5, 1.0]), [1, 0.900, 0.637, 0], atol=5e-4)


T = (np.arange(-8_000, 8_000) + 0.5) / 1000  # px, the middles of short pieces; the box's edges lie between two of them
BOX = (np.abs(T) < 0.5).astype(float)


@pytest.mark.parametrize("variance", [0.02, 0.1, 0.37, 1.2])
def test_closed_forms_against_sums(variance):
    bell = filterplot.gaussian(T, variance)
    assert bell.sum() / 1000 == pytest.approx(1.0, abs=1e-9)
    assert (bell * T**2).sum() / 1000 == pytest.approx(variance, rel=1e-6)
    assert ((bell - BOX) ** 2).sum() / 1000 == pytest.approx(filterplot.distance(variance), abs=1e-6)
    for f in (0.0, 0.25, 0.9, 1.4):
        wave = np.cos(2 * math.pi * f * T)
        assert (bell * wave).sum() / 1000 == pytest.approx(filterplot.gaussian_response(f, variance), abs=1e-6)
        assert (BOX * wave).sum() / 1000 == pytest.approx(filterplot.box_response(f), abs=1e-6)


def test_the_closest_variance_is_the_minimum():
    s = np.linspace(*filterplot.VARIANCE_RANGE, 20_001)
    least = s[np.argmin([filterplot.distance(v) for v in s])]
    np.testing.assert_allclose([least, 0.120], filterplot.CLOSEST, atol=5e-4)
    assert (BOX * T**2).sum() / 1000 == pytest.approx(filterplot.BOX_VARIANCE, abs=1e-6)


node = shutil.which("node")


@pytest.mark.skipif(
    node is None, reason="node is not installed: the browser's functions are not compared with Python's"
)
def test_the_browser_computes_the_same(tmp_path):
    module = tmp_path / "filterplot.mjs"
    module.write_text(joined(FilterPlot.module), encoding="utf-8")
    variances = [0.02, 1 / 12, 0.1, 0.3, 1.0, 1.2]
    points = [-2.0, -0.5, 0.0, 0.3, 1.0, 1.5]
    script = f"""
        import * as m from {json.dumps(module.as_uri())};
        const [variances, points] = {json.dumps([variances, points])};
        console.log(JSON.stringify({{
          gaussian: variances.map((s) => points.map((t) => m.gaussian(t, s))),
          response: variances.map((s) => points.map((f) => m.gaussianResponse(f, s))),
          box: points.map(m.boxResponse),
          distance: variances.map(m.distance),
        }}));"""
    done = subprocess.run([node, "--input-type=module", "-e", script], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    want = {
        "gaussian": [filterplot.gaussian(points, s) for s in variances],
        "response": [filterplot.gaussian_response(points, s) for s in variances],
        "box": filterplot.box_response(points),
        "distance": [filterplot.distance(s) for s in variances],
    }
    assert set(found) == set(want)
    for name, values in want.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-12, atol=1e-14, err_msg=name)


def test_words_and_still_follow_the_trait():
    widget = FilterPlot(variance=0.3)
    assert widget.describe() == FilterPlot(variance=0.3).describe()
    assert "At variance 0.3 px² the squared distance is 0.238" in widget.describe()
    ((png, alt),) = widget.still()
    assert "the squared distance is 0.238" in alt
    assert Image.open(io.BytesIO(png)).width == 880
    assert png == FilterPlot(variance=0.3).still()[0][0]
    widget.variance = 1.0
    assert "0.007 at the Nyquist rate of 0.5 (box 0.637)" in widget.describe()
    assert widget.still()[0][0] != png


@pytest.mark.parametrize("variance", [0.019, 1.21, float("nan")])
def test_values_out_of_range_are_refused(variance):
    with pytest.raises(TraitError, match=r"variance must be between 0\.02 and 1\.2 px²"):
        FilterPlot(variance=variance)


def test_all_comes_back(tmp_path):
    with pages.opened(tmp_path, FilterPlot()) as page:
        pages.assert_resets(page)


def test_slider_and_buttons_answer_the_keyboard(tmp_path):
    with pages.opened(tmp_path, FilterPlot()) as page:
        assert pages.press_each_slider(page) == []
        dots = []
        for number, want in enumerate((0.144, 0.120, 0.112, 0.238, 0.516), 1):
            button = page.get_by_role("button", name=f"{number}: ")
            button.focus()
            page.keyboard.press("Enter")
            assert button.get_attribute("aria-pressed") == "true"
            assert page.locator("button[aria-pressed=true]").count() == 1
            assert page.locator("output").inner_text().startswith(f"squared distance {want:.3f}")
            dots.append(page.locator(".bp-here").get_attribute("cx"))
            assert page.locator(".bp-mark").nth(number - 1).get_attribute("cx") == dots[-1]
        assert len(set(dots)) == 5
        assert "at the Nyquist rate: 0.007 (box 0.637)" in page.locator("output").inner_text()
        page.get_by_role("slider").focus()
        for key, value in (("Home", "0.02"), ("End", "1.2")):
            page.keyboard.press(key)
            assert page.get_by_role("slider").get_attribute("aria-valuetext") == f"{value} square pixels"
            assert "NaN" not in pages.drawing(page)


@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_phone_and_takes_the_page_s_colours(tmp_path, dark):
    pages.assert_fits_a_phone(tmp_path, FilterPlot(), dark)


def test_without_scripts_the_still_is_shown(tmp_path):
    pages.assert_still_shown(tmp_path, FilterPlot())
