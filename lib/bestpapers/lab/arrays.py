"""Arrays of numbers in .npy files. No object is made of what they hold: that would be unpickling."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .files import FormatError, show


def npy_header(
    head: io.BytesIO, path: Path, kinds: str, named: str
) -> tuple[tuple[int, ...], Literal["C", "F"], np.dtype[Any], int]:
    """Shape, order and type of the array, and how many bytes a whole file has, as the header says, which is passed over.

    kinds, named  the types that are taken, by numpy's letters, and in words
    """
    try:
        version = np.lib.format.read_magic(head)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, fortran, dtype = read[version](head)
        if min(shape, default=0) < 0:
            raise ValueError(f"a side below 0 in {shape}")
        expected = head.tell() + math.prod(shape) * dtype.itemsize
    except Exception as error:  # whatever numpy's parser of the header raises
        raise FormatError(path, "file", "a .npy file", f"{type(error).__name__}: {str(error)[:150]}") from error
    if dtype.kind not in kinds or dtype.itemsize > 8:
        advice = "an array of Python objects is a pickle, which can run any code" if dtype.hasobject else ""
        raise FormatError(path, "type", named, show(str(dtype)), advice)
    return shape, "F" if fortran else "C", dtype, expected


def read_npy(data: bytes, path: Path) -> NDArray[Any]:
    """The array of a file's bytes."""
    head = io.BytesIO(data)
    shape, order, dtype, expected = npy_header(head, path, "fuib", "float16, float32, uint8 or another of numbers")
    if len(data) != expected:
        raise FormatError(path, "size", f"{expected} bytes for {shape!s:.80} {dtype}", f"{len(data)} bytes")
    return np.frombuffer(data, dtype, offset=head.tell()).reshape(shape, order=order)
