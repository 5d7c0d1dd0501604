"""The clip that comes with the book: it is the file of its card, and what the command makes."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
import torch

from bestpapers.dynamics import clips, flow
from bestpapers.dynamics.data import film
from bestpapers.dynamics.formats import read_video
from bestpapers.dynamics.worlds import plant_seeds
from bestpapers.lab.files import FormatError
from bestpapers.lab.weights import Card

from ..documents import is_installed


@pytest.fixture(scope="module")
def clip():
    return read_video(clips.SUNFLOWERS, desc=None)


def test_an_installed_package_brings_it():
    assert is_installed(f"dynamics/clips/{clips.SUNFLOWERS.name}")


def test_the_file_is_that_of_its_card():
    card = Card.read(clips.HERE)
    card.verify(clips.HERE)
    assert set(card.files) == {clips.SUNFLOWERS.name}
    assert card.data == clips.SCENE | dict(height=clips.HEIGHT, width=clips.WIDTH, frames=clips.FRAMES)
    assert card.settings == clips.CAMERA | clips.CODEC
    assert card.files[clips.SUNFLOWERS.name]["bytes"] < 400_000
    assert clips.SCENE["seed"] in plant_seeds(clips.SCENE["kind"], "held-out")


def test_the_file_shows_what_the_command_draws():
    found = clips.scores()  # dB against the frames made again
    said = Card.read(clips.HERE).scores
    assert set(found) == set(said)
    for name, value in found.items():
        assert value == pytest.approx(said[name], abs=0.5), name


def test_the_command_makes_it_again(tmp_path):
    if importlib.util.find_spec("av") is None:
        with pytest.raises(ValueError, match="pip install av"):
            clips.write(tmp_path / "a.webm", clips.filmed().frames)
        return
    clips.write(tmp_path / "a.webm", clips.filmed().frames)
    kept, again = (read_video(p, size=None, desc=None).frames for p in (clips.SUNFLOWERS, tmp_path / "a.webm"))
    assert np.abs(kept.astype(np.float32) - again).mean() < 2  # another build of the codec may choose otherwise
    assert [p.name for p in tmp_path.iterdir()] == ["a.webm"]


def test_truth_is_what_flow_finds(clip):
    true, shifts, mask = clips.truth(160, 256)
    assert [t.shape for t in (true, shifts, mask)] == [(150, 2, 160, 256), (150, 2), (160, 256)]
    assert not true[0].any()
    assert not shifts[0].any()
    some = [20, 34, 75, 110]
    found = flow.estimate(clip.frames[[0, *some]], desc=None)[1:]
    exact = true[some] + shifts[some, :, None, None]
    assert flow.epe(found, exact, mask) < 0.5 * flow.epe(0 * exact, exact, mask)
    textured = torch.zeros_like(mask)
    textured[40:50] = True  # far meadow, which stands still: there only the hand moves
    hand = flow.remove_shift(found, textured)[1]
    assert (hand - shifts[some]).norm(dim=1).mean() < 0.5 * shifts[some].norm(dim=1).mean()
    half = clips.truth(80, 128)
    torch.testing.assert_close(half[1] * 2, shifts)
    with pytest.raises(ValueError, match="240 x 384"):
        clips.truth(160, 160)


def test_shifts_are_those_of_the_film():
    small = clips.drawn().scene.picture(16, 24)[None].repeat(clips.FRAMES, 0)
    painted = film(small, clips.SEED, **clips.CAMERA).shifts
    np.testing.assert_allclose(clips.truth(clips.HEIGHT, clips.WIDTH)[1].numpy(), painted, atol=1e-6)


def test_the_command_says_what_is_there(tmp_path, monkeypatch):
    done = subprocess.run(
        [sys.executable, "-m", "bestpapers.dynamics.clips", "--verify"], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("sunflowers.webm: ")
    (tmp_path / "sunflowers.webm").write_bytes(b"another")
    card = Card.read(clips.HERE)
    card.write(tmp_path)
    with pytest.raises(FormatError, match=r"sunflowers\.webm"):
        card.verify(tmp_path)
