"""The species of this wing: 128 real ones from `taxa.csv`, and invented ones where a claim needs more."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "species")


@dataclass(frozen=True)
class Taxon:
    """A species: its seven ranks from kingdom to epithet, and its common name ("" if it has none).

    `invented` marks a species that exists in this book only.
    """

    kingdom: str
    phylum: str
    class_: str
    order: str
    family: str
    genus: str
    species: str
    common_name: str = ""
    invented: bool = False

    @property
    def path(self) -> tuple[str, ...]:
        """The seven ranks from kingdom to epithet."""
        return (self.kingdom, self.phylum, self.class_, self.order, self.family, self.genus, self.species)

    @property
    def name(self) -> str:
        """The scientific name, such as "Panthera leo"."""
        return f"{self.genus} {self.species}"


@lru_cache
def taxa() -> tuple[Taxon, ...]:
    """The 128 species of `taxa.csv`, in its order: 64 genera of two species, 36 families, 17 classes, 3 kingdoms."""
    rows = csv.DictReader((files(__package__) / "taxa.csv").read_text(encoding="utf-8").splitlines())
    values: list[list[Any]] = [[row[name] for name in (*RANKS, "common_name")] for row in rows]
    return tuple(Taxon(*value) for value in values)
