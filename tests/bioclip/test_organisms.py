"""Organisms: every family draws, in its own shape; heredity shows; the same arguments give the same bytes."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest

from bestpapers.bioclip.organisms import GROUND, LOOKS, Traits, render
from bestpapers.bioclip.taxa import RANKS, taxa

SIGMA = (1, 0.8, 0.7, 0.6, 0.5, 0.45, 0.4)
TAXA = taxa()
families = pytest.mark.parametrize("family", LOOKS)


def heir(taxon, world=0):
    """Traits that change a little at each rank: two taxa share what their common ancestors got."""
    z = np.zeros(len(Traits._fields))
    for rank in range(len(RANKS)):
        name = "/".join((str(world), *taxon.path[: rank + 1]))
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
        z += SIGMA[rank] * np.random.default_rng(seed).standard_normal(len(z))
    return Traits(*(z / np.linalg.norm(SIGMA)).tolist())


def wild(seed):
    """Traits of a species that inherits from nobody."""
    return Traits(*np.random.default_rng(seed).standard_normal(len(Traits._fields)).tolist())


@cache
def specimens(world=0):
    """Clean pictures of all species [128, 48, 48, 3], as floats."""
    return np.array([render(taxon.family, heir(taxon, world), None, 48) for taxon in TAXA], dtype=np.float64)


def pairs(rank):
    """Which pairs of species agree down to a rank [128, 128], a species and itself left out."""
    names = np.array(["/".join(taxon.path[: RANKS.index(rank) + 1]) for taxon in TAXA])
    return (names[:, None] == names) & ~np.eye(len(names), dtype=bool)


def test_there_is_a_look_for_every_family():
    assert set(LOOKS) == {taxon.family for taxon in TAXA}


@families
def test_photographs(family):
    for seed in (None, 0, 7):
        for size in (8, 33, 64):
            image = render(family, Traits(), seed, size)
            assert image.shape == (size, size, 3)
            assert image.dtype == np.uint8
            assert image.std() > 5


@families
@pytest.mark.parametrize("z", [-4.0, 4.0, 1e6])
def test_the_rarest_traits_still_make_a_body(family, z):
    signs = np.random.default_rng(1).choice((-1, 1), len(Traits._fields))
    image = render(family, Traits(*(z * signs).tolist()), None)
    assert 0.02 < (np.abs(image - 255 * GROUND).max(-1) > 40).mean() < 0.75


@families
def test_clean_specimen_is_whole_and_fills_the_picture(family):
    image = render(family, Traits(), None, 128).astype(float)
    if family not in {"Araneidae", "Corvidae", "Paridae", "Accipitridae"}:  # whose web or perch goes on
        edge = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
        assert np.abs(edge - 255 * GROUND).max() < 40  # at most the faint end of a shadow
    rows, columns = np.nonzero(np.abs(image - 255 * GROUND).max(-1) > 40)
    assert max(np.ptp(rows), np.ptp(columns)) > 0.7 * 128


@families
def test_same_arguments_same_bytes(family):
    for seed in (None, 3):
        np.testing.assert_array_equal(render(family, wild(0), seed), render(family, wild(0), seed))


def test_threads_give_the_same_bytes():
    jobs = [(family, wild(0), seed) for family in LOOKS for seed in (None, 1)]
    alone = [render(*job) for job in jobs]
    with ThreadPoolExecutor(4) as pool:
        for image, expected in zip(pool.map(lambda job: render(*job), jobs), alone):
            np.testing.assert_array_equal(image, expected)


@families
def test_seed_draws_another_photograph(family):
    images = [render(family, Traits(), seed).astype(float) for seed in range(3)]
    assert min(np.abs(images[0] - images[1]).mean(), np.abs(images[1] - images[2]).mean()) > 10


@families
def test_small_picture_is_the_large_one_made_small(family):
    for t in (Traits(), wild(1)):
        small = render(family, t, None, 32).astype(float)
        large = render(family, t, None, 128).astype(float).reshape(32, 4, 32, 4, 3).mean((1, 3))
        # measured: 1.5 to 8.4 of 255; needles and forks thinner than a pixel of the small one come out worst
        assert np.abs(small - large).mean() < 10
        assert np.corrcoef(small.ravel(), large.ravel())[0, 1] > 0.93


def test_each_silhouette_is_most_like_one_of_its_own_family():
    mask = (np.abs(specimens() - 255 * GROUND).max(-1) > 40).reshape(len(TAXA), -1).astype(float)
    both = mask @ mask.T
    overlap = both / (mask.sum(1)[:, None] + mask.sum(1) - both)  # intersection over union
    same = pairs("family")
    np.fill_diagonal(overlap, 0)
    family = np.array([taxon.family for taxon in TAXA])
    assert (family[overlap.argmax(1)] == family).mean() > 0.95
    strangers = ~same & ~np.eye(len(TAXA), dtype=bool)
    assert overlap[same].mean() > 2 * overlap[strangers].mean()
    assert overlap[strangers].max() < 0.8


def test_siblings_are_alike_relatives_less_strangers_not():
    genus, family = pairs("genus"), pairs("family")
    groups = genus, family & ~genus, ~family & ~np.eye(len(TAXA), dtype=bool)
    means = []
    for world in range(4):  # a single tree of 64 genera is too few: many a genus keeps its family's pattern
        flat = specimens(world).reshape(len(TAXA), -1)
        square = (flat**2).sum(1)
        distance = np.sqrt(np.maximum(square[:, None] + square - 2 * flat @ flat.T, 0) / flat.shape[1])
        means.append([distance[group].mean() for group in groups])
        assert distance[genus].min() > 2  # no two species look the same
    siblings, cousins, strangers = np.mean(means, 0)
    assert siblings < 0.9 * cousins
    assert cousins < 0.6 * strangers


@families
def test_traits_change_the_picture(family):
    changed = set()
    for level in (-0.9, 0.3, 0.9):
        base = np.full(len(Traits._fields), level)
        before = render(family, Traits(*base.tolist()), None).astype(int)
        for k, name in enumerate(Traits._fields):
            other = base.copy()
            other[k] -= 1
            if np.abs(render(family, Traits(*other.tolist()), None) - before).max() > 8:
                changed.add(name)
    assert changed >= {"elongation", "bulk", "hue", "saturation", "value"}
    assert len(changed) >= 10


def test_small_differences_of_traits_make_small_differences_of_pictures():
    for family in LOOKS:
        near, far = (
            np.abs(render(family, Traits(bulk=z, hue=z), None).astype(int) - render(family, Traits(), None)).mean()
            for z in (0.1, 1.5)
        )
        assert 0 < near < 0.6 * far


def test_photographs_of_one_species_show_the_same_pattern():
    # a trait just at the border between two patterns: the spread within the species must not carry it across
    spots, stripes = (render("Felidae", Traits(pattern=z), 5).astype(int) for z in (1.1999, 1.2))
    assert np.abs(spots - stripes).max() > 50
    for seed in range(3):
        for z in (1.1999, 1.2):
            near = render("Felidae", Traits(pattern=z), seed).astype(int)
            same = render("Felidae", Traits(pattern=z + (0.01 if z == 1.2 else -0.01)), seed)
            np.testing.assert_array_equal(near, same)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"no look for the family 'Hominidae'; there are .*Felidae"):
        render("Hominidae", Traits(), None)
    with pytest.raises(ValueError, match="14 finite numbers"):
        render("Felidae", Traits(hue=float("nan")), None)
    with pytest.raises(ValueError, match="14 finite numbers"):
        render("Felidae", (0.0,) * 13, None)
    with pytest.raises(ValueError, match="size must be 8 to 4096 pixels, not 7"):
        render("Felidae", Traits(), None, 7)
    with pytest.raises(ValueError, match="size must be"):
        render("Felidae", Traits(), None, 100_000)
    with pytest.raises(TypeError, match="integer"):
        render("Felidae", Traits(), None, 64.0)
    with pytest.raises(ValueError, match="seed must be None or a number from 0 up, not -1"):
        render("Felidae", Traits(), -1)
    with pytest.raises(TypeError, match="integer"):
        render("Felidae", Traits(), 1.5)
