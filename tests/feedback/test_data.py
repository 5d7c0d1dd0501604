import numpy as np
import pytest

from bestpapers.feedback import data
from bestpapers.feedback.judge import judge
from bestpapers.feedback.record import words
from bestpapers.feedback.worlds import SMALL, compare, parse, render

SIZE = 32


@pytest.fixture(scope="module")
def sets():
    return {split: list(data.records(split, 40, size=SIZE)) for split in data.SPLITS}


def test_no_layout_is_in_two_splits():
    shown: dict[str, set[str]] = {}
    for split in data.SPLITS:
        some = [data.example(split, n, size=SIZE, seed=seed)[0].layout for n in range(12) for seed in (0, 1)]
        some += [data.true_pair(split, n)[1] for n in range(20)]
        assert {data.split_of(layout) for layout in some} == {split}
        shown[split] = {repr(layout) for layout in some}
        assert len(shown[split]) > 35  # a simple one may come twice
    assert len(set.union(*shown.values())) == sum(map(len, shown.values()))


def test_splits_are_as_large_as_they_should_be():
    rng = np.random.default_rng(0)
    found = [data.split_of(SMALL.draw(rng)[1]) for _ in range(500)]
    assert 0.72 < found.count("train") / 500 < 0.88
    assert 0.05 < found.count("dev") / 500 < 0.15


def test_records_are_whole_and_named_apart(sets):
    everything = [record for records in sets.values() for record in records]
    assert len({record.name for record in everything}) == len(everything)
    for record in everything:
        assert record.picture.shape == (SIZE, SIZE, 3)
        assert len(record.feedback.misaligned) == len(words(record.prompt))
        assert all(0 <= score <= 1 for score in record.feedback.scores.values())
        assert all(m.shape == (SIZE, SIZE) and 0 <= m.min() <= m.max() <= 1 for m in record.feedback.maps.values())


def test_a_record_depends_on_nothing_but_its_number_and_seed(sets):
    again = list(data.records("train", 3, size=SIZE))
    for a, b in zip(again, sets["train"]):
        assert (a.name, a.prompt, a.feedback.scores) == (b.name, b.prompt, b.feedback.scores)
        np.testing.assert_array_equal(a.picture, b.picture)
    other = next(data.records("train", 1, size=SIZE, seed=1))
    assert other.name != again[0].name
    assert (other.picture != again[0].picture).any()


def test_half_of_the_captions_are_false(sets):
    own = [data.example("train", n, size=SIZE) for n in range(120)]
    changed = np.array([caption != made.caption for made, caption in own])
    assert 0.38 < changed.mean() < 0.62  # binomial, 120: standard error 0.046
    assert all(compare(caption, made.layout).wrong for made, caption in own if caption != made.caption)
    assert all(data.example("train", n, size=SIZE, false=0)[1] == own[n][0].caption for n in range(20))


def test_sound_and_faulty_pictures_of_all_degrees(sets):
    scores = {name: [r.feedback.scores[name] for r in sets["train"]] for name in ("plausibility", "alignment")}
    for values in scores.values():
        assert 0.15 < np.mean(np.array(values) == 1) < 0.6
        assert len(np.unique(np.round(values, 1))) >= 7
    assert abs(np.corrcoef(*scores.values())[0, 1]) < 0.4


def test_truth_and_judge_agree(sets):
    everything = [record for records in sets.values() for record in records]
    said = [judge(record.picture, record.prompt) for record in everything]
    for name in ("plausibility", "alignment"):
        pairs = [(a.feedback.scores[name], b.scores[name]) for a, b in zip(everything, said)]
        assert np.corrcoef(np.array(pairs).T)[0, 1] > 0.9
    assert np.mean([(a.feedback.misaligned == b.misaligned).all() for a, b in zip(everything, said)]) > 0.85


def test_pairs_are_true_pictures():
    pictures, prompts = data.pairs("dev", 10, size=SIZE, world=SMALL)
    assert pictures.shape == (10, SIZE, SIZE, 3)
    for n, (picture, prompt) in enumerate(zip(pictures, prompts)):
        caption, layout = data.true_pair("dev", n, world=SMALL)
        assert caption == parse(prompt)
        assert not compare(caption, layout).wrong
        np.testing.assert_array_equal(picture, render(layout, SIZE))


def test_the_source_has_a_hash():
    assert len(data.SOURCE) == 12


@pytest.mark.parametrize(
    ("split", "n", "seed", "message"),
    [("val", 0, 0, "split 'val'"), ("dev", -1, 0, "from 0"), ("dev", 0, -2, "from 0")],
)
def test_what_is_no_set_is_refused(split, n, seed, message):
    with pytest.raises(ValueError, match=message):
        data.example(split, n, seed=seed)
