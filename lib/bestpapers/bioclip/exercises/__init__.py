r"""The exercises of the wing, one to a module: its task, its solution, and the checker that tells a right answer.

`scripts/exercises.py bioclip` writes notebooks/bioclip/5_exercises.ipynb from this package, stubs and solutions from the
same functions. CONTRIBUTING.md says what a module holds.
"""

from . import (
    captions,
    contrastive,
    hierarchical,
    intervals,
    leak_free_split,
    look_up,
    null_world,
    prefix,
    roll_up,
    sampler,
    simple_shot,
    stop,
    text_mixing,
    two_processes,
)

EXERCISES = (
    captions, roll_up, prefix, simple_shot, contrastive, sampler, leak_free_split, intervals, text_mixing, hierarchical,
    null_world, two_processes, look_up, stop,
)  # fmt: skip

OPENING = r"""
# Can you build it yourself?

*BioCLIP: labels, encoder, loss, batches, evaluation.* {time} · <!-- cost --><!-- /cost --> · no download · GPU optional

Each exercise is a function to write. Below it stands a checker that tries your function on inputs of its own. It names the
first property that does not hold, with the input, what was expected and what your function gave.

**After this page you can**

1. write a label as the model reads it, and sum its answers up the tree;
2. show what a causal text encoder shares between two names;
3. write the loss, and the batches that suit it;
4. evaluate on species that training never saw, without a leak and with intervals that are honest;
5. name a new species without its name, and say how far down the tree to answer.

**Before:** [1_idea](1_idea.ipynb), and [2_build](2_build.ipynb) for the formulas. You need Python functions and torch
tensors.

**How to work:** replace the `raise NotImplementedError` line and run the cell. Hints are folded. {solutions}
Keep the types of tensors: checkers compute in float64.
"""

IMPORTS = """
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

from bestpapers.bioclip import data, evaluate, exercises, experiments, model, train
from bestpapers.bioclip.taxa import Taxon
from bestpapers.bioclip.taxonomy import Rank
from bestpapers.course import presets
from bestpapers.kernels import dispatch
from bestpapers.kernels.contrastive import contrastive_loss
"""

CLOSING = r"""
## What you have seen

- The method is small: a string, two encoders, a symmetric cross-entropy. What takes care is everything around it: which
  captions meet in a batch, which species are unseen in which sense, and what a picture more tells.
- What 5.13 and 5.14 ask for stands in no other notebook in this form: holes in a table of relatives, and a threshold from
  species that are not on the list.
- A checker holds you to properties, not to a listing. If yours is written in another way and all hold, it is right.

**What does not come out as in the paper:** nothing here tests the paper. The null world is a control of ours: it shows that
zero-shot on unseen species needs inheritance, in drawn organisms. One seed decides no small difference.

**Where paper and code differ:** in the text types of exercise 5.9, in the mean of exercise 5.4. [The paper's
page](../../book/bioclip/paper.md) has the whole table.

**Next:** a project from the page for [teachers](../../book/bioclip/teaching.md), or your own photographs with
[4_apply](4_apply.ipynb).

**Further reading:** Wang et al., *SimpleShot* (2019), for exercise 5.4; Radford et al., *Learning Transferable Visual Models
From Natural Language Supervision* (2021), for 5.5 and 5.12; Bertinetto et al., *Making Better Mistakes* (2020), for 5.10.
"""
