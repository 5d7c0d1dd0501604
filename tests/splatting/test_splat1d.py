import itertools
import json
import math
import shutil
import subprocess

import numpy as np
import pytest
import torch
from traitlets import TraitError

from bestpapers.course.widgets.join import joined
from bestpapers.kernels.rasterize import rasterization
from bestpapers.splatting.filters import METHODS, widen_2d
from bestpapers.splatting.widgets import Splat1D, splat1d

from .. import pages

# fact: response of the centre pixel to a Gaussian of standard deviation g px in its middle, and the light gain of dilation
G = (0.1, 0.2, 0.3, 0.5, 0.8, 1.5, 3.0)
BOX = (0.0628, 0.2451, 0.4626, 0.7321, 0.8809, 0.9639, 0.9908)
MIP = (0.0909, 0.2857, 0.4737, 0.7143, 0.8649, 0.9574, 0.9890)
EWA = (0.0323, 0.1176, 0.2308, 0.4545, 0.6809, 0.8824, 0.9677)
GAIN = (31, 8.5, 4.33, 2.2, 1.47, 1.13, 1.03)

FILTERS = {name: (METHODS[name].eps2d, METHODS[name].compensate) for name in splat1d.SHOWN}


@pytest.mark.parametrize("i", range(len(G)))
def test_known_values(i):
    g = G[i]
    middle = {name: splat1d.pixel_row(g, *FILTERS[name], pixels=1)[0] for name in FILTERS}
    assert middle == {"3dgs": 1.0, "ewa": pytest.approx(EWA[i], abs=6e-5), "mip": pytest.approx(MIP[i], abs=6e-5)}
    assert splat1d.box_row(g, pixels=1)[0] == pytest.approx(BOX[i], abs=6e-5)
    assert splat1d.light_gain(g, *FILTERS["3dgs"]) == pytest.approx(GAIN[i], rel=5e-3)


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("g", [0.125, 0.5, 2.0])
def test_the_same_filter_as_in_the_library(name, g):
    eps2d, compensate = FILTERS[name]
    wide, factor = widen_2d(g**2 * torch.eye(2, dtype=torch.float64), eps2d, compensate)
    want = factor * torch.exp(-(torch.arange(-4.0, 5.0, dtype=torch.float64) ** 2) / (2 * wide[0, 0]))
    np.testing.assert_allclose(splat1d.pixel_row(g, eps2d, compensate, pixels=9), want, rtol=1e-12)


@pytest.mark.parametrize("g", [0.3, 1.0])
@pytest.mark.parametrize("offset", [0.0, 0.35])
def test_the_true_row_is_the_mean_over_squares(g, offset):
    n = 200  # points across a pixel; the midpoint rule is then exact to about 1e-5
    fine = (np.arange(7 * n) + 0.5) / n - (3.5 + offset)
    across = np.exp(-(fine**2) / (2 * g**2)).reshape(7, n).mean(1)
    down = np.exp(-(((np.arange(n) + 0.5) / n - 0.5) ** 2) / (2 * g**2)).mean()
    np.testing.assert_allclose(splat1d.box_row(g, 7, offset), across * down, atol=2e-5)


@pytest.mark.parametrize("g", [0.125, 1.0, 8.0])
def test_truth_keeps_the_light(g):
    row = splat1d.box_row(g, 201, 0.2)
    down = splat1d.box_row(g, 201, 0.0) / splat1d.box_row(g, 1, 0.0)  # the same shape, seen down a column
    assert row.sum() * down.sum() == pytest.approx(2 * math.pi * g**2, rel=1e-9)


@pytest.mark.parametrize(("g", "name"), list(itertools.product([0.125, 0.4, 2.0], FILTERS)))
def test_light_on_average_is_the_mean_over_places(g, name):
    eps2d, compensate = FILTERS[name]
    offsets = (np.arange(64) + 0.5) / 64 - 0.5
    across = np.mean([splat1d.light_here(g, eps2d, compensate, offset) for offset in offsets])
    # light_here moves the centre across only; what it is with the centre level, over what it is on average, is the rest
    level = np.exp(-(np.arange(-80, 81.0) ** 2) / (2 * (g**2 + eps2d))).sum() / math.sqrt(2 * math.pi * (g**2 + eps2d))
    assert across / level == pytest.approx(splat1d.light_gain(g, eps2d, compensate), rel=1e-9)


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("offset", [0.0, 0.3])
def test_the_rasterizer_renders_this_row_and_this_light(name, offset):
    scale, depth, focal, opacity, middle = 0.03, 3.0, 40.0, 0.9, 8
    g = splat1d.screen_std(scale, depth, focal)
    f64 = {"dtype": torch.float64}
    rendering = rasterization(
        means=torch.tensor([[0.0, 0.0, depth]], **f64),
        quats=torch.tensor([[1.0, 0.0, 0.0, 0.0]], **f64),
        scales=torch.full((1, 3), scale, **f64),
        opacities=torch.tensor([opacity], **f64),
        colors=torch.ones(1, 3, **f64),
        viewmats=torch.eye(4, **f64)[None],
        Ks=torch.tensor([[[focal, 0, middle + 0.5 + offset], [0, focal, middle + 0.5], [0, 0, 1]]], **f64),
        width=2 * middle + 1,
        height=2 * middle + 1,
        eps2d=METHODS[name].eps2d,
        rasterize_mode=METHODS[name].rasterize_mode,
        backend="reference",
    )
    image = rendering.alphas[0, ..., 0] / opacity
    row = splat1d.pixel_row(g, *FILTERS[name], 2 * middle + 1, offset)
    row[row * opacity < 1 / 255] = 0.0  # what the rasterizer leaves out
    np.testing.assert_allclose(image[middle], row, rtol=1e-9)
    assert image.sum().item() / (2 * math.pi * g**2) == pytest.approx(
        splat1d.light_here(g, *FILTERS[name], offset), rel=0.02
    )


node = shutil.which("node")


@pytest.mark.skipif(
    node is None, reason="node is not installed: the browser's functions are not compared with Python's"
)
def test_the_browser_computes_the_same(tmp_path):
    module = tmp_path / "splat1d.mjs"  # by this suffix node knows it for an ES module
    module.write_text(joined(Splat1D.module), encoding="utf-8")
    cases = [
        {"g": g, "eps2d": eps2d, "compensate": compensate, "offset": offset}
        for g in (0.125, 0.3, 1.0, 3.7, 8.0)
        for eps2d, compensate in FILTERS.values()
        for offset in (-0.5, 0.0, 0.15)
    ]
    points = [-7.0, -2.0, -1e-3, 0.0, 1e-9, 0.4, 1.0, 2.5, 5.0, 5.99, 30.0]
    script = f"""
        import * as m from {json.dumps(module.as_uri())};
        const cases = {json.dumps(cases)};
        console.log(JSON.stringify({{
          std: m.screenStd(0.03, 3, 250),
          erf: {points}.map(m.erf),
          row: cases.map((c) => m.pixelRow(c.g, c, 21, c.offset)),
          box: cases.map((c) => m.boxRow(c.g, 21, c.offset)),
          gain: cases.map((c) => m.lightGain(c.g, c)),
          here: cases.map((c) => m.lightHere(c.g, c, c.offset)),
        }}));"""
    done = subprocess.run([node, "--input-type=module", "-e", script], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    filters = [(c["g"], c["eps2d"], c["compensate"]) for c in cases]
    want = {
        "std": splat1d.screen_std(0.03, 3, 250),
        "erf": [math.erf(x) for x in points],
        "row": [splat1d.pixel_row(*f, 21, c["offset"]) for f, c in zip(filters, cases)],
        "box": [splat1d.box_row(c["g"], 21, c["offset"]) for c in cases],
        "gain": [splat1d.light_gain(*f) for f in filters],
        "here": [splat1d.light_here(*f, c["offset"]) for f, c in zip(filters, cases)],
    }
    for name, values in want.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-12, atol=1e-14, err_msg=name)


def test_the_words_follow_the_traits():
    widget = Splat1D(zoom=0.5)
    assert widget.describe() == Splat1D(zoom=0.5).describe()
    assert "At zoom 0.5 (focal length 50 px) its standard deviation is 0.5 px" in widget.describe()
    assert "is 2.2 with 3DGS, 1 with 3DGS + EWA, 1 with Mip-Splatting." in widget.describe()
    widget.zoom = 1.0
    assert "1.3 with 3DGS" in widget.describe()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": 0.0}, "scale must be a positive number"),
        ({"depth": float("nan")}, "depth must be a positive number"),
        ({"focal": float("inf")}, "focal must be a positive number"),
        ({"pixels": 20}, "pixels must be odd"),
        ({"zoom": 9.0}, "zoom"),
        ({"offset": 0.6}, "offset"),
    ],
)
def test_values_out_of_range_are_refused(change, message):
    with pytest.raises(TraitError, match=message):
        Splat1D(**change)


def test_the_still_follows_the_zoom():
    ((png, alt),) = Splat1D(zoom=0.5).still()
    assert png == Splat1D(zoom=0.5).still()[0][0]
    assert png != Splat1D(zoom=2.0).still()[0][0]
    assert "3DGS, 3DGS + EWA, Mip-Splatting, for a Gaussian of 0.5 px." in alt


def test_without_scripts_the_still_is_shown(tmp_path):
    pages.assert_still_shown(tmp_path, Splat1D())


def test_the_page_shows_the_caption(tmp_path):
    with pages.opened(tmp_path, Splat1D(caption="Zoom out and count the light."), width=390) as page:
        assert "Zoom out and count the light." in page.locator(".bp-caption").inner_text()
        assert page.locator("img").count() == 0  # the still has gone


def test_all_comes_back(tmp_path):
    with pages.opened(tmp_path, Splat1D()) as page:
        pages.assert_resets(page)
