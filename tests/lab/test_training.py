"""The loop: it stops where it may, resumes exactly, refuses what is not its own, and never leaves half a file."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from bestpapers.course import interrupts
from bestpapers.lab import training

from .. import checkpoints
from .tiny_training import OPTIMIZERS, Config, Run, weights

CONFIG = Config()


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_it_learns_and_keeps_a_row_every_fifty_steps():
    run = Run(Config(steps=120))
    rows = run.run(quiet=True)
    assert rows is run.history
    assert [row["iteration"] for row in rows] == [50, 100, 120]
    assert all(set(row) == {"iteration", "loss", "seconds"} for row in rows)
    assert [row["loss"] for row in rows] == [run.losses[i] for i in (49, 99, 119)]
    assert 0 < rows[0]["seconds"] < rows[1]["seconds"] < run.seconds + 1e-9
    assert sum(run.losses[-10:]) < 0.5 * sum(run.losses[:10])


def test_until_and_after():
    run, seen = Run(), []
    run.run(until=4, quiet=True, after=lambda r: seen.append(r.iteration))
    run.run(until=4, quiet=True)
    assert seen == [1, 2, 3, 4]
    run.run(until=0, quiet=True)
    assert run.iteration == 4
    run.run(quiet=True)
    assert run.iteration == CONFIG.steps


# ---------------------------------------------------------------------------------------------------------- checkpoint


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, optimizer):
    """Parameters, averages of batch norm, the optimizer's moments, random numbers, losses: all to the last bit."""
    config = replace(CONFIG, optimizer=optimizer)
    whole = Run(config)
    whole.run(quiet=True)
    Run(config, tmp_path / "run.safetensors").run(until=13, quiet=True)
    second = Run(config, tmp_path / "run.safetensors")
    assert second.iteration == 13
    assert second.seconds > 0
    second.run(quiet=True)
    assert second.losses == whole.losses
    assert equal(weights(second), weights(whole))
    assert second.model.second.weight is second.model.first.weight
    assert [row["iteration"] for row in second.history] == [13, 30]


def test_moments_go_by_name_and_return(tmp_path):
    run = Run()
    run.run(until=3, quiet=True)
    named = dict(run.model.named_parameters())
    kept = {name: t.clone() for name, t in training.moments(run.optimizer, named).items()}
    assert "first.weight.exp_avg_sq" in kept
    assert not any(name.startswith("second.weight") for name in kept)  # the same parameter under another name
    other = Run(replace(CONFIG, seed=3))
    other.step()
    training.set_moments(other.optimizer, dict(other.model.named_parameters()), kept)
    assert equal(training.moments(other.optimizer, dict(other.model.named_parameters())), kept)
    given = {name: t.clone() for name, t in kept.items()}
    other.step()
    assert equal(kept, given)  # they were copied: what was given does not move on with the run
    training.set_moments(other.optimizer, dict(other.model.named_parameters()), {})
    assert not training.moments(other.optimizer, dict(other.model.named_parameters()))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_in_the_middle_of_a_step_loses_nothing(tmp_path, number):
    path = tmp_path / "deep" / "run.safetensors"
    whole = Run()
    whole.run(quiet=True)
    run = Run(checkpoint=path)
    run.inside = lambda: len(run.losses) == 11 and os.kill(os.getpid(), number)
    handlers = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(KeyboardInterrupt):
        run.run(quiet=True)
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    again = Run(checkpoint=path)
    assert again.iteration == 12
    assert equal(weights(again), weights(run))
    again.run(quiet=True)
    assert again.losses == whole.losses
    assert equal(weights(again), weights(whole))


def test_a_second_ctrl_c_stops_at_once(tmp_path):
    run = Run(checkpoint=tmp_path / "run.safetensors")

    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("not reached")

    run.inside = twice
    with pytest.raises(KeyboardInterrupt):
        run.run(quiet=True)
    assert list(tmp_path.iterdir()) == []


def test_whoever_waits_for_a_run_in_another_process_can_stop_it(monkeypatch):
    run = Run()
    monkeypatch.setattr(interrupts, "asked_to_stop", lambda: run.iteration == 7)
    with pytest.raises(KeyboardInterrupt):
        run.run(quiet=True)
    assert run.iteration == 7


def test_a_failed_write_keeps_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "run.safetensors"
    run = Run(checkpoint=path)
    run.run(until=3, quiet=True)
    checkpoints.assert_survives_a_full_disk(run, path, 6, monkeypatch)


def test_it_is_saved_every_so_often(tmp_path):
    path, found = tmp_path / "run.safetensors", []
    run = Run(replace(CONFIG, checkpoint_every=4, steps=10), path)

    def after(run):
        found.append(path.exists() and Run(replace(CONFIG, steps=10), path).iteration)

    run.run(quiet=True, after=after)
    assert found == [False, False, False, False, 4, 4, 4, 4, 8, 8]


def test_what_was_made_otherwise_is_refused(tmp_path):
    path = tmp_path / "run.safetensors"
    Run(checkpoint=path).run(until=2, quiet=True)
    other = "use another checkpoint file, or delete it to start anew"
    with pytest.raises(ValueError, match=f"trained with seed = 0, this run has 1; {other}"):
        Run(replace(CONFIG, seed=1), path)
    with pytest.raises(ValueError, match=f"trained on other points; {other}"):
        Run(checkpoint=path, shift=0.5)
    with pytest.raises(ValueError, match=f"trained with another model; {other}"):
        Run(checkpoint=path, model=nn.Linear(4, 4))
    assert Run(replace(CONFIG, checkpoint_every=7, backend="numba"), path).iteration == 2  # they decide no result


def test_fewer_steps_than_are_done_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "run.safetensors"
    Run(checkpoint=path).run(until=5, quiet=True)
    said = (
        "stands at step 5 of a longer run, and this one was asked for 4 steps; ask for {}, or delete it to start anew"
    )
    with pytest.raises(ValueError, match=said.format("30")):
        Run(replace(CONFIG, steps=4), path)
    monkeypatch.setattr(Run, "settings", lambda self: {})  # where another number of steps decides nothing
    Run(checkpoint=path).save(path)
    with pytest.raises(ValueError, match=said.format("at least 5")):
        Run(replace(CONFIG, steps=4), path)


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected a file, found a folder"):
        Run(checkpoint=tmp_path)
    (tmp_path / "a").write_bytes(b"version https://git-lfs.github.com/spec/v1\nsize 9\n")
    with pytest.raises(ValueError, match="Git LFS pointer"):
        Run(checkpoint=tmp_path / "a")


@pytest.mark.parametrize("kind", checkpoints.KINDS)
def test_a_damaged_checkpoint_is_refused(tmp_path, kind):
    path = tmp_path / "run.safetensors"
    Run(checkpoint=path).run(until=2, quiet=True)
    checkpoints.damage(path, kind)
    with pytest.raises(ValueError, match="no checkpoint of this program, or is damaged"):
        Run(checkpoint=path)


@pytest.mark.parametrize("header", ["[]", "{}", '{"settings": 1}', "no JSON"])
def test_a_header_that_says_something_else_is_refused(tmp_path, header):
    from safetensors.torch import save_file

    path = tmp_path / "run.safetensors"
    save_file({"model.weight": torch.zeros(3)}, path, metadata=dict(bestpapers=header))
    with pytest.raises(ValueError, match="no checkpoint of this program, or is damaged"):
        Run(checkpoint=path)


@pytest.mark.parametrize(
    ("field", "value"),
    [("iteration", "2"), ("iteration", -1), ("seconds", None), ("history", {}), ("state", []),
     ("data", 3), ("settings", []), ("tensors", 3)],
)  # fmt: skip
def test_a_header_with_a_wrong_field_is_refused(tmp_path, field, value):
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    path = tmp_path / "run.safetensors"
    Run(checkpoint=path).run(until=2, quiet=True)
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["bestpapers"])
    save_file(load_file(path), path, metadata=dict(bestpapers=json.dumps(header | {field: value})))
    with pytest.raises(ValueError, match=r"run\.safetensors is no checkpoint of this program, or is damaged"):
        Run(checkpoint=path)


def test_a_checkpoint_without_the_moments_is_refused(tmp_path):
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    path = tmp_path / "run.safetensors"
    Run(checkpoint=path).run(until=2, quiet=True)
    with safe_open(path, "pt") as file:
        header = file.metadata()
    save_file({k: t for k, t in load_file(path).items() if not k.startswith("optimizer.")}, path, metadata=header)
    with pytest.raises(ValueError, match=r"it holds \d+ tensors of \d+"):
        Run(checkpoint=path)


def test_the_header_is_plain_json(tmp_path):
    from safetensors import safe_open

    path = tmp_path / "run.safetensors"
    run = Run(checkpoint=path)
    run.run(until=2, quiet=True)
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["bestpapers"])
        names = set(file.keys())
    assert header["settings"] == dict(steps=30, seed=0, lr=0.05, optimizer="adam")
    assert header["iteration"] == 2
    assert header["state"] == dict(losses=run.losses)
    assert {"model.norm.running_mean", "optimizer.first.weight.exp_avg", "more.generator"} <= names
    assert not any("ones" in name or "second.weight" in name for name in names)


# ----------------------------------------------------------------------------------------------------------- processes


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What each of two processes of `tiny_training.py` found."""
    folder = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    script = Path(__file__).with_name("tiny_training.py")
    environment = os.environ | dict(OMP_NUM_THREADS="1", BESTPAPERS_PRESET="laptop")
    done = subprocess.run([*command, str(script), str(folder)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-5000:]
    return folder, [json.loads((folder / f"{r}.json").read_text()) for r in range(2)]


def test_processes_share_batches_and_end_with_the_same_weights(ranks):
    first, second = ranks[1]
    assert first["losses"] == second["losses"]
    assert len(first["losses"]) == 6
    assert first["weights"] == second["weights"]


def test_one_process_writes_and_all_stop_together(ranks):
    folder, found = ranks
    assert [p.name for p in folder.glob("*.safetensors*")] == ["run.safetensors"]
    assert [rank["resumed"] for rank in found] == [6, 6]
    assert [rank["stopped"] for rank in found] == [5, 5]


def test_processes_that_see_different_checkpoints_are_refused(ranks):
    assert all("is not the same for all processes" in rank["refusal"] for rank in ranks[1])


def test_jobs_are_dealt_out_to_the_processes_of_torchrun(ranks):
    """And all of them hear of every result, and of what went wrong."""
    for rank in ranks[1]:
        assert rank["dealt"] == [[n, [n**2, n % 2]] for n in range(5)]
        assert rank["dealt again"] == [0, 1]
        assert rank["error"] == ["three"]
