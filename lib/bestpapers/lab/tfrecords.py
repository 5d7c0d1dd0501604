"""TFRecord files and the messages in them (tf.train.Example), in little code and without TensorFlow.

A record is its length (8 bytes), the check sum of these, the data, and its check sum. Check sums are CRC32C, masked. An Example
names features, each a list of byte strings, of floats or of whole numbers; protocol buffers say how that is written.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from google_crc32c import value as crc32c

from .files import AGAIN, BoundedFile, FormatError, Skips, atomic_write, check_file
from .places import Place

MAX_RECORD = 64 << 20  # bytes; RichHF-18K's have about 10,000
MAX_VALUES = 100_000  # in one Example, all its parts counted


def masked(data: bytes) -> int:
    """The check sum as the files have it: CRC32C turned by 15 bits, plus a constant."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def read_records(path: Path, skips: Skips | None = None) -> Iterator[tuple[Place, bytes]]:
    """(where it stands, data) of each record, one in memory at a time.

    With `skips`, a record whose data is damaged is counted and passed over; damage to a length, after which nothing can be
    found any more, is counted and ends the file. Else FormatError.
    """
    check_file(path)
    with BoundedFile(path) as file:
        size = path.stat().st_size
        for number in itertools.count(1):
            if (start := file.tell()) == size:
                return
            here, whole = Place(path, f"record {number} (byte {start:,})"), False
            try:
                data = file.read(_length(here, file.read(12), size - start))
                whole = True
                if masked(data) != int.from_bytes(file.read(4), "little"):
                    raise (here / "data").wrong("data with its check sum (CRC32C)", "another sum", AGAIN)
            except FormatError as error:
                if skips is None:
                    raise
                skips.add(error)
                if not whole:
                    return
            else:
                yield here, data


def _length(here: Place, header: bytes, left: int) -> int:
    """The length that a record's first 12 bytes say, if `left` bytes are enough for the record."""
    if len(header) < 12:
        raise here.wrong("12 bytes of length and check sum", f"{len(header)}: the file is cut", AGAIN)
    length, crc = struct.unpack("<QI", header)
    if masked(header[:8]) != crc:
        found = "gzip's mark: unpack it" if header.startswith(b"\x1f\x8b") else f"another sum (begins {header!r})"
        raise (here / "length").wrong("a length with its check sum (CRC32C)", found, AGAIN)
    if length > MAX_RECORD:
        raise (here / "length").wrong(f"at most {MAX_RECORD:,} bytes", f"{length:,}")
    if length + 16 > left:
        raise here.wrong(f"{length + 16:,} bytes", f"{left:,}: the file is cut", AGAIN)
    return int(length)


def write_records(path: Path, records: Iterable[bytes]) -> int:
    """Write records as they come, the file whole or not at all. Returns how many there were."""
    count = 0
    with atomic_write(path) as part, part.open("wb") as file:
        for data in records:
            length = struct.pack("<Q", len(data))
            file.write(length + struct.pack("<I", masked(length)) + data + struct.pack("<I", masked(data)))
            count += 1
    return count


# ------------------------------------------------------------------------------------------------------------- Examples


def parse_example(data: bytes, here: Place) -> dict[str, list[Any]]:
    """{feature: its values, bytes or float or int}. FormatError if the data is no Example; what is not known is passed over."""
    left = MAX_VALUES

    def wrong(found: str) -> FormatError:
        return here.wrong("a tf.train.Example", found)

    def count(values: int) -> None:
        nonlocal left
        if (left := left - values) < 0:
            raise wrong(f"more than {MAX_VALUES:,} values")

    def varint(view: memoryview, at: int) -> tuple[int, int]:
        value = 0
        for i, byte in enumerate(view[at : at + 10]):
            value |= (byte & 127) << 7 * i
            if byte < 128:
                return value & (1 << 64) - 1, at + i + 1
        raise wrong("a number without an end")

    def fields(view: memoryview) -> Iterator[tuple[int, Any]]:
        """(number, value) of a message: an int, or the bytes of what has a length."""
        at = 0
        while at < len(view):
            count(1)
            key, at = varint(view, at)
            kind, size = key & 7, 0
            if kind == 0:
                value, at = varint(view, at)
                yield key >> 3, value
                continue
            if kind == 2:
                size, at = varint(view, at)
            elif kind in (1, 5):
                size = 8 if kind == 1 else 4
            else:
                raise wrong(f"a field of the unknown kind {kind}")
            if size > len(view) - at:
                raise wrong("a field that ends after its message")
            yield key >> 3, view[at : at + size]
            at += size

    def parts(view: memoryview, number: int) -> Iterator[memoryview]:
        return (value for n, value in fields(view) if n == number and isinstance(value, memoryview))

    def whole(value: int | memoryview) -> Iterator[int]:
        """One number, or many packed; two's complement."""
        at = 0
        while isinstance(value, memoryview) and at < len(value):
            count(1)
            number, at = varint(value, at)
            yield number - (number >> 63 << 64)
        if isinstance(value, int):
            yield value - (value >> 63 << 64)

    def values(feature: memoryview) -> list[Any]:
        found = list[Any]()
        for number, part in fields(feature):  # of several lists the last one holds
            if number == 1 and isinstance(part, memoryview):
                found = [bytes(value) for value in parts(part, 1)]
            elif number == 2 and isinstance(part, memoryview):
                floats = b"".join(parts(part, 1))  # one to a field, or many packed
                if len(floats) % 4:
                    raise wrong("floats of another size than 4 bytes")
                count(len(floats) // 4)
                found = np.frombuffer(floats, "<f4").tolist()
            elif number == 3 and isinstance(part, memoryview):
                found = [item for n, value in fields(part) if n == 1 for item in whole(value)]
        return found

    out = dict[str, list[Any]]()
    for features in parts(memoryview(data), 1):
        for entry in parts(features, 1):
            name = bytes(next(parts(entry, 1), b"")).decode("utf-8", "backslashreplace")
            out[name] = values(([*parts(entry, 2)] or [memoryview(b"")])[-1])  # the last one holds
    return out


def example_bytes(features: Mapping[str, bytes | float]) -> bytes:
    """An Example of one value to a feature: a byte string, or a float (kept in 32 bits)."""
    entries = b""
    for name, value in features.items():
        number, data = (1, value) if isinstance(value, bytes) else (2, struct.pack("<f", value))
        entries += _field(1, _field(1, name.encode()) + _field(2, _field(number, _field(1, data))))
    return _field(1, entries)


def _field(number: int, data: bytes) -> bytes:
    """A field with a length, as protocol buffers write it."""
    out, size = bytearray([number << 3 | 2]), len(data)
    while size > 127:
        out.append(size & 127 | 128)
        size >>= 7
    return bytes(out) + bytes([size]) + data
