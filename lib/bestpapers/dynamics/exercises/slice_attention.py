r"""Let the slices talk

A network that draws each slice by itself cannot make them agree: how strong the wind is, and where frame 0 lies, all
slices must know together. The paper trains such a network first, then freezes it and puts attention *across the slices*
between its layers. Write this layer.

At every place of the picture, the $K$ slices are $K$ tokens that attend to one another; places do not mix, and clips do
not. Its output is added to its input. A new layer must not disturb what the frozen network has learned, so it starts as
*nothing*. And since slice 3 is not slice 12, each slice has a position of its own, which is learned.
"""

import torch
from torch import Tensor, nn

from ...course.checks import Checker, close, true

LEVEL, MINUTES, DIFFICULTY = "challenge", 25, 3
HINT = r"""
Bring places into the batch: `x.permute(0, 3, 4, 1, 2).reshape(-1, K, C)`, and back again at the end.
`nn.MultiheadAttention(C, heads, batch_first=True)` has a last layer `out_proj`; if its weight and bias are 0, nothing
comes out.
"""
NOTE = r"""
With zeros in the last layer the network begins as the one that it was, and gradients still reach it: only the layers
*before* the last one wait a step until it has moved. Positions are added to what is normalised and not to the stream,
so they vanish as well.

In the token toy of [3_reproduce](3_reproduce.ipynb) this layer is all of the difference between slices that draw their
own wind and slices that share one.
"""


def slice_attention(channels: int, slices: int, heads: int) -> nn.Module:
    """Attention across the slices of a spectral volume, added to its input.

    -> a module: forward takes x (B, slices, channels, H, W) and gives the same shape
    """

    class SliceAttention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(channels)
            self.attention = nn.MultiheadAttention(channels, heads, batch_first=True)
            self.positions = nn.Parameter(0.1 * torch.randn(slices, channels))
            nn.init.zeros_(self.attention.out_proj.weight)
            nn.init.zeros_(self.attention.out_proj.bias)

        def forward(self, x: Tensor) -> Tensor:
            B, K, C, H, W = x.shape
            tokens = x.permute(0, 3, 4, 1, 2).reshape(-1, K, C)
            y = self.norm(tokens) + self.positions
            y, _ = self.attention(y, y, y, need_weights=False)
            return x + y.reshape(B, H, W, K, C).permute(0, 3, 4, 1, 2)

    return SliceAttention()


check = Checker("5.10")


def _x(B: int = 2) -> Tensor:
    return torch.randn(B, 5, 8, 3, 4, generator=torch.Generator().manual_seed(1))


def _trained(answer) -> nn.Module:
    """A layer as after some training: all of its numbers have moved."""
    layer = answer(8, 5, 2)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in layer.parameters():
            p += 0.3 * torch.randn(p.shape, generator=generator)
    return layer.eval()


def _changed(layer: nn.Module, *at) -> Tensor:
    """Where the output changes (B, K, H, W), bool, if the input does at the index `at` of (B, K, C, H, W)."""
    x = _x()
    before = layer(x)
    x[at] += 1
    return ((layer(x) - before).abs() > 1e-6).any(2)


@check.property("it starts as nothing: what goes in comes out")
def _(answer):
    layer = answer(8, 5, 2)
    true(isinstance(layer, nn.Module), "a module", layer)
    with torch.no_grad():
        close(layer.eval()(_x()), _x(), atol=1e-7, hint="zeros in the last layer")


@check.property("but it can learn: the first gradient of its weights is not 0")
def _(answer):
    layer = answer(8, 5, 2)
    (layer(_x()) * torch.linspace(-1, 1, _x().numel()).view_as(_x())).sum().backward()
    matrices = [p.grad.abs().max().item() for p in layer.parameters() if p.grad is not None and p.ndim > 1]
    largest = max(matrices, default=0.0)
    true(largest > 1e-6, "a gradient of a matrix", largest, hint="zeros in two layers in a row never move")


@check.property("after training, every slice hears every other slice")
def _(answer):
    with torch.no_grad():
        layer = _trained(answer)
        for k in range(5):
            heard = _changed(layer, 0, k, 2, 1, 1)[0, :, 1, 1]
            found = f"slices {heard.nonzero()[:, 0].tolist()}"
            true(bool(heard.all()), f"all slices change with slice {k}", found, hint="the tokens are the slices")


@check.property("places do not mix, and clips do not")
def _(answer):
    with torch.no_grad():
        changed = _changed(_trained(answer), 0, 1, 2, 1, 2)
        changed[0, :, 1, 2] = False
        true(not changed.any(), "no change at other places and in other clips", f"{int(changed.sum())} places changed")


@check.property("a slice's number matters: exchanged slices do not give exchanged outputs")
def _(answer):
    with torch.no_grad():
        layer, order = _trained(answer), [1, 0, 2, 3, 4]
        apart = (layer(_x()[:, order]) - layer(_x())[:, order]).abs().max().item()
        true(apart > 1e-3, "another result", f"a difference of {apart:.1g}", hint="give each slice a position")
