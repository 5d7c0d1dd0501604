import numpy as np
import pytest
import torch

from bestpapers.dynamics import data
from bestpapers.dynamics.data import Clip, film, spectra, wind

SMALL = dict(height=48, width=64, frames=20)


@pytest.fixture(scope="module")
def clip():
    return Clip("tree", 2, **SMALL)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BESTPAPERS_CACHE", str(tmp_path))
    return tmp_path / "dynamics"


def test_a_clip_knows_all_about_itself(clip):
    assert clip.video.shape == (20, 48, 64, 3)
    assert clip.video.dtype == np.uint8
    assert clip.flow.shape == (20, 2, 48, 64)
    assert clip.visible.shape == (20, 48, 64)
    np.testing.assert_array_equal(clip.video[0], clip.picture)
    right = np.fft.fft(clip.flow, axis=0)[:4]
    np.testing.assert_allclose(clip.spectrum(4), right, atol=1e-3 * np.abs(right).max())
    assert (clip.flow[:, :, ~clip.mask] == 0).all()
    assert clip.visible[0].all()


def test_numbers_are_winds(clip):
    other = Clip("tree", 2, 1, **SMALL)
    np.testing.assert_array_equal(other.picture, clip.picture)
    assert np.abs(other.q - clip.q).max() > 0
    assert wind("tree", 2, 1) == other.wind != clip.wind
    assert wind("flowers", 2, 1) != other.wind
    assert len({wind("tree", 0, n) for n in range(50)}) == 50


# -------------------------------------------------------------------------------------------------------------- camera


def still(frames=30, level=128, size=(48, 64)):
    return np.full((frames, *size, 3), level, np.uint8)


def test_a_good_camera_changes_nothing(clip):
    filmed = film(clip.video, 0)
    np.testing.assert_array_equal(filmed.frames, clip.video)
    assert (filmed.shifts == 0).all()


def test_noise_has_its_strength_and_grows_with_light():
    spread = [film(still(4, level), 1, noise=0.02).frames.std() / 255 for level in (40, 128, 215)]
    assert spread[1] == pytest.approx(0.02, rel=0.06)
    assert spread[0] < spread[1] < spread[2]
    assert film(still(4), 1, noise=0.02).frames.mean() == pytest.approx(128, abs=0.5)


def test_shake_moves_the_whole_picture_by_what_it_says():
    x, y = np.meshgrid(np.arange(64), np.arange(48))
    smooth = 128 + 50 * np.sin(x / 5) + 50 * np.cos(y / 6)
    frames = np.repeat(np.repeat(smooth[None, :, :, None], 40, 0), 3, 3).astype(np.uint8)
    filmed = film(frames, 3, shake=1.5)
    assert (filmed.shifts[0] == 0).all()
    assert 0.5 < np.abs(filmed.shifts).max() < 8
    for n in (10, 39):
        dx, dy = filmed.shifts[n]
        right = 128 + 50 * np.sin((x - dx) / 5) + 50 * np.cos((y - dy) / 6)
        inner = np.s_[10:-10, 10:-10]
        assert np.abs(filmed.frames[n, ..., 0].astype(float) - right)[inner].mean() < 2.5


def test_compression_hurts_more_at_lower_quality(clip):
    errors = [
        np.abs(film(clip.video[:2], 0, quality=q).frames.astype(float) - clip.video[:2]).mean() for q in (95, 50, 10)
    ]
    assert 0 < errors[0] < errors[1] < errors[2]


def test_a_film_is_the_same_for_a_seed(clip):
    options = dict(noise=0.02, quality=70, shake=0.5)
    a, b, c = (film(clip.video[:4], seed, **options) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a.frames, b.frames)
    assert (a.frames != c.frames).any()


@pytest.mark.parametrize(
    ("frames", "options"),
    [
        (still(2).astype(float), {}),
        (still(2)[0], {}),
        (still(0), {}),
        (still(2), dict(noise=-1)),
        (still(2), dict(quality=0)),
        (still(2), dict(shake=-0.1)),
    ],
)
def test_a_film_refuses_nonsense(frames, options):
    with pytest.raises(ValueError, match="film: "):
        film(frames, 0, **options)


# ------------------------------------------------------------------------------------------------------------- spectra


def test_spectra_hold_the_scenes_and_their_winds(own_cache):
    found = spectra(["tree"], "train", 2, 2, size=(12, 16), slices=5)
    assert len(found) == 4
    assert found.plants == (("tree", 0), ("tree", 1))
    assert found.volumes.shape == (2, 2, 5, 4, 12, 16)
    assert found.pictures.shape == (2, 3, 24, 32)
    picture, volume, mask = found[3]
    assert picture.dtype == volume.dtype == torch.float32
    right = Clip("tree", 1, 1, 12, 16)
    s = right.spectrum(5)
    parts = np.stack([s[:, 0].real, s[:, 0].imag, s[:, 1].real, s[:, 1].imag], 1)
    np.testing.assert_allclose(volume, parts, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(mask, right.mask)
    np.testing.assert_allclose(picture.movedim(0, 2) * 255, right.scene.picture(24, 32), atol=1e-3)
    with pytest.raises(IndexError):
        found[4]

    # kept, found again, and made again where it was damaged
    (file,) = own_cache.glob("*.safetensors")
    before = file.stat().st_mtime_ns
    again = spectra(["tree"], "train", 2, 2, size=(12, 16), slices=5)
    assert file.stat().st_mtime_ns == before
    assert again.digest == found.digest
    assert torch.equal(again.volumes, found.volumes)
    file.write_bytes(file.read_bytes()[:100])
    assert torch.equal(spectra(["tree"], "train", 2, 2, size=(12, 16), slices=5).volumes, found.volumes)


def test_other_questions_have_other_digests(own_cache):
    plain = dict(size=(12, 16), slices=3, cache=False)
    base = spectra(["tree"], "train", 1, 1, **plain)
    held = spectra(["tree"], "held-out", 1, 1, **plain)
    later = spectra(["tree"], "train", 1, 1, start=1, **plain)
    assert len({base.digest, held.digest, later.digest}) == 3
    assert torch.equal(later.pictures, base.pictures)
    assert not torch.equal(later.volumes, base.volumes)
    assert not torch.equal(held.pictures, base.pictures)
    assert not own_cache.exists()


def test_files_of_an_older_painter_go(own_cache, monkeypatch):
    plain = dict(size=(12, 16), slices=3)
    spectra(["tree"], "train", 1, 1, **plain)
    monkeypatch.setattr(data, "SOURCE", "other")
    spectra(["tree"], "train", 1, 1, **plain)
    assert [file.name.split("-")[1] for file in own_cache.glob("*.safetensors")] == ["other"]


def test_a_cache_that_cannot_be_written_warns(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BESTPAPERS_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="not kept"):
        spectra(["tree"], "train", 1, 1, size=(12, 16), slices=2)


@pytest.mark.parametrize(
    ("kinds", "plants", "winds", "start"),
    [([], 1, 1, 0), (["tree"], 0, 1, 0), (["tree"], 1, 0, 0), (["tree"], 1, 1, -1)],
)
def test_spectra_refuse_nonsense(kinds, plants, winds, start):
    with pytest.raises(ValueError, match="spectra: "):
        spectra(kinds, "train", plants, winds, start=start)
