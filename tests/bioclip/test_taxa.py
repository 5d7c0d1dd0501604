"""The table of species: is it the tree that the wing's text promises?"""

from collections import Counter

import pytest

from bestpapers.bioclip.taxa import RANKS, Taxon, taxa

from ..documents import is_installed


def test_the_table_has_the_size_that_the_text_says():
    table = taxa()
    groups = [len({taxon.path[:depth] for taxon in table}) for depth in range(1, 8)]
    assert groups == [3, 7, 17, 27, 36, 64, 128]
    assert Counter(taxon.kingdom for taxon in table) == {"Animalia": 74, "Plantae": 36, "Fungi": 18}
    assert set(Counter(taxon.path[:6] for taxon in table).values()) == {2}  # a held-out species has a sibling


def test_every_name_has_one_parent():
    """Then a name of genus or higher is a group. (Epithets are not: canadensis.)"""
    for depth in range(1, 6):
        parents: dict[str, set[str]] = {}
        for taxon in taxa():
            parents.setdefault(taxon.path[depth], set()).add(taxon.path[depth - 1])
        assert [name for name, above in parents.items() if len(above) > 1] == [], RANKS[depth]


def test_names_are_clean_and_common_names_differ():
    table = taxa()
    for taxon in table:
        for name in (*taxon.path, taxon.common_name):
            assert name.isascii()
            assert name
            assert name == name.strip()
        assert all(name == name.capitalize() for name in taxon.path[:6])
        assert taxon.species == taxon.species.lower()
        assert not taxon.invented
    assert len({taxon.common_name.lower() for taxon in table}) == 128


def test_the_traps_are_there():
    table = taxa()
    tautonyms = {taxon.species for taxon in table if taxon.genus.lower() == taxon.species}
    assert tautonyms == {"lynx", "pica", "bison", "buteo", "vulpes"}
    assert {taxon.genus for taxon in table if taxon.species == "canadensis"} == {"Cervus", "Ovis", "Branta"}
    assert any("-" in taxon.species for taxon in table)
    mimics = [taxon.path[:5] for taxon in table if taxon.name in ("Danaus plexippus", "Limenitis archippus")]
    assert len(mimics) == 2
    assert mimics[0] == mimics[1]  # one family: they have the same body plan


def test_taxon():
    lion = taxa()[0]
    assert lion == Taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Panthera", "leo", "Lion")
    assert lion.path == ("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Panthera", "leo")
    assert lion.name == "Panthera leo"
    with pytest.raises(AttributeError):
        lion.genus = "Felis"
    assert taxa() is taxa()


def test_an_installed_package_brings_the_table():
    assert is_installed("bioclip/taxa.csv")
