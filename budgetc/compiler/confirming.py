"""Finalists under the full protocol, and on the sealed confirmation split."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from budgetc.candidate import Workshop, Written, score_split
from budgetc.compiler.controlling import controls_beside
from budgetc.compiler.costing import Costing, Costs, Found
from budgetc.compiler.label_light import agreement_between
from budgetc.compiler.localizing import locate
from budgetc.core.budget import Budget
from budgetc.core.dataset import Dataset, Sample, evenly
from budgetc.core.layout import ARTIFACT
from budgetc.core.measurement import Measurement
from budgetc.core.plan import fingerprint
from budgetc.core.quality import Control
from budgetc.core.verdict import Verdict, judge
from budgetc.measurement.emulated import score_split_emulated
from budgetc.measurement.emulator import emulator
from budgetc.measurement.latency import Pairs
from budgetc.measurement.quality import Scored, auroc_loss, category_losses, loss_between, quality_of
from budgetc.measurement.size import deployed_bytes, measure_size
from budgetc.report.evidence import auroc_kind, judge_subject
from budgetc.report.schema import Comparison, SeedRecord, Subject
from budgetc.runtime.spec import read_spec

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
    controls: tuple[Control, ...] = ()
    seeds: tuple[SeedRecord, ...] = ()
    pairs: Pairs | None = None
    """Raw samples of latency, where it was measured."""


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What every finalist is held against."""

    shop: Workshop
    budget: Budget
    baseline: Written
    costing: Costing

    def confidence(self) -> float:
        """Of the bounds on AUROC."""
        return 0.95 if self.budget.limits.auroc is None else self.budget.limits.auroc.confidence

    def cost(self, name: str, written: Written) -> Costs:
        """Latency and memory of one finalist by the full protocol; the confirmation split stays sealed."""
        seed = int(fingerprint([name, self.shop.seed])[:8], 16)
        return self.costing.full(
            written.directory, self.baseline.directory, seed=seed, progress=lambda pair: self._log(name, pair)
        )

    def missed(self, costs: Costs) -> str | None:
        """The limits on latency and memory that the full protocol did not see kept; None where there are none."""
        missed = [
            f"{limit.limit}: {limit.reason}"
            for limit in self.judged(costs).limits
            if limit.limit in costs.artifact and limit.outcome in ("fail", "inconclusive")
        ]
        return "; ".join(missed) or None

    def judged(self, costs: Costs) -> Verdict:
        """The verdict on latency and memory; the other limits are not measured yet."""
        return judge(self.budget, costs.artifact, None)

    def confirm(self, name: str, written: Written, costs: Costs) -> Confirmed:
        """Score one finalist on the confirmation split, and judge it."""
        before = score_split(self.baseline, self.shop, "confirmation")
        after = self._as_deployed(written)
        artifact = self._subject(written, costs.artifact, after)
        baseline = self._subject(self.baseline, costs.baseline, before)
        comparison = self._comparison(artifact, baseline, costs.latency_ratio, (before, after))
        verdict = judge_subject(self.budget, artifact, baseline=baseline, comparison=comparison)
        controls = controls_beside(
            self.shop, {"baseline": before, "artifact": after},
            over=auroc_kind(self.budget), confidence=self.confidence(),
        )  # fmt: skip
        return Confirmed(name, artifact, baseline, comparison, verdict, written, controls, pairs=costs.pairs)

    def _as_deployed(self, written: Written) -> Scored:
        """Scores of the confirmation split on the target's instruction set where that can be emulated, else here."""
        shop = self.shop
        wanted, samples = shop.target.emulation, shop.dataset.samples["confirmation"]
        played = None if wanted is None else emulator(wanted, fetch=False, flow=bool(shop.dataset.clips))
        if played is None:
            return score_split(written, shop, "confirmation")
        spec = read_spec(written.directory / ARTIFACT)

        def compute() -> list[float]:
            said = f"scoring under {played.device}"
            scores: list[float] = score_split_emulated(
                written.directory, shop.dataset, "confirmation", emulator=played,
                progress=lambda done: shop.progress(said, done, len(samples)),
            ).tolist()  # fmt: skip
            return scores

        key = fingerprint(["emulated scores", spec.model_sha256, shop.dataset.digest, [one.file for one in samples],
                           asdict(spec.session), played.device, played.runtime, spec.threads])  # fmt: skip
        scores = np.array(shop.store.cached(key, list[float], compute), dtype=np.float64)
        return Scored("confirmation", samples, scores, played.device, kind="emulated", runtime=played.runtime)

    def _log(self, name: str, sentence: str) -> None:
        self.shop.run.record("latency", {"id": name, "pair": sentence})

    def _subject(self, written: Written, costs: Found, scored: Scored) -> Subject:
        return Subject(
            files=deployed_bytes(written.directory),
            parameters=written.parameters,
            measurements=(measure_size(written.directory), *costs.values()),
            quality=quality_of(
                scored,
                written.threshold,
                self.confidence(),
                thresholds=read_spec(written.directory / ARTIFACT).thresholds,
                pixels=locate(written, self.shop, "confirmation", self.confidence()),
            ),
            session=written.session(),
        )

    def _comparison(
        self, artifact: Subject, baseline: Subject, latency_ratio: Measurement, scored: tuple[Scored, Scored]
    ) -> Comparison:
        loss = loss_between(*scored, self.confidence())
        return Comparison(
            size_ratio=_ratio("artifact_size", artifact, baseline),
            latency_p50_ratio=latency_ratio,
            model_memory_ratio=_ratio("model_memory", artifact, baseline),
            auroc_loss=auroc_loss(loss.over(auroc_kind(self.budget)), scored[1]),
            category_losses=category_losses(loss, scored[1]),
            rank_agreement=agreement_between(*scored, self.confidence()) if self.shop.dataset.synthetic else None,
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
    if dataset.clips:  # of one clip, and with the frames before the first that has a score
        longest = max(dataset.clips["calibration"], key=len)
        return list(longest[: _PICTURES + dataset.channels // 2])
    return [normals[index] for index in evenly(len(normals), _PICTURES)]


def _as_png(dataset: Dataset, scratch: Path) -> Iterator[Path]:
    scratch.mkdir(parents=True, exist_ok=True)
    for number, sample in enumerate(_timed(dataset)):
        path = scratch / f"{number}.png"
        Image.fromarray(dataset.read(sample, (224, 224)).transpose(1, 2, 0)).save(path)
        yield path
