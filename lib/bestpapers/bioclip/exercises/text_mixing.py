r"""Text mixing

Each picture of a batch comes with five captions, one of each type. Choose one of them in two ways:

`"batch"`
: one type for all captions of the step, as the authors' code does;

`"sample"`
: a type for each caption by itself, as the paper is reported to do.

All types are equally likely. The choice follows from the number of the step alone, so that processes agree without talking,
and Python's own generator is left alone.
"""

import random
from collections import Counter
from collections.abc import Sequence

from ...course.checks import Checker, close, true
from ..taxonomy import TEXT_TYPES

LEVEL, MINUTES, DIFFICULTY = "challenge", 10, 1
HINT = r"""
`random.Random(step)` is a generator of your own.
"""
NOTE = r"""
The authors write `random.seed(step)` and then choose: right for the captions, and from then on everything else that draws
from Python's generator (augmentation, say) repeats itself on all processes. A generator of your own has no such effect.

Under "sample" the *form* of a caption tells captions apart. It cannot tell which image is meant, unless the form itself
depends on the image: without a common name, `com` and `sci` are the same string.
"""


def text_mixing(texts: Sequence[dict[str, str]], step: int, mixing: str) -> list[str]:
    """One caption for each picture of a step.

    texts: of each picture {type: caption}, all with the same types; mixing "batch"
    or "sample" -> as many captions
    """
    rng, types = random.Random(step), list(texts[0])
    if mixing == "batch":
        kind = rng.choice(types)
        return [own[kind] for own in texts]
    return [own[rng.choice(types)] for own in texts]


check = Checker("5.9")
TEXTS = [{kind: f"{kind} {i}" for kind in TEXT_TYPES} for i in range(100)]


def _types(captions: list[str]) -> list[str]:
    return [caption.split()[0] for caption in captions]


@check.property("each picture gets one of its own captions")
def _(answer):
    for mixing in ("batch", "sample"):
        found = answer(TEXTS, 3, mixing)
        close([int(caption.split()[1]) for caption in found], range(100))


@check.property("by batch: one type in a step, each in about a fifth of the steps")
def _(answer):
    first = []
    for step in range(500):
        types = _types(answer(TEXTS[:4], step, "batch"))
        true(len(set(types)) == 1, "one type", f"{types}")
        first.append(types[0])
    counts = Counter(first)
    true(
        all(60 <= counts[kind] <= 140 for kind in TEXT_TYPES),
        "each type 60 to 140 times in 500 steps",
        f"{dict(counts)}",
    )


@check.property("by sample: all types in a step, each for about a fifth of the pictures")
def _(answer):
    counts = Counter(kind for step in range(10) for kind in _types(answer(TEXTS, step, "sample")))
    true(
        all(140 <= counts[kind] <= 260 for kind in TEXT_TYPES), "each type 140 to 260 times in 1000", f"{dict(counts)}"
    )
    true(answer(TEXTS, 0, "sample") != answer(TEXTS, 1, "sample"), "other types in another step", "the same ones")


@check.property("a step gives the same captions again, whatever was drawn before")
def _(answer):
    for mixing in ("batch", "sample"):
        for step in range(5):
            before = answer(TEXTS, step, mixing)
            random.random()
            true(answer(TEXTS, step, mixing) == before, f"the captions of step {step} again", "other ones")


@check.property("Python's own generator is left alone")
def _(answer):
    before = random.getstate()
    for mixing in ("batch", "sample"):
        answer(TEXTS, 3, mixing)
        same = random.getstate() == before
        random.setstate(before)
        true(same, "its state as before", "another state", hint="random.seed changes it for everyone")
