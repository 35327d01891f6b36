"""What a board shall measure, as a zip file: the same for a cable and for a USB stick."""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from budgetc.core.layout import ARTIFACT, MODEL
from budgetc.core.plan import fingerprint
from budgetc.core.target import Target
from budgetc.errors import UsageError
from budgetc.measurement.board.opset import needed_version
from budgetc.runtime import (
    device_engine,
    device_facts,
    device_flow,
    device_lock,
    device_measure,
    device_score,
    device_worker,
)
from budgetc.runtime.device_facts import numbers
from budgetc.runtime.device_flow import INSTALL
from budgetc.runtime.spec import read_spec

SCRIPTS: Mapping[str, str] = {
    "run_me.py": str(device_measure.__file__),
    "worker.py": str(device_worker.__file__),
    "lock.py": str(device_lock.__file__),
    "facts.py": str(device_facts.__file__),
    "score.py": str(device_score.__file__),
    "engine.py": str(device_engine.__file__),
}
_MOTION: Mapping[str, str] = {"flow.py": str(device_flow.__file__)}
"""What detectors of motion need besides."""
_README = """\
Measures a detector on this board. Nothing is installed. Outside of this directory only a lock file is made
(/tmp/budgetc-board.lock), temporary files are removed, and runtimes keep caches of their own, such as an engine.

1. Unpack the zip on the board.
2. In it: python3 run_me.py          (needs {needs}, numpy{opencv} and Pillow)
3. Bring results.json back, and there: budgetc {command} --import results.json
"""
_SAME_TIME = (1980, 1, 1, 0, 0, 0)
"""Of every file in the zip, so that equal jobs are equal files; a board may be in 1970 anyway."""


@dataclass(frozen=True, slots=True)
class Job:
    """Detectors and images, and what to find out about them."""

    subjects: Mapping[str, Path]
    """Name -> directory with the graph and its `artifact.json`."""
    images: Sequence[Path]
    """Encoded files; of detectors of motion the frames of one clip, in order."""
    do: tuple[dict[str, Any], ...]
    """Parts, as `run_me.py` knows them."""
    target: Target | None = None
    """Whose runtime it is; None: onnxruntime."""
    load: int = 0
    """Busy processes beside."""
    deadline_s: float = 1800.0
    lock_wait_s: float = 0.0
    """How long the job may wait for another one on the board."""
    command: str = "measure FILE"
    """Named in the README of a kit."""

    def packed(self) -> "Packed":
        """As a zip file.

        Raises:
            UsageError: no images.
        """
        if not self.images:
            raise UsageError("no images to measure with; give at least one encoded image file")
        moving = self.moving
        scripts = {**SCRIPTS, **_MOTION} if moving else SCRIPTS
        files = {name: Path(path).read_bytes() for name, path in scripts.items()}
        for name, directory in self.subjects.items():
            files[f"{name}/{MODEL}"] = (directory / MODEL).read_bytes()
            files[f"{name}/config.json"] = device_config(directory / ARTIFACT, self.target)
        pictures = {f"images/{number:02}{path.suffix}": path.read_bytes() for number, path in enumerate(self.images)}
        files |= pictures
        digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
        needed = self._onnxruntime()
        job = {"files": digests, "images": list(pictures), "do": list(self.do), "load": self.load,
               "deadline_s": self.deadline_s, "lock_wait_s": self.lock_wait_s, "onnxruntime": needed,
               "opencv": INSTALL if moving else None}  # fmt: skip
        name = fingerprint(job)[:16]
        files["job.json"] = json.dumps({"id": name, **job}, indent=1).encode()
        files["README.txt"] = _README.format(
            command=self.command,
            needs=f"onnxruntime {needed} or newer for Python 3.7 or newer"
            if needed
            else "Python 3.6 or newer, a runtime",
            opencv=", OpenCV" if moving else "",
        ).encode()
        return Packed(name, digests, _zipped(files), needed)

    @property
    def moving(self) -> bool:
        """Whether a detector reads motion, and so needs OpenCV."""
        return any(read_spec(directory / ARTIFACT).flow is not None for directory in self.subjects.values())

    def _onnxruntime(self) -> str | None:
        """The oldest onnxruntime that takes every graph; None where another runtime does."""
        if self.target is not None and self.target.runtime != "onnxruntime":
            return None
        needed = (needed_version((directory / MODEL).read_bytes()) for directory in self.subjects.values())
        return max(filter(None, needed), key=numbers, default=None)


@dataclass(frozen=True, slots=True)
class Packed:
    """A job as bytes."""

    id: str
    """Named after the content: the same job is found again."""
    files: Mapping[str, str]
    """Name in the job -> sha256."""
    data: bytes
    onnxruntime: str | None = None
    """The oldest that takes every graph."""


def device_config(artifact: Path, target: Target | None) -> bytes:
    """config.json of a board: `artifact.json`, and how TensorRT builds its engine where that is the runtime."""
    if target is None or target.runtime != "tensorrt":
        return artifact.read_bytes()
    fields = json.loads(artifact.read_text(encoding="utf-8"))
    return json.dumps({**fields, "runtime": "tensorrt", "fp16": target.compute_dtype == "fp16"}).encode()


def _zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(name, _SAME_TIME), data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
