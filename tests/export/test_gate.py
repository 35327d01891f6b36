"""What no file may leave the export with."""

import numpy as np
import onnx
import pytest

from budgetc.errors import BudgetcError
from budgetc.export.gate import check_graph, check_parity, check_stored
from budgetc.export.onnx_file import export_detector
from tests.small import small_stfpm, target


@pytest.fixture(scope="module")
def exported() -> bytes:
    """A file for opset 17 and IR 8."""
    return export_detector(small_stfpm(), target()).model


def test_a_newer_opset_than_the_target_reads_is_refused(exported: bytes) -> None:
    """Both are in the message."""
    with pytest.raises(BudgetcError, match=r"opsets ai\.onnx 17; target test-cpu takes ai\.onnx 13"):
        check_graph(onnx.load_model_from_string(exported), target(max_opset=13))


def test_a_newer_ir_version_than_the_target_reads_is_refused(exported: bytes) -> None:
    """onnxruntime 1.16 refuses IR 10 only on the device: here it is refused at once."""
    model = onnx.load_model_from_string(exported)
    model.ir_version = 10
    with pytest.raises(BudgetcError, match="IR version 10; target test-cpu takes 8"):
        check_graph(model, target())


def test_operators_of_another_domain_are_refused(exported: bytes) -> None:
    """They run in one runtime only."""
    model = onnx.load_model_from_string(exported)
    model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    with pytest.raises(BudgetcError, match=r"com\.microsoft"):
        check_graph(model, target())


def test_operators_that_the_target_lacks_are_named(exported: bytes) -> None:
    """By type, all of them."""
    with pytest.raises(BudgetcError, match="does not support Conv, Resize"):
        check_graph(onnx.load_model_from_string(exported), target(unsupported_ops=("Resize", "Conv", "Loop")))


def test_equal_scores_pass_parity() -> None:
    """The largest difference over the range comes back."""
    reference = np.array([0.0, 1.0, 2.0], np.float32)
    assert check_parity(reference + np.float32(1e-3), reference, 2e-3) == pytest.approx(5e-4, rel=0.01)


def test_normals_that_are_all_alike_pass_parity() -> None:
    """A single one has no range, and the last digits of a sum are no difference; a bias that was lost is one."""
    reference = np.full(3, 40.0, np.float32)
    assert check_parity(reference * np.float32(1 + 3e-5), reference, 2e-3) < 1e-3
    with pytest.raises(BudgetcError, match="differ from the reference"):
        check_parity(reference * np.float32(1 + 1e-3), reference, 2e-3)


def test_a_file_that_scores_something_else_fails_parity() -> None:
    """One image is enough, whatever the AUROC would say."""
    reference = np.linspace(0, 1, 32, dtype=np.float32)
    wrong = reference.copy()
    wrong[3] += 0.1
    with pytest.raises(BudgetcError, match=r"differ from the reference by 0\.1 of their range; allowed is 0\.002"):
        check_parity(wrong, reference, 2e-3)


def test_a_few_images_may_flip_a_step_and_no_more() -> None:
    """Where outliers are allowed: three of 32 may jump, four may not."""
    reference = np.linspace(0, 1, 32, dtype=np.float32)
    jumped = reference.copy()
    jumped[:3] += 0.5
    assert check_parity(jumped, reference, 0.15, outliers=0.1) < 0.01
    jumped[3] += 0.5
    with pytest.raises(BudgetcError, match=r"differ from the reference by 0\.5"):
        check_parity(jumped, reference, 0.15, outliers=0.1)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scores_that_are_no_numbers_fail_parity(value: float) -> None:
    """NaN compares as equal to everything: it is looked for by name."""
    reference = np.array([0.0, 1.0], np.float32)
    with pytest.raises(BudgetcError, match="not finite"):
        check_parity(np.array([0.0, value], np.float32), reference, 1.0)


def test_a_network_whose_scores_are_no_numbers_fails_parity() -> None:
    """Also where only PyTorch's side is broken."""
    with pytest.raises(BudgetcError, match="the reference gives scores that are not finite"):
        check_parity(np.zeros(2, np.float32), np.array([0.0, np.nan], np.float32), 1.0)


def test_a_weight_that_is_not_halved_is_found() -> None:
    """It would ship in four bytes, at a price nobody asked for."""
    check_stored(3, 3)
    with pytest.raises(BudgetcError, match=r"3 weights are to be stored in fewer bytes, .* holds only 2"):
        check_stored(2, 3)
