import base64
import io
import itertools

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from PIL import Image

from bestpapers.course import WINGS, plots

# Machado, Oliveira and Fernandes 2009, full dichromacy, on linear RGB
VISION = {
    "usual": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def linear(colour):
    c = np.array(to_rgb(colour))
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def luminance(colour):
    return float(XYZ[1] @ linear(colour))


def cielab(colour, vision="usual"):
    t = XYZ @ np.clip(np.array(VISION[vision]) @ linear(colour), 0, 1) / XYZ.sum(1)
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.fixture(autouse=True)
def _style():
    with mpl.rc_context():
        mpl.use("agg")
        plots.use()
        yield
    plt.close("all")


@pytest.fixture
def shown(monkeypatch):
    bundles = []
    monkeypatch.setattr(plots, "show_bundle", lambda bundle, metadata=None: bundles.append((bundle, metadata)))
    return bundles


@pytest.mark.parametrize("vision", VISION)
def test_palette_survives_colour_blindness(vision):
    for a, b in itertools.combinations(plots.PALETTE, 2):
        assert np.linalg.norm(cielab(a, vision) - cielab(b, vision)) >= 30, (a, b)


def test_palette_survives_grey():
    lightness = sorted(cielab(colour)[0] for colour in plots.PALETTE)
    assert min(np.diff(lightness)) >= 9.0


@pytest.mark.parametrize("colour", plots.PALETTE)
def test_palette_stands_out_from_the_background(colour):
    assert (luminance(plots.BACKGROUND) + 0.05) / (luminance(colour) + 0.05) >= 3.0


def test_each_wing_has_its_colour():
    assert tuple(plots.WING) == WINGS
    assert plots.WING["splatting"] == "#0072B2"


def test_curves_differ_without_colour():
    fig, ax = plt.subplots()
    lines = [ax.plot([0, 1], [0, i])[0] for i in range(6)]
    assert len({(str(line.get_linestyle()), line.get_marker()) for line in lines}) == 6
    assert len({line.get_marker() for line in lines}) == 6
    plt.close(fig)


def test_show_gives_picture_alt_and_caption_and_closes(shown):
    fig, ax = plt.subplots(figsize=(3, 2))
    ax.plot([1, 2], [3, 4])
    plots.show(fig, alt=" A line that rises from 3 to 4. ", caption="It rises by 1 < 2.")
    (picture, metadata), (caption, _) = shown
    assert metadata == {"image/png": {"alt": "A line that rises from 3 to 4.", "width": 300}}
    assert picture["text/plain"] == "A line that rises from 3 to 4."
    image = Image.open(io.BytesIO(base64.b64decode(picture["image/png"])))
    assert image.size == (600, 400)  # sharp, shown in half the size
    assert np.asarray(image.convert("RGBA"))[..., 3].min() == 255
    assert image.convert("RGB").getpixel((0, 0)) == (0xFC, 0xFC, 0xFA)
    assert caption["text/plain"] == "It rises by 1 < 2."
    assert "It rises by 1 &lt; 2." in caption["text/html"]
    assert not plt.fignum_exists(fig.number)


def test_same_figure_gives_the_same_bytes_and_never_more_than_100_dpi():
    def draw(dpi, **sharp):
        fig, ax = plt.subplots(figsize=(3, 2), dpi=dpi)
        ax.plot([1, 2])
        return plots.png(fig, **sharp)

    assert draw(100) == draw(100)
    assert Image.open(io.BytesIO(draw(300))).size == (300, 200)
    assert Image.open(io.BytesIO(draw(50, sharp=2))).size == (300, 200)
    assert b"matplotlib" not in draw(100).lower()


def test_curves_get_a_palette_and_pictures_keep_their_colours():
    def drawn(fig):
        fig.set_layout_engine("none")  # which would move things a little from drawing to drawing
        data = plots.png(fig, sharp=2)
        buffer = io.BytesIO()
        fig.savefig(buffer, dpi=200)
        full = np.asarray(Image.open(buffer).convert("RGB"), dtype=int)
        image = Image.open(io.BytesIO(data))
        error = np.abs(np.asarray(image.convert("RGB"), dtype=int) - full)
        return image.mode, error, len(data) / buffer.getbuffer().nbytes

    fig, ax = plt.subplots()
    for i in range(6):
        ax.plot([0, 1, 2], [0, i, -i], label=f"arm {i}")
    ax.legend()
    mode, error, size = drawn(fig)
    assert mode == "P"
    assert error.max() <= 16
    assert error.mean() < 0.6
    assert size < 0.6
    mode, error, size = drawn(plots.image_row([np.random.default_rng(0).random((32, 32, 3))], ["noise"]))
    assert mode == "RGB"
    assert error.max() == 2
    assert size < 0.9


@pytest.mark.parametrize(("alt", "caption", "missing"), [("", "c", "alt"), ("a", "  ", "caption"), (None, "c", "alt")])
def test_show_refuses_a_figure_without_words(shown, alt, caption, missing):
    fig, _ = plt.subplots()
    with pytest.raises(ValueError, match=f"{missing} is missing"):
        plots.show(fig, alt=alt, caption=caption)
    assert not shown


def test_image_grid_draws_every_picture_with_its_labels():
    rows = [[torch.rand(n, n, 3) for n in (48, 12)], [np.zeros((8, 16)), np.full((4, 8), 255, np.uint8)]]
    fig = plots.image_grid(rows, ["full", "1/4"], ["Mip", "truth"], [["30.1 dB", "28.4 dB"], ["", "white"]])
    axes = fig.axes
    assert [ax.get_title() for ax in axes] == ["full", "1/4", "", ""]
    assert [ax.get_ylabel() for ax in axes] == ["Mip", "", "truth", ""]
    assert [ax.get_xlabel() for ax in axes] == ["30.1 dB", "28.4 dB", "", "white"]
    assert [ax.images[0].get_array().shape[:2] for ax in axes] == [(48, 48), (12, 12), (8, 16), (4, 8)]
    assert all(ax.images[0].get_interpolation() == "nearest" for ax in axes)
    fig.canvas.draw()
    widths = [ax.get_window_extent().width for ax in axes]
    assert max(widths) - min(widths) < 0.1 * max(widths)


def test_pictures_become_bytes():
    for grey in (np.full((2, 2), 0.5), np.full((2, 2), 128, np.uint8), torch.full((2, 2), 0.5, requires_grad=True)):
        assert plots.as_bytes(grey).tolist() == [[128, 128], [128, 128]]
    assert plots.as_bytes(np.array([[-1.0, 2.0], [0.0, 1.0]])).tolist() == [[0, 255], [0, 255]]
    fig = plots.image_row([np.full((2, 2), 0.5)], ["grey"])
    assert fig.axes[0].images[0].get_clim() == (0, 255)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((2, 2, 4)), r"row 0, 'x': a picture is \[H, W\] or \[H, W, 3\], got \[2, 2, 4\]"),
        (np.zeros((0, 2)), "a picture is"),
        (np.zeros((2, 2), np.int64), r"a picture is uint8, or floats in \[0, 1\], got int64"),
        (np.array([[0.0, np.nan]]), r"row 0, 'x': holds NaN or infinity at index \[0, 1\]"),
    ],
)
def test_what_is_no_image_is_refused(image, message):
    with pytest.raises(ValueError, match=message):
        plots.image_row([image], ["x"])


def test_missing_labels_are_named():
    with pytest.raises(ValueError, match="row 0: want 2 entries, got 1"):
        plots.image_row([np.zeros((2, 2))], ["a", "b"])
    with pytest.raises(ValueError, match="notes, row 0: want 1 entries, got 2"):
        plots.image_row([np.zeros((2, 2))], ["a"], ["1", "2"])


def test_mean_and_range_show_the_runs():
    runs = [[1.0, 2.0, 6.0], [3.0, 2.0, 0.0]]
    _, ax = plt.subplots()
    plots.mean_range_line(ax, [1, 2, 4], runs, "Mip")
    assert ax.lines[0].get_ydata().tolist() == [2.0, 2.0, 3.0]
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == (0.0, 6.0)
    with pytest.raises(ValueError, match=r"runs: want \[R, 2\], one row for each run, got \[2, 3\]"):
        plots.mean_range_line(ax, [1, 2], runs, "Mip")
