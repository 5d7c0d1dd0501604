"""Runs side by side, their rows in a file, and the hashes that say what these were made from."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numba
import pytest
import torch

from bestpapers.lab import runs
from bestpapers.lab.files import FormatError
from bestpapers.lab.runs import Results, side_by_side

from .tiny_training import Config, Run, weights


def trained(seed, steps=20):
    """The weights of a run, the process that made it, and with how many threads."""
    run = Run(Config(steps=steps, seed=seed))
    run.run(quiet=True)
    return weights(run), os.getpid(), torch.get_num_threads()


def fails(number):
    if number == 1:
        raise FormatError("some.json", "field", "this", "that")
    return number


# -------------------------------------------------------------------------------------------------------- side by side


def test_side_by_side_equals_one_after_the_other():
    """With one thread each; and nothing of it stays in the environment."""
    names, threads = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"), torch.get_num_threads()
    environment = [os.environ.get(name) for name in names]
    jobs = [(seed,) for seed in range(4)]
    many = dict(side_by_side(trained, jobs, workers=2))
    one = dict(side_by_side(trained, jobs, workers=1))
    assert [os.environ.get(name) for name in names] == environment
    assert torch.get_num_threads() == threads
    assert list(one) == sorted(many) == [0, 1, 2, 3]
    for number in range(4):
        torch.testing.assert_close(many[number][0], one[number][0])  # last bits may differ from process to process
    assert os.getpid() not in {pid for _, pid, _ in many.values()}
    assert {pid for _, pid, _ in one.values()} == {os.getpid()}
    assert {count for found in (many, one) for _, _, count in found.values()} == {1}


def test_one_run_to_a_core_and_two_at_most(monkeypatch):
    assert runs.default_workers("cuda") == 1
    for cores, workers in ((1, 1), (2, 2), (64, 2)):
        monkeypatch.setattr(numba, "get_num_threads", lambda cores=cores: cores)
        assert runs.default_workers("cpu") == workers


def test_a_single_job_needs_no_process_and_none_no_result():
    assert [pid for _, (_, pid, _) in side_by_side(trained, [(0,)], workers=2)] == [os.getpid()]
    assert list(side_by_side(trained, [], workers=2)) == []


def test_an_error_in_one_run_is_passed_on_and_the_next_call_works():
    for _ in range(2):
        with pytest.raises(FormatError, match="expected this, found that") as caught:
            list(side_by_side(fails, [(0,), (1,), (2,)], workers=2))
        assert caught.value.field == "field"
    assert dict(side_by_side(fails, [(0,), (2,)], workers=2)) == {0: 0, 1: 2}


def test_whoever_takes_only_the_first_result_leaves_no_run_behind():
    """The long one is told to stop, at the end of its step."""
    series = side_by_side(trained, [(0, 1), (1, 10**7)], workers=2)
    assert next(series)[0] == 0
    series.close()
    assert not runs._pool.cache_info().currsize


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_an_interrupt_reaches_all_of_them_and_leaves_no_process(tmp_path):
    """As a notebook does it: the signal goes to the whole group of processes."""
    (tmp_path / "long.py").write_text(
        f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from multiprocessing import active_children
from bestpapers.lab.runs import side_by_side
from tests.lab.test_runs import trained

if __name__ == "__main__":
    list(side_by_side(trained, [(0, 5), (1, 5)], workers=2))
    print("begun", flush=True)
    try:
        list(side_by_side(trained, [(seed, 10**7) for seed in range(4)], workers=2))
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


# ----------------------------------------------------------------------------------------------------- recorded results


def filled(path=None, **arms):
    """Results of one measure: arm={seed: value}."""
    results = Results(path, "code")
    for arm, values in arms.items():
        for seed, value in values.items():
            results.add("base", arm, seed, {"right": value, "other": 1.0}, loss=0.5)
    return results


def test_rows_are_kept_as_they_come(tmp_path):
    path = tmp_path / "deep" / "results.json"
    results = Results(path, "code")
    results.about["command"] = "make it"
    results.expect("base", dict(steps=3, sizes=(1, 2)), "code")
    results.add("base", "b", 1, {"right": 1 / 3}, loss=0.5)
    results.add("base", "a", 1, {"right": 0.25})
    again = Results(path)
    assert again.rows == {
        "base/a/1": dict(scores=dict(right=0.25)),
        "base/b/1": dict(scores=dict(right=0.33333), loss=0.5),
    }
    assert again.settings == {"base": dict(steps=3, sizes=[1, 2])}
    assert (again.source, again.about) == ("code", dict(command="make it"))
    before = path.read_bytes()
    again.save()
    assert path.read_bytes() == before
    assert list(json.loads(before)) == ["command", "source", "settings", "rows"]


def test_rows_of_other_settings_and_other_data_are_not_mixed(tmp_path):
    results = Results(tmp_path / "results.json", "code")
    results.expect("base", dict(steps=3, lr=0.1), "code")
    results.expect("base", dict(lr=0.1, steps=3), "code")
    results.expect("long", dict(steps=9), "code")
    with pytest.raises(ValueError, match=r"results\.json: the rows of 'base' were made with other settings \(lr\)"):
        results.expect("base", dict(steps=3, lr=0.2), "code")
    with pytest.raises(ValueError, match=r"results\.json: .* made from other data \(source code, now other\)"):
        results.expect("base", dict(steps=3, lr=0.1), "other")


def test_values_by_seed_with_intervals():
    results = filled(a={0: 0.1, 1: 0.3, 10: 0.2}, b={1: 0.2, 0: 0.1})
    assert list(results.values("base", "a", "right").items()) == [(0, 0.1), (1, 0.3), (10, 0.2)]
    assert results.interval("base", "a", "right")[0] == pytest.approx(0.2)
    assert results.paired("base", "a", "b", "right")[0] == pytest.approx(0.05)  # on seeds 0 and 1
    with pytest.raises(ValueError, match=r"no measure 'wrong'; it has right, other"):
        results.values("base", "a", "wrong")
    with pytest.raises(ValueError, match="no rows of setting 'null' and arm 'a'"):
        results.values("null", "a", "right")


def test_a_run_made_anew_is_compared_with_its_row():
    results = filled(a={0: 0.5})
    assert results.check("base/a/0", {"right": 0.51, "other": 1.0}, 0.02) == pytest.approx(0.01)
    with pytest.raises(ValueError, match=r"base/a/0 made anew differs by more than 0.02: right 0.53000 for 0.50000$"):
        results.check("base/a/0", {"right": 0.53, "other": 1.0}, 0.02)
    with pytest.raises(ValueError, match="right nan for"):
        results.check("base/a/0", {"right": float("nan"), "other": 1.0}, 0.02)
    assert results.check("base/a/0", {"right": 0.9, "other": 1.0}, 0.02, skip=("rig",)) == 0
    with pytest.raises(ValueError, match="has other measures: new, other"):
        results.check("base/a/0", {"right": 0.5, "new": 1.0}, 0.02)

    with pytest.raises(ValueError, match="there is no row 'base/b/0'"):
        results.check("base/b/0", {"right": 0.5}, 0.02)


def file_with(rows):
    return json.dumps(dict(source="x", settings={}, rows=rows))


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{}",
        '{"source": 1, "settings": {}, "rows": {}}',
        "hello",
        file_with({"base/a": {"scores": {}}}),
        file_with({"base/a/x": {"scores": {}}}),
        file_with({"base/a/0": [1]}),
        file_with({"base/a/0": {"scores": [1]}}),
        file_with({"base/a/0": {"scores": {"right": "much"}}}),
    ],
)
def test_a_damaged_results_file_is_refused(tmp_path, text):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(FormatError, match=r"results\.json"):
        Results(path)


# -------------------------------------------------------------------------------------------------------------- hashes


def test_the_fingerprint_is_that_of_all_tensors_in_their_order():
    a, b = torch.arange(6, dtype=torch.uint8), torch.arange(3, dtype=torch.uint8)
    assert runs.fingerprint(a, b) == runs.fingerprint(a.view(2, 3), b)
    assert len({runs.fingerprint(a, b), runs.fingerprint(b, a), runs.fingerprint(a), runs.fingerprint(a, b + 1)}) == 4
    assert runs.fingerprint(a.view(2, 3).T) == runs.fingerprint(a.view(2, 3).T.contiguous())


CODE = '''"""A module."""

import math


class Sun:
    """It shines."""

    warmth: float = 1.5

    def shine(self, hours=3):
        """For some hours."""
        return [f"{h} x {self.warmth}" for h in range(hours) if h != 1]
'''


def hash_of(tmp_path, *codes):
    for i, code in enumerate(codes):
        (tmp_path / f"{i}.py").write_text(code)
    return runs.source_hash([tmp_path / f"{i}.py" for i in range(len(codes))])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""A module."""\n', ""),
        ('"""It shines."""', '"""It still shines.\n\n    And how."""'),
        ("import math", "import cmath\nfrom os import path"),
        ("warmth: float = 1.5", "warmth: float = 1.50  # of summer"),
        ("(self, hours=3)", "(\n        self,\n        hours=3,\n    )"),
    ],
)
def test_what_says_nothing_to_the_machine_does_not_count(tmp_path, old, new):
    assert old in CODE
    assert hash_of(tmp_path, CODE.replace(old, new)) == hash_of(tmp_path, CODE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("1.5", "1.6"),
        ("hours=3", "hours=4"),
        ("h != 1", "h == 1"),
        ("{h} x", "{h} y"),
        ("warmth: float", "heat: float"),
        ("return [", "self.warmth = 2\n        return ["),
        ('"""It shines."""', '"""It shines."""\n\n    "not a docstring"'),
    ],
)
def test_what_the_machine_does_counts(tmp_path, old, new):
    assert old in CODE
    assert hash_of(tmp_path, CODE.replace(old, new)) != hash_of(tmp_path, CODE)


def test_the_hash_is_the_same_under_every_python(tmp_path):
    """Measured under 3.10 to 3.13. Syntax trees have other fields in each; those that are empty are left out."""
    assert hash_of(tmp_path, CODE) == "f9f70789228c"
    assert hash_of(tmp_path, CODE, "x = 1") != hash_of(tmp_path, "x = 1", CODE)
