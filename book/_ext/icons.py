"""The icons that the pages show, as three small fonts.

The theme comes with all of Font Awesome, as fonts, styles and a script. `subset` keeps the styles of the icons that a page
or a script of the site names, and writes fonts that have these glyphs and no others.
"""

from __future__ import annotations

import re
from pathlib import Path

from fontTools import subset as fonts

RULE = re.compile(r'(?:\.fa-[\w-]+:before,?)+\{content:"\\[0-9a-f]+"\}')
FACE = re.compile(r'src:url\(([^)]*?)(fa-[\w-]+)\.woff2\) format\("woff2"\),url\([^)]*\.ttf\) format\("truetype"\)')
ICON = re.compile(r"\bfa-[a-z0-9-]+")
POINT = re.compile(r'"(?:\\([ef][0-9a-f]{3})|([\ue000-\uf8ff])")')


def subset(site: Path) -> None:
    """Make the styles and fonts of a built site small. A site whose fonts are small already stays as it is."""
    sheet = site / "_static" / "styles" / "pydata-sphinx-theme.css"
    if not sheet.is_file() or not FACE.search(css := sheet.read_text(encoding="utf-8")):
        return
    css, points = trim(css, used(site))
    for other in site.glob("_static/**/*.css"):
        if other != sheet:
            points |= shown(other.read_text(encoding="utf-8"))
    for where, name in FACE.findall(css):
        small((sheet.parent / where / name).resolve(), points)
    for script in site.glob("_static/scripts/fontawesome.js*"):
        script.unlink()
    sheet.write_text(FACE.sub(r'src:url(\1\2.woff) format("woff")', css), encoding="utf-8")


def used(site: Path) -> set[str]:
    """The icons that pages and scripts name."""
    files = [*site.rglob("*.html"), *site.glob("_static/*.js"), *site.glob("_static/scripts/*theme.js")]
    return {name for file in files for name in ICON.findall(file.read_text(encoding="utf-8"))}


def trim(css: str, names: set[str]) -> tuple[str, set[int]]:
    """The styles without those of other icons, and the characters that they still show."""
    css = RULE.sub(lambda rule: rule[0] if names & set(ICON.findall(rule[0])) else "", css)
    return css, shown(css)


def shown(css: str) -> set[int]:
    """The characters of icons in a style sheet, where they stand as numbers or as themselves."""
    return {int(number, 16) if number else ord(letter) for number, letter in POINT.findall(css)}


def small(path: Path, points: set[int]) -> None:
    """Write PATH.woff with some characters of PATH.ttf, and delete the large files."""
    options = fonts.Options(flavor="woff", layout_features=[], notdef_outline=True)
    font = fonts.load_font(str(path.with_suffix(".ttf")), options)
    maker = fonts.Subsetter(options)
    maker.populate(unicodes=points)
    maker.subset(font)
    fonts.save_font(font, str(path.with_suffix(".woff")), options)
    for suffix in (".ttf", ".woff2"):
        path.with_suffix(suffix).unlink(missing_ok=True)
