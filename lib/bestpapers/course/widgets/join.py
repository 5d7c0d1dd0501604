"""One ES module out of several: JupyterLab runs a widget from one text, and the site serves one file for each widget.

The parts are ES modules, each valid by itself. A part says what it needs, with paths from its own folder:

    import { make, digits } from "../../course/widgets/dom.js";   // names that another part exports
    import * as RULES from "../../kernels/rasterize/rules.py";    // the constants of a Python file, as one object

`joined` puts each part once, before the first that needs it, and leaves out the import lines. All parts then share one scope,
so that a name may be defined in one of them only.
"""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

IMPORT = re.compile(r'^import\s+(?:\{([^}]*)\}|\*\s+as\s+(\w+))\s+from\s+"([^"]+)";[^\n]*\n', re.M)
DEFINED = re.compile(  # at the beginning of a line: what stands deeper is nobody else's
    r"^(export\s+)?(?:(?:const|let)\s+(\w+|[\[{][^=]*[\]}])\s*=|let\s+(\w+);|(?:async\s+)?(?:function|class)\s+(\w+))",
    re.M,
)
PYTHON_NAME = re.compile(r"[A-Z][A-Z0-9_]*")


def joined(module: Path) -> str:
    """Return the text of a widget's module with all that it imports, the same on each call.

    Raises:
        FileNotFoundError: a part that is imported is not there.
        ValueError: an import of another form, an import of a name that the part does not export, parts that import each
            other in a circle, or a name that two parts define. The message names the file.
    """
    texts: dict[Path, str] = {}  # each part without its imports, in the order in which they are needed
    exports: dict[Path, set[str]] = {}
    owner: dict[str, Path] = {}

    def define(name: str, path: Path) -> None:
        if owner.setdefault(name, path) != path:
            raise ValueError(
                f"{path}: {name} is defined in {owner[name]} too; joined parts share one scope: rename one"
            )

    def add(path: Path, waiting: tuple[Path, ...]) -> None:
        if path in waiting:
            raise ValueError(f"{path}: imports itself, by way of {', '.join(part.name for part in waiting)}")
        if path in texts:
            return
        text = path.read_text(encoding="utf-8")
        for names, whole, address in IMPORT.findall(text):
            part = (path.parent / address).resolve()
            if not part.is_file():
                raise FileNotFoundError(f"{path}: imports {address}, but there is no file {part}")
            if whole:
                define(whole, part)
                texts[part] = f"const {whole} = {json.dumps(_constants(part))}; // {part.name}\n"
                continue
            add(part, (*waiting, path))
            wanted = {name.strip() for name in names.split(",") if name.strip()}
            if missing := sorted(wanted - exports[part]):
                raise ValueError(f"{path}: imports {', '.join(missing)}, which {address} does not export")
        own = IMPORT.sub("", text)
        if other := re.search(r"^import\b.*", own, re.M):
            raise ValueError(f'{path}: write import {{ a, b }} from "./part.js"; on a line of its own, not {other[0]}')
        exports[path] = set()
        for exported, *forms in DEFINED.findall(own):
            for name in re.findall(r"\w+", "".join(forms)):
                define(name, path)
                exports[path] |= {name} if exported else set()
        texts[path] = own

    add(module.resolve(), ())
    return "\n".join(texts.values())


def _constants(path: Path) -> dict[str, float | str]:
    """The numbers and texts in capitals that a Python file defines. It is run by itself, without its package."""
    if path.suffix != ".py":
        raise ValueError(f"{path}: `import * as NAME` takes the constants of a Python file")
    defined = runpy.run_path(str(path))
    return {k: v for k, v in defined.items() if PYTHON_NAME.fullmatch(k) and isinstance(v, (int, float, str))}
