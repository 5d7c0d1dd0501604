r"""Captions, with all that is missing

A species comes as its seven ranks from kingdom to epithet and a common name. Write the five captions that training mixes:

| type | caption |
| --- | --- |
| `com` | a photo of *common name*. |
| `sci` | a photo of *genus epithet*. |
| `taxon` | a photo of *all ranks*. |
| `sci_com` | a photo of *genus epithet* with common name *common name*. |
| `taxon_com` | a photo of *all ranks* with common name *common name*. |

Common names are in small letters. What is unknown is the empty string, and real tables are full of it:

- a rank that is missing is left out;
- without a common name, the scientific name (genus and epithet) stands in its place;
- without a genus, all ranks that are there stand in the place of the scientific name.
"""

from collections.abc import Sequence

from ...course.checks import Checker, true
from ..taxa import Taxon, taxa
from ..taxonomy import captions as library

LEVEL, MINUTES, DIFFICULTY = "core", 10, 1
HINT = r"""
`" ".join(name for name in ranks if name)` leaves no gap where a rank is missing. Genus and epithet are `ranks[5:]`.
"""
NOTE = r"""
A caption with a hole is simply shorter, and nothing in it says that something is missing. So a goldfish whose table has no
class is trained on under "Animalia Chordata Cypriniformes ...", a string that shares only its first two names with other
fishes. Users of public label lists have missed the goldfish for another reason: records with a hole had been dropped.
"""


def captions(ranks: Sequence[str], common_name: str) -> dict[str, str]:
    """The five captions of a species.

    ranks: kingdom, phylum, class, order, family, genus, epithet; "" where one is
    missing; common_name: "" if there is none
    -> {"com": ..., "sci": ..., "taxon": ..., "sci_com": ..., "taxon_com": ...}
    """
    taxonomic = " ".join(name for name in ranks if name)
    scientific = " ".join(name for name in ranks[5:] if name) if ranks[5] else taxonomic
    common = common_name.lower() or scientific
    return {
        "com": f"a photo of {common}.",
        "sci": f"a photo of {scientific}.",
        "taxon": f"a photo of {taxonomic}.",
        "sci_com": f"a photo of {scientific} with common name {common}.",
        "taxon_com": f"a photo of {taxonomic} with common name {common}.",
    }


check = Checker("5.1")


def _compare(answer, taxon: Taxon, hint: str = "") -> None:
    found, want = answer(taxon.path, taxon.common_name), library(taxon)
    for kind in ("com", "sci", "taxon", "sci_com", "taxon_com"):
        text = found.get(kind, "nothing")
        true(text == want[kind], f"{kind}: {want[kind]!r}", f"{kind}: {text!r}", hint=hint)


def _species(name: str) -> Taxon:
    return next(taxon for taxon in taxa() if taxon.name == name)


@check.property("the five strings of a magpie, to the full stop")
def _(answer):
    _compare(answer, _species("Pica hudsonia"), "no article before the name, small letters in the common name")


@check.property("a genus that repeats as epithet stays twice")
def _(answer):
    _compare(answer, _species("Pica pica"))


@check.property("a missing rank leaves no gap")
def _(answer):
    _compare(
        answer, Taxon("Animalia", "Chordata", "", "Cypriniformes", "Cyprinidae", "Carassius", "auratus", "goldfish")
    )
    _compare(
        answer, Taxon("Animalia", "Arthropoda", "Insecta", "Coleoptera", "Carabidae", "Carabus", "", "ground beetle")
    )


@check.property("without a common name, the scientific one stands in its place")
def _(answer):
    _compare(
        answer, Taxon("Fungi", "Basidiomycota", "Agaricomycetes", "Agaricales", "Amanitaceae", "Amanita", "muscaria")
    )


@check.property("without a genus, the ranks that are there do")
def _(answer):
    _compare(answer, Taxon("Animalia", "Arthropoda", "Insecta", "Diptera", "Sciaridae", "", "", ""))
    _compare(answer, Taxon("Animalia", "Arthropoda", "Insecta", "Diptera", "Sciaridae", "", "", "Fungus gnat"))
