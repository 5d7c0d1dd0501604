"""The wing as a program, for captures of one's own.

    python -m bestpapers.splatting {capture,train,render,evaluate,view,experiments,weights}

Everything that it can do is in the library; here are only the words of the command line, the defaults for a laptop and for a
GPU, and the order in which things happen.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..lab import cli
from ..lab.cli import Refused, check_target, counted, positive_float, positive_int, say
from ..lab.files import atomic_write, write_file
from ..lab.machine import peak_memory
from .filters import METHODS, Method

if TYPE_CHECKING:
    import torch

    from .cameras import Camera
    from .data import Views
    from .formats import Capture
    from .model import Gaussians
    from .train import Trainer

PROGRAM = "python -m bestpapers.splatting"
# what is left open on the command line: enough for a picture that one recognises at once on two cores; the paper's on a GPU
DEFAULTS: dict[str, dict[str, Any]] = {
    "cpu": dict(iterations=7_000, sh_degree=1, max_gaussians=100_000),
    "cuda": dict(iterations=30_000, sh_degree=3, max_gaussians=None),
}
DEVICES = ("cuda", "cpu")  # that the rasterizer has kernels for
SCALES = (1, 2, 4, 8)  # the report card: full size, 1/2, 1/4, 1/8

EPILOG = f"""\
a first run, without photographs of your own:
  {PROGRAM} capture --out capture            # 50 photographs of a made-up meadow, with COLMAP files
  {PROGRAM} train --data capture --out scene.ply
  {PROGRAM} evaluate scene.ply --data capture
  {PROGRAM} view scene.ply --data capture

FOLDER may hold a COLMAP reconstruction (sparse/0 beside images), a Blender scene (transforms_train.json ...), or a capture of
instant-ngp or nerfstudio (transforms.json, which may be named itself). `{PROGRAM} COMMAND --help` says more."""


# ------------------------------------------------------------------------------------------------------------- commands


def capture(args: argparse.Namespace) -> None:
    from . import formats
    from .data import make_capture

    _check_folder(args.out)
    if args.out.exists() and any(args.out.iterdir()):
        raise Refused(f"{args.out} is there already and not empty; name another folder")
    size = dict(width=args.width, height=args.height)
    camera = dict(noise_std=args.noise, blur_px=args.blur, exposure_stops=args.exposure, jpeg=args.jpeg)
    views, points, colors = make_capture(args.scene, args.photos, **size, **camera, seed=args.seed)
    names = [f"{i:04d}.png" for i in range(len(views))]
    formats.write_colmap(args.out, views.cameras, names, points, colors, images=views.images)
    print(f"{len(views)} photographs of {args.width} x {args.height} px and {len(points)} points in {args.out}")


def train(args: argparse.Namespace) -> None:
    import torch

    from .evaluate import evaluate
    from .formats.clouds import FAR_SPLAT
    from .model import GaussianConfig
    from .model import Gaussians as Model
    from .train import TrainConfig, Trainer, scene_extent

    check_target("--out", args.out, (".ply", ".splat"))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    device = _device(args.device)
    settings = DEFAULTS[device.type] | {k: v for k, v in vars(args).items() if v is not None}
    checkpoint = args.out.with_name(args.out.name + ".checkpoint")
    if args.restart:
        checkpoint.unlink(missing_ok=True)

    background = _background(args.background, args.data)
    photos, held_out = _captures(args.data, args.test_every, args.images)
    if len(photos) < 2:
        raise Refused(
            f"{args.data}: {counted(len(photos), 'photograph')} to learn from, {len(held_out)} held out; depth needs at least "
            "two to learn from" + (", and --test-every 0 holds none out" if len(held_out) else "")
        )
    views = photos.views(args.downscale, background)
    test = held_out.views(args.downscale, background) if len(held_out) else None
    if scene_extent(views.cameras) == 0:
        raise Refused(f"{args.data}: all photographs were taken from one place; depth needs at least two")
    say(f"{len(views)} photographs to learn from, {len(held_out)} held out; {_sizes(views)}; {device}")

    points, colors = _start(photos, views, args.init, args.random_points, args.seed)
    model = Model.from_points(points, colors, GaussianConfig(args.method, settings["sh_degree"], background)).to(device)
    if any(model.config.origin) and args.out.suffix.lower() == ".splat":
        raise Refused(f"--out {args.out}: {FAR_SPLAT}")
    _check_distance(args.data, model, views.cameras)
    plan = TrainConfig(
        iterations=settings["iterations"],
        seed=args.seed,
        density=_density(settings["iterations"], settings["max_gaussians"]),
        checkpoint_every=args.checkpoint_every,
    )
    width = max(camera.width for camera in views.cameras)
    run = Trainer(model, {width: views}, plan, checkpoint)
    if run.iteration:
        say(f"going on from iteration {run.iteration} ({checkpoint})")
    shown = test if test is not None else views

    def after(run: Trainer) -> None:
        if args.preview_every and run.iteration % args.preview_every == 0:
            _preview(args.out.with_name(f"{args.out.stem}_previews"), run, shown)

    try:
        run.run(desc=f"train {args.out.name}", after=after)
    except KeyboardInterrupt:
        say(f"stopped at iteration {run.iteration}; the same command goes on from there ({checkpoint})")
        sys.exit(130)
    if run.density and run.density.spared:
        say(
            f"pruning would have left next to no Gaussian, and was left out ({run.density.spared} times): beside the spread of "
            "the cameras all of them are large; photographs from places farther apart give depth"
        )
    scores = evaluate(model, {width: test})[width] if test is not None else None
    camera = shown.cameras[0]
    report = dict(
        command=f"{PROGRAM} {shlex.join(args.words)}",
        method=args.method,
        gaussians=len(model),
        iterations=run.iteration,
        minutes=round(run.history[-1]["seconds"] / 60, 2),
        device=str(device),
        peak_gb=_peak_gb(device),
        torch=torch.__version__,
        photographs=len(views),
        size=_sizes(views),
        held_out=scores,
        camera=dict(viewmat=camera.viewmat.tolist(), K=camera.K.tolist(), width=camera.width, height=camera.height),
    )
    _write_scene(args.out, model, args.fuse)
    write_file(args.out.with_suffix(".json"), (json.dumps(report, indent=1) + "\n").encode())
    checkpoint.unlink(missing_ok=True)
    if scores:
        say(f"held-out photographs: PSNR {scores['psnr']:.2f} dB, SSIM {scores['ssim']:.3f}")
    say(f"{len(model):,} Gaussians in {args.out} after {report['minutes']:.1f} min")
    say(f"look at them: {PROGRAM} view {args.out}")


def render(args: argparse.Namespace) -> None:
    _check_folder(args.out)
    model = _read_scene(args.scene, args.method, _background(args.background, args.data)).to(_device(args.device))
    parts = dict(zip(("train", "test"), _captures(args.data, args.test_every, args.images), strict=True))
    chosen = [parts[name] for name in (("train", "test") if args.split == "all" else (args.split,))]
    every = [name for part in parts.values() for name in part.names]
    paths = dict(zip(every, _pictures(args.out, every), strict=True))
    views = [(paths[name], camera) for part in chosen for name, camera in zip(part.names, part.cameras, strict=True)]
    if not views:
        raise Refused(f"{args.data} has no {args.split} views; choose another --split")
    photographs = {path.resolve() for part in parts.values() for path in part.images}
    for path, _ in views:
        if path.resolve() in photographs:
            raise Refused(f"--out {args.out}: {path} is a photograph of the capture; choose another folder")
        check_target("--out: the picture", path)
    args.out.mkdir(parents=True, exist_ok=True)
    for path, camera in _progress(views, "render"):
        view = camera.at(width=max(1, round(camera.width / args.downscale))).zoomed(args.zoom)
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_png(path, _draw(model, view))
    say(f"{len(views)} pictures in {args.out}")


def evaluate(args: argparse.Namespace) -> None:
    from .evaluate import evaluate as score

    device = _device(args.device)
    background = _background(args.background, args.data)
    if args.out:
        check_target("--out", args.out, reads=args.scenes)
    _, held_out = _captures(args.data, args.test_every, args.images)
    if not len(held_out):
        other = args.test_every == 0 and len(_captures(args.data, 8, args.images)[1])
        advice = "give another --test-every" if other else "add photographs that are not learned from"
        raise Refused(f"{args.data} has no held-out photographs to compare with; {advice}")
    rows: list[dict[str, Any]] = []
    for scene in args.scenes:
        model = _read_scene(scene, args.method, background).to(device)
        rows.append(dict(scene=str(scene), method=model.config.method, gaussians=len(model)))
        for scale in SCALES:
            views = held_out.views(args.downscale * scale, background)
            rows[-1][f"1/{scale}"] = score(model, {scale: views})[scale]
    widest = max(len(row["scene"]) for row in rows)
    say(f"PSNR in dB (SSIM) on {counted(len(held_out), 'held-out photograph')}, at shares of the training size")
    say(f"{'scene':<{widest}}  {'method':<16}" + "".join(f"{f'1/{s}':>16}" for s in SCALES))
    for row in rows:
        scores = (row[f"1/{s}"] for s in SCALES)
        cells = (f"{score['psnr']:.2f} ({score['ssim']:.3f})" for score in scores)
        say(f"{row['scene']:<{widest}}  {row['method']:<16}" + "".join(f"{cell:>16}" for cell in cells))
    if args.out:
        write_file(args.out, (json.dumps(rows, indent=1) + "\n").encode())


def view(args: argparse.Namespace) -> None:
    import webbrowser

    from .widgets import Viewer

    page = args.out or args.scenes[0].with_suffix(".html")
    check_target("--out", page, (".html", ".htm"), args.scenes)
    models = [_thinned(path, _read_scene(path, None)) for path in args.scenes]
    if len(models) == 1:  # one file under every filter that a viewer may have
        panels = [(METHODS[name].label, name, models[0]) for name in ("3dgs", "ewa", "mip")]
    else:
        names = [f"{path.stem}: {model.method.label}" for path, model in zip(args.scenes, models, strict=True)]
        panels = [(name, m.config.method, m) for name, m in zip(names, models, strict=True)]
    camera = _start_camera(args.scenes[0], args.data, args.images, models[0])
    title = ", ".join(path.name for path in args.scenes)
    viewer = Viewer(
        panels,
        camera=camera,
        caption="Drag to turn, wheel or slider to zoom. Drop a .ply or .splat file on a picture to see it instead.",
        description=f"The scene of {title}, drawn by several methods side by side.",
        limit=None,
    )
    write_file(page, viewer.page(title).encode())
    say(f"{page} holds the scene and its viewer; it works in any browser, without a network")
    if not args.no_open:
        webbrowser.open(page.resolve().as_uri())


# ---------------------------------------------------------------------------------------------------------------- parts


def _captures(folder: Path, test_every: int, images: Path | None) -> tuple[Capture, Capture]:
    from . import formats

    base = folder.parent if folder.is_file() else folder
    if images is not None and not (base / images).is_dir():  # as one types it, from where one stands
        images = images.absolute()
    with cli.warnings_told():
        return formats.read_capture(folder, test_every=test_every, images=images)


def _check_folder(out: Path) -> None:
    if out.is_file():
        raise Refused(f"--out {out}: this is a file; give the name of a folder")
    check_target("--out", out, folder=True)


def _check_distance(data: Path, model: Gaussians, cameras: Sequence[Camera]) -> None:
    """Refuse a capture in so small a unit that next to nothing of it would be drawn."""
    from ..kernels.rasterize.rules import NEAR_PLANE

    near = model.near_plane(cameras)
    if near < NEAR_PLANE:  # a scene can be drawn in such a unit, but training counts in 0.01
        raise Refused(
            f"{data}: the cameras stand {100 * near:.2g} scene units from the points, and what is nearer than {NEAR_PLANE:g} "
            "is not drawn; multiply the positions of cameras and points, by 1000 for instance"
        )


def _pictures(folder: Path, names: Sequence[str]) -> list[Path]:
    """A PNG file for each view: .png in place of the name's ending, or behind all names if some differ in nothing else or
    one has the name of another's folder."""
    short = [str(Path(name).with_suffix(".png")) for name in names]
    folders = {str(folder).lower() for name in short for folder in Path(name).parents}
    if any(n > 1 or name in folders for name, n in Counter(name.lower() for name in short).items()):
        short = [f"{name}.png" for name in names]
    return [folder / name for name in short]


def _thinned(path: Path, model: Gaussians) -> Gaussians:
    """As many Gaussians as a page can show: those of the largest volume times opacity."""
    import torch

    from .model import Gaussians as Model
    from .widgets import viewer

    if len(model) <= viewer.MOST:
        return model
    say(
        f"{path}: of {len(model):,} Gaussians the page holds {viewer.MOST:,}, those of the largest volume times opacity"
    )
    with torch.no_grad():
        scales, opacities = model.scales_opacities()
        weight = scales.double().prod(-1) * opacities.double()
        kept = torch.argsort(weight, descending=True)[: viewer.MOST].sort().values
        thin = Model({name: p[kept] for name, p in model.named_parameters()}, model.config, model.phi[kept])
    thin.sh_active = model.sh_active
    return thin


def _background(words: str, folder: Path) -> tuple[float, float, float]:
    from .formats import BLENDER

    if words == "auto":  # Blender's images are cut out and mean white, as all tables do; photographs fill the frame
        words = "white" if folder.name in BLENDER or (folder / BLENDER[0]).exists() else "black"
    named = dict(black=(0.0, 0.0, 0.0), white=(1.0, 1.0, 1.0))
    if words in named:
        return named[words]
    try:
        red, green, blue = (cli.share(word) for word in words.split(","))
    except (ValueError, argparse.ArgumentTypeError):
        raise Refused(
            f"--background: say black, white, or three numbers from 0 to 1 like 0.5,0.5,0.5, not {words!r}"
        ) from None
    return red, green, blue


def _start(photos: Capture, views: Views, init: str, n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Where the first Gaussians stand, and their colours."""
    import numpy as np

    from .data import points_on_rays

    if init != "random" and photos.points is not None and photos.colors is not None and len(photos.points) >= 4:
        return photos.points, photos.colors
    if init == "points":
        raise Refused(
            "--init points: the capture holds no points (COLMAP's points3D, or ply_file_path); use --init random"
        )
    return points_on_rays(views, n, np.random.default_rng(seed))


def _density(iterations: int, most: int | None) -> Any:
    """Density control for a shorter run: it stops at half time, as in the paper's 30,000."""
    from .density import DensityConfig

    return DensityConfig(stop=iterations // 2, max_gaussians=most)


def _read_scene(path: Path, method: str | None, background: tuple[float, float, float] | None = None) -> Gaussians:
    from . import formats

    with cli.warnings_told():
        model = formats.read_scene(path, method)
    if background is not None:
        model.config = replace(model.config, background=background)
    return model


def _write_scene(path: Path, model: Gaussians, fuse: bool) -> None:
    from . import formats

    if path.suffix.lower() == ".splat":
        formats.write_splat(path, model)
    else:
        formats.write_ply(path, model, "fused" if fuse else None)


def _start_camera(scene: Path, data: Path | None, images: Path | None, model: Gaussians) -> Camera:
    """The first view of a viewer: a photograph's, the one that training noted beside the scene, or a guess."""
    import numpy as np

    from .cameras import Camera, look_at

    if data:
        train, test = _captures(data, 8, images)
        return (test if len(test) else train).cameras[0]
    note = scene.with_suffix(".json")
    if note.exists():
        try:
            found = json.loads(note.read_text())["camera"]
            return Camera(np.array(found["viewmat"]), np.array(found["K"]), found["width"], found["height"])
        except (json.JSONDecodeError, KeyError, TypeError, ValueError, UnicodeDecodeError):
            say(f"{note} names no camera; the view is guessed")
    means = model.means.detach().cpu().double().numpy() + model.config.origin
    middle = np.median(means, axis=0)
    sizes = model.scales_opacities()[0].detach().cpu().double().numpy().max(1)
    reach = max(np.quantile(np.linalg.norm(means - middle, axis=1), 0.7), 3 * np.quantile(sizes, 0.7), 1e-6)
    return look_at(middle + np.array([0.0, 0.3, 2.5]) * reach, middle)


def _preview(folder: Path, run: Trainer, views: Views) -> None:
    """Write what the model makes of the first of `views`, beside the photograph."""
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    drawn = _draw(run.model, views.cameras[0])
    pair = torch.cat([drawn, (255 * views.image(0)).round().byte().cpu()], dim=1)
    _write_png(folder / f"{run.iteration:06d}.png", pair)


def _draw(model: Gaussians, camera: Camera) -> torch.Tensor:
    """The picture [H, W, 3] as uint8 on the CPU."""
    import torch

    with torch.no_grad():
        image = model.render([camera]).colors[0]
    return (255 * image.clamp(0, 1)).round().byte().cpu()


def _filters(method: Method) -> str:
    """What a method does to a splat before it is drawn, in words."""
    wide = f"widened by {method.eps2d:g} px² on the screen" if method.eps2d else "not widened on the screen"
    light = ", its light kept" if method.compensate else ""
    return f"{'smoothed in 3D, ' if method.smooth_3d else ''}{wide}{light}"


def _sizes(views: Views) -> str:
    sizes = sorted({(camera.width, camera.height) for camera in views.cameras})
    return ", ".join(f"{w} x {h} px" for w, h in sizes[:3]) + (
        f" and {len(sizes) - 3} more sizes" if len(sizes) > 3 else ""
    )


def _device(word: str) -> torch.device:
    """Where `--device` says; for "auto" where the compiled loops run, which may not be the GPU."""
    import torch

    from ..kernels import dispatch

    name = cli.device(word, DEVICES)
    if name.startswith("cuda") and (reason := dispatch.unavailable("triton", name)):
        if word == "auto":
            say(f"on the CPU, since {reason}; without it a GPU looks at every Gaussian for every pixel")
            name = "cpu"
        else:
            say(f"this will be slow: {reason}, so the GPU looks at every Gaussian for every pixel; try --device cpu")
    return torch.device(name)


def _peak_gb(device: torch.device) -> float | None:
    """The most memory held so far: of the GPU, or of the process where the system tells."""
    import torch

    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated() / 1e9, 2)
    peak = peak_memory()
    return None if peak is None else round(peak / 1e9, 2)


def _progress(items: list, desc: str) -> Any:
    from ..course.progress import progress

    return progress(items, desc=desc)


def _write_png(path: Path, image: torch.Tensor) -> None:
    from PIL import Image

    with atomic_write(path) as part:
        Image.fromarray(image.numpy()).save(part, format="PNG")


# ------------------------------------------------------------------------------------------------------- command line


def _weights() -> Any:
    from .weights import arguments, run

    return arguments, run


def _experiments() -> Any:
    from .experiments import arguments, run

    return arguments, run


def parser() -> argparse.ArgumentParser:
    top, command = cli.program(PROGRAM, "3D Gaussian Splatting without aliasing, from your own photographs.", EPILOG)

    def scene(sub: argparse.ArgumentParser, name: str, nargs: str | None = None) -> None:
        sub.add_argument(name, type=Path, nargs=nargs, metavar="SCENE", help="a .ply or .splat file")

    def data(sub: argparse.ArgumentParser) -> None:
        sub.add_argument(
            "--data", type=Path, required=True, metavar="FOLDER", help="the capture: photographs and cameras"
        )
        images(sub)

    def images(sub: argparse.ArgumentParser) -> None:
        sub.add_argument(
            "--images", type=Path, metavar="FOLDER",
            help="where the photographs lie, in the capture or elsewhere (default: images, or where transforms.json says)",
        )  # fmt: skip

    def split(sub: argparse.ArgumentParser) -> None:
        sub.add_argument(
            "--test-every", type=cli.integer(0), default=8, metavar="N",
            help="every N-th photograph by name is held out and never learned from (default 8, as in the paper; 0: none); a "
            "capture that says itself what is for testing is taken at its word",
        )  # fmt: skip
        sub.add_argument(
            "--downscale", type=positive_int, default=1, metavar="N",
            help="use the photographs N times smaller along each side (default 1): half the side is a quarter of the work",
        )  # fmt: skip

    def background(sub: argparse.ArgumentParser) -> None:
        sub.add_argument(
            "--background",
            default="auto",
            metavar="COLOUR",
            help="black, white or r,g,b in 0..1 (default: white for Blender's cut-out images, else black)",
        )

    def method(sub: argparse.ArgumentParser, words: str, default: str | None) -> None:
        sub.add_argument("--method", choices=tuple(METHODS), default=default, help=words)

    sub = command(
        "capture", "make a small capture to try the rest on: photographs of a made-up scene, with COLMAP files", capture
    )
    sub.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="a new folder")
    sub.add_argument(
        "--scene", default="foliage", choices=("foliage", "text", "wheel"), help="which scene (default: foliage)"
    )
    sub.add_argument("--photos", type=cli.integer(2), default=50, help="how many photographs (default 50)")
    sub.add_argument("--width", type=cli.integer(16), default=480, help="pixels (default 480)")
    sub.add_argument("--height", type=cli.integer(16), default=270, help="pixels (default 270)")

    def at_least_0(flag: str, default: float, words: str) -> None:
        sub.add_argument(flag, type=float, default=default, metavar="X", help=f"{words} (default {default:g})")

    at_least_0("--noise", 0.01, "standard deviation of the sensor's noise, as a share of full scale")
    at_least_0("--blur", 0.0, "standard deviation of the lens's blur, pixels")
    at_least_0("--exposure", 0.0, "photographs are lighter or darker by up to so many stops")
    sub.add_argument(
        "--jpeg", type=positive_int, metavar="QUALITY", help="send them through JPEG (1 to 95; default: no)"
    )
    sub.add_argument("--seed", type=cli.integer(0), default=0, help="equal seeds give equal captures (default 0)")

    arms = "\n".join(f"  {name:<17} {method.label}: {_filters(method)}" for name, method in METHODS.items())
    sub = command(
        "train",
        "learn a scene from photographs; if it is interrupted, the same command goes on where it stopped",
        train,
        f"methods:\n{arms}",
    )
    data(sub)
    sub.add_argument(
        "--out", type=Path, required=True, metavar="SCENE.ply", help="where the scene goes (.ply, or .splat)"
    )
    method(sub, "which method of the paper's tables (default: mip)", "mip")
    split(sub)
    sub.add_argument(
        "--iterations", type=positive_int, metavar="N", help="default 7000 on a CPU, 30000 (the paper's) on a GPU"
    )
    sub.add_argument(
        "--sh-degree",
        type=int,
        choices=(0, 1, 2, 3),
        help="how much colours may change with direction (default 1 on a CPU, 3 on a GPU)",
    )
    sub.add_argument(
        "--max-gaussians",
        type=cli.integer(4),
        metavar="N",
        help="stop adding at so many (default 100000 on a CPU; a GPU has no limit)",
    )
    sub.add_argument(
        "--init",
        default="auto",
        choices=("auto", "points", "random"),
        help="start from the capture's points or from random ones along the rays (default: points if there are any)",
    )
    sub.add_argument(
        "--random-points", type=cli.integer(4), default=20_000, metavar="N", help="how many random ones (default 20000)"
    )
    background(sub)
    sub.add_argument(
        "--fuse", action="store_true", help="fold the 3D filter into the scene, for viewers that do not know it"
    )
    sub.add_argument(
        "--preview-every",
        type=cli.integer(0),
        default=500,
        metavar="N",
        help="write a picture beside its photograph every N iterations (default 500; 0: none)",
    )
    sub.add_argument(
        "--checkpoint-every",
        type=positive_int,
        default=1000,
        metavar="N",
        help="save the run every N iterations (default 1000)",
    )
    sub.add_argument("--restart", action="store_true", help="forget an interrupted run and begin anew")
    sub.add_argument(
        "--seed", type=cli.integer(0), default=0, help="equal seeds give equal results on one device (default 0)"
    )
    cli.add_device(sub, DEVICES)

    sub = command("render", "draw a scene as the capture's cameras see it, at any size and zoom", render)
    scene(sub, "scene")
    data(sub)
    sub.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the PNG files go")
    sub.add_argument("--split", default="test", choices=("test", "train", "all"), help="which views (default: test)")
    split(sub)
    background(sub)
    sub.add_argument(
        "--zoom",
        type=positive_float,
        default=1.0,
        metavar="F",
        help="multiply the focal length: 8 looks closer, 0.125 from afar (default 1)",
    )
    method(sub, "draw with another method's filters than the file says", None)
    cli.add_device(sub, DEVICES)

    sub = command(
        "evaluate", "score scenes on the held-out photographs at full, half, quarter and eighth size", evaluate
    )
    scene(sub, "scenes", "+")
    data(sub)
    split(sub)
    background(sub)
    method(sub, "draw with another method's filters than the file says", None)
    sub.add_argument("--out", type=Path, metavar="FILE.json", help="write the scores there too")
    cli.add_device(sub, DEVICES)

    sub = command(
        "view", "make a page with a viewer of one scene under every filter, or of several scenes, and open it", view
    )
    scene(sub, "scenes", "+")
    sub.add_argument(
        "--data",
        type=Path,
        metavar="FOLDER",
        help="the capture whose first held-out photograph gives the view at the start (default: as in training)",
    )
    images(sub)
    sub.add_argument("--out", type=Path, metavar="FILE.html", help="default: the scene's name with .html")
    sub.add_argument("--no-open", action="store_true", help="only write the page")

    command("experiments", "train arms with seeds: the recorded runs behind 3_reproduce", later=_experiments)
    command("weights", "train the small models of this book again, or verify their files", later=_weights)
    return top


def main(words: Iterable[str] | None = None) -> int:
    """Run one command; returns the exit status. What cannot be done is said in one line on stderr."""
    return cli.main(parser(), words)


if __name__ == "__main__":
    sys.exit(main())
