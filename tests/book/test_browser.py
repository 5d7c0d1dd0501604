"""Every page in headless Chromium, light and dark, wide and narrow. Nothing may fail, and nothing may leave the host."""

import functools
import hashlib
import http.server
import json
import re
import threading
from itertools import pairwise
from pathlib import Path

import browser
import check_site
import pytest

PAGES = [*check_site.toc_documents(), "index", "search", "genindex", "404"]

CONTRAST = """() => {
  const parse = (c) => (c.match(/[\\d.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((s, v, i) => s + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (el) => {
    for (; el; el = el.parentElement) {
      const c = parse(getComputedStyle(el).backgroundColor);
      if (c.length === 3 || c[3] > 0.9) return c;
    }
    return [255, 255, 255];
  };
  const worst = { ratio: 21, text: "" };
  const own = (el) => [...el.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
  const skip = ".headerlink, pre *, mjx-container *, svg *, script, style"; // headerlinks show on hover, code has its own theme
  for (const el of document.querySelectorAll("article *")) {
    if (!own(el) || !el.checkVisibility() || el.matches(skip)) continue;
    const [a, b] = [light(parse(getComputedStyle(el).color)), light(ground(el))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const text = `${el.tagName} ${el.className}: ${el.textContent.trim().slice(0, 60)}`;
    if (ratio < worst.ratio) Object.assign(worst, { ratio, text });
  }
  return worst;
}"""


# What a reader cannot get at, or cannot see that there is more of: text that is wider than its box. On paper nothing scrolls.
CUT = """(print) => {
  const faults = [];
  const words = (el) => `${el.tagName} ${el.className}: ${el.textContent.trim().slice(0, 50)}`;
  const skip = ".nbwidget, .noprint, mjx-assistive-mml"; // the last is there to be heard
  const seen = (el) => el.checkVisibility() && el.clientWidth > 1 && el.textContent.trim() && !el.closest(skip);
  // beside a formula stand words, unseen
  const formula = (el) => el.matches("span.math, mjx-container") && el.querySelector("mjx-math");
  const width = (el) => Math.floor(formula(el) ? formula(el).getBoundingClientRect().width : el.scrollWidth);
  for (const el of document.querySelectorAll("article, article *")) {
    if (!(el instanceof HTMLElement) || !seen(el)) continue;
    const style = getComputedStyle(el);
    const scrolls = ["auto", "scroll"].includes(style.overflowX);
    if (style.overflowX === "visible" || width(el) <= el.clientWidth + 1) continue;
    if (print || !scrolls) faults.push(`cut, ${el.clientWidth} of ${width(el)} px: ${words(el)}`);
    else if (!el.dataset.more || style.maskImage === "none") faults.push(`nothing shows that it scrolls: ${words(el)}`);
    else if (![el, ...el.querySelectorAll("*")].some((e) => e.tabIndex >= 0 && !e.matches("a, button")))
      faults.push(`no way to scroll by keyboard: ${words(el)}`);
    else if (!(el.ariaLabel || el.querySelector("mjx-assistive-mml"))) faults.push(`no name: ${words(el)}`);
  }
  const room = document.documentElement.clientWidth + 1;
  if (document.documentElement.scrollWidth > room) faults.push("the page itself scrolls sideways");
  for (const pre of document.querySelectorAll("article pre")) {
    if (innerWidth < 1280 || print || !seen(pre)) continue;
    const longest = Math.max(...pre.textContent.split("\\n").map((line) => line.length));
    if (longest <= 88 && pre.scrollWidth > pre.clientWidth) faults.push(`${longest} columns do not fit: ${words(pre)}`);
  }
  for (const cell of document.querySelectorAll("article :is(td, th)")) {
    if (!seen(cell)) continue;
    const walk = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
    for (let node = walk.nextNode(); node; node = walk.nextNode()) {
      for (const { 0: digits, index } of node.data.matchAll(/\\d[\\d.,]*\\d/g)) {
        const range = document.createRange();
        range.setStart(node, index);
        range.setEnd(node, index + digits.length);
        const tops = new Set([...range.getClientRects()].map((box) => Math.round(box.top)));
        if (tops.size > 1) faults.push(`the number ${digits} is broken in two: ${words(cell)}`);
        if (print && range.getBoundingClientRect().right > room) faults.push(`${digits} is off the paper: ${words(cell)}`);
      }
    }
  }
  return faults;
}"""
PAPER = 718  # px: A4 without the browser's margins
FRAMES = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 50))))"


def cut(page, width, media="screen"):
    """What is cut on the open page at a width; folds are opened first."""
    page.emulate_media(media=media)
    page.set_viewport_size({"width": width, "height": 900})
    page.evaluate("document.querySelectorAll('details').forEach((d) => (d.open = true))")
    page.evaluate(FRAMES)
    return page.evaluate(CUT, media == "print")


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def origin(site):
    handler = functools.partial(QuietHandler, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    program = browser.find()
    assert program, browser.WHAT_TO_DO
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, headless=True, args=browser.FLAGS)
        yield running
        running.close()


@pytest.fixture(params=["light", "dark"])
def scheme(request):
    return request.param


@pytest.fixture
def opened(chromium, origin, scheme):
    """Open a page by name. Afterwards no error may have been seen, and no request may have left the origin."""
    context = chromium.new_context(color_scheme=scheme, viewport={"width": 1280, "height": 900})
    context.set_default_timeout(300_000)  # a busy machine is no fault of the page
    page, faults = context.new_page(), []

    def gate(route):
        if route.request.url.startswith((origin + "/", "data:", "blob:")):
            route.continue_()
        else:
            faults.append(f"asked another host: {route.request.url}")
            route.abort()

    page.route("**/*", gate)
    page.on("console", lambda m: faults.append(f"console: {m.text}") if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: faults.append(f"page error: {e}"))

    def failed(request):
        # the browser asks for the icon when all else is there; a test that has gone on by then leaves it behind
        if not (request.url == f"{origin}/_static/favicon.svg" and request.failure == "net::ERR_ABORTED"):
            faults.append(f"failed: {request.url} {request.failure}")

    page.on("requestfailed", failed)
    page.on("response", lambda r: faults.append(f"{r.status}: {r.url}") if r.status >= 400 else None)

    def go(document):
        page.goto(f"{origin}/{document}.html", wait_until="networkidle")
        return page

    yield go
    context.close()
    assert faults == []


@pytest.mark.parametrize("document", PAGES)
def test_page_is_whole(opened, scheme, document):
    page = opened(document)
    page.wait_for_function("scheme => document.documentElement.dataset.theme === scheme", arg=scheme)

    for widget in page.locator(".nbwidget, .nbwidget-later").all():
        widget.scroll_into_view_if_needed()
    page.wait_for_function(
        "[...document.querySelectorAll('.nbwidget, .nbwidget-later')].every((w) => w.dataset.mounted === 'yes')",
        timeout=300_000,
    )
    assert page.evaluate("[...document.querySelectorAll('.nbwidget')].every((w) => w.childNodes.length > 0)")

    if page.locator(".math").count():
        page.wait_for_function("document.querySelectorAll('mjx-container').length > 0", timeout=300_000)
        assert page.locator("mjx-merror, [data-mjx-error]").count() == 0
    broken = (
        "[...document.images].filter((i) => i.complete && !i.naturalWidth && i.checkVisibility()).map((i) => i.src)"
    )
    assert page.evaluate(broken) == []

    worst = page.evaluate(CONTRAST)
    assert worst["ratio"] >= 4.5, f"contrast {worst['ratio']:.2f} in {scheme} mode: {worst['text']}"

    page.set_viewport_size({"width": 390, "height": 800})
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 391, f"on a phone the page is {width} px wide and must be scrolled sideways"


def test_a_request_to_another_host_would_be_noticed(chromium, origin):
    """The gate above is only worth something if it sees what it forbids."""
    page, asked = chromium.new_page(), []
    page.set_default_timeout(300_000)  # a busy machine is no fault of the page

    def gate(route):
        if route.request.url.startswith(origin):
            return route.continue_()
        asked.append(route.request.url)
        route.abort()

    page.route("**/*", gate)
    page.goto(f"{origin}/search.html", wait_until="networkidle")
    fetch = "const i = new Image(); i.onerror = done; i.src = 'https://elsewhere.example/x.png';"
    page.evaluate(f"new Promise((done) => {{ {fetch} }})")
    assert asked == ["https://elsewhere.example/x.png"]
    page.close()


def test_search_finds_a_page_without_a_server_behind_it(opened):
    page = opened("search")
    page.goto(page.url + "?q=dilation", wait_until="networkidle")
    page.wait_for_selector("#search-results li a", timeout=300_000)
    assert "paper" in " ".join(a.get_attribute("href") for a in page.locator("#search-results li a").all())


def test_a_result_shows_text_and_its_page_marks_the_words(chromium, origin):
    page = chromium.new_page()
    page.set_default_timeout(300_000)
    page.goto(f"{origin}/search.html?q=Nyquist", wait_until="networkidle")
    page.wait_for_selector("#search-results .search-summary .context, #search-results p.context")
    summaries = " ".join(page.locator("#search-results .context").all_inner_texts())
    assert "import " not in summaries
    assert "plots.show" not in summaries
    page.locator("#search-results li a").first.click()
    page.wait_for_selector(".bd-article .highlighted")
    assert page.evaluate("typeof Search") == "undefined"
    page.wait_for_function(
        "[...document.querySelectorAll('.bd-article .highlighted')].some((m) => m.checkVisibility()"
        " && m.getBoundingClientRect().top >= 0 && m.getBoundingClientRect().top < innerHeight)"
    )
    page.close()


@pytest.fixture
def light(chromium, origin):
    """Open a page in the light scheme; formulas stand there when it comes back."""
    context = chromium.new_context(color_scheme="light", viewport={"width": 1440, "height": 900})

    def go(document):
        page = context.new_page()
        page.goto(f"{origin}/{document}.html", wait_until="networkidle")
        page.wait_for_function(
            "!document.querySelector('.math') || document.querySelector('mjx-container')", timeout=300_000
        )
        return page

    yield go
    context.close()


@pytest.mark.parametrize("document", PAGES)
def test_nothing_is_cut_on_screens_and_paper(light, document):
    page = light(document)
    found = {width: faults for width in (1440, 1280, 390, 360) if (faults := cut(page, width))}
    if faults := cut(page, PAPER, "print"):
        found["paper"] = faults
    assert not found


def test_a_cut_table_would_be_noticed(light):
    page = light("notebooks/splatting/3_reproduce")
    assert cut(page, 360) == []
    page.add_style_tag(content=".cell_output div:has(> table) { overflow: hidden !important; }")
    assert any("cut, " in fault for fault in cut(page, 360))
    page.add_style_tag(
        content=".cell_output div:has(> table) { overflow: auto !important; } * { mask: none !important; }"
    )
    assert any("nothing shows" in fault for fault in cut(page, 360))
    page.add_style_tag(content="table.results td { white-space: normal !important; word-break: break-all; }")
    assert any("broken in two" in fault for fault in cut(page, 360))
    assert any("cut, " in fault or "paper" in fault for fault in cut(page, 100, "print"))


def test_wide_boxes_scroll_by_keyboard_and_show_where_there_is_more(light):
    page = light("notebooks/splatting/3_reproduce")
    assert cut(page, 390) == []
    box = page.get_by_role("region", name=re.compile(r"Table \d+, scrolls sideways")).first
    assert box.get_attribute("data-more") == "right"
    box.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("e => e.scrollLeft > 0 && e.dataset.more === 'left right'", arg=box.element_handle())
    box.evaluate("e => (e.scrollLeft = e.scrollWidth)")
    page.wait_for_function("e => e.dataset.more === 'left'", arg=box.element_handle())
    page.set_viewport_size({"width": 1440, "height": 900})  # here it fits
    page.wait_for_function("e => e.dataset.more === undefined", arg=box.element_handle())


def test_the_first_live_figure_is_seen_without_scrolling(chromium, origin):
    for width, height in ((1440, 900), (390, 844)):
        page = chromium.new_page(viewport={"width": width, "height": height}, reduced_motion="reduce")
        page.goto(f"{origin}/book/index.html", wait_until="networkidle")
        page.wait_for_selector(".live .nbwidget[data-mounted]")
        slider = page.locator(".live").first.get_by_role("slider")
        assert slider.bounding_box()["y"] + slider.bounding_box()["height"] < height
        picture = page.locator(".live img").first
        before = picture.get_attribute("src")
        slider.focus()
        page.keyboard.press("ArrowRight")
        assert picture.get_attribute("src") != before
        page.close()


def test_a_figure_opens_large_and_gives_the_focus_back(light):
    page = light("notebooks/splatting/1_idea")
    link = page.locator(".cell_output a.image-reference").first
    alt = link.locator("img").get_attribute("alt")
    shown = link.locator("img").bounding_box()["width"]
    assert link.locator("img").evaluate("i => i.naturalWidth") == pytest.approx(2 * shown, abs=2)  # sharp
    for leave in (lambda: page.keyboard.press("Escape"), page.get_by_role("button", name="Close").click):
        link.focus()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog", name=alt)
        assert dialog.get_by_role("img", name=alt).bounding_box()["width"] > 1.2 * shown
        leave()
        assert page.locator("dialog.enlarged").count() == 0
        assert link.evaluate("e => e === document.activeElement")
    page.set_viewport_size({"width": 390, "height": 844})
    link.click()
    assert page.locator("dialog.enlarged").evaluate(
        "e => e.scrollWidth > e.clientWidth"
    )  # larger than a phone: one pans in it
    assert page.evaluate("document.documentElement.scrollWidth") <= 391


def test_on_paper_answers_are_open_and_the_page_is_light(chromium, origin):
    page = chromium.new_page(color_scheme="dark")
    page.goto(f"{origin}/notebooks/dynamics/1_idea.html", wait_until="load")
    closed = page.locator(".bd-article details:not(.below-output):not([open])").count()
    assert closed
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.locator(".bd-article details:not(.below-output):not([open])").count() == 0
    found = page.evaluate(
        "['article p', 'article pre', 'article h2'].map((s) => getComputedStyle(document.querySelector(s)))"
        ".map((s) => [...s.color.match(/\\d+/g)].slice(0, 3).map(Number))"
    )
    assert all(max(colour) < 130 for colour in found), found
    grounds = page.evaluate(
        "[...document.querySelectorAll('.cell_input, .cell_input pre, .cell_output pre, div.highlight')]"
        ".map((e) => getComputedStyle(e).backgroundColor)"
    )
    assert set(grounds) == {"rgba(0, 0, 0, 0)"}
    assert not page.locator(".nbwidget button").first.is_visible()
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator(".bd-article details:not(.below-output):not([open])").count() == closed
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.close()


def test_on_a_phone_the_scorecard_is_cards_with_the_outcome_first(chromium, origin):
    page = chromium.new_page(viewport={"width": 390, "height": 844})
    page.goto(f"{origin}/book/scorecard.html", wait_until="load")
    row = page.locator("table.scorecard tbody tr").first
    outcome, claim = row.locator(".verdict"), row.locator("td").nth(1)
    assert outcome.bounding_box()["y"] < claim.bounding_box()["y"]
    assert outcome.bounding_box()["x"] + outcome.bounding_box()["width"] < 390
    assert page.locator("table.counts").bounding_box()["y"] < 844  # how many hold, before how it is read
    wide = "[...document.querySelectorAll('.wide-table:has(table.scorecard)')].filter((e) => e.dataset.more).length"
    assert page.evaluate(wide) == 0
    page.close()


def test_the_front_page_moves_once_until_somebody_takes_hold(chromium, origin):
    page = chromium.new_page()
    page.set_default_timeout(300_000)
    page.goto(f"{origin}/book/index.html", wait_until="load")
    slider = page.locator(".live.plays input[type=range]")
    begin = slider.input_value()
    page.wait_for_function("v => document.querySelector('.live.plays input[type=range]').value !== v", arg=begin)
    slider.focus()
    held = slider.input_value()
    page.wait_for_timeout(2500)
    assert slider.input_value() == held
    page.close()


def test_the_front_page_says_where_to_click_first(chromium, origin):
    """One primary button, the first link below the figure; it leads to a first notebook."""
    page = chromium.new_page()
    page.goto(f"{origin}/book/index.html", wait_until="load")
    button = page.locator(".bd-article .sd-btn-primary")
    assert button.count() == 1
    assert button.bounding_box()["y"] < 900 + 200
    assert button.get_attribute("href").endswith("1_idea.html")
    page.close()


def test_headings_of_live_figures_fit_their_page(light):
    """A heading is at most one level below the one before it: who listens to a page goes by them."""
    page = light("notebooks/bioclip/1_idea")
    for widget in page.locator(".nbwidget").all():
        widget.scroll_into_view_if_needed()
    page.wait_for_function("[...document.querySelectorAll('.nbwidget')].every((w) => w.dataset.mounted === 'yes')")
    found = page.evaluate(
        "[...document.querySelectorAll('.bd-article :is(h1, h2, h3, h4, h5, h6, [role=heading])')]"
        ".map((h) => Number(h.ariaLevel ?? h.tagName[1]))"
    )
    assert len(found) > 5
    assert [(a, b) for a, b in pairwise(found) if b > a + 1] == []


AXE = Path(__file__).parent / "vendor" / "axe-core"
HEARD = [
    ("book/index", 1440),
    ("book/index", 390),
    ("book/scorecard", 390),
    ("book/splatting/paper", 1440),
    ("notebooks/splatting/3_reproduce", 1440),
    ("notebooks/bioclip/1_idea", 1440),
    ("notebooks/dynamics/1_idea", 390),
    ("search", 1440),
]


def test_axe_is_the_one_of_its_manifest():
    for name, digest in json.loads((AXE / "manifest.json").read_text())["axe-core"]["files"].items():
        assert hashlib.sha256((AXE / name).read_bytes()).hexdigest() == digest


@pytest.mark.parametrize(("document", "width"), HEARD)
def test_axe_finds_nothing(chromium, origin, document, width):
    """axe-core, all its rules: names, landmarks, headings, tables, contrast, keyboard."""
    page = chromium.new_page(viewport={"width": width, "height": 900})
    page.set_default_timeout(300_000)
    page.goto(f"{origin}/{document}.html", wait_until="load")
    for widget in page.locator(".nbwidget, .nbwidget-later").all():
        widget.scroll_into_view_if_needed()
    page.wait_for_function(
        "[...document.querySelectorAll('.nbwidget, .nbwidget-later')].every((w) => w.dataset.mounted === 'yes')"
    )
    page.evaluate((AXE / "axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate(
        "axe.run(document, { resultTypes: ['violations'] }).then((r) => r.violations.flatMap((v) =>"
        " v.nodes.map((n) => `${v.id}: ${n.target.join(' ')}: ${n.html.slice(0, 120)}`)))"
    )
    assert found == []
    page.close()
