"""One HTML file with a picture to pull in it: no server, no network, nothing but the file, to be sent to a friend."""

from __future__ import annotations

from pathlib import Path

from ...lab.files import FormatError, write_file
from ..widgets import Pluck

ENDINGS = (".html", ".htm")


def check_page(path: Path) -> None:
    """FormatError where `write_page` would not write to this name."""
    if path.suffix.lower() not in ENDINGS:
        raise FormatError(path, "name", f"an ending {' or '.join(ENDINGS)}", path.suffix or "none", "browsers go by it")


def write_page(path: str | Path, pluck: Pluck, title: str) -> None:
    """Write the widget as a page that a browser opens from the file; whole or not at all.

    The file holds picture, motion and program. Its content policy lets it load nothing else, from anywhere, whatever is in it.
    Where no script runs, the picture stands there with its description.

    path   ends with .html or .htm; the folder is made
    title  the heading

    Raises:
        FormatError: another ending.
        ValueError: no title.
    """
    path = Path(path)
    check_page(path)
    write_file(path, pluck.page(title).encode("utf-8"))
