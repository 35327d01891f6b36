"""The bytes of an ONNX file -> a checked model that holds only what can be read safely."""

import numpy as np
import onnx
from onnx import numpy_helper

from budgetc.errors import InputRejected
from budgetc.load.container import FileContent
from budgetc.load.graph.external import take_in
from budgetc.load.tensors import named

MAX_NODES = 50_000
MAX_OPSET = min(23, onnx.defs.onnx_opset_version())
"""A newer one may change what an operator means."""
_RUN_IR_VERSION = 10
"""What onnxruntime is shown: types that came later are in no model that gets so far."""
_CONTROL_FLOW = ("If", "Loop", "Scan", "SequenceMap")
_QUANTIZED = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger")
_STANDARD = ("", "ai.onnx")


def read_onnx(file: FileContent) -> tuple[onnx.ModelProto, str]:
    """The model of a file, valid and whole, and the sha256 of all that was read.

    Raises:
        InputRejected: anything else, with the nodes or tensors that it is about and what to do.
    """
    where = str(file.path)
    try:
        model = onnx.load_model_from_string(file.data)
    except Exception as error:  # protobuf has several implementations, each with its own exceptions
        raise InputRejected(f"{where}: truncated or damaged ONNX ({error}); copy or download it again") from error
    _check_versions(where, model)
    _check_nodes(where, model)
    digest = take_in(file, model)
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # a hostile file can raise anything; all of it means "rejected"
        reason = " ".join(str(error).split())[:300]
        raise InputRejected(f"{where}: not valid ONNX ({reason}); export it again") from error
    _check_finite(where, model)
    model.ir_version = min(model.ir_version, _RUN_IR_VERSION)
    return model, digest


def describe(node: onnx.NodeProto) -> str:
    """A node as error messages call it: its operator and its name, or that of its result."""
    return f"{node.op_type} {(node.name or next(iter(node.output), '?'))[:200]!r}"


def _check_versions(where: str, model: onnx.ModelProto) -> None:
    if model.ir_version > onnx.IR_VERSION:
        raise InputRejected(
            f"{where}: IR version {model.ir_version}, the installed onnx {onnx.__version__} reads up to "
            f"{onnx.IR_VERSION}; export it with an older version of onnx"
        )
    custom = sorted({item.domain for item in model.opset_import} - set(_STANDARD))
    used = [describe(node) for node in model.graph.node if node.domain not in _STANDARD]
    if used:
        raise InputRejected(
            f"{where}: {len(used)} operators of the domains {', '.join(custom) or '?'}: {named(used)}; "
            "export with standard operators only"
        )
    if len(model.functions):
        raise InputRejected(
            f"{where}: holds {len(model.functions)} functions of its own; save what "
            "onnx.inliner.inline_local_functions makes of it"
        )
    opset = next((item.version for item in model.opset_import if item.domain in _STANDARD), None)
    if opset is None or not 7 <= opset <= MAX_OPSET:
        raise InputRejected(
            f"{where}: opset {opset}, this budgetc reads 7 to {MAX_OPSET}; export again with opset_version=17"
        )


def _check_nodes(where: str, model: onnx.ModelProto) -> None:
    nodes = list(model.graph.node)
    if not len(model.graph.output):
        raise InputRejected(f"{where}: has no outputs; export it with the score, or a map, as one")
    sparse = [n for n in nodes if any(a.HasField("sparse_tensor") for a in n.attribute)]
    if sparse or len(model.graph.sparse_initializer):
        raise InputRejected(f"{where}: holds sparse tensors; export it with dense weights")
    if not 0 < len(nodes) <= MAX_NODES:
        raise InputRejected(f"{where}: {len(nodes)} nodes, expected 1 to {MAX_NODES}")
    flow = [
        describe(node) for node in nodes
        if node.op_type in _CONTROL_FLOW or any(a.HasField("g") or len(a.graphs) for a in node.attribute)
    ]  # fmt: skip
    if flow:
        raise InputRejected(
            f"{where}: control flow cannot be compressed: {named(flow)}; trace the model with a fixed input "
            "(torch.onnx.export of one example), so that one path is left"
        )
    rounded = [describe(n) for n in nodes if n.op_type in _QUANTIZED or n.op_type.startswith("QLinear")]
    if rounded:
        raise InputRejected(
            f"{where}: is quantized already ({len(rounded)} nodes: {named(rounded)}): what rounding took away cannot "
            "be won back, and budgetc chooses number formats itself; pass the FP32 file"
        )


def _check_finite(where: str, model: onnx.ModelProto) -> None:
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise InputRejected(f"{where}: NaN or infinite values in {tensor.name!r}; the training went wrong")
