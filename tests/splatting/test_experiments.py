"""Experiment arms, side by side, and the tables of the paper's form."""

import pytest
import torch

from bestpapers.lab import runs as side_by_side
from bestpapers.splatting import experiments
from bestpapers.splatting.data import make_dataset
from bestpapers.splatting.train import TrainConfig

CONFIG = TrainConfig(iterations=15, density=None)


def make(seed):
    return make_dataset("wheel", "thin", 16, n_points=60, n_train=4, n_test=2, seed=seed, test_sizes=(16, 8))


def as_numbers(runs):
    return {(r.method, r.seed): r.scores for r in runs}


def test_side_by_side_equals_one_after_the_other(monkeypatch):
    monkeypatch.setattr(side_by_side, "default_workers", lambda device: 2)  # however many cores there are
    many = experiments.compare(make, ["3dgs", "mip"], [0, 1], CONFIG)
    monkeypatch.setattr(side_by_side, "default_workers", lambda device: 1)
    one = experiments.compare(make, ["mip", "3dgs"], [1, 0], CONFIG)
    for run, scores in as_numbers(many).items():  # another process rounds otherwise: in its last bit, or in denormals
        for size, values in scores.items():
            assert values == pytest.approx(as_numbers(one)[run][size], abs=1e-3), (run, size)
    assert [(r.method, r.seed) for r in many] == [("3dgs", 0), ("mip", 0), ("3dgs", 1), ("mip", 1)]
    assert len({str(s) for s in as_numbers(many).values()}) == 4  # methods and seeds do differ
    back, here = many[1].model, one[2].model  # all but the rotations: that of a round Gaussian follows rounding alone
    for name in ("means", "log_scales", "opacity_logits", "sh_dc"):
        torch.testing.assert_close(getattr(back, name), getattr(here, name), rtol=0, atol=1e-4)


def test_scores_on_the_way():
    plain, often = (experiments.compare(make, ["mip"], [0], CONFIG, score_every=every)[0] for every in (None, 5))
    assert plain.along == {}
    assert list(often.along) == [5, 10]
    assert often.scores == plain.scores  # looking changes nothing
    assert often.along[10] != often.scores


def runs():
    model = None
    rows = [("3dgs", 0, 20.0, 10.0), ("3dgs", 1, 22.0, 14.0), ("mip", 0, 30.0, 28.0), ("mip", 1, 31.0, 30.0)]
    return [experiments.Run(m, s, {16: {"psnr": a}, 8: {"psnr": b}}, model, 0.0) for m, s, a, b in rows]


def test_mean_and_range():
    table = experiments.mean_range(runs())
    assert table["3dgs"] == {16: (21.0, 20.0, 22.0), 8: (12.0, 10.0, 14.0)}


def test_table():
    table = experiments.Table(runs(), {16: "1", 8: "1/2"}, {"mip": (33.36, 34.00, None)})
    assert table.rows["mip"] == [(30.5, 30.0, 31.0), (29.0, 28.0, 30.0), (29.75, 29.0, 30.5)]
    text, page = str(table), table._repr_html_()
    assert "Mip-Splatting" in text
    assert "33.36" in text
    assert "21.00<br><small>20.0\N{EN DASH}22.0</small>" in page
    assert page.count(">\N{EN DASH}</td>") == 1 + 3  # one open figure, and 3DGS, of which nothing is printed


def test_a_method_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="method must be one of"):
        experiments.compare(make, ["3dgs", "unheard-of"], [0], CONFIG)
