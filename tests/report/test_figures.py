"""The charts of a report: the right numbers reach them."""

from budgetc.report.figures import (
    category_rocs,
    limit_cards,
    mix_figures,
    pareto_figure,
    recall_figures,
    score_figures,
)
from tests.report.charts.reading import of_class, texts
from tests.report.example import exhibits, make_report, with_limits


def test_a_card_a_limit() -> None:
    """Value, bound, outcome and what stands behind it."""
    cards = {one.name: one for one in limit_cards(make_report())}
    assert list(cards) == ["latency_p95", "peak_memory", "artifact_size", "auroc"]
    latency = cards["latency_p95"]
    assert (latency.value, latency.bound, latency.kind) == ("18.2 ms", "at most 25 ms", "pass")
    assert latency.support == "17.7 to 18.7 ms; measured, n = 500"
    assert (cards["auroc"].bound, cards["auroc"].outcome) == ("at least 0.942", "pass (estimate)")


def test_a_broken_limit_stands_out() -> None:
    """And one that nothing measured is open."""
    limits = with_limits(make_report(), latency_p95="10 ms", aupro={"min": 0.5})
    cards = {one.name: one.kind for one in limit_cards(make_report(budget=limits))}
    assert (cards["latency_p95"], cards["aupro"], cards["auroc"]) == ("fail", "open", "pass")


def test_nothing_judged_has_no_cards() -> None:
    """The table says what the baseline does."""
    assert limit_cards(make_report(artifact=None, comparison=None, chosen=None, verdict=None)) == []


def test_the_baseline_joins_the_candidates() -> None:
    """Also where the search dropped it by its size; the choice is in a ring."""
    figure = pareto_figure(make_report(exhibits=exhibits()))
    assert figure is not None
    assert len(of_class(figure.svg, "circle", "dot")) == 3 + 1
    assert "baseline" in texts(figure.svg)
    plain = pareto_figure(make_report())
    assert plain is not None and "baseline" not in texts(plain.svg)


def test_nothing_trained_has_no_front() -> None:
    """None."""
    assert pareto_figure(make_report(candidates=())) is None


def test_scores_of_both_detectors() -> None:
    """A curve for both, a distribution for each; curves of every product."""
    report = make_report(exhibits=exhibits())
    assert [one.title for one in score_figures(report)] == ["ROC", "Scores of the baseline", "Scores of the artifact"]
    assert [one.title for one in category_rocs(report)] == ["brick", "grass", "gravel"]
    assert score_figures(make_report()) == category_rocs(make_report()) == []


def test_recall_with_the_worst_first() -> None:
    """By defect type from the quality, by area from the masks."""
    by_type, by_area = recall_figures(make_report(exhibits=exhibits()))
    assert texts(by_type.svg)[::2] == ["scratch", "hole"]
    assert texts(by_area.svg)[::2] == ["0.2 % to 2.0 %", "2.1 % to 20 %"]
    assert len(recall_figures(make_report())) == 1


def test_where_the_time_goes() -> None:
    """By format, then by kind; the largest first."""
    by_format, by_kind = mix_figures(make_report(exhibits=exhibits()))
    assert texts(by_format.svg) == ["int8", "56 %", "fp32", "25 %", "convert", "12 %", "fp16", "6 %"]
    assert texts(by_kind.svg)[0] == "QLinearConv"
