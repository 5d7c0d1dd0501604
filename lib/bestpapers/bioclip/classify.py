"""Which species is it? Photographs in, rows of a table out, in the names of the authors' package pybioclip.

Whoever knows `TreeOfLifeClassifier` and `CustomLabelsClassifier` from there finds the methods and the columns here. What is
different: photographs are turned upright, embeddings of labels are computed once and kept on disk, memory does not grow with
the number of photographs, labels whose stored embedding is zero never win, and min_prob applies to sums. Labels that the
model cannot read, in part or at all, are told of in a warning.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import fields, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import normalize as unit

from ..course.progress import progress
from ..lab.files import FormatError, Skips, atomic_write, cache_dir
from ..lab.places import Place
from . import formats
from .formats.photos import decode, upright
from .formats.tables import read_table
from .taxa import RANKS, Taxon, taxa
from .taxonomy import TEXT_TYPES, Lineage, Rank, captions, groups_at, taxa_filter

if TYPE_CHECKING:
    import pandas
    from PIL.Image import Image

    Photo = str | os.PathLike[str] | Image
    Callback = Callable[[int, int | None], object]

OWN = "ours"
HUB_LABELS = {  # the data sets that hold the embedded labels of the authors' models
    "hf-hub:imageomics/bioclip": "imageomics/TreeOfLife-10M",
    "hf-hub:imageomics/bioclip-2": "imageomics/TreeOfLife-200M",
}
TRAINING_TEMPLATE = ("a photo of {}.",)
FIELDS = [field.name for field in fields(Taxon)][: len(RANKS) + 1]  # ranks and common name
TEXTS = 256  # that go through the model at a time

Row = dict[str, Any]


class BaseClassifier(nn.Module):
    """A CLIP model that embeds photographs. Those with labels can be called as modules, with gradients; see `forward`.

    model_str  "ours", the small model of this book; "hf-hub:imageomics/bioclip" or "local-dir:<folder>" (see `formats.load`)
    device     of torch: "cpu", "cuda", "cuda:1", "mps"
    resize     "squash": all of a photograph pressed into the square, as BioCLIP's training images were made; "hub": as the
               model's files say, mostly the square in its middle. None: "squash" for ours, the authors' two, and weights in
               a folder, "hub" for other models on the Hub; so does pybioclip, but for folders
    """

    txt_embeddings: Tensor  # [D, N] of N labels, columns of length 1

    def __init__(self, model_str: str = OWN, device: str | torch.device = "cpu", *, resize: str | None = None) -> None:
        if resize not in (None, "squash", "hub"):
            raise ValueError(f'resize must be "squash" or "hub", got {resize!r}')
        super().__init__()
        self.model_str, self.device = model_str, device
        if resize is None:
            other = model_str.startswith("hf-hub:") and _name(model_str) not in HUB_LABELS
            resize = "hub" if other else "squash"
        if model_str == OWN:
            from . import weights

            model, preprocess, self.tokenizer = weights.load()
            self.preprocess = formats.squash(model) if resize == "squash" else preprocess
        else:
            model, self.preprocess, self.tokenizer = formats.load(model_str, resize)
        self.model: Any = model.to(device)

    @staticmethod
    def ensure_rgb_image(image: Photo) -> Image:
        """A photograph as RGB, upright, as the camera noted. Raises FormatError if a file is missing or damaged."""
        if not isinstance(image, str | os.PathLike):
            if not hasattr(image, "convert"):
                kind = type(image).__name__
                raise TypeError(f"a photograph is a path or an image of Pillow, not {kind}; see PIL.Image.fromarray")
            return upright(image)
        path = Path(image)
        if not path.is_file():
            raise FormatError(path, "file", "a photograph", "a folder" if path.is_dir() else "nothing of that name")
        return decode(path)

    def create_image_features(self, images: Iterable[Image], normalize: bool = True) -> Tensor:
        """Images -> [B, D], rows of length 1 unless `normalize` is False; without gradients."""
        return self._features([self.preprocess(image) for image in images], normalize)

    @torch.no_grad()
    def _features(self, batch: Sequence[Tensor], normalize: bool) -> Tensor:
        features: Tensor = self.model.encode_image(torch.stack(list(batch)).to(self.device))
        return unit(features, dim=-1) if normalize else features

    def create_image_features_for_image(self, image: Photo, normalize: bool = True) -> Tensor:
        """One photograph -> [D]."""
        return self.create_image_features([self.ensure_rgb_image(image)], normalize)[0]

    def create_probabilities(self, img_features: Tensor, txt_features: Tensor) -> Tensor:
        """[B, D] and [D, N], both of length 1 along D -> softmax over the N labels of their scaled cosines: [B, N]."""
        return (self.model.logit_scale.exp() * img_features @ txt_features).softmax(dim=1)

    def get_txt_embeddings(self) -> Tensor:
        """[D, M] of the M labels that are predicted among."""
        return self.txt_embeddings

    def forward(self, x: Tensor) -> Tensor:
        """Preprocessed images [B, 3, H, W] -> probabilities of the labels that are predicted among: [B, M].

        Gradients pass, as maps of saliency ask for.
        """
        return self.create_probabilities(
            unit(self.model.encode_image(x.to(self.device)), dim=-1), self.get_txt_embeddings()
        )

    def embed(
        self,
        images: Photo | Iterable[Photo],
        *,
        batch_size: int = 10,
        normalize: bool = False,
        skips: Skips | None = None,
        callback: Callback | None = None,
    ) -> Iterator[tuple[list[str], Tensor]]:
        """Photographs in batches of (names, [B, D]): a file's name is its path as given, an image's its number.

        A damaged file raises FormatError, or is counted in `skips` and left out. Shows a progress bar, or calls in its place
        callback(photographs done, of how many), the latter None where that is not known, after each batch.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        listed = images if isinstance(images, Iterable) and not isinstance(images, str) else [images]
        total = len(listed) if isinstance(listed, Sized) else None
        rest, done = iter(listed), 0
        with progress(total=total, desc="photographs", unit="photo", disable=callback is not None) as bar:
            while chunk := list(islice(rest, batch_size)):
                batch = list(self._open(chunk, done, skips))
                if batch:
                    yield [name for name, _ in batch], self._features([pixels for _, pixels in batch], normalize)
                done += len(chunk)
                bar.update(len(chunk))
                if callback is not None:
                    callback(done, total)

    def _open(self, images: Iterable[Photo], first: int, skips: Skips | None) -> Iterator[tuple[str, Tensor]]:
        """Name and preprocessed pixels of each, one whole photograph in memory at a time."""
        for number, image in enumerate(images, first):
            name = os.fspath(image) if isinstance(image, str | os.PathLike) else str(number)
            try:
                yield name, self.preprocess(self.ensure_rgb_image(image))
            except FormatError as error:
                if skips is None:
                    raise
                skips.add(error)

    # ------------------------------------------------------------------------------------------------------- labels

    def _embed_labels(self, labels: Sequence[str], texts: Sequence[Sequence[str]]) -> Tensor:
        """N labels, and equally many texts for each -> [D, N]: their mean directions. From the disk if it was there before."""
        self._check_labels(labels, texts)
        key = hashlib.sha256(_fingerprint(self.model))
        context = getattr(self.tokenizer, "context_length", None)
        key.update(json.dumps([type(self.tokenizer).__name__, context, texts]).encode())
        path = cache_dir() / "bioclip" / "labels" / f"{key.hexdigest()[:32]}.npy"
        with contextlib.suppress(OSError, ValueError):  # not there, or damaged
            found = np.load(path, allow_pickle=False)
            if found.ndim == 2 and found.shape[1] == len(texts) and np.isfinite(found).all():
                return torch.from_numpy(found.astype(np.float32, copy=False)).to(self.device)
        features = self._encode_labels(texts)
        with (
            contextlib.suppress(OSError),
            atomic_write(path) as part,
            part.open("wb") as file,
        ):  # a full disk costs time only
            np.save(file, features.cpu().numpy(), allow_pickle=False)
        return features

    def _check_labels(self, labels: Sequence[str], texts: Sequence[Sequence[str]]) -> None:
        """Warn of texts that are cut, of words that the model has not learnt, and of labels that are the same without them;
        ValueError for a label without others."""
        encode, context = getattr(self.tokenizer, "encode", None), getattr(self.tokenizer, "context_length", None)
        if encode is None or context is None:
            return
        cut = [label for label, own in zip(labels, texts) if len(encode(max(own, key=len))) + 2 > context]
        if cut:
            what = f"the {context} tokens that this model reads, and are cut: {cut[0]!r:.100}"
            _warn(f"{len(cut)} of {len(labels)} labels are longer than {what}" + (", ..." if cut[1:] else ""))
        table = getattr(self.model, "token_embedding", None)
        learnt = torch.ones(0) if table is None else (table.weight != 0).any(1).cpu()  # ours has zeros for the others
        every = bool(learnt.all())
        pieces = [re.findall(r"[^\W\d_]+|\S", label.lower()) for label in labels]
        known = {} if every else {piece: bool(learnt[encode(piece)].all()) for own in pieces for piece in own}
        alike: dict[tuple[Any, ...], list[str]] = {}
        for label, own in zip(labels, pieces):
            read = encode(label)[:context] if every else [piece for piece in own if known[piece]]
            alike.setdefault(tuple(read), []).append(label)
        if same := [group for read, group in alike.items() if read and group[1:]]:
            some = "; ".join(", ".join(map(repr, group[:5])) + ", ..." * (len(group) > 5) for group in same[:5])
            some += f"; and {len(same) - 5} more such groups" if same[5:] else ""
            _warn(
                f"the model has learnt no difference between these labels; how they share their score means nothing: {some}"
            )
        if every:
            return
        words = [[piece for piece in own if piece.isalpha()] for own in pieces]
        if empty := [label for label, own in zip(labels, words) if not any(known[word] for word in own)]:
            some = ", ".join(map(repr, empty[:5])) + (f" and {len(empty) - 5} more" if empty[5:] else "")
            advice = "leave them out, or take --model hf-hub:imageomics/bioclip, which knows all words"
            raise ValueError(f"labels: the model has learnt no word of {some}, only the names of this book; {advice}")
        if unknown := [word for word in known if word.isalpha() and not known[word]]:
            some = ", ".join(unknown[:10]) + (f" and {len(unknown) - 10} more" if unknown[10:] else "")
            _warn(f"the model has not learnt these words of the labels, and goes by the others: {some}")

    def _encode_labels(self, texts: Sequence[Sequence[str]]) -> Tensor:
        at_once = max(1, TEXTS // len(texts[0]))
        columns = []
        with torch.no_grad(), progress(total=len(texts), desc="labels", unit="label") as bar:
            for i in range(0, len(texts), at_once):
                group = texts[i : i + at_once]
                tokens = self.tokenizer([text for label in group for text in label]).to(self.device)
                features: Tensor = unit(self.model.encode_text(tokens), dim=-1)
                columns.append(unit(features.view(len(group), -1, features.shape[-1]).mean(1), dim=-1))
                bar.update(len(group))
        return torch.cat(columns).T.contiguous()


class TreeOfLifeClassifier(BaseClassifier):
    """Probabilities over species, or over the groups of a higher rank by summing those of their species.

    labels  what is known. None: for the authors' two models on the Hub all of their labels (a large download, once), else the
            128 species of this book. Or taxa of your own, which are embedded once as captions of type `text`, each species
            once; or the path of a pair of .npy and .json files as pybioclip keeps them, embedded by the same model.

    The rest as for `BaseClassifier`.
    """

    def __init__(
        self,
        model_str: str = OWN,
        device: str | torch.device = "cpu",
        *,
        resize: str | None = None,
        labels: Sequence[Taxon] | str | os.PathLike[str] | None = None,
        text: str = "taxon_com",
    ) -> None:
        if text not in TEXT_TYPES:
            raise ValueError(f"text must be one of {', '.join(TEXT_TYPES)}, got {text!r}")
        super().__init__(model_str, device, resize=resize)
        found = load_labels(model_str, labels)
        empty: NDArray[np.int64] = np.zeros(0, np.int64)
        if isinstance(found, formats.LabelEmbeddings):
            self.taxa, empty = found.taxa, found.empty
            self.txt_embeddings = torch.from_numpy(found.embeddings).to(device)
            lengths = self.txt_embeddings.norm(dim=0)
            self.txt_embeddings /= lengths.clamp(min=1e-12)  # in place: the real one has gigabytes
        else:
            self.taxa = found
            words = [" ".join(filter(None, [*taxon.path, taxon.common_name])) for taxon in found]
            self.txt_embeddings = self._embed_labels(words, [[captions(taxon)[text]] for taxon in found])
        have, need = len(self.txt_embeddings), self.model.visual.output_dim
        if have != need:
            raise ValueError(
                f"labels: embeddings of {have} numbers, {model_str} makes {need}; they are of another model"
            )
        self._usable = np.ones(len(self.taxa), bool)
        self._usable[empty] = False
        self.apply_filter(np.ones(len(self.taxa), bool))

    @property
    def txt_names(self) -> list[list[Any]]:
        """[[kingdom, phylum, class, order, family, genus, epithet], common name] of each label, filtered or not."""
        return [[list(taxon.path), taxon.common_name] for taxon in self.taxa]

    def get_label_data(self) -> pandas.DataFrame:
        """A row per label, filtered or not, with the columns that `predict` has for species. Needs pandas, the extra of this
        name; `label_row` makes a row without."""
        import pandas

        return pandas.DataFrame([label_row(taxon) for taxon in self.taxa])

    def create_taxa_filter(self, rank: Rank, user_values: str | Sequence[str]) -> NDArray[np.bool_]:
        """Which labels [N] belong to the groups of these names; see `taxonomy.taxa_filter`."""
        return taxa_filter(rank, user_values, self.taxa)

    def create_taxa_filter_from_csv(self, csv_path: str | os.PathLike[str]) -> NDArray[np.bool_]:
        """The same from a table, whose first column is headed by a rank and holds the names. Others are left alone, as are
        cells without a name."""
        rows = read_table(csv_path)
        column = next(iter(rows[0][1]))
        first = f"first a column named after a rank ({', '.join(RANKS)})"
        Place(Path(csv_path), "line 1").need(column in RANKS, first, column)
        names = {row[column]: here.where for here, row in reversed(rows) if row[column]}
        try:
            return taxa_filter(Rank(RANKS.index(column)), names, self.taxa)
        except ValueError as error:
            what, *lines = str(error).split("\n")  # in one line, as other faults of a file
            raise ValueError(f"{csv_path}: {what} {'; '.join(map(str.strip, lines))}".rstrip()) from error

    def apply_filter(self, keep_labels_ary: Sequence[bool] | NDArray[np.bool_]) -> None:
        """Predict among these labels [N] only. A new filter takes the place of the last one."""
        keep = np.asarray(keep_labels_ary)
        if keep.dtype != bool or keep.shape != (len(self.taxa),):
            raise ValueError(
                f"apply_filter: need {len(self.taxa)} booleans, one per label, got {keep.dtype} {keep.shape}"
            )
        index = np.flatnonzero(keep & self._usable)
        if not len(index):
            raise ValueError("apply_filter: no label is left that has an embedding")
        self._kept_taxa = [self.taxa[i] for i in index]
        every = len(index) == len(self.taxa)
        self._kept = self.txt_embeddings if every else self.txt_embeddings[:, torch.from_numpy(index).to(self.device)]

    def get_txt_embeddings(self) -> Tensor:
        """[D, M] of the M labels that the filter leaves."""
        return self._kept

    def get_current_taxa(self) -> list[Taxon]:
        """The M labels that the filter leaves."""
        return self._kept_taxa

    @torch.no_grad()
    def predict(
        self,
        images: Photo | Iterable[Photo],
        rank: Rank = Rank.SPECIES,
        min_prob: float = 1e-9,
        k: int = 5,
        batch_size: int = 10,
        callback: Callback | None = None,
        *,
        skips: Skips | None = None,
    ) -> list[Row]:
        """The k most probable species or groups of each photograph, best first; fewer if there are fewer.

        images    a path, an image of Pillow, or several
        rank      of the answer. A group is a full path from the kingdom down, and its probability the sum over its species
        min_prob  groups that are less probable are left out of the answer
        callback  is called in place of a progress bar, see `embed`
        skips     counts damaged files; None raises FormatError for them

        Columns: file_name (of an image its number), kingdom and so on down to the rank, score. For species: species_epithet,
        species with both names, common_name, score. A rank that a label lacks is "", so species for one known by its genus.
        """
        _check_k(k)
        rank, kept = Rank(rank), self._kept_taxa
        groups, index = groups_at(kept, rank)
        rows: list[Row] = []
        for names, features in self.embed(
            images, batch_size=batch_size, normalize=True, skips=skips, callback=callback
        ):
            scores = self.create_probabilities(features, self._kept)
            if rank is Rank.SPECIES:  # a row per label, even where two of them have one name
                rows += _rows(names, scores, lambda i: label_row(kept[i]), k)
            else:
                summed = _sums(scores, index, len(groups))
                rows += _rows(names, summed, lambda i: dict(zip(RANKS, groups[i])), k, min_prob)
        return rows


class CustomLabelsClassifier(BaseClassifier):
    """Probabilities over labels of your own.

    cls_ary    texts: common or scientific names, or whatever you like
    templates  texts with {} for the label, whose embeddings are averaged. None: for other models OpenAI's 80, as pybioclip
               does; for ours the one that it was trained with, since it knows no other words

    The rest as for `BaseClassifier`.
    """

    def __init__(
        self,
        cls_ary: Iterable[str],
        model_str: str = OWN,
        device: str | torch.device = "cpu",
        *,
        resize: str | None = None,
        templates: Sequence[str] | None = None,
    ) -> None:
        classes = [label.strip() for label in ([cls_ary] if isinstance(cls_ary, str) else cls_ary)]
        if not classes or not all(classes):
            raise ValueError("labels: " + ("one of them is empty" if classes else "there are none"))
        once: dict[str, str] = {}
        for label in classes:
            if (first := once.setdefault(as_read(label), label)) is not label:
                twice = f"{label!r:.80} is there twice" + (f", also as {first!r:.80}" if first != label else "")
                raise ValueError(f"labels: {twice}, and the two would share its probability")
        super().__init__(model_str, device, resize=resize)
        self.classes = classes
        if bad := [template for template in templates or () if "{}" not in template]:
            raise ValueError(f"templates: {bad[0]!r:.80} has no {{}} for the label")
        if templates is None and model_str != OWN:
            from open_clip import OPENAI_IMAGENET_TEMPLATES as fill

            texts = [[template(label) for template in fill] for label in self.classes]
        else:
            texts = [[t.replace("{}", label) for t in templates or TRAINING_TEMPLATE] for label in self.classes]
        self.txt_embeddings = self._embed_labels(self.classes, texts)

    @torch.no_grad()
    def predict(
        self,
        images: Photo | Iterable[Photo],
        k: int | None = None,
        batch_size: int = 10,
        callback: Callback | None = None,
        *,
        skips: Skips | None = None,
    ) -> list[Row]:
        """The k most probable labels of each photograph, best first; all of them for None. Columns: file_name,
        classification, score. The rest as for `TreeOfLifeClassifier`."""
        _check_k(k)
        labels, index = self._answers()
        rows: list[Row] = []
        for names, features in self.embed(
            images, batch_size=batch_size, normalize=True, skips=skips, callback=callback
        ):
            scores = _sums(self.create_probabilities(features, self.txt_embeddings), index, len(labels))
            rows += _rows(names, scores, lambda i: dict(classification=labels[i]), k)
        return rows

    def _answers(self) -> tuple[list[str], NDArray[np.int64]]:
        """The different answers, and for each label the number of its answer."""
        return self.classes, np.arange(len(self.classes))


class CustomLabelsBinningClassifier(CustomLabelsClassifier):
    """Probabilities of bins, each the sum over its labels. cls_to_bin: {label: bin}."""

    def __init__(self, cls_to_bin: Mapping[str, str], model_str: str = OWN, **settings: Any) -> None:
        if bad := [label for label, name in cls_to_bin.items() if not isinstance(name, str) or not name.strip()]:
            raise ValueError(f"bins: that of {bad[0]!r:.80} is empty")
        super().__init__(list(cls_to_bin), model_str, **settings)
        self.cls_to_bin = {label.strip(): name for label, name in cls_to_bin.items()}

    def _answers(self) -> tuple[list[str], NDArray[np.int64]]:
        bins = list(dict.fromkeys(self.cls_to_bin.values()))
        return bins, np.array([bins.index(self.cls_to_bin[label]) for label in self.classes])


# --------------------------------------------------------------------------------------------------------------- parts


def load_labels(
    model_str: str, labels: Sequence[Taxon] | str | os.PathLike[str] | None
) -> tuple[Taxon, ...] | formats.LabelEmbeddings:
    """The labels that `TreeOfLifeClassifier` would take, embedded if they are so on the disk or on the Hub."""
    if labels is None and (dataset := HUB_LABELS.get(_name(model_str))):
        return formats.fetch_label_embeddings(dataset)
    if labels is None:
        return taxa()
    if isinstance(labels, str | os.PathLike):
        return formats.load_label_embeddings(Path(labels))
    if not labels:
        raise ValueError("labels: there are none")
    once, apart = _each_once(labels)
    if len(once) < len(labels):
        _warn(f"{len(labels) - len(once)} of {len(labels)} labels name a taxon again, and are left out")
    if apart:
        some = ", ".join(apart[:5]) + (f" and {len(apart) - 5} more" if apart[5:] else "")
        _warn(
            f"these names are there with ranks above them that contradict each other, and stay a label for each: {some}"
        )
    return once


def agree(a: Sequence[str], b: Sequence[str]) -> bool:
    """Whether the names of ranks are the same, wherever both are known."""
    return all(x == y or not x or not y for x, y in zip(a, b))


def _each_once(labels: Sequence[Taxon]) -> tuple[tuple[Taxon, ...], list[str]]:
    """Each taxon once, in order of first appearance, and the names that are there several times with contrary ranks above.

    Of rows that `agree` the fullest stays, with what only the others know.
    """
    once: dict[Lineage, Taxon] = {}
    for taxon in labels:
        if not once.setdefault(taxon.path, taxon).common_name:
            once[taxon.path] = taxon
    place = {path: i for i, path in enumerate(once)}
    named: dict[Lineage, list[tuple[int, Taxon]]] = {}
    for path, taxon in sorted(once.items(), key=lambda item: -sum(map(bool, item[0]))):  # the fuller first
        same = named.setdefault(path[Rank.GENUS :] if taxon.genus else path, [])
        fits = [i for i, (_, other) in enumerate(same) if agree(path, other.path)]
        if len(fits) == 1:
            first, other = same[fits[0]]
            values: list[Any] = [x or y for x, y in zip((*other.path, other.common_name), (*path, taxon.common_name))]
            same[fits[0]] = min(first, place[path]), replace(other, **dict(zip(FIELDS, values)))
        else:  # of two that contradict each other, who knows which
            same.append((place[path], taxon))
    apart = [" ".join(filter(None, key)) for key, same in named.items() if same[1:]]
    return tuple(taxon for _, taxon in sorted((x for same in named.values() for x in same), key=lambda x: x[0])), apart


def as_read(label: str) -> str:
    """A label as tokenizers read it: capitals and the number of spaces do not matter."""
    return " ".join(label.lower().split())


def label_row(taxon: Taxon) -> Row:
    """The columns of a species: kingdom to genus, species_epithet, species with both names, common_name. Without one of the
    two names the species is ""."""
    row: Row = dict(zip(RANKS[: Rank.SPECIES], taxon.path))
    both = taxon.name if taxon.genus and taxon.species else ""
    return row | dict(species_epithet=taxon.species, species=both, common_name=taxon.common_name)


def _name(model_str: str) -> str:
    """Of a model, without its revision."""
    return model_str.partition("@")[0]


def _warn(words: str) -> None:
    warnings.warn(words, stacklevel=4)


def _check_k(k: int | None) -> None:
    if k is not None and k < 1:
        raise ValueError(f"k must be at least 1, got {k}")


def _sums(scores: Tensor, index: NDArray[np.int64], groups: int) -> Tensor:
    """Sum [B, N] into [B, groups]. `taxonomy.rollup` does the same for one call, and finds the groups each time."""
    to = torch.from_numpy(index).to(scores.device)
    return scores.new_zeros(len(scores), groups).index_add(1, to, scores)


def _rows(
    names: list[str], scores: Tensor, label: Callable[[int], Row], k: int | None, least: float = 0.0
) -> Iterator[Row]:
    """The k best of the scores [B, N] as rows; label: number of a column -> its names."""
    best = scores.topk(min(k or scores.shape[1], scores.shape[1]), dim=1)
    for name, values, indices in zip(names, best.values.tolist(), best.indices.tolist()):
        for value, i in zip(values, indices):
            if value >= least:
                yield dict(file_name=name) | label(i) | dict(score=value)


def _fingerprint(model: nn.Module) -> bytes:
    """A hash of all that decides what the model makes of a text: classes, settings and weights, all but the image tower's."""
    key = hashlib.sha256()
    for name, module in model.named_modules():
        if not name.startswith("visual"):
            plain = {k: v for k, v in vars(module).items() if isinstance(v, bool | int | float | str)}
            key.update(repr((name, type(module).__name__, sorted(plain.items()))).encode())
    for tensors in (model.named_parameters(), model.named_buffers()):
        for name, tensor in tensors:
            if not name.startswith("visual") and name != "logit_scale":
                key.update(repr((name, tuple(tensor.shape), str(tensor.dtype))).encode())
                key.update(tensor.detach().cpu().numpy().tobytes())
    return key.digest()
