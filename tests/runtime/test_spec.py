import json
from pathlib import Path
from typing import Any

import pytest

from budgetc.core.session import SessionOptions
from budgetc.errors import InputRejected
from budgetc.report.schema import ArtifactSpec, Preprocessing, plain_spec
from budgetc.runtime.spec import Session, parse_spec, read_spec

SESSION = SessionOptions(arena="as-requested", memory_pattern=False, blocked=False, trim=True, preoptimized=True)


def fields(**changed: Any) -> dict[str, Any]:
    spec = ArtifactSpec(
        detector="vae",
        model_sha256="0" * 64,
        map="heat",
        preprocessing=Preprocessing(height=48, width=64),
        threshold=1.25,
        threads=2,
        session=SESSION,
    )
    return {**plain_spec(spec), **changed}


def test_reads_what_the_compiler_writes() -> None:
    """Every field of ArtifactSpec arrives under the same name with the same value."""
    spec = parse_spec(fields())
    flat = {**fields(), **fields()["preprocessing"], "session": Session(**SESSION.model_dump())}
    assert {name: getattr(spec, name) for name in vars(spec)} == {name: flat[name] for name in vars(spec)}


def test_session_options_have_the_defaults_of_onnxruntime() -> None:
    """An artifact without the object, or with parts of it, is one of an older or a frugal writer."""
    raw = fields()
    del raw["session"]
    assert parse_spec(raw).session == Session() == Session(**SessionOptions().model_dump())
    assert parse_spec({**raw, "session": {"trim": True}}).session == Session(trim=True)
    assert "session" not in plain_spec(ArtifactSpec.model_validate({**raw, "session": SessionOptions()}))


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
