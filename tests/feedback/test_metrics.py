"""The tables against outsiders (SciPy, scikit-learn) and every corner case; measures of maps: `tests/lab/test_saliency.py`."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import precision_recall_fscore_support

from bestpapers.feedback.metrics import ROWS, interval, read_words, tables, word_counts, word_scores
from bestpapers.feedback.record import MAPS, SCORES, Feedback
from bestpapers.lab.saliency import MEASURES, mse

from ..lab.test_saliency import random_maps
from .made import record

# -------------------------------------------------------------------------------------------------------------- words


def test_what_a_written_output_says_of_each_word():
    prompt = "a red x_0, left-of: a dog"
    cases = {
        "a red_0 x_0 left-of a dog": [0, 1, 0, 0, 0, 0],
        "a red x_0_0 left-of_0 a dog": [0, 0, 1, 1, 0, 0],
        "a blue_0 x left-of": [0, np.nan, np.nan, 0, np.nan, np.nan],  # other words, and too short
        "a red x_0 left-of a dog dog_0 and": [0, 0, 0, 0, 0, 0],  # surplus
        "": [np.nan] * 6,
    }
    for output, want in cases.items():
        got = read_words(prompt, output)
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, want)
    assert read_words("", "dog_0").shape == (0,)
    np.testing.assert_array_equal(read_words("a dog", "a dog*", mark="*"), [0, 1])


def test_counts_of_words():
    label = [1, 1, 1, 0, 0, 0]
    assert word_counts([1, 0, np.nan, 1, 0, np.nan], label).tolist() == [
        1,
        1,
        2,
    ]  # no answer costs recall, not precision
    assert word_counts([1], label).tolist() == [1, 0, 2]
    assert word_counts([1] * 6 + [1, 1], label).tolist() == [3, 3, 0]
    assert word_counts([0.5] * 6, label).tolist() == [0, 0, 3]  # more than half
    assert word_counts([0.3, 0.2, 0.3, 0.3, 0, 0], label, at=0.25).tolist() == [2, 1, 1]
    assert word_counts([], []).tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="label is nan"):
        word_counts([1.0], [np.nan])


def test_words_pooled_and_each_are_scikit_learns():
    rng = np.random.default_rng(0)
    label = [(rng.random(6) < 0.15).astype(float) for _ in range(40)]
    predicted = [np.abs(y - (rng.random(6) < 0.2)) for y in label]
    counts = np.array([word_counts(p, y) for p, y in zip(predicted, label)])
    kind = {"average": "binary", "zero_division": 0}
    want = precision_recall_fscore_support(np.concatenate(label), np.concatenate(predicted), **kind)[:3]
    np.testing.assert_allclose(word_scores(counts.sum(0)), want)
    each = [precision_recall_fscore_support(y, p, **kind)[:3] for p, y in zip(predicted, label)]
    np.testing.assert_allclose(word_scores(counts, zero=0.0), each)
    p, r, f = word_scores(counts.sum(0))
    assert f == pytest.approx(2 * p * r / (p + r))
    assert abs(word_scores(counts, zero=0.0)[:, 2].mean() - f) > 0.1  # the two are not to be compared


def test_words_where_there_is_nothing_to_divide():
    nan = np.nan
    np.testing.assert_array_equal(word_scores([0, 0, 5]), [nan, 0, 0])  # marks nothing
    np.testing.assert_array_equal(word_scores([0, 5, 0]), [0, nan, 0])  # nothing to find
    np.testing.assert_array_equal(word_scores([0, 0, 0]), [nan, nan, nan])
    np.testing.assert_array_equal(word_scores([0, 0, 0], zero=0.0), [0, 0, 0])
    np.testing.assert_allclose(word_scores([3, 9, 0]), [0.25, 1, 0.4])  # marks everything: precision is the prevalence


# ---------------------------------------------------------------------------------------------------------- the tables


def feedbacks(scores, maps, misaligned):
    return [
        Feedback(dict(zip(SCORES, s.tolist())), dict(zip(MAPS, m.astype(np.float32))), np.asarray(w, np.float32))
        for s, m, w in zip(scores, maps, misaligned)
    ]


def row(of, table):
    return [of.cells[key] for key in ROWS[table]]


def answers(n=40, seed=0, noise=0.3):
    """Labels of a panel, and predictions that are noisy copies; every fifth picture has an empty implausibility map."""
    rng = np.random.default_rng(1)
    s = np.rint(rng.random((n, 4)) * 12) / 12
    maps = random_maps(2 * n, seed=2)[1].reshape(n, 2, 9, 11)
    maps[:2] = maps[2:4]
    maps[::5, 0] = 0
    w = [(rng.random(5) < 0.3).astype(float) for _ in range(n)]
    rng = np.random.default_rng(seed)
    blur = [np.clip(x + rng.normal(0, noise, x.shape), 0, 1) for x in (s, maps)]
    guess = [np.clip(x + rng.normal(0, noise, x.shape), 0, 1) for x in w]
    return feedbacks(*blur, guess), feedbacks(s, maps, w)


def test_the_tables_hold_the_measures_of_all_pictures():
    predicted, labels = answers()
    got = tables(predicted, labels)
    assert [c.pictures for c in row(got, "scores")] == [40] * 8
    x, y = ([f.scores["alignment"] for f in side] for side in (predicted, labels))
    assert got.cells["alignment.plcc"].value == pytest.approx(pearsonr(x, y).statistic)
    assert got.cells["alignment.srcc"].value == pytest.approx(spearmanr(x, y).statistic)
    assert got.cells["alignment.mse"].value == pytest.approx(np.square(np.subtract(x, y)).mean())
    np.testing.assert_allclose(got.values["alignment.label"], y)

    assert ROWS["implausibility"] == tuple(
        f"implausibility.{m}" for m in ("mse", "mse_empty", "cc", "kld", "sim", "nss", "auc_judd")
    )
    assert [c.pictures for c in row(got, "implausibility")] == [40, 8] + [32] * 5
    assert [c.pictures for c in row(got, "misalignment")] == [40, 0] + [40] * 5
    assert np.isnan(got.cells["misalignment.mse_empty"].value)
    P, G = (np.array([f.maps["implausibility"] for f in side]) for side in (predicted, labels))
    for name, of in MEASURES.items():
        values = of(P, G)
        np.testing.assert_array_equal(got.values[f"implausibility.{name}"], values)
        assert got.cells[f"implausibility.{name}"].value == pytest.approx(np.nanmean(values))
    assert got.cells["implausibility.mse_empty"].value == pytest.approx(mse(P, G)[::5].mean())

    counts = np.array([word_counts(p.misaligned, y.misaligned) for p, y in zip(predicted, labels)])
    assert [c.value for c in row(got, "words")] == pytest.approx(word_scores(counts.sum(0)).tolist())
    assert got.cells["words.f1_each"] == pytest.approx((word_scores(counts, zero=0.0)[:, 2].mean(), 40))


def test_a_perfect_prediction_and_the_variants():
    _, labels = answers()
    got = tables(labels, labels)
    best = {"mse": 0, "mse_empty": 0, "kld": 0, "sim": 1, "cc": 1, "auc_judd": 1}
    for key, cell in got.cells.items():
        want = best.get(key.split(".")[1], 1)
        if "nss" not in key and "_each" not in key and cell.pictures:
            assert cell.value == pytest.approx(want, abs=1e-4), key
    code = tables(labels, labels, variant="replication")
    assert code.cells["implausibility.auc_judd"].value < 0.999
    own = tables(labels, labels, variant={"nss": {"weighted": True}})
    assert own.cells["implausibility.nss"].value > got.cells["implausibility.nss"].value
    # with a threshold, what is below it is empty for all measures
    high = tables(labels, labels, above=0.9)
    assert {c.pictures for c in row(high, "implausibility")[2:]} == {
        sum((f.maps["implausibility"] > 0.9).any() for f in labels)
    }


def test_what_labels_and_predictions_may_leave_out():
    predicted, labels = answers()
    fewer = [Feedback({}, {}, np.zeros(0, np.float32)), *labels[1:]]
    got = tables(predicted, fewer)
    assert got.cells["overall.plcc"].pictures == got.cells["words.f1"].pictures == 39
    assert got.cells["misalignment.cc"].pictures == 39
    assert np.isnan(got.values["overall.label"][0])
    image_only = [Feedback(f.scores, {}, np.zeros(0, np.float32)) for f in predicted]
    got = tables(image_only, labels)
    assert got.cells["words.f1"].pictures == got.cells["implausibility.cc"].pictures == 0
    assert np.isnan(got.cells["implausibility.cc"].value)
    assert got.cells["overall.plcc"].pictures == 40
    nothing = {"plausibility": {"scores": {}}, "implausibility": {"maps": {}}, "words": {"misaligned": np.zeros(0)}}
    for part, change in nothing.items():
        some = [*predicted[:3], replace(predicted[3], **change), *predicted[4:]]
        with pytest.raises(ValueError, match=f" {part}: 1 of 40 predictions lack it, first picture 3"):
            tables(some, labels)


def test_values_that_are_none():
    predicted, labels = answers(4)
    for bad in (255.0, 1.01, -0.01, np.nan):
        wrong = Feedback({**predicted[0].scores, "overall": bad}, predicted[0].maps, predicted[0].misaligned)
        with pytest.raises(ValueError, match=r"score overall: wants values 0\.\.1"):
            tables([wrong, *predicted[1:]], labels)
        wrong = Feedback(
            predicted[0].scores, {k: m + bad for k, m in predicted[0].maps.items()}, predicted[0].misaligned
        )
        for pair in (([wrong, *predicted[1:]], labels), (labels, [wrong, *predicted[1:]])):
            with pytest.raises(ValueError, match=r"map implausibility: wants values 0\.\.1"):
                tables(*pair)
    for pair in ((predicted[1:], labels), ([], [])):
        with pytest.raises(ValueError, match="predictions for"):
            tables(*pair)


KEYS = ["overall.plcc", "overall.srcc", "overall.mse", "implausibility.cc", "words.f1", "words.f1_each"]


@pytest.mark.parametrize("key", KEYS)
def test_intervals_of_cells_and_of_paired_differences(key):
    good, labels = answers(noise=0.1)
    bad, _ = answers(seed=3, noise=0.9)
    a, b = tables(good, labels), tables(bad, labels)
    value, low, high = interval(a, key, repeats=300)
    assert value == pytest.approx(a.cells[key].value)
    assert low <= value <= high
    d, low, high = interval(a, key, b, repeats=300)
    assert d == pytest.approx(a.cells[key].value - b.cells[key].value)
    sign = -1 if key.endswith("mse") else 1
    assert min(sign * low, sign * high) > 0  # told apart, and on the right side
    back, other_low, other_high = interval(b, key, a, repeats=300)
    assert (back, other_low, other_high) == pytest.approx((-d, -high, -low), abs=0.05 * abs(d))
    assert interval(a, key, a, repeats=50) == (0, 0, 0)
    assert interval(a, key, b, repeats=300) == interval(a, key, b, repeats=300)


def test_pairs_are_told_apart_better_than_two_intervals_tell():
    """Two predictions with a common fault: each is uncertain, their difference is not."""
    predicted, labels = answers(120, noise=0.5)
    closer = [
        Feedback({k: 0.7 * x + 0.3 * y.scores[k] for k, x in p.scores.items()}, p.maps, p.misaligned)
        for p, y in zip(predicted, labels)
    ]
    a, b = tables(closer, labels), tables(predicted, labels)
    alone, pair = interval(b, "overall.plcc", repeats=500), interval(a, "overall.plcc", b, repeats=500)
    assert pair[1] > 0
    assert pair[2] - pair[1] < 0.6 * (alone[2] - alone[1])


def test_intervals_that_do_not_exist():
    predicted, labels = answers()
    a = tables(predicted, labels)
    with pytest.raises(ValueError, match=r"no cell 'overall\.auc'"):
        interval(a, "overall.auc")
    other = tables(labels[::-1], labels[::-1])
    for key in ("overall.plcc", "words.f1", "implausibility.cc"):
        with pytest.raises(ValueError, match="labels of the two sides differ"):
            interval(a, key, other)
    nothing = tables([Feedback({}, {}, np.zeros(0, np.float32))] * 40, labels)
    with pytest.raises(ValueError, match="at least two rows"):
        interval(nothing, "overall.plcc")


def test_sides_of_other_pictures_and_a_variant_that_is_none():
    made = [record(n).feedback for n in range(5)]
    with pytest.raises(ValueError, match="labels of the two sides differ"):
        interval(tables(made, made), "words.f1", tables(made[:4], made[:4]))
    with pytest.raises(ValueError, match="tables: variant must be one of ours"):
        tables(made, made, variant="foo")
