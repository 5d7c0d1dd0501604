r"""SimpleShot

Name pictures by the nearest of the classes' means, each the mean of $k$ labelled examples. Two ways to prepare features:

`"L2N"`
: divide each by its length;

`"CL2N"`
: divide each by its length, subtract the mean of *all* examples from examples and test alike, and divide by the length again.

The mean of a class stays as it is: it is not divided by its length again. Distance is Euclidean.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ...course.checks import Checker, close

LEVEL, MINUTES, DIFFICULTY = "core", 15, 2
HINT = r"""
`support.mean((0, 1))` is the mean of all examples, `support.mean(1)` the mean of each class. `torch.cdist` gives all
distances at once.
"""
NOTE = r"""
Features of a CLIP lie in a narrow cone: the mean is most of each. Subtract it, and what is left tells the classes apart. The
first division comes before: without it, a few long features would make the mean. What is added to all features after it
drops out with the mean; what is added before does not.

The mean comes from the examples. The SimpleShot paper takes it from the classes of training, the code of BioCLIP from the
examples, and whoever takes it from the test images looks at the test.
"""


def simple_shot(support: Tensor, test: Tensor, transform: str) -> Tensor:
    """Nearest class by a few examples.

    support [C, k, D]: k examples of each of C classes; test [N, D]; transform "L2N"
    or "CL2N" -> numbers of classes [N]
    """
    support, test = F.normalize(support, dim=-1), F.normalize(test, dim=-1)
    if transform == "CL2N":
        mean = support.mean((0, 1))
        support = F.normalize(support - mean, dim=-1)
        test = F.normalize(test - mean, dim=-1)
    return torch.cdist(test, support.mean(1)).argmin(1)


check = Checker("5.4")
BOTH = ("L2N", "CL2N")


def _features(shift: float = 0.0, spread: float = 1.0) -> tuple[Tensor, Tensor]:
    """Examples [8, 5, 16] and test [400, 16] of eight classes, of length 1, in a cone around `shift` times a direction."""
    generator = torch.Generator().manual_seed(1)
    centres = torch.randn(8, 1, 16, generator=generator, dtype=torch.float64)
    x = centres + spread * torch.randn(8, 55, 16, generator=generator, dtype=torch.float64) + shift
    x = F.normalize(x, dim=-1)
    return x[:, :5], x[:, 5:].flatten(0, 1)


@check.property("an example of each class is named after its class")
def _(answer):
    for transform in BOTH:
        close(
            answer(torch.eye(4, dtype=torch.float64)[:, None], torch.eye(4, dtype=torch.float64), transform), range(4)
        )


@check.property("the mean of a class decides, not its nearest example")
def _(answer):
    angles = torch.tensor([[0.0, 1.6], [2.2, 2.4]], dtype=torch.float64)  # of two classes, on a circle
    at = torch.tensor([1.7], dtype=torch.float64)  # next to an example of class 0, nearer to the mean of class 1
    support, test = (torch.stack([t.cos(), t.sin()], -1) for t in (angles, at))
    close(answer(support, test, "L2N"), [1])


@check.property("lengths of features do not matter, under either")
def _(answer):
    support, test = _features(shift=0.5)
    generator = torch.Generator().manual_seed(2)
    long = [x * (0.1 + 5 * torch.rand(*x.shape[:-1], 1, generator=generator)) for x in (support, test)]
    for transform in BOTH:
        close(answer(*long, transform), answer(support, test, transform), hint="divide before you subtract")


@check.property("what is in the test does not matter for its other pictures")
def _(answer):
    support, test = _features(shift=0.5)
    for transform in BOTH:
        close(answer(support, test[:50], transform), answer(support, test, transform)[:50], hint="whose mean is it?")


@check.property("the answers are those of the library")
def _(answer):
    support, test = _features(shift=0.5, spread=2.0)
    for transform in BOTH:
        close(
            answer(support, test, transform),
            simple_shot(support, test, transform),
            hint="is a mean divided by its length?",
        )
