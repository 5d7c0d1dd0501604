"""Running tiny notebooks for real: stored outputs, signature, identity of a second run, failures that store nothing."""

import execute
import nbformat
import pytest
from stored import NotebookError

quiet = lambda text: None  # noqa: E731

FIGURE = """
from IPython.display import display
bundle = {"image/png": "iVBORw0KGgo=", "text/plain": "A"}
display(bundle, raw=True, metadata={"image/png": {"alt": "A rising line."}})
"""


def run(project, path, **options):
    return execute.execute(path, project.root, say=quiet, **options)


def test_a_run_stores_outputs_cost_and_signature_and_a_second_run_changes_no_byte(project):
    path = project.notebook(
        ("title", "# A\n\n<!-- cost -->?<!-- /cost -->"),
        ("where", "from pathlib import Path\nprint(Path.cwd().name)\nobject()"),
        ("settings", "import os\nprint(*(os.environ[k] for k in ('OMP_NUM_THREADS', 'BESTPAPERS_PRESET')))"),
        ("fig-line", FIGURE),
    )
    assert list(execute.stale([path], project.root)) == [path]
    assert run(project, path) is True
    nb = nbformat.read(path, as_version=4)
    title, colab, where, settings, fig = nb.cells
    assert colab.id == "colab"
    assert where.outputs[0].text == "splatting\n"  # the kernel starts in the notebook's folder
    assert where.outputs[1].data["text/plain"] == "<object at 0x0>"
    assert settings.outputs[0].text == "1 laptop\n"
    assert fig.metadata.mystnb.image.alt == "A rising line."
    assert fig.metadata.tags == ["hide-input"]
    assert "tags" not in where.metadata
    record = nb.metadata.bestpapers
    assert record.seconds > 0
    assert 10 < record.peak_mb < 2000
    assert f"{max(1, round(record.seconds))} s on {record.cores} CPU core" in title.source
    assert set(record.versions) == {"python", *execute.VERSIONS}
    assert execute.stale([path], project.root) == {}
    assert execute.check([path], project.root) == 0

    before = path.read_bytes()
    assert run(project, path) is False
    assert path.read_bytes() == before
    assert sorted(p.name for p in path.parent.iterdir()) == [path.name]


def test_peak_memory_is_that_of_the_kernel(project):
    path = project.notebook(("allocate", "x = bytearray(400_000_000)\nx[::4096] = bytes(len(x[::4096]))\ndel x"))
    run(project, path)  # however short: the system keeps the mark
    assert 400 < nbformat.read(path, as_version=4).metadata.bestpapers.peak_mb < 800


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("1 / 0", r'5_exercises\.ipynb, cell "break-it": ZeroDivisionError'),
        ("import os\nprint(os.getcwd())", r'cell "break-it": its output holds a path of this machine'),
        (FIGURE.replace("A rising line.", ""), r'cell "break-it": a figure has no alt text'),
        ("x = 1  # " + "a" * 90, r'cell "break-it": line 1 has 99 columns, 88 fit'),
        ("print('-' * 89)", r'cell "break-it": prints a line of 89 columns, 88 fit'),
        ("print(2 / 3)", r'cell "break-it": its output holds 0\.6666666666666666'),
        ("\n".join(f"x{i} = {i}" for i in range(21)), r'cell "break-it": 21 lines, 20 is the most'),
        ("import os\nos._exit(1)", r'cell "break-it": the kernel died'),
    ],
)
def test_a_failure_names_the_cell_and_leaves_the_file(project, source, message):
    path = project.notebook(("title", "# A"), ("first", "x = 1"), ("break-it", source))
    before = path.read_bytes()
    with pytest.raises(NotebookError, match=message):
        run(project, path)
    assert path.read_bytes() == before
    assert sorted(p.name for p in path.parent.iterdir()) == [path.name]


def test_a_meant_error_is_stored(project):
    path = project.notebook(("meant", "1 / 0", {"tags": ["raises-exception"]}), ("after", "print('went on')"))
    run(project, path)
    nb = nbformat.read(path, as_version=4)
    assert nb.cells[1].outputs[0].ename == "ZeroDivisionError"
    assert nb.cells[2].outputs[0].text == "went on\n"


def test_a_cell_that_takes_too_long_is_named(project, monkeypatch):
    path = project.notebook(("slow", "import time\ntime.sleep(30)"))
    nb = nbformat.read(path, as_version=4)
    with pytest.raises(NotebookError, match=r'x\.ipynb, cell "slow": took longer than 1 s'):
        execute.run(nb, path, "x.ipynb", quiet, timeout=1)


def test_command_line_stale_check_and_failure(project, capsys):
    own = "import sys\nsys.path.insert(0, '../../lib')\nfrom bestpapers.course import plots\nprint(1)"
    good = project.notebook(("sum-up", own))
    bad = project.notebook(("break-it", "1 / 0"), name="notebooks/splatting/6_more.ipynb")
    assert execute.main(["--check"], project.root) == 1
    out = capsys.readouterr().out
    assert "notebooks/splatting/5_exercises.ipynb is stale: it was never executed" in out

    assert execute.main(["--stale"], project.root) == 1  # one of the two fails, the other is stored all the same
    captured = capsys.readouterr()
    assert "[2/2] notebooks/splatting/6_more.ipynb" in captured.out
    assert 'FAILED notebooks/splatting/6_more.ipynb, cell "break-it"' in captured.err
    bad.unlink()
    assert execute.main(["--stale"], project.root) == 0
    assert "1 notebooks, 0 with outputs" in capsys.readouterr().out
    assert execute.main(["--check"], project.root) == 0

    project.write("lib/bestpapers/course/plots.py", "# changed\n")
    assert execute.main(["--check", str(good)], project.root) == 1
    assert "lib/bestpapers/course/plots.py changed" in capsys.readouterr().out


def test_check_sees_a_colab_cell_or_alt_text_that_was_edited(project, capsys):
    path = project.notebook(("fig-line", FIGURE))
    run(project, path)
    nb = nbformat.read(path, as_version=4)
    nb.cells[0].source = "pass"
    nb.cells[1].metadata.mystnb.image.alt = "Something else"
    nb.cells[1].metadata.pop("tags")
    path.write_text(nbformat.writes(nb))
    assert execute.check([path], project.root) == 1
    out = capsys.readouterr().out
    assert "its first code cell is not the Colab cell" in out
    assert "alt text in cell metadata differs" in out
    assert "cells that only draw or record are folded, others not: fig-line" in out
    assert execute.main(["--colab-cell"], project.root) == 0
    execute.check([path], project.root)
    assert "Colab cell (scripts" not in capsys.readouterr().out
