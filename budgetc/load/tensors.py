"""Tensors out of a model file: no code is run, and what comes out is finite, dense and of honest size."""

import io
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from budgetc.errors import InputRejected
from budgetc.load.container import FileContent

_SAVE_AGAIN = (
    "budgetc never runs code from a model file. Where you trust the file, save the weights alone "
    "(torch.save(model.state_dict(), 'weights.pt') or safetensors) and use budgetc import"
)
_REFUSALS: Mapping[str, str] = {
    "torchscript": f"is a TorchScript archive, which contains code; {_SAVE_AGAIN}",
    "pt2": f"is a torch.export archive (.pt2), whose loader can run code; {_SAVE_AGAIN}",
    "onnx": "looks like an ONNX model; those cannot be imported yet. Supported: a model.pt bundle of budgetc, "
    "and by budgetc import a state_dict (.pt, .pth, .ckpt) or .safetensors",
    "git-lfs": "is a git-lfs pointer, not the model itself; run git lfs pull",
    "zip": "is a zip file, but not one that torch.save wrote (no data.pkl)",
    "unknown": "is not a model file that budgetc knows: expected a model.pt bundle, or for budgetc import "
    "a state_dict (.pt, .pth, .ckpt) or .safetensors; it may be truncated or of another kind",
}
_STAND_INS: list[Callable[..., object] | tuple[Callable[..., object], str]] = [
    (lambda value: value, "anomalib.models.image.efficient_ad.torch_model.EfficientAdModelSize"),
]
"""Enumerations in checkpoints of known frameworks, of which the plain value is taken: nothing of theirs is imported."""
_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)


def load_plain(file: FileContent) -> Any:
    """The plain data and tensors of a file of torch.save (weights only) or of safetensors.

    Raises:
        InputRejected: another kind of file, one that needs full unpickling, or a damaged one.
    """
    if file.kind in _REFUSALS:
        raise InputRejected(f"{file.path}: {_REFUSALS[file.kind]}")
    try:
        if file.kind == "safetensors":
            return safetensors.torch.load(file.data)
        with warnings.catch_warnings(), torch.serialization.safe_globals(_STAND_INS):
            # Of an unusual pickle torch says the same as the error that follows, at greater length.
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(io.BytesIO(file.data), map_location="cpu", weights_only=True)
    except Exception as error:  # a hostile or damaged file can raise anything; all of it means "rejected"
        raise InputRejected(f"{file.path}: {_reason(error)}") from error


def check_tensors(where: str, tensors: Mapping[Any, Any]) -> dict[str, Tensor]:
    """The values of a state_dict, each checked.

    Raises:
        InputRejected: a value is no dense real tensor, larger than its storage, or not finite.
    """
    checked: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise InputRejected(f"{where}: {name!r} is {type(value).__name__}, expected a tensor under a text key")
        checked[name] = _checked(f"{where}: {name}", value.detach())
    if not checked:
        raise InputRejected(f"{where}: holds no weights")
    broken = [name for name, value in checked.items() if value.is_floating_point() and not value.isfinite().all()]
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


def _reason(error: Exception) -> str:
    text = str(error)
    code = re.search(r"GLOBAL ([\w.]+)|(?:class|function|global)[ :]+([\w.]+\.[\w.]+)", text)
    if "Weights only load failed" in text or "weights_only" in text.lower():
        if code is not None:
            found = code.group(1) or code.group(2)
            return f"contains Python objects or code ({found}), not only tensors; {_SAVE_AGAIN}"
        if "legacy .tar" in text:
            return f"is in the tar format of torch before 0.4; {_SAVE_AGAIN}"
        # Never torch's own words: they advise to load with weights_only=False, which runs what is in the file.
        return f"is a pickle that does not hold tensors alone, or is truncated; {_SAVE_AGAIN}"
    first = text.strip().splitlines()[0][:200] if text.strip() else type(error).__name__
    return f"truncated or damaged, or not saved by torch.save ({first})"
