import json
import random
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient

from bestpapers.course import claims

GOOD = {
    "key": "splatting.C1",
    "where": "Table 2",
    "claim": "Mip beats 3DGS on average.",
    "paper": "31.97 against 24.84 dB",
    "ours": "25.5 against 9.6 dB",
    "holds": True,
    "scale": "toy",
}
UNTESTED = {"holds": None, "scale": "none", "ours": None, "note": "needs a 40 GB GPU"}


@pytest.fixture
def shown(monkeypatch):
    bundles = []
    monkeypatch.setattr(claims, "show_bundle", bundles.append)
    monkeypatch.setattr(claims, "_seen", {})
    return bundles


@pytest.fixture
def cell(monkeypatch):
    """Pretend that what follows runs as execution number n of a notebook."""

    def run(n):
        shell = SimpleNamespace(execution_count=n)
        monkeypatch.setitem(claims.sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))

    return run


def test_a_row_holds_everything_in_each_form(shown):
    claims.check(**GOOD, note="one scene, three seeds <mean>")
    (bundle,) = shown
    row = bundle[claims.MIME]
    assert row == GOOD | {"note": "one scene, three seeds <mean>", "expect": True}
    assert json.loads(json.dumps(row)) == row
    for form in ("text/plain", "text/html"):
        for word in ("splatting.C1", "Table 2", "holds (toy)", GOOD["claim"], GOOD["paper"], GOOD["ours"]):
            assert word in bundle[form]
    assert 'id="claim-splatting-C1"' in bundle["text/html"]
    assert "three seeds &lt;mean&gt;" in bundle["text/html"]


def test_the_paper_may_print_no_figure(shown):
    claims.check(**GOOD | {"paper": None})
    assert "Paper" not in shown[0]["text/plain"] + shown[0]["text/html"]


@pytest.mark.parametrize("truth", [np.bool_(True), np.array(True), torch.tensor(True)])
def test_truth_values_of_arrays_are_taken(shown, truth):
    claims.check(**GOOD | {"holds": truth})
    assert shown[0][claims.MIME]["holds"] is True


@pytest.mark.parametrize(
    ("holds", "expect", "words"),
    [(False, True, "C1: the claim does not hold"), (True, False, "C1: the claim holds, .*that it does not")],
)
def test_a_surprise_is_shown_then_raised(shown, holds, expect, words):
    with pytest.raises(AssertionError, match=words):
        claims.check(**GOOD | {"holds": holds, "expect": expect, "note": "seen in another run"})
    assert claims.VERDICTS[holds] in shown[0]["text/plain"]


def test_a_claim_known_not_to_reproduce_is_shown_as_failed(shown):
    claims.check(**GOOD | {"holds": False, "expect": False, "note": "our scene has no noise"})
    assert "does not hold (toy)" in shown[0]["text/html"]


def test_a_claim_that_cannot_be_tested_says_why(shown):
    claims.check(**GOOD | UNTESTED)
    assert "not tested" in shown[0]["text/plain"]
    assert "needs a 40 GB GPU" in shown[0]["text/html"]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"key": "mip.C1"}, ValueError, "key: 'mip.C1' is not <wing>.C<number>"),
        ({"key": "splatting.C0"}, ValueError, "key"),
        ({"key": "splatting.C1."}, ValueError, "key"),
        ({"key": "splatting.C1.Thin"}, ValueError, "key"),
        ({"key": 'splatting.C1.x"y'}, ValueError, "key"),
        ({"key": "splatting.C1\n"}, ValueError, "key"),
        ({"key": 3}, ValueError, "key"),
        ({"holds": 1}, TypeError, r"C1: holds must be one of True, False, None; got 1 \(int\)"),
        ({"holds": "yes"}, TypeError, "holds"),
        ({"expect": None}, TypeError, "expect must be one of True, False; got None"),
        ({"scale": "small"}, ValueError, "scale: 'small' is not one of identity, toy, full, none"),
        ({"scale": "none"}, ValueError, "scale 'none' and holds=None go together"),
        ({"holds": None}, ValueError, "go together"),
        (UNTESTED | {"note": ""}, ValueError, "note is missing"),
        (UNTESTED | {"ours": "3 dB"}, ValueError, "ours must be None"),
        (UNTESTED | {"expect": False}, ValueError, "expect=False is for a claim that was tested"),
        ({"holds": False, "expect": False}, ValueError, "note is missing: say why"),
        ({"where": " "}, ValueError, "where is missing"),
        ({"claim": ""}, ValueError, "claim is missing"),
        ({"paper": 31.97}, ValueError, "paper is missing: give the paper's figures as text"),
        ({"ours": 25.5}, ValueError, "ours is missing"),
    ],
)
def test_bad_rows_are_refused_before_anything_is_shown(shown, change, error, message):
    with pytest.raises(error, match=message):
        claims.check(**GOOD | change)
    assert not shown


def test_running_a_cell_again_replaces_its_row(shown, cell):
    cell(3)
    claims.check(**GOOD)
    cell(4)
    claims.check(**GOOD)
    cell(5)
    claims.check(**GOOD | {"ours": "26.0 against 9.9 dB"})  # after a change of the seed, say
    assert len(shown) == 3


def test_one_key_for_two_claims_is_refused(shown, cell):
    cell(3)
    claims.check(**GOOD)
    cell(4)
    with pytest.raises(ValueError, match=r"C1: this key already names another row \(Table 2: Mip beats.*C1\.b"):
        claims.check(**GOOD | {"claim": "Mip beats EWA."})


def test_one_key_for_two_results_of_one_cell_is_refused(shown, cell):
    cell(3)
    claims.check(**GOOD)
    with pytest.raises(ValueError, match="already names another row"):
        claims.check(**GOOD | {"ours": "31 dB"})


def test_outside_a_notebook_only_the_same_row_may_come_again(shown):
    claims.check(**GOOD)
    claims.check(**GOOD)
    with pytest.raises(ValueError, match="already names another row"):
        claims.check(**GOOD | {"ours": "31 dB"})


def test_keys_sort_as_people_count():
    keys = ["splatting.C1", "splatting.C2", "splatting.C2.run2", "splatting.C2.run10", "splatting.C2.thin"]
    keys += ["splatting.C10", "splatting.C14", "bioclip.C1", "feedback.C3"]
    mixed = random.Random(0).sample(keys, len(keys))
    assert sorted(mixed, key=claims.order) == keys


def write(path, *cells):
    """Run the sources as a notebook, one cell each, and store it with its outputs."""
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source, id=f"c{i}") for i, source in enumerate(cells)]
    )
    NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    nbformat.write(notebook, path)


def call(**change):
    return f"from bestpapers.course import claims\nclaims.check(**{GOOD | change!r})"


def test_the_ledger_comes_back_from_real_notebooks(tmp_path):
    one, two = tmp_path / "1.ipynb", tmp_path / "2.ipynb"
    write(one, call(key="splatting.C14"), "print('no claim here')", call(key="splatting.C2", **UNTESTED))
    write(two, call(key="splatting.C2.thin") + "\n" + call(key="splatting.C1", holds=False, expect=False, note="why"))
    rows = claims.collect([one, two])
    assert [row["key"] for row in rows] == [f"splatting.{n}" for n in ("C1", "C2", "C2.thin", "C14")]
    assert rows[0] == GOOD | {
        "holds": False,
        "expect": False,
        "note": "why",
        "notebook": two.as_posix(),
        "cell": "c0",
        "anchor": "claim-splatting-C1",
    }
    assert rows[3]["cell"] == "c0"
    assert rows[1]["holds"] is None
    with pytest.raises(
        ValueError, match=r"1\.ipynb, cell c0: the key 'splatting\.C14' is already used in .*1\.ipynb, cell c0"
    ):
        claims.collect([one, one])


def stored(tmp_path, row):
    output = {"output_type": "display_data", "metadata": {}, "data": {claims.MIME: row}}
    path = tmp_path / "n.ipynb"
    path.write_text(json.dumps({"cells": [{"cell_type": "code", "id": "c7", "outputs": [output]}]}))
    return path


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (GOOD, "cell c7: a stored claim is malformed, run the notebook again: want the fields key, where"),
        (GOOD | {"note": "", "expect": True, "scale": "small"}, "scale: 'small' is not one of"),
        (3, "malformed"),
    ],
)
def test_a_malformed_row_is_named(tmp_path, row, message):
    with pytest.raises(ValueError, match=message):
        claims.collect([stored(tmp_path, row)])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"cells": 3}', "not json"])
def test_a_file_that_is_no_notebook_is_named(tmp_path, text):
    path = tmp_path / "x.ipynb"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"x\.ipynb is not a notebook"):
        claims.collect([path])
