"""Scores of motion that need no download and no network of others. Pure functions.

The paper compares videos by Inception and I3D features (FID, FVD, DTFVD), which look at frames more than at motion. Here the
truth is known, so motion itself is compared. `spectra` are volumes (N, K, 2, H, W) complex, px summed over 150 frames, `mask`
bool (H, W): the pixels that count.

M2 residual            M3, M4 scores      M5 frame_distance     M6 slice_correlation    M7 first_frame_error
M8 leak                M11 rigidity       M12 windows           M14 diversity
M1 is in `flow`, M9 in `loop`, M10 in `modal`, M13 in `lab.images`. `bounds` gives each of `scores` a floor, truth against
other truth, and a ceiling: the still, a volume of zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ..lab.images import random_features
from ..lab.stats import frechet
from .spectral import FRAMES, energy, motion, volume

STILL = 1e-3  # px: the height of a vibration that counts as none, so that the still has a logarithm of energy too

Frames = NDArray[np.uint8]
Change = Callable[[Tensor], Tensor]


def _over(pixels: Tensor, mask: Tensor | None) -> Tensor:
    """The mean over pixels: (..., H, W) -> (...) float64."""
    return pixels.double().mean((-2, -1)) if mask is None else pixels[..., mask].double().mean(-1)


def log_energies(spectra: Tensor, mask: Tensor | None = None) -> Tensor:
    """log10 of the mean over pixels of |S_k|^2, x and y together: (N, K) float64."""
    return (_over(spectra.abs().double().square().sum(-3), mask) + (STILL * FRAMES / 2) ** 2).log10()


def amplitudes(spectra: Tensor, mask: Tensor | None = None) -> Tensor:
    """Root mean square height in px that each slice gives the motion: (N, K) float64. Slices that are not there are 0, so that
    models of different K can be compared, which logarithms cannot."""
    return (2 * _over(energy(spectra).sum(2), mask) / FRAMES).sqrt()


def slice_correlation(spectra: Tensor, mask: Tensor | None = None) -> float:
    """M6: mean over pairs of slices of the correlation of their log energies, over samples of *one* picture. Slices that were
    drawn each by itself cannot agree on how strong the wind is: 0."""
    rows = log_energies(spectra, mask)
    if len(rows) < 3 or rows.shape[1] < 2:
        raise ValueError(f"slice_correlation: needs three samples and two slices at least, got {tuple(rows.shape)}")
    table = torch.corrcoef(rows.T)
    return float(table[~torch.eye(len(table), dtype=torch.bool)].nan_to_num().mean())


def first_frame_error(spectra: Tensor, mask: Tensor | None = None) -> float:
    """M7: |F_0| over the root mean square of motion, in the mean over samples. Cutting off slices alone gives some."""
    first = _over(motion(spectra, times=[0.0])[:, 0].square().sum(1), mask).sqrt()
    whole = (_over(energy(spectra).sum((1, 2)), mask) / FRAMES).sqrt()
    return float((first / whole.clamp_min(STILL)).mean())


def leak(spectra: Tensor, mask: Tensor) -> float:
    """M8: energy outside of what can move over energy inside, of all samples together."""
    power = energy(spectra).sum((0, 1, 2))
    return float(power[~mask].sum() / power[mask].sum().clamp_min(STILL**2))


def diversity(spectra: Tensor, mask: Tensor | None = None) -> float:
    """M14: root mean square distance in px between the motions of two samples of one picture. 0: all the same."""
    power = _over(energy(spectra - spectra.mean(0)).sum((1, 2)), mask) / FRAMES
    return float((2 * power.sum() / (len(spectra) - 1)).sqrt())


def residual(flow: Tensor, slices: int) -> float:
    """M2: root mean square of what K slices leave out of a motion (T, 2, H, W), px. The energy: `spectral.energy_kept`."""
    return float((flow - motion(volume(flow, slices), len(flow))).square().sum(1).mean().sqrt())


def scores(pictures: Sequence[tuple[Tensor, Tensor, Tensor | None]]) -> dict[str, float]:
    """What is said of an arm by (samples (N, K, 2, H, W), truth (M, L, 2, H, W), mask) of one picture or several.

    distance               M4, the *flow-spectrum distance*: Frechet distance of the K log energies, of all samples together.
                           1 is an error by 10 in one slice
    bias_low, bias_high    M3: mean log10 energy less the truth's, over the lower and the upper half of the K slices
    amplitude              Frechet distance of `amplitudes` on all L slices, px^2: what a smaller K leaves out counts
    correlation, first     M6 and M7, the mean over pictures
    diversity              M14 over that of the truth, the mean
    leak                   M8, the mean, where there are masks that leave something out
    """
    rows, each = [], dict[str, list[float]](correlation=[], first=[], diversity=[], leak=[])
    for spectra, truth, mask in pictures:
        K, L = spectra.shape[1], truth.shape[1]
        if K > L:
            raise ValueError(f"scores: samples of {K} slices, truth of {L}")
        known, heights = truth[:, :K], F.pad(amplitudes(spectra, mask), (0, L - K))
        rows.append((log_energies(spectra, mask), log_energies(known, mask), heights, amplitudes(truth, mask)))
        each["correlation"].append(slice_correlation(spectra, mask))
        each["first"].append(first_frame_error(spectra, mask))
        each["diversity"].append(diversity(spectra, mask) / max(STILL, diversity(known, mask)))
        if mask is not None and not mask.all():
            each["leak"].append(leak(spectra, mask))
    ours, theirs, high, there = (torch.cat(some) for some in zip(*rows))
    low, up = (ours.mean(0) - theirs.mean(0)).tensor_split([(ours.shape[1] + 1) // 2])
    found = dict(distance=frechet(ours, theirs), amplitude=frechet(high, there))
    found |= dict(bias_low=float(low.mean()), bias_high=float(up.mean()))
    return found | {name: sum(values) / len(values) for name, values in each.items() if values}


def bounds(truths: Sequence[tuple[Tensor, Tensor | None]], **more: Change) -> dict[str, dict[str, float]]:
    """`scores` of one half of the truth (M, L, 2, H, W) against the other ("floor": of half as many, so a little too high),
    and of stills ("ceiling"), for the pictures of some (truth, mask). more: what else is to be done to the one half."""
    halves = [(truth[: len(truth) // 2], truth[len(truth) // 2 :], mask) for truth, mask in truths]
    made: dict[str, Change] = dict(floor=lambda v: v, ceiling=torch.zeros_like, **more)
    return {name: scores([(make(b), a, mask) for a, b, mask in halves]) for name, make in made.items()}


def rigidity(flow: Tensor, parts: Tensor) -> float:
    """M11: within one part, what a shift and a turn leave of the motion, as a share of the motion's root mean square.

    flow (T, 2, H, W); parts int (H, W), 0: not asked; parts of fewer than 12 pixels are left out.
    """
    left, total = 0.0, 0.0
    for part in parts.unique().tolist():
        y, x = (parts == part).nonzero(as_tuple=True)
        if not part or len(x) < 12:
            continue
        found = flow[:, :, y, x].double()  # (T, 2, n)
        u, v = x.double() - x.double().mean(), y.double() - y.double().mean()
        shifted = found - found.mean(-1, keepdim=True)
        turn = (shifted[:, 1] * u - shifted[:, 0] * v).sum(-1) / (u * u + v * v).sum()
        rigid = torch.stack([-turn[:, None] * v, turn[:, None] * u], 1)
        left += float((shifted - rigid).square().sum())
        total += float(found.square().sum())
    if not total:
        raise ValueError("rigidity: no part of 12 pixels moves")
    return (left / total) ** 0.5


def windows(clips: Tensor, truth: Tensor, window: int = 30, slices: int = 5) -> dict[int, float]:
    """M12: M4 in windows of `window` frames, of the energies of `slices` slices of each window: {first frame: distance}. What
    decays over time shows as a curve that rises. clips (N, T, 2, H, W), truth (M, T, 2, H, W) px; a window is compared with
    the same one of the truth."""
    if not 1 <= window <= clips.shape[1] <= truth.shape[1]:
        raise ValueError(f"windows: one of {window} frames does not fit into {clips.shape[1]}, of {truth.shape[1]}")

    def logs(some: Tensor, n: int) -> Tensor:
        return log_energies(volume(some[:, n : n + window], slices))

    return {n: frechet(logs(clips, n), logs(truth, n)) for n in range(0, clips.shape[1] - window + 1, window)}


def frame_distance(a: Tensor | Frames, b: Tensor | Frames, seeds: Sequence[int] = (0, 1, 2, 3, 4)) -> list[float]:
    """M5: Frechet distance of `lab.images.random_features`, for several networks: their scales differ, only ranks mean
    something. Frames are taken one by one, as FID does: their order in time plays no part."""

    def seen(frames: Tensor | Frames, seed: int) -> Tensor:  # a hundred at a time: 900 take 200 MB
        return torch.cat([random_features(frames[n : n + 100], seed) for n in range(0, len(frames), 100)])

    return [frechet(seen(a, seed), seen(b, seed)) for seed in seeds]


def repeat_still(frames: Frames, seed: int = 0) -> Frames:
    """A clip (T, H, W, 3) in which nothing happens: frame 0, T times."""
    return np.repeat(frames[:1], len(frames), 0)


def shuffled(frames: Frames, seed: int = 0) -> Frames:
    """The clip's frames in another order; the first one stays."""
    return frames[[0, *(1 + np.random.default_rng(seed).permutation(len(frames) - 1))]]


def warped(frames: Frames, seed: int = 0, size: float = 1.0, cells: int = 4) -> Frames:
    """The clip with each frame but the first bent by a smooth field of its own, of `size` px root mean square a component,
    made of cells x cells random vectors: single frames look well, their motion flickers."""
    T, H, W, _ = frames.shape
    vectors = torch.randn(T, 2, cells, cells, generator=torch.Generator().manual_seed(seed))
    field = F.interpolate(vectors, size=(H, W), mode="bicubic")
    field *= size / field.square().mean((1, 2, 3), keepdim=True).sqrt()
    field[0] = 0
    y, x = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")
    grid = torch.stack([(x + field[:, 0]) * 2 / (W - 1) - 1, (y + field[:, 1]) * 2 / (H - 1) - 1], -1)
    pictures = torch.from_numpy(frames).permute(0, 3, 1, 2).float()
    bent = F.grid_sample(pictures, grid, padding_mode="border", align_corners=True)
    found: Frames = bent.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    return found


def honesty(
    reference: Sequence[Frames], clips: Sequence[Frames], estimate: Callable[[Frames], Tensor],
    seeds: Sequence[int] = (0, 1, 2), slices: int = 16,
) -> dict[str, dict[str, float]]:  # fmt: skip
    """Which metric notices? Other clips as they are, their stills repeated, shuffled in time, and bent frame by frame, against
    reference clips, under a metric of frames (M5, the mean over networks) and one of motion (M4 of the estimated flow).

    estimate: frames (T, H, W, 3) -> flow (T, 2, H, W), such as `flow.estimate`.
    """

    def logs(some: Sequence[Frames]) -> Tensor:
        return log_energies(torch.stack([volume(torch.as_tensor(estimate(clip)), slices) for clip in some]))

    changes: dict[str, Callable[[Frames, int], Frames]]
    changes = {"other truth": lambda clip, n: clip, "still": repeat_still, "shuffled": shuffled, "warped": warped}
    there, frames, table = logs(reference), np.concatenate(list(reference)), {}
    for name, change in changes.items():
        changed = [change(clip, n) for n, clip in enumerate(clips)]
        far = frame_distance(np.concatenate(changed), frames, seeds)
        table[name] = dict(frames=sum(far) / len(far), motion=frechet(logs(changed), there))
    return table
