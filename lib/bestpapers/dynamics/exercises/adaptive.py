r"""Slices of one size

The slices of a spectral volume differ by a factor of about a hundred, and a diffusion model hears in the small ones
nothing but noise. The paper's remedy: for each slice $k$, take $s_k$, the 95th percentile of the sizes $|S_k|$ over
the training set, and show the network

$$S'_k = \mathrm{sign}(S_k) \sqrt{|S_k| / s_k} .$$

Real and imaginary parts are numbers of their own here. Only those that are not 0 count for the percentile: most of a
picture stands still.

Return $s_k$, and two functions: there and back. They are made once, from the training set, and used for every clip.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ...course.checks import Checker, close, true

LEVEL, MINUTES, DIFFICULTY = "core", 15, 2
HINT = r"""
`torch.quantile` of the sizes that are above 0, slice by slice. On the way back, the square loses the sign: `x.abs() *
x` keeps it.
"""
NOTE = r"""
The root opens up what is small: one percent of $s_k$ becomes a tenth. Going back, the square makes relative errors
twice as large, and it silences small noise of the network: what comes out at 0.03 moves by 0.0009 of $s_k$. About 5 %
lie above 1; nothing is clipped.

With 80 % of background among them the percentile would fall to a value that depends on how much of the picture stands
still. The paper does not say which pixels count.
"""


def adaptive(
    training: Tensor,
) -> tuple[Tensor, Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """Frequency-adaptive normalisation.

    training (N, K, P) real: N clips, K slices, P real and imaginary parts in each
    -> s (K,), forward, backward: functions of (..., K, P), which give (..., K, P)
    """
    rows = training.transpose(0, 1).flatten(1).abs()
    s = torch.stack([torch.quantile(row[row > 0], 0.95) for row in rows])

    def forward(x: Tensor) -> Tensor:
        return x.sign() * (x.abs() / s[:, None]).sqrt()

    def backward(y: Tensor) -> Tensor:
        return s[:, None] * y * y.abs()

    return s, forward, backward


def run() -> None:
    """What the network sees of a high slice, for the cell of the solution."""
    sizes = torch.tensor([[90.0], [1.0]], dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    numbers = torch.randn(50, 2, 100, generator=generator, dtype=torch.float64)
    training = sizes * numbers
    _, there, _ = adaptive(training)
    for name, seen in (("one divisor", training / 180), ("adaptive", there(training))):
        low, high = seen.abs().transpose(0, 1).flatten(1).median(1).values.tolist()
        print(f"{name}: median {low:.2f} in the low slice, {high:.3f} in the high one")
    assert high > 0.5


check = Checker("5.3")


def _training() -> Tensor:
    """Twelve clips of six slices, the highest 100 times as small as the lowest; four fifths of the numbers are 0."""
    generator = torch.Generator().manual_seed(0)
    numbers = torch.randn(12, 6, 200, generator=generator, dtype=torch.float64)
    sizes = torch.logspace(2, 0, 6, dtype=torch.float64)[:, None]
    return numbers * sizes * (torch.arange(200) % 5 == 0)


@check.property("there is one s for each slice, and it comes from what moves")
def _(answer):
    s, *_ = answer(_training())
    close(torch.as_tensor(s).shape, (6,))
    for k in range(6):
        sizes = _training()[:, k].abs()
        above = (sizes[sizes > 0] > s[k]).double().mean()
        true(0.045 < above < 0.055, f"5 % of what is not 0 in slice {k} above s", f"{above:.1%}")


@check.property("after it, the 95th percentile of every slice is 1")
def _(answer):
    _, forward, _ = answer(_training())
    sizes = forward(_training()).abs().transpose(0, 1).flatten(1)
    percentiles = torch.stack([torch.quantile(row[row > 0], 0.95) for row in sizes])
    close(percentiles, torch.ones(6), rtol=1e-2)


@check.property("a quarter of s becomes a half, with the sign that it had")
def _(answer):
    s, forward, _ = answer(_training())
    x = torch.as_tensor(s)[:, None] * torch.tensor([0.25, -0.25, 0.0, 1.0, -4.0])
    close(forward(x), torch.tensor([0.5, -0.5, 0.0, 1.0, -2.0]).expand(6, 5))


@check.property("the way back gives the clip again")
def _(answer):
    _, forward, backward = answer(_training())
    close(backward(forward(_training())), _training(), hint="a square has lost the sign")
    close(backward(forward(_training()[0])), _training()[0])


@check.property("a new clip is measured by the training set's s, not by its own")
def _(answer):
    _, forward, _ = answer(_training())
    close(
        forward(4 * _training()[0]), 2 * forward(_training()[0]), hint="a clip that moves 4 times as far is seen as 2"
    )
