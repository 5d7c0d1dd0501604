"""What opens a widget in headless Chromium: the same helpers as in the tests of the splatting wing."""

import importlib.util
from pathlib import Path

_spec = importlib.util.spec_from_file_location("splatting_page", Path(__file__).parents[1] / "splatting" / "page.py")
_page = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_page)

opened, assert_fits_a_phone, assert_still_shown = _page.opened, _page.assert_fits_a_phone, _page.assert_still_shown

# In an open page: `m`, the module of the widget, and `state`, with bytes as DataView
LOAD = """
const el = document.querySelector(".nbwidget");
const source = JSON.parse(document.getElementById(el.dataset.module).textContent);
const m = await import(`data:text/javascript,${encodeURIComponent(source)}`);
const bytes = (v) => new DataView(Uint8Array.from(atob(v.b64), (c) => c.charCodeAt(0)).buffer);
const state = Object.fromEntries(
  Object.entries(JSON.parse(el.dataset.state)).map(([k, v]) => [k, v?.b64 === undefined ? v : bytes(v)]));
"""


def computed(page, script, given=None):
    """Run a script that uses m, state and given; return what it returns."""
    return page.evaluate("async (given) => {" + LOAD + script + "}", given)
