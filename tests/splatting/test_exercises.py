"""Every checker against its solution, against named mistakes, and against the stub; and what the pages say of them."""

import io
import itertools
import math
import re
from pathlib import Path

import numpy as np
import plyfile
import pytest
import torch

from bestpapers.kernels.rasterize import reference
from bestpapers.lab import images
from bestpapers.splatting import evaluate, exercises, filters, formats, model, train
from bestpapers.splatting.exercises import _four as four
from bestpapers.splatting.exercises.blend import blend
from bestpapers.splatting.exercises.covariance import covariance
from bestpapers.splatting.exercises.filter_size import filter_size
from bestpapers.splatting.exercises.fit_blob import fit_blob
from bestpapers.splatting.exercises.missed import missed
from bestpapers.splatting.exercises.ply_file import NAMES, _scene, ply_file
from bestpapers.splatting.exercises.project import project
from bestpapers.splatting.exercises.redraw import redraw
from bestpapers.splatting.exercises.reset_opacity import reset_opacity
from bestpapers.splatting.exercises.turn_harmonics import turn_harmonics
from bestpapers.splatting.exercises.widen import widen
from bestpapers.splatting.exercises.widen_backward import widen_backward
from bestpapers.splatting.exercises.zoom_out import zoom_out

from ..solutions import assert_all_have_mistakes, assert_checker_tells, by_name

EYE = torch.eye(2, dtype=torch.float64)


# ------------------------------------------------------------------------------------------------- answers that are wrong


def covariance_from_angle(quats, scales):
    """Half the angle from the length of the vector part alone: right for w > 0 only."""
    q = quats / quats.norm(dim=-1, keepdim=True)
    half = q[:, 1:].norm(dim=-1, keepdim=True).asin()
    axis = torch.nn.functional.normalize(q[:, 1:], dim=-1)
    return covariance(torch.cat([half.cos(), half.sin() * axis], -1), scales)


def covariance_any_length(quats, scales):
    w, x, y, z = quats.unbind(-1)
    R = torch.stack(
        [
            torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], -1),
            torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], -1),
            torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], -1),
        ],
        -2,
    )
    return R @ torch.diag_embed(scales**2) @ R.mT


def conjugate(q):
    return q * torch.tensor([1.0, -1, -1, -1], dtype=q.dtype)


def project_part(means, covs, view, K, width, height, *, clamp=1.3, column=True, turn=True, centre=False):
    """The solution with parts left out."""
    W, t = view[:3, :3], view[:3, 3]
    x, y, z = (means @ W.T + t).unbind(-1)
    limit_x, limit_y = clamp * width / (2 * K[0, 0]), clamp * height / (2 * K[1, 1])
    cx, cy = z * (x / z).clamp(-limit_x, limit_x), z * (y / z).clamp(-limit_y, limit_y)
    at = (cx, cy) if centre else (x, y)
    u = torch.stack([K[0, 0] * at[0] / z + K[0, 2], K[1, 1] * at[1] / z + K[1, 2]], -1)
    zero = torch.zeros_like(z)
    J = torch.stack(
        [K[0, 0] / z, zero, -K[0, 0] * cx / z**2 * column, zero, K[1, 1] / z, -K[1, 1] * cy / z**2 * column], -1
    )
    M = J.unflatten(-1, (2, 3)) @ (W if turn else torch.eye(3, dtype=W.dtype))
    return u, M @ covs @ M.mT


def opengl(means, covs, view, K, width, height):
    return project(means, covs, torch.diag(torch.tensor([1.0, -1, -1, 1], dtype=view.dtype)) @ view, K, width, height)


def widen_part(cov, method, eps=None, factor=None):
    wide, rho = widen(cov, method)
    return cov + eps * EYE if eps else wide, rho if factor is None else factor(cov, wide, rho)


def trace(cov):
    return cov.diagonal(dim1=-2, dim2=-1).sum(-1)


def plain_rho(cov, wide, rho):
    return rho if (rho == 1).all() else (torch.det(cov) / torch.det(wide)).sqrt()


def blend_part(
    alphas, colors, depths, *, cap=0.99, skip=1 / 255, last=False, memory=True, order=True, T_of=None, hide=True
):
    """The solution with parts left out or changed."""
    light, T = alphas.new_zeros(len(alphas), 3), alphas.new_ones(len(alphas))
    going = torch.ones_like(T, dtype=torch.bool)
    for i in depths.argsort() if order else range(len(depths)):
        a = alphas[:, i].clamp(max=cap)
        a = torch.where(a >= skip, a, 0.0)
        before = going
        going = (going if memory else True) & (T * (1 - a) > 1e-4)
        a = torch.where(before if last else going, a, 0.0)
        light = light + ((T if hide else 1.0) * a)[:, None] * colors[i]
        T = T * (1 - a)
    return light, T_of(alphas) if T_of else T


def blend_first_pixel_decides(alphas, colors, depths):
    light, T = blend(alphas[:1], colors, depths)
    return light.expand(len(alphas), 3), T.expand(len(alphas))


def size_part(
    means, cameras, rule, *, margin=0.15, near=0.2, distance=False, unseen=min, power=1.0, all_f=True, rate=max
):
    """phi with other rules, camera by camera and point by point."""
    found = []
    for p in means:
        seen = []
        for camera in cameras:
            at = camera.viewmat[:3, :3] @ p.numpy() + camera.viewmat[:3, 3]
            with np.errstate(divide="ignore", invalid="ignore"):
                uv = (camera.K @ at)[:2] / at[2]
            size = np.array([camera.width, camera.height])
            if at[2] > near and (uv >= -margin * size).all() and (uv <= (1 + margin) * size).all():
                seen.append((camera.K[0, 0], np.linalg.norm(at) if distance else at[2]))
        longest = max(c.K[0, 0] for c in cameras) if all_f else max((f for f, _ in seen), default=0)
        nu = rate(f / z for f, z in seen) if rule == "paper" and seen else 0
        found.append(longest / min(z for _, z in seen) if rule == "code" and seen else nu)
    worst = unseen(nu for nu in found if nu)
    return torch.tensor([(math.sqrt(0.2) / (nu or worst)) ** power for nu in found])


def redraw_part(cov, opacities, *, add=0.2, factor=None, cap=1.0):
    """The solution with parts left out or changed."""
    other, wide = cov + add * EYE, cov + 0.3 * EYE
    rho = (torch.det(other) / torch.det(wide)).sqrt()
    return other, (opacities / (rho if factor is None else factor(cov, other, wide))).clamp(max=cap)


def missed_part(
    centres, stds, opacities, method, shift, *, half=0.5, way=1.0, rho=True, axes=2, eps=None, skip=1 / 255
):
    """The solution with parts left out or changed."""
    variance = stds**2 + (eps or (0.1 if method == "mip" else 0.3))
    height = opacities * stds**2 / variance if rho and (method != "3dgs" or rho == "always") else opacities
    away = (centres - way * torch.tensor(shift, dtype=centres.dtype) - half)[:, :axes]
    away = away - away.round()
    return height * torch.exp(-away.square().sum(-1) / (2 * variance)) < skip


def missed_by_the_pixel_below(centres, stds, opacities, method, shift):
    """Asks the pixel that is nearest while the grid stands still."""
    variance = stds**2 + (0.1 if method == "mip" else 0.3)
    height = opacities if method == "3dgs" else opacities * stds**2 / variance
    away = centres - torch.tensor(shift, dtype=centres.dtype) - 0.5 - (centres - 0.5).round()
    return height * torch.exp(-away.square().sum(-1) / (2 * variance)) < 1 / 255


def reset_through_the_sigmoid(logits, factors):
    opacity = logits.sigmoid()
    return torch.logit((opacity * factors).clamp(max=0.01) / factors)


def reset_to(ceiling):
    """Sets every drawn opacity, whatever it was."""
    return lambda logits, factors: torch.logit((ceiling / factors).clamp(max=0.999))


def backward_part(cov, eps, grad_wide, grad_rho, *, inverse=torch.linalg.inv, half=0.5, wide=True):
    out = cov + eps * EYE
    rho = (torch.det(cov) / torch.det(out)).sqrt()
    return grad_wide + (grad_rho * rho * half)[:, None, None] * (inverse(cov) - wide * inverse(out))


def fit_part(image, eps, compensate, *, rho=True, largest=math.inf, most=math.inf):
    v, o = fit_blob(image, eps, compensate and rho)
    return min(v, largest), min(o, most)


def fit_by_neighbours(image, eps, compensate):
    """From two pixels: exact for what a renderer draws, not for what a sensor sees."""
    m = len(image) // 2
    v = max(1e-3, -1 / (2 * math.log(image[m, m + 1] / image[m, m])) - eps)
    return v, image[m, m].item() * ((v + eps) / v if compensate else 1)


def fit_by_moments(image, eps, compensate):
    """From the second moment and the sum: exact for what a renderer draws, not least squares for anything else."""
    at = torch.arange(len(image), dtype=image.dtype) - len(image) // 2
    v = max(1e-3, ((image.sum(0) * at**2).sum() / image.sum()).item() - eps)
    return v, image.sum().item() / (2 * math.pi * (v if compensate else v + eps))


def fit_then_subtract(image, eps, compensate):
    """Fits the variance on the screen and takes eps off, without asking whether a variance can be negative."""
    wide, height = fit_blob(image, 0.0, False)
    return wide - eps, height * wide / (wide - eps) if compensate else height


def turn_by_few(coeffs, R):
    dirs = torch.randn(8, 3, generator=torch.Generator().manual_seed(0), dtype=coeffs.dtype)
    turned = reference.spherical_harmonics(3, dirs @ R.T, torch.eye(16, dtype=coeffs.dtype))
    return torch.linalg.lstsq(turned, reference.spherical_harmonics(3, dirs, coeffs), driver="gelsd").solution


def turn_degree_1_only(coeffs, R):
    one = torch.zeros_like(coeffs)
    one[:4] = coeffs[:4]
    out = turn_harmonics(one, R)
    out[4:] = coeffs[4:]
    return out


def ply(change=None, replace=(), dtype="<f4"):
    """The solution with its header, its columns, or its numbers changed."""

    def answer(scene):
        head, _, body = ply_file(scene).partition(b"end_header\n")
        for old, new in replace:
            assert old in head
            head = head.replace(old, new)
        table = np.frombuffer(body, "<f4").reshape(-1, 63).copy()
        if change:
            change(table)
        return head + b"end_header\n" + table.astype(dtype).tobytes()

    return answer


def column(name):
    return NAMES.index(name)


def interleave(table):
    first = column("f_rest_0")
    rest = table[:, first : first + 45].reshape(-1, 3, 15)
    table[:, first : first + 45] = rest.transpose(0, 2, 1).reshape(-1, 45)


def activate(table):
    table[:, column("opacity")] = 1 / (1 + np.exp(-table[:, column("opacity")]))


def z_first(table):
    first = column("rot_0")
    table[:, first : first + 4] = table[:, first : first + 4][:, [1, 2, 3, 0]]


def forget_phi(table):
    table[:, -1] = 0


def run_zoom_out(world, method, iterations, *, views=None, size=min, drawn=None, split="test", steps=None):
    cloud = model.Gaussians.from_points(world.points, world.colors, model.GaussianConfig(drawn or method))
    config = train.TrainConfig(iterations=steps or iterations, density=None)
    train.Trainer(cloud, views(world) if views else {32: world.train[32]}, config).run(quiet=True)
    tested = getattr(world, split)
    width = size(tested)
    return evaluate.evaluate(cloud, {width: tested[width]})[width]["psnr"]


def changed(function, **changes):
    return lambda *args: function(*args, **changes)


# ------------------------------------------------------- mistake -> (who makes it, how many properties hold before it shows)

WRONG = {
    "covariance": {
        "forgets to square the sizes": (lambda q, s: covariance(q, s.sqrt()), 0),
        "adds a little for safety": (lambda q, s: covariance(q, s) + 0.01 * torch.eye(3), 0),
        "takes w for the last entry": (lambda q, s: covariance(q[:, [3, 0, 1, 2]], s), 1),
        "takes y for the last entry": (lambda q, s: covariance(q[:, [0, 1, 3, 2]], s), 1),
        "turns the wrong way": (lambda q, s: covariance(conjugate(q), s), 2),
        "takes a quaternion to be of length one": (covariance_any_length, 3),
        "takes w to be positive": (covariance_from_angle, 4),
        "gives all Gaussians the sizes of the first": (lambda q, s: covariance(q, s[:1].expand_as(s)), 5),
    },
    "project": {
        "takes OpenGL's axes": (opengl, 0),
        "puts a pixel's centre on whole numbers": (lambda *a: (project(*a)[0] - 0.5, project(*a)[1]), 0),
        "forgets where the camera stands": (lambda m, c, v, *a: project(m, c, torch.eye(4, dtype=v.dtype), *a), 1),
        "turns the camera backwards": (
            lambda m, c, v, *a: project(m, c, torch.block_diag(v[:3, :3].T, v[3:, 3:]), *a),
            1,
        ),
        "takes f / z for the variance": (lambda *a: (project(*a)[0], project(*a)[1] / 50), 2),
        "leaves depth out of J": (changed(project_part, column=False), 3),
        "forgets to turn the covariance": (changed(project_part, turn=False), 4),
        "has no clamp": (changed(project_part, clamp=1e9), 5),
        "clamps at the view's border": (changed(project_part, clamp=1.0), 5),
        "clamps the centre too": (changed(project_part, centre=True), 6),
    },
    "widen": {
        "adds the variance to every entry": (lambda c, m: (c + 0.1, widen(c, m)[1]), 0),
        "widens x only": (lambda c, m: (c + torch.diag(torch.tensor([0.3, 0])), widen(c, m)[1]), 0),
        "gives Mip-Splatting 0.3 px²": (lambda c, m: widen_part(c, m, eps=0.3), 1),
        "takes 0.3 for a standard deviation": (lambda c, m: widen_part(c, m, eps=0.09), 1),
        "compensates 3DGS too": (lambda c, m: (widen(c, m)[0], widen(c, "ewa")[1]), 2),
        "forgets the root": (changed(widen_part, factor=lambda c, w, rho: rho**2), 3),
        "compares traces": (
            changed(widen_part, factor=lambda c, w, rho: torch.where(rho == 1, 1.0, trace(c) / trace(w))),
            3,
        ),
        "lets a needle become NaN": (changed(widen_part, factor=plain_rho), 4),
        "counts the Gaussians by len": (
            changed(widen_part, factor=lambda c, w, rho: torch.ones(len(c)) if (rho == 1).all() else rho),
            5,
        ),
    },
    "blend": {
        "returns 1 - alpha": (lambda a, c, d: blend(1 - a, c, d), 0),
        "adds every share in full": (changed(blend_part, hide=False), 1),
        "blends from far to near": (lambda a, c, d: blend(a, c, -d), 1),
        "takes them as they come": (changed(blend_part, order=False), 2),
        "sums shares to find what is left": (changed(blend_part, T_of=lambda a: 1 - a.sum(1)), 3),
        "has no cap": (changed(blend_part, cap=0.9999), 4),
        "skips nothing": (changed(blend_part, skip=0.0), 5),
        "skips too much": (changed(blend_part, skip=1 / 128), 5),
        "draws the last one, too": (changed(blend_part, last=True), 6),
        "goes on after the last one": (changed(blend_part, memory=False), 7),
        "looks at one pixel only": (blend_first_pixel_decides, 8),
    },
    "filter_size": {
        "measures distance": (changed(size_part, distance=True), 0),
        "returns the variance": (changed(size_part, power=2.0), 0),
        "takes the worst camera": (changed(size_part, rate=min), 1),
        "has one rule for both": (lambda m, c, rule: filter_size(m, c, "paper"), 2),
        "has the other rule for both": (lambda m, c, rule: filter_size(m, c, "code"), 1),
        "counts only cameras that see": (changed(size_part, all_f=False), 3),
        "stops at the image's border": (changed(size_part, margin=0.0), 4),
        "takes half the margin on each side": (changed(size_part, margin=0.075), 4),
        "has a margin of 20 %": (changed(size_part, margin=0.2), 5),
        "gives unseen ones the smallest filter": (changed(size_part, unseen=max), 5),
        "sees what touches the lens": (changed(size_part, near=0.0), 6),
    },
    "redraw": {
        "widens as if there were no second filter": (changed(redraw_part, add=0.3), 0),
        "goes the other way": (lambda c, o: (c - 0.2 * EYE, o), 0),
        "leaves opacity alone": (lambda c, o: (redraw(c, o)[0], o), 1),
        "multiplies by the factor": (
            changed(redraw_part, factor=lambda c, other, wide: (torch.det(wide) / torch.det(other)).sqrt()),
            1,
        ),
        "takes the factor of the scene as it was": (
            changed(redraw_part, factor=lambda c, other, wide: (torch.det(c) / torch.det(wide)).sqrt()),
            1,
        ),
        "has no limit": (changed(redraw_part, cap=9.0), 2),
        "stops at 0.99": (changed(redraw_part, cap=0.99), 2),
        "limits what goes in": (lambda c, o: redraw(c, torch.where(o > 2 / 3, torch.ones_like(o), o)), 3),
        "counts the splats by len": (
            lambda c, o: (redraw(c, o)[0], redraw(c, o)[1] if o.dim() < 2 else redraw(c, o)[1][0]),
            4,
        ),
    },
    "reset_opacity": {
        "returns opacities": (lambda o, c: reset_opacity(o, c).sigmoid(), 0),
        "resets to 0.1": (reset_to(0.1), 0),
        "ignores the filter": (lambda o, c: torch.logit(o.sigmoid().clamp(max=0.01)), 1),
        "stores the drawn opacity": (lambda o, c: torch.logit((o.sigmoid() * c).clamp(max=0.01)), 1),
        "lifts the faint ones": (reset_to(0.01), 2),
        "goes through the sigmoid and back": (reset_through_the_sigmoid, 3),
    },
    "widen_backward": {
        "hands on nothing": (lambda c, e, w, r: widen_backward(c, e, 0 * w, r), 0),
        "drops the path through rho": (lambda c, e, w, r: w, 1),
        "forgets the half": (changed(backward_part, half=1.0), 1),
        "forgets that S' depends on S": (changed(backward_part, wide=False), 1),
        "inverts entry by entry": (
            changed(backward_part, inverse=lambda m: torch.diag_embed(1 / m.diagonal(dim1=-2, dim2=-1))),
            2,
        ),
        "takes one gradient or the other": (lambda c, e, w, r: w if w.any() else widen_backward(c, e, w, r), 3),
    },
    "fit_blob": {
        "returns the variance on the screen": (lambda i, e, c: (fit_blob(i, e, c)[0] + e, fit_blob(i, e, c)[1]), 0),
        "returns a standard deviation": (lambda i, e, c: (fit_blob(i, e, c)[0] ** 0.5, fit_blob(i, e, c)[1]), 0),
        "gives the height for the opacity": (changed(fit_part, rho=False), 1),
        "compares two pixels": (fit_by_neighbours, 2),
        "goes by the moments": (fit_by_moments, 2),
        "stops the search at 0.75 px²": (changed(fit_part, largest=0.75), 3),
        "returns a negative variance": (fit_then_subtract, 4),
        "clips the opacity at 1": (changed(fit_part, most=1.0), 5),
    },
    "turn_harmonics": {
        "has fewer equations than unknowns": (turn_by_few, 0),
        "turns nothing": (lambda h, R: h, 1),
        "turns the wrong way": (lambda h, R: turn_harmonics(h, R.T), 1),
        "takes degree 1 to be x, y, z": (
            lambda h, R: torch.cat([h[:1], R @ h[1:4], turn_harmonics(h, R)[4:]]),
            1,
        ),
        "turns degree 1 only": (turn_degree_1_only, 2),
        "counts on three channels": (lambda h, R: turn_harmonics(h, R).expand(16, 3), 3),
    },
    "ply_file": {
        "calls it text": (ply(replace=[(b"binary_little_endian", b"ascii")]), 0),
        "forgets how many": (ply(replace=[(b"element vertex 3", b"element vertex 0")]), 0),
        "has no filter_3D": (ply(replace=[(b"property float filter_3D\n", b"")]), 1),
        "names double": (ply(replace=[(b"property float x\n", b"property double x\n")]), 1),
        "counts rotations from 1": (ply(replace=[(b"rot_0", b"rot_4")]), 1),
        "writes float64": (ply(dtype="<f8"), 2),
        "has the bytes the other way round": (ply(dtype=">f4"), 3),
        "puts w last": (ply(z_first), 3),
        "stores activated opacities": (ply(activate), 4),
        "mixes the channels": (ply(interleave), 5),
        "forgets phi": (ply(forget_phi), 6),
    },
    "zoom_out": {
        "scores at full size": (changed(run_zoom_out, size=max), 0),
        "scores what it trained on": (changed(run_zoom_out, split="train"), 0),
        "draws everything with the Mip filter": (changed(run_zoom_out, drawn="mip-no-3d"), 0),
        "trains at every size": (changed(run_zoom_out, views=lambda world: world.train), 1),
        "trains for one step": (changed(run_zoom_out, steps=1), 1),
    },
    "missed": {
        "says which are seen": (lambda *a: ~missed(*a), 0),
        "puts centres at whole numbers": (changed(missed_part, half=0.0), 1),
        "forgets to lower the height": (changed(missed_part, rho=False), 1),
        "lowers it under 3DGS, too": (changed(missed_part, rho="always"), 2),
        "does not move the grid": (changed(missed_part, way=0.0), 3),
        "moves by twice the shift": (changed(missed_part, way=2.0), 3),
        "asks the pixel that was nearest before": (missed_by_the_pixel_below, 4),
        "moves the grid the other way": (changed(missed_part, way=-1.0), 5),
        "looks along x only": (changed(missed_part, axes=1), 1),
        "widens as EWA under all": (changed(missed_part, eps=0.3), 5),
    },
}
MODULES = by_name(exercises.EXERCISES)


@pytest.mark.parametrize("name", MODULES)
def test_checker_tells_the_solution_the_mistakes_and_the_stub(name):
    assert_checker_tells(MODULES[name], name, WRONG[name])


def test_every_exercise_has_mistakes():
    assert_all_have_mistakes(WRONG, MODULES)


# ------------------------------------------------------------------------------- the solutions, compared with the library


def test_solutions_are_what_the_library_does():
    quats = torch.randn(20, 4, generator=torch.Generator().manual_seed(0), dtype=four.F64)
    R = reference.rotation_matrices(quats)
    sizes = torch.rand(20, 3, generator=torch.Generator().manual_seed(1), dtype=four.F64)
    torch.testing.assert_close(covariance(quats, sizes), R @ torch.diag_embed(sizes**2) @ R.mT)

    S = project(four.MEANS, covariance(four.QUATS, four.SCALES), torch.eye(4, dtype=four.F64), four.K, 128, 96)[1]
    for method in ("3dgs", "ewa", "mip"):
        rules = filters.METHODS[method]
        for mine, library in zip(widen(S, method), filters.widen_2d(S, rules.eps2d, rules.compensate), strict=True):
            torch.testing.assert_close(mine, library)

    # what a viewer with the Mip filter makes of redrawn splats is what 3DGS makes of them
    cov = S[:2]
    other, opacity = redraw(cov, four.OPACITIES[:2])
    wide, factor = filters.widen_2d(other, filters.MIP_VARIANCE, True)
    torch.testing.assert_close(wide, filters.widen_2d(cov, filters.DILATION, False)[0])
    torch.testing.assert_close(opacity * factor, four.OPACITIES[:2])


def test_the_compositor_is_the_rasterizers():
    generator = torch.Generator().manual_seed(0)
    n, width, height = 40, 8, 6
    means = torch.rand(1, n, 2, generator=generator, dtype=four.F64) * torch.tensor([width, height])
    conics = torch.tensor([0.2, 0.0, 0.2], dtype=four.F64).expand(1, n, 3)
    colors = torch.rand(1, n, 3, generator=generator, dtype=four.F64)
    opacities, depths = torch.rand(2, 1, n, generator=generator, dtype=four.F64)
    image, covered = reference.composite(means, conics, colors, opacities, depths, width, height)

    v, u = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    away = (torch.stack([u, v], -1).reshape(-1, 1, 2) + 0.5 - means[0]).square().sum(-1)
    light, T = blend(opacities[0] * torch.exp(-0.1 * away), colors[0], depths[0])
    torch.testing.assert_close(light.reshape(height, width, 3), image[0])
    torch.testing.assert_close((1 - T).reshape(height, width), covered[0])


@pytest.mark.parametrize("rule", ["paper", "code"])
def test_filter_sizes_are_the_librarys(rule):
    from bestpapers.splatting import data

    cameras = [*data.camera_ring(6, size=40), *data.camera_ring(3, size=40, fov_deg=20, seed=1)]
    points = 2 * torch.randn(200, 3, generator=torch.Generator().manual_seed(0), dtype=four.F64)
    torch.testing.assert_close(filter_size(points, cameras, rule), filters.smoothing_scale(points, cameras, rule))


def test_the_file_is_read_by_another_reader_and_by_ours(tmp_path):
    content = ply_file(_scene())
    vertex = plyfile.PlyData.read(io.BytesIO(content))["vertex"]
    assert tuple(p.name for p in vertex.properties) == NAMES
    np.testing.assert_array_equal(vertex["filter_3D"], _scene().phi.numpy())

    (tmp_path / "scene.ply").write_bytes(content)
    read = formats.read_ply(tmp_path / "scene.ply")
    for name, parameter in _scene().named_parameters():
        torch.testing.assert_close(getattr(read, name), parameter)


def test_a_turned_scene_under_a_turned_camera_gives_the_same_picture():
    R = reference.rotation_matrices(torch.tensor([0.7, 0.2, -0.5, 0.4], dtype=four.F64))
    coeffs = torch.randn(4, 16, 3, generator=torch.Generator().manual_seed(0), dtype=four.F64)
    view = torch.eye(4, dtype=four.F64)
    turned_view = torch.block_diag(R.T, torch.ones(1, 1, dtype=four.F64))

    def picture(means, coeffs, view):
        dirs = means - torch.linalg.inv(view)[:3, 3]
        colors = (0.5 + reference.spherical_harmonics(3, dirs, coeffs)).clamp(min=0)
        covs = covariance(four.QUATS, four.SCALES)
        if view is turned_view:
            covs = R @ covs @ R.T
        u, S = project(means, covs, view, four.K, 128, 96)
        Q = torch.linalg.inv(widen(S, "mip")[0])
        conics = torch.stack([Q[:, 0, 0], Q[:, 0, 1], Q[:, 1, 1]], -1)
        depths = (means @ view[:3, :3].T)[:, 2]
        return reference.composite(u[None], conics[None], colors[None], four.OPACITIES[None], depths[None], 128, 96)[0]

    before = picture(four.MEANS, coeffs, view)
    turned = torch.stack([turn_harmonics(h, R) for h in coeffs])
    torch.testing.assert_close(picture(four.MEANS @ R.T, turned, turned_view), before)
    assert (picture(four.MEANS @ R.T, coeffs, turned_view) - before).abs().max() > 0.1, "without turning the harmonics"


def test_the_trap_of_the_experiment_is_one():
    from bestpapers.splatting.exercises.zoom_out import _world

    world = _world()
    truth = world.test[16].images[0]
    assert images.psnr(world.train[16].images[0], truth) < 10
    assert images.psnr(world.train[32].images[0], world.test[32].images[0]) > 8
    assert zoom_out(world, "mip", 60) > zoom_out(world, "mip", 1) + 5


# -------------------------------------------------------------------------------------------------- what the pages promise


def teaching():
    return (Path(__file__).parents[2] / "book/splatting/teaching.md").read_text(encoding="utf-8")


def test_the_page_for_teachers_lists_the_exercises_by_their_names():
    rows = re.findall(r"^\| (5\.\d+) \| (.*?) \|", teaching(), re.MULTILINE)
    assert rows == [(m.check.exercise, m.__doc__.splitlines()[0]) for m in exercises.EXERCISES]


def test_core_exercises_fit_the_lab_and_the_assignment():
    by_number = {m.check.exercise: m for m in exercises.EXERCISES}
    core = [number for number, m in by_number.items() if m.LEVEL == "core"]
    assert 6 <= len(core) <= 8
    lab = re.search(r"^\| 0:50 \| (\d+) \| lab in pairs: exercise (5\.\d), then (5\.\d)", teaching(), re.MULTILINE)
    assert sum(by_number[n].MINUTES for n in lab.groups()[1:]) <= int(lab.group(1))
    asked = set(itertools.chain(*(re.findall(r"\b5\.\d+", row) for row in teaching().splitlines() if "do " in row)))
    assert asked <= set(core)
