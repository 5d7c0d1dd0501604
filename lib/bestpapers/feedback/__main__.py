"""The wing as a program: python -m bestpapers.feedback {annotate,merge,train,evaluate,score,experiments,weights}

Rich feedback for one's own generator, from the first click to the model: people mark what is wrong with pictures, their answers
are merged into the format of RichHF-18K, a model learns from that, or from the real data set, and says of new pictures what
is wrong with them. Everything that it can do is in the library; here are the words of the command line.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import warnings
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..lab import cli, maps, pictures
from ..lab.cli import Refused, check_target, counted, positive_int, say
from ..lab.files import FormatError, Skips, plain, show, write_file
from ..lab.places import Place
from ..lab.tables import ENDINGS, csv_text
from .record import MAPS, SCORES, Feedback, Record, words

if TYPE_CHECKING:
    from .formats import Annotated
    from .model import RAHF

PROGRAM = "python -m bestpapers.feedback"
VARIANTS = ("multi-head", "augmented")  # as in `model`, which takes long to load
COLOURS = {"implausibility": (255, 60, 40), "misalignment": (40, 120, 255)}  # of heatmaps over a picture
LONGEST = 24  # words of a prompt that a model reads, or more if those that it learns from have more
PICTURES = "pictures"  # the folder beside merged feedback where `formats.read` looks, as in all of these
BESIDE = (PICTURES, "images", *(f"prompts{ending}" for ending in ENDINGS))

EPILOG = f"""\
examples:
  {PROGRAM} annotate renders                    # renders_annotate.html opens: mark, toggle, score, download
  {PROGRAM} merge annotations_*.json --out mine/mine.tfrecord --pictures renders
  {PROGRAM} train mine --out mine.safetensors
  {PROGRAM} evaluate others --model mine.safetensors
  {PROGRAM} score new/*.png --prompt "two red boats" --model mine.safetensors --heatmaps seen

`{PROGRAM} COMMAND --help` says more."""

LAYOUT = """\
DATA is a file or a folder: *.tfrecord (RichHF-18K, or what `merge` wrote), or a table of pictures (metadata.csv, .jsonl, .json)
with scores, words and maps. Pictures and maps are pressed into a square, whatever their shape."""
PROMPTS = "a table with names and prompts (.csv, .jsonl, .json), or a folder of NAME.txt"


# ------------------------------------------------------------------------------------------------------------- commands


def annotate(args: argparse.Namespace) -> None:
    from .annotate import PAGES, collect, write_page

    folder = args.folder.resolve()  # "." has no name
    out: Path = args.out or folder.parent / f"{folder.name}_annotate.html"
    check_target("--out", out, PAGES, [folder, args.prompts])
    shown = collect(args.folder, args.prompts)
    cli.passed_over(args.folder)
    write_page(out, shown, (args.title or "").strip() or f"What is wrong with these pictures? {plain(folder.name)}")
    say(f"{out} holds {counted(len(shown), 'picture')}; it works in any browser, without a network, and may be sent on")
    beside = shlex.quote(str(args.folder))
    say(f"its downloads are merged by: {PROGRAM} merge FILE... --out NAME.tfrecord --pictures {beside}")
    if not args.no_open:
        import webbrowser

        webbrowser.open(out.resolve().as_uri())


def merge(args: argparse.Namespace) -> int:
    from . import panel
    from .annotate import read_downloads
    from .formats import write_richhf

    check_target("--out", args.out, (".tfrecord",))
    folder = args.out.parent
    beside = args.pictures and folder / PICTURES
    merged = [path for path in folder.glob("*") if ".tfrecord" in path.name.lower()]
    lies = [path for path in folder.glob("*") if path.name in BESIDE]
    there = [args.out] * args.out.exists() + (merged + lies if beside else lies if merged else [])
    if there:  # it would be lost, or taken for that of this feedback
        raise Refused(f"--out {args.out}: {there[0]} is there already, not to be mixed with; give a new folder")
    if beside:
        check_target("--out", beside, reads=[args.pictures], folder=True)
    found, older = read_downloads(args.exports, args.skips)
    said = [picture for picture in found if picture.annotations]
    if not said:
        raise Refused(f"{args.exports[0]}: nobody answered anything there")
    files = beside and pictures.listing(args.pictures)
    with cli.whole_folder(folder) as made:
        records = (_merged(picture, files, args) for picture in said)
        write_richhf(made / args.out.name, records, beside and made / PICTURES)

    people = sorted({a.annotator for picture in said for a in picture.annotations})
    who = f"{', '.join(people[:8])}{', ...' if len(people) > 8 else ''}"
    say(f"{counted(len(said), 'picture')}, {counted(len(people), 'person', 'people')}: {who}")
    if older:
        say(f"{counted(older, 'answer')} left out: the same person has changed it later")
    say("agreement        all agree   at most one apart   answers")
    for name, share in panel.agreement(picture.annotations for picture in said).items():
        if share.answers:
            say(f"{name:<14}{share.perfect:12.0%}{share.good:20.0%}{share.answers:10,}")
        else:
            say("no picture was answered by two people, so there is no agreement to measure")
    say(f"{'(paper)':<14}{panel.PERFECT:12.0%}{panel.GOOD:20.0%}    of three people")
    if beside is None:
        say(f"{args.out} holds no pictures and no prompts; with --pictures FOLDER both are laid beside it, to train on")
    else:
        say(f"{args.out} and {beside} are what `train` and `evaluate` read")
    return cli.told(args.skips)


def train(args: argparse.Namespace) -> int:
    import torch

    from ..course import presets
    from ..lab.training import processes
    from .model import RAHF, Config
    from .train import Labelled, RahfTraining, TrainConfig

    checkpoint = args.out.with_suffix(".checkpoint.safetensors")
    for path in (args.out, checkpoint):
        check_target("--out", path, (".safetensors",))
    if args.out.exists() and not checkpoint.exists():
        raise Refused(
            f"--out {args.out}: this is there already, and no {checkpoint.name} to go on from; give another name"
        )
    ranks = int(os.environ.get("WORLD_SIZE", "1"))  # of torchrun
    if args.batch % ranks:
        raise Refused(f"--batch {args.batch}: cannot be shared evenly by {ranks} processes")
    records = _records(args, args.size)
    known = sorted({word.lower() for record in records for word in words(record.prompt)})
    if not known:
        raise Refused(f"{args.data}: no prompt has a word; give --prompts ({PROMPTS})")
    longest = args.longest or max(LONGEST, *(len(words(record.prompt)) for record in records))
    records = _short(records, longest, args)
    size = dict(width=args.width, heads=max(1, args.width // 16), fusion_layers=args.layers)
    config = Config(args.size, longest=longest, variant=args.variant, vocabulary=tuple(known), **size)
    given = {name: getattr(args, name) for name in ("steps", "batch", "seed", "lr", "crop")}
    settings = TrainConfig(warmup=min(100, args.steps // 10), **given)
    with processes() as group:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(args.seed)
            model = RAHF(config).to(presets.device())
        labelled = Labelled.of(records)
        try:
            run = RahfTraining(model, labelled, settings, checkpoint, group)
        except ValueError as error:
            raise Refused(str(error).replace("use another checkpoint file", "give another --out")) from error
        if run.iteration < run.steps:
            run.run(desc="rahf")
        if run.rank == 0:
            run.averaged.save(args.out)
            last = run.losses[-50:]
            loss = f"loss {sum(last) / len(last):.4g} at the end"
            say(f"{args.out}: {counted(run.steps, 'step')} on {counted(len(records), 'picture')}, {loss}")
            say(f"{checkpoint} is there to go on from; it may be deleted")
    return cli.told(args.skips)


def evaluate(args: argparse.Namespace) -> int:
    from . import metrics
    from .evaluate import COLLAPSED, own_fit

    if args.output:
        folder = args.data if args.data.is_dir() else args.data.parent
        usual = [folder / name for name in BESIDE]
        check_target("--output", args.output, (".json",), [args.data, args.model, args.pictures, args.prompts, *usual])
    model = _model(args)
    size = model.config.size
    records = _short(_records(args, size), model.config.longest, args)
    if any(record.picture is None for record in records):
        raise Refused(f"{args.data}: there are no pictures to look at; give --pictures FOLDER")
    labels = [record.feedback for record in records]
    shown = np.stack([record.picture for record in records])  # type: ignore[misc]
    predicted = model.predict(shown, [record.prompt for record in records], write=args.write)
    nothing = [Feedback({}, {name: np.zeros((size, size), np.float32) for name in MAPS}, np.zeros(0, np.float32))]
    options: dict[str, Any] = dict(variant=args.measures, above=args.above)
    found = metrics.tables(predicted, labels, **options)
    zeros = metrics.tables(nothing * len(labels), labels, **options)
    for table, keys in metrics.ROWS.items():
        say(f"\n{table:<28}{'':>10}{'95 % interval':>22}{'map of zeros':>15}{'pictures':>10}")
        for key in keys:
            value, number = found.cells[key]
            try:
                ends = "{1:.3f} to {2:.3f}".format(*metrics.interval(found, key))
            except ValueError:  # it rests on too few pictures, or on none
                ends = "too few" if number else ""
            base = f"{zeros.cells[key].value:.3f}" if key.partition(".")[0] in MAPS else ""
            say(f"{key:<28}{value:10.3f}{ends:>22}{base:>15}{number:>10,}")
    for name in MAPS:
        both = [(p.maps[name], y.maps[name] > args.above) for p, y in zip(predicted, labels) if name in y.maps]
        if both and own_fit(*zip(*both)) < COLLAPSED:
            say(f"\nits maps of {name} say nothing: they fit the marks of other pictures as well as their own")
    if args.output:
        cells = {key: dict(value=None if np.isnan(x) else x, pictures=n) for key, (x, n) in found.cells.items()}
        about = dict(data=str(args.data), model=str(args.model or "that of the book"), cells=cells)
        cli.write(json.dumps(about, indent=1) + "\n", args.output)
    return cli.told(args.skips)


def score(args: argparse.Namespace) -> None:
    from ..course.progress import progress
    from .formats.tables import prompts_from

    if args.output:
        check_target("--output", args.output, reads=[*args.pictures, args.model, args.prompts])
    if args.heatmaps:  # which would be taken for pictures, the next time
        check_target("--heatmaps", args.heatmaps, reads=args.pictures, folder=True)
    files = cli.picture_files(args.pictures)
    names = [pictures.stem(path.name) for path in files]
    if args.heatmaps and len(set(names)) < len(names):
        raise Refused("--heatmaps: two pictures have one name, and so would their heatmaps")
    model = _model(args)
    known = None if args.prompts is None else prompts_from(args.prompts)[0]
    lacking = [] if known is None else [path for path, name in zip(files, names) if name not in known]
    if lacking:
        raise Refused(f"{lacking[0]}: there is no prompt for it in {args.prompts}")
    asked = [args.prompt if known is None else known[name] for name in names]
    longest = model.config.longest
    for path, prompt in zip(files, asked):
        if len(words(prompt)) > longest:
            most = f"its prompt has {len(words(prompt))} words, and this model reads {longest} at the most"
            raise Refused(f"{path}: {most}: shorten {prompt[:60]!r}")
    with cli.whole_folder(args.heatmaps) if args.heatmaps else nullcontext() as made:
        jobs = progress(list(zip(files, names, asked)), "pictures")
        rows = [_scored(path, name, prompt, model, args, made) for path, name, prompt in jobs]
        ending = args.output.suffix.lower() if args.output else ""
        cli.write(_as_text(rows, args.format or {".csv": "csv", ".json": "json"}.get(ending, "table")), args.output)


# ---------------------------------------------------------------------------------------------------------------- parts


def _merged(picture: Annotated, files: Any, args: argparse.Namespace) -> Record:
    """What the people say together, with the picture if its folder is given."""
    from . import panel

    pixels = None
    if files is not None:
        file = pictures.one_file(files, picture.name, Place(args.pictures, picture.name), "one picture of this name")
        pixels = pictures.read_picture(file)
        if pixels.shape[:2] != picture.size:
            sizes = [f"{width} x {height}" for height, width in (picture.size, pixels.shape[:2])]
            raise FormatError(file, "size", f"{sizes[0]}, as it was annotated", sizes[1])
    return Record(picture.name, picture.prompt, panel.merge(picture.annotations, *picture.size), pixels)


def _records(args: argparse.Namespace, size: int) -> list[Record]:
    """All records at `--data`, their pictures and maps (size, size); what they are is said."""
    from ..course.progress import progress
    from . import formats

    options: dict[str, Any] = dict(size=(size, size), scale=args.scale, skips=args.skips)
    reading = formats.read(args.data, args.pictures, args.prompts, **options)
    say(reading.said)
    records = list(progress(reading, "records", total=len(reading)))
    if not records:
        first = f": {args.skips.messages[0]}" if args.skips and args.skips.messages else ""
        raise Refused(f"{args.data}: no record is whole{first}")
    return records


def _short(records: list[Record], longest: int, args: argparse.Namespace) -> list[Record]:
    """The records whose prompt a model can read; one with more words is refused, or left out and counted."""
    found = []
    for record in records:
        n, here = len(words(record.prompt)), Place(args.data, f"record {show(record.name)}") / "prompt"
        if n <= longest:
            found.append(record)
        else:
            error = here.wrong(f"at most {longest} words, as this model reads", f"{n}", "--skip-damaged leaves it out")
            if args.skips is None:
                raise error
            args.skips.add(error)
    if not found:
        raise Refused(f"{args.data}: no prompt is short enough; this model reads {longest} words at the most")
    return found


def _model(args: argparse.Namespace) -> RAHF:
    from . import weights

    return weights.load(args.model, f"{PROGRAM} train DATA --out FILE").to(cli.device(args.device))


def _scored(
    path: Path, name: str, prompt: str, model: RAHF, args: argparse.Namespace, heatmaps: Path | None
) -> dict[str, Any]:
    """What the model says of a picture, as a row; its heatmaps are written if they are wanted."""
    pixels = pictures.read_picture(path)
    height, width, side = *pixels.shape[:2], model.config.size
    said = model.predict(pictures.resize(pixels, (side, side))[None], [prompt], write=args.write)[0]
    if heatmaps:
        for kind, values in said.maps.items():
            over = maps.overlay(pixels, pictures.resize(values, (height, width)), COLOURS[kind])
            write_file(heatmaps / f"{name}_{kind}.png", pictures.png_bytes(over))
    shares = [[word, round(float(x), 4)] for word, x in zip(words(prompt), said.misaligned, strict=True)]
    row: dict[str, Any] = {"file_name": str(path), "prompt": prompt}
    row |= {kind: round(said.scores[kind], 4) for kind in SCORES}
    row |= {f"most_{kind}": round(float(said.maps[kind].max()), 4) for kind in MAPS}
    return row | {"misaligned": [word for word, x in shares if x > args.at], "words": shares}


def _as_text(rows: list[dict[str, Any]], form: str) -> str:
    if form == "json":
        return json.dumps(rows, indent=1, ensure_ascii=False) + "\n"
    marked = [row | {"misaligned": " ".join(row["misaligned"])} for row in rows]
    flat = [{key: value for key, value in row.items() if key != "words"} for row in marked]
    if form == "csv":
        return csv_text(flat, list(flat[0]))
    lines = [f"{'picture':<24}" + "".join(f"{name:>14}" for name in SCORES) + "   misaligned words"]
    for row in flat:
        numbers = "".join(f"{row[name]:14.2f}" for name in SCORES)
        lines.append(plain(f"{Path(row['file_name']).name:<24}{numbers}   {row['misaligned'] or '-'}"))
    return "\n".join(lines) + "\n"


# ------------------------------------------------------------------------------------------------------- command line


def parser() -> argparse.ArgumentParser:
    about = "What is wrong with a generated picture: ask people, learn from their answers, let the model say it."
    top, command = cli.program(PROGRAM, about, EPILOG)
    file: dict[str, Any] = dict(type=Path, metavar="FILE")
    folder: dict[str, Any] = dict(type=Path, metavar="FOLDER")

    def skip(sub: argparse.ArgumentParser, what: str) -> None:
        more: dict[str, Any] = dict(dest="skips", action="store_const", const=Skips())
        sub.add_argument("--skip-damaged", **more, help=f"leave out {what}, name them, and end with status 1")

    def data(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("data", type=Path, metavar="DATA")
        sub.add_argument("--pictures", **folder, help="of RichHF-18K: Pick-a-Pic's, by id (default: beside the data)")
        sub.add_argument("--prompts", type=Path, metavar="PATH", help=f"{PROMPTS} (default: beside the data)")
        scales = ("auto", "unit", "likert")
        sub.add_argument(
            "--scale", choices=scales, default="auto", help="of scores: 0..1, 1..5, or what all of them fit"
        )
        skip(sub, "records that are damaged, lack their picture or prompt, or have one too long")

    def model(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--model", **file, help="one of your own training (default: that of this book)")
        sub.add_argument("--write", action="store_true", help="words by the text decoder, as in the paper")
        cli.add_device(sub)

    sub = command("annotate", "make a page on which people mark what is wrong with pictures", annotate)
    sub.add_argument("folder", **folder, help="of pictures; prompts lie beside them, see --prompts")
    usual = "(default: prompts.csv, .jsonl, .json, or NAME.txt in FOLDER)"
    sub.add_argument("--prompts", type=Path, metavar="PATH", help=f"{PROMPTS} {usual}")
    sub.add_argument("--out", **file, help="the page (default: FOLDER_annotate.html beside the folder)")
    sub.add_argument("--title", metavar="WORDS", help="its heading")
    sub.add_argument("--no-open", action="store_true", help="write it, and open no browser")

    sub = command("merge", "merge what people marked into RichHF-18K's format, and say how far they agree", merge)
    sub.add_argument("exports", type=Path, nargs="+", metavar="EXPORT", help="downloads of the annotation page")
    sub.add_argument("--out", **file, required=True, help="NAME.tfrecord")
    sub.add_argument("--pictures", **folder, help="those that were annotated: copied, with prompts, beside FILE")
    skip(sub, "answers that are not whole")

    sub = command("train", "train a model on feedback; interrupted, it goes on when run again", train, LAYOUT)
    data(sub)
    sub.add_argument("--out", **file, required=True, help="the model, NAME.safetensors")
    for name, default, kind, what in (
        ("steps", 3000, positive_int, "of training"),
        ("batch", 32, positive_int, "pictures in a step"),
        ("size", 64, cli.integer(8, 4096, 8), "pixels along a side, a multiple of 8"),
        ("width", 64, cli.integer(16, 4096, 16), "of the model, a multiple of 16"),
        ("layers", 3, positive_int, "in which picture and prompt are fused"),
        ("lr", 1e-3, cli.positive_float, "learning rate"),
        ("crop", 0.0, cli.share, "chance of a crop, of each picture that is drawn"),
        ("seed", 0, cli.integer(0, 2**32 - 1), "of all that is drawn"),
    ):
        sub.add_argument(f"--{name}", type=kind, default=default, metavar="N", help=f"{what} (default {default})")
    usual = f"(default: of the longest here, at least {LONGEST})"
    sub.add_argument("--longest", type=positive_int, metavar="N", help=f"words of a prompt that it can read {usual}")
    sub.add_argument("--variant", choices=VARIANTS, default=VARIANTS[0], help="of the paper's two (default multi-head)")

    sub = command("evaluate", "the paper's four tables, for a model on labelled pictures", evaluate, LAYOUT)
    data(sub)
    model(sub)
    sub.add_argument(
        "--above", type=cli.share, default=1 / 6, metavar="F",
        help="a label's map marks what is above; 1/6 (default) leaves out what JPEG and resizing add",
    )  # fmt: skip
    measures = ("ours", "replication", "pysaliency", "mit")
    sub.add_argument("--measures", choices=measures, default="ours", help="whose variants of the map measures")
    sub.add_argument("--output", **file, help="write all cells as JSON too")

    sub = command("score", "say what is wrong with pictures: scores, words, heatmaps", score)
    sub.add_argument("pictures", type=Path, nargs="+", metavar="PICTURE", help="files, or folders of them")
    text = sub.add_mutually_exclusive_group(required=True)
    text.add_argument("--prompt", metavar="TEXT", help="what all of them were to show")
    text.add_argument("--prompts", type=Path, metavar="PATH", help=f"or of each its own: {PROMPTS}")
    model(sub)
    sub.add_argument("--at", type=cli.share, default=0.5, metavar="F", help="a word above is misaligned (default 0.5)")
    sub.add_argument("--heatmaps", **folder, help="write NAME_implausibility.png, NAME_misalignment.png there")
    forms = ("table", "csv", "json")
    sub.add_argument("--format", choices=forms, help="(default: that of the ending of --output, or else table)")
    sub.add_argument("--output", **file, help="where the rows go (default: the screen)")

    command("experiments", "train arms with seeds, the runs of 3_reproduce", later=cli.room("experiments", __package__))
    command("weights", "train this book's models again, or verify them", later=cli.room("weights", __package__))
    return top


def main(words: Iterable[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, 1 if damaged data were left out, 2 with the reason in words on stderr, 130
    after Ctrl-C."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a command says in its own words what matters
            return cli.main(parser(), words)
    except KeyboardInterrupt:
        say("stopped; no file is half written, and training goes on from its last checkpoint", sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
