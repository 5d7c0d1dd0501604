"""Photographs of the reader: single files, a folder per class, or a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...lab import files
from ...lab.files import FormatError, Skips, inside, read_file, show
from ...lab.places import Place
from ...lab.tables import SEPARATORS, separator
from ..taxa import Taxon
from ..taxonomy import clean

if TYPE_CHECKING:
    from PIL.Image import Image

TABLE = "metadata.csv"
MAX_TABLE = 64 << 20  # bytes
# of photographs, as Pillow names them; and HEIF, see `opened`
FORMATS = (*files.FORMATS, "DIB", "GIF", "JPEG2000", "AVIF", "PPM")
MODES = (*files.MODES, "I;16", "I;16B", "I;16L", "I;16N")  # 16 bits of grey, too
MAX_PIXELS = 2 * files.MAX_PIXELS  # per photograph; Pillow reads no more
HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"mif1", b"msf1")  # what such a file begins with
SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif", ".jp2",
    ".j2k", ".jpf", ".jpx", ".avif", ".ppm", ".pgm", ".pbm", ".pnm", ".heic", ".heif", ".hif",
)  # fmt: skip
# "class" is the label
RANK_COLUMNS = ("kingdom", "phylum", "cls", "order", "family", "genus", "species", "common_name")


@dataclass(frozen=True)
class Photo:
    """A photograph: its file, the text of its class, and its taxon where the table gives one."""

    path: Path
    label: str
    taxon: Taxon | None = None

    def image(self) -> Image:
        """The pixels, RGB, upright. Raises FormatError if the file is damaged."""
        return decode(self.path)


def decode(path: Path, data: bytes | None = None) -> Image:
    """An image file (or its bytes, found in another file) as `upright` makes it."""
    with opened(path, data) as image:
        if image.width * image.height > files.MAX_PIXELS:
            # a JPEG so large comes at half its size, a quarter of the memory
            image.draft(image.mode, (image.width // 2, image.height // 2))
        return upright(image)


def upright(image: Image) -> Image:
    """An image of Pillow as RGB of 8 bits, turned as the camera noted (EXIF). Of 16 bits of grey the upper 8 are kept; raises
    FormatError for numbers of other kinds, whose white nobody knows."""
    from PIL import Image, ImageOps

    if image.mode == "I" and image.format == "PPM":  # the 16 bits of a PGM, in numbers of 32
        image = image.convert("I;16")
    if image.mode not in MODES:
        found, advice = f"Pillow's mode {image.mode}", "bring it to 8 bits first"
        raise FormatError(getattr(image, "filename", "") or "image", "image", "8 or 16 bits per channel", found, advice)
    with suppress(Exception):  # whatever Pillow's parser of EXIF raises: a damaged note says nothing
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image.convert("RGB")


@contextmanager
def opened(path: Path, data: bytes | None = None) -> Iterator[Any]:
    """`lab.files.opened_image` for photographs. HEIC, as phones write it, is read where pillow-heif is installed."""
    formats: tuple[str, ...] = FORMATS
    with suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
        formats = (*FORMATS, "HEIF")
    try:
        with files.opened_image(path, data, MAX_PIXELS, formats, (*MODES, "I")) as image:
            if image.mode == "I" and image.format != "PPM":
                advice = "bring it to 8 bits first"
                raise FormatError(path, "image", "8 or 16 bits per channel", "Pillow's mode I", advice)
            yield image
    except FormatError as error:
        if error.field == "image" and "HEIF" not in formats and _is_heif(path, data):
            advice = "install pillow-heif (the extra heic of this package), or export it as JPEG"
            raise FormatError(path, "image", "a format that this Python reads", "HEIC", advice) from None
        raise


def _is_heif(path: Path, data: bytes | None) -> bool:
    if data is None:
        with path.open("rb") as file:
            data = file.read(12)
    return data[4:8] == b"ftyp" and data[8:12] in HEIF_BRANDS


def is_photo(path: Path) -> bool:
    """Whether a file is taken for a photograph: by its suffix, and where it has none by what is in it."""
    if path.suffix:
        return path.suffix.lower() in SUFFIXES
    with suppress(FormatError), opened(path):
        return True
    return False


def read_photos(source: str | Path, *, skips: Skips | None = None) -> list[Photo]:
    """Read a table (.csv), a folder with metadata.csv in it, or a folder with a folder per class.

    A table has the columns filepath (relative to the table's folder) and class (any text), and if you like kingdom, phylum,
    cls, order, family, genus, species, common_name; `cls` is the rank, since `class` is the label. Other columns are left
    alone; commas, semicolons or tabs separate them. In a folder of folders the folder's name is the class; files that are no
    images are left alone.

    Each image's header is checked here, its pixels when you call `image`. Photographs that are missing, damaged or given
    twice, and rows that do not fit, raise FormatError, or are counted in `skips`.
    """
    source = Path(source)
    table = source if source.suffix.lower() == ".csv" else source / TABLE
    by_table = table == source or table.is_file()
    photos = list[Photo]()
    seen: dict[Path, str] = {}
    for where, item in _rows(table) if by_table else _listing(source):
        try:
            if isinstance(item, FormatError):
                raise item
            if item.path in seen:
                file = table if by_table else source
                raise FormatError(file, where, "every photograph once", f"that of {seen[item.path]} again")
            with opened(item.path):
                seen[item.path] = where
        except FormatError as error:
            if skips is None:
                raise
            skips.add(error)
        else:
            photos.append(item)
    if not photos:
        raise FormatError(source, "photographs", "at least one that can be read", "none")
    return photos


def _rows(table: Path) -> Iterator[tuple[str, Photo | FormatError]]:
    """Each row as (where it stands, photograph or what is wrong with it)."""
    try:
        text = read_file(table, MAX_TABLE).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(table, "file", "text in UTF-8", str(error)[:100], "save the table as UTF-8") from error
    mark = separator(text, Place(table, "line 1"))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True)
    try:
        header = next(reader, [])
        columns = {name.strip(): i for i, name in enumerate(header)}
        for needed in ("filepath", "class"):
            if needed not in columns:
                raise FormatError(table, "line 1", f"a column {needed}", show(header))
        if len(columns) < len(header):
            raise FormatError(table, "line 1", "every column once", show(header))
        for row in reader:
            if row:
                where = f"line {reader.line_num}"
                yield where, _photo(table, where, row, columns)
    except csv.Error as error:
        expected = f"{SEPARATORS[mark]}-separated values"
        raise FormatError(table, f"line {reader.line_num}", expected, str(error)) from error


def _photo(table: Path, where: str, row: list[str], columns: dict[str, int]) -> Photo | FormatError:
    if len(row) != len(columns):
        return FormatError(
            table, where, f"{len(columns)} values", f"{len(row)}", "put quotes around text that holds a separator"
        )
    try:
        path = inside(table.parent, row[columns["filepath"]].strip(), table, f"{where}, column filepath")
    except FormatError as error:
        return error
    label = row[columns["class"]].strip()
    if not label:
        return FormatError(table, f"{where}, column class", "a text", "nothing")
    if "common" in columns and "common_name" not in columns:  # as the catalog of Rare Species calls it
        columns = columns | dict(common_name=columns["common"])
    ranks: list[Any] = [row[columns[name]] if name in columns else "" for name in RANK_COLUMNS]
    taxon = clean(Taxon(*ranks))
    return Photo(path, label, taxon if any(taxon.path) else None)


def _listing(folder: Path) -> Iterator[tuple[str, Photo | FormatError]]:
    """Every image one folder deep as (name, photograph or what is wrong with it)."""
    try:
        classes = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
        files = [p for c in classes for p in sorted(c.iterdir()) if p.name[0] != "." and is_photo(p)]
    except (OSError, ValueError) as error:
        raise FormatError(folder, "folder", "a folder that can be read", str(error)) from error
    if not files:
        expected = f"{TABLE}, or folders named after classes with images in them ({', '.join(SUFFIXES)})"
        raise FormatError(folder, "photographs", expected, "neither")
    for file in files:
        name = file.relative_to(folder).as_posix()
        try:
            yield name, Photo(inside(folder, name, folder, name), file.parent.name)
        except FormatError as error:
            yield name, error
