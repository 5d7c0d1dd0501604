"""The contrastive loss: the reference against `open_clip.ClipLoss`, Numba against the reference, ranks against one process."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numba
import pytest
import torch
from open_clip import ClipLoss

from bestpapers.kernels import contrastive
from bestpapers.kernels.contrastive import contrastive_loss, cpu, reference

from .features import F64, Largest, distance, pairs, pull
from .poison import poisoned_memory

HERE = Path(__file__).parent
F32 = torch.float32
NAMES = ("image_features", "text_features", "logit_scale")
KINDS = ("related", "random", "same", "twins", "opposed", "large")
BOTH = pytest.mark.parametrize("backend", ["reference", "numba"])


def _loss(backend="auto", **options):
    return lambda *tensors: contrastive_loss(*tensors, backend=backend, **options)


# ---- the definition -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("B", "d"), [(1, 3), (5, 1), (6, 4)])
def test_gradcheck(B, d, kind):
    tensors = [t.requires_grad_() for t in pairs(B, d, 3.0, kind)]
    assert torch.autograd.gradcheck(contrastive_loss, tensors)


def test_gradcheck_of_one_way():
    images, texts, scale = (t.requires_grad_() for t in pairs(7, 3, 3.0))
    assert torch.autograd.gradcheck(lambda a, b, s: reference.one_way(a, b, s, 3), (images[:4], texts, scale))


@pytest.mark.parametrize("scale", [0.0, 1.0, 100.0])
@pytest.mark.parametrize("kind", KINDS)
def test_reference_equals_open_clip(kind, scale):
    tensors = pairs(33, 7, scale, kind)
    for a, b in zip(pull(_loss(), tensors), pull(ClipLoss(), tensors), strict=True):
        assert torch.allclose(a, b, rtol=1e-12, atol=1e-14)


def test_by_hand():
    """Two orthogonal pairs: each softmax is e^s against 1."""
    tensors = [torch.eye(2, dtype=F64), torch.eye(2, dtype=F64), torch.tensor(2.0, dtype=F64)]
    loss, images, _, scale = pull(_loss(), tensors)
    wrong = 1 / (1 + math.exp(2))  # the probability of the other one
    assert loss.item() == pytest.approx(-math.log(1 - wrong), rel=1e-12)
    assert scale.item() == pytest.approx(-1.7 * wrong, rel=1e-12)
    assert torch.allclose(images, 1.7 * wrong * torch.tensor([[-1.0, 1], [1, -1]], dtype=F64), rtol=1e-12)


# ---- Numba against the reference ------------------------------------------------------------------------------------------

SHAPES = [(1, 1), (1, 5), (2, 1), (17, 3), (64, 64), (333, 33), (1024, 8), (1025, 7), (2100, 19)]


@pytest.mark.parametrize("scale", [1.0, 14.3, 100.0])
@pytest.mark.parametrize(("B", "d"), SHAPES)
def test_numba_equals_reference(B, d, scale):
    """Float32 against float64, next to ClipLoss in float32, whose error is the measure: a logit of 100 is known to 4e-6, and so
    is each probability. Measured: 2.3 times that error or 2e-6. Probabilities below 1e-33 count as zero."""
    tensors = pairs(B, d, scale)
    want, peer, got = pull(ClipLoss(), tensors), pull(ClipLoss(), tensors, F32), pull(_loss("numba"), tensors, F32)
    for name, a, b, c in zip(("loss", *NAMES), got, want, peer, strict=True):
        assert (a - b).norm() <= 5 * (c - b).norm() + 5e-6 * b.norm() + 1e-30, name


@pytest.mark.parametrize("scale", [-5.0, 0.0, 1.0, 100.0])
@pytest.mark.parametrize("kind", KINDS)
def test_numba_equals_reference_in_hard_cases(kind, scale):
    """A gradient is a difference of probabilities times the scale over B, and may cancel to nothing ("same"), but for rounding.
    Measured: 1e-6 of that; 6e-6 where logits reach 900 ("large")."""
    tensors = pairs(130, 5, scale, kind)
    rounding = (3e-5 if kind == "large" else 5e-6) * 1.7 * max(1, abs(scale)) / 130
    want, got = pull(_loss("reference"), tensors), pull(_loss("numba"), tensors, F32)
    assert got[0].item() == pytest.approx(want[0].item(), rel=1e-5, abs=1e-5)
    for name, a, b in zip(NAMES[:2], got[1:], want[1:]):
        assert (a - b).norm() <= 1e-5 * b.norm() + rounding * 130**0.5, name
    assert abs(got[3] - want[3]) <= 1e-5 * abs(want[3]) + 1e-5


@BOTH
def test_a_small_loss(backend):
    """Each pair has an axis to itself, so the loss is log(1 + 63 e^-s). Measured: off by at most 2e-7."""
    for scale in (5.0, 10.0, 15.0, 100.0):
        loss = contrastive_loss(torch.eye(64), torch.eye(64), torch.tensor(scale), backend=backend).item()
        assert loss == pytest.approx(math.log1p(63 * math.exp(-scale)), rel=1e-6, abs=1e-6)
    assert loss == 0


@BOTH
def test_equal_rows_are_a_guess(backend):
    for B in (1, 7, 1500):
        images = torch.nn.functional.normalize(torch.ones(B, 3), dim=1)
        loss = contrastive_loss(images, images, torch.tensor(100.0), backend=backend)
        assert loss.item() == pytest.approx(math.log(B), abs=1e-5)  # a logit of 100 is known to 4e-6


@pytest.mark.parametrize("first", [0, 700, 1100])
def test_one_way(first):
    """As a rank uses it: some queries, more keys, own keys from `first` on."""
    images, texts, scale = pairs(2200, 9, 20.0)
    queries = images[first : first + 1100]
    ops = contrastive._compiled("numba")
    want = pull(lambda *t: reference.one_way(*t, first), (queries, texts, scale))
    got = pull(lambda *t: ops.one_way(*t, first), (queries, texts, scale), F32)
    assert max(distance(a, b) for a, b in zip(got, want, strict=True)) < 1e-5


@BOTH
def test_only_some_gradients_are_wanted(backend):
    tensors = [t.float() for t in pairs(40, 6, 20.0)]
    full = pull(_loss(backend), tensors, F32)
    for wanted in ((0,), (1,), (2,), (0, 2), (1, 2), (0, 1)):
        inputs = [t.clone().requires_grad_(k in wanted) for k, t in enumerate(tensors)]
        (1.7 * contrastive_loss(*inputs, backend=backend)).backward()
        for k, t in enumerate(inputs):
            assert (t.grad is None) == (k not in wanted)
            if t.grad is not None:
                assert distance(t.grad.double(), full[1 + k]) < 1e-6
    assert not contrastive_loss(*tensors, backend=backend).requires_grad


@BOTH
def test_layout_in_memory_does_not_matter(backend):
    images, texts, scale = (t.float() for t in pairs(40, 6, 20.0))
    want = pull(_loss(backend), (images, texts, scale), F32)
    strided = torch.cat([texts, texts], dim=1)[:, :6]
    turned = images.T.contiguous().T
    assert not strided.is_contiguous()
    assert not turned.is_contiguous()
    for a, b in zip(pull(_loss(backend), (turned, strided, scale), F32), want, strict=True):
        assert distance(a, b) < 1e-6


@BOTH
def test_the_order_of_pairs_and_the_roles_do_not_matter(backend):
    images, texts, scale = pairs(1300, 6, 20.0)
    loss, g_images, g_texts, g_scale = pull(_loss(backend), (images, texts, scale), F32)
    order = torch.randperm(1300, generator=torch.Generator().manual_seed(0))
    mixed = pull(_loss(backend), (texts[order], images[order], scale), F32)
    for a, b in zip(mixed, (loss, g_texts[order], g_images[order], g_scale), strict=True):
        assert distance(a, b) < 1e-5


# ---- types ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale_type", [F32, F64, torch.bfloat16])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@BOTH
def test_half_precision_is_widened(backend, dtype, scale_type):
    """The result is that of float32 on the rounded features; gradients come back in the features' type."""
    images, texts, scale = pairs(50, 8, 20.0)
    inputs = [t.to(dtype).requires_grad_() for t in (images, texts)] + [scale.to(scale_type).requires_grad_()]
    loss = contrastive_loss(*inputs, backend=backend)
    assert loss.dtype == F32
    grads = torch.autograd.grad(1.7 * loss, inputs)
    assert [g.dtype for g in grads] == [dtype, dtype, scale_type]
    want = pull(_loss(backend), [t.detach() for t in inputs], F32)
    assert loss.item() == want[0].item()
    for a, b in zip(grads, want[1:], strict=True):
        assert distance(a.double(), b) < 2 * torch.finfo(a.dtype).eps


@BOTH
def test_autocast_changes_nothing(backend):
    inputs = [t.float().requires_grad_() for t in pairs(50, 8, 20.0)]
    want = contrastive_loss(*inputs, backend=backend)
    with torch.autocast("cpu", torch.bfloat16):
        got = contrastive_loss(*inputs, backend=backend)
    assert torch.equal(got, want)
    for a, b in zip(torch.autograd.grad(got, inputs), torch.autograd.grad(want, inputs), strict=True):
        assert torch.equal(a, b)


# ---- memory and threads ---------------------------------------------------------------------------------------------------


def test_the_matrix_of_logits_never_exists():
    """Nothing that torch returns is larger than a tile or the features; the reference makes all 2500 x 2500 logits."""
    tensors, sizes = pairs(2500, 16, 20.0), {}
    for backend in ("numba", "reference"):
        with Largest() as mode:
            pull(_loss(backend), tensors, F32)
        sizes[backend] = mode.bytes
    assert sizes == dict(numba=4 * cpu.TILE**2, reference=4 * 2500**2)


def test_every_output_cell_is_written():
    """Fresh memory holds NaN: a cell that nobody writes shows in the result."""
    tensors = pairs(1100, 6, 20.0)
    want = pull(_loss("numba"), tensors, F32)
    with poisoned_memory() as made:
        got = pull(_loss("numba"), tensors, F32)
    assert len(made) >= 3, "nothing was poisoned: the backend allocates in another way now"
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))


def test_one_thread_equals_two():
    """Numba's sums are the same to the bit. The products are the BLAS library's, which may share out a sum among threads."""
    most = min(2, numba.config.NUMBA_NUM_THREADS)
    if most < 2:
        pytest.skip("Numba has a single thread here (one core, or NUMBA_NUM_THREADS=1)")
    tensors, results = pairs(1500, 40, 50.0), []
    before = numba.get_num_threads(), torch.get_num_threads()
    try:
        for n in (1, 2):
            numba.set_num_threads(n)
            results.append(pull(_loss("numba"), tensors, F32))
        torch.set_num_threads(2)
        results.append(pull(_loss("numba"), tensors, F32))
    finally:
        numba.set_num_threads(before[0])
        torch.set_num_threads(before[1])
    assert all(torch.equal(a, b) for a, b in zip(*results[:2], strict=True))
    assert max(distance(a, b) for a, b in zip(*results[1:], strict=True)) < 2e-6


# ---- bad input ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", NAMES)
@BOTH
def test_what_is_not_finite_is_named(backend, name, value):
    tensors = dict(zip(NAMES, (t.float() for t in pairs(7, 3, 10.0))))
    if name == "logit_scale":
        tensors[name].fill_(value)
        where = f"logit_scale is {value}; 1 values"
    else:
        tensors[name][5, 1], tensors[name][6, 2] = value, value
        where = rf"{name}\[5, 1\] is {value}; 2 values"
    with pytest.raises(ValueError, match=f"^contrastive_loss: {where} of {name} are not finite"):
        contrastive_loss(**tensors, backend=backend)


@BOTH
def test_large_finite_values_are_not_refused(backend):
    """The sum that looks for NaN overflows; the values do not."""
    images = torch.full((3, 2), 3e38)
    loss = contrastive_loss(images, torch.full((3, 2), 1e-38), torch.tensor(1.0), backend=backend)
    assert loss.item() == pytest.approx(math.log(3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(image_features=[[1.0]]), "image_features must be a torch tensor, got list"),
        (dict(logit_scale=10.0), "logit_scale must be a torch tensor, got float"),
        (dict(text_features=torch.zeros(7, 3).int()), "text_features must be of a float type, got torch.int32"),
        (dict(logit_scale=torch.tensor(10)), "logit_scale must be of a float type, got torch.int64"),
        (dict(image_features=torch.zeros(7)), r"image_features must have shape \[B, d\], got \[7\]"),
        (dict(text_features=torch.zeros(6, 3)), r"text_features must have the shape of image_features, \[7, 3\], got"),
        (dict(text_features=torch.zeros(7, 2)), r"text_features must have .* \[7, 3\], got \[7, 2\]"),
        (dict(logit_scale=torch.ones(1)), r"logit_scale must be a number, a tensor of shape \[\], got \[1\]"),
        (dict(text_features=torch.zeros(7, 3, dtype=F64)), "text_features is torch.float64 but image_features is"),
        (dict(text_features=torch.zeros(7, 3, device="meta")), "text_features is on meta but image_features is on cpu"),
        (dict(logit_scale=torch.tensor(1.0, device="meta")), "logit_scale is on meta but image_features is on cpu"),
        (dict(image_features=torch.zeros(0, 3), text_features=torch.zeros(0, 3)), r"image_features is empty: .*\[0, 3\]"),
        (dict(image_features=torch.zeros(7, 0), text_features=torch.zeros(7, 0)), r"image_features is empty: .*\[7, 0\]"),
        (dict(local_loss=True), "local_loss and gather_with_grad say how ranks share .* give the process group"),
        (dict(gather_with_grad=True), "local_loss and gather_with_grad say how ranks share"),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, dict) else "",
)  # fmt: skip
def test_bad_arguments_are_named(change, message):
    tensors = dict(zip(NAMES, (t.float() for t in pairs(7, 3, 10.0))))
    with pytest.raises(ValueError, match=f"^contrastive_loss: {message}"):
        contrastive_loss(**tensors | change)


def test_a_named_backend_never_falls_back(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    tensors = pairs(5, 3, 10.0)
    with pytest.raises(
        RuntimeError, match=r"contrastive_loss\(backend='numba'\): numba computes in float32, got float64"
    ):
        contrastive_loss(*tensors, backend="numba")
    with pytest.raises(RuntimeError, match="triton"):
        contrastive_loss(*(t.float() for t in tensors), backend="triton")
    with pytest.raises(RuntimeError, match="there is no backend 'cuda'"):
        contrastive_loss(*tensors, backend="cuda")
    monkeypatch.setattr(contrastive, "_compiled", lambda name: pytest.fail(f"{name} was taken for float64"))
    assert contrastive_loss(*tensors).dtype == F64


WITHOUT_NUMBA = """
import sys
sys.modules["numba"] = None  # `import numba` fails, as if it were not installed
import torch
from bestpapers.kernels.contrastive import contrastive_loss
print(contrastive_loss(torch.eye(2), torch.eye(2), torch.tensor(0.0)).item())
"""


def test_runs_without_numba():
    done = subprocess.run([sys.executable, "-c", WITHOUT_NUMBA], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(math.log(2))


# ---- ranks ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ranks(tmp_path_factory) -> list[dict]:
    """What each of two processes of `contrastive_ranks.py` found; they meet through a file."""
    folder = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, str(HERE / "contrastive_ranks.py")]
    running = [
        subprocess.Popen([*command, str(r), "2", str(folder)], stderr=subprocess.PIPE, text=True) for r in range(2)
    ]
    try:
        for process in running:
            _, errors = process.communicate(timeout=1200)
            assert process.returncode == 0, errors[-5000:]
    finally:
        for process in running:
            process.kill()
            process.wait()
    return [json.loads((folder / f"{r}.json").read_text()) for r in range(2)]


@pytest.mark.parametrize(
    "setting", ["00", "01", "10", "11"], ids=lambda s: f"local_loss={s[0]}-gather_with_grad={s[1]}"
)
def test_ranks_equal_open_clip(ranks, setting):
    """Loss and all gradients on every rank. Measured 6e-16 in float64 and 1e-6 in float32."""
    row = ranks[0]["settings"][setting]
    assert row["reference"] < 1e-13
    assert row["numba"] < 1e-5


@pytest.mark.parametrize(
    ("setting", "ratio"), [("00", 0.5), ("01", 1.0), ("10", None), ("11", 1.0)], ids=["FF", "FT", "TF", "TT"]
)
def test_ranks_equal_one_process(ranks, setting, ratio):
    """The mean loss always; the gradient of the features, averaged over the ranks, only if it is gathered with gradient."""
    row = ranks[0]["settings"][setting]
    assert row["loss"] == pytest.approx(0, abs=1e-12)
    assert row["scale"] == pytest.approx(1, rel=1e-10)
    if ratio is None:
        assert row["cosine"] < 0.99
    else:
        assert row["cosine"] == pytest.approx(1, rel=1e-10)
        assert row["ratio"] == pytest.approx(ratio, rel=1e-10)


def test_ranks_make_no_matrix_of_logits(ranks):
    assert max(found["largest"] for found in ranks) == 4 * cpu.TILE**2 < 4 * 3000 * 1500


def test_one_bad_rank_stops_all(ranks):
    """No rank is left waiting for one that has raised."""
    for found in ranks:
        assert "text_features[2, 3] is nan on rank 1; 1 values" in found["refusals"]["nan"]
        assert "one shape, got rank 0 [6, 4], rank 1 [5, 4]" in found["refusals"]["sizes"]
