"""Figures of the benchmarks, taken from benchmarks/results/ when the site is built.

{measured}`vectorise:ns_per_pixel.good:.2f`   a number: file, path inside it, format. With a second path, their ratio:
{measured}`vectorise:ns_per_pixel.library_exp/ns_per_pixel.good:.0f`
{benchmark-table}                             the rasterizer's table
{benchmark-machines}                          all machines with results, and how each fares beside other programs

Figures are those of the reference machine (benchmarks/_results.py), whatever other machines' files there are; of a benchmark
that did not run there, of the first that has it. A missing file or path is a warning, and so fails the build.
"""

import sys
from pathlib import Path

from docutils import nodes
from ledger import Ledger
from sphinx.util.docutils import SphinxRole

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
from _results import machines, reference


def setup(app):
    app.add_role("measured", Measured())
    app.add_directive("benchmark-table", BenchmarkTable)
    app.add_directive("benchmark-machines", MachinesTable)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


class Measured(SphinxRole):
    def run(self):
        try:
            name, path, form = self.text.split(":")
            top, *bottom = (self.value(reference(name), part) for part in path.split("/"))
            return [nodes.Text(format(top / bottom[0] if bottom else top, form))], []
        except (OSError, ValueError, KeyError, IndexError) as error:
            message = self.inliner.reporter.warning(f"measured: no figure {self.text!r} ({error!r})", line=self.lineno)
            return [], [message]

    @staticmethod
    def value(result, path):
        for key in path.split("."):
            result = result[int(key)] if isinstance(result, list) else result[key]
        return result


class BenchmarkTable(Ledger):
    def run(self):
        result = reference("rasterize")
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
        words = f"Medians. {in_words(result['machine'])}; {result['machine']['date'][:10]}."
        return [self.table(head, rows, [2, 2, 2, 2, 3, 3], ["benchmark"]), nodes.paragraph(words, words)]


class MachinesTable(Ledger):
    def run(self):
        rows = []
        for k, results in enumerate(machines().values()):
            infos = [result["machine"] for result in results.values()]
            words = in_words(infos[0]) + ("" if k else " (the one of this book's figures)")
            dates = sorted({info["date"][:10] for info in infos})
            when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
            rows.append([words, ", ".join(sorted(results)), when, beside_others(results)])
        head = ["machine", "benchmarks", "when", "a training iteration, ms: alone; beside two busy programs"]
        return [self.table(head, rows, [4, 3, 2, 4], ["benchmark"])]


def in_words(info):
    """AMD EPYC, 2 cores, no GPU"""
    return f"{info['cpu']}, {info['cores']} cores, {info['gpu'] or 'no GPU'}"


def beside_others(results):
    """What benchmarks/waiting.py found: a sentence, where it was run."""
    if "waiting" not in results:
        return "not measured"
    ms = {(row["busy"], row["policy"]): row["ms"] for row in results["waiting"]["rows"]}
    most = max(busy for busy, _ in ms)
    words = ", ".join(f"{ms[most, policy]:.0f} {policy}" for policy in ("passive", "default", "active"))
    return f"{ms[0, 'passive']:.0f}; {words}"
