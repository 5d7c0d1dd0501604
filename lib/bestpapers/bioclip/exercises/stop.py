r"""When to stop

A model gives the best group at each rank, and the probability of that group. You answer at the deepest rank at which the
probability is at least $t$, and not at all if even the kingdom has less. How large must $t$ be, so that of the answers you
give a share of at least `wanted` is true?

Softmax compares what is on the list, so the species on the list cannot tell you: they are named well. Take $t$ from pictures
of species that are *not* on it. What you do not answer counts neither way.
"""

import torch
from torch import Tensor

from ...course.checks import Checker, close

LEVEL, MINUTES, DIFFICULTY = "core", 20, 2
HINT = r"""
Probabilities do not grow from kingdom to species, so `(scores >= t).sum(1) - 1` is the deepest rank, and -1 where there is
none. Only the scores themselves need to be tried for $t$: between two of them nothing changes.
"""
NOTE = r"""
A threshold from known species would be far too low: the model is about as sure of what it has never seen. And a threshold is
true of the pictures that it was made from. Whether it holds for others, for another list, or another season, is a question
for other pictures again, so keep some aside.
"""


def stop(scores: Tensor, right: Tensor, listed: Tensor, wanted: float) -> float:
    """The lowest threshold at which enough of the answers are true.

    scores [N, 7]: probability of the best group at each rank, kingdom to species;
    right [N, 7]: whether that group is true; listed [N]: whether the species is on the
    list; wanted: a share -> one of the scores, or infinity if none will do
    """
    scores, right = scores[~listed], right[~listed]
    for t in scores.flatten().unique():  # in ascending order
        deepest = (scores >= t).sum(1) - 1
        answered = deepest >= 0
        true = right[answered, deepest[answered]]
        if true.double().mean() >= wanted:
            return float(t)
    return float("inf")


check = Checker("5.14")
NONE = torch.zeros(4, dtype=torch.bool)


def _staircase(*rows: float) -> Tensor:
    """Scores of pictures [N, 7] that fall from kingdom to species."""
    return torch.tensor([[row - 0.05 * rank for rank in range(7)] for row in rows], dtype=torch.float64)


def _some(n: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    scores = (
        torch.rand(n, 7, generator=generator, dtype=torch.float64).sort(1, descending=True).values.round(decimals=2)
    )
    right = torch.rand(n, generator=generator, dtype=torch.float64)[:, None] * 7 > torch.arange(7)  # down to some rank
    return scores, right & (scores > 0.2), torch.rand(n, generator=generator) < 0.4


@check.property("if every answer is true, the lowest score will do")
def _(answer):
    scores = _staircase(0.9, 0.8, 0.7, 0.6)
    close(answer(scores, torch.ones(4, 7, dtype=torch.bool), NONE, 1.0), scores.min())


@check.property("the answer of a picture is at the deepest rank that passes")
def _(answer):
    scores, right = _staircase(0.9, 0.9, 0.9, 0.9), torch.ones(4, 7, dtype=torch.bool)
    right[:, 4:] = False  # true down to the family's order: 0.9 - 3 * 0.05
    close(answer(scores, right, NONE, 1.0), scores[0, 3], hint="with t at the score of the order, all four stop there")


@check.property("pictures without an answer count neither way")
def _(answer):
    scores, right = _staircase(0.95, 0.6, 0.6, 0.6), torch.zeros(4, 7, dtype=torch.bool)
    right[0, 0] = True  # one picture, and its kingdom only
    close(answer(scores, right, NONE, 1.0), 0.95, hint="three of four get no answer there; the share is 1 of 1")


@check.property("species on the list do not count")
def _(answer):
    scores, right = _staircase(0.9, 0.9, 0.8, 0.8), torch.ones(4, 7, dtype=torch.bool)
    right[2:, 2:] = False  # of the two that are not on the list
    listed = torch.tensor([True, True, False, False])
    close(answer(scores, right, listed, 0.5), scores[2, 1], hint="they are named well, and would let you go too deep")


@check.property("where no threshold will do, it is infinite")
def _(answer):
    close(answer(_staircase(0.9, 0.8, 0.7, 0.6), torch.zeros(4, 7, dtype=torch.bool), NONE, 0.5), float("inf"))


@check.property("no lower threshold would do, and it does")
def _(answer):
    for seed in range(4):
        scores, right, listed = _some(60, seed)
        for wanted in (0.3, 0.5, 0.8):
            close(answer(scores, right, listed, wanted), stop(scores, right, listed, wanted))
