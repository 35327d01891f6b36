"""What runs where the artifact runs: numpy, onnxruntime and Pillow, nothing else of budgetc but its errors."""

from budgetc.runtime.artifact import RUNTIME, Artifact, ScoredImage, install_artifact, load_artifact, load_model

__all__ = ["RUNTIME", "Artifact", "ScoredImage", "install_artifact", "load_artifact", "load_model"]
