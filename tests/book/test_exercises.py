"""The notebooks of exercises are what their source makes; what the generator makes works, and what it cannot use it names."""

import sys
import textwrap

import exercises
import nbformat
import pytest
import stored
from exercises import ExerciseError

SOURCE = '''
r"""Twice a number

Multiply by two. $2x$
"""

from bestpapers.course.checks import Checker, close

LEVEL, MINUTES, DIFFICULTY = "core", 5, 1
HINT = r"""
Add it to itself.
"""
NOTE = r"""
Any number will do.
"""


def twice(
    x: float,
) -> float:
    """Two times a number.

    x any number -> 2 x
    """
    # nothing to it
    return x + x


def run() -> None:
    """Not part of the cell."""
    print("and so", twice(21))


check = Checker("5.1")


@check.property("three becomes six")
def _(answer):
    close(answer(3), 6)
'''
PACKAGE = '''
from . import twice

EXERCISES = (twice,)
OPENING = """
# Can you count?

{time} · <!-- cost --><!-- /cost -->
"""
IMPORTS = """
from bestpapers.course import presets
from bestpapers.{WING} import exercises
from bestpapers.kernels import dispatch
"""
CLOSING = "## The end"
'''


@pytest.fixture
def wing(project, monkeypatch):
    """A made-up wing with one exercise, importable as bestpapers.counting; returns (project, write)."""
    import bestpapers

    folder = project.root / "lib/bestpapers"
    project.write("lib/bestpapers/counting/__init__.py", "")
    project.write("lib/bestpapers/counting/exercises/__init__.py", PACKAGE.replace("{WING}", "counting"))
    project.write("lib/bestpapers/counting/exercises/twice.py", SOURCE)
    (project.root / "notebooks/counting").mkdir(parents=True)
    monkeypatch.setattr(bestpapers, "__path__", [*bestpapers.__path__, str(folder)])

    def forget():
        for name in [n for n in sys.modules if n.startswith("bestpapers.counting")]:
            del sys.modules[name]
        if hasattr(bestpapers, "counting"):
            del bestpapers.counting

    forget()
    yield project
    forget()


@pytest.mark.parametrize("name", exercises.wings())
def test_stored_notebook_is_what_its_source_makes(name):
    assert exercises.differs(name) is None, "run scripts/exercises.py, then scripts/execute.py"


def test_there_are_exercises():
    assert "splatting" in exercises.wings()


@pytest.mark.parametrize("name", exercises.wings())
def test_stored_stubs_say_that_nothing_is_done_and_solutions_hold(name):
    nb = nbformat.read(stored.ROOT / "notebooks" / name / "5_exercises.ipynb", as_version=4)
    said = {c.id: "".join(o.text for o in c.outputs) for c in nb.cells if c.cell_type == "code"}
    for e in exercises.load(name)[1]:
        cell = f"exercises-{e.name.replace('_', '-')}"
        assert said[cell].startswith(f"exercise {e.number}: not started yet; replace")
        holds = f"exercise {e.number}: all {len(e.properties)} properties hold\n"
        assert said[f"{cell}-solution"].startswith(holds)


def test_cells_of_an_exercise(wing):
    cells = {c.id: c for c in exercises.build("counting", wing.root).cells}
    assert list(cells) == [
        "exercises-title", "colab", "exercises-imports", "exercises-report", "exercises-list", "exercises-twice-text",
        "exercises-twice", "exercises-solutions", "exercises-twice-note", "exercises-twice-solution", "exercises-end",
    ]  # fmt: skip
    assert cells["exercises-title"].source == (
        "# Can you count?\n\n5 min for the core, 5 min for all · <!-- cost --><!-- /cost -->"
    )
    text = cells["exercises-twice-text"].source
    assert text.startswith("## 5.1 Twice a number\n\n*core · 5 min · difficulty 1 of 3*\n\nMultiply by two. $2x$\n\n")
    assert "\n- three becomes six\n" in text
    assert text.endswith("<summary>Hint</summary>\n\nAdd it to itself.\n\n</details>")
    signature = "def twice(\n    x: float,\n) -> float:\n"
    assert cells["exercises-twice"].source == signature + (
        '    """Two times a number.\n\n    x any number -> 2 x\n    """\n'
        "    raise NotImplementedError  # your code here\n\n\nexercises.twice.check(twice)"
    )
    solution = cells["exercises-twice-solution"]
    assert solution.source == signature + (
        '    # nothing to it\n    return x + x\n\n\nexercises.twice.check(twice)\n\nprint("and so", twice(21))'
    )
    assert solution.metadata == {"tags": ["hide-cell"], "jupyter": {"source_hidden": True}}


def test_written_once_checked_and_written_again_when_the_source_changes(wing, capsys):
    path = wing.root / "notebooks/counting/5_exercises.ipynb"

    def main(*arguments):
        status = exercises.main([*arguments, "counting"], wing.root)
        return status, capsys.readouterr().out

    assert main("--check") == (
        1,
        "notebooks/counting/5_exercises.ipynb: it is not there (scripts/exercises.py counting)\n",
    )
    assert not path.exists()
    assert main()[0] == 0
    stored.check_ids(path.read_text(), "the notebook")
    assert main("--check") == (0, "notebooks/counting/5_exercises.ipynb: as its source\n")

    nb = nbformat.read(path, as_version=4)  # a run leaves outputs and a cost, which the source does not decide
    stored.put_cost(nb, "3 s")
    nb.cells[1].outputs = [nbformat.v4.new_output("stream", text="2")]
    path.write_text(nbformat.writes(nb))
    before = path.read_bytes()
    assert main() == (0, "notebooks/counting/5_exercises.ipynb: as its source\n")
    assert path.read_bytes() == before

    next(c for c in nb.cells if c.id == "exercises-twice").source += "\n"
    path.write_text(nbformat.writes(nb))
    assert main("--check")[0] == 1
    assert 'cell "exercises-twice" differs' in main("--check")[1]
    assert main() == (
        0,
        f"{stored.name(path, wing.root)}: written; run scripts/execute.py {stored.name(path, wing.root)}\n",
    )
    assert main("--check")[0] == 0


@pytest.mark.parametrize("part", ["source", "tags", "jupyter", "order", "end"])
def test_every_difference_is_seen(wing, part):
    path = wing.root / "notebooks/counting/5_exercises.ipynb"
    nb = exercises.build("counting", wing.root)
    cell = nb.cells[-2]
    if part == "source":
        nb.cells[0].source += " Or not?"
    elif part == "order":
        nb.cells[4], nb.cells[5] = nb.cells[5], nb.cells[4]
    elif part == "end":
        nb.cells.append(nbformat.v4.new_markdown_cell("more", id="more"))
    else:
        del cell.metadata[part]
    path.write_text(nbformat.writes(nb))
    words = {"order": "stands where", "end": "it has 12 cells, not 11"}
    assert words.get(part, "differs") in exercises.differs("counting", wing.root)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('r"""Twice a number\n\nMultiply by two. $2x$\n"""', "", "__doc__ must be a title, an empty line, the task"),
        (
            "Twice a number\n\nMultiply",
            "Twice a number\nMultiply",
            "must be a title of one line, an empty line, the task",
        ),
        ("def twice(", "def thrice(", "needs a function twice with a docstring"),
        ("check = Checker", "checker = Checker", "check"),
        ('"core", 5, 1', '"hard", 5, 1', "LEVEL must be core or challenge, got 'hard'"),
        ('"core", 5, 1', '"core", 0, 1', "MINUTES must be whole minutes, got 0"),
        ('"core", 5, 1', '"core", 5, 4', "DIFFICULTY must be 1, 2 or 3, got 4"),
        ("HINT =", "HELP =", "HINT must be a text, got None"),
        ('Checker("5.1")', 'Checker("5.2")', "is number 1 of counting, but its checker says 5.2"),
    ],
)
def test_what_is_missing_is_named(wing, old, new, message):
    assert old in SOURCE
    source = SOURCE.replace(old, new).replace("@checker", "@check")
    if new.startswith("checker"):
        source = source.replace("@check.property", "@checker.property")
    wing.write("lib/bestpapers/counting/exercises/twice.py", textwrap.dedent(source))
    with pytest.raises(ExerciseError, match=f"exercise twice: .*{message}"):
        exercises.build("counting", wing.root)


def test_a_wing_without_exercises_is_named(wing, capsys):
    assert exercises.main(["nowhere"], wing.root) == 1
    assert "bestpapers.nowhere" in capsys.readouterr().err


@pytest.mark.parametrize(("minutes", "words"), [(5, "5 min"), (60, "1 h"), (135, "2 h 15 min")])
def test_hours(minutes, words):
    assert exercises.hours(minutes) == words
