"""The claims ledger: what a paper claims, what we find, and of which kind our evidence is.

`check` shows one row under the cell that calls it and asserts its outcome. The row is stored in the notebook's outputs under
a MIME type of its own; these stored rows are the ledger. `collect` reads them back for the scorecard.
"""

from __future__ import annotations

import html
import json
import re
import sys
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any

from . import WINGS
from .display import required_text, show_bundle

MIME = "application/vnd.bestpapers.claim+json"
SCALES = {
    "identity": "an equation, checked to rounding",
    "toy": "a small run of ours: compared in order, sign and ratio with the paper, never in absolute figures",
    "full": "the paper's own data and size",
    "none": "cannot be tested here",
}
VERDICTS = {True: "holds", False: "does not hold", None: "not tested"}

_KEY = re.compile(rf"({'|'.join(WINGS)})\.C[1-9][0-9]*(\.[a-z0-9][a-z0-9_-]*)*")
_FIELDS = ("key", "where", "claim", "paper", "ours", "holds", "expect", "scale", "note")
_seen: dict[str, tuple[dict[str, Any], int | None]] = {}  # key -> its row, and which run of which cell wrote it


def check(
    key: str,
    where: str,
    claim: str,
    paper: str | None,
    ours: str | None,
    holds: bool | None,
    scale: str,
    note: str = "",
    expect: bool = True,
) -> None:
    """Show one claim of a paper beside our result as a row of the ledger, then assert that it came out as expected.

    key     wing, number and, where one claim takes several rows, a suffix: "splatting.C6", "splatting.C6.thin"
    where   where the paper says it: "Table 2", "section 4.1"
    claim   the claim in one sentence
    paper   the paper's figures as text, or None where it prints none
    ours    our figures as text, rounded for print; None for a claim that is not tested
    holds   what the run found. None: cannot be tested at our scale
    scale   kind of evidence: "identity", "toy", "full", or "none" for a claim that is not tested
    note    whatever a reader must know; required for a claim that is not tested or is known not to reproduce: say why
    expect  False for a claim that is known not to reproduce. The row then says so, and the cell raises once it does

    Running a cell again replaces its row.

    Raises:
        ValueError, TypeError: an argument is not as above, or `key` already names another row.
        AssertionError: `holds` is not as expected. The row is shown first.
    """
    row = _row(locals())
    _remember(row)
    show_bundle({MIME: row, "text/plain": _as_text(row), "text/html": _as_html(row)})
    if row["holds"] is not None and row["holds"] != expect:
        raise AssertionError(
            f"{key}: {'the claim does not hold' if expect else 'the claim holds'}, and the notebook expects "
            f"{'that it does' if expect else 'that it does not (expect=False)'}. {claim} Ours: {row['ours']}"
        )


def anchor(key: str) -> str:
    """Return the HTML id of the row of `key`: "splatting.C6.thin" -> "claim-splatting-C6-thin"."""
    return "claim-" + key.replace(".", "-")


def order(key: str) -> tuple[Any, ...]:
    """Sort key: wings in the book's order, then C1, C2, ..., C10, then suffixes, numbers in them by value."""
    wing, number, *suffix = key.split(".")
    words = re.findall(r"\d+|\D+", ".".join(suffix))
    return WINGS.index(wing), int(number[1:]), [(0, int(w), "") if w.isdigit() else (1, 0, w) for w in words]


def collect(notebooks: Iterable[str | PathLike[str]]) -> list[dict[str, Any]]:
    """Read the ledger back from the stored outputs of notebooks.

    Returns the rows in the order of their keys. Each holds the arguments of `check` and
        notebook  the path as given, with forward slashes
        cell      the id of the cell that wrote it
        anchor    the HTML id of the row on that notebook's page

    Raises:
        ValueError: a file is no notebook, a stored row is malformed, or two cells wrote the same key; names the place.
    """
    rows: dict[str, dict[str, Any]] = {}
    for notebook in notebooks:
        path = Path(notebook)
        for cell, stored in _stored_rows(path):
            place = f"{path.as_posix()}, cell {cell}"
            try:
                if set(stored) != set(_FIELDS):
                    raise ValueError(f"want the fields {', '.join(_FIELDS)}, got {', '.join(stored)}")
                row = _row(stored)
            except (TypeError, ValueError) as error:
                raise ValueError(f"{place}: a stored claim is malformed, run the notebook again: {error}") from error
            if other := rows.get(row["key"]):
                raise ValueError(
                    f"{place}: the key {row['key']!r} is already used in {other['notebook']}, cell {other['cell']}; "
                    "give one of the two a suffix"
                )
            rows[row["key"]] = row | {"notebook": path.as_posix(), "cell": cell, "anchor": anchor(row["key"])}
    return [rows[key] for key in sorted(rows, key=order)]


def _stored_rows(path: Path) -> Iterable[tuple[str, Any]]:
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        return [
            (str(cell.get("id", index)), output["data"][MIME])
            for index, cell in enumerate(cells)
            for output in cell.get("outputs", [])
            if MIME in output.get("data", {})
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path.as_posix()} is not a notebook in the nbformat 4 form: {error!r}") from error


def _row(given: dict[str, Any]) -> dict[str, Any]:
    """Validate the arguments of `check` and return them as JSON values."""
    row = {field: given[field] for field in _FIELDS}
    key = row["key"]
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise ValueError(
            f"key: {key!r} is not <wing>.C<number> with an optional suffix in small letters, such as splatting.C6.thin; "
            f"wings are {', '.join(WINGS)}"
        )
    if hasattr(row["holds"], "item"):  # a NumPy or torch truth value
        row["holds"] = row["holds"].item()
    for field, allowed in {"holds": (True, False, None), "expect": (True, False)}.items():
        if not any(row[field] is value for value in allowed):
            words = f"{field} must be one of {', '.join(map(str, allowed))}"
            raise TypeError(f"{key}: {words}; got {row[field]!r} ({type(row[field]).__name__})")
    untested = row["holds"] is None
    if row["scale"] not in SCALES:
        raise ValueError(f"{key}: scale: {row['scale']!r} is not one of {', '.join(SCALES)}")
    if untested != (row["scale"] == "none"):
        found = f"scale {row['scale']!r}, holds={row['holds']}"
        raise ValueError(f"{key}: scale 'none' and holds=None go together; got {found}")
    if untested and not row["expect"]:
        raise ValueError(f"{key}: expect=False is for a claim that was tested; this one has holds=None")
    if row["paper"] is not None:
        row["paper"] = required_text(row["paper"], f"{key}: paper", "give the paper's figures as text, or None")
    if untested and row["ours"] is not None:
        raise ValueError(f"{key}: ours must be None for a claim that is not tested, got {row['ours']!r}")
    if not untested:
        row["ours"] = required_text(row["ours"], f"{key}: ours", "give our figures as text, rounded for print")
    row["where"] = required_text(row["where"], f"{key}: where", "say where the paper says it, such as 'Table 2'")
    row["claim"] = required_text(row["claim"], f"{key}: claim", "say in one sentence what the paper claims")
    if untested or not row["expect"] or row["note"] != "":
        row["note"] = required_text(row["note"], f"{key}: note", "say why it is not tested or does not reproduce")
    return row


def _remember(row: dict[str, Any]) -> None:
    """Refuse a key that names another row of this process already. Running a cell again is no such case."""
    run = None
    if "IPython" in sys.modules and (shell := sys.modules["IPython"].get_ipython()):
        run = shell.execution_count
    before, at = _seen.get(row["key"], (row, run))
    same_claim = all(before[field] == row[field] for field in ("where", "claim", "paper", "scale"))
    if before != row and not (same_claim and at != run):
        raise ValueError(
            f"{row['key']}: this key already names another row ({before['where']}: {before['claim']} "
            f"Ours: {before['ours']}). Give the second a suffix, such as {row['key']}.b; "
            "if you renamed a claim, restart the kernel"
        )
    _seen[row["key"]] = (row, run)


def _verdict(row: dict[str, Any]) -> str:
    verdict = VERDICTS[row["holds"]]
    return verdict if row["holds"] is None else f"{verdict} ({row['scale']})"


def _parts(row: dict[str, Any]) -> list[tuple[str, str]]:
    parts = [("Paper", row["paper"]), ("Ours", row["ours"]), ("Note", row["note"])]
    return [(name, text) for name, text in parts if text]


def _as_text(row: dict[str, Any]) -> str:
    lines = [f"{row['key']} · {row['where']} · {_verdict(row)}", f"  {row['claim']}"]
    return "\n".join(lines + [f"  {name}: {text}" for name, text in _parts(row)])


def _as_html(row: dict[str, Any]) -> str:
    style = {True: "solid", False: "double", None: "dotted"}[row["holds"]]  # readable without colour and without css
    details = "".join(f"<div><b>{name}:</b> {html.escape(text)}</div>" for name, text in _parts(row))
    return (
        f'<div class="claim claim-{VERDICTS[row["holds"]].replace(" ", "-")}" id="{anchor(row["key"])}" '
        f'style="border-left:4px {style} currentColor;padding:0.2em 0 0.2em 0.8em;margin:0.4em 0">'
        f"<div><code>{row['key']}</code> · {html.escape(row['where'])} · "
        f'<b title="{html.escape(SCALES[row["scale"]])}">{_verdict(row)}</b></div>'
        f"<div>{html.escape(row['claim'])}</div>{details}</div>"
    )
