"""Time of every operator of a file in onnxruntime on this machine: where the milliseconds go, and in which format."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from budgetc.core.layout import ARTIFACT
from budgetc.runtime.session import open_session, session_options
from budgetc.runtime.spec import Spec, read_spec

_WARM, _CALLS = 5, 40
_TIMED = "_kernel_time"
_CONVERSIONS = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Cast"})
_FORMATS = {"int8": "int8", "uint8": "int8", "float16": "fp16", "float": "fp32"}


@dataclass(frozen=True, slots=True)
class NodeTime:
    """One node of the graph as the runtime optimized it."""

    name: str
    kind: str
    compute: str
    """`int8`, `fp16`, `fp32`: what the kernel works on; `convert` where it only changes formats. A layer that should
    be INT8 and is not shows here."""
    ms: float
    """Median over calls."""


@dataclass(slots=True)
class _Seen:
    kind: str
    compute: str
    times_ms: list[float] = field(default_factory=list)


def profile_nodes(directory: Path) -> tuple[NodeTime, ...]:
    """Run an artifact's graph on noise with the runtime's profiler; nodes in the order in which they run.

    Profiling itself costs some microseconds a node, so that small nodes look slower than they are.

    Args:
        directory: `artifact.json` and its graph, whose input is a picture (1, 3, height, width).
    """
    spec = read_spec(directory / ARTIFACT)
    with tempfile.TemporaryDirectory() as scratch:
        events = _profiled(directory, spec, Path(scratch))
    nodes: dict[str, _Seen] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_TIMED):
            about, name = event["args"], event["name"].removesuffix(_TIMED)
            seen = nodes.setdefault(name, _Seen(about["op_name"], _compute(about)))
            seen.times_ms.append(event["dur"] / 1000)
    return tuple(NodeTime(name, seen.kind, seen.compute, median(seen.times_ms[_WARM:])) for name, seen in nodes.items())


def _profiled(directory: Path, spec: Spec, scratch: Path) -> Sequence[Mapping[str, Any]]:
    options = session_options(spec)
    options.enable_profiling = True
    options.profile_file_prefix = str(scratch / "profile")
    session = open_session(directory / spec.model, spec, options)
    picture = np.random.default_rng(0).random(spec.input_shape, dtype=np.float32)
    for _ in range(_WARM + _CALLS):
        session.run([spec.score], {spec.input: picture})
    found: Sequence[Mapping[str, Any]] = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return found


def _compute(about: Mapping[str, Any]) -> str:
    """From the types that the kernel got, not from its name."""
    if about["op_name"] in _CONVERSIONS:
        return "convert"
    types = [kind for shape in about.get("input_type_shape", ()) for kind in shape]
    return next((_FORMATS[kind] for kind in types if kind in _FORMATS), "other")
