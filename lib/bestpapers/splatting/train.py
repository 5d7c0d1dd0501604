"""Train a cloud of Gaussians on images: a plain loop, resumable, with the constants of the authors' code.

Order inside one iteration (as there): learning rate, degree of colour, render, loss, backward, densify and prune, opacity
reset, 3D filter, Adam step.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ..course.interrupts import interrupts_wait
from ..course.progress import progress
from ..lab.files import atomic_write
from ..lab.images import psnr, ssim
from .cameras import Camera, stack
from .data import Views
from .density import DensityConfig, DensityControl
from .model import Gaussians

LR = dict(means=1.6e-4, log_scales=5e-3, quats=1e-3, opacity_logits=0.05, sh_dc=2.5e-3, sh_rest=1.25e-4)
LR_MEANS_END = 0.01  # the learning rate of the means falls to this share of its start, log-linearly


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one training run; the defaults are the paper's (30,000 iterations, density control on).

    lr_scale multiplies every learning rate: short runs on small images take larger steps. ssim_weight is lambda of the loss
    (1 - lambda) L1 + lambda (1 - SSIM). full_share is the chance that an iteration of multi-scale training draws from the
    full-size images; the smaller sizes share the rest evenly (the paper: 40 % and 20 % each).
    """

    iterations: int = 30_000
    seed: int = 0
    lr_scale: float = 1.0
    ssim_weight: float = 0.2
    full_share: float = 0.4
    filter_every: int = 100  # the 3D filter is recomputed every so many iterations, and not during the last so many
    sh_every: int = 1000  # the active degree of the spherical harmonics rises by one every so many iterations
    density: DensityConfig | None = field(default_factory=DensityConfig)  # None: the number of Gaussians stays
    checkpoint_every: int = 1000
    backend: str = "auto"

    def __post_init__(self) -> None:
        for name in ("iterations", "filter_every", "sh_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"TrainConfig: {name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.ssim_weight <= 1 or not 0 <= self.full_share <= 1 or self.lr_scale <= 0:
            raise ValueError("TrainConfig: ssim_weight and full_share must lie in [0, 1], and lr_scale above 0")


def scene_extent(cameras: Sequence[Camera]) -> float:
    """Size of the scene as the optimiser sees it: 1.1 x the largest distance of a camera from the cameras' mean."""
    eyes = torch.tensor([c.position.tolist() for c in cameras])
    return 1.1 * (eyes - eyes.mean(0)).norm(dim=-1).max().item()


def loss_fn(image: Tensor, truth: Tensor, ssim_weight: float = 0.2) -> Tensor:
    """(1 - w) L1 + w (1 - SSIM) of two images [H, W, 3] (3DGS, Eq. 7)."""
    l1 = (image - truth).abs().mean()
    if ssim_weight == 0:
        return l1
    return (1 - ssim_weight) * l1 + ssim_weight * (1 - ssim(image, truth))


class Trainer:
    """One training run: the model, the images, and everything that a resumed run needs to go on as if never interrupted.

    views: training images by width, as `data.Dataset.train`; the largest is the full size. Images of one entry may differ in
    size (photographs upright and across). checkpoint: a file to write to every `checkpoint_every` iterations, when interrupted,
    and at the end; if it exists, the run goes on from there.
    """

    def __init__(
        self, model: Gaussians, views: dict[int, Views], config: TrainConfig, checkpoint: str | Path | None = None
    ):
        self.model, self.config = model, config
        device = model.means.device
        ordered = [views[width] for width in sorted(views, reverse=True)]
        self.scales = [(v.to(device), [stack([camera], device) for camera in v.cameras]) for v in ordered]
        self.cameras = ordered[0].cameras
        self.extent = scene_extent(self.cameras)
        # one group per parameter, so that density control can replace tensors one by one; fused: one call instead of dozens
        groups = [dict(params=[p], lr=LR[name] * config.lr_scale, name=name) for name, p in model.named_parameters()]
        self.optimizer = torch.optim.Adam(groups, eps=1e-15, fused=True)
        self.generator = torch.Generator().manual_seed(config.seed)
        self.queues: list[list[int]] = [[] for _ in self.scales]  # views still to come in this pass, per size
        self.iteration, self.history = 0, []  # type: int, list[dict[str, float]]
        self.density = None
        if config.density is not None:
            self.density = DensityControl(model, self.optimizer, self.extent, config.density)
        model.sh_active = 0
        model.update_filter(self.cameras)
        self.checkpoint = Path(checkpoint) if checkpoint else None
        self.data = _digest(ordered) if checkpoint else ""
        if self.checkpoint and self.checkpoint.exists():
            self.load(self.checkpoint)

    def run(
        self,
        until: int | None = None,
        desc: str = "train",
        quiet: bool = False,
        after: Callable[[Trainer], None] | None = None,
    ) -> list[dict[str, float]]:
        """Train up to iteration `until` (default: the configured number). Returns the history: iteration, loss, psnr, count,
        seconds, one row every 50 iterations. `after` is called at the end of each iteration, to show a preview for example.

        Ctrl-C lets the iteration end, saves the checkpoint, if there is one, and raises KeyboardInterrupt; the model stays
        usable. A second Ctrl-C stops at once, without saving.
        """
        until = until or self.config.iterations
        start = time.perf_counter() - (self.history[-1]["seconds"] if self.history else 0.0)
        bar = progress(range(self.iteration, until), desc=desc, disable=quiet)
        with interrupts_wait() as interrupted:
            for _ in bar:
                loss, image, truth = self.step()
                if self.iteration % 50 == 0 or self.iteration == until:
                    quality = psnr(image.detach().clamp(0, 1), truth).item()
                    row = dict(iteration=self.iteration, loss=loss.item(), psnr=quality, count=len(self.model))
                    self.history.append(row | dict(seconds=time.perf_counter() - start))
                    bar.set_postfix(loss=f"{row['loss']:.4f}", psnr=f"{quality:.2f} dB", count=len(self.model))
                if after:
                    after(self)
                if interrupted():
                    break
                if self.checkpoint and self.iteration % self.config.checkpoint_every == 0:
                    self.save(self.checkpoint)
            if self.checkpoint:
                self.save(self.checkpoint)
        if interrupted():
            raise KeyboardInterrupt
        return self.history

    def step(self) -> tuple[Tensor, Tensor, Tensor]:
        """One iteration on one view. Returns the loss, the rendered image and its truth."""
        self.iteration += 1
        config, model = self.config, self.model
        decay = LR_MEANS_END ** (self.iteration / config.iterations)
        self.optimizer.param_groups[0]["lr"] = LR["means"] * config.lr_scale * self.extent * decay
        if self.iteration % config.sh_every == 0:
            model.sh_active = min(model.sh_active + 1, model.config.sh_degree)

        scale, view = self._next_view()
        views, cameras = self.scales[scale]
        viewmat, K, width, height = cameras[view]
        out = model.rasterize(viewmat, K, width, height, backend=config.backend, render_mode="RGB")
        image, truth = out.colors[0], views.image(view)
        loss = loss_fn(image, truth, config.ssim_weight)
        if self.density:
            out.meta["means2d"].retain_grad()
        self.optimizer.zero_grad()
        loss.backward()

        if self.density:
            if self.iteration < self.density.config.stop:
                self.density.observe(out.meta, width, height)
            if self.density.due(self.iteration):
                self.density.densify(self.iteration, self.generator)
                model.update_filter(self.cameras)
            if self.density.reset_due(self.iteration, white_background=min(model.config.background) == 1):
                self.density.reset_opacities()
        settled = self.density is None or self.iteration > self.density.config.stop
        if (
            settled
            and self.iteration % config.filter_every == 0
            and self.iteration < config.iterations - config.filter_every
        ):
            model.update_filter(self.cameras)
        self.optimizer.step()
        return loss.detach(), image, truth

    def _next_view(self) -> tuple[int, int]:
        """Draw a size, then a view of it, without replacement within a pass."""
        scale = 0
        if len(self.scales) > 1 and torch.rand((), generator=self.generator) >= self.config.full_share:
            scale = 1 + int(torch.randint(len(self.scales) - 1, (), generator=self.generator))
        queue = self.queues[scale]
        if not queue:
            queue.extend(torch.randperm(len(self.scales[scale][0]), generator=self.generator).tolist())
        return scale, queue.pop()

    def save(self, path: str | Path) -> None:
        """Write the run to one safetensors file (tensors, and a JSON header with everything else), whole or not at all."""
        from safetensors.torch import save_file

        tensors = {name: p.detach() for name, p in self.model.named_parameters()}
        tensors["phi"], tensors["generator"] = self.model.phi, self.generator.get_state()
        for group in self.optimizer.param_groups:
            for key, value in self.optimizer.state.get(group["params"][0], {}).items():
                tensors[f"adam.{group['name']}.{key}"] = value
        if self.density:
            tensors |= {"density.gradient": self.density.gradient, "density.seen": self.density.seen}
        state = dict(
            iteration=self.iteration, history=self.history, queues=self.queues, sh_active=self.model.sh_active,
            model=asdict(self.model.config), train=_settings(self.config), data=self.data,
        )  # fmt: skip
        with atomic_write(Path(path)) as part:
            save_file(
                {k: v.contiguous().cpu() for k, v in tensors.items()}, part, metadata=dict(bestpapers=json.dumps(state))
            )

    def load(self, path: str | Path) -> None:
        """Go on from a file of `save`. Raises ValueError if it was made with other settings or is damaged."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "pt") as file:
                state = json.loads((file.metadata() or {})["bestpapers"])
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118, not a dict
        except (SafetensorError, KeyError, json.JSONDecodeError) as error:
            raise ValueError(
                f"{path} is no checkpoint of this program, or is damaged ({error}); delete it to start anew"
            ) from error
        mine = dict(model=json.loads(json.dumps(asdict(self.model.config))), train=_settings(self.config))
        for part, settings in mine.items():
            for name, value in settings.items():
                if state[part].get(name) != value:
                    was = state[part].get(name)
                    raise ValueError(
                        f"{path} was trained with {name} = {was}, this run has {value}; use another checkpoint file"
                    )
        if state.get("data") != self.data:
            raise ValueError(f"{path} was trained on other images or cameras; use another checkpoint file")
        parameters = {name: tensors[name].to(self.model.means) for name, _ in self.model.named_parameters()}
        for group in self.optimizer.param_groups:
            name = group["name"]
            self.optimizer.state.pop(group["params"][0], None)
            group["params"][0] = torch.nn.Parameter(parameters[name])
            setattr(self.model, name, group["params"][0])
            prefix = f"adam.{name}."
            if moments := {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}:
                self.optimizer.state[group["params"][0]] = {k: v.to(self.model.means) for k, v in moments.items()}
        self.model.phi = tensors["phi"].to(self.model.means)
        self.model.sh_active = state["sh_active"]
        self.generator.set_state(tensors["generator"])
        if self.density:
            self.density.gradient = tensors["density.gradient"].to(self.model.means)
            self.density.seen = tensors["density.seen"].to(self.model.means)
        self.iteration, self.history, self.queues = state["iteration"], state["history"], state["queues"]


def _digest(views: Sequence[Views]) -> str:
    """A fingerprint of the training data: cameras and images."""
    digest = hashlib.sha256()
    for v in views:
        for i, camera in enumerate(v.cameras):
            image = v.images[i].cpu().contiguous()
            digest.update(camera.viewmat.tobytes() + camera.K.tobytes() + repr(tuple(image.shape)).encode())
            digest.update(image.numpy().tobytes())
    return digest.hexdigest()


def _settings(config: TrainConfig) -> dict:
    """What decides the result of a run; how often it is saved does not."""
    return {k: v for k, v in asdict(config).items() if k not in ("checkpoint_every", "backend")}
