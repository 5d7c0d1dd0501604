r"""The clip starts at the picture

Frame 0 *is* the picture, so nothing may have moved there: $F_0 = 0$. A spectral volume that was cut to $K$ slices, or
drawn by a network, does not keep to that, and the animation begins with a jump. Correct the volume: shift all frames
alike, and leave all that swings as it is.
"""

import torch
from torch import Tensor

from ...course.checks import Checker, close
from .one_sided import one_sided

LEVEL, MINUTES, DIFFICULTY = "core", 10, 1
HINT = r"""
$F_0 = \frac1T (S_0 + 2\,\mathrm{Re} \sum_{k \ge 1} S_k)$. Which slice moves all frames alike?
"""
NOTE = r"""
$F_0 = 0$ ties $S_0$ to all others: $S_0 = -2\,\mathrm{Re}\sum_{k\ge1} S_k$. So a model that draws every slice by itself
cannot start at the picture but by luck, and the size of $F_0$ tells how well a model's slices agree: one of the
measures of [3_reproduce](3_reproduce.ipynb).

The other remedy is to fade $F_0$ out over the first frames. Then nothing is shifted for good, but those frames move a
little more, and a loop jumps at its end.
"""


def first_frame(slices: Tensor) -> Tensor:
    """The volume with F_0 = 0.

    slices (K, ...) complex, k = 0 first, K - 1 < T / 2
    -> (K, ...) complex, a new tensor
    """
    out = slices.clone()
    out[0] = -2 * slices[1:].real.sum(0)
    return out


check = Checker("5.2")


def _volume(K: int = 6) -> Tensor:
    parts = torch.randn(2, K, 2, 3, 4, generator=torch.Generator().manual_seed(K), dtype=torch.float64)
    S = torch.complex(*parts)
    S[0] = S[0].real.to(S.dtype)
    return S


@check.property("nothing has moved in frame 0")
def _(answer):
    close(one_sided(answer(_volume()), 40)[0], torch.zeros(2, 3, 4), atol=1e-9)


@check.property("what swings stays as it is: slices 1 to K - 1")
def _(answer):
    close(answer(_volume())[1:], _volume()[1:], atol=1e-12)


@check.property("slice 0 stays real, and a volume that starts at the picture is not changed")
def _(answer):
    once = answer(_volume())
    close(once[0].imag, torch.zeros(2, 3, 4), atol=1e-12)
    close(answer(once), once, atol=1e-9)


@check.property("the volume that was given is left alone")
def _(answer):
    S = _volume()
    answer.function(S)
    close(S, _volume(), hint="write into a clone")
