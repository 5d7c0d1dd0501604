"""The real formats of the wing: read, check, write.

RichHF-18K    its TFRecord files, with pictures and prompts of Pick-a-Pic beside them; ours are written so too
Tables        a folder of pictures with metadata.csv, .jsonl or .json: scores, words, maps as pictures, arrays or numbers; the
              columns of newer public sets too (float16 heatmaps, pairs of word and score)
Annotations   what several people marked on the annotation page, before it is merged

Whatever a file holds, a reader returns a checked result or raises FormatError, which names the file, the field, what was
expected and what was found. Nothing is unpickled, memory is bounded, and a file names no other outside its folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ...lab.files import FormatError, Skips, check_file, read_file
from ...lab.pictures import SUFFIXES
from ...lab.tables import ENDINGS
from .annotations import FORMAT, MAX_EXPORT, Annotated, read_annotations, write_annotations
from .pixels import Reading, Size
from .richhf import read_richhf, write_richhf
from .tables import read_table

__all__ = [
    "Annotated", "FormatError", "Reading", "Skips", "read", "read_annotations", "read_richhf", "read_table",
    "write_annotations", "write_richhf",
]  # fmt: skip

TABLES = "*.tfrecord (RichHF-18K); metadata.csv, metadata.jsonl or metadata.json (a table of pictures)"
LAYOUTS = f"{TABLES}; or annotations.json (of the annotation page)"


def read(
    path: str | Path, pictures: str | Path | None = None, prompts: str | Path | Mapping[str, str] | None = None, *,
    size: Size | None = None, scale: str = "auto", skips: Skips | None = None,
) -> Reading:  # fmt: skip
    """Find out which layout lies at a path, a file or a folder, and read it. `Reading.said` says what was found.

    pictures  of RichHF-18K, see `read_richhf`. None: a folder `pictures` or `images` beside the file, else those beside it
    prompts   likewise. None: prompts.csv, .jsonl or .json beside the file, and what lies in the folder of pictures
    size      height, width of pictures and maps, whatever they were. None: each picture's own, and the maps follow it
    scale     of scores: "unit" (0..1), "likert" (1..5), or "auto", which looks at all of them and warns if they are 1..5
    skips     counts records that are damaged, or lack their picture or prompt, and leaves them out; None: such a one raises

    Raises:
        FormatError: nothing that is known, or several of it; whatever is wrong in there.
    """
    path = Path(path)
    file = _find(path) if path.is_dir() else path
    check_file(file)
    folder, ending = file.parent, file.suffix.lower()
    if ending == ".json" and FORMAT.encode() in read_file(file, MAX_EXPORT)[:200]:
        advice = (
            "merge them first: `python -m bestpapers.feedback merge`, or read_annotations, panel.merge, write_richhf"
        )
        raise FormatError(file, "format", f"merged feedback: {TABLES}", "annotations", advice)
    if ending in ENDINGS:
        return read_table(file, size=size, scale=scale, skips=skips)
    if ".tfrecord" not in file.name.lower():  # .tfrecords and .tfrecord-00000-of-00001 too
        raise FormatError(path, "format", LAYOUTS, "a file of another kind")
    if pictures is None:
        pictures = next((folder / name for name in ("pictures", "images") if (folder / name).is_dir()), None)
    if pictures is None and any(p.suffix.lower() in SUFFIXES for p in folder.iterdir()):
        pictures = folder
    return read_richhf(file, pictures, prompts, size=size, scale=scale, skips=skips)


def _find(folder: Path) -> Path:
    """The file in a folder that says which layout it is."""
    names = sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))  # what a system or a program hides
    known = [name for name in names if ".tfrecord" in name.lower()]
    known = known or [name for name in (f"metadata{ending}" for ending in ENDINGS) if name in names]
    known = known or [name for name in names if name == "annotations.json"]
    if len(known) == 1:
        return folder / known[0]
    if known:
        found, advice = ", ".join(known[:8]), "give the path of the one that you mean"
        raise FormatError(folder, "format", "one file to read", found, advice)
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    found = ", ".join(name[:60] for name in names[:8]) + more if names else "an empty folder"
    raise FormatError(folder, "format", LAYOUTS, found, "give the folder that directly holds one of these, or the file")
