"""What is shown beside a verdict: every step, every operator, every defect; nothing that costs a training or a run."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from budgetc.candidate import training_key
from budgetc.compiler.exhibits import collect, stage_rows
from budgetc.core.plan import Distill, Fp16, Plan, Prune, Quantize, Step
from budgetc.report.schema import Stage
from budgetc.store.run_directory import RunDirectory
from tests.compiler.showing import Case, case, masked

EPOCHS = 2
DISTILL, PRUNE = Distill(student=0.5, epochs=EPOCHS), Prune(keep=0.5, epochs=EPOCHS)
PLANS: dict[str, tuple[Step, ...]] = {
    "unchanged": (),
    "distill quantize fp16": (DISTILL, Quantize(), Fp16()),
    "quantize distill prune fp16": (Quantize(), Distill(student=1.0, epochs=EPOCHS), PRUNE, Fp16()),
}


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunDirectory]:
    """A run directory of its own."""
    with RunDirectory.open(tmp_path / "run") as opened:
        yield opened


def stages(found: Case) -> tuple[Stage, ...]:
    return stage_rows(found.search, found.confirmed, found.baseline)


def trainings(run: RunDirectory) -> int:
    return sum(event.event == "training" for event in run.events)


@pytest.mark.parametrize("family", ["stfpm", "gaussian", "vae"])
@pytest.mark.parametrize("name", PLANS)
def test_every_step_is_shown_and_none_trained(family: str, name: str, run: RunDirectory) -> None:
    """Size, cost, AUROC and features after each step, also between two trainings: they were kept on the way."""
    found = case(run, family, *PLANS[name])
    before = trainings(run)
    shown = stages(found)
    assert trainings(run) == before
    assert [one.step for one in shown] == ["baseline", *(title(step) for step in PLANS[name])]
    assert [one.note for one in shown] == [""] * len(shown)
    assert all(one.artifact_size and one.costs and one.auroc is not None for one in shown)
    assert all(one.similarity is not None and one.active is not None for one in shown)
    assert all((one.divergence is None) is (family == "gaussian") for one in shown)


def title(step: Step) -> str:
    return Plan(recipe="", steps=(step,), seed=0).title()


def test_maps_are_judged_beside_scores(run: RunDirectory, tmp_path: Path) -> None:
    """AUPRO and pixel AUROC of the final file, on confirmation: the AUROC of images may stay where maps break."""
    found = case(run, "stfpm", Quantize(), data=masked(tmp_path)).confirmed
    for subject in (found.artifact, found.baseline):
        assert subject.quality.pixels is not None
        figures = (subject.quality.aupro, subject.quality.pixels.aupro, subject.quality.pixels.auroc)
        assert [one is not None and (one.metric, one.split) for one in figures] == [
            ("aupro", "confirmation"), ("aupro", "confirmation"), ("pixel_auroc", "confirmation")
        ]  # fmt: skip


def test_the_last_step_is_the_artifact(run: RunDirectory) -> None:
    """And the first one the baseline: the same bytes, the same AUROC as the search found."""
    found = case(run, "stfpm", *PLANS["distill quantize fp16"])
    shown = stages(found)
    assert shown[0].artifact_size == found.baseline.size
    assert shown[-1].artifact_size == found.confirmed.written.size
    assert shown[0].similarity == pytest.approx(1.0)
    assert shown[1].training_loss is not None


def test_a_step_whose_training_is_lost_keeps_its_size_and_cost(run: RunDirectory) -> None:
    """These follow from the structure; what does not is missing, with the reason."""
    found = case(run, "stfpm", DISTILL, PRUNE)
    forget(run, found)
    shown = stages(found)
    assert shown[1].artifact_size is not None and shown[1].costs
    assert (shown[1].auroc, shown[1].similarity) == (None, None)
    assert "would have to be trained" in shown[1].note
    assert shown[2].auroc is not None


def forget(run: RunDirectory, found: Case) -> None:
    """Lose the training of the first step, as a store of an older version never had it."""
    plan = found.search.plans[found.confirmed.id]
    key = training_key(plan.model_copy(update={"steps": plan.steps[:1]}), found.search.shop, 1.0)
    assert key is not None
    for path in run.store.root.rglob(f"*{key}*"):
        path.unlink()


def test_exhibits_of_an_artifact(run: RunDirectory, tmp_path: Path) -> None:
    """Operators as they ran, both scores of every picture, recall by area where there are masks."""
    found = case(run, "stfpm", Quantize(), data=masked(tmp_path))
    shows = collect(found.search, found.confirmed, found.baseline)
    exhibits = shows.exhibits
    assert exhibits.missing == ()
    assert exhibits.operators_are == "measured"
    assert sum(one.share for one in exhibits.operators) == pytest.approx(1.0)
    assert {"int8", "convert", "fp32"} <= {one.compute for one in exhibits.operators}
    assert len(exhibits.pictures) == 8
    assert [one.of for one in exhibits.areas] == [1, 1, 1, 1]
    assert [one.smallest for one in exhibits.areas] == sorted(one.smallest for one in exhibits.areas)
    assert exhibits.areas[0].smallest == pytest.approx(5 * 16 / 32**2)
    assert any(one.maps for one in shows.pictures)


def test_without_masks_there_is_no_recall_by_area(run: RunDirectory) -> None:
    """Arrays have none."""
    found = case(run, "vae", Fp16())
    shows = collect(found.search, found.confirmed, found.baseline)
    assert shows.exhibits.areas == ()
    assert shows.pictures and all(one.maps is None for one in shows.pictures)


def test_what_fails_is_missing_and_says_why(run: RunDirectory) -> None:
    """A lost file costs its part of the page, never the artifact."""
    found = case(run, "stfpm", Quantize())
    (found.confirmed.written.directory / "model.onnx").unlink()
    exhibits = collect(found.search, found.confirmed, found.baseline).exhibits
    assert [sentence.split(":")[0] for sentence in exhibits.missing][:1] == ["operators"]
    assert exhibits.stages and exhibits.pictures
