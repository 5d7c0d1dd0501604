"""The pixel's box and the Gaussian that stands for it, with a slider for the Gaussian's variance.

A sensor's pixel averages the light over its square. Along one axis this is a box filter, b(t) = 1 for |t| < 1/2 px; renderers
use a Gaussian of variance s px^2 instead. How alike are they?

    in space      b(t)    and  g(t) = exp(-t^2 / 2 s) / sqrt(2 pi s)
    in frequency  B(f) = sin(pi f) / (pi f)  and  G(f) = exp(-2 pi^2 s f^2), f in cycles/px, Nyquist rate 1/2
    as one number D(s) = integral (b - g)^2 dt = 1 + 1 / (2 sqrt(pi s)) - 2 erf(1 / sqrt(8 s))

The three terms of D are the integrals of b^2, g^2 and -2 b g. Its derivative vanishes where exp(-1 / 8 s) = 2^(-3/2), so the
closest Gaussian has s = 1 / (12 ln 2) = 0.120: the variance of the box, 1/12, over ln 2. The paper's 0.1 lies between the two.

Source: Yu et al. 2024, section 4.2 (2D Mip filter), for the filters; the closed forms are derived here. filterplot.js holds
the same functions for the browser.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import traitlets
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from ...course import plots
from ...course.widgets import Widget
from ..filters import DILATION, MIP_VARIANCE

Array = NDArray[np.float64]

BOX_VARIANCE = 1 / 12  # px^2
CLOSEST = 1 / (12 * math.log(2))  # px^2, where the squared distance is least
EWA_PAPER = 1.0  # px^2, the kernel of EWA splatting (Zwicker et al. 2001)
NYQUIST = 0.5  # cycles/px
VARIANCE_RANGE = (0.02, 1.2)


def gaussian(t: ArrayLike, variance: float) -> Array:
    """Return g(t), weight per px, at t px from the centre."""
    return np.exp(-(np.asarray(t) ** 2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)


def gaussian_response(f: ArrayLike, variance: float) -> Array:
    """Return G(f): the share of a wave of f cycles/px that the Gaussian keeps."""
    return np.exp(-2 * math.pi**2 * variance * np.asarray(f) ** 2)


def box_response(f: ArrayLike) -> Array:
    """Return B(f): the share of a wave of f cycles/px that the box keeps; negative where the wave is turned over."""
    return np.sinc(np.asarray(f, np.float64))


def distance(variance: float) -> float:
    """Return D(s), the squared distance of Gaussian and box, in 1/px."""
    return 1 + 1 / (2 * math.sqrt(math.pi * variance)) - 2 * math.erf(1 / math.sqrt(8 * variance))


class FilterPlot(Widget):
    """Box and Gaussian in space and in frequency, and their distance, for a variance set by a slider.

    variance  0.02 to 1.2 px^2; a slider in the browser, with a button for each of `marks`
    caption   plain text under the plots

    Raises:
        traitlets.TraitError: the variance is out of range.
    """

    module = Path(__file__).with_name("filterplot.js")
    still_style = "width:52em;max-width:100%"

    variance = traitlets.Float(MIP_VARIANCE).tag(sync=True)
    caption = traitlets.Unicode(
        "Move the slider, or press a button for a marked variance. Along one axis: the weight that each filter "
        "gives to a place, the share of a wave that it keeps, and how far the two are apart. The numbers on the last curve "
        "are those of the buttons."
    ).tag(sync=True)
    variance_range = traitlets.List(list(VARIANCE_RANGE), read_only=True).tag(sync=True)
    marks = traitlets.List(traitlets.Dict(), read_only=True).tag(sync=True)  # {label, variance}, rising

    @traitlets.default("marks")
    def _marks(self) -> list[dict[str, Any]]:
        return [
            {"label": "1/12, the box's own", "variance": BOX_VARIANCE},
            {"label": f"{MIP_VARIANCE:g}, Mip filter", "variance": MIP_VARIANCE},
            {"label": f"{CLOSEST:.3f}, closest", "variance": CLOSEST},
            {"label": f"{DILATION:g}, 3DGS and EWA", "variance": DILATION},
            {"label": f"{EWA_PAPER:g}, the EWA paper", "variance": EWA_PAPER},
        ]

    @traitlets.validate("variance")
    def _in_range(self, proposal: Any) -> float:
        least, most = VARIANCE_RANGE
        if not least <= proposal["value"] <= most:  # NaN fails too
            raise traitlets.TraitError(f"variance must be between {least:g} and {most:g} px², got {proposal['value']}")
        return float(proposal["value"])

    def _numbers(self) -> str:
        s = self.variance
        return (
            f"At variance {s:.3g} px² the squared distance is {distance(s):.3f}, and the Gaussian keeps "
            f"{gaussian_response(0.25, s):.3f} of a wave of 0.25 cycles/px (box {box_response(0.25):.3f}) and "
            f"{gaussian_response(NYQUIST, s):.3f} at the Nyquist rate of 0.5 (box {box_response(NYQUIST):.3f})."
        )

    def describe(self) -> str:
        marks = "; ".join(f"{distance(mark['variance']):.3f} at {mark['label']}" for mark in self.marks)
        return (
            "A box of one pixel and a Gaussian, in space and in frequency, and their squared distance as a function of the "
            f"Gaussian's variance, which a slider sets from {VARIANCE_RANGE[0]:g} to {VARIANCE_RANGE[1]:g} px². "
            f"{self._numbers()} Distances: {marks}."
        )

    def still(self) -> list[tuple[bytes, str]]:
        with mpl.rc_context():
            plots.use()
            fig = Figure(figsize=(8.8, 2.9))
            space, frequency, dist = fig.subplots(1, 3)
            t, f = np.linspace(-2, 2, 401), np.linspace(0, 1.5, 301)
            s = np.geomspace(*VARIANCE_RANGE, 200)
            ink, blue = {"color": plots.INK, "ls": "-", "marker": ""}, {"color": plots.WING["splatting"], "marker": ""}
            space.plot([-2, -0.5, -0.5, 0.5, 0.5, 2], [0, 0, 1, 1, 0, 0], **ink, label="box, one pixel")
            space.plot(t, gaussian(t, self.variance), ls="--", label=f"Gaussian, {self.variance:.3g} px²", **blue)
            space.set(xlabel="position (px)", ylabel="weight (1/px)", ylim=(-0.03, 2))
            space.legend(loc="upper right", fontsize="small")
            frequency.plot(f, np.abs(box_response(f)), **ink)
            frequency.plot(f, gaussian_response(f, self.variance), ls="--", **blue)
            frequency.axvline(NYQUIST, color="grey", lw=0.8, ls=":")
            frequency.text(NYQUIST + 0.03, 0.94, "Nyquist")
            frequency.set(xlabel="frequency (cycles/px)", ylabel="share kept", ylim=(-0.015, 1.05))
            dist.plot(s, [distance(v) for v in s], **ink)
            for number, mark in enumerate(self.marks, 1):
                at = (mark["variance"], distance(mark["variance"]))
                dist.plot(*at, color=plots.INK, marker="o", markersize=4)
                dist.annotate(
                    str(number), at, xytext=(0, 7 if number % 2 else 16), textcoords="offset points", ha="center"
                )
            dist.plot(self.variance, distance(self.variance), color=plots.WING["splatting"], marker="o", markersize=9)
            dist.set(xscale="log", xlabel="variance (px²)", ylabel="squared distance", ylim=(0, 1.02))
            dist.set_xticks([0.02, 0.1, 1], ["0.02", "0.1", "1"])
            key = "; ".join(f"{number}: {mark['label']}" for number, mark in enumerate(self.marks, 1))
            alt = (
                "Three plots of a one-pixel box and a Gaussian: their shapes, their frequency responses, and their squared "
                f"distance over the variance, with numbered marks ({key}). {self._numbers()}"
            )
            return [(plots.png(fig), alt)]
