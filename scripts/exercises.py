"""Write notebooks/<wing>/5_exercises.ipynb from the exercises of the wing's library, and editions of it for a class.

    python scripts/exercises.py                 every wing that has exercises
    python scripts/exercises.py WING ...        these
    python scripts/exercises.py --check         write nothing; exit 1 and say which notebooks differ from their source
    python scripts/exercises.py --student       an edition without solutions: OUT/<wing>/5_exercises_student.ipynb
    python scripts/exercises.py --teacher       one with each solution and its note under its task: 5_exercises_teacher.ipynb
    python scripts/exercises.py --assignment    a course for nbgrader: OUT/source/<wing>/5_exercises.ipynb with solutions,
                                                from which nbgrader makes OUT/release/<wing>/5_exercises.ipynb without

A wing's exercises are the package bestpapers.<wing>.exercises. It has EXERCISES (a tuple of modules, in order), OPENING,
IMPORTS and CLOSING (the source of the first cells and the last). A module holds one exercise:

    its docstring   a title, an empty line, the task
    a function      of the module's name: the solution. Its signature and docstring are the stub
    check           a `bestpapers.course.checks.Checker`, whose number is the exercise's
    LEVEL, MINUTES, DIFFICULTY      "core" or "challenge", whole minutes, 1 to 3
    HINT, NOTE      what helps; what to learn from the solution
    run             optional: a function whose body the solution's cell runs after the checker

OPENING has the places {time} and {solutions}: how long it takes, and where the solutions are in this edition. A notebook of
the book keeps the outputs of the cells that did not change, and its measured cost; those of the others are gone: run it
through scripts/execute.py afterwards.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.util
import inspect
import itertools
import os
import posixpath
import re
import subprocess
import sys
import textwrap
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import stored
from stored import ROOT

NOTEBOOK = "5_exercises"
LEVELS = ("core", "challenge")

EDITIONS = {
    "book": "Solutions stand at the end, folded too.",
    "student": "Hand in the whole notebook.",
    "teacher": "**This is the teacher's edition: the solution stands below each task.**",
    "nbgrader": "The checker has a cell of its own below yours: run it too.",
}
"""Where the solutions are in each edition, or what else to do there: the text for {solutions} in OPENING."""

CHECKER_POINTS, REASONS_POINTS = 3, 7
"""What an exercise is worth: the rubric of the pages for teachers."""

REASONS = """\
**In your own words:** why is it so, and where does it break? Which input of your own did you choose to break it,
and what came of it?

### BEGIN SOLUTION
{note}
### END SOLUTION"""

CONFIG = """\
# Read by nbgrader, whose commands are run in this folder.
c = get_config()
c.CourseDirectory.course_id = "bestpapers"
c.ClearSolutions.code_stub = {"python": "raise NotImplementedError  # your code here"}
c.ClearSolutions.text_stub = "*Your answer here.*"
c.Execute.timeout = 600  # seconds for a cell: some checkers train
"""

RELATIVE = re.compile(r"\]\(((?!https?:)[^()\s]+\.(?:ipynb|md)(?:#[^()\s]*)?)\)")


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
    def cell(self) -> str:
        """The id of its first code cell; the ids of its other cells begin with it."""
        return f"exercises-{self.name.replace('_', '-')}"

    @property
    def text(self) -> str:
        """Title, task, what the checker asks for, hint."""
        words = f"{self.level} · {self.minutes} min · difficulty {self.difficulty} of 3"
        asked = "\n".join(f"- {name}" for name in self.properties)
        head = f"## {self.number} {self.title}\n\n*{words}*\n\n{self.task}"
        return f"{head}\n\nThe checker asks for:\n\n{asked}\n\n{details('Hint', self.hint)}"

    @property
    def stub(self) -> str:
        signature, docstring, _ = parts(self.source)
        return f"{signature}\n{docstring}\n    raise NotImplementedError  # your code here\n\n\n{self.call}"

    @property
    def after(self) -> str:
        """What a cell with the solution runs below it: the checker, then the body of `run`."""
        return f"{self.call}\n\n{textwrap.dedent(parts(self.run)[2])}" if self.run else self.call


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


def details(summary: str, text: str) -> str:
    """Text that is folded below its summary, in a page and in JupyterLab."""
    return f"<details>\n<summary>{summary}</summary>\n\n{text}\n\n</details>"


def hours(minutes: int) -> str:
    """150 -> "2 h 30 min"."""
    whole, rest = divmod(minutes, 60)
    return " ".join([f"{whole} h"] * bool(whole) + [f"{rest} min"] * bool(rest))


def build(wing: str, root: Path = ROOT, edition: str = "book", only: Collection[str] = ()) -> Any:
    """The notebook of a wing, without outputs.

    edition  one of EDITIONS: "book" has the solutions folded at the end, "student" has none, "teacher" has each with its note
             below the task, "nbgrader" is the source of a release, with cells that are marked
    only     numbers of exercises, such as "5.4"; none: all
    """
    package, found = load(wing)
    if unknown := sorted(set(only) - {e.number for e in found}):
        numbers = f"{found[0].number} to {found[-1].number}"
        raise ExerciseError(f"there is no exercise {', '.join(unknown)}: the numbers go from {numbers}")
    found = [e for e in found if not only or e.number in only]
    code, prose = nbformat.v4.new_code_cell, nbformat.v4.new_markdown_cell

    core = [e for e in found if e.level == "core"]
    time = f"{hours(sum(e.minutes for e in core))} for the core, {hours(sum(e.minutes for e in found))} for all"
    rows = [f"| {e.number} | {e.title} | {e.level} | {e.minutes} | {e.difficulty} of 3 |" for e in found]
    table = ["| | exercise | | minutes | difficulty |", "| --- | --- | --- | --- | --- |", *rows]
    opening = package.OPENING.strip().replace("{time}", time).replace("{solutions}", EDITIONS[edition])
    cells = [
        prose(opening, id="exercises-title"),
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
        cells.append(prose(e.text, id=f"{e.cell}-text"))
        signature, docstring, body = parts(e.source)
        if edition in ("book", "student"):
            cells.append(code(e.stub, id=e.cell))
        if edition == "book":
            folded = {"tags": ["hide-cell"], "jupyter": {"source_hidden": True}}
            solutions += [
                prose(f"### Solution {e.number}\n\n{details('What to learn from it', e.note)}", id=f"{e.cell}-note"),
                code(f"{signature}\n{body}\n\n\n{e.after}", id=f"{e.cell}-solution", metadata=folded),
            ]
        if edition == "teacher":
            cells += [
                code(f"{e.source}\n\n\n{e.after}", id=f"{e.cell}-solution"),
                prose(f"**Note.** {e.note}", id=f"{e.cell}-note"),
            ]
        if edition == "nbgrader":
            region = f"    ### BEGIN SOLUTION\n{body}\n    ### END SOLUTION"
            cells += [
                code(f"{signature}\n{docstring}\n{region}", id=e.cell),
                code(e.call.replace(".check(", ".check.grade("), id=f"{e.cell}-grade"),
                prose(REASONS.format(note=e.note), id=f"{e.cell}-reasons"),
            ]
    cells += [*(solutions if edition == "book" else []), prose(package.CLOSING.strip(), id="exercises-end")]
    if edition == "nbgrader":
        answers, graded = {e.cell for e in found}, {f"{e.cell}-grade" for e in found}
        reasons = {f"{e.cell}-reasons" for e in found}
        for cell in cells:
            points = CHECKER_POINTS * (cell.id in graded) + REASONS_POINTS * (cell.id in reasons)
            mark(cell, solution=cell.id in answers | reasons, points=points)
    notebook = nbformat.v4.new_notebook(cells=cells)
    url = stored.repository(root)
    if edition != "book":  # it leaves its place, and has not been measured
        for cell in cells:
            if cell.cell_type == "markdown":
                cell.source = elsewhere(re.sub(stored.COST.pattern + " · ", "", cell.source), wing, url)
    stored.put_colab_cell(notebook, url)
    stored.normalise(notebook)
    return notebook


def mark(cell: Any, *, solution: bool, points: int) -> None:
    """Tell nbgrader what a cell is: a place for an answer, worth points, or neither; what is no answer is locked."""
    cell.metadata["nbgrader"] = {
        "schema_version": 3,
        "grade_id": cell.id,
        "grade": points > 0,
        "solution": solution,
        "locked": not solution,
        "task": False,
    } | ({"points": points} if points else {})


def elsewhere(text: str, wing: str, url: str) -> str:
    """Links to other pages of the book as addresses in the repository, since the notebook is read in another place."""

    def address(found: re.Match[str]) -> str:
        return f"]({url}/blob/HEAD/{posixpath.normpath(f'notebooks/{wing}/{found[1]}')})"

    return RELATIVE.sub(address, text)


def sources(notebook: Any) -> list[tuple[Any, ...]]:
    """What the source decides of each cell: not its outputs, and not the measured cost."""
    return [
        (c.id, c.cell_type, stored.COST.sub(r"\1\2", c.source), c.metadata.get("tags"), c.metadata.get("jupyter"))
        for c in notebook.cells
    ]


def wings(root: Path = ROOT) -> list[str]:
    """The wings that have exercises."""
    return sorted(p.parents[1].name for p in (root / "lib/bestpapers").glob("*/exercises/__init__.py"))


def keep(notebook: Any, old: Any) -> None:
    """Take over from a stored notebook what execution has added to cells whose source is the same, and its metadata.

    Whether outputs are still true is not asked here: the fingerprint among the metadata says so (`scripts/execute.py --check`).
    """
    notebook.metadata = old.metadata
    known = {a[0]: (a, cell) for a, cell in zip(sources(old), old.cells)}
    for n, b in enumerate(sources(notebook)):
        a, cell = known.get(b[0], (None, None))
        if a == b:
            notebook.cells[n] = cell
        elif cell is not None and b[1] == "markdown" and (cost := stored.COST.search(cell.source)):
            notebook.cells[n].source = stored.COST.sub(lambda _: cost[0], notebook.cells[n].source, count=1)


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


def put(path: Path, text: str) -> bool:
    """Write a file unless another stands there, which may hold a teacher's changes. Says what happened; True if it is ours."""
    if path.is_file() and path.read_text(encoding="utf-8") != text:
        print(
            f"{path}: kept, since it is not what would be written: changed by you, or made by another version or choice"
        )
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    stored.write(path, text)
    return True


def nbgrader(course: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of nbgrader in the folder of a course."""
    # it calls alembic, which lies beside this Python, by its bare name
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    command = [sys.executable, "-m", "nbgrader", *arguments]
    return subprocess.run(command, cwd=course, env=os.environ | {"PATH": path}, capture_output=True, text=True)


def assignment(wing: str, out: Path, only: Collection[str] = (), root: Path = ROOT) -> None:
    """Write the source of a wing's assignment into the course `out`, and have nbgrader make the release from it."""
    text = nbformat.writes(build(wing, root, "nbgrader", only), version=4) + "\n"
    put(out / "nbgrader_config.py", CONFIG)
    put(out / "source" / wing / f"{NOTEBOOK}.ipynb", text)
    if importlib.util.find_spec("nbgrader") is None:
        raise ExerciseError(
            f"{out / 'source' / wing} is written, but nbgrader, which makes the release, is not installed: "
            'run `python -m pip install -c requirements.lock -e ".[book,test]"` and then this command again'
        )
    result = nbgrader(out, "generate_assignment", wing, "--force", "--log-level=WARN")
    if result.returncode:
        raise ExerciseError(f"`nbgrader generate_assignment {wing}` failed in {out}:\n{result.stderr.strip()}")
    print(f"{out / 'release' / wing / NOTEBOOK}.ipynb: for students; grades go to {out / 'gradebook.db'}")


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wing", nargs="*", help="default: all that have exercises")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="write nothing, report notebooks that differ")
    for edition in ("student", "teacher"):
        what.add_argument(
            f"--{edition}", dest="edition", action="store_const", const=edition, help="write this edition"
        )
    what.add_argument("--assignment", action="store_true", help="write a course for nbgrader, and its release")
    parser.add_argument(
        "--only", default="", metavar="N,N", help="of an edition: exercises of these numbers, as 5.1,5.4"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="of an edition: default _build/exercises or assignment"
    )
    options = parser.parse_args(arguments)
    if (options.only or options.out) and not (options.edition or options.assignment):
        parser.error("--only and --out belong to --student, --teacher or --assignment")
    out = (options.out or root / ("assignment" if options.assignment else "_build/exercises")).expanduser().resolve()
    if out.exists() and not out.is_dir():
        parser.error(f"--out {options.out} is a file: give a folder")
    only = [number.strip() for number in options.only.split(",") if number.strip()]
    status = 0
    for wing in options.wing or wings(root):
        try:
            if options.assignment:
                assignment(wing, out, only, root)
            elif options.edition:
                path = out / wing / f"{NOTEBOOK}_{options.edition}.ipynb"
                text = nbformat.writes(build(wing, root, options.edition, only), version=4) + "\n"
                path.parent.mkdir(parents=True, exist_ok=True)
                stored.write(path, text)
                print(f"{stored.name(path, root)}: written")
            else:
                status |= book(wing, options.check, root)
        except (ExerciseError, ModuleNotFoundError, OSError) as error:
            print(f"{wing}: {error}", file=sys.stderr)
            status = 1
    return status


def book(wing: str, check: bool, root: Path) -> int:
    """Bring the stored notebook of a wing to its source, or only say where it differs. Returns the exit status."""
    path = root / "notebooks" / wing / f"{NOTEBOOK}.ipynb"
    where = stored.name(path, root)
    why = differs(wing, root)
    if why is None:
        print(f"{where}: as its source")
    elif check:
        print(f"{where}: {why} (scripts/exercises.py {wing})")
        return 1
    else:
        notebook = build(wing, root)
        if path.is_file():
            keep(notebook, nbformat.read(path, as_version=4))
        stored.write(path, nbformat.writes(notebook, version=4) + "\n")
        print(f"{where}: written; run scripts/execute.py {where}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
