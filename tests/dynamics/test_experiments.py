"""Experiments: what arms are, every arm once, series that go on, the recorded runs and their command."""

import argparse
import json
import math
from dataclasses import asdict, replace

import pytest
import torch

from bestpapers.dynamics import experiments, toy
from bestpapers.dynamics.data import SOURCE
from bestpapers.dynamics.experiments import GRID, SETTINGS, Setting, Spatial
from bestpapers.dynamics.model import ARMS, Animator, Config
from bestpapers.dynamics.train import TrainConfig
from bestpapers.lab.files import FormatError

from .standin import plant

TOKENS = toy.Setting(winds=40, fresh=24, pixels=16, width=32, blocks=1, steps=2, batch=32, calls=3)
SPATIAL = Spatial(
    plants=2, winds=2, held_out=2, fresh=4, calls=2, model=Config(48, 64, slices=4, down=8, base=16, heads=2),
    train=TrainConfig(steps=2, batch=4, slices=2, warmup=0),
)  # fmt: skip
FAST = Setting("fast", tokens=TOKENS)


@pytest.fixture
def stand_in(monkeypatch):
    """The stand-in plant in the place of the world's, which take a second each."""
    real = toy.material
    monkeypatch.setattr(toy, "material", lambda setting, seed: real(setting, seed, plant(1)))
    experiments._tokens.cache_clear()
    yield
    experiments._tokens.cache_clear()


def test_arms_of_the_toy():
    base = SETTINGS["tokens"].tokens
    assert experiments.token_setting("volume", base) == ("volume", base)
    assert experiments.token_setting("K24", base) == ("coordinated", replace(base, slices=24))
    assert experiments.token_setting("log", base) == ("coordinated", replace(base, normalize="log"))
    assert experiments.token_setting("velocity", base) == ("coordinated", replace(base, objective="velocity"))
    with pytest.raises(ValueError, match="expected one of independent"):
        experiments.token_setting("K5", base)
    assert all(experiments.token_setting(arm, base) for name in ("tokens", "long") for arm in GRID[name])


@pytest.mark.parametrize("arm", GRID["tokens"])
def test_every_arm_of_the_toy(stand_in, arm):
    run, scores, data = experiments.run_tokens(arm, 3, TOKENS)
    assert len(run.losses) == 4
    slices = {"K4": 4, "K8": 8, "K24": 24}.get(arm, 16)
    assert data.tokens.shape == (40, slices, 8)
    assert data.truth.shape[1] == 24
    calls = {f"distance.{n}" for n in experiments.CALLS}
    assert (calls <= set(scores)) is (arm in ("coordinated", "velocity"))
    assert all(math.isfinite(value) for value in scores.values())


@pytest.fixture(scope="module")
def field():
    return experiments.field_of(SPATIAL, 0, "adaptive", [plant(0), plant(1)], [plant(7), plant(8)])


def test_the_spatial_data(field):
    """Latents have deviation 1; what goes back from them is what they were made of; held-out plants have a background."""
    assert field.latents.values.shape == (2, 2, 2, 4, 4, 6, 8)
    assert field.latents.values.float().std().item() == pytest.approx(1, abs=0.01)
    spectra = field.spectra(field.latents.values[0, 0])
    picture, truth, mask = field.tests[0]
    assert spectra.shape == (2, 4, 2, 6, 8)
    assert picture.shape == (3, 48, 64)
    assert truth.shape == (4, 4, 2, 6, 8)
    assert 0 < mask.sum() < 48
    assert (truth[..., ~mask] == 0).all()


@pytest.mark.parametrize("arm", GRID["spatial"])
def test_every_spatial_arm(field, arm):
    model, losses, _, scores, _ = experiments.run_spatial(arm, 0, SPATIAL, field)
    assert len(losses) == 4
    assert model["net"].arm == (arm if arm in ARMS else dict(unfrozen="coordinated").get(arm, "independent"))
    assert {"distance", "leak", "correlation", "first"} <= set(scores)
    with pytest.raises(ValueError, match="expected one of"):
        experiments.run_spatial("joint", 0, SPATIAL, field)


def test_an_animator_is_scored_like_an_arm():
    """An untrained one says something of noise: neither of the plant's strength nor of its outline."""
    config = SPATIAL.model
    found = experiments.score_animator(Animator(config).eval(), [plant(7), plant(8)], samples=4, calls=2)
    assert set(found) == {"model", "floor"}
    assert found["model"]["distance"] > 5 * found["floor"]["distance"]
    assert found["floor"]["leak"] == 0 < found["model"]["leak"]


def test_a_seed_is_the_experiment_made_anew(stand_in):
    a, b = (experiments._row("independent", seed, FAST) for seed in (1, 2))
    assert a["data"] != b["data"]
    assert a["scores"] != b["scores"]
    again = experiments._row("independent", 1, FAST)
    assert again["scores"] == a["scores"]
    assert again["data"] == a["data"]


def test_an_interrupted_series_goes_on(stand_in, tmp_path, monkeypatch):
    path, ran = tmp_path / "fast.json", []
    row = experiments._row

    def counted(arm, seed, setting):
        ran.append((arm, seed))
        if len(ran) == 3:
            raise KeyboardInterrupt
        return row(arm, seed, setting)

    monkeypatch.setattr(experiments, "_row", counted)
    with pytest.raises(KeyboardInterrupt):
        experiments.compare(FAST, ["independent", "volume"], [1, 2], path, workers=1)
    found = experiments.compare(FAST, ["independent", "volume"], [1, 2], path, workers=1)
    assert ran == [("independent", 1), ("volume", 1), ("independent", 2), ("independent", 2), ("volume", 2)]
    assert len(found.rows) == 4
    low, mean, high = sorted(found.paired("fast", "independent", "volume", "distance"))
    assert low <= mean <= high
    with pytest.raises(ValueError, match="other settings"):
        experiments.compare(Setting("fast", tokens=replace(TOKENS, steps=3)), ["volume"], [1], path)


def test_recording(stand_in, tmp_path, monkeypatch):
    monkeypatch.setattr(experiments, "SETTINGS", {"fast": FAST})
    monkeypatch.setattr(experiments, "GRID", {"fast": ("independent",)})
    monkeypatch.setattr(experiments, "SEEDS", (1, 2))
    parser = argparse.ArgumentParser()
    experiments.arguments(parser)
    assert experiments.run(parser.parse_args(["--record", "--folder", str(tmp_path)])) == 0
    kept = json.loads((tmp_path / "fast.json").read_text())
    assert set(kept["rows"]) == {"fast/independent/1", "fast/independent/2"}
    assert set(kept["bounds"]) == {"1", "2"}
    assert set(kept["bounds"]["1"]) == {"floor", "tokens", "ceiling"}
    assert "experiments --record fast" in kept["command"]
    found = experiments.load(["fast"], tmp_path)
    assert found.values("fast", "independent", "distance").keys() == {1, 2}
    assert found.about["fast"]["bounds"] == kept["bounds"]
    with pytest.raises(FormatError, match="experiments --record other"):
        experiments.load(["other"], tmp_path)


def test_bounds_of_the_spatial_setting(field, monkeypatch):
    monkeypatch.setattr(experiments, "_field", lambda setting, seed, normalize: field)
    bigger = [(p, torch.cat([t, t.roll(1, -1)]), m) for p, t, m in field.tests]
    monkeypatch.setattr(experiments, "_field", lambda *a: replace(field, tests=tuple(bigger)))
    found = experiments.bounds(Setting("s", spatial=SPATIAL), 1)
    assert found["floor"]["distance"] < found["ceiling"]["distance"]


@pytest.mark.parametrize("name", [name for name in GRID if (experiments.FOLDER / f"{name}.json").exists()] or [None])
def test_the_recorded_runs_are_complete(name):
    """Of the code's settings, all arms and seeds, of today's plants."""
    if name is None:
        pytest.skip("nothing is recorded yet")
    found = experiments.load([name])
    assert set(found.rows) == {f"{name}/{arm}/{seed}" for arm in GRID[name] for seed in experiments.SEEDS}
    assert found.settings[name] == json.loads(json.dumps(asdict(SETTINGS[name])))
    assert json.loads((experiments.FOLDER / f"{name}.json").read_text())["source"] == SOURCE
