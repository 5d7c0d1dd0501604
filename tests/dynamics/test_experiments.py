"""Experiments: what arms are, every arm once, series that go on, the recorded runs and their command."""

import argparse
import json
import math
from dataclasses import asdict, replace

import pytest
import torch

from bestpapers.dynamics import experiments, measured, render, toy, train, worlds
from bestpapers.dynamics.data import SOURCE
from bestpapers.dynamics.experiments import GRID, RIVALS, SETTINGS, Painted, Spatial, arm_of
from bestpapers.dynamics.model import ARMS, Animator, Config
from bestpapers.dynamics.train import TrainConfig
from bestpapers.lab.files import FormatError

from .standin import plant

TOKENS = toy.Setting(winds=40, fresh=24, pixels=16, width=32, blocks=1, steps=2, batch=32, calls=3)
SPATIAL = Spatial(
    plants=2, winds=2, held_out=2, fresh=8, calls=2, model=Config(48, 64, slices=4, down=8, base=16, heads=2),
    train=TrainConfig(steps=2, batch=4, slices=2, warmup=0),
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def stand_in():
    """Stand-in plants in the place of the world's, which take a second each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worlds, "make_scene", lambda kind, seed: plant(seed % 1000))
        for cached in (toy._volumes, experiments._coarse):
            cached.cache_clear()
        yield
    for cached in (toy._volumes, experiments._coarse):
        cached.cache_clear()


def test_arms():
    tokens, spatial = SETTINGS["tokens"], SETTINGS["spatial"]
    assert arm_of("volume", tokens) == ("volume", tokens)
    assert arm_of("K24", tokens) == ("coordinated", replace(tokens, slices=24))
    assert arm_of("log", tokens) == ("coordinated", replace(tokens, normalize="log"))
    assert arm_of("velocity", tokens) == ("coordinated", replace(tokens, objective="velocity"))
    assert arm_of("resolution", spatial) == ("independent", replace(spatial, normalize="resolution"))
    assert arm_of("unfrozen", spatial) == ("unfrozen", spatial)
    for arm, setting in (("K5", tokens), ("unfrozen", tokens), ("K8", spatial)):
        with pytest.raises(ValueError, match="expected one of independent"):
            arm_of(arm, setting)
    assert all(arm_of(arm, SETTINGS[name]) for name in ("long", "spatial") for arm in GRID[name])
    assert all(arm_of(arm, tokens) for arm in TRAINED)


TRAINED = [arm for arm in GRID["tokens"] if arm not in RIVALS]


@pytest.mark.parametrize("arm", TRAINED)
def test_every_arm_of_the_toy(arm):
    model, scores, about = experiments.run_arm(arm, 3, TOKENS)
    assert model["net"].config.slices == {"K4": 4, "K8": 8, "K24": 24}.get(arm, 16)
    assert about.keys() == {"loss", "seconds", "data"}
    calls = {f"distance.{n}" for n in experiments.CALLS}
    over_time = {f"window.{n}" for n in range(0, 150, 30)}
    assert (calls | over_time <= set(scores)) is (arm in ("coordinated", "velocity"))
    assert all(math.isfinite(value) for value in scores.values())


def test_what_goes_frame_by_frame():
    """Of a linear world both rivals are nearly right at first; the one that adds steps up drifts, the other does not."""
    setting = replace(TOKENS, winds=200, fresh=200)
    rows = {arm: experiments._row(arm, 1, setting)["scores"] for arm in RIVALS}
    assert set(rows["steps"]) >= {"distance", "correlation", "window.0", "window.120"}
    assert rows["steps"]["window.120"] > 3 * rows["steps"]["window.0"]
    assert rows["positions"]["window.120"] < rows["steps"]["window.120"] / 2
    clips, truth = toy.frame_by_frame(setting, 1, add=True)
    assert clips.shape == truth.shape == (200, 150, 2, 1, 16)
    assert clips[:, 0].abs().max() < 1e-5
    torch.testing.assert_close(toy.frame_by_frame(setting, 1, add=True)[0], clips)


def test_renderers_are_scored_on_plants_they_have_not_seen(monkeypatch):
    tried = []
    monkeypatch.setattr(experiments.render, "score", lambda *a: tried.append(a) or dict(psnr=20.0 + len(tried)))
    small = Painted(scenes=1, held_out=1, every=50, size=(48, 64), train=render.TrainConfig(steps=1, batch=1, crop=32))
    for arm in GRID["renderers"]:
        row = experiments._row(arm, 1, small)
        assert row["data"]
    assert row["scores"] == dict(psnr=26.5)  # the mean over one plant of each of the four kinds


@pytest.mark.parametrize("normalize", ["adaptive", "resolution"])
def test_the_spatial_data(normalize):
    """Latents have deviation 1; what goes back from them is what they were made of; held-out plants have a background."""
    data = replace(SPATIAL, normalize=normalize).material(0)
    values = data.latents.values
    assert values.shape == (2, 2, 2, 4, 4, 6, 8)
    assert values.float().std().item() == pytest.approx(1, abs=0.01)
    picture, truth, mask = data.tests[0]
    assert picture.shape == (3, 48, 64)
    assert truth.shape == (8, 4, 2, 6, 8)
    assert 0 < mask.sum() < 48
    assert (truth[..., ~mask] == 0).all()
    torch.testing.assert_close(data.back(data.forward(truth)), truth, atol=1e-3, rtol=1e-3)
    straight, mirrored = data.back(values[1, 0]), data.back(values[1, 1])
    torch.testing.assert_close(train.mirror(straight), mirrored)


def test_what_is_normalised_is_what_the_scale_was_taken_from():
    """Of cells that move, a twentieth of all numbers of each slice is above 1, as everywhere else."""
    setting = replace(SPATIAL, plants=4, winds=4)
    data = setting.material(0)
    values = data.latents.values[:, 0].float()
    moves = (values != 0).any(3).any(2).any(1)  # (P, h, w)
    rows = torch.cat([v.movedim(1, 0)[..., m].flatten(1) for v, m in zip(values, moves)], 1)
    heights = rows[1:].abs().quantile(0.95, 1)
    torch.testing.assert_close(heights / heights.mean(), torch.ones(3), atol=0.02, rtol=0)


@pytest.mark.parametrize("arm", GRID["spatial"])
def test_every_spatial_arm(arm):
    model, scores, _ = experiments.run_arm(arm, 0, SPATIAL)
    assert model["net"].arm == (arm if arm in ARMS else dict(unfrozen="coordinated").get(arm, "independent"))
    assert {"distance", "leak", "correlation", "first"} <= set(scores)


def test_an_animator_is_scored_like_an_arm():
    """An untrained one says something of noise: neither of the plant's strength nor of its outline."""
    config = SPATIAL.model
    found = experiments.score_animator(Animator(config).eval(), [plant(7), plant(8)], samples=4, calls=2)
    assert set(found) == {"model", "floor"}
    assert found["model"]["distance"] > 5 * found["floor"]["distance"]
    assert found["floor"]["leak"] == 0 < found["model"]["leak"]


def test_a_seed_is_the_experiment_made_anew():
    a, b = (experiments._row("independent", seed, TOKENS) for seed in (1, 2))
    assert a["data"] != b["data"]
    assert a["scores"] != b["scores"]
    again = experiments._row("independent", 1, TOKENS)
    assert again["scores"] == a["scores"]
    assert again["data"] == a["data"]


@pytest.fixture
def fast(monkeypatch):
    monkeypatch.setattr(experiments, "SETTINGS", {"fast": TOKENS})
    monkeypatch.setattr(experiments, "GRID", {"fast": ("independent", "volume")})
    monkeypatch.setattr(experiments, "SEEDS", (1, 2))


def test_an_interrupted_series_goes_on(fast, tmp_path, monkeypatch):
    ran, row = [], experiments._row

    def counted(arm, seed, setting):
        ran.append((arm, seed))
        if len(ran) == 3:
            raise KeyboardInterrupt
        return row(arm, seed, setting)

    monkeypatch.setattr(experiments, "_row", counted)
    with pytest.raises(KeyboardInterrupt):
        experiments.record("fast", tmp_path)
    experiments.record("fast", tmp_path)
    assert ran == [("independent", 1), ("volume", 1), ("independent", 2), ("independent", 2), ("volume", 2)]
    found = experiments.load(["fast"], tmp_path)
    assert len(found.rows) == 4
    low, mean, high = sorted(found.paired("fast", "independent", "volume", "distance"))
    assert low <= mean <= high
    monkeypatch.setattr(experiments, "SETTINGS", {"fast": replace(TOKENS, steps=3)})
    with pytest.raises(ValueError, match="other settings"):
        experiments.record("fast", tmp_path)


def test_recording(fast, tmp_path):
    parser = argparse.ArgumentParser()
    experiments.arguments(parser)
    assert experiments.run(parser.parse_args(["--record", "--folder", str(tmp_path)])) == 0
    kept = json.loads((tmp_path / "fast.json").read_text())
    assert set(kept["rows"]) == {f"fast/{arm}/{seed}" for arm in ("independent", "volume") for seed in (1, 2)}
    assert set(kept["bounds"]) == {"1", "2"}
    assert set(kept["bounds"]["1"]) == {"floor", "latents", "ceiling"}
    assert "experiments --record fast" in kept["command"]
    found = experiments.load(["fast"], tmp_path)
    assert found.values("fast", "independent", "distance").keys() == {1, 2}
    assert found.about["fast"]["bounds"] == kept["bounds"]
    with pytest.raises(FormatError, match="experiments --record other"):
        experiments.load(["other"], tmp_path)


def test_bounds_of_the_spatial_setting():
    """The way to latents and back loses nothing: what they keep is the truth."""
    found = experiments.bounds(SPATIAL, 1)
    assert found["floor"]["distance"] < found["ceiling"]["distance"]
    assert found["latents"] == pytest.approx(found["floor"], abs=1e-3)


@pytest.mark.parametrize("name", [name for name in GRID if (experiments.FOLDER / f"{name}.json").exists()] or [None])
def test_the_recorded_runs_are_complete(name):
    """Of the code's settings, all arms and seeds, of today's plants."""
    if name is None:
        pytest.skip("nothing is recorded yet")
    found = experiments.load([name])
    seeds = measured.SEEDS if name in measured.SETTINGS else experiments.SEEDS
    assert set(found.rows) == {f"{name}/{arm}/{seed}" for arm in GRID[name] for seed in seeds}
    setting = SETTINGS[name]
    if isinstance(setting, measured.Measured):  # what was found out first is noted there
        setting = replace(setting, flows=tuple(found.settings[name]["flows"]))
    if isinstance(setting, measured.Shipped):
        setting = replace(setting, weights=measured.digest())
    assert found.settings[name] == json.loads(json.dumps(asdict(setting)))
    assert json.loads((experiments.FOLDER / f"{name}.json").read_text())["source"] == SOURCE
