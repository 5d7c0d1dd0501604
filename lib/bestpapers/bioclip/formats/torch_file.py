"""Tensors of a file of `torch.save`, read without unpickling it.

Such a file (.bin, .pt, .pth) is a zip archive: the raw numbers of every tensor in an entry of its own, and one pickle,
`data.pkl`, that says which tensor is which. A pickle is a small program. It can name any function of any module and ask for
it to be called, and Python's unpickler does so: opening the file is running it. Here the program is read as text instead. We
follow the two dozen instructions that a dictionary of tensors needs, and where it names a function, the name is all that we
keep: nothing is imported, nothing is called, and a name that no tensor needs ends the reading.

`torch.load(weights_only=True, mmap=True)` runs no code either, and would make this file needless if it kept memory in bounds.
But of the hostile files in our tests it reads some (torch 2.15): a pickle of forty bytes that asks for a bytearray of 2^33
takes 8.6 GB, one that asks for torch.Tensor(50000, 50000) gets it, a compressed one of 1 MB takes 3.5 GB; a storage that is
shorter than said goes on into the next entry of the archive; flipped bits go unseen.
"""

from __future__ import annotations

import math
import pickletools
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...lab.files import BoundedFile, FormatError, show

MAX_PICKLE = 16 << 20  # bytes; a model of a thousand tensors needs about 0.2 MB
DTYPES = {
    "torch DoubleStorage": torch.float64,
    "torch FloatStorage": torch.float32,
    "torch HalfStorage": torch.float16,
    "torch BFloat16Storage": torch.bfloat16,
    "torch LongStorage": torch.int64,
    "torch IntStorage": torch.int32,
    "torch BoolStorage": torch.bool,
}
DICT, TENSOR = "collections OrderedDict", "torch._utils _rebuild_tensor_v2"
WRAPPED = "module."  # before every name that DistributedDataParallel has saved
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
NUMBERS_AND_TEXTS = ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE")


class Name(NamedTuple):
    """A function or class that the pickle names."""

    name: str


class Storage(NamedTuple):
    """The raw numbers of one entry of the archive."""

    entry: str
    dtype: torch.dtype
    size: int  # numbers, not bytes


class View(NamedTuple):
    """A tensor: where in a storage it lies."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def reach(self) -> int:
        """How many numbers the storage must hold."""
        if 0 in self.shape:
            return 0
        return self.offset + 1 + sum((n - 1) * step for n, step in zip(self.shape, self.stride, strict=True))


class TorchFile:
    """The tensors of a state dict that `torch.save` wrote (torch 1.6 or later): known by name, read on demand.

    views: name -> where the tensor lies, for all of them. Of a checkpoint of open_clip's training the model's are taken. Raises
    FormatError for anything but a dictionary of tensors.
    """

    def __init__(self, path: Path):
        self.path = path
        with self._archive() as archive:
            self.views = self._views(archive)

    def read(self) -> dict[str, Tensor]:
        """All tensors; those of one storage share its memory."""
        storages: dict[Storage, Tensor] = {}
        with self._archive() as archive:
            for storage in dict.fromkeys(view.storage for view in self.views.values()):
                data = bytearray(archive.read(storage.entry))  # checks the sum of the bytes as well
                empty = torch.empty(0, dtype=storage.dtype)
                storages[storage] = torch.frombuffer(data, dtype=storage.dtype) if data else empty
        return {
            key: storages[view.storage].as_strided(view.shape, view.stride, view.offset)
            for key, view in self.views.items()
        }

    @contextmanager
    def _archive(self) -> Iterator[zipfile.ZipFile]:
        try:
            with BoundedFile(self.path) as file, zipfile.ZipFile(file) as archive:
                yield archive
        except FormatError:
            raise
        except Exception as error:  # damage makes zipfile raise nearly anything
            advice = "files of torch before 1.6 are not read"
            found = f"damage ({str(error)[:200]})"
            raise FormatError(self.path, "file", "an undamaged file of torch.save", found, advice) from error

    def _views(self, archive: zipfile.ZipFile) -> dict[str, View]:
        entries = {info.filename: info for info in archive.infolist()}
        pickles = [name for name in entries if name.endswith("/data.pkl")]
        if len(pickles) != 1 or len(entries) != len(archive.infolist()):
            raise FormatError(self.path, "data.pkl", "one in the archive, and no name twice", f"{len(pickles)}")
        for name, info in entries.items():
            if info.compress_type != zipfile.ZIP_STORED:
                raise FormatError(self.path, show(name), "bytes as they are", "compressed bytes")
        root = pickles[0].removesuffix("data.pkl")
        if entries[pickles[0]].file_size > MAX_PICKLE:
            size_of = f"{entries[pickles[0]].file_size} bytes"
            raise FormatError(self.path, "data.pkl", f"at most {MAX_PICKLE} bytes", size_of)
        if root + "byteorder" in entries and archive.read(root + "byteorder") != b"little":
            raise FormatError(self.path, "byteorder", "little", "another order of bytes")
        found = self._follow(archive.read(pickles[0]), root)
        if not isinstance(found, dict):
            raise FormatError(self.path, "data.pkl", "a dictionary of tensors", show(found))
        if isinstance(found.get("state_dict"), dict):
            found = found["state_dict"]
        if found and all(isinstance(key, str) and key.startswith(WRAPPED) for key in found):
            found = {key.removeprefix(WRAPPED): view for key, view in found.items()}
        views, size = 0, {}  # bytes of all tensors; of every storage in use
        for key, view in found.items():
            if not isinstance(view, View):
                raise FormatError(self.path, show(key), "a tensor", show(view))
            storage, held = view.storage, entries.get(view.storage.entry)
            if held is None or held.file_size != storage.size * storage.dtype.itemsize or view.reach > storage.size:
                expected = f"{max(view.reach, storage.size)} numbers of {storage.dtype} in {storage.entry!r:.80}"
                raise FormatError(
                    self.path, show(key), expected, "no such entry" if held is None else f"{held.file_size} bytes"
                )
            views, size[storage] = views + math.prod(view.shape) * storage.dtype.itemsize, held.file_size
        most = max(views, sum(size.values()))
        if most > self.path.stat().st_size:  # many names for the same numbers, many entries over the same bytes
            raise FormatError(self.path, "file", "no more tensors than the file has bytes for", f"{most} bytes")
        return found

    def _follow(self, program: bytes, root: str) -> Any:
        """What the pickle describes: dictionaries, lists, tuples, numbers and texts as such, tensors as `View`."""
        stack: list[Any] = []
        marks: list[int] = []  # where on the stack the open tuples and groups of items begin
        memo: dict[Any, Any] = {}
        argument: Any
        try:
            for opcode, argument, _ in pickletools.genops(program):
                name = opcode.name
                if name in ("PROTO", "FRAME"):
                    continue
                if name == "STOP":
                    return stack.pop()
                if name in CONSTANTS:
                    stack.append(CONSTANTS[name])
                elif name in NUMBERS_AND_TEXTS:
                    stack.append(argument)
                elif name in ("EMPTY_DICT", "EMPTY_LIST"):
                    stack.append({} if name == "EMPTY_DICT" else [])
                elif name == "GLOBAL":
                    stack.append(Name(argument))
                elif name == "STACK_GLOBAL":
                    attribute, module = stack.pop(), stack.pop()
                    stack.append(Name(f"{module} {attribute}"))
                elif name == "MARK":
                    marks.append(len(stack))
                elif name in ("TUPLE1", "TUPLE2", "TUPLE3", "TUPLE"):
                    at = marks.pop() if name == "TUPLE" else len(stack) - int(name[-1])
                    stack[at:] = [tuple(stack[at:])]
                elif name in ("SETITEM", "SETITEMS"):
                    at = marks.pop() if name == "SETITEMS" else len(stack) - 2
                    items, stack[at:] = stack[at:], []
                    stack[-1].update(zip(items[::2], items[1::2], strict=True))
                elif name in ("APPEND", "APPENDS"):
                    at = marks.pop() if name == "APPENDS" else len(stack) - 1
                    items, stack[at:] = stack[at:], []
                    stack[-1].extend(items)
                elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
                    memo[len(memo) if name == "MEMOIZE" else argument] = stack[-1]
                elif name in ("BINGET", "LONG_BINGET"):
                    stack.append(memo[argument])
                elif name == "BINPERSID":
                    stack.append(self._storage(stack.pop(), root))
                elif name == "REDUCE":
                    arguments, function = stack.pop(), stack.pop()
                    stack.append(self._made(function, arguments))
                elif name == "BUILD":  # attributes of a dictionary: versions of modules, which we do not need
                    stack.pop()
                else:
                    raise FormatError(self.path, "data.pkl", "a dictionary of tensors", f"the instruction {name}")
        except FormatError:
            raise
        except Exception as error:  # a damaged program: an empty stack, no such memo, an item of no dictionary, ...
            found = f"{type(error).__name__}: {str(error)[:100]}"
            raise FormatError(self.path, "data.pkl", "a complete pickle", found) from error
        raise FormatError(self.path, "data.pkl", "a complete pickle", "one that does not end")

    def _storage(self, identity: Any, root: str) -> Storage:
        """("storage", type, key, device, count), as torch.save names the numbers of a tensor."""
        kind, dtype, key, _, count = identity
        if kind != "storage" or not isinstance(dtype, Name) or dtype.name not in DTYPES or not _count(count):
            raise FormatError(self.path, "data.pkl", f"numbers of {', '.join(DTYPES)}", show(identity))
        return Storage(f"{root}data/{key!s:.100}", DTYPES[dtype.name], count)

    def _made(self, function: Any, arguments: Any) -> Any:
        """What a call that the pickle asks for would give, for the two that we know; any other is refused."""
        if function == Name(DICT) and arguments == ():
            return {}
        if function == Name(TENSOR):
            storage, offset, shape, stride = arguments[:4]
            numbers = (offset, *shape, *stride)
            if isinstance(storage, Storage) and len(shape) == len(stride) and all(_count(n) for n in numbers):
                return View(storage, offset, shape, stride)
        called = function.name if isinstance(function, Name) else show(function)
        raise FormatError(self.path, "data.pkl", "a dictionary of tensors", f"a call of {called!r:.100}")


def _count(n: Any) -> bool:
    return type(n) is int and 0 <= n < 2**62
