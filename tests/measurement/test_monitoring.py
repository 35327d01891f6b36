"""Fitting the table of a monitor."""

import numpy as np
import pytest
from numpy.typing import NDArray

from budgetc.measurement.monitoring import (
    FEWEST_SCORES,
    MOST_SCORES,
    RUN_LENGTH,
    empty_table,
    fit_monitor,
    table_size,
)
from budgetc.runtime.monitor import Monitor, MonitorTable


def singles(count: int) -> list[str]:
    return [str(number) for number in range(count)]


def first_alarm(table: MonitorTable, scores: NDArray[np.float64]) -> int:
    """Frames until the alarm; all of them and one more where there is none."""
    monitor = Monitor(table)
    return next((number for number, score in enumerate(scores, 1) if monitor.update(score).alarm), len(scores) + 1)


@pytest.mark.parametrize("count", [30, 255])
def test_normals_seldom_raise_an_alarm(count: int) -> None:
    """Of 40 calibrations each with a stream of its own, four of five are quiet over the stated run, give or take."""
    rng, quiet = np.random.default_rng(count), 0
    for _ in range(40):
        table = fit_monitor(rng.normal(size=count), singles(count))
        quiet += first_alarm(table, rng.normal(size=RUN_LENGTH)) > RUN_LENGTH
    assert table.run_length == RUN_LENGTH
    assert 26 <= quiet <= 38


def test_a_change_raises_an_alarm_soon() -> None:
    """Two standard deviations, after 100 normals: within a window in every one of 20 streams, half of them sooner."""
    rng, delays = np.random.default_rng(3), []
    for _ in range(20):
        table = fit_monitor(rng.normal(size=255), singles(255))
        stream = np.concatenate([rng.normal(size=100), rng.normal(size=40) + 2])
        found = first_alarm(table, stream) - 100
        if found > 0:  # a false alarm came first
            delays.append(found)
    assert len(delays) >= 16
    assert max(delays) <= 20 and np.median(delays) <= 13


def test_alike_frames_make_the_monitor_patient() -> None:
    """Frames of a group that move together raise alarms unless drift and threshold are fitted on whole groups."""
    rng = np.random.default_rng(4)

    def stream(blocks: int) -> NDArray[np.float64]:
        return np.repeat(rng.normal(size=blocks), 10) + 0.3 * rng.normal(size=10 * blocks)

    calibration, further = stream(30), [stream(RUN_LENGTH // 10) for _ in range(20)]
    groups = [str(number // 10) for number in range(300)]
    in_blocks, alone = fit_monitor(calibration, groups), fit_monitor(calibration, singles(300))
    quiet = [sum(first_alarm(table, one) > RUN_LENGTH for one in further) for table in (in_blocks, alone)]
    assert quiet[0] >= 12 > 4 >= quiet[1]


def test_a_fit_is_deterministic() -> None:
    """The same scores and groups give the same table."""
    scores = np.random.default_rng(5).normal(size=50)
    assert fit_monitor(scores, singles(50)) == fit_monitor(scores, singles(50))


@pytest.mark.parametrize("count", [FEWEST_SCORES, 100, MOST_SCORES, 2000])
def test_an_unfitted_table_is_as_large(count: int) -> None:
    """So that a price before training counts its bytes."""
    fitted = fit_monitor(np.random.default_rng(6).gamma(2.0, size=count), singles(count))
    assert len(fitted.codes()) == len(empty_table(count).codes()) == table_size(count) == min(count, MOST_SCORES)
    assert len(fitted.scores) == len(empty_table(count).scores)


@pytest.mark.parametrize("count", [MOST_SCORES + 1, 700, 3000])
def test_thinning_makes_no_p_value_smaller(count: int) -> None:
    """A table of more scores than are kept: a p-value against those kept is not below the one against all."""
    monitor = Monitor(fit_monitor(np.arange(count, dtype=np.float64), singles(count)))
    against_all = (count - np.arange(count + 1) + 1) / (count + 1)
    kept = np.array([monitor.update(rank - 0.5).p_value for rank in range(count + 1)])
    assert (kept >= against_all - 1e-12).all()
    assert (kept <= against_all + 2 / MOST_SCORES).all()


@pytest.mark.parametrize("scores", [[], [1.0] * (FEWEST_SCORES - 1), [1.0] * 20 + [float("nan")]])
def test_what_cannot_be_fitted_is_refused(scores: list[float]) -> None:
    """Too few scores, or one that is no number."""
    with pytest.raises(ValueError, match="expected 10 or more, all finite"):
        fit_monitor(scores, singles(len(scores)))
    assert table_size(FEWEST_SCORES - 1) == 0


def test_constant_scores_raise_no_alarm() -> None:
    """A detector that says the same of all frames says nothing."""
    table = fit_monitor([0.25] * 40, singles(40))
    assert first_alarm(table, np.full(200, 0.25)) > 200
