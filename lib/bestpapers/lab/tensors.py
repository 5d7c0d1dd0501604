"""Tensors by name in safetensors files, written whole or not at all, with words about them in the header; trained models."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import torch
from torch import Tensor, nn

from .files import AGAIN, FormatError, atomic_write, check_file

Model = TypeVar("Model", bound=nn.Module)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], **about: str) -> None:
    from safetensors.torch import save_file

    with atomic_write(path) as part:
        save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, part, metadata=about)


def read_tensors(path: Path, expected: str = "a whole safetensors file") -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors of a file, and what was said about them. Raises FormatError for a file that is missing, empty or damaged, for
    a folder, and for what a clone without Git LFS leaves."""
    from safetensors import SafetensorError, safe_open

    check_file(path, expected)
    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118, not a dict
    except (OSError, SafetensorError) as error:
        found = f"damage ({str(error)[:200]})" if path.stat().st_size else "an empty file"
        raise FormatError(path, "file", expected, found, AGAIN) from error


def write_model(path: Path, model: nn.Module, header: Mapping[str, Any], **more: Tensor) -> None:
    """Write the weights of a model as float16, with what it is in words of JSON. more: other tensors, as they are."""
    tensors = {name: tensor.half() for name, tensor in model.state_dict().items()}
    write_tensors(path, tensors | more, bestpapers=json.dumps(header))


def read_model(path: Path, build: Callable[[dict[str, Any], dict[str, Tensor]], Model]) -> Model:
    """The model of a file of `write_model`, in float32 and ready for use. Raises FormatError if it is none.

    build  makes it, untrained, of the header and the tensors, and takes out of these what are no weights
    """
    expected = "weights of this kind of model"
    tensors, about = read_tensors(path, expected)
    if "bestpapers" not in about:
        raise FormatError(path, "file", expected, "tensors of another program")
    try:
        model = build(json.loads(about["bestpapers"]), tensors)
        model.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
        if not all(tensor.isfinite().all() for tensor in tensors.values()):
            raise ValueError("weights that are no finite numbers")
    except (LookupError, TypeError, ValueError, RuntimeError, AttributeError, ArithmeticError, MemoryError) as error:
        wrong = f"something else ({' '.join(str(error).split())[:200]})"
        raise FormatError(path, "file", expected, wrong) from error
    return model.eval().requires_grad_(False)


class Kept(nn.Module):
    """A model that is made of a configuration, `config`, and goes into a file with it."""

    CONFIG: ClassVar[type[Any]]
    config: Any

    def save(self, path: Path, **about: Any) -> None:
        """float16 safetensors, with the configuration in the header."""
        write_model(path, self, dict(config=asdict(self.config), **about))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Raises FormatError if the file is none of `save`."""

        def build(header: dict[str, Any], tensors: dict[str, Tensor]) -> Any:
            config = cls.configured(header)
            with torch.device("meta"):  # takes no memory: do the tensors fit the model that the header speaks of?
                cls(config).load_state_dict(tensors, assign=True)
            return cls(config)

        return read_model(path, build)

    @classmethod
    def configured(cls, header: Mapping[str, Any]) -> Any:
        """The configuration in a header."""
        return cls.CONFIG(**{key: tuple(v) if isinstance(v, list) else v for key, v in header["config"].items()})
