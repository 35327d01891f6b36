"""The search on tables whose every AUROC is known: what an oracle knows, the search must find."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budgetc.search.decide import decide
from budgetc.search.finalists import backup, closest, finalists, near_ties, safeguard
from budgetc.search.gaussian_process import posterior
from budgetc.search.space import (
    FULL,
    QUICK,
    PriceStructure,
    Row,
    Rules,
    Screen,
    Stop,
    Train,
    compliant,
    incumbent,
    order,
)

WIDTHS = (1.0, 0.5, 0.25, 0.125)


def surface(seed: int) -> list[tuple[Row, float]]:
    """Forty-eight structures and the AUROC that full training would give each: smooth, saturating, a little rough."""
    rng = np.random.default_rng(seed)
    slope_student, slope_teacher, drop = rng.uniform(0.01, 0.06, 3)
    table = list[tuple[Row, float]]()
    for student, teacher, rounded, half in itertools.product(WIDTHS, WIDTHS, (0.0, 1.0), (0.0, 0.1)):
        if rounded and half:
            continue
        values = (math.log2(student), math.log2(teacher), 0.0, float(teacher < 1), rounded, rounded, 0.0, half)
        size = round(4_000_000 * (0.7 * teacher**2 + 0.3 * student**2) / (4 if rounded else 2 if half else 1)) + 9000
        quality = 0.97 + slope_student * values[0] + slope_teacher * values[1] - drop * 0.3 * rounded
        auroc = float(np.clip(quality + rng.normal(0, 0.004), 0.5, 1.0))
        table.append((Row(f"{len(table):03d}", values, trains=student < 1 or teacher < 1, size=size, fits=True), auroc))
    return table


def solve(table: list[tuple[Row, float]], rules: Rules) -> tuple[Row | None, int]:
    """Run the search against the table; the winner and the number of trainings of any rung."""
    rows = {row.id: row for row, _ in table}
    truth = {row.id: auroc for row, auroc in table}
    trainings = 0
    for _ in range(1000):
        decision = decide(list(rows.values()), rules)
        if isinstance(decision, Stop):
            return incumbent(list(rows.values()), rules), trainings
        assert isinstance(decision, Train)
        row = rows[decision.id]
        assert decision.rung not in row.auroc, "no training is repeated"
        trainings += int(row.trains)
        found = truth[row.id] - (0.01 if decision.rung == QUICK else 0.0)
        rows[row.id] = Row(row.id, row.settings, row.trains, row.size, row.fits, {**row.auroc, decision.rung: found})
    raise AssertionError("the search does not end")


def oracle(table: list[tuple[Row, float]], rules: Rules) -> Row | None:
    """The smallest structure that complies, by looking at all of them."""
    known = [Row(r.id, r.settings, r.trains, r.size, r.fits, {FULL: auroc}) for r, auroc in table]
    return min((row for row in known if compliant(row, rules)), key=order, default=None)


def test_finds_what_the_oracle_finds_with_half_the_trainings() -> None:
    """Over twenty surfaces and floors: the oracle's winner in nine of ten, at most half the structures trained."""
    hits, shares = [], []
    for seed, floor in itertools.product(range(10), (0.86, 0.92)):
        table, rules = surface(seed), Rules(None, floor, trainings_left=1000)
        winner, trainings = solve(table, rules)
        best = oracle(table, rules)
        hits.append((winner and winner.id) == (best and best.id))
        shares.append(trainings / len(table))
    assert sum(hits) >= 18, hits
    assert np.median(shares) <= 0.5, shares


@pytest.mark.parametrize("seed", range(4))
def test_loosening_the_floor_never_makes_the_artifact_larger(seed: int) -> None:
    """A lower floor allows everything that a higher one allows."""
    sizes = []
    for floor in (0.95, 0.92, 0.89, 0.86, 0.80):
        winner, _ = solve(surface(seed), Rules(None, floor, trainings_left=1000))
        sizes.append(math.inf if winner is None or winner.size is None else winner.size)
    assert sizes == sorted(sizes, reverse=True)


def test_prices_before_anything_else() -> None:
    """Sizes are known before a structure is screened or trained."""
    rows = [Row("a", (0.0,), True, size=10, fits=True), Row("b", (0.0,), True)]
    assert decide(rows, Rules(None, 0.9, 10)) == PriceStructure("b")


def test_screens_before_it_trains() -> None:
    """Latency and memory need no training, so they come first."""
    assert decide([Row("a", (0.0,), True, size=10)], Rules(None, 0.9, 10)) == Screen("a")


def test_starts_with_a_quick_training() -> None:
    """A full training is spent only on what a quick one did not rule out."""
    decision = decide([Row("a", (0.0,), True, size=10, fits=True)], Rules(None, 0.9, 10))
    assert isinstance(decision, Train)
    assert decision.rung == QUICK


def test_a_short_time_still_has_an_answer() -> None:
    """Where nothing was judged yet, the one that needs no training and hardly any rounding is; then it ends."""
    rows = [Row("a", (0.0,), True, size=5, fits=True), Row("b", (1.0,), False, size=9, stored_bits=8),
            Row("c", (2.0,), False, size=7, fits=True, stored_bits=3)]  # fmt: skip
    rules = Rules(10, 0.9, 9, time_is_up=True)
    assert decide(rows, rules) == Screen("b")
    rows[1] = replace(rows[1], fits=True)
    found = decide(rows, rules)
    assert isinstance(found, Train) and (found.id, found.rung) == ("b", FULL)
    rows[1] = replace(rows[1], auroc={FULL: 0.85})
    stop = decide(rows, rules)
    assert isinstance(stop, Stop) and stop.reason.startswith("the time is up; 2 smaller structures")


def test_seconds_are_spent_before_minutes() -> None:
    """A few bits of the network as it is are looked at before a training that might save somewhat more."""
    rows = [Row("a", (0.0,), False, size=100, fits=True, stored_bits=8, auroc={FULL: 0.95}),
            Row("b", (1.0,), False, size=40, fits=True, stored_bits=3),
            Row("c", (1.0,), True, size=20, fits=True, stored_bits=8)]  # fmt: skip
    found = decide(rows, Rules(None, 0.9, 9))
    assert isinstance(found, Train) and found.id == "b"


def test_what_needs_no_training_has_one_rung() -> None:
    """PTQ is judged at once."""
    decision = decide([Row("a", (0.0,), False, size=10, fits=True)], Rules(None, 0.9, 0))
    assert isinstance(decision, Train)
    assert decision.rung == FULL


@pytest.mark.parametrize(
    ("row", "rules", "reason"),
    [
        (Row("a", (0.0,), True, size=20, fits=True), Rules(10, 0.9, 9), "nothing was worth training"),
        (Row("a", (0.0,), True, size=5, fits=False), Rules(10, 0.9, 9), "nothing was worth training"),
        (Row("a", (0.0,), True, failed=True), Rules(10, 0.9, 9), "nothing was worth training"),
        (Row("a", (0.0,), True, size=5, fits=True), Rules(10, 0.9, 0), "all trainings are spent"),
        (Row("a", (0.0,), True, size=5, fits=True), Rules(10, 0.9, 9, time_is_up=True), "the time is up"),
        (Row("a", (0.0,), True, size=5, fits=True, auroc={FULL: 0.95}), Rules(10, 0.9, 9), "no structure is smaller"),
        (Row("a", (0.0,), True, size=5, fits=True, auroc={FULL: 0.85}), Rules(10, 0.9, 9), "every structure that"),
    ],
)  # fmt: skip
def test_stops_and_says_why(row: Row, rules: Rules, reason: str) -> None:
    """Each way to end has its own sentence."""
    decision = decide([row], rules)
    assert isinstance(decision, Stop)
    assert reason in decision.reason


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ([], "no structure is smaller"),
        ([Row("slow", (0.0,), True, size=2, fits=False), Row("bad", (0.0,), True, size=3, fits=True,
                                                             auroc={FULL: 0.5})],
         "none of the 2 smaller structures complies"),
        ([Row("slow", (0.0,), True, size=2, fits=False), Row("broken", (0.0,), True, failed=True)],
         "the only smaller structure does not comply; 1 of 4 could not be built"),
        ([Row("broken", (0.0,), True, failed=True)],
         "no smaller structure could be judged; 1 of 3 could not be built"),
    ],
)  # fmt: skip
def test_what_is_said_of_smaller_structures_is_true(others: list[Row], said: str) -> None:
    """Too slow, too bad and never built are not the same."""
    best = Row("best", (-1.0,), True, size=5, fits=True, auroc={FULL: 0.95})
    decision = decide([best, Row("large", (0.0,), True, size=9, fits=True), *others], Rules(None, 0.9, 9))
    assert decision == Stop(said)


def test_without_a_floor_the_smallest_is_trained() -> None:
    """A budget without AUROC asks for the smallest structure that fits."""
    rows = [Row(name, (0.0,), True, size=size, fits=True) for name, size in (("a", 9), ("b", 5), ("c", 7))]
    decision = decide(rows, Rules(None, None, 9))
    assert isinstance(decision, Train)
    assert decision.id == "b"


@given(st.permutations(range(12)))
@settings(max_examples=30, deadline=None)
def test_the_order_of_rows_does_not_matter(permutation: list[int]) -> None:
    """Equal knowledge, equal decision."""
    rows = [row for row, _ in surface(3)[:12]]
    rules = Rules(None, 0.9, 100)
    assert decide([rows[i] for i in permutation], rules) == decide(rows, rules)


def test_posterior_passes_through_what_is_known_and_widens_elsewhere() -> None:
    """Near an observation the process is sure, far from it it is not."""
    known, values = np.array([[0.0], [1.0]]), np.array([0.9, 0.95])
    found = posterior(known, values, np.full(2, 1e-3), np.array([[0.0], [1.0], [9.0]]), prior_mean=0.9)
    assert found.mean[:2] == pytest.approx(values, abs=5e-3)
    assert found.deviation[2] > 5 * found.deviation[0]


def test_chance_of_the_prior_is_one_half() -> None:
    """With nothing known, reaching the floor is as likely as not."""
    nothing = posterior(np.zeros((0, 2)), np.zeros(0), np.zeros(0), np.zeros((3, 2)), prior_mean=0.9)
    assert nothing.above(0.9) == pytest.approx(0.5)


def row(name: str, size: int, auroc: float) -> Row:
    """A fully trained structure."""
    return Row(name, (0.0,), True, size=size, fits=True, auroc={FULL: auroc})


def test_finalists_are_the_smallest_the_safe_and_the_best() -> None:
    """The smallest may have passed by luck, so two safer ones follow it."""
    rows = [
        row("lucky", 1, 0.901),
        row("safe", 2, 0.93),
        row("best", 3, 0.97),
        row("large", 4, 0.96),
        row("bad", 1, 0.8),
    ]
    assert finalists(rows, Rules(None, 0.9, 0), standard_error=0.02) == ("lucky", "safe", "best")


def test_the_next_smallest_fill_up() -> None:
    """Where the smallest is the safe and the best one too, others get their look."""
    rows = [row("best", 100, 0.97), row("third", 300, 0.92), row("second", 200, 0.91), row("fourth", 400, 0.93)]
    assert finalists(rows, Rules(None, 0.9, 0), standard_error=0.02) == ("best", "second", "third")


def test_other_networks_fill_up_before_other_formats() -> None:
    """What fails in INT8 on confirmation seldom passes in FP16."""
    rows = [replace(row(name, size, 0.92), network=name[0]) for name, size in
            (("a-int8", 100), ("a-fp16", 200), ("b-int8", 300), ("b-fp16", 400), ("c-int8", 500))]  # fmt: skip
    assert finalists(rows, Rules(None, 0.9, 0), standard_error=0.05) == ("a-int8", "b-int8", "c-int8")


def test_backups_are_other_networks_that_need_no_training() -> None:
    """The smallest of a network that nothing is known of, and only while something passes and places are left."""
    known = replace(row("known", 100, 0.95), network="a")
    open_rows = [
        Row("same", (0.0,), False, size=110, fits=True, network="a"),
        Row("trained", (0.0,), True, size=120, fits=True, network="b"),
        Row("large", (0.0,), False, size=140, network="c"),
        Row("next", (0.0,), False, size=130, network="c"),
        Row("slow", (0.0,), False, size=125, fits=False, network="d"),
    ]
    rules = Rules(None, 0.9, 0)
    found = backup([known, *open_rows], rules)
    assert found is not None and found.id == "next"
    assert backup(open_rows, rules) is None
    enough = [replace(row(name, 200, 0.95), network=name) for name in ("e", "f")]
    assert backup([known, *open_rows, *enough], rules) is None


def test_a_pass_that_may_be_luck_is_backed_by_a_safer_one() -> None:
    """The best of the quick trainings that pass by a standard error is trained in full, then stored in fewer bits."""
    lucky = row("lucky", 100, 0.91)
    quick = Row("quick", (0.0,), True, size=300, fits=True, auroc={QUICK: 0.96}, training="t", stored_bits=8)
    others = [
        replace(quick, id="worse", auroc={QUICK: 0.95}, training="u"),
        replace(quick, id="unsafe", auroc={QUICK: 0.92}, training="v"),
        replace(quick, id="slow", auroc={QUICK: 0.99}, fits=False),
        replace(quick, id="fewer", size=200, auroc={}, fits=None, stored_bits=4),
        replace(quick, id="more", size=400, auroc={}, stored_bits=16),
    ]
    rules = Rules(None, 0.9, 5)
    assert safeguard([lucky, quick, *others], rules, 0.03) == quick
    assert safeguard([lucky, quick, *others], rules, 0.005) is None  # it is safe itself
    assert safeguard([lucky, quick, *others], Rules(None, 0.9, 0), 0.03) is None
    assert safeguard([quick, *others], rules, 0.03) is None
    trained = replace(quick, auroc={QUICK: 0.96, FULL: 0.97})
    found = safeguard([lucky, trained, *others], rules, 0.03)
    assert found is not None and found.id == "fewer"
    assert finalists([lucky, trained, *others], rules, 0.03) == ("lucky", "quick")


def test_of_equally_small_ones_the_better_comes_first() -> None:
    """One percent of bytes decides nothing."""
    rows = [row("a", 1000, 0.91), row("b", 1009, 0.93), row("c", 1011, 0.99)]
    assert finalists(rows, Rules(None, 0.9, 0), standard_error=0.05) == ("b", "a", "c")


def test_equals_that_need_no_training_are_looked_at() -> None:
    """A training is not spent on them."""
    known = row("known", 1000, 0.95)
    for trained, expected in ((False, True), (True, False)):
        other = Row("other", (0.0,), trained, size=1005, fits=True)
        decision = decide([known, other], Rules(None, 0.9, 10))
        assert isinstance(decision, Train) == expected


def test_no_finalist_without_a_compliant_structure() -> None:
    """Nothing passed, nothing is confirmed."""
    assert finalists([row("bad", 1, 0.8)], Rules(None, 0.9, 0), standard_error=0.02) == ()


def test_near_ties_are_the_close_misses_and_the_equals() -> None:
    """A reader learns what a slightly other measurement would have chosen."""
    rows = [
        row("miss", 1, 0.895),
        row("far", 1, 0.85),
        row("won", 100, 0.93),
        row("equal", 101, 0.94),
        row("big", 200, 0.95),
    ]
    assert near_ties(rows, Rules(None, 0.9, 0), "won", standard_error=0.02) == ("equal", "miss")


def test_a_network_that_is_trained_is_looked_at_in_fewer_bits_at_once() -> None:
    """No quick training of it, and before another network is trained, even with no training left."""

    def row(name: str, width: float, size: int, **known: object) -> Row:
        bits = float(name.partition("-")[2])
        settings = (width, 0.1 + math.log2(8 / bits))
        return Row(name, settings, True, size, True, training=name[0], stored_bits=bits, **known)  # type: ignore[arg-type]

    rows = [
        row("a-8", -1.0, 80_000, auroc={QUICK: 0.93, FULL: 0.95}),
        row("a-4", -1.0, 40_000),
        row("b-8", -2.0, 30_000),
    ]
    for left in (10, 0):
        decision = decide(rows, Rules(None, 0.9, trainings_left=left))
        assert isinstance(decision, Train) and (decision.id, decision.rung) == ("a-4", FULL)


def test_few_bits_are_not_tried_before_the_network_itself() -> None:
    """What is hardly rounded tells most; codes of two bits come when a model of AUROC says that they may pass."""
    rows = [
        Row(f"{bits}", (0.0, 0.1 + math.log2(8 / bits)), False, 10_000 * bits, True, stored_bits=float(bits))
        for bits in (2, 4, 8)
    ]
    decision = decide(rows, Rules(None, 0.9, trainings_left=0))
    assert isinstance(decision, Train) and decision.id == "8"


def test_a_quick_training_is_judged_in_most_bits() -> None:
    """Once for a network, however many storages it has; then the one that promises most is trained in full."""
    rows = [
        Row(
            str(bits), (-1.0, 0.1 + math.log2(8 / bits)), True, 1000 * bits, True, training="a", stored_bits=float(bits)
        )
        for bits in (2, 4, 8)
    ]
    first = decide(rows, Rules(None, 0.9, trainings_left=9))
    assert isinstance(first, Train) and (first.id, first.rung) == ("8", QUICK)
    rows[2] = replace(rows[2], auroc={QUICK: 0.95})
    second = decide(rows, Rules(None, 0.9, trainings_left=9))
    assert isinstance(second, Train) and second.rung == FULL


@pytest.mark.parametrize(("left", "rung"), [(2, QUICK), (1, FULL)])
def test_the_last_training_is_a_full_one(left: int, rung: int) -> None:
    """A quick one that none can follow would never become an artifact."""
    rows = [Row("small", (-1.0,), True, size=5, fits=True), Row("large", (0.0,), False, size=9, fits=True,
                                                                auroc={FULL: 0.95})]  # fmt: skip
    decision = decide(rows, Rules(10, 0.9, trainings_left=left))
    assert isinstance(decision, Train) and (decision.id, decision.rung) == ("small", rung)


def test_what_came_nearest_keeps_the_size_where_anything_does() -> None:
    """A structure that turned out larger than its price is not shown as the nearest to a smaller one's limit."""
    rows = [
        Row("over", (0.0,), True, size=12, fits=True, auroc={FULL: 0.9}),
        Row("quick", (0.0,), True, size=9, fits=True, auroc={QUICK: 0.8}),
        Row("worse", (0.0,), True, size=8, fits=True, auroc={FULL: 0.7}),
        Row("slow", (0.0,), True, size=7, fits=False, auroc={FULL: 0.95}),
    ]
    found = closest(rows, Rules(10, 0.95, 9))
    assert found is not None and found.id == "quick"
    assert closest(rows[:1], Rules(10, 0.95, 9)) == rows[0]
    assert closest(rows[3:], Rules(10, 0.95, 9)) is None
