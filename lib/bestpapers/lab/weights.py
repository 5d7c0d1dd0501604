"""Weights that we trained, and a card beside them that says what they are: one shape in every wing.

A wing's `weights/` holds the files, `card.json`, and the module that makes both. A card can be checked without training:
its hashes are those of the files, its data hash that of the data made again, its scores those measured again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from . import machine
from .files import FormatError, inside, parse_json, read_file, show, write_file

NAME = "card.json"
LICENCE = "MIT, as all code of this project (LICENSE)"
PACKAGES = ("torch", "numpy", "numba")


@dataclass(frozen=True)
class Card:
    """What weights are and how they were made.

    command    makes them again
    data       settings of the data, and data_hash: {what: hash of it}
    settings   of model and training: whatever else decides the result
    scores     measured on the test; a test of ours measures them again
    size       how many there are of what: parameters, Gaussians
    files      {name: {"sha256", "bytes"}}
    licence    of the files
    versions   {package: version} that they were made with
    machine    that they were made on, in words
    """

    command: str
    data: dict[str, Any]
    data_hash: dict[str, str]
    settings: dict[str, Any]
    scores: dict[str, Any]
    size: dict[str, int]
    files: dict[str, dict[str, Any]]
    licence: str
    versions: dict[str, str]
    machine: str

    @classmethod
    def of(cls, folder: Path, files: Iterable[str], **said: Any) -> Card:
        """The card of files that were just made, on this machine; `said`: the fields that only the wing knows."""
        made_here = dict(files=measure(folder, files), licence=LICENCE, machine=machine.in_words())
        made_here |= dict(versions=machine.versions(*PACKAGES))
        return cls(**made_here | said)

    @classmethod
    def read(cls, folder: Path) -> Card:
        """Raises FormatError naming the field that is missing, unknown or of the wrong kind."""
        path = folder / NAME
        value = parse_json(read_file(path, 1 << 20), path)
        kinds = {f.name: str if f.type == "str" else dict for f in fields(cls)}
        for name in (*kinds, *value):
            if name not in kinds:
                raise FormatError(path, name, f"fields {', '.join(kinds)}", "another one")
            if not isinstance(value.get(name), kinds[name]):
                raise FormatError(path, name, f"a {kinds[name].__name__}", show(value.get(name)))
        return cls(**value)

    def write(self, folder: Path) -> None:
        write_file(folder / NAME, (json.dumps(asdict(self), indent=1) + "\n").encode())

    def verify(self, folder: Path) -> None:
        """Raise FormatError, naming the file, if one is missing or is not the one that the card speaks of."""
        if not self.files:
            raise FormatError(folder / NAME, "files", "at least one file", "none")
        for name, said in self.files.items():
            if not isinstance(said, dict):
                raise FormatError(folder / NAME, f"files: {name}", "sha256 and bytes", show(said))
            data = read_file(inside(folder, name, folder / NAME, "files"))
            for what, found in _measure(data).items():
                if said.get(what) != found:
                    raise FormatError(folder / name, what, f"{show(said.get(what))}, as in {NAME}", f"{found}")


def measure(folder: Path, files: Iterable[str]) -> dict[str, dict[str, Any]]:
    """SHA-256 and length of files."""
    return {name: _measure(read_file(folder / name)) for name in files}


def _measure(data: bytes) -> dict[str, Any]:
    return dict(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))


# -------------------------------------------------------------------------------------------------------- command line


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--verify", action="store_true", help="only check that the files are those of the card")


def verify(folder: Path) -> int:
    """Check the files, and say so."""
    card = Card.read(folder)
    card.verify(folder)
    for name, said in card.files.items():
        print(f"{name}: {said['bytes']:,} bytes, SHA-256 {said['sha256'][:12]}..., as on the card")
    return 0
