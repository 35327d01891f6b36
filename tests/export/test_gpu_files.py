"""Files for a GPU that computes in FP16 and reads opset 13."""

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator
from scipy.stats import spearmanr

from budgetc.candidate import applicable
from budgetc.core.plan import Fp16, Plan, Quantize
from budgetc.detectors.detector import score_images
from budgetc.export.onnx_file import export_detector
from budgetc.load.config import load_target
from budgetc.passes.fp16 import fp16
from tests.small import FAMILIES, inputs, small

GPU = load_target("jetson-nano-gpu").target


@pytest.mark.parametrize("halves", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_file_stays_within_what_tensorrt_reads(family: str, halves: bool) -> None:
    """Opset 13, IR 8 at most, and none of the operators that its parser lacks, asserted in the written bytes."""
    detector = fp16(small(family), Fp16()) if halves else small(family)
    model = onnx.load_model_from_string(export_detector(detector, GPU).model)
    assert [(item.domain, item.version) for item in model.opset_import] == [("", 13)]
    assert model.ir_version <= 8
    assert not {node.op_type for node in model.graph.node} & set(GPU.unsupported_ops)


def in_halves(data: bytes) -> onnx.ModelProto:
    """The same graph with every number and every operator in FP16."""
    model = onnx.load_model_from_string(data)
    tensors = list(model.graph.initializer)
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.FLOAT16
            if attribute.HasField("t"):
                tensors.append(attribute.t)
    for tensor in tensors:
        if tensor.data_type == TensorProto.FLOAT and not _scales(model, tensor.name):
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    return model


def _scales(model: onnx.ModelProto, name: str) -> bool:
    """Whether a tensor holds the scales of a Resize, which are FP32 by definition."""
    return bool(name) and any(node.op_type == "Resize" and name in node.input[1:] for node in model.graph.node)


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_keep_their_order_when_every_operator_rounds_to_fp16(family: str) -> None:
    """The whole exported graph in half precision against PyTorch in single precision, on 24 pictures."""
    detector = small(family)
    images = inputs(family, 24, seed=5)
    images[::2, :, 8:20, 8:20] //= 3
    exact = score_images(detector.deployed(), images)
    session = ReferenceEvaluator(in_halves(export_detector(detector, GPU).model))
    pixels = (images.astype(np.float32) / 255).astype(np.float16)
    found: list[Any] = [session.run(["score"], {"image": one[None]}) for one in pixels]
    halves = np.array([float(scores[0][0]) for scores in found])
    assert np.isfinite(halves).all()
    assert spearmanr(exact, halves).statistic > 0.99


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_the_file_scores_what_the_detector_does(family: str) -> None:
    """The head that survives FP16 is the detector's head, in onnxruntime and in PyTorch."""
    import onnxruntime as ort

    detector, images = small(family), inputs(family, 6, seed=5)
    session = ort.InferenceSession(export_detector(detector, GPU).model, providers=["CPUExecutionProvider"])
    found = np.array([session.run(["score"], {"image": one[None].astype(np.float32) / 255})[0][0] for one in images])
    np.testing.assert_allclose(found, score_images(detector.deployed(), images), rtol=2e-4)


def test_integers_are_refused_with_the_reason() -> None:
    """SM 5.3 has no INT8: the sentence says so and names its source."""
    reason = applicable(Plan(recipe="", steps=(Quantize(),), seed=0), "stfpm", GPU)
    assert reason is not None
    assert reason.startswith("target jetson-nano-gpu has no INT8 kernels: SM 5.3 has no INT8 dot product")
    assert "torch2trt issue 255" in reason
    assert applicable(Plan(recipe="", steps=(Fp16(),), seed=0), "stfpm", GPU) is None
