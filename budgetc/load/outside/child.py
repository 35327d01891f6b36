"""What runs in the child process: foreign code is loaded and called here, and only here.

`python -m budgetc.load.outside.child FOLDER` reads `request.json` in the folder and writes `result.json`, beside
`model.onnx` for a network or `weights.safetensors` for a state_dict. It lowers its own limits before it loads anything.
"""

import importlib
import inspect
import io
import json
import os
import resource
import sys
import traceback
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

_OPSET = 17
"""The newest that torch's TorchScript exporter writes without gaps; what a target needs is asked for later."""
_SAME = 1e-3
"""Largest difference between a network and its graph, over the range of an output: sums in another order."""


def main(folder: Path) -> None:
    """Carry out the request in a folder."""
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    for name, most in request["limits"].items():
        lower(getattr(resource, name), most)
    try:
        result: dict[str, Any] = {"kind": _carried_out(folder, request)}
    except Refused as refused:
        result = {"kind": "refused", "reason": str(refused), "usage": refused.usage}
    except MemoryError:
        result = {"kind": "refused", "reason": "needs more memory than a model file may take"}
    except Exception as error:  # whatever foreign code raises is the answer
        result = {"kind": "refused", "reason": f"raised {_described(error)}"}
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")


class Refused(Exception):
    """Foreign code that is not what was asked for; `usage`: because of how it was asked."""

    def __init__(self, sentence: str, *, usage: bool = False) -> None:
        super().__init__(sentence)
        self.usage = usage


def _described(error: Exception) -> str:
    """Its words, and the last line of the user's own code that was on the way."""
    libraries = ("<", sys.prefix, sys.base_prefix)
    frames = traceback.extract_tb(error.__traceback__)
    own = [one for one in frames if one.filename != __file__ and not one.filename.startswith(libraries)]
    place = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {str(error).strip()[:1000]}{place}"


def lower(kind: int, most: int) -> None:
    """Set a limit of this process, never above the one it has."""
    _, hard = resource.getrlimit(kind)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(kind, (most, most))


def _carried_out(folder: Path, request: Mapping[str, Any]) -> str:
    """Writes what the foreign code is, and returns its kind."""
    import onnx  # noqa: F401  # before anything foreign can be called like it
    import torch
    from torch import nn

    torch.set_num_threads(1)
    torch.backends.mha.set_fastpath_enabled(False)  # its fused transformer layers have no ONNX form
    _see_present_folder(first=request["kind"] == "factory")
    found = _loaded(folder / "input", request)
    if isinstance(found, Mapping) and request["kind"] != "factory":
        return _state_dict(folder, found)
    if not isinstance(found, nn.Module):
        factory = request["kind"] == "factory"
        what = "a torch.nn.Module" if factory else "a torch.nn.Module or a state_dict"
        raise Refused(f"gave {_kind(found)}, expected {what}", usage=factory)
    return _network(folder, found, request)


def _see_present_folder(*, first: bool) -> None:
    """The user's own package lies where the user is.

    As `python -m` does where the user named the package; else behind the libraries: trust is for a file, not for what
    is called like a library beside it.
    """
    sys.path.insert(0 if first else len(sys.path), os.getcwd())


def _loaded(file: Path, request: Mapping[str, Any]) -> Any:
    import torch

    match request["kind"]:
        case "factory":
            return _made(file, request["factory"])
        case "torchscript":
            return torch.jit.load(file, map_location="cpu")
        case "pt2":
            return torch.export.load(file).module()
        case _:
            return torch.load(file, map_location="cpu", weights_only=False)


def _made(file: Path, factory: str) -> Any:
    """The module that `package.module:factory` returns, with the weights of the file, if there is one."""
    from safetensors.torch import load_file
    from torch import nn

    name, _, attribute = factory.partition(":")
    try:
        package = importlib.import_module(name)
    except ImportError as error:
        raise Refused(f"cannot be imported ({error}); run budgetc where the package is, or install it",
                      usage=True) from error  # fmt: skip
    make = getattr(package, attribute, None)
    if make is None:
        raise Refused(f"module {name} has no {attribute!r}", usage=True)
    try:
        with suppress(ValueError):  # has no signature
            inspect.signature(make).bind()
    except TypeError as error:
        raise Refused(f"is called without arguments, which it cannot be ({error}); name a function that returns "
                      "the module", usage=True) from error  # fmt: skip
    module = make()
    if file.exists() and isinstance(module, nn.Module):
        _load(module, load_file(file))
    return module


def _load(module: Any, weights: Mapping[str, Any]) -> None:
    own = module.state_dict()
    missing, extra = sorted(set(own) - set(weights)), sorted(set(weights) - set(own))
    wrong = [name for name in own if name in weights and own[name].shape != weights[name].shape]
    problems = [("missing", missing), ("unknown", extra), ("of another shape", wrong)]
    said = [f"{len(names)} {what}: {', '.join(names[:10])}" for what, names in problems if names]
    if said:
        raise Refused(f"does not fit the weights; keys {'; '.join(said)}")
    module.load_state_dict(dict(weights))


def _state_dict(folder: Path, found: Mapping[Any, Any]) -> str:
    from safetensors.torch import save_file
    from torch import Tensor

    from budgetc.load.layouts import find_state_dict

    weights = find_state_dict(found)
    if weights is None:
        raise Refused(f"holds no state_dict (keys {', '.join(map(str, list(found)[:10]))})")
    tensors = {str(name): value.detach().clone().contiguous() for name, value in weights.items()
               if isinstance(value, Tensor)}  # fmt: skip
    save_file(tensors, folder / "weights.safetensors")
    return "weights"


def _network(folder: Path, module: Any, request: Mapping[str, Any]) -> str:
    import torch

    size = request["size"] or getattr(module, "input_size", None) or [256, 256]
    if not (isinstance(size, (list, tuple)) and len(size) == 2 and all(1 <= int(side) <= 4096 for side in size)):
        raise Refused(f"has input_size {size!r}, expected (height, width) in 1..4096")
    height, width = (int(side) for side in size)
    with suppress(NotImplementedError):  # torch.export fixes the mode
        module.eval()
    example, found = _called(module, torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0)))
    names = _names(found, tuple(getattr(module, "output_names", ())))
    graph = _exported(module, example, names)
    _check_same(graph, module, example, names)
    (folder / "model.onnx").write_bytes(graph)
    return "network"


def _called(module: Any, picture: Any) -> tuple[Any, Any]:
    """The picture that a module takes, channels first or last, and what it returns."""
    import torch

    refusal = None
    for example in (picture, picture.permute(0, 2, 3, 1).contiguous()):
        try:
            with torch.no_grad():
                return example, module(example)
        except Exception as error:
            refusal = refusal or error
    assert refusal is not None
    height, width = picture.shape[2:]
    raise Refused(f"fails on a picture of shape (1, 3, {height}, {width}) in [0, 1]: "
                  f"{_described(refusal)}; another --input-size?") from refusal  # fmt: skip


def flat(found: Any) -> list[Any]:
    """The tensors of what a module returns, in order: of a tensor, a tuple, a named tuple, a dict or a dataclass."""
    import torch

    if isinstance(found, torch.Tensor):
        return [found]
    if isinstance(found, Mapping):
        found = list(found.values())
    elif hasattr(found, "__dataclass_fields__"):
        found = [getattr(found, name) for name in found.__dataclass_fields__]
    if not isinstance(found, (list, tuple)):
        return []
    return [value for value in found if isinstance(value, torch.Tensor)]


def _names(found: Any, given: tuple[str, ...]) -> list[str]:
    tensors = flat(found)
    if not tensors:
        raise Refused(f"returns {_kind(found)}, expected a score, a map, or a tuple of both")
    keys: list[str] = list(given)
    if not keys and isinstance(found, Mapping):
        keys = [str(key) for key in found if not isinstance(found[key], (int, float, str, type(None)))]
    if not keys and hasattr(found, "_fields"):
        keys = [name for name in found._fields if getattr(found, name) is not None]
    if not keys and hasattr(found, "__dataclass_fields__"):
        keys = [name for name in found.__dataclass_fields__ if getattr(found, name) is not None]
    if len(keys) == len(tensors) and len(set(keys)) == len(keys):
        return keys
    return [_guessed(tensor, number, tensors) for number, tensor in enumerate(tensors)]


def _guessed(tensor: Any, number: int, tensors: list[Any]) -> str:
    """`score` and `map` where the shapes leave no doubt."""
    scalar, picture = [one.numel() == 1 for one in tensors], [one.dim() >= 3 for one in tensors]
    if scalar[number] and sum(scalar) == 1:
        return "score"
    return "map" if picture[number] and sum(picture) == 1 else f"output_{number}"


def _exported(module: Any, example: Any, names: list[str]) -> bytes:
    import torch
    from torch import nn

    class Flat(nn.Module):
        """Returns its tensors in a row, whatever they were packed in."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, image: Any) -> Any:
            return tuple(flat(self.inner(image)))

    buffer: Any = io.BytesIO()
    # A TorchScript module cannot be called by one that is traced; the exporter flattens what it returns.
    exported = module if isinstance(module, torch.jit.ScriptModule) else Flat()
    with torch.no_grad():
        torch.onnx.export(
            exported, (example,), buffer, dynamo=False, opset_version=_OPSET, input_names=["image"], output_names=names,
            training=torch.onnx.TrainingMode.PRESERVE,
        )  # fmt: skip
    data: bytes = buffer.getvalue()
    return data


def _check_same(graph: bytes, module: Any, example: Any, names: list[str]) -> None:
    """Tracing freezes what depends on the picture: another picture shows it."""
    import onnxruntime
    import torch

    with torch.no_grad():
        once, twice = (flat(module(example.clone())) for _ in range(2))
    noisy = [name for name, one, other in zip(names, once, twice, strict=True)
             if not torch.equal(one.nan_to_num(), other.nan_to_num())]  # fmt: skip
    if noisy:
        raise Refused(f"draws random numbers: output {noisy[0]} is another one every time for the same picture; "
                      "take the mean in evaluation mode, such as z = mu where not self.training")  # fmt: skip
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    if not session.get_inputs():
        raise Refused("no output of its exported graph depends on the picture: does its forward leave torch, as "
                      ".numpy() does, or return a constant?")  # fmt: skip
    for picture in (example, example.flip(3).square()):
        with torch.no_grad():
            wanted = flat(module(picture))
        for name, one, other in zip(names, wanted, session.run(None, {"image": picture.numpy()}), strict=True):
            if not one.is_floating_point():
                continue  # a label flips where a score lies at its threshold
            spread = float(one.abs().amax()) or 1.0
            if one.shape != other.shape or float((one - torch.from_numpy(other)).abs().amax()) > _SAME * spread:
                raise Refused(f"output {name} of its exported graph differs from its own: does its forward decide "
                              "by values of the picture, or change it in place?")  # fmt: skip


def _kind(found: Any) -> str:
    return f"{type(found).__module__}.{type(found).__name__}"


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]))
