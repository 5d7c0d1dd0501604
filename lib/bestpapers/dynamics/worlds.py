"""Plants in the wind, with everything known: modes, motion, exact flow, occlusion, spectral volume (all of it ours).

A scene is a still picture that can move. It consists of *bodies* (a tree, a stalk, a string of lanterns, a pond), which are
sets of vibration modes, and of *parts* (a branch, a leaf, a petal), outlines that hang on a body and are painted one over
the other, far to near. How things are painted is in `scenes.canvas`; here is what moves and what hides what.

    scene = make_scene("tree", seed=3)
    wind = Wind.draw(np.random.default_rng(0))
    q = scene.motion(wind)                # (150, J): how far each mode is out, relative to frame 0
    flow = scene.flow(q, 160, 256)        # (150, 2, 160, 256) pixels, exact
    frames = scene.frames(q, 160, 256)    # (150, 160, 256, 3) uint8

**Positions** are in units of the picture's height: x to the right, y down. The nominal frame is [0, 1.6] x [0, 1]; a picture
of another shape shows its middle: pixel (i, j) of an (H, W) picture has its centre at x = (j + 0.5)/H + 0.8 - W/(2H),
y = (i + 0.5)/H. A scene looks and moves the same at all sizes: at twice the size its flow is twice as many pixels.

**Motion** is linear. A mode with coordinate q moves a part by q * (d + theta * R90 (x - pivot)), R90 (a, b) = (-b, a): a small
shift and a small turn. Limbs therefore stretch a little when they swing far. There is no leaf flutter and no camera.

**Frame 0 is the picture.** The wind has blown for a while when a clip begins, so the plant is not at rest in frame 0. We say
that the picture shows the pose of frame 0, and that the modes are those about that pose; q counts from there, q[0] = 0. This is
an idealisation: a real plant photographed in a gust is bent, and its picture tells of the wind. Here it does not, so the same
picture goes with every wind, and p(motion | picture) is known: draw winds.

**Wind** is hidden: nothing in the picture shows its strength, its direction or the timing of its gusts. All modes of a scene
feel the same wind, so all slices of a spectral volume share these unknowns.

**To add a kind**: write `scenes/<kind>.py` with `build(rng) -> Scene`, and put its name into KINDS. `build` makes bodies (by
`Branching` for what branches, by `normal_modes` for any mass and stiffness matrices, or by `Body` from what you know), parts
that hang on them, a background, and returns `Scene(kind, bodies, parts, background, ...)`. `make_scene` scales the scene so
that a wind of strength 1 moves it by `sway`. Materials, textures and light: see `scenes.canvas`.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, Protocol

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.signal import lfilter

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

KINDS = ("tree", "flowers", "lanterns", "water")
RATE = 30.0  # frames per second
FRAMES = 150
SLICES = 16  # of a spectral volume
SUPER = 2  # samples per pixel and axis, of ids and of colours
SUBSTEPS = 4  # of a frame, in which the wind's force is constant
BURN_IN = 20.0  # seconds of wind before frame 0
FINE = 0.25  # share of the fine gusts in the variance of the wind
HELD_OUT = 1_000_000  # seeds of held-out scenes start here
ACROSS, DOWN = 1.6, 1.0  # the nominal frame, in picture heights

SERIAL: dict[str, Any] = dict(cache=True, nogil=True, error_model="numpy")


# --------------------------------------------------------------------------------------------------------------- modes


def normal_modes(mass: Array, stiffness: Array, count: int | None = None) -> tuple[Array, Array]:
    """Modes of M x'' + K x = 0: K v = omega^2 M v. count: only so many of the slowest.

    mass, stiffness: (D, D), symmetric; mass positive definite, stiffness positive semi-definite.
    Returns omega (D,) in rad/s, rising, and shapes (D, D), a mode to a column, with shapes^T M shapes = 1.
    """
    if mass.shape != stiffness.shape or mass.ndim != 2:
        raise ValueError(f"mass {mass.shape} and stiffness {stiffness.shape}: expected two square matrices of one size")
    few = None if count is None or count >= len(mass) else (0, count - 1)
    squares, shapes = eigh(stiffness, mass, subset_by_index=few)
    # of the two signs that each shape may have, the one with which its largest number is positive
    shapes = shapes * np.sign(shapes[np.abs(shapes).argmax(0), np.arange(shapes.shape[1])])
    return np.sqrt(np.maximum(squares, 0.0)), shapes


@dataclass(frozen=True)
class Body:
    """J modes that belong together, and what the wind does to them.

    frequencies: (J,) Hz, undamped.   damping: (J,) ratios zeta, 0 < zeta < 1.
    points: (N, 2), where the wind is felt (positions on the map that gusts travel over; need not be places in the picture).
    loads: (N, J, 2): force on mode j per unit of wind (x, y) at point n.
    """

    frequencies: Array
    damping: Array
    points: Array
    loads: Array

    def __post_init__(self) -> None:
        j, n = len(self.frequencies), len(self.points)
        if self.damping.shape != (j,) or self.points.shape != (n, 2) or self.loads.shape != (n, j, 2):
            raise ValueError(
                f"body of {j} modes and {n} points: damping {self.damping.shape}, points {self.points.shape}, "
                f"loads {self.loads.shape}; expected ({j},), ({n}, 2), ({n}, {j}, 2)"
            )
        if not ((self.frequencies > 0).all() and (self.damping > 0).all() and (self.damping < 1).all()):
            raise ValueError("body: frequencies must be positive and damping ratios between 0 and 1")


class Branching:
    """What branches: segments that turn about their bases, one degree of freedom each, the angle to the parent.

    Add segments from the root outwards with `segment`, then call `solve` once; `body` and `motion` are there after that.
    Joints resist like round beams, stiffness ~ r^4 / length; mass ~ r^2 length, plus what the segment carries.
    """

    def __init__(self) -> None:
        self.parent: list[int] = []
        self.base: list[tuple[float, float]] = []
        self.tip: list[tuple[float, float]] = []
        self.mass: list[float] = []  # of the wood
        self.load: list[float] = []  # carried by the tip
        self.drag: list[float] = []
        self.stiff: list[float] = []
        self.body: Body | None = None

    def segment(
        self,
        parent: int,
        base: tuple[float, float],
        tip: tuple[float, float],
        radius: float,
        *,
        load: float = 0.0,
        drag: float | None = None,
        soft: float = 1.0,
    ) -> int:
        """Add a segment on `parent` (-1: the ground) and return its number.

        radius: at its base.   load: mass at its tip, in the unit of r^2 length.   drag: area that the wind finds (default:
        radius times length).   soft: how many times softer the joint is than the beam rule says.
        """
        if not -1 <= parent < len(self.parent):
            raise ValueError(f"segment: parent {parent} does not exist; there are {len(self.parent)} segments")
        length = math.dist(base, tip)
        if length <= 0 or radius <= 0:
            raise ValueError(f"segment: length {length} and radius {radius} must be positive")
        self.parent.append(parent)
        self.base.append((float(base[0]), float(base[1])))
        self.tip.append((float(tip[0]), float(tip[1])))
        self.mass.append(radius**2 * length)
        self.load.append(load)
        self.drag.append(radius * length if drag is None else drag)
        self.stiff.append(radius**4 / length / soft)
        return len(self.parent) - 1

    def _above(self) -> Bools:
        """(S, S): [s, a] whether segment s hangs on a, itself included."""
        above = np.eye(len(self.parent), dtype=bool)
        for s, p in enumerate(self.parent):
            if p >= 0:
                above[s] |= above[p]
        return above

    def _moved(self, at: Array) -> Array:
        """(S, 2, S): how the points at[s] (S, 2), each on its segment, move per unit of every joint's angle."""
        arm = at[:, None] - np.array(self.base)[None]  # (S, S, 2)
        turned = np.stack([-arm[..., 1], arm[..., 0]], axis=1)  # R90
        return turned * self._above()[:, None, :]

    def matrices(self) -> tuple[Array, Array]:
        """Mass and stiffness (S, S) in the joints' angles: half of a segment's wood at its middle, the rest at its tip."""
        base, tip = np.array(self.base), np.array(self.tip)
        wood, load = np.array(self.mass), np.array(self.load)
        mass = np.zeros((len(base), len(base)))
        for at, weight in ((0.5 * (base + tip), 0.5 * wood), (tip, 0.5 * wood + load)):
            jacobian = self._moved(at)
            flat = jacobian.reshape(-1, len(base))
            mass += (flat * np.repeat(weight, 2)[:, None]).T @ flat
        return mass, np.diag(self.stiff)

    def solve(
        self, first: float, damping: Sequence[float] | Array, *, highest: float = 5.0, points: Array | None = None
    ) -> Body:
        """Find the modes, scale stiffness so that the slowest has `first` Hz, keep those below `highest` Hz.

        damping: ratios zeta of the modes from the slowest on; there are as many modes at most as ratios.
        points: (S, 2), where each segment feels the wind (default: its tip).
        """
        mass, stiffness = self.matrices()
        omega, shapes = normal_modes(mass, stiffness, len(damping))
        hertz = omega * first / omega[0]
        keep = min(int((hertz < highest).sum()), len(damping))
        self.shapes = shapes[:, :keep]
        self.above = self._above()
        tip, base = np.array(self.tip), np.array(self.base)
        # of each segment's base; a turn of all above it, each about its own base
        turns = self.above @ self.shapes  # (S, J)
        swung = np.stack(
            [self.above @ (self.shapes * base[:, c : c + 1]) for c in (0, 1)], axis=-1
        )  # sum of angle times base
        arms = turns[:, :, None] * base[:, None] - swung
        self.motions = np.stack([-arms[..., 1], arms[..., 0], turns], axis=-1)  # (S, J, 3)
        felt = (self._moved(tip) @ self.shapes).transpose(0, 2, 1) * np.array(self.drag)[:, None, None]
        where = tip if points is None else points
        self.body = Body(hertz[:keep], np.asarray(damping, float)[:keep], np.asarray(where, float), felt)
        return self.body

    def motion(self, segment: int) -> Array:
        """(J, 3): shift (x, y) of a segment's base and its turn, per unit of each mode."""
        if self.body is None:
            raise ValueError("motion: call solve first")
        return self.motions[segment]


# ---------------------------------------------------------------------------------------------------------------- wind


@dataclass(frozen=True)
class Wind:
    """What the picture does not show.

    strength: 1 is an ordinary breeze; forces are proportional to it.   direction: radians, 0 blows to the right, pi to the
    left, pi/2 down the picture (and towards us, where there is ground).   seed: the timing of the gusts.
    tau: seconds over which a gust forgets itself.   speed: picture heights per second at which gusts travel.

    The wind at a place is an Ornstein-Uhlenbeck process of variance 1 that arrives later the farther downwind the place is;
    a quarter of the variance (FINE) is a finer one, four times shorter-lived, that travels at 0.6 of the speed.
    """

    strength: float
    direction: float
    seed: int
    tau: float = 0.6
    speed: float = 0.8

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Wind:
        """A wind: log-normal strength, from the left or from the right, tau 0.3 to 1 s, speed 0.5 to 1.3 heights/s."""
        return cls(
            strength=float(np.exp(0.45 * rng.standard_normal())),
            direction=float((0.0, math.pi)[int(rng.integers(2))] + rng.uniform(-0.35, 0.35)),
            seed=int(rng.integers(2**31)),
            tau=float(np.exp(rng.uniform(math.log(0.3), 0.0))),
            speed=float(rng.uniform(0.5, 1.3)),
        )

    def gusts(self, points: Array, steps: int, dt: float) -> Array:
        """(steps, N) at N points (N, 2): standing normal each, OU in time, later downwind. Without the strength."""
        along = points @ np.array([math.cos(self.direction), math.sin(self.direction)])
        along = along - 0.5 * ACROSS * math.cos(self.direction) - 0.5 * math.sin(self.direction)
        out = np.zeros((steps, len(points)))
        rng = np.random.default_rng(self.seed)
        for share, tau, speed in ((1 - FINE, self.tau, self.speed), (FINE, self.tau / 4, 0.6 * self.speed)):
            late = along / speed
            reach = max(6.0, float(np.abs(late).max(initial=0.0)) + 2 * dt)  # the same series wherever the points lie
            lead = math.ceil(reach / dt)
            keep = math.exp(-dt / tau)
            noise = np.random.default_rng(int(rng.integers(2**62)))
            # numbered from the middle outwards, so that a longer reach adds to a series and changes nothing
            ahead, back = noise.spawn(2)
            forward = _ornstein(ahead.standard_normal(steps + lead), keep)
            backward = _ornstein(back.standard_normal(lead), keep, forward[0])
            series = np.concatenate([backward[::-1], forward])
            times = np.arange(len(series)) * dt - lead * dt
            now = np.arange(steps) * dt
            for n, delay in enumerate(late):
                out[:, n] += math.sqrt(share) * np.interp(now - delay, times, series)
        return out


def _ornstein(noise: Array, keep: float, start: float | None = None) -> Array:
    """A stationary AR(1) series of variance 1, from its own first value or going on from `start` (reversible in time)."""
    fresh = math.sqrt(1 - keep**2) * noise
    if start is None:
        fresh[:1] = noise[:1]
        return lfilter([1.0], [1.0, -keep], fresh)
    return lfilter([1.0], [1.0, -keep], fresh, zi=[keep * start])[0]


def integrate(frequencies: Array, damping: Array, forces: Array, dt: float) -> Array:
    """Modes from rest under forces that are constant over each step: q'' + 2 zeta omega q' + omega^2 q = f, exactly.

    frequencies (J,) Hz, damping (J,) below 1, forces (steps, J). Returns q (steps, J); q[n] is the state when force n sets in,
    so q[0] = 0. The exact step is a matrix exponential; its two poles make each mode a filter of second order.
    """
    omega = 2 * math.pi * frequencies
    decay = damping * omega
    wd = omega * np.sqrt(1 - damping**2)
    e, c, s = np.exp(-decay * dt), np.cos(wd * dt), np.sin(wd * dt)
    gain = 1 / omega**2
    # response to a unit step that sets in at 0, after dt and after 2 dt
    r1 = gain * (1 - e * (c + decay / wd * s))
    r2 = gain * (1 - e**2 * (np.cos(2 * wd * dt) + decay / wd * np.sin(2 * wd * dt)))
    a1, a2 = -2 * e * c, e**2
    b1, b2 = r1, r2 - r1 + a1 * r1
    out = np.empty_like(forces, dtype=np.float64)
    for j in range(len(omega)):
        out[:, j] = lfilter([0.0, b1[j], b2[j]], [1.0, a1[j], a2[j]], forces[:, j])
    return out


def ring(frequencies: Array, damping: Array, start: Array, times: Array) -> tuple[Array, Array]:
    """Free modes let go at `start` (J,) without speed: q (T, J) and its time derivative (T, J), in closed form."""
    omega = 2 * math.pi * frequencies
    decay, wd = damping * omega, omega * np.sqrt(1 - damping**2)
    t = np.asarray(times, float)[:, None]
    e = np.exp(-decay * t)
    q = start * e * (np.cos(wd * t) + decay / wd * np.sin(wd * t))
    return q, -start * e * omega**2 / wd * np.sin(wd * t)


# --------------------------------------------------------------------------------------------------------------- parts


class Material(Protocol):
    """The colour of a part's surface, asked once for all its texels.

    u, v: (N,) along and across the part, in picture heights, from the origin of its frame.   skin: (S, N), the part's own
    numbers at each texel.   pixel: side of a texel in picture heights, for what must not be finer than that.
    Returns (N, 3), 0 to 1 (above 1 is clipped). Parts that share a material (the same object) are painted in one call.
    """

    def __call__(self, u: Array, v: Array, skin: Array, pixel: float) -> NDArray[Any]: ...


Still = Array  # (0, 3): the motion of what does not move


@dataclass(frozen=True)
class Part:
    """An outline that moves as a whole.

    outline: (V, 2), closed, in picture heights, as in frame 0; filled by the even-odd rule.
    material, skin: how its surface is painted.   frame: (x, y, angle) origin and direction of u on the picture; v is u turned
    by R90, so with angle 0 u runs right and v down.
    body: number of its body in the scene, -1 for none.   pivot: (x, y).   motion: (J, 3) shift and turn per mode of the body.
    """

    outline: Array
    material: Material
    skin: tuple[float, ...] = ()
    frame: tuple[float, float, float] = (0.0, 0.0, 0.0)
    body: int = -1
    pivot: tuple[float, float] = (0.0, 0.0)
    motion: Array = field(default_factory=lambda: np.zeros((0, 3)))


@dataclass(frozen=True)
class FieldPart:
    """A surface that moves as a smooth field, such as water: what is seen in it is displaced, its outline stands still.

    outline: (V, 2).   paint(x, y, pixel) -> (N, 3): its colour in frame 0 at positions (N,), asked beyond the outline too.
    body: number of its body.   shapes(x, y) -> (J, 2, N): displacement in picture heights per unit of each mode of the body.
    """

    outline: Array
    paint: Callable[[Array, Array, float], NDArray[Any]]
    body: int
    shapes: Callable[[Array, Array], Array]


@dataclass(frozen=True)
class Glow:
    """Light that a part throws on the air around it: added to the picture, moves along, hides nothing, has no flow.

    centre: (x, y).   radius: standard deviation in picture heights.   colour: (3,), what is added at the centre.
    """

    centre: tuple[float, float]
    radius: float
    colour: tuple[float, float, float]
    body: int = -1
    motion: Array = field(default_factory=lambda: np.zeros((0, 3)))


# --------------------------------------------------------------------------------------------------------------- scene


class Scene:
    """A picture that can move. Read the module's head for units; `make_scene` makes one."""

    def __init__(
        self,
        kind: str,
        bodies: Sequence[Body],
        parts: Sequence[Part | FieldPart],
        background: Callable[[int, int], NDArray[Any]],
        *,
        glows: Sequence[Glow] = (),
        finish: Callable[[Array, Array], tuple[NDArray[Any], NDArray[Any]]] | None = None,
        sway: float | None = 0.012,
    ) -> None:
        """bodies, parts (far to near), glows: see there.

        background(height, width) -> (height, width, 3): what stands behind everything, as a picture of that size, 0 to 1.
        finish(x, y) -> gain (N, 3), offset (N, 3): standing last touch, picture * gain + offset (vignette, haze, rays).
        sway: root mean square of displacement over what can move, in picture heights, that a wind of strength 1 causes;
            None: the bodies' loads are in such units already.
        """
        self.kind, self.seed = kind, -1
        self.bodies, self.parts, self.glows = tuple(bodies), tuple(parts), tuple(glows)
        self.background, self.finish, self.sway = background, finish, sway
        self.gain = 1.0
        sizes = [len(body.frequencies) for body in self.bodies]
        self.starts = np.concatenate([[0], np.cumsum(sizes)]).astype(int)
        for n, part in enumerate(self.parts):
            if not -1 <= part.body < len(self.bodies) or (isinstance(part, FieldPart) and part.body < 0):
                raise ValueError(f"part {n}: there is no body {part.body}; the scene has {len(self.bodies)}")
            if isinstance(part, Part) and part.body >= 0 and part.motion.shape != (sizes[part.body], 3):
                raise ValueError(
                    f"part {n}: motion {part.motion.shape}, expected ({sizes[part.body]}, 3), a row for each mode of its body"
                )

    # ------------------------------------------------------------------------------------------------------- physics

    @cached_property
    def frequencies(self) -> Array:
        """(J,) Hz, body after body."""
        return np.concatenate([body.frequencies for body in self.bodies])

    @cached_property
    def damping(self) -> Array:
        """(J,) ratios zeta."""
        return np.concatenate([body.damping for body in self.bodies])

    def forces(self, wind: Wind, steps: int, dt: float) -> Array:
        """(steps, J): what the wind does to each mode, constant over steps of dt seconds."""
        points = np.concatenate([body.points for body in self.bodies])
        gusts = wind.gusts(points, steps, dt)
        blows = np.array([math.cos(wind.direction), math.sin(wind.direction)])
        out = np.empty((steps, len(self.frequencies)))
        at = 0
        for body, start, end in zip(self.bodies, self.starts, self.starts[1:]):
            n = len(body.points)
            out[:, start:end] = gusts[:, at : at + n] @ (body.loads @ blows)
            at += n
        return (wind.strength * self.gain) * out

    def motion(self, wind: Wind, frames: int = FRAMES, rate: float = RATE) -> Array:
        """q (T, J): coordinates of the modes in each frame, relative to frame 0. Exact for forces constant in a sub-step."""
        if frames < 1 or rate <= 0:
            raise ValueError(f"motion: {frames} frames at {rate} a second; expected at least one, at a positive rate")
        dt = 1 / (rate * SUBSTEPS)
        lead = math.ceil(BURN_IN * rate) * SUBSTEPS
        q = integrate(self.frequencies, self.damping, self.forces(wind, lead + frames * SUBSTEPS, dt), dt)
        q = q[lead::SUBSTEPS][:frames]
        return q - q[0]

    def release(
        self, x: float, y: float, pull_x: float, pull_y: float, frames: int, rate: float, height: int, width: int
    ) -> Array:
        """q (T, J) after a slow pull at pixel (x, y) by (pull_x, pull_y) pixels, let go at frame 0.

        The pull is a force at that point; what bends is what the forces of all modes balance, q_j = phi_j . force / omega_j^2.
        The point follows the pull as far as it can: a direction in which it is more than 50 times as stiff as in its softest
        is not pulled. q counts from the picture, so q[0] is the pulled pose. Raises ValueError where nothing moves.
        """
        column, row = round(x), round(y)
        if not (0 <= row < height and 0 <= column < width):
            raise ValueError(f"release: pixel ({x}, {y}) is outside the picture of {width} x {height}")
        phi = self._displace(np.eye(len(self.frequencies)), height, width, (row, column))[:, :, 0].astype(
            float
        )  # (J, 2)
        soft = phi.T @ (phi / (2 * math.pi * self.frequencies[:, None]) ** 2)  # displacement per force
        sizes, axes = np.linalg.eigh(soft)
        if sizes[-1] <= 0:
            raise ValueError(f"release: nothing moves at pixel ({x}, {y}); choose one where mask() is true")
        inverse = np.where(sizes > sizes[-1] / 50, 1 / np.maximum(sizes, 1e-300), 0.0)
        force = axes @ (inverse * (axes.T @ np.array([pull_x, pull_y])))
        start = phi @ force / (2 * math.pi * self.frequencies) ** 2
        return ring(self.frequencies, self.damping, start, np.arange(frames) / rate)[0]

    # ------------------------------------------------------------------------------------------------------ geometry

    @cached_property
    def geometry(self) -> Geometry:
        """Arrays over all parts, for the loops. Part 0 is the background."""
        return Geometry(self)

    def _displace(self, amounts: Array, height: int, width: int, only: tuple[int, int] | None = None) -> Floats:
        """(N, 2, H, W) px: displacement of each pixel of frame 0 for N sets of modal coordinates (N, J).

        only: (row, column) of one pixel; then (N, 2, 1).
        """
        g = self.geometry
        ids = self.ids(height, width)
        poses = (amounts @ g.motion).reshape(len(amounts), -1, 3)
        pivot = g.pivot_px(height, width)
        rows, columns = np.divmod(np.arange(height * width), width)
        flat = ids.ravel()
        if only is not None:
            rows, columns = np.array([only[0]]), np.array([only[1]])
            flat = ids[only].reshape(1)
        out = np.empty((len(amounts), 2, len(flat)), np.float32)
        _gather(poses, pivot, flat.astype(np.int32), rows, columns, float(height), out)
        for number, part, start, end in g.fields:
            here = flat == number
            if here.any():
                x, y = place(rows[here], columns[here], height, width)
                shapes = np.asarray(part.shapes(x, y), float) * height
                out[:, :, here] = np.tensordot(amounts[:, start:end], shapes, axes=1)
        return out if only is not None else out.reshape(len(amounts), 2, height, width)

    def ids(self, height: int, width: int) -> NDArray[np.int32]:
        """(H, W): number of the part in each pixel of frame 0, 0 the background, n + 1 for parts[n].

        That is the part that most of the pixel's SUPER x SUPER samples show, the nearest one if there are several.
        """
        fine = self._fine(height, width)
        return _most(fine, SUPER)

    def _fine(self, height: int, width: int) -> NDArray[np.int32]:
        """Ids of frame 0 at SUPER samples per pixel and axis (kept for the last size asked for)."""
        kept: tuple[tuple[int, int], NDArray[np.int32]] | None = self.__dict__.get("_kept")
        if kept is None or kept[0] != (height, width):
            if height < 1 or width < 1:
                raise ValueError(f"size {height} x {width}: expected at least one pixel each way")
            kept = ((height, width), self.samples(np.zeros(len(self.frequencies)), height, width))
            self.__dict__["_kept"] = kept
        return kept[1]

    def samples(self, q: Array, height: int, width: int, base: NDArray[np.int32] | None = None) -> NDArray[np.int32]:
        """(SUPER H, SUPER W): number of the part at each sample of a frame with modal coordinates q (J,)."""
        g = self.geometry
        pose = (q @ g.motion).reshape(-1, 3)
        out = np.zeros((SUPER * height, SUPER * width), np.int32) if base is None else base.copy()
        scale = float(SUPER * height)
        shift = 0.5 * SUPER * width - 0.5 * ACROSS * scale
        first = 0 if base is None else g.first_moving
        _fill(out, g.vertices, g.bounds, pose, g.pivot, scale, shift, first)
        return out

    def mask(self, height: int, width: int) -> Bools:
        """(H, W): what can move."""
        return self.geometry.moves[self.ids(height, width)]

    def shapes(self, height: int, width: int) -> Floats:
        """(J, 2, H, W): pixels of motion per unit of each mode at each pixel of frame 0; 0 where nothing moves."""
        return self._displace(np.eye(len(self.frequencies)), height, width)

    def flow(self, q: Array, height: int, width: int) -> Floats:
        """(T, 2, H, W) px: where what is seen at each pixel of frame 0 has gone in each frame; exact."""
        return self._displace(np.asarray(q, float), height, width)

    def spectrum(self, q: Array, height: int, width: int, slices: int = SLICES) -> NDArray[np.complex64]:
        """S (K, 2, H, W) complex: unnormalised DFT over time of the flow, its first K slices; exact, without the flow."""
        frames = len(q)
        if not 1 <= slices <= frames // 2 + 1:
            raise ValueError(f"spectrum: {slices} slices of {frames} frames; expected 1 to {frames // 2 + 1}")
        modal = np.fft.rfft(np.asarray(q, float), axis=0)[:slices]
        both = self._displace(np.concatenate([modal.real, modal.imag]), height, width)
        return np.asarray(both[:slices] + 1j * both[slices:], np.complex64)

    def visible(self, q: Array, height: int, width: int) -> Bools:
        """(T, H, W): whether what is seen at a pixel of frame 0 is still seen in each frame: not hidden, not outside.

        True if one of the samples around its new place (as many as a pixel has) shows the same part.
        """
        ids, fine = self.ids(height, width), self._fine(height, width)
        out = np.empty((len(q), height, width), bool)
        for n, row in enumerate(np.asarray(q, float)):
            flow = self._displace(row[None], height, width)[0]
            now = self.samples(row, height, width, self._standing(height, width)) if row.any() else fine
            _seen(now, ids, flow, SUPER, out[n])
        return out

    def _standing(self, height: int, width: int) -> NDArray[np.int32]:
        """Ids of what stands still behind the first thing that moves."""
        g = self.geometry
        out = np.zeros((SUPER * height, SUPER * width), np.int32)
        scale = float(SUPER * height)
        shift = 0.5 * SUPER * width - 0.5 * ACROSS * scale
        bounds = g.bounds[: g.first_moving + 1]
        _fill(out, g.vertices, bounds, np.zeros((len(g.pivot), 3)), g.pivot, scale, shift, 0)
        return out

    # ------------------------------------------------------------------------------------------------------ pictures

    def picture(self, height: int, width: int) -> NDArray[np.uint8]:
        """(H, W, 3): the still, which is frame 0 of every clip."""
        return self.frames(np.zeros((1, len(self.frequencies))), height, width)[0]

    def frames(self, q: Array, height: int, width: int) -> NDArray[np.uint8]:
        """(T, H, W, 3): frames drawn with SUPER x SUPER samples per pixel."""
        from .scenes.canvas import Painter

        painter = self.__dict__.get("_painter")
        if painter is None or painter.size != (height, width):
            painter = self.__dict__["_painter"] = Painter(self, height, width)
        q = np.asarray(q, float)
        out = np.empty((len(q), height, width, 3), np.uint8)
        for n, row in enumerate(q):
            out[n] = painter.frame(row)
        return out


class Geometry:
    """A scene's parts as arrays: vertices (V, 2), bounds (P + 1,) into them, pivot (P, 2), motion (J, 3 P), moves (P,).

    P counts the background, which is part 0 and has no vertices. fields: (number, part, first mode, one past the last).
    """

    def __init__(self, scene: Scene) -> None:
        parts = scene.parts
        outlines = [np.zeros((0, 2))] + [np.asarray(part.outline, float) for part in parts]
        self.vertices = np.concatenate(outlines)
        self.bounds = np.concatenate([[0], np.cumsum([len(outline) for outline in outlines])]).astype(np.int64)
        self.pivot = np.zeros((len(outlines), 2))
        motion = np.zeros((scene.starts[-1], len(outlines), 3))
        self.moves = np.zeros(len(outlines), bool)
        self.fields: list[tuple[int, FieldPart, int, int]] = []
        for n, part in enumerate(parts, 1):
            if part.body < 0:
                continue
            start, end = int(scene.starts[part.body]), int(scene.starts[part.body + 1])
            if isinstance(part, FieldPart):
                self.fields.append((n, part, start, end))
                self.moves[n] = True
            else:
                self.pivot[n] = part.pivot
                motion[start:end, n] = part.motion
                self.moves[n] = bool(np.any(part.motion))
        self.motion = motion.reshape(scene.starts[-1], -1)
        moving = np.flatnonzero(self.moves)
        self.first_moving = int(moving[0]) if len(moving) else len(outlines)

    def pivot_px(self, height: int, width: int) -> Array:
        """Pivots in pixels of a picture."""
        x = (self.pivot[:, 0] - 0.5 * ACROSS) * height + 0.5 * width - 0.5
        return np.column_stack([x, self.pivot[:, 1] * height - 0.5])


def place(rows: NDArray[Any], columns: NDArray[Any], height: int, width: int) -> tuple[Array, Array]:
    """Positions (x, y) in picture heights of pixels."""
    return (columns + 0.5) / height + 0.5 * ACROSS - 0.5 * width / height, (rows + 0.5) / height


@njit(**SERIAL)
def _fill(out, vertices, bounds, pose, pivot, scale, shift, first):
    """Write the numbers of parts `first`, first + 1, ... over the samples whose centres lie inside their moved outlines."""
    height, width = out.shape
    crossings = np.empty(64)
    longest = 0
    for p in range(len(bounds) - 1):
        longest = max(longest, bounds[p + 1] - bounds[p])
    px, py = np.empty(longest), np.empty(longest)
    for p in range(first, len(bounds) - 1):
        count = bounds[p + 1] - bounds[p]
        dx, dy, turn = pose[p, 0], pose[p, 1], pose[p, 2]
        top, bottom = 1e9, -1e9
        for n in range(count):
            x, y = vertices[bounds[p] + n, 0], vertices[bounds[p] + n, 1]
            ax, ay = x - pivot[p, 0], y - pivot[p, 1]
            px[n] = (x + dx - turn * ay) * scale + shift - 0.5
            py[n] = (y + dy + turn * ax) * scale - 0.5
            top, bottom = min(top, py[n]), max(bottom, py[n])
        for row in range(max(0, math.ceil(top)), min(height, math.ceil(bottom))):
            found = 0
            before = count - 1
            for n in range(count):
                y0, y1 = py[before], py[n]
                if (y0 <= row) != (y1 <= row) and found < 64:
                    x = px[before] + (row - y0) * (px[n] - px[before]) / (y1 - y0)
                    at = found
                    while at > 0 and crossings[at - 1] > x:
                        crossings[at] = crossings[at - 1]
                        at -= 1
                    crossings[at] = x
                    found += 1
                before = n
            for n in range(0, found - 1, 2):
                left = max(0.0, math.ceil(crossings[n]))
                right = min(float(width), math.ceil(crossings[n + 1]))
                for column in range(int(left), int(right)):
                    out[row, column] = p


@njit(**SERIAL)
def _most(fine, samples):
    """The id that most samples of each pixel show; among equals the largest, which is the nearest."""
    height, width = fine.shape[0] // samples, fine.shape[1] // samples
    out = np.empty((height, width), np.int32)
    for i in range(height):
        for j in range(width):
            best, votes = -1, 0
            for a in range(samples * samples):
                p = fine[i * samples + a // samples, j * samples + a % samples]
                count = 0
                for b in range(samples * samples):
                    count += fine[i * samples + b // samples, j * samples + b % samples] == p
                if count > votes or (count == votes and p > best):
                    best, votes = p, count
            out[i, j] = best
    return out


@njit(**SERIAL)
def _gather(poses, pivot, ids, rows, columns, scale, out):
    """Displacement in pixels of each listed pixel in each of N sets of poses (N, P, 3); out (N, 2, pixels)."""
    for n in range(len(poses)):
        for m in range(len(ids)):
            p = ids[m]
            dx, dy, turn = poses[n, p, 0], poses[n, p, 1], poses[n, p, 2]
            out[n, 0, m] = scale * dx - turn * (rows[m] - pivot[p, 1])
            out[n, 1, m] = scale * dy + turn * (columns[m] - pivot[p, 0])


@njit(**SERIAL)
def _seen(fine, ids, flow, samples, out):
    """Whether the samples around each pixel's new place show its part."""
    height, width = ids.shape
    for i in range(height):
        for j in range(width):
            x, y = j + flow[0, i, j], i + flow[1, i, j]
            out[i, j] = False
            if not (-0.5 <= x < width - 0.5 and -0.5 <= y < height - 0.5):
                continue
            left = math.floor(samples * (x + 0.5) - 0.5 * samples + 0.5)
            top = math.floor(samples * (y + 0.5) - 0.5 * samples + 0.5)
            for a in range(samples * samples):
                r = min(max(top + a // samples, 0), height * samples - 1)
                c = min(max(left + a % samples, 0), width * samples - 1)
                if fine[r, c] == ids[i, j]:
                    out[i, j] = True
                    break


# -------------------------------------------------------------------------------------------------------------- making


def plant_seeds(kind: str, split: str, count: int = 64) -> tuple[int, ...]:
    """Seeds of `count` scenes of a kind for "train" or "held-out"; no seed is in both."""
    _check(kind)
    if split not in ("train", "held-out"):
        raise ValueError(f'split {split!r}: expected "train" or "held-out"')
    if not 0 <= count <= HELD_OUT:
        raise ValueError(f"count {count}: expected 0 to {HELD_OUT}")
    start = HELD_OUT if split == "held-out" else 0
    return tuple(range(start, start + count))


def _check(kind: str) -> None:
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r}: expected one of {', '.join(KINDS)}")


def make_scene(kind: str, seed: int) -> Scene:
    """The scene of that kind and seed; always the same one, and not to be changed."""
    _check(kind)
    if seed < 0:
        raise ValueError(f"seed {seed}: expected 0 or more")
    return _made(kind, int(seed))


@lru_cache(maxsize=4)
def _made(kind: str, seed: int) -> Scene:
    rng = np.random.default_rng([KINDS.index(kind), seed])
    scene: Scene = importlib.import_module(f".scenes.{kind}", __package__).build(rng)
    scene.kind, scene.seed = kind, seed
    scene.gain = _gain(scene)
    return scene


def _gain(scene: Scene, height: int = 40, width: int = 64) -> float:
    """What makes winds of strength 1 from both sides move the scene by its `sway`."""
    if scene.sway is None:
        return 1.0
    scene.gain = 1.0
    power = 0.0
    where = scene.mask(height, width)
    for direction in (0.0, math.pi):
        flow = scene.flow(scene.motion(Wind(1.0, direction, 0), 600)[::12], height, width)
        flow = flow - flow.mean(0)
        power += float((flow[:, :, where] ** 2).sum(1).mean()) / 2
    if not power > 0:
        raise ValueError(f"scene of kind {scene.kind}: nothing moves in the wind")
    return scene.sway * height / math.sqrt(power)
