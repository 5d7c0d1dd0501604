"""How the benchmarks read the most memory that something needs."""

import importlib
from pathlib import Path

import pytest


@pytest.fixture
def memory(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    return importlib.import_module("_memory")


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux lets the mark start anew")
def test_the_mark_is_that_of_one_run(memory):
    """However short it was, and whatever was held before; read by the system, it needs no processor of its own."""
    large, small = (memory.peak_memory(lambda n=n: bytearray(n), "cpu") for n in (400_000_000, 50_000_000))
    assert 399 < large < 420
    assert 49 < small < 70


def test_systems_that_do_not_tell(memory, monkeypatch):
    monkeypatch.setattr(memory.machine, "STATUS", Path("/nowhere/status"))
    ran = []
    assert memory.peak_memory(lambda: ran.append(1), "cpu") is None
    assert ran == [1]
