"""The procedural tree of life: species that inherit their looks, their photographs, and labels with faults.

A species has a body plan, that of its family, and fourteen traits (`organisms.Traits`). Traits move by Brownian motion
down the tree: every node of it, from kingdom to species, adds a random step, and a species is the sum of the seven steps
on its path. So siblings differ by one step and kingdoms by seven, and the tree is in the pictures by construction: a claim
that a model finds it, or profits from it, has an answer. `World` holds the switches, among them the null world, in which
the names stay and nothing is inherited.

A step is drawn from a hash of its path and the world's seed, a photograph from a hash of species, seed and number. Nothing
depends on an order of drawing: a species looks the same whatever else is in the table.
"""

from __future__ import annotations

import hashlib
import json
import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .organisms import LOOKS, Traits, render
from .taxa import RANKS, Taxon, taxa

Array = NDArray[np.float64]
Wholes = Sequence[int] | NDArray[np.integer]

TEST_START = 100_000  # photographs from this number on are for tests: training never comes so far
# the viceroy wears the monarch's colours
MIMICS: dict[tuple[str, ...], tuple[str, ...]] = {("Limenitis", "archippus"): ("Danaus", "plexippus")}
TRAITS_OF_COLOUR = ("hue", "saturation", "value", "hue2", "value2", "pattern", "scale", "contrast", "accent")


def integer(name: str, value: object, least: int = 0) -> int:
    """A whole number (numpy's too) from `least` on."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise ValueError(f"{name}: need a whole number, got {value!r:.100}") from None
    if isinstance(value, bool) or number < least:
        raise ValueError(f"{name}: need a whole number from {least} on, got {value!r:.100}")
    return number


# --------------------------------------------------------------------------------------------------------------- world


@dataclass(frozen=True)
class World:
    """The switches of the tree of life.

    seed           another seed is another evolution, with other photographs
    inherit        False is the null world: each species draws its traits and its body plan by itself, whatever its name
    sigma          how far traits move at each rank, kingdom to species; only the proportions matter. A star, (0, 0, 0, 0,
                   0, 0, 1), leaves relatives their family's body plan and nothing else in common
    mimic          the viceroy has the colours and patterns of the monarch (as both have the same body plan, they look
                   alike; in the null world, where they have not, only the traits agree)
    label_noise    share of photographs that carry the label of another species, [0, 1]
    missing_ranks  share of photographs whose label lacks ranks, [0, 1]; 0.16 in TreeOfLife-10M

    The last two change labels (`observe`), never pictures. Raises ValueError naming the field that is out of range.
    """

    seed: int = 0
    inherit: bool = True
    sigma: tuple[float, ...] = (1.0, 0.8, 0.7, 0.6, 0.5, 0.45, 0.4)
    mimic: bool = False
    label_noise: float = 0.0
    missing_ranks: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", integer("World.seed", self.seed))
        object.__setattr__(self, "sigma", tuple(float(s) for s in self.sigma))
        if len(self.sigma) != len(RANKS):
            raise ValueError(f"World.sigma: need {len(RANKS)} numbers, kingdom to species, got {len(self.sigma)}")
        if not all(0 <= s < math.inf for s in self.sigma) or not any(self.sigma):
            raise ValueError(f"World.sigma: need finite numbers from 0 on, not all of them 0, got {self.sigma}")
        for name in ("label_noise", "missing_ranks"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"World.{name}: a share lies in [0, 1], got {getattr(self, name)}")


WORLD = World()


def traits(taxon: Taxon, world: World = WORLD) -> Traits:
    """The fourteen inherited numbers of a species; over many worlds each is standard normal.

    z = sum_r sigma_r e(path down to r) / sqrt(sum_r sigma_r^2), with e of a path standard normal in 14 dimensions.
    In the null world z = e(full path), of a different draw.
    """
    z = _traits(taxon.path, world.seed, world.sigma if world.inherit else None)
    model = MIMICS.get(taxon.path[5:]) if world.mimic else None
    if model:
        other = next(t for t in taxa() if t.path[5:] == model)
        theirs = _traits(other.path, world.seed, world.sigma if world.inherit else None)
        z = z._replace(**{name: getattr(theirs, name) for name in TRAITS_OF_COLOUR})
    return z


@lru_cache(maxsize=1 << 14)
def _traits(path: tuple[str, ...], seed: int, sigma: tuple[float, ...] | None) -> Traits:
    if not all(path):
        raise ValueError(f"traits: a species needs all seven ranks, got {path}")
    if sigma is None:
        return Traits(*generator("alone", seed, path).standard_normal(len(Traits._fields)).tolist())
    steps = [_step(path[: rank + 1], seed) for rank in range(len(RANKS))]
    return Traits(*(np.array(sigma) @ steps / math.hypot(*sigma)).tolist())


@lru_cache(maxsize=1 << 14)
def _step(path: tuple[str, ...], seed: int) -> Array:
    return generator("step", seed, path).standard_normal(len(Traits._fields))


def body(taxon: Taxon, world: World = WORLD) -> str:
    """The family whose body plan a species has: its own, in the null world any of the 36."""
    if taxon.family not in LOOKS:
        raise ValueError(f"body: there is no body plan for the family {taxon.family!r} of {taxon.name}")
    if world.inherit:
        return taxon.family
    families = sorted(LOOKS)
    return families[int(generator("body", world.seed, taxon.path).integers(len(families)))]


def generator(*what: object) -> np.random.Generator:
    """A generator for this purpose, by SHA-256: equal on every machine, and independent of all others."""
    return np.random.default_rng(hashed(*what))


def hashed(*what: object) -> int:
    return int.from_bytes(hashlib.sha256(json.dumps(what).encode()).digest()[:7], "little")


# ------------------------------------------------------------------------------------------------------------- species


def species(extra: int = 0, seed: int = 0) -> tuple[Taxon, ...]:
    """The 128 real species, and after them `extra` invented ones, for claims that need many classes.

    An invented species (Taxon.invented) lives in one of the 36 families: in a genus that is there, or in a new genus, which
    then gets two. Its Latin is made of syllables; no name of genus or species repeats another one of the table. Its common
    name ends like that of a relative: "Velmoran Oak". More species under one seed go on from fewer: the first stay.
    """
    extra = integer("species: extra", extra)
    rng = generator("species", integer("species: seed", seed))
    table = list(taxa())
    used = {name.lower() for taxon in table for name in (*taxon.path, *taxon.common_name.split())}
    genera: dict[str, list[list[Taxon]]] = {}  # of each family, as lists of species
    for taxon in table:
        family = genera.setdefault(taxon.family, [])
        if not family or family[-1][0].genus != taxon.genus:
            family.append([])
        family[-1].append(taxon)
    names = list(genera)
    new: list[Taxon] | None = None  # a genus that waits for its second species
    while len(table) < len(taxa()) + extra:
        if new is None:
            family = genera[names[rng.integers(len(names))]]
            relatives = family[rng.integers(len(family))]
            if fresh := bool(rng.random() < 0.5):
                genus = _latin(rng, ("us", "a", "um", "ia", "is", "ella", "ops"), used).capitalize()
            else:
                genus = relatives[0].genus
        else:
            fresh, relatives, genus = False, new, new[0].genus
        relative = relatives[rng.integers(len(relatives))]
        noun = relative.common_name.split()[-1]
        taxon = replace(
            relative,
            genus=genus,
            species=_latin(rng, ("ensis", "atus", "osa", "alis", "oides", "ina", "icola"), used),
            common_name=f"{_latin(rng, ('an',), used).capitalize()} {noun}",
            invented=True,
        )
        table.append(taxon)
        if fresh:
            new = [taxon]
            family.append(new)
        else:
            relatives.append(taxon)
            new = None
    return tuple(table)


def _latin(rng: np.random.Generator, endings: tuple[str, ...], used: set[str]) -> str:
    """A word that can be said, in small letters, and that is not in `used`; it is added there."""
    starts = ("b", "br", "c", "d", "dr", "f", "g", "gr", "l", "m", "n", "p", "pl", "r", "s", "t", "tr", "v")
    while True:
        stem = "".join(starts[rng.integers(len(starts))] + "aeiou"[rng.integers(5)] for _ in range(rng.integers(1, 3)))
        word = stem + "lmnrstv"[rng.integers(7)] + endings[int(rng.integers(len(endings)))]
        if word not in used:
            used.add(word)
            return word


def long_tail(n_species: int, total: int, exponent: float = 1.0, seed: int = 0) -> NDArray[np.int64]:
    """How many photographs each of n species gets [n], when few have many and many have few.

    One each; the others of `total` go by Zipf's law, to the k-th species in proportion to k**-exponent. The seed shuffles
    the species. exponent=0 gives all the same, as far as the total allows it. Raises ValueError for less than one each.
    """
    n, total = integer("long_tail: n_species", n_species, 1), integer("long_tail: total", total)
    if total < n:
        raise ValueError(f"long_tail: {total} photographs are not enough for one of each of {n} species")
    if not 0 <= exponent < math.inf:
        raise ValueError(f"long_tail: exponent must be finite and not negative, got {exponent}")
    share = np.arange(1, n + 1) ** -float(exponent)
    share *= (total - n) / share.sum()
    counts = np.floor(share).astype(np.int64)
    rest = total - n - int(counts.sum())
    counts[np.argsort(counts - share, kind="stable")[:rest]] += 1  # largest remainders first
    return generator("long tail", integer("long_tail: seed", seed)).permutation(1 + counts)


# -------------------------------------------------------------------------------------------------------------- labels


def observe(taxa: Sequence[Taxon], world: World = WORLD, number: int | Wholes = 0) -> tuple[Taxon, ...]:
    """The labels that training sees, for photographs of these species: the truth, unless the world has faulty labels.

    taxa     the species of each photograph
    number   the number of each photograph, or of all: every photograph draws its fault by itself

    A wrong label is that of any other species of `taxa`, all alike. An incomplete label is, one time in two each, known
    down to order, family or genus only (as insects that were sorted by a machine; the common name goes too), or has a hole
    at one rank from phylum to family (as fishes, of which sources name no class).
    """
    numbers = list(number) if isinstance(number, Sequence | np.ndarray) else [number] * len(taxa)
    if len(numbers) != len(taxa):
        raise ValueError(f"observe: {len(numbers)} numbers for {len(taxa)} photographs")
    pool = list(dict.fromkeys(taxa))
    if world.label_noise and len(pool) < 2:
        raise ValueError("observe: a wrong label needs a second species in the table")
    place = {taxon: i for i, taxon in enumerate(pool)}
    return tuple(_observe(taxon, n, world, pool, place[taxon]) for taxon, n in zip(taxa, numbers))


def _observe(taxon: Taxon, number: int, world: World, pool: list[Taxon], place: int) -> Taxon:
    rng = generator("label", world.seed, taxon.path, integer("observe: number", number))
    wrong, incomplete, cut = rng.random(3)  # always drawn: one switch does not move what the other does
    other, end, hole = (int(rng.integers(n)) for n in (max(1, len(pool) - 1), 3, 4))
    if wrong < world.label_noise:
        taxon = pool[other + (other >= place)]
    if incomplete >= world.missing_ranks:
        return taxon
    ranks = list(taxon.path)
    if cut < 0.5:
        ranks[4 + end :] = [""] * (3 - end)
        return replace(taxon, **_fields(ranks), common_name="")
    ranks[1 + hole] = ""
    return replace(taxon, **_fields(ranks))


def _fields(path: Sequence[str]) -> dict[str, Any]:
    return dict(zip(("kingdom", "phylum", "class_", "order", "family", "genus", "species"), path))


# --------------------------------------------------------------------------------------------------------- photographs


def photograph(taxon: Taxon, number: int | None, world: World = WORLD, size: int = 64) -> NDArray[np.uint8]:
    """Photograph `number` of a species, uint8 [size, size, 3]; None: a specimen in plain pose on plain ground.

    Pose, light, background and what stands in the way follow from species, world seed and number. The other switches of
    the world change the organism and leave the scene. size: 8 to 4096 pixels.
    """
    if number is not None:
        number = hashed("photograph", world.seed, taxon.path, integer("photograph: number", number))
    return render(body(taxon, world), traits(taxon, world), number, size)
