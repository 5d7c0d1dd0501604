"""How every op refuses bad arguments: with a sentence that names the op, the argument and the value."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Need = Callable[[bool, str], None]


def needs(op: str) -> Need:
    """The function by which `op` refuses: need(ok, message) raises ValueError("op: message") unless ok."""

    def need(ok: bool, message: str) -> None:
        if not ok:
            raise ValueError(f"{op}: {message}")

    return need


def check_tensors(need: Need, tensors: dict[str, Tensor]) -> None:
    """All are tensors of a float type, on the device of the first one."""
    first = next(iter(tensors))
    for name, t in tensors.items():
        need(isinstance(t, Tensor), f"{name} must be a torch tensor, got {type(t).__name__}")
        need(t.is_floating_point(), f"{name} must be of a float type, got {t.dtype}")
        need(
            t.device == tensors[first].device,
            f"{name} is on {t.device} but {first} is on {tensors[first].device}; move both to one device",
        )


class NotFinite(NamedTuple):
    """A NaN or infinity: in which tensor, at which index, which, and how many values of the tensor are of that kind."""

    name: str
    at: list[int]
    value: float
    of_that_kind: int


def first_not_finite(tensors: dict[str, Tensor]) -> NotFinite | None:
    """The first value that is NaN or infinite, or None."""
    # one look at all of them (a single wait for the device): a NaN or infinity anywhere shows in the sum. Finite values
    # could overflow it too, so only the search that follows decides
    if torch.stack([t.detach().sum(dtype=torch.float32) for t in tensors.values()]).sum().isfinite():
        return None
    for name, t in tensors.items():
        bad = torch.nonzero(~torch.isfinite(t.detach()))
        if len(bad):
            at = bad[0].tolist()
            return NotFinite(name, at, t.detach()[tuple(at)].item(), len(bad))
    return None
