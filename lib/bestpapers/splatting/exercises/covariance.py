r"""From quaternion to covariance

A splat stores three sizes $s$ and a rotation as a quaternion $q = (w, x, y, z)$. Turn them into its covariance,

$$\Sigma = R(q)\,\mathrm{diag}(s)^2\,R(q)^\top .$$

An optimiser changes $q$ freely, so it does not stay at length one. Your function has to take any length except zero.
"""

import math

import torch
from torch import Tensor

from ...course.checks import Checker, close
from ...kernels.rasterize.reference import rotation_matrices

LEVEL, MINUTES, DIFFICULTY = "core", 15, 1
HINT = r"""
For a quaternion of length one, the first row of $R$ is $\left(1 - 2(y^2 + z^2),\; 2(xy - wz),\; 2(xz + wy)\right)$. The
second follows by renaming $x \to y \to z \to x$ and moving each entry one place to the right, and so does the third.
"""
NOTE = r"""
$R$ is quadratic in $q$, so $q$ and $-q$ give the same matrix without any care from you. And whatever numbers the optimiser
writes, $\Sigma$ stays a covariance: its eigenvalues are the $s^2$. That is why nobody stores $\Sigma$ itself.
"""


def covariance(quats: Tensor, scales: Tensor) -> Tensor:
    """Covariances of N Gaussians.

    quats [N, 4] (w, x, y, z) of any length > 0, scales [N, 3] in scene units
    -> [N, 3, 3]
    """
    w, x, y, z = (quats / quats.norm(dim=-1, keepdim=True)).unbind(-1)
    R = [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)]
    R += [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)]
    R += [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]
    axes = torch.stack(R, -1).unflatten(-1, (3, 3)) * scales[:, None, :]  # R diag(s)
    return axes @ axes.mT


check = Checker("5.1")
SIZES = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)


def _expected(quats: Tensor) -> Tensor:
    R = rotation_matrices(quats)
    return R @ torch.diag_embed(SIZES**2) @ R.mT


def _turn(degrees: float, *axis: float) -> Tensor:
    half = math.radians(degrees) / 2
    return torch.tensor([[math.cos(half), *(math.sin(half) * a for a in axis)]], dtype=torch.float64)


@check.property("without a turn, the squared sizes stand on the diagonal")
def _(answer):
    close(answer(torch.tensor([[1.0, 0, 0, 0]], dtype=torch.float64), SIZES), torch.diag_embed(SIZES**2))


@check.property("a quarter turn about z swaps the first two axes")
def _(answer):
    close(
        answer(_turn(90, 0, 0, 1), SIZES),
        torch.diag(torch.tensor([4.0, 1.0, 9.0]))[None],
        hint="w comes first, and z last",
    )


@check.property("a turn about any axis is right, and goes the right way")
def _(answer):
    quats = _turn(50, 0.6, 0, 0.8)
    close(answer(quats, SIZES), _expected(quats), hint="the opposite turn has the opposite signs off the diagonal")


@check.property("the length of a quaternion does not matter")
def _(answer):
    close(answer(3 * _turn(50, 0.6, 0, 0.8), SIZES), _expected(_turn(50, 0.6, 0, 0.8)))


@check.property("q and -q are the same turn")
def _(answer):
    close(answer(-_turn(50, 0.6, 0, 0.8), SIZES), _expected(_turn(50, 0.6, 0, 0.8)))


@check.property("many Gaussians at once, each with its own turn and sizes")
def _(answer):
    quats = torch.cat([_turn(90, 0, 0, 1), _turn(50, 0.6, 0, 0.8)])
    R = rotation_matrices(quats)
    sizes = torch.cat([SIZES, SIZES / 2])
    close(answer(quats, sizes), R @ torch.diag_embed(sizes**2) @ R.mT)
