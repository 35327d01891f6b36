"""The sequential monitor: p-values, martingale, CUSUM, and its state."""

import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import kstest

from budgetc.errors import InputRejected
from budgetc.runtime.monitor import Monitor, MonitorTable, log_mixture, pack_scores

NORMALS = np.random.default_rng(1).normal(size=200)
SCORES = st.floats(-1e6, 1e6, width=32)


def table(scores: "list[float] | np.ndarray[tuple[int], np.dtype[np.float64]]" = NORMALS) -> MonitorTable:
    packed, lowest, step = pack_scores(list(scores))
    return MonitorTable(packed, lowest, step, drift=0.5, threshold=10.0, run_length=1000)


def fresh_p_values(count: int, smoothing: bool, *, tied: bool = False) -> list[float]:
    """A p-value each of `count` calibrations of 40 normals, drawn anew with the normal that is judged."""
    rng, found = np.random.default_rng(5), []
    for seed in range(count):
        drawn = rng.normal(size=41)
        if tied:
            drawn = drawn.round()
        monitor = Monitor(table(drawn[1:]), smoothing=seed if smoothing else None)
        found.append(monitor.update(float(drawn[0])).p_value)
    return found


@pytest.mark.parametrize("tied", [False, True])
def test_smoothed_p_values_of_normals_are_uniform(tied: bool) -> None:
    """Kolmogorov-Smirnov, n = 2000, each against a calibration of its own; also where scores tie."""
    assert kstest(fresh_p_values(2000, smoothing=True, tied=tied), "uniform").pvalue > 0.05


@pytest.mark.parametrize("tied", [False, True])
def test_p_values_of_normals_are_never_too_small(tied: bool) -> None:
    """P(p <= a) <= a for every a: their distribution function is not above the uniform one by more than chance."""
    found = fresh_p_values(2000, smoothing=False, tied=tied)
    assert kstest(found, "uniform", alternative="greater").pvalue > 0.05
    assert kstest(found, "uniform").pvalue < 0.05 or not tied  # ties make them too large, which smoothing does not


def test_p_values_count_normals() -> None:
    """max(#{calibration >= score} + 1, 2) / (n + 1), arXiv 2108.11800."""
    monitor = Monitor(table([1.0, 2.0, 3.0, 4.0]))
    assert [monitor.update(score).p_value for score in (0.0, 1.0, 2.5, 4.0, 9.0)] == [1.0, 1.0, 0.6, 0.4, 0.4]


@given(st.lists(SCORES, min_size=1, max_size=60), st.data())
def test_packing_makes_no_p_value_smaller(scores: list[float], data: st.DataObject) -> None:
    """Scores are told apart by a 65,535th of their range; who shares a step counts as equal."""
    packed = table(scores)
    assert packed.codes() == [packed.code(score) for score in sorted(scores)]
    assert packed.codes()[0] >= 0 and packed.codes()[-1] <= 65_535
    score = data.draw(SCORES | st.sampled_from(scores))
    assert Monitor(packed).update(score).p_value >= (sum(one >= score for one in scores) + 1) / (len(scores) + 1)


@pytest.mark.parametrize(("evidence", "frames"), [(0.0, 1), (0.7, 1), (9.0, 3), (20.0, 20), (60.0, 20)])
def test_the_martingale_is_the_integral(evidence: float, frames: int) -> None:
    """Of e^k exp((1 - e) s) over e in (0, 1), by quadrature."""
    integral, _ = quad(lambda e: e**frames * math.exp((1 - e) * evidence), 0, 1)
    assert log_mixture(evidence, frames) == pytest.approx(math.log(integral), rel=1e-9)


def test_the_martingale_does_not_overflow() -> None:
    """1000 frames of p = 1e-6: exp(13815) is no float, its logarithm is (s >> k: s + log k! - (k + 1) log s)."""
    evidence, frames = 1000 * math.log(1e6), 1000
    expected = evidence + math.lgamma(frames + 1) - (frames + 1) * math.log(evidence)
    assert log_mixture(evidence, frames) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_normals_do_not_raise_the_martingale(frames: int) -> None:
    """Its expectation over all ranks that normals can have is at most 1: exactly, not by simulation."""
    found = []
    for ranks in itertools.product(np.arange(10) + 0.5, repeat=frames):
        monitor = Monitor(table([float(number) for number in range(1, 10)]))
        found.append([math.exp(monitor.update(rank).log_martingale) for rank in ranks][-1])
    assert len(found) == 10**frames
    assert np.mean(found) <= 1


def test_the_martingale_of_many_normals_is_small_and_grows_when_they_shift() -> None:
    """Simulated over 400 streams of 20 frames, each with a calibration of its own: mean at most 1; a shift by two
    standard deviations multiplies it by more than a thousand.
    """
    rng, ends = np.random.default_rng(2), []
    for _ in range(400):
        monitor = Monitor(table(rng.normal(size=255)))
        ends.append([monitor.update(score).log_martingale for score in rng.normal(size=20)][-1])
        shifted = [monitor.update(score).log_martingale for score in rng.normal(size=20) + 2][-1]
        assert shifted > math.log(1000)
    grown = np.exp(ends)
    assert grown.mean() <= 1 + 2 * grown.std() / math.sqrt(len(grown))


def test_the_martingale_looks_back_on_its_window_only() -> None:
    """Frames before the latest 20 do not count."""
    odd, even = Monitor(table()), Monitor(table())
    for _ in range(50):
        odd.update(9.0)
    ends = [(odd.update(score).log_martingale, even.update(score).log_martingale) for score in NORMALS[:20]]
    assert ends[-1][0] == pytest.approx(ends[-1][1])
    assert ends[-2][0] > ends[-2][1]


def test_cusum_adds_what_exceeds_the_drift() -> None:
    """S = max(0, S + log M - drift), and an alarm when S > threshold."""
    monitor, total = Monitor(table()), 0.0
    for number, score in enumerate([*NORMALS[:30], *(NORMALS[:30] + 3)], 1):
        state = monitor.update(float(score))
        total = max(0.0, total + state.log_martingale - 0.5)
        assert (state.cusum, state.alarm, state.frame) == (total, total > 10, number)
    assert state.alarm


@pytest.mark.parametrize("smoothing", [None, 7])
@pytest.mark.parametrize("after", [0, 1, 33])
def test_a_restored_monitor_goes_on(smoothing: "int | None", after: int) -> None:
    """What another process restores says the same of all further frames."""
    monitor = Monitor(table(), smoothing=smoothing)
    for score in NORMALS[:after]:
        monitor.update(score)
    other = Monitor.from_json(monitor.to_json(), table())
    assert other.to_json() == monitor.to_json()
    further = NORMALS[after : after + 40] + 1.5
    assert [other.update(score) for score in further] == [monitor.update(score) for score in further]


def test_reset_forgets_all_frames() -> None:
    """After it the monitor is as new."""
    monitor = Monitor(table(), smoothing=3)
    for score in NORMALS[:25]:
        monitor.update(score + 5)
    monitor.reset()
    assert monitor.to_json() == Monitor(table(), smoothing=3).to_json()


def test_the_seed_decides_smoothed_p_values() -> None:
    """The same seed gives the same p-values, another one others, each frame its own."""

    def drawn(seed: int) -> list[float]:
        monitor = Monitor(table([1.0]), smoothing=seed)
        return [monitor.update(0.0).p_value for _ in range(5)]

    assert drawn(0) == drawn(0) != drawn(1)
    assert len(set(drawn(0))) == 5


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_is_refused(score: float) -> None:
    """And the monitor stays as it was."""
    monitor = Monitor(table())
    monitor.update(0.5)
    before = monitor.to_json()
    with pytest.raises(InputRejected, match=r"monitor: frame 2 has the score (nan|-?inf); expected a number"):
        monitor.update(score)
    assert monitor.to_json() == before


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "null", json.dumps({"table": 1, "smoothing": "x", "frame": 0, "cusum": 0, "evidence": []})]
)
def test_a_damaged_state_is_refused(text: str) -> None:
    """Whatever is no state of a monitor."""
    with pytest.raises(InputRejected, match="the state of a monitor cannot be read"):
        Monitor.from_json(text, table())


def test_a_state_of_another_table_is_refused() -> None:
    """A fitted-anew file has other scores; its p-values do not mix with those of the old one."""
    with pytest.raises(InputRejected, match="is one of another artifact"):
        Monitor.from_json(Monitor(table()).to_json(), replace(table(), threshold=11.0))


def test_a_state_without_numbers_is_refused() -> None:
    """NaN is valid for Python's JSON, and would never raise an alarm."""
    state = json.loads(Monitor(table()).to_json())
    with pytest.raises(InputRejected, match="holds no finite numbers"):
        Monitor.from_json(json.dumps({**state, "cusum": math.nan}), table())
