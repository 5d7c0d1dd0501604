"""Scores: known values, what they must notice and what not, floors and ceilings, and the honesty experiment."""

import math

import numpy as np
import pytest
import torch

from bestpapers.dynamics import evaluate
from bestpapers.dynamics.spectral import first_frame, motion
from bestpapers.lab.images import random_features

MASK = torch.zeros(6, 8, dtype=torch.bool)
MASK[2:5, 3:7] = True


def volumes(count=40, slices=6, seed=0, wind=0.5):
    """Samples of one picture: the same falling spectrum, times a strength that all slices share."""
    g = torch.Generator().manual_seed(seed)
    strength = torch.exp(wind * torch.randn(count, 1, 1, 1, 1, generator=g))
    fall = torch.tensor([100.0 / (k + 1) for k in range(slices)])[:, None, None, None]
    noise = torch.randn(count, slices, 2, 6, 8, 2, generator=g)
    found = torch.view_as_complex(noise) * fall * strength * MASK
    found[:, 0] = found[:, 0].real.to(found.dtype)
    return found


def scores(spectra, truth, mask=None):
    return evaluate.scores([(spectra, truth, mask)])


# --------------------------------------------------------------------------------------------------------- of spectra


def test_log_energies():
    S = torch.zeros(1, 2, 2, 6, 8, dtype=torch.complex64)
    S[0, 1, 0] = 3 + 4j
    found = evaluate.log_energies(S)
    assert found[0, 1].item() == pytest.approx(math.log10(25), abs=1e-3)
    assert found[0, 0].item() == pytest.approx(2 * math.log10(evaluate.STILL * 75))
    half = torch.zeros(6, 8, dtype=torch.bool)
    half[:3] = True
    S[0, 1, 0, 3:] = 0
    assert evaluate.log_energies(S, half)[0, 1].item() == pytest.approx(math.log10(25), abs=1e-3)
    assert evaluate.log_energies(S)[0, 1].item() == pytest.approx(math.log10(12.5), abs=1e-3)


def test_a_factor_ten_in_the_upper_slices():
    """M3 says where and how much; M4 is its square over the slices; M6 and M14 hardly move."""
    truth = volumes()
    wrong = truth.clone()
    wrong[:, 3:] *= 10**0.5
    found = scores(wrong, truth, MASK)
    assert (found["bias_low"], found["bias_high"]) == pytest.approx((0, 1), abs=1e-3)
    assert found["distance"] == pytest.approx(3, abs=1e-2)
    assert found["correlation"] == pytest.approx(evaluate.slice_correlation(truth, MASK), abs=1e-3)
    five = scores(wrong[:, :5], truth, MASK)  # of an odd number, the lower half is the larger one
    assert (five["bias_low"], five["bias_high"]) == pytest.approx((0, 1), abs=1e-3)


def test_correlation_of_slices():
    """Slices that share a wind agree; drawn from different samples they do not."""
    truth = volumes(300)
    mixed = truth.clone()
    for k in range(6):
        mixed[:, k] = truth[torch.randperm(300, generator=torch.Generator().manual_seed(k)), k]
    assert evaluate.slice_correlation(truth, MASK) > 0.85
    assert abs(evaluate.slice_correlation(mixed, MASK)) < 0.1
    assert scores(mixed, truth, MASK)["distance"] > 0.05  # means and deviations are the same: only that is left
    assert evaluate.slice_correlation(torch.zeros_like(truth), MASK) == 0
    for few in (truth[:2], truth[:, :1]):
        with pytest.raises(ValueError, match="three samples and two slices"):
            evaluate.slice_correlation(few)
    assert evaluate.slice_correlation(truth[:, :2], MASK) == pytest.approx(
        torch.corrcoef(evaluate.log_energies(truth[:, :2], MASK).T)[0, 1].item()
    )


def test_the_first_frame():
    S = volumes(5)
    F = motion(S)
    want = F[:, 0].square().sum(1)[:, MASK].mean(-1).sqrt() / F.square().sum(2).mean(1)[:, MASK].mean(-1).sqrt()
    assert evaluate.first_frame_error(S, MASK) == pytest.approx(want.mean().item(), rel=1e-4)
    assert evaluate.first_frame_error(first_frame(S), MASK) < 1e-5
    assert evaluate.first_frame_error(torch.zeros_like(S)) == 0


def test_leak():
    S = volumes(5)
    assert evaluate.leak(S, MASK) == 0
    S[:, :, :, 0, 0] = S[:, :, :, 3, 4]  # one of twelve moving pixels once more, outside
    assert evaluate.leak(S, MASK) == pytest.approx(1 / 12, rel=0.5)


def test_diversity_is_the_distance_of_two_samples():
    S = volumes(4)
    F = motion(S)
    pairs = [(F[i] - F[j]).square().sum(1).mean(0)[MASK].mean() for i in range(4) for j in range(i)]
    assert evaluate.diversity(S, MASK) == pytest.approx(float(torch.stack(pairs).mean().sqrt()), rel=1e-4)
    assert evaluate.diversity(S[:1].expand(3, -1, -1, -1, -1)) < 1e-5


def test_amplitudes_are_of_the_motion():
    """Their squares add up to the mean square motion; slices that are not there count as 0."""
    S = volumes(3)
    heights = evaluate.amplitudes(S, MASK)
    want = motion(S).square().sum(2)[..., MASK].mean((1, 2))
    torch.testing.assert_close(heights.square().sum(1).float() / 2, want, rtol=1e-4, atol=1e-5)
    whole, cut = scores(S, S, MASK), scores(S[:, :4], S, MASK)
    assert whole["amplitude"] < 1e-6
    assert cut["distance"] < 1e-6
    assert cut["amplitude"] > 0.01
    with pytest.raises(ValueError, match="samples of 6 slices, truth of 4"):
        scores(S, S[:, :4])


def test_residual():
    n = torch.arange(150.0)
    flow = torch.zeros(150, 2, 3, 3)
    flow[:, 0] = (2 * torch.cos(2 * math.pi * 3 * n / 150) + 1 * torch.cos(2 * math.pi * 9 * n / 150))[:, None, None]
    assert evaluate.residual(flow, 16) < 1e-5
    assert evaluate.residual(flow, 8) == pytest.approx(1 / 2**0.5, rel=1e-4)
    assert evaluate.residual(flow, 2) == pytest.approx(2.5**0.5, rel=1e-4)


def test_floor_and_ceiling():
    """Of the halves of the truth; what else is asked for is done to the second half."""
    truth = volumes(80)
    found = evaluate.bounds([(truth, MASK)], louder=lambda half: 10 * half)
    assert found["floor"] == scores(truth[40:], truth[:40], MASK)
    assert 0 < found["floor"]["distance"] < 0.2
    assert found["ceiling"]["distance"] > 20
    assert found["ceiling"]["first"] == found["ceiling"]["diversity"] == 0
    assert found["louder"]["bias_low"] == pytest.approx(2 + found["floor"]["bias_low"], abs=1e-3)


def test_scores_of_several_pictures():
    a, b = volumes(20), volumes(20, seed=1)
    both = evaluate.scores([(a, a, MASK), (b, b, MASK)])
    assert both["distance"] < 1e-6
    assert both["diversity"] == pytest.approx(1)
    assert both["leak"] == 0
    one = scores(a, b, MASK)
    assert one["correlation"] == evaluate.slice_correlation(a, MASK)
    assert "leak" not in scores(a, b)


# ------------------------------------------------------------------------------------------------- of parts and windows


def test_rigidity():
    """A part that turns is rigid; one that stretches is not."""
    y, x = torch.meshgrid(torch.arange(10.0), torch.arange(10.0), indexing="ij")
    angle = torch.linspace(0, 0.1, 5)[:, None, None]
    turning = torch.stack([-angle * (y - 3) + 0.2, angle * (x - 4)], 1)
    parts = torch.zeros(10, 10, dtype=torch.int64)
    parts[2:8, 2:8] = 4
    assert evaluate.rigidity(turning, parts) < 1e-6
    stretching = torch.stack([angle * (x - 4.5), 0 * angle * y], 1)
    assert evaluate.rigidity(stretching, parts) == pytest.approx(1)  # it has no part in a turn
    assert evaluate.rigidity(turning + stretching, parts) < 0.9
    with pytest.raises(ValueError, match="no part"):
        evaluate.rigidity(turning, torch.zeros(10, 10, dtype=torch.int64))


def test_windows_find_what_decays():
    """Swinging of one kind throughout is as far from others in the last window as in the first; what drifts is farther."""
    n = torch.arange(90.0)[:, None, None, None]

    def clips(seed):
        height, phase = (torch.rand(64, 1, 2, 1, 1, generator=torch.Generator().manual_seed(seed + i)) for i in (0, 9))
        return (1 + height) * torch.sin(2 * torch.pi * (n / 30 + phase))

    steady, truth = clips(1), clips(2)
    found = evaluate.windows(steady, truth)
    assert list(found) == [0, 30, 60]
    assert found[60] == pytest.approx(found[0], rel=1e-3)
    drifts = evaluate.windows(steady + 0.1 * (n - 30).clamp_min(0), truth)
    assert drifts[0] == found[0]
    assert drifts[60] > 10 * found[60]
    with pytest.raises(ValueError, match="one of 50 frames"):
        evaluate.windows(steady[:, :40], truth, 50)


# ---------------------------------------------------------------------------------------------------------- of frames


def clip(seed, frames=24, size=(32, 48)):
    """A texture that sways as a whole, and its flow."""
    rng = np.random.default_rng(seed)
    t = np.arange(frames)
    strength = rng.uniform(1, 2)
    sway = strength * (np.sin(2 * np.pi * (t / frames + rng.random())))
    sway -= sway[0]
    y, x = np.mgrid[: size[0], : size[1]]
    phases = rng.uniform(0, 6, 3)
    frames_ = [
        np.stack([127 + 60 * np.sin(0.5 * (x - s) + p) + 50 * np.sin(0.4 * y + p) for p in phases], -1) for s in sway
    ]
    flow = np.zeros((frames, 2, *size), np.float32)
    flow[:, 0] = sway[:, None, None]
    return np.stack(frames_).clip(0, 255).astype(np.uint8), torch.from_numpy(flow)


def test_frame_features():
    frames, _ = clip(0)
    a, b = random_features(frames, 0), random_features(frames, 1)
    assert a.shape == (24, 64)
    assert torch.equal(a, random_features(frames, 0))
    assert not torch.equal(a, b)
    distances = evaluate.frame_distance(frames, clip(5)[0], seeds=(0, 1, 2))
    assert len(distances) == len(set(distances)) == 3
    assert min(distances) > 0


def test_changed_clips():
    frames, _ = clip(0)
    still, mixed, bent = evaluate.repeat_still(frames), evaluate.shuffled(frames, 1), evaluate.warped(frames, 1)
    assert still.shape == mixed.shape == bent.shape == frames.shape
    assert (still == frames[0]).all()
    assert (mixed[0] == frames[0]).all()
    assert (bent[0] == frames[0]).all()
    assert sorted(f.tobytes() for f in mixed) == sorted(f.tobytes() for f in frames)
    assert not np.array_equal(mixed, frames)
    assert not np.array_equal(bent[5], frames[5])
    assert np.array_equal(evaluate.warped(frames, 1, size=1e-9), frames)
    assert not np.array_equal(evaluate.warped(frames, 2), bent)
    ends = np.zeros((2, 8, 8, 3), np.uint8)
    ends[..., 1] = 255
    assert np.array_equal(evaluate.warped(ends, 1), ends)  # black stays black, and full green full


def test_a_warp_is_as_large_as_it_says():
    """A ramp of brightness shows the field in x: its root mean square over frames and pixels is one pixel."""
    ramp = np.zeros((9, 64, 64, 3), np.uint8)
    ramp[:] = (np.arange(64) * 4)[None, None, :, None]
    moved = (evaluate.warped(ramp, 3, size=1.0)[1:].astype(float) - ramp[1:])[:, 8:-8, 8:-8] / 4
    assert (moved**2).mean() ** 0.5 == pytest.approx(1.0, abs=0.35)


def test_which_metric_notices():
    """Frames in another order are the same frames: a metric of frames says exactly what it says of the truth. The flow's
    spectrum notices each of the three. Flow is taken from a list here, so that the test asks nothing of an estimator."""
    made = [clip(seed) for seed in range(16)]
    truth = {frames.tobytes(): flow for frames, flow in made}
    flows = {frame.tobytes(): flow[n] for frames, flow in made for n, frame in enumerate(frames)}

    def estimate(frames):
        if frames.tobytes() in truth:
            return truth[frames.tobytes()]
        noise = torch.randn(24, 2, 1, 1, generator=torch.Generator().manual_seed(0))  # of a bent clip: it flickers
        return torch.stack([flows.get(f.tobytes(), noise[n].expand(2, 32, 48)) for n, f in enumerate(frames)])

    table = evaluate.honesty([c for c, _ in made[:8]], [c for c, _ in made[8:]], estimate, seeds=(0, 1), slices=8)
    assert table["shuffled"]["frames"] == pytest.approx(table["other truth"]["frames"], rel=1e-3)
    for kind in ("still", "shuffled", "warped"):
        assert table[kind]["motion"] > 3 * table["other truth"]["motion"]
