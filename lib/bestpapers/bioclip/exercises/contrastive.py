r"""The contrastive loss

Write CLIP's loss for the share of a batch that one process has: its own $b$ pairs among all $B$,

$$\mathcal{L} = \tfrac12 \left[\operatorname{CE}(s\, \mathbf{V}\, \mathbf{T}_{all}^\top) + \operatorname{CE}(s\, \mathbf{T}\,
\mathbf{V}_{all}^\top)\right] .$$

Each image has to find its own text among all texts, each text its own image among all images. Image $i$ of the share belongs
to text `first + i` of all. With one process the share is the whole, and `first` is 0.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ...course.checks import Checker, close

LEVEL, MINUTES, DIFFICULTY = "challenge", 15, 2
HINT = r"""
`F.cross_entropy(logits, targets)` takes logits [b, B] and the number of the right column for each row. It subtracts the
largest logit before it exponentiates.
"""
NOTE = r"""
The mean of the shares' losses is the loss of the whole, so the *value* never shows whether processes share correctly. What
does is the gradient: features of other processes must carry it back to where they came from. Exercise 5.12 measures that.

At 32,768 pairs the two matrices of logits are the largest thing in memory. `kernels.contrastive` never holds them.
"""


def contrastive(
    images: Tensor,
    texts: Tensor,
    all_images: Tensor,
    all_texts: Tensor,
    scale: Tensor,
    first: int,
) -> Tensor:
    """The loss of CLIP for b own pairs among all B.

    images, texts [b, d] and all_images, all_texts [B, d], rows of length 1; scale [];
    first: where the own pairs stand -> loss [], natural logarithm, mean over the pairs
    """
    own = first + torch.arange(len(images))
    image_to_text = F.cross_entropy(scale * images @ all_texts.T, own)
    text_to_image = F.cross_entropy(scale * texts @ all_images.T, own)
    return (image_to_text + text_to_image) / 2


check = Checker("5.5")


def _pairs(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(12, 5, generator=generator, dtype=dtype)
    texts = images + 0.7 * torch.randn(12, 5, generator=generator, dtype=dtype)
    return F.normalize(images, dim=-1), F.normalize(texts, dim=-1)


def _64(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def _full_loss(images: Tensor, texts: Tensor, scale: Tensor) -> Tensor:
    from open_clip import ClipLoss

    loss: Tensor = ClipLoss()(images, texts, scale)
    return loss


@check.property("with a scale of 0 all are alike: the logarithm of B")
def _(answer):
    V, T = _pairs()
    close(answer(V, T, V, T, _64(0), 0), math.log(12), hint="the mean over pairs, natural logarithm")


@check.property("one process: the loss of open_clip, both ways")
def _(answer):
    V, T = _pairs()
    for scale in (1.0, 20.0):
        close(answer(V, T, V, T, _64(scale), 0), _full_loss(V, T, _64(scale)))


@check.property("the own pairs stand where `first` says, and the shares' mean is the loss of the whole")
def _(answer):
    V, T = _pairs()
    shares = [answer(V[i : i + 4], T[i : i + 4], V, T, _64(20), i) for i in (0, 4, 8)]
    close(sum(shares) / 3, _full_loss(V, T, _64(20)))


@check.property("a scale of 100 overflows nothing in float32")
def _(answer):
    V, T = _pairs(torch.float32)
    close(answer(V, T, V, T, torch.tensor(100.0), 0), _full_loss(V, T, torch.tensor(100.0)), rtol=1e-4)


@check.property("images, texts and scale get the gradients of open_clip's loss")
def _(answer):
    inputs = [t.clone().requires_grad_() for t in (*_pairs(), _64(20))]
    V, T, scale = inputs
    found = torch.autograd.grad(answer(V, T, V, T, scale, 0), inputs, allow_unused=True)
    for name, got, want in zip(
        ("images", "texts", "scale"), found, torch.autograd.grad(_full_loss(V, T, scale), inputs), strict=True
    ):
        close(torch.zeros_like(want) if got is None else got, want, hint=f"the gradient of {name}")
