"""Pictures of one's own, in files: a folder of them by name, their pixels in bounded memory, brought to a size, as PNG."""

from __future__ import annotations

import io
import os
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .files import FormatError, opened_image, read_file
from .places import Place

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
MAX_PIXELS = 1 << 24  # of a picture: 4096 x 4096
MAX_FILES = 1_000_000  # in a folder of pictures
BROWSERS = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}  # formats that every browser shows
TURNS: dict[Any, str] = {  # by EXIF's number of the orientation, as Pillow names them
    2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_270", 7: "TRANSVERSE",
    8: "ROTATE_90",
}  # fmt: skip


def composed(name: str) -> str:
    """A name in which a letter with its accent is one character; in names of files macOS writes two, and means the same."""
    return unicodedata.normalize("NFC", name)


def stem(name: str) -> str:
    """The last part of a path, of any system, `composed`, without the ending of a picture, or of the .txt that goes with it."""
    last = composed(name).replace("\\", "/").rpartition("/")[2]
    ending = next((s for s in (*SUFFIXES, ".txt") if last.lower().endswith(s)), "")
    return last[: len(last) - len(ending)]


def listing(folder: Path, endings: tuple[str, ...] = SUFFIXES) -> dict[str, list[Path]]:
    """{`stem` of its name: files} of all files in a folder and the folders in it; links to folders are not followed.

    endings  of the files that are listed, the others are passed over; ("",) lists all
    """
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
    """A picture's file -> uint8 (H, W, 3): upright as the camera noted (EXIF), and over white where one can see through it."""
    return _read(path)[0]


def for_browsers(path: Path) -> tuple[NDArray[np.uint8], bytes, str]:
    """The pixels of `read_picture`, and a file that looks so in every browser, with its type: the picture's own, or a PNG.

    Browsers differ in what they turn upright beside JPEG; one can see the page through a picture; and some of them move.
    """
    pixels, kind = _read(path)
    return pixels, read_file(path) if kind else png_bytes(pixels), BROWSERS[kind or "PNG"]


def _read(path: Path) -> tuple[NDArray[np.uint8], str]:
    """The pixels, and which of `BROWSERS` the file is, if it looks so in all of them."""
    from PIL import Image

    try:
        str(path).encode()
    except UnicodeEncodeError as error:  # it could go into no table and no page
        raise FormatError(path, "name", "letters in UTF-8", "other bytes", "rename it, or the folder") from error
    with opened_image(path, most=MAX_PIXELS) as image:
        image.load()  # which turns a TIFF, and finds what stands behind the pixels
        turn = _turn(image)
        upright = image.transpose(Image.Transpose[turn]) if turn else image
        through = upright.has_transparency_data
        if through:
            upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright.convert("RGBA"))
        same = image.format == "JPEG" or not (turn or through or getattr(image, "is_animated", False))
        return np.array(upright.convert("RGB")), image.format if same and image.format in BROWSERS else ""


def _turn(image: Any) -> str:
    """How an image is to be turned, or "". By EXIF alone, as browsers do: programs write XMP, and texts in a PNG, that say
    something else. A damaged note says nothing."""
    from PIL import Image

    exif = Image.Exif()
    try:
        exif.load(image.info.get("exif", b""))
        return TURNS.get(exif.get(0x0112), "")
    except Exception:  # whatever Pillow's parser of EXIF raises
        return ""


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
