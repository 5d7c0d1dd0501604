"""Which cells are folded, and what does not fit a page or another machine."""

import form
import nbformat
import pytest
import stored
from stored import ROOT

FIGURE = {"image/png": "AAAA", "text/plain": "A line."}
CLAIM = {form.CLAIM: {"key": "splatting.C1"}, "text/plain": "splatting.C1", "text/html": "<div>splatting.C1</div>"}
WIDGET = {"text/html": '<div class="nbwidget" data-state="{}"></div>', "text/plain": "A wheel."}
TABLE = {"text/html": "<table><tr><td>1</td></tr></table>", "text/plain": "1"}
PAGE = {"text/html": "<p>words</p>", "text/plain": "words"}


def notebook(*cells):
    """A notebook of (source, outputs, tags); outputs are bundles or printed texts. Ids are a-0, a-1, ..."""
    made = []
    for number, (source, outputs, *tags) in enumerate(cells):
        cell = nbformat.v4.new_code_cell(source, id=f"a-{number}", metadata={"tags": tags} if tags else {})
        cell.outputs = [
            nbformat.v4.new_output("stream", text=o)
            if isinstance(o, str)
            else nbformat.v4.new_output("display_data", o)
            for o in outputs
        ]
        made.append(cell)
    return nbformat.v4.new_notebook(cells=made)


def folded(*cells):
    nb = notebook(*cells)
    form.fold(nb)
    return [int(c.id[2:]) for c in nb.cells if "hide-input" in c.metadata.get("tags", [])]


@pytest.mark.parametrize(
    "shown", [[FIGURE], [CLAIM], [WIDGET], [TABLE], [TABLE, TABLE], ["24 dB\n", FIGURE], [PAGE, FIGURE]]
)
def test_what_only_draws_or_records_is_folded(shown):
    assert folded(("draw(x)", shown)) == [0]


@pytest.mark.parametrize("shown", [[], ["24 dB\n"], [PAGE], ["24 dB\n", TABLE], [{"text/plain": "3"}]])
def test_what_prints_or_shows_nothing_stays(shown):
    assert folded(("draw(x)", shown)) == []


@pytest.mark.parametrize(
    ("draws", "reads", "want"),
    [
        ("fig, ax = plt.subplots()\nax.plot(y)", "print(y)", [0]),
        ("y = f(x)\nplot(y)", "print(y)", []),
        ("y = f(x)\nplot(y)", "print(f'{y:.2f}')", []),
        ("y = f(x)\nplot(y)", "y = 3\nprint(y)", [0]),
        ("y = f(x)\nplot(y)", "y = y + 1", []),
        ("y = f(x)\nplot(y)", "y += 1", []),
        ("rows['a'] = f(x)", "print(rows)", []),
        ("rows.append(f(x))", "print(rows)", []),
        ("model.scale = 3", "render(model)", []),
        ("import numpy as np\nnp.add(x, y)", "print(np)", []),
        ("def say(x):\n    return 'y'", "print(say(3))", []),
        ("def say(x):\n    y = x\n    return y", "print(y)", [0]),
        ("import math", "math.pi", []),
        ("from a import b as c", "c.d", []),
        ("for i in range(3):\n    plot(i)", "for i in range(4):\n    print(i)", [0]),
        ("for i in range(3):\n    plot(i)", "[i for i in range(4)]", [0]),
        ("for i in range(3):\n    plot(i)", "print([j for j in range(i)])", []),
        ("y = f(x)", "def g(y):\n    return y", [0]),
        ("y = f(x)", "def g(a=y):\n    return a", []),
        ("y = f(x)", "def g(a):\n    return a + y", []),
        ("y = f(x)", "h = lambda y: y", [0]),
        ("y = f(x)", "h = lambda a: y", []),
        ("y = f(x)", "y: int = 3\nprint(y)", [0]),
        ("if (y := f(x)) > 3:\n    plot(x)", "print(y)", []),
        ("with torch.no_grad() as y:\n    plot(x)", "print(y)", []),
        ("try:\n    plot(x)\nexcept ValueError as y:\n    pass", "print(y)", []),
        ("y, (z, *w) = f(x)", "print(w)", []),
        ("class A:\n    y = 3", "print(A.y)", []),
        ("y = f(x)", "class A:\n    z = y", []),
        ("%time plot(x)", "print(x)", [0]),
    ],
)
def test_a_name_that_a_visible_cell_reads_keeps_a_cell_visible(draws, reads, want):
    assert folded((draws, [FIGURE]), (reads, [])) == want


def test_a_function_of_a_module_changes_no_module():
    assert folded(("import numpy as np", []), ("plot(np.sort(x), np.add(x, y))", [FIGURE]), ("print(np.pi)", [])) == [1]
    assert folded(("x = load()", []), ("plot(x.sort())", [FIGURE]), ("print(x)", [])) == []


def test_readers_that_are_folded_themselves_do_not_count():
    assert folded(("y = f(x)", [FIGURE]), ("plot(y)", [FIGURE])) == [0, 1]
    assert folded(("y = f(x)", [FIGURE]), ("z = plot(y)", [FIGURE]), ("print(z)", [])) == []
    assert folded(("y = f(x)", [FIGURE]), ("y = 2", []), ("print(y)", [])) == [0]
    assert folded(("y = f(x)", [FIGURE]), ("print(y)", [], "hide-cell")) == [0]


def test_the_author_has_the_last_word_and_old_tags_go():
    nb = notebook(
        ("draw(x)", [FIGURE], "show-input"),
        ("draw(x)", [FIGURE], "hide-cell"),
        ("1 + 1", [], "hide-input"),
        ("draw(x)", [FIGURE], "hide-input", "nbval-ignore-output"),
        ("draw(x)", [FIGURE], "hide-output"),
    )
    form.fold(nb)
    assert [c.metadata.get("tags") for c in nb.cells] == [
        ["show-input"], ["hide-cell"], None, ["nbval-ignore-output", "hide-input"], ["hide-output"],
    ]  # fmt: skip
    again = nbformat.from_dict(nb)
    form.fold(again)
    assert again == nb


def test_wide_lines_of_cells_and_of_what_they_print():
    wide = "x = 1  # " + "a" * 90
    nb = notebook((f"y = 2\n{wide}\n{wide}", []), ("y" * 88, ["-" * 88]), ("z", ["ok\n" + "-" * 89]))
    assert form.check(nb, "x.ipynb") == [
        f'x.ipynb, cell "a-0": line 2 has 99 columns, 88 fit, and 1 more: {wide[:60]}...',
        f'x.ipynb, cell "a-2": prints a line of 89 columns, 88 fit: {"-" * 60}...',
    ]
    words = "A line that rises. " * 10
    rich = ({"image/png": "AAAA", "text/plain": words}, {"text/html": "<p>.</p>", "text/plain": words})
    assert form.wide_outputs(notebook(("draw(x)", rich), ("x", ["\x1b[31m" + "-" * 88 + "\x1b[0m"])), "x.ipynb") == []
    assert len(form.wide_outputs(notebook(("x", [{"text/plain": words}])), "x.ipynb")) == 1


def test_long_cells_count_where_they_are_visible():
    lines = "\n".join(f"x{i} = {i}" for i in range(21))
    assert form.check(notebook((lines[: lines.rindex("\n")], [])), "x.ipynb") == []
    nb = notebook((lines, []), (lines, [FIGURE]), (lines, [], "hide-cell"), (lines, [FIGURE]), ("print(x3)", []))
    form.fold(nb)
    assert form.check(nb, "x.ipynb") == [
        'x.ipynb, cell "a-0": 21 lines, 20 is the most of a cell that is not folded: split it',
        'x.ipynb, cell "a-3": 21 lines, 20 is the most of a cell that is not folded: split it '
        '(it shows something and is not folded because cell "a-4" reads its x3)',
    ]


def test_a_cell_has_twelve_lines_at_most_and_imports_are_free():
    where = "notebooks/dynamics/2_build.ipynb"
    twelve = "\n\n".join(f"x{i} = {i}" for i in range(12))
    imports = "import math\nfrom itertools import (\n    chain,\n    pairwise,\n)\n"
    assert form.long_cells(notebook((imports + twelve, [])), where) == []
    thirteen = notebook((twelve + "\ny = 3", []))
    words = f'{where}, cell "a-0": 13 lines, 12 is the most of a cell that is not folded: split it'
    assert form.long_cells(thirteen, where) == [words]
    for other in ("notebooks/dynamics/5_exercises.ipynb", "x.ipynb"):
        assert form.long_cells(notebook((twelve.replace("\n\n", "\n") + "\ny = 3", [])), other) == []


def test_a_notebook_asks_its_reader_to_predict():
    nb = notebook(("x = 1", []))
    ask = "<details>\n<summary>Predict: which is {}</summary>\n\nThe first.\n\n</details>"
    nb.cells += [nbformat.v4.new_markdown_cell(ask.format("larger?")), nbformat.v4.new_markdown_cell(ask.format("it."))]
    where = "notebooks/dynamics/1_idea.ipynb"
    (said,) = form.few_predictions(nb, where)
    assert said.startswith(f"{where}: asks the reader to predict 1 times, 2 is the least")
    nb.cells.append(nbformat.v4.new_markdown_cell(ask.format("smaller?")))
    assert form.few_predictions(nb, where) == []
    assert form.few_predictions(notebook(("x", [])), "notebooks/dynamics/4_apply.ipynb") == []


def test_a_summary_is_html():
    nb = notebook(("x = 1", []))
    nb.cells.append(
        nbformat.v4.new_markdown_cell("<details>\n<summary>Predict: does `ce` win?</summary>\n\nNo.\n\n</details>")
    )
    (said,) = form.marked_summaries(nb, "a.ipynb")
    assert said.endswith("use <code>, <em> or MathML: Predict: does `ce` win?")
    nb.cells[-1].source = nb.cells[-1].source.replace("`ce`", "<code>ce</code>")
    assert form.marked_summaries(nb, "a.ipynb") == []


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*/*.ipynb")), ids=stored.name)
def test_stored_notebooks_are_short_and_ask(path):
    nb, where = nbformat.read(path, as_version=4), stored.name(path)
    form.fold(nb)
    assert form.long_cells(nb, where) + form.few_predictions(nb, where) + form.marked_summaries(nb, where) == []


@pytest.mark.parametrize(
    "text",
    [
        "166.27687752661222",
        "t: [-3.2467733339918216e-17, 3.75]",
        "largest difference 3.2e-17",
        "worth -0.000 dB",
        "worth −0.00 dB",
        "-0",
        "1,234,567.891",
        "1.2345678901234px",
        "at 12.345678901 dB, 3.2e-17px",
    ],
)
def test_digits_that_other_processors_do_not_get_are_refused(text):
    html = {"text/html": f'<div data-state="{{&quot;a&quot;: [&quot;{text}&quot;]}}"></div>', "text/plain": "A wheel."}
    for outputs in ([text], [{"text/plain": text}], [html], [{form.CLAIM: {"ours": text}, "text/plain": "x"}]):
        (line,) = form.check(notebook(("draw(x)", outputs)), "x.ipynb")
        assert line.startswith('x.ipynb, cell "a-0": its output holds ')


@pytest.mark.parametrize(
    "text",
    [
        "24.51 dB, 0.0123457, 12345.678",
        "equal to 1e-15 (identity)",
        "6.7e-10 px²",
        "sha256 0123456789012345678, 123456789012 bytes, 2024-06-17",
        "torch 2.7.1.20240617",
        "colour #123456789, x0.123456789012",
        "0.000000123",
        "1-0.5",
        "range 3-0",
        "1,2,3,4,5,6,7,8,9,0.5",
        "24.51dB, torch 2.7.1b20240617",
        '{"b64": "' + "AB0.123456789012"[:2] * 40 + '"}',
    ],
)
def test_digits_that_are_the_same_everywhere_pass(text):
    assert form.long_numbers(notebook(("x", [text]), ("x", [{"image/png": "0.12345678901234"}])), "x.ipynb") == []


def test_the_colab_cell_is_not_the_authors():
    nb = notebook(("x", []))
    stored.put_colab_cell(nb, "https://github.com/" + "a" * 100)
    assert form.check(nb, "x.ipynb") == []
