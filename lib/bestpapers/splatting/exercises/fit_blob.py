r"""Scale collapse

Why does training not notice the dilation? Because it fits the splat to its renderer. Do the fit for one splat.

Given is a picture of a round blob in the middle of the image. Find the variance $v$ and the opacity $o$ of the splat that,
drawn by a renderer, comes closest to it in squared distance. The renderer draws, at a distance of $x$ and $y$ px from the
middle,

$$a(x, y) = o\,\rho\,\exp\left(-\frac{x^2 + y^2}{2 (v + \varepsilon)}\right), \qquad
\rho = \frac{v}{v + \varepsilon} \text{ with compensation, else } 1 .$$

The variance lies between 0 and 3 px². 0.01 px² is accurate enough. The opacity may come out above 1: that is a finding.
"""

import math

import numpy as np
import torch
from torch import Tensor

from ...course.checks import Checker, close, true
from ._four import F64

LEVEL, MINUTES, DIFFICULTY = "challenge", 35, 3
HINT = r"""
For a given $v$ the best height is a closed formula: the picture times the bell, summed, over the bell's squares, summed. So
try all variances on a fine grid and take the best. The bell is a product of a row and a column.
"""
NOTE = r"""
A sensor averages over its pixel, which adds the box's variance of 1/12 px². The renderer will add $\varepsilon$. So a blob
of $v$ comes back as $v + 1/12 - \varepsilon$: under dilation too small by 0.22 px², and as a point if it was smaller than
that. Under the Mip filter it comes back almost as it was. EWA needs more than full opacity for small blobs, which a sigmoid
cannot give.
"""


def fit_blob(image: Tensor, eps: float, compensate: bool) -> tuple[float, float]:
    """The splat that a renderer fits to a round blob.

    image [K, K] with K odd, the blob on the middle pixel; eps in px^2;
    compensate: is the opacity multiplied by rho?
    -> variance in px^2 before widening, opacity
    """
    at = torch.arange(len(image), dtype=image.dtype) - len(image) // 2
    variances = torch.linspace(0.001, 3, 3000, dtype=image.dtype)
    # [3000, K]; the splat is a bell in x times one in y
    bells = torch.exp(-(at**2) / (2 * (variances[:, None] + eps)))
    squares = (bells**2).sum(1) ** 2
    heights = ((bells @ image) * bells).sum(1) / squares
    error = (image**2).sum() - heights**2 * squares
    i = int(error.argmin())
    v, height = variances[i].item(), heights[i].item()
    return v, height * (v + eps) / v if compensate else height


check = Checker("5.9")
AT = np.arange(25) - 12.0


def _drawn(v: float, opacity: float, eps: float, compensate: bool) -> Tensor:
    """What a renderer draws."""
    bell = np.exp(-(AT**2) / (2 * (v + eps)))
    return torch.tensor(opacity * (v / (v + eps) if compensate else 1) * np.outer(bell, bell), dtype=F64)


def _seen(v: float, opacity: float = 0.7) -> Tensor:
    """What a sensor sees: the mean over each pixel's square."""
    edges = [math.erf(x / math.sqrt(2 * v)) for x in np.append(AT - 0.5, AT[-1] + 0.5)]
    line = math.sqrt(math.pi * v / 2) * np.diff(edges)
    return torch.tensor(opacity * np.outer(line, line), dtype=F64)


@check.property("what a dilating renderer has drawn comes back")
def _(answer):
    close(answer(_drawn(0.5, 0.6, 0.3, False), 0.3, False), (0.5, 0.6), rtol=0, atol=0.02)


@check.property("what a compensating renderer has drawn comes back")
def _(answer):
    close(
        answer(_drawn(0.5, 0.6, 0.1, True), 0.1, True), (0.5, 0.6), rtol=0, atol=0.02, hint="the height is o times rho"
    )


@check.property("no other splat comes closer to a blob with a halo, which no single splat can draw")
def _(answer):
    halo = _drawn(0.4, 0.5, 0, False) + _drawn(2.0, 0.2, 0, False)

    def distance(v: float, opacity: float) -> float:
        return ((_drawn(v, opacity, 0.1, True) - halo) ** 2).sum().item()

    found, best = distance(*answer(halo, 0.1, True)), distance(*fit_blob(halo, 0.1, True))
    true(found < 1.02 * best, f"a squared distance of {best:.4f}, at most 2 % more", f"{found:.4f}")


@check.property("a blob of v that a sensor saw comes back as v + 1/12 - eps")
def _(answer):
    for v, eps, compensate in ((0.4, 0.3, False), (0.8, 0.3, False), (0.2, 0.1, True), (0.8, 0.1, True)):
        close(answer(_seen(v), eps, compensate)[0], v + 1 / 12 - eps, rtol=0, atol=0.02)


@check.property("under dilation, a blob below 0.217 px² comes back as a point")
def _(answer):
    for v in (0.1, 0.2):
        found = answer(_seen(v), 0.3, False)[0]
        true(0 <= found < 0.02, "a variance of 0 to 0.02 px²", found, hint="a variance is not negative")


@check.property("under EWA, a blob of 0.4 px² needs more than full opacity")
def _(answer):
    close(answer(_seen(0.4), 0.3, True)[1], 1.48, rtol=0, atol=0.05)
