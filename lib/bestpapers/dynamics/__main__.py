"""The wing as a program: python -m bestpapers.dynamics {animate,pluck,spectrum,loop,train,experiments,weights}

Everything that it can do is in the library; here are only the words of the command line, and the order in which things happen.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..lab import cli
from ..lab.cli import Refused, positive_int, say

if TYPE_CHECKING:
    from torch import Tensor

    from .formats import Clip
    from .own import Moving

PROGRAM = "python -m bestpapers.dynamics"
DEVICES = ("cuda", "cpu")
LOOPS = ("cross-faded", "projected", "detrended", "naive")  # as in `own`, which takes long to load
PAGE = 4_000_000  # bytes of a page's picture and motion
VOLUME, PICTURE = "volume.safetensors", "picture.png"  # what `spectrum` writes and others read

EPILOG = f"""\
examples:
  {PROGRAM} animate rose.jpg                          # rose_loop.webm, drawn by the model of this book
  {PROGRAM} animate rose.jpg --html rose.html         # one page, alive, to send to a friend
  {PROGRAM} pluck rose.jpg --at 120,60 --pull 12,-4   # rose_plucked.webm
  {PROGRAM} spectrum rose.mp4                         # rose_spectrum: figures, numbers, the volume
  {PROGRAM} pluck rose_spectrum --at 120,60 --pull 12,-4
  {PROGRAM} loop rose.mp4 --out rose.gif              # a loop without a seam

The model has learned from drawn plants and has seen no photograph; what is measured in a video needs no model.
`{PROGRAM} COMMAND --help` says more."""

SHAPES = """\
A picture may have nearly any size and shape: 16 pixels a side must be left once it is shrunk, ten times its width is not too
long, and grey has 8 bits. The model sees it whole, shrunk to fit, with mirror images at two sides where its shape is another;
the motion is cut out and brought to the picture's size along its edges. Nothing is cut off or stretched."""
ENDINGS = "a clip's ending says how it is written: .webm, .webp, .gif, or .mp4 (H.264, needs PyAV)"


# ------------------------------------------------------------------------------------------------------------- commands


def animate(args: argparse.Namespace) -> None:
    out = _outputs(args, "loop")
    _looped_out(args, out, _imagined(args))


def pluck(args: argparse.Namespace) -> None:
    from . import own

    if not any(args.pull):
        raise Refused("--pull 0,0: this pulls nowhere")
    out = _outputs(args, "plucked", kept := _kept(args))
    moving = kept or _imagined(args)
    if args.html:
        _page(args, moving, moving.coarse, "touch", damping=args.damping)
    if out:
        how = dict(seconds=args.seconds, damping=args.damping, slow=args.slow)
        flow, share = own.pulled(moving, args.at, args.pull, **how)
        reach = float(flow.norm(dim=1).max())  # a pull of what hardly moves throws all else about
        say(f"the point goes {share:.0%} of the way; what moves most moves by {reach:.1f} px of the clip")
        _clip(args, out, moving, flow)


def spectrum(args: argparse.Namespace) -> None:
    import cv2

    from ..course.plots import png
    from ..lab.files import write_file
    from . import own, report, spectral
    from .formats import SpectralFile, write_spectrum

    if args.html:
        _free(args, "--html", args.html)
    folder = _free(args, "--out", args.out or args.source.with_name(f"{_name(args.source)}_spectrum"), folder=True)
    clip, flow = _filmed(args)
    found = report.numbers(clip, flow, args.slices)
    volume = SpectralFile(spectral.volume(flow, args.slices), len(flow), clip.rate)
    write_spectrum(folder / VOLUME, volume)
    write_file(folder / PICTURE, cv2.imencode(".png", clip.frames[0][..., ::-1])[1].tobytes())
    write_file(folder / "numbers.json", (json.dumps(found, indent=1) + "\n").encode())
    for name, figure in report.figures(clip.frames[0], flow, found, args.slices).items():
        write_file(folder / f"{name}.png", png(figure, 2))
    for fit in found["fits"]:
        laws = ", ".join(f"{law} R2 {fit[law]['r2']:.3f}" for law in ("exponential", "power law"))
        say(f"slices {fit['first']} to {fit['last']}: {laws}; nearer: {fit['winner']}")
    say(f"{args.slices} slices hold {found['energy_kept'][args.slices - 1]:.1%} of the motion's energy")
    clear = ", ".join(f"{mode['hertz']:.2f} Hz ({mode['share']:.0%})" for mode in found["modes"][:6])
    say(f"modes that stand out: {clear or 'none'}")
    if args.html:
        S = spectral.volume(flow, args.slices, "detrend")  # whose slices hold less of the jump from end to start
        _page(args, own.filmed(clip, flow, args.slices), S, "touch")
    say(f"figures, numbers and the volume are in {folder}")


def loop(args: argparse.Namespace) -> None:
    from . import loop as loops
    from . import own

    out = _outputs(args, "loop", kept := _kept(args))
    moving = kept or own.filmed(*_filmed(args), args.slices)
    original = own.looped(moving, "naive")
    say("loop           seam   ends, px   energy kept    (seam: the largest step near it, over the mean step)")
    for way in LOOPS:
        made = own.looped(moving, way, min(args.overlap, moving.frames // 2))  # which fits, if this way is taken
        s = loops.score(made, original, closed=way in own.CLOSED)
        taken = "    <- taken" if way == args.loop else ""
        say(f"{way:<12}{s.near:7.2f}{s.place + s.speed:11.3f}{s.kept:14.0%}{taken}")
    _looped_out(args, out, moving)


# ---------------------------------------------------------------------------------------------------------------- parts


def _imagined(args: argparse.Namespace) -> Moving:
    """A picture, and the motion that the model draws for it."""
    from . import own, weights

    picture, scale = own.read_picture(args.source, args.size)
    if "at" in args:
        own.placed(picture, scale, args.at, args.pull)  # before the drawing, which takes a while
    animator = weights.load(args.model).to(cli.device(args.device, DEVICES))
    closing = args.weight if getattr(args, "loop", "") == own.GUIDED else None
    if closing is not None and animator.objective != "noise":
        raise Refused("--loop guided: this model says velocity, not noise, and cannot be guided; take another loop")
    return own.imagined(picture, animator, args.seed, args.calls, guidance=args.guidance, closing=closing, scale=scale)


def _kept(args: argparse.Namespace) -> Moving | None:
    """A spectral volume of a file, and its picture; None for what is no such file."""
    from ..lab.video import SUFFIXES
    from . import own

    if args.source.suffix.lower() != ".safetensors":
        read = SUFFIXES if args.command == "loop" else ()  # a folder of frames is a video
        if args.source.is_dir() and not any(file.suffix.lower() in read for file in args.source.iterdir()):
            raise Refused(f"{args.source}: a folder without {VOLUME}; give the one that `spectrum` wrote, or a file")
        return None
    picture = args.picture or args.source.with_name(PICTURE)
    if args.picture is None and not picture.exists():
        raise Refused(f"{args.source}: the volume needs its picture, and there is no {picture}; give --picture FILE")
    return own.kept(args.source, picture, args.size)


def _filmed(args: argparse.Namespace) -> tuple[Clip, Tensor]:
    """The clip of a video and its motion; what is to be known of it is said."""
    from . import own
    from .formats import read_video

    size = (max(own.LEAST_SIDE, round(args.size * 5 / 8)), args.size)
    clip = read_video(args.source, frames=args.frames, rate=args.rate, start=args.start, size=size)
    say(str(clip.report))
    return clip, own.measured(clip, args.slices, args.flow, args.ladder, args.steady)


def _outputs(args: argparse.Namespace, word: str, kept: Moving | None = None) -> Path | None:
    """Where the clip goes; None if only a page is wanted. What would be refused at the end is refused here."""
    from ..lab.video import check_clip

    if args.html:
        _free(args, "--html", args.html)
        if args.out is None:
            return None
    out: Path = args.out or args.source.with_name(f"{_name(args.source)}_{word}.webm")
    known: Any = kept or args
    check_clip(out, known.rate)
    if getattr(args, "loop", "") == LOOPS[0] and args.overlap > known.frames // 2:
        raise Refused(f"--overlap {args.overlap}: {known.frames} frames overlap by {known.frames // 2} at most")
    _painter(args)
    return _free(args, "--out", out)


def _free(args: argparse.Namespace, option: str, path: Path, folder: bool = False) -> Path:
    """The path, if what the option names can be written there."""
    from .formats.page import check_page

    if option == "--html":
        check_page(path)
    if path.resolve() == args.source.resolve():
        raise Refused(f"{option} {path}: this is what is read; name another")
    there = next(place for place in (path, *path.absolute().parents) if place.exists())
    if there.is_dir() != (folder or there != path):
        raise Refused(f"{option} {path}: {there} is a {'folder' if there.is_dir() else 'file'}; name another")
    return path


def _name(source: Path) -> str:
    """What the source is called, for what is made of it: a measured volume as its folder."""
    return source.resolve().parent.name if source.name == VOLUME else source.stem


def _looped_out(args: argparse.Namespace, out: Path | None, moving: Moving) -> None:
    """Write a motion as a loop: page and clip."""
    from . import loop as loops
    from . import own

    if args.html:
        ready = args.loop in (own.GUIDED, "naive")
        S = moving.coarse if ready else loops.projected(moving.coarse, moving.frames)
        _page(args, moving, S, "loop", gain=args.gain, speed=1 / args.slow)
    if out:
        flow = own.looped(moving, args.loop, args.overlap)
        flow = loops.played(flow) if args.loop in own.CLOSED else flow
        own.fits(moving, round(len(flow) * args.slow))
        _clip(args, out, moving, args.gain * own.slowed(flow, args.slow))


def _painter(args: argparse.Namespace) -> tuple[str, Any]:
    """How frames are made, and the network where one does it."""
    from . import weights

    renderer = weights.load_renderer(args.renderer) if args.render in ("auto", "network") else None
    method = args.render if args.render != "auto" else "softmax" if renderer is None else "network"
    if method == "network" and renderer is None:
        raise Refused("--render network: there is no trained renderer here; give --renderer FILE, or --render softmax")
    return method, renderer


def _clip(args: argparse.Namespace, out: Path, moving: Moving, flow: Tensor) -> None:
    from ..course.progress import progress
    from . import render
    from .formats import write_clip

    method, renderer = _painter(args)
    made = render.frames(moving.picture, flow, method, renderer)
    write_clip(out, progress(made, f"frames of {out.name}", total=len(flow), unit="frame"), moving.rate, desc=None)
    say(f"{len(flow)} frames of {moving.picture.shape[1]} x {moving.picture.shape[0]} px are in {out}")


def _page(args: argparse.Namespace, moving: Moving, S: Tensor, mode: str, **sliders: Any) -> None:
    """One HTML file with the widget; what its sliders cannot show is shown as far as they go."""
    from .formats.page import write_page
    from .widgets import Pluck
    from .widgets.pluck import RANGES

    stem = _name(args.source)
    within = {name: min(max(value, RANGES[name][0]), RANGES[name][1]) for name, value in sliders.items()}
    about: dict[str, Any] = dict(rate=moving.rate, frames=moving.frames, alt=args.alt or f"The picture {stem}.")
    widget = Pluck.from_spectrum(moving.picture, S, limit=PAGE, mode=mode, **about, **within)
    write_page(args.html, widget, stem)
    say(f"{args.html} holds the picture and its motion; it works in any browser, without a network")


# ------------------------------------------------------------------------------------------------------- command line


def _later(room: str) -> Callable[[], Any]:
    def load() -> Any:
        from importlib import import_module

        module = import_module(f".{room}", __package__)
        return module.arguments, module.run

    return load


def pair(word: str) -> tuple[float, float]:
    """Type of an argument: X,Y."""
    try:
        x, y = map(cli.number(least=-math.inf), word.split(","))
    except (ValueError, argparse.ArgumentTypeError) as error:
        raise argparse.ArgumentTypeError(f"two numbers, x and y in pixels, as in 12,-4, not {word!r}") from error
    return x, y


def place(word: str) -> Path:
    """Type of an argument: a file or a folder, by a path that ends with its name, which `.` does not."""
    return Path(word).resolve() if Path(word).name in ("", "..") else Path(word)


def volume_or_else(word: str) -> Path:
    """Type of an argument: a file; of the folder that `spectrum` wrote, the volume in it."""
    inside = place(word) / VOLUME
    return inside if inside.is_file() else inside.parent


def parser() -> argparse.ArgumentParser:
    about = "From one still picture to motion: loop it, pull it, see what it is made of."
    top, command = cli.program(PROGRAM, about, EPILOG)
    file: dict[str, Any] = dict(type=Path, metavar="FILE")

    def share(most: float, least: float | None = None) -> dict[str, Any]:
        return dict(type=cli.number(most, least), metavar="F")

    def size(sub: argparse.ArgumentParser, default: int, words: str) -> None:
        # at most what a motion in memory can have
        sub.add_argument("--size", type=cli.integer(16, 2048), default=default, help=f"{words} (default {default})")

    def model(sub: argparse.ArgumentParser) -> None:
        size(sub, 384, "pixels of the larger side of what comes out; a smaller picture stays as it is")
        sub.add_argument("--seed", type=cli.integer(0, 2**63 - 1), default=0, help="another one is another wind")
        sub.add_argument("--calls", type=positive_int, default=50, metavar="N", help="steps of drawing (default 50)")
        sub.add_argument("--guidance", **share(100, -1), default=0.0, help="the paper's w; 0 (default): none")
        sub.add_argument("--model", **file, help="one of your own training (default: that of this book)")
        sub.set_defaults(frames=150, rate=30.0)  # that it draws
        cli.add_device(sub, DEVICES)

    def video(sub: argparse.ArgumentParser) -> None:
        size(sub, 256, "pixels of the larger side; the other is 5/8 of it, and what sticks out is cut off")
        sub.add_argument("--frames", type=cli.integer(8, 10_000), default=150, help="of a video (default 150)")
        sub.add_argument("--rate", **share(240), default=30.0, help="of them a second, of any file (default 30)")
        sub.add_argument("--start", **share(math.inf, 0), default=0.0, help="second at which to begin (default 0)")
        sub.add_argument("--slices", type=cli.integer(3), default=16, metavar="K", help="of the volume (default 16)")
        methods, ladders = ("dis2x", "dis", "farneback"), ("direct", "chained", "best")
        sub.add_argument("--flow", default=methods[0], choices=methods, help="method (default dis2x)")
        sub.add_argument(
            "--ladder", default=ladders[0], choices=ladders, help="from frame 0 to others (default direct)"
        )
        sub.add_argument("--steady", action="store_true", help="take out what moves all of it: a camera's tremble")

    def page(sub: argparse.ArgumentParser, words: str) -> None:
        sub.add_argument("--html", **file, help=f"write one page with the picture to pull in it; {words}")
        sub.add_argument("--alt", metavar="WORDS", help="what the picture shows, for readers who do not see it")

    def output(sub: argparse.ArgumentParser, word: str) -> None:
        sub.add_argument("--out", **file, help=f"{ENDINGS} (default: beside the source, NAME_{word}.webm)")
        page(sub, "without --out only that")
        sub.add_argument("--slow", **share(100, 0.1), default=1.0, help="times as slow (default 1)")
        ways, words = ("auto", "network", "softmax", "average", "backward"), "(default: network, if there is one)"
        sub.add_argument("--render", default=ways[0], choices=ways, help=f"how frames are made {words}")
        sub.add_argument("--renderer", **file, help="a network of your own training (default: that of this book)")

    def looping(sub: argparse.ArgumentParser, more: tuple[str, ...] = ()) -> None:
        loops = (*LOOPS, *more)
        sub.add_argument("--loop", default=loops[0], choices=loops, help="how it is closed (default %(default)s)")
        sub.add_argument("--overlap", type=positive_int, default=15, metavar="N", help="of a cross-fade (default 15)")
        sub.add_argument("--gain", **share(100), default=1.0, help="times as much motion (default 1)")
        output(sub, "loop")

    def stored(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--picture", **file, help=f"the picture of a volume (default: {PICTURE} beside it)")

    sub = command("animate", "let the model move a picture, as a loop", animate, SHAPES)
    sub.add_argument("source", type=place, metavar="PICTURE")
    looping(sub, ("guided",))
    sub.add_argument("--weight", **share(1e6), default=200.0, help="of --loop guided, the paper's u (default 200)")
    model(sub)

    sub = command("pluck", "pull a point of a picture and let it go", pluck, SHAPES)
    stored_words = "or what `spectrum` wrote: the folder, or the volume in it"
    sub.add_argument("source", type=volume_or_else, metavar="PICTURE", help=stored_words)
    words = "of the picture's file, x to the right, y down, from the middle of the top left one"
    sub.add_argument("--at", type=pair, required=True, metavar="X,Y", help=f"the point: pixels {words}")
    sub.add_argument("--pull", type=pair, required=True, metavar="DX,DY", help="how far: pixels of the same")
    sub.add_argument("--seconds", **share(3600), default=5.0, help="that are shown after it is let go (default 5)")
    sub.add_argument("--damping", **share(1000), default=1.0, help="times that of the paper's supplement (default 1)")
    output(sub, "plucked")
    stored(sub)
    model(sub)

    sub = command("spectrum", "show what the motion of a video is made of", spectrum)
    sub.add_argument("source", type=place, metavar="VIDEO", help="a video, an animated GIF or WebP, a folder of frames")
    sub.add_argument("--out", type=Path, metavar="FOLDER", help="for figures, numbers, volume (default: NAME_spectrum)")
    video(sub)
    page(sub, "its modes are those of the video")

    sub = command("loop", "make a loop without a seam, and say what it cost", loop)
    sub.add_argument("source", type=volume_or_else, metavar="VIDEO", help=stored_words)
    looping(sub)
    stored(sub)
    video(sub)

    command("train", "train the model on drawn scenes; interrupted, it goes on when run again", later=_later("train"))
    command("experiments", "train arms with seeds: the recorded runs behind 3_reproduce", later=_later("experiments"))
    command("weights", "overwrite the shipped files in hours of training, or --verify them", later=_later("weights"))
    return top


def main(words: Iterable[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, 2 with the reason in words on stderr, 130 after Ctrl-C."""
    given = iter(sys.argv[1:] if words is None else words)
    # argparse takes the -4,2 of --pull -4,2 for an option
    joined = [f"{word}={next(given, '')}" if word in ("--at", "--pull") else word for word in given]
    try:
        return cli.main(parser(), joined)
    except KeyboardInterrupt:
        more = ", and training goes on from its last checkpoint" if joined[:1] == ["train"] else ""
        say(f"stopped; no file is half written{more}", sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
