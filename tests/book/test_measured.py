"""Figures of the benchmarks on the pages: those of one machine, whatever others have left theirs."""

import importlib
import json
import shutil
import types

import pytest
from stored import ROOT


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """The extension over a copy of the results, in which a second machine has left newer ones, of other sizes."""
    for folder in ("book/_ext", "benchmarks"):
        monkeypatch.syspath_prepend(ROOT / folder)
    loaded, results = importlib.import_module("measured"), importlib.import_module("_results")
    folder = tmp_path / "results"
    shutil.copytree(results.RESULTS, folder)
    monkeypatch.setattr(results, "RESULTS", folder)
    machine = dict(cpu="Some CPU", cores=64, gpu="Some GPU", date="2099-01-02T03:04:05+00:00")
    rows = [
        dict(busy=n, policy=p, ms=ms + n)
        for n in (0, 2)
        for p, ms in (("passive", 10), ("default", 20), ("active", 30))
    ]
    others = dict(
        capture=dict(iterations=[], run=dict(iterations=60)),
        vectorise=dict(ns_per_pixel=dict(good=9.0, library_exp=1.0)),
        waiting=dict(rows=rows),
    )
    for name, figures in others.items():
        (folder / f"{name}-some-gpu-64-cores.json").write_text(json.dumps(dict(machine=machine) | figures))
    return loaded


def test_pages_and_tests_keep_to_the_reference_machine(measured):
    for name in ("capture", "contrastive", "rasterize", "vectorise"):
        found = measured.reference(name)
        assert found == json.loads((ROOT / f"benchmarks/results/{name}-amd-epyc-2-cores.json").read_text())
        # what sentences say of it: book/splatting/photographs.md, "without a GPU"; the table of the rasterizer
        assert found["machine"]["gpu"] is None
    assert measured.Measured.value(measured.reference("vectorise"), "ns_per_pixel.good") < 1
    assert measured.reference("softsplat")["machine"]["gpu"] is None  # did not run there: the first machine that has it
    with pytest.raises(FileNotFoundError, match=r"nothing\.py"):
        measured.reference("nothing")


def test_all_machines_are_listed(measured):
    make = types.SimpleNamespace(table=lambda head, rows, widths, classes: rows)
    (rows,) = measured.MachinesTable.run(make)
    assert rows[0][0] == "AMD EPYC, 2 cores, no GPU (the one of this book's figures)"
    assert set(rows[0][1].split(", ")) >= {"capture", "contrastive", "rasterize", "vectorise"}
    other = next(row for row in rows if row[0].startswith("Some CPU"))
    assert other == [
        "Some CPU, 64 cores, Some GPU",
        "capture, vectorise, waiting",
        "2099-01-02",
        "10; 12 passive, 22 default, 32 active",
    ]


def test_a_figure_that_is_not_there_is_a_warning(measured):
    role = measured.Measured()
    warned = []
    report = types.SimpleNamespace(warning=lambda text, line: warned.append(text) or text)
    role.inliner, role.lineno = types.SimpleNamespace(reporter=report), 7
    for text in ("vectorise:ns_per_pixel.nothing:.1f", "nothing:x:d", "vectorise:ns_per_pixel.good"):
        role.text = text
        assert role.run()[0] == []
        assert text in warned[-1]
