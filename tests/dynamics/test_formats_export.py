"""Exported clips: each plays in headless Chromium, frame by frame what was written; what cannot be written is refused."""

import base64
import sys

import browser
import cv2
import numpy as np
import pytest
from PIL import Image

from bestpapers.dynamics.formats import read_video, write_clip

from .warped import clip, turn

RATE = 25


@pytest.fixture(scope="module")
def frames():
    """30 frames, no two alike, with a block of flat colour that changes every frame and says which one it is."""
    pictures, _ = clip(turn(0.5), 30)
    for n, picture in enumerate(pictures):
        picture[:16, :16] = colour(n)
    return pictures


def colour(n):
    return 8 * n, 240 - 7 * n, 128


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    if (program := browser.find()) is None:
        pytest.skip(browser.WHAT_TO_DO)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, headless=True, args=browser.FLAGS)
        page = running.new_page()
        page.set_default_timeout(300_000)  # a busy machine is no fault of the file
        page.route("**/*", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html"))
        page.goto("https://clip.test/")  # decoders want a safe origin; nothing is asked of the network
        yield page
        running.close()


VIDEO = """async ({data, rate, count}) => {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const v = document.createElement("video");
  v.muted = true;
  v.src = URL.createObjectURL(new Blob([bytes]));
  const done = (what) => new Promise((yes, no) => {
    v.addEventListener(what, yes, {once: true});
    v.addEventListener("error", () => no(new Error(v.error.message)), {once: true});
  });
  if (v.readyState < 2) await done("loadeddata");
  const c = Object.assign(document.createElement("canvas"), {width: v.videoWidth, height: v.videoHeight});
  const ink = c.getContext("2d", {willReadFrequently: true});
  const seen = [];
  for (let n = 0; n < count; n++) {
    const there = done("seeked");
    v.currentTime = (n + 0.5) / rate;
    await there;
    ink.drawImage(v, 0, 0);
    seen.push([...ink.getImageData(8, 8, 1, 1).data.slice(0, 3)]);
  }
  v.currentTime = 0;
  const ended = done("ended");
  await v.play();
  await ended;
  return {width: v.videoWidth, height: v.videoHeight, seconds: v.duration, seen};
}"""

PICTURES = """async ({data, type}) => {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const decoder = new ImageDecoder({data: bytes, type});
  await decoder.tracks.ready;
  await decoder.completed;
  const track = decoder.tracks.selectedTrack;
  const seen = [];
  let micros = 0, size;
  for (let n = 0; n < track.frameCount; n++) {
    const {image} = await decoder.decode({frameIndex: n});
    size = [image.displayWidth, image.displayHeight];
    const c = new OffscreenCanvas(...size), ink = c.getContext("2d");
    ink.drawImage(image, 0, 0);
    seen.push([...ink.getImageData(8, 8, 1, 1).data.slice(0, 3)]);
    micros += image.duration;
    image.close();
  }
  return {width: size[0], height: size[1], seconds: micros / 1e6, seen, forever: track.repetitionCount === Infinity};
}"""


def assert_seen(found, seconds, levels, width=64, height=48):
    assert (found["width"], found["height"]) == (width, height)
    assert found["seconds"] == pytest.approx(seconds, abs=0.06)
    wanted = np.array([colour(n) for n in range(30)])
    np.testing.assert_allclose(np.array(found["seen"]), wanted, atol=levels)  # a neighbour is 8 away


@pytest.mark.parametrize("ending", ["webm", "mp4"])
def test_videos_play(tmp_path, frames, chromium, ending):
    if ending == "mp4":
        pytest.importorskip("av")
    path = tmp_path / f"a.{ending}"
    write_clip(path, frames, RATE, desc=None)
    data = base64.b64encode(path.read_bytes()).decode()
    if ending == "mp4" and not chromium.evaluate(
        "document.createElement('video').canPlayType('video/mp4; codecs=avc1.64001f')"
    ):
        pytest.skip("this Chromium has no H.264")
    found = chromium.evaluate(VIDEO, dict(data=data, rate=RATE, count=30))
    assert_seen(
        found, 30 / RATE, 32
    )  # a busy browser that seeks may show one of the frames before, and this is compressed


@pytest.mark.parametrize(("ending", "levels"), [("webp", 12), ("gif", 16)])
def test_pictures_that_move_play(tmp_path, frames, chromium, ending, levels):
    path = tmp_path / f"a.{ending}"
    write_clip(path, frames, RATE, desc=None)
    data = base64.b64encode(path.read_bytes()).decode()
    found = chromium.evaluate(PICTURES, dict(data=data, type=f"image/{ending}"))
    assert found["forever"]
    assert_seen(found, 30 / RATE, levels)


def test_thirty_per_second_keeps_its_length(tmp_path, frames):
    """GIF has hundredths of a second, WebP thousandths: single frames are rounded, the whole is not."""
    for ending, unit in (("gif", 10), ("webp", 1)):
        write_clip(tmp_path / f"a.{ending}", frames, 30, desc=None)
        with Image.open(tmp_path / f"a.{ending}") as image:
            lasts = []
            for n in range(image.n_frames):
                image.seek(n)
                image.load()
                lasts.append(image.info["duration"])
        assert sum(lasts) == 1000
        assert set(lasts) == ({30, 40} if unit == 10 else {33, 34})


def test_opencv_reads_what_is_written(tmp_path, frames):
    write_clip(tmp_path / "a.webm", iter(frames), RATE, desc=None)
    capture = cv2.VideoCapture(str(tmp_path / "a.webm"))
    assert int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little") == b"VP90"
    count = 0
    while capture.read()[0]:
        count += 1
    assert count == 30


@pytest.mark.parametrize("ending", ["webm", "webp", "gif", "mp4"])
def test_odd_sizes_and_quality(tmp_path, frames, ending):
    if ending == "mp4":
        pytest.importorskip("av")
    odd = frames[:, :47, :63]
    write_clip(tmp_path / f"a.{ending}", odd, RATE, desc=None)
    again = read_video(tmp_path / f"a.{ending}", frames=30, rate=RATE, size=None, desc=None).frames[:, :47, :63]
    assert again.shape == odd.shape
    error = ((again.astype(float) - odd) ** 2).mean()
    assert 10 * np.log10(255**2 / error) > 28  # dB
    assert not list(tmp_path.glob(".*"))  # nothing is left beside it


def test_no_mp4v(tmp_path, frames):
    """OpenCV would write it, and no browser would play it."""
    if write_if_possible(tmp_path / "a.mp4", frames):
        assert b"avc1" in (tmp_path / "a.mp4").read_bytes()
        assert b"mp4v" not in (tmp_path / "a.mp4").read_bytes()


def write_if_possible(path, frames):
    try:
        write_clip(path, frames, desc=None)
    except ValueError as error:
        assert "PyAV" in str(error)  # noqa: PT017
        assert not path.exists()
        return False
    return True


def test_mp4_without_pyav(tmp_path, frames, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    assert not write_if_possible(tmp_path / "a.mp4", frames)


def test_what_is_not_written(tmp_path, frames):
    good = tmp_path / "a.webm"
    write_clip(good, frames[:3], desc=None)
    before = good.read_bytes()
    for path, given, rate, message in (
        ("a.avi", frames, 30, r"\.avi'; take \.webm"),
        ("a.png", frames, 30, r"\.webm, \.webp, \.gif, \.mp4"),
        ("a.gif", frames, 60, "at most 50"),
        ("a.webm", frames, 0, "more than 0"),
        ("a.webm", [], 30, "no frames"),
        ("a.webm", frames[..., 0], 30, "frame 0 is uint8"),
        ("a.webm", frames / 255, 30, "float64"),
        ("a.webm", [frames[0], frames[1], frames[2][:40]], 30, "frame 2 is"),
        ("b.webp", [frames[0], frames[1][:40]], 30, "frame 1 is"),
    ):
        with pytest.raises(ValueError, match=message):
            write_clip(tmp_path / path, given, rate, desc=None)
    assert good.read_bytes() == before  # what stood there stands there still
    assert [p.name for p in tmp_path.iterdir()] == ["a.webm"]


def test_writing_says_nothing(tmp_path, frames, capfd):
    write_clip(tmp_path / "a.webm", frames[:3], RATE, desc=None)
    print("afterwards", file=sys.stderr, flush=True)
    assert capfd.readouterr().err == "afterwards\n"  # not OpenCV's line on the tag, and stderr is there again
