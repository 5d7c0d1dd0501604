"""Where in a file something stands, and the errors that name it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .files import FormatError, show

POINTER = b"version https://git-lfs.github.com/spec/"


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


def refuse_pointer_at(path: Path) -> None:
    """FormatError if a file cannot be read, or is what a clone without Git LFS leaves in the place of the real one."""
    try:
        with path.open("rb") as file:
            refuse_pointer(path, file.read(200))
    except OSError as error:
        raise FormatError(path, "file", "a file that can be read", str(error)[:200]) from error


def refuse_pointer(path: Path, head: bytes) -> None:
    """The same for a file that begins so."""
    if head.startswith(POINTER):
        size = head.partition(b"\nsize ")[2].split(b"\n")[0][:20].decode("ascii", "replace")
        found = f"a Git LFS pointer, a few lines of text in the place of {size or 'some'} bytes"
        advice = "run `git lfs install` and `git lfs pull` where you cloned, or download the file itself from its page"
        raise Place(path).wrong("the data", found, advice)
