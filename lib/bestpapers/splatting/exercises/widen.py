r"""Three filters in one function

Most renderers widen a projected Gaussian, $S' = S + \varepsilon I$, so that it cannot fall between two pixels. They differ
in $\varepsilon$ and in what happens to the opacity:

| method | $\varepsilon$ | opacity |
| --- | --- | --- |
| `"3dgs"` | 0.3 px² | stays |
| `"ewa"` | 0.3 px² | times $\rho$ |
| `"mip"` | 0.1 px² | times $\rho$ |

with $\rho = \sqrt{\det S / \det S'}$. Write all three as one function. One input of the checker is a needle: its
determinant is so small that rounding makes it negative.
"""

import torch
from torch import Tensor

from ...course.checks import Checker, close, true
from ...kernels.rasterize.reference import composite
from ._four import F64, HEIGHT, MEANS, OPACITIES, QUATS, SCALES, WIDTH, K
from .covariance import covariance
from .project import project

LEVEL, MINUTES, DIFFICULTY = "core", 10, 1
HINT = r"""
The three methods are two switches: the number $\varepsilon$, and whether the factor is $\rho$ or 1. `torch.det` works on
the last two axes, whatever stands before them.
"""
NOTE = r"""
The checker's fourth property is the paper's point in one number. At a quarter of the resolution, a picture holds a
sixteenth of the pixels, so it should hold a sixteenth of the light. With $\rho$ it does, for the four splats together
and on average over where in a pixel a splat lies; with dilation alone it keeps 2.3 times too much.
"""


def widen(cov2d: Tensor, method: str) -> tuple[Tensor, Tensor]:
    """Widen projected Gaussians as a method does.

    cov2d [..., 2, 2] in px^2; method "3dgs", "ewa" or "mip"
    -> widened [..., 2, 2], factor of the opacity [...]
    """
    eps = 0.1 if method == "mip" else 0.3  # px^2
    wide = cov2d + eps * torch.eye(2, dtype=cov2d.dtype)
    if method == "3dgs":
        return wide, torch.ones_like(cov2d[..., 0, 0])
    return wide, (torch.det(cov2d).clamp(min=0) / torch.det(wide)).sqrt()


check = Checker("5.3")
COV = torch.tensor([[[4.0, 1.0], [1.0, 2.0]], [[0.02, 0.0], [0.0, 0.3]]], dtype=F64)
METHODS = ("3dgs", "ewa", "mip")


@check.property("the variance goes on the diagonal only")
def _(answer):
    for method in METHODS:
        wide, _factor = answer(COV, method)
        close(wide[..., 0, 1], COV[..., 0, 1], hint="a round filter does not tilt an ellipse")
        close(wide[..., 0, 0] - COV[..., 0, 0], wide[..., 1, 1] - COV[..., 1, 1], hint="as much in y as in x")


@check.property("3DGS and EWA add 0.3 px², Mip-Splatting 0.1 px²")
def _(answer):
    for method, eps in zip(METHODS, (0.3, 0.3, 0.1), strict=True):
        close(answer(COV, method)[0], COV + eps * torch.eye(2, dtype=F64))


@check.property("3DGS leaves the opacity alone")
def _(answer):
    close(answer(COV, "3dgs")[1], torch.ones(2))


@check.property("at a quarter of the resolution, EWA and Mip-Splatting draw a sixteenth of the light")
def _(answer):
    for method in ("ewa", "mip"):
        falls = _light(answer, method, 1) / _light(answer, method, 4)
        true(
            abs(falls / 16 - 1) < 0.01,
            "16 within 1 %, light at 128 x 96 px over light at 32 x 24 px, for four splats together",
            f"{falls:.3g} with {method!r}",
            hint="a Gaussian's volume is its height times the root of its determinant",
        )


@check.property("a needle whose determinant rounds below 0 gets the factor 0, not NaN")
def _(answer):
    needle = torch.tensor([[1.0, 1.0 + 1e-9], [1.0 + 1e-9, 1.0]], dtype=F64)
    for method in ("ewa", "mip"):
        close(answer(needle, method)[1], 0.0, atol=1e-3)


@check.property("axes in front stay as they are")
def _(answer):
    for method in METHODS:
        wide, factor = answer(COV.expand(3, 2, 2, 2), method)
        true(tuple(wide.shape) == (3, 2, 2, 2), "covariances of shape [3, 2, 2, 2]", list(wide.shape))
        true(tuple(factor.shape) == (3, 2), "factors of shape [3, 2]", list(factor.shape))


def _light(answer, method: str, smaller: int) -> float:
    """Sum of alpha over all pixels of the four Gaussians, drawn with the reader's filter at 1 / smaller of the size."""
    width, height = WIDTH // smaller, HEIGHT // smaller
    small = torch.diag(torch.tensor([1 / smaller, 1 / smaller, 1], dtype=F64)) @ K
    centres, S = project(MEANS, covariance(QUATS, SCALES), torch.eye(4, dtype=F64), small, width, height)
    wide, factor = answer(S, method)
    Q = torch.linalg.inv(wide)
    conics = torch.stack([Q[:, 0, 0], Q[:, 0, 1], Q[:, 1, 1]], -1)
    nothing = torch.zeros(1, 4, 1, dtype=F64)
    alphas = composite(
        centres[None], conics[None], nothing, (OPACITIES * factor)[None], MEANS[None, :, 2], width, height
    )[1]
    return alphas.sum().item()
