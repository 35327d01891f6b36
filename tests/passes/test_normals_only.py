"""Who learns from what: students from normals, smaller teachers from damaged normals as well."""

import pytest

from budgetc.core.plan import Direct, Distill, Step
from budgetc.detectors.detector import weights_digest
from budgetc.passes.apply import apply_step
from budgetc.passes.work import Work
from tests.small import small, work_for


@pytest.mark.parametrize("step", [Direct(student=0.5, epochs=2), Distill(student=0.5, epochs=2)])
@pytest.mark.parametrize("family", ["efficientad", "reverse_distillation", "stfpm", "uninformed_students"])
def test_students_see_normals_alone(family: str, step: Step) -> None:
    """Damaged pictures teach smaller teachers; a student that had seen them would follow its teacher there, too."""
    detector = small(family)

    def trained(work: Work) -> str:
        student = apply_step(detector, step, work).module
        assert [curve.epochs for curve in work.curves] == [2]
        return weights_digest({name: weight for name, weight in student.state_dict().items() if "student" in name})

    one, other = work_for(detector), work_for(detector)
    other.pictures(detector.config.input_size).damaged[:] = 0
    assert trained(one) == trained(other)


@pytest.mark.parametrize("family", ["efficientad", "gaussian", "reverse_distillation", "stfpm", "uninformed_students"])
def test_smaller_teachers_see_damaged_normals(family: str) -> None:
    """One that had seen normals alone would know no more than its student."""
    detector = small(family)
    step = Distill(teacher=None if family == "gaussian" else 0.5, student=0.5, epochs=2)

    def trained(work: Work) -> str:
        weights = apply_step(detector, step, work).module.state_dict()
        name = "backbone" if family == "gaussian" else "teacher"
        return weights_digest({key: weight for key, weight in weights.items() if key.startswith(name)})

    one, other = work_for(detector), work_for(detector)
    other.pictures(detector.config.input_size).damaged[:] = 0
    assert trained(one) != trained(other)
