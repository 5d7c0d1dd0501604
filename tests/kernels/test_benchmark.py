"""The rasterizer's benchmark runs, checks before it times, and leaves a whole file."""

import json
import subprocess
import sys
from pathlib import Path

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "rasterize.py"


def test_quick_run(tmp_path):
    out = tmp_path / "results" / "quick.json"
    done = subprocess.run(
        [sys.executable, BENCHMARK, "--quick", "--out", out], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
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
        assert f"{row['gaussians']:,} Gaussians, {row['size']} x {row['size']} px" in done.stdout
