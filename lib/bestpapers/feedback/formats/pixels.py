"""What a file of feedback gives when read, and the one place where a `Record` is made: sizes agree there, or are made to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ...lab.maps import Map
from ...lab.pictures import MAX_PIXELS, read_picture, resize
from ...lab.places import Place
from ..record import Feedback, Record

Size = tuple[int, int]  # height, width


@dataclass(frozen=True)
class Reading:
    """Feedback that lies in a file. Iterate to read it record by record, as often as you like; nothing is kept.

    layout  which of the layouts it is
    said    a sentence on what was found and how it is understood
    count   whole records in the file; with `skips`, fewer come if some lack what they need
    """

    layout: str
    said: str
    count: int
    start: Callable[[], Iterator[Record]] = field(repr=False)

    def __iter__(self) -> Iterator[Record]:
        return self.start()

    def __len__(self) -> int:
        return self.count


# -------------------------------------------------------------------------------------------------------------- records


def check_size(size: Size | None) -> None:
    if size is not None and not (len(size) == 2 and min(size) > 0 and size[0] * size[1] <= MAX_PIXELS):
        raise ValueError(f"size must be (height, width) with at most {MAX_PIXELS:,} pixels, got {size!r}")


def make_record(
    here: Place, name: str, prompt: str, scores: dict[str, float], maps: dict[str, Map], misaligned: Map,
    picture: Path | None, size: Size | None,
) -> Record:  # fmt: skip
    """A record whose picture and maps have one size: `size`, else the picture's, else that of the maps.

    Without `size`, maps must have the picture's proportions; with it, all is pressed into it.
    """
    shapes = {kind: values.shape for kind, values in maps.items()}
    if len(set(shapes.values())) > 1:
        raise (here / "maps").wrong("maps of one size", f"{shapes}")
    pixels = None
    if picture is not None:
        with (here / f"picture {picture.name:.60}").around():
            pixels = read_picture(picture)
        for kind, (h, w) in shapes.items() if size is None else ():
            height, width = pixels.shape[:2]
            if abs(h * width - w * height) > max(h, w, height, width):  # more than rounding to whole pixels
                expected = f"the proportions of the picture, {width} x {height}"
                advice = "read with size=(height, width), which presses both into one size, if they belong together"
                raise (here / kind).wrong(expected, f"a map of {w} x {h}", advice)
        size = size or (pixels.shape[0], pixels.shape[1])
        pixels = resize(pixels, size)
    if size is not None:
        maps = {kind: resize(values, size) for kind, values in maps.items()}
    return Record(name, prompt, Feedback(scores, maps, misaligned), pixels)
