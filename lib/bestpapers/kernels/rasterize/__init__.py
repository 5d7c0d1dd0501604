"""Differentiable rasterisation of 3D Gaussians: the one public function is `rasterization`.

Behind it stand three ops in a row, each in a room of its own with a torch reference (`reference.py`), a Numba form (`cpu.py`)
and a Triton form (`gpu.py`): *project* (3D Gaussian to 2D ellipse), *harmonics* (direction to colour), *composite* (ellipses to
pixels). The fast forms have a fourth room before the last, *tiles*: which Gaussians each tile of the picture draws.

Four ideas carry the fast forms. CPU and GPU have the same ones, so reading one teaches the other:

1. *Tiles.* A pixel looks only at the Gaussians that reach its tile of 16 x 16 pixels.
2. *Sort once.* Gaussians are sorted by depth before they are dealt out to the tiles, not pair by pair.
3. *A program per tile, a loop over the tile's Gaussians from near to far, the tile's pixels as the vector.*
4. *No shared sums.* Whatever many programs contribute to is written out in parts and summed in a second step, in a fixed order.
   So neither the number of threads nor the run changes a bit of the result.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .. import arguments, dispatch
from . import reference, rules

__all__ = ["Rendering", "rasterization"]


class Rendering(NamedTuple):
    """What `rasterization` returns.

    colors [C, H, W, D], alphas [C, H, W, 1] in [0, 1], depths [C, H, W, 1] expected camera z in scene units (0 where nothing
    is hit; None if not asked for), and meta: a dict of intermediate tensors named as in gsplat: means2d [C, N, 2], depths
    [C, N], conics [C, N, 3], opacities [C, N] (compensated, 0 = culled), radii [C, N, 2], and the name of the backend.
    """

    colors: Tensor
    alphas: Tensor
    depths: Tensor | None
    meta: dict[str, Any]


def rasterization(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    viewmats: Tensor,
    Ks: Tensor,
    width: int,
    height: int,
    *,
    near_plane: float = rules.NEAR_PLANE,
    far_plane: float = rules.FAR_PLANE,
    eps2d: float = 0.3,
    sh_degree: int | None = None,
    backgrounds: Tensor | None = None,
    render_mode: str = "RGB+ED",
    rasterize_mode: str = "classic",
    backend: str = "auto",
) -> Rendering:
    """Render N 3D Gaussians into C cameras. Arguments, units and pixel convention follow `gsplat.rasterization`.

    Shapes (N Gaussians, C cameras, D channels, K >= (sh_degree + 1)^2 coefficients; one float type and device for all):
        means      [N, 3]     centres, scene units
        quats      [N, 4]     rotations (w, x, y, z), of any length > 0
        scales     [N, 3]     standard deviations along the rotated axes, scene units, after exp()
        opacities  [N]        peak opacity in [0, 1], after sigmoid()
        colors     [N, D] or [C, N, D]; with sh_degree: spherical harmonics [N, K, D] or [C, N, K, D]
        viewmats   [C, 4, 4]  world to camera; x right, y down, z forward (OpenCV)
        Ks         [C, 3, 3]  intrinsics in px, without skew; pixel i has its centre at i + 0.5
        backgrounds [D] or [C, D], colour behind everything; black if None

    Args:
        eps2d: variance in px^2 added to every projected Gaussian.
        rasterize_mode: "classic" leaves the opacity as it is (a dilation); "antialiased" multiplies it by
            rho = sqrt(det S / det(S + eps2d I)), which keeps the Gaussian's light (Mip-Splatting, 2D Mip filter).
            3DGS = ("classic", 0.3), 3DGS + EWA = ("antialiased", 0.3), the 2D Mip filter = ("antialiased", 0.1).
        sh_degree: evaluate `colors` as spherical harmonics of this degree (0 to 3) in the viewing direction; the result is
            max(0, 0.5 + sum).
        render_mode: "RGB" or "RGB+ED" (expected depth as well).
        backend: "auto" (Triton on CUDA, Numba on CPU, else the reference), "reference", "numba" or "triton".

    Gradients flow to every float tensor among the arguments, cameras included.

    Three float32 numbers hold the shape of splats up to about 1,000 times as long as wide: these have their light within a
    few percent, also where their middle lies far off the picture. Of longer ones less is right, in every backend, and what is
    16,000 times as long as wide may be missing. In float64 the reference draws them.

    Raises:
        ValueError: a shape, range or value is wrong (NaN and infinity included); the message names the argument.
        RuntimeError: the backend asked for cannot run here; the message says why.

    Sources: Kerbl et al. 2023 (3DGS), Yu et al. 2024 (Mip-Splatting); constants and choices in `rules.py`.
    """
    colors, backgrounds = _check(
        means, quats, scales, opacities, colors, viewmats, Ks, width, height,
        near_plane, far_plane, eps2d, sh_degree, backgrounds, render_mode, rasterize_mode,
    )  # fmt: skip
    width, height = int(width), int(height)
    name = dispatch.choose("rasterization", backend, means.device, means.dtype)
    ops = _Reference if name == "reference" else _compiled(name)

    means2d, depths, conics, rho, radii = ops.project(
        means, quats, scales, viewmats, Ks, width, height, eps2d, near_plane, far_plane
    )
    opacity = torch.where(radii[..., 0] > 0, opacities * rho if rasterize_mode == "antialiased" else opacities, 0.0)
    if sh_degree is not None:
        eyes = -(viewmats[:, :3, :3].mT @ viewmats[:, :3, 3:]).mT  # [C, 1, 3], camera centres
        colors = torch.clamp_min(ops.spherical_harmonics(sh_degree, means - eyes, colors, radii[..., 0] > 0) + 0.5, 0.0)
    colors = colors.expand(*depths.shape, colors.shape[-1])  # [C, N, D]
    with_depth = render_mode == "RGB+ED"
    if with_depth:
        colors = torch.cat([colors, depths[..., None]], dim=-1)

    image, alpha = ops.composite(means2d, conics, colors, opacity, depths.detach(), width, height)
    alphas, expected = alpha[..., None], None
    if with_depth:
        expected = image[..., -1:] / alphas.clamp(min=1e-10)
        image = image[..., :-1]
    if backgrounds is not None:
        image = torch.addcmul(image, 1.0 - alphas, backgrounds[:, None, None, :])
    meta = dict(means2d=means2d, depths=depths, conics=conics, opacities=opacity, radii=radii, backend=name)
    return Rendering(image, alphas, expected, meta)


def _check(
    means, quats, scales, opacities, colors, viewmats, Ks, width, height,
    near_plane, far_plane, eps2d, sh_degree, backgrounds, render_mode, rasterize_mode,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """Refuse bad input with a sentence; return colors and backgrounds with their camera axis."""

    need = arguments.needs("rasterization")
    tensors = dict(
        means=means, quats=quats, scales=scales, opacities=opacities, colors=colors, viewmats=viewmats, Ks=Ks
    )
    if backgrounds is not None:
        tensors["backgrounds"] = backgrounds
    arguments.check_tensors(need, tensors)
    fine = means.dtype in (torch.float32, torch.float64)
    need(fine, f"means is {means.dtype}, too coarse for places in a picture; use torch.float32 for all")
    for name, t in tensors.items():
        need(t.dtype == means.dtype, f"{name} is {t.dtype} but means is {means.dtype}; use one float type for all")

    def shape(name: str, *want: tuple) -> None:
        got = tuple(tensors[name].shape)
        fits = [
            len(got) == len(w) and all(isinstance(a, str) or a == b for a, b in zip(w, got, strict=True)) for w in want
        ]
        words = " or ".join("[" + ", ".join(map(str, w)) + "]" for w in want)
        need(any(fits), f"{name} must have shape {words}, got {list(got)}")

    shape("means", ("N", 3))
    N = len(means)
    shape("viewmats", ("C", 4, 4))
    C = len(viewmats)
    need(C > 0, "viewmats holds no camera; give at least one")
    shape("quats", (N, 4))
    shape("scales", (N, 3))
    shape("opacities", (N,))
    shape("Ks", (C, 3, 3))
    if sh_degree is None:
        shape("colors", (N, "D"), (C, N, "D"))
    else:
        need(sh_degree in (0, 1, 2, 3), f"sh_degree must be 0, 1, 2, 3 or None, got {sh_degree!r}")
        shape("colors", (N, "K", "D"), (C, N, "K", "D"))
        want = (sh_degree + 1) ** 2
        need(
            colors.shape[-2] >= want, f"sh_degree {sh_degree} needs {want} coefficients, colors has {colors.shape[-2]}"
        )
    if backgrounds is not None:
        shape("backgrounds", (colors.shape[-1],), (C, colors.shape[-1]))
        backgrounds = backgrounds.expand(C, colors.shape[-1])
    sizes = dict(width=width, height=height)
    for name, size in sizes.items():
        whole = hasattr(size, "__index__") and not isinstance(size, (bool, Tensor))
        need(whole and size > 0, f"{name} must be a whole number of pixels > 0, got {size!r}")
    need(0 < near_plane < far_plane, f"need 0 < near_plane < far_plane, got {near_plane} and {far_plane}")
    need(0 <= eps2d < float("inf"), f"eps2d is a variance in px^2, finite and >= 0, got {eps2d}")
    need(render_mode in ("RGB", "RGB+ED"), f'render_mode must be "RGB" or "RGB+ED", got {render_mode!r}')
    need(
        rasterize_mode in ("classic", "antialiased"),
        f'rasterize_mode must be "classic" or "antialiased", got {rasterize_mode!r}',
    )
    if bad := arguments.first_not_finite(tensors):
        need(False, f"{bad.name}{bad.at} is {bad.value}; {bad.of_that_kind} values of {bad.name} are not finite")
    skew = Ks[:, 0, 1].detach().abs().max().item()
    need(
        skew == 0, f"Ks[:, 0, 1] holds a skew of {skew:g} px; only upright pixels are drawn: warp the photographs first"
    )
    return colors, backgrounds


class _Reference:
    """The reference under the names that the fast backends use."""

    @staticmethod
    def project(means, quats, scales, viewmats, Ks, width, height, eps2d, near_plane, far_plane):
        return reference.project(
            means, quats, scales, viewmats, Ks, width, height, eps2d=eps2d, near_plane=near_plane, far_plane=far_plane
        )

    @staticmethod
    def spherical_harmonics(degree, dirs, coeffs, seen):
        return reference.spherical_harmonics(degree, dirs, coeffs)

    composite = staticmethod(reference.composite)


class _Compiled:
    """Autograd around the hand-written forward and backward passes of one backend: a module from each room."""

    def __init__(self, project: ModuleType, harmonics: ModuleType, tiles: ModuleType, composite: ModuleType):
        self.rooms = project, harmonics, tiles, composite

    def project(self, means, quats, scales, viewmats, Ks, *settings):
        return _Project.apply(self.rooms[0], means, quats, scales, viewmats, Ks, *settings)

    def spherical_harmonics(self, degree, dirs, coeffs, seen):
        if coeffs.dim() == 4:  # coefficients of their own for every camera: one long list of Gaussians
            long = dirs.reshape(1, -1, 3), coeffs.flatten(0, 1), seen.reshape(1, -1)
            return _Harmonics.apply(self.rooms[1], degree, *long).reshape(*dirs.shape[:-1], -1)
        return _Harmonics.apply(self.rooms[1], degree, dirs, coeffs, seen)

    def composite(self, means2d, conics, colors, opacities, depths, width, height):
        return _Composite.apply(*self.rooms[2:], means2d, conics, colors, opacities, depths, width, height)


def _compiled(name: str) -> _Compiled:
    module = dispatch.PASSES[name]  # imported on first use: compilers are slow to load
    rooms = ("project", "harmonics", "tiles", "composite")
    return _Compiled(*(importlib.import_module(f"{__name__}.{room}.{module}") for room in rooms))


class _Project(torch.autograd.Function):
    @staticmethod
    def forward(ctx, module, means, quats, scales, viewmats, Ks, *settings):
        inputs = [t.contiguous() for t in (means, quats, scales, viewmats, Ks)]
        out = module.forward(*inputs, *settings)
        ctx.module, ctx.settings = module, settings
        ctx.save_for_backward(*inputs)
        ctx.mark_non_differentiable(out[-1])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, *grads):
        upstream = [g.contiguous() for g in grads[:4]]
        cameras = any(ctx.needs_input_grad[4:6])
        grads = ctx.module.backward(*ctx.saved_tensors, *ctx.settings, *upstream, cameras=cameras)
        return None, *grads, *([None] * 5)


class _Harmonics(torch.autograd.Function):
    @staticmethod
    def forward(ctx, module, degree, dirs, coeffs, seen):
        inputs = [t.contiguous() for t in (dirs, coeffs, seen)]
        ctx.module, ctx.degree = module, degree
        ctx.save_for_backward(*inputs)
        return module.forward(degree, *inputs)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        return None, None, *ctx.module.backward(ctx.degree, *ctx.saved_tensors, grad.contiguous()), None


class _Composite(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tiles, module, means2d, conics, colors, opacities, depths, width, height):
        inputs = [t.contiguous() for t in (means2d, conics, colors, opacities)]
        lists = tiles.bin_tiles(*inputs[:2], inputs[3], depths.contiguous(), width, height)
        image, alpha, *kept = module.forward(*inputs, lists, width, height)
        ctx.module, ctx.lists, ctx.size = module, lists, (width, height)
        ctx.save_for_backward(*inputs, *kept)
        return image, alpha

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_image, grad_alpha):
        saved = ctx.saved_tensors
        grads = ctx.module.backward(
            *saved[:4], ctx.lists, *ctx.size, *saved[4:], grad_image.contiguous(), grad_alpha.contiguous()
        )
        return None, None, *grads, None, None, None
