"""Settings that a family has no use for, and orders that make no sense."""

import pytest

from budgetc.core.admissible import foreign_setting, misplaced
from budgetc.core.plan import Direct, Distill, Fp16, Prune, Quantize, Step, StoreBits, Truncate


@pytest.mark.parametrize(
    ("step", "family", "reason"),
    [
        (Distill(teacher=0.5), "vae", "distill.teacher: a vae deploys no teacher"),
        (Prune(teacher=0.5), "gaussian", "prune.teacher: a gaussian deploys no teacher"),
        (Distill(drop_hidden=True), "stfpm", "distill.drop_hidden: only a vae"),
        (Direct(latents=0.5), "gaussian", "direct.latents: only a vae"),
        (Direct(shared=1), "vae", "direct.shared: a vae has no teacher"),
        (Distill(input=0.5), "gaussian", "distill.input: .*truncate makes its pictures smaller"),
        (Distill(backbone="separable"), "vae", "distill.backbone: convolutions of a vae are dense"),
        (Distill(depth=0), "vae", "distill.depth: a block of a vae has one convolution"),
        (
            Distill(loss="divergence"),
            "stfpm",
            "distill.loss: a stfpm has no divergence .*feature, map, relation, ranking",
        ),
        (Distill(loss="map"), "vae", "distill.loss: a vae has no map"),
        (Distill(loss="ranking"), "gaussian", "distill.loss: a gaussian has no ranking .*it knows feature$"),
        (Truncate(stages=1), "vae", "truncate: the linear layers of a vae"),
        (Truncate(stages=1), "reverse_distillation", "truncate: the decoder .* every tap"),
        (Quantize(scope="student"), "reverse_distillation", "quantize.scope: the decoder reads the teacher's"),
        (Distill(loss="ranking"), "reverse_distillation", "distill.loss: .* it knows feature$"),
        (Direct(shared=1), "reverse_distillation", "direct.shared: the decoder .* reads all"),
        (Truncate(stages=1), "efficientad", "truncate: an efficientad has no stages"),
        (Distill(depth=1), "efficientad", "distill.depth: the layers of a patch network"),
        (Distill(backbone="separable"), "efficientad", "distill.backbone: convolutions of an efficientad are dense"),
        (Distill(shared=1), "efficientad", "distill.shared: the networks of an efficientad"),
        (Truncate(stages=1), "uninformed_students", "truncate: a patch network"),
        (Distill(depth=1), "uninformed_students", "distill: layers of a patch network .*receptive field"),
        (Direct(shared=1), "uninformed_students", "direct.shared: "),
        (Distill(students=2), "stfpm", "distill.students: only uninformed_students"),
        (Quantize(scope="student"), "vae", "quantize.scope: a vae has one network"),
        (Quantize(scope="student"), "graph", "quantize.scope: a graph has one network"),
        (Distill(depth=1), "graph", "distill: of a graph, a student has the same nodes"),
        (Direct(), "graph", "direct: a graph is read from a file"),
        (Prune(latents=0.5), "efficientad", "prune.latents: an efficientad has none"),
        (Distill(loss="map"), "uninformed_students", "distill.loss: an uninformed_students has no map"),
        (Direct(students=2), "efficientad", "only uninformed_students have several, not an efficientad"),
        (Truncate(stages=1), "graph", "truncate: a graph is read from a file"),
    ],
)
def test_settings_of_other_families_have_a_reason(step: Step, family: str, reason: str) -> None:
    """It names step and setting; the family that the setting is for takes it."""
    import re

    assert re.search(reason, foreign_setting(step, family) or "")
    assert any(
        foreign_setting(step, other) is None
        for other in ("stfpm", "vae", "gaussian", "reverse_distillation", "uninformed_students")
    )


@pytest.mark.parametrize(
    "family", ["efficientad", "flow_vae", "gaussian", "graph", "reverse_distillation", "stfpm", "uninformed_students",
               "vae"]
)  # fmt: skip
@pytest.mark.parametrize("step", [Distill(), Direct(), Prune(), Quantize(), Fp16(), StoreBits()])
def test_every_family_takes_the_defaults(step: Step, family: str) -> None:
    """A recipe without settings is for all; only how a graph was trained is not known."""
    assert foreign_setting(step, family) is None or (family == "graph" and isinstance(step, Direct))


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ((Distill(), Truncate(stages=3)), "put it before what trains"),
        ((Quantize(), Direct()), "quantize before direct"),
        ((Quantize(), Truncate(stages=3)), "quantize before truncate"),
        ((Prune(), Direct()), "direct starts from random weights"),
        ((Distill(shared=1), Prune()), "prune does not know a student"),
        ((Fp16(), Quantize()), "fp16 .* put it last"),
    ],
)
def test_orders_without_sense_have_a_reason(steps: tuple[Step, ...], reason: str) -> None:
    """What comes too early or too late is named; the other way round it is fine."""
    import re

    assert re.search(reason, misplaced(steps) or "")
    assert misplaced(steps[::-1]) is None


def test_a_trunk_cannot_stay_in_fp32_before_a_student_in_int8() -> None:
    """Its result is what the student's first integer layer reads."""
    student = Quantize(scope="student")
    for steps in ((Distill(shared=1), student), (student, Distill(shared=1))):
        assert "trunk" in (misplaced(steps) or "")
    assert misplaced((Distill(), student)) is None


@pytest.mark.parametrize(
    "steps",
    [
        (Quantize(), Distill(), Prune()), (Distill(), Prune(), Quantize()), (Prune(), Distill(), Quantize()),
        (Distill(), Quantize(), Prune()), (Prune(), Quantize(), Distill()), (Quantize(), Prune(), Distill(), Fp16()),
        (Truncate(first=3), Distill(shared=2), Quantize()), (),
    ],
)  # fmt: skip
def test_orders_of_what_trains_and_rounds_are_free(steps: tuple[Step, ...]) -> None:
    """What the search compares."""
    assert misplaced(steps) is None
