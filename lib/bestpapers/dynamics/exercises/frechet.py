r"""The distance that FID is made of

FID, FVD and DTFVD are one formula on different features. Describe two sets of feature vectors by their means $m$ and
covariances $C$, as if they were Gaussians, and take the Fréchet distance

$$d^2 = |m_1 - m_2|^2 + \mathrm{tr}\bigl(C_1 + C_2 - 2\,(C_1 C_2)^{1/2}\bigr).$$

The wing uses it on the log energies of the 16 slices. Write it, without a library for roots of matrices.
"""

import torch
from torch import Tensor

from ...course.checks import Checker, close, true

LEVEL, MINUTES, DIFFICULTY = "challenge", 20, 2
HINT = r"""
$C_1 C_2$ is not symmetric, but it has the eigenvalues of $C_1^{1/2} C_2\, C_1^{1/2}$, which is. The trace of a root is
the sum of the roots of eigenvalues. `torch.linalg.eigh` is for symmetric matrices; rounding may turn a 0 into
$-10^{-17}$.
"""
NOTE = r"""
It sees means and covariances of its features, and nothing else. Whatever the features do not see, it does not: a
frame-wise feature cannot tell a clip from its shuffled frames. In the paper's own table, the still picture repeated 150
times beats a published method in DTFVD. So every table needs such a row, and a floor as well: the distance of the truth
to other truth, which is not 0 for any finite number of clips.
"""


def frechet(a: Tensor, b: Tensor) -> float:
    """Frechet distance of two sets of feature vectors, taken for Gaussians.

    a (N, D), b (M, D), two rows or more; covariances with N - 1 and M - 1 -> d^2
    """
    one, two = (torch.cov(x.T).reshape(x.shape[1], -1) for x in (a, b))
    values, vectors = torch.linalg.eigh(one)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ two @ root).clamp(min=0).sqrt().sum()
    apart = (a.mean(0) - b.mean(0)).square().sum()
    return (apart + one.trace() + two.trace() - 2 * cross).item()


def run() -> None:
    """How far truth is from truth, for the cell of the solution."""
    generator = torch.Generator().manual_seed(0)
    for n in (20, 200, 2000):
        a, b = torch.randn(2, n, 16, generator=generator, dtype=torch.float64)
        print(f"two sets of {n} clips from one distribution: {frechet(a, b):.2f}")


check = Checker("5.12")


def _set(n: int, seed: int, D: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(D, D, generator=generator, dtype=torch.float64)
    return torch.randn(n, D, generator=generator, dtype=torch.float64) @ mix + seed


@check.property("a set and itself: 0")
def _(answer):
    close(answer(_set(50, 1), _set(50, 1)), 0.0, atol=1e-8, hint="the root of C C is C, and not that of its entries")


@check.property("a set and itself moved by m: |m|²")
def _(answer):
    m = torch.tensor([1.0, -2.0, 0.5, 0.0], dtype=torch.float64)
    close(answer(_set(50, 1), _set(50, 1) + m), 5.25)


@check.property("in one dimension: the squares of the differences of means and of standard deviations")
def _(answer):
    a, b = _set(40, 2, D=1), _set(60, 3, D=1)
    close(answer(a, b), (a.mean() - b.mean()) ** 2 + (a.std() - b.std()) ** 2, hint="divide by N - 1")


@check.property("it is the same both ways, and in any basis")
def _(answer):
    a, b = _set(50, 4), _set(70, 5)
    turn, _ = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(6), dtype=torch.float64))
    found = answer(a, b)
    close(answer(b, a), found)
    close(answer(a @ turn, b @ turn), found)
    close(found, frechet(a, b))


@check.property("more features than clips are no trouble")
def _(answer):
    found = answer(_set(5, 7, D=12), _set(5, 7, D=12))
    true(abs(found) < 1e-3, "0, but for rounding", found, hint="eigenvalues that should be 0 may come out below it")
    close(answer(_set(5, 7, D=12), _set(6, 8, D=12)), frechet(_set(5, 7, D=12), _set(6, 8, D=12)))
