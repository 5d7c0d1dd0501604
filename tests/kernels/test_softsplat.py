"""Splatting: the reference against the formulas, written out; Numba against the reference; the rules for what is not
smooth."""

import math
import subprocess
import sys

import numba
import numpy as np
import pytest
import torch

from bestpapers.kernels.softsplat import MODES, cpu, softsplat

from .poison import poisoned_memory
from .splats import F32, F64, NAMES, WEIGHTED, by_loops, pull, scene, upstream

KINDS = ("rough", "smooth", "integer", "still", "away", "crowd", "steep", "faint")
BOTH = pytest.mark.parametrize("backend", ["reference", "numba"])
EACH = pytest.mark.parametrize("mode", MODES)
ONE = torch.tensor([[[[1.0, 2.0]]]]), torch.tensor([[[[1.0, 0.0]], [[0.0, 0.0]]]]), torch.tensor([[[[1.0, 2.0]]]])


def errors(got, want):
    """{name: (root of the mean square, maximum)} of the differences, in units of the root of the mean square of what is
    right."""
    out = {}
    for name, a, b in zip(NAMES, got, want):
        size = max(b.square().mean().sqrt().item(), 1e-6)
        out[name] = ((a - b).square().mean().sqrt().item() / size, (a - b).abs().max().item() / size)
    return out


# ---- the definition -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "value"),
    [("summation", 3), ("average", 1.5), ("linear", 5 / 3), ("softmax", (1 + 2 * math.e) / (1 + math.e))],
)
@BOTH
def test_worked_example(backend, mode, value):
    """Pixels of 1 and 2 on one target, their weights 1 and 2; the place that the first one has left is a hole."""
    x, flow, weight = ONE
    output, holes = softsplat(x, flow, weight if mode in WEIGHTED else None, mode=mode, backend=backend)
    assert output[0, 0, 0, 1].item() == pytest.approx(value, rel=1e-6)
    assert output[0, 0, 0, 0] == 0
    assert holes.tolist() == [[[[True, False]]]]


@EACH
@pytest.mark.parametrize("kind", ["rough", "integer", "away", "crowd"])
def test_reference_equals_the_formulas(kind, mode):
    tensors = scene((2, 3, 4, 5), mode, kind)
    x, flow, *weight = tensors
    want, holes = by_loops(x, flow, weight[0] if weight else None, mode)
    found = softsplat(*tensors, mode=mode, backend="reference")
    assert torch.allclose(found.output, want, rtol=1e-12, atol=1e-14)
    assert torch.equal(found.holes, holes)


@EACH
@pytest.mark.parametrize("kind", ["rough", "smooth", "away", "crowd"])
def test_gradcheck(kind, mode):
    """At points where everything is smooth: no target of these scenes is within 1e-4 of an integer."""
    tensors = scene((2, 2, 4, 3), mode, kind)
    assert (tensors[1] - tensors[1].round()).abs().min() > 1e-4
    assert torch.autograd.gradcheck(lambda *t: softsplat(*t, mode=mode).output, [t.requires_grad_() for t in tensors])


@BOTH
def test_closed_form_of_the_gradients(backend):
    """dL/dX, dL/dZ and dL/dF of softmax splatting as sums over targets, with a plus sign before sgn(a)."""
    tensors = scene((1, 3, 5, 6), "softmax")
    x, flow, z = (t[0] for t in tensors)
    (output, *grads), _ = pull(tensors, "softmax", backend, F64 if backend == "reference" else F32)
    g, s = upstream(output)[0], output[0]
    row, column = torch.meshgrid(torch.arange(5), torch.arange(6), indexing="ij")
    ax = column[:, :, None, None] - column - flow[0]  # [target y, target x, source y, source x]
    ay = row[:, :, None, None] - row - flow[1]
    tent_x, tent_y = (1 - ax.abs()).clamp(min=0), (1 - ay.abs()).clamp(min=0)
    b, e = tent_x * tent_y, z[0].exp()
    share = b * e / (b * e).sum((2, 3), keepdim=True).clamp(min=1e-300)
    rate = e / (b * e).sum((2, 3), keepdim=True).clamp(min=1e-300)
    worth = torch.einsum("cij,cijkl->ijkl", g, x[:, None, None] - s[..., None, None])
    want = [
        torch.einsum("cij,ijkl->ckl", g, share),
        torch.stack(
            [(torch.sign(a) * (a.abs() < 1) * t * rate * worth).sum((0, 1)) for a, t in ((ax, tent_y), (ay, tent_x))]
        ),
        (share * worth).sum((0, 1))[None],
    ]
    tolerance = 1e-12 if backend == "reference" else 2e-5
    for name, found, right in zip(NAMES[1:], grads, want, strict=True):
        assert torch.allclose(found[0], right, rtol=tolerance, atol=tolerance * right.abs().max().item()), name


@BOTH
def test_summation_keeps_the_mass_of_what_stays_inside(backend):
    x = torch.rand(2, 3, 30, 40)
    flow = 3 * torch.rand(2, 2, 30, 40) - 1.5
    x[..., :2, :], x[..., -2:, :], x[..., :2], x[..., -2:] = 0, 0, 0, 0
    output, _ = softsplat(x, flow, mode="summation", backend=backend)
    assert torch.allclose(output.sum((2, 3)), x.sum((2, 3)), rtol=1e-5)


@BOTH
def test_a_constant_weight_does_not_matter(backend):
    """Softmax is the same for Z and Z + c (c = 64 rounds no sum of these weights), linear for Z and 4 Z."""
    x, flow, z = (t.to(F32) for t in scene((1, 4, 20, 30), "softmax"))
    z = (8 * z).round() / 8
    for change, mode in ((z + 64, "softmax"), (z - 64, "softmax"), (4 * z.abs(), "linear")):
        before = z.abs() if mode == "linear" else z
        a, b = (softsplat(x, flow, w, mode=mode, backend=backend).output for w in (before, change))
        assert torch.equal(a, b)


@BOTH
def test_limits_of_softmax(backend):
    """No weight: the average. Large differences: what is nearest alone is seen, down to the last bit of its value."""
    x, flow, z = (t.to(F32) for t in scene((1, 4, 20, 30), "softmax", "integer"))
    average = softsplat(x, flow, mode="average", backend=backend)
    level = softsplat(x, flow, torch.zeros_like(z), backend=backend)
    assert torch.allclose(level.output, average.output, atol=1e-6)
    depth = torch.randperm(600, generator=torch.Generator().manual_seed(0)).reshape(z.shape).float()
    buffer = softsplat(x, flow, 1000 * depth, backend=backend)
    assert torch.equal(buffer.holes, average.holes)
    for b, y, column in ((0, 3, 4), (0, 10, 20), (0, 19, 29), (0, 0, 0), (0, 7, 15)):
        there = [
            (depth[b, 0, v, u].item(), v, u)
            for v in range(20)
            for u in range(30)
            if (u + flow[b, 0, v, u], v + flow[b, 1, v, u]) == (column, y)
        ]
        want = x[b, :, max(there)[1], max(there)[2]] if there else torch.zeros(4)
        assert torch.equal(buffer.output[b, :, y, column], want)


@BOTH
@pytest.mark.parametrize("size", [1e4, -1e4, 3e38, -3e38])
def test_any_finite_weight_is_safe(backend, size):
    """A pair of weights 1 apart stays such a pair where the rest of the image is 1e4 or more above or below it."""
    x, flow = torch.tensor([[[[1.0, 2.0, 5.0, 7.0]]]]), torch.zeros(1, 2, 1, 4)
    flow[0, 0, 0, 0] = 1
    z = torch.tensor([[[[1.0, 2.0, size, size]]]]).requires_grad_()
    output, _ = softsplat(x, flow, z, backend=backend)
    assert output[0, 0, 0].tolist() == pytest.approx([0, (1 + 2 * math.e) / (1 + math.e), 5, 7], rel=1e-6)
    (g,) = torch.autograd.grad(output.sum(), z)
    assert g[0, 0, 0, 1] == pytest.approx(math.e / (1 + math.e) ** 2, rel=1e-5)
    assert g[0, 0, 0, 2:].tolist() == [0, 0]
    if size > 0:
        linear, _ = softsplat(x, flow, z.detach() / 4, mode="linear", backend=backend)
        assert linear[0, 0, 0].tolist() == pytest.approx([0, 5 / 3, 5, 7], rel=1e-6)


@pytest.mark.parametrize(("mode", "weight"), [("softmax", -50.0), ("softmax", -1e4), ("linear", 1e-30)])
@BOTH
def test_weak_sources_are_not_dimmed(backend, mode, weight):
    """Nothing is added to a denominator: where e^Z is tiny everywhere, a constant picture stays what it is."""
    x, flow = torch.full((1, 2, 9, 9), 3.0), torch.rand(1, 2, 9, 9)
    output, holes = softsplat(x, flow, torch.full((1, 1, 9, 9), weight), mode=mode, backend=backend)
    assert torch.allclose(output, torch.where(holes, 0.0, x), rtol=1e-6)
    assert not holes.all()


# ---- Numba against the reference ------------------------------------------------------------------------------------------

SHAPES = [(1, 1, 1, 1), (1, 3, 1, 40), (2, 2, 37, 1), (2, 5, 17, 33), (1, 32, 48, 64), (3, 1, 16, 16), (1, 7, 65, 31)]


@EACH
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_numba_equals_reference(shape, mode):
    """Float32 against float64. Measured: 7e-7 (RMS) and 4e-5 (maximum, in units of the RMS: the gradient of a flow where a
    target is barely reached)."""
    tensors = scene(shape, mode)
    (want, holes), (got, found) = pull(tensors, mode, "reference"), pull(tensors, mode, "numba", F32)
    assert torch.equal(found, holes)
    for name, (rms, most) in errors(got, want).items():
        assert rms < 5e-6, name
        assert most < 3e-4, name


@EACH
@pytest.mark.parametrize("kind", KINDS)
def test_numba_equals_reference_in_hard_cases(kind, mode):
    """Measured: 6e-7 and 3e-5, but for `crowd`, which has 800 sources on a few targets: 4e-6 and 2e-4. Weights of +-1e4 are
    known to 1e-3 in float32, but these are the same in both."""
    tensors = scene((2, 6, 20, 40), mode, kind)
    (want, holes), (got, found) = pull(tensors, mode, "reference"), pull(tensors, mode, "numba", F32)
    assert torch.equal(found, holes)
    for name, (rms, most) in errors(got, want).items():
        assert rms < 2e-5, name
        assert most < 2e-3, name


@EACH
@BOTH
def test_only_some_gradients_are_wanted(backend, mode):
    tensors = [t.to(F32) for t in scene((1, 3, 8, 9), mode)]
    (_, *full), _ = pull(tensors, mode, backend, F32)
    for wanted in ((0,), (1,), (0, 1)) + ((2,), (1, 2)) * (mode in WEIGHTED):
        inputs = [t.clone().requires_grad_(k in wanted) for k, t in enumerate(tensors)]
        output, holes = softsplat(*inputs, mode=mode, backend=backend)
        assert not holes.requires_grad
        output.backward(upstream(output))
        for t, g in zip(inputs, full, strict=True):
            assert (t.grad is not None) == t.requires_grad
            assert t.grad is None or torch.allclose(t.grad.double(), g, rtol=1e-5, atol=1e-6)
    assert not softsplat(*tensors, mode=mode, backend=backend).output.requires_grad


@BOTH
def test_layout_in_memory_does_not_matter(backend):
    tensors = [t.to(F32) for t in scene((2, 6, 9, 8), "softmax")]
    want, _ = pull(tensors, "softmax", backend, F32)
    strided = [t.contiguous(memory_format=torch.channels_last) for t in tensors[:2]] + [tensors[2].mT.contiguous().mT]
    twice = torch.cat([tensors[0]] * 2, dim=1)[:, ::2][:, [0, 1, 2, 0, 1, 2]]
    assert not any(t.is_contiguous() for t in strided)
    for a, b in zip(pull(strided, "softmax", backend, F32)[0], want, strict=True):
        assert torch.equal(a, b)
    output, _ = softsplat(twice, *tensors[1:], backend=backend)
    assert torch.equal(output[:, :3], softsplat(tensors[0][:, ::2], *tensors[1:], backend=backend).output)
    expanded = tensors[0][:1, :1].expand(2, 6, 9, 8)  # and a gradient that is no block of memory either
    inputs = [expanded.clone().requires_grad_(), *tensors[1:]]
    softsplat(*inputs, backend=backend).output.sum().backward()
    assert torch.isfinite(inputs[0].grad).all()


@EACH
@BOTH
@pytest.mark.parametrize("shape", [(0, 3, 4, 5), (1, 0, 4, 5), (1, 3, 0, 5), (2, 3, 4, 0)], ids=str)
def test_nothing_to_do(backend, shape, mode):
    B, _, H, W = shape
    tensors = [t.to(F32) for t in scene(shape, mode)]
    (output, *grads), holes = pull(tensors, mode, backend, F32)
    assert output.shape == shape
    assert holes.shape == (B, 1, H, W)
    assert [g.shape for g in grads] == [t.shape for t in tensors]
    assert all((g == 0).all() for g in grads)


# ---- what is not smooth, and what is not finite ---------------------------------------------------------------------------


@EACH
@BOTH
def test_on_integers_the_gradient_is_the_derivative_from_the_right(backend, mode):
    """A step of 1/512 to the right changes the output by that derivative, but for the square of the step.

    Every target is reached by a source that stays, so none is a hole, and the weights are one apart at most.
    """
    tensors = scene((1, 2, 6, 7), mode)
    x = torch.cat([tensors[0], tensors[0].flip(2)], dim=3)  # two layers side by side, in an image twice as wide
    flow = torch.zeros(1, 2, 6, 14, dtype=F64)
    flow[:, 0, :, 7:] = -7  # the right one lands on the left one
    flow[:, :, 2, 9] = torch.tensor([-6.0, -1.0], dtype=F64)
    weight = [(torch.rand(1, 1, 6, 14, generator=torch.Generator().manual_seed(1)) + 0.1).to(F64)] * (mode in WEIGHTED)
    (output, _, g_flow, *_), holes = pull([x, flow, *weight], mode, backend, F64 if backend == "reference" else F32)
    step = 2.0**-9
    for axis, v, u in ((0, 2, 9), (1, 2, 9), (0, 3, 2), (1, 3, 2), (0, 5, 8)):
        moved = flow.clone()
        moved[0, axis, v, u] += step
        rise = softsplat(x, moved, *weight, mode=mode, backend="reference").output - output
        slope = (rise * upstream(output) * ~holes).sum().item() / step
        if mode == "summation":
            slope = (rise * upstream(output)).sum().item() / step
        assert g_flow[0, axis, v, u].item() == pytest.approx(slope, abs=0.05 * (1 + abs(slope))), (axis, v, u)


@BOTH
def test_what_merely_touches_counts_as_no_stronger_than_the_strongest(backend):
    """No flow, and a source 1e4 above its neighbours: the next step to the right would change all, but no gradient is
    infinite."""
    x, flow = torch.tensor([[[[1.0, 2.0, 4.0]]]]), torch.zeros(1, 2, 1, 3).requires_grad_()
    z = torch.tensor([[[[1e4, 0.0, -1e4]]]])
    output, _ = softsplat(x, flow, z, backend=backend)
    (g,) = torch.autograd.grad(output, flow, torch.ones_like(output))
    assert output[0, 0, 0].tolist() == [1, 2, 4]
    assert g[0, 0, 0].tolist() == [1 - 2, 2 - 4, 0]  # as the average has it: from the value there to one's own
    assert g[0, 1, 0].tolist() == [0, 0, 0]


@EACH
@BOTH
def test_what_is_not_finite_lands_nowhere(backend, mode):
    """As if these sources were not there, even if their values are no numbers; their gradients are 0."""
    tensors = [t.to(F32) for t in scene((1, 3, 9, 8), mode, "smooth")]
    lost = torch.zeros(9, 8, dtype=torch.bool)
    lost[2:5, 3:6] = True
    gone = [t.clone() for t in tensors]
    gone[0][0, :, lost], gone[1][0, :, lost] = 0, 1000.0
    want, holes = pull(gone, mode, backend, F32)
    for component, value in ((0, math.nan), (1, math.nan), (0, math.inf), (1, -math.inf)):
        bad = [t.clone() for t in tensors]
        bad[0][0, :, lost], bad[1][0, component, lost] = math.nan, value
        got, found = pull(bad, mode, backend, F32)
        assert torch.equal(found, holes)
        assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))
        assert all((g[0, :, lost] == 0).all() for g in got[1:])


@EACH
@BOTH
@pytest.mark.parametrize("flow", [1e30, -1e30, 3e9, -3e9, 8.0, -9.0])
def test_what_leaves_the_image_is_lost(backend, mode, flow):
    tensors = [t.to(F32) for t in scene((1, 2, 6, 8), mode)]
    tensors[1][:] = flow
    got, holes = pull(tensors, mode, backend, F32)
    assert holes.all()
    assert all((t == 0).all() for t in got)


@BOTH
def test_on_the_edge_the_part_inside_counts(backend):
    x, flow = torch.ones(1, 1, 1, 3), torch.zeros(1, 2, 1, 3)
    flow[:, 0] = -0.25
    assert softsplat(x, flow, mode="summation", backend=backend).output[0, 0, 0].tolist() == [1, 1, 0.75]
    flow[:, 0], flow[:, 1] = 0, 0.5
    assert softsplat(x, flow, mode="summation", backend=backend).output[0, 0, 0].tolist() == [0.5, 0.5, 0.5]


@BOTH
def test_a_nan_of_the_input_stays_where_it_lands(backend):
    x, flow = torch.ones(1, 2, 20, 20), torch.full((1, 2, 20, 20), 1.5)
    x[0, 1, 4, 5] = math.nan
    output, _ = softsplat(x, flow, mode="average", backend=backend)
    assert torch.nonzero(output.isnan()).tolist() == [[0, 1, 5, 6], [0, 1, 5, 7], [0, 1, 6, 6], [0, 1, 6, 7]]


# ---- types, memory, threads -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@BOTH
def test_half_precision_is_widened(backend, dtype):
    """The result is that of float32 on the rounded tensors, rounded once; every gradient has the type of its tensor."""
    types = (dtype, F32, torch.float16)
    inputs = [t.to(d).requires_grad_() for t, d in zip(scene((1, 3, 8, 9), "softmax"), types, strict=True)]
    output, _ = softsplat(*inputs, backend=backend)
    up = upstream(output)
    grads = torch.autograd.grad(output, inputs, up)
    assert output.dtype == dtype
    assert tuple(g.dtype for g in grads) == types
    wide = [t.detach().to(F32).requires_grad_() for t in inputs]
    right, _ = softsplat(*wide, backend=backend)
    assert torch.equal(output, right.to(dtype))
    for a, b in zip(grads, torch.autograd.grad(right, wide, up.to(F32)), strict=True):
        assert torch.equal(a, b.to(a.dtype))


def test_float64_runs_the_reference(monkeypatch):
    """In float64 throughout, whatever the types of flow and weight; the fast forms say that they cannot."""
    x, flow, z = scene((1, 3, 8, 9), "softmax")
    monkeypatch.setitem(sys.modules, "bestpapers.kernels.softsplat.cpu", None)  # taking it would fail
    output, _ = softsplat(x, flow.to(F32), z.to(F32))
    assert output.dtype == F64
    assert torch.allclose(output, softsplat(x, flow, z, backend="reference").output, rtol=1e-13)
    with pytest.raises(RuntimeError, match=r"softsplat\(backend='numba'\): numba computes in float32, got float64"):
        softsplat(x, flow, z, backend="numba")


@EACH
@BOTH
def test_autocast_changes_nothing(backend, mode):
    tensors = scene((1, 3, 8, 9), mode)
    want, _ = pull(tensors, mode, backend, F32)
    with torch.autocast("cpu", torch.bfloat16):
        got, _ = pull(tensors, mode, backend, F32)
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))


@EACH
def test_every_output_cell_is_written(mode):
    """Fresh memory holds NaN: a cell that nobody writes, or that is read before it is written, shows in the result."""
    tensors = scene((2, 6, 35, 20), mode, "away")
    want, _ = pull(tensors, mode, "numba", F32)
    with poisoned_memory() as made:
        got, _ = pull(tensors, mode, "numba", F32)
    assert len(made) >= 5, "nothing was poisoned: the backend allocates in another way now"
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))


@EACH
@pytest.mark.parametrize("kind", ["rough", "crowd"])
def test_one_thread_equals_two(kind, mode):
    """To the last bit, and so do two calls."""
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("Numba has a single thread here (one core, or NUMBA_NUM_THREADS=1)")
    tensors, results = scene((2, 6, 70, 50), mode, kind), []
    before = numba.get_num_threads(), torch.get_num_threads()
    try:
        for n in (1, 2, 2):
            numba.set_num_threads(n)
            results.append(pull(tensors, mode, "numba", F32)[0])
    finally:
        numba.set_num_threads(before[0])
        torch.set_num_threads(before[1])  # both may have the same pool
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_the_order_of_a_list_is_that_of_the_sources():
    """What makes sums repeatable: within a row of targets, sources come as they stand in the image; none is lost or
    doubled."""
    flow = scene((2, 1, 37, 23), "average", "away")[1].to(F32).numpy()
    order, cell, first = cpu._sort(flow)
    rows = np.floor(flow[:, 1]) + np.arange(37)[:, None]
    columns = np.floor(flow[:, 0]) + np.arange(23)
    inside = ((rows >= -1) & (rows < 37) & (columns >= -1) & (columns < 23)).reshape(2, -1)
    for b in range(2):
        for y in range(38):
            part = slice(first[b, y], first[b, y + 1])
            (want,) = np.nonzero(inside[b] & (rows[b].ravel() == y - 1))
            assert order[b, part].tolist() == want.tolist()
            assert cell[b, part].tolist() == (y * 25 + columns[b].ravel()[want] + 1).tolist()


# ---- bad input ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("mode", WEIGHTED)
@BOTH
def test_a_weight_that_is_not_finite_is_named(backend, mode, value):
    tensors = [t.to(F32) for t in scene((1, 3, 6, 7), mode)]
    tensors[2][0, 0, 4, 5], tensors[2][0, 0, 5, 0] = value, value
    with pytest.raises(
        ValueError, match=rf"^softsplat: weight\[0, 0, 4, 5\] is {value}; 2 values of weight are not finite"
    ):
        softsplat(*tensors, mode=mode, backend=backend)


IMAGE, FLOW, WEIGHT = torch.zeros(2, 3, 4, 5), torch.zeros(2, 2, 4, 5), torch.zeros(2, 1, 4, 5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(input=[[1.0]]), "input must be a torch tensor, got list"),
        (dict(flow=0.0), "flow must be a torch tensor, got float"),
        (dict(input=IMAGE.int()), "input must be of a float type, got torch.int32"),
        (dict(weight=WEIGHT.bool()), "weight must be of a float type, got torch.bool"),
        (dict(input=IMAGE[0]), r"input must have shape \[B, C, H, W\], got \[3, 4, 5\]"),
        (dict(flow=FLOW[:, :1]), r"flow must have shape \[B, 2, H, W\] = \[2, 2, 4, 5\] like input, got \[2, 1, 4, 5\]"),
        (dict(flow=FLOW.movedim(1, 3)), r"flow must have .* got \[2, 4, 5, 2\]"),
        (dict(flow=FLOW[:1]), r"flow must have shape .* got \[1, 2, 4, 5\]"),
        (dict(weight=WEIGHT[:, 0]), r"weight must have shape \[B, 1, H, W\] = \[2, 1, 4, 5\] like input, got \[2, 4, 5\]"),
        (dict(weight=WEIGHT[..., :4]), r"weight must have shape .* got \[2, 1, 4, 4\]"),
        (dict(flow=FLOW.to("meta")), "flow is on meta but input is on cpu; move both to one device"),
        (dict(mode="max"), "there is no mode 'max'; choose one of summation, average, linear, softmax"),
        (dict(weight=None), r"mode 'softmax' needs a weight \[B, 1, H, W\]; average needs none"),
        (dict(mode="average"), "mode 'average' takes no weight; leave it out, or choose one of linear, softmax"),
        (dict(mode="linear", weight=WEIGHT - 2), "weight is -2.0 somewhere; mode 'linear' needs weights of at least 0"),
        (
            dict(input=torch.zeros(1).expand(1, 1, 2**16, 2**15), flow=torch.zeros(1).expand(1, 2, 2**16, 2**15)),
            "1 x 65536 x 32768 pixels are too many for one call; give less than 2",
        ),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, dict) else "",
)  # fmt: skip
def test_bad_arguments_are_named(change, message):
    with pytest.raises(ValueError, match=f"^softsplat: {message}"):
        softsplat(**dict(input=IMAGE, flow=FLOW, weight=WEIGHT) | change)


def test_a_named_backend_never_falls_back(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(RuntimeError, match=r"softsplat\(backend='triton'\): triton"):
        softsplat(IMAGE, FLOW, WEIGHT, backend="triton")
    with pytest.raises(RuntimeError, match="there is no backend 'cuda'"):
        softsplat(IMAGE, FLOW, WEIGHT, backend="cuda")


def test_auto_takes_numba_for_float32(monkeypatch):
    forward, taken = cpu.forward, []

    def watched(*arguments):
        taken.append(arguments)
        return forward(*arguments)

    monkeypatch.setattr(cpu, "forward", watched)
    softsplat(IMAGE, FLOW, WEIGHT)
    assert len(taken) == 1


WITHOUT_NUMBA = """
import sys
sys.modules["numba"] = None  # `import numba` fails, as if it were not installed
import torch
from bestpapers.kernels import dispatch
from bestpapers.kernels.softsplat import softsplat
dispatch._installed = lambda module: False
print(softsplat(torch.ones(1, 1, 2, 2), torch.zeros(1, 2, 2, 2), mode="average").output.sum().item())
"""


def test_import_does_not_need_numba():
    done = subprocess.run([sys.executable, "-c", WITHOUT_NUMBA], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == 4
