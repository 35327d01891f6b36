"""A realistic report and the directory it describes: a compliant STFPM, three categories, five candidates."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from budgetc.core.budget import Budget
from budgetc.core.measurement import Measurement
from budgetc.core.plan import Distill, Plan, Prune, Quantize, fingerprint
from budgetc.core.target import Target
from budgetc.report.emit import write_report
from budgetc.report.evidence import judge_report
from budgetc.report.pictures import Kind, Shown
from budgetc.report.schema import (
    AreaRecall,
    ArtifactSpec,
    CandidateRecord,
    CategoryQuality,
    Comparison,
    DefectRecall,
    Environment,
    Exhibits,
    OperatorRow,
    Preprocessing,
    Quality,
    Report,
    ScoredPicture,
    SearchSummary,
    Stage,
    StepRecord,
    Subject,
)

MODEL_BYTES = bytes(range(256)) * 1650
THRESHOLD = 0.0314159265
PLANS = {
    "chosen": Plan(recipe="distill-quantize", steps=(Distill(student=0.25), Quantize()), seed=0),
    "tie": Plan(recipe="distill-quantize", steps=(Distill(student=0.3), Quantize()), seed=0),
    "trained": Plan(recipe="quantize-distill-prune", steps=(Distill(student=0.25), Prune(keep=0.4)), seed=0),
    "discarded": Plan(recipe="quantize", steps=(Quantize(),), seed=0),
    "failed": Plan(recipe="quantize-distill-prune", steps=(Prune(keep=0.1),), seed=0),
}


def measured(metric: str, value: float, unit: str, spread: float | None = None, **other: Any) -> Measurement:
    """A measurement on the host; `spread` is half its interval."""
    ends = {} if spread is None else {"lower": value - spread, "upper": value + spread, "confidence": 0.95}
    given = {"metric": metric, "value": value, "unit": unit, "n": 1, "kind": "measured", "device": "host-cpu"}
    return Measurement.model_validate(given | ends | other)


def quality(auroc: float) -> Quality:
    """Three products, one of them with too few images to tell."""
    return Quality(
        split="confirmation",
        auroc_mean=measured("auroc_mean", auroc, "1", 0.018, n=96),
        auroc_worst=measured("auroc_worst", auroc - 0.031, "1", 0.04, n=41),
        auroc_pooled=measured("auroc_pooled", auroc - 0.012, "1", 0.021, n=96),
        categories=(
            CategoryQuality(category="brick", good=22, bad=19, auroc=measured("auroc", auroc - 0.031, "1", 0.04, n=41)),
            CategoryQuality(category="grass", good=20, bad=21, auroc=measured("auroc", auroc + 0.02, "1", 0.02, n=41)),
            CategoryQuality(category="gravel", good=10, bad=4, auroc=None),
        ),
        threshold=THRESHOLD,
        false_positive_rate=measured("false_positive_rate", 3 / 52, "1", 0.045, n=52),
        recall=(DefectRecall(defect="scratch", found=17, of=20), DefectRecall(defect="hole", found=24, of=24)),
    )


def subject(files: dict[str, int], latency_p95: float, memory: int, auroc: float) -> Subject:
    """What the full protocol gives."""
    return Subject(
        files=files,
        parameters=sum(files.values()) // 4,
        measurements=(
            measured("latency_p50", latency_p95 * 0.9, "ms", 0.3, n=500, runtime="onnxruntime 1.23"),
            measured("latency_p95", latency_p95, "ms", 0.5, n=500, runtime="onnxruntime 1.23"),
            measured("latency_p50.preprocess", 1.7, "ms", 0.1, n=500),
            measured("peak_memory", memory, "B", 2**20, n=5, note="load and run"),
            measured("artifact_size", sum(files.values()), "B", device="any"),
        ),
        quality=quality(auroc),
    )


def candidates() -> tuple[CandidateRecord, ...]:
    """One of every fate."""

    def screened(latency: float) -> tuple[Measurement, ...]:
        return (measured("latency_p95", latency, "ms", n=60), measured("peak_memory", 118 * 2**20, "B"))

    trail = (
        StepRecord(step="distill(student 0.25)", seconds=41.2, parameters=412_345, training_loss=0.0123,
                   held_out_loss=0.0151, epochs=30),
        StepRecord(step="quantize", seconds=1.3, parameters=412_345, note="64 calibration images"),
    )  # fmt: skip
    return (
        CandidateRecord(id=PLANS["chosen"].id, plan=PLANS["chosen"], fate="chosen", reason="smallest that complies",
                        artifact_size=422_800, screened=screened(17.9), auroc={"quick": 0.921, "full": 0.957},
                        trail=trail),
        CandidateRecord(id=PLANS["tie"].id, plan=PLANS["tie"], fate="finalist", reason="4 % larger",
                        artifact_size=440_000, screened=screened(18.4), auroc={"full": 0.961}),
        CandidateRecord(id=PLANS["trained"].id, plan=PLANS["trained"], fate="trained", artifact_size=398_000,
                        reason="AUROC 0.8911 below the floor of 0.9000", screened=screened(16.0),
                        auroc={"quick": 0.87, "full": 0.891}),
        CandidateRecord(id=PLANS["discarded"].id, plan=PLANS["discarded"], fate="discarded", artifact_size=1_900_000,
                        reason="latency_p95 31.2 ms is over 25 ms; not trained", screened=screened(31.2)),
        CandidateRecord(id=PLANS["failed"].id, plan=PLANS["failed"], fate="failed", artifact_size=None,
                        reason="RuntimeError: prune | no channel left"),
    )  # fmt: skip


def make_report(**changes: Any) -> Report:
    """The report with some fields changed, and the verdict that follows from it unless that is given."""
    budget = Budget.model_validate({
        "target": "host-cpu",
        "limits": {"latency_p95": "25 ms", "peak_memory": "256 MiB", "artifact_size": "1 MiB",
                   "auroc": {"min": 0.90, "max_drop": 0.02}},
    })  # fmt: skip
    fields: dict[str, Any] = {
        "complete": True,
        "created": "2026-01-02T03:04:05+00:00",
        "command": "budgetc compile model.pt --budget host-cpu.yaml --data data",
        "inputs": {"model": fingerprint("model"), "budget": fingerprint("budget"), "data": fingerprint("data")},
        "outputs": {},
        "environment": Environment(
            budgetc="0.1.0", python="3.11.9", platform="Linux x86_64", cpu="Example CPU", cpu_features=("avx2", "fma"),
            packages={"onnxruntime": "1.23.0", "torch": "2.13.0"},
        ),
        "budget_name": "host-cpu",
        "budget": budget,
        "target": Target(
            name="host-cpu", description="this machine", compute_unit="cpu", measured_on="host", runtime="onnxruntime",
            threads=2, max_opset=17, max_ir_version=8, dtypes=("fp32", "int8"), weight_levels=63,
        ),
        "detector": "stfpm",
        "verdict": None,
        "chosen": PLANS["chosen"].id,
        "why": "Smallest of 2 candidates that keep every limit.",
        "baseline": subject({"model.onnx": 5_400_000, "artifact.json": 412}, 41.2, 181 * 2**20, 0.962),
        "artifact": subject({"model.onnx": len(MODEL_BYTES), "artifact.json": 412}, 18.2, 121 * 2**20, 0.957),
        "comparison": Comparison(
            size_ratio=measured("artifact_size_ratio", 422_812 / 5_400_412, "1"),
            latency_p50_ratio=measured("latency_p50_ratio", 0.442, "1", 0.02, n=10),
            model_memory_ratio=measured("model_memory_ratio", 0.61, "1"),
            auroc_loss=measured("auroc_loss", 0.005, "1", 0.009, n=96),
        ),
        "search": SearchSummary(
            enumerated=5, discarded_untrained=1, trained=3, trainings=5,
            stopped_because="nothing smaller can still comply", near_ties=(PLANS["tie"].id,),
        ),
        "candidates": candidates(),
        "confirmation_uses": 1,
        "splits": {"train": {"good": 240, "groups": 60}, "selection": {"good": 40, "bad": 38, "groups": 30},
                   "confirmation": {"good": 52, "bad": 44, "groups": 41}},
        "warnings": ("gravel has 4 bad images: too few to judge it on its own",),
        "seconds": 431.0,
    }  # fmt: skip
    report = Report.model_validate(fields | changes)
    return report if "verdict" in changes else report.model_copy(update={"verdict": judge_report(report)})


def with_limits(report: Report, **limits: Any) -> Budget:
    """The report's budget with some limits replaced."""
    written = report.budget.model_dump(mode="json")
    return Budget.model_validate(written | {"limits": written["limits"] | limits})


def write_out(out: Path, make: Callable[[dict[str, str], int], Report]) -> Report:
    """The files of an artifact; `make` gets their digests and the bytes of artifact.json."""
    (out / "device").mkdir(parents=True)
    spec = ArtifactSpec(
        detector="stfpm", model_sha256=hashlib.sha256(MODEL_BYTES).hexdigest(), map="map",
        preprocessing=Preprocessing(height=128, width=128), threshold=THRESHOLD, threads=2,
    )  # fmt: skip
    artifact = spec.model_dump_json().encode()
    files = {"model.onnx": MODEL_BYTES, "artifact.json": artifact, "device/config.json": artifact,
             "device/score.py": b"print('scores')\n"}  # fmt: skip
    for name, data in files.items():
        (out / name).write_bytes(data)
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    return write_report(make(digests, len(artifact)), out)


def described(digests: dict[str, str], artifact_bytes: int, **changes: Any) -> Report:
    """The report of the directory that `write_out` writes."""
    files = {"model.onnx": len(MODEL_BYTES), "artifact.json": artifact_bytes}
    return make_report(**{"outputs": digests, "artifact": subject(files, 18.2, 121 * 2**20, 0.957)} | changes)


TITLES = ("baseline", "distill(student 0.25)", "quantize")


def exhibits(*, kind: str = "measured") -> Exhibits:
    """Three stages, operators of every format, masks of two sizes, and scores of three products."""

    def costs(latency: float, memory: int) -> tuple[Measurement, ...]:
        return (measured("latency_p50", latency, "ms", 0.2, n=60, kind=kind),
                measured("latency_p95", latency * 1.1, "ms", 0.4, n=60, kind=kind),
                measured("peak_memory", memory * 2**20, "B", kind=kind))  # fmt: skip

    found = ((5_400_412, 37.0, 181, 0.962), (1_611_000, 21.0, 140, 0.958), (422_800, 16.4, 121, 0.957))
    stages = tuple(
        Stage(step=title, artifact_size=size, costs=costs(latency, memory), auroc=auroc, similarity=1 - 0.08 * number,
              active=1 - 0.05 * number, divergence=0.2 + 0.05 * number, training_loss=0.0123 if number == 1 else None)
        for number, (title, (size, latency, memory, auroc)) in enumerate(zip(TITLES, found, strict=True))
    )  # fmt: skip
    operators = tuple(
        OperatorRow(name=f"/student/conv{number}", kind=one, compute=compute, ms=ms, share=ms / 16,
                    bound="memory" if kind == "predicted" else "")
        for number, (one, compute, ms) in enumerate(
            (("QLinearConv", "int8", 9.0), ("Conv", "fp32", 4.0), ("DequantizeLinear", "convert", 2.0),
             ("Mul", "fp16", 1.0)))
    )  # fmt: skip
    pictures = tuple(
        ScoredPicture(file=f"{category}/{number}.png", category=category, defect="scratch" if number % 2 else "good",
                      baseline=0.02 + 0.002 * number + 0.02 * (number % 2),
                      artifact=0.021 + 0.003 * number * (number % 2))
        for category in ("brick", "grass", "gravel") for number in range(16)
    )  # fmt: skip
    areas = (AreaRecall(smallest=0.002, largest=0.02, of=22, found=18, found_by_baseline=20),
             AreaRecall(smallest=0.021, largest=0.2, of=22, found=22, found_by_baseline=22))  # fmt: skip
    return Exhibits.model_validate(
        {"stages": stages, "operators": operators, "operators_are": kind, "areas": areas, "pictures": pictures}
    )


def shown(kind: Kind = "missed", *, maps: bool = True, file: str = "brick/1.png", defect: str = "scratch") -> Shown:
    """A picture of one pixel."""
    pixel = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
    return Shown(kind, file, "brick", defect, (0.05, 0.02), pixel, (pixel, pixel) if maps else None)


HOSTILE = "</style></title><script>alert(1)</script>\"'&<img src=x onerror=alert(2)>"


def hostile() -> Report:
    """Every name that comes from files of others tries to leave its place."""
    found, report = exhibits(), make_report()
    assert report.artifact is not None
    pictures = tuple(
        one.model_copy(
            update={"file": HOSTILE, "category": HOSTILE + one.category,
                    "defect": HOSTILE if one.defect != "good" else "good"}
        )
        for one in found.pictures
    )  # fmt: skip
    worse = found.model_copy(
        update={
            "pictures": pictures,
            "operators": tuple(one.model_copy(update={"name": HOSTILE, "kind": HOSTILE}) for one in found.operators),
            "stages": tuple(one.model_copy(update={"step": HOSTILE, "note": HOSTILE}) for one in found.stages),
            "missing": (HOSTILE,),
        }
    )
    recall = (DefectRecall(defect=HOSTILE, found=1, of=2),)
    quality = report.artifact.quality.model_copy(update={"recall": recall})
    return make_report(
        budget_name=HOSTILE, detector=HOSTILE, command=HOSTILE, warnings=(HOSTILE,), why=HOSTILE, exhibits=worse,
        artifact=report.artifact.model_copy(update={"quality": quality}), splits={HOSTILE: {HOSTILE: 3}},
        candidates=tuple(one.model_copy(update={"reason": HOSTILE}) for one in candidates()),
    )  # fmt: skip
