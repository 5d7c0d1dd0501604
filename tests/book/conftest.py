"""A small project in a temporary folder, and the built site of the real one."""

import textwrap
from pathlib import Path

import check_site
import nbformat
import pytest
import stored

URL = "https://github.com/someone/something"


class Project:
    """A tree with the files that fingerprints and notebooks look at."""

    def __init__(self, root: Path):
        self.root = root
        self.write("_config.yml", f"repository:\n  url: {URL}\n")
        self.write("requirements.lock", "numpy==2.4.6\n")
        for name in ("__init__.py", "kernels/op.py", "course/plots.py", "splatting/model.py", "bioclip/model.py"):
            self.write(f"lib/bestpapers/{name}", f"# {name}\n")

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def notebook(self, *cells, name: str = "notebooks/splatting/5_exercises.ipynb") -> Path:
        """Write a notebook. A cell is (id, source) or (id, source, metadata); the id "title" or "text-..." is markdown."""
        made = []
        for cell_id, source, *metadata in cells:
            prose = cell_id == "title" or cell_id.startswith("text-")
            new = nbformat.v4.new_markdown_cell if prose else nbformat.v4.new_code_cell
            made.append(new(textwrap.dedent(source).strip(), id=cell_id, metadata=metadata[0] if metadata else {}))
        return self.write(name, nbformat.writes(nbformat.v4.new_notebook(cells=made)) + "\n")


@pytest.fixture
def project(tmp_path) -> Project:
    return Project(tmp_path)


@pytest.fixture(scope="session")
def site() -> Path:
    """The built site. It is an error, not a reason to skip, when there is none."""
    path = stored.ROOT / "_build" / "html"
    assert (path / "index.html").is_file(), "there is no site in _build/html: run `make book` first"
    return path


@pytest.fixture(scope="session")
def documents() -> list[str]:
    return check_site.toc_documents()
