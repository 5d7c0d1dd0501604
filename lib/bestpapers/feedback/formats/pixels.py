"""Pictures and maps in files, and the one place where a `Record` is made of them: sizes agree there, or are made to."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lab.files import FormatError, opened_image, read_file
from ...lab.tensors import read_tensors
from ..record import Feedback, Record
from .places import Place, refuse_pointer

Map = NDArray[np.float32]
Size = tuple[int, int]  # height, width

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
MAX_PIXELS = 1 << 24  # of a picture or a map: 4096 x 4096
MAX_FILES = 1_000_000  # in a folder of pictures
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


def stem(name: str) -> str:
    """The last part of a path, of any system, without the ending of a picture."""
    last = name.replace("\\", "/").rpartition("/")[2]
    ending = next((s for s in (*SUFFIXES, ".txt") if last.lower().endswith(s)), "")
    return last[: len(last) - len(ending)]


def listing(folder: Path, endings: tuple[str, ...]) -> dict[str, list[Path]]:
    """{name without its ending: files} of all files in a folder and the folders in it; links to folders are not followed."""
    if not folder.is_dir():
        raise FormatError(folder, "folder", "a folder", "a file" if folder.exists() else "nothing of that name")
    found, seen = dict[str, list[Path]](), 0
    for here, folders, files in os.walk(folder):
        folders.sort()
        if (seen := seen + len(files)) > MAX_FILES:
            raise FormatError(folder, "folder", f"at most {MAX_FILES:,} files", "more")
        for name in sorted(files):
            if name.lower().endswith(endings) and not name.startswith("."):
                found.setdefault(stem(name), []).append(Path(here, name))
    return found


# ------------------------------------------------------------------------------------------------------------- decoding


def _look(path: Path) -> None:
    """FormatError if the file cannot be read or is a Git LFS pointer."""
    try:
        with path.open("rb") as file:
            refuse_pointer(path, file.read(200))
    except OSError as error:
        raise FormatError(path, "file", "a file that can be read", str(error)[:200]) from error


def _load(image: Any, path: Path, mode: str) -> NDArray[np.uint8]:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise FormatError(path, "size", f"at most {MAX_PIXELS:,} pixels", f"{width} x {height}", "shrink it")
    return np.array(image.convert(mode))


def read_picture(path: Path) -> NDArray[np.uint8]:
    """A picture's file -> uint8 (H, W, 3), upright as the camera noted (EXIF)."""
    from PIL import ImageOps

    _look(path)
    with opened_image(path) as image:
        width, height = image.size
        if width * height <= MAX_PIXELS:  # else `_load` refuses it before anything is decoded
            image = ImageOps.exif_transpose(image)
        return _load(image, path, "RGB")


def decode_map(path: Path, data: bytes | None = None) -> Map:
    """A grey picture's file (or its bytes, found in `path`) -> float32 (H, W), 0..1: levels over 255."""
    with opened_image(path, data) as image:
        if image.mode not in ("1", "L", "LA"):
            rgb = _load(image, path, "RGB")
            if np.ptp(rgb, axis=-1).max() > COLOUR:
                expected = "a grey picture, white where it is wrong"
                raise FormatError(path, "map", expected, "colours", "save the map itself")
        return _load(image, path, "L").astype(np.float32) / np.float32(255)


def read_map(path: Path, names: tuple[str, ...] = ()) -> Map:
    """A map's file -> float32 (H, W), 0..1: a grey picture, or an array (.npy, .safetensors; see `checked`).

    names: what the tensor may be called in a file with more than one.
    """
    ending = path.suffix.lower()
    if ending not in (".npy", ".safetensors"):
        _look(path)
        return decode_map(path)
    data = read_file(path, 8 * MAX_PIXELS + (1 << 20))
    refuse_pointer(path, data)
    if ending == ".npy":
        return checked(_npy(data, path), Place(path, "map"))
    tensors, _ = read_tensors(path)
    chosen = [name for name in names if name in tensors] or list(tensors)
    if not tensors or (len(tensors) > 1 and chosen[0] not in names):
        raise FormatError(path, "tensors", f"one, or one called {' or '.join(names)}", f"{list(tensors)!s:.200}")
    tensor = tensors[chosen[0]]
    if tensor.is_floating_point():  # NumPy has no bfloat16
        tensor = tensor.float()
    return checked(tensor.numpy(), Place(path, "map"))


def _npy(data: bytes, path: Path) -> NDArray[Any]:
    """The array of a .npy file whose header agrees with its length. No object is made of it: that would be unpickling."""
    head = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(head)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, fortran, dtype = read[version](head)
        expected = head.tell() + math.prod(shape) * dtype.itemsize
    except Exception as error:  # whatever numpy's parser of the header raises
        raise FormatError(path, "file", "a .npy file", f"{type(error).__name__}: {str(error)[:150]}") from error
    if dtype.kind not in "fuib" or dtype.itemsize > 8:
        advice = "an array of Python objects is a pickle, which can run any code" if dtype.hasobject else ""
        raise FormatError(path, "type", "float16, float32, uint8 or another of numbers", f"{dtype!s:.80}", advice)
    if len(data) != expected:
        raise FormatError(path, "size", f"{expected} bytes for {shape!s:.80} {dtype}", f"{len(data)} bytes")
    return np.frombuffer(data, dtype, offset=head.tell()).reshape(shape, order="F" if fortran else "C")


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


def png_bytes(pixels: NDArray[np.uint8]) -> bytes:
    """uint8 (H, W) or (H, W, 3) -> a PNG."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def resize(values: NDArray[Any], size: Size) -> NDArray[Any]:
    """(h, w) float32 or (h, w, 3) uint8 -> size: means of areas where it gets smaller, linear between pixels where larger."""
    from PIL import Image

    if values.shape[:2] == tuple(size):
        return values
    smaller = size[0] < values.shape[0] or size[1] < values.shape[1]
    how = Image.Resampling.BOX if smaller else Image.Resampling.BILINEAR
    out = np.array(Image.fromarray(values).resize((size[1], size[0]), how))
    return out if out.dtype == np.uint8 else np.clip(out, 0, 1)


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
