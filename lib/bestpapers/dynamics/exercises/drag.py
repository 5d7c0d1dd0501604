r"""Pull and let go

Read as vibration modes, slice $j$ of a spectral volume says how each pixel swings at frequency $f_j$: the displacement
of pixel $p$ is $F(p) = \mathrm{Re} \sum_j S_j(p)\, q_j$. Somebody pulls pixel $p$ by the vector $D$. How far is each
mode moved?

The paper's supplement gives the direction of the answer, $q_j \propto \overline{d \cdot S_j(p)}$ with
$d = D / |D|$: a mode that moves $p$ much along $d$ is moved much, and its phase is turned so that it pulls the right
way. How *long* the answer is, it does not say. Choose it such that the pulled point follows the cursor: along $d$,
it moves by $|D|$.
"""

import torch
from torch import Tensor

from ...course.checks import Checker, close, true

LEVEL, MINUTES, DIFFICULTY = "core", 15, 2
HINT = r"""
Put $q_j = g\,\overline{d\cdot S_j(p)}$ into $d \cdot F(p)$: you get $g \sum_j |d\cdot S_j(p)|^2$. Which $g$ makes that
$|D|$?
"""
NOTE = r"""
$$
q_j = |D|\; \frac{\overline{d\cdot S_j(p)}}{\sum_i |d\cdot S_i(p)|^2}
$$

Every mode pulls $p$ the right way, none against it: $d\cdot F(p)$ is a sum of squares. And the answer is mutual: what a
pull at one point does to another is what the same pull there does here, as for any elastic thing. Neither depends on
whether the slices *are* modes. That is why a pull looks plausible even where it is wrong: the shape is right, and the
timing is that of the nearest multiples of 0.2 Hz.

Across the direction of the pull the point may drift away from the cursor. The library's `rule="point"` takes care of
that.
"""


def drag(shapes: Tensor, x: int, y: int, pull: Tensor) -> Tensor:
    """How far a pull moves each mode.

    shapes (J, 2, H, W) complex, x before y; (x, y) the pixel; pull (2,) px, not 0
    -> q (J,) complex; zeros where no mode moves the pixel along the pull
    """
    length = pull.norm()
    along = shapes[:, :, y, x] @ (pull / length).to(shapes.dtype)
    total = along.abs().square().sum()
    return length * along.conj() / total.where(total > 0, 1)


def run() -> None:
    """That pulls are mutual, for the cell of the solution."""
    parts = torch.randn(2, 5, 2, 1, 2, generator=torch.Generator().manual_seed(2)).double()
    shapes, felt = torch.complex(*parts), []
    for here, there in ((0, 1), (1, 0)):  # two points, each pulled to the right
        q = drag(shapes, here, 0, torch.tensor([1.0, 0.0], dtype=torch.float64))
        force = 1 / shapes[:, 0, 0, here].abs().square().sum()  # to move it by 1 px
        felt.append((shapes[:, 0, 0, there] @ q).real / force)
    print(f"a force at A moves B by {felt[0]:.3f}, the same at B moves A by {felt[1]:.3f}")
    assert abs(felt[0] - felt[1]) < 1e-9


check = Checker("5.7")


def _shapes() -> Tensor:
    parts = torch.randn(2, 5, 2, 6, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    shapes = torch.complex(*parts)
    shapes[3] = 0  # a mode that does not reach this picture
    shapes[:, :, 0] = 0  # a row that stands still
    return shapes


def _moved(q: Tensor, x: int, y: int) -> Tensor:
    return torch.einsum("jc,j->c", _shapes()[:, :, y, x], q.to(torch.complex128)).real


PULLS = ((3, 2, (2.0, 0.0)), (7, 5, (0.0, -3.0)), (1, 4, (1.2, 1.6)))


@check.property("the pulled point moves along the pull as far as the cursor")
def _(answer):
    for x, y, pull in PULLS:
        d = torch.tensor(pull, dtype=torch.float64)
        q = answer(_shapes(), x, y, d)
        close(q.shape, (5,))
        close(_moved(q, x, y) @ d / d.norm(), d.norm(), hint="is d . F(p) = |D|? x is the column and comes first")


@check.property("every mode pulls the right way")
def _(answer):
    for x, y, pull in PULLS:
        d = torch.tensor(pull, dtype=torch.float64)
        q = answer(_shapes(), x, y, d).to(torch.complex128)
        work = (_shapes()[:, :, y, x] @ d.to(torch.complex128)) * q
        true(bool((work.real >= -1e-9).all()), "no mode that moves the point against the pull", work.real)
        close(work.imag, torch.zeros(5), atol=1e-9, hint="turn the phase of q against that of the shape")


@check.property("a mode that moves the point twice as far is moved twice as far itself")
def _(answer):
    x, y, pull = PULLS[2]
    d = torch.tensor(pull, dtype=torch.float64)
    along = (_shapes()[:, :, y, x] @ d.to(torch.complex128)).abs()
    q = answer(_shapes(), x, y, d).abs()
    close(q / q.max(), along / along.max())


@check.property("what stands still cannot be pulled: zeros, and no NaN")
def _(answer):
    close(answer(_shapes(), 4, 0, torch.tensor([1.0, 1.0], dtype=torch.float64)), torch.zeros(5), atol=1e-12)
