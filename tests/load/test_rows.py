"""Rows files: CSV of published latencies."""

import csv
import os
from pathlib import Path

import pytest

from budgetc.errors import InputRejected, UsageError
from budgetc.load.rows import read_rows
from tests.rows import HEADER, write_networks, write_rows

CNNS = "model,latency_ms_60s,latency_ms_100runs,stage,pom_5v_in_mw,layers_spec"
NAMED = "board,cpu,net4,32x32,1,fp32,ncnn,1,10,readme,"


def test_layers_are_read_from_their_short_form(tmp_path: Path) -> None:
    """conv, depthwise and fully connected; the latency is the mean of a minute, the power in watts."""
    spec = "conv:3>128k5p1h95>93;dw:128>128k3p1h93>93;fc:1107072>10k1p0h1>1"
    (row,), left_out = read_rows(write_rows(tmp_path / "c.csv", [f"m,12.5,13,s,5900,{spec}"], CNNS))
    assert (row.latency_ms, row.stage, row.power_w, left_out) == (12.5, "s", 5.9, {})
    assert (row.device, row.unit, row.precision, row.runtime) == ("Jetson Nano", "gpu", "fp32", "TensorRT")
    first, second, third = row.operators
    assert (first.macs, first.weights, first.op_class) == (3 * 128 * 25 * 93 * 93, 3 * 128 * 25, "stem")
    assert (second.macs, second.weights, second.op_class) == (128 * 9 * 93 * 93, 128 * 9, "depthwise3x3")
    assert (third.macs, third.op_class) == (11070720, "linear")


def test_rows_with_layers_may_say_what_they_are(tmp_path: Path) -> None:
    """A new board needs no file of networks: device, unit, precision, runtime and threads beside the layers."""
    header = "device,unit,precision,runtime,threads,latency_ms,layers_spec"
    (row,), _ = read_rows(write_rows(tmp_path / "c.csv", ["b,cpu,fp32,onnxruntime,2,3,fc:4>2k1p0h1>1"], header))
    assert (row.device, row.unit, row.runtime, row.threads) == ("b", "cpu", "onnxruntime", "2")


def test_rows_find_the_shapes_of_their_source(tmp_path: Path) -> None:
    """ncnn rows ncnn's networks, by name or alias; its versions are told apart; the rest is counted by the reason."""
    lines = [
        "D,cpu,net4,32x32,1,fp32,ncnn,1,10,benchmark/README.md,min=9;max=12;",
        "D,cpu,net4_int8,32x32,1,int8,ncnn,1,8,ncnn issue #4175,",
        "D,gpu,net4,32x32,1,fp16,TensorRT,,5,x,",
        "D,cpu,net4,32x32,4,fp32,ncnn,1,10,README,",
        "D,cpu,net4,64x64,1,fp32,ncnn,1,10,README,",
        "",
    ]
    found, left_out = read_rows(write_rows(tmp_path / "r.csv", lines), write_networks(tmp_path / "n.json"))
    assert [(r.runtime, r.fastest_ms, len(r.operators)) for r in found] == [
        ("ncnn README", 9, 4),
        ("ncnn 2023", None, 4),
    ]
    assert left_out == {
        "no shapes of the network (torchvision)": 1, "batch is not 1": 1, "no shapes of the network (ncnn benchmark)": 1
    }  # fmt: skip


def test_columns_may_come_in_any_order_and_company(tmp_path: Path) -> None:
    """A byte order mark, spaces, extra columns and missing optional ones are no reason to refuse a file."""
    header = "\ufefflatency_ms , runtime,precision,input_hw,model,unit,device,color"
    path = write_rows(tmp_path / "r.csv", ["10,ncnn,fp32,32x32,net4,cpu, D ,red"], header)
    (row,), _ = read_rows(path, write_networks(tmp_path / "n.json"))
    assert (row.device, row.threads, row.latency_ms) == ("D", "", 10)


def test_spelling_does_not_matter(tmp_path: Path) -> None:
    """Names in any case, sizes with spaces, whole numbers with a point."""
    lines = ["d,CPU,NET4,32 X 32,1.0,FP32,NCNN,4.0,10,README,"]
    (row,), left_out = read_rows(write_rows(tmp_path / "r.csv", lines), write_networks(tmp_path / "n.json"))
    assert (row.unit, row.precision, row.runtime, row.threads, row.input_hw) == (
        "cpu",
        "fp32",
        "ncnn README",
        "4",
        "32x32",
    )
    assert len(row.operators) == 4 and not left_out


def test_a_file_may_hold_both_kinds_of_rows_and_latencies(tmp_path: Path) -> None:
    """Layers where they are written out, else the name; the mean of a minute where it was taken, else the other."""
    header = f"{HEADER},latency_ms_60s,layers_spec"
    lines = ["D,cpu,net4,32x32,1,fp32,ncnn,1,10,README,,,", "D,cpu,own,4x4,1,fp32,ncnn,1,10,README,,7,conv:3>4k1p0h4>4",
             "D,cpu,own,4x4,8,fp32,ncnn,1,10,README,,7,conv:3>4k1p0h4>4"]  # fmt: skip
    found, left_out = read_rows(write_rows(tmp_path / "r.csv", lines, header), write_networks(tmp_path / "n.json"))
    assert [(row.model, row.latency_ms, len(row.operators)) for row in found] == [("net4", 10, 4), ("own", 7, 1)]
    assert left_out == {"batch is not 1": 1}


def test_what_cannot_be_read_is_counted_where_that_is_asked_for(tmp_path: Path) -> None:
    """One bad cell of hundreds of rows is no reason to judge none."""
    lines = [NAMED, NAMED.replace(",10,", ",soon,"), NAMED.replace(",10,", ",,")]
    found, left_out = read_rows(
        write_rows(tmp_path / "r.csv", lines), write_networks(tmp_path / "n.json"), strict=False
    )
    assert len(found) == 1 and left_out == {"column latency_ms cannot be read": 2}


@pytest.mark.parametrize(("layer", "stride"), [("k3p1h8>8", 1), ("k3p0h5>3", 1), ("k3p1h9>5", 2), ("k7p0h10>4", 1),
                                               ("k3p0h3>1", 1), ("k2p2h50>53", 1)])  # fmt: skip
def test_strides_follow_from_kernel_and_padding(tmp_path: Path, layer: str, stride: int) -> None:
    """Without padding, outputs are fewer than inputs at stride 1, too."""
    (row,), _ = read_rows(write_rows(tmp_path / "c.csv", [f"m,1,1,s,1,conv:4>4{layer}"], CNNS))
    assert row.operators[0].stride == stride


@pytest.mark.parametrize("latency", ["", "fast", "0", "-1", "nan", "inf"])
def test_a_latency_that_is_none_is_named_with_its_place(tmp_path: Path, latency: str) -> None:
    """File, line, column, what was found and expected."""
    path = write_rows(tmp_path / "r.csv", [NAMED, NAMED.replace(",10,", f",{latency},")])
    expected = rf"r\.csv: line 3, column latency_ms: '{latency}'; expected a positive number"
    with pytest.raises(InputRejected, match=expected):
        read_rows(path, write_networks(tmp_path / "n.json"))


def test_a_layer_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """With file, line and column, and what was expected."""
    path = write_rows(tmp_path / "c.csv", ["m,1,1,s,1,fc:4>2k1p0h1>1", "m,1,1,s,1,pool:2"], CNNS)
    with pytest.raises(InputRejected, match=r"c\.csv: line 3, column layers_spec: layer 'pool:2'; expected conv\|dw"):
        read_rows(path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "no column latency_ms_60s or latency_ms; found an empty file"),
        (b"latency_ms,model\n1,a\n", r"line 1: no column device, unit, input_hw, precision, runtime; expected layers_"),
        (f"{HEADER}\nD,cpu\n".encode(), r"line 2: 2 cells; expected 11"),
        (b"latency_ms,layers_spec\n1,;\n", r"line 2, column layers_spec: ';'; expected layers joined by ;"),
        (b"latency_ms\n\xff\n", "byte 11 is not UTF-8"),
    ],
)  # fmt: skip
def test_files_that_are_no_rows_are_refused(tmp_path: Path, content: bytes, expected: str) -> None:
    """Each with its own sentence."""
    (tmp_path / "r.csv").write_bytes(content)
    with pytest.raises(InputRejected, match=expected):
        read_rows(tmp_path / "r.csv")


def test_files_that_are_not_there_are_a_usage_error(tmp_path: Path) -> None:
    """The rows, the networks, or networks that nobody gave."""
    with pytest.raises(UsageError, match=r"r\.csv: cannot be read \(No such file"):
        read_rows(tmp_path / "r.csv")
    path = write_rows(tmp_path / "r.csv", [NAMED])
    with pytest.raises(UsageError, match="its rows name networks; give the file of their shapes, --networks"):
        read_rows(path)
    with pytest.raises(UsageError, match=r"n\.json: cannot be read"):
        read_rows(path, tmp_path / "n.json")


@pytest.mark.skipif("BUDGETC_TEST_DATA" not in os.environ, reason="BUDGETC_TEST_DATA is not set")
def test_published_layers_have_the_published_arithmetic() -> None:
    """Multiply-accumulates that follow from the layers, biases included, are exactly those the source states."""
    path = Path(os.environ["BUDGETC_TEST_DATA"]) / "devices" / "nano_gpu_tensorrt_fp32_cnns.csv"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    with path.open(encoding="utf-8") as file:
        stated = [int(row["macs"]) for row in csv.DictReader(file)]
    rows, _ = read_rows(path)
    assert [sum(op.macs + op.out_elements for op in row.operators) for row in rows] == stated
