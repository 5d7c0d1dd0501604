"""The loss of CLIP in plain torch: the definition that the fast backends are tested against.

All logits are made, B x B of them, and autograd keeps several matrices of that size. Runs in float32 or float64 on any device.
Source: Radford et al. 2021 (CLIP), the pseudocode of figure 3.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def one_way(queries: Tensor, keys: Tensor, scale: Tensor, first: int = 0) -> Tensor:
    """Mean cross-entropy of finding, among all keys [n, d], the one that belongs to each query [m, d].

    Query i belongs to key first + i; `scale` multiplies the dot products.
    """
    logits = scale * queries @ keys.mT  # [m, n]
    return F.cross_entropy(logits, torch.arange(first, first + len(queries), device=logits.device))


def both_ways(images: Tensor, texts: Tensor, scale: Tensor) -> Tensor:
    """From images to texts and from texts to images, averaged; both [B, d]."""
    return (one_way(images, texts, scale) + one_way(texts, images, scale)) / 2
