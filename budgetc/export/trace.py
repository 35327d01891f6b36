"""Torch -> ONNX: the deployed part, traced once with static shapes."""

import io
import warnings
from dataclasses import replace
from typing import Any

import onnx
import onnxsim
import torch
from torch import nn
from torch.jit._trace import TracerWarning

from budgetc.core.target import Target
from budgetc.detectors.detector import Detector
from budgetc.detectors.layers import fold_norms, units
from budgetc.detectors.rounding import FakeQuantize, NumberFormat, StoredBits
from budgetc.detectors.stored import Table, holder_of, stored_units
from budgetc.errors import BudgetcError

INPUT_NAME = "image"
_SKIPPED_OPTIMIZERS = (
    # Merging equal weights would make the bytes depend on their values: an untrained price must be exact.
    "eliminate_duplicate_initializer",
    # Weights are stored by their names and at their levels: a factor beside a layer, as of a hard sigmoid, stays there.
    "fuse_mul_into_conv",
    "fuse_preceding_mul_into_conv",
)


def deployed_for_export(detector: Detector) -> nn.Module:
    """The deployed part with every BatchNorm folded and every weight at its stored value."""
    part = detector.deployed()
    fold_norms(part)
    for _, unit in stored_units(part):
        rounding = unit.rounding
        if not isinstance(rounding, FakeQuantize):
            continue
        known, layer = rounding.number_format, holder_of(unit)
        if known.half_vectors or known.stored_bits == 16:
            layer.weight.data = rounding.weight(layer.weight).detach()
            bias = None if isinstance(layer, Table) else rounding.bias(layer.bias)
            if bias is not None:
                layer.bias = nn.Parameter(bias.detach())
    return part


def trace(part: nn.Module, shape: tuple[int, ...], target: Target) -> onnx.ModelProto:
    """The simplified graph at the target's opset.

    torch's TorchScript exporter is the one that honors an opset below 18 (see DECISIONS.md).
    """
    for _, unit in units(part):
        rounding = unit.rounding
        if isinstance(rounding, FakeQuantize):
            unit.rounding = _arithmetic(rounding.number_format)
    if hasattr(part, "half_safe"):
        setattr(part, "half_safe", target.compute_dtype == "fp16")  # noqa: B010  # a Module has no such attribute
    buffer: Any = io.BytesIO()  # the annotation of `export` knows only paths
    names: tuple[str, ...] = part.output_names  # type: ignore[assignment]  # every deployed part has it
    with warnings.catch_warnings(), torch.no_grad():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=TracerWarning)
        # Shape arithmetic that the exporter leaves to onnxsim, which folds it.
        warnings.filterwarnings("ignore", message="Constant folding")
        # An instance norm normalizes by the picture's own statistics in evaluation, too.
        warnings.filterwarnings("ignore", message=".*operator 'instance_norm' is set to train=True")
        torch.onnx.export(
            part, (torch.zeros(shape),), buffer, dynamo=False, opset_version=target.max_opset,
            input_names=[INPUT_NAME], output_names=list(names),
        )  # fmt: skip
    model: onnx.ModelProto
    model, same = onnxsim.simplify(
        onnx.load_model_from_string(buffer.getvalue()), skipped_optimizers=list(_SKIPPED_OPTIMIZERS)
    )
    if not same:
        raise BudgetcError("onnxsim changed what the graph computes; please report this with the detector's config")
    return model


def _arithmetic(known: NumberFormat) -> FakeQuantize | None:
    """The rounding that is part of the graph: of activations, and of weights in INT8 kernels.

    How weights are stored is written afterwards, by their names: they are at their stored values already.
    """
    if known.compute == "fp32" and known.output is None and known.before_activation is None:
        return None
    bits: StoredBits = 8 if known.compute == "int8" else 32
    return FakeQuantize(replace(known, stored_bits=bits, levels=(), half_vectors=False))
