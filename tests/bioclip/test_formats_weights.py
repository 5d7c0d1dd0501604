"""Weights in the layout of the real ones: in a folder, in the cache of the Hub, sizes of ViT-B/16, and what is refused."""

import copy
import io
import json
import os
import pickle
import re
import zipfile

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from bestpapers.bioclip.formats import FormatError, load, save_local, weights
from bestpapers.bioclip.formats.torch_file import TorchFile
from bestpapers.lab.files import DownloadError

from .tiny import CONFIG, tiny_clip

# what open_clip_config.json of imageomics/bioclip holds: ViT-B/16, and nothing for preprocessing but the defaults
BIOCLIP = dict(
    model_cfg=dict(
        embed_dim=512,
        vision_cfg=dict(image_size=224, layers=12, width=768, patch_size=16),
        text_cfg=dict(context_length=77, vocab_size=49408, width=512, heads=8, layers=12),
    ),
    preprocess_cfg={},
)
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # OpenAI's
PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 80, 3)).astype(np.uint8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights")
    save_local(tiny_clip(), path, CONFIG)
    return path


def same(a, b) -> bool:
    return all(torch.equal(tensor, b.state_dict()[key]) for key, tensor in a.state_dict().items())


# ------------------------------------------------------------------------------------------------------------- folders


def test_round_trip(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["open_clip_config.json", "open_clip_model.safetensors"]
    model, preprocess, tokenizer = load(f"local-dir:{folder}")
    assert same(tiny_clip(), model)
    assert not model.training
    tokens = tokenizer(["a photo of Panthera leo.", "A PHOTO OF PANTHERA LEO."])
    assert tokens.shape == (2, 77)
    assert torch.equal(tokens[0], tokens[1])
    with torch.no_grad():
        assert model.encode_image(preprocess(PHOTO)[None]).shape == (1, 16)
        assert model.encode_text(tokens).shape == (2, 16)


def test_open_clip_reads_the_same(folder):
    model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    ours, own_preprocess, tokenizer = load(f"local-dir:{folder}")
    assert same(model, ours)
    assert torch.equal(preprocess(PHOTO), own_preprocess(PHOTO))
    words = ["a photo of Lynx lynx."]
    assert torch.equal(open_clip.get_tokenizer(f"local-dir:{folder}")(words), tokenizer(words))


def test_two_ways_to_a_square(folder):
    _, hub, _ = load(f"local-dir:{folder}")
    _, squash, _ = load(f"local-dir:{folder}", resize="squash")
    left_black = np.zeros((40, 80, 3), np.uint8)
    left_black[:, 20:60] = 255  # the square in the middle
    photo = Image.fromarray(left_black)
    white = torch.tensor([(1 - mean) / std for mean, std in zip(MEAN, STD)])
    torch.testing.assert_close(hub(photo)[:, 2:-2, 2:-2], white[:, None, None].expand(3, 28, 28), atol=1e-2, rtol=0)
    squashed = squash(photo)
    assert squashed.shape == (3, 32, 32)
    black = torch.tensor([-mean / std for mean, std in zip(MEAN, STD)])
    torch.testing.assert_close(squashed[:, 16, 0], black)
    torch.testing.assert_close(squashed[:, 16, 16], white)
    torch.testing.assert_close(squashed, squash(photo.convert("RGBA")))
    with pytest.raises(ValueError, match="resize must be"):
        load(f"local-dir:{folder}", resize="crop")


def test_settings_of_preprocessing_are_kept(tmp_path):
    config = copy.deepcopy(CONFIG) | dict(
        preprocess_cfg=dict(mean=[0, 0, 0], std=[0.5, 0.5, 0.5], interpolation="bilinear", resize_mode="squash")
    )
    save_local(tiny_clip(), tmp_path, config)
    for resize in ("hub", "squash"):
        _, preprocess, _ = load(f"local-dir:{tmp_path}", resize)
        assert (preprocess(Image.new("RGB", (90, 30), (255, 255, 255))) - 2).abs().max() < 1e-5


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_in_the_file(folder, tmp_path, kind):
    tensors = {key: tensor.to(kind) for key, tensor in load_file(folder / weights.WEIGHTS).items()}
    save_file(tensors, tmp_path / weights.WEIGHTS)
    (tmp_path / weights.CONFIG).write_text(json.dumps(CONFIG))
    model, _, _ = load(f"local-dir:{tmp_path}")
    assert {tensor.dtype for tensor in model.parameters()} == {torch.float32}
    torch.testing.assert_close(model.text_projection, tensors["text_projection"].float())


def test_only_what_fits_is_saved(tmp_path):
    other = copy.deepcopy(CONFIG)
    other["model_cfg"]["embed_dim"] = 17
    with pytest.raises(ValueError, match=r"does not describe the model.*text_projection"):
        save_local(tiny_clip(), tmp_path, other)
    with pytest.raises(ValueError, match="does not describe the model"):
        save_local(tiny_clip(), tmp_path, {})
    assert not list(tmp_path.iterdir())


# -------------------------------------------------------------------------------------------------------- the real ones


def test_the_real_sizes(tmp_path):
    """ViT-B/16 with an empty file of the true length: every tensor is expected as it is there, and none is read."""
    with torch.device("meta"):
        shapes = {key: list(t.shape) for key, t in open_clip.CLIP(**BIOCLIP["model_cfg"]).state_dict().items()}
    assert shapes["visual.conv1.weight"] == [768, 3, 16, 16]
    assert shapes["token_embedding.weight"] == [49408, 512]
    header, end = {}, 0
    for key, shape in shapes.items():
        size = 4 * int(np.prod(shape))
        header[key] = dict(dtype="F32", shape=shape, data_offsets=[end, end + size])
        end += size
    assert end / 4 == pytest.approx(150e6, rel=0.01)
    data = json.dumps(header).encode()
    (tmp_path / weights.CONFIG).write_text(json.dumps(BIOCLIP))
    with (tmp_path / weights.WEIGHTS).open("wb") as file:
        file.write(len(data).to_bytes(8, "little") + data)
        file.truncate(8 + len(data) + end)  # zeros that take no room on the disk
    weights._check_weights(tmp_path, weights._check_config(BIOCLIP, tmp_path / weights.CONFIG))
    larger = copy.deepcopy(BIOCLIP)
    larger["model_cfg"]["vision_cfg"]["patch_size"] = 32
    with pytest.raises(FormatError, match=r"visual\.positional_embedding"):
        weights._check_weights(tmp_path, larger)


@pytest.fixture
def hub(folder, tmp_path, monkeypatch):
    """The cache that the Hub's own library keeps, with one repository in it, and no network."""
    from huggingface_hub import constants

    commit = "3027d80" + "0" * 33
    repository = tmp_path / "models--imageomics--bioclip"
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    (repository / "blobs").mkdir()
    for number, path in enumerate(sorted(folder.iterdir())):
        blob = repository / "blobs" / f"{number:064x}"
        blob.write_bytes(path.read_bytes())
        (snapshot / path.name).symlink_to(f"../../blobs/{blob.name}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return snapshot


def test_what_the_hub_sent_once_is_found_without_a_network(hub):
    model, preprocess, tokenizer = load("hf-hub:imageomics/bioclip")
    assert same(tiny_clip(), model)
    assert preprocess(PHOTO).shape == (3, 32, 32)
    assert tokenizer(["x"]).shape == (1, 77)
    pinned, _, _ = load(f"hf-hub:imageomics/bioclip@{hub.name}")
    assert same(model, pinned)
    (hub / weights.WEIGHTS).unlink()
    expected = r"open_clip_model\.safetensors, open_clip_pytorch_model\.bin, or one checkpoint \.pt, found none of them"
    with pytest.raises(FormatError, match=expected):
        load("hf-hub:imageomics/bioclip")


def test_the_older_file_is_fetched_only_where_there_is_no_safetensors(folder, old, monkeypatch):
    import huggingface_hub

    asked = []

    def download(repository, **options):
        asked.append((repository, options["revision"], options["allow_patterns"]))
        return str(old if repository == "imageomics/bioclip" else folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    new, older = ([weights.CONFIG, name] for name in ("open_clip_model.safetensors", "open_clip_pytorch_model.bin"))
    load("hf-hub:imageomics/bioclip-2@v1")
    assert asked == [("imageomics/bioclip-2", "v1", new)]
    model, _, _ = load("hf-hub:imageomics/bioclip")
    assert asked[1:] == [("imageomics/bioclip", None, new), ("imageomics/bioclip", None, older)]
    assert same(tiny_clip(), model)


@pytest.mark.parametrize(
    "name", ["imageomics/bioclip-2", "imageomics/bioclip@v9", "../../etc", "", "a/b/c", "imageomics/bio clip", "x\0y"]
)
def test_what_cannot_be_fetched(hub, name):
    with pytest.raises(DownloadError, match=r"(?s)hf-hub:.*put open_clip_config\.json and .* into a folder by hand"):
        load(f"hf-hub:{name}")


# -------------------------------------------------------------------------------------------------- files of torch.save


@pytest.fixture
def old(tmp_path):
    """A folder with the older kind of file."""
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / weights.CONFIG).write_text(json.dumps(CONFIG))
    torch.save(tiny_clip().state_dict(), folder / weights.OLD_WEIGHTS)
    return folder


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_the_older_file_gives_the_same_model(old, protocol):
    torch.save(tiny_clip().state_dict(), old / weights.OLD_WEIGHTS, pickle_protocol=protocol)
    model, _, tokenizer = load(f"local-dir:{old}")
    assert same(tiny_clip(), model)
    if protocol == 2:  # what torch.save takes unasked, and the only one that open_clip's own reader knows
        assert same(open_clip.create_model_from_pretrained(f"local-dir:{old}")[0], model)
    assert tokenizer(["x"]).shape == (1, 77)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_checkpoints_of_open_clips_training(old, prefix, caplog):
    """What its main.py saves after an epoch: the model's state among other things, named as the processes wrapped it."""
    model = tiny_clip()
    optimizer = torch.optim.AdamW(model.parameters())
    model.encode_image(torch.zeros(1, 3, 32, 32)).sum().backward()
    optimizer.step()
    state = {f"{prefix}{key}": tensor for key, tensor in model.state_dict().items()}
    checkpoint = dict(epoch=5, name="run", state_dict=state, optimizer=optimizer.state_dict())
    torch.save(checkpoint, old / weights.OLD_WEIGHTS)
    assert same(load(f"local-dir:{old}")[0], model)
    (old / weights.OLD_WEIGHTS).rename(old / "epoch_5.pt")
    caplog.clear()
    assert same(load(f"local-dir:{old}")[0], model)
    assert not caplog.messages  # open_clip's, that there are no weights
    (old / "epoch_6.pt").write_bytes(b"")
    with pytest.raises(FormatError, match=r"one checkpoint \.pt, found epoch_5\.pt, epoch_6\.pt; leave one"):
        load(f"local-dir:{old}")


def test_all_that_a_tensor_can_be(tmp_path):
    storage = torch.arange(24.0)
    state = dict(
        whole=torch.tensor(3.5), empty=torch.zeros(0, 4), part=storage[5:11].view(2, 3), tied=storage,
        turned=torch.arange(6.0).view(2, 3).T, half=torch.randn(3).half(), bf=torch.randn(2, 2).bfloat16(),
        long=torch.tensor([2**40]), flag=torch.tensor([True, False]), double=torch.randn(2).double(),
    )  # fmt: skip
    torch.save(state, tmp_path / "a.bin")
    file = TorchFile(tmp_path / "a.bin")
    found = file.read()
    assert {key: view.shape for key, view in file.views.items()} == {key: tuple(t.shape) for key, t in state.items()}
    assert all(torch.equal(found[key], t) and found[key].dtype == t.dtype for key, t in state.items())
    assert list(found) == list(state)


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil was here",)


class Asked:
    """Pickled, it is a call of a function."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call[0], self.call[1:]


def archive(path, program: bytes, **entries: bytes) -> None:
    """An archive as torch.save makes it, with any pickle; "data__0" stands for data/0."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", program)
        for name, data in entries.items():
            file.writestr(f"archive/{name.replace('__', '/')}", data)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_nothing_that_a_pickle_asks_for_is_done(old, monkeypatch, protocol):
    monkeypatch.chdir(old)
    for value in (Evil(), {"a": Evil()}):
        archive(old / weights.OLD_WEIGHTS, pickle.dumps(value, protocol))
        with pytest.raises(FormatError, match=r"found (a call of '(posix|nt) mkdir'|the instruction \w+)"):
            load(f"local-dir:{old}")
    torch.save(dict(tiny_clip().state_dict(), extra=Evil()), old / weights.OLD_WEIGHTS)
    with pytest.raises(FormatError, match=r"found a call of '(posix|nt) mkdir'"):
        load(f"local-dir:{old}")
    assert not (old / "evil was here").exists()
    pickle.loads(pickle.dumps(Evil(), protocol))  # the unpickler would have done it
    assert (old / "evil was here").exists()


class Saved:
    """Something that torch.save would note as a tensor, with whatever is put in its place."""

    def __init__(self, offset=0, shape=(2, 3), stride=(3, 1), **storage):
        self.place, self.storage = (offset, shape, stride, False, {}), storage

    def __reduce__(self):
        return torch._utils._rebuild_tensor_v2, (self, *self.place)


def described(**options) -> bytes:
    """The pickle of {"a": a tensor of 2 x 3 float32 in entry 0}."""

    class Pickler(pickle.Pickler):
        inner = False

        def persistent_id(self, thing):
            if not isinstance(thing, Saved):
                return None
            self.inner = not self.inner  # first the tensor, then, in its place, the storage
            identity = dict(kind="storage", dtype=torch.FloatStorage, key="0", device="cpu", size=6) | thing.storage
            return None if self.inner else tuple(identity.values())

    buffer = io.BytesIO()
    Pickler(buffer, 2).dump({"a": Saved(**options)})
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("program", "entries", "message"),
    [
        (pickle.dumps({1, 2}), {}, "the instruction EMPTY_SET"),
        (pickle.dumps([1, 2]), {}, "a dictionary of tensors, found [1, 2]"),
        (pickle.dumps({"state_dict": {"a": [1]}}), {}, "'a': expected a tensor, found [1]"),
        (pickle.dumps(3), {}, "a dictionary of tensors, found 3"),
        (pickle.dumps({"a": 3}), {}, "'a': expected a tensor, found 3"),
        (pickle.dumps({1: 3}), {}, "1: expected a tensor, found 3"),
        (pickle.dumps({"a": 3})[:-1], {}, "a complete pickle"),
        (b"", {}, "a complete pickle"),
        (b".", {}, "a complete pickle, found IndexError"),
        (b"K\x01K\x02s.", {}, "a complete pickle"),
        (b"h\x07.", {}, "a complete pickle, found KeyError"),
        (described(), {}, "no such entry"),
        (described(), dict(data__0=bytes(23)), "6 numbers of torch.float32 in 'archive/data/0', found 23 bytes"),
        (described(offset=1), dict(data__0=bytes(24)), "expected 7 numbers"),
        (described(stride=(9, 1)), dict(data__0=bytes(24)), "expected 12 numbers"),
        (described(shape=(2, -3)), dict(data__0=bytes(24)), "a call of"),
        (described(stride=(3,)), dict(data__0=bytes(24)), "a call of"),
        (described(shape=(10**6, 10**6), stride=(0, 0)), dict(data__0=bytes(24)), "no more tensors than the file"),
        (described(dtype=torch.nn.Linear), dict(data__0=bytes(24)), "numbers of torch"),
        (described(size=2**80), {}, "numbers of torch"),
        (described(), dict(data__0=bytes(24), byteorder=b"big"), "byteorder: expected little"),
        # what torch.load(weights_only=True) would make, in as much memory as is asked for
        (pickle.dumps({"a": Asked(bytearray, 2**33)}, 2), {}, "a call of '__builtin__ bytearray'"),
        (pickle.dumps({"a": Asked(torch.Tensor, 50_000, 50_000)}, 2), {}, "a call of 'torch Tensor'"),
    ],
)
def test_damaged_files_of_torch_save(tmp_path, program, entries, message):
    path = tmp_path / "a.bin"
    archive(path, program, **entries)
    with pytest.raises(FormatError, match=re.escape(message)):
        TorchFile(path)


def test_a_described_tensor_is_read(tmp_path):
    """What the damaged files above were before the damage."""
    archive(tmp_path / "a.bin", described(), data__0=np.arange(6, dtype="<f4").tobytes())
    assert TorchFile(tmp_path / "a.bin").read()["a"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_archives_that_are_refused(old):
    path = old / weights.OLD_WEIGHTS
    data = path.read_bytes()
    for bad in (b"", data[:1000], data[:-30], b"\x80\x04cos\nsystem\n"):
        path.write_bytes(bad)
        with pytest.raises(FormatError, match=r"an undamaged file of torch\.save.*before 1\.6"):
            TorchFile(path)
    at = data.index(tiny_clip().state_dict()["token_embedding.weight"].numpy().tobytes())
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    with pytest.raises(FormatError, match="Bad CRC-32"):
        load(f"local-dir:{old}")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a/data.pkl", pickle.dumps({}))
    with pytest.raises(FormatError, match="compressed bytes"):
        TorchFile(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("data.pkl", pickle.dumps({}))
    with pytest.raises(FormatError, match=r"data\.pkl: expected one"):
        TorchFile(path)


# -------------------------------------------------------------------------------------------------------------- damage


def broken(**changes) -> dict:
    """CONFIG with values changed by path, such as model_cfg__embed_dim."""
    config = copy.deepcopy(CONFIG)
    for path, value in changes.items():
        *parents, last = path.split("__")
        part = config
        for name in parents:
            part = part[name]
        part[last] = value
    return config


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        (dict(model_cfg=3), "model_cfg"),
        (dict(model_cfg__vision_cfg=None), "model_cfg.vision_cfg"),
        (dict(model_cfg__text_cfg=[]), "model_cfg.text_cfg"),
        (dict(model_cfg__embed_dim="16"), "model_cfg.embed_dim"),
        (dict(model_cfg__embed_dim=17), "text_projection"),
        (dict(model_cfg__vision_cfg__layers=10**9), "config.model_cfg.vision_cfg.layers"),
        (dict(model_cfg__vision_cfg__layers=10**5), "model_cfg.vision_cfg.layers"),
        (dict(model_cfg__vision_cfg__layers=2), "visual.transformer"),
        (dict(model_cfg__text_cfg__layers=[1] * 201), "model_cfg"),
        (dict(model_cfg__text_cfg__vocab_size=10**12), "config.model_cfg.text_cfg.vocab_size"),
        (dict(model_cfg__text_cfg__heads=3), "model_cfg"),
        (dict(model_cfg__text_cfg__hf_model_name="x/y"), "hf_model_name"),
        (dict(model_cfg__vision_cfg__timm_model_name="vit"), "timm_model_name"),
        (dict(model_cfg__vision_cfg__patch_size=0), "model_cfg"),
        (dict(model_cfg__vision_cfg__pos_embed_type="sin_cos_2d"), "vision_cfg.pos_embed_type"),
        (dict(model_cfg__vision_cfg__unheard_of=1), "model_cfg"),
        (dict(model_cfg__unheard_of=1), "model_cfg"),
        (dict(preprocess_cfg=3), "preprocess_cfg"),
        (dict(preprocess_cfg=dict(mean=[0, 0])), "preprocess_cfg.mean"),
        (dict(preprocess_cfg=dict(std=[0, 1, 1])), "preprocess_cfg.std"),
        (dict(preprocess_cfg=dict(std=[float("nan")] * 3)), "config.preprocess_cfg.std.0"),
        (dict(preprocess_cfg=dict(resize_mode="crop")), "preprocess_cfg.resize_mode"),
    ],
)
def test_bad_configs(folder, tmp_path, changes, field):
    (tmp_path / weights.CONFIG).write_text(json.dumps(broken(**changes)))
    (tmp_path / weights.WEIGHTS).write_bytes((folder / weights.WEIGHTS).read_bytes())
    with pytest.raises(FormatError) as caught:
        load(f"local-dir:{tmp_path}")
    assert caught.value.field.strip("'").startswith(field)


def test_bad_weights(folder, tmp_path):
    path = tmp_path / weights.WEIGHTS
    with pytest.raises(FormatError, match="nothing of that name"):
        load(f"local-dir:{tmp_path}")
    (tmp_path / weights.CONFIG).write_text(json.dumps(CONFIG))
    data = (folder / weights.WEIGHTS).read_bytes()
    for bad in (b"", data[:1000], data[:-1], b"\xff" * 8 + data[8:], b"\x80\x04cos\nsystem\n"):
        path.write_bytes(bad)
        with pytest.raises(FormatError, match="a whole safetensors file"):
            load(f"local-dir:{tmp_path}")
    tensors = load_file(folder / weights.WEIGHTS)
    for key, value, message in (
        ("text_projection", None, "found none"),
        ("extra", torch.zeros(2), "no such tensor in this model"),
        ("ln_final.weight", torch.zeros(9), r"expected shape \[8\].*found shape \[9\]"),
        ("ln_final.weight", torch.full((8,), torch.nan), "NaN or infinity"),
    ):
        changed = {name: tensor for name, tensor in (tensors | {key: value}).items() if tensor is not None}
        save_file(changed, path)
        with pytest.raises(FormatError, match=message):
            load(f"local-dir:{tmp_path}")
    save_file({key: t.reshape(1) if key == "logit_scale" else t for key, t in tensors.items()}, path)
    load(f"local-dir:{tmp_path}")  # as some tools write a single number


@pytest.mark.parametrize("name", ["ViT-B-16", "/tmp", "imageomics/bioclip", ""])
def test_bad_names(name):
    with pytest.raises(ValueError, match="must start with local-dir: or hf-hub:"):
        load(name)
