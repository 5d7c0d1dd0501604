"""The directive that shows a notebook's live figure on another page."""

import html
import importlib.util
import json

import pytest
import stored

SPEC = importlib.util.spec_from_file_location("live", stored.ROOT / "book" / "_ext" / "live.py")
live = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(live)

STATE = {"frame": 3, "title": 'a "b" <c>'}
TWIN = f'<div class="nbwidget" data-module="strip.js" data-state="{html.escape(json.dumps(STATE))}"><p>words</p></div>'


@pytest.fixture
def notebook(project):
    path = project.notebook(("title", "# A"), ("idea-text", "1"), ("idea-show", "Strip()"), ("idea-other", "2"))
    nb = json.loads(path.read_text())
    shown = [
        {"output_type": "display_data", "metadata": {}, "data": {"text/html": text}} for text in ("<p>no</p>", TWIN)
    ]
    nb["cells"][2]["outputs"] = shown
    path.write_text(json.dumps(nb))
    return path


def test_the_stored_widget_is_found(notebook):
    assert live.widget(notebook, "idea-show") == live.widget(notebook) == TWIN


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("idea-gone", r'notebooks/splatting/5_exercises\.ipynb has no cell "idea-gone"'),
        ("idea-other", r'no widget is stored in the cell "idea-other"'),
    ],
)
def test_a_figure_that_is_not_there_is_named(notebook, cell, message):
    with pytest.raises(LookupError, match=message):
        live.widget(notebook, cell)
    with pytest.raises(LookupError, match=r"there is no notebooks/splatting/9_gone\.ipynb"):
        live.widget(notebook.with_name("9_gone.ipynb"))


def test_it_may_begin_elsewhere(notebook):
    assert live.begin(TWIN, {}) == TWIN
    changed = live.begin(TWIN, {"frame": 0})
    state = html.unescape(live.STATE.search(changed)[1])
    assert json.loads(state) == STATE | {"frame": 0}
    assert changed.replace(html.escape(state), "") == TWIN.replace(html.escape(json.dumps(STATE)), "")
    with pytest.raises(LookupError, match="the widget has no trait zoom; it has frame, title"):
        live.begin(TWIN, {"zoom": 1})


def test_its_state_may_come_later():
    bare, name, state = live.later(TWIN, "../")
    assert json.loads(state) == STATE
    assert (
        bare
        == f'<div class="nbwidget-later" data-module="strip.js" data-from="../_static/live/{name}"><p>words</p></div>'
    )
    assert live.later(live.begin(TWIN, {"frame": 0}), "")[1] != name


def test_every_open_wing_is_alive_on_the_landing_page(site):
    from bs4 import BeautifulSoup

    path = site / "book" / "index.html"
    page = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
    open_wings = {p.parent.name for p in stored.notebooks()}
    shown = {
        c
        for block in page.select(".live:has(.nbwidget, .nbwidget-later)")
        for c in block["class"]
        if c.startswith("wing-")
    }
    assert shown == {f"wing-{wing}" for wing in open_wings}
    for wing in open_wings:
        assert page.select(f'.wing-{wing} a[href$="notebooks/{wing}/1_idea.html"]'), wing
    assert path.stat().st_size < 1_000_000  # the state of all figures but the first comes when a reader is near
    assert page.select_one(".live").select_one(".nbwidget")
