r"""A 3DGS scene in another viewer

A scene was trained by 3DGS, which adds 0.3 px² to each projected covariance $S$ and leaves the opacity $o$ alone. Somebody
opens it in a viewer with the 2D Mip filter, which adds 0.1 px² and multiplies the opacity by its $\rho$. Fine things turn pale.

Undo it, for one view. Find the covariance $T$ and the opacity $p$ that the other viewer has to be given so that, after *its*
filter, each splat has the width and the height that it has after that of 3DGS. An opacity is at most 1; where more would be
needed, give 1.

Then say, before you look at the solution, why no file can do this for all views at once, and for which splats the way back
(a scene of Mip-Splatting in the viewer of 3DGS) does not exist.
"""

import torch
from torch import Tensor

from ...course.checks import Checker, close, true
from ._four import F64

LEVEL, MINUTES, DIFFICULTY = "core", 15, 2
HINT = r"""
Widths first: what has to be added to $S$ so that 0.1 px² more makes $S + 0.3\,I$? Then heights: the viewer will multiply $p$
by $\sqrt{\det T / \det(T + 0.1\,I)}$.
"""
NOTE = r"""
$T = S + 0.2\,I$, so $\rho$ is never below 2/3, and only splats that were more than 2/3 opaque can need an opacity above 1. The
0.2 px² are another area in the world at each distance, so a file that is right for this view is wrong for the next one.

The way back would need $S - 0.2\,I$, which is no covariance for a splat narrower than $\sqrt{0.2} = 0.45$ px. That is the bound
of the 3D filter in the best camera: 0.2 in the scene and 0.1 on the screen together make the 0.3 of 3DGS.
"""


def redraw(cov2d: Tensor, opacities: Tensor) -> tuple[Tensor, Tensor]:
    """What a viewer with the 2D Mip filter must be given to draw a 3DGS scene as 3DGS.

    cov2d [..., 2, 2] in px^2 before any filter; opacities [...]
    -> covariances [..., 2, 2], opacities [...] of at most 1
    """
    other = cov2d + 0.2 * torch.eye(2, dtype=cov2d.dtype)
    wide = cov2d + 0.3 * torch.eye(2, dtype=cov2d.dtype)
    rho = (torch.det(other) / torch.det(wide)).sqrt()
    return other, (opacities / rho).clamp(max=1)


check = Checker("5.6")
COV = torch.tensor([[[4.0, 1.0], [1.0, 2.0]], [[0.02, 0.0], [0.0, 0.3]], [[0.01, 0.0], [0.0, 0.01]]], dtype=F64)
FAINT = torch.tensor([0.3, 0.5, 0.6], dtype=F64)
EYE = torch.eye(2, dtype=F64)


@check.property("after their filters, both have the same covariance")
def _(answer):
    close(answer(COV, FAINT)[0] + 0.1 * EYE, COV + 0.3 * EYE, hint="compared is what you return, widened by 0.1 px²")


@check.property("after their filters, both have the same height")
def _(answer):
    other, opacities = answer(COV, FAINT)
    rho = (torch.det(other) / torch.det(other + 0.1 * EYE)).sqrt()
    close(opacities * rho, FAINT, hint="compared is the opacity that you return, times the viewer's factor for it")


@check.property("where an opacity above 1 would be needed, it is 1")
def _(answer):
    close(answer(COV, torch.tensor([0.95, 0.95, 0.95], dtype=F64))[1][2], 1.0)


@check.property("a wide splat keeps its opacity, nearly, even if it is high")
def _(answer):
    wide, rho = 9 * EYE, 9.2 / 9.3
    close(answer(wide, torch.tensor(0.95, dtype=F64))[1], 0.95 / rho, hint="limit the result, not what goes in")


@check.property("axes in front stay as they are")
def _(answer):
    other, opacities = answer(COV.expand(4, 3, 2, 2), FAINT.expand(4, 3))
    true(tuple(other.shape) == (4, 3, 2, 2), "covariances of shape [4, 3, 2, 2]", list(other.shape))
    true(tuple(opacities.shape) == (4, 3), "opacities of shape [4, 3]", list(opacities.shape))
