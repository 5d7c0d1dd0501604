r"""A compositor

At each pixel, each splat has a share $\alpha$. Splats are blended from near to far: splat $i$ adds $T \alpha_i c_i$, where
$T$ is the light that all splats before it have let through, and then $T$ becomes $T (1 - \alpha_i)$. Three rules come on
top:

- a share is at most 0.99, so that $T$ never becomes 0;
- a share below 1/255 is skipped, since an 8-bit image could not show it;
- a pixel is *finished* at the first splat that would leave $T \le 10^{-4}$. That splat is not drawn, and nothing behind it.
"""

import torch
from torch import Tensor

from ...course.checks import Checker, close
from ._four import F64

LEVEL, MINUTES, DIFFICULTY = "challenge", 20, 2
HINT = r"""
Loop over the splats, from near to far, and treat all pixels at once. Keep two tensors of shape [P]: $T$, and whether the
pixel is still going. `torch.where` turns "is skipped" into $\alpha = 0$.
"""
NOTE = r"""
$T$ only falls, so a pixel that is finished would also refuse every later splat that is as opaque, but not a fainter one. That
is why "finished" needs a memory. A fast renderer gains most from this rule: it leaves the loop.
"""


def blend(alphas: Tensor, colors: Tensor, depths: Tensor) -> tuple[Tensor, Tensor]:
    """Blend N splats into P pixels.

    alphas [P, N] in [0, 1], in any order of depth; colors [N, 3]; depths [N]
    -> colours [P, 3], light left over T [P]
    """
    light, T = alphas.new_zeros(len(alphas), 3), alphas.new_ones(len(alphas))
    going = torch.ones_like(T, dtype=torch.bool)
    for i in depths.argsort():
        a = alphas[:, i].clamp(max=0.99)
        a = torch.where(a >= 1 / 255, a, 0.0)
        going = going & (T * (1 - a) > 1e-4)
        a = torch.where(going, a, 0.0)
        light = light + (T * a)[:, None] * colors[i]
        T = T * (1 - a)
    return light, T


check = Checker("5.4")
RGB = torch.eye(3, dtype=F64)
DEPTHS = torch.tensor([1.0, 2.0, 3.0], dtype=F64)


def _pixel(answer, shares, colors=RGB, depths=DEPTHS):
    light, T = answer(torch.tensor([shares], dtype=F64), colors[: len(shares)], depths[: len(shares)])
    return light[0], T[0]


@check.property("one splat gives its share of its colour")
def _(answer):
    close(_pixel(answer, [0.25])[0], [0.25, 0, 0])


@check.property("a near splat takes light from those behind it")
def _(answer):
    close(_pixel(answer, [0.5, 0.5, 0.4])[0], [0.5, 0.25, 0.1])


@check.property("depth decides the order, not the place in the array")
def _(answer):
    order = [2, 0, 1]
    shares = torch.tensor([[0.5, 0.5, 0.4]], dtype=F64)
    close(answer(shares[:, order], RGB[order], DEPTHS[order])[0][0], [0.5, 0.25, 0.1])


@check.property("what all splats took and what is left make 1")
def _(answer):
    white = torch.ones(3, 3, dtype=F64)
    light, T = _pixel(answer, [0.5, 0.5, 0.4], white)
    close(light[0] + T, 1.0)


@check.property("no share is above 0.99")
def _(answer):
    close(_pixel(answer, [1.0, 0.5])[0], [0.99, 0.005, 0])


@check.property("a share below 1/255 is skipped, one just above is not")
def _(answer):
    close(_pixel(answer, [0.0039, 0.5])[0], [0, 0.5, 0])
    close(_pixel(answer, [0.0040, 0.5])[0], [0.004, 0.498, 0])


@check.property("the splat that would leave too little light is not drawn")
def _(answer):
    light, T = _pixel(answer, [0.98, 0.98, 0.98])
    close(light, [0.98, 0.0196, 0])
    close(T, 0.0004, hint="the third would leave 0.000008")


@check.property("nothing behind it is drawn either")
def _(answer):
    colors, depths = torch.cat([RGB, RGB[2:]]), torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=F64)
    light, _T = _pixel(answer, [0.98, 0.98, 0.98, 0.1], colors, depths)
    close(light, [0.98, 0.0196, 0], hint="the fourth is faint and would leave enough; but this pixel is finished")


@check.property("each pixel for itself")
def _(answer):
    light, _T = answer(torch.tensor([[0.98, 0.98, 0.98], [0.5, 0.5, 0.4]], dtype=F64), RGB, DEPTHS)
    close(light, [[0.98, 0.0196, 0], [0.5, 0.25, 0.1]])
