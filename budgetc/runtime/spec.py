"""`artifact.json` read with explicit checks: the library that writes it need not be on the device."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any, Mapping

from budgetc import errors
from budgetc.runtime.monitor import MonitorTable

SCHEMA_VERSION = 1
MAX_SIDE = 16_384
_ONLY_VALUE = {"resize": "pillow-bilinear", "color": "rgb", "scale": "0..1"}
ARENAS = ("power-of-two", "as-requested")
_AGAIN = "compile the detector again, or copy the whole artifact again"


@dataclass(frozen=True)
class Session:
    """How onnxruntime loads and runs the graph; the defaults are its own."""

    arena: str = "power-of-two"
    """Or `as-requested`: the allocator takes no more from the system than a request needs."""
    memory_pattern: bool = True
    """Plan all activations as one block, from the second run on."""
    blocked: bool = True
    """Run FP32 convolutions in the channel-blocked layout NCHWc."""
    trim: bool = False
    """Give what loading freed back to the system."""
    preoptimized: bool = False
    """Memory and latency were measured with the optimized graph that `budgetc install` caches."""


@dataclass(frozen=True)
class Flow:
    """How successive frames become what the graph reads; see `budgetc.runtime.device_flow`."""

    frame_height: int
    """Frames are resized to this before the center is taken."""
    frame_width: int
    fields: int
    """Of each direction."""
    largest: float
    """Pixels between two frames that the end of the scale stands for."""


@dataclass(frozen=True)
class Spec:
    """What a runtime needs beside the graph: names, input size, threshold, threads."""

    detector: str
    model: str
    """File of the graph, beside `artifact.json`."""
    model_sha256: str
    input: str
    score: str
    map: str | None
    height: int
    width: int
    threshold: float
    """Anomalous when score > threshold."""
    threads: int
    session: Session = Session()
    monitor: MonitorTable | None = None
    """Of artifacts that score frames."""
    thresholds: Mapping[str, float] = field(default_factory=dict)
    """The same of single categories."""

    flow: Flow | None = None
    """Of artifacts that read the motion of successive frames."""
    parts: tuple[str, ...] = ()
    """Outputs that the score is made of."""

    def threshold_of(self, category: str | None) -> float:
        """The threshold of a category, or without one of all together.

        Raises:
            UsageError: the category has none of its own.
        """
        if category is None:
            return self.threshold
        if category not in self.thresholds:
            known = ", ".join(self.thresholds) or "none"
            raise errors.UsageError(
                f"category {category!r} has no threshold of its own in this artifact, whose are: {known}; "
                "name one of them, or no category for the threshold of all"
            )
        return self.thresholds[category]

    @property
    def channels(self) -> int:
        """Of what the graph reads."""
        return 3 if self.flow is None else 2 * self.flow.fields

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """(1, channels, height, width)."""
        return (1, self.channels, self.height, self.width)


def read_spec(path: Path) -> Spec:
    """Parse and check the `artifact.json` at `path`.

    Raises:
        InputRejected: missing, not JSON, of another schema version, or a field is missing, unknown or wrong.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise errors.InputRejected(f"{path}: not found; an artifact is a directory with artifact.json") from error
    except (OSError, ValueError, RecursionError) as error:
        raise errors.InputRejected(f"{path}: cannot be read as JSON ({error}); {_AGAIN}") from error
    return parse_spec(raw, str(path))


def parse_spec(raw: object, where: str = "artifact.json") -> Spec:
    """Check the fields of an artifact's specification; `where` names it in errors.

    Raises:
        InputRejected: another schema version, or a field is missing, unknown or wrong.
    """
    fields = _Fields(raw, where)
    version = fields.take("schema_version", (int,), 1)
    if version != SCHEMA_VERSION:
        advice = "compile again, or use the budgetc that wrote it"
        raise errors.InputRejected(
            f"{where}: schema_version {version}, but this budgetc reads version {SCHEMA_VERSION}; {advice}"
        )
    picture = _Fields(fields.take("preprocessing", (dict,)), f"{where}: preprocessing")
    for name, value in _ONLY_VALUE.items():
        if picture.take(name, (str,), value) != value:
            picture.refuse(name, repr(value))
    spec = Spec(
        detector=fields.take("detector", (str,)),
        model=fields.take("model", (str,), "model.onnx"),
        model_sha256=fields.take("model_sha256", (str,)),
        input=fields.take("input", (str,), "image"),
        score=fields.take("score", (str,), "score"),
        map=fields.take("map", (str, type(None)), None),
        height=picture.within("height", MAX_SIDE),
        width=picture.within("width", MAX_SIDE),
        threshold=float(fields.take("threshold", (int, float))),
        threads=fields.within("threads", 256),
        session=_session(_Fields(fields.take("session", (dict,), {}), f"{where}: session")),
        flow=_flow(picture.take("flow", (dict, type(None)), None), f"{where}: preprocessing.flow"),
        parts=fields.names("parts"),
        monitor=_monitor(fields.take("monitor", (dict, type(None)), None), f"{where}: monitor"),
        thresholds=_thresholds(_Fields(fields.take("thresholds", (dict,), {}), f"{where}: thresholds")),
    )
    picture.refuse_rest()
    fields.refuse_rest()
    if not isfinite(spec.threshold):
        fields.refuse("threshold", "a finite number")
    if spec.flow is not None and (spec.flow.frame_height < spec.height or spec.flow.frame_width < spec.width):
        picture.refuse("flow", f"frames that hold the center of {spec.height} x {spec.width}")
    if Path(spec.model).name != spec.model:
        fields.refuse("model", "the name of a file beside artifact.json, without a directory")
    return spec


def _thresholds(fields: _Fields) -> dict[str, float]:
    found = {name: float(fields.take(name, (int, float))) for name in fields.raw}
    for name, value in found.items():
        if not isfinite(value):
            fields.refuse(name, "a finite number")
    return found


def _flow(raw: object, where: str) -> Flow | None:
    if raw is None:
        return None
    fields = _Fields(raw, where)
    if fields.take("method", (str,)) != "clahe-farneback":
        fields.refuse("method", "'clahe-farneback'")
    flow = Flow(
        frame_height=fields.within("frame_height", MAX_SIDE),
        frame_width=fields.within("frame_width", MAX_SIDE),
        fields=fields.within("fields", 64),
        largest=float(fields.take("largest", (int, float))),
    )
    fields.refuse_rest()
    if not (isfinite(flow.largest) and flow.largest > 0):
        fields.refuse("largest", "a number above 0")
    return flow


def _session(fields: _Fields) -> Session:
    session = Session(
        arena=fields.one_of("arena", ARENAS),
        memory_pattern=fields.flag("memory_pattern", True),
        blocked=fields.flag("blocked", True),
        trim=fields.flag("trim", False),
        preoptimized=fields.flag("preoptimized", False),
    )
    fields.refuse_rest()
    return session


def _monitor(raw: object, where: str) -> MonitorTable | None:
    if raw is None:
        return None
    fields = _Fields(raw, where)
    table = MonitorTable(
        scores=fields.take("scores", (str,)),
        lowest=float(fields.take("lowest", (int, float))),
        step=float(fields.take("step", (int, float))),
        drift=float(fields.take("drift", (int, float))),
        threshold=float(fields.take("threshold", (int, float))),
        run_length=fields.take("run_length", (int,)),
        window=fields.take("window", (int,)),
    )
    fields.refuse_rest()
    try:
        table.codes()
    except errors.InputRejected as error:
        raise errors.InputRejected(f"{where}: {error}") from error
    return table


class _Fields:
    """A JSON object whose fields are taken one by one; what nobody took is an error."""

    def __init__(self, raw: object, where: str) -> None:
        if not isinstance(raw, Mapping):
            raise errors.InputRejected(f"{where}: expected an object, found {type(raw).__name__}; {_AGAIN}")
        self.raw, self.where = dict(raw), where
        self.taken: set[str] = set()

    def take(self, name: str, types: tuple[type, ...], *default: Any) -> Any:
        """The field, or its default; refused when absent without a default or of another type."""
        self.taken.add(name)
        if name not in self.raw:
            if default:
                return default[0]
            raise errors.InputRejected(f"{self.where}: field '{name}' is missing; {_AGAIN}")
        value = self.raw[name]
        if not isinstance(value, types) or isinstance(value, bool):
            self.refuse(name, " or ".join("null" if kind is type(None) else kind.__name__ for kind in types))
        return value

    def within(self, name: str, most: int) -> int:
        """An integer from 1 to `most`."""
        value: int = self.take(name, (int,))
        if not 1 <= value <= most:
            self.refuse(name, f"1 to {most}")
        return value

    def names(self, name: str) -> tuple[str, ...]:
        """A list of words; none where the field is absent."""
        value = self.take(name, (list,), [])
        if not all(isinstance(one, str) for one in value):
            self.refuse(name, "a list of names")
        return tuple(value)

    def flag(self, name: str, default: bool) -> bool:
        """True or false."""
        self.taken.add(name)
        value = self.raw.get(name, default)
        if not isinstance(value, bool):
            self.refuse(name, "true or false")
        return bool(value)

    def one_of(self, name: str, known: tuple[str, ...]) -> str:
        """One of the known words; the first is the default."""
        value: str = self.take(name, (str,), known[0])
        if value not in known:
            self.refuse(name, " or ".join(known))
        return value

    def refuse(self, name: str, expected: str) -> None:
        """Say what the field holds and what it should hold."""
        raise errors.InputRejected(f"{self.where}: {name} is {self.raw.get(name)!r}, expected {expected}; {_AGAIN}")

    def refuse_rest(self) -> None:
        """A field that this version does not know may change the meaning of the others."""
        unknown = sorted(set(self.raw) - self.taken)
        if unknown:
            raise errors.InputRejected(f"{self.where}: unknown field {', '.join(unknown)}; {_AGAIN}")
