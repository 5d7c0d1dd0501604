"""Tensors in files: what goes in comes out, and other files are refused."""

from dataclasses import dataclass

import pytest
import torch

from bestpapers.lab.files import FormatError
from bestpapers.lab.tensors import Kept, read_model, read_tensors, write_model, write_tensors


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


@dataclass(frozen=True)
class Config:
    width: int = 3
    words: tuple[str, ...] = ("a", "b")


class Net(Kept):
    CONFIG = Config

    def __init__(self, config=Config()):
        super().__init__()
        self.config = config
        self.linear = torch.nn.Linear(config.width, len(config.words))


def test_a_model_comes_back_rounded_and_ready_for_use(tmp_path):
    path = tmp_path / "net.safetensors"
    net = Net(Config(5, ("x", "y", "z"))).train()
    net.save(path, steps=7)
    assert read_tensors(path)[0]["linear.weight"].dtype is torch.float16
    found = Net.load(path)
    assert found.config == net.config
    assert not found.training
    assert not any(p.requires_grad for p in found.parameters())
    assert found.linear.weight.dtype is torch.float32
    assert torch.equal(found.linear.weight, net.linear.weight.detach().half().float())


def test_a_header_that_lies_is_refused_and_takes_no_memory(tmp_path):
    path = tmp_path / "net.safetensors"
    for config in (dict(width=10**9), dict(width=4), dict(width="3"), dict(depth=1), 5):
        write_model(path, Net(), dict(config=config))
        with pytest.raises(FormatError, match="expected weights of this kind of model, found something else"):
            Net.load(path)
    net = Net()
    net.linear.bias.data[0] = torch.nan
    net.save(path)
    with pytest.raises(FormatError, match="no finite numbers"):
        Net.load(path)


@pytest.mark.parametrize(
    "error", [KeyError, IndexError, TypeError, ValueError, RuntimeError, AttributeError, OverflowError, MemoryError]
)
def test_whatever_a_header_makes_of_the_model_is_a_refusal(tmp_path, error):
    path = tmp_path / "net.safetensors"
    Net().save(path)

    def build(header, tensors):
        raise error("of 7 things")

    with pytest.raises(FormatError, match=r"net.safetensors: file: expected .*, found something else \(.*of 7 things"):
        read_model(path, build)
