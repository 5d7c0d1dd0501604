"""What is said of one picture: by a person, by a panel, by a model, by the judge. All rooms of the wing speak in these terms.

Four scores in 0..1, *high is good* in each. Two maps over the picture in 0..1, *high is bad*: where it is implausible, and
where it does not show what the prompt asks for. For each word of the prompt, how misaligned it is, 1 being a word that the
picture does not honour. The released data set calls two of the scores after the fault ("artifact_score",
"misalignment_score"), though high is good there too; its names appear in `formats` alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

SCORES = ("plausibility", "aesthetics", "alignment", "overall")
MAPS = ("implausibility", "misalignment")
LIKERT = 5  # answers, 1 to 5

_BETWEEN = re.compile(r'[,.?!":; ]+')  # what separates words: hyphens, apostrophes and brackets do not


def words(prompt: str) -> tuple[str, ...]:
    """The words of a prompt that labels belong to, in order: split at , . ? ! " : ; and space, and at nothing else (the rule of
    RichHF-18K's own code). An empty prompt has none."""
    return tuple(word for word in _BETWEEN.split(prompt) if word)


@dataclass(frozen=True)
class Feedback:
    """Rich feedback on a picture (H, W) for a prompt of n words. What a source does not say is left out or empty.

    scores      by names of SCORES, 0..1
    maps        by names of MAPS, float32 (H, W), 0..1
    misaligned  float32 (n,), 0..1, for each of `words(prompt)`
    """

    scores: Mapping[str, float]
    maps: Mapping[str, NDArray[np.float32]]
    misaligned: NDArray[np.float32]


@dataclass(frozen=True)
class Record:
    """A picture, its prompt, and what is said of it."""

    name: str  # unique in a set; of a file, its last part without the ending
    prompt: str
    feedback: Feedback
    picture: NDArray[np.uint8] | None = None  # (H, W, 3); None where the file of it is missing


@dataclass(frozen=True)
class Annotation:
    """What one person marked on one picture.

    points      by names of MAPS, float32 (p, 2): x, y in pixels, the centre of the first pixel being 0, 0
    likert      by names of SCORES, whole answers 1 (worst) to 5
    misaligned  bool (n,), for each of `words(prompt)`
    """

    annotator: str
    points: Mapping[str, NDArray[np.float32]]
    likert: Mapping[str, int]
    misaligned: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
