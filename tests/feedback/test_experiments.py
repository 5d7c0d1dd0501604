"""Experiments: what arms are, every arm once, series that go on, the recorded runs and their command."""

import argparse
import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bestpapers.feedback import data, experiments, improve, weights
from bestpapers.feedback.experiments import (
    GRID,
    MASKS,
    SETTINGS,
    TUNED,
    Drawn,
    Filter,
    Guidance,
    Hacking,
    Inpaint,
    Scores,
    Transfer,
)
from bestpapers.feedback.model import RAHF, TwoTowers, as_batch
from bestpapers.feedback.train import TowersTraining, TrainConfig
from bestpapers.lab.files import FormatError

from .tiny import MODEL, PANEL, STEPS, make_weights

SCORED = Scores(
    MODEL, STEPS, PANEL, pictures=10, held_out=8, labels=(4, 8), pairs=8, towers=STEPS
)  # fmt: skip
MOVED = Transfer(MODEL, STEPS, PANEL, pictures=6, held_out=5, steps=2)
SMALL = dict(prompts=3, steps=2)
TUNE = Filter(
    **SMALL, own=4, tries=2, least=0.0, threshold=0.5, rank=2, train=TrainConfig(steps=2, batch=4, warmup=0, lr=0.05),
    preference=improve.PreferenceConfig(batch=2, group=2, warmup=0, lr=0.05, least=1e-9),
)  # fmt: skip
LED = Guidance(**(SMALL | dict(prompts=2)), dev=2, ways=(("flow", (0.0, 4.0)), ("masked", (0.0, 4.0))))

PUSHED = Hacking(
    MODEL, STEPS, PANEL, **(SMALL | dict(prompts=2)), dev=1, pictures=6, tether=1e4,
    ways=(("led", ("one", "two"), (400.0,)), ("pixels", ("one", "two", "tether"), (1, 8))),
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def shipped(tmp_path_factory):
    """Untrained weights in the place of those that are shipped."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "HERE", make_weights(tmp_path_factory.mktemp("weights")))
        patch.setenv("BESTPAPERS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
    for cached in ("material", "transferred", "_known", "_own", "_old", "_painted", "_rivals", "_pressed"):
        getattr(experiments, cached).cache_clear()


def finite(row):
    assert row["scores"]
    assert all(math.isfinite(value) for value in row["scores"].values())
    return row["scores"]


@pytest.mark.parametrize("arm", GRID["scores"])
def test_every_arm_of_the_scores(arm):
    row = experiments.rows(arm, 3, SCORED)[3]
    found = finite(row)
    assert "plausibility.mse" in found
    maps = {"implausibility.cc", "misalignment.cc"}
    assert maps & set(found) == (set() if arm == "probe" else {"misalignment.cc"} if arm == "towers" else maps)
    assert ("words.recall" in found) == (arm not in ("image", "towers", "probe"))
    assert ("head.f1" in found) == (arm in ("multi-head", "augmented", "multi-head-compute", "scores-only", "few"))
    if arm == "probe":
        assert {"plausibility.mse.4", "plausibility.mse.8"} <= set(found)
        assert found["overall.mse"] == found["overall.mse.8"] != found["overall.mse.4"]
    if arm == "panel":
        assert found["plausibility.plcc"] > 0.5
    if arm not in ("blob", "panel", "probe"):
        assert row["steps"] == (experiments.equal_compute(MODEL, 2) if arm == "multi-head-compute" else 2)
        assert row["products"] > row["weights"] > 1000
        same = experiments.rows("multi-head", 3, SCORED)[3]["data"] == row["data"]
        assert same == (arm != "few")  # of which it sees a part


def test_a_seed_is_the_experiment_made_anew():
    a, b = (experiments.rows("towers", seed, SCORED)[seed] for seed in (1, 2))
    assert a["data"] != b["data"]
    assert a["scores"] != b["scores"]
    assert experiments.rows("towers", 1, SCORED)[1]["scores"] == a["scores"]


def test_two_panels_err_in_different_ways():
    shown = experiments.material(SCORED, 1)[1]
    first, second = ([label.scores["plausibility"] for label in side] for side in (shown.labels, shown.second))
    assert first != second
    again = experiments.Shown.of(data.records("test", 8, size=32, seed=1), PANEL, 1)
    assert [label.scores for label in again.labels] == [label.scores for label in shown.labels]


def test_equal_compute():
    """The augmented variant fuses once for each of seven outputs: it costs more, but not seven times as much."""
    config = SETTINGS["scores"].model
    both = [RAHF(replace(config, variant=name)) for name in ("multi-head", "augmented")]
    multi, augmented = map(experiments.products, both)
    assert multi < augmented < 7 * multi
    steps = experiments.equal_compute(config, 600)
    assert abs(steps * multi - 600 * augmented) < multi


def test_scores_only_learns_from_nothing_else():
    model, _ = experiments.learned("scores-only", experiments.material(SCORED, 3)[0], SCORED, 3)
    fresh, _ = experiments.learned(
        "scores-only", experiments.material(SCORED, 3)[0], SCORED, 3, replace(STEPS, lr=1e-9)
    )
    same = {
        n.split(".")[0] for n, p in model.named_parameters() if torch.allclose(p, fresh.get_parameter(n), atol=1e-7)
    }
    assert {"maps", "word", "decoder"} <= same
    assert not {"scores"} & same


def test_a_run_goes_on_from_its_checkpoint(tmp_path):
    known, longer = experiments.material(SCORED, 3)[0], replace(STEPS, steps=4)
    whole, said = experiments.learned("towers", known, SCORED, 3, longer, tmp_path / "run.safetensors")
    again, more = experiments.learned("towers", known, SCORED, 3, longer, tmp_path / "run.safetensors")
    assert said == more
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters()))
    with pytest.raises(ValueError, match="other data"):
        experiments.learned("towers", known[:5], SCORED, 3, longer, tmp_path / "run.safetensors")


def test_prompts_to_be_tested_on_are_new_to_the_generators():
    known = experiments._known_prompts()
    assert set(experiments.prompts_of("train", 20, 0)) <= known
    for split in ("dev", "test"):
        found = experiments.prompts_of(split, 40, 1)
        assert len(found) == 40
        assert not known & set(found)
    assert found[:5] == experiments.prompts_of("test", 5, 1)


def test_towers_learn_without_labels():
    torch.manual_seed(0)
    pictures, prompts = data.pairs("train", 8, size=32, seed=0)
    run = TowersTraining(TwoTowers(MODEL), pictures, prompts, TrainConfig(steps=60, batch=8, lr=3e-3, warmup=0))
    run.run(quiet=True)
    assert np.mean(run.losses[-5:]) < 0.7 * np.mean(run.losses[:5])
    alike = TowersTraining(TwoTowers(MODEL), pictures, prompts[:1] * 8, TrainConfig(steps=1, batch=8))
    alike.model.cosine = lambda pictures, tokens: (torch.ones(8, 2), torch.ones(8, 2), None)
    assert float(alike.loss(torch.Generator().manual_seed(0))) == pytest.approx(math.log(8))  # nothing to tell apart


def test_samples_come_with_the_judges_truth():
    """Half of them with a caption that they were not drawn for; what the judge says is of the caption that is shown."""
    found = list(experiments.samples("weak", "train", 12, 0, 2))
    asked = experiments.prompts_of("train", 12, 0)
    same = [record.prompt == prompt for record, prompt in zip(found, asked)]
    assert 2 <= sum(same) <= 10
    for record in found[:3]:
        (said,) = improve.by_judge(record.picture[None], [record.prompt])
        assert said.scores == record.feedback.scores
        np.testing.assert_array_equal(said.maps["misalignment"], record.feedback.maps["misalignment"])


@pytest.mark.parametrize("arm", GRID["transfer"])
def test_every_arm_of_the_transfer(arm):
    found = finite(experiments.rows(arm, 1, MOVED)[1])
    assert {"plausibility.mse", "implausibility.mse"} <= set(found)
    assert len(experiments.transferred(MOVED, 1).labels) == 5


@pytest.mark.parametrize("arm", GRID["generators"])
def test_every_generator(arm):
    found = finite(experiments.rows(arm, 1, Drawn(**SMALL))[1])
    assert (found["plausibility"] > 0.9) == (arm == "true")
    assert ("diversity" in found) == (arm not in ("true", "tokenizer"))
    assert ("psnr" in found) == (arm == "tokenizer")


@pytest.mark.parametrize("arm", TUNED)
def test_every_way_of_tuning(arm):
    found = finite(experiments.rows(arm, 1, TUNE)[1])
    assert {"plausibility", "alignment", "votes", "rahf"} <= set(found)
    assert ({"first", "last"} <= set(found)) is arm.startswith("preference")
    assert found.get("kept", 1) == (0 if arm == "none" else 1)
    if arm == "none":
        assert found["same"] == 1
    if arm == "best-of":
        return
    before, (tuned, _) = weights.load_generator(), experiments.tuned(arm, 1, TUNE)
    names = {name for name, _ in tuned.named_parameters()}
    assert names == {name for name, _ in before.named_parameters()}  # nothing of `adapt` is left
    moved = [n for n, p in tuned.named_parameters() if not torch.allclose(p, before.get_parameter(n), atol=1e-7)]
    if arm != "rich-oracle":  # in pictures of an untrained generator nothing is right, and there is nothing to learn
        assert bool(moved) is (arm != "none")
    assert all("transformer.blocks" in name for name in moved)


def test_the_control_keeps_the_prompts():
    own, rated, _, _ = experiments._own(TUNE, 1)
    assert own.tries == 2
    assert rated.shape == (4, 2)
    assert experiments.prompts_of("train", 4, 1) == list(own.prompts)


def test_guidance():
    rows = {way: experiments.rows(way, 1, LED) for way in ("flow.0", "flow.1e6", "masked.0", "masked.4")}
    for found in rows.values():
        assert set(found) == {0, 1}
        assert all({"plausibility", "alignment", "rahf", "diversity"} <= set(finite(row)) for row in found.values())
    assert rows["flow.0"] != rows["flow.1e6"]  # of an untrained flow, which hardly hears
    found = experiments.chosen_weights(LED)
    assert found["flow"]["chosen"] == "flow.4"
    assert set(found["masked"]["dev"]) == {"0", "4"}


@pytest.fixture(scope="module")
def paint(shipped):
    """A threshold that marks some of the pixels."""
    prompts = experiments.prompts_of("test", 3, 1)
    pictures = weights.load_generator().draw(prompts, 1, steps=2)
    maps = [feedback.maps["implausibility"] for feedback in weights.load().predict(pictures, prompts)]
    return Inpaint(**SMALL, tries=2, dilate=0, threshold=float(np.quantile(np.stack(maps), 0.97)))


def test_masks_of_equal_area(paint):
    masks = {name: experiments.mask_of(name, paint) for name in MASKS}
    assert masks["rahf"].any()
    assert not masks["rahf"].all()
    for name in ("elsewhere", "elsewhere-foreground"):
        np.testing.assert_array_equal(masks[name].sum((1, 2)), masks["rahf"].sum((1, 2)))
        part = masks["rahf"].any((1, 2)) & ~masks["rahf"].all((1, 2))
        assert (masks[name] != masks["rahf"])[part].any()
    np.testing.assert_array_equal(masks["whole"].all((1, 2)), masks["rahf"].any((1, 2)))
    for mask in masks.values():  # whole tokens
        tokens = mask.reshape(3, 4, 8, 4, 8)
        assert (tokens.any((2, 4)) == tokens.all((2, 4))).all()


def test_inpainting(paint):
    rows = {arm: experiments.rows(arm, 1, paint) for arm in GRID["inpaint"]}
    for found in rows.values():
        assert set(found) == {0, 1, 2}
        assert all({"plausibility", "alignment", "rahf", "tokens"} <= set(finite(row)) for row in found.values())
    for n in range(3):
        said = {arm: found[n]["scores"] for arm, found in rows.items()}
        for mask in MASKS:
            most = max(said[f"{mask}.{pick}"]["rahf"] for pick in ("one", "chance"))
            assert said[f"{mask}.rahf"]["rahf"] >= most - 1e-5  # in another batch the last digits are others
        assert said["rahf.keep"]["rahf"] >= max(said["rahf.rahf"]["rahf"], said["before"]["rahf"]) - 1e-5
        assert said["before"]["tokens"] == 0 <= said["rahf.one"]["tokens"] == said["elsewhere.one"]["tokens"]


def test_a_few_prompts_can_be_painted_again(paint, monkeypatch):
    """Prompts are drawn in parts: the first of them come out the same without the others."""
    monkeypatch.setattr(experiments, "PART", 2)
    whole = replace(paint, seed=2)
    for arm in ("before", "rahf.one", "elsewhere.rahf"):
        all_, some = (experiments.rows(arm, 2, setting) for setting in (whole, replace(whole, prompts=2)))
        assert set(some) == {0, 1}
        for n in some:
            assert some[n]["scores"] == pytest.approx(all_[n]["scores"], abs=1e-5)


def test_every_way_of_pushing():
    rows = {arm: experiments.rows(arm, 1, PUSHED) for arm in PUSHED.arms}
    assert len(PUSHED.arms) == 1 + 2 + 6
    for found in rows.values():
        assert set(found) == {0, 1}
        for row in found.values():
            assert {"plausibility", "alignment", "rahf", "one", "other", "diversity"} <= set(finite(row))
    assert rows["none"][0]["scores"]["one"] != rows["none"][0]["scores"]["other"]
    for arm in ("led-one.400", "pixels-one.8", "pixels-two.8"):
        assert rows[arm] != rows["none"]
    assert rows["pixels-one.8"] != rows["pixels-tether.8"]
    assert set(experiments.dev_means(PUSHED)) == set(PUSHED.arms)


def test_several_models_say_the_mean_of_what_each_says():
    rivals, (pictures, prompts) = experiments._rivals(PUSHED), data.pairs("test", 2, size=32)
    one, other, two = (rivals[who].predict(pictures, prompts) for who in ("one", "other", "two"))
    for a, b, both in zip(one, other, two):
        assert both.scores["overall"] == pytest.approx((a.scores["overall"] + b.scores["overall"]) / 2)
        np.testing.assert_allclose(both.maps["misalignment"], (a.maps["misalignment"] + b.maps["misalignment"]) / 2)
        np.testing.assert_allclose(both.misaligned, (a.misaligned + b.misaligned) / 2)
    inside, tokens = as_batch(pictures), rivals["two"].vocabulary(prompts)
    logits = [rivals[who](inside, tokens, ask=("overall",)).scores["overall"] for who in ("one", "other", "two")]
    torch.testing.assert_close(logits[2], (logits[0] + logits[1]) / 2)


@pytest.fixture
def fast(monkeypatch):
    monkeypatch.setattr(experiments, "SETTINGS", {"fast": SCORED, "led": LED})
    monkeypatch.setattr(experiments, "GRID", {"fast": ("towers", "blob"), "led": ("flow.0", "flow.4")})
    monkeypatch.setattr(experiments, "SEEDS", (1, 2))


def test_an_interrupted_series_goes_on(fast, tmp_path, monkeypatch):
    ran, rows = [], experiments.rows

    def counted(arm, seed, setting, checkpoint):
        ran.append((arm, seed))
        if len(ran) == 3:
            raise KeyboardInterrupt
        return rows(arm, seed, setting, checkpoint)

    monkeypatch.setattr(experiments, "rows", counted)
    with pytest.raises(KeyboardInterrupt):
        experiments.record("fast", tmp_path)
    experiments.record("fast", tmp_path)
    assert ran == [("towers", 1), ("blob", 1), ("towers", 2), ("towers", 2), ("blob", 2)]
    found = experiments.load(["fast"], tmp_path)
    assert set(found.about["fast"]["agreement"]) == {"1", "2"}
    low, mean, high = sorted(found.paired("fast", "towers", "blob", "plausibility.mse"))
    assert low <= mean <= high
    monkeypatch.setattr(experiments, "SETTINGS", {"fast": replace(SCORED, pictures=11)})
    with pytest.raises(ValueError, match="other settings"):
        experiments.record("fast", tmp_path)


def test_recording_by_prompts(fast, tmp_path):
    parser = argparse.ArgumentParser()
    experiments.arguments(parser)
    assert experiments.run(parser.parse_args(["--record", "led", "--folder", str(tmp_path)])) == 0
    kept = json.loads((tmp_path / "led.json").read_text())
    assert set(kept["rows"]) == {f"led/{arm}/{n}" for arm in ("flow.0", "flow.4") for n in (0, 1)}
    assert kept["weights"]["flow"]["chosen"] == "flow.4"
    assert kept["settings"]["led"]["weights"] == weights.digest()
    assert "experiments --record led" in kept["command"]
    found = experiments.load(["led"], tmp_path)
    assert set(found.values("led", "flow.4", "plausibility")) == {0, 1}
    with pytest.raises(FormatError, match="experiments --record other"):
        experiments.load(["other"], tmp_path)


def test_the_grid_is_of_its_settings():
    """Arms of prompts name weights of their setting; no arm is there twice."""
    assert set(GRID) == set(SETTINGS)
    ways = {f"{way}.{weight:g}" for way, tried in SETTINGS["guidance"].ways for weight in tried}
    assert set(GRID["guidance"]) == ways
    hacking = SETTINGS["hacking"]
    assert GRID["hacking"] == hacking.arms
    assert all(len(set(arms)) == len(arms) for arms in GRID.values())
    assert {"flow.0", "masked.0"} <= ways


@pytest.mark.parametrize("name", [name for name in GRID if (experiments.FOLDER / f"{name}.json").exists()] or [None])
def test_the_recorded_runs_are_complete(name):
    """Of the code's settings, all arms and seeds or prompts, of today's world and weights."""
    if name is None:
        pytest.skip("nothing is recorded yet")
    found, setting = experiments.load([name]), SETTINGS[name]
    by = range(setting.prompts) if isinstance(setting, experiments.ByPrompt) else experiments.SEEDS
    assert set(found.rows) == {f"{name}/{arm}/{n}" for arm in GRID[name] for n in by}
    if not isinstance(setting, Scores):
        shipped = Path(weights.__file__).parent
        setting = replace(setting, weights=weights._digest(shipped))
    assert found.settings[name] == json.loads(json.dumps(asdict(setting)))
    assert json.loads((experiments.FOLDER / f"{name}.json").read_text())["source"] == data.SOURCE
    for row in found.rows.values():
        finite(row)
