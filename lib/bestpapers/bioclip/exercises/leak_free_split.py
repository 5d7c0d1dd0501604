r"""A leak-free split

Divide species into three parts:

`u2`
: `n_genera` whole genera that training never sees, in families of which it sees another genus;

`u1`
: `n_u1` species that training never sees, of genera of which it sees another species;

`seen`
: all the rest.

Draw them at random from a seed. Mind families with a single genus and genera with a single species.
"""

import random
from collections import Counter
from collections.abc import Sequence

from ...course.checks import Checker, close, true
from ..taxa import taxa

LEVEL, MINUTES, DIFFICULTY = "core", 25, 2
HINT = r"""
Draw `u2` first, genus by genus in random order; take one only if its family has another genus left. Then `u1` from what is
left, species by species; take one only if its genus has another species left. Counters of what is left do it.
"""
NOTE = r"""
A random split of the species would put some of them into `u1`, some into `u2` and some into neither, without telling which.
Yet these ask different things: in `u1` the scientific name already holds a word that was seen with pictures, in `u2` only
the longer string does. The paper's own test, 400 species that were taken out of training, does not tell the two apart.
"""


def leak_free_split(
    paths: Sequence[tuple[str, ...]],
    seed: int,
    n_u1: int,
    n_genera: int,
) -> dict[str, list[int]]:
    """Three parts of the species, none of which leaks.

    paths: of all species, seven names from kingdom to epithet
    -> {"seen": [...], "u1": [...], "u2": [...]}, their numbers
    """
    rng = random.Random(seed)
    genera = sorted({path[:6] for path in paths})
    families, held_out = Counter(genus[:5] for genus in genera), set[tuple[str, ...]]()
    for genus in rng.sample(genera, len(genera)):
        if len(held_out) < n_genera and families[genus[:5]] > 1:
            families[genus[:5]] -= 1
            held_out.add(genus)
    parts: dict[str, list[int]] = {"seen": [], "u1": [], "u2": []}
    left = Counter(path[:6] for path in paths)
    for i in rng.sample(range(len(paths)), len(paths)):
        genus = paths[i][:6]
        if genus in held_out:
            parts["u2"].append(i)
        elif len(parts["u1"]) < n_u1 and left[genus] > 1:
            left[genus] -= 1
            parts["u1"].append(i)
        else:
            parts["seen"].append(i)
    return parts


check = Checker("5.7")
PATHS = tuple(
    taxon.path for i, taxon in enumerate(taxa()) if i % 5
)  # some genera have one species, some families one genus
N_U1, N_GENERA, SEEDS = 15, 8, range(12)


def _name(i: int) -> str:
    return " ".join(PATHS[i][5:])


@check.property("every species is in one part, and in no other")
def _(answer):
    for seed in SEEDS:
        parts = answer(PATHS, seed, N_U1, N_GENERA)
        close(sorted(i for part in ("seen", "u1", "u2") for i in parts[part]), range(len(PATHS)))


@check.property("as many as asked for: species in u1, genera in u2")
def _(answer):
    for seed in SEEDS:
        parts = answer(PATHS, seed, N_U1, N_GENERA)
        close((len(parts["u1"]), len({PATHS[i][:6] for i in parts["u2"]})), (N_U1, N_GENERA))


@check.property("of each species of u1, a sibling of the genus is seen")
def _(answer):
    for seed in SEEDS:
        parts = answer(PATHS, seed, N_U1, N_GENERA)
        seen = {PATHS[i][:6] for i in parts["seen"]}
        for i in parts["u1"]:
            true(PATHS[i][:6] in seen, f"a seen {PATHS[i][5]} beside {_name(i)}", f"none, with seed {seed}")


@check.property("of a genus of u2, nothing is seen and nothing is in u1")
def _(answer):
    for seed in SEEDS:
        parts = answer(PATHS, seed, N_U1, N_GENERA)
        genera = {PATHS[i][:6] for i in parts["u2"]}
        for i in parts["seen"] + parts["u1"]:
            true(PATHS[i][:6] not in genera, f"all {PATHS[i][5]} in u2", f"{_name(i)} elsewhere, with seed {seed}")


@check.property("of the family of a genus of u2, another genus is seen")
def _(answer):
    for seed in SEEDS:
        parts = answer(PATHS, seed, N_U1, N_GENERA)
        seen = {PATHS[i][:5] for i in parts["seen"]}
        for i in parts["u2"]:
            true(PATHS[i][:5] in seen, f"a seen genus of {PATHS[i][4]} beside {_name(i)}", f"none, with seed {seed}")


@check.property("a seed gives the same split again, another seed another")
def _(answer):
    first = answer(PATHS, 0, N_U1, N_GENERA)
    random.random()
    true(answer(PATHS, 0, N_U1, N_GENERA) == first, "the same split", "another one")
    true(answer(PATHS, 1, N_U1, N_GENERA) != first, "another split with seed 1", "that of seed 0")
