"""The wing as a program: python -m bestpapers.bioclip {predict,embed,list-taxa,train,experiments,weights}

The first three are for photographs of one's own: what they can do is in `classify`, and here are only the words of the command
line, those of pybioclip where it has them, and how a table is written. The others train: `experiments`, `weights`.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import shlex
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..lab import cli
from ..lab.cli import Refused
from .taxa import RANKS

if TYPE_CHECKING:
    from ..lab.files import Skips

PROGRAM = "python -m bestpapers.bioclip"

EPILOG = f"""\
examples:
  {PROGRAM} predict photos/*.jpg    # among the 128 species of this book, with its small model
  {PROGRAM} predict --rank family --format table a.jpg
  {PROGRAM} predict --cls "oak,beech,birch" leaf.jpg
  {PROGRAM} predict --model hf-hub:imageomics/bioclip a.jpg    # the authors' weights and labels (a large download, once)
  {PROGRAM} embed --output vectors.json photos
  {PROGRAM} train --arm taxon --out my_model           # a small model of one's own
  torchrun --nproc_per_node 2 -m bestpapers.bioclip train --arm taxon --out my_model    # on two processes

The small model knows the drawn organisms of this book, not photographs of real ones: for these take the authors' weights.
`{PROGRAM} COMMAND --help` says more."""


# ------------------------------------------------------------------------------------------------------------- commands


def predict(args: argparse.Namespace) -> int:
    from . import classify
    from .taxonomy import Rank

    begun = time.strftime("%Y-%m-%dT%H:%M:%S")
    photos, skips = _photos(args.photos), _skips()
    settings: dict[str, Any] = dict(model_str=args.model, device=cli.device(args.device), resize=args.resize)
    common: dict[str, Any] = dict(batch_size=args.batch_size, skips=skips)
    if args.cls is not None or args.bins is not None:
        if args.labels is not None:
            raise Refused("--labels is for species; --cls and --bins bring labels of their own")
        custom: classify.CustomLabelsClassifier
        if args.bins is not None:
            header, rows = classify.read_table(args.bins)
            if len(header) < 2:
                raise Refused(f"{args.bins}: needs two columns, labels and their bins, below a header")
            custom = classify.CustomLabelsBinningClassifier({row[0]: row[1] for row in rows}, **settings)
        else:
            custom = classify.CustomLabelsClassifier(_labels(args.cls), **settings)
        table = custom.predict(photos, k=args.k, **common)
    else:
        tree = classify.TreeOfLifeClassifier(**settings, labels=_taxa(args.labels))
        if args.subset is not None:
            tree.apply_filter(tree.create_taxa_filter_from_csv(args.subset))
        rank = Rank(RANKS.index(args.rank or "species"))
        table = tree.predict(photos, rank, k=args.k or 5, **common)
    _write_table(table, args.format, args.output)
    if args.log:
        import torch

        from .. import __version__

        options = {
            k: str(v) for k, v in vars(args).items() if v is not None and k not in ("run", "words", "photos", "log")
        }
        report = dict(
            version=__version__,
            torch=torch.__version__,
            start=begun,
            end=time.strftime("%Y-%m-%dT%H:%M:%S"),
            command_line=f"{PROGRAM} {shlex.join(args.words)}",
            settings=options | dict(device=settings["device"]),
            images=photos,
            left_out=skips.messages,
        )
        _write(json.dumps(report, indent=1) + "\n", args.log)
    return _told(skips)


def embed(args: argparse.Namespace) -> int:
    from .classify import BaseClassifier

    photos, skips = _photos(args.photos), _skips()
    model = BaseClassifier(args.model, cli.device(args.device), resize=args.resize)
    vectors: dict[str, list[float]] = {}
    for names, features in model.embed(photos, batch_size=args.batch_size, skips=skips):
        vectors |= zip(names, features.tolist())
    _write(json.dumps(dict(model=args.model, embeddings=vectors), indent=1) + "\n", args.output)
    return _told(skips)


def list_taxa(args: argparse.Namespace) -> int:
    from .classify import label_row, load_labels

    found = load_labels(args.model, _taxa(args.labels))
    species = found if isinstance(found, tuple) else found.taxa
    _write_table([label_row(taxon) for taxon in species], args.format, args.output)
    holes = sum(not all(taxon.path) for taxon in species)
    _say(f"{len(species)} labels, {holes} of them without a name at some rank")
    if not isinstance(found, tuple):
        _say(f"{len(found.empty)} have no embedding and are never predicted")
    return 0


# ---------------------------------------------------------------------------------------------------------------- parts


def _photos(given: list[Path]) -> list[str]:
    """Files as they are given, folders as the images in them."""
    from .formats.photos import SUFFIXES

    found: list[str] = []
    for path in given:
        if path.is_dir():
            inside = sorted(str(p) for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
            if not inside:
                raise Refused(f"{path}: no images in this folder ({', '.join(SUFFIXES)})")
            found += inside
        else:
            found.append(str(path))
    return found


def _labels(words: str) -> list[str]:
    """Those of --cls: separated by commas, or the lines of a file."""
    from ..lab.files import FormatError, read_file

    path = Path(words)
    try:
        if not path.is_file():
            return words.split(",")
        return [line for line in read_file(path).decode("utf-8-sig").splitlines() if line.strip()]
    except OSError:  # too long for the name of a file
        return words.split(",")
    except UnicodeDecodeError as error:
        raise FormatError(path, "file", "text in UTF-8, a label on each line", str(error)[:100]) from error


def _taxa(path: Path | None) -> Any:
    """Those of --labels: a table of taxa, or the name of a pair of files."""
    from .classify import read_table
    from .taxa import Taxon
    from .taxonomy import clean

    if path is None or path.suffix.lower() != ".csv":
        return path
    header, rows = read_table(path)
    place = {name.lower(): i for i, name in enumerate(header)}
    columns = (*RANKS, "common_name")
    if missing := [name for name in ("genus", "species") if name not in place]:
        raise Refused(
            f"{path}: no column {missing[0]}; it takes {', '.join(columns)}, all but genus and species if you like"
        )
    species = list[Taxon]()
    for row in rows:
        values: list[Any] = [row[place[name]] if name in place else "" for name in columns]
        species.append(clean(Taxon(*values)))
    return species


def _skips() -> Skips:
    from ..lab.files import Skips

    return Skips()


def _told(skips: Skips) -> int:
    """Name the photographs that were left out; the exit status, 1 if there are any."""
    for message in skips.messages:
        _say(f"left out: {message}")
    if skips.count > len(skips.messages):
        _say(f"left out: {skips.count - len(skips.messages)} more")
    return 1 if skips.count else 0


def _say(words: str) -> None:
    cli.say(words, sys.stderr)  # stdout is for tables


def _write_table(rows: list[dict[str, Any]], form: str, output: Path | None) -> None:
    columns = list(rows[0]) if rows else ["file_name", "score"]
    if form == "csv":
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([row[name] for name in columns] for row in rows)
        _write(file.getvalue(), output)
        return
    cells = [[f"{row[name]:.4f}" if name == "score" else str(row[name]) for name in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells)]
    lines = [columns, ["-" * width for width in widths], *cells]
    text = "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)
    _write(text + "\n", output)


def _write(text: str, output: Path | None) -> None:
    from ..lab.files import write_file

    if output is None:
        sys.stdout.write(text)
    else:
        write_file(output, text.encode())


# ------------------------------------------------------------------------------------------------------- command line


def _train() -> Any:
    from .experiments import train, train_arguments

    return train_arguments, train


def _experiments() -> Any:
    from .experiments import arguments, run

    return arguments, run


def _weights() -> Any:
    from .weights import arguments, run

    return arguments, run


def parser() -> argparse.ArgumentParser:
    top, command = cli.program(PROGRAM, "Names photographs of organisms, at any rank of the tree of life.", EPILOG)

    def photographs(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("photos", type=Path, nargs="+", metavar="PHOTO", help="an image, or a folder of images")
        cli.add_device(sub)
        sub.add_argument(
            "--batch-size", type=cli.positive_int, default=10, metavar="N", help="photographs at a time (default 10)"
        )
        sub.add_argument(
            "--resize", default="squash", choices=("squash", "hub"),
            help="press all of a photograph into the square (default), or take the square in its middle",
        )  # fmt: skip

    def model(sub: argparse.ArgumentParser) -> None:
        sub.add_argument(
            "--model", default="ours",
            help="ours (default), hf-hub:imageomics/bioclip, hf-hub:imageomics/bioclip-2, or local-dir:FOLDER with weights",
        )  # fmt: skip

    def labels(sub: argparse.ArgumentParser) -> None:
        sub.add_argument(
            "--labels", type=Path, metavar="FILE",
            help="what is known: a .csv of taxa (kingdom ... genus, species, common_name), or a pair of .npy and .json as "
            "pybioclip keeps it (default: the 128 species of this book; those of TreeOfLife for the authors' models)",
        )  # fmt: skip

    def output(sub: argparse.ArgumentParser, table: bool = True) -> None:
        if table:
            sub.add_argument("--format", default="csv", choices=("csv", "table"), help="default: csv")
        sub.add_argument("--output", type=Path, metavar="FILE", help="write there, not on the screen")

    sub = command("predict", "say what is on photographs, with probabilities", predict)
    photographs(sub)
    model(sub)
    labels(sub)
    how = sub.add_mutually_exclusive_group()
    how.add_argument(
        "--rank", choices=RANKS, help="of the answer (default: species); probabilities are summed up the tree"
    )
    how.add_argument("--cls", metavar="LABELS", help="labels of your own: a,b,c, or a file with one on each line")
    how.add_argument(
        "--bins", type=Path, metavar="CSV", help="labels of your own and the bin of each: two columns, a header"
    )
    how.add_argument(
        "--subset", type=Path, metavar="CSV", help="only these: a column headed by a rank, with names below"
    )
    sub.add_argument(
        "--k", type=cli.positive_int, metavar="K", help="answers for each photograph (default 5; --cls and --bins: all)"
    )
    output(sub)
    sub.add_argument(
        "--log", type=Path, metavar="FILE.json", help="write how this was made: versions, command, times, images"
    )

    sub = command("embed", "write the embedding of each photograph, not normalised, as JSON", embed)
    photographs(sub)
    model(sub)
    output(sub, table=False)

    sub = command("list-taxa", "list the labels that predict would choose from, and say how many have holes", list_taxa)
    model(sub)
    labels(sub)
    output(sub)

    command(
        "train", "train a small model on drawn organisms; under torchrun its processes share each batch", later=_train
    )
    command(
        "experiments",
        "train arms under settings with seeds, or the recorded runs behind 3_reproduce",
        later=_experiments,
    )
    command("weights", "train the small model of this book again, or verify its files", later=_weights)
    return top


def main(words: Iterable[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, 1 if photographs were left out, 2 with the reason in words on stderr."""
    return cli.main(parser(), words)


if __name__ == "__main__":
    sys.exit(main())
