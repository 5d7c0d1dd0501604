"""Fresh memory that holds NaN, so that a cell which nobody writes shows in the result."""

import math
from contextlib import contextmanager

import numpy as np
import pytest
import torch

WHOLE = 100  # in memory of whole numbers, of any type


@contextmanager
def poisoned_memory():
    """While it lasts, empty arrays (NumPy, torch) are full of NaN, or of WHOLE. Gives a list with an entry per array."""
    made = []

    def poisoned(make, fill):
        def call(*args, **kwargs):
            out = make(*args, **kwargs)
            made.append(out.dtype)
            real = out.is_floating_point() if isinstance(out, torch.Tensor) else out.dtype.kind == "f"
            getattr(out, fill)(math.nan if real else WHOLE)
            return out

        return call

    with pytest.MonkeyPatch.context() as patch:
        for owner, names, fill in (
            (np, ("empty", "empty_like"), "fill"),
            (torch, ("empty", "empty_like"), "fill_"),
            (torch.Tensor, ("new_empty",), "fill_"),
        ):
            for name in names:
                patch.setattr(owner, name, poisoned(getattr(owner, name), fill))
        assert torch.zeros(2).new_empty(3).isnan().all()
        made.clear()
        yield made
