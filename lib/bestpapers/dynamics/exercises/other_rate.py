r"""A clip at 24 frames a second

A model was trained on clips of $T = 150$ frames at $r = 30$ frames a second. Its slice $k$ swings $k$ times in five
seconds, and its numbers are sums over 150 frames. Your clip was filmed at another rate, and may be longer. Make the volume
that this model expects: the right frequencies, the right sizes, and nothing that your clip cannot know.

Use the first five seconds. What swings as fast as half your rate or faster, a clip cannot show: leave it at 0.
"""

import math

import torch
from torch import Tensor

from ...course.checks import Checker, close, true

LEVEL, MINUTES, DIFFICULTY = "core", 15, 2
HINT = r"""
Slice $k$ of $N$ frames at $r$ a second has the frequency $k\,r/N$. How many frames make that $0.2\,k$? And a swing of
1 px has a sum of $N/2$ in your clip: which one should it have?
"""
NOTE = r"""
$N = 5r$ frames have slices 0.2 Hz apart at any rate, so the number of a slice stays; what changes is the size, by
$150/N$. Slice $k$ is known for $k < N/2$.

Who takes the first 150 *frames* instead hears every plant at a wrong pitch: a clip of 24 frames a second by a quarter too
high. A model that was trained on a mixture of rates has learned a mixture of pitches. That the number of frames alone
matters is a common belief among those who tried, and it fails silently, since any sway looks like some sway.
"""


def other_rate(motion: Tensor, rate: float, slices: int = 16) -> Tensor:
    """The volume that a model of 150 frames at 30 a second expects.

    motion (frames, ...) real, px, at `rate` frames a second, five seconds or more
    -> (slices, ...) complex, k = 0 first; zeros where the rate is too low
    """
    N = round(5 * rate)
    known = torch.fft.rfft(motion[:N], dim=0)[:slices] * (150 / N)
    out = known.new_zeros(slices, *motion.shape[1:])
    sure = min(slices, math.ceil(N / 2))  # k < N / 2
    out[:sure] = known[:sure]
    return out


def run() -> None:
    """What counting frames in place of seconds does, for the cell of the solution."""
    for rate in (24, 30, 60):
        n = torch.arange(5 * rate, dtype=torch.float64)
        sway = torch.cos(2 * math.pi * 1.6 * n / rate)
        by_frames = torch.fft.fft(sway[:150], n=150).abs()[:76].argmax() / 5
        by_seconds = other_rate(sway, rate).abs().argmax() / 5
        print(f"{rate} a second: 1.6 Hz are {by_frames:.1f} Hz", end=" ")
        print(f"by 150 frames, {by_seconds:.1f} Hz by 5 seconds")


check = Checker("5.2")

RATES = (24.0, 25.0, 30.0, 60.0)


def _swing(hertz: float, rate: float, seconds: float = 5.0) -> Tensor:
    """A swing of 2 px, begun at 0.7 of a radian."""
    t = torch.arange(round(seconds * rate), dtype=torch.float64) / rate
    return 2 * torch.cos(2 * math.pi * hertz * t + 0.7)


@check.property("a swing of 0.6 Hz is in slice 3, whatever the rate")
def _(answer):
    for rate in RATES:
        found = answer(_swing(0.6, rate), rate)
        close(found.shape, (16,))
        loudest = int(found.abs().argmax())
        true(loudest == 3, "slice 3 the loudest", f"slice {loudest}", hint="three swings in five seconds")
        close(found.abs()[[2, 4]], (0.0, 0.0), atol=1e-6, hint="are there three whole swings in what you transform?")


@check.property("a swing of 2 px is as tall as in a clip of 150 frames")
def _(answer):
    for rate in RATES:
        close(answer(_swing(0.6, rate), rate).abs()[3], 150.0, rtol=1e-6, hint="2 px times 150 / 2")


@check.property("what comes after the first five seconds does not matter")
def _(answer):
    for rate in RATES:
        long = torch.cat([_swing(0.6, rate), 5 + _swing(2.2, rate, 3.4)])
        close(answer(long, rate), answer(long[: round(5 * rate)], rate), atol=1e-9)


@check.property("at 30 frames a second it is the volume of before, pixel by pixel")
def _(answer):
    motion = torch.randn(150, 2, 3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    close(answer(motion, 30.0), torch.fft.fft(motion, dim=0)[:16], atol=1e-9)


@check.property("what is as fast as half the rate, or faster, is 0")
def _(answer):
    for rate, first in ((4.0, 10), (5.0, 13)):
        motion = torch.randn(round(5 * rate), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        found = answer(motion, rate)
        close(found.shape, (16,))
        words = f"a clip of {rate:.0f} frames a second knows slices 0 to {first - 1}"
        close(found[first:], torch.zeros(16 - first), atol=1e-12, hint=words)
        true(bool((found[1:first].abs() > 0).all()), "what is slower is kept", found.abs())
