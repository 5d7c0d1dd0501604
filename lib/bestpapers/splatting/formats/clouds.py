"""Trained models in the formats that viewers open: .ply and .splat; and the points of a capture in a .ply.

A .ply of 3DGS stores each Gaussian before its activations, but not how to draw it: neither the variance that the renderer
adds to each projected Gaussian, nor whether opacity makes up for it. Three hints exist and are written and read here: the
property `filter_3D` (the authors' program: the file needs the 3D filter), a comment `SplatRenderMode: mip` (some viewers:
opacity makes up), and a comment of our own with the method, the variance, the background and the degree of colour.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...lab.files import FormatError, read_file, show, write_file
from .. import filters
from ..cameras import as_points, far_origin
from ..model import C0, GaussianConfig, Gaussians
from .checks import check_finite
from .ply import Table, parse_table

Layout = Literal["3dgs", "mip", "fused"]

REST = 45  # coefficients beyond the constant colour, at degree 3
MEANS, DC = ("x", "y", "z"), tuple(f"f_dc_{i}" for i in range(3))
SCALES, QUATS = tuple(f"scale_{i}" for i in range(3)), tuple(f"rot_{i}" for i in range(4))
PROPERTIES = (*MEANS, "nx", "ny", "nz", *DC, *(f"f_rest_{i}" for i in range(REST)), "opacity", *SCALES, *QUATS)
MAX_LOGIT = 100.0  # the sigmoid of +-100 is 1 or as good as 0
MAX_LOG_SCALE = 40.0  # scene units: float32 can square a size of e^40 and of e^-40, but little beyond

FAR_SPLAT = "a .splat file cannot hold a scene so far from the origin of coordinates: its numbers have seven digits; use .ply"

SPLAT = np.dtype([("mean", "<f4", 3), ("scale", "<f4", 3), ("rgba", "u1", 4), ("quat", "u1", 4)])  # 32 bytes


# -------------------------------------------------------------------------------------------------------------- writing


@torch.no_grad()
def ply_bytes(model: Gaussians, layout: Layout | None = None) -> bytes:
    """The model as a .ply file.

    layout  "3dgs": the parameters as they are, 62 properties; what plain 3DGS stores
            "mip": the same and filter_3D, 63 properties; what the authors' program stores and its renderer needs
            "fused": the 3D filter folded into scales and opacities, 62 properties; what viewers need
            Default: "mip" for methods with a 3D filter, else "3dgs".

    Places are float32, as all viewers read them, or doubles where a scene lies too far off for that (UTM).
    """
    layout = layout or ("mip" if model.method.smooth_3d else "3dgs")
    if layout not in ("3dgs", "mip", "fused"):
        raise ValueError(f'ply_bytes: layout must be "3dgs", "mip" or "fused", got {layout!r}')
    if layout == "fused":
        model = model.fused()
    n = len(model)
    if n == 0:
        raise ValueError("ply_bytes: the model has no Gaussians")
    rest = model.means.new_zeros(n, 3, REST // 3)  # channel by channel: all of red, all of green, all of blue
    rest[:, :, : model.sh_rest.shape[1]] = model.sh_rest.transpose(1, 2)
    logits: Tensor = model.opacity_logits[:, None]
    log_scales: Tensor = model.log_scales
    if layout == "fused":  # an opacity of exactly 1, or a size of 0, has an infinite logarithm
        logits, log_scales = logits.clamp(-MAX_LOGIT, MAX_LOGIT), log_scales.clamp(min=-MAX_LOG_SCALE)
    normals = torch.zeros_like(model.means)
    columns = [model.means, normals, model.sh_dc[:, 0], rest.flatten(1), logits, log_scales, model.quats]
    names = PROPERTIES
    if layout == "mip":
        columns, names = [*columns, model.phi[:, None]], (*PROPERTIES, "filter_3D")
    table = torch.cat(columns, dim=1).float().cpu().numpy()
    if not np.isfinite(table).all():
        i, k = np.argwhere(~np.isfinite(table))[0]
        raise ValueError(f"ply_bytes: Gaussian {i} has {names[k]} = {table[i, k]}; such a model cannot be drawn")
    method, background = model.method, ",".join(map(str, model.config.background))
    far = any(model.config.origin)
    kinds = {name: "double" if far and name in MEANS else "float" for name in names}
    rows: NDArray[Any] = table.astype("<f4")
    if far:
        rows = np.rec.fromarrays(table.T, dtype=[(name, "<f8" if kinds[name] == "double" else "<f4") for name in names])
        places = model.means.double().cpu().numpy() + model.config.origin
        for name, place in zip(MEANS, places.T):
            rows[name] = place
    header = (
        "ply",
        "format binary_little_endian 1.0",
        f"comment SplatRenderMode: {'mip' if method.compensate else 'default'}",
        f"comment bestpapers method={model.config.method} eps2d={method.eps2d} background={background} "
        f"sh_degree={model.config.sh_degree}",
        f"element vertex {n}",
        *(f"property {kind} {name}" for name, kind in kinds.items()),
        "end_header",
        "",
    )
    return "\n".join(header).encode("ascii") + rows.tobytes()


def write_ply(path: str | Path, model: Gaussians, layout: Layout | None = None) -> None:
    """Write `ply_bytes` to a file."""
    write_file(Path(path), ply_bytes(model, layout))


@torch.no_grad()
def splat_bytes(model: Gaussians) -> bytes:
    """The model as a .splat file: what counts most first, view-dependent colour left out, the 3D filter folded in.

    Per Gaussian 32 bytes: position and scales as float32; red, green, blue and opacity as bytes of 255; the quaternion
    w x y z as bytes of 128 q + 128. The order is by volume times opacity, so that a viewer can show the file as it arrives.
    Viewers of this format add nothing to a projected Gaussian: thin structures of a 3DGS model look thinner there.

    Raises ValueError for a scene with an origin: the format's float32 cannot hold its places.
    """
    if any(model.config.origin):
        raise ValueError(FAR_SPLAT)
    scales, opacities = model.scales_opacities()
    weight = scales.double().prod(-1) * opacities.double()
    order = torch.argsort(weight, descending=True, stable=True)
    rgb = 0.5 + C0 * model.sh_dc[:, 0]
    quats = torch.nn.functional.normalize(model.quats, dim=-1)
    out = np.empty(len(model), SPLAT)
    out["mean"], out["scale"] = model.means[order].cpu().numpy(), scales[order].cpu().numpy()
    if not (np.isfinite(out["mean"]).all() and np.isfinite(out["scale"]).all() and rgb.isfinite().all()):
        raise ValueError("splat_bytes: some position, scale or colour is not finite; such a model cannot be drawn")
    rgba = torch.cat([rgb, opacities[:, None]], dim=1)[order]
    out["rgba"] = (255 * rgba).round().clamp(0, 255).cpu().numpy().astype(np.uint8)
    out["quat"] = (128 * quats[order] + 128).round().clamp(0, 255).cpu().numpy().astype(np.uint8)
    return out.tobytes()


def write_splat(path: str | Path, model: Gaussians) -> None:
    """Write `splat_bytes` to a file."""
    write_file(Path(path), splat_bytes(model))


# -------------------------------------------------------------------------------------------------------------- reading


def read_ply(path: str | Path, method: str | None = None) -> Gaussians:
    """A trained model from a .ply of 3DGS, Mip-Splatting, gsplat or a tool that writes alike.

    Properties are found by name, in any order and number type, in binary of either byte order or text; normals and what is
    not known are passed over. f_rest must have 0, 9, 24 or 45 properties. Sizes below e^-40 are raised to that: nobody sees
    the difference, and float32 can square it.

    method: a key of `filters.METHODS`, how to draw. By default what our own comment says; else "mip" if there is filter_3D
    or a comment `SplatRenderMode: mip`, "3dgs" if neither. Without filter_3D the 3D filter has been folded in, or was never
    there: phi is 0, as `Gaussians.fused` leaves it, and training such a model on would apply the filter once more.
    """
    if method is not None:
        filters.method(method)
    path = Path(path)
    return parse_gaussians(read_file(path), path, method)


def read_splat(path: str | Path, method: str = "3dgs") -> Gaussians:
    """A model from a .splat file: 32 bytes per Gaussian, no view-dependent colour, no 3D filter (phi = 0).

    The file does not say how to draw it; `method` does. Opacities of 0 and 255 stand for a quarter step from the end, since
    a logit cannot hold the ends.
    """
    filters.method(method)
    path = Path(path)
    return parse_splat(read_file(path), path, method)


def read_points(path: Path) -> tuple[Tensor, Tensor]:
    """Points [N, 3] and colours [N, 3] in [0, 1] of a .ply, grey where it has none."""
    table = parse_table(read_file(path), path)
    points = table.columns(MEANS, np.float64)
    rgb = ("red", "green", "blue")
    if not any(name in table.types for name in rgb):
        return as_points(points), torch.full((len(points), 3), 0.5)
    colors = table.columns(rgb)
    if table.types["red"] not in ("f4", "f8"):
        colors /= 255
    if colors.min() < 0 or colors.max() > 1:
        i = int(((colors < 0) | (colors > 1)).any(1).argmax())
        expected = "0 to 255 as whole numbers or 0 to 1 as float"
        raise FormatError(path, f"vertex {i}, red green blue", expected, show(table.columns(rgb)[i].tolist()))
    return as_points(points), torch.from_numpy(colors)


def parse_gaussians(data: bytes, path: Path, method: str | None = None) -> Gaussians:
    """The content of a .ply -> model."""
    table = parse_table(data, path)
    rest_names = tuple(name for name in table.types if name.startswith("f_rest_"))
    degree = {0: 0, 9: 1, 24: 2, 45: 3}.get(len(rest_names))
    wanted = tuple(f"f_rest_{i}" for i in range(len(rest_names)))
    if degree is None or set(rest_names) != set(wanted):
        raise FormatError(path, "f_rest", "0, 9, 24 or 45 properties, counted from f_rest_0", str(len(rest_names)))
    n = len(table.rows)
    # channel by channel in the file, [N, 3, K]; here the colour is last, [N, K, 3]
    rest = table.columns(wanted).reshape(n, 3, len(wanted) // 3).transpose(0, 2, 1)
    config = _config(table, degree, method)
    kept = (config.sh_degree + 1) ** 2 - 1
    if rest[:, kept:].any():  # the comment is not about these numbers any more
        config, kept = GaussianConfig(config.method, degree, config.background), rest.shape[1]
    log_scales, quats = np.maximum(table.columns(SCALES), -MAX_LOG_SCALE), table.columns(QUATS)
    _refuse(log_scales > MAX_LOG_SCALE, log_scales, path, SCALES, f"a logarithm of at most {MAX_LOG_SCALE:g}")
    _refuse_zero(quats, path)
    phi = None
    if "filter_3D" in table.types:
        sizes = table.columns(("filter_3D",))
        _refuse(sizes < 0, sizes, path, ("filter_3D",), "a size, at least 0")
        phi = torch.from_numpy(sizes[:, 0])
    means = table.columns(MEANS, np.float64)
    if any(origin := far_origin(means)):
        config, means = replace(config, origin=origin), means - origin
    parameters = dict(
        means=means.astype(np.float32), log_scales=log_scales, quats=quats, opacity_logits=table.columns(("opacity",))[:, 0],
        sh_dc=table.columns(DC)[:, None], sh_rest=rest[:, :kept],
    )  # fmt: skip
    return Gaussians({name: torch.from_numpy(np.ascontiguousarray(x)) for name, x in parameters.items()}, config, phi)


def _config(table: Table, degree: int, method: str | None) -> GaussianConfig:
    """What the comments and properties of a file say about how to draw it."""
    ours = next((c.split()[1:] for c in table.comments if c.startswith("bestpapers ")), None)
    if ours is None:
        marked = "filter_3D" in table.types or any(re.fullmatch(r"SplatRenderMode:\s*mip", c) for c in table.comments)
        return GaussianConfig(method or ("mip" if marked else "3dgs"), degree)
    try:
        said = dict(word.split("=") for word in ours)
        red, green, blue = (float(b) for b in said["background"].split(","))
        kept = min(int(said["sh_degree"]), degree)
        return GaussianConfig(method or said["method"], kept, (red, green, blue))
    except (ValueError, KeyError) as error:
        expected = "method=<key> eps2d=<px^2> background=r,g,b sh_degree=<0 to 3>"
        raise FormatError(table.path, "comment bestpapers", expected, show(" ".join(ours)), str(error)) from error


def parse_splat(data: bytes, path: Path, method: str = "3dgs") -> Gaussians:
    """The content of a .splat -> model."""
    if not data or len(data) % SPLAT.itemsize:
        raise FormatError(path, "size", f"a multiple of {SPLAT.itemsize} bytes, and not 0", f"{len(data)} bytes")
    rows = np.frombuffer(data, SPLAT)
    means, scales = (rows[name].astype(np.float32) for name in ("mean", "scale"))
    check_finite(means, path, "Gaussian", [f"position {axis}" for axis in "xyz"])
    names = [f"scale {i}" for i in range(3)]
    check_finite(scales, path, "Gaussian", names)
    _refuse(scales <= 0, scales, path, names, "a size above 0", item="Gaussian")
    _refuse(scales > math.exp(MAX_LOG_SCALE), scales, path, names, "a size that can be squared", item="Gaussian")
    quats = (rows["quat"].astype(np.float32) - 128) / 128
    _refuse_zero(quats, path, item="Gaussian")
    rgba = rows["rgba"].astype(np.float32)
    opacities = np.clip(rgba[:, 3], 0.25, 254.75) / 255
    parameters = dict(
        means=means, log_scales=np.maximum(np.log(scales), -MAX_LOG_SCALE), quats=quats,
        opacity_logits=np.log(opacities / (1 - opacities)),
        sh_dc=(((rgba[:, :3] / 255) - 0.5) / C0)[:, None], sh_rest=np.empty((len(rows), 0, 3), np.float32),
    )  # fmt: skip
    return Gaussians({name: torch.from_numpy(x) for name, x in parameters.items()}, GaussianConfig(method))


def _refuse(
    bad: NDArray[Any], values: NDArray[Any], path: Path, names: Any, expected: str, item: str = "vertex"
) -> None:
    if bad.any():
        i, k = divmod(int(bad.argmax()), bad.shape[1])
        raise FormatError(path, f"{item} {i}, {names[k]}", expected, f"{values[i, k]:g}")


def _refuse_zero(quats: NDArray[Any], path: Path, item: str = "vertex") -> None:
    bad = np.linalg.norm(quats.astype(np.float64), axis=1) < 1e-12
    if bad.any():
        raise FormatError(path, f"{item} {int(bad.argmax())}, quaternion", "a rotation", "length 0")
