r"""Intervals over species

Twenty pictures of one species succeed or fail together: they are no twenty independent trials. So draw *species* with
replacement, as many as there are, with all their pictures, and look at the share that is right. Do it `repeats` times;
the middle 95 % of these shares are the interval.
"""

import torch
from torch import Tensor

from ...course.checks import Checker, close, true
from .. import evaluate

LEVEL, MINUTES, DIFFICULTY = "core", 15, 2
HINT = r"""
Each species has as many pictures as any other, so the share of a draw is the mean of the shares of the species drawn.
`torch.randint(S, (repeats, S), generator=...)` draws all at once.
"""
NOTE = r"""
More pictures of the same species make the interval hardly narrower: with 20 unseen species, an accuracy of one half is
known to 0.2 either way at worst, however many images you test. Only more species help, and more seeds, each with its own.
"""


def intervals(right: Tensor, repeats: int, seed: int) -> tuple[float, float, float]:
    """The share of pictures that are right, with a 95 % interval over species.

    right [S, n]: 1 or True for each of n pictures of S species that is right
    -> share, lower end, upper end
    """
    shares = right.double().mean(1)
    generator = torch.Generator().manual_seed(seed)
    anew = torch.randint(len(shares), (repeats, len(shares)), generator=generator)
    ends = torch.tensor([0.025, 0.975], dtype=torch.float64)
    low, high = shares[anew].mean(1).quantile(ends).tolist()
    return shares.mean().item(), low, high


def run() -> None:
    """Two kinds of intervals for the same answers, for the cell of the solution."""
    generator = torch.Generator().manual_seed(0)
    hits, easy = (torch.rand(20, n, generator=generator) for n in (20, 1))
    right = hits < easy
    share, low, high = intervals(right, 4000, 0)
    _, one, other = evaluate.bootstrap(right, by="image")
    print(f"{share:.2f} right; over species {low:.2f} to {high:.2f}, ", end="")
    print(f"over pictures {one:.2f} to {other:.2f}")
    assert high - low > 2 * (other - one)


check = Checker("5.8")


@check.property("the share is that of the pictures themselves")
def _(answer):
    generator = torch.Generator().manual_seed(0)
    right = torch.rand(15, 8, generator=generator) < 0.3
    close(answer(right, 500, 0)[0], right.double().mean(), hint="not the mean of the draws")


@check.property("one picture of each of 20 species, half of them right: about 0.4 from end to end")
def _(answer):
    _, low, high = answer(torch.arange(20)[:, None] % 2 == 0, 4000, 0)
    true(0.35 <= high - low <= 0.5, "a width of 0.35 to 0.50", high - low)


@check.property("100 pictures of each, from none to nearly all of them right: 0.25 from end to end")
def _(answer):
    right = torch.arange(100) < 5 * torch.arange(20)[:, None]
    _, low, high = answer(right, 4000, 0)
    hint = "draw species, not pictures, and go from the 2.5th to the 97.5th percentile"
    true(0.235 <= high - low <= 0.27, "a width of 0.235 to 0.270", high - low, hint=hint)


@check.property("the ends are shares: of one hit in 20 species the interval begins at 0")
def _(answer):
    right = torch.zeros(20, 4)
    right[3] = 1
    close(answer(right, 4000, 0), (0.05, 0.0, 0.15), rtol=0, atol=0.011, hint="they need not be symmetric")


@check.property("a seed gives the same interval again")
def _(answer):
    generator = torch.Generator().manual_seed(0)
    right = torch.rand(15, 8, generator=generator) < 0.3
    close(answer(right, 100, 5), answer(right, 100, 5), hint="draw from a generator of your own")
