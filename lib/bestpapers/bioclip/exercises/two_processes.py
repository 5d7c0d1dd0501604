r"""Two processes

Several processes share a batch. Each has some of the pairs, gathers the features of the others, computes a loss, and the
gradients are averaged. Two flags of open_clip say how: `local_loss` and `gather_with_grad`. All four settings log the same
loss. Find out what they do to the gradient, with two real processes that talk through gloo.

Write what *one* of them does. The checker starts two Python processes, connects them (`dist.group.WORLD`), and calls your
function in both with the same, whole batch. So process `dist.get_rank()` takes its own part of the pairs, in order. Use

```
contrastive_loss(images, texts, scale, backend="reference", group=dist.group.WORLD, local_loss=..., gather_with_grad=...)
```

and return what the optimiser would see: the loss, averaged over the processes; and the gradient of each *image feature of the
whole batch* in that average, which is the gradient that its process found, divided by the number of processes.

Use in your function only what this page imports at its top.
"""

import torch
import torch.distributed as dist
from torch import Tensor

from ...course.checks import Checker, close, true
from ...kernels.contrastive import contrastive_loss
from .. import exercises
from . import _processes

LEVEL, MINUTES, DIFFICULTY = "challenge", 35, 3
HINT = r"""
`images.chunk(world)[rank].requires_grad_()` is the own part. `dist.all_reduce(t)` adds up a tensor over the processes in
place; `dist.all_gather(parts, t)` fills a list of tensors, in the order of ranks.
"""
NOTE = r"""
The third row is the trap. With `local_loss` alone, a process uses features of the others as negatives and tells nobody, so
every feature misses what it does to the pairs of other processes. Loss and length of the gradient look plausible; its
direction is wrong. Without either flag the direction is right and the gradient is $W$ times too small, which Adam all but
hides. Use both flags or neither.
"""


def two_processes(
    images: Tensor,
    texts: Tensor,
    scale: Tensor,
    local_loss: bool,
    gather_with_grad: bool,
) -> tuple[float, Tensor]:
    """What training sees of a batch that all processes share.

    images, texts [B, d]: the whole batch, the same in every process; B is a multiple
    of the number of processes -> loss, averaged over processes; gradient of the image
    features [B, d] in that average
    """
    rank, world = dist.get_rank(), dist.get_world_size()
    own, text = (x.chunk(world)[rank].clone() for x in (images, texts))
    own.requires_grad_()
    loss = contrastive_loss(
        own,
        text,
        scale,
        backend="reference",
        group=dist.group.WORLD,
        local_loss=local_loss,
        gather_with_grad=gather_with_grad,
    )
    gradient = torch.autograd.grad(loss, own)[0]
    mean = loss.detach().clone()
    dist.all_reduce(mean)
    parts = [torch.empty_like(gradient) for _ in range(world)]
    dist.all_gather(parts, gradient)
    return mean.item() / world, torch.cat(parts) / world


def run() -> None:
    """The table of the four settings, for the cell of the solution."""
    print("local_loss  gather_with_grad  loss   length of gradient  cosine")
    rows = exercises.two_processes.table(two_processes)
    for (local, grad), (loss, length, cosine) in rows.items():
        print(f"{local!s:11} {grad!s:17} {loss:.3f}  {length:18.2f}  {cosine:6.3f}")


check = Checker("5.12")
SETTINGS = [(local, grad) for local in (False, True) for grad in (False, True)]


def _batch() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(48, 7, generator=generator, dtype=torch.float64)
    texts = images + 0.7 * torch.randn(48, 7, generator=generator, dtype=torch.float64)
    unit = torch.nn.functional.normalize
    return unit(images, dim=-1), unit(texts, dim=-1), torch.tensor(20.0, dtype=torch.float64)


def _truth() -> tuple[float, Tensor]:
    images, texts, scale = _batch()
    loss = contrastive_loss(images.requires_grad_(), texts, scale, backend="reference")
    return loss.item(), torch.autograd.grad(loss, images)[0]


def _found(answer) -> dict[tuple[bool, bool], tuple[float, Tensor]]:
    """What the function returns in the two processes, by setting; process 0 speaks for both."""
    calls = [(*_batch(), *setting) for setting in SETTINGS]
    answer.inputs = (calls[0], {})
    both = _processes.run(getattr(answer, "function", answer), calls)
    if isinstance(both, str):
        true(False, "a result from both processes", both, hint="this is what one of them wrote")
    return dict(zip(SETTINGS, both, strict=True))


def table(function) -> dict[tuple[bool, bool], tuple[float, float, float]]:
    """Of each setting (local_loss, gather_with_grad): loss, length of the gradient over the true one, cosine to it."""
    rows, (_, true_gradient) = {}, _truth()
    results = _processes.run(function, [(*_batch(), *setting) for setting in SETTINGS])
    if isinstance(results, str):
        raise RuntimeError(results)
    for setting, (loss, gradient) in zip(SETTINGS, results, strict=True):
        cosine = torch.cosine_similarity(gradient.flatten(), true_gradient.flatten(), dim=0).item()
        rows[setting] = (loss, (gradient.norm() / true_gradient.norm()).item(), cosine)
    return rows


@check.property("one process alone has the plain loss and its gradient")
def _(answer):
    with _processes.alone():
        for local, grad in ((False, False), (False, True), (True, True)):
            loss, gradient = answer(*_batch(), local, grad)
            close(loss, _truth()[0])
            close(gradient, _truth()[1])


@check.property("two processes: all four settings have the loss of the whole batch")
def _(answer):
    for loss, _ in _found(answer).values():
        close(loss, _truth()[0], hint="average over the processes")


@check.property("with gather_with_grad, the gradient is that of the whole batch")
def _(answer):
    for local in (False, True):
        close(_found(answer)[local, True][1], _truth()[1], rtol=1e-6)


@check.property("without either flag, it is half as long")
def _(answer):
    close(_found(answer)[False, False][1], _truth()[1] / 2, rtol=1e-6)


@check.property("with local_loss alone, it points elsewhere: cosine below 0.99")
def _(answer):
    gradient = _found(answer)[True, False][1]
    cosine = torch.cosine_similarity(gradient.flatten(), _truth()[1].flatten(), dim=0).item()
    true(0.5 < cosine < 0.99, "a cosine between 0.5 and 0.99", cosine)
