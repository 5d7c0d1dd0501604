"""The PLY container: a header that names elements and their properties, then numbers, binary or text.

Our own reader, though plyfile (which our tests hold it against) reads the same files, a fifth faster if binary and four times
slower if text: on a damaged one plyfile asks for 12 GB because a header says so, or looks through 50 MB for the end of
a header in 80 s, where this stops after 64 kB; and its licence is the GPL.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lab.files import FormatError, show
from .checks import check_finite, floats

MAX_HEADER = 1 << 16  # bytes
TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2", "uint16": "u2",
    "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip
_PLURAL = {"vertex": "vertices", "chunk": "chunks"}
ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": ""}


@dataclass(frozen=True, eq=False)
class Table:
    """An element of a .ply: types is {property: numpy type} in the order of the file, comments the header's, elements the
    names of all of them."""

    path: Path
    types: dict[str, str]
    rows: NDArray[Any]  # [N] with named fields from a binary file, [N, properties] float64 from text
    comments: tuple[str, ...]
    elements: tuple[str, ...] = ("vertex",)

    def columns(self, names: Sequence[str], dtype: Any = np.float32, finite: bool = True) -> NDArray[Any]:
        """Properties by name, [N, len(names)]; FormatError for what is not finite, unless `finite` is False."""
        out = np.empty((len(self.rows), len(names)), dtype)
        for k, name in enumerate(names):
            if name not in self.types:
                raise FormatError(self.path, f"property {name}", "a property of the vertices", some(self.types))
            with np.errstate(over="ignore", invalid="ignore"):  # what does not fit is found below
                out[:, k] = self.rows[name] if self.rows.dtype.names else self.rows[:, list(self.types).index(name)]
        if finite:
            check_finite(out, self.path, "vertex", names)
        return out


def some(names: Any) -> str:
    names = list(names)
    return "none" if not names else "only " + ", ".join(map(show, names[:8])) + (", ..." if len(names) > 8 else "")


@dataclass
class _Element:
    name: str
    count: int
    types: dict[str, str]
    lists: bool = False


def parse_table(data: bytes, path: Path, name: str = "vertex") -> Table:
    """An element of a .ply. What follows it is not read; what stands before it must have no lists."""
    form, elements, comments, start = _header(data, path)
    for element in elements:
        wanted, field = element.name == name, f"element {show(element.name)[1:-1]}"
        if element.lists and (wanted or form != "ascii"):
            expected = "numbers only" if wanted else f"{_PLURAL.get(name, name)} before any element with lists"
            raise FormatError(path, field, expected, "a list property")
        row = np.dtype([(name, ORDERS[form] + kind) for name, kind in element.types.items()])
        # in text a number takes at least a digit and a space or end of line, and a row at least the end of the line
        smallest = row.itemsize if form != "ascii" else max(1, 2 * len(element.types))
        room = (len(data) - start + (form == "ascii")) // smallest if smallest else element.count
        if element.count > room:
            raise FormatError(path, field, f"at most {room}, for which the file has room", str(element.count))
        if wanted:
            if element.count == 0 or not element.types:
                found = f"{element.count} {_PLURAL.get(name, name)}"
                raise FormatError(path, field, f"at least one {name} with properties", found)
            if form == "ascii":
                rows: NDArray[Any] = _text(data, start, element, path)
            else:
                rows = np.frombuffer(data, row, element.count, start)
            return Table(path, element.types, rows, comments, tuple(e.name for e in elements))
        start = _after(data, start, element.count) if form == "ascii" else start + element.count * row.itemsize
    raise FormatError(path, f"element {name}", "an element of this name", some(e.name for e in elements))


def _after(data: bytes, start: int, lines: int) -> int:
    """The position so many lines on."""
    for _ in range(lines):
        end = data.find(b"\n", start)
        if end < 0:
            return len(data)
        start = end + 1
    return start


def _text(data: bytes, start: int, element: _Element, path: Path) -> NDArray[np.float64]:
    n = len(element.types)
    rows = np.empty((element.count, n))
    for i in range(element.count):
        end = _after(data, start, 1)
        words = data[start:end].split(maxsplit=n)
        if len(words) != n:
            raise FormatError(
                path, f"vertex {i}", f"{n} numbers on a line", f"{len(words)}" + " or more" * (len(words) > n)
            )
        rows[i] = floats(words, path, f"vertex {i}")
        start = end
    return rows


def _header(data: bytes, path: Path) -> tuple[str, list[_Element], tuple[str, ...], int]:
    """Format, elements, comments, and where the body starts."""
    form, elements, comments = "", list[_Element](), list[str]()
    stream = io.BytesIO(data[:MAX_HEADER])
    for i, line in enumerate(stream, 1):
        where, text = f"header line {i}", line.decode("ascii", "replace").strip()
        words = text.split()
        if i == 1:
            if text != "ply":
                raise FormatError(path, where, '"ply"', show(text))
        elif not line.endswith(b"\n"):
            break
        elif not words:
            raise FormatError(path, where, "a keyword", "an empty line")
        elif words[0] in ("comment", "obj_info"):
            comments.append(text.removeprefix(words[0]).strip())
        elif words[0] == "format":
            if len(words) != 3 or words[1] not in ORDERS or words[2] != "1.0":
                raise FormatError(path, where, f"format 1.0 in one of {', '.join(ORDERS)}", show(text))
            form = words[1]
        elif words[0] == "element":
            if len(words) != 3 or not words[2].isdecimal() or len(words[2]) > 18:
                raise FormatError(path, where, "element <name> <count>", show(text))
            elements.append(_Element(words[1], int(words[2]), {}))
        elif words[0] == "property":
            _property(words, elements, path, where)
        elif words[0] == "end_header" and form:
            return form, elements, tuple(comments), stream.tell()
        else:
            raise FormatError(path, where, "comment, format, element, property or end_header", show(text))
    raise FormatError(path, "header", f"end_header within {MAX_HEADER} bytes", "none")


def _property(words: list[str], elements: list[_Element], path: Path, where: str) -> None:
    """Add a property line to the last element."""
    if not elements:
        raise FormatError(path, where, "an element first", "a property")
    element, name = elements[-1], words[-1]
    kinds = words[2:-1] if words[1:2] == ["list"] else words[1:-1]
    if len(words) != (5 if words[1:2] == ["list"] else 3) or not all(kind in TYPES for kind in kinds):
        raise FormatError(path, where, "property <type> <name> with a type of PLY", show(" ".join(words)))
    if name in element.types:
        raise FormatError(path, where, "every property once", f"{show(name)} twice")
    if words[1] == "list":
        element.lists = True
    else:
        element.types[name] = TYPES[kinds[0]]
