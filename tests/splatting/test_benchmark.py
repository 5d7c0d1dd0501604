"""The capture benchmark runs, and leaves the figures that the page on photographs shows."""

import importlib
import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_quick_run(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    out = tmp_path / "quick.json"
    importlib.import_module("capture").main(["--quick", "--out", str(out)])
    result = json.loads(out.read_text())
    (row,) = result["iterations"]
    assert row["ms_least"] <= row["ms"] <= row["ms_most"]
    assert row["gaussians"] == 500 < row["after_densifying"]  # the last iteration did densify
    run = result["run"]
    assert (run["photographs"], run["iterations"]) == (7, 60)
    assert run["psnr_at_1_1"] > 15
    assert f"{row['gaussians']:,} Gaussians, {row['width']} x {row['height']} px" in capsys.readouterr().out


def test_the_figures_of_the_reference_machine_are_of_the_sizes_that_the_page_names(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    page = (ROOT / "book/splatting/photographs.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\| ([\d,]+) \| (\d+) x (\d+) \| \{measured\}`capture:iterations\.(\d)\.ms", page, re.M)
    assert len(lines) == 5
    result = importlib.import_module("_results").reference("capture")
    for count, width, height, at in lines:
        row = result["iterations"][int(at)]
        found = (row["gaussians"], row["width"], row["height"])
        assert found == (int(count.replace(",", "")), int(width), int(height))
    assert result["run"]["iterations"] == 7000
    assert result["run"]["size"] == "480 x 270 px"
