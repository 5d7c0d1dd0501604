"""What must hold of the built site: pages there, links and anchors alive, alt text, nothing from another host.

python scripts/check_site.py        checks _build/html and lists what is wrong
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml
from bs4 import BeautifulSoup
from stored import ROOT

LOADED_LINKS = {"stylesheet", "icon", "shortcut", "preload", "modulepreload", "prefetch", "manifest", "preconnect"}
LOADING_TAGS = ("script", "img", "iframe", "source", "video", "audio", "embed", "track", "input")
CSS_URL = re.compile(r"""(?:url\(\s*['"]?|@import\s+['"])\s*(?:https?:)?//[^'")\s]+""")
SCRIPT_URL = re.compile(r"""https?://[^\s"'`\\]+\.m?js\b""")
OTHER_HOST = re.compile(r"\s*(?:[a-z]+:)?//")


def toc_documents(root: Path = ROOT) -> list[str]:
    """The documents that book/_toc.yml names, without suffix, in reading order."""
    found: list[str] = []

    def walk(node: object) -> None:
        if isinstance(node, dict):
            found.extend(node[key] for key in ("root", "file") if key in node)
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(yaml.safe_load((root / "book" / "_toc.yml").read_text(encoding="utf-8")))
    return found


def problems(root: Path = ROOT) -> list[str]:
    """All that is wrong with the site of the project at `root`, one sentence each; empty when nothing is."""
    site = root / "_build" / "html"
    if not (site / "index.html").is_file():
        return ["there is no site in _build/html"]
    absent = [d for d in toc_documents(root) if not (site / f"{d}.html").is_file()]
    found = [f"page missing: {d}.html (book/_toc.yml names it)" for d in absent]
    found += failed_cells(root)
    files = [p for p in sorted(site.rglob("*.html")) if "_static" not in p.relative_to(site).parts]
    pages = {p: BeautifulSoup(p.read_text(encoding="utf-8"), "html.parser") for p in files}
    ids = {p: anchors(page) for p, page in pages.items()}
    for path, page in pages.items():
        where = path.relative_to(site).as_posix()
        found += [f"{where}: {line}" for line in dead_links(path, page, site, ids)]
        found += [f"{where}: {line}" for line in without_alt(page)]
        found += [f"{where}: {line}" for line in from_other_hosts(page)]
        found += [f"{where}: {line}" for line in widgets_without_module(page, site)]
    for css in sorted(site.rglob("*.css")):
        for hit in CSS_URL.findall(css.read_text(encoding="utf-8", errors="replace")):
            found.append(f"{css.relative_to(site).as_posix()}: loads from another host: {hit}")
    return found


def anchors(page: BeautifulSoup) -> set[str]:
    return {t["id"] for t in page.find_all(id=True)} | {t["name"] for t in page.find_all("a", attrs={"name": True})}


def failed_cells(root: Path) -> list[str]:
    """Cells of stored notebooks whose output is an error that they are not meant to raise."""
    found = []
    for document in toc_documents(root):
        path = root / f"{document}.ipynb"
        if not path.is_file():
            continue
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            meant = "raises-exception" in cell["metadata"].get("tags", [])
            for output in cell.get("outputs", []):
                if output["output_type"] == "error" and not meant:
                    found.append(
                        f'{document}.ipynb: cell "{cell["id"]}" holds an error: {output["ename"]}: {output["evalue"]}'
                    )
    return found


def dead_links(path: Path, page: BeautifulSoup, site: Path, ids: dict[Path, set[str]]) -> list[str]:
    """Links inside the site whose page, file or anchor does not exist."""
    found = []
    for link in page.find_all("a", href=True):
        url = urlsplit(link["href"])
        if url.scheme or url.netloc:
            continue
        target = path if not url.path else (path.parent / unquote(url.path)).resolve()
        target = target / "index.html" if target.is_dir() else target
        if not target.is_relative_to(site.resolve()) and target != path:
            found.append(f"link leaves the site: {link['href']}")
        elif not target.is_file():
            found.append(f"dead link: {link['href']}")
        elif url.fragment and target in ids and unquote(url.fragment) not in ids[target]:
            found.append(f"dead anchor: {link['href']}")
    return found


def without_alt(page: BeautifulSoup) -> list[str]:
    return [
        f"image without alt text: {str(i.get('src'))[:80]}"
        for i in page.find_all("img")
        if not (i.get("alt") or "").strip()
    ]


def from_other_hosts(page: BeautifulSoup) -> list[str]:
    """What a browser would fetch from elsewhere when it opens the page. Plain links are no such thing."""
    urls = [t.get(a) for t in page.find_all(LOADING_TAGS) for a in ("src", "srcset", "poster", "data")]
    urls += [t["href"] for t in page.find_all("link", href=True) if LOADED_LINKS & set(t.get("rel", []))]
    found = [f"loads from another host: {url}" for url in urls if url and OTHER_HOST.match(url)]
    styles = [t.get_text() for t in page.find_all("style")] + [t["style"] for t in page.find_all(style=True)]
    found += [f"loads from another host: {hit}" for text in styles for hit in CSS_URL.findall(text)]
    for script in page.find_all("script", src=False):
        found += [f"inline script loads from another host: {url}" for url in SCRIPT_URL.findall(script.get_text())]
    return found


def widgets_without_module(page: BeautifulSoup, site: Path) -> list[str]:
    widgets = page.select(".nbwidget, .nbwidget-later")
    modules = [w.get("data-module", "") for w in widgets]
    found = [f"widget module missing: _static/esm/{m}" for m in modules if not (site / "_static" / "esm" / m).is_file()]
    states = [w["data-from"] for w in widgets if w.get("data-from")]
    return found + [
        f"state of a widget missing: {s}" for s in states if not (site / "_static" / "live" / Path(s).name).is_file()
    ]


if __name__ == "__main__":
    lines = problems()
    print("\n".join(lines) or "The site is in order.")
    sys.exit(1 if lines else 0)
