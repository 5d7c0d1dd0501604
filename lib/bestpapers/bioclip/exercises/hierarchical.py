r"""Hierarchical cross-entropy

The paper's baseline has a classifier for each of the seven ranks and adds up their losses, $\sum_r w_r \operatorname{CE}_r$.

In real tables, ranks are missing. An image without a name at rank $r$ takes no part in $\operatorname{CE}_r$, which is the
mean over those that have one; a rank that no image of the batch has adds nothing.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ...course.checks import Checker, close, true

LEVEL, MINUTES, DIFFICULTY = "challenge", 15, 2
HINT = r"""
`known = targets[r] >= 0` picks the images that have a name. The mean over nothing is NaN.
"""
NOTE = r"""
With equal weights the kingdom counts as much as the species. In our runs this arm has the most tree-like space of all, and
with one labelled picture no difference to CLIP is detected ([3_reproduce](3_reproduce.ipynb)): tree-like is not the same as
useful. The paper's rank weights, and whether its baselines began from CLIP's own parameters, are not known.
"""


def hierarchical(
    logits: Sequence[Tensor],
    targets: Tensor,
    weights: Sequence[float],
) -> Tensor:
    """The sum over ranks of w_r times cross-entropy.

    logits: for each of R ranks [b, G_r], scores of its groups; targets [R, b]: numbers
    of the right groups, -100 where the image has no name; weights: R numbers -> loss []
    """
    total = logits[0].new_zeros(())
    for scores, target, weight in zip(logits, targets, weights, strict=True):
        known = target >= 0
        if known.any():
            total = total + weight * F.cross_entropy(scores[known], target[known])
    return total


check = Checker("5.10")
GROUPS = (2, 3, 4, 5, 6, 7, 8)


def _batch() -> tuple[list[Tensor], Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = [2 * torch.randn(6, n, generator=generator, dtype=torch.float64) for n in GROUPS]
    return logits, torch.stack([torch.randint(n, (6,), generator=generator) for n in GROUPS])


def _each() -> list[Tensor]:
    return [F.cross_entropy(*pair) for pair in zip(*_batch(), strict=True)]


@check.property("with weight on the species only, it is plain cross-entropy")
def _(answer):
    close(answer(*_batch(), (0, 0, 0, 0, 0, 0, 1)), _each()[6])


@check.property("every rank counts with its weight")
def _(answer):
    close(answer(*_batch(), (1,) * 7), sum(_each()))
    close(answer(*_batch(), (1, 2, 3, 4, 5, 6, 7)), sum(w * loss for w, loss in enumerate(_each(), 1)))


@check.property("an image without a name at a rank takes no part there")
def _(answer):
    logits, targets = _batch()
    targets[4:, :2] = -100
    lowest = [F.cross_entropy(scores, target) for scores, target in zip(logits[:4], targets[:4], strict=True)]
    rest = [F.cross_entropy(scores[2:], target[2:]) for scores, target in zip(logits[4:], targets[4:], strict=True)]
    close(answer(logits, targets, (1,) * 7), sum(lowest + rest), hint="the mean is over those that have a name")


@check.property("a rank that no image has adds nothing")
def _(answer):
    logits, targets = _batch()
    targets[2] = -100
    close(answer(logits, targets, (1,) * 7), sum(loss for r, loss in enumerate(_each()) if r != 2))


@check.property("a step against its gradient lowers it")
def _(answer):
    logits, targets = _batch()
    leaves = [scores.requires_grad_() for scores in logits]
    loss = answer(leaves, targets, (1,) * 7)
    true(isinstance(loss, Tensor) and loss.requires_grad, "a tensor with a gradient", loss)
    grads = torch.autograd.grad(loss, leaves)
    lower = answer([a.detach() - 0.1 * g for a, g in zip(leaves, grads, strict=True)], targets, (1,) * 7)
    true(lower < loss, f"less than {loss.item():.4f}", lower)
