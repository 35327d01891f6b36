import contextlib
import json
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from budgetc.core.statistics import percentile_bounds
from budgetc.errors import UsageError
from budgetc.measurement.latency import (
    LatencyResult,
    Pairs,
    collect,
    measure_latency,
    plain_pairs,
    read_pairs,
    screen_latency,
)
from budgetc.measurement.pairs import Block, Effort, Pair, Subject, time_pair
from budgetc.measurement.scorer import ScoringProcess
from budgetc.runtime.device_worker import calls_of_block, warm_up
from tests.measurement.scene import write_images
from tests.runtime.tiny import write_artifact

STAGES = {"decode_ms": 0.25, "graph_ms": 0.5, "post_ms": 0.25, "total_ms": 1.0}


def block(subject: Subject, total: Sequence[float]) -> Block:
    """A block whose stages are fixed shares of the total."""
    return Block(subject, {stage: [share * ms for ms in total] for stage, share in STAGES.items()})


def pair(artifact_ms: float = 2.0, *, drift: float = 0.0, calls: int = 30, seed: int = 0, settled: bool = True) -> Pair:
    """An ABBA pair with a baseline of 4 ms that slows down by `drift` on the way."""
    rng = np.random.default_rng(seed)
    own = [(artifact_ms * (1 + 0.01 * rng.random(calls))).tolist() for _ in range(2)]
    canary = 4 * (1 + 0.01 * rng.random(calls))
    blocks = (
        block("artifact", own[0]),
        block("baseline", canary.tolist()),
        block("baseline", (canary * (1 + drift)).tolist()),
        block("artifact", own[1]),
    )
    return Pair(blocks, settled)


def gather(pairs: Iterable[Pair], *, processes: int = 5, where: str = "a machine", **limits: float) -> LatencyResult:
    """What the protocol makes of these pairs."""
    source = iter(pairs)
    return collect(lambda: next(source), processes=processes, limits=limits, where=where)


def bounds(result: LatencyResult, metric: str) -> tuple[float, float]:
    """Lower and upper bound of the artifact's metric."""
    found = result.artifact[metric]
    assert found.lower is not None
    assert found.upper is not None
    return found.lower, found.upper


def test_percentiles_are_pooled_over_processes() -> None:
    """Values come from all samples of the kept pairs; n counts them."""
    pairs = [pair(seed=seed) for seed in range(5)]
    result = gather(pairs)
    samples = [ms for p in pairs for ms in p.times("artifact", "total_ms")]
    assert result.artifact["latency_p95"].value == percentile_bounds(samples, 0.95).value
    assert result.artifact["latency_p95"].n == 300
    assert (result.pairs.kept, result.pairs.discarded, result.drifted) == (tuple(pairs), (), False)


def test_bounds_hold_every_process() -> None:
    """One slow process of five widens the bounds to itself, whatever the pooled samples say."""
    result = gather([*[pair(2.0, seed=seed) for seed in range(4)], pair(3.0, seed=4)])
    lower, upper = bounds(result, "latency_p50")
    assert lower < 2.02
    assert upper > 3.0
    assert result.artifact["latency_p50"].value < 2.03


def test_p99_needs_299_samples() -> None:
    """A percentile that the samples do not support is left out, not guessed."""
    assert "latency_p99" in gather([pair(seed=seed, calls=30) for seed in range(5)]).artifact
    assert "latency_p99" not in gather([pair(seed=seed, calls=29) for seed in range(5)]).artifact


def test_too_few_samples_for_p95() -> None:
    """With 50 calls there is a median and no p95."""
    found = gather([pair(seed=seed, calls=5) for seed in range(5)]).artifact
    assert "latency_p50" in found
    assert "latency_p95" not in found


def test_stages_have_medians() -> None:
    """Decode, graph and post-processing are reported beside the whole."""
    found = gather([pair(seed=seed) for seed in range(5)]).artifact
    assert found["latency_graph_p50"].value == pytest.approx(found["latency_p50"].value / 2)
    assert found["latency_decode_p50"].value == pytest.approx(found["latency_p50"].value / 4)
    assert found["latency_post_p50"].value == pytest.approx(found["latency_p50"].value / 4)


def test_ratio_is_the_median_of_pairs() -> None:
    """Artifact over baseline per pair; the extremes are its bounds, with the sign test's confidence."""
    result = gather([pair(ms, seed=seed) for seed, ms in enumerate((2.0, 2.0, 2.0, 1.0, 3.0))])
    assert result.ratio.value == pytest.approx(0.5, rel=0.01)
    assert result.ratio.lower == pytest.approx(0.25, rel=0.01)
    assert result.ratio.upper == pytest.approx(0.75, rel=0.01)
    assert (result.ratio.n, result.ratio.confidence) == (5, 0.9375)


def test_drifting_pair_is_repeated() -> None:
    """A pair during which the baseline slowed by 5 % counts nowhere, and another takes its place."""
    steady = [pair(seed=seed) for seed in range(5)]
    result = gather([steady[0], pair(9.0, drift=0.05), *steady[1:]])
    assert result.pairs.kept == tuple(steady)
    assert len(result.pairs.discarded) == 1
    assert bounds(result, "latency_p99")[1] < 3
    assert not result.drifted


def exhausted(pairs: Iterable[Pair]) -> LatencyResult:
    """What the protocol makes of these pairs where no more can be drawn."""
    return collect(partial(next, iter(pairs), None), processes=5, limits={}, where="a board")


def test_too_few_steady_pairs_are_pooled_with_the_drifted_ones() -> None:
    """Two steady ones of seven are not chosen to judge by: the five slow ones are in the bounds, and it says so."""
    result = exhausted([*[pair(2.0, seed=seed) for seed in range(2)], *[pair(3.0, drift=0.2) for _ in range(5)]])
    assert result.drifted
    assert bounds(result, "latency_p95")[1] > 3.0
    assert result.ratio.n == len(result.pairs.used) == 7
    assert "changed by more than 3 %" in (result.artifact["latency_p95"].note or "")


def test_enough_steady_pairs_are_enough_where_no_more_can_be_drawn() -> None:
    """Five steady ones of eight: the drifted ones count nowhere."""
    drifted = [pair(3.0, drift=0.2, seed=seed) for seed in range(3)]
    result = exhausted([*drifted, *[pair(2.0, seed=seed) for seed in range(5)]])
    assert (len(result.pairs.kept), len(result.pairs.discarded), result.drifted) == (5, 3, False)


def test_small_drift_is_tolerated() -> None:
    """2.9 % is within what a calm machine does."""
    assert gather([pair(seed=seed, drift=0.029) for seed in range(5)]).pairs.discarded == ()


def test_drift_without_end_widens_the_bounds() -> None:
    """After 5 repeats the result says so, and its bounds hold the discarded pairs too."""
    discarded = [pair(3.0, drift=0.2, seed=seed) for seed in range(5)]
    result = gather([*discarded, *[pair(2.0, drift=0.2, seed=seed) for seed in range(5)]])
    lower, upper = bounds(result, "latency_p50")
    assert result.drifted
    assert lower < 2.02
    assert upper > 3.0
    assert len(result.pairs.discarded) == 5
    assert "changed by more than 3 %" in (result.artifact["latency_p50"].note or "")


def test_faster_baseline_is_drift_too() -> None:
    """A machine that speeds up is as little the same machine."""
    assert pair(drift=-0.05).drifted


def test_open_limit_gets_more_pairs() -> None:
    """While a limit lies within the bounds, pairs are added, at most as many again."""
    pairs = [pair(seed=seed) for seed in range(10)]
    assert len(gather(pairs, latency_p50=2.01).pairs.kept) == 10
    assert len(gather(pairs, latency_p50=2.5).pairs.kept) == 5
    assert len(gather(pairs, latency_p50=1.5).pairs.kept) == 5


def test_warm_up_that_did_not_settle_is_noted() -> None:
    """A number from a machine that never got steady says so."""
    result = gather([pair(seed=0, settled=False), *[pair(seed=seed) for seed in range(1, 5)]])
    assert "warm-up ended before" in (result.baseline["latency_p95"].note or "")


def test_raw_samples_are_plain_and_complete() -> None:
    """Every sample of every pair can be stored."""
    result = gather([pair(drift=0.5), *[pair(seed=seed) for seed in range(5)]])
    raw = plain_pairs(result.pairs)
    count = [len(b["times"]["total_ms"]) for key in ("kept", "discarded") for p in raw[key] for b in p["blocks"]]
    assert sum(count) == 6 * 4 * 30


@pytest.mark.parametrize("killed_after", range(8))
def test_pairs_that_were_timed_before_count(killed_after: int) -> None:
    """Stopped after any pair, and gone on with from what was kept: the result of one go."""
    drawn = [pair(seed=0), pair(9.0, drift=0.05), *[pair(seed=seed) for seed in range(1, 7)]]
    kept, source = list[object](), iter(drawn)

    def draw() -> Pair:
        if len(kept) == killed_after:
            raise KeyboardInterrupt
        return next(source)

    with contextlib.suppress(KeyboardInterrupt):
        collect(draw, processes=6, limits={}, where="here", keep=lambda pairs: kept.append(plain_pairs(pairs)))
    known = read_pairs(json.loads(json.dumps(kept[-1] if kept else None)))
    rest = iter(drawn[len(kept) :])
    result = collect(lambda: next(rest), processes=6, limits={}, where="here", known=known)
    assert result == gather(drawn, processes=6, where="here")


def test_known_pairs_serve_another_limit() -> None:
    """Nothing is timed where they decide it; where they leave it open, pairs are added to them."""
    known = gather([pair(seed=seed) for seed in range(5)]).pairs
    more = iter([pair(seed=seed) for seed in range(5, 10)])
    decided = collect(lambda: next(more), processes=5, limits={"latency_p50": 2.5}, where="here", known=known)
    assert decided.pairs == known
    undecided = collect(lambda: next(more), processes=5, limits={"latency_p50": 2.01}, where="here", known=known)
    assert undecided.pairs.kept[:5] == known.kept
    assert len(undecided.pairs.kept) == 10


def resumed(known: Pairs, pairs: Iterable[Pair], **limits: float) -> LatencyResult:
    """What the protocol makes of pairs that were timed before, and of these where it wants more."""
    source = iter(pairs)
    return collect(lambda: next(source), processes=5, limits=limits, where="a machine", known=known)


CALM = [pair(seed=seed) for seed in range(20, 30)]


def test_pairs_of_a_drifting_machine_are_not_kept_for_good() -> None:
    """A noisy first run costs a second one nothing: it times fresh pairs and counts those alone."""
    known = gather([pair(3.0, drift=0.2, seed=seed) for seed in range(10)]).pairs
    again = resumed(known, CALM)
    assert again == gather(CALM)
    assert not again.drifted


def test_used_up_discards_are_not_kept_for_good() -> None:
    """Stopped after the last repeat: the next run has all its repeats again."""
    known = Pairs(discarded=tuple(pair(3.0, drift=0.2, seed=seed) for seed in range(5)))
    assert resumed(known, [pair(9.0, drift=0.2), *CALM]) == gather([pair(9.0, drift=0.2), *CALM])


def test_what_is_complete_and_decides_is_served_whatever_it_cost() -> None:
    """Five repeats and five calm pairs are a whole measurement: nothing is timed again."""
    known = gather([*[pair(3.0, drift=0.2, seed=seed) for seed in range(5)], *CALM]).pairs
    assert resumed(known, []).pairs == known


def test_open_limits_at_the_cap_are_measured_afresh_when_asked_again() -> None:
    """A limit within the bounds of ten pairs: the next run times its own, and none of the old ones count."""
    known = gather([pair(seed=seed) for seed in range(10)], latency_p50=2.01).pairs
    assert len(known.kept) == 10
    assert resumed(known, CALM, latency_p50=2.01).pairs.kept == tuple(CALM)


@pytest.mark.parametrize("content", [None, 3, {"kept": 1}, {"kept": [{"blocks": []}], "discarded": []}])
def test_anything_else_is_no_pairs(content: object) -> None:
    """What cannot be read is timed again."""
    assert read_pairs(content) == Pairs()


@pytest.mark.parametrize(
    ("artifact_ms", "baseline_ms", "expected"),
    [
        (10.0, 20.0, 30),  # 120 calls in four blocks
        (1.0, 4.0, 63),  # a quarter of a second of the baseline
        (0.1, 0.1, 120),  # but not more than four times as many
        (100.0, 200.0, 16),  # 20 s for both
        (5000.0, 9000.0, 3),  # slower than the cap: the least that five processes need for a p95
    ],
)
def test_blocks_are_long_enough_and_affordable(artifact_ms: float, baseline_ms: float, expected: int) -> None:
    """Blocks follow the speed of the detector, within the cap."""
    assert calls_of_block(artifact_ms, baseline_ms, calls=120, cap=20.0) == expected


def test_screening_is_one_short_process(tmp_path: Path) -> None:
    """60 calls support a p95 with bounds and no p99; the machine and the runtime are named."""
    found = screen_latency(write_artifact(tmp_path), write_images(tmp_path))
    p95 = found["latency_p95"]
    assert "latency_p99" not in found
    assert (p95.n, p95.unit, p95.kind, p95.note) == (60, "ms", "measured", "screened: one process")
    assert p95.lower is not None
    assert p95.upper is not None
    assert 0 < p95.lower <= p95.value <= p95.upper
    assert found["latency_p50"].value <= p95.value
    assert p95.device.endswith(", 1 thread")
    assert (p95.runtime or "").startswith("onnxruntime ")


def test_screening_needs_calls(tmp_path: Path) -> None:
    """Too few calls for a median are refused."""
    with pytest.raises(UsageError, match="calls is 4; a bounded median needs 5, a p95 59"):
        screen_latency(write_artifact(tmp_path), write_images(tmp_path), calls=4)


def test_larger_network_is_slower(tmp_path: Path) -> None:
    """A hundred times the arithmetic is visible in the graph, not in the decoding."""
    images = write_images(tmp_path)
    small = screen_latency(write_artifact(tmp_path / "small"), images)
    large = screen_latency(write_artifact(tmp_path / "large", layers=5, channels=64), images)
    assert large["latency_graph_p50"].value > 5 * small["latency_graph_p50"].value


def test_warm_up_lasts_as_long_as_asked(tmp_path: Path) -> None:
    """Calls, seconds and agreement are all waited for, and the last median is returned."""
    with ScoringProcess(write_artifact(tmp_path), write_images(tmp_path)) as process:
        milliseconds, settled = warm_up(process, calls=20, seconds=0.3, agreement=10.0)
    assert settled
    assert 0 < milliseconds < 1000


def test_warm_up_gives_up_in_the_end(tmp_path: Path) -> None:
    """Windows that can never agree end after a bounded number, and are reported."""
    with ScoringProcess(write_artifact(tmp_path), write_images(tmp_path)) as process:
        assert warm_up(process, calls=1, seconds=0.0, agreement=-1.0)[1] is False


@pytest.mark.parametrize(("processes", "calls"), [(0, 10), (5, 0)])
def test_effort_must_be_positive(tmp_path: Path, processes: int, calls: int) -> None:
    """No process or no call is no measurement."""
    directory, images = write_artifact(tmp_path), write_images(tmp_path)
    with pytest.raises(UsageError, match="both must be at least 1"):
        measure_latency(directory, directory, images, rng=np.random.default_rng(0), processes=processes, calls=calls)


@pytest.mark.slow
def test_pair_interleaves_both(tmp_path: Path) -> None:
    """Each half of the order is ABBA or BAAB, drawn; both have the same number of calls."""
    images = write_images(tmp_path)
    small = write_artifact(tmp_path / "small")
    large = write_artifact(tmp_path / "large", layers=5, channels=64)
    found = time_pair(small, large, images, effort=Effort(calls=20, cap=5.0), rng=np.random.default_rng(1))
    order = "".join(b.subject[0] for b in found.blocks)
    assert {order[:4], order[4:]} <= {"abba", "baab"}
    assert len(found.times("artifact", "total_ms")) == len(found.times("baseline", "total_ms")) >= 20
    assert found.ratio < 0.8


@pytest.mark.slow
def test_full_protocol_finds_no_difference_where_there_is_none(tmp_path: Path) -> None:
    """A against itself: 1 lies within the bounds of the ratio, and the raw samples are all there."""
    directory = write_artifact(tmp_path, layers=5, channels=32)
    messages: list[str] = []
    progress: Callable[[str], None] = messages.append
    result = measure_latency(
        directory, directory, write_images(tmp_path), rng=np.random.default_rng(0), calls=60, progress=progress
    )
    assert result.ratio.lower is not None
    assert result.ratio.upper is not None
    assert result.ratio.lower * 0.97 <= 1 <= result.ratio.upper * 1.03
    assert result.artifact["latency_p99"].n >= 300
    assert len(messages) == len(result.pairs.kept) + len(result.pairs.discarded)
