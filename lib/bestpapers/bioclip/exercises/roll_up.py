r"""Roll-up along the tree

A model gives a probability to each species. Sum them into groups of a rank: that is the answer "some cat" or "some beetle".

A group is a *path* from the kingdom down, not a name. *Canadensis* is a deer, a sheep and a goose, and "Animalia Chordata"
without a class is not "Animalia Arthropoda" without one. Ranks are numbered from 0, kingdom, to 6, species.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ...course.checks import Checker, close, true
from ..taxa import taxa

LEVEL, MINUTES, DIFFICULTY = "core", 10, 1
HINT = r"""
`path[: rank + 1]` is a tuple, so it can be the key of a dictionary. Go through the columns of `probabilities` and add each
to its group.
"""
NOTE = r"""
Sums are monotone: a group has at least what any group inside it has. So the deepest rank whose best group passes a
threshold is well defined, and "stop at family" is two lines more. Asking the model for the *word* "Felidae" is something
else: it was trained on species, and a bare family name is a caption that it has hardly met.
"""


def roll_up(
    probabilities: Tensor,
    paths: Sequence[tuple[str, ...]],
    rank: int,
) -> dict[tuple[str, ...], Tensor]:
    """Sum the probabilities of species into groups.

    probabilities [N, S] of N pictures; paths: of the S species, seven names each,
    "" where one is missing; rank 0 to 6 -> {path down to the rank: [N]}
    """
    groups: dict[tuple[str, ...], Tensor] = {}
    for path, column in zip(paths, probabilities.T, strict=True):
        group = path[: rank + 1]
        groups[group] = groups[group] + column if group in groups else column
    return groups


check = Checker("5.2")
PATHS = tuple(taxon.path for taxon in taxa())


def _some(n: int) -> Tensor:
    scores = torch.randn(n, len(PATHS), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return (2 * scores).softmax(-1)


@check.property("a family has the sum of its species")
def _(answer):
    p, cats = _some(1), [i for i, path in enumerate(PATHS) if path[4] == "Felidae"]
    group = PATHS[cats[0]][:5]
    found = answer(p, PATHS, 4)
    true(
        group in found,
        f"a group {group}",
        f"groups such as {next(iter(found), None)!r}",
        hint="keys are paths, as tuples",
    )
    close(found[group], p[:, cats].sum(1))


@check.property("for each of many pictures, the groups of any rank sum to 1")
def _(answer):
    for rank in range(7):
        close(sum(answer(_some(3), PATHS, rank).values()), torch.ones(3))


@check.property("a deer, a sheep and a goose of the epithet canadensis are three")
def _(answer):
    three = [i for i, path in enumerate(PATHS) if path[6] == "canadensis"]
    found = answer(_some(1), PATHS, 6)
    for i in three:
        true(PATHS[i] in found, f"a group of {' '.join(PATHS[i][5:])}", f"{len(found)} groups for {len(PATHS)} species")
        close(found[PATHS[i]], _some(1)[:, i])


@check.property("a missing rank stays a place in the path")
def _(answer):
    fish = ("Animalia", "Chordata", "", "Cypriniformes", "Cyprinidae", "Carassius", "auratus")
    bug = ("Animalia", "Arthropoda", "", "Hemiptera", "Cicadidae", "Cicada", "orni")
    found = answer(torch.tensor([[0.75, 0.25]], dtype=torch.float64), (fish, bug), 2)
    for path, share in ((fish, 0.75), (bug, 0.25)):
        true(path[:3] in found, f"a group {path[:3]}", f"groups {list(found)}")
        close(found[path[:3]], [share])
