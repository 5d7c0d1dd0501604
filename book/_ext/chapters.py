"""Numbers and names of chapters and equations, so that contents, text, search and browser tabs tell the wings apart.

notebooks/splatting/3_reproduce   "Does it hold?"   becomes   "1.3 Does it hold?"
book/splatting/reading_group      "Reading group"   becomes   "Mip-Splatting: reading group"

The first number is the wing's, the second that of the notebook's file name. A displayed formula of a notebook gets (1.3.2),
counted on its page, and an anchor. Nothing is written into a notebook. mend.py numbers the figures, whose captions are text.
"""

import re

from docutils import nodes
from sphinx.transforms import SphinxTransform

from bestpapers.course import WINGS

PAPERS = {
    "splatting": "Mip-Splatting",
    "bioclip": "BioCLIP",
    "dynamics": "Generative Image Dynamics",
    "feedback": "Rich Human Feedback",
}


def setup(app):
    app.add_transform(Numbers)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


class Numbers(SphinxTransform):
    default_priority = 870  # Sphinx collects titles and equations at 880

    def apply(self, **kwargs):
        title = next(self.document.findall(nodes.title), None)
        if title is None:
            return
        if number := chapter(self.env.docname):
            title.insert(0, nodes.Text(f"{number} "))
            for k, block in enumerate(formulas(self.document), 1):
                block["number"] = f"{number}.{k}"
                block["ids"] = [f"equation-{number}.{k}".replace(".", "-")]
        elif (new := with_paper(self.env.docname, title.astext())) != title.astext():
            title.children = []
            title += nodes.Text(new)


def chapter(document):
    """`1.3` of notebooks/splatting/3_reproduce; nothing of other pages."""
    found = re.fullmatch(r"notebooks/(\w+)/(\d+)_\w+", document)
    return f"{WINGS.index(found[1]) + 1}.{found[2]}" if found and found[1] in WINGS else ""


def with_paper(document, title):
    """The title of a wing's page in book/, with the paper's name if that is not in it."""
    paper = PAPERS.get(document.split("/")[1], "") if document.startswith("book/") and document.count("/") == 2 else ""
    if not paper or paper.lower() in title.lower():
        return title
    return f"{paper}: {title[0].lower()}{title[1:]}"


def formulas(document):
    """Displayed formulas that have no number of their own and can carry one."""
    return [b for b in document.findall(nodes.math_block) if not b.get("number") and not b.get("nowrap")]
