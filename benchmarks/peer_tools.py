"""One compression tool on one FP32 ONNX file: `python peer_tools.py REQUEST.json`, in the environment of the tools.

The request names the `tool`, the `model`, the `images` (an .npz: calibration and selection (n, 3, height, width) uint8,
label (n,) of the selection), the directory `out` for the compressed file, and the settings below. `note.txt` beside
the file says what came of it.
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

INPUT = "image"
OPERATORS = ("Conv", "Gemm", "Add", "MaxPool", "Relu")
"""That are worth an integer kernel."""
Feed = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Request:
    """What a tool gets."""

    tool: str
    model: str
    images: str
    out: str
    reduce_range: bool
    """Weights of 7 bits, where 8 would saturate."""
    max_drop: float
    """AUROC on the selection images that may be lost, absolute."""

    def feeds(self) -> list[Feed]:
        """Calibration normals, one an inference."""
        with np.load(self.images) as arrays:
            return [{INPUT: as_input(pixels)} for pixels in arrays["calibration"]]


def as_input(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(3, height, width) uint8 -> (1, 3, height, width) in [0, 1]."""
    return pixels[np.newaxis].astype(np.float32) / np.float32(255)


def auroc_of(score: Callable[[NDArray[np.float32]], float], images: str) -> float:
    """Pooled AUROC on the selection images."""
    from sklearn.metrics import roc_auc_score

    with np.load(images) as arrays:
        scores = [score(as_input(pixels)) for pixels in arrays["selection"]]
        return float(roc_auc_score(arrays["label"], scores))


def ort_default(request: Request) -> str:
    """`quantize_static` as it comes."""
    return _quantize_static(request, {})


def ort_tuned(request: Request) -> str:
    """`quantize_static` as its documentation advises for x86: U8 activations, per-channel S8 weights, few operators."""
    from onnxruntime.quantization import QuantType

    settings = {
        "activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8, "per_channel": True,
        "reduce_range": request.reduce_range, "op_types_to_quantize": list(OPERATORS),
    }  # fmt: skip
    return _quantize_static(request, settings)


def _quantize_static(request: Request, settings: Mapping[str, Any]) -> str:
    from onnxruntime.quantization import CalibrationDataReader, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # published without types
        def __init__(self, feeds: Iterable[Feed]) -> None:
            self._feeds = iter(feeds)

        def get_next(self) -> Feed | None:
            return next(self._feeds, None)

    prepared, feeds = Path(request.out) / "prepared.onnx", request.feeds()
    # Symbolic shape inference crashes on graphs traced by torch; every shape here is static anyway.
    quant_pre_process(request.model, str(prepared), skip_symbolic_shape=True)
    quantize_static(str(prepared), str(Path(request.out) / "model.onnx"), Reader(feeds), **settings)
    prepared.unlink()
    return f"{len(feeds)} calibration normals, reduce_range {settings.get('reduce_range', False)}"


def openvino_fp32(request: Request) -> str:
    """Only converted."""
    import openvino

    # Without this the file holds FP16 weights.
    openvino.save_model(openvino.convert_model(request.model), Path(request.out) / "model.xml", compress_to_fp16=False)
    return "no compression"


def openvino_same(request: Request) -> str:
    """The file in OpenVINO: its own INT8 graph where it has one, else quantized by NNCF."""
    import onnx

    if any(node.op_type == "QuantizeLinear" for node in onnx.load(request.model).graph.node):
        openvino_fp32(request)
        return "the file's own Q/DQ"
    return openvino(request)


def openvino(request: Request) -> str:
    """NNCF's post-training quantization as it comes."""
    import nncf
    import openvino

    feeds = [feed[INPUT] for feed in request.feeds()]
    model = nncf.quantize(openvino.convert_model(request.model), nncf.Dataset(feeds))
    openvino.save_model(model, Path(request.out) / "model.xml", compress_to_fp16=False)
    return f"{len(feeds)} calibration normals"


def openvino_accuracy(request: Request) -> str:
    """NNCF's post-training quantization that takes layers back until the AUROC on selection holds."""
    import nncf
    import openvino

    found: list[float] = []

    def validate(compiled: openvino.CompiledModel, images: Iterable[str]) -> tuple[float, None]:
        (name,) = images
        found.append(auroc_of(lambda batch: float(compiled(batch)["score"][0]), name))
        return found[-1], None

    feeds = [feed[INPUT] for feed in request.feeds()]
    model = nncf.quantize_with_accuracy_control(
        openvino.convert_model(request.model), nncf.Dataset(feeds), nncf.Dataset([request.images]), validate,
        max_drop=request.max_drop, drop_type=nncf.DropType.ABSOLUTE,
    )  # fmt: skip
    openvino.save_model(model, Path(request.out) / "model.xml", compress_to_fp16=False)
    return f"{len(feeds)} calibration normals, AUROC validated {len(found)} times, {found[0]:.4f} to {found[-1]:.4f}"


def modelopt(request: Request) -> str:
    """NVIDIA ModelOpt's INT8, which places Q/DQ for TensorRT."""
    from modelopt.onnx.quantization import quantize

    batch = np.concatenate([feed[INPUT] for feed in request.feeds()])
    out = Path(request.out) / "model.onnx"
    quantize(request.model, quantize_mode="int8", calibration_data=batch, calibration_eps=["cpu"],
             high_precision_dtype="fp32", dq_only=True, output_path=str(out))  # fmt: skip
    return f"{len(batch)} calibration normals"


def olive(request: Request) -> str:
    """Olive's search over the settings of `quantize_static`."""
    from peer_olive import search  # beside this script

    return search(request)


TOOLS: dict[str, Callable[[Request], str]] = {
    tool.__name__: tool
    for tool in (ort_default, ort_tuned, openvino_fp32, openvino_same, openvino, openvino_accuracy, olive, modelopt)
}


def main() -> None:
    """One request."""
    request = Request(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    note = TOOLS[request.tool](request)
    (Path(request.out) / "note.txt").write_text(note, encoding="utf-8")


if __name__ == "__main__":
    main()
