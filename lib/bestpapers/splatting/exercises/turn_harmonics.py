r"""Turn the harmonics

Turn a whole scene and the camera with it, and the picture should stay as it was. Means and quaternions turn easily. The
colours do not: they are functions of the direction of view, stored as coefficients of spherical harmonics. Direction $d$ used
to show the colour $c(d) = \sum_k b_k(d)\,h_k$. After a turn $R$, the new coefficients $h'$ have to show that colour in
direction $R d$.

Find $h'$ for all 16 coefficients of degree 0 to 3. `reference.spherical_harmonics(3, dirs, coeffs)` evaluates harmonics:
`dirs` [M, 3] of any length and `coeffs` [16, D] give [M, D].
"""

import torch
from torch import Tensor

from ...course.checks import Checker, close
from ...kernels.rasterize import reference
from ._four import F64

LEVEL, MINUTES, DIFFICULTY = "challenge", 30, 3
HINT = r"""
You need no formula for turned harmonics. The 16 unknowns (of each colour) enter linearly: each direction gives one
equation. Take more directions than unknowns, and `torch.linalg.lstsq`. The identity matrix as coefficients gives you the
basis itself.
"""
NOTE = r"""
The residual of the least squares is zero, because a turned harmonic is a mix of harmonics of the same degree. So degree 0
never changes: a scene with constant colours turns for free. A tool that turns means and quaternions only leaves highlights
where they were.
"""


def turn_harmonics(coeffs: Tensor, R: Tensor) -> Tensor:
    """Coefficients of the turned scene.

    coeffs [16, D]; R [3, 3], the rotation of the scene -> [16, D]
    """
    chance = torch.Generator().manual_seed(0)
    dirs = torch.randn(100, 3, generator=chance, dtype=coeffs.dtype)
    basis = torch.eye(16, dtype=coeffs.dtype)
    turned = reference.spherical_harmonics(3, dirs @ R.T, basis)  # [100, 16]
    colors = reference.spherical_harmonics(3, dirs, coeffs)  # [100, D]
    return torch.linalg.lstsq(turned, colors).solution


check = Checker("5.10")
TURN = reference.rotation_matrices(torch.tensor([0.7, 0.2, -0.5, 0.4], dtype=F64))
DIRS = torch.randn(50, 3, generator=torch.Generator().manual_seed(5), dtype=F64)
COEFFS = torch.randn(16, 3, generator=torch.Generator().manual_seed(6), dtype=F64)


def _only(first: int, last: int) -> Tensor:
    """The coefficients from `first` up to, not including, `last`; the others 0."""
    kept = torch.zeros_like(COEFFS)
    kept[first:last] = COEFFS[first:last]
    return kept


def _same_colours(answer, coeffs: Tensor, hint: str = "") -> None:
    before = reference.spherical_harmonics(3, DIRS, coeffs)
    after = reference.spherical_harmonics(3, DIRS @ TURN.T, answer(coeffs, TURN))
    close(after, before, rtol=0, atol=1e-8, hint=hint)


@check.property("degree 0, one colour from all sides, stays as it is")
def _(answer):
    close(answer(_only(0, 1), TURN), _only(0, 1), rtol=0, atol=1e-8)


@check.property("degree 1 turns with the scene")
def _(answer):
    _same_colours(answer, _only(1, 4), "compared are colours: before in direction d, after in direction R d")


@check.property("degrees 2 and 3 turn with the scene")
def _(answer):
    _same_colours(answer, _only(4, 16), "compared are colours: before in direction d, after in direction R d")


@check.property("any number of channels")
def _(answer):
    close(answer(COEFFS[:, :1], torch.eye(3, dtype=F64)), COEFFS[:, :1], rtol=0, atol=1e-8)
