"""Weights as open_clip keeps them, in a folder or on the Hub: open_clip_config.json beside open_clip_model.safetensors or,
from before there was such a thing, open_clip_pytorch_model.bin; or a checkpoint of open_clip's training, such as epoch_5.pt."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...lab.files import DownloadError, FormatError, atomic_write, parse_json, read_file, show, write_file

if TYPE_CHECKING:
    from torch import Tensor, nn

CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
OLD_WEIGHTS = "open_clip_pytorch_model.bin"
HUB, FOLDER = "hf-hub:", "local-dir:"
MAX_CONFIG = 1 << 20  # bytes
MAX_NUMBER = 1_000_000  # of anything in a config: words, pixels, channels
MAX_LAYERS = 200
PREPROCESS = dict(interpolation=("bicubic", "bilinear", "random"), resize_mode=("shortest", "longest", "squash"))


def load(name: str, resize: str = "hub") -> tuple[nn.Module, Callable[[Any], Tensor], Callable[[Any], Tensor]]:
    """(model, preprocess, tokenizer) of a CLIP model: BioCLIP, BioCLIP 2, or one of ours, by its name alone.

    name    "local-dir:<folder>" with the two files in it, or with the config beside a checkpoint of open_clip's training, .pt;
            or "hf-hub:<owner>/<repository>", with "@<revision>" if you like, such as "hf-hub:imageomics/bioclip". What the Hub
            has sent once is kept, and found again without a network.
    resize  "hub": as the files say, for BioCLIP the shorter side to 224 pixels and the middle cut out. "squash": all of the
            image pressed into the square, as pybioclip does it and as the training images were made; linear, not cubic.

    model       on the CPU in float32, for inference; embeds [B, 3, H, W] and tokens [B, context]
    preprocess  Pillow image -> [3, H, W], normalised
    tokenizer   text or list of texts -> tokens [B, context]

    The safetensors file is taken where there is one. The older .bin is a pickle, which could run any code if it were
    unpickled; its tensors are read without that (`torch_file.py`).

    Raises:
        DownloadError: the Hub cannot be reached or does not give the files.
        FormatError: the files do not make a model.
    """
    if resize not in ("hub", "squash"):
        raise ValueError(f'load: resize must be "hub" or "squash", got {resize!r}')
    if name.startswith(HUB):
        folder = _fetch(name.removeprefix(HUB))
    elif name.startswith(FOLDER):
        folder = Path(name.removeprefix(FOLDER)).expanduser()
    else:
        raise ValueError(f"load: name must start with {FOLDER} or {HUB}, got {name!r}")
    config = _check_config(parse_json(read_file(folder / CONFIG, MAX_CONFIG), folder / CONFIG), folder / CONFIG)
    path, tensors = _check_weights(folder, config)

    import open_clip

    try:
        with _unwarned():
            model, _, preprocess = open_clip.create_model_and_transforms(f"{FOLDER}{folder}", load_weights=False)
        tokenizer = open_clip.get_tokenizer(f"{FOLDER}{folder}")
    except Exception as error:  # whatever the config asks for that open_clip has not
        raise FormatError(folder, "model", "one that open_clip can build", str(error)[:300]) from error
    loaded = tensors()
    for key, tensor in loaded.items():
        if not tensor.isfinite().all():
            raise FormatError(path, key, "finite numbers", "NaN or infinity")
    model.load_state_dict({key: loaded[key].reshape(tensor.shape) for key, tensor in model.state_dict().items()})
    return model.eval(), squash(model) if resize == "squash" else preprocess, tokenizer


@contextmanager
def _unwarned() -> Iterator[None]:
    """Without open_clip's warnings that there are no weights, or random ones: they come one step later."""
    told = "No pretrained weights loaded", "no CLIP weights found"
    log, unless = logging.getLogger(), lambda record: not any(words in record.getMessage() for words in told)
    log.addFilter(unless)
    try:
        yield
    finally:
        log.removeFilter(unless)


def save_local(model: nn.Module, folder: str | Path, config: dict[str, Any]) -> None:
    """Write a model as `load("local-dir:<folder>")`, open_clip and pybioclip read it.

    config: what open_clip_config.json holds, {"model_cfg": {"embed_dim", "vision_cfg", "text_cfg"}, "preprocess_cfg": {}};
    it must describe the model, else ValueError.
    """
    from safetensors.torch import save_file

    folder = Path(folder)
    tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in model.state_dict().items()}
    try:
        config = _check_config(json.loads(json.dumps(config)), folder / CONFIG)
        _compare({key: tuple(tensor.shape) for key, tensor in tensors.items()}, config, folder / CONFIG)
    except FormatError as error:
        raise ValueError(f"save_local: the config does not describe the model: {error}") from error
    (folder / CONFIG).unlink(missing_ok=True)  # a folder with a config is whole
    with atomic_write(folder / WEIGHTS) as part:
        save_file(tensors, part)
    write_file(folder / CONFIG, json.dumps(config, indent=1).encode())


def _fetch(repository: str) -> Path:
    """The folder on this machine with the two files of a repository on the Hub."""
    name, advice = f"{HUB}{repository}", f"put {CONFIG} and {WEIGHTS} into a folder by hand and load {FOLDER}<folder>."
    folder = fetch(name, repository, [CONFIG, WEIGHTS], advice)
    return folder if (folder / WEIGHTS).is_file() else fetch(name, repository, [CONFIG, OLD_WEIGHTS], advice)


def fetch(name: str, repository: str, files: list[str], advice: str, kind: str = "model") -> Path:
    """The folder on this machine with some files of a repository ("owner/name" or "owner/name@revision") on the Hub.

    What the Hub has sent once is found again without a network. Raises DownloadError with the name and the advice.
    """
    from huggingface_hub import snapshot_download

    repository, _, revision = repository.partition("@")
    try:
        folder = snapshot_download(repository, repo_type=kind, revision=revision or None, allow_patterns=files)
    except Exception as error:  # no network, no such repository, no access, bad name: the Hub's library has many errors
        reason = str(error).strip().split("\n")[0][:300]
        raise DownloadError(f"{name}: {type(error).__name__}: {reason}\nWithout a network {advice}") from error
    return Path(folder)


# ------------------------------------------------------------------------------------------------------------- checking


def _check_config(config: dict[str, Any], path: Path) -> dict[str, Any]:
    """The config, if it asks for a plain CLIP of sensible size."""
    model = _dict(config, "model_cfg", path)
    vision, text = _dict(model, "vision_cfg", path, "model_cfg."), _dict(model, "text_cfg", path, "model_cfg.")
    preprocess = config.get("preprocess_cfg") or {}
    _check_numbers(config, path, "config")
    if not isinstance(model.get("embed_dim"), int):
        raise FormatError(path, "model_cfg.embed_dim", "a whole number", show(model.get("embed_dim")))
    for name, tower in (("vision_cfg", vision), ("text_cfg", text)):
        layers = tower.get("layers", 0)
        if not all(isinstance(n, int) and n <= MAX_LAYERS for n in (layers if isinstance(layers, list) else [layers])):
            raise FormatError(path, f"model_cfg.{name}.layers", f"whole numbers up to {MAX_LAYERS}", show(layers))
    for key in ("timm_model_name", "hf_model_name", "hf_tokenizer_name", "multimodal_cfg"):
        if any(part.get(key) for part in (model, vision, text)):
            raise FormatError(path, key, "a plain CLIP, as BioCLIP is", f"{key}, which needs more than these two files")
    if vision.get("pos_embed_type", "learnable") != "learnable":
        raise FormatError(path, "vision_cfg.pos_embed_type", "learnable", show(vision["pos_embed_type"]))
    if not isinstance(preprocess, dict):
        raise FormatError(path, "preprocess_cfg", "a JSON object", show(preprocess))
    for key in ("mean", "std"):
        value = preprocess.get(key)
        good = isinstance(value, list) and len(value) == 3 and all(isinstance(x, int | float) for x in value)
        if value is not None and not (good and (key == "mean" or min(value) > 0)):
            raise FormatError(path, f"preprocess_cfg.{key}", "three numbers, for std above 0", show(value))
    for key, known in PREPROCESS.items():
        if preprocess.get(key) not in (None, *known):
            raise FormatError(path, f"preprocess_cfg.{key}", f"one of {', '.join(known)}", show(preprocess[key]))
    return config


def _dict(parent: dict[str, Any], key: str, path: Path, field: str = "") -> dict[str, Any]:
    value = parent.get(key)
    if not isinstance(value, dict):
        raise FormatError(path, field + key, "a JSON object", show(value))
    return value


def _check_numbers(value: Any, path: Path, field: str, depth: int = 0) -> None:
    """No number is NaN or so large that building the model, even without memory for its weights, could take ages."""
    if isinstance(value, dict | list):
        if depth > 4:
            raise FormatError(path, field, "at most 4 levels", "more")
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            _check_numbers(item, path, f"{field}.{key!s:.40}", depth + 1)
    elif isinstance(value, int | float) and not abs(value) <= MAX_NUMBER:
        raise FormatError(path, field, f"a number up to {MAX_NUMBER}", show(value))


def _check_weights(folder: Path, config: dict[str, Any]) -> tuple[Path, Callable[[], dict[str, Tensor]]]:
    """The weights file is there, whole, and has the tensors of this model. None of them is read yet: the call given does it."""
    from safetensors import safe_open
    from safetensors.torch import load_file

    from .torch_file import TorchFile

    path, old = folder / WEIGHTS, folder / OLD_WEIGHTS
    if not path.is_file():
        found = [old] if old.is_file() else sorted(folder.glob("*.pt"))
        if len(found) != 1:
            several = f"{', '.join(p.name for p in found[:3])}; leave one" if found else "none of them"
            raise FormatError(folder, "weights", f"{WEIGHTS}, {OLD_WEIGHTS}, or one checkpoint .pt", several)
        file = TorchFile(found[0])
        _compare({key: view.shape for key, view in file.views.items()}, config, found[0])
        return found[0], file.read
    try:
        with safe_open(path, "pt") as header:
            shapes = {key: tuple(header.get_slice(key).get_shape()) for key in header.keys()}  # noqa: SIM118
    except Exception as error:  # safetensors' own, OSError, a header that is no JSON
        raise FormatError(path, "file", "a whole safetensors file", str(error)[:200]) from error
    _compare(shapes, config, path)
    return path, lambda: load_file(path)


def _compare(shapes: dict[str, tuple[int, ...]], config: dict[str, Any], path: Path) -> None:
    """Raise FormatError unless these are the tensors of the model in `config`. It is built without memory."""
    import open_clip
    import torch

    settings = dict(config["model_cfg"])
    kind = open_clip.CustomTextCLIP if settings.pop("custom_text", False) else open_clip.CLIP
    try:
        with torch.device("meta"):
            expected = {key: tuple(tensor.shape) for key, tensor in kind(**settings).state_dict().items()}
    except Exception as error:  # a setting that open_clip has not, a width that the heads do not divide, ...
        found = f"{type(error).__name__}: {str(error)[:200]}"
        raise FormatError(path.parent / CONFIG, "model_cfg", "a model that open_clip can build", found) from error
    for key in [*expected, *shapes]:
        want, got = expected.get(key), shapes.get(key)
        if want != got and not (want in ((), (1,)) and got in ((), (1,))):  # two spellings of a single number
            told = "no such tensor in this model" if want is None else f"shape {list(want)}, as {CONFIG} says"
            raise FormatError(path, show(key), told, "none" if got is None else f"shape {list(got)}")


# --------------------------------------------------------------------------------------------------------- preprocessing


def squash(model: Any) -> Callable[[Any], Tensor]:
    """The preprocessing that presses all of an image into the square, with the model's own size, mean and deviation."""
    from torchvision import transforms

    settings, size = model.visual.preprocess_cfg, model.visual.image_size
    height, width = size if isinstance(size, tuple | list) else (size, size)
    resize = transforms.Resize((height, width), antialias=True)
    normalise = transforms.Normalize(settings["mean"], settings["std"])
    steps: Callable[[Any], Tensor] = transforms.Compose([_to_rgb, transforms.ToTensor(), resize, normalise])
    return steps


def _to_rgb(image: Any) -> Any:
    return image.convert("RGB")
