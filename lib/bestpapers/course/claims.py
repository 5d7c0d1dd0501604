"""The claims ledger: what a paper claims, what we find, and of which kind our evidence is.

What a paper claims stands once, as data, in `lib/bestpapers/<wing>/claims.toml`: a table for each row of the scorecard, in the
paper's order.

    ["splatting.C6.natural"]
    where = "Table 6"                 # place in the paper
    claim = "What the paper claims, in one sentence."
    paper = "27.37 falls to 26.93"    # the paper's figures as text; left out where it prints none
    scale = "toy"                     # kind of evidence, see SCALES; "none": cannot be tested here
    rule = "> 0"                      # what an interval must satisfy: "> x", "< x" or "within x" (between -x and x)
    expect = "undecided"              # the known outcome, by default "holds"
    note = "Why it is so, or what a reader must know."

`check` takes our result, decides the outcome, shows one row under the cell that calls it, and asserts that the outcome is the
known one. The row is stored in the notebook's outputs under a MIME type of its own; these stored rows are the ledger.
`collect` reads them back for the scorecard.
"""

from __future__ import annotations

import functools
import html
import json
import math
import re
import sys
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from . import WINGS
from .display import required_text, show_bundle

MIME = "application/vnd.bestpapers.claim+json"
PACKAGE = Path(__file__).parents[1]
SCALES = {
    "identity": "an equation, checked to rounding",
    "toy": "a small run of ours: compared in order, sign and ratio with the paper, never in absolute figures",
    "full": "the paper's own data and size",
    "none": "cannot be tested here",
}
OUTCOMES = {
    "holds": "the evidence is for it",
    "does not hold": "the evidence is against it",
    "undecided": "the interval contains the threshold: more or better evidence could decide it either way",
    "not tested": "our data and machines cannot test it",
}
Interval = tuple[float, float, float]  # mean, lower and upper end

_KEY = re.compile(rf"({'|'.join(WINGS)})\.C[1-9][0-9]*(\.[a-z0-9][a-z0-9_-]*)*")
_NUMBER = r"([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)"
_RULE = re.compile(rf"(>|<|within) {_NUMBER}")
_seen: dict[str, tuple[dict[str, Any], int | None]] = {}  # key -> its row, and which run of which cell wrote it


@dataclass(frozen=True)
class Claim:
    """One table of a claims.toml, see above. An absent `paper` or `rule` is None."""

    key: str
    where: str
    claim: str
    scale: str
    paper: str | None = None
    rule: str | None = None
    expect: str = "holds"
    note: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.key, str) or not _KEY.fullmatch(self.key):
            raise ValueError(
                f"key: {self.key!r} is not <wing>.C<number> with an optional suffix in small letters, such as "
                f"splatting.C6.thin; wings are {', '.join(WINGS)}"
            )
        required_text(self.where, f"{self.key}: where", "say where the paper says it, such as 'Table 2'")
        required_text(self.claim, f"{self.key}: claim", "say in one sentence what the paper claims")
        if self.paper is not None:
            required_text(self.paper, f"{self.key}: paper", "give the paper's figures as text, or leave the line out")
        for field, allowed in (("scale", SCALES), ("expect", OUTCOMES)):
            if getattr(self, field) not in allowed:
                raise ValueError(f"{self.key}: {field}: {getattr(self, field)!r} is not one of {', '.join(allowed)}")
        if (self.scale == "none") != (self.expect == "not tested"):
            raise ValueError(f'{self.key}: scale = "none" and the outcome "not tested" go together')
        rule = _RULE.fullmatch(self.rule) if isinstance(self.rule, str) else None
        if self.rule is not None and (rule is None or (rule[1] == "within" and float(rule[2]) <= 0)):
            raise ValueError(
                f'{self.key}: rule: {self.rule!r} is not "> x", "< x" or "within x" with a number x (within: above 0)'
            )
        if self.expect == "undecided" and self.rule is None:
            raise ValueError(
                f'{self.key}: only an interval against a rule can be undecided: add one, such as rule = "> 0"'
            )
        if self.expect != "holds" or self.note != "":
            required_text(self.note, f"{self.key}: note", "say why it is not tested, undecided or does not reproduce")


@functools.cache
def load(wing: str) -> dict[str, Claim]:
    """The claims of a wing by key, in the paper's order.

    Raises:
        ValueError: the file is missing, no TOML, or a table is not as the module describes; names file, key and field.
    """
    path = PACKAGE / wing / "claims.toml"
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise ValueError(f"{path}: the wing {wing!r} has no claims.toml") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: no TOML: {error}") from error
    claims = {}
    for key, fields in tables.items():
        try:
            if not isinstance(fields, dict):
                raise TypeError(f'{key}: want a table, ["{wing}.C1"]')
            if fields.get("scale") == "none":
                fields.setdefault("expect", "not tested")
            claims[key] = Claim(key, **fields)
            if not key.startswith(f"{wing}."):
                raise ValueError(f"key: {key!r} does not begin with {wing!r}")
        except (TypeError, ValueError) as error:  # TypeError: an unknown field, or one that is missing
            raise ValueError(f"{path}: {key}: {error}") from error
    if list(claims) != sorted(claims, key=order):
        raise ValueError(f"{path}: not in the order of the keys: {', '.join(sorted(claims, key=order))}")
    return claims


def judge(rule: str, intervals: Sequence[Interval]) -> str:
    """The outcome of intervals against a rule: "holds", "does not hold" or "undecided".

    An interval satisfies the rule if all of it does, violates it if none of it does, and is undecided if it contains a
    threshold. Of several conditions all must be satisfied: one violation decides against, else an open one leaves it open.
    """
    found = _RULE.fullmatch(rule)
    if not found or not intervals:
        raise ValueError(
            f"rule {rule!r} with {len(intervals)} intervals: need '> x', '< x' or 'within x', and an interval"
        )
    kind, x = found[1], float(found[2])
    verdicts = set()
    for interval in intervals:
        mean, low, high = (float(value) for value in interval)
        if not low <= mean <= high or math.isinf(low) or math.isinf(high):  # NaN fails the comparison
            raise ValueError(f"an interval is (mean, lower end, upper end), finite and in order; got {interval}")
        if kind == "within":
            satisfied, violated = -x < low and high < x, low > x or high < -x
        else:
            satisfied, violated = (low > x, high < x) if kind == ">" else (high < x, low > x)
        verdicts.add("holds" if satisfied else "does not hold" if violated else "undecided")
    return next(v for v in ("does not hold", "undecided", "holds") if v in verdicts)


def check(
    key: str,
    *,
    ours: str | None = None,
    holds: bool | None = None,
    interval: Interval | Sequence[Interval] | None = None,
    note: str = "",
) -> None:
    """Show one claim of a paper beside our result as a row of the ledger, then assert that it came out as expected.

    key       a claim of the wing's claims.toml: "splatting.C6.thin"
    ours      our figures as text, rounded for print
    interval  for a claim with a rule: (mean, lower, upper end) of what the rule speaks of, or several that must all satisfy it
    holds     for a claim without a rule, whose evidence is no matter of chance: whether it holds
    note      a sentence with figures of this run, added to the claim's own note

    A claim of scale "none" takes none of them. Running a cell again replaces its row.

    Raises:
        ValueError, TypeError: there is no such claim, an argument is not as above, or `key` has a row already.
        AssertionError: the outcome is not the known one (`expect`). The row is shown first.
    """
    claim = load(key.split(".")[0] if isinstance(key, str) and key.split(".")[0] in WINGS else WINGS[0]).get(key)
    if claim is None:
        raise ValueError(f"{key!r} is no claim of its wing's claims.toml; add it there, or mind the spelling")
    outcome = _outcome(claim, ours, holds, interval)
    if claim.scale != "none":
        ours = required_text(ours, f"{key}: ours", "give our figures as text, rounded for print")
    row = asdict(claim) | dict(
        ours=ours, outcome=outcome, note=" ".join(filter(None, (claim.note.strip(), note.strip())))
    )
    _remember(row)
    show_bundle({MIME: row, "text/plain": _as_text(row), "text/html": _as_html(row)})
    if outcome != claim.expect:
        raise AssertionError(
            f"{key}: the outcome is {outcome!r}, and claims.toml expects {claim.expect!r}. {claim.claim} Ours: {row['ours']}"
        )


def _outcome(claim: Claim, ours: str | None, holds: Any, interval: Any) -> str:
    """Decide, after refusing arguments that do not go with the claim."""
    if hasattr(holds, "item"):  # a NumPy or torch truth value
        holds = holds.item()
    given = [name for name, value in (("ours", ours), ("holds", holds), ("interval", interval)) if value is not None]
    want = ["ours", "holds" if claim.rule is None else "interval"] if claim.scale != "none" else []
    if given != want:
        reason = f"scale {claim.scale!r}, " + (f"rule {claim.rule!r}" if claim.rule else "without a rule")
        wanted, found = (" and ".join(names) for names in (want or ["no result"], given or ["nothing"]))
        raise ValueError(f"{claim.key}: this claim ({reason}) takes {wanted}, got {found}")
    if claim.scale == "none":
        return "not tested"
    if claim.rule is None:
        if holds is not True and holds is not False:
            raise TypeError(f"{claim.key}: holds must be True or False; got {holds!r} ({type(holds).__name__})")
        return "holds" if holds else "does not hold"
    try:
        several = interval if isinstance(interval[0], Sequence) else [interval]
        return judge(claim.rule, several)
    except (TypeError, ValueError, LookupError) as error:
        raise ValueError(f"{claim.key}: {error}") from error


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

    Returns the rows in the order of their keys. Each holds the fields of `Claim`, and
        ours, outcome  our figures, and a word of OUTCOMES
        notebook       the path as given, with forward slashes
        cell           the id of the cell that wrote it
        anchor         the HTML id of the row on that notebook's page

    Raises:
        ValueError: a file is no notebook, a stored row is malformed, or two cells wrote the same key; names the place.
    """
    rows: dict[str, dict[str, Any]] = {}
    for notebook in notebooks:
        path = Path(notebook)
        for cell, row in _stored_rows(path):
            place = f"{path.as_posix()}, cell {cell}"
            try:
                ours, outcome = row["ours"], row["outcome"]
                Claim(**{k: v for k, v in row.items() if k not in ("ours", "outcome")})
                if outcome not in OUTCOMES or not isinstance(ours, str | None):
                    raise ValueError(f"outcome {outcome!r}, ours {ours!r}")
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise ValueError(f"{place}: a stored claim is malformed, run the notebook again: {error!r}") from error
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


def _remember(row: dict[str, Any]) -> None:
    """Refuse a second result for a key. Running a cell again is no such case."""
    run = None
    if "IPython" in sys.modules and (shell := sys.modules["IPython"].get_ipython()):
        run = shell.execution_count
    before, at = _seen.get(row["key"], (row, run))
    if before != row and at == run:
        raise ValueError(
            f"{row['key']}: this key already has a row (ours: {before['ours']}). Give the second result a table of its own in "
            f"claims.toml, such as {row['key']}.b; if it is the same one, restart the kernel"
        )
    _seen[row["key"]] = (row, run)


def _verdict(row: dict[str, Any]) -> str:
    return row["outcome"] if row["outcome"] == "not tested" else f"{row['outcome']} ({row['scale']})"


def _parts(row: dict[str, Any]) -> list[tuple[str, str]]:
    rule = f"the interval lies {row['rule']}" if row["rule"] else None
    parts = [("Paper", row["paper"]), ("Ours", row["ours"]), ("Rule", rule), ("Note", row["note"])]
    return [(name, text) for name, text in parts if text]


def _as_text(row: dict[str, Any]) -> str:
    lines = [f"{row['key']} · {row['where']} · {_verdict(row)}", f"  {row['claim']}"]
    return "\n".join(lines + [f"  {name}: {text}" for name, text in _parts(row)])


_BORDERS = {"holds": "solid", "does not hold": "double", "undecided": "dashed", "not tested": "dotted"}


def _as_html(row: dict[str, Any]) -> str:
    style = _BORDERS[row["outcome"]]  # readable without colour and without css
    details = "".join(f"<div><b>{name}:</b> {html.escape(text)}</div>" for name, text in _parts(row))
    return (
        f'<div class="claim claim-{row["outcome"].replace(" ", "-")}" id="{anchor(row["key"])}" '
        f'style="border-left:4px {style} currentColor;padding:0.2em 0 0.2em 0.8em;margin:0.4em 0">'
        f"<div><code>{row['key']}</code> · {html.escape(row['where'])} · "
        f'<b title="{html.escape(OUTCOMES[row["outcome"]])}; {html.escape(SCALES[row["scale"]])}">{_verdict(row)}</b></div>'
        f"<div>{html.escape(row['claim'])}</div>{details}</div>"
    )
