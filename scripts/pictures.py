"""Make the book's own pictures: python scripts/pictures.py

readme.png         what the book does: one scene, three methods, stepping back
kernels-tiles.png  which tiles a Gaussian is drawn in, from the library's own tile lists
WING-idea.png      the idea of each of the four papers, for its page: no trained weights, narrow enough for a phone
"""

from __future__ import annotations

import io
import math
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, Rectangle
from PIL import Image

from bestpapers.bioclip import taxa, taxonomy
from bestpapers.course import plots
from bestpapers.dynamics import worlds as plants
from bestpapers.feedback import panel
from bestpapers.feedback import worlds as cutouts
from bestpapers.feedback.record import MAPS, SCORES
from bestpapers.kernels.rasterize import rules
from bestpapers.kernels.rasterize.tiles.cpu import bin_tiles
from bestpapers.lab.images import psnr
from bestpapers.splatting import data, filters, weights

STATIC = Path(__file__).parents[1] / "book" / "_static"


def readme() -> Figure:
    """Rows: training size and a quarter of it; columns: 3DGS, EWA, Mip-Splatting, truth, with PSNR."""
    world = weights.dataset()
    rows, notes = [], []
    for factor in (1, 1 / 4):
        camera = world.test[128].cameras[0].scaled(factor)
        truth = data.render_truth(world.scene, camera)
        with torch.no_grad():
            row = [weights.load(m).render([camera]).colors[0].clamp(0, 1) for m in weights.METHODS]
        rows.append([*row, truth])
        notes.append([f"{psnr(image, truth).item():.1f} dB" for image in row] + [""])
    labels = [filters.METHODS[m].label for m in weights.METHODS]
    return plots.image_grid(rows, [*labels, "truth"], ["as trained", "four times farther"], notes, size=1.8)


def tiles() -> Figure:
    """Three ellipses on a grid of tiles; a tile is filled for each ellipse whose list it is in."""
    width = height = 96
    means = torch.tensor([[[26.0, 30.0], [64.0, 22.0], [60.0, 70.0]]])
    angles, axes = torch.tensor([0.6, -0.5, 0.0]), torch.tensor([[9.0, 1.5], [4.0, 4.0], [11.0, 0.7]])
    turn = torch.stack(
        [torch.stack([angles.cos(), -angles.sin()], -1), torch.stack([angles.sin(), angles.cos()], -1)], -2
    )
    inverse = turn @ torch.diag_embed(axes**-2) @ turn.mT
    conics = torch.stack([inverse[:, 0, 0], inverse[:, 0, 1], inverse[:, 1, 1]], -1)[None]
    opacities = torch.full((1, 3), 0.8)
    lists = bin_tiles(means, conics, opacities, torch.tensor([[1.0, 2.0, 3.0]]), width, height)
    fig = Figure(figsize=(4.6, 4.4), layout="constrained")
    ax = fig.subplots()
    across = width // rules.TILE
    for tile in range(across * across):
        for g in lists.owner[lists.start[tile] : lists.start[tile + 1]]:
            corner = (tile % across * rules.TILE, tile // across * rules.TILE)
            ax.add_patch(Rectangle(corner, rules.TILE, rules.TILE, color=plots.PALETTE[g], alpha=0.25, lw=0))
    reach = 2 * np.sqrt(
        2 * np.log(0.8 / rules.ALPHA_MIN)
    )  # diameter of the ellipse alpha = 1/255, in standard deviations
    for g in range(3):
        size = (reach * axes[g]).tolist()
        ellipse = Ellipse(
            means[0, g].tolist(), *size, angle=math.degrees(angles[g]), fill=False, lw=2, ec=plots.PALETTE[g]
        )
        ax.add_patch(ellipse)
    ticks = range(0, width + 1, rules.TILE)
    ax.set(
        xlim=(0, width), ylim=(height, 0), xticks=ticks, yticks=ticks, xlabel="x (px)", ylabel="y (px)", aspect="equal"
    )
    return fig


def _still(ax: Axes, image: np.ndarray, title: str, colours: int = 48, **kw: Any) -> None:
    """A picture without ticks. Of a picture in colour so many are kept: it makes a small file."""
    if image.dtype == np.uint8:
        image = np.asarray(Image.fromarray(image).quantize(colours).convert("RGB"))
    ax.imshow(image, cmap=mpl.colormaps["cividis"].resampled(24))
    ax.set(xticks=[], yticks=[])
    ax.set_title(title, fontsize=9.5, **kw)
    ax.grid(False)


def splatting_idea() -> Figure:
    """One Gaussian as 3DGS and Mip-Splatting draw it from three distances; dashed: the thing itself, at two sigma."""
    stored = torch.tensor([[0.55, 0.25], [0.25, 0.20]])  # px^2 as trained, before any filter
    smooth = stored + filters.SMOOTHING * torch.eye(2)  # after the 3D filter
    rho = filters.widen_2d(smooth, filters.MIP_VARIANCE, True)[1].item()  # so as trained both look alike
    grid = torch.stack(torch.meshgrid(*[torch.linspace(-5.5, 5.5, 111)] * 2, indexing="xy"), -1)
    fig = Figure(figsize=(4.8, 3.75), layout="constrained")
    for row, (name, axes) in enumerate(zip(("3dgs", "mip"), fig.subplots(2, 3))):
        method = filters.METHODS[name]
        for ax, zoom, where in zip(axes, (3, 1, 1 / 3), ("three times closer", "as trained", "three times farther")):
            cov, light = (smooth if method.smooth_3d else stored) * zoom**2, torch.det(smooth).sqrt() * zoom**2
            wide, factor = filters.widen_2d(cov, method.eps2d, method.compensate)
            opacity = factor.item() if method.compensate else rho
            alpha = opacity * torch.exp(-0.5 * (grid @ torch.inverse(wide) * grid).sum(-1))
            alpha = (32 * alpha).round() / 32  # few greys make a small file
            ax.imshow(1 - alpha, cmap="gray", vmin=0, vmax=1, extent=(-5.5, 5.5, 5.5, -5.5))
            values, axes_of = torch.linalg.eigh(smooth * zoom**2)
            turn = math.degrees(math.atan2(axes_of[1, 1], axes_of[0, 1]))
            ring = Ellipse((0, 0), *(4 * values.flip(0).sqrt()).tolist(), angle=turn, fill=False, ls="--", lw=1.6)
            ring.set(edgecolor=plots.PALETTE[1], zorder=5)
            ax.add_patch(ring)
            ax.set(xticks=range(-5, 6), yticks=range(-5, 6), xlim=(-5.5, 5.5), ylim=(5.5, -5.5))
            ax.tick_params(length=0, labelbottom=False, labelleft=False)
            ax.set_axisbelow(False)
            ax.set_xlabel(f"light × {opacity * torch.det(wide).sqrt() / light:.1f}")
            ax.set_title(where if not row else "", fontsize=10)
        axes[0].set_ylabel(method.label)
    return fig


def bioclip_idea() -> Figure:
    """The path from kingdom to species of four species, each a column; a name that columns share is written once."""
    chosen = ("Pica hudsonia", "Pica pica", "Parus major", "Panthera leo")
    species = [next(t for t in taxa.taxa() if t.name == name) for name in chosen]
    magpie = species[0]
    fig = Figure(figsize=(4.8, 4.3), layout="constrained")
    ax = fig.subplots()
    ax.axis("off")
    places: dict[tuple[str, ...], tuple[float, int]] = {}
    for rank in range(len(taxa.RANKS)):
        for path in dict.fromkeys(t.path[: rank + 1] for t in species):
            columns = [c for c, t in enumerate(species) if t.path[: rank + 1] == path]
            x = places[path] = sum(columns) / len(columns), rank
            mine = magpie.path[: rank + 1] == path
            colour = plots.WING["bioclip"] if mine else "#8A8A86"
            if rank:
                line = [places[path[:-1]], x]
                ax.plot(*zip(*line), "-", color=colour, marker="", lw=3.5 if mine else 1.2, zorder=1 + mine)
            box = dict(boxstyle="round,pad=0.28", fc="#DDF1E9" if mine else plots.BACKGROUND, ec=colour)
            ax.text(*x, path[-1], ha="center", va="center", bbox=box, zorder=3, fontsize=9.5)
    for column, t in enumerate(species):
        shared = sum(t.path[: r + 1] == magpie.path[: r + 1] for r in range(len(taxa.RANKS)))
        ax.text(column, 6.65, f"{shared} of 7 shared" if column else "its label", ha="center", va="center", fontsize=9)
    for rank, name in enumerate(taxa.RANKS):
        ax.text(-0.62, rank, name, ha="right", va="center", fontsize=9, style="italic")
    words = taxonomy.captions(magpie)["taxon"]
    cut = words.index(" ", len(words) // 2)
    ax.text(1.2, 7.5, f"“{words[:cut]}\n{words[cut + 1 :]}”", ha="center", va="center", fontsize=10)
    ax.set(xlim=(-1.4, 3.6), ylim=(7.95, -0.35))
    return fig


def dynamics_idea() -> Figure:
    """A drawn tree, how far each pixel swings in three slices of its spectral volume, and one twig's path as their sum."""
    scene, height, width, slices = plants.make_scene("tree", 3), 60, 96, (2, 4, 6)
    q = scene.motion(plants.Wind.draw(np.random.default_rng(0)))
    spectrum = scene.spectrum(q, height, width)[:, 0]  # x alone: (K, H, W)
    row = height // 5
    column = int(np.abs(spectrum[slices[0], row]).argmax())
    fig = Figure(figsize=(4.8, 5.2), layout="constrained")
    axes = fig.subplot_mosaic([["still", "0"], ["1", "2"], ["path", "path"]], height_ratios=(1.25, 1.25, 1.4))
    _still(axes["still"], scene.picture(height, width), "the picture")
    for n, k in enumerate(slices):
        _still(axes[str(n)], np.abs(spectrum[k]), f"how far at {k * plants.RATE / plants.FRAMES:.1f} Hz")
    for name in ("still", "0", "1", "2"):
        axes[name].plot(column, row, "o", mfc="none", mec="white", ms=10, mew=3.5)
        axes[name].plot(column, row, "o", mfc="none", mec=plots.PALETTE[1], ms=10, mew=1.8)
    seconds = np.arange(plants.FRAMES) / plants.RATE
    turns = np.exp(2j * np.pi * np.outer(np.arange(len(spectrum)), np.arange(plants.FRAMES)) / plants.FRAMES)
    waves = 2 / plants.FRAMES * (spectrum[:, row, column, None] * turns).real
    waves[0] /= 2  # has no mirror half
    ax = axes["path"]
    for k, colour, style in zip(slices, (plots.PALETTE[i] for i in (2, 4, 0)), ("--", "-.", ":")):
        label = f"{k * plants.RATE / plants.FRAMES:.1f} Hz"
        ax.plot(seconds, waves[k], color=colour, ls=style, marker="", lw=1.4, label=label)
    ax.plot(seconds, waves.sum(0), color=plots.INK, ls="-", marker="", lw=2.2, label="all 16 slices")
    exact = scene.flow(q[::5], height, width)[:, 0, row, column]
    ax.plot(seconds[::5], exact, "o", color=plots.PALETTE[1], ms=3.5, label="where it goes")
    ax.set(xlabel="seconds", ylabel="to the right (px)")
    ax.legend(ncols=3, fontsize=8.5, loc="lower center", bbox_to_anchor=(0.5, 1.0), borderpad=0.1)
    return fig


def feedback_idea() -> Figure:
    """A picture with two faults, what three simulated people mark, and their marks merged: maps, words, scores."""
    rng, size = np.random.default_rng(1), 128
    caption = cutouts.parse("a red cat left of a blue cup by day")
    example = cutouts.true_example(caption, cutouts.place(caption, rng), size)
    for fault in ("other colour", "limb doubled"):
        example = cutouts.corrupt(example, fault, rng)
    people = panel.annotate(example.feedback(), panel.Panel(), rng)
    merged = panel.merge(people, size, size)
    fig = Figure(figsize=(4.8, 3.7), layout="constrained")
    axes = fig.subplot_mosaic([["marks", *MAPS], ["words"] * 3, ["bars"] * 3], height_ratios=(2.6, 0.4, 2))
    _still(axes["marks"], example.picture, "three people's clicks")
    grey = example.picture.mean(-1, keepdims=True) / 510 + 0.5
    for name, colour in zip(MAPS, (plots.PALETTE[1], plots.PALETTE[0])):
        for person, shape in zip(people, plots.MARKERS):
            axes["marks"].plot(*person.points[name].T, ls="", marker=shape, color=colour, mec="white", ms=5.5, mew=0.8)
        heat = merged.maps[name][..., None]
        _still(axes[name], grey * (1 - heat) + heat * np.array(to_rgb(colour)), name, color=colour)
    there = np.argwhere(cutouts.silhouette(example.layout.things, size) | example.implausible)
    (top, left), (bottom, right) = there.min(0) - 8, there.max(0) + 8
    for name in ("marks", *MAPS):
        axes[name].set(xlim=(left, right), ylim=(bottom, top))
    axes["words"].axis("off")
    words = caption.prompt.split()
    starts = np.cumsum([0, *(len(word) + 1 for word in words)])
    for word, wrong, x in zip(words, merged.misaligned, starts / starts[-1]):
        colour = plots.PALETTE[0] if wrong else plots.INK
        axes["words"].text(x, 0.5, word, fontsize=13.5, family="monospace", color=colour, va="center")
        if wrong:
            axes["words"].plot([x, x + 0.95 * len(word) / starts[-1]], [0.5, 0.5], "-", marker="", color=colour)
    axes["words"].set(xlim=(0, 1), ylim=(0, 1))
    axes["bars"].barh(SCORES, [merged.scores[name] for name in SCORES], color=plots.WING["feedback"], height=0.8)
    for y, name in enumerate(SCORES):
        axes["bars"].text(0.01, y, name, va="center")
    axes["bars"].set(xlim=(0, 1), xlabel="score, high is good", yticks=[])
    axes["bars"].invert_yaxis()
    return fig


PICTURES = {
    "readme.png": readme,
    "kernels-tiles.png": tiles,
    "splatting-idea.png": splatting_idea,
    "bioclip-idea.png": bioclip_idea,
    "dynamics-idea.png": dynamics_idea,
    "feedback-idea.png": feedback_idea,
}


def made(name: str) -> bytes:
    """The picture as PNG; those of the ideas with twice the pixels, for sharp screens, and few colours."""
    if not name.endswith("-idea.png"):
        return plots.png(PICTURES[name]())
    return few_colours(plots.png(PICTURES[name](), plots.SHARP))


def few_colours(png: bytes) -> bytes:
    """A PNG in full colour with 128 colours of its own."""
    image = Image.open(io.BytesIO(png))
    if image.mode == "P":
        return png
    out = io.BytesIO()
    image.quantize(128).save(out, format="PNG", optimize=True)
    return out.getvalue()


def main() -> None:
    plots.use()
    for name in PICTURES:
        if len(sys.argv) == 1 or name in sys.argv[1:]:
            (STATIC / name).write_bytes(made(name))
            print(f"book/_static/{name}")


if __name__ == "__main__":
    main()
