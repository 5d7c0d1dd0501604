"""Maps in files: how much something holds at each pixel, 0..1, as grey pictures and as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import read_npy
from .files import FormatError, opened_image, read_file
from .pictures import MAX_PIXELS, png_bytes
from .places import Place
from .tensors import read_tensors

Map = NDArray[np.float32]

COLOUR = 48  # levels that JPEG may part the channels of a grey picture
ROUNDING = 1e-3  # what float16 may add to 1
STRENGTH = 0.75  # of a map that is laid over a picture, at the most


def decode_map(path: Path, data: bytes | None = None) -> Map:
    """A grey picture's file (or its bytes, found in `path`) -> float32 (H, W), 0..1: levels over 255."""
    with opened_image(path, data, MAX_PIXELS) as image:
        if image.mode not in ("1", "L", "LA") and np.ptp(np.array(image.convert("RGB")), axis=-1).max() > COLOUR:
            expected = "a grey picture, white where it is wrong"
            raise FormatError(path, "map", expected, "colours", "save the map itself")
        return np.array(image.convert("L")).astype(np.float32) / np.float32(255)


def read_map(path: Path, names: tuple[str, ...] = ()) -> Map:
    """A map's file -> float32 (H, W), 0..1: a grey picture, or an array (.npy, .safetensors; see `as_map`).

    names: what the tensor may be called in a file with more than one.
    """
    ending = path.suffix.lower()
    if ending not in (".npy", ".safetensors"):
        return decode_map(path)
    data = read_file(path, 8 * MAX_PIXELS + (1 << 20))
    if ending == ".npy":
        return as_map(read_npy(data, path), Place(path, "map"))
    tensors, _ = read_tensors(path)
    chosen = [name for name in names if name in tensors] or list(tensors)
    if not tensors or (len(tensors) > 1 and chosen[0] not in names):
        raise FormatError(path, "tensors", f"one, or one called {' or '.join(names)}", f"{list(tensors)!s:.200}")
    tensor = tensors[chosen[0]]
    if tensor.is_floating_point():  # NumPy has no bfloat16
        tensor = tensor.float()
    return as_map(tensor.numpy(), Place(path, "map"))


def as_map(array: Any, here: Place) -> Map:
    """An array as a map, float32 (H, W), 0..1. Whole numbers above 1 are levels to 255; else out of range is refused."""
    array = np.asarray(array)
    if array.dtype.kind not in "fuib" or array.ndim != 2 or not 0 < array.size <= MAX_PIXELS:
        expected = f"numbers in rows of one length, at most {MAX_PIXELS:,}"
        raise here.wrong(expected, f"{array.dtype}, shape {array.shape!s:.80}")
    low, high = float(array.min()), float(array.max())
    top = 255 if array.dtype.kind in "ui" and high > 1 else 1
    if not (low >= 0 and high <= top + ROUNDING):  # NaN is neither
        advice = "divide by the largest value that can be" if high > top else ""
        raise here.wrong(f"values from 0 to {top}", f"{low:g} to {high:g}", advice)
    return np.minimum(array.astype(np.float32) / np.float32(top), np.float32(1))


def encode_map(values: Map) -> bytes:
    """float32 (H, W), 0..1 -> a grey PNG, rounded to 1/255."""
    return png_bytes(np.round(np.asarray(values) * 255).astype(np.uint8))


def overlay(picture: Any, values: Any, colour: Sequence[int]) -> Any:
    """A map (H, W), 0..1, laid over a picture, uint8 (H, W, 3), as a colour that covers the more the higher it is."""
    covered = STRENGTH * np.clip(values, 0, 1)[..., None]
    return np.rint((1 - covered) * picture + covered * np.array(colour)).astype(np.uint8)
