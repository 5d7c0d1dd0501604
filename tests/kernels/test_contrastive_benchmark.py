"""The benchmark of the contrastive loss runs, checks before it times, survives the death of a loss, and leaves a whole file."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from open_clip import ClipLoss

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("contrastive")


class Here:
    """A `Worker` without a process of its own, which would take longer to start than to answer."""

    def __init__(self, loss, device, pairs, d, folder):
        self.answers = folder / f"{loss}.npz"
        self.ask = importlib.import_module("contrastive").ready(loss, device, pairs, d, self.answers)

    def end(self):
        pass


def test_quick_run(benchmark, monkeypatch, tmp_path):
    monkeypatch.setattr(benchmark, "Worker", Here)
    out = tmp_path / "results" / "quick.json"
    benchmark.main(["--quick", "--out", str(out)])
    assert [p.name for p in out.parent.iterdir()] == ["quick.json"]
    result = json.loads(out.read_text())
    ran = [r for r in result["rows"] if "skipped" not in r]
    assert {(r["loss"], r["pairs"], r["d"]) for r in ran} >= {
        (loss, *shape) for loss in ("ClipLoss", "numba") for shape in ((96, 16), (300, 8))
    }
    for row in ran:
        assert row["loss_error"] < 1e-5
        assert 0 < row["gradient_error"] < 1e-4
        assert 0 < row["ms_25"] <= row["ms"] <= row["ms_75"]
        assert row["repeats"] == 3
    assert all(r["device"] == "cuda" and not r["skipped"].startswith("wrong") for r in result["rows"] if r not in ran)
    assert [(r["pairs"], r["d"]) for r in result["ratios"] if r["device"] == "cpu"] == [(96, 16), (300, 8)]


def test_truth(benchmark):
    """The sums by blocks against autograd in float64; more than one block, and fewer rows in the sample than there are."""
    images, texts, _ = (t.double() for t in benchmark.make_features(1200, 6, "cpu"))
    tensors = [images.requires_grad_(), texts.requires_grad_(), torch.tensor(benchmark.SCALE).double().requires_grad_()]
    loss = ClipLoss()(*tensors)
    g_images, g_texts, g_scale = torch.autograd.grad(loss, tensors)
    right, rows = benchmark.truth(1200, 6), benchmark.sample(1200)
    assert right["loss"] == pytest.approx(loss.item(), rel=1e-6)  # the scale was rounded to float32 here
    assert right["scale"] == pytest.approx(g_scale.item(), rel=1e-6)
    np.testing.assert_allclose(right["images"], g_images[rows], rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(right["texts"], g_texts[rows], rtol=1e-5, atol=1e-9)
    assert 1 < len(right["texts"]) < 100


def test_a_process_that_dies_is_reported(benchmark, tmp_path):
    killed = benchmark.Worker("ClipLoss", "cpu", 64, 4, tmp_path)
    assert "peak_mb" in killed.ask("check")
    killed.process.kill()
    killed.process.wait()
    with pytest.raises(benchmark.Gone, match="killed by the system"):
        killed.ask("time")
    broken = benchmark.Worker("no such loss", "cpu", 64, 4, tmp_path)
    with pytest.raises(benchmark.Gone, match="there is no backend 'no such loss'"):
        broken.ask("check")
    for worker in (killed, broken):
        worker.process.stdout.close()


def test_a_wrong_loss_gets_no_time(benchmark, tmp_path):
    right = benchmark.truth(96, 16)
    np.savez(tmp_path / "a.npz", **right)
    assert benchmark.is_right(benchmark.errors(tmp_path / "a.npz", right))
    for name in right:
        np.savez(tmp_path / "b.npz", **right | {name: right[name] * 1.001})
        assert not benchmark.is_right(benchmark.errors(tmp_path / "b.npz", right)), name
