"""What students learn from: normals."""

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
