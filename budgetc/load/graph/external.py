"""Weights of an ONNX file that lie in a file beside it, as PyTorch's newer exporter writes them."""

import hashlib
from collections.abc import Iterator
from math import prod
from pathlib import Path

import onnx

from budgetc.errors import InputRejected
from budgetc.load.container import FileContent, read_regular

_ONE_FILE = (
    "save it as one file: torch.onnx.export(..., external_data=False), or "
    "onnx.save_model(onnx.load(FILE), NEW, save_as_external_data=False)"
)


def take_in(file: FileContent, model: onnx.ModelProto) -> str:
    """Read what lies in files beside the model's into the model; returns the sha256 of all files.

    Only regular files in the very folder of the model are opened, no links.

    Raises:
        InputRejected: a location that leads out of the folder, a link, or fewer bytes than a tensor has.
    """
    contents: dict[str, bytes] = {}
    for tensor in _tensors(model):
        if tensor.data_location != onnx.TensorProto.EXTERNAL and not len(tensor.external_data):
            continue
        told = {item.key: item.value for item in tensor.external_data}
        location = told.get("location", "")
        where = f"{file.path}: the values of {tensor.name[:200]!r} lie in {location[:200]!r}"
        if not location or location in (".", "..") or Path(location).name != location or "\\" in location:
            raise InputRejected(f"{where}, which is no file beside the model; {_ONE_FILE}")
        if location not in contents:
            contents[location] = _content(file.path.parent / location, where)
        tensor.raw_data = _part(contents[location], told, _size(tensor, where), where)
        tensor.ClearField("external_data")
        tensor.data_location = onnx.TensorProto.DEFAULT
    if not contents:
        return file.sha256
    digests = [file.sha256, *(hashlib.sha256(content).hexdigest() for _, content in sorted(contents.items()))]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _content(path: Path, where: str) -> bytes:
    try:
        return read_regular(path, follow=False)
    except InputRejected as error:
        raise InputRejected(
            f"{where}, which cannot be read ({error}); put it beside the model, or {_ONE_FILE}"
        ) from error


def _size(tensor: onnx.TensorProto, where: str) -> int:
    try:
        kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    except (KeyError, TypeError, ValueError) as error:
        raise InputRejected(f"{where}, in the unknown type {tensor.data_type}") from error
    if any(side < 0 for side in tensor.dims):
        raise InputRejected(f"{where}, with the shape {tuple(tensor.dims)}")
    size: int = prod(tensor.dims) * kind.itemsize
    return size


def _part(content: bytes, told: dict[str, str], size: int, where: str) -> bytes:
    try:
        start, length = int(told.get("offset", 0)), int(told.get("length", size))
    except ValueError as error:
        raise InputRejected(f"{where}, at a place that is no number") from error
    if start < 0 or length != size or start + length > len(content):
        raise InputRejected(
            f"{where}, bytes {start} to {start + length} of {len(content)}, where {size} are needed; "
            "the file is damaged or of another model"
        )
    return content[start : start + length]


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """All tensors of a model, those in attributes too."""
    yield from model.graph.initializer
    for node in model.graph.node:
        for attribute in node.attribute:
            yield from attribute.tensors
            if attribute.HasField("t"):
                yield attribute.t
