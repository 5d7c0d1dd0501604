"""What all readers share: one kind of error, numbers that are checked, paths that stay inside, files written whole."""

from __future__ import annotations

import contextlib
import json
import os
import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LIMIT = 1e15  # largest size of any number: float32 arithmetic can still square it
MAX_JSON = 32 << 20  # bytes; parsed, a JSON file may need thirty times its size
ROTATION_TOLERANCE = 1e-3  # what rounding in a file may do to a rotation; more is scale or shear


_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 80


class FormatError(ValueError):
    """A file does not hold what its format promises.

    path, field, expected, found: the parts of the message "<file>: <field>: expected ..., found ...; <what to do>".
    """

    def __init__(self, path: str | Path, field: str, expected: str, found: str, advice: str = "") -> None:
        self.path, self.field, self.expected, self.found = Path(path), field, expected, found
        super().__init__(f"{path}: {field}: expected {expected}, found {found}" + (f"; {advice}" if advice else ""))


def show(value: Any) -> str:
    """A value from a file, short enough for a message."""
    return "nothing" if value is None else _REPR.repr(value)


def read_file(path: Path, limit: int | None = None) -> bytes:
    """The bytes of a regular file, if there are at most `limit`."""
    try:
        if not path.is_file():
            raise FormatError(path, "file", "a file", "a folder" if path.is_dir() else "nothing of that name")
        size = path.stat().st_size
        if limit is not None and size > limit:
            raise FormatError(path, "file", f"at most {limit} bytes", f"{size} bytes")
        return path.read_bytes()
    except OSError as error:
        raise FormatError(path, "file", "a file that can be read", str(error)) from error


def parse_json(data: bytes, path: Path) -> dict[str, Any]:
    """A JSON object."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:  # bad syntax, bad encoding, numbers of thousands of digits; nesting
        raise FormatError(path, "file", "JSON", f"something else ({str(error)[:100]})") from error
    if not isinstance(value, dict):
        raise FormatError(path, "file", "a JSON object", show(value))
    return value


def number(value: Any, path: Path, field: str, low: float = -LIMIT, high: float = LIMIT) -> float:
    """`value` as a float, if it is a number (not a text) from low to high."""
    try:
        x = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else float("nan")
    except OverflowError:
        x = float("inf")
    if not low <= x <= high:
        expected = "a finite number" if (low, high) == (-LIMIT, LIMIT) else f"a number from {low:.4g} to {high:.4g}"
        raise FormatError(path, field, expected, show(value))
    return x


def floats(words: Sequence[str] | Sequence[bytes], path: Path, field: str) -> list[float]:
    """Numbers of a text file; NaN and infinity still pass."""
    try:
        return [float(word) for word in words]
    except ValueError as error:
        raise FormatError(path, field, "numbers", str(error)[:120].partition(": ")[2]) from error


def whole(value: Any, path: Path, field: str, low: int, high: int) -> int:
    """`value` as a whole number from low to high; 800.0 counts as one."""
    x = number(value, path, field, low, high)
    if x != int(x):
        raise FormatError(path, field, "a whole number", show(value))
    return int(x)


def check_finite(values: NDArray[Any], path: Path, item: str, names: Sequence[str]) -> None:
    """Raise for the first entry of values [N, K] that is not finite (or too large for arithmetic)."""
    bad = ~(np.abs(values) <= LIMIT)  # not (> LIMIT), which lets NaN pass
    if bad.any():
        i, k = divmod(int(bad.argmax()), bad.shape[1])
        raise FormatError(path, f"{item} {i}, {names[k]}", "a finite number", f"{values[i, k]:g}")


def rotation(R: Array, path: Path, field: str) -> Array:
    """The rotation nearest to R [3, 3], if that is what R is but for rounding."""
    error = np.abs(R @ R.T - np.eye(3)).max()
    mirrored = np.linalg.det(R) < 0
    if error > ROTATION_TOLERANCE or mirrored:
        found = "a mirror image" if mirrored else f"scale or shear in it (R R^T differs from 1 by up to {error:.3g})"
        raise FormatError(path, field, "a rotation", found)
    u, _, vt = np.linalg.svd(R)
    return u @ vt


def inside(folder: Path, name: Any, path: Path, field: str) -> Path:
    """The file that a path found in `path` means, if it exists and lies in `folder` once all links are followed."""
    if not isinstance(name, str) or not name:
        raise FormatError(path, field, "a file name", show(name))
    try:
        root, file = folder.resolve(), (folder / name).resolve()
        exists = file.is_file()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links; a name too long, not encodable, with a NUL
        raise FormatError(path, field, "a usable path", show(name)) from error
    if not file.is_relative_to(root):
        raise FormatError(path, field, f"a path inside {folder}", f"{name!r:.200}", "copy the file there")
    if not exists:
        raise FormatError(path, field, f"a file in {folder}", f"{name!r:.200}, which is not there")
    return file


def write_file(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
