"""Embeddings of labels, kept so that they are computed once: the pair of files that pybioclip uses.

<name>.npy   [D, N], a column per label
<name>.json  N labels: [[kingdom, phylum, class, order, family, genus, epithet], common name]
"""

from __future__ import annotations

import io
import json
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...lab.files import FormatError, atomic_write, parse_json, read_file, show, write_file
from ..taxa import RANKS, Taxon
from .weights import fetch

if TYPE_CHECKING:
    from torch import Tensor

HEADER = 1 << 14  # bytes that numpy's header may take
LABEL = 2000  # bytes that a label may take in the JSON file
HUB_PAIR = "embeddings/txt_emb_species"


@dataclass(frozen=True, eq=False)
class LabelEmbeddings:
    """embeddings: [D, N] float32; taxa: N; empty: numbers of the columns that are all zero, which nothing can resemble."""

    embeddings: NDArray[np.float32]
    taxa: tuple[Taxon, ...]
    empty: NDArray[np.int64]


def save_label_embeddings(path: str | Path, embeddings: NDArray[np.floating] | Tensor, taxa: Sequence[Taxon]) -> None:
    """Write <path>.npy and <path>.json. embeddings: [D, N], a column per taxon, finite; stored as float32."""
    matrix = np.asarray(embeddings if isinstance(embeddings, np.ndarray) else embeddings.detach().cpu(), np.float32)
    if matrix.ndim != 2 or matrix.shape[1] != len(taxa):
        hint = "; transpose it" if matrix.shape[:1] == (len(taxa),) else ""
        raise ValueError(f"save_label_embeddings: need [D, {len(taxa)}] for {len(taxa)} taxa, got {matrix.shape}{hint}")
    if not np.isfinite(matrix).all():
        raise ValueError("save_label_embeddings: there is NaN or infinity in the embeddings")
    array, labels = _pair(path)
    with atomic_write(array) as part:
        labels.unlink(missing_ok=True)  # the array of one set of labels never stands beside the names of another
        with part.open("wb") as file:
            np.lib.format.write_array(file, matrix, allow_pickle=False)
    rows = [[list(taxon.path), taxon.common_name] for taxon in taxa]
    write_file(labels, json.dumps(rows, ensure_ascii=False).encode())


def load_label_embeddings(path: str | Path) -> LabelEmbeddings:
    """Read <path>.npy and <path>.json, ours or pybioclip's. Columns that are all zero are kept, counted in a warning."""
    array, labels = _pair(path)
    matrix = _read_array(array)
    taxa = _read_labels(labels, matrix.shape[1])
    used = np.zeros(matrix.shape[1], bool)
    for i, row in enumerate(matrix):  # row by row: the real matrix has gigabytes
        if not np.isfinite(row).all():
            raise FormatError(
                array, f"row {i}, column {np.isfinite(row).argmin()}", "a finite number", "NaN or infinity"
            )
        used |= row != 0
    empty = np.flatnonzero(~used)
    if len(empty):
        some = ", ".join(taxa[i].name for i in empty[:3])
        warnings.warn(f"{array}: {len(empty)} of {len(taxa)} columns are all zero ({some}, ...)", stacklevel=2)
    return LabelEmbeddings(matrix, taxa, empty)


def fetch_label_embeddings(dataset: str) -> LabelEmbeddings:
    """The labels of TreeOfLife that the authors embedded, from a data set on the Hub, such as "imageomics/TreeOfLife-10M"."""
    advice = f"bring {HUB_PAIR}.npy and .json here by hand and give their path, or give labels of your own."
    files = [f"{HUB_PAIR}.npy", f"{HUB_PAIR}.json"]
    return load_label_embeddings(fetch(f"labels of {dataset}", dataset, files, advice, kind="dataset") / HUB_PAIR)


def _pair(path: str | Path) -> tuple[Path, Path]:
    name = str(path).removesuffix(".npy").removesuffix(".json")
    return Path(name + ".npy"), Path(name + ".json")


def _read_array(path: Path) -> NDArray[np.float32]:
    """[D, N] from a .npy file whose header agrees with its size."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = io.BytesIO(file.read(HEADER))
            version = np.lib.format.read_magic(head)
            read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            shape, fortran, dtype = read[version](head)
            expected = head.tell() + math.prod(shape) * dtype.itemsize
            if dtype.kind != "f" or dtype.itemsize > 8:
                advice = "an array of Python objects is a pickle, which can run any code" if dtype.hasobject else ""
                raise FormatError(path, "type", "float16, float32 or float64", show(str(dtype)), advice)
            if len(shape) != 2 or min(shape) < 1:
                raise FormatError(path, "shape", "[dimensions, labels]", show(shape))
            if size != expected:
                raise FormatError(path, "size", f"{expected} bytes for {list(shape)} {dtype}", f"{size} bytes")
            file.seek(head.tell())
            values = np.fromfile(file, dtype, math.prod(shape))
    except FormatError:
        raise
    except Exception as error:  # no such file; whatever numpy's parser of the header raises
        raise FormatError(path, "file", "a .npy file", f"{type(error).__name__}: {str(error)[:150]}") from error
    with np.errstate(over="ignore"):
        return values.reshape(shape, order="F" if fortran else "C").astype(np.float32, copy=False)


def _read_labels(path: Path, count: int) -> tuple[Taxon, ...]:
    rows = parse_json(read_file(path, LABEL * (count + 1)), path, list)
    if len(rows) != count:
        raise FormatError(path, "labels", f"{count}, one per column of the .npy file", str(len(rows)))
    return tuple(_label(row, path, f"label {i}") for i, row in enumerate(rows))


def _label(row: Any, path: Path, field: str) -> Taxon:
    ranks, common = row if isinstance(row, list) and len(row) == 2 else (None, None)
    if not isinstance(ranks, list) or len(ranks) != len(RANKS):
        raise FormatError(path, field, f"[[{len(RANKS)} ranks], common name]", show(row))
    for text in (*ranks, common):
        if text is not None and not isinstance(text, str):
            raise FormatError(path, field, "texts", show(text))
    values: list[Any] = [text or "" for text in (*ranks, common)]
    return Taxon(*values)
