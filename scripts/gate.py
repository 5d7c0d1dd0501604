"""Everything that must hold, phase by phase: what `make test` runs. Exits non-zero if any phase fails.

All phases run even after one has failed. The last line gives the tests of all phases together, as pytest words it;
a phase that is no pytest run counts there only when it fails, as an error.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import stored
from execute import environment

ROOT = stored.ROOT
CODE = ["lib", "notebooks", "scripts", "tests", "benchmarks"]
PY = sys.executable
WORKERS = ["-n", "2", "--dist", "loadfile"]
NBVAL = ["--nbval", "--nbval-current-env", "--nbval-cell-timeout=600", "--nbval-sanitize-with", "tests/nbval.cfg"]


def phases() -> list[tuple[str, list[str]]]:
    """(heading, command) of each phase, in order."""
    folders = [p for p in sorted((ROOT / "tests").iterdir()) if any(p.rglob("test_*.py"))]
    unit = [str(p.relative_to(ROOT)) for p in folders]
    unit.remove("tests/book")
    books = [str(p.relative_to(ROOT)) for p in stored.notebooks(ROOT)] or ["notebooks"]
    return [
        ("lint", [PY, "-m", "ruff", "check", *CODE]),
        ("format", [PY, "-m", "ruff", "format", "--check", *CODE]),
        ("types", [PY, "-m", "mypy"]),
        ("stored notebooks are not stale", [PY, "scripts/execute.py", "--check"]),
        ("site", [PY, "scripts/build_site.py"]),
        ("Chromium", [PY, "scripts/browser.py"]),
        ("unit tests", [PY, "-m", "pytest", *WORKERS, *unit]),
        ("site, scripts and browser", [PY, "-m", "pytest", *WORKERS, "tests/book"]),
        ("notebooks give their stored outputs", [PY, "-m", "pytest", *WORKERS, *NBVAL, *books]),
    ]


def counts(report: Path) -> dict[str, int]:
    """Tests of a junit report, by outcome. A missing or broken report is one error."""
    try:
        suites = ET.parse(report).getroot().iter("testsuite")
        total = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
        for suite in suites:
            total = {k: n + int(suite.get(k, 0)) for k, n in total.items()}
    except (OSError, ET.ParseError):
        return {"passed": 0, "failed": 0, "errors": 1, "skipped": 0}
    bad = total["failures"] + total["errors"] + total["skipped"]
    return {
        "passed": total["tests"] - bad,
        "failed": total["failures"],
        "errors": total["errors"],
        "skipped": total["skipped"],
    }


def closing_line(total: dict[str, int], seconds: float) -> str:
    """One line in pytest's words: `3 failed, 410 passed, 2 skipped, 1 error in 812.33s`."""
    words = {"failed": "failed", "passed": "passed", "skipped": "skipped", "errors": "error"}
    parts = [
        f"{total[k]} {w}{'s' if k == 'errors' and total[k] > 1 else ''}"
        for k, w in words.items()
        if total[k] or k == "passed"
    ]
    return f"{', '.join(parts)} in {seconds:.2f}s"


def main() -> int:
    with tempfile.TemporaryDirectory() as reports:
        return run(Path(reports))


def run(reports: Path) -> int:
    total = {"passed": 0, "failed": 0, "errors": 0, "skipped": 0}
    begin, table = time.perf_counter(), []
    for number, (heading, command) in enumerate(phases(), 1):
        print(f"\n=== {number}. {heading}\n+ {' '.join(command).replace(PY, 'python')}", flush=True)
        is_pytest, report, start = "pytest" in command, reports / f"{number}.xml", time.perf_counter()
        command = [*command, f"--junitxml={report}"] if is_pytest else command
        code = subprocess.run(command, cwd=ROOT, env=environment()).returncode
        found = counts(report) if is_pytest else dict.fromkeys(total, 0)
        good = code == 0 and not found["failed"] + found["errors"]
        if code and not found["failed"] + found["errors"]:  # a check failed, or pytest collected nothing or was killed
            found["errors"] = 1
        total = {k: n + found[k] for k, n in total.items()}
        table.append((number, heading, time.perf_counter() - start, good))
        print(f"=== {number}. {heading}: {'ok' if good else 'FAILED'} in {table[-1][2]:.0f} s", flush=True)
    print()
    for number, heading, seconds, good in table:
        print(f"{number}. {heading:40s} {seconds:6.0f} s  {'ok' if good else 'FAILED'}")
    ok = all(good for *_, good in table)
    if ok:
        print("Everything holds. The site is in _build/html: `make serve` opens it.")
    else:
        print("Not everything holds: the phases marked FAILED say above what is wrong.")
    print(closing_line(total, time.perf_counter() - begin), flush=True)
    return 0 if ok else 1


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
