"""Which earlier compilations a sweep keeps."""

from pathlib import Path

import pytest

from budgetc.compiler.environment import environment
from budgetc.compiler.inputs import Inputs
from budgetc.sweeps.running import earlier_report
from tests.report.example import described, make_report, write_out
from tests.small import dataset, small_stfpm, target

DIGESTS = {"model": "1" * 64}


def inputs() -> Inputs:
    """Inputs with the digests that the report below names."""
    budget = make_report().budget
    return Inputs(Path("m.pt"), small_stfpm(), budget, Path("b.yaml"), target(), (), dataset(), DIGESTS)


def compiled(out: Path, **elsewhere: object) -> Path:
    """An artifact of these inputs, compiled here except for what is said of the environment."""
    where = environment().model_copy(update=elsewhere)
    write_out(out, lambda digests, size: described(digests, size, inputs=DIGESTS, environment=where))
    return out


def test_the_same_inputs_on_the_same_machine_are_kept(tmp_path: Path) -> None:
    """With the same packages and the same budgetc nothing would come out differently."""
    assert earlier_report(compiled(tmp_path / "out"), inputs()) is not None


@pytest.mark.parametrize(
    "elsewhere",
    [{"budgetc": "0.0.1"}, {"cpu": "other"}, {"cpu_features": ("avx2",)}, {"packages": {"numpy": "1.0"}}],
)
def test_another_compiler_or_machine_compiles_anew(tmp_path: Path, elsewhere: dict[str, object]) -> None:
    """Its files, scores and times may be others."""
    assert earlier_report(compiled(tmp_path / "out", **elsewhere), inputs()) is None
