"""The three procedural worlds, and the ray caster that looks into them.

A world is a stack that you look into along -z, like a paper theatre: painted sheets (planes of constant z that carry
strokes: spokes, letters, leaves), a ball between two of them, and an infinite wall that ends every ray. Because nothing
overlaps in z, front to back is the same order for every ray that runs towards -z, and no ray needs a search.

Read it from the middle: `render_rays` averages rays into pixels, `_see` follows them from surface to surface, `_meet`
asks one surface, and `_stroke`, `_wedges` and `_edge` say what is painted there. The scenes stand at the end.

Soft edges: an edge blurred by a Gaussian is a sheet that is partly there, so every surface returns a colour that is
already multiplied by its coverage, and the coverage. With hard edges coverage is 0 or 1 and this is plain ray casting.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Colour = tuple[float, float, float]

LINE, LEAF, RING, BAR = 0, 1, 2, 3  # kinds of stroke
BALL, WALL = -1, -2  # in World.order; numbers from 0 on are sheets
GRID = 80  # a sheet is a square of GRID x GRID cells; nothing is painted outside
WALL_Z = -4.0
OPAQUE = 1e-4  # a ray with less than this left to see is done
PIXEL = 2 * math.tan(math.radians(50) / 2) / 32  # a pixel of a 32-pixel, 50-degree camera, per unit of distance
VIEW = 3.0  # z of a typical camera
SIGMAS = 3.5  # where a blurred edge may be cut: what is left is a twentieth of the step of an 8-bit image


class World(NamedTuple):
    """A scene as the kernels take it: arrays only. L sheets, S strokes, the strokes of all sheets in one table."""

    order: NDArray[np.int64]  # [L + 2], front to back: sheet number, BALL or WALL
    sheet_z: Array  # [L]
    sheet_soft: Array  # [L], standard deviation of the edge blur
    sheet_reach: Array  # [L]: a sheet spans [-reach, reach] in x and y
    kinds: NDArray[np.int64]  # [S]
    shapes: NDArray[np.int64]  # [S]: strokes with equal numbers merge into one shape
    strokes: Array  # [S, 12]: ax, ay, bx, by, half width at a, at b, colour at a, colour at b
    start: NDArray[np.int64]  # [L, GRID * GRID + 1]: cell c of sheet l owns items[start[l, c]:start[l, c + 1]]
    items: NDArray[np.int64]  # stroke numbers, in the order of painting
    ball: Array  # [7]: centre x y z, radius, edge blur, 0 checker | 1 slices, waves (per unit | per turn)
    ball_colours: Array  # [2, 3]
    wall: Array  # [4]: 0 checker and star | 1 hills | 2 bricks, edge blur, size of the pattern, waves
    wall_colours: Array  # [5, 3]; the first is also what a ray sees that never reaches the wall


# ------------------------------------------------------------------------------------------------------ what is painted


@njit(cache=True, error_model="numpy")
def _edge(inside, soft):
    """How much of a blurred half plane covers a point `inside` units within it: 0 far out, 1 far in.

    soft = 0 is a hard edge; otherwise this is the edge convolved with a Gaussian of standard deviation `soft`.
    """
    if soft == 0.0 or abs(inside) > SIGMAS * soft:  # far from a blurred edge there is no need to ask erf
        return 1.0 if inside > 0.0 else 0.0
    return 0.5 + 0.5 * math.erf(inside / (1.4142135623730951 * soft))


@njit(cache=True, error_model="numpy")
def _band(d, half, soft):
    """Coverage at distance d from the middle of a straight band, 2 * half wide: one edge minus the other."""
    return _edge(half - d, soft) - _edge(-half - d, soft)


@njit(cache=True, error_model="numpy")
def _wave(phase, soft):
    """A square wave with hard edges, its first harmonic (a sine) without; in [-1, 1]."""
    if soft > 0.0:
        return math.sin(phase)
    turns = phase * (0.5 / math.pi)
    return 1.0 if turns - math.floor(turns) < 0.5 else -1.0


@njit(cache=True, error_model="numpy")
def _wedges(x, y, waves, soft):
    """A Siemens star, `waves` black and white pairs per turn, in [-1, 1].

    Towards the middle the wedges get finer without end. With soft edges they fade as a Gaussian blur makes a wave of
    angular frequency waves / r fade: by exp(-(soft * waves / r)^2 / 2).
    """
    w = _wave(waves * math.atan2(y, x), soft)
    return w * math.exp(-0.5 * (soft * waves) ** 2 / (x * x + y * y + 1e-12))


@njit(cache=True, error_model="numpy")
def _rgb(colours, n):
    """Row n as a tuple: unlike a slice it costs nothing in the inner loop."""
    return colours[n, 0], colours[n, 1], colours[n, 2]


@njit(cache=True, error_model="numpy")
def _mix(a, b, t):
    """Colour a at t = 0, colour b at t = 1."""
    return a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1]), a[2] + t * (b[2] - a[2])


@njit(cache=True, error_model="numpy")
def _stroke(kind, ax, ay, bx, by, half_a, half_b, x, y, soft):
    """Coverage of a stroke at (x, y), and how far along the stroke (0 to 1) the point lies."""
    px, py = x - ax, y - ay
    if kind == RING:  # bx is its radius
        return _band(abs(math.sqrt(px * px + py * py) - bx), half_a, soft), 0.0
    dx, dy = bx - ax, by - ay
    length2 = dx * dx + dy * dy
    along = (px * dx + py * dy) / length2 if length2 > 0.0 else 0.0
    t = min(1.0, max(0.0, along))
    if kind == BAR:  # square ends: two bands crossed
        length = math.sqrt(length2)
        across = abs(px * dy - py * dx) / length
        return _band(across, half_a, soft) * _band(abs(along - 0.5) * length, 0.5 * length, soft), t
    half = half_a + t * (half_b - half_a)
    if kind == LEAF:  # pointed at both ends, widest in the middle
        half *= 4.0 * t * (1.0 - t)
    return _band(math.sqrt((px - t * dx) ** 2 + (py - t * dy) ** 2), half, soft), t


@njit(cache=True, error_model="numpy")
def _wall_colour(pattern, soft, size, waves, c, x, y):
    """Colour of the wall at (x, y); it covers everything."""
    if pattern == 0.0:  # a checker, and a Siemens star in its upper left
        p = _wave(math.pi * x / size, soft) * _wave(math.pi * y / size, soft)
        colour = _mix(_rgb(c, 0), _rgb(c, 1), 0.5 + 0.5 * p)
        sx, sy = x + 1.75, y - 1.75
        cover = _edge(1.35 - math.sqrt(sx * sx + sy * sy), soft)
        if cover == 0.0:
            return colour
        return _mix(colour, _mix(_rgb(c, 2), _rgb(c, 3), 0.5 + 0.5 * _wedges(sx, sy, waves, soft)), cover)
    if pattern == 1.0:  # sky, sun, and two rows of hills; `size` is the height of the firs on the far one
        colour = _mix(_rgb(c, 0), _rgb(c, 1), min(1.0, max(0.0, 0.35 * y + 0.1)))
        colour = _mix(colour, _rgb(c, 2), _edge(0.55 - math.sqrt((x - 1.7) ** 2 + (y - 1.9) ** 2), soft))
        far = 0.35 + 0.30 * math.sin(0.8 * x + 0.6) + size * abs((7.0 * x) % 2.0 - 1.0)
        colour = _mix(colour, _rgb(c, 3), _edge(far - y, soft))
        near = -0.75 + 0.35 * math.sin(0.7 * x - 1.2)
        return _mix(colour, _rgb(c, 4), _edge(near - y, soft))
    # bricks: rows of height `size`, every other one shifted by half a brick, each brick a little different
    row, length = math.floor(y / size), 2.4 * size
    u = x / length + 0.5 * (row % 2)
    half = 0.05 * size + 0.6 * soft  # of a joint; wider where the blur would thin it out
    dy = size * (0.5 - abs(y / size - row - 0.5))  # distances to the nearest joints: between rows, in this row,
    dx = length * (0.5 - abs(u - math.floor(u) - 0.5))
    dx_next = 0.5 * length - dx  # and in the rows above and below, into which this one fades
    inside = _edge(dy, soft)
    upright = inside * _band(dx, half, soft) + (1.0 - inside) * _band(dx_next, half, soft)
    level = _band(dy, half, soft) + _band(size - dy, half, soft)
    tone = 0.5 + 0.5 * math.sin(12.9898 * math.floor(u) + 78.233 * row) if soft == 0.0 else 0.5
    return _mix(_rgb(c, 2), _mix(_rgb(c, 0), _rgb(c, 1), tone), (1.0 - upright) * (1.0 - level))


# ---------------------------------------------------------------------------------------------------- rays, in blocks
# Each function below asks one surface for a whole block of rays from one eye. The block is there for speed: handing the
# arrays of a World to a function costs Numba as much as ten rays, so it is done once a block.
#
#     eye [3], rays [N, 3]   origin and directions (of any length), float64
#     left [N]               what each ray has not yet seen, 0 to 1; a ray with nothing left is skipped
#     met [N, 5]             out: colour times coverage (r, g, b), coverage, and the ray parameter t of the meeting point


@njit(cache=True, error_model="numpy")
def _meet_sheet(world, k, eye, rays, left, met):
    """Sheet k: find the cell that the ray hits, then lay the strokes of that cell from the top down."""
    kinds, shapes, s = world.kinds, world.shapes, world.strokes
    items, start = world.items, world.start[k]
    depth, soft, reach = world.sheet_z[k] - eye[2], world.sheet_soft[k], world.sheet_reach[k]
    for n in range(len(rays)):
        met[n] = 0.0
        if left[n] < OPAQUE or depth >= 0.0 or rays[n, 2] >= 0.0:  # starts behind the sheet, or runs away from it
            continue
        t = depth / rays[n, 2]
        x, y = eye[0] + t * rays[n, 0], eye[1] + t * rays[n, 1]
        column = math.floor((x + reach) * (0.5 * GRID / reach))
        row = math.floor((y + reach) * (0.5 * GRID / reach))
        if column < 0 or row < 0 or column >= GRID or row >= GRID:
            continue
        r = g = b = 0.0
        bare = around = 1.0  # how much of what was painted earlier still shows: here, and beside the current shape
        shape = -1
        cell = row * GRID + column
        for item in range(start[cell + 1] - 1, start[cell] - 1, -1):  # the stroke painted last lies on top
            i = items[item]
            cover, along = _stroke(kinds[i], s[i, 0], s[i, 1], s[i, 2], s[i, 3], s[i, 4], s[i, 5], x, y, soft)
            if shapes[i] != shape:
                shape, around = shapes[i], bare
            # Strokes of different shapes cover each other. Strokes of one shape lie side by side, and blurring is
            # linear: the blur of the whole is the sum of the blurs, so that no seam shows where they meet.
            w = min(bare, around * cover)
            if w > 0.0:
                cr, cg, cb = _mix((s[i, 6], s[i, 7], s[i, 8]), (s[i, 9], s[i, 10], s[i, 11]), along)
                r, g, b, bare = r + w * cr, g + w * cg, b + w * cb, bare - w
                if bare < OPAQUE:
                    break
        met[n, 0], met[n, 1], met[n, 2], met[n, 3], met[n, 4] = r, g, b, 1.0 - bare, t


@njit(cache=True, error_model="numpy")
def _meet_ball(world, eye, rays, left, met):
    """The ball: solve for the nearer crossing. On a soft edge rays that pass just outside see a little of it too."""
    cx, cy, cz, radius, soft, texture, waves = world.ball
    dark, bright = _rgb(world.ball_colours, 0), _rgb(world.ball_colours, 1)
    per_unit = waves if texture == 0.0 else waves / radius
    ex, ey, ez = eye[0] - cx, eye[1] - cy, eye[2] - cz
    for n in range(len(rays)):
        met[n] = 0.0
        dx, dy, dz = rays[n, 0], rays[n, 1], rays[n, 2]
        a = dx * dx + dy * dy + dz * dz
        nearest = -(ex * dx + ey * dy + ez * dz) / a  # ray parameter of the point closest to the centre
        miss = math.sqrt(max(0.0, ex * ex + ey * ey + ez * ez - nearest * nearest * a))  # its distance to the centre
        cover = _edge(radius - miss, soft)
        t = nearest - math.sqrt(max(0.0, radius * radius - miss * miss) / a)
        if left[n] < OPAQUE or cover == 0.0 or t <= 0.0:
            continue
        x, y, z = ex + t * dx, ey + t * dy, ez + t * dz  # the point met, seen from the centre
        if texture == 0.0:  # a checker cut out of solid blocks: no seam, no pole
            p = _wave(waves * x, soft) * _wave(waves * y, soft) * _wave(waves * z, soft)
        else:  # slices around an axis that leans forward
            p = _wedges(x, 0.6 * y + 0.8 * z, waves, soft)
        if soft > 0.0:  # near the rim the pattern is seen aslant, gets finer on the image, and a blur takes it away
            slant = radius * radius / max(1e-12, radius * radius - miss * miss) - 1.0
            p *= math.exp(-0.5 * (soft * per_unit) ** 2 * slant)
        size = math.sqrt(x * x + y * y + z * z)
        light = max(0.0, 0.38 * x + 0.70 * y + 0.60 * z) / size  # a lamp up, right, and in front
        w = cover * (0.45 + 0.55 * light)
        r, g, b = _mix(dark, bright, 0.5 + 0.5 * p)
        met[n, 0], met[n, 1], met[n, 2], met[n, 3], met[n, 4] = r * w, g * w, b * w, cover, t


@njit(cache=True, error_model="numpy")
def _meet_wall(world, eye, rays, left, met):
    pattern, soft, size, waves = world.wall
    colours = world.wall_colours
    depth = WALL_Z - eye[2]
    for n in range(len(rays)):
        met[n] = 0.0
        if left[n] < OPAQUE or depth >= 0.0 or rays[n, 2] >= 0.0:
            continue
        t = depth / rays[n, 2]
        r, g, b = _wall_colour(pattern, soft, size, waves, colours, eye[0] + t * rays[n, 0], eye[1] + t * rays[n, 1])
        met[n, 0], met[n, 1], met[n, 2], met[n, 3], met[n, 4] = r, g, b, 1.0, t


@njit(cache=True, error_model="numpy")
def _meet(world, k, eye, rays, left, met):
    """The k-th surface from the front."""
    which = world.order[k]
    if which == BALL:
        _meet_ball(world, eye, rays, left, met)
    elif which == WALL:
        _meet_wall(world, eye, rays, left, met)
    else:
        _meet_sheet(world, which, eye, rays, left, met)


@njit(cache=True, error_model="numpy")
def _see(world, eye, rays, left, met, seen):
    """What each ray sees, seen [N, 3]: surfaces front to back, each through what the ones before it left open."""
    left[:], seen[:] = 1.0, 0.0
    for k in range(len(world.order)):
        _meet(world, k, eye, rays, left, met)
        for n in range(len(rays)):
            for c in range(3):
                seen[n, c] += left[n] * met[n, c]
            left[n] *= 1.0 - met[n, 3]
    for n in range(len(rays)):  # a ray that never reaches the wall sees the wall's first colour
        for c in range(3):
            seen[n, c] += left[n] * world.wall_colours[0, c]


@njit(parallel=True, cache=True, error_model="numpy")
def render_rays(world, eye, to_ray, samples, out):
    """Fill out [H, W, 3] float32 with the mean colour over samples x samples rays on a regular grid in each pixel.

    eye [3] is the camera centre; to_ray [3, 3] turns an image position (u, v, 1) into a direction; both float64.
    """
    H, W, _ = out.shape
    for i in prange(H):  # a row of pixels at a time: no two threads write the same one
        N = W * samples
        rays, left, met, seen = np.empty((N, 3)), np.empty(N), np.empty((N, 5)), np.empty((N, 3))
        total = np.zeros((W, 3))  # float64: thousands of float32 additions would lose the last digits
        for si in range(samples):
            v = i + (si + 0.5) / samples  # centres of sub-pixels, so that coarse and fine images share their rays
            for n in range(N):
                u = (n + 0.5) / samples
                for c in range(3):
                    rays[n, c] = to_ray[c, 0] * u + to_ray[c, 1] * v + to_ray[c, 2]
            _see(world, eye, rays, left, met, seen)
            for n in range(N):
                for c in range(3):
                    total[n // samples, c] += seen[n, c]
        out[i] = total / (samples * samples)


@njit(cache=True, error_model="numpy")
def hit_rays(world, origins, directions, draw, points, colours):
    """Where each ray ends: points [N, 3] and colours [N, 3], float64, NaN for a ray that meets nothing.

    A soft edge is partly there, so a ray ends at each surface with the probability of that surface's share in the
    pixel: at the first one where the shares so far exceed draw [N], uniform in [0, 1).
    """
    left, met = np.empty(1), np.empty((1, 5))
    for n in range(len(origins)):
        points[n], colours[n] = np.nan, np.nan
        left[0] = 1.0
        for k in range(len(world.order)):
            _meet(world, k, origins[n], directions[n : n + 1], left, met)
            left[0] *= 1.0 - met[0, 3]
            if met[0, 3] > 0.0 and 1.0 - left[0] > draw[n]:
                points[n] = origins[n] + met[0, 4] * directions[n]
                colours[n] = met[0, :3] / met[0, 3]
                break


# -------------------------------------------------------------------------------------------------------------- scenes


def _blur(thin: bool, z: float) -> float:
    """Blur of everything at depth z: none, or one pixel of the 32-pixel camera as seen there."""
    return 0.0 if thin else PIXEL * (VIEW - z)


class _Paint:
    """Collects the strokes of one sheet. Colours are (r, g, b) in [0, 1]; `to` is the colour at the far end."""

    def __init__(self, z: float, thin: bool) -> None:
        self.z = z
        self.soft = _blur(thin, z)
        self.reach = VIEW - z  # 45 degrees to each side of the axis
        self.kinds: list[int] = []
        self.shapes: list[int] = []
        self.rows: list[tuple[float, ...]] = []

    def add(
        self,
        kind: int,
        a: tuple[float, float],
        b: tuple[float, float],
        half: float,
        colour: Colour,
        half_b: float | None = None,
        to: Colour | None = None,
        join: bool = False,
    ) -> None:
        """One stroke from a to b, `half` wide on each side (`half_b` at b). join: one shape with the stroke before."""
        self.shapes.append(self.shapes[-1] if join else len(self.shapes))
        self.kinds.append(kind)
        self.rows.append((*a, *b, half, half if half_b is None else half_b, *colour, *(to or colour)))

    def path(self, points: list[tuple[float, float]], halves: ArrayLike, colour: Colour, join: bool = False) -> None:
        """A chain of strokes as one shape; `halves` is one half width, or one for each stroke.

        Round ends close the gaps at hard bends; soft edges hide these gaps, but would show where ends overlap.
        """
        halves = np.broadcast_to(halves, len(points) - 1)
        for n, (a, b) in enumerate(pairwise(points)):
            self.add(BAR if self.soft else LINE, a, b, float(halves[n]), colour, join=join or n > 0)

    def disc(self, centre: tuple[float, float], radius: float, colour: Colour, join: bool = False) -> None:
        self.add(LINE, centre, centre, radius, colour, join=join)

    def cells(self) -> NDArray[np.bool_]:
        """[GRID * GRID, S]: can stroke s be seen in cell c? Generous by up to half a cell, never too strict."""
        step = 2 * self.reach / GRID
        centre = -self.reach + step * (np.arange(GRID) + 0.5)
        x, y = (c.ravel() for c in np.meshgrid(centre, centre))
        touch = np.zeros((GRID * GRID, len(self.rows)), dtype=bool)
        for i, (kind, s) in enumerate(zip(self.kinds, self.rows)):
            ax, ay, bx, by = s[:4]
            if kind == RING:
                d = np.abs(np.hypot(x - ax, y - ay) - bx)
            else:
                dx, dy = bx - ax, by - ay
                t = np.clip(((x - ax) * dx + (y - ay) * dy) / max(dx * dx + dy * dy, 1e-30), 0, 1)
                d = np.hypot(x - ax - t * dx, y - ay - t * dy)
            blur = SIGMAS * self.soft * (math.sqrt(2) if kind == BAR else 1)  # corners reach farther than sides
            touch[:, i] = d <= max(s[4], s[5]) + blur + step / math.sqrt(2)
        return touch


def _world(
    front: list[_Paint],
    back: list[_Paint],
    ball: tuple[float, ...],
    ball_colours: tuple[Colour, Colour],
    wall: tuple[float, ...],
    wall_colours: tuple[Colour, Colour, Colour, Colour, Colour],
) -> World:
    """Flatten the parts into arrays. front and back: the sheets before and behind the ball, nearest first."""
    sheets = [*front, *back]
    starts, items, first_stroke, first_item = [], [], 0, 0
    for sheet in sheets:
        touch = sheet.cells()
        starts.append(first_item + np.concatenate([[0], np.cumsum(touch.sum(1))]))
        items.append(first_stroke + np.nonzero(touch)[1])
        first_stroke += len(sheet.rows)
        first_item += len(items[-1])
    order = [*range(len(front)), BALL, *range(len(front), len(sheets)), WALL]
    return World(
        order=np.array(order),
        sheet_z=np.array([s.z for s in sheets]),
        sheet_soft=np.array([s.soft for s in sheets]),
        sheet_reach=np.array([s.reach for s in sheets]),
        kinds=np.array([kind for s in sheets for kind in s.kinds]),
        shapes=np.array([shape for s in sheets for shape in s.shapes]),
        strokes=np.array([row for s in sheets for row in s.rows]),
        start=np.stack(starts),
        items=np.concatenate(items),
        ball=np.array(ball, dtype=np.float64),
        ball_colours=np.array(ball_colours),
        wall=np.array(wall, dtype=np.float64),
        wall_colours=np.array(wall_colours),
    )


def _wheel(thin: bool, variant: int | None = None) -> World:
    """A black wheel of radius 1, a checkered ball behind it, a checkered wall with a Siemens star.

    variant  None: ten spokes, the scene of most figures. A number: another wheel of the same kind. Drawn are how many spokes,
             their turn and width, where the ball is and how large, the size of the patterns, and the colours.
    """
    black, cream, teal = (0.05, 0.05, 0.06), (0.93, 0.88, 0.78), (0.50, 0.68, 0.70)
    navy, white, red = (0.13, 0.20, 0.42), (0.97, 0.95, 0.90), (0.80, 0.22, 0.18)
    spokes, turn, width, at, radius, pattern, waves = 10, 0.25, 1.0, (0.25, -0.2), 0.6, 1.0, 0
    if variant is not None:
        rng = np.random.default_rng([11, variant])
        spokes, turn, width = int(rng.integers(8, 13)), rng.uniform(), rng.uniform(0.9, 1.2)
        at, radius, pattern = tuple(rng.uniform(-0.35, 0.35, 2)), rng.uniform(0.5, 0.7), rng.uniform(0.85, 1.2)
        waves = int(rng.integers(-4, 5)) if thin else int(rng.integers(-1, 2))
        cream, teal, navy, white, red = _recoloured(rng, cream, teal, navy, white, red)
    wheel = _Paint(0.0, thin)
    spoke, tyre = (0.025, 0.045) if thin else (0.065, 0.085)
    hub, rim = (0.12, 0.93) if thin else (0.17, 0.83)
    wheel.disc((0.0, 0.0), hub, black)
    wheel.add(RING, (0.0, 0.0), (1.0 - tyre, 0.0), tyre, black, join=True)
    for k in range(spokes):
        c, s = math.cos(2 * math.pi * (k + turn) / spokes), math.sin(2 * math.pi * (k + turn) / spokes)
        wheel.path([(hub * c, hub * s), (rim * c, rim * s)], width * spoke, black, join=True)
    ball = (*at, -1.3, radius, _blur(thin, -0.9), 0, math.pi / (pattern * (0.2 if thin else 0.42)))
    wall = (0, _blur(thin, WALL_Z), pattern * (0.36 if thin else 0.9), (24 if thin else 7) + waves)
    return _world([wheel], [], ball, (red, white), wall, (cream, teal, navy, white, black))


def _recoloured(rng: np.random.Generator, *colours: Colour) -> list[Colour]:
    """Colours with red, green and blue dealt out anew, the same way for all, and each a little lighter or darker."""
    order = rng.permutation(3)
    return [tuple(min(1.0, float(colour[i] * rng.uniform(0.9, 1.1))) for i in order) for colour in colours]  # type: ignore[misc]


def _foliage(thin: bool, variant: int | None = None) -> World:
    """A leafy branch above, grass and daisies below, a pumpkin behind them, then a tree, and hills under a sky.

    variant  a number draws other grass, another branch and another tree, puts the pumpkin elsewhere, and changes the light
    """
    rng = np.random.default_rng(7 if variant is None else [7, variant])
    near, middle, far = _Paint(0.0, thin), _Paint(-1.2, thin), _Paint(-2.4, thin)
    _paint_grass(near, rng, thin)
    _paint_daisies(near, thin)
    _paint_branch(near, rng, thin)
    # the stalk stands in the plane of the pumpkin's middle: all of it that the pumpkin should hide, it hides
    x, glow = 0.30, 1.0
    if variant is not None:
        other = np.random.default_rng([12, variant])
        x, glow = float(other.uniform(-0.4, 0.8)), float(other.uniform(0.85, 1.1))
    middle.add(LINE, (x, -0.6), (x + 0.07, -0.26), 0.07, GREEN, half_b=0.05, to=LEAF_GREEN)
    _paint_tree(far, rng, thin)
    ball = (x, -0.95, -1.2, 0.62, _blur(thin, -0.9), 1, 9 if thin else 5)
    pale, blue, sun = (_shade(c, glow) for c in ((0.90, 0.93, 0.90), (0.42, 0.66, 0.88), (1.0, 0.90, 0.55)))
    hill, meadow = (_shade(c, glow) for c in ((0.42, 0.58, 0.52), (0.55, 0.70, 0.36)))
    wall = (1, _blur(thin, WALL_Z), 0.16 if thin else 0.0, 0)
    pumpkin = ((0.70, 0.27, 0.05), (0.99, 0.60, 0.17))
    return _world([near], [middle, far], ball, pumpkin, wall, (pale, blue, sun, hill, meadow))


GREEN, LEAF_GREEN, STRAW, BARK = (0.13, 0.36, 0.13), (0.45, 0.68, 0.20), (0.66, 0.82, 0.34), (0.36, 0.24, 0.15)


def _shade(colour: Colour, tone: float) -> Colour:
    r, g, b = (min(1.0, tone * c) for c in colour)
    return r, g, b


def _paint_grass(sheet: _Paint, rng: np.random.Generator, thin: bool) -> None:
    """Every blade is a stem that leans and a tip that leans further."""
    count, half = (320, 0.015) if thin else (30, 0.075)
    for x in rng.uniform(-2.9, 2.9, count):
        lean, height = rng.normal(0, 0.12), rng.uniform(1.6, 2.2)
        knee = (x + lean, -2.9 + 0.7 * height)
        tip = (x + 3.2 * lean + rng.normal(0, 0.05), -2.9 + height)
        tone = rng.uniform(0.75, 1.1)
        bend = _shade((0.30, 0.58, 0.18), tone)
        sheet.add(LINE, (x, -2.9), knee, 1.2 * half, _shade(GREEN, tone), half_b=half, to=bend)
        sheet.add(LINE, knee, tip, half, bend, half_b=0.1 * half, to=_shade(STRAW, tone), join=True)


def _paint_daisies(sheet: _Paint, thin: bool) -> None:
    petals, size, eye = (13, 0.17, 0.055) if thin else (8, 0.30, 0.10)
    for x, y in ((-1.0, -0.66), (-0.45, -0.92), (0.95, -0.56), (1.5, -0.85), (-1.7, -0.85)):
        sheet.add(LINE, (x + 0.05, -2.9), (x, y), 0.012 if thin else 0.06, GREEN, to=LEAF_GREEN)
        for k in range(petals):
            angle = 2 * math.pi * k / petals
            tip = (x + size * math.cos(angle), y + size * math.sin(angle))
            sheet.add(LEAF, (x, y), tip, 0.22 * size, (0.93, 0.90, 0.88), to=(0.99, 0.97, 0.95), join=k > 0)
        sheet.disc((x, y), eye, (0.95, 0.74, 0.16))


def _paint_branch(sheet: _Paint, rng: np.random.Generator, thin: bool) -> None:
    """An arc from the upper left, with leaves on stalks to both sides."""
    u = np.linspace(0, 1, 13)
    xs, ys = -2.6 + 3.9 * u, 1.62 - 0.30 * u - 0.42 * np.sin(math.pi * u)
    sheet.path(list(zip(xs, ys)), (0.05 if thin else 0.09) * (1.1 - 0.8 * u[:-1]), BARK)
    leaves, length = (44, 0.26) if thin else (15, 0.52)
    for k in range(leaves):
        v = (k + 0.5) / leaves
        x, y = float(np.interp(v, u, xs)), float(np.interp(v, u, ys))
        angle = (1.0 if k % 2 else -1.0) * rng.uniform(0.6, 1.2) - 0.1
        size, tone = length * rng.uniform(0.8, 1.2), rng.uniform(0.8, 1.15)
        dx, dy = size * math.cos(angle), size * math.sin(angle)
        stalk, tip = (x + 0.25 * dx, y + 0.25 * dy), (x + 1.25 * dx, y + 1.25 * dy)
        sheet.add(LINE, (x, y), stalk, 0.010 if thin else 0.06, GREEN)
        sheet.add(LEAF, stalk, tip, 0.24 * size, _shade(GREEN, 1.3 * tone), to=_shade(LEAF_GREEN, tone))
        if thin:
            sheet.add(LINE, stalk, tip, 0.005, _shade((0.72, 0.86, 0.45), tone))


def _paint_tree(sheet: _Paint, rng: np.random.Generator, thin: bool) -> None:
    """A trunk on a knoll, three boughs, and leaves that point outwards from the middle of a round crown."""
    cx, cy = -1.05, 0.75
    sheet.add(LINE, (-1.1, -3.0), (-1.05, 0.6), 0.20, BARK, half_b=0.10)
    for tip in ((-1.65, 0.95), (-0.45, 1.0), (-1.0, 1.35)):
        sheet.add(LINE, (-1.08, 0.1), tip, 0.08, BARK, half_b=0.02, join=True)
    sheet.add(LINE, (-3.5, -5.0), (1.5, -5.4), 3.0, (0.47, 0.63, 0.30))
    leaf, width = (0.17, 0.045) if thin else (0.50, 0.17)
    if not thin:
        sheet.disc((cx, cy), 0.6, (0.28, 0.50, 0.18))  # what many small leaves blur into
    for _ in range(420 if thin else 55):
        angle, r = rng.uniform(0, 2 * math.pi), 0.85 * math.sqrt(rng.uniform())
        x, y = cx + r * math.cos(angle), cy + r * math.sin(angle)
        turn = angle + rng.uniform(-1, 1)
        # light comes from the upper right: the lower left of the crown is darker
        tone = rng.uniform(0.75, 1.0) * (0.85 + 0.15 * float(np.clip((x - cx + y - cy) / 0.8, -1, 1)))
        tip = (x + leaf * math.cos(turn), y + leaf * math.sin(turn))
        sheet.add(LEAF, (x, y), tip, width, _shade((0.30, 0.60, 0.22), tone), to=_shade((0.62, 0.80, 0.28), tone))


def _arc(x: float, y: float, rx: float, ry: float, start: float, end: float) -> list[tuple[float, float]]:
    """Part of an ellipse as a path; angles in degrees, counted from the right towards the top."""
    angles = np.radians(np.linspace(start, end, 13))
    return [(x + rx * math.cos(a), y + ry * math.sin(a)) for a in angles]


# Letters as paths in a box 0.8 wide and 1 high: the nine shapes of an eye chart.
GLYPHS: dict[str, list[list[tuple[float, float]]]] = {
    "C": [_arc(0.42, 0.5, 0.40, 0.5, 45, 315)],
    "D": [[(0.3, 1), (0, 1), (0, 0), (0.3, 0)], _arc(0.3, 0.5, 0.48, 0.5, 90, -90)],
    "E": [[(0.72, 1), (0, 1), (0, 0), (0.72, 0)], [(0, 0.5), (0.6, 0.5)]],
    "F": [[(0.75, 1), (0, 1), (0, 0)], [(0, 0.5), (0.6, 0.5)]],
    "L": [[(0, 1), (0, 0), (0.7, 0)]],
    "O": [_arc(0.4, 0.5, 0.42, 0.5, 0, 360)],
    "P": [[(0, 0), (0, 1), (0.45, 1)], _arc(0.45, 0.75, 0.3, 0.25, 90, -90), [(0.45, 0.5), (0, 0.5)]],
    "T": [[(0, 1), (0.8, 1)], [(0.4, 1), (0.4, 0)]],
    "Z": [[(0, 1), (0.75, 1), (0, 0), (0.78, 0)]],
}


def _text(thin: bool, variant: int | None = None) -> World:
    """An eye chart on a stand, a striped ball behind it, a brick wall. Thin letters are 12 to 2 pixels high at 96."""
    if variant is not None:
        raise ValueError("make_scene: there is one eye chart only; variant must be None for 'text'")
    board = _Paint(0.0, thin)
    ink, wood, paper = (0.08, 0.08, 0.12), (0.45, 0.30, 0.18), (0.96, 0.95, 0.90)
    for x in (-0.55, 0.55):
        board.add(BAR, (x, -0.9), (1.5 * x, -2.9), 0.05 if thin else 0.09, wood)
    frame = 0.04 if thin else 0.10
    board.add(BAR, (0.0, -1.08 - frame), (0.0, 1.08 + frame), 0.80 + frame, wood)
    board.add(BAR, (0.0, -1.08), (0.0, 1.08), 0.80, paper)
    if thin:
        rows = {"E": 0.36, "FP": 0.28, "TOZ": 0.20, "LPED": 0.15, "PECFD": 0.11, "EDFCZP": 0.08, "FELOPZD": 0.06}
    else:
        rows = {"E": 0.72, "FP": 0.58}
    heights = np.array(list(rows.values()))
    gaps = (1.96 - heights.sum()) * (heights + 0.12) / (heights + 0.12).sum()  # above each row; large rows, large gaps
    foot = 1.06
    for gap, (row, height) in zip(gaps, rows.items()):
        foot -= gap + height
        for k, letter in enumerate(row):
            x = (k - 0.5 * (len(row) - 1)) * 1.45 * height - 0.38 * height
            for n, path in enumerate(GLYPHS[letter]):
                points = [(x + height * px, foot + height * py) for px, py in path]
                board.path(points, (0.09 if thin else 0.115) * height, ink, join=n > 0)
    ball = (1.3, -0.75, -1.4, 0.65, _blur(thin, -1.0), 1, 8 if thin else 4)
    blue, yellow = (0.16, 0.40, 0.66), (0.98, 0.84, 0.36)
    brick, red, mortar = (0.74, 0.47, 0.38), (0.62, 0.35, 0.29), (0.87, 0.83, 0.77)
    wall = (2, _blur(thin, WALL_Z), 0.30 if thin else 1.1, 0)
    return _world([board], [], ball, (blue, yellow), wall, (brick, red, mortar, mortar, mortar))


@dataclass(frozen=True, eq=False)
class Scene:
    """A world with its name ("wheel" | "foliage" | "text"), version ("thin" | "natural") and variant."""

    name: str
    detail: str
    world: World
    variant: int | None = None


_BUILD: dict[str, Callable[[bool, int | None], World]] = {"wheel": _wheel, "foliage": _foliage, "text": _text}
SCENES = tuple(_BUILD)
DETAILS = ("thin", "natural")


@lru_cache
def make_scene(name: str, detail: str = "thin", variant: int | None = None) -> Scene:
    """Build a scene. Equal arguments give equal scenes. Raises ValueError on a name or detail that does not exist.

    variant  None: the scene that the book shows. A whole number from 0 on: another one of the same kind (not of "text").
    """
    if name not in _BUILD:
        raise ValueError(f"unknown scene {name!r}: expected one of {', '.join(map(repr, SCENES))}")
    if detail not in DETAILS:
        raise ValueError(f"unknown detail {detail!r}: expected one of {', '.join(map(repr, DETAILS))}")
    if variant is not None and (isinstance(variant, bool) or not isinstance(variant, int) or variant < 0):
        raise ValueError(f"make_scene: variant must be None or a whole number from 0 on, got {variant!r}")
    return Scene(name, detail, _BUILD[name](detail == "thin", variant), variant)
