"""Tensors by name in safetensors files, written whole or not at all, with words about them in the header."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from .files import FormatError, atomic_write


def write_tensors(path: Path, tensors: Mapping[str, Tensor], **about: str) -> None:
    from safetensors.torch import save_file

    with atomic_write(path) as part:
        save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, part, metadata=about)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors of a file, and what was said about them. Raises FormatError for a file that is missing or damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118, not a dict
    except (OSError, SafetensorError) as error:
        raise FormatError(path, "file", "a whole safetensors file", str(error)[:200]) from error
