"""The procedural tree of life: does inheritance follow its law, do pictures follow the traits, do splits and caches hold?"""

import threading
from collections import Counter
from dataclasses import FrozenInstanceError, replace
from modulefinder import ModuleFinder
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from scipy.stats import chisquare, spearmanr

import bestpapers
from bestpapers.bioclip import data, worlds
from bestpapers.bioclip.data import Split, World, check_split, make_split
from bestpapers.bioclip.organisms import LOOKS, Traits
from bestpapers.bioclip.taxa import taxa
from bestpapers.bioclip.taxonomy import captions, lca_height

pytestmark = pytest.mark.filterwarnings("error::UserWarning")  # a file that could not be kept

TABLE = taxa()
BY_NAME = {taxon.name: taxon for taxon in TABLE}
LION, TIGER = BY_NAME["Panthera leo"], BY_NAME["Panthera tigris"]
MONARCH, VICEROY = BY_NAME["Danaus plexippus"], BY_NAME["Limenitis archippus"]
PAIRS = np.triu_indices(128, 1)
HEIGHTS = lca_height(TABLE, TABLE)[PAIRS]
NULL = World(inherit=False)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty folder for each test: the reader's own is neither read nor filled."""
    monkeypatch.setenv("BESTPAPERS_CACHE", str(tmp_path))
    return tmp_path / "bioclip"


def all_traits(world: World, table=TABLE) -> np.ndarray:
    return np.array([data.traits(taxon, world) for taxon in table])


def distances(features) -> np.ndarray:
    """Of all pairs of the 128 species: [8128]."""
    x = torch.as_tensor(np.asarray(features)).double().flatten(1)
    return torch.cdist(x, x).numpy()[PAIRS]


# -------------------------------------------------------------------------------------------------------------- traits


def test_traits_of_two_species_covary_as_much_as_their_paths_share():
    """The law of Brownian motion on a tree: covariance = sum of sigma^2 over shared ranks / sum over all."""
    others = {name: BY_NAME[name] for name in ("Panthera leo", "Panthera tigris", "Cervus elaphus", "Quercus robur")}
    sigma = np.array(World().sigma)
    z = np.array([[data.traits(taxon, World(seed=seed)) for taxon in others.values()] for seed in range(1500)])
    got = np.einsum("wat,wbt->ab", z, z) / (1500 * 14)
    shared = 7 - lca_height(list(others.values()), list(others.values()))
    expected = np.array([[(sigma[:k] ** 2).sum() for k in row] for row in shared]) / (sigma**2).sum()
    assert expected[0].round(2).tolist() == [1, 0.95, 0.69, 0]
    # 21,000 draws: an entry has a standard deviation of at most sqrt(2 / 21,000) = 0.01
    np.testing.assert_allclose(got, expected, atol=0.04)
    assert abs(z.mean((0, 1))).max() < 0.1
    per_trait = np.einsum("wat,wau->tu", z, z) / (1500 * 4)  # the fourteen are independent of each other
    np.testing.assert_allclose(per_trait, np.eye(14), atol=0.1)


def test_relatives_are_alike_in_the_tree_world_and_not_in_the_null_world():
    tree, null = ([spearmanr(distances(all_traits(World(seed, inherit))), HEIGHTS)[0] for seed in range(20)]
                  for inherit in (True, False))  # fmt: skip
    # worlds differ: with three kingdoms, much hangs on how far apart these happen to be (0.47 to 0.80 in these twenty)
    assert 0.6 < np.mean(tree) < 0.75, tree
    assert min(tree) > 0.4, tree
    assert abs(np.mean(null)) < 0.02, null
    assert max(np.abs(null)) < 0.1, null


def test_sigma_says_at_which_rank_traits_move():
    only = [World(sigma=tuple(float(r == rank) for r in range(7))) for rank in range(7)]
    for rank, world in enumerate(only):
        z = all_traits(world)
        groups = {taxon.path[: rank + 1] for taxon in TABLE}
        assert len(np.unique(z.round(9), axis=0)) == len(groups), rank  # all of a group are equal, no two groups are
    star = spearmanr(distances(all_traits(only[6])), HEIGHTS)[0]
    assert abs(star) < 0.1
    assert all_traits(World(sigma=tuple(5 * s for s in World().sigma))) == pytest.approx(all_traits(World()))


def test_a_species_is_the_same_whatever_else_is_in_the_table():
    big = data.species(300)
    some = [big[200], *TABLE[::-7], big[400]]
    for world in (World(), NULL):
        ours = all_traits(world, some)
        worlds._traits.cache_clear()
        worlds._step.cache_clear()
        np.testing.assert_array_equal(all_traits(world, big[::-1])[::-1][[big.index(taxon) for taxon in some]], ours)
    alone = data.photographs([LION], 2, cache=False)
    among = data.photographs([TIGER, big[150], LION, MONARCH], 2, cache=False)
    assert torch.equal(among[2], alone[0])


def test_traits_are_equal_on_every_machine():
    """If this fails, hashes or numpy's generator have changed: stored weights and outputs then show other organisms."""
    assert Traits._fields == (
        *("elongation", "bulk", "limbs", "head", "ornament", "hue", "saturation", "value", "hue2", "value2"),
        *("pattern", "scale", "contrast", "accent"),
    )
    assert np.round(data.traits(LION), 4)[:4].tolist() == [-0.5448, -0.8198, -0.1251, 1.2546]
    assert np.round(data.traits(LION, NULL), 4)[:4].tolist() == [-0.4074, 0.8974, 0.5763, 0.8798]
    assert data.body(LION, NULL) == "Dryopteridaceae"
    assert data.traits(LION, World(seed=1)) != data.traits(LION)


def test_mimicry_copies_colours_and_nothing_else():
    world = World(mimic=True)
    model, before, after = data.traits(MONARCH, world), data.traits(VICEROY), data.traits(VICEROY, world)
    for name in Traits._fields:
        source = model if name in data.TRAITS_OF_COLOUR else before
        assert getattr(after, name) == getattr(source, name), name
        assert getattr(before, name) != getattr(model, name), name
    assert set(data.TRAITS_OF_COLOUR) < set(Traits._fields)
    rest = [taxon for taxon in TABLE if taxon != VICEROY]
    np.testing.assert_array_equal(all_traits(world, rest), all_traits(World(), rest))

    def apart(world):
        a, b = (data.photograph(taxon, None, world).astype(float) for taxon in (MONARCH, VICEROY))
        return abs(a - b).mean()

    assert apart(world) < 0.6 * apart(World())  # wings of another cut remain


def test_bodies_follow_the_family_or_in_the_null_world_nothing():
    assert all(data.body(taxon) == taxon.family for taxon in TABLE)
    table = data.species(3600)
    drawn = [data.body(taxon, NULL) for taxon in table]
    counts = Counter(drawn)
    assert set(counts) == set(LOOKS)
    assert chisquare(list(counts.values())).pvalue > 1e-4
    own = sum(family == taxon.family for family, taxon in zip(drawn, table))
    assert abs(own - len(table) / 36) < 4 * np.sqrt(len(table) / 36)  # by chance only
    siblings = sum(a == b for a, b in zip(drawn[:128:2], drawn[1:128:2]))
    assert siblings < 8  # of 64 pairs, 1.8 by chance
    with pytest.raises(ValueError, match="no body plan for the family 'Pongidae'"):
        data.body(replace(LION, family="Pongidae"))


def test_a_species_needs_all_its_ranks():
    with pytest.raises(ValueError, match="all seven ranks"):
        data.traits(replace(LION, class_=""))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seed", -1),
        ("seed", 0.5),
        ("seed", True),
        ("sigma", (1,) * 6),
        ("sigma", (0,) * 7),
        ("sigma", (1,) * 6 + (-1,)),
        ("sigma", (1,) * 6 + (float("nan"),)),
        ("sigma", (1,) * 6 + (float("inf"),)),
        ("label_noise", 1.1),
        ("label_noise", float("nan")),
        ("missing_ranks", -0.1),
    ],
)
def test_a_world_names_the_switch_that_is_out_of_range(field, value):
    with pytest.raises(ValueError, match=rf"World\.{field}: "):
        World(**{field: value})


def test_worlds_are_values():
    assert World(seed=np.int64(3), sigma=[1, 0.8, 0.7, 0.6, 0.5, 0.45, 0.4]) == World(3)
    assert len({World(), World(0), World(1), NULL}) == 3
    with pytest.raises(FrozenInstanceError):
        World().seed = 1


# ------------------------------------------------------------------------------------------------------------- species


def test_invented_species_fit_into_the_tree():
    table = data.species(384)
    assert len(table) == 512
    assert table[:128] == TABLE
    assert all(taxon.invented == (i >= 128) for i, taxon in enumerate(table))
    assert {taxon.path[:5] for taxon in table} == {taxon.path[:5] for taxon in TABLE}  # no new family
    families = {taxon.genus: taxon.family for taxon in table}
    assert all(families[taxon.genus] == taxon.family for taxon in table)  # a genus lies in one family
    per_genus = Counter(taxon.genus for taxon in table)
    assert sum(count < 2 for count in per_genus.values()) <= 1  # the last one may wait for its second species
    new = [taxon for taxon in table[128:] if taxon.genus not in {old.genus for old in TABLE}]
    assert 0.5 < len(new) / 384 < 0.9  # new genera and new siblings of old ones, both
    assert len({taxon.family for taxon in table[128:]}) == 36


@pytest.mark.parametrize("seed", [0, 1])
def test_invented_names_clash_with_none(seed):
    table = data.species(2000, seed)
    real = {name.lower() for taxon in TABLE for name in taxon.path}
    genera = {taxon.genus for taxon in table if taxon.genus.lower() not in real}
    epithets = [taxon.species for taxon in table[128:]]
    assert len(set(epithets)) == 2000
    assert not set(epithets) & real
    assert not set(epithets) & {genus.lower() for genus in genera}
    assert len({taxon.common_name.lower() for taxon in table}) == len(table)
    for kind in ("com", "sci", "taxon"):
        assert len({captions(taxon)[kind] for taxon in table}) == len(table)
    for taxon in table[128:]:
        for word in (taxon.genus, taxon.species):
            assert word.isascii()
            assert word.replace("-", "").isalpha()
        vowels = [letter in "aeiouy" for letter in taxon.species]
        assert all(any(vowels[i : i + 4]) for i in range(len(vowels) - 3)), taxon.species  # can be said
    nouns = {taxon.common_name.split()[-1] for taxon in TABLE}
    assert all(taxon.common_name.split()[-1] in nouns for taxon in table)


def test_more_species_go_on_from_fewer():
    assert data.species(100) == data.species(300)[:228]
    assert data.species() == TABLE
    assert data.species(50, seed=1)[128:] != data.species(50)[128:]
    with pytest.raises(ValueError, match="species: extra"):
        data.species(-1)


def test_long_tail():
    counts = data.long_tail(512, 2560, 1.0, seed=3)
    assert counts.sum() == 2560
    assert counts.min() == 1
    assert np.array_equal(counts, data.long_tail(512, 2560, 1.0, seed=3))
    assert not np.array_equal(counts, data.long_tail(512, 2560, 1.0, seed=4))
    ordered = np.sort(counts)[::-1]
    assert not np.array_equal(counts, ordered)
    assert np.array_equal(ordered, np.sort(data.long_tail(512, 2560, 1.0, seed=4))[::-1])
    expected = 1 + (2560 - 512) / np.arange(1, 513) / (1 / np.arange(1, 513)).sum()  # Zipf's law
    assert abs(ordered - expected).max() < 1
    assert np.ptp(data.long_tail(10, 103, 0)) == 1
    assert sorted(data.long_tail(10, 103, 0))[6:] == [10, 11, 11, 11]
    assert data.long_tail(5, 5, 2).tolist() == [1] * 5
    for exponent in (0.3, 1.7, 40):
        assert data.long_tail(77, 1001, exponent).sum() == 1001
        assert data.long_tail(77, 1001, exponent).min() >= 1


@pytest.mark.parametrize(
    ("args", "message"),
    [((10, 9), "not enough"), ((0, 9), "n_species"), ((2, 9, -1), "exponent"), ((2, 9, float("nan")), "exponent")],
)
def test_long_tail_refuses(args, message):
    with pytest.raises(ValueError, match=message):
        data.long_tail(*args)


# -------------------------------------------------------------------------------------------------------------- labels


def test_without_faults_training_sees_the_truth():
    assert data.observe(TABLE) == TABLE
    assert data.observe([LION, LION], number=[0, 5]) == (LION, LION)
    assert data.observe([]) == ()


def test_label_noise():
    world = World(label_noise=0.25)
    many = [taxon for taxon in TABLE for _ in range(50)]
    got = data.observe(many, world, [*range(50)] * 128)
    wrong = [(a, b) for a, b in zip(many, got) if a != b]
    assert len(wrong) / 6400 == pytest.approx(0.25, abs=0.02)  # 3.7 standard deviations
    assert set(got) <= set(TABLE)
    places = np.array([(TABLE.index(b) - TABLE.index(a)) % 128 for a, b in wrong])
    assert chisquare(np.bincount(places, minlength=128)[1:]).pvalue > 1e-4  # any other species, all alike
    assert all(a != b for a, b in zip(many, data.observe(many, World(label_noise=1), [*range(50)] * 128)))
    with pytest.raises(ValueError, match="second species"):
        data.observe([LION, LION], world)


def test_missing_ranks():
    world = World(missing_ranks=0.16)
    many = [taxon for taxon in TABLE for _ in range(50)]
    got = data.observe(many, world, [*range(50)] * 128)
    cut = hole = 0
    depths, places = Counter(), Counter()
    for truth, label in zip(many, got):
        gone = [i for i, name in enumerate(label.path) if not name]
        assert all(name in ("", true) for name, true in zip(label.path, truth.path))
        assert captions(label)["taxon_com"]
        if not gone:
            assert label == truth
        elif gone[-1] == 6:
            cut += 1
            assert gone == list(range(gone[0], 7))
            assert label.common_name == ""  # it would give the species away
            depths[gone[0]] += 1
        else:
            hole += 1
            assert len(gone) == 1
            assert label.common_name == truth.common_name
            places[gone[0]] += 1
    assert (cut + hole) / 6400 == pytest.approx(0.16, abs=0.018)  # 3.9 standard deviations
    assert cut / (cut + hole) == pytest.approx(0.5, abs=0.06)
    assert set(depths) == {4, 5, 6}
    assert set(places) == {1, 2, 3, 4}


def test_the_two_faults_are_independent():
    many = [taxon for taxon in TABLE for _ in range(20)]
    got = data.observe(many, World(label_noise=0.5, missing_ranks=0.5), [*range(20)] * 128)
    # the kingdom is never missing, and most wrong labels are of another one
    both = [(taxon.kingdom != label.kingdom, not all(label.path)) for taxon, label in zip(many, got)]
    assert abs(np.corrcoef(np.array(both).T)[0, 1]) < 0.08  # four standard deviations


def test_faults_belong_to_the_photograph():
    world = World(label_noise=0.3, missing_ranks=0.3)
    all_zero = data.observe(TABLE, world)
    assert all_zero == data.observe(TABLE, world, 0) == data.observe(TABLE, world, np.zeros(128, np.int64))
    assert all_zero != data.observe(TABLE, world, 1)
    assert all_zero != data.observe(TABLE, replace(world, seed=1))
    shuffled = data.observe(TABLE[::-1], world)
    clean = [a == t for a, t in zip(all_zero, TABLE)]
    assert clean == [a == t for a, t in zip(shuffled[::-1], TABLE)]  # which are faulty; a wrong label goes by the table
    both = [not all(label.path) for label in all_zero]
    assert both == [not all(label.path) for label in data.observe(TABLE, replace(world, label_noise=0))]
    with pytest.raises(ValueError, match="3 numbers for 2"):
        data.observe([LION, TIGER], world, [1, 2, 3])
    with pytest.raises(ValueError, match="observe: number"):
        data.observe([LION, TIGER], world, -1)


# --------------------------------------------------------------------------------------------------------- photographs


@pytest.mark.parametrize("world", [World(), NULL], ids=["tree", "null"])
def test_every_species_can_be_photographed(world):
    images = data.photographs(TABLE, 1, world, 32, cache=False)
    assert images.shape == (128, 1, 32, 32, 3)
    assert images.dtype == torch.uint8
    assert (images.flatten(1).float().std(1) > 8).all()
    assert len({image.numpy().tobytes() for image in images}) == 128


def test_photographs_differ_by_number_species_and_seed_and_by_nothing_else():
    one = data.photograph(LION, 3)
    assert one.shape == (64, 64, 3)
    assert one.dtype == np.uint8
    np.testing.assert_array_equal(one, data.photograph(LION, 3, World(label_noise=0.5, missing_ranks=0.5)))
    for other in ((LION, 4), (LION, None), (TIGER, 3), (LION, 3, World(1)), (LION, 3, NULL)):
        assert (data.photograph(*other) != one).any(), other
    np.testing.assert_array_equal(data.photograph(LION, None), data.photograph(LION, None))
    renamed = replace(LION, common_name="King of beasts", invented=True)
    np.testing.assert_array_equal(data.photograph(renamed, 3), one)


def test_switches_leave_the_scene():
    """The corners show background, whatever the organism."""
    a, b = (data.photograph(VICEROY, 5, world).astype(int) for world in (World(), World(mimic=True)))
    corners = np.zeros((64, 64), bool)
    corners[:4, :4] = corners[:4, -4:] = corners[-4:, :4] = corners[-4:, -4:] = True
    assert (a != b).any()
    assert abs(a - b)[corners].max() == 0


@pytest.mark.parametrize("size", [32, 128])
def test_any_size(size):
    specimen = data.photograph(LION, None, size=size)
    assert specimen.shape == (size, size, 3)
    fine = data.photograph(LION, None, size=4 * size).reshape(size, 4, size, 4, 3).mean((1, 3))
    # of 255, and specimen and ground are 30 apart: the same picture, up to the edges
    assert abs(fine - specimen).mean() < 3


def test_relatives_look_alike_but_raw_pixels_hardly_tell():
    """The tree is in the pictures and not on their surface: a model has to find it."""
    tree, null = (data.photographs(TABLE, 4, world).float().mean(1) for world in (World(), NULL))
    traits = spearmanr(distances(all_traits(World())), HEIGHTS)[0]
    pixels = spearmanr(distances(tree), HEIGHTS)[0]
    assert pixels < 0.3 < 0.5 < traits, (pixels, traits)
    assert abs(spearmanr(distances(null), HEIGHTS)[0]) < 0.08
    specimens = distances([data.photograph(taxon, None) for taxon in TABLE])
    means = [specimens[height == HEIGHTS].mean() for height in (1, 2, 7)]
    assert means[0] < means[1] < 0.8 * means[2], means  # siblings, family, strangers


def test_a_batch_is_its_photographs_on_any_number_of_threads():
    some = [LION, MONARCH, BY_NAME["Quercus robur"]]
    threads = torch.get_num_threads()
    try:
        for torch_threads in (1, 4):
            torch.set_num_threads(torch_threads)
            got = data.photographs(some, 24, World(2), 16, start=7, cache=False)
            for i, taxon in enumerate(some):
                for j in (0, 11, 23):
                    np.testing.assert_array_equal(got[i, j], data.photograph(taxon, 7 + j, World(2), 16))
    finally:
        torch.set_num_threads(threads)


def test_a_collection_has_as_many_of_each_as_asked():
    some = TABLE[:5]
    images, labels = data.collection(some, np.array([2, 0, 3, 1, 1]), size=16)
    assert images.shape == (7, 16, 16, 3)
    assert labels.tolist() == [0, 0, 2, 2, 2, 3, 4]
    assert labels.dtype == torch.int64
    np.testing.assert_array_equal(images[4], data.photograph(some[2], 2, size=16))
    images, labels = data.collection([], [])
    assert images.shape == (0, 64, 64, 3)
    assert labels.shape == (0,)
    with pytest.raises(ValueError, match="1 counts for 2"):
        data.collection(some[:2], [1])
    with pytest.raises(ValueError, match="counts"):
        data.collection(some[:2], [1, -1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: data.photograph(LION, -1), "photograph: number"),
        (lambda: data.photograph(LION, 1.5), "photograph: number"),
        (lambda: data.photograph(LION, 0, size=0), "size"),
        (lambda: data.photograph(LION, 0, size=100_000), "size"),
        (lambda: data.photographs([LION], 0), "per_species"),
        (lambda: data.photographs([LION], 1, start=-1), "start"),
        (lambda: data.photographs([LION], 1, size=0), "size"),
        (lambda: data.photographs([replace(LION, family="Pongidae")], 1), "Pongidae"),
    ],
)
def test_bad_requests_are_refused_and_leave_no_file(call, message, cache):
    with pytest.raises(ValueError, match=message):
        call()
    assert not [path for path in cache.glob("*") if path.suffix != ".lock"]


# --------------------------------------------------------------------------------------------------------------- cache


@pytest.fixture
def rendered(monkeypatch):
    """The list of the pictures that were really made."""
    made = []
    render = worlds.render

    def spy(*args):
        made.append(args)
        return render(*args)

    monkeypatch.setattr(worlds, "render", spy)
    return made


def kept(cache: Path) -> list[Path]:
    return sorted(path for path in cache.iterdir() if path.suffix != ".lock")


def test_photographs_are_made_once(cache, rendered):
    first = data.photographs([LION, TIGER], 3, size=16)
    assert len(rendered) == 6
    again = data.photographs([LION, TIGER], 3, size=16)
    assert len(rendered) == 6
    assert torch.equal(first, again)
    again += 1  # its own memory, which may be written to
    faulty = World(label_noise=0.5, missing_ranks=0.5)
    assert torch.equal(data.photographs([LION, TIGER], 3, faulty, size=16), first)
    assert len(rendered) == 6  # labels do not change pictures
    data.photographs([LION, TIGER], 3, size=16, cache=False)
    assert len(rendered) == 12
    assert len(kept(cache)) == 1


def test_whatever_changes_a_picture_has_its_own_file(cache):
    data.photographs([LION, TIGER], 2, size=16)
    sigma = (1, 1, 1, 1, 1, 1, 1)
    for n, (args, kw) in enumerate(
        [
            (([TIGER, LION], 2), {}),
            (([LION, MONARCH], 2), {}),
            (([LION], 2), {}),
            (([LION, TIGER], 3), {}),
            (([LION, TIGER], 2), dict(start=2)),
            (([LION, TIGER], 2), dict(size=17)),
            (([LION, TIGER], 2, World(1)), {}),
            (([LION, TIGER], 2, NULL), {}),
            (([LION, TIGER], 2, World(sigma=sigma)), {}),
            (([LION, TIGER], 2, World(mimic=True)), {}),
        ],
        2,
    ):
        got = data.photographs(*args, **({"size": 16} | kw))
        assert torch.equal(got, data.photographs(*args, **({"size": 16} | kw), cache=False))
        assert len(kept(cache)) == n, (args, kw)
    data.collection([LION, TIGER], [1, 3], size=16)  # as many pictures as another file has, of other species
    assert len(kept(cache)) == 12


def test_another_painter_has_other_files_and_old_ones_go(cache, rendered, monkeypatch):
    data.photographs([LION], 2, size=16)
    (old,) = kept(cache)
    (cache / "notes.txt").write_text("not ours")
    monkeypatch.setattr(data, "SOURCE", "0" * 12)
    data.photographs([LION], 2, size=16)
    assert len(rendered) == 4
    assert not old.exists()
    assert {path.suffix for path in kept(cache)} == {".u8", ".txt"}


def damage_nothing_left(path):
    path.write_bytes(b"")


def damage_cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def damage_longer(path):
    path.write_bytes(path.read_bytes() + b"\0")


def damage_pixel(path):
    raw = bytearray(path.read_bytes())
    raw[-100] ^= 1
    path.write_bytes(raw)


def damage_hash(path):
    raw = bytearray(path.read_bytes())
    raw[0] ^= 1
    path.write_bytes(raw)


def damage_zeros(path):
    path.write_bytes(bytes(path.stat().st_size))


def damage_folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "damage", [damage_nothing_left, damage_cut, damage_longer, damage_pixel, damage_hash, damage_zeros]
)
def test_a_damaged_file_is_noticed_and_mended(damage, cache, rendered):
    true = data.photographs([LION], 2, size=16)
    (path,) = kept(cache)
    whole = path.read_bytes()
    damage(path)
    assert torch.equal(data.photographs([LION], 2, size=16), true)
    assert len(rendered) == 4
    assert path.read_bytes() == whole
    data.photographs([LION], 2, size=16)
    assert len(rendered) == 4


def test_where_nothing_can_be_kept_photographs_come_all_the_same(cache, tmp_path, monkeypatch):
    true = data.photographs([LION], 2, size=16)
    (path,) = kept(cache)
    damage_folder(path)
    with pytest.warns(UserWarning, match="not kept"):
        assert torch.equal(data.photographs([LION], 2, size=16), true)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BESTPAPERS_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="not kept"):
        assert torch.equal(data.photographs([LION], 2, size=16), true)


def test_an_interruption_leaves_no_half_file(cache, monkeypatch):
    true = data.photograph
    count = iter(range(1000))

    def interrupted(*args):
        if next(count) == 40:
            raise KeyboardInterrupt
        return true(*args)

    with monkeypatch.context() as patch:
        patch.setattr(data, "photograph", interrupted)
        with pytest.raises(KeyboardInterrupt):
            data.photographs([LION], 200, size=16)
    assert kept(cache) == []
    assert data.photographs([LION], 2, size=16).shape == (1, 2, 16, 16, 3)


def test_two_at_once_make_them_once(rendered):
    got = []
    threads = [threading.Thread(target=lambda: got.append(data.photographs([LION], 40, size=16))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 3
    assert all(torch.equal(images, got[0]) for images in got)
    assert len(rendered) == 40


def test_the_hash_covers_all_code_that_paints():
    finder = ModuleFinder([str(Path(bestpapers.__file__).parents[1])])
    finder.import_hook("bestpapers.bioclip.organisms")
    painters = {Path(m.__file__) for name, m in finder.modules.items() if name.startswith("bestpapers.bioclip.")}
    assert len(painters) >= 2
    assert painters <= set(data.SOURCES)
    assert Path(worlds.__file__) in data.SOURCES


# -------------------------------------------------------------------------------------------------------------- splits

SPLIT = make_split(TABLE)


@pytest.mark.parametrize("seed", range(25))
def test_splits_have_their_sizes_and_do_not_leak(seed):
    split = make_split(TABLE, seed)
    assert split == make_split(TABLE, seed)
    assert (len(split.seen), len(split.u1), len(split.u2)) == (92, 20, 16)
    assert sorted(split.seen + split.u1 + split.u2) == list(range(128))
    seen = {TABLE[i].genus for i in split.seen}
    families = {TABLE[i].family for i in split.seen}
    assert all(TABLE[i].genus in seen for i in split.u1)
    assert not {TABLE[i].genus for i in split.u2} & seen
    assert len({TABLE[i].genus for i in split.u2}) == 8
    assert all(TABLE[i].family in families for i in split.u2)


def test_seeds_draw_all_species_that_can_be_held_out():
    u1, u2 = Counter(), Counter()
    for seed in range(150):
        split = make_split(TABLE, seed)
        u1.update(split.u1)
        u2.update(split.u2)
    assert len(u1) == 128
    # a genus that is alone in its family is never held out: no relative of it would be seen
    genera = Counter(family for family, _ in {(taxon.family, taxon.genus) for taxon in TABLE})
    assert set(u2) == {i for i, taxon in enumerate(TABLE) if genera[taxon.family] > 1}


def test_splits_of_many_classes():
    table = data.species(384)
    split = make_split(table, 1, 60, 30)
    check_split(split, table)
    assert len(split.u1) == 60
    assert len({table[i].genus for i in split.u2}) == 30
    assert len(split.seen) + 60 + len(split.u2) == 512


@pytest.mark.parametrize(
    ("kw", "message"),
    [
        (dict(n_u1=57), "56 of 57 unseen species"),
        (dict(n_u2_genera=29), "28 of 29 unseen genera"),
        (dict(seed=-1), "seed"),
        (dict(n_u1=-1), "n_u1"),
    ],
)
def test_a_split_that_cannot_be_is_refused(kw, message):
    with pytest.raises(ValueError, match=message):
        make_split(TABLE, **kw)


def number(name: str) -> int:
    return next(i for i, taxon in enumerate(TABLE) if taxon.name == name)


LEAKS = {
    "unseen species that is seen": (
        replace(SPLIT, seen=(*SPLIT.seen, SPLIT.u1[0])),
        f"leak: {' '.join(TABLE[SPLIT.u1[0]].path).lower()} is in seen and in u1",
    ),
    "u1 and u2": (
        replace(SPLIT, u2=(*SPLIT.u2, SPLIT.u1[3])),
        f"leak: {' '.join(TABLE[SPLIT.u1[3]].path).lower()} is in u1 and in u2",
    ),
    "a species of an unseen genus is seen": (
        replace(SPLIT, seen=(*SPLIT.seen, SPLIT.u2[0]), u2=SPLIT.u2[1:]),
        f"leak: u2: {TABLE[SPLIT.u2[1]].name} is of the genus of {TABLE[SPLIT.u2[0]].name}, which is seen",
    ),
    "u2 without its siblings in the same part": (
        replace(SPLIT, u1=(*SPLIT.u1, SPLIT.u2[0]), u2=SPLIT.u2[1:]),
        f"u1: no species of the genus of {TABLE[SPLIT.u2[0]].name} is seen",
    ),
    "unseen family": (
        Split(0, (number("Panthera leo"),), (), (number("Canis lupus"), number("Canis latrans"))),
        "u2: no species of Canidae, the family of Canis lupus, is seen",
    ),
    "twice": (replace(SPLIT, seen=(*SPLIT.seen, SPLIT.seen[5])), "seen: a species is there twice"),
    "no such number": (replace(SPLIT, u2=(*SPLIT.u2[:-1], 128)), "u2: there is no species number 128"),
    "negative": (replace(SPLIT, u1=(*SPLIT.u1[:-1], -1)), "u1: there is no species number -1"),
}


@pytest.mark.parametrize(("split", "message"), LEAKS.values(), ids=LEAKS)
def test_leaks_are_named(split, message):
    with pytest.raises(ValueError, match=message):
        check_split(split, TABLE)


def test_a_species_that_is_in_the_table_twice_leaks():
    lion = number("Panthera leo")
    split = Split(0, (lion,), (number("Panthera tigris"), 128), ())
    again = replace(LION, genus="PANTHERA")
    with pytest.raises(ValueError, match="panthera leo is in seen and in u1"):
        check_split(split, (*TABLE, again))
    namesake = replace(LION, species="atrox")
    with pytest.raises(ValueError, match="leak: lion is in seen and in u1"):
        check_split(split, (*TABLE, namesake))
    check_split(split, (*TABLE, replace(namesake, common_name="")))


# ------------------------------------------------------------------------------------------------------------ siblings


@pytest.fixture(scope="module")
def siblings():
    return data.with_siblings(TABLE, SPLIT, 3)


def test_every_seen_genus_gets_new_siblings(siblings):
    table, split = siblings
    assert table[:128] == TABLE
    assert replace(split, u3=()) == SPLIT
    assert [part for part, _ in split.parts()] == ["seen", "u1", "u2", "u3"]
    assert [part for part, _ in SPLIT.parts()] == ["seen", "u1", "u2"]
    seen = {TABLE[i].path[:6] for i in SPLIT.seen}
    assert Counter(table[i].path[:6] for i in split.u3) == {genus: 3 for genus in seen}
    assert all(table[i].invented for i in split.u3)
    assert len({taxon.common_name.lower() for taxon in table}) == len(table)
    assert len({taxon.path for taxon in table}) == len(table)
    epithets = Counter(taxon.species for taxon in table)
    assert all(epithets[table[i].species] == 1 for i in split.u3)
    check_split(split, table)


def test_new_siblings_are_named_like_their_genus(siblings):
    table, split = siblings
    for i in split.u3:
        nouns = {taxon.common_name.split()[-1] for taxon in TABLE if taxon.path[:6] == table[i].path[:6]}
        assert table[i].common_name.split()[-1] in nouns
        assert len(table[i].common_name.split()) == 2


@pytest.mark.parametrize(
    ("u3", "message"),
    [
        ((128, 129), None),
        ((128,), "u3: .* has no sibling there"),
        ((128, 129, 128), "u3: a species is there twice"),
        ((SPLIT.u2[0], SPLIT.u2[1]), "is in u2 and in u3"),
    ],
)
def test_a_wrong_u3_is_named(siblings, u3, message):
    table, split = siblings
    if message is None:
        return check_split(replace(split, u3=u3), table)
    with pytest.raises(ValueError, match=message):
        check_split(replace(split, u3=u3), table)


def test_siblings_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="each"):
        data.with_siblings(TABLE, SPLIT, 1)
    with pytest.raises(ValueError, match="invented species already: 130 in place of 128"):
        data.with_siblings(data.species(2), SPLIT, 3)


def test_words_tell_of_traits_and_of_nothing_else(siblings):
    table, split = siblings
    world = World(3)
    told = data.describe(table, world)
    for before, after in zip(table, told):
        light, strong, *rest = after.common_name.split()
        its = data.traits(before, world)
        assert light == ("Pale" if its.value > 0 else "Dark")
        assert strong == ("Bright" if its.saturation > 0 else "Dull")
        assert " ".join(rest) == before.common_name
        assert replace(after, common_name=before.common_name) == before
    check_split(split, told)
    one, other = (data.photograph(of[200], 5, world, 16) for of in (table, told))
    assert np.array_equal(one, other)
    assert 50 < sum(taxon.common_name.startswith("Pale") for taxon in told) < len(told) - 50


def test_the_longest_caption_with_words_fits_the_context():
    table, _ = data.with_siblings(TABLE, SPLIT, 4)
    texts = [captions(taxon)["taxon_com"] for taxon in data.describe(table)]
    assert int((open_clip.SimpleTokenizer(context_length=77)(texts).argmax(1) + 1).max()) <= 48
