"""What runs where the artifact runs: numpy, onnxruntime and Pillow, nothing else of budgetc but its errors."""

from budgetc.runtime.artifact import RUNTIME, Artifact, ScoredImage, install_artifact, load_artifact, load_model
from budgetc.runtime.monitor import Monitor, MonitorState, MonitorTable

__all__ = [
    "RUNTIME",
    "Artifact",
    "Monitor",
    "MonitorState",
    "MonitorTable",
    "ScoredImage",
    "install_artifact",
    "load_artifact",
    "load_model",
]
