"""Writes the golden copies of the file formats: `python tests/report/regenerate_schemas.py`, then review the diff."""

import json
from pathlib import Path

from budgetc.report.emit import artifact_json_schema, report_json_schema

GOLDEN = Path(__file__).parents[1] / "golden"


def texts() -> dict[Path, str]:
    """File -> what it should hold."""
    schemas = {"report.schema.json": report_json_schema(), "artifact.schema.json": artifact_json_schema()}
    return {GOLDEN / name: json.dumps(schema, indent=2) + "\n" for name, schema in schemas.items()}


if __name__ == "__main__":
    for path, text in texts().items():
        path.write_text(text, encoding="utf-8")
