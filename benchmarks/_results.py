"""Where benchmarks leave their figures, and where the book finds them: one JSON for each benchmark and machine, in results/.

The book's pages and its tests take the figures of a benchmark from one machine, so that one that is run on another machine
adds its file and changes no sentence. All machines are listed on the page "How the kernels work".
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from bestpapers.lab import machine as computer
from bestpapers.lab.files import write_file

RESULTS = Path(__file__).resolve().parent / "results"
REFERENCE = "amd-epyc-2-cores"  # the machine of the pages and tests


def reference(name: str) -> dict:
    """The results of benchmarks/<name>.py on the reference machine; where it has none, on the first that has."""
    for found in machines().values():
        if name in found:
            return found[name]
    raise FileNotFoundError(f"no results of benchmarks/{name}.py in {RESULTS}")


def machines() -> dict[str, dict[str, dict]]:
    """All stored results, machine -> benchmark -> figures; the reference machine first."""
    found: dict[str, dict[str, dict]] = {REFERENCE: {}}
    for path in sorted(RESULTS.glob("*-*.json")):
        name, slug = path.stem.split("-", 1)
        found.setdefault(slug, {})[name] = json.loads(path.read_text(encoding="utf-8"))
    return found


def machine() -> dict:
    """What the numbers depend on."""
    import numba
    import torch

    git = subprocess.run(
        ["git", "-C", RESULTS.parent, "describe", "--always", "--dirty"], capture_output=True, text=True
    )
    return dict(
        cpu=computer.processor(),
        cores=computer.cores(),
        threads=dict(torch=torch.get_num_threads(), numba=numba.get_num_threads()),
        gpu=computer.gpu(),
        system=platform.system(),
        python=platform.python_version(),
        torch=torch.__version__,
        numba=numba.__version__,
        wait_policy=os.environ.get("OMP_WAIT_POLICY", "not set"),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=git.stdout.strip() or "unknown",
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,  # above 0 at the start: others were at work
    )


def write(name: str, about: dict, figures: dict, out: Path | None = None) -> Path:
    """Write the figures with the machine they are from, whole or not at all, and say where.

    out: by default results/<name>-<machine>.json beside this file.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", f"{about['gpu'] or about['cpu']} {about['cores']} cores".lower()).strip("-")
    out = out or RESULTS / f"{name}-{slug}.json"
    write_file(out, (json.dumps(dict(machine=about) | figures, indent=1) + "\n").encode())
    print(f"\nThe results are in {out}.")
    return out
