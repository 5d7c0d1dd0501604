"""Adaptive density control: where to add Gaussians, where to take some away, while training runs.

As in 3D Gaussian Splatting (Kerbl et al. 2023, section 5.2) with the constants of its code, which Mip-Splatting keeps. The
authors' program later gained a second criterion from another paper (GOF) that makes more points; the paper's numbers were
made without it, and so are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .model import Gaussians


@dataclass(frozen=True)
class DensityConfig:
    """When and where to densify. Iterations count from 1; sizes are shares of the scene's extent."""

    start: int = 500  # first densification comes after this iteration
    stop: int = 15_000
    every: int = 100
    gradient: float = 2e-4  # mean |dL/d(position on screen)|, screen units of half the image's width and height
    split_size: float = 0.01  # a Gaussian larger than this is split, a smaller one is cloned
    prune_opacity: float = 0.005
    prune_size: float = 0.1  # larger ones are removed once opacities have been reset
    reset_every: int = 3000
    reset_opacity: float = 0.01
    max_gaussians: int | None = None  # None: as many as the criterion wants
    least: float = 0.1  # share of the first Gaussians; pruning that would leave fewer is not done


class DensityControl:
    """Gathers the screen-space gradients of a model and acts on them. Call `observe` after each backward pass."""

    def __init__(self, model: Gaussians, optimizer: torch.optim.Adam, extent: float, config: DensityConfig):
        self.model, self.optimizer, self.extent, self.config = model, optimizer, extent, config
        self.floor = config.least * len(model)
        self.spared = 0  # how often pruning would have left fewer, and was not done
        self.clear()

    def clear(self) -> None:
        """Forget what was gathered."""
        self.gradient = torch.zeros_like(self.model.opacity_logits.detach())
        self.seen = torch.zeros_like(self.gradient)

    @torch.no_grad()
    def observe(self, meta: dict, width: int, height: int) -> None:
        """Add the views just rendered; `meta` is that of the rendering, whose means2d has kept its gradient."""
        grad = meta["means2d"].grad * meta["means2d"].new_tensor([width / 2, height / 2])  # [C, N, 2]
        visible = (meta["radii"] > 0).all(-1)  # [C, N]
        self.gradient += (grad.norm(dim=-1) * visible).sum(0)
        self.seen += visible.sum(0)

    def due(self, iteration: int) -> bool:
        """Whether `densify` is to run after this iteration."""
        c = self.config
        return c.start < iteration < c.stop and iteration % c.every == 0

    def reset_due(self, iteration: int, white_background: bool = False) -> bool:
        """Whether `reset_opacities` is to run after this iteration."""
        c = self.config
        return iteration < c.stop and (iteration % c.reset_every == 0 or (white_background and iteration == c.start))

    @torch.no_grad()
    def densify(self, iteration: int, generator: torch.Generator) -> dict[str, int]:
        """Clone and split where the picture still pulls, remove what is faint or huge; returns how many of each.

        Where the cameras stand close together, the extent is small and everything is huge: then nothing is removed (ours; the
        authors' program goes on with no Gaussian).
        """
        c, model = self.config, self.model
        pull = self.gradient / self.seen.clamp(min=1)
        size = model.log_scales.exp().amax(-1)  # unfiltered, as in the code
        high = pull >= c.gradient
        if c.max_gaussians is not None and (room := max(0, c.max_gaussians - len(model))) < int(high.sum()):
            best = torch.argsort(pull, descending=True)[:room]
            high = torch.zeros_like(high).index_fill(0, best, True) & high
        clone, split = high & (size <= c.split_size * self.extent), high & (size > c.split_size * self.extent)

        copies = {name: p[clone] for name, p in model.named_parameters()}
        halves = {name: p[split].repeat(2, *[1] * (p.dim() - 1)) for name, p in model.named_parameters()}
        if len(halves["means"]):
            from ..kernels.rasterize.reference import rotation_matrices

            offset = halves["log_scales"].exp() * _normal(halves["means"], generator)  # drawn from the parent itself
            halves["means"] = halves["means"] + (rotation_matrices(halves["quats"]) @ offset[..., None])[..., 0]
            halves["log_scales"] = halves["log_scales"] - torch.log(torch.tensor(1.6))
        self._edit(lambda name, p: torch.cat([p[~split], copies[name], halves[name]]), ~split)

        faint = model.opacity_logits.sigmoid() < c.prune_opacity
        if iteration > c.reset_every:
            faint |= model.log_scales.exp().amax(-1) > c.prune_size * self.extent
        if len(model) - int(faint.sum()) < self.floor:
            self.spared += 1
            faint = torch.zeros_like(faint)
        self._edit(lambda name, p: p[~faint], ~faint)
        self.clear()
        return dict(cloned=int(clone.sum()), split=int(split.sum()), pruned=int(faint.sum()))

    @torch.no_grad()
    def reset_opacities(self) -> None:
        """Lower every opacity, as it is drawn, to at most 0.01, and let the loss say which ones are needed.

        With a 3D filter a Gaussian is drawn with o' = o coef; so that o' = min(o', 0.01) exactly, o becomes 0.01 over coef.
        The others keep the logit that they have: an opacity that rounds to 1 has no finite one. The gradient goes too: as in
        the authors' code, Adam's step of this iteration leaves the opacities as they are set here.
        """
        model, limit = self.model, self.config.reset_opacity
        opacity = model.opacity_logits.sigmoid()
        _, drawn = model.scales_opacities()
        coef = drawn / opacity.clamp(min=1e-30)
        model.opacity_logits.copy_(
            torch.where(drawn > limit, torch.logit(limit / coef, eps=1e-6), model.opacity_logits)
        )
        state = self.optimizer.state.get(model.opacity_logits, {})
        for key in ("exp_avg", "exp_avg_sq"):
            if key in state:
                state[key].zero_()
        model.opacity_logits.grad = None

    def _edit(self, change: Callable[[str, Tensor], Tensor], kept: Tensor) -> None:
        """Replace every parameter by `change(name, parameter)`; Adam's averages follow: kept rows, then zeros for new ones."""
        model = self.model
        for group in self.optimizer.param_groups:
            name, old = group["name"], group["params"][0]
            new = torch.nn.Parameter(change(name, old.detach()).contiguous())
            state = self.optimizer.state.pop(old, None)
            if state:
                for key in ("exp_avg", "exp_avg_sq"):
                    rows = state[key][kept]
                    state[key] = torch.cat([rows, rows.new_zeros(len(new) - len(rows), *rows.shape[1:])])
                self.optimizer.state[new] = state
            group["params"][0] = new
            setattr(model, name, new)
        phi = model.phi[kept]
        model.phi = torch.cat([phi, phi.new_zeros(len(model) - len(phi))])


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal numbers of a tensor's shape, drawn on the CPU so that every device gets the same ones."""
    return torch.randn(like.shape, generator=generator).to(like)
