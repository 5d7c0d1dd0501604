"""Pictures of one's own, in files: a folder of them by name, their pixels in bounded memory, brought to a size, as PNG."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .files import FormatError, opened_image
from .places import Place, refuse_pointer_at

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
MAX_PIXELS = 1 << 24  # of a picture: 4096 x 4096
MAX_FILES = 1_000_000  # in a folder of pictures


def stem(name: str) -> str:
    """The last part of a path, of any system, without the ending of a picture, or of the .txt that goes with it."""
    last = name.replace("\\", "/").rpartition("/")[2]
    ending = next((s for s in (*SUFFIXES, ".txt") if last.lower().endswith(s)), "")
    return last[: len(last) - len(ending)]


def listing(folder: Path, endings: tuple[str, ...] = SUFFIXES) -> dict[str, list[Path]]:
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


def one_file(files: Mapping[str, list[Path]], name: str, here: Place, expected: str, advice: str = "") -> Path:
    """The file of that name in a `listing`. FormatError if there is none, or more than one."""
    there = files.get(name, [])
    if len(there) != 1:
        raise here.wrong(expected, ", ".join(file.name for file in there[:3]) or f"none, among {len(files):,}", advice)
    return there[0]


def read_picture(path: Path) -> NDArray[np.uint8]:
    """A picture's file -> uint8 (H, W, 3), upright as the camera noted (EXIF)."""
    from PIL import ImageOps

    refuse_pointer_at(path)
    with opened_image(path) as image:
        width, height = image.size
        if width * height <= MAX_PIXELS:  # else `pixels_of` refuses it before anything is decoded
            image = ImageOps.exif_transpose(image)
        return pixels_of(image, path, "RGB")


def pixels_of(image: Any, path: Path, mode: str) -> NDArray[np.uint8]:
    """The pixels of an opened image (Pillow's) in a mode: "RGB" (H, W, 3), "L" (H, W)."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise FormatError(path, "size", f"at most {MAX_PIXELS:,} pixels", f"{width} x {height}", "shrink it")
    return np.array(image.convert(mode))


def resize(values: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """(h, w) float32 in 0..1 or (h, w, 3) uint8 -> size (height, width): means of areas where it gets smaller, linear between
    pixels where larger."""
    from PIL import Image

    if values.shape[:2] == tuple(size):
        return values
    smaller = size[0] < values.shape[0] or size[1] < values.shape[1]
    how = Image.Resampling.BOX if smaller else Image.Resampling.BILINEAR
    out = np.array(Image.fromarray(values).resize((size[1], size[0]), how))
    return out if out.dtype == np.uint8 else np.clip(out, 0, 1)


def png_bytes(pixels: NDArray[np.uint8]) -> bytes:
    """uint8 (H, W) or (H, W, 3) -> a PNG."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
