r"""From a heatmap to the tokens to paint anew

To paint a fault anew, mask the tokens on which it lies:

1. a pixel is faulty if its value in the heatmap is *above* the threshold;
2. make the faulty region wider by `dilate` pixels to all sides, diagonals included;
3. mask every token of which at least one pixel is in the region. All others keep their numbers.

Token (0, 0) covers the first $H / g$ rows and the first $W / g$ columns, and so on.
"""

import numpy as np
from numpy.typing import NDArray

from ...course.checks import Checker, close, true

LEVEL, MINUTES, DIFFICULTY = "core", 15, 2
HINT = r"""
Pad the region with `np.pad(region, dilate)`, and gather its shifted copies with `|=`. `region.reshape(g, H // g, g, W //
g)` has a block of pixels for each token.
"""
NOTE = r"""
It must be the largest value of a block, not its mean and not the pixel in its middle: an extra whisker is one pixel wide, and
a token's mean would hide it. Then it would stay, and the rest would be drawn to fit it.

Dilation pays for another error. A map is blurred and off by a pixel or two, and what it just misses stays as a seam. But
each pixel more takes away what was right: `3_reproduce` compares with masks of the same size at another place.
"""


def mask_tokens(
    numbers: NDArray,
    heat: NDArray,
    threshold: float,
    dilate: int,
    mask: int,
) -> NDArray:
    """Mask the tokens of a picture that lie under its faults.

    numbers (g, g) int: codes of the tokens; heat (H, W): 0 to 1, H and W multiples of
    g; dilate: pixels, 0 or more; mask: the number of a masked token
    -> (g, g) int
    """
    g, (H, W) = len(numbers), heat.shape
    padded = np.pad(heat > threshold, dilate)
    wide = np.zeros((H, W), bool)
    for down in range(2 * dilate + 1):
        for right in range(2 * dilate + 1):
            wide |= padded[down : down + H, right : right + W]
    hidden = wide.reshape(g, H // g, g, W // g).any((1, 3))
    return np.where(hidden, mask, numbers)


check = Checker("5.7")
MASK = 256
NUMBERS = np.random.default_rng(0).integers(0, 256, (8, 8))


def _pixel(row: int, column: int) -> NDArray:
    heat = np.zeros((32, 32))
    heat[row, column] = 0.9
    return heat


def _masked(answer, heat: NDArray, dilate: int, threshold: float = 0.5) -> set[tuple[int, int]]:
    return {
        (int(i), int(j)) for i, j in np.argwhere(np.asarray(answer(NUMBERS, heat, threshold, dilate, MASK)) == MASK)
    }


def _same(found: set[tuple[int, int]], want: set[tuple[int, int]], hint: str = "") -> None:
    true(found == want, f"tokens {sorted(want)} masked", f"{sorted(found)}", hint=hint)


@check.property("one pixel in the corner of a token masks this token, and no other changes")
def _(answer):
    for row, column in ((12, 20), (15, 23), (15, 20), (13, 22)):
        found = answer(NUMBERS, _pixel(row, column), 0.5, 0, MASK)
        want = NUMBERS.copy()
        want[3, 5] = MASK
        close(found, want, hint=f"the only faulty pixel is in row {row}, column {column}; a token has 4 x 4")


@check.property("faulty is what is above the threshold, not what is at it")
def _(answer):
    heat = _pixel(0, 0)
    heat[31, 31] = 0.5
    _same(_masked(answer, heat, 0), {(0, 0)})
    _same(_masked(answer, heat, 0, 0.49), {(0, 0), (7, 7)})


@check.property("nothing marked, nothing changed, whatever the dilation")
def _(answer):
    for dilate in (0, 3):
        found = np.asarray(answer(NUMBERS, np.full((32, 32), 0.2), 0.5, dilate, MASK))
        close(found, NUMBERS)
        true(found.dtype.kind == "i", "whole numbers", str(found.dtype))


@check.property("a region grows by `dilate` pixels to all sides, and no further")
def _(answer):
    for dilate in (0, 1, 2, 3, 5):
        for row, column in ((13, 18), (12, 19), (15, 16)):
            rows = range((row - dilate) // 4, (row + dilate) // 4 + 1)
            columns = range((column - dilate) // 4, (column + dilate) // 4 + 1)
            hint = f"dilate {dilate}, the faulty pixel in row {row}, column {column}"
            _same(_masked(answer, _pixel(row, column), dilate), {(i, j) for i in rows for j in columns}, hint)


@check.property("it does not grow over the border to the other side")
def _(answer):
    _same(_masked(answer, _pixel(0, 31), 2), {(0, 7)})
    _same(_masked(answer, _pixel(31, 0), 5), {(6, 0), (6, 1), (7, 0), (7, 1)})


@check.property("a picture need not be square")
def _(answer):
    heat = np.zeros((16, 32))
    heat[15, 9] = 1
    _same(_masked(answer, heat, 0), {(7, 2)})
