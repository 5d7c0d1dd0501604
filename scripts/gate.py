"""Everything that must hold, phase by phase: what `make test` runs. Exits non-zero if any phase fails.

All phases run even after one has failed. The last one runs some notebooks again as another processor would compute them.
The last line gives the tests of all phases together, as pytest words it; a phase that is no pytest run counts there only
when it fails, as an error.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path

import stored
from execute import environment

ROOT = stored.ROOT
CODE = ["lib", "notebooks", "scripts", "tests", "benchmarks"]
PY = sys.executable
WORKERS = ["-n", "2", "--dist", "loadfile"]
# The longest cell takes a minute alone; on a machine ten times slower, or with other work beside it, it may take its time.
NBVAL = ["--nbval", "--nbval-current-env", "--nbval-cell-timeout=3600", "--nbval-sanitize-with", "tests/nbval.cfg"]
# Cameras to the last digit, a trained table, embeddings, training steps: each failed once on a processor of another make. The
# last one draws by a trained network and measures flow.
AGAIN = [
    "notebooks/splatting/4_apply.ipynb",
    "notebooks/bioclip/1_idea.ipynb",
    "notebooks/bioclip/2_build.ipynb",
    "notebooks/dynamics/1_idea.ipynb",
]


@dataclass(frozen=True)
class Phase:
    heading: str
    command: list[str]
    share: int = 0  # of the time, in per cent, as expected on two cores
    settings: dict[str, str] = field(default_factory=dict)  # of the environment
    skip: str = ""  # why it cannot run here


def phases() -> list[Phase]:
    """All phases, in order."""
    folders = [p for p in sorted((ROOT / "tests").iterdir()) if any(p.rglob("test_*.py"))]
    unit = [str(p.relative_to(ROOT)) for p in folders]
    unit.remove("tests/book")
    books = [str(p.relative_to(ROOT)) for p in stored.notebooks(ROOT)] or ["notebooks"]
    other, skip = other_processor(platform.machine(), *cpu())
    return [
        Phase("lint", [PY, "-m", "ruff", "check", *CODE]),
        Phase("format", [PY, "-m", "ruff", "format", "--check", *CODE]),
        Phase("types", [PY, "-m", "mypy"], 2),
        Phase("stored notebooks are not stale", [PY, "scripts/execute.py", "--check"], 1),
        Phase("site", [PY, "scripts/build_site.py"], 1),
        Phase("Chromium", [PY, "scripts/browser.py"]),
        Phase("unit tests", [PY, "-m", "pytest", *WORKERS, *unit], 32),
        Phase("site, scripts and browser", [PY, "-m", "pytest", *WORKERS, "tests/book"], 20),
        Phase("notebooks give their stored outputs", [PY, "-m", "pytest", *WORKERS, *NBVAL, *books], 36),
        Phase("some of them as on another processor", [PY, "-m", "pytest", *WORKERS, *NBVAL, *AGAIN], 8, other, skip),
    ]


def cpu() -> tuple[str, set[str]]:
    """Vendor and features of the processor, as Linux names them; empty elsewhere."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    found = dict(reversed([[part.strip() for part in line.split(":", 1)] for line in lines if ":" in line]))
    return found.get("vendor_id", ""), {*found.get("flags", "").split()}


def other_processor(machine: str, vendor: str, flags: set[str]) -> tuple[dict[str, str], str]:
    """Settings that make the libraries compute as on a processor of another make, and why there are none.

    They choose code that this processor can run: the BLAS kernels of the other vendor, vectors of half the length in torch and
    oneDNN, an older target in Numba. Threads are other ones too: two in torch instead of one, one in Numba instead of all.

    machine  as `platform.machine` says
    """
    if machine.lower() not in ("x86_64", "amd64"):
        return {}, f"no settings are known that make a processor of the kind {machine} compute as another one"
    if not {"avx2", "fma"} <= flags:
        return {}, "it needs a processor with AVX2 and a system that says so in /proc/cpuinfo"
    wide = "avx512f" in flags
    return {
        "OPENBLAS_CORETYPE": "Zen" if vendor == "GenuineIntel" else "Haswell",
        "ATEN_CPU_CAPABILITY": "avx2" if wide else "default",
        "ONEDNN_MAX_CPU_ISA": "AVX2" if wide else "SSE41",
        "NUMBA_CPU_NAME": "haswell" if wide else "nehalem",
        "OMP_NUM_THREADS": "2",
        "NUMBA_NUM_THREADS": "1",
    }, ""


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


def run(folder: Path) -> int:
    """Run all phases and print what they found. `folder` takes reports and compiled code."""
    total = {"passed": 0, "failed": 0, "errors": 0, "skipped": 0}
    begin, table, todo = time.perf_counter(), [], phases()
    for number, phase in enumerate(todo, 1):
        title = f"{number} of {len(todo)}. {phase.heading}"
        if phase.skip:
            print(f"\n=== {title}: left out: {phase.skip}", flush=True)
            table.append((number, phase.heading, 0.0, "left out"))
            continue
        settings = [f"{name}={value}" for name, value in phase.settings.items()]
        print(f"\n=== {title} (about {phase.share} % of the time)" if phase.share else f"\n=== {title}")
        print("+", *settings, "python", *phase.command[1:], flush=True)
        is_pytest, report, start = "pytest" in phase.command, folder / f"{number}.xml", time.perf_counter()
        env = environment() | phase.settings
        if "NUMBA_CPU_NAME" in phase.settings:  # code for another processor has no business beside our own
            env["NUMBA_CACHE_DIR"] = str(folder / "numba")
        command = [*phase.command, f"--junitxml={report}"] if is_pytest else phase.command
        code = subprocess.run(command, cwd=ROOT, env=env).returncode
        found = counts(report) if is_pytest else dict.fromkeys(total, 0)
        good = code == 0 and not found["failed"] + found["errors"]
        if code and not found["failed"] + found["errors"]:  # a check failed, or pytest collected nothing or was killed
            found["errors"] = 1
        total = {k: n + found[k] for k, n in total.items()}
        table.append((number, phase.heading, time.perf_counter() - start, "ok" if good else "FAILED"))
        print(f"=== {title}: {table[-1][3]} in {table[-1][2]:.0f} s", flush=True)
    print()
    whole = max(1e-9, time.perf_counter() - begin)
    for number, heading, seconds, word in table:
        print(f"{number:2d}. {heading:40s} {seconds:6.0f} s {100 * seconds / whole:4.0f} %  {word}")
    ok = all(word != "FAILED" for *_, word in table)
    if ok:
        print("Everything holds. The site is in _build/html: `make serve` opens it.")
    else:
        print("Not everything holds: the phases marked FAILED say above what is wrong.")
    print(closing_line(total, time.perf_counter() - begin), flush=True)
    return 0 if ok else 1


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    os.chdir(ROOT)
    sys.exit(main())
