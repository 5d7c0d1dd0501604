"""Tensors in files: what goes in comes out, and other files are refused."""

import pytest
import torch

from bestpapers.lab.files import FormatError
from bestpapers.lab.tensors import read_tensors, write_tensors


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
    with pytest.raises(FormatError, match="expected a whole safetensors file"):
        read_tensors(path)
    write_tensors(path, dict(a=torch.ones(100)))
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(FormatError, match="expected a whole safetensors file"):
        read_tensors(path)
