"""The sum that `make test` prints last must be honest."""

import platform
import subprocess
import sys

import execute
import gate
import pytest
import stored


@pytest.fixture
def reports(tmp_path, monkeypatch):
    """Run the gate over made-up phases; returns (exit status, last line)."""

    def run(capsys, *phases):
        monkeypatch.setattr(
            gate, "phases", lambda: [p if isinstance(p, gate.Phase) else gate.Phase(*p) for p in phases]
        )
        code = gate.main()
        return code, capsys.readouterr().out.strip().splitlines()[-1]

    def tests(name, text):
        (tmp_path / f"test_{name}.py").write_text(text)
        return (name, [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(tmp_path / f"test_{name}.py")])

    return run, tests


PASS = "import pytest\ndef test_a(): pass\ndef test_b(): pass\n@pytest.mark.skip\ndef test_c(): pass\n"
OK = ("fine", [sys.executable, "-c", ""])


def test_all_well(reports, capfd):
    run, tests = reports
    code, line = run(capfd, OK, tests("one", PASS), tests("two", "def test_a(): pass\n"))
    assert code == 0
    assert line.startswith("3 passed, 1 skipped in ")


def test_a_failed_test_counts(reports, capfd):
    run, tests = reports
    code, line = run(capfd, tests("one", PASS), tests("two", "def test_a(): assert False\n"), OK)
    assert code == 1
    assert line.startswith("1 failed, 2 passed, 1 skipped in ")


@pytest.mark.parametrize("broken", ["import nothing_of_this_name\n", "", "import os\nos._exit(0)\n"])
def test_a_phase_that_collects_nothing_or_dies_is_an_error(reports, capfd, broken):
    run, tests = reports
    code, line = run(capfd, tests("one", PASS), tests("two", broken))
    assert code == 1
    assert line.startswith("2 passed, 1 skipped, 1 error in ")


def test_a_failed_check_is_an_error_and_later_phases_still_run(reports, capfd):
    run, tests = reports
    code, line = run(capfd, ("lint", [sys.executable, "-c", "raise SystemExit(3)"]), tests("one", PASS))
    assert code == 1
    assert line.startswith("2 passed, 1 skipped, 1 error in ")


def test_the_phases_cover_what_make_test_promises():
    commands = [" ".join(phase.command) for phase in gate.phases()]
    tools = ["ruff check", "ruff format --check", "mypy", "execute.py --check", "build_site.py", "browser.py"]
    for part in [*tools, "tests/kernels", "tests/course", "tests/splatting", "tests/book", "--nbval "]:
        assert any(part in c for c in commands), part
    site = next(i for i, c in enumerate(commands) if "build_site.py" in c)
    book = next(i for i, c in enumerate(commands) if "tests/book" in c)
    assert site < book  # the tests of the site look at the site that was just built
    assert all("pytest" in c and "--nbval " in c for c in commands[-2:])
    assert all((stored.ROOT / path).is_file() for path in gate.AGAIN)
    assert 90 <= sum(phase.share for phase in gate.phases()) <= 100


def test_settings_reach_the_phase(reports, capfd):
    run, tests = reports
    text = (
        "import os\ndef test_a(): assert os.environ['NUMBA_CPU_NAME'] == 'haswell' and os.environ['NUMBA_CACHE_DIR']\n"
    )
    code, line = run(capfd, OK, gate.Phase(*tests("one", text), settings={"NUMBA_CPU_NAME": "haswell"}))
    assert code == 0
    assert line.startswith("1 passed in ")


def test_a_phase_that_cannot_run_here_says_why(monkeypatch, capfd):
    monkeypatch.setattr(
        gate, "phases", lambda: [gate.Phase(*OK, share=60), gate.Phase("b", ["no"], skip="an old machine")]
    )
    assert gate.main() == 0
    out = capfd.readouterr().out
    assert "=== 1 of 2. fine (about 60 % of the time)" in out
    assert "=== 2 of 2. b: left out: an old machine" in out


INTEL, AMD = "GenuineIntel", "AuthenticAMD"
OLD = {"avx2", "fma"}


@pytest.mark.parametrize(
    ("vendor", "flags", "blas", "torch", "numba"),
    [
        (INTEL, OLD, "Zen", "default", "nehalem"),
        (INTEL, OLD | {"avx512f"}, "Zen", "avx2", "haswell"),
        (AMD, OLD, "Haswell", "default", "nehalem"),
        (AMD, OLD | {"avx512f"}, "Haswell", "avx2", "haswell"),
    ],
)
def test_another_processor_is_one_that_this_one_can_play(vendor, flags, blas, torch, numba):
    settings, why = gate.other_processor("x86_64", vendor, flags)
    assert why == ""
    assert (settings["OPENBLAS_CORETYPE"], settings["ATEN_CPU_CAPABILITY"]) == (blas, torch)
    assert settings["NUMBA_CPU_NAME"] == numba


@pytest.mark.parametrize(("machine", "flags"), [("arm64", set()), ("x86_64", {"sse4_2"}), ("AMD64", set())])
def test_where_none_can_be_played_the_reason_is_said(machine, flags):
    settings, why = gate.other_processor(machine, INTEL, flags)
    assert settings == {}
    assert why


def test_the_settings_give_other_digits_and_the_same_result():
    """The proof that they do something: one product of matrices, computed twice. Rounded as outputs are, it is the same."""
    settings, why = gate.other_processor(platform.machine(), *gate.cpu())
    if why:
        pytest.skip(why)
    code = (
        "import numpy as np, torch; r = np.random.default_rng(0); a = r.normal(size=(300, 300)); "
        "x = torch.from_numpy(r.normal(size=100_003).astype(np.float32)); "
        "print(np.linalg.solve(a, a[0]).sum().hex(), x.exp().sum().item().hex(), f'{x.exp().sum().item():.3g}')"
    )
    base = {k: v for k, v in execute.environment().items() if k not in settings} | {"OMP_NUM_THREADS": "1"}
    one, other = (
        subprocess.run(
            [sys.executable, "-c", code], env=base | s, capture_output=True, text=True, check=True
        ).stdout.split()
        for s in ({}, settings)
    )
    assert one[:2] != other[:2]
    assert one[2] == other[2]
