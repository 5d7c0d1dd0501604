"""The trained model: making it anew in small, and what is shipped, if it is there, is what its card says."""

import json
from argparse import Namespace
from dataclasses import asdict

import pytest
import torch

from bestpapers.dynamics import __main__ as program
from bestpapers.dynamics import data, render, report, train, weights, worlds
from bestpapers.dynamics.train import Recipe, TrainConfig
from bestpapers.lab.files import FormatError
from bestpapers.lab.weights import Card

from .standin import plant
from .tiny import TINY

STEPS = TrainConfig(steps=2, batch=2, slices=2, warmup=0)
RECIPE = Recipe(TINY, plants=2, winds=2, codec=STEPS, single=STEPS, across=STEPS, finish=STEPS)
AGAIN = dict(plants=1, samples=3, calls=2)
PAINTING = render.TrainConfig(steps=2, batch=1, crop=32)
DRAWN = dict(scenes=1, clips=1, picked=1, size=(48, 64), renderer=render.RendererConfig(widths=(4, 8)))


@pytest.fixture
def few(monkeypatch):
    """Plain plants in place of those that take long to draw."""

    def scenes(kinds, split, count):
        return (plant(seed + 100 * (split == "held-out")) for _ in kinds for seed in range(count))

    monkeypatch.setattr(train, "scenes", scenes)
    for room in (worlds, data):
        monkeypatch.setattr(room, "make_scene", lambda kind, seed: plant(seed % 7))


def test_made_anew_in_small(few, tmp_path, capsys, monkeypatch):
    """Files, card, and that it goes on from its checkpoints: the second time nothing is learned, and all is the same."""
    out = tmp_path / "out"
    out.mkdir()

    def make():
        how = dict(kinds=("tree",), scored=dict(again=AGAIN))
        weights.make(RECIPE, PAINTING, tmp_path / "checkpoints", out, **how, **DRAWN)
        return Card.read(out)

    card = make()
    card.verify(out)
    assert card.files.keys() == {*weights.FILES}
    assert card.data == dict(kinds=["tree"], plants=2, winds=2, seed=0)
    assert card.data_hash["code"] == data.SOURCE
    assert card.settings["recipe"]["model"]["slices"] == 4
    assert card.settings["painting"]["steps"] == 2
    model, renderer = weights.load(out / weights.MODEL), weights.load_renderer(out / weights.RENDERER)
    assert card.size["animator"] == sum(p.numel() for p in model.parameters())
    assert weights.scores(model, ("tree",), **AGAIN) == card.scores["again"]
    assert card.scores["again"].keys() == {"model", "floor"}
    assert report.painted(renderer, ("tree",)) == card.scores["painted"]
    assert card.scores["painted"].keys() == {"tree.softmax", "tree.network"}
    assert 15 < card.scores["painted"]["tree.softmax"] < 60

    before = {name: (out / name).read_bytes() for name in weights.FILES}
    monkeypatch.setattr(train.AveragingTraining, "step", None)  # a step would raise
    assert make().scores == card.scores
    assert before == {name: (out / name).read_bytes() for name in weights.FILES}

    monkeypatch.setattr(weights, "HERE", out)
    assert program.main(["weights", "--verify"]) == 0
    assert "renderer.safetensors: " in capsys.readouterr().out
    (out / weights.MODEL).write_bytes(before[weights.MODEL][:-1])
    assert program.main(["weights", "--verify"]) == 2
    assert "animator.safetensors: sha256: expected " in capsys.readouterr().err


def test_nothing_is_shipped(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "HERE", tmp_path)
    with pytest.raises(FormatError, match=r"expected the trained model, found nothing .*--model FILE\), or train it"):
        weights.load()
    assert weights.load_renderer() is None
    with pytest.raises(FormatError):
        weights.load_renderer(tmp_path / "none.safetensors")


def test_the_command_trains_the_recipe_of_the_book(tmp_path, monkeypatch):
    called = []
    monkeypatch.setattr(weights, "make", lambda *words: called.append(words))
    monkeypatch.setenv("BESTPAPERS_CACHE", str(tmp_path))
    for folder in (None, tmp_path / "mine"):
        assert weights.run(Namespace(verify=False, folder=folder)) == 0
    recipe = train.RECIPES["laptop"]
    folders = (tmp_path / "dynamics" / "weights", tmp_path / "mine")
    assert called == [(recipe, render.TrainConfig(), folder) for folder in folders]


if (weights.HERE / "card.json").exists():
    CARD = Card.read(weights.HERE)

    def test_the_card_is_of_these_settings():
        CARD.verify(weights.HERE)
        assert CARD.files.keys() == {*weights.FILES}
        assert CARD.data_hash["code"] == data.SOURCE, "scenes are drawn otherwise now: train it again"
        assert CARD.settings["scored"] == weights.SCORED
        assert CARD.settings["recipe"] == asdict(train.RECIPES["laptop"])
        assert CARD.settings["painting"] == json.loads(json.dumps(asdict(render.TrainConfig())))

    def test_the_scores_of_the_card():
        """Measured again, the small measure; another processor draws a little otherwise."""
        found = weights.scores(weights.load(), weights.KINDS, **weights.SCORED["again"])
        for who, row in CARD.scores["again"].items():
            assert found[who] == pytest.approx(row, rel=0.1, abs=0.05)

    def test_the_renderer_is_better_than_splatting():
        found = report.painted(weights.load_renderer(), weights.KINDS)
        assert found == pytest.approx(CARD.scores["painted"], abs=0.2)
        for kind in weights.KINDS:
            assert found[f"{kind}.network"] > found[f"{kind}.softmax"] - 0.5

    def test_it_is_worth_showing():
        """Nearer to the truth than a still, and slices agree on how strong the wind is."""
        scores = CARD.scores["full"]["model"]
        assert abs(scores["bias_low"]) < 1
        assert abs(scores["bias_high"]) < 1
        assert scores["correlation"] > 0.3

    def test_a_held_out_plant_moves():
        scene = next(iter(train.scenes(("tree",), "held-out", 1)))
        picture = scene.picture(weights.load().config.height, weights.load().config.width)
        S = weights.load().draw(picture, [0], 8)[0]
        energy = S[1:].abs().square().sum((0, 1))
        mask = torch.from_numpy(scene.mask(*picture.shape[:2]))
        assert energy[mask].mean() > 10 * energy[~mask].mean()
