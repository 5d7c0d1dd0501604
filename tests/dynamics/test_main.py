"""The command line: clips, pages and figures come out as the library has them, and it says why when they do not."""

import html
import json
import re
import shlex
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from bestpapers.dynamics import __main__ as program
from bestpapers.dynamics import experiments, own, render, report, spectral, train, weights
from bestpapers.dynamics.formats import SpectralFile, read_spectrum, read_video, write_clip, write_spectrum
from bestpapers.dynamics.model import LAPTOP
from bestpapers.lab.files import FormatError

from .standin import plant
from .sway import meadow
from .tiny import TINY, animator


def run(*words) -> int:
    return program.main([str(word) for word in words])


def frames_of(path):
    """The frames of a WebP or GIF, or of a video."""
    if path.suffix in (".webp", ".gif"):
        with Image.open(path) as image:
            found = []
            for n in range(image.n_frames):
                image.seek(n)
                found.append(np.asarray(image.convert("RGB")))
            return np.stack(found)
    video, found = cv2.VideoCapture(str(path)), []
    while (got := video.read())[0]:
        found.append(got[1][..., ::-1])
    return np.stack(found)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A model, a renderer, a picture that stands upright, and a video of a plant of known motion."""
    folder = tmp_path_factory.mktemp("made")
    animator().save(folder / "animator.safetensors")
    render.save(render.Renderer(render.RendererConfig(widths=(4, 8))), folder / "renderer.safetensors")
    picture, S = meadow(96, 64, (96, 64))
    Image.fromarray(picture).save(folder / "rose.png")
    scene = plant(1)
    q = scene.motion(train.worlds.Wind(1.0, 0.0, 3), 40)
    write_clip(folder / "bush.webm", 3 * [*scene.frames(q, 80, 128)][:1] + [*scene.frames(q, 80, 128)], desc=None)
    (folder / "meadow").mkdir()
    Image.fromarray(picture).save(folder / "meadow" / "picture.png")
    write_spectrum(folder / "meadow" / "volume.safetensors", SpectralFile(torch.from_numpy(S) * 4))
    return folder


@pytest.fixture(autouse=True)
def shipped(made, monkeypatch, tmp_path):
    monkeypatch.setattr(weights, "HERE", made)
    monkeypatch.setenv("BESTPAPERS_CACHE", str(tmp_path / "cache"))


# ------------------------------------------------------------------------------------------------------------- animate


def test_a_picture_becomes_a_loop_of_its_own_size(made, tmp_path, capsys):
    out = tmp_path / "a.webp"
    words = ("--calls", 2, "--seed", 3, "--gain", 2, "--render", "softmax")
    assert run("animate", made / "rose.png", "--out", out, *words) == 0
    found = frames_of(out)
    assert found.shape == (135, 96, 64, 3)
    assert f"135 frames of 64 x 96 px are in {out}" in capsys.readouterr().out
    picture, scale = own.read_picture(made / "rose.png", 384)
    moving = own.imagined(picture, weights.load(), 3, 2, scale=scale)
    want = np.stack([*render.frames(picture, 2 * own.looped(moving), "softmax")])
    apart, moved = np.abs(found.astype(int) - want).mean(), np.abs(want.astype(int) - picture).mean()
    assert apart < moved / 2  # what the file's compression does


def test_seeds_decide(made, tmp_path):
    words = ["animate", made / "rose.png", "--calls", 2, "--render", "backward", "--size", 48]
    for name, seed in (("a.gif", 1), ("b.gif", 1), ("c.gif", 2)):
        assert run(*words, "--seed", seed, "--out", tmp_path / name) == 0
    a, b, c = ((tmp_path / name).read_bytes() for name in ("a.gif", "b.gif", "c.gif"))
    assert a == b != c
    assert frames_of(tmp_path / "a.gif").shape[1:] == (48, 32, 3)


@pytest.mark.parametrize(("way", "frames"), [("projected", 149), ("guided", 149)])
def test_ways_to_close_a_loop(made, tmp_path, way, frames):
    words = ("--calls", 2, "--size", 32, "--render", "backward", "--loop", way, "--out", tmp_path / "a.webm")
    assert run("animate", made / "rose.png", *words) == 0
    assert len(frames_of(tmp_path / "a.webm")) == frames


def test_slow_motion_takes_longer(made, tmp_path):
    words = ("--calls", 1, "--size", 32, "--render", "backward", "--loop", "naive", "--out", tmp_path / "a.webm")
    assert run("animate", made / "rose.png", *words, "--slow", 1.5) == 0
    assert len(frames_of(tmp_path / "a.webm")) == 225
    moving = own.Moving(*own.read_picture(made / "rose.png", 32)[:1], *2 * (torch.zeros(4, 2, 32, 21) + 0j,))
    with pytest.raises(ValueError, match="too many"):
        own.fits(moving, 10**6)


def test_a_page_alone_and_with_a_clip(made, tmp_path):
    words = ("animate", made / "rose.png", "--calls", 1, "--size", 32, "--render", "softmax")
    assert run(*words, "--html", tmp_path / "a.html", "--alt", "A rose & its thorns.") == 0
    assert [p.name for p in tmp_path.iterdir()] == ["a.html"]
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "A rose &amp; its thorns." in text
    assert '"mode": "loop"' in html.unescape(text)
    assert run(*words, "--html", tmp_path / "b.htm", "--out", tmp_path / "b.gif") == 0
    assert {"b.htm", "b.gif"} <= {p.name for p in tmp_path.iterdir()}


def test_it_lies_beside_the_picture_unless_told_otherwise(made, tmp_path):
    (tmp_path / "rose.png").write_bytes((made / "rose.png").read_bytes())
    assert run("animate", tmp_path / "rose.png", "--calls", 1, "--size", 32, "--render", "backward") == 0
    assert run("pluck", tmp_path / "rose.png", "--calls", 1, "--size", 32, "--render", "backward",
               "--at", "20,30", "--pull", "2,0", "--seconds", 0.2) == 0  # fmt: skip
    assert {p.name for p in tmp_path.iterdir()} == {"rose.png", "rose_loop.webm", "rose_plucked.webm"}


# ------------------------------------------------------------------------------------------- pictures of any size and shape


def test_the_model_sees_a_picture_whole():
    rng = np.random.default_rng(0)
    same = rng.integers(0, 255, (48, 64, 3)).astype(np.uint8)
    whole, (rows, columns) = own.framed(same, 48, 64)
    assert (whole == same).all()
    assert (rows, columns) == (slice(0, 48), slice(0, 64))
    for shape in ((96, 64), (30, 90), (500, 333), (24, 24)):
        picture = cv2.resize(same, shape[::-1], interpolation=cv2.INTER_CUBIC)
        whole, (rows, columns) = own.framed(picture, 48, 64)
        inner = whole[rows, columns]
        assert whole.shape == (48, 64, 3)
        assert inner.shape[0] == 48 or inner.shape[1] == 64
        assert inner.shape[0] / inner.shape[1] == pytest.approx(shape[0] / shape[1], rel=0.04)
        if columns.start:  # beside it, its mirror image
            assert (whole[:, columns.start - 1] == whole[:, columns.start]).all()
    with pytest.raises(ValueError, match=r"200 x 20 px is 64 x 6 .* too long"):
        own.framed(np.zeros((20, 200, 3), np.uint8), 48, 64)


def test_motion_keeps_its_size_in_pixels_of_the_picture(made):
    """A picture of twice the size has motion of twice as many pixels."""
    model = animator()
    small, _ = own.read_picture(made / "rose.png", 384)
    large = cv2.resize(small, (128, 192), interpolation=cv2.INTER_NEAREST)
    one, two = (own.imagined(picture, model, calls=1) for picture in (small, large))
    sizes = [moving.S.abs().mean() for moving in (one, two)]
    assert two.S.shape[-2:] == (192, 128)
    assert sizes[1] / sizes[0] == pytest.approx(2, rel=0.05)
    start = spectral.motion(one.S, times=[0.0])
    assert start.abs().max() < 1e-3 * one.S.abs().max()


def test_a_photograph_is_turned_upright(tmp_path):
    image = Image.fromarray(np.arange(40 * 60 * 3, dtype=np.uint32).reshape(40, 60, 3).astype(np.uint8))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    picture, scale = own.read_picture(tmp_path / "a.jpg", 30)
    assert picture.shape == (30, 20, 3)
    assert scale == (0.5, 0.5)


# --------------------------------------------------------------------------------------------------------------- pluck


def test_the_point_goes_where_it_is_pulled_and_swings_back(made):
    moving = own.kept(made / "meadow" / "volume.safetensors", made / "rose.png", 384)
    y, x = divmod(int(moving.S[1:].abs().square().sum((0, 1)).argmax()), 64)
    flow, share = own.pulled(moving, (x, y), (2.0, 0.0), seconds=4)
    assert share == 1
    assert len(flow) == 15 + 120
    path = flow[:, :, y, x]
    assert path[0].abs().max() == 0
    assert float(path[15, 0]) == pytest.approx(2, abs=0.02)
    assert path[15:, 0].min() < -0.3  # past its place
    assert path[-15:].abs().max() < 0.8
    slow, _ = own.pulled(moving, (x, y), (2.0, 0.0), seconds=4, slow=2)
    torch.testing.assert_close(slow[30::2], flow[15:])
    _, less = own.pulled(moving, (x, y), (60.0, 0.0), seconds=0.1)
    assert 0.1 < less <= 1


def test_pixels_are_those_of_the_file(made, tmp_path, capsys):
    picture = Image.open(made / "rose.png")
    picture.resize((256, 384)).save(tmp_path / "picture.png")
    words = ("--at", "196,148", "--pull", "-8,4", "--size", 96, "--seconds", 0.5, "--render", "backward")
    file = made / "meadow" / "volume.safetensors"
    assert run("pluck", file, "--picture", tmp_path / "picture.png", *words, "--out", tmp_path / "a.webp") == 0
    moving = own.kept(file, tmp_path / "picture.png", 96)
    assert moving.scale == (0.25, 0.25)
    small = moving._replace(scale=(1.0, 1.0))
    torch.testing.assert_close(own.pulled(moving, (196, 148), (-8, 4))[0], own.pulled(small, (49, 37), (-2, 1))[0])
    assert frames_of(tmp_path / "a.webp").shape == (30, 96, 64, 3)
    reach = own.pulled(moving, (196, 148), (-8, 4))[0].norm(dim=1).max()
    assert f"the point goes 100% of the way; what moves most moves by {reach:.1f} px" in capsys.readouterr().out


def test_the_folder_of_a_spectrum_is_its_volume(made, tmp_path):
    words = ("--at", "49,37", "--pull", "2,1", "--seconds", 0.2, "--render", "backward", "--out")
    for name, source in (("a.webp", made / "meadow"), ("b.webp", made / "meadow" / "volume.safetensors")):
        assert run("pluck", source, *words, tmp_path / name) == 0
    assert (tmp_path / "a.webp").read_bytes() == (tmp_path / "b.webp").read_bytes()


def test_pluck_writes_a_page(made, tmp_path):
    file = made / "meadow" / "volume.safetensors"
    assert run("pluck", file, "--at=49,37", "--pull=-4,2", "--html", tmp_path / "a.html", "--damping", 9) == 0
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert '"mode": "touch"' in html.unescape(text)
    assert '"damping": 4' in html.unescape(text)  # as far as the slider goes


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--at", "64,10", "--pull", "1,1"), "the point 64,10 is not in the picture; x is 0 to 63, y is 0 to 95"),
        (("--at", "2,2", "--pull", "1,1"), "nothing moves at 2,2; what moves most is at "),
    ],
)
def test_a_point_that_cannot_be_pulled(made, tmp_path, capsys, words, said):
    assert run("pluck", made / "meadow" / "volume.safetensors", *words, "--out", tmp_path / "a.webm") == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_point_that_hardly_moves(made):
    moving = own.kept(made / "meadow" / "volume.safetensors", made / "rose.png", 384)
    y, x = 5, 5
    S = moving.S.clone()
    S[1:, :, y, x] = 1e-4 * S[1:].abs().max()
    with pytest.raises(ValueError, match="hardly moves: all else would go far before it does; what moves most is at"):
        own.pulled(moving._replace(S=S), (x, y), (3, 0))


def test_a_volume_needs_its_picture(made, tmp_path, capsys):
    (tmp_path / "v.safetensors").write_bytes((made / "meadow" / "volume.safetensors").read_bytes())
    words = ("pluck", tmp_path / "v.safetensors", "--at", "49,37", "--pull", "2,2", "--out", tmp_path / "a.gif")
    assert run(*words) == 2
    assert "the volume needs its picture, and there is no" in capsys.readouterr().err
    Image.new("RGB", (96, 64)).save(tmp_path / "other.png")
    assert run(*words, "--picture", tmp_path / "other.png") == 2
    assert "found 96 x 64; give the picture that the volume is of" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------- spectrum and loop

VIDEO = ("--frames", 40, "--size", 96, "--flow", "dis", "--slices", 8)


def test_what_a_video_is_made_of(made, tmp_path, capsys):
    folder = tmp_path / "deep" / "out"
    assert run("spectrum", made / "bush.webm", *VIDEO, "--out", folder, "--html", tmp_path / "a.html") == 0
    shown = capsys.readouterr().out
    names = {"volume.safetensors", "picture.png", "numbers.json", "spectrum.png", "energy.png", "modes.png"}
    assert {p.name for p in folder.iterdir()} == names
    for name in ("spectrum", "energy", "modes"):
        assert min(Image.open(folder / f"{name}.png").size) > 200
    clip = read_video(made / "bush.webm", frames=40, size=(60, 96), desc=None)
    flow = own.measured(clip, 8, "dis")
    file = read_spectrum(folder / "volume.safetensors")
    assert (file.frames, file.rate, file.first_frame) == (40, 30.0, "free")
    torch.testing.assert_close(file.spectrum, spectral.volume(flow, 8), atol=1e-3, rtol=1e-3)
    assert (np.asarray(Image.open(folder / "picture.png")) == clip.frames[0]).all()
    found = json.loads((folder / "numbers.json").read_text())
    assert found.keys() == report.numbers(clip, flow, 8).keys()
    assert len(found["hertz"]) == len(found["amplitude"]) == len(found["energy_kept"]) == 21
    assert found["hertz"][:2] == pytest.approx([0, 0.75])
    assert found["energy_kept"] == sorted(found["energy_kept"])
    assert found["energy_kept"][-1] == pytest.approx(1)
    assert all(0 < mode["share"] <= 1 for mode in found["modes"])
    assert "bush.webm: VP9" in shown or "bush.webm: VP90" in shown
    assert f"8 slices hold {found['energy_kept'][7]:.1%} of the motion's energy" in shown
    assert run("pluck", folder / "volume.safetensors", "--at", "48,25", "--pull", "2,0", "--seconds", 0.2,
               "--render", "softmax") == 0  # fmt: skip
    assert (folder / "out_plucked.webm").exists()


def test_a_video_becomes_a_loop(made, tmp_path, capsys):
    assert (
        run("loop", made / "bush.webm", *VIDEO, "--render", "softmax", "--overlap", 6, "--out", tmp_path / "a.gif") == 0
    )
    lines = capsys.readouterr().out.splitlines()
    table = {line.split()[0]: line for line in lines if line.split()[0] in own.LOOPS}
    assert list(table) == list(own.LOOPS) == list(program.LOOPS)
    assert [way for way, line in table.items() if line.endswith("<- taken")] == ["cross-faded"]
    assert float(table["projected"].split()[2]) < 1e-3 < float(table["naive"].split()[2])
    assert table["naive"].split()[3] == "100%"
    assert frames_of(tmp_path / "a.gif").shape == (34, 60, 96, 3)


def test_a_volume_becomes_a_loop(made, tmp_path):
    words = ("--loop", "projected", "--size", 48, "--render", "backward", "--out", tmp_path / "a.webm")
    assert run("loop", made / "meadow" / "volume.safetensors", *words, "--html", tmp_path / "a.html") == 0
    assert len(frames_of(tmp_path / "a.webm")) == 149


def test_a_clip_that_stands_still(tmp_path, capsys):
    picture, _ = meadow(60, 96, (60, 96))
    write_clip(tmp_path / "a.webm", np.repeat(picture[None], 40, 0), desc=None)
    assert run("spectrum", tmp_path / "a.webm", *VIDEO, "--out", tmp_path / "out") == 2
    said = capsys.readouterr()
    assert "motion: expected pixels that move by 0.2 px, found none; film something that sways" in said.err
    assert "still: Nothing moves" in said.out
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------------------------------------ what cannot be done, Ctrl-C


def test_refusals_say_what_to_do(made, tmp_path, capsys, monkeypatch):
    rose, bush = made / "rose.png", made / "bush.webm"
    (tmp_path / "a.txt").write_text("no picture")
    (empty := tmp_path / "empty").mkdir()
    Image.new("RGB", (400, 12)).save(tmp_path / "long.png")
    cases = [
        (("animate", tmp_path / "none.png"), "none.png: file: expected a picture, found nothing of that name"),
        (("animate", tmp_path / "a.txt"), "image: expected a whole image"),
        (("animate", tmp_path / "long.png"), "size: expected 16 pixels or more a side, found 400 x 12"),
        (("animate", rose, "--out", "a.avi"), "the name must end in one of .webm, .webp, .gif, .mp4, got 'a.avi'"),
        (("animate", rose, "--html", "a.png"), "a.png: name: expected an ending .html or .htm, found .png"),
        (("animate", rose, "--model", tmp_path / "a.txt"), "file: expected weights of this kind of model"),
        (("animate", rose, "--calls", 2000), "calls must be 1 to 1000"),
        (("loop", bush), "length: expected 5.0 s, found 1.4 s: too short; film for longer, or ask for 4"),
        (("loop", bush, *VIDEO, "--slices", 30), "40 frames have 3 to 20 slices, not 30"),
        (("loop", bush, *VIDEO[2:], "--slices", 3, "--frames", 8, "--overlap", 4, "--slow", 0.1), "0 frames of 96 x 60 px"),
        (("spectrum", rose), "file: expected a video"),
        (("pluck", tmp_path / "none.safetensors", "--at", "1,1", "--pull", "1,1"), "the volume needs its picture"),
        (("pluck", rose, "--at", "1,1", "--pull", "0,0"), "--pull 0,0: this pulls nowhere"),
        (("pluck", rose, "--at", "999,1", "--pull", "1,1", "--calls", 2000), "the point 999,1 is not in the picture"),
        (("pluck", rose, "--at", "1,1", "--pull", "0,120", "--calls", 2000), "longer than the picture; its diagonal is 115 px"),
        (("animate", empty), "empty: file: expected a picture, found a folder"),
        (("pluck", empty, "--at", "1,1", "--pull", "1,1"), "empty: a folder without volume.safetensors; give the one that"),
        (("loop", empty), "empty: a folder without volume.safetensors; give the one that"),
    ]  # fmt: skip
    for words, said in cases:
        words = (*words, "--out", tmp_path / "out.webm") if "--out" not in words and words[0] != "spectrum" else words
        assert run(*words) == 2, words
        shown = capsys.readouterr().err
        assert said in shown, (words, shown)
        assert len(shown.splitlines()) == 1
    monkeypatch.setattr(weights, "HERE", tmp_path)
    assert run("animate", rose, "--out", tmp_path / "out.webm") == 2
    assert "expected the trained model, found nothing of that name; give the file of one" in capsys.readouterr().err
    words = ("pluck", made / "meadow" / "volume.safetensors", "--at", "49,37", "--pull", "1,0", "--seconds", 0.1)
    assert run(*words, "--render", "network", "--out", tmp_path / "out.webm") == 2
    assert "no trained renderer here; give --renderer FILE, or --render softmax" in capsys.readouterr().err
    assert run(*words, "--out", tmp_path / "out.webm") == 0  # by itself it then splats
    assert {p.name for p in tmp_path.iterdir()} == {"a.txt", "empty", "long.png", "out.webm"}


@pytest.fixture
def nothing_is_computed(monkeypatch):
    """What takes long may not begin."""

    def computed(*_, **__):
        raise AssertionError("this should have been refused before")

    for room, name in ((own, "imagined"), (own, "measured"), (own, "pulled"), (spectral, "motion"), (render, "frames")):
        monkeypatch.setattr(room, name, computed)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("loop", "bush.webm", "--out", "bush.webm"), "bush.webm: this is what is read; name another"),
        (("animate", "rose.png", "--out", "rose.png/a.webm"), "rose.png is a file; name another"),
        (("animate", "rose.png", "--html", "rose.png/a.html"), "rose.png is a file; name another"),
        (("loop", "bush.webm", "--out", "folder.webm"), "folder.webm is a folder; name another"),
        (("animate", "rose.png", "--html", "folder.html"), "folder.html is a folder; name another"),
        (("pluck", "meadow", "--at", "49,37", "--pull", "2,1", "--out", "folder.webm"), "folder.webm is a folder; name an"),
        (("spectrum", "bush.webm", "--out", "rose.png"), "rose.png is a file; name another"),
        (("spectrum", "bush.webm", "--out", "rose.png/deep/out"), "rose.png is a file; name another"),
        (("spectrum", "bush.webm", "--html", "folder.html"), "folder.html is a folder; name another"),
        (("spectrum", "frames", "--out", "frames/../frames"), "this is what is read; name another"),
        (("loop", "bush.webm", "--frames", 60, "--overlap", 31), "--overlap 31: 60 frames overlap by 30 at most"),
        (("animate", "rose.png", "--overlap", 76), "--overlap 76: 150 frames overlap by 75 at most"),
        (("loop", "meadow", "--overlap", 76), "--overlap 76: 150 frames overlap by 75 at most"),
        (("loop", "bush.webm", "--rate", 60, "--out", "a.gif"), ".gif takes more than 0 and at most 50 frames per second"),
        (("loop", "fast", "--out", "a.gif"), ".gif takes more than 0 and at most 50 frames per second"),
        (("animate", "rose.png", "--renderer", "none.safetensors"), "none.safetensors"),
        (("pluck", "meadow", "--at", "1,1", "--pull", "1,1", "--renderer", "none.safetensors"), "none.safetensors"),
    ],
)  # fmt: skip
def test_what_must_fail_fails_at_once(made, tmp_path, capsys, monkeypatch, nothing_is_computed, words, said):
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    shutil.copytree(made / "meadow", tmp_path / "fast")
    file = read_spectrum(made / "meadow" / "volume.safetensors")
    write_spectrum(tmp_path / "fast" / "volume.safetensors", SpectralFile(file.spectrum, file.frames, 60.0))
    for name in ("folder.webm", "folder.html", "frames"):
        (tmp_path / name).mkdir()
    before = {*tmp_path.rglob("*")}
    monkeypatch.chdir(tmp_path)
    assert run(*words) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert len(shown.err.splitlines()) == 1
    assert "seam" not in shown.out
    assert {*tmp_path.rglob("*")} == before


@pytest.mark.parametrize(
    ("command", "option", "value"),
    [
        *(("pluck", "--slow", value) for value in ("1e308", "0.001", "0", "nan")),
        *(("loop", "--slow", value) for value in ("1e308", "0.001")),
        *(("pluck", "--seconds", value) for value in ("1e308", "0")),
        *(("loop", "--gain", value) for value in ("1e30", "0")),
        *(("animate", "--guidance", value) for value in ("nan", "inf", "1e30")),
        *((command, "--size", 10**9) for command in ("animate", "pluck", "spectrum", "loop")),
        ("pluck", "--damping", "1e300"),
        ("animate", "--weight", "1e300"),
        ("animate", "--seed", 10**30),
        ("spectrum", "--rate", 20000),
        ("spectrum", "--start", "nan"),
        ("loop", "--frames", 10**9),
    ],
)
def test_numbers_have_bounds(made, capsys, command, option, value):
    source = made / ("bush.webm" if command in ("spectrum", "loop") else "rose.png")
    more = ("--at", "1,1", "--pull", "1,1") if command == "pluck" else ()
    with pytest.raises(SystemExit) as stop:
        run(command, source, *more, option, value)
    assert stop.value.code == 2
    assert re.search(rf"argument {option}: a (whole )?number,? .*, not '{value}'", capsys.readouterr().err)


@pytest.mark.parametrize("pull", ["1e30,0", "0,-1e300", "1e308,1e308", "116,0"])
def test_nothing_is_pulled_out_of_the_picture(made, tmp_path, capsys, pull):
    words = ("--at", "49,37", "--pull", pull, "--out", tmp_path / "a.webm")
    assert run("pluck", made / "meadow", *words) == 2
    shown = capsys.readouterr()
    assert "is longer than the picture; its diagonal is 115 px long" in shown.err
    assert "nan" not in shown.out + shown.err


def test_a_long_pull_moves_nothing_farther_than_itself(made):
    """And a short one nothing farther than a fifth of the picture's smaller side."""
    moving = own.kept(made / "meadow" / "volume.safetensors", made / "rose.png", 384)
    y, x = divmod(int(moving.S[1:].abs().square().sum((0, 1)).argmax()), 64)
    for dx, dy in ((40.0, 0.0), (3.0, 3.0), (0.0, -60.0)):
        flow, _ = own.pulled(moving, (x, y), (dx, dy), seconds=0.1)
        assert flow[:15].norm(dim=1).max() <= 1.001 * max(own.FARTHEST * 64, np.hypot(dx, dy))


def test_another_loop_needs_no_room_for_a_cross_fade(made, tmp_path, capsys):
    words = ("--frames", 16, "--size", 32, "--flow", "dis", "--slices", 3, "--render", "backward")
    out = ("--loop", "projected", "--overlap", 50, "--out", tmp_path / "a.webm")
    assert run("loop", made / "bush.webm", *words, *out) == 0
    assert len(frames_of(tmp_path / "a.webm")) == 15
    assert "cross-faded" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("source", "name"),
    [("meadow", "meadow"), ("meadow/volume.safetensors", "meadow"), (".", "meadow"), ("rose.png", "rose")],
)
def test_a_page_and_a_clip_have_one_name(made, tmp_path, monkeypatch, source, name):
    """A measured volume is called as its folder, also where it is `.`, and not as every other."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path / "meadow" if source == "." else tmp_path)
    words = ("--at", "49,37", "--pull", "2,1", "--calls", 1, "--size", 32)
    assert run("pluck", source, *words, "--html", tmp_path / "a.html") == 0
    assert f"<title>{name}</title>" in (tmp_path / "a.html").read_text(encoding="utf-8")
    assert run("pluck", source, *words, "--seconds", 0.1, "--render", "backward") == 0
    assert [path.name for path in tmp_path.rglob("*_plucked.webm")] == [f"{name}_plucked.webm"]


@pytest.mark.parametrize(("command", "made_of"), [("loop", "clip_loop.webm"), ("spectrum", "clip_spectrum")])
def test_the_folder_that_one_is_in(made, tmp_path, monkeypatch, command, made_of):
    frames = tmp_path / "clip"
    frames.mkdir()
    for n, frame in enumerate(read_video(made / "bush.webm", frames=16, start=0.1, size=(20, 32), desc=None).frames):
        Image.fromarray(frame).save(frames / f"{n}.png")
    monkeypatch.chdir(frames)
    words = ("--frames", 16, "--size", 32, "--flow", "dis", "--slices", 3)
    assert run(command, ".", *words, *(("--overlap", 5, "--render", "backward") if command == "loop" else ())) == 0
    assert {path.name for path in tmp_path.iterdir()} >= {"clip", made_of}
    assert len([*frames.iterdir()]) == 16


def test_how_long_a_picture_may_be(made, tmp_path, capsys):
    """As the page and --help say: ten times as long as wide, and as wide as long, at a size that leaves 16 pixels."""
    for shape in ((160, 16), (16, 160), (400, 40)):
        picture, _ = own.read_picture(saved(tmp_path / "a.png", np.zeros((*shape, 3), np.uint8)), 384)
        own.framed(picture, LAPTOP.height, LAPTOP.width)
    with pytest.raises(
        FormatError, match="size: expected 16 pixels or more a side, found 2000 x 20, made 384 x 4; cut out"
    ):
        own.read_picture(saved(tmp_path / "a.png", np.zeros((20, 2000, 3), np.uint8)), 384)
    with pytest.raises(FormatError, match=r"expected 8 bits per channel, found .*; save it with 8 bits a channel"):
        own.read_picture(saved(tmp_path / "a.png", np.zeros((64, 64), np.uint16)), 384)
    assert f"{own.LEAST_SIDE} pixels a side" in program.SHAPES
    with pytest.raises(SystemExit):
        run("animate", "--help")
    assert program.SHAPES in capsys.readouterr().out


def saved(path, array):
    Image.fromarray(array).save(path)
    return path


def test_a_model_draws_what_the_checks_take_it_to_draw():
    args = program.parser().parse_args(["animate", "rose.jpg"])
    assert (args.frames, args.rate) == (spectral.FRAMES, spectral.RATE)


def test_words_that_are_no_numbers(made, capsys):
    for word in ("12", "a,b", "1,2,3", "nan,0", ""):
        with pytest.raises(SystemExit):
            run("pluck", made / "rose.png", "--at", "1,1", "--pull", word)
        assert "two numbers, x and y in pixels, as in 12,-4" in capsys.readouterr().err


def test_no_guidance_by_energy_for_a_model_of_velocities(made, tmp_path, capsys):
    animator("velocity").save(tmp_path / "v.safetensors")
    words = ("animate", made / "rose.png", "--model", tmp_path / "v.safetensors", "--calls", 1, "--size", 32)
    assert run(*words, "--loop", "guided", "--out", tmp_path / "a.webm") == 2
    assert "cannot be guided; take another loop" in capsys.readouterr().err
    assert run(*words, "--render", "backward", "--out", tmp_path / "a.webm") == 0


def test_interrupted_it_leaves_no_half_file(made, tmp_path, monkeypatch, capsys):
    def frames(picture, *_):
        yield picture
        yield picture
        raise KeyboardInterrupt

    monkeypatch.setattr(render, "frames", frames)
    for ending in ("webm", "gif"):
        words = ("--calls", 1, "--size", 32, "--out", tmp_path / f"a.{ending}")
        assert run("animate", made / "rose.png", *words) == 130
        assert capsys.readouterr().err.splitlines()[-1] == "stopped; no file is half written"
    assert not list(tmp_path.iterdir())


def test_only_training_says_that_it_goes_on(tmp_path, monkeypatch, capsys):
    def make(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "make", make)
    assert run("train", "--folder", tmp_path) == 130
    assert "no file is half written, and training goes on from its last checkpoint" in capsys.readouterr().err


def test_weights_say_that_they_overwrite(capsys):
    with pytest.raises(SystemExit):
        run("weights", "--help")
    assert "Overwrite the shipped files in hours of training, or --verify them." in capsys.readouterr().out


# ------------------------------------------------------------------------------------------------------- train and the rest


def test_rooms_of_their_own(tmp_path, monkeypatch):
    called = []
    monkeypatch.setattr(train, "make", lambda recipe, folder, kinds, group: called.append((recipe, folder, kinds)))
    assert run("train", "--folder", tmp_path, "--kinds", "tree", "--plants", 2, "--steps", 3) == 0
    (recipe, folder, kinds), = called  # fmt: skip
    assert (recipe.plants, recipe.codec.steps, recipe.finish.steps, folder, kinds) == (2, 3, 3, tmp_path, ["tree"])
    monkeypatch.setattr(experiments, "record", lambda *words: called.append(words))
    assert run("experiments", "--record", "tokens", "--folder", tmp_path) == 0
    assert called[-1] == ("tokens", tmp_path, 1)


def test_every_command_says_what_it_takes(capsys):
    for command in ("animate", "pluck", "spectrum", "loop", "train", "experiments", "weights"):
        with pytest.raises(SystemExit, match="0"):
            run(command, "--help")
        shown = capsys.readouterr().out
        assert shown.startswith(f"usage: python -m bestpapers.dynamics {command} ")
        options = re.findall(r"^  (--[a-z-]+)", shown, re.MULTILINE)
        assert len(options) == len(set(options)) > 0 or command in ("train", "experiments", "weights")


def test_it_starts_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "bestpapers.dynamics", "--help"], capture_output=True, text=True, check=True, timeout=300
    )
    assert "animate rose.jpg --html rose.html" in done.stdout


def test_the_examples_of_the_help_are_commands():
    found = re.findall(r"^  python -m bestpapers\.dynamics (.+?)(?:  +#.*)?$", program.EPILOG, re.MULTILINE)
    assert len(found) >= 4
    for words in found:
        given = shlex.split(words.replace("--pull ", "--pull="))
        assert program.parser().parse_args(given).command == given[0]


def test_a_damaged_renderer_is_refused(made, tmp_path):
    (tmp_path / "r.safetensors").write_bytes(b"no weights")
    with pytest.raises(FormatError, match="weights of this kind of model"):
        weights.load_renderer(tmp_path / "r.safetensors")
    assert weights.load().config == TINY
