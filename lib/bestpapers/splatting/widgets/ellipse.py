"""One 3D Gaussian and the ellipse that a renderer draws for it: its size, what the filters add, and where the linear map errs.

The camera stands at the origin and looks along +z (W is the identity), the principal point is in the middle of the image. A
Gaussian with standard deviations s along axes that q turns, centred at (x, 0, z), gets the screen covariance (px^2)

    S = J R diag(s)^2 R^T J^T,    J = [[f/z, 0, -f x~/z^2], [0, f/z, 0]],    x~ = z clamp(x/z, +-1.3 tan(fov/2)).

The clamp is the rasteriser's (kernels/rasterize/rules.py); it acts on J alone, never on the centre. The filters add eps I to S,
and rho = sqrt(det S / det (S + eps I)) is the factor of the opacity that keeps the light (Yu et al. 2024, Eq. 10).

How good is the linear map? A fixed set of points of the 3D Gaussian goes through the true division u = f x/z; their mean and
covariance on the screen are compared with the centre and with S. The points' mean is exactly 0 and their covariance exactly I
before they are scaled and turned, so that the linear map would give exactly S: what differs is the map's error, not the luck of
the draw. (A Gaussian has some mass at depth 0 too, so with infinitely many points the covariance would have no bound.)

Conventions: pixel (i, j) covers [i, i+1] x [j, j+1], x to the right, y down. ellipse.js holds the same functions.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import traitlets
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from ...course import plots
from ...course.widgets import Widget
from ...kernels.rasterize import rules
from ..filters import DILATION, MIP_VARIANCE

Array = NDArray[np.float64]

WIDTH, HEIGHT = 32, 24  # px, few enough to see them
COLORS = {"linear": "#0072B2", "mip": "#009E73", "dilation": "#D55E00"}  # as in ellipse.js
BORDER = (16, 8)  # px around the image that are drawn, left and right, above and below
RANGES = {
    "scales": (0.0125, 0.4),  # scene units
    "turn": (-90.0, 90.0),  # degrees
    "roll": (-90.0, 90.0),
    "position": (-BORDER[0], WIDTH + BORDER[0]),  # px
    "depth": (1.0, 8.0),  # scene units
    "focal": (8.0, 64.0),  # px
}


def quaternion(turn: float, roll: float) -> Array:
    """Return q [4] (w, x, y, z): first a turn about the vertical, then a roll about the line of sight, in degrees."""
    a, b = math.radians(turn) / 2, math.radians(roll) / 2
    return np.array(
        [
            math.cos(b) * math.cos(a),
            -math.sin(b) * math.sin(a),
            math.cos(b) * math.sin(a),
            math.sin(b) * math.cos(a),
        ]
    )


def rotation(q: ArrayLike) -> Array:
    """Return R [3, 3] of a quaternion (w, x, y, z) of length 1."""
    w, x, y, z = np.asarray(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def center(position: float, depth: float, focal: float) -> Array:
    """Return the centre [3] in space that appears `position` px from the image's left edge, at half its height."""
    return np.array([(position - WIDTH / 2) * depth / focal, 0.0, depth])


def linear(scales: ArrayLike, R: Array, mean: Array, focal: float, clamp: bool) -> Array:
    """Return S [2, 2] in px^2: the covariance on the screen by the linear map at the mean."""
    x, _, z = mean
    limit = (1 + rules.VIEW_MARGIN if clamp else math.inf) * WIDTH / 2 / focal
    xc = z * min(max(x / z, -limit), limit)
    J = np.array([[focal / z, 0, -focal * xc / z**2], [0, focal / z, 0]])
    half = J @ R * np.asarray(scales)
    return half @ half.T


def standard_points(count: int = 400) -> NDArray[np.float32]:
    """Return points [count, 3] drawn from a standard normal, then made to have mean 0 and covariance I exactly."""
    half = np.random.default_rng(0).standard_normal((count // 2, 3))
    points = np.concatenate([half, -half])
    root = np.linalg.cholesky(points.T @ points / count)
    return np.linalg.solve(root, points.T).T.astype("<f4")


def on_screen(points: ArrayLike, scales: ArrayLike, R: Array, mean: Array, focal: float) -> Array:
    """Send standard points [n, 3] through the true division; return [m, 2] px, without those that are not before the camera."""
    x, y, z = (mean + (np.asarray(points, np.float64) * np.asarray(scales)) @ R.T).T
    seen = z > rules.NEAR_PLANE
    return np.stack([focal * x[seen] / z[seen] + WIDTH / 2, focal * y[seen] / z[seen] + HEIGHT / 2], axis=1)


def moments(points: Array) -> tuple[Array, Array]:
    """Return the mean [2] and the covariance [2, 2] of points [m, 2]."""
    away = points - points.mean(0)
    return points.mean(0), away.T @ away / len(points)


def det(S: Array) -> float:
    """Return the determinant of [2, 2]."""
    return float(S[0, 0] * S[1, 1] - S[0, 1] * S[1, 0])


def rho(S: Array, eps2d: float) -> float:
    """Return sqrt(det S / det (S + eps I)) with the rasteriser's floors."""
    ratio = det(S) / max(det(S + eps2d * np.eye(2)), rules.DET_MIN)
    return math.sqrt(max(ratio, rules.RHO_MIN**2))


def half_width(S: Array) -> float:
    """Return the half width in px of the close-up: a power of two that holds the widest ellipse."""
    return float(max(2.0, 2 ** math.ceil(math.log2(1.1 * math.sqrt(max(S[0, 0], S[1, 1]) + DILATION)))))


class Ellipse(Widget):
    """A 3D Gaussian seen by a camera of 32 x 24 px: the ellipse of the linear map, true points, and the filters' ellipses.

    scales    three standard deviations, 0.0125 to 0.4 scene units
    turn      -90 to 90 degrees about the vertical: turns the first axis into depth
    roll      -90 to 90 degrees about the line of sight, after the turn
    position  -16 to 48 px: where the centre appears; the image reaches from 0 to 32
    depth     1 to 8 scene units
    focal     focal length, 8 to 64 px
    clamp     whether J stops at 1.3 half widths of the view
    caption   plain text under the drawing

    All of these but the caption have a control in the browser.

    Raises:
        traitlets.TraitError: a value outside its range.
    """

    module = Path(__file__).with_name("ellipse.js")
    still_style = "width:46em;max-width:100%"

    scales = traitlets.List(traitlets.Float(), [0.3, 0.025, 0.1], minlen=3, maxlen=3).tag(sync=True)
    turn = traitlets.Float(60.0).tag(sync=True)
    roll = traitlets.Float(-30.0).tag(sync=True)
    position = traitlets.Float(24.0).tag(sync=True)
    depth = traitlets.Float(2.0).tag(sync=True)
    focal = traitlets.Float(24.0).tag(sync=True)
    clamp = traitlets.Bool(True).tag(sync=True)
    caption = traitlets.Unicode(
        "Drag handle 1 or 2 to stretch and roll the Gaussian along that axis, and the ring between them to move it; the "
        "sliders set the rest. Sizes and depth are in scene units. The image and what lies around it show ellipses of 3 "
        "standard deviations, the close-up of 1. The linear map is exact at the centre of the Gaussian; the points show what "
        "becomes of the rest."
    ).tag(sync=True)
    points = traitlets.Bytes(read_only=True).tag(sync=True)  # [n, 3] float32, little endian
    constants = traitlets.Dict(read_only=True).tag(sync=True)

    @traitlets.default("points")
    def _points(self) -> bytes:
        return standard_points().tobytes()

    @traitlets.default("constants")
    def _constants(self) -> dict[str, Any]:
        return {
            "width": WIDTH,
            "height": HEIGHT,
            "border": list(BORDER),
            "ranges": {name: list(ends) for name, ends in RANGES.items()},
            "margin": rules.VIEW_MARGIN,
            "near": rules.NEAR_PLANE,
            "detMin": rules.DET_MIN,
            "rhoMin": rules.RHO_MIN,
            "mip": MIP_VARIANCE,
            "dilation": DILATION,
        }

    @traitlets.validate(*RANGES)
    def _in_range(self, proposal: Any) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        least, most = RANGES[name]
        if not all(least <= one <= most for one in np.atleast_1d(value)):  # NaN fails too
            raise traitlets.TraitError(f"{name} must be between {least:g} and {most:g}, got {value}")
        return value

    def _solved(self) -> tuple[Array, Array, Array, Array]:
        """S [2, 2]; the points on the screen [m, 2], their mean [2] and covariance [2, 2]."""
        R = rotation(quaternion(self.turn, self.roll))
        mean = center(self.position, self.depth, self.focal)
        S = linear(self.scales, R, mean, self.focal, self.clamp)
        seen = on_screen(standard_points(), self.scales, R, mean, self.focal)
        return S, seen, *moments(seen)

    def describe(self) -> str:
        S, _, middle, sampled = self._solved()
        (across, down), (across_true, down_true) = np.sqrt(np.diag(S)), np.sqrt(np.diag(sampled))
        sizes = ", ".join(f"{s:.3g}" for s in self.scales)
        return (
            "A 3D Gaussian as a camera sees it: the ellipse of its linear projection, 400 of its points projected exactly, "
            "and a close-up with the ellipses that the filters make of it, beside one pixel. Sliders set its three sizes, "
            "its rotation, its place, its depth and the focal length; a box switches the clamp of the linear map. "
            f"Now: sizes {sizes}, turn {self.turn:.3g}°, roll {self.roll:.3g}°, centre at {self.position:.3g} px of {WIDTH}, "
            f"depth {self.depth:.3g}, focal length {self.focal:.3g} px, clamp {'on' if self.clamp else 'off'}. "
            f"det S = {det(S):.3g} px⁴; rho = {rho(S, MIP_VARIANCE):.3g} with variance {MIP_VARIANCE:g}, "
            f"{rho(S, DILATION):.3g} with {DILATION:g}. Standard deviation across the image {across:.3g} px by the linear map, "
            f"{across_true:.3g} px by the points; down {down:.3g} and {down_true:.3g} px. The points' mean lies "
            f"{round(math.dist(middle, (self.position, HEIGHT / 2)), 6):.2g} px from the centre."
        )

    def still(self) -> list[tuple[bytes, str]]:
        S, seen, middle, sampled = self._solved()
        at = np.array([self.position, HEIGHT / 2])
        size = half_width(S)
        with mpl.rc_context():
            plots.use()
            fig = Figure(figsize=(8.6, 3.6))
            image, close = fig.subplots(1, 2, width_ratios=[1.6, 1])
            image.add_patch(Rectangle((0, 0), WIDTH, HEIGHT, fill=False, color=plots.INK, lw=1.5))
            image.plot(*seen.T, ls="", marker=".", markersize=2, color="grey")
            for sign in (-1, 1):
                limit = WIDTH / 2 * (1 + sign * (1 + rules.VIEW_MARGIN))
                image.axvline(limit, color="grey", ls=":", lw=1, marker="")
            _outline(image, at, S, 3, "S, linear map", COLORS["linear"], "-")
            _outline(image, middle, sampled, 3, "true points", plots.INK, "--")
            image.set(xlim=(-BORDER[0], WIDTH + BORDER[0]), ylim=(HEIGHT + BORDER[1], -BORDER[1]))
            image.set(xlabel="image plane (px); 3 standard deviations")
            close.add_patch(Rectangle((-0.5, -0.5), 1, 1, color="grey", alpha=0.4, lw=0, label="one pixel"))
            _outline(close, (0, 0), S, 1, "S", COLORS["linear"], "-")
            for eps, color, style in ((MIP_VARIANCE, COLORS["mip"], "--"), (DILATION, COLORS["dilation"], "-.")):
                _outline(close, (0, 0), S + eps * np.eye(2), 1, f"S + {eps:g} I", color, style)
            close.set(xlim=(-size, size), ylim=(size, -size), xlabel="close-up (px); 1 standard deviation")
            for ax in (image, close):
                ax.set_aspect("equal")
                ax.legend(loc="upper left", fontsize="small")
            alt = (
                "Two drawings. Left: an image of 32 x 24 px with the ellipse of the linear map and 400 true points with "
                "their own ellipse. Right: the ellipses of S, S + 0.1 I and S + 0.3 I around one pixel."
            )
            return [(plots.png(fig), alt)]


def _outline(ax: Axes, at: ArrayLike, S: Array, sigmas: float, label: str, color: str, style: str) -> None:
    t = np.linspace(0, 2 * math.pi, 91)
    x, y = np.asarray(at)[:, None] + sigmas * np.linalg.cholesky(S) @ np.stack([np.cos(t), np.sin(t)])
    ax.plot(x, y, color=color, ls=style, marker="", label=label)
