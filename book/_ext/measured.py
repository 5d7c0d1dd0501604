"""Figures of the benchmarks, taken from benchmarks/results/ when the site is built.

{measured}`vectorise:ns_per_pixel.good:.2f`   a number: file, path inside it, format. With a second path, their ratio:
{measured}`vectorise:ns_per_pixel.library_exp/ns_per_pixel.good:.0f`
{benchmark-table}                             the rasterizer's table

Of several machines' files the newest is taken. A missing file or path is a warning, and so fails the build.
"""

import json
from pathlib import Path

from docutils import nodes
from ledger import Ledger
from sphinx.util.docutils import SphinxRole

ROOT = Path(__file__).parents[2]


def setup(app):
    app.add_role("measured", Measured())
    app.add_directive("benchmark-table", BenchmarkTable)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def newest(name):
    """The results of benchmarks/<name>.py that were made last."""
    found = [json.loads(p.read_text(encoding="utf-8")) for p in (ROOT / "benchmarks/results").glob(f"{name}-*.json")]
    return max(found, key=lambda result: result["machine"]["date"])


class Measured(SphinxRole):
    def run(self):
        try:
            name, path, form = self.text.split(":")
            top, *bottom = (self.value(newest(name), part) for part in path.split("/"))
            return [nodes.Text(format(top / bottom[0] if bottom else top, form))], []
        except (ValueError, KeyError, IndexError) as error:
            message = self.inliner.reporter.warning(f"measured: no figure {self.text!r} ({error!r})", line=self.lineno)
            return [], [message]

    @staticmethod
    def value(result, path):
        for key in path.split("."):
            result = result[int(key)] if isinstance(result, list) else result[key]
        return result


class BenchmarkTable(Ledger):
    def run(self):
        result = newest("rasterize")
        head = [
            "Gaussians",
            "pixels",
            "backend",
            "forward, ms",
            "forward and backward, ms",
            "against the textbook loop",
        ]
        rows, textbook = [], {}
        for row in result["rows"]:
            if row["backend"] == "textbook" and "forward" in row:
                textbook[row["gaussians"]] = row
        for row in result["rows"]:
            if "forward" not in row:
                continue
            yard = textbook.get(row["gaussians"])
            times = [row["forward"]["ms"], row["training"]["ms"]]
            factors = [yard["forward"]["ms"] / times[0], yard["training"]["ms"] / times[1]] if yard else []
            ratio = ", ".join(f"{f:.2g} x" for f in factors) if row is not yard else "1"
            shape = [f"{row['gaussians']:,}", f"{row['size']} x {row['size']}", row["backend"]]
            rows.append([*shape, *(f"{t:.3g}" for t in times), ratio])
        info = result["machine"]
        gpu = f", {info['gpu']}" if info["gpu"] else ", no GPU"
        words = f"Medians. {info['cpu']}, {info['cores']} cores{gpu}; {info['date'][:10]}."
        return [self.table(head, rows, [2, 2, 2, 2, 3, 3], ["benchmark"]), nodes.paragraph(words, words)]
