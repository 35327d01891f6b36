"""Tensors out of a model file: no code is run, and what comes out is finite, dense and of honest size."""

import io
import re
import shlex
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from budgetc.errors import InputRejected
from budgetc.load.container import FileContent

SAVE_AGAIN = (
    "budgetc never runs code from a model file unasked. Save the weights alone where the model was made "
    "(torch.save(model.state_dict(), 'weights.pt') or safetensors) and use budgetc import"
)
_CODE: Mapping[str, str] = {
    "torchscript": "is a TorchScript archive, which contains code",
    "pt2": "is a torch.export archive (.pt2), whose loader can run code",
}
_REFUSALS: Mapping[str, str] = {
    "onnx": "is an ONNX model, which is read whole: budgetc compile takes it as it is, and budgetc import without "
    "--detector",
    "git-lfs": "is a git-lfs pointer, not the model itself; run git lfs pull",
    "zip": "is a zip file, but not one that torch.save wrote (no data.pkl)",
    "unknown": "is not a model file that budgetc knows: expected a model.pt bundle or an .onnx file, or for budgetc "
    "import a state_dict (.pt, .pth, .ckpt) or .safetensors; it may be truncated or of another kind",
}
_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)


class NeedsCode(InputRejected):
    """A file that cannot be read without running what is in it."""


def load_plain(file: FileContent) -> Any:
    """The plain data and tensors of a file of torch.save (weights only) or of safetensors.

    Raises:
        NeedsCode: a file that is code, or needs full unpickling.
        InputRejected: another kind of file, or a damaged one.
    """
    if file.kind in _CODE:
        raise NeedsCode(_refused(file, _CODE[file.kind]))
    if file.kind in _REFUSALS:
        raise InputRejected(f"{file.path}: {_REFUSALS[file.kind]}")
    try:
        if file.kind == "safetensors":
            return safetensors.torch.load(file.data)
        with warnings.catch_warnings():
            # Of an unusual pickle torch says the same as the error that follows, at greater length.
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(io.BytesIO(file.data), map_location="cpu", weights_only=True)
    except Exception as error:  # a hostile or damaged file can raise anything; all of it means "rejected"
        needed = _code_in(error)
        if needed is not None:
            raise NeedsCode(_refused(file, needed)) from error
        writer = "safetensors" if file.kind == "safetensors" else "torch.save"
        raise InputRejected(f"{file.path}: {_reason(error, writer)}") from error


def _refused(file: FileContent, reason: str) -> str:
    line = f"budgetc import {quoted(file.path)} --trust-model sha256:{file.sha256} -o model.pt"
    return (
        f"{file.path}: {reason}; {SAVE_AGAIN}. Where you trust this very file, its code runs in a child process:\n"
        f"  {line}"
    )


def quoted(path: Path) -> str:
    """As a shell takes it for the name of a file."""
    return shlex.quote(str(path) if not str(path).startswith("-") else f"./{path}")


def check_tensors(
    where: str, tensors: Mapping[Any, Any], *, dropped: Callable[[str], bool] = lambda name: False
) -> dict[str, Tensor]:
    """The values of a state_dict, each checked.

    Raises:
        InputRejected: a value is no dense real tensor, larger than its storage, or not finite and not `dropped` later.
    """
    checked: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise InputRejected(f"{where}: {name!r} is {type(value).__name__}, expected a tensor under a text key")
        checked[name] = _checked(f"{where}: {name}", value.detach())
    if not checked:
        raise InputRejected(f"{where}: holds no weights")
    broken = [
        name for name, value in checked.items()
        if value.is_floating_point() and not dropped(name) and not value.isfinite().all()
    ]  # fmt: skip
    if broken:
        raise InputRejected(f"{where}: NaN or infinite values in {named(broken)}; the training went wrong")
    return checked


def named(names: list[str]) -> str:
    """Up to ten names, and how many more there are."""
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(names[:10]) + more


def _checked(where: str, value: Tensor) -> Tensor:
    if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
        raise InputRejected(f"{where} is not a dense float tensor in memory ({value.layout}, {value.device})")
    if not value.is_floating_point() and value.dtype not in _INTEGERS:
        raise InputRejected(f"{where} is {value.dtype}, expected a real number type")
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise InputRejected(f"{where} declares the shape {tuple(value.shape)}, but the file holds fewer numbers")
    return value


def _code_in(error: Exception) -> str | None:
    """What torch refused to run, in words; None where it is not that."""
    text = str(error)
    if "Weights only load failed" not in text and "weights_only" not in text.lower():
        return None
    code = re.search(r"GLOBAL ([\w.]+)|(?:class|function|global)[ :]+([\w.]+\.[\w.]+)", text)
    if code is not None:
        return f"contains Python objects or code ({code.group(1) or code.group(2)}), not only tensors"
    if "legacy .tar" in text:
        return "is in the tar format of torch before 0.4"
    # Never torch's own words: they advise to load with weights_only=False, which runs what is in the file.
    return "is a pickle that does not hold tensors alone, or is truncated"


def _reason(error: Exception, writer: str) -> str:
    text = str(error)
    first = text.strip().splitlines()[0][:200] if text.strip() else type(error).__name__
    return f"truncated or damaged, or not saved by {writer} ({first}); copy or download the file again"
