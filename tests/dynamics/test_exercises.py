"""Every checker against its solution, against named mistakes, and against the stub; the solutions against the library."""

import importlib
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from bestpapers.dynamics import exercises, loop, modal, spectral
from bestpapers.dynamics.exercises.adaptive import adaptive
from bestpapers.dynamics.exercises.close_loop import close_loop
from bestpapers.dynamics.exercises.fit_laws import fit_laws
from bestpapers.dynamics.exercises.frechet import frechet
from bestpapers.dynamics.exercises.mac import mac
from bestpapers.dynamics.exercises.one_sided import one_sided
from bestpapers.dynamics.exercises.oscillator import oscillator
from bestpapers.dynamics.exercises.other_rate import other_rate
from bestpapers.dynamics.exercises.own_plant import own_plant
from bestpapers.dynamics.exercises.slice_attention import slice_attention
from bestpapers.dynamics.exercises.splat import splat
from bestpapers.dynamics.exercises.two_readings import two_readings
from bestpapers.kernels.softsplat import softsplat

from ..solutions import assert_all_have_mistakes, assert_checker_tells, by_name

F64 = torch.float64
ROOT = Path(__file__).parents[2]

# ------------------------------------------------------------------------------------------------- answers that are wrong


def changed(function, **changes):
    return lambda *args: function(*args, **changes)


def one_sided_part(slices, frames, *, two=2.0, constant=1.0, nyquist=True, sign=1, whole=False, complex_=False):
    K = len(slices)
    sides = torch.full((K,), two, dtype=F64)
    sides[0] = constant
    if nyquist and frames == 2 * (K - 1):
        sides[-1] = 1
    n = torch.arange(frames, dtype=F64)[:, None]
    angle = sign * 2 * math.pi * n * torch.arange(K) / (2 * (K - 1) if whole and K > 1 else frames)
    waves = torch.polar(sides.expand(frames, K), angle).to(slices.dtype)
    out = (waves @ slices.reshape(K, -1)).reshape(frames, *slices.shape[1:]) / frames
    return out if complex_ else out.real


def other_rate_part(
    motion, rate, *, frames=None, pad=None, size=150, whole=False, turn=False, mean=True, known="below", fewer=False
):
    N = len(motion) if whole else frames or round(5 * rate)
    motion = motion[:N]
    motion = motion if mean else motion - motion.mean(0)
    S = (torch.fft.fft(motion, n=pad, dim=0) if known == "all" or pad else torch.fft.rfft(motion, dim=0))[:16]
    S = S * ({"turned": len(motion) / 150, "none": 1}.get(size) or 150 / len(motion))
    S = S.conj() if turn else S
    sure = {"below": math.ceil(len(motion) / 2), "half": len(motion) // 2 + 1, "fewer": len(motion) // 2}.get(known, 16)
    if fewer:
        return S[:sure]
    out = S.new_zeros(16, *S.shape[1:])
    out[: min(sure, len(S))] = S[:sure]
    return out


def adaptive_part(training, *, q=0.95, still=False, one=False, root=0.5, sign=True, own=False, keep_sign_back=True):
    rows = training.transpose(0, 1).flatten(1).abs()
    s = torch.stack([torch.quantile(row if still else row[row > 0], q) for row in rows])
    s = s.mean().expand_as(s) if one else s

    def size(x):
        return x.abs().flatten(0, -3).amax((0, -1)).clamp(min=1e-9) if own else s

    def forward(x):
        out = (x.abs() / size(x)[:, None]) ** root
        return out * x.sign() if sign else out

    def backward(y):
        out = s[:, None] * y.abs() ** (1 / root)
        return out * y.sign() if keep_sign_back else out

    return s, forward, backward


def adaptive_measures_each_clip(training):
    """s is right, but forward takes the percentile of what it is given."""
    s, _, _ = adaptive(training)
    kept = []

    def forward(x):
        clip = x.ndim == 2 and x.shape[-1] > 100
        used = torch.stack([torch.quantile(row[row != 0].abs(), 0.95) for row in x]) if clip else s
        kept.append(used)
        return x.sign() * (x.abs() / used[:, None]).sqrt()

    def backward(y):
        return kept[-1][:, None] * y * y.abs()

    return s, forward, backward


def fit_part(f, amplitude, *, log=True, log_f=True, skip=True, inverse=False, root=False, swap=False, plain=False):
    if skip:
        amplitude, f = amplitude[f > 0], f[f > 0]
    y = amplitude.log() if log else amplitude

    def r2(x):
        dx, dy = x - x.mean(), y - y.mean()
        if plain:  # through the origin
            dx, dy = x, y
        out = ((dx @ dy) ** 2 / (dx @ dx) / (dy @ dy)).item()
        return math.sqrt(out) if root else out

    found = r2(f), r2(1 / f if inverse else f.clamp(min=1e-3).log() if log_f else f)
    return found[::-1] if swap else found


def splat_part(
    x, flow, z, mode, *, top="target", epsilon=0.0, wrap=False, swap=False, nearest=False, detach=False, other=None,
    linear_as=None, edge=False,
):  # fmt: skip
    C, H, W = x.shape
    mode = {mode: mode, "linear": linear_as or "linear"}[mode] if other is None else other.get(mode, mode)
    fx, fy = (flow[1], flow[0]) if swap else flow
    column, row = fx + torch.arange(W), fy + torch.arange(H)[:, None]
    if nearest:
        column, row = column.round(), row.round()
    if edge:
        column, row = column.clamp(0, W - 1), row.clamp(0, H - 1)
    lists = []
    for i, j in ((0, 0), (1, 0), (0, 1), (1, 1)):
        u, v = column.detach().floor() + i, row.detach().floor() + j
        b = (1 - (column - u).abs()) * (1 - (row - v).abs())
        b = b.detach() if detach else b
        ok = b > 0
        if wrap:
            u, v = u % W, v % H
        else:
            ok = ok & (u >= 0) & (u < W) & (v >= 0) & (v < H)
        lists.append(((v * W + u)[ok].long(), b[ok], x[:, ok], z[ok]))
    target, b, values, weight = (torch.cat(part, -1) for part in zip(*lists))
    if mode == "linear":
        b = b * weight
    if mode == "softmax":
        low = torch.full((H * W,), -torch.inf, dtype=z.dtype)
        tops = low.scatter_reduce(0, target, weight.detach(), "amax")[target]
        tops = {"target": tops, "image": z.detach().max(), "none": 0.0, "clip": None}[top]
        b = b * (torch.exp(weight.clamp(-20, 20)) if tops is None else torch.exp(weight - tops))
    out = x.new_zeros(C, H * W).index_add(1, target, b * values)
    if mode != "summation":
        total = x.new_zeros(H * W).index_add(0, target, b)
        out = out / (total + epsilon if epsilon else total.where(total > 0, 1))
    return out.view(C, H, W)


def oscillator_part(omega, gamma, q0, v0, t, *, start=True, shift=True, border="limit", over="fall", damped=True):
    h = gamma / 2
    v = v0 + h * q0 if start else v0
    w = math.sqrt(abs(omega**2 - h**2)) if shift else omega
    if h < omega or not shift:
        fade = torch.exp(-h * t) if damped else 1
        return fade * (q0 * torch.cos(w * t) + v * torch.sin(w * t) / w)
    if h == omega:
        if border == "nan":
            return torch.exp(-h * t) * (q0 + v * torch.sin(w * t) / torch.tensor(w))
        return torch.exp(-h * t) * (q0 + (v * t if border == "limit" else 0))
    if over == "cosh":
        return torch.exp(-h * t) * (q0 * torch.cosh(w * t) + v * torch.sinh(w * t) / w)
    if over == "swing":
        return torch.exp(-h * t) * (q0 * torch.cos(w * t) + v * torch.sin(w * t) / w)
    slow, fast = torch.exp((w - h) * t), torch.exp(-(w + h) * t)
    return q0 * (slow + fast) / 2 + v * (slow - fast) / (2 * w)


def oscillator_too_fast(omega, gamma, q0, v0, t):
    """Swings at omega, whatever the damping."""
    if gamma >= 2 * omega:
        return oscillator(omega, gamma, q0, v0, t)
    v = v0 + gamma / 2 * q0
    return torch.exp(-gamma / 2 * t) * (q0 * torch.cos(omega * t) + v * torch.sin(omega * t) / omega)


def oscillator_walks(omega, gamma, q0, v0, t):
    """In steps, as the paper has it."""
    q, v, out, at = q0, v0, [], 0.0
    for time in t.tolist():
        for _ in range(max(1, round((time - at) * 2000)) if time > at else 0):
            v -= (time - at) / max(1, round((time - at) * 2000)) * (omega**2 * q + gamma * v)
            q += (time - at) / max(1, round((time - at) * 2000)) * v
        at = time
        out.append(q)
    return torch.tensor(out, dtype=F64)


def own_plant_part(
    shapes, ids, pulls, *, gain=True, conj=True, swap=False, mask="own", guard=True, board=False, alone=False, last=False,
    together=False,
):  # fmt: skip
    moved, total_q, seen = torch.zeros_like(shapes[0].real), 0, torch.zeros_like(ids, dtype=torch.bool)
    for x, y, D in pulls[-1:] if last else pulls:
        along = (shapes[:, :, x, y] if swap else shapes[:, :, y, x]) @ (D / D.norm()).to(shapes.dtype)
        power = along.abs().square().sum()
        power = power.where(power > 0, 1) if guard else power
        q = D.norm() * (along.conj() if conj else along) / (power if gain else 1)
        if alone:  # the mode that moves the point most does all of it
            best = int(along.abs().argmax())
            q = torch.zeros_like(q)
            q[best] = D.norm() / along[best] if along[best].abs() > 0 else 0
        own = ids == ids[y, x]
        own = {"own": own & (ids > 0), "same": own, "ground": own | (ids == 0)}.get(mask, torch.ones_like(own))
        field = D[:, None, None].expand_as(moved) if board else torch.einsum("jchw,j->chw", shapes, q).real
        moved, total_q, seen = moved + own * field, total_q + q, seen | own
    return seen * torch.einsum("jchw,j->chw", shapes, total_q).real if together else moved


def mac_part(a, b, mask, *, conj=True, square=True, power=1.0, guard=True, use_mask=True, pairs=True, real=False):
    m = mask if use_mask else torch.ones_like(mask)
    u, v = a[:, :, m].flatten(1), b[:, :, m].flatten(1)
    u, v = (u.real.to(u.dtype), v.real.to(v.dtype)) if real else (u, v)
    products = ((u.conj() if conj else u) @ v.T).abs()
    sizes = (u.abs().square().sum(1)[:, None] * v.abs().square().sum(1)) ** power
    out = (products**2 if square else products) / (sizes.where(sizes > 0, 1) if guard else sizes)
    return out if pairs else out.diagonal()


def readings_part(S, s, *, zero="sgn", first="component", sizes=True, swap=False, sign=True, angle=1.0):
    ratio = S / s.reshape(-1, *[1] * (S.ndim - 1)) if sizes else S
    parts = torch.view_as_real(ratio)
    root = parts.abs().sqrt()
    component = torch.view_as_complex((parts.sign() * root if sign else root).contiguous())
    direction = torch.sgn(ratio) if zero == "sgn" else ratio / ratio.abs()
    size = ratio.abs().sqrt()
    magnitude = torch.polar(size, angle * ratio.angle()) if angle != 1 else direction * size
    if first == "magnitude":
        component = magnitude
    return (magnitude, component) if swap else (component, magnitude)


class Layer(nn.Module):
    """The solution with parts left out."""

    def __init__(self, channels, slices, heads, *, zero="out", added=True, positions=True, mix="slices", stream=False):
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.attention = nn.MultiheadAttention(channels, heads, batch_first=True)
        start = torch.zeros if stream else lambda *n: 0.1 * torch.randn(*n)
        self.positions = nn.Parameter(start(slices, channels)) if positions else None
        self.after = nn.Linear(channels, channels) if zero == "twice" else nn.Identity()
        self.mix, self.added, self.stream = mix, added, stream
        if zero in ("out", "twice"):
            nn.init.zeros_(self.attention.out_proj.weight)
            nn.init.zeros_(self.attention.out_proj.bias)
        if zero == "twice":
            nn.init.zeros_(self.after.weight)
            nn.init.zeros_(self.after.bias)

    def forward(self, x):
        B, K, C, H, W = x.shape
        if self.mix == "places":  # attention over the places of each slice
            tokens = x.permute(0, 1, 3, 4, 2).reshape(B * K, H * W, C)
            y = self.norm(tokens)
            if self.positions is not None:
                y = y + self.positions.repeat(B, 1)[:, None]
            y = self.attention(y, y, y)[0].reshape(B, K, H, W, C).permute(0, 1, 4, 2, 3)
            return x + y
        if self.mix == "all":  # slices and places at once
            tokens = x.permute(0, 1, 3, 4, 2).reshape(B, K * H * W, C)
            y = self.norm(tokens) + self.positions.repeat_interleave(H * W, 0)
            y = self.attention(y, y, y)[0].reshape(B, K, H, W, C).permute(0, 1, 4, 2, 3)
            return x + y
        if self.mix == "clips":  # batch_first forgotten: clips and places attend, slices do not
            tokens = x.permute(1, 0, 3, 4, 2).reshape(K, B * H * W, C)
            y = self.norm(tokens) + self.positions[:, None]
            y = self.attention(y, y, y)[0].reshape(K, B, H, W, C).permute(1, 0, 4, 2, 3)
            return x + y
        if self.mix == "before":  # a slice hears only those below it
            mask = torch.full((K, K), -torch.inf).triu(1)
            tokens = x.permute(0, 3, 4, 1, 2).reshape(-1, K, C)
            y = self.norm(tokens) + self.positions
            y = self.attention(y, y, y, attn_mask=mask)[0]
            return x + y.reshape(B, H, W, K, C).permute(0, 3, 4, 1, 2)
        tokens = x.permute(0, 3, 4, 1, 2).reshape(-1, K, C)
        y = self.norm(tokens) + (self.positions if self.positions is not None else 0)
        y = self.after(self.attention(y, y, y)[0]).reshape(B, H, W, K, C).permute(0, 3, 4, 1, 2)
        return x + y if self.added else y


def layer(**changes):
    return lambda channels, slices, heads: Layer(channels, slices, heads, **changes)


def frozen_layer(channels, slices, heads):
    """Nothing comes out, and nothing ever will."""
    module = slice_attention(channels, slices, heads)
    for p in module.parameters():
        p.requires_grad_(False)
    return module


def loop_part(S, frames, *, conditions=(0, 1), twice=1.0, end=0, zero=True, shrink=None, weights=None):
    if shrink is not None:
        return torch.cat([S[:1], shrink * S[1:]])
    K = len(S)
    k = torch.arange(1, K, dtype=F64)
    n = torch.tensor([0, 1, frames - 2 + end, frames - 1 + end], dtype=F64)[:, None]
    angle = 2 * math.pi * n * k / frames
    first, second, before, last = torch.cat([angle.cos(), -angle.sin()], 1)
    A = torch.stack([last - first, (last - before) - (second - first)])[list(conditions)]
    w = torch.ones(2 * (K - 1), dtype=F64) if weights is None else weights(K).repeat(2)
    z = torch.cat([S[1:].real, S[1:].imag]).flatten(1).double()
    z = z - twice * (w[:, None] * A.T) @ torch.linalg.solve(A @ (w[:, None] * A.T), A @ z)
    real, imag = z.reshape(2, K - 1, *S.shape[1:])
    constant = S[:1] if zero else -2 * real.sum(0, keepdim=True).to(S.dtype)
    return torch.cat([constant, torch.complex(real, imag).to(S.dtype)])


def loop_drops_slices(S, frames):
    """Sets as many numbers to what closes the loop as there are conditions: those of the two highest slices."""
    out = S.clone()
    k = torch.arange(1, len(S), dtype=F64)
    n = torch.tensor([0, 1, frames - 2, frames - 1], dtype=F64)[:, None]
    angle = 2 * math.pi * n * k / frames
    first, second, before, last = torch.cat([angle.cos(), -angle.sin()], 1)
    A = torch.stack([last - first, (last - before) - (second - first)])
    z = torch.cat([S[1:].real, S[1:].imag]).flatten(1).double()
    K = len(S) - 1
    free = [K - 1, 2 * K - 1]
    rest = [i for i in range(2 * K) if i not in free]
    z[free] = torch.linalg.solve(A[:, free], -A[:, rest] @ z[rest])
    real, imag = z.reshape(2, K, *S.shape[1:])
    out[1:] = torch.complex(real, imag)
    return out


def frechet_part(a, b, *, mean=True, root="matrix", ddof=1, clamp=True, covariance=True, order=True, power=2):
    one = torch.cov(a.T, correction=ddof).reshape(a.shape[1], -1)
    two = torch.cov(b.T, correction=ddof).reshape(a.shape[1], -1)
    apart = (a.mean(0) - b.mean(0)).abs().pow(power).sum() if mean else 0
    if not covariance:
        return float(apart)
    if root == "entries":
        cross = (one @ two).abs().sqrt().trace()
    elif root == "diagonal":
        cross = (one.diagonal() * two.diagonal()).sqrt().sum()
    elif root == "cholesky":
        cross = torch.linalg.svdvals(torch.linalg.cholesky(one).T @ torch.linalg.cholesky(two)).sum()
    else:
        values, vectors = torch.linalg.eigh(one)
        half = vectors * (values.clamp(min=0) if clamp else values).sqrt() @ vectors.T
        inner = torch.linalg.eigvalsh(half @ two @ half)
        cross = (inner.clamp(min=0) if clamp else inner).sqrt().sum()
    return float(apart + one.trace() + two.trace() - 2 * cross)


# ------------------------------------------------------- mistake -> (who makes it, how many properties hold before it shows)

WRONG = {
    "one_sided": {
        "doubles slice 0": (changed(one_sided_part, constant=2.0), 0),
        "forgets the mirror half": (changed(one_sided_part, two=1.0), 1),
        "runs backwards in time": (changed(one_sided_part, sign=-1), 1),
        "keeps complex numbers": (changed(one_sided_part, complex_=True), 1),
        "doubles the middle slice": (changed(one_sided_part, nyquist=False), 2),
        "repeats the last slice": (
            lambda s, n: one_sided(torch.cat([s, s[-1:].expand(max(0, min(3, n // 2 - len(s))), *s.shape[1:])]), n), 3,
        ),
    },
    "other_rate": {
        "takes 150 frames": (changed(other_rate_part, frames=150), 0),
        "fills up to 150 frames": (changed(other_rate_part, pad=150), 0),
        "forgets the size": (changed(other_rate_part, size="none"), 1),
        "turns the size round": (changed(other_rate_part, size="turned"), 1),
        "uses the whole clip": (changed(other_rate_part, whole=True), 2),
        "takes the mean away": (changed(other_rate_part, mean=False), 3),
        "runs backwards in time": (changed(other_rate_part, turn=True), 3),
        "keeps half the rate": (changed(other_rate_part, known="half"), 4),
        "keeps the mirror images": (changed(other_rate_part, known="all"), 4),
        "returns the slices that it knows": (changed(other_rate_part, fewer=True), 4),
        "leaves out one that it knows": (changed(other_rate_part, known="fewer"), 4),
    },
    "adaptive": {
        "counts what stands still": (changed(adaptive_part, still=True), 0),
        "takes one number for all slices": (changed(adaptive_part, one=True), 0),
        "takes the largest": (changed(adaptive_part, q=1.0), 0),
        "takes the 97th percentile": (changed(adaptive_part, q=0.97), 0),
        "normalises by the largest of what it is given": (changed(adaptive_part, own=True), 1),
        "forgets the root": (changed(adaptive_part, root=1.0), 2),
        "loses the sign": (changed(adaptive_part, sign=False), 2),
        "loses the sign on the way back": (changed(adaptive_part, keep_sign_back=False), 3),
        "measures each clip by itself": (adaptive_measures_each_clip, 4),
    },
    "fit_laws": {
        "fits amplitude": (changed(fit_part, log=False), 0),
        "fits through the origin": (changed(fit_part, plain=True), 0),
        "exchanges the laws": (changed(fit_part, swap=True), 0),
        "forgets the logarithm of f": (changed(fit_part, log_f=False), 0),
        "takes 1 / f for a power law": (changed(fit_part, inverse=True), 1),
        "returns the correlation": (changed(fit_part, root=True), 3),
        "takes f = 0 for a very small one": (changed(fit_part, skip=False), 2),
        "fits the power law to the fifth to the last": (
            lambda f, a: (fit_laws(f, a)[0], fit_laws(f[4:], a[4:])[1] if f[0] > 0 else fit_laws(f[5:], a[5:])[1]), 3,
        ),
    },
    "splat": {
        "adds a small number": (changed(splat_part, epsilon=1e-3), 0),
        "forgets to divide": (changed(splat_part, other={"average": "summation"}), 0),
        "takes softmax for linear": (changed(splat_part, other={"linear": "softmax"}), 0),
        "goes round the edge": (changed(splat_part, wrap=True), 1),
        "keeps what leaves": (changed(splat_part, edge=True), 1),
        "exchanges x and y": (changed(splat_part, swap=True), 0),
        "exchanges x and y of fractions": (
            lambda x, flow, z, mode: splat_part(x, flow, z, mode, swap=x.shape[1] == 4), 2,
        ),
        "rounds": (changed(splat_part, nearest=True), 1),
        "exponentiates as it is": (changed(splat_part, top="none"), 3),
        "clips the weight": (changed(splat_part, top="clip"), 3),
        "subtracts the largest of the picture": (changed(splat_part, top="image"), 4),
        "cuts the gradient of the flow": (changed(splat_part, detach=True), 5),
    },
    "oscillator": {
        "takes v0 for the sine": (changed(oscillator_part, start=False), 0),
        "forgets the damping": (changed(oscillator_part, damped=False), 0),
        "walks": (oscillator_walks, 1),
        "knows no rest": (lambda om, g, q, v, t: oscillator(om, max(g, 0.5), q, v, t), 1),
        "swings at omega": (oscillator_too_fast, 2),
        "always swings": (changed(oscillator_part, over="swing"), 3),
        "divides 0 by 0": (
            lambda om, g, q, v, t: oscillator(om, g, q, v, t) * (math.nan if g == 2 * om and len(t) > 2 else 1), 4,
        ),
        "has cosh": (changed(oscillator_part, over="cosh"), 5),
    },
    "own_plant": {
        "has no gain": (changed(own_plant_part, gain=False), 0),
        "forgets the conjugate": (changed(own_plant_part, conj=False), 0),
        "exchanges rows and columns": (changed(own_plant_part, swap=True), 0),
        "moves the field": (changed(own_plant_part, mask="none"), 1),
        "takes the ground along": (changed(own_plant_part, mask="ground"), 1),
        "moves the plant like a board": (changed(own_plant_part, board=True), 2),
        "takes one mode": (changed(own_plant_part, alone=True), 2),
        "hears the last pull": (changed(own_plant_part, last=True), 3),
        "adds up the amplitudes of all pulls": (changed(own_plant_part, together=True), 3),
        "divides by zero": (changed(own_plant_part, guard=False), 4),
        "pulls the ground": (changed(own_plant_part, mask="same"), 4),
    },
    "mac": {
        "forgets the conjugate": (changed(mac_part, conj=False), 0),
        "takes real parts": (changed(mac_part, real=True), 0),
        "is not normalised": (changed(mac_part, power=0.5), 0),
        "returns pairs of equal number": (changed(mac_part, pairs=False), 0),
        "adds up directions before it squares": (lambda a, b, m: mac(a.sum(1, keepdim=True), b.sum(1, keepdim=True), m), 1),
        "is no square": (changed(mac_part, square=False, power=0.5), 2),
        "looks everywhere": (changed(mac_part, use_mask=False), 3),
        "divides by zero": (changed(mac_part, guard=False), 4),
    },
    "two_readings": {
        "forgets s": (changed(readings_part, sizes=False), 0),
        "has one reading": (changed(readings_part, first="magnitude"), 1),
        "exchanges them": (changed(readings_part, swap=True), 1),
        "loses the signs of the parts": (changed(readings_part, sign=False), 1),
        "halves the angle": (changed(readings_part, angle=0.5), 2),
        "points the other way": (
            lambda S, s: (two_readings(S, s)[0], two_readings(S, s)[1] * torch.where(S.imag == 0, 1, -1)), 2,
        ),
        "takes the fourth root": (
            lambda S, s: (two_readings(S, s)[0], two_readings(S, s)[1] * torch.where(S.imag == 0, 1, 0.9)), 3,
        ),
        "divides by zero": (changed(readings_part, zero="divide"), 4),
        "is NaN where nothing moves": (
            lambda S, s: tuple(t / (S != 0) for t in two_readings(S, s)), 4,
        ),
        "moves what stands still": (
            lambda S, s: tuple(torch.where(S == 0, 1e-3, t) for t in two_readings(S, s)), 4,
        ),
    },
    "slice_attention": {
        "starts as something": (layer(zero="no"), 0),
        "is not added": (layer(added=False), 0),
        "is frozen": (frozen_layer, 1),
        "has two layers of zeros": (layer(zero="twice"), 1),
        "mixes places in place of slices": (layer(mix="places"), 2),
        "hears only lower slices": (layer(mix="before"), 2),
        "forgets batch_first": (layer(mix="clips"), 2),
        "mixes slices and places": (layer(mix="all"), 3),
        "has no positions": (layer(positions=False), 4),
    },
    "close_loop": {
        "does nothing": (lambda S, frames: S, 0),
        "goes half of the way": (changed(loop_part, twice=0.5), 0),
        "closes to frame T": (changed(loop_part, end=1), 0),
        "meets in place only": (changed(loop_part, conditions=(0,)), 1),
        "starts at the picture": (changed(loop_part, zero=False), 2),
        "stops the motion": (changed(loop_part, shrink=0.0), 2),
        "changes the highest slices": (loop_drops_slices, 3),
        "weighs the slices": (changed(loop_part, weights=lambda K: torch.arange(1, K).double()), 3),
        "is never content": (
            lambda S, frames: close_loop(S, frames) * (1 if _open(S, frames) else 0.99), 4,
        ),
    },
    "frechet": {
        "compares means with N": (lambda a, b: frechet_part(a, b) + abs(len(a) - len(b)) + 1e-3, 0),
        "forgets the 2": (lambda a, b: frechet_part(a, b) + 0.1, 0),
        "ignores the means": (changed(frechet_part, mean=False), 1),
        "adds up differences of means": (changed(frechet_part, power=1), 1),
        "ignores the covariances": (changed(frechet_part, covariance=False), 2),
        "divides by N": (changed(frechet_part, ddof=0), 2),
        "takes the roots of entries": (changed(frechet_part, root="entries"), 0),
        "takes the diagonals": (changed(frechet_part, root="diagonal"), 3),
        "takes Cholesky's factor": (changed(frechet_part, root="cholesky"), 4),
        "takes roots below zero": (changed(frechet_part, clamp=False), 4),
    },
}  # fmt: skip


def _open(S, frames):
    motion = one_sided(S, frames)
    return (motion[-1] - motion[0]).abs().max() > 1e-6


MODULES = by_name(exercises.EXERCISES)


@pytest.mark.parametrize("name", MODULES)
def test_checker_tells_the_solution_the_mistakes_and_the_stub(name):
    assert_checker_tells(MODULES[name], name, WRONG[name])


@pytest.mark.parametrize("name", [name for name, m in MODULES.items() if hasattr(m, "run")])
def test_what_the_cell_of_the_solution_runs(name, capsys):
    MODULES[name].run()
    printed = capsys.readouterr().out.splitlines()
    assert printed
    assert max(map(len, printed)) <= 88


def test_every_exercise_has_mistakes():
    assert_all_have_mistakes(WRONG, MODULES)


def test_numbers_run_on_and_core_comes_first():
    assert [m.check.exercise for m in exercises.EXERCISES] == [f"5.{i + 1}" for i in range(12)]
    levels = [m.LEVEL for m in exercises.EXERCISES]
    assert levels == sorted(levels, reverse=True)
    assert 6 <= levels.count("core") <= 8


# ------------------------------------------------------------------------------- the solutions, compared with the library


def _volume(K=7, dtype=torch.complex128):
    parts = torch.randn(2, K, 2, 4, 5, generator=torch.Generator().manual_seed(K), dtype=F64)
    S = torch.complex(*parts)
    S[0] = S[0].real.to(S.dtype)
    return S.to(dtype)


def test_the_series_is_the_librarys():
    for frames in (20, 21):
        torch.testing.assert_close(one_sided(_volume(), frames), spectral.motion(_volume(), frames))
    flow = torch.randn(150, 2, 3, 4, generator=torch.Generator().manual_seed(0), dtype=F64)
    torch.testing.assert_close(other_rate(flow, 30.0), spectral.volume(flow))


def test_slices_of_another_rate_have_the_librarys_frequencies():
    for rate in (24.0, 60.0):
        torch.testing.assert_close(spectral.frequencies(16, round(5 * rate), rate), spectral.frequencies(16))


def test_normalisation_is_the_librarys():
    volumes = torch.stack([_volume(), 3 * _volume()])
    normalizer = spectral.Normalizer.fit(volumes)
    numbers = torch.view_as_real(volumes).flatten(2)
    s, forward, _ = adaptive(numbers)
    torch.testing.assert_close(s[1:].float(), normalizer.scale[1:, 0], rtol=0.02, atol=0)  # two ways to a percentile
    scaled = forward(torch.view_as_real(_volume()).flatten(1)) * (s / normalizer.scale[:, 0]).sqrt()[:, None]
    theirs = normalizer(_volume()).reshape(7, 2, 2, 4, 5).movedim(2, -1).flatten(1)
    torch.testing.assert_close(scaled[1:], theirs[1:].to(scaled), rtol=1e-5, atol=1e-6)


def test_both_readings_are_the_librarys():
    scale = torch.rand(7, generator=torch.Generator().manual_seed(0)) + 0.5
    for mine, reading in zip(two_readings(_volume(), scale.double()), ("component", "magnitude"), strict=True):
        normalizer = spectral.Normalizer(scale[:, None].expand(7, 2), "adaptive", reading)
        torch.testing.assert_close(spectral.to_channels(mine), normalizer(_volume()), rtol=1e-5, atol=1e-7)


def test_the_fit_is_the_librarys():
    f, amplitude = MODULES["fit_laws"]._hertz(MODULES["fit_laws"].PLOTTED)
    (found,) = spectral.fit_spectrum(amplitude, f, [(1, 16)])
    assert fit_laws(f, amplitude) == pytest.approx((found.exponential.r2, found.power.r2))


def test_splatting_is_the_librarys():
    x, flow, z = MODULES["splat"]._scene(13, 11)
    for mode in ("summation", "average", "linear", "softmax"):
        weight = z[None, None] if mode in ("linear", "softmax") else None
        theirs = softsplat(x[None], flow[None], weight, mode=mode).output[0]
        torch.testing.assert_close(splat(x, flow, z, mode), theirs)


def test_oscillators_are_the_librarys():
    t = torch.linspace(0, 4, 41, dtype=F64)
    for omega, gamma in ((6.0, 0.5), (6.0, 12.0), (3.0, 20.0)):
        a, b = modal.solution(torch.tensor([omega], dtype=F64), torch.tensor([gamma], dtype=F64), t)
        torch.testing.assert_close(oscillator(omega, gamma, 0.7, -2.0, t), 0.7 * a[:, 0] - 2 * b[:, 0])


def test_pull_and_criterion_are_the_librarys():
    modes = modal.Modes.of(_volume(), frames=20)
    q = modal.pull(modes, 2, 3, 1.5, -0.5, rule="direction")
    pulls = [(2, 3, torch.tensor([1.5, -0.5], dtype=F64))]
    mine = own_plant(modes.shapes.to(torch.complex128), torch.ones(4, 5, dtype=torch.int64), pulls)
    torch.testing.assert_close(mine, modal.displacement(modes, q[None])[0].to(mine), rtol=1e-5, atol=1e-6)
    mask = torch.rand(4, 5, generator=torch.Generator().manual_seed(0)) > 0.3
    torch.testing.assert_close(mac(_volume(3), _volume(4), mask).float(), modal.mac(_volume(3), _volume(4), mask))


def test_the_closed_loop_is_the_librarys():
    theirs = loop.projected(_volume(), 20)  # which also starts at the picture
    torch.testing.assert_close(spectral.first_frame(close_loop(_volume(), 20)), theirs)
    assert loop.closure_energy(close_loop(_volume(), 20), 20) < 1e-12


def test_attention_begins_as_nothing_and_moves_no_other_generator():
    x = torch.randn(1, 16, 8, 2, 2)
    torch.testing.assert_close(slice_attention(8, 16, 4)(x), x)


def test_frechet_of_gaussians():
    g = torch.Generator().manual_seed(0)
    a, b = torch.randn(4000, 2, generator=g, dtype=F64), 2 * torch.randn(4000, 2, generator=g, dtype=F64) + 1
    assert frechet(a, b) == pytest.approx(2 + 2, abs=0.3)


# -------------------------------------------------------------------------------------------------- what the notebook runs


def test_the_cells_of_solutions_need_no_more_than_the_imports(monkeypatch, capsys):
    """Each runs by itself behind the notebook's cell of imports: it takes no name from its module."""
    monkeypatch.syspath_prepend(ROOT / "scripts")
    cells = importlib.import_module("exercises").build("dynamics", ROOT).cells
    code = {c.id: c.source for c in cells if c.cell_type == "code"}
    for name in MODULES:
        cell = f"exercises-{name.replace('_', '-')}"
        assert all(len(line) <= 88 for c in (cell, f"{cell}-solution") for line in code[c].splitlines()), name
        names: dict = {}
        exec(code["exercises-imports"], names)
        exec(code[f"{cell}-solution"], names)
        assert "properties hold" in capsys.readouterr().out
