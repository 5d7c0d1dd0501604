"""The pages and notebooks of a wing, as text to check: what tests of pages share."""

import json
import re
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w./])")


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

    def run(self, page):
        """Run the one Python block of a page. Returns the processor seconds that it took."""
        (code,) = re.findall(r"^```python\n(.*?)^```", self.pages[page], re.MULTILINE | re.DOTALL)
        start = time.process_time()
        exec(compile(code, f"{page}.md", "exec"), {"__name__": page})
        return time.process_time() - start
