"""Shards as TreeOfLife-10M has them: tar files of the webdataset library, an image and ten texts to a sample.

A sample is the files with one key: KEY.jpg, KEY.com.txt, KEY.taxon_com.txt, ... A shard is called shard-000000.tar and so
on, and sizes.json beside the shards says how many samples each of them holds, as open_clip wants to know.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import re
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ...lab.files import BoundedFile, FormatError, Skips, atomic_write, show, write_file
from ..taxa import Taxon
from ..taxonomy import TEXT_TYPES, captions, names
from .photos import decode, upright

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

PATTERN = "shard-%06d.tar"
SIZES = "sizes.json"
MIXED, PER_SAMPLE = "mixed", "mixed per sample"
IMAGES = ("jpg", "jpeg", "png", "webp")  # endings of a sample's image
MAX_FILE = 64 << 20  # bytes of one file in a shard
MAX_TEXT = 10_000  # bytes
BLOCK = 512  # bytes; all in a tar is made of blocks


@dataclass(frozen=True)
class Sample:
    """key: the TreeOfLife id; image: RGB; texts: {text type: caption}."""

    key: str
    image: Image
    texts: dict[str, str]


@dataclass(frozen=True)
class Batch:
    """Samples of one training step, with the caption that was chosen for each and its type."""

    step: int
    keys: tuple[str, ...]
    images: tuple[Image, ...]
    types: tuple[str, ...]
    captions: tuple[str, ...]


# ------------------------------------------------------------------------------------------------------------- writing


def write_shards(
    folder: str | Path,
    samples: Iterable[tuple[str, Image | NDArray[np.uint8], Taxon]],
    *,
    size: int | None = 224,
    maxcount: int = 100_000,
    maxsize: float = 3e9,
    txt: str | None = None,
) -> dict[str, int]:
    """Write (key, image, cleaned taxon) triples to new shards in `folder`; returns {shard: samples}, which is sizes.json.

    image: Pillow's, or uint8 [H, W, 3]. It is squashed to size x size pixels, as the authors do; size=None leaves it.
    A shard is closed once it has `maxcount` samples or `maxsize` bytes. sizes.json is written last: a folder that has it
    is whole. Equal samples give equal files.

    txt: a text type, such as "taxon_com", to write as KEY.txt too. open_clip itself reads no other text; the authors' fork
    of it reads the ten.
    """
    import webdataset

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if old := [p.name for p in [*sorted(folder.glob("shard-*.tar")), folder / SIZES] if p.exists()]:
        raise ValueError(f"write_shards: {folder} holds {old[0]} already; give a folder without shards")
    if txt not in (None, *TEXT_TYPES):
        raise ValueError(f"write_shards: txt must be one of {', '.join(TEXT_TYPES)}, got {txt!r}")
    encoded = _encode(samples, size, txt)
    if (first := next(encoded, None)) is None:
        raise ValueError("write_shards: no samples")
    sizes: dict[str, int] = {}
    with contextlib.ExitStack() as shard:  # the one that is being written

        def opener(name: str) -> Any:
            return shard.enter_context(shard.enter_context(atomic_write(Path(name))).open("wb"))

        def post(name: str) -> None:
            shard.close()
            sizes[Path(name).name] = writer.count

        pattern = str(folder).replace("%", "%%") + "/" + PATTERN
        writer = webdataset.ShardWriter(
            pattern, maxcount, maxsize, post=post, verbose=0, opener=opener, encoder=False, mtime=0
        )
        try:
            for sample in chain([first], encoded):
                writer.write(sample)
            writer.close()
        except BaseException:
            with contextlib.suppress(Exception):  # a full disk would raise again
                writer.tarstream.close()
            raise
    write_file(folder / SIZES, json.dumps(sizes, indent=1).encode())
    return sizes


def _encode(samples: Iterable[tuple[str, Any, Taxon]], size: int | None, txt: str | None) -> Iterator[dict[str, Any]]:
    """Samples as webdataset's writer takes them."""
    keys: set[str] = set()
    for key, image, taxon in samples:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", key):  # a point would end the key, a slash begin a folder
            raise ValueError(f"write_shards: a key is 1 to 64 letters, digits, - or _, got {key!r:.100}")
        if key in keys:
            raise ValueError(f"write_shards: key {key} twice")
        keys.add(key)
        texts = {f"{name}.txt": text.encode() for name, text in (names(taxon) | captions(taxon)).items()}
        if txt is not None:
            texts["txt"] = texts[f"{txt}.txt"]
        yield {"__key__": key, "jpg": _jpeg(image, size), **texts}


def _jpeg(image: Any, size: int | None) -> bytes:
    from PIL import Image

    pixels = image if isinstance(image, Image.Image) else Image.fromarray(image)
    pixels = upright(pixels)
    if size is not None:
        pixels = pixels.resize((size, size), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    pixels.save(file, "JPEG", quality=95)
    return file.getvalue()


# ------------------------------------------------------------------------------------------------------------- reading


def find_shards(source: str | Path | Sequence[str | Path]) -> list[Path]:
    """The shards that are meant: a folder's *.tar in order of name, one, a list, or text like "shard-{000000..000165}.tar".

    Raises FormatError if there is none or one of them is missing.
    """
    import braceexpand

    if isinstance(source, str | Path):
        folder = Path(source)
        if folder.is_dir():
            shards = sorted(folder.glob("*.tar"))
            if not shards:
                raise FormatError(folder, "shards", "files ending in .tar", "none")
            return shards
        source = list(braceexpand.braceexpand(str(source)))
    shards = [Path(shard) for shard in source]
    for shard in shards:
        if not shard.is_file():
            raise FormatError(shard, "shard", "a tar file", "a folder" if shard.is_dir() else "nothing of that name")
    return shards


def read_shards(
    source: str | Path | Sequence[str | Path],
    texts: Sequence[str] = TEXT_TYPES,
    *,
    shuffle: int = 0,
    seed: int = 0,
    skips: Skips | None = None,
) -> Iterator[Sample]:
    """Samples of shards on this machine's disks, each with an image and all of the `texts`. Nothing is unpacked to disk.

    source   what `find_shards` takes
    texts    text types, such as "taxon_com"; ("txt",) for shards made for open_clip itself
    shuffle  number of samples that wait in a buffer to be drawn from; the shards' order is shuffled too. 0 keeps the order
    skips    counts damaged shards, which are read up to the damage, and bad samples; None raises FormatError instead

    Processes of torch.distributed and workers of a torch DataLoader each get their part of the shards. One that would get
    none raises ValueError, since in training the others would wait for it.
    """
    import webdataset

    shards = find_shards(source)
    rng = random.Random(seed)
    if shuffle:
        rng.shuffle(shards)
    stages = [
        webdataset.SimpleShardList([str(shard) for shard in shards]),
        webdataset.split_by_node,
        webdataset.split_by_worker,
        lambda sources: _some(sources, len(shards)),
        lambda sources: _files((Path(source["url"]) for source in sources), skips),
        webdataset.tariterators.group_by_keys,
    ]
    if shuffle:
        stages.append(webdataset.shuffle(shuffle, initial=shuffle, rng=rng))
    for raw in webdataset.DataPipeline(*stages):
        try:
            sample = _sample(raw, texts)
        except FormatError as error:
            if skips is None:
                raise
            skips.add(error)
        else:
            yield sample


class _Stream(BoundedFile):
    """A file of which not more than MAX_FILE bytes are read at once, whatever size a header states."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= MAX_FILE:
            raise tarfile.ReadError(f"a piece of {size} bytes")
        return super().read(size)


def _some(sources: Iterable[Any], total: int) -> Iterator[Any]:
    """The shards that fell to this process and worker, if there are any."""
    none = True
    for source in sources:
        none = False
        yield source
    if none:
        raise ValueError(
            f"read_shards: {total} shards do not go round all processes and their workers; use fewer of them"
        )


def _files(shards: Iterable[Path], skips: Skips | None) -> Iterator[dict[str, Any]]:
    """Files of shards as webdataset groups them to samples; an empty one ends a shard."""
    for shard in shards:
        try:
            yield from _members(shard)
        except FormatError as error:
            if skips is None:
                raise
            skips.add(error)
        yield {}


def _members(shard: Path) -> Iterator[dict[str, Any]]:
    from webdataset.tariterators import base_plus_ext

    last, suffixes = None, set[str]()
    try:
        with _Stream(shard) as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
            while (info := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # or it keeps them all
                if info.isdir():
                    continue
                name = _check_member(info, shard)
                key, suffix = base_plus_ext(name)
                if key is None:
                    continue  # a name without a point, such as README, is of no sample
                if key != last:
                    last, suffixes = key, set()
                if suffix.lower() in suffixes:
                    raise FormatError(shard, show(name), "every file of a sample once", "two")
                suffixes.add(suffix.lower())
                file = tar.extractfile(info)
                assert file is not None
                yield dict(fname=name, data=file.read(), __url__=str(shard))
            # tarfile takes any rubbish for the end of the archive, so look what stopped it
            stream.seek(tar.offset)
            end = stream.read(BLOCK)
            if end != bytes(BLOCK):
                found = "damage" if len(end) == BLOCK else "the end of the file: it has been cut short"
                raise FormatError(
                    shard, f"byte {tar.offset}", "another file, or the two empty blocks that end a tar", found
                )
    except FormatError:
        raise
    except Exception as error:  # damage makes tarfile raise many things: TarError, ValueError, OSError, RecursionError
        found = f"something else or damage ({str(error)[:200]})"
        raise FormatError(shard, "file", "a tar file that is whole and not compressed", found) from error


def _check_member(info: tarfile.TarInfo, shard: Path) -> str:
    """The name of a plain file of sensible size that stays where it is put, without "./"."""
    name = PurePosixPath(info.name)
    if not info.isreg() or info.issparse():
        raise FormatError(shard, show(info.name), "a plain file", "a link, a device or a sparse file")
    if not 0 <= info.size <= MAX_FILE:
        raise FormatError(shard, show(info.name), f"at most {MAX_FILE} bytes", str(info.size))
    if name.is_absolute() or ".." in name.parts or "\\" in info.name:
        raise FormatError(shard, "name of a file", "a name inside the shard", show(info.name))
    return str(name)


def _sample(raw: dict[str, Any], texts: Sequence[str]) -> Sample:
    """Decode: the image, of several the first of `IMAGES`, and the texts that are asked for. webdataset has put the types in
    small letters."""
    key, shard = raw["__key__"], Path(raw["__url__"])
    image = next((ending for ending in IMAGES if ending in raw), None)
    if image is None:
        expected = f"an image, .{' or .'.join(IMAGES)}"
        raise FormatError(shard, f"sample {show(key)}", expected, f"only {show(_types(raw))}")
    found = {}
    for text in texts:
        name = "txt" if text == "txt" else f"{text}.txt"
        data = raw.get(name.lower())
        if data is None:
            raise FormatError(shard, f"sample {show(key)}", f"a text, .{name}", f"only {show(_types(raw))}")
        try:
            if len(data) > MAX_TEXT:
                raise FormatError(shard, f"{show(key)}.{name}", f"at most {MAX_TEXT} bytes", str(len(data)))
            found[text] = data.decode()
        except UnicodeDecodeError as error:
            raise FormatError(shard, f"{show(key)}.{name}", "text in UTF-8", str(error)[:100]) from error
    return Sample(key, decode(shard / f"{key}.{image}", raw[image]), found)


def _types(raw: dict[str, Any]) -> list[str]:
    return sorted(name for name in raw if not name.startswith("__"))


# ------------------------------------------------------------------------------------------------------------- batches


def text_type(step: int) -> str:
    """The text type of a training step: `random.seed(step)`, then a choice. So all processes agree without talking."""
    return random.Random(step).choice(TEXT_TYPES)


def batches(samples: Iterable[Sample], size: int, text: str = MIXED, *, start: int = 0) -> Iterator[Batch]:
    """Put samples into batches of `size`; an incomplete last one is left out.

    text   "mixed": one type per batch, `text_type(step)`, as the authors' code draws it; inside a batch the form of a caption
           then tells nothing. "mixed per sample": one per sample, from its key and the step. Or the name of a type, for all.
    start  step of the first batch
    """
    if size < 1:
        raise ValueError(f"batches: size must be at least 1, got {size}")
    samples, step = iter(samples), start
    while len(group := list(islice(samples, size))) == size:
        if text == PER_SAMPLE:
            types = [random.Random(f"{step} {sample.key}").choice(TEXT_TYPES) for sample in group]
        else:
            types = [text_type(step) if text == MIXED else text] * size
        try:
            chosen = tuple(sample.texts[kind] for sample, kind in zip(group, types))
        except KeyError as error:
            raise ValueError(f"batches: the samples have no text {error}, only {', '.join(group[0].texts)}") from None
        yield Batch(step, tuple(s.key for s in group), tuple(s.image for s in group), tuple(types), chosen)
        step += 1
