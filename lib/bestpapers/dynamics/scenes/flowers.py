"""A flower field: several kinds of flowers and grass, small and hazy far away, large and sharp in front.

Each plant is a body of its own, a chain of jointed pieces with one to three modes below 5 Hz, and so is each tuft of grass.
What they share is the wind: a gust runs over the field, and the flowers bow one after the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ..worlds import Array, Body, Branching, Material, Part, Scene
from .backgrounds import Background, draw_background, mix, step
from .canvas import Colour, ellipse, foliage, leaf, noise, smooth, tapered, tones, turned

Frame = tuple[float, float, float]

UP = -0.5 * math.pi
FAR = 7.0  # distance of the farthest plants; the nearest stand at 1
BEND = 0.10  # share of its height by which a steady wind of 1 bends a plant


@dataclass(frozen=True)
class Species:
    """What a flower looks like. Lengths in picture heights at distance 1, angles in radians.

    head: which function below draws it.   tall: height of the plant.   size: radius of its head.   stem: radius.
    petals: how many.   width: of a petal, as share of its length.   colours: petals, one of which a plant has.
    heart: colour of the middle.   core: its radius as share of the head's.   green: of stem and leaves.
    blades: leaves on the stem.   blade: length and width of these, as share of the height.   hertz: slowest mode.
    up: how far heads turn to the sky: 0 face us, 1 seen from the side.
    """

    head: str
    tall: float
    size: float
    stem: float
    petals: int
    width: float
    colours: tuple[Colour, ...]
    heart: Colour
    core: float
    green: Colour
    blades: int
    blade: tuple[float, float]
    hertz: float
    up: float


SPECIES = {
    "poppy": Species(
        "bowl", 0.66, 0.082, 0.0042, 4, 1.30, ((0.88, 0.12, 0.07), (0.93, 0.20, 0.08), (0.80, 0.08, 0.10)),
        (0.10, 0.10, 0.10), 0.24, (0.36, 0.50, 0.26), 4, (0.26, 0.040), 0.75, 0.55,
    ),
    "daisy": Species(
        "rays", 0.52, 0.064, 0.0040, 20, 0.26, ((0.97, 0.97, 0.96), (0.98, 0.96, 0.93)),
        (0.96, 0.76, 0.12), 0.34, (0.30, 0.50, 0.20), 4, (0.22, 0.050), 0.9, 0.45,
    ),
    "tulip": Species(
        "cup", 0.58, 0.078, 0.0075, 6, 0.62,
        ((0.90, 0.16, 0.22), (0.96, 0.72, 0.12), (0.94, 0.45, 0.60), (0.55, 0.18, 0.48), (0.97, 0.93, 0.88),
         (0.95, 0.45, 0.12)),
        (0.9, 0.8, 0.3), 0.2, (0.34, 0.54, 0.34), 3, (0.62, 0.115), 0.8, 1.0,
    ),
    "lavender": Species(
        "spike", 0.56, 0.120, 0.0034, 44, 0.62, ((0.50, 0.38, 0.78), (0.58, 0.42, 0.82), (0.44, 0.34, 0.72)),
        (0.45, 0.40, 0.60), 0.3, (0.46, 0.56, 0.40), 6, (0.24, 0.028), 1.0, 1.0,
    ),
    "sunflower": Species(
        "rays", 0.86, 0.130, 0.0105, 26, 0.30, ((0.98, 0.76, 0.08), (0.97, 0.68, 0.06)),
        (0.30, 0.17, 0.07), 0.47, (0.32, 0.50, 0.18), 6, (0.24, 0.150), 0.6, 0.22,
    ),
    "cosmos": Species(
        "rays", 0.68, 0.078, 0.0034, 8, 0.62, ((0.93, 0.52, 0.74), (0.86, 0.28, 0.56), (0.98, 0.88, 0.94), (0.72, 0.12, 0.36)),
        (0.95, 0.74, 0.18), 0.20, (0.36, 0.54, 0.24), 6, (0.20, 0.018), 0.8, 0.42,
    ),
    "cornflower": Species(
        "rays", 0.62, 0.056, 0.0032, 12, 0.52, ((0.20, 0.34, 0.86), (0.28, 0.40, 0.92), (0.35, 0.30, 0.80)),
        (0.30, 0.18, 0.55), 0.34, (0.42, 0.54, 0.38), 5, (0.24, 0.024), 0.95, 0.5,
    ),
}  # fmt: skip
# what grows together, and how much of each
FIELDS: tuple[dict[str, float], ...] = (
    {"poppy": 0.62, "cornflower": 0.2, "daisy": 0.18},
    {"daisy": 0.62, "poppy": 0.2, "cornflower": 0.18},
    {"tulip": 1.0},
    {"lavender": 0.75, "daisy": 0.13, "poppy": 0.12},
    {"sunflower": 0.8, "cosmos": 0.2},
    {"cosmos": 0.7, "daisy": 0.15, "cornflower": 0.15},
    {"cornflower": 0.4, "poppy": 0.3, "daisy": 0.3},
)


# ----------------------------------------------------------------------------------------------------------- materials


def petal(u: Array, v: Array, skin: Array, pixel: float) -> Array:
    """A petal: lines along it, a dark or bright foot, a paler edge, a fold in the middle.

    skin: tones (6), length, width, facing, difference of its halves, colour factor at the foot (3), share of the length that
    the foot takes, strength of the lines, seed.
    """
    dark, bright = skin[0:3].T, skin[3:6].T
    length, width, facing, tilt = skin[6:10]
    foot, share, lines, seed = skin[10:13].T, skin[13], skin[14], skin[15].astype(int)
    t, w = u / length, v / np.maximum(width, 1e-6)
    fine = step(1.2, 3.0, width / pixel)  # no lines on what is a few texels wide
    shine = facing * (1 + tilt * np.tanh(3 * w)) + 0.18 * (t - 0.5)
    shine = (
        shine
        + lines * fine * noise(2.0 * t, 11.0 * w, seed)
        - 0.10 * fine * step(0.10, 0.0, np.abs(w)) * step(1.0, 0.3, t)
    )
    colour = dark + np.clip(shine, 0, 1.15)[:, None] * (bright - dark)
    colour = mix(colour, colour * foot, step(1.0, 0.3, t / np.maximum(share, 1e-3)))
    return mix(colour, colour * 1.12 + 0.02, step(0.75, 1.0, t) * 0.6)  # type: ignore[return-value]


def disc(u: Array, v: Array, skin: Array, pixel: float) -> Array:
    """The middle of a flower: a dome of small florets, lit from the side.

    skin: tones (6), radius along u, radius along v, light along u, light along v, brightness of the rim, seed.
    """
    dark, bright = skin[0:3].T, skin[3:6].T
    ru, rv, lu, lv, rim, seed = skin[6:12]
    a, b = u / ru, v / rv
    r = np.minimum(np.hypot(a, b), 1.0)
    turn = np.arctan2(b, a)
    grain = np.cos(21 * turn + 14 * r) * np.cos(13 * turn - 17 * r) * step(2.5, 7.0, ru / pixel)
    shine = (
        0.52
        + 0.42 * (lu * a + lv * b)
        + 0.22 * grain * (0.4 + r)
        + rim * step(0.45, 0.95, r)
        - 0.25 * step(0.45, 0.0, r)
    )
    shine = shine + 0.1 * noise(5 * a, 5 * b, seed.astype(int))
    return dark + np.clip(shine, 0, 1.2)[:, None] * (bright - dark)


def stalk(u: Array, v: Array, skin: Array, pixel: float) -> Array:
    """A round stem. skin: tones (6), length, radii at both ends, light across it, light towards us, shade at its foot."""
    dark, bright = skin[0:3].T, skin[3:6].T
    length, foot, top, across, towards, shade = skin[6:12]
    half = np.maximum(foot + (top - foot) * np.clip(u / length, 0, 1), 0.5 * pixel)
    t = np.clip(v / half, -1.0, 1.0)
    shine = np.clip(0.25 + across * t + towards * np.sqrt(1 - t * t), 0, 1) * (1 - shade * step(1.0, 0.0, u / length))
    return dark + shine[:, None] * (bright - dark)


def blade(u: Array, v: Array, skin: Array, pixel: float) -> Array:
    """A blade of grass that comes out of the meadow. skin: tones (6), length, facing, colour of the meadow at its foot (3)."""
    dark, bright = skin[0:3].T, skin[3:6].T
    t = u / skin[6]
    shine = np.clip(skin[7] * (0.75 + 0.4 * t), 0, 1.1)
    colour = dark + shine[:, None] * (bright - dark)
    return mix(skin[8:11].T, colour, step(0.0, 0.5, t))  # type: ignore[return-value]


def rosette(u: Array, v: Array, skin: Array, pixel: float) -> Array:
    """A whole small flower: petals round a middle, as one surface.

    skin: tones (6), radius, flattening of v, facing, petals, core, colour of the middle (3).
    """
    dark, bright = skin[0:3].T, skin[3:6].T
    radius, flat, facing, count, core = skin[6:11]
    a, b = u / radius, v / (radius * flat)
    r, turn = np.hypot(a, b), np.arctan2(b, a)
    shine = facing * (0.86 + 0.2 * np.cos(count * turn)) - 0.2 * a
    colour = dark + np.clip(shine, 0, 1.15)[:, None] * (bright - dark)
    return mix(colour, skin[11:14].T, step(core + 0.14, core - 0.08, r))  # type: ignore[return-value]


# -------------------------------------------------------------------------------------------------------------- plants


class Plant:
    """One plant while it is drawn: its chain of pieces and what hangs on them."""

    def __init__(
        self,
        rng: np.random.Generator,
        kind: Species,
        ground: Background,
        foot: tuple[float, float],
        distance: float,
        body: int,
    ) -> None:
        self.rng, self.kind, self.ground, self.distance, self.number = rng, kind, ground, distance, body
        self.scale = 1 / distance
        self.parts: list[Part] = []
        self.light = np.array(ground.light)
        tall = kind.tall * self.scale * float(rng.uniform(0.85, 1.12))
        pieces = 4 if distance < 3 else 2
        lean, bow = rng.normal(0, 0.09), rng.normal(0, 0.16)
        angles = UP + lean + bow * np.linspace(-0.3, 1.0, pieces)
        steps = tall / pieces * np.column_stack([np.cos(angles), np.sin(angles)])
        self.nodes = np.concatenate([[foot], np.array(foot) + np.cumsum(steps, axis=0)])
        self.radius = kind.stem * self.scale
        self.wood = Branching()
        for n in range(pieces):
            last = n == pieces - 1
            thin = self.radius * (1 - 0.45 * n / pieces)
            # a head is heavy and catches most of the wind
            load = 0.9 * self.radius**2 * tall if last else 0.0
            drag = tall * self.radius * (1.5 if last else 0.4)
            self.wood.segment(n - 1, tuple(self.nodes[n]), tuple(self.nodes[n + 1]), thin, load=load, drag=drag)
        hertz = kind.hertz * math.sqrt(kind.tall * self.scale / tall) * float(np.exp(0.05 * rng.standard_normal()))
        zetas = [0.055, 0.075, 0.095][: 3 if distance < 2 else 1]
        # gusts travel over the ground; far away they seem slower, though not as much as the eye would have it
        where = (0.8 + (foot[0] - 0.8) * distance**0.6, 0.5 + 0.35 * (1 - distance))
        points = np.tile(np.array([where]), (pieces, 1))
        self.body = _pliant(self.wood.solve(hertz, zetas, points=points), self.wood, tall, rng)

    def tones(self, colour: Colour | Array, deep: float = 0.75) -> tuple[float, ...]:
        """Tones of a colour under this sky, paler with distance."""
        both = np.array(tones(self.ground, np.clip(colour, 0.0, 1.0), deep)).reshape(2, 3)
        far = 0.62 * (1 - math.exp(-0.16 * (self.distance - 1)))
        return tuple(float(c) for c in mix(both, 0.85 * np.array(self.ground.haze), far).ravel())

    def hang(self, outline: Array, material: Material, skin: tuple[float, ...], frame: Frame, piece: int) -> None:
        """Add a part that is rigid with a piece of the stem."""
        pivot = self.wood.base[piece]
        self.parts.append(Part(outline, material, skin, frame, self.number, pivot, self.wood.motion(piece)))

    def stem(self) -> None:
        curve = smooth(self.nodes, 4)
        pieces = len(self.nodes) - 1
        tone = self.tones(self.kind.green)
        for n in range(pieces):
            piece = curve[4 * n : 4 * n + 5]
            r0, r1 = (self.radius * (1 - 0.35 * k / pieces) for k in (n, n + 1))
            along = piece[-1] - piece[0]
            length, angle = float(np.hypot(*along)), math.atan2(along[1], along[0])
            more = 0.8 * r0 * along / length
            piece = np.concatenate([piece[:1] - more * (n > 0), piece, piece[-1:] + 0.5 * more])
            across = -math.sin(angle) * self.light[0] + math.cos(angle) * self.light[1]
            skin = (*tone, length, r0, r1, float(across), float(0.45 + 0.4 * self.light[2]), 0.5 if n == 0 else 0.0)
            frame = (float(curve[4 * n, 0]), float(curve[4 * n, 1]), angle)
            self.hang(tapered(piece, np.linspace(r0, r1, len(piece))), stalk, skin, frame, n)

    def blades(self) -> None:
        """Leaves along the stem, the lower the longer."""
        rng, kind = self.rng, self.kind
        pieces = len(self.nodes) - 1
        count = kind.blades if self.distance < 3 else min(2, kind.blades)
        side = 1 if rng.random() < 0.5 else -1
        for k in range(count):
            at = (0.04 + 0.62 * (k + rng.uniform(0, 0.7)) / count) * pieces
            piece = int(at)
            spot = self.nodes[piece] + (at - piece) * (self.nodes[piece + 1] - self.nodes[piece])
            length = kind.blade[0] * kind.tall * self.scale * (1.15 - 0.5 * at / pieces) * rng.uniform(0.8, 1.15)
            width = length * kind.blade[1] / kind.blade[0] * rng.uniform(0.8, 1.15)
            turn = UP + side * rng.uniform(0.35, 1.05)
            frame = (float(spot[0]), float(spot[1]), float(turn))
            bright = float(np.clip(0.55 + 0.4 * side * self.light[0] + rng.normal(0, 0.12), 0.12, 1.0))
            colour = np.array(kind.green) * rng.uniform(0.85, 1.12)
            tilt = 0.30 * side * float(np.sign(-self.light[1] + 1e-9))
            skin = (*self.tones(colour, 0.6), length, width, bright, tilt, float(rng.integers(1 << 20)))
            self.hang(leaf(frame, length, width, 9, 0.38), foliage, skin, frame, piece)
            side = -side

    def head(self) -> None:
        """The flower, on the last piece."""
        rng, kind = self.rng, self.kind
        self.top = self.nodes[-1]
        last = self.nodes[-1] - self.nodes[-2]
        self.lean = math.atan2(last[1], last[0]) + rng.normal(0, 0.25)
        self.size = kind.size * self.scale * float(rng.uniform(0.85, 1.12))
        self.colour = np.clip(
            np.array(kind.colours[int(rng.integers(len(kind.colours)))]) * rng.uniform(0.93, 1.05), 0, 1
        )
        self.piece = len(self.nodes) - 2
        # how open to us: 1 a full circle, small seen from the side
        side = float(np.clip(kind.up + rng.normal(0, 0.15), 0.02, 0.85))
        self.flat = math.sqrt(1 - side**2)
        normal = np.array([side * math.cos(self.lean), side * math.sin(self.lean), self.flat])
        self.normal, self.facing = normal, float(np.clip(0.45 + 0.6 * normal @ self.light, 0.18, 1.0))
        if kind.head in ("bowl", "rays") and self.size < 0.021:
            self._small()
        else:
            {"bowl": self._bowl, "rays": self._rays, "cup": self._cup, "spike": self._spike}[kind.head]()

    def _disc(self, radius: float, angle: float) -> tuple[float, float]:
        """A place on the head's disc: `angle` 0 is the side that leans away, at the flower's top."""
        p, q = self.flat * radius * math.cos(angle), radius * math.sin(angle)
        c, s = math.cos(self.lean), math.sin(self.lean)
        return float(self.top[0] + c * p - s * q), float(self.top[1] + s * p + c * q)

    def _petal(
        self, a: float, length: float, width: float, shape: float, facing: float, *, start: float = 0.0,
        foot: Colour = (0.8, 0.8, 0.8), share: float = 0.4, lines: float = 0.12, notch: float = 0.0,
    ) -> None:  # fmt: skip
        """One petal at angle a of the disc. shape: where it is widest.   start: where it begins, as share of its length."""
        x0, y0 = self._disc(start * length, a)
        x1, y1 = self._disc(length, a)
        long = math.hypot(x1 - x0, y1 - y0) + 1e-9
        frame = (x0, y0, math.atan2(y1 - y0, x1 - x0))
        # the disc is seen at a slant: petals towards us are short and wide, those to the side long and narrow
        wide = width * math.sqrt(math.cos(a) ** 2 + (self.flat * math.sin(a)) ** 2)
        t = np.linspace(0.0, 1.0, 9)
        half = 0.5 * wide * np.sin(math.pi * np.clip(t, 0, 0.985) ** (math.log(0.5) / math.log(shape))) ** 0.75
        u = long * np.concatenate([t, t[-2:0:-1]])
        u[8] -= notch * long
        outline = turned(u, np.concatenate([half, -half[-2:0:-1]]), frame)
        tilt = 0.22 * float(-math.sin(frame[2]) * self.light[0] + math.cos(frame[2]) * self.light[1])
        rim = np.array([*(np.array([x1, y1]) - self.top), 0.0]) / (self.size + 1e-9)
        bright = float(np.clip(facing - 0.22 * rim @ self.light + self.rng.normal(0, 0.05), 0.1, 1.05))
        deep = 0.72
        skin = (
            *self.tones(self.colour, deep),
            long,
            max(wide, 1e-5),
            bright,
            tilt,
            *foot,
            share,
            lines,
            float(self.rng.integers(1 << 20)),
        )
        self.hang(outline, petal, skin, frame, self.piece)

    def _heart(self, radius: float, rise: float = 0.0, rim: float = 0.0, colour: Colour | None = None) -> None:
        """The middle of the disc."""
        c, s = math.cos(self.lean), math.sin(self.lean)
        x, y = self.top + rise * np.array([c, s])
        frame = (float(x), float(y), float(self.lean))
        lu, lv = c * self.light[0] + s * self.light[1], c * self.light[1] - s * self.light[0]
        flat = max(self.flat, 0.45)
        tone = self.tones(self.kind.heart if colour is None else colour, 0.5)
        skin = (*tone, flat * radius, radius, float(lu), float(lv), rim, float(self.rng.integers(1 << 20)))
        self.hang(ellipse(frame[0], frame[1], flat * radius, radius, self.lean, 16), disc, skin, frame, self.piece)

    def _small(self) -> None:
        kind = self.kind
        corners = 3 * min(kind.petals, 10) if kind.petals > 4 else 14
        t = np.arange(corners) * 2 * math.pi / corners
        bumps = min(kind.petals, 10) if kind.petals > 4 else 4
        r = self.size * (0.90 + 0.10 * np.cos(bumps * t))
        frame = (float(self.top[0]), float(self.top[1]), float(self.lean))
        flat = max(self.flat, 0.4)
        outline = turned(flat * r * np.cos(t), r * np.sin(t), frame)
        middle = mix(self.tones(kind.heart)[:3], self.tones(kind.heart)[3:], 0.6)
        skin = (
            *self.tones(self.colour),
            flat * self.size,
            1 / flat,
            self.facing,
            float(bumps),
            kind.core,
            *(float(c) for c in middle),
        )
        self.hang(outline, rosette, skin, frame, self.piece)

    def _rays(self) -> None:
        """A disc with a ring of petals, or two."""
        kind, rng = self.kind, self.rng
        foot: Colour = (0.70, 0.62, 0.70) if kind.petals < 10 else (0.86, 0.84, 0.80)
        order = [(k + 0.2 * rng.normal()) * 2 * math.pi / kind.petals for k in range(kind.petals)]
        for layer in (0, 1) if kind.petals > 12 else (1,):
            for k in sorted(range(kind.petals), key=lambda k: -math.cos(order[k])):
                if kind.petals > 12 and k % 2 != layer:
                    continue
                length = self.size * rng.uniform(0.92, 1.06)
                wide = kind.width * length * (1.25 if kind.petals > 12 else 1.0)
                self._petal(
                    order[k], length, wide, 0.66, self.facing * (0.84 + 0.16 * layer), start=0.15, foot=foot, share=0.45,
                    notch=0.09 if kind.petals < 13 else 0.0,
                )  # fmt: skip
        self._heart(kind.core * self.size, 0.07 * self.size * (1 - self.flat), 0.18 if kind.core > 0.4 else 0.05)
        if kind.core > 0.4:  # sunflower: a darker eye
            self._heart(0.5 * kind.core * self.size, 0.05 * self.size * (1 - self.flat), 0.0, (0.20, 0.14, 0.05))

    def _bowl(self) -> None:
        """Four broad, crumpled petals round a dark middle."""
        kind, rng = self.kind, self.rng
        turn = rng.uniform(-0.4, 0.4)
        black: Colour = (0.25, 0.12, 0.14)
        for a, long, bright in ((0.0, 1.0, 0.92), (math.pi / 2, 0.95, 0.85), (-math.pi / 2, 0.95, 0.85)):
            self._petal(
                a + turn,
                long * self.size,
                kind.width * self.size,
                0.66,
                self.facing * bright,
                foot=black,
                share=0.30,
                lines=0.22,
            )
        self._heart(kind.core * self.size, 0.10 * self.size, 0.25)
        # the near petal stands up before the middle when the flower is seen from the side
        near = 0.55 + 0.45 * self.flat
        self._petal(
            math.pi + turn,
            near * self.size,
            1.2 * self.size,
            0.6,
            self.facing * 1.05,
            foot=black,
            share=0.22,
            lines=0.22,
        )
        if self.flat > 0.6:
            self._heart(0.8 * kind.core * self.size, 0.06 * self.size, 0.25)

    def _cup(self) -> None:
        """A tulip: three petals behind, three in front, closed to a cup."""
        rng = self.rng
        long, wide = 1.55 * self.size, 0.72 * self.size
        for a, length, width, bright in (
            (-0.16, 0.98, 0.9, 0.55), (0.16, 0.98, 0.9, 0.60),
            (-0.23, 0.92, 1.0, 0.86), (0.23, 0.92, 1.0, 0.86), (0.0, 0.96, 1.25, 1.0),
        ):  # fmt: skip
            a += rng.normal(0, 0.02)
            frame = (float(self.top[0]), float(self.top[1]), float(self.lean + a))
            outline = leaf(frame, length * long, width * wide, 11, 0.42)
            lit = float(-math.sin(frame[2]) * self.light[0] + math.cos(frame[2]) * self.light[1])
            shine = float(np.clip(bright * (0.62 + 0.22 * self.light[2]) + 0.9 * a * lit * 2, 0.1, 1.0))
            skin = (
                *self.tones(self.colour, 0.62), length * long, width * wide, shine, 0.30 * lit, 0.95, 1.0, 0.72, 0.35, 0.13,
                float(rng.integers(1 << 20)),
            )  # fmt: skip
            self.hang(outline, petal, skin, frame, self.piece)

    def _spike(self) -> None:
        """Lavender: whorls of small florets up the last piece."""
        rng, kind = self.rng, self.kind
        count = kind.petals if self.distance < 1.8 else (22 if self.distance < 3 else 9)
        size = 0.23 * self.size * (kind.petals / count) ** 0.35
        axis = np.array([math.cos(self.lean), math.sin(self.lean)])
        across = np.array([-axis[1], axis[0]])
        for k in range(count):
            t = k / (count - 1)
            whorl = (math.floor(t * 7) + 0.5 + 0.5 * rng.uniform(-1, 1)) / 7
            off = rng.uniform(-1, 1)
            spot = self.top + axis * self.size * (2.1 * whorl - 0.6) + across * off * 0.17 * self.size * (1.1 - 0.7 * t)
            turn = self.lean + 0.9 * off + rng.normal(0, 0.2)
            length, width = size * rng.uniform(0.9, 1.2) * (1.15 - 0.5 * t), kind.width * size
            frame = (float(spot[0]), float(spot[1]), float(turn))
            lit = float(
                np.clip(
                    0.55 + 0.5 * off * (across @ self.light[:2]) + 0.25 * self.light[2] + rng.normal(0, 0.12), 0.1, 1.0
                )
            )
            colour = np.clip(self.colour * rng.uniform(0.85, 1.15), 0, 1)
            skin = (
                *self.tones(colour, 0.6), length, width, lit, 0.15, 0.8, 0.8, 0.9, 0.5, 0.05, float(rng.integers(1 << 20)),
            )  # fmt: skip
            self.hang(leaf(frame, length, width, 6, 0.55), petal, skin, frame, self.piece)


def _pliant(body: Body, wood: Branching, tall: float, rng: np.random.Generator) -> Body:
    """The body with loads so scaled that a steady wind of 1 from the side bends its tip by about BEND of its height."""
    still = body.loads.sum(0)[:, 0] / (2 * math.pi * body.frequencies) ** 2
    tip, base = np.array(wood.tip[-1]), np.array(wood.base[-1])
    motion = still @ wood.motion(len(wood.tip) - 1)
    moved = abs(motion[0] - motion[2] * (tip[1] - base[1]))
    wanted = BEND * tall * float(np.exp(0.15 * rng.standard_normal()))
    return replace(body, loads=body.loads * (wanted / max(moved, 1e-12)))


def _tuft(
    rng: np.random.Generator,
    ground: Background,
    foot: tuple[float, float],
    distance: float,
    number: int,
    lush: Array,
    soil: Colour,
) -> tuple[Body, list[Part]]:
    """A tuft of grass, blades that swing together. lush: colour of the grass; soil: what the meadow shows where it stands."""
    scale = 1 / distance
    tall = float(rng.uniform(0.20, 0.42)) * scale
    wood = Branching()
    wood.segment(-1, foot, (foot[0], foot[1] - tall), 0.004 * scale)
    where = (0.8 + (foot[0] - 0.8) * distance**0.6, 0.5 + 0.35 * (1 - distance))
    solved = wood.solve(1.2 * 0.30 * scale / tall, [0.09], points=np.array([where]))  # short grass is quick
    body = _pliant(solved, wood, tall, rng)
    parts = []
    far = 0.55 * (1 - math.exp(-0.16 * (distance - 1)))
    for _ in range(int(rng.integers(7, 12)) if distance < 3.5 else 5):
        length = tall * rng.uniform(0.55, 1.15)
        width = length * rng.uniform(0.035, 0.06)
        turn = UP + rng.normal(0, 0.22)
        bow = rng.normal(0, 0.35)
        x = foot[0] + rng.normal(0, 0.055) * scale
        angles = turn + bow * np.linspace(0, 1, 5)
        strides = length / 5 * np.column_stack([np.cos(angles), np.sin(angles)])
        nodes = np.cumsum(np.concatenate([[[x, foot[1]]], strides]), axis=0)
        outline = tapered(nodes, 0.5 * width * np.array([0.8, 1.0, 0.95, 0.75, 0.45, 0.05]))
        colour = np.clip(lush * rng.uniform(0.75, 1.2) + rng.normal(0, 0.025, 3), 0, 1)
        both = mix(np.array(tones(ground, colour, 0.55)).reshape(2, 3), 0.85 * np.array(ground.haze), far)
        shine = float(np.clip(0.5 + 0.5 * np.sign(bow) * ground.light[0] + rng.normal(0, 0.18), 0.08, 1.0))
        frame = (float(x), foot[1], float(turn))
        skin = (*(float(c) for c in both.ravel()), length, shine, *soil)
        parts.append(Part(outline, blade, skin, frame, number, foot, wood.motion(0)))
    return body, parts


# --------------------------------------------------------------------------------------------------------------- build


def build(rng: np.random.Generator) -> Scene:
    """A field of flowers."""
    ground = draw_background("flowers", rng)
    mixture = FIELDS[int(rng.integers(len(FIELDS)))]
    names, shares = list(mixture), np.array(list(mixture.values()))
    lush = np.array([0.40, 0.60, 0.22]) + rng.normal(0, 0.03, 3)
    below = float(rng.uniform(1.34, 1.52))  # y of the ground at distance 1: how far we look down on the field
    things: list[tuple[float, str]] = []
    crowd = 0.85 if "sunflower" in mixture else (1.35 if "lavender" in mixture else 1.0)
    for far, near, count in ((FAR, 3.8, 52), (3.8, 2.0, 36), (2.0, 0.95, 24)):
        for _ in range(round(count * crowd)):
            things.append((float(far * (near / far) ** rng.random()), str(rng.choice(names, p=shares / shares.sum()))))
    for far, near, count in ((FAR, 3.8, 44), (3.8, 2.0, 44), (2.0, 0.9, 40)):
        things += [(float(far * (near / far) ** rng.random()), "") for _ in range(count)]
    meadow = ground.paint(100, 160)
    bodies: list[Body] = []
    parts: list[Part] = []
    heads: list[tuple[float, float, float]] = []
    for distance, name in sorted(things, key=lambda thing: -thing[0]):
        y = ground.horizon + (below - ground.horizon) / distance
        if not name:
            foot = (float(rng.uniform(-0.1, 1.7)), float(y))
            r, g, b = meadow[min(99, int(100 * y)), min(159, max(0, int(100 * foot[0])))]
            soil = (float(r), float(g), float(b))
            body, blades = _tuft(rng, ground, foot, distance, len(bodies), lush, soil)
            bodies.append(body)
            parts += blades
            continue
        # of some places the one farthest from the heads that are there
        tall = SPECIES[name].tall / distance
        places = rng.uniform(-0.08, 1.68, 6)
        room = [
            min([math.hypot(x - a, y - tall - b) / (size + 1e-6) for a, b, size in heads], default=9.0) for x in places
        ]
        x = float(places[int(np.argmax(room))])
        heads.append((x, y - tall, SPECIES[name].size / distance))
        plant = Plant(rng, SPECIES[name], ground, (x, float(y)), distance, len(bodies))
        plant.stem()
        plant.blades()
        plant.head()
        bodies.append(plant.body)
        parts += plant.parts
    return Scene("flowers", bodies, parts, ground.paint, sway=0.011)
