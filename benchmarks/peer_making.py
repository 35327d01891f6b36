"""Environments of the peers' tools, and the files that these make."""

import json
import os
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from peer_lines import MAX_DROP  # beside this script, as the next one
from peer_race import PROBE, Contestant

from budgetc.candidate import sha256
from budgetc.core.dataset import Dataset, evenly
from budgetc.core.plan import fingerprint
from budgetc.load.cpu import host_cpu, weight_levels_for
from budgetc.report.schema import ArtifactSpec, Preprocessing, plain_spec
from budgetc.runtime.spec import Spec

HERE = Path(__file__).parent
MODELOPT = "modelopt"
_TIMEOUT_S = 2700
_QUIET = {"OLIVE_DISABLE_TELEMETRY": "1", "NNCF_CI": "1", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
"""Nobody is told of the run, and no tool computes with more threads than are measured."""


class PeerFailed(Exception):
    """A peer cannot be installed, or made no file: with the reason."""


@dataclass(frozen=True)
class Kitchen:
    """Where peers are made."""

    environments: Path
    folder: Path
    dataset: Dataset
    spec: Spec
    """Of the FP32 baseline: what its compressed forms take and return."""
    calibration: int | None = None
    """At most so many normals."""

    def make(self, tool: str, model: Path, size: tuple[int, int], *, name: str | None = None) -> Contestant:
        """What a tool makes of an FP32 ONNX file; the same request is carried out once.

        Raises:
            PeerFailed: the tool cannot be installed, refuses the file, or takes too long.
        """
        python = environment(self.environments / _of(tool), _requirements(tool))
        images = self._images(size)
        request = {
            "tool": tool, "images": str(images), "max_drop": MAX_DROP,
            "reduce_range": weight_levels_for(*host_cpu())[0] < 127,
        }  # fmt: skip
        scripts = ("peer_tools.py", "peer_olive.py") if tool == "olive" else ("peer_tools.py",)
        sources = [path.read_text(encoding="utf-8") for path in (_requirements(tool), *map(HERE.joinpath, scripts))]
        key = fingerprint([request, sha256(model.read_bytes()), sources])
        out = self.folder / f"{tool}-{key[:12]}"
        if not (out / "note.txt").exists():
            out.mkdir(parents=True, exist_ok=True)
            given = out / "given.onnx"
            shutil.copy(model, given)  # some tools write into the file that they are given
            carry_out(python, {**request, "model": str(given), "out": str(out)}, out)
            given.unlink()
        return self._contestant(tool, name or tool, out, size=size, python=python)

    def score(self, contestant: Contestant, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        """(n,) scores of resized pixels (n, 3, height, width) through OpenVINO.

        Raises:
            PeerFailed: it gives none.
        """
        assert contestant.python is not None, "onnxruntime is here"
        given, taken = self.folder / "pixels.npy", self.folder / "scores.npy"
        np.save(given, pixels)
        run([str(contestant.python), str(PROBE), "--score", str(contestant.directory), str(given), str(taken)])
        scores: NDArray[np.float64] = np.load(taken).astype(np.float64)
        return scores

    def _images(self, size: tuple[int, int]) -> Path:
        key = fingerprint([self.dataset.digest, size, self.calibration])
        path = self.folder / f"images-{key[:12]}.npz"
        if not path.exists():
            normals = self.dataset.images("calibration", size)
            chosen = evenly(len(normals), self.calibration or len(normals))
            np.savez(path, calibration=normals[chosen], selection=self.dataset.images("selection", size),
                     label=self.dataset.labels("selection"))  # fmt: skip
        return path

    def _contestant(self, tool: str, name: str, out: Path, *, size: tuple[int, int], python: Path) -> Contestant:
        xml = (out / "model.xml").exists()
        model = "model.xml" if xml else "model.onnx"
        spec = ArtifactSpec(
            detector=self.spec.detector, model=model, model_sha256=sha256((out / model).read_bytes()),
            map=self.spec.map, threshold=0.0, threads=1,
            preprocessing=Preprocessing(height=size[0], width=size[1]),
        )  # fmt: skip
        (out / "artifact.json").write_text(json.dumps(plain_spec(spec)), encoding="utf-8")
        files = (model, "model.bin") if xml else (model,)
        note = (out / "note.txt").read_text(encoding="utf-8")
        if tool == "openvino_accuracy":
            # NNCF validates with FP32, also where OpenVINO would take BF16: so it has to run.
            (out / "precision.txt").write_text("f32", encoding="utf-8")
            note += ", runs with FP32 floats"
        return Contestant(name, out, files, note, python if xml else None)


def _of(tool: str) -> str:
    return tool if tool == MODELOPT else "peers"


def _requirements(tool: str) -> Path:
    return HERE / ("peers-modelopt-requirements.txt" if tool == MODELOPT else "peers-requirements.txt")


def environment(folder: Path, wanted: Path) -> Path:
    """The Python of an environment, which is built from its requirements where it is missing or has others.

    Raises:
        PeerFailed: pip cannot install what is asked for.
    """
    python, stamp = folder / "bin" / "python", folder / "installed.txt"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted.read_text(encoding="utf-8"):
        venv.create(folder, with_pip=True)
        run([str(python), "-m", "pip", "install", "--quiet", "-r", str(wanted)])
        stamp.write_text(wanted.read_text(encoding="utf-8"), encoding="utf-8")
    return python


def carry_out(python: Path, request: Mapping[str, object], out: Path) -> None:
    """Let a tool make its file in `out`.

    Raises:
        PeerFailed: it does not.
    """
    path = out / "request.json"
    path.write_text(json.dumps(request), encoding="utf-8")
    started = time.monotonic()
    run([str(python), str(HERE / "peer_tools.py"), str(path)])
    print(f"{request['tool']}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)


def run(command: Sequence[str]) -> None:
    """Run to the end.

    Raises:
        PeerFailed: with the last thing that it said.
    """
    path = os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    surroundings = {**os.environ, **_QUIET, "PYTHONPATH": path}
    try:
        done = subprocess.run(
            command, env=surroundings, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", timeout=_TIMEOUT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise PeerFailed(f"not done in {_TIMEOUT_S} s") from error
    if done.returncode != 0:
        said = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        how = f"ended with code {done.returncode} (-9: often the kernel, out of memory)"
        raise PeerFailed(f"{how}; it said: {said[-1] if said else 'nothing'}")
