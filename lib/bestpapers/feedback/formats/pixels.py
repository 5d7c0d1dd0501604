"""Pictures and maps in files, and the one place where a `Record` is made of them: sizes agree there, or are made to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lab.arrays import read_npy
from ...lab.files import FormatError, opened_image, read_file
from ...lab.pictures import MAX_PIXELS, png_bytes, read_picture, resize
from ...lab.places import Place
from ...lab.tensors import read_tensors
from ..record import Feedback, Record

Map = NDArray[np.float32]
Size = tuple[int, int]  # height, width

COLOUR = 48  # levels that JPEG may part the channels of a grey picture
ROUNDING = 1e-3  # what float16 may add to 1


@dataclass(frozen=True)
class Reading:
    """Feedback that lies in a file. Iterate to read it record by record, as often as you like; nothing is kept.

    layout  which of the layouts it is
    said    a sentence on what was found and how it is understood
    count   whole records in the file; with `skips`, fewer come if some lack what they need
    """

    layout: str
    said: str
    count: int
    start: Callable[[], Iterator[Record]] = field(repr=False)

    def __iter__(self) -> Iterator[Record]:
        return self.start()

    def __len__(self) -> int:
        return self.count


# ---------------------------------------------------------------------------------------------------------------- maps


def decode_map(path: Path, data: bytes | None = None) -> Map:
    """A grey picture's file (or its bytes, found in `path`) -> float32 (H, W), 0..1: levels over 255."""
    with opened_image(path, data, MAX_PIXELS) as image:
        if image.mode not in ("1", "L", "LA") and np.ptp(np.array(image.convert("RGB")), axis=-1).max() > COLOUR:
            expected = "a grey picture, white where it is wrong"
            raise FormatError(path, "map", expected, "colours", "save the map itself")
        return np.array(image.convert("L")).astype(np.float32) / np.float32(255)


def read_map(path: Path, names: tuple[str, ...] = ()) -> Map:
    """A map's file -> float32 (H, W), 0..1: a grey picture, or an array (.npy, .safetensors; see `checked`).

    names: what the tensor may be called in a file with more than one.
    """
    ending = path.suffix.lower()
    if ending not in (".npy", ".safetensors"):
        return decode_map(path)
    data = read_file(path, 8 * MAX_PIXELS + (1 << 20))
    if ending == ".npy":
        return checked(read_npy(data, path), Place(path, "map"))
    tensors, _ = read_tensors(path)
    chosen = [name for name in names if name in tensors] or list(tensors)
    if not tensors or (len(tensors) > 1 and chosen[0] not in names):
        raise FormatError(path, "tensors", f"one, or one called {' or '.join(names)}", f"{list(tensors)!s:.200}")
    tensor = tensors[chosen[0]]
    if tensor.is_floating_point():  # NumPy has no bfloat16
        tensor = tensor.float()
    return checked(tensor.numpy(), Place(path, "map"))


def checked(array: Any, here: Place) -> Map:
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


# -------------------------------------------------------------------------------------------------------------- records


def check_size(size: Size | None) -> None:
    if size is not None and not (len(size) == 2 and min(size) > 0 and size[0] * size[1] <= MAX_PIXELS):
        raise ValueError(f"size must be (height, width) with at most {MAX_PIXELS:,} pixels, got {size!r}")


def make_record(
    here: Place, name: str, prompt: str, scores: dict[str, float], maps: dict[str, Map], misaligned: Map,
    picture: Path | None, size: Size | None,
) -> Record:  # fmt: skip
    """A record whose picture and maps have one size: `size`, else the picture's, else that of the maps.

    Without `size`, maps must have the picture's proportions; with it, all is pressed into it.
    """
    shapes = {kind: values.shape for kind, values in maps.items()}
    if len(set(shapes.values())) > 1:
        raise (here / "maps").wrong("maps of one size", f"{shapes}")
    pixels = None
    if picture is not None:
        with (here / f"picture {picture.name:.60}").around():
            pixels = read_picture(picture)
        for kind, (h, w) in shapes.items() if size is None else ():
            height, width = pixels.shape[:2]
            if abs(h * width - w * height) > max(h, w, height, width):  # more than rounding to whole pixels
                expected = f"the proportions of the picture, {width} x {height}"
                advice = "read with size=(height, width), which presses both into one size, if they belong together"
                raise (here / kind).wrong(expected, f"a map of {w} x {h}", advice)
        size = size or (pixels.shape[0], pixels.shape[1])
        pixels = resize(pixels, size)
    if size is not None:
        maps = {kind: resize(values, size) for kind, values in maps.items()}
    return Record(name, prompt, Feedback(scores, maps, misaligned), pixels)
