"""`report.html`: everything that was found out, whatever the run came to, and nothing from elsewhere."""

import re
from html.parser import HTMLParser

import pytest

from budgetc.report.html import render_html
from budgetc.report.markdown import render_markdown
from budgetc.report.pictures import Kind
from budgetc.report.schema import Report, SeedRecord
from tests.report.example import HOSTILE, PLANS, candidates, exhibits, hostile, make_report, shown, with_limits

VOID = {"meta", "img", "br"}
STOPPED: dict[str, object] = {"complete": False, "artifact": None, "comparison": None, "chosen": None, "verdict": None}
EMPTY: dict[str, object] = {**STOPPED, "baseline": None, "candidates": (), "splits": {}, "warnings": (), "why": ""}


class Outline(HTMLParser):
    """Tags, ids, links, words of a page; fails where an element is not closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.sources: list[str] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        self.tags.append(tag)
        self.ids += [known["id"] or ""] if "id" in known else []
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]
        assert not [name for name in known if name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.words += data.split() if self.open[-1:] != ["style"] else []

    @property
    def text(self) -> str:
        return " ".join(self.words)


def full() -> Report:
    seeds = tuple(
        SeedRecord(seed=seed, selection_auroc=0.95, confirmation_auroc=0.95 - seed / 100, auroc_loss=0.01,
                   artifact_size=422_800)
        for seed in range(3)
    )  # fmt: skip
    return make_report(exhibits=exhibits(), seeds=seeds)


RUNS: dict[str, Report] = {
    "full": full(),
    "without exhibits": make_report(),
    "nothing built": make_report(artifact=None, comparison=None, chosen=None, verdict=None),
    "stopped": make_report(**STOPPED),
    "stopped at once": make_report(**EMPTY),
    "best effort": make_report(budget=with_limits(make_report(), latency_p95="10 ms"), exhibits=exhibits()),
    "predicted": make_report(exhibits=exhibits(kind="predicted")),
    "vae": make_report(detector="vae", exhibits=exhibits()),
    "hostile": hostile(),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_page_needs_nothing_else(name: str) -> None:
    """Elements are closed, links stay within, no script runs, its own policy forbids to fetch anything."""
    page = Outline(render_html(RUNS[name], [shown(), shown("false alarm", maps=False)]))
    assert not {"script", "link", "iframe", "object", "form"} & set(page.tags)
    assert all(source.startswith(("#", "data:image/")) for source in page.sources)
    assert {source[1:] for source in page.sources if source.startswith("#")} <= set(page.ids)
    assert len(set(page.ids)) == len(page.ids)


def test_names_of_others_stay_text() -> None:
    """Files, defects, warnings, reasons, operators: what looks like markup is shown as it is."""
    page = render_html(hostile(), [shown(file=HOSTILE, defect=HOSTILE)])
    assert "<script" not in page and "<img src=x" not in page
    assert Outline(page).text.count(HOSTILE.split()[0]) > 20


def test_the_same_page_for_the_same_report() -> None:
    """Byte by byte, so that its digest means something."""
    assert render_html(full(), [shown()]) == render_html(full(), [shown()])


@pytest.mark.parametrize("name", ["full", "best effort", "stopped", "nothing built"])
def test_the_page_says_all_that_the_markdown_says(name: str) -> None:
    """Every cell of every table, the warnings, what to do, the command that repeats it."""
    words = re.sub(r"\s+", " ", Outline(render_html(RUNS[name])).text)
    for line in render_markdown(RUNS[name]).splitlines():
        for cell in re.split(r"(?<!\\)\|", line.strip("| ")) if line.startswith("|") and "---" not in line else []:
            assert re.sub(r"\s+", " ", cell.strip()).replace("\\", "") in words
    for warning in RUNS[name].warnings:
        assert warning in words
    assert RUNS[name].command in words


def test_a_best_effort_is_not_taken_for_an_artifact() -> None:
    """Its first lines say so, and what to do is not how to run it."""
    text = Outline(render_html(RUNS["best effort"])).text
    assert "host-cpu: not compliant Best effort, not for deployment" in text
    assert "How to run it" not in text and "No candidate keeps host-cpu" in text


def test_a_compliant_one_says_how_to_run_it() -> None:
    """With the threshold in force, and how often it is wrong on normals."""
    text = Outline(render_html(full())).text
    assert "host-cpu: compliant Chosen: distill(student 0.25) > quantize" in text
    assert "above 0.0314159 . On images that neither training nor search saw, 5.8 % of the normal ones were." in text


def test_a_stopped_run_is_never_compliant() -> None:
    """In the first line."""
    assert "stopped before the end, so nothing is compliant" in Outline(render_html(RUNS["stopped"])).text[:300]


def test_predictions_are_called_so() -> None:
    """The time of operators and of steps."""
    text = Outline(render_html(RUNS["predicted"])).text
    assert "predicted by the target's cost model, not measured" in text
    assert "Predicted, not measured." in text and "Limited by" in text


def test_a_vae_has_no_maps() -> None:
    """Its pictures are shown without."""
    text = Outline(render_html(RUNS["vae"], [shown(maps=False)])).text
    assert "This detector gives no map." in text
    assert "KL from the baseline" in text


@pytest.mark.parametrize("kind", ["missed", "false alarm", "worst", "best", "nearest normal"])
def test_every_kind_of_picture_has_a_place(kind: Kind) -> None:
    """Three images where there are maps, with the scores of both detectors."""
    page = render_html(full(), [shown(kind)])
    assert page.count("<img ") == 3
    assert "artifact 0.02 (threshold 0.03142), baseline 0.05 (0.03142)" in Outline(page).text


def test_thousands_of_candidates_are_folded_away() -> None:
    """The first dozen stand open, the chosen one first; all of them are there, in a page of a few megabytes."""
    few = candidates()
    many = [few[n % 5].model_copy(update={"id": f"{n:010x}", "fate": "trained"}) for n in range(5000)]
    page = render_html(make_report(candidates=(*few, *many)))
    section = page[page.index('id="candidates"') :]
    open_rows = section[: section.index("<details>")]
    assert open_rows.count("<tr>") == 13
    assert PLANS["chosen"].id in open_rows
    assert "4993 more" in section and f"{4999:010x}" in section
    assert len(page) < 3_000_000


def test_what_could_not_be_shown_is_said() -> None:
    """Rather than left out."""
    report = make_report(exhibits=exhibits().model_copy(update={"missing": ("operators: OSError: gone",)}))
    assert "Could not be shown: operators: OSError: gone" in Outline(render_html(report)).text


def test_several_products_have_a_curve_each() -> None:
    """Folded, beside the pooled one."""
    page = render_html(full())
    folded = page[page.index("ROC by category") :]
    assert folded.index("brick") < folded.index("grass") < folded.index("gravel")
