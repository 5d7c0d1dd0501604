"""A species explorer: photographs, labels of any rank, probabilities, their sums up the tree, and similarities.

The browser computes (explorer.js), from embeddings that are stored in half precision: those of one photograph and of the mean
photograph of each species, and those of the captions of every taxon, in the five forms. The smallest runtime that would run
the model itself there, ONNX Runtime Web's, is a file of 14.2 MB, and this book allows no page more than 10 MB for one: so you
pick labels from the table, and cannot type any other.

A label is a taxon of any rank; its captions are what `taxonomy.captions` makes of an incomplete label. Probabilities are those
of `evaluate.probabilities`, sums those of `taxonomy.rollup`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
import traitlets
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ...course import plots
from ...course.widgets import Widget
from ..evaluate import TestSet, image_table, probabilities
from ..model import embed_texts
from ..taxa import RANKS, Taxon
from ..taxonomy import TEXT_TYPES, Lineage, Rank, captions, lca_height, rollup
from .sheets import sheet

PARTS = {
    "seen": "seen in training",
    "u1": "unseen species of a seen genus",
    "u2": "of an unseen genus",
}
SOURCES = ("captions", "photographs")  # of similarities


def labels_of(taxa: Sequence[Taxon]) -> list[Taxon]:
    """Every taxon of a table of species, kingdoms first, then phyla and so on: above the species, the lower ranks and the
    common name are empty."""
    out: list[Taxon] = []
    for rank in list(Rank)[:-1]:
        paths = dict.fromkeys(taxon.path[: rank + 1] for taxon in taxa)
        out += [Taxon(*(path + ("",) * len(RANKS))[: len(RANKS)]) for path in paths]  # type: ignore[arg-type]
    return [*out, *taxa]


def tree_order(taxa: Sequence[Taxon]) -> list[int]:
    """Numbers of the species, so that relatives stand together whatever the order of the table; groups in that of their first
    species."""
    first = dict[Lineage, int]()
    for i, taxon in enumerate(taxa):
        for rank in Rank:
            first.setdefault(taxon.path[: rank + 1], i)
    return sorted(range(len(taxa)), key=lambda i: [first[taxa[i].path[: rank + 1]] for rank in Rank])


def rank_of(label: Taxon) -> Rank:
    """The lowest rank of a label that has a name."""
    return max(rank for rank in Rank if label.path[rank])


def deepest(p: NDArray[np.floating], labels: Sequence[Taxon], confidence: float) -> tuple[Lineage, float] | None:
    """The answer that goes as far down as it dares: path and probability of the most probable group at the lowest rank where
    that exceeds `confidence`; None if not even a kingdom does.

    Probabilities p [L] of labels are summed by `rollup` at each rank. A label that ends above a rank is no answer there. From
    1/2 on each answer contains those of lower ranks; below, the best genus may lie outside the best family.
    """
    for rank in reversed(Rank):
        sums, groups = rollup(p, labels, rank)
        named = [(float(total), group) for total, group in zip(sums, groups) if group[-1]]
        if named and (best := max(named, key=lambda pair: pair[0]))[0] > confidence:
            return best[1], best[0]
    return None


class Explorer(Widget):
    """What a model makes of a photograph of each species, among labels that the reader picks.

    Made by `Explorer.of`. These traits follow the reader:

    organism    number of the species in the table whose photograph is shown
    labels      numbers in `labels_of(taxa)`; by default all species
    kind        form of the captions, one of TEXT_TYPES
    confidence  from 0 to 1: the answer is the deepest taxon above it, see `deepest`
    rank        of the similarity map: a number of `Rank`
    source      "captions" or "photographs": whose similarities the map shows

    Raises:
        traitlets.TraitError: a value that is not one of these.
    """

    module = Path(__file__).with_name("explorer.js")
    still_style = "width:52em;max-width:100%"

    taxa = traitlets.List(traitlets.List()).tag(sync=True)  # [S] of [seven ranks, common name, "seen" | "u1" | "u2"]
    texts = traitlets.Bytes().tag(sync=True, floats="<f2")  # [5, L, D]: the captions of labels_of(taxa)
    photos = traitlets.Bytes().tag(sync=True, floats="<f2")  # [S, D]: one photograph of each species
    means = traitlets.Bytes().tag(sync=True, floats="<f2")  # [S, D]: the mean over its photographs, length 1
    pictures = traitlets.Bytes().tag(sync=True)  # the photographs as one WebP
    scale = traitlets.Float().tag(sync=True)  # what cosines are multiplied by
    parts = traitlets.Dict(PARTS, read_only=True).tag(sync=True)
    organism = traitlets.Int(0).tag(sync=True)
    labels = traitlets.List(traitlets.Int()).tag(sync=True)
    kind = traitlets.Enum(TEXT_TYPES, "taxon_com").tag(sync=True)
    confidence = traitlets.Float(0.5, min=0.0, max=1.0).tag(sync=True)
    rank = traitlets.Int(int(Rank.FAMILY), min=0, max=int(Rank.SPECIES)).tag(sync=True)
    source = traitlets.Enum(SOURCES, "captions").tag(sync=True)
    caption = traitlets.Unicode(
        "Choose a photograph and some labels, and read the answer and the tree below them. Small pictures: one test "
        "photograph of each species; S marks species that training did not see, G those of genera that it did not see. In "
        "the tree, the width of a branch is the probability of all labels below it. The maps are ordered by the tree, so "
        "that blocks along the diagonal are relatives."
    ).tag(sync=True)

    @classmethod
    def of(cls, model: Any, tokenizer: Any, test: TestSet, pictures: Tensor | None = None, **traits: Any) -> Explorer:
        """An explorer of what a model makes of the test photographs.

        model, tokenizer  a CLIP and its tokenizer, as for `model.embed_texts`
        test              photographs [S, n, H, W, 3] of all species of a table, all seven ranks known. The first of each is
                          the one that the reader sees; the mean embedding of all n is what the map compares
        pictures          the first photographs in another size, uint8 [S, h, h, 3]: what is shown, the model sees its own
        traits            where the reader starts, see the class
        """
        if bad := [taxon.name for taxon in test.taxa if not all(taxon.path)]:
            raise ValueError(f"Explorer: a species needs all seven ranks, {bad[0]} lacks some")
        pictures = test.images[:, 0] if pictures is None else pictures
        if pictures.dtype != torch.uint8 or pictures.ndim != 4 or len(pictures) != len(test.taxa):
            raise ValueError(
                f"Explorer: pictures must be uint8 [{len(test.taxa)}, h, h, 3], "
                f"got {pictures.dtype} {list(pictures.shape)}"
            )
        part = {i: name for name, members in test.split.parts() for i in members}
        texts = [captions(label) for label in labels_of(test.taxa)]
        kinds = [embed_texts(model, tokenizer, [text[kind] for text in texts]) for kind in TEXT_TYPES]
        images = image_table(model, test)
        return cls(
            taxa=[[*taxon.path, taxon.common_name, part[i]] for i, taxon in enumerate(test.taxa)],
            texts=_halves(torch.stack(kinds)),
            photos=_halves(images[:, 0]),
            means=_halves(F.normalize(images.mean(1), dim=-1)),
            pictures=sheet(pictures.numpy()),
            scale=float(model.logit_scale.detach().exp()),
            **traits,
        )

    @traitlets.default("labels")
    def _all_species(self) -> list[int]:
        count = len(self._table()[1])
        return list(range(count - len(self.taxa), count))

    @traitlets.validate("organism")
    def _one_of_the_table(self, proposal: Any) -> int:
        if not 0 <= proposal["value"] < len(self.taxa):
            raise traitlets.TraitError(f"organism must be 0 to {len(self.taxa) - 1}, got {proposal['value']}")
        return int(proposal["value"])

    @traitlets.validate("labels")
    def _labels_of_the_table(self, proposal: Any) -> list[int]:
        value, count = list(proposal["value"]), len(self._table()[1])
        if len(set(value)) < len(value) or not all(0 <= i < count for i in value):
            raise traitlets.TraitError(f"labels must be different numbers from 0 to {count - 1}, got {value!r:.200}")
        return value

    # ---- what the browser computes, from the same bytes

    def _table(self) -> tuple[list[Taxon], list[Taxon]]:
        """The species, and all labels."""
        taxa = [Taxon(*row[:8]) for row in self.taxa]
        return taxa, labels_of(taxa)

    def _embeddings(self, kind: str) -> tuple[Tensor, Tensor, Tensor]:
        """photos [S, D], means [S, D], texts [L, D] as float64."""
        S, L = len(self.taxa), len(self._table()[1])
        photos, means = (_floats(data).reshape(S, -1) for data in (self.photos, self.means))
        return photos, means, _floats(self.texts).reshape(len(TEXT_TYPES), L, -1)[TEXT_TYPES.index(kind)]

    def probabilities(self) -> NDArray[np.float64]:
        """Of the chosen labels [len(labels)], for the photograph that is shown."""
        photos, _, texts = self._embeddings(self.kind)
        p: NDArray[np.float64] = probabilities(photos[self.organism], texts[self.labels], self.scale).numpy()
        return p

    def similarities(self) -> tuple[NDArray[np.float64], list[Taxon]]:
        """Cosines [G, G] between all taxa of the map's rank, and these taxa in the order of the tree.

        Photographs: of a taxon's species the means, averaged and set to length 1 again.
        """
        taxa, labels = self._table()
        _, means, texts = self._embeddings(self.kind)
        numbers = {_path(label): i for i, label in enumerate(labels)}
        paths = [taxon.path[: self.rank + 1] for taxon in taxa]
        groups = list(dict.fromkeys(paths[i] for i in tree_order(taxa)))
        if self.source == "captions":
            x = texts[[numbers[group] for group in groups]]
        else:
            x = torch.stack([means[[path == group for path in paths]].mean(0) for group in groups])
        x = F.normalize(x, dim=-1)
        return (x @ x.T).numpy(), [labels[numbers[group]] for group in groups]

    def describe(self) -> str:
        taxa, labels = self._table()
        true, p = taxa[self.organism], self.probabilities() if self.labels else np.zeros(0)
        chosen = [labels[i] for i in self.labels]
        text = (
            f"A species explorer: one photograph of each of {len(taxa)} species, seen in training or not; labels of any rank, "
            "to be searched and picked; five forms of captions; the probability of each label; their sums up the tree, with "
            "predicted and true path and a slider for the confidence; and maps of similarity by rank beside the distance in "
            f"the tree. Now: a photograph of {true.name} ({true.common_name}), {PARTS[self.taxa[self.organism][8]]}, among "
            f"{len(chosen)} labels with captions of the form {self.kind}."
        )
        if not chosen:
            return text
        best = int(p.argmax())
        found = deepest(p, chosen, self.confidence)
        answer = "no answer"
        if found:
            right = found[0] == true.path[: len(found[0])]
            name = " ".join(found[0][5:] if len(found[0]) == len(RANKS) else found[0][-1:])
            answer = f"the {RANKS[len(found[0]) - 1]} {name} ({found[1]:.3f}), which is {'right' if right else 'wrong'}"
        first = f"Most probable: {_name(chosen[best])} ({p[best]:.3f})."
        return f"{text} {first} Deepest rank above {self.confidence:.0%}: {answer}."

    def still(self) -> list[tuple[bytes, str]]:
        taxa, labels = self._table()
        true = taxa[self.organism]
        p, (similar, of) = self.probabilities() if self.labels else np.zeros(0), self.similarities()
        best = np.argsort(-p, kind="stable")[:8]
        with mpl.rc_context():
            plots.use()
            fig = Figure(figsize=(10.4, 3.6))
            bars, map_, tree = fig.subplots(1, 3, width_ratios=[1.5, 1, 1])
            names = []
            for row, i in enumerate(best):
                label = labels[self.labels[i]]
                fits = _path(label) == true.path[: rank_of(label) + 1]
                names.append(_name(label) + (" (fits)" if fits else ""))
                color = plots.WING["bioclip"]
                bars.barh(row, p[i], color=color, hatch="//" if fits else None, edgecolor=plots.BACKGROUND)
            bars.set_yticks(range(len(names)), names)
            bars.set(xlim=(0, 1), xlabel="probability", title=f"A photograph of {true.name}")
            bars.invert_yaxis()
            bars.grid(False, axis="y")
            others = similar[~np.eye(len(of), dtype=bool)]
            for ax, values, most, title in (
                (map_, similar, others.max(), f"similarity of {self.source}"),
                (tree, -lca_height(of, of), 0, "ranks apart in the tree"),
            ):
                ax.imshow(values, vmax=most)
                ax.grid(False)
                ax.set(xticks=[], yticks=[], title=title, xlabel=f"{len(of)} {_plural(Rank(self.rank))}")
        first = f"{_name(labels[self.labels[best[0]]])} with {p[best[0]]:.3f}" if len(best) else "no label"
        alt = (
            f"Bars of the most probable of {len(self.labels)} labels for a photograph of {true.name}: first {first}. Beside "
            f"them two maps of all pairs of {len(of)} {_plural(Rank(self.rank))}, ordered by the tree: the similarity of their "
            f"{self.source}, and how far apart they are in the tree."
        )
        return [(plots.png(fig), alt)]


def _halves(x: Tensor) -> bytes:
    return x.detach().cpu().numpy().astype("<f2").tobytes()


def _floats(data: bytes) -> Tensor:
    return torch.from_numpy(np.frombuffer(data, "<f2").astype(np.float64))


def _path(label: Taxon) -> Lineage:
    return label.path[: rank_of(label) + 1]


def _name(label: Taxon) -> str:
    rank = rank_of(label)
    return label.name if rank is Rank.SPECIES else label.path[rank]


def _plural(rank: Rank) -> str:
    return ("kingdoms", "phyla", "classes", "orders", "families", "genera", "species")[rank]
