r"""One model, two F1

How well are misaligned words found? Precision is the share of the marked words that are misaligned, recall the share of the
misaligned words that are marked, F1 $= 2PR / (P + R)$. There are two ways to make one number of many prompts:

**pooled**
: count over the words of all prompts together, then divide;

**each**
: precision, recall and F1 of every prompt, then the mean of each over prompts.

Where something is divided by 0, take 0: for a prompt without a misaligned word all three are 0, whatever is marked.
Return both, from the same answers.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...course.checks import Checker, close, true
from .. import metrics

LEVEL, MINUTES, DIFFICULTY = "challenge", 15, 2
HINT = r"""
Three counts of each prompt are enough: marked and misaligned, marked, misaligned. F1 is twice the first over the sum of the
other two.
"""
NOTE = r"""
The first author's replication prints a precision of 56.5, a recall of 45.2 and an F1 of 47.5. The harmonic mean of the
first two is 50.2, so its F1 cannot be that of pooled words: its code takes the mean over prompts, in which each prompt
without a misaligned word counts as 0, also for a model that is right to mark nothing. The more prompts are faultless,
the worse every model looks.

So two rows of two papers may be far apart for the same model. Ask which mean a table has before you compare.
"""


def two_f1(
    marked: Sequence[NDArray],
    misaligned: Sequence[NDArray],
) -> dict[str, tuple[float, float, float]]:
    """Precision, recall and F1 of marked words, in two ways.

    marked, misaligned: for each prompt bool (n,), n differs
    -> {"pooled": (precision, recall, F1), "each": (precision, recall, F1)}
    """

    def scores(hits: int, said: int, there: int) -> list[float]:
        pairs = ((hits, said), (hits, there), (2 * hits, said + there))
        return [part / whole if whole else 0.0 for part, whole in pairs]

    pairs = zip(marked, misaligned)
    counts = np.array([((m & w).sum(), m.sum(), w.sum()) for m, w in pairs])
    each = np.mean([scores(*row) for row in counts], axis=0)
    return {"pooled": tuple(scores(*counts.sum(0))), "each": tuple(each)}


def run() -> None:
    """A careful model on prompts of which most are faultless, for the cell of the solution."""
    wrong = [np.arange(8) < (3 if i < 3 else 0) for i in range(10)]
    found = two_f1([w & (np.arange(8) > 0) for w in wrong], wrong)
    for way, (precision, recall, f1) in found.items():
        print(f"{way:6}  precision {precision:.2f}  recall {recall:.2f}  F1 {f1:.2f}")
    harmonic = 2 * 56.5 * 45.2 / (56.5 + 45.2)
    print(f"the harmonic mean of 56.5 and 45.2 is {harmonic:.1f}")
    assert found["pooled"][2] > found["each"][2] + 0.5


check = Checker("5.10")


def _prompts(N: int = 12) -> tuple[list[NDArray], list[NDArray]]:
    """Prompts of 2 to 13 words. Every third one is faultless, and in one nothing is marked."""
    rng = np.random.default_rng(0)
    wrong = [(rng.random(2 + i) < 0.4) & (i % 3 > 0) for i in range(N)]
    marked = [w ^ (rng.random(len(w)) < 0.25) for w in wrong]
    marked[4] = np.zeros_like(marked[4])
    return marked, wrong


@check.property("one prompt: both ways agree")
def _(answer):
    marked, wrong = np.array([1, 1, 0, 0, 1], bool), np.array([1, 0, 1, 0, 1], bool)
    found = answer([marked, marked], [wrong, wrong])
    close(found["pooled"], [2 / 3] * 3)
    close(found["each"], [2 / 3] * 3)
    found = answer([marked], [np.array([1, 0, 0, 0, 0], bool)])
    close(found["pooled"], [1 / 3, 1, 1 / 2])


@check.property("pooled counts the words of all prompts together, so a long prompt weighs more")
def _(answer):
    marked = [np.ones(2, bool), np.ones(18, bool)]
    wrong = [np.ones(2, bool), np.arange(18) < 3]
    close(answer(marked, wrong)["pooled"], [0.25, 1, 0.4])
    marked, wrong = _prompts()
    precision, recall, f1 = answer(marked, wrong)["pooled"]
    close(f1, 2 * precision * recall / (precision + recall), hint="pooled F1 is the harmonic mean")


@check.property("each is the mean over prompts, of F1 too")
def _(answer):
    marked = [np.array([1, 0, 0, 0], bool), np.array([1, 1, 1, 1], bool)]
    wrong = [np.array([1, 1, 0, 0], bool), np.array([1, 0, 0, 0], bool)]
    want = [(1 + 1 / 4) / 2, (1 / 2 + 1) / 2, (2 / 3 + 2 / 5) / 2]
    close(answer(marked, wrong)["each"], want, hint="the mean of the F1s is not the F1 of the means")


@check.property("a faultless prompt counts as 0 in the mean, and nowhere else")
def _(answer):
    right = [np.array([1, 0], bool), np.zeros(3, bool), np.zeros(3, bool), np.zeros(3, bool)]
    found = answer(right, right)
    close(found["pooled"], [1, 1, 1])
    close(found["each"], [0.25] * 3, hint="also where nothing was marked")


@check.property("nothing marked anywhere: 0, and no nan")
def _(answer):
    marked, wrong = _prompts()
    found = answer([np.zeros_like(m) for m in marked], wrong)
    close(found["pooled"], [0, 0, 0])
    close(found["each"], [0, 0, 0])


@check.property("other answers get the library's numbers")
def _(answer):
    marked, wrong = _prompts()
    counts = np.array([metrics.word_counts(m, w) for m, w in zip(marked, wrong, strict=True)])
    found = answer(marked, wrong)
    close(found["pooled"], metrics.word_scores(counts.sum(0), zero=0.0))
    close(found["each"], metrics.word_scores(counts, zero=0.0).mean(0))
    true(isinstance(found["each"][2], float), "numbers", found["each"])
