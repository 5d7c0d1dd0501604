"""Labels, captions and the tree, against strings written out by hand and against slower ways to the same answer."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bestpapers.bioclip.taxa import RANKS, Taxon, taxa
from bestpapers.bioclip.taxonomy import (
    TEXT_TYPES,
    Rank,
    captions,
    clean,
    lca_height,
    names,
    rollup,
    taxa_filter,
    tree_distance,
    unread,
)

TABLE = taxa()
BY_NAME = {taxon.name: taxon for taxon in TABLE}
LION, TIGER, LYNX = (BY_NAME[name] for name in ("Panthera leo", "Panthera tigris", "Lynx lynx"))
MAGPIE, WOLF, OAK = (BY_NAME[name] for name in ("Pica hudsonia", "Canis lupus", "Quercus robur"))


# ------------------------------------------------------------------------------------------------------------ cleaning


@pytest.mark.parametrize("taxon", TABLE, ids=lambda taxon: taxon.name)
def test_a_clean_label_stays_and_a_messy_one_becomes_it(taxon):
    assert clean(taxon) == taxon
    shouted = replace(
        taxon, **{name: getattr(taxon, name).upper() for name in ("kingdom", "class_", "genus", "species")}
    )
    assert clean(shouted) == taxon
    whole = replace(
        taxon, genus="", species=f" <i>{taxon.name}</i> (Linnaeus, 1758)", family=f" {taxon.family.lower()}\n"
    )
    assert clean(whole) == taxon
    assert clean(replace(taxon, species=f"{taxon.name} ssp. {taxon.species}")) == taxon


@pytest.mark.parametrize(
    ("genus", "species", "expected"),
    [
        # authors and years go
        ("Panthera", "leo Linnaeus, 1758", "leo"),
        ("Panthera", "leo (Linnaeus, 1758)", "leo"),
        ("Panthera", "leo 1758", "leo"),
        ("Panthera", "leo L.", "leo"),
        ("Panthera", "leo linnaeus, 1758", "leo"),
        ("Panthera", "leo pocock & smith", "leo"),
        ("Panthera", "leo pocock et al.", "leo"),
        ("Panthera", "leo de Beaux", "leo"),
        ("Panthera", "leo van den Berg", "leo"),
        ("Boletus", "edulis Bull.", "edulis"),
        ("Boletus", "edulis, Bull.", "edulis"),
        ("Ovis", "canadensis d'Orbigny", "canadensis"),
        # parts of species go, a third name without a mark stays
        ("Ovis", "canadensis ssp. nelsoni", "canadensis"),
        ("Corvus", "pica pica hudsonia", "pica pica hudsonia"),  # of three names none is a repeat
        ("Ovis", "canadensis subsp. nelsoni", "canadensis"),
        ("Rosa", "canina var. dumalis", "canina"),
        ("Canis", "lupus familiaris", "lupus familiaris"),
        # genus repeated
        ("Panthera", "Panthera leo", "leo"),
        ("Panthera", "panthera leo Linnaeus, 1758", "leo"),
        ("PANTHERA", "PANTHERA LEO", "leo"),
        ("Panthera", "Panthera Leo", "leo"),
        # tautonyms
        ("Pica", "pica", "pica"),
        ("Pica", "Pica pica", "pica"),
        ("Pica", "pica pica", "pica"),
        ("Pica", "Pica pica melanotos", "pica melanotos"),
        ("Lynx", "lynx lynx lynx", "lynx"),
        ("Lynx", "lynx (L.)", "lynx"),
        ("Lynx", "lynx Linnaeus, 1758", "lynx"),
        ("Lynx", "Lynx lynx (Linnaeus, 1758)", "lynx"),
        # signs
        ("Dryopteris", "filix-mas", "filix-mas"),
        ("Quercus", "× rosacea", "rosacea"),
        ("Panthera", "<em>leo</em>", "leo"),
        # nothing known
        ("Panthera", "", ""),
        ("Panthera", "sp.", ""),
        ("Panthera", "(unidentified)", ""),
        ("Panthera", "Unknown", ""),
        ("Panthera", "not_classified", ""),
        ("Panthera", "1758", ""),
        # hybrids: a name of its own, or its parents
        ("Quercus", "x rosacea", "rosacea"),
        ("Quercus", "×rosacea", "rosacea"),
        ("Quercus", "Quercus x rosacea Bechst.", "rosacea"),
        ("QUERCUS", "QUERCUS X ROSACEA", "rosacea"),
        ("Quercus", "robur × petraea", "robur × petraea"),
        ("Quercus", "Quercus robur L. x Q. petraea (Matt.) Liebl.", "robur × petraea"),
        ("Anas", "Anas platyrhynchos X Anas rubripes", "platyrhynchos × rubripes"),
        ("Anser", "Anser anser × Branta canadensis", "anser × Branta canadensis"),
        ("Anser", "anser × Branta sp.", ""),
        ("Quercus", "robur ×", ""),
        # what a parenthesis is glued to, or holds
        ("Panthera", "leo(Linnaeus, 1758)", "leo"),
        ("Panthera", "Panthera leo(L.)", "leo"),
        ("Aedes", "Aedes (Stegomyia) aegypti", "aegypti"),
        ("Aedes", "(Stegomyia) aegypti (Linnaeus, 1762)", "aegypti"),
        ("AEDES", "AEDES (STEGOMYIA) AEGYPTI", "aegypti"),
        ("Aedes", "aedes (stegomyia) aegypti", "aegypti"),
        ("Aedes", "Aedes (Stegomyia)", ""),
        # apostrophes, accents in two characters
        ("Amazona", "o'connori", "o'connori"),
        ("Amazona", "o\u2019connori Smith, 1900", "o'connori"),
        ("Ovis", "d'Orbigny, 1835", ""),
        ("Rosa", "'Peace'", ""),
        ("Salmo", "hu\u0308bneri", "h\u00fcbneri"),
        # a genus, or another one, is no species
        ("Quercus", "Quercus", ""),
        ("Quercus", "Quercus L.", ""),
        ("Quercus", "Quercus Linnaeus, 1753", ""),
        ("Quercus", "Quercus sp", ""),
        ("Quercus", "sp1", ""),
        ("Quercus", "Felidae", ""),  # which is the family here
        ("Felis", "Panthera leo", ""),
        ("Panthera", "de Beaux", ""),
        ("Panthera", "leo ssp persica", "leo"),
        ("Panthera", "Panthera cf leo", ""),
        ("Lynx", "lynx linnaeus, 1758", "lynx"),
        # nothing known, as programs and people write it
        *(
            ("Panthera", text, "")
            for text in ("NA", "nan", "NaN", "None", "NULL", "null", "N/A", "#N/A", "?", "-", "--")
        ),
        *(
            ("Panthera", text, "")
            for text in ("panthera nan", "not identified", "incertae sedis", "juvenile", "adult male")
        ),
        # two names in one, or a doubt
        *(
            ("Panthera", f"leo{mark}tigris", "")
            for mark in (" / ", "/", " + ", " * ", " & ", " or ", " vs ", " and ", ", ")
        ),
        ("Panthera", "Panthera leo or Panthera tigris", ""),
        ("Panthera", "leo L. / P. tigris Linnaeus", ""),
        ("Panthera", "leo?", ""),
        ("Panthera", "leo ?", ""),
        ("Parus", "majorLinnaeus 1758", ""),
        ("Tethea", "or ([Denis & Schifferm\u00fcller], 1775)", "or"),  # a moth
        ("Panthera", "leo pocock and smith", "leo"),
        ("Parus", "major juvenile", "major"),
        ("Parus", "major group", "major"),
        ("Lynx", "lynx sp.", ""),
        ("Lynx", "lynx ssp. isabellinus", "lynx"),
        # marks of what is extinct
        ("Tyrannosaurus", "\u2020rex", "rex"),
        ("Tyrannosaurus", "\u2021 Tyrannosaurus rex Osborn", "rex"),
        # whatever stands for an apostrophe
        *(("Amazona", f"o{mark}connori", "o'connori") for mark in "\u2018\u02bc`\u00b4"),
        ("Amazona", "O'Connori", "o'connori"),
        ("Amazona", "O'Connor", ""),
    ],
)
def test_epithets(genus, species, expected):
    got = clean(replace(LION, genus=genus, species=species))
    assert (got.genus, got.species) == (genus.capitalize(), expected)


@pytest.mark.parametrize(
    ("species", "genus", "epithet"),
    [
        ("Panthera leo", "Panthera", "leo"),
        ("panthera leo", "Panthera", "leo"),
        ("PANTHERA LEO", "Panthera", "leo"),
        ("Panthera Leo", "Panthera", "leo"),
        ("Panthera leo Linnaeus, 1758", "Panthera", "leo"),
        ("Panthera leo 1758", "Panthera", "leo"),
        ("Pica pica", "Pica", "pica"),
        ("leo", "", "leo"),
        # an author is no epithet, and then the first word no genus
        ("leo (Linnaeus, 1758)", "", "leo"),
        ("leo Linnaeus, 1758", "", "leo"),
        ("leo linnaeus, 1758", "", "leo"),
        ("leo L.", "", "leo"),
        ("leo ssp. persica", "", "leo"),
        ("", "", ""),
        # a genus alone, with or without its author
        ("Quercus", "Quercus", ""),
        ("Felis Linnaeus, 1758", "Felis", ""),
        ("Felidae", "", ""),
        ("×Cupressocyparis leylandii", "Cupressocyparis", "leylandii"),
        ("Mentha x piperita", "Mentha", "piperita"),
        ("Anas platyrhynchos × A. rubripes", "Anas", "platyrhynchos × rubripes"),
        ("Aedes (Stegomyia) aegypti", "Aedes", "aegypti"),
        ("Candidatus Pelagibacter ubique", "Candidatus Pelagibacter", "ubique"),
        ("xCuprocyparis leylandii", "Cuprocyparis", "leylandii"),
        ("Panthera leo or tigris", "Panthera", ""),
        ("leo or tigris", "", ""),
        ("Tethea or", "Tethea", "or"),
        ("NA NA", "", ""),
        ("Not identified", "", ""),
        ("Unknown sp.", "", ""),
    ],
)
def test_a_missing_genus_is_taken_from_a_species_of_two_names(species, genus, epithet):
    got = clean(replace(LION, genus="", species=species))
    assert (got.genus, got.species) == (genus, epithet)


@pytest.mark.parametrize(
    ("given", "genus"),
    [
        ("× Cupressocyparis", "Cupressocyparis"),
        ("x Cupressocyparis", "Cupressocyparis"),
        ("Aedes (Stegomyia)", "Aedes"),
        ("Panthera Oken, 1816", "Panthera"),
        ("[Clostridium]", "Clostridium"),
        ("Candidatus Pelagibacter Grote", "Candidatus Pelagibacter"),  # a status that belongs to the name
        ("CANDIDATUS PELAGIBACTER", "Candidatus Pelagibacter"),
        ("Cre\u0301mieuxia", "Cr\u00e9mieuxia"),
        ("?", ""),
        ("NA", ""),
        ("Panthera/Felis", ""),
        ("Panthera or Felis", ""),
        ("xCuprocyparis", "Cuprocyparis"),
        ("\u2020Tyrannosaurus", "Tyrannosaurus"),
    ],
)
def test_a_genus_is_one_word(given, genus):
    assert clean(replace(LION, genus=given, species="alba")).genus == genus


@pytest.mark.parametrize("genus", ["Pelagibacter", "Candidatus Pelagibacter", "CANDIDATUS PELAGIBACTER"])
@pytest.mark.parametrize("species", ["ubique", "Candidatus Pelagibacter ubique", "Pelagibacter ubique"])
def test_a_status_is_no_epithet(genus, species):
    got = clean(replace(LION, genus=genus, species=species))
    assert (got.genus, got.species) == (genus.title(), "ubique")


@pytest.mark.parametrize(
    ("genus", "species", "expected"),
    [
        ("Parus", "major?", "major?"),
        ("Parus", "major / minor", "major / minor"),
        ("Parus", "Parus cf major", "Parus cf major"),
        ("Parus/Felis", "major", "Parus/Felis major"),
        ("Parus", "Felis leo", "Felis leo"),
        ("Parus", "major L.", ""),
        ("", "Parus major", ""),
        # nothing is lost that is a name
        *(("Parus", text, "") for text in ("", "NA", "sp.", "Parus sp. 3", "Parus", "Felidae", "not identified")),
        ("Parus L.", "", ""),
        ("\u00d7 Parus", "", ""),
    ],
)
def test_names_that_cannot_be_read_are_known(genus, species, expected):
    given = replace(LION, genus=genus, species=species)
    got = clean(given)
    assert unread(given, got) == expected
    assert not (expected and got.species)  # it stands for the rank above


def test_ranks_common_names_and_kingdoms():
    got = clean(
        Taxon("metazoa", "Unknown", "<b>AVES</b>", "pleasehelp", "(Unidentified)", "", "", " <i>Some</i>  Bird ")
    )
    assert got == Taxon("Animalia", "", "Aves", "", "", "", "", "Some Bird")
    for text in ("NA", "NaN", "none", "NULL", "N/A", "?", "-", "incertae sedis"):
        assert clean(Taxon("Animalia", text, text, text, text, "", "", text)) == Taxon("Animalia", *[""] * 7)
    for synonym in ("Archaeplastida", "CHLOROPLASTIDA"):
        assert clean(replace(OAK, kingdom=synonym)) == OAK
    assert clean(replace(LION, invented=True)).invented


# ------------------------------------------------------------------------------------------------------------ captions


def test_captions_are_the_strings_of_the_authors_script():
    taxonomic = "Animalia Chordata Aves Passeriformes Corvidae Pica hudsonia"
    tagged = (
        "kingdom Animalia phylum Chordata class Aves order Passeriformes family Corvidae genus Pica species hudsonia"
    )
    assert captions(MAGPIE) == {
        "com": "a photo of black-billed magpie.",
        "sci": "a photo of Pica hudsonia.",
        "taxon": f"a photo of {taxonomic}.",
        "sci_com": "a photo of Pica hudsonia with common name black-billed magpie.",
        "taxon_com": f"a photo of {taxonomic} with common name black-billed magpie.",
        "taxonTag": f"a photo of {tagged}.",
        "taxonTag_com": f"a photo of {tagged} with common name black-billed magpie.",
    }
    assert names(MAGPIE) == {
        "scientific_name": "Pica hudsonia",
        "taxonomic_name": taxonomic,
        "common_name": "black-billed magpie",
    }
    assert tuple(captions(MAGPIE))[:5] == TEXT_TYPES


def test_what_is_missing_is_left_out():
    family = Taxon("Animalia", "Arthropoda", "Insecta", "Diptera", "Cecidomyiidae", "", "")  # most of BIOSCAN
    text = "Animalia Arthropoda Insecta Diptera Cecidomyiidae"
    got = captions(family)
    assert all(got[key] == f"a photo of {text}." for key in ("com", "sci", "taxon"))
    assert got["taxon_com"] == f"a photo of {text} with common name {text}."
    assert got["taxonTag"].endswith("order Diptera family Cecidomyiidae.")
    fish = replace(BY_NAME["Salmo salar"], class_="")  # sources name no class of fishes
    assert captions(fish)["taxon"] == "a photo of Animalia Chordata Salmoniformes Salmonidae Salmo salar."
    assert captions(fish)["taxonTag"].startswith(
        "a photo of kingdom Animalia phylum Chordata order Salmoniformes family"
    )
    assert captions(replace(MAGPIE, common_name=""))["com"] == "a photo of Pica hudsonia."
    assert captions(replace(MAGPIE, common_name="", species=""))["sci_com"] == "a photo of Pica with common name Pica."
    with pytest.raises(ValueError, match="at least one rank"):
        captions(Taxon("", "", "", "", "", "", "", "Lion"))


def test_captions_tell_all_species_apart():
    for key in TEXT_TYPES:
        texts = [captions(taxon)[key] for taxon in TABLE]
        assert len(set(texts)) == len(TABLE), key
        assert all("  " not in text and text.startswith("a photo of ") and text.endswith(".") for text in texts), key


# ---------------------------------------------------------------------------------------------------------------- tree


def test_ranks_have_the_numbers_and_labels_of_pybioclip():
    assert [(rank.name, rank.value, rank.get_label()) for rank in Rank] == [
        ("KINGDOM", 0, "kingdom"),
        ("PHYLUM", 1, "phylum"),
        ("CLASS", 2, "class"),
        ("ORDER", 3, "order"),
        ("FAMILY", 4, "family"),
        ("GENUS", 5, "genus"),
        ("SPECIES", 6, "species"),
    ]
    assert tuple(rank.get_label() for rank in Rank) == RANKS


@pytest.mark.parametrize("rank", Rank)
def test_rollup_is_the_sum_over_each_path(rank):
    rng = np.random.default_rng(0)
    table = [TABLE[i] for i in rng.permutation(128)]  # groups need not lie side by side
    p = rng.dirichlet(np.ones(128), (2, 3))
    got, groups = rollup(p, table, rank)
    expected: dict[tuple[str, ...], np.ndarray] = {}
    for i, taxon in enumerate(table):
        expected[taxon.path[: rank + 1]] = expected.get(taxon.path[: rank + 1], 0) + p[..., i]
    assert groups == list(expected)
    np.testing.assert_allclose(got, np.stack(list(expected.values()), -1), rtol=1e-12)
    np.testing.assert_allclose(got.sum(-1), 1, rtol=1e-12)
    ours, same = rollup(torch.tensor(p), table, rank)
    assert same == groups
    np.testing.assert_allclose(ours, got, rtol=1e-12)


def test_a_group_has_at_least_what_any_of_its_parts_has():
    p = np.random.default_rng(1).dirichlet(np.ones(128))
    finer = None
    for rank in reversed(Rank):
        got, groups = rollup(p, TABLE, rank)
        value = dict(zip(groups, got))
        if finer:
            assert all(value[path[:-1]] >= part - 1e-12 for path, part in finer.items())
            assert all(isinstance(path, tuple) and len(path) == rank + 1 for path in value)
        finer = value


def test_groups_are_paths_and_not_names():
    """By its bare name canadensis would be one species of a deer, a sheep and a goose; so would a genus of two kingdoms."""
    p = np.full(128, 1 / 128)
    got, groups = rollup(p, TABLE, Rank.SPECIES)
    assert len(groups) == 128
    np.testing.assert_array_equal(got, p)
    animal, plant = replace(LION, genus="Morus", species="bassanus"), replace(OAK, genus="Morus", species="nigra")
    got, groups = rollup(np.array([0.25, 0.75]), [animal, plant], Rank.GENUS)
    assert got.tolist() == [0.25, 0.75]
    assert groups == [animal.path[:6], plant.path[:6]]


def test_rollup_passes_gradients_and_takes_half_precision():
    p = torch.softmax(torch.randn(4, 128, generator=torch.manual_seed(0)), -1).requires_grad_()
    got, _ = rollup(p, TABLE, Rank.KINGDOM)
    got[:, 1].sum().backward()
    plants = torch.tensor([taxon.kingdom == "Plantae" for taxon in TABLE])
    assert torch.equal(p.grad, plants.float().expand(4, -1))
    half, _ = rollup(p.detach().to(torch.bfloat16), TABLE, Rank.KINGDOM)
    assert half.dtype == torch.bfloat16
    assert rollup(np.ones(128, np.float32), TABLE, Rank.KINGDOM)[0].dtype == np.float32


@pytest.mark.parametrize("kind", [np.ones, torch.ones])
def test_rollup_refuses_another_number_of_taxa(kind):
    with pytest.raises(ValueError, match="127 probabilities for 128 taxa"):
        rollup(kind(127), TABLE, Rank.GENUS)


def test_distance_counts_the_ranks_up_to_the_common_ancestor():
    cases = {
        LION: 0,
        TIGER: 1,
        LYNX: 2,
        WOLF: 3,
        BY_NAME["Cervus elaphus"]: 4,
        MAGPIE: 5,
        BY_NAME["Apis mellifera"]: 6,
        OAK: 7,
    }
    for other, expected in cases.items():
        assert tree_distance(LION, other) == tree_distance(other, LION) == expected, other.name


def test_heights_are_distances_and_make_a_tree():
    height = lca_height(TABLE, TABLE)
    assert height.shape == (128, 128)
    np.testing.assert_array_equal(
        height[:40:3, 7:90:5], [[tree_distance(a, b) for b in TABLE[7:90:5]] for a in TABLE[:40:3]]
    )
    np.testing.assert_array_equal(lca_height(TABLE[:40:3], TABLE[7:90:5]), height[:40:3, 7:90:5])
    for k in range(0, 128, 9):  # an ultrametric: of three distances the two largest are equal
        assert (height <= np.maximum(height[:, k, None], height[None, k])).all()
    homonym = replace(OAK, genus="Panthera", species="leo")  # names below a fork do not bring branches together again
    assert tree_distance(LION, homonym) == lca_height([LION], [homonym])[0, 0] == 7
    assert lca_height([], TABLE).shape == (0, 128)


def test_filter():
    for rank in Rank:
        for taxon in TABLE[::11]:
            name = taxon.name if rank is Rank.SPECIES else taxon.path[rank]
            expected = [other.path[: rank + 1] == taxon.path[: rank + 1] for other in TABLE]
            assert taxa_filter(rank, name, TABLE).tolist() == expected, name
    mask = taxa_filter(Rank.GENUS, ["panthera", "QUERCUS"], TABLE)
    assert {TABLE[i].genus for i in np.flatnonzero(mask)} == {"Panthera", "Quercus"}
    assert taxa_filter(Rank.SPECIES, "ovis canadensis", TABLE).sum() == 1
    accent = [replace(LION, genus="Salmo", species="h\u00fcbneri")]
    assert taxa_filter(Rank.SPECIES, "salmo hu\u0308bneri", accent).all()
    assert taxa_filter(
        Rank.SPECIES, "amazona o\u2019connori", [replace(LION, genus="Amazona", species="o'connori")]
    ).all()
    hole = replace(LION, class_="")
    assert taxa_filter(Rank.CLASS, "Mammalia", [LION, hole]).tolist() == [True, False]
    for half in (replace(LION, genus=""), replace(LION, species="")):  # no species goes by one name
        with pytest.raises(ValueError, match="no species"):
            taxa_filter(Rank.SPECIES, half.name, [half])


@pytest.mark.parametrize(
    ("rank", "name", "message"),
    [
        (
            Rank.SPECIES,
            "canadensis",
            "no species.*did you mean Ovis canadensis or Cervus canadensis or Branta canadensis",
        ),
        (Rank.GENUS, "Pantera", "no genus.*did you mean Panthera"),
        (Rank.FAMILY, "Panthera", "no family"),
        (Rank.KINGDOM, "", "no kingdom"),
        (Rank.CLASS, "zzz", "nothing like it"),
        (Rank.GENUS, [], "no names"),
        (Rank.GENUS, ["Panthera", "Felix"], "1 of 2 names"),
        (Rank.GENUS, [f"x{i}" for i in range(9)], "and 4 more"),
    ],
)
def test_filter_names_what_it_does_not_know(rank, name, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        taxa_filter(rank, name, TABLE)
