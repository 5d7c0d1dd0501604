"""The token toy: tokens and back, what arms share, and that coordination shows."""

from dataclasses import replace

import pytest
import torch

from bestpapers.dynamics import evaluate, experiments, toy, train, worlds
from bestpapers.dynamics.model import ARMS, coordinated
from bestpapers.dynamics.spectral import Normalizer
from bestpapers.dynamics.toy import Setting, TokenNet

from .standin import plant

SMALL = Setting(winds=60, fresh=40, pixels=24, width=32, blocks=2, steps=5, batch=32, calls=4)


@pytest.fixture(scope="module", autouse=True)
def scene():
    """The stand-in plant in the place of the world's, which take a second each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worlds, "make_scene", lambda kind, seed: plant(1))
        toy._volumes.cache_clear()
        yield
    toy._volumes.cache_clear()


@pytest.fixture(scope="module")
def data():
    return SMALL.material(0)


def test_tokens(data):
    """Whitened, shared by all slices, and most of the variance."""
    values, truth = data.latents.values, data.tests[0][1]
    assert values.shape == (1, 1, 60, 16, 8)
    assert truth.shape == (40, 24, 2, 1, 24)
    flat = values.flatten(0, 3)
    torch.testing.assert_close(flat.mean(0), torch.zeros(8), atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.cov(flat.T), torch.eye(8), atol=1e-2, rtol=0)
    normalizer = Normalizer.fit(toy._volumes("tree", 0, 100, 24, 24, 0)[:60, :16])
    was, kept = (
        normalizer(v).flatten(0, 1).flatten(1) for v in (truth[:, :16], data.back(data.forward(truth[:, :16])))
    )
    assert (was - kept).square().sum() < 0.2 * (was - was.mean(0)).square().sum()


def test_tokens_and_back(data):
    again = data.forward(data.back(data.latents.values[0, 0]))
    torch.testing.assert_close(again, data.latents.values[0, 0], atol=1e-3, rtol=1e-3)


def test_tokens_far_off_are_cut_off(data):
    far = data.back(1e6 * data.latents.values[0, 0])
    assert far.abs().max() < 10 * data.back(data.latents.values[0, 0]).abs().max()


def test_one_constant_for_all_is_one_for_x_and_y():
    """There is no picture whose width and height could tell x from y."""
    data = replace(SMALL, normalize="resolution").material(0)
    turned = replace(SMALL, normalize="resolution")
    both = toy._volumes("tree", 0, 100, 24, 24, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toy, "_volumes", lambda *words: both.flip(2))
        other = turned.material(0)
    truth = data.tests[0][1][:, :16]
    there, back = data.back(data.forward(truth)), other.back(other.forward(truth.flip(2))).flip(2)
    torch.testing.assert_close(there, back, atol=1e-3 * float(truth.abs().max()), rtol=1e-3)


def test_seeds_are_other_winds_of_the_same_plant(data):
    assert not torch.equal(SMALL.material(1).latents.values, data.latents.values)
    assert torch.equal(SMALL.material(0).latents.values, data.latents.values)


@pytest.mark.parametrize("objective", ["noise", "velocity"])
@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_can_be_trained_and_scored(data, arm, objective):
    setting = replace(SMALL, objective=objective)
    model, losses, _ = train.train_arm(arm, setting.network, data.latents, setting.training(arm, 0))
    assert len(losses) == 2 * setting.steps
    scores = evaluate.scores(experiments.draw(model, setting, data, 0))
    assert set(scores) == {"distance", "amplitude", "bias_low", "bias_high", "correlation", "first", "diversity"}
    assert all(value == value for value in scores.values())


def test_as_many_rows_go_through_the_network(data, monkeypatch):
    """Slices of the independent arm, volumes of the volume arm, and all slices of a sixteenth as many in stage 2."""
    rows, step = {}, train.DenoiserTraining.step
    monkeypatch.setattr(
        train.DenoiserTraining, "step", lambda run: rows.setdefault(run.net.arm, run.config.batch) and step(run)
    )
    for arm in ("volume", "coordinated"):
        train.train_arm(arm, SMALL.network, data.latents, SMALL.training(arm, 0))
    assert rows == dict(volume=32, independent=32, coordinated=2)


def test_stage_2_starts_as_stage_1_and_moves_attention_alone(data):
    torch.manual_seed(0)
    model = SMALL.network("independent")
    one, two = model["net"], coordinated(model["net"])
    z, step = data.latents.values[0, 0, :3], torch.tensor([4, 500, 900])
    assert torch.equal(one(z, step), two(z, step))
    before = {name: tensor.clone() for name, tensor in two.state_dict().items()}
    model["net"] = two
    train.DenoiserTraining(model, data.latents, train.TrainConfig(steps=3, batch=2)).run(quiet=True)
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
        drawn.append(experiments.draw(dict(net=net), SMALL, data, 3)[0][0])
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[0], drawn[2])


def test_bounds():
    found = experiments.bounds(SMALL, 0)
    assert found["floor"]["distance"] < found["ceiling"]["distance"] / 20
    assert found["latents"]["correlation"] > 0.4
    assert found["floor"]["correlation"] > 0.4
    assert found["ceiling"]["first"] == found["ceiling"]["diversity"] == 0


def test_coordination_shows():
    """Independent slices cannot agree on the strength of the wind; a short stage 2 makes them (0.3 measured, truth 0.7)."""
    setting = replace(SMALL, winds=300, fresh=200, width=64, steps=250, batch=128, lr=3e-3, calls=20)
    found = {arm: experiments.run_arm(arm, 0, setting)[1]["correlation"] for arm in ARMS[::2]}
    assert abs(found["independent"]) < 0.08
    assert found["coordinated"] > 0.15
