"""Sets of pictures from the world: true ones for a generator, faulty ones with their truth for a model of feedback.

Picture `n` of a set follows from the set's seed, split and `n` alone, so that a longer set begins with a shorter one. A layout
belongs to one split by its hash: no two splits show the same one, whatever their seeds and captions.
"""

from __future__ import annotations

import hashlib
import json
import operator
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..lab.runs import source_hash
from .record import Record
from .worlds import AXIS, FAULTS, WORLD, Caption, Example, Layout, World, corrupt, counterfactual, render, true_example

_HERE = Path(__file__).parent
# what decides how a picture looks and what is said of it, as read when this code was
_ROOMS = [_HERE / f"{room}.py" for room in ("worlds", "judge", "data")]
SOURCE = source_hash((*_ROOMS, *sorted(_HERE.glob("scenes/*.py"))))

SPLITS = {"train": 8, "dev": 1, "test": 1}  # how many of ten layouts
EDITED = 0.3  # share of pictures that show something else than they were asked to
DAMAGED = (0.4, 0.35, 0.25)  # shares of pictures that are damaged in 0, 1, 2 ways
FALSE = 0.5  # share of pictures that come with a false caption

_EDITS, _DAMAGES = ([fault for fault in FAULTS if AXIS[fault] == axis] for axis in ("alignment", "plausibility"))


def split_of(layout: Layout) -> str:
    """The split that a layout belongs to."""
    said = json.dumps([layout.board, [[t.kind, t.colour, int(t.row), int(t.col)] for t in layout.things]])
    number = hashlib.sha256(said.encode()).digest()[0] * sum(SPLITS.values()) // 256
    for split, share in SPLITS.items():
        number -= share
        if number < 0:
            return split
    raise AssertionError("shares add up to their sum")


def _generator(split: str, seed: int, n: int, purpose: int) -> np.random.Generator:
    if split not in SPLITS:
        raise ValueError(f"split {split!r}: there are {', '.join(SPLITS)}")
    if operator.index(seed) < 0 or operator.index(n) < 0:
        raise ValueError(f"seed {seed}, number {n}: whole numbers from 0")
    return np.random.default_rng([purpose, list(SPLITS).index(split), seed, n])


def true_pair(split: str, n: int, *, world: World = WORLD, seed: int = 0) -> tuple[Caption, Layout]:
    """Caption and layout `n` of a split, of a true picture."""
    rng = _generator(split, seed, n, 0)
    while True:
        caption, layout = world.draw(rng)
        if split_of(layout) == split:
            return caption, layout


def pairs(
    split: str, number: int, *, size: int = 64, world: World = WORLD, seed: int = 0
) -> tuple[NDArray[np.uint8], list[str]]:
    """True pictures (number, size, size, 3) with their prompts, to train and to try a generator on."""
    both = [true_pair(split, n, world=world, seed=seed) for n in range(number)]
    pictures = np.empty((number, size, size, 3), np.uint8)
    for n, (_, layout) in enumerate(both):
        pictures[n] = render(layout, size)
    return pictures, [caption.prompt for caption, _ in both]


def example(
    split: str, n: int, *, size: int = 64, world: World = WORLD, seed: int = 0, false: float = FALSE
) -> tuple[Example, Caption]:
    """Picture `n` of a split with what is wrong with it, and the caption that it comes with: its own, or with probability
    `false` one that is not true of what it shows."""
    rng = _generator(split, seed, n, 1)
    edit = _EDITS[rng.integers(len(_EDITS))] if rng.random() < EDITED else ""
    while True:
        caption, layout = world.draw(rng)
        if not edit and split_of(layout) != split:
            continue
        made = true_example(caption, layout, size)
        if edit:
            made = corrupt(made, edit, rng, world) or made
        if split_of(made.layout) == split:
            break
    for _ in range(int(rng.choice(len(DAMAGED), p=DAMAGED))):
        made = corrupt(made, _DAMAGES[rng.integers(len(_DAMAGES))], rng, world) or made
    return made, counterfactual(made.caption, made.layout, rng, world) if rng.random() < false else made.caption


def records(
    split: str, number: int, *, size: int = 64, world: World = WORLD, seed: int = 0, false: float = FALSE
) -> Iterator[Record]:
    """The first records of a split, with the truth as their feedback. Names tell split, seed and number."""
    for n in range(number):
        made, caption = example(split, n, size=size, world=world, seed=seed, false=false)
        yield Record(f"{split}-{seed}-{n:06d}", caption.prompt, made.feedback(caption), made.picture)
