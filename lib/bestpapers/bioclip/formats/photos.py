"""Photographs of the reader: a folder per class, or a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...lab.files import FormatError, Skips, inside, opened_image, read_file, show
from ..taxa import Taxon
from ..taxonomy import clean

if TYPE_CHECKING:
    from PIL.Image import Image

TABLE = "metadata.csv"
MAX_TABLE = 64 << 20  # bytes
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
RANK_COLUMNS = (
    "kingdom",
    "phylum",
    "cls",
    "order",
    "family",
    "genus",
    "species",
    "common_name",
)  # "class" is the label


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
    """An image file (or its bytes, found in another file) as RGB, turned upright as the camera noted (EXIF)."""
    from PIL import ImageOps

    with opened_image(path, data) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def read_photos(source: str | Path, *, skips: Skips | None = None) -> list[Photo]:
    """Read a table (.csv), a folder with metadata.csv in it, or a folder with a folder per class.

    A table has the columns filepath (relative to the table's folder) and class (any text), and if you like kingdom, phylum,
    cls, order, family, genus, species, common_name; `cls` is the rank, since `class` is the label. Other columns are left
    alone. In a folder of folders the folder's name is the class; files that are no images are left alone.

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
            with opened_image(item.path):
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
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, [])
        columns = {name.strip(): i for i, name in enumerate(header)}
        for needed in ("filepath", "class"):
            if needed not in columns:
                advice = "separate columns with commas" if ";" in text[:1000].split("\n")[0] else ""
                raise FormatError(table, "line 1", f"a column {needed}", show(header), advice)
        if len(columns) < len(header):
            raise FormatError(table, "line 1", "every column once", show(header))
        for row in reader:
            if row:
                where = f"line {reader.line_num}"
                yield where, _photo(table, where, row, columns)
    except csv.Error as error:
        raise FormatError(table, f"line {reader.line_num}", "comma-separated values", str(error)) from error


def _photo(table: Path, where: str, row: list[str], columns: dict[str, int]) -> Photo | FormatError:
    if len(row) != len(columns):
        return FormatError(table, where, f"{len(columns)} values", f"{len(row)}", "put quotes around text with commas")
    try:
        path = inside(table.parent, row[columns["filepath"]].strip(), table, f"{where}, column filepath")
    except FormatError as error:
        return error
    label = row[columns["class"]].strip()
    if not label:
        return FormatError(table, f"{where}, column class", "a text", "nothing")
    ranks: list[Any] = [row[columns[name]] if name in columns else "" for name in RANK_COLUMNS]
    taxon = clean(Taxon(*ranks))
    return Photo(path, label, taxon if any(taxon.path) else None)


def _listing(folder: Path) -> Iterator[tuple[str, Photo | FormatError]]:
    """Every image one folder deep as (name, photograph or what is wrong with it)."""
    try:
        classes = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
        files = [p for c in classes for p in sorted(c.iterdir()) if p.suffix.lower() in SUFFIXES and p.name[0] != "."]
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
