"""Features for the tests of `contrastive_loss`: pairs of images and texts in float64 on the CPU, and what is asked of them."""

from __future__ import annotations

import torch
from torch.nn.functional import normalize
from torch.utils._python_dispatch import TorchDispatchMode

F64 = torch.float64


def pairs(B: int, d: int, scale: float, kind: str = "related", seed: int = 0) -> list[torch.Tensor]:
    """image_features [B, d], text_features [B, d], logit_scale [].

    related: texts are noisy images, as in training; random: nothing is learnt yet; same: every row of both is one vector;
    twins: each row occurs twice; opposed: own texts point the other way; large: related, three times as long.
    """
    g = torch.Generator().manual_seed(1000 * seed + B)
    images = normalize(torch.randn(B, d, generator=g, dtype=F64), dim=1)
    noise = torch.randn(B, d, generator=g, dtype=F64)
    if kind == "same":
        images = images[:1].repeat(B, 1)
    if kind == "twins":
        images = images[: -(-B // 2)].repeat(2, 1)[:B]
    texts = {"random": noise, "same": images, "twins": images, "opposed": -images}.get(
        kind, images + 0.7 * noise / d**0.5
    )
    length = 3 if kind == "large" else 1
    return [length * images, length * normalize(texts, dim=1), torch.tensor(scale, dtype=F64)]


def pull(loss, tensors, dtype=F64, device="cpu") -> list[torch.Tensor]:
    """The loss and 1.7 times its gradients, in float64 on the CPU."""
    inputs = [t.detach().clone().to(device, dtype).requires_grad_() for t in tensors]
    value = loss(*inputs)
    return [t.detach().double().cpu() for t in (value, *torch.autograd.grad(1.7 * value, inputs))]


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """||a - b|| / ||b||."""
    return ((a - b).norm() / b.norm()).item() if b.norm() > 0 else a.norm().item()


class Largest(TorchDispatchMode):
    """While it is on: how many bytes the largest tensor had that any operation of torch returned."""

    bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for t in out if isinstance(out, list | tuple) else (out,):
            if isinstance(t, torch.Tensor):
                self.bytes = max(self.bytes, t.nbytes)
        return out
