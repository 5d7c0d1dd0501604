"""Feedback in a table beside the pictures: what people make of RichHF-18K's files, and how newer public sets come.

A folder holds metadata.csv, metadata.jsonl or metadata.json (a list of objects, or an object of them by file name), a row to
a picture. `COLUMNS` says which names of columns are understood: ours, those of RichHF-18K, and those of sets in the manner of
Rapidata's, whose maps are float16 and whose words come in pairs of word and score, with the answer "[No_mistakes]" among
them. A map is the name of a file (grey picture, .npy, .safetensors) or the numbers themselves, in rows.
"""

from __future__ import annotations

import csv
import io
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...lab.files import BoundedFile, FormatError, Skips, inside, parse_json, read_file, show
from ..record import LIKERT, MAPS, SCORES, Record, words
from .pixels import Map, Reading, Size, check_size, checked, make_record, placed, read_map, stem
from .tfrecords import refuse_pointer

ENDINGS = (".csv", ".jsonl", ".json")
MAX_TABLE = 64 << 20  # bytes of a .csv or .json, and of a line of .jsonl
MAX_TEXT = 10_000  # characters of a prompt
NO_MISTAKES = "[No_mistakes]"
COLUMNS = {  # capital letters and spaces in a table's names are read as small ones and "_"; of several the first counts
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
NAMES = ("uid", "image_uid", "name", *COLUMNS["picture"], "image_0_uid", "image_1_uid")  # of tables of prompts


# ----------------------------------------------------------------------------------------------------------- any table


def read_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(where it stands, {column: value}) of each row of a .csv, .json or .jsonl; of .jsonl a line in memory at a time."""
    ending = path.suffix.lower()
    if ending == ".jsonl":
        yield from _lines(path)
        return
    data = read_file(path, MAX_TABLE)
    refuse_pointer(path, data)
    if ending == ".csv":
        yield from _csv(path, data)
        return
    table = parse_json(data, path, list if data.lstrip()[:1] == b"[" else dict)
    if isinstance(table, dict):  # by file name
        table = [
            {"file_name": name} | (row if isinstance(row, dict) else {"prompt": row}) for name, row in table.items()
        ]
    for number, row in enumerate(table, 1):
        if not isinstance(row, dict):
            raise FormatError(path, f"row {number}", "a JSON object", show(row))
        yield f"row {number}", _tidy(row)


def _tidy(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name.strip().lower().replace(" ", "_"): value for name, value in row.items()}


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        with io.BufferedReader(BoundedFile(path)) as file:
            for number, line in enumerate(iter(lambda: file.readline(MAX_TABLE + 1), b""), 1):
                if number == 1:
                    refuse_pointer(path, line + b"\n" + file.peek(200))
                if len(line) > MAX_TABLE:
                    raise FormatError(path, f"line {number}", f"at most {MAX_TABLE:,} bytes", "more")
                if line.strip():
                    with placed(path, f"line {number}"):
                        row = _tidy(parse_json(line, path))
                    yield f"line {number}", row
    except (OSError, ValueError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(path, "file", "a file that can be read", str(error)[:200]) from error


def _csv(path: Path, data: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(path, "file", "text in UTF-8", str(error)[:100], "save the table as UTF-8") from error
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(rows, [])
        names = list(_tidy(dict.fromkeys(header)))
        if not names or len(names) < len(header):
            advice = "separate columns with commas" if ";" in text[:1000].split("\n")[0] else ""
            raise FormatError(path, "line 1", "names of columns, each once", show(header), advice)
        for row in rows:
            where = f"line {rows.line_num}"
            if row and len(row) != len(names):
                raise FormatError(
                    path, where, f"{len(names)} values", f"{len(row)}", "quote text that has commas in it"
                )
            if row:
                yield where, dict(zip(names, row))
    except csv.Error as error:
        raise FormatError(path, f"line {rows.line_num}", "comma-separated values", str(error)[:100]) from error


def text_of(value: Any, path: Path, where: str) -> str:
    """A text that can be kept: a string of sensible length, without half characters."""
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        found = f"one of {len(value):,}" if isinstance(value, str) else show(value)
        raise FormatError(path, where, f"a text of at most {MAX_TEXT:,} characters", found)
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        raise FormatError(path, where, "a text in Unicode", f"half a character in {show(value)}")
    return value


def number_of(value: Any, path: Path, where: str) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise FormatError(path, where, "a number", show(value))
    return number


# -------------------------------------------------------------------------------------------- what all formats agree on


def one_per_word(values: Sequence[Any], prompt: str, path: Path, where: str) -> None:
    """FormatError unless there are as many values as the prompt has words: else all labels after the fault are wrong ones."""
    n = len(words(prompt))
    if len(values) != n:
        advice = (
            "words end at , . ? ! \" : ; and space alone; is it this picture's prompt? `skips` leaves such records out"
        )
        raise FormatError(path, where, f"{n} labels, one for each word of {show(prompt)}", f"{len(values)}", advice)


class Scale:
    """Scores of a file as 0..1. "auto" looks at all of them first: within 0..1 they are taken as they are; within 1..5, as
    Likert's answers, (s - 1) / 4, and a warning says so; a file with both is refused. "unit" and "likert" say it beforehand."""

    def __init__(self, path: Path, scale: str, scores: Sequence[float]) -> None:
        if scale not in ("auto", "unit", "likert"):
            raise ValueError(f'scale must be "auto", "unit" or "likert", got {scale!r}')
        self.path, self.likert, self.said = path, scale == "likert", f"scores read as {scale} (asked for)"
        if scale == "auto":
            low, high = min(scores, default=0.0), max(scores, default=0.0)
            self.likert = low >= 1 and high > 1
            self.said = f"scores from {low:.4g} to {high:.4g}, " + (
                "read as answers 1 to 5: (s - 1) / 4" if self.likert else "taken as they are"
            )
            if low < 0 or high > (LIKERT if self.likert else 1):
                advice = 'or say scale="unit" or "likert", and leave out with `skips` what does not fit'
                raise FormatError(path, "scores", "all in 0..1 or all in 1..5", f"{low:.4g} to {high:.4g}", advice)
            if self.likert:
                warnings.warn(f"{path}: {self.said}", stacklevel=4)

    def __call__(self, score: float, where: str) -> float:
        low, high = (1, LIKERT) if self.likert else (0, 1)
        if not low <= score <= high:
            raise FormatError(self.path, where, f"a score from {low} to {high}", f"{score:.4g}")
        return (score - low) / (high - low)


def guarded(
    items: Iterator[tuple[str, Any]], make: Callable[[str, Any, set[str]], Record], skips: Skips | None
) -> Iterator[Record]:
    """The records that are made of items, each name once; what is damaged raises, or is counted."""
    seen = set[str]()  # `make` refuses names in it
    for where, item in items:
        try:
            record = make(where, item, seen)
        except FormatError as error:
            if skips is None:
                raise
            skips.add(error)
        else:
            seen.add(record.name)
            yield record


def new_name(text: str, seen: set[str], path: Path, where: str) -> str:
    name = stem(text)
    if not name or name in seen:
        raise FormatError(path, where, "a name, each once", f"{show(text)}{' again' if name else ''}")
    return name


def prompts_from(source: str | Path | Mapping[str, str]) -> tuple[Mapping[str, str], str]:
    """({picture's name: prompt}, words on it) of a mapping, of a folder of NAME.txt, or of a table.

    A table's columns: one or more of `NAMES` (with Pick-a-Pic's image_0_uid and image_1_uid), and one of prompt, caption.
    """
    if isinstance(source, Mapping):
        return {stem(name): prompt for name, prompt in source.items()}, f"{len(source):,} prompts given"
    source = Path(source)
    found = dict[str, str]()
    if source.is_dir():
        for file in sorted(source.rglob("*.txt")):
            try:
                text = read_file(file, 4 * MAX_TEXT).decode("utf-8-sig").strip("\r\n")
            except UnicodeDecodeError as error:
                raise FormatError(file, "file", "text in UTF-8", str(error)[:100]) from error
            found[stem(file.name)] = text_of(text, file, "prompt")
    elif source.suffix.lower() not in ENDINGS:
        raise FormatError(source, "prompts", f"a folder of .txt, or a table ({', '.join(ENDINGS)})", "something else")
    else:
        for where, row in read_rows(source):
            column = next((name for name in COLUMNS["prompt"] if name in row), None)
            names = [row[name] for name in NAMES if row.get(name)]
            if column is None or not names:
                expected = f"a name ({', '.join(NAMES)}) and a prompt ({', '.join(COLUMNS['prompt'])})"
                raise FormatError(source, where, expected, f"{list(row)!s:.200}")
            prompt = text_of(row[column], source, f"{where}, {column}")
            found |= {stem(text_of(name, source, where)): prompt for name in names}
    return found, f"{len(found):,} prompts from {source.name}"


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
    for _, row in read_rows(path):
        count += 1
        for part in COLUMNS:
            if (column := _column(row, part)) is not None:
                used.setdefault(part, {})[column] = None
                if part in SCORES:
                    try:
                        scores.append(number_of(row[column], path, ""))
                    except FormatError:  # whoever reads that row is told
                        continue
        scores = [min(scores), max(scores)] if scores else []
    if not {"picture", "prompt"} <= used.keys() or not used.keys() & {*SCORES, *MAPS, "words"}:
        expected = (
            f"a picture ({', '.join(COLUMNS['picture'])}), a prompt ({', '.join(COLUMNS['prompt'])}) and feedback, as "
        )
        raise FormatError(
            path, "columns", expected + ", ".join(COLUMNS[k][0] for k in (*SCORES, *MAPS, "words")),
            ", ".join(next(iter(used[k])) for k in used) or f"none of these in {count} rows",
        )  # fmt: skip
    scaled = Scale(path, scale, scores)
    pairs = "word_scores" in used.get("words", {}) or any("heatmap" in c for kind in MAPS for c in used.get(kind, {}))
    layout = "table of word scores and heatmaps" if pairs else "table"
    columns = "; ".join(f"{part} from {', '.join(names)}" for part, names in used.items())
    said = f"{path.name}: a {layout}, {count:,} rows; {columns}; {scaled.said}"

    def make(where: str, row: dict[str, Any], seen: set[str]) -> Record:
        return _record(path, where, row, seen, scaled, size)

    return Reading(layout, said, count, lambda: guarded(read_rows(path), make, skips))


def _column(row: Mapping[str, Any], part: str) -> str | None:
    """The column that says it in this row, if one does."""
    return next((name for name in COLUMNS[part] if row.get(name) not in (None, "", [])), None)


def _record(path: Path, where: str, row: dict[str, Any], seen: set[str], scale: Scale, size: Size | None) -> Record:
    found = {part: column for part in COLUMNS if (column := _column(row, part)) is not None}
    if "picture" not in found:
        raise FormatError(path, where, f"a picture ({', '.join(COLUMNS['picture'])})", f"{list(row)!s:.200}")
    picture = inside(path.parent, row[found["picture"]], path, f"{where}, {found['picture']}")
    name = new_name(picture.name, seen, path, where)
    where = f"{where} ({name:.40})"
    prompt = text_of(next((row[c] for c in COLUMNS["prompt"] if c in row), None), path, f"{where}, prompt")
    prompt = prompt.replace(NO_MISTAKES, "").strip(" ")
    scores = {
        kind: scale(number_of(row[c], path, f"{where}, {c}"), f"{where}, {c}")
        for kind in SCORES
        if (c := found.get(kind)) is not None
    }
    maps = dict[str, Map]()
    for kind in MAPS:
        if (column := found.get(kind)) is not None:
            values = _map(row[column], path, f"{where}, {column}", (kind, column))
            if values is not None:
                maps[kind] = values
    misaligned = np.zeros(0, np.float32)
    if (column := found.get("words")) is not None:
        misaligned = _misaligned(row[column], column, prompt, path, f"{where}, {column}")
    return make_record(path, where, name, prompt, scores, maps, misaligned, picture, size)


def _map(value: Any, path: Path, where: str, names: tuple[str, ...]) -> Map | None:
    if isinstance(value, str) and value.lstrip()[:1] == "[":
        with placed(path, where):
            value = parse_json(value.encode("utf-8", "replace"), path, list)
    if isinstance(value, str):
        file = inside(path.parent, value, path, where)
        with placed(path, f"{where}, {file.name:.60}"):
            return read_map(file, names)
    rows = value if isinstance(value, list) and all(isinstance(row, list) for row in value) else [[value]]
    kinds = {type(item) for row in rows for item in row}
    if kinds <= {type(None)}:
        return None
    if kinds == {str}:
        rows = [[number_of(item, path, where) for item in row] for row in rows]
    elif not kinds <= {int, float, bool}:
        raise FormatError(path, where, "the name of a file, or numbers in rows", show(value))
    if len({len(row) for row in rows}) > 1:
        raise FormatError(path, where, "rows of one length", "rows of several")
    return checked(rows, path, where)


def _misaligned(value: Any, column: str, prompt: str, path: Path, where: str) -> Map:
    """How misaligned each word of the prompt is, 0..1, as a column of words says it."""
    if isinstance(value, str):
        if value.lstrip()[:1] == "[":
            with placed(path, where):
                value = parse_json(value.encode("utf-8", "replace"), path, list)
        else:
            value = words(value) if column == "misaligned_words" else value.split()
    if not isinstance(value, list | tuple):
        raise FormatError(path, where, "a list", show(value))
    wanted = words(prompt)
    if column == "misaligned_words":
        marked = {word for item in value for word in words(text_of(item, path, where))}
        if marked - set(wanted):
            raise FormatError(path, where, f"words of {show(prompt)}", show(sorted(marked - set(wanted))[0]))
        return np.array([word in marked for word in wanted], np.float32)
    if column == "word_scores":
        return _pairs(value, prompt, path, where)
    one_per_word(value, prompt, path, where)
    numbers = [number_of(int(x) if isinstance(x, bool) else x, path, where) for x in value]
    if not all(0 <= x <= 1 for x in numbers):
        raise FormatError(path, where, "numbers from 0 to 1", show(value))
    return np.array([1 - x if "label" in column else x for x in numbers], np.float32)


def _pairs(value: Sequence[Any], prompt: str, path: Path, where: str) -> Map:
    """Pairs of word and score. Such sets split at spaces alone, so that a word of theirs may hold several of ours, or none."""
    found, scores, top, answered = list[str](), list[float](), 1.0, False
    for pair in value:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise FormatError(path, where, "pairs of word and score", show(pair))
        score = number_of(pair[1], path, where)
        if score < 0:
            raise FormatError(path, where, "scores of 0 or more", f"{score:g}")
        top = max(top, score)
        if pair[0] == NO_MISTAKES:
            answered, best = True, score
            continue
        parts = words(text_of(pair[0], path, where))
        found += parts
        scores += [score] * len(parts)
    if tuple(found) != words(prompt):
        raise FormatError(path, where, f"the words of {show(prompt)}", show(" ".join(found)))
    if answered:
        top = max(best, *scores, 1e-9)
    return np.array(scores, np.float32) / np.float32(top)
