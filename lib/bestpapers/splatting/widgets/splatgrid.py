"""A splat that is dragged over a grid of pixels: what each renderer writes into them, and how much light that is in all.

A round Gaussian of standard deviation g px and opacity 0.9 lies at (x, y), px from the middle pixel's centre. A renderer adds
eps to its variance, may lower its height by rho = g^2 / (g^2 + eps), and asks for its height at the centre of each pixel,

    alpha = 0.9 rho exp(-d^2 / 2 (g^2 + eps)),    nothing if alpha < 1/255,

d the distance from the splat's centre to the pixel's. Light is the sum of alpha over all pixels of an endless grid, divided by
the true sum 0.9 * 2 pi g^2. With rho and without the cut its mean over all places inside a pixel is 1; at one place it is not.
A sensor measures the mean of the unfiltered Gaussian over each pixel's square; the light of that is 1 everywhere.

Source: Yu et al. 2024, 2D Mip filter; the cut is that of the 3DGS rasterizer. splatgrid.js holds the same functions for the
browser, and a test compares them.
"""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import traitlets
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ...course import plots
from ...course.widgets import Widget
from ..filters import METHODS

Array = NDArray[np.float64]

SHOWN = ("3dgs", "ewa", "mip")
SIDE = 7  # pixels of the grid that is drawn
OPACITY = 0.9
CUT = 1 / 255
SIZES = (0.05, 1.5)  # px
REACH = 1.5  # px: so far from the middle the splat may go


def _heights(g: float, eps2d: float, compensate: bool, x: float, y: float, half: int) -> Array:
    """alpha [2 half + 1, 2 half + 1] at the pixels' centres, rows from the top; what is below the cut is 0."""
    at = np.arange(-half, half + 1, dtype=np.float64)
    rho = g**2 / (g**2 + eps2d) if compensate else 1.0
    alpha = OPACITY * rho * np.exp(-((at - x) ** 2 + (at[:, None] - y) ** 2) / (2 * (g**2 + eps2d)))
    return np.where(alpha < CUT, 0.0, alpha)


def drawn(g: float, eps2d: float, compensate: bool, x: float, y: float) -> Array:
    """What a renderer writes into the grid: [SIDE, SIDE], rows from the top."""
    return _heights(g, eps2d, compensate, x, y, SIDE // 2)


def light(g: float, eps2d: float, compensate: bool, x: float, y: float) -> float:
    """Drawn light / true light over an endless grid."""
    half = math.ceil(REACH + 4 * math.sqrt(g**2 + eps2d))  # beyond, everything is below the cut
    return float(_heights(g, eps2d, compensate, x, y, half).sum()) / (OPACITY * 2 * math.pi * g**2)


def measured(g: float, x: float, y: float) -> Array:
    """What a sensor measures: the mean over each pixel's square, [SIDE, SIDE]."""

    def along(middle: float) -> Array:
        edges = (np.arange(SIDE + 1) - SIDE / 2 - middle) / (g * math.sqrt(2))
        return np.array([math.erf(b) - math.erf(a) for a, b in pairwise(edges)]) * math.sqrt(math.pi / 2) * g

    return OPACITY * along(y)[:, None] * along(x)


class SplatGrid(Widget):
    """One round splat on a grid of 7 x 7 pixels, drawn by 3DGS, EWA and the Mip filter beside what a sensor measures.

    std      standard deviation of the splat, px; a slider in the browser
    x, y     where it lies: px to the right of and below the middle pixel's centre; dragged, or set by sliders
    caption  plain text under the grids

    Raises:
        traitlets.TraitError: a value outside its range.
    """

    module = Path(__file__).with_name("splatgrid.js")
    still_style = "width:52em;max-width:100%"

    std = traitlets.Float(0.1, min=SIZES[0], max=SIZES[1]).tag(sync=True)
    x = traitlets.Float(0.0, min=-REACH, max=REACH).tag(sync=True)
    y = traitlets.Float(0.0, min=-REACH, max=REACH).tag(sync=True)
    caption = traitlets.Unicode(
        "Drag the splat in any of the grids. Full colour is one and a half times what a sensor measures with the splat in the "
        "middle of a pixel. Light is summed over all pixels and divided by the true light; values below 1/255 are skipped, as "
        "renderers do."
    ).tag(sync=True)
    methods = traitlets.List(traitlets.Dict(), read_only=True).tag(sync=True)  # {label, eps2d, compensate}
    constants = traitlets.Dict(
        dict(side=SIDE, opacity=OPACITY, cut=CUT, sizes=list(SIZES), reach=REACH), read_only=True
    ).tag(sync=True)

    @traitlets.default("methods")
    def _methods(self) -> list[dict[str, Any]]:
        return [
            {"label": m.label, "eps2d": m.eps2d, "compensate": m.compensate} for m in (METHODS[name] for name in SHOWN)
        ]

    def _lights(self, method: dict[str, Any], places: list[tuple[float, float]]) -> list[str]:
        return [f"{light(self.std, method['eps2d'], method['compensate'], *place):.3g}" for place in places]

    def describe(self) -> str:
        places = [(self.x, self.y), (0.0, 0.0), (0.5, 0.5)]
        words = "; ".join(
            "with {}: {} here, {} in the middle of a pixel, {} in a corner".format(m["label"], *self._lights(m, places))
            for m in self.methods
        )
        return (
            f"A round splat on a grid of {SIDE} x {SIDE} pixels, as a sensor measures it and as three renderers draw it. It "
            f"can be dragged, and sliders set its size and place. Now its standard deviation is {self.std:.3g} px and it lies "
            f"{self.x:.3g} px to the right of and {self.y:.3g} px below the middle pixel's centre. Its light, as a multiple of "
            f"the true light, {words}."
        )

    def still(self) -> list[tuple[bytes, str]]:
        full = 1.5 * measured(self.std, 0.0, 0.0).max()
        grids = [("sensor", measured(self.std, self.x, self.y), "1")]
        for m in self.methods:
            values = drawn(self.std, m["eps2d"], m["compensate"], self.x, self.y)
            grids.append((m["label"], values, self._lights(m, [(self.x, self.y)])[0]))
        with mpl.rc_context():
            plots.use()
            fig = Figure(figsize=(8.8, 2.7))
            for ax, (label, values, amount) in zip(fig.subplots(1, len(grids)), grids):
                half = SIDE / 2
                ax.imshow(values, vmin=0, vmax=full, cmap="Blues", extent=(-half, half, half, -half))
                ax.plot(self.x, self.y, color=plots.INK, marker="+", markersize=8, ls="")
                ax.set(title=f"{label}: light × {amount}", xticks=[], yticks=[])
                ax.grid(False)
            alt = (
                "Four grids of pixels with one splat: "
                + ", ".join(f"{label}, light times {amount}" for label, _, amount in grids)
                + f". The splat has a standard deviation of {self.std:.3g} px."
            )
            return [(plots.png(fig), alt)]
