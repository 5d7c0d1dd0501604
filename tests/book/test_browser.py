"""Every page in headless Chromium, light and dark, wide and narrow. Nothing may fail, and nothing may leave the host."""

import functools
import http.server
import threading

import browser
import check_site
import pytest

PAGES = [*check_site.toc_documents(), "index", "search", "genindex"]

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
    page.on("requestfailed", lambda r: faults.append(f"failed: {r.url} {r.failure}"))
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
    assert page.evaluate("document.documentElement.dataset.theme") == scheme

    for widget in page.locator(".nbwidget").all():
        widget.scroll_into_view_if_needed()
    page.wait_for_function(
        "[...document.querySelectorAll('.nbwidget')].every((w) => w.dataset.mounted === 'yes')", timeout=300_000
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
