"""Cards of weights: one shape, written, read and held against the files."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

import bestpapers
from bestpapers.lab import weights
from bestpapers.lab.files import FormatError
from bestpapers.lab.weights import Card

LIB = Path(bestpapers.__file__).parent
SAID = dict(
    command="python -m bestpapers.wing weights",
    data=dict(size=64),
    data_hash=dict(training="0c48"),
    settings=dict(steps=3),
    scores=dict(right=0.5),
    size=dict(parameters=3),
)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"weights")
    (tmp_path / "config.json").write_text("{}")
    Card.of(tmp_path, ["a.safetensors", "config.json"], **SAID).write(tmp_path)
    return tmp_path


def test_a_card_says_what_is_there_and_where_it_was_made(folder):
    card = Card.read(folder)
    assert {name: asdict(card)[name] for name in SAID} == SAID
    assert card.files["config.json"] == dict(
        sha256="44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a", bytes=2
    )
    assert card.licence.startswith("MIT")
    assert {"python", "torch", "numpy"} <= card.versions.keys()
    assert "cores" in card.machine
    card.verify(folder)


@pytest.mark.parametrize("damage", [b"weightz", b"weight", b""])
def test_other_files_than_the_cards_are_told(folder, damage):
    (folder / "a.safetensors").write_bytes(damage)
    with pytest.raises(FormatError, match=r"a\.safetensors: sha256: expected .*, as in card\.json"):
        Card.read(folder).verify(folder)
    (folder / "a.safetensors").unlink()
    with pytest.raises(
        FormatError, match=r"card\.json: files: expected a file in .*, found 'a\.safetensors', which is not"
    ):
        Card.read(folder).verify(folder)


@pytest.mark.parametrize(
    ("files", "message"),
    [({}, "at least one file"), ({"a.safetensors": 3}, "sha256 and bytes"), ({"../a": {}}, "a path inside")],
)
def test_a_card_that_names_no_files_of_its_own_is_refused(folder, files, message):
    value = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(value | dict(files=files)))
    with pytest.raises(FormatError, match=message):
        Card.read(folder).verify(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(licence=None), r"card\.json: licence: expected a str, found nothing"),
        (dict(scores=[1]), r"card\.json: scores: expected a dict"),
        (dict(colour="red"), r"card\.json: colour: expected fields command, data, .*, found another one"),
    ],
)
def test_cards_of_another_shape_are_refused(folder, change, message):
    value = json.loads((folder / "card.json").read_text()) | change
    (folder / "card.json").write_text(json.dumps({k: v for k, v in value.items() if v is not None}))
    with pytest.raises(FormatError, match=message):
        Card.read(folder)
    (folder / "card.json").write_text("hello")
    with pytest.raises(FormatError, match=r"card\.json"):
        Card.read(folder)


def test_the_command_checks_files(folder, capsys):
    assert weights.verify(folder) == 0
    assert "a.safetensors: 7 bytes" in capsys.readouterr().out


WINGS = sorted(path.parent for path in LIB.glob("*/weights/card.json"))


@pytest.mark.parametrize("folder", WINGS, ids=lambda path: path.parent.name)
def test_the_weights_of_every_wing_are_those_of_their_cards(folder):
    card = Card.read(folder)
    card.verify(folder)
    beside = {path.name for path in folder.iterdir() if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert beside == {*card.files, "card.json"}
    assert card.command == f"python -m bestpapers.{folder.parent.name} weights"


def test_all_weights_together_are_small():
    assert len(WINGS) >= 2
    assert sum(said["bytes"] for folder in WINGS for said in Card.read(folder).files.values()) < 40e6
