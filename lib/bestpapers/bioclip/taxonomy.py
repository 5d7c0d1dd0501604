"""The tree of life as text and as a tree: labels cleaned, captions, probabilities rolled up, distances, filters.

Behaviour follows the authors' `naming.py` and `make_wds.py` (cleaning, captions) and pybioclip (`Rank`, sums over species),
except where a docstring says so. A rank that is missing is the empty string.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from enum import IntEnum
from itertools import groupby
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import NDArray

from .taxa import RANKS, Taxon

if TYPE_CHECKING:
    from torch import Tensor

Lineage = tuple[str, ...]  # the names from kingdom down to some rank

TEXT_TYPES = ("com", "sci", "taxon", "sci_com", "taxon_com")  # the five that training mixes
UNKNOWN = (
    "unknown", "unidentified", "(unidentified)", "not_classified", "pleasehelp", "not identified", "incertae sedis",
    "na", "n/a", "#n/a", "nan", "none", "null",
)  # fmt: skip
KINGDOMS = {"Metazoa": "Animalia", "Archaeplastida": "Plantae", "Chloroplastida": "Plantae"}  # synonyms
# small words inside the names of authors
PARTICLES = ("de", "den", "der", "du", "la", "le", "von", "van", "ex", "et", "and", "in")
NAMELESS = (
    "sp", "spp", "spec", "species", "indet", "undetermined", "undescribed", "not", "identified", "incertae", "sedis", "new",
    "other", "mixed", *UNKNOWN,
)  # fmt: skip
# what stands in the place of an epithet, before one that is uncertain or of a part of the species, or behind all names
NO_EPITHETS = (
    "ssp", "subsp", "var", "forma", "cf", "aff", "nr", "near", "hybrid", "group", "agg", "sensu", "auct", "juvenile", "juv",
    "immature", "adult", "larvae", "nymph", "male", "female", *NAMELESS,
)  # fmt: skip
CHOICES = ("or", "and", "et", "&", "vs")  # right behind an epithet: one of two names, and who knows which
DOUBT = re.compile(r"[/+*?=|]")  # two names in one, or none that is certain
CROSS = "×"  # of hybrids
APOSTROPHES = dict.fromkeys(map(ord, "\u2018\u2019\u02bc\u02bb\u2032`\u00b4"), "'")
EXTINCT = dict.fromkeys(map(ord, "†‡"), " ")


class Rank(IntEnum):
    """The seven ranks, kingdom = 0 to species = 6."""

    KINGDOM = 0
    PHYLUM = 1
    CLASS = 2
    ORDER = 3
    FAMILY = 4
    GENUS = 5
    SPECIES = 6

    def get_label(self) -> str:
        """ "kingdom", "phylum", and so on."""
        return RANKS[self]


# ------------------------------------------------------------------------------------------------------------ cleaning


def clean(taxon: Taxon) -> Taxon:
    """A taxon as data sources write it -> as the captions want it: "Panthera", "leo" from "PANTHERA", "<i>Panthera leo</i> L.".

    HTML tags, authors, years and brackets go, a subgenus too, and "ssp.", "subsp.", "var." with what follows; what is unknown
    becomes empty; kingdoms get one name each. A species that repeats its genus loses it, one that brings the missing genus
    gives it away, and "pica pica" in place of an epithet is "pica". Where the species is "Quercus", "Quercus L." or
    "Quercus sp.", the name of a family, or a name in another genus, there is no epithet; nor where it is two names in one
    ("leo / tigris") or in doubt ("leo?"), or the genus cannot be read; see `unread`. Ranks are capitalised, the epithet is
    small. A third name without a mark stays: "lupus familiaris". What is extinct loses its mark, †. A hybrid's name loses
    its mark, × or x, with which it is the same name (the code of nomenclature, H.3); one that is given by its parents keeps
    both: "robur × petraea". Letters with accents are composed. The common name keeps its case.

    For use on raw data, once: in "pica melanotos", a magpie's subspecies, a second pass would take "pica" for the genus.
    """
    *ranks, given, species = (_strip(value) for value in taxon.path)
    genus, species = _binomial(_genus(given), species, {rank.lower() for rank in ranks})
    if given and not genus:
        species = ""
    kingdom, phylum, class_, order, family, genus = (_capital(name) for name in (*ranks, genus))
    kingdom = KINGDOMS.get(kingdom, kingdom)
    return replace(
        taxon,
        kingdom=kingdom,
        phylum=phylum,
        class_=class_,
        order=order,
        family=family,
        genus=genus,
        species=species,
        common_name=_strip(taxon.common_name),
    )


def unread(taxon: Taxon, cleaned: Taxon) -> str:
    """What is given as genus and species, if `clean` could not read all of it; else, as for "Panthera sp.", empty.

    The taxon then stands for its genus, or for the lowest rank above that is known.
    """
    genus, species = map(_strip, taxon.path[Rank.GENUS :])
    given = species if cleaned.genus else f"{genus} {species}".strip()
    if cleaned.species:
        return ""
    known = {name.lower() for rank in cleaned.path for name in rank.split()}
    words = [word for word in _words(given) if re.search(r"[^\W\d_]", word)]
    plain = all(word.strip("[](),;").lower() in known or _is_mark(word) for word in words)
    return "" if plain else given


def _strip(value: str) -> str:
    """`_composed`, without HTML, the mark of what is extinct, and surplus spaces; empty if it says that nothing is known."""
    value = " ".join(re.sub(r"<[^<>]*>|[<>]", " ", _composed(value).translate(EXTINCT)).split())
    return value if value.lower() not in UNKNOWN and re.search(r"[^\W_]", value) else ""


def _composed(value: str) -> str:
    """With accents in one character, and straight apostrophes."""
    return unicodedata.normalize("NFC", value).translate(APOSTROPHES)


def _capital(name: str) -> str:
    """ "PANTHERA" as "Panthera"; behind "Candidatus", which is a status, the name has a capital of its own."""
    name = name.capitalize()
    return f"Candidatus {name[11:].capitalize()}" if name.startswith("Candidatus ") else name


def _words(value: str) -> list[str]:
    """Words, with brackets and the marks of hybrids by themselves: "leo(L.)", "×rosacea", "x rosacea", "xCuprocyparis"."""
    value = re.sub(r"(?<!\S)x(?=[A-Z])", CROSS, value).replace(CROSS, f" {CROSS} ")
    words = re.sub(r"[(\[]", r" \g<0>", value).split()
    return [CROSS if word in ("x", "X") else word for word in words]


def _genus(value: str) -> str:
    """A genus without its author, its subgenus and the mark of a hybrid."""
    words = _words(value)
    words = words[1:] if words[:1] == [CROSS] else words
    if DOUBT.search(value) or "".join(words[1:2]).lower() in CHOICES:
        return ""
    name = " ".join(words[: 2 if words and words[0].lower() == "candidatus" else 1]).strip("[],;")
    return name if all(_word_like(word) and not _is_mark(word) for word in name.split()) else ""


def _binomial(genus: str, species: str, above: Collection[str]) -> tuple[str, str]:
    """Genus and epithet from the two fields; above: the names of higher ranks, in small letters."""
    words = _words(species.lower() if species.isupper() else species)  # then capitals do not tell names of authors
    words = _behind_genus(words)
    if words and words[0].lower() in above:
        return genus, ""
    status, genus = ("Candidatus ", genus[11:]) if genus.lower().startswith("candidatus ") else ("", genus)
    if words and words[0].lower() == "candidatus":
        status, words = status if genus else "Candidatus ", words[1:]
    genus, words = _without_genus(genus, words)
    genus = f"{status}{genus}" if genus else ""
    parents = [list(group) for is_mark, group in groupby(words, CROSS.__eq__) if not is_mark]
    if CROSS not in words[1:]:
        return genus, _epithet(words)
    epithets = [_epithet(parents[0]), *(_parent(genus, parent) for parent in parents[1:])]
    return genus, f" {CROSS} ".join(epithets) if words[-1] != CROSS and all(epithets) else ""


def _without_genus(genus: str, words: list[str]) -> tuple[str, list[str]]:
    """The genus, of "Panthera leo ..." if it was not known, and what follows it: "leo ...". Told by capitals and by what
    follows: "leo Linnaeus" has none, and in "lynx (L.)" of the genus Lynx it is the epithet that stands there."""
    if not words:
        return genus, words
    first, rest = words[0].rstrip(",;"), _behind_genus(words[1:])
    second = rest[0].rstrip(",;") if rest else ""
    binomial = _word_like(second) and second.islower() and not _is_mark(second) and not _is_author(rest, 0)
    if genus and first.lower() in (genus.lower(), f"{genus[0].lower()}."):
        return genus, rest if first[0].isupper() or binomial or second.rstrip(".") in NAMELESS else words
    if not _word_like(first) or _is_mark(first) or (second in CHOICES and "".join(rest[1:2]).islower()):
        return genus, words
    if first[0].isupper() and (binomial or not genus):
        return (genus, []) if genus else (first, rest)  # the former is a name in another genus
    return (first, rest) if binomial and not genus and rest == words[1:] else (genus, words)


def _behind_genus(words: list[str]) -> list[str]:
    """Without the subgenus and the mark of a hybrid: "(Stegomyia) aegypti", "× piperita"."""
    if len(words) > 1 and re.fullmatch(r"\([\w-]+\)", words[0]) and words[1][0].islower():
        words = words[1:]
    return words[1:] if words[:1] == [CROSS] else words


def _epithet(words: Sequence[str]) -> str:
    """The epithet, and what names a part of the species; empty where it is not plain which one is meant."""
    if DOUBT.search(" ".join(words)):
        return ""
    epithet = list[str]()
    for i, word in enumerate(words):
        name = word.rstrip(",;")
        if epithet and name.lower() in CHOICES:
            return ""
        if not _word_like(name) or _is_mark(name):
            break  # a bracket, a year, "var."
        if epithet and (not name.islower() or _is_author(words, i)):
            break
        of_a_person = "'" not in name or name.endswith(("i", "ae"))  # "O'Connori", and not "O'Connor"
        if not name.islower() and (not name.istitle() or not of_a_person or name != word or _is_author(words, i)):
            break  # an author, and not an epithet with a capital letter
        epithet.append(name.lower())
        if name != word:
            if _is_another(words, i + 1):
                return ""
            break
    while epithet and epithet[-1] in PARTICLES:
        epithet.pop()
    if len(epithet) == 2 and epithet[0] == epithet[1]:
        epithet.pop()
    return " ".join(epithet)


def _parent(genus: str, words: list[str]) -> str:
    """The other parent of a hybrid: "petraea", also from "Q. petraea"; with its genus where that is another one."""
    if words[0][0].islower() or words[0].lower() in (genus.lower(), f"{genus[:1].lower()}."):
        return _epithet(_without_genus(genus, words)[1])
    epithet = _epithet(words[1:])
    return f"{words[0]} {epithet}" if epithet else ""


def _word_like(name: str) -> bool:
    return bool(re.fullmatch(r"[^\W_][\w'-]*", name) and re.search(r"[^\W\d_]{2}", name))


def _is_mark(name: str) -> bool:
    """Whether a word stands in the place of a name: "sp.", "sp1", "NA"."""
    return name.lower().rstrip(".,;0123456789_") in NO_EPITHETS


def _is_another(words: Sequence[str], i: int) -> bool:
    """Whether word i, behind a comma, is a name again, and no author: "leo, tigris"."""
    name = words[i].rstrip(",;") if i < len(words) else ""
    other = _is_mark(name) or name in PARTICLES or name != words[i] or _is_author(words, i)
    return name.islower() and _word_like(name) and not other


def _is_author(words: Sequence[str], i: int) -> bool:
    """Whether a year or another author follows word i."""
    return i + 1 < len(words) and bool(re.fullmatch(r"\W*\d{4}\W*|&|et|and", words[i + 1]))


# ------------------------------------------------------------------------------------------------------------ captions


def names(taxon: Taxon) -> dict[str, str]:
    """The bare names of a cleaned taxon, keyed as the files of a shard: scientific_name, taxonomic_name, common_name.

    Missing ranks are left out. Without a genus the scientific name is the taxonomic one (there the authors' script writes
    "a photo of .", or the bare epithet); without a common name it is the scientific one. Common names are in small letters,
    which changes nothing for the model: its tokenizer reads everything so.
    """
    taxonomic = " ".join(name for name in taxon.path if name)
    if not taxonomic:
        raise ValueError(f"captions: a taxon needs at least one rank, got {taxon}")
    scientific = " ".join(name for name in taxon.path[Rank.GENUS :] if name) if taxon.genus else taxonomic
    return dict(
        scientific_name=scientific, taxonomic_name=taxonomic, common_name=taxon.common_name.lower() or scientific
    )


def captions(taxon: Taxon) -> dict[str, str]:
    """The captions of a cleaned taxon, keyed as the files of a shard: the five of TEXT_TYPES, then taxonTag, taxonTag_com.

    Fallbacks as in `names`.
    """
    bare = names(taxon)
    scientific, taxonomic, common = bare["scientific_name"], bare["taxonomic_name"], bare["common_name"]
    tagged = " ".join(f"{rank} {name}" for rank, name in zip(RANKS, taxon.path) if name)
    return dict(
        com=f"a photo of {common}.",
        sci=f"a photo of {scientific}.",
        taxon=f"a photo of {taxonomic}.",
        sci_com=f"a photo of {scientific} with common name {common}.",
        taxon_com=f"a photo of {taxonomic} with common name {common}.",
        taxonTag=f"a photo of {tagged}.",
        taxonTag_com=f"a photo of {tagged} with common name {common}.",
    )


# ---------------------------------------------------------------------------------------------------------------- tree


@overload
def rollup(
    probabilities: NDArray[np.floating], taxa: Sequence[Taxon], rank: Rank
) -> tuple[NDArray[np.floating], list[Lineage]]: ...
@overload
def rollup(probabilities: Tensor, taxa: Sequence[Taxon], rank: Rank) -> tuple[Tensor, list[Lineage]]: ...
def rollup(probabilities, taxa, rank):  # type: ignore[no-untyped-def]
    """Sum the probabilities of species into groups of a higher rank.

    probabilities  [..., S] of the S taxa, numpy array or torch tensor (gradients pass)
    returns        ([..., G], groups): the same kind of array, and the G groups in order of first appearance

    A group is a full path from the kingdom down to `rank`, not a name: canadensis is a deer, a sheep and a goose.
    """
    if probabilities.shape[-1] != len(taxa):
        raise ValueError(f"rollup: {probabilities.shape[-1]} probabilities for {len(taxa)} taxa")
    groups, index = groups_at(taxa, Rank(rank))
    if isinstance(probabilities, np.ndarray):
        order = np.argsort(index, kind="stable")
        starts = np.searchsorted(index[order], np.arange(len(groups)))
        return np.add.reduceat(probabilities[..., order], starts, axis=-1), groups
    import torch

    out = probabilities.new_zeros((*probabilities.shape[:-1], len(groups)))
    return out.index_add(-1, torch.as_tensor(index, device=probabilities.device), probabilities), groups


def groups_at(taxa: Iterable[Taxon], rank: Rank) -> tuple[list[Lineage], NDArray[np.int64]]:
    """The different paths down to a rank, and for each taxon which of them it has."""
    numbers: dict[Lineage, int] = {}
    index = [numbers.setdefault(taxon.path[: rank + 1], len(numbers)) for taxon in taxa]
    return list(numbers), np.array(index, np.int64)


def tree_distance(a: Taxon, b: Taxon) -> int:
    """Ranks up to the lowest common ancestor: 0 the same species, 1 the same genus, ..., 7 different kingdoms."""
    shared = 0
    for x, y in zip(a.path, b.path):
        if x != y:
            break
        shared += 1
    return len(RANKS) - shared


def lca_height(a: Sequence[Taxon], b: Sequence[Taxon]) -> NDArray[np.int64]:
    """`tree_distance` of all pairs [A, B]: the height of each lowest common ancestor above the species.

    How severe mistakes are: `lca_height(taxa, taxa)[truth, predicted].mean()`.
    """
    height = np.full((len(a), len(b)), len(RANKS))
    for rank in Rank:
        _, index = groups_at([*a, *b], rank)
        height -= index[: len(a), None] == index[None, len(a) :]
    return height


def taxa_filter(rank: Rank, names: str | Iterable[str], taxa: Sequence[Taxon]) -> NDArray[np.bool_]:
    """Which taxa [S] belong to the groups of these names at a rank; capitals, and how accents and apostrophes are encoded,
    do not matter.

    A species goes by its two names ("Ovis canadensis"), other ranks by one. A name that two kingdoms use means both groups.
    Of {name: where it stands} an error says the latter, too.
    Raises ValueError for a name that none of the taxa has, with the closest ones there are.
    """
    rank = Rank(rank)
    parts = slice(Rank.GENUS, None) if rank is Rank.SPECIES else slice(rank, rank + 1)
    own = [" ".join(taxon.path[parts]) if all(taxon.path[parts]) else "" for taxon in taxa]
    known = {_plain(name): name for name in own if name}
    wanted = {_plain(name): name for name in ([names] if isinstance(names, str) else names)}
    places = names if isinstance(names, Mapping) else {}
    if not wanted:
        raise ValueError("filter: no names")
    if unknown := sorted(wanted.keys() - known.keys()):
        lines = [f"filter: {len(unknown)} of {len(wanted)} names are no {rank.get_label()} of the {len(own)} taxa:"]
        for name in unknown[:5]:
            close = [known[key] for key in difflib.get_close_matches(name, known, n=3)]
            close += [full for key, full in known.items() if name in key.split() and full not in close][:3]
            where = f"{places[wanted[name]]}: " if places else ""
            lines.append(
                f"  {where}{name!r:.80}: " + (f"did you mean {' or '.join(close)}?" if close else "nothing like it")
            )
        if len(unknown) > 5:
            lines.append(f"  and {len(unknown) - 5} more")
        raise ValueError("\n".join(lines))
    return np.array([_plain(name) in wanted for name in own], bool)


def _plain(name: str) -> str:
    return _composed(name).lower()
