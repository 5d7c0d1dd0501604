r"""One step of drawing

The network has seen a grid of `n` tokens, some of them masked, and gives for each place the log-probabilities of all codes. Do
one step of drawing in parallel:

1. draw a code for *every* masked place from its probabilities;
2. the confidence of a place is the log-probability of the code that was *drawn*, and `temperature` times Gumbel noise,
   $-\log(-\log u)$ with $u$ from 0 to 1;
3. mask again the `left` places that are least sure, of those that were masked.

What was settled before the step stays as it is. A masked token has the number `codes`, one more than the last code.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ...course.checks import Checker, close, true

LEVEL, MINUTES, DIFFICULTY = "core", 25, 3
HINT = r"""
`torch.multinomial(logp.exp(), 1, generator=generator)` draws a code for each place. Give settled places a confidence of
infinity; then the first `left` of `confidence.argsort()` are right.
"""
NOTE = r"""
The temperature falls to 0 over the steps. At 0 from the start, the generator settles first what is easiest: flat ground, next
to what is already there. Then nothing is left to place a thing in, and the pictures come out empty. Much noise settles places
that fit each other badly. No other setting changes the pictures of a masked generator as much.

The step never takes anything back. A wrong token that was once sure is settled, and the rest is drawn to fit it. That is how
this generator makes faults that look intended, and why masking a place and drawing it anew can mend them.
"""


def decode_step(
    numbers: Tensor,
    logp: Tensor,
    left: int,
    temperature: float,
    seed: int,
) -> Tensor:
    """Settle some of the masked tokens.

    numbers (n,) int64, `codes` where masked; logp (n, codes): log-probabilities;
    left: how many are to be masked afterwards, no more than now
    -> (n,) int64; the same seed gives the same
    """
    generator, mask = torch.Generator().manual_seed(seed), logp.shape[1]
    masked = numbers == mask
    drawn = torch.multinomial(logp.exp(), 1, generator=generator)[:, 0]
    sure = logp.gather(1, drawn[:, None])[:, 0]
    u = torch.rand(len(sure), generator=generator).clamp(1e-9, 1 - 1e-7)
    sure = (sure - temperature * (-u.log()).log()).masked_fill(~masked, torch.inf)
    result = torch.where(masked, drawn, numbers)
    result[sure.argsort()[:left]] = mask
    return result


check = Checker("5.6")
CODES = 40


def _logp(*weights: Sequence[int]) -> Tensor:
    """Log-probabilities of places: the weights of a place's first codes; the others have none."""
    p = torch.zeros(len(weights), CODES)
    for row, given in zip(p, weights):
        row[: len(given)] = torch.tensor(given)
    return (p / p.sum(1, keepdim=True)).log()


def _grid() -> tuple[Tensor, Tensor]:
    """Twenty places, of which six are settled; place i has i + 1 equally likely codes, so it is the less sure the later."""
    numbers = torch.full((20,), CODES)
    numbers[[0, 3, 4, 11, 12, 19]] = torch.tensor([39, 38, 37, 36, 35, 34])
    return numbers, _logp(*((1,) * (i + 1) for i in range(20)))


@check.property("what was settled before stays")
def _(answer):
    numbers, logp = _grid()
    settled = numbers != CODES
    for left in (0, 5, 13):
        for temperature in (0.0, 4.0):
            close(answer(numbers, logp, left, temperature, 0)[settled], numbers[settled])


@check.property("as many as asked for are masked afterwards")
def _(answer):
    numbers, logp = _grid()
    for left in (0, 1, 5, 13, 14):
        for seed in range(3):
            found = (answer(numbers, logp, left, 1.0, seed) == CODES).sum()
            true(found == left, f"{left} masked tokens", int(found))


@check.property("at a temperature of 0 the surest stay")
def _(answer):
    numbers, logp = _grid()
    masked = (numbers == CODES).nonzero()[:, 0]
    for seed in range(3):
        found = answer(numbers, logp, 6, 0.0, seed)
        close(
            (found == CODES).nonzero()[:, 0],
            masked[-6:],
            hint="here the last places have the most codes to choose from",
        )


@check.property("codes are drawn as often as they are likely")
def _(answer):
    n = 4000
    found = answer(torch.full((n,), CODES), _logp((6, 3, 1)).expand(n, CODES), 0, 0.0, 0)
    shares = torch.bincount(found, minlength=3)[:3] / n
    close(shares, [0.6, 0.3, 0.1], rtol=0, atol=0.03, hint="draw, do not take the likeliest")


@check.property("the confidence is that of the code that was drawn, not of the likeliest")
def _(answer):
    n = 500  # half of the places: a code of 0.6, the rest spread thinly; the other half: two codes of 0.5 each
    thin, even = (60, *[4] * 10), (1, 1)
    found = answer(torch.full((2 * n,), CODES), _logp(*[thin] * n, *[even] * n), n, 0.0, 1)
    stayed = found[:n][found[:n] != CODES]
    true(
        0.5 * n < len(stayed) < 0.7 * n and bool((stayed == 0).all()),
        f"about {0.6 * n:.0f} of the first {n} places settled, all with their likely code",
        f"{len(stayed)} settled, {int((stayed == 0).sum())} of them with it",
    )


@check.property("a high temperature lets unsure places stay, too")
def _(answer):
    n = 400
    logp = _logp(*[(1,)] * n, *[(1, 1, 1)] * n)
    found = [int((answer(torch.full((2 * n,), CODES), logp, n, t, 0)[n:] != CODES).sum()) for t in (0.0, 1.0, 50.0)]
    good = found[0] == 0 and 0.25 * n < found[1] < 0.385 * n and 0.4 * n < found[2] < 0.58 * n
    words = f"of {n} unsure places none settled at 0, about a third at 1, nearly half at 50"
    true(good, words, f"{found}", hint="Gumbel noise on the logarithm of the probability")


@check.property("the same seed gives the same, another seed another")
def _(answer):
    numbers, logp = _grid()
    close(answer(numbers, logp, 5, 1.0, 7), answer(numbers, logp, 5, 1.0, 7))
    several = {tuple(answer(numbers, logp, 5, 1.0, seed).tolist()) for seed in range(5)}
    true(len(several) > 1, "different grids from five seeds", f"{len(several)} of them")
