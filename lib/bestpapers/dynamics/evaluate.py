"""Scores of motion that need no download and no network of others. Pure functions.

The paper compares videos by Inception and I3D features (FID, FVD, DTFVD); neither fits in a course, and both look at frames
more than at motion. Here the truth is known, so motion itself is compared. `spectra` are volumes (N, K, 2, H, W) complex, px
summed over frames, `mask` bool (H, W): the pixels that count.

M2 residual            M3 energy_bias       M4 spectrum_distance     M5 frame_distance      M6 slice_correlation
M7 first_frame_error   M8 leak              M11 rigidity             M12 sliding            M14 diversity
M1 is in `flow`, M9 in `loop`, M10 in `modal`, M13 in `lab.images`. Each has a `floor`, truth against other truth, and a
ceiling: the still, a volume of zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from .spectral import FRAMES, energy, motion, volume

STILL = 1e-3  # px: the height of a vibration that counts as none, so that the still has a logarithm of energy too

# --------------------------------------------------------------------------------------------------------- of spectra


def log_energies(spectra: Tensor, mask: Tensor | None = None, frames: int = FRAMES) -> Tensor:
    """log10 of the mean over pixels of |S_k|^2, x and y together: (N, K) float64."""
    power = spectra.abs().double().square().sum(-3)
    power = power.mean((-2, -1)) if mask is None else power[..., mask].mean(-1)
    return (power + (STILL * frames / 2) ** 2).log10()


def frechet(a: Tensor, b: Tensor) -> float:
    """Frechet distance of the Gaussians of two sets of features (N, D) and (M, D):
    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)). It is a square: in the features' unit, squared. At least two rows each."""
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(
            f"frechet: needs (N, D) and (M, D) of two rows at least, got {tuple(a.shape)}, {tuple(b.shape)}"
        )
    a, b = a.double(), b.double()
    first, second = torch.cov(a.T).reshape(a.shape[1], -1), torch.cov(b.T).reshape(a.shape[1], -1)
    values, vectors = torch.linalg.eigh(first)
    root = vectors @ torch.diag(values.clamp_min(0).sqrt()) @ vectors.T
    # the trace of (C1 C2)^(1/2) is that of (C1^(1/2) C2 C1^(1/2))^(1/2), which is symmetric
    mixed = torch.linalg.eigvalsh(root @ second @ root).clamp_min(0).sqrt().sum()
    distance = (a.mean(0) - b.mean(0)).square().sum() + first.trace() + second.trace() - 2 * mixed
    return max(0.0, float(distance))


def spectrum_distance(spectra: Tensor, truth: Tensor, mask: Tensor | None = None) -> float:
    """M4: Frechet distance of the K log energies, the *flow-spectrum distance*. 1 is an error by 10 in one slice."""
    return frechet(log_energies(spectra, mask), log_energies(truth, mask))


def energy_bias(spectra: Tensor, truth: Tensor, mask: Tensor | None = None) -> tuple[float, float]:
    """M3: mean log10 energy less the truth's, over the lower and the upper half of the slices."""
    apart = log_energies(spectra, mask).mean(0) - log_energies(truth, mask).mean(0)
    half = (len(apart) + 1) // 2
    return float(apart[:half].mean()), float(apart[half:].mean())


def slice_correlation(spectra: Tensor, mask: Tensor | None = None) -> float:
    """M6: mean over pairs of slices of the correlation of their log energies, over samples of *one* picture. Slices that were
    drawn each by itself cannot agree on how strong the wind is: 0."""
    rows = log_energies(spectra, mask)
    if len(rows) < 3 or rows.shape[1] < 2:
        raise ValueError(f"slice_correlation: needs three samples and two slices at least, got {tuple(rows.shape)}")
    table = torch.corrcoef(rows.T)
    return float(table[~torch.eye(len(table), dtype=torch.bool)].nan_to_num().mean())


def first_frame_error(spectra: Tensor, mask: Tensor | None = None, frames: int = FRAMES) -> float:
    """M7: |F_0| over the root mean square of motion, in the mean over samples. Cutting off slices alone gives some."""
    start = motion(spectra, frames, times=[0.0])[:, 0]
    power = energy(spectra, frames).sum(1) / frames  # (N, 2, H, W), mean over time of F^2
    here = torch.ones(power.shape[-2:], dtype=torch.bool) if mask is None else mask
    first = start.square().sum(1)[:, here].mean(-1).sqrt()
    whole = power.sum(1)[:, here].mean(-1).sqrt()
    return float((first / whole.clamp_min(STILL)).mean())


def leak(spectra: Tensor, mask: Tensor) -> float:
    """M8: energy outside of what can move over energy inside, of all samples together."""
    power = energy(spectra).sum((0, 1, 2))
    return float(power[~mask].sum() / power[mask].sum().clamp_min(STILL**2))


def diversity(spectra: Tensor, mask: Tensor | None = None) -> float:
    """M14: root mean square distance in px between the motions of two samples of one picture. 0: all the same."""
    if len(spectra) < 2:
        raise ValueError("diversity: needs two samples at least")
    apart = spectra - spectra.mean(0)
    power = energy(apart).sum((1, 2)) / FRAMES
    power = power.mean((-2, -1)) if mask is None else power[:, mask].mean(-1)
    return float((2 * power.sum() / (len(spectra) - 1)).sqrt())


def residual(flow: Tensor, slices: int) -> float:
    """M2: root mean square of what K slices leave out of a motion (T, 2, H, W), px. The energy: `spectral.energy_kept`."""
    return float((flow - motion(volume(flow, slices), len(flow))).square().sum(1).mean().sqrt())


def floor(measure: Callable[[Tensor, Tensor], float], truth: Tensor, seed: int = 0) -> float:
    """A measure of truth against other truth: the two halves of a shuffled set."""
    order = torch.randperm(len(truth), generator=torch.Generator().manual_seed(seed))
    half = len(truth) // 2
    return measure(truth[order[:half]], truth[order[half:]])


def amplitudes(spectra: Tensor, mask: Tensor | None = None, frames: int = FRAMES) -> Tensor:
    """Root mean square height in px that each slice gives the motion: (N, K) float64. Slices that are not there are 0, so that
    models of different K can be compared, which logarithms cannot."""
    power = 2 * energy(spectra.to(torch.complex128), frames).sum(2) / frames
    return (power.mean((-2, -1)) if mask is None else power[..., mask].mean(-1)).sqrt()


def scores(spectra: Tensor, truth: Tensor, mask: Tensor | None = None) -> dict[str, float]:
    """What is said of an arm by samples and truth of one picture, see `scores_of`."""
    return scores_of([(spectra, truth, mask)])


def scores_of(pictures: Sequence[tuple[Tensor, Tensor, Tensor | None]]) -> dict[str, float]:
    """What is said of an arm by (samples (N, K, 2, H, W), truth (M, L, 2, H, W), mask) of one picture or several.

    distance, bias_low, bias_high    M4 and M3 of all samples together, on the K slices that both have
    amplitude                        the same of `amplitudes` on all L slices, px^2: what a smaller K leaves out counts
    correlation, first, diversity    M6, M7 and M14 (over that of the truth), the mean over pictures
    leak                             M8, the mean, where there are masks that leave something out
    """
    ours: dict[str, list[Tensor]] = dict(logs=[], heights=[])
    theirs: dict[str, list[Tensor]] = dict(logs=[], heights=[])
    each: dict[str, list[float]] = dict(correlation=[], first=[], diversity=[], leak=[])
    for spectra, truth, mask in pictures:
        K, L = spectra.shape[1], truth.shape[1]
        if K > L:
            raise ValueError(f"scores: samples of {K} slices, truth of {L}")
        ours["logs"].append(log_energies(spectra, mask))
        theirs["logs"].append(log_energies(truth[:, :K], mask))
        ours["heights"].append(F.pad(amplitudes(spectra, mask), (0, L - K)))
        theirs["heights"].append(amplitudes(truth, mask))
        each["correlation"].append(slice_correlation(spectra, mask))
        each["first"].append(first_frame_error(spectra, mask))
        each["diversity"].append(diversity(spectra, mask) / max(STILL, diversity(truth[:, :K], mask)))
        if mask is not None and not mask.all():
            each["leak"].append(leak(spectra, mask))
    a, b = torch.cat(ours["logs"]), torch.cat(theirs["logs"])
    apart, half = a.mean(0) - b.mean(0), (a.shape[1] + 1) // 2
    return dict(
        distance=frechet(a, b), amplitude=frechet(torch.cat(ours["heights"]), torch.cat(theirs["heights"])),
        bias_low=float(apart[:half].mean()), bias_high=float(apart[half:].mean()),
        **{name: sum(values) / len(values) for name, values in each.items() if values},
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------- of parts and windows


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


def sliding(
    clips: Tensor, truth: Tensor, measure: Callable[[Tensor, Tensor], float], window: int = 30, step: int | None = None
) -> dict[int, float]:
    """M12: a measure of windows of clips (N, T, ...) against all windows of the truth's: {first frame: measure}. What decays
    shows as a curve that rises."""
    step = step or window
    if not 1 <= window <= min(clips.shape[1], truth.shape[1]):
        raise ValueError(
            f"sliding: a window of {window} does not fit into {clips.shape[1]} and {truth.shape[1]} frames"
        )
    there = torch.cat([truth[:, n : n + window] for n in range(0, truth.shape[1] - window + 1, step)])
    return {n: measure(clips[:, n : n + window], there) for n in range(0, clips.shape[1] - window + 1, step)}


# --------------------------------------------------------------------------------------------------------- of frames


def frame_features(frames: Tensor | NDArray[np.uint8], seed: int = 0, width: int = 32) -> Tensor:
    """Features of frames, uint8 (N, H, W, 3) -> (N, 2 width): means and deviations over the picture of what a fixed random
    network of three layers sees. What it knows of pictures is nothing but locality (ours, in the place of Inception)."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.as_tensor(frames).movedim(-1, 1).float() / 127.5 - 1
    for inputs, outputs in ((3, width // 2), (width // 2, width), (width, width)):
        weight = torch.randn(outputs, inputs, 3, 3, generator=generator) * (2 / (9 * inputs)) ** 0.5
        x = F.relu(F.conv2d(x, weight, stride=2, padding=1))
    return torch.cat([x.mean((2, 3)), x.std((2, 3))], 1)


def frame_distance(
    a: Tensor | NDArray[np.uint8], b: Tensor | NDArray[np.uint8], seeds: Sequence[int] = (0, 1, 2, 3, 4)
) -> list[float]:
    """M5: Frechet distance of `frame_features`, for several random networks: their scales differ, only ranks mean something.
    Frames are taken one by one, as FID does: their order in time plays no part."""
    return [frechet(frame_features(a, seed), frame_features(b, seed)) for seed in seeds]


def repeat_still(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A clip (T, H, W, 3) in which nothing happens: frame 0, T times."""
    return np.repeat(frames[:1], len(frames), 0)


def shuffled(frames: NDArray[np.uint8], seed: int = 0) -> NDArray[np.uint8]:
    """The clip's frames in another order; the first one stays."""
    order = np.random.default_rng(seed).permutation(np.arange(1, len(frames)))
    return frames[np.concatenate([[0], order])]


def warped(frames: NDArray[np.uint8], seed: int = 0, size: float = 1.0, cells: int = 4) -> NDArray[np.uint8]:
    """The clip with each frame but the first bent by a smooth field of its own, of `size` px root mean square a component,
    made of cells x cells random vectors: single frames look well, their motion flickers."""
    T, H, W, _ = frames.shape
    generator = torch.Generator().manual_seed(seed)
    field = F.interpolate(torch.randn(T, 2, cells, cells, generator=generator), size=(H, W), mode="bicubic")
    field *= size / field.square().mean((1, 2, 3), keepdim=True).sqrt()
    field[0] = 0
    y, x = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")
    grid = torch.stack([(x + field[:, 0]) * 2 / (W - 1) - 1, (y + field[:, 1]) * 2 / (H - 1) - 1], -1)
    pictures = torch.from_numpy(frames).permute(0, 3, 1, 2).float()
    bent = F.grid_sample(pictures, grid, padding_mode="border", align_corners=True)
    found: NDArray[np.uint8] = bent.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    return found


def honesty(
    reference: Sequence[NDArray[np.uint8]],
    clips: Sequence[NDArray[np.uint8]],
    estimate: Callable[[NDArray[np.uint8]], Tensor],
    seeds: Sequence[int] = (0, 1, 2),
    slices: int = 16,
) -> dict[str, dict[str, float]]:
    """Which metric notices? Other clips as they are, their stills repeated, shuffled in time, and bent frame by frame, against
    reference clips, under a metric of frames (M5, the mean over networks) and one of motion (M4 of the estimated flow).

    estimate: frames (T, H, W, 3) -> flow (T, 2, H, W), such as `flow.estimate`.
    """

    def spectra(some: Sequence[NDArray[np.uint8]]) -> Tensor:
        return torch.stack([volume(torch.as_tensor(estimate(clip)), slices) for clip in some])

    kinds: dict[str, Callable[[NDArray[np.uint8], int], NDArray[np.uint8]]] = {
        "other truth": lambda clip, n: clip,
        "still": lambda clip, n: repeat_still(clip),
        "shuffled": shuffled,
        "warped": warped,
    }
    there, frames = log_energies(spectra(reference)), np.concatenate(list(reference))
    table = {}
    for name, change in kinds.items():
        changed = [change(clip, n) for n, clip in enumerate(clips)]
        distances = frame_distance(np.concatenate(changed), frames, seeds)
        table[name] = dict(
            frames=sum(distances) / len(distances), motion=frechet(log_energies(spectra(changed)), there)
        )
    return table
