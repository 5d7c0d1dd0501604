"""What `1_idea` and `3_reproduce` need measured on held-out plants, a row a plant: recorded settings `plants` and `shipped`.

    python -m bestpapers.dynamics experiments --record plants shipped

The arm of a row is the kind, its seed n the number of the held-out plant, as in "plants/tree/3": clip number 0 of it, 150
frames of 160 x 256. A score with a claim's name is what that claim's rule asks for; all others stand beside it. PSNR is of
every fifth frame, its squared errors averaged over the pixels asked for in all of them. What a plant does not have (modes
that stand apart, thin parts) is left out of its row. What the rules leave open was settled here, before the runs.

`plants` needs no weights. The measured flow is dis2x, from frame 0 to each frame, as everywhere in this wing.

    epe.<what>.<where>       M1 in px, mean over all pixels, hidden ones too, and all frames but the first. what: zero, dis,
                             dis2x, farneback; and of dis2x at half the size, every second frame: direct, chained, best, still
                             (zero). where: plant, background, edges (2 px around places where neighbours move differently by
                             0.5 px, root mean square over time)
    C14.choice               frames.<better> - frames.<other>, dB, of dis2x or dis, and farneback: `settle`. Splatted by
                             softmax; `moving` pixels. frames.exact: with exact flow
    kept.<K>, exact.<K>      share of energy without the constant, K = 4, 8, 16, 24, of measured and exact flow; C1.kept: 16
    C2.low, C2.wide          r2.<range>.exponential - r2.<range>.power, over pixels that move by 0.2 px as measured
    C7.weight                splat.softmax - splat.average, dB, exact flow, at moving edges; also splat.backward
    loop.<way>.<what>        loops of the measured motion's 16 slices. way: naive, detrended, cross-faded, projected. what:
                             wrap and near (largest within five frames of it) of the motion, grey: wrap of frames splatted by
                             softmax, as C10.seamless has it, closure: E, kept: energy
    C11.first, C11.others    MAC, see `modes`: a field of flowers is many plants, each with a first mode. close: all others
                             below 3 Hz. first.exact, ...: from exact flow. first.scene: the slowest of all, over all that
                             moves
    C11.shape, C11.timing    see `pulled`; shape.own: over pixels of the pulled body only
    C16.fast                 share of energy, constant aside, that 16 slices keep of the exact motion of `stiff`, same wind
    C16.thin                 thin - wide, px, error of the measured flow, see `widths`; thin.zero, wide.zero: of zero flow

`shipped` has the shipped animator and renderer, and exact flow wherever frames are scored.

    C10.closure.fall, .kept  1/2 less the share of E that guidance leaves, both draws from the same noise with the same
                             recurrences, means of two; kept energy less 0.8
    C10.seamless             wrap ratio of grey frames of the guided loop, painted by the renderer; seamless.naive: not guided
    C11.still                as C11.shape, mean over eight draws; also still.timing, still.own
    paint.<method>.<where>   PSNR. method: backward, average, softmax, network. where: all, edges, holes, rest
    C15.frames               `flicker` of the renderer; flicker.softmax
    C16.large                large.1 - large.4, PSNR of `moving` pixels at these gains
    C16.unseen               shown - paint.network.holes, where shown is all but holes; shown.moving: of `moving` ones only
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, get_args

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..lab import runs
from ..lab.diffusion import ENERGY_WEIGHT
from ..lab.files import FormatError
from . import flow as flows
from . import loop, modal, own, render, spectral, weights
from .data import Bools, Clip, Floats
from .model import Animator
from .report import MOVES
from .worlds import FRAMES, KINDS, RATE, SLICES, Scene, plant_seeds

Scores = dict[str, float]

SEEDS = tuple(range(5))  # the held-out plants of each kind
KEPT = (4, 8, 16, 24)  # slices
BELOW, APART = 3.0, 2  # Hz; bins: where modes are asked for, and how far a mode stands from the next
LEAST = 12  # pixels of a body that is asked for its modes
RINGING = 2 * round(RATE)  # frames of a path from its release on
STIFF = 3.5, 6.0  # Hz
THIN, WIDE = 3.0, 6.0  # px


@dataclass(frozen=True)
class Measured:
    """Setting `plants`: what is measured on a held-out plant."""

    height: int = 160
    width: int = 256
    frames: int = FRAMES
    every: int = 5  # frames are rendered
    points: int = 8  # of a plant are pulled
    trained: int = 2  # training plants of each kind that settle which flow is better
    flows: tuple[str, ...] = ()  # the better one and the other, as `record` finds them

    def clip(self, kind: str, index: int, split: str = "held-out", scale: int = 1) -> Clip:
        seed = plant_seeds(kind, split, index + 1)[index]
        return Clip(kind, seed, 0, self.height // scale, self.width // scale, self.frames)

    @property
    def shown(self) -> list[int]:
        """Frames that are rendered; of frame 0, which is the picture, nothing can be said."""
        return [*range(self.every, self.frames - 1, self.every)]


@dataclass(frozen=True)
class Shipped(Measured):
    """Setting `shipped`: the same plants with weights."""

    calls: int = 25  # of the network for a motion
    draws: int = 8  # motions that are pulled
    loops: int = 2  # motions that are guided, and compared with themselves unguided
    weights: str = ""  # their hash, as `record` finds it


SETTINGS: dict[str, Measured] = dict(plants=Measured(), shipped=Shipped())


# ------------------------------------------------------------------------------------------------------- single measures


def places(clip: Clip) -> dict[str, Tensor]:
    """Where M1 is taken, bool (H, W): plant, background, edges."""
    flow, mask = torch.from_numpy(clip.flow), torch.from_numpy(clip.mask)
    edge = torch.zeros_like(mask)
    for axis in (-2, -1):
        apart = flow.diff(dim=axis).square().sum(1).mean(0) > render.EDGE**2
        edge.narrow(axis, 0, apart.shape[axis]).logical_or_(apart)
        edge.narrow(axis, 1, apart.shape[axis]).logical_or_(apart)
    reach = F.max_pool2d(edge[None].float(), 2 * render.REACH + 1, 1, render.REACH)[0] > 0
    return dict(plant=mask, background=~mask, edges=reach)


def error(found: Iterable[Tensor], truth: Tensor) -> Tensor:
    """The mean end-point error of each pixel over all frames but the first, (H, W) px, of fields (2, H, W) one by one."""
    total = sum(flows.epe(field, there, reduce=False) for field, there in zip(found, truth, strict=True))
    return torch.as_tensor(total) / (len(truth) - 1)


def settle(setting: Measured) -> Scores:
    """M1 on plant pixels of training plants, px, mean over plants of every tenth frame: which flow is better for C14.choice."""
    rows = []
    for kind in KINDS:
        for index in range(setting.trained):
            clip = setting.clip(kind, index, "train")
            q = clip.q[::10]
            truth, mask = torch.from_numpy(clip.scene.flow(q, clip.height, clip.width)), torch.from_numpy(clip.mask)
            video = clip.scene.frames(q, clip.height, clip.width)
            rows.append([float(error(flows.stream(video, m, desc=None), truth)[mask].mean()) for m in flows.METHODS])
    return dict(zip(flows.METHODS, np.mean(rows, 0).tolist()))


def choice(found: Scores) -> tuple[str, str]:
    """The better of two classical flows and the other: DIS, in the better of its two forms, and Farneback."""
    better, other = sorted((min("dis", "dis2x", key=found.__getitem__), "farneback"), key=found.__getitem__)
    return better, other


def moving(mask: Bools, flow: Tensor) -> Tensor:
    """Moving pixels of frames, bool (N, H, W): where the plant, mask (H, W), was in the picture, or is in the frame."""
    plant = torch.from_numpy(mask)
    return torch.stack([plant | (render.splat(plant[None, None].float(), f[None])[0][0, 0] > 0) for f in flow])


def psnr(made: Iterable[render.Frame], truth: render.Frame, where: Tensor) -> float:
    """PSNR, dB, of frames (H, W, 3) one by one, over the pixels `where`, bool (N, H, W); NaN if there are none."""
    pairs = zip(made, truth, strict=True)
    squared = torch.stack([(render.to_float(a) - render.to_float(b)).square().mean(0) for a, b in pairs])
    return float(-10 * squared[where].double().mean().log10())


def flicker(made: Iterable[render.Frame], truth: render.Frame) -> float:
    """The change of the error from frame to frame over the root of two times the error, root mean squares over all pixels, of
    pairs of neighbours: frames n, n + 1, m, m + 1, ... (H, W, 3). 1: errors have nothing to do with each other, 0: they stand
    still, or there are none."""
    errors = torch.stack([render.to_float(a) - render.to_float(b) for a, b in zip(made, truth, strict=True)])
    before, after = errors[::2].double(), errors[1::2].double()
    size = before.square().mean() + after.square().mean()
    return float(((after - before).square().mean() / size.clamp(min=1e-12)).sqrt())


def grey_wrap(picture: render.Frame, motion: Tensor, *how: Any, **more: Any) -> float:
    """`loop.wrap_ratio` of grey frames that a motion (T, 2, H, W) makes of a picture, see `render.frames`."""
    made = render.frames(picture, motion, *how, **more)
    return loop.wrap_ratio(torch.stack([torch.from_numpy(frame).float().mean(-1) for frame in made]))


def stiff(scene: Scene) -> Scene:
    """The same plant with all its modes between 3.5 and 6 Hz, in their order, evenly stretched; wind, shapes, damping stay."""
    low, high = scene.frequencies.min(), scene.frequencies.max()

    def higher(hertz: Any) -> Any:
        return STIFF[0] + (STIFF[1] - STIFF[0]) * (hertz - low) / max(high - low, 1e-9)

    bodies = [replace(body, frequencies=higher(body.frequencies)) for body in scene.bodies]
    made = Scene(scene.kind, bodies, scene.parts, scene.background)
    made.gain = scene.gain
    return made


def widths(scene: Scene, height: int, width: int) -> Floats:
    """How wide the part at each pixel is, (H, W) px: the shorter side of the least rectangle around its outline, whatever hides
    of it. NaN where nothing moves."""
    sides = [min(cv2.minAreaRect(np.asarray(height * part.outline, np.float32))[1]) for part in scene.parts]
    found = np.array([math.nan, *sides], np.float32)[scene.ids(height, width)]
    return np.where(scene.mask(height, width), found, np.float32(math.nan))


def owners(scene: Scene, height: int, width: int) -> Any:
    """The number of the body at each pixel, int (H, W); -1: none."""
    return np.array([-1, *(part.body for part in scene.parts)])[scene.ids(height, width)]


def modes(scene: Scene, q: Any, exact: Tensor, found: Tensor) -> tuple[Scores, list[list[float]]]:
    """MAC of true modes, from exact and measured volumes (K, 2, H, W) under a Hann window: best of the three nearest slices,
    over the pixels of the mode's body, of which there are 12 at least. Means weigh a mode by these pixels.

    first    the slowest mode of each body
    others   its others below 3 Hz that stand two bins or more from the body's next
    close    its others below 3 Hz that do not

    Beside these a list of modes: hertz, Hz to the body's next, height px (root mean square), pixels, MAC; the 60 largest.
    """
    size, bin = found.shape[-2:], RATE / len(q)
    shapes, belongs = torch.from_numpy(scene.shapes(*size)), owners(scene, *size)
    rows = []
    for body, (start, end) in enumerate(zip(scene.starts, scene.starts[1:])):
        here = torch.from_numpy(belongs == body)
        if here.sum() < LEAST:
            continue
        hertz, own_shapes = torch.from_numpy(scene.frequencies[start:end]), shapes[start:end, :, here][:, :, None]
        macs = [modal.match(S[..., here][:, :, None], hertz, own_shapes, frames=len(q))[1] for S in (found, exact)]
        gaps = (hertz[:, None] - hertz).abs().fill_diagonal_(RATE / 2).amin(1)
        heights = (own_shapes.square().sum(1).mean((1, 2)) * torch.from_numpy(q[:, start:end].var(0))).sqrt()
        pixels = here.sum().expand(len(hertz))
        which = torch.full((len(hertz),), 2.0).where(gaps >= APART * bin, 1.0).where(hertz < BELOW, 0.0)
        which[hertz.argmin()] = 3.0
        rows.append(torch.stack([hertz, gaps, heights, pixels, *macs, which], 1).double())
    table = torch.cat(rows)
    scores = {}
    for name, kind in (("C11.first", 3), ("C11.others", 2), ("close", 1)):
        some = table[table[:, 6] == kind]
        for column, by in ((4, name), (5, f"{name.removeprefix('C11.')}.exact")):
            scores[by] = float((some[:, column] * some[:, 3]).sum() / some[:, 3].sum())
    slowest, mask = int(scene.frequencies.argmin()), torch.from_numpy(belongs >= 0)
    one = slice(slowest, slowest + 1)
    scores["first.scene"] = float(
        modal.match(found, torch.from_numpy(scene.frequencies[one]), shapes[one], mask, frames=len(q))[1]
    )
    order = (table[:, 2].square() * table[:, 3]).argsort(descending=True)[:60]
    return scores, [[round(value, 3) for value in row[:5]] for row in table[order].tolist()]


def pulled(clip: Clip, volumes: Sequence[Tensor], points: int) -> Scores:
    """The same points of a plant pulled and let go, by the simulator and by volumes (K, 2, H, W) of its motion; means over
    points and volumes. Points are drawn among the half of its pixels that moves most, and pulled along their own motion.

    shape     cosine of the displacements of the pull, over all that moves
    own       the same over the pixels of the pulled body
    timing    correlation of the point's path with the simulator's, along the pull, in the two seconds from the release; each
              slice has the damping ratio of the body's mode that is nearest to it in frequency
    """
    scene, size, flow = clip.scene, (clip.height, clip.width), torch.from_numpy(clip.flow)
    belongs, mask = owners(scene, *size), torch.from_numpy(clip.mask)
    spread = (flow - flow.mean(0)).square().sum(1).mean(0)
    rows, columns = torch.nonzero(mask & (spread >= spread[mask].median()), as_tuple=True)
    rng, found = np.random.default_rng([KINDS.index(clip.kind), clip.seed]), []
    for n in rng.choice(len(rows), points):
        x, y = int(columns[n]), int(rows[n])
        along = torch.linalg.eigh(torch.cov(flow[:, :, y, x].double().T)).eigenvectors[:, -1]
        dx, dy = along.tolist()
        truth = torch.from_numpy(scene.flow(scene.release(x, y, dx, dy, RINGING, RATE, *size), *size))
        body, here = int(belongs[y, x]), torch.from_numpy(belongs == belongs[y, x])
        its = slice(scene.starts[body], scene.starts[body + 1])
        for S in volumes:
            made = modal.Modes.of(S, frames=clip.frames)
            apart = (made.omega[:, None] / (2 * math.pi) - torch.from_numpy(scene.frequencies[its])).abs()
            made = replace(made, gamma=2 * torch.from_numpy(scene.damping[its])[apart.argmin(1)] * made.omega)
            q = modal.respond(made, [modal.release(made, x, y, dx, dy)], modal.clock(RINGING))
            pose, path = modal.displacement(made, q[:1])[0], modal.trajectory(made, q, x, y) @ along
            cosines = [F.cosine_similarity(pose[:, w].flatten(), truth[0][:, w].flatten(), dim=0) for w in (mask, here)]
            paths = torch.stack([path, truth[:, :, y, x].double() @ along])
            found.append([*map(float, cosines), float(torch.corrcoef(paths)[0, 1])])
    return dict(zip(("shape", "own", "timing"), np.mean(found, 0).tolist()))


# ------------------------------------------------------------------------------------------------------------- a plant


def row(kind: str, index: int, setting: Measured) -> dict[str, Any]:
    """All of `plants` for one plant: scores by name, and its modes (see `modes`)."""
    clip, small = setting.clip(kind, index), setting.clip(kind, index, scale=2)
    scene, exact, shown, T = clip.scene, torch.from_numpy(clip.flow), setting.shown, setting.frames
    found = {method: flows.estimate(clip.video, method, desc=None) for method in flows.METHODS}
    flow, scores = found["dis2x"], Scores()

    nothing, truth = torch.zeros(()).expand_as(exact), torch.from_numpy(small.flow[::2])
    errors = {name: error(fields, exact) for name, fields in dict(zero=nothing, **found).items()}
    ladders = {name: flows.stream(small.video[::2], "dis2x", name, desc=None) for name in get_args(flows.Ladder)}
    nothing = torch.zeros(()).expand_as(truth)
    coarse = {name: error(fields, truth) for name, fields in dict(still=nothing, **ladders).items()}
    for maps, spots in ((errors, places(clip)), (coarse, places(small))):
        scores |= {f"epe.{m}.{where}": float(e[spot].mean()) for m, e in maps.items() for where, spot in spots.items()}
    wide = widths(scene, clip.height, clip.width)
    for name, some in (("thin", wide < THIN), ("wide", wide > WIDE)):
        scores |= {name: float(errors["dis2x"][some].mean()), f"{name}.zero": float(errors["zero"][some].mean())}
    scores["C16.thin"] = scores["thin"] - scores["wide"]

    video, where, W = clip.video[shown], moving(clip.mask, exact[shown]), render.nearness(exact)
    for name in setting.flows:
        made = render.frames(clip.picture, found[name][shown], W=render.nearness(found[name]))
        scores[f"frames.{name}"] = psnr(made, video, where)
    if setting.flows:
        scores["C14.choice"] = scores[f"frames.{setting.flows[0]}"] - scores[f"frames.{setting.flows[1]}"]
    found.clear()
    for method in ("backward", "average", "softmax"):
        frames = [*render.frames(clip.picture, exact[shown], method, W=W)]
        scores[f"splat.{method}"] = render.score(frames, video, exact[shown])["psnr_edges"]
    scores["C7.weight"] = scores["splat.softmax"] - scores["splat.average"]
    scores["frames.exact"] = psnr(frames, video, where)

    for name, fields in (("exact", exact), ("kept", flow)):
        whole = spectral.volume(fields, None)
        share = spectral.energy_kept(whole, T, constant=False)
        scores |= {f"{name}.{K}": float(share[K - 1]) for K in KEPT}
    scores["C1.kept"] = scores[f"kept.{SLICES}"]
    heights = spectral.amplitude(whole, spectral.moving(whole, MOVES, T)).mean(1)
    for name, fit in zip(("low", "wide"), spectral.fit_spectrum(heights, spectral.frequencies(len(whole), T))):
        scores |= {f"r2.{name}.exponential": fit.exponential.r2, f"r2.{name}.power": fit.power.r2}
        scores[f"C2.{name}"] = fit.exponential.r2 - fit.power.r2
    faster = stiff(scene)
    motion = torch.from_numpy(faster.flow(faster.motion(clip.wind, T), small.height, small.width))
    share = spectral.energy_kept(spectral.volume(motion, None), T, constant=False)
    scores["C16.fast"] = float(share[SLICES - 1])

    S = spectral.first_frame(spectral.volume(flow))
    still, motion = own.Moving(clip.picture, S, S, frames=T), spectral.motion(S, T)
    W = render.nearness(motion)
    for way in own.LOOPS:
        looped, closed = own.looped(still, way), way in own.CLOSED
        score = loop.score(looped, motion, closed=closed)
        score_of = dict(wrap=score.wrap, near=score.near, kept=score.kept, closure=score.place + score.speed)
        score_of["grey"] = grey_wrap(clip.picture, loop.played(looped) if closed else looped, W=W)
        scores |= {f"loop.{way}.{name}": value for name, value in score_of.items()}

    mac, table = modes(scene, clip.q, *(spectral.volume(fields, window="hann") for fields in (exact, flow)))
    pull = pulled(clip, [S], setting.points)
    scores |= mac | {"C11.shape": pull["shape"], "C11.timing": pull["timing"], "shape.own": pull["own"]}
    return dict(scores=_finite(scores), modes=table)


def shipped_row(
    kind: str, index: int, setting: Shipped, animator: Animator, renderer: render.Renderer
) -> dict[str, Any]:
    """All of `shipped` for one plant: scores by name. Noise of draw n is that of seed n, the guided loop's that of seed 0."""
    clip, T = setting.clip(kind, index), setting.frames
    exact, scene = torch.from_numpy(clip.flow), clip.scene
    W, scores = render.nearness(exact), Scores()

    shown = setting.shown
    pairs = [m for n in shown for m in (n, n + 1)]
    video, fields = scene.frames(clip.q[pairs], clip.height, clip.width), exact[pairs]
    for method in render.METHODS:
        made = [*render.frames(clip.picture, fields, method, renderer if method == "network" else None, W=W)]
        found = render.score(made[::2], video[::2], fields[::2])
        spots = dict(all="psnr", edges="psnr_edges", holes="psnr_holes", rest="psnr_rest")
        scores |= {f"paint.{method}.{where}": found[name] for where, name in spots.items()}
        if method in ("softmax", "network"):
            scores["C15.frames" if method == "network" else "flicker.softmax"] = flicker(made, video)
    painted, true = made[::2], video[::2]  # by the network, the last of the methods
    seen = torch.stack([~render.regions(f)["holes"] for f in fields[::2]])
    where = moving(clip.mask, fields[::2])
    scores |= {"shown": psnr(painted, true, seen), "shown.moving": psnr(painted, true, seen & where)}
    scores["C16.unseen"] = scores["shown"] - scores["paint.network.holes"]
    large = 4 * exact[shown]
    far = render.frames(clip.picture, large, "network", renderer, W=W)
    scores["large.1"] = psnr(painted, true, where)
    scores["large.4"] = psnr(far, scene.frames(4 * clip.q[shown], clip.height, clip.width), moving(clip.mask, large))
    scores["C16.large"] = scores["large.1"] - scores["large.4"]

    coarse = replace(clip, height=animator.config.height, width=animator.config.width)
    drawn = [animator.draw(coarse.picture, [n], setting.calls)[0].cpu() for n in range(setting.draws)]
    pull = pulled(coarse, drawn, setting.points)
    scores |= {"C11.still": pull["shape"], "still.timing": pull["timing"], "still.own": pull["own"]}
    energy = partial(loop.closure_energy, frames=T)
    guide = dict[str, Any](energy=energy, calls=setting.calls, seeds=range(setting.loops))
    free, closed = (
        animator.draw(coarse.picture, weight=u, generator=torch.Generator().manual_seed(0), **guide).cpu()
        for u in (0.0, ENERGY_WEIGHT)
    )
    before, after = (float(energy(S).mean()) for S in (free, closed))
    was, remains = (sum(float(loop.energy(spectral.motion(one, T))) for one in S) for S in (free, closed))
    kept = remains / was
    scores |= {"closure.before": before, "closure.after": after, "closure.kept": kept}
    scores |= {"C10.closure.fall": 0.5 - after / before, "C10.closure.kept": kept - 0.8}
    for name, S, keep in (("seamless.naive", free[0], T), ("C10.seamless", closed[0], T - 1)):
        motion = spectral.motion(own.brought(S, clip.picture), T)[:keep]
        scores[name] = grey_wrap(clip.picture, motion, "network", renderer)
    return dict(scores=_finite(scores))


def _finite(scores: Scores) -> Scores:
    return {name: value for name, value in scores.items() if math.isfinite(value)}


# ------------------------------------------------------------------------------------------------------------- recording


@cache
def _shipped() -> tuple[Animator, render.Renderer]:
    renderer = weights.load_renderer()
    if renderer is None:
        advice = f"train it: {weights.COMMAND}"
        raise FormatError(
            weights.HERE / weights.RENDERER, "file", "the trained renderer", "nothing of that name", advice
        )
    return weights.load(), renderer


def digest() -> str:
    """A hash of the shipped weights."""
    tensors = [t for model in _shipped() for t in model.state_dict().values()]
    return runs.fingerprint(*tensors, _shipped()[0].normalizer.scale)


def any_row(kind: str, index: int, setting: Measured) -> dict[str, Any]:
    """A row of either setting."""
    return shipped_row(kind, index, setting, *_shipped()) if isinstance(setting, Shipped) else row(kind, index, setting)


def prepared(setting: Measured) -> tuple[Measured, dict[str, Any]]:
    """A setting with what has to be found first, the better flow or the hash of the weights; and what is to be noted of it."""
    if isinstance(setting, Shipped):
        return replace(setting, weights=digest()), {}
    settled = {method: round(value, 4) for method, value in settle(setting).items()}
    return replace(setting, flows=choice(settled)), dict(settled=settled)
