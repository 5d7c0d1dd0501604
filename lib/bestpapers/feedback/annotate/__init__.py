"""The annotation page: one HTML file on which people mark what is wrong with the reader's own pictures.

It holds pictures, prompts and program, and needs no server and no network. What is marked is kept in the browser as it is
made, and downloaded as JSON (`formats.annotations`); the panel merges it (`python -m bestpapers.feedback merge`).
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...lab.cli import counted
from ...lab.files import FormatError, Skips, parse_json, read_file, show, write_file
from ...lab.pictures import SUFFIXES, for_browsers, listing
from ...lab.places import Place
from ..formats.annotations import FORMAT, MAX_EXPORT, MAX_POINTS, Annotated, read_annotations
from ..formats.tables import prompts_from
from ..panel import RADIUS
from ..record import LIKERT, MAPS, SCORES, Annotation, words

HERE = Path(__file__).parent
SCRIPTS, STYLE = ("answers.js", "page.js"), "page.css"
PAGES = (".html", ".htm")
MAX_PAGE = 256 << 20  # bytes of all pictures together

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
<main id="page"><p>This page collects answers with a script. It has not run: are scripts switched off here?</p></main>
<script type="application/json" id="task">{task}</script>
<script type="module">{script}</script>
</body>
</html>
"""


@dataclass(frozen=True)
class Shown:
    """A picture of the page.

    name  of its file, the last part without the ending
    size  height, width in pixels, upright
    data  its file, as every browser shows it
    """

    name: str
    prompt: str
    size: tuple[int, int]
    data: bytes
    type: str


def collect(folder: str | Path, prompts: str | Path | Mapping[str, str] | None = None) -> list[Shown]:
    """The pictures of a folder, and of the folders in it, by name, with their prompts.

    prompts  see `formats.read_richhf`: a table, a folder, or {name: prompt}. None: prompts.csv, .jsonl or .json in the folder,
             and NAME.txt. Each picture needs one; it may be empty

    Raises:
        FormatError: no pictures, two of one name, a prompt that is missing, a picture that is damaged or too large.
    """
    folder = Path(folder)
    files = listing(folder)
    here = Place(folder)
    (here / "pictures").need(files, f"at least one ({', '.join(SUFFIXES)})", None)
    known, said = prompts_from(folder if prompts is None else prompts)
    lacking = [name for name in files if name not in known]
    advice = "put NAME.txt beside NAME.png, or prompts.csv with the columns name and prompt, or give --prompts"
    if lacking:
        found = f"{said}, none for {lacking[0]!r:.60}"
        raise (here / "prompts").wrong(f"one for each of {counted(len(files), 'picture')}", found, advice)
    out, total = list[Shown](), 0
    for name in sorted(files):
        both = files[name]
        (here / "pictures").need(len(both) == 1, "names that differ", [p.name for p in both[:3]], "rename one of them")
        pixels, data, kind = for_browsers(both[0])
        out.append(Shown(name, known[name], (pixels.shape[0], pixels.shape[1]), data, kind))
        if (total := total + len(out[-1].data)) > MAX_PAGE:
            raise here.wrong(f"pictures of at most {MAX_PAGE:,} bytes together", "more", "make a page of each part")
    return out


def page(pictures: Sequence[Shown], title: str) -> str:
    """The page, HTML. Its content policy names its one script and its one style by their hashes: nothing else runs, whatever
    stands in prompts and names, and nothing is loaded from anywhere."""
    if not pictures or not title.strip():
        raise ValueError(f"annotation page: wants pictures and a title, got {len(pictures)} and {title!r}")
    about = [
        {"name": p.name, "prompt": p.prompt, "width": p.size[1], "height": p.size[0], "words": words(p.prompt)}
        for p in pictures
    ]
    # answers belong to pictures of these names, prompts and contents, wherever the file lies
    mark = hashlib.sha256(json.dumps(about).encode())
    for entry, p in zip(about, pictures, strict=True):
        mark.update(p.data)
        entry["source"] = f"data:{p.type};base64,{base64.b64encode(p.data).decode('ascii')}"
    task = dict(format=FORMAT, mark=mark.hexdigest()[:16], scores=SCORES, maps=MAPS, likert=LIKERT, radius=RADIUS)
    task |= dict(most=MAX_POINTS, pictures=about)
    style = (HERE / STYLE).read_text(encoding="utf-8")
    script = "\n".join((HERE / name).read_text(encoding="utf-8") for name in SCRIPTS)
    policy = f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; img-src data:; "
    return PAGE.format(
        policy=policy + "base-uri 'none'; form-action 'none'",
        title=html.escape(title),
        style=style,
        task=json.dumps(task).replace("<", r"\u003c"),  # no tag ends the script
        script=script,
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"


def write_page(path: str | Path, pictures: Sequence[Shown], title: str) -> None:
    """Write the page, whole or not at all. FormatError for another ending than those of `PAGES`."""
    path = Path(path)
    if path.suffix.lower() not in PAGES:
        raise FormatError(path, "name", f"an ending {' or '.join(PAGES)}", path.suffix or "none", "browsers go by it")
    write_file(path, page(pictures, title).encode())


# ----------------------------------------------------------------------------------------------------------- downloads


def read_downloads(paths: Iterable[str | Path], skips: Skips | None = None) -> tuple[list[Annotated], int]:
    """What `read_annotations` reads, of downloads that hold the same answers again: the page gives all that a browser knows, so
    a later one of a person holds what was in an earlier one. Of two answers of one person on one picture the one that was
    changed last counts; returns how many others are left out. Two that differ and do not say when are a fault."""
    pictures, older = dict[str, Annotated](), 0
    said = dict[
        str, dict[str, tuple[dict[str, Any], Annotation]]
    ]()  # by picture and person: as it lies in the file, as read
    for path in map(Path, paths):
        found = read_annotations(path, skips)
        for picture, raw in zip(found, parse_json(read_file(path, MAX_EXPORT), path)["pictures"], strict=True):
            here = Place(path, f"picture {show(picture.name)}")
            old = pictures.setdefault(picture.name, replace(picture, annotations=()))
            both = [f"{p.size[1]} x {p.size[0]}, {show(p.prompt)}" for p in (old, picture)]
            if (old.prompt, old.size) != (picture.prompt, picture.size):
                raise here.wrong(f"{both[0]}, as before", both[1])
            people = said.setdefault(picture.name, {})
            by_name = dict[str, dict[str, Any]]()
            for answer in raw["annotations"]:
                if isinstance(
                    answer, dict
                ):  # of a person who is there twice the first counts, as in `read_annotations`
                    by_name.setdefault(str(answer.get("annotator")), answer)
            for annotation in picture.annotations:
                who, now = annotation.annotator, by_name[annotation.annotator]
                was = people.setdefault(who, (now, annotation))[0]
                if now != was:
                    older += 1
                    advice = "give people names of their own, or leave out the older file"
                    here.need(_changed(now) != _changed(was), "one answer of each annotator", who, advice)
                    if _changed(now) > _changed(was):
                        people[who] = (now, annotation)
    whole = [
        replace(picture, annotations=tuple(annotation for _, annotation in said[name].values()))
        for name, picture in pictures.items()
    ]
    return whole, older


def _changed(answer: dict[str, Any]) -> float:
    """When an answer was changed, in milliseconds; 0 where it does not say."""
    when = answer.get("changed")
    return when if isinstance(when, int | float) and when == when else 0.0  # an int of 400 digits is no float
