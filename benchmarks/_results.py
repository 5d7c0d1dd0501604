"""Where benchmarks leave their figures: one JSON for each benchmark and machine, in results/."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import numba
import torch

HERE = Path(__file__).resolve().parent


def machine() -> dict:
    """What the numbers depend on."""
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*:\s*(.+)", info.read_text()) if info.exists() else []
    git = subprocess.run(["git", "-C", HERE, "describe", "--always", "--dirty"], capture_output=True, text=True)
    return dict(
        cpu=(names or [platform.processor() or platform.machine()])[0].strip(),
        cores=os.cpu_count(),
        threads=dict(torch=torch.get_num_threads(), numba=numba.get_num_threads()),
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
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
    out = out or HERE / "results" / f"{name}-{slug}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(out.name + ".part")
    part.write_text(json.dumps(dict(machine=about) | figures, indent=1) + "\n")
    os.replace(part, out)
    print(f"\nThe results are in {out}.")
    return out
