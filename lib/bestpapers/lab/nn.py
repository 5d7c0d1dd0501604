"""Parts of transformers: attention, the pre-norm block, patches, positions.

`attention`, `block` and `block_at` run the weights of others as well: they ask for the names that torch and open_clip give
to parts, so that a state dict of `Block` is one of open_clip's `ResidualAttentionBlock` and the other way round.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def attention(
    attn: Any, x: Tensor, context: Tensor | None = None, *, causal: bool = False, mask: Tensor | None = None
) -> Tensor:
    """Multi-head attention of x [B, L, W] to itself, or to a context [B, K, W] -> [B, L, W].

    attn    an `nn.MultiheadAttention`, or what has in_proj_weight [3 W, W], in_proj_bias [3 W], num_heads and out_proj
    causal  each token sees itself and those before it
    mask    bool, broadcast to [B, heads, L, K]: True where a token may look; in the place of `causal`
    """
    B, L, W = x.shape
    weight, bias, heads = attn.in_proj_weight, attn.in_proj_bias, attn.num_heads
    if context is None:
        q, k, v = F.linear(x, weight, bias).view(B, L, 3, heads, -1).permute(2, 0, 3, 1, 4)
    else:
        q = F.linear(x, weight[:W], bias[:W]).view(B, L, heads, -1).transpose(1, 2)
        k, v = F.linear(context, weight[W:], bias[W:]).view(B, -1, 2, heads, W // heads).permute(2, 0, 3, 1, 4)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)  # [B, heads, L, W / heads]
    result: Tensor = attn.out_proj(out.transpose(1, 2).reshape(B, L, W))
    return result


def block(parts: Any, x: Tensor, *, causal: bool = False) -> Tensor:
    """The pre-norm block on x [B, L, W]: attention to itself, then the MLP. parts: what has ln_1, attn, ln_2 and mlp."""
    x = x + attention(parts.attn, parts.ln_1(x), causal=causal)
    result: Tensor = x + parts.mlp(parts.ln_2(x))
    return result


def block_at(parts: Any, x: Tensor, at: Tensor, *, causal: bool = False) -> Tensor:
    """What `block` gives for the token `at` [B] of each sequence: [B, W]. Of the others it takes keys and values only."""
    B, L, _ = x.shape
    one = torch.arange(B, device=x.device), at
    y = parts.ln_1(x)
    mask = (torch.arange(L, device=x.device) <= at[:, None])[:, None, None] if causal else None
    out = x[one] + attention(parts.attn, y[one][:, None], y, mask=mask)[:, 0]
    result: Tensor = out + parts.mlp(parts.ln_2(out))
    return result


class Block(nn.Module):
    """The pre-norm block with weights of its own; with `cross`, attention to a context stands before the MLP.

    Without `cross` its state dict is that of open_clip's `ResidualAttentionBlock`. `width` is a multiple of `heads`.
    """

    def __init__(self, width: int, heads: int, *, ratio: float = 4.0, cross: bool = False) -> None:
        super().__init__()
        hidden = round(ratio * width)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads)
        if cross:
            self.ln_cross, self.cross = nn.LayerNorm(width), nn.MultiheadAttention(width, heads)
        layers = dict(c_fc=nn.Linear(width, hidden), gelu=nn.GELU(), c_proj=nn.Linear(hidden, width))
        self.mlp = nn.Sequential(OrderedDict(layers))

    def forward(self, x: Tensor, context: Tensor | None = None, *, causal: bool = False) -> Tensor:
        """x [B, L, W], context [B, K, W] if the block was made with `cross` -> [B, L, W]."""
        if (context is not None) != hasattr(self, "cross"):
            raise ValueError("Block: a context goes with cross=True, and only with it")
        if context is None:
            return block(self, x, causal=causal)
        x = x + attention(self.attn, self.ln_1(x), causal=causal)
        x = x + attention(self.cross, self.ln_cross(x), context)
        result: Tensor = x + self.mlp(self.ln_2(x))
        return result


def patches(images: Tensor, size: int) -> Tensor:
    """Cut images [B, H, W, C] into patches of size x size pixels, row by row: [B, H W / size^2, size * size * C]."""
    B, H, W, C = images.shape
    if size < 1 or H % size or W % size:
        raise ValueError(f"patches: {H} x {W} pixels do not divide into patches of {size} x {size}")
    h, w = H // size, W // size
    return images.reshape(B, h, size, w, size * C).transpose(2, 3).reshape(B, h * w, size * size * C)


class PatchEmbedding(nn.Module):
    """Patches of images of one size (H, W) as tokens with learned positions: [B, H, W, C] -> [B, H W / patch^2, width]."""

    def __init__(self, size: tuple[int, int], channels: int, patch: int, width: int) -> None:
        super().__init__()
        self.patch = patch
        n = patches(torch.empty(1, *size, channels, device="meta"), patch).shape[1]
        self.proj = nn.Linear(patch * patch * channels, width)
        self.positions = nn.Parameter(width**-0.5 * torch.randn(n, width))

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.proj(patches(images, self.patch))
        return found + self.positions


def sinusoids(positions: Tensor, width: int, longest: float = 10_000.0) -> Tensor:
    """Positions or times [...] -> [..., width]: sines, then cosines, at width / 2 frequencies from 1 down to 1 / longest
    (Vaswani et al. 2017, in the order of diffusion models). width is even."""
    if width < 2 or width % 2:
        raise ValueError(f"sinusoids: width must be even and at least 2, got {width}")
    dtype = positions.dtype if positions.is_floating_point() else torch.float32
    steps = torch.arange(width // 2, device=positions.device, dtype=dtype) / (width // 2)
    angle = positions[..., None] * torch.exp(-math.log(longest) * steps)
    return torch.cat([angle.sin(), angle.cos()], dim=-1)
