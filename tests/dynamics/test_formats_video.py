"""The reader's clip: chosen by time, whatever the file; and every way in which it can be no good, told apart."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bestpapers.dynamics import flow as flows
from bestpapers.dynamics.formats import FormatError, read_video, write_clip
from bestpapers.dynamics.formats.video import FINDINGS
from bestpapers.lab import video as decoding

from ..videos import write
from .warped import clip, sway, texture, turn

FILES = Path(__file__).parents[1] / "lab" / "files"
SIZE = (48, 64)


def read(path, frames=150, **kw):
    return read_video(path, frames=frames, size=kw.pop("size", SIZE), **kw)


@pytest.fixture(scope="module")
def plant():
    """170 frames of something that sways by 3 px on the right and stands still on the left, with the exact flow."""
    return clip(sway(3.0, period=43.7), 170)


# -------------------------------------------------------------------------------------------------------------- reading


@pytest.mark.parametrize("name", ["a.avi", "a.webm", "a.mkv"])
def test_a_good_video(tmp_path, plant, name):
    clip = read(write(tmp_path / name, plant[0]))
    assert clip.frames.shape == (150, 48, 64, 3)
    assert clip.frames.dtype == np.uint8
    np.testing.assert_allclose(clip.times, np.arange(150) / 30, atol=0.001)
    assert np.abs(clip.frames.astype(int) - plant[0][:150]).mean() < 4
    assert np.abs(clip.frames.astype(int) - plant[0][1:151]).mean(-1).max() > 10  # the next frame is another
    assert clip.report.findings == ()
    assert "nothing to complain about" in str(clip.report)
    assert (clip.report.width, clip.report.height, clip.report.rate) == (64, 48, pytest.approx(30, abs=0.05))
    assert clip.report.codec == {"a.avi": "MJPG", "a.webm": "VP90", "a.mkv": "VP80"}[name]


def test_start(tmp_path, plant):
    clip = read(write(tmp_path / "a.avi", plant[0]), 30, start=2.0)
    assert np.abs(clip.frames.astype(int) - plant[0][60:90]).mean() < 3
    assert clip.times[0] == 0


def test_frames_are_chosen_by_time(tmp_path, plant):
    double = read(write(tmp_path / "60.avi", plant[0], 60), 60)
    assert np.abs(double.frames.astype(int) - plant[0][:120:2]).mean() < 3
    assert double.report.findings == ()
    slow = read(write(tmp_path / "15.avi", plant[0], 15), 60)
    np.testing.assert_allclose(slow.times[::2], np.arange(30) / 15, atol=1e-6)
    assert set(np.round(slow.times * 15, 4)) <= set(range(31))
    assert slow.report.kinds == ("low rate",)
    assert "15 frames per second and 30 are asked for, so 30 of 60 frames repeat" in slow.report.findings[0].text


def test_even_takes_the_judder_out(tmp_path):
    """24 frames per second for 30: of every five frames one repeats. Its flow repeats as well, until it is put to its time."""
    frames, _ = clip(lambda n, y, x: sway(6.0)(n * 30 / 24, y, x), 80)
    _, truth = clip(sway(6.0), 98)
    found = read(write(tmp_path / "24.avi", frames, 24), 98)
    measured = flows.estimate(found.frames, "dis2x", desc=None)
    middle = torch.zeros(48, 64, dtype=torch.bool)
    middle[8:-8, 8:-8] = True
    judder = flows.epe(measured, truth, middle)
    assert flows.epe(found.even(measured), truth, middle) < 0.6 * judder
    even = found.even(torch.from_numpy(found.times)[:, None, None, None].expand(-1, 2, 3, 3).float())
    torch.testing.assert_close(even[:97, 0, 0, 0], torch.arange(97) / 30, atol=1e-6, rtol=0)


def test_variable_rate():
    """Steps of 17, 50, 33 and 67 ms and a header that says 30: to count frames would be wrong by up to 0.3 seconds."""
    clip = read(FILES / "variable.webm", 40)
    times = np.cumsum([0, *([17, 50, 33, 67] * 9)])[:36] / 1000
    nearest = times[np.abs(times - np.arange(40)[:, None] / 30).argmin(1)]
    np.testing.assert_allclose(clip.times, nearest, atol=0.001)
    bar = clip.frames.mean((1, 3)).argmax(1) / 40  # seconds, by what the picture shows
    np.testing.assert_allclose(bar, clip.times, atol=0.04)
    assert clip.report.kinds == ("variable rate", "wrong header", "low rate")
    text = str(clip.report)
    assert "17 to 67 ms" in text
    assert "says 30 frames per second, the frames' times say 23.9" in text


def test_sizes(tmp_path):
    paint = texture(1)
    y, x = np.mgrid[:96, :60].astype(float)
    tall = np.repeat((255 * paint(y, x)).astype(np.uint8)[None, ..., None], 3, -1)
    path = write(tmp_path / "a.avi", np.repeat(tall, 4, 0))
    upright = read(path, 4, size=(24, 40)).frames[0, ..., 0]  # turned: 40 high, 24 wide, the middle of 96 x 60
    assert upright.shape == (40, 24)
    y, x = np.mgrid[:160, :96] / 4 * 2.4 - 0.2  # four points a pixel, whose mean a pixel is
    expected = 255 * paint(y, x + 1.2).reshape(40, 4, 24, 4).mean((1, 3))  # 1.2 px are cut on either side
    assert np.abs(upright - expected).mean() < 6
    assert read(path, 4, size=None).frames.shape == (4, 96, 60, 3)
    assert read(path, 4, size=(160, 256)).frames.shape == (4, 256, 160, 3)  # enlarged


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_animations(tmp_path, kind):
    frames, _ = clip(turn(0.4), 40)  # no two frames alike, since writers make one of those
    write_clip(tmp_path / f"a.{kind}", frames, 20, desc=None)
    found = read(tmp_path / f"a.{kind}", 40, rate=20)
    np.testing.assert_allclose(found.times, np.arange(40) / 20, atol=1e-6)
    assert np.abs(found.frames.astype(int) - frames).mean() < 6
    assert found.report.kinds == ("camera",)
    pictures = [Image.fromarray(f) for f in frames]
    last = dict(save_all=True, append_images=pictures[1:], loop=0, duration=[50] * 10 + [200] + [50] * 29)
    pictures[0].save(tmp_path / f"b.{kind}", **last)
    paused = read(tmp_path / f"b.{kind}", 43, rate=20)
    np.testing.assert_allclose(paused.times[9:16], [0.45, 0.5, 0.5, 0.5, 0.7, 0.7, 0.75], atol=1e-6)
    pictures[0].save(tmp_path / f"c.{kind}", **last | dict(duration=0))
    assert read(tmp_path / f"c.{kind}", 30, rate=10).times[1] == 0.1  # what asks for no time is shown for a tenth


def test_folder_of_frames(tmp_path, plant):
    for n in range(12):
        Image.fromarray(plant[0][n]).save(tmp_path / f"frame {n}.png")  # 10 comes after 9
    clip = read(tmp_path, 12)
    np.testing.assert_array_equal(clip.frames, plant[0][:12])
    assert read(tmp_path, 10, folder_rate=25).times[6] == pytest.approx(5 / 25)
    with pytest.raises(
        FormatError, match=r"length: expected 5.0 s, found 0.4 s: too short.* ask for 12 frames or fewer"
    ):
        read(tmp_path)


# ---------------------------------------------------------------------------------------------- what makes spectra wrong


def test_duplicates(tmp_path, plant):
    """As in clips of the net that were made from 10 frames per second: two of three steps show the same frame."""
    clip = read(write(tmp_path / "a.webm", plant[0][np.arange(150) // 3 * 3]))
    assert clip.report.kinds == ("duplicates",)
    count = int(clip.report.findings[0].text.split()[0])
    assert 90 <= count <= 102


def test_cut(tmp_path, plant):
    other, _ = clip(sway(3.0, period=43.7), 60, seed=5)
    path = write(tmp_path / "a.webm", np.concatenate([plant[0][:100], other]))
    found = read(path)
    assert found.report.kinds == ("cut",)
    assert "at second 3.33:" in found.report.findings[0].text
    assert "has 3.3 s, from second 0.00 on." in found.report.findings[0].text
    assert read(path, 50, start=3.34).report.findings == ()  # as advised
    bright = plant[0].copy()
    bright[40:] = np.clip(bright[40:] * 1.4, 0, 255).astype(np.uint8)  # a lamp goes on: no cut
    assert "cut" not in read(write(tmp_path / "b.webm", bright)).report.kinds


def test_camera(tmp_path):
    law = sway(3.0, period=43.7)
    shake = lambda n, y, x: tuple(a + 1.5 * np.sin(b * n) for a, b in zip(law(n, y, x), (0.7, 0.5)))  # noqa: E731
    found = read(write(tmp_path / "a.webm", clip(shake, 150)[0]))
    assert found.report.kinds == ("camera",)
    assert "taking out that shift is enough" in found.report.findings[0].text
    zoom = lambda n, y, x: (0.004 * n * (x - 31.5), 0.004 * n * (y - 23.5))  # noqa: E731
    found = read(write(tmp_path / "b.webm", clip(zoom, 60)[0]), 60)
    assert found.report.kinds == ("camera",)
    assert "turns or zooms" in found.report.findings[0].text
    hand = lambda n, y, x: (1.2 * np.sin(0.7 * n), 0.8 * np.sin(0.5 * n))  # noqa: E731
    found = read(write(tmp_path / "c.avi", clip(hand, 60)[0]), 60)
    assert found.report.kinds == ("camera", "still")
    assert "the camera's motion apart" in found.report.findings[1].text


def test_nothing_moves(tmp_path, plant):
    noise = np.random.default_rng(0).normal(0, 4, (150, 48, 64, 3))
    for frames in (np.repeat(plant[0][:1], 150, 0), np.clip(plant[0][:1] + noise, 0, 255).astype(np.uint8)):
        found = read(write(tmp_path / "a.avi", frames))
        assert found.report.kinds == ("still",)
        assert found.report.findings[0].text.startswith("Nothing moves")
    # an even sky, in which flow makes motion out of grain
    sky = np.full((150, 48, 64, 3), 180.0) + np.linspace(0, 20, 48)[:, None, None]
    sky[:, 30:] = plant[0][:1, 30:]
    sky += np.random.default_rng(0).integers(-2, 3, (150, 48, 64, 1))
    found = read(write(tmp_path / "a.avi", np.clip(sky, 0, 255).astype(np.uint8)))
    assert found.report.kinds == ("still",)
    assert "grey levels only" in found.report.findings[0].text
    flame = plant[0][:1] * (0.6 + 0.3 * np.sin(np.arange(150) / 5)[:, None, None, None])  # light moves, no thing does
    assert "still" not in read(write(tmp_path / "a.avi", flame.astype(np.uint8))).report.kinds


def test_gap(tmp_path, plant):
    pictures = [Image.fromarray(f) for f in plant[0][:60]]
    lasts = [50] * 30 + [900] + [50] * 29
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=lasts)
    found = read(tmp_path / "a.gif", 60, rate=20)
    assert found.report.kinds[0] == "gap"
    assert "No frame for 0.9 s after second 1.5" in found.report.findings[0].text


# --------------------------------------------------------------------------------------------------- what is no good


def test_too_short(tmp_path, plant):
    path = write(tmp_path / "a.webm", plant[0][:60])
    with pytest.raises(FormatError, match=r"length: expected 5.0 s, found 2.0 s: too short; film.* 60 frames or fewer"):
        read(path)
    assert len(read(path, 60).frames) == 60
    with pytest.raises(FormatError, match=r"too short; film.* 60 frames or fewer"):
        read(path, 61)  # the last frame is over where the 61st would begin
    with pytest.raises(FormatError, match=r"expected 1.0 s from second 1.5 on, found 0.5 s"):
        read(path, 30, start=1.5)
    with pytest.raises(FormatError, match=r"from second 9 on, found 0.0 s"):
        read(path, 30, start=9)


@pytest.mark.parametrize("name", ["a.avi", "a.webm"])
def test_cut_off(tmp_path, plant, name):
    path = write(tmp_path / name, plant[0])
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(FormatError, match=r"frames: expected 5.7 s of them, as its header says, found .*copy it again"):
        read(path)
    read(path, 30)  # what is whole is read
    path.write_bytes(data[:60])
    for reader in ("opencv", "auto"):
        with pytest.raises(FormatError, match="damage"):
            read(path, reader=reader)


def test_by_pyav(tmp_path, plant):
    pytest.importorskip("av")
    path = write(tmp_path / "a.webm", plant[0])
    ours, theirs = read(path, reader="opencv"), read(path, reader="av")
    np.testing.assert_allclose(ours.times, theirs.times, atol=1e-6)
    assert np.abs(ours.frames.astype(int) - theirs.frames).mean() < 3
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(FormatError, match=r"copy it again|too short"):
        read(path, reader="av")


def test_damage_before_the_first_frame(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"GIF89a" + b"\x08\0\x08\0\0\0\0,\0\0\0\0\x08\0\x08\0\0\2\2")
    with pytest.raises(FormatError, match=r"found 0\.0 s, then damage"):
        read(path)


def test_huge(tmp_path, plant):
    path = write(tmp_path / "b.avi", plant[0][:20])
    with pytest.raises(
        FormatError, match="at most 512 MB, found 1000000 of 64 x 48; ask for fewer frames or a smaller"
    ):
        read(path, 1_000_000, size=None)
    with pytest.raises(FormatError, match="found 2 of 1000000000 x 1000000000"):  # which no memory holds
        read(path, 2, size=(10**9, 10**9))


def test_what_is_found_is_said_to_everybody():
    """Who types a command knows no name of Python's, and who calls the library no option."""
    for kind, text in FINDINGS.items():
        assert not re.search(r"\w=|\w\.\w|_|--", re.sub(r"\{.*?\}", "", text)), kind


def test_nothing_there(tmp_path):
    with pytest.raises(FormatError, match="nothing of that name"):
        read(tmp_path / "a.mp4")
    for bad in (
        dict(frames=1),
        dict(rate=0),
        dict(start=-1),
        dict(size=(4, 4)),
        dict(folder_rate=0),
    ):
        with pytest.raises(ValueError, match="read_video"):
            read_video(tmp_path, **bad)


def test_one_picture_is_no_clip(tmp_path, plant):
    """However long a single frame is shown, there is no step in it that could be looked at."""
    Image.fromarray(plant[0][0]).save(tmp_path / "a.gif", save_all=True, duration=9000)
    Image.fromarray(plant[0][0]).save(tmp_path / "a.png")
    for path in (tmp_path / "a.gif", tmp_path):
        with pytest.raises(FormatError, match=r"found 0\.0 s: too short"):
            read(path, 2)


def test_times_that_do_not_rise(tmp_path, plant, monkeypatch):
    """Frames without a time of their own are left out, as long as they are few."""
    path = write(tmp_path / "a.avi", plant[0][:20])
    times = [float("nan"), *(np.arange(20) / 30)]
    monkeypatch.setattr(decoding, "_by_opencv", lambda source: ((t, picture) for t, picture in zip(times, plant[0])))
    found = read(path, 15, reader="opencv")
    np.testing.assert_array_equal(found.frames, plant[0][1:16])
    assert "times" in found.report.kinds
    times[3:] = [0.0] * 18
    with pytest.raises(FormatError, match="times: expected frames with times that rise, found 19 of 21"):
        read(path, 15, reader="opencv")
