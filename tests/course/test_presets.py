import subprocess
import sys

import pytest
import torch

from bestpapers.course import presets
from bestpapers.course.progress import progress


@pytest.fixture
def preset(monkeypatch):
    return lambda word: monkeypatch.setenv("BESTPAPERS_PRESET", word)


def test_laptop_is_the_default(monkeypatch):
    monkeypatch.delenv("BESTPAPERS_PRESET", raising=False)
    assert presets.active() == "laptop"
    assert presets.choose(laptop=1, gpu=2) == 1
    assert presets.device() == torch.device("cpu")


def test_gpu_takes_cuda_where_it_is(preset, monkeypatch):
    preset("gpu")
    assert presets.choose(laptop=1, gpu=2) == 2
    for found in (True, False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda found=found: found)
        assert presets.device().type == ("cuda" if found else "cpu")


def test_laptop_stays_on_the_cpu_of_a_machine_with_cuda(preset, monkeypatch):
    preset("laptop")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert presets.device().type == "cpu"


def test_another_word_is_refused_with_the_choices(preset):
    preset("desktop")
    with pytest.raises(ValueError, match=r"BESTPAPERS_PRESET is 'desktop'; set it to laptop or gpu"):
        presets.active()


def test_report_prints_the_machine_then_the_lines(preset, capsys, monkeypatch):
    preset("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    threads = torch.get_num_threads()
    presets.report("kernels on cpu: numba")
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("preset gpu · device cpu (torch finds no CUDA device) · ")
    assert str(threads) in first
    assert second == "kernels on cpu: numba"


@pytest.mark.parametrize(("value", "silent"), [("1", True), ("yes", True), ("0", False), ("", False), (None, False)])
def test_progress_is_silent_when_asked(monkeypatch, capsys, value, silent):
    if value is None:
        monkeypatch.delenv("BESTPAPERS_NO_PROGRESS", raising=False)
    else:
        monkeypatch.setenv("BESTPAPERS_NO_PROGRESS", value)
    assert list(progress(range(3), desc="counting")) == [0, 1, 2]
    with progress(total=2, desc="by hand") as bar:
        bar.update(2)
    assert ("counting" not in capsys.readouterr().err) == silent


def test_importing_the_package_loads_nothing_heavy():
    heavy = "{'torch', 'numba', 'matplotlib', 'numpy', 'IPython', 'anywidget', 'tqdm'}"
    rooms = "from bestpapers.course import presets, progress, claims; from bestpapers.lab import cli, files, machine"
    code = f"import sys, bestpapers.course; {rooms}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
