"""Cost models of targets, from rows."""

from dataclasses import replace

import numpy as np
import pytest

from budgetc.core.cost import Factor
from budgetc.core.fit_plan import FitPlan
from budgetc.core.row import Row
from budgetc.core.target import Target
from budgetc.errors import InputRejected
from budgetc.measurement.fit_target import fit_target
from budgetc.measurement.pricing import price_graph
from tests.rows import conv, row
from tests.targets import cost, gpu_target, predicted_target, span

TRUTH = cost(launch_us=span(10, 1, 60), fixed_ms=span(0.2, 0.02, 0.6))


def target(**plan: object) -> Target:
    """A board whose peaks are near those of TRUTH."""
    fields = {"devices": ("board",), "runtimes": ("ncnn",), "gmac_per_s": 120, "gbyte_per_s": 10, **plan}
    return predicted_target(fit=fields, cost=None)


def rows(device: str = "board", slower: float = 1.0, count: int = 12, **changes: str) -> list[Row]:
    """Networks of 1x1, 3x3 and 5x5 convolutions, timed by TRUTH within 3 %."""
    rng, made = np.random.default_rng(0), list[Row]()
    for number in range(count):
        shapes = [(int(rng.choice([1, 3, 5])), int(rng.integers(16, 200)), int(rng.integers(8, 48))) for _ in range(6)]
        ops = [conv(channels, channels, size, kernel=kernel) for kernel, channels, size in shapes]
        ms = price_graph(ops, TRUTH).ms * slower * float(np.exp(0.03 * rng.normal()))
        made.append(row(ms, *ops, model=f"net{number}", device=device, **changes))
    return made


def test_a_new_board_is_fitted_from_its_rows() -> None:
    """Within a few percent on rows it never saw; statistics of all three kinds."""
    known = fit_target(target(), rows(), rows(count=20)[12:])
    assert {one.use: one.n for one in known.fit} == {"fitted": 12, "held out": 12, "never fitted": 8}
    never = known.fit[-1]
    assert never.mape < 0.1 and never.coverage >= 0.5
    assert known.describes == "ncnn on board" and known.confidence == "low"


def test_few_rows_borrow_from_related_boards() -> None:
    """Two networks set the scale to a board that is four times as slow, which has all others."""
    plan = target(borrow=[{"device": "cousin"}])
    unseen = rows(count=20)[12:]
    alone, helped = (
        fit_target(plan, some, unseen).fit[-1].mape for some in (rows()[:2], [*rows()[:2], *rows("cousin", 4)])
    )
    assert helped < 0.1 and helped < alone


def test_a_board_without_own_rows_takes_the_scale_it_is_given() -> None:
    """`slower` says how the boards compare; without it, and without shared networks, nothing can be fitted."""
    known = fit_target(target(borrow=[{"device": "cousin", "slower": 4}]), rows("cousin", 4), rows())
    assert known.fit[-1].mape < 0.1
    with pytest.raises(InputRejected, match=r"none of 12 rows is of board, cousin on its cpu; nothing can be fitted"):
        fit_target(target(borrow=[{"device": "cousin"}]), rows("cousin", 4))


def test_the_fastest_of_several_runs_counts() -> None:
    """A row on small cores beside one on big ones changes nothing."""
    slow = [row(3 * one.latency_ms, *one.operators, model=one.model) for one in rows()]
    assert fit_target(target(), [*slow, *rows()]).rates == fit_target(target(), rows()).rates


def test_networks_may_be_left_out() -> None:
    """Whose shapes do not say what they cost."""
    wrong = row(1e4, conv(64, 64, 32), model="odd")
    assert fit_target(target(leave_out=("odd",)), [*rows(), wrong]) == fit_target(target(), rows())


def test_artifacts_multiply_directly_where_ncnn_uses_winograd() -> None:
    """onnxruntime's 3x3 kernels run at the rate of the other dense ones."""
    known = fit_target(target(), rows())
    assert known.in_artifact().rates["conv3x3"] == known.rates["convkxk"]


def test_power_is_known_where_rows_say_it() -> None:
    """Of the board, while it computes."""
    assert fit_target(target(), rows()).power_w is None
    found = fit_target(target(), [replace(one, power_w=6.0) for one in rows()]).power_w
    assert found is not None and found.value == 6


def test_what_people_corrected_survives_another_fit() -> None:
    """Memory, preprocessing, sources and the doubt about the runtime are no outcome of a fit."""
    plan = target()
    first = fit_target(plan, rows())
    edited = first.model_copy(update={"sources": ("a paper",), "runtime_doubt": Factor(lower=0.5, upper=3)})
    again = fit_target(plan.model_copy(update={"cost": edited}), rows())
    assert again == edited


def test_series_are_held_out_as_a_whole() -> None:
    """CNNs of one series say little about each other's neighbors."""
    plan = {"devices": ("board",), "runtimes": ("TensorRT",), "gmac_per_s": 118, "gbyte_per_s": 21}
    gpu = gpu_target(fit=plan, cost=None)
    plain = rows(unit="gpu", runtime="TensorRT", threads="", count=18)
    staged = [
        Row("board", "gpu", one.model, "fp32", "TensorRT", "", one.latency_ms, one.operators, stage=f"s{number % 3}")
        for number, one in enumerate(plain)
    ]
    found = fit_target(gpu, staged)
    assert [one.group for one in found.fit if one.use == "held out"] == [
        "s0",
        "s1",
        "s2",
        "every tenth row of the series",
    ]
    assert found.spread["fp16"].upper > 1 and found.artifact_rates == {}


def test_a_plan_is_for_rows_or_derived() -> None:
    """Peaks for a fit, or another target: not neither, not both."""
    for fields in ({"devices": ("a",)}, {"gmac_per_s": 1}):
        with pytest.raises(ValueError, match="either gmac_per_s and gbyte_per_s, for a fit to rows, or derived"):
            FitPlan.model_validate(fields)
