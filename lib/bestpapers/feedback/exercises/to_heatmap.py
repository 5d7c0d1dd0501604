r"""From clicks to a heatmap

Three people click where a picture looks wrong. Each click stands for a disc whose radius is 1/20 of the picture's
*height*: a pixel is inside if its centre is at most that far away. The discs of *one* person are a set of pixels, marked
or not, and where two of them overlap, the pixel is marked once. The heatmap is the mean over the people.

Points are x, y in pixels (x goes to the right, y down; the centre of the first pixel is 0, 0). They may lie anywhere,
also between pixels and near the border. Who clicks nothing has said something too: nothing is wrong.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...course.checks import Checker, close, true

LEVEL, MINUTES, DIFFICULTY = "core", 15, 1
HINT = r"""
`np.arange(width)` and `np.arange(height)[:, None]` broadcast to all pixels: `(x - px) ** 2 + (y - py) ** 2` is the squared
distance of each from a point. Gather one person's discs with `|=`.
"""
NOTE = r"""
What is this map? A share of people, so an estimate of the chance that a person marks this pixel, from three throws. It is no
severity: a crooked finger that all three saw is at 1, like a missing head. And it is no outline: one click on a large
fault leaves most of it unmarked.
"""


def to_heatmap(
    people: Sequence[NDArray],
    height: int,
    width: int,
) -> NDArray:
    """The mean over people of the discs round each one's points.

    people: for each person points (p, 2), x and y in pixels, p may be 0
    -> (height, width), 0 to 1
    """
    x, y = np.arange(width), np.arange(height)[:, None]
    total = np.zeros((height, width))
    for points in people:
        marked = np.zeros((height, width), bool)
        for px, py in points:
            marked |= (x - px) ** 2 + (y - py) ** 2 <= (height / 20) ** 2
        total += marked
    return total / len(people)


check = Checker("5.1")
NONE = np.zeros((0, 2))


def _at(*points: tuple[float, float]) -> NDArray:
    return np.array(points, np.float64).reshape(-1, 2)


@check.property("three people who click on one place mark a disc of pi r squared pixels with 1")
def _(answer):
    found = np.asarray(answer([_at((100, 100))] * 3, 200, 200))
    close(found.shape, (200, 200))
    close(found[100, 100], 1.0)
    area = math.pi * 10**2
    true(abs((found > 0).sum() / area - 1) < 0.03, f"about {area:.0f} marked pixels", int((found > 0).sum()))
    close([found[100, 110], found[110, 100], found[100, 111], found[108, 108]], [1, 1, 0, 0], hint="the rim is inside")


@check.property("x goes to the right, and the radius follows from the height")
def _(answer):
    found = np.asarray(answer([_at((50, 10))] * 3, 40, 80))
    close(found.shape, (40, 80))
    rows, columns = np.nonzero(found)
    true(len(rows) > 0, "a marked disc", "no pixel is marked")
    close([columns.min(), columns.max(), rows.min(), rows.max()], [48, 52, 8, 12], hint="40 / 20 = 2 pixels")


@check.property("one of three people is a third, two are two thirds, and who marks nothing counts")
def _(answer):
    a, b = _at((10, 10)), _at((30, 30))
    found = np.asarray(answer([a, np.concatenate([a, b]), NONE], 40, 40))
    close([found[10, 10], found[30, 30], found[20, 20]], [2 / 3, 1 / 3, 0])


@check.property("two clicks of one person do not add up")
def _(answer):
    found = answer([_at((20, 20), (21, 20), (20, 20)), NONE, NONE], 40, 40)
    close(np.max(found), 1 / 3)


@check.property("without any click the map is all zeros")
def _(answer):
    close(answer([NONE] * 3, 20, 30), np.zeros((20, 30)))


@check.property("a disc is cut at the border, and does not come in again on the other side")
def _(answer):
    found = np.asarray(answer([_at((0, 0), (39.4, 20))] * 3, 40, 40))
    want = np.zeros((40, 40))
    y, x = np.indices((40, 40))
    for px, py in ((0, 0), (39.4, 20)):
        want[(x - px) ** 2 + (y - py) ** 2 <= 4] = 1
    close(found, want)
