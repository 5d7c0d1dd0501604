"""The wing as a program: python -m bestpapers.bioclip {predict,embed,list-taxa,list-models,train,experiments,weights}

The first four are for photographs of one's own: what they can do is in `classify`, and here are only the words of the command
line, those of pybioclip where it has them, and how a table is written. The others train: `experiments`, `weights`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..lab import cli
from ..lab.cli import Refused
from .taxa import RANKS

if TYPE_CHECKING:
    from ..lab.places import Place
    from .taxa import Taxon

PROGRAM = "python -m bestpapers.bioclip"
TABLES = (".csv", ".tsv", ".tab", ".txt")
LABEL, BIN = ("label", "class"), "bin"  # names of columns
SHOWN = 20  # names that cannot be read, of a table

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
    from ..lab.files import Skips
    from . import classify
    from .taxonomy import Rank

    begun = time.strftime("%Y-%m-%dT%H:%M:%S")
    custom = args.cls is not None or args.bins is not None
    if custom and args.labels is not None:
        raise Refused("--labels is for species; --cls and --bins bring labels of their own")
    photos, skips = _photos(args.photos), Skips()
    files = [_file(args.cls), args.bins, args.subset, *_pair(args.labels)]
    _check_targets({"--output": args.output, "--log": args.log}, photos, args.model, files)
    settings: dict[str, Any] = dict(model_str=args.model, device=cli.device(args.device), resize=args.resize)
    common: dict[str, Any] = dict(batch_size=args.batch_size, skips=skips)
    with cli.warnings_told():
        if args.bins is not None:
            bins = classify.CustomLabelsBinningClassifier(_bins(args.bins), **settings)
            table = bins.predict(photos, k=args.k, **common)
        elif args.cls is not None:
            table = classify.CustomLabelsClassifier(_labels(args.cls), **settings).predict(photos, k=args.k, **common)
        else:
            tree = classify.TreeOfLifeClassifier(**settings, labels=_taxa(args.labels))
            if args.subset is not None:
                tree.apply_filter(tree.create_taxa_filter_from_csv(args.subset))
            _say_whose(tree.taxa, args)
            rank = Rank(RANKS.index(args.rank or "species"))
            table = tree.predict(photos, rank, k=args.k or 5, **common)
    _write_table(table, args.format, args.output)
    if args.log is not None:
        options = {
            k: str(v) for k, v in vars(args).items() if v is not None and k not in ("run", "words", "photos", "log")
        }
        _write_log(args, begun, options | dict(device=settings["device"]), photos, skips.messages)
    return cli.told(skips)


def embed(args: argparse.Namespace) -> int:
    from ..lab.files import Skips
    from .classify import BaseClassifier

    photos, skips = _photos(args.photos), Skips()
    _check_targets({"--output": args.output}, photos, args.model)
    model = BaseClassifier(args.model, cli.device(args.device), resize=args.resize)
    vectors: dict[str, list[float]] = {}
    for names, features in model.embed(photos, batch_size=args.batch_size, skips=skips):
        vectors |= zip(names, features.tolist())
    cli.write(json.dumps(dict(model=args.model, embeddings=vectors), indent=1) + "\n", args.output)
    return cli.told(skips)


def list_taxa(args: argparse.Namespace) -> int:
    from .classify import label_row, load_labels

    _check_targets({"--output": args.output}, [], args.model, _pair(args.labels))
    with cli.warnings_told():
        found = load_labels(args.model, _taxa(args.labels))
    species = found if isinstance(found, tuple) else found.taxa
    _say_whose(species, args)
    _write_table([label_row(taxon) for taxon in species], args.format, args.output)
    holes = sum(not all(taxon.path) for taxon in species)
    _say(f"{len(species)} labels, {holes} of them without a name at some rank")
    if not isinstance(found, tuple):
        _say(f"{len(found.empty)} have no embedding and are never predicted")
    return 0


def list_models(args: argparse.Namespace) -> int:
    from .classify import HUB_LABELS, OWN

    cli.say("\n".join([OWN, *HUB_LABELS]))
    _say("also hf-hub:OWNER/NAME for any plain CLIP on the Hub, and local-dir:FOLDER with weights of open_clip")
    return 0


# --------------------------------------------------------------------------------------------------------- what is read


def _photos(given: list[str]) -> list[str]:
    """Files as they are given, folders as the images in them; how many other files those hold is said."""
    from .formats.photos import SUFFIXES, is_photo

    found: list[str] = []
    for name in given:
        folder = Path(name)
        if not folder.is_dir():
            found.append(name)
            continue
        files, closed = _files(folder)
        photos = [p for p in files if is_photo(p)]
        if closed:
            some = ", ".join(closed[:5]) + (f" and {len(closed) - 5} more" if closed[5:] else "")
            _say(f"{name}: left out, links to nothing or places that cannot be read: {some}")
        if not photos:
            raise Refused(f"{name}: no images in this folder ({', '.join(SUFFIXES)})")
        if others := sorted({p.suffix.lower() or "no ending" for p in set(files) - set(photos)}):
            count = cli.counted(len(files) - len(photos), "file")
            _say(f"{name}: {count} passed over, of other kinds ({', '.join(others)})")
        found += [os.path.join(name, p.relative_to(folder)) for p in photos]
    return found


def _files(folder: Path) -> tuple[list[Path], list[str]]:
    """The files in a folder and the folders in it, by links too, each folder once; and what cannot be read. Not what is
    hidden."""
    files, closed, seen, errors = list[Path](), list[str](), set[str](), list[OSError]()
    for here, folders, names in os.walk(folder, followlinks=True, onerror=errors.append):
        real = os.path.realpath(here)
        folders[:] = [] if real in seen else [f for f in folders if not f.startswith(".")]
        paths = [] if real in seen else [Path(here, name) for name in names if not name.startswith(".")]
        seen.add(real)
        files += filter(os.path.isfile, paths)
        closed += [str(p) for p in paths if not os.path.exists(p)]
    return sorted(files), closed + [str(error.filename) for error in errors]


def _file(words: str | None) -> Path | None:
    """The file that --cls names, if it is one."""
    words = words and words.strip()
    try:
        return Path(words) if words and Path(words).is_file() else None
    except OSError:  # too long for the name of a file
        return None


def _labels(words: str) -> list[str]:
    """Those of --cls: separated by commas, or the lines of a file, or a column of it that a header names. Each once."""
    from ..lab.files import read_file
    from ..lab.tables import utf8
    from .formats.tables import read_table

    path = _file(words)
    if path is None:
        for label in words.split(","):
            if re.search(r"[/\\]|\w\.[a-z0-9]{1,5}\s*$", label, re.IGNORECASE):
                wrong = "a file is given alone" if _file(label) else "there is no file of this name"
                advice = "labels are given as a,b,c, and those that look like a file on the lines of a file"
                raise Refused(f"--cls {label.strip()}: {wrong}; {advice}")
            if ";" in label:
                raise Refused(
                    f"--cls {label.strip()}: labels are separated by commas; one with a ; in it goes into a file"
                )
        return _once(words.split(","), "--cls")
    lines = utf8(path, read_file(path), "save it as UTF-8, a label on each line").splitlines() or [""]
    if path.suffix.lower() in (".json", ".jsonl", ".yaml", ".yml"):
        raise Refused(f"--cls {path}: expected a text with a label on each line, not {path.suffix}")
    header = [cell.strip(' "').lower() for cell in re.split("[,;\t]", lines[0])]
    if found := [column for column in LABEL if column in header]:
        lines = [row[found[0]] for _, row in read_table(path)]
    return _once([line for line in lines if line.strip()], str(path))


def _once(labels: list[str], where: str) -> list[str]:
    from .classify import as_read

    once: dict[str, str] = {}
    for label in labels:
        once.setdefault(as_read(label), label.strip())
    if len(once) < len(labels):
        _say(f"{where}: {cli.counted(len(labels) - len(once), 'label')} given before and left out")
    return list(once.values())


def _bins(path: Path) -> dict[str, str]:
    """Those of --bins: each label's bin."""
    from .classify import as_read
    from .formats.tables import read_table

    bins: dict[str, tuple[str, str, str]] = {}
    rows = read_table(path, (LABEL[0], BIN, *LABEL[1:]))
    columns = list(rows[0][1])
    if len(columns) < 2:
        raise Refused(f"{path}: needs two columns, labels and their bins")
    first = next(name for name in (*LABEL, *columns) if name in columns and name != BIN)
    second = next(name for name in (BIN, *columns) if name in columns and name != first)
    for here, row in rows:
        label, name = row.get(first, ""), row.get(second, "")
        here.need(label, f"a label in column {first}", None)
        here.need(name, f"a bin in column {second}", None)
        _, known, where = bins.setdefault(as_read(label), (label, name, here.where))
        if known != name:
            raise here.wrong(f"one bin for {label!r:.80}", f"{name!r:.80} here, and {known!r:.80} in {where}")
    if len(bins) < len(rows):
        _say(f"{path}: {cli.counted(len(rows) - len(bins), 'label')} given before and left out")
    return {label: name for label, name, _ in bins.values()}


def _taxa(path: Path | None) -> Any:
    """Those of --labels: a table of taxa, or the name of a pair of files."""
    from .formats.photos import SUFFIXES
    from .formats.tables import read_table
    from .taxa import Taxon
    from .taxonomy import clean, unread

    if path is None or path.suffix.lower() not in TABLES:
        if path is not None and (absent := [part for part in _pair(path) if not part.is_file()]):
            kinds = f"a table ({', '.join(TABLES)}), or a pair of files of one name, .npy and .json"
            raise Refused(f"--labels {path}: there is no {absent[0]}; it takes {kinds}")
        return path

    def is_file(text: str) -> bool:  # of a photograph, and not on the web
        return text.lower().endswith(SUFFIXES) and "://" not in text

    rows = read_table(path)
    columns = rows[0][1]
    names = dict(zip(RANKS, RANKS), common_name="common_name")
    if "common" in columns and "common_name" not in columns:
        names["common_name"] = "common"  # as in the catalog of Rare Species
    if "filepath" in columns or "cls" in columns or any(map(is_file, columns.values())):
        names["class"] = "cls"  # then "class" is the label of a photograph, as in the table of Rare Species
        if "class" in columns and "cls" not in columns:
            what = "class is taken for their labels and not for the rank, which is named cls there"
            _say(f"{path}: a table of photographs: {what}")
    if missing := [name for name in ("genus", "species") if name not in columns]:
        known = f"{', '.join(names)}, all but genus and species if you like"
        raise Refused(f"{path}: no column {missing[0]}; it takes {known}")
    species, lost, classes = list[Taxon](), list[str](), dict[str, dict[Taxon, str]]()
    for here, row in rows:
        values: list[Any] = [row.get(column, "") for column in names.values()]
        taxon = clean(given := Taxon(*values))
        here.need(any(taxon.path), "a name at some rank", " ".join(row.values()))
        _check_class(taxon, here / f"column {names['class']}", classes)
        if text := unread(given, taxon):
            lost.append(f"  {here.where}: {text!r:.80} as {[name for name in taxon.path if name][-1]}")
        species.append(taxon)
    if lost:
        what = f"{path}: {cli.counted(len(lost), 'name')} of species cannot be read, taken for what is above:"
        _say("\n".join([what, *lost[:SHOWN], *([f"  and {len(lost) - SHOWN} more"] if lost[SHOWN:] else [])]))
    return species


def _check_class(taxon: Taxon, here: Place, classes: dict[str, dict[Taxon, str]]) -> None:
    """Refuse what is no class but the label of a photograph: of several words, or another one in the same genus.

    classes  of each genus so far: its ranks, and where they stand
    """
    from .classify import agree

    advice = "if this column holds labels of photographs, give it another name"
    plain = " " not in taxon.class_ or taxon.class_.startswith("Candidatus ")
    here.need(plain, "a class of the tree of life, one word", taxon.class_, advice)
    above = replace(taxon, genus="", species="", common_name="")
    same = classes.setdefault(taxon.genus, {}) if taxon.genus and taxon.class_ else {}
    for other, where in same.items():
        if other.class_ != above.class_ and agree(above.path, replace(other, class_=above.class_).path):
            expected = f"one class for the genus {taxon.genus}"
            raise here.wrong(expected, f"{above.class_} here, and {other.class_} in {where}", advice)
    same.setdefault(above, here.where)


def _pair(path: Path | None) -> list[Path]:
    """The files that --labels means."""
    if path is None or path.suffix.lower() in TABLES:
        return [path] if path else []
    name = str(path).removesuffix(".npy").removesuffix(".json")
    return [Path(f"{name}.npy"), Path(f"{name}.json")]


# ------------------------------------------------------------------------------------------------------ what is written


def _check_targets(
    targets: dict[str, Path | None], photos: list[str], model: str, files: Iterable[Path | None] = ()
) -> None:
    """Refuse, before any work, to write over what is read, or over a log."""
    from .formats.weights import FOLDER

    folder = [Path(model.removeprefix(FOLDER)).expanduser()] if model.startswith(FOLDER) else []
    reads = [*map(Path, photos), *files, *folder]
    for option, path in targets.items():
        if path is not None:
            cli.check_target(option, path, reads=reads)
    output, log = targets.get("--output"), targets.get("--log")
    if output is not None and log is not None and output.resolve() == log.resolve():
        raise Refused(f"--log {log}: this is what --output names")
    if log is not None and log.exists():
        if log.suffix.lower() == ".json":
            raise Refused(
                f"--log {log}: there is a log of this name; give another, or one without .json, which is added to"
            )
        _old_log(log)


def _say_whose(labels: tuple[Taxon, ...], args: argparse.Namespace) -> None:
    from .classify import OWN
    from .taxa import taxa

    if args.labels is None and args.model != OWN and labels == taxa():
        _say(f"no --labels: those of this book are taken, {len(labels)} species, embedded by {args.model}")


def _say(words: str) -> None:
    cli.say(words, sys.stderr)  # stdout is for tables


def _write_table(rows: list[dict[str, Any]], form: str, output: Path | None) -> None:
    from ..lab.tables import csv_text

    columns = list(rows[0]) if rows else ["file_name", "score"]
    if form == "csv":
        cli.write(csv_text(rows, columns), output)
        return
    cells = [[f"{row[name]:.4f}" if name == "score" else str(row[name]) for name in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells)]
    lines = [columns, ["-" * width for width in widths], *cells]
    text = "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)
    cli.write(text + "\n", output)


def _write_log(
    args: argparse.Namespace, begun: str, settings: dict[str, str], photos: list[str], left_out: list[str]
) -> None:
    """How a table was made: as JSON, or as text, which is added to what the file holds."""
    import torch

    from .. import __version__

    report = dict(
        version=__version__,
        torch=torch.__version__,
        start=begun,
        end=time.strftime("%Y-%m-%dT%H:%M:%S"),
        command_line=f"{PROGRAM} {shlex.join(args.words)}",
        settings=settings,
        images=photos,
        left_out=left_out,
    )
    if args.log.suffix.lower() == ".json":
        cli.write(json.dumps(report, indent=1) + "\n", args.log)
        return
    title = f"** predictions of bestpapers {__version__}, torch {torch.__version__}, {begun} to {report['end']} **"
    lines = ["*" * len(title), title, "*" * len(title), f"command line: {report['command_line']}"]
    lines += [f"{name.replace('_', ' ')}: {value}" for name, value in settings.items()]
    lines += ["images:", *photos, *(["left out:", *left_out] if left_out else []), ""]
    cli.write(_old_log(args.log) + "\n".join(lines) + "\n", args.log)


def _old_log(path: Path) -> str:
    from ..lab.files import read_file
    from ..lab.tables import utf8

    return utf8(path, read_file(path), "give the log another name") if path.exists() else ""


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


def _target(word: str) -> Path | None:
    return None if word == "stdout" else Path(word)  # as pybioclip calls it


def parser() -> argparse.ArgumentParser:
    top, command = cli.program(PROGRAM, "Names photographs of organisms, at any rank of the tree of life.", EPILOG)

    def photographs(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("photos", nargs="+", metavar="PHOTO", help="an image, or a folder of images")
        cli.add_device(sub)
        sub.add_argument(
            "--batch-size", type=cli.positive_int, default=10, metavar="N", help="photographs at a time (default 10)"
        )
        sub.add_argument(
            "--resize", choices=("squash", "hub"),
            help="press all of a photograph into the square (squash), or do as the model's files say, mostly to take the "
            "square in its middle (hub) (default: squash, but hub for models on the Hub that are not BioCLIP's)",
        )  # fmt: skip

    def model(sub: argparse.ArgumentParser) -> None:
        sub.add_argument(
            "--model", default="ours",
            help="ours (default), hf-hub:imageomics/bioclip, hf-hub:imageomics/bioclip-2 (see list-models), or "
            "local-dir:FOLDER with weights, checkpoints of open_clip's training too",
        )  # fmt: skip

    def labels(sub: argparse.ArgumentParser) -> None:
        sub.add_argument(
            "--labels", type=Path, metavar="FILE",
            help="what is known: a .csv or .tsv of taxa (kingdom ... genus, species, common_name), each taken once, or a pair "
            "of .npy and .json as pybioclip keeps it (default: the 128 species of this book; those of TreeOfLife for the "
            "authors' models)",
        )  # fmt: skip

    def output(sub: argparse.ArgumentParser, table: bool = True) -> None:
        if table:
            sub.add_argument("--format", default="csv", choices=("csv", "table"), help="default: csv")
        sub.add_argument("--output", type=_target, metavar="FILE", help="write there, not on the screen")

    sub = command("predict", "say what is on photographs, with probabilities", predict)
    photographs(sub)
    model(sub)
    labels(sub)
    how = sub.add_mutually_exclusive_group()
    how.add_argument(
        "--rank", choices=RANKS, help="of the answer (default: species); probabilities are summed up the tree"
    )
    how.add_argument(
        "--cls", metavar="LABELS", help="labels of your own: a,b,c, or a file with one on each line, or a column label"
    )
    how.add_argument(
        "--bins",
        type=Path,
        metavar="CSV",
        help="labels of your own and the bin of each: two columns, or those that a header calls label and bin",
    )
    how.add_argument(
        "--subset", type=Path, metavar="CSV", help="only these: a column headed by a rank, with names below"
    )
    sub.add_argument(
        "--k", type=cli.positive_int, metavar="K", help="answers for each photograph (default 5; --cls and --bins: all)"
    )
    output(sub)
    sub.add_argument(
        "--log", type=Path, metavar="FILE",
        help="write how this was made (versions, command, times, images): as JSON to a new FILE.json, or as text, added to "
        "any other",
    )  # fmt: skip

    sub = command("embed", "write the embedding of each photograph, not normalised, as JSON", embed)
    photographs(sub)
    model(sub)
    output(sub, table=False)

    sub = command("list-taxa", "list the labels that predict would choose from, and say how many have holes", list_taxa)
    model(sub)
    labels(sub)
    output(sub)

    command("list-models", "list the models that have a name here", list_models)
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
