"""Where a paper is to be found, and how it and this book are cited; all from book/references.bib and CITATION.cff.

The page book/<wing>/paper begins with links to the wing's paper, its code and its project page, and its BibTeX in a fold: those
of the entry of references.bib whose field `wing` names it. The directive {citation} shows how to cite this book.
"""

import re
from pathlib import Path

import yaml
from docutils import nodes
from sphinx.transforms import SphinxTransform
from sphinx.util.docutils import SphinxDirective

OURS = ("wing", "code", "project", "data", "replication")
WORDS = {
    "project": "The authors' page",
    "code": "The authors' code",
    "data": "The authors' data",
    "replication": "Its first author's replication",
}


def setup(app):
    app.add_transform(PaperLinks)
    app.add_directive("citation", Citation)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def entries(text):
    """The entries of a .bib file as they stand there."""
    return re.findall(r"(?ms)^@.*?^\}", text)


def field(entry, name):
    found = re.search(rf"(?m)^\s*{name}\s*= \{{(.*)\}},?$", entry)
    return found[1] if found else ""


def bibtex(entry):
    """An entry without the fields that are ours alone."""
    kept = [line for line in entry.splitlines() if not re.match(rf"\s*({'|'.join(OURS)})\s*=", line)]
    kept[-2] = kept[-2].rstrip(",")
    return "\n".join(kept)


def places(entry):
    """(words, address) of all that a reader may open."""
    number, doi = field(entry, "eprint"), field(entry, "doi")
    found = [(f"arXiv:{number}", f"https://arxiv.org/abs/{number}"), ("PDF", f"https://arxiv.org/pdf/{number}")]
    found.append((f"doi:{doi}", f"https://doi.org/{doi}"))
    return found + [(words, field(entry, name)) for name, words in WORDS.items() if field(entry, name)]


def fold(words, code):
    """A block of code behind a summary."""
    block = nodes.literal_block(code, code, language="bibtex")
    begin = nodes.raw("", f'<details class="bibtex"><summary>{words}</summary>', format="html")
    return [begin, block, nodes.raw("", "</details>", format="html")]


class PaperLinks(SphinxTransform):
    default_priority = 860

    def apply(self, **kwargs):
        found = re.fullmatch(r"book/(\w+)/paper", self.env.docname)
        title = next(self.document.findall(nodes.title), None)
        if not found or title is None:
            return
        bib = Path(self.env.srcdir, "book", "references.bib")
        self.env.note_dependency(str(bib))
        mine = [e for e in entries(bib.read_text(encoding="utf-8")) if field(e, "wing") == found[1]]
        for entry in mine:
            links = nodes.paragraph()
            for k, (words, address) in enumerate(places(entry)):
                links += [nodes.Text(" · ")] * bool(k) + [nodes.reference("", words, refuri=address)]
            if not field(entry, "code"):
                links += nodes.Text(" · No code of the authors that we know of.")
            box = nodes.container("", links, *fold("BibTeX", bibtex(entry)), classes=["paper-links"])
            title.parent.insert(title.parent.index(title) + 1, box)


class Citation(SphinxDirective):
    def run(self):
        path = Path(self.env.srcdir, "CITATION.cff")
        self.env.note_dependency(str(path))
        about = yaml.safe_load(path.read_text(encoding="utf-8"))
        year = self.config.copyright
        authors = " and ".join(f"{{{a['name']}}}" for a in about["authors"])
        code = (
            f"@software{{bestpapersrebuilt,\n  title   = {{{about['title']}}},\n  author  = {{{authors}}},\n"
            f"  year    = {{{year}}},\n  version = {{{about['version']}}},\n  url     = {{{about['repository-code']}}}\n}}"
        )
        names = ", ".join(a["name"] for a in about["authors"])
        text = f"{names} ({year}). {about['title']}, version {about['version']}. "
        address = about["repository-code"]
        line = nodes.paragraph("", text, nodes.reference("", address, refuri=address))
        return [line, nodes.literal_block(code, code, language="bibtex")]
