"""Which files of the library a cell stands on, in each direction: what it reaches, and what it does not."""

import stored
from imports import files


def reached(project, *cells, **tree):
    """Write modules, given as folder_module=text, and return what the cells reach, relative to the package."""
    for name, text in tree.items():
        project.write(f"lib/bestpapers/{name.replace('_', '/', 1)}.py", text)
    library = project.root / "lib" / "bestpapers"
    return {p.relative_to(library).as_posix() for p in files(list(cells), library)}


def test_a_cell_that_imports_nothing_of_ours_stands_on_nothing(project):
    assert reached(project, "import numpy as np\nnp.zeros(3)") == set()


def test_each_form_of_import_is_followed(project):
    tree = dict(
        lab_loop="", lab_a="from . import b", lab_b="", lab_c="from ..kernels.op import f", lab_d="import bestpapers.lab.e",
        lab_e="", lab_f='from importlib import import_module\nimport_module("bestpapers.lab.g")', lab_g="",
        lab_h='import importlib\nimportlib.import_module(".i", __package__)', lab_i="", lab_unused="",
    )  # fmt: skip
    cell = "import bestpapers.lab.loop as loop\nfrom bestpapers.lab import a, c, d, f, h"
    found = reached(project, cell, **tree)
    assert found == {"__init__.py", "kernels/op.py", *(f"lab/{n}.py" for n in ("loop", *"abcdefghi"))}


def test_imports_inside_functions_and_branches_are_followed(project):
    lazy = "def f():\n    if True:\n        from .deep import g\n        return g"
    assert "lab/deep.py" in reached(project, "from bestpapers.lab import lazy", lab_lazy=lazy, lab_deep="")


def test_the_packages_that_lead_to_a_module_are_run_and_count(project):
    found = reached(
        project, "import bestpapers.lab.a", lab___init__="from .side import x\ny = x", lab_side="x = 1", lab_a=""
    )
    assert found == {"__init__.py", "lab/__init__.py", "lab/side.py", "lab/a.py"}


def test_a_module_goes_before_a_folder_of_its_name(project):
    project.write("lib/bestpapers/lab/viewer/part.js", "//")
    assert "lab/viewer.py" in reached(project, "from bestpapers.lab import viewer", lab_viewer="")
    assert "lab/viewer.py" in reached(project, "from bestpapers.lab.viewer import Viewer")


def test_where_the_name_is_computed_the_whole_package_counts(project):
    project.write(
        "lib/bestpapers/kernels/blur/__init__.py", "import importlib\nimportlib.import_module(f'.{x}', __name__)\n"
    )
    found = reached(
        project, "from bestpapers.kernels import blur", **{"kernels_blur/cpu": "", "kernels_blur/deep/gpu": ""}
    )
    assert found >= {"kernels/blur/__init__.py", "kernels/blur/cpu.py", "kernels/blur/deep/gpu.py"}
    assert "kernels/op.py" not in found


def test_commands_and_scripts_for_other_processes_are_imports_too(project):
    tree = dict(
        splatting_train="", splatting___main__="from . import cli", splatting_cli="", lab_worker="", lab_deep=""
    )
    for cell, want in {
        "!python -m bestpapers.splatting.train --quick": "splatting/train.py",
        "%%bash\npython -m bestpapers.splatting train": "splatting/cli.py",
        "import subprocess, sys\nsubprocess.run([sys.executable, '-m', 'bestpapers.splatting'])": "splatting/cli.py",
        "script = '''\nfrom bestpapers.lab import deep, worker\n'''": "lab/worker.py",
    }.items():
        assert want in reached(project, cell, **tree), cell
    assert reached(project, "def f():\n    'As in bestpapers.splatting.train.'") == set()
    message = 'raise ValueError("run `python -m bestpapers.splatting.train` first")'
    assert "splatting/train.py" not in reached(project, "from bestpapers.lab import job", lab_job=message)
    for run in (
        'run([sys.executable, "-m", "bestpapers.splatting.train"])',
        'CODE = """\n  import bestpapers.splatting.train\n"""',
    ):
        assert "splatting/train.py" in reached(project, "from bestpapers.lab import job", lab_job=run)


def test_of_a_package_that_only_collects_names_what_is_taken_counts(project):
    project.write("lib/bestpapers/splatting/widgets/__init__.py", '"""All."""\n\nfrom .a import A\nfrom .b import B\n')
    tree = {"splatting_widgets/a": "", "splatting_widgets/b": ""}
    user = dict(lab_user="from ..splatting.widgets import B")
    folder = "splatting/widgets"
    assert reached(project, "from bestpapers.splatting.widgets import A", **tree) >= {f"{folder}/a.py"}
    assert f"{folder}/b.py" not in reached(project, "from bestpapers.splatting.widgets import A")
    both = {f"{folder}/a.py", f"{folder}/b.py"}
    for cell in ("from bestpapers.splatting import widgets", "from bestpapers.splatting.widgets import *"):
        assert reached(project, cell) >= both, cell
    assert (
        reached(project, "from bestpapers.splatting.widgets import A\nfrom bestpapers.lab import user", **user) >= both
    )


def test_data_beside_a_module_count_and_folders_of_data_that_it_names(project):
    for name in (
        "taxa.csv",
        "claims.toml",
        "results/base.json",
        "other/base.json",
        "weights/a.safetensors",
        "model.pyc",
    ):
        project.write(f"lib/bestpapers/bioclip/{name}", "1")
    project.write("lib/bestpapers/bioclip/weights/__init__.py", "")
    own = {"__init__.py", "bioclip/model.py", "bioclip/taxa.csv", "bioclip/claims.toml"}
    assert reached(project, "from bestpapers.bioclip import model") == own
    recorded = 'FOLDER = Path(__file__).parent / "results"'
    found = reached(project, "from bestpapers.bioclip import model, recorded", bioclip_recorded=recorded)
    assert found == own | {"bioclip/recorded.py", "bioclip/results/base.json"}
    assert "bioclip/weights/a.safetensors" in reached(project, "from bestpapers.bioclip import weights")
    assert "bioclip/taxa.csv" not in reached(project, "from bestpapers.kernels import op")


def test_scripts_of_the_page_count_where_a_module_names_them(project):
    for name in (
        "course/widgets/dom.js",
        "course/widgets/mount.js",
        "splatting/widgets/a.js",
        "splatting/widgets/b.js",
    ):
        project.write(f"lib/bestpapers/{name}", "//")
    one = 'module = joined("dom.js", Path(__file__).with_name("a.js"))'
    found = reached(project, "from bestpapers.splatting.widgets.a import A", **{"splatting_widgets/a": one})
    assert {p for p in found if p.endswith(".js")} == {"course/widgets/dom.js", "splatting/widgets/a.js"}


def test_every_script_of_a_widget_of_ours_counts_for_who_shows_it():
    library = stored.ROOT / "lib" / "bestpapers"
    for widgets in library.glob("*/widgets/"):
        found = files([f"from bestpapers.{widgets.parent.name} import widgets"], library)
        assert {p for p in widgets.rglob("*.js")} - found <= {library / "course/widgets/mount.js"}, widgets
