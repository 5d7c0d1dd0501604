r"""Exponential or power law?

"The amplitude falls about exponentially with frequency", says the paper. Test it. An exponential,
$A = e^{a + b f}$, is a straight line of $\log A$ over $f$; a power law, $A = e^a f^b$, is one over $\log f$. Fit both
by least squares, and say how good each is: $R^2$, the share of the variance of $\log A$ that the line explains.
"""

import torch
from torch import Tensor

from ...course.checks import Checker, close, true

LEVEL, MINUTES, DIFFICULTY = "core", 15, 1
HINT = r"""
A line through centred points has the slope $\sum dx\,dy / \sum dx^2$, and $R^2 = (\sum dx\,dy)^2 / (\sum dx^2 \sum
dy^2)$. The constant slice, $f = 0$, has no place on a logarithmic axis.
"""
NOTE = r"""
The curve that the paper plots beside that sentence is nearer to $1/f$. An amplitude that falls as $1/f$ is also what a
jump between a clip's end and its start leaks into all slices, so part of it may be no motion at all. And the winner can
flip with the range: a clip whose first 15 slices look exponential may follow a power law over all 74. Say which range
you fitted.
"""


def fit_laws(f: Tensor, amplitude: Tensor) -> tuple[float, float]:
    """R^2 of an exponential and of a power law.

    f (n,) Hz, rising, may begin with 0; amplitude (n,), above 0
    -> R^2 of the exponential, R^2 of the power law, both without f = 0
    """
    y = amplitude[f > 0].log()
    f = f[f > 0]

    def r2(x: Tensor) -> float:
        dx, dy = x - x.mean(), y - y.mean()
        return ((dx @ dy) ** 2 / (dx @ dx) / (dy @ dy)).item()

    return r2(f), r2(f.log())


# Read off published figures: the paper's plot of mean x amplitude at 0.2, 0.4 ... 3.2 Hz (to half a unit), and the standard
# deviation of each slice in the data of a public attempt (818 clips of plants, 149 frames), k = 1 to 15
PLOTTED = (81.9, 50.8, 38.6, 26.2, 21.6, 17.1, 13.4, 11.7, 10.5, 9.4, 8.8, 8.2, 7.6, 7.0, 6.6, 6.2)
PLANTS = (
    13.725, 8.803, 7.262, 5.942, 5.330, 5.200, 4.945, 4.592, 4.523, 3.870, 3.485, 3.284, 2.891, 2.453, 2.323,
)  # fmt: skip


def _hertz(amplitude: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    return 0.2 * torch.arange(1, len(amplitude) + 1, dtype=torch.float64), torch.tensor(amplitude, dtype=torch.float64)


def run() -> None:
    """The spectrum plotted in the paper, for the cell of the solution."""
    plot = [81.9, 50.8, 38.6, 26.2, 21.6, 17.1, 13.4, 11.7]
    plot += [10.5, 9.4, 8.8, 8.2, 7.6, 7.0, 6.6, 6.2]
    amplitude = torch.tensor(plot, dtype=torch.float64)
    exponential, power = fit_laws(0.2 * torch.arange(1, 17).double(), amplitude)
    print(f"the paper's plot: exponential {exponential:.2f}, power law {power:.2f}")
    assert power > exponential


check = Checker("5.4")
F = torch.arange(1, 20, dtype=torch.float64) / 5


@check.property("an exact exponential has R² = 1 in the first place, and less in the second")
def _(answer):
    found = answer(F, torch.exp(3 - 0.8 * F))
    close(found[0], 1.0, hint="fit log amplitude, not amplitude")
    true(found[1] < 0.97, "below 0.97 for the power law", found[1])


@check.property("an exact power law has R² = 1 in the second place, and less in the first")
def _(answer):
    found = answer(F, 7 / F)
    close(found[1], 1.0)
    true(found[0] < 0.97, "below 0.97 for the exponential", found[0], hint="take the logarithm of f as well")


@check.property("the unit of amplitude does not matter, and nor does a constant slice")
def _(answer):
    f, amplitude = _hertz(PLANTS)
    before = answer(f, amplitude)
    close(answer(f, 1000 * amplitude), before)
    with_constant = torch.cat([torch.zeros(1), f]), torch.cat([torch.tensor([34.4]), amplitude])
    close(answer(*with_constant), before, hint="leave out f = 0")


@check.property("818 clips of plants: 0.933 and 0.955; the paper's plot: 0.897 and 0.991")
def _(answer):
    close(answer(*_hertz(PLANTS)), (0.933, 0.955), rtol=0, atol=0.005)
    close(answer(*_hertz(PLOTTED)), (0.897, 0.991), rtol=0, atol=0.005)
