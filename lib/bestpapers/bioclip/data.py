"""Photographs of the procedural tree of life by the thousand, kept once they are made, and splits without leaks.

The world itself, and a single photograph, are in `worlds`; its names are to be had here too.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import operator
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch import Tensor

from ..course.progress import progress
from ..lab.files import atomic_write, cache_dir
from ..lab.runs import source_hash
from .taxa import Taxon
from .worlds import (
    MIMICS,
    TEST_START,
    TRAITS_OF_COLOUR,
    WORLD,
    Wholes,
    World,
    body,
    generator,
    hashed,
    integer,
    long_tail,
    observe,
    photograph,
    species,
    traits,
)

__all__ = [
    "MIMICS",
    "TEST_START",
    "TRAITS_OF_COLOUR",
    "WORDS",
    "Split",
    "World",
    "body",
    "check_split",
    "collection",
    "describe",
    "long_tail",
    "make_split",
    "observe",
    "photograph",
    "photographs",
    "species",
    "traits",
    "with_siblings",
]

_HERE = Path(__file__).parent
# What decides how a photograph looks. Read when the code is: a file that is changed while this process runs does not go
# with the code that runs.
SOURCES = (_HERE / "worlds.py", *sorted(_HERE.glob("organisms/*.py")))
SOURCE = source_hash(SOURCES)

BLOCK = 32  # photographs that a thread makes in one go


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
    per_species = integer("photographs: per_species", per_species, 1)
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
    numbers = [integer("collection: counts", n) for n in counts]
    start, size = integer("collection: start", start), integer("collection: size", size, 1)
    shape = (sum(numbers), size, size, 3)

    def make() -> NDArray[np.uint8]:
        return _make([(t, start + i) for t, n in zip(taxa, numbers) for i in range(n)], world, size)

    if cache and shape[0]:
        key = [(t.path, n) for t, n in zip(taxa, numbers)], world.seed, world.inherit, world.sigma, world.mimic
        pixels = _kept(f"{hashed(key, size, start, np.__version__):014x}", shape, make)
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
    u3    unseen species of genera that are seen, several of each genus; none but for `with_siblings`

    The 128 species are two to a genus and their genera two to a family, but for one family of three. So u1 never holds two
    species of a genus, and u2 hardly ever two genera of a family: who knows genus and family and no more can be right in both.
    """

    seed: int
    seen: tuple[int, ...]
    u1: tuple[int, ...]
    u2: tuple[int, ...]
    u3: tuple[int, ...] = ()

    def parts(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """("seen", ...), ("u1", ...), ("u2", ...), and ("u3", ...) if there are any."""
        yield from (("seen", self.seen), ("u1", self.u1), ("u2", self.u2))
        if self.u3:
            yield "u3", self.u3


def make_split(taxa: Sequence[Taxon], seed: int = 0, n_u1: int = 20, n_u2_genera: int = 8) -> Split:
    """Draw a split: whole genera for u2, then species for u1; every species is in one of the three parts.

    With the 128 species and the defaults: 92 seen, 20 in u1, 16 in u2. Raises ValueError if the table has too few genera
    whose family has another one, or too few species whose genus has another one.
    """
    seed, n_u1 = integer("make_split: seed", seed), integer("make_split: n_u1", n_u1)
    n_u2_genera = integer("make_split: n_u2_genera", n_u2_genera)
    rng = generator("split", seed)
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
    genus of u1 and u3 is seen; no genus of u2 is seen; each family of u2 is seen; no genus of u3 has one species only
    there. Small and capital letters are the same, as for the tokenizer.
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
    siblings = Counter(taxa[i].path[:6] for i in split.u3)
    for part, members in (("u1", split.u1), ("u2", split.u2), ("u3", split.u3)):
        for i in members:
            taxon, sibling = taxa[i], seen.get(_key(taxa[i].path[:6]))
            if part != "u2" and sibling is None:
                raise ValueError(f"split: {part}: no species of the genus of {taxon.name} is seen (it belongs to u2)")
            if part == "u3" and siblings[taxon.path[:6]] < 2:
                raise ValueError(f"split: u3: {taxon.name} has no sibling there (it belongs to u1)")
            if part == "u2" and sibling is not None:
                raise ValueError(
                    f"split: leak: u2: {taxon.name} is of the genus of {taxa[sibling].name}, which is seen"
                )
            if part == "u2" and _key(taxon.path[:5]) not in seen:
                raise ValueError(f"split: u2: no species of {taxon.family}, the family of {taxon.name}, is seen")


def _key(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name.lower() for name in names)


def with_siblings(taxa: Sequence[Taxon], split: Split, each: int) -> tuple[tuple[Taxon, ...], Split]:
    """Table and split with `each` more species in every seen genus, invented, and all in u3.

    They stand behind the others, genus by genus, so all numbers stay. Their names are those that `species` invents, and say
    no more of looks than any name here does.
    """
    each = integer("with_siblings: each", each, 2)
    first: dict[tuple[str, ...], Taxon] = {}  # of each seen genus
    for i in split.seen:
        first.setdefault(taxa[i].path[:6], taxa[i])
    known = len(species())
    if len(taxa) > known:
        raise ValueError(f"with_siblings: the table has invented species already: {len(taxa)} in place of {known}")
    invented = iter(species(extra=each * len(first))[known:])  # no two with one epithet or common name
    new = []
    for relative in first.values():
        for _ in range(each):
            name, noun = next(invented), relative.common_name.split()[-1]
            common = f"{name.common_name.split()[0]} {noun}"
            new.append(replace(relative, species=name.species, common_name=common, invented=True))
    table = (*taxa, *new)
    split = replace(split, u3=tuple(range(len(taxa), len(table))))
    check_split(split, table)
    return table, split


WORDS = dict(value=("dark", "pale"), saturation=("dull", "bright"))


def describe(taxa: Sequence[Taxon], world: World = WORLD) -> tuple[Taxon, ...]:
    """The same species, with common names that tell of two traits: "Dark Bright Velmoran Oak".

    One of two WORDS for each trait: the second if it is above 0, its mean over many worlds. Pictures do not depend on common
    names, so they stay the same.
    """
    table = []
    for taxon in taxa:
        its = traits(taxon, world)
        words = [pair[getattr(its, name) > 0].capitalize() for name, pair in WORDS.items()]
        table.append(replace(taxon, common_name=" ".join((*words, taxon.common_name))))
    return tuple(table)
