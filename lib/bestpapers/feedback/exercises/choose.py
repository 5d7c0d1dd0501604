r"""The filter and its control

The paper makes a generator better with its own pictures: for each prompt it draws several, keeps the one with the best
score, if that passes a threshold, and trains on what is kept. Write the choice, and the control that the paper lacks: *for
the same prompts*, one picture each at random.

Pictures are numbered through: try $k$ of prompt $p$ of $K$ tries is number $p K + k$. A score *at* the threshold passes. Of
equal scores the first try counts. Take the control's chance from `seed`.
"""

import numpy as np
from numpy.typing import NDArray

from ...course.checks import Checker, close, true

LEVEL, MINUTES, DIFFICULTY = "challenge", 15, 1
HINT = r"""
`rated.argmax(1)` is the first of the best. Which prompts pass follows from `rated.max(1)`; the control takes the same prompts.
"""
NOTE = r"""
A control of pictures from *any* prompts would mix easy and hard prompts in another way than the filter does, and the comparison
would measure the prompts. Here the prompts, the number of pictures and the training are the same, and only the choice differs.

What the filter keeps has a high *predicted* score. The best of eight by a noisy score is partly the best noise, so its true
score is lower than its predicted one, and the more so the more tries there are.
"""


def choose(
    rated: NDArray,
    threshold: float,
    seed: int,
) -> tuple[NDArray, NDArray]:
    """The best picture of each prompt, if it passes, and a random one instead.

    rated (P, K): scores of K tries for each of P prompts
    -> numbers of the chosen pictures (m,), in order; of the control's (m,)
    """
    prompts = np.flatnonzero(rated.max(1) >= threshold)
    K = rated.shape[1]
    tries = np.random.default_rng(seed).integers(K, size=len(prompts))
    return prompts * K + rated.argmax(1)[prompts], prompts * K + tries


def run() -> None:
    """What the best of more and more tries is worth, for the cell of the solution."""
    rng = np.random.default_rng(0)
    true_score = rng.normal(0.6, 0.1, (400, 32))
    rated = true_score + rng.normal(0, 0.1, (400, 32))
    for K in (1, 4, 32):
        best, _ = choose(rated[:, :K], -9.0, 0)
        told, real = (x[:, :K].ravel()[best].mean() for x in (rated, true_score))
        print(f"best of {K:2}: predicted {told:.2f}, true {real:.2f}")


check = Checker("5.12")
RATED = np.random.default_rng(0).random((30, 8))


@check.property("without a threshold each prompt gives its best picture")
def _(answer):
    close(answer(RATED, 0.0, 0)[0], np.arange(30) * 8 + RATED.argmax(1))


@check.property("only prompts whose best picture passes are kept, and one that is at the threshold passes")
def _(answer):
    rated = np.array([[0.5, 0.25, 0.0], [0.75, 0.0, 1.0], [0.25, 0.25, 0.0], [0.0, 0.125, 0.5]])
    close(answer(rated, 0.5, 0)[0], [0, 5, 11])
    close(answer(rated, 0.625, 0)[0], [5])


@check.property("what is kept stays as the threshold falls")
def _(answer):
    before: set[int] = set()
    for threshold in (0.98, 0.95, 0.9, 0.8, 0.0):
        now = {int(i) for i in answer(RATED, threshold, 0)[0]}
        true(before <= now, f"{len(before)} pictures kept before, and more", f"{len(before - now)} of them are gone")
        before = now


@check.property("of equal scores the first try counts")
def _(answer):
    close(answer(np.array([[0.5, 0.9, 0.9], [1.0, 1.0, 1.0]]), 0.2, 0)[0], [1, 3])


@check.property("if nothing passes, both are empty")
def _(answer):
    for found in answer(RATED, 2.0, 0):
        close(np.shape(found), (0,))


@check.property("the control has the same prompts, with any of their tries")
def _(answer):
    for seed in range(3):
        best, other = answer(RATED, 0.9, seed)
        close(np.asarray(other) // 8, np.asarray(best) // 8)
    drawn = [answer(RATED, 0.0, seed) for seed in range(20)]
    counts = np.bincount(np.concatenate([np.asarray(other) % 8 for _, other in drawn]), minlength=8)
    good = len(counts) == 8 and counts.min() > 45 and counts.max() < 110
    true(good, "each of 8 tries about 75 times in 600", f"{counts.tolist()}")
    both = sum(int((np.asarray(best) == np.asarray(other)).sum()) for best, other in drawn)
    true(
        45 < both < 110,
        "the best picture about 75 times in 600, as any other",
        both,
        hint="of all tries, with the best one",
    )


@check.property("a seed gives the same control again, another seed another")
def _(answer):
    close(answer(RATED, 0.0, 3)[1], answer(RATED, 0.0, 3)[1])
    true(np.any(answer(RATED, 0.0, 3)[1] != answer(RATED, 0.0, 4)[1]), "another control for another seed", "the same")
