"""Names of the files in OUT, the directory of an artifact: what it may hold, and what it must hold."""

MODEL = "model.onnx"
ARTIFACT = "artifact.json"
REPORT_JSON = "report.json"
REPORT_MARKDOWN = "report.md"
REPORT_HTML = "report.html"
DEVICE_SCRIPT = "device/score.py"
DEVICE_CONFIG = "device/config.json"
DEVICE_ENGINE = "device/engine.py"
"""Only where the target runs TensorRT."""
DEVICE_FLOW = "device/flow.py"
"""Only of detectors of motion."""

DEPLOYED = (MODEL, ARTIFACT)
"""What the detector is, and so what counts as its size. `device/` is the runtime's script, the same for all."""
REPORT_FILES = frozenset({REPORT_JSON, REPORT_MARKDOWN, REPORT_HTML})
"""Written for people and gates; never deployed."""
ARTIFACT_FILES = frozenset({MODEL, ARTIFACT, DEVICE_SCRIPT, DEVICE_CONFIG})
"""What `report.json` lists with digests, besides the forms of the report itself."""
OUT_FILES = REPORT_FILES | ARTIFACT_FILES | {DEVICE_ENGINE, DEVICE_FLOW}
"""Everything OUT may hold."""
