"""`report.json`, `report.md` and `report.html` on disk, and the published schemas."""

import hashlib
import json
from pathlib import Path

import jsonschema
import pytest
from pydantic import ValidationError

from budgetc.report.emit import artifact_json_schema, report_json, report_json_schema, write_report
from budgetc.report.html import render_html
from budgetc.report.markdown import render_markdown
from budgetc.report.schema import Report
from tests.report.example import exhibits, make_report, measured, shown
from tests.report.regenerate_schemas import texts


def test_the_report_reads_back_as_itself(report: Report) -> None:
    """Also limits that are no round numbers."""
    odd = report.budget.model_copy(
        update={"limits": report.budget.limits.model_copy(update={"latency_p95": 100 / 3, "artifact_size": 1234567})}
    )
    for one in (report, make_report(budget=odd), make_report(exhibits=exhibits())):
        assert Report.model_validate_json(report_json(one)) == one


def test_the_order_is_stable(report: Report) -> None:
    """Fields in the order of the schema; writing what was read gives the same bytes."""
    text = report_json(report)
    assert list(json.loads(text)) == list(Report.model_fields)
    assert report_json(Report.model_validate_json(text)) == text


def test_all_forms_are_written(report: Report, tmp_path: Path) -> None:
    """The JSON holds the digests of Markdown and page; pictures are in the page alone."""
    written = write_report(report, tmp_path, [shown()])
    pages = {name: (tmp_path / name).read_bytes() for name in ("report.md", "report.html")}
    assert pages["report.md"].decode() == render_markdown(report)
    assert pages["report.html"].decode() == render_html(report, [shown()])
    assert {name: written.outputs[name] for name in pages} == {
        name: hashlib.sha256(page).hexdigest() for name, page in pages.items()
    }
    assert Report.model_validate_json((tmp_path / "report.json").read_bytes()) == written


def test_a_report_keeps_its_own_schema(report: Report) -> None:
    """As anybody's validator sees it, in any language."""
    schema = report_json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    for one in (report, make_report(exhibits=exhibits())):
        jsonschema.validate(json.loads(report_json(one)), schema)
    stopped = make_report(complete=False, baseline=None, artifact=None, comparison=None, chosen=None)
    jsonschema.validate(json.loads(report_json(stopped)), schema)


def test_an_artifact_keeps_its_own_schema(out: Path) -> None:
    """The file on disk, not the object."""
    jsonschema.validate(json.loads((out / "artifact.json").read_bytes()), artifact_json_schema())


@pytest.mark.parametrize("path", texts(), ids=lambda path: path.name)
def test_the_file_formats_do_not_change_unnoticed(path: Path) -> None:
    """A changed format is a decision: readers of old files, `schema_version`, CHANGELOG."""
    again = "think of readers of old files, then run: python tests/report/regenerate_schemas.py"
    assert path.read_text(encoding="utf-8") == texts()[path], f"{path.name} changed: {again}"


def test_not_a_number_never_gets_in() -> None:
    """JSON has no word for it."""
    with pytest.raises(ValidationError, match="finite number"):
        measured("latency_p50", float("nan"), "ms")
