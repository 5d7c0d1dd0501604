"""The book's own pictures are what the scripts make, and its examples run."""

import importlib
import importlib.util
import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from stored import ROOT

from bestpapers.course import plots


def module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


pictures = module(ROOT / "scripts" / "pictures.py")


@pytest.mark.parametrize("name", pictures.PICTURES)
def test_the_stored_picture_is_the_one_that_the_library_draws(name):
    plots.use()
    made = np.asarray(Image.open(io.BytesIO(pictures.made(name))).convert("RGB"), dtype=float)
    kept = np.asarray(Image.open(pictures.STATIC / name).convert("RGB"), dtype=float)
    assert made.shape == kept.shape
    assert not name.endswith("-idea.png") or (pictures.STATIC / name).stat().st_size < 60_000
    assert np.abs(made - kept).mean() < 1.0  # of 255; another FreeType may draw letters a little differently


def test_the_race_example_counts_right():
    """It asserts the right sum itself; what the wrong one loses differs from run to run."""
    run = subprocess.run([sys.executable, ROOT / "book/_examples/race.py"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "Right: none" in run.stdout


def test_the_shortest_loop_is_the_fastest_one_measured(monkeypatch):
    """What the kernels page says of its table: the house form is not beaten, and two of the traps cost a factor of 5."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    ns = importlib.import_module("_results").reference("vectorise")["ns_per_pixel"]
    assert min(ns, key=ns.get) == "good"
    assert min(ns["may_be_negative"], ns["rows_of_one_array"], ns["library_exp"]) > 5 * ns["good"]
