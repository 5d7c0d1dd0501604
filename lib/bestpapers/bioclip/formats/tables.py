"""Tables of names, as readers and their spreadsheets write them."""

from __future__ import annotations

import csv
import io
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ...lab.files import read_file
from ...lab.places import Place
from ...lab.tables import MAX_TABLE, SEPARATORS, read_rows, separator, text_of, utf8


def read_table(path: str | os.PathLike[str], columns: Sequence[str] = ()) -> list[tuple[Place, dict[str, str]]]:
    """(where it stands, {column: text}) of the rows of a table, see `lab.tables`; at least one. Names of columns are small.

    columns  one of which a header has: where line 1 of a .csv has none of them, it is a row too, and they are its columns
    """
    path = Path(path)
    named = path.suffix.lower() in (".json", ".jsonl")
    found = read_rows(path, ("label", "bin")) if named else _csv(path, columns)
    rows = [
        (here, {name: text_of(value, here / f"column {name}").strip() for name, value in row.items()})
        for here, row in found
    ]
    Place(path, "rows").need(rows, "at least one below the header", None)
    return rows


def _csv(path: Path, columns: Sequence[str]) -> Iterator[tuple[Place, dict[str, Any]]]:
    """As `lab.tables` reads it, but for tables without a header, and for Excel's line "sep=;" above one."""
    text = utf8(path, read_file(path, MAX_TABLE), "save the table as UTF-8")
    excel = re.match('"?sep=([,;\t])"?[\r\n]+', text, re.IGNORECASE)
    mark = excel[1] if excel else separator(text, Place(path, "line 1"))
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True)
    try:
        names = next(lines, [])
        if excel:
            names = next(lines, [])
        first = [name.strip().lower().replace(" ", "_") for name in names]
        here = Place(path, f"line {max(lines.line_num, 1)}")
        if names and columns and not set(columns) & set(first):
            what = f"line 1 is taken for a row, and no header, which has a column {' or '.join(columns)}"
            warnings.warn(f"{path}: {what}", stacklevel=4)
            first = [*columns, *map(str, range(len(columns), len(names)))][: len(names)]
            yield here, dict(zip(first, names))
        here.need(len(set(first)) == len(first) > 0, "names of columns, each once", names)
        for row in lines:
            here = Place(path, f"line {lines.line_num}")
            if row and len(row) != len(first):
                advice = f"put quotes around text that holds a {SEPARATORS[mark]}"
                raise here.wrong(f"{len(first)} values", f"{len(row)}", advice)
            if row:
                yield here, dict(zip(first, row))
    except csv.Error as error:
        raise Place(path, f"line {lines.line_num}").wrong(
            f"{SEPARATORS[mark]}-separated values", str(error)[:100]
        ) from error
