"""Small records with known feedback, for tests of the formats."""

import numpy as np

from bestpapers.feedback.record import MAPS, SCORES, Feedback, Record, words

PROMPTS = ('A red-haired man\'s dog: "sit"!  (old photo)', "two blue boats, one lighthouse", "fox")


def record(number=0, size=(12, 16), picture=True, **scores):
    """Maps are multiples of 1/3, as a panel of three makes them; words of odd number are misaligned."""
    rng = np.random.default_rng(number)
    prompt = PROMPTS[number % len(PROMPTS)]
    maps = {kind: (rng.integers(0, 4, size) * 85 / 255).astype(np.float32) for kind in MAPS}
    said = {kind: (number + i) % 13 / 12 for i, kind in enumerate(SCORES)} | scores
    labels = (np.arange(len(words(prompt))) % 2).astype(np.float32)
    pixels = rng.integers(0, 255, (*size, 3), np.uint8) if picture else None
    return Record(f"uid-{number}", prompt, Feedback(said, maps, labels), pixels)


def assert_same(found, wanted, atol=0.0):
    assert (found.name, found.prompt) == (wanted.name, wanted.prompt)
    assert list(found.feedback.scores) == [kind for kind in SCORES if kind in wanted.feedback.scores]
    for kind, score in wanted.feedback.scores.items():
        assert abs(found.feedback.scores[kind] - score) < 1e-6
    assert found.feedback.maps.keys() == wanted.feedback.maps.keys()
    for kind, values in wanted.feedback.maps.items():
        assert found.feedback.maps[kind].dtype == np.float32
        np.testing.assert_allclose(found.feedback.maps[kind], values, rtol=0, atol=atol + 1e-6)
    assert found.feedback.misaligned.dtype == np.float32
    np.testing.assert_allclose(found.feedback.misaligned, wanted.feedback.misaligned, rtol=0, atol=1e-6)
    if wanted.picture is None:
        assert found.picture is None
    else:
        np.testing.assert_array_equal(found.picture, wanted.picture)
