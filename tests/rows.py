"""Rows of a made-up board, timed by the cost model of tests/targets.py; no published row is among them."""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from budgetc.core.operator import Operator
from budgetc.core.row import Row

NETWORKS = ("net4", "net8", "net16", "net32", "net64")
HEADER = "device,unit,model,input_hw,batch,precision,runtime,threads,latency_ms,source,notes"


def layers(channels: int) -> list[dict[str, object]]:
    """A small network in the form of networks.json: two convolutions and a linear layer."""
    plain = {"stride": 1, "groups": 1}
    wide = channels * 16
    return [
        {"op": "conv", "kernel": 3, "cin": 3, "cout": wide, "macs": 27 * wide * 1024, "weights": 27 * wide,
         "in_elements": 3072, "out_elements": wide * 1024, "out_h": 32, "out_w": 32, **plain},
        {"op": "conv", "kernel": 1, "cin": wide, "cout": wide, "macs": wide**2 * 1024, "weights": wide**2,
         "in_elements": wide * 1024, "out_elements": wide * 1024, "out_h": 32, "out_w": 32, **plain},
        {"op": "relu", "kernel": 1, "cin": 0, "cout": 0, "macs": 0, "weights": 0, "in_elements": wide * 1024,
         "out_elements": wide * 1024, "out_h": 1, "out_w": 1, **plain},
        {"op": "linear", "kernel": 1, "cin": wide, "cout": 10, "macs": wide * 10, "weights": wide * 10,
         "in_elements": wide, "out_elements": 10, "out_h": 1, "out_w": 1, **plain},
    ]  # fmt: skip


def write_networks(path: Path, definition: str = "ncnn benchmark") -> Path:
    """networks.json with NETWORKS, each also known as NAME_int8."""
    networks = [
        {"model": name, "aliases": [f"{name}_int8"], "input_hw": "32x32", "definition": definition,
         "ops": layers(int(name.removeprefix("net")))}
        for name in NETWORKS
    ]  # fmt: skip
    path.write_text(json.dumps({"networks": networks}), encoding="utf-8")
    return path


def write_rows(path: Path, lines: Iterable[str], header: str = HEADER) -> Path:
    """A rows file."""
    path.write_text("\n".join([header, *lines, ""]), encoding="utf-8")
    return path


def conv(cin: int, cout: int, size: int, kernel: int = 3) -> Operator:
    """A convolution of stride 1."""
    return Operator(
        "conv", cin * size**2, cout * size**2, kernel=kernel, cin=cin, cout=cout, out_h=size, out_w=size,
        macs=cin * cout * (kernel * size) ** 2, weights=cin * cout * kernel**2,
    )  # fmt: skip


def row(ms: float, *operators: Operator, **changes: str) -> Row:
    """A row of the made-up board's CPU at one thread."""
    fields: dict[str, Any] = {"device": "board", "unit": "cpu", "model": "net", "precision": "fp32", "threads": "1",
                              "runtime": "ncnn README", "input_hw": "32x32", **changes}  # fmt: skip
    return replace(_ROW, latency_ms=ms, operators=operators or _ROW.operators, **fields)


_ROW = Row("", "", "", "", "", "", 1.0, (conv(64, 64, 32),))
