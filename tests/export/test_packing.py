"""Files whose weights are codes of few bits: what the runtime makes of them, and how many bytes they take."""

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from budgetc.core.plan import Quantize, Step, StoreBits
from budgetc.detectors.detector import Detector, as_input
from budgetc.errors import BudgetcError
from budgetc.export.gate import check_kernels, fused_kernels
from budgetc.export.onnx_file import export_detector
from budgetc.passes.apply import apply_step
from tests.export.single import SIDE, run_file, single
from tests.small import small_gaussian, small_stfpm, small_vae, target, work_for

KINDS = ("conv", "conv relu6", "conv leaky", "1x1 without activation", "one channel", "depthwise", "linear",
         "linear leaky", "residual")  # fmt: skip
STEPS: dict[str, tuple[Step, ...]] = {"fp32": (), "int8": (Quantize(first_convolution=True),)}


def stored(detector: Detector, compute: str, bits: float) -> Detector:
    """The detector after PTQ where asked for, and in codes."""
    work = work_for(detector)
    for step in (*STEPS[compute], StoreBits(bits=bits)):
        detector = apply_step(detector, step, work)
    return detector


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8])
@pytest.mark.parametrize("compute", STEPS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_runtime_computes_what_torch_does(kind: str, compute: str, bits: float) -> None:
    """For every kind of layer and every width; INT8 within one step, where two roundings follow within one of each."""
    detector = stored(single(kind), compute, bits)
    images = np.random.default_rng(5).integers(0, 256, (8, 3, SIDE, SIDE), np.uint8)
    exported = export_detector(detector, target())
    (found,) = run_file(exported.model, as_input(images).numpy())
    with torch.no_grad():
        expected = detector.deployed()(as_input(images)).numpy()
    formats = [known.output for known in detector.formats.values() if known.output is not None]
    step = max((known.scale for known in formats), default=0.0) * (2 if "leaky" in kind or kind == "residual" else 1)
    assert np.abs(found - expected).max() <= 1.01 * step + 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("compute", STEPS)
@pytest.mark.parametrize("make", [small_vae, small_stfpm, small_gaussian])
def test_after_load_nothing_is_unpacked(make: Callable[[], Detector], compute: str) -> None:
    """The kernels are those of the same detector in 8 and 32 bits."""
    detector = make()
    plain = detector
    for step in STEPS[compute]:
        plain = apply_step(plain, step, work_for(detector))
    mixed = fused_kernels(export_detector(stored(detector, compute, 3.5), target()).model)
    assert mixed == fused_kernels(export_detector(plain, target()).model)


def test_a_runtime_that_unpacks_at_every_call_is_refused() -> None:
    """Codes that are no constant do not fold; what reads the input is the detector's own, and unpacks nothing."""
    data = onnx.helper.make_tensor_value_info("image", onnx.TensorProto.UINT8, [4])
    result = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.UINT8, [4])
    two = onnx.numpy_helper.from_array(np.array([2], np.uint8), "two")
    codes = [
        onnx.helper.make_node("RandomUniform", [], ["any"], shape=[4]),
        onnx.helper.make_node("Cast", ["any"], ["codes"], to=onnx.TensorProto.UINT8),
    ]

    def shifting(source: str) -> bytes:
        shift = onnx.helper.make_node("BitShift", [source, "two"], ["y"], direction="RIGHT")
        nodes = [*codes, shift] if source == "codes" else [shift]
        graph = onnx.helper.make_graph(nodes, "g", [data], [result], [two])
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
        written: bytes = model.SerializeToString()
        return written

    check_kernels(shifting("image"), 0)
    with pytest.raises(BudgetcError, match="does not fold BitShift at load"):
        check_kernels(shifting("codes"), 0)


@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8])
@pytest.mark.parametrize("compute", STEPS)
def test_the_file_is_hardly_more_than_its_codes(compute: str, bits: float) -> None:
    """1.1 times the stored bits of all weights, and ten kilobytes for the graph."""
    detector = stored(small_vae(), compute, bits)
    exported = export_detector(detector, target())
    loaded = onnx.load_model_from_string(exported.model)
    scales = sum(len(known.weight_scale) for known in detector.formats.values() if known.half_vectors)
    vectors = next(len(t.raw_data) for t in loaded.graph.initializer if t.data_type == onnx.TensorProto.FLOAT16)
    assert vectors <= 2 * 2 * scales
    singles = [t for t in loaded.graph.initializer if t.data_type == onnx.TensorProto.FLOAT and len(t.dims) == 1]
    assert max((t.dims[0] for t in singles), default=0) <= 3, "vectors that are not halves"
    assert len(exported.model) <= 1.1 * exported.parameters * bits / 8 + 10_000


def test_integer_biases_are_integers() -> None:
    """onnxruntime before 1.20 runs a layer with a float bias in FP32, silently."""
    detector = apply_step(single("linear"), Quantize(first_convolution=True), work_for(single("linear")))
    loaded = onnx.load_model_from_string(export_detector(detector, target()).model)
    writer = {name: node.op_type for node in loaded.graph.node for name in node.output}
    layers = [node for node in loaded.graph.node if node.op_type in ("Conv", "Gemm")]
    assert [writer[node.input[2]] for node in layers] == ["DequantizeLinear"] * 2
    types = {tensor.data_type for tensor in loaded.graph.initializer}
    assert onnx.TensorProto.INT32 in types
    assert ort.InferenceSession(loaded.SerializeToString()).get_outputs()[0].shape == [1, 10]
