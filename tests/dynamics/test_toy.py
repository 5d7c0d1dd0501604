"""The token toy: tokens and back, what arms share, and that coordination shows."""

from dataclasses import replace

import pytest
import torch

from bestpapers.dynamics import toy
from bestpapers.dynamics.toy import ARMS, Setting, TokenNet

from .standin import plant

SMALL = Setting(winds=60, fresh=40, pixels=24, width=32, blocks=2, steps=5, batch=32, calls=4)


@pytest.fixture(scope="module")
def scene():
    return plant(1)


@pytest.fixture(scope="module")
def data(scene):
    return toy.material(SMALL, 0, scene)


def test_tokens(data):
    """Whitened, shared by all slices, and most of the variance."""
    assert data.tokens.shape == (60, 16, 8)
    assert data.truth.shape == (40, 24, 2, 1, 24)
    flat = data.tokens.flatten(0, 1)
    torch.testing.assert_close(flat.mean(0), torch.zeros(8), atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.cov(flat.T), torch.eye(8), atol=1e-2, rtol=0)
    assert 0.8 < data.kept < 1


def test_tokens_and_back(data):
    """What tokens leave out is 1 - kept of the variance, on the data that they were made of."""
    known = data.normalizer(data.spectra(data.tokens)).flatten(2)
    again = (known - data.mean) @ data.basis / data.size
    torch.testing.assert_close(again, data.tokens, atol=1e-3, rtol=1e-3)


def test_seeds_are_other_winds_of_the_same_plant(scene, data):
    other = toy.material(SMALL, 1, scene)
    assert not torch.equal(other.tokens, data.tokens)
    assert torch.equal(toy.material(SMALL, 0, scene).tokens, data.tokens)


def test_the_world_knows_the_plant_of_a_setting():
    assert toy.material(replace(SMALL, winds=20, fresh=4, slices=4, truth=4), 0).tokens.shape == (20, 4, 8)


@pytest.mark.parametrize("objective", ["noise", "velocity"])
@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_can_be_trained_and_scored(data, arm, objective):
    setting = replace(SMALL, objective=objective)
    run = toy.train_arm(arm, 0, setting, data, quiet=True)
    assert len(run.losses) == 2 * setting.steps
    scores = toy.score(run.net, setting, data, 0)
    assert set(scores) == {"distance", "amplitude", "bias_low", "bias_high", "correlation", "first", "diversity"}
    assert all(value == value for value in scores.values())


def test_stage_2_starts_as_stage_1_and_moves_attention_alone(data):
    torch.manual_seed(0)
    one, two = TokenNet(SMALL, "independent"), TokenNet(SMALL, "coordinated")
    two.load_state_dict(two.state_dict() | one.state_dict())
    z, step = data.tokens[:3], torch.tensor([4, 500, 900])
    assert torch.equal(one(z, step), two(z, step))
    before = {name: tensor.clone() for name, tensor in two.state_dict().items()}
    toy.TokenTraining(two, data.tokens, toy.TrainConfig(steps=3, batch=32)).run(quiet=True)
    moved = {name for name, tensor in two.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved
    assert all(name.startswith("across.") for name in moved)


def test_noise_is_shared_by_arms(data):
    """The same seed draws the same noise for all arms: with networks that say nothing, samples are equal."""
    drawn = []
    for arm in ARMS:
        net = TokenNet(SMALL, arm)
        torch.nn.init.zeros_(net.leave.weight)
        torch.nn.init.zeros_(net.leave.bias)
        drawn.append(toy.sample(net, SMALL, 5, 3))
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[0], drawn[2])
    with pytest.raises(ValueError, match="arm must be one of"):
        TokenNet(SMALL, "joint")


def test_bounds(data):
    found = toy.bounds(data)
    assert found["floor"]["distance"] < found["ceiling"]["distance"] / 20
    assert found["tokens"]["correlation"] > 0.4
    assert found["floor"]["correlation"] > 0.4
    assert found["ceiling"]["first"] == found["ceiling"]["diversity"] == 0


def test_coordination_shows(scene):
    """Independent slices cannot agree on the strength of the wind; a short stage 2 makes them (0.3 measured, truth 0.7)."""
    setting = replace(SMALL, winds=300, fresh=200, width=64, steps=250, batch=128, lr=3e-3, calls=20)
    data = toy.material(setting, 0, scene)
    found = {
        arm: toy.score(toy.train_arm(arm, 0, setting, data, quiet=True).net, setting, data, 0) for arm in ARMS[::2]
    }
    assert abs(found["independent"]["correlation"]) < 0.08
    assert found["coordinated"]["correlation"] > 0.15
