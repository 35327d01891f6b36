import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from budgetc.core.session import SessionOptions
from budgetc.errors import InputRejected
from budgetc.report.schema import ArtifactSpec, FlowBlock, MonitorBlock, Preprocessing, plain_spec
from budgetc.runtime.monitor import MonitorTable
from budgetc.runtime.spec import Flow, Session, parse_spec, read_spec

TABLE = MonitorTable("AAABAAIA", lowest=1.5, step=0.25, drift=0.5, threshold=3.0, run_length=1000)
SESSION = SessionOptions(arena="as-requested", memory_pattern=False, blocked=False, trim=True, preoptimized=True)


FLOW = Flow(frame_height=50, frame_width=66, fields=6, largest=6.6)


def fields(**changed: Any) -> dict[str, Any]:
    spec = ArtifactSpec(
        detector="vae",
        model_sha256="0" * 64,
        map="heat",
        parts=("d_h", "d_v"),
        preprocessing=Preprocessing(height=48, width=64, flow=FlowBlock(**asdict(FLOW))),
        threshold=1.25,
        thresholds={"brick": 0.5, "grass": 2.75},
        threads=2,
        session=SESSION,
        monitor=MonitorBlock(**asdict(TABLE)),
    )
    return {**plain_spec(spec), **changed}


def test_reads_what_the_compiler_writes() -> None:
    """Every field of ArtifactSpec arrives under the same name with the same value."""
    spec = parse_spec(fields())
    parsed = {"session": Session(**SESSION.model_dump()), "monitor": TABLE, "flow": FLOW, "parts": ("d_h", "d_v")}
    flat = {**fields(), **fields()["preprocessing"], **parsed}
    assert {name: getattr(spec, name) for name in vars(spec)} == {name: flat[name] for name in vars(spec)}


def test_session_options_have_the_defaults_of_onnxruntime() -> None:
    """An artifact without the object, or with parts of it, is one of an older or a frugal writer."""
    raw = fields()
    del raw["session"]
    assert parse_spec(raw).session == Session() == Session(**SessionOptions().model_dump())
    assert parse_spec({**raw, "session": {"trim": True}}).session == Session(trim=True)
    assert "session" not in plain_spec(ArtifactSpec.model_validate({**raw, "session": SessionOptions()}))


def test_an_artifact_without_a_monitor_is_read() -> None:
    """Older artifacts, and those of pictures, have none."""
    raw = fields()
    del raw["monitor"]
    assert parse_spec(raw).monitor is None
    assert "monitor" not in plain_spec(ArtifactSpec.model_validate(raw))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"scores": ""}, "monitor: the table has no scores, at least one is needed"),
        ({"scores": "AgABAA=="}, "monitor: scores are not in ascending order"),
        ({"scores": "not base64!"}, "monitor: scores cannot be decoded"),
        ({"scores": "AAAB"}, "monitor: scores cannot be decoded"),
        ({"lowest": float("nan")}, "monitor: lowest is nan, expected a finite number"),
        ({"step": -1.0}, "monitor: step is -1.0, expected a finite number, not negative"),
        ({"threshold": float("inf")}, "monitor: threshold is inf, expected a finite number"),
        ({"window": 0}, "monitor: window is 0, expected 1 to 1000"),
        ({"run_length": 0}, "monitor: run_length is 0, expected 1 to"),
    ],
)
def test_a_wrong_table_is_refused(changed: dict[str, object], message: str) -> None:
    """By the runtime, and by `verify`, which reads the same file with the compiler's types."""
    raw = fields(monitor={**asdict(TABLE), **changed})
    with pytest.raises(InputRejected, match=message):
        parse_spec(raw)
    with pytest.raises(ValidationError, match=f"{message}|Input should be a finite number"):
        ArtifactSpec.model_validate(raw)


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"drift": "high"}, "drift is 'high', expected int or float"), ({"width": 3}, "unknown field width")],
)
def test_a_foreign_table_is_refused(changed: dict[str, object], message: str) -> None:
    """Fields of another type or name."""
    with pytest.raises(InputRejected, match=f"artifact.json: monitor: {message}"):
        parse_spec(fields(monitor={**asdict(TABLE), **changed}))


def test_an_integer_threshold_is_a_number() -> None:
    """JSON writers may drop the point."""
    assert parse_spec(fields(threshold=3)).threshold == 3.0


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"schema_version": 2}, "schema_version 2, but this budgetc reads version 1"),
        ({"treshold": 1}, "unknown field treshold"),
        ({"threshold": float("nan")}, "threshold is nan, expected a finite number"),
        ({"threshold": "high"}, "threshold is 'high', expected int or float"),
        ({"threads": 0}, "threads is 0, expected 1 to 256"),
        ({"threads": True}, "threads is True, expected int"),
        ({"map": 3}, "map is 3, expected str or null"),
        ({"model": "../../etc/passwd"}, "expected the name of a file beside"),
        ({"preprocessing": {"height": 4}}, "field 'width' is missing"),
        (
            {"preprocessing": {"height": 4, "width": 4, "resize": "area"}},
            "resize is 'area', expected 'pillow-bilinear'",
        ),
        ({"preprocessing": {"height": 4, "width": 4, "crop": 2}}, "preprocessing: unknown field crop"),
        ({"session": []}, r"session is \[\], expected dict"),
        ({"session": {"arena": "huge"}}, "session: arena is 'huge', expected power-of-two or as-requested"),
        ({"session": {"trim": 1}}, "session: trim is 1, expected true or false"),
        ({"session": {"allocator": "mine"}}, "session: unknown field allocator"),
        ({"preprocessing": [4, 4]}, r"preprocessing is \[4, 4\], expected dict"),
    ],
)
def test_wrong_field_is_named(changed: dict[str, Any], message: str) -> None:
    """The error says which field holds what, and what it should hold."""
    with pytest.raises(InputRejected, match=message):
        parse_spec(fields(**changed))


@pytest.mark.parametrize("name", ["detector", "model_sha256", "preprocessing", "threshold", "threads"])
def test_missing_field_is_named(name: str) -> None:
    """A field without a default must be there."""
    raw = fields()
    del raw[name]
    with pytest.raises(InputRejected, match=f"field '{name}' is missing"):
        parse_spec(raw)


def test_list_is_no_specification() -> None:
    """JSON that is not an object is refused."""
    with pytest.raises(InputRejected, match="expected an object, found list"):
        parse_spec([])


def test_missing_file_is_named(tmp_path: Path) -> None:
    """The path is in the message."""
    with pytest.raises(InputRejected, match=r"artifact\.json: not found"):
        read_spec(tmp_path / "artifact.json")


@pytest.mark.parametrize("text", [json.dumps(fields())[:-20], "", "\x00", "[" * 100_000])
def test_damaged_file_is_refused(tmp_path: Path, text: str) -> None:
    """A cut, empty, binary or endlessly nested file is not JSON that can be read."""
    (tmp_path / "artifact.json").write_text(text)
    with pytest.raises(InputRejected, match="cannot be read as JSON"):
        read_spec(tmp_path / "artifact.json")
