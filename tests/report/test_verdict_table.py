"""What the command line prints at the end."""

from budgetc.report.evidence import judge_report
from budgetc.report.schema import Report
from budgetc.report.verdict_table import verdict_table
from tests.report.example import make_report, with_limits

TABLE = """\
host-cpu: compliant

limit          baseline        artifact   bound       margin  outcome          evidence
latency_p95    41.2 ms (fail)  18.2 ms    <= 25 ms    +27 %   pass             17.7 to 18.7 ms; measured, n = 500
peak_memory    181.0 MiB       121.0 MiB  <= 256 MiB  +53 %   pass             120.0 MiB to 122.0 MiB; measured, n = 5
artifact_size  5.2 MiB (fail)  412.9 KiB  <= 1 MiB    +60 %   pass             measured
auroc          0.962           0.957      >= 0.942    +1.6 %  pass (estimate)  0.939 to 0.975; measured, n = 96

chosen                distill(student 0.25) > quantize  [25a10f2d6a]
why                   Smallest of 2 candidates that keep every limit.
size                  0.078 x baseline (412.9 KiB instead of 5.2 MiB, exact)
latency (p50)         0.44 x baseline (95 % interval 0.422 to 0.462; measured, n = 10)
memory above runtime  0.61 x baseline (measured)
AUROC                 0.957 instead of 0.962: loses 0.005 (loss: 95 % interval -0.004 to 0.014; measured, n = 96)
near tie              distill(student 0.3) > quantize  [242c01abbd]: a slightly other measurement would have chosen it
warning               gravel has 4 bad images: too few to judge it on its own
"""


def test_the_whole_table(report: Report) -> None:
    """Verdict, limits beside the baseline, choice, gains, near ties, warnings."""
    assert verdict_table(report).replace(str(report.chosen), "25a10f2d6a").replace(
        report.search.near_ties[0], "242c01abbd"
    ) == TABLE  # fmt: skip


def test_what_fails_is_no_choice_but_an_effort(report: Report) -> None:
    """A table of a refusal never says `chosen`."""
    table = verdict_table(make_report(budget=with_limits(report, latency_p95="10 ms")))
    assert table.startswith("host-cpu: not compliant\n")
    assert "-82 %   fail" in table
    assert "best effort" in table
    assert "chosen  " not in table


def test_without_an_artifact_the_baseline_stands_alone() -> None:
    """Every limit is not measured, and the reason is given."""
    table = verdict_table(make_report(artifact=None, comparison=None, chosen=None))
    assert table.startswith("host-cpu: not compliant (nothing was trained to the end)\n")
    assert table.count("nothing was trained to the end") == 5
    assert "41.2 ms (fail)  -" in table


def test_a_stopped_run_before_the_baseline() -> None:
    """Still a table, without rows."""
    table = verdict_table(make_report(complete=False, baseline=None, artifact=None, comparison=None, chosen=None))
    assert table.startswith("host-cpu: stopped before the end, so nothing is compliant\n")


def test_predicted_evidence_is_named(report: Report) -> None:
    """In the overall verdict and in the row."""
    assert report.artifact is not None
    predicted = tuple(one.model_copy(update={"kind": "predicted"}) if one.unit == "ms" else one
                      for one in report.artifact.measurements)  # fmt: skip
    artifact = report.artifact.model_copy(update={"measurements": predicted})
    budget = report.budget.model_copy(update={"evidence": "predicted"})
    table = verdict_table(make_report(artifact=artifact, budget=budget))
    assert table.startswith("host-cpu: compliant (predicted)\n")
    assert "17.7 to 18.7 ms; predicted" in table


def test_notes_stay_in_the_report(report: Report) -> None:
    """A note can be of any length: the terminal gets interval, kind and n, `report.md` the note too."""
    from budgetc.report.markdown import render_markdown

    assert "load and run" not in verdict_table(report)
    assert "measured, n = 5; load and run" in render_markdown(report)


def test_synthetic_anomalies_are_never_a_plain_pass(report: Report) -> None:
    """Accepted they pass by name, also for the baseline; not accepted they leave the verdict open."""
    assert report.artifact is not None

    def table(**limit: object) -> str:
        found = report.artifact.quality.auroc_mean.model_copy(update={"kind": "proxy"})  # type: ignore[union-attr]
        quality = report.artifact.quality.model_copy(update={"auroc_mean": found})  # type: ignore[union-attr]
        artifact = report.artifact.model_copy(update={"quality": quality})  # type: ignore[union-attr]
        judged = report.model_copy(
            update={"artifact": artifact, "budget": with_limits(report, auroc={"min": 0.9, **limit})}
        )
        return verdict_table(judged.model_copy(update={"verdict": judge_report(judged)}))

    accepted, strict = table(evidence="proxy"), table()
    assert accepted.startswith("host-cpu: compliant (proxy)\n") and "pass (proxy)" in accepted
    assert strict.startswith("host-cpu: inconclusive\n") and "pass (proxy)" not in strict
