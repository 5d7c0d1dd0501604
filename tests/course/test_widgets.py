import base64
import functools
import http.server
import io
import json
import re
import shutil
import threading
from html.parser import HTMLParser

import browser
import nbformat
import numpy as np
import pytest
import traitlets
from nbclient import NotebookClient
from PIL import Image

from bestpapers.course import widgets
from bestpapers.course.widgets import Strip, Widget, base
from bestpapers.dynamics.widgets import Pluck
from bestpapers.splatting.widgets import Splat1D

LABELS = ["1/4 ×", "1/2 ×", "1 ×"]
READOUTS = ["20.1 dB", "22.2 dB", "24.3 dB"]


def grey(level, size):
    return np.full((size, size), level)


def strip(**change):
    given = {
        "panels": {
            "3DGS": [grey(0.1, 3), grey(0.2, 6), grey(0.3, 12)],
            "truth & \"<b>\"": [grey(0.7, 3), grey(0.8, 6), grey(0.9, 12)],
        },
        "labels": LABELS,
        "slider": "zoom",
        "caption": "3DGS grows fat <when> you zoom out.",
        "description": "A wheel at three zooms.",
        "readouts": {"3DGS": READOUTS},
        "start": 1,
    }  # fmt: skip
    return Strip(**given | change)


class Twin(HTMLParser):
    """The tags of a widget's text/html, as (tag, attributes)."""

    def __init__(self, bundle):
        super().__init__()
        self.tags = []
        self.feed(bundle["text/html"])
        self.tag, attributes = self.tags[0]
        self.module, self.state = attributes["data-module"], json.loads(attributes["data-state"])

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))


def bundle_of(widget):
    return widget._repr_mimebundle_()[0]


# --------------------------------------------------------------------------------------------------------------- base


def test_the_twin_holds_state_picture_and_words():
    widget = strip()
    bundle = bundle_of(widget)
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == widget.model_id
    assert bundle["text/plain"] == (
        "A wheel at three zooms. A slider sets the zoom: 1/4 ×, 1/2 ×, 1 ×. At 1/2 ×: 3DGS: 22.2 dB."
    )
    twin = Twin(bundle)
    assert (twin.tag, twin.module) == ("div", "strip.js")
    assert set(twin.state) == {"panels", "labels", "slider", "caption", "frame"}
    assert twin.state["frame"] == 1
    png = base64.b64decode(twin.state["panels"][1]["frames"][2]["b64"])
    assert np.asarray(Image.open(io.BytesIO(png))).tolist() == np.full((12, 12), 230).tolist()
    stills = [attributes for tag, attributes in twin.tags if tag == "img"]
    assert [still["alt"] for still in stills] == ["3DGS, zoom 1/2 ×", 'truth & "<b>", zoom 1/2 ×']
    assert all(still["src"].startswith("data:image/png;base64,") for still in stills)
    assert "b" not in [tag for tag, _ in twin.tags]


def test_the_forms_are_the_same_on_each_run():
    one, two = bundle_of(strip()), bundle_of(strip())
    assert {one[form] == two[form] for form in ("text/plain", "text/html")} == {True}


def test_a_widget_must_describe_itself(tmp_path):
    class Mute(Widget):
        module = Strip.module

    with pytest.raises(NotImplementedError, match="Mute needs describe"):
        bundle_of(Mute())
    Mute.describe = lambda self: " "
    with pytest.raises(ValueError, match=r"Mute\.describe\(\) is missing"):
        bundle_of(Mute())
    with pytest.raises(FileNotFoundError, match=r"Lost\.module: there is no file .*lost\.js"):
        type("Lost", (Widget,), {"module": tmp_path / "lost.js"})


def test_state_is_strict_json():
    class Odd(Widget):
        module = Strip.module
        value = traitlets.Any().tag(sync=True)
        kept_here = traitlets.Int(3)

        def describe(self):
            return "odd"

    assert Odd(value={1: (b"ab", memoryview(b"c")), "t": None}).state() == {
        "value": {"1": [{"b64": "YWI="}, {"b64": "Yw=="}], "t": None}
    }
    with pytest.raises(ValueError, match="JSON"):
        bundle_of(Odd(value=float("nan")))


def test_numbers_are_rounded_to_what_is_the_same_on_every_machine():
    class Turned(Widget):
        module = Strip.module
        R = traitlets.List().tag(sync=True)
        start = traitlets.Dict().tag(sync=True)
        scale = traitlets.Float().tag(sync=True, digits=3)
        count = traitlets.Int(12345678).tag(sync=True)

    here = Turned(R=[0.98823587755866, -3.2467733339918216e-17, -0.0, 1], start={"t": [[1e-20, 137.24844291261175]]})
    here.scale = 26.557092666625977
    state = here.state()
    assert state == {"R": [0.988236, 0.0, 0.0, 1], "start": {"t": [[0.0, 137.248]]}, "scale": 26.6, "count": 12345678}
    assert "-0" not in json.dumps(state)
    next_door = Turned(R=[0.98823587755867, 1e-17, 0.0, 1], start={"t": [[-2e-20, 137.24844291261172]]})
    next_door.scale = 26.557094573974609
    assert next_door.state() == state
    assert here.R[0] == 0.98823587755866  # what the kernel computes with is as it was
    assert Turned(scale=-0.0).state()["scale"] == 0
    assert Turned(scale=1.23456e-9).state()["scale"] == 1.23e-9


def test_bytes_of_numbers_say_their_type():
    class Embedded(Widget):
        module = Strip.module
        texts = traitlets.Bytes(b"ab").tag(sync=True, floats="<f2")

    assert Embedded().state() == {"texts": {"b64": "YWI=", "floats": "<f2"}}


def test_modules_are_found_and_stand_alone():
    found = widgets.modules()
    assert {"strip.js", "splat1d.js", "viewer.js", "explorer.js"} <= set(found)
    assert not {"mount.js", "dom.js"} & set(found)
    for name, text in found.items():
        assert text.count("export default") == 1, name
        assert not re.search(r"^\s*import\b|\bimport\(", text, re.M), f"{name} imports something"
        assert "://" not in text.replace("http://www.w3.org/2000/svg", ""), f"{name} points outside"
    for widget, name in ((Strip, "strip.js"), (Pluck, "pluck.js")):
        assert widget._esm == found[name], "JupyterLab runs what the page runs"


def test_two_modules_of_one_name_are_refused(tmp_path, monkeypatch):
    for wing in ("a", "b"):
        (tmp_path / wing / "widgets").mkdir(parents=True)
        (tmp_path / wing / "widgets" / "x.js").write_text("export default {};")
    monkeypatch.setattr(base, "PACKAGE", tmp_path)
    with pytest.raises(ValueError, match=r"two widget modules have one name, x\.js"):
        widgets.modules()


def test_a_notebook_stores_all_forms():
    source = "from bestpapers.splatting.widgets import Splat1D\nSplat1D(zoom=0.5)"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    (output,) = notebook.cells[0].outputs
    assert {"text/plain", "text/html", "application/vnd.jupyter.widget-view+json"} <= set(output["data"])
    assert output["data"]["text/plain"] == Splat1D(zoom=0.5).describe()
    assert Twin(output["data"]).state["zoom"] == 0.5


# -------------------------------------------------------------------------------------------------------------- strip


def test_png_bytes_are_taken_as_they_are():
    buffer = io.BytesIO()
    Image.new("RGB", (2, 2)).save(buffer, format="PNG")
    assert strip(panels={"a": [buffer.getvalue()] * 3}, readouts=None).panels[0]["frames"] == [buffer.getvalue()] * 3


def test_frame_stays_in_range():
    widget = strip()
    widget.frame = 2
    assert "At 1 ×: 3DGS: 24.3 dB" in widget.describe()
    with pytest.raises(traitlets.TraitError, match="frame must be an index of labels, 0 to 2, got 3"):
        widget.frame = 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"panels": {}}, "at least one panel"),
        ({"labels": []}, "at least one panel and one label"),
        ({"labels": LABELS[:2]}, "3DGS: want 2 entries, one for each label, got 3"),
        ({"readouts": {"3DGS": READOUTS[:2]}}, "readouts of 3DGS: want 3 entries"),
        ({"readouts": {"EWA": READOUTS}}, "readouts: no panel is called 'EWA'"),
        ({"start": 3}, "start must be an index of labels, 0 to 2, got 3"),
        ({"slider": ""}, "slider is missing"),
        ({"caption": ""}, "caption is missing"),
        ({"description": None}, "description is missing"),
        ({"panels": {"a": [b"GIF89a"] * 3}, "readouts": None}, "a, 1/4 ×: the bytes are no PNG"),
        ({"panels": {"a": [np.zeros(3)] * 3}, "readouts": None}, r"a, 1/4 ×: a picture is \[H, W\]"),
        (
            {"panels": {"a": [np.random.default_rng(0).random((600, 600, 3))] * 3}, "readouts": None},
            r"the pictures take 3\.2 MB as PNG, the limit is 3 MB",
        ),
    ],
)
def test_bad_strips_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        strip(**change)


# ---------------------------------------------------------------------- in a browser, mounted as on the published page


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    program = browser.find()
    if program is None:
        pytest.skip(browser.WHAT_TO_DO)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, headless=True, args=browser.FLAGS)
        yield running
        running.close()


@pytest.fixture
def open_page(chromium, tmp_path):
    """Open a page with the given widgets; at the end, its console must be clean and it must have asked no other host."""
    (tmp_path / "esm").mkdir()
    shutil.copy(base.MOUNT, tmp_path)
    for name, text in widgets.modules().items():
        (tmp_path / "esm" / name).write_text(text, encoding="utf-8")
    faults, pages = [], []
    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        origin = f"http://127.0.0.1:{server.server_port}"

        def opened(*shown, dark=False, width=900, touch=False):
            twins = "".join(bundle_of(widget)["text/html"] for widget in shown)
            style = "background: rgb(18, 18, 18); color: rgb(220, 220, 220)" if dark else ""
            head = '<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">'
            policy = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"
            head += f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
            page = f'{head}<body style="{style}">{twins}<script type="module" src="mount.js"></script></body>'
            (tmp_path / "index.html").write_text(page, encoding="utf-8")
            made = chromium.new_page(viewport={"width": width, "height": 900}, has_touch=touch)
            made.set_default_timeout(300_000)  # a busy machine is no fault of the page
            pages.append(made)
            made.on("console", lambda message: faults.append(message.text))
            made.on("pageerror", lambda error: faults.append(str(error)))
            made.on("requestfailed", lambda request: faults.append(request.url))
            made.on("request", lambda r: r.url.startswith((origin, "data:")) or faults.append(r.url))
            made.goto(origin)
            made.wait_for_function(
                "n => document.querySelectorAll('.nbwidget[data-mounted]').length == n", arg=len(shown), timeout=300_000
            )
            return made

        yield opened
        for page in pages:
            page.close()
        server.shutdown()
    assert faults == []


def colours(page):
    """The first pixel of each panel's picture, once all are loaded."""
    return page.evaluate(
        """async () => Promise.all([...document.querySelectorAll(".bp-strip img")].map(async (img) => {
          await img.decode();
          const c = document.createElement("canvas").getContext("2d");
          c.drawImage(img, 0, 0);
          return c.getImageData(0, 0, 1, 1).data[0];
        }))"""
    )


def test_the_strip_follows_the_keyboard(open_page):
    page = open_page(strip())
    slider = page.get_by_role("slider", name="zoom")
    assert page.locator("img").count() == 2  # the still has gone
    assert colours(page) == [51, 204]
    assert slider.get_attribute("aria-valuetext") == "1/2 ×"
    assert page.locator(".bp-readout").all_inner_texts() == ["22.2 dB", ""]
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert colours(page) == [76, 230]
    assert slider.get_attribute("aria-valuetext") == "1 ×"
    assert page.locator(".bp-readout").all_inner_texts() == ["24.3 dB", ""]
    assert page.locator("output").text_content() == "1 ×: 3DGS 24.3 dB"
    assert page.locator("img").last.get_attribute("alt") == 'truth & "<b>", zoom 1 ×'
    page.keyboard.press("Home")
    assert colours(page) == [26, 178]
    assert page.locator(".bp-caption").inner_text() == "3DGS grows fat <when> you zoom out."


def test_the_strip_follows_a_finger(open_page):
    page = open_page(strip(), touch=True)
    box = page.get_by_role("slider").bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] - 4, box["y"] + box["height"] / 2)
    assert page.locator("output").inner_text().startswith("1 ×")
    assert colours(page) == [76, 230]


def test_pixels_stay_squares_of_one_width(open_page):
    page = open_page(strip())
    images = page.locator(".bp-strip img")
    sizes = []
    for key in ("Home", "End"):
        page.get_by_role("slider").focus()
        page.keyboard.press(key)
        colours(page)
        sizes += [(box["width"], box["height"]) for box in (image.bounding_box() for image in images.all())]
    assert np.ptp(sizes) < 1
    assert sizes[0][0] > 100
    assert images.first.evaluate("img => getComputedStyle(img).imageRendering") == "pixelated"


def test_the_strip_goes_back_to_its_first_frame(open_page):
    page = open_page(strip())
    page.get_by_role("slider").press("End")
    assert page.locator("output").inner_text().startswith("1 ×")
    page.get_by_role("button", name="Reset").click()
    assert page.locator("output").inner_text().startswith("1/2 ×")
    assert colours(page) == [51, 204]


def test_two_strips_on_a_page_do_not_disturb_each_other(open_page):
    page = open_page(strip(), strip())
    first, second = page.get_by_role("slider").all()
    second.focus()
    page.keyboard.press("End")
    assert [first.input_value(), second.input_value()] == ["1", "2"]
    assert colours(page) == [51, 204, 76, 230]
    ids = page.locator("[id]").evaluate_all("all => all.map(e => e.id)")
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [360, 900])
def test_widgets_fit_the_page_and_take_its_colours(open_page, dark, width):
    page = open_page(strip(), Splat1D(), dark=dark, width=width)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    want = "rgb(220, 220, 220)" if dark else "rgb(0, 0, 0)"
    texts = page.locator("figcaption, .bp-readout, label, output, .bp-caption").evaluate_all(
        "all => all.map(e => getComputedStyle(e).color)"
    )
    assert set(texts) == {want}
    assert page.locator(".bp-splat text").first.evaluate("e => getComputedStyle(e).fill") == want


def test_nothing_moves_by_itself(open_page):
    page = open_page(strip(), Splat1D())
    moving = "all => all.filter(e => getComputedStyle(e).transitionDuration != '0s' || e.getAnimations().length)"
    assert page.locator(".nbwidget *").evaluate_all(f"{moving}.length") == 0


def test_the_splat_follows_its_sliders(open_page):
    page = open_page(Splat1D())
    zoom, place = page.get_by_role("slider", name="zoom"), page.get_by_role("slider", name="place in the pixel")
    readouts = page.locator(".bp-splat .bp-readout")
    tallest = "bars => Math.max(...bars.map((bar) => bar.getAttribute('height')))"
    ewa = page.locator(".bp-splat figure").nth(1).locator(".bp-bar")
    assert zoom.get_attribute("aria-valuetext") == "zoom 1"
    assert readouts.nth(0).inner_text().splitlines() == [
        "light × 1.3 here, × 1.3 on average",
        "middle pixel 1, truth 0.921",
    ]
    before = ewa.evaluate_all(tallest)
    zoom.focus()
    for _ in range(8):
        page.keyboard.press("ArrowLeft")
    assert zoom.get_attribute("aria-valuetext") == "zoom 0.5"
    assert page.locator("output").first.inner_text() == "0.5 ×: focal length 50 px, g = 0.5 px"
    assert readouts.nth(0).inner_text().startswith("light × 2.2 here, × 2.2 on average")
    assert readouts.nth(1).inner_text().splitlines()[1] == "middle pixel 0.455, truth 0.732"
    assert ewa.evaluate_all(tallest) / before == pytest.approx(0.4545 / (1 / 1.3), rel=1e-3)
    page.keyboard.press("Home")
    mip = readouts.nth(2).inner_text()
    assert mip.startswith("light × 1.")
    assert mip.splitlines()[0].endswith("× 1 on average")
    place.focus()
    page.keyboard.press("End")
    assert page.locator("output").last.inner_text() == "0.5 px from its middle"
    assert readouts.nth(2).inner_text() != mip
    label = page.locator(".bp-splat svg[role=img]").nth(2).get_attribute("aria-label")
    assert label.startswith("Mip-Splatting: light × 0.")
