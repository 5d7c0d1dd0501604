"""One of several processes that train together; `test_train.py` starts them with torchrun.

    torchrun --standalone --nproc_per_node 2 train_ranks.py FOLDER

Each trains every arm of ARMS for a few steps and writes its losses, and a hash of its weights, to FOLDER/<rank>.json.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import torch

from bestpapers.bioclip.data import World
from bestpapers.bioclip.model import Config, build
from bestpapers.bioclip.taxa import taxa
from bestpapers.bioclip.train import TrainConfig, Trainer, distinct, photos, processes

ARMS = ("taxon", "mixed", "sample", "hce")
STEPS = 12


def clip_and_photos(arm="taxon", n=10, size=16, seed=0, **faults):
    """(model, tokenizer, photos) of a small run: four photographs of each of n species from all over the tree."""
    config = Config(image_size=size, patch_size=8, image_width=32, text_width=32, head_width=16, embed_dim=16)
    data = photos(taxa()[:: 128 // n][:n], 4, World(**faults), size)
    labels = distinct(data.labels)
    return *build(arm, config, labels, labels, seed), data


def train(group, folder: Path) -> dict:
    found = {}
    for arm in ARMS:
        model, tokenizer, photos = clip_and_photos("mixed" if arm == "sample" else arm, missing_ranks=0.3)
        config = TrainConfig(
            text="taxon" if arm == "taxon" else "mixed",
            mixing="sample" if arm == "sample" else "batch",
            steps=STEPS, warmup=3, backend="reference", checkpoint_every=5,
        )  # fmt: skip
        trainer = Trainer(model, photos, config, tokenizer, folder / f"{arm}.safetensors" if group else None, group)
        losses = trainer.run(quiet=True)
        weights = b"".join(p.detach().numpy().tobytes() for p in model.parameters())
        found[arm] = dict(losses=losses, weights=hashlib.sha256(weights).hexdigest())
    return found


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    with processes() as group:
        found = train(group, folder)
        rank = torch.distributed.get_rank(group)
        try:
            Trainer(*clip_and_photos("hce")[::2], TrainConfig(batch=7), group=group)
            refusal = "nothing was refused"
        except ValueError as error:
            refusal = str(error)
        found |= dict(refusal=refusal)
        (folder / f"{rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
