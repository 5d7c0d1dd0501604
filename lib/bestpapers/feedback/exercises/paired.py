r"""Did it get better?

Two arms, say a generator before and after, drew `K` pictures each for the same `P` prompts, and the judge scored them. Some
prompts are hard for both. So compare prompt by prompt:

1. the difference of a prompt is the mean over its tries of one arm, less that of the other;
2. draw *prompts* with replacement, as many as there are, and take the mean of their differences; do it `repeats` times;
3. the middle 95 % of these means are the interval.

Take all chance from `seed`.
"""

import numpy as np
from numpy.typing import NDArray

from ...course.checks import Checker, close, true

LEVEL, MINUTES, DIFFICULTY = "core", 15, 2
HINT = r"""
`np.random.default_rng(seed).integers(P, size=(repeats, P))` draws all prompts at once; `np.quantile` takes both ends. A prompt
is drawn with all its tries, and for both arms.
"""
NOTE = r"""
What makes a prompt hard cancels out, and it is often most of the spread: drawn for each arm apart, the same pictures give an
interval several times as wide. Tries of one prompt are no independent prompts: more of them make each difference
less noisy, and do not replace prompts.

The interval says how other prompts might have come out with *these two* generators. How another training would have come
out, it does not say; for that there are seeds. For the paper's human study we found neither.
"""


def paired(
    a: NDArray,
    b: NDArray,
    repeats: int,
    seed: int,
) -> tuple[float, float, float]:
    """By how much arm a is better than arm b, with a 95 % interval over prompts.

    a, b (P, K): scores of K tries for each of the same P prompts
    -> difference, lower end, upper end
    """
    apart = (a - b).mean(1)
    rng = np.random.default_rng(seed)
    means = apart[rng.integers(len(apart), size=(repeats, len(apart)))].mean(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return apart.mean(), low, high


def run() -> None:
    """Paired and not, for the cell of the solution."""
    rng = np.random.default_rng(0)
    hard = rng.uniform(0.2, 0.9, (150, 1))
    a, b = (hard + gain + rng.normal(0, 0.1, (150, 2)) for gain in (0.04, 0.0))
    shuffled = rng.permutation(b)
    for name, other in (("same prompts", b), ("prompts mixed up", shuffled)):
        gain, low, high = paired(a, other, 2000, 0)
        print(f"{name:16} {gain:+.3f} ({low:+.3f} to {high:+.3f})")


check = Checker("5.8")


def _arms(P: int = 60, K: int = 3) -> tuple[NDArray, NDArray]:
    """Prompts differ by 0.6, the tries of a prompt by 0.05; the first arm is 0.05 better."""
    rng = np.random.default_rng(P)
    hard = rng.uniform(0.2, 0.8, (P, 1))
    return hard + 0.05 + rng.normal(0, 0.05, (P, K)), hard + rng.normal(0, 0.05, (P, K))


@check.property("the difference is that of the scores themselves")
def _(answer):
    a, b = _arms()
    close(answer(a, b, 500, 0)[0], a.mean() - b.mean(), hint="a less b, and not the mean of the draws")


@check.property("an arm beside itself: no difference, and no doubt")
def _(answer):
    a, _ = _arms()
    close(answer(a, a, 500, 0), [0, 0, 0], hint="draw a prompt for both arms at once")


@check.property("change the arms, and all three change their sign")
def _(answer):
    a, b = _arms()
    middle, low, high = answer(a, b, 2000, 0)
    true(low < middle < high, "lower end < difference < upper end", [low, middle, high])
    close(answer(b, a, 2000, 0), [-middle, -high, -low], rtol=0, atol=0.001)


@check.property("what makes a prompt hard for both cancels out, and 95 % is what remains")
def _(answer):
    a, b = _arms(300, 1)
    _, low, high = answer(a, b, 4000, 0)
    want = 2 * 1.96 * (a - b).std() / 300**0.5
    true(0.93 < (high - low) / want < 1.07, f"a width of {want:.4f}, give or take 7 %", high - low)


@check.property("tries of a prompt are drawn together")
def _(answer):
    rng = np.random.default_rng(1)
    apart = rng.normal(0, 0.1, (50, 1))
    b = np.full((50, 30), 0.5)
    _, low, high = answer(b + apart, b, 4000, 0)
    want = 2 * 1.96 * apart.std() / 50**0.5
    hint = "30 tries that all say the same are one piece of evidence"
    true(0.9 < (high - low) / want < 1.1, f"a width of {want:.4f}, give or take 10 %", high - low, hint=hint)


@check.property("a seed gives the same interval again")
def _(answer):
    a, b = _arms()
    close(answer(a, b, 100, 5), answer(a, b, 100, 5), rtol=1e-9, hint="make a generator from the seed")
