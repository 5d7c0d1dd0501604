"""What the checkpoints of all trainers must survive."""

import pytest
import torch
from safetensors.torch import save_file

KINDS = ("text", "empty", "foreign", "cut")


def assert_survives_a_full_disk(run, path, until, monkeypatch):
    """`run` has saved to `path`. It trains on to `until`, where the writing fails: the old file stays, and nothing else."""
    import safetensors.torch

    old = path.read_bytes()

    def full_disk(tensors, target, **_):
        target.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", full_disk)
    with pytest.raises(OSError, match="no space"):
        run.run(until=until, quiet=True)
    assert path.read_bytes() == old
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def damage(path, kind):
    """Put something else of one of `KINDS` in the place of a checkpoint."""
    whole = path.read_bytes()
    if kind == "foreign":
        save_file({"weight": torch.zeros(3)}, path)
    else:
        path.write_bytes({"text": b"hello " * 50, "empty": b"", "cut": whole[: len(whole) // 3]}[kind])
