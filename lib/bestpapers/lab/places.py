"""Where in a file something stands, and the errors that name it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .files import FormatError, show


@dataclass(frozen=True)
class Place:
    """A file and a part of it: `Place(path) / "line 3" / "prompt"`."""

    path: Path
    where: str = ""

    def __truediv__(self, part: str) -> Place:
        return Place(self.path, f"{self.where}, {part}" if self.where else part)

    def wrong(self, expected: str, found: str, advice: str = "") -> FormatError:
        return FormatError(self.path, self.where or "file", expected, found, advice)

    def need(self, fits: Any, expected: str, value: Any, advice: str = "") -> None:
        if not fits:
            raise self.wrong(expected, show(value), advice)

    @contextlib.contextmanager
    def around(self) -> Iterator[None]:
        """What a FormatError inside is about, is said to stand here."""
        try:
            yield
        except FormatError as error:
            here = self if error.field == "file" else self / error.field
            raise here.wrong(error.expected, error.found, error.advice) from error
