"""The model of the wing: a cloud of 3D Gaussians, its activations, and how it is rendered under each method."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..kernels.rasterize import Rendering, rasterization, rules
from ..lab.files import atomic_write
from . import filters
from .cameras import Camera, stack
from .coordinates import counted_from, far_origin

C0 = 0.5 / math.sqrt(math.pi)  # the constant spherical harmonic: colour = 0.5 + C0 * coefficient
START_OPACITY = 0.1
KNN_FLOOR = 1e-7  # floor of the mean squared neighbour distance, scene units^2 (coincident points)


@dataclass(frozen=True)
class GaussianConfig:
    """What a model is, apart from its parameters.

    method: a key of `filters.METHODS`; sh_degree: 0 to 3, view-dependent colour; background: RGB behind everything, [0, 1];
    origin: what the means count from, in the coordinates of cameras, points and files. It is not 0 only where a scene lies so
    far off that float32 would lose it (`coordinates.far_origin`).
    """

    method: str = "mip"
    sh_degree: int = 0
    background: tuple[float, float, float] = (0.0, 0.0, 0.0)
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        filters.method(self.method)
        if self.sh_degree not in (0, 1, 2, 3):
            raise ValueError(f"GaussianConfig: sh_degree must be 0, 1, 2 or 3, got {self.sh_degree!r}")
        if len(self.background) != 3 or not all(0 <= b <= 1 for b in self.background):
            raise ValueError(f"GaussianConfig: background must be three numbers in [0, 1], got {self.background!r}")


class Gaussians(nn.Module):
    """N Gaussians. Parameters are unbounded; `scales`, `opacities` and `colors` apply the activations.

    means [N, 3]           centres, scene units, counted from config.origin
    log_scales [N, 3]      s = exp(log_scales), scene units
    quats [N, 4]           rotation w, x, y, z, normalised when used
    opacity_logits [N]     o = sigmoid(opacity_logits)
    sh_dc [N, 1, 3], sh_rest [N, (degree + 1)^2 - 1, 3]   spherical harmonics
    phi [N] (buffer)       standard deviation of the 3D smoothing filter, scene units; 0 switches it off
    """

    means: nn.Parameter
    log_scales: nn.Parameter
    quats: nn.Parameter
    opacity_logits: nn.Parameter
    sh_dc: nn.Parameter
    sh_rest: nn.Parameter
    phi: Tensor

    def __init__(self, parameters: dict[str, Tensor], config: GaussianConfig, phi: Tensor | None = None):
        super().__init__()
        self.config = config
        for name, shape in self.shapes(len(parameters["means"]), config.sh_degree).items():
            got = tuple(parameters[name].shape)
            if got != shape:
                raise ValueError(f"Gaussians: {name} must have shape {list(shape)}, got {list(got)}")
            setattr(self, name, nn.Parameter(parameters[name].detach().clone()))
        self.register_buffer("phi", torch.zeros_like(self.opacity_logits.detach()) if phi is None else phi.clone())
        self.sh_active = config.sh_degree  # training starts at 0 and raises it

    @staticmethod
    def shapes(n: int, sh_degree: int) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the parameters of n Gaussians."""
        rest = (sh_degree + 1) ** 2 - 1
        return dict(
            means=(n, 3), log_scales=(n, 3), quats=(n, 4), opacity_logits=(n,), sh_dc=(n, 1, 3), sh_rest=(n, rest, 3)
        )

    @classmethod
    def from_points(cls, points: Tensor, colors: Tensor, config: GaussianConfig) -> Gaussians:
        """Start as 3DGS does: one round Gaussian per point [N, 3] with its colour [N, 3] in [0, 1], opacity 0.1, as wide as
        the root mean square distance to its three nearest neighbours. Points that lie far off, as in UTM, get an origin."""
        from scipy.spatial import cKDTree

        n = len(points)
        if n < 4:
            raise ValueError(f"Gaussians.from_points: need at least 4 points to set the sizes, got {n}")
        where = points.detach().double().cpu().numpy()
        if any(origin := far_origin(where)):
            config, where = replace(config, origin=origin), where - origin
            points = torch.from_numpy(where).float().to(points.device)
        distance = torch.from_numpy(cKDTree(where).query(where, k=4)[0][:, 1:])  # [N, 3], itself left out
        size = distance.square().mean(-1).clamp(min=KNN_FLOOR).sqrt().to(points)
        parameters = dict(
            means=points,
            log_scales=size.log()[:, None].expand(n, 3),
            quats=points.new_tensor([1.0, 0.0, 0.0, 0.0]).expand(n, 4),
            opacity_logits=points.new_full((n,), math.log(START_OPACITY / (1 - START_OPACITY))),
            sh_dc=((colors - 0.5) / C0)[:, None, :],
            sh_rest=points.new_zeros(cls.shapes(n, config.sh_degree)["sh_rest"]),
        )
        return cls(parameters, config)

    def __len__(self) -> int:
        return len(self.means)

    @property
    def method(self) -> filters.Method:
        return filters.method(self.config.method)

    def scales_opacities(self) -> tuple[Tensor, Tensor]:
        """Scales [N, 3] and opacities [N] as they are drawn: after the activations and the 3D smoothing filter."""
        scales, opacities = self.log_scales.exp(), self.opacity_logits.sigmoid()
        if not self.method.smooth_3d:
            return scales, opacities
        return filters.smooth_3d(scales, opacities, self.phi)

    def update_filter(self, cameras: Sequence[Camera], rule: str = "code") -> None:
        """Recompute the size of every 3D smoothing filter from the training cameras (paper, Eq. 7 to 9)."""
        if self.method.smooth_3d:
            self.phi = filters.smoothing_scale(self.means, counted_from(cameras, self.config.origin), rule)

    def stack(self, cameras: Sequence[Camera]) -> tuple[Tensor, Tensor, int, int]:
        """Cameras as `cameras.stack` gives them, in the coordinates of the means."""
        return stack(counted_from(cameras, self.config.origin), self.means.device, self.means.dtype)

    @torch.no_grad()
    def placed(self, origin: Sequence[float], unit: float = 1.0) -> Gaussians:
        """The same scene in coordinates that count from `origin` [3] in steps of `unit`, as `coordinates.placed`, with an
        origin of 0. Itself, if it is that already."""
        if not any(origin) and not any(self.config.origin) and unit == 1:
            return self
        parameters = {name: p.detach() for name, p in self.named_parameters()}
        offset = self.means.new_tensor(np.subtract(self.config.origin, origin).tolist())
        parameters |= dict(means=(self.means + offset) / unit, log_scales=self.log_scales - math.log(unit))
        placed = Gaussians(parameters, replace(self.config, origin=(0.0, 0.0, 0.0)), self.phi / unit)
        placed.sh_active = self.sh_active
        return placed

    def render(self, cameras: Sequence[Camera], *, backend: str = "auto", render_mode: str = "RGB") -> Rendering:
        """Render into cameras of one size: colors [C, H, W, 3] and the rest of `kernels.rasterize.Rendering`."""
        viewmats, Ks, width, height = self.stack(cameras)
        near = self.near_plane(cameras)
        return self.rasterize(viewmats, Ks, width, height, backend=backend, render_mode=render_mode, near_plane=near)

    def near_plane(self, cameras: Sequence[Camera]) -> float:
        """What is nearer to a camera is not drawn, scene units: 0.01 as the rasterizer has it, in any unit but one so large
        that it would hide the scene. Where cameras stand nearer than 0.05 to it, a hundredth of their distance."""
        seen_from = counted_from(cameras, self.config.origin)
        distance = filters.near_limit(self.means.detach(), seen_from) / filters.NEAR_SHARE
        return distance / 100 if 0 < distance < 5 * rules.NEAR_PLANE else rules.NEAR_PLANE

    def rasterize(self, viewmats: Tensor, Ks: Tensor, width: int, height: int, **options) -> Rendering:
        """The same from tensors, see `stack`: viewmats [C, 4, 4], Ks [C, 3, 3]."""
        scales, opacities = self.scales_opacities()
        degree: int | None = self.sh_active
        if degree == 0:  # one constant colour per Gaussian: no direction to look from
            degree, colors = None, torch.clamp_min(0.5 + C0 * self.sh_dc[:, 0], 0.0)
        else:
            colors = torch.cat([self.sh_dc, self.sh_rest], dim=1)
        background = self.means.new_tensor(self.config.background) if any(self.config.background) else None
        return rasterization(
            self.means, self.quats, scales, opacities, colors, viewmats, Ks, width, height, sh_degree=degree,
            backgrounds=background, eps2d=self.method.eps2d, rasterize_mode=self.method.rasterize_mode, **options,
        )  # fmt: skip

    @torch.no_grad()
    def fused(self) -> Gaussians:
        """The same picture without a 3D filter: it is folded into scales and opacities (paper, p. 8; for export).

        The fused model keeps the 2D filter of its method and renders exactly as this one. Fusing twice changes nothing, since
        the fused model has no 3D filter left; training it on would apply the filter anew.
        """
        scales, opacities = self.scales_opacities()
        parameters = {name: p.detach() for name, p in self.named_parameters()}
        # an opacity so near to 0 or 1 that float32 rounds it has no finite logit
        parameters |= dict(log_scales=scales.log(), opacity_logits=torch.logit(opacities).clamp(-100, 100))
        fused = Gaussians(parameters, self.config)  # phi = 0
        fused.sh_active = self.sh_active
        return fused

    def save(self, path: str | Path) -> None:
        """Write the model to a safetensors file: its parameters, phi, and the configuration in the header."""
        from safetensors.torch import save_file

        tensors = {name: t.detach().cpu().contiguous() for name, t in self.state_dict().items()}
        header = dict(config=json.dumps(asdict(self.config)), sh_active=str(self.sh_active))
        with atomic_write(Path(path)) as part:
            save_file(tensors, part, metadata=header)

    @classmethod
    def load(cls, path: str | Path) -> Gaussians:
        """Read a file of `save`. Raises ValueError if it is not one."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "pt") as file:
                header = file.metadata() or {}
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118, not a dict
            config = json.loads(header["config"])
            for name in ("background", "origin"):
                config[name] = tuple(config.get(name, (0.0, 0.0, 0.0)))
            phi = tensors.pop("phi")
            model = cls(tensors, GaussianConfig(**config), phi)
            model.sh_active = int(header["sh_active"])
        except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"{path} is no model of this program, or is damaged ({error})") from error
        return model
