"""The controls beside a detector: gaps, and when it is not worth compressing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from budgetc import workshop
from budgetc.compiler.controlling import control_sentence, control_warnings, direction_warnings, judge_controls
from budgetc.compiler.controlling import described as described_by
from budgetc.core.dataset import Sample
from budgetc.core.quality import Control
from budgetc.measurement.controls import Described
from budgetc.measurement.quality import Scored, by_category
from budgetc.store.run_directory import RunDirectory
from budgetc.workshop import Workshop
from tests.small import dataset, small_stfpm, target

RNG = np.random.default_rng(0)
TRAIN = tuple(Sample(f"t{n}", f"t{n}", "all", "good") for n in range(60))
JUDGED = tuple(Sample(f"j{n}", f"j{n}", "all", "good" if n < 40 else ("scratch", "dent")[n % 2]) for n in range(80))
LABELS = np.array([sample.label for sample in JUDGED])


def described(split: str, samples: tuple[Sample, ...], *, shift: float) -> Described:
    """One size; the mean level of anomalies is `shift` standard deviations off."""
    labels = np.array([sample.label for sample in samples])
    statistics = np.exp(RNG.normal(3, 0.1, (len(samples), 4)))
    statistics[:, 0] = 100 + 5 * (RNG.normal(size=len(samples)) + shift * labels)
    return Described(split, samples, np.column_stack([np.full((len(samples), 2), 64.0), statistics]))


def judged(shift: float, separation: float) -> tuple[Control, ...]:
    """Controls beside a detector whose anomalies score `separation` higher."""
    scores = RNG.normal(size=80) + separation * LABELS
    return judge_controls(
        described("train", TRAIN, shift=0), described("confirmation", JUDGED, shift=shift),
        {"baseline": Scored("confirmation", JUDGED, scores, "host"),
         "artifact": Scored("confirmation", JUDGED, scores + 0.1 * RNG.normal(size=80), "host")},
        over="mean",
    )  # fmt: skip


def test_a_detector_that_a_plain_statistic_beats_is_warned_about() -> None:
    """Both numbers, for baseline and artifact."""
    warnings = control_warnings(judged(shift=6, separation=1))
    assert [warning.split(" is ")[0].split(" of the ")[1] for warning in warnings] == [
        "baseline on confirmation", "artifact on confirmation",
    ]  # fmt: skip
    assert "not above the 1.000 that image statistics alone reaches" in warnings[0]
    assert "is not worth compressing" in warnings[0]


def test_a_detector_above_both_controls_is_not_warned_about() -> None:
    """Statistics that tell nothing, and a detector that does."""
    assert control_warnings(judged(shift=0, separation=4)) == ()


def test_scores_that_are_turned_around() -> None:
    """Of a network from outside it is said, with the option that turns them; not where chance may have done it."""
    clear = by_category(Scored("selection", JUDGED, RNG.normal(size=80) - 2.0 * LABELS, "host")).over("mean")
    (warning,) = direction_warnings("graph", clear)
    assert "normals score higher" in warning and "--lower-is-anomalous" in warning
    unclear = by_category(Scored("selection", JUDGED, RNG.normal(size=80) + 0.3 * LABELS, "host")).over("mean")
    assert direction_warnings("graph", unclear) == direction_warnings("stfpm", clear) == ()


def test_the_gap_is_paired_and_has_an_interval() -> None:
    """AUROC of the subject less that of the control, on the same images."""
    control = judged(shift=1, separation=2)[1]
    gap = control.gaps["baseline"]
    assert control.auroc is not None
    assert gap.lower is not None
    assert gap.upper is not None
    assert gap.lower < gap.value < gap.upper
    assert (gap.metric, gap.split, gap.n, gap.runtime) == ("auroc_gap", "confirmation", 80, None)
    assert set(control.defects) == {"scratch", "dent"}
    assert np.mean(list(control.defects.values())) == pytest.approx(control.auroc.value)


def test_one_size_is_said_in_the_log() -> None:
    """No number where there is nothing to tell."""
    sentence = control_sentence(judged(shift=0, separation=1))
    assert sentence.startswith(
        "controls: image size not applicable: all pictures have one size; image statistics AUROC 0."
    )


def test_image_features_of_older_code_are_not_served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """They come from the store as long as they would come out the same; then all images are looked at again."""
    seen, data = list[str](), dataset()

    def read(sample: Sample, size: tuple[int, int]) -> np.ndarray:
        seen.append(sample.file)
        return data.read(sample, size)

    with RunDirectory.open(tmp_path / "run") as run:
        shop = Workshop(small_stfpm(), replace(data, read=read), target(), run, seed=0, key="k")
        described_by(shop, "selection")
        described_by(shop, "selection")
        assert len(seen) == 8
        monkeypatch.setattr(workshop, "RESULTS", -1)
        described_by(shop, "selection")
    assert len(seen) == 16
