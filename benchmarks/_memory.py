"""The most memory that something needs, by the system's own high-water mark: no sampler that a busy machine could starve."""

from __future__ import annotations

import ctypes
import gc
import re
from collections.abc import Callable
from pathlib import Path

import torch

from bestpapers.lab import machine


def start_peak(device: str) -> float | None:
    """Begin to watch the peak anew; returns what is held now, in MB (None where the system does not tell)."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / 1e6
    try:
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # what the allocator keeps for later would hide what the run takes
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the mark falls to what is held now
        held = re.search(r"^VmRSS:\s+(\d+) kB", machine.STATUS.read_text(), re.M)
    except (OSError, AttributeError):  # macOS and Windows have a mark, but none that starts anew
        return None
    return int(held[1]) * 1024 / 1e6 if held else None


def peak(device: str) -> float:
    """The most that was held since `start_peak`, which told something, in MB."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    mark = machine.peak_memory()
    assert mark is not None, "start_peak has read the same file"
    return mark / 1e6


def peak_memory(run: Callable[[], object], device: str) -> float | None:
    """What one run needs at its peak beyond what was there before, in MB (None where the system does not tell)."""
    before = start_peak(device)
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    return None if before is None else max(0.0, peak(device) - before)
