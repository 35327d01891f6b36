"""Writes `report.json`, `report.md` and `report.html`, and says what the files of an artifact look like."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from budgetc.core.layout import REPORT_HTML, REPORT_JSON, REPORT_MARKDOWN
from budgetc.report.html import render_html
from budgetc.report.markdown import render_markdown
from budgetc.report.pictures import Shown
from budgetc.report.schema import ArtifactSpec, Report

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def write_report(report: Report, directory: Path, pictures: Sequence[Shown] = ()) -> Report:
    """Write all forms of the report, last of all files of the artifact.

    Returns the report as written: with the digests of `report.md` and `report.html` among its outputs.

    Args:
        pictures: for the page alone.
    """
    pages = {
        REPORT_MARKDOWN: render_markdown(report).encode(),
        REPORT_HTML: render_html(report, pictures).encode(),
    }
    digests = {name: hashlib.sha256(page).hexdigest() for name, page in pages.items()}
    final = report.model_copy(update={"outputs": dict(sorted({**report.outputs, **digests}.items()))})
    for name, page in pages.items():
        (directory / name).write_bytes(page)
    (directory / REPORT_JSON).write_text(report_json(final), encoding="utf-8")
    return final


def report_json(report: Report) -> str:
    """The report as JSON text, fields in the order of the schema; reads back as the same report."""
    return json.dumps(report.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def report_json_schema() -> dict[str, Any]:
    """JSON Schema of `report.json`."""
    return {"$schema": _DIALECT, **Report.model_json_schema(mode="serialization")}


def artifact_json_schema() -> dict[str, Any]:
    """JSON Schema of `artifact.json`."""
    return {"$schema": _DIALECT, **ArtifactSpec.model_json_schema(mode="serialization")}
