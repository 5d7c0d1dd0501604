"""A lake or canal: a far shore, and its picture in moving water. (ours)

What is seen in the water is the shore upside down, displaced by waves. A wave of length L on deep water has the frequency
sqrt(g / 2 pi L); in the picture it looks shorter the farther away it is, since we look along the water at a grazing angle.
Each wave comes as two standing waves, a quarter of a length apart, with one frequency: together they make a wave that
travels, which way and how strongly is the wind's affair. The displacement grows towards the viewer and is zero at the far
waterline, and where a wave would be finer than a few pixels it is left out.

The field of displacements is smooth, and `build` keeps its gradient small, so that it never folds: each point of the
picture shows one point of the still (`worlds.FieldPart`). That holds for winds up to about four times the ordinary one.

What one can read off a picture: waves that look long (from low above the water: with reeds and large houses) are short in
metres and quick; from high above (small houses) the same lines are long waves, and slow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..worlds import Body, Branching, FieldPart, Part, Scene
from .backgrounds import Array, Colour, Sheet, crowns, draw_background, houses, mix, noise, step, tone, vary
from .canvas import fbm, smooth, tapered

Floats = NDArray[np.float64]

GRAVITY = 9.81  # m/s^2
FOCAL = 1.3  # of the camera, in picture heights
SWAY = 0.0045  # picture heights, root mean square: what a wind of strength 1 does to the picture in the water
STEEP = 0.05  # root mean square of the field's gradients, at the steepest place
FINEST = (0.03, 0.07)  # picture heights: waves that look shorter than this fade out


def deep_water(length: ArrayLike) -> Floats:
    """Frequency in Hz of waves `length` metres long on deep water."""
    return np.sqrt(GRAVITY / (2.0 * math.pi * np.asarray(length, np.float64)))


@dataclass(frozen=True)
class Waves:
    """Standing waves on a lake, seen in perspective. W waves make 2 W modes: cosine and sine of each.

    waterline   scene y of the far shore
    eye         metres of the camera above the water
    beyond      picture heights from the far shore up to the horizon
    length      (W,) m
    heading     (W,) radians between the direction of travel and the line of sight
    """

    waterline: float
    eye: float
    beyond: float
    length: Floats
    heading: Floats

    def plane(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats, Floats]:
        """Of points of the picture: metres to the right and away on the water, and picture heights below the far shore."""
        below = np.maximum(np.asarray(y, np.float64) - self.waterline, 0.0)
        away = FOCAL * self.eye / (below + self.beyond)
        return (np.asarray(x, np.float64) - 0.8) * away / FOCAL, away, below

    def shapes(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """(2 W, 2, N): displacement at points (N,) of the picture per unit of each mode."""
        right, away, below = self.plane(x, y)
        out = np.empty((2 * len(self.length), 2, np.size(right)))
        grows = (below / (1.0 - self.waterline)) ** 1.25
        squeeze = (below + self.beyond) ** 2 / (FOCAL * self.eye)  # picture heights to a metre away
        for w, (length, heading) in enumerate(zip(self.length, self.heading)):
            number = 2.0 * math.pi / length
            phase = number * (math.sin(heading) * right + math.cos(heading) * away)
            seen = length * squeeze / max(abs(math.cos(heading)), 0.15)  # its length in the picture
            size = grows * step(*FINEST, seen)
            # a slope to the side moves the image sideways, a slope towards us up and down
            for n, wave in enumerate((np.cos(phase), np.sin(phase))):
                out[2 * w + n, 0] = (0.6 + 0.4 * abs(math.sin(heading))) * size * wave
                out[2 * w + n, 1] = 0.30 * math.cos(heading) * size * wave
        return out


# ------------------------------------------------------------------------------------------------------------ the shore


@dataclass(frozen=True)
class _Boat:
    """A boat at anchor: where its keel meets the water, its length (picture heights), and which way it heads."""

    x: float
    y: float
    long: float
    head: float
    paint: Colour
    sail: Colour
    rig: int  # 0: bare mast and a lamp, 1: one sail, 2: two sails

    def shapes(self) -> list[tuple[str, Floats]]:
        """Outlines from back to front, each with what it is made of."""
        long, h = self.long, self.head
        hull = smooth(
            [
                (-0.50, -0.16),
                (-0.42, -0.02),
                (-0.2, 0.045),
                (0.15, 0.05),
                (0.38, 0.0),
                (0.56, -0.2),
                (0.2, -0.125),
                (-0.2, -0.12),
                (-0.50, -0.16),
            ],
            4,
        )
        out: list[tuple[str, Floats]] = []
        if self.rig > 0:
            main = smooth(
                [(0.03, -0.2), (-0.10, -0.24), (-0.40, -0.25), (-0.33, -0.6), (-0.12, -1.0), (0.02, -1.22)], 5
            )
            out.append(("sail", main))
        if self.rig > 1:
            jib = np.concatenate(
                [
                    smooth([(0.09, -0.27), (0.25, -0.26), (0.50, -0.24)], 4),
                    smooth([(0.50, -0.24), (0.30, -0.6), (0.08, -1.06)], 5),
                ]
            )
            out.append(("sail", jib))
        out.append(("mast", tapered([(0.05, -0.1), (0.05, -0.8), (0.05, -1.28)], [0.014, 0.012, 0.008])))
        if self.rig == 0:
            out.append(("cabin", np.array([(-0.3, -0.1), (-0.27, -0.26), (0.0, -0.26), (0.06, -0.1)])))
        out.append(("hull", hull))
        return [(what, np.array([self.x, self.y]) + long * points * (h, 1.0)) for what, points in out]


class _Lake:
    """Everything of one scene that is drawn by chance, and how it is painted."""

    def __init__(self, rng: np.random.Generator) -> None:
        plain = draw_background("water", rng)
        self.b = b = plain
        self.seed = int(rng.integers(2**30))
        self.eye = float(np.exp(rng.uniform(math.log(1.6), math.log(7.0))))
        near = (1.0 / self.eye) ** 0.5  # 0.8 low above the water .. 0.38 from high
        self.waterline = b.horizon
        self.town = bool(rng.random() < 0.62)
        self.size = float(rng.uniform(0.22, 0.32)) * near
        self.wood = float(rng.uniform(0.12, 0.26)) * near
        self.far = float(rng.uniform(0.05, 0.35))
        self.mist = float(rng.uniform(0.15, 0.75)) if b.hour == "dawn" else float(rng.uniform(0.0, 0.25))
        self.boats: list[_Boat] = []
        if rng.random() < 0.6:
            for k in range(int(rng.integers(1, 4))):
                sails = vary(
                    rng, ((0.95, 0.92, 0.86), (0.85, 0.30, 0.18), (0.90, 0.75, 0.45))[int(rng.integers(3))], 0.1
                )
                hulls = vary(
                    rng,
                    ((0.85, 0.83, 0.80), (0.18, 0.28, 0.42), (0.50, 0.16, 0.12), (0.36, 0.24, 0.15))[
                        int(rng.integers(4))
                    ],
                    0.1,
                )
                x = (
                    float(rng.uniform(0.15, 1.45))
                    if k == 0
                    else float((self.boats[-1].x + rng.uniform(0.35, 0.9) - 0.1) % 1.4 + 0.1)
                )
                y = self.waterline + float(rng.uniform(0.035, 0.15))
                long = float(rng.uniform(0.10, 0.17)) * (0.55 + 3.2 * (y - self.waterline)) * (0.5 + near)
                self.boats.append(_Boat(x, y, long, float(rng.choice([-1, 1])), hulls, sails, int(rng.integers(3))))
        self.boats.sort(key=lambda boat: boat.y)
        self.lamps = (
            [(float(x), float(rng.uniform(0.35, 1.0))) for x in rng.uniform(-0.1, 1.7, int(rng.integers(0, 9)))]
            if b.dark > 0.5
            else []
        )
        self.waves = self._waves(rng)
        # the still shows waves too: those of some moment, of which the displacement is 0.009 heights (root mean square)
        across, down = (a.ravel() for a in np.meshgrid(np.linspace(0.0, 1.6, 48), np.linspace(self.waterline, 1.0, 32)))
        rest = rng.standard_normal(2 * len(self.waves.length)) * np.repeat(self.waves.length, 2)
        moved = np.einsum("j,jcn->cn", rest, self.waves.shapes(across, down))
        self.rest = rest * float(rng.uniform(0.006, 0.012)) / math.sqrt(float((moved**2).sum(0).mean()))
        self.spread = 0.005
        self._kept: tuple[float, Sheet] | None = None  # the last size's land, of which the water shows the picture

    def _waves(self, rng: np.random.Generator) -> Waves:
        count = int(rng.integers(5, 9))
        beyond = float(rng.uniform(0.10, 0.18))
        bottom = (1.0 - self.waterline + beyond) ** 2 / (FOCAL * self.eye)  # picture heights to a metre, nearest to us
        # lengths by how they look at the bottom of the picture: from a few waves over the lake to fine ripples
        seen = np.exp(np.linspace(math.log(0.66), math.log(0.15), count) + rng.uniform(-0.12, 0.12, count))
        heading = np.where(rng.random(count) < 0.5, -1.0, 1.0) * rng.uniform(0.08, 0.65, count)
        return Waves(self.waterline, self.eye, beyond, seen / bottom * np.cos(heading) ** 0.5, heading)

    # -------------------------------------------------------------------------------------------------------- painting

    def land(self, sheet: Sheet) -> None:
        """Sky and far shore, as they stand above the water."""
        b, rng = self.b, np.random.default_rng(self.seed)
        b.draw(sheet)
        line = self.waterline
        crowns(sheet, b, rng, line + 0.004, self.wood * 0.9, 0.35 + 0.5 * self.far, density=1.6)
        crowns(sheet, b, rng, line + 0.004, self.wood * 0.7, 0.15 + 0.5 * self.far, density=1.0)
        if self.town:
            houses(sheet, b, rng, line, self.size, self.far, gaps=float(rng.uniform(0.1, 0.5)))
            for x in rng.uniform(-0.1, 1.7, int(rng.integers(2, 7))):
                crowns(
                    sheet,
                    b,
                    rng,
                    line,
                    self.wood * float(rng.uniform(0.35, 0.6)),
                    0.3 * self.far,
                    (float(x), float(x) + 0.02),
                )
        else:
            crowns(sheet, b, rng, line + 0.002, self.wood * 0.45, 0.4 * self.far, density=1.3)
        bank = np.exp(-(((sheet.y - line) / 0.007) ** 2))
        earth = b.lit((0.22, 0.20, 0.14), 0.25)
        sheet.lay(mix(earth, b.haze, 0.5 * self.far), 0.9 * bank * step(line + 0.012, line, sheet.y))
        fog = np.exp(-(((sheet.y - line + 0.02) / 0.055) ** 2)) * (
            0.7 + 0.5 * noise(2.2 * sheet.x, 14 * sheet.y, self.seed, 4)
        )
        sheet.lay(mix(b.haze, b.low, 0.5), np.clip(self.mist * fog, 0.0, 1.0))
        for x, power in self.lamps:
            y = line - 0.28 * self.size
            sheet.fill([(x - 0.0012, line), (x - 0.0012, y), (x + 0.0012, y), (x + 0.0012, line)], (0.06, 0.06, 0.07))
            warm = (1.0, 0.78, 0.42)
            sheet.glow(x, y, 0.006, (1.0, 0.93, 0.75), 1.3 * b.dark)
            sheet.glow(x, y, 0.03, warm, 0.55 * power * b.dark)

    def background(self, height: int, width: int) -> Array:
        """The picture without its water and boats; below the waterline it is plain, since the water covers it."""
        pixel = 1.0 / height
        edge, over = math.ceil(0.3 / pixel), math.ceil(0.2 / pixel)
        left = Sheet.picture(1, 1).left + 0.5 - 0.5 * width * pixel
        sheet = Sheet(
            pixel, left - edge * pixel, -over * pixel, width + 2 * edge, over + math.ceil(self.waterline / pixel) + 2
        )
        self.land(sheet)
        self._kept = (pixel, sheet)
        out = np.tile(np.asarray(self.b.lit((0.05, 0.13, 0.15), 0.2)), (height, width, 1)).astype(np.float32)
        seen = sheet.rgb[over:, edge : edge + width][:height]
        out[: len(seen)] = np.clip(seen, 0.0, 1.0)
        return out

    def _mirror(self, pixel: float) -> Sheet:
        """What stands above the waterline and beyond the picture's edges, with pixels of that size."""
        if self._kept is None or abs(self._kept[0] - pixel) > 1e-9:
            self.background(max(1, round(1.0 / pixel)), max(1, round(1.6 / pixel)))
        assert self._kept is not None
        return self._kept[1]

    def water(self, x: Floats, y: Floats, pixel: float) -> Array:
        """Colours (N, 3) of the water in frame 0: the shore upside down, drawn by ripples, darker towards us."""
        b, waves = self.b, self.waves
        mirror = self._mirror(pixel)
        moved = np.einsum("j,jcn->cn", self.rest, waves.shapes(x, y))
        right, _, below = waves.plane(x, y)
        fine = np.log(below + waves.beyond)
        small = noise(7.0 * right / self.eye, 42.0 * fine, self.seed + 1, 3) * step(0.0, 0.25, below)
        px = x - moved[0] - 0.006 * small
        depth = np.maximum(y - moved[1] - 0.012 * small - self.waterline, 0.0)
        shown = np.zeros((len(x), 3), np.float32)
        taps = (-1.0, -0.5, 0.0, 0.5, 1.0)
        for tap in taps:  # lights are drawn out towards us
            up = self.waterline - 0.92 * np.maximum(depth * (1.0 + 0.10 * tap) + 0.012 * tap * step(0, 0.1, below), 0.0)
            shown += mirror.sample(px, up) / len(taps)
        deep = b.lit(vary(np.random.default_rng(self.seed), (0.05, 0.13, 0.15), 0.3), 0.25)
        shine = 0.92 - 0.42 * (below / (1.0 - self.waterline)) ** 0.9
        out = mix(deep, shown, shine)
        slope = moved[1] / max(self.spread, 1e-9) + 0.8 * small
        sky = mix(b.middle, b.low, 0.4)
        out = mix(out, sky, np.clip(0.16 * slope, 0.0, 0.4) * step(0.02, 0.2, below))
        out = out * (1.0 + 0.13 * np.clip(slope, -2.0, 2.0) * step(0.0, 0.2, below))[:, None]
        sx, sy = b.source
        if b.hour != "day":  # the sun's or the moon's path
            wide = 0.035 + 0.22 * below
            path = np.exp(-(((px - sx) / wide) ** 2)) * step(0.0, 0.02, below)
            cells = noise(26.0 * right / self.eye, 60.0 * fine, self.seed + 2, 3, 0.6) + 0.25 * slope
            low = 1.0 if b.hour != "night" else 0.75
            glint = path * step(0.10, 0.50, cells) * low * np.clip(1.0 - 1.3 * (self.waterline - sy), 0.3, 1.0)
            light = mix(b.sun, (1.0, 1.0, 0.95), 0.35)
            out = out + (0.85 * glint)[:, None] * light * (1.0 - np.clip(out, 0, 1))
        for boat in self.boats:
            out = self._boat_below(boat, px, y - moved[1] - 0.012 * small, out)
        shore = np.exp(-below / 0.012)
        return np.asarray(np.clip(out * (1.0 - 0.45 * shore)[:, None], 0.0, 1.0), np.float32)

    def _boat_below(self, boat: _Boat, x: Floats, y: Floats, out: Array) -> Array:
        """The boat's picture in the water."""
        near = (np.abs(x - boat.x) < 0.8 * boat.long) & (y > boat.y - 0.1 * boat.long) & (y < boat.y + 1.5 * boat.long)
        if not near.any():
            return out
        px, up = x[near], 2.0 * boat.y - y[near]
        here = out[near]
        for what, outline in boat.shapes():
            colour = tone(self._boat_colour(boat, what), 0.78)
            cover = _inside(outline, px, up) * step(boat.y + 1.45 * boat.long, boat.y + 0.5 * boat.long, y[near])
            here = mix(here, colour, 0.85 * cover)
        out = out.copy()
        out[near] = here
        return out

    def _boat_colour(self, boat: _Boat, what: str) -> Array:
        base = {"sail": boat.sail, "mast": (0.28, 0.20, 0.14), "cabin": (0.72, 0.66, 0.58), "hull": boat.paint}[what]
        return self.b.lit(base, 0.55 if what == "sail" else 0.4)

    def boat(self, u: Floats, v: Floats, skin: Floats, pixel: float) -> Floats:
        """Material of a boat. skin: colour (3), what (0 hull, 1 sail, 2 mast, 3 cabin), length."""
        b = self.b
        colour, what, long = skin[:3].T.copy(), skin[3], skin[4]
        grain = fbm(60 * u / long * 0.2, 6 * v / long, 3, 3)
        belly = np.clip(0.55 + 0.8 * u / long * np.sign(b.light[0]) + 0.2 * np.sin(9.0 * v / long), 0.0, 1.0)
        facing = np.where(what == 1, belly, 0.4 + 0.15 * grain)
        seam = step(0.02, 0.008, np.abs(np.mod(v / long, 0.16) - 0.08)) * (what == 1)
        stripe = step(0.012, 0.006, np.abs(v / long + 0.085)) * (what == 0)
        wet = step(-0.02, 0.04, v / long) * (what == 0)
        colour = colour * (1.0 - 0.10 * seam)[:, None]
        colour = colour + stripe[:, None] * (np.array([0.92, 0.88, 0.78]) - colour)
        colour = colour * (1.0 - 0.5 * wet)[:, None]
        shown = b.lit(colour, np.clip(facing, 0, 1)).astype(np.float64)
        window = step(0.035, 0.028, np.abs(np.mod(u / long + 0.05, 0.11) - 0.055)) * step(
            0.045, 0.035, np.abs(v / long + 0.18)
        )
        lamp = (window * (what == 3))[:, None]
        return shown + lamp * (np.array([1.0, 0.8, 0.45]) * (0.25 + 0.75 * b.dark) - shown)

    def reed(self, u: Floats, v: Floats, skin: Floats, pixel: float) -> Floats:
        """Material of a reed's blade, stalk or head. skin: half width, colour (3)."""
        a = np.clip(v / skin[0], -1.0, 1.0)
        colour = skin[1:4].T * (0.85 + 0.25 * fbm(30 * u, 400 * v, 5, 2) - 0.22 * np.abs(a))[:, None]
        side = np.clip(0.45 + 0.4 * a * np.sign(self.b.light[0]), 0.0, 1.0)
        return np.asarray(self.b.lit(colour, side), np.float64)


def _inside(outline: Floats, x: Floats, y: Floats) -> Floats:
    """1 inside a closed outline (V, 2), 0 outside, by the even-odd rule."""
    inside = np.zeros(len(x), bool)
    for (ax, ay), (bx, by) in zip(outline, np.roll(outline, -1, axis=0)):
        if ay != by:
            inside ^= ((ay <= y) != (by <= y)) & (x < ax + (y - ay) * (bx - ax) / (by - ay))
    return inside.astype(np.float64)


# ----------------------------------------------------------------------------------------------------------- mechanics


@dataclass(frozen=True)
class _Surface:
    """The displacement of what is seen in the water: by waves, and by boats that rock above their pictures."""

    waves: Waves
    boats: tuple[_Boat, ...] = ()
    scales: Floats = field(default_factory=lambda: np.ones(0))  # (B, 2) heave and roll per unit of the boats' modes

    def __call__(self, x: Floats, y: Floats) -> Floats:
        """(J, 2, N): heave and roll of each boat after the waves' modes."""
        rows = [self.waves.shapes(x, y)]
        for boat, (heave, roll) in zip(self.boats, self.scales):
            here = np.exp(-(((x - boat.x) / (1.5 * boat.long)) ** 4)) * step(
                boat.y + 3.2 * boat.long, boat.y + 1.0 * boat.long, y
            )
            above = max(boat.y - 1.2 * boat.long, self.waves.waterline)
            here = here * step(above, boat.y + 0.02, y)
            up = np.zeros((2, 2, len(x)))
            up[0, 1] = -heave * here
            up[1, 0] = roll * here * (y - boat.y)
            up[1, 1] = -roll * here * (x - boat.x)
            rows.append(up)
        return np.concatenate(rows)


def _response(hertz: Floats, zeta: Floats, tau: float = 0.55) -> Floats:
    """What a load has to be so that gusts of correlation time tau (s) move a mode by about 1, root mean square."""
    omega = 2.0 * math.pi * hertz
    return np.sqrt(4.0 * zeta * omega**3 * (1.0 + (omega * tau) ** 2) / (2.0 * tau))


def _body(lake: _Lake, rng: np.random.Generator) -> tuple[Body, _Surface]:
    """Waves and boats as one body."""
    waves, count = lake.waves, len(lake.waves.length)
    hertz = np.repeat(deep_water(waves.length), 2)
    zeta = np.repeat(rng.uniform(0.015, 0.05, count), 2)
    points = np.column_stack([rng.uniform(-2.5, 2.5, 14), rng.uniform(2.0, 7.0, 14)]) * waves.eye  # metres: right, away
    number = 2.0 * math.pi / waves.length
    phase = number * (np.sin(waves.heading) * points[:, :1] + np.cos(waves.heading) * points[:, 1:])  # (N, W)
    where = np.column_stack([0.8 + points[:, 0] / (4.0 * waves.eye), points[:, 1] / (8.0 * waves.eye)])
    # long waves are higher; all together displace the picture by SWAY in an ordinary wind, less if that were too steep
    size = (waves.length / waves.length.max()) ** 1.3 * np.exp(rng.uniform(-0.25, 0.25, count))
    x, y = (a.ravel() for a in np.meshgrid(np.linspace(0.0, 1.6, 48), np.linspace(waves.waterline, 1.0, 32)))
    weights = np.repeat(size, 2)[:, None] ** 2
    power = (weights * (waves.shapes(x, y) ** 2).sum(1)).sum(0).mean()
    nudge = 1e-4
    across = (waves.shapes(x + nudge, y)[:, 0] - waves.shapes(x - nudge, y)[:, 0]) / (2.0 * nudge)
    along = (waves.shapes(x, y + nudge)[:, 1] - waves.shapes(x, y - nudge)[:, 1]) / (2.0 * nudge)
    steep = (weights * (across**2 + along**2)).sum(0).max()
    size *= min(SWAY / math.sqrt(float(power)), STEEP / math.sqrt(float(steep)))
    # a gust is felt alike at near points: with that, each wave's two modes get the power that they should have
    alike = np.exp(-np.abs(where[:, None, 0] - where[None, :, 0]) / 0.45)
    felt = 0.5 * sum(np.einsum("nw,nm,mw->w", f(phase), alike, f(phase)) for f in (np.cos, np.sin))
    strength = _response(hertz[::2], zeta[::2]) * size / np.sqrt(felt)
    towards = np.stack([np.ones(count), 0.8 * np.sin(waves.heading)], axis=-1)  # (W, 2)
    loads = np.empty((len(points), 2 * count, 2))
    loads[:, ::2] = (np.cos(phase) * strength)[..., None] * towards
    loads[:, 1::2] = (np.sin(phase) * strength)[..., None] * towards
    rows, scales = [], []
    for boat in lake.boats:
        # a boat rolls like a weight on a spring of water: the broader the slower
        metres = boat.long * waves.eye * FOCAL / (boat.y - waves.waterline + waves.beyond) / FOCAL
        roll = float(np.clip(1.25 / math.sqrt(max(metres, 0.3)), 0.3, 1.3)) * float(rng.uniform(0.9, 1.1))
        rows.append(([1.35 * roll, roll], [0.18, 0.06]))
        scales.append((0.02 * boat.long, 0.03))  # heave in picture heights, roll in radians
    if rows:
        more = np.array([r[0] for r in rows]).ravel()
        damp = np.array([r[1] for r in rows]).ravel()
        push = np.zeros((len(points), len(more), 2))
        for k, boat in enumerate(lake.boats):
            nearest = int(np.argmin(np.abs(points[:, 0] - (boat.x - 0.8) * 4.0 * waves.eye)))
            push[nearest, 2 * k + 1] = (1.0, 0.3)
            push[(nearest + 1) % len(points), 2 * k] = (0.5, 0.6)
        push *= _response(more, damp)[None, :, None]
        hertz, zeta = np.concatenate([hertz, more]), np.concatenate([zeta, damp])
        loads = np.concatenate([loads, push], axis=1)
    return Body(hertz, zeta, where, loads), _Surface(waves, tuple(lake.boats), np.array(scales).reshape(-1, 2))


def _reeds(lake: _Lake, rng: np.random.Generator, bodies: list[Body], parts: list[Part | FieldPart]) -> None:
    """Reeds at the near shore: stalks that bend, blades, brown heads."""
    tall = float(rng.uniform(0.30, 0.5)) * min(1.0, (2.6 / lake.eye) ** 0.5)
    side = float(rng.choice([-1.0, 1.0]))
    both = rng.random() < 0.35
    green = vary(rng, ((0.30, 0.40, 0.14), (0.48, 0.42, 0.18), (0.22, 0.33, 0.16))[int(rng.integers(3))], 0.15)
    metre = 2.2 / tall  # a reed of 2.2 m
    for _ in range(int(rng.integers(9, 20))):
        turn = -side if both and rng.random() < 0.4 else side
        foot = 0.8 + turn * (0.82 - abs(float(rng.normal())) * 0.19)
        h = tall * float(rng.uniform(0.55, 1.1))
        lean = float(rng.normal(-0.10 * turn, 0.13)) * h
        n = 5
        t = np.linspace(0.0, 1.0, n + 1)
        nodes = np.column_stack([foot + lean * t**1.8, 1.03 - h * t * (1.0 - 0.04 * t)])
        head = rng.random() < 0.45
        radius = 0.0042 * float(rng.uniform(0.8, 1.3)) * (tall / 0.4) ** 0.5
        stalk = Branching()
        for k in range(n):
            stalk.segment(
                k - 1,
                (float(nodes[k, 0]), float(nodes[k, 1])),
                (float(nodes[k + 1, 0]), float(nodes[k + 1, 1])),
                radius * (1 - 0.10 * k),
                load=(1.2e-6 if head and k == n - 1 else 0.0),
                drag=0.012 * (1.0 + k),
            )
        # a slender beam: the frequency goes with 1 / height^2
        first = float(np.clip((0.95 if head else 1.15) * (1.6 / (h * metre)) ** 1.5, 0.45, 2.4)) * float(
            rng.uniform(0.92, 1.08)
        )
        body = stalk.solve(first, [0.07, 0.09], highest=5.0)
        last = stalk.motion(n - 1)[0]
        tip = abs(float(last[0] - last[2] * (nodes[-1, 1] - nodes[-2, 1])))
        push = abs(float(body.loads[:, 0, 0].sum()))
        # so that the tip moves by a few hundredths of the reed's height
        swing = 0.035 * h / tip * float(_response(body.frequencies[:1], body.damping[:1])[0]) / push
        bodies.append(replace(body, loads=body.loads * swing))
        number = len(bodies) - 1
        shade = tone(green, float(rng.uniform(0.6, 1.25)))
        for k in range(n):
            a, c = nodes[k], nodes[k + 1]
            piece = tapered(
                [tuple(a), tuple(c + 0.12 * (c - a))],
                [radius * (1 - 0.12 * k), radius * (1 - 0.12 * (k + 1)) * (1.0 if head else 1.0 - k / n)],
            )
            frame = (float(a[0]), float(a[1]), math.atan2(c[1] - a[1], c[0] - a[0]))
            skin = (radius, float(shade[0]), float(shade[1]), float(shade[2]))
            parts.append(Part(piece, lake.reed, skin, frame, number, (float(a[0]), float(a[1])), stalk.motion(k)))
        for _ in range(int(rng.integers(1, 4))):  # blades
            at = int(rng.integers(0, n - 1))
            a = nodes[at]
            out = float(rng.choice([-1, 1])) * float(rng.uniform(0.2, 0.55)) * h
            blade = smooth(
                [
                    tuple(a),
                    (a[0] + 0.35 * out, a[1] - 0.30 * h),
                    (a[0] + out, a[1] - float(rng.uniform(0.15, 0.42)) * h),
                ],
                6,
            )
            wide = 1.5 * radius * np.sin(np.linspace(0.35, math.pi, len(blade))) ** 0.8
            angle = math.atan2(blade[-1, 1] - a[1], blade[-1, 0] - a[0])
            tint = tone(shade, float(rng.uniform(0.8, 1.25)))
            skin = (6.0 * radius, float(tint[0]), float(tint[1]), float(tint[2]))
            parts.append(
                Part(
                    tapered(blade, wide),
                    lake.reed,
                    skin,
                    (float(a[0]), float(a[1]), angle),
                    number,
                    (float(a[0]), float(a[1])),
                    stalk.motion(at),
                )
            )
        if head:
            a, c = nodes[-2] + 0.55 * (nodes[-1] - nodes[-2]), nodes[-1] + 0.25 * (nodes[-1] - nodes[-2])
            r = 2.3 * radius
            plump = tapered(
                smooth([tuple(a), tuple(0.5 * (a + c)), tuple(c)], 5),
                r * np.sin(np.linspace(0.5, math.pi - 0.5, 11)) ** 0.5,
            )
            frame = (float(a[0]), float(a[1]), math.atan2(c[1] - a[1], c[0] - a[0]))
            base = (float(nodes[-2, 0]), float(nodes[-2, 1]))
            parts.append(Part(plump, lake.reed, (r, 0.34, 0.20, 0.11), frame, number, base, stalk.motion(n - 1)))


def build(rng: np.random.Generator) -> Scene:
    """A lake or canal with a far shore, sometimes boats and reeds."""
    lake = _Lake(rng)
    body, surface = _body(lake, rng)
    bodies: list[Body] = [body]
    line = lake.waterline
    parts: list[Part | FieldPart] = [
        FieldPart(np.array([(-0.3, line), (1.9, line), (1.9, 1.2), (-0.3, 1.2)]), lake.water, 0, surface)
    ]
    count = len(body.frequencies)
    for k, boat in enumerate(lake.boats):
        at = 2 * len(lake.waves.length) + 2 * k
        motion = np.zeros((count, 3))
        motion[at, 1], motion[at + 1, 2] = surface.scales[k, 0], surface.scales[k, 1]
        for what, outline in boat.shapes():
            colour = {"sail": boat.sail, "mast": (0.28, 0.20, 0.14), "cabin": (0.72, 0.66, 0.58), "hull": boat.paint}[
                what
            ]
            number = {"hull": 0, "sail": 1, "mast": 2, "cabin": 3}[what]
            parts.append(
                Part(
                    outline, lake.boat, (*colour, number, boat.long), (boat.x, boat.y, 0.0), 0, (boat.x, boat.y), motion
                )
            )
    if rng.random() < 0.5 and lake.eye < 4.5:
        _reeds(lake, rng, bodies, parts)
    return Scene("water", bodies, parts, lake.background, finish=_vignette, sway=None)


def _vignette(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Darker corners."""
    away = ((x - 0.8) / 0.8) ** 2 + ((y - 0.5) / 0.5) ** 2
    return (1.0 - 0.09 * away**1.5)[:, None], np.zeros((len(x), 1))
