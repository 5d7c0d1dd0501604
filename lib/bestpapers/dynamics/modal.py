"""Read a spectral volume as vibration modes: pull a point, let it go, tap it; magnify (paper section 6, supplement 1).

**The formulas**, for whoever writes them again in another language. S_k(p) = (S_k^x, S_k^y) is slice k at pixel p, T the
number of frames, r their rate; j counts the slices that are used (all but the constant one, k = 0).

    shape         phi_j(p) = (2 / T) S_j(p)                       complex, pixels
    frequency     omega_j = 2 pi k r / T                          rad/s, undamped
    damping       gamma_j = alpha + beta omega_j^2                1/s (Rayleigh), or 2 zeta omega_j
    motion        F_t(p) = Re sum_j phi_j(p) q_j(t)               pixels
    oscillator    q_j'' + gamma_j q_j' + omega_j^2 q_j = 0

    solution      q_j(t) = a_j(t) q_j(0) + b_j(t) q_j'(0),  with real a, b, and h = gamma / 2:
      h < omega     w = sqrt(omega^2 - h^2),  b = exp(-h t) sin(w t) / w,   a = exp(-h t) cos(w t) + h b
      h = omega                               b = exp(-h t) t,              a = exp(-h t) + h b
      h > omega     w = sqrt(h^2 - omega^2),  b = exp(-h t) sinh(w t) / w,  a = exp(-h t) cosh(w t) + h b

    pull          point p to p + D, D in pixels:  q_j(0) = w_j conj(f . phi_j(p)),  q_j'(0) = 0,  w_j = 1
                  f is the force in R^2 for which F_0(p) = D.  With  G = Re sum_j w_j phi_j(p) phi_j(p)^H  (2 x 2: g_xx, g_xy,
                  g_yy), F_0(p) = G f; with eigenvalues l_1 >= l_2 and unit eigenvectors e_1, e_2 of G,
                      f = sum_i e_i (e_i . D) / max(l_i, l_1 / 100)
    tap           the same with q_j(0) = 0 and q_j'(0) in the place of q_j(0); D is then a velocity, pixels/s

The paper prints only the phase of a pull, q_j(0) = conj(d . S_j(p)) in direction d: its length cancels (supplement Eq. 9, 10).
With the gain |D| / sum_j |d . S_j(p)|^2, ours, the pulled point follows the cursor along d, but may leave the line: here
`rule="direction"`. The force f puts it on the cursor: `rule="point"` (ours). A branch tip hardly moves along the branch; the
limit l_1 / 100 says that a point follows only part of the way where its motion is less than a tenth as large as across. While
a point is held, the pose is that of the pull; at release the oscillators start from it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from .spectral import FRAMES, RATE, frequencies

DAMPING = {"supplement": (0.4, 0.08), "demo": (0.8, 0.05)}  # alpha in 1/s, beta in s; the official page has its own
FLOOR = 0.01  # of the larger eigenvalue of G


@dataclass(frozen=True)
class Modes:
    """Vibration modes of a picture."""

    shapes: Tensor  # complex64 (J, 2, H, W), pixels; channel 0 = x
    omega: Tensor  # float64 (J,), rad/s, undamped, above 0
    gamma: Tensor  # float64 (J,), 1/s, at least 0
    # float64 (J,), how much a force moves each, w of the formulas. 1: the paper; 0: off; 1 / omega^2: as a static load does
    weights: Tensor

    def __post_init__(self) -> None:
        for name in ("omega", "gamma", "weights"):
            value = getattr(self, name)
            if value.shape != self.shapes.shape[:1]:
                raise ValueError(f"Modes: {name} must be ({len(self.shapes)},), got {tuple(value.shape)}")
            if not torch.isfinite(value).all() or (value < 0).any() or (name == "omega" and (value == 0).any()):
                raise ValueError(f"Modes: {name} must be finite and {'above' if name == 'omega' else 'at least'} 0")

    @classmethod
    def of(
        cls, S: Tensor, damping: str | tuple[float, float] | float = "supplement",
        frames: int = FRAMES, rate: float = RATE,
    ) -> Self:  # fmt: skip
        """Modes from a spectral volume: every slice but the constant one is a mode, none is picked by hand.

        S        complex (K, 2, H, W): unnormalised DFT over `frames` samples at `rate` per second, K at least 2
        damping  a name of DAMPING; (alpha, beta) of Rayleigh damping, 1/s and s; or a number: the damping ratio zeta of all
        """
        if S.ndim != 4 or S.shape[1] != 2 or not S.is_complex() or len(S) < 2:
            raise ValueError(f"Modes.of: S must be complex (K, 2, H, W) with K > 1, got {S.dtype} {tuple(S.shape)}")
        if isinstance(damping, str) and damping not in DAMPING:
            raise ValueError(f"Modes.of: damping must be one of {', '.join(DAMPING)} or numbers, got {damping!r}")
        omega = 2 * math.pi * frequencies(len(S), frames, rate)[1:]
        if isinstance(damping, int | float):
            gamma = 2 * damping * omega
        else:
            alpha, beta = DAMPING[damping] if isinstance(damping, str) else damping
            gamma = alpha + beta * omega**2
        return cls((2 / frames) * S[1:].to(torch.complex64), omega, gamma, torch.ones_like(omega))

    @property
    def zeta(self) -> Tensor:
        """Damping ratios float64 (J,): 0 rings for ever, from 1 on nothing swings back."""
        return self.gamma / (2 * self.omega)

    def damped(self, factor: float) -> Self:
        """The same modes with `factor` times the damping."""
        return replace(self, gamma=factor * self.gamma)

    def at(self, x: float, y: float) -> Tensor:
        """Shapes complex128 (J, 2) at a point (pixels), between pixels bilinearly."""
        H, W = self.shapes.shape[2:]
        if not (0 <= x <= W - 1 and 0 <= y <= H - 1):
            raise ValueError(f"Modes.at: ({x}, {y}) is not in the picture; x is 0 to {W - 1}, y is 0 to {H - 1}")
        left, top = min(int(x), max(W - 2, 0)), min(int(y), max(H - 2, 0))
        u, v = x - left, y - top
        corners = self.shapes[:, :, top : top + 2, left : left + 2].to(torch.complex128)
        rows = corners if W == 1 else (1 - u) * corners[..., :1] + u * corners[..., 1:]
        return (rows if H == 1 else (1 - v) * rows[:, :, :1] + v * rows[:, :, 1:])[:, :, 0, 0]

    def mobility(self) -> Tensor:
        """How easily each pixel is moved, float32 (H, W): sqrt of the trace of G, pixels. 0: cannot be pulled."""
        power = self.shapes.abs().square().sum(1)
        return torch.einsum("j,jhw->hw", self.weights.to(power), power).sqrt()


def solution(omega: Tensor, gamma: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
    """a and b, float64 (N, J), of the module's formulas: q(t) = a q(0) + b q'(0). Exact under, at and over critical damping.

    omega, gamma (J,) rad/s and 1/s; times (N,) s, at least 0.
    """
    t = times.double()[:, None]
    omega, h = omega.double(), gamma.double() / 2
    w = (omega**2 - h**2).abs().sqrt()
    envelope = torch.exp(-h * t)
    swing, sine = envelope * torch.cos(w * t), envelope * t * torch.special.sinc(w * t / math.pi)
    # exp(-h t) cosh(w t) as a sum of exponentials, none of which grows: cosh alone overflows for long times
    slow, fast = torch.exp((w - h) * t), torch.exp(-(w + h) * t)
    creep = (slow + fast) / 2
    sinh = torch.where(w * t < 1e-6, envelope * t, (slow - fast) / (2 * w))  # exp(-h t) sinh(w t) / w
    over = h > omega
    b = torch.where(over, sinh, sine)
    return torch.where(over, creep, swing) + h * b, b


def euler(
    omega: Tensor, gamma: Tensor, q: Tensor, v: Tensor, dt: float, steps: int, kind: str = "semi-implicit"
) -> Tensor:
    """The oscillators step by step, for teaching: q (steps + 1, J) at 0, dt, ..., steps dt. omega, gamma, q, v: (J,).

    "semi-implicit": the supplement's Eq. 6 to 8, with the position from the new velocity (the paper's text says
    "acceleration"). "explicit": the official demo's, with the position from the old velocity. Their limits: `limit`.
    """
    if kind not in ("semi-implicit", "explicit"):
        raise ValueError(f'euler: kind must be "semi-implicit" or "explicit", got {kind!r}')
    path = [q]
    for _ in range(steps):
        new = v + dt * (-gamma * v - omega**2 * q)
        q = q + dt * (new if kind == "semi-implicit" else v)
        v = new
        path.append(q)
    return torch.stack(path)


def limit(omega: Tensor, gamma: Tensor, kind: str = "semi-implicit") -> Tensor:
    """The time step (J,), s, above which `euler` blows up (ours, from the step's eigenvalues).

    Explicit: gamma / omega^2 where it swings (with Rayleigh damping beta + alpha / omega^2), 2 / (h + sqrt(h^2 - omega^2))
    where it creeps, h = gamma / 2. Semi-implicit: (sqrt(gamma^2 + 4 omega^2) - gamma) / omega^2; without damping 2 / omega.
    """
    if kind == "explicit":
        h = gamma / 2
        return torch.where(h < omega, gamma / omega**2, 2 / (h + (h**2 - omega**2).clamp(min=0).sqrt()))
    if kind == "semi-implicit":
        return ((gamma**2 + 4 * omega**2).sqrt() - gamma) / omega**2
    raise ValueError(f'limit: kind must be "semi-implicit" or "explicit", got {kind!r}')


# ------------------------------------------------------------------------------------------------------------- pull and tap


@dataclass(frozen=True)
class Event:
    """Something that starts the oscillators: q and v, complex128 (J,), are added to their state at `time`, s."""

    time: float
    q: Tensor
    v: Tensor


def force(modes: Modes, x: float, y: float, fx: float, fy: float) -> Tensor:
    """What a force (fx, fy) at a point does to the modes: w_j conj(f . phi_j(p)), complex128 (J,)."""
    f = torch.tensor([fx, fy], dtype=torch.complex128)
    return modes.weights * (modes.at(x, y) @ f).conj()


def pull(modes: Modes, x: float, y: float, dx: float, dy: float, rule: str = "point") -> Tensor:
    """The pose q, complex128 (J,), in which the point (x, y) is moved by (dx, dy), all in pixels. ValueError where none does.

    rule  "point": on the cursor, as far as the point can go there; "direction": the paper's phases, with the gain that takes
          the point to the cursor along the pull (the module's docstring says more)
    """
    if rule not in ("point", "direction"):
        raise ValueError(f'pull: rule must be "point" or "direction", got {rule!r}')
    phi = modes.at(x, y)
    D = torch.tensor([dx, dy], dtype=torch.float64)
    G = torch.einsum("j,ja,jb->ab", modes.weights.to(phi), phi, phi.conj()).real
    if not G.trace() > 0:
        raise ValueError(f"pull: nothing moves at ({x}, {y}); choose a point where Modes.mobility is above 0")
    if rule == "direction":
        along, square = float(D @ G @ D), float(D @ D)
        if square and not along > 1e-12 * square * float(G.trace()):
            raise ValueError(f"pull: the point ({x}, {y}) does not move along ({dx}, {dy})")
        f = D * square / along if square else D
    else:
        values, vectors = torch.linalg.eigh(G)  # in ascending order
        f = vectors @ ((vectors.T @ D) / values.clamp(min=FLOOR * float(values[1])))
    return force(modes, x, y, float(f[0]), float(f[1]))


def release(modes: Modes, x: float, y: float, dx: float, dy: float, time: float = 0.0, rule: str = "point") -> Event:
    """Hold the point (x, y) at (x + dx, y + dy), pixels, and let it go at `time`, s; how it was drawn there is not told."""
    q = pull(modes, x, y, dx, dy, rule)
    return Event(time, q, torch.zeros_like(q))


def tap(modes: Modes, x: float, y: float, vx: float, vy: float, time: float = 0.0, rule: str = "point") -> Event:
    """Strike the point (x, y) at `time`, s, so that it starts with velocity (vx, vy), pixels/s."""
    v = pull(modes, x, y, vx, vy, rule)
    return Event(time, torch.zeros_like(v), v)


def respond(modes: Modes, events: Sequence[Event], times: Tensor) -> Tensor:
    """Modal coordinates q, complex128 (N, J), at times (N,), s: the sum of what each event up to then has started."""
    times = times.double()
    q = torch.zeros(len(times), len(modes.omega), dtype=torch.complex128)
    for event in events:
        a, b = solution(modes.omega, modes.gamma, (times - event.time).clamp(min=0))
        q += torch.where((times >= event.time)[:, None], a * event.q + b * event.v, torch.zeros_like(q))
    return q


def clock(frames: int = FRAMES, rate: float = RATE) -> Tensor:
    """The times of frames, s: float64 (frames,), from 0."""
    return torch.arange(frames, dtype=torch.float64) / rate


def displacement(modes: Modes, q: Tensor) -> Tensor:
    """Displacement of every pixel for q (N, J): float32 (N, 2, H, W), pixels."""
    q, flat = q.to(torch.complex64), modes.shapes.flatten(1)
    return (q.real @ flat.real - q.imag @ flat.imag).unflatten(1, modes.shapes.shape[1:])


def trajectory(modes: Modes, q: Tensor, x: float, y: float) -> Tensor:
    """Displacement of one point (x, y) for q (N, J): float64 (N, 2), pixels."""
    return (q @ modes.at(x, y)).real


def mac(a: Tensor, b: Tensor, mask: Tensor | None = None) -> Tensor:
    """Modal assurance criterion between shapes a (I, 2, H, W) and b (J, 2, H, W), real or complex: float32 (I, J), 0 to 1.

    |a^H b|^2 / (|a|^2 |b|^2): 1 for shapes that differ by a complex factor only, 0 for orthogonal ones (or where one is 0).
    mask: bool (H, W), the pixels that count.
    """
    u, v = ((t if mask is None else t * mask).to(torch.complex128).flatten(1) for t in (a, b))
    norms = u.abs().square().sum(1)[:, None] * v.abs().square().sum(1)
    return torch.where(norms > 0, (u.conj() @ v.T).abs().square() / norms.clamp(min=1e-300), norms).float()


def match(
    S: Tensor, hertz: Tensor, shapes: Tensor, mask: Tensor | None = None, *,
    local: bool = False, frames: int = FRAMES, rate: float = RATE,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The slice of a spectral volume that each true mode is seen in: (slices int64 (J,), their MAC float32 (J,)).

    S (K, 2, H, W); hertz (J,) and shapes (J, 2, H, W) of the true modes. Each is looked for in the three slices nearest to its
    frequency, the constant one apart; modes beyond the last slice get its MAC. Take S with a Hann window: without one, the jump
    between a clip's end and start leaks into all slices. Of modes closer than a slice is wide the stronger is seen.

    mask, local: bool (H, W), the pixels that count; only those where the true shape is not 0. A slice shows all that swings at
    its frequency, also what swings apart from this mode, such as other flowers of a field.
    """
    nearest = (hertz.double() * frames / rate).round().long().clamp(1, len(S) - 1)
    tried = (nearest[:, None] + torch.tensor([-1, 0, 1])).clamp(1, len(S) - 1)
    rows = []
    for shape, slices in zip(shapes, tried):
        own = shape.abs().sum(0) > 0 if local else torch.ones_like(shape[0], dtype=torch.bool)
        rows.append(mac(shape[None], S[slices], own if mask is None else own & mask)[0])
    best, which = torch.stack(rows).max(1)
    return tried.gather(1, which[:, None])[:, 0], best


def peaks(S: Tensor, least: float = 0.02) -> list[int]:
    """Slices that stand out, strongest first: local maxima of energy over k = 1 to K - 1 with at least `least` of their sum.
    S complex (K, 2, H, W). Earlier work chose its modes so, by hand; the paper takes every slice."""
    energy = S[1:].abs().double().square().sum((1, 2, 3))
    padded = torch.nn.functional.pad(energy, (1, 1))
    top = (energy >= padded[:-2]) & (energy > padded[2:]) & (energy >= least * energy.sum()) & (energy > 0)
    found = top.nonzero()[:, 0]
    return [int(k) + 1 for k in found[energy[found].argsort(descending=True)]]


def magnify(S: Tensor, gain: float) -> Tensor:
    """A spectral volume, or a motion, with `gain` times the motion: all is linear. Below 0 it moves the other way."""
    return S * gain
