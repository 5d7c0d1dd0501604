"""The trained models: making them anew in small, and what is shipped, if it is there, is what its card says."""

import pytest
import torch

from bestpapers.feedback import __main__ as program
from bestpapers.feedback import data, train, weights
from bestpapers.feedback.improve import flow_pictures
from bestpapers.lab.files import FormatError
from bestpapers.lab.weights import Card

from .tiny import AGAIN, GENERATOR, MODEL, RECIPE, make_weights


def test_made_anew_in_small(tmp_path, capsys, monkeypatch):
    """Files, card, and that it goes on from its checkpoints: the second time nothing is learned, and all is the same."""
    out = make_weights(tmp_path)
    card = Card.read(out)
    card.verify(out)
    assert card.files.keys() == {*weights.FILES}
    assert card.data == dict(pairs=8, faults=6, drawn=2, seed=0)
    assert card.data_hash["code"] == data.SOURCE
    assert card.data_hash.keys() == {"code", "pairs", "labelled"}
    assert card.settings["recipe"]["transformer"]["steps"] == 4
    monkeypatch.setattr(weights, "HERE", out)
    parts = dict(rahf=weights.load(), generator=weights.load_generator(), flow=weights.load_flow())
    assert card.size == {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
    assert parts["rahf"].config == MODEL
    assert parts["generator"].config == parts["flow"].config == GENERATOR
    assert weights.scores(out, **AGAIN) == card.scores["again"]
    assert card.scores["again"].keys() == {"model", "tokenizer", *weights.QUALITIES, "flow"}
    assert flow_pictures(parts["flow"], parts["generator"], ["a red cat by day"], calls=2).shape == (1, 32, 32, 3)

    before = {name: (out / name).read_bytes() for name in weights.FILES}
    learned = {
        name: t for name, t in weights.load_generator("weak").state_dict().items() if name.startswith("transformer")
    }
    best = weights.load_generator("best").state_dict()
    assert any(not torch.equal(t, best[name]) for name, t in learned.items())
    assert torch.equal(weights.load_generator("weak").tokenizer.codebook, best["tokenizer.codebook"])

    monkeypatch.setattr(train.AveragingTraining, "step", None)  # a step would raise
    make_weights(tmp_path)
    assert before == {name: (out / name).read_bytes() for name in weights.FILES}
    assert Card.read(out).scores == card.scores
    (tmp_path / "checkpoints" / "generator_weak.safetensors").unlink()
    with pytest.raises(ValueError, match="is gone, and training is past it"):
        train.make(RECIPE, tmp_path / "checkpoints", quiet=True)

    assert program.main(["weights", "--verify"]) == 0
    assert "rahf.safetensors: " in capsys.readouterr().out
    mark = weights.digest()
    (out / weights.MODEL).write_bytes(before[weights.MODEL][:-1])
    assert program.main(["weights", "--verify"]) == 2
    weights._digest.cache_clear()
    assert weights.digest() != mark


def test_what_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "HERE", tmp_path)
    for load in (weights.load, weights.load_generator, weights.load_flow, lambda: weights.load(tmp_path / "other")):
        with pytest.raises(FormatError, match=r"nothing of that name.*feedback weights"):
            load()


@pytest.mark.skipif(not (weights.HERE / weights.MODEL).exists(), reason="no weights are shipped yet")
class TestShipped:
    def test_files_are_those_of_the_card(self):
        card = Card.read(weights.HERE)
        card.verify(weights.HERE)
        assert card.data_hash["code"] == data.SOURCE
        assert sum(file["bytes"] for file in card.files.values()) < 25e6

    def test_scores_are_those_of_the_card(self):
        """What is predicted hardly depends on the processor; what is drawn does, since a near tie may fall otherwise."""
        was, now = Card.read(weights.HERE).scores["again"], weights.scores(weights.HERE, **weights.SCORED["again"])
        for who, row in was.items():
            near = 0.01 if who in ("model", "tokenizer") else 0.25
            for name in ("plausibility.plcc", "implausibility.cc") if who == "model" else ("plausibility", "alignment"):
                assert now[who][name] == pytest.approx(row[name], abs=near), (who, name)

    def test_the_better_generator_is_better(self):
        full = Card.read(weights.HERE).scores["full"]
        assert full["weak"]["plausibility"] < full["best"]["plausibility"] <= full["tokenizer"]["plausibility"] + 0.01
