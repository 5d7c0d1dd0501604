"""The capture benchmark runs, and leaves the figures that the page on photographs shows."""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_quick_run(tmp_path):
    out = tmp_path / "quick.json"
    command = [sys.executable, ROOT / "benchmarks/capture.py", "--quick", "--out", out]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    (row,) = result["iterations"]
    assert row["ms_least"] <= row["ms"] <= row["ms_most"]
    assert row["gaussians"] == 500 < row["after_densifying"]  # the last iteration did densify
    run = result["run"]
    assert (run["photographs"], run["iterations"]) == (7, 60)
    assert run["psnr_at_1_1"] > 15
    assert f"{row['gaussians']:,} Gaussians, {row['width']} x {row['height']} px" in done.stdout


def test_the_committed_figures_are_of_the_sizes_that_the_page_names():
    page = (ROOT / "book/splatting/photographs.md").read_text(encoding="utf-8")
    stored = sorted((ROOT / "benchmarks/results").glob("capture-*.json"))
    assert stored
    lines = re.findall(r"^\| ([\d,]+) \| (\d+) x (\d+) \| \{measured\}`capture:iterations\.(\d)\.ms", page, re.M)
    assert len(lines) == 5
    for path in stored:
        result = json.loads(path.read_text())
        for count, width, height, at in lines:
            row = result["iterations"][int(at)]
            found = (row["gaussians"], row["width"], row["height"])
            assert found == (int(count.replace(",", "")), int(width), int(height))
        assert result["run"]["iterations"] == 7000
        assert result["run"]["size"] == "480 x 270 px"
