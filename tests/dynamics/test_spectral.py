"""Spectral volumes against NumPy's FFT, the first frame, windows, both readings of the normalisation, and the fits."""

import numpy as np
import pytest
import torch

from bestpapers.dynamics import spectral
from bestpapers.dynamics.spectral import KINDS, READINGS, Normalizer, motion, volume

# Mean |S_k| of x, k = 1 to 16, read off the curve of the paper's Fig. 2 (to about 0.5)
PAPER = [81.9, 50.8, 38.6, 26.2, 21.6, 17.1, 13.4, 11.7, 10.5, 9.4, 8.8, 8.2, 7.6, 7.0, 6.6, 6.2]
# Spread of |S_k|, k = 0 to 16, of 818 clips of plants: published by an unofficial implementation
CLIPS = [34.356, 13.725, 8.803, 7.262, 5.942, 5.330, 5.200, 4.945, 4.592, 4.523, 3.870, 3.485, 3.284, 2.891, 2.453]
CLIPS += [2.323, 1.857]


def some_motion(frames=150, seed=0, slices=16, height=5, width=7, start=0.0, dtype=torch.float64):
    """A random smooth motion that a volume of `slices` holds whole, and that starts at F_0 = `start`."""
    gen = torch.Generator().manual_seed(seed)
    spectrum = torch.randn(slices, 2, height, width, 2, generator=gen, dtype=dtype)
    spectrum = torch.view_as_complex(spectrum) * 100 / (1 + torch.arange(slices, dtype=dtype)[:, None, None, None])
    flow = motion(spectral.first_frame(spectrum), frames)
    return flow + start


@pytest.mark.parametrize("frames", [12, 13, 150])
@pytest.mark.parametrize("slices", [1, 4, None])
def test_volume_is_numpys_dft(frames, slices):
    flow = torch.randn(frames, 2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = np.fft.fft(flow.numpy(), axis=0)[: slices or frames // 2 + 1]
    np.testing.assert_allclose(volume(flow, slices).numpy(), expected, atol=1e-9)
    np.testing.assert_allclose(volume(flow.float(), slices).numpy(), expected, atol=1e-3)
    assert volume(flow.float(), slices).dtype == torch.complex64


@pytest.mark.parametrize("frames", [12, 13, 150])
def test_motion_is_the_inverse_and_has_the_factor_two(frames):
    flow = torch.randn(2, frames, 2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(motion(volume(flow, None), frames), flow)  # all slices, the middle one with factor 1
    cut = volume(flow, 4)
    full = np.zeros((2, frames, 2, 3, 4), complex)  # as NumPy would: with the mirror half
    full[:, :4] = cut.numpy()
    full[:, -3:] = cut[:, 1:].conj().resolve_conj().numpy()[:, ::-1]
    expected = np.fft.ifft(full, axis=1)
    assert abs(expected.imag).max() < 1e-12
    np.testing.assert_allclose(motion(cut, frames).numpy(), expected.real, atol=1e-12)
    cosine = torch.cos(2 * torch.pi * 2 * torch.arange(frames, dtype=torch.float64) / frames)
    one = cosine[:, None, None, None].expand(-1, 2, 1, 1)
    torch.testing.assert_close(motion(volume(one, 4), frames), one)  # a height of 1, not of a half


def test_one_frame_is_its_own_mean():
    flow = torch.randn(1, 2, 3, 4, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(motion(volume(flow, None), 1), flow)  # not twice of it, though T is odd
    torch.testing.assert_close(spectral.energy(volume(flow, None), 1), flow.square())


def test_gradients_go_both_ways():
    flow = torch.randn(9, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    for window in (None, "hann", "detrend"):
        assert torch.autograd.gradcheck(lambda f, w=window: volume(f, 3, w), flow)
    spectrum = volume(flow, 3).detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda s: motion(s, 9, [0.5, 3.25]), spectrum)


def test_slow_motion_exact_and_by_straight_lines():
    """A vibration of 3 Hz at 30 frames per second: the series is right between frames, straight lines cut 5 % off its tops."""
    times = torch.arange(600) / 4
    wave = lambda t: torch.sin(2 * torch.pi * 15 * t.double() / 150 + 0.3)[:, None, None, None].expand(-1, 2, 1, 1)  # noqa: E731
    flow = wave(torch.arange(150))
    spectrum = volume(flow)
    torch.testing.assert_close(motion(spectrum, times=times), wave(times))
    torch.testing.assert_close(motion(spectrum, times=[0, 150, -150])[0], motion(spectrum, times=[150, -150])[1])
    linear = spectral.between(flow, times[:597])
    torch.testing.assert_close(linear[::4], flow)
    torch.testing.assert_close(linear[2::4], (flow[:-1] + flow[1:]) / 2)
    error = (linear - wave(times[:597])).abs().max()
    assert 0.04 < error < 0.0494  # 1 - cos(pi f / rate) at the worst
    torch.testing.assert_close(spectral.between(flow, [148.5, 149])[0], (flow[148] + flow[149]) / 2)
    with pytest.raises(ValueError, match="0 to 149, got"):
        spectral.between(flow, [149.5])


def test_first_frame_is_the_picture():
    flow = some_motion(start=0.7)
    spectrum = volume(flow)
    assert motion(spectrum)[0].abs().max() > 0.6
    mended = motion(spectral.first_frame(spectrum))
    assert mended[0].abs().max() < 1e-12
    torch.testing.assert_close(mended, flow - flow[:1])  # every frame by the same shift
    torch.testing.assert_close(spectral.first_frame(volume(mended)), volume(mended))  # nothing to mend: nothing changes


def test_cutting_moves_the_first_frame():
    """Why the condition is needed: F_0 = 0 holds for the whole volume and not for its first slices."""
    flow = torch.randn(150, 2, 4, 4, generator=torch.Generator().manual_seed(3)).cumsum(0)
    flow = flow - flow[:1]
    assert motion(volume(flow, None))[0].abs().max() < 1e-4
    assert motion(volume(flow))[0].abs().mean() > 0.1
    assert motion(spectral.first_frame(volume(flow)))[0].abs().max() < 1e-4


def test_windows_keep_a_jump_out_of_the_high_slices():
    """A slow wave that does not close after 5 seconds: nearly all above 3 Hz is the jump, and both windows take it away."""
    n = torch.arange(150, dtype=torch.float64)
    wave = (3 * torch.sin(2 * torch.pi * 0.13 * n / 30))[:, None, None, None].expand(-1, 2, 1, 1)

    def high(window):
        energy = spectral.energy(volume(wave, None, window)).sum((-3, -2, -1))
        return float(energy[16:].sum() / energy[1:].sum())

    assert high("rect") > 5e-3
    assert high("hann") < 1e-5
    assert high("detrend") < 1e-4
    torch.testing.assert_close(volume(wave, 16, "rect"), volume(wave))


def test_windows_by_their_definition():
    n = torch.arange(150, dtype=torch.float64)
    wave = (2 + 3 * torch.cos(2 * torch.pi * 4 * n / 150))[:, None, None, None].expand(-1, 2, 1, 1)
    hann = volume(wave, 16, "hann")[:, 0, 0, 0].real / 150
    expected = torch.zeros(16, dtype=torch.float64)
    expected[[0, 3, 4, 5]] = torch.tensor([2, -0.75, 1.5, -0.75], dtype=torch.float64)  # the height of slice 4 is kept
    torch.testing.assert_close(hann, expected)
    line = n[:, None, None, None] * torch.ones(1, 2, 3, 3, dtype=torch.float64)
    assert volume(line, None, "detrend").abs().max() < 1e-9  # a drift, and nothing else, is gone
    flow = some_motion() + 0.01 * n[:, None, None, None]
    ends = motion(volume(flow, None, "detrend"))
    assert ends[0].abs().max() < 1e-9  # frame 0 stays the picture
    assert ends[-1].abs().max() < 1e-9
    with pytest.raises(ValueError, match="rect, hann, detrend"):
        volume(flow, window="kaiser")


def test_channels():
    spectrum = volume(some_motion(dtype=torch.float32), 16)
    channels = spectral.to_channels(spectrum[None])
    assert channels.shape == (1, 16, 4, 5, 7)
    for c, part in enumerate((spectrum[:, 0].real, spectrum[:, 0].imag, spectrum[:, 1].real, spectrum[:, 1].imag)):
        torch.testing.assert_close(channels[0, :, c], part, rtol=0, atol=0)
    torch.testing.assert_close(spectral.from_channels(channels)[0], spectrum, rtol=0, atol=0)
    with pytest.raises(ValueError, match="real"):
        spectral.from_channels(spectrum)
    with pytest.raises(ValueError, match="complex"):
        spectral.to_channels(channels)


# --------------------------------------------------------------------------------------------------------- normalisation


@pytest.fixture(scope="module")
def training_set():
    """Six volumes whose pixels stand still in the left three of seven columns."""
    out = []
    for seed in range(6):
        spectrum = volume(some_motion(seed=seed, height=12).float())
        out.append(spectrum * (torch.arange(7) >= 3))
    return torch.stack(out)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reading", READINGS)
def test_normalisation_there_and_back(training_set, kind, reading):
    norm = Normalizer.fit(training_set, kind, reading)
    seen = norm(training_set)
    assert seen.shape == (6, 16, 4, 12, 7)
    assert seen.isfinite().all()
    assert (seen[..., :3] == 0).all()
    torch.testing.assert_close(norm.inverse(seen), training_set, rtol=2e-4, atol=2e-4)
    again = Normalizer.from_state(norm.state())
    assert (again.kind, again.reading) == (kind, reading)
    torch.testing.assert_close(again(training_set), seen, rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["adaptive", "linear", "log", "reciprocal"])
@pytest.mark.parametrize("reading", READINGS)
def test_the_95th_percentile_of_every_slice_is_one(training_set, kind, reading):
    seen = Normalizer.fit(training_set, kind, reading)(training_set)[..., 3:]  # of the pixels that move
    size = seen.abs() if reading == "component" else spectral.from_channels(seen).abs()
    for k in range(16):
        pool = size[:, k] if reading == "magnitude" or k else size[:, k, ::2]  # Im S_0 is always 0
        assert np.percentile(pool.numpy(), 95, method="inverted_cdf") == pytest.approx(1, abs=1e-3)


def test_resolution_is_one_number_for_all_slices(training_set):
    norm = Normalizer.fit(training_set, "resolution")
    seen = norm(training_set)[..., 3:]
    assert float((norm.scale[:, 0] / norm.scale[:, 1] - 7 / 12).abs().max()) < 1e-5
    assert float(norm.scale.std(0).max()) == 0
    assert float(seen[:, 0].abs().mean()) > 8 * float(seen[:, 15].abs().mean())  # what the adaptive form mends
    mended = Normalizer.fit(training_set)(training_set)[..., 3:]
    assert 0.5 < float(mended[:, 1].abs().mean() / mended[:, 15].abs().mean()) < 2


def test_readings_differ_in_the_angle(training_set):
    spectrum = training_set[0][..., 3:]
    ratio = {}
    for reading in READINGS:
        seen = spectral.from_channels(Normalizer.fit(training_set, reading=reading)(spectrum))
        ratio[reading] = float((seen / spectrum).angle().abs()[1:].mean())
    assert ratio["magnitude"] < 1e-5
    assert ratio["component"] > 0.1


def test_still_pixels_count_only_if_asked(training_set):
    moving = Normalizer.fit(training_set)
    everything = Normalizer.fit(training_set, masks=torch.ones(6, 12, 7, dtype=torch.bool))
    assert (everything.scale < moving.scale).all()
    right = Normalizer.fit(training_set, masks=(torch.arange(7) >= 3).expand(6, 12, 7))
    torch.testing.assert_close(right.scale, moving.scale, rtol=0, atol=0)


def test_normalisation_refuses_and_survives(training_set):
    with pytest.raises(ValueError, match="no pixel moves"):
        Normalizer.fit(torch.zeros_like(training_set))
    with pytest.raises(ValueError, match="adaptive, linear"):
        Normalizer.fit(training_set, "cube")
    with pytest.raises(ValueError, match="component, magnitude"):
        Normalizer.fit(training_set, reading="both")
    with pytest.raises(ValueError, match="above 0"):
        Normalizer(torch.zeros(16, 2))
    with pytest.raises(ValueError, match="16 slices, got 4"):
        Normalizer.fit(training_set)(training_set[:, :4])
    silent = training_set.clone()
    silent[:, 7] = 0  # a slice that nothing ever moves in
    for reading in READINGS:
        norm = Normalizer.fit(silent, reading=reading)
        assert norm(silent).isfinite().all()
        torch.testing.assert_close(norm.inverse(norm(silent)), silent, rtol=2e-4, atol=2e-4)
    reciprocal = Normalizer.fit(training_set, "reciprocal")
    assert reciprocal.inverse(torch.full((16, 4, 1, 1), 7.0)).isfinite().all()  # what a network may say


# ------------------------------------------------------------------------------------------------------------- measures


def test_energy_is_that_of_the_motion():
    for frames in (24, 25):
        flow = torch.randn(frames, 2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
        full = volume(flow, None)
        torch.testing.assert_close(spectral.energy(full, frames).sum(0), flow.square().sum(0))
        kept = spectral.energy_kept(full, frames)
        residual = flow - motion(full[:6], frames)
        assert float(kept[5]) == pytest.approx(1 - float(residual.square().sum() / flow.square().sum()), abs=1e-9)
        without = spectral.energy_kept(full, frames, constant=False)
        assert float(without[0]) == 0
        assert float(without[-1]) == pytest.approx(1)
    assert (spectral.energy_kept(torch.zeros_like(full), frames) == 1).all()


def test_moving_pixels_and_amplitude():
    flow = torch.zeros(150, 2, 4, 6)
    flow[:, 0, 1, 2] = 2 * torch.sin(2 * torch.pi * 3 * torch.arange(150) / 150)
    flow[:, 1, 3, 5] = 0.2
    spectrum = volume(flow)
    where = lambda threshold: spectral.moving(spectrum, threshold).nonzero().tolist()  # noqa: E731
    assert where(0.1) == [[1, 2], [3, 5]]
    assert where(0.3) == [[1, 2]]
    assert where(1.5) == []  # the root mean square of a wave of height 2 is 1.41
    mask = torch.zeros(4, 6, dtype=torch.bool)
    mask[1, 2:4] = True
    found = spectral.amplitude(spectrum, mask)
    assert float(found[3, 0]) == pytest.approx(75, rel=1e-4)  # 150 px over two, one of the two pixels at rest
    assert float(found[:, 1].max()) == 0
    with pytest.raises(ValueError, match="no pixel"):
        spectral.amplitude(torch.zeros_like(spectrum))


def test_fits_of_published_spectra():
    (fit,) = spectral.fit_spectrum(CLIPS, spectral.frequencies(17), [(1, 15)])
    assert fit.exponential.r2 == pytest.approx(0.933, abs=0.002)
    assert fit.power.r2 == pytest.approx(0.955, abs=0.002)
    assert fit.exponential.slope * 0.2 == pytest.approx(-0.104, abs=0.002)  # per slice
    assert fit.power.slope == pytest.approx(-0.60, abs=0.01)
    (fit,) = spectral.fit_spectrum(PAPER, spectral.frequencies(17)[1:], [(1, 16)])
    assert fit.exponential.r2 == pytest.approx(0.897, abs=0.005)
    assert fit.power.r2 == pytest.approx(0.991, abs=0.002)
    assert fit.power.slope == pytest.approx(-0.99, abs=0.01)
    assert fit.winner == "power law"


def test_exact_laws_and_a_winner_that_flips():
    f = spectral.frequencies(75)[1:]
    (low, high) = spectral.fit_spectrum(30 * torch.exp(-0.8 * f), f)
    assert (low.first, low.last, high.last) == (1, 15, 74)
    assert low.exponential.r2 == pytest.approx(1)
    assert low.exponential.slope == pytest.approx(-0.8)
    assert low.exponential.intercept == pytest.approx(np.log(30))
    assert low.winner == high.winner == "exponential"
    # exponential as far as 3 Hz, then a floor as noise makes it: over the whole range the power law is the better line
    low, high = spectral.fit_spectrum(30 * torch.exp(-1.2 * f) + 0.4 / f, f)
    assert (low.winner, high.winner) == ("exponential", "power law")
    with pytest.raises(ValueError, match="above 0"):
        spectral.fit_spectrum([1, 0, 2, 3], [0.2, 0.4, 0.6, 0.8], [(1, 4)])
    with pytest.raises(ValueError, match="three"):
        spectral.fit_spectrum([1, 2], [0.2, 0.4])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: volume(torch.zeros(150, 3, 4, 4)), "T, 2, H, W"),
        (lambda: volume(torch.zeros(20, 2, 4, 4), 12), "1 to 11 slices, not 12"),
        (lambda: motion(torch.zeros(16, 2, 4, 4)), "complex"),
        (lambda: motion(torch.zeros(16, 2, 4, 4, dtype=torch.complex64), 20), "1 to 11 slices, not 16"),
        (lambda: volume(torch.zeros(0, 2, 4, 4)), "0 frames"),
        (lambda: volume(torch.zeros(20, 2, 4, 4, dtype=torch.int64)), "must be real"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
