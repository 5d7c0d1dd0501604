"""The wing's small trained model, and how it was made.

    python -m bestpapers.bioclip weights            # trains it again, about four minutes on one core
    python -m bestpapers.bioclip weights --verify   # are the files those of the card?

The mixture of text types on the 92 seen species of split 0, over CLIP's whole vocabulary, in half precision. The folder is
laid out as open_clip, pybioclip and `formats.load` read it. Beside the files lies card.json, see `lab.weights`: a test
measures its scores again.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...lab.weights import arguments

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from torch import Tensor, nn

    from ..evaluate import TestSet
    from ..experiments import Setting

__all__ = ["arguments", "load", "run", "setting", "test_set", "train"]

HERE = Path(__file__).parent
FILES = ("open_clip_config.json", "open_clip_model.safetensors")
ARM, SEED = "mixed", 0
DATA = dict(per_species=100)
MODEL = dict(image_size=64, patch_size=8)
TRAINING = dict(steps=1200)


def load(resize: str = "hub") -> tuple[nn.Module, Callable[[Any], Tensor], Callable[[Any], Tensor]]:
    """(model, preprocess, tokenizer), as `formats.load` gives them."""
    from ..formats import load as load_model

    return load_model(f"local-dir:{HERE}", resize)


def setting() -> Setting:
    """What it was trained on and how; `experiments.material(setting(), SEED)` paints it."""
    from ..experiments import Setting
    from ..model import Config
    from ..train import TrainConfig

    return Setting("weights", model=Config(**MODEL), train=TrainConfig(**TRAINING), **DATA)  # type: ignore[arg-type]


def test_set() -> TestSet:
    """The test: photographs of all 128 species that training did not see, and which species it saw."""
    from ..experiments import test_set

    return test_set(setting(), SEED)


def train() -> None:
    """Train it, and write the files and the card."""
    from ...lab.runs import fingerprint
    from ...lab.weights import Card
    from ..evaluate import score
    from ..experiments import material, train_arm
    from ..formats import save_local
    from ..model import expand

    data = material(setting(), SEED)
    run = train_arm(ARM, SEED, setting(), data)
    assert run.tokenizer is not None
    save_local(expand(run.model.cpu(), run.tokenizer).half(), HERE, run.model.config.open_clip())
    model, _, tokenizer = load()
    scores = score(model, tokenizer, data.test, ARM)
    Card.of(
        HERE,
        FILES,
        command="python -m bestpapers.bioclip weights",
        data=DATA,
        data_hash=dict(training=fingerprint(data.photos.images), test=fingerprint(data.test.images)),
        settings=dict(arm=ARM, seed=SEED, model=MODEL, training=TRAINING),
        scores={name: round(value, 3) for name, value in scores.items()},
        size=dict(parameters=sum(p.numel() for p in model.parameters())),
    ).write(HERE)


def run(options: argparse.Namespace) -> int:
    from ...lab.weights import verify

    if options.verify:
        return verify(HERE)
    train()
    return 0
