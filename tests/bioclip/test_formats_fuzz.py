"""Thousands of damaged files: each is read as something valid or refused with FormatError, in little memory. See `fuzz.py`."""

import copy
import io
import random
import struct
import tarfile
import zipfile
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from bestpapers.bioclip.classify import read_table
from bestpapers.bioclip.formats import (
    FormatError,
    Skips,
    load,
    load_label_embeddings,
    read_photos,
    read_shards,
    save_label_embeddings,
    save_local,
    weights,
    write_shards,
)
from bestpapers.bioclip.formats.photos import decode
from bestpapers.bioclip.formats.torch_file import TorchFile
from bestpapers.bioclip.taxa import taxa
from bestpapers.lab.files import parse_json

from .. import fuzz
from .tiny import CONFIG, tiny_clip

FILES = 700  # per reader
PEAK = 4 << 20  # bytes while reading one file of at most 40 kB; open_clip's classes included
GROWTH = 64_000  # kB that the process may grow by: what torch and Pillow take counts here too

NUMBERS = [
    *(struct.pack("<Q", n) for n in (0, 1, 2**31, 2**40, 2**63 - 1, 2**64 - 1)),
    *(struct.pack("<f", x) for x in (np.nan, np.inf, -np.inf, 3e38, 1e-45)),
    *(b"77777777777\0", b"00000000000\0", b"\x80" + b"\xff" * 11, b"\x80" + bytes(3) + b"\x7f" + bytes(7)),  # tar's
]
WORDS = [
    *(*fuzz.WORDS, b"1000001", b"-Infinity", b'"\\ud800"', b'"', b"../../x.png", b"/etc/passwd", b"class", b"cls"),
    *(b"filepath", b"O", b"<f8", b"|S1000000000", b"(2, 99999999999)", b"ustar\x0000", b"GNU.sparse.size=99999999999"),
    *(b"size", b"path=../../x.jpg", b"F64", b"BOOL", b"data_offsets"),
]
mutate = partial(fuzz.mutate, numbers=NUMBERS, words=WORDS, block=512)  # tar's blocks


def signed(data: bytes) -> bytes:
    """A tar file whose damaged headers have the right check sums, so that the damage reaches the reader."""
    out = bytearray(data)
    for at in range(0, len(out) - 511, 512):
        if out[at + 257 : at + 262] == b"ustar":
            out[at + 148 : at + 156] = b" " * 8
            out[at + 148 : at + 156] = b"%06o\0 " % sum(out[at : at + 512])
    return bytes(out)


# -------------------------------------------------------------------------------------------------------------- readers


def check_labels(found) -> None:
    assert found.embeddings.shape[1] == len(found.taxa) == 3
    assert found.embeddings.dtype == np.float32
    assert np.isfinite(found.embeddings).all()
    assert all(isinstance(name, str) for taxon in found.taxa for name in (*taxon.path, taxon.common_name))


def check_photos(photos) -> None:
    for photo in photos:
        assert photo.label.strip()
        assert photo.path.is_file()
        assert photo.taxon is None or any(photo.taxon.path)


def check_table(rows) -> None:
    assert all(isinstance(text, str) for _, row in rows for text in row.values())


def check_samples(samples) -> None:
    for sample in samples:
        assert sample.image.mode == "RGB"
        assert isinstance(sample.texts["com"], str)


def check_tensors(tensors) -> None:
    assert all(isinstance(tensor, torch.Tensor) and tensor.numel() <= 10_000 for tensor in tensors.values())


@pytest.fixture(scope="module")
def readers(tmp_path_factory):
    """name: (good file, reader of bytes, check of what it returns)."""
    folder = tmp_path_factory.mktemp("fuzz")
    out = {}

    def add(name, path, read, check, damage=lambda data: data):
        good = path.read_bytes()

        def reader(data):
            path.write_bytes(damage(data))
            try:
                return read()
            finally:
                path.write_bytes(good)

        out[name] = good, reader, check

    save_label_embeddings(folder / "a", np.random.default_rng(0).standard_normal((8, 3)), taxa()[:3])
    for ending in ("npy", "json"):
        add(f"labels.{ending}", folder / f"a.{ending}", lambda: load_label_embeddings(folder / "a"), check_labels)

    (folder / "p" / "b").mkdir(parents=True)
    Image.new("RGB", (8, 6)).save(folder / "p" / "b" / "1.jpg")
    Image.new("RGB", (8, 6)).save(folder / "p" / "b" / "2.jpg", quality=30)
    (folder / "p" / "metadata.csv").write_text(
        "filepath,class,kingdom,phylum,cls,order,family,genus,species,common_name\n"
        'b/1.jpg,"a lion, resting",Animalia,Chordata,Mammalia,Carnivora,Felidae,Panthera,"leo (L., 1758)",Lion\n'
        "b/2.jpg,moss,Plantae,,,,,,,\n"
    )
    add("metadata.csv", folder / "p" / "metadata.csv", lambda: read_photos(folder / "p"), check_photos)
    photo = read_photos(folder / "p")[0]
    add("photo", photo.path, photo.image, lambda image: image.load())
    for ending in ("gif", "jp2", "avif", "ppm"):
        path = folder / f"photo.{ending}"
        Image.linear_gradient("L").resize((8, 6)).convert("RGB").save(path)
        add(path.name, path, lambda path=path: decode(path), lambda image: image.load())
    path = folder / "table.tsv"
    path.write_text('label\tbin\noak\tplant\n"red fox"\tanimal\n')
    add(path.name, path, lambda path=path: read_table(path), check_table)

    triples = [(f"k{i}", np.full((8, 8, 3), 40 * i, np.uint8), taxa()[i]) for i in range(2)]
    write_shards(folder / "s", triples, size=8)
    for name, kind in (("ustar", tarfile.USTAR_FORMAT), ("gnu", tarfile.GNU_FORMAT), ("pax", tarfile.PAX_FORMAT)):
        path = folder / f"{name}.tar"
        with tarfile.open(folder / "s" / "shard-000000.tar") as old, tarfile.open(path, "w", format=kind) as new:
            for member in old:
                if member.name.endswith((".jpg", ".com.txt")):
                    data = old.extractfile(member)
                    member.name = ("long" * 40 if kind != tarfile.USTAR_FORMAT else "") + member.name
                    new.addfile(member, data)
        end = len(path.read_bytes().rstrip(b"\0")) // 512 * 512 + 512
        path.write_bytes(path.read_bytes()[: end + 1024])  # without the padding, most of the file
        add(f"{name}.tar", path, lambda path=path: list(read_shards(path, ["com"])), check_samples)
        add(f"{name}.tar, signed", path, lambda path=path: list(read_shards(path, ["com"])), check_samples, signed)

    config = copy.deepcopy(CONFIG)
    config["model_cfg"]["text_cfg"] |= dict(vocab_size=100, context_length=8)
    config["model_cfg"]["vision_cfg"] |= dict(image_size=16, patch_size=8)
    save_local(tiny_clip(config=config), folder / "w", config)

    def read_weights():
        path = folder / "w" / weights.CONFIG
        found = weights._check_config(parse_json(path.read_bytes(), path), path)
        weights._check_weights(folder / "w", found)
        return found

    for name in (weights.CONFIG, weights.WEIGHTS):
        add(name, folder / "w" / name, read_weights, lambda found: found["model_cfg"])
    out["folder of weights"] = folder / "w"

    path = folder / "a.bin"
    torch.save(dict(a=torch.rand(4, 3), b=torch.rand(2, 2).T.half(), c=torch.tensor(7)), path)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}

    def packed(program):
        """An archive with a damaged pickle and the right check sums."""
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for name, data in entries.items():
                archive.writestr(name, program if name.endswith("data.pkl") else data)
        return file.getvalue()

    def read_tensors():
        return TorchFile(path).read()

    add("a.bin", path, read_tensors, check_tensors)
    part = torch.nn.Linear(3, 2, bias=False)
    torch.nn.init.constant_(part.weight, 0.5)
    optimizer = torch.optim.AdamW(part.parameters())
    part(torch.ones(3)).sum().backward()
    optimizer.step()
    state = {f"module.{key}": tensor for key, tensor in part.state_dict().items()}
    path_of_training = folder / "epoch_1.pt"
    torch.save(dict(epoch=1, state_dict=state, optimizer=optimizer.state_dict()), path_of_training)
    add("epoch_1.pt", path_of_training, lambda: TorchFile(path_of_training).read(), check_tensors)
    add("data.pkl", path, read_tensors, check_tensors, packed)
    program = next(data for name, data in entries.items() if name.endswith("data.pkl"))
    out["data.pkl"] = program, *out["data.pkl"][1:]
    return out


READERS = (
    *("labels.npy", "labels.json", "metadata.csv", "photo", weights.CONFIG, weights.WEIGHTS),
    *("photo.gif", "photo.jp2", "photo.avif", "photo.ppm", "table.tsv", "a.bin", "data.pkl", "epoch_1.pt"),
    *(f"{kind}.tar{signed}" for kind in ("ustar", "gnu", "pax") for signed in ("", ", signed")),
)


@pytest.mark.parametrize("name", READERS)
def test_damaged_files(readers, name):
    assert len(readers[name][0]) <= 40_000
    fuzz.assert_withstands(name, *readers[name], mutate, FILES, PEAK, GROWTH)


@pytest.mark.parametrize("name", ["ustar.tar", "pax.tar, signed"])
def test_skips_take_all_damage(readers, name, tmp_path):
    """With `skips` no damage stops the reading, and none goes uncounted."""
    good, _, check = readers[name]
    path = tmp_path / "a.tar"
    path.write_bytes(good)
    whole = [(s.key, s.texts["com"], s.image.tobytes()) for s in read_shards(path, ["com"])]
    less = 0
    for i in range(200):
        data = mutate(good, random.Random(i))
        path.write_bytes(signed(data) if "signed" in name else data)
        skips = Skips()
        found = list(read_shards(path, ["com"], skips=skips))
        check(found)
        try:
            strict, error = list(read_shards(path, ["com"])), None
        except FormatError as caught:
            error = str(caught)
        assert error in skips.messages if error else skips.count == 0
        assert error or [s.key for s in strict] == [s.key for s in found]
        less += len(found) < len(whole)
    assert less > 20


def test_weights_that_pass_the_checks_are_loaded_or_refused(readers):
    folder = readers["folder of weights"]
    counts = dict(read=0, refused=0)
    for name in (weights.CONFIG, weights.WEIGHTS):
        good = (folder / name).read_bytes()
        i = 0
        while sum(counts.values()) < (12 if name == weights.CONFIG else 24):
            data, i = mutate(good, random.Random(i)), i + 1
            try:
                readers[name][1](data)
            except FormatError:
                continue
            (folder / name).write_bytes(data)
            try:
                model, preprocess, _ = load(f"local-dir:{folder}")
            except FormatError:
                counts["refused"] += 1
            else:
                counts["read"] += 1
                assert all(tensor.isfinite().all() for tensor in model.state_dict().values())
                assert preprocess(Image.new("RGB", (50, 40))).isfinite().all()
            finally:
                (folder / name).write_bytes(good)
    assert counts["read"] > 5


def test_mutations_are_the_same_everywhere():
    fuzz.assert_same_everywhere(mutate)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("a"))
    assert signed(buffer.getvalue()) == buffer.getvalue()
