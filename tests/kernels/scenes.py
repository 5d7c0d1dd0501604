"""Scenes for the tests of `rasterization`: dicts of its arguments, in float64 on the CPU.

Two kinds. `random_scene` keeps away from the places where the definition jumps, so that a float32 backend can be compared
with the float64 reference closely. `EDGE_CASES` go exactly there, one hard thing at a time.
"""

from __future__ import annotations

import math

import torch

from bestpapers.kernels.rasterize import rules

DIFFERENTIABLE = ("means", "quats", "scales", "opacities", "colors", "viewmats", "Ks", "backgrounds")


def random_scene(n=30, cameras=1, channels=3, sh_degree=None, seed=0, size=(33, 17)) -> dict:
    """`n` Gaussians before `cameras` cameras, size = (width, height) px.

    Depths 2 to 4, 0.7 to 3 px wide, opacity 0.2 to 0.8: nothing is near a plane, the opacity clamp, the view margin or the
    end of a pixel's light. What jumps remain (alpha = 1/255 at each rim) a fixed seed steps over.
    """
    g = torch.Generator().manual_seed(1000 * seed + n)

    def uniform(*shape, low=0.0, high=1.0):
        return low + (high - low) * torch.rand(*shape, generator=g, dtype=torch.float64)

    width, height = size
    focal = 0.9 * max(size)
    z = uniform(n, low=2.0, high=4.0)
    half = torch.tensor([width, height], dtype=torch.float64) / (2 * focal)  # tan of half the field of view
    xy = uniform(n, 2, low=-1.1, high=1.1) * half * z[:, None]
    K = torch.tensor([[focal, 0, width / 2 + 0.3], [0, 1.1 * focal, height / 2 - 0.2], [0, 0, 1]], dtype=torch.float64)
    scene = dict(
        means=torch.cat([xy, z[:, None]], dim=1),
        quats=torch.randn(n, 4, generator=g, dtype=torch.float64) + torch.tensor([0.5, 0, 0, 0], dtype=torch.float64),
        scales=uniform(n, 3, low=0.7, high=3.0) * z[:, None] / focal,
        opacities=uniform(n, low=0.2, high=0.8),
        viewmats=torch.stack([_camera(uniform(6, low=-1.0)) for _ in range(cameras)]),
        Ks=K.repeat(cameras, 1, 1) * (1 + 0.1 * torch.arange(cameras)[:, None, None] * (K != 1)),
        backgrounds=uniform(cameras, channels),
        width=width,
        height=height,
        sh_degree=sh_degree,
    )
    if sh_degree is None:
        scene["colors"] = uniform(n, channels)
    else:  # the first coefficient keeps the sum clear of max(0, .)
        scene["colors"] = 0.1 * torch.randn(n, (sh_degree + 1) ** 2, channels, generator=g, dtype=torch.float64)
        scene["colors"][:, 0] += uniform(n, channels)
    return scene


def _camera(r: torch.Tensor) -> torch.Tensor:
    """World to camera [4, 4]: a turn of up to 0.1 rad and a shift of up to 0.1, from six numbers in -1..1."""
    turn = torch.zeros(3, 3, dtype=torch.float64)
    turn[0, 1], turn[0, 2], turn[1, 2] = 0.06 * r[:3]
    view = torch.eye(4, dtype=torch.float64)
    view[:3, :3] = torch.linalg.matrix_exp(turn - turn.T)
    view[:3, 3] = 0.1 * r[3:]
    return view


def empty() -> dict:
    """No Gaussian at all: the picture is its background."""
    return random_scene(n=0, cameras=2)


def culled() -> dict:
    """Gaussians that no camera may draw: behind it, at its very centre, nearer than the near plane, beside the view."""
    scene = random_scene(n=4)
    scene["viewmats"][:] = torch.eye(4)
    scene["means"][:] = torch.tensor([[0, 0, -2], [0, 0, 0], [0, 0, 0.005], [80, 0, 2]])
    return scene


def behind() -> dict:
    """Every third Gaussian is behind the camera, and the rest must not notice."""
    scene = random_scene(n=12, seed=1)
    scene["means"][::3, 2] *= -1
    return scene


def near() -> dict:
    """Gaussians so close that their ellipses are larger than the picture, some with their centre far outside (the margin)."""
    scene = random_scene(n=6, seed=2)
    scene["means"][:, 2] = 0.1 + 0.05 * torch.arange(6)
    scene["means"][:, :2] *= 0.05
    scene["means"][::2, 0] += 0.3  # beyond the clamp of the projection's slope
    scene["scales"] *= 0.2
    return scene


def wide() -> dict:
    """Centres beyond the margin on all four sides whose ellipses still reach the picture."""
    scene = random_scene(n=4, seed=3)
    scene["means"][:] = torch.tensor([[2.6, 0.1, 2.0], [-2.6, 0.2, 2.2], [0.1, 1.6, 2.1], [0.2, -1.6, 2.3]])
    scene["scales"][:] = torch.tensor([0.7, 0.5, 0.3])
    return scene


def needles() -> dict:
    """A thousand times longer than thick, at all angles: det S is the difference of two nearly equal products."""
    scene = random_scene(n=8, seed=4)
    scene["scales"] = torch.tensor([[1.0, 1e-3, 1e-3]], dtype=torch.float64).repeat(8, 1) * 2
    angle = math.pi * (torch.arange(8, dtype=torch.float64) + 0.5) / 16
    zero = torch.zeros_like(angle)
    scene["quats"] = torch.stack([angle.cos(), zero, zero, angle.sin()], dim=-1)
    return scene


def huge() -> dict:
    """Larger than the view: each reaches every tile."""
    scene = random_scene(n=5, seed=5)
    scene["scales"] *= 30
    return scene


def tiny() -> dict:
    """Thinner than a hundredth of a pixel: only the blur keeps them visible, and rho falls to its floor."""
    scene = random_scene(n=10, seed=6)
    scene["scales"] *= 1e-3
    scene["opacities"][:] = 1.0  # times rho = 0.005 that is still above 1/255
    return scene


def ties() -> dict:
    """All at one depth for the first camera: the order of the arrays decides."""
    scene = random_scene(n=12, seed=7)
    scene["viewmats"][:] = torch.eye(4)
    scene["means"][:, 2] = 3.0
    return scene


def opaque() -> dict:
    """Forty layers, most of them fully opaque: alpha is clamped, and light runs out after a few."""
    scene = random_scene(n=40, seed=8)
    scene["scales"] *= 4
    scene["opacities"][::2] = 1.0
    return scene


def faint() -> dict:
    """Peak opacity just below and just above 1/255: half of them are never seen, half in a pixel or two."""
    scene = random_scene(n=10, seed=9)
    scene["opacities"] = torch.linspace(0.6, 1.6, 10, dtype=torch.float64) / 255
    return scene


EDGE_CASES = {
    f.__name__: f for f in (empty, culled, behind, near, wide, needles, huge, tiny, ties, opaque, faint)
}  # fmt: skip

ALONE = ("random", "wide", "tiny", "needles", "behind")


def assert_projects_alike(ops, reference, name: str, eps2d: float, device: str) -> None:
    """Projection alone, also where det S' is on its floor (tiny, without blur): the values of `ops` in float32 are those of the
    reference in float64, and the gradients for a random gradient of every output at once."""
    scene = random_scene(20, cameras=2) if name == "random" else EDGE_CASES[name]()
    names = ("means", "quats", "scales", "viewmats", "Ks")

    def pull(ops, dtype):
        inputs = [scene[k].to(device, dtype).requires_grad_() for k in names]
        out = ops.project(*inputs, scene["width"], scene["height"], eps2d, rules.NEAR_PLANE, rules.FAR_PLANE)
        seen = out[4][..., 0] > 0  # the others hold nothing of meaning
        g, loss = torch.Generator().manual_seed(2), 0.0
        for t in out[:4]:
            weight = torch.randn(t.shape, generator=g, dtype=torch.float64).to(t)
            size = t.detach()[seen].abs().max()  # so that every output counts
            loss = loss + (t * weight)[seen].sum() / size
        grads = torch.autograd.grad(loss, inputs)
        return [t.detach()[seen].double().cpu() for t in out[:4]], {k: g.double().cpu() for k, g in zip(names, grads)}

    got, got_grads = pull(ops, torch.float32)
    want, want_grads = pull(reference, torch.float64)
    if name == "tiny" and not eps2d:
        assert (want[3] < 0.99).any(), "without a floor, det S' would be det S"
    for a, b in zip(got, want):
        assert (a - b).abs().max() <= 1e-5 * b.abs().max()
    for k in names:
        size = want_grads[k].square().mean().sqrt()
        assert (got_grads[k] - want_grads[k]).square().mean().sqrt() <= 1e-4 * size, k
