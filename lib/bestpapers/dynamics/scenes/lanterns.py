"""Hanging things: paper lanterns, bulbs, jars, blossoms on strands, flags on a line. (ours)

All of it is one piece of mechanics: rigid links that hang from each other under gravity (`Links`). A strand hangs from
one support; a line between two supports is closed by two constraints. The angles of the links are the coordinates; for
small angles about the pose at rest the kinetic energy is 1/2 a' M a and the potential energy 1/2 a' K a, and the
generalised eigenproblem K v = w^2 M v gives the true frequencies and shapes.

What one can read off a picture: a strand of length L swings at about 0.19 sqrt(g / L) to 0.16 sqrt(g / L) (a uniform
chain, a weight at the end of a thread), and a line that sags by d swings to and fro at sqrt(g / 8 d).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigh, null_space

Floats = NDArray[np.float64]

GRAVITY = 9.81  # m/s^2

# ------------------------------------------------------------------------------------------------------------- physics


@dataclass(frozen=True)
class Links:
    """Rigid links at rest, in metres and kilograms; x to the right, y down. N links, parents before children.

    parent   (N,) int: the link at whose end this one begins; -1: at a fixed support
    base     (N, 2): where it begins
    reach    (N, 2): from where it begins to where it ends
    mass     (N,): of what is rigid with it
    centre   (N, 2): of that mass, from where the link begins
    inertia  (N,): moment of inertia about that centre, kg m^2
    bend     (N,): stiffness of the joint at its beginning, N m / rad, against its parent (or the support)
    closing  links, as indices from the first support to the second one, whose ends are fixed; () for none
    pull     (2,): force of the second support on the last of these, N
    """

    parent: NDArray[np.int64]
    base: Floats
    reach: Floats
    mass: Floats
    centre: Floats
    inertia: Floats
    bend: Floats
    closing: tuple[int, ...] = ()
    pull: tuple[float, float] = (0.0, 0.0)

    def lineage(self) -> Floats:
        """(N, N): entry [i, a] is 1 where link a lies between a support and the beginning of link i."""
        n = len(self.parent)
        above = np.zeros((n, n))
        for i, p in enumerate(self.parent):
            if p >= 0:
                above[i] = above[p]
                above[i, p] = 1.0
        return above

    def jacobian(self) -> Floats:
        """(N, 2, N): displacement in metres of each mass's centre per radian of each link (to first order)."""
        turned = _quarter(self.reach)
        jacobian = self.lineage()[:, None, :] * turned.T[None]
        rows = np.arange(len(self.parent))
        jacobian[rows, :, rows] += _quarter(self.centre)
        return jacobian

    def base_jacobian(self) -> Floats:
        """(N, 2, N): the same for the point where each link begins."""
        return self.lineage()[:, None, :] * _quarter(self.reach).T[None]

    def matrices(self) -> tuple[Floats, Floats]:
        """Mass matrix M (N, N) in kg m^2 and stiffness matrix K (N, N) in N m / rad."""
        above, jacobian = self.lineage(), self.jacobian()
        m = np.einsum("ica,i,icb->ab", jacobian, self.mass, jacobian) + np.diag(self.inertia)
        # A turn by a lifts what hangs from the link by a^2 / 2 times the link's height: that is all gravity does, since
        # the links' angles are absolute. A force at a closed end does the same.
        below = above.T @ self.mass
        gravity = GRAVITY * (self.reach[:, 1] * below + self.centre[:, 1] * self.mass)
        for a in self.closing:
            gravity[a] += self.reach[a] @ np.asarray(self.pull)
        k = np.diag(gravity)
        for i, p in enumerate(self.parent):
            k[i, i] += self.bend[i]
            if p >= 0:
                k[p, p] += self.bend[i]
                k[i, p] -= self.bend[i]
                k[p, i] -= self.bend[i]
        return m, k

    def modes(self, count: int | None = None) -> tuple[Floats, Floats]:
        """The lowest modes: frequencies (J,) in Hz and angles (N, J) in radians, mass-normalised (v' M v = 1)."""
        m, k = self.matrices()
        free = np.eye(len(m))
        if self.closing:
            fixed = np.zeros((2, len(m)))
            fixed[:, list(self.closing)] = _quarter(self.reach[list(self.closing)]).T
            free = null_space(fixed)
        squares, vectors = eigh(free.T @ k @ free, free.T @ m @ free)
        count = len(squares) if count is None else min(count, len(squares))
        if squares[0] <= 0.0:
            raise ValueError(f"these links do not hang: the smallest eigenvalue is {squares[0]:.3g} 1/s^2, not positive")
        return np.sqrt(squares[:count]) / (2.0 * math.pi), free @ vectors[:, :count]


def _quarter(vectors: ArrayLike) -> Floats:
    """Vectors (..., 2) turned by +90 degrees: from x towards y."""
    v = np.asarray(vectors, np.float64)
    return np.stack([-v[..., 1], v[..., 0]], axis=-1)


def strand(
    support: tuple[float, float],
    lengths: Sequence[float],
    masses: Sequence[float],
    inertias: Sequence[float] | None = None,
    centres: Sequence[float] | None = None,
    bend: float = 0.0,
) -> Links:
    """A chain that hangs straight down.

    support   where, m
    lengths   of the links, m, from the top
    masses    of what is rigid with each link, kg
    inertias  about the centres, kg m^2; default 0
    centres   how far below the link's beginning its mass's centre is, m; default: at its end
    bend      stiffness of the joints below the first, N m / rad
    """
    n = len(lengths)
    down = np.zeros((n, 2))
    down[:, 1] = lengths
    centre = np.zeros((n, 2))
    centre[:, 1] = lengths if centres is None else centres
    base = np.asarray(support) + np.concatenate([np.zeros((1, 2)), np.cumsum(down, axis=0)[:-1]])
    return Links(
        parent=np.arange(n) - 1,
        base=base,
        reach=down,
        mass=np.asarray(masses, np.float64),
        centre=centre,
        inertia=np.zeros(n) if inertias is None else np.asarray(inertias, np.float64),
        bend=np.concatenate([[0.0], np.full(n - 1, bend)]),
    )


def line(
    left: tuple[float, float],
    right: tuple[float, float],
    sag: float,
    weights: Sequence[float],
    drops: Sequence[float] = (),
    *,
    rope: float = 0.05,
    inertias: Sequence[float] | None = None,
) -> Links:
    """A line between two supports, that carries pendants at equal distances across.

    left, right  the supports, m
    sag          how far the line hangs below the straight one between the supports, at most, m (> 0)
    weights      (n,) masses of the pendants, kg
    drops        (n,) how far below the line a pendant's centre is, m; (): no pendants, the masses sit on the line
    rope         mass of the line between two neighbours, kg
    inertias     (n,) of the pendants about their centres, kg m^2

    The first n + 1 links are the line from left to right, the next n the pendants. The line's pose is the exact
    equilibrium: each link points along the tension in it.
    """
    n = len(weights)
    if sag <= 0.0:
        raise ValueError(f"sag: expected a length above 0, found {sag}; a line with weights on it cannot be straight")
    a, b = np.asarray(left, np.float64), np.asarray(right, np.float64)
    dx = (b[0] - a[0]) / (n + 1)
    knots = np.asarray(weights, np.float64) + rope  # half of each neighbouring piece of rope sits on a knot
    # the tension's horizontal part is the same in all links, its vertical part (down) falls by each weight that is passed
    vertical = -np.cumsum(np.concatenate([[0.0], GRAVITY * knots]))
    vertical -= vertical.mean()
    tension = float((np.cumsum(vertical)[:-1] * dx).max() / sag)
    slope = vertical / tension + (b[1] - a[1]) / (b[0] - a[0])
    reach = np.stack([np.full(n + 1, dx), dx * slope], axis=1)
    base = a + np.concatenate([np.zeros((1, 2)), np.cumsum(reach, axis=0)[:-1]])
    hanging = len(drops) > 0
    mass = np.concatenate([np.full(n, rope), [0.0]])
    if not hanging:
        mass[:n] += weights
    parent = list(range(-1, n))
    centre, inertia = reach.copy(), np.zeros(n + 1)
    if hanging:
        parent += list(range(n))
        down = np.stack([np.zeros(n), np.asarray(drops, np.float64)], axis=1)
        base = np.concatenate([base, base[1:]])
        reach, centre = np.concatenate([reach, down]), np.concatenate([centre, down])
        mass = np.concatenate([mass, np.asarray(weights, np.float64)])
        extra = np.zeros(n) if inertias is None else np.asarray(inertias, np.float64)
        inertia = np.concatenate([inertia, extra])
    end = tension * np.array([1.0, slope[-1]])  # what the second support pulls with
    return Links(
        parent=np.asarray(parent),
        base=base,
        reach=reach,
        mass=mass,
        centre=centre,
        inertia=inertia,
        bend=np.zeros(len(mass)),
        closing=tuple(range(n + 1)),
        pull=(float(end[0]), float(end[1])),
    )
