"""A model in OpenVINO, measured and scored as artifacts are: in the environment of the tools, with one thread.

    python peer_openvino.py DIR IMAGE...                 answers like `budgetc.runtime.probe`
    python peer_openvino.py --score DIR PIXELS SCORES    scores an .npy (n, 3, height, width) uint8 into another one

DIR holds `artifact.json`, whose model is the .xml, and `precision.txt` where its floats must be of that type.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray

from budgetc.runtime import probe
from budgetc.runtime.artifact import Artifact
from budgetc.runtime.spec import read_spec


class Session:
    """What `Artifact` asks of an onnxruntime session."""

    def __init__(self, model: Path) -> None:
        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
        precision = model.with_name("precision.txt")
        if precision.exists():  # else OpenVINO's own choice for this processor, which is what its users get
            settings["INFERENCE_PRECISION_HINT"] = precision.read_text(encoding="utf-8")
        self._request = openvino.Core().compile_model(str(model), "CPU", settings).create_infer_request()

    def run(self, names: Sequence[str], feeds: Mapping[str, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """As `onnxruntime.InferenceSession.run`; the outputs are views that the next call overwrites."""
        results = self._request.infer(dict(feeds), share_inputs=True, share_outputs=True)
        return [results[name] for name in names]


def load_artifact(path: str | os.PathLike[str]) -> Artifact:
    """In the place of `budgetc.runtime.load_artifact`."""
    spec = read_spec(Path(path) / "artifact.json")
    session: Any = Session(Path(path) / spec.model)
    return Artifact(spec, session)


def main() -> None:
    """One of both."""
    if sys.argv[1] == "--score":
        directory, pixels, scores = sys.argv[2:]
        artifact = load_artifact(directory)
        np.save(scores, [artifact.score_pixels(image).score for image in np.load(pixels)])
        return
    probe.load_artifact = load_artifact  # type: ignore[attr-defined, assignment]  # of the same signature
    probe.main(sys.argv[1:])


if __name__ == "__main__":
    main()
