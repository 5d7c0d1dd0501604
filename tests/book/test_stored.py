"""What makes a notebook stale, and what is removed from it or refused before it is stored."""

import json

import nbformat
import pytest
import stored
from stored import NotebookError

CELLS = [("title", "# A question"), ("sum-up", "1 + 1")]


def read(path):
    return nbformat.read(path, as_version=4)


def signed(project, path):
    """The notebook as if it had been executed now."""
    nb = read(path)
    nb.metadata["bestpapers"] = {"fingerprint": stored.fingerprint(nb, path, project.root)}
    return nb


def test_fresh_after_signing_and_stale_before(project):
    path = project.notebook(*CELLS)
    assert stored.why_stale(read(path), path, project.root) == ["it was never executed by scripts/execute.py"]
    assert stored.why_stale(signed(project, path), path, project.root) == []


IMPORTS = """
from bestpapers.course import plots
from bestpapers.kernels import op
from bestpapers.splatting import model, weights
"""


@pytest.fixture
def imported(project):
    """A notebook that stands on some of the library."""
    project.write("lib/bestpapers/splatting/weights/__init__.py", "")
    project.write("lib/bestpapers/splatting/weights/a.safetensors", "123")
    project.write("lib/bestpapers/lab/loop.py", "")
    project.write("lib/bestpapers/kernels/blur/cpu.py", "")
    return project.notebook(("title", "# A question"), ("sum-up", IMPORTS))


@pytest.mark.parametrize(
    "file", ["__init__.py", "course/plots.py", "kernels/op.py", "splatting/model.py", "splatting/weights/a.safetensors"]
)
def test_a_change_of_what_it_imports_makes_it_stale(project, imported, file):
    nb = signed(project, imported)
    project.write(f"lib/bestpapers/{file}", "changed = 1\n")
    assert stored.why_stale(nb, imported, project.root) == [f"lib/bestpapers/{file} changed"]


def test_the_locked_versions_count(project, imported):
    nb = signed(project, imported)
    project.write("requirements.lock", "numpy==2.5.0\n")
    assert stored.why_stale(nb, imported, project.root) == ["requirements.lock changed"]


@pytest.mark.parametrize(
    "file",
    [
        "lib/bestpapers/bioclip/model.py",
        "lib/bestpapers/splatting/train.py",
        "lib/bestpapers/lab/loop.py",
        "lib/bestpapers/kernels/blur/cpu.py",
        "lib/bestpapers/kernels/__pycache__/op.cpython-311.pyc",
        "lib/bestpapers/kernels/op.nbi",
        "notebooks/splatting/2_build.ipynb",
        "README.md",
    ],
)
def test_what_it_does_not_import_and_compiled_files_do_not_count(project, imported, file):
    nb = signed(project, imported)
    project.write(file, "changed = 1\n")
    assert stored.why_stale(nb, imported, project.root) == []


def test_a_room_that_a_module_begins_or_ceases_to_import_counts(project, imported):
    nb = signed(project, imported)
    project.write("lib/bestpapers/splatting/model.py", "def f():\n    from ..lab import loop\n")
    assert stored.why_stale(nb, imported, project.root) == [
        "lib/bestpapers/lab/loop.py is new to it",
        "lib/bestpapers/splatting/model.py changed",
    ]
    nb = signed(project, imported)
    (project.root / "lib/bestpapers/lab/loop.py").unlink()
    assert stored.why_stale(nb, imported, project.root) == ["lib/bestpapers/lab/loop.py is no longer part of it"]


def test_many_reasons_are_counted(project, imported):
    nb = signed(project, imported)
    for number in range(8):
        project.write(f"lib/bestpapers/splatting/weights/{number}.json", "1")
    reasons = stored.why_stale(nb, imported, project.root)
    assert len(reasons) == 6
    assert reasons[-1] == "3 more files changed"


def test_a_cell_or_module_that_is_no_python_is_named(project):
    path = project.notebook(("title", "# A question"), ("sum-up", "1 +"))
    with pytest.raises(
        NotebookError, match=r"notebooks/splatting/5_exercises\.ipynb: a cell, or a module .* is not Python"
    ):
        stored.fingerprint(read(path), path, project.root)


def test_code_and_tags_count_but_prose_outputs_cost_and_the_colab_cell_do_not(project):
    path = project.notebook(("title", "# A <!-- cost -->?<!-- /cost -->"), ("sum-up", "1 + 1"))
    nb = signed(project, path)
    stored.put_cost(nb, "3 s on 2 CPU cores · 0.1 GB")
    stored.put_colab_cell(nb, "https://github.com/a/b")
    nb.cells[-1].outputs = [nbformat.v4.new_output("stream", text="2")]
    nb.cells[0].source += " More prose."
    assert stored.why_stale(nb, path, project.root) == []
    nb.cells[-1].metadata["tags"] = ["hide-input"]  # set after the run
    assert stored.why_stale(nb, path, project.root) == []
    nb.cells[-1].metadata["tags"] = ["raises-exception"]
    assert stored.why_stale(nb, path, project.root) == ["its code cells changed"]
    nb.cells[-1].metadata["tags"] = []
    nb.cells[-1].source = "1 + 2"
    assert stored.why_stale(nb, path, project.root) == ["its code cells changed"]


def test_a_notebook_outside_a_wing_is_refused(project):
    path = project.notebook(*CELLS, name="notebooks/loose.ipynb")
    with pytest.raises(NotebookError, match=r"notebooks/loose\.ipynb.*notebooks/<wing>/"):
        stored.fingerprint(read(path), path, project.root)


def test_colab_cell_comes_first_among_code_and_is_written_once(project):
    nb = read(project.notebook(*CELLS))
    assert stored.put_colab_cell(nb, "https://github.com/a/b") is True
    assert [c.id for c in nb.cells] == ["title", "colab", "sum-up"]
    assert "bestpapers @ git+https://github.com/a/b" in nb.cells[1].source
    assert stored.put_colab_cell(nb, "https://github.com/a/b") is False
    assert stored.put_colab_cell(nb, "https://github.com/c/d") is True
    assert "git+https://github.com/c/d" in nb.cells[1].source
    assert len(nb.cells) == 3


@pytest.mark.parametrize(
    "bad", ["4fd31c2a", "Build-03", "build 03", "build_03", "3b0c9f4e-1111-4222-8333-123456789abc", "-a"]
)
def test_unreadable_ids_are_refused(bad):
    with pytest.raises(NotebookError, match=r"x\.ipynb: cell 2 has the id"):
        stored.check_ids(json.dumps({"cells": [{"id": "good-one"}, {"id": bad}]}), "x.ipynb")


def test_repeated_ids_are_refused_and_words_made_of_hex_letters_are_not(project):
    path = project.notebook(("facade", "1"), ("defaced", "1"), ("build-03-loss", "1"))
    stored.check_ids(path.read_text(), "x.ipynb")
    path.write_text(path.read_text().replace('"defaced"', '"facade"'))
    with pytest.raises(NotebookError, match='two cells have the id "facade"'):
        stored.check_ids(path.read_text(), "x.ipynb")


def test_normalise_removes_what_differs_from_run_to_run():
    cell = nbformat.v4.new_code_cell(
        "x", id="a-cell", metadata={"execution": {"iopub.execute_input": "2026"}, "tags": ["t"]}
    )
    data = {
        "text/plain": "<object at 0x7f12ab34> 300x300",
        stored.WIDGET_VIEW: {"model_id": "abc"},
        "text/html": "<div></div>",
    }
    cell.outputs = [nbformat.v4.new_output("display_data", data=data)]
    nb = nbformat.v4.new_notebook(
        cells=[cell], metadata={"widgets": {"state": {}}, "language_info": {"name": "python", "version": "3.11.7"}}
    )
    stored.normalise(nb)
    assert dict(nb.cells[0].metadata) == {"tags": ["t"]}
    assert dict(nb.cells[0].outputs[0].data) == {"text/plain": "<object at 0x0> 300x300", "text/html": "<div></div>"}
    assert set(nb.metadata) == {"kernelspec", "language_info"}
    assert dict(nb.metadata.language_info) == {"name": "python"}


def figure(alt):
    metadata = {} if alt is None else {"image/png": {"alt": alt}}
    return nbformat.v4.new_output("display_data", data={"image/png": "AAAA", "text/plain": "x"}, metadata=metadata)


def with_outputs(*outputs, **metadata):
    cell = nbformat.v4.new_code_cell("x", id="fig-one", metadata=metadata)
    cell.outputs = list(outputs)
    return nbformat.v4.new_notebook(cells=[cell])


def test_alt_text_goes_where_the_site_looks_for_it():
    nb = with_outputs(figure("A line that rises."), mystnb={"image": {"width": "400px", "alt": "old"}})
    stored.copy_alt(nb, "x.ipynb")
    assert nb.cells[0].metadata.mystnb.image == {"width": "400px", "alt": "A line that rises."}


def test_alt_text_of_a_figure_that_is_gone_goes_too():
    nb = with_outputs(mystnb={"image": {"alt": "old"}})
    stored.copy_alt(nb, "x.ipynb")
    assert dict(nb.cells[0].metadata) == {}


@pytest.mark.parametrize("alt", [None, "", "  "])
def test_a_figure_without_alt_text_is_refused(alt):
    with pytest.raises(NotebookError, match=r'x\.ipynb, cell "fig-one": a figure has no alt text'):
        stored.copy_alt(with_outputs(figure(alt)), "x.ipynb")


def test_two_different_figures_in_one_cell_are_refused():
    with pytest.raises(NotebookError, match="2 figures in one cell"):
        stored.copy_alt(with_outputs(figure("one"), figure("two")), "x.ipynb")


def test_paths_of_this_machine_are_refused(project):
    for text in (
        f"saved to {project.root}/out.png",
        "/x/lib/site-packages/torch/a.py:3: Warning",
        "/tmp/ipykernel_12/3.py:1",
    ):
        nb = with_outputs(nbformat.v4.new_output("stream", text=f"fine\n{text}\n"))
        with pytest.raises(NotebookError, match='cell "fig-one": its output holds a path of this machine'):
            stored.refuse_machine_paths(nb, "x.ipynb", project.root)
    html = nbformat.v4.new_output("display_data", data={"text/html": f"<p>{project.root}</p>"})
    with pytest.raises(NotebookError):
        stored.refuse_machine_paths(with_outputs(html), "x.ipynb", project.root)


def test_relative_paths_and_lookalikes_pass(project):
    text = "notebooks/tmp/x lib/bestpapers/x.py https://example.org/tmp/x path/root/y rooted"
    stored.refuse_machine_paths(with_outputs(nbformat.v4.new_output("stream", text=text)), "x.ipynb", project.root)


def test_cost_line_and_marker(project):
    assert stored.cost_line(41.4, 912.0, 2) == "41 s on 2 CPU cores · 0.9 GB"
    assert stored.cost_line(0.2, 80.0, 1) == "1 s on 1 CPU core · 0.1 GB"
    nb = read(project.notebook(("title", "# A\n\n20 min · <!-- cost -->?<!-- /cost --> · no GPU"), ("sum-up", "1")))
    stored.put_cost(nb, "1 s")
    assert nb.cells[0].source == "# A\n\n20 min · <!-- cost -->1 s<!-- /cost --> · no GPU"


def test_write_leaves_the_old_file_when_it_cannot_finish(tmp_path, monkeypatch):
    path = tmp_path / "a.ipynb"
    path.write_text("old")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        stored.write(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
