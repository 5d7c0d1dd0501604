"""Files that say the same thing must say the same: versions, packages, addresses, contents, colours, vendored files."""

import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import browser
import check_site
import make_venv
import nbformat
import pytest
import stored
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = stored.ROOT
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text())
OWNERS_EIGHT = ["jupyterlab", "jupyter-book", "torch", "matplotlib", "ipywidgets", "open_clip_torch", "nbval", "numpy"]


def declared() -> dict[str, Requirement]:
    """All requirements of pyproject.toml by canonical name, with those of the extras that the lock is made for."""
    extras = PROJECT["project"]["optional-dependencies"]
    lines = [*PROJECT["project"]["dependencies"], *extras["book"], *extras["test"]]
    return {canonicalize_name(r.name): r for r in map(Requirement, lines)}


def locked() -> dict[str, list[Requirement]]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    result: dict[str, list[Requirement]] = {}
    for r in (Requirement(line) for line in lines if line and not line.startswith("#")):
        result.setdefault(canonicalize_name(r.name), []).append(r)
    return result


def pip_lines() -> list[str]:
    return next(d for d in ENVIRONMENT["dependencies"] if isinstance(d, dict))["pip"]


def test_environment_repeats_pyproject():
    requirements = [Requirement(line) for line in pip_lines() if not line.startswith("-")]
    assert {canonicalize_name(r.name) for r in requirements} == {canonicalize_name(n) for n in OWNERS_EIGHT}
    for r in requirements:
        assert r.specifier == declared()[canonicalize_name(r.name)].specifier, (
            f"{r.name}: environment.yml against pyproject"
        )


def test_environment_installs_the_project_under_the_lock():
    lines = pip_lines()
    assert "-c requirements.lock" in lines
    extras = re.fullmatch(r"-e \.\[(.*)\]", lines[-1]).group(1).split(",")
    assert set(extras) <= set(PROJECT["project"]["optional-dependencies"])


def test_environment_python_is_allowed():
    python = next(d for d in ENVIRONMENT["dependencies"] if str(d).startswith("python=")).split("=")[1]
    assert SpecifierSet(PROJECT["project"]["requires-python"]).contains(f"{python}.0")


@pytest.mark.parametrize("python", ["3.11.0", "3.12.0", "3.13.0"])
@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
def test_lock_pins_every_declared_package(python, system):
    where = default_environment() | {
        "python_full_version": python,
        "python_version": python.rsplit(".", 1)[0],
        "sys_platform": system,
        "platform_system": {"linux": "Linux", "darwin": "Darwin", "win32": "Windows"}[system],
    }
    for name, requirement in declared().items():
        pins = [r for r in locked().get(name, []) if r.marker is None or r.marker.evaluate(where)]
        assert len(pins) == 1, f"{name}: {len(pins)} pins in requirements.lock for Python {python} on {system}"
        version = next(iter(pins[0].specifier)).version
        assert requirement.specifier.contains(version), (
            f"{name}: {version} is locked, pyproject wants {requirement.specifier}"
        )


def test_triton_is_nobodys_requirement():
    assert "triton" not in declared()
    assert all("linux" in str(r.marker) for r in locked()["triton"])


def test_one_version():
    version = PROJECT["project"]["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version
    assert re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M).group(1) == version


def test_one_address():
    url = stored.repository()
    assert re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", url)
    assert PROJECT["project"]["urls"]["Repository"] == url
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["repository-code"] == url
    guide = (ROOT / "book/how_to_use.md").read_text()
    assert f"git clone {url}\ncd {url.rsplit('/', 1)[1]}\n" in guide
    for path in stored.notebooks():
        nb = nbformat.read(path, as_version=4)
        assert stored.put_colab_cell(nb, url) is False, f"{path.name}: run scripts/execute.py --colab-cell"


def bibliography():
    from pybtex.database import parse_file

    return parse_file(str(ROOT / "book/references.bib"), "bibtex").entries


def test_addresses_in_the_bibliography_are_fields_so_that_they_become_links():
    for key, entry in bibliography().items():
        words = " ".join(entry.fields.get(name, "") for name in ("note", "journal", "booktitle"))
        assert not re.search(r"arxiv|doi:|https?:(?!//eol)", words, re.I), key
        assert ("eprint" in entry.fields) == ("archiveprefix" in entry.fields), key
    linked = [e for e in bibliography().values() if {"eprint", "doi", "url"} & set(e.fields)]
    assert len(linked) >= 0.8 * len(bibliography())


def test_the_four_papers_are_cited_as_the_bibliography_has_them():
    from bestpapers.course import WINGS

    papers = {e.fields["wing"]: e for e in bibliography().values() if "wing" in e.fields}
    assert set(papers) == set(WINGS)
    cited = {r["url"].rpartition("/")[2]: r for r in yaml.safe_load((ROOT / "CITATION.cff").read_text())["references"]}
    assert set(cited) == {e.fields["eprint"] for e in papers.values()}
    for entry in papers.values():
        reference = cited[entry.fields["eprint"]]
        assert reference["title"] == entry.fields["title"].replace("{", "").replace("}", "")
        assert reference["doi"] == entry.fields["doi"]
        names = [" ".join(p.last_names) for p in entry.persons["author"]]
        assert [a["family-names"] for a in reference["authors"]] == names


def test_every_page_and_notebook_is_in_the_contents_and_the_other_way_round():
    named = check_site.toc_documents()
    pages = [p for p in (ROOT / "book").rglob("*.md") if not {"_ext", "_static"} & set(p.parts)]
    there = {p.relative_to(ROOT).with_suffix("").as_posix() for p in [*pages, *stored.notebooks()]}
    assert len(named) == len(set(named)), "book/_toc.yml names a page twice"
    assert set(named) == there, f"only in book/_toc.yml: {set(named) - there}; only in the tree: {there - set(named)}"


def test_vendored_files_are_those_of_the_manifest():
    folder = ROOT / "book/_static/vendor"
    manifest = json.loads((folder / "manifest.json").read_text())
    listed = {name: digest for package in manifest.values() for name, digest in package["files"].items()}
    found = {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in folder.rglob("*")
        if p.is_file() and p.name != "manifest.json"
    }
    assert found == listed
    for name, package in manifest.items():
        assert all(package[field] for field in ("version", "license", "source")), name
        assert f"{name}/LICENSE" in package["files"]


def test_wing_colours_are_those_of_the_figures():
    from bestpapers.course import plots

    css = (ROOT / "book/_static/book.css").read_text()
    assert dict(re.findall(r"--wing-(\w+): (#\w+);", css)) == plots.WING


def test_notation_names_what_the_code_has():
    library = "\n".join(p.read_text() for p in (ROOT / "lib").rglob("*.py"))
    rows = [line for line in (ROOT / "book/notation.md").read_text().splitlines() if line.startswith("|")]
    names = {
        word for row in rows for code in re.findall(r"`([^`]+)`", row) for word in re.findall(r"[A-Za-z_]\w+", code)
    }
    assert len(names) > 10
    assert not {name for name in names if not re.search(rf"\b{name}\b", library)}


def test_readme_pictures_exist():
    for link in re.findall(r"!\[[^\]]*\]\(([^)#]+)\)|\]\(((?!http)[^)#]+)\)", (ROOT / "README.md").read_text()):
        name = link[0] or link[1]
        assert (ROOT / name).exists(), f"README.md points at {name}, which is not there"
    assert not re.search(r"!\[\s*\]\(", (ROOT / "README.md").read_text()), "a picture of README.md has no alt text"


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys, bestpapers, bestpapers.course, bestpapers.kernels;"
        "print(*{'torch', 'numba', 'matplotlib', 'IPython'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""


# --- making .venv


@pytest.fixture
def venv(tmp_path, monkeypatch):
    """make_venv in a folder of its own, with the commands it would run recorded instead of run."""
    for name in ("pyproject.toml", "requirements.lock"):
        (tmp_path / name).write_text(name)
    (tmp_path / ".venv").mkdir()
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(make_venv, "ROOT", tmp_path)
    monkeypatch.setattr(make_venv, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(make_venv, "STAMP", tmp_path / ".venv" / "stamp")
    monkeypatch.setattr(make_venv, "show", lambda *command: ran.append(command))
    return tmp_path, ran


def test_environment_is_made_once_and_again_when_the_lock_changes(venv):
    root, ran = venv
    make_venv.main()
    assert [c[1:3] for c in ran] == [("-m", "venv"), ("-m", "pip"), ("-m", "uv")]
    assert "requirements.lock" in ran[-1]
    assert "--compile-bytecode" in ran[-1]
    ran.clear()
    make_venv.main()
    assert ran == []
    (root / "requirements.lock").write_text("other pins")
    make_venv.main()
    assert [c[1:3] for c in ran] == [("-m", "uv")]  # the environment itself is still good


def test_environment_of_another_folder_or_python_is_made_anew(venv):
    root, ran = venv
    make_venv.STAMP.write_text(make_venv.key().replace(str(root), "/somewhere/else"))
    make_venv.main()
    assert ran[0][1:4] == ("-m", "venv", "--clear")


def test_an_environment_that_is_a_link_is_left_alone(venv, monkeypatch):
    root, ran = venv
    (root / "theirs").mkdir()
    (root / "theirs/python").write_text("somebody's")
    link = root / "link"
    link.symlink_to(root / "theirs")
    monkeypatch.setattr(make_venv, "VENV", link)
    monkeypatch.setattr(make_venv, "STAMP", link / "stamp")
    with pytest.raises(SystemExit, match=r"is a link to .*theirs.* It is left as it is"):
        make_venv.main()
    assert ran == []
    assert [p.name for p in (root / "theirs").iterdir()] == ["python"]


def test_an_interrupted_installation_is_taken_up_again(venv, monkeypatch):
    root, ran = venv
    make_venv.main()
    (root / "pyproject.toml").write_text("more packages")

    def fail(*command):
        raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(make_venv, "show", fail)
    with pytest.raises(SystemExit, match="the command above failed"):
        make_venv.main()
    monkeypatch.setattr(make_venv, "show", lambda *command: ran.append(command))
    ran.clear()
    make_venv.main()
    assert ran[-1][1:3] == ("-m", "uv")


def test_an_old_python_is_told_what_to_do(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 9, 1))
    with pytest.raises(SystemExit, match=r"Python 3\.11 or newer is needed; this is 3\.9 .* PYTHON=python3\.12"):
        make_venv.main()


def test_ci_runs_make_test():
    script = ROOT / ".ci/run"
    assert os.access(script, os.X_OK)
    assert [line for line in script.read_text().splitlines() if not line.startswith("#")][-1] == "make test"


def test_make_lists_its_targets():
    result = subprocess.run(["make", "-C", str(ROOT), "help"], capture_output=True, text=True, check=True)
    targets = set(re.findall(r"make (\w+)", result.stdout))
    phony = set(re.search(r"\.PHONY: (.*)", (Path(ROOT) / "Makefile").read_text()).group(1).split())
    assert targets == phony - {"help", "venv"}


# --- finding a browser


def test_the_named_chromium_comes_first_and_must_exist(monkeypatch, tmp_path):
    program = tmp_path / "my-chromium"
    program.write_text("#!/bin/sh\n")
    monkeypatch.setenv("BESTPAPERS_CHROMIUM", str(program))
    with pytest.raises(FileNotFoundError, match="which is no program"):
        browser.find()
    program.chmod(0o755)
    assert browser.find() == str(program)


def test_without_any_chromium_the_message_says_what_to_do(monkeypatch):
    monkeypatch.setattr(browser, "find", lambda: None)
    ran = []
    failed = subprocess.CompletedProcess([], 1)
    monkeypatch.setattr(browser.subprocess, "run", lambda command, **_: ran.append(command) or failed)
    with pytest.raises(RuntimeError, match=r"BESTPAPERS_CHROMIUM.*\n.*playwright install chromium"):
        browser.ensure()
    assert len(ran) == 1  # the second step is not tried when the first one fails


# --- what every notebook keeps to


@pytest.mark.parametrize("path", stored.notebooks(), ids=stored.name)
def test_notebook_keeps_to_the_limits(path):
    nb = nbformat.read(path, as_version=4)
    opening = nb.cells[0]
    assert opening.cell_type == "markdown"
    assert opening.source.startswith("# ")
    assert stored.COST.search(opening.source), "the opening has no place for the measured cost"
    code = [c for c in nb.cells if c.cell_type == "code"]
    assert [c.execution_count for c in code] == list(range(1, len(code) + 1)), (
        "outputs are not from one run, top to bottom"
    )
    assert nb.metadata.bestpapers.peak_mb < 2000, "more memory than Binder gives"
