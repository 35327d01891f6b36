"""Published latencies as rows with operators."""

import csv
import json
import os
from pathlib import Path

import pytest

from budgetc.errors import InputRejected
from budgetc.load.rows import as_fused, read_cnns, read_published

CNNS = "model,latency_ms_60s,stage,layers_spec\n"
ROWS = "device,unit,model,input_hw,batch,precision,runtime,threads,latency_ms,source,notes\n"
OP = {"stride": 1, "groups": 1, "macs": 0, "weights": 0, "in_elements": 49, "out_elements": 49, "kernel": 1,
      "cin": 1, "cout": 1, "out_h": 7, "out_w": 7}  # fmt: skip


def written(tmp_path: Path, name: str, text: str) -> Path:
    """A file of the test."""
    (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path / name


def test_layers_are_read_from_their_short_form(tmp_path: Path) -> None:
    """conv, depthwise and fully connected."""
    spec = "conv:3>128k5p1h95>93;dw:128>128k3p1h93>93;fc:1107072>10k1p0h1>1"
    (row,) = read_cnns(written(tmp_path, "c.csv", f"{CNNS}m,12.5,s,{spec}\n"))
    assert (row.latency_ms, row.stage) == (12.5, "s")
    first, second, third = row.operators
    assert (first.macs, first.weights, first.op_class) == (3 * 128 * 25 * 93 * 93, 3 * 128 * 25, "stem")
    assert (second.macs, second.weights, second.op_class) == (128 * 9 * 93 * 93, 128 * 9, "depthwise3x3")
    assert (third.macs, third.op_class) == (11070720, "linear")


def test_a_layer_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """With the file, and what was expected."""
    with pytest.raises(InputRejected, match=r"c\.csv: layer 'pool:2'; expected conv\|dw\|fc"):
        read_cnns(written(tmp_path, "c.csv", f"{CNNS}m,1,s,pool:2\n"))


def test_rows_find_the_shapes_of_their_source(tmp_path: Path) -> None:
    """ncnn rows ncnn's networks, by name or alias; the rest is counted by the reason."""
    networks = {"networks": [
        {"model": "a", "aliases": ["a_int8"], "input_hw": "224x224", "definition": "ncnn benchmark",
         "ops": [{"op": "conv", **OP}, {"op": "eltwise", **OP}]},
    ]}  # fmt: skip
    rows = [
        "D,cpu,a,224x224,1,fp32,ncnn,1,10,readme,min=9;max=12;",
        "D,cpu,a_int8,224x224,1,int8,ncnn,1,8,ncnn issue #4175,",
        "D,gpu,a,224x224,1,fp16,TensorRT,,5,x,",
        "D,cpu,a,224x224,4,fp32,ncnn,1,10,readme,",
        "D,cpu,b,224x224,1,fp32,ncnn,1,10,readme,",
    ]
    shapes = written(tmp_path, "n.json", json.dumps(networks))
    found, left_out = read_published(written(tmp_path, "r.csv", ROWS + "\n".join(rows) + "\n"), shapes)
    assert [(row.runtime, row.spread, len(row.operators)) for row in found] == [
        ("ncnn README", 1.2, 2), ("ncnn 2023", None, 2)
    ]  # fmt: skip
    assert left_out == {
        "no shapes of the network (torchvision)": 1, "batch above 1": 1, "no shapes of the network (ncnn benchmark)": 1
    }  # fmt: skip


def test_tensorrt_launches_no_additions(tmp_path: Path) -> None:
    """They run inside their convolution."""
    networks = {"networks": [{"model": "a", "aliases": [], "input_hw": "1x1", "definition": "torchvision",
                              "ops": [{"op": "conv", **OP}, {"op": "eltwise", **OP}]}]}  # fmt: skip
    shapes = written(tmp_path, "n.json", json.dumps(networks))
    (row,), _ = read_published(written(tmp_path, "r.csv", f"{ROWS}D,gpu,a,1x1,1,fp32,TensorRT,,1,x,\n"), shapes)
    assert [op.name for op in as_fused(row.operators)] == ["conv"]


@pytest.mark.skipif("BUDGETC_TEST_DATA" not in os.environ, reason="BUDGETC_TEST_DATA is not set")
def test_published_layers_have_the_published_arithmetic() -> None:
    """Multiply-accumulates that follow from the layers, biases included, are exactly those the source states."""
    path = Path(os.environ["BUDGETC_TEST_DATA"]) / "devices" / "nano_gpu_tensorrt_fp32_cnns.csv"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    with path.open(encoding="utf-8") as file:
        stated = [int(row["macs"]) for row in csv.DictReader(file)]
    counted = [sum(op.macs + op.out_elements for op in row.operators) for row in read_cnns(path)]
    assert counted == stated
