"""One plan -> a built, priced and scored file: the unit of work of a search.

Whatever took time is kept in the store under a key of everything that it depends on, and of nothing else: another
budget, target or output directory finds it there again.
"""

import copy
import hashlib
import io
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from budgetc.core.admissible import foreign_setting, misplaced
from budgetc.core.dataset import SplitName, evenly
from budgetc.core.frozen import Frozen
from budgetc.core.layout import ARTIFACT, MODEL
from budgetc.core.plan import Fp16, Plan, Qat, Quantize, Step, StoreBits, fingerprint
from budgetc.core.session import SessionOptions
from budgetc.core.target import Target
from budgetc.detectors.detector import Detector, score_images
from budgetc.detectors.families import bundle, from_bundle
from budgetc.export.gate import check_parity
from budgetc.export.onnx_file import Exported, Traced, export_detector, trace_detector
from budgetc.measurement.host import device
from budgetc.measurement.quality import Scored, fit_threshold, score_pixels
from budgetc.measurement.size import deployed_bytes
from budgetc.passes.apply import apply_step
from budgetc.passes.refit import has_fitted_head
from budgetc.passes.work import Work
from budgetc.report.schema import ArtifactSpec, MonitorBlock, StepRecord, spec_text
from budgetc.runtime.artifact import load_artifact
from budgetc.runtime.monitor import MonitorTable
from budgetc.runtime.spec import read_spec
from budgetc.store.shared import Store
from budgetc.workshop import Workshop as Workshop
from budgetc.workshop import calibration_key, circumstances, file_key, preprocessing_of, price_key, tensor_bytes
from budgetc.workshop import training_key as training_key

QUICK_SHARE = 0.3
"""Epochs of the quick rung over those of the full one."""
_GOLDEN = 32
"""Calibration images on which the exported file and PyTorch must agree."""
_TOLERANCE = {"fp32": 2e-3, "int8": 0.15}
"""Largest difference of scores over their range. One INT8 step may flip where float sums are added in another
order, and a maximum over a product of maps amplifies it."""
_OUTLIERS = {"fp32": 0.0, "int8": 0.25}
"""Share of the golden images that may differ by more: of a VAE, one step of a hidden unit is a fifth of the range of
normals, which happened on three or more of 30 images while most agreed to six digits (measured on driving)."""


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
    write_again: Callable[[], object] | None = None
    """Where the store knew the price: writes the files, which nobody may need."""

    def files(self) -> Path:
        """The directory, with the files in it."""
        if self.write_again is not None:
            self.write_again()
        return self.directory

    def session(self) -> SessionOptions:
        """What its files ask the runtime for."""
        return SessionOptions.model_validate(asdict(read_spec(self.files() / ARTIFACT).session))


class _Price(Frozen):
    """What the store keeps of an untrained file."""

    size: int
    structure: str
    parameters: int


class _Finished(Frozen):
    """What the store keeps of a trained file beside its bytes."""

    artifact: str
    structure: str
    parameters: int
    threshold: float


def build(plan: Plan, shop: Workshop, effort: float) -> Built:
    """The detector of a plan at a share of its epochs; trained networks come from the store when they are there."""
    key = training_key(plan, shop, effort)
    if key is None:
        return _calibrated(plan, Built(shop.baseline, ()), shop, effort)
    trained = _stored(key, shop.store)
    shop.run.record("training", {"key": key, "anew": trained is None})
    if trained is None:
        trained = _train(plan, shop, effort)
        _keep(key, trained, shop.store)
        # As the next run will read it: how weights lie in memory decides in which order convolutions add.
        trained = _stored(key, shop.store) or trained
    return _calibrated(plan, trained, shop, effort)


def recall(plan: Plan, shop: Workshop) -> Built | None:
    """The fully trained detector of a plan where nothing has to be trained for it, else None."""
    key = training_key(plan, shop, 1.0)
    start = Built(shop.baseline, ()) if key is None else _stored(key, shop.store)
    return None if start is None else _calibrated(plan, start, shop, 1.0)


def _calibrated(plan: Plan, trained: Built, shop: Workshop, effort: float) -> Built:
    """The steps after training. What takes a while, to round weights or to fit a head anew, is kept too."""
    done = 0 if training_key(plan, shop, effort) is None else len(plan.trained)
    work, built = shop.work(effort, plan.seed), trained
    slow = (Quantize, StoreBits) if has_fitted_head(shop.baseline.module) else (StoreBits,)
    kept = {
        number: calibration_key(plan.steps[:number], plan.seed, shop, effort)
        for number, step in enumerate(plan.steps, 1)
        if effort > 0 and number > done and isinstance(step, slow)
    }
    for number in reversed(kept):
        found = _stored(kept[number], shop.store)
        if found is not None:
            built, done = found, number
            break
    for number in [number for number in kept if number > done]:
        built = _carry_out(plan.steps[done:number], built, work)
        _keep(kept[number], built, shop.store)
        done = number
    return _carry_out(plan.steps[done:], built, work)


def _train(plan: Plan, shop: Workshop, effort: float) -> Built:
    """Everything up to the last training step. A full training keeps the networks on its way, too: a report shows
    what each step did, and every step's training depends on nothing but its seed and the steps before it.
    """
    built, work, steps = Built(shop.baseline, ()), shop.work(effort, plan.seed), plan.trained
    for count, step in enumerate(steps, 1):
        built = _carry_out((step,), built, work)
        way = plan.model_copy(update={"steps": steps[:count]})
        key = training_key(way, shop, effort) if effort == 1.0 and way.trained == way.steps else None
        if key is not None and count < len(steps):
            _keep(key, built, shop.store)
    return built


def _stored(key: str, store: Store) -> Built | None:
    blob, record = store.get_blob(key), store.get_json(key)
    if blob is None or not isinstance(record, list):
        return None
    data: Mapping[str, Any] = torch.load(io.BytesIO(blob), weights_only=True)
    return Built(from_bundle(data), tuple(StepRecord.model_validate(step) for step in record))


def _keep(key: str, built: Built, store: Store) -> None:
    store.put_blob(key, tensor_bytes(bundle(built.detector)))
    store.put_json(key, [step.model_dump() for step in built.trail])


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
    """What the untrained structure costs, before a gradient step; its files too, where the store did not know it."""
    key = price_key(plan, shop)
    written = list[Written]()

    def measure() -> _Price:
        written.append(write_untrained(plan, shop, directory))
        return _Price(size=written[0].size, structure=written[0].structure, parameters=written[0].parameters)

    found = shop.store.cached(key, _Price, measure)
    if written:
        return written[0]
    again = cache(partial(write_untrained, plan, shop, directory))  # latency and memory both ask for the files
    return Written(directory, found.size, found.structure, found.parameters, 0.0, again)


def write_untrained(plan: Plan, shop: Workshop, directory: Path) -> Written:
    """The untrained structure as files."""
    stored = [number for number, step in enumerate(plan.steps) if isinstance(step, Fp16 | StoreBits)]
    first = min(stored, default=len(plan.steps))
    network = _untrained(plan.model_copy(update={"steps": plan.steps[:first]}), shop)
    work = shop.work(0.0, plan.seed)
    detector = _carry_out(plan.steps[first:], Built(network.detector, ()), work).detector
    exported = export_detector(detector, shop.target, network.traced)
    return write(
        exported, detector, directory,
        threshold=0.0, thresholds=shop.thresholds(), threads=shop.target.threads, session=shop.session(detector),
        monitor=shop.monitor(),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Untrained:
    """A bare structure and its graph: plans that only store it otherwise share both."""

    key: str
    detector: Detector
    traced: Traced


def _untrained(plan: Plan, shop: Workshop) -> Untrained:
    """The structure of a plan; the latest one is kept, for plans come in an order that changes the last step first."""
    key = price_key(plan, shop)
    found = shop.memory.untrained
    if not isinstance(found, Untrained) or found.key != key:
        built = build(plan, shop, 0.0).detector
        # Passes hand on networks that they leave as they are, the baseline's too: only a copy may be written to.
        detector = replace(built, module=copy.deepcopy(built.module))
        generator = torch.Generator().manual_seed(plan.seed)
        with torch.no_grad():
            for weight in detector.module.parameters():
                # Exporters merge equal tensors, and untrained biases are all zero: tell them apart.
                if not weight.any():
                    weight.copy_(torch.randn(weight.shape, generator=generator) * 1e-3)
        found = Untrained(key, detector, trace_detector(detector, shop.target))
        shop.memory.untrained = found
    return found


def finish(built: Built, shop: Workshop, directory: Path) -> Written:
    """Export, fit the thresholds on calibration normals through the file, and hold it against PyTorch.

    Raises:
        BudgetcError: the file's scores are not those of the network.
    """
    key = file_key(built.detector, shop)
    blob = shop.store.get_blob(key)
    if blob is None:
        return _finish_anew(key, built.detector, shop, directory)

    def anew() -> _Finished:  # the file is there, what is known of it was lost
        return _finished(_finish_anew(key, built.detector, shop, directory))

    found = shop.store.cached(key, _Finished, anew)
    return _put(directory, blob, found)


def _finish_anew(key: str, detector: Detector, shop: Workshop, directory: Path) -> Written:
    exported = export_detector(detector, shop.target)
    save = partial(write, exported, detector, directory, threads=shop.target.threads, session=shop.session(detector))
    save(threshold=0.0)
    images = shop.dataset.images("calibration", detector.config.input_size)
    scores = score_pixels(load_artifact(directory, cache=False), images)
    integer = any(known.compute == "int8" or known.output is not None for known in detector.formats.values())
    golden = evenly(len(images), _GOLDEN)
    reference = score_images(detector.deployed(), images[golden])
    check_agreement(scores[golden], reference, integer=integer)
    written = save(threshold=fit_threshold(scores), thresholds=shop.thresholds(scores), monitor=shop.monitor(scores))
    shop.store.put_blob(key, exported.model)
    shop.store.put_json(key, _finished(written).model_dump())
    return written


def check_agreement(scores: NDArray[np.floating], reference: NDArray[np.floating], *, integer: bool) -> None:
    """Two ways to compute the scores of one detector agree, as well as its arithmetic lets them.

    Raises:
        BudgetcError: they do not.
    """
    kind = "int8" if integer else "fp32"
    check_parity(scores.astype(np.float32), reference.astype(np.float32), _TOLERANCE[kind], outliers=_OUTLIERS[kind])


def _finished(written: Written) -> _Finished:
    text = (written.directory / ARTIFACT).read_text(encoding="utf-8")
    return _Finished(
        artifact=text, structure=written.structure, parameters=written.parameters, threshold=written.threshold
    )


def _put(directory: Path, model: bytes, found: _Finished) -> Written:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / MODEL).write_bytes(model)
    (directory / ARTIFACT).write_text(found.artifact, encoding="utf-8")
    size = sum(deployed_bytes(directory).values())
    return Written(directory, size, found.structure, found.parameters, found.threshold)


def write(
    exported: Exported, detector: Detector, directory: Path,
    *, threshold: float, threads: int, thresholds: Mapping[str, float] | None = None,
    session: SessionOptions | None = None, monitor: MonitorTable | None = None,
) -> Written:  # fmt: skip
    """`model.onnx` and `artifact.json` in a directory."""
    spec = ArtifactSpec(
        detector=detector.family,
        model_sha256=sha256(exported.model),
        map="map" if "map" in exported.outputs else None,
        parts=detector.config.parts,
        preprocessing=preprocessing_of(detector.config),
        threshold=threshold,
        thresholds=dict(thresholds or {}),
        threads=threads,
        session=session,
        monitor=MonitorBlock(**asdict(monitor)) if monitor is not None else None,
    )
    directory.mkdir(parents=True, exist_ok=True)
    (directory / MODEL).write_bytes(exported.model)
    (directory / ARTIFACT).write_text(spec_text(spec), encoding="utf-8")
    size = sum(deployed_bytes(directory).values())
    return Written(directory, size, exported.structure, exported.parameters, threshold)


def sha256(data: bytes) -> str:
    """Hex digest."""
    return hashlib.sha256(data).hexdigest()


def score_split(written: Written, shop: Workshop, split: SplitName) -> Scored:
    """Scores of a split through the file in its runtime."""
    spec, samples = read_spec(written.directory / ARTIFACT), shop.dataset.samples[split]
    size = (spec.height, spec.width)

    def compute() -> list[float]:
        artifact = load_artifact(written.directory, cache=False)  # whatever this user has installed
        scores: list[float] = score_pixels(artifact, shop.dataset.images(split, size)).tolist()
        return scores

    key = fingerprint(
        ["scores", spec.model_sha256, size, shop.dataset.digest, [sample.file for sample in samples],
         asdict(spec.session), circumstances(spec.threads, flow=spec.flow is not None)]
    )  # fmt: skip
    scores = np.array(shop.store.cached(key, list[float], compute), dtype=np.float64)
    return Scored(split, samples, scores, device(shop.target.threads))


def applicable(plan: Plan, family: str, target: Target) -> str | None:
    """Why a plan cannot be built for this family and target; None where it can."""
    for number, step in enumerate(plan.steps):
        match step:
            case StoreBits() if not target.unpacks:
                return f"target {target.name} does not unpack stored bits at load{_because(target, 'stored bits')}"
            case StoreBits() if any(isinstance(step, Fp16) for step in plan.steps):
                return "store-bits leaves no FP32 weight for fp16; leave one of them out"
            case StoreBits() if plan.steps[number + 1 :]:
                return f"{plan.steps[number + 1].step} would undo store-bits; put store-bits last"
            case Quantize() if "int8" not in target.dtypes:
                return f"target {target.name} has no INT8 kernels{_because(target, 'INT8')}"
            case Fp16() if "fp16" not in target.dtypes:
                return f"target {target.name} does not take FP16 weights"
            case Qat() if not any(isinstance(other, Quantize) for other in plan.steps[:number]):
                return "qat trains under the rounding of a quantize step, which the plan does not have before it"
            case _ if (reason := foreign_setting(step, family)) is not None:
                return reason
            case _:
                pass
    return misplaced(plan.steps)


def _because(target: Target, subject: str) -> str:
    """What the target's facts say of it, with the source."""
    known = target.fact(subject)
    return "" if known is None else f": {known.value} ({known.source})"
