r"""The exercises of the wing, one to a module: its task, its solution, and the checker that tells a right answer.

`scripts/exercises.py splatting` writes notebooks/splatting/5_exercises.ipynb from this package, stubs and solutions from
the same functions. CONTRIBUTING.md says what a module holds.
"""

from . import (
    blend,
    covariance,
    filter_size,
    fit_blob,
    missed,
    ply_file,
    project,
    redraw,
    reset_opacity,
    turn_harmonics,
    widen,
    widen_backward,
    zoom_out,
)

EXERCISES = (
    covariance, project, widen, blend, filter_size, redraw, reset_opacity, widen_backward, fit_blob, turn_harmonics, ply_file,
    zoom_out, missed,
)  # fmt: skip

OPENING = r"""
# Can you build it yourself?

*Mip-Splatting: filters, renderer, file, experiment.* {time} · <!-- cost --><!-- /cost --> · no download · GPU optional

Each exercise is a function to write. Below it stands a checker that tries your function on inputs of its own. It names the
first property that does not hold, with the input, what was expected and what your function gave.

**After this page you can**

1. write every step from a stored Gaussian to a pixel, with the three ways of widening it;
2. compute the 3D filter from cameras, and keep it right through training;
3. derive what dilation does to a fit, and what the new gradient is;
4. write a scene to a file that others read, and say what another viewer makes of it;
5. run the experiment that tells the methods apart, and say which splats flicker under each.

**Before:** [1_idea](1_idea.ipynb), and [2_build](2_build.ipynb) for the formulas. You need Python functions and torch
tensors.

**How to work:** replace the `raise NotImplementedError` line and run the cell. Hints are folded. {solutions}
Give tensors the type of the input: checkers compute in float64.
"""

IMPORTS = """
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from bestpapers.course import presets
from bestpapers.kernels import dispatch
from bestpapers.kernels.rasterize import reference
from bestpapers.splatting import data, evaluate, exercises, model, train
"""

CLOSING = r"""
## What you have seen

- The method is small: each of its parts is a function of ten lines. What takes care is *where* it goes: in px² after
  projection, in scene units before, in the stored opacity or in the drawn one.
- A checker holds you to properties, not to a listing. If yours is written in another way and all hold, it is right.

**What does not come out as in the paper:** after a short training, Mip-Splatting's lead over EWA at 1/8 is smaller than the
paper's 4.04 dB. The scene and the length of training are ours.

**Where paper and code differ:** in the sampling rate of exercise 5.5. The end of [2_build](2_build.ipynb) has the whole
table.

**Next:** a project from the page for [teachers](../../book/splatting/teaching.md), or [your own
photographs](../../book/splatting/photographs.md).

**Further reading:** Zwicker et al., *EWA Splatting* (2002), for exercises 5.2 and 5.3; Kerbl et al., *3D Gaussian
Splatting* (2023), for the renderer and its training.
"""
