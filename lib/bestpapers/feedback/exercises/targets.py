r"""Words that a decoder can write

The model says which words of a prompt are misaligned by writing the prompt again, with `_0` stuck to each misaligned word:

    a red_0 cat on a mat_0

Return two functions for the words of one prompt. `write` makes this text, for training. `read` says of each word what a text
that the model wrote says of it: 1 misaligned, 0 aligned, nan for no answer. It compares place by place:

- the word itself is a 0, the word with `_0` a 1, any other word is no answer;
- places that the text does not reach have no answer; what is written beyond the last word is cut.
"""

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from ...course.checks import Checker, close, true
from .. import metrics

LEVEL, MINUTES, DIFFICULTY = "challenge", 15, 2
HINT = r"""
`read` gets what the word should be from the prompt, so nothing has to be cut off: compare with `word` and with `word + "_0"`.
"""
NOTE = r"""
A reader that cuts `_0` off and looks whether something was cut is right until a prompt holds a word such as `v1_0`. Compared
with the prompt, that is no riddle: `v1_0` is aligned and `v1_0_0` is not.

"No answer" is kept apart from "aligned" for a reason. The first author's code counts it as marking nothing, so it costs recall
and not precision; a count that took it for a mark would reward a model for stopping early.
"""


def targets(
    asked: Sequence[str],
) -> tuple[Callable[[Sequence[int]], str], Callable[[str], list[float]]]:
    """How the labels of a prompt's words are written, and read again.

    asked: n words -> write, which takes n labels, 1 misaligned, and gives a text with
    single spaces; read, which takes any text and gives n values: 1, 0 or nan
    """

    def write(labels: Sequence[int]) -> str:
        return " ".join(f"{w}_0" if wrong else w for w, wrong in zip(asked, labels))

    def read(text: str) -> list[float]:
        told = text.split()[: len(asked)]
        told += [""] * (len(asked) - len(told))
        values = ({word: 0.0, f"{word}_0": 1.0} for word in asked)
        return [known.get(said, math.nan) for known, said in zip(values, told)]

    return write, read


check = Checker("5.9")
CAT = ("a", "red", "cat", "on", "a", "mat")


@check.property("misaligned words get their mark, the others none")
def _(answer):
    write, _ = answer(CAT)
    for labels, want in (((0, 1, 0, 0, 0, 1), "a red_0 cat on a mat_0"), ((0,) * 6, "a red cat on a mat")):
        found = write(labels)
        true(found == want, f"{want!r}", f"{found!r}")


@check.property("what was written is read again, for all labels, with a word that comes twice")
def _(answer):
    write, read = answer(CAT)
    for labels in itertools.product((0, 1), repeat=6):
        close(read(write(labels)), labels)


@check.property("a word that is not the prompt's is no answer")
def _(answer):
    _, read = answer(CAT)
    close(read("a blue_0 cat in a mat"), [0, np.nan, 0, np.nan, 0, 0])
    close(read("cat_0 a red on a_0 mat_1"), [np.nan, np.nan, np.nan, 0, 1, np.nan], hint="place by place")


@check.property("a text that is too short or too long gives one value for each word")
def _(answer):
    _, read = answer(CAT)
    close(read("a red_0"), [0, 1, *[np.nan] * 4])
    close(read(""), [np.nan] * 6)
    close(read("a red cat on a mat_0 mat_0 mat_0"), [0, 0, 0, 0, 0, 1])


@check.property("a word that ends with _0 itself is no riddle")
def _(answer):
    write, read = answer(("model", "v1_0", "_0"))
    for labels in itertools.product((0, 1), repeat=3):
        close(read(write(labels)), labels, hint=f"the text was {write(labels)!r}")


@check.property("any other text is read as the library reads it")
def _(answer):
    _, read = answer(CAT)
    rng = np.random.default_rng(0)
    for _ in range(20):
        text = " ".join(rng.choice([*CAT, *(f"{w}_0" for w in CAT)], rng.integers(3, 9)))
        close(read(text), metrics.read_words(" ".join(CAT), text), hint=f"the text is {text!r}")
