"""ONNX files on the command line: imported, inspected, or refused with exit code 4 and what to do."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import safetensors.torch
import torch
from onnx import TensorProto, helper

from tests.cli.command import Command
from tests.graphs import exported, made, model_of

node = helper.make_node
WEIGHTS = {"w": np.full((1, 3, 3, 3), 0.1, np.float32)}
CONV = node("Conv", ["image", "w"], ["map"], name="first")
BODY = [CONV, node("ReduceMax", ["map"], ["score"], keepdims=0)]


def plain(**changes: Any) -> onnx.ModelProto:
    return model_of(changes.pop("nodes", BODY), changes.pop("weights", WEIGHTS), **changes)


def two_inputs() -> onnx.ModelProto:
    model = plain()
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1]))
    return model


def no_outputs() -> onnx.ModelProto:
    model = plain()
    del model.graph.output[:]
    return model


def of_integers() -> onnx.ModelProto:
    nodes = [node("Div", ["image", "image"], ["one"]), node("Cast", ["one"], ["x"], to=1),
             node("Conv", ["x", "w"], ["map"]), BODY[1]]  # fmt: skip
    model = plain(nodes=nodes)
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    model.graph.ClearField("value_info")
    return model


def located(location: str) -> Callable[[], onnx.ModelProto]:
    """A model whose weights lie elsewhere."""

    def make() -> onnx.ModelProto:
        model = plain()
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)
        return model

    return make


def of_domain() -> onnx.ModelProto:
    model = plain()
    model.graph.node.append(node("Mystery", ["map"], ["other"], domain="com.example", name="odd"))
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    return model


def branching() -> onnx.ModelProto:
    model = plain()
    inner = helper.make_graph([node("Identity", ["map"], ["inner"])], "inner", [], [model.graph.output[0]])
    model.graph.node.append(node("If", ["map"], ["other"], then_branch=inner, else_branch=inner, name="choice"))
    return model


def versioned(opset: int = 17, ir: int = 8) -> Callable[[], onnx.ModelProto]:
    def make() -> onnx.ModelProto:
        model = plain()
        model.opset_import[0].version, model.ir_version = opset, ir
        return model

    return make


def quantized() -> onnx.ModelProto:
    scale = {"s": np.float32(0.1), "z": np.uint8(0)}
    rounding = [node("QuantizeLinear", ["image", "s", "z"], ["q"]), node("DequantizeLinear", ["q", "s", "z"], ["x"])]
    nodes = [*rounding, node("Conv", ["x", "w"], ["map"]), BODY[1]]
    return plain(nodes=nodes, weights={**WEIGHTS, **scale})


def enormous() -> onnx.ModelProto:
    nodes = [CONV, node("Expand", ["map", "huge"], ["big"]), node("ReduceMax", ["big"], ["score"], keepdims=0)]
    return plain(nodes=nodes, weights={**WEIGHTS, "huge": np.array([2**20, 2**10, 6, 6])})


UNKNOWN = [CONV, node("Hardmax", ["map"], ["a"], name="hardest"), node("CumSum", ["a", "axis"], ["b"], name="sums"),
           node("ReduceMax", ["b"], ["score"], keepdims=0)]  # fmt: skip
BAD: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "external data above the folder": (located("../secret"), "'../secret', which is no file beside the model"),
    "external data anywhere": (located("/etc/passwd"), "'/etc/passwd', which is no file beside the model"),
    "external data behind a link": (located("link.data"), "link.data: cannot be opened as a model (is a link, "),
    "external data that is not there": (located("absent.data"), "'absent.data', which cannot be read"),
    "external data that is too short": (located("short.data"), "'short.data', bytes 0 to 108 of 4"),
    "an opset of tomorrow": (versioned(opset=99), "opset 99, this budgetc reads 7 to 23; export again"),
    "an IR of tomorrow": (versioned(ir=31), "IR version 31, the installed onnx"),
    "a custom domain": (of_domain, "operators of the domains com.example: Mystery 'odd'"),
    "control flow": (branching, "control flow cannot be compressed: If 'choice'; trace the model"),
    "two inputs": (two_inputs, "2 inputs ('image', 'mask'); expected one"),
    "five channels": (
        lambda: plain(weights={"w": np.zeros((1, 5, 3, 3), np.float32)}, shape=(1, 5, 8, 8)), "has 5 channels; pictures"
    ),
    "a giant batch": (lambda: plain(shape=(2**20, 3, 2**10, 2**10)), "'image' has 3298534883328 numbers, at most"),
    "a batch of four": (lambda: plain(shape=(4, 3, 8, 8)), "is a batch of 4 pictures"),
    "unknown sides": (lambda: plain(shape=(1, 3, "h", "w")), "--input-size HEIGHTxWIDTH -o model.pt"),
    "integers": (of_integers, "is UINT8, expected float"),
    "no score": (
        lambda: plain(nodes=[CONV, node("Reshape", ["map", "flat"], ["score"])],
                      weights={**WEIGHTS, "flat": np.array([1, -1])}), "no output is an anomaly score"
    ),
    "quantized already": (quantized, "is quantized already (2 nodes"),
    "unknown operators": (
        lambda: plain(nodes=UNKNOWN, weights={**WEIGHTS, "axis": np.int64(1)}),
        "2 nodes of operators that budgetc does not know (CumSum, Hardmax): Hardmax 'hardest', CumSum 'sums'",
    ),
    "a giant": (enormous, "numbers, at most"),
    "not a number": (lambda: plain(weights={"w": np.full((1, 3, 3, 3), np.nan, np.float32)}), "NaN or infinite values"),
    "a picture that nothing reads": (
        lambda: plain(nodes=[node("Identity", ["c"], ["score"])], weights={"c": np.ones(1, np.float32)}),
        "no output depends on the input 'image'",
    ),
    "no weights": (
        lambda: plain(nodes=[node("Tanh", ["image"], ["x"]), node("ReduceMax", ["x"], ["score"], keepdims=0)]),
        "has no layer with weights, so that nothing of it can be compressed",
    ),
    "no outputs": (no_outputs, "has no outputs; export it with the score, or a map"),
    "a score that is no number": (
        lambda: plain(nodes=[CONV, node("Sqrt", ["map"], ["root"]), node("Neg", ["root"], ["low"]),
                             node("Log", ["low"], ["bad"]), node("ReduceMax", ["bad"], ["score"], keepdims=0)]),
        "'score' is NaN or infinite for 4 of 4 pictures that it was tried on; its training went wrong",
    ),
    "two scores": (
        lambda: plain(nodes=[*BODY, node("ReduceMin", ["map"], ["low"], keepdims=0)], outputs=("score", "low")),
        "model.onnx --score score -o model.pt",
    ),
    "shapes that contradict": (
        lambda: plain(weights={"w": np.zeros((1, 4, 3, 3), np.float32)}), "onnxruntime does not run it"
    ),
}  # fmt: skip


@pytest.mark.parametrize("defect", BAD)
def test_bad_files(budgetc: Command, tmp_path: Path, defect: str) -> None:
    """Every defect of the list exits 4 with a sentence that names it, and writes nothing."""
    make, sentence = BAD[defect]
    (tmp_path / "secret").write_bytes(bytes(108))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link.data").symlink_to(tmp_path / "secret")
    (tmp_path / "in" / "short.data").write_bytes(bytes(4))
    file, out = tmp_path / "in" / "model.onnx", tmp_path / "model.pt"
    file.write_bytes(make().SerializeToString())
    ended = budgetc("import", file, "-o", out)
    assert (ended.code, ended.out) == (4, "")
    assert sentence in ended.err and "Traceback" not in ended.err
    assert not out.exists()


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.999])
def test_cut_files(budgetc: Command, tmp_path: Path, kept: float) -> None:
    """A download that broke off is refused."""
    data = exported(made("latent"))
    (tmp_path / "model.onnx").write_bytes(data[: int(len(data) * kept)])
    ended = budgetc("import", tmp_path / "model.onnx", "-o", tmp_path / "model.pt")
    assert ended.code == 4 and "Traceback" not in ended.err


def test_a_file_becomes_a_bundle(budgetc: Command, tmp_path: Path) -> None:
    """Import says what it dropped; inspect and compile know the bundle."""
    file, out = tmp_path / "model.onnx", tmp_path / "model.pt"
    file.write_bytes(exported(made("latent")))
    told = json.loads(budgetc("import", file, "-o", out, "--json").out)
    assert told["detector"] == "graph" and told["notes"] == ["outputs that are not shipped: restored float32 (1, 3000)"]
    assert json.loads(budgetc("inspect", out, "--json").out)["deployed_parameters"] == told["parameters"]
    assert budgetc("inspect", file).code == 0


def test_weights_beside_the_model(budgetc: Command, tmp_path: Path) -> None:
    """What PyTorch's newer exporter writes is read whole, and both files make the digest."""
    model = onnx.load_model_from_string(exported(made("restoring")))
    alone, beside = tmp_path / "alone.onnx", tmp_path / "beside.onnx"
    alone.write_bytes(model.SerializeToString())
    onnx.save_model(model, beside, save_as_external_data=True, location="beside.data", size_threshold=0)
    told = [json.loads(budgetc("import", f, "-o", f.with_suffix(".pt"), "--json").out) for f in (alone, beside)]
    assert told[0]["parameters"] == told[1]["parameters"]
    content = bytearray((tmp_path / "beside.data").read_bytes())
    content[-1] ^= 1
    (tmp_path / "beside.data").write_bytes(bytes(content))
    again = json.loads(budgetc("import", beside, "-o", tmp_path / "again.pt", "--json").out)
    assert again["source_sha256"] != told[1]["source_sha256"]


def test_options_of_other_files(budgetc: Command, tmp_path: Path) -> None:
    """Weights need a detector, ONNX files have theirs; numbers must be numbers."""
    file = tmp_path / "model.onnx"
    file.write_bytes(plain().SerializeToString())
    for arguments, sentence in (
        (["--backbone", "resnet18"], "--backbone: only for weights of a detector that budgetc knows"),
        (["--detector", "vae", "--score", "s"], "--score: only for whole networks"),
        (["--mean", "1,2"], "--mean 1,2: expected one number or three"),
        (["--std", "0"], "expected numbers larger than 0"),
        (["-o", str(file)], "is the FILE that is read"),
        (["-o", str(tmp_path / "none" / "model.pt")], "does not exist; create it first"),
    ):
        ended = budgetc("import", file, "-o", tmp_path / "model.pt", *arguments)
        assert ended.code == 2 and sentence in ended.err
    ended = budgetc("import", file, "--detector", "vae", "-o", tmp_path / "model.pt")
    assert ended.code == 4 and "is an ONNX model" in ended.err
    safetensors.torch.save_file({"a": torch.zeros(1)}, tmp_path / "w.safetensors")
    ended = budgetc("import", tmp_path / "w.safetensors", "-o", tmp_path / "model.pt")
    assert ended.code == 2 and "holds weights, not a whole network" in ended.err
