"""The sum that `make test` prints last must be honest."""

import sys

import gate
import pytest


@pytest.fixture
def reports(tmp_path, monkeypatch):
    """Run the gate over made-up phases; returns (exit status, last line)."""

    def run(capsys, *phases):
        monkeypatch.setattr(gate, "phases", lambda: list(phases))
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
    commands = [" ".join(command) for _, command in gate.phases()]
    tools = ["ruff check", "ruff format --check", "mypy", "execute.py --check", "build_site.py", "browser.py"]
    for part in [*tools, "tests/kernels", "tests/course", "tests/splatting", "tests/book", "--nbval "]:
        assert any(part in c for c in commands), part
    site = next(i for i, c in enumerate(commands) if "build_site.py" in c)
    book = next(i for i, c in enumerate(commands) if "tests/book" in c)
    assert site < book  # the tests of the site look at the site that was just built
    assert "pytest" in commands[-1]
