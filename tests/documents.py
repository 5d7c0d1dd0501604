"""The pages and notebooks of a wing, as text to check: what tests of pages share."""

import json
import re
import time
import tomllib
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[1]
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w./])")


def is_installed(path):
    """Whether an installed package has the file, of which the path inside the package is given."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return any(fnmatch(path, pattern) for pattern in settings["tool"]["setuptools"]["package-data"]["bestpapers"])


class Wing:
    """folder, notebooks: where they lie; pages: text of each page by its name."""

    def __init__(self, name, *pages):
        self.folder, self.notebooks = ROOT / "book" / name, ROOT / "notebooks" / name
        self.pages = {page: (self.folder / f"{page}.md").read_text(encoding="utf-8") for page in pages}

    def cells(self, notebook):
        return json.loads((self.notebooks / f"{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]

    def tables(self, page):
        """The tables of a page, each as rows of cells; the first row is the heading."""
        blocks = re.findall(r"(?:^\|.*\n)+", self.pages[page], re.MULTILINE)
        rows = [[re.split(r"(?<!\\)\|", line.strip()[1:-1]) for line in block.splitlines()] for block in blocks]
        return [[[cell.strip() for cell in row] for row in (table[0], *table[2:])] for table in rows]

    def table(self, page, *heading):
        """The rows below the one table whose heading begins so."""
        (found,) = (t[1:] for t in self.tables(page) if tuple(t[0][: len(heading)]) == heading)
        return found

    def assert_plans_fill_their_time(self, page, totals):
        """Each plan of a page, a row for each part, takes as many minutes as it should, and each part starts on time."""
        plans = [t[1:] for t in self.tables(page) if t[0][:2] == ["start", "minutes"]]
        assert [sum(int(row[1]) for row in plan) for plan in plans] == totals
        for plan in plans:
            clock = 0
            for start, minutes, *_ in plan:
                assert start == f"{clock // 60}:{clock % 60:02d}"
                clock += int(minutes)

    def assert_points_and_weights_add_up(self):
        """The weights of a course to 100 %, the points of an exercise to 10, those of a project to 20."""
        assert sum(int(row[1].split()[0]) for row in self.table("teaching", "days", "weight") if row[1]) == 100
        exercise, project = self.table("teaching", "", "nothing"), self.table("teaching", "", "weak")
        assert sum(int(row[3].split(":")[0]) for row in exercise) == 10
        assert sum(int(row[3].split(":")[0]) for row in project) == 20
        for row in project:
            assert f"({row[3].split(':')[0]})" in row[0]

    def run(self, page):
        """Run the one Python block of a page. Returns the processor seconds that it took."""
        (code,) = re.findall(r"^```python\n(.*?)^```", self.pages[page], re.MULTILINE | re.DOTALL)
        start = time.process_time()
        exec(compile(code, f"{page}.md", "exec"), {"__name__": page})
        return time.process_time() - start
