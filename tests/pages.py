"""A widget alone on a page (Widget.page), in headless Chromium, and what all widgets must do there."""

import contextlib

import browser
import pytest


@contextlib.contextmanager
def opened(folder, widget, dark=False, width=900, script=True):
    """Yield the open page. At the end its console must be clean, and it must have asked for nothing but itself."""
    from playwright.sync_api import sync_playwright

    if (program := browser.find()) is None:
        pytest.skip(browser.WHAT_TO_DO)
    file = folder / "widget.html"
    file.write_text(widget.page("A widget"), encoding="utf-8")
    faults = []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, headless=True, args=browser.FLAGS)
        page = chromium.new_page(
            color_scheme="dark" if dark else "light",
            java_script_enabled=script,
            viewport={"width": width, "height": 900},
        )
        page.set_default_timeout(300_000)  # a busy machine is no fault of the page
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda r: r.url.startswith((file.as_uri(), "data:")) or faults.append(r.url))
        page.goto(file.as_uri())
        if script:
            page.wait_for_selector(".nbwidget[data-mounted]", timeout=300_000)
        yield page
        chromium.close()
    assert faults == []


def drawing(page):
    """What the widget's drawings show, as one text."""
    return page.locator(".nbwidget figure svg").evaluate_all("all => all.map(e => e.outerHTML).join()")


def press_each_slider(page):
    """Move every slider by one key; return the names of those that left drawing, readout or their own text as it was."""
    dead = []
    for slider in page.get_by_role("slider").all():
        before = drawing(page), page.locator("output").first.inner_text(), slider.get_attribute("aria-valuetext")
        slider.focus()
        page.keyboard.press("ArrowLeft")
        after = drawing(page), page.locator("output").first.inner_text(), slider.get_attribute("aria-valuetext")
        if any(one == other for one, other in zip(before, after)):
            dead.append(slider.evaluate("e => e.labels[0].textContent"))
    return dead


def assert_resets(page):
    """Move the sliders: the button brings back what every control and every word said at first."""
    state = """el => [el.innerText,
      ...[...el.querySelectorAll("input, select")].map((e) => e.type === "checkbox" ? e.checked : e.value)]"""
    widget = page.locator(".nbwidget")
    first = widget.evaluate(state)
    for slider in page.get_by_role("slider").all():
        slider.focus()
        page.keyboard.press("ArrowRight" if slider.evaluate("e => e.value === e.min") else "ArrowLeft")
    assert widget.evaluate(state) != first
    page.get_by_role("button", name="Reset", exact=True).click()
    assert widget.evaluate(state) == first


def assert_fits_a_phone(folder, widget, dark):
    """Nothing may stick out at 390 px, and every word must have the colour that the page gives to text."""
    with opened(folder, widget, dark=dark, width=390) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.locator(".nbwidget > *").evaluate("e => e.scrollWidth <= e.clientWidth")
        words = page.locator(".nbwidget").locator("label, button, output, p, figcaption, text, .bp-value")
        colours = words.evaluate_all(
            "all => all.map(e => getComputedStyle(e)[e.tagName === 'text' ? 'fill' : 'color'])"
        )
        assert set(colours) == {"rgb(255, 255, 255)" if dark else "rgb(0, 0, 0)"}


def assert_still_shown(folder, widget):
    """Where no script runs, the picture and the words stand there."""
    ((_, alt),) = widget.still()
    with opened(folder, widget, width=390, script=False) as page:
        assert 300 < page.get_by_role("img", name=alt).bounding_box()["width"] <= 390
        assert page.get_by_text(widget.describe()).is_visible()


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
