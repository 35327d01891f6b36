"""One plan -> a built, priced and scored file: the unit of work of a search."""

import copy
import hashlib
import io
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from budgetc.core.dataset import Dataset, SplitName, evenly
from budgetc.core.layout import ARTIFACT, MODEL
from budgetc.core.plan import Distill, Fp16, Plan, Prune, Quantize, Step, fingerprint
from budgetc.core.target import Target
from budgetc.detectors.detector import Detector, score_images
from budgetc.detectors.families import bundle, from_bundle
from budgetc.export.gate import check_parity
from budgetc.export.onnx_file import Exported, export_detector
from budgetc.measurement.host import device
from budgetc.measurement.quality import Scored, fit_threshold, score_pixels
from budgetc.measurement.size import deployed_bytes
from budgetc.passes.apply import apply_step
from budgetc.passes.work import OutputCache, Work
from budgetc.report.schema import ArtifactSpec, Preprocessing, StepRecord
from budgetc.runtime.artifact import load_artifact
from budgetc.store.run_directory import RunDirectory
from budgetc.training.loop import Progress, silent
from budgetc.training.pictures import Pictures, make_pictures

QUICK_SHARE = 0.3
"""Epochs of the quick rung over those of the full one."""
_GOLDEN = 32
"""Calibration images on which the exported file and PyTorch must agree."""
_TOLERANCE = {"fp32": 2e-3, "int8": 0.15}
"""Largest difference of scores over their range. One INT8 step may flip where float sums are added in another
order, and a maximum over a product of maps amplifies it."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """What building any candidate of one compilation needs."""

    baseline: Detector
    dataset: Dataset
    target: Target
    run: RunDirectory
    seed: int
    key: str
    """Digest of the inputs that a training depends on: model, data, versions, threads, weight levels."""
    progress: Progress = silent
    trained: dict[str, torch.nn.Module] = field(default_factory=dict)
    outputs: OutputCache = field(default_factory=OutputCache)
    pictures: dict[tuple[int, int], Pictures] = field(default_factory=dict)

    def work(self, effort: float, seed: int) -> Work:
        """Data and memory of the passes, at a share of the epochs."""
        return Work(
            pictures=self.pictures_at,
            calibration=lambda size: self.dataset.images("calibration", size),
            baseline=self.baseline,
            weight_levels=127 if self.target.weight_levels == "detect" else self.target.weight_levels,
            effort=effort,
            seed=seed,
            cache=self.outputs,
            trained=self.trained,
            progress=self.progress,
        )

    def pictures_at(self, size: tuple[int, int]) -> Pictures:
        """Training pictures at an input size, made once."""
        if size not in self.pictures:
            groups = [sample.group for sample in self.dataset.samples["train"]]
            images = self.dataset.images("train", size)
            self.pictures[size] = make_pictures(images, groups, seed=self.seed)
        return self.pictures[size]


@dataclass(frozen=True, slots=True)
class Built:
    """A candidate's detector and what each step did."""

    detector: Detector
    trail: tuple[StepRecord, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """A candidate as files, ready to be measured."""

    directory: Path
    size: int
    """Bytes of all deployed files."""
    structure: str
    parameters: int
    threshold: float


def training_key(plan: Plan, shop: Workshop, effort: float) -> str | None:
    """What a plan's training depends on: plans that differ only after their last training step share it.

    None where nothing is trained.
    """
    steps = _up_to_training(plan)
    if effort == 0 or not steps:
        return None
    return fingerprint(["training", shop.key, [step.model_dump() for step in steps], plan.seed, effort])


def build(plan: Plan, shop: Workshop, effort: float) -> Built:
    """The detector of a plan at a share of its epochs; trained networks come from the store when they are there."""
    key = training_key(plan, shop, effort)
    if key is None:
        return _carry_out(plan.steps, Built(shop.baseline, ()), shop.work(effort, plan.seed))
    steps = _up_to_training(plan)
    trained = _stored(key, shop.run)
    if trained is None:
        trained = _carry_out(steps, Built(shop.baseline, ()), shop.work(effort, plan.seed))
        _store(key, trained, shop.run)
    return _carry_out(plan.steps[len(steps) :], trained, shop.work(effort, plan.seed))


def _up_to_training(plan: Plan) -> tuple[Step, ...]:
    """The steps up to and with the last one that trains."""
    at = [number for number, step in enumerate(plan.steps, 1) if isinstance(step, (Distill, Prune))]
    return plan.steps[: at[-1]] if at else ()


def _stored(key: str, run: RunDirectory) -> Built | None:
    blob, record = run.get_blob(key), run.get_json(key)
    if blob is None or not isinstance(record, list):
        return None
    data: Mapping[str, Any] = torch.load(io.BytesIO(blob), weights_only=True)
    return Built(from_bundle(data), tuple(StepRecord.model_validate(step) for step in record))


def _store(key: str, built: Built, run: RunDirectory) -> None:
    buffer = io.BytesIO()
    torch.save(bundle(built.detector), buffer)
    run.put_blob(key, buffer.getvalue())
    run.put_json(key, [step.model_dump() for step in built.trail])


def _carry_out(steps: tuple[Step, ...], start: Built, work: Work) -> Built:
    detector, trail = start.detector, list(start.trail)
    for step in steps:
        work.curves.clear()
        detector, record = _one_step(detector, step, work)
        trail.append(record)
    return Built(detector, tuple(trail))


def _one_step(detector: Detector, step: Step, work: Work) -> tuple[Detector, StepRecord]:
    started = time.monotonic()
    result = apply_step(detector, step, work)
    last = work.curves[-1] if work.curves else None
    record = StepRecord(
        step=Plan(recipe="", steps=(step,), seed=0).title(),
        seconds=round(time.monotonic() - started, 3),
        parameters=result.parameters(),
        training_loss=last.training_loss if last else None,
        held_out_loss=last.held_out_loss if last else None,
        epochs=sum(curve.epochs for curve in work.curves),
    )
    return result, record


def price(plan: Plan, shop: Workshop, directory: Path) -> Written:
    """The untrained structure as files: what it costs, before a gradient step."""
    built = build(plan, shop, 0.0).detector
    # Passes hand on networks that they leave as they are, the baseline's too: only a copy may be written to.
    detector = replace(built, module=copy.deepcopy(built.module))
    generator = torch.Generator().manual_seed(plan.seed)
    with torch.no_grad():
        for weight in detector.module.parameters():
            # Exporters merge equal tensors, and untrained biases are all zero: tell them apart.
            if not weight.any():
                weight.copy_(torch.randn(weight.shape, generator=generator) * 1e-3)
    return write(
        export_detector(detector, shop.target), detector, directory, threshold=0.0, threads=shop.target.threads
    )


def finish(built: Built, shop: Workshop, directory: Path) -> Written:
    """Export, fit the threshold on calibration normals through the file, and hold it against PyTorch.

    Raises:
        BudgetcError: the file's scores are not those of the network.
    """
    detector = built.detector
    exported = export_detector(detector, shop.target)
    write(exported, detector, directory, threshold=0.0, threads=shop.target.threads)
    images = shop.dataset.images("calibration", detector.config.input_size)
    scores = score_pixels(load_artifact(directory), images)
    integer = any(known.compute == "int8" for known in detector.formats.values())
    golden = evenly(len(images), _GOLDEN)
    reference = score_images(detector.deployed(), images[golden])
    check_parity(scores[golden].astype(np.float32), reference, _TOLERANCE["int8" if integer else "fp32"])
    return write(exported, detector, directory, threshold=fit_threshold(scores), threads=shop.target.threads)


def write(exported: Exported, detector: Detector, directory: Path, *, threshold: float, threads: int) -> Written:
    """`model.onnx` and `artifact.json` in a directory."""
    height, width = detector.config.input_size
    spec = ArtifactSpec(
        detector=detector.family,
        model_sha256=sha256(exported.model),
        map="map" if "map" in exported.outputs else None,
        preprocessing=Preprocessing(height=height, width=width),
        threshold=threshold,
        threads=threads,
    )
    text = json.dumps(spec.model_dump(), separators=(",", ":"))
    # Padded to the longest way to write a float, so that the size does not depend on the threshold.
    text += " " * (25 - len(repr(threshold))) + "\n"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / MODEL).write_bytes(exported.model)
    (directory / ARTIFACT).write_text(text, encoding="utf-8")
    size = sum(deployed_bytes(directory).values())
    return Written(directory, size, exported.structure, exported.parameters, threshold)


def sha256(data: bytes) -> str:
    """Hex digest."""
    return hashlib.sha256(data).hexdigest()


def score_split(written: Written, shop: Workshop, split: SplitName) -> Scored:
    """Scores of a split through the file in its runtime."""
    artifact = load_artifact(written.directory)
    size = (artifact.spec.height, artifact.spec.width)
    scores = score_pixels(artifact, shop.dataset.images(split, size))
    return Scored(split, shop.dataset.samples[split], scores, device(shop.target.threads))


def applicable(plan: Plan, family: str, target: Target) -> str | None:
    """Why a plan cannot be built for this family and target; None where it can."""
    for step in plan.steps:
        match step:
            case Quantize() if "int8" not in target.dtypes:
                return f"target {target.name} has no INT8 kernels"
            case Fp16() if "fp16" not in target.dtypes:
                return f"target {target.name} does not take FP16 weights"
            case Quantize() if family == "vae" and step.scope == "student":
                return "a VAE has one network: the scope makes no difference"
            case Distill() | Prune() if family == "vae" and step.teacher is not None:
                return "a VAE deploys no teacher"
            case _:
                pass
    return None
