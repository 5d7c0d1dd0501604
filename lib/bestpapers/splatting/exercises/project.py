r"""Project a Gaussian

A camera maps a point $(x, y, z)$ of its own axes to $u = (f_x\,x/z + c_x,\; f_y\,y/z + c_y)$. A Gaussian goes through the
best linear map at its centre:

$$J = \begin{pmatrix} f_x/z & 0 & -f_x\,x/z^2 \\ 0 & f_y/z & -f_y\,y/z^2 \end{pmatrix}, \qquad
S = J\,W\,\Sigma\,W^\top J^\top ,$$

where $W$ is the rotation of the camera. Axes are those of OpenCV: $x$ to the right, $y$ down, $z$ forward. In $J$, and only
there, $x/z$ and $y/z$ stop at $\pm 1.3$ times the half width and half height of the view, $\mathrm{width}/(2 f_x)$ and
$\mathrm{height}/(2 f_y)$. The principal point lies in the middle of the image.
"""

import torch
from torch import Tensor

from ...course.checks import Checker, close
from ._four import F64, HEIGHT, MEANS, QUATS, SCALES, WIDTH, K
from .covariance import covariance

LEVEL, MINUTES, DIFFICULTY = "core", 25, 2
HINT = r"""
Work in the camera's axes first, `means @ W.T + t`. Compute $u$ before you clamp anything. Build $J$ from entries of shape
[N], `torch.stack` them to [N, 6], and give that the shape [N, 2, 3].
"""
NOTE = r"""
The third column of $J$ is what tilts an ellipse off the axis: a splat that reaches into depth is smeared towards or away
from the middle of the image. The clamp touches the shape only. Were it applied to the centre, everything outside the view
would pile up along a frame around it.
"""


def project(
    means: Tensor,
    covariances: Tensor,
    viewmat: Tensor,
    K: Tensor,
    width: int,
    height: int,
) -> tuple[Tensor, Tensor]:
    """Centres and covariances of N Gaussians on the screen.

    means [N, 3], covariances [N, 3, 3] in scene units; viewmat [4, 4] world to camera;
    K [3, 3] in px
    -> centres [N, 2] in px, covariances [N, 2, 2] in px^2
    """
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    x, y, z = (means @ viewmat[:3, :3].T + viewmat[:3, 3]).unbind(-1)
    centres = torch.stack([fx * x / z + cx, fy * y / z + cy], -1)
    limit_x, limit_y = 1.3 * width / (2 * fx), 1.3 * height / (2 * fy)
    x, y = z * (x / z).clamp(-limit_x, limit_x), z * (y / z).clamp(-limit_y, limit_y)
    zero = torch.zeros_like(z)
    J = torch.stack([fx / z, zero, -fx * x / z**2, zero, fy / z, -fy * y / z**2], -1)
    M = J.unflatten(-1, (2, 3)) @ viewmat[:3, :3]
    return centres, M @ covariances @ M.mT


check = Checker("5.2")
EYE = torch.eye(4, dtype=F64)
SPACE = covariance(QUATS, SCALES)
TURNED = torch.tensor(
    [[0, 1.0, 0, 0.1], [-1, 0, 0, 0.2], [0, 0, 1, 0.5], [0, 0, 0, 1]], dtype=F64
)  # a quarter turn, a step


def _ask(answer, which, view=EYE, covariances=None):
    return answer(MEANS[which], SPACE[which] if covariances is None else covariances, view, K, WIDTH, HEIGHT)


def _conic(cov2d: Tensor) -> Tensor:
    """(xx, xy, yy) of (S + 0.3 I)^-1, as rasterisers keep it."""
    inverse = torch.linalg.inv(cov2d + 0.3 * torch.eye(2, dtype=F64))
    return torch.stack([inverse[..., 0, 0], inverse[..., 0, 1], inverse[..., 1, 1]], -1)


@check.property("a centre goes where the pinhole puts it")
def _(answer):
    close(_ask(answer, [0, 1])[0], [[64, 48], [76, 40]], rtol=0, atol=1e-8, hint="y points down, z into the scene")


@check.property("the camera's own place and turn count")
def _(answer):
    close(_ask(answer, [0, 1], TURNED)[0], [[68, 56], [64 - 10 / 3, 48 - 10 / 3]], rtol=0, atol=1e-8)


@check.property("on the axis, sizes are multiplied by f / z")
def _(answer):
    close(_ask(answer, [0])[1], [[[6.25, 0], [0, 6.25]]], rtol=0, atol=1e-8, hint="(100 / 2)^2 times 0.05^2, in px^2")


@check.property("off the axis, depth tilts the ellipse")
def _(answer):
    close(
        _conic(_ask(answer, [1])[1]),
        [[0.299341459, -0.390793512, 0.822612186]],
        rtol=0,
        atol=2e-8,
        hint="compared is (xx, xy, yy) of the inverse of S + 0.3 I; does J have its third column?",
    )


@check.property("the camera's turn turns the ellipse")
def _(answer):
    long = torch.diag(torch.tensor([0.04, 0.01, 0.01], dtype=F64))[None]
    S = _ask(answer, [0], torch.block_diag(TURNED[:3, :3], torch.ones(1, 1, dtype=F64)), long)[1]
    close(S, [[[25, 0], [0, 100]]], rtol=0, atol=1e-8, hint="what lies along the world's x, this camera sees upright")


@check.property("outside the view, J stops at 1.3 times its half width")
def _(answer):
    close(
        _conic(_ask(answer, [2])[1]),
        [[0.009568747, -0.004398452, 1.769977631]],
        rtol=0,
        atol=2e-8,
        hint="compared is (xx, xy, yy) of the inverse of S + 0.3 I",
    )


@check.property("outside the view, the centre stays where the pinhole puts it")
def _(answer):
    close(_ask(answer, [2])[0], [[159, 53]], rtol=0, atol=1e-8)
