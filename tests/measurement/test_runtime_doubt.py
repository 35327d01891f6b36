"""Other runtimes over the fitted one."""

from budgetc.core.row import Row
from budgetc.measurement.runtime_doubt import runtime_doubt
from tests.rows import row

NCNN = [row(10, model="mobilenet"), row(20, model="resnet"), row(5, model="mobilenet", threads="4")]


def others(*times: float, runtime: str, threads: str = "1") -> list[Row]:
    """MobileNet and another network in another runtime, under another name."""
    names = ("mobilenet_v1_1.0", "resnet")
    return [row(ms, model=name, runtime=runtime, threads=threads) for ms, name in zip(times, names, strict=False)]


def test_the_furthest_runtimes_are_the_edges() -> None:
    """0.8 on one side, 1.5 on the other; each is named with its own."""
    found = runtime_doubt([*NCNN, *others(8, 16, runtime="XNNPACK"), *others(15, 30, runtime="ArmNN")], ("ncnn",))
    assert found is not None and (found.lower, found.upper) == (0.8, 1.5)
    assert "ArmNN 1.50-1.50 (n 2); XNNPACK 0.80-0.80 (n 2)" in found.source


def test_a_row_without_threads_had_all_of_them() -> None:
    """It is held against the fastest row of its network."""
    rows = [*NCNN, *others(10, runtime="ArmNN", threads=""), *others(10, runtime="XNNPACK")]
    found = runtime_doubt(rows, ("ncnn",))
    assert found is not None and (found.lower, found.upper) == (1, 2)


def test_what_says_nothing_is_left_out() -> None:
    """Runtimes of 2019, boards on which ncnn computes in FP16, other precisions; one other runtime is not enough."""
    useless = [
        *others(100, 100, runtime="TFLite 1.15rc2"), row(99, model="resnet", runtime="A", precision="int8"),
        row(1, model="resnet", device="new", precision="fp16"), row(1, model="resnet", device="new"),
        row(9, model="resnet", device="new", runtime="A"),
    ]  # fmt: skip
    assert runtime_doubt([*NCNN, *useless, *others(8, runtime="XNNPACK")], ("ncnn",)) is None
    found = runtime_doubt([*NCNN, *useless, *others(8, runtime="XNNPACK"), *others(11, runtime="A")], ("ncnn",))
    assert found is not None and (found.lower, found.upper) == (0.8, 1.1)
