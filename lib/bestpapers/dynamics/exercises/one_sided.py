r"""The half that is not stored

A real curve of $T$ numbers has $T$ Fourier coefficients, and half of them are mirror images of the others:
$S_{T-k} = \overline{S_k}$. A spectral volume stores the first $K$ only, unnormalised,
$S_k = \sum_n F_n\, e^{-2\pi i k n/T}$. Make the motion from them.

The slices that are not stored count as 0, the mirror images of those that are do not.
"""

import math

import torch
from torch import Tensor

from ...course.checks import Checker, close, true

LEVEL, MINUTES, DIFFICULTY = "core", 15, 1
HINT = r"""
For $0 < k < T/2$, slice $k$ and its mirror image add up to $2\,\mathrm{Re}\, S_k\, e^{2\pi i k n/T}$. Two slices are
their own mirror images: $k = 0$, and for even $T$ also $k = T/2$.
"""
NOTE = r"""
$$
F_n = \frac1T \Bigl( S_0 + 2\,\mathrm{Re} \sum_{k=1}^{K-1} S_k\, e^{2\pi i k n/T} \Bigr)
$$

Leave out the 2 and the animation moves half as far, and nobody notices: it looks like a calm day. People who build this
method ask again and again why their frames hardly move; this is one of the two usual answers. The other one is to
forget that a network's slices are normalised (exercise 5.3).
"""


def one_sided(slices: Tensor, frames: int) -> Tensor:
    """The motion of its lowest slices.

    slices (K, ...) complex, k = 0 first, K at most frames // 2 + 1, of an unnormalised
    DFT over `frames` samples -> (frames, ...) real
    """
    K = len(slices)
    sides = torch.full((K,), 2.0, dtype=torch.float64)
    sides[0] = 1
    if frames == 2 * (K - 1):
        sides[-1] = 1
    n = torch.arange(frames, dtype=torch.float64)[:, None]
    angle = 2 * math.pi * n * torch.arange(K) / frames
    waves = torch.polar(sides.expand(frames, K), angle).to(slices.dtype)
    motion = (waves @ slices.reshape(K, -1)).real / frames
    return motion.reshape(frames, *slices.shape[1:])


def run() -> None:
    """What is lost with the slices, for the cell of the solution."""
    t = torch.arange(150, dtype=torch.float64) / 30
    sway = torch.sin(2 * math.pi * 0.7 * t) * torch.exp(-0.2 * t)
    S = torch.fft.fft(sway)
    for K in (4, 8, 16):
        left = (one_sided(S[:K], 150) - sway).norm() / sway.norm()
        print(f"K = {K:2}: {left:.0%} of the motion is missing")


check = Checker("5.1")


def _motion(frames: int, *shape: int) -> Tensor:
    return torch.randn(frames, *shape, generator=torch.Generator().manual_seed(frames), dtype=torch.float64)


@check.property("a still picture moved by 3 px stays moved by 3 px")
def _(answer):
    S = torch.zeros(4, 2, dtype=torch.complex128)
    S[0, 1] = 3 * 50
    close(answer(S, 50), torch.tensor([0.0, 3.0]).expand(50, 2))


@check.property("a swing of 2 px is a swing of 2 px, and not of 1")
def _(answer):
    n = torch.arange(60, dtype=torch.float64)
    sway = 2 * torch.cos(2 * math.pi * 3 * n / 60 - 0.4)
    found = answer(torch.fft.fft(sway)[:8], 60)
    real = not torch.is_complex(torch.as_tensor(found))
    true(real, "real numbers", found, hint="a slice and its mirror image add up to real ones")
    close(found, sway, atol=1e-9, hint="where is the mirror image of slice 3? And going back, the exponent has a plus")


@check.property("with all slices nothing is lost, for odd and even numbers of frames")
def _(answer):
    for frames in (15, 16, 1, 2):
        motion = _motion(frames, 2, 3)
        close(answer(torch.fft.fft(motion, dim=0)[: frames // 2 + 1], frames), motion, atol=1e-9)


@check.property("with K slices it is what NumPy's inverse makes of them")
def _(answer):
    motion = _motion(40, 2, 2, 3)
    S = torch.fft.fft(motion, dim=0)[:9]
    close(answer(S, 40), torch.fft.irfft(S, n=40, dim=0), atol=1e-9, hint="the other slices are 0")
