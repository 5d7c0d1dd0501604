"""Loops: the measures see a snap, each remedy closes it as it says, the guidance energy is that of the series."""

import math

import numpy as np
import pytest
import torch

from bestpapers.dynamics import loop
from bestpapers.dynamics.spectral import FRAMES, from_channels, motion, volume

T = 150


def walk(seed=0, height=5, width=6):
    """A motion whose ends do not meet: a swing of 0.37 Hz and one of 1.13 Hz, 0 in frame 0."""
    g = torch.Generator().manual_seed(seed)
    t = torch.arange(T) / 30
    size = torch.randn(2, 2, height, width, generator=g)
    slow, fast = (torch.sin(2 * math.pi * f * t)[:, None, None, None] for f in (0.37, 1.13))
    return 3 * slow * size[0] + 0.5 * fast * size[1]


@pytest.fixture(scope="module")
def S():
    return volume(walk(), 16)


# --------------------------------------------------------------------------------------------------------------- measures


def test_wrap_ratio_of_known_sequences():
    turn = 2 * math.pi * (torch.arange(60)[:, None] / 60 + torch.rand(500, generator=torch.Generator().manual_seed(0)))
    assert loop.wrap_ratio(turn.cos()) == pytest.approx(1, abs=0.1)  # points going round, some way along each
    ramp = torch.arange(11.0)[:, None]
    assert loop.wrap_ratio(ramp) == pytest.approx(10)
    assert loop.wrap_ratio(torch.cat([ramp, ramp[:1]])) == 0  # comes back by itself: the snap is one step earlier
    assert loop.wrap_ratio(torch.cat([ramp, ramp[:1]]), near=1) > 5
    assert math.isnan(loop.wrap_ratio(torch.zeros(5, 2)))
    with pytest.raises(ValueError, match="at least 3 frames"):
        loop.wrap_ratio(ramp[:2])


def test_wrap_ratio_of_frames_of_bytes():
    """255 to 0 is a step of 255, not of 1."""
    frames = torch.tensor([0, 100, 255], dtype=torch.uint8)[:, None, None, None].expand(3, 4, 4, 3)
    assert loop.wrap_ratio(frames) == pytest.approx(255 / ((100 + 155) / 2))


def test_closure_measures_place_and_speed():
    n = torch.arange(10.0)
    flow = torch.zeros(10, 2, 3, 3)
    flow[:, 0, 0] = n[:, None]  # constant speed, ends 9 apart
    flow[:, 1, 1] = (n * (n - 9))[:, None]  # ends meet, speeds are 8 and -8
    place, speed = loop.closure(flow)
    assert place == pytest.approx(9 / 6)
    assert speed == pytest.approx(16 / 6)


def test_energy_is_that_of_the_slices(S):
    """Parseval, without the constant: what projection is measured by."""
    flow = motion(S)
    assert loop.energy(flow) == pytest.approx(float(2 * S[1:].abs().square().sum()) / T**2 / S[0].numel(), rel=1e-4)


# ------------------------------------------------------------------------------------------------------------------ loops


def test_truncated_series_snaps(S):
    """It is periodic, and still its wrap stands out."""
    assert loop.wrap_ratio(motion(S), loop.NEAR) > 2


def test_detrended_ends_meet():
    flow = walk()
    straight = loop.detrended(flow)
    assert straight.shape == flow.shape
    assert straight[0].equal(flow[0])
    assert straight[-1].numpy() == pytest.approx(flow[0].numpy(), abs=1e-6)
    drift = torch.arange(T)[:, None, None, None] * torch.ones(1, 2, 5, 6)
    assert loop.detrended(flow + drift).numpy() == pytest.approx(straight.numpy(), abs=1e-3)


def test_cross_fade_is_smooth_and_moves_less_there():
    flow = walk()
    faded = loop.cross_faded(flow, 15)
    assert len(faded) == T - 15
    assert faded[15:].equal(flow[15:-15])
    assert faded[0].equal(flow[-15])
    assert loop.wrap_ratio(faded) == pytest.approx(
        float(loop.steps(flow)[T - 16]) / float(loop.steps(faded)[:-1].mean()), rel=1e-3
    )


def test_cross_fade_of_pictures_shows_two_at_once():
    frames = (torch.arange(20) * 10).to(torch.uint8)[:, None, None, None].expand(20, 2, 2, 3)
    faded = loop.cross_faded(frames, 4)
    assert faded.dtype == torch.uint8
    assert faded[2, 0, 0, 0] == (180 + 20) / 2
    with pytest.raises(ValueError, match="from 1 to 10"):
        loop.cross_faded(frames, 11)


def test_projection_closes_the_loop_and_is_its_own_image(S):
    closed = loop.projected(S)
    flow = motion(closed)
    assert closed.dtype == S.dtype
    assert max(loop.closure(flow)) < 1e-4
    assert flow[0].abs().max() < 1e-4
    assert loop.projected(closed).numpy() == pytest.approx(closed.numpy(), abs=1e-2)
    assert loop.energy(flow) > 0.7 * loop.energy(motion(S))
    with pytest.raises(ValueError, match="3 slices"):
        loop.projected(S[:2])


def test_projection_changes_least(S):
    """Any other closed spectrum is farther: the change is orthogonal to differences of closed ones."""
    g = torch.Generator().manual_seed(1)
    other = loop.projected(S + 30 * torch.complex(*(torch.randn(16, 2, 5, 6, generator=g) for _ in range(2))))
    closed = loop.projected(S)
    change, between = (closed - S)[1:].to(torch.complex128), (other - closed)[1:].to(torch.complex128)
    along = (change.conj() * between).real.sum()
    assert abs(float(along)) < 1e-4 * float(change.abs().square().sum().sqrt() * between.abs().square().sum().sqrt())
    assert change.abs().square().sum() < (other - S)[1:].abs().square().sum()


def test_scores_of_a_closed_loop(S):
    flow = motion(S)
    naive, closed = loop.score(flow, flow), loop.score(motion(loop.projected(S)), flow, closed=True)
    assert naive.kept == 1
    assert math.isnan(loop.score(0 * flow, 0 * flow).kept)
    assert closed.place < 1e-4 < naive.place
    assert closed.wrap < naive.near
    assert 0.7 < closed.kept < 1.01


# --------------------------------------------------------------------------------------------------------------- guidance


def test_energy_of_the_spectrum_is_that_of_its_motion(S):
    flow = motion(S)
    assert float(loop.closure_energy(S)) == pytest.approx(sum(loop.closure(flow)), rel=1e-4)
    place, speed = loop.closure(flow)
    assert float(loop.closure_energy(S, speed=3.0)) == pytest.approx(place + 3 * speed, rel=1e-4)
    batch = torch.stack([S, 2 * S])
    assert loop.closure_energy(batch)[1] == pytest.approx(2 * float(loop.closure_energy(S)), rel=1e-4)


def test_position_term_weighs_slices_by_their_sine():
    """A slice of size 1 alone changes F_last - F_0 by up to (2 / T) 2 sin(pi k / T): high slices count most."""
    seen = []
    for k in (1, 4, 8, 15):
        S = torch.zeros(16, 2, 1, 360, dtype=torch.complex64)
        S[k] = torch.exp(2j * math.pi * torch.arange(360) / 360)
        seen.append(float(loop.closure_energy(S, speed=0.0)) * FRAMES / 2 / (2 / math.pi))  # mean |cos| is 2 / pi
    assert seen == pytest.approx([0.042, 0.167, 0.334, 0.618], abs=1e-3)


def test_descent_on_the_energy_closes_a_loop(S):
    """What the sampler does: gradient steps bring the ends together, and most of the energy stays."""
    size = S.abs().amax((1, 2, 3), keepdim=True)

    def decode(z):
        return from_channels(z) * size

    z = torch.view_as_real(S / size).movedim(-1, -3).flatten(-4, -3).clone().requires_grad_()
    assert decode(z).detach().numpy() == pytest.approx(S.numpy(), rel=1e-4, abs=1e-4)
    before = float(loop.closure_energy(decode(z)).detach())
    for _ in range(60):
        (grad,) = torch.autograd.grad(loop.closure_energy(decode(z)), z)
        z = (z - 0.05 * before * grad / grad.square().sum()).detach().requires_grad_()
    after, flow = float(loop.closure_energy(decode(z)).detach()), motion(decode(z.detach()))
    assert after < 0.5 * before
    assert loop.energy(flow) > 0.8 * loop.energy(motion(S))


def test_samples_of_a_batch_do_not_disturb_each_other(S):
    together = torch.stack([S, -0.3 * S]).requires_grad_()
    alone = S[None].clone().requires_grad_()
    loop.closure_energy(together).sum().backward()
    loop.closure_energy(alone).sum().backward()
    assert np.allclose(together.grad[0], alone.grad[0])
