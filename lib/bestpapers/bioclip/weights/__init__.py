"""The wing's small trained model, and how it was made.

    python -m bestpapers.bioclip.weights            # trains it again, about four minutes on one core

The mixture of text types on the 92 seen species of split 0, over CLIP's whole vocabulary, in half precision. The folder is
laid out as open_clip, pybioclip and `formats.load` read it. Beside the two files lies card.json: settings, hashes of the
photographs, and the scores that a test measures again.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from ..evaluate import Exam, Setting

HERE = Path(__file__).parent
ARM, SEED = "mixed", 0
DATA = dict(per_species=100)
MODEL = dict(image_size=64, patch_size=8)
TRAINING = dict(steps=1200)


def load(resize: str = "hub") -> tuple[nn.Module, Callable[[Any], Tensor], Callable[[Any], Tensor]]:
    """(model, preprocess, tokenizer), as `formats.load` gives them."""
    from ..formats import load as load_model

    return load_model(f"local-dir:{HERE}", resize)


def setting() -> Setting:
    """What it was trained on and how; `evaluate.material(setting(), SEED)` paints it."""
    from ..evaluate import Setting
    from ..model import Config
    from ..train import TrainConfig

    return Setting("weights", model=Config(**MODEL), train=TrainConfig(**TRAINING), **DATA)  # type: ignore[arg-type]


def exam() -> Exam:
    """The test: photographs of all 128 species that training did not see, and which species it saw."""
    from ..evaluate import exam

    return exam(setting(), SEED)


def data_hash(images: Tensor) -> str:
    """Hash of photographs: tells whether two machines paint alike."""
    return hashlib.sha256(images.contiguous().numpy().data).hexdigest()[:16]


def train() -> None:
    """Train it, and write the files and the card."""
    from ...lab.files import write_file
    from ..evaluate import material, score, train_arm
    from ..formats import save_local
    from ..model import expand

    data = material(setting(), SEED)
    run = train_arm(ARM, SEED, setting(), data)
    assert run.tokenizer is not None
    save_local(expand(run.model, run.tokenizer).half(), HERE, run.model.config.open_clip())
    model, _, tokenizer = load()
    scores = score(model, tokenizer, data.exam, ARM)
    card = dict(
        command="python -m bestpapers.bioclip.weights",
        arm=ARM,
        seed=SEED,
        data=DATA,
        model=MODEL,
        training=TRAINING,
        data_hash=dict(training=data_hash(data.photos.images), test=data_hash(data.exam.images)),
        parameters=sum(p.numel() for p in model.parameters()),
        loss=round(sum(run.losses[-50:]) / 50, 3),
        scores={name: round(value, 3) for name, value in scores.items()},
    )
    write_file(HERE / "card.json", (json.dumps(card, indent=1) + "\n").encode())
