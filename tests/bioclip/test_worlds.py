import io
import json

import numpy as np
import pytest
from PIL import Image
from traitlets import TraitError

from bestpapers.bioclip.data import World, photograph, traits
from bestpapers.bioclip.organisms import Traits
from bestpapers.bioclip.taxa import taxa
from bestpapers.bioclip.widgets import Worlds, worlds

from .. import pages

TABLE = {taxon.name: taxon for taxon in taxa()}
OWN = worlds.SHARES.index(0.948)


@pytest.fixture(scope="module")
def made():
    return Worlds()


@pytest.fixture
def widget(made):
    """The same one for all tests, back at its start."""
    for name in ("trio", "level", "inherit", "mimic", "pose"):
        setattr(made, name, made.traits()[name].default_value)
    return made


def tiles(widget):
    shape = (len(widget.groups), len(worlds.SHARES) + 1, 2, len(worlds.POSES), 3)
    return np.frombuffer(widget.tiles, "<u2").reshape(shape)


def sheet(widget, size=64):
    whole = np.asarray(Image.open(io.BytesIO(widget.pictures)).convert("RGB")).astype(float)
    rows = whole.shape[0] // size
    return whole.reshape(rows, size, 16, size, 3).transpose(0, 2, 1, 3, 4).reshape(rows * 16, size, size, 3)


def test_the_share_is_the_correlation_of_siblings():
    lion, tiger = TABLE["Panthera leo"], TABLE["Panthera tigris"]
    for share in (0.0, 0.5, 1.0):
        drawn = [World(seed=seed, sigma=worlds.sigma_of(share, World())) for seed in range(60)]
        a, b = (np.array([traits(taxon, world) for world in drawn]).ravel() for taxon in (lion, tiger))
        assert np.corrcoef(a, b)[0, 1] == pytest.approx(share, abs=0.1)  # of 840 pairs: standard error 0.035
        assert a.std() == pytest.approx(1, abs=0.1)


def test_one_of_the_levels_is_the_world_itself():
    sigma = np.array(World().sigma)
    assert 1 - sigma[-1] ** 2 / (sigma**2).sum() == pytest.approx(worlds.SHARES[OWN], abs=5e-4)
    own = traits(TABLE["Panthera leo"], World())
    same = traits(TABLE["Panthera leo"], World(sigma=worlds.sigma_of(worlds.SHARES[OWN], World())))
    np.testing.assert_allclose(same, own, atol=0.01)


@pytest.mark.parametrize(
    ("position", "world"),
    [
        ((0, 0, 0), World(sigma=worlds.sigma_of(0.0, World()))),
        ((1, OWN, 0), World(sigma=worlds.sigma_of(0.948, World()))),
        ((2, 5, 1), World(sigma=worlds.sigma_of(1.0, World()), mimic=True)),
        ((0, 2, 1), World(sigma=worlds.sigma_of(0.5, World()), mimic=True)),
        ((1, 6, 0), World(inherit=False)),
        ((0, 6, 1), World(inherit=False, mimic=True)),
    ],
)
def test_what_is_stored_is_the_library_s(widget, position, world):
    values = np.frombuffer(widget.values, "<f4").reshape(len(widget.groups), len(worlds.SHARES) + 1, 2, 3, 14)
    pictures = sheet(widget)
    for k, (name, common, _) in enumerate(widget.groups[position[0]]):
        taxon = TABLE[name]
        assert taxon.common_name == common
        np.testing.assert_allclose(values[position][k], traits(taxon, world), rtol=1e-6)
        for p in range(len(worlds.POSES)):
            want = photograph(taxon, p - 1 if p else None, world, 64)
            error = np.abs(pictures - want).mean((1, 2, 3))
            tile = tiles(widget)[position][p, k]
            assert error[tile] < 14  # what compression costs, most of it in noise
            assert error[tile] <= error.min() + 1e-9  # none of the others is closer


def test_levels_and_switches_do_what_they_say(widget):
    t = tiles(widget)
    assert (t[:, 5, :, 0, 0] == t[:, 5, :, 0, 1])[1:].all()  # siblings that share all are equal as specimens
    assert (t[:, :5, 0, 0, 0] != t[:, :5, 0, 0, 1]).all()
    assert (t[0, :, 0, :, 0] != t[0, :, 1, :, 0]).all()  # the viceroy changes
    assert (t[0, :, 0, :, 1:] == t[0, :, 1, :, 1:]).all()
    assert (t[1:, :, 0] == t[1:, :, 1]).all()  # nobody else has a mimic
    widget.level = 1
    at_a_quarter = widget.differences()[0]
    widget.level = OWN
    assert widget.differences()[0] < at_a_quarter / 2
    widget.level = 5
    assert widget.differences()[0] == pytest.approx(0)


def test_the_state_is_small(widget):
    assert len(json.dumps(widget.state())) < 600_000


def test_words_and_still_follow_the_traits(widget):
    before = widget.describe()
    ((png, _),) = widget.still()
    assert "Limenitis archippus (Viceroy), its sibling Limenitis arthemis" in before
    assert "siblings share 95% of the variance, mimicry off, specimen" in before
    assert f"sibling {widget.differences()[0]:.2f}, stranger {widget.differences()[1]:.2f}." in before
    assert Image.open(io.BytesIO(png)).width == 960
    widget.trio, widget.inherit, widget.pose = 2, False, 1
    assert "Quercus robur" in widget.describe()
    assert "nothing is inherited, mimicry off, photograph 1" in widget.describe()
    assert widget.still()[0][0] != png
    assert "nothing is inherited" in widget.still()[0][1]


@pytest.mark.parametrize("change", [{"trio": 3}, {"trio": -1}, {"level": 6}, {"pose": 4}])
def test_values_out_of_range_are_refused(widget, change):
    ((name, value),) = change.items()
    with pytest.raises(TraitError, match=name):
        setattr(widget, name, value)


def test_bad_input_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="no species 'Panthera pardus'"):
        Worlds(trios=[("Panthera leo", "Panthera pardus", "Lynx lynx")])
    with pytest.raises(ValueError, match="needs trios"):
        Worlds(trios=[("Panthera leo", "Panthera tigris")])
    with pytest.raises(ValueError, match="needs trios"):
        Worlds(trios=[])
    monkeypatch.setattr(worlds, "LIMIT", 5_000)
    with pytest.raises(ValueError, match=r"the pictures take \d+ kB, the limit is 5 kB"):
        Worlds(trios=worlds.TRIOS[:1], size=16)


def look(page):
    return [int(tile) for tile in page.locator(".bp-picture").evaluate_all("all => all.map(e => e.dataset.tile)")]


def test_controls_show_the_right_pictures(tmp_path, widget):
    t = tiles(widget)
    with pages.opened(tmp_path, widget) as page:
        slider = page.get_by_role("slider", name="variance that siblings share")
        assert look(page) == t[0, OWN, 0, 0].tolist()
        slider.focus()
        for key, level in (("Home", 0), ("ArrowRight", 1), ("End", 5), ("ArrowLeft", 4)):
            page.keyboard.press(key)
            assert look(page) == t[0, level, 0, 0].tolist()
            assert slider.get_attribute("aria-valuetext") == f"{100 * worlds.SHARES[level]:.0f} %"
        mimic = page.get_by_role("checkbox", name="mimicry")
        mimic.focus()
        page.keyboard.press("Space")
        assert look(page) == t[0, 4, 1, 0].tolist()
        page.get_by_label("shown as").select_option(label="photograph 2")
        assert look(page) == t[0, 4, 1, 2].tolist()
        inherit = page.get_by_role("checkbox", name="traits are inherited")
        inherit.focus()
        page.keyboard.press("Space")
        assert look(page) == t[0, 6, 1, 2].tolist()
        assert slider.is_disabled()
        assert "The null world" in page.locator("output").inner_text()
        page.get_by_label("species", exact=True).select_option(index=1)
        assert look(page) == t[1, 6, 1, 2].tolist()
        assert mimic.is_disabled()
        assert page.get_by_role("img", name="Great Tit, Parus major, photograph 2").count() == 1


def test_the_tile_that_is_shown_is_where_the_sheet_has_it(tmp_path, widget):
    """The offsets in percent, as CSS computes them, lead to the row and column of the tile."""
    with pages.opened(tmp_path, widget) as page:
        page.get_by_label("species", exact=True).select_option(index=2)
        found = page.locator(".bp-picture").evaluate_all(
            """all => all.map(e => {
              const [x, y] = getComputedStyle(e).backgroundPosition.split(" ").map(parseFloat);
              return [Number(e.dataset.tile), x, y]; })"""
        )
    rows = sheet(widget).shape[0] // 16
    for tile, x, y in found:
        assert (round(x / 100 * 15, 3), round(y / 100 * (rows - 1), 3)) == (tile % 16, tile // 16)


def test_all_comes_back(tmp_path, widget):
    with pages.opened(tmp_path, widget) as page:
        pages.assert_resets(page)


def test_readout_and_plot_are_python_s(tmp_path, widget):
    widget.level, widget.trio = 2, 1
    with pages.opened(tmp_path, widget) as page:
        text = page.locator("output").inner_text()
        marks = page.locator(".bp-plot path").evaluate_all(
            "all => all.map(e => e.getAttribute('transform').match(/[-\\d.]+/g).map(Number))"
        )
    sibling, stranger = widget.differences()
    assert text.endswith(f"from the Great Tit: Green-backed Tit {sibling:.2f}, Golden Eagle {stranger:.2f}.")
    world, trio = widget.here()
    z = np.array([traits(taxon, world) for taxon in trio]).T.clip(-3.5, 3.5)  # [14, 3]
    assert len(marks) == z.size == 3 * len(Traits._fields)
    x = np.array(marks)[:, 0].reshape(z.shape)
    np.testing.assert_allclose(x, 84 + 216 * (z + 3.5) / 7, atol=0.051)


@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_phone_and_takes_the_page_s_colours(tmp_path, widget, dark):
    pages.assert_fits_a_phone(tmp_path, widget, dark)


def test_without_scripts_the_still_is_shown(tmp_path, widget):
    pages.assert_still_shown(tmp_path, widget)
