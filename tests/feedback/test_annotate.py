"""The annotation page: what it is made of, and what people can do on it, in headless Chromium."""

import json
import re

import browser
import numpy as np
import pytest
from PIL import Image

from bestpapers.feedback import annotate
from bestpapers.feedback.formats import read_annotations
from bestpapers.feedback.record import MAPS, SCORES
from bestpapers.lab.files import FormatError

HOSTILE = 'a </script><script>document.title = "taken"</script> fox, "red" & <b>blue</b>'
PROMPTS = {"boats": "two red boats", "fox": HOSTILE}
SIZES = {"boats": (48, 64), "fox": (90, 60)}  # height, width
ANSWERS = {"plausibility": 2, "aesthetics": 5, "alignment": 1, "overall": 3}
QUESTIONS = dict(zip(SCORES, ("Plausibility", "Beauty", "Match with the prompt", "All in all")))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("renders")
    for seed, (name, ending) in enumerate((("boats", "png"), ("fox", "jpg"))):
        pixels = np.random.default_rng(seed).integers(0, 255, (*SIZES[name], 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.{ending}")
        (folder / f"{name}.txt").write_text(PROMPTS[name], encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def file(folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    annotate.write_page(path, annotate.collect(folder), "Renders <1>")
    return path


# ---------------------------------------------------------------------------------------------------------------- python


def test_pictures_come_with_their_prompts_by_name(folder, tmp_path):
    found = annotate.collect(folder)
    assert [(p.name, p.prompt, p.size) for p in found] == [(name, PROMPTS[name], SIZES[name]) for name in PROMPTS]
    assert [p.type for p in found] == ["image/png", "image/jpeg"]
    assert found[0].data == (folder / "boats.png").read_bytes()
    table = tmp_path / "prompts.csv"
    table.write_text("name,prompt\nboats.png,one\nfox,two\n")
    assert [p.prompt for p in annotate.collect(folder, table)] == ["one", "two"]


def test_a_picture_that_browsers_do_not_show_is_written_anew(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (5, 7, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.tiff")
    (made,) = annotate.collect(tmp_path, {"a": ""})
    assert (made.type, made.size) == ("image/png", (5, 7))
    assert made.data.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("names", "prompts", "message"),
    [
        ([], {}, "pictures: expected at least one"),
        (["a.png"], {}, "prompts: expected one for each of 1 picture,.*none for 'a'.*--prompts"),
        (["a.png", "in/a.png"], {"a": "x"}, "names that differ"),
    ],
)
def test_what_is_missing_is_named(tmp_path, names, prompts, message):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    with pytest.raises(FormatError, match=message):
        annotate.collect(tmp_path, prompts)


def test_too_much_for_a_page_is_refused(folder, monkeypatch):
    monkeypatch.setattr(annotate, "MAX_PAGE", 1000)
    with pytest.raises(FormatError, match="make a page of each part"):
        annotate.collect(folder)


def test_another_ending_is_refused_and_a_page_has_pictures(folder, tmp_path):
    with pytest.raises(FormatError, match=r"\.html"):
        annotate.write_page(tmp_path / "page.txt", annotate.collect(folder), "A")
    with pytest.raises(ValueError, match="wants pictures and a title"):
        annotate.page([], "A")
    assert not list(tmp_path.iterdir())


def test_answers_belong_to_these_pictures_and_prompts(folder):
    found = annotate.collect(folder)
    mark = lambda pictures, title="A": re.search(r'"mark": "(\w+)"', annotate.page(pictures, title))[1]  # noqa: E731
    assert mark(found) == mark(found, "B")
    assert mark(found) != mark(found[:1])


# --------------------------------------------------------------------------------------------------------------- browser


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    if (program := browser.find()) is None:
        pytest.skip(browser.WHAT_TO_DO)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, headless=True, args=browser.FLAGS)
        yield running
        running.close()


@pytest.fixture
def opened(chromium, file):
    """Open the page in a browser of its own. At the end the console must be clean, and nothing may have been asked for."""
    faults, contexts = [], []

    def go(width=900, init="", **options):
        contexts.append(chromium.new_context(viewport={"width": width, "height": 900}, offline=True, **options))
        page = contexts[-1].new_page()
        page.set_default_timeout(300_000)  # a busy machine is no fault of the page
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda r: r.url.startswith((file.as_uri(), "data:", "blob:")) or faults.append(r.url))
        page.add_init_script(init)
        page.goto(file.as_uri())
        page.wait_for_selector(".count:not(:empty)")
        return page

    yield go
    for context in contexts:
        context.close()
    assert faults == []


def named(page, name):
    page.get_by_label("Your name").fill(name)
    page.get_by_label("Your name").press("Enter")
    page.wait_for_function("() => document.querySelector('.stage img').naturalWidth > 0")


def click(page, x, y, size):
    """Click on a pixel of a picture of a size (height, width); where exactly it was, in its pixels."""
    page.locator(".stage").scroll_into_view_if_needed()
    box = page.locator(".stage img").bounding_box()
    at = round(box["x"] + (x + 0.5) / size[1] * box["width"]), round(box["y"] + (y + 0.5) / size[0] * box["height"])
    page.mouse.click(*at)
    return [(at[0] - box["x"]) / box["width"] * size[1] - 0.5, (at[1] - box["y"]) / box["height"] * size[0] - 0.5]


def answer(page, likert):
    for name, value in likert.items():
        page.get_by_role("radio", name=f"{QUESTIONS[name]}: {value} of 5").check()


def download(page, folder):
    with page.expect_download() as started:
        page.get_by_role("button", name="Download all answers").click()
    path = folder / started.value.suggested_filename
    started.value.save_as(path)
    return path


def test_two_people_answer_and_the_export_is_read(opened, tmp_path):
    page = opened()
    assert page.locator(".body").is_hidden()
    named(page, "Ann")
    at = [click(page, 10, 20, SIZES["boats"]), click(page, 50, 5, SIZES["boats"])]
    page.get_by_role("radio", name="Is not what was asked for").check()
    asked = click(page, 10, 20, SIZES["boats"])  # a point of the other kind in the same place
    click(page, 40, 40, SIZES["boats"])
    click(page, 40, 40, SIZES["boats"])  # again: taken away
    page.get_by_role("button", name="red", exact=True).click()
    answer(page, ANSWERS)
    assert "Saved" in page.locator(".say").inner_text()

    named(page, "Bob")  # who has a keyboard, and nothing of Ann's
    assert page.locator("circle").count() == 0
    assert page.locator("button[aria-pressed=true], .likert input:checked").count() == 0
    page.locator(".stage").focus()
    for key in ("ArrowRight", "Shift+ArrowDown", "Enter", "ArrowLeft", "ArrowLeft", "ArrowLeft", " "):
        page.keyboard.press(key)
    page.keyboard.press("Backspace")
    page.get_by_role("button", name="boats").press("Enter")
    for name in SCORES:
        page.get_by_role("radio", name=f"{QUESTIONS[name]}: 1 of 5").focus()
        page.keyboard.press("Space")
        page.keyboard.press("ArrowRight")
    page.get_by_role("button", name="Next", exact=True).press("Enter")
    page.get_by_role("button", name="fox").click()  # begun, but without scores

    (picture,) = read_annotations(download(page, tmp_path))
    assert (picture.name, picture.prompt, picture.size) == ("boats", PROMPTS["boats"], SIZES["boats"])
    ann, bob = picture.annotations
    assert (ann.annotator, ann.likert, ann.misaligned.tolist()) == ("Ann", ANSWERS, [False, True, False])
    np.testing.assert_allclose(ann.points["implausibility"], at, atol=0.011)
    np.testing.assert_allclose(ann.points["misalignment"], [asked], atol=0.011)
    assert (bob.annotator, bob.likert, bob.misaligned.tolist()) == (
        "Bob",
        dict.fromkeys(SCORES, 2),
        [False, False, True],
    )
    assert [len(bob.points[kind]) for kind in MAPS] == [0, 1]  # the last one was taken back
    np.testing.assert_allclose(bob.points["misalignment"], [[32.5, 24.5]], atol=0.011)


def test_it_resumes_where_one_was(opened, tmp_path):
    page = opened()
    named(page, "Ann")
    page.get_by_role("button", name="Next", exact=True).click()
    click(page, 30, 60, SIZES["fox"])
    answer(page, {"plausibility": 4})
    assert "lacks a score" in page.locator(".say").inner_text()
    page.reload()
    page.wait_for_selector(".count:not(:empty)")
    assert page.get_by_label("Your name").input_value() == "Ann"
    assert page.locator(".count").inner_text() == "Picture 2 of 2: fox. Ann has answered 0."
    assert page.locator("circle:not(.edge)").count() == 1
    assert page.get_by_role("radio", name="Plausibility: 4 of 5").is_checked()
    answer(page, {name: 4 for name in SCORES})
    assert page.locator(".count").inner_text().endswith("answered 1.")
    page.get_by_role("button", name="Next without answers").click()
    assert page.locator(".count").inner_text().startswith("Picture 1 of 2")
    answer(page, ANSWERS)
    page.get_by_role("button", name="Next without answers").click()
    assert page.locator(".say").inner_text().startswith("All pictures are answered")
    kept = download(page, tmp_path)

    other = opened()  # another browser, which knows nothing
    named(other, "Ann")
    assert other.locator(".count").inner_text().endswith("answered 0.")
    other.get_by_label("Go on from a download").set_input_files(kept)
    other.wait_for_function("() => document.querySelector('.count').textContent.endsWith('answered 2.')")
    (tmp_path / "again").mkdir()
    assert json.loads(download(other, tmp_path / "again").read_text()) == json.loads(kept.read_text())
    other.get_by_label("Go on from a download").set_input_files(
        {"name": "a.json", "mimeType": "application/json", "buffer": b'{"format": "another"}'}
    )
    other.wait_for_function("() => document.querySelector('.say').textContent.includes('no download')")


def test_what_is_newer_here_stays(opened, tmp_path):
    page = opened()
    named(page, "Ann")
    answer(page, ANSWERS)
    page.get_by_role("button", name="Next", exact=True).click()
    answer(page, ANSWERS)
    kept = download(page, tmp_path)
    assert page.locator(".say").inner_text() == "The download holds 2 pictures with whole answers."
    page.wait_for_timeout(5)
    answer(page, {"overall": 1})
    export = json.loads(kept.read_text())
    export["pictures"][0]["annotations"][0]["changed"] += 1  # changed elsewhere, since
    export["pictures"][0]["annotations"][0]["likert"]["overall"] = 5
    kept.write_text(json.dumps(export))
    page.get_by_label("Go on from a download").set_input_files(kept)
    page.wait_for_function("() => document.querySelector('.say').textContent.startsWith('Taken')")
    assert page.locator(".say").inner_text().startswith("Taken: 1 answer to pictures of this page, 1 not: ")
    now = json.loads(download(page, tmp_path).read_text())
    assert [p["annotations"][0]["likert"]["overall"] for p in now["pictures"]] == [5, 1]


def test_a_prompt_is_words_and_never_runs(opened):
    page = opened()
    named(page, "Ann")
    page.get_by_role("button", name="Next", exact=True).click()
    assert page.locator(".prompt").inner_text() == HOSTILE
    assert page.title() == "Renders <1>"
    assert page.locator(".words b").count() == 0


def test_a_browser_that_keeps_nothing_says_so_and_still_exports(opened, tmp_path):
    page = opened(init="Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); };")
    named(page, "Ann")
    assert page.locator(".say").inner_text().startswith("This browser keeps nothing")
    answer(page, ANSWERS)
    assert page.locator(".say").inner_text().startswith("This browser keeps nothing")
    assert read_annotations(download(page, tmp_path))[0].annotations[0].likert == ANSWERS


def test_without_whole_answers_there_is_no_download(opened):
    page = opened()
    named(page, "Ann")
    click(page, 3, 3, SIZES["boats"])
    page.get_by_role("button", name="Download all answers").click()
    assert page.locator(".say").inner_text().startswith("No picture has all four scores yet")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_finger_marks_and_all_fits_a_phone(opened, scheme):
    page = opened(width=390, has_touch=True, color_scheme=scheme)
    named(page, "Ann")
    page.locator(".stage").scroll_into_view_if_needed()
    box = page.locator(".stage img").bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    found = [float(page.locator("circle:not(.edge)").get_attribute(name)) for name in ("cx", "cy")]
    np.testing.assert_allclose(found, [15.5, 23.5], atol=0.5)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    boxes = [e.bounding_box() for e in page.locator("button, .likert label").all()]
    assert min(min(b["width"], b["height"]) for b in boxes) >= 24
    words = page.locator("h1, h2, p, small, legend, label, .say, button[aria-pressed=false]")
    colours = words.evaluate_all("all => all.map(e => getComputedStyle(e).color)")
    assert set(colours) == {"rgb(255, 255, 255)" if scheme == "dark" else "rgb(0, 0, 0)"}


def test_without_script_the_page_says_why_it_is_empty(chromium, file):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(file.as_uri())
    assert page.get_by_text("are scripts switched off here?").is_visible()
    context.close()
