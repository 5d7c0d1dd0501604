"""The machine that a result comes from, in words and as a record, and the most memory that this process ever held."""

from __future__ import annotations

import os
import platform
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

STATUS = Path("/proc/self/status")
PROCESSORS = Path("/proc/cpuinfo")


def processor() -> str:
    """The processor's name as its maker gives it, where the system tells, else its family."""
    names = re.findall(r"^model name\s*:\s*(.+)", PROCESSORS.read_text(), re.M) if PROCESSORS.exists() else []
    return str(names[0]).strip() if names else platform.processor() or platform.machine()


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> int | None:
    """Bytes of main memory, where the system tells."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        return None


def gpu() -> str | None:
    """The name of the CUDA device that torch would take, if there is one. Loads torch."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def versions(*packages: str) -> dict[str, str]:
    """Python and these packages, as they are installed."""
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in packages}


def in_words() -> str:
    """Processor, cores, memory and system in a line, as "AMD EPYC, 2 cores, 8 GiB, Linux x86_64"."""
    size, n = memory(), cores()
    parts = [processor(), f"{n} core{'s' if n != 1 else ''}", f"{platform.system()} {platform.machine()}"]
    if size is not None:
        parts.insert(2, f"{size / 2**30:.0f} GiB")
    return ", ".join(parts)


def record(*packages: str) -> dict[str, Any]:
    """What figures depend on, for a JSON file: processor, cores, memory_gib, gpu, system, and versions of packages."""
    size = memory()
    return dict(
        processor=processor(),
        cores=cores(),
        memory_gib=None if size is None else round(size / 2**30),
        gpu=gpu(),
        system=f"{platform.system()} {platform.machine()}",
        **versions(*packages),
    )


def peak_memory() -> int | None:
    """The most bytes of memory that this process has held so far: the system's own high-water mark, or None (Windows)."""
    if STATUS.exists() and (found := re.search(r"^VmHWM:\s*(\d+) kB", STATUS.read_text(), re.M)):
        return 1024 * int(found[1])  # and not what getrusage says: on Linux that is at least what the parent held
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
