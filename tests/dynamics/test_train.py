"""Training: plants have the world's volumes; runs learn, resume exactly, are the same on two processes, make an animator."""

import argparse
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from bestpapers.dynamics import train, worlds
from bestpapers.dynamics.model import Animator, Codec, Denoiser, Eye, coordinated
from bestpapers.dynamics.spectral import Normalizer, volume
from bestpapers.dynamics.train import (
    CodecTraining,
    DenoiserTraining,
    Latents,
    Plants,
    Recipe,
    TrainConfig,
    collect,
    encode,
    fit_normalizer,
    mirror,
)

from .standin import plant
from .tiny import TINY

HERE = Path(__file__).parent
FAST = TrainConfig(steps=20, batch=4, slices=2, warmup=2, checkpoint_every=1000)


@pytest.fixture(scope="module")
def plants():
    return collect((plant(seed) for seed in range(3)), 4, TINY, quiet=True)


@pytest.fixture(scope="module")
def normalizer(plants):
    return fit_normalizer(plants)


@pytest.fixture(scope="module")
def latents(plants, normalizer):
    torch.manual_seed(0)
    return encode(Codec(TINY), normalizer, plants, FAST, quiet=True)


def pair(arm="independent"):
    torch.manual_seed(0)
    model = nn.ModuleDict(dict(eye=Eye(TINY), net=Denoiser(TINY, "independent" if arm == "coordinated" else arm)))
    if arm == "coordinated":
        model["net"] = coordinated(model["net"])
    return model


# --------------------------------------------------------------------------------------------------------------- data


def test_volumes_are_those_of_the_world(plants):
    import numpy as np

    scene, rng = plant(1), np.random.default_rng((0, 1))
    for number in range(2):
        q = scene.motion(worlds.Wind.draw(rng))
        exact = torch.from_numpy(scene.spectrum(q, 48, 64, 4))
        found = plants.volumes(1)[number]
        torch.testing.assert_close(found, exact, atol=2e-3 * float(exact.abs().max()), rtol=0)
        torch.testing.assert_close(
            found, volume(torch.from_numpy(scene.flow(q, 48, 64)), 4), atol=2e-3 * float(exact.abs().max()), rtol=0
        )
    some = plants.volumes(1, torch.tensor([1]), torch.tensor([3, 0]))
    torch.testing.assert_close(some[0], plants.volumes(1)[1][[3, 0]])
    assert torch.equal(plants.pictures[1], torch.from_numpy(scene.picture(48, 64)).permute(2, 0, 1))


def test_pixels_of_one_stem_hear_of_its_modes_only(plants):
    """Every plant of the stand-in has several stems; each pixel belongs to one."""
    for modes, winds in zip(plants.modes, plants.winds):
        assert len(modes) == 8 < winds.shape[2]


def test_modes_of_any_unit():
    """Modes of flowers move a million pixels per unit, which float16 does not hold."""
    scene = plant(1)
    scene.geometry.motion *= 1e6
    real = scene.motion
    scene.motion = lambda wind: real(wind) / 1e6
    found, want = (collect([each], 2, TINY, quiet=True) for each in (scene, plant(1)))
    assert max(float(shapes.abs().max()) for shapes in found.shapes) == 1
    torch.testing.assert_close(found.volumes(0), want.volumes(0), atol=0.05, rtol=1e-3)


def test_plants_keep(plants, tmp_path):
    again = Plants.of(plants.tensors())
    assert again.tensors().keys() == plants.tensors().keys()
    assert all(torch.equal(again.tensors()[name], tensor) for name, tensor in plants.tensors().items())
    assert torch.equal(again.volumes(2), plants.volumes(2))
    other = collect((plant(seed) for seed in range(3)), 4, TINY, seed=1, quiet=True)
    digests = {
        CodecTraining(Codec(TINY), some, fit_normalizer(plants), FAST).digest() for some in (plants, again, other)
    }
    assert len(digests) == 2


def test_a_mirror():
    """Motion of the flipped field: a thing at the left that goes right becomes one at the right that goes left."""
    flow = torch.zeros(6, 2, 3, 5)
    flow[3, 0, 1, 0], flow[3, 1, 1, 0] = 2.0, 1.0
    other = torch.zeros(6, 2, 3, 5)
    other[3, 0, 1, 4], other[3, 1, 1, 4] = -2.0, 1.0
    torch.testing.assert_close(mirror(volume(flow, 3)), volume(other, 3))
    torch.testing.assert_close(mirror(mirror(volume(flow, 3))), volume(flow, 3))


def test_the_scale_of_a_sample_is_that_of_all(plants):
    whole = Normalizer.fit([v for p in range(3) for v in plants.volumes(p)])
    found = fit_normalizer(plants, pixels=600)
    torch.testing.assert_close(found.scale / whole.scale, torch.ones(4, 2), atol=0.15, rtol=0)


def test_latents(plants, normalizer, latents):
    """Straight and mirrored, whitened."""
    assert latents.values.shape == (3, 2, 4, 4, *TINY.latent)
    torch.manual_seed(0)
    codec = Codec(TINY)
    raw = torch.cat([codec.moments(normalizer(v))[0] for p in range(3) for v in (plants.volumes(p),)]).detach()
    mirrored = codec.moments(normalizer(mirror(plants.volumes(2))))[0].detach()
    encode(codec, normalizer, plants, FAST, quiet=True)
    want = torch.einsum("ij,nkjhw->nkihw", codec.whiten, raw - codec.mean[:, None, None])
    torch.testing.assert_close(latents.values[:, 0].flatten(0, 1).float(), want, atol=1e-2, rtol=1e-2)
    want = torch.einsum("ij,nkjhw->nkihw", codec.whiten, mirrored - codec.mean[:, None, None])
    torch.testing.assert_close(latents.values[2, 1].float(), want, atol=1e-2, rtol=1e-2)


# ----------------------------------------------------------------------------------------------------------- the runs


def test_the_codec_learns(plants, normalizer):
    """What comes out is nearer to the truth than no motion, and the background nearly stands."""
    torch.manual_seed(0)
    run = CodecTraining(Codec(TINY), plants, normalizer, replace(FAST, steps=60, lr=3e-3, average=0.9))
    run.run(quiet=True)
    assert sum(run.losses[-10:]) < 0.7 * sum(run.losses[:10])
    codec, volumes = run.averaged, plants.volumes(0)
    slices, picture = normalizer(volumes), (plants.pictures[:1].float() / 255).expand(4, -1, -1, -1)
    with torch.no_grad():
        found = codec.paint(codec.moments(slices)[0], picture)
    moves = volumes[0].abs().sum((0, 1)) > 0
    assert (found - slices).abs()[..., moves].mean() < 0.7 * slices.abs()[..., moves].mean()  # measured: 0.55
    assert found.abs()[..., ~moves].mean() < 0.05 * slices.abs()[..., moves].mean()


@pytest.mark.parametrize("objective", ["noise", "velocity"])
@pytest.mark.parametrize("arm", ["independent", "volume"])
def test_denoisers_learn(latents, arm, objective):
    run = DenoiserTraining(pair(arm), latents, replace(FAST, steps=80, batch=8, lr=2e-3, objective=objective))
    run.run(quiet=True)
    assert sum(run.losses[-15:]) < 0.92 * sum(run.losses[:15])


def test_stage_2_leaves_the_rest_alone(latents):
    model = pair("coordinated")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    run = DenoiserTraining(model, latents, replace(FAST, steps=5))
    run.run(quiet=True)
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved
    assert all(".across." in name for name in moved)
    assert set(run.learning) == {name for name in before if ".across." in name}
    free = DenoiserTraining(pair("coordinated"), latents, replace(FAST, steps=2, frozen=False))
    assert set(free.learning) == set(before)


def test_the_average_of_the_weights(latents):
    model = pair()
    run = DenoiserTraining(model, latents, replace(FAST, average=0.5))
    name = "net.leave.2.bias"
    mean = run.learning[name].detach().clone()
    for number in range(6):
        run.step()
        keep = min(0.5, (1 + number) / (10 + number))
        mean = keep * mean + (1 - keep) * run.learning[name].detach()
    torch.testing.assert_close(run.averaged.state_dict()[name], mean)
    assert not torch.equal(run.averaged.state_dict()[name], model.state_dict()[name])


@pytest.mark.parametrize("arm", ["independent", "coordinated"])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, latents, arm):
    whole = DenoiserTraining(pair(arm), latents, FAST)
    whole.run(quiet=True)
    path = tmp_path / "run.safetensors"
    DenoiserTraining(pair(arm), latents, FAST, path).run(until=7, quiet=True)
    second = DenoiserTraining(pair(arm), latents, FAST, path)
    assert len(second.losses) == second.iteration == 7
    second.run(quiet=True)
    assert second.losses == pytest.approx(whole.losses, rel=1e-4)  # last bits may differ: sums of convolutions
    torch.testing.assert_close(second.averaged.state_dict(), whole.averaged.state_dict(), rtol=1e-3, atol=1e-5)


def test_a_resumed_codec_equals_an_uninterrupted_one(tmp_path, plants, normalizer):
    def run(path=None):
        torch.manual_seed(0)
        return CodecTraining(Codec(TINY), plants, normalizer, replace(FAST, steps=8), path)

    whole, path = run(), tmp_path / "codec.safetensors"
    whole.run(quiet=True)
    run(path).run(until=3, quiet=True)
    second = run(path)
    second.run(quiet=True)
    assert second.losses == whole.losses


def test_other_settings_and_data_are_refused(tmp_path, latents):
    path = tmp_path / "run.safetensors"
    DenoiserTraining(pair(), latents, FAST, path).run(until=2, quiet=True)
    with pytest.raises(ValueError, match="trained with seed = 0, this run has 1"):
        DenoiserTraining(pair(), latents, replace(FAST, seed=1), path)
    with pytest.raises(ValueError, match="trained on other data"):
        DenoiserTraining(pair(), Latents(latents.pictures, latents.values + 1), FAST, path)
    with pytest.raises(ValueError, match="another model"):
        DenoiserTraining(pair("volume"), latents, FAST, path)


def test_the_condition_is_dropped_at_times(latents, monkeypatch):
    """A tenth of the pictures of a batch, so that guidance has something to lean on."""
    run, seen = DenoiserTraining(pair(), latents, replace(FAST, batch=200)), []
    forward = run.net.forward
    monkeypatch.setattr(run.net, "forward", lambda z, n, c, w: (seen.append(c), forward(z, n, c, w))[1])
    run.step()
    dropped = int((seen[0].abs().amax((1, 2, 3)) == 0).sum())
    assert 8 <= dropped <= 34  # 20 expected, standard deviation 4.2


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (dict(objective="score"), "objective must be one of noise, velocity"),
        (dict(slices=0), "slices at least 1"),
        (dict(precision="half"), "precision must be one of float32, bfloat16"),
        (dict(steps=0), "steps must be at least 1"),
        (dict(lr=0.0), "lr must be above 0"),
        (dict(average=1.0), "average 0 to below 1"),
    ],
)
def test_bad_settings(bad, message):
    with pytest.raises(ValueError, match=message):
        replace(FAST, **bad)


def test_two_processes_are_as_one(tmp_path):
    """Each half of the batch: the losses of one process, and the same weights on both."""
    from . import train_ranks

    environment = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE")} | dict(OMP_NUM_THREADS="1")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    subprocess.run([*command, str(HERE / "train_ranks.py"), str(tmp_path)], check=True, env=environment, timeout=300)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    torch.testing.assert_close(first["losses"], train_ranks.train(None)["losses"], atol=1e-5, rtol=1e-4)


# --------------------------------------------------------------------------------------------------------- all stages


STAGE = TrainConfig(steps=2, batch=2, slices=2, warmup=0)
SHORT = Recipe(TINY, plants=2, winds=2, codec=STAGE, single=STAGE, across=STAGE, finish=replace(STAGE, frozen=False))


def test_all_stages(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "scenes", lambda kinds, split, count: (plant(seed) for seed in range(count)))
    animator = train.make(SHORT, tmp_path, ["tree"], quiet=True)
    kept = Animator.load(tmp_path / "animator.safetensors")
    assert kept.net.arm == "coordinated"
    files = ("codec", "single", "across", "finish", "plants", "latents", "animator")
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.safetensors" for name in files}
    picture = train.collect([plant(5)], 1, TINY, quiet=True).pictures[0].permute(1, 2, 0).numpy()
    a, b = (each.draw(picture, calls=2) for each in (animator.eval(), kept))
    torch.testing.assert_close(a, b, atol=0.03 * float(a.abs().max()), rtol=0)
    monkeypatch.setattr(train, "collect", None)  # kept, so not made again; nor does anything train again
    monkeypatch.setattr(train, "encode", None)
    monkeypatch.setattr(train.AveragingTraining, "run", None)
    again = train.make(SHORT, tmp_path, ["tree"], quiet=True)
    for name, tensor in animator.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)


def test_a_recipe_for_velocity_makes_an_animator_that_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "scenes", lambda kinds, split, count: (plant(seed) for seed in range(count)))
    stages = {name: replace(getattr(SHORT, name), steps=1, objective="velocity") for name in train.STAGES}
    animator = train.make(replace(SHORT, **stages), tmp_path, ["tree"], quiet=True)
    assert animator.objective == Animator.load(tmp_path / "animator.safetensors").objective == "velocity"


@pytest.mark.parametrize("arm", ["independent", "volume", "coordinated", "unfrozen"])
def test_arms_see_as_many_slices_in_as_many_steps(latents, arm, monkeypatch):
    """All start from the same weights, whatever the global generator does."""
    seen, step = [], DenoiserTraining.step
    monkeypatch.setattr(DenoiserTraining, "step", lambda run: seen.append((run.net, run.config)) or step(run))

    def network(start):
        return nn.ModuleDict(dict(eye=Eye(TINY), net=Denoiser(TINY, start)))

    torch.manual_seed(1)
    _, losses, seconds = train.train_arm(arm, network, latents, replace(FAST, steps=2, seed=3))
    assert len(losses) == len(seen) == 4
    assert seconds > 0
    assert {(2 if net.arm == "independent" else 4) * config.batch for net, config in seen} == {8}
    two = arm in ("coordinated", "unfrozen")
    assert [net.arm for net, _ in seen] == (["independent"] * 2 + ["coordinated"] * 2 if two else [arm] * 4)
    assert [config.frozen for _, config in seen[2:]] == [arm != "unfrozen"] * 2
    torch.manual_seed(2)
    torch.testing.assert_close(losses, train.train_arm(arm, network, latents, replace(FAST, steps=2, seed=3))[1])


def test_the_command(tmp_path, monkeypatch):
    asked = {}
    monkeypatch.setattr(train, "make", lambda recipe, folder, kinds, group: asked.update(recipe=recipe, kinds=kinds))
    parser = argparse.ArgumentParser()
    train.arguments(parser)
    words = ["--folder", str(tmp_path), "--kinds", "tree", "--plants", "3", "--steps", "4"]
    assert train.run(parser.parse_args(words)) == 0
    assert asked["recipe"].plants == 3
    assert {getattr(asked["recipe"], stage).steps for stage in train.STAGES} == {4}
    assert asked["recipe"].finish.frozen is False
    assert asked["kinds"] == ["tree"]


def test_the_shipped_model_is_small():
    """As float16 below 8 MB."""
    assert 2 * sum(t.numel() for t in Animator(train.RECIPES["laptop"].model).state_dict().values()) < 8e6


def test_the_model_of_the_gpu_preset_fits_together():
    """Another depth of codec and a larger grid of latents: it draws."""
    model = Animator(train.RECIPES["gpu"].model)
    picture = np.random.default_rng(0).integers(0, 255, (160, 256, 3), dtype=np.uint8)
    S = model.draw(picture, [0], calls=1)
    assert S.shape == (1, 16, 2, 160, 256)
    assert S.isfinite().all()
    assert model.config.latent[-2:] == (20, 32)
