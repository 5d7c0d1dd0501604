"""What a clip's motion is made of, in numbers and figures: spectrum, its laws, energy against K, modes; how good frames are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ..lab.files import FormatError
from . import modal, spectral

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from .formats import Clip
    from .render import Renderer

MOVES = 0.2  # px, root mean square over time: a pixel that moves more counts
SHOWN = 4  # modes in the figure


def numbers(clip: Clip, flow: Tensor, slices: int = spectral.SLICES) -> dict[str, Any]:
    """Numbers of a clip and its motion (T, 2, H, W) px, as JSON has them.

    file, size, frames, rate, findings     of the clip
    moving                                 share of pixels that move
    hertz, amplitude                       mean amplitude of the vibration at each frequency, px, over these pixels
    fits                                   exponential and power law on two ranges: slope, R2, which is nearer
    energy_kept                            share of what vibrates in the first K slices, K = 1, 2, ...
    modes                                  slices that stand out, strongest first: k, hertz, share of the energy

    Raises FormatError if no pixel moves by 0.2 px.
    """
    T = len(flow)
    whole = spectral.volume(flow, None)
    seen = spectral.moving(whole, MOVES, T)
    if not seen.any():
        advice = "film something that sways, from nearer"
        raise FormatError(clip.report.source, "motion", f"pixels that move by {MOVES} px", "none", advice)
    hertz = spectral.frequencies(len(whole), T, clip.rate)
    heights = (2 / T) * spectral.amplitude(whole, seen).mean(1)
    bell = spectral.volume(flow, slices, "hann")  # without the leak of a clip whose end does not meet its start
    energy = spectral.energy(bell, T)[1:].double().sum((1, 2, 3))
    modes = [dict(k=k, hertz=float(hertz[k]), share=float(energy[k - 1] / energy.sum())) for k in modal.peaks(bell)]
    fits = []
    for fit in spectral.fit_spectrum(heights, hertz):
        laws = {"exponential": asdict(fit.exponential), "power law": asdict(fit.power)}
        fits.append(dict(first=fit.first, last=fit.last, winner=fit.winner, **laws))
    return dict(
        file=clip.report.source.name,
        size=[*clip.frames.shape[1:3]],
        frames=T,
        rate=clip.rate,
        findings=[finding.text for finding in clip.report.findings],
        moving=float(seen.double().mean()),
        hertz=hertz.tolist(),
        amplitude=heights.tolist(),
        fits=fits,
        energy_kept=spectral.energy_kept(whole, T, constant=False).tolist(),
        modes=modes,
    )


def figures(
    picture: NDArray[np.uint8], flow: Tensor, found: dict[str, Any], slices: int = spectral.SLICES
) -> dict[str, Figure]:
    """{name: figure} of `numbers` and of the shapes of modes: "spectrum", "energy", "modes". picture: uint8 (H, W, 3)."""
    import numpy as np
    from matplotlib.figure import Figure

    from ..course import plots

    plots.use()
    hertz, height = np.array(found["hertz"][1:]), np.array(found["amplitude"][1:])
    first = Figure()
    axes = first.subplots()
    axes.semilogy(hertz, height, label="measured", markevery=5)
    for fit in found["fits"]:
        name, part = fit["winner"], slice(fit["first"] - 1, fit["last"])
        x = hertz[part] if name == "exponential" else np.log(hertz[part])
        line = fit[name]["slope"] * (x - x.mean()) + np.log(height[part]).mean()
        words = f"slices {fit['first']} to {fit['last']}: {name}, R² {fit[name]['r2']:.3f}"
        axes.semilogy(hertz[part], np.exp(line), label=words, marker="")
    axes.set(xlabel="frequency, Hz", ylabel="mean amplitude, px", title=f"{found['file']}: how fast it moves")
    axes.legend()

    second = Figure()
    axes = second.subplots()
    axes.plot(np.arange(1, len(hertz) + 2), 100 * np.array(found["energy_kept"]), markevery=5)
    axes.axvline(slices, color=plots.INK, linestyle=":", label=f"K = {slices}")
    axes.set(xlabel="K, slices kept", ylabel="motion kept, % of its energy", ylim=(0, 105))
    axes.legend(loc="lower right")

    shown = sorted(mode["k"] for mode in found["modes"][:SHOWN]) or [1]
    third = Figure(figsize=(2.6 * (1 + len(shown)), 2.4))
    places = third.subplots(1, 1 + len(shown))
    bell = spectral.volume(flow, slices, "hann")
    places[0].imshow(picture)
    places[0].set(title="the first frame")
    for axes, k in zip(places[1:], shown):
        size = (2 / len(flow)) * bell[k].abs().square().sum(0).sqrt()
        drawn = axes.imshow(size.numpy())
        third.colorbar(drawn, ax=axes, shrink=0.7, label="px")
        axes.set(title=f"{found['hertz'][k]:.2f} Hz")
    for axes in places:
        axes.set(xticks=[], yticks=[])
        axes.grid(False)
    return dict(spectrum=first, energy=second, modes=third)


def painted(renderer: Renderer, kinds: Sequence[str], size: tuple[int, int] = (160, 256)) -> dict[str, float]:
    """PSNR, dB, of ten frames of a held-out plant of each kind, by the renderer and by softmax splatting: "tree.network"."""
    from . import data, render, worlds

    found = {}
    for kind in kinds:
        clip = data.Clip(kind, next(iter(worlds.plant_seeds(kind, "held-out", 1))), 0, *size)
        for method, by in (("softmax", None), ("network", renderer)):
            found[f"{kind}.{method}"] = round(render.score_clip(clip, 15, method, by)["psnr"], 2)
    return found
