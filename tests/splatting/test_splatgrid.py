"""The splat on a grid of pixels: its numbers, the same in the browser, and what a hand can do to it."""

import io
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
from bestpapers.kernels.rasterize import rasterization
from bestpapers.splatting.filters import METHODS
from bestpapers.splatting.widgets import SplatGrid, splatgrid

from .. import pages

FILTERS = {name: (METHODS[name].eps2d, METHODS[name].compensate) for name in splatgrid.SHOWN}
PLACES = [(0.0, 0.0), (0.5, 0.5), (-1.2, 0.35)]


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("std", [0.1, 0.6])
def test_the_rasterizer_draws_this_grid(name, place, std):
    f64 = dict(dtype=torch.float64)
    middle, f = splatgrid.SIDE / 2, 100.0
    image = rasterization(
        means=torch.tensor([[0, 0, 2.0]], **f64),
        quats=torch.tensor([[1.0, 0, 0, 0]], **f64),
        scales=torch.full((1, 3), std * 2 / f, **f64),
        opacities=torch.tensor([splatgrid.OPACITY], **f64),
        colors=torch.ones(1, 3, **f64),
        viewmats=torch.eye(4, **f64)[None],
        Ks=torch.tensor([[[f, 0, middle + place[0]], [0, f, middle + place[1]], [0, 0, 1]]], **f64),
        width=splatgrid.SIDE,
        height=splatgrid.SIDE,
        eps2d=METHODS[name].eps2d,
        rasterize_mode=METHODS[name].rasterize_mode,
        backend="reference",
    ).alphas[0, ..., 0]
    np.testing.assert_allclose(splatgrid.drawn(std, *FILTERS[name], *place), image, rtol=1e-7, atol=1e-12)


def test_a_sensor_measures_all_of_the_light_and_renderers_as_known():
    assert splatgrid.measured(0.1, 0.4, -0.3).sum() == pytest.approx(splatgrid.OPACITY * 2 * math.pi * 0.01, rel=1e-9)
    assert splatgrid.measured(0.3, 0, 0)[3, 3] == pytest.approx(0.9 * 0.4626, abs=1e-4)
    assert splatgrid.light(0.1, *FILTERS["3dgs"], 0, 0) == pytest.approx(31, rel=0.02)
    assert splatgrid.light(0.1, *FILTERS["mip"], 0, 0) == pytest.approx(1.447, abs=1e-3)  # 1.51 less the cut
    assert splatgrid.light(0.05, *FILTERS["ewa"], 0.5, 0.5) == 0  # all of it is below the cut
    for name in ("ewa", "mip"):
        assert splatgrid.light(1.0, *FILTERS[name], 0.2, 0.3) == pytest.approx(1, abs=0.02)


node = shutil.which("node")


@pytest.mark.skipif(
    node is None, reason="node is not installed: the browser's functions are not compared with Python's"
)
def test_the_browser_computes_the_same(tmp_path):
    module = tmp_path / "splatgrid.mjs"
    module.write_text(joined(SplatGrid.module), encoding="utf-8")
    cases = [(std, *filter_, *place) for std in (0.05, 0.3, 1.5) for filter_ in FILTERS.values() for place in PLACES]
    script = f"""
        import * as m from {json.dumps(module.as_uri())};
        const c = {json.dumps(SplatGrid().constants)};
        const cases = {json.dumps(cases)};
        console.log(JSON.stringify({{
          drawn: cases.map(([g, eps2d, compensate, x, y]) => m.drawn(g, {{ eps2d, compensate }}, x, y, c)),
          light: cases.map(([g, eps2d, compensate, x, y]) => m.light(g, {{ eps2d, compensate }}, x, y, c)),
          measured: cases.map(([g, , , x, y]) => m.measured(g, x, y, c)),
        }}));"""
    done = subprocess.run([node, "--input-type=module", "-e", script], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    want = dict(
        drawn=[splatgrid.drawn(*case) for case in cases],
        light=[splatgrid.light(*case) for case in cases],
        measured=[splatgrid.measured(case[0], *case[3:]) for case in cases],
    )
    for name, values in want.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-10, atol=1e-14, err_msg=name)


def test_words_and_still_follow_the_traits():
    widget = SplatGrid(std=0.05, x=0.5, y=0.5)
    assert "with 3DGS + EWA: 0 here" in widget.describe()
    assert "standard deviation is 0.05 px" in widget.describe()
    ((png, alt),) = widget.still()
    assert "3DGS + EWA, light times 0" in alt
    assert Image.open(io.BytesIO(png)).width == 880
    widget.x = 0.0
    assert widget.still()[0][0] != png


@pytest.mark.parametrize("change", [dict(std=0.01), dict(std=2.0), dict(x=1.6), dict(y=-1.6)])
def test_values_out_of_range_are_refused(change):
    with pytest.raises(TraitError):
        SplatGrid(**change)


def test_all_comes_back(tmp_path):
    with pages.opened(tmp_path, SplatGrid(x=0.5)) as page:
        pages.assert_resets(page)


def test_it_is_dragged_and_answers_keys_and_buttons(tmp_path):
    with pages.opened(tmp_path, SplatGrid()) as page:
        assert pages.press_each_slider(page) == []
        page.get_by_role("button", name="to a corner").click()
        corner = page.locator("output").inner_text()
        assert (
            page.get_by_role("slider", name="place across").get_attribute("aria-valuetext")
            == "0.5 pixels from the middle"
        )
        page.get_by_role("button", name="to the middle of a pixel").click()
        assert page.locator("output").inner_text() != corner
        box = page.locator(".bp-splatgrid svg").nth(3).bounding_box()
        step = box["width"] / splatgrid.SIDE
        middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(*middle)
        page.mouse.down()
        page.mouse.move(middle[0] + step, middle[1] - 0.5 * step, steps=4)
        page.mouse.up()
        values = [page.get_by_role("slider", name=f"place {way}").input_value() for way in ("across", "down")]
        assert [float(value) for value in values] == pytest.approx([1.0, -0.5], abs=0.06)
        page.mouse.move(*middle)  # let go: it stays
        assert page.get_by_role("slider", name="place across").input_value() == values[0]


@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_phone_and_takes_the_page_s_colours(tmp_path, dark):
    pages.assert_fits_a_phone(tmp_path, SplatGrid(), dark)


def test_without_scripts_the_still_is_shown(tmp_path):
    pages.assert_still_shown(tmp_path, SplatGrid())
