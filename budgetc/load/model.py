"""`model.pt`, a bundle of plain data, or `model.onnx`: becomes a detector, or a refusal that says what to do."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, FiniteFloat, ValidationError

from budgetc.core.frozen import Frozen
from budgetc.core.plan import Quantize
from budgetc.detectors.detector import Detector
from budgetc.detectors.families import BUNDLE_FORMAT, FAMILIES, from_bundle
from budgetc.detectors.rounding import NumberFormat
from budgetc.errors import InputRejected
from budgetc.load.anomalib import model_of, refuse_unknown
from budgetc.load.container import FileContent, read_model_file
from budgetc.load.fit import check_fit, check_formats, parse_config
from budgetc.load.inert import Damaged, Inert, read_inert
from budgetc.load.layouts import find_state_dict, guess_layout
from budgetc.load.onnx_graph import detector_of_onnx
from budgetc.load.origin import Origin
from budgetc.load.pickled import Made
from budgetc.load.tensors import check_tensors, load_plain, quoted

MAX_CONFIG_BYTES, MAX_GRAPH_BYTES = 64 * 2**10, 4 * 2**20
"""A graph of 4096 nodes fits into the second."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A detector, and the digest of the very bytes it was read from."""

    detector: Detector
    sha256: str
    size_bytes: int
    notes: tuple[str, ...] = ()
    """How it was read, where that says something of the detector."""
    source: Origin | None = None
    """What a bundle was imported from."""


class _Envelope(Frozen):
    """All of a bundle but its weights."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    format: str
    detector: str
    config: dict[str, Any]
    state_dict: Mapping[str, Any]
    formats: dict[str, NumberFormat] = {}
    quantization: Quantize | None = None
    threshold: FiniteFloat | None = None
    source: Origin | None = None


def load_model(path: Path) -> LoadedModel:
    """Read a bundle or an ONNX file without running code of theirs.

    Raises:
        InputRejected: anything but a whole, finite bundle whose weights fit its configuration; for a plain
            state_dict the message holds the `budgetc import` line that makes a bundle of it.
    """
    file = read_model_file(path)
    if file.kind == "onnx":
        found = detector_of_onnx(file)
        return LoadedModel(found.detector, found.sha256, len(file.data), found.notes)
    try:
        data = load_plain(file)
    except InputRejected as refusal:
        raise with_hint(file, refusal) from refusal
    if not isinstance(data, Mapping) or "format" not in data:
        raise InputRejected(_import_hint(path, data))
    if data["format"] != BUNDLE_FORMAT:
        raise InputRejected(f"{path}: format is {data['format']!r}, this budgetc reads {BUNDLE_FORMAT!r}")
    envelope = _parse(path, data)
    formats = {name: asdict(number_format) for name, number_format in envelope.formats.items()}
    if envelope.detector not in FAMILIES:
        known = ", ".join(sorted(FAMILIES))
        raise InputRejected(f"{path}: detector {envelope.detector!r} is unknown; budgetc has {known}")
    weights = check_tensors(f"{path}: state_dict", envelope.state_dict)
    config = parse_config(str(path), envelope.detector, envelope.config)
    check_fit(str(path), envelope.detector, config, weights)
    try:
        detector = from_bundle({**data, "state_dict": weights, "formats": formats})
    except InputRejected as error:
        raise InputRejected(f"{path}: {error}") from error
    check_formats(str(path), detector)
    return LoadedModel(detector, file.sha256, len(file.data), source=envelope.source)


def with_hint(file: FileContent, refusal: InputRejected) -> InputRejected:
    """The refusal of a pickle, or the import line where it is one of anomalib, or that it is damaged."""
    if file.kind != "torch":
        return refusal
    try:
        found = read_inert(file)
    except Damaged as damaged:
        return damaged
    except InputRejected:
        return refusal
    if any(one.module.startswith("anomalib.") for one in found.classes) or _theirs(found) is not None:
        return InputRejected(_import_hint(file.path, found.data, found.network))
    return refusal


def _theirs(found: Inert) -> str | None:
    """The model of anomalib whose weights these are."""
    return model_of(found.network, find_state_dict(found.data) or {})


def _parse(path: Path, data: Mapping[Any, Any]) -> _Envelope:
    try:
        envelope = _Envelope.model_validate(dict(data))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputRejected(f"{path}: field {where} of the bundle: {first['msg']}") from error
    except TypeError as error:
        raise InputRejected(f"{path}: a key of the bundle is no text ({error})") from error
    try:
        length = len(json.dumps(envelope.config))
    except (TypeError, ValueError) as error:
        raise InputRejected(f"{path}: config is not plain data ({error})") from error
    most = MAX_GRAPH_BYTES if envelope.detector == "graph" else MAX_CONFIG_BYTES
    if length > most:
        raise InputRejected(f"{path}: config has {length} characters, at most {most}")
    return envelope


def _import_hint(path: Path, data: object, network: Made | None = None) -> str:
    weights = find_state_dict(data)
    if weights is None:
        return (
            f"{path}: is neither a budgetc bundle nor a state_dict (found {type(data).__name__}); "
            f"expected a file of budgetc train or budgetc import"
        )
    if (model := model_of(network, weights)) is not None:
        refuse_unknown(str(path), model)
    guess = guess_layout(weights)
    line = f"budgetc import {quoted(path)} {guess.options} -o model.pt"
    return f"{path}: is a plain state_dict, not a bundle{guess.remark}. Make one with:\n  {line}"
