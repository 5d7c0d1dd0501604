r"""The exercises of the wing, one to a module: its task, its solution, and the checker that tells a right answer.

`scripts/exercises.py feedback` writes notebooks/feedback/5_exercises.ipynb from this package, stubs and solutions from
the same functions. CONTRIBUTING.md says what a module holds.
"""

from . import (
    choose,
    collapse,
    decode_step,
    map_measures,
    mask_tokens,
    merge_three,
    paired,
    schedule,
    split_words,
    targets,
    to_heatmap,
    two_f1,
)

EXERCISES = (
    to_heatmap, merge_three, split_words, map_measures, schedule, decode_step, mask_tokens, paired, targets, two_f1,
    collapse, choose,
)  # fmt: skip

OPENING = r"""
# Can you build it yourself?

*Rich human feedback: panel, words, measures, masked decoding, controls.* {time} · <!-- cost --><!-- /cost --> · no download ·
no GPU needed

Each exercise is a function to write. Below it stands a checker that tries your function on inputs of its own. It names
the first property that does not hold, with the input, what was expected and what your function gave.

**After this page you can**

1. merge what three people say of a picture, and give each word of a prompt its label;
2. measure predicted maps and words, and tell a model that works from one that has learned to say nothing;
3. write the steps by which a masked generator draws, and mask what is to be painted anew;
4. compare two arms on the same prompts, with an interval that is honest.

**Before:** [1_idea](1_idea.ipynb), and [2_build](2_build.ipynb) for the formulas. You need Python functions and NumPy
arrays; one exercise uses torch.

**How to work:** replace the `raise NotImplementedError` line and run the cell. Hints are folded. {solutions}
"""

IMPORTS = """
import math
import re
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bestpapers.course import presets
from bestpapers.feedback import exercises
from bestpapers.kernels import dispatch
"""

CLOSING = r"""
## What you have seen

- Most of the method is bookkeeping: discs, means, majorities, words split by one rule. Each rule is one line, and a
  slip in it is a wrong label for every picture.
- A measure says nothing without the set it is averaged over, and nothing without the score of a model that knows
  nothing. A gain says nothing without its control.
- A checker holds you to properties, not to a listing. If yours is written in another way and all hold, it is right.

## Three open projects

They have no checker: one needs a person, two need trained weights, and all need an argument. Write the rule by which you
will judge the result before you run.

- **Break the judge.** Find a picture and a prompt to which the judge of the world gives a plausibility above 0.9, and
  which any person calls wrong. Say which rule of the judge it slips past, and what rule would catch it.
- **Reward hacking.** Change the pixels of a picture by gradient ascent on RAHF's plausibility, step by step. Plot
  RAHF's score and the judge's against the steps. Where do they part? Would a second RAHF, trained on another panel,
  have warned you?
- **Rich or many?** You can pay for 3,000 answers of a panel: scores, maps and words for some pictures, or scores alone
  for three times as many. Train a RAHF on each and take the best of four pictures by it. Which one finds the better
  picture, by the judge, with an interval over prompts? The answer is not known: Beyond Thumbs Up/Down (below) finds
  that fine-grained feedback is not always the better buy.

**What does not come out as in the paper:** nothing here tests the paper. [3_reproduce](3_reproduce.ipynb) does.

**Where public codes differ, and the paper is silent:** in how F1 is averaged (exercise 5.10),
and in the variants of the map measures (5.4).
[The paper's page](../../book/feedback/paper.md) has the whole table.

**Next:** a project from the page for [teachers](../../book/feedback/teaching.md), or your own pictures with
[4_apply](4_apply.ipynb).

**Further reading:** Bylinskii et al., *What do different evaluation metrics tell us about saliency models?* (2019), for
exercise 5.4; Chang et al., *MaskGIT: Masked Generative Image Transformer* (2022), for 5.5 and 5.6; Efron and
Tibshirani, *An Introduction to the Bootstrap* (1993), for 5.8; *Beyond Thumbs Up/Down* (arXiv 2406.16807, 2024).
"""
