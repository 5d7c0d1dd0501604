"""The switches of the procedural world, and what they do to two sibling species and to a stranger.

The pictures and the traits of all positions are made beforehand by `data.photograph` and `data.traits`; worlds.js shows them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import traitlets
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ...course import plots
from ...course.widgets import Widget
from ..data import World, body, photograph, traits
from ..organisms import Traits
from ..taxa import Taxon, taxa
from ..taxonomy import tree_distance
from .sheets import sheet

TRIOS = (  # two of one genus and a stranger: of the same family, of another order, of another kingdom
    ("Limenitis archippus", "Limenitis arthemis", "Danaus plexippus"),
    ("Parus major", "Parus monticolus", "Aquila chrysaetos"),
    ("Amanita muscaria", "Amanita phalloides", "Quercus robur"),
)
POSES = ("specimen", "photograph 1", "photograph 2", "photograph 3")
SHARES = (0.0, 0.25, 0.5, 0.75, 0.948, 1.0)  # of the variance that siblings share; 0.948 is the world's own
LIMIT = 450_000  # bytes of pictures: as text they take a third more


def sigma_of(share: float, world: World) -> tuple[float, ...]:
    """The steps of a world [7], kingdom to species, in which `share` of the variance of each trait comes from the genus and
    above, split there as in `world`: over many worlds, that is how the traits of siblings correlate."""
    above = math.hypot(*world.sigma[:-1])
    return (*(s / above * math.sqrt(share) for s in world.sigma[:-1]), math.sqrt(1 - share))


class Worlds(Widget):
    """Two sibling species and a stranger, as the switches of the world make them.

    world    whose seed and whose proportions of steps above the species are kept
    trios    of scientific names in the table of 128 species: two of one genus and a third
    size     side of a picture in pixels
    caption  plain text under the pictures

    These traits follow the reader:

    trio     which of the trios
    level    which of SHARES: how much of the variance of their traits siblings share, from 0 (relatives have the body plan of
             their family in common, nothing else) to 1 (siblings are equal)
    inherit  False: the null world, in which names say nothing about looks; `level` has no effect then
    mimic    whether the viceroy wears the monarch's colours; only the first of the default trios has one
    pose     which of POSES

    Raises:
        ValueError: an unknown name, or pictures that take more than 450 kB.
        traitlets.TraitError: a value out of range.
    """

    module = Path(__file__).with_name("worlds.js")
    still_style = "width:48em;max-width:100%"

    groups = traitlets.List(traitlets.List()).tag(sync=True)  # [T][3] of [name, common name, ranks from the first]
    pictures = traitlets.Bytes().tag(sync=True)  # all different ones as one WebP
    tiles = traitlets.Bytes().tag(
        sync=True
    )  # [T, levels + 1 (the null world), 2 (mimicry), poses, 3] uint16: which of them
    values = traitlets.Bytes().tag(sync=True)  # [T, levels + 1, 2, 3, 14] float32: traits
    words = traitlets.Dict(read_only=True).tag(sync=True)
    trio = traitlets.Int(0).tag(sync=True)
    level = traitlets.Int(4, min=0, max=len(SHARES) - 1).tag(sync=True)
    inherit = traitlets.Bool(True).tag(sync=True)
    mimic = traitlets.Bool(False).tag(sync=True)
    pose = traitlets.Int(0, min=0, max=len(POSES) - 1).tag(sync=True)
    caption = traitlets.Unicode(
        "Choose three species, move the slider and switch the boxes: pictures and traits follow. Each species is the sum of "
        "seven random steps, one for each rank from kingdom to species; siblings differ by the last one. Traits are in "
        "standard deviations over many worlds. The body plan is the family's, but for the null world."
    ).tag(sync=True)

    def __init__(
        self, world: World | None = None, trios: Sequence[Sequence[str]] = TRIOS, *, size: int = 64, **kwargs: Any
    ) -> None:
        world = world or World()
        table = {taxon.name: taxon for taxon in taxa()}
        if unknown := [name for trio in trios for name in trio if name not in table]:
            raise ValueError(f"Worlds: the table has no species {unknown[0]!r}")
        if not trios or any(len(trio) != 3 for trio in trios):
            raise ValueError("Worlds: needs trios of species, at least one")
        found = [[table[name] for name in trio] for trio in trios]
        number: dict[tuple[Any, ...], int] = {}
        pictures: list[NDArray[np.uint8]] = []
        tiles = np.zeros((len(found), len(SHARES) + 1, 2, len(POSES), 3), "<u2")
        values = np.zeros((len(found), len(SHARES) + 1, 2, 3, len(Traits._fields)), "<f4")
        for t, trio in enumerate(found):
            for s, variant in enumerate(_variants(world)):
                for m in (0, 1):
                    here = replace(variant, mimic=bool(m))
                    values[t, s, m] = [traits(taxon, here) for taxon in trio]
                    for p in range(len(POSES)):
                        for k, taxon in enumerate(trio):
                            # a specimen follows from its looks alone, a photograph from its species too
                            looks = taxon if p else None, body(taxon, here), traits(taxon, here), p
                            if looks not in number:
                                number[looks] = len(pictures)
                                pictures.append(photograph(taxon, p - 1 if p else None, here, size))
                            tiles[t, s, m, p, k] = number[looks]
        data = sheet(np.stack(pictures))
        if len(data) > LIMIT:
            raise ValueError(f"Worlds: the pictures take {len(data) / 1e3:.0f} kB, the limit is {LIMIT / 1e3:g} kB")
        super().__init__(
            groups=[[[x.name, x.common_name, tree_distance(x, trio[0])] for x in trio] for trio in found],
            pictures=data,
            tiles=tiles.tobytes(),
            values=values.tobytes(),
            **kwargs,
        )
        self._taxa, self._world, self._size = found, world, size

    @traitlets.default("words")
    def _words(self) -> dict[str, Any]:
        return {"shares": list(SHARES), "poses": list(POSES), "traits": list(Traits._fields)}

    @traitlets.validate("trio")
    def _one_of_the_trios(self, proposal: Any) -> int:
        if not 0 <= proposal["value"] < len(self.groups):
            raise traitlets.TraitError(f"trio must be 0 to {len(self.groups) - 1}, got {proposal['value']}")
        return int(proposal["value"])

    def here(self) -> tuple[World, list[Taxon]]:
        """The world that is shown, and the three species."""
        worlds = _variants(self._world)
        return replace(worlds[self.level if self.inherit else -1], mimic=self.mimic), self._taxa[self.trio]

    def differences(self) -> list[float]:
        """Root mean square difference over the traits, of the sibling and of the stranger from the first species."""
        world, trio = self.here()
        first, *others = (np.array(traits(taxon, world)) for taxon in trio)
        return [float(np.sqrt(np.mean((other - first) ** 2))) for other in others]

    def _position(self) -> str:
        heredity = (
            f"siblings share {SHARES[self.level]:.0%} of the variance" if self.inherit else "nothing is inherited"
        )
        return f"{heredity}, mimicry {'on' if self.mimic else 'off'}, {POSES[self.pose]}"

    def describe(self) -> str:
        first, sibling, stranger = (f"{name} ({common})" for name, common, _ in self.groups[self.trio])
        d = self.differences()
        return (
            "Two sibling species and a stranger, drawn side by side, and their fourteen traits. Controls choose the three, a "
            "specimen or a photograph, how much siblings inherit in common, whether anything is inherited at all, and "
            f"mimicry. Now: {first}, its sibling {sibling} and {stranger}; {self._position()}. Root mean square difference "
            f"of the traits from the first: sibling {d[0]:.2f}, stranger {d[1]:.2f}."
        )

    def still(self) -> list[tuple[bytes, str]]:
        world, trio = self.here()
        with mpl.rc_context():
            plots.use()
            fig = Figure(figsize=(9.6, 3.2))
            *pictures, dots = fig.subplots(1, 4, width_ratios=[1, 1, 1, 1.3])
            for ax, taxon, marker, color in zip(pictures, trio, plots.MARKERS, plots.PALETTE):
                ax.imshow(photograph(taxon, self.pose - 1 if self.pose else None, world, self._size))
                ax.set(xticks=[], yticks=[], title=taxon.common_name, xlabel=taxon.name)
                ax.grid(False)
                dots.plot(
                    traits(taxon, world),
                    range(len(Traits._fields)),
                    ls="",
                    marker=marker,
                    color=color,
                    label=taxon.name,
                )
            dots.set_yticks(range(len(Traits._fields)), Traits._fields, fontsize=7)
            dots.invert_yaxis()
            dots.set(xlabel="traits (standard deviations)")
            names = ", ".join(taxon.name for taxon in trio)
            alt = f"Pictures of {names}, and a plot of their fourteen traits: {self._position()}."
            return [(plots.png(fig), alt)]


def _variants(world: World) -> list[World]:
    """The world at each of SHARES, and the null world."""
    return [
        *(replace(world, inherit=True, sigma=sigma_of(share, world)) for share in SHARES),
        replace(world, inherit=False),
    ]
