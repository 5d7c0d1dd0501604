"""A page that is one file: opened from the disk without a network, it can be pulled."""

import re

import browser
import pytest

from bestpapers.dynamics.formats.page import write_page
from bestpapers.dynamics.widgets import Pluck
from bestpapers.lab.files import FormatError

from .sway import meadow


@pytest.fixture(scope="module")
def pluck():
    return Pluck.from_spectrum(*meadow(64, 96, (32, 48)), alt="A small meadow.", damping=0.25)


def test_the_file_is_alive_without_a_network(pluck, tmp_path):
    from playwright.sync_api import sync_playwright

    if (program := browser.find()) is None:
        pytest.skip(browser.WHAT_TO_DO)
    file = tmp_path / "made" / "for a friend.html"
    write_page(file, pluck, "For <you> & me")
    faults = []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, headless=True, args=browser.FLAGS)
        page = chromium.new_context(offline=True, viewport={"width": 800, "height": 900}).new_page()
        page.set_default_timeout(300_000)  # a busy machine is no fault of the page
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda r: r.url.startswith((file.as_uri(), "data:")) or faults.append(r.url))
        page.goto(file.as_uri())
        page.wait_for_selector(".bp-pluck[data-ready]")
        assert page.title() == page.get_by_role("heading").inner_text() == "For <you> & me"
        box = page.locator(".bp-stage").bounding_box()
        zoom = box["width"] / 96
        x, y = box["x"] + 48 * zoom, box["y"] + 25 * zoom
        page.mouse.move(x, y)
        page.mouse.down()
        for step in range(1, 4):
            page.mouse.move(x + step * zoom, y)
        page.wait_for_selector(".bp-pluck[data-state=held]")
        page.mouse.up()
        page.wait_for_selector(".bp-pluck[data-state=ringing]")
        assert page.locator(".bp-say").inner_text().startswith("Let go after a pull 3 pixels right")
        assert faults == []
        # whatever a page like this holds, the policy lets no request out
        page.evaluate("fetch('https://example.org/').catch(() => {})")
        page.evaluate("() => { const i = new Image(); i.src = 'https://example.org/a.png'; document.body.append(i); }")
        for _ in range(100):
            page.wait_for_timeout(50)
            refused = [fault for fault in faults if "Content Security Policy" in fault]
            if all(any(end in fault for fault in refused) for end in ("example.org/'", "example.org/a.png'")):
                break
        else:
            raise AssertionError(f"nothing was refused: {faults}")
        chromium.close()
    told = {fault for fault in faults if fault not in refused}
    assert told <= {"https://example.org/a.png"}  # of a request before it is refused


def test_the_file_names_no_host_but_that_of_drawings(pluck, tmp_path):
    write_page(tmp_path / "a.htm", pluck, "A")
    text = (tmp_path / "a.htm").read_text(encoding="utf-8")
    assert set(re.findall(r"https?://[^\s\"'\\<>]+", text)) <= {"http://www.w3.org/2000/svg"}
    assert re.search(r'http-equiv="Content-Security-Policy" content="default-src \'none\';', text)
    write_page(tmp_path / "b.htm", pluck, "A")
    assert (tmp_path / "b.htm").read_bytes() == (tmp_path / "a.htm").read_bytes()


def test_it_is_written_whole_or_not_at_all(pluck, tmp_path):
    file = tmp_path / "a.html"
    file.write_text("before")
    with pytest.raises(ValueError, match="title is missing"):
        write_page(file, pluck, " ")
    assert file.read_text() == "before"
    for name, found in (("a.png", "found .png"), ("page", "found none")):
        with pytest.raises(FormatError, match=rf"name: expected an ending \.html or \.htm, {found}; browsers go by it"):
            write_page(tmp_path / name, pluck, "A")
    assert [p.name for p in tmp_path.iterdir()] == ["a.html"]
