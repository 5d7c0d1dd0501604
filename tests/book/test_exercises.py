"""The notebooks of exercises are what their source makes; what the generator makes works, and what it cannot use it names.

The release for a class is made, checked and marked by nbgrader itself.
"""

import inspect
import itertools
import re
import sys
import textwrap

import exercises
import nbformat
import pytest
import stored
from exercises import ExerciseError
from tests.splatting.test_exercises import covariance_any_length

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

{time} · <!-- cost --><!-- /cost --> · no download

{solutions}
"""
IMPORTS = """
from bestpapers.course import presets
from bestpapers.{WING} import exercises
from bestpapers.kernels import dispatch
"""
CLOSING = "## The end, after [the idea](1_idea.ipynb#idea-title) and [the paper](../../book/counting/paper.md)"
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
        "# Can you count?\n\n5 min for the core, 5 min for all · <!-- cost --><!-- /cost --> · no download\n\n"
        "Solutions stand at the end, folded too."
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
    assert cells["exercises-twice-note"].source == (
        "### Solution 5.1\n\n<details>\n<summary>What to learn from it</summary>\n\nAny number will do.\n\n</details>"
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


def test_what_did_not_change_keeps_its_outputs_and_the_title_its_cost(wing):
    path = wing.root / "notebooks/counting/5_exercises.ipynb"
    exercises.main(["counting"], wing.root)
    nb = nbformat.read(path, as_version=4)
    stored.put_cost(nb, "3 s")
    nb.metadata["fingerprint"] = "of the run"
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs = [nbformat.v4.new_output("stream", text=cell.id)]
    path.write_text(nbformat.writes(nb))

    changed = SOURCE.replace("return x + x", "return 2 * x").replace("Multiply by two", "Double it")
    wing.write("lib/bestpapers/counting/exercises/twice.py", changed)
    package = wing.root / "lib/bestpapers/counting/exercises/__init__.py"
    package.write_text(package.read_text().replace("# Can you count?", "# Can you add?"))
    for name in [n for n in sys.modules if n.startswith("bestpapers.counting")]:
        del sys.modules[name]
    assert exercises.main(["counting"], wing.root) == 0
    new = nbformat.read(path, as_version=4)
    cells = {c.id: c for c in new.cells}
    assert cells["exercises-title"].source.startswith("# Can you add?")
    assert "<!-- cost -->3 s<!-- /cost -->" in cells["exercises-title"].source
    assert "Double it" in cells["exercises-twice-text"].source
    said = {i: bool(c.outputs) for i, c in cells.items() if c.cell_type == "code"}
    assert said == {i: i != "exercises-twice-solution" for i in said}
    assert new.metadata["fingerprint"] == "of the run"
    assert exercises.differs("counting", wing.root) is None


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


# --- editions for a class


def edition(wing, name, *only):
    return {c.id: c for c in exercises.build("counting", wing.root, name, only).cells}


def test_student_edition_has_the_stub_and_no_solution(wing):
    book, cells = edition(wing, "book"), edition(wing, "student")
    assert list(cells) == [i for i in book if not re.search("solution|note", i)]
    assert cells["exercises-twice"] == book["exercises-twice"]
    assert cells["exercises-twice-text"] == book["exercises-twice-text"]
    text = "\n".join(c.source for c in cells.values())
    assert "return x + x" not in text
    assert "Any number will do" not in text
    assert "olution" not in text
    assert cells["exercises-title"].source == (  # no cost: it has not been measured
        "# Can you count?\n\n5 min for the core, 5 min for all · no download\n\nHand in the whole notebook."
    )
    there = "https://github.com/someone/something/blob/HEAD"
    assert cells["exercises-end"].source == (
        f"## The end, after [the idea]({there}/notebooks/counting/1_idea.ipynb#idea-title) "
        f"and [the paper]({there}/book/counting/paper.md)"
    )


def test_teachers_edition_has_each_solution_and_its_note_below_the_task(wing):
    cells = edition(wing, "teacher")
    assert [i for i in cells if "twice" in i] == [
        "exercises-twice-text",
        "exercises-twice-solution",
        "exercises-twice-note",
    ]
    solution = cells["exercises-twice-solution"]
    assert solution.source == SOURCE[SOURCE.index("def twice") : SOURCE.index("\n\n\ndef run")] + (
        '\n\n\nexercises.twice.check(twice)\n\nprint("and so", twice(21))'
    )
    assert solution.metadata == {}
    assert cells["exercises-twice-note"].source == "**Note.** Any number will do."
    assert "teacher's edition" in cells["exercises-title"].source


@pytest.mark.parametrize("wing_name", exercises.wings())
@pytest.mark.parametrize("name", ["student", "nbgrader"])
def test_no_edition_for_students_holds_a_line_of_a_solution(wing_name, name):
    """Lines of code that stand in a solution and nowhere in a text or a stub; in an assignment nbgrader cuts the regions."""
    nb = exercises.build(wing_name, edition=name)
    text = "\n".join(c.source for c in nb.cells)
    if name == "nbgrader":
        text, regions = re.subn(r"### BEGIN SOLUTION\n.*?### END SOLUTION", "", text, flags=re.S)
        assert regions == 2 * len(exercises.load(wing_name)[1])
    for e in exercises.load(wing_name)[1]:
        given = e.text + e.stub
        body = [line.strip() for line in exercises.parts(e.source)[2].splitlines()]
        secret = [line for line in body if len(line) > 12 and line not in given]
        assert secret
        assert not [line for line in secret if line in text], e.name
        assert e.note not in text


def test_some_exercises_of_an_edition(capsys, tmp_path):
    assert exercises.main(["--student", "--only", "5.4, 5.1", "--out", str(tmp_path), "splatting"]) == 0
    cells = nbformat.read(tmp_path / "splatting/5_exercises_student.ipynb", as_version=4).cells
    assert [c.id for c in cells if c.id.endswith("-text")] == ["exercises-covariance-text", "exercises-blend-text"]
    assert "35 min for all" in cells[0].source
    assert len(next(c for c in cells if c.id == "exercises-list").source.splitlines()) == 4
    assert exercises.main(["--teacher", "--only", "5.1,5.99", "--out", str(tmp_path), "splatting"]) == 1
    assert "there is no exercise 5.99: the numbers go from 5.1 to 5.13" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        exercises.main(["--only", "5.1"])
    assert "--only and --out belong to --student" in capsys.readouterr().err
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit):
        exercises.main(["--student", "--out", str(tmp_path / "file")])
    assert "is a file: give a folder" in capsys.readouterr().err


def test_a_source_that_a_teacher_changed_is_kept(tmp_path, capsys):
    path = tmp_path / "source/5.ipynb"
    assert exercises.put(path, "first\n")
    assert exercises.put(path, "first\n")
    assert capsys.readouterr().out == ""
    path.write_text("mine\n")
    assert not exercises.put(path, "second\n")
    assert path.read_text() == "mine\n"
    assert f"{path}: kept" in capsys.readouterr().out


def test_without_nbgrader_the_source_is_written_and_the_way_to_it_named(wing, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(exercises.importlib.util, "find_spec", lambda name: None)
    assert exercises.main(["--assignment", "--out", str(tmp_path / "course"), "counting"], wing.root) == 1
    assert (tmp_path / "course/source/counting/5_exercises.ipynb").is_file()
    said = capsys.readouterr().err
    assert "nbgrader, which makes the release, is not installed: run `python -m pip install" in said


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course with two exercises, released by nbgrader and marked by it: right, one wrong, untouched."""
    folder = tmp_path_factory.mktemp("course")
    assert exercises.main(["--assignment", "--only", "5.1,5.4", "--out", str(folder), "splatting"]) == 0
    covariance, blend = (e for e in exercises.load("splatting")[1] if e.number in ("5.1", "5.4"))
    noisy = "import sys\n\n" + blend.source.replace(
        "    for i in", '    print("a progress bar", file=sys.stderr)\n    for i in'
    )
    assert "stderr" in noisy
    mistake = inspect.getsource(covariance_any_length).replace("covariance_any_length", "covariance")
    answers = {
        "right": {covariance.cell: covariance.source, blend.cell: noisy}
        | {f"{e.cell}-reasons": "Because." for e in (covariance, blend)},
        "wrong": {covariance.cell: mistake, blend.cell: blend.source},
        "untouched": {},
    }
    for student, answer in answers.items():
        nb = nbformat.read(folder / "release/splatting/5_exercises.ipynb", as_version=4)
        for cell in nb.cells:
            cell.source = answer.pop(cell.id, cell.source)
        assert not answer
        path = folder / "submitted" / student / "splatting/5_exercises.ipynb"
        path.parent.mkdir(parents=True)
        nbformat.write(nb, path)
    result = exercises.nbgrader(folder, "autograde", "splatting")
    assert result.returncode == 0, result.stderr
    return folder


def test_release_is_what_students_get(course):
    nb = nbformat.read(course / "release/splatting/5_exercises.ipynb", as_version=4)
    cells = {c.id: c for c in nb.cells}
    stub = next(e for e in exercises.load("splatting")[1] if e.name == "blend").stub
    assert f"{cells['exercises-blend'].source}\n\n\nexercises.blend.check(blend)" == stub
    assert cells["exercises-blend-grade"].source == "exercises.blend.check.grade(blend)"
    assert cells["exercises-blend-reasons"].source.endswith("\n\n*Your answer here.*")
    open_cells = {i for i, c in cells.items() if c.metadata.get("editable", True)}
    each = itertools.product(("covariance", "blend"), ("", "-reasons"))
    assert open_cells == {"colab", *(f"exercises-{name}{part}" for name, part in each)}


def test_nbgrader_validates_the_right_and_names_what_fails(course):
    said = {
        student: exercises.nbgrader(course, "validate", f"submitted/{student}/splatting/5_exercises.ipynb").stdout
        for student in ("right", "wrong")
    }
    assert "Success! Your notebook passes all the tests." in said["right"]
    assert "VALIDATION FAILED ON 3 CELL(S)!" in said["wrong"]  # the mistake, and two paragraphs that are missing
    assert "exercises.covariance.check.grade(covariance)" in said["wrong"]
    assert (
        "exercise 5.1: property 4 of 6 does not hold: the length of a quat" in said["wrong"]
    )  # nbgrader cuts the line
    assert said["wrong"].count("You did not provide a response.") == 2


def test_nbgrader_marks_right_wrong_and_untouched(course):
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        found = {s.student.id: s for s in gradebook.assignment_submissions("splatting")}
        marks = {who: {g.name: g.auto_score for g in s.notebooks[0].grades} for who, s in found.items()}
        by_hand = {who: {g.name for g in s.notebooks[0].grades if g.needs_manual_grade} for who, s in found.items()}
        totals = {who: (s.score, s.max_score) for who, s in found.items()}
    grade = ("exercises-covariance-grade", "exercises-blend-grade")
    assert {who: tuple(marks[who][name] for name in grade) for who in marks} == {
        "right": (3, 3),
        "wrong": (0, 3),
        "untouched": (0, 0),
    }
    assert totals == {"right": (6, 20), "wrong": (3, 20), "untouched": (0, 20)}
    written = {"exercises-covariance-reasons", "exercises-blend-reasons"}
    assert by_hand == {"right": written, "wrong": set(), "untouched": set()}  # a blank paragraph is 0 without anyone


def test_release_is_made_again_from_a_source_that_the_teacher_changed(course):
    source = course / "source/splatting/5_exercises.ipynb"
    before = source.read_text()
    source.write_text(before.replace("Can you build it yourself?", "Homework 3"))
    try:
        assert exercises.main(["--assignment", "--only", "5.1,5.4", "--out", str(course), "splatting"]) == 0
        assert "# Homework 3" in (course / "release/splatting/5_exercises.ipynb").read_text()
    finally:
        source.write_text(before)
