"""Fresh memory that holds NaN, so that a cell which nobody writes shows in the result."""

import math
from contextlib import contextmanager

import numpy as np
import pytest
import torch


@contextmanager
def poisoned_memory():
    """While it lasts, empty arrays of floats (NumPy, torch) are full of NaN. Gives a list with an entry per array."""
    made = []

    def poisoned(make, fill):
        def call(*args, **kwargs):
            out = make(*args, **kwargs)
            made.append(out.dtype)
            if out.is_floating_point() if isinstance(out, torch.Tensor) else out.dtype.kind == "f":
                getattr(out, fill)(math.nan)
            return out

        return call

    with pytest.MonkeyPatch.context() as patch:
        for owner, name, fill in (
            (np, "empty", "fill"),
            (torch, "empty", "fill_"),
            (torch, "empty_like", "fill_"),
            (torch.Tensor, "new_empty", "fill_"),
        ):
            patch.setattr(owner, name, poisoned(getattr(owner, name), fill))
        yield made
