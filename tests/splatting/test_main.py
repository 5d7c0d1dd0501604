"""The command line: from photographs to a scene, its scores, its pictures and its page, and what it says when it cannot."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bestpapers.splatting import __main__ as program
from bestpapers.splatting import formats, train
from bestpapers.splatting.data import camera_ring, make_scene, points_on_rays, render_truth
from bestpapers.splatting.evaluate import evaluate
from bestpapers.splatting.filters import METHODS


def run(*words) -> int:
    return program.main([str(word) for word in words])


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "capture"
    assert run("capture", "--out", folder, "--photos", 12, "--width", 64, "--height", 36) == 0
    return folder


@pytest.fixture(scope="module")
def scene(capture, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "scene.ply"
    assert run("train", "--data", capture, "--out", out, "--iterations", 200, "--preview-every", 100) == 0
    return out


def test_a_capture_as_a_worse_camera_gives_it(tmp_path, capsys):
    def first(*words):
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        assert run("capture", "--out", folder, "--photos", 2, "--width", 32, "--height", 20, *words) == 0
        return np.array(Image.open(folder / "images/0000.png"), dtype=float)

    clean = first("--noise", 0)
    for words in (("--blur", 1), ("--exposure", 0.5), ("--jpeg", 40)):
        assert np.abs(first("--noise", 0, *words) - clean).mean() > 1, words  # of 255
    assert run("capture", "--out", tmp_path / "never", "--jpeg", 99) == 2
    assert "jpeg must be a quality from 1 to 95, got 99" in capsys.readouterr().err
    assert not (tmp_path / "never").exists()


def test_a_scene_is_learned(capture, scene):
    report = json.loads(scene.with_suffix(".json").read_text())
    assert report["method"] == "mip"
    assert report["iterations"] == 200
    assert (report["photographs"], report["size"]) == (10, "64 x 36 px")  # two of twelve are held out
    model = formats.read_ply(scene)
    assert len(model) == report["gaussians"]
    _, held_out = formats.read_capture(capture)
    again = evaluate(model, {64: held_out.views()})[64]
    assert again["psnr"] == pytest.approx(report["held_out"]["psnr"], abs=1e-3)
    grey = held_out.views().images.float().div(255)
    nothing = -10 * torch.log10((grey - grey.mean((0, 1, 2))).square().mean())
    assert again["psnr"] > nothing + 4  # dB above one colour everywhere
    left = {p.name for p in scene.parent.iterdir()}
    assert left == {"scene.ply", "scene.json", "scene_previews"}
    previews = sorted(p.name for p in (scene.parent / "scene_previews").iterdir())
    assert previews == ["000100.png", "000200.png"]
    assert Image.open(scene.parent / "scene_previews" / previews[0]).size == (128, 36)


def test_an_interrupted_run_goes_on_to_the_same_result(capture, tmp_path, monkeypatch, capsys):
    words = ("train", "--data", capture, "--iterations", 40, "--preview-every", 0)
    assert run(*words, "--out", tmp_path / "whole.ply") == 0
    loss, calls = train.loss_fn, []

    def interrupted(*args):
        calls.append(0)
        if len(calls) == 17:
            os.kill(os.getpid(), signal.SIGINT)
        return loss(*args)

    monkeypatch.setattr(train, "loss_fn", interrupted)
    with pytest.raises(SystemExit) as stop:
        run(*words, "--out", tmp_path / "cut.ply")
    monkeypatch.undo()
    assert stop.value.code == 130
    assert "stopped at iteration 17; the same command goes on" in capsys.readouterr().out
    assert not (tmp_path / "cut.ply").exists()
    assert run(*words, "--out", tmp_path / "cut.ply") == 0
    assert "going on from iteration 17" in capsys.readouterr().out
    assert (tmp_path / "cut.ply").read_bytes() == (tmp_path / "whole.ply").read_bytes()
    assert not list(tmp_path.glob("*.checkpoint*"))


def test_other_settings_do_not_go_on_from_it_but_restart_does(capture, tmp_path, monkeypatch, capsys):
    words = ("train", "--data", capture, "--out", tmp_path / "a.ply", "--iterations", 10, "--preview-every", 0)

    def stop(*_):
        os.kill(os.getpid(), signal.SIGINT)
        return loss(*_)

    loss = train.loss_fn
    monkeypatch.setattr(train, "loss_fn", stop)
    with pytest.raises(SystemExit):
        run(*words)
    monkeypatch.undo()
    assert run(*words, "--method", "ewa") == 2
    assert "trained with method = 'mip', this run has ewa" in capsys.readouterr().err
    assert run(*words, "--method", "ewa", "--restart") == 0


@pytest.mark.parametrize("method", METHODS)
def test_every_method(capture, tmp_path, method):
    out = tmp_path / "scene.ply"
    assert (
        run("train", "--data", capture, "--out", out, "--iterations", 5, "--method", method, "--preview-every", 0) == 0
    )
    assert formats.read_ply(out).config.method == method


@pytest.mark.parametrize("kind", ["blender", "transforms"])
def test_other_captures_without_points(tmp_path, kind, capsys):
    world = make_scene("wheel", "natural")
    cameras = camera_ring(10, size=32)
    images = torch.stack([render_truth(world, camera) for camera in cameras])
    if kind == "blender":
        formats.write_blender(tmp_path / "c", "train", cameras[:8], images[:8])
        formats.write_blender(tmp_path / "c", "test", cameras[8:], images[8:])
    else:
        formats.write_transforms(tmp_path / "c", cameras, images)
    out = tmp_path / "s.ply"
    words = (
        "train",
        "--data",
        tmp_path / "c",
        "--out",
        out,
        "--iterations",
        60,
        "--random-points",
        500,
        "--preview-every",
        0,
    )
    assert run(*words, "--init", "points") == 2
    assert "the capture holds no points" in capsys.readouterr().err
    assert run(*words) == 0
    assert len(formats.read_ply(out)) == 500
    white = (1.0, 1.0, 1.0) if kind == "blender" else (0.0, 0.0, 0.0)
    assert formats.read_ply(out).config.background == white
    assert json.loads(out.with_suffix(".json").read_text())["held_out"]["psnr"] > 14


def test_render(capture, scene, tmp_path):
    assert run("render", scene, "--data", capture, "--out", tmp_path / "far", "--downscale", 2, "--zoom", 0.5) == 0
    names = sorted(p.name for p in (tmp_path / "far").iterdir())
    assert names == ["0000.png", "0008.png"]
    picture = np.asarray(Image.open(tmp_path / "far" / "0000.png"))
    assert picture.shape == (18, 32, 3)
    _, held_out = formats.read_capture(capture)
    camera = held_out.cameras[0].at(width=32).zoomed(0.5)
    with torch.no_grad():
        want = formats.read_ply(scene).render([camera]).colors[0]
    np.testing.assert_array_equal(picture, (255 * want.clamp(0, 1)).round().byte())
    assert run("render", scene, "--data", capture, "--out", tmp_path / "all", "--split", "all", "--method", "3dgs") == 0
    assert len(list((tmp_path / "all").iterdir())) == 12


def test_evaluate(capture, scene, tmp_path, capsys):
    fused = tmp_path / "fused.ply"
    formats.write_ply(fused, formats.read_ply(scene), "fused")
    assert run("evaluate", scene, fused, "--data", capture, "--out", tmp_path / "scores.json") == 0
    rows = json.loads((tmp_path / "scores.json").read_text())
    assert [row["method"] for row in rows] == ["mip", "mip"]
    for scale in ("1/1", "1/2", "1/4", "1/8"):  # the 3D filter folded in: the same pictures
        assert rows[1][scale]["psnr"] == pytest.approx(rows[0][scale]["psnr"], abs=0.02)
    shown = capsys.readouterr().out
    assert f"{rows[0]['1/8']['psnr']:.2f}" in shown
    assert "on 2 held-out photographs" in shown


def test_view(capture, scene, tmp_path):
    page = tmp_path / "page.html"
    assert run("view", scene, "--out", page, "--no-open") == 0
    text = page.read_text()
    assert all(METHODS[name].label in text for name in ("3dgs", "ewa", "mip"))
    assert "http://" not in text.replace("http://www.w3.org/", "")
    assert "https://" not in text


def test_what_cannot_be_done_is_said(capture, scene, tmp_path, capsys):
    for words, message in (
        (("train", "--data", tmp_path / "nowhere", "--out", tmp_path / "a.ply"), "nowhere"),
        (("train", "--data", capture, "--out", tmp_path / "a.obj"), "ends in .ply or .splat"),
        (("train", "--data", capture, "--out", tmp_path / "a.ply", "--background", "blue"), "--background"),
        (("evaluate", scene, "--data", capture, "--test-every", 0), "no held-out photographs"),
        (("render", tmp_path / "none.ply", "--data", capture, "--out", tmp_path / "r"), "none.ply"),
        (("capture", "--out", capture), "not empty"),
    ):
        assert run(*words) == 2
        shown = capsys.readouterr().err
        assert message in shown
        assert "Traceback" not in shown
    assert not (tmp_path / "a.ply").exists()
    if not torch.cuda.is_available():
        assert run("train", "--data", capture, "--out", tmp_path / "a.ply", "--device", "cuda") == 2
        assert "no CUDA device here" in capsys.readouterr().err


def test_the_weights_of_the_book_are_verified(capsys):
    assert run("weights", "--verify") == 0
    assert capsys.readouterr().out.count("as on the card") == 3


@pytest.mark.parametrize(
    "words", [["train", "--iterations", "0"], ["render", "--zoom", "-1"], ["train", "--method", "nerf"], []]
)
def test_wrong_words_are_refused(words):
    with pytest.raises(SystemExit) as stop:
        run(*words)
    assert stop.value.code == 2


def test_help_names_every_command_and_method():
    here = [sys.executable, "-m", "bestpapers.splatting"]
    shown = subprocess.run([*here, "--help"], capture_output=True, text=True, check=True).stdout
    assert all(name in shown for name in ("capture", "train", "render", "evaluate", "view", "weights"))
    shown = subprocess.run([*here, "train", "--help"], capture_output=True, text=True, check=True).stdout
    assert all(method.label in shown for method in METHODS.values())


def test_points_on_rays_stand_before_the_cameras(capture):
    photos, _ = formats.read_capture(capture)
    views = photos.views()
    points, colors = points_on_rays(views, 400, np.random.default_rng(0))
    seen = np.zeros(400, int)
    for i, camera in enumerate(views.cameras):
        uv, z = camera.project(points)
        inside = (z > 0) & (uv > 0).all(1) & (uv < (camera.width, camera.height)).all(1)
        seen += inside
        column, row = uv[inside].astype(int).T
        same = np.abs(views.image(i).numpy()[row, column] - colors.numpy()[inside]).max(1) < 1e-6
        seen[inside] += 100 * same  # this camera gave it its colour
    assert (seen >= 101).all()
    assert Path(capture / "images" / photos.names[0]).exists()
