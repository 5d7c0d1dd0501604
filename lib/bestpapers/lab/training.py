"""The loop of a training run: progress bar, history, Ctrl-C, checkpoints, several processes. A wing says what a step is.

A trainer is a `Training` with

    self.model, self.optimizer    a module, and whatever steps its parameters
    step()                        one step; it raises `iteration` by one and returns what `row` wants to see of it
    row(result)                   numbers for the history and the progress bar
    digest()                      a fingerprint of the data that it learns from
    tensors(), state(), restore() what else a resumed run needs: random generators, queues, averages (often nothing)

and calls `resume()` at the end of its `__init__`. A resumed run goes on as if never interrupted, if a step follows from the
model, the optimizer's moments, these tensors and this state, and the number of the step alone. Learning rates are not kept:
set them in `step` from `iteration`.
"""

from __future__ import annotations

import functools
import json
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch import distributed as dist

from ..course.interrupts import interrupts_wait
from ..course.presets import device
from ..course.progress import progress
from .files import atomic_write, check_file, show

ROW_EVERY = 50  # steps between two rows of the history
FREE = ("checkpoint_every", "backend")  # settings that do not decide the result of a run


class Training(ABC):
    """One training run, and everything that a resumed run needs.

    model       the module that learns; parameters and persistent buffers are part of a checkpoint
    config      a dataclass of settings; it may hold `checkpoint_every`, a number of steps
    steps       of the whole run
    checkpoint  a file to write to every `checkpoint_every` steps, when interrupted, and at the end; if it exists, `resume`
                goes on from there
    group       processes that share each batch, such as torch.distributed.group.WORLD; every one makes the same trainer.
                The first one writes files and shows progress; all of them stop after the same step
    """

    DATA = "data"  # what a run learns from, in the words of a refusal

    optimizer: torch.optim.Optimizer

    def __init__(
        self, model: nn.Module, config: Any, steps: int, checkpoint: str | Path | None = None, group: Any = None
    ) -> None:
        self.model, self.config, self.steps, self.group = model, config, steps, group
        self.rank, self.ranks = (0, 1) if group is None else (dist.get_rank(group), dist.get_world_size(group))
        self.checkpoint = Path(checkpoint) if checkpoint else None
        self.iteration = 0  # steps done
        self.seconds = 0.0  # that they took
        self.history: list[dict[str, float]] = []

    # --------------------------------------------------------------------------------------------------- a wing says

    @abstractmethod
    def step(self) -> Any:
        """One step."""

    @abstractmethod
    def digest(self) -> str:
        """A fingerprint of the data."""

    def row(self, result: Any) -> dict[str, float]:
        """What the history keeps of a step, given what `step` returned."""
        return {}

    def tensors(self) -> dict[str, Tensor]:
        """Tensors that a resumed run needs beside the model and the optimizer's moments."""
        return {}

    def state(self) -> dict[str, Any]:
        """The same of what JSON can hold."""
        return {}

    def restore(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:  # noqa: B027, often there is nothing
        """Take back what `tensors` and `state` gave. The model and the moments are there already."""

    def settings(self) -> dict[str, Any]:
        """What decides the result of a run. A checkpoint of other settings is refused."""
        return {name: value for name, value in asdict(self.config).items() if name not in FREE}

    def adopt(self, tensors: dict[str, Tensor]) -> None:
        """Take the model's tensors from a checkpoint. Raises ValueError if they are not those of this model."""
        own = _tensors(self.model)
        if {k: t.shape for k, t in own.items()} != {k: t.shape for k, t in tensors.items()}:
            raise ValueError("another model")
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(tensors[name])

    # ------------------------------------------------------------------------------------------------------ the loop

    def run(
        self,
        until: int | None = None,
        desc: str = "train",
        quiet: bool = False,
        after: Callable[[Self], object] | None = None,
    ) -> Any:
        """Train up to step `until` (default: the configured number). Returns the history: a dict every 50 steps and at the
        end, with iteration, seconds, and what else the trainer tells. `after` is called at the end of each step, to show a
        preview for example.

        Ctrl-C lets the step end, saves the checkpoint, if there is one, and raises KeyboardInterrupt; the model stays
        usable. A second Ctrl-C stops at once, without saving.
        """
        until = self.steps if until is None else until
        every = getattr(self.config, "checkpoint_every", None)
        bar = progress(range(self.iteration, until), desc=desc, disable=quiet or self.rank > 0)
        stop = False
        with interrupts_wait() as interrupted:
            for _ in bar:
                started = time.perf_counter()
                result = self.step()
                row = None
                if self.iteration % ROW_EVERY == 0 or self.iteration == until:
                    row = self.row(result)  # reads numbers, so it waits for a GPU: the clock goes on until then
                self.seconds += time.perf_counter() - started
                if row is not None:
                    self.history.append(dict(iteration=self.iteration, **row, seconds=self.seconds))
                    bar.set_postfix({name: f"{value:.4g}" for name, value in row.items()})
                if after:
                    after(self)
                stop = self.anywhere(interrupted())
                if stop:
                    break
                if self.checkpoint and every and self.iteration % every == 0:
                    self.save(self.checkpoint)
            if self.checkpoint:
                self.save(self.checkpoint)
        if stop:
            raise KeyboardInterrupt
        return self.history

    # ------------------------------------------------------------------------------------------------------ processes

    def average(self, loss: Tensor) -> Tensor:
        """Mean of the gradients, in place, and of a loss [] over the processes, in one message."""
        if self.group is None:
            return loss
        grads = [p.grad for p in self.model.parameters() if p.grad is not None]
        flat = torch.cat([loss.reshape(1), *(g.flatten() for g in grads)])
        dist.all_reduce(flat, group=self.group)
        flat /= self.ranks
        for grad, mean in zip(grads, flat[1:].split([g.numel() for g in grads])):
            grad.copy_(mean.view_as(grad))
        return flat[0]

    def anywhere(self, flag: bool) -> bool:
        """Whether it is true on any process."""
        return self._most(int(flag)) > 0

    def _most(self, value: int) -> int:
        """The largest value of all processes."""
        if self.group is None:
            return value
        most = torch.tensor(value, device=next(self.model.parameters()).device)
        dist.all_reduce(most, dist.ReduceOp.MAX, self.group)
        return int(most)

    # ----------------------------------------------------------------------------------------------------- checkpoint

    @functools.cached_property
    def data(self) -> str:
        """The digest, made when a checkpoint first asks for it."""
        return self.digest()

    def resume(self) -> None:
        """Go on from the checkpoint, if there is one."""
        if self.checkpoint and self.checkpoint.exists():
            self.load(self.checkpoint)
        least, most = -self._most(-self.iteration), self._most(self.iteration)
        if least != most:
            raise ValueError(
                f"{self.checkpoint} is not the same for all processes: one starts at step {least}, another at {most}; put it "
                "on a disk that all of them see"
            )

    def save(self, path: str | Path) -> None:
        """Write the run to one safetensors file (tensors, and a JSON header with everything else), whole or not at all.
        Of several processes the first one does."""
        from safetensors.torch import save_file

        if self.rank > 0:
            return
        parts = dict(
            model=_tensors(self.model),
            optimizer=moments(self.optimizer, dict(self.model.named_parameters())),
            more=self.tensors(),
        )
        tensors = {
            f"{part}.{name}": tensor.detach().cpu().contiguous()
            for part, named in parts.items()
            for name, tensor in named.items()
        }
        header = dict(
            settings=self.settings(), data=self.data, iteration=self.iteration, seconds=self.seconds,
            history=self.history, state=self.state(), tensors=len(tensors),
        )  # fmt: skip
        with atomic_write(Path(path)) as part:
            save_file(tensors, part, metadata=dict(bestpapers=json.dumps(header)))

    def load(self, path: str | Path) -> None:
        """Go on from a file of `save`. Raises ValueError if it was made with other settings or data, or is damaged."""
        from safetensors import SafetensorError, safe_open

        check_file(Path(path))
        try:
            with safe_open(path, "pt") as file:
                header = json.loads((file.metadata() or {})["bestpapers"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not a dict
            was, data, state = header["settings"], header["data"], header["state"]
            iteration, seconds, history = header["iteration"], header["seconds"], header["history"]
            kinds = (dict, str, dict, int, float, list)
            for value, kind in zip((was, data, state, iteration, seconds, history), kinds):
                if type(value) is not kind:
                    raise TypeError(f"its header holds {show(value)} in place of a {kind.__name__}")
            if iteration < 0:
                raise ValueError(f"it stands at step {iteration}")
            parts: dict[str, dict[str, Tensor]] = dict(model={}, optimizer={}, more={})
            for name, tensor in tensors.items():
                part, _, name = name.partition(".")
                parts[part][name] = tensor
            if len(tensors) != header["tensors"]:
                raise ValueError(f"it holds {len(tensors)} tensors of {header['tensors']}")
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} is no checkpoint of this program, or is damaged ({error}); delete it to start anew"
            ) from error
        if iteration > self.steps:
            asked = f"{was['steps']}" if "steps" in was else f"at least {iteration}"
            raise ValueError(
                f"{path} stands at step {iteration} of a longer run, and this one was asked for {self.steps} steps; ask for "
                f"{asked}, or delete it to start anew"
            )
        other = "use another checkpoint file, or delete it to start anew"
        for name, value in json.loads(json.dumps(self.settings())).items():
            if was.get(name) != value:
                raise ValueError(
                    f"{path} was trained with {name} = {show(was.get(name))}, this run has {value}; {other}"
                )
        if data != self.data:
            raise ValueError(f"{path} was trained on other {self.DATA}; {other}")
        try:
            self.adopt(parts["model"])
        except ValueError as error:
            raise ValueError(f"{path} was trained with {error}; {other}") from error
        set_moments(self.optimizer, dict(self.model.named_parameters()), parts["optimizer"])
        self.restore(parts["more"], state)
        self.iteration, self.seconds, self.history = iteration, seconds, history


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers by name; what goes by several names, by the first."""
    kept = model.state_dict().keys()
    return {name: t.detach() for name, t in (*model.named_parameters(), *model.named_buffers()) if name in kept}


def moments(optimizer: torch.optim.Optimizer, named: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """What an optimizer remembers of parameters: {"<parameter>.<key>": tensor}, such as "means.exp_avg" of Adam."""
    return {
        f"{name}.{key}": value
        for name, parameter in named.items()
        for key, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }


def set_moments(
    optimizer: torch.optim.Optimizer, named: Mapping[str, nn.Parameter], tensors: Mapping[str, Tensor]
) -> None:
    """Give an optimizer back what `moments` took from it."""
    found: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        name, _, what = key.rpartition(".")
        found.setdefault(name, {})[what] = tensor
    for group in optimizer.param_groups:
        here = group.get("fused") or group.get("capturable")  # else Adam counts its steps on the CPU
        for name, parameter in named.items():
            if any(parameter is p for p in group["params"]):
                optimizer.state.pop(parameter, None)
                if name in found:
                    optimizer.state[parameter] = {
                        what: t.clone() if what == "step" and not here else t.to(parameter.device, copy=True)
                        for what, t in found[name].items()
                    }


@contextmanager
def processes() -> Iterator[Any]:
    """The group of the processes that torchrun started, or None if it did not."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield None
        return
    if dist.is_initialized():  # by the caller: theirs to end
        yield dist.group.WORLD
        return
    cuda = device().type == "cuda"
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if cuda else "gloo")
    try:
        yield dist.group.WORLD
    finally:
        dist.destroy_process_group()
