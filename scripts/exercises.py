"""Write notebooks/<wing>/5_exercises.ipynb from the exercises of the wing's library.

    python scripts/exercises.py                 every wing that has exercises
    python scripts/exercises.py WING ...        these
    python scripts/exercises.py --check         write nothing; exit 1 and say which notebooks differ from their source

A wing's exercises are the package bestpapers.<wing>.exercises. It has EXERCISES (a tuple of modules, in order), OPENING,
IMPORTS and CLOSING (the source of the first cells and the last). A module holds one exercise:

    its docstring   a title, an empty line, the task
    a function      of the module's name: the solution. Its signature and docstring are the stub
    check           a `bestpapers.course.checks.Checker`, whose number is the exercise's
    LEVEL, MINUTES, DIFFICULTY      "core" or "challenge", whole minutes, 1 to 3
    HINT, NOTE      what helps; what to learn from the solution
    run             optional: a function whose body the solution's cell runs after the checker

A notebook that changes loses its outputs: run it through scripts/execute.py afterwards.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import itertools
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import stored
from stored import ROOT

NOTEBOOK = "5_exercises"
LEVELS = ("core", "challenge")


class ExerciseError(Exception):
    """An exercise that cannot be put into a notebook; the message names the module and what it lacks."""


@dataclass(frozen=True)
class Exercise:
    """What the notebook says of one exercise; `name` is that of its module and of its function."""

    name: str
    number: str
    title: str
    task: str
    level: str
    minutes: int
    difficulty: int
    hint: str
    note: str
    source: str
    run: str
    properties: tuple[str, ...]

    @property
    def call(self) -> str:
        return f"exercises.{self.name}.check({self.name})"

    @property
    def words(self) -> str:
        """Level, time and difficulty in a line."""
        return f"{self.level} · {self.minutes} min · difficulty {self.difficulty} of 3"


def read(module: ModuleType) -> Exercise:
    """Take an exercise from its module. Raises ExerciseError that says what is missing or wrong."""
    name = module.__name__.rsplit(".", 1)[-1]

    def need(attribute: str, kind: type | tuple[type, ...], rule: str, holds: Any = bool) -> Any:
        value = getattr(module, attribute, None)
        if not isinstance(value, kind) or not holds(value):
            raise ExerciseError(f"exercise {name}: {attribute} must be {rule}, got {value!r}")
        return value

    title, _, task = inspect.cleandoc(need("__doc__", str, "a title, an empty line, the task")).partition("\n\n")
    if not task or "\n" in title:
        raise ExerciseError(f"exercise {name}: its docstring must be a title of one line, an empty line, the task")
    function = getattr(module, name, None)
    if not inspect.isfunction(function) or not inspect.getdoc(function):
        raise ExerciseError(f"exercise {name}: needs a function {name} with a docstring, from which the stub is made")
    check = getattr(module, "check", None)
    if not getattr(check, "properties", ()):
        raise ExerciseError(f"exercise {name}: needs `check`, a Checker with properties")
    return Exercise(
        name=name,
        number=check.exercise,
        title=title,
        task=task,
        level=need("LEVEL", str, " or ".join(LEVELS), LEVELS.__contains__),
        minutes=need("MINUTES", int, "whole minutes"),
        difficulty=need("DIFFICULTY", int, "1, 2 or 3", (1, 2, 3).__contains__),
        hint=need("HINT", str, "a text").strip(),
        note=need("NOTE", str, "a text").strip(),
        source=inspect.getsource(function).rstrip(),
        run=inspect.getsource(module.run) if hasattr(module, "run") else "",
        properties=check.properties,
    )


def load(wing: str) -> tuple[ModuleType, list[Exercise]]:
    """The wing's package of exercises, and what it holds. The numbers have to run 5.1, 5.2 and so on."""
    package = importlib.import_module(f"bestpapers.{wing}.exercises")
    found = [read(module) for module in package.EXERCISES]
    for i, exercise in enumerate(found, start=1):
        if exercise.number != f"{NOTEBOOK[0]}.{i}":
            raise ExerciseError(
                f"exercise {exercise.name}: is number {i} of {wing}, but its checker says {exercise.number}"
            )
    return package, found


def parts(source: str) -> tuple[str, str, str]:
    """The source of a function with a docstring -> its signature, its docstring, its body, as they are indented."""
    node = ast.parse(source).body[0]
    assert isinstance(node, ast.FunctionDef)
    doc, lines = node.body[0], source.splitlines()
    assert doc.end_lineno
    cuts = (0, doc.lineno - 1, doc.end_lineno, len(lines))
    signature, docstring, body = ("\n".join(lines[a:b]) for a, b in itertools.pairwise(cuts))
    return signature, docstring, body.strip("\n")


def hours(minutes: int) -> str:
    """150 -> "2 h 30 min"."""
    whole, rest = divmod(minutes, 60)
    return " ".join([f"{whole} h"] * bool(whole) + [f"{rest} min"] * bool(rest))


def build(wing: str, root: Path = ROOT) -> Any:
    """The notebook of a wing, without outputs."""
    package, found = load(wing)
    code, prose = nbformat.v4.new_code_cell, nbformat.v4.new_markdown_cell

    core = [e for e in found if e.level == "core"]
    time = f"{hours(sum(e.minutes for e in core))} for the core, {hours(sum(e.minutes for e in found))} for all"
    rows = [f"| {e.number} | {e.title} | {e.level} | {e.minutes} | {e.difficulty} of 3 |" for e in found]
    table = ["| | exercise | | minutes | difficulty |", "| --- | --- | --- | --- | --- |", *rows]
    cells = [
        prose(package.OPENING.strip().replace("{time}", time), id="exercises-title"),
        code(package.IMPORTS.strip(), id="exercises-imports"),
        code(
            "presets.report(dispatch.report(presets.device()))",
            id="exercises-report",
            metadata={"tags": ["nbval-ignore-output"]},
        ),
        prose("\n".join(table), id="exercises-list"),
    ]
    solutions = [
        prose("## Solutions\n\nOpen one when your own holds, or when you are stuck.", id="exercises-solutions")
    ]
    for e in found:
        cell, (signature, docstring, body) = f"exercises-{e.name.replace('_', '-')}", parts(e.source)
        stub = f"{signature}\n{docstring}\n    raise NotImplementedError  # your code here"
        asked = "\n".join(f"- {name}" for name in e.properties)
        text = f"## {e.number} {e.title}\n\n*{e.words}*\n\n{e.task}\n\nThe checker asks for:\n\n{asked}\n\n"
        hint = f"<details>\n<summary>Hint</summary>\n\n{e.hint}\n\n</details>"
        cells += [prose(text + hint, id=f"{cell}-text"), code(f"{stub}\n\n\n{e.call}", id=cell)]
        solution = f"{signature}\n{body}\n\n\n{e.call}"
        if e.run:
            solution += "\n\n" + textwrap.dedent(parts(e.run)[2])
        folded = {"tags": ["hide-cell"], "jupyter": {"source_hidden": True}}
        solutions += [
            prose(f"### Solution {e.number}\n\n{e.note}", id=f"{cell}-note"),
            code(solution, id=f"{cell}-solution", metadata=folded),
        ]
    cells += [*solutions, prose(package.CLOSING.strip(), id="exercises-end")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    stored.put_colab_cell(notebook, stored.repository(root))
    stored.normalise(notebook)
    return notebook


def sources(notebook: Any) -> list[tuple[Any, ...]]:
    """What the source decides of each cell: not its outputs, and not the measured cost."""
    return [
        (c.id, c.cell_type, stored.COST.sub(r"\1\2", c.source), c.metadata.get("tags"), c.metadata.get("jupyter"))
        for c in notebook.cells
    ]


def wings(root: Path = ROOT) -> list[str]:
    """The wings that have exercises."""
    return sorted(p.parents[1].name for p in (root / "lib/bestpapers").glob("*/exercises/__init__.py"))


def differs(wing: str, root: Path = ROOT) -> str | None:
    """Where the stored notebook of a wing is not what `build` makes, in words; None if it is."""
    path = root / "notebooks" / wing / f"{NOTEBOOK}.ipynb"
    if not path.is_file():
        return "it is not there"
    have, want = sources(nbformat.read(path, as_version=4)), sources(build(wing, root))
    for a, b in zip(have, want, strict=False):
        if a != b:
            return f'cell "{b[0]}" differs' if a[0] == b[0] else f'cell "{a[0]}" stands where "{b[0]}" should'
    return None if len(have) == len(want) else f"it has {len(have)} cells, not {len(want)}"


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wing", nargs="*", help="default: all that have exercises")
    parser.add_argument("--check", action="store_true", help="write nothing, report notebooks that differ")
    options = parser.parse_args(arguments)
    status = 0
    for wing in options.wing or wings(root):
        path = root / "notebooks" / wing / f"{NOTEBOOK}.ipynb"
        where = stored.name(path, root)
        try:
            why = differs(wing, root)
            if why is None:
                print(f"{where}: as its source")
            elif options.check:
                print(f"{where}: {why} (scripts/exercises.py {wing})")
                status = 1
            else:
                stored.write(path, nbformat.writes(build(wing, root), version=4) + "\n")
                print(f"{where}: written; run scripts/execute.py {where}")
        except (ExerciseError, ModuleNotFoundError) as error:
            print(f"{wing}: {error}", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
