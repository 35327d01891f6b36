"""What a compilation starts from."""

from pathlib import Path

import pytest

from budgetc.compiler.inputs import all_plans, load_inputs, settled
from budgetc.compiler.training import save_bundle
from budgetc.core.plan import Fp16, Plan, Truncate
from budgetc.detectors.detector import Detector
from budgetc.detectors.families import build
from budgetc.detectors.gaussian import GaussianConfig
from budgetc.detectors.stfpm import Stfpm
from budgetc.errors import InputRejected, UsageError
from tests.load.drawing import draw_category
from tests.small import plain, small_stfpm


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set, and a student-teacher bundle."""
    draw_category(tmp_path / "data")
    save_bundle(small_stfpm(), tmp_path / "model.pt")
    return tmp_path


def budget(folder: Path, search: str) -> Path:
    """A budget file."""
    path = folder / "budget.yaml"
    path.write_text(f"target: host-cpu\ndata: data\nlimits: {{artifact_size: 1 MiB}}\nsearch: {search}\n")
    return path


def gaussian(*taps: int) -> Detector:
    """Untrained, of four stages."""
    backbone = plain(8, 8, 8, 8).model_copy(update={"taps": taps})
    return build("gaussian", GaussianConfig(input_size=(64, 64), backbone=backbone))


def test_the_split_does_not_follow_the_seed(folder: Path) -> None:
    """What a baseline was trained on must not become what it is judged by."""
    first, second = (
        load_inputs(folder / "model.pt", budget(folder, f"{{recipes: [fp16], seed: {seed}}}")) for seed in (0, 1)
    )
    assert first.dataset.samples == second.dataset.samples


def test_recipes_of_other_families_have_no_plans(folder: Path) -> None:
    """One budget serves several detectors."""
    inputs = load_inputs(folder / "model.pt", budget(folder, "{recipes: [fp16, truncate-fp16]}"))
    plans, dropped = all_plans(inputs)
    assert {plan.recipe for plan in plans} == {"none", "fp16"}
    assert dropped == []


def test_recipes_of_other_families_alone_are_refused(folder: Path) -> None:
    """The error says which families they are for."""
    inputs = load_inputs(folder / "model.pt", budget(folder, "{recipes: [truncate-fp16]}"))
    with pytest.raises(UsageError, match=r"none is for detectors of family stfpm \(truncate-fp16 is for gaussian\)"):
        all_plans(inputs)


@pytest.mark.parametrize(
    ("taps", "written", "expected"),
    [
        ((1, 2), (Truncate(stages=3), Fp16()), (Fp16(),)),
        ((1, 3), (Truncate(stages=2),), (Truncate(stages=1),)),
        ((1, 3), (Truncate(stages=2, input=0.5),), (Truncate(stages=1, input=0.5),)),
        ((1, 3), (Truncate(input=0.5),), (Truncate(input=0.5),)),
        ((1, 3), (Truncate(stages=0),), (Truncate(stages=0),)),
    ],
)
def test_equal_cuts_are_one_plan(taps: tuple[int, ...], written: tuple[Truncate], expected: tuple[Truncate]) -> None:
    """A cut is named by the last tap that it leaves, and none is none."""
    assert settled(Plan(recipe="r", steps=written, seed=0), gaussian(*taps)).steps == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ((Truncate(first=0, stages=1),), ()),
        ((Truncate(first=1, stages=5),), (Truncate(first=1),)),
        ((Truncate(first=1), Truncate(first=1, stages=1)), (Truncate(first=1),)),
        ((Truncate(first=2),), (Truncate(first=2),)),
    ],
)
def test_cuts_of_a_student_and_its_teacher_are_named_by_the_teachers_taps(
    written: tuple[Truncate], expected: tuple[Truncate]
) -> None:
    """At both ends; what leaves no tap stays as it is written."""
    assert settled(Plan(recipe="r", steps=written, seed=0), small_stfpm()).steps == expected


def test_orders_without_sense_are_dropped_with_the_reason(folder: Path) -> None:
    """The others of the same steps are plans."""
    (folder / "orders.yaml").write_text(
        "name: orders\ndescription: d\norders: any\nsteps: [{step: truncate, settings: {first: 1}}, {step: distill}]\n"
    )
    plans, dropped = all_plans(load_inputs(folder / "model.pt", budget(folder, "{recipes: [orders.yaml]}")))
    assert [plan.title() for plan in plans] == ["unchanged", "truncate(from stage 1) > distill(student 0.5)"]
    assert ["put it before what trains" in reason for _, reason in dropped] == [True]


@pytest.mark.parametrize(("factor", "message"), [(0.0, "gives the score 0 to each of"), (1e30, "is nan|is inf")])
def test_a_detector_that_tells_nothing(folder: Path, factor: float, message: str) -> None:
    """Constant scores, or none, are found before anything is compared with them."""
    detector = small_stfpm()
    module = detector.module
    assert isinstance(module, Stfpm)
    module.student.load_state_dict(module.teacher.state_dict())
    if factor:
        for weight in module.student.parameters():
            weight.data.mul_(factor)
    save_bundle(detector, folder / "model.pt")
    with pytest.raises(InputRejected, match=message):
        load_inputs(folder / "model.pt", budget(folder, "{recipes: [fp16]}"))
