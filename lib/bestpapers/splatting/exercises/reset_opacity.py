r"""Opacity reset with the filter

During training, 3DGS now and then lowers every opacity to at most 0.01, and lets the loss say which splats are needed. With
a 3D filter, a splat is *drawn* with $o' = o\,c$, where $c = \prod_i s_i / s'_i$ is the filter's factor. What has to be at
most 0.01 is the drawn opacity, so the stored one becomes $\min(o c,\, 0.01) / c$.

Write the reset on logits. Splats that are faint enough keep the logit that they have.
"""

import torch
from torch import Tensor

from ...course.checks import Checker, close

LEVEL, MINUTES, DIFFICULTY = "core", 15, 2
HINT = r"""
`torch.where(too_opaque, new, old)` with *logits* on both sides. How opaque a splat must be stored so that it is drawn with
0.01 does not depend on how opaque it was.
"""
NOTE = r"""
Reset the stored opacity as plain 3DGS does, and a splat whose factor is 0.1 is drawn with 0.001: below the 1/255 at which a
renderer skips it. It gets no gradient any more and can never come back.

Going through the sigmoid and back is no harmless detour either. An opacity that rounds to 1 has no finite logit.
"""


def reset_opacity(logits: Tensor, factors: Tensor) -> Tensor:
    """Lower the opacities, as they are drawn, to at most 0.01.

    logits [N] of the stored opacities; factors [N] of the 3D filter, in (0, 1]
    -> logits [N]
    """
    drawn = logits.sigmoid() * factors
    return torch.where(drawn > 0.01, torch.logit(0.01 / factors), logits)


check = Checker("5.7")


def _64(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


@check.property("without a filter, what was more opaque has 0.01")
def _(answer):
    close(answer(torch.logit(_64(0.9, 0.5, 0.02)), _64(1, 1, 1)).sigmoid(), _64(0.01, 0.01, 0.01), rtol=0, atol=1e-12)


@check.property("with a filter, what was drawn more opaque is drawn with 0.01")
def _(answer):
    factors = _64(0.9, 0.35, 0.1)
    drawn = answer(torch.logit(_64(0.9, 0.5, 0.5)), factors).sigmoid() * factors
    close(
        drawn,
        _64(0.01, 0.01, 0.01),
        rtol=0,
        atol=1e-12,
        hint="compared is the sigmoid of what you return, times the factor",
    )


@check.property("what was drawn fainter keeps its logit")
def _(answer):
    logits = torch.logit(_64(0.005, 0.02, 0.9))
    close(answer(logits, _64(1, 0.4, 0.01)), logits, rtol=0, atol=1e-12)


@check.property("an opacity that rounds to 1 gets no infinite logit")
def _(answer):
    close(
        answer(_64(50.0), _64(0.005)), _64(50.0), hint="the sigmoid of 50 rounds to 1, and the logit of 1 is infinite"
    )
