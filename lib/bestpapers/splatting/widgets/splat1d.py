"""One Gaussian under a lens that zooms: what dilation, EWA and the Mip filter make of its light.

A round Gaussian of standard deviation s (scene units) at depth z appears with g = f s / z pixels under a focal length of f
pixels. A renderer adds eps to the variance g^2 and may lower the height by rho. In two dimensions, as renderers do it,

    3DGS  eps = 0.3, height 1                           its light grows by (g^2 + 0.3) / g^2
    EWA   eps = 0.3, height rho = g^2 / (g^2 + 0.3)     its light is kept
    Mip   eps = 0.1, height rho = g^2 / (g^2 + 0.1)     its light is kept

Source: Yu et al. 2024, section 4.2 and Eq. 10. rho = sqrt(det S / det S') with S = g^2 I and S' = (g^2 + eps) I.

Light means the sum over all pixels of the image, the Gaussian being alone and faint, divided by the true sum 2 pi g^2. "Kept"
holds for the mean over all places inside a pixel at which the Gaussian's centre may lie; at one place the sum of values at
pixel centres differs when the filtered Gaussian is narrow. Both are computed here. The cut-offs of a renderer (opacity below
1/255, above 0.99) are left out.

Conventions: the centre of pixel i is at i + 0.5. A row of `pixels` (odd) is looked at, through the Gaussian's centre, which
lies `offset` pixels to the right of the middle pixel's centre. splat1d.js holds the same functions for the browser.
"""

from __future__ import annotations

import math
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
ZOOM_RANGE = (1 / 8, 8.0)


def screen_std(scale: float, depth: float, focal: float) -> float:
    """Return g = f s / z in pixels: scale and depth in scene units, focal length in pixels."""
    return focal * scale / depth


def _rho(g: float, eps2d: float, compensate: bool) -> float:
    return g**2 / (g**2 + eps2d) if compensate else 1.0


def _distances(pixels: int, offset: float) -> Array:
    """[pixels] from the Gaussian's centre to each pixel's centre."""
    return np.arange(pixels, dtype=np.float64) + 0.5 - (pixels / 2 + offset)


def pixel_row(g: float, eps2d: float, compensate: bool, pixels: int, offset: float = 0.0) -> Array:
    """Return the values [pixels] that a renderer gives: the filtered Gaussian at the pixels' centres, height 1 unfiltered."""
    return _rho(g, eps2d, compensate) * np.exp(-(_distances(pixels, offset) ** 2) / (2 * (g**2 + eps2d)))


def box_row(g: float, pixels: int, offset: float = 0.0) -> Array:
    """Return the true values [pixels]: the mean of the unfiltered Gaussian over each pixel's square."""
    x = _distances(pixels, offset)
    share = np.array([_between(a - 0.5, a + 0.5, g) for a in x])
    return share * _between(-0.5, 0.5, g)


def _between(a: float, b: float, g: float) -> float:
    """The integral of exp(-x^2 / 2 g^2) from a to b."""
    return math.sqrt(math.pi / 2) * g * (math.erf(b / (g * math.sqrt(2))) - math.erf(a / (g * math.sqrt(2))))


def light_gain(g: float, eps2d: float, compensate: bool) -> float:
    """Return light / true light in the mean over all places of the centre inside a pixel: rho (g^2 + eps) / g^2."""
    return _rho(g, eps2d, compensate) * (g**2 + eps2d) / g**2


def light_here(g: float, eps2d: float, compensate: bool, offset: float = 0.0) -> float:
    """Return light / true light with the centre `offset` pixels beside a pixel's centre, and level with it vertically."""
    reach = 2 * math.ceil(6 * math.sqrt(g**2 + eps2d)) + 3  # pixels: beyond, less than 1e-8 of it
    across = pixel_row(g, eps2d, False, reach, offset).sum()
    down = pixel_row(g, eps2d, False, reach, 0.0).sum()
    return _rho(g, eps2d, compensate) * float(across * down) / (2 * math.pi * g**2)


class Splat1D(Widget):
    """One Gaussian under a zooming lens, drawn for 3DGS, EWA and the Mip filter side by side, with their light.

    scale   standard deviation in scene units
    depth   distance to the camera in scene units
    focal   focal length in pixels at zoom 1
    zoom    1/8 to 8, multiplies the focal length; a slider in the browser
    offset  -0.5 to 0.5 pixels, the centre beside a pixel's centre; a slider in the browser
    pixels  odd number of pixels in the row that is drawn
    caption plain text under the drawing

    Raises:
        traitlets.TraitError: a value outside its range.
    """

    module = Path(__file__).with_name("splat1d.js")
    still_style = "width:52em;max-width:100%"

    scale = traitlets.Float(0.03).tag(sync=True)
    depth = traitlets.Float(3.0).tag(sync=True)
    focal = traitlets.Float(100.0).tag(sync=True)
    zoom = traitlets.Float(1.0, min=ZOOM_RANGE[0], max=ZOOM_RANGE[1]).tag(sync=True)
    offset = traitlets.Float(0.0, min=-0.5, max=0.5).tag(sync=True)
    pixels = traitlets.Int(21, min=3, max=101).tag(sync=True)
    caption = traitlets.Unicode(
        "Zoom with the first slider and move the Gaussian inside its pixel with the second. Light is summed over the whole "
        "two-dimensional image and divided by the true light 2πg²; the average is over all places of the centre inside a "
        "pixel."
    ).tag(sync=True)
    zoom_range = traitlets.List(list(ZOOM_RANGE), read_only=True).tag(sync=True)
    methods = traitlets.List(traitlets.Dict(), read_only=True).tag(sync=True)  # {label, eps2d, compensate}

    @traitlets.default("methods")
    def _methods(self) -> list[dict[str, Any]]:
        return [
            {"label": m.label, "eps2d": m.eps2d, "compensate": m.compensate} for m in (METHODS[name] for name in SHOWN)
        ]

    @traitlets.validate("scale", "depth", "focal")
    def _positive(self, proposal: Any) -> float:
        value = float(proposal["value"])
        if not (math.isfinite(value) and value > 0):
            raise traitlets.TraitError(f"{proposal['trait'].name} must be a positive number, got {value}")
        return value

    @traitlets.validate("pixels")
    def _odd(self, proposal: Any) -> int:
        if proposal["value"] % 2 == 0:
            raise traitlets.TraitError(f"pixels must be odd, so that one is in the middle; got {proposal['value']}")
        return int(proposal["value"])

    def describe(self) -> str:
        focal = self.focal * self.zoom
        g = screen_std(self.scale, self.depth, focal)
        light = ", ".join(f"{light_gain(g, m['eps2d'], m['compensate']):.3g} with {m['label']}" for m in self.methods)
        return (
            "One round Gaussian as seen by a row of pixels through its centre, rendered in three ways, beside what square "
            "pixels would truly measure. Sliders set the zoom (1/8 to 8) and where in a pixel the centre lies. "
            f"At zoom {self.zoom:.3g} (focal length {focal:.3g} px) its standard deviation is {g:.3g} px; its light in the "
            f"whole image, as a multiple of the true light, is {light}."
        )

    def still(self) -> list[tuple[bytes, str]]:
        g = screen_std(self.scale, self.depth, self.focal * self.zoom)
        edges = np.arange(self.pixels + 1)
        x = np.linspace(0, self.pixels, 8 * self.pixels + 1)
        away = x - self.pixels / 2 - self.offset
        with mpl.rc_context():
            plots.use()
            fig = Figure(figsize=(8.8, 3.0))
            for ax, m in zip(fig.subplots(1, len(self.methods), sharey=True), self.methods):
                row = pixel_row(g, m["eps2d"], m["compensate"], self.pixels, self.offset)
                after = _rho(g, m["eps2d"], m["compensate"]) * np.exp(-(away**2) / (2 * (g**2 + m["eps2d"])))
                ax.bar(edges[:-1] + 0.5, row, 0.8, color="#3F97CC", label="pixel")
                ax.stairs(
                    box_row(g, self.pixels, self.offset), edges, baseline=None, color=plots.INK, lw=1.8, label="truth"
                )
                ax.plot(
                    x, np.exp(-(away**2) / (2 * g**2)), color=plots.INK, ls=":", lw=1, marker="", label="as projected"
                )
                ax.plot(x, after, color=plots.WING["splatting"], ls="-", marker="", label="after the filter")
                light = light_gain(g, m["eps2d"], m["compensate"])
                ax.set(title=f"{m['label']}: light × {light:.3g}", xlabel="px", ylim=(0, 1.05))
            fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize="small")
            alt = (
                "Three rows of pixel values with the true means and the Gaussian before and after the filter: "
                f"{', '.join(m['label'] for m in self.methods)}, for a Gaussian of {g:.3g} px."
            )
            return [(plots.png(fig), alt)]
