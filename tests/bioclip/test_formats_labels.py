"""The pair of .npy and .json in which pybioclip keeps embeddings of labels."""

import json

import numpy as np
import pytest
import torch

from bestpapers.bioclip.formats import FormatError, load_label_embeddings, save_label_embeddings
from bestpapers.bioclip.taxa import Taxon, taxa

TAXA = taxa()[:5]


def matrix(n=5, d=8) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((d, n)).astype(np.float32)


@pytest.mark.parametrize("ending", ["", ".npy", ".json"])
def test_round_trip(tmp_path, ending):
    fish = Taxon(
        "Animalia", "Chordata", "", "Cypriniformes", "Cyprinidae", "Carassius", "auratus", "goldfish \u00e9\u597d"
    )
    save_label_embeddings(tmp_path / f"v1.5{ending}", torch.from_numpy(matrix(6)).requires_grad_(), (*TAXA, fish))
    found = load_label_embeddings(str(tmp_path / f"v1.5{ending}"))
    np.testing.assert_array_equal(found.embeddings, matrix(6))
    assert found.embeddings.dtype == np.float32
    assert found.taxa == (*TAXA, fish)  # the hole in the ranks is still there
    assert len(found.empty) == 0
    assert {p.name for p in tmp_path.iterdir()} == {"v1.5.npy", "v1.5.json"}


def test_read_as_pybioclip_does(tmp_path):
    save_label_embeddings(tmp_path / "txt_emb_species", matrix(), TAXA)
    array = np.load(tmp_path / "txt_emb_species.npy", allow_pickle=False)
    names = json.loads((tmp_path / "txt_emb_species.json").read_text(encoding="utf-8"))
    assert array.shape == (8, 5)
    assert torch.from_numpy(array).dtype == torch.float32
    assert names[0] == [["Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Panthera", "leo"], "Lion"]


@pytest.mark.parametrize("kind", ["<f4", ">f4", "f2", "f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_reads_what_numpy_writes(tmp_path, kind, order):
    np.save(tmp_path / "a.npy", np.asarray(matrix(), kind, order=order))
    (tmp_path / "a.json").write_text(json.dumps([[list(taxon.path), None] for taxon in TAXA]))
    found = load_label_embeddings(tmp_path / "a")
    np.testing.assert_array_equal(found.embeddings, matrix().astype(kind).astype("<f4"))
    assert found.taxa[0].common_name == ""


def test_columns_of_zeros_are_told(tmp_path):
    zeros = matrix()
    zeros[:, [1, 3]] = 0
    save_label_embeddings(tmp_path / "a", zeros, TAXA)
    with pytest.warns(UserWarning, match=f"2 of 5 columns are all zero \\({TAXA[1].name}, {TAXA[3].name}"):
        found = load_label_embeddings(tmp_path / "a")
    assert found.empty.tolist() == [1, 3]
    assert len(found.taxa) == 5


def test_what_is_not_written(tmp_path):
    for embeddings, message in (
        (matrix().T, "transpose it"),
        (matrix(4), "5 taxa"),
        (matrix()[0], "5 taxa"),
        (np.where(matrix() == matrix()[3, 2], np.nan, matrix()), "NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            save_label_embeddings(tmp_path / "a", embeddings, TAXA)
    assert not list(tmp_path.iterdir())


def test_a_writer_that_stops_midway_leaves_no_wrong_pair(tmp_path, monkeypatch):
    save_label_embeddings(tmp_path / "a", matrix(), TAXA)
    from bestpapers.bioclip.formats import labels

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(labels, "write_file", stop)
    with pytest.raises(KeyboardInterrupt):
        save_label_embeddings(tmp_path / "a", -matrix(), TAXA[::-1])
    with pytest.raises(FormatError, match=r"a\.json"):  # the new array never stands beside the old names
        load_label_embeddings(tmp_path / "a")


def test_damage(tmp_path):
    def write(array, rows=None):
        np.save(tmp_path / "a.npy", array)
        good = [[list(taxon.path), taxon.common_name] for taxon in TAXA]
        (tmp_path / "a.json").write_text(json.dumps(good if rows is None else rows))

    def refused(field, found):
        with pytest.raises(FormatError) as caught:
            load_label_embeddings(tmp_path / "a")
        assert caught.value.field.startswith(field)
        assert found in str(caught.value)

    refused("file", "FileNotFoundError")
    for array, field, found in (
        (np.array([[{}]]), "type", "pickle"),
        (matrix().astype(int), "type", "int64"),
        (matrix()[0], "shape", "(5,)"),
        (matrix()[:, :0], "shape", "(8, 0)"),
        (np.where(matrix() == matrix()[3, 2], np.nan, matrix()), "row 3, column 2", "NaN"),
        (np.full((8, 5), 1e300), "row 0, column 0", "infinity"),
    ):
        write(array)
        refused(field, found)
    for rows, field, found in (
        ([], "labels", "0"),
        ({}, "file", "JSON list"),
        ([[["a"] * 6, ""]] * 5, "label 0", "[[7 ranks], common name]"),
        ([[["a"] * 7, 3]] * 5, "label 0", "texts"),
        ([[["a"] * 6 + [{}], ""]] * 5, "label 0", "texts"),
        (["x"] * 5, "label 0", "'x'"),
        ([[["a" * 4000] * 7, ""]] * 5, "file", "at most"),
    ):
        write(matrix(), rows)
        refused(field, found)
    write(matrix())
    data = (tmp_path / "a.npy").read_bytes()
    for cut in (data[:-1], data + b"1"):
        (tmp_path / "a.npy").write_bytes(cut)
        refused("size", f"{len(cut)} bytes")
    (tmp_path / "a.npy").write_bytes(data.replace(b"(8, 5)", b"(8, 9)"))
    refused("size", "for [8, 9] float32")
