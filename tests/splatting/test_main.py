"""The command line: from photographs to a scene, its scores, its pictures and its page, and what it says when it cannot."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bestpapers.kernels.rasterize import rules
from bestpapers.splatting import __main__ as program
from bestpapers.splatting import coordinates, formats, train
from bestpapers.splatting.data import (
    camera_ring,
    look_at,
    make_scene,
    points_on_rays,
    render_truth,
    surface_points,
)
from bestpapers.splatting.density import DensityConfig
from bestpapers.splatting.evaluate import evaluate
from bestpapers.splatting.filters import METHODS
from bestpapers.splatting.formats import clouds
from bestpapers.splatting.model import GaussianConfig, Gaussians
from bestpapers.splatting.widgets import viewer


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


def placed(capture, folder, origin=(0.0, 0.0, 0.0), unit=1.0):
    """The same capture in other coordinates."""
    photos, _ = formats.read_capture(capture, test_every=0)
    points = (photos.points.double() - torch.tensor(origin)) / unit
    cameras = [coordinates.placed(camera, origin, unit) for camera in photos.cameras]
    formats.write_colmap(folder, cameras, photos.names, points, photos.colors, photos.views().images)
    return folder


def test_a_capture_in_other_coordinates_is_learned_as_well(capture, tmp_path, capsys):
    """UTM, and a unit in which the cameras stand at a tenth from what they see: nothing is lost, and files stay in both."""
    offset = np.array([-500_000.0, -5_000_000.0, -100.0])
    folders = dict(
        plain=capture, utm=placed(capture, tmp_path / "u", offset), small=placed(capture, tmp_path / "s", unit=1 / 0.03)
    )
    scores = {}
    for name, folder in folders.items():
        out = tmp_path / f"{name}.ply"
        assert run("train", "--data", folder, "--out", out, "--iterations", 80, "--preview-every", 0) == 0
        scores[name] = json.loads(out.with_suffix(".json").read_text())["held_out"]["psnr"]
    assert scores == pytest.approx(dict.fromkeys(scores, scores["plain"]), abs=0.3)

    def middle(model):
        return model.means.detach().double().numpy().mean(0) + model.config.origin

    plain, far, small = (formats.read_ply(tmp_path / f"{name}.ply") for name in folders)
    np.testing.assert_allclose(middle(far), middle(plain) - offset, atol=0.01)
    assert small.means.std().item() == pytest.approx(0.03 * plain.means.std().item(), rel=0.01)
    words = (tmp_path / "utm.ply", "--data", tmp_path / "u", "--out")
    assert run("evaluate", *words, tmp_path / "scores.json") == 0
    found = json.loads((tmp_path / "scores.json").read_text())[0]["1/1"]["psnr"]
    assert found == pytest.approx(scores["utm"], abs=0.01)
    assert run("render", *words, tmp_path / "drawn") == 0
    assert np.asarray(Image.open(tmp_path / "drawn/0000.png")).std() > 10
    capsys.readouterr()
    assert run("train", "--data", tmp_path / "u", "--out", tmp_path / "a.splat") == 2
    assert "cannot hold a scene so far from the origin of coordinates" in capsys.readouterr().err
    assert run("train", "--data", placed(capture, tmp_path / "t", unit=1000), "--out", tmp_path / "a.ply") == 2
    assert "not drawn; multiply the positions of cameras and points" in capsys.readouterr().err


def test_pruning_that_would_take_everything(tmp_path, monkeypatch, capsys):
    """Nine photographs by a hand held nearly still: beside the cameras' spread every Gaussian is huge."""
    world, rng = make_scene("wheel", "thin"), np.random.default_rng(0)
    cameras = [look_at(np.array([0, 0, 3.0]) + rng.uniform(-0.02, 0.02, 3), size=24) for _ in range(9)]
    points, colors = surface_points(world, 100, rng, cameras=cameras)
    images = torch.stack([render_truth(world, camera, supersample=2) for camera in cameras])
    formats.write_colmap(tmp_path / "still", cameras, [f"{i}.png" for i in range(9)], points, colors, images)
    often = DensityConfig(start=5, every=5, stop=45, reset_every=10)  # for the 7,000 iterations of the defaults
    monkeypatch.setattr(program, "_density", lambda iterations, most: often)
    out = tmp_path / "still.ply"
    assert run("train", "--data", tmp_path / "still", "--out", out, "--iterations", 50, "--preview-every", 0) == 0
    assert "pruning would have left next to no Gaussian, and was left out (6 times)" in capsys.readouterr().out
    assert len(formats.read_ply(out)) >= 100


def test_photographs_that_are_missing_or_elsewhere(capture, tmp_path, capsys):
    shutil.copytree(capture, tmp_path / "c")
    (tmp_path / "c/images/0003.png").unlink()
    (tmp_path / "c/images").rename(tmp_path / "photos")
    words = ("train", "--data", tmp_path / "c", "--out", tmp_path / "a.ply", "--iterations", 2, "--preview-every", 0)
    assert run(*words) == 2
    assert "--images on the command line" in capsys.readouterr().err
    assert run(*words, "--images", tmp_path / "photos") == 0
    said = capsys.readouterr()
    assert "1 of 12 photographs are missing and left out; the first: " in said.err
    assert "Warning" not in said.err
    assert "9 photographs to learn from, 2 held out" in said.out
    assert run(*words, "--images", "../photos", "--test-every", 0) == 0


def test_pictures_keep_their_names_apart(capture, scene, tmp_path, capsys):
    """a.png and a.jpg in one capture; and no picture is drawn over a photograph."""
    photos, _ = formats.read_capture(capture, test_every=0)
    names = ["a.png", "a.jpg", "b/a.png", "frame.1.png"]
    folder = tmp_path / "c"
    formats.write_colmap(folder, photos.cameras[:4], names, photos.points, photos.colors)
    for name, file in zip(names, photos.images):
        (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.open(file).save(folder / "images" / name)
    words = ("render", scene, "--data", folder, "--split", "all", "--out")
    assert run(*words, tmp_path / "r") == 0
    found = {str(p.relative_to(tmp_path / "r")) for p in (tmp_path / "r").rglob("*.png")}
    assert found == {f"{name}.png" for name in names}
    assert program._pictures(Path("r"), names[1:]) == [Path("r", n) for n in ("a.png", "b/a.png", "frame.1.png")]
    before = (capture / "images/0000.png").read_bytes()
    capsys.readouterr()
    assert run("render", scene, "--data", capture, "--out", capture / "images") == 2
    assert "0000.png is a photograph of the capture" in capsys.readouterr().err
    assert (capture / "images/0000.png").read_bytes() == before


def test_pictures_beside_a_folder_with_their_name(capture, scene, tmp_path, capsys):
    photos, _ = formats.read_capture(capture, test_every=0)
    names = ["a.jpg", "a.png/x.jpg"]
    formats.write_colmap(tmp_path / "c", photos.cameras[:2], names, photos.points, photos.colors)
    for name, file in zip(names, photos.images):
        (tmp_path / "c/images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.open(file).save(tmp_path / "c/images" / name)
    words = ("render", scene, "--data", tmp_path / "c", "--split", "all", "--out")
    assert run(*words, tmp_path / "r") == 0
    assert {p.name for p in (tmp_path / "r").rglob("*.jpg.png")} == {"a.jpg.png", "x.jpg.png"}
    capsys.readouterr()
    (tmp_path / "d/a.jpg.png").mkdir(parents=True)
    for out, reason in (
        (tmp_path / "d", "a.jpg.png: this is a folder"),
        (scene, "this is a file; give the name of a folder"),
    ):
        assert run(*words, out) == 2
        assert reason in capsys.readouterr().err
    assert run("capture", "--out", scene) == 2
    assert "this is a file; give the name of a folder" in capsys.readouterr().err


def test_a_scene_in_a_tiny_unit_is_drawn_as_it_is(capture, scene, tmp_path):
    """Whatever came out of other programs: the plane before which nothing is drawn does not hide it."""
    model, scores = formats.read_ply(scene), []
    for unit in (1, 30, 300, 5000):
        folder = placed(capture, tmp_path / f"{unit}", unit=unit)
        formats.write_ply(folder / "a.ply", model.placed((0, 0, 0), unit))
        assert run("evaluate", folder / "a.ply", "--data", folder, "--out", folder / "scores.json") == 0
        scores.append(json.loads((folder / "scores.json").read_text())[0]["1/1"]["psnr"])
    assert scores == pytest.approx([scores[0]] * 4, abs=0.01)
    _, held_out = formats.read_capture(capture)
    assert model.near_plane(held_out.cameras) == rules.NEAR_PLANE  # to the last bit: nothing of the book changes


def test_few_photographs_are_counted(capture, scene, tmp_path, capsys):
    photos, _ = formats.read_capture(capture, test_every=0)
    for n, words, learning, held_out in (
        (1, (), "1 photograph to learn from, 0 held out; depth needs at least two to learn from\n", "add photographs"),
        (
            3,
            ("--test-every", 2),
            "from, 2 held out; depth needs at least two to learn from, and --test-every 0 holds",
            "",
        ),
        (2, (), "", "no held-out photographs to compare with; add photographs that are not learned from\n"),
        (2, ("--test-every", 0), "", "no held-out photographs to compare with; add photographs that are not learned"),
        (12, ("--test-every", 0), "", "no held-out photographs to compare with; give another --test-every\n"),
    ):
        folder = tmp_path / f"{n}{len(words)}"
        formats.write_colmap(
            folder, photos.cameras[:n], photos.names[:n], photos.points, photos.colors, photos.views().images[:n]
        )
        for command, reason in (
            (("train", "--out", tmp_path / "a.ply"), learning), (("evaluate", scene), held_out)
        ):  # fmt: skip
            if reason:
                capsys.readouterr()
                assert run(*command, "--data", folder, *words) == 2
                assert reason in capsys.readouterr().err


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


def test_a_page_holds_no_more_than_it_can_show(scene, tmp_path, monkeypatch, capsys):
    model = formats.read_ply(scene)
    monkeypatch.setattr(viewer, "MOST", 50)
    with pytest.raises(ValueError, match="the viewer shows up to 50; thin them out"):
        viewer.Viewer([("a", "mip", model)], camera=camera_ring(1)[0], caption="c", description="d")
    assert run("view", scene, "--out", tmp_path / "page.html", "--no-open") == 0
    said = capsys.readouterr().out
    assert f"of {len(model):,} Gaussians the page holds 50, those of the largest volume times opacity" in said
    thin = program._thinned(scene, model)
    scales, opacities = model.scales_opacities()
    weight = scales.double().prod(-1) * opacities
    least = weight.sort().values[-50].item()
    assert sorted(thin.means[:, 0].tolist()) == sorted(model.means[weight >= least, 0].tolist())


@pytest.mark.parametrize(
    ("n", "spread", "size", "place"), [(1, 0, 1, 0), (200, 1e-3, 2e-4, 0), (1, 0, 1e-4, 5), (50, 1, 0.1, 4e6)]
)
def test_small_and_far_scenes_are_in_view(tmp_path, n, spread, size, place):
    """One Gaussian; a scene of a millimetre; one far off."""
    points = place + spread * torch.randn(n, 3, generator=torch.Generator().manual_seed(0)).double()
    parameters = {name: torch.zeros(shape) for name, shape in Gaussians.shapes(n, 0).items()}
    origin = tuple(points.median(0).values.tolist()) if place > 1e6 else (0.0, 0.0, 0.0)
    parameters |= dict(
        means=(points - torch.tensor(origin)).float(), log_scales=torch.full((n, 3), float(size)).log(), quats=torch.ones(n, 4),
        opacity_logits=torch.full((n,), 4.0), sh_dc=torch.ones(n, 1, 3),
    )  # fmt: skip
    formats.write_ply(tmp_path / "a.ply", Gaussians(parameters, GaussianConfig("3dgs", origin=origin)))
    model = formats.read_ply(tmp_path / "a.ply")
    camera = program._start_camera(tmp_path / "a.ply", None, None, model)
    shown = viewer.Viewer([("a", "3dgs", model)], camera=camera, caption="c", description="d")
    stored = clouds.parse_gaussians(shown.files[0], Path("a.ply"))  # as the page gets it
    with torch.no_grad():
        light = stored.render([shown.view()]).colors[0].amax(-1)
    assert (light > 0.3).float().mean() > 0.02  # of the picture
    assert run("view", tmp_path / "a.ply", "--no-open") == 0


def test_what_cannot_be_done_is_said(capture, scene, tmp_path, capsys):
    for words, message in (
        (("train", "--data", tmp_path / "nowhere", "--out", tmp_path / "a.ply"), "nowhere"),
        (("train", "--data", capture, "--out", tmp_path / "a.obj"), "must end with .ply or .splat"),
        (("train", "--data", capture, "--out", tmp_path / "a.ply", "--background", "blue"), "--background"),
        (
            ("render", scene, "--data", capture, "--out", tmp_path / "r", "--background", "0,0,255"),
            "say black, white",
        ),
        (("evaluate", scene, "--data", capture, "--test-every", 0), "no held-out photographs"),
        (("render", tmp_path / "none.ply", "--data", capture, "--out", tmp_path / "r"), "none.ply"),
        (("capture", "--out", capture), "not empty"),
        (("view", scene, "--out", scene, "--no-open"), "the name must end with .html or .htm"),
        (("evaluate", scene, "--data", capture, "--out", scene), "this is read"),
        (("view", capture / "images/0000.png", "--no-open"), "0000.png"),
    ):
        assert run(*words) == 2
        shown = capsys.readouterr().err
        assert message in shown
        assert "Traceback" not in shown
    assert not (tmp_path / "a.ply").exists()
    if not torch.cuda.is_available():
        assert run("train", "--data", capture, "--out", tmp_path / "a.ply", "--device", "cuda") == 2
        assert "no CUDA device here" in capsys.readouterr().err


def test_a_gpu_without_triton_is_not_taken_in_silence(monkeypatch, capsys):
    """There the reference would run, in time that grows with pixels times Gaussians."""
    from bestpapers.kernels import dispatch
    from bestpapers.splatting.__main__ import _device

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(dispatch, "_installed", lambda module: module != "triton")
    assert _device("auto").type == "cpu"
    assert "on the CPU, since triton is not installed" in capsys.readouterr().out
    assert _device("cuda").type == "cuda"
    assert "this will be slow: triton is not installed" in capsys.readouterr().out
    monkeypatch.setattr(dispatch, "_installed", lambda module: True)
    assert _device("auto").type == "cuda"
    assert capsys.readouterr().out == ""


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
