"""The widget that pulls a picture: what it stores, and what it does in headless Chromium, against the library's modes."""

import base64
import contextlib
import io
import json
import math

import browser
import cv2
import numpy as np
import pytest
import torch
import traitlets
from PIL import Image

from bestpapers.course.widgets.join import joined
from bestpapers.dynamics import modal
from bestpapers.dynamics.widgets import Pluck

from .sway import FRAMES, RATE, K, meadow

PICTURE, S = meadow()
GRID = S.shape[2:]
CELL = PICTURE.shape[0] / GRID[0]  # px of the picture
BLOOM = np.unravel_index(cv2.blur(np.abs(S).sum((0, 1)), (9, 9)).argmax(), GRID)  # the middle of what moves most
STATE = "e => ({...e.dataset})"


def pluck(**traits) -> Pluck:
    return Pluck.from_spectrum(PICTURE, S, **{"alt": "A meadow."} | traits)


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    if (program := browser.find()) is None:
        pytest.skip(browser.WHAT_TO_DO)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, headless=True, args=browser.FLAGS)
        yield running
        running.close()


COUNT = """window.asked = 0;
const original = requestAnimationFrame.bind(window);
window.requestAnimationFrame = (f) => { window.asked++; return original(f); };"""


@pytest.fixture
def opened(chromium, tmp_path):
    """Open a widget from its file. At the end the console must be clean, and nothing may have been asked for."""
    faults, contexts = [], []

    def go(widget, init="", width=700, **options):
        file = tmp_path / "widget.html"
        file.write_text(widget.page("A meadow"), encoding="utf-8")
        contexts.append(chromium.new_context(viewport={"width": width, "height": 900}, offline=True, **options))
        page = contexts[-1].new_page()
        page.set_default_timeout(300_000)  # a busy machine is no fault of the page
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda r: r.url.startswith((file.as_uri(), "data:")) or faults.append(r.url))
        page.add_init_script(COUNT + init)
        page.goto(file.as_uri())
        page.wait_for_selector(".bp-pluck[data-ready]")
        return page

    yield go
    for context in contexts:
        context.close()
    assert faults == []


def now(page):
    """State of the widget: its name, where the pulled point is, px of the picture, and since when, s."""
    found = page.locator(".bp-pluck").evaluate(STATE)
    return found["state"], np.array(found["displacement"].split(","), float), float(found["time"])


def wait(page, state):
    page.wait_for_selector(f".bp-pluck[data-state={state}]")


def on_screen(page, point):
    """A point of the picture, px, in the window."""
    box = page.locator(".bp-stage").bounding_box()
    zoom = box["width"] / PICTURE.shape[1]
    return box["x"] + (point[0] + 0.5) * zoom, box["y"] + (point[1] + 0.5) * zoom, zoom


def middle(cell):
    """Where the middle of a cell (row, column) lies in the picture, (x, y)."""
    return np.array([(cell[1] + 0.5) * CELL - 0.5, (cell[0] + 0.5) * CELL - 0.5])


def grab(page, cell, pull):
    """Take hold of a cell and pull by so many pixels of the picture."""
    x, y, zoom = on_screen(page, middle(cell))
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + pull[0] * zoom, y + pull[1] * zoom, steps=3)
    wait(page, "held")


FOLLOW = """([state, seconds]) => new Promise((done) => {
  const root = document.querySelector(".bp-pluck"), path = [];
  const look = () => {
    const { time, displacement, state: is } = root.dataset;
    if (is === state) path.push([time, ...displacement.split(",")].map(Number));
    if (path.length && (is !== state || time > seconds)) done(path);
    else requestAnimationFrame(look);
  };
  look();
})"""


def follow(page, state, seconds):
    """Where the pulled point is while the widget is in a state, for so long: times (N,), s, and displacements (N, 2)."""
    path = np.array(page.evaluate(FOLLOW, [state, seconds]))
    assert len(path) > 3
    return path[:, 0], path[:, 1:]


def modes(widget):
    given = (widget.alpha * widget.damping, widget.beta * widget.damping)
    return modal.Modes.of(torch.from_numpy(S), damping=given, frames=FRAMES, rate=RATE)


def expected(widget, cell, pull, times):
    """What modal.py says from the spectrum that the widget was given: displacements (N, 2), px of the picture."""
    m, (y, x) = modes(widget), map(float, cell)
    event = modal.release(m, x, y, *(np.array(pull) / CELL))
    return CELL * modal.trajectory(m, modal.respond(m, [event], torch.tensor(times)), x, y).numpy()


# ---------------------------------------------------------------------------------------------------------------- python


def test_what_is_stored_is_the_spectrum_in_eight_bits():
    widget = pluck()
    assert (widget.grid, widget.size, widget.step) == ([80, 128], [160, 256], 0.2)
    found = widget.spectrum()
    assert found.shape == (K - 1, 2, *GRID)
    for i, part in enumerate((np.real, np.imag)):
        want, got = part(CELL * S[1:]), part(found)
        scale = CELL * np.array(widget.scales).reshape(K - 1, 2, 2)[:, :, i, None, None]
        # half a step of the root, 1/254, is 2 sqrt(|S| s) / 254 of S, and a little where S is next to 0
        assert (np.abs(got - want) <= 2 * np.sqrt(np.abs(want) * scale) / 254 + scale / 254**2 + 1e-4 * scale).all()
    assert (found[:, :, S.any((0, 1)) == 0] == 0).all()  # what stands still, stands still


def test_the_state_is_small_and_the_same_on_each_run():
    noisy = S + 5 * np.random.default_rng(0).normal(size=S.shape)  # does not compress
    picture = np.asarray(Image.fromarray(PICTURE).resize((512, 320), Image.Resampling.BICUBIC))
    one, other = (Pluck.from_spectrum(picture, noisy) for _ in range(2))
    assert json.dumps(one.state()) == json.dumps(other.state())
    assert len(json.dumps(one.state())) < 305_000
    assert one.grid[0] < 80
    # on a coarser grid it is the same motion, in pixels of a picture that has four times the grid's
    np.testing.assert_allclose(np.abs(one.spectrum()).max(), 4 * np.abs(S).max(), rtol=0.1)


def test_the_weight_is_the_mean_motion_unless_it_is_given():
    waves = np.exp(2j * np.pi * np.outer(np.arange(FRAMES), np.arange(K)) / FRAMES)
    flow = 2 / FRAMES * np.tensordot(waves, S, 1).real
    mean = np.linalg.norm(flow - flow[0], axis=1).mean(0)
    last = lambda w: np.asarray(Image.open(io.BytesIO(w.volume)))[-GRID[0] :] / 255.0  # noqa: E731
    np.testing.assert_allclose(last(pluck()), mean / mean.max(), atol=0.02)
    ramp = np.tile(np.arange(GRID[1]) / 127.0, (GRID[0], 1))
    np.testing.assert_allclose(last(pluck(weight=ramp)), ramp, atol=0.002)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"picture": PICTURE.astype(float)}, r"picture must be uint8 \(H, W, 3\).* got float64"),
        ({"picture": PICTURE[..., 0]}, r"got uint8 \(160, 256\)"),
        ({"spectrum": S[:, 0]}, r"spectrum must be complex \(K, 2, h, w\)"),
        ({"spectrum": S.real}, r"must be complex .* got float32"),
        ({"spectrum": S[:1]}, "K >= 2"),
        (
            {"spectrum": np.where(np.arange(K)[:, None, None, None] == 3, np.nan, S)},
            "20480 numbers that are not finite",
        ),
        ({"spectrum": 0 * S}, "nothing moves"),
        ({"frames": 20}, "16 slices need .* at least 30 frames"),
        ({"rate": 0}, "positive rate"),
        ({"weight": np.ones((3, 3))}, r"weight must be finite, not negative, of shape \(80, 128\), got \(3, 3\)"),
        ({"weight": -np.ones(GRID)}, "not negative"),
        ({"limit": 9_000}, "leaves no room for its motion"),
        ({"alt": " "}, "alt is missing"),
        ({"caption": ""}, "caption is missing"),
    ],
)
def test_bad_input_is_named(change, message):
    given = {"picture": PICTURE, "spectrum": S} | change
    with pytest.raises(ValueError, match=message):
        Pluck.from_spectrum(given.pop("picture"), given.pop("spectrum"), **given)


@pytest.mark.parametrize(
    ("trait", "value", "message"),
    [
        ("damping", 5.0, "damping must lie from 0.0625 to 4"),
        ("speed", 0.0, "speed must lie"),
        ("gain", float("nan"), "gain must lie"),
        ("bands", [1.0] * 3, "bands must be 16 numbers from 0 to 2"),
        ("bands", [3.0] * 16, "from 0 to 2"),
        ("mode", "fly", "touch"),
    ],
)
def test_traits_have_limits(trait, value, message):
    with pytest.raises(traitlets.TraitError, match=message):
        setattr(pluck(), trait, value)


def test_tensors_are_taken_and_words_follow():
    widget = pluck(mode="loop")
    assert Pluck.from_spectrum(PICTURE, torch.from_numpy(S)).volume == widget.volume
    assert widget.describe().startswith("A meadow. Any part that moves can be pulled")
    assert "modes of 0.2 to 3 hertz. A loop of 5 seconds" in widget.describe()
    assert widget.describe().endswith("A loop plays.")
    ((png, alt),) = widget.still()
    assert (Image.open(io.BytesIO(png)).size, alt) == ((256, 160), "A meadow.")


# ------------------------------------------------------------------------------------------------------ parts in the browser


@pytest.fixture(scope="module")
def parts(chromium):
    """Run a script that uses the module's functions, as `m`."""
    page = chromium.new_page()
    page.goto("about:blank")
    source = json.dumps(joined(Pluck.module))
    page.evaluate(
        f"async () => {{ window.m = await import(`data:text/javascript,${{encodeURIComponent({source})}}`); }}"
    )
    yield lambda script, given=None: page.evaluate(f"async (given) => {{ {script} }}", given)
    page.close()


def test_modes_swing_as_in_the_library(parts):
    t = [0.0, 1e-3, 0.07, 0.5, 2.0, 7.0]
    cases = [
        (omega, gamma) for omega in (1.2566, 6.0, 18.85) for gamma in (0.0, 0.3, 2 * omega, 2 * omega + 1e-9, 60.0)
    ]
    both = "(t) => [m.after(t, o, g, 1, 0), m.after(t, o, g, 0, 1)]"
    found = np.array(parts(f"return given[1].map(([o, g]) => given[0].map({both}))", [t, cases]))
    omega, gamma = torch.tensor(cases, dtype=torch.float64).T
    a, b = modal.solution(omega, gamma, torch.tensor(t))
    np.testing.assert_allclose(found[:, :, 0, 0].T, a, atol=1e-7)
    np.testing.assert_allclose(found[:, :, 1, 0].T, b, atol=1e-7)
    # velocities, by differences
    h = 1e-5
    at = "return given[1].map(([o, g]) => m.after(given[0], o, g, 0.3, -2)[{}])"
    sooner, later = (np.array(parts(at.format(0), [0.4 + sign * h, cases])) for sign in (-1, 1))
    np.testing.assert_allclose(parts(at.format(1), [0.4, cases]), (later - sooner) / (2 * h), atol=1e-4)


def test_a_force_acts_as_in_the_library(parts):
    widget = pluck()
    s = (CELL * S[1:, :, BLOOM[0], BLOOM[1]]).astype(complex)
    flat = np.stack([s[:, 0].real, s[:, 0].imag, s[:, 1].real, s[:, 1].imag], 1).tolist()
    pull = np.array([7.0, -4.0])
    found = parts("""const [s, [x, y]] = given;
      const q = s.map(() => [0, 0]);
      for (const { axis, gives } of m.axes(s, s.map(() => 1))) {
        const size = (x * axis[0] + y * axis[1]) / gives;
        m.answer(s, axis).forEach(([r, i], k) => { q[k][0] += size * r; q[k][1] += size * i; });
      }
      return q;""", [flat, pull.tolist()])  # fmt: skip
    want = modal.pull(modes(widget), float(BLOOM[1]), float(BLOOM[0]), *(pull / CELL)).numpy() * 2 / FRAMES
    np.testing.assert_allclose(np.array(found) @ [1, 1j], want, rtol=1e-6)


@pytest.mark.parametrize("smooth", [False, True])
def test_the_browser_reads_the_volume(parts, smooth):
    rng = np.random.default_rng(3)
    page = rng.integers(0, 256, (61, 37)).astype(np.uint8)
    if smooth:
        y, x = np.mgrid[:61, :37]
        page = (x * y / 9 + 3 * x + 2 * y).astype(np.uint8)
    for options in ({"optimize": True}, {"compress_level": 1}):
        buffer = io.BytesIO()
        Image.fromarray(page).save(buffer, format="PNG", **options)
        found = parts("""const bytes = Uint8Array.from(atob(given), (c) => c.charCodeAt(0));
          const { width, height, pixels } = await m.readGrey(new DataView(bytes.buffer));
          return [width, height, [...pixels]];""", base64.b64encode(buffer.getvalue()).decode())  # fmt: skip
        assert found[:2] == [37, 61]
        assert np.array_equal(np.array(found[2]).reshape(61, 37), page)


# ------------------------------------------------------------------------------------------------------------ the widget


def assert_no_frames(page):
    """Soon no frame is asked for any more."""
    for _ in range(50):
        before = page.evaluate("asked")
        page.wait_for_timeout(250)
        if page.evaluate("asked") == before:
            return
    raise AssertionError("it goes on drawing")


def test_it_stands_still_and_asks_for_no_frames(opened):
    page = opened(pluck())
    wait(page, "rest")
    assert_no_frames(page)
    assert page.locator(".bp-say").inner_text() == "Drag any part that moves, then let go. A tap pushes it."


def screen(page):
    """What the canvas shows, float (H, W, 3)."""
    page.wait_for_selector(".bp-stage canvas[data-fresh=yes]")
    data = page.locator(".bp-stage canvas").screenshot()
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(float)[
        2:-2, 2:-2
    ]  # its edge lies between pixels


def test_at_rest_it_is_the_picture_and_a_pull_moves_it(opened):
    page = opened(pluck())
    still = screen(page)
    size = still.shape[1] + 4, still.shape[0] + 4
    want = np.asarray(Image.fromarray(PICTURE).resize(size, Image.Resampling.BICUBIC)).astype(float)[2:-2, 2:-2]
    assert np.abs(still - want).mean() < 3
    grab(page, BLOOM, (12, 3))
    moved = screen(page)
    zoom = size[0] / PICTURE.shape[1]
    x, y = ((middle(BLOOM) + 0.5) * zoom).round().astype(int)
    dx, dy = (np.array([12, 3]) * zoom).round().astype(int)
    r = round(14 * zoom)  # the bloom, without the handle on its middle
    patch = np.hypot(*np.mgrid[-r : r + 1, -r : r + 1]) < r
    patch &= np.hypot(*np.mgrid[-r : r + 1, -r : r + 1]) > 6 * zoom
    before = still[y - r : y + r + 1, x - r : x + r + 1][patch]
    after = moved[y + dy - r : y + dy + r + 1, x + dx - r : x + dx + r + 1][patch]
    assert (
        np.abs(after - before).mean() < 0.5 * np.abs(moved[y - r : y + r + 1, x - r : x + r + 1][patch] - before).mean()
    )
    edge = np.concatenate([moved[0], moved[-1], moved[:, 0], moved[:, -1]])
    assert edge.sum(-1).min() > 60  # no black gap at the border


@pytest.mark.parametrize("pull", [(12.0, 0.0), (-9.0, 5.0)])
def test_a_pull_lands_on_the_cursor_and_rings_as_modal_says(opened, pull):
    widget = pluck(damping=0.25)
    page = opened(widget)
    grab(page, BLOOM, pull)
    _, at, time = now(page)
    want = expected(widget, BLOOM, pull, [0.0])[0]
    np.testing.assert_allclose(at, want, atol=0.01 * math.hypot(*pull))
    np.testing.assert_allclose(at, pull, atol=0.02 * math.hypot(*pull))
    assert time == 0
    page.mouse.up()
    times, path = follow(page, "ringing", 2.5)
    want = expected(widget, BLOOM, pull, times)
    assert np.abs(path - want).max() < 0.01 * math.hypot(*pull)
    assert np.abs(want).max() > 0.5 * math.hypot(*pull)  # it does swing


def test_it_comes_to_rest_and_stops_drawing(opened):
    page = opened(pluck(damping=4.0, speed=2.0))
    grab(page, BLOOM, (8, 0))
    page.mouse.up()
    wait(page, "rest")
    assert np.abs(now(page)[1]).max() == 0
    assert page.locator(".bp-say").inner_text() == "It has come to rest."
    assert_no_frames(page)


def test_where_nothing_moves_nothing_is_held(opened):
    page = opened(pluck())
    x, y, _ = on_screen(page, (4, 4))
    page.mouse.click(x, y)
    assert now(page)[0] == "rest"
    assert page.locator(".bp-say").inner_text().startswith("Nothing moves here.")


def test_a_stiff_point_gives_no_more_than_all_else_can_bear(opened):
    widget = pluck()
    page = opened(widget)
    column = np.abs(S[:, :, :, BLOOM[1] - 6 : BLOOM[1] + 7]).sum((0, 1))
    far = np.argwhere(column > 0.25 * np.abs(S).sum((0, 1)).max())[-1]  # the lowest cell that moves at all well
    cell = (far[0], far[1] + BLOOM[1] - 6)
    grab(page, cell, (40, 0))
    assert abs(now(page)[1][0]) < 39
    page.mouse.up()


def test_a_tap_pushes(opened):
    page = opened(pluck(damping=0.25))
    x, y, _ = on_screen(page, middle(BLOOM))
    page.mouse.click(x, y)
    times, path = follow(page, "ringing", 0.7)
    assert np.abs(path[times < 0.03]).max(initial=0) < np.abs(path).max() / 2  # from rest, with speed
    assert np.abs(path).max() > 1


def test_the_keyboard_does_all(opened):
    page = opened(pluck(damping=0.25))
    page.locator(".bp-stage").focus()
    goal = middle(BLOOM)
    at = np.array([128.0, 80.0])
    for axis, keys in ((0, ("ArrowLeft", "ArrowRight")), (1, ("ArrowUp", "ArrowDown"))):
        for _ in range(round(abs(goal[axis] - at[axis]) / (0.02 * 256))):
            page.keyboard.press(keys[int(goal[axis] > at[axis])])
    assert page.locator(".bp-say").inner_text().endswith("something that moves.")
    page.keyboard.press("Enter")
    wait(page, "held")
    for key in ("ArrowRight", "ArrowRight", "ArrowUp"):
        page.keyboard.press(key)
    assert page.locator(".bp-say").inner_text().startswith("Held, pulled 10 pixels right and 5 up.")
    page.wait_for_function("() => document.querySelector('.bp-pluck').dataset.displacement.startsWith('10.')")
    page.keyboard.press("Space")
    wait(page, "ringing")
    page.keyboard.press("Enter")
    wait(page, "held")
    page.keyboard.press("Escape")
    wait(page, "rest")
    assert page.locator(".bp-stage").evaluate("e => e === document.activeElement")
    outline = page.locator(".bp-stage").evaluate("e => getComputedStyle(e).outlineStyle")
    assert outline == "solid"


def test_a_finger_pulls_what_moves_and_scrolls_beside_it(opened):
    page = opened(pluck(damping=0.25), width=390, has_touch=True)
    page.evaluate("document.body.style.paddingBottom = '2000px'")
    send = page.context.new_cdp_session(page).send

    def touch(kind, *points):
        send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y} for x, y in points]})

    x, y, zoom = on_screen(page, middle(BLOOM))
    touch("touchStart", (x, y))
    for i in range(1, 6):
        touch("touchMove", (x + 3 * i, y - 2 * i))
    wait(page, "held")
    want = np.array([15, -10]) / zoom
    page.wait_for_function("x => Math.abs(document.querySelector('.bp-pluck').dataset.displacement.split(',')[0] - x) < 0.3",
                           arg=want[0])  # fmt: skip
    touch("touchEnd")
    wait(page, "ringing")
    assert page.evaluate("scrollY") == 0
    x, y, _ = on_screen(page, (6, 60))
    touch("touchStart", (x, y))
    for i in range(1, 9):
        touch("touchMove", (x, y - 10 * i))
    touch("touchEnd")
    page.wait_for_function("() => scrollY > 20")


def test_bands_and_damping_change_what_swings(opened):
    page = opened(pluck(damping=0.25, equaliser=True))
    moving = np.abs(S[:, :, BLOOM[0], BLOOM[1]]).sum(1)
    assert (moving > 0).sum() == 3  # its stalk has three modes
    slow = int(moving.argmax())
    names = page.locator(".bp-band button").all_inner_texts()
    assert [*names[:3], names[-1]] == ["lean", "0.2", "0.4", "3"]
    for k in np.flatnonzero(moving):
        if k != slow:
            page.get_by_role("button", name=f"{0.2 * k:.3g} hertz on", exact=True).click()
    grab(page, BLOOM, (10, 0))
    page.mouse.up()
    times, path = follow(page, "ringing", 1.0)
    omega, gamma = 2 * math.pi * 0.2 * slow, 0.25 * (0.4 + 0.08 * (2 * math.pi * 0.2 * slow) ** 2)
    a, _ = modal.solution(torch.tensor([omega]), torch.tensor([gamma]), torch.tensor(times))
    s = S[slow, :, BLOOM[0], BLOOM[1]]
    assert abs(np.abs(path[:, 0] - path[0, 0] / a[0, 0].item() * a[:, 0].numpy()).max()) < 10 * abs(s[1] / s[0])
    slider = page.get_by_role("slider", name="damping")
    slider.focus()
    page.keyboard.press("End")
    assert slider.get_attribute("aria-valuetext") == "damping × 4"
    wait(page, "rest")
    for button, on in (("Slow ones", 4), ("Fast ones", 13), ("All", 16)):
        page.get_by_role("button", name=button, exact=True).click()
        assert page.locator(".bp-band button[aria-pressed=true]").count() == on
    page.get_by_role("slider", name="0.6 hertz").focus()
    page.keyboard.press("Home")
    assert page.get_by_role("button", name="0.6 hertz on").get_attribute("aria-pressed") == "false"


def test_the_loop_is_the_inverse_transform(opened):
    page = opened(pluck(speed=2.0, damping=0.25))
    grab(page, BLOOM, (6, 0))  # the point to look at
    page.mouse.up()
    page.get_by_role("button", name="Come to rest").click()
    page.get_by_role("button", name="Play the loop").click()
    times, path = follow(page, "loop", 3.0)
    s = CELL * S[:, :, BLOOM[0], BLOOM[1]]
    waves = np.exp(2j * np.pi * 0.2 * np.outer(times, np.arange(1, K))) - 1  # it begins with the picture
    want = 2 / FRAMES * (waves @ s[1:]).real
    assert np.abs(path - want).max() < 0.01 * np.abs(want).max() + 0.02
    page.get_by_role("button", name="Pause the loop").click()
    wait(page, "paused")
    page.wait_for_timeout(100)
    before = now(page)
    page.wait_for_timeout(200)
    assert now(page)[2] == before[2]
    page.get_by_role("button", name="Play the loop").click()
    wait(page, "loop")
    assert now(page)[2] >= before[2]


def test_when_it_is_held_the_wind_drops_without_a_jump(opened):
    page = opened(pluck(damping=0.25))
    grab(page, BLOOM, (6, 0))  # the point to look at
    page.mouse.up()
    page.get_by_role("button", name="Come to rest").click()
    page.get_by_role("button", name="Play the loop").click()
    page.wait_for_timeout(700)
    page.get_by_role("button", name="Pause the loop").click()
    wait(page, "paused")
    page.wait_for_timeout(100)
    before = now(page)[1]
    x, y, zoom = on_screen(page, middle(BLOOM) + before)
    page.mouse.move(x, y)
    page.mouse.down()
    wait(page, "held")
    np.testing.assert_allclose(now(page)[1], before, atol=0.5)
    page.mouse.move(x + 5 * zoom, y, steps=2)
    page.wait_for_timeout(200)
    np.testing.assert_allclose(now(page)[1] - before, [5, 0], atol=0.6)


def test_it_stops_out_of_sight_and_goes_on(opened):
    page = opened(pluck(mode="loop"))
    wait(page, "loop")
    page.evaluate("document.querySelector('.nbwidget').style.marginBottom = '3000px'; scrollTo(0, 2500)")
    assert_no_frames(page)
    time = now(page)[2]
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_function("t => document.querySelector('.bp-pluck').dataset.time > t", arg=time)


def test_who_asks_for_less_motion_sees_a_still_until_it_is_played(opened):
    page = opened(pluck(mode="loop"), reduced_motion="reduce")
    page.wait_for_timeout(300)
    assert now(page)[0] == "rest"
    assert page.locator(".bp-say").inner_text().startswith("You asked for less motion")
    page.get_by_role("button", name="Play the loop").click()
    wait(page, "loop")


def test_without_webgl_the_picture_stands_still_and_says_so(opened):
    init = """const own = HTMLCanvasElement.prototype.getContext;
    HTMLCanvasElement.prototype.getContext = function (name, ...rest) {
      return name === "webgl2" ? null : own.call(this, name, ...rest);
    };"""
    page = opened(pluck(), init=init)
    assert "WebGL2" in page.locator(".bp-say").inner_text()
    assert page.get_by_role("img", name="A meadow.").first.is_visible()
    assert page.locator("button:enabled, input:enabled").count() == 0


def test_it_survives_the_loss_of_the_graphics_chip(opened):
    init = """window.lost = [];
    const own = HTMLCanvasElement.prototype.getContext;
    HTMLCanvasElement.prototype.getContext = function (name, ...rest) {
      const found = own.call(this, name, ...rest);
      if (name === "webgl2") window.lost.push(found.getExtension("WEBGL_lose_context"));
      return found;
    };"""
    page = opened(pluck(damping=0.25), init=init)
    page.evaluate("lost.at(-1).loseContext()")
    page.wait_for_function("() => document.querySelector('.bp-stage canvas').style.visibility === 'hidden'")
    page.evaluate("lost.at(-1).restoreContext()")
    page.wait_for_function("() => document.querySelector('.bp-stage canvas').style.visibility === ''")
    assert np.abs(screen(page).mean((0, 1)) - PICTURE.mean((0, 1))).max() < 8


def test_a_chip_would_draw_the_same(parts):
    """A graphics chip draws on the canvas itself. Here the processor does both; the pictures agree."""
    state = pluck().state()
    found = parts("""
      const bytes = (v) => new DataView(Uint8Array.from(atob(v.b64), (c) => c.charCodeAt(0)).buffer);
      const img = new Image();
      img.src = `data:image/webp;base64,${given.picture.b64}`;
      await img.decode();
      const volume = new m.Volume(await m.readGrey(bytes(given.volume)), given.scales, given.grid, given.size);
      const [some, none] = [volume.largest.map(() => 0.01), volume.largest.map(() => 0)];
      const field = volume.field(some, none, new Float32Array(2 * volume.cells));
      const shown = [];
      for (const by of ["chip", "software"]) {
        const canvas = document.createElement("canvas");
        const painter = new m.Painter(canvas, img, volume, by);
        painter.fit(160);
        painter.draw(field);
        while (painter.busy) await new Promise((done) => setTimeout(done));
        const copy = new OffscreenCanvas(160, 100);
        copy.getContext("2d").drawImage(canvas, 0, 0);
        shown.push([...copy.getContext("2d").getImageData(0, 0, 160, 100).data]);
      }
      return shown;""", state)  # fmt: skip
    chip, software = (np.array(pixels, float).reshape(100, 160, 4)[..., :3] for pixels in found)
    assert np.abs(chip - software).mean() < 1.5  # edges are smoothed on a chip only
    assert chip.std() > 20


def test_sliders_move_and_are_heard(opened):
    page = opened(pluck())
    for name, low, high in (("damping", "× 0.0625", "× 4"), ("speed", "× 0.125", "× 2"), ("strength", "× 0.25", "× 4")):
        slider = page.get_by_role("slider", name=name)
        slider.focus()
        for key, words in (("Home", low), ("End", high)):
            page.keyboard.press(key)
            assert slider.get_attribute("aria-valuetext") == f"{name} {words}"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_takes_its_colours(opened, scheme):
    page = opened(pluck(equaliser=True), width=390, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator(".nbwidget > *").evaluate("e => e.scrollWidth <= e.clientWidth")
    words = page.locator(".nbwidget").locator("label, button, output, p, summary")
    colours = words.evaluate_all("all => all.map(e => getComputedStyle(e).color)")
    assert set(colours) == {"rgb(255, 255, 255)" if scheme == "dark" else "rgb(0, 0, 0)"}


@pytest.mark.parametrize("compact", [False, True])
def test_it_fits_the_narrowest_page(opened, compact):
    page = opened(pluck(equaliser=True, compact=compact), width=360)
    page.evaluate("document.querySelectorAll('details').forEach((d) => (d.open = true))")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    boxes = [b.bounding_box() for b in page.locator(".bp-pluck button").all()]
    assert min(min(b["width"], b["height"]) for b in boxes) >= 24


def test_a_still_is_there_without_script(chromium, tmp_path):
    widget = pluck()
    (tmp_path / "a.html").write_text(widget.page("A meadow"), encoding="utf-8")
    with contextlib.closing(
        chromium.new_context(java_script_enabled=False, viewport={"width": 390, "height": 900})
    ) as context:
        page = context.new_page()
        page.goto((tmp_path / "a.html").as_uri())
        assert 300 < page.get_by_role("img", name="A meadow.").bounding_box()["width"] <= 390
        assert page.get_by_text(widget.describe()).is_visible()


def test_two_widgets_do_not_disturb_each_other(chromium, tmp_path):
    with contextlib.closing(chromium.new_page()) as page:
        one = pluck().page("Two")
        twin = pluck()._repr_mimebundle_()[0]["text/html"]
        file = tmp_path / "two.html"
        file.write_text(one.replace(twin, twin + twin, 1), encoding="utf-8")
        page.goto(file.as_uri())
        page.wait_for_function("() => document.querySelectorAll('.bp-pluck[data-ready]').length == 2")
        ids = page.locator("[id]").evaluate_all("all => all.map(e => e.id)")
        assert len(ids) == len(set(ids))
        page.get_by_role("button", name="Play the loop").last.click()
        page.wait_for_selector(".bp-pluck[data-state=loop]")
        assert page.locator(".bp-pluck[data-state=rest]").count() == 1
