"""The machine in words, and the high-water mark of memory: that of this process, and of nobody else."""

import json
import platform
import subprocess
import sys

import psutil
import pytest
import torch

from bestpapers.lab import machine


def test_a_record_goes_into_json_and_agrees_with_psutil():
    found = machine.record("torch", "numba")
    assert json.loads(json.dumps(found)) == found
    assert found["torch"] == torch.__version__.split("+")[0] or found["torch"] == torch.__version__
    assert found["python"] == platform.python_version()
    assert found["memory_gib"] == round(psutil.virtual_memory().total / 2**30)
    assert found["processor"]
    assert 1 <= found["cores"] <= psutil.cpu_count()
    assert (found["gpu"] is not None) == torch.cuda.is_available()


def test_in_words(monkeypatch, tmp_path):
    (tmp_path / "cpuinfo").write_text(
        "processor\t: 0\nmodel name\t: AMD EPYC 7B13 \nprocessor\t: 1\nmodel name\t: other\n"
    )
    monkeypatch.setattr(machine, "PROCESSORS", tmp_path / "cpuinfo")
    monkeypatch.setattr(machine, "memory", lambda: 8 << 30)
    monkeypatch.setattr(machine, "cores", lambda: 2)
    system = f"{platform.system()} {platform.machine()}"
    assert machine.in_words() == f"AMD EPYC 7B13, 2 cores, 8 GiB, {system}"
    monkeypatch.setattr(machine, "PROCESSORS", tmp_path / "none")
    monkeypatch.setattr(machine, "memory", lambda: None)
    assert machine.in_words() == f"{platform.processor() or platform.machine()}, 2 cores, {system}"


def test_cores_are_those_that_this_process_may_use(monkeypatch):
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda pid: {0, 3, 5} if pid == 0 else {0}, raising=False)
    assert machine.cores() == 3
    monkeypatch.delattr(machine.os, "sched_getaffinity")
    monkeypatch.setattr(machine.os, "cpu_count", lambda: 7)
    assert machine.cores() == 7
    monkeypatch.setattr(machine.os, "cpu_count", lambda: None)
    assert machine.cores() == 1


def test_the_peak_is_what_was_held_though_it_is_free_again_and_not_the_parents():
    """A process that held 300 MB for a moment tells of them, and its child, which needs less, does not."""
    child = "from bestpapers.lab.machine import peak_memory as p; print(p())"
    code = f"""
import subprocess, sys
from bestpapers.lab.machine import peak_memory
before = peak_memory()
data = bytearray(b"1") * (300 << 20)
del data
print(before, peak_memory(), subprocess.run([sys.executable, "-c", {child!r}], stdout=subprocess.PIPE, text=True).stdout)
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    if "None" in shown:
        pytest.skip("this system does not tell")
    before, peak, of_child = map(int, shown.split())
    assert before < 100 << 20
    assert 300 << 20 <= peak < 500 << 20
    if machine.STATUS.exists():
        assert of_child < 100 << 20
