"""RichHF-18K's own files: TFRecord, an Example of eight fields to a picture. The picture and its prompt are not in there; both
come from Pick-a-Pic by the picture's id, which is the last part of the field `filename`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ...lab.files import FormatError, Skips, show, write_file
from ...lab.maps import decode_map, encode_map
from ...lab.pictures import composed, listing, one_file, png_bytes, stem
from ...lab.places import Place
from ...lab.tables import number_of, text_of
from ...lab.tfrecords import example_bytes, parse_example, read_records, write_records
from ..record import MAPS, SCORES, Record, words
from .pixels import Reading, Size, check_size, make_record
from .tables import Scale, guarded, one_per_word, prompt_tables, prompts_from

FIELDS = {  # as the files name what record.py names; all scores are better the higher they are
    "plausibility": "artifact_score",
    "aesthetics": "aesthetics_score",
    "alignment": "misalignment_score",
    "overall": "overall_score",
    "implausibility": "artifact_map",
    "misalignment": "misalignment_map",
}
NUMBER = (float, int)
NAME, LABELS = "filename", "prompt_misalignment_label"  # labels: "1 0 1", a number to a word, 0 = misaligned


def read_richhf(
    path: str | Path, pictures: str | Path | None = None, prompts: str | Path | Mapping[str, str] | None = None, *,
    size: Size | None = None, scale: str = "auto", skips: Skips | None = None,
) -> Reading:  # fmt: skip
    """Feedback in a TFRecord file of RichHF-18K, or one of `write_richhf`.

    pictures  folder that is searched, with all folders in it, for ID.png, ID.jpg, ...; None: records without pictures
    prompts   {id: prompt}; or a table (.csv, .jsonl, .json) with the columns uid, or Pick-a-Pic's image_0_uid and
              image_1_uid, and prompt or caption; or a folder with prompts.csv, .jsonl or .json, and ID.txt. None: such tables
              beside the file, and what lies in the folder of pictures. Without prompts the labels of words belong to nothing,
              and are left out
    size, scale, skips  see `read`

    The file is gone through once here: a damaged one is refused before the first record. Maps are levels over 255; JPEG
    leaves a little of them around what was marked.

    Raises:
        FormatError: no such file, a Git LFS pointer in its place, a wrong check sum, a record that is cut or too long, a
            field that is missing or not what it should be, maps of two sizes, another number of labels than the prompt has
            words, a prompt that is missing, a picture that is missing or there twice.
    """
    path = Path(path)
    check_size(size)
    files = listing(Path(pictures)) if pictures is not None else None
    beside = [*prompt_tables(path.parent), *([] if pictures is None else [pictures])]
    known, told = prompts_from(*(beside if prompts is None else [prompts]))
    if nothing := prompts is None and not known:
        told = "no prompts, so labels of words are left out"
    scores, count = list[float](), 0
    lost = None if skips is None else Skips()  # what is lost here is counted when the records are read
    for here, data in read_records(path, lost):
        count += 1
        try:
            features = parse_example(data, here)
            scores += [number_of(_one(features, FIELDS[kind], NUMBER, here), here / FIELDS[kind]) for kind in SCORES]
        except FormatError:  # with `skips` it is counted when that record is read
            if skips is None:
                raise
        scores = [min(scores), max(scores)] if scores else []
    if not count:
        raise Place(path, "records").wrong("at least one", lost.messages[0] if lost and lost.messages else "none")
    scaled = Scale(path, scale, scores)
    there = "no pictures" if files is None else f"{len(files):,} pictures in {Path(pictures or '').name}"
    said = f"{path.name}: RichHF-18K's format, {count:,} records; {scaled.said}; {there}; {told}"

    make = partial(_record, files=files, prompts=None if nothing else known, scale=scaled, size=size)
    return Reading("RichHF-18K", said, count, lambda: guarded(read_records(path, skips), make, skips))


def _one(features: dict[str, list[Any]], name: str, kinds: tuple[type, ...], here: Place) -> Any:
    if name not in features:
        expected = f"the fields {', '.join([NAME, *FIELDS.values(), LABELS])}"
        raise (here / name).wrong(expected, f"no {name} in {sorted(features)!s:.200}")
    values = features[name]
    good = len(values) == 1 and isinstance(values[0], kinds)
    (here / name).need(good, f"one {'byte string' if bytes in kinds else 'number'}", values)
    return values[0]


def _text(features: dict[str, list[Any]], name: str, here: Place) -> str:
    data: bytes = _one(features, name, (bytes,), here)
    try:
        return text_of(data.decode(), here / name)
    except UnicodeDecodeError as error:
        raise (here / name).wrong("text in UTF-8", show(data)) from error


def _record(
    here: Place, data: bytes, files: Mapping[str, list[Path]] | None, prompts: Mapping[str, str] | None, scale: Scale,
    size: Size | None,
) -> Record:  # fmt: skip
    features = parse_example(data, here)
    name = stem(_text(features, NAME, here))
    (here / NAME).need(name, "the name of a picture", name)
    here = Place(here.path, f"{here.where} ({name:.40})")
    scores = {kind: scale(_one(features, FIELDS[kind], NUMBER, here), here / FIELDS[kind]) for kind in SCORES}
    maps = {}
    for kind in MAPS:
        data = _one(features, FIELDS[kind], (bytes,), here)
        with (here / FIELDS[kind]).around():
            maps[kind] = decode_map(here.path, data)
    labels = _text(features, LABELS, here).split()
    (here / LABELS).need({"0", "1"}.issuperset(labels), "0 and 1 with spaces between", " ".join(labels))
    prompt, misaligned, picture = "", np.zeros(0, np.float32), None
    if prompts is not None:
        if name not in prompts:
            raise (here / "prompt").wrong(f"one for this picture, among {len(prompts):,}", "none")
        prompt = prompts[name]
        one_per_word(labels, prompt, here / LABELS)
        misaligned = np.array([label == "0" for label in labels], np.float32)
    if files is not None:
        advice = "RichHF-18K has no pictures: they are Pick-a-Pic's, by id; `skips` (--skip-damaged) leaves out what you lack"
        picture = one_file(files, name, here / "picture", f"one file {name:.60}.png, .jpg, ...", advice)
    return make_record(here, name, prompt, scores, maps, misaligned, picture, size)


# ------------------------------------------------------------------------------------------------------------- writing


def write_richhf(path: str | Path, records: Iterable[Record], pictures: str | Path | None = None) -> int:
    """Write records as RichHF-18K has them, the file whole or not at all; returns how many.

    Scores keep 32 bits, maps become grey PNGs (rounded to 1/255), and a word is labelled misaligned where more than half of the
    panel says so. With `pictures`, NAME.png and NAME.txt (the prompt) go to that folder, where `read_richhf` finds them.

    Raises:
        ValueError: a record without one of the four scores or two maps, values out of 0..1, labels that do not fit the
            prompt, a name that is there twice or is no plain file name; with `pictures`, a record without one.
    """
    return write_records(Path(path), _examples(records, None if pictures is None else Path(pictures)))


def _examples(records: Iterable[Record], pictures: Path | None) -> Iterator[bytes]:
    seen = set[str]()
    for record in records:
        said, name = record.feedback, composed(record.name)

        def check(fits: Any, what: str, name: str = name) -> None:
            if not fits:
                raise ValueError(f"write_richhf: record {show(name)}: {what}")

        plain = name == stem(name + ".png") and name[:1] not in ("", ".") and "\0" not in name
        check(plain, "the name must be that of a file, without folder and ending")
        check(name not in seen, "the name is there twice")
        seen.add(name)
        features: dict[str, bytes | float] = {NAME: f"{name}.png".encode()}
        for kind in SCORES:
            check(0 <= said.scores.get(kind, -1) <= 1, f"needs a score of {kind} in 0..1")
            features[FIELDS[kind]] = float(said.scores[kind])
        for kind in MAPS:
            values = np.asarray(said.maps.get(kind, ()), np.float32)
            check(values.ndim == 2 and values.size, f"needs a map of {kind}, (H, W)")
            check(values.min() >= 0 and values.max() <= 1, f"the map of {kind} leaves 0..1")
            features[FIELDS[kind]] = encode_map(values)
        n = len(words(record.prompt))
        check(len(said.misaligned) == n, f"{len(said.misaligned)} labels for a prompt of {n} words")
        check(all(0 <= x <= 1 for x in said.misaligned), "labels of words leave 0..1")
        features[LABELS] = " ".join("0" if x > 0.5 else "1" for x in said.misaligned).encode()
        if pictures is not None:
            check(record.picture is not None, "has no picture to write")
            picture = np.asarray(record.picture)
            check(
                picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3,
                "wants uint8 (H, W, 3) as picture",
            )
            write_file(pictures / f"{name}.png", png_bytes(picture))
            write_file(pictures / f"{name}.txt", record.prompt.encode())
        yield example_bytes({name: features[name] for name in (NAME, *FIELDS.values(), LABELS)})
