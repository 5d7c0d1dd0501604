"""What several people marked on pictures, before it is merged: the export of the annotation page, JSON.

    {"format": "bestpapers annotations 1",
     "pictures": [
       {"name": "fox", "prompt": "a red fox", "width": 64, "height": 48,
        "annotations": [
          {"annotator": "Ann",
           "points": {"implausibility": [[31.5, 20.0]], "misalignment": []},
           "likert": {"plausibility": 2, "aesthetics": 4, "alignment": 3, "overall": 3},
           "misaligned": [false, true, false]}]}]}

Points are x, y in pixels of the picture, the centre of the first pixel being 0, 0; answers are whole, 1 (worst) to 5;
`misaligned` has a value for each of `record.words(prompt)`. Each person may export a file of their own: they are read together.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...lab.files import MAX_SIDE, FormatError, Skips, parse_json, read_file, show, write_file
from ...lab.pictures import MAX_PIXELS, composed
from ...lab.places import Place
from ...lab.tables import number_of, text_of
from ..record import LIKERT, MAPS, SCORES, Annotation
from .tables import one_per_word

FORMAT = "bestpapers annotations 1"
MAX_EXPORT = 64 << 20  # bytes
MAX_POINTS = 1000  # of a kind, by one person on one picture


@dataclass(frozen=True)
class Annotated:
    """A picture and what each person marked on it.

    name         of its file, the last part without the ending
    size         height, width in pixels: where the points lie
    annotations  one to a person
    """

    name: str
    prompt: str
    size: tuple[int, int]
    annotations: tuple[Annotation, ...]


def write_annotations(path: str | Path, pictures: Iterable[Annotated]) -> None:
    """Write an export. FormatError, and no file, where it would not be read again."""
    path = Path(path)
    content = {"format": FORMAT, "pictures": [_as_json(p) for p in pictures]}
    data = json.dumps(content, ensure_ascii=False, indent=1, default=np.ndarray.item)
    _parse(json.loads(data), path, None)
    write_file(path, data.encode())


def read_annotations(paths: str | Path | Sequence[str | Path], skips: Skips | None = None) -> list[Annotated]:
    """Read one export, or several, whose answers on the same picture come together; in the order of first sight.

    With `skips`, a person's answers on a picture that are not whole are counted and left out. A picture on which two files
    do not agree (prompt, size), and a person who is there twice for one picture, are faults.
    """
    found = dict[str, Annotated]()
    for path in map(Path, [paths] if isinstance(paths, str | Path) else paths):
        for new in _parse(parse_json(read_file(path, MAX_EXPORT), path), path, skips):
            old = found.setdefault(new.name, replace(new, annotations=()))
            here = Place(path, f"picture {show(new.name)}")
            said = [f"{p.size[1]} x {p.size[0]}, {show(p.prompt)}" for p in (old, new)]
            if (old.prompt, old.size) != (new.prompt, new.size):
                raise here.wrong(f"{said[0]}, as before", said[1])
            both = {a.annotator for a in old.annotations} & {a.annotator for a in new.annotations}
            advice = "give people names of their own, and each file once"
            here.need(not both, "each annotator once", sorted(both)[:1], advice)
            found[new.name] = replace(old, annotations=(*old.annotations, *new.annotations))
    return list(found.values())


def _as_json(picture: Annotated) -> dict[str, Any]:
    people = [
        {
            "annotator": a.annotator,
            "points": {kind: np.asarray(a.points.get(kind, ()), float).round(2).tolist() for kind in MAPS},
            "likert": {kind: a.likert.get(kind) for kind in SCORES},
            "misaligned": np.asarray(a.misaligned, bool).tolist(),
        }
        for a in picture.annotations
    ]
    height, width = picture.size
    return {"name": picture.name, "prompt": picture.prompt, "width": width, "height": height, "annotations": people}


def _get(value: Any, key: str, kind: type, here: Place) -> Any:
    here.need(isinstance(value, dict), "a JSON object", value)
    found = value.get(key)
    expected = {list: "a list", dict: "a JSON object", int: "a whole number", str: "a text"}[kind]
    (here / key).need(isinstance(found, kind) and not isinstance(found, bool), expected, found)
    return text_of(found, here / key) if kind is str else found


def _parse(export: Any, path: Path, skips: Skips | None) -> list[Annotated]:
    file, out = Place(path), dict[str, Annotated]()
    said = _get(export, "format", str, file)
    (file / "format").need(said == FORMAT, FORMAT, said, "was it exported by the annotation page?")
    for number, value in enumerate(_get(export, "pictures", list, file), 1):
        here = file / f"picture {number}"
        name, prompt = composed(_get(value, "name", str, here)), _get(value, "prompt", str, here)
        (here / "name").need(name and name not in out, "a name, each once", name)
        here = file / f"picture {number} ({name:.40})"
        height, width = _get(value, "height", int, here), _get(value, "width", int, here)
        good = 0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE and height * width <= MAX_PIXELS
        (here / "size").need(good, f"at most {MAX_PIXELS:,} pixels", [width, height])
        people = dict[str, Annotation]()
        for i, marks in enumerate(_get(value, "annotations", list, here), 1):
            try:
                person = _annotation(marks, prompt, (height, width), here / f"annotation {i}")
                (here / f"annotation {i}").need(person.annotator not in people, "each annotator once", person.annotator)
                people[person.annotator] = person
            except FormatError as error:
                if skips is None:
                    raise
                skips.add(error)
        out[name] = Annotated(name, prompt, (height, width), tuple(people.values()))
    return list(out.values())


def _annotation(said: Any, prompt: str, size: tuple[int, int], here: Place) -> Annotation:
    annotator = _get(said, "annotator", str, here)
    (here / "annotator").need(0 < len(annotator) <= 200, "a name of at most 200 characters", annotator)
    marks, answers = _get(said, "points", dict, here), _get(said, "likert", dict, here)
    for group, known in ((marks, MAPS), (answers, SCORES)):
        here.need(set(group) <= set(known), f"only {', '.join(known)}", sorted(set(group) - set(known))[:1])
    points = {kind: _points(_get(marks, kind, list, here), size, here / kind) for kind in MAPS}
    likert = {kind: _get(answers, kind, int, here) for kind in SCORES}
    for kind, answer in likert.items():
        (here / kind).need(1 <= answer <= LIKERT, f"a whole answer from 1 to {LIKERT}", answer)
    labels = _get(said, "misaligned", list, here)
    one_per_word(labels, prompt, here / "misaligned")
    (here / "misaligned").need(all(isinstance(x, bool) for x in labels), "true or false for each word", labels)
    return Annotation(annotator, points, likert, np.array(labels, bool))


def _points(values: list[Any], size: tuple[int, int], here: Place) -> Any:
    here.need(len(values) <= MAX_POINTS, f"at most {MAX_POINTS} points", len(values))
    for value in values:
        here.need(isinstance(value, list) and len(value) == 2, "points [x, y]", value)
        for n, side in zip(value, size[::-1]):
            good = not isinstance(n, str) and -0.5 <= number_of(n, here) <= side - 0.5
            here.need(good, f"points in the picture, {size[1]} x {size[0]}", value)
    return np.array(values, np.float32).reshape(-1, 2)
