"""Diffusion: the schedule of noise, the loss, sampling by DDIM, guidance; and flow matching beside it.

With a_n the share of the signal's power that is left at step n of 1,000 (the product of 1 - beta), noisy data are

    z_n = sqrt(a_n) z + sqrt(1 - a_n) noise

and a network learns to say the noise (Ho et al. 2020). Flow matching takes straight lines z_t = (1 - t) noise + t z and learns
their velocity z - noise: today's usual form; the same network, data and steps serve both, so that they can be compared.

A `Predict` is what is left of a network once its condition is given: (z (B, ...), step (B,)) -> like z, the noise or the
velocity. Steps run from 0, clean, to 1,000, noise, for both.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

STEPS = 1000
DROPOUT = 0.1  # of the condition in training: the network also has to know the case without
ENERGY_WEIGHT = 200.0  # of an energy that guides: u of Li et al. 2024, Eq. 5
OBJECTIVES = ("noise", "velocity")  # what a network may learn to say
# sqrt(beta) grows linearly, with the ends of latent diffusion (Rombach et al. 2022)
BETAS = torch.linspace(0.0015**0.5, 0.0195**0.5, STEPS, dtype=torch.float64) ** 2
KEPT = (1 - BETAS).cumprod(0).float()  # a_n after each step, (1000,)

Predict = Callable[[Tensor, Tensor], Tensor]
Energy = Callable[[Tensor], Tensor]


def _like(values: Tensor, z: Tensor) -> Tensor:
    """Numbers (B,) or (B, K) shaped to go with z (B, K, ...)."""
    return values.to(z).reshape(*values.shape, *[1] * (z.ndim - values.ndim))


def noise_loss(predict: Predict, z: Tensor, step: Tensor, noise: Tensor) -> Tensor:
    """Mean square between the noise and what the network says of it: z, noise (B, ...), step (B,) or, where the parts of z are
    noisy by themselves, (B, K), int, 0 to 999."""
    a = _like(KEPT[step.cpu()], z)
    return (predict(a.sqrt() * z + (1 - a).sqrt() * noise, step) - noise).square().mean()


def matching_loss(predict: Predict, z: Tensor, time: Tensor, noise: Tensor) -> Tensor:
    """The same for flow matching: time (B,) or (B, K), 0 noise to 1 data."""
    t = _like(time, z)
    return (predict((1 - t) * noise + t * z, STEPS * (1 - time)) - (z - noise)).square().mean()


def loss(objective: str, predict: Predict, z: Tensor, time: Tensor, noise: Tensor) -> Tensor:
    """That of one of the `OBJECTIVES` at times drawn from 0 to below 1, (B,) or (B, K)."""
    if objective == "velocity":
        return matching_loss(predict, z, time, noise)
    return noise_loss(predict, z, (time * STEPS).long(), noise)


def guided(net: Callable[..., Tensor], condition: Tensor, w: float = 0.0) -> Predict:
    """Classifier-free guidance: (1 + w) net(z, step, condition) - w net(z, step, none), where none is zeros. w = 0 is the plain
    conditional network. Code that writes u + s (c - u) has s = 1 + w."""
    if w == 0:
        return lambda z, step: net(z, step, condition)

    def predict(z: Tensor, step: Tensor) -> Tensor:
        both = torch.cat([condition, torch.zeros_like(condition)])
        with_it, without = net(torch.cat([z, z]), torch.cat([step, step]), both).chunk(2)
        return (1 + w) * with_it - w * without

    return predict


def ddim(
    predict: Predict, noise: Tensor, calls: int = 50, *, energy: Energy | None = None, weight: float = ENERGY_WEIGHT,
    recurrences: int = 2, generator: torch.Generator | None = None, after: Callable[[int, Tensor], Any] | None = None,
) -> Tensor:  # fmt: skip
    """Draw data from noise (B, ...) by DDIM with `calls` steps, without noise on the way (eta = 0).

    energy       of the clean data that a step expects (B, ...) -> (B,). The noise is then bent along its gradient, which goes
                 through the network: noise + weight sqrt(1 - a) grad energy (Li et al. 2024, Eq. 5)
    recurrences  how often each step is made, with the noise of one step put back in between, so that what guidance did can
                 settle (the procedure of universal guidance, Bansal et al. 2023); without an energy once. With weight 0 it is
                 the same draw unguided: what to compare a guided one with
    generator    of the noise that recurrences put back, on the device of `noise`
    after        called with the number of each step and the clean data expected
    """
    if not 1 <= calls <= STEPS or recurrences < 1:
        raise ValueError(f"ddim: calls must be 1 to {STEPS}, recurrences at least 1, got {calls}, {recurrences}")
    repeats = 1 if energy is None else recurrences
    if generator is None and repeats > 1:
        raise ValueError("ddim: recurrences draw noise: give a generator")
    energy = energy if weight else None  # what has no weight needs no gradient
    times = torch.linspace(STEPS - 1, -1, calls + 1).round().long().tolist()
    z = noise
    for number, (now, then) in enumerate(pairwise(times)):
        a, b = float(KEPT[now]), float(KEPT[then]) if then >= 0 else 1.0
        step = torch.full((len(z),), now, device=z.device)
        for repeat in range(repeats):
            with torch.set_grad_enabled(energy is not None):
                z = z.detach().requires_grad_(energy is not None)
                said = predict(z, step)
                if energy is not None:
                    clean = (z - (1 - a) ** 0.5 * said) / a**0.5
                    (pull,) = torch.autograd.grad(energy(clean).sum(), z)
                    said = said + weight * (1 - a) ** 0.5 * pull
            z, said = z.detach(), said.detach()
            clean = (z - (1 - a) ** 0.5 * said) / a**0.5
            z = b**0.5 * clean + (1 - b) ** 0.5 * said
            if repeat < repeats - 1:
                fresh = torch.randn(z.shape, generator=generator, device=z.device, dtype=z.dtype)
                z = (a / b) ** 0.5 * z + (1 - a / b) ** 0.5 * fresh
        if after is not None:
            after(number, clean)
    return z


@torch.no_grad()
def sample(objective: str, predict: Predict, noise: Tensor, calls: int = 50, **kw: Any) -> Tensor:
    """Draw data from noise (B, ...) with a network of one of the `OBJECTIVES`: by `ddim`, where kw goes, or along the velocity
    in equal steps (Euler's method)."""
    if objective != "velocity":
        return ddim(predict, noise, calls, **kw)
    if kw or calls < 1:
        raise ValueError(
            f"sample: a network that says velocity takes at least 1 call, and no guidance; got {calls}, {kw}"
        )
    z = noise
    for number in range(calls):
        step = torch.full((len(z),), STEPS * (1 - number / calls), device=z.device)
        z = z + predict(z, step) / calls
    return z
