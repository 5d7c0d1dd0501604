r"""Two readings of one formula

The paper writes $S'_k = \mathrm{sign}(S_k)\sqrt{|S_k| / s_k}$, and $S_k$ is complex. What is the sign of a complex
number? One may read it for the real and the imaginary part, each by itself. Or one may take $|S_k|$ for the absolute
value, and its "sign" for $S_k / |S_k|$. Write both.
"""

import torch
from torch import Tensor

from ...course.checks import Checker, close, true

LEVEL, MINUTES, DIFFICULTY = "challenge", 15, 2
HINT = r"""
$S / |S| \cdot \sqrt{|S| / s}$ is $0/0$ where nothing moves; $S / \sqrt{|S|\, s}$ as well. `torch.sgn` knows what to do
with 0, of complex numbers too.
"""
NOTE = r"""
Both can be undone. The first one bends angles: a number at 10 degrees goes to 23. What turns steadily, as a stalk that
goes round in a small ellipse, becomes jerky, and a rotation of the picture no longer rotates the numbers. The second
one keeps every angle. The library has both (`spectral.Normalizer`, `reading=`).
"""


def two_readings(S: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """The square root of both readings.

    S (K, ...) complex; s (K,) above 0
    -> by components, by magnitude: both (K, ...) complex, 0 where S is 0
    """
    ratio = S / s.reshape(-1, *[1] * (S.ndim - 1))
    parts = torch.view_as_real(ratio)
    component = torch.view_as_complex(parts.sign() * parts.abs().sqrt())
    return component, torch.sgn(ratio) * ratio.abs().sqrt()


def run() -> None:
    """What becomes of an angle, for the cell of the solution."""
    S = torch.polar(torch.tensor([1.0]), torch.tensor([10.0]).deg2rad())
    for name, found in zip(("components", "magnitude"), two_readings(S, torch.ones(1))):
        print(f"10 degrees, by {name}: {found.angle().rad2deg().item():.0f} degrees")


check = Checker("5.9")
SCALE = torch.tensor([4.0, 0.5], dtype=torch.float64)


def _volume() -> Tensor:
    parts = torch.randn(2, 2, 2, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    S = 3 * torch.complex(*parts)
    S[:, :, 1] = 0
    return S


@check.property("where S is real and positive, both are sqrt(S / s)")
def _(answer):
    S = torch.tensor([[1.0, 4.0], [2.0, 0.5]], dtype=torch.complex128)
    for found in answer(S, SCALE):
        close(found, [[0.5, 1.0], [2.0, 1.0]])


@check.property("the first reading takes the real and the imaginary part by themselves, each with its sign")
def _(answer):
    found, moving = answer(_volume(), SCALE)[0], _volume().abs() > 0
    for got, part in ((found.real, _volume().real), (found.imag, _volume().imag)):
        ratio = part / SCALE[:, None, None, None]
        close(got[moving], (ratio.sign() * ratio.abs().sqrt())[moving])


@check.property("the second reading keeps every angle")
def _(answer):
    _, found = answer(_volume(), SCALE)
    turned = found * _volume().conj()
    moving = _volume().abs() > 0
    close(turned.imag[moving], torch.zeros(int(moving.sum())), atol=1e-9)
    true(bool((turned.real[moving] > 0).all()), "the same direction, not the opposite one", turned.real[moving].min())


@check.property("the second reading has the size sqrt(|S| / s)")
def _(answer):
    found, moving = answer(_volume(), SCALE)[1], _volume().abs() > 0
    close(found.abs()[moving], (_volume().abs() / SCALE[:, None, None, None]).sqrt()[moving])


@check.property("what stands still is 0 in both, and no NaN")
def _(answer):
    for found in answer(_volume(), SCALE):
        close(found[:, :, 1], torch.zeros(2, 2, 4))
