"""Which files of the library a notebook stands on: what its cells import, what that imports, and their data files.

Everything is read from the text; nothing is imported or run, so that a check of all notebooks takes a moment. Where the text
leaves a choice, more files are taken rather than fewer: a notebook that is run once too often costs a minute, a stale one
that nobody notices is wrong.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PACKAGE = "bestpapers"
COMPILED = {".pyc", ".nbi", ".nbc"}
SHOWN = {".js", ".css"}  # data files that count only where a module names them

_DOTTED = re.compile(rf"\b{PACKAGE}(?:\.\w+)+")
_FROM = re.compile(rf"^\s*from\s+({PACKAGE}[\w.]*)\s+import\s+\(?([\w, \t]+)", re.M)
_IMPORT = re.compile(rf"^\s*import\s+({PACKAGE}(?:\.\w+)+)", re.M)
_SCRIPT = re.compile(r"""^\s*(?:import|export)\b[^;"']*["'](\.[^"']+)["']""", re.M)


Import = tuple[int, str, tuple[str, ...]]  # `from ..a import b` is (2, "a", ("b",)), `import a.b` is (0, "a.b", ())
Asked = frozenset[str] | None  # the names that somebody takes from a module; None: the module as a whole


@dataclass(frozen=True)
class References:
    """What a text of Python refers to.

    imports   its imports, wherever they stand
    literals  its string literals, docstrings left out
    dynamic   True where it imports a module whose name is computed
    contents  name -> import, of a text that does nothing but import names; None where it does anything else
    """

    imports: frozenset[Import]
    literals: frozenset[str]
    dynamic: bool
    contents: tuple[tuple[str, Import], ...] | None


@cache
def references(source: str, cell: bool = False) -> References:
    """Read a module, or a cell in which magics are no longer magics. Functions and branches are looked into as well.

    A string that is the name of a module, or a script with imports, counts as an import: other processes run it. So does a
    command, `python -m bestpapers.x`, in a cell; in a module it is what a message tells the reader to do.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an escape in a string is no matter here
        tree = ast.parse(source)
    documents = {
        id(node.value)
        for block in ast.walk(tree)
        if isinstance(block, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        for node in block.body
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    imports: set[Import] = set()
    literals, dynamic = set(), False
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports |= {(0, alias.name, ()) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imports.add((node.level, node.module or "", tuple(alias.name for alias in node.names)))
        elif isinstance(node, ast.Call) and _called(node) in ("import_module", "__import__"):
            name = node.args[0] if node.args else None
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                level = len(name.value) - len(name.value.lstrip("."))
                imports.add((level, name.value.lstrip("."), ()))
            else:
                dynamic = True
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents:
            literals.add(node.value)
    for text in literals:
        run = _DOTTED.findall(text) if cell or _DOTTED.fullmatch(text) else []
        imports |= {(0, name, ("__main__",)) for name in run}
        imports |= {(0, name, ()) for name in _IMPORT.findall(text)}
        imports |= {(0, name, tuple(re.findall(r"\w+", names))) for name, names in _FROM.findall(text)}
    return References(frozenset(imports), frozenset(literals), dynamic, _contents(tree))


def _called(node: ast.Call) -> str:
    function = node.func
    return getattr(function, "attr", getattr(function, "id", ""))


def _contents(tree: ast.Module) -> tuple[tuple[str, Import], ...] | None:
    found: list[tuple[str, Import]] = []
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            found += [(a.asname or a.name, (node.level, node.module or "", (a.name,))) for a in node.names]
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            continue
        elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            return None
    return tuple(found)


def plain(cell: str) -> str:
    """The source of a cell as Python: magics and shell commands become calls that hold their text."""
    from IPython.core.inputtransformer2 import TransformerManager

    return TransformerManager().transform_cell(cell)


def files(cells: list[str], library: Path) -> set[Path]:
    """Return the files of the package that code cells stand on, data files included.

    cells    sources of the code cells, as they are in the notebook
    library  the folder of the package, .../lib/bestpapers

    Imports are followed wherever they stand: in functions, in strings that hold commands or scripts, in the packages that
    lead to a module. Where the name of a module is computed, everything in the importing module's package counts. Of a
    package that does nothing but collect names, such as a wing's `widgets`, only what is taken from it is followed.

    A data file (anything that is not Python) counts when it lies beside a module that counts, or in a folder without Python
    that such a neighbour names ("results"). JavaScript and style sheets count only where a module that counts names the file,
    or a script that counts imports it: the widgets of a wing lie side by side, and a notebook shows some of them.

    Raises:
        SyntaxError: a cell or a module is not Python.
    """
    library = library.resolve()
    found: dict[Path, References] = {}
    todo = [item for cell in cells for item in _modules(references(plain(cell), cell=True), None, [], library)]
    seen = set(todo)
    while todo:
        path, asked = todo.pop()
        if path not in found:
            found[path] = references(path.read_text(encoding="utf-8"))
        package = [PACKAGE, *path.relative_to(library).parts[:-1]]
        new = set(_modules(found[path], asked, package, library)) - seen
        seen |= new
        todo += new
    words = {path: {w for text in r.literals for w in re.split(r"[\\/]", text)} for path, r in found.items()}
    return {*found, *_beside(words), *_shown(words, library)}


def _modules(refers: References, asked: Asked, package: list[str], library: Path) -> Iterator[tuple[Path, Asked]]:
    """The modules that a text refers to, and what it takes from them.

    asked    the names that are taken from the text itself
    package  the parts of the dotted name that its relative imports start from
    """
    imports: Iterable[Import] = refers.imports
    if asked is not None and refers.contents is not None:
        imports = [taken for name, taken in refers.contents if name in asked]
    for level, module, names in imports:
        parts = package[: len(package) - level + 1] if level else []
        parts = parts + (module.split(".") if module else [])
        if parts[:1] == [PACKAGE]:
            whole = not names or "*" in names
            yield from _path_to(parts, None if whole else frozenset(names), library)
            for name in names:
                yield from _path_to([*parts, name], None, library)
    if refers.dynamic and package:
        yield from ((path, None) for path in library.joinpath(*package[1:]).rglob("*.py"))


def _path_to(parts: list[str], asked: Asked, library: Path) -> Iterator[tuple[Path, Asked]]:
    """The file of a module, and before it those of the packages that lead there; as far as there are any."""
    for length in range(1, len(parts) + 1):
        at = library.joinpath(*parts[1:length])
        if at != library and not (at.parent.is_dir() and {at.name, f"{at.name}.py"} & _names(at.parent)):
            return
        package, module = at / "__init__.py", at.with_name(f"{at.name}.py")
        if found := next((p for p in (package, module) if p.is_file()), None):  # a folder without __init__ comes last
            yield found, asked if length == len(parts) else frozenset()


def _names(folder: Path) -> set[str]:
    """Names in a folder as they are written there: a Mac would also find the class Strip in strip.py."""
    return {path.name for path in folder.iterdir()}


def _beside(words: dict[Path, set[str]]) -> Iterator[Path]:
    """Data beside the modules, and folders of data that they name. `words`: module -> parts of paths in its literals."""
    for folder in {path.parent for path in words}:
        named = set().union(*(words[path] for path in words if path.parent == folder))
        for path in folder.iterdir():
            if path.is_dir() and path.name in named and not any(path.rglob("*.py")):
                yield from filter(_is_data, path.rglob("*"))
            elif _is_data(path) and path.suffix not in SHOWN:
                yield path


def _shown(words: dict[Path, set[str]], library: Path) -> set[Path]:
    """JavaScript and style sheets that the modules name (no two have one name), and what these import."""
    named = set().union(*words.values())
    todo = [p for p in library.rglob("*") if p.suffix in SHOWN and p.name in named and _is_data(p)]
    found: set[Path] = set()
    while todo:
        path = todo.pop()
        if path not in found and path.is_file():
            found.add(path)
            todo += [(path.parent / part).resolve() for part in _SCRIPT.findall(path.read_text(encoding="utf-8"))]
    return found


def _is_data(path: Path) -> bool:
    skipped = path.suffix in {".py", *COMPILED} or path.name.startswith(".") or "__pycache__" in path.parts
    return path.is_file() and not skipped
