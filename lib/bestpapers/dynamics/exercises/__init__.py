r"""The exercises of the wing, one to a module: its task, its solution, and the checker that tells a right answer.

`scripts/exercises.py dynamics` writes notebooks/dynamics/5_exercises.ipynb from this package, stubs and solutions from
the same functions. CONTRIBUTING.md says what a module holds.
"""

from . import (
    adaptive,
    close_loop,
    fit_laws,
    frechet,
    mac,
    one_sided,
    oscillator,
    other_rate,
    own_plant,
    slice_attention,
    splat,
    two_readings,
)

EXERCISES = (
    one_sided, other_rate, adaptive, fit_laws, splat, oscillator, own_plant, mac, two_readings, slice_attention,
    close_loop, frechet,
)  # fmt: skip

OPENING = r"""
# Can you build it yourself?

*Generative Image Dynamics: spectra, splatting, modes, loops.* {time} · <!-- cost --><!-- /cost --> · no download · GPU
optional

Each exercise is a function to write. Below it stands a checker that tries your function on inputs of its own. It names
the first property that does not hold, with what was expected and what your function gave, and hands you the input to try
again.

**After this page you can**

1. go from a motion to its spectral volume and back, at any frame rate, without the errors that make animations stand
   still;
2. make the numbers that a diffusion model is trained on, and let the slices agree;
3. carry pixels along a flow, whoever else lands there;
4. pull one plant of a picture, let it swing, close its loop, and measure how far two sets of clips are apart.

**Before:** [1_idea](1_idea.ipynb), and [2_build](2_build.ipynb) for the formulas. You need Python functions, torch
tensors and complex numbers.

**How to work:** replace the `raise NotImplementedError` line and run the cell. Hints are folded. {solutions}
Keep the types of tensors: checkers compute in float64.
"""

IMPORTS = """
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from bestpapers.course import presets
from bestpapers.dynamics import exercises
from bestpapers.kernels import dispatch
"""

CLOSING = r"""
## What you have seen

- The method is small: a Fourier series for each pixel, a square root, a splat, a sum of oscillators. What takes care is
  what the paper leaves open: which half of the spectrum is stored, what the sign of a complex number is, how long a
  pull is.
- A checker holds you to properties, not to a listing. If yours is written in another way and all hold, it is right.

**What does not come out as in the paper:** its own plotted spectrum is nearer to a power law than to the exponential of
its text (exercise 5.4).

**Where paper and code differ:** in the readings of exercise 5.9 and in the constants of the damping (5.6); and the paper
of softmax splatting first printed a gradient with the wrong sign (5.5). [The paper's
page](../../book/dynamics/paper.md) has the whole table.

**Next:** a project from the page for [teachers](../../book/dynamics/teaching.md), or [a video of your
own](../../book/dynamics/your_video.md).

**Further reading:** Niklaus and Liu, *Softmax Splatting for Video Frame Interpolation* (2020), for exercise 5.5; Davis,
Chen and Durand, *Image-Space Modal Bases for Plausible Manipulation of Objects in Video* (2015), for 5.7 and 5.8;
Heusel et al., *GANs Trained by a Two Time-Scale Update Rule* (2017), for 5.12.
"""
