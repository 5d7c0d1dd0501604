r"""Three people, one label

Three people answer on a scale from 1 (worst) to 5, and mark the words of the prompt that the picture does not honour. Merge
them as the paper does:

- a score is the mean of the answers, moved to 0..1;
- a word is misaligned if *most* people mark it.
"""

import itertools

import numpy as np
from numpy.typing import NDArray

from ...course.checks import Checker, close

LEVEL, MINUTES, DIFFICULTY = "core", 10, 1
HINT = r"""
The scale has five answers but four steps. `marks.sum(0)` counts the people who mark each word.
"""
NOTE = r"""
Three answers from 1 to 5 sum to a whole number from 3 to 15, so a score is one of 13 values. Among 955 test pictures that
makes many ties, which is why rank correlation has to give ties their mean rank.

The majority throws away what the mean keeps: a word that one person marks and one that nobody marks are the same label.
"""


def merge_three(
    likert: NDArray,
    marks: NDArray,
) -> tuple[NDArray, NDArray]:
    """What people say together.

    likert (people, s): whole answers 1 to 5 to s questions; marks (people, n) bool:
    who calls which of n words misaligned; the number of people is odd
    -> scores (s,), 0 to 1; misaligned (n,), 0 or 1
    """
    scores = (likert.mean(0) - 1) / 4
    return scores, (2 * marks.sum(0) > len(marks)).astype(float)


check = Checker("5.2")
NO_WORDS = np.zeros((3, 0), bool)
ALL = np.array(list(itertools.product(range(1, 6), repeat=3))).T  # (3, 125): all that three people can answer
TRUTH = np.array(list(itertools.product((False, True), repeat=3))).T  # (3, 8)


@check.property("the ends of the scale are 0 and 1, its middle one half")
def _(answer):
    close(answer(np.array([[1, 5, 3], [1, 5, 3], [1, 5, 3]]), NO_WORDS)[0], [0, 1, 0.5])


@check.property("all answers of three people give 13 different scores, k / 12")
def _(answer):
    close(
        np.unique(np.round(answer(ALL, NO_WORDS)[0], 6)), np.arange(13) / 12, atol=1e-5, hint="the mean, not the median"
    )
    close(answer(ALL, NO_WORDS)[0], (ALL.sum(0) - 3) / 12)


@check.property("a word is misaligned if two or three mark it")
def _(answer):
    close(answer(ALL[:, :4], TRUTH)[1], [0, 0, 0, 1, 0, 1, 1, 1])


@check.property("five people are merged by the same rules")
def _(answer):
    likert = np.array([[5], [5], [5], [1], [1]])
    marks = np.array([[1, 1, 0], [1, 1, 0], [1, 0, 0], [0, 0, 0], [0, 0, 0]], bool)
    scores, words = answer(likert, marks)
    close(scores, [0.6])
    close(words, [1, 0, 0], hint="two of five are no majority")


@check.property("it does not matter who comes first, and a prompt may have no word")
def _(answer):
    likert, marks = np.array([[1, 4], [5, 2], [2, 2]]), np.array([[1, 0], [0, 0], [1, 1]], bool)
    for order in itertools.permutations(range(3)):
        scores, words = answer(likert[list(order)], marks[list(order)])
        close(scores, [5 / 12, 5 / 12])
        close(words, [1, 0])
    close(answer(likert, NO_WORDS)[1], np.zeros(0))
