"""networks.json: the operators of named networks, by the definition that their rows were measured on."""

import json
from pathlib import Path
from typing import Any

from budgetc.core.operator import Kind, Operator
from budgetc.errors import InputRejected, UsageError

Shapes = dict[tuple[str, str, str], tuple[Operator, ...]]
"""By model or alias, input size (HEIGHTxWIDTH) and definition."""
_KINDS: dict[str, Kind] = {
    "conv": "conv", "depthwise": "conv", "grouped_conv": "conv", "linear": "linear", "pooling": "pool",
    "interp": "resize", "concat": "move", "shufflechannel": "move", "permute": "move", "crop": "move", "slice": "move",
    "reduction": "reduce", "swish": "exponential", "sigmoid": "exponential", "softmax": "exponential",
}  # fmt: skip
_NUMBERS = (
    "kernel", "stride", "cin", "cout", "groups", "macs", "weights", "in_elements", "out_elements", "out_h", "out_w"
)  # fmt: skip
_STRIDE = 32
"""Of the residual networks as a whole."""


def read_networks(path: Path) -> Shapes:
    """All networks of a file.

    Raises:
        UsageError: there is no such file. InputRejected: it is no list of networks, or a field is missing.
    """
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))["networks"]
        found: Shapes = {}
        for network in listed:
            ops = tuple(_operator(op) for op in network["ops"])
            for name in (network["model"], *network.get("aliases", ())):
                found[name.lower(), network["input_hw"], network["definition"]] = ops
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); expected a file of networks") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputRejected(
            f'{path}: {type(error).__name__}: {error}; expected {{"networks": [{{"model", "aliases", "input_hw", '
            f'"definition", "ops": [{{"op", {", ".join(_NUMBERS)}}}]}}]}}'
        ) from error
    return found


def find_network(shapes: Shapes, model: str, input_hw: str, definition: str) -> tuple[Operator, ...] | None:
    """Operators of a network by its name in small letters, or None where nobody knows them."""
    exact = shapes.get((model, input_hw, definition))
    if exact is not None or definition != "torchvision" or not model.startswith("resnet"):
        return exact
    # The residual networks are convolutional up to their pooling: at another square size their maps scale.
    height, _, width = input_hw.partition("x")
    known = shapes.get((model, "224x224", definition))
    if known is None or height != width or not height.isdecimal() or int(height) % _STRIDE:
        return None
    return tuple(_resized(op, int(height) / 224) for op in known)


def _operator(op: dict[str, Any]) -> Operator:
    numbers = {name: op[name] for name in _NUMBERS}
    wrong = [name for name, value in numbers.items() if not isinstance(value, int) or value < 0]
    if wrong:
        raise ValueError(f"{wrong[0]} of {op['op']!r} is {numbers[wrong[0]]!r}, no natural number")
    return Operator(_KINDS.get(op["op"], "pointwise"), name=op["op"], **numbers)


def _resized(op: Operator, ratio: float) -> Operator:
    if op.kind == "linear":
        return op
    return Operator(
        op.kind, round(op.in_elements * ratio**2), round(op.out_elements * ratio**2), name=op.name, kernel=op.kernel,
        stride=op.stride, cin=op.cin, cout=op.cout, groups=op.groups, macs=round(op.macs * ratio**2),
        weights=op.weights, out_h=round(op.out_h * ratio), out_w=round(op.out_w * ratio),
    )  # fmt: skip
