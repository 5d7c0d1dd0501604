"""The widgets of the wing: what they store, and what they do in headless Chromium, against the library."""

import base64
import contextlib
import dataclasses
import itertools
import json

import browser
import numpy as np
import pytest
import torch
import traitlets

from bestpapers.course.widgets.join import joined
from bestpapers.feedback import metrics
from bestpapers.feedback.data import records, true_pair
from bestpapers.feedback.generator import Config as Size
from bestpapers.feedback.generator import Generator, Step, draw, token_mask
from bestpapers.feedback.model import RAHF, Config, as_batch
from bestpapers.feedback.panel import Panel, annotate, heatmap, merge_words
from bestpapers.feedback.record import MAPS, SCORES, Record, words
from bestpapers.feedback.widgets import Clicks, Damage, Sandbox, Steps, Threshold
from bestpapers.feedback.widgets.damage import TABLE, phrases
from bestpapers.feedback.widgets.packed import packed
from bestpapers.feedback.worlds import WORDS, empty, true_example

from .. import pages

SMALL = Config(
    size=32, patch=4, width=16, heads=2, image_layers=1, fusion_layers=2, decoder_layers=1, maps=(8, 6, 4), scores=(8, 5),
    vocabulary=WORDS,
)  # fmt: skip


def rahf(config=SMALL, seed=0) -> RAHF:
    """A model whose outputs all hang on its inputs, with weights that float16 holds."""
    torch.manual_seed(seed)
    model = RAHF(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_((weight + 0.1 * torch.randn_like(weight)).half().float())
    return model.eval().requires_grad_(False)


def examples(n=2, size=32):
    return [true_example(*true_pair("test", i), size) for i in range(n)]


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
def opened(chromium, tmp_path):
    """Open a widget from its file. At the end the console must be clean, and nothing may have been asked for."""
    faults, contexts = [], []

    def go(widget, width=900, **options):
        file = tmp_path / "widget.html"
        file.write_text(widget.page("A widget"), encoding="utf-8")
        contexts.append(chromium.new_context(viewport={"width": width, "height": 1000}, offline=True, **options))
        page = contexts[-1].new_page()
        page.set_default_timeout(300_000)  # a busy machine is no fault of the page
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda r: r.url.startswith((file.as_uri(), "data:")) or faults.append(r.url))
        page.goto(file.as_uri())
        page.wait_for_selector(".nbwidget [data-ready]")
        return page

    yield go
    for context in contexts:
        context.close()
    assert faults == []


@pytest.fixture(scope="module")
def parts(chromium):
    """Run a script that uses the functions of a module, as `m`."""
    page = chromium.new_page()
    page.goto("about:blank")

    def run(module, script, given=None):
        text = json.dumps(joined(module))
        load = f"const m = await import(`data:text/javascript,${{encodeURIComponent({text})}}`);"
        return page.evaluate(f"async (given) => {{ {load} {script} }}", given)

    yield run
    page.close()


def screen(page, nth=0):
    """The pixels of a stage (H, W, 3)."""
    found = page.locator(".bp-stage canvas").nth(nth).evaluate(
        "c => [c.height, c.width, [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]]"
    )  # fmt: skip
    return np.array(found[2], np.uint8).reshape(found[0], found[1], 4)[..., :3]


def on_stage(page, x, y, nth=0):
    """Where the place x, y of a stage, in its pixels, is in the window."""
    stage = page.locator(".bp-stage").nth(nth)
    stage.scroll_into_view_if_needed()
    box, size = stage.bounding_box(), stage.locator("canvas").evaluate("c => [c.width, c.height]")
    return box["x"] + x * box["width"] / size[0], box["y"] + y * box["height"] / size[1]


def assert_fits(page, width):
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for stage in page.locator(
        ".bp-stage"
    ).all():  # as high as its picture: nothing stands below it and pushes the rest down
        assert stage.bounding_box()["height"] == pytest.approx(stage.locator("canvas").bounding_box()["height"], abs=1)
    colours = page.locator(".nbwidget").locator("label, button, output, p, td, th, figcaption")
    return set(colours.evaluate_all("all => all.map(e => getComputedStyle(e).color)"))


# ------------------------------------------------------------------------------------------------- the model in the page

RUN = """
const bytes = Uint8Array.from(atob(given.weights), (c) => c.charCodeAt(0));
const rahf = new m.Rahf(given.config, given.tensors, new DataView(bytes.buffer));
const out = rahf.answer(rahf.see(given.pixels), given.prompt);
const { words, scores } = out;
return { words, scores, maps: Object.fromEntries(Object.entries(out.maps).map(([k, v]) => [k, [...v]])) };
"""


@pytest.mark.parametrize("config", [SMALL, Config(vocabulary=WORDS)], ids=["small", "default"])
@pytest.mark.parametrize("prompt", ["two red cats left of a blue zebra by day", ""])
def test_the_page_computes_what_torch_does(parts, config, prompt):
    model = rahf(config)
    pixels = np.random.default_rng(1).integers(0, 256, (1, config.size, config.size, 3)).astype(np.uint8)
    header, tensors, weights = packed(model)
    given = dict(config=header, tensors=tensors, weights=base64.b64encode(weights).decode("ascii"))
    module = Damage.module.with_name("rahf.js")
    found = parts(module, RUN, given | dict(pixels=pixels.ravel().tolist(), prompt=prompt))
    want = model(as_batch(pixels), model.vocabulary([prompt]))
    n = len(words(prompt))
    assert list(found["maps"]) == list(MAPS)
    assert list(found["scores"]) == list(SCORES)
    assert len(found["words"]) == n
    for name in MAPS:
        wanted = want.maps[name].numpy().ravel()
        assert wanted.std() > 0.1  # so that there is something to get wrong
        np.testing.assert_allclose(found["maps"][name], wanted, rtol=0, atol=1e-4)
    for name in SCORES:
        assert abs(found["scores"][name] - want.scores[name].item()) < 1e-4
    np.testing.assert_allclose(found["words"], want.misaligned[0, :n].numpy(), rtol=0, atol=1e-4)


def test_half_floats_are_read(parts):
    given = np.array([0, -0.0, 1, -2.5, 65504, 6e-8, -3.1e-5, 0.1, np.inf, -np.inf], "<f2")
    script = "return [...m.fromHalf(new DataView(Uint8Array.from(given).buffer))].map(String)"
    found = parts(Damage.module.with_name("rahf.js"), script, list(given.tobytes()))
    np.testing.assert_array_equal([float(x.replace("Infinity", "inf")) for x in found], given.astype(np.float64))


def test_a_prompt_that_is_too_long_is_refused(parts):
    header, tensors, weights = packed(rahf())
    given = dict(config=header, tensors=tensors, weights=base64.b64encode(weights).decode("ascii"))
    script = f"try {{ {RUN} }} catch (error) {{ return error.message; }}"
    given |= dict(pixels=[0] * 32 * 32 * 3, prompt="cat " * 25)
    assert "has 25 words; this model reads 24" in parts(Damage.module.with_name("rahf.js"), script, given)


def test_what_the_page_does_not_run_is_not_packed():
    with pytest.raises(ValueError, match="multi-head"):
        packed(RAHF(Config(variant="augmented", vocabulary=WORDS)))
    model = rahf()
    model.word.weight[0, 0] = 1e6
    with pytest.raises(ValueError, match="not finite as float16"):
        packed(model)
    with pytest.raises(ValueError, match=r"the limit is 3 MB"):
        packed(RAHF(Config(width=256, vocabulary=WORDS)))


# -------------------------------------------------------------------------------------------------------------- Damage


def settled(page, answers):
    page.wait_for_function(
        "n => { const d = document.querySelector('.bp-damage').dataset; return d.state === 'answered' && +d.answers > n; }",
        arg=answers,
    )
    return page.locator(".bp-damage").evaluate("e => ({...e.dataset})")


def assert_answer(model, page, found):
    """What the page says is what the model says of the pixels on the screen and the prompt."""
    [want] = model.predict(screen(page)[None], [found["prompt"]])
    for name, score in json.loads(found["scores"]).items():
        assert abs(score - want.scores[name]) < 1e-4
    np.testing.assert_allclose(json.loads(found["words"]), want.misaligned, rtol=0, atol=1e-4)
    for name, text in zip(MAPS, json.loads(found["highest"]), strict=True):
        assert abs(float(text.split()[1]) - want.maps[name].max()) < 0.0051


def test_phrases_say_the_prompt(parts):
    captions = [true_pair("train", i)[0] for i in range(40)]
    script = "return given[0].map((p) => m.sentence(p, given[1]).join(' '))"
    found = parts(Damage.module, script, [[phrases(caption) for caption in captions], TABLE])
    assert found == [caption.prompt for caption in captions]
    assert {c.groups[0].count for c in captions} == {1, 2, 3}
    assert {len(c.groups) for c in captions} == {1, 2}


def test_damage_answers_to_paint_and_words(opened):
    model, made = rahf(), examples()
    page = opened(Damage(model, made))
    found = settled(page, 0)
    np.testing.assert_array_equal(screen(page), made[0].picture)
    assert found["prompt"] == made[0].caption.prompt
    assert_answer(model, page, found)

    page.get_by_role("button", name="purple").click()
    page.mouse.move(*on_stage(page, 4, 4))
    page.mouse.down()
    page.mouse.move(*on_stage(page, 28, 28), steps=4)
    page.mouse.up()
    after = settled(page, int(found["answers"]))
    assert after["scores"] != found["scores"]
    painted = screen(page)
    assert painted[16, 16].tolist() == [158, 94, 199]
    assert (painted[4, 28] == made[0].picture[4, 28]).all()
    assert_answer(model, page, after)

    page.get_by_role("button", name="erase").click()
    x, y = on_stage(page, 16, 16)
    page.mouse.click(x, y)
    erased = settled(page, int(after["answers"]))
    assert (screen(page)[16, 16] == empty(made[0].layout.board, 32)[16, 16]).all()
    time = page.get_by_role("combobox", name="time")
    time.select_option(label=next(word for word in TABLE["time"] if not found["prompt"].endswith(word)))
    other = settled(page, int(erased["answers"]))
    assert other["prompt"] != erased["prompt"]
    assert_answer(model, page, other)

    page.get_by_role("button", name="As it was").click()
    back = settled(page, int(other["answers"]))
    assert (back["scores"], back["prompt"]) == (found["scores"], found["prompt"])
    page.get_by_role("combobox", name="picture").select_option("1")
    second = settled(page, int(back["answers"]))
    assert second["prompt"] == made[1].caption.prompt
    assert_answer(model, page, second)


def test_damage_works_by_keys(opened):
    page = opened(Damage(rahf(), examples(1)))
    found = settled(page, 0)
    before = screen(page)
    page.get_by_role("button", name="yellow").focus()
    page.keyboard.press("Enter")
    page.locator(".bp-stage").first.focus()
    for key in ("Shift+ArrowLeft", "ArrowUp", "Space"):
        page.keyboard.press(key)
    after = settled(page, int(found["answers"]))
    y, x = np.nonzero((screen(page) != before).any(-1))
    assert len(x) > 20
    assert max(abs(x.mean() - 12.5), abs(y.mean() - 15.5)) < 1.5
    assert after["scores"] != found["scores"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_damage_fits_a_phone_and_takes_its_colours(opened, scheme):
    page = opened(Damage(rahf(), examples(1)), width=360, color_scheme=scheme)
    paint, *maps = (stage.bounding_box() for stage in page.locator(".bp-stage").all())
    assert len({box["y"] for box in maps}) == 1, "the heatmaps stand side by side"
    assert paint["width"] > 1.9 * maps[0]["width"]
    assert assert_fits(page, 360) == {"rgb(255, 255, 255)" if scheme == "dark" else "rgb(0, 0, 0)"}


def test_damage_says_what_it_shows(chromium, tmp_path):
    widget = Damage(rahf(), examples())
    assert widget.titles[0] in widget.describe()
    with pytest.raises(traitlets.TraitError, match="scene must be 0 to 1"):
        widget.scene = 2
    with pytest.raises(ValueError, match="32 x 32"):
        Damage(rahf(), examples(1, size=64))
    (tmp_path / "a.html").write_text(widget.page("Damage"), encoding="utf-8")
    with contextlib.closing(chromium.new_context(java_script_enabled=False)) as context:
        page = context.new_page()
        page.goto((tmp_path / "a.html").as_uri())
        assert page.get_by_role("img", name=f"Picture for “{widget.titles[0]}”.").is_visible()


# ------------------------------------------------------------------------------------------------------------- Sandbox

NAMES = {"MSE": "mse", "CC": "cc", "KLD": "kld", "SIM": "sim", "NSS": "nss", "AUC": "auc_judd"}


def label(size=24):
    """What three people might have marked: thirds."""
    y, x = np.mgrid[:size, :size]
    clicks = [(7, 9, 4), (8, 10, 4), (16, 18, 3)]
    return np.mean([(x - a) ** 2 + (y - b) ** 2 <= r * r for a, b, r in clicks], axis=0).astype(np.float32)


def blob(size, x, y, width, peak):
    rows, columns = np.mgrid[:size, :size]
    return peak * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * width**2))


def assert_measures(found, P, G):
    assert list(found) == list(NAMES)
    for name, value in found.items():
        want = metrics.MEASURES[NAMES[name]]([P], [G])[0]
        # pixels at one distance from the middle tie, or not, by the last digit of an exponential: so AUC has no more digits
        assert (
            value is None
            if np.isnan(want)
            else abs(value - want) < (2e-3 if name == "AUC" else 1e-6 + 1e-6 * abs(want))
        )


def test_measures_are_those_of_the_library(parts):
    rng = np.random.default_rng(0)
    noise, steps, marked = rng.random((9, 7)), np.round(4 * rng.random((9, 7))) / 4, rng.random((9, 7)) < 0.3
    maps = {"noise": noise, "ties": steps, "flat": np.full((9, 7), 0.1), "zeros": np.zeros((9, 7))}
    labels = {"thirds": marked * np.ceil(3 * noise) / 3, "empty": np.zeros((9, 7)), "full": np.ones((9, 7))}
    script = """const f = { MSE: m.mse, CC: m.cc, KLD: m.kld, SIM: m.sim, NSS: m.nss, AUC: m.auc };
      return given.map(([P, G]) => Object.fromEntries(Object.entries(f).map(([k, of]) => {
        const x = of(P, G);
        return [k, Number.isNaN(x) ? null : x];
      })));"""
    pairs = list(itertools.product(maps.values(), labels.values()))
    given = [[P.ravel().tolist(), G.ravel().tolist()] for P, G in pairs]
    for found, (P, G) in zip(parts(Sandbox.module, script, given), pairs, strict=True):
        assert_measures(found, P, G)


def test_sandbox_follows_the_blob(opened):
    page = opened(Sandbox({"three people": label(), "nothing": 0 * label()}, x=5.0, y=5.0, width=3.0, peak=0.8))
    values = lambda: json.loads(page.locator(".bp-sandbox").get_attribute("data-values"))  # noqa: E731
    assert_measures(values(), blob(24, 5, 5, 3, 0.8), label())
    page.locator(".bp-stage").nth(1).focus()
    for key in ("ArrowRight", "Shift+ArrowDown"):
        page.keyboard.press(key)
    assert_measures(values(), blob(24, 6, 9, 3, 0.8), label())
    before = values()
    page.mouse.move(*on_stage(page, 6.5, 9.5, nth=1))
    assert values() == before  # a pointer that only passes moves nothing
    page.mouse.down()
    page.mouse.move(*on_stage(page, 17, 19, nth=1), steps=3)
    page.mouse.up()
    assert values()["AUC"] < before["AUC"]  # it left the larger mark
    page.get_by_role("combobox", name="label").select_option("1")
    assert [name for name, x in values().items() if x is None] == ["CC", "KLD", "SIM", "NSS", "AUC"]


def test_sandbox_refuses_what_is_no_heatmap():
    for wrong in ({}, {"a": np.zeros(3)}, {"a": np.zeros((2, 2)), "b": np.zeros((2, 3))}, {"a": np.full((2, 2), 2)}):
        with pytest.raises(ValueError, match="Sandbox: wants heatmaps"):
            Sandbox(wrong)
    with pytest.raises(traitlets.TraitError, match="label must be 0 to 0"):
        Sandbox({"a": label()}, label=1)
    assert "three people" in Sandbox({"three people": label()}).describe()


def test_sandbox_fits_a_phone_and_takes_its_colours(opened):
    page = opened(Sandbox({"three people": label()}), width=360, color_scheme="dark")
    assert assert_fits(page, 360) == {"rgb(255, 255, 255)"}
    pages.assert_resets(page)


# ----------------------------------------------------------------------------------------------------------- Threshold


def faulty(n=2, size=32):
    """Pictures, heatmaps, truths. The last one has nothing wrong."""
    rng = np.random.default_rng(0)
    truths = np.zeros((n, size, size), bool)
    truths[:-1, 9:15, 12:17] = True
    maps = np.clip(0.6 * np.roll(truths, 3, axis=2) + 0.3 * rng.random(truths.shape), 0, 1).astype(np.float32)
    return (
        rng.integers(0, 256, (n, size, size, 3)).astype(np.uint8),
        maps,
        truths,
        ["a red cat by day", "a cup at night"][:n],
    )


def counted(mask, truth):
    both = (mask & truth).sum()
    return {
        "precision": both / mask.sum() if mask.any() else None,
        "recall": both / truth.sum() if truth.any() else None,
        "share": mask.mean(),
    }


def expected_counts(maps, truth, threshold, dilation, grid=8):
    """With the masks of the generator."""
    mask = torch.from_numpy(maps > threshold)[None]
    pixels = token_mask(mask, mask.shape[-1], dilation)[0].numpy()  # a token for each pixel
    tokens, wrong = (
        token_mask(mask, grid, dilation)[0].numpy(),
        token_mask(torch.from_numpy(truth)[None], grid)[0].numpy(),
    )
    return {"pixels": counted(pixels, truth.ravel()), "tokens": counted(tokens, wrong)}


def test_threshold_counts_as_the_generator_masks(opened):
    pictures, maps, truths, titles = faulty()
    page = opened(Threshold(pictures, maps, truths, titles, threshold=0.5, dilation=0))
    counts = lambda: json.loads(page.locator(".bp-threshold").get_attribute("data-counts"))  # noqa: E731

    def check(scene, threshold, dilation):
        for what, want in expected_counts(maps[scene], truths[scene], threshold, dilation).items():
            assert counts()[what] == pytest.approx(want)

    np.testing.assert_array_equal(screen(page), pictures[0])
    check(0, 0.5, 0)
    narrow = counts()
    page.get_by_role("slider", name="wider by").focus()
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    check(0, 0.5, 2)
    assert counts()["pixels"]["recall"] > narrow["pixels"]["recall"]
    page.get_by_role("slider", name="threshold").focus()
    page.keyboard.press("ArrowLeft")
    check(0, 0.49, 2)
    page.get_by_role("combobox", name="picture").select_option("1")
    check(1, 0.49, 2)
    assert counts()["tokens"]["recall"] is None
    page.get_by_role("slider", name="threshold").focus()
    page.keyboard.press("Home")
    check(1, 0.0, 2)


def test_threshold_shows_right_extra_and_missed(opened):
    truths = np.zeros((1, 16, 16), bool)
    truths[0, :, :8] = True
    maps = np.zeros((1, 16, 16), np.float32)
    maps[0, :8] = 1
    page = opened(Threshold(np.zeros((1, 16, 16, 3), np.uint8), maps, truths, ["half"], grid=2, dilation=0))
    for nth in (2, 3):  # in pixels, in tokens
        green, orange, red, none = (
            screen(page, nth)[y, x].astype(int) for y, x in ((0, 0), (0, 15), (15, 0), (15, 15))
        )
        assert green.argmax() == 1
        assert orange.argsort().tolist() == [2, 1, 0]
        assert red.argmax() == 0
        assert red[1] < orange[1]
        assert none.tolist() == [0, 0, 0]


def test_threshold_refuses_what_does_not_agree():
    pictures, maps, truths, titles = faulty()
    for given, words_ in (
        ((pictures / 255, maps, truths, titles), "uint8"),
        ((pictures, maps[:1], truths, titles), "do not agree"),
        ((pictures, maps, truths, titles[:1]), "do not agree"),
        ((pictures, 2 * maps, truths, titles), "maps 0..1"),
    ):
        with pytest.raises(ValueError, match=words_):
            Threshold(*given)
    with pytest.raises(ValueError, match=r"multiples of grid \(5\)"):
        Threshold(pictures, maps, truths, titles, grid=5)
    widget = Threshold(pictures, maps, truths, titles, scene=1)
    assert titles[1] in widget.describe()
    assert titles[1] in widget.still()[0][1]


def test_threshold_fits_a_phone_and_takes_its_colours(opened):
    page = opened(Threshold(*faulty()), width=360, color_scheme="dark")
    assert assert_fits(page, 360) == {"rgb(255, 255, 255)"}
    pages.assert_resets(page)


# --------------------------------------------------------------------------------------------------------------- Steps

TINY = Size(
    size=16, down=4, codes=8, code=4, hidden=16, width=32, heads=2, layers=1, longest=4, vocabulary=("a", "cat")
)  # fmt: skip


def generator() -> Generator:
    torch.manual_seed(0)
    return Generator(TINY).eval().requires_grad_(False)


def test_steps_show_what_the_decoder_settles(opened):
    model, how = generator(), dict(steps=5, guidance=1.5)
    history: list[Step] = []
    draw(
        model.transformer,
        model.transformer.vocabulary(["a cat"]),
        torch.Generator().manual_seed(3),
        history=history,
        **how,
    )
    left = [int((step.numbers == TINY.codes).sum()) for step in history]
    assert left[-1] == 0
    assert left == sorted(left, reverse=True)
    page = opened(Steps(model, "a cat", seed=3, how=how))
    root, before = page.locator(".bp-steps"), 16
    for n, (step, still) in enumerate(zip(history, left, strict=True)):
        assert int(root.get_attribute("data-open")) == still
        assert int(root.get_attribute("data-now")) == before - still
        texts = page.locator(".bp-steps text").evaluate_all("all => all.map((e) => e.textContent)")
        masked = (step.numbers[0] == TINY.codes).numpy()
        was = (history[n - 1].numbers[0] == TINY.codes).numpy() if n else np.ones(16, bool)
        for i, text in enumerate(texts):
            if masked[i]:
                assert text == ""
            elif was[i]:
                assert abs(int(text) - 100 * step.sure[0, i].item()) < 1
            else:
                assert 1 <= int(text) <= n
        hidden = masked.reshape(4, 4).repeat(4, 0).repeat(4, 1)
        assert (screen(page)[hidden] == 128).all()
        before = still
        if n + 1 < len(history):
            page.get_by_role("button", name="Next").click()
    assert page.get_by_role("button", name="Next").is_disabled()
    np.testing.assert_array_equal(screen(page), model.pictures(history[-1].numbers)[0])
    page.get_by_role("slider", name="step").focus()
    page.keyboard.press("Home")
    assert int(root.get_attribute("data-open")) == left[0]


def test_steps_of_inpainting_leave_what_was_given():
    start = torch.zeros(1, 16, dtype=torch.int64)
    start[0, 5:9] = TINY.codes
    widget = Steps(generator(), "a cat", how=dict(steps=3, start=start))
    settled = np.frombuffer(widget.settled, np.uint8)
    assert (settled > 0).tolist() == (start[0] == TINY.codes).tolist()
    assert settled.max() == widget.count
    with pytest.raises(ValueError, match="nothing was masked"):
        Steps(generator(), "a cat", how=dict(start=torch.zeros(1, 16, dtype=torch.int64)))
    with pytest.raises(traitlets.TraitError, match=f"step must be 1 to {widget.count}"):
        widget.step = 0
    assert "a cat" in widget.describe()
    assert widget.still()[0][1] == f"“a cat” after step 1 of {widget.count}."


def test_steps_fit_a_phone_and_take_its_colours(opened):
    page = opened(Steps(generator(), "a cat"), width=360, color_scheme="dark")
    assert assert_fits(page, 360) == {"rgb(255, 255, 255)"}
    pages.assert_resets(page)


# -------------------------------------------------------------------------------------------------------------- Clicks


def faulty_records(n=2, size=32) -> list[Record]:
    """Pictures in which the panel finds something implausible."""
    found = (r for r in records("dev", 60, size=size) if (r.feedback.maps["implausibility"] > 0.5).sum() > 20)
    return list(itertools.islice(found, n))


def test_discs_are_those_of_the_panel(parts):
    people = [[[3.0, 4.0], [10.2, 7.9]], [], [[0.0, 0.0]]]
    found = parts(Clicks.module, "return [...m.heatmap(given, 12, 16, 3)]", people)
    want = heatmap([np.array(p).reshape(-1, 2) for p in people], 12, 16, 3)
    np.testing.assert_allclose(np.reshape(found, (12, 16)), want, atol=1e-6)


def test_clicks_are_marked_and_answered(opened):
    given = faulty_records()
    panel = Panel(radius=1 / 10, miss=0.0)
    widget = Clicks(given, panel, seed=4)
    people = annotate(given[0].feedback, panel, np.random.default_rng([4, 0]))
    page = opened(widget)
    root = page.locator(".bp-clicks")
    np.testing.assert_array_equal(screen(page), given[0].picture)
    x, y = people[0].points["implausibility"][0].tolist()
    page.mouse.click(*on_stage(page, x + 0.5, y + 0.5))
    [mark] = json.loads(root.get_attribute("data-points"))["implausibility"]
    assert mark == pytest.approx([x, y], abs=0.2)
    theirs = heatmap([a.points["implausibility"] for a in people], 32, 32, 3.2)
    want = metrics.cc([heatmap([np.array([mark])], 32, 32, 3.2)], [theirs])[0]
    assert float(root.get_attribute("data-match")) == pytest.approx(want, abs=1e-4)
    assert page.locator("tbody td:last-child").all_inner_texts() == ["hidden"] * 4
    assert "Correlation" not in page.locator("[role=status]").inner_text()

    page.get_by_role("button", name="Show the panel’s answer").click()
    answers = [", ".join(str(a.likert[name]) for a in people) for name in SCORES]
    assert page.locator("tbody td:last-child").all_inner_texts() == answers
    marked = merge_words([a.misaligned for a in people]) > 0.5
    texts = page.get_by_role("group", name="words that").locator("button").all_inner_texts()
    assert [text.endswith("(panel: misaligned)") for text in texts] == marked.tolist()
    said = page.locator("[role=status]").inner_text()
    assert f"Correlation with the panel’s heatmap: {want:.2f}." in said
    assert f"You agree on {(~marked).sum()} of {len(marked)} words." in said

    page.locator(".bp-stage").first.focus()
    page.keyboard.press("Enter")  # where the mark is: takes it back
    assert json.loads(root.get_attribute("data-points"))["implausibility"] == []
    page.get_by_role("button", name="misalignment", exact=True).click()
    page.locator(".bp-stage").first.focus()
    for key in ("Shift+ArrowLeft", "ArrowUp", "Space"):
        page.keyboard.press(key)
    assert len(json.loads(root.get_attribute("data-points"))["misalignment"]) == 1
    page.get_by_role("combobox", name="picture").select_option("1")
    assert json.loads(root.get_attribute("data-points"))["misalignment"] == []
    np.testing.assert_array_equal(screen(page), given[1].picture)


def test_clicks_refuse_what_cannot_be_marked():
    [one] = faulty_records(1)
    with pytest.raises(ValueError, match="at least one"):
        Clicks([])
    with pytest.raises(ValueError, match="records with pictures"):
        Clicks([dataclasses.replace(one, picture=None)])
    with pytest.raises(ValueError, match="both maps and all scores"):
        Clicks([dataclasses.replace(one, feedback=dataclasses.replace(one.feedback, maps={}))])
    with pytest.raises(traitlets.TraitError, match="scene must be 0 to 0"):
        Clicks([one], scene=1)
    assert one.prompt in Clicks([one]).describe()
    assert one.prompt in Clicks([one]).still()[0][1]


def test_clicks_fit_a_phone_and_take_its_colours(opened):
    page = opened(Clicks(faulty_records(1)), width=360, color_scheme="dark")
    page.get_by_role("button", name="Show the panel’s answer").click()
    assert assert_fits(page, 360) == {"rgb(255, 255, 255)"}
