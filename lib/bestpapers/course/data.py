"""Downloads that are checked and can be resumed, and the folder where they are kept.

Nothing in the book needs a download to run. What is offered beside it (official weights, real scenes) is declared as a
`Download`, with its exact size and SHA-256, so that a file is either the one that the book means or is refused. A download
is only ever stored: nothing is unpacked, imported or unpickled here.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import shutil
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from .progress import progress

VARIABLE = "BESTPAPERS_CACHE"
CHUNK = 1 << 18  # bytes per read
TIMEOUT = 30.0  # seconds without a byte after which a connection counts as cut
ATTEMPTS = 3  # per mirror, in a row that get no farther than before by a chunk
PAUSE = 1.0  # seconds before the second attempt, doubled for each further one

# one or more plain names joined by "/": no absolute path, no drive, no "..", no hidden file, no trailing dot
_NAME = re.compile(r"[A-Za-z0-9_](?:[\w.-]*[\w-])?(?:/[A-Za-z0-9_](?:[\w.-]*[\w-])?)*", re.ASCII)


class DownloadError(RuntimeError):
    """A file could not be brought; the message says what was tried and what you can do."""


class _Failure(Exception):
    """This mirror cannot give the file; the message says why."""

    def __init__(self, message: str, unreachable: bool = False) -> None:
        super().__init__(message)
        self.unreachable = unreachable


class _Cut(_Failure):
    """The connection ended early; the bytes so far are kept and another attempt may go on from there."""


@dataclass(frozen=True)
class Download:
    """A file on the web.

    name     where it goes below the cache folder: plain names joined by "/", such as "splatting/garden.ply"
    urls     one or more mirrors (http or https), tried in order
    size     bytes
    sha256   64 hexadecimal digits
    licence  name of the licence, shown when the download starts
    source   a page where a reader finds out more

    Raises ValueError naming the field that is not as above.
    """

    name: str
    urls: tuple[str, ...]
    size: int
    sha256: str
    licence: str
    source: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise ValueError(
                f"name: {self.name!r} is not a plain path below the cache folder, such as splatting/garden.ply"
            )
        if isinstance(self.urls, str) or not self.urls:
            raise ValueError(f"{self.name}: urls must be a tuple of at least one address, got {self.urls!r}")
        for url in self.urls:
            parts = urllib.parse.urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError(f"{self.name}: urls: {url!r} is not an http or https address")
        if isinstance(self.size, bool) or not isinstance(self.size, int) or self.size < 1:
            raise ValueError(f"{self.name}: size must be a positive number of bytes, got {self.size!r}")
        if not re.fullmatch(r"[0-9a-f]{64}", str(self.sha256)):
            raise ValueError(f"{self.name}: sha256 must be 64 hexadecimal digits in small letters, got {self.sha256!r}")
        if not self.licence.strip():
            raise ValueError(f"{self.name}: licence is missing: name it, or say that there is none")


def cache_dir() -> Path:
    """Return the folder for downloads: BESTPAPERS_CACHE if it is set, else the platform's cache folder. It need not exist."""
    if chosen := os.environ.get(VARIABLE):
        return Path(chosen).expanduser().absolute()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "bestpapers"


def fetch(file: Download, folder: str | os.PathLike[str] | None = None) -> Path:
    """Return the path of `file` in `folder` (default: `cache_dir()`), downloading it if it is not there.

    A file that is there is checked against its SHA-256 and not downloaded again; if it does not fit it is replaced once the
    right one has arrived. Bytes go to a file that ends in `.part`, which becomes the file only when its hash is right.
    After Ctrl-C or a cut connection the next call goes on where that one stopped, from any mirror.

    Raises:
        DownloadError: no mirror could give the file, or the disk is too small.
    """
    from filelock import FileLock, Timeout

    target = Path(folder if folder is not None else cache_dir()) / file.name
    if _fits(target, file):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    # the hash in its name keeps the part of an older version of the file from being continued
    part = target.with_name(f"{target.name}.{file.sha256[:8]}.part")
    lock = FileLock(f"{part}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"{file.name}: another process is downloading it; waiting")
        lock.acquire()
    try:
        if not _fits(target, file):
            _check_disk(target.parent, file, part)
            _from_any_mirror(file, part, target)
            os.replace(part, target)
            _validator_path(part).unlink(missing_ok=True)
    finally:
        lock.release()
    return target


def _fits(path: Path, file: Download) -> bool:
    return path.is_file() and path.stat().st_size == file.size and _sha256(path) == file.sha256


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _validator_path(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _check_disk(folder: Path, file: Download, part: Path) -> None:
    need, free = file.size - _length(part), shutil.disk_usage(folder).free
    if need > free:
        raise DownloadError(
            f"{file.name}: needs {_amount(need)} more, but {folder} has {_amount(free)} free; "
            f"make room, or set {VARIABLE} to a folder on a larger disk"
        )


def _amount(size: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"


def _from_any_mirror(file: Download, part: Path, target: Path) -> None:
    """Leave the complete and checked file in `part`, or raise."""
    print(
        f"{file.name}: {_amount(file.size)}, licence: {file.licence}" + (f", see {file.source}" if file.source else "")
    )
    failures = []
    for url in file.urls:
        try:
            return _from_mirror(file, url, part)
        except _Failure as failure:
            failures.append((url, failure))
    offline = all(failure.unreachable for _, failure in failures)
    lines = [f"{file.name}: " + ("no mirror answers; is this machine offline?" if offline else "the download failed.")]
    lines += [f"  {url}: {failure}" for url, failure in failures]
    if kept := _length(part):
        lines.append(f"{_amount(kept)} are kept: call again to go on from there.")
    lines.append(f"You can also put the file there by hand: {target} ({file.size} bytes, SHA-256 {file.sha256}).")
    raise DownloadError("\n".join(lines))


def _from_mirror(file: Download, url: str, part: Path) -> None:
    attempts, anew, farthest = 0, False, _length(part)
    while True:
        before = _length(part)
        try:
            _transfer(file, url, part)
        except _Cut:
            attempts = 1 if _length(part) >= farthest + CHUNK else attempts + 1
            farthest = max(farthest, _length(part))
            if attempts >= ATTEMPTS:
                raise
            time.sleep(PAUSE * 2 ** (attempts - 1))
            continue
        found = _sha256(part)
        if found == file.sha256:
            return
        part.unlink()
        if before == 0 or anew:
            raise _Failure(f"wrong content: expected SHA-256 {file.sha256}, found {found}; the file was removed")
        anew = True  # the kept bytes may have been of another version: once more, from the start


def _transfer(file: Download, url: str, part: Path) -> None:
    """Bring the bytes that are missing in one request. Raises _Cut where another attempt makes sense, else _Failure."""
    if _length(part) > file.size:
        part.unlink()
    have = _length(part)
    if have == file.size:
        return
    headers = {"User-Agent": "bestpapers", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        # a server whose file has changed since then sends all of it; other mirrors know nothing of this validator
        if validator := _validator(part, url):
            headers["If-Range"] = validator
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as response:
            start = _start(response, have, file)
            _keep_validator(part, url, response)
            bar = progress(total=file.size, initial=start, desc=file.name, unit="B", unit_scale=True)
            with bar, part.open("ab" if start else "wb") as out:
                while chunk := _read(response):
                    out.write(chunk)
                    bar.update(len(chunk))
                    if out.tell() > file.size:
                        break
    except urllib.error.HTTPError as error:
        if error.code == 416:  # the server's file ends before ours does: ours is of no use
            part.unlink()
        retry = error.code in (408, 416, 425, 429) or error.code >= 500
        raise (_Cut if retry else _Failure)(f"HTTP {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise _Cut(f"cannot be reached ({error.reason})", unreachable=True) from error
    size = _length(part)
    if size > file.size:
        part.unlink()
        raise _Failure(f"wrong size: expected {file.size} bytes, the server sends more; the file was removed")
    if size < file.size:
        raise _Cut(f"the connection ended after {size} of {file.size} bytes")


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read1(CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _Cut(f"the connection was cut ({error})") from error


def _start(response: http.client.HTTPResponse, have: int, file: Download) -> int:
    """Return the byte at which this response starts, after checking that it is what was asked for."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise _Failure(f"sends the file packed ({response.headers['Content-Encoding']}), though asked not to")
    if response.status == 206:
        found = response.headers.get("Content-Range", "")
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", found)
        if not match or int(match[1]) != have:
            raise _Failure(f"asked for the bytes from {have} on, it answers with {found or 'no Content-Range'!r}")
        start, total = have, match[2]
    else:
        start, total = 0, response.headers.get("Content-Length", "*")
    if total not in ("*", str(file.size)):
        raise _Failure(f"wrong size: expected {file.size} bytes, the server offers {total}")
    return start


def _keep_validator(part: Path, url: str, response: http.client.HTTPResponse) -> None:
    """Note by what the server will know whether its file is still the same: a strong ETag, or the date."""
    tag = response.headers.get("ETag", "")
    value = tag if tag.startswith('"') else response.headers.get("Last-Modified", "")
    _validator_path(part).write_text(json.dumps({"url": url, "validator": value}), encoding="utf-8")


def _validator(part: Path, url: str) -> str:
    try:
        kept = json.loads(_validator_path(part).read_text(encoding="utf-8"))
        return str(kept["validator"]) if kept["url"] == url else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""  # lost or torn: the hash at the end still decides
