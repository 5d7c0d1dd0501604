"""Two sizes of the same code: `laptop` (what the book shows and the tests run) and `gpu` (the same, bigger).

The environment variable BESTPAPERS_PRESET selects; without it everything runs at laptop size on the CPU, also on a machine
that has a GPU, so that the numbers of the book come out.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

VARIABLE = "BESTPAPERS_PRESET"
PRESETS = ("laptop", "gpu")


def active() -> str:
    """Return the preset in force: "laptop" or "gpu".

    Raises:
        ValueError: BESTPAPERS_PRESET holds another word.
    """
    word = os.environ.get(VARIABLE, "").strip() or PRESETS[0]
    if word not in PRESETS:
        raise ValueError(f"{VARIABLE} is {word!r}; set it to {' or '.join(PRESETS)}, or unset it for {PRESETS[0]}")
    return word


def choose(*, laptop: T, gpu: T) -> T:
    """Return the value that belongs to the active preset: `n = presets.choose(laptop=1200, gpu=100_000)`."""
    return gpu if active() == "gpu" else laptop


def device() -> torch.device:
    """Return where tensors live: CUDA if the preset is "gpu" and torch finds a CUDA device, else the CPU."""
    import torch

    return torch.device("cuda" if active() == "gpu" and torch.cuda.is_available() else "cpu")


def report(*lines: str) -> None:
    """Print what runs here: one line with preset, device and torch's threads, then each of `lines`.

    A notebook prints this once, after its imports: `presets.report(dispatch.report(presets.device()))`.
    """
    import torch

    preset, dev = active(), device()
    if dev.type == "cuda":
        where = f"cuda ({torch.cuda.get_device_name(dev)})"
    else:
        where = "cpu (torch finds no CUDA device)" if preset == "gpu" else "cpu"
    threads = torch.get_num_threads()
    print(f"preset {preset} · device {where} · {threads} torch thread{'s' if threads != 1 else ''}")
    for line in lines:
        print(line)
