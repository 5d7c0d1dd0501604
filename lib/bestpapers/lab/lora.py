"""Fine-tuning by parts of low rank (LoRA, Hu et al. 2022): a network is frozen, and little is learned beside its weights."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

Model = TypeVar("Model", bound=nn.Module)


class LowRank(nn.Module):
    """A weight W and what is learned of it: W + B A, of low rank. It starts as nothing."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(rank, weight.shape[1]) * weight.shape[1] ** -0.5)
        self.up = nn.Parameter(weight.new_zeros(weight.shape[0], rank))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.up @ self.down


def adapt(model: Model, blocks: Iterable[Any], rank: int, seed: int = 0) -> Model:
    """Freeze a model, and let `LowRank` parts learn in attentions and MLPs of its blocks (`lab.nn.Block`). In place."""
    model.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for block in blocks:
            for module, name in (
                (block.attn, "in_proj_weight"), (block.attn.out_proj, "weight"), (block.mlp.c_fc, "weight"),
                (block.mlp.c_proj, "weight"),
            ):  # fmt: skip
                parametrize.register_parametrization(module, name, LowRank(getattr(module, name), rank))
    return model


def settle(model: nn.Module, plain: Model) -> Model:
    """`plain`, a new model of the same shape, with the weights of `model` and what `adapt` has learned added to them."""
    plain.load_state_dict({name: attrgetter(name)(model).detach() for name in plain.state_dict()})
    return plain.to(next(model.parameters()).device).train(model.training)
