"""The two boards that things lie on: a sky by day and a sky at night, with a small print in some cells.

A board is always the same picture: `flat` where nothing is printed. The cells that a thing's box covers are flat.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .paint import Array, Colour, Part, join, outline, oval, paint

CELLS = 8  # a picture is so many cells high and wide


def _sun() -> list[Part]:
    rays = [
        (0.5 + r * math.cos(a), 0.5 + r * math.sin(a))
        for a, r in ((k * math.pi / 8, (0.46, 0.33)[k % 2]) for k in range(16))
    ]
    return [Part(outline(rays), (1.0, 0.88, 0.55), rim=0), Part(oval(0.5, 0.5, 0.27, 0.27), (1.0, 0.80, 0.36), rim=0.1)]


def _cloud() -> list[Part]:
    puffs = join(oval(0.5, 0.48, 0.26, 0.22), oval(0.3, 0.58, 0.2, 0.14), oval(0.72, 0.58, 0.2, 0.14), blend=0.1)
    return [Part(puffs, (0.96, 0.98, 1.0), rim=0.04)]


def _moon() -> list[Part]:
    return [
        Part(oval(0.5, 0.5, 0.38, 0.38), (0.93, 0.91, 0.80), bevel=0.3, rim=0.1),
        Part(oval(0.4, 0.42, 0.09, 0.08), (0.80, 0.78, 0.70), rim=0),
        Part(oval(0.6, 0.62, 0.07, 0.06), (0.80, 0.78, 0.70), rim=0),
    ]


def _star() -> list[Part]:
    tips = [
        (0.44 + r * math.cos(a), 0.44 + r * math.sin(a))
        for a, r in ((k * math.pi / 4, (0.3, 0.07)[k % 2]) for k in range(8))
    ]
    return [Part(outline(tips, 0.02), (0.84, 0.82, 0.74), rim=0)]


def _speck() -> list[Part]:
    return [
        Part(oval(0.31, 0.31, 0.08, 0.08), (0.56, 0.58, 0.74), rim=0),
        Part(oval(0.69, 0.69, 0.06, 0.06), (0.46, 0.48, 0.66), rim=0),
    ]


@dataclass(frozen=True)
class Board:
    """A flat colour; `rows` say what is printed in each cell: S(un), C(loud), M(oon), star *, specks :, nothing."""

    flat: Colour
    rows: tuple[str, ...]


PRINTS = {"S": _sun, "C": _cloud, "M": _moon, "*": _star, ":": _speck}
BOARDS: dict[str, Board] = {
    "day": Board(
        (0.80, 0.885, 0.945),
        (" C    S ", "     C  ", "  C     ", "C     C ", "    C   ", " C     C", "   C    ", "C    C  "),
    ),
    "night": Board(
        (0.125, 0.145, 0.285),
        ("   :  M ", " *     :", "    :   ", ":     * ", "  *     ", "     :  ", " :    * ", "   *    "),
    ),
}


def picture(board: Board, pixels: int) -> Array:
    """The empty board at `pixels` a cell: (8 pixels, 8 pixels, 3), 0..1."""
    out = np.tile(np.array(board.flat), (CELLS * pixels, CELLS * pixels, 1))
    tiles = {sign: paint(make(), (0, 0, 0), (1, 1), pixels) for sign, make in PRINTS.items()}
    for r, row in enumerate(board.rows):
        for c, sign in enumerate(row):
            if sign != " ":
                cell = out[r * pixels : (r + 1) * pixels, c * pixels : (c + 1) * pixels]
                tile = tiles[sign]
                inner = slice(pixels, 2 * pixels)
                cell *= 1 - tile.alpha[inner, inner, None]
                cell += tile.colour[inner, inner]
    return out
