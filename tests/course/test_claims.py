import json
import math
import random
import re
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient

from bestpapers.course import WINGS, claims

TOML = """
["splatting.C1"]
where = "Table 2"
claim = "Mip beats 3DGS on average."
paper = "31.97 against 24.84 dB"
scale = "toy"

["splatting.C2"]
where = "Table 6"
claim = "The gap grows."
scale = "toy"
rule = "> 0"

["splatting.C2.thin"]
where = "Table 6"
claim = "The gap grows on the thin scene, too."
scale = "toy"
rule = "> 0"
expect = "undecided"
note = "Three seeds are few."

["splatting.C3"]
where = "Figure 1"
claim = "Training with dilation shrinks."
scale = "toy"
expect = "does not hold"
note = "Our scene has no noise."

["splatting.C14"]
where = "section 5"
claim = "Memory runs out."
paper = "out of memory"
scale = "none"
note = "Needs a 40 GB GPU <or more>."
"""


@pytest.fixture(autouse=True)
def package(tmp_path, monkeypatch):
    """A package whose wing `splatting` claims what TOML says. Returns a function that writes another text."""

    def write(text, wing="splatting"):
        (tmp_path / wing).mkdir(exist_ok=True)
        (tmp_path / wing / "claims.toml").write_text(text, encoding="utf-8")
        claims.load.cache_clear()

    monkeypatch.setattr(claims, "PACKAGE", tmp_path)
    write(TOML)
    yield write
    claims.load.cache_clear()


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
    claims.check("splatting.C1", ours="25.5 against 9.6 dB", holds=True, note="one scene <mean>")
    (bundle,) = shown
    row = bundle[claims.MIME]
    assert row == {
        "key": "splatting.C1",
        "where": "Table 2",
        "claim": "Mip beats 3DGS on average.",
        "paper": "31.97 against 24.84 dB",
        "scale": "toy",
        "rule": None,
        "expect": "holds",
        "note": "one scene <mean>",
        "ours": "25.5 against 9.6 dB",
        "outcome": "holds",
    }
    assert json.loads(json.dumps(row)) == row
    for form in ("text/plain", "text/html"):
        for word in ("splatting.C1", "Table 2", "holds (toy)", row["claim"], row["paper"], row["ours"]):
            assert word in bundle[form]
    assert 'id="claim-splatting-C1"' in bundle["text/html"]
    assert "one scene &lt;mean&gt;" in bundle["text/html"]


def test_the_paper_may_print_no_figure(shown):
    claims.check("splatting.C2", ours="+1", interval=(1.0, 0.5, 1.5))
    assert "Paper" not in shown[0]["text/plain"] + shown[0]["text/html"]
    assert "Rule: the interval lies > 0" in shown[0]["text/plain"]


@pytest.mark.parametrize("truth", [np.bool_(True), np.array(True), torch.tensor(True)])
def test_truth_values_of_arrays_are_taken(shown, truth):
    claims.check("splatting.C1", ours="25.5", holds=truth)
    assert shown[0][claims.MIME]["outcome"] == "holds"


@pytest.mark.parametrize(
    ("rule", "intervals", "outcome"),
    [
        ("> 0", [(1, 0.5, 2)], "holds"),
        ("> 0", [(1, 0, 2)], "undecided"),  # the end itself is in the interval
        ("> 0", [(-1, -2, 0)], "undecided"),
        ("> 0", [(-1, -2, -0.5)], "does not hold"),
        ("< -0.5", [(-1, -2, -0.6)], "holds"),
        ("< -0.5", [(-1, -2, -0.4)], "undecided"),
        ("< -0.5", [(0, -0.4, 1)], "does not hold"),
        ("within 0.5", [(0, -0.4, 0.4)], "holds"),
        ("within 0.5", [(0.2, -0.4, 0.6)], "undecided"),
        ("within 0.5", [(0, -9, 9)], "undecided"),
        ("within 0.5", [(-1, -1.2, -0.6)], "does not hold"),
        ("> 1e-3", [(1, 0.5, 2), (1, 1, 1)], "holds"),
        ("> 0", [(1, 0.5, 2), (1, -1, 2)], "undecided"),
        ("> 0", [(1, -1, 2), (-1, -2, -0.5), (1, 0.5, 2)], "does not hold"),
    ],
)
def test_an_interval_that_contains_the_threshold_is_undecided(rule, intervals, outcome):
    assert claims.judge(rule, intervals) == outcome


def test_intervals_of_numpy_are_taken(shown):
    claims.check("splatting.C2", ours="+1", interval=tuple(np.array([1.0, 0.5, 1.5])))
    claims.check("splatting.C2.thin", ours="+1", interval=[(1.0, 0.5, 1.5), tuple(np.float32([1, -1, 2]))])
    assert [bundle[claims.MIME]["outcome"] for bundle in shown] == ["holds", "undecided"]


@pytest.mark.parametrize(
    ("key", "result", "words"),
    [
        ("splatting.C1", {"holds": False}, "the outcome is 'does not hold', and claims.toml expects 'holds'"),
        ("splatting.C3", {"holds": True}, "the outcome is 'holds', and claims.toml expects 'does not hold'"),
        ("splatting.C2", {"interval": (1, -1, 2)}, "the outcome is 'undecided'"),
        ("splatting.C2.thin", {"interval": (1, 0.5, 2)}, "the outcome is 'holds', and .*'undecided'"),
    ],
)
def test_a_surprise_is_shown_then_raised(shown, key, result, words):
    with pytest.raises(AssertionError, match=words):
        claims.check(key, ours="31 dB", **result)
    assert shown[0][claims.MIME]["outcome"] in shown[0]["text/plain"]


def test_a_claim_that_is_not_decided_in_its_favour_says_why(shown):
    claims.check("splatting.C3", ours="no shrinking", holds=False)
    claims.check("splatting.C2.thin", ours="+1 (-1 to 2)", interval=(1, -1, 2), note="Seeds 1 to 3.")
    claims.check("splatting.C14")
    assert "does not hold (toy)" in shown[0]["text/html"]
    assert "Our scene has no noise." in shown[0]["text/plain"]
    assert "undecided (toy)" in shown[1]["text/plain"]
    assert "Note: Three seeds are few. Seeds 1 to 3." in shown[1]["text/plain"]
    assert "not tested" in shown[2]["text/plain"]
    assert "40 GB GPU &lt;or more&gt;" in shown[2]["text/html"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"key": "splatting.C9"}, ValueError, "'splatting.C9' is no claim of its wing's claims.toml"),
        ({"key": "mip.C1"}, ValueError, "'mip.C1' is no claim"),
        ({"key": 3}, ValueError, "3 is no claim"),
        ({"holds": 1}, TypeError, r"C1: holds must be True or False; got 1 \(int\)"),
        ({"holds": "yes"}, TypeError, "holds"),
        ({"holds": None}, ValueError, "without a rule. takes ours and holds, got ours"),
        ({"interval": (1, 0, 2)}, ValueError, "takes ours and holds, got ours and holds and interval"),
        ({"key": "splatting.C2"}, ValueError, "rule '> 0'. takes ours and interval, got ours and holds"),
        ({"key": "splatting.C14"}, ValueError, "takes no result, got ours and holds"),
        ({"ours": " "}, ValueError, "ours is missing"),
        ({"ours": 25.5}, ValueError, "ours is missing"),
        ({"key": "splatting.C2", "holds": None, "interval": (3, 0, 2)}, ValueError, "C2: an interval is"),
        ({"key": "splatting.C2", "holds": None, "interval": (0, math.nan, 2)}, ValueError, "C2: an interval is"),
        ({"key": "splatting.C2", "holds": None, "interval": (0, -math.inf, 2)}, ValueError, "finite"),
        ({"key": "splatting.C2", "holds": None, "interval": (0, 1)}, ValueError, "C2: not enough values"),
        ({"key": "splatting.C2", "holds": None, "interval": []}, ValueError, "C2: "),
        ({"key": "splatting.C2", "holds": None, "interval": 0.5}, ValueError, "C2: "),
    ],
)
def test_bad_results_are_refused_before_anything_is_shown(shown, arguments, error, message):
    with pytest.raises(error, match=message):
        claims.check(**{"key": "splatting.C1", "ours": "25.5", "holds": True} | arguments)
    assert not shown


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"splatting.C1"]', '"mip.C1"]', "key: 'mip.C1' is not <wing>.C<number>"),
        ('"splatting.C1"]', '"bioclip.C1"]', "does not begin with 'splatting'"),
        ('"splatting.C1"]', '"splatting.C0"]', "key"),
        ('"splatting.C1"]', '"splatting.C1."]', "key"),
        ('"splatting.C1"]', '"splatting.C1.Thin"]', "key"),
        ('["splatting.C1"]', "[splatting.C1]", "C1"),
        ('where = "Table 2"', 'where = " "', "where is missing"),
        ('where = "Table 2"', 'were = "Table 2"', "were"),
        ('where = "Table 2"\n', "", "where"),
        ('claim = "Mip beats 3DGS on average."', 'claim = ""', "claim is missing"),
        ('paper = "31.97 against 24.84 dB"', "paper = 31.97", "paper is missing: give the paper's figures as text"),
        ('scale = "toy"', 'scale = "small"', "scale: 'small' is not one of identity, toy, full, none"),
        ('scale = "toy"', 'scale = "none"\nnote = "x"\nexpect = "holds"', "go together"),
        ('scale = "toy"', 'scale = "toy"\nexpect = "not tested"\nnote = "x"', "go together"),
        ('scale = "toy"', 'scale = "toy"\nexpect = "maybe"', "expect: 'maybe' is not one of holds, does not hold"),
        ('scale = "toy"', 'scale = "toy"\nexpect = "undecided"\nnote = "x"', "only an interval against a rule"),
        ('rule = "> 0"', 'rule = ">= 0"', "rule: '>= 0' is not"),
        ('rule = "> 0"', 'rule = "> 0 dB"', "rule"),
        ('rule = "> 0"', 'rule = "within -0.5"', "rule: 'within -0.5' is not"),
        ('note = "Three seeds are few."', "", "note is missing: say why"),
        ('note = "Needs a 40 GB GPU <or more>."', "", "note is missing: say why"),
        ('"splatting.C14"]', '"splatting.C2.a"]', "not in the order of the keys"),
        ('scale = "toy"', 'scale = "toy', "no TOML"),
        ('"splatting.C2"]', '"splatting.C1"]', "no TOML"),  # twice
    ],
)
def test_a_bad_table_is_refused_with_its_file_and_key(package, old, new, message):
    package(TOML.replace(old, new, 1))
    with pytest.raises(ValueError, match=r"splatting.claims\.toml") as caught:
        claims.load("splatting")
    assert re.search(message, str(caught.value))


def test_a_wing_without_claims_is_named():
    with pytest.raises(ValueError, match=r"the wing 'dynamics' has no claims\.toml"):
        claims.load("dynamics")


def test_running_a_cell_again_replaces_its_row(shown, cell):
    cell(3)
    claims.check("splatting.C1", ours="25.5", holds=True)
    cell(4)
    claims.check("splatting.C1", ours="26.0", holds=True)  # after a change of the seed, say
    assert len(shown) == 2


def test_one_key_for_two_results_of_one_cell_is_refused(shown, cell):
    cell(3)
    claims.check("splatting.C1", ours="25.5", holds=True)
    with pytest.raises(ValueError, match=r"C1: this key already has a row \(ours: 25.5\).*splatting\.C1\.b"):
        claims.check("splatting.C1", ours="31 dB", holds=True)


def test_outside_a_notebook_only_the_same_row_may_come_again(shown):
    claims.check("splatting.C1", ours="25.5", holds=True)
    claims.check("splatting.C1", ours="25.5", holds=True)
    with pytest.raises(ValueError, match="already has a row"):
        claims.check("splatting.C1", ours="31 dB", holds=True)


def test_keys_sort_as_people_count():
    keys = ["splatting.C1", "splatting.C2", "splatting.C2.run2", "splatting.C2.run10", "splatting.C2.thin"]
    keys += ["splatting.C10", "splatting.C14", "bioclip.C1", "feedback.C3"]
    mixed = random.Random(0).sample(keys, len(keys))
    assert sorted(mixed, key=claims.order) == keys


@pytest.mark.parametrize("wing", WINGS)
def test_the_claims_of_the_wings_are_in_order(monkeypatch, wing):
    package = claims.Path(claims.__file__).parents[1]
    if not (package / wing).is_dir():
        pytest.skip(f"the wing {wing} is not built yet")
    monkeypatch.setattr(claims, "PACKAGE", package)
    assert claims.load(wing)


def write(path, package, *cells):
    """Run the sources as a notebook, one cell each, and store it with its outputs."""
    start = f"import pathlib\nfrom bestpapers.course import claims\nclaims.PACKAGE = pathlib.Path({str(package)!r})\n"
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(start + source, id=f"c{i}") for i, source in enumerate(cells)]
    )
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    nbformat.write(notebook, path)


def test_the_ledger_comes_back_from_real_notebooks(tmp_path):
    one, two = tmp_path / "1.ipynb", tmp_path / "2.ipynb"
    write(
        one,
        tmp_path,
        "claims.check('splatting.C14')",
        "print('no claim here')",
        "claims.check('splatting.C2', ours='+1', interval=(1, 0.5, 2))",
    )
    last = "claims.check('splatting.C2.thin', ours='+1', interval=(1, -1, 2))"
    write(two, tmp_path, f"{last}\nclaims.check('splatting.C1', ours='31 dB', holds=True)")
    rows = claims.collect([one, two])
    assert [row["key"] for row in rows] == [f"splatting.{n}" for n in ("C1", "C2", "C2.thin", "C14")]
    assert [row["outcome"] for row in rows] == ["holds", "holds", "undecided", "not tested"]
    assert [row["cell"] for row in rows] == ["c0", "c2", "c0", "c0"]
    assert rows[0]["notebook"] == two.as_posix()
    assert rows[0]["anchor"] == "claim-splatting-C1"
    with pytest.raises(
        ValueError, match=r"1\.ipynb, cell c0: the key 'splatting\.C14' is already used in .*1\.ipynb, cell c0"
    ):
        claims.collect([one, one])


def stored(tmp_path, row):
    output = {"output_type": "display_data", "metadata": {}, "data": {claims.MIME: row}}
    path = tmp_path / "n.ipynb"
    path.write_text(json.dumps({"cells": [{"cell_type": "code", "id": "c7", "outputs": [output]}]}))
    return path


GOOD = {"key": "splatting.C1", "where": "Table 2", "claim": "Mip wins.", "scale": "toy"}
RESULT = {"ours": "25.5", "outcome": "holds"}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (GOOD, "cell c7: a stored claim is malformed, run the notebook again: KeyError"),
        (GOOD | RESULT | {"holds": True}, "holds"),
        (GOOD | RESULT | {"outcome": True}, "outcome True"),
        (GOOD | RESULT | {"ours": 25.5}, "ours 25.5"),
        (GOOD | RESULT | {"scale": "small"}, "scale: 'small' is not one of"),
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
