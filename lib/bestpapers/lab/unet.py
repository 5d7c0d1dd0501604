"""Parts of U-Nets: the residual block with an embedding, attention of places, and what makes both quick on CPUs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .nn import attention

GROUPS = 8  # of group normalisation


def conv(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, size // 2)


def channels_last(x: Tensor) -> Tensor:
    """Channels last in memory: on CPUs convolutions are several times as quick."""
    return x.contiguous(memory_format=torch.channels_last)


class ChannelNorm(nn.LayerNorm):
    """Normalisation over the channels of each place by itself: (N, C, H, W) -> the same. Unlike that of groups, which takes
    in the whole picture, it makes of a crop what it makes of the whole, and is quick with channels last."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Residual(nn.Module):
    """Two convolutions, each after a normalisation, and what is embedded added between them: (N, C, H, W) -> (N, C', H, W).
    local: it is `ChannelNorm`, so that what comes out hangs on what is near alone; else that of groups."""

    def __init__(self, inputs: int, outputs: int, embedded: int = 0, local: bool = False) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = (
            ChannelNorm(width) if local else nn.GroupNorm(GROUPS, width) for width in (inputs, outputs)
        )
        self.conv_1, self.conv_2 = conv(inputs, outputs), conv(outputs, outputs)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        if embedded:
            self.embed = nn.Linear(embedded, outputs)

    def forward(self, x: Tensor, embedded: Tensor | None = None) -> Tensor:
        y = self.conv_1(F.silu(self.norm_1(x)))
        if embedded is not None:
            y = y + self.embed(F.silu(embedded))[:, :, None, None]
        x = self.skip(x) + self.conv_2(F.silu(self.norm_2(y)))
        return x


def float_attention(attn: nn.MultiheadAttention, x: Tensor) -> Tensor:
    """Attention in float32 whatever autocast says: on CPUs that of bfloat16 is several times as slow."""
    with torch.autocast(x.device.type, enabled=False):
        return attention(attn, x.float())


class PlaceAttention(nn.Module):
    """Attention of the places of one slice to each other, added: (N, C, H, W) -> the same."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm, self.attn = nn.GroupNorm(GROUPS, width), nn.MultiheadAttention(width, heads)

    def forward(self, x: Tensor) -> Tensor:
        y = float_attention(self.attn, self.norm(x).flatten(2).transpose(1, 2))
        return x + y.transpose(1, 2).reshape(x.shape)
