"""Widgets made of several modules: one text, each part once, and no name twice."""

import json
import re
import runpy
import shutil
import subprocess

import pytest

from bestpapers.course.widgets.join import joined
from bestpapers.kernels.rasterize import rules
from bestpapers.splatting.widgets import Viewer

NUMBER = re.compile(r"(?<![\w.#])\d[\d_]*(?:\.\d+)?(?:e[+-]?\d+)?(?![\w.%])")


@pytest.fixture
def write(tmp_path):
    def written(**files):
        for name, text in files.items():
            (tmp_path / f"{name}.js").write_text(text, encoding="utf-8")
        return tmp_path / "main.js"

    return written


def test_each_part_stands_once_before_what_needs_it(write):
    main = write(
        main='import { b } from "./b.js";\nimport { a } from "./a.js";\nexport default { v: a + b };\n',
        b='import {\n  a,\n} from "./a.js"; // shared\nexport const b = a * 10;\n',
        a="export const a = 2;\n",
    )
    text = joined(main)
    assert text == joined(main)
    assert " ".join(text.split()) == "export const a = 2; export const b = a * 10; export default { v: a + b };"
    if node := shutil.which("node"):
        script = text + "const found = a + b;\nconsole.log(found);"
        ran = subprocess.run([node, "--input-type=module", "-e", script], capture_output=True, text=True, check=True)
        assert ran.stdout == "22\n"


def test_constants_come_from_a_python_file(write, tmp_path):
    (tmp_path / "rules.py").write_text('LEAST = 1.0 / 4.0\nNAME = "x"\nlower = 3\n\n\ndef CALL(): ...\n')
    text = joined(write(main='import * as RULES from "./rules.py";\nexport default RULES.LEAST;\n'))
    assert text == 'const RULES = {"LEAST": 0.25, "NAME": "x"}; // rules.py\n\nexport default RULES.LEAST;\n'


@pytest.mark.parametrize(
    ("files", "error", "message"),
    [
        (dict(main='import { a } from "./gone.js";\n'), FileNotFoundError, r"main\.js: imports \./gone\.js, but there is no"),
        (
            dict(main='import { a } from "./p.js";\nconst b = 1;\n', p="export const a = 1;\nfunction b() {}\n"),
            ValueError,
            r"main\.js: b is defined in .*p\.js too",
        ),
        (
            dict(main='import { x } from "./p.js";\n', p="export const a = 1;\nconst x = 2;\n"),
            ValueError,
            r"main\.js: imports x, which \./p\.js does not export",
        ),
        (
            dict(main='import { a } from "./p.js";\n', p='import { m } from "./main.js";\nexport const a = 1;\n'),
            ValueError,
            r"main\.js: imports itself, by way of main\.js, p\.js",
        ),
        (dict(main='import p from "./p.js";\n', p=""), ValueError, r'write import \{ a, b \} .* not import p from'),
        (dict(main='import "./p.js";\n', p=""), ValueError, r"write import \{ a, b \}"),
        (dict(main='import { a as b } from "./p.js";\n', p="export const a = 1;\n"), ValueError, "imports a as b, which"),
        (dict(main='import * as P from "./p.js";\n', p=""), ValueError, "takes the constants of a Python file"),
    ],
)  # fmt: skip
def test_parts_that_do_not_fit_are_refused(write, files, error, message):
    with pytest.raises(error, match=message):
        joined(write(**files))


def test_names_of_every_form_are_seen(write):
    part = "export const [a, b] = [1, 2];\nlet c = 3;\nlet d;\nclass E {}\nasync function f() {}\nconst { g } = E;\n"
    for name in "abcdEfg":
        main = write(main=f'import {{ a }} from "./p.js";\nconst {name} = 0;\n', p=part)
        with pytest.raises(ValueError, match=rf"main\.js: {name} is defined in"):
            joined(main)
    indented = write(main='import { a } from "./p.js";\nfunction h() {\n  const b = 0;\n}\n', p=part)
    assert "  const b = 0;" in joined(indented)  # inside a function a name is its own


def test_the_viewer_takes_the_rasterizer_s_constants():
    text = joined(Viewer.module)
    (found,) = re.findall(r"^const RULES = (\{.*\});", text, re.M)
    own = {name: value for name, value in vars(rules).items() if name.isupper()}
    assert json.loads(found) == own == {k: v for k, v in runpy.run_path(rules.__file__).items() if k.isupper()}
    used = set(re.findall(r"RULES\.(\w+)", text))
    assert used == {
        "ALPHA_MIN", "ALPHA_MAX", "NEAR_PLANE", "FAR_PLANE", "VIEW_MARGIN", "DET_MIN", "RHO_MIN", "LENGTH_MIN"
    }  # fmt: skip
    folder = Viewer.module.parent
    for path in [Viewer.module, *sorted((folder / "viewer").glob("*.js"))]:
        code = re.sub(r"//.*", "", path.read_text(encoding="utf-8"))
        written = {float(number.replace("_", "")) for number in NUMBER.findall(code)}
        assert not written & {own[name] for name in used}, f"{path.name} holds a copy of a constant of rules.py"
        assert "/ 255.0" not in code, f"{path.name} holds a copy of ALPHA_MIN"
