"""One of two processes that train together; `test_train.py` starts them with torchrun.

    torchrun --standalone --nproc_per_node 2 train_ranks.py FOLDER

Each trains a denoiser for a few steps and writes its losses, and a hash of its weights, to FOLDER/<rank>.json.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import torch
from torch import nn

from bestpapers.dynamics.model import Config, Denoiser, Eye
from bestpapers.dynamics.train import DenoiserTraining, Latents, TrainConfig, processes


def train(group) -> dict:
    config = Config(48, 64, slices=4, down=8, base=16, heads=2)
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randint(0, 256, (3, 3, 48, 64), generator=generator, dtype=torch.uint8)
    latents = Latents(pictures, torch.randn(3, 2, 4, 4, *config.latent, generator=generator).half())
    torch.manual_seed(0)
    model = nn.ModuleDict(dict(eye=Eye(config), net=Denoiser(config)))
    trainer = DenoiserTraining(model, latents, TrainConfig(steps=6, batch=4, slices=2, warmup=0), None, group)
    trainer.run(quiet=True)
    weights = b"".join(p.detach().numpy().tobytes() for p in model.parameters())
    return dict(losses=trainer.losses, weights=hashlib.sha256(weights).hexdigest())


def main() -> None:
    torch.set_num_threads(1)
    with processes() as group:
        found = train(group)
        Path(sys.argv[1], f"{torch.distributed.get_rank(group)}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
