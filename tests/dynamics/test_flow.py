"""Flow on textures that move by a known law; the ladder where each rung has its turn; scores; shake; RAFT's file."""

import itertools
import math
import pickle

import numpy as np
import pytest
import torch

from bestpapers.dynamics import flow as flows
from bestpapers.dynamics.flow import angular_error, epe, estimate, load_raft, remove_shift, stream
from bestpapers.lab.files import FormatError
from bestpapers.lab.optical import MAX_WEIGHTS

from .warped import clip, sway, turn, wave

MIDDLE = torch.zeros(48, 64, dtype=torch.bool)
MIDDLE[12:-12, 18:-18] = True


@pytest.fixture(scope="module")
def swaying():
    return clip(wave(2.5), 20)


@pytest.mark.parametrize(("method", "most"), [("dis", 0.16), ("dis2x", 0.07), ("farneback", 0.11)])
def test_methods_find_small_motion(swaying, method, most):
    frames, truth = swaying
    found = estimate(frames, method)
    assert found.shape == (20, 2, 48, 64)
    assert found.dtype == torch.float32
    assert (found[0] == 0).all()
    assert epe(torch.zeros_like(truth), truth, MIDDLE) > 0.8  # what not looking costs
    assert epe(found, truth, MIDDLE) < most
    assert epe(found, truth) < 2.5 * most  # with the edges


def test_twice_the_size_is_finer(swaying):
    frames, truth = swaying
    assert epe(estimate(frames, "dis2x"), truth, MIDDLE) < 0.7 * epe(estimate(frames, "dis"), truth, MIDDLE)


def test_flow_runs_from_frame_0_and_down_is_positive():
    shift = lambda n, y, x: (1.5 * n, 0.5 * n)  # noqa: E731
    frames, truth = clip(shift, 4)
    for ladder in flows.LADDERS:
        found = estimate(frames, "dis2x", ladder)
        for n in range(4):
            np.testing.assert_allclose(found[n][:, MIDDLE].mean(-1), [1.5 * n, 0.5 * n], atol=0.1)
        assert epe(found, truth, MIDDLE) < 0.1


def test_ladder_where_the_way_is_long():
    """A turn by 48 degrees in steps of 3: too far to be found at once, easy step by step."""
    frames, truth = clip(turn(3), 17)
    error = {ladder: float(epe(estimate(frames, "dis2x", ladder), truth, MIDDLE)) for ladder in flows.LADDERS}
    assert error["chained"] < 0.5 * error["direct"]
    assert error["best"] < 0.5 * error["direct"]


def test_ladder_where_steps_are_broken():
    """A frame that is all white: no chain of single steps leads past it, and the frames behind it are easy from frame 0."""
    frames, truth = clip(wave(2.0), 16)
    frames = frames.copy()
    frames[8] = 255
    seen = [n for n in range(16) if n != 8]
    error = {
        ladder: float(epe(estimate(frames, "dis2x", ladder)[seen], truth[seen], MIDDLE)) for ladder in flows.LADDERS
    }
    assert error["direct"] < 0.5 * error["chained"]
    assert error["best"] < 0.5 * error["chained"]


def test_chained_steps_drift(swaying):
    frames, truth = swaying
    assert epe(estimate(frames, "dis2x"), truth, MIDDLE) < epe(estimate(frames, "dis2x", "chained"), truth, MIDDLE)


@pytest.mark.parametrize("ladder", flows.LADDERS)
def test_stream_takes_and_gives_one_by_one(swaying, ladder):
    """No more frames are held than the ladder needs, so that a long video costs no more memory than a short one."""
    frames, _ = swaying
    taken = 0

    def endless():
        nonlocal taken
        for frame in itertools.cycle(frames):
            taken += 1
            yield frame

    found = [field for _, field in zip(range(45), stream(endless(), "dis", ladder, desc=None))]
    assert taken <= 46
    torch.testing.assert_close(torch.stack(found[:20]), estimate(frames, "dis", ladder), rtol=0, atol=0)


def test_any_function_of_two_pictures_is_a_method(swaying):
    frames, _ = swaying
    seen = []

    def method(first, second):
        seen.append((first, second))
        return np.full((48, 64, 2), 0.25, np.float32)

    chained = estimate(frames[:4], method, "chained")
    assert [float(field.mean()) for field in chained] == [0, 0.25, 0.5, 0.75]
    assert all((first == frames[n]).all() and (second == frames[n + 1]).all() for n, (first, second) in enumerate(seen))


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([np.zeros((32, 32, 3), np.float32)], "uint8"),
        ([np.zeros((32, 32, 4), np.uint8)], "frame 0 is"),
        ([np.zeros((32, 32), np.uint8)], "frame 0 is"),
        ([np.zeros((12, 32, 3), np.uint8)], "16 to 8192 pixels"),
        ([np.zeros((32, 32, 3), np.uint8), np.zeros((32, 33, 3), np.uint8)], r"one size.*frame 1"),
        ([], "no frames"),
    ],
)
def test_frames_that_are_none(frames, message):
    with pytest.raises(ValueError, match=message):
        estimate(frames)


def test_names_that_mean_nothing(swaying):
    with pytest.raises(ValueError, match="dis, dis2x, farneback"):
        estimate(swaying[0], "raft")
    with pytest.raises(ValueError, match="direct, chained, best"):
        estimate(swaying[0], ladder="all")


# --------------------------------------------------------------------------------------------------------------- scores


def test_scores_by_hand():
    flow, truth = torch.zeros(2, 2, 1, 3), torch.zeros(2, 2, 1, 3)
    flow[0, :, 0, 0] = torch.tensor([3.0, 4.0])
    truth[1, 0, 0, 2] = 1
    assert float(epe(flow, truth)) == pytest.approx(6 / 6)
    mask = torch.tensor([[True, False, False]])
    assert float(epe(flow, truth, mask)) == pytest.approx(2.5)
    assert epe(flow, truth, reduce=False).shape == (2, 1, 3)
    angle = angular_error(flow, truth, reduce=False)
    assert float(angle[0, 0, 0]) == pytest.approx(math.degrees(math.acos(1 / math.sqrt(26))), rel=1e-5)
    assert float(angle[1, 0, 2]) == pytest.approx(45, rel=1e-5)
    assert float(angle[0, 0, 1]) == 0
    with pytest.raises(ValueError, match="no pixel"):
        epe(flow, truth, torch.zeros(1, 3, dtype=torch.bool))


def test_angles_are_those_of_the_definition():
    gen = torch.Generator().manual_seed(0)
    one, other = (torch.randn(5, 2, 4, 4, generator=gen, dtype=torch.float64) for _ in range(2))
    full = [torch.cat([f, torch.ones(5, 1, 4, 4)], 1) for f in (one, other)]
    cosine = torch.nn.functional.cosine_similarity(*full, dim=1)
    torch.testing.assert_close(angular_error(one, other, reduce=False), torch.rad2deg(cosine.acos()))
    assert float(angular_error(one.float(), one.float())) == 0  # where acos would give the rounding's root


# --------------------------------------------------------------------------------------------------------------- camera


def test_shake_is_taken_out():
    still = torch.zeros(48, 64, dtype=torch.bool)
    still[:, :16] = True
    shake = lambda n: (0.9 * math.sin(2.1 * n), 0.6 * math.sin(1.3 * n))  # noqa: E731
    law = sway(2.5)
    moved = lambda n, y, x: tuple(a + b for a, b in zip(law(n, y, x), shake(n)))  # noqa: E731
    frames, _ = clip(moved, 12)
    _, truth = clip(law, 12)
    steady, shift = remove_shift(estimate(frames, "dis2x"), still)
    np.testing.assert_allclose(shift, [shake(n) for n in range(12)], atol=0.12)
    assert epe(steady, truth, MIDDLE) < 0.15
    assert epe(steady + shift[..., None, None], truth, MIDDLE) > 0.5
    half = torch.zeros(3, 2, 8, 10)
    half[..., 4:] = 1.5
    assert (remove_shift(half)[1] == 1.5).all()  # without `still`, what most of the picture does is the camera
    with pytest.raises(ValueError, match="no pixel"):
        remove_shift(half, torch.zeros(8, 10, dtype=torch.bool))


# ----------------------------------------------------------------------------------------------------------------- RAFT


@pytest.fixture(scope="module")
def raft_file(tmp_path_factory):
    from torchvision.models.optical_flow import raft_small

    folder = tmp_path_factory.mktemp("raft")
    torch.manual_seed(0)
    model = raft_small(weights=None).eval()
    torch.save(model.state_dict(), folder / "small.pth")
    return folder, model


def test_raft_from_a_file(raft_file, swaying):
    folder, model = raft_file
    frames, _ = swaying
    raft = load_raft(folder / "small.pth", updates=2)
    found = estimate(frames[:2], raft)
    assert found.shape == (2, 2, 48, 64)
    assert (found[0] == 0).all()
    pair = [torch.from_numpy(np.pad(f, ((0, 80), (0, 64), (0, 0)), "edge")).permute(2, 0, 1)[None] for f in frames[:2]]
    with torch.inference_mode():
        expected = model(*(p / 127.5 - 1 for p in pair), num_flow_updates=2)[-1][0, :, :48, :64]
    torch.testing.assert_close(found[1], expected)
    assert expected.abs().max() > 0


def test_raft_gets_whole_multiples_of_eight(raft_file):
    """Sides above 128 px too; what is beside the picture repeats its edge."""
    folder, model = raft_file
    first, second = np.random.default_rng(0).integers(0, 256, (2, 131, 136, 3), np.uint8)
    padded = [np.pad(f, ((0, 5), (0, 0), (0, 0)), "edge").transpose(2, 0, 1)[None] for f in (first, second)]
    with torch.inference_mode():
        pair = [torch.from_numpy(f) / 127.5 - 1 for f in padded]
        expected = model(*pair, num_flow_updates=1)[-1][0, :, :131].permute(1, 2, 0).numpy()
    found = load_raft(folder / "small.pth", updates=1)(first, second)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


class Harm:
    def __reduce__(self):
        return print, ("this must never be said",)


def test_raft_files_that_are_none(raft_file, tmp_path, capsys):
    folder, model = raft_file
    with pytest.raises(FormatError, match="nothing of that name"):
        load_raft(tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("hello")
    (tmp_path / "cut.pth").write_bytes((folder / "small.pth").read_bytes()[:5000])
    torch.save({"a": torch.zeros(3)}, tmp_path / "other.pth")
    torch.save([torch.zeros(3)], tmp_path / "list.pth")
    state = model.state_dict()
    state[next(iter(state))] = state[next(iter(state))] * torch.nan
    torch.save(state, tmp_path / "nan.pth")
    with open(tmp_path / "harm.pth", "wb") as file:
        pickle.dump({"a": Harm()}, file, protocol=2)
    torch.save({"a": Harm()}, tmp_path / "harm2.pth")
    for name, message in {
        "text.pth": "tensors only",
        "cut.pth": "tensors only",
        "other.pth": "raft_small or raft_large",
        "list.pth": "found a list without them",
        "nan.pth": "NaN",
        "harm.pth": "tensors only",
        "harm2.pth": "tensors only",
    }.items():
        with pytest.raises(FormatError, match=message):
            load_raft(tmp_path / name)
    assert "never" not in capsys.readouterr().out
    with open(tmp_path / "large.pth", "wb") as file:
        file.truncate(MAX_WEIGHTS + 1)  # takes no room
    with pytest.raises(FormatError, match="at most 268435456 bytes"):
        load_raft(tmp_path / "large.pth")
