"""The benchmark of splatting runs, checks before it times, and leaves a whole file."""

import importlib
import json
from pathlib import Path

import numba
import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("softsplat")


def test_quick_run(benchmark, tmp_path):
    threads = numba.get_num_threads(), torch.get_num_threads()  # to start the one may set the other
    out = tmp_path / "results" / "quick.json"
    benchmark.main(["--quick", "--out", str(out)])
    assert [p.name for p in out.parent.iterdir()] == ["quick.json"]
    assert (numba.get_num_threads(), torch.get_num_threads()) == threads
    result = json.loads(out.read_text())
    ran = [r for r in result["rows"] if "skipped" not in r]
    assert {(r["way"], r["width"], r["threads"]) for r in ran if r["device"] == "cpu"} == {
        (way, width, n) for way in benchmark.WAYS["cpu"] for width in (40, 33) for n in benchmark.thread_counts()
    }
    for row in ran:
        for name in ("forward", "training")[: 1 if row["way"] == "copy" else 2]:
            assert 0 < row[name]["ms_25"] <= row[name]["ms"] <= row[name]["ms_75"]
            assert row[name]["repeats"] == 3
        if row["way"] not in benchmark.UNCHECKED:
            assert row["output_error"] < 1e-4
            assert 0 < row["gradient_error"] < 1e-2
    left_out = [r for r in result["rows"] if r not in ran]
    assert all(r["device"] == "cuda" and not r["skipped"].startswith("wrong") for r in left_out)
    for ratio in result["ratios"]:
        assert ratio["faster_than_reference"]["training"] > 0
        assert ratio["forward_over_copy"] > 0
        assert ratio["forward_over_floor"] == pytest.approx(
            next(
                r["forward"]["ms"] / ratio["floor_ms"]
                for r in ran
                if r["way"] == "numba" and all(r[k] == ratio[k] for k in benchmark.SAME)
            )
        )
    assert {m["threads"] for m in result["memory"] if m["device"] == "cpu"} == set(benchmark.thread_counts())
    assert all(m["gb_per_s"] > 0 for m in result["memory"])
    assert benchmark.moved((40, 24, 3, "smooth")) == 4 * 40 * 24 * (3 + 2 + 1 + 3)


def test_what_is_wrong_gets_no_time(benchmark, monkeypatch):
    right = benchmark.index_add
    monkeypatch.setattr(benchmark, "index_add", lambda x, flow, z: right(x, flow, 0 * z))
    monkeypatch.setattr(benchmark, "set_threads", lambda n: None)
    rows = {r["way"]: r for r in benchmark.measure((40, 24, 3, "smooth"), "cpu", 1, 0.0, 1)}
    assert rows["index_add"]["skipped"] == "wrong, so no time is given"
    assert "forward" in rows["numba"]


def test_power_of_growth(benchmark):
    assert benchmark.exponent([(n, 3 * n**1.5) for n in (10, 100, 700)]) == pytest.approx(1.5)
    assert benchmark.exponent([(10, 1)]) is None
