"""Feedback in a table beside the pictures: what people make of RichHF-18K's files, and how newer public sets come.

A folder holds metadata.csv, metadata.jsonl or metadata.json (a list of objects, or an object of them by file name), a row to
a picture. `COLUMNS` says which names of columns are understood: ours, those of RichHF-18K, and those of sets in the manner of
Rapidata's, whose maps are float16 and whose words come in pairs of word and score, with the answer "[No_mistakes]" among
them. A map is the name of a file (grey picture, .npy, .safetensors) or the numbers themselves, in rows.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ...lab.files import FormatError, Skips, check_file, inside, parse_json, read_file, show
from ...lab.maps import Map, as_map, read_map
from ...lab.pictures import listing, stem
from ...lab.places import Place
from ...lab.tables import ENDINGS, MAX_TEXT, number_of, read_rows, text_of, utf8
from ..record import LIKERT, MAPS, SCORES, Record, words
from .pixels import Reading, Size, check_size, make_record

NO_MISTAKES = "[No_mistakes]"
COLUMNS = {  # of several in a table the first counts
    "picture": ("file_name", "filename", "filepath", "picture", "image", "image_name"),
    "prompt": ("prompt", "caption", "sentence"),
    "plausibility": ("plausibility", "plausibility_score", "artifact_score", "coherence_score_norm", "coherence_score"),
    "aesthetics": ("aesthetics", "aesthetics_score", "style_score_norm", "style_score"),
    "alignment": ("alignment", "misalignment_score", "alignment_score_norm", "alignment_score"),
    "overall": ("overall", "overall_score"),
    "implausibility": ("implausibility", "implausibility_map", "artifact_map", "artifact_heatmap", "coherence_heatmap"),
    "misalignment": ("misalignment", "misalignment_map", "misalignment_heatmap", "alignment_heatmap"),
    "words": ("misaligned", "misaligned_words", "prompt_misalignment_label", "misalignment_token_label", "word_scores"),
}
NAMED = ("file_name", "prompt")  # columns of a .json that is an object by name
NAMES = ("uid", "image_uid", "name", *COLUMNS["picture"], "image_0_uid", "image_1_uid")  # of tables of prompts


# -------------------------------------------------------------------------------------------- what all formats agree on


def one_per_word(values: Sequence[Any], prompt: str, here: Place) -> None:
    """FormatError unless there are as many values as the prompt has words: else all labels after the fault are wrong ones."""
    n = len(words(prompt))
    if len(values) != n:
        advice = (
            'words end at , . ? ! " : ; and space alone; is it its own prompt? `skips` (--skip-damaged) leaves such out'
        )
        raise here.wrong(f"{n} labels, one for each word of {show(prompt)}", f"{len(values)}", advice)


class Scale:
    """Scores of a file as 0..1. "auto" looks at all of them first: within 0..1 they are taken as they are; within 1..5, as
    Likert's answers, (s - 1) / 4, and a warning says so; a file with both is refused. "unit" and "likert" say it beforehand."""

    def __init__(self, path: Path, scale: str, scores: Sequence[float]) -> None:
        if scale not in ("auto", "unit", "likert"):
            raise ValueError(f'scale must be "auto", "unit" or "likert", got {scale!r}')
        low, high = min(scores, default=0.0), max(scores, default=0.0)
        self.likert = scale == "likert" or (scale == "auto" and low >= 1 and high > 1)
        self.low, self.high = (1, LIKERT) if self.likert else (0, 1)
        how = "read as answers 1 to 5: (s - 1) / 4" if self.likert else "taken as they are"
        self.said = f"scores from {low:.4g} to {high:.4g}, {how}"
        if scale == "auto" and not self.low <= low <= high <= self.high:
            advice = "say which by `scale` (--scale), and leave out what does not fit by `skips` (--skip-damaged)"
            raise Place(path, "scores").wrong("all in 0..1 or all in 1..5", f"{low:.4g} to {high:.4g}", advice)
        if scale == "auto" and self.likert:
            warnings.warn(f"{path}: {self.said}", stacklevel=4)

    def __call__(self, value: Any, here: Place) -> float:
        score = number_of(value, here)
        here.need(self.low <= score <= self.high, f"a score from {self.low} to {self.high}", score)
        return (score - self.low) / (self.high - self.low)


def guarded(
    items: Iterator[tuple[Place, Any]], make: Callable[[Place, Any], Record], skips: Skips | None
) -> Iterator[Record]:
    """The records that are made of items, each name once; what is damaged raises, or is counted."""
    seen = set[str]()
    for here, item in items:
        try:
            record = make(here, item)
            here.need(record.name not in seen, "each picture once", record.name)
        except FormatError as error:
            if skips is None:
                raise
            skips.add(error)
        else:
            seen.add(record.name)
            yield record


def prompt_tables(folder: Path) -> list[Path]:
    """The tables of prompts in a folder, by their names."""
    return [path for path in (folder / f"prompts{ending}" for ending in ENDINGS) if path.is_file()]


def prompts_from(*sources: str | Path | Mapping[str, str]) -> tuple[dict[str, str], str]:
    """({picture's name: prompt}, words on it) of mappings, of tables, and of folders with `prompt_tables` and NAME.txt in them.

    A table's columns: one or more of `NAMES` (with Pick-a-Pic's image_0_uid and image_1_uid), and one of prompt, caption.
    FormatError names both places where a picture has two prompts that differ.
    """
    found, used = dict[str, tuple[str, Place]](), dict[str, None]()
    for source in sources:
        for here, name, prompt in _prompts(source):
            used["a dictionary" if isinstance(source, Mapping) else Path(source).name] = None
            old, there = found.setdefault(stem(name), (prompt, here))
            if old != prompt:
                expected = f"one prompt of {show(name)}: {show(old)}, as in {there.path}, {there.where}"
                raise here.wrong(expected, show(prompt), "take the wrong one away; names count without their endings")
    said = f"{len(found):,} prompts" + (f" from {', '.join(used)}" if used else "")
    return {name: prompt for name, (prompt, _) in found.items()}, said


def _prompts(source: str | Path | Mapping[str, str]) -> Iterator[tuple[Place, str, str]]:
    """(where it stands, name, prompt) of all in a source."""
    if isinstance(source, Mapping):
        yield from ((Place(Path("prompts"), show(name)), name, prompt) for name, prompt in source.items())
        return
    source = Path(source)
    if source.is_dir():
        for table in prompt_tables(source):
            yield from _prompts(table)
        for file in (file for files in listing(source, (".txt",)).values() for file in files):
            here = Place(file, "prompt")
            yield here, file.name, text_of(utf8(file, read_file(file, 4 * MAX_TEXT)).strip("\r\n"), here)
        return
    if source.suffix.lower() not in ENDINGS:
        check_file(source)
        raise Place(source).wrong(f"prompts: a folder of .txt, or a table ({', '.join(ENDINGS)})", "something else")
    for here, row in read_rows(source, NAMED):
        column = next((name for name in COLUMNS["prompt"] if name in row), None)
        names = [text_of(row[name], here / name) for name in NAMES if row.get(name)]
        if column is None or not names:
            expected = f"a name ({', '.join(NAMES)}) and a prompt ({', '.join(COLUMNS['prompt'])})"
            raise here.wrong(expected, f"{list(row)!s:.200}")
        yield from ((here, name, text_of(row[column], here / column)) for name in names)


# ---------------------------------------------------------------------------------------------------- tables of feedback


def read_table(
    path: str | Path, *, size: Size | None = None, scale: str = "auto", skips: Skips | None = None
) -> Reading:
    """Feedback in a table (.csv, .jsonl, .json) beside its pictures; the head of this module says what may stand in it.

    size, scale, skips: see `read`; damage to the table itself always raises. A score, map or list of words that is missing,
    empty or null is left out; a map of nothing but nulls too. Scores of words ("word_scores") are 0..1 already, or, if one is
    above 1 or "[No_mistakes]" is among the answers, are divided by the largest: the answer that most people gave counts 1
    (ours; the sets name no scale).
    """
    path = Path(path)
    check_size(size)
    scores, used, count = list[float](), dict[str, dict[str, None]](), 0
    for here, row in read_rows(path, NAMED):
        count += 1
        for part, column in _columns(row).items():
            used.setdefault(part, {})[column] = None
            with contextlib.suppress(FormatError):  # whoever reads that row is told
                scores += [number_of(row[column], here)] if part in SCORES else []
        scores = [min(scores), max(scores)] if scores else []
    columns = "; ".join(f"{part} from {', '.join(names)}" for part, names in used.items())
    if not {"picture", "prompt"} <= used.keys() or used.keys() <= {"picture", "prompt"}:
        known = "; ".join(f"{part} ({', '.join(names)})" for part, names in COLUMNS.items())
        found = columns or f"none of these in {count} rows"
        raise Place(path, "columns").wrong(f"a picture, a prompt, and something said of them: {known}", found)
    scaled = Scale(path, scale, scores)
    pairs = any("word_scores" in names or any("heatmap" in name for name in names) for names in used.values())
    layout = "table of word scores and heatmaps" if pairs else "table"
    said = f"{path.name}: a {layout}, {count:,} rows; {columns}; {scaled.said}"

    make = partial(_record, scale=scaled, size=size)
    return Reading(layout, said, count, lambda: guarded(read_rows(path, NAMED), make, skips))


def _columns(row: Mapping[str, Any]) -> dict[str, str]:
    """{part of a record: the column that says it in this row}."""
    found = {part: [n for n in names if row.get(n) not in (None, "", [])] for part, names in COLUMNS.items()}
    return {part: names[0] for part, names in found.items() if names}


def _record(here: Place, row: dict[str, Any], scale: Scale, size: Size | None) -> Record:
    found = _columns(row)
    here.need("picture" in found, f"a picture ({', '.join(COLUMNS['picture'])})", list(row))
    picture = inside(here.path.parent, row[found["picture"]], here.path, (here / found["picture"]).where)
    name = stem(picture.name)
    here = Place(here.path, f"{here.where} ({name:.40})")
    prompt = text_of(next((row[c] for c in COLUMNS["prompt"] if c in row), None), here / "prompt")
    prompt = prompt.replace(NO_MISTAKES, "").strip(" ")
    given = {part: (row[column], here / column) for part, column in found.items()}
    scores = {kind: scale(*given[kind]) for kind in SCORES if kind in given}
    maps = {kind: _map(*given[kind], (kind, found[kind])) for kind in MAPS if kind in given}
    misaligned = _misaligned(*given["words"], found["words"], prompt) if "words" in given else np.zeros(0, np.float32)
    there = {kind: values for kind, values in maps.items() if values is not None}
    return make_record(here, name, prompt, scores, there, misaligned, picture, size)


def _list(value: Any, here: Place) -> Any:
    """A list that a text holds as JSON, or the value as it is."""
    if not isinstance(value, str) or value.lstrip()[:1] != "[":
        return value
    with here.around():
        return parse_json(value.encode("utf-8", "replace"), here.path, list)


def _map(value: Any, here: Place, names: tuple[str, ...]) -> Map | None:
    value = _list(value, here)
    if isinstance(value, str):
        file = inside(here.path.parent, value, here.path, here.where)
        with (here / f"{file.name:.60}").around():
            return read_map(file, names)
    good = isinstance(value, list) and all(isinstance(row, list) and len(row) == len(value[0]) for row in value)
    kinds = {type(item) for row in value for item in row} if good else set()
    if kinds == {type(None)}:
        return None
    if kinds == {str}:
        value = [[number_of(item, here) for item in row] for row in value]
    numbers = kinds == {str} or (kinds and kinds <= {int, float, bool})
    here.need(numbers, "a file, or numbers in rows of one length", value)
    return as_map(value, here)


def _misaligned(value: Any, here: Place, column: str, prompt: str) -> Map:
    """How misaligned each word of the prompt is, 0..1, as a column of words says it."""
    value = _list(value, here)
    if isinstance(value, str):
        value = list(words(value)) if column == "misaligned_words" else value.split()
    here.need(isinstance(value, list), "a list", value)
    wanted = words(prompt)
    if column == "misaligned_words":
        marked = {word for item in value for word in words(text_of(item, here))}
        here.need(marked <= set(wanted), f"words of {show(prompt)}", sorted(marked - set(wanted))[:1])
        return np.array([word in marked for word in wanted], np.float32)
    if column == "word_scores":
        return _pairs(value, here, prompt)
    one_per_word(value, prompt, here)
    numbers = np.array([number_of(int(x) if isinstance(x, bool) else x, here) for x in value], np.float32)
    here.need(((numbers >= 0) & (numbers <= 1)).all(), "numbers from 0 to 1", value)
    return 1 - numbers if "label" in column else numbers


def _pairs(pairs: Sequence[Any], here: Place, prompt: str) -> Map:
    """Pairs of word and score. Such sets split at spaces alone, so that a word of theirs may hold several of ours, or none."""
    found, scores, votes = list[str](), list[float](), list[float]()
    for pair in pairs:
        here.need(isinstance(pair, list) and len(pair) == 2, "pairs of word and score", pair)
        votes.append(number_of(pair[1], here))
        here.need(votes[-1] >= 0, "scores of 0 or more", votes[-1])
        if pair[0] != NO_MISTAKES:
            parts = words(text_of(pair[0], here))
            found += parts
            scores += votes[-1:] * len(parts)
    here.need(tuple(found) == words(prompt), f"the words of {show(prompt)}", " ".join(found))
    top = max(votes, default=0) or 1.0
    unit = top <= 1 and all(pair[0] != NO_MISTAKES for pair in pairs)
    return np.array(scores, np.float32) / np.float32(1 if unit else top)
