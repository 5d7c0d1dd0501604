"""Make the book's own pictures: python scripts/pictures.py

readme.png         what the book does: one scene, three methods, stepping back
kernels-tiles.png  which tiles a Gaussian is drawn in, from the library's own tile lists
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, Rectangle

from bestpapers.course import plots
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


PICTURES = {"readme.png": readme, "kernels-tiles.png": tiles}


def main() -> None:
    plots.use()
    for name, make in PICTURES.items():
        if len(sys.argv) == 1 or name in sys.argv[1:]:
            (STATIC / name).write_bytes(plots.png(make()))
            print(f"book/_static/{name}")


if __name__ == "__main__":
    main()
