"""From a still picture and a motion to frames: look back, splat ahead, or splat features and let a network paint.

A motion says where each pixel of the picture goes. Four ways to make frame n of it, each with what it cannot do:

    backward   look up the picture at p - F_n(p): quick and sharp, but F belongs to the picture's pixels, not to the frame's, so
               silhouettes drag their surroundings along
    average    send each pixel to p + F_n(p), and average what meets there: front and back show through each other
    softmax    the same, weighted by exp(Z): what moves more is taken to lie in front, Z = temperature * W (paper section 5)
    network    features of the picture at several scales are splatted so, and the decoder of a small U-Net paints the frame
               from them; only it can fill holes, and it sharpens what splatting blurred

W(p) is the mean over frames of |F_n(p)|, one map for all frames. The paper gives no scale for it in the exponent: here W is
divided by its largest value in the picture, so that the temperature has no unit and holds for any size and gain (ours).

Frames do not depend on each other: everything here makes them one by one.

Source: Li et al. 2024, section 5 and supplement 2 and 4.1. Sizes, decoder and losses are ours: theirs is a ResNet-34 pyramid
with a co-modulated StyleGAN decoder and a VGG loss.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as nnf

from ..kernels.softsplat import softsplat
from ..lab.files import FormatError, atomic_write
from ..lab.images import ssim
from ..lab.training import ROW_EVERY, Training

METHODS = ("backward", "average", "softmax", "network")
# of W over its largest value. Measured on drawn scenes: 3 is best at moving edges, 30 is worse than none at all, since what
# moves more is in front as a rule only, and W changes along a leaf as well
TEMPERATURE = 3.0
STRIDE = 1_000_003  # between the streams of random numbers of two seeds; runs are shorter
EDGE, REACH = 0.5, 2  # pixels: a difference of motions that makes a moving edge, and how far from it still counts

MOVING = 0.05  # of the largest W: training crops hold a pixel that moves so much

Frame = NDArray[np.uint8]


# ----------------------------------------------------------------------------------------------------------- no network


def to_float(pictures: Frame | Tensor) -> Tensor:
    """Pictures uint8 (..., H, W, 3) -> float32 (..., 3, H, W), 0 to 1."""
    return torch.as_tensor(pictures).movedim(-1, -3).float().div_(255)


def to_bytes(pictures: Tensor) -> Frame:
    """Pictures float (..., 3, H, W), 0 to 1 -> uint8 (..., H, W, 3)."""
    out: Frame = (pictures.detach().clamp(0, 1) * 255).round().to(torch.uint8).movedim(-3, -1).cpu().numpy()
    return out


def nearness(flow: Iterable[Tensor], relative: bool = True) -> Tensor:
    """W: how much each pixel moves, the mean over frames of |F_n|: float32 (1, 1, H, W).

    flow      fields (2, H, W), pixels, such as a motion (T, 2, H, W)
    relative  over the largest value in the picture, 0 to 1; else pixels
    """
    total, count = torch.zeros(()), 0
    for field in flow:
        total, count = total + torch.linalg.vector_norm(field, dim=0), count + 1
    if not count:
        raise ValueError("nearness: no fields")
    W = (total / count)[None, None]
    return W / W.max().clamp(min=1e-12) if relative else W


def backward(picture: Tensor, flow: Tensor) -> Tensor:
    """The picture looked up at p - F(p), bilinearly, its border continued: (B, C, H, W), (B, 2, H, W) -> (B, C, H, W)."""
    H, W = picture.shape[-2:]
    y, x = torch.meshgrid(torch.arange(H).to(flow), torch.arange(W).to(flow), indexing="ij")
    at = torch.stack([2 * (x - flow[:, 0]) / max(W - 1, 1) - 1, 2 * (y - flow[:, 1]) / max(H - 1, 1) - 1], -1)
    return nnf.grid_sample(picture, at, padding_mode="border", align_corners=True)


def splat(
    picture: Tensor, flow: Tensor, W: Tensor | None = None, temperature: float = TEMPERATURE
) -> tuple[Tensor, Tensor]:
    """The picture sent along the flow: (B, C, H, W), 0 in holes, and the holes, bool (B, 1, H, W).

    W  (B, 1, H, W), see `nearness`: softmax splatting; None: average splatting
    """
    weight = None if W is None else temperature * W
    out, holes = softsplat(picture, flow, weight, mode="average" if W is None else "softmax")
    return out, holes


def frames(
    picture: Frame,
    flow: Iterable[Tensor],
    method: str = "softmax",
    renderer: Renderer | None = None,
    *,
    W: Tensor | None = None,
    temperature: float = TEMPERATURE,
) -> Iterator[Frame]:
    """Frames uint8 (H, W, 3), one by one, of a picture uint8 (H, W, 3) under fields (2, H, W), pixels.

    method  one of METHODS; "network" needs a renderer
    W       from `nearness`; it may be left out where `flow` is a tensor (T, 2, H, W)

    Where nothing lands, average and softmax show what "backward" does: a makeshift (ours), but the still picture would
    show there what has moved away.
    """
    if method not in METHODS:
        raise ValueError(f"frames: method must be one of {', '.join(METHODS)}, got {method!r}")
    if (method == "network") != (renderer is not None):
        raise ValueError('frames: method "network" needs a renderer, and no other method takes one')
    if W is None and method in ("softmax", "network"):
        if not isinstance(flow, Tensor):
            raise ValueError("frames: fields that come one by one need W = nearness(...) of the whole clip")
        W = nearness(flow)
    still = to_float(picture)[None]

    def stream() -> Iterator[Frame]:
        features = renderer.features(still) if renderer is not None else []
        for field in flow:
            if field.shape[-2:] != still.shape[-2:]:
                raise ValueError(
                    f"frames: the picture is {tuple(still.shape[-2:])}, a field is {tuple(field.shape[-2:])}; "
                    "bring the motion to the picture's size (see `guided`)"
                )
            F = field[None].float()
            if renderer is not None and W is not None:
                frame = renderer.paint(still, features, F, W)
            elif method == "backward":
                frame = backward(still, F)
            else:
                frame, holes = splat(still, F, W if method == "softmax" else None, temperature)
                frame = torch.where(holes, backward(still, F), frame)
            yield to_bytes(frame[0])

    return _without_gradients(stream())


def _without_gradients(made: Iterator[Frame]) -> Iterator[Frame]:
    """A generator under no_grad would leave gradients off for its caller between two frames; so each step is wrapped."""
    while True:
        with torch.no_grad():
            frame = next(made, None)
        if frame is None:
            return
        yield frame


def guided(S: Tensor, picture: Frame, radius: int = 2, spread: float = 0.7, colour: float = 0.05) -> Tensor:
    """A spectral volume (or motion) of a smaller size brought to the picture's, its steps kept on the picture's edges. (ours)

    S        complex or real (K, 2, h, w), pixels of its own size
    picture  uint8 (H, W, 3)
    -> (K, 2, H, W), pixels of the picture: x is scaled by W / w, y by H / h

    Joint bilateral upsampling (Kopf et al. 2007): each pixel takes the mean of the coarse pixels around it, out to `radius`,
    weighted by nearness (`spread`, coarse pixels) and by likeness of colour (`colour`, of 0 to 1).
    """
    H, W, _ = picture.shape
    K, _, h, w = S.shape
    fine = to_float(picture)[None]
    coarse = nnf.interpolate(fine, (h, w), mode="area")
    values = (
        torch.view_as_real(S).permute(0, 1, 4, 2, 3).reshape(1, -1, h, w) if S.is_complex() else S.reshape(1, -1, h, w)
    )
    at_y, at_x = ((torch.arange(n) + 0.5) * m / n - 0.5 for n, m in ((H, h), (W, w)))  # on the coarse grid
    near_y, near_x = at_y.round().long(), at_x.round().long()
    total, weights = torch.zeros(1, values.shape[1], H, W), torch.zeros(1, 1, H, W)
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            iy, ix = (near_y + dy).clamp(0, h - 1), (near_x + dx).clamp(0, w - 1)
            apart = (near_y + dy - at_y).square()[:, None] + (near_x + dx - at_x).square()
            unlike = (coarse[:, :, iy][:, :, :, ix] - fine).square().sum(1, keepdim=True)
            weight = torch.exp(-apart / (2 * spread**2) - unlike / (2 * colour**2)) + 1e-12 * torch.exp(-apart)
            total += weight * values[:, :, iy][:, :, :, ix]
            weights += weight
    out = (total / weights).reshape(K, 2, -1, H, W) * torch.tensor([W / w, H / h]).reshape(1, 2, 1, 1, 1)
    return torch.complex(out[:, :, 0], out[:, :, 1]) if S.is_complex() else out[:, :, 0]


# ---------------------------------------------------------------------------------------------------------- the network


@dataclass(frozen=True)
class RendererConfig:
    """A renderer.

    widths       feature channels at full size, half, quarter, ...
    multi_scale  True: each scale is splatted. False: only the full size is, and the smaller scales are made of what has
                 landed; same parameters (the paper's baseline)
    weight       "motion": Z = temperature * W; "learned": Z is a function of the picture's features (the paper's baseline)
    """

    widths: tuple[int, ...] = (16, 32, 64)
    multi_scale: bool = True
    weight: str = "motion"
    temperature: float = TEMPERATURE

    def __post_init__(self) -> None:
        if self.weight not in ("motion", "learned"):
            raise ValueError(f'RendererConfig: weight must be "motion" or "learned", got {self.weight!r}')
        if len(self.widths) < 1 or min(self.widths) < 1 or self.temperature < 0:
            raise ValueError("RendererConfig: widths must be at least 1, temperature at least 0")


def act(x: Tensor) -> Tensor:
    """Between convolutions. It leaks: most of a picture stands still and needs no painting, which with GELU was an invitation
    to switch all of the decoder off for good."""
    return nnf.leaky_relu(x, 0.2)


class Block(nn.Module):
    """Two convolutions beside a straight way."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, H, W) -> the same."""
        out: Tensor = x + self.second(act(self.first(act(x))))
        return out


class Renderer(nn.Module):
    """Features of the picture, splatted at each scale, decoded to a frame. Any size; without norms, so that what it paints at
    a place hangs on what is near it only. Untrained, it is softmax splatting of the picture with black holes.
    """

    def __init__(self, config: RendererConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or RendererConfig()
        widths = config.widths
        self.stem = nn.Conv2d(3, widths[0], 3, padding=1)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1) for a, b in itertools.pairwise(widths))
        self.encode = nn.ModuleList(nn.Conv2d(w, w, 3, padding=1) for w in widths)
        self.join = nn.ModuleList(  # of what comes from below, the features, the holes, and at full size the picture
            nn.Conv2d(sum(widths[j : j + 2]) + 1 + 3 * (j == 0), w, 3, padding=1) for j, w in enumerate(widths)
        )
        self.decode = nn.ModuleList(
            nn.Sequential(*(Block(w) for _ in range(2 if j == len(widths) - 1 else 1))) for j, w in enumerate(widths)
        )
        self.out = nn.Conv2d(widths[0], 3, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]
        if config.weight == "learned":
            self.metric = nn.Conv2d(widths[0], 1, 3, padding=1)

    @property
    def multiple(self) -> int:
        """Sides are padded to multiples of this."""
        return 1 << (len(self.config.widths) - 1)

    def features(self, picture: Tensor) -> list[Tensor]:
        """What the picture (B, 3, H, W) holds, at each scale that is splatted: [(B, widths[j], H / 2^j, W / 2^j)]."""
        x = self._level(0, self.stem(self._pad(picture) - 0.5))
        return [x, *self._below(x)] if self.config.multi_scale else [x]

    def _level(self, j: int, x: Tensor) -> Tensor:
        out: Tensor = act(self.encode[j](act(x)))
        return out

    def _below(self, x: Tensor) -> list[Tensor]:
        """The smaller scales, made of the full one."""
        found = []
        for j, down in enumerate(self.down, 1):
            x = self._level(j, down(x))
            found.append(x)
        return found

    def _pad(self, x: Tensor) -> Tensor:
        H, W = x.shape[-2:]
        return nnf.pad(x, (0, -W % self.multiple, 0, -H % self.multiple), mode="replicate")

    def paint(self, picture: Tensor, features: list[Tensor], flow: Tensor, W: Tensor) -> Tensor:
        """A frame (B, 3, H, W) of a picture and its `features`, a flow (B, 2, H, W), pixels, and W (B, 1, H, W).

        All of the batch may share one picture: then picture, features and W have B = 1. Values may lie a little outside 0..1.
        """
        high, wide = picture.shape[-2:]
        B = len(flow)
        picture, flow, W = self._pad(picture), self._pad(flow), self._pad(W)
        Z = self.metric(features[0]) if self.config.weight == "learned" else self.config.temperature * W
        landed, holes = [], []
        for j, found in enumerate(features):  # the flow is made smaller, and so are its pixels
            F, z = (nnf.avg_pool2d(t, 1 << j) if j else t for t in (flow / (1 << j), Z))
            sent = torch.cat([picture - 0.5, found], 1) if j == 0 else found
            out, hole = softsplat(
                sent.expand(B, -1, -1, -1).contiguous(),
                F.contiguous(),
                z.expand(B, -1, -1, -1).contiguous(),
                mode="softmax",
            )
            landed.append(out)
            holes.append(hole.to(out))
        base, landed[0] = landed[0][:, :3], landed[0][:, 3:]
        if not self.config.multi_scale:
            landed += self._below(landed[0])
            holes += [nnf.avg_pool2d(holes[0], 1 << j) for j in range(1, len(landed))]
        x = torch.zeros(())
        for j in reversed(range(len(landed))):
            parts = [landed[j], holes[j]] + ([base] if j == 0 else [])
            if j + 1 < len(landed):
                parts.insert(0, nnf.interpolate(x, scale_factor=2, mode="bilinear"))
            x = self.decode[j](self.join[j](torch.cat(parts, 1)))
        frame: Tensor = (base + 0.5) * (1 - holes[0]) + self.out(act(x))
        return frame[..., :high, :wide]

    def forward(self, picture: Tensor, flow: Tensor, W: Tensor) -> Tensor:
        """As `paint`, features included: (B, 3, H, W), (B, 2, H, W), (B, 1, H, W) -> (B, 3, H, W)."""
        return self.paint(picture, self.features(picture), flow, W)


def save(renderer: Renderer, path: str | Path) -> None:
    """Write weights in half precision and the configuration to one safetensors file."""
    from safetensors.torch import save_file

    tensors = {name: t.detach().half().cpu().contiguous() for name, t in renderer.state_dict().items()}
    with atomic_write(Path(path)) as part:
        save_file(tensors, part, metadata=dict(renderer=json.dumps(asdict(renderer.config))))


def load(path: str | Path) -> Renderer:
    """The renderer of a file of `save`, in float32. Raises FormatError if it is none."""
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    try:
        with safe_open(path, "pt") as file:
            said = json.loads((file.metadata() or {})["renderer"])
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118, not a dict
        renderer = Renderer(RendererConfig(**said | dict(widths=tuple(said["widths"]))))
        renderer.load_state_dict(tensors)
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError, OSError) as error:
        raise FormatError(path, "file", "a renderer's weights", f"something else ({str(error)[:200]})") from error
    return renderer.eval()


# ------------------------------------------------------------------------------------------------------------- training


@dataclass(frozen=True)
class Pairs:
    """Pictures, frames of them, and the motion between: what a renderer learns from.

    pictures  uint8 (N, H, W, 3)
    frames    uint8 (N, M, H, W, 3): M frames of each
    flows     float16 (N, M, 2, H, W), pixels: from the picture to each frame
    W         float16 (N, 1, H, W): `nearness` of the whole clip
    """

    pictures: Tensor
    frames: Tensor
    flows: Tensor
    W: Tensor

    def __post_init__(self) -> None:
        N, M, H, W, _ = self.frames.shape
        shapes = dict(pictures=(N, H, W, 3), frames=(N, M, H, W, 3), flows=(N, M, 2, H, W), W=(N, 1, H, W))
        for name, expected in shapes.items():
            found = tuple(getattr(self, name).shape)
            if found != expected or 0 in found:
                raise ValueError(f"Pairs: {name} must be {expected}, got {found}")


def pairs(
    scenes: Iterable[Any], clips: int, picked: int, height: int, width: int, seed: int = 0, stride: int = 5
) -> Pairs:
    """Pairs of scenes of `worlds`: `clips` winds each, `picked` frames a clip, exact flow; W from one frame in `stride`."""
    from .worlds import Wind

    rng = np.random.default_rng(seed)
    out: dict[str, list[Tensor]] = dict(pictures=[], frames=[], flows=[], W=[])
    for scene in scenes:
        picture = torch.from_numpy(scene.picture(height, width))
        for _ in range(clips):
            q = scene.motion(Wind.draw(rng))
            at = np.sort(rng.choice(np.arange(1, len(q)), picked, replace=False))
            some = torch.from_numpy(scene.flow(q[::stride], height, width))
            out["pictures"].append(picture)
            out["frames"].append(torch.from_numpy(scene.frames(q[at], height, width)))
            out["flows"].append(torch.from_numpy(scene.flow(q[at], height, width)).half())
            out["W"].append(nearness(some)[0].half())
    return Pairs(**{name: torch.stack(values) for name, values in out.items()})


class Perceptual(nn.Module):
    """How different two pictures look to a fixed network of random filters, at three scales: a scalar, 0 for equal pictures.

    Random filters with the mean taken out see edges and textures as trained ones do, if more coarsely, and need no download
    (ours; the paper uses VGG). Nothing in it is learned or saved.
    """

    def __init__(self, widths: Sequence[int] = (16, 32, 64), seed: int = 0) -> None:
        super().__init__()
        g = torch.Generator().manual_seed(seed)
        for i, (a, b) in enumerate(itertools.pairwise((3, *widths))):
            kernel = torch.randn(b, a, *(5, 5) if i == 0 else (3, 3), generator=g)
            if i == 0:
                kernel -= kernel.mean((2, 3), keepdim=True)
            kernel *= math.sqrt(2) / kernel.flatten(1).norm(dim=1)[:, None, None, None]
            self.register_buffer(f"kernel{i}", kernel, persistent=False)
        self.depth = len(widths)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) -> the mean absolute difference of features, summed over scales."""
        x, total = torch.cat([a, b]), a.new_zeros(())
        for i in range(self.depth):
            kernel = self.get_buffer(f"kernel{i}")
            x = nnf.relu(nnf.conv2d(x, kernel, stride=1 + (i > 0), padding=kernel.shape[-1] // 2))
            first, second = x.chunk(2)
            total = total + (first - second).abs().mean()
        return total


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one run: `batch` crops of `crop` pixels a step; loss = L1 + `perceptual` * Perceptual."""

    steps: int = 2000
    batch: int = 4
    crop: int = 80
    lr: float = 2e-3
    warmup: int = 50
    perceptual: float = 0.5
    seed: int = 0
    checkpoint_every: int = 200

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "crop", "lr", "checkpoint_every"):
            if getattr(self, name) <= 0:
                raise ValueError(f"TrainConfig: {name} must be above 0, got {getattr(self, name)}")


class Trainer(Training):
    """One training run of a renderer on pairs: random crops around what moves, half of them mirrored."""

    DATA = "pictures or motions"
    model: Renderer
    config: TrainConfig

    def __init__(
        self,
        model: Renderer,
        pairs: Pairs,
        config: TrainConfig,
        checkpoint: str | Path | None = None,
        group: Any = None,
    ) -> None:
        super().__init__(model, config, config.steps, checkpoint, group)
        self.pairs = pairs
        self.device = next(model.parameters()).device
        self.optimizer = torch.optim.Adam(model.parameters(), lr=config.lr)
        self.perceptual = Perceptual().to(self.device)
        self.losses: list[float] = []
        self.resume()

    def settings(self) -> dict[str, Any]:
        return super().settings() | {f"renderer.{k}": v for k, v in asdict(self.model.config).items()}

    def draw(self, number: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """This process's share of batch `number`: pictures, frames (b, 3, c, c), flows (b, 2, c, c), W (b, 1, c, c)."""
        p, c = self.pairs, self.config
        rng = np.random.default_rng(c.seed * STRIDE + number)
        N, M, H, W, _ = p.frames.shape
        high, wide = min(c.crop, H), min(c.crop, W)
        chosen = []
        for _ in range(c.batch):
            n, m = rng.integers(N), rng.integers(M)
            moving = torch.nonzero(p.W[n, 0] > MOVING)
            y, x = moving[rng.integers(len(moving))].tolist() if len(moving) else (H // 2, W // 2)
            top, left = (y - rng.integers(high)).clip(0, H - high), (x - rng.integers(wide)).clip(0, W - wide)
            chosen.append((n, m, top, left, rng.random() < 0.5))
        rows: list[list[Tensor]] = [[], [], [], []]
        for n, m, top, left, mirrored in chosen[self.rank :: self.ranks]:
            cut = (slice(top, top + high), slice(left, left + wide))
            row = [to_float(p.pictures[n][cut]), to_float(p.frames[n, m][cut])]
            row += [p.flows[n, m][:, *cut].float(), p.W[n][:, *cut].float()]
            if mirrored:
                row = [t.flip(-1) for t in row]
                row[2] = row[2] * torch.tensor([-1.0, 1.0])[:, None, None]
            for values, value in zip(rows, row):
                values.append(value)
        pictures, frames, flows, weights = (torch.stack(values).to(self.device) for values in rows)
        return pictures, frames, flows, weights

    def step(self) -> float:
        """One step; returns the loss."""
        c = self.config
        rate = (
            (self.iteration + 1) / c.warmup
            if self.iteration < c.warmup
            else 0.5 + 0.5 * math.cos(math.pi * (self.iteration - c.warmup) / max(1, c.steps - c.warmup))
        )
        for group in self.optimizer.param_groups:
            group["lr"] = c.lr * rate
        picture, truth, flow, W = self.draw(self.iteration)
        frame = self.model(picture, flow, W)
        loss = (frame - truth).abs().mean() + c.perceptual * self.perceptual(frame, truth)
        self.optimizer.zero_grad()
        loss.backward()
        value = float(self.average(loss.detach()))
        self.optimizer.step()
        self.losses.append(value)
        self.iteration += 1
        return value

    def row(self, result: float) -> dict[str, float]:
        last = self.losses[-ROW_EVERY:]
        return dict(loss=sum(last) / len(last))

    def digest(self) -> str:
        digest = hashlib.sha256()
        for tensor in (self.pairs.pictures, self.pairs.frames, self.pairs.flows, self.pairs.W):
            digest.update(tensor.contiguous().numpy().data)
        return digest.hexdigest()[:16]

    def state(self) -> dict[str, Any]:
        return dict(losses=self.losses)

    def restore(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        self.losses = state["losses"]


def train(
    config: TrainConfig | None = None,
    renderer: RendererConfig | None = None,
    *,
    scenes: int = 10,
    clips: int = 2,
    picked: int = 4,
    size: tuple[int, int] = (160, 256),
    checkpoint: str | Path | None = None,
    quiet: bool = False,
) -> Trainer:
    """Draw training scenes (`scenes` of each kind) and train a renderer on them; the seed decides weights, winds and crops.

    The trainer that comes back holds the model and its history; `save(trainer.model, path)` keeps it.
    """
    from .worlds import KINDS, make_scene, plant_seeds

    config = config or TrainConfig()
    seeds = [(kind, seed) for kind in KINDS for seed in plant_seeds(kind, "train", scenes)]
    data = pairs((make_scene(*one) for one in seeds), clips, picked, *size, seed=config.seed)
    with torch.random.fork_rng(devices=[]):  # so that the caller's random numbers stay as they are
        torch.manual_seed(config.seed)
        model = Renderer(renderer)
    trainer = Trainer(model, data, config, checkpoint)
    trainer.run(desc="renderer", quiet=quiet)
    return trainer


# ---------------------------------------------------------------------------------------------------------------- scores


def regions(flow: Tensor) -> dict[str, Tensor]:
    """Where in a frame to look, bool (H, W): "holes", on which nothing lands; "edges", where motions meet; "rest", all else.

    flow (2, H, W), exact, pixels. Motions meet where what lands on a pixel moves differently, by more than 0.5 px (standard
    deviation): at a silhouette, and as far as it covers up what is behind it. 2 px around these and around holes count.
    """
    sent = torch.cat([flow, flow.square().sum(0, keepdim=True)])[None]
    carried, hole = splat(sent, flow[None])
    spread = carried[:, 2:] - carried[:, :2].square().sum(1, keepdim=True)
    near = nnf.max_pool2d(((spread > EDGE**2) | hole).float(), 2 * REACH + 1, 1, REACH) > 0
    return dict(holes=hole[0, 0], edges=(near & ~hole)[0, 0], rest=~(near | hole)[0, 0])


def score(made: Iterable[Frame], truth: Iterable[Frame], flow: Iterable[Tensor]) -> dict[str, float]:
    """PSNR in dB and SSIM of a clip against the true one, on all pixels and on each of `regions` apart.

    made, truth: frames uint8 (H, W, 3) one by one; flow: the exact fields (2, H, W) of these frames.
    Returns psnr, ssim, psnr_holes, ssim_holes, ..., share_holes, ...: squared errors and SSIM are averaged over all pixels of
    a region in all frames, PSNR is of that. NaN where a region has none.
    """
    sums: dict[str, np.ndarray] = {}
    for a, b, field in zip(made, truth, flow, strict=True):
        x, y = (torch.as_tensor(t).float() / 255 for t in (a, b))
        error, alike = (x - y).square().mean(-1), ssim(x, y, reduce=False).mean(0)
        for name, where in dict(all=torch.ones_like(error, dtype=torch.bool), **regions(field)).items():
            row = np.array([float(error[where].sum()), float(alike[where].sum()), float(where.sum())])
            sums[name] = sums.get(name, np.zeros(3)) + row
    if not sums:
        raise ValueError("score: no frames")
    scores = {}
    for name, (error_sum, alike_sum, count) in sums.items():
        mean = error_sum / count if count else math.nan
        end = "" if name == "all" else f"_{name}"
        scores[f"psnr{end}"] = math.inf if mean == 0 else -10 * math.log10(mean)
        scores[f"ssim{end}"] = float(alike_sum / count) if count else math.nan
        if end:
            scores[f"share{end}"] = float(count / sums["all"][2])
    return scores
