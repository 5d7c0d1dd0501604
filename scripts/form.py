"""The form of a notebook's page: which cells are folded, how wide and long cells are, what the reader is asked to predict,
how many digits outputs hold.

Everything here reads a notebook with its outputs; nothing runs code. `execute.py` folds cells and refuses what does not fit
before it stores a notebook, and `execute.py --check` reports it.
"""

from __future__ import annotations

import ast
import html
import json
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from imports import plain
from stored import COLAB_ID, FOLDED, NotebookError

WIDTH = 88  # columns of a cell and of what it prints: what a page shows at 1440 px without scrolling
LINES = 20  # of a cell that is not folded
SHORT = 12  # of one in the notebooks of KEPT_SHORT, where empty lines and imports do not count
KEPT_SHORT = ("1_idea", "2_build", "3_reproduce", "4_apply")
PREDICTIONS = {"1_idea": 2, "2_build": 2, "3_reproduce": 2}  # questions whose answers are folded, at least
DIGITS = 8  # significant ones of a stored number; processors differ in later ones
NOISE = 1e-12  # a stored number below this is what rounding left

CLAIM = "application/vnd.bestpapers.claim+json"
HIDDEN = {"hide-cell", "remove-cell", "remove-input", "hide-output", "remove-output"}
NOT_SEEN = {"hide-cell", "remove-cell", "remove-input"}
SHOWN = "show-input"
CHANGES = {"append", "extend", "insert", "update", "setdefault", "add", "pop", "remove", "clear", "sort"}

_WHOLE = r"(?:\d{1,3}(?:,\d{3})+|\d+)"  # commas part thousands, or the numbers of a list
_NUMBER = re.compile(  # a fraction may have its unit glued to it, "1.5px"; other letters make a word of a whole number
    rf"(?<![\w.])[-−]?(?:{_WHOLE}\.\d+(?:[eE][-+]?\d+)?(?!\d|\.\d)|{_WHOLE}(?:[eE][-+]?\d+)?(?!\w|\.\d))"
)
_SUMMARY = re.compile(r"<summary>(.*?)</summary>", re.DOTALL)
_BYTES = re.compile(r"[A-Za-z0-9+/]{40,}=*")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def _code(nb: Any) -> list[Any]:
    return [c for c in nb.cells if c.cell_type == "code" and c.get("id") != COLAB_ID]


def _tags(cell: Any) -> set[str]:
    return {*cell.metadata.get("tags", [])}


# --- folding


def fold(nb: Any) -> None:
    """Set the tag that folds a cell on the page where the cell only draws or records, and remove it elsewhere.

    Folded is a code cell that shows a figure, a widget, a row of the ledger or nothing but tables, and binds no name that a
    later visible cell reads. Cells with another tag that hides something stay as they are; "show-input" keeps one visible.
    """
    visible = {id(cell) for cell, _ in _shown(nb)}
    for cell in _code(nb):
        if not _tags(cell) & HIDDEN:
            kept = [t for t in cell.metadata.get("tags", []) if t != FOLDED] + [FOLDED] * (id(cell) not in visible)
            if kept:
                cell.metadata["tags"] = kept
            else:
                cell.metadata.pop("tags", None)


def _shown(nb: Any) -> list[tuple[Any, str]]:
    """The code cells that stay visible, each with the reason why it is not folded, where it shows something."""
    found: list[tuple[Any, str]] = []
    later: list[
        tuple[Any, set[str], set[str]]
    ] = []  # of those below, nearest first: visible cell or None, reads, binds
    walks = {cell.id: _walk(cell.source) for cell in _code(nb)}
    modules = set().union(*(walk.imported for walk in walks.values()))
    for cell in reversed(_code(nb)):
        tags, walk = _tags(cell), walks[cell.id]
        reads, binds = walk.reads, walk.bound | (walk.changed - modules)  # np.add(...) changes no np
        reason = f"it has the tag {SHOWN}" if SHOWN in tags else _needed(binds, later) if shows(cell.outputs) else ""
        visible = not tags & NOT_SEEN if tags & HIDDEN else bool(reason) or not shows(cell.outputs)
        if visible:
            found.insert(0, (cell, reason))
        later.insert(0, (cell if visible else None, reads, binds))
    return found


def _needed(binds: set[str], later: list[tuple[Any, set[str], set[str]]]) -> str:
    """Which of the names a visible cell below reads, in words; "" if none does."""
    left = set(binds)
    for cell, reads, others in later:
        if cell is not None and (read := left & reads):
            return f'cell "{cell.id}" reads its {", ".join(sorted(read))}'
        left -= others - reads  # bound anew: who reads it below reads that one
    return ""


def shows(outputs: list[Any]) -> bool:
    """True where outputs hold a figure, a widget or a row of the ledger, or are all tables."""
    data = [o.get("data", {}) for o in outputs]
    pages = [d.get("text/html", "") for d in data]
    figure = any(key.startswith("image/") or key == CLAIM for d in data for key in d)
    widget = any('class="nbwidget"' in page for page in pages)
    return figure or widget or (bool(pages) and all("<table" in page for page in pages))


def _walk(source: str) -> _Names:
    walk = _Names()
    walk.visit(ast.parse(plain(source)))
    return walk


class _Names(ast.NodeVisitor):
    """Visits a cell in the order of execution: values before targets, what is iterated over before the loop.

    reads     names that it reads before it binds them itself
    bound     names that it binds; of them `imported`, those of modules and what they hold
    changed   names of what it changes in place
    """

    def __init__(self) -> None:
        self.reads: set[str] = set()
        self.bound: set[str] = set()
        self.imported: set[str] = set()
        self.changed: set[str] = set()

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self.reads |= {node.id} - self.bound
        else:
            self.bound.add(node.id)

    def _change(self, node: ast.AST) -> None:
        while isinstance(node, (ast.Attribute, ast.Subscript)):
            node = node.value
        if isinstance(node, ast.Name):
            self.changed.add(node.id)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if not isinstance(node.ctx, ast.Load):
            self._change(node)
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if not isinstance(node.ctx, ast.Load):
            self._change(node)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Attribute) and node.func.attr in CHANGES:
            self._change(node.func)
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        for target in node.targets:
            self.visit(target)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        for part in (node.annotation, node.value, node.target):
            if part is not None:
                self.visit(part)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.visit(node.value)
        if isinstance(node.target, ast.Name):
            self.reads |= {node.target.id} - self.bound
        self.visit(node.target)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        self.visit(node.target)

    def visit_For(self, node: ast.For) -> None:
        for part in (node.iter, node.target, *node.body, *node.orelse):
            self.visit(part)

    def visit_alias(self, node: ast.alias) -> None:
        self.imported.add((node.asname or node.name).partition(".")[0])
        self.bound |= self.imported

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        self.bound |= {node.name} - {None}
        self.generic_visit(node)

    def _scope(self, inside: list[ast.AST], own: set[str]) -> None:
        """What stands in a scope of its own: it reads what it does not bind."""
        walk = _Names()
        walk.bound = set(own)
        for part in inside:
            walk.visit(part)
        self.reads |= walk.reads - self.bound
        self.changed |= walk.changed - walk.bound

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> None:
        a = node.args
        for default in (*a.defaults, *a.kw_defaults):
            if default is not None:
                self.visit(default)
        own = {x.arg for x in (*a.posonlyargs, *a.args, *a.kwonlyargs, a.vararg, a.kwarg) if x is not None}
        body = node.body if isinstance(node.body, list) else [node.body]
        everywhere = {
            n.id for b in body for n in ast.walk(b) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
        }
        self._scope([*body], own | everywhere)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._function(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        for decorator in node.decorator_list:
            self.visit(decorator)
        self.bound.add(node.name)
        self._function(node)

    visit_AsyncFunctionDef = visit_FunctionDef  # type: ignore[assignment]

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for part in (*node.decorator_list, *node.bases):
            self.visit(part)
        self._scope([*node.body], set())
        self.bound.add(node.name)

    def _comprehension(self, node: Any) -> None:
        parts: list[ast.AST] = []
        for generator in node.generators:
            parts += [generator.iter, generator.target, *generator.ifs]
        ends = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        self._scope([*parts, *ends], set())

    visit_ListComp = visit_SetComp = visit_GeneratorExp = visit_DictComp = _comprehension


# --- what does not fit


def check(nb: Any, where: str) -> list[str]:
    """What does not fit a page or another machine, one line for each cell and kind. `fold` comes first."""
    found = [*wide_cells(nb, where), *long_cells(nb, where), *wide_outputs(nb, where), *long_numbers(nb, where)]
    return [*found, *few_predictions(nb, where), *marked_summaries(nb, where)]


def marked_summaries(nb: Any, where: str) -> list[str]:
    """Summaries of folded text with Markdown in them, which a page shows as it is typed: <summary> is HTML."""
    found = [(c.id, s) for c in nb.cells if c.cell_type == "markdown" for s in _SUMMARY.findall(c.source)]
    use = "in <summary> there is no Markdown; use <code>, <em> or MathML"
    return [f'{where}, cell "{cell}": {use}: {text[:60]}' for cell, text in found if set("`*$") & set(text)]


def refuse(problems: list[str]) -> None:
    """Raise a NotebookError of all the lines, if there are any."""
    if problems:
        raise NotebookError("\n".join(problems))


def wide_cells(nb: Any, where: str) -> list[str]:
    """Code cells with lines that do not fit the page."""
    found = []
    for cell in _code(nb):
        if wide := [(n, line) for n, line in enumerate(cell.source.splitlines(), 1) if len(line) > WIDTH]:
            (number, line), more = wide[0], f", and {len(wide) - 1} more" if len(wide) > 1 else ""
            found.append(
                f'{where}, cell "{cell.id}": line {number} has {len(line)} columns, {WIDTH} fit{more}: '
                f"{line.strip()[:60]}..."
            )
    return found


def _lines(source: str) -> int:
    """How many lines a reader has to follow: those that are not empty and belong to no import."""
    imports: set[int] = set()
    for node in ast.parse(plain(source)).body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            imports |= {*range(node.lineno, (node.end_lineno or node.lineno) + 1)}
    return sum(bool(line.strip()) and n not in imports for n, line in enumerate(source.splitlines(), 1))


def long_cells(nb: Any, where: str) -> list[str]:
    """Visible code cells that are longer than a reader takes in at once."""
    short = PurePosixPath(where).stem in KEPT_SHORT
    most, count = (SHORT, _lines) if short else (LINES, lambda source: len(source.splitlines()))
    return [
        f'{where}, cell "{cell.id}": {lines} lines, {most} is the most of a cell that is not folded: split it'
        + (f" (it shows something and is not folded because {reason})" if reason else "")
        for cell, reason in _shown(nb)
        if (lines := count(cell.source)) > most
    ]


def few_predictions(nb: Any, where: str) -> list[str]:
    """A notebook that asks its reader too seldom to predict: a question in the summary of folded text."""
    least = PREDICTIONS.get(PurePosixPath(where).stem, 0)
    asked = sum("?" in s for c in nb.cells if c.cell_type == "markdown" for s in _SUMMARY.findall(c.source))
    short = f"asks the reader to predict {asked} times, {least} is the least: <details><summary>... ?</summary>"
    return [f"{where}: {short}"] * (asked < least)


def wide_outputs(nb: Any, where: str) -> list[str]:
    """Printed lines that do not fit the page. Words that stand for a richer form do not count: a page wraps or hides them."""
    found = []
    for cell in _code(nb):
        if "remove-cell" in _tags(cell):
            continue
        lines = [
            line
            for o in cell.outputs
            for text in (
                o.get("text", ""),
                o.get("data", {}).get("text/plain", "") if len(o.get("data", {})) == 1 else "",
            )
            for line in _COLOUR.sub("", text).splitlines()
            if len(line) > WIDTH
        ]
        if lines:
            more = f", and {len(lines) - 1} more" if len(lines) > 1 else ""
            found.append(
                f'{where}, cell "{cell.id}": prints a line of {len(lines[0])} columns, {WIDTH} fit{more}: '
                f"{lines[0].strip()[:60]}..."
            )
    return found


def _texts(output: Any) -> Iterator[str]:
    yield output.get("text", "")
    yield output.get("evalue", "")
    for kind, value in output.get("data", {}).items():
        if not kind.startswith("image/"):
            yield value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def long_numbers(nb: Any, where: str) -> list[str]:
    """Numbers with digits that differ from processor to processor: too many, rounding noise, a zero with a sign."""
    found = []
    for cell in _code(nb):
        bad: list[str] = []
        for output in cell.outputs:
            for text in _texts(output):
                bad += filter(_differs, _NUMBER.findall(_BYTES.sub(" ", html.unescape(text))))
        if bad:
            shown = ", ".join(dict.fromkeys(bad[:3]))
            found.append(
                f'{where}, cell "{cell.id}": its output holds {shown}{" ..." if len(bad) > 3 else ""}: other processors give '
                f"other digits. Print at most {DIGITS} significant digits, no rounding noise and no -0 (f'{{x:z.3f}}'); "
                "a widget rounds its traits (Widget.digits)"
            )
    return found


def _differs(number: str) -> bool:
    plain = number.replace(",", "").replace("−", "-")
    mantissa = re.split("[eE]", plain)[0]
    value, digits = float(plain), len(re.sub(r"\D", "", mantissa).lstrip("0"))
    if value == 0:
        return plain.startswith("-")
    noise = abs(value) < NOISE and mantissa.strip("-0.") != "1"  # a bound, such as 1e-15, is no noise
    return noise or (digits > DIGITS and not mantissa.lstrip("-").isdigit())
