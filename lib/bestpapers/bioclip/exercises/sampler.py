r"""A sampler without twins

Two pictures of one species in a batch have the same caption, and the loss takes each for a wrong answer to the other.
Draw batches that hold no species twice: first `batch` different species, each as likely as any other, however many
pictures it has; then one of its pictures, each as likely as any other.

What a step draws follows from its number alone, so that processes agree without talking. Leave torch's own generator alone:
others draw from it, too.
"""

import torch
from torch import Tensor

from ...course.checks import Checker, close, true

LEVEL, MINUTES, DIFFICULTY = "core", 15, 2
HINT = r"""
`torch.Generator().manual_seed(step)` is a generator of your own; `torch.randperm` and `torch.randint` take `generator=`.
"""
NOTE = r"""
With random sampling, $B$ pictures of $N$ species hold $B - N (1 - (1 - 1/N)^B)$ twins on average: about a third of a
batch as large as the number of species. The real run has 454 thousand taxa and does nothing about it. That a rare species
comes as often as a common one is a *choice* of this sampler: the model no longer learns which species are common.
"""


def sampler(species: Tensor, batch: int, step: int) -> Tensor:
    """The pictures of a training step, no two of one species.

    species [N]: the number of the species that each picture shows
    -> numbers of pictures [batch]
    Raises ValueError if there are fewer species than `batch`.
    """
    generator = torch.Generator().manual_seed(step)
    kinds = species.unique()
    if batch > len(kinds):
        raise ValueError(f"want {batch} species for the batch, there are {len(kinds)}")
    chosen = []
    for kind in kinds[torch.randperm(len(kinds), generator=generator)[:batch]]:
        pictures = (species == kind).nonzero()[:, 0]
        one = torch.randint(len(pictures), (), generator=generator)
        chosen.append(pictures[one])
    return torch.stack(chosen)


def run() -> None:
    """Twins under random sampling, for the cell of the solution."""
    B = N = 92
    expected = B - N * (1 - (1 - 1 / N) ** B)
    draws = torch.randint(N, (1000, B), generator=torch.Generator().manual_seed(0))
    found = sum(B - len(draw.unique()) for draw in draws) / 1000
    print(f"twins in a batch of {B} drawn at random from {N} species:")
    print(f"{expected:.1f} expected, {found:.1f} found")
    assert abs(found - expected) < 0.5


check = Checker("5.6")
SHUFFLED = torch.randperm(100, generator=torch.Generator().manual_seed(3))
TAIL = torch.repeat_interleave(torch.arange(4), torch.tensor([1, 2, 3, 94]))[
    SHUFFLED
]  # four species of 1 to 94 pictures


@check.property("as many pictures as asked for, and no species twice")
def _(answer):
    for step in range(20):
        found = answer(TAIL, 3, step)
        close(found.shape, (3,))
        true(len(TAIL[found].unique()) == 3, "three different species", f"species {TAIL[found].tolist()}")


@check.property("a step draws the same pictures again, another step others")
def _(answer):
    first = answer(TAIL, 3, 7)
    torch.rand(5)
    close(answer(TAIL, 3, 7), first, hint="torch's own generator stands elsewhere now")
    true(
        any(not torch.equal(answer(TAIL, 3, step), first) for step in range(5)),
        "other pictures",
        "the same in 5 steps",
    )


@check.property("torch's own generator is left alone")
def _(answer):
    before = torch.get_rng_state()
    answer(TAIL, 3, 7)
    same = torch.equal(torch.get_rng_state(), before)
    torch.set_rng_state(before)
    true(same, "its state as before", "another state")


@check.property("a rare species comes as often as a common one")
def _(answer):
    found = torch.stack([TAIL[answer(TAIL, 1, step)] for step in range(600)])
    counts = torch.bincount(found.flatten(), minlength=4).tolist()
    true(all(100 <= n <= 200 for n in counts), "each of four species 150 times in 600, give or take 50", f"{counts}")


@check.property("every picture of a species has its turn")
def _(answer):
    found = {int(answer(TAIL, 4, step)[i]) for step in range(300) for i in range(4)}
    true(len(found) >= 90, "at least 90 of the 100 pictures in 300 steps", f"{len(found)} of them")


@check.property("a batch with more pictures than species is refused")
def _(answer):
    try:
        found = answer.function(TAIL, 5, 0)
    except ValueError:
        return
    true(False, "a ValueError", f"{len(found)} pictures of 4 species")
