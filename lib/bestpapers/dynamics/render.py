"""From a still picture and a motion to frames: look back, splat ahead, or splat features and let a network paint.

A motion says where each pixel of the picture goes. Four ways to make frame n of it, one by one (paper section 5, supplement 2):

    backward   look up the picture at p - F_n(p): quick and sharp, but F belongs to the picture's pixels, not to the frame's, so
               silhouettes drag their surroundings along
    average    send each pixel to p + F_n(p), and average what meets there: front and back show through each other
    softmax    the same, weighted by exp(Z): what moves more is taken to lie in front, Z = temperature * W
    network    features of the picture at several scales are splatted so, and the decoder of a small U-Net paints the frame from
               them. Ours in its sizes and loss: the paper's is a ResNet-34 pyramid, a co-modulated StyleGAN decoder and VGG

Where nothing lands, average and softmax show what backward does, and the network starts from that (ours; in the paper the
decoder alone fills holes: `look_back=False`). What was hidden is in no picture; the still one would show there what has left.

W(p) is the mean over frames of |F_n(p)|, one map for all frames. The paper gives no scale for it in the exponent: here W is
divided by its largest value in the picture, so that the temperature has no unit and holds for any size and gain (ours).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as nnf

from ..course import presets
from ..kernels.softsplat import Splat, softsplat
from ..lab.images import ssim
from ..lab.runs import fingerprint
from ..lab.tensors import read_model, write_model
from . import train as trainers
from .data import Clip
from .worlds import KINDS, plant_seeds

METHODS = ("backward", "average", "softmax", "network")
# of W over its largest value. Measured on drawn scenes: 3 is best at moving edges, 30 is worse than none at all, since what
# moves more is in front as a rule only, and W changes along a leaf as well
TEMPERATURE = 3.0
EDGE, REACH = 0.5, 2  # pixels: a difference of motions that makes a moving edge, and how far from it still counts
LEAK = 0.2
MOVING = 0.05  # of the largest W: training crops hold a pixel that moves so much

Frame = NDArray[np.uint8]


def to_float(pictures: Frame | Tensor) -> Tensor:
    """Pictures uint8 (..., H, W, 3) -> float32 (..., 3, H, W), 0 to 1."""
    return torch.as_tensor(pictures).movedim(-1, -3).float() / 255


def to_bytes(pictures: Tensor) -> Frame:
    """Pictures float (..., 3, H, W), 0 to 1 -> uint8 (..., H, W, 3)."""
    out: Frame = (pictures.detach().clamp(0, 1) * 255).round().to(torch.uint8).movedim(-3, -1).cpu().numpy()
    return out


def nearness(flow: Iterable[Tensor]) -> Tensor:
    """W: how much each pixel moves, the mean over fields (2, H, W), pixels, of |F_n|, over its largest value in the picture:
    float32 (1, 1, H, W), 0 to 1."""
    total, count = torch.zeros(()), 0
    for field in flow:
        total, count = total + field.square().sum(0).sqrt(), count + 1  # `norm` is several times as slow
    if not count:
        raise ValueError("nearness: no fields")
    W = (total / count)[None, None].float()
    return W / W.max().clamp(min=1e-12)


def backward(picture: Tensor, flow: Tensor) -> Tensor:
    """The picture looked up at p - F(p), bilinearly, its border continued: (B, C, H, W), (B, 2, H, W) -> (B, C, H, W)."""
    H, W = picture.shape[-2:]
    y, x = torch.meshgrid(torch.arange(H).to(flow), torch.arange(W).to(flow), indexing="ij")
    at = torch.stack([2 * (x - flow[:, 0]) / max(W - 1, 1) - 1, 2 * (y - flow[:, 1]) / max(H - 1, 1) - 1], -1)
    return nnf.grid_sample(picture, at, padding_mode="border", align_corners=True)


def splat(picture: Tensor, flow: Tensor, W: Tensor | None = None, temperature: float = TEMPERATURE) -> Splat:
    """The picture sent along the flow: (B, C, H, W), 0 in holes, and the holes, bool (B, 1, H, W).

    W  (B, 1, H, W), see `nearness`: softmax splatting; None: average splatting
    """
    weight = None if W is None else temperature * W
    return softsplat(picture, flow, weight, mode="average" if W is None else "softmax")


def frames(
    picture: Frame, flow: Iterable[Tensor], method: str = "softmax", renderer: Renderer | None = None, *,
    W: Tensor | None = None,
) -> Iterator[Frame]:  # fmt: skip
    """Frames uint8 (H, W, 3), one by one, of a picture uint8 (H, W, 3) under fields (2, H, W), pixels.

    method: one of METHODS, "network" needs a renderer. W: `nearness`, may be left out where `flow` is a tensor (T, 2, H, W).
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
        with torch.no_grad():
            features = renderer.features(still) if renderer is not None else []
        for field in flow:
            if field.shape[-2:] != still.shape[-2:]:
                sizes = f"{tuple(still.shape[-2:])}, a field is {tuple(field.shape[-2:])}"
                raise ValueError(f"frames: the picture is {sizes}; bring the motion to its size (see `guided`)")
            F = field[None].float()
            with torch.no_grad():  # not around the yield, or gradients would stay off for the caller
                if renderer is not None and W is not None:
                    frame = renderer.paint(still, features, F, W)
                elif method == "backward":
                    frame = backward(still, F)
                else:
                    frame, holes = splat(still, F, W if method == "softmax" else None)
                    frame = torch.where(holes, backward(still, F), frame)
            yield to_bytes(frame[0])

    return stream()


def guided(S: Tensor, picture: Frame, radius: int = 2, spread: float = 0.7, colour: float = 0.05) -> Tensor:
    """A spectral volume (or motion) of a smaller size brought to the picture's, its steps kept on the picture's edges. (ours)

    S        complex or real (K, 2, h, w), pixels of its own size
    picture  uint8 (H, W, 3)
    -> (K, 2, H, W), pixels of the picture: x is scaled by W / w, y by H / h

    Joint bilateral upsampling (Kopf et al. 2007): a pixel takes the mean of coarse pixels out to `radius`, weighted by nearness
    (`spread`, coarse pixels) and by likeness of colour (`colour`, of 0 to 1).
    """
    H, W, _ = picture.shape
    K, _, h, w = S.shape
    fine = to_float(picture)[None]
    coarse = nnf.interpolate(fine, (h, w), mode="area")
    values = (torch.view_as_real(S).movedim(-1, 2) if S.is_complex() else S).reshape(1, -1, h, w)
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


@dataclass(frozen=True)
class RendererConfig:
    """A renderer. Its options beside the paper's own form, in which look_back is False:

    multi_scale  False: only the full size is splatted, and the smaller scales are made of what has landed; same parameters
                 (the paper's baseline)
    weight       "motion": Z = temperature * W; "learned": Z is a function of the picture's features (the paper's baseline)
    look_back    True: holes are filled by `backward`, and the decoder says how much of that stays, and adds to it (ours: left
                 to itself it was worse in holes than looking back). False: it alone fills holes, from nothing
    """

    widths: tuple[int, ...] = (16, 32, 64)  # feature channels at full size, half, quarter, ...
    multi_scale: bool = True
    weight: str = "motion"
    temperature: float = TEMPERATURE
    look_back: bool = True

    def __post_init__(self) -> None:
        if self.weight not in ("motion", "learned"):
            raise ValueError(f'RendererConfig: weight must be "motion" or "learned", got {self.weight!r}')


def act(x: Tensor) -> Tensor:
    """Between convolutions. It leaks: most of a picture stands still and needs no painting, which with GELU was an invitation
    to switch all of the decoder off for good."""
    return nnf.leaky_relu(x, LEAK)


class Block(nn.Module):
    """Two convolutions beside a straight way: (B, width, H, W) -> the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.second(act(self.first(act(x))))
        return out


class Renderer(nn.Module):
    """Features of the picture, splatted at each scale, decoded to a frame, of any size. Without norms, so that what it paints
    hangs on what is near only. Untrained, it splats as softmax (learned weight: average); holes are grey without `look_back`.
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
        self.decode = nn.ModuleList(Block(w) for w in widths)
        self.out = nn.Conv2d(widths[0], 3 + config.look_back, 3, padding=1)
        silent = [self.out, *(block.second for block in self.modules() if isinstance(block, Block))]
        if config.weight == "learned":
            self.metric = nn.Conv2d(widths[0], 1, 3, padding=1)
            silent.append(self.metric)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d) and layer.bias is not None:
                # as strong after ten layers as at first: from torch's own start, the decoder did not wake up in 400 steps
                nn.init.kaiming_normal_(layer.weight, LEAK)
                nn.init.zeros_(layer.bias)
        for layer in silent:
            nn.init.zeros_(layer.weight)

    def features(self, picture: Tensor) -> list[Tensor]:
        """What the picture (B, 3, H, W) holds, at each scale that is splatted: [(B, widths[j], H / 2^j, W / 2^j)]."""
        x = act(self.encode[0](act(self.stem(self._pad(picture) - 0.5))))
        return self._smaller(x) if self.config.multi_scale else [x]

    def _smaller(self, x: Tensor) -> list[Tensor]:
        """All scales, made of the full one."""
        found = [x]
        for down, encode in zip(self.down, self.encode[1:]):
            found.append(act(encode(act(down(found[-1])))))
        return found

    def _pad(self, x: Tensor, mode: str = "replicate", value: float | None = None) -> Tensor:
        multiple = 1 << (len(self.config.widths) - 1)
        return nnf.pad(x, (0, -x.shape[-1] % multiple, 0, -x.shape[-2] % multiple), mode, value)

    def paint(self, picture: Tensor, features: list[Tensor], flow: Tensor, W: Tensor) -> Tensor:
        """A frame (B, 3, H, W) of a picture and its `features`, a flow (B, 2, H, W), pixels, and W (B, 1, H, W).

        All of the batch may share one picture: then picture, features and W have B = 1. Values may lie a little outside 0..1.
        """
        high, wide = picture.shape[-2:]
        full = self._pad(flow, "constant", math.inf)  # what is beyond the border lands nowhere
        picture, flow, W = self._pad(picture), self._pad(flow), self._pad(W)

        def all_of(x: Tensor) -> Tensor:
            return x.expand(len(flow), -1, -1, -1).contiguous()

        Z = self.metric(features[0]) if self.config.weight == "learned" else self.config.temperature * W
        landed, holes = [], []
        for j, found in enumerate(features):  # the flow is made smaller, and so are its pixels
            F, z = (nnf.avg_pool2d(t, 1 << j) if j else t for t in (flow / (1 << j), Z))
            sent = torch.cat([picture - 0.5, found], 1) if j == 0 else found
            out, hole = softsplat(all_of(sent), F.contiguous() if j else full, all_of(z), mode="softmax")
            landed.append(out)
            holes.append(hole.to(out))
        base, landed[0] = landed[0][:, :3], landed[0][:, 3:]
        if self.config.look_back:
            base = torch.where(holes[0] > 0, backward(all_of(picture) - 0.5, flow), base)
        if not self.config.multi_scale:
            landed = self._smaller(landed[0])
            holes += [nnf.avg_pool2d(holes[0], 1 << j) for j in range(1, len(landed))]
        x = torch.zeros(())
        for j in reversed(range(len(landed))):
            parts = [landed[j], holes[j]] + ([base] if j == 0 else [])
            if j + 1 < len(landed):
                parts.insert(0, nnf.interpolate(x, scale_factor=2, mode="bilinear"))
            x = self.decode[j](self.join[j](torch.cat(parts, 1)))
        painted = self.out(act(x))
        if self.config.look_back:  # what was found may be wrong, so the decoder says how much of it stays
            base = torch.where(holes[0] > 0, (1 + painted[:, 3:]) * base, base)
        frame: Tensor = base + 0.5 + painted[:, :3]
        return frame[..., :high, :wide]

    def forward(self, picture: Tensor, flow: Tensor, W: Tensor) -> Tensor:
        """As `paint`, features included: (B, 3, H, W), (B, 2, H, W), (B, 1, H, W) -> (B, 3, H, W)."""
        return self.paint(picture, self.features(picture), flow, W)


def save(renderer: Renderer, path: str | Path) -> None:
    """Write weights in half precision and the configuration to one safetensors file."""
    write_model(Path(path), renderer, asdict(renderer.config))


def load(path: str | Path) -> Renderer:
    """The renderer of a file of `save`, in float32. Raises FormatError if it is none."""
    return read_model(Path(path), lambda said, _: Renderer(RendererConfig(**said | dict(widths=tuple(said["widths"])))))


class Pairs(NamedTuple):
    """Pictures, frames of them, and the motion between: what a renderer learns from."""

    pictures: Tensor  # uint8 (N, H, W, 3)
    frames: Tensor  # uint8 (N, M, H, W, 3): M frames of each
    flows: Tensor  # float16 (N, M, 2, H, W), pixels: from the picture to each frame
    W: Tensor  # float16 (N, 1, H, W): `nearness` of the whole clip


def pairs(plants: Iterable[tuple[str, int]], clips: int, picked: int, size: tuple[int, int], seed: int = 0) -> Pairs:
    """Pairs of scenes, each a kind and a seed of `worlds`: `clips` winds each, `picked` frames a clip, exact flow."""
    rng = np.random.default_rng(seed)
    rows = []
    for kind, plant in plants:
        for number in range(clips):
            clip = Clip(kind, plant, number, *size)
            at = np.sort(rng.choice(np.arange(1, len(clip.q)), picked, replace=False))
            flow = torch.from_numpy(clip.flow)
            images = torch.from_numpy(clip.picture), torch.from_numpy(clip.scene.frames(clip.q[at], *size))
            rows.append((*images, flow[at].half(), nearness(flow)[0].half()))
    return Pairs(*map(torch.stack, zip(*rows)))


def perceptual(a: Tensor, b: Tensor) -> Tensor:
    """How different pictures (B, 3, H, W) look: the mean absolute difference of what a fixed network of random filters makes of
    them, summed over scales, []. Filters without a mean see edges and textures as trained ones do, if more coarsely, and need
    no download (ours; the paper uses VGG)."""
    generator = torch.Generator().manual_seed(0)
    x, total = torch.cat([a, b]), a.new_zeros(())
    for inputs, outputs, side, stride in ((3, 16, 5, 1), (16, 32, 3, 2), (32, 64, 3, 2)):
        kernel = torch.randn(outputs, inputs, side, side, generator=generator)
        kernel -= kernel.mean((2, 3), keepdim=True)
        kernel = math.sqrt(2) * nnf.normalize(kernel.flatten(1)).view_as(kernel)
        x = nnf.relu(nnf.conv2d(x, kernel.to(x), stride=stride, padding=side // 2))
        total = total + (x[: len(a)] - x[len(a) :]).abs().mean()
    return total


@dataclass(frozen=True)
class TrainConfig(trainers.TrainConfig):
    """Settings of one run: `batch` crops of `crop` pixels a step; loss = L1 + `perceptual` times that of `perceptual`."""

    steps: int = 2000
    batch: int = 4
    lr: float = 2e-3
    warmup: int = 50
    crop: int = 80
    perceptual: float = 0.5


class Trainer(trainers.AveragingTraining):
    """One training run of a renderer on pairs: random crops around what moves, half of them mirrored."""

    model: Renderer
    config: TrainConfig

    def __init__(self, model: Renderer, pairs: Pairs, config: TrainConfig, checkpoint: str | Path | None = None):
        super().__init__(model, config, checkpoint)
        self.pairs = pairs
        self.resume()

    def settings(self) -> dict[str, Any]:
        return super().settings() | {f"renderer.{k}": v for k, v in asdict(self.model.config).items()}

    def digest(self) -> str:
        return fingerprint(*self.pairs)

    def draw(self, generator: torch.Generator) -> list[Tensor]:
        """A batch: pictures and frames (B, 3, c, c), flows (B, 2, c, c), W (B, 1, c, c)."""
        p, rng = self.pairs, np.random.default_rng(int(torch.randint(1 << 62, (), generator=generator)))
        N, M, H, W, _ = p.frames.shape
        high, wide = min(self.config.crop, H), min(self.config.crop, W)
        rows = []
        for _ in range(self.config.batch):
            n, m = rng.integers(N), rng.integers(M)
            moving = torch.nonzero(p.W[n, 0] > MOVING)
            y, x = moving[rng.integers(len(moving))].tolist() if len(moving) else (H // 2, W // 2)
            top, left = (y - rng.integers(high)).clip(0, H - high), (x - rng.integers(wide)).clip(0, W - wide)
            cut = (..., slice(top, top + high), slice(left, left + wide))
            row = [to_float(p.pictures[n])[cut], to_float(p.frames[n, m])[cut], p.flows[n, m][cut], p.W[n][cut]]
            if rng.random() < 0.5:
                row = [t.flip(-1) for t in row]
                row[2] = row[2] * torch.tensor([-1, 1])[:, None, None]
            rows.append(row)
        return [torch.stack(column).float().to(self.device) for column in zip(*rows)]

    def loss(self, generator: torch.Generator) -> Tensor:
        picture, truth, flow, W = self.draw(generator)
        frame = self.model(picture, flow, W)
        return (frame - truth).abs().mean() + self.config.perceptual * perceptual(frame, truth)


def train(
    config: TrainConfig | None = None, renderer: RendererConfig | None = None, *, scenes: int = 10, clips: int = 2,
    picked: int = 4, size: tuple[int, int] = (160, 256), checkpoint: str | Path | None = None, quiet: bool = False,
) -> Trainer:  # fmt: skip
    """Draw training scenes (`scenes` of each kind) and train a renderer on them; the seed decides plants, weights and crops.

    The trainer that comes back holds the model, of averaged weights, and its history; `save(trainer.model, path)` keeps it.
    """
    config = config or TrainConfig()
    first = config.seed * scenes  # no plant is in the runs of two seeds
    plants = [(kind, seed) for kind in KINDS for seed in plant_seeds(kind, "train", first + scenes)[first:]]
    with torch.random.fork_rng(devices=[]):  # so that the caller's random numbers stay as they are
        torch.manual_seed(config.seed)
        model = Renderer(renderer).to(presets.device())
    trainer = Trainer(model, pairs(plants, clips, picked, size, config.seed), config, checkpoint)
    trainer.run(desc="renderer", quiet=quiet)
    trainer.model = trainer.averaged
    return trainer


def regions(flow: Tensor) -> dict[str, Tensor]:
    """Where in a frame to look, bool (H, W): "holes", on which nothing lands; "edges", where motions meet; "silhouettes", both;
    "rest", all else. flow (2, H, W), exact, pixels. Motions meet where what lands on a pixel moves differently, by more than
    0.5 px (standard deviation): at a silhouette, and as far as it covers up what is behind it. 2 px around these and around
    holes count.
    """
    sent = torch.cat([flow, flow.square().sum(0, keepdim=True)])[None]
    carried, hole = splat(sent, flow[None])
    spread = carried[:, 2:] - carried[:, :2].square().sum(1, keepdim=True)
    near = nnf.max_pool2d(((spread > EDGE**2) | hole).float(), 2 * REACH + 1, 1, REACH) > 0
    where = dict(holes=hole, edges=near & ~hole, silhouettes=near | hole, rest=~(near | hole))
    return {name: mask[0, 0] for name, mask in where.items()}


def score(made: Iterable[Frame], truth: Iterable[Frame], flow: Iterable[Tensor]) -> dict[str, float]:
    """PSNR in dB and SSIM of a clip against the true one, on all pixels and on each of `regions` apart.

    made, truth: frames uint8 (H, W, 3) one by one; flow: the exact fields (2, H, W) of these frames.
    Returns psnr, ssim, psnr_holes, ssim_holes, share_holes, ...: squared errors and SSIM are averaged over all pixels of a
    region in all frames, PSNR is of that. NaN where a region has none.
    """
    sums: dict[str, Tensor] = {}
    for a, b, field in zip(made, truth, flow, strict=True):
        x, y = (torch.as_tensor(t).float() / 255 for t in (a, b))
        error, alike = (x - y).square().mean(-1), ssim(x, y, reduce=False).mean(0)
        each = torch.stack([error, alike, torch.ones_like(error)])
        for name, where in dict(all=each[2] > 0, **regions(field)).items():
            sums[name] = sums.get(name, 0) + each[:, where].double().sum(1)
    if not sums:
        raise ValueError("score: no frames")
    scores: dict[str, float] = {}
    for name, (squared, alike, count) in sums.items():
        end = "" if name == "all" else f"_{name}"
        scores |= {f"psnr{end}": float(-10 * (squared / count).log10()), f"ssim{end}": float(alike / count)}
        if end:
            scores[f"share{end}"] = float(count / sums["all"][2])
    return scores


def score_clip(clip: Clip, every: int, method: str, renderer: Renderer | None = None) -> dict[str, float]:
    """`score` of every `every`-th frame of a clip, made of its picture and its exact flow by one of METHODS."""
    flow, truth = torch.from_numpy(clip.flow), clip.scene.frames(clip.q[::every], clip.height, clip.width)
    made = frames(clip.picture, flow[::every], method, renderer, W=nearness(flow))
    return score(made, truth, flow[::every])
