"""Errors of a cost model on rows."""

import pytest

from budgetc.core.row import Row
from budgetc.core.target import Target
from budgetc.errors import UsageError
from budgetc.measurement.pricing import price_graph
from budgetc.measurement.selection import as_run
from budgetc.measurement.validating import validate_rows
from tests.rows import conv, row
from tests.targets import gpu_target, predicted_target

PLAN = {"devices": ("board",), "runtimes": ("ncnn",), "gmac_per_s": 5, "gbyte_per_s": 3}
BOARD = predicted_target(fit=PLAN)


def off_by(*factors: float, target: Target = BOARD, **changes: str) -> list[Row]:
    """Rows of growing networks that take so many times what is predicted."""
    assert target.cost is not None
    made = []
    for number, factor in enumerate(factors, 1):
        plain = row(1, *[conv(64, 64, 64)] * number * 4, model=f"net{number}", **changes)
        ms = price_graph(as_run(plain, target), target.cost, same_runtime=True).ms
        made.append(row(ms * factor, *plain.operators, model=plain.model, **changes))
    return made


def test_errors_are_fractions_of_the_measured_time() -> None:
    """Rows at 1, 1/1.05, 1/1.25 and 1/1.5 of the prediction."""
    (group,) = validate_rows(BOARD, off_by(1, 1 / 1.05, 1 / 1.25, 1 / 1.5), {}).groups
    assert (group.precision, group.threads, group.runtime, group.n) == ("fp32", "1", "ncnn README", 4)
    assert group.mape == pytest.approx((0 + 0.05 + 0.25 + 0.5) / 4)
    assert (group.median_ape, group.within_10, group.within_20) == pytest.approx((0.15, 0.5, 0.5))
    assert group.rmspe == pytest.approx(((0.05**2 + 0.25**2 + 0.5**2) / 4) ** 0.5)
    assert group.spearman == pytest.approx(1)
    assert group.interval_coverage == 0.5
    assert group.worst[0].model == "net4" and group.worst[0].error == pytest.approx(0.5)
    assert sum(band.n for band in group.by_latency_band.values()) == 4


def test_groups_are_apart_by_precision_threads_and_runtime() -> None:
    """Each with its own errors; few rows have no rank correlation."""
    rows = [*off_by(1, 1), *off_by(2, runtime="ncnn 2023"), *off_by(1, precision="int8")]
    found = validate_rows(BOARD, rows, {})
    assert [(one.precision, one.runtime, one.n) for one in found.groups] == [
        ("fp32", "ncnn 2023", 1), ("fp32", "ncnn README", 2), ("int8", "ncnn README", 1)
    ]  # fmt: skip
    assert all(one.spearman is None for one in found.groups)


def test_rows_of_others_are_left_out_with_the_reason() -> None:
    """Every row is in a group or in a count."""
    rows = [
        *off_by(1), *off_by(1, device="x"), *off_by(1, unit="gpu"), *off_by(1, runtime="TFLite"),
        *off_by(1, precision="fp16"), *off_by(1, precision="fp32?"), *off_by(1, threads="4"), *off_by(1, threads=""),
    ]  # fmt: skip
    found = validate_rows(BOARD, rows, {"batch above 1": 3})
    assert found.left_out == {
        "another device or unit": 2, "another runtime than ncnn": 1, "batch above 1": 3,
        "precision fp16, which the target does not compute in": 1,
        "precision fp32?, which the target does not compute in": 1, "threads: 4, the target has 1": 1,
        "threads: unknown, the target has 1": 1,
    }  # fmt: skip
    assert sum(one.n for one in found.groups) + sum(found.left_out.values()) == len(rows) + 3


def test_another_number_of_threads_is_priced_by_the_target_that_has_it() -> None:
    """Of the same device; other devices' targets are no help."""
    four = predicted_target(name="four", threads=4, fit=PLAN)
    other = predicted_target(name="other", threads=2, fit={**PLAN, "devices": ("x",)})
    rows = [*off_by(1), *off_by(1, threads="4"), *off_by(1, threads="2")]
    found = validate_rows(BOARD, rows, {}, [four, other, BOARD])
    assert [one.threads for one in found.groups] == ["1", "4"]
    assert found.left_out == {"threads: 2, the target has 1": 1}


def test_a_gpu_runs_additions_inside_and_halves_as_halves() -> None:
    """TensorRT fuses; the threads of a GPU row do not matter."""
    gpu = gpu_target(fit={**PLAN, "runtimes": ("TensorRT",)})
    rows = off_by(1, 1, target=gpu, unit="gpu", precision="fp16", runtime="tensorrt 8", threads="")
    assert all(op.compute == "fp16" for op in as_run(rows[0], gpu))
    (group,) = validate_rows(gpu, rows, {}).groups
    assert group.mape == pytest.approx(0)


def test_targets_that_no_row_is_of() -> None:
    """x86 profiles have no rows; a target without coefficients predicts nothing."""
    assert validate_rows(predicted_target(), off_by(1), {}).left_out == {"no published rows are of this target": 1}
    with pytest.raises(UsageError, match="target elsewhere has no cost model"):
        validate_rows(predicted_target(fit=PLAN, cost=None), off_by(1), {})
