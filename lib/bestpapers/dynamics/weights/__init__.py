"""The wing's trained model and renderer, and how they are made.

    python -m bestpapers.dynamics weights            # trains them, hours on a laptop; again after Ctrl-C, and it goes on
    python -m bestpapers.dynamics weights --verify   # are the files those of the card?

`animator.safetensors` draws motion for a picture, `renderer.safetensors` paints frames. Beside them lies card.json, see
`lab.weights`: a test measures the scores that it calls "again" again.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from .. import render, train
    from ..model import Animator

HERE = Path(__file__).parent
MODEL, RENDERER = FILES = ("animator.safetensors", "renderer.safetensors")
COMMAND = "python -m bestpapers.dynamics weights"
KINDS = ("tree", "flowers", "lanterns", "water")  # as in `worlds`
SCORED = dict(  # held-out plants of each kind, motions of each, calls of the network for each
    full=dict(plants=2, samples=16, calls=25), again=dict(plants=1, samples=4, calls=8)
)


def load(path: Path | None = None) -> Animator:
    """The shipped model, or that of a file. FormatError if there is none."""
    from ...lab.files import FormatError
    from ..model import Animator

    path = path or HERE / MODEL
    if not path.is_file():
        advice = f"give the file of one (--model FILE), or train it: {COMMAND}"
        raise FormatError(path, "file", "the trained model", "nothing of that name", advice)
    return Animator.load(path)


def load_renderer(path: Path | None = None) -> render.Renderer | None:
    """The shipped renderer, or that of a file; None if none is shipped: then frames are splatted."""
    from ..render import load as load_file

    return load_file(path or HERE / RENDERER) if path or (HERE / RENDERER).is_file() else None


def scores(animator: Animator, kinds: Sequence[str], plants: int, samples: int, calls: int) -> dict[str, Any]:
    """What the model, and truth ("floor"), score on held-out plants, see `experiments.score_animator`."""
    from ..experiments import score_animator
    from ..train import scenes

    found = score_animator(animator, scenes(kinds, "held-out", plants), samples, calls)
    return {who: {what: round(value, 4) for what, value in row.items()} for who, row in found.items()}


def make(
    recipe: train.Recipe, painting: render.TrainConfig, folder: Path, out: Path = HERE,
    kinds: Sequence[str] = KINDS, scored: dict[str, dict[str, int]] = SCORED, **drawn: Any,
) -> None:  # fmt: skip
    """Train both from the checkpoints in `folder`, and write files and card to `out`. drawn: for `render.train`."""
    from ...lab.weights import Card
    from .. import render, report, train
    from ..data import SOURCE

    train.make(recipe, folder, kinds).cpu().save(out / MODEL)
    trainer = render.train(painting, checkpoint=folder / "painting.safetensors", **drawn)
    render.save(trainer.model.cpu(), out / RENDERER)
    animator, renderer = load(out / MODEL), render.load(out / RENDERER)
    settings = dict(recipe=asdict(recipe), painting=asdict(painting), drawn=drawn, kinds=[*kinds], scored=scored)
    found: dict[str, Any] = {name: scores(animator, kinds, **how) for name, how in scored.items()}
    Card.of(
        out, FILES, command=COMMAND, settings=settings, data_hash=dict(code=SOURCE, painting=trainer.digest()),
        data=dict(kinds=[*kinds], plants=recipe.plants, winds=recipe.winds, seed=recipe.seed),
        scores=found | dict(painted=report.painted(renderer, kinds)),
        size={n: sum(p.numel() for p in m.parameters()) for n, m in zip(("animator", "renderer"), (animator, renderer))},
    ).write(out)  # fmt: skip


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--verify", action="store_true", help="only check that the files are those of the card")
    parser.add_argument("--folder", type=Path, help="where checkpoints go; go on from those there (default: the cache)")


def run(options: argparse.Namespace) -> int:
    from ...lab import files, weights
    from ..render import TrainConfig
    from ..train import RECIPES

    if options.verify:
        return weights.verify(HERE)
    make(RECIPES["laptop"], TrainConfig(), options.folder or files.cache_dir() / "dynamics" / "weights")
    return 0
