r"""Close the loop

A motion of $K$ slices repeats after $T$ frames. But the clip ends wherever it was, and runs back to its start within a
few frames: a snap. The paper pushes a sampler to motions without one, by the gradient of

$$E = |F_{T-1} - F_0| + |(F_{T-1} - F_{T-2}) - (F_1 - F_0)| .$$

There is also a direct way: of all volumes with $E = 0$, take the one that is nearest to yours. Both conditions are
linear in the real and imaginary parts of the slices, so this is a projection. Slice 0 does not matter for $E$: leave
it.
"""

import math

import torch
from torch import Tensor

from ...course.checks import Checker, close, true
from .one_sided import one_sided

LEVEL, MINUTES, DIFFICULTY = "challenge", 30, 3
HINT = r"""
Write the numbers of a pixel as one vector $z = (\mathrm{Re}\,S_1 \ldots, \mathrm{Im}\,S_1 \ldots)$ of length $2(K-1)$.
Then $F_n$ is, up to slice 0, the row $\frac2T(\cos\ldots, -\sin\ldots)$ times $z$. Two combinations of such rows must
give 0: they are the two rows of a matrix $A$, and the nearest $z$ with $Az = 0$ is $z - A^T(AA^T)^{-1}Az$.
"""
NOTE = r"""
The ends meet, and more than nine tenths of the motion's energy is kept. Is the loop seamless? Look at the steps around
the wrap: where the ends were far apart, the snap has only moved a few frames away. $E = 0$ says what a loop must not
have; how a plant would have come back, only something that knows plants can say. That is why the paper guides a
sampler.

And report the energy beside $E$. A motion that is shrunk to nothing closes perfectly.
"""


def close_loop(S: Tensor, frames: int) -> Tensor:
    """The nearest volume whose motion ends where, and as fast as, it begins.

    S (K, ...) complex, 3 <= K <= frames / 2, of an unnormalised DFT -> (K, ...) complex
    """
    k = torch.arange(1, len(S), dtype=torch.float64)
    n = torch.tensor([0, 1, frames - 2, frames - 1], dtype=torch.float64)[:, None]
    angle = 2 * math.pi * n * k / frames
    first, second, before, last = torch.cat([angle.cos(), -angle.sin()], 1)
    A = torch.stack([last - first, (last - before) - (second - first)])
    z = torch.cat([S[1:].real, S[1:].imag]).flatten(1).double()
    z = z - A.T @ torch.linalg.solve(A @ A.T, A @ z)
    real, imag = z.reshape(2, len(S) - 1, *S.shape[1:])
    return torch.cat([S[:1], torch.complex(real, imag).to(S.dtype)])


def run() -> None:
    """What a projection leaves, for the cell of the solution."""
    t = torch.arange(150, dtype=torch.float64)[:, None, None, None] / 30
    phase = 6.28 * torch.rand(2, 9, 9, generator=torch.Generator().manual_seed(3)).double()
    sway = torch.sin(2 * math.pi * 0.33 * t + phase) + 0.3 * torch.sin(7 * t + 2 * phase)
    S = torch.fft.rfft(sway, dim=0)[:16]
    before, after = (torch.fft.irfft(x, n=150, dim=0) for x in (S, close_loop(S, 150)))
    for name, F in (("as it was", before), ("closed", after)):
        steps = (F.roll(-1, 0) - F).abs().mean((1, 2, 3))
        wrap, near = steps[-1], torch.cat([steps[-6:], steps[:5]]).max()
        print(f"{name}: the step at the wrap is {wrap / steps.mean():.1f} of the mean,")
        print(f"the largest one within five frames of it {near / steps.mean():.1f}")
    kept = (after - after.mean(0)).square().sum() / (before - before.mean(0)).square().sum()
    print(f"{kept:.0%} of the energy is kept")
    assert kept > 0.8


check = Checker("5.11")


def _volume() -> Tensor:
    generator = torch.Generator().manual_seed(3)
    S = torch.complex(*torch.randn(2, 8, 2, 3, 4, generator=generator, dtype=torch.float64))
    S = 60 * S / torch.arange(1, 9).reshape(-1, 1, 1, 1)
    S[0] = S[0].real.to(S.dtype)
    return S


def _gap(motion: Tensor) -> float:
    place = motion[-1] - motion[0]
    speed = (motion[-1] - motion[-2]) - (motion[1] - motion[0])
    return (place.abs() + speed.abs()).mean().item()


@check.property("the motion ends where it begins")
def _(answer):
    motion = one_sided(answer(_volume(), 60), 60)
    close(motion[-1], motion[0], rtol=0, atol=1e-6)


@check.property("and with the velocity with which it begins")
def _(answer):
    motion = one_sided(answer(_volume(), 60), 60)
    close(motion[-1] - motion[-2], motion[1] - motion[0], rtol=0, atol=1e-6)


@check.property("slice 0 is left alone, and more than four fifths of the energy is kept")
def _(answer):
    found = answer(_volume(), 60)
    close(found[0], _volume()[0])
    share = found[1:].abs().square().sum() / _volume()[1:].abs().square().sum()
    true(share > 0.8, "more than 80 % of the energy", f"{share:.0%}", hint="a motion of nothing closes, too")


@check.property("it is the nearest one: what is taken away stands at right angles to every closed motion")
def _(answer):
    taken = _volume() - answer(_volume(), 60)
    generator = torch.Generator().manual_seed(9)
    for _ in range(3):
        other = torch.complex(*torch.randn(2, *_volume().shape, generator=generator, dtype=torch.float64))
        closed = close_loop(other, 60)
        product = (taken[1:].conj() * closed[1:]).real.sum()
        size = taken[1:].abs().square().sum().sqrt() * closed[1:].abs().square().sum().sqrt()
        close(product / size.clamp(min=1e-9), 0.0, atol=1e-6, hint="is there a smaller change that closes it?")


@check.property("a motion that is closed is left as it is")
def _(answer):
    once = close_loop(_volume(), 60)
    close(answer(once, 60), once, atol=1e-8)
