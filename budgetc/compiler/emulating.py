"""An artifact on its target's instruction set: what `budgetc measure --emulate` does, and compile where it can."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from budgetc.candidate import check_agreement
from budgetc.compiler.measuring import as_artifact, noise_images
from budgetc.core.frozen import Frozen
from budgetc.core.layout import ARTIFACT
from budgetc.core.measurement import Measurement
from budgetc.core.quality import Quality
from budgetc.core.target import Target
from budgetc.errors import BudgetcError, UsageError
from budgetc.load.config import load_target
from budgetc.load.datasets import load_test_part
from budgetc.load.motion import as_read_by
from budgetc.measurement.emulated import score_emulated, score_split_emulated
from budgetc.measurement.emulator import Emulator, emulator
from budgetc.measurement.host import device
from budgetc.measurement.motion import motion_of
from budgetc.measurement.quality import Scored, Scores, auroc_loss, loss_between, quality_of, score_pixels
from budgetc.runtime.artifact import load_artifact
from budgetc.runtime.spec import read_spec
from budgetc.training.loop import Progress, silent


class Agreement(Frozen):
    """Scores of the same images on this machine and on the emulated one."""

    n: int
    largest_difference: float
    """Over the range of this machine's scores."""
    median_difference: float
    decisions: int
    """Images that the threshold calls otherwise."""
    holds: bool
    problem: str | None = None


class Emulated(Frozen):
    """A detector on an emulated processor. Says nothing about time."""

    schema_version: int = 1
    file: str
    target: str
    device: str
    runtime: str
    agreement: Agreement
    quality: Quality | None = None
    """There, on all test pictures; None without data."""
    here: Quality | None = None
    """The same on this machine."""
    auroc_loss: Measurement | None = None
    """Of the mean AUROC, paired: here - there."""
    contents: dict[str, str]
    """What was fetched for it: file -> sha256."""


def emulate_file(
    file: str | Path, *, target: str | Path, data: str | Path | None = None, group: str | None = None,
    progress: Progress = silent,
) -> Emulated:  # fmt: skip
    """Scores of an artifact, or of a bundle exported for the target, by its device script under QEMU.

    Args:
        file: artifact directory or `model.pt`.
        target: name or path of a target whose file has `emulation`.
        data: its test pictures are scored, of a detector of motion its clips; without it noise of the input's size.
        group: regular expression that names the part or clip of a file, where no groups.csv does.
        progress: gets (what, done, of).

    Raises:
        UsageError: nothing emulates the target, or OpenCV is missing here.
        TargetUnreachable: QEMU or its environment is not there.
        InputRejected: the file is no detector, or the data is invalid.
    """
    settled = load_target(target).target
    with tempfile.TemporaryDirectory() as scratch:
        directory = as_artifact(Path(file), settled, Path(scratch) / "file")
        spec = read_spec(directory / ARTIFACT)
        artifact = load_artifact(directory, cache=False)  # or says that OpenCV is missing, before anything is fetched
        dataset = None if data is None else as_read_by(load_test_part(data, group=group), motion_of(spec))
        played = require_emulator(settled, flow=spec.flow is not None)
        if dataset is None:
            images = noise_images(directory, Path(scratch))
            here = np.array([artifact.score(path).score for path in images])
            known = ~np.isnan(here)  # the first frames of motion have no score
            there = score_emulated(directory, images, played, _shown(progress, int(known.sum())))
            there, here = there[known], here[known]
        else:
            shown = _shown(progress, len(dataset.samples["confirmation"]))
            there = score_split_emulated(directory, dataset, "confirmation", emulator=played, progress=shown)
            here = score_pixels(artifact, dataset.images("confirmation", (spec.height, spec.width)))
    agreement = agreement_of(there, here, spec.threshold)
    found = Emulated(file=str(file), target=settled.name, device=played.device, runtime=played.runtime,
                     agreement=agreement, contents=played.contents)  # fmt: skip
    if dataset is None:
        return found
    mine = Scored("test", dataset.samples["confirmation"], here, device(spec.threads))
    other = emulated_scores(mine, there, played)
    return found.model_copy(update={
        "quality": quality_of(other, spec.threshold, thresholds=spec.thresholds),
        "here": quality_of(mine, spec.threshold, thresholds=spec.thresholds),
        "auroc_loss": auroc_loss(loss_between(mine, other).mean, other),
    })  # fmt: skip


def _shown(progress: Progress, of: int) -> Callable[[int], None]:
    return lambda done: progress("emulating", done, of)


def require_emulator(target: Target, *, flow: bool = False) -> Emulator:
    """The emulator of a target, fetched if need be; `flow`: with OpenCV.

    Raises:
        UsageError: the target names none. TargetUnreachable: it is not there and cannot be fetched.
    """
    if target.emulation is None:
        raise UsageError(
            f"target {target.name} names no processor that can be emulated; `emulation:` in its file would, "
            "for a CPU under onnxruntime"
        )
    found = emulator(target.emulation, fetch=True, flow=flow)
    assert found is not None, "what is fetched is there"
    return found


def emulated_scores(here: Scored, there: Scores, played: Emulator) -> Scored:
    """The same samples with the scores of the emulated processor."""
    return replace(here, scores=there, device=played.device, kind="emulated", runtime=played.runtime)


def agreement_of(there: Scores, here: Scores, threshold: float) -> Agreement:
    """Whether two machines say the same, by the measure that exported INT8 files are held against PyTorch with.

    Of FP32 files, too: pictures are resized there by another Pillow. 11.3 and 13.0 differ by one level in a fifth of
    the pixels of many pictures, on the same processor.
    """
    problem = None
    try:
        check_agreement(there, here, integer=True)
    except BudgetcError as error:
        problem = str(error)
    differences = np.abs(there - here) / max(float(np.ptp(here)), 1e-12)
    return Agreement(
        n=len(here), largest_difference=float(differences.max()), median_difference=float(np.median(differences)),
        decisions=int(((there > threshold) != (here > threshold)).sum()), holds=problem is None, problem=problem,
    )  # fmt: skip
