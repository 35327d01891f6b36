"""Where the time and memory of a file go."""

from pathlib import Path

import onnx
import pytest

from budgetc.candidate import write
from budgetc.compiler.explaining import explain_file
from budgetc.compiler.training import save_bundle
from budgetc.core.plan import Quantize
from budgetc.errors import InputRejected, UsageError
from budgetc.export.onnx_file import export_detector
from budgetc.load.config import load_target
from budgetc.measurement.operators import read_workload
from budgetc.measurement.pricing import price_graph
from budgetc.passes.quantize import quantize
from tests.small import small_stfpm, work_for


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small detector."""
    path = tmp_path_factory.mktemp("bundle") / "model.pt"
    save_bundle(small_stfpm(), path)
    return path


def test_times_add_up_to_the_total(bundle: Path) -> None:
    """Operators and fixed time make the graph's, with preprocessing the latency; shares add up; edges are in order."""
    found = explain_file(bundle, target="jetson-nano-gpu")
    assert found.costs is not None and found.missing is None and found.refusals == ()
    times = [one.ms for one in found.operators if one.ms is not None]
    assert len(times) == len(found.operators)
    assert sum(times) + found.costs.fixed_ms == pytest.approx(found.costs.graph_ms)
    assert found.costs.graph_ms + found.costs.preprocess_ms.value == pytest.approx(found.costs.latency_ms.value)
    assert sum(one.share or 0 for one in found.operators) == pytest.approx(
        1 - found.costs.fixed_ms / found.costs.graph_ms
    )
    for one in found.operators:
        parts = {"launch": one.launch_ms, "compute": one.compute_ms, "bandwidth": one.traffic_ms}
        assert one.roof == max(parts, key=lambda part: parts[part] or 0)
        assert one.bytes > 0
    assert found.costs.energy_mj is not None and found.costs.energy_mj.value > found.costs.latency_ms.value


def test_a_file_an_artifact_and_a_bundle_are_the_same(bundle: Path, tmp_path: Path) -> None:
    """The bundle is exported for the target, the others are taken as they are."""
    target, detector = load_target("jetson-nano-cpu").target, small_stfpm()
    exported = export_detector(detector, target)
    out = write(exported, detector, tmp_path / "out", threshold=0.0, threads=4, session=target.session).directory
    (tmp_path / "model.onnx").write_bytes(exported.model)
    whole = explain_file(bundle, target="jetson-nano-cpu")
    assert whole.costs is not None and whole.costs.energy_mj is None
    for file in (out, tmp_path / "model.onnx"):
        assert explain_file(file, target="jetson-nano-cpu").model_copy(update={"file": whole.file}) == whole


def test_a_target_that_measures_says_what_is_missing(bundle: Path) -> None:
    """What operators are asked to do is known without a cost model, their time is not."""
    found = explain_file(bundle, target="host-cpu")
    assert found.costs is None and found.operators and all(one.ms is None for one in found.operators)
    assert found.missing is not None and "`budgetc measure FILE --target host-cpu` times the file" in found.missing


def test_what_the_target_refuses_is_said(tmp_path: Path) -> None:
    """Opset, IR version, operators and number formats; times are shown all the same."""
    value = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node("Reciprocal", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "g", [value("x", 1, [1, 3, 8, 8])], [value("y", 1, [1, 3, 8, 8])])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "odd.onnx")
    found = explain_file(tmp_path / "odd.onnx", target="jetson-nano-gpu")
    assert found.refusals == (
        "it uses opsets ai.onnx 17; target jetson-nano-gpu takes ai.onnx 13",
        "it has IR version 9; target jetson-nano-gpu takes 8",
        "target jetson-nano-gpu does not support Reciprocal",
    )
    assert found.costs is not None


def test_integers_are_refused_where_there_are_none(tmp_path: Path) -> None:
    """With the fact that says why."""
    cpu, plain = load_target("x86-avx2").target, small_stfpm()
    detector = quantize(plain, Quantize(), work_for(plain))
    (tmp_path / "int8.onnx").write_bytes(export_detector(detector, cpu).model)
    found = explain_file(tmp_path / "int8.onnx", target="jetson-nano-gpu")
    assert any("it computes in INT8, which target jetson-nano-gpu does not: SM 5.3" in one for one in found.refusals)


def test_files_that_are_none(tmp_path: Path) -> None:
    """Each with its own sentence."""
    (tmp_path / "bad.onnx").write_bytes(b"no protobuf")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputRejected, match=r"bad\.onnx: is no ONNX file that can be read"):
        explain_file(tmp_path / "bad.onnx", target="jetson-nano-gpu")
    with pytest.raises(InputRejected, match=r"empty: is no artifact, it has no model\.onnx"):
        explain_file(tmp_path / "empty", target="jetson-nano-gpu")
    with pytest.raises(UsageError, match=r"none\.onnx: no such file; expected the directory of an artifact"):
        explain_file(tmp_path / "none.onnx", target="jetson-nano-gpu")


def test_a_format_the_target_lacks_costs_what_fp32_does(tmp_path: Path) -> None:
    """Integers on a GPU without them take no less time, nor less memory."""
    cpu, plain = load_target("x86-avx2").target, small_stfpm()
    content = export_detector(quantize(plain, Quantize(), work_for(plain)), cpu).model
    gpu = load_target("jetson-nano-gpu").target
    (tmp_path / "int8.onnx").write_bytes(content)
    found = explain_file(tmp_path / "int8.onnx", target="jetson-nano-gpu")
    assert any(one.endswith("priced as FP32") for one in found.refusals) and found.costs is not None
    same = tuple(op.at("fp32") for op in read_workload(content, gpu).operators)
    assert gpu.cost is not None and found.costs.graph_ms == pytest.approx(price_graph(same, gpu.cost).ms)


def test_unknown_operators_are_said_to_be_underpriced(tmp_path: Path) -> None:
    """Branches, too: what is inside of them is not followed."""
    value = onnx.helper.make_tensor_value_info
    branch = onnx.helper.make_graph(
        [onnx.helper.make_node("Neg", ["x"], ["z"])], "branch", [], [value("z", 1, [1, 3, 8, 8])]
    )
    node = onnx.helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    inputs = [value("x", 1, [1, 3, 8, 8]), value("c", onnx.TensorProto.BOOL, [])]
    graph = onnx.helper.make_graph([node], "g", inputs, [value("y", 1, [1, 3, 8, 8])])
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8),
        tmp_path / "if.onnx",
    )
    found = explain_file(tmp_path / "if.onnx", target="jetson-nano-gpu")
    assert found.missing is not None and "the cost model does not know If" in found.missing


def test_graphs_that_cannot_be_priced_say_why(tmp_path: Path) -> None:
    """An empty file is a valid protobuf; a 1-D convolution is a valid graph."""
    (tmp_path / "empty.onnx").write_bytes(b"")
    with pytest.raises(InputRejected, match=r"empty\.onnx: the graph has no nodes"):
        explain_file(tmp_path / "empty.onnx", target="jetson-nano-gpu")
    value = onnx.helper.make_tensor_value_info
    weight = onnx.helper.make_tensor("w", 1, [4, 3, 3], [0.0] * 36)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Conv", ["x", "w"], ["y"])], "g", [value("x", 1, [1, 3, 8])],
        [value("y", 1, None)], [weight],
    )  # fmt: skip
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)]), tmp_path / "line.onnx")
    with pytest.raises(InputRejected, match=r"line\.onnx: Conv 'y' convolves in 1 dimensions"):
        explain_file(tmp_path / "line.onnx", target="jetson-nano-gpu")
    foreign = onnx.helper.make_graph(
        [onnx.helper.make_node("Odd", ["x"], ["y"], domain="my.own")], "g", [value("x", 1, [1, 3, 8, 8])],
        [value("y", 1, [1, 3, 8, 8])],
    )  # fmt: skip
    opsets = [onnx.helper.make_opsetid("", 13), onnx.helper.make_opsetid("my.own", 1)]
    onnx.save(onnx.helper.make_model(foreign, opset_imports=opsets), tmp_path / "own.onnx")
    found = explain_file(tmp_path / "own.onnx", target="jetson-nano-gpu")
    assert found.missing is not None and "does not know my.own.Odd" in found.missing
    assert "my.own 1" in found.refusals[0]
