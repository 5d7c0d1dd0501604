"""Train a cloud of Gaussians on images: one step, with the constants of the authors' code. The loop is `lab.training`'s.

Order inside one iteration (as there): learning rate, degree of colour, render, loss, backward, densify and prune, opacity
reset, 3D filter, Adam step.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..lab.images import psnr, ssim
from ..lab.training import Training
from .cameras import Camera
from .coordinates import counted_from
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


class Trainer(Training):
    """One training run: the model, the images, and everything that a resumed run needs to go on as if never interrupted.

    views: training images by width, as `data.Dataset.train`; the largest is the full size. Images of one entry may differ in
    size (photographs upright and across). checkpoint: a file to write to every `checkpoint_every` iterations, when interrupted,
    and at the end; if it exists, the run goes on from there. A row of the history has iteration, loss, psnr, count, seconds.
    """

    DATA = "images or cameras"
    model: Gaussians
    config: TrainConfig

    def __init__(
        self, model: Gaussians, views: dict[int, Views], config: TrainConfig, checkpoint: str | Path | None = None
    ):
        super().__init__(model, config, config.iterations, checkpoint)
        device = model.means.device
        ordered = [views[width] for width in sorted(views, reverse=True)]
        self.scales = [(v.to(device), [model.stack([camera]) for camera in v.cameras]) for v in ordered]
        self.cameras = ordered[0].cameras
        self.extent = scene_extent(counted_from(self.cameras, model.config.origin))
        # one group per parameter, so that density control can replace tensors one by one; fused: one call instead of dozens
        groups = [dict(params=[p], lr=LR[name] * config.lr_scale, name=name) for name, p in model.named_parameters()]
        self.optimizer = torch.optim.Adam(groups, eps=1e-15, fused=True)
        self.generator = torch.Generator().manual_seed(config.seed)
        self.queues: list[list[int]] = [[] for _ in self.scales]  # views still to come in this pass, per size
        self.view = -1  # which view the last step drew, counted from 0
        self.density = None
        if config.density is not None:
            self.density = DensityControl(model, self.optimizer, self.extent, config.density)
        model.sh_active = 0
        model.update_filter(self.cameras)
        self.resume()

    def step(self) -> tuple[Tensor, Tensor, Tensor]:
        """One iteration on one view. Returns the loss, the rendered image and its truth."""
        self.iteration += 1
        config, model = self.config, self.model
        decay = LR_MEANS_END ** (self.iteration / config.iterations)
        self.optimizer.param_groups[0]["lr"] = LR["means"] * config.lr_scale * self.extent * decay
        if self.iteration % config.sh_every == 0:
            model.sh_active = min(model.sh_active + 1, model.config.sh_degree)

        scale, view = self._next_view()
        self.view = view
        views, cameras = self.scales[scale]
        viewmat, K, width, height = cameras[view]
        out = model.rasterize(viewmat, K, width, height, backend=config.backend, render_mode="RGB")
        image, truth, mask = out.colors[0], views.image(view), views.mask(view)
        if (
            mask is not None
        ):  # both black where it is False: nothing is learned there, nor from it by the window of SSIM
            image, truth = image * mask[..., None], truth * mask[..., None]
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

    def row(self, result: tuple[Tensor, Tensor, Tensor]) -> dict[str, float]:
        loss, image, truth = result
        quality = psnr(image.detach().clamp(0, 1), truth).item()
        return dict(loss=loss.item(), psnr=quality, count=len(self.model))

    def settings(self) -> dict[str, Any]:
        return super().settings() | asdict(self.model.config)

    def digest(self) -> str:
        digest = hashlib.sha256()
        for views, _ in self.scales:
            for i, camera in enumerate(views.cameras):
                image = views.images[i].cpu().contiguous()
                digest.update(camera.viewmat.tobytes() + camera.K.tobytes() + repr(tuple(image.shape)).encode())
                digest.update(image.numpy().tobytes())
                mask = views.mask(i)
                digest.update(b"" if mask is None else mask.cpu().numpy().tobytes())
        return digest.hexdigest()

    def tensors(self) -> dict[str, Tensor]:
        tensors = dict(generator=self.generator.get_state())
        if self.density:
            tensors |= dict(gradient=self.density.gradient, seen=self.density.seen)
        return tensors

    def state(self) -> dict[str, Any]:
        return dict(
            queues=self.queues, sh_active=self.model.sh_active, spared=self.density.spared if self.density else 0
        )

    def adopt(self, tensors: dict[str, Tensor]) -> None:
        """As many Gaussians as there are in the file: density control has made some and removed some."""
        for group in self.optimizer.param_groups:
            name = group["name"]
            self.optimizer.state.pop(group["params"][0], None)
            group["params"][0] = torch.nn.Parameter(tensors[name].to(self.model.means))
            setattr(self.model, name, group["params"][0])
        self.model.phi = tensors["phi"].to(self.model.means)

    def restore(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        self.generator.set_state(tensors["generator"])
        self.queues, self.model.sh_active = state["queues"], state["sh_active"]
        if self.density:
            self.density.gradient = tensors["gradient"].to(self.model.means)
            self.density.seen = tensors["seen"].to(self.model.means)
            self.density.spared = state["spared"]
