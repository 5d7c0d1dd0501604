r"""Fuse

After training, the 3D filter no longer changes. A viewer that knows nothing of the 3D filter draws it all the same if you
fold it into what is stored: log-scales and opacity logits. (The 2D filter cannot be folded in. It stays the viewer's business,
and a viewer with another one draws another picture.) With $s'_i = \sqrt{s_i^2 + \varphi^2}$, the opacity that is drawn
is $o' = o \prod_i s_i / s'_i$.

Write the function. Then say, before you run it, what happens when somebody calls it twice.
"""

import torch
from torch import Tensor

from ...course.checks import Checker, close, true
from ..model import GaussianConfig, Gaussians
from ._four import F64, HEIGHT, MEANS, OPACITIES, QUATS, SCALES, WIDTH, K

LEVEL, MINUTES, DIFFICULTY = "core", 15, 1
HINT = r"""
Undo the activations, filter, apply them again: `exp` and `log`, `sigmoid` and `logit`. The product runs over the three axes
of each Gaussian.
"""
NOTE = r"""
A second call filters again, with the same $\varphi$: variances grow by $2\varphi^2$ in all. The function cannot know that
its input has been fused. That is why a fused *file* leaves the filter's size out, and why a fused scene should not be
trained on.
"""


def fuse(log_scales: Tensor, logits: Tensor, phi: Tensor) -> tuple[Tensor, Tensor]:
    """Fold the 3D filter into the parameters.

    log_scales [N, 3]; logits [N] of the opacities; phi [N], the filter's standard
    deviation -> log_scales [N, 3], logits [N]
    """
    scales = log_scales.exp()
    wide = (scales**2 + phi[:, None] ** 2).sqrt()
    return wide.log(), torch.logit(logits.sigmoid() * (scales / wide).prod(-1))


check = Checker("5.6")
PHI = torch.tensor([0.06, 0.03, 0.015, 0.018], dtype=F64)
LOGITS = torch.logit(OPACITIES)
WIDE = (SCALES**2 + PHI[:, None] ** 2).sqrt()


@check.property("squares of scales grow by the square of phi")
def _(answer):
    close(answer(SCALES.log(), LOGITS, PHI)[0].exp(), WIDE, hint="compared are the scales, exp of what you return")


@check.property("opacities shrink by the product of s / s'")
def _(answer):
    close(
        answer(SCALES.log(), LOGITS, PHI)[1].sigmoid(),
        OPACITIES * (SCALES / WIDE).prod(-1),
        hint="compared are the opacities, sigmoid of what you return",
    )


@check.property("the fused scene and the filtered one give the same picture, to 1e-10")
def _(answer):
    pictures = []
    for log_scales, logits, phi in ((SCALES.log(), LOGITS, PHI), (*answer(SCALES.log(), LOGITS, PHI), 0 * PHI)):
        parameters = dict(
            means=MEANS, quats=QUATS, log_scales=log_scales, opacity_logits=logits,
            sh_dc=torch.ones(4, 1, 3, dtype=F64), sh_rest=torch.zeros(4, 0, 3, dtype=F64),
        )  # fmt: skip
        scene = Gaussians(parameters, GaussianConfig("mip"), phi)
        with torch.no_grad():
            view = torch.eye(4, dtype=F64)[None]
            pictures.append(scene.rasterize(view, K[None], WIDTH, HEIGHT, backend="reference").colors)
    worst = (pictures[0] - pictures[1]).abs().max().item()
    true(worst < 1e-10, "pixels that differ by less than 1e-10", f"{worst:.1e}", hint="is all of it float64?")


@check.property("a second call filters once more")
def _(answer):
    twice = answer(*answer(SCALES.log(), LOGITS, PHI), PHI)
    close(
        twice[0].exp(),
        (SCALES**2 + 2 * PHI[:, None] ** 2).sqrt(),
        hint="the function cannot know that it was called before",
    )
