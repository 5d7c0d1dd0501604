r"""Which splats does the grid miss?

A renderer asks each splat for its height at the *centres* of pixels, and skips what is below 1/255. A hand trembles, and the
grid of pixels moves by a part of a pixel. Which splats leave no trace in any pixel?

Pixel $i$ covers the interval $[i + a,\; i + 1 + a]$ along x, where $(a, b)$ is the shift of the grid in px, and likewise along
y with $b$. The grid has no end. The splats are round, of standard deviation $g$ on the screen, and each is widened as its
method says (the table of exercise 5.3). Nothing else stands before them.

When you are done, try 200 splats of 0.02 to 0.2 px under each method: how many come or go as the grid moves by 0.3 px?
"""

import math

import torch
from torch import Tensor

from ...course.checks import Checker, close, true
from ._four import F64

LEVEL, MINUTES, DIFFICULTY = "core", 20, 2
HINT = r"""
The nearest pixel decides: if it does not see the splat, none does. Its centre lies at $i + \tfrac12 + a$ for some whole $i$, so
the way to it along x is what is left of $x - a - \tfrac12$ after rounding.
"""
NOTE = r"""
Under 3DGS hardly any splat is missed: that is what the dilation was made for. With $\rho$ the height of a tiny splat is tiny
too, and in the corner between four pixels it falls below 1/255. So it comes and goes as the camera moves: it flickers.
EWA's wider filter differs less from place to place, and lowers the height more. Light is kept on average over places, up to
what the 1/255 takes away.
"""


def missed(
    centres: Tensor,
    stds: Tensor,
    opacities: Tensor,
    method: str,
    shift: tuple[float, float],
) -> Tensor:
    """Which splats no pixel sees.

    centres [N, 2] and stds [N] in px, opacities [N]; method "3dgs", "ewa" or "mip";
    shift of the grid along x and y in px -> [N], true where the splat is missed
    """
    variance = stds**2 + (0.1 if method == "mip" else 0.3)
    height = opacities if method == "3dgs" else opacities * stds**2 / variance
    away = centres - torch.tensor(shift, dtype=centres.dtype) - 0.5
    away = away - away.round()  # to the centre of the nearest pixel
    return height * torch.exp(-away.square().sum(-1) / (2 * variance)) < 1 / 255


check = Checker("5.13")
METHODS = ("3dgs", "ewa", "mip")
STILL = (0.0, 0.0)
TINY = torch.tensor([0.05], dtype=F64)
HIGH = torch.tensor([0.9], dtype=F64)
MIDDLE, CORNER = torch.tensor([[7.5, 3.5]], dtype=F64), torch.tensor([[7.0, 3.0]], dtype=F64)


@check.property("a splat as wide as a pixel is seen wherever it lies")
def _(answer):
    for method in METHODS:
        for place in (MIDDLE, CORNER):
            close(answer(place, torch.ones(1, dtype=F64), HIGH, method, STILL), torch.tensor([False]))


@check.property("under the Mip filter a tiny splat is seen in the middle of a pixel and missed in a corner")
def _(answer):
    hint = "pixel i has its centre at i + 0.5"
    close(answer(MIDDLE, TINY, HIGH, "mip", STILL), torch.tensor([False]), hint=hint)
    close(answer(CORNER, TINY, HIGH, "mip", STILL), torch.tensor([True]), hint=hint)


@check.property("under 3DGS it is seen in both")
def _(answer):
    for place in (MIDDLE, CORNER):
        close(answer(place, TINY, HIGH, "3dgs", STILL), torch.tensor([False]), hint="3DGS does not lower the height")


@check.property("a grid that moves by half a pixel makes a corner of the middle")
def _(answer):
    close(answer(MIDDLE, TINY, HIGH, "mip", (0.5, 0.5)), torch.tensor([True]))
    close(answer(CORNER, TINY, HIGH, "mip", (0.5, 0.5)), torch.tensor([False]))


@check.property("a grid that moves by whole pixels changes nothing")
def _(answer):
    splats = _splats()
    close(answer(*splats, "mip", (3.0, -2.0)), answer(*splats, "mip", STILL))


@check.property("of 200 splats, the same are missed as when every pixel is asked")
def _(answer):
    for method in METHODS:
        for shift in (STILL, (0.3, -0.2)):
            found, wanted = answer(*_splats(), method, shift), _by_asking(*_splats(), method, shift)
            true(
                tuple(found.shape) == (200,) and bool((found == wanted).all()),
                f"{int(wanted.sum())} of 200 missed with {method!r} and a shift of {shift}",
                f"{int(found.sum())}, {int((found != wanted).sum())} of them otherwise than wanted",
                hint="which way does a pixel's centre go when the grid moves to the right?",
            )


def _splats() -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    centres, sizes, opacities = (torch.rand(200, *n, generator=draw, dtype=F64) for n in ((2,), (), ()))
    return 2 + 4 * centres, 0.02 + 0.18 * sizes, 0.3 + 0.6 * opacities


def _by_asking(centres: Tensor, stds: Tensor, opacities: Tensor, method: str, shift: tuple[float, float]) -> Tensor:
    """The same, from the values at the centres of 8 x 8 pixels."""
    seen = []
    for (x, y), g, o in zip(centres.tolist(), stds.tolist(), opacities.tolist(), strict=True):
        variance = g**2 + (0.1 if method == "mip" else 0.3)
        height = o if method == "3dgs" else o * g**2 / variance
        grid = [(i + 0.5 + shift[0], j + 0.5 + shift[1]) for i in range(8) for j in range(8)]
        seen.append(max(height * math.exp(-((u - x) ** 2 + (v - y) ** 2) / (2 * variance)) for u, v in grid) >= 1 / 255)
    return ~torch.tensor(seen)
