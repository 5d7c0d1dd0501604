r"""Two plants in one picture

A slice holds all that swings at its frequency. Pull one flower of a field, and every flower of its pitch comes along: that
is how the method fails in fields ([3_reproduce](3_reproduce.ipynb), C11). Suppose somebody has told you which pixels belong
together: `ids` is 0 on the ground, 1 on the first plant, 2 on the second, and so on. Pull as in 2_build, so that the point
follows the cursor along the pull, but let only the plant move that is pulled. Several people may pull at once, each at a
plant of their own.

Where nothing can be pulled, on the ground or at a point that no mode moves, nothing happens.
"""

import torch
from torch import Tensor

from ...course.checks import Checker, close

LEVEL, MINUTES, DIFFICULTY = "core", 15, 2
HINT = r"""
The pull at $p$ moves mode $j$ by $q_j = |D|\,\overline{d\cdot S_j(p)} \,/\, \sum_i |d\cdot S_i(p)|^2$, and this asks for
nothing but pixel $p$. What has to be cut is the motion that comes of it. One set of $q$ for each pull.
"""
NOTE = r"""
The amplitudes stay as they are, since they depend on the pulled pixel alone; the mask acts on what is drawn of them. On our
twenty held-out plants it is worth much in fields, where the cosine with the simulator's pull is 0.95 over the pulled flower
and 0.33 over all that moves, and nothing for a tree, which is one body.

What a mask does not mend: a slice in which two modes of the *same* body are mixed, as in lanterns and water. And somebody
has to draw it: the spectrum does not say where one flower ends, since two flowers of one pitch are one shape to it.
"""


def own_plant(
    shapes: Tensor,
    ids: Tensor,
    pulls: list[tuple[int, int, Tensor]],
) -> Tensor:
    """How far each pixel moves when some plants are pulled.

    shapes (J, 2, H, W) complex, x before y; ids (H, W) whole numbers, 0 is the ground;
    pulls: (x, y, D) for each plant that is pulled, D (2,) px, not 0
    -> (2, H, W) real, px
    """
    moved = torch.zeros_like(shapes[0].real)
    for x, y, D in pulls:
        along = shapes[:, :, y, x] @ (D / D.norm()).to(shapes.dtype)
        total = along.abs().square().sum()
        q = D.norm() * along.conj() / total.where(total > 0, 1)
        own = (ids == ids[y, x]) & (ids > 0)
        moved = moved + own * torch.einsum("jchw,j->chw", shapes, q).real
    return moved


def run() -> None:
    """How much of the motion the mask takes away, for the cell of the solution."""
    parts = torch.randn(2, 5, 2, 4, 6, generator=torch.Generator().manual_seed(2)).double()
    shapes, ids = torch.complex(*parts), torch.tensor([1, 1, 0, 0, 2, 2]).expand(4, 6)
    pull = [(0, 1, torch.tensor([2.0, 0.0], dtype=torch.float64))]
    own = own_plant(shapes, ids, pull).square().sum()
    everything = own_plant(shapes, torch.ones_like(ids), pull).square().sum()
    print(f"without a mask {1 - own / everything:.0%} of the energy is that of others")


check = Checker("5.7")


def _shapes() -> Tensor:
    parts = torch.randn(2, 5, 2, 6, 12, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    shapes = torch.complex(*parts)
    shapes[:, :, :, 0] = 0  # a column of the first plant that no mode moves
    return shapes


def _ids() -> Tensor:
    ids = torch.zeros(6, 12, dtype=torch.int64)
    ids[1:, :5], ids[:5, 7:] = 1, 2  # two plants, not of one size, and ground around them
    return ids


PULLS = ((2, 2, (2.0, 0.0)), (9, 1, (0.0, -3.0)), (4, 5, (1.2, 1.6)))


def _pull(n: int) -> tuple[int, int, Tensor]:
    x, y, D = PULLS[n]
    return x, y, torch.tensor(D, dtype=torch.float64)


@check.property("the pulled point follows the cursor along the pull")
def _(answer):
    for n in range(len(PULLS)):
        x, y, D = _pull(n)
        found = answer(_shapes(), _ids(), [(x, y, D)])
        close(found.shape, (2, 6, 12))
        close(found[:, y, x] @ D / D.norm(), D.norm(), hint="is d . F(p) = |D|? x is the column and comes first")


@check.property("another plant does not move, nor does the ground")
def _(answer):
    for n in range(len(PULLS)):
        x, y, D = _pull(n)
        other = _ids() != _ids()[y, x]
        close(answer(_shapes(), _ids(), [(x, y, D)])[:, other], torch.zeros(2, int(other.sum())), atol=1e-12)


@check.property("the pulled plant takes the shape of its modes, all of them")
def _(answer):
    x, y, D = _pull(0)
    along = _shapes()[:, :, y, x] @ (D / D.norm()).to(torch.complex128)
    q = D.norm() * along.conj() / along.abs().square().sum()
    shape = torch.einsum("jchw,j->chw", _shapes(), q).real
    own = _ids() == 1
    close(answer(_shapes(), _ids(), [(x, y, D)])[:, own], shape[:, own], atol=1e-9)


@check.property("two pulls at two plants: each moves as if it were alone")
def _(answer):
    both = answer(_shapes(), _ids(), [_pull(0), _pull(1)])
    close(both, sum(answer(_shapes(), _ids(), [_pull(n)]) for n in (0, 1)), atol=1e-9, hint="has each pull its own q?")


@check.property("the ground cannot be pulled, nor what no mode moves: zeros, and no NaN")
def _(answer):
    D = torch.tensor([1.0, 1.0], dtype=torch.float64)
    for x, y in ((6, 3), (0, 3)):
        close(answer(_shapes(), _ids(), [(x, y, D)]), torch.zeros(2, 6, 12), atol=1e-12)
