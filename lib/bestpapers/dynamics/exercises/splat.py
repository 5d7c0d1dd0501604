r"""Splatting

Carry the pixels of a picture along their flow, forwards. Pixel $q$ lands at $q + F(q)$, between four targets; its share
in target $p$ is $b = \max(0, 1 - |a_x|) \max(0, 1 - |a_y|)$ with $a = p - q - F(q)$. Where several land on one target,
the mode says who counts:

| mode | target |
| --- | --- |
| `"summation"` | $\sum b\,X$ |
| `"average"` | $\sum b\,X / \sum b$ |
| `"linear"` | $\sum b\,Z X / \sum b\,Z$ |
| `"softmax"` | $\sum b\,e^Z X / \sum b\,e^Z$ |

Nothing lands outside the picture. Where nothing lands inside, the target is 0. Weights may be as large as $\pm10^4$.
"""

import torch
from torch import Tensor

from ...course.checks import Checker, close, true
from ...kernels.softsplat import softsplat

LEVEL, MINUTES, DIFFICULTY = "core", 30, 3
HINT = r"""
Go through the four corners of the cell in which a source lands: column $\lfloor x\rfloor$ or one more, row $\lfloor
y\rfloor$ or one more. `index_add` adds at numbers of pixels, and autograd knows it. $e^{10000}$ is no number: subtract
the largest $Z$ that reaches the same target, which `scatter_reduce(..., "amax")` finds.
"""
NOTE = r"""
The largest $Z$ of the whole picture is not enough: a strong pixel far away then turns weak pairs into $0/0$. And a
small number added to the denominator, as a guard, decides the result where all $e^Z$ are smaller than it. Only where
*nothing* lands is there something to guard.

The gradient comes from autograd. Where the paper of softmax splatting prints it for the flow, its sign is wrong, as its
author's page says: autograd has the right one. On whole pixels there is a kink, and a library has to say which side it
takes ([How the kernels work](../../book/kernels.md)).
"""


def splat(x: Tensor, flow: Tensor, z: Tensor, mode: str) -> Tensor:
    """Splat a picture.

    x (C, H, W); flow (2, H, W) px, x before y; z (H, W), read by "linear" (then
    z > 0) and "softmax" -> (C, H, W), differentiable in x, flow and z
    """
    C, H, W = x.shape
    column, row = flow[0] + torch.arange(W), flow[1] + torch.arange(H)[:, None]
    lists = []
    for i, j in ((0, 0), (1, 0), (0, 1), (1, 1)):
        u, v = column.detach().floor() + i, row.detach().floor() + j
        b = (1 - (column - u).abs()) * (1 - (row - v).abs())
        ok = (u >= 0) & (u < W) & (v >= 0) & (v < H) & (b > 0)
        target = (v * W + u)[ok].long()
        lists.append((target, b[ok], x[:, ok], z[ok]))
    target, b, values, weight = (torch.cat(part, -1) for part in zip(*lists))
    if mode == "linear":
        b = b * weight
    if mode == "softmax":
        low = torch.full((H * W,), -torch.inf, dtype=z.dtype)
        top = low.scatter_reduce(0, target, weight.detach(), "amax")
        b = b * torch.exp(weight - top[target])
    out = x.new_zeros(C, H * W).index_add(1, target, b * values)
    if mode != "summation":
        total = x.new_zeros(H * W).index_add(0, target, b)
        out = out / total.where(total > 0, 1)
    return out.view(C, H, W)


check = Checker("5.5")
MODES = ("summation", "average", "linear", "softmax")


def _scene(H: int = 7, W: int = 9) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(2, H, W, generator=generator, dtype=torch.float64)
    flow = 1.5 * torch.randn(2, H, W, generator=generator, dtype=torch.float64)
    return x, flow, torch.rand(H, W, generator=generator, dtype=torch.float64) + 0.2


@check.property("pixels 1 and 2 of weights 1 and 2 on one target: 3, 1.5, 1.667, 1.731")
def _(answer):
    x = torch.tensor([[[1.0, 2.0]]], dtype=torch.float64)
    flow = torch.tensor([[[1.0, 0.0]], [[0.0, 0.0]]], dtype=torch.float64)
    for mode, value in zip(MODES, (3.0, 1.5, 5 / 3, 1.7310585786300048)):
        found = answer(x, flow, x[0].clone(), mode)
        close(found, [[[0.0, value]]], hint="where nothing lands, the target is 0")


@check.property("the sum keeps all light that stays inside, and the edge loses its part")
def _(answer):
    x, flow, z = _scene()
    x[:, :3], x[:, -3:], x[:, :, :3], x[:, :, -3:] = 0, 0, 0, 0
    close(answer(x, flow.clamp(-1.9, 1.9), z, "summation").sum((1, 2)), x.sum((1, 2)))
    close(
        answer(torch.ones(1, 1, 3), torch.full((2, 1, 3), -0.25), torch.ones(1, 3), "summation"),
        [[[0.75, 0.75, 0.5625]]],
    )


@check.property("x comes before y, and fractions of a pixel are shared out")
def _(answer):
    x = torch.zeros(1, 4, 5, dtype=torch.float64)
    x[0, 1, 1] = 1
    flow = torch.zeros(2, 4, 5, dtype=torch.float64)
    flow[0], flow[1] = 2.25, 0.5
    want = torch.zeros(1, 4, 5, dtype=torch.float64)
    want[0, 1:3, 3], want[0, 1:3, 4] = 0.375, 0.125
    close(answer(x, flow, x[0] + 1, "summation"), want, atol=1e-12)


@check.property("softmax is the same for Z and Z + 10000, linear for Z and 3 Z")
def _(answer):
    x, flow, z = _scene()
    plain = answer(x, flow, z, "softmax")
    for change in (10_000, -10_000):
        close(answer(x, flow, z + change, "softmax"), plain, rtol=1e-6, hint="e^10000 is no number: subtract first")
    close(answer(x, flow, 3 * z, "linear"), answer(x, flow, z, "linear"))


@check.property("a strong pixel far away does not disturb a weak pair")
def _(answer):
    x = torch.tensor([[[1.0, 2.0, 5.0]]], dtype=torch.float64)
    flow = torch.zeros(2, 1, 3, dtype=torch.float64)
    flow[0, 0, 0] = 1
    z = torch.tensor([[1.0, 2.0, 10_000.0]], dtype=torch.float64)
    close(answer(x, flow, z, "softmax"), [[[0.0, 1.7310585786300048, 5.0]]], hint="the largest Z of each target")


@check.property("any scene is as in the library, with the gradients of x, flow and Z")
def _(answer):
    for mode in MODES:
        leaves = [t.clone().requires_grad_() for t in _scene()]
        found = answer(*leaves, mode)
        true(isinstance(found, Tensor) and found.requires_grad, "a tensor that autograd can follow", found)
        others = [t.clone().requires_grad_() for t in _scene()]
        weight = [others[2][None, None]] if mode in ("linear", "softmax") else []
        want = softsplat(others[0][None], others[1][None], *weight, mode=mode, backend="reference").output[0]
        close(found, want, hint=f"mode {mode}")
        up = torch.linspace(-1, 2, want.numel(), dtype=torch.float64).view_as(want)
        got = torch.autograd.grad(found, leaves, up, allow_unused=True)
        right = torch.autograd.grad(want, others, up, allow_unused=True)
        for name, a, b in zip(("x", "flow", "Z"), got, right, strict=True):
            if b is not None:
                true(a is not None, f"a gradient of {name}", "none")
                close(a, b, rtol=1e-5, atol=1e-7, hint=f"gradient of {name}, mode {mode}")
