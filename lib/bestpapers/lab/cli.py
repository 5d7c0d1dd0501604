"""Command lines: commands of one program, types of their arguments, devices, and how it says that something cannot be done.

parser, command = program("python -m bestpapers.wing", "What it does.", EPILOG)
sub = command("train", "learn a model from photographs", run)     # run(options) -> exit status, or None for 0
sub.add_argument("--iterations", type=integer(1))
sys.exit(main(parser))
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from .files import Skips, write_file

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


def main(parser: argparse.ArgumentParser, words: Iterable[str] | None = None) -> int:
    """Run the command that the words (default: those of this process) name; returns the exit status.

    What cannot be done is said in a line on stderr, and the status is 2: the library's refusals are ValueErrors and OSErrors
    with the reason in words. `options.words` is what was typed.
    """
    words = list(sys.argv[1:] if words is None else words)
    options = parser.parse_args(words)
    options.words = words
    try:
        return int(options.run(options) or 0)
    except (Refused, ValueError, OSError) as error:
        say(f"{parser.prog} {options.command}: {error}", sys.stderr)
        return 2


def write(text: str, path: Path | None) -> None:
    """What a command has made: to a file, whole or not at all, or to stdout."""
    if path is None:
        sys.stdout.write(text)
    else:
        write_file(path, text.encode())


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
    """Print a line at once, on stdout or another file."""
    print(words, file=file or sys.stdout, flush=True)


# ------------------------------------------------------------------------------------------------------ types, devices


def integer(least: int, most: float = math.inf) -> Callable[[str], int]:
    """Type of an argument: an integer from `least`, which is at least 0, to `most`."""

    def whole(word: str) -> int:
        if not (word.isascii() and word.isdecimal()) or not least <= int(word) <= most:
            limit = f" and at most {most}" if most < math.inf else ""
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
    """Add --device: auto, or one of `kinds`."""
    parser.add_argument(
        "--device", default="auto", choices=("auto", *sorted(kinds)), help="where it runs (default: a GPU if any)"
    )


def device(word: str, kinds: Sequence[str] = DEVICES) -> str:
    """What `--device` means for torch: the word itself, or for "auto" the first of `kinds` that is here."""
    import torch

    here = dict(cuda=torch.cuda.is_available(), mps=torch.backends.mps.is_available(), cpu=True)
    if word == "auto":
        return next(kind for kind in kinds if here[kind])
    if not here[word]:
        raise Refused(f"--device {word}: torch finds no {NAMES[word]} device here; use --device cpu")
    return word
