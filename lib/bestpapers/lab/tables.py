"""Tables of any kind, .csv, .json or .jsonl: their rows, the values in them, and where in the file each stands."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .files import BoundedFile, check_file, parse_json, read_file, show
from .places import Place

ENDINGS = (".csv", ".jsonl", ".json")
MAX_TABLE = 64 << 20  # bytes of a .csv or .json, and of a line of .jsonl
MAX_TEXT = 10_000  # characters of a value
SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}  # of columns of a .csv: spreadsheets go by the country


def read_rows(path: Path, columns: tuple[str, str]) -> Iterator[tuple[Place, dict[str, Any]]]:
    """(where it stands, {column: value}) of each row; of .jsonl a line in memory at a time.

    Capital letters and spaces in names of columns are read as small ones and "_". A .csv, as any other ending is read, says
    its columns in line 1, and by what they are separated, see `SEPARATORS`; a .json is a list of objects, or an object of
    them by name, or one of values by name. columns: what then the name and the value are columns of.
    """
    ending = path.suffix.lower()
    if ending == ".jsonl":
        rows = _lines(path)
    else:
        data = read_file(path, MAX_TABLE)
        rows = _json(path, data, *columns) if ending == ".json" else _csv(path, data)
    for where, row in rows:
        here = Place(path, where)
        here.need(isinstance(row, dict), "a JSON object", row)
        yield here, {_column(name): value for name, value in row.items()}


def _column(name: str) -> str:
    return name.strip().lower().replace(" ", "_")


def _json(path: Path, data: bytes, key: str, content: str) -> Iterator[tuple[str, Any]]:
    table = parse_json(data, path, (list, dict))
    if isinstance(table, dict):
        rows = ((name, row if isinstance(row, dict) else {content: row}) for name, row in table.items())
        table = [{key: name} | row for name, row in rows]
    return ((f"row {number}", row) for number, row in enumerate(table, 1))


def _lines(path: Path) -> Iterator[tuple[str, Any]]:
    check_file(path)
    with io.BufferedReader(BoundedFile(path)) as file:
        for number, line in enumerate(iter(lambda: file.readline(MAX_TABLE + 1), b""), 1):
            here = Place(path, f"line {number}")
            if len(line) > MAX_TABLE:
                raise here.wrong(f"at most {MAX_TABLE:,} bytes", "more")
            if line.strip():
                with here.around():
                    row = parse_json(line, path)
                yield here.where, row


def _csv(path: Path, data: bytes) -> Iterator[tuple[str, dict[str, str]]]:
    text, here = utf8(path, data, "save the table as UTF-8"), Place(path, "line 1")
    mark = separator(text, here)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True)
    try:
        names = next(rows, [])
        once = len({_column(name) for name in names}) == len(names) > 0
        here.need(once, "names of columns, each once", names)
        for row in rows:
            here = Place(path, f"line {rows.line_num}")
            if row and len(row) != len(names):
                advice = f"put quotes around text that holds a {SEPARATORS[mark]}"
                raise here.wrong(f"{len(names)} values", f"{len(row)}", advice)
            if row:
                yield here.where, dict(zip(names, row))
    except csv.Error as error:
        expected = f"{SEPARATORS[mark]}-separated values"
        advice = (
            "put what is that long, a map of numbers for instance, into a file" if "field limit" in str(error) else ""
        )
        raise Place(path, f"line {rows.line_num}").wrong(expected, str(error)[:100], advice) from error


def separator(text: str, here: Place) -> str:
    """What separates the columns of a .csv, one of `SEPARATORS`, as its first line has it."""
    header = re.sub('"[^"]*"', "", re.split("[\r\n]", text, maxsplit=1)[0])
    mark, *others = [mark for mark in SEPARATORS if mark in header] or [","]
    which = f"one separator of columns ({', '.join(SEPARATORS.values())})"
    here.need(not others, which, header, "put quotes around names of columns")
    return mark


def csv_text(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Rows as a .csv."""
    file = io.StringIO()
    table = csv.DictWriter(file, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return file.getvalue()


# ------------------------------------------------------------------------------------------------------------- values


def utf8(path: Path, data: bytes, advice: str = "") -> str:
    """A file's text."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Place(path).wrong("text in UTF-8", str(error)[:100], advice) from error


def text_of(value: Any, here: Place) -> str:
    """A text that can be kept: a string of sensible length, without half characters."""
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        found = f"one of {len(value):,}" if isinstance(value, str) else show(value)
        raise here.wrong(f"a text of at most {MAX_TEXT:,} characters", found)
    here.need(not any("\ud800" <= letter <= "\udfff" for letter in value), "a text without half characters", value)
    return value


def number_of(value: Any, here: Place) -> float:
    """A finite number, or a text that is one."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    advice = "write decimals with a point" if isinstance(value, str) and "," in value else ""
    here.need(math.isfinite(number), "a number", value, advice)
    return number
