"""An ONNX file as its target's runtime will launch it."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from budgetc.core.operator import Operator
from budgetc.core.plan import Fp16, Quantize, StoreBits
from budgetc.errors import BudgetcError
from budgetc.export.onnx_file import export_detector
from budgetc.measurement.operators import read_workload
from budgetc.measurement.pricing import price
from budgetc.passes.apply import apply_step
from budgetc.passes.fp16 import fp16
from budgetc.passes.quantize import quantize
from tests.small import small_stfpm, small_vae, work_for
from tests.targets import cost, gpu_target, predicted_target

CPU, GPU = predicted_target(), gpu_target()


def graph(nodes: list[onnx.NodeProto], weights: dict[str, tuple[int, ...]], *outputs: str) -> bytes:
    """A file with input `x` of 1 x 8 x 16 x 16."""
    tensors = [numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in weights.items()]
    made = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 8, 16, 16))],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs or (nodes[-1].output[0],)],
        tensors,
    )  # fmt: skip
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)]).SerializeToString()  # type: ignore[no-any-return]


def conv(name: str, source: str, output: str, **attributes: Any) -> onnx.NodeProto:
    """3x3, padded."""
    return helper.make_node("Conv", [source, name], [output], pads=[1, 1, 1, 1], **attributes)


def names(model: bytes, target: object = CPU) -> list[str]:
    """Fused nodes of every operator."""
    return [op.name for op in read_workload(model, target).operators]  # type: ignore[arg-type]


def test_a_convolution_takes_its_activation_in() -> None:
    """Shapes, multiply-accumulates and class follow from the file."""
    model = graph([conv("w", "x", "y", strides=[2, 2]), helper.make_node("Relu", ["y"], ["z"])], {"w": (24, 8, 3, 3)})
    (op,) = read_workload(model, CPU).operators
    assert op == Operator(
        "conv", 8 * 256, 24 * 64, name="Conv + Relu", kernel=3, stride=2, cin=8, cout=24, macs=24 * 8 * 9 * 64,
        weights=24 * 8 * 9, out_h=8, out_w=8,
    )  # fmt: skip
    assert op.op_class == "stem"


def residual() -> bytes:
    """conv - conv - add - relu."""
    return graph(
        [conv("a", "x", "p"), conv("b", "p", "q"), helper.make_node("Add", ["q", "p"], ["r"]),
         helper.make_node("Relu", ["r"], ["s"])],
        {"a": (8, 8, 3, 3), "b": (8, 8, 3, 3)},
    )  # fmt: skip


def test_tensorrt_adds_residuals_inside_the_convolution() -> None:
    """onnxruntime runs the addition and its activation by themselves."""
    assert names(residual(), GPU) == ["Conv", "Conv + Add + Relu"]
    assert names(residual()) == ["Conv", "Conv", "Add", "Relu"]


def test_tensorrt_runs_a_chain_of_pointwise_nodes_at_once() -> None:
    """But not across a reduction that has to end first."""
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["a"]), helper.make_node("Exp", ["a"], ["b"]),
        helper.make_node("ReduceMax", ["b"], ["c"], axes=[1]), helper.make_node("Sub", ["b", "c"], ["d"]),
        helper.make_node("Sqrt", ["d"], ["e"]),
    ]  # fmt: skip
    assert names(graph(nodes, {}), GPU) == ["Mul", "ReduceMax", "Sub"]
    assert names(graph(nodes, {})) == ["Mul", "Exp", "ReduceMax", "Sub", "Sqrt"]


def test_a_chain_reads_and_writes_only_at_its_ends() -> None:
    """Traffic of one kernel: the input once, the output once."""
    nodes = [helper.make_node("Mul", ["x", "x"], ["a"]), helper.make_node("Exp", ["a"], ["b"])]
    (op,) = read_workload(graph(nodes, {}), GPU).operators
    assert (op.in_elements, op.out_elements) == (2048, 2048)


def test_reshapes_and_concatenation_in_place_cost_nothing() -> None:
    """TensorRT concatenates in place; onnxruntime copies."""
    nodes = [helper.make_node("Concat", ["x", "x"], ["a"], axis=1), helper.make_node("Flatten", ["a"], ["b"])]
    assert names(graph(nodes, {}), GPU) == []
    assert names(graph(nodes, {})) == ["Concat"]


@pytest.mark.parametrize(("groups", "kind"), [(8, "depthwise3x3"), (4, "grouped")])
def test_groups_count_in_multiply_accumulates(groups: int, kind: str) -> None:
    """Each output sees the channels of its group."""
    model = graph([conv("w", "x", "y", group=groups)], {"w": (8, 8 // groups, 3, 3)})
    (op,) = read_workload(model, CPU).operators
    assert (op.op_class, op.macs, op.cin) == (kind, 8 * 256 * 9 * 8 // groups, 8)


def test_a_transposed_convolution_is_priced_by_its_input() -> None:
    """Each input position is multiplied by the whole kernel."""
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2])
    (op,) = read_workload(graph([node], {"w": (8, 4, 2, 2)}), CPU).operators
    assert (op.op_class, op.macs, op.cin, op.cout) == ("convkxk", 8 * 4 * 4 * 256, 8, 4)


def test_quantized_layers_run_in_integers() -> None:
    """Q and DQ around them are no operators of their own; what the detector keeps in FP32 stays so."""
    baseline = small_vae()
    detector = quantize(baseline, Quantize(), work_for(baseline))
    target = predicted_target()
    layers = [op for op in read_workload(export_detector(detector, target).model, target).operators if op.macs]
    integer = sum(known.compute == "int8" and known.weight_scale != () for known in detector.formats.values())
    assert sum(op.compute == "int8" for op in layers) == integer > 0
    assert {op.op_class for op in layers if op.compute == "fp32"} <= {"stem", "linear"}


def test_halves_are_no_operators_and_compute_as_the_target_does() -> None:
    """Their casts fold at load on a CPU; a GPU with FP16 arithmetic computes in it."""
    detector = fp16(small_stfpm(), Fp16())
    for target, compute in ((CPU, "fp32"), (GPU, "fp16")):
        work = read_workload(export_detector(detector, target).model, target)
        assert not any(op.name == "Cast" for op in work.operators)
        assert {op.compute for op in work.operators if op.macs} == {compute}
        weights = sum(op.weights for op in work.operators)
        assert work.weight_bytes == weights * (4 if compute == "fp32" else 2)


def test_live_activations_are_those_of_the_worst_moment() -> None:
    """In the residual block: input of the second convolution, its output, and nothing that is no longer read."""
    assert read_workload(residual(), CPU).activation_bytes == 3 * 2048 * 4
    assert read_workload(residual(), CPU).input_pixels == 256


def test_unknown_shapes_are_refused() -> None:
    """A dimension that is only a name cannot be priced."""
    model = onnx.load_model_from_string(residual())
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    with pytest.raises(BudgetcError, match=r"shape of tensor .* is unknown; export the graph with static shapes"):
        read_workload(model.SerializeToString(), CPU)


@pytest.mark.parametrize("compute", ["fp32", "int8"])
@pytest.mark.parametrize("bits", [2, 3, 8])
def test_stored_bits_cost_nothing_after_load(compute: str, bits: float) -> None:
    """The operators of the same detector in its own formats."""
    detector = small_vae()
    work = work_for(detector)
    if compute == "int8":
        detector = apply_step(detector, Quantize(), work)
    stored = apply_step(detector, StoreBits(bits=bits), work)
    plain, packed = (read_workload(export_detector(each, CPU).model, CPU) for each in (detector, stored))
    assert packed == plain


def image(shape: tuple[int, ...], nodes: list[onnx.NodeProto], *tensors: onnx.TensorProto) -> bytes:
    """A file with an input `x` of another shape."""
    made = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)], list(tensors),
    )  # fmt: skip
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)]).SerializeToString()  # type: ignore[no-any-return]


def ones(name: str, *shape: int, dtype: Any = np.float32) -> onnx.TensorProto:
    """A constant."""
    return numpy_helper.from_array(np.ones(shape, dtype), name)


def test_only_one_image_can_be_priced() -> None:
    """Several at once would be taken for one."""
    model = image((4, 3, 16, 16), [conv("w", "x", "y")], ones("w", 8, 3, 3, 3))
    with pytest.raises(BudgetcError, match=r"input 'x' takes 4 images at once; .* export at batch 1"):
        read_workload(model, CPU)


def test_patches_folded_into_the_batch_count() -> None:
    """Sixteen patches of an image cost as much as the image in one piece."""
    shape = numpy_helper.from_array(np.array([16, 8, 4, 4]), "shape")
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["p"]), conv("w", "p", "y")]
    (op,) = read_workload(image((1, 8, 16, 16), nodes, shape, ones("w", 8, 8, 3, 3)), CPU).operators
    assert (op.macs, op.out_h * op.out_w) == (8 * 8 * 9 * 256, 256)


def test_integer_operators_have_arithmetic() -> None:
    """QLinearConv holds its weights in the fourth input."""
    one, zero, zeros = ones("s"), ones("z", dtype=np.uint8), ones("zw", dtype=np.int8)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("QLinearConv", ["q", "s", "z", "w", "s", "zw", "s", "z"], ["r"]),
        helper.make_node("DequantizeLinear", ["r", "s", "z"], ["y"]),
    ]
    model = image((1, 8, 16, 16), nodes, one, zero, zeros, ones("w", 4, 8, 3, 3, dtype=np.int8))
    (op,) = (op for op in read_workload(model, CPU).operators if op.name == "QLinearConv")
    assert (op.kind, op.macs, op.weights, op.compute) == ("conv", 4 * 8 * 9 * 14**2, 4 * 8 * 9, "int8")


def test_what_the_model_does_not_know_is_named() -> None:
    """Operators without a price for their arithmetic, and other domains; plain ones are not among them."""
    nodes = [
        helper.make_node("Einsum", ["x", "x"], ["y"], equation="...cd,...ed->...ce"),
        helper.make_node("Relu", ["y"], ["z"]),
    ]  # fmt: skip
    assert read_workload(graph(nodes, {}), CPU).unknown == ("Einsum",)
    assert read_workload(export_detector(small_stfpm(), CPU).model, CPU).unknown == ()
    assert read_workload(export_detector(small_vae(), GPU).model, GPU).unknown == ()


def test_other_convolutions_than_of_images_are_refused() -> None:
    """With their name; they are no depthwise or 1x1 ones."""
    model = image((1, 3, 8, 8, 8), [helper.make_node("Conv", ["x", "w"], ["y"])], ones("w", 8, 3, 3, 3, 3))
    with pytest.raises(BudgetcError, match=r"Conv 'y' convolves in 3 dimensions; only convolutions in two"):
        read_workload(model, CPU)
    with pytest.raises(BudgetcError, match=r"the graph has no nodes; expected the ONNX file of a detector"):
        read_workload(b"", CPU)


def test_a_product_of_several_rows_has_arithmetic() -> None:
    """It is a 1x1 convolution of its rows; one row alone only reads the weights."""
    model = image((1, 64, 96), [helper.make_node("MatMul", ["x", "w"], ["y"])], ones("w", 96, 32))
    (op,) = read_workload(model, CPU).operators
    assert (op.op_class, op.macs, op.out_h * op.out_w, op.cin) == ("conv1x1", 64 * 96 * 32, 64, 96)
    assert price(op, cost()).compute_ms == pytest.approx(64 * 96 * 32 / 100e6)
    (one,) = read_workload(
        image((1, 96), [helper.make_node("MatMul", ["x", "w"], ["y"])], ones("w", 96, 32)), CPU
    ).operators
    assert one.op_class == "linear"


def test_products_of_activations_count_each_pair_once() -> None:
    """Four heads of attention: the depth is that of one head."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", ["x", "t"], ["y"]),
    ]
    op = read_workload(image((1, 4, 10, 32), nodes), CPU).operators[-1]
    assert (op.macs, op.weights) == (4 * 10 * 32 * 10, 0)
