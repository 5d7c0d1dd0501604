"""A training run that keeps an average of its weights: a loss, Adam, warm-up and a cosine, random numbers by the step.

A trainer is an `AveragingTraining` with `loss(generator)` and `digest()`, and calls `resume()` at the end of its `__init__`.
What a step draws follows from the seed and the number of the step alone, so a resumed run goes on as if never interrupted,
all processes agree without talking, and arms that are compared see the same data and noise in the same order. A
`RowsTraining` has a digest too, and draws its batches.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .runs import fingerprint
from .training import ROW_EVERY, Training

STRIDE = 1_000_003  # between the streams of random numbers of two seeds; runs are shorter


@dataclass(frozen=True)
class AveragingConfig:
    """Settings of one run.

    batch      per step, of all processes together
    warmup     steps in which the rate rises to `lr`; then it falls to 0
    precision  "bfloat16" or "float32" of convolutions and products: on processors with units for bfloat16 half the time
    average    of the weights, which is what comes out: how much of it stays from step to step
    """

    steps: int = 1000
    batch: int = 16
    seed: int = 0
    lr: float = 1e-3
    warmup: int = 100
    precision: str = "float32"
    average: float = 0.999
    checkpoint_every: int = 100

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"TrainConfig: {name} must be at least 1, got {getattr(self, name)}")
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(f"TrainConfig: precision must be one of float32, bfloat16, got {self.precision!r}")
        if self.lr <= 0 or self.warmup < 0 or not 0 <= self.average < 1:
            raise ValueError("TrainConfig: lr must be above 0, warmup at least 0, average 0 to below 1")

    def autocast(self, device: torch.device) -> torch.autocast:
        """Within it, convolutions and products have the precision."""
        return torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bfloat16")

    def rate(self, number: int) -> float:
        """The learning rate of step `number` (from 0 on): linear warm-up, then a cosine down to 0."""
        if number < self.warmup:
            return self.lr * (number + 1) / self.warmup
        return self.lr * 0.5 * (1 + math.cos(math.pi * (number - self.warmup) / max(1, self.steps - self.warmup)))


class AveragingTraining(Training):
    """A run that also keeps an average of what learns; `losses` are those of all steps. config: an `AveragingConfig`."""

    def __init__(self, model: nn.Module, config: Any, checkpoint: str | Path | None = None, group: Any = None) -> None:
        super().__init__(model, config, config.steps, checkpoint, group)
        if config.batch % self.ranks:
            raise ValueError(f"Training: a batch of {config.batch} cannot be shared evenly by {self.ranks} processes")
        self.device = next(model.parameters()).device
        self.learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.optimizer = torch.optim.Adam(self.learning.values(), lr=config.lr, fused=True)
        self.smooth = {name: p.detach().clone() for name, p in self.learning.items()}
        self.losses: list[float] = []

    def loss(self, generator: torch.Generator) -> Tensor:
        """The loss of this process's part of the batch; `generator` draws the same in all of them."""
        raise NotImplementedError

    def own(self, whole: Tensor) -> Tensor:
        """This process's part of what was drawn for a batch."""
        return whole.chunk(self.ranks)[self.rank].to(self.device)

    def step(self) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.rate(self.iteration)
        generator = torch.Generator().manual_seed(self.config.seed * STRIDE + self.iteration)
        with self.config.autocast(self.device):
            loss = self.loss(generator)
        self.optimizer.zero_grad()
        loss.backward()
        self.losses.append(float(self.average(loss.detach())))
        nn.utils.clip_grad_norm_(self.learning.values(), 1.0)
        self.optimizer.step()
        keep = min(self.config.average, (1 + self.iteration) / (10 + self.iteration))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.smooth.values()), list(self.learning.values()), 1 - keep)
        self.iteration += 1
        return self.losses[-1]

    @property
    def averaged(self) -> Any:
        """A copy of the model with averaged weights."""
        found = copy.deepcopy(self.model)
        found.load_state_dict(found.state_dict() | self.smooth)
        return found.eval()

    def row(self, result: float) -> dict[str, float]:
        last = self.losses[-ROW_EVERY:]
        return dict(loss=sum(last) / len(last))

    def tensors(self) -> dict[str, Tensor]:
        return self.smooth

    def state(self) -> dict[str, Any]:
        return dict(losses=self.losses)

    def restore(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        for name, tensor in self.smooth.items():
            tensor.copy_(tensors[name])
        self.losses = state["losses"]


class RowsTraining(AveragingTraining):
    """A run that draws a batch of rows by their numbers, of tensors that have as many.

    rows  [N, ...] each, kept where they are; what is drawn goes to the model's device
    run   checkpoint, group
    """

    def __init__(self, model: nn.Module, config: Any, rows: Sequence[Tensor], *run: Any) -> None:
        super().__init__(model.train(), config, *run)
        self.rows = rows
        self.resume()

    def digest(self) -> str:
        return fingerprint(*self.rows)

    def drawn(self, generator: torch.Generator) -> list[Tensor]:
        """This process's part of the next batch, of each of the tensors."""
        some = torch.randint(len(self.rows[0]), (self.config.batch,), generator=generator)
        some = self.own(some).cpu()
        return [rows[some].to(self.device) for rows in self.rows]
