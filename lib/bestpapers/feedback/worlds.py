"""The world of cut-outs: captions, pictures of them, and all that can be wrong with a picture, with its known truth.

A picture is a board of 8 x 8 cells on which things lie, each in a box of whole cells; boxes do not overlap. A caption speaks
of one or two groups of equal things: "two red cats left of a blue cup by day". Since kinds, colours, boards and places are
few, some hundred different patches of a cell make up all pictures: a small tokenizer can learn them, and a person still sees
at once when a cat has five legs.

Words and pictures are compared by `compare`, which knows nothing of how a picture was made. So one rule labels all: the
examples made here, whose things are known, and any other picture, whose things the `judge` reads.

The scores (ours) are made up where the paper has people. Their shape matters, their height does not:
    plausibility   (1 - s)^8, s being the share of what is drawn that is implausible; 0 for a picture of nothing
    alignment      (share of the caption's claims that the picture honours)^2; each thing not asked for is a fault
    aesthetics     mean of balance, fullness and saturation (`aesthetics`): for the interface, no conclusion should hang on it
    overall        0.4 plausibility + 0.4 alignment + 0.2 aesthetics
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from .record import Feedback
from .scenes import BOARDS, CELLS, COLOURS, KINDS
from .scenes.boards import picture as paint_board
from .scenes.paint import MARGIN, Array, Sprite, edited, paint

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]

COUNTS = ("a", "two", "three")
RELATIONS = {"left": "left of", "right": "right of", "above": "above", "below": "below", "on": "on", "and": "and"}
OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above", "on": "below"}
TIMES = {"day": "by day", "night": "at night"}
CARRIER = "table"  # what things can be on
PLURALS = {kind: look.plural for kind, look in KINDS.items()}
SINGULARS = {plural: kind for kind, plural in PLURALS.items()}
# all words of all captions, in a fixed order
WORDS = tuple(
    dict.fromkeys(" ".join((*COUNTS, *COLOURS, *KINDS, *SINGULARS, *RELATIONS.values(), *TIMES.values())).split())
)

TOLERANCE = 0.2  # a pixel is another one from here on: distance in RGB, white to black being sqrt(3)
SLACK = 0.5  # cells by which a relation may be missed
STEEP, STRICT = 8, 2  # exponents of plausibility and alignment
SEEN, LEFT = (
    0.1,
    0.33,
)  # damage is at least so many cells large, and hits at most so much of any thing, which stays readable
TRIES = 40

# ------------------------------------------------------------------------------------------------------------- captions


@dataclass(frozen=True)
class Group:
    """`count` things (1 to 3) of one kind and colour."""

    count: int
    colour: str
    kind: str


@dataclass(frozen=True)
class Caption:
    """One group or two, how the first lies to the second (a key of RELATIONS; "" with one group), and the board."""

    groups: tuple[Group, ...]
    relation: str
    board: str

    @property
    def parts(self) -> tuple[tuple[str, str], ...]:
        """Each word with the claim that it makes: "count 0", "colour 0", "kind 0", "relation", ..., "board", or "" for none."""
        out = []
        for n, group in enumerate(self.groups):
            if n:
                first, *rest = RELATIONS[self.relation].split()
                out += [(first, "" if first == "and" else "relation"), *((word, "") for word in rest)]
            noun = group.kind if group.count == 1 else PLURALS[group.kind]
            out += [(COUNTS[group.count - 1], f"count {n}"), (group.colour, f"colour {n}"), (noun, f"kind {n}")]
        first, last = TIMES[self.board].split()
        return (*out, (first, ""), (last, "board"))

    @property
    def prompt(self) -> str:
        return " ".join(word for word, _ in self.parts)


def parse(prompt: str) -> Caption:
    """The caption that a prompt says: `parse(caption.prompt) == caption`. ValueError says which word is not understood."""
    left = prompt.split()

    def take(choices: Sequence[str], what: str) -> str:
        """The next words, which are one of the choices."""
        for choice in choices:
            n = len(choice.split())
            if left[:n] == choice.split():
                del left[:n]
                return choice
        found = f"{left[0]!r}" if left else "the end"
        raise ValueError(f"prompt {prompt!r}: expected {what} ({', '.join(choices)}), found {found}")

    groups, relation = [], ""
    while True:
        count = 1 + COUNTS.index(take(COUNTS, "a count"))
        colour = take(tuple(COLOURS), "a colour")
        noun = take(tuple(KINDS) if count == 1 else tuple(SINGULARS), "a thing")
        groups.append(Group(count, colour, noun if count == 1 else SINGULARS[noun]))
        if len(groups) == 2 or left[:1] in (["by"], ["at"]):
            break
        phrase = take((*RELATIONS.values(), *TIMES.values()), "a relation or a time")
        relation = next(name for name, words in RELATIONS.items() if words == phrase)
    phrase = take(tuple(TIMES.values()), "a time")
    if left:
        raise ValueError(f"prompt {prompt!r}: expected the end, found {left[0]!r}")
    return Caption(tuple(groups), relation, next(name for name, words in TIMES.items() if words == phrase))


# -------------------------------------------------------------------------------------------------------------- layouts


@dataclass(frozen=True)
class Thing:
    """A thing with the upper left cell of its box. The places of things that the judge found need not be whole numbers."""

    kind: str
    colour: str
    row: float
    col: float

    @cached_property
    def box(self) -> tuple[float, float, float, float]:
        """Top, left, bottom, right in cells."""
        h, w = KINDS[self.kind].cells
        return self.row, self.col, self.row + h, self.col + w

    def touches(self, other: Thing) -> bool:
        """Whether the boxes overlap."""
        (t, l, b, r), (top, left, bottom, right) = self.box, other.box
        return t < bottom and top < b and l < right and left < r


@dataclass(frozen=True)
class Layout:
    """What lies on a board."""

    things: tuple[Thing, ...]
    board: str


def holds(relation: str, a: Thing, b: Thing) -> bool:
    """Whether thing a lies so to thing b, to half a cell. What is on a thing is also above it. "and" and "" always hold."""
    (top, left, bottom, right), (top_b, left_b, bottom_b, right_b) = a.box, b.box
    if relation == "left":
        return right <= left_b + SLACK
    if relation == "right":
        return left >= right_b - SLACK
    if relation == "above":
        return bottom <= top_b + SLACK
    if relation == "below":
        return top >= bottom_b - SLACK
    if relation == "on":
        return abs(bottom - top_b) <= SLACK and left_b - SLACK <= left and right <= right_b + SLACK
    return True


def place(caption: Caption, rng: np.random.Generator) -> Layout | None:
    """A layout that a caption is true of, drawn at random from those that the board has; None if none was found."""
    for _ in range(TRIES):
        things: list[Thing] = []
        taken: list[tuple[int, str, int]] = []  # of each thing: its group, its kind, the number of its place
        for n in reversed(range(len(caption.groups))):  # the second group first: it carries the first
            group = caption.groups[n]
            for _ in range(group.count):
                free = np.ones(len(_places(group.kind)), bool)
                for m, kind, where in taken:
                    free &= _fits(group.kind, kind, caption.relation if m != n else "")[:, where]
                choices = np.flatnonzero(free)
                if not len(choices):
                    break
                chosen = int(choices[rng.integers(len(choices))])
                taken.append((n, group.kind, chosen))
                things.append(Thing(group.kind, group.colour, *_places(group.kind)[chosen]))
        if len(things) == sum(group.count for group in caption.groups):
            return Layout(_sorted(things), caption.board)
    return None


@cache
def _places(kind: str) -> tuple[tuple[int, int], ...]:
    """All rows and columns where a thing can be."""
    h, w = KINDS[kind].cells
    return tuple((r, c) for r in range(CELLS - h + 1) for c in range(CELLS - w + 1))


@cache
def _fits(kind: str, other: str, relation: str) -> Bools:
    """Whether a thing of a kind can be at a place when another one is at its place, (places of kind, places of other)."""
    mine, theirs = ([Thing(name, "", *where) for where in _places(name)] for name in (kind, other))
    return np.array([[not a.touches(b) and holds(relation, a, b) for b in theirs] for a in mine])


def _sorted(things: Iterable[Thing]) -> tuple[Thing, ...]:
    return tuple(sorted(things, key=lambda thing: (thing.row, thing.col)))


@dataclass(frozen=True)
class World:
    """Which captions there are. Fewer kinds, colours and boards make fewer patches, and an easier world to learn.

    most: things of a group, 1 to 3.   single: share of captions with one group.   Two groups differ in kind and in colour.
    """

    kinds: tuple[str, ...] = tuple(KINDS)
    colours: tuple[str, ...] = tuple(COLOURS)
    boards: tuple[str, ...] = tuple(BOARDS)
    relations: tuple[str, ...] = tuple(RELATIONS)
    most: int = 3
    single: float = 0.25

    def __post_init__(self) -> None:
        for name, least, known in (
            ("kinds", 2, KINDS),
            ("colours", 2, COLOURS),
            ("boards", 1, BOARDS),
            ("relations", 1, RELATIONS),
        ):
            mine = getattr(self, name)
            if len(mine) < least or len(set(mine)) < len(mine) or not set(mine) <= set(known):
                raise ValueError(f"World.{name}: {mine}; expected {least} or more of {', '.join(known)}")
        if "on" in self.relations and CARRIER not in self.kinds:
            raise ValueError(f"World.relations: things can only be on a {CARRIER}, which is not among the kinds")
        if not 1 <= self.most <= len(COUNTS) or not 0 <= self.single <= 1:
            raise ValueError(f"World: most {self.most}, single {self.single}; expected 1 to 3, and a share")

    def draw(self, rng: np.random.Generator) -> tuple[Caption, Layout]:
        """A caption and a layout that it is true of. Captions that do not fit on the board are drawn again."""
        while True:
            caption = self._caption(rng)
            layout = place(caption, rng)
            if layout:
                return caption, layout

    def _caption(self, rng: np.random.Generator) -> Caption:
        board = _one(self.boards, rng)
        if rng.random() < self.single:
            count = int(rng.integers(self.most)) + 1
            return Caption((Group(count, _one(self.colours, rng), _one(self.kinds, rng)),), "", board)
        relation = _one(self.relations, rng)
        colours, kinds = (rng.permutation(names)[:2].tolist() for names in (self.colours, self.kinds))
        counts = [min(self.most, int(rng.choice(3, p=(0.65, 0.25, 0.1))) + 1) for _ in range(2)]
        if relation == "on":
            kinds = [_one([kind for kind in self.kinds if kind != CARRIER], rng), CARRIER]
            counts[1] = 1
        groups = tuple(Group(*said) for said in zip(counts, colours, kinds))
        return Caption(groups, relation, board)


WORLD = World()
SMALL = World(kinds=("cat", "tree", "table", "cup"), colours=("red", "yellow", "blue"), boards=("day",), most=2)


def _one(choices: Sequence[str], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]


# -------------------------------------------------------------------------------------------------------------- drawing


def cell_pixels(size: int) -> int:
    """Pixels to a cell in a picture of a side of `size` pixels: a multiple of 8, 32 to 512."""
    if operator.index(size) % CELLS or not 32 <= size <= 512:
        raise ValueError(f"size {size}: a picture's side must be a multiple of {CELLS}, 32 to 512 pixels")
    return size // CELLS


Fault = tuple[str, str, int]  # of a limb: its name, "missing" | "misplaced" | "doubled", and number of the place


@lru_cache(maxsize=4096)
def sprite(kind: str, colour: str, pixels: int, fault: Fault | None = None) -> Sprite:
    """A thing, painted at `pixels` a cell, with MARGIN cells round it."""
    look = KINDS[kind]
    parts = look.parts()
    if fault:
        limb, how, where = fault
        parts = edited(parts, limb, look.limbs[limb], how, where)
    return paint(parts, COLOURS[colour], look.cells, pixels)


@lru_cache(maxsize=64)
def empty(board: str, size: int) -> Picture:
    """The board with nothing on it: uint8 (size, size, 3), read-only."""
    return _fixed(_bytes(paint_board(BOARDS[board], cell_pixels(size))))


@lru_cache(maxsize=4096)
def stamp(kind: str, colour: str, board: str, pixels: int) -> Picture:
    """A thing on the flat board, in its box: uint8 (h pixels, w pixels, 3), read-only."""
    inner = slice(MARGIN * pixels, -MARGIN * pixels)
    return _fixed(_bytes(sprite(kind, colour, pixels).over(np.array(BOARDS[board].flat))[inner, inner]))


@lru_cache(maxsize=4096)
def outline(kind: str, pixels: int) -> Bools:
    """The pixels of its box that a thing covers at least half, (h pixels, w pixels), read-only."""
    inner = slice(MARGIN * pixels, -MARGIN * pixels)
    return _fixed(sprite(kind, next(iter(COLOURS)), pixels).alpha[inner, inner] >= 0.5)


def _fixed(array: Any) -> Any:
    array.setflags(write=False)
    return array


def _bytes(image: Array) -> Picture:
    return (image.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def box_slices(thing: Thing, pixels: int) -> tuple[slice, slice]:
    """Where a thing's box is in a picture."""
    h, w = KINDS[thing.kind].cells
    top, left = round(thing.row * pixels), round(thing.col * pixels)
    return slice(top, top + h * pixels), slice(left, left + w * pixels)


def render(layout: Layout, size: int = 64) -> Picture:
    """The picture of a layout, uint8 (size, size, 3). The same arguments give the same bytes."""
    pixels = cell_pixels(size)
    out = empty(layout.board, size).copy()
    for thing in layout.things:
        out[box_slices(thing, pixels)] = stamp(thing.kind, thing.colour, layout.board, pixels)
    return out


def silhouette(things: Sequence[Thing], size: int) -> Bools:
    """The pixels that the things cover, (size, size)."""
    pixels = cell_pixels(size)
    out = np.zeros((size, size), bool)
    for thing in things:
        out[box_slices(thing, pixels)] |= outline(thing.kind, pixels)
    return out


def soft(picture: Picture) -> Floats:
    """A picture in 0..1 as it is compared: blurred by an eighth of a cell, so that noise and a rough edge count little."""
    return np.asarray(cv2.GaussianBlur(picture.astype(np.float32) / 255, (0, 0), len(picture) / CELLS / 8), np.float32)


def differs(a: Picture, b: Picture, ignore: Bools | None = None) -> Bools:
    """Where two pictures differ so that one sees it: (H, W). Thin lines and single pixels do not count."""
    wrong = far(soft(a), soft(b))
    if ignore is not None:
        wrong &= ~ignore
    square = wrong[1:, 1:] & wrong[1:, :-1] & wrong[:-1, 1:] & wrong[:-1, :-1]
    out = np.zeros_like(wrong)  # the pixels that lie in a square of four
    for rows in (slice(1, None), slice(None, -1)):
        for cols in (slice(1, None), slice(None, -1)):
            out[rows, cols] |= square
    return out


def far(a: NDArray[np.floating], b: NDArray[np.floating]) -> Bools:
    """Where two colours (..., 3) are not the same, by TOLERANCE."""
    step = a - b
    return np.einsum("...c,...c->...", step, step) > TOLERANCE**2


# ------------------------------------------------------------------------------------------------ captions and pictures


@dataclass(frozen=True)
class Comparison:
    """What a caption says that a layout does not show.

    wrong    the claims that do not hold, as in `Caption.parts`
    blamed   the things that break them; what is absent has no place, and the board is to blame as a whole: neither is here
    unasked  how many things are of no group's kind or colour
    """

    wrong: frozenset[str]
    blamed: tuple[Thing, ...]
    unasked: int


def compare(caption: Caption, layout: Layout) -> Comparison:
    """Hold a caption against what is in a picture.

    Each thing stands for at most one of those that the caption asks for, so that most words hold, kinds before colours. A
    group's count is wrong if it is not that many, or if there are more of its kind; but "a" is never to blame for a thing that
    is absent: its colour and kind are. A relation that does not hold is blamed on all things of both groups; it cannot hold
    if a group is absent. A thing that stands for nothing is blamed.
    """
    things = _sorted(layout.things)
    slots = [n for n, group in enumerate(caption.groups) for _ in range(group.count)]
    likeness = np.zeros((len(things), len(slots)))
    for i, thing in enumerate(things):
        for j, n in enumerate(slots):
            group = caption.groups[n]
            likeness[i, j] = 2 * (thing.kind == group.kind) + (thing.colour == group.colour) - 1e-3 * i
    members: list[list[Thing]] = [[] for _ in caption.groups]
    surplus = set(range(len(things)))
    for i, j in zip(*linear_sum_assignment(likeness, maximize=True)):
        if likeness[i, j] > 0.5:
            members[slots[j]].append(things[i])
            surplus.discard(int(i))

    wrong: set[str] = set()
    blamed = {things[i] for i in surplus}
    unasked = 0
    more = [0 for _ in caption.groups]
    for i in sorted(surplus):
        kin = [n for n, group in enumerate(caption.groups) if group.kind == things[i].kind]
        unasked += not kin
        for n in kin[:1]:
            more[n] += 1
    for n, group in enumerate(caption.groups):
        number = len(members[n]) + more[n]
        if number != group.count and (number or group.count > 1):
            wrong.add(f"count {n}")
        if not members[n]:
            wrong |= {f"colour {n}", f"kind {n}"}
        for thing in members[n]:
            if thing.kind != group.kind:
                wrong.add(f"kind {n}")
                blamed.add(thing)
            if thing.colour != group.colour:
                wrong.add(f"colour {n}")
                blamed.add(thing)
    if caption.relation and caption.relation != "and":
        first, second = members
        if not (first and second) or not all(holds(caption.relation, a, b) for a in first for b in second):
            wrong.add("relation")
            blamed |= {*first, *second} if first and second else set()
    if layout.board != caption.board:
        wrong.add("board")
    return Comparison(frozenset(wrong), _sorted(blamed), unasked)


def alignment(caption: Caption, comparison: Comparison) -> float:
    """0..1, see the head of the module. "a" is a claim only where it is wrong."""
    claims = {claim for _, claim in caption.parts if claim}
    silent = {f"count {n}" for n, group in enumerate(caption.groups) if group.count == 1} - comparison.wrong
    total = len(claims - silent)
    return max(0.0, 1 - (len(comparison.wrong) + comparison.unasked) / total) ** STRICT


def plausibility(implausible: Bools, things: Sequence[Thing]) -> float:
    """0..1, see the head of the module: of an implausible region (H, W) in a picture of these things."""
    if not things:
        return 0.0
    drawn = silhouette(things, len(implausible)) | implausible
    return (1 - float(implausible.sum()) / float(drawn.sum())) ** STEEP


def aesthetics(picture: Picture, board: str) -> float:
    """0..1, made up: the mean of balance (the centre of all that is drawn lies in the middle), fullness (a quarter of the
    board is covered), and saturation. 0 for an empty board."""
    drawn = far(picture / 255, np.array(BOARDS[board].flat))
    share = float(drawn.mean())
    if not share:
        return 0.0
    centre = np.argwhere(drawn).mean(0) / (len(picture) - 1) - 0.5
    ink = picture[drawn] / 255
    saturation = float(np.mean(ink.max(1) - ink.min(1)))
    return (max(0.0, 1 - 2 * float(np.hypot(*centre))) + min(1.0, 4 * share) + min(1.0, 2 * saturation)) / 3


def feedback(picture: Picture, caption: Caption, layout: Layout, implausible: Bools) -> Feedback:
    """What is to be said of a picture (H, W, 3) that shows this layout and is implausible there (H, W), for a caption."""
    said = compare(caption, layout)
    scores = {
        "plausibility": plausibility(implausible, layout.things),
        "aesthetics": aesthetics(picture, layout.board),
        "alignment": alignment(caption, said),
    }
    scores["overall"] = 0.4 * scores["plausibility"] + 0.4 * scores["alignment"] + 0.2 * scores["aesthetics"]
    maps = {
        "implausibility": implausible.astype(np.float32),
        "misalignment": silhouette(said.blamed, len(picture)).astype(np.float32),
    }
    return Feedback(scores, maps, np.array([claim in said.wrong for _, claim in caption.parts], np.float32))


def counterfactual(caption: Caption, layout: Layout, rng: np.random.Generator, world: World = WORLD) -> Caption:
    """A caption that is not true of the layout, close to one that is: one word is another one (a colour, a thing, a count, the
    relation, the time), or the two groups, or their colours, change places. Raises ValueError where the world has no such."""
    for _ in range(TRIES):
        other = _reworded(caption, rng, world)
        if other and compare(other, layout).wrong:
            return other
    raise ValueError(f"counterfactual: no false caption near {caption.prompt!r}")


def _reworded(caption: Caption, rng: np.random.Generator, world: World) -> Caption | None:
    what = _one(("colour", "colour", "kind", "kind", "count", "relation", "board", "swap", "swap colours"), rng)
    groups = list(caption.groups)
    n = int(rng.integers(len(groups)))
    used = [getattr(group, what, None) for group in groups]
    if what == "colour":
        groups[n] = replace(groups[n], colour=_one(world.colours, rng))
    elif what == "kind":
        groups[n] = replace(groups[n], kind=_one(world.kinds, rng))
    elif what == "count":
        groups[n] = replace(groups[n], count=1 + int(rng.integers(world.most)))
    elif what == "board":
        return replace(caption, board=_one(world.boards, rng))
    elif len(groups) == 1:
        return None
    elif what == "relation":
        return replace(caption, relation=_one(world.relations, rng))
    elif what == "swap":
        groups.reverse()
    else:
        groups = [replace(a, colour=b.colour) for a, b in zip(groups, groups[::-1])]
    now = [getattr(group, what, None) for group in groups]
    if what in ("colour", "kind") and (now == used or len(set(now)) < len(now)):
        return None  # the same, or two groups alike
    return replace(caption, groups=tuple(groups))


# ---------------------------------------------------------------------------------------------------------------- faults


@dataclass(frozen=True)
class Example:
    """A picture, what is in it, where it is implausible, and which fault was put in ("" for none).

    picture uint8 (size, size, 3); implausible bool (size, size); caption is what it was asked to show.
    """

    caption: Caption
    layout: Layout
    picture: Picture
    implausible: Bools
    fault: str = ""

    def feedback(self, caption: Caption | None = None) -> Feedback:
        """The truth, for its own caption or for another one."""
        return feedback(self.picture, caption or self.caption, self.layout, self.implausible)


def true_example(caption: Caption, layout: Layout, size: int = 64) -> Example:
    """A picture with no fault."""
    return Example(caption, layout, render(layout, size), np.zeros((size, size), bool))


def corrupt(example: Example, fault: str, rng: np.random.Generator, world: World = WORLD) -> Example | None:
    """The example with a fault of FAULTS put in; None where it has no room for that, e.g. one group to swap.

    Faults of AXIS "alignment" change what is in the picture, so that its caption is false and each thing is sound. Faults of
    "plausibility" damage the picture; its caption stays as true as it was, and the region is where one sees the damage. They
    can be put in one after the other, those of alignment first.
    """
    if fault not in FAULTS:
        raise ValueError(f"fault {fault!r}: there are {', '.join(FAULTS)}")
    size = len(example.picture)
    masks = [silhouette((thing,), size) for thing in example.layout.things]
    for _ in range(TRIES):
        if fault in _EDITS:
            if example.implausible.any():
                raise ValueError(f"fault {fault!r}: what is in a picture is changed before the picture is damaged")
            layout = _EDITS[fault](example, rng, world)
            if layout and compare(example.caption, layout).wrong:
                return replace(true_example(example.caption, layout, size), fault=fault)
        else:
            picture = example.picture.copy()
            _DAMAGES[fault](picture, example.layout, rng, world)
            region = differs(picture, render(example.layout, size))
            seen = region.sum() >= example.implausible.sum() + SEEN * cell_pixels(size) ** 2
            if seen and all(region[mask].mean() <= LEFT for mask in masks):
                return replace(example, picture=picture, implausible=region, fault=fault)
    return None


def _instead(layout: Layout, old: int, *new: Thing) -> Layout | None:
    """The layout with one thing gone and others put in; None if they do not fit, or nothing is left."""
    things = [thing for i, thing in enumerate(layout.things) if i != old]
    if any(thing.touches(other) for thing in new for other in things) or not (*things, *new):
        return None
    return replace(layout, things=_sorted((*things, *new)))


def _recolour(example: Example, rng: np.random.Generator, world: World) -> Layout | None:
    i = int(rng.integers(len(example.layout.things)))
    return _instead(example.layout, i, replace(example.layout.things[i], colour=_one(world.colours, rng)))


def _other_kind(example: Example, rng: np.random.Generator, world: World) -> Layout | None:
    """Another thing, which stands where the old one stood."""
    i = int(rng.integers(len(example.layout.things)))
    old, kind = example.layout.things[i], _one(world.kinds, rng)
    (h, w), (height, _) = KINDS[kind].cells, KINDS[old.kind].cells
    row, col = old.row + height - h, min(old.col, CELLS - w)
    return _instead(example.layout, i, Thing(kind, old.colour, row, col)) if row >= 0 else None


def _swap(example: Example, rng: np.random.Generator, world: World) -> Layout | None:
    """All things laid anew, the other way round."""
    other = OPPOSITE.get(example.caption.relation)
    return place(replace(example.caption, relation=other), rng) if other else None


def _swap_colours(example: Example, rng: np.random.Generator, world: World) -> Layout | None:
    if len(example.caption.groups) < 2:
        return None
    a, b = (group.colour for group in example.caption.groups)
    things = tuple(replace(t, colour={a: b, b: a}.get(t.colour, t.colour)) for t in example.layout.things)
    return replace(example.layout, things=things)


def _remove(example: Example, rng: np.random.Generator, world: World) -> Layout | None:
    return _instead(example.layout, int(rng.integers(len(example.layout.things))))


def _add(example: Example, rng: np.random.Generator, world: World) -> Layout | None:
    """One more of a group that is there."""
    old = example.layout.things[rng.integers(len(example.layout.things))]
    row, col = _places(old.kind)[rng.integers(len(_places(old.kind)))]
    return _instead(example.layout, -1, replace(old, row=row, col=col))


def _other_time(example: Example, rng: np.random.Generator, world: World) -> Layout | None:
    return replace(example.layout, board=_one(world.boards, rng))


def _limb(how: str) -> Callable[[Picture, Layout, np.random.Generator, World], None]:
    def damage(picture: Picture, layout: Layout, rng: np.random.Generator, world: World) -> None:
        thing = layout.things[rng.integers(len(layout.things))]
        limbs = KINDS[thing.kind].limbs
        limb = _one(tuple(limbs), rng)
        fault = (limb, how, int(rng.integers(len(limbs[limb].places))))
        size, pixels = len(picture), cell_pixels(len(picture))
        picture[box_slices(thing, pixels)] = _bytes(np.array(BOARDS[layout.board].flat))
        painted, edge = sprite(thing.kind, thing.colour, pixels, fault), MARGIN * pixels
        ground = np.pad(picture / 255, ((edge, edge), (edge, edge), (0, 0)))
        rows, cols = (slice(s.start, s.stop + 2 * edge) for s in box_slices(thing, pixels))
        ground[rows, cols] = painted.over(ground[rows, cols])
        picture[:] = _bytes(ground[edge : edge + size, edge : edge + size])

    return damage


def _hit(layout: Layout, size: int, rng: np.random.Generator) -> tuple[Thing, int, int]:
    """A thing, and a pixel of it."""
    thing = layout.things[rng.integers(len(layout.things))]
    spots = np.argwhere(silhouette((thing,), size))
    y, x = spots[rng.integers(len(spots))].tolist()
    return thing, y, x


def _disc(size: int, y: float, x: float, cells: float, rng: np.random.Generator) -> Bools:
    """A lump round a pixel, `cells` in radius, not quite round."""
    rows, cols = np.mgrid[0:size, 0:size]
    angle = np.arctan2(rows - y, cols - x)
    radius = (
        cells
        * size
        / CELLS
        * (1 + 0.2 * np.sin(2 * angle + rng.uniform(0, 7)) + 0.12 * np.sin(3 * angle + rng.uniform(0, 7)))
    )
    return np.hypot(rows - y, cols - x) <= radius


def _erase(picture: Picture, layout: Layout, rng: np.random.Generator, world: World) -> None:
    _, y, x = _hit(layout, len(picture), rng)
    picture[_disc(len(picture), y, x, rng.uniform(0.4, 0.9), rng)] = _bytes(np.array(BOARDS[layout.board].flat))


def _paint_over(picture: Picture, layout: Layout, rng: np.random.Generator, world: World) -> None:
    thing, y, x = _hit(layout, len(picture), rng)
    colour = _one([colour for colour in world.colours if colour != thing.colour], rng)
    picture[_disc(len(picture), y, x, rng.uniform(0.35, 0.8), rng)] = _bytes(np.array(COLOURS[colour]))


def _shear(picture: Picture, layout: Layout, rng: np.random.Generator, world: World) -> None:
    """A band of a thing is torn to one side."""
    thing, y, _ = _hit(layout, len(picture), rng)
    pixels = cell_pixels(len(picture))
    _, cols = box_slices(thing, pixels)
    half = max(2, round(rng.uniform(0.3, 0.7) * pixels))
    shift = round(rng.uniform(0.5, 1.1) * pixels) * (1 if rng.random() < 0.5 else -1)
    rows = slice(max(0, y - half), y + half)
    band = picture[rows, cols].copy()
    picture[rows, cols] = _bytes(np.array(BOARDS[layout.board].flat))
    start = min(max(0, cols.start + shift), len(picture) - band.shape[1])
    picture[rows, start : start + band.shape[1]] = band


def _crumbs(picture: Picture, layout: Layout, rng: np.random.Generator, world: World) -> None:
    """Pieces of a thing lie on free cells."""
    thing = layout.things[rng.integers(len(layout.things))]
    size, pixels = len(picture), cell_pixels(len(picture))
    source = render(layout, size)[box_slices(thing, pixels)]
    covered = silhouette(layout.things, size)
    h, w = (n // pixels for n in source.shape[:2])
    cells = [(r, c) for r in range(CELLS) for c in range(CELLS)]
    free = [(r, c) for r, c in cells if not covered[r * pixels : (r + 1) * pixels, c * pixels : (c + 1) * pixels].any()]
    for _ in range(int(rng.integers(1, 4))):
        (r, c), i, j = free[rng.integers(len(free))], int(rng.integers(h)), int(rng.integers(w))
        piece = source[i * pixels : (i + 1) * pixels, j * pixels : (j + 1) * pixels]
        picture[r * pixels : (r + 1) * pixels, c * pixels : (c + 1) * pixels] = piece


def _graft(picture: Picture, layout: Layout, rng: np.random.Generator, world: World) -> None:
    """Some cells of a thing, a third at most, are those of another one."""
    thing = layout.things[rng.integers(len(layout.things))]
    pixels = cell_pixels(len(picture))
    other = stamp(_one(world.kinds, rng), _one(world.colours, rng), layout.board, pixels)
    rows, cols = box_slices(thing, pixels)
    mine = picture[rows, cols]
    h, w = min(mine.shape[0], other.shape[0]), min(mine.shape[1], other.shape[1])
    cells = [(r, c) for r in range(h // pixels) for c in range(w // pixels)]
    first = int(rng.integers(len(cells)))
    for r, c in cells[first : first + max(1, mine.shape[0] * mine.shape[1] // pixels**2 // 3)]:
        cell = slice(r * pixels, (r + 1) * pixels), slice(c * pixels, (c + 1) * pixels)
        mine[cell] = other[cell]


_EDITS: dict[str, Callable[[Example, np.random.Generator, World], Layout | None]] = {
    "other colour": _recolour,
    "other kind": _other_kind,
    "swapped": _swap,
    "colours swapped": _swap_colours,
    "one missing": _remove,
    "one more": _add,
    "other time": _other_time,
}
_DAMAGES: dict[str, Callable[[Picture, Layout, np.random.Generator, World], None]] = {
    "limb missing": _limb("missing"),
    "limb doubled": _limb("doubled"),
    "limb misplaced": _limb("misplaced"),
    "erased": _erase,
    "painted over": _paint_over,
    "torn": _shear,
    "crumbs": _crumbs,
    "grafted": _graft,
}
FAULTS = (*_EDITS, *_DAMAGES)
AXIS = {fault: "alignment" if fault in _EDITS else "plausibility" for fault in FAULTS}
