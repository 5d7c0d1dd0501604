"""Tensors in files: what goes in comes out, and other files are refused."""

import pytest
import torch

from bestpapers.lab.files import FormatError
from bestpapers.lab.tensors import read_model, read_tensors, write_tensors


def test_there_and_back(tmp_path):
    path = tmp_path / "some.safetensors"
    tensors = dict(a=torch.arange(6).reshape(2, 3).T, b=torch.ones(2, dtype=torch.float16, requires_grad=True))
    write_tensors(path, tensors, about="two of them")
    found, about = read_tensors(path)
    assert about == dict(about="two of them")
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(found[name], tensor)
        assert found[name].dtype == tensor.dtype


def test_missing_and_damaged_files(tmp_path):
    path = tmp_path / "some.safetensors"
    with pytest.raises(FormatError, match="expected a whole safetensors file, found nothing of that name"):
        read_tensors(path)
    with pytest.raises(FormatError, match="expected a whole safetensors file, found a folder; give a file in it"):
        read_tensors(tmp_path)
    path.write_bytes(b"")
    with pytest.raises(
        FormatError, match="expected a whole safetensors file, found an empty file; bring the file once more"
    ):
        read_tensors(path)
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n")
    with pytest.raises(FormatError, match=r"a Git LFS pointer.*12 bytes; run `git lfs install`"):
        read_tensors(path)
    write_tensors(path, dict(a=torch.ones(100)))
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(FormatError, match=r"expected a whole safetensors file, found damage \(.*\); bring the file"):
        read_tensors(path)


def test_models_of_others_are_refused(tmp_path):
    path = tmp_path / "some.safetensors"
    for about, found in (({}, "tensors of another program"), (dict(bestpapers="{}"), "something else")):
        write_tensors(path, dict(a=torch.ones(1)), **about)
        with pytest.raises(FormatError, match=f"expected weights of this kind of model, found {found}"):
            read_model(path, lambda header, _: torch.nn.Linear(header["width"], 1))
    path.write_bytes(b"")
    with pytest.raises(
        FormatError, match=r"some.safetensors: file: expected weights of this kind of model, found an empty file"
    ):
        read_model(path, lambda header, _: torch.nn.Linear(1, 1))
