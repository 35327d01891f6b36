"""Score data the detector never saw: what `budgetc evaluate` does."""

import csv
import io
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from budgetc.candidate import write
from budgetc.compiler.controlling import control_warnings, judge_controls
from budgetc.compiler.label_light import PROXY
from budgetc.core.dataset import Dataset
from budgetc.core.frozen import Frozen
from budgetc.core.layout import REPORT_JSON
from budgetc.core.measurement import Measurement
from budgetc.core.quality import Control, Quality
from budgetc.errors import BudgetcError, InputRejected
from budgetc.export.onnx_file import export_detector
from budgetc.load.config import load_target
from budgetc.load.datasets import content_digest, load_dataset, load_test_part
from budgetc.load.model import load_model
from budgetc.load.motion import as_read_by
from budgetc.measurement.controls import CONTROLS, Described, describe_images
from budgetc.measurement.host import device
from budgetc.measurement.motion import motion_of
from budgetc.measurement.pixels import score_maps
from budgetc.measurement.quality import (
    Scored,
    Scores,
    fit_threshold,
    parts_aurocs,
    quality_of,
    score_parts,
    score_pixels,
)
from budgetc.report.verify import read_report
from budgetc.runtime.artifact import Artifact, load_artifact
from budgetc.store.durable import write_durably
from budgetc.training.loop import Progress, silent


class Evaluation(Frozen):
    """How well a detector does on a data set."""

    schema_version: int = 1
    detector: str
    """Path that was evaluated."""
    data: str
    data_sha256: str
    quality: Quality
    parts: dict[str, Measurement] = {}
    """Mean AUROC of each output that the score is made of, and of their sum: `d_h`, `d_v`, `total`."""
    controls: tuple[Control, ...] = ()
    """What the size and four statistics of the images tell on the same images; here of the mean AUROC."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Subject:
    artifact: Artifact
    threshold: float | None
    thresholds: Mapping[str, float]
    """Of single categories; a bundle has none."""
    compiled_on: str | None
    """Digest of the data an artifact was compiled with."""


def evaluate_detector(
    detector: str | Path, *, data: str | Path, scores: str | Path | None = None, group: str | None = None,
    progress: Progress = silent,
) -> Evaluation:  # fmt: skip
    """AUROC with clustered bounds, pixel AUROC and AUPRO where there are maps and masks, false-positive rates at the
    thresholds, recall by defect type.

    Args:
        detector: an artifact's directory, or a bundle (which is exported for this machine's CPU first).
        data: all test pictures of it are scored.
        scores: CSV file to write: file, group, label, score.
        group: regular expression that names the part or clip of a file, where no groups.csv does.
        progress: gets (what, done, of).

    Raises:
        UsageError: nothing is at the path of the data.
        InputRejected: the detector or the data is invalid, or the bundle has no threshold and the data no normals to
            fit one on.
    """
    with tempfile.TemporaryDirectory() as scratch:
        subject = _subject(Path(detector), Path(scratch))
        dataset = as_read_by(load_test_part(data, group=group), motion_of(subject.artifact.spec))
        threshold = subject.threshold
        if threshold is None:
            threshold = _calibrated(subject.artifact, data, group)
        found, parts = _score(subject.artifact, dataset, progress)
        pixels = score_maps(
            subject.artifact, dataset, "confirmation", name="test",
            progress=lambda done: progress("comparing maps with masks", done, len(found.samples)),
        )  # fmt: skip
    if scores is not None:
        _write_scores(found, Path(scores))
    seen = subject.compiled_on is not None and subject.compiled_on in (dataset.digest, _whole_digest(data))
    controls = _controls(found, dataset, data, group)
    warning = "this is the data it was compiled with, selection included: the figures are optimistic"
    return Evaluation(
        detector=str(detector),
        data=str(data),
        data_sha256=dataset.digest,
        quality=quality_of(found, threshold, thresholds=subject.thresholds, pixels=pixels),
        parts=parts_aurocs(found, parts),
        controls=controls,
        warnings=(
            *([warning] if seen else []),
            *_all_alike(found.scores),
            *([PROXY] if dataset.synthetic else []),
            *control_warnings(controls),
        ),
    )


def _controls(found: Scored, dataset: Dataset, data: str | Path, group: str | None) -> tuple[Control, ...]:
    """Fitted on the data's own training normals; without them, records that say so."""
    try:
        whole = load_dataset(data, group=group)
    except BudgetcError as error:
        reason = f"cannot be fitted: the data has no training normals that budgetc accepts ({error})"
        return tuple(Control(control=name, auroc=None, reason=reason) for name in CONTROLS)
    train = Described("train", whole.samples["train"], describe_images(whole, "train"))
    judged = Described(found.split, found.samples, describe_images(dataset, "confirmation"))
    return judge_controls(train, judged, {"detector": found}, over="mean")


def _whole_digest(data: str | Path) -> str | None:
    """Digest of the data with its training part, as `compile` reads it; None where it has none."""
    try:
        return content_digest(data)
    except BudgetcError:
        return None


def _subject(path: Path, scratch: Path) -> _Subject:
    if path.is_dir():
        compiled_on = read_report(path).inputs.get("data") if (path / REPORT_JSON).is_file() else None
        artifact = load_artifact(path, cache=False)
        return _Subject(artifact, artifact.spec.threshold, artifact.spec.thresholds, compiled_on)
    detector = load_model(path).detector
    target = load_target("host-cpu").target
    threshold = detector.threshold
    written = write(
        export_detector(detector, target), detector, scratch, threshold=threshold or 0.0, threads=target.threads
    )
    return _Subject(load_artifact(written.directory, cache=False), threshold, {}, None)


def _calibrated(artifact: Artifact, data: str | Path, group: str | None) -> float:
    try:
        dataset = as_read_by(load_dataset(data, group=group), motion_of(artifact.spec))
    except InputRejected as error:
        raise InputRejected(
            f"{error}. The bundle has no threshold, and one is fitted on normals of train: mend them, or train the "
            "bundle with `budgetc train`, which writes one into it"
        ) from error
    size = (artifact.spec.height, artifact.spec.width)
    return fit_threshold(score_pixels(artifact, dataset.images("calibration", size)))


def _score(artifact: Artifact, dataset: Dataset, progress: Progress) -> tuple[Scored, dict[str, Scores]]:
    size = (artifact.spec.height, artifact.spec.width)
    images = dataset.images("confirmation", size)
    scores, parts = score_parts(artifact, images, lambda done: progress("scoring", done, len(images)))
    return Scored("test", dataset.samples["confirmation"], scores, device(artifact.spec.threads)), parts


def _all_alike(scores: Scores) -> list[str]:
    """A warning where an AUROC of .5 is not chance."""
    if len(scores) == 0 or np.ptp(scores) > 0:
        return []
    return [f"all {len(scores)} pictures have the score {scores[0]:g}: the detector tells nothing from anything; it "
            "was not trained, or its weights were lost when it was saved"]  # fmt: skip


def _write_scores(found: Scored, path: Path) -> None:
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(["file", "group", "label", "score"])
    for sample, score in zip(found.samples, found.scores, strict=True):
        table.writerow([sample.file, sample.group, sample.label, repr(float(score))])
    write_durably(path, text.getvalue().encode())
