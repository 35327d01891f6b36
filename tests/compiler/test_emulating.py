"""An artifact on an emulated processor, through `measure --emulate` and through a compilation."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from budgetc.compiler import emulating
from budgetc.compiler.emulating import agreement_of, emulate_file
from budgetc.compiler.pipeline import compile_detector
from budgetc.compiler.training import train_bundle
from budgetc.compiler.untrained import new_vae
from budgetc.errors import UsageError
from budgetc.measurement.emulator import Emulator
from budgetc.report.verify import verify_artifact
from budgetc.training.loop import Effort
from tests.load.drawing import draw_category


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`model.pt` and `data`, both tiny."""
    folder = tmp_path_factory.mktemp("emulated")
    draw_category(folder / "data", train=30, good=12, scratch=12)
    vae = new_vae((32, 32), widths=(4,), hidden=(), latents=2)
    train_bundle(vae, data=folder / "data", out=folder / "model.pt", effort=Effort(1, 1e-3, 0))
    return folder


def played_here() -> Emulator:
    """This very Python in the place of QEMU: what is tested here is everything but QEMU."""
    return Emulator((sys.executable,), {}, "QEMU 1.2.3, abacus", "onnxruntime 0.1", {"libc6.deb": "0" * 64})


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> None:
    """No OpenCV is asked for."""

    def emulator(wanted: object, *, fetch: bool, flow: bool) -> Emulator:
        assert not flow
        return played_here()

    monkeypatch.setattr(emulating, "emulator", emulator)


@pytest.mark.usefixtures("played")
def test_with_data_there_is_an_auroc_of_each_machine(folder: Path) -> None:
    """On the same test pictures, paired, and each says where it comes from."""
    found = emulate_file(folder / "model.pt", target="jetson-nano-cpu", data=folder / "data")
    assert found.agreement.holds and found.agreement.decisions == 0 and found.agreement.n == 24
    assert found.quality is not None and found.here is not None and found.auroc_loss is not None
    there, here = found.quality.auroc_mean, found.here.auroc_mean
    assert (there.kind, there.device, there.runtime) == ("emulated", "QEMU 1.2.3, abacus", "onnxruntime 0.1")
    assert here.kind == "measured" and here.device.startswith("host: ")
    assert found.auroc_loss.value == pytest.approx(here.value - there.value) == pytest.approx(0, abs=1e-9)
    assert found.contents == {"libc6.deb": "0" * 64}


@pytest.mark.usefixtures("played")
def test_without_data_noise_is_compared(folder: Path) -> None:
    """Nothing is said of an AUROC."""
    found = emulate_file(folder / "model.pt", target="x86-sse42")
    assert (found.agreement.n, found.quality, found.here, found.auroc_loss) == (8, None, None, None)


def test_a_target_that_nothing_emulates(folder: Path) -> None:
    """A GPU has no instruction set that QEMU knows."""
    with pytest.raises(UsageError, match="target jetson-nano-gpu names no processor that can be emulated"):
        emulate_file(folder / "model.pt", target="jetson-nano-gpu")


def test_few_scores_may_differ_and_most_may_not() -> None:
    """Saturation on another processor shows on most images; a flipped step, or another rounding of a resize, on few."""
    here = np.linspace(0, 1, 40)
    few, most = here.copy(), here + 0.2
    few[:4] += 0.5
    assert agreement_of(few, here, 0.25).holds and agreement_of(few, here, 0.25).decisions == 4
    found = agreement_of(most, here, 0.25)
    assert not found.holds and found.problem is not None and "differ from the reference by" in found.problem


@pytest.mark.skipif(shutil.which("qemu-x86_64-static") is None, reason="qemu-user-static is not installed")
def test_a_compilation_is_judged_on_the_instruction_set_of_its_target(folder: Path, tmp_path: Path) -> None:
    """Where QEMU is installed, the AUROC of the artifact is the one that its target computes."""
    budget = tmp_path / "old.yaml"
    budget.write_text(
        "target: x86-sse42\nlimits: {artifact_size: 1 MiB, auroc: {min: 0.01}}\n"
        "search: {recipes: [quantize], trainings: 2, time: 1 min}\n"
    )
    report = compile_detector(folder / "model.pt", budget=budget, data=folder / "data", out=tmp_path / "out")
    assert report.artifact is not None
    auroc = report.artifact.quality.auroc_mean
    assert auroc.kind == "emulated" and auroc.device.endswith(", Nehalem")
    assert report.verdict is not None and report.verdict.overall == "compliant"
    assert verify_artifact(tmp_path / "out").holds
