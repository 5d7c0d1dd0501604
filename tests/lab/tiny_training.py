"""A training run small enough to check by eye, and one of several processes that share it.

torchrun --standalone --nproc_per_node 2 tiny_training.py FOLDER
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from bestpapers.lab.runs import fingerprint, side_by_side
from bestpapers.lab.training import Training, processes


@dataclass(frozen=True)
class Config:
    steps: int = 30
    seed: int = 0
    lr: float = 0.05
    optimizer: str = "adam"
    checkpoint_every: int = 1000
    backend: str = "auto"


class Net(nn.Module):
    """Batch norm has buffers; the two linear maps are one and the same parameter; one buffer is not kept."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.second = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.register_buffer("ones", torch.ones(3), persistent=False)

    def forward(self, x):
        return self.second(self.norm(self.first(x)).tanh())


OPTIMIZERS = dict(
    adam=lambda p, lr: torch.optim.Adam(p, lr),
    fused=lambda p, lr: torch.optim.AdamW(p, lr, fused=True),
    sgd=lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9),
)


class Run(Training):
    """Learns to turn points around. Batches come from a generator, whose state a resumed run needs."""

    DATA = "points"

    def __init__(self, config=Config(), checkpoint=None, group=None, shift=0.0, model=None):
        torch.manual_seed(config.seed)
        super().__init__(model or Net(), config, config.steps, checkpoint, group)
        self.points = torch.linspace(-1, 1, 64).view(16, 4) + shift
        self.optimizer = OPTIMIZERS[config.optimizer](self.model.parameters(), config.lr)
        self.generator = torch.Generator().manual_seed(config.seed)
        self.losses, self.inside = [], None  # inside: called in the middle of a step
        self.resume()

    def step(self):
        which = torch.randperm(16, generator=self.generator)[:8].chunk(self.ranks)[self.rank]
        batch = self.points[which]
        loss = F.mse_loss(self.model(batch), batch.flip(1))
        if self.inside:
            self.inside()
        self.optimizer.zero_grad()
        loss.backward()
        self.losses.append(self.average(loss.detach()).item())
        self.optimizer.step()
        self.iteration += 1
        return self.losses[-1]

    def row(self, result):
        return dict(loss=result)

    def digest(self):
        return fingerprint(self.points)

    def tensors(self):
        return dict(generator=self.generator.get_state())

    def state(self):
        return dict(losses=self.losses)

    def restore(self, tensors, state):
        self.generator.set_state(tensors["generator"])
        self.losses = state["losses"]


def weights(run):
    return {name: tensor.clone() for name, tensor in run.model.state_dict().items()}


def job(number, wrong):
    """Which process did it, and what came out; job `wrong` fails."""
    if number == wrong:
        raise KeyError("three")
    return number**2, int(os.environ["RANK"])


def main():
    folder = Path(sys.argv[1])
    with processes() as group:
        run = Run(Config(steps=8, checkpoint_every=3), folder / "run.safetensors", group)
        found = dict(losses=run.run(until=6, quiet=True) and run.losses)
        found["weights"] = fingerprint(*run.model.parameters())  # not the averages of batch norm, each of its own share
        torch.distributed.barrier()

        again = Run(Config(steps=8), folder / "run.safetensors", group)
        found["resumed"] = again.iteration

        def after(run):  # only one of them is interrupted
            if run.rank == 1 and run.iteration == 5:
                os.kill(os.getpid(), signal.SIGINT)

        stopped = Run(Config(), group=group)
        try:
            stopped.run(quiet=True, after=after)
        except KeyboardInterrupt:
            found["stopped"] = stopped.iteration
        try:
            Run(Config(steps=8), folder / f"run{'' if run.rank else '-of-nobody'}.safetensors", group)
        except ValueError as error:
            found["refusal"] = str(error)
        found["dealt"] = list(side_by_side(job, [(n, None) for n in range(5)]))
        found["dealt again"] = [number for number, _ in side_by_side(job, [(n, None) for n in range(2)])]
        try:
            list(side_by_side(job, [(n, 3) for n in range(5)]))
        except KeyError as error:
            found["error"] = error.args
        (folder / f"{run.rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
