"""The error a user meets most: nearest miss, binding limit, what to relax."""

from typing import Any

import pytest

from budgetc.core.budget import Budget
from budgetc.report.nearest import judged_candidates, nearest, relaxations
from budgetc.report.refusal import refusal
from budgetc.report.schema import Report
from tests.report.example import PLANS, make_report, with_limits


def refused(**limits: Any) -> Report:
    """The example without a finished artifact, against other limits."""
    return make_report(budget=with_limits(make_report(), **limits), artifact=None, comparison=None, chosen=None)


def only(**limits: Any) -> Budget:
    return Budget.model_validate({"target": "host-cpu", "limits": limits})


def test_the_whole_error() -> None:
    """Who came nearest, every limit of it, and what to relax."""
    chosen, nearby = PLANS["chosen"].id, PLANS["trained"].id
    assert refusal(refused(latency_p95="10 ms")) == (
        f"No candidate keeps host-cpu (5 tried, 1 could not be built). "
        f"Nearest: distill(student 0.25) > prune(keep 0.4) [{nearby}]\n"
        "  latency_p95    16.0 ms    limit 10 ms    over by 60 %    (measured, n = 60)\n"
        "  peak_memory    118.0 MiB  limit 256 MiB  kept            (measured)\n"
        "  artifact_size  388.7 KiB  limit 1 MiB    kept            (measured)\n"
        "  auroc          0.891      limit 0.942    below by 5.4 %  (measured, n = 78; selection split)\n"
        "Try:\n"
        f"  latency_p95: 18 ms  then distill(student 0.25) > quantize [{chosen}] should comply "
        "(screened only: leave some room)"
    )


@pytest.mark.parametrize(
    ("limits", "advice"),
    [({"artifact_size": "200 KiB"}, "artifact_size: 412.9 KiB"),
     ({"peak_memory": "64 MiB"}, "peak_memory: 118 MiB"),
     ({"auroc": {"min": 0.97}}, "auroc: {min: 0.961}"),
     ({"auroc": {"max_drop": 0.0001}}, "auroc: {max_drop: 0.001}"),
     ({"auroc": {"min": 0.99, "max_drop": 0.0001}}, "auroc: {min: 0.961, max_drop: 0.001}")],
)  # fmt: skip
def test_each_limit_binds_once(limits: dict[str, Any], advice: str) -> None:
    """The advice is a line of the budget file, rounded so that the candidate keeps it."""
    assert advice in refusal(refused(**limits)).partition("Try")[2]


@pytest.mark.parametrize(
    "limits",
    [{"latency_p95": "10 ms"}, {"artifact_size": "200 KiB"}, {"peak_memory": "64 MiB"}, {"auroc": {"min": 0.97}},
     {"latency_p95": "0.003 ms"}, {"artifact_size": "7 B"}],
)  # fmt: skip
def test_following_the_advice_works(limits: dict[str, Any]) -> None:
    """With the relaxed limit in the budget, the candidate that was named breaks nothing."""
    report = refused(**limits)
    (relaxation,) = relaxations(report, judged_candidates(report))
    (text,) = relaxation.limits
    name, _, value = text.partition(": ")
    parsed = {"min": float(value[6:-1])} if name == "auroc" else value
    relaxed = refused(**{name: parsed})
    (named,) = [one for one in judged_candidates(relaxed) if one.candidate.id == relaxation.by.id]
    assert named.broken == ()


def test_an_untrained_candidate_says_why_it_was_not_trained() -> None:
    """Its latency already fails: its AUROC is unknown, and so is whether relaxing is enough."""
    report = refused(latency_p95="20 ms", artifact_size="2 MiB")
    (slow,) = [one for one in report.candidates if one.fate == "discarded"]
    text = refusal(report.model_copy(update={"candidates": (slow,)}))
    assert "latency_p95    31.2 ms    limit 20 ms    over by 56 %" in text
    assert "not trained (its latency_p95 already fails)" in text
    assert "latency_p95: 32 ms  then quantize" in text
    assert "may comply (not everything about it is known yet)" in text


def test_candidates_that_nobody_trained_are_mentioned() -> None:
    """The search ran out of trainings or time: that, too, can be relaxed."""
    report = refused(latency_p95="35 ms", artifact_size="2 MiB", auroc={"min": 0.99})
    text = refusal(report)
    assert "search: more trainings or time (1 that may comply were not trained)" in text


def test_plans_that_do_not_apply_are_no_advice() -> None:
    """They were discarded before they were priced: no training and no limit makes them comply."""
    report = refused(latency_p95="35 ms", artifact_size="2 MiB", auroc={"min": 0.99})
    never = tuple(
        one.model_copy(update={"artifact_size": None, "screened": (), "reason": "a VAE deploys no teacher"})
        if one.fate == "discarded" else one for one in report.candidates
    )  # fmt: skip
    text = refusal(report.model_copy(update={"candidates": never}))
    assert "may comply" not in text
    assert len(judged_candidates(report.model_copy(update={"candidates": never}))) == 3


def test_where_no_single_limit_is_enough_the_nearest_needs_several() -> None:
    """They are given together."""
    text = refusal(refused(latency_p95="10 ms", artifact_size="200 KiB"))
    assert "latency_p95: 16 ms and artifact_size: 388.7 KiB and auroc: {min: 0.891, max_drop: 0.071}  then" in text


def test_nearest_is_the_smallest_worst_excess() -> None:
    """Computed by hand: 60 %, 79 % and 84 % over 10 ms; the AUROC of the first misses by less than that."""
    judged = judged_candidates(refused(latency_p95="10 ms"))
    closest = nearest(judged)
    assert closest is not None
    assert closest.worst == pytest.approx(0.6)
    assert [round(one.worst, 2) for one in judged] == [0.79, 0.84, 0.6, 2.12]


def test_ties_go_to_the_smaller_id() -> None:
    """Whatever the order of the candidates."""
    report = refused(peak_memory="64 MiB", auroc={"min": 0.5})
    judged = judged_candidates(report)[:2]
    assert judged[0].worst == judged[1].worst
    names = {nearest(order).candidate.id for order in (judged, judged[::-1])}  # type: ignore[union-attr]
    assert names == {min(one.candidate.id for one in judged)}


def test_a_finished_artifact_counts_with_its_full_measurements() -> None:
    """Confirmed numbers replace screened ones, and then `complies` is the word."""
    budget = only(latency_p95="10 ms")
    report = make_report(budget=budget, candidates=make_report().candidates[:1])
    text = refusal(report)
    assert "18.2 ms  limit 10 ms  over by 82 %  (17.7 to 18.7 ms; measured, n = 500)" in text
    assert text.endswith(f"latency_p95: 19 ms  then {PLANS['chosen'].title()} [{PLANS['chosen'].id}] complies")


def test_nothing_could_be_built() -> None:
    """The first reasons are shown."""
    failed = make_report().candidates[-1]
    text = refusal(make_report(artifact=None, comparison=None, chosen=None, candidates=(failed,)))
    assert text.startswith("No candidate of host-cpu could be built (1 tried).\n")
    assert "RuntimeError: prune | no channel left" in text


def test_advice_of_the_search_is_kept() -> None:
    """Behind what was computed."""
    text = refusal(make_report(budget=only(latency_p95="10 ms"), advice=("add recipe distill-quantize",)))
    assert text.endswith("\n  add recipe distill-quantize")
    assert "Try one of:" in text


def test_inconclusive_names_the_open_limit(report: Report) -> None:
    """Only that one, with the interval that holds the limit, and that a quiet machine would tell."""
    text = refusal(make_report(budget=with_limits(report, latency_p95="18 ms")))
    assert text == (
        "Whether host-cpu is kept cannot be told for sure:\n"
        "  latency_p95  18.2 ms  limit 18 ms  the interval contains the limit  (17.7 to 18.7 ms; measured, n = 500)\n"
        "Try: the same command while the machine is quiet (trainings are taken from the run directory, "
        "measurements are not), or more room in the limit"
    )


def test_a_stopped_run_says_how_to_go_on() -> None:
    """No advice from half a search."""
    assert "The same command continues it" in refusal(make_report(complete=False))
