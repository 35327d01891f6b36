"""`model.onnx`: a detector of any architecture as a `graph`, or a refusal that says what to do."""

from dataclasses import dataclass, field, replace

import numpy as np
import onnx
from pydantic import ValidationError

from budgetc.detectors.detector import Detector
from budgetc.detectors.graph import Graph
from budgetc.detectors.stored import stored_units
from budgetc.errors import InputRejected
from budgetc.load.container import FileContent
from budgetc.load.graph.building import Model, Parts, Preparation, build_parts, check_channels
from budgetc.load.graph.noise import without_noise
from budgetc.load.graph.outputs import choose_outputs, with_number
from budgetc.load.graph.parity import differs, first_difference, refuse
from budgetc.load.graph.reading import read_onnx
from budgetc.load.graph.settling import (
    check_sizes,
    halves_to_floats,
    keep_outputs,
    refuse_unread,
    run,
    settle_input,
    simplified,
    with_known_shapes,
)
from budgetc.load.graph.unbatching import one_of_batch
from budgetc.load.graph.unclamping import unclamp
from budgetc.load.tensors import quoted


@dataclass(frozen=True, slots=True)
class OnnxOptions:
    """What a file does not say of itself."""

    input_size: tuple[int, int] | None = None
    """(height, width) where the file leaves it open."""
    score: str | None = None
    """Name of the output that is the score."""
    map: str | None = None
    """Name of the output that is the map."""
    preparation: Preparation = field(default_factory=Preparation)
    line: str | None = None
    """The command that further options are added to, where it is not `budgetc import` and the file."""


@dataclass(frozen=True, slots=True)
class OnnxDetector:
    """A detector, and what a user should know about how it was read."""

    detector: Detector
    notes: tuple[str, ...]
    sha256: str
    """Of all files that it was read from."""


def detector_of_onnx(file: FileContent, options: OnnxOptions = OnnxOptions()) -> OnnxDetector:  # frozen
    """Rebuild an ONNX model from budgetc's own layers, and compare both.

    Raises:
        UsageError: means or deviations of three channels for a gray picture.
        InputRejected: unsafe, invalid, unknown operators, no score, or the rebuilt network computes something else.
    """
    where, (model, digest) = str(file.path), read_onnx(file)
    notes = ["FP16 weights were read as FP32"] if halves_to_floats(model) else []
    notes += without_noise(where, model)
    if (rewritten := one_of_batch(where, model)) is not None:
        notes.append(rewritten)
    settled = settle_input(where, model, options.input_size)
    preparation = options.preparation
    if settled.whole:
        preparation = replace(preparation, scale=preparation.scale if preparation.scale != 1 else 255.0)
        notes.append(f"it reads bytes: pictures are multiplied by {preparation.scale:g} before it")
    check_channels(where, settled, preparation)
    check_sizes(where, model)
    refuse_unread(where, model, settled.name)
    shape = (1, *settled.size, settled.channels) if settled.last else (1, settled.channels, *settled.size)
    zeros = np.zeros(shape, np.float32)
    with_number(where, model, options.score)
    outputs = choose_outputs(
        where, run(where, model, zeros, [value.name for value in model.graph.output]), (options.score, options.map),
        line=options.line or f"budgetc import {quoted(file.path)}",
    )  # fmt: skip
    keep_outputs(model, outputs.names)
    if settled.channels == 1:
        notes.append("it reads gray pictures: color is turned to gray before it")
    if cut := unclamp(where, model, zeros, outputs.names):
        notes.append(
            f"{' and '.join(cut)} {'are' if len(cut) > 1 else 'is'} read before being limited: beyond a limit all "
            "pictures would be alike (anomalib's post-processor limits to 0..1)"
        )
    simple = simplified(where, with_known_shapes(where, model, zeros))
    results = [name for node in simple.graph.node for name in node.output if name]
    shapes = {name: x.shape for name, x in run(where, simple, zeros, results).items()}
    shapes[settled.name] = shape
    known = Model(where, simple, settled, outputs, shapes)
    detector = _same_as(model, known, preparation)
    if next(stored_units(detector.module), None) is None:
        raise InputRejected(f"{where}: has no layer with weights, so that nothing of it can be compressed")
    return OnnxDetector(detector, (*notes, *outputs.notes), digest)


def _same_as(original: onnx.ModelProto, model: Model, preparation: Preparation) -> Detector:
    """The rebuilt detector; it takes several pictures at once where that gives the same."""
    for batched in (True, False):
        parts, module = _rebuilt(model, preparation, batched=batched)
        reason = differs(replace(model, onnx=original), module, preparation)
        if reason is None:
            return Detector("graph", parts.config, module)
    refuse(model, reason, first_difference(model, module, parts.sources, preparation))


def _rebuilt(model: Model, preparation: Preparation, *, batched: bool) -> tuple[Parts, Graph]:
    try:
        parts = build_parts(model, preparation, batched=batched)
        module = Graph(parts.config)
        module.load_state_dict(dict(parts.weights))
    except (ValidationError, ValueError, RuntimeError, TypeError, KeyError, IndexError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputRejected(f"{model.where}: a node has settings that budgetc does not know ({reason})") from error
    return parts, module.eval()
