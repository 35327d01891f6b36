"""Weights out of a checkpoint that names foreign classes: its pickle is read as data, and nothing in it is run.

Lightning's checkpoints and whole pickled networks hold enums, paths, transforms and modules beside their tensors, which
`torch.load(weights_only=True)` refuses. Here these stay descriptions (`pickled.Made`), the numbers come from the zip by
hand, and a network's state_dict from the description of its modules.
"""

import io
import math
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from budgetc.errors import InputRejected
from budgetc.load.container import FileContent
from budgetc.load.pickled import Broken, Made, Named, NotPlain, Persistent, read_pickle
from budgetc.load.tensors import SAVE_AGAIN, named

KNOWN_PACKAGES = frozenset((
    "anomalib", "collections", "copy_reg", "copyreg", "datetime", "enum", "fsspec", "functools", "jsonargparse",
    "kornia", "lightning", "lightning_fabric", "lightning_utilities", "numpy", "omegaconf", "pandas", "pathlib",
    "pytorch_lightning", "rich", "timm", "torch", "torchmetrics", "torchvision", "typing",
))  # fmt: skip
"""Whose classes checkpoints are known to name. A file that names others is refused: not because they would be run, but
because what else is wrong with such a file nobody can say. (anomalib's export of an EfficientAd holds the trainer and
the data it was trained on.)"""
_KNOWN_BUILTINS = frozenset((
    "bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "getattr", "int", "list", "long", "object",
    "range", "set", "slice", "str", "tuple", "type",
))  # fmt: skip
_TYPES: Mapping[str, torch.dtype] = {
    "BFloat16Storage": torch.bfloat16, "BoolStorage": torch.bool, "ByteStorage": torch.uint8,
    "CharStorage": torch.int8, "DoubleStorage": torch.float64, "FloatStorage": torch.float32,
    "HalfStorage": torch.float16, "IntStorage": torch.int32, "LongStorage": torch.int64, "ShortStorage": torch.int16,
}  # fmt: skip
_DICTS = (Named("collections", "OrderedDict"), Named("collections", "defaultdict"))
_TENSOR, _PARAMETER = Named("torch._utils", "_rebuild_tensor_v2"), Named("torch._utils", "_rebuild_parameter")
_MAX_MODULES = 10_000
_MAX_SIDE = 2**40


class Damaged(InputRejected):
    """A file that no trust makes whole."""


@dataclass(frozen=True, slots=True)
class Inert:
    """What a checkpoint holds."""

    data: Any
    """Foreign objects are `Made`; a network is its state_dict."""
    network: Made | None
    """The network, where it was pickled whole."""
    classes: frozenset[Named]
    """Foreign classes and functions that it names."""


def read_inert(file: FileContent) -> Inert:
    """The data of a zip of torch.save; tensors of its state_dict are read, those of optimizers are not.

    Raises:
        Damaged: something of it is missing.
        InputRejected: another container, or one that names what no checkpoint needs.
    """
    if file.kind != "torch":
        raise InputRejected(f"{file.path}: is no zip of torch.save; {SAVE_AGAIN}")
    try:
        with zipfile.ZipFile(io.BytesIO(file.data)) as archive:
            return _Reader(archive).read()
    except Broken as error:
        raise Damaged(f"{file.path}: {error}; copy or download the file again") from error
    except NotPlain as error:
        raise InputRejected(f"{file.path}: {error}; {SAVE_AGAIN}") from error
    except Exception as error:  # a hostile or damaged file can raise anything; all of it means "rejected"
        raise Damaged(
            f"{file.path}: truncated or damaged ({type(error).__name__}); copy or download the file again"
        ) from error


def entries_of(value: Any) -> dict[Any, Any] | None:
    """Of a dict or of what a subclass of it would have become; None: it is neither."""
    if isinstance(value, Made) and (value.maker in _DICTS or value.entries):
        return value.entries
    return value if isinstance(value, dict) else None


class _Reader:
    """One archive."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        pickle = next(name for name in archive.namelist() if name.split("/", 1)[-1] == "data.pkl")
        self._pickle, self._root = pickle, pickle.removesuffix("data.pkl")

    def read(self) -> Inert:
        found = read_pickle(self._archive.read(self._pickle))
        strangers = sorted(str(one) for one in found.globals if not _known(one))
        if strangers:
            raise NotPlain(f"contains Python objects or code that no checkpoint needs ({named(strangers)})")
        if (order := self._root + "byteorder") in self._archive.namelist() and self._archive.read(order) != b"little":
            raise NotPlain("was written on a big-endian machine")
        foreign = frozenset(one for one in found.globals if one.module.split(".")[0] not in ("torch", "collections"))
        entries = {"model": found.root} if _is_network(found.root) else entries_of(found.root)
        if entries is None:
            return Inert(found.root, None, foreign)
        network = next((value for value in entries.values() if _is_network(value)), None)
        return Inert({name: self._part(value) for name, value in entries.items()}, network, foreign)

    def _part(self, value: Any) -> Any:
        if _is_network(value):
            return self._state_dict(value)
        if (tensor := self._tensor(value)) is not None:
            return tensor
        entries = entries_of(value)
        if entries is None:
            return value
        return {name: inner if (tensor := self._tensor(inner)) is None else tensor for name, inner in entries.items()}

    def _state_dict(self, module: Made) -> dict[str, Tensor]:
        found = dict[str, Tensor]()
        for name, value in _weights(module):
            tensor = self._tensor(value)
            if tensor is None:
                raise NotPlain(f"holds a weight {name} that is no plain tensor")
            found[name] = tensor
        return found

    def _tensor(self, value: Any) -> Tensor | None:
        if isinstance(value, Made) and value.maker == _PARAMETER:
            value = value.arguments[0]
        if not isinstance(value, Made) or value.maker != _TENSOR:
            return None
        storage, offset, shape, strides = value.arguments[:4]
        return self._numbers(storage, offset, tuple(shape), tuple(strides))

    def _numbers(self, storage: Any, offset: Any, shape: tuple[Any, ...], strides: tuple[Any, ...]) -> Tensor:
        if not isinstance(storage, Persistent) or storage.value[0] != "storage":
            raise NotPlain("holds a tensor without numbers of its own")
        _, kind, key, _, count = storage.value
        numbers = (offset, count, *shape, *strides)
        if any(not isinstance(one, int) or not 0 <= one <= _MAX_SIDE for one in numbers) or len(shape) != len(strides):
            raise NotPlain("holds a tensor of impossible shape")
        if not isinstance(kind, Named) or kind.name not in _TYPES or kind.module != "torch" or not isinstance(key, str):
            raise NotPlain("holds numbers of an unknown type")
        dtype, last = _TYPES[kind.name], offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
        if math.prod(shape) == 0:
            return torch.empty(shape, dtype=dtype)
        data = bytearray(self._archive.read(f"{self._root}data/{key}"))
        if len(data) != count * dtype.itemsize or last >= count or math.prod(shape) > count:
            raise Broken(f"holds a tensor of shape {shape}, but fewer numbers")
        return torch.frombuffer(data, dtype=dtype).as_strided(shape, strides, offset).clone()


def _known(one: Named) -> bool:
    package = one.module.split(".")[0]
    if package in ("builtins", "__builtin__"):
        return one.name in _KNOWN_BUILTINS
    return package in KNOWN_PACKAGES or (one.module, one.name) == ("_codecs", "encode")


def _is_module(value: Any) -> bool:
    return isinstance(value, Made) and isinstance(value.state, dict) and "_modules" in value.state


def _is_network(value: Any) -> bool:
    """Whether it is a module with weights; transforms are modules without."""
    return _is_module(value) and any(True for _ in _weights(value))


def _weights(network: Made) -> Iterator[tuple[str, Any]]:
    """Parameters and persistent buffers, by the names that `state_dict` gives them."""
    waiting, seen = [("", network)], 0
    while waiting:
        prefix, module = waiting.pop()
        seen += 1
        if seen > _MAX_MODULES:  # a network that contains itself has no end
            raise NotPlain(f"holds more than {_MAX_MODULES} modules")
        hidden = _items(module.state.get("_non_persistent_buffers_set") or ())
        for part in ("_parameters", "_buffers"):
            for name, value in (entries_of(module.state.get(part)) or {}).items():
                if value is not None and (part == "_parameters" or name not in hidden):
                    yield f"{prefix}{name}", value
        inner = (entries_of(module.state["_modules"]) or {}).items()
        waiting += [(f"{prefix}{name}.", one) for name, one in inner if _is_module(one)][::-1]


def _items(value: Any) -> list[Any]:
    """Of a set, in whichever protocol."""
    if isinstance(value, Made):
        return [*value.items, *(value.arguments[0] if value.arguments else ())]
    return list(value)
