"""The wing's trained models, and how they are made.

    python -m bestpapers.feedback weights            # trains them, hours on a laptop; again after Ctrl-C, and it goes on
    python -m bestpapers.feedback weights --verify   # are the files those of the card?

`rahf.safetensors` says what is wrong with a picture. `generator_weak`, `_middle` and `_best` draw pictures: one tokenizer,
and one transformer at three times of its training. `flow` draws with the same tokenizer in another way. RAHF has learned from
faults of the world and from pictures of the two lesser generators, and has seen none of `best` and `flow`. Beside them lies
card.json, see `lab.weights`: a test measures the scores that it calls "again" again.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...lab.files import FormatError, cache_dir, write_file

if TYPE_CHECKING:
    import argparse

    from .. import train
    from ..generator import Generator
    from ..improve import LatentFlow
    from ..model import RAHF

HERE = Path(__file__).parent
QUALITIES = ("weak", "middle", "best")  # of the generator
MODEL, FLOW = "rahf.safetensors", "flow.safetensors"
FILES = (MODEL, *(f"generator_{quality}.safetensors" for quality in QUALITIES), FLOW)
COMMAND = "python -m bestpapers.feedback weights"
SCORED = dict(  # labelled pictures, prompts to draw for, steps of drawing
    full=dict(pictures=500, prompts=100, steps=12), again=dict(pictures=60, prompts=12, steps=6)
)


def _file(path: Path, command: str = COMMAND) -> Path:
    if not path.exists():
        ours = "this copy of the book comes without; " if path.parent == HERE else ""
        advice = f"{ours}give the file of one (--model FILE), or train it: {command}"
        raise FormatError(path, "file", "a trained model", "nothing of that name", advice)
    return path


def load(path: Path | None = None, command: str = COMMAND) -> RAHF:
    """The shipped model, or that of a file. FormatError, which tells the command, if there is none; so with the others."""
    from ..model import RAHF

    return RAHF.load(_file(path or HERE / MODEL, command)).eval()


def load_generator(quality: str = "best", folder: Path | None = None) -> Generator:
    """A shipped generator, by one of QUALITIES."""
    from ..generator import Generator

    return Generator.load(_file((folder or HERE) / f"generator_{quality}.safetensors")).eval()


def load_flow(folder: Path | None = None) -> LatentFlow:
    """The shipped flow, which draws by `improve.flow_pictures` with the tokenizer of any of the generators."""
    from ..improve import LatentFlow

    return LatentFlow.load(_file((folder or HERE) / FLOW)).eval()


@cache
def _digest(folder: Path) -> str:
    return hashlib.sha256(b"".join(_file(folder / name).read_bytes() for name in FILES)).hexdigest()[:16]


def digest() -> str:
    """A hash of all shipped weights."""
    return _digest(HERE)


def scores(folder: Path, pictures: int, prompts: int, steps: int) -> dict[str, Any]:
    """What RAHF scores on held-out faults of the world, and the judge on what the generators draw ("tokenizer": on true
    pictures that went through it)."""
    from .. import data, evaluate, experiments
    from ..panel import Panel

    model = load(folder / MODEL)
    truths = data.records("test", pictures, size=model.config.size, seed=0)
    found = dict(model=experiments.tested(model, experiments.Shown.of(truths, Panel(), 0)))
    best = load_generator("best", folder)
    true, asked = data.pairs("test", prompts, size=best.config.size, seed=0)
    kept = best.pictures(best.numbers(true))
    found["tokenizer"] = evaluate.quality(kept[:, None], asked)[0] | dict(psnr=evaluate.paint_error(kept, true))
    for name in (*QUALITIES, "flow"):
        drawn = experiments.drawn(name, asked, 0, steps, folder)
        found[name] = evaluate.quality(drawn[:, None], asked)[0]
    return {who: {what: round(value, 4) for what, value in row.items()} for who, row in found.items()}


def make(
    recipe: train.Recipe,
    folder: Path,
    out: Path = HERE,
    scored: dict[str, dict[str, int]] = SCORED,
    quiet: bool = False,
) -> None:
    """Train all from the checkpoints in `folder`, and write files and card to `out`."""
    from ...lab.weights import Card
    from .. import train
    from ..data import SOURCE

    marks = train.make(recipe, folder, quiet)
    for name in FILES:
        write_file(out / name, (folder / name).read_bytes())
    found: dict[str, Any] = {name: scores(out, **how) for name, how in scored.items()}
    parts = dict(rahf=load(out / MODEL), generator=load_generator("best", out), flow=load_flow(out))
    said = {name: getattr(recipe, name) for name in ("pairs", "faults", "drawn", "seed")}
    Card.of(
        out, FILES, command=COMMAND, settings=dict(recipe=asdict(recipe), scored=scored),
        data=said, data_hash=dict(code=SOURCE, **marks), scores=found,
        size={name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()},
    ).write(out)  # fmt: skip


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--verify", action="store_true", help="only check that the files are those of the card")
    parser.add_argument("--folder", type=Path, help="where checkpoints go; go on from those there (default: the cache)")


def run(options: argparse.Namespace) -> int:
    from ...lab import weights
    from ..train import Recipe

    if options.verify:
        return weights.verify(HERE)
    make(Recipe(), options.folder or cache_dir() / "feedback" / "weights")
    return 0
