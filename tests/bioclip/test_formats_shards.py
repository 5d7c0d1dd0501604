"""Shards: ours read by webdataset alone and by open_clip's training, theirs read by us, damage told, parts for processes."""

import io
import json
import random
import sys
import tarfile
import tracemalloc
import types
from collections import Counter

import numpy as np
import pytest
import webdataset
from PIL import Image

from bestpapers.bioclip.formats import (
    FormatError,
    Skips,
    batches,
    find_shards,
    read_shards,
    text_type,
    write_shards,
)
from bestpapers.bioclip.taxa import Taxon, taxa
from bestpapers.bioclip.taxonomy import TEXT_TYPES, captions, names

FILES = {*(f"{name}.txt" for name in (*captions(taxa()[0]), *names(taxa()[0]))), "jpg"}


def picture(i):
    """Soft colours, 48 x 96 pixels."""
    few = np.random.default_rng(i).integers(0, 255, (4, 3, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(few).resize((48, 96), Image.Resampling.BICUBIC))


def samples(n):
    return [(f"{i:04d}-tol_{i}", picture(i), taxa()[i]) for i in range(n)]


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    assert write_shards(folder, samples(10), size=32, maxcount=4, txt="taxon_com") == {
        "shard-000000.tar": 4,
        "shard-000001.tar": 4,
        "shard-000002.tar": 2,
    }
    return folder


def build(path, files, **kw):
    """A tar file with these (name, bytes or TarInfo)."""
    with tarfile.open(path, "w", **kw) as tar:
        for name, data in files:
            if isinstance(data, tarfile.TarInfo):
                tar.addfile(data)
            else:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return path


def jpeg(color=0) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (color, 0, 0)).save(file, "JPEG")
    return file.getvalue()


# ------------------------------------------------------------------------------------------------------------- writing


def test_read_by_webdataset_alone(shards):
    url = f"file:{shards}/shard-{{000000..000002}}.tar"
    found = list(webdataset.WebDataset(url, shardshuffle=False).decode("pil"))
    assert [sample["__key__"] for sample in found] == [key for key, _, _ in samples(10)]
    for i, sample in enumerate(found):
        taxon = taxa()[i]
        assert {name for name in sample if not name.startswith("__")} == {name.lower() for name in FILES} | {"txt"}
        assert sample["taxon_com.txt"] == sample["txt"] == captions(taxon)["taxon_com"]
        assert sample["scientific_name.txt"] == taxon.name
        squashed = Image.fromarray(picture(i)).resize((32, 32), Image.Resampling.BICUBIC)
        assert np.abs(np.asarray(sample["jpg"], float) - np.asarray(squashed)).mean() < 3  # JPEG at 95


def test_names_and_texts_by_tar_alone(shards):
    with tarfile.open(shards / "shard-000002.tar") as tar:
        members = {member.name: member for member in tar}
        key = samples(10)[8][0]
        assert {name.removeprefix(f"{key}.") for name in members if name.startswith(key)} == FILES | {"txt"}
        assert len(members) == 2 * 12
        assert all(member.isreg() and member.mtime == 0 for member in members.values())
        text = tar.extractfile(f"{key}.taxonTag.txt").read().decode()
    assert text == captions(taxa()[8])["taxonTag"]
    assert json.loads((shards / "sizes.json").read_text()) == {
        "shard-000000.tar": 4,
        "shard-000001.tar": 4,
        "shard-000002.tar": 2,
    }


def test_open_clip_trains_on_them(shards, monkeypatch):
    """Its own pipeline, which knows no text but KEY.txt and takes the size from sizes.json."""
    pytest.importorskip("torchvision.datasets")
    if "pandas" not in sys.modules:  # open_clip imports it for tables, and this book does without
        monkeypatch.setitem(sys.modules, "pandas", types.ModuleType("pandas"))
    data = pytest.importorskip("open_clip_train.data")
    pattern = str(shards / "shard-{000000..000002}.tar")
    assert data.get_dataset_size(pattern) == (10, 3)
    args = types.SimpleNamespace(
        train_data=pattern, val_data=pattern, train_num_samples=None, val_num_samples=None, workers=1, batch_size=5,
        dataset_resampled=False, train_data_upsampling_factors=None, seed=0, world_size=1,
    )  # fmt: skip
    info = data.get_wds_dataset(args, np.asarray, is_train=False, tokenizer=lambda text: [text])
    info.dataloader.pipeline[0].num_workers = 0  # in this process
    seen = [text for _, texts in info.dataloader for text in texts]
    assert seen == [captions(taxon)["taxon_com"] for taxon in taxa()[:10]]


def test_equal_samples_give_equal_files(shards, tmp_path):
    write_shards(tmp_path, iter(samples(10)), size=32, maxcount=4, txt="taxon_com")
    for path in shards.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_size_and_limits_of_shards(tmp_path):
    sizes = write_shards(tmp_path / "a%d", samples(4), size=None, maxsize=1)
    assert list(sizes.values()) == [1, 1, 1, 1]
    found = list(read_shards(tmp_path / "a%d"))
    assert {sample.image.size for sample in found} == {(48, 96)}
    with tarfile.open(tmp_path / "a%d" / "shard-000000.tar") as tar:
        assert not [name for name in tar.getnames() if name.endswith(samples(1)[0][0] + ".txt")]


def test_what_is_not_written(tmp_path, shards):
    key, image, taxon = samples(1)[0]
    for bad, message in (
        ([], "no samples"),
        ([("a.b", image, taxon)], "letters, digits"),
        ([("a/b", image, taxon)], "letters, digits"),
        ([("", image, taxon)], "letters, digits"),
        ([(key, image, taxon), (key, image, taxon)], "twice"),
        ([(key, image, Taxon(*[""] * 7))], "at least one rank"),
    ):
        with pytest.raises(ValueError, match=message):
            write_shards(tmp_path, bad, size=8)
    with pytest.raises(ValueError, match="txt must be one of com, sci"):
        write_shards(tmp_path, samples(1), txt="text")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match=r"holds shard-000000\.tar already"):
        write_shards(shards, samples(1))


def test_an_interrupted_writer_leaves_whole_shards_and_no_sizes(tmp_path):
    def stopping():
        yield from samples(3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shards(tmp_path, stopping(), size=8, maxcount=2)
    assert [path.name for path in tmp_path.iterdir()] == ["shard-000000.tar"]
    assert len(list(read_shards(tmp_path))) == 2


# ------------------------------------------------------------------------------------------------------------- reading


def test_round_trip(shards):
    found = list(read_shards(shards))
    assert [(s.key, s.image.size, s.image.mode) for s in found] == [(k, (32, 32), "RGB") for k, _, _ in samples(10)]
    for sample, (_, _, taxon) in zip(found, samples(10)):
        assert sample.texts == {kind: captions(taxon)[kind] for kind in TEXT_TYPES}
    tagged = next(read_shards(shards, ["taxonTag", "common_name", "txt"]))  # webdataset makes types small
    assert tagged.texts["taxonTag"] == captions(taxa()[0])["taxonTag"]
    assert tagged.texts["common_name"] == taxa()[0].common_name.lower()
    assert tagged.texts["txt"] == captions(taxa()[0])["taxon_com"]


def test_shards_of_the_webdataset_writer(tmp_path):
    with webdataset.ShardWriter(str(tmp_path / "x-%d.tar"), maxcount=2, verbose=0) as writer:
        for i in range(3):
            writer.write({"__key__": f"eol/{i}", "jpg": Image.new("RGB", (8, 8)), "com.txt": f"a photo of {i}."})
    found = list(read_shards(tmp_path, ["com"]))
    assert [(s.key, s.texts["com"]) for s in found] == [(f"eol/{i}", f"a photo of {i}.") for i in range(3)]


@pytest.mark.parametrize("ending", ["jpg", "jpeg", "png", "webp"])
def test_kinds_of_images(tmp_path, ending):
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    data = io.BytesIO()
    kind = dict(jpg="JPEG", jpeg="JPEG").get(ending, ending)
    Image.new("RGB", (8, 4), (200, 10, 10)).save(data, kind, exif=exif)
    path = build(tmp_path / "a.tar", [(f"x.{ending}", data.getvalue()), ("x.com.txt", b"red")])
    (sample,) = read_shards(path, ["com"])
    assert sample.image.size == (4, 8)
    assert abs(np.asarray(sample.image, int) - (200, 10, 10)).max() < 20


def test_photographs_are_written_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 4)).save(tmp_path / "a.jpg", exif=exif)
    deep = Image.fromarray(np.full((8, 4), 100 * 257, np.uint16))
    with Image.open(tmp_path / "a.jpg") as image:
        write_shards(tmp_path / "s", [("a", image, taxa()[0]), ("b", deep, taxa()[1])], size=None)
    found = [sample.image for sample in read_shards(tmp_path / "s", ["com"])]
    assert [image.size for image in found] == [(4, 8)] * 2
    assert abs(np.asarray(found[1], int) - 100).max() < 5


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_kinds_of_tar(tmp_path, kind):
    key = "long" * 40 if kind != tarfile.USTAR_FORMAT else "short"
    folder = tarfile.TarInfo("sub")
    folder.type = tarfile.DIRTYPE
    files = [("README", b"no sample"), ("sub", folder), (f"./{key}.jpg", jpeg()), (f"./{key}.com.txt", b"x\xc3\xa9")]
    (sample,) = read_shards(build(tmp_path / "a.tar", files, format=kind), ["com"])
    assert (sample.key, sample.texts) == (key, {"com": "x\u00e9"})


def test_finding_shards(shards, tmp_path):
    three = [shards / f"shard-00000{i}.tar" for i in range(3)]
    assert find_shards(shards) == find_shards(str(shards / "shard-{000000..000002}.tar")) == find_shards(three) == three
    assert find_shards(three[1]) == [three[1]]
    with pytest.raises(FormatError, match=r"shard-000003\.tar: shard: expected a tar file, found nothing"):
        find_shards(str(shards / "shard-{000000..000003}.tar"))
    with pytest.raises(FormatError, match=r"files ending in \.tar"):
        find_shards(tmp_path)


def test_shuffling(shards):
    plain = [s.key for s in read_shards(shards, ())]
    mixed = [[s.key for s in read_shards(shards, (), shuffle=10, seed=seed)] for seed in (0, 0, 1)]
    assert mixed[0] == mixed[1] != mixed[2]
    assert plain not in mixed
    assert all(sorted(keys) == plain for keys in mixed)


@pytest.mark.parametrize("names", [("RANK", "WORLD_SIZE"), ("WORKER", "NUM_WORKERS")])
def test_processes_and_workers_share_the_shards(shards, monkeypatch, names):
    def part(i, n):
        for name, value in zip(names, (i, n)):
            monkeypatch.setenv(name, str(value))
        return [s.key for s in read_shards(shards, (), shuffle=4)]

    parts = [part(i, 3) for i in range(3)]
    assert sorted(map(len, parts)) == [2, 4, 4]
    assert sorted(key for keys in parts for key in keys) == [key for key, _, _ in samples(10)]
    with pytest.raises(ValueError, match="3 shards do not go round"):
        part(3, 4)


# -------------------------------------------------------------------------------------------------------------- damage


def test_bad_samples_are_refused_or_skipped(tmp_path):
    good = [("g.jpg", jpeg()), ("g.com.txt", b"fine")]
    bad = [
        ([("a.com.txt", b"x")], r"sample 'a': expected an image, \.jpg"),
        ([("b.jpg", jpeg())], r"sample 'b': expected a text, \.com\.txt, found only \['jpg'\]"),
        ([("c.jpg", jpeg()), ("c.com.txt", b"\xff")], "'c'.com.txt: expected text in UTF-8"),
        ([("d.jpg", jpeg()[:-300]), ("d.com.txt", b"x")], r"d\.jpg: image"),
        ([("e.jpg", b""), ("e.com.txt", b"x")], r"e\.jpg: image"),
        ([("f.jpg", jpeg()), ("f.com.txt", b"x" * 20_000)], "at most 10000 bytes"),
    ]
    for files, message in bad:
        with pytest.raises(FormatError, match=message):
            list(read_shards(build(tmp_path / "one.tar", files), ["com"]))
    path = build(tmp_path / "all.tar", [file for files, _ in bad for file in files] + good)
    skips = Skips()
    assert [s.key for s in read_shards(path, ["com"], skips=skips)] == ["g"]
    assert skips.count == len(bad)


def link(name, kind, target="/etc/passwd"):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("../a.jpg", b"", "a name inside the shard"),
        ("/etc/a.jpg", b"", "a name inside the shard"),
        ("x/../../a.jpg", b"", "a name inside the shard"),
        ("..\\a.jpg", b"", "a name inside the shard"),
        ("a.jpg", link("a.jpg", tarfile.SYMTYPE), "a plain file"),
        ("a.jpg", link("a.jpg", tarfile.LNKTYPE), "a plain file"),
        ("a.jpg", link("a.jpg", tarfile.CHRTYPE), "a plain file"),
        ("a.jpg", link("a.jpg", tarfile.FIFOTYPE), "a plain file"),
    ],
)
def test_hostile_files_in_shards(tmp_path, name, data, message):
    files = [("g.jpg", jpeg()), ("g.com.txt", b"x"), (name, data), ("h.jpg", jpeg()), ("h.com.txt", b"x")]
    path = build(tmp_path / "a.tar", files)
    with pytest.raises(FormatError, match=message):
        list(read_shards(path, ["com"]))
    skips = Skips()
    assert [s.key for s in read_shards(path, ["com"], skips=skips)] == ["g"]
    assert skips.count == 1


def test_a_file_given_twice(tmp_path):
    path = build(tmp_path / "a.tar", [("g.jpg", jpeg()), ("g.JPG", jpeg())])
    with pytest.raises(FormatError, match="every file of a sample once"):
        list(read_shards(path, ()))


def test_a_size_that_a_header_only_claims(tmp_path):
    info = tarfile.TarInfo("a.jpg")
    info.size = 60 << 20
    (tmp_path / "a.tar").write_bytes(info.tobuf() + bytes(1024))
    huge = tarfile.TarInfo("b.jpg")
    huge.size = 1 << 40
    (tmp_path / "b.tar").write_bytes(huge.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    long_name = tarfile.TarInfo("c.jpg")
    long_name.type, long_name.size = tarfile.GNUTYPE_LONGNAME, 70 << 20
    with (tmp_path / "c.tar").open("wb") as file:
        file.write(long_name.tobuf())
        file.truncate(80 << 20)  # as long as it says, of zeros that take no room on the disk
    tracemalloc.start()
    try:
        for name in ("a.tar", "b.tar", "c.tar"):
            with pytest.raises(FormatError):
                list(read_shards(tmp_path / name, ()))
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_cut_shards_at_every_block(tmp_path):
    """Every cut is told, and what stood before it is read."""
    whole = build(
        tmp_path / "a.tar", [(f"{k}.{e}", jpeg() if e == "jpg" else b"x") for k in "abc" for e in ("jpg", "com.txt")]
    )
    data = whole.read_bytes()
    end = len(data.rstrip(b"\0")) // 512 * 512 + 512  # of the last file
    assert len(list(read_shards(whole, ["com"]))) == 3
    before = 0
    for cut in range(0, end + 1, 256):
        (tmp_path / "b.tar").write_bytes(data[:cut])
        skips = Skips()
        found = [s.key for s in read_shards(tmp_path / "b.tar", ["com"], skips=skips)]
        assert found == list("abc"[: len(found)])
        assert len(found) >= before
        assert skips.count >= 1
        before = len(found)
        with pytest.raises(FormatError):
            list(read_shards(tmp_path / "b.tar", ["com"]))
    assert before == 3


def test_compressed_shards_are_not_taken_for_empty(tmp_path):
    path = build(tmp_path / "a.tar", [("a.jpg", jpeg())])
    for mode in ("w:gz", "w:xz"):
        with tarfile.open(tmp_path / "b.tar", mode) as tar:
            tar.add(path, "a.jpg")
        with pytest.raises(FormatError, match="not compressed"):
            list(read_shards(tmp_path / "b.tar"))


# ------------------------------------------------------------------------------------------------------------- batches


def test_the_type_of_a_step_is_the_authors_draw():
    for step in range(50):
        random.seed(step)
        assert text_type(step) == random.choice(TEXT_TYPES)
    counts = Counter(text_type(step) for step in range(2000))
    assert set(counts) == set(TEXT_TYPES)
    assert min(counts.values()) > 300


def test_batches(shards):
    found = list(batches(read_shards(shards), 4, start=7))
    assert [batch.step for batch in found] == [7, 8]  # of ten samples two are left over
    for batch in found:
        assert set(batch.types) == {text_type(batch.step)}
        for key, image, kind, caption in zip(batch.keys, batch.images, batch.types, batch.captions):
            assert caption == captions(taxa()[int(key[:4])])[kind]
            assert image.size == (32, 32)
    own = [batch.types for batch in batches(read_shards(shards), 4, "mixed per sample")]
    assert all(len(set(kinds)) > 1 for kinds in own)
    assert own == [batch.types for batch in batches(read_shards(shards), 4, "mixed per sample")]
    assert {kind for batch in batches(read_shards(shards, ["sci"]), 4, "sci") for kind in batch.types} == {"sci"}
    with pytest.raises(ValueError, match="no text 'com', only sci"):
        next(batches(read_shards(shards, ["sci"]), 4, "com"))
    with pytest.raises(ValueError, match="size must be at least 1"):
        next(batches(read_shards(shards), 0))


def test_sizes_are_what_is_in_the_shards(shards):
    assert json.loads((shards / "sizes.json").read_text()) == {
        path.name: len(list(read_shards(path))) for path in find_shards(shards)
    }
