"""Scores and experiment arms."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from bestpapers.lab.images import psnr, to_8bit
from bestpapers.splatting import evaluate
from bestpapers.splatting.data import make_dataset
from bestpapers.splatting.model import GaussianConfig, Gaussians
from bestpapers.splatting.train import TrainConfig

CONFIG = TrainConfig(iterations=15, density=None)


def make(seed):
    return make_dataset("wheel", "thin", 16, n_points=60, n_train=4, n_test=2, seed=seed, test_sizes=(16, 8))


def as_numbers(runs):
    return {(r.method, r.seed): r.scores for r in runs}


def test_scores_are_means_over_views():
    data = make(0)
    model = Gaussians.from_points(data.points, data.colors, GaussianConfig("ewa"))
    table = evaluate.evaluate(model, data.test)
    assert list(table) == [16, 8]
    with torch.no_grad():
        images = model.render(data.test[8].cameras).colors
    want = torch.stack([psnr(to_8bit(a), to_8bit(b)) for a, b in zip(images, data.test[8].images, strict=True)]).mean()
    assert table[8]["psnr"] == pytest.approx(want.item(), abs=1e-4)


@pytest.fixture
def two(monkeypatch):
    """Two processes, however many cores there are."""
    monkeypatch.setattr(evaluate, "_workers", lambda device: 2)


def test_side_by_side_equals_one_after_the_other(two, monkeypatch):
    environment = dict(os.environ)
    many = evaluate.compare(make, ["3dgs", "mip"], [0, 1], CONFIG)
    assert os.environ == environment
    monkeypatch.setattr(evaluate, "_workers", lambda device: 1)
    one = evaluate.compare(make, ["mip", "3dgs"], [1, 0], CONFIG)
    assert as_numbers(many) == as_numbers(one)
    assert [(r.method, r.seed) for r in many] == [("3dgs", 0), ("mip", 0), ("3dgs", 1), ("mip", 1)]
    assert len({str(s) for s in as_numbers(many).values()}) == 4  # methods and seeds do differ
    assert all(torch.equal(p, q) for p, q in zip(many[1].model.parameters(), one[2].model.parameters(), strict=True))


def test_scores_on_the_way():
    plain, often = (evaluate.compare(make, ["mip"], [0], CONFIG, score_every=every)[0] for every in (None, 5))
    assert plain.along == {}
    assert list(often.along) == [5, 10]
    assert often.scores == plain.scores  # looking changes nothing
    assert often.along[10] != often.scores


def test_one_run_to_a_core():
    assert evaluate._workers(torch.device("cuda")) == 1
    assert 1 <= evaluate._workers(torch.device("cpu")) <= 2


def test_an_error_in_one_run_is_passed_on_and_the_next_call_works(two):
    for _ in range(2):
        with pytest.raises(ValueError, match="method must be one of"):
            evaluate.compare(make, ["3dgs", "unheard-of"], [0], CONFIG)
    assert len(evaluate.compare(make, ["3dgs", "mip"], [0], CONFIG)) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_an_interrupt_reaches_all_of_them_and_leaves_no_process(tmp_path):
    """As a notebook does it: the signal goes to the whole group of processes."""
    (tmp_path / "long.py").write_text(
        """
import time
from multiprocessing import active_children
from bestpapers.splatting import evaluate
from bestpapers.splatting.data import make_dataset
from bestpapers.splatting.train import TrainConfig

def make(seed):
    return make_dataset("wheel", "thin", 16, n_points=60, n_train=4, n_test=2, seed=seed, test_sizes=(16, 8))

if __name__ == "__main__":
    evaluate._workers = lambda device: 2
    evaluate.compare(make, ["mip", "ewa"], [0], TrainConfig(iterations=10, density=None))
    print("begun", flush=True)
    try:
        evaluate.compare(make, ["mip", "ewa"], [0, 1], TrainConfig(iterations=10**6, density=None))
    except KeyboardInterrupt:
        print("interrupted", len(active_children()), flush=True)
"""
    )
    run = subprocess.Popen(
        [sys.executable, "long.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert run.stdout.readline() == "begun\n"
        time.sleep(2)
        os.killpg(run.pid, signal.SIGINT)
        assert run.stdout.readline() == "interrupted 0\n"
        assert run.wait(600) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
        run.stdout.close()


def runs():
    model = None
    rows = [("3dgs", 0, 20.0, 10.0), ("3dgs", 1, 22.0, 14.0), ("mip", 0, 30.0, 28.0), ("mip", 1, 31.0, 30.0)]
    return [evaluate.Run(m, s, {16: {"psnr": a}, 8: {"psnr": b}}, model, 0.0) for m, s, a, b in rows]


def test_mean_and_range():
    table = evaluate.mean_range(runs())
    assert table["3dgs"] == {16: (21.0, 20.0, 22.0), 8: (12.0, 10.0, 14.0)}


def test_table():
    table = evaluate.Table(runs(), {16: "1", 8: "1/2"}, {"mip": (33.36, 34.00, None)})
    assert table.rows["mip"] == [(30.5, 30.0, 31.0), (29.0, 28.0, 30.0), (29.75, 29.0, 30.5)]
    text, page = str(table), table._repr_html_()
    assert "Mip-Splatting" in text
    assert "33.36" in text
    assert "21.00<br><small>20.0\N{EN DASH}22.0</small>" in page
    assert page.count(">\N{EN DASH}</td>") == 1 + 3  # one open figure, and 3DGS, of which nothing is printed
