"""What all readers share: numbers that are checked."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lab.files import FormatError, plain, show

Array = NDArray[np.float64]

LIMIT = 1e15  # largest size of any number: float32 arithmetic can still square it
MAX_JSON = 32 << 20  # bytes; parsed, a JSON file may need thirty times its size
ROTATION_TOLERANCE = 1e-3  # what rounding in a file may do to a rotation; more is scale or shear


def note(words: str) -> None:
    """Say what a reader did about a file that is not as it should be: a warning, which the command line prints as a line."""
    warnings.warn(plain(words), stacklevel=3)


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


def integer(value: Any, path: Path, field: str, low: int, high: int) -> int:
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
