"""Writes `report.json` and `report.md`, and says what the files of an artifact look like."""

import hashlib
import json
from pathlib import Path
from typing import Any

from budgetc.core.layout import REPORT_JSON, REPORT_MARKDOWN
from budgetc.report.markdown import render_markdown
from budgetc.report.schema import ArtifactSpec, Report

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def write_report(report: Report, directory: Path) -> Report:
    """Write both forms of the report, last of all files of the artifact.

    Returns the report as written: with the digest of `report.md` among its outputs.
    """
    markdown = render_markdown(report).encode()
    outputs = {**report.outputs, REPORT_MARKDOWN: hashlib.sha256(markdown).hexdigest()}
    final = report.model_copy(update={"outputs": dict(sorted(outputs.items()))})
    (directory / REPORT_MARKDOWN).write_bytes(markdown)
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
