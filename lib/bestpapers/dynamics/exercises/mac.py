r"""Are these the same mode?

A spectral slice is said to be a vibration mode of the plant. Where the true modes are known, that can be tested. Two
shapes are the same if they differ by a factor, also a complex one, which turns the phase. The *modal assurance
criterion* does not see factors:

$$\mathrm{MAC}(\varphi, \psi) = \frac{|\varphi^H \psi|^2}{|\varphi|^2\, |\psi|^2},$$

1 for the same shape, 0 for orthogonal ones. $\varphi^H\psi$ sums over pixels and both directions. Compare every shape
of one list with every shape of another, over the pixels of a mask.
"""

import torch
from torch import Tensor

from ...course.checks import Checker, close, true

LEVEL, MINUTES, DIFFICULTY = "core", 10, 1
HINT = r"""
Make each shape a row of numbers, `shapes[:, :, mask]` flattened. Then all products are one product of matrices, with
the first one conjugated.
"""
NOTE = r"""
It is the squared cosine of an angle, so it forgives: 0.9 is an angle of 18 degrees. And it has a failure of its own:
two flowers that swing apart at nearly one frequency are in one slice together, and a mode of the one alone can get no
more than its share of the energy. So compare on the pixels that the true mode moves.
"""


def mac(a: Tensor, b: Tensor, mask: Tensor) -> Tensor:
    """Modal assurance criterion of all pairs.

    a (I, 2, H, W), b (J, 2, H, W) complex; mask (H, W) bool: the pixels that count
    -> (I, J) real, 0 to 1; 0 where one of the two shapes is 0
    """
    u, v = a[:, :, mask].flatten(1), b[:, :, mask].flatten(1)
    products = (u.conj() @ v.T).abs().square()
    sizes = u.abs().square().sum(1)[:, None] * v.abs().square().sum(1)
    return products / sizes.where(sizes > 0, 1)


check = Checker("5.8")
MASK = torch.ones(5, 6, dtype=torch.bool)


def _shapes(n: int) -> Tensor:
    parts = torch.randn(2, n, 2, 5, 6, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    return torch.complex(*parts)


@check.property("a shape and itself, turned in phase and ten times as large: 1")
def _(answer):
    a = _shapes(3)
    turned = a * torch.polar(torch.tensor(10.0), torch.tensor(1.1)).to(a.dtype)
    found = answer(a, turned, MASK)
    close(found.shape, (3, 3))
    close(found.diagonal(), torch.ones(3), hint="one of the two is conjugated")


@check.property("shapes without a common direction: 0")
def _(answer):
    a = torch.zeros(2, 2, 5, 6, dtype=torch.complex128)
    a[0, 0] = 1.0
    a[1, 1] = torch.tensor(1j)
    close(answer(a, a, MASK), torch.eye(2), atol=1e-12)


@check.property("every shape of the one list with every shape of the other, and real numbers from 0 to 1")
def _(answer):
    a, b = _shapes(2), _shapes(4)
    found = answer(a, b, MASK)
    close(found.shape, (2, 4))
    true(not torch.is_complex(found), "real numbers", found)
    want = [[abs(torch.vdot(u.flatten(), v.flatten())) ** 2 / (u.norm() * v.norm()) ** 2 for v in b] for u in a]
    close(found, torch.tensor(want), hint="which of the two is conjugated, and what is squared?")


@check.property("pixels outside the mask do not count")
def _(answer):
    a, b, mask = _shapes(2), _shapes(4), MASK.clone()
    mask[2:] = False
    before = answer(a, b, mask)
    a[:, :, 3] = 100.0
    b[:, :, 4] = -7.0
    close(answer(a, b, mask), before)


@check.property("a shape of zeros gets 0, and no NaN")
def _(answer):
    close(answer(0 * _shapes(2), _shapes(4), MASK), torch.zeros(2, 4))
