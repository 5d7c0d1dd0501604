"""Files: one kind of error, paths that stay inside, images in bounded memory, writing whole or not at all, the cache."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import re
import reprlib
import secrets
import sys
import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")  # of images, as Pillow names them
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")  # Pillow's names of 8 bits or fewer per channel
MAX_SIDE = 32_766  # pixels; OpenCV works on nothing larger
MAX_PIXELS = 89_478_485  # per image; from here on Pillow too suspects a decompression bomb
POINTER = b"version https://git-lfs.github.com/spec/"
MAX_KINDS = 50  # of which one message each is kept
AGAIN = "bring the file once more: it was damaged, or is of another kind"
# what steers a terminal, turns the direction of a text, or cannot be printed: in names of files, and in texts that they hold
STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 80


class FormatError(ValueError):
    """A file does not hold what its format promises.

    path, field, expected, found: the parts of the message "<file>: <field>: expected ..., found ...; <what to do>".
    """

    def __init__(self, path: str | Path, field: str, expected: str, found: str, advice: str = "") -> None:
        self.path, self.field, self.expected, self.found, self.advice = Path(path), field, expected, found, advice
        words = f"{path}: {field}: expected {expected}, found {found}" + (f"; {advice}" if advice else "")
        super().__init__(plain(words))

    def __reduce__(self) -> tuple[Any, ...]:  # so that it comes whole from another process
        return type(self), (self.path, self.field, self.expected, self.found, self.advice)


@dataclass
class Skips:
    """What a reader left out because it was damaged: how many, the first few messages, and the first one of each kind.

    Errors are of one kind that speak of the same part (the last of the field) of different lines or records.
    """

    count: int = 0
    messages: list[str] = field(default_factory=list)
    keep: int = 20
    kinds: Counter[str] = field(default_factory=Counter)

    def add(self, error: FormatError) -> None:
        kind = re.sub(r"\d+", "", error.field.rpartition(", ")[2])
        self.count += 1
        if len(self.messages) < self.keep or (kind not in self.kinds and len(self.kinds) < MAX_KINDS):
            self.messages.append(str(error))
        self.kinds[kind] += 1


def plain(words: str) -> str:
    """A text in a line that a terminal shows and does not obey: what would steer it is escaped."""
    return STEERING.sub(lambda found: ascii(found[0])[1:-1], words)


def show(value: Any) -> str:
    """A value from a file, short enough for a message."""
    return "nothing" if value is None else _REPR.repr(value)


def check_file(path: Path, expected: str = "a file") -> None:
    """FormatError unless it is a regular file that can be read, and not what a clone without Git LFS leaves in its place."""
    try:
        if not path.is_file():
            found, advice = ("a folder", "give a file in it") if path.is_dir() else ("nothing of that name", "")
            raise FormatError(path, "file", expected, found, advice)
        with path.open("rb") as file:
            head = file.read(200)
    except OSError as error:
        raise FormatError(path, "file", "a file that can be read", error.strerror or str(error)) from error
    if head.startswith(POINTER):
        size = head.partition(b"\nsize ")[2].split(b"\n")[0][:20].decode("ascii", "replace")
        found = f"a Git LFS pointer, a few lines of text in the place of {size or 'some'} bytes"
        advice = "run `git lfs install` and `git lfs pull` where you cloned, or download the file itself from its page"
        raise FormatError(path, "file", "the data", found, advice)


def read_file(path: Path, limit: int | None = None) -> bytes:
    """The bytes of a file, see `check_file`, if there are at most `limit`."""
    check_file(path)
    size = path.stat().st_size
    if limit is not None and size > limit:
        raise FormatError(path, "file", f"at most {limit} bytes", f"{size} bytes")
    return path.read_bytes()


def parse_json(data: bytes, path: Path, kind: type | tuple[type, ...] = dict) -> Any:
    """A JSON object (kind: dict), list, or either of them."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:  # bad syntax, bad encoding, numbers of thousands of digits; nesting
        raise FormatError(path, "file", "JSON", f"something else ({str(error)[:100]})") from error
    if not isinstance(value, kind):
        names: dict[type, str] = {list: "list", dict: "object"}
        kinds = " or ".join(names[k] for k in (kind if isinstance(kind, tuple) else (kind,)))
        raise FormatError(path, "file", f"a JSON {kinds}", show(value))
    return value


def inside(folder: Path, name: Any, path: Path, field: str) -> Path:
    """The file that a path found in `path` means, if it exists and lies in `folder` once all links are followed.

    Where a letter with an accent can be written as one character or two, both are tried: macOS writes names otherwise than
    tables.
    """
    if not isinstance(name, str) or not name:
        raise FormatError(path, field, "a file name", show(name))
    try:
        root = folder.resolve()
        files = [
            (folder / form).resolve() for form in (name, *(unicodedata.normalize(f, name) for f in ("NFC", "NFD")))
        ]
        file = next((file for file in files if file.is_file()), files[0])
        exists = file.is_file()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links; a name too long, not encodable, with a NUL
        raise FormatError(path, field, "a usable path", show(name)) from error
    if not file.is_relative_to(root):
        raise FormatError(path, field, f"a path inside {folder}", f"{name!r:.200}", "copy the file there")
    if not exists:
        raise FormatError(path, field, f"a file in {folder}", f"{name!r:.200}, which is not there")
    return file


# -------------------------------------------------------------------------------------------------------------- images


class BoundedFile(io.FileIO):
    """A file that is never asked for more than it holds.

    Python makes room for as many bytes as `read` asks for, and a damaged PNG can ask for 2 GB.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(0, os.fstat(self.fileno()).st_size - self.tell())
        return super().read(left if size is None or size < 0 else min(size, left)) or b""


@contextlib.contextmanager
def opened_image(
    path: Path,
    data: bytes | None = None,
    most: int = MAX_PIXELS,
    formats: tuple[str, ...] = FORMATS,
    modes: tuple[str, ...] = MODES,
) -> Iterator[Any]:
    """An image (Pillow's) of at most `most` pixels, its header checked and nothing decoded. Whatever Pillow raises inside
    becomes a FormatError; what it only warns of, such as a damaged note of the camera, does no harm to the pixels.

    data     the image file itself, where it lies inside another file; `path` then only names it
    formats  that are read, and modes, as Pillow names them
    """
    from PIL import Image, UnidentifiedImageError

    if data is None:
        check_file(path)
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            BoundedFile(path) if data is None else io.BytesIO(data) as file,
            Image.open(file, formats=formats) as image,
        ):
            width, height = image.size
            if max(width, height) > MAX_SIDE or width * height > most:
                expected = f"at most {MAX_SIDE} pixels a side and {most:,} in all"
                raise FormatError(path, "size", expected, f"{width} x {height}", "shrink the image")
            if image.mode not in modes:
                found = f"Pillow's mode {image.mode}"
                raise FormatError(path, "image", "8 bits per channel", found, "save it with 8 bits a channel")
            yield image
    except FormatError:
        raise
    except Image.DecompressionBombError as error:
        raise FormatError(path, "size", f"at most {most:,} pixels", "far more", "shrink the image") from error
    except Exception as error:  # damaged files make Pillow's decoders raise nearly anything
        found = "something else" if isinstance(error, UnidentifiedImageError) else f"damage ({str(error)[:200]})"
        raise FormatError(path, "image", f"a whole image ({', '.join(formats)})", found) from error


# ------------------------------------------------------------------------------------------------------------- writing


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; it becomes `path` when the block ends well, and is removed when it does not.

    No two writers get the same one, so that of several at once the last wins, with a file that is all its own. What a link
    leads to is replaced, not the link; a file that may not be written to stays.
    """
    path = path.resolve() if path.is_symlink() else path
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, "the file is write-protected", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name[:60]}.{secrets.token_hex(8)}.part")
    try:
        part.touch(exist_ok=False)
        mode = (path if path.exists() else part).stat().st_mode  # as before, or of new files here
        part.unlink()
        yield part
        part.chmod(mode)  # safetensors lets nobody else read its files
        os.replace(part, path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def write_file(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; makes its folder."""
    with atomic_write(path) as part:
        part.write_bytes(data)


# --------------------------------------------------------------------------------------------------- downloads, the cache


class DownloadError(OSError):
    """A file could not be brought; the message says what was tried and what you can do."""


def cache_dir() -> Path:
    """The folder for what is kept between runs: BESTPAPERS_CACHE if it is set, else the platform's. It need not exist."""
    if chosen := os.environ.get("BESTPAPERS_CACHE"):
        return Path(chosen).expanduser().absolute()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "bestpapers"
