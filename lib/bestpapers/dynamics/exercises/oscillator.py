r"""The oscillator, exactly

Each vibration mode is a spring with a damper, $\ddot q + \gamma\,\dot q + \omega^2 q = 0$. Where does it stand at time
$t$, if it starts at $q_0$ with the velocity $v_0$? The paper's supplement walks there in small steps. Write the exact
solution, for all three kinds of damping: it swings if $\gamma < 2\omega$, creeps if $\gamma > 2\omega$, and on the
border does neither.
"""

import math

import torch
from torch import Tensor

from ...course.checks import Checker, close, true

LEVEL, MINUTES, DIFFICULTY = "core", 20, 2
HINT = r"""
With $h = \gamma/2$ and $w = \sqrt{|\omega^2 - h^2|}$, the swinging one is
$e^{-ht}\bigl(q_0 \cos wt + (v_0 + h q_0) \sin(wt) / w\bigr)$. The creeping one has cosh and sinh in the place of cos
and sin. For long times these overflow before $e^{-ht}$ can help: write them as exponentials that fall.
"""
NOTE = r"""
With the supplement's damping, $\gamma = 0.4 + 0.08\,\omega^2$, everything above 3.9 Hz creeps, and its high slices hardly
ring.

Steps have a limit. The truly explicit Euler method blows up unless $\Delta t < \gamma/\omega^2$, 2.1 ms at 3 Hz for a
damping ratio of 0.02. The semi-implicit one, which takes the *new* velocity for the position, is stable up to about
$2/\omega$, but its error is about $\omega\,\Delta t / 2$ of the swing. The exact form has no step at all: any frame can
be computed first, and in a browser, on a slow frame, nothing explodes.
"""


def oscillator(omega: float, gamma: float, q0: float, v0: float, t: Tensor) -> Tensor:
    """Where a damped oscillator stands.

    omega rad/s, above 0; gamma 1/s, at least 0; q0; v0 per s; t (n,) s, at least 0
    -> q (n,)
    """
    h = gamma / 2
    w = math.sqrt(abs(omega**2 - h**2))
    if h < omega:
        swing, sine = torch.cos(w * t), torch.sin(w * t) / w
        return torch.exp(-h * t) * (q0 * swing + (v0 + h * q0) * sine)
    if h == omega:
        return torch.exp(-h * t) * (q0 + (v0 + h * q0) * t)
    slow, fast = torch.exp((w - h) * t), torch.exp(-(w + h) * t)
    return q0 * (slow + fast) / 2 + (v0 + h * q0) * (slow - fast) / (2 * w)


def run() -> None:
    """The error of semi-implicit steps with a damping ratio of 0.05, for the cell of the solution."""
    for hertz in (1.0, 3.0):
        omega, dt, q, v, largest = 2 * math.pi * hertz, 1 / 240, 1.0, 0.0, 0.0
        times = torch.arange(1201, dtype=torch.float64) * dt
        exact = oscillator(omega, omega / 10, 1.0, 0.0, times).tolist()
        for right in exact[1:]:
            v -= dt * (omega**2 * q + omega / 10 * v)
            q += dt * v
            largest = max(largest, abs(q - right))
        print(f"{hertz:.0f} Hz, 240 steps a second: off by {largest:.3f} of the swing,")
        print(f"omega dt / 2 is {omega * dt / 2:.3f}")
        assert abs(largest - omega * dt / 2) < 0.1 * largest


check = Checker("5.6")
T = torch.arange(0, 200, dtype=torch.float64) / 40
CASES = ((6.0, 0.5), (6.0, 12.0), (3.0, 20.0), (15.0, 0.0))


@check.property("it starts at q0 with the velocity v0")
def _(answer):
    t = torch.tensor([0.0, 1e-6], dtype=torch.float64)
    for omega, gamma in CASES:
        q = answer(omega, gamma, 0.7, -2.0, t)
        close(q[0], 0.7)
        close((q[1] - q[0]) / 1e-6, -2.0, rtol=1e-3, atol=1e-4)


@check.property("without damping it swings for ever")
def _(answer):
    close(answer(15.0, 0.0, 0.7, -2.0, T), 0.7 * torch.cos(15 * T) - 2 / 15 * torch.sin(15 * T), atol=1e-9)


@check.property("with a little damping it swings slower than omega, and dies out with e^(-gamma t / 2)")
def _(answer):
    q = answer(6.0, 3.0, 1.0, -1.5, T)
    close(q, torch.exp(-1.5 * T) * torch.cos(math.sqrt(36 - 2.25) * T), atol=1e-9)


@check.property("with much damping it creeps: the sum of two exponentials")
def _(answer):
    slow, fast = 10 - math.sqrt(91), 10 + math.sqrt(91)
    want = (fast * torch.exp(-slow * T) - slow * torch.exp(-fast * T)) / (fast - slow)
    close(answer(3.0, 20.0, 1.0, 0.0, T), want, atol=1e-9, hint="there gamma / 2 is above omega")


@check.property("on the border, gamma = 2 omega, it is what both sides tend to")
def _(answer):
    q = answer(6.0, 12.0, 1.0, 2.0, T)
    true(bool(torch.isfinite(q).all()), "numbers", q, hint="there sin(wt) / w is 0 / 0: its limit is t")
    close(q, torch.exp(-6 * T) * (1 + 8 * T), atol=1e-9)


@check.property("after a minute and more it is at rest, and a number")
def _(answer):
    late = torch.tensor([60.0, 600.0], dtype=torch.float64)
    for omega, gamma in CASES[1:3]:
        close(answer(omega, gamma, 1.0, 2.0, late), torch.zeros(2), atol=1e-6, hint="cosh(600 w) is infinite")
