r"""$\varphi$ from cameras

The 3D filter of a Gaussian is a ball of standard deviation $\varphi = \sqrt{0.2}/\hat\nu$, where $\hat\nu$ is the best
rate, in pixels per scene unit, at which a training camera samples its centre. Two rules for $\hat\nu$:

- `"paper"`, Eq. 7: the largest $f_n/z_n$ over the cameras $n$ that see the centre;
- `"code"`, the authors' program: the largest $f_n$ of *all* cameras, over the smallest $z_n$ among those that see it.

A camera sees a point if $z > 0.2$ and the point lies at most 15 % of the image's width (height) outside the image. What no
camera sees gets the largest filter among the Gaussians that some camera sees. Take $f = f_x$.

Before you write: a point stands at $z = 2$ before a camera with $f = 100$ px and at $z = 4$ before one with $f = 200$ px.
What is its $\varphi$ under each rule, and which of them is right?
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ...course.checks import Checker, close
from .. import data
from ._four import F64, HEIGHT, MEANS, WIDTH, K

LEVEL, MINUTES, DIFFICULTY = "core", 20, 2
HINT = r"""
One loop over the cameras, all points at once, keeps both the smallest $z$ (start at infinity) and the largest $f/z$ (start
at 0). Which rule to use is decided after the loop. A point that nobody saw still has its starting value.
"""
NOTE = r"""
The point is sampled at 50 px per unit by either camera. Eq. 7 gives $\varphi = 0.447/50 = 0.0089$. The program takes the
long lens of one camera and the small distance of the other, 100 px per unit, and gets 0.0045: a rate that no camera has,
and a filter too small by half. Where all focal lengths agree, the rules agree too.
"""


def filter_size(means: Tensor, cameras: Sequence[data.Camera], rule: str) -> Tensor:
    """Standard deviation of each Gaussian's 3D filter, in scene units.

    means [N, 3]; each camera has viewmat [4, 4] and K [3, 3] (NumPy), width, height;
    rule "paper" or "code" -> [N]
    """
    nearest = torch.full_like(means[:, 0], math.inf)
    best = torch.zeros_like(nearest)
    for camera in cameras:
        view = torch.tensor(camera.viewmat).to(means)
        K = torch.tensor(camera.K).to(means)
        x, y, z = (means @ view[:3, :3].T + view[:3, 3]).unbind(-1)
        u, v = K[0, 0] * x / z + K[0, 2], K[1, 1] * y / z + K[1, 2]
        off_x, off_y = (u / camera.width - 0.5).abs(), (v / camera.height - 0.5).abs()
        seen = (off_x <= 0.65) & (off_y <= 0.65) & (z > 0.2)
        nearest = torch.where(seen, torch.minimum(nearest, z), nearest)
        best = torch.where(seen, torch.maximum(best, K[0, 0] / z), best)
    if rule == "code":
        best = max(camera.K[0, 0] for camera in cameras) / nearest  # 0 if never seen
    return 0.2**0.5 / torch.where(best > 0, best, best[best > 0].min())


check = Checker("5.5")
RULES = ("paper", "code")


def _camera(focal: float, back: float = 0.0, size: int = 100) -> data.Camera:
    """Looks along +z from `back` scene units behind the origin."""
    view = torch.eye(4, dtype=F64)
    view[2, 3] = back
    K = np.array([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]])
    return data.Camera(view.numpy(), K, size, size)


def _points(*rows: Sequence[float]) -> Tensor:
    return torch.tensor(rows, dtype=F64)


@check.property("for one camera, it is the root of 0.2 pixels at the point's depth")
def _(answer):
    camera = data.Camera(torch.eye(4).numpy(), K.numpy(), WIDTH, HEIGHT)
    for rule in RULES:
        close(
            answer(MEANS[[0, 1, 3]], [camera], rule),
            [0.008944272, 0.011180340, 0.017888544],
            rtol=1e-6,
            hint="depth along the axis, not distance; a standard deviation, not a variance",
        )


@check.property("paper: the camera with the largest f / z decides")
def _(answer):
    cameras = [_camera(100, back=-2), _camera(200), _camera(90, back=-1)]
    close(
        answer(_points([0, 0, 4]), cameras, "paper"), [math.sqrt(0.2) / 50], hint="rates are 50, 50 and 30 px per unit"
    )


@check.property("code: the largest f of all, over the smallest z")
def _(answer):
    close(
        answer(_points([0, 0, 4]), [_camera(100, back=-2), _camera(200)], "code"),
        [math.sqrt(0.2) * 2 / 200],
        hint="z is 2 and 4; the largest f belongs to the camera farther away",
    )


@check.property("code: the largest f counts even where that camera sees nothing")
def _(answer):
    blind = _camera(400, back=-9)
    close(answer(_points([0, 0, 4]), [_camera(100), blind], "code"), [math.sqrt(0.2) * 4 / 400])


@check.property("up to 15 % outside the image still counts as seen")
def _(answer):
    far = [0, 0, 8.0]
    for rule in RULES:
        found = answer(_points([1.29, 0, 1], [0, -1.29, 1], far), [_camera(50)], rule)
        close(found, math.sqrt(0.2) / 50 * torch.tensor([1.0, 1, 8]), hint="u = 50 x + 50 runs from -15 to 115")


@check.property("what no camera sees gets the largest filter of the seen ones")
def _(answer):
    for rule in RULES:
        found = answer(_points([0, 0, 1], [0, 0, 8], [1.31, 0, 1], [0, -1.31, 1]), [_camera(50)], rule)
        close(found, math.sqrt(0.2) / 50 * torch.tensor([1.0, 8, 8, 8]), hint="the last two lie 15.5 % outside")


@check.property("a camera does not see what is nearer than 0.2, or behind it")
def _(answer):
    for rule in RULES:
        found = answer(_points([0, 0, 0.19], [0, 0, -3], [0, 0, 2]), [_camera(50)], rule)
        close(found, math.sqrt(0.2) / 50 * torch.tensor([2.0, 2, 2]))
