"""What all body plans share: traits, looks, and the canvas with helpers for leaves, petals and eyes."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bestpapers.bioclip.organisms.canvas import NONE, Canvas, Colour, Point, blob, oval, poly

Options = dict[str, Any]  # of `Canvas.part`, by name
TAU = 2 * math.pi
BLACK: Colour = (0.06, 0.06, 0.07)
WHITE: Colour = (0.96, 0.96, 0.94)
BONE: Colour = (0.88, 0.82, 0.68)
GREEN: Colour = (0.20, 0.42, 0.14)
LEAF: Colour = (0.36, 0.58, 0.20)
BARK: Colour = (0.42, 0.30, 0.20)


class Traits(NamedTuple):
    """What is inherited: fourteen numbers, each about standard normal over all species.

    The first five shape the body, the next five colour it, the last four draw its pattern. Each plan says in its own
    way what "limbs" or "ornament" is: legs or the depth of a leaf's lobes, a beak or the warts of a cap.
    """

    elongation: float = 0.0
    bulk: float = 0.0
    limbs: float = 0.0
    head: float = 0.0
    ornament: float = 0.0
    hue: float = 0.0
    saturation: float = 0.0
    value: float = 0.0
    hue2: float = 0.0
    value2: float = 0.0
    pattern: float = 0.0  # which of the family's patterns
    scale: float = 0.0
    contrast: float = 0.0
    accent: float = 0.0


@dataclass(frozen=True)
class Look:
    """What a family looks like: a plan, its options, three colours (hue, saturation, value) and a choice of patterns."""

    plan: Callable[..., None]
    main: Colour
    second: Colour
    accent: Colour
    patterns: tuple[int, ...] = (NONE,)
    hues: float = 0.03  # how far a trait of one standard deviation turns the hue, in turns
    turn: float = 0.1  # standard deviation of the picture's rotation, radians
    options: dict[str, Any] = field(default_factory=dict)


def bound(z: float) -> float:
    """A trait, so that the rarest ones still make a viable body: in (-2.2, 2.2), and near z where |z| < 1."""
    return 2.2 * math.tanh(z / 2.2)


def grow(base: float, z: float, gain: float = 0.3) -> float:
    """A length: `base` for the average trait, about exp(gain) times as much for each standard deviation more."""
    return base * math.exp(gain * bound(z))


def count(low: int, high: int, z: float) -> int:
    """A number of things from low to high: the middle for the average trait."""
    return low + min(high - low, int((high - low + 1) * (0.5 + 0.5 * math.erf(z / math.sqrt(2)))))


def mix(a: Colour, b: Colour, t: float) -> Colour:
    """The colour t of the way from a to b."""
    return (a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1]), a[2] + t * (b[2] - a[2]))


def dim(c: Colour, k: float) -> Colour:
    """A colour k times as bright."""
    return (min(1.0, k * c[0]), min(1.0, k * c[1]), min(1.0, k * c[2]))


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """A colour from its hue (in turns, of any sign), saturation and value."""
    return colorsys.hsv_to_rgb(hue % 1.0, saturation, value)


def opts(**options: Any) -> Options:
    """Options of a part, to hand on or to join with `|`."""
    return options


def place(x: float, y: float, turn: float, points: Iterable[Point]) -> list[Point]:
    """Points (along, across) carried to (x, y) and turned anticlockwise by `turn` radians."""
    c, s = math.cos(turn), math.sin(turn)
    return [(x + u * c - v * s, y + u * s + v * c) for u, v in points]


def spot(x: float, y: float, turn: float, u: float, v: float = 0.0) -> Point:
    """The one point (u along, v across), carried as `place` does."""
    return place(x, y, turn, [(u, v)])[0]


def mirrored(points: Iterable[Point], side: int) -> list[Point]:
    """Points on the right side (side = 1) or their mirror images on the left (-1)."""
    return [(side * x, y) for x, y in points]


def leaf(
    x: float,
    y: float,
    turn: float,
    length: float,
    width: float,
    *,
    peak: float = 0.45,
    teeth: int = 0,
    bite: float = 0.0,
    sharp: float = 1.0,
    smooth: int = 0,
) -> tuple[Any, ...]:
    """The outline of a leaf, petal or wing that grows from (x, y) in the direction `turn`.

    Widest (2 `width`) at `peak` of its length; `teeth` on each side, cut in by the share `bite`, which are round lobes
    if `smooth` > 0; `sharp` > 1 makes both ends pointed, < 1 blunt.
    """
    n = max(teeth, 6)
    power = math.log(0.5) / math.log(peak)
    half = [width * math.sin(math.pi * (k / (2 * n)) ** power) ** sharp for k in range(1, 2 * n)]
    side: list[Point] = []
    for k, h in enumerate(half, 1):
        if not teeth:
            side.append((k, h))
        elif k % 2 == 0:
            side.append((k, (1.0 - bite) * h))  # a notch
        elif smooth:
            side += [(k - 0.45, 0.95 * h), (k + 0.55, h)]  # a lobe
        else:
            side.append((k + 0.6, h))  # a tooth leans towards the tip
    side = [(k / (2 * n) * length, h) for k, h in side]
    points = place(x, y, turn, [(0.0, 0.0), *side, (length, 0.0), *((u, -v) for u, v in reversed(side))])
    return blob(points, smooth) if smooth else poly(points, 0.004)


def notched(x: float, y: float, turn: float, length: float, width: float, notch: float = 0.1) -> tuple[Any, ...]:
    """The outline of a heart-shaped petal: narrow at (x, y), notched at its far end."""
    side = [(0.25 * length, 0.45 * width), (0.62 * length, width), (0.95 * length, 0.68 * width)]
    tip = [(length * (1.0 - notch), 0.0)]
    return blob(place(x, y, turn, [(0.0, 0.0), *side, *tip, *((u, -v) for u, v in reversed(side))]), 4)


class Sketch(Canvas):
    """The canvas of one organism: its traits `t`, its pose `w` (24 numbers in [-1.7, 1.7]), colours and pattern.

    `below` holds what belongs to the scene and not to the body (shadow, perch, web): the camera does not frame it.
    """

    def __init__(self, look: Look, t: Traits, w: Sequence[float], seed: int) -> None:
        super().__init__()
        self.t, self.w, self.seed = t, w, seed
        self.below = Canvas()
        self.main = self._colour(look.main, look.hues * t.hue, t.saturation, t.value)
        self.second = self._colour(look.second, look.hues * t.hue2, t.saturation, t.value2)
        self.accent = self._colour(look.accent, 0.07 * t.accent, t.contrast, t.value2)
        # the patterns follow each other round and round, so that sisters mostly share one and genera often do not
        self.pattern = look.patterns[math.floor(t.pattern / 0.6) % len(look.patterns)]
        self.amount = max(0.15, min(1.0, 0.75 + 0.25 * t.contrast))

    @staticmethod
    def _colour(colour: Colour, hue: float, saturation: float, value: float) -> Colour:
        h, s, v = colour
        s = 1 - (1 - s) ** math.exp(0.45 * bound(saturation))
        v = 1 - (1 - v) ** math.exp(0.45 * bound(value))
        return hsv(h + hue, s, v)

    def marks(self, ink: Colour, scale: float, duty: float = 0.4, wild: float = 0.5, **more: Any) -> Options:
        """The pattern of this organism, with the scale and strength that its traits give it, as options of a part."""
        marks = dict(pattern=self.pattern, ink=ink, amount=self.amount, scale=grow(scale, self.t.scale))
        return marks | dict(duty=duty, wild=wild, seed=self.seed) | more

    def eye(self, x: float, y: float, r: float, iris: Colour | None = None) -> None:
        """An eye with a spark; with an iris, the pupil fills 0.6 of it."""
        if iris is not None:
            self.part(oval(x, y, r, r), iris, rim=0.5)
            r *= 0.6
        self.part(oval(x, y, r, r), BLACK, rim=0)
        self.part(oval(x + 0.3 * r, y + 0.35 * r, 0.35 * r, 0.35 * r), WHITE, rim=0)

    def shadow(self, x: float, y: float, rx: float) -> None:
        """The shadow on the ground, of half width rx."""
        self.below.part(oval(x, y, rx, 0.05 + 0.06 * rx), BLACK, alpha=0.35, soft=0.12, rim=0)
