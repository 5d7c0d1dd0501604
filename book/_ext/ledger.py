"""Tables that are made from the stored notebooks when the site is built.

{counts}       how many claims of each wing hold, do not hold, are undecided, are not tested
{scorecard}    every claim that a notebook records, with a link to the cell that tests it
{claims} WING  what the wing's claims.toml says, each with its outcome: for the page of a paper
{status}       what each notebook cost when it was run, where, and with which versions

Nothing is typed in by hand: a notebook that is executed again changes its rows.
"""

import json
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from bestpapers.course import WINGS, claims

WORDS = {"identity": "identity", "toy": "toy scale", "full": "full scale", "none": "none"}


def setup(app):
    app.add_directive("counts", Counts)
    app.add_directive("scorecard", Scorecard)
    app.add_directive("claims", Claims)
    app.add_directive("status", Status)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


class Ledger(SphinxDirective):
    """What both directives need: the stored notebooks, links to their pages, tables."""

    def notebooks(self):
        """The notebooks of the table of contents, in its order: document -> path. Sphinx itself warns of a missing one."""
        paths = {d: Path(self.env.srcdir, f"{d}.ipynb") for d in toc_documents(self.env) if d.startswith("notebooks/")}
        return {d: path for d, path in paths.items() if path.is_file()}

    def recorded(self):
        """The rows that stored notebooks record, each with the `document` of its page and the paper's figure as `said`."""
        pages = self.notebooks()
        documents = {path.as_posix(): document for document, path in pages.items()}
        for row in (rows := claims.collect(pages.values())):
            row["document"] = documents[row["notebook"]]
            row["said"] = f"{row['where']}: {row['paper']}" if row["paper"] else row["where"]
        return rows

    def link(self, text, document, anchor=""):
        uri = self.env.app.builder.get_relative_uri(self.env.docname, document)
        return nodes.reference(text, text, refuri=uri + (f"#{anchor}" if anchor else ""), internal=True)

    def table(self, head, rows, widths, classes):
        """A table in a box that scrolls sideways where the screen is narrow. Cells are strings or lists of nodes."""
        group = nodes.tgroup(cols=len(head))
        group += [nodes.colspec(colwidth=w) for w in widths]
        for part, lines in ((nodes.thead(), [head]), (nodes.tbody(), rows)):
            for line in lines:
                row = nodes.row()
                for cell in line:
                    row += nodes.entry("", *([nodes.paragraph(cell, cell)] if isinstance(cell, str) else cell))
                part += row
            group += part
        return nodes.container("", nodes.table("", group, classes=classes), classes=["wide-table"])


class Counts(Ledger):
    def run(self):
        rows, lines = self.recorded(), []
        for wing in WINGS:
            found = [row["outcome"] for row in rows if row["key"].split(".")[0] == wing]
            if found:
                link = nodes.reference(wing, wing, refuri=f"#scorecard-{wing}", internal=True)
                counts = [str(found.count(outcome)) for outcome in claims.OUTCOMES]
                lines.append([[nodes.paragraph("", "", link)], *counts, str(len(found))])
        return [self.table(["Wing", *claims.OUTCOMES, "all"], lines, [20, *[16] * 5], ["counts"])]


class Scorecard(Ledger):
    def run(self):
        rows = self.recorded()
        if not rows:
            return [self.state.document.reporter.warning("no stored notebook records a claim", line=self.lineno)]
        result = []
        for wing in WINGS:
            if mine := [row for row in rows if row["key"].split(".")[0] == wing]:
                result += [
                    nodes.paragraph("", summary(mine), classes=["scorecard-summary"], ids=[f"scorecard-{wing}"]),
                    self.claims(mine),
                ]
        return result

    def claims(self, rows):
        lines = []
        for row in rows:
            claim = [nodes.paragraph("", row["claim"])]
            if row["note"]:
                claim.append(nodes.paragraph("", row["note"], classes=["claim-note"]))
            lines.append(
                [
                    [nodes.paragraph("", "", self.link(row["key"], row["document"], row["anchor"]))],
                    claim,
                    row["said"],
                    row["ours"] or "–",
                    WORDS[row["scale"]],
                    verdict(row["outcome"]),
                ]
            )
        head = ["Cell", "What the paper claims", "The paper's figure", "Ours", "Evidence", "Outcome"]
        return self.table(head, lines, [12, 34, 20, 18, 8, 8], ["scorecard"])


class Claims(Ledger):
    required_arguments = 1

    def run(self):
        wing = self.arguments[0]
        rows = {row["key"]: row for row in self.recorded()}
        lines, reporter = [], self.state.document.reporter
        for key, claim in claims.load(wing).items():
            if key not in rows:
                return [reporter.warning(f"no stored notebook records the claim {key}", line=self.lineno)]
            row = rows[key]
            link = self.link(key.split(".", 1)[1], row["document"], row["anchor"])
            lines.append([[nodes.paragraph("", "", link)], claim.claim, row["said"], verdict(row["outcome"])])
        return [
            self.table(
                ["Claim", "In our words", "The paper's figure", "Here"],
                lines,
                [10, 46, 30, 14],
                ["scorecard", "claims"],
            )
        ]


def verdict(outcome):
    return [nodes.paragraph("", "", nodes.inline(outcome, outcome, classes=["verdict", style(outcome)]))]


class Status(Ledger):
    def run(self):
        stored = {d: json.loads(p.read_text(encoding="utf-8"))["metadata"] for d, p in self.notebooks().items()}
        missing = [d for d, meta in stored.items() if "bestpapers" not in meta]
        if missing or not stored:
            message = f"not executed by scripts/execute.py: {', '.join(missing) or 'no notebook at all'}"
            return [self.state.document.reporter.warning(message, line=self.lineno)]
        records = {d: meta["bestpapers"] for d, meta in stored.items()}
        cost, version = [], []
        packages = list(next(iter(records.values()))["versions"])
        for document, r in records.items():
            page = [nodes.paragraph("", "", self.link(document.removeprefix("notebooks/"), document))]
            memory = f"{r['peak_mb'] / 1000:.2f} GB"
            cost.append([page, f"{r['seconds']:.0f} s", memory, r["date"], r["machine"]])
            version.append([[page[0].deepcopy()], *(r["versions"].get(p, "–") for p in packages)])
        seconds = sum(r["seconds"] for r in records.values())
        total = f"{len(records)} notebooks, {seconds:.0f} s together."
        return [
            nodes.paragraph("", total),
            self.table(
                ["Notebook", "Time", "Peak memory", "Run on", "Machine"], cost, [20, 10, 12, 14, 44], ["status"]
            ),
            self.table(["Notebook", *packages], version, [20] + [80 // len(packages)] * len(packages), ["status"]),
        ]


def toc_documents(env):
    """All documents of the table of contents, in reading order."""
    todo, result = [env.config.root_doc], []
    site_map = env.app.config.external_site_map
    while todo:
        document = todo.pop(0)
        result.append(document)
        children = [str(item) for tree in site_map[document].subtrees for item in tree.items]
        todo = children + todo
    return result


def style(verdict):
    return f"verdict-{verdict.replace(' ', '-')}"


def summary(rows):
    """`splatting: 14 rows. 9 hold, 2 do not hold, 2 undecided, 1 not tested.`"""
    found = [row["outcome"] for row in rows]
    words = {"holds": "hold", "does not hold": "do not hold"}
    counts = ", ".join(f"{found.count(outcome)} {words.get(outcome, outcome)}" for outcome in claims.OUTCOMES)
    return f"{rows[0]['key'].split('.')[0]}: {len(rows)} rows. {counts}."
