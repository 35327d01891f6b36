"""How weights lie in the file."""

import numpy as np
import onnx
import pytest
import torch

from budgetc.core.admissible import foreign_setting
from budgetc.core.plan import Fp16, Quantize
from budgetc.detectors.detector import as_input
from budgetc.export.gate import fused_kernels
from budgetc.export.onnx_file import export_detector
from budgetc.passes.fp16 import fp16
from budgetc.passes.quantize import quantize
from tests.export.single import run_file, tensors
from tests.small import FAMILIES, inputs, small, small_vae, target, work_for


def _weight_bytes(model: bytes) -> int:
    return sum(t.nbytes for t in tensors(model).values() if t.ndim > 1 and t.size > 64)


@pytest.mark.parametrize("family", FAMILIES)
def test_fp16_halves_the_bytes_of_weights(family: str) -> None:
    """Every weight, the score heads' included, takes two bytes."""
    detector = small(family)
    whole, halves = (export_detector(d, target()).model for d in (detector, fp16(detector, Fp16())))
    assert _weight_bytes(halves) * 2 == _weight_bytes(whole)
    assert len(halves) < 0.6 * len(whole)


@pytest.mark.parametrize("family", FAMILIES)
def test_halves_are_unpacked_once_at_load(family: str) -> None:
    """Constant folding removes every Cast: the graph that runs is the FP32 one."""
    detector = small(family)
    float_kernels = fused_kernels(export_detector(detector, target()).model)
    half = export_detector(fp16(detector, Fp16()), target()).model
    assert "Cast" in {node.op_type for node in onnx.load_model_from_string(half).graph.node}
    assert fused_kernels(half) == float_kernels


@pytest.mark.parametrize("family", FAMILIES)
def test_after_int8_what_is_left_in_fp32_is_halved(family: str) -> None:
    """First convolutions and heads in two bytes, everything else in one."""
    detector = small(family)
    mixed = fp16(quantize(detector, Quantize(), work_for(detector)), Fp16())
    stored = [t for t in tensors(export_detector(mixed, target()).model).values() if t.ndim > 1 and t.size > 64]
    assert {t.dtype for t in stored} == {np.dtype(np.int8), np.dtype(np.float16)}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("recipe", ["float", "fp16", "int8", "int8 student", "int8 fp16"])
def test_the_file_scores_as_the_network(family: str, recipe: str) -> None:
    """Every output of every storage, on images that nothing was fitted to."""
    if "student" in recipe and (reason := foreign_setting(Quantize(scope="student"), family)) is not None:
        pytest.skip(reason)
    detector, image = small(family), as_input(inputs(family, 6, seed=6))
    if "int8" in recipe:
        scope = "student" if "student" in recipe else "all"
        detector = quantize(detector, Quantize(scope=scope), work_for(detector))  # type: ignore[arg-type]
    if "fp16" in recipe:
        detector = fp16(detector, Fp16())
    with torch.no_grad():
        expected = [output.numpy() for output in detector.deployed()(image)]
    found = run_file(export_detector(detector, target()).model, image.numpy())
    for ours, reference in zip(found, expected, strict=True):
        tolerance = (0.1 if "int8" in recipe else 1e-4) * np.ptp(reference) + 1e-6
        np.testing.assert_allclose(ours, reference, atol=tolerance, rtol=0)


def test_score_heads_stay_in_fp32() -> None:
    """mu and logvar are two float matrices in an INT8 file, and their results are never rounded."""
    detector = small_vae()
    data = export_detector(quantize(detector, Quantize(), work_for(detector)), target()).model
    stored, graph = tensors(data), onnx.load_model_from_string(data).graph
    heads = [node for node in graph.node if node.op_type == "Gemm" and stored.get(node.input[1]) is not None]
    assert [stored[node.input[1]].dtype for node in heads] == [np.float32, np.float32]
    assert len({node.input[1] for node in heads}) == 2
    rounded = {node.input[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    assert not rounded & {node.output[0] for node in heads}
