"""The judge: reads a picture that it has not seen made, and says what is wrong with it for a prompt.

It explains the picture with what it knows, the things and the boards of the world: it looks for the thing that explains most
of what is drawn, then for the next one, until nothing that is left looks like a thing. It draws its explanation; where that
differs from the picture so that one sees it, the picture is implausible. What it found is held against the prompt by
`worlds.compare`. So it labels the samples of any generator, and says whether one got better. No model may be trained on it
and then be measured by it without saying so: it stands in the place of the paper's human raters.

What it does not see, or sees wrongly (it is a judge with holes):
- Anything below a tolerance: noise up to about 0.1 of white, a shade of colour, single pixels, lines of one pixel.
- Any thing that is complete counts as sound, wherever it is: a house on a bird, a table in the sky. Things that
  overlap by more than half of the smaller one are one thing for it, the other is damage.
- A thing of which more than about half is gone is no thing: what is left of it is damage, its words are absent.
- A missing thing does not make a picture less plausible, so that drawing less is the cheapest way to a high plausibility; a
  picture of nothing at all gets 0 for that reason.
- Missing clouds, stars, sun and moon are no fault. Things at other sizes, turned or mirrored, are not recognised.
- If a thing is there twice, and once is asked for, the one that is farther down (then right) is the surplus one.
- The time of day is that of the larger part of the board; where half of it is night, the other half is damage.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from .record import Feedback
from .scenes import BOARDS, CELLS, COLOURS, KINDS
from .worlds import (
    TOLERANCE,
    Bools,
    Floats,
    Layout,
    Picture,
    Thing,
    box_slices,
    cell_pixels,
    differs,
    far,
    feedback,
    outline,
    parse,
    render,
    soft,
)

GRAIN = 2  # pixels to a cell where candidates are looked for
LIKELY, CANDIDATES = 0.3, 40  # the share of a thing explained there that makes a candidate, and how many are tried
ACCEPT = 0.5  # of a thing and what is drawn in its box, explained: it is that thing
GOOD = 0.7  # of it: its place is right
CROWDED = 0.5  # of the smaller box: two things cannot overlap more


def judge(picture: Picture, prompt: str) -> Feedback:
    """All that is to be said of a picture, uint8 (size, size, 3), for a prompt of the world's words.

    Scores of all four names, both maps (0 or 1), misaligned words (0 or 1). The size is a multiple of 8 from 32 to 512. Raises
    ValueError for another picture, or a prompt that is not one of the world's, saying what was expected.
    """
    caption = parse(prompt)
    layout, implausible = read(picture)
    return feedback(picture, caption, layout, implausible)


def read(picture: Picture) -> tuple[Layout, Bools]:
    """What is in a picture, and where it is implausible (size, size). Things have their places to the pixel."""
    picture = np.asarray(picture)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or picture.shape[0] != picture.shape[1]:
        expected = "uint8 (size, size, 3), of equal height and width"
        raise ValueError(f"picture {picture.dtype} {picture.shape}: expected {expected}")
    pixels = cell_pixels(len(picture))
    seen = soft(picture)
    board = min(BOARDS, key=lambda name: far(seen, _flat(name)).sum())
    drawn = far(seen, _flat(board))
    layout = Layout(_things(seen, drawn, board, pixels), board)
    free = ~drawn  # a board on which something of the print is missing is no fault
    for thing in layout.things:
        free[box_slices(thing, pixels)] = False
    return layout, differs(picture, render(layout, len(picture)), ignore=free)


def _things(seen: Floats, drawn: Bools, board: str, pixels: int) -> tuple[Thing, ...]:
    """The things, each the one that explains most of what is left when those before it are explained."""
    taken = np.zeros_like(drawn)
    likely = _candidates(seen, drawn, board, pixels)
    alive = {thing: _explained(thing, seen, drawn, taken, board, pixels)[:2] for thing in likely}
    found: list[Thing] = []
    while alive:
        first = max(alive, key=lambda thing: alive[thing])
        _, share = alive.pop(first)
        if share < LIKELY:
            continue
        best = _settled(first, seen, drawn, taken, board, pixels)
        _, share, mine = _explained(best, seen, drawn, taken, board, pixels)
        if share >= ACCEPT:
            found.append(best)
            taken[box_slices(best, pixels)] |= mine
            for thing in list(alive):
                overlap = _overlap(thing, best)
                if overlap > CROWDED:
                    del alive[thing]
                elif overlap:
                    alive[thing] = _explained(thing, seen, drawn, taken, board, pixels)[:2]
    return tuple(sorted(found, key=lambda thing: (thing.row, thing.col)))


def _candidates(seen: Floats, drawn: Bools, board: str, pixels: int) -> list[Thing]:
    """Where in a coarse picture something looks like a thing, at steps of half a cell; the likeliest first."""
    side = GRAIN * CELLS
    coarse = np.asarray(cv2.resize(seen, (side, side), interpolation=cv2.INTER_AREA), np.float32)
    names, templates, covers, shapes = _templates(board, pixels)
    share = _shares(coarse, far(coarse, _flat(board)), templates, covers, shapes, TOLERANCE**2, GRAIN // 2)
    peak = share >= LIKELY
    for k, row, col in np.argwhere(peak).tolist():  # the largest of its neighbourhood
        around = share[k, max(0, row - 1) : row + 2, max(0, col - 1) : col + 2]
        peak[k, row, col] = share[k, row, col] >= around.max()
    found = np.argwhere(peak)
    order = np.argsort(-share[peak], kind="stable")[:CANDIDATES]
    return [Thing(names[k][0], names[k][1], row / 2, col / 2) for k, row, col in found[order].tolist()]


@njit(cache=True)
def _shares(coarse, drawn, templates, covers, shapes, near, step):
    """For each template (K) at each place (S, S): the share that `_explained` gives, with nothing taken; -1 off the picture.

    coarse [n, n, 3], drawn [n, n]: as seen.   templates [K, m, m, 3], covers [K, m, m], shapes [K, 2]: things in the upper
    left corners.   near: the square of the tolerance.   step: pixels from one place to the next.
    """
    n = len(coarse)
    places = n // step
    out = np.full((len(templates), places, places), np.float32(-1))
    for k in range(len(templates)):
        h, w = shapes[k]
        for r in range((n - h) // step + 1):
            for c in range((n - w) // step + 1):
                explained, counted = 0, 0
                for i in range(h):
                    for j in range(w):
                        y, x = r * step + i, c * step + j
                        if not (covers[k, i, j] or drawn[y, x]):
                            continue
                        d0 = coarse[y, x, 0] - templates[k, i, j, 0]
                        d1 = coarse[y, x, 1] - templates[k, i, j, 1]
                        d2 = coarse[y, x, 2] - templates[k, i, j, 2]
                        alike = d0 * d0 + d1 * d1 + d2 * d2 <= near
                        if covers[k, i, j]:
                            counted += 1
                            explained += alike
                        elif not alike:
                            counted += 1
                out[k, r, c] = explained / counted
    return out


def _explained(
    thing: Thing, seen: Floats, drawn: Bools, taken: Bools, board: str, pixels: int
) -> tuple[int, float, Bools]:
    """How many more pixels of its box a thing explains than it leaves unexplained, which share, and those pixels.

    Counted are the pixels that the thing would cover, and those where something else is drawn that no other thing explains.
    """
    box = box_slices(thing, pixels)
    covers, free = outline(thing.kind, pixels), ~taken[box]
    alike = ~far(seen[box], _soft_stamp(thing.kind, thing.colour, board, pixels))
    right = covers & alike & free
    explained, counted = int(right.sum()), int((covers | (drawn[box] & ~alike & free)).sum())
    return 2 * explained - counted, explained / counted, right


def _settled(thing: Thing, seen: Floats, drawn: Bools, taken: Bools, board: str, pixels: int) -> Thing:
    """The thing at the pixel nearby, a quarter of a cell to each side, where it explains most; where it is, if that does."""
    if _explained(thing, seen, drawn, taken, board, pixels)[1] >= GOOD:
        return thing
    h, w = KINDS[thing.kind].cells
    steps = range(-(pixels // 4), pixels // 4 + 1)
    best, most = thing, -(10**9)
    for row, col in sorted(((r, c) for r in steps for c in steps), key=lambda step: abs(step[0]) + abs(step[1])):
        near = Thing(thing.kind, thing.colour, thing.row + row / pixels, thing.col + col / pixels)
        if not (0 <= near.row <= CELLS - h and 0 <= near.col <= CELLS - w):
            continue
        net = _explained(near, seen, drawn, taken, board, pixels)[0]
        if net > most:
            best, most = near, net
    return best


def _overlap(a: Thing, b: Thing) -> float:
    """The common part of two boxes, as a share of the smaller one."""
    (t, l, b_, r), (top, left, bottom, right) = a.box, b.box
    common = max(0.0, min(b_, bottom) - max(t, top)) * max(0.0, min(r, right) - max(l, left))
    return common / min((b_ - t) * (r - l), (bottom - top) * (right - left))


def _flat(board: str) -> Floats:
    return np.array(BOARDS[board].flat, np.float32)


@lru_cache(maxsize=4096)
def _soft_stamp(kind: str, colour: str, board: str, pixels: int) -> Floats:
    """A thing in its box, as a picture is seen."""
    thing = Thing(kind, colour, 1, 1)
    return soft(render(Layout((thing,), board), CELLS * pixels))[box_slices(thing, pixels)]


@lru_cache(maxsize=64)
def _templates(board: str, pixels: int) -> tuple[list[tuple[str, str]], Floats, Bools, NDArray[np.int64]]:
    """Each kind and colour as it is seen in a coarse picture: names, and the arrays that `_shares` takes."""
    names = [(kind, colour) for kind in KINDS for colour in COLOURS]
    shapes = np.array([KINDS[kind].cells for kind, _ in names]) * GRAIN
    templates = np.zeros((len(names), shapes.max(), shapes.max(), 3), np.float32)
    covers = np.zeros(templates.shape[:3], bool)
    for k, (kind, colour) in enumerate(names):
        h, w = shapes[k].tolist()
        whole = _soft_stamp(kind, colour, board, pixels)
        templates[k, :h, :w] = cv2.resize(whole, (w, h), interpolation=cv2.INTER_AREA)
        covers[k, :h, :w] = outline(kind, GRAIN)
    return names, templates, covers, shapes
