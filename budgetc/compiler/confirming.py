"""Finalists under the full protocol, and on the sealed confirmation split."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from budgetc.candidate import Workshop, Written, score_split
from budgetc.compiler.screening import LATENCIES
from budgetc.core.budget import Budget
from budgetc.core.dataset import Dataset, Sample, evenly
from budgetc.core.measurement import Measurement
from budgetc.core.plan import fingerprint
from budgetc.core.verdict import Verdict
from budgetc.measurement.latency import LatencyResult, measure_latency
from budgetc.measurement.memory import measure_memory
from budgetc.measurement.quality import Scored, auroc_loss, loss_between, quality_of
from budgetc.measurement.size import deployed_bytes, measure_size
from budgetc.report.evidence import auroc_kind, judge_subject
from budgetc.report.schema import Comparison, Subject

_PICTURES = 16
"""Encoded images that latency and memory are measured on."""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A finalist beside the baseline, and the verdict on it."""

    id: str
    artifact: Subject
    baseline: Subject
    comparison: Comparison
    verdict: Verdict
    written: Written


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What every finalist is held against."""

    shop: Workshop
    budget: Budget
    baseline: Written
    images: list[Path]

    def confidence(self) -> float:
        """Of the bounds on AUROC."""
        return 0.95 if self.budget.limits.auroc is None else self.budget.limits.auroc.confidence

    def confirm(self, name: str, written: Written) -> Confirmed:
        """Measure and judge one finalist."""
        number = int(fingerprint([name, self.shop.seed])[:8], 16)
        limits = {metric: limit for metric in LATENCIES if (limit := getattr(self.budget.limits, metric)) is not None}
        latency = measure_latency(
            written.directory, self.baseline.directory, self.images, rng=np.random.default_rng(number), limits=limits,
            cap=8.0, progress=lambda sentence: self._log(name, sentence),
        )  # fmt: skip
        samples = json.loads(json.dumps(latency.raw()))  # tuples become lists
        self.shop.run.put_json(fingerprint(["latency samples", name, self.shop.key]), samples)
        memory = [measure_memory(one.directory, self.images) for one in (written, self.baseline)]
        before = score_split(self.baseline, self.shop, "confirmation")
        after = score_split(written, self.shop, "confirmation")
        artifact = self._subject(written, latency.artifact, memory[0], after)
        baseline = self._subject(self.baseline, latency.baseline, memory[1], before)
        comparison = self._comparison(artifact, baseline, latency, (before, after))
        verdict = judge_subject(self.budget, artifact, baseline=baseline, comparison=comparison)
        return Confirmed(name, artifact, baseline, comparison, verdict, written)

    def _log(self, name: str, sentence: str) -> None:
        self.shop.run.record("latency", {"id": name, "pair": sentence})

    def _subject(
        self, written: Written, latency: Mapping[str, Measurement], memory: Mapping[str, Measurement], scored: Scored
    ) -> Subject:
        return Subject(
            files=deployed_bytes(written.directory),
            parameters=written.parameters,
            measurements=(measure_size(written.directory), *latency.values(), *memory.values()),
            quality=quality_of(scored, written.threshold, self.confidence()),
        )

    def _comparison(
        self, artifact: Subject, baseline: Subject, latency: LatencyResult, scored: tuple[Scored, Scored]
    ) -> Comparison:
        loss = loss_between(*scored, self.confidence()).over(auroc_kind(self.budget))
        return Comparison(
            size_ratio=_ratio("artifact_size", artifact, baseline),
            latency_p50_ratio=latency.ratio,
            model_memory_ratio=_ratio("model_memory", artifact, baseline),
            auroc_loss=auroc_loss(loss, scored[1]),
        )


def _ratio(metric: str, artifact: Subject, baseline: Subject) -> Measurement:
    mine, theirs = (next(m for m in one.measurements if m.metric == metric) for one in (artifact, baseline))
    return mine.model_copy(
        update={"metric": f"{metric}_ratio", "unit": "1", "value": mine.value / theirs.value,
                "lower": None, "upper": None, "confidence": None}
    )  # fmt: skip


def sample_images(dataset: Dataset, scratch: Path) -> list[Path]:
    """Encoded image files to measure on: the data set's own, or PNGs of its arrays."""
    samples = _timed(dataset)
    own = [Path(dataset.root) / sample.file for sample in samples]
    if all(path.is_file() for path in own):
        return own
    return list(_as_png(dataset, scratch))


def _timed(dataset: Dataset) -> list[Sample]:
    normals = dataset.samples["calibration"]
    return [normals[index] for index in evenly(len(normals), _PICTURES)]


def _as_png(dataset: Dataset, scratch: Path) -> Iterator[Path]:
    scratch.mkdir(parents=True, exist_ok=True)
    for number, sample in enumerate(_timed(dataset)):
        path = scratch / f"{number}.png"
        Image.fromarray(dataset.read(sample, (224, 224)).transpose(1, 2, 0)).save(path)
        yield path
