r"""How much to mask

A masked generator learns from grids of tokens of which a part is hidden, and draws by uncovering a grid in $T$ steps. One
cosine says how much is hidden, in both:

- **training:** draw $u$ between 0 and 1, and hide $\cos(\pi u / 2)$ of the $N$ tokens, rounded, but one at least;
- **drawing:** after step $i$ of $T$, $\lfloor N \cos(\pi i / 2T) \rfloor$ tokens are hidden, and after the last step none.
  If $N$ is small, that may leave a step without work: each step uncovers one token at least, as long as there is one.

Return a function of $u$ for the first, and the list of $T$ numbers for the second.
"""

import math
from collections.abc import Callable

import numpy as np

from ...course.checks import Checker, close, true

LEVEL, MINUTES, DIFFICULTY = "core", 15, 1
HINT = r"""
Go through the steps and keep how many are hidden now: at first $N$. After a step it is the smaller of the cosine's number
and one less than before, and never below 0.
"""
NOTE = r"""
The first steps uncover two or three tokens of 64, the last ones a dozen. Early draws rest on nothing, so few of them are
kept; late ones see nearly the whole picture.

In training the mean share is $2 / \pi$, and with a chance of 0.29 more than nine tenths are hidden: that is where drawing
begins, and where it is hardest. An "arccos" schedule that is found in public code, $\frac{2}{\pi} \arccos u$, has the same
mean, and hides nine tenths only half as often.
"""


def schedule(total: int, steps: int) -> tuple[Callable[[float], int], list[int]]:
    """What is hidden of `total` tokens.

    -> a function of u in 0..1: how many to hide in training; and how many are still
    hidden after each of `steps` steps of drawing
    """

    def training(u: float) -> int:
        return max(1, round(math.cos(math.pi * u / 2) * total))

    left, now = [], total
    for i in range(1, steps + 1):
        planned = math.floor(total * math.cos(math.pi * i / (2 * steps)))
        now = max(0, min(planned if i < steps else 0, now - 1))
        left.append(now)
    return training, left


check = Checker("5.5")


@check.property("64 tokens in 8 steps: 62, 59, 53, 45, 35, 24, 12, 0")
def _(answer):
    close(answer(64, 8)[1], [62, 59, 53, 45, 35, 24, 12, 0])


@check.property("the last step leaves nothing hidden, and one step is enough")
def _(answer):
    for total, steps in ((64, 12), (10, 3), (256, 24)):
        close(answer(total, steps)[1][-1], 0)
    close(answer(64, 1)[1], [0])


@check.property("no step is without work while a token is hidden")
def _(answer):
    close(answer(64, 64)[1][:4], [63, 62, 61, 60])
    close(answer(3, 8)[1], [2, 1, 0, 0, 0, 0, 0, 0])


@check.property("training hides all at u = 0, and one token at least")
def _(answer):
    training, _ = answer(64, 8)
    close([training(0.0), training(1.0)], [64, 1])


@check.property("on average training hides 2 / pi of the tokens")
def _(answer):
    training, _ = answer(1000, 8)
    shares = np.array([training(u) for u in (np.arange(2000) + 0.5) / 2000]) / 1000
    close(shares.mean(), 2 / math.pi, rtol=0.01)


@check.property("in 29 of 100 cases it hides more than nine tenths")
def _(answer):
    training, _ = answer(1000, 8)
    shares = np.array([training(u) for u in (np.arange(2000) + 0.5) / 2000]) / 1000
    often = (shares > 0.9).mean()
    true(0.27 < often < 0.31, "a share of 0.27 to 0.31 of all u", often, hint="the cosine, not its inverse")
