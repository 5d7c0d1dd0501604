"""Trained models in the formats that viewers open: .ply and .splat; and the points of a capture in a .ply.

A .ply of 3DGS stores each Gaussian before its activations, but not how to draw it: neither the variance that the renderer
adds to each projected Gaussian, nor whether opacity makes up for it. Three hints exist and are written and read here: the
property `filter_3D` (the authors' program: the file needs the 3D filter), a comment `SplatRenderMode: mip` (some viewers:
opacity makes up), and a comment of our own with the method, the variance, the background and the degree of colour.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...lab.cli import counted
from ...lab.files import FormatError, read_file, show, write_file
from .. import filters
from ..coordinates import as_points, far_origin
from ..model import C0, GaussianConfig, Gaussians
from .checks import LIMIT, note
from .packed import PACKED, unpacked
from .ply import Table, parse_table, some

Layout = Literal["3dgs", "mip", "fused"]

HEADS = {  # how files of others begin
    b"\x1f\x8b\x08": "Niantic's compressed .spz", b"NGSP": "Niantic's compressed .spz",
    b"PK\x03\x04": "a zip archive, such as PlayCanvas' .sog",
    b"glTF": "a .glb", b"# .PCD": "a point cloud (.pcd)",
}  # fmt: skip
KINDS = {  # what their names say
    ".spz": "Niantic's compressed .spz", ".ksplat": "GaussianSplats3D's compressed .ksplat", ".sog": "PlayCanvas' .sog",
    ".lcc": "XGrids' .lcc", ".spx": "a compressed .spx", ".obj": "a mesh (.obj)", ".glb": "a .glb", ".gltf": "a .gltf",
    ".las": "a point cloud (.las)", ".laz": "a point cloud (.laz)", ".xyz": "a point cloud (.xyz)",
    ".pcd": "a point cloud (.pcd)", ".npz": "arrays of NumPy (.npz)", ".pth": "a checkpoint of PyTorch (.pth)",
    ".pt": "a checkpoint of PyTorch (.pt)", ".ckpt": "a checkpoint of PyTorch (.ckpt)",
    ".json": "a .json, such as the meta.json of PlayCanvas' SOG",
}  # fmt: skip
EXPORT = "write it as .ply with the program that made it"
CONVERT = "save it as .ply, for instance with SuperSplat in a browser, or with splat-transform"
ANTIALIASED = re.compile(
    r"(SplatRenderMode:?\s*mip|antialiased:?\s*(1|true))", re.IGNORECASE
)  # Brush, gsplat; Postshot
REST = 45  # coefficients beyond the constant colour, at degree 3
MEANS, DC = ("x", "y", "z"), tuple(f"f_dc_{i}" for i in range(3))
SCALES, QUATS = tuple(f"scale_{i}" for i in range(3)), tuple(f"rot_{i}" for i in range(4))
PROPERTIES = (*MEANS, "nx", "ny", "nz", *DC, *(f"f_rest_{i}" for i in range(REST)), "opacity", *SCALES, *QUATS)
PHI = ("filter_3D",)
MAX_LOGIT = 100.0  # the sigmoid of +-100 is 1 or as good as 0
MAX_LOG_SCALE = 40.0  # scene units: float32 can square a size of e^40 and of e^-40, but little beyond

FAR_SPLAT = (
    "a .splat file cannot hold a scene so far from the origin of coordinates: its numbers have seven digits; use .ply"
)

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


def read_scene(path: str | Path, method: str | None = None) -> Gaussians:
    """A model from a .ply or a .splat, which the content tells rather than the name. FormatError says what another file is."""
    path = Path(path)
    data = read_file(path)
    if data.startswith(b"ply"):
        return parse_gaussians(data, path, method)
    kind = KINDS.get(path.suffix.lower()) or next((kind for head, kind in HEADS.items() if data.startswith(head)), None)
    if kind is not None:
        inner = kind.startswith(("arrays", "a checkpoint"))
        advice = "" if kind.startswith(("a mesh", "a point cloud")) else EXPORT if inner else CONVERT
        raise FormatError(path, "file", "a .ply or .splat of 3D Gaussians", kind, advice)
    if path.suffix.lower() == ".splat":
        return parse_splat(data, path, method or "3dgs")
    return parse_gaussians(data, path, method)


def read_ply(path: str | Path, method: str | None = None) -> Gaussians:
    """A trained model from a .ply of 3DGS, Mip-Splatting, 2DGS, gsplat or a tool that writes alike; PlayCanvas' compressed ones
    too.

    Properties are found by name, in any order and number type, in binary of either byte order or text; normals and what is
    not known are passed over. f_rest must have 0, 9, 24 or 45 properties. Sizes below e^-40 are raised to that: nobody sees
    the difference, and float32 can square it. So are a size of 0 (a logarithm of -inf) and the third one that 2DGS leaves out:
    flat splats. An infinite opacity is opaque, or invisible. Gaussians that cannot be drawn (NaN or infinity elsewhere, no
    rotation, no size) are left out with a warning that counts them; FormatError if most of them are like that.

    method: a key of `filters.METHODS`, how to draw. By default what our own comment says; else "mip" if there is filter_3D
    or a comment `SplatRenderMode: mip` or `antialiased 1`, "3dgs" if neither. Without filter_3D the 3D filter has been folded
    in, or was never there: phi is 0, as `Gaussians.fused` leaves it, and training such a model on would apply it once more.
    """
    if method is not None:
        filters.method(method)
    path = Path(path)
    return parse_gaussians(read_file(path), path, method)


def read_splat(path: str | Path, method: str = "3dgs") -> Gaussians:
    """A model from a .splat file: 32 bytes per Gaussian, no view-dependent colour, no 3D filter (phi = 0).

    The file does not say how to draw it; `method` does. Opacities of 0 and 255 stand for a quarter step from the end, since
    a logit cannot hold the ends. What cannot be drawn is left out as in `read_ply`.
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
    if any(name in table.types for name in PACKED):
        table = unpacked(data, table)
    if not any(name.startswith(("f_dc", "scale_", "rot_")) for name in table.types):
        kind = "a mesh" if "face" in table.elements else "a point cloud"
        found = f"{kind} ({some(table.types)})"
        advice = "it can be where training starts, as the points of a capture" if kind == "a point cloud" else ""
        raise FormatError(path, "vertices", "3D Gaussians (scale, rot, opacity, f_dc)", found, advice)
    rest_names = tuple(name for name in table.types if name.startswith("f_rest_"))
    degree = {0: 0, 9: 1, 24: 2, 45: 3}.get(len(rest_names))
    wanted = tuple(f"f_rest_{i}" for i in range(len(rest_names)))
    if degree is None or set(rest_names) != set(wanted):
        raise FormatError(path, "f_rest", "0, 9, 24 or 45 properties, counted from f_rest_0", str(len(rest_names)))

    def columns(names: Sequence[str], dtype: Any = np.float32) -> NDArray[Any]:
        return table.columns(names, dtype, finite=False)

    flat = "scale_2" not in table.types and {"scale_0", "scale_1"} <= table.types.keys()  # 2DGS
    means, colors, quats = columns(MEANS, np.float64), columns((*DC, *wanted)), columns(QUATS)
    opacity, sizes = columns(("opacity",)), columns(SCALES[: 2 if flat else 3])
    phi = columns(PHI) if "filter_3D" in table.types else None
    if flat:
        sizes = np.insert(sizes, 2, -np.inf, axis=1)
    opacity = np.where(
        np.abs(opacity) > MAX_LOGIT, np.sign(opacity) * np.float32(MAX_LOGIT), opacity
    )  # infinite ones, too
    faults = [
        _Fault(MEANS, means), _Fault((*DC, *wanted), colors), _Fault(("opacity",), opacity), _Fault(QUATS, quats),
        _no_rotation(quats),
        _Fault(SCALES, sizes, ~(sizes <= MAX_LOG_SCALE) | (sizes == -np.inf).all(1, keepdims=True),
               f"a logarithm of at most {MAX_LOG_SCALE:g}"),
    ]  # fmt: skip
    if phi is not None:
        faults.append(_Fault(PHI, phi, ~((phi >= 0) & (phi <= LIMIT)), "a size, at least 0"))
    kept = _drawable(path, "vertex", *faults)
    config, means = _config(table, degree, method), means[kept]
    if any(origin := far_origin(means)):
        config, means = replace(config, origin=origin), means - origin
    # channel by channel in the file, [N, 3, K]; here the colour is last, [N, K, 3]
    rest = colors[kept, 3:].reshape(len(means), 3, len(wanted) // 3).transpose(0, 2, 1)
    held = (config.sh_degree + 1) ** 2 - 1
    if rest[:, held:].any():  # the comment is not about these numbers any more
        config, held = replace(config, sh_degree=degree), rest.shape[1]
    parameters = dict(
        means=means.astype(np.float32), log_scales=np.maximum(sizes[kept], -MAX_LOG_SCALE), quats=quats[kept],
        opacity_logits=opacity[kept, 0], sh_dc=colors[kept, None, :3], sh_rest=rest[:, :held],
    )  # fmt: skip
    tensors = {name: torch.from_numpy(np.ascontiguousarray(x)) for name, x in parameters.items()}
    if flat:
        note(f"{path}: a file of 2D Gaussians, without a third size; they are drawn as flat 3D Gaussians")
    return Gaussians(tensors, config, None if phi is None else torch.from_numpy(phi[kept, 0]))


def _config(table: Table, degree: int, method: str | None) -> GaussianConfig:
    """What the comments and properties of a file say about how to draw it."""
    ours = next((c.split()[1:] for c in table.comments if c.startswith("bestpapers ")), None)
    if ours is None:
        marked = "filter_3D" in table.types or any(ANTIALIASED.fullmatch(comment) for comment in table.comments)
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
    quats = (rows["quat"].astype(np.float32) - 128) / 128
    names = [f"scale {i}" for i in range(3)]
    no_size = (scales < 0) | (scales == 0).all(1, keepdims=True)
    kept = _drawable(
        path, "Gaussian",
        _Fault([f"position {axis}" for axis in "xyz"], means), _Fault(names, scales),
        _Fault(names, scales, no_size, "a size above 0"),
        _Fault(names, scales, scales > math.exp(MAX_LOG_SCALE), "a size that can be squared"),
        _no_rotation(quats),
    )  # fmt: skip
    rgba = rows["rgba"][kept].astype(np.float32)
    opacities = np.clip(rgba[:, 3], 0.25, 254.75) / 255
    with np.errstate(divide="ignore"):  # a size of 0: a flat splat
        log_scales = np.maximum(np.log(scales[kept]), -MAX_LOG_SCALE)
    parameters = dict(
        means=means[kept], log_scales=log_scales, quats=quats[kept], opacity_logits=np.log(opacities / (1 - opacities)),
        sh_dc=(((rgba[:, :3] / 255) - 0.5) / C0)[:, None], sh_rest=np.empty((len(rgba), 0, 3), np.float32),
    )  # fmt: skip
    return Gaussians({name: torch.from_numpy(x) for name, x in parameters.items()}, GaussianConfig(method))


def is_whole(data: bytes) -> bool:
    """Whether any reader of .splat can draw all Gaussians of a file that `parse_splat` has read."""
    rows = np.frombuffer(data, SPLAT)
    return bool((rows["scale"] > 0).all() and (rows["quat"] != 128).any(1).all() and np.isfinite(rows["mean"]).all())


# ------------------------------------------------------------------------------------------------------- what is left out


@dataclass(frozen=True, eq=False)
class _Fault:
    """A reason why Gaussians cannot be drawn: columns [N, K] with their names, and where they are bad (default: not finite)."""

    names: Sequence[str]
    values: NDArray[Any]
    bad: NDArray[Any] | None = None
    expected: str = "a finite number"

    def where(self) -> NDArray[np.bool_]:
        return ~(np.abs(self.values) <= LIMIT) if self.bad is None else self.bad  # not (> LIMIT), which lets NaN pass


def _no_rotation(quats: NDArray[Any]) -> _Fault:
    length = np.linalg.norm(quats.astype(np.float64), axis=1, keepdims=True)
    return _Fault(("quaternion",), length, length < 1e-12, "a rotation")


def _drawable(path: Path, item: str, *faults: _Fault) -> Any:
    """Which of N Gaussians have no fault, as an index. The others are counted in a warning; FormatError where they are most."""
    bad = np.stack([fault.where().any(1) for fault in faults])  # [faults, N]
    kept: NDArray[np.bool_] = np.logical_not(bad.any(axis=0))
    lost = len(kept) - int(kept.sum())
    if lost:
        i = int(kept.argmin())
        fault = faults[int(bad[:, i].argmax())]
        k = int(fault.where()[i].argmax())
        field = f"{item} {i}, {fault.names[k]}"
        value = "length 0" if fault.names[0] == "quaternion" else f"{fault.values[i, k]:g}"
        if 2 * lost > len(kept):
            raise FormatError(
                path, field, fault.expected, value, f"{counted(lost, 'Gaussian')} of {len(kept):,} are bad"
            )
        note(
            f"{path}: {lost:,} of {len(kept):,} Gaussians cannot be drawn and are left out; the first: {field} is {value}"
        )
    return kept if lost else slice(None)  # which copies nothing
