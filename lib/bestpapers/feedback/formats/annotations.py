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
from ..record import LIKERT, MAPS, SCORES, Annotation
from .pixels import MAX_PIXELS
from .tables import number_of, one_per_word, text_of
from .tfrecords import refuse_pointer

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
    data = json.dumps({"format": FORMAT, "pictures": [_as_json(p) for p in pictures]}, ensure_ascii=False, indent=1)
    _parse(json.loads(data), path, None)
    write_file(path, data.encode())


def read_annotations(paths: str | Path | Sequence[str | Path], skips: Skips | None = None) -> list[Annotated]:
    """Read one export, or several, whose answers on the same picture come together; in the order of first sight.

    With `skips`, a person's answers on a picture that are not whole are counted and left out. A picture on which two files
    do not agree (prompt, size), and a person who is there twice for one picture, are faults.
    """
    found = dict[str, Annotated]()
    for path in map(Path, [paths] if isinstance(paths, str | Path) else paths):
        data = read_file(path, MAX_EXPORT)
        refuse_pointer(path, data)
        for new in _parse(parse_json(data, path), path, skips):
            old = found.setdefault(new.name, replace(new, annotations=()))
            where = f"picture {show(new.name)}"
            if (old.prompt, old.size) != (new.prompt, new.size):
                expected = f"{old.size[1]} x {old.size[0]}, {show(old.prompt)}, as before"
                raise FormatError(path, where, expected, f"{new.size[1]} x {new.size[0]}, {show(new.prompt)}")
            both = {a.annotator for a in old.annotations} & {a.annotator for a in new.annotations}
            if both:
                advice = "give people names of their own, and each file once"
                raise FormatError(path, where, "each annotator once", f"{show(min(both))} again", advice)
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


def _get(value: Any, key: str, kind: type, path: Path, where: str) -> Any:
    if not isinstance(value, dict) or not isinstance(value.get(key), kind) or isinstance(value[key], bool):
        expected = {list: "a list", dict: "a JSON object", int: "a whole number", str: "a text"}[kind]
        raise FormatError(path, f"{where}{key}", expected, show(value.get(key) if isinstance(value, dict) else value))
    return value[key]


def _parse(export: Any, path: Path, skips: Skips | None) -> list[Annotated]:
    if _get(export, "format", str, path, "") != FORMAT:
        raise FormatError(path, "format", FORMAT, show(export["format"]), "was it exported by the annotation page?")
    out, seen = list[Annotated](), set[str]()
    for number, value in enumerate(_get(export, "pictures", list, path, ""), 1):
        where = f"picture {number}, "
        name, prompt = (text_of(_get(value, key, str, path, where), path, where + key) for key in ("name", "prompt"))
        if not name or name in seen:
            raise FormatError(path, f"{where}name", "a name, each once", f"{show(name)}{' again' if name else ''}")
        seen.add(name)
        where = f"picture {number} ({name:.40}), "
        height, width = size = tuple(_get(value, key, int, path, where) for key in ("height", "width"))
        if min(size) < 1 or max(size) > MAX_SIDE or height * width > MAX_PIXELS:
            raise FormatError(path, f"{where}size", f"at most {MAX_PIXELS:,} pixels", f"{show(width)} x {show(height)}")
        people = list[Annotation]()
        for i, said in enumerate(_get(value, "annotations", list, path, where), 1):
            try:
                person = _annotation(said, prompt, (height, width), path, f"{where}annotation {i}, ")
                if any(person.annotator == other.annotator for other in people):
                    raise FormatError(
                        path, f"{where}annotation {i}", "each annotator once", f"{person.annotator!r:.80}"
                    )
                people.append(person)
            except FormatError as error:
                if skips is None:
                    raise
                skips.add(error)
        out.append(Annotated(name, prompt, (height, width), tuple(people)))
    return out


def _annotation(said: Any, prompt: str, size: tuple[int, int], path: Path, where: str) -> Annotation:
    annotator = text_of(_get(said, "annotator", str, path, where), path, where + "annotator")
    if not 0 < len(annotator) <= 200:
        raise FormatError(path, f"{where}annotator", "a name of at most 200 characters", show(annotator))
    marks, answers = _get(said, "points", dict, path, where), _get(said, "likert", dict, path, where)
    for group, known in ((marks, MAPS), (answers, SCORES)):
        if more := set(group) - set(known):
            raise FormatError(path, f"{where}{show(min(more))}", f"only {', '.join(known)}", "another one")
    points = {kind: _points(_get(marks, kind, list, path, where), size, path, f"{where}{kind}") for kind in MAPS}
    likert = {kind: _get(answers, kind, int, path, where) for kind in SCORES}
    for kind, answer in likert.items():
        if not 1 <= answer <= LIKERT:
            raise FormatError(path, f"{where}{kind}", f"a whole answer from 1 to {LIKERT}", show(answer))
    labels = _get(said, "misaligned", list, path, where)
    one_per_word(labels, prompt, path, f"{where}misaligned")
    if not all(isinstance(label, bool) for label in labels):
        raise FormatError(path, f"{where}misaligned", "true or false for each word", show(labels))
    return Annotation(annotator, points, likert, np.array(labels, bool))


def _points(values: list[Any], size: tuple[int, int], path: Path, where: str) -> Any:
    if len(values) > MAX_POINTS:
        raise FormatError(path, where, f"at most {MAX_POINTS} points", f"{len(values)}")
    for value in values:
        if not isinstance(value, list) or len(value) != 2:
            raise FormatError(path, where, "points [x, y]", show(value))
        x, y = (number_of(None if isinstance(n, str) else n, path, where) for n in value)
        if not (-0.5 <= x <= size[1] - 0.5 and -0.5 <= y <= size[0] - 0.5):
            raise FormatError(path, where, f"points in the picture, {size[1]} x {size[0]}", f"[{x:g}, {y:g}]")
    return np.array(values, np.float32).reshape(-1, 2)
