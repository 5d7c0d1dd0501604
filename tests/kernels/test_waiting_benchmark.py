"""The benchmark of waiting threads: its programs start and end, a run hears its policy, and the file is whole."""

import contextlib
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def waiting(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("waiting")


def test_file(waiting, monkeypatch, tmp_path, capsys):
    """Made-up times: the middle one of a policy's runs counts, and each policy runs in each round, alone and beside others."""
    asked, beside = [], []
    monkeypatch.setattr(waiting, "busy", lambda n: beside.append(n) or waiting.contextlib.nullcontext())
    monkeypatch.setattr(waiting, "run", lambda policy, scene, n: asked.append((policy, scene, n)) or [3.0, 1.0, 200.0])
    waiting.main(["--out", str(tmp_path / "waiting.json")])
    result = json.loads((tmp_path / "waiting.json").read_text())
    assert {(r["busy"], r["policy"]) for r in result["rows"]} == {(n, p) for n in (0, 2) for p in waiting.POLICIES}
    assert all((r["ms_25"], r["ms"], r["ms_75"], r["repeats"]) == (1, 3, 200, 9) for r in result["rows"])
    assert (result["gaussians"], result["size"]) == (20_000, 480)
    assert beside == ([0] * 3 + [2] * 3) * 3
    assert asked == [(policy, (20_000, 480), 11) for policy in waiting.POLICIES] * 6
    assert "beside 2 busy programs  active" in capsys.readouterr().out


def test_both_pools_are_left_to_their_default(waiting):
    """By the word of GNU's OpenMP, of which torch and Numba have a copy each: the library, which is loaded between them, has no
    say here. (That a policy reaches both is tested in test_threads.py.)"""
    env = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"} | {"OMP_DISPLAY_ENV": "verbose"}
    code = "import waiting; print(waiting.run('default', (30, 16), 2))"
    done = subprocess.run([sys.executable, "-c", code], cwd=BENCHMARKS, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == 2
    heard = [line for line in done.stderr.splitlines() if "GOMP_SPINCOUNT" in line]
    if len(heard) < 2:
        pytest.skip("here the pools are not those of GNU's OpenMP")
    assert heard == ["  GOMP_SPINCOUNT = '300000'"] * 2


def test_the_busy_programs_end(waiting, monkeypatch):
    started, start = [], subprocess.Popen
    monkeypatch.setattr(waiting.subprocess, "Popen", lambda *a: started.append(start(*a)) or started[-1])
    with contextlib.suppress(KeyboardInterrupt), waiting.busy(2):
        assert [process.poll() for process in started] == [None, None]
        raise KeyboardInterrupt
    assert all(process.poll() is not None for process in started)
