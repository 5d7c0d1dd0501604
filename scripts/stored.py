"""What a stored notebook is: its outputs are kept in the repository, with a fingerprint of what made them.

Everything here works on a notebook that `nbformat` has read and on the tree that it belongs to; nothing runs code.
`execute.py` runs notebooks and uses this module to clean, sign and check them.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from pathlib import Path
from typing import Any

import imports
import yaml

from bestpapers.lab.files import write_file

ROOT = Path(__file__).resolve().parents[1]

COLAB_ID = "colab"
"""The id of the cell that installs the package when a notebook is opened alone on Colab."""

COLAB_SOURCE = """\
import sys

if "google.colab" in sys.modules:  # alone on Colab: fetch the package
    %pip install -q "bestpapers @ git+{url}\""""

COST = re.compile(r"(<!-- cost -->).*?(<!-- /cost -->)", re.S)
ADDRESS = re.compile(r"\b0x[0-9a-f]{4,}")
READABLE_ID = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
RANDOM_ID = re.compile(r"(?=.*\d)[0-9a-f]{8}(-[0-9a-f]{4}){0,3}(-[0-9a-f]{12})?")
FOLDED = "hide-input"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


class NotebookError(Exception):
    """A notebook that cannot be run or stored. The message names the notebook and the cell."""


def repository(root: Path = ROOT) -> str:
    """Address of the repository: the one setting `repository.url` of _config.yml."""
    return yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))["repository"]["url"]


def notebooks(root: Path = ROOT) -> list[Path]:
    """All notebooks of the book, in reading order."""
    return sorted(p for p in (root / "notebooks").glob("*/*.ipynb") if not p.name.startswith("."))


def name(path: Path, root: Path = ROOT) -> str:
    """The path as messages print it: relative to the project, with forward slashes."""
    path = path.resolve()
    return path.relative_to(root.resolve()).as_posix() if path.is_relative_to(root.resolve()) else str(path)


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all, with the same line ends everywhere."""
    write_file(path, text.encode("utf-8"))


# --- the fingerprint


def _digest(items: list[bytes]) -> str:
    h = hashlib.sha256()
    for item in items:
        h.update(len(item).to_bytes(8, "big") + item)
    return h.hexdigest()[:32]


def fingerprint(nb: Any, path: Path, root: Path = ROOT) -> dict[str, Any]:
    """What the outputs of a notebook depend on: sha256, the first hex digits of each.

    cells  source and tags of its code cells, in order (prose, the Colab cell and the tag that folds a cell change no output)
    lock   requirements.lock
    files  file below lib/bestpapers -> digest, for each that the cells stand on: see `imports.files`
    """
    relative = path.resolve().relative_to((root / "notebooks").resolve())
    if len(relative.parts) != 2:
        raise NotebookError(f"{name(path, root)}: a notebook lives in notebooks/<wing>/, directly")
    library = root / "lib" / "bestpapers"
    code = [c for c in nb.cells if c.cell_type == "code" and c.get("id") != COLAB_ID]
    try:
        used = sorted(imports.files([c.source for c in code], library))
    except SyntaxError as e:
        raise NotebookError(f"{name(path, root)}: a cell, or a module that it imports, is not Python: {e}") from None
    tags = [sorted({*c.metadata.get("tags", [])} - {FOLDED}) for c in code]
    return {
        "cells": _digest([json.dumps([c.source, t]).encode() for c, t in zip(code, tags)]),
        "lock": _digest([(root / "requirements.lock").read_bytes()]),
        "files": {p.relative_to(library).as_posix(): _digest([p.read_bytes()])[:12] for p in used},
    }


def why_stale(nb: Any, path: Path, root: Path = ROOT) -> list[str]:
    """Why the stored outputs no longer fit, as words; empty when they do."""
    kept = nb.metadata.get("bestpapers", {}).get("fingerprint", {})
    if "files" not in kept:
        return ["it was never executed by scripts/execute.py"]
    now = fingerprint(nb, path, root)
    reasons = [
        f"{words} changed"
        for part, words in {"cells": "its code cells", "lock": "requirements.lock"}.items()
        if now[part] != kept.get(part)
    ]
    old, new = kept["files"], now["files"]
    for file in sorted(old.keys() | new.keys()):
        if old.get(file) != new.get(file):
            what = (
                "changed"
                if file in old and file in new
                else "is new to it"
                if file in new
                else "is no longer part of it"
            )
            reasons.append(f"lib/bestpapers/{file} {what}")
    return reasons if len(reasons) <= 6 else [*reasons[:5], f"{len(reasons) - 5} more files changed"]


# --- what a notebook must be before it runs


def put_colab_cell(nb: Any, url: str) -> bool:
    """Make the first code cell the one that installs the package on Colab. True when that changed the notebook."""
    import nbformat

    source = COLAB_SOURCE.format(url=url)
    first = next((i for i, c in enumerate(nb.cells) if c.cell_type == "code"), len(nb.cells))
    if first < len(nb.cells) and nb.cells[first].get("id") == COLAB_ID:
        cell = nb.cells[first]
        if cell.source == source and cell.metadata.get("tags") == ["remove-cell"]:
            return False
        cell.source, cell.metadata["tags"] = source, ["remove-cell"]
    else:
        cell = nbformat.v4.new_code_cell(source, id=COLAB_ID, metadata={"tags": ["remove-cell"]})
        nb.cells.insert(first, cell)
    return True


def check_ids(text: str, where: str) -> None:
    """Cell ids are link targets and appear in messages: each once, in words joined by hyphens.

    Takes the file's text, since nbformat gives repeated ids other names in silence when it reads.
    """
    seen: set[str] = set()
    for number, cell in enumerate(json.loads(text)["cells"], 1):
        cell_id = cell.get("id", "")
        if not READABLE_ID.fullmatch(cell_id) or RANDOM_ID.fullmatch(cell_id):
            raise NotebookError(
                f'{where}: cell {number} has the id "{cell_id}": '
                'give it a readable one of lower-case words and hyphens, like "build-03-loss"'
            )
        if cell_id in seen:
            raise NotebookError(f'{where}: two cells have the id "{cell_id}": ids must be unique in a notebook')
        seen.add(cell_id)


def tolerance(cell: Any, where: str) -> dict[str, float] | None:
    """By how much the numbers of a cell's outputs may differ from run to run; None where not at all.

    `bestpapers.tolerance` in the cell's metadata, see nbval_numbers.py.
    """
    found = cell.metadata.get("bestpapers", {}).get("tolerance")
    if found is None:
        return None
    place = f'{where}, cell "{cell.id}": its tolerance'
    if not isinstance(found, dict) or not found or {*found} - {"abs", "rel", "levels"}:
        raise NotebookError(f'{place} must hold "abs", "rel" or "levels", got {json.dumps(found)}')
    if not all(type(v) in (int, float) and 0 <= v < float("inf") for v in found.values()):
        raise NotebookError(f"{place} must hold numbers from 0, got {json.dumps(found)}")
    if "nbval-ignore-output" in cell.metadata.get("tags", []):
        raise NotebookError(f"{place} says nothing beside the tag nbval-ignore-output: remove one of the two")
    return dict(found)


# --- what a notebook becomes before it is stored


def clear(nb: Any) -> None:
    """Remove the outputs and counts of an earlier run."""
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None


def normalise(nb: Any) -> None:
    """Remove what differs from run to run without meaning anything, so that equal runs give equal files.

    Timestamps and the interpreter's patch version go, memory addresses become 0x0. Live widget views and their state
    go too: their ids are random, the page mounts the text/html twin, and JupyterLab makes a live one when the cell runs.
    """
    keep = {"kernelspec", "bestpapers"}
    for key in [k for k in nb.metadata if k not in keep]:
        del nb.metadata[key]
    nb.metadata["kernelspec"] = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    nb.metadata["language_info"] = {"name": "python"}
    nb.nbformat_minor = max(nb.nbformat_minor, 5)
    for cell in nb.cells:
        for key in ("execution", "ExecuteTime", "collapsed", "scrolled"):
            cell.metadata.pop(key, None)
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            data.pop(WIDGET_VIEW, None)
            if "text/plain" in data:
                data["text/plain"] = ADDRESS.sub("0x0", data["text/plain"])


def copy_alt(nb: Any, where: str) -> None:
    """Copy the alt text of each figure to its cell's metadata, where the site's builder looks for it."""
    for cell in nb.cells:
        if cell.cell_type != "code":
            continue
        figures = [o for o in cell.outputs if any(k.startswith("image/") for k in o.get("data", {}))]
        alts = [
            o.metadata.get(kind, {}).get("alt", "") for o in figures for kind in o.data if kind.startswith("image/")
        ]
        if not all(a.strip() for a in alts):
            raise NotebookError(
                f'{where}, cell "{cell.id}": a figure has no alt text. Show figures with '
                "bestpapers.course.plots.show(fig, alt=..., caption=...)"
            )
        if len(set(alts)) > 1:
            raise NotebookError(
                f'{where}, cell "{cell.id}": {len(alts)} figures in one cell, but the page takes one alt text a cell. '
                "Give each figure a cell of its own, or draw one figure with several panels"
            )
        mystnb = cell.metadata.setdefault("mystnb", {})
        image = mystnb.setdefault("image", {})
        image.pop("alt", None)
        if alts:
            image["alt"] = alts[0]
        if not image:
            del mystnb["image"]
        if not mystnb:
            del cell.metadata["mystnb"]


def refuse_machine_paths(nb: Any, where: str, root: Path = ROOT) -> None:
    """Outputs are read on other machines: a path of this one is noise there, and tells where they were made."""
    import sys

    folders = {str(root.resolve()), str(Path.home()), sys.prefix, sys.base_prefix, tempfile.gettempdir(), "/tmp"}
    hints = [re.escape(f) + r"(?![\w-])[\\/]?" for f in sorted(folders, key=len, reverse=True) if len(f) > 1]
    pattern = re.compile(r"(?<![\w.])(?:" + "|".join(hints) + r")|site-packages")
    for cell in nb.cells:
        for output in cell.get("outputs", []):
            texts = [output.get("text", "")] + [
                t if isinstance(t, str) else json.dumps(t)
                for kind, t in output.get("data", {}).items()
                if not kind.startswith("image/") or kind == "image/svg+xml"
            ]
            for text in texts:
                if found := pattern.search(text):
                    line = next(x for x in text.splitlines() if found.group() in x)
                    raise NotebookError(
                        f'{where}, cell "{cell.id}": its output holds a path of this machine ({found.group()}): '
                        f"{line.strip()[:160]}\nPrint a relative path, or cure the warning that prints it"
                    )


def outputs(nb: Any) -> list[Any]:
    """What two runs are compared by: the outputs of every code cell."""
    return [c.outputs for c in nb.cells if c.cell_type == "code"]


def cost_line(seconds: float, peak_mb: float, cores: int) -> str:
    """The measured cost as the opening of a notebook prints it: `41 s on 2 CPU cores · 0.9 GB`."""
    return f"{max(1, round(seconds))} s on {cores} CPU core{'s' if cores != 1 else ''} · {peak_mb / 1000:.1f} GB"


def put_cost(nb: Any, text: str) -> None:
    """Rewrite the text between `<!-- cost -->` and `<!-- /cost -->` in the first markdown cell, if it has the markers."""
    first = next((c for c in nb.cells if c.cell_type == "markdown"), None)
    if first is not None:
        first.source = COST.sub(rf"\g<1>{text}\g<2>", first.source)
