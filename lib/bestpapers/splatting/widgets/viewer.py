"""Gaussian clouds side by side under one camera that the reader turns and zooms, each drawn with the filters of its method.

The browser draws them itself, with WebGL2 (viewer.js): files in, pictures out, by the rules of `kernels.rasterize`. Tests hold
its pictures against the library's.
"""

from __future__ import annotations

import copy
import io
import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import traitlets
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from ...course import plots
from ...course.display import required_text
from ...course.widgets import Widget
from .. import filters
from ..cameras import Camera
from ..coordinates import counted_from, placed
from ..formats import clouds, ply_bytes
from ..model import Gaussians

Array = NDArray[np.float64]

MOST = 2_000_000  # Gaussians in a file, as in viewer/clouds.js: about what the memory of a laptop's graphics chip holds
LIMIT = 3_000_000  # bytes of files in one viewer: a notebook stores them twice, as base64
ZOOM_RANGE = (1 / 8, 8.0)
SMALL = 0.2  # scene units from the camera to its target: a nearer one, and the near plane would hide the scene
POLE = 89.0  # degrees: how far above or below the target the camera may go


class Viewer(Widget):
    """Gaussian clouds in panels side by side; one camera, turned by dragging or arrow keys, zoomed by slider, wheel or keys.

    panels       (label, method, model) for each panel: a key of `filters.METHODS`, which says how it is drawn, and a
                 `Gaussians` or the bytes of a .ply or .splat file. A model that stands in several panels is stored once
    camera       the view at the start
    target       [3] the point that the camera turns around; by default the one on its optical axis, at the median depth of
                 what it sees in the first panel
    up           [3] the direction that it turns about; by default its own
    caption      plain text under the panels
    description  what the viewer shows, in words, for readers who do not see it
    size         width of the pictures in pixels; they are shown enlarged, so that one sees the pixels
    limit        bytes that all files together may take; None for a page of any size

    A scene that lies far off (UTM), or is seen from nearer than 0.2 units, is stored in coordinates of its own: `view`,
    `target` and the files count from its origin, in steps of the distance.

    The traits `zoom` (1/8 to 8, multiplies the focal length), `yaw` and `pitch` (degrees by which the camera has moved to the
    right and up around the target) follow the reader. A file that the reader drops on the viewer is shown in every panel.

    Raises:
        ValueError: no panels, an unknown method, a missing text, a damaged or too large file, a camera that stands on its
            target, or `up` along the line between them.
    """

    module = Path(__file__).with_name("viewer.js")

    files = traitlets.List(traitlets.Bytes()).tag(sync=True)
    panels = traitlets.List(traitlets.Dict()).tag(sync=True)  # {label, file (index), method, formula, background}
    start = traitlets.Dict().tag(sync=True)  # {R [9], t [3], fx, fy, cx, cy, width, height}
    target = traitlets.List(traitlets.Float()).tag(sync=True)
    up = traitlets.List(traitlets.Float()).tag(sync=True)
    caption = traitlets.Unicode().tag(sync=True)
    size = traitlets.Int(192, min=16, max=2048).tag(sync=True)
    zoom = traitlets.Float(1.0, min=ZOOM_RANGE[0], max=ZOOM_RANGE[1]).tag(sync=True)
    yaw = traitlets.Float(0.0, min=-180.0, max=180.0).tag(sync=True)
    pitch = traitlets.Float(0.0).tag(sync=True)
    pitch_range = traitlets.List(traitlets.Float()).tag(sync=True)

    def __init__(
        self,
        panels: Sequence[tuple[str, str, Gaussians | bytes]],
        *,
        camera: Camera,
        caption: str,
        description: str,
        target: ArrayLike | None = None,
        up: ArrayLike | None = None,
        size: int = 192,
        zoom: float = 1.0,
        yaw: float = 0.0,
        pitch: float = 0.0,
        limit: int | None = LIMIT,
    ) -> None:
        if not panels:
            raise ValueError("a viewer needs at least one panel")
        self._description = required_text(description, "description", "say in words what the viewer shows")
        self._drawn: list[Gaussians] = []  # each panel's model, with the panel's method
        opened: dict[int, Gaussians] = {}  # id of what was given -> its model
        for label, _, given in panels:
            if id(given) not in opened:
                opened[id(given)] = _open(given, label)
        origin, unit = opened[id(panels[0][2])].config.origin, 1.0
        (camera,) = counted_from([camera], origin)
        first = opened[id(panels[0][2])].placed(origin)
        around = _ahead(camera, first) if target is None else _vector("target", target) - origin
        distance = float(np.linalg.norm(camera.position - around))
        if 1e-9 < distance < SMALL:
            camera, around, unit = placed(camera, (0, 0, 0), distance), around / distance, distance
        self._camera = camera
        files: list[bytes] = []
        shown: list[dict[str, Any]] = []
        stored: dict[
            int, tuple[Gaussians, int]
        ] = {}  # id of what was given -> its model as it is stored, its index in files
        for label, key, given in panels:
            label = required_text(label, "label of a panel", "say what it shows")
            method = filters.method(key)
            if id(given) not in stored:
                model = opened[id(given)].placed(origin, unit)
                stored[id(given)] = model, len(files)
                files.append(_file(given, model, model is opened[id(given)]))
            model, index = stored[id(given)]
            drawn = copy.copy(model)  # the same parameters
            drawn.config = replace(model.config, method=key)
            self._drawn.append(drawn)
            rules = {name: value for name, value in asdict(method).items() if name != "label"}
            shown.append(
                dict(
                    label=label,
                    file=index,
                    method=rules,
                    formula=_formula(method),
                    background=list(drawn.config.background),
                )
            )
        taken = sum(map(len, files))
        if limit is not None and taken > limit:
            raise ValueError(
                f"the files take {taken / 1e6:.1f} MB, the limit is {limit / 1e6:g} MB: "
                "show fewer Gaussians, or give .splat files"
            )
        view, K = camera.viewmat, camera.K
        pole = _unit("up", -view[1, :3] if up is None else _vector("up", up))
        offset = _unit("the way from target to camera", camera.position - around)
        _unit("what is across both `up` and the way from target to camera", np.cross(pole, offset))
        height = math.degrees(math.asin(np.clip(pole @ offset, -1.0, 1.0)))  # of the camera, as seen from the target
        super().__init__(
            files=files,
            panels=shown,
            start=dict(
                R=view[:3, :3].ravel().tolist(), t=view[:3, 3].tolist(), fx=K[0, 0].item(), fy=K[1, 1].item(),
                cx=K[0, 2].item(), cy=K[1, 2].item(), width=camera.width, height=camera.height,
            ),
            target=around.tolist(),
            up=pole.tolist(),
            caption=required_text(caption, "caption", "a figure needs a line that says what to look at"),
            size=size,
            zoom=zoom,
            yaw=yaw,
            pitch=pitch,
            pitch_range=[min(-POLE - height, 0.0), max(POLE - height, 0.0)],
        )  # fmt: skip

    @traitlets.validate("zoom", "yaw", "pitch")
    def _in_range(self, proposal: Any) -> float:
        name, value = proposal["trait"].name, float(proposal["value"])
        low, high = (
            self.pitch_range if name == "pitch" else (-math.inf, math.inf)
        )  # the others' types have their limits
        if not (math.isfinite(value) and low <= value <= high):
            allowed = f" from {low:.1f} to {high:.1f} degrees" if name == "pitch" else ""
            raise traitlets.TraitError(f"{name} must be a finite number{allowed}, got {value}")
        return value

    def view(self) -> Camera:
        """The camera that the reader looks through: the start camera, carried around the target, zoomed, `size` pixels wide."""
        base, target, up = self._camera.at(width=self.size).zoomed(self.zoom), np.array(self.target), np.array(self.up)
        offset = base.position - target
        across = np.cross(up, offset)
        carry = _turn(up, self.yaw) @ _turn(across / np.linalg.norm(across), -self.pitch)
        viewmat = np.eye(4)
        viewmat[:3, :3] = base.viewmat[:3, :3] @ carry.T
        viewmat[:3, 3] = -viewmat[:3, :3] @ (target + carry @ offset)
        return Camera(viewmat, base.K, base.width, base.height)

    def describe(self) -> str:
        shown = "; ".join(
            f"{panel['label']}, {len(model):,} Gaussians ({panel['formula']})"
            for panel, model in zip(self.panels, self._drawn)
        )
        return (
            f"{self._description} Side by side under one camera: {shown}. Dragging or the arrow keys turn the view, a slider, "
            f"the wheel (after a click) or + and - zoom it from 1/8 to 8, and a .ply or .splat file of one's own can be shown "
            f"instead. "
            f"At zoom {self.zoom:.3g}, {self.yaw:.3g} degrees to the right and {self.pitch:.3g} up from the start."
        )

    @torch.no_grad()
    def still(self) -> list[tuple[bytes, str]]:
        pictures = []
        for panel, model in zip(self.panels, self._drawn):
            buffer = io.BytesIO()
            image = plots.as_bytes(model.render([self.view()]).colors[0], panel["label"])
            Image.fromarray(image).save(buffer, format="PNG", optimize=True)
            pictures.append((buffer.getvalue(), f"{panel['label']}, {len(model):,} Gaussians, zoom {self.zoom:.3g}"))
        return pictures


def _open(given: Gaussians | bytes, label: str) -> Gaussians:
    """A model, checked."""
    if isinstance(given, bytes):
        parse, ending = (clouds.parse_gaussians, "ply") if given.startswith(b"ply") else (clouds.parse_splat, "splat")
        given = parse(given, Path(f"{label}.{ending}"))
    if not isinstance(given, Gaussians):
        raise ValueError(f"{label}: give Gaussians or the bytes of a file, not {type(given).__name__}")
    if len(given) > MOST:
        raise ValueError(f"{label}: {len(given):,} Gaussians, and the viewer shows up to {MOST:,}; thin them out")
    return given


def _file(given: Gaussians | bytes, model: Gaussians, same: bool) -> bytes:
    """What the browser gets: a .splat as it is, where the model is all of it; everything else as a .ply of what counts."""
    if same and isinstance(given, bytes) and not given.startswith(b"ply") and clouds.is_whole(given):
        return given
    return _short(ply_bytes(model), model.sh_active)


def _short(ply: bytes, degree: int) -> bytes:
    """A file of `ply_bytes` without normals and without harmonics above `degree`: a quarter of the size at degree 0."""
    end = ply.index(b"end_header\n") + len(b"end_header\n")
    header = ply[:end].decode("ascii").splitlines()
    names = [line.split()[-1] for line in header if line.startswith("property ")]
    most, kept = sum(name.startswith("f_rest_") for name in names) // 3, (degree + 1) ** 2 - 1
    rest = [f"f_rest_{channel * most + k}" for channel in range(3) for k in range(kept)]
    columns = [
        k for k, name in enumerate(names) if name not in ("nx", "ny", "nz") and (name[:6] != "f_rest" or name in rest)
    ]
    lines = [line for line in header if not line.startswith(("property", "end_header"))]
    renamed = {name: f"f_rest_{k}" for k, name in enumerate(rest)}
    lines += [f"property float {renamed.get(names[k], names[k])}" for k in columns]
    table = np.frombuffer(ply, "<f4", offset=end).reshape(-1, len(names))
    return "\n".join([*lines, "end_header", ""]).encode("ascii") + table[:, columns].tobytes()


def _formula(method: filters.Method) -> str:
    """What a method does to a Gaussian before it is drawn, in words."""
    wide = f"S′ = S + {method.eps2d:g} px²" if method.eps2d else "S′ = S"
    return (
        f"{'3D filter, then ' if method.smooth_3d else ''}{wide}, opacity {'× ρ' if method.compensate else 'unchanged'}"
    )


def _ahead(camera: Camera, model: Gaussians) -> Array:
    """The point on the optical axis at the median depth of the Gaussians in view, or of all if none is."""
    uv, z = camera.project(model.means.detach().cpu().numpy())
    seen = (z > 0) & (uv > 0).all(1) & (uv < (camera.width, camera.height)).all(1)
    depth = np.median(z[seen]) if seen.any() else np.median(np.abs(z))
    return camera.position + depth * camera.viewmat[2, :3]


def _turn(axis: Array, degrees: float) -> Array:
    """The rotation matrix [3, 3] about a unit axis."""
    x, y, z = axis
    K = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = math.radians(degrees)
    return np.eye(3) + math.sin(angle) * K + (1 - math.cos(angle)) * K @ K


def _vector(what: str, value: ArrayLike) -> Array:
    v = np.array(value, dtype=np.float64)
    if v.shape != (3,) or not np.isfinite(v).all():
        raise ValueError(f"{what} must be three finite numbers, got {value!r}")
    return v


def _unit(what: str, v: Array) -> Array:
    length = np.linalg.norm(v)
    if length < 1e-9:
        raise ValueError(f"{what} has no length, so that the camera cannot turn; choose another target or up")
    return v / length
