"""Published latencies of real boards -> rows with the operators that were timed.

Two kinds of CSV file: rows whose layers are written out (`layers_spec`), and rows of named networks whose shapes stand
in `networks.json`. A row belongs to the definition of its source: rows of ncnn to ncnn's own networks.
"""

import csv
import json
import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from budgetc.core.operator import Kind, Operator
from budgetc.errors import InputRejected

_LAYER = re.compile(r"(conv|dw|fc):(\d+)>(\d+)k(\d+)p(\d+)h(\d+)>(\d+)")
_KINDS: dict[str, Kind] = {
    "conv": "conv", "depthwise": "conv", "grouped_conv": "conv", "linear": "linear", "pooling": "pool",
    "interp": "resize", "concat": "move", "shufflechannel": "move", "permute": "move", "crop": "move", "slice": "move",
    "reduction": "reduce",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """One published latency."""

    device: str
    unit: str
    model: str
    precision: str
    runtime: str
    """With the version, where the source tells two apart."""
    threads: str
    latency_ms: float
    stage: str
    """The series of networks it belongs to; empty where rows are not in series."""
    spread: float | None
    """Slowest over mean run, where the source says."""
    operators: tuple[Operator, ...]


def read_cnns(path: Path) -> list[Row]:
    """CNNs with their layers written out, timed by TensorRT on a Jetson Nano GPU.

    Raises:
        InputRejected: a layer cannot be read.
    """
    return [
        Row("Jetson Nano", "gpu", r["model"], "fp32", "tensorrt", "", float(r["latency_ms_60s"]), r["stage"], None,
            tuple(_layer(text, path) for text in r["layers_spec"].split(";")))
        for r in _csv(path)
    ]  # fmt: skip


def _layer(text: str, path: Path) -> Operator:
    match = _LAYER.fullmatch(text)
    if match is None:
        raise InputRejected(f"{path}: layer {text!r}; expected conv|dw|fc:IN>OUTkKERNELpPADDINGhSIZE>SIZE")
    cin, cout, kernel, _, before, after = map(int, match.groups()[1:])
    if match[1] == "fc":
        return Operator("linear", cin, cout, cin=cin, cout=cout, macs=cin * cout, weights=cin * cout)
    groups = cin if match[1] == "dw" else 1
    weights = cin * cout * kernel**2 // groups
    return Operator(
        "conv", cin * before**2, cout * after**2, kernel=kernel, cin=cin, cout=cout, groups=groups,
        macs=weights * after**2, weights=weights, out_h=after, out_w=after,
    )  # fmt: skip


def read_published(path: Path, networks: Path) -> tuple[list[Row], Counter[str]]:
    """Rows of named networks at batch 1, and how many were left out for what reason."""
    shapes = _networks(networks)
    rows, left_out = list[Row](), Counter[str]()
    for r in _csv(path):
        definition = "ncnn benchmark" if r["runtime"].startswith("ncnn") else "torchvision"
        known = _find(shapes, r, definition)
        if r["batch"] != "1":
            left_out["batch above 1"] += 1
        elif known is None:
            left_out[f"no shapes of the network ({definition})"] += 1
        else:
            rows.append(
                Row(r["device"], r["unit"], r["model"], r["precision"], _version(r), r["threads"],
                    float(r["latency_ms"]), "", _spread(r), known)
            )  # fmt: skip
    return rows, left_out


Shapes = dict[tuple[str, str, str], tuple[Operator, ...]]


def _networks(path: Path) -> Shapes:
    found: Shapes = {}
    for network in json.loads(path.read_text(encoding="utf-8"))["networks"]:
        ops = tuple(_named(op) for op in network["ops"])
        for name in (network["model"], *network["aliases"]):
            found[name, network["input_hw"], network["definition"]] = ops
    return found


def _find(shapes: Shapes, row: dict[str, str], definition: str) -> tuple[Operator, ...] | None:
    exact = shapes.get((row["model"], row["input_hw"], definition))
    if exact is not None or definition != "torchvision" or not row["input_hw"]:
        return exact
    # The residual networks are convolutional up to their pooling: at another square size their maps scale.
    side = int(row["input_hw"].split("x")[0])
    known = shapes.get((row["model"], "224x224", definition)) if side % 32 == 0 else None
    if known is None or not row["model"].startswith("resnet"):
        return None
    return tuple(_scaled(op, side / 224) for op in known)


def _scaled(op: Operator, ratio: float) -> Operator:
    if op.kind == "linear":
        return op
    return Operator(
        op.kind, round(op.in_elements * ratio**2), round(op.out_elements * ratio**2), name=op.name, kernel=op.kernel,
        stride=op.stride, cin=op.cin, cout=op.cout, groups=op.groups, macs=round(op.macs * ratio**2),
        weights=op.weights, out_h=round(op.out_h * ratio), out_w=round(op.out_w * ratio),
    )  # fmt: skip


def _named(op: dict[str, Any]) -> Operator:
    kind = _KINDS.get(op["op"], "pointwise")
    return Operator(
        kind, op["in_elements"], op["out_elements"], name=op["op"], kernel=op["kernel"], stride=op["stride"],
        cin=op["cin"], cout=op["cout"], groups=op["groups"], macs=op["macs"], weights=op["weights"],
        out_h=op["out_h"], out_w=op["out_w"],
    )  # fmt: skip


def _version(row: dict[str, str]) -> str:
    """ncnn rows come from two versions of it, up to 40 % apart on one board."""
    if row["runtime"] != "ncnn":
        return row["runtime"]
    return "ncnn 2023" if "issue #4175" in row["source"] else "ncnn README"


def _spread(row: dict[str, str]) -> float | None:
    slowest = re.search(r"max=([\d.]+)", row["notes"])
    return float(slowest[1]) / float(row["latency_ms"]) if slowest else None


def as_fused(ops: Iterable[Operator]) -> tuple[Operator, ...]:
    """Operators of a named network as TensorRT launches them.

    Residual additions and activations run inside their convolution, concatenations in place.
    """
    return tuple(op for op in ops if op.name not in ("eltwise", "relu", "concat") and not math.isclose(op.bytes, 0))


def _csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
