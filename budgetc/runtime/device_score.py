"""Score images on a board: `python score.py IMAGE...` prints one JSON line an image.

Needs Python 3.6, numpy, onnxruntime and Pillow, nothing of budgetc. Reads config.json beside this file, else
artifact.json one directory up, and the graph that it names, from the same two places.
Exit codes: 0 all images scored, 2 no image given, 4 an image or the artifact cannot be used.
"""

import hashlib
import io
import json
import math
import os
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

HERE = os.path.dirname(os.path.abspath(__file__))
MAX_PIXELS = 64000000
BILINEAR = 2  # Image.BILINEAR in old Pillows, Image.Resampling.BILINEAR in new ones
FORMATS = ("PNG", "JPEG", "BMP", "PPM", "TIFF", "WEBP", "GIF")
SCHEMA_VERSION = 1


class Rejected(Exception):
    """An image or an artifact that cannot be used; the text says why."""


def find(*names: str) -> str:
    """The first of the names that exists beside this script or one directory up."""
    places = [os.path.join(HERE, names[0])] + [os.path.join(os.path.dirname(HERE), name) for name in names]
    for place in places:
        if os.path.isfile(place):
            return place
    raise Rejected("found none of " + ", ".join(places) + "; copy the whole artifact again")


class Detector:
    """The graph, its input size and its threshold."""

    def __init__(self) -> None:
        path = find("config.json", "artifact.json")
        with open(path, encoding="utf-8") as file:
            spec = json.load(file)
        if spec.get("schema_version", 1) != SCHEMA_VERSION:
            raise Rejected(f"{path}: schema_version is not {SCHEMA_VERSION}")
        model = find(spec.get("model", "model.onnx"))
        with open(model, "rb") as graph:
            if hashlib.sha256(graph.read()).hexdigest() != spec["model_sha256"]:
                raise Rejected(f"{model}: changed or damaged after it was compiled; copy it again")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = spec["threads"]
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 3
        if spec["threads"] > 1:
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.input = spec.get("input", "image")
        self.output = spec.get("score", "score")
        self.size = (spec["preprocessing"]["width"], spec["preprocessing"]["height"])
        self.threshold = float(spec["threshold"])

    def score(self, path: str) -> float:
        """Higher is more anomalous."""
        pixels = np.asarray(fit(read_rgb(path), self.size), dtype=np.uint8).transpose(2, 0, 1)
        inputs = np.ascontiguousarray(pixels[np.newaxis]).astype(np.float32) / np.float32(255)
        score = float(self.session.run([self.output], {self.input: inputs})[0].reshape(-1)[0])
        if not math.isfinite(score):
            raise Rejected(f"the graph returned the score {score}")
        return score


def read_rgb(path: str) -> Image.Image:
    """An upright RGB image; same rules as the compiler's own decoder."""
    try:
        with open(path, "rb") as file:
            image: Image.Image = Image.open(io.BytesIO(file.read()), formats=FORMATS)
        if image.size[0] * image.size[1] > MAX_PIXELS:
            raise Rejected("more than 64 megapixels; scale it down")
        image = ImageOps.exif_transpose(image)
        image.load()
    except Rejected:
        raise
    except Exception as error:  # decoders meet damaged bytes with a dozen exception types
        raise Rejected(f"not a readable image: {error}") from error
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise Rejected("32-bit pixels; save it with 8 or 16 bits a channel")
        image = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if image.mode == "F":
        raise Rejected("float pixels of unknown range; save it with 8 or 16 bits a channel")
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")
    return image if image.mode == "RGB" else image.convert("RGB")


def fit(image: Image.Image, size: "tuple[int, int]") -> Image.Image:
    """Bilinear resize to (width, height)."""
    return image if image.size == size else image.resize(size, BILINEAR)


def main(files: "list[str]") -> int:
    """Print one line a file; the exit code."""
    if not files:
        sys.stderr.write("usage: score.py IMAGE...\n")
        return 2
    try:
        detector = Detector()
    except Exception as error:  # whatever is wrong with the artifact, nothing can be scored
        sys.stderr.write(f"the artifact cannot be loaded: {error}\n")
        return 4
    code = 0
    for name in files:
        try:
            score = detector.score(name)
            line = {"file": name, "score": score, "anomalous": score > detector.threshold}
        except Rejected as error:
            line, code = {"file": name, "error": str(error)}, 4
        sys.stdout.write(json.dumps(line) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
