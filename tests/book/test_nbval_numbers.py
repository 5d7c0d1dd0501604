"""Fresh outputs against stored ones: what a tolerance lets pass, and what it does not."""

import base64
import html
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import form
import nbformat
import numpy as np
import pytest
import stored
import traitlets
from nbval_numbers import differences
from PIL import Image

from bestpapers.course.widgets import Strip, Widget

DB = {"abs": 0.1}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("24.51 dB", "24.51 dB"),
        ("24.51 dB", "24.58 dB"),
        ("worth -0.00 dB", "worth 0.00 dB"),
        ("worth −0.04 dB", "worth +0.02 dB"),
        ("a   9.99\nb  24.50", "a  10.00\nb  24.50"),  # blanks move
        ("1,234.50", "1,234.45"),
        ("2.5e-3 and 1e+2", "2.6e-3 and 1e+2"),
        ("0.3 of 3", "0.2 of 3"),
        ("C6.thin 36.09 (every 10)", "C6.thin 36.07 (every 10)"),
    ],
)
def test_within_the_tolerance(old, new):
    assert differences(old, new, DB) == []
    assert (differences(old, new, None) == []) == (old == new or "worth -0.00" in old)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("24.51 dB", "24.62 dB", "24.62 for 24.51 after '': 0.11 apart, 0.1 allowed"),
        ("gain +0.09 dB", "gain -0.09 dB", "-0.09 for +0.09 after 'gain': 0.18 apart"),
        ("it holds 24.51", "it does not hold 24.51", "other words: 'it does not hold', stored are 'it holds'"),
        ("24.51 dB", "24.51 dB, 24.51 dB", "2 numbers, 1 are stored"),
        ("24.51 24.52 dB", "24.51 dB", "1 numbers, 2 are stored"),
        ("3 seeds, 24.51", "4 seeds, 24.51", "4 for 3 after '': 1 apart, 0.1 allowed"),  # counts
        ("C6 24.51", "C7 24.51", "other words: 'C7', stored are 'C6'"),
        ("24.51 dB\n", "24.51 dB\n\n", "other words"),
        ("24.51 dB", "nan dB", "0 numbers, 1 are stored"),
        ("24.51", "24.51\nWarning: slow", "other words"),
    ],
)
def test_outside_the_tolerance(old, new, words):
    assert words in "\n".join(differences(old, new, DB))


def test_one_unit_of_the_last_digit_is_always_allowed():
    assert differences("24.5", "24.6", {"abs": 0.01}) == []
    assert differences("24.50", "24.52", {"abs": 0.01}) == ["24.52 for 24.50 after '': 0.02 apart, 0.01 allowed"]
    assert differences("1e-5", "2e-5", {"abs": 1e-9}) == []
    assert differences("10", "11", {"rel": 0.5}) != []  # a count
    assert differences("10", "11", {"abs": 1}) == []
    assert differences("200.0", "203.9", {"rel": 0.02}) == []
    assert differences("200.0", "204.1", {"rel": 0.02}) != []


def test_what_failed_between_an_amd_and_an_intel_processor():
    amd = "at steps 200, 400. Natural: -0.41, -0.44, -0.34, +0.09 dB. Thin: -2.96, -3.13 dB."
    intel = "at steps 200, 400. Natural: -0.41, -0.45, -0.33, +0.08 dB. Thin: -2.96, -3.12 dB."
    assert len(differences(amd, intel, None)) == 4
    assert differences(amd, intel, DB) == []


CAMERA = {  # of the viewer in splatting/4_apply, as two processors computed it
    "amd": {"R": [0.9882358775586647, -0.06649475018426419], "t": [-3.2467733339918216e-17, 3.1828484214494352]},
    "intel": {"R": [0.9882358775586647, -0.0664947501842642], "t": [3.753653804366774e-17, 3.1828484214494357]},
}


def test_a_camera_that_failed_is_stored_with_fewer_digits_now():
    class View(Widget):
        module = Strip.module
        start = traitlets.Dict().tag(sync=True)

    amd, intel = (state(start=camera) for camera in CAMERA.values())
    assert len(differences(amd, intel, None)) == 3
    cell = nbformat.v4.new_code_cell("x", id="apply-view")
    cell.outputs = [nbformat.v4.new_output("display_data", {"text/html": amd})]
    assert len(form.long_numbers(nbformat.v4.new_notebook(cells=[cell]), "x.ipynb")) == 1
    amd, intel = (state(**View(start=camera).state()) for camera in CAMERA.values())
    assert amd == intel
    cell.outputs[0].data["text/html"] = amd
    assert form.long_numbers(nbformat.v4.new_notebook(cells=[cell]), "x.ipynb") == []


def state(**traits):
    """A widget's twin as the notebook stores it."""
    return f'<div class="nbwidget" data-state="{html.escape(json.dumps(traits, sort_keys=True))}"></div>'


def picture(levels):
    file = io.BytesIO()
    Image.fromarray(np.full((4, 5, 3), levels, np.uint8)).save(file, format="PNG")
    return {"b64": base64.b64encode(file.getvalue()).decode()}


def floats(*values):
    return {"b64": base64.b64encode(np.array(values, "<f2").tobytes()).decode(), "floats": "<f2"}


def test_the_state_of_a_widget():
    one, other = [picture(100), floats(0.25, 1.0)], [picture(101), floats(0.25, 1.001)]
    assert differences(state(a=one, t=3.25), state(a=other, t=3.3), DB) == []
    assert differences(state(a=one, t=3.25), state(a=other, t=3.3), {"rel": 0.001})  # 3.3 is out
    found = differences(state(a=one), state(a=[picture(102), floats(0.5, 1.5)]), DB)
    assert found == [
        "bytes 1: a picture with pixels 2 of 255 levels apart, 1 allowed",
        "bytes 2: 2 of 2 numbers differ, by 0.5 at most",
    ]
    assert len(differences(state(a=one), state(a=other), None)) == 2
    assert differences(state(a=picture(100)), state(a=picture(102)), {"levels": 2}) == []
    assert "other bytes" in differences(state(a=floats(1, 2)), state(a=floats(1, 2, 3)), DB)[0]
    nan = differences(state(a=floats(1, 2)), state(a=floats(1, np.nan)), DB)
    assert "1 of 2 numbers differ" in nan[0]
    plain = [state(a={"b64": base64.b64encode(text).decode()}) for text in (b"abc", b"abd")]
    assert differences(*plain, DB) == ["bytes 1: other bytes (3, 3 are stored)"]


CLAIM = "application/vnd.bestpapers.claim+json"
SHOW = f"""
from IPython.display import display
print("loss 0.52")
display({{"{CLAIM}": {{"ours": "24.55 dB", "holds": HOLDS}}, "text/plain": "24.55 dB", "text/html": "<b>24.55</b>"}}, raw=True)
"""


def outputs(claim=24.51, loss="0.50", holds=True):
    data = {CLAIM: {"ours": f"{claim} dB", "holds": holds}, "text/plain": f"{claim} dB", "text/html": f"<b>{claim}</b>"}
    return [
        nbformat.v4.new_output("stream", name="stdout", text=f"loss {loss}\n"),
        nbformat.v4.new_output("display_data", data=data),
    ]


def test_in_a_notebook(tmp_path):
    """nbval runs one notebook with a cell for each case: those whose ids say so fail, and say why."""

    def cell(name, kept, tolerance=DB, holds=True):
        metadata = {"bestpapers": {"tolerance": tolerance}} if tolerance else {}
        made = nbformat.v4.new_code_cell(SHOW.replace("HOLDS", str(holds)), id=name, metadata=metadata)
        made.outputs, made.execution_count = kept, 1
        return made

    dies = nbformat.v4.new_code_cell("import os\nos._exit(1)", id="dies-fails")
    dies.execution_count = 1
    cells = [
        cell("same-strict", outputs(24.55, "0.52"), None),
        cell("near", outputs()),
        cell("near-strict-fails", outputs(), None),
        cell("far-fails", outputs(25.51)),
        cell("verdict-fails", outputs(), holds=False),
        cell("absent-fails", outputs()[:1]),
        cell("one-more-fails", [*outputs(), outputs()[1]]),
        dies,
    ]
    (tmp_path / "a.ipynb").write_text(nbformat.writes(nbformat.v4.new_notebook(cells=cells)))
    (tmp_path / "conftest.py").write_text((stored.ROOT / "notebooks" / "conftest.py").read_text())
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(stored.ROOT / "scripts"), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "pytest", "-rA", "--color=no", "--nbval", "--nbval-current-env", "a.ipynb"]
    found = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True).stdout
    for number, c in enumerate(cells):
        assert f"{'FAILED' if c.id.endswith('fails') else 'PASSED'} a.ipynb::Cell {number}" in found, found
    for line in (
        "text/html: 24.55 for 24.51 after '<b>': 0.04 apart, 0 allowed",
        'Not within the tolerance {"abs": 0.1}:',
        "text/plain: 24.55 for 25.51 after '': 0.96 apart, 0.1 allowed",
        f"{CLAIM}: 24.55 for 25.51 after",
        'stored are \'{"holds": true, "ours": "\'',
        "text/plain: 1 outputs, 0 are stored",
        "text/plain: 1 outputs, 2 are stored",
        "the kernel died, perhaps out of memory",
    ):
        assert line in found, (line, found)


@pytest.mark.parametrize(
    ("tolerance", "tags", "message"),
    [
        ({"abs": -1}, [], "must hold numbers from 0"),
        ({"abs": "0.1"}, [], "must hold numbers from 0"),
        ({"abs": True}, [], "must hold numbers from 0"),
        ({"relative": 0.1}, [], 'must hold "abs", "rel" or "levels"'),
        ({}, [], 'must hold "abs", "rel" or "levels"'),
        (0.1, [], 'must hold "abs", "rel" or "levels"'),
        ({"abs": 0.1}, ["nbval-ignore-output"], "says nothing beside the tag nbval-ignore-output"),
    ],
)
def test_a_tolerance_that_says_nothing_is_refused(tolerance, tags, message):
    metadata = {"bestpapers": {"tolerance": tolerance}, "tags": tags}
    cell = nbformat.v4.new_code_cell("1", id="a-cell", metadata=metadata)
    with pytest.raises(stored.NotebookError, match=f'x.ipynb, cell "a-cell": its tolerance {message}'):
        stored.tolerance(cell, "x.ipynb")


def test_addresses_are_not_looked_for_in_bytes():
    """A piece of base64 may read +0x1f; to replace it would leave bytes that cannot be read."""
    _, rule, replace = (Path(__file__).parents[1] / "nbval.cfg").read_text().split("[addresses]")[1].split("\n")[:3]
    pattern, word = rule.removeprefix("regex: "), replace.removeprefix("replace: ")
    data = '{"b64": "AAAA+0x1fAAA/0xabcd0x12=="}'
    assert re.sub(pattern, word, data) == data
    assert re.sub(pattern, word, "<a object at 0x7f3a2b1c>, 0x10") == "<a object at 0xADDR>, 0xADDR"


@pytest.mark.parametrize(("old", "new"), [("#1e8449", "#1e8448"), ("#1e300", "#2e300"), ("#123456", "#123457")])
def test_a_colour_is_a_word(old, new):
    assert differences(old, old, {"abs": 0.1}) == []
    assert differences(old, new, {"abs": 0.1})
