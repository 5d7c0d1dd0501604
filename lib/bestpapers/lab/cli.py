"""Command lines: commands of one program, types of their arguments, devices, and how it says that something cannot be done.

parser, command = program("python -m bestpapers.wing", "What it does.", EPILOG)
sub = command("train", "learn a model from photographs", run)     # run(options) -> exit status, or None for 0
sub.add_argument("--iterations", type=integer(1))
sys.exit(main(parser))
"""

from __future__ import annotations

import argparse
import math
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn, TextIO

from .. import __version__
from .files import Skips, plain, write_file

DEVICES = ("cuda", "mps", "cpu")  # the first that is here, for "auto"
NAMES = dict(cuda="CUDA", mps="MPS", cpu="CPU")

Run = Callable[[argparse.Namespace], int | None]
Later = Callable[[], tuple[Callable[[argparse.ArgumentParser], None], Run]]


class Refused(Exception):
    """Something on the command line that cannot be done; the message is shown without a traceback."""


class _Parser(argparse.ArgumentParser):
    """A parser that gets its arguments when its command is asked for: other commands do without the module they are in."""

    later: Later | None = None

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if self.later is not None:
            (arguments, run), self.later = self.later(), None
            arguments(self)
            self.set_defaults(run=run)
        return super().parse_known_args(args, namespace)


def program(
    name: str, about: str, epilog: str | None = None
) -> tuple[argparse.ArgumentParser, Callable[..., argparse.ArgumentParser]]:
    """The parser of a program, and command(name, words, run, epilog=None, later=None), which adds one and returns its parser.

    words  what the command does, for its line in the list
    run    the function that is called with the options; returns the exit status, or None for 0
    later  in its place, for a command whose module is slow to load: a function that loads it and returns (arguments, run);
           arguments(parser) adds what the command takes
    """
    style = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser(prog=name, description=about, epilog=epilog, formatter_class=style)
    top.add_argument("--version", action="version", version=f"bestpapers {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)

    def command(
        name: str, words: str, run: Run | None = None, epilog: str | None = None, later: Later | None = None
    ) -> argparse.ArgumentParser:
        about = words[0].upper() + words[1:] + "."
        sub = commands.add_parser(name, help=words, description=about, epilog=epilog, formatter_class=style)
        sub.set_defaults(run=run)
        sub.later = later
        return sub

    return top, command


def room(name: str, package: str) -> Later:
    """`later` of a command that is a module of a package: its `arguments` and `run`."""

    def load() -> tuple[Callable[[argparse.ArgumentParser], None], Run]:
        module = import_module(f".{name}", package)
        return module.arguments, module.run

    return load


def main(parser: argparse.ArgumentParser, words: Iterable[str] | None = None) -> int:
    """Run the command that the words (default: those of this process) name; returns the exit status.

    What cannot be done is said in a line on stderr, and the status is 2: the library's refusals are ValueErrors and OSErrors
    with the reason in words. `options.words` is what was typed.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # in UTF-8 wherever it goes: pipes of Windows lack most letters
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    words = list(sys.argv[1:] if words is None else words)
    options = parser.parse_args(words)
    options.words = words
    try:
        return int(options.run(options) or 0)
    except (Refused, ValueError, OSError) as error:
        reason = str(error)
    # said out here, where the error is gone, and with it a progress bar that its traceback held: that ends its line first
    say(plain(f"{parser.prog} {options.command}: {reason}"), sys.stderr)
    return 2


# ------------------------------------------------------------------------------------------------------- what is written


def check_target(
    option: str, path: Path, endings: tuple[str, ...] = ("",), reads: Iterable[Path | None] = (), folder: bool = False
) -> None:
    """Refuse, before any work, the file (or folder) of an option that cannot be written, or should not.

    endings  one of which its name must have, in small letters
    reads    what the command reads. No file of it is written over; a folder lies apart, neither in it nor right above it
    """

    def refuse(why: str) -> NoReturn:
        raise Refused(f"{option} {path}: {why}")

    real = path.resolve()
    there = [p for p in (real, *real.parents) if p.exists()]
    if not path.name.lower().endswith(endings):
        refuse(f"the name must end with {' or '.join(endings)}")
    if path.exists() and not (path.is_dir() if folder else path.is_file()):
        refuse(
            "this is a folder; give the name of a file"
            if path.is_dir()
            else "this is something else; give another name"
        )
    if not path.exists() and not there[0].is_dir():
        refuse(f"{there[0]} is a file, and nothing can lie in it")
    if not all(os.access(p, os.W_OK) for p in {there[0], real if folder else real.parent} if p.exists()):
        refuse("this cannot be written: the place is protected")
    for read in reads if folder or path.exists() else ():
        if read is not None and read.exists():
            if any(p.samefile(read) for p in there):
                refuse(
                    f"{read} is read, and this lies in it"
                    if folder
                    else f"this is read, or lies in {read}, which is, and is there already"
                )
            if folder and path.exists() and path.samefile(read.resolve().parent):
                refuse(f"{read}, which is read, lies there too")


def existing(path: Path) -> Path:
    """A path, or the nearest folder above it that is there."""
    return next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A folder to write to. What is in it goes to `folder`, which is made if need be, when the block ends well; else nothing
    is left."""
    with TemporaryDirectory(prefix=".", suffix=".part", dir=existing(folder)) as made:
        yield Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        parts = sorted(Path(made).iterdir())
        for part in parts:
            if part.is_file() and (folder / part.name).is_dir():
                raise Refused(f"{folder / part.name}: this is a folder, and a file of that name is to be written")
        for part in parts:
            os.replace(part, folder / part.name)


def picture_files(given: Iterable[Path]) -> list[Path]:
    """Files as they are given, folders as the pictures in them."""
    from .pictures import SUFFIXES, listing

    found = list[Path]()
    for path in given:
        if path.is_dir():
            inside = [file for files in listing(path).values() for file in files]
            if not inside:
                raise Refused(f"{path}: no pictures in this folder ({', '.join(SUFFIXES)})")
            passed_over(path)
            found += inside
        else:
            found.append(path)
    return found


def passed_over(folder: Path) -> None:
    """Say on stderr how many files of a folder are neither pictures nor what goes with them, tables and texts."""
    from .pictures import SUFFIXES, listing
    from .tables import ENDINGS

    endings = [file.suffix.lower() for files in listing(folder, ("",)).values() for file in files]
    other = [ending for ending in endings if ending not in (*SUFFIXES, *ENDINGS, ".txt")]
    if other:
        kinds = ", ".join(sorted({ending or "no ending" for ending in other}))
        say(f"{folder}: {counted(len(other), 'file')} passed over, of other kinds ({kinds})", sys.stderr)


def write(text: str, path: Path | None) -> None:
    """What a command has made: to a file, whole or not at all, or to stdout."""
    data = text.encode(errors="backslashreplace")  # names of files may hold what is no letter
    if path is None and sys.stdout.isatty():
        say(text.removesuffix("\n"))
    elif path is None:
        sys.stdout.write(data.decode())
    else:
        write_file(path, data)


# ---------------------------------------------------------------------------------------------------------- what is said


@contextmanager
def warnings_told() -> Iterator[None]:
    """What the library warns of, said on stderr: a line each, and each once."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", UserWarning)
        try:
            yield
        finally:
            for words in dict.fromkeys(str(warning.message) for warning in found):
                say(words, sys.stderr)


def told(skips: Skips | None) -> int:
    """Name on stderr what was left out; the exit status, 1 if anything was."""
    if skips is None or not skips.count:
        return 0
    for message in skips.messages:
        say(f"left out: {message}", sys.stderr)
    if skips.count > len(skips.messages):
        say(f"left out: {skips.count - len(skips.messages)} more", sys.stderr)
    return 1


def say(words: str, file: TextIO | None = None) -> None:
    """Print lines at once, on stdout or another file, `plain`."""
    print("\n".join(map(plain, words.split("\n"))), file=file or sys.stdout, flush=True)


def counted(number: int, one: str, several: str = "") -> str:
    """So many of something: "1 picture", "2,000 pictures"."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"


# ------------------------------------------------------------------------------------------------------ types, devices


def integer(least: int, most: float = math.inf, step: int = 1) -> Callable[[str], int]:
    """Type of an argument: an integer from `least`, which is at least 0, to `most`, a multiple of `step`."""

    def whole(word: str) -> int:
        if not (word.isascii() and word.isdecimal()) or not least <= int(word) <= most or int(word) % step:
            limit = f" and at most {most}" if most < math.inf else ""
            limit += f", a multiple of {step}" if step > 1 else ""
            raise argparse.ArgumentTypeError(f"a whole number, at least {least}{limit}, not {word!r}")
        return int(word)

    return whole


positive_int = integer(1)


def number(most: float = math.inf, least: float | None = None) -> Callable[[str], float]:
    """Type of an argument: a finite number above 0, or from `least` on; at most `most`."""

    limits = ("above 0" if least is None else f"from {least:g} on") + (f", at most {most:g}" if most < math.inf else "")

    def finite(word: str) -> float:
        with suppress(ValueError):
            value = float(word)
            if math.isfinite(value) and value <= most and (value > 0 if least is None else value >= least):
                return value
        raise argparse.ArgumentTypeError(f"a number {limits}, not {word!r}")

    return finite


positive_float = number()
share = number(1, 0)


def add_device(parser: argparse.ArgumentParser, kinds: Sequence[str] = DEVICES) -> None:
    """Add --device: auto, or one of `kinds`, of CUDA's also one by its number."""
    known = ("auto", *sorted(kinds))

    def one(word: str) -> str:
        if word in known or ("cuda" in kinds and re.fullmatch(r"cuda:\d{1,4}", word, re.ASCII)):
            return word
        raise argparse.ArgumentTypeError(f"{' or '.join(known)}, or one GPU by its number, cuda:0; not {word!r}")

    parser.add_argument(
        "--device", default="auto", type=one, metavar=f"{{{','.join(known)}}}",
        help="where it runs (default: a GPU if any); cuda:1 is the second GPU",
    )  # fmt: skip


def device(word: str, kinds: Sequence[str] = DEVICES) -> str:
    """What `--device` means for torch: the word itself, or for "auto" the first of `kinds` that is here.

    A GPU given by its number becomes the one that "cuda" means from now on, for kernels that ask for no number.
    """
    import torch

    here = dict(cuda=torch.cuda.is_available(), mps=torch.backends.mps.is_available(), cpu=True)
    if word == "auto":
        return next(kind for kind in kinds if here[kind])
    kind, _, number = word.partition(":")
    if not here[kind]:
        raise Refused(f"--device {word}: torch finds no {NAMES[kind]} device here; use --device cpu")
    if number:
        if int(number) >= (there := torch.cuda.device_count()):
            raise Refused(f"--device {word}: torch finds {counted(there, 'GPU')} here, and counts from cuda:0")
        torch.cuda.set_device(int(number))
    return word
