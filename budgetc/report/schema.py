"""`report.json` and `artifact.json` as types: these models are the file formats."""

import json
from collections import Counter
from typing import Any, Literal

from pydantic import FiniteFloat, model_validator

from budgetc.core.budget import Budget
from budgetc.core.frozen import Frozen
from budgetc.core.measurement import Measurement
from budgetc.core.plan import Plan
from budgetc.core.quality import CategoryLoss as CategoryLoss
from budgetc.core.quality import CategoryQuality as CategoryQuality
from budgetc.core.quality import Control as Control
from budgetc.core.quality import DefectQuality as DefectQuality
from budgetc.core.quality import DefectRecall as DefectRecall
from budgetc.core.quality import Quality as Quality
from budgetc.core.session import Compute, SessionOptions
from budgetc.core.target import Target
from budgetc.core.verdict import Verdict
from budgetc.errors import InputRejected

SCHEMA_VERSION = 1
Fate = Literal["chosen", "finalist", "trained", "discarded", "not needed", "failed"]


class StepRecord(Frozen):
    """What one step of a candidate's plan did."""

    step: str
    """Title of the step, or `baseline`."""
    seconds: float
    parameters: int
    """Weights of the deployed part after the step."""
    training_loss: float | None = None
    held_out_loss: float | None = None
    epochs: int = 0
    note: str = ""


class CandidateRecord(Frozen):
    """One structure the search saw, whatever became of it."""

    id: str
    plan: Plan
    fate: Fate
    reason: str
    """Why it was discarded, trained or chosen: one sentence."""
    artifact_size: int | None
    """Bytes of all deployed files, exact before any training."""
    screened: tuple[Measurement, ...] = ()
    """Latency and memory of the untrained structure, one process, short."""
    auroc: dict[str, float] = {}
    """Rung -> AUROC on the selection split, of the kind that the budget limits (`over`); the deepest rung last."""
    trail: tuple[StepRecord, ...] = ()


class Subject(Frozen):
    """Baseline or artifact: its files and everything measured on it."""

    files: dict[str, int]
    """Deployed file -> bytes."""
    parameters: int
    measurements: tuple[Measurement, ...]
    """Full protocol: latency per percentile and stage, memory of load and run, size. One per metric: those named
    like a limit are what it is judged by; a part of one has a longer name (`latency_p50.preprocess`)."""
    quality: Quality
    session: SessionOptions | None = None
    """What the file was loaded and measured with; None in reports of older versions."""

    @model_validator(mode="after")
    def _one_per_metric(self) -> "Subject":
        metrics = Counter(measurement.metric for measurement in self.measurements)
        repeated = [metric for metric, count in metrics.items() if count > 1]
        if repeated:
            raise ValueError(f"{repeated[0]} is measured more than once; which one counts?")
        return self


class Comparison(Frozen):
    """Artifact against baseline, interleaved or paired: ratios below 1 are better, except AUROC."""

    size_ratio: Measurement
    latency_p50_ratio: Measurement
    model_memory_ratio: Measurement
    """Memory above interpreter and runtime."""
    auroc_loss: Measurement
    """Baseline AUROC - artifact AUROC on the same images."""
    category_losses: tuple[CategoryLoss, ...] = ()
    """The same of each category, the one that lost most first; empty where there is only one."""
    rank_agreement: Measurement | None = None
    """Spearman's rho of both scores; only where anomalies are synthetic."""


class SearchSummary(Frozen):
    """What the search did."""

    enumerated: int
    discarded_untrained: int
    trained: int
    trainings: int
    """Training runs, all rungs counted."""
    stopped_because: str
    near_ties: tuple[str, ...] = ()
    """Ids that would have been chosen with a slightly other measurement."""


class SeedRecord(Frozen):
    """The chosen plan, trained with one seed: how much of its AUROC is luck."""

    seed: int
    selection_auroc: float
    confirmation_auroc: float
    auroc_loss: float
    """Baseline AUROC - this one, on the same confirmation images."""
    artifact_size: int


class Stage(Frozen):
    """The detector after one step of the winner's plan, or before the first: measured shortly, scored on selection."""

    step: str
    """`baseline`, or the step's title."""
    artifact_size: int | None
    """Exact also where nothing was trained; None where the structure could not be built on its own."""
    costs: tuple[Measurement, ...] = ()
    """Latency and memory as in screening, or predicted."""
    auroc: float | None = None
    """On the selection split, of the kind that the budget limits."""
    training_loss: float | None = None
    """At the end of the step's own training; steps train on different losses."""
    similarity: float | None = None
    """Linear CKA between its features (of a VAE: latent means) of calibration normals and the baseline's."""
    active: float | None = None
    """Share of features that vary over calibration normals (of a VAE: latents with a KL above 0.01 nats)."""
    divergence: float | None = None
    """VAE: KL(baseline's posterior || its own), nats a picture. STFPM: distance between the features of its teacher and
    its student, as in its training. Both over calibration normals; None for other families."""
    note: str = ""
    """Why figures are missing, where they could not be had without another training."""


class OperatorRow(Frozen):
    """One operator of the artifact on the target."""

    name: str
    kind: str
    compute: str
    """`int8`, `fp16`, `fp32`, or `convert` between them, as it really runs."""
    ms: float
    share: float
    """Of the graph's time."""
    bound: str = ""
    """What limits it, where the cost was predicted."""
    bytes: int | None = None
    """Moved at least: inputs, weights, outputs; where the cost was predicted."""


class AreaRecall(Frozen):
    """How many defects of one range of sizes were found."""

    smallest: float
    """Share of the picture that the mask covers."""
    largest: float
    of: int
    found: int
    found_by_baseline: int


class ScoredPicture(Frozen):
    """One picture of the confirmation split as baseline and artifact score it."""

    file: str
    category: str
    defect: str
    """`good` for normals."""
    baseline: float
    artifact: float


class Exhibits(Frozen):
    """What lets a person see what happened: evidence beside the verdict, none of it decides anything."""

    stages: tuple[Stage, ...] = ()
    operators: tuple[OperatorRow, ...] = ()
    operators_are: Literal["measured", "predicted"] = "measured"
    areas: tuple[AreaRecall, ...] = ()
    pictures: tuple[ScoredPicture, ...] = ()
    missing: tuple[str, ...] = ()
    """What could not be shown, and why."""


class SessionTrial(Frozen):
    """What session options did to a network of the kind that the search builds."""

    compute: Compute
    """`fp32`: the baseline. `int8`: the baseline quantized. Both untrained, with weights stored in as few bits as the
    search may ask for."""
    options: SessionOptions
    chosen: bool
    """Whether the files of this format are loaded, and were measured, with them."""
    measurements: tuple[Measurement, ...]
    """Memory and load time as in the full protocol, and `latency_p50_ratio` to onnxruntime's defaults, interleaved."""


class Environment(Frozen):
    """Where it ran."""

    budgetc: str
    python: str
    platform: str
    cpu: str
    cpu_features: tuple[str, ...]
    packages: dict[str, str]


class BoardRecord(Frozen):
    """The board that latency and memory were measured on, in its own words."""

    where: str
    """Its address, or the file that a kit brought from it."""
    facts: dict[str, Any]
    """Model, processor, power mode, governors, Python ..."""
    versions: dict[str, str]
    """Of onnxruntime, numpy and Pillow there."""
    samples: tuple[dict[str, Any], ...]
    """Clocks, temperatures, throttling and load average around the pairs of the full protocol."""
    latency_ms: dict[str, tuple[tuple[float, ...], ...]]
    """`artifact`, `baseline` -> the milliseconds of every call of every process of the full protocol."""


class Report(Frozen):
    """Everything a person needs to trust, check and repeat the choice."""

    schema_version: Literal[1] = 1
    complete: bool
    """False when the run was stopped: then nothing in it is compliant."""
    created: str
    """UTC, ISO 8601."""
    command: str
    """The line that reproduces it."""
    inputs: dict[str, str]
    """Model, budget, target, data, recipes -> sha256."""
    outputs: dict[str, str]
    """Files of the artifact, `report.md` and `report.html` included -> sha256."""
    environment: Environment
    board: BoardRecord | None = None
    """None where no board was measured."""
    budget_name: str
    """File name or built-in name of the budget, without `.yaml`."""
    budget: Budget
    target: Target
    detector: str
    verdict: Verdict | None
    """On `artifact`; None where there is none."""
    chosen: str | None
    """Id of the candidate that `artifact` is; where nothing complies, of the best effort that was kept."""
    why: str
    """Why this candidate, in one or two sentences."""
    advice: tuple[str, ...] = ()
    """What to relax or add when nothing complies."""
    baseline: Subject | None
    """None only where the run was stopped before it was measured."""
    artifact: Subject | None
    """None where no candidate was trained to the end."""
    comparison: Comparison | None
    controls: tuple[Control, ...] = ()
    """What the size and four statistics of the images tell, on the split that `artifact` was judged on (else the
    baseline)."""
    search: SearchSummary
    sessions: tuple[SessionTrial, ...] = ()
    """Which session options were tried; empty where the target states them, or there was nothing to save."""
    seeds: tuple[SeedRecord, ...] = ()
    """The chosen plan under several seeds, the chosen one first; empty where the budget asks for one seed."""
    candidates: tuple[CandidateRecord, ...]
    confirmation_uses: int
    """How often this confirmation split was opened in this store, this time included."""
    exhibits: Exhibits | None = None
    """None where there is no artifact."""
    splits: dict[str, dict[str, int]]
    """Split -> good, bad, groups."""
    warnings: tuple[str, ...] = ()
    seconds: float

    @property
    def needs_install(self) -> bool:
        """Whether memory and latency of the artifact hold only after `budgetc install`."""
        session = self.artifact.session if self.artifact is not None else None
        return session is not None and session.preoptimized


class FlowBlock(Frozen):
    """How successive frames become flow fields; `budgetc.runtime.device_flow` holds the constants of each step."""

    method: Literal["clahe-farneback"] = "clahe-farneback"
    frame_height: int
    """Frames are resized to this, and their center becomes a field."""
    frame_width: int
    fields: int
    """Of each direction: first the horizontal ones, the oldest first, then the vertical ones."""
    largest: float
    """Pixels between two frames: bytes are 128 + 127 times motion over this, clipped; the graph reads bytes / 255."""


class Preprocessing(Frozen):
    """How a picture becomes the input of the graph; the same function in training and on the device."""

    height: int
    width: int
    resize: Literal["pillow-bilinear"] = "pillow-bilinear"
    color: Literal["rgb"] = "rgb"
    scale: Literal["0..1"] = "0..1"
    flow: FlowBlock | None = None
    """None, or not written: the graph reads one picture."""


class MonitorBlock(Frozen):
    """The table of the sequential monitor, of artifacts that score frames; `budgetc.runtime.monitor` reads it."""

    scores: str
    """Ascending scores of calibration normals: base64 of little-endian uint16, in steps above `lowest`."""
    lowest: float
    step: float
    drift: float
    """What the log of the martingale must exceed for CUSUM to grow."""
    threshold: float
    """Alarm when CUSUM > threshold."""
    run_length: int
    """Frames in which four of five streams of normals raise no alarm."""
    window: int
    """Frames that the martingale looks back on."""

    @model_validator(mode="after")
    def _decodes(self) -> "MonitorBlock":
        from budgetc.runtime.monitor import MonitorTable  # the package of the runtime loads onnxruntime

        try:
            MonitorTable(**self.model_dump()).codes()
        except InputRejected as error:
            raise ValueError(str(error)) from error
        return self


class ArtifactSpec(Frozen):
    """`artifact.json`: what a runtime needs beside the graph."""

    schema_version: Literal[1] = 1
    detector: str
    model: str = "model.onnx"
    model_sha256: str
    input: str = "image"
    score: str = "score"
    map: str | None = None
    """Name of the anomaly map output, where there is one."""
    parts: tuple[str, ...] = ()
    """Names of outputs that the score is made of, (1,) each; not written where there are none."""
    preprocessing: Preprocessing
    threshold: float
    """Anomalous when score > threshold."""
    thresholds: dict[str, FiniteFloat] = {}
    """The same of single categories, for a machine that knows what it looks at; not written where there are none."""
    threads: int
    session: SessionOptions | None = None
    """None, or not written: onnxruntime's defaults."""
    monitor: MonitorBlock | None = None
    """None, or not written: the data are no frames."""


def plain_spec(spec: ArtifactSpec) -> dict[str, object]:
    """As it is written: session options that are onnxruntime's defaults, no monitor and no more thresholds than one
    cost no byte.
    """
    session = spec.session.model_dump(exclude_defaults=True) if spec.session is not None else {}
    watch = spec.monitor.model_dump() if spec.monitor is not None else {}
    kept = {
        name: part
        for name, part in (
            ("thresholds", spec.thresholds),
            ("session", session),
            ("monitor", watch),
            ("parts", list(spec.parts)),
        )
        if part
    }
    moving = None if spec.preprocessing.flow is not None else {"flow"}
    picture = spec.preprocessing.model_dump(exclude=moving)
    rest = spec.model_dump(exclude={"session", "monitor", "parts", "thresholds"})
    return {**rest, "preprocessing": picture, **kept}


def spec_text(spec: ArtifactSpec) -> str:
    """`artifact.json`, padded to the longest way to write its fitted numbers: its size does not depend on them."""
    room = sum(25 - len(repr(one)) for one in (spec.threshold, *spec.thresholds.values()))
    if spec.monitor is not None:
        block = spec.monitor
        room += sum(18 - len(repr(one)) for one in (block.lowest, block.step, block.drift, block.threshold))
    return json.dumps(plain_spec(spec), separators=(",", ":")) + " " * room + "\n"
