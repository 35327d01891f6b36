"""What a report says of a unified detector: the category that lost most, false alarms and maps by category."""

import pytest

from budgetc.core.quality import CategoryPixels, PixelQuality
from budgetc.report.html import render_html
from budgetc.report.markdown import render_markdown
from budgetc.report.schema import CategoryLoss, Quality, Report
from tests.report.example import make_report, measured, quality


def unified(auroc: float) -> Quality:
    """The three products of the example: brick has its own threshold, gravel no masks."""
    plain = quality(auroc)
    brick, grass, gravel = plain.categories
    rate = measured("false_positive_rate", 0.25, "1", 0.1, n=20)
    own = measured("false_positive_rate", 0.0625, "1", 0.03, n=20)
    marked = CategoryPixels(category="brick", auroc=measured("pixel_auroc", 0.9125, "1", 0.02, n=41),
                            aupro=measured("aupro", 0.7125, "1", 0.04, n=41))  # fmt: skip
    return plain.model_copy(update={
        "categories": (
            brick.model_copy(
                update={"false_positive_rate": rate, "threshold": 0.75, "own_false_positive_rate": own}
            ),
            grass.model_copy(update={"false_positive_rate": rate}),
            gravel,
        ),
        "pixels": PixelQuality(
            auroc=marked.auroc, auroc_worst=marked.auroc, aupro=marked.aupro, aupro_worst=marked.aupro,
            categories=(marked, CategoryPixels(category="gravel", reason="no masks (4 anomalies)")),
        ),
        "aupro": marked.aupro,
    })  # fmt: skip


@pytest.fixture
def written() -> dict[str, str]:
    """Both forms of one report."""
    report = make_report()
    assert report.artifact is not None
    assert report.comparison is not None
    losses = tuple(
        CategoryLoss(category=name, auroc_loss=measured("auroc_loss", loss, "1", 0.01, n=41))
        for name, loss in (("brick", 0.0321), ("grass", -0.0101))
    )
    unifying: Report = report.model_copy(update={
        "artifact": report.artifact.model_copy(update={"quality": unified(0.95)}),
        "comparison": report.comparison.model_copy(update={"category_losses": losses}),
    })  # fmt: skip
    return {"markdown": render_markdown(unifying), "html": render_html(unifying, ())}


@pytest.mark.parametrize("form", ["markdown", "html"])
def test_the_category_that_lost_most_is_named(form: str, written: dict[str, str]) -> None:
    """With its interval: a mean may hide it."""
    assert "The category that lost most is brick: 0.032 (95 % interval 0.022 to 0.042" in written[form]


@pytest.mark.parametrize("form", ["markdown", "html"])
def test_false_alarms_are_listed_by_both_thresholds(form: str, written: dict[str, str]) -> None:
    """And the category that has no threshold of its own says why."""
    assert "0.250 (95 % interval 0.150 to 0.350" in written[form]
    assert "0.062 (95 % interval 0.033 to 0.092" in written[form]
    assert "too few calibration normals" in written[form]


@pytest.mark.parametrize("form", ["markdown", "html"])
def test_a_category_without_masks_says_so(form: str, written: dict[str, str]) -> None:
    """It is in no mean, and not left out either."""
    assert "no masks (4 anomalies)" in written[form]
    assert "AUPRO, worst category" in written[form]
    assert "0.713 (95 % interval" in written[form]


def test_the_option_is_named_where_there_are_thresholds(written: dict[str, str]) -> None:
    """Where there is one threshold it would only be refused."""
    assert "With `--category NAME`" in written["markdown"]
    assert "With --category NAME" in written["html"]
    assert "--category" not in render_markdown(make_report())
