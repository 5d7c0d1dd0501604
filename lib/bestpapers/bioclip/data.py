"""The procedural tree of life: species that inherit their looks, their photographs, and splits without leaks.

A species has a body plan, that of its family, and fourteen traits (`organisms.Traits`). Traits move by Brownian motion
down the tree: every node of it, from kingdom to species, adds a random step, and a species is the sum of the seven steps
on its path. So siblings differ by one step and kingdoms by seven, and the tree is in the pictures by construction: a claim
that a model finds it, or profits from it, has an answer. `World` holds the switches, among them the null world, in which
the names stay and nothing is inherited.

A step is drawn from a hash of its path and the world's seed, a photograph from a hash of species, seed and number. Nothing
depends on an order of drawing: a species looks the same whatever else is in the table.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import operator
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch import Tensor

from ..course.progress import progress
from ..lab.files import atomic_write, cache_dir
from .organisms import LOOKS, Traits, render
from .taxa import RANKS, Taxon, taxa

__all__ = [
    "MIMICS",
    "TEST_START",
    "TRAITS_OF_COLOUR",
    "Split",
    "World",
    "body",
    "check_split",
    "collection",
    "long_tail",
    "make_split",
    "observe",
    "photograph",
    "photographs",
    "species",
    "traits",
]

Array = NDArray[np.float64]
Wholes = Sequence[int] | NDArray[np.integer]

_HERE = Path(__file__).parent
# What decides how a photograph looks. Read when the code is: a file that is changed while this process runs does not go
# with the code that runs.
SOURCES = (_HERE / "data.py", *sorted(_HERE.glob("organisms/*.py")))
SOURCE = hashlib.sha256(b"\0".join(path.read_bytes() for path in SOURCES)).hexdigest()[:12]

TEST_START = 100_000  # photographs from this number on are for tests: training never comes so far
# the viceroy wears the monarch's colours
MIMICS: dict[tuple[str, ...], tuple[str, ...]] = {("Limenitis", "archippus"): ("Danaus", "plexippus")}
TRAITS_OF_COLOUR = ("hue", "saturation", "value", "hue2", "value2", "pattern", "scale", "contrast", "accent")
BLOCK = 32  # photographs that a thread makes in one go


def _integer(name: str, value: object, least: int = 0) -> int:
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
        object.__setattr__(self, "seed", _integer("World.seed", self.seed))
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
        return Traits(*_rng("alone", seed, path).standard_normal(len(Traits._fields)).tolist())
    steps = [_step(path[: rank + 1], seed) for rank in range(len(RANKS))]
    return Traits(*(np.array(sigma) @ steps / math.hypot(*sigma)).tolist())


@lru_cache(maxsize=1 << 14)
def _step(path: tuple[str, ...], seed: int) -> Array:
    return _rng("step", seed, path).standard_normal(len(Traits._fields))


def body(taxon: Taxon, world: World = WORLD) -> str:
    """The family whose body plan a species has: its own, in the null world any of the 36."""
    if taxon.family not in LOOKS:
        raise ValueError(f"body: there is no body plan for the family {taxon.family!r} of {taxon.name}")
    if world.inherit:
        return taxon.family
    families = sorted(LOOKS)
    return families[int(_rng("body", world.seed, taxon.path).integers(len(families)))]


def _rng(*what: object) -> np.random.Generator:
    """A generator for this purpose, by SHA-256: equal on every machine, and independent of all others."""
    return np.random.default_rng(_number(*what))


def _number(*what: object) -> int:
    return int.from_bytes(hashlib.sha256(json.dumps(what).encode()).digest()[:7], "little")


# ------------------------------------------------------------------------------------------------------------- species


def species(extra: int = 0, seed: int = 0) -> tuple[Taxon, ...]:
    """The 128 real species, and after them `extra` invented ones, for claims that need many classes.

    An invented species (Taxon.invented) lives in one of the 36 families: in a genus that is there, or in a new genus, which
    then gets two. Its Latin is made of syllables; no name of genus or species repeats another one of the table. Its common
    name ends like that of a relative: "Velmoran Oak". More species under one seed go on from fewer: the first stay.
    """
    extra = _integer("species: extra", extra)
    rng = _rng("species", _integer("species: seed", seed))
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
    n, total = _integer("long_tail: n_species", n_species, 1), _integer("long_tail: total", total)
    if total < n:
        raise ValueError(f"long_tail: {total} photographs are not enough for one of each of {n} species")
    if not 0 <= exponent < math.inf:
        raise ValueError(f"long_tail: exponent must be finite and not negative, got {exponent}")
    share = np.arange(1, n + 1) ** -float(exponent)
    share *= (total - n) / share.sum()
    counts = np.floor(share).astype(np.int64)
    rest = total - n - int(counts.sum())
    counts[np.argsort(counts - share, kind="stable")[:rest]] += 1  # largest remainders first
    return _rng("long tail", _integer("long_tail: seed", seed)).permutation(1 + counts)


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
    rng = _rng("label", world.seed, taxon.path, _integer("observe: number", number))
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
        number = _number("photograph", world.seed, taxon.path, _integer("photograph: number", number))
    return render(body(taxon, world), traits(taxon, world), number, size)


def photographs(
    taxa: Sequence[Taxon],
    per_species: int,
    world: World = WORLD,
    size: int = 64,
    start: int = 0,
    *,
    cache: bool = True,
) -> Tensor:
    """Photographs `start` to `start + per_species - 1` of each species: uint8 [S, per_species, size, size, 3].

    Those from TEST_START on are for tests. Made on as many threads as torch uses; kept and found again as in `collection`.
    """
    per_species = _integer("photographs: per_species", per_species, 1)
    images, _ = collection(taxa, [per_species] * len(taxa), world, size, start, cache=cache)
    return images.view(len(taxa), per_species, size, size, 3)


def collection(
    taxa: Sequence[Taxon],
    counts: Wholes,
    world: World = WORLD,
    size: int = 64,
    start: int = 0,
    *,
    cache: bool = True,
) -> tuple[Tensor, Tensor]:
    """`counts[i]` photographs of species i, numbers from `start` on: images uint8 [N, size, size, 3], species int64 [N].

    What was made is kept in `lab.files.cache_dir()`, in a file whose name is a hash of all that matters: species, counts,
    switches, size, start, and the source code of the painter. So a file either holds these very pictures or is not looked
    at; a damaged one is made again; files of an older painter are removed. cache=False neither looks nor keeps.
    """
    if len(taxa) != len(counts):
        raise ValueError(f"collection: {len(counts)} counts for {len(taxa)} species")
    numbers = [_integer("collection: counts", n) for n in counts]
    start, size = _integer("collection: start", start), _integer("collection: size", size, 1)
    shape = (sum(numbers), size, size, 3)

    def make() -> NDArray[np.uint8]:
        return _make([(t, start + i) for t, n in zip(taxa, numbers) for i in range(n)], world, size)

    if cache and shape[0]:
        key = [(t.path, n) for t, n in zip(taxa, numbers)], world.seed, world.inherit, world.sigma, world.mimic
        pixels = _kept(f"{_number(key, size, start, np.__version__):014x}", shape, make)
    else:
        pixels = make()
    return torch.from_numpy(pixels), torch.repeat_interleave(torch.tensor(numbers, dtype=torch.int64))


def _make(jobs: Sequence[tuple[Taxon, int]], world: World, size: int) -> NDArray[np.uint8]:
    out = np.empty((len(jobs), size, size, 3), np.uint8)

    def work(first: int) -> int:
        block = jobs[first : first + BLOCK]
        for i, (taxon, number) in enumerate(block, first):
            out[i] = photograph(taxon, number, world, size)
        return len(block)

    with ThreadPoolExecutor(torch.get_num_threads()) as pool, progress(total=len(jobs), desc="photographs") as bar:
        try:
            for done in pool.map(work, range(0, len(jobs), BLOCK)):
                bar.update(done)
        except BaseException:  # Ctrl-C, too, does not wait for what has not begun
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return out


def _kept(key: str, shape: tuple[int, ...], make: Callable[[], NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """The pixels that are kept under this key, or those that `make` makes, which are then kept."""
    path = cache_dir() / "bioclip" / f"photographs-{SOURCE}-{key}.u8"
    with contextlib.ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(f"{path}.lock"))  # another process may be making the same ones
        except OSError as error:
            warnings.warn(f"photographs are not kept: {error}", stacklevel=4)
            return make()
        pixels = _read(path, shape)
        if pixels is None:
            pixels = make()
            try:
                with atomic_write(path) as part, part.open("wb") as file:
                    file.write(hashlib.sha256(pixels.data).digest())
                    file.write(pixels.data)
            except OSError as error:
                warnings.warn(f"photographs are not kept: {error}", stacklevel=4)
            for old in path.parent.glob("photographs-*.u8"):
                if not old.name.startswith(f"photographs-{SOURCE}-"):
                    with contextlib.suppress(OSError):
                        old.unlink()
    return pixels


def _read(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    """Pixels behind their SHA-256, if they are there and undamaged."""
    size = hashlib.sha256().digest_size
    try:
        if path.stat().st_size != size + math.prod(shape):
            return None
        with path.open("rb") as file:
            digest = file.read(size)
            pixels = np.fromfile(file, np.uint8)
    except OSError:
        return None
    return pixels.reshape(shape) if hashlib.sha256(pixels.data).digest() == digest else None


# -------------------------------------------------------------------------------------------------------------- splits


@dataclass(frozen=True)
class Split:
    """Which species training sees, by their number in a table.

    seen  for training
    u1    unseen species of genera that are seen
    u2    unseen species of genera that are not seen, in families that are. Two unknown siblings cannot be told apart by
          name alone, so u2 is scored by genus
    """

    seed: int
    seen: tuple[int, ...]
    u1: tuple[int, ...]
    u2: tuple[int, ...]

    def parts(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """("seen", ...), ("u1", ...), ("u2", ...)."""
        yield from (("seen", self.seen), ("u1", self.u1), ("u2", self.u2))


def make_split(taxa: Sequence[Taxon], seed: int = 0, n_u1: int = 20, n_u2_genera: int = 8) -> Split:
    """Draw a split: whole genera for u2, then species for u1; every species is in one of the three parts.

    With the 128 species and the defaults: 92 seen, 20 in u1, 16 in u2. Raises ValueError if the table has too few genera
    whose family has another one, or too few species whose genus has another one.
    """
    seed, n_u1 = _integer("make_split: seed", seed), _integer("make_split: n_u1", n_u1)
    n_u2_genera = _integer("make_split: n_u2_genera", n_u2_genera)
    rng = _rng("split", seed)
    genera: dict[tuple[str, ...], list[int]] = {}
    for i, taxon in enumerate(taxa):
        genera.setdefault(taxon.path[:6], []).append(i)
    left = dict[tuple[str, ...], int]()  # genera of a family, then species of a genus, that can still be seen
    for genus in genera:
        left[genus[:5]] = left.get(genus[:5], 0) + 1
    order = list(genera)
    u2: list[int] = []
    taken = 0
    for genus in (order[i] for i in rng.permutation(len(order))):
        if taken < n_u2_genera and left[genus[:5]] > 1:
            left[genus[:5]] -= 1
            u2 += genera.pop(genus)
            taken += 1
    left |= {genus: len(members) for genus, members in genera.items()}
    rest = [i for members in genera.values() for i in members]
    u1: list[int] = []
    for i in (rest[j] for j in rng.permutation(len(rest))):
        if len(u1) < n_u1 and left[taxa[i].path[:6]] > 1:
            left[taxa[i].path[:6]] -= 1
            u1.append(i)
    if taken < n_u2_genera or len(u1) < n_u1:
        raise ValueError(
            f"make_split: the table of {len(taxa)} species has room for {taken} of {n_u2_genera} unseen genera "
            f"and then for {len(u1)} of {n_u1} unseen species of seen genera"
        )
    split = Split(seed, tuple(sorted(set(rest) - set(u1))), tuple(sorted(u1)), tuple(sorted(u2)))
    check_split(split, taxa)
    return split


def check_split(split: Split, taxa: Sequence[Taxon]) -> None:
    """Raise ValueError, naming the species, if a split leaks or a part is not what its name says. Checks, in this order:

    every number is one of the table; no species and no common name is in two parts; no species is twice in a part; each
    genus of u1 is seen; no genus of u2 is seen; each family of u2 is seen. Small and capital letters are the same, as for
    the tokenizer.
    """
    where: dict[tuple[str, ...], tuple[str, int]] = {}
    for part, members in split.parts():
        for i in members:
            if not 0 <= operator.index(i) < len(taxa):
                raise ValueError(f"split: {part}: there is no species number {i} in a table of {len(taxa)}")
            for name in (_key(taxa[i].path), _key((taxa[i].common_name,))):
                other, j = where.setdefault(name, (part, i)) if name != ("",) else (part, i)
                if other != part:
                    raise ValueError(f"split: leak: {' '.join(name)} is in {other} and in {part} (numbers {j} and {i})")
        if len({_key(taxa[i].path) for i in members}) < len(members):
            raise ValueError(f"split: {part}: a species is there twice")
    seen = {_key(taxa[i].path[:depth]): i for i in split.seen for depth in (5, 6)}
    for part, members in (("u1", split.u1), ("u2", split.u2)):
        for i in members:
            taxon, sibling = taxa[i], seen.get(_key(taxa[i].path[:6]))
            if part == "u1" and sibling is None:
                raise ValueError(f"split: u1: no species of the genus of {taxon.name} is seen (it belongs to u2)")
            if part == "u2" and sibling is not None:
                raise ValueError(
                    f"split: leak: u2: {taxon.name} is of the genus of {taxa[sibling].name}, which is seen"
                )
            if part == "u2" and _key(taxon.path[:5]) not in seen:
                raise ValueError(f"split: u2: no species of {taxon.family}, the family of {taxon.name}, is seen")


def _key(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name.lower() for name in names)
