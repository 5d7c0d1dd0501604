"""Hanging things: paper lanterns, bulbs, jars, blossoms on strands, flags on a line. (ours)

All of it is one piece of mechanics: rigid links that hang from each other under gravity (`Links`). A strand hangs from
one support; a line between two supports is closed by two constraints. The angles of the links are the coordinates; for
small angles about the pose at rest the kinetic energy is 1/2 a' M a and the potential energy 1/2 a' K a, and the
generalised eigenproblem K v = w^2 M v gives the true frequencies and shapes.

What one can read off a picture: a strand of length L swings at about 0.19 sqrt(g / L) to 0.16 sqrt(g / L) (a uniform
chain, a weight at the end of a thread), and a line that sags by d swings to and fro at sqrt(g / 8 d).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigh, null_space

from ..worlds import Body, Glow, Part, Scene
from .backgrounds import Background, Colour, Sheet, draw_background, mix, step, tone, vary
from .canvas import ellipse, fbm, leaf, noise, smooth, tapered

Floats = NDArray[np.float64]

GRAVITY = 9.81  # m/s^2

# ------------------------------------------------------------------------------------------------------------- physics


@dataclass(frozen=True)
class Links:
    """Rigid links at rest, in metres and kilograms; x to the right, y down. N links, parents before children.

    parent   (N,) int: the link at whose end this one begins; -1: at a fixed support
    base     (N, 2): where it begins
    reach    (N, 2): from where it begins to where it ends
    mass     (N,): of what is rigid with it
    centre   (N, 2): of that mass, from where the link begins
    inertia  (N,): moment of inertia about that centre, kg m^2
    bend     (N,): stiffness of the joint at its beginning, N m / rad, against its parent (or the support)
    closing  links, as indices from the first support to the second one, whose ends are fixed; () for none
    pull     (2,): force of the second support on the last of these, N
    """

    parent: NDArray[np.int64]
    base: Floats
    reach: Floats
    mass: Floats
    centre: Floats
    inertia: Floats
    bend: Floats
    closing: tuple[int, ...] = ()
    pull: tuple[float, float] = (0.0, 0.0)

    def lineage(self) -> Floats:
        """(N, N): entry [i, a] is 1 where link a lies between a support and the beginning of link i."""
        n = len(self.parent)
        above = np.zeros((n, n))
        for i, p in enumerate(self.parent):
            if p >= 0:
                above[i] = above[p]
                above[i, p] = 1.0
        return above

    def jacobian(self) -> Floats:
        """(N, 2, N): displacement in metres of each mass's centre per radian of each link (to first order)."""
        turned = _quarter(self.reach)
        jacobian = self.lineage()[:, None, :] * turned.T[None]
        rows = np.arange(len(self.parent))
        jacobian[rows, :, rows] += _quarter(self.centre)
        return jacobian

    def base_jacobian(self) -> Floats:
        """(N, 2, N): the same for the point where each link begins."""
        return self.lineage()[:, None, :] * _quarter(self.reach).T[None]

    def matrices(self) -> tuple[Floats, Floats]:
        """Mass matrix M (N, N) in kg m^2 and stiffness matrix K (N, N) in N m / rad."""
        above, jacobian = self.lineage(), self.jacobian()
        m = np.einsum("ica,i,icb->ab", jacobian, self.mass, jacobian) + np.diag(self.inertia)
        # A turn by a lifts what hangs from the link by a^2 / 2 times the link's height: that is all gravity does, since
        # the links' angles are absolute. A force at a closed end does the same.
        below = above.T @ self.mass
        gravity = GRAVITY * (self.reach[:, 1] * below + self.centre[:, 1] * self.mass)
        for a in self.closing:
            gravity[a] += self.reach[a] @ np.asarray(self.pull)
        k = np.diag(gravity)
        for i, p in enumerate(self.parent):
            k[i, i] += self.bend[i]
            if p >= 0:
                k[p, p] += self.bend[i]
                k[i, p] -= self.bend[i]
                k[p, i] -= self.bend[i]
        return m, k

    def modes(self, count: int | None = None) -> tuple[Floats, Floats]:
        """The lowest modes: frequencies (J,) in Hz and angles (N, J) in radians, mass-normalised (v' M v = 1)."""
        m, k = self.matrices()
        free = np.eye(len(m))
        if self.closing:
            fixed = np.zeros((2, len(m)))
            fixed[:, list(self.closing)] = _quarter(self.reach[list(self.closing)]).T
            free = null_space(fixed)
        squares, vectors = eigh(free.T @ k @ free, free.T @ m @ free)
        count = len(squares) if count is None else min(count, len(squares))
        if squares[0] <= 0.0:
            raise ValueError(
                f"these links do not hang: the smallest eigenvalue is {squares[0]:.3g} 1/s^2, not positive"
            )
        return np.sqrt(squares[:count]) / (2.0 * math.pi), free @ vectors[:, :count]


def _quarter(vectors: ArrayLike) -> Floats:
    """Vectors (..., 2) turned by +90 degrees: from x towards y."""
    v = np.asarray(vectors, np.float64)
    return np.stack([-v[..., 1], v[..., 0]], axis=-1)


def strand(
    support: tuple[float, float],
    lengths: ArrayLike,
    masses: ArrayLike,
    inertias: ArrayLike | None = None,
    centres: ArrayLike | None = None,
    bend: float = 0.0,
) -> Links:
    """A chain that hangs straight down.

    support   where, m
    lengths   of the links, m, from the top
    masses    of what is rigid with each link, kg
    inertias  about the centres, kg m^2; default 0
    centres   how far below the link's beginning its mass's centre is, m; default: at its end
    bend      stiffness of the joints below the first, N m / rad
    """
    n = np.size(lengths)
    down = np.zeros((n, 2))
    down[:, 1] = lengths
    centre = np.zeros((n, 2))
    centre[:, 1] = lengths if centres is None else centres
    base = np.asarray(support) + np.concatenate([np.zeros((1, 2)), np.cumsum(down, axis=0)[:-1]])
    return Links(
        parent=np.arange(n) - 1,
        base=base,
        reach=down,
        mass=np.asarray(masses, np.float64),
        centre=centre,
        inertia=np.zeros(n) if inertias is None else np.asarray(inertias, np.float64),
        bend=np.concatenate([[0.0], np.full(n - 1, bend)]),
    )


def line(
    left: tuple[float, float],
    right: tuple[float, float],
    sag: float,
    weights: ArrayLike,
    drops: ArrayLike = (),
    *,
    rope: float = 0.05,
    inertias: ArrayLike | None = None,
) -> Links:
    """A line between two supports, that carries pendants at equal distances across.

    left, right  the supports, m
    sag          how far the line hangs below the straight one between the supports, at most, m (> 0)
    weights      (n,) masses of the pendants, kg
    drops        (n,) how far below the line a pendant's centre is, m; (): no pendants, the masses sit on the line
    rope         mass of the line between two neighbours, kg
    inertias     (n,) of the pendants about their centres, kg m^2

    The first n + 1 links are the line from left to right, the next n the pendants. The line's pose is the exact
    equilibrium: each link points along the tension in it.
    """
    n = np.size(weights)
    if sag <= 0.0:
        raise ValueError(f"sag: expected a length above 0, found {sag}; a line with weights on it cannot be straight")
    a, b = np.asarray(left, np.float64), np.asarray(right, np.float64)
    dx = (b[0] - a[0]) / (n + 1)
    knots = np.asarray(weights, np.float64) + rope  # half of each neighbouring piece of rope sits on a knot
    # the tension's horizontal part is the same in all links, its vertical part (down) falls by each weight that is passed
    vertical = -np.cumsum(np.concatenate([[0.0], GRAVITY * knots]))
    vertical -= vertical.mean()
    tension = float((np.cumsum(vertical)[:-1] * dx).max() / sag)
    slope = vertical / tension + (b[1] - a[1]) / (b[0] - a[0])
    reach = np.stack([np.full(n + 1, dx), dx * slope], axis=1)
    base = a + np.concatenate([np.zeros((1, 2)), np.cumsum(reach, axis=0)[:-1]])
    hanging = np.size(drops) > 0
    mass = np.concatenate([np.full(n, rope), [0.0]])
    if not hanging:
        mass[:n] += np.asarray(weights, np.float64)
    parent = list(range(-1, n))
    centre, inertia = reach.copy(), np.zeros(n + 1)
    if hanging:
        parent += list(range(n))
        down = np.stack([np.zeros(n), np.asarray(drops, np.float64)], axis=1)
        base = np.concatenate([base, base[1:]])
        reach, centre = np.concatenate([reach, down]), np.concatenate([centre, down])
        mass = np.concatenate([mass, np.asarray(weights, np.float64)])
        extra = np.zeros(n) if inertias is None else np.asarray(inertias, np.float64)
        inertia = np.concatenate([inertia, extra])
    end = tension * np.array([1.0, slope[-1]])  # what the second support pulls with
    return Links(
        parent=np.asarray(parent),
        base=base,
        reach=reach,
        mass=mass,
        centre=centre,
        inertia=inertia,
        bend=np.zeros(len(mass)),
        closing=tuple(range(n + 1)),
        pull=(float(end[0]), float(end[1])),
    )


# ----------------------------------------------------------------------------------------------------------- materials


class _Look:
    """Materials of one scene, lit by its background. Skins are named where parts are made."""

    def __init__(self, background: Background) -> None:
        self.light = np.asarray(background.light)
        self.sun, self.sky = np.asarray(background.sun), np.asarray(background.sky)
        self.haze, self.dark = np.asarray(background.haze), background.dark

    def _lit(self, colour: Floats, nx: Floats, ny: Floats, nz: Floats) -> Floats:
        lx, ly, lz = self.light
        facing = np.clip(0.25 + 0.75 * (nx * lx + ny * ly + nz * lz), 0.0, 1.0)
        return colour * (self.sky * (1.0 - 0.25 * ny[:, None]) + 0.8 * facing[:, None] * self.sun)

    def _far(self, colour: Floats, far: Floats) -> Floats:
        return colour + 0.6 * far[:, None] * (self.haze - colour)

    def paper(self, u: Floats, v: Floats, skin: Floats, pixel: float) -> Floats:
        """A paper lantern round the origin.

        skin: half width, half height, colour (3), second colour (3), how brightly it burns 0..1, roundness of the profile
        (2: a ball, more: a drum), ribs, motif (0 plain, 1 bands, 2 gores, 3 disc, 4 blossoms, 5 brush strokes), seed, haze.
        """
        wide, high, p, seed = skin[0], skin[1], skin[9], skin[12]
        b = np.clip(v / high, -1.0, 1.0)
        profile = np.maximum((1.0 - np.abs(b) ** p) ** (1.0 / p), 0.25)
        a = np.clip(u / (wide * profile), -1.0, 1.0)
        nz = np.sqrt(np.maximum(1.0 - a * a, 0.0))
        turn = np.arcsin(a)  # longitude
        up = np.where(p < 2.6, np.arcsin(b), b) / np.where(p < 2.6, 0.5 * math.pi, 1.0)  # latitude, -1..1
        colour, ink = skin[2:5].T, skin[5:8].T
        grain = fbm(160 * u, 60 * v, seed, 3)
        marks = np.zeros_like(u)
        motif = skin[11]
        marks = np.where(motif == 1, step(0.03, -0.03, np.abs(np.abs(up) - 0.72) - 0.10), marks)
        marks = np.where(motif == 2, step(-0.15, 0.15, np.sin(4.0 * turn + seed)), marks)
        disc = np.hypot(turn * 1.1 * wide / high * 1.2, b)
        marks = np.where(
            motif == 3, step(0.44, 0.40, disc) * (1.0 - 0.9 * step(0.05, 0.02, np.abs(disc - 0.30))), marks
        )
        petals = noise(3.2 * turn + seed, 4.2 * b * high / wide, seed)
        marks = np.where(motif == 4, step(0.36, 0.44, petals), marks)
        strokes = np.abs(np.sin(7.0 * b + 2.5 * noise(3.0 * turn, 3.0 * b, seed))) + 1.6 * np.abs(turn) ** 2
        marks = np.where(motif == 5, step(0.42, 0.30, strokes) * step(0.7, 0.55, np.abs(b)), marks)
        marks *= step(1.0, 0.9, np.abs(b))
        surface = colour + (0.92 * marks)[:, None] * (ink - colour)
        surface = surface * (1.0 + 0.10 * grain)[:, None]
        folds = np.abs(np.mod(0.5 * (up + 1.0) * skin[10], 1.0) - 0.5)  # 0.5 at a rib
        crease = step(0.5 - 1.6 * np.maximum(pixel * skin[10] / (2.0 * high), 0.10), 0.5, folds)
        tilt = np.cos(2.0 * math.pi * 0.5 * (up + 1.0) * skin[10])  # paper bulges between the ribs
        shown = self._lit(surface, a * 0.95, b * 0.6 - 0.25 * tilt * (np.abs(b) < 0.97), nz)
        burning = skin[8]
        core = np.exp(-(1.4 * a * a + 1.1 * (b - 0.18) ** 2) * (1.0 - 0.25 * grain))
        warm = np.array([1.0, 0.90, 0.60])
        pale = surface.min(axis=1)  # white paper must not burn out
        fire = surface * (0.48 + (0.70 - 0.42 * pale) * core)[:, None]
        fire = fire + ((0.70 - 0.42 * pale) * core**2.2 * (1.0 - 0.55 * marks))[:, None] * warm
        out = shown * (1.0 - 0.65 * burning)[:, None] + burning[:, None] * fire
        out = out * (1.0 - 0.30 * crease)[:, None] * (0.72 + 0.28 * nz)[:, None]
        return self._far(out, skin[13])

    def wood(self, u: Floats, v: Floats, skin: Floats, pixel: float) -> Floats:
        """Turned wood or metal, round about the v axis. skin: half width, colour (3), light from below, haze."""
        a = np.clip(u / skin[0], -1.0, 1.0)
        nz = np.sqrt(1.0 - a * a)
        colour = skin[1:4].T * (1.0 + 0.25 * noise(300 * u, 60 * v, 3))[:, None]
        out = self._lit(colour, a, np.zeros_like(a), nz)
        return self._far(out + skin[4][:, None] * colour * np.array([1.5, 0.9, 0.4]), skin[5])

    def thread(self, u: Floats, v: Floats, skin: Floats, pixel: float) -> Floats:
        """Twine, rope or tassel. skin: colour (3), light of lanterns on it, haze."""
        twist = 0.85 + 0.25 * np.sin(900 * u + 1500 * v)
        out = skin[:3].T * twist[:, None]
        out = out * (self.sky + 0.5 * self.sun) + skin[3][:, None] * out * np.array([1.3, 0.8, 0.4])
        return self._far(out, skin[4])

    def glass(self, u: Floats, v: Floats, skin: Floats, pixel: float) -> Floats:
        """A bulb of glass, or a jar with a flame. skin: half width, half height, colour (3), burning, haze, jar (0 or 1)."""
        a, b = u / skin[0], v / skin[1]
        r = np.clip(np.hypot(a, b), 0.0, 1.2)
        jar = skin[7]
        tint, burning = skin[2:5].T, skin[5][:, None]
        rim = step(0.55, 1.0, np.where(jar > 0, np.abs(a), r))
        shown = self._lit(0.35 * tint + 0.25, a, b, np.sqrt(np.maximum(1.0 - r * r, 0.05)))
        shown = shown * (0.75 + 0.35 * rim)[:, None]
        flame = np.where(
            jar > 0,
            np.exp(-((a / 0.20) ** 2) - ((b - 0.25) / np.where(b < 0.25, 0.42, 0.14)) ** 2),
            np.exp(-((r / 0.42) ** 2)),
        )
        halo = np.exp(-(1.3 * a * a + 0.8 * (b - 0.1 * jar) ** 2))
        fire = tint * (0.25 + 0.85 * halo)[:, None] + flame[:, None] * np.array([1.0, 0.93, 0.70])
        spark = step(0.16, 0.08, np.hypot(a + 0.42, 0.7 * (b + 0.45)))
        out = shown * (1.0 - 0.5 * burning) + burning * fire
        return self._far(out + (0.35 * spark)[:, None], skin[6])

    def cloth(self, u: Floats, v: Floats, skin: Floats, pixel: float) -> Floats:
        """A flag that hangs from the origin. skin: width, height, colour (3), second (3), pattern, seed, haze."""
        colour, ink, seed = skin[2:5].T, skin[5:8].T, skin[9]
        a, b = u / skin[0], v / skin[1]
        kind = skin[8]
        edge = 2.0 * pixel / skin[0]
        stripes = step(-edge, edge, np.sin(2 * math.pi * (3.0 * b + 0.0 * a)) * 0.2)
        dots = step(
            0.30 + edge,
            0.30 - edge,
            np.hypot(np.mod(4 * a + 0.5 * (np.floor(4 * b) % 2), 1) - 0.5, np.mod(4 * b, 1) - 0.5),
        )
        hem = step(0.10, 0.08, b)
        marks = np.where(kind == 1, stripes, np.where(kind == 2, dots, np.where(kind == 3, hem, 0.0)))
        surface = colour + (0.9 * marks)[:, None] * (ink - colour)
        fold = fbm(5.0 * a + seed, 0.8 * b, seed, 2)
        weave = 1.0 + 0.05 * np.sin(700 * u) * np.sin(700 * v)
        side = 0.5 * (fbm(5.0 * a + seed + 0.12, 0.8 * b, seed, 2) - fold) / 0.12
        out = self._lit(surface, 0.35 * side, -0.1 + 0 * a, np.sqrt(np.maximum(1 - 0.12 * side**2, 0.2)))
        out = out * (weave * (0.92 + 0.16 * fold) * (1.0 - 0.25 * step(0.1, 0.0, b)))[:, None]
        return self._far(out, skin[10])

    def petal(self, u: Floats, v: Floats, skin: Floats, pixel: float) -> Floats:
        """A floret round the origin. skin: radius, colour (3), heart colour (3), shade, light of lanterns, haze, seed."""
        r = np.clip(np.hypot(u, v) / skin[0], 0.0, 1.3)
        colour = skin[1:4].T + step(0.55, 0.1, r)[:, None] * (skin[4:7].T - skin[1:4].T)
        angle = np.arctan2(v, u)
        veins = 0.94 + 0.10 * np.cos(5 * angle + skin[10]) * step(0.2, 0.7, r)
        out = self._lit(
            colour * veins[:, None], 0.6 * u / skin[0], 0.6 * v / skin[0], np.sqrt(1.0 - 0.5 * np.minimum(r, 1) ** 2)
        )
        # petals are thin: some light comes through
        out = (
            out * skin[7][:, None] + 0.18 * colour * self.sun + skin[8][:, None] * colour * np.array([1.2, 0.75, 0.45])
        )
        return self._far(out, skin[9])


# --------------------------------------------------------------------------------------------------------------- scene

REDS: tuple[Colour, ...] = ((0.86, 0.16, 0.10), (0.93, 0.33, 0.12), (0.95, 0.62, 0.20), (0.92, 0.84, 0.66))
PASTELS: tuple[Colour, ...] = (
    (0.95, 0.60, 0.62),
    (0.60, 0.80, 0.85),
    (0.95, 0.85, 0.55),
    (0.75, 0.70, 0.90),
    (0.65, 0.85, 0.62),
)
BRIGHT: tuple[Colour, ...] = (
    (0.88, 0.20, 0.22),
    (0.98, 0.72, 0.15),
    (0.16, 0.55, 0.62),
    (0.25, 0.36, 0.68),
    (0.45, 0.66, 0.30),
    (0.80, 0.32, 0.55),
)
WHITES: tuple[Colour, ...] = ((0.96, 0.93, 0.84), (0.95, 0.88, 0.72), (0.90, 0.92, 0.90))
PALETTES = (REDS, REDS, PASTELS, BRIGHT, WHITES)


class _Stage:
    """Collects bodies, parts and glows of a scene of hanging things."""

    def __init__(self, rng: np.random.Generator, hour: str | None) -> None:
        self.rng = rng
        self.background = draw_background("lanterns", rng, hour=hour)
        self.look = _Look(self.background)
        self.bodies: list[Body] = []
        self.parts: list[Part] = []
        self.glows: list[Glow] = []
        self.pools: list[tuple[float, float, float, tuple[float, float, float], float]] = []  # light on what stands
        self.standing: list[Callable[[Sheet], None]] = []
        self.levers: list[float] = []  # how far below its support each thing hangs, picture heights
        self.materials: dict[str, Any] = {
            n: getattr(self.look, n) for n in ("paper", "wood", "thread", "glass", "cloth", "petal")
        }

    def body(
        self, links: Links, scale: float, drag: Sequence[float] | Floats, count: int, highest: float = 4.5
    ) -> Floats:
        """Add a body; scale: metres per picture height; drag (N,): area, m^2. Returns motion (N, J, 3) about the bases."""
        hertz, angles = links.modes(count)
        keep = max(1, int((hertz < highest).sum()))
        hertz, angles = hertz[:keep], angles[:, :keep]
        felt = np.einsum("icn,nj->ijc", links.jacobian(), angles) * np.asarray(drag)[:, None, None]
        zeta = np.clip(self.rng.uniform(0.025, 0.06) * (hertz / hertz[0]) ** 0.3, 0.0, 0.3)
        self.bodies.append(Body(hertz, zeta, (links.base + links.centre) / scale, felt / scale))
        self.levers += list(((links.base + links.centre)[:, 1] - links.base[0, 1])[len(links.closing) :] / scale)
        shift = np.einsum("icn,nj->ijc", links.base_jacobian(), angles) / scale
        return np.concatenate([shift, angles[:, :, None]], axis=2)

    def add(
        self,
        material: str,
        outline: ArrayLike,
        skin: Sequence[float],
        frame: tuple[float, float],
        pivot: ArrayLike,
        motion: Floats,
    ) -> None:
        """A part of the last body, whose frame stands upright at `frame`."""
        px, py = np.asarray(pivot, np.float64)
        self.parts.append(
            Part(
                outline=np.asarray(outline, np.float64),
                material=self.materials[material],
                skin=tuple(float(s) for s in skin),
                frame=(frame[0], frame[1], 0.0),
                body=len(self.bodies) - 1,
                pivot=(float(px), float(py)),
                motion=motion,
            )
        )

    def glow(self, x: float, y: float, radius: float, colour: ArrayLike, pivot: ArrayLike, motion: Floats) -> None:
        """Light round a point of the last body that moves as a part with that pivot and motion does."""
        px, py = np.asarray(pivot, np.float64)
        at = motion.copy()
        at[:, 0] -= motion[:, 2] * (y - py)
        at[:, 1] += motion[:, 2] * (x - px)
        r, g, b = (float(c) for c in np.asarray(colour))
        self.glows.append(Glow((x, y), radius, (r, g, b), len(self.bodies) - 1, at))


def _rod(a: ArrayLike, b: ArrayLike, half: float, end: float | None = None) -> Floats:
    """Outline of a straight band from a to b, `half` wide to each side (at b: `end`)."""
    return tapered([tuple(np.asarray(a)), tuple(np.asarray(b))], [half, half if end is None else end])


def _profile(x: float, y: float, wide: float, high: float, power: float) -> Floats:
    """Outline of a lantern's body."""
    t = np.linspace(0.0, 2.0 * math.pi, 40, endpoint=False)
    c, s = np.cos(t), np.sin(t)
    return np.column_stack(
        [
            x + wide * np.sign(c) * np.abs(c) ** (2.0 / power),
            y + high * np.clip(np.sign(s) * np.abs(s) ** (2.0 / power), -0.93, 0.93),
        ]
    )


@dataclass(frozen=True)
class _Make:
    """How the lanterns of one scene are made: sizes in metres."""

    kind: str  # "paper" | "bulb" | "jar"
    colours: tuple[Colour, ...]
    inks: tuple[Colour, ...]
    wide: float  # half width
    high: float  # half height
    power: float
    ribs: int
    motif: int
    spread: float  # how much sizes vary

    @property
    def weight(self) -> float:
        """kg per lantern of mean size."""
        return {"paper": 0.06 + 6.0 * self.wide * self.high, "bulb": 0.09, "jar": 0.45}[self.kind]


def _make(rng: np.random.Generator, kind: str | None = None) -> _Make:
    if kind is None:
        kind = str(rng.choice(["paper", "bulb", "jar"], p=[0.72, 0.14, 0.14]))
    palette = PALETTES[int(rng.integers(len(PALETTES)))]
    if kind == "bulb":
        palette = (WHITES, ((1.0, 0.75, 0.40),), BRIGHT)[int(rng.integers(3))]
    elif kind == "jar":
        palette = (((0.70, 0.85, 0.82),), ((0.95, 0.75, 0.42), (0.62, 0.78, 0.86)), PASTELS)[int(rng.integers(3))]
    chosen = tuple(vary(rng, palette[int(k)], 0.08) for k in rng.permutation(len(palette))[: int(rng.integers(1, 5))])
    shape = int(rng.integers(4))
    wide = float(rng.uniform(0.13, 0.19))
    high, power = ((wide, 2.0), (0.86 * wide, 2.3), (1.35 * wide, 3.6), (1.15 * wide, 2.6))[shape]
    if kind == "bulb":
        wide, high, power = 0.055, 0.07, 2.0
    elif kind == "jar":
        wide, high, power = 0.07, 0.10, 5.0
    inks = ((0.12, 0.08, 0.10), (0.98, 0.90, 0.72), (0.70, 0.10, 0.08), (0.16, 0.22, 0.42))
    return _Make(
        kind,
        chosen,
        (inks[int(rng.integers(len(inks)))], inks[int(rng.integers(len(inks)))]),
        wide,
        high,
        power,
        int(rng.integers(6, 13)),
        int(rng.choice(6, p=[0.3, 0.14, 0.14, 0.14, 0.14, 0.14])),
        float(rng.uniform(0.0, 0.22)),
    )


def _lantern(
    stage: _Stage,
    make: _Make,
    x: float,
    y: float,
    size: float,
    scale: float,
    far: float,
    pivot: ArrayLike,
    motion: Floats,
    hook: float,
) -> None:
    """A lantern with its middle at (x, y), hung from scene y `hook`; size: times the mean size."""
    rng, dark = stage.rng, stage.background.dark
    w, h = make.wide * size / scale, make.high * size / scale
    colour = vary(rng, make.colours[int(rng.integers(len(make.colours)))], 0.06)
    burning = dark * float(rng.uniform(0.85, 1.0)) if dark > 0.3 else 0.25 * dark
    thin = max(0.0016, 0.004 / scale)
    dim = 1.0 - 0.5 * far
    stage.add(
        "thread", _rod((x, hook), (x, y - 0.9 * h), thin), (0.30, 0.24, 0.20, burning, far), (x, y), pivot, motion
    )
    if make.kind == "paper":
        ink = make.inks[int(rng.integers(2))]
        cap = 0.42 * w if make.power < 2.6 else 0.62 * w
        wood = (cap, 0.22, 0.13, 0.08, 0.5 * burning, far)
        if rng.random() < 0.8:  # a tassel
            long = h * float(rng.uniform(0.5, 0.9))
            red = mix(colour, (0.75, 0.12, 0.1), 0.6)
            foot = y + 0.95 * h
            stage.add(
                "thread",
                _rod((x, foot), (x, foot + 0.35 * long), 0.5 * thin + 0.02 * w),
                (*red, burning, far),
                (x, y),
                pivot,
                motion,
            )
            stage.add(
                "thread",
                _rod((x, foot + 0.3 * long), (x, foot + long), 0.06 * w, 0.12 * w),
                (*red, 0.6 * burning, far),
                (x, y),
                pivot,
                motion,
            )
        skin = (w, h, *colour, *ink, burning, make.power, make.ribs, make.motif, int(rng.integers(1000)), far)
        stage.add("paper", _profile(x, y, w, h, make.power), skin, (x, y), pivot, motion)
        for side in (-1.0, 1.0):
            at = y + side * 0.94 * h
            stage.add("wood", _rod((x, at - 0.07 * h), (x, at + 0.07 * h), cap), wood, (x, at), pivot, motion)
    elif make.kind == "bulb":
        stage.add(
            "wood",
            _rod((x, y - 1.75 * h), (x, y - 0.75 * h), 0.42 * w),
            (0.42 * w, 0.12, 0.11, 0.11, 0.4 * burning, far),
            (x, y - h),
            pivot,
            motion,
        )
        round_ = _profile(x, y, w, h, 2.0)
        stage.add(
            "glass", round_, (w, h, *mix(colour, (1.0, 0.8, 0.45), 0.5), burning, far, 0.0), (x, y), pivot, motion
        )
    else:
        stage.add("glass", _profile(x, y, w, h, make.power), (w, h, *colour, burning, far, 1.0), (x, y), pivot, motion)
        stage.add(
            "wood",
            _rod((x, y - 1.12 * h), (x, y - 0.86 * h), 0.82 * w),
            (0.82 * w, 0.40, 0.38, 0.36, 0.8 * burning, far),
            (x, y - h),
            pivot,
            motion,
        )
    if burning > 0.3:
        shine = mix(colour, (1.0, 0.72, 0.36), 0.55)
        reach = {"paper": 1.0, "bulb": 1.5, "jar": 1.3}[make.kind] * max(w, h)
        stage.glow(x, y, 1.05 * reach, 0.20 * dim * burning * shine, pivot, motion)
        stage.pools.append((x, y, 2.0 * reach, (float(shine[0]), float(shine[1]), float(shine[2])), dim * burning))


def _strand_of_lanterns(
    stage: _Stage, make: _Make, x: float, y: float, count: int, reach: float, scale: float, far: float
) -> None:
    """A strand that hangs from (x, y): `count` lanterns, its lowest end at about `reach` below."""
    rng = stage.rng
    sizes = np.exp(make.spread * rng.uniform(-1, 1, count))
    if rng.random() < 0.3:
        sizes = np.sort(sizes)[:: int(rng.choice([-1, 1]))]
    high = make.high * sizes
    gaps = np.full(count, 0.35 * make.high) * rng.uniform(0.8, 1.3)
    gaps[0] += max(0.05, reach * scale - float((2.1 * high + gaps).sum()))
    lengths, masses = gaps + 2.0 * high, make.weight * sizes**2 + 0.01
    links = strand((x * scale, y * scale), lengths, masses, 0.4 * masses * high**2, gaps + high)
    drag = 4.0 * make.wide * make.high * sizes**2
    motion = stage.body(links, scale, drag, 3)
    for i in range(count):
        base = links.base[i] / scale
        hook = float(base[1])
        _lantern(
            stage,
            make,
            x,
            float(base[1] + (gaps[i] + high[i]) / scale),
            float(sizes[i]),
            scale,
            far,
            base,
            motion[i],
            hook,
        )


def _wisteria(
    stage: _Stage, x: float, y: float, reach: float, scale: float, far: float, hue: Sequence[Colour], lit: float
) -> None:
    """A raceme that hangs from (x, y) and is `reach` long: florets, wide at the top, buds at the tip."""
    rng = stage.rng
    n = int(np.clip(round(reach * scale / 0.13), 3, 7))
    lengths = np.full(n, reach * scale / n)
    taper = np.linspace(1.0, 0.25, n)
    masses = 0.30 * lengths * taper
    links = strand((x * scale, y * scale), lengths, masses, masses * lengths**2 / 12.0, 0.5 * lengths, bend=0.004)
    motion = stage.body(links, scale, lengths * 0.10 * taper, 3)
    width = float(rng.uniform(0.050, 0.075)) / scale
    stem = (0.32, 0.38, 0.18, 0.4 * lit, far)
    for i in range(n):
        a, b = links.base[i] / scale, (links.base[i] + links.reach[i]) / scale
        stage.add("thread", _rod(a, b, 0.0016), stem, (x, float(a[1])), a, motion[i])
    for i in range(n):
        a, long = links.base[i] / scale, float(lengths[i]) / scale
        start = i / n
        count = max(3, round(13 * long * scale / 0.13 * (1.0 - 0.45 * start)))
        order = np.sort(rng.random(count))
        for k, t in enumerate(order):
            along = start + t / n  # 0 at the top, 1 at the tip
            full = (min(1.0, 3.0 * along + 0.45)) * (1.0 - along) ** 0.7 + 0.10
            side = float(rng.uniform(-1, 1))
            r = width * (0.20 + 0.24 * full) * float(rng.uniform(0.8, 1.2))
            cx, cy = x + side * width * full, float(a[1]) + t * long + 0.3 * r * abs(side)
            turn = float(rng.uniform(0, 6.3))
            angle = turn + np.linspace(0, 2 * math.pi, 15, endpoint=False)
            rim = r * (0.82 + 0.18 * np.cos(3 * (angle - turn)))
            outline = np.column_stack([cx + rim * np.cos(angle), cy + 1.1 * rim * np.sin(angle)])
            colour = mix(hue[0], hue[1], np.clip(along + 0.25 * rng.normal(), 0, 1))
            shade = float(0.62 + 0.45 * k / count + 0.12 * rng.normal()) - 0.18 * (abs(side) > 0.75)
            skin = (r, *colour, *mix(colour, hue[2], 0.75), shade, lit, far, turn)
            stage.add("petal", outline, skin, (cx, cy), a, motion[i])


def _line(
    stage: _Stage,
    make: _Make | None,
    left: tuple[float, float],
    right: tuple[float, float],
    sag: float,
    count: int,
    scale: float,
    far: float,
    flags: tuple[tuple[Colour, ...], float, float, int] | None = None,
) -> None:
    """A line across with `count` pendants: lanterns, or flags (colours, width, height in metres, pattern)."""
    rng = stage.rng
    a, b = (left[0] * scale, left[1] * scale), (right[0] * scale, right[1] * scale)
    colour = (0.16, 0.14, 0.13)
    if flags is not None:
        colours, wide, high, pattern = flags
        weights, drops = np.full(count, 0.03), np.full(count, high / 3.0)
        links = line(a, b, sag * scale, weights, drops, rope=0.03, inertias=0.03 * np.full(count, high**2 / 18.0))
        drag = np.concatenate([np.full(count + 1, 0.002), np.full(count, 0.5 * wide * high)])
        motion = stage.body(links, scale, drag, 12, 5.0)
    else:
        assert make is not None
        sizes = np.exp(make.spread * rng.uniform(-1, 1, count))
        free = float(rng.uniform(0.1, 1.2)) * make.high + (0.05 if make.kind == "bulb" else 0.03)
        drops = free * rng.uniform(0.6, 1.8, count) + make.high * sizes
        weights = make.weight * sizes**2
        links = line(a, b, sag * scale, weights, drops, rope=0.05, inertias=0.4 * weights * (make.high * sizes) ** 2)
        drag = np.concatenate([np.full(count + 1, 0.003), 4.0 * make.wide * make.high * sizes**2])
        motion = stage.body(links, scale, drag, 14, 5.0)
    half = max(0.0016, 0.006 / scale)
    for i in range(count + 1):
        base = links.base[i] / scale
        end = base + links.reach[i] / scale
        stage.add(
            "thread", _rod(base, end, half), (*colour, 0.5 * stage.background.dark, far), (0.0, 0.0), base, motion[i]
        )
    for k in range(count):
        i = count + 1 + k
        base = links.base[i] / scale
        x, y = float(base[0]), float(base[1])
        if flags is not None:
            colours, wide, high, pattern = flags
            w, h = wide / scale, high / scale
            first = vary(rng, colours[k % len(colours)], 0.05)
            second = colours[(k + 1) % len(colours)] if pattern == 3 else WHITES[0]
            if pattern == 4:  # swallow-tailed
                shape = [
                    (x - 0.42 * w, y),
                    (x + 0.42 * w, y),
                    (x + 0.42 * w, y + h),
                    (x, y + 0.72 * h),
                    (x - 0.42 * w, y + h),
                ]
            else:
                shape = [(x - 0.5 * w, y), (x + 0.5 * w, y), (x, y + h)]
            kind = pattern if pattern < 4 and (pattern == 3 or k % 2) else 0
            stage.add(
                "cloth", shape, (w, h, *first, *second, kind, int(rng.integers(1000)), far), (x, y), base, motion[i]
            )
        else:
            assert make is not None
            _lantern(stage, make, x, y + float(drops[k]) / scale, float(sizes[k]), scale, far, base, motion[i], y)


# ---------------------------------------------------------------------------------------------------- what stands still


def _timber(sheet: Sheet, b: Background, x0: float, y0: float, x1: float, y1: float, colour: Colour, seed: int) -> None:
    """A beam or post with an upright or level grain, lit from its side."""
    box = sheet.window(x0, y0, x1, y1)
    if box is None:
        return
    x, y = sheet.x[box].astype(np.float64), sheet.y[box].astype(np.float64)
    level = (x1 - x0) > (y1 - y0)
    along, across = (x, (y - y0) / (y1 - y0)) if level else (y, (x - x0) / (x1 - x0))
    grain = fbm(6.0 * along, 9.0 * across + 30.0 * y0, seed, 4) + 0.35 * np.sin(
        26.0 * across + 4.0 * fbm(3.0 * along, 2.0 * across, seed + 9, 3)
    )
    bent = 2.0 * across - 1.0
    facing = 0.5 + 0.35 * bent * np.sign(b.light[1] if level else b.light[0]) + 0.22 * grain
    rim = step(1.0, 0.8, np.abs(bent))
    part = sheet.rgb[box]
    part[:] = b.lit(np.asarray(colour), np.clip(facing, 0, 1)) * (0.65 + 0.35 * rim)[..., None]


def _beam(stage: _Stage, y: float, thick: float) -> None:
    """A beam across the top, rafters' ends above, perhaps posts at the sides."""
    rng = stage.rng
    colour = vary(
        rng,
        ((0.34, 0.21, 0.13), (0.24, 0.17, 0.13), (0.50, 0.14, 0.10), (0.40, 0.36, 0.32))[int(rng.integers(4))],
        0.12,
    )
    seed, posts, gap = int(rng.integers(2**20)), bool(rng.random() < 0.6), float(rng.uniform(0.11, 0.2))
    edge, first = float(rng.uniform(0.02, 0.12)), float(rng.uniform(0, 0.1))
    wide = 0.8 * thick
    r, g, b3 = (float(c) for c in tone(colour, 0.8))

    def draw(sheet: Sheet) -> None:
        b = stage.background
        if posts:
            for x in (edge, 1.6 - edge):
                _timber(sheet, b, x - 0.5 * wide, y, x + 0.5 * wide, 1.02, (r, g, b3), seed + 1)
        x = first
        while x < 1.7:
            _timber(sheet, b, x, y - 1.5 * thick, x + 0.6 * thick, y - 0.1 * thick, (r, g, b3), seed + 2)
            x += gap
        _timber(sheet, b, -0.1, y - 0.9 * thick, 1.7, y, colour, seed)
        sheet.fill([(-0.1, y), (1.7, y), (1.7, y + 0.12 * thick), (-0.1, y + 0.12 * thick)], (0.02, 0.02, 0.03), 0.45)

    stage.standing.append(draw)


def _tree(stage: _Stage, y: float, side: float, blossom: bool) -> Callable[[float], float]:
    """A branch that reaches in from one side with leaves or blossoms. Returns its height y at x."""
    rng = stage.rng
    start, end = (-0.1, 1.7) if side > 0 else (1.7, -0.1)
    knots_x = np.linspace(start, end, 9)
    knots_y = y + 0.035 * np.cumsum(rng.normal(0, 0.7, 9)) - 0.04 * np.linspace(0, 1, 9)
    knots_y = np.clip(knots_y, 0.03, 0.24)
    curve = smooth(np.column_stack([knots_x, knots_y]), 8)
    radii = np.linspace(0.034, 0.007, len(curve))
    leaves, twigs = [], []
    tints = [
        vary(rng, c, 0.1)
        for c in (
            ((0.98, 0.80, 0.86), (1.0, 0.92, 0.94), (0.93, 0.62, 0.74))
            if blossom
            else ((0.22, 0.36, 0.13), (0.32, 0.46, 0.16), (0.15, 0.27, 0.12))
        )
    ]
    for _ in range(int(rng.integers(10, 18))):
        k = int(rng.integers(4, len(curve)))
        ax, ay = curve[k]
        angle = float(rng.uniform(-2.7, -0.4)) if rng.random() < 0.6 else float(rng.uniform(0.3, 2.8))
        long = float(rng.uniform(0.05, 0.15))
        tip = (ax + long * math.cos(angle), ay + 0.7 * long * math.sin(angle))
        twigs.append(((ax, ay), tip))
        for _ in range(int(rng.integers(14, 30))):
            t = float(rng.uniform(0.15, 1.1))
            leaves.append(
                (
                    ax + t * (tip[0] - ax) + 0.018 * rng.normal(),
                    ay + t * (tip[1] - ay) + 0.018 * rng.normal(),
                    float(rng.uniform(0, 6.3)),
                    float(rng.uniform(0.009, 0.019)),
                    tints[int(rng.integers(3))],
                    float(rng.uniform(0.1, 1.0)),
                )
            )

    def draw(sheet: Sheet) -> None:
        b = stage.background
        bark = b.lit((0.24, 0.18, 0.15), 0.35)
        for at, tip in twigs:
            sheet.fill(_rod(at, tip, 0.004, 0.0015), bark)
        sheet.fill(tapered(curve, radii), bark)
        sheet.fill(tapered(curve - (0.0, 0.4 * radii.mean()), 0.45 * radii), tone(bark, 1.35), 0.6)
        for x, at_y, turn, size, tint, facing in leaves:
            if blossom:
                sheet.fill(ellipse(x, at_y, size * 0.62, size * 0.55, turn, 12), b.lit(tint, facing))
                sheet.fill(ellipse(x, at_y, size * 0.16, size * 0.16, 0.0, 8), b.lit((0.85, 0.4, 0.45), facing))
            else:
                sheet.fill(leaf((x, at_y, turn), 2.0 * size, 0.9 * size), b.lit(tint, facing))

    stage.standing.append(draw)
    order = np.argsort(curve[:, 0])
    return lambda x: float(np.interp(x, curve[order, 0], curve[order, 1]))


def _posts(stage: _Stage, places: Sequence[tuple[float, float]]) -> None:
    """Upright posts whose tops are at the given (x, y)."""
    rng = stage.rng
    colour, wide, seed = vary(rng, (0.30, 0.22, 0.16), 0.2), float(rng.uniform(0.016, 0.028)), int(rng.integers(2**20))

    def draw(sheet: Sheet) -> None:
        for k, (x, y) in enumerate(places):
            _timber(sheet, stage.background, x - 0.5 * wide, y - 0.02, x + 0.5 * wide, 1.02, colour, seed + k)

    stage.standing.append(draw)


def _spaced(rng: np.random.Generator, count: int, low: float, high: float) -> Floats:
    """Places from low to high, about equally far apart, in random order."""
    step_ = (high - low) / count
    return rng.permutation(low + step_ * (np.arange(count) + 0.5 + rng.uniform(-0.3, 0.3, count)))


def build(rng: np.random.Generator) -> Scene:
    """A scene of hanging things: lanterns on strands, on lines, blossoms, flags."""
    plan = str(rng.choice(["strands", "lines", "wisteria", "flags"], p=[0.38, 0.32, 0.17, 0.13]))
    # what does not burn is seen by day as well
    day = plan in ("wisteria", "flags") and rng.random() < 0.6
    stage = _Stage(rng, str(rng.choice(["dawn", "day", "golden"])) if day else None)
    scale = float(rng.uniform(1.5, 2.6))  # metres per picture height
    dark = stage.background.dark
    if plan in ("strands", "wisteria"):
        if rng.random() < 0.55:
            y = float(rng.uniform(0.05, 0.13))
            _beam(stage, y, float(rng.uniform(0.04, 0.065)))
            top: Callable[[float], float] = lambda x: y  # noqa: E731
        else:
            top = _tree(stage, float(rng.uniform(0.08, 0.16)), float(rng.choice([-1, 1])), bool(rng.random() < 0.5))
    if plan == "strands":
        make = _make(rng, None if rng.random() < 0.5 else "paper")
        need = 2.6 * make.wide / scale
        count = int(np.clip(rng.integers(3, 10), 2, int(1.5 / need)))
        rows = 2 if rng.random() < 0.4 else 1
        for row in range(rows):
            far = 0.45 * (rows - 1 - row)
            size = scale * (1.0 + 0.9 * far)
            for x in _spaced(rng, count, 0.06, 1.54):
                reach = float(rng.uniform(0.16, 0.78))
                most = max(1, int((reach * size) / (2.45 * make.high)))
                number = int(rng.integers(1, min(most, 5) + 1))
                _strand_of_lanterns(stage, make, float(x), top(float(x)), number, reach, size, far)
    elif plan == "wisteria":
        hues = (
            ((0.55, 0.42, 0.80), (0.38, 0.27, 0.66), (0.95, 0.92, 0.80)),
            ((0.93, 0.92, 0.96), (0.78, 0.84, 0.78), (0.98, 0.95, 0.60)),
            ((0.93, 0.66, 0.78), (0.82, 0.42, 0.62), (1.0, 0.95, 0.85)),
            ((0.98, 0.82, 0.35), (0.88, 0.66, 0.20), (1.0, 0.95, 0.65)),
        )
        hue = [vary(rng, c, 0.08) for c in hues[int(rng.integers(len(hues)))]]
        for row, number in ((0, int(rng.integers(5, 10))), (1, int(rng.integers(5, 11)))):
            far = 0.38 * (1 - row)
            for x in _spaced(rng, number, 0.0, 1.6):
                _wisteria(
                    stage,
                    float(x),
                    top(float(x)),
                    float(rng.uniform(0.14, 0.55)),
                    1.1 * (1.0 + far),
                    far,
                    hue,
                    0.35 * dark,
                )
            if row == 0 and dark > 0.3:
                make = _make(rng, "paper")
                for x in _spaced(rng, int(rng.integers(1, 4)), 0.2, 1.4):
                    _strand_of_lanterns(stage, make, float(x), top(float(x)), 1, float(rng.uniform(0.3, 0.6)), 1.2, 0.1)
    else:
        make = _make(rng, "bulb" if rng.random() < 0.3 else None)
        rows = int(rng.integers(2 if plan == "flags" or make.kind == "bulb" else 1, 4))
        ends = [(float(rng.uniform(-0.12, 0.12)), float(rng.uniform(1.48, 1.72))) for _ in range(rows)]
        heights = np.sort(rng.uniform(0.05, 0.16, rows) + 0.13 * np.arange(rows))
        flags = (
            (BRIGHT, PASTELS, REDS)[int(rng.integers(3))],
            float(rng.uniform(0.18, 0.28)),
            float(rng.uniform(0.24, 0.40)),
            int(rng.integers(5)),
        )
        _posts(stage, [(x, float(y)) for pair, y in zip(ends, heights) for x in pair])
        for row in range(rows):
            far = 0.22 * (rows - 1 - row)
            size = scale * (1.0 + 0.9 * far)
            y = float(heights[row])
            across = (ends[row][1] - ends[row][0]) * size
            sag = float(rng.uniform(0.07, 0.22))
            tilt = float(rng.uniform(-0.05, 0.05))
            right = (ends[row][1], y + tilt)
            if plan == "flags":
                count = int(np.clip(across / (1.35 * flags[1]), 4, 16))
                _line(stage, None, (ends[row][0], y), right, sag, count, size, far, flags)
            else:
                count = int(np.clip(across / (make.wide * float(rng.uniform(2.9, 5.5))), 3, 14))
                _line(stage, make, (ends[row][0], y), right, sag, count, size, far)

    def paint(height: int, width: int) -> NDArray[np.float32]:
        sheet = Sheet.picture(height, width)
        stage.background.draw(sheet)
        for draw in stage.standing:
            draw(sheet)
        many = 0.30 / math.sqrt(1.0 + 0.25 * len(stage.pools))  # more lamps, less from each: eyes get used to it
        for x, y, radius, colour, strength in stage.pools:
            sheet.glow(x, y, radius, colour, many * strength)
        return np.clip(sheet.rgb, 0.0, 1.0)

    # things swing by some hundredths of a radian in an ordinary wind
    sway = float(np.clip(0.036 * np.mean(stage.levers), 0.004, 0.016))
    return Scene("lanterns", stage.bodies, stage.parts, paint, glows=stage.glows, finish=_vignette, sway=sway)


def _vignette(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Darker corners."""
    away = ((x - 0.8) / 0.8) ** 2 + ((y - 0.5) / 0.5) ** 2
    return (1.0 - 0.11 * away**1.5)[:, None], np.zeros((len(x), 1))
