"""Merging by the paper's rules, and whether the simulated people err as they should."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from bestpapers.feedback import data
from bestpapers.feedback.metrics import plcc
from bestpapers.feedback.panel import (
    Agreement,
    Panel,
    agreement,
    annotate,
    ask,
    calibrated,
    cover,
    discs,
    expected_agreement,
    heatmap,
    merge,
    merge_likert,
    merge_words,
)
from bestpapers.feedback.record import MAPS, SCORES, Annotation, Feedback

EXACT = Panel(
    bias=(0, 0, 0), care=(1, 1, 1), sigma=0, powers=(1, 1, 1, 1), jitter=0, miss=0, stray=0, overlook=0, invent=0
)


def truth(q=(0.5, 0.5, 0.5, 0.5), region=None, other=None, wrong=(0, 1, 0)):
    blank = np.zeros((64, 64), np.float32)
    maps = (blank if region is None else region, blank if other is None else other)
    return Feedback(dict(zip(SCORES, q)), dict(zip(MAPS, maps)), np.array(wrong, np.float32))


def box(*where, size=64):
    out = np.zeros((size, size), np.float32)
    for y, x, h, w in where:
        out[y : y + h, x : x + w] = 1
    return out


def rng(i=0):
    return np.random.default_rng([7, i])


# ------------------------------------------------------------------------------------------------------------ merging


def test_a_disc_is_a_twentieth_of_the_height():
    area = discs([(256, 256)], 512, 512).sum()
    assert area == pytest.approx(np.pi * 25.6**2, rel=0.01)
    assert area / 512**2 == pytest.approx(0.00785, rel=0.01)  # pi / 400
    wide = discs([(100, 30)], 60, 200)  # the height counts, not the width
    assert (wide.any(0).sum(), wide.any(1).sum()) == (7, 7)
    y, x = np.nonzero(discs([(10, 20)], 64, 64, 2))  # x comes first, the rim belongs to it
    assert (x.min(), x.max(), y.min(), y.max(), len(x)) == (8, 12, 18, 22, 13)
    assert discs([(10.5, 20)], 64, 64, 0.5).sum() == 2


def test_what_means_nothing_is_refused():
    for radius in (-2, float("nan")):
        with pytest.raises(ValueError, match="discs: radius must be 0 or more"):
            discs([[4, 4]], 8, 8, radius)
    with pytest.raises(ValueError, match="each 0 or 1"):
        merge_words([[float("nan"), 0.2]])
    for scores in (np.zeros((0, 4)), [[np.nan] * 4]):
        with pytest.raises(ValueError, match="no score is asked"):
            expected_agreement(scores, Panel())


def test_discs_are_cut_at_the_border_and_do_not_add_up():
    middle, corner = (discs([p], 64, 64).sum() for p in ((32, 32), (0, 0)))
    assert (middle, corner) == (37, 13)  # of a radius of 3.2; the corner keeps a quadrant and its axes
    assert discs([(63, 63), (63, 63), (62, 63)], 64, 64).max() == 1
    assert not discs([(500, -500)], 64, 64).any()
    for nothing in ([], np.zeros((0, 2))):
        assert discs(nothing, 5, 7).shape == (5, 7)
        assert not discs(nothing, 5, 7).any()
    for bad in ([(1, 2, 3)], [1, 2], [(np.nan, 3)]):
        with pytest.raises(ValueError, match="finite points"):
            discs(bad, 64, 64)


def test_many_points_on_a_large_picture_need_no_more_memory_than_one():
    points = np.random.default_rng(0).random((200, 2)) * (400, 300) - 20
    discs(points[:1], 300, 400)
    tracemalloc.start()
    found = discs(points, 300, 400)
    assert tracemalloc.get_traced_memory()[1] < 5 * found.nbytes  # and not 200 times
    tracemalloc.stop()
    np.testing.assert_array_equal(found, np.any([discs([p], 300, 400) for p in points], axis=0))


def test_a_heatmap_is_the_mean_of_people():
    people = [[(10, 10), (11, 10), (10, 10)], [(12, 10)], [(40, 40), (10, 10)]]
    h = heatmap(people, 64, 64)
    assert h.dtype == np.float32
    np.testing.assert_allclose(np.unique(h), [0, 1 / 3, 2 / 3, 1], atol=1e-7)
    assert h[10, 10] == 1
    assert h[40, 40] == pytest.approx(1 / 3)
    np.testing.assert_array_equal(h, heatmap(people[::-1], 64, 64))
    assert not heatmap([[], [], []], 64, 64).any()
    with pytest.raises(ValueError, match="at least one person"):
        heatmap([], 64, 64)


def test_likert_answers_have_thirteen_means():
    got = {round(12 * merge_likert([a, b, c]), 9) for a in range(1, 6) for b in range(1, 6) for c in range(1, 6)}
    assert got == set(range(13))
    assert merge_likert([1, 1, 1]) == 0
    assert merge_likert([5, 5, 5]) == 1
    assert merge_likert(iter(np.array([2, 3]))) == 0.375
    for bad in ([], [0], [6], [2.5], [3, None]):
        with pytest.raises(ValueError, match="whole answers 1 to 5"):
            merge_likert(bad)


def test_words_by_majority():
    table = np.array([[a, b, c] for a in (0, 1) for b in (0, 1) for c in (0, 1)], bool).T
    assert merge_words(table).tolist() == [0, 0, 0, 1, 0, 1, 1, 1]
    assert merge_words([[True, True], [True, False]]).tolist() == [1, 0]  # a tie of two
    assert merge_words(np.zeros((3, 0))).shape == (0,)
    for bad in ([], [True, False]):
        with pytest.raises(ValueError, match="people, n"):
            merge_words(bad)


def person(name, points=None, likert=None, wrong=(False, True)):
    return Annotation(name, points or {}, likert or {}, np.array(wrong, bool))


def test_merging_real_annotations_and_what_people_left_out():
    click, none = np.array([[10, 10]], np.float32), np.zeros((0, 2), np.float32)
    people = [
        person("Ann", {"implausibility": click}, {"overall": 5, "alignment": 2}),
        person("Bo", {"implausibility": none}, {"overall": 4}, (True, True)),
        person("Cy", {}, {"overall": 2}),
    ]
    f = merge(people, 64, 48)
    assert f.scores == pytest.approx({"alignment": 0.25, "overall": 2 / 3})
    assert list(f.maps) == ["implausibility"]
    assert f.maps["implausibility"].shape == (64, 48)
    assert f.maps["implausibility"][10, 10] == 0.5  # of the two who answered
    assert f.misaligned.tolist() == [0, 1]
    assert merge(people, 64, 48, radius=1).maps["implausibility"].sum() == 5 / 2
    with pytest.raises(ValueError, match="one of each person"):
        merge([*people, person("Bo")], 64, 48)
    with pytest.raises(ValueError, match="one of each person"):
        merge([], 64, 48)
    with pytest.raises(ValueError, match=r"'Cy': 2, 'Dee': 3.*same prompt"):
        merge([*people, person("Dee", wrong=(True, True, True))], 64, 48)


def test_agreement_counts_answers_of_two_people_or_more():
    pictures = [
        [person(str(i), likert={"overall": a, "alignment": b}) for i, (a, b) in enumerate(rows)]
        for rows in ([(3, 1), (3, 2), (3, 1)], [(1, 1), (5, 2), (1, 3)], [(2, 5), (3, 5)])
    ]
    pictures.append([person("alone", likert={"overall": 3})])
    got = agreement(pictures)
    assert got == {
        "alignment": pytest.approx((1 / 3, 2 / 3, 3)),
        "overall": pytest.approx((1 / 3, 2 / 3, 3)),
        "all": pytest.approx((1 / 3, 2 / 3, 6)),
    }
    assert agreement([]) == {"all": pytest.approx(Agreement(np.nan, np.nan, 0), nan_ok=True)}


# ---------------------------------------------------------------------------------------------------- simulated people


def middling(n, seed=0):
    """True scores whose answers lie in the middle of the scale: a latent quality of N(3.2, 0.9), cut to 1..5."""
    return (np.clip(np.random.default_rng(seed).normal(3.2, 0.9, (n, 4)), 1, 5) - 1) / 4


STRAIGHT = Panel(powers=(1, 1, 1, 1), ends=(1.0, 5.0), sigma=0.55)


def test_one_noise_gives_both_shares_of_the_paper():
    scores, straight = middling(800), STRAIGHT
    pictures = [annotate(truth(q), straight, rng(i)) for i, q in enumerate(scores)]
    got, expected = agreement(pictures)["all"], expected_agreement(scores, straight)
    assert got[:2] == pytest.approx((0.25, 0.85), abs=0.03)
    assert got == pytest.approx(expected, abs=0.025)
    # the neighbours, without bias: so the noise is well determined
    for sigma, perfect, good in ((0.4, 0.381, 0.960), (0.5, 0.289, 0.898), (0.55, 0.255, 0.859), (0.8, 0.150, 0.654)):
        one = replace(straight, bias=(0, 0, 0), sigma=sigma)
        assert expected_agreement(middling(20_000), one)[:2] == pytest.approx((perfect, good), abs=0.01)


def test_on_pictures_of_the_world_too():
    truths = data.records("train", 600, size=32, seed=0)
    scores = np.array([[record.feedback.scores[name] for name in SCORES] for record in truths])
    assert expected_agreement(scores, Panel())[:2] == pytest.approx((0.25, 0.85), abs=0.01)


def test_the_noise_is_the_ceiling_of_correlations():
    straight, scores = STRAIGHT, middling(600, 1)
    first, second = (
        [ask(truth(q), straight, rng(i + k)).scores["overall"] for i, q in enumerate(scores)] for k in (0, 5000)
    )
    assert plcc(first, scores[:, 3]) == pytest.approx(0.925, abs=0.02)
    assert plcc(first, second) == pytest.approx(0.857, abs=0.03)


def test_a_panel_is_calibrated_to_the_pictures_at_hand():
    straight = STRAIGHT
    assert calibrated(straight, middling(2000)).sigma == pytest.approx(0.55, abs=0.02)
    biased = replace(straight, bias=(-0.4, 0, 0.4))
    assert calibrated(biased, middling(2000)).sigma < 0.5  # the bias is part of the disagreement
    # many perfect pictures: the scale's end makes people agree, and more noise is wanted
    clean = np.where(np.random.default_rng(0).random((2000, 4)) < 0.4, 1, middling(2000))
    before = expected_agreement(clean, straight)
    after = expected_agreement(clean, calibrated(straight, clean))
    assert before.perfect > 0.33
    assert abs(after.perfect - 0.25) + abs(after.good - 0.85) < abs(before.perfect - 0.25) + abs(before.good - 0.85)
    # and with the ends inside of the scale the two shares come back
    inside = calibrated(replace(straight, ends=(1.0, 4.4)), clean)
    assert expected_agreement(clean, inside)[:2] == pytest.approx((0.25, 0.85), abs=0.04)
    holes = clean.copy()
    holes[:, 1] = np.nan
    assert expected_agreement(holes, straight).answers == 6000


def test_clicks_cover_a_region_and_lie_in_it():
    regions = [box((5, 5, 2, 2)), box((10, 20, 12, 30), (50, 3, 4, 4)), box((0, 0, 64, 64)), box((0, 63, 64, 1))]
    ring = box((20, 20, 20, 20)) - box((24, 24, 12, 12))
    for region in [*regions, ring]:
        points = cover(region, 5.76)
        x, y = points.astype(int).T
        assert region[y, x].all()
        assert len(set(zip(x, y))) == len(points)
        near = np.zeros((64, 64), bool)
        for px, py in points:
            near |= discs([(px, py)], 64, 64, 5.76)
        assert near[region > 0].all()
        assert len(points) <= 3 * region.sum() / (np.pi * 5.76**2) + 12  # no more than a person would
    assert cover(box((10, 20, 5, 5)), 5.76).tolist() == [[22, 12]]  # the middle
    assert len(cover(box((10, 20, 5, 5), (50, 50, 5, 5)), 5.76)) == 2
    assert cover(np.zeros((8, 8)), 3).shape == (0, 2)
    assert len(cover(box((10, 20, 2, 3)), 0.9)) == 6  # less than a pixel: one each


def test_the_first_click_is_the_best_there_is():
    region = np.random.default_rng(0).random((40, 50)) < 0.4
    first = cover(region, 4.3)[0]
    y, x = np.mgrid[-4:5, -4:5]
    gain = ndimage.convolve(region.astype(int), (x * x + y * y <= 4.3**2).astype(int), mode="constant")
    assert gain[int(first[1]), int(first[0])] == gain[region].max()


def test_people_without_fault_tell_the_truth():
    t = truth((0.75, 1, 0, 0.5), box((10, 20, 5, 5)), wrong=(0, 1, 1, 0))
    people = annotate(t, EXACT, rng())
    assert [a.annotator for a in people] == ["simulated 1", "simulated 2", "simulated 3"]
    for a in people:
        assert a.likert == {"plausibility": 4, "aesthetics": 5, "alignment": 1, "overall": 3}
        assert all(type(x) is int for x in a.likert.values())
        assert a.points["implausibility"].tolist() == [[22, 12]]
        assert a.points["implausibility"].dtype == np.float32
        assert a.points["misalignment"].shape == (0, 2)
        assert a.misaligned.tolist() == [False, True, True, False]
    f = ask(t, EXACT, rng())
    assert f.scores == pytest.approx({"plausibility": 0.75, "aesthetics": 1, "alignment": 0, "overall": 0.5})
    np.testing.assert_array_equal(f.maps["implausibility"], discs([(22, 12)], 64, 64))
    curved = replace(EXACT, powers=(2, 1, 1, 1), ends=(2.0, 4.0))
    assert annotate(truth((0.7071, 1, 0, 0.5)), curved, rng())[0].likert == {
        "plausibility": 3,
        "aesthetics": 4,
        "alignment": 2,
        "overall": 3,
    }
    wide = ask(t, replace(EXACT, radius=1 / 8), rng()).maps["implausibility"]
    assert wide.sum() > 5 * f.maps["implausibility"].sum()


def test_each_fault_is_as_frequent_as_its_chance():
    panel, n = Panel(stray=0.06, guess=0.5), 600
    t = truth(region=box((20, 20, 5, 5)), wrong=(1, 0, 0, 0, 0))
    people = [annotate(t, panel, rng(i)) for i in range(n)]
    words = np.array([[a.misaligned for a in p] for p in people])
    np.testing.assert_allclose(1 - words[..., 0].mean(0), [0.06, 0.10, 0.14], atol=0.05)
    assert words[..., 1:].mean() == pytest.approx(0.03, abs=0.01)
    clicks = [[a.points["implausibility"] for a in p] for p in people]
    near = np.array([[(np.hypot(*(c - 22).T) < 6).any() for c in p] for p in clicks])
    np.testing.assert_allclose(1 - near.mean(0), [0.12, 0.2, 0.28], atol=0.06)
    assert np.mean([len(c) for p in clicks for c in p]) == pytest.approx(0.8 + 0.06, abs=0.04)
    at = np.concatenate([c for p in clicks for c in p])
    at = at[np.hypot(*(at - 22).T) < 6]
    np.testing.assert_allclose(at.std(0), 0.28 * 3.2, rtol=0.15)
    np.testing.assert_allclose(at.mean(0), 22, atol=0.1)
    # no place, but a wrong word: a guess somewhere, in this map alone; without a wrong word none
    lost = np.mean([len(a.points["misalignment"]) for p in people for a in p])
    assert lost == pytest.approx(0.56, abs=0.05)
    fine = [annotate(truth(wrong=(0, 0)), panel, rng(i)) for i in range(n)]
    for name in MAPS:
        assert np.mean([len(a.points[name]) for p in fine for a in p]) == pytest.approx(0.06, abs=0.025)


def test_bias_moves_one_persons_answers():
    panel = Panel(bias=(-0.8, 0, 0.8), powers=(1, 1, 1, 1))
    got = np.array([[a.likert["overall"] for a in annotate(truth(), panel, rng(i))] for i in range(500)])
    np.testing.assert_allclose(got.mean(0), [2.2, 3, 3.8], atol=0.1)
    strict = replace(panel, bias=(-0.5,) * 5, care=(1,) * 5)
    assert len(annotate(truth(), strict, rng())) == 5


def test_clicks_stay_in_the_picture_and_maps_may_be_of_any_size():
    wild = Panel(jitter=20, stray=1, radius=1 / 4)
    t = Feedback({"overall": 0.5}, {"misalignment": np.ones((10, 30), np.float32)}, np.zeros(0, np.float32))
    for i in range(20):
        for a in annotate(t, wild, rng(i)):
            assert list(a.points) == ["misalignment"]
            assert list(a.likert) == ["overall"]
            p = a.points["misalignment"]
            assert p.min() >= 0
            assert (p <= [29, 9]).all()
    assert ask(t, wild, rng()).maps["misalignment"].shape == (10, 30)
    with pytest.raises(ValueError, match="no map"):
        ask(Feedback({"overall": 0.5}, {}, np.zeros(0, np.float32)), wild, rng())


def test_the_same_generator_gives_the_same_again():
    t = truth(region=box((10, 20, 15, 15)), other=box((40, 3, 9, 9)))
    first, again, other = (ask(t, Panel(), rng(i)) for i in (1, 1, 2))
    for name in MAPS:
        np.testing.assert_array_equal(first.maps[name], again.maps[name])
    assert first.scores == again.scores
    assert any((first.maps[name] != other.maps[name]).any() for name in MAPS)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"bias": ()}, "one number for each person"),
        ({"bias": (0.0, 0.0)}, "one number for each person"),
        ({"miss": 0.8}, "miss is a chance"),  # 1.12 for the careless one
        ({"invent": -0.1}, "invent is a chance"),
        ({"stray": np.nan}, "stray is a chance"),
        ({"sigma": -1}, "must be 0 or more"),
        ({"radius": 0}, "more than 0"),
    ],
)
def test_panels_that_cannot_be(wrong, message):
    with pytest.raises(ValueError, match=message):
        Panel(**wrong)
