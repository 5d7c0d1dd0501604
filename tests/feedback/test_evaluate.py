"""Scores of models and of pictures."""

import numpy as np
import pytest
import torch

from bestpapers.feedback import data, evaluate, metrics
from bestpapers.feedback.model import RAHF, ImageOnly, TwoTowers
from bestpapers.feedback.record import MAPS, SCORES, Feedback, words

from .tiny import MODEL


@pytest.fixture(scope="module")
def known():
    return list(data.records("test", 8, size=32, seed=3))


@pytest.fixture
def pictures(known):
    return np.stack([record.picture for record in known])


@pytest.fixture
def prompts(known):
    return [record.prompt for record in known]


def made(kind):
    torch.manual_seed(0)
    return kind(MODEL).eval()


def test_what_each_model_says(pictures, prompts):
    """The same whatever the size of a batch; what a model has no output for is left out, not made up."""
    for kind, maps in ((RAHF, MAPS), (ImageOnly, MAPS), (TwoTowers, ("misalignment",))):
        model = made(kind)
        whole, parts = (evaluate.predict(model, pictures, prompts, batch=n) for n in (64, 3))
        for one, other, prompt in zip(whole, parts, prompts, strict=True):
            assert set(one.scores) == set(SCORES)
            assert set(one.maps) == set(maps)
            assert len(one.misaligned) == (len(words(prompt)) if kind is RAHF else 0)
            assert one.scores == pytest.approx(other.scores, abs=1e-5)
            for name in maps:
                assert one.maps[name].shape == (32, 32)
                np.testing.assert_allclose(one.maps[name], other.maps[name], atol=1e-4)
    written = evaluate.predict(made(RAHF), pictures, prompts)
    by_head = evaluate.predict(made(RAHF), pictures, prompts, write=False)
    assert all(set(np.unique(f.misaligned)) <= {0, 1} for f in written)
    assert not all(set(np.unique(f.misaligned)) <= {0, 1} for f in by_head)


def test_the_gradient_map_depends_on_the_prompt(pictures, prompts):
    there = evaluate.predict(made(TwoTowers), pictures[:1], prompts[:1])[0].maps["misalignment"]
    other = evaluate.predict(made(TwoTowers), pictures[:1], ["a red cat by day"])[0].maps["misalignment"]
    assert there.max() == pytest.approx(1)
    assert np.abs(there - other).max() > 0.01


def test_what_needs_no_picture(known, prompts):
    labels = [record.feedback for record in known]
    found = evaluate.cells(evaluate.constant(dict.fromkeys(SCORES, 0.5), prompts, 32), labels)
    assert found["words.recall"] == 1
    marked = sum(float(label.misaligned.sum()) for label in labels)
    assert found["words.precision"] == pytest.approx(marked / sum(len(words(prompt)) for prompt in prompts))
    assert "plausibility.plcc" not in found  # a constant has no correlation, and nothing is claimed
    assert found["plausibility.mse"] == pytest.approx(np.mean([(x.scores["plausibility"] - 0.5) ** 2 for x in labels]))
    assert found["implausibility.own"] == pytest.approx(0, abs=1e-9)


def test_words_that_are_often_marked():
    """ "red" is marked in three of four prompts, "a" in one of four, "cat" never: marking more than "red" costs more than it
    finds."""
    prompts = ["a red cat"] * 4
    labels = [Feedback({}, {}, np.array(marks, np.float32)) for marks in ((0, 1, 0), (0, 1, 0), (1, 1, 0), (0, 0, 0))]
    marked = evaluate.often_marked(prompts, labels)
    assert marked == {"red"}
    said = evaluate.constant({}, ["a cat", "red cat"], 32, marked)
    assert [feedback.misaligned.tolist() for feedback in said] == [[0, 0], [1, 0]]
    assert evaluate.often_marked(prompts, [Feedback({}, {}, np.ones(3, np.float32))] * 4) == {"a", "red", "cat"}


def test_the_truth_scores_best(known):
    labels = [record.feedback for record in known]
    found = evaluate.cells(labels, labels)
    for name in ("plausibility.plcc", "implausibility.cc", "misalignment.cc", "words.f1"):
        assert found[name] == pytest.approx(1)
    assert found["implausibility.own"] > 0.5
    assert np.isfinite(list(found.values())).all()


def disc(y, x, size=24):
    rows, columns = np.mgrid[:size, :size]
    return ((rows - y) ** 2 + (columns - x) ** 2 <= 9).astype(np.float32)


def test_zero_collapse():
    """Zeros have a smaller error than a model that finds faults and is a little too bright; the check is not fooled."""
    rng = np.random.default_rng(0)
    labels = np.stack([disc(*rng.integers(4, 20, 2)) if n % 2 else np.zeros((24, 24), np.float32) for n in range(20)])
    finds = np.clip(0.4 * labels + 0.15, 0, 1)
    said = {
        "zeros": np.zeros_like(labels), "noise": rng.random(labels.shape), "finds": finds, "faint": 0.02 * labels,
        "blob": np.broadcast_to(metrics.centre_blob(24, 24), labels.shape),
    }  # fmt: skip
    assert np.square(said["zeros"] - labels).mean() < np.square(finds - labels).mean()
    for name, maps in said.items():
        assert (evaluate.own_fit(maps, labels) < evaluate.COLLAPSED) is (name not in ("finds", "faint")), name
    assert evaluate.own_fit(labels, labels) > 0.8
    assert np.isnan(evaluate.own_fit(labels[:1], labels[:1]))


def test_features_are_of_both_towers(pictures, prompts):
    rows = evaluate.features(made(TwoTowers), pictures, prompts, batch=3)
    assert rows.shape == (8, 3 * MODEL.width + 1)
    a, b = rows[:, : MODEL.width], rows[:, MODEL.width : 2 * MODEL.width]
    np.testing.assert_allclose((a * b).sum(1), rows[:, -1], atol=1e-5)


def test_diversity():
    black, white = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)
    assert evaluate.diversity(np.stack([np.stack([black, white])])) == pytest.approx(1)
    assert evaluate.diversity(np.stack([np.stack([white, white])] * 3)) == 0
    both = np.stack([np.stack([black, white]), np.stack([black, black])])
    assert evaluate.diversity(both) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="at least two of a prompt"):
        evaluate.diversity(both[:, :1])


def test_better_same_worse():
    found = evaluate.compared([0.2, 0.5, 0.5, 0.9, 1.0], [0.1, 0.52, 0.6, 0.7, 0.97])
    assert found == pytest.approx(dict(better=0.4, same=0.4, worse=0.2, votes=0.2))


def test_quality_of_true_pictures_and_of_nothing():
    pictures, prompts = data.pairs("test", 6, seed=1)
    nothing = np.full_like(pictures, 255)
    true, before = evaluate.quality(pictures[:, None], prompts)
    assert true["plausibility"] == true["alignment"] == true["sound"] == true["right"] == 1
    assert "diversity" not in true
    found, each = evaluate.quality(np.stack([nothing, nothing], 1), prompts, before)
    assert found["plausibility"] == found["diversity"] == found["better"] == 0
    assert found["worse"] == -found["votes"] == 1
    assert each["plausibility"].shape == (6, 2)
    first_good, _ = evaluate.quality(np.stack([pictures, nothing], 1), prompts, before)
    assert first_good["same"] == 1  # of several pictures of a prompt the first one is compared
    assert first_good["plausibility"] == first_good["sound"] == 0.5


def test_paint_error():
    picture = np.zeros((1, 4, 4, 3), np.uint8)
    assert evaluate.paint_error(picture, picture + 255) == pytest.approx(0)
    assert evaluate.paint_error(picture, picture + 51) == pytest.approx(20 * np.log10(5))
