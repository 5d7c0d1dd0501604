"""Diffusion: the schedule, the losses, samplers against data whose best denoiser is known, guidance."""

import math

import pytest
import torch

from bestpapers.lab import diffusion
from bestpapers.lab.diffusion import BETAS, KEPT, STEPS, ddim, guided, sample

MEAN, SPREAD = 1.5, 0.4  # of the data that the exact denoisers below know


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def exact_noise(z, step):
    """The best guess of the noise in z for data of mean MEAN and deviation SPREAD."""
    a = KEPT[step.long()].view(-1, *[1] * (z.ndim - 1))
    variance = a * SPREAD**2 + 1 - a
    return (1 - a).sqrt() * (z - a.sqrt() * MEAN) / variance


def exact_velocity(z, step):
    t = (1 - step / STEPS).view(-1, *[1] * (z.ndim - 1))
    variance = (t * SPREAD) ** 2 + (1 - t) ** 2
    away = z - t * MEAN
    return MEAN + (t * SPREAD**2 - (1 - t)) * away / variance


def test_the_schedule():
    betas = 1 - KEPT / torch.cat([torch.ones(1), KEPT[:-1]])
    torch.testing.assert_close(betas, BETAS.float(), rtol=1e-2, atol=0)
    assert KEPT.shape == (STEPS,) == (1000,)
    assert betas[0].item() == pytest.approx(0.0015, rel=1e-3)
    assert betas[-1].item() == pytest.approx(0.0195, rel=1e-3)
    roots = betas[:500].double().sqrt().diff()  # later on, float32 is too coarse for it
    assert roots.std() < 0.02 * roots.mean()
    assert KEPT[-1] < 5e-4


def test_the_noise_loss():
    z, noise = normal(4, 3, 2), normal(4, 3, 2, seed=1)
    step = torch.tensor([0, 10, 500, 999])
    asked = {}

    def oracle(noisy, n):
        asked["step"] = n
        a = KEPT[n].view(-1, 1, 1)
        return (noisy - a.sqrt() * z) / (1 - a).sqrt()

    assert diffusion.noise_loss(oracle, z, step, noise) < 1e-4
    assert torch.equal(asked["step"], step)
    zero = diffusion.noise_loss(lambda noisy, n: 0 * noisy, z, step, noise)
    assert zero == pytest.approx(noise.square().mean().item())
    each = torch.tensor([[0, 500, 999]] * 4)  # its own noise for each slice
    seen = {}
    diffusion.noise_loss(lambda noisy, n: seen.setdefault("z", noisy), z, each, noise)
    a = KEPT[each][..., None]
    torch.testing.assert_close(seen["z"], a.sqrt() * z + (1 - a).sqrt() * noise)


def test_the_matching_loss():
    z, noise, time = normal(4, 3), normal(4, 3, seed=1), torch.tensor([0.0, 0.3, 0.6, 1.0])
    seen = {}

    def oracle(noisy, step):
        seen.update(z=noisy, step=step)
        return z - noise

    assert diffusion.matching_loss(oracle, z, time, noise) == 0
    torch.testing.assert_close(seen["z"][0], noise[0])
    torch.testing.assert_close(seen["z"][3], z[3])
    torch.testing.assert_close(seen["step"], torch.tensor([1000.0, 700.0, 400.0, 0.0]))


@pytest.mark.parametrize("objective", diffusion.OBJECTIVES)
def test_the_loss_of_an_objective(objective):
    """It is that of noise at the step of a time, or that of the velocity at the time."""
    z, noise, time = normal(4, 3), normal(4, 3, seed=1), torch.tensor([0.0, 0.3, 0.6, 0.999])

    def predict(noisy, step):
        return noisy * (step[:, None] / STEPS)

    found = diffusion.loss(objective, predict, z, time, noise)
    if objective == "noise":
        assert found == diffusion.noise_loss(predict, z, torch.tensor([0, 300, 600, 999]), noise)
    else:
        assert found == diffusion.matching_loss(predict, z, time, noise)


def test_ddim_draws_the_data_that_the_denoiser_knows():
    found = ddim(exact_noise, normal(8000, 1), 500)
    assert found.mean().item() == pytest.approx(MEAN, abs=0.03)
    assert found.std().item() == pytest.approx(SPREAD, abs=0.03)


def test_flow_matching_draws_it_too_and_more_calls_come_nearer():
    noise = normal(8000, 1)

    def euler(net, z, calls):
        return sample("velocity", net, z, calls)

    wrong = {n: abs(euler(exact_velocity, noise, n).std().item() - SPREAD) for n in (1, 4, 16, 64)}
    assert wrong[64] < 0.02
    assert wrong[1] > wrong[4] > wrong[16] > wrong[64]
    assert euler(exact_velocity, noise, 64).mean().item() == pytest.approx(MEAN, abs=0.02)


@pytest.mark.parametrize("calls", [1, 2, 50])
def test_as_many_calls_as_asked_for(calls):
    asked, after = [], []

    def predict(z, step):
        asked.append(step)
        return 0 * z

    ddim(predict, normal(2, 3), calls, after=lambda n, clean: after.append((n, clean.shape)))
    assert len(asked) == len(after) == calls
    assert asked[0].tolist() == [999, 999]
    assert [n for n, _ in after] == list(range(calls))
    del asked[:]
    sample("velocity", predict, normal(2, 3), calls)
    assert len(asked) == calls
    assert asked[0].tolist() == [1000.0, 1000.0]
    assert asked[-1][0].item() == pytest.approx(1000 / calls)


def test_a_sampler_for_each_objective():
    noise = normal(5, 1)
    assert torch.equal(sample("noise", exact_noise, noise, 20), ddim(exact_noise, noise, 20))
    assert not torch.equal(sample("velocity", exact_velocity, noise, 20), ddim(exact_noise, noise, 20))


def test_guidance_by_the_condition():
    condition, calls = torch.full((2, 1), 3.0), []

    def net(z, step, c):
        calls.append(len(z))
        return z * 0 + c

    z, step = normal(2, 1), torch.tensor([5, 6])
    torch.testing.assert_close(guided(net, condition)(z, step), condition)
    torch.testing.assert_close(guided(net, condition, 1.75)(z, step), 2.75 * condition)  # (1 + w) 3 - w 0
    assert calls == [2, 4]


def test_guidance_by_an_energy_lowers_it():
    """Pulled towards 2.5 by the energy; the unguided mean is 1.5."""

    def energy(clean):
        return (clean - 2.5).square().sum(1)

    noise = normal(2000, 1)
    free = ddim(exact_noise, noise, 50)
    bent = ddim(exact_noise, noise, 50, energy=energy, weight=0.5, generator=torch.Generator().manual_seed(0))
    assert energy(bent).mean() < 0.8 * energy(free).mean()  # measured: 0.72
    assert MEAN + 0.1 < bent.mean() < 2.6
    assert not bent.requires_grad


def test_the_gradient_of_the_energy_goes_through_the_network():
    """With clean = (z - s eps(z)) / sqrt(a) and eps = c z, d clean / dz = (1 - s c) / sqrt(a): seen in the first step."""
    c, weight = 0.7, 2.0
    z = torch.ones(1, 1)
    a = float(KEPT[999])
    s = math.sqrt(1 - a)
    slope = (1 - s * c) / math.sqrt(a)
    said = c * 1.0 + weight * s * slope  # the energy is the clean value itself
    expected = (1.0 - s * said) / math.sqrt(a)
    found = ddim(lambda z, step: c * z, z, 1, energy=lambda clean: clean.sum(1), weight=weight, recurrences=1)
    assert found.item() == pytest.approx(expected, rel=1e-4)


def test_recurrences_repeat_each_step():
    asked = []

    def predict(z, step):
        asked.append(int(step[0]))
        return exact_noise(z, step)

    noise, gen = normal(4, 1), torch.Generator().manual_seed(0)
    ddim(predict, noise, 5, energy=lambda clean: 0 * clean.sum(1), recurrences=3, generator=gen)
    assert len(asked) == 15
    assert asked[:3] == [999, 999, 999]
    many = ddim(
        exact_noise, normal(4000, 1), 500, energy=lambda clean: 0 * clean.sum(1), recurrences=2,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert many.std().item() == pytest.approx(SPREAD, abs=0.03)  # noise put back is noise of the right size
    assert many.mean().item() == pytest.approx(MEAN, abs=0.03)


def test_weight_nothing_is_the_same_draw_unguided():
    def never(clean):
        raise AssertionError("asked for an energy that has no weight")

    draws = [
        ddim(exact_noise, normal(8, 1), 6, energy=energy, weight=u, generator=torch.Generator().manual_seed(3))
        for energy, u in ((never, 0.0), (lambda clean: 0 * clean.sum(1), 5.0))
    ]
    torch.testing.assert_close(*draws)
    assert (draws[0] - ddim(exact_noise, normal(8, 1), 6)).abs().max() > 0.1  # without recurrences it is another one


def test_bad_arguments():
    noise = normal(2, 1)
    with pytest.raises(ValueError, match="calls must be 1 to 1000"):
        ddim(exact_noise, noise, 0)
    with pytest.raises(ValueError, match="give a generator"):
        ddim(exact_noise, noise, 5, energy=lambda clean: clean.sum(1))
    with pytest.raises(ValueError, match="at least 1 call"):
        sample("velocity", exact_velocity, noise, 0)
    with pytest.raises(ValueError, match="no guidance"):
        sample("velocity", exact_velocity, noise, 2, energy=lambda clean: clean.sum(1))
