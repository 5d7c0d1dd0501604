"""Decoding: frames and their times by OpenCV, PyAV and Pillow, of files and folders; and every file that is no video."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bestpapers.lab import video
from bestpapers.lab.files import FormatError
from bestpapers.lab.video import Source, frames

from ..videos import write

FILES = Path(__file__).parent / "files"


def bars(count):
    """Pictures 48 x 64 px with a white bar, the farther right the later."""
    found = np.zeros((count, 48, 64, 3), np.uint8)
    for n in range(count):
        found[n, :, n : n + 8] = 255
    return found


def read(path, start=0.0, **kw):
    """The source, times (T,) and pictures (T, H, W, 3)."""
    source = Source(Path(path), start)
    times, pictures = zip(*frames(source, **kw))
    return source, np.array(times), np.stack(pictures)


@pytest.mark.parametrize("name", ["a.avi", "a.webm"])
def test_a_video(tmp_path, name):
    write(tmp_path / name, bars(30), 25)
    source, times, pictures = read(tmp_path / name)
    np.testing.assert_allclose(times, np.arange(30) / 25, atol=0.001)
    assert np.abs(pictures.astype(int) - bars(30)).mean() < 6
    assert source.codec == {"a.avi": "MJPG", "a.webm": "VP90"}[name]
    assert (source.seen, source.backward, source.fault) == (30, 0, "")
    assert source.header_rate == pytest.approx(25)
    _, late, rest = read(tmp_path / name, start=0.4)
    np.testing.assert_array_equal(late, times[10:])
    np.testing.assert_array_equal(rest, pictures[10:])


def test_times_are_those_of_the_frames():
    """The header says 30 per second; the steps are 17, 50, 33 and 67 ms."""
    source, times, pictures = read(FILES / "variable.webm")
    np.testing.assert_allclose(np.diff(times), ([0.017, 0.05, 0.033, 0.067] * 9)[:35], atol=0.0015)
    np.testing.assert_allclose(pictures.mean((1, 3)).argmax(1) / 40, times, atol=0.04)  # seconds, by what is shown
    assert source.header_rate == pytest.approx(30)


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_animations(tmp_path, kind):
    pictures = [Image.fromarray(f) for f in bars(12)]
    how = dict(save_all=True, append_images=pictures[1:], loop=0)
    pictures[0].save(tmp_path / f"a.{kind}", **how, duration=[50] * 6 + [200] + [50] * 5)
    source, times, found = read(tmp_path / f"a.{kind}")
    np.testing.assert_allclose(times, [0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.5, 0.55, 0.6, 0.65, 0.7], atol=1e-9)
    assert np.abs(found.astype(int) - bars(12)).mean() < 6
    assert (source.codec, source.lasts) == (kind.upper(), 0.05)
    pictures[0].save(tmp_path / f"b.{kind}", **how, duration=0)  # what asks for no time is shown for a tenth
    np.testing.assert_allclose(read(tmp_path / f"b.{kind}")[1], np.arange(12) / 10, atol=1e-9)


def test_a_damaged_animation_ends_early(tmp_path):
    pictures = [Image.fromarray(f) for f in np.random.default_rng(0).integers(0, 255, (9, 48, 64, 3), np.uint8)]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=50)
    data = (tmp_path / "a.gif").read_bytes()
    (tmp_path / "a.gif").write_bytes(data[: len(data) // 2])
    source, times, _ = read(tmp_path / "a.gif")
    assert 2 < len(times) < 6
    assert source.fault


def test_a_folder(tmp_path):
    for n in range(12):
        Image.fromarray(bars(12)[n]).save(tmp_path / f"frame {n}.png")  # 10 comes after 9
    (tmp_path / "notes.txt").write_text("not a picture")
    source, times, found = read(tmp_path, folder_rate=25)
    np.testing.assert_array_equal(found, bars(12))
    np.testing.assert_allclose(times, np.arange(12) / 25)
    assert source.lasts == 1 / 25
    (tmp_path / "frame 5.png").write_bytes((tmp_path / "frame 5.png").read_bytes()[:100])
    with pytest.raises(FormatError, match=r"frame 5\.png: image: expected a whole image"):
        read(tmp_path)
    Image.new("RGB", (20, 20)).save(tmp_path / "frame 5.png")
    with pytest.raises(FormatError, match=r"frame 5\.png: size: expected 64 x 48 px"):
        read(tmp_path)
    (tmp_path / "none").mkdir()
    with pytest.raises(FormatError, match="folder: expected pictures"):
        read(tmp_path / "none")


def test_a_codec_that_gives_no_frame(monkeypatch):
    path = FILES / "av1.webm"
    message = r"codec: expected frames, found none: AV1 \(AV01\) is opened and cannot be decoded.*pip install av"
    with pytest.raises(FormatError, match=message):
        read(path, reader="opencv")
    monkeypatch.setitem(sys.modules, "av", None)  # as if there were no PyAV
    with pytest.raises(FormatError, match=message):
        read(path)
    with pytest.raises(ValueError, match="needs PyAV: pip install av"):
        read(path, reader="av")


def test_pyav_reads_it(tmp_path):
    pytest.importorskip("av")
    source, times, pictures = read(FILES / "av1.webm")
    assert "dav1d" in source.codec or "av1" in source.codec
    np.testing.assert_allclose(pictures[3:].mean((1, 3)).argmax(1) / 40, times[3:], atol=0.04)
    path = write(tmp_path / "a.webm", bars(40))
    ours, theirs = read(path, reader="opencv"), read(path, reader="av")
    np.testing.assert_allclose(ours[1], theirs[1], atol=1e-6)
    assert np.abs(ours[2].astype(int) - theirs[2]).mean() < 3
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(FormatError, match="damage"):
        read(path, reader="av")


def test_frames_without_a_time_are_left_out(monkeypatch, tmp_path):
    """As PyAV may give them at the start: they are counted, and time begins with the first that has one."""
    times = [float("nan"), 2.0, 2.5, 2.25, 3.0]
    monkeypatch.setattr(video, "_by_opencv", lambda source: ((t, picture) for t, picture in zip(times, bars(5))))
    source, found, pictures = read(write(tmp_path / "a.avi", bars(5)), reader="opencv")
    np.testing.assert_array_equal(found, [0.0, 0.5, 1.0])
    np.testing.assert_array_equal(pictures, bars(5)[[1, 2, 4]])
    assert (source.seen, source.backward, source.ended) == (5, 2, 1.0)


def test_a_codec_that_nobody_knows(tmp_path):
    path = write(tmp_path / "a.avi", bars(20))
    path.write_bytes(path.read_bytes().replace(b"MJPG", b"QQQ7"))
    with pytest.raises(FormatError, match=r"damage|QQQ7"):
        read(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "an empty file"),
        (b"hello", "another kind of file"),
        (b"#EXTM3U\n#EXTINF:10,\nhttp://example.org/a.ts\n", "another kind of file"),
        (b"ffconcat version 1.0\nfile a.webm\n", "another kind of file"),
        (b"\x1aE\xdf\xa3" + bytes(300), "damage"),
        (b"\0\0\0\x18ftypmp42" + bytes(300), "damage"),
        (b"GIF89a" + b"\xff" * 4 + bytes(3) + b",\0\0\0\0" + b"\xff" * 4 + b"\0\2\2L\1\0;", "size: expected at most"),
        (b"GIF89a" + bytes(3), r"a whole image \(GIF, WEBP\)"),
        (b"RIFF\xff\xff\xff\xffWEBPVP8X" + bytes(40), "whole image"),
    ],
)
def test_files_that_are_none(tmp_path, data, message):
    (tmp_path / "a.mp4").write_bytes(data)
    with pytest.raises(FormatError, match=message):
        read(tmp_path / "a.mp4")


def test_huge(tmp_path):
    path = write(tmp_path / "a.avi", np.zeros((2, 16, video.MAX_SIDE + 16, 3), np.uint8))
    message = rf"size: expected at most 8192 pixels a side.*{video.MAX_SIDE + 16} x 16.*shrink"
    with pytest.raises(FormatError, match=message):
        read(path)


def test_nothing_there(tmp_path):
    for path in (tmp_path / "a.mp4", "a\0b"):
        with pytest.raises(FormatError, match="nothing of that name"):
            read(path)
    with pytest.raises(ValueError, match="reader must be one of auto, opencv, av, got 'vlc'"):
        read(tmp_path, reader="vlc")
