r"""The gradient of $\rho$

A fast renderer has no autograd: its backward pass is written by hand. Here is the part that is new in this paper. The
forward pass makes from a covariance $S$ two things, $S' = S + \varepsilon I$ and $\rho = \sqrt{\det S / \det S'}$. The loss
hands back its gradients with respect to both. Find the gradient with respect to $S$, without autograd.
"""

import torch
from torch import Tensor

from ...course.checks import Checker, close
from ._four import F64

LEVEL, MINUTES, DIFFICULTY = "challenge", 30, 3
HINT = r"""
Differentiate $\log\rho = \frac12 (\log\det S - \log\det S')$. For a symmetric matrix, the gradient of $\log\det S$ is
$S^{-1}$. Treat the four entries of $S$ as independent, as autograd does.
"""
NOTE = r"""
$$
\frac{\partial L}{\partial S} = \frac{\partial L}{\partial S'}
+ \frac{\partial L}{\partial\rho}\,\frac{\rho}{2}\left(S^{-1} - S'^{-1}\right)
$$

The new part always pulls: $S^{-1}$ is larger than $S'^{-1}$. It is largest for thin splats, where $S^{-1}$ is. Leave it out
and a splat no longer learns that getting thinner makes it fainter.
"""


def widen_backward(
    cov2d: Tensor,
    eps: float,
    grad_wide: Tensor,
    grad_rho: Tensor,
) -> Tensor:
    """Gradient of the loss with respect to the covariances before they are widened.

    cov2d [N, 2, 2] in px^2, symmetric and invertible; eps in px^2; grad_wide [N, 2, 2]
    and grad_rho [N], the gradients with respect to S' and rho -> [N, 2, 2]
    """
    wide = cov2d + eps * torch.eye(2, dtype=cov2d.dtype)
    rho = (torch.det(cov2d) / torch.det(wide)).sqrt()
    pull = (grad_rho * rho / 2)[:, None, None]
    return grad_wide + pull * (torch.linalg.inv(cov2d) - torch.linalg.inv(wide))


check = Checker("5.8")
COV = torch.tensor([[[4.0, 1.0], [1.0, 2.0]], [[0.02, 0.01], [0.01, 0.3]]], dtype=F64)
UP_WIDE = torch.tensor([[[1.0, -0.5], [-0.5, 2.0]], [[0.3, 0.2], [0.2, -0.7]]], dtype=F64)
UP_RHO = torch.tensor([1.5, -0.4], dtype=F64)


@check.property("what comes back through S' alone is handed on")
def _(answer):
    close(answer(COV, 0.1, UP_WIDE, 0 * UP_RHO), UP_WIDE)


@check.property("a round splat of variance v has the gradient eps / (2 (v + eps)²) on the diagonal")
def _(answer):
    for v, eps in ((0.5, 0.1), (0.01, 0.3)):
        round_one = v * torch.eye(2, dtype=F64)[None]
        want = eps / (2 * (v + eps) ** 2) * torch.eye(2, dtype=F64)[None]
        close(answer(round_one, eps, 0 * round_one, torch.ones(1, dtype=F64)), want, hint="here rho is v / (v + eps)")


@check.property("any ellipse gets what autograd finds")
def _(answer):
    close(answer(COV, 0.1, 0 * UP_WIDE, UP_RHO), _autograd(COV, 0.1, 0 * UP_WIDE, UP_RHO))


@check.property("both gradients together add up")
def _(answer):
    close(answer(COV, 0.3, UP_WIDE, UP_RHO), _autograd(COV, 0.3, UP_WIDE, UP_RHO))


def _autograd(cov2d: Tensor, eps: float, grad_wide: Tensor, grad_rho: Tensor) -> Tensor:
    leaf = cov2d.clone().requires_grad_()
    wide = leaf + eps * torch.eye(2, dtype=F64)
    rho = (torch.det(leaf) / torch.det(wide)).sqrt()
    return torch.autograd.grad([wide, rho], leaf, [grad_wide, grad_rho])[0]
