"""The rasterizer's benchmark runs, checks before it times, and leaves a whole file."""

import importlib
import json
from pathlib import Path


def test_quick_run(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    out = tmp_path / "results" / "quick.json"
    importlib.import_module("rasterize").main(["--quick", "--out", str(out)])
    printed = capsys.readouterr().out
    assert [p.name for p in out.parent.iterdir()] == ["quick.json"]
    result = json.loads(out.read_text())
    assert {"cpu", "cores", "torch", "numba", "gpu", "date", "commit"} <= set(result["machine"])
    ran = [r for r in result["rows"] if "skipped" not in r]
    assert {(r["backend"], r["size"]) for r in ran} >= {
        (b, s) for b in ("reference", "textbook", "numba") for s in (40, 64)
    }
    for row in ran:
        assert row["pixel_error"] < 0.01
        # against float64; a pixel may stand on the other side of 1/255
        assert row["gradient_error"] < 5e-3, row
        assert row["pairs"] >= row["gaussians"]
        for name in ("forward", "training"):
            assert 0 < row[name]["ms_25"] <= row[name]["ms"] <= row[name]["ms_75"]
    left_out = [r for r in result["rows"] if r not in ran]
    assert all(r["device"] == "cuda" and not r["skipped"].startswith("wrong") for r in left_out)
    assert sum("iteration" in r for r in ran) == sum(r["size"] == 40 for r in ran)
    for row in ran:
        assert f"{row['gaussians']:,} Gaussians, {row['size']} x {row['size']} px" in printed
