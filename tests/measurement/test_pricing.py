"""Operators to milliseconds."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budgetc.core.cost import Tile
from budgetc.core.operator import Operator
from budgetc.load.config import list_targets, load_target
from budgetc.measurement.pricing import price, price_graph
from tests.targets import cost, span

NOT_HERE = [name for name in list_targets() if load_target(name).target.cost is not None]


def conv(cin: int, cout: int, size: int, *, kernel: int = 3) -> Operator:
    """A convolution of stride 1 at size x size."""
    return Operator(
        "conv", cin * size**2, cout * size**2, kernel=kernel, cin=cin, cout=cout, out_h=size, out_w=size,
        macs=cin * cout * (kernel * size) ** 2, weights=cin * cout * kernel**2,
    )  # fmt: skip


def test_a_price_is_launch_arithmetic_and_traffic() -> None:
    """64 -> 64 channels at 32 px: 37.7 MMAC at 100 GMAC/s, 2 x 262 kB and 147 kB at 10 GB/s, 10 us."""
    found = price(conv(64, 64, 32), cost())
    assert found.compute_ms == pytest.approx(64 * 64 * 9 * 1024 / 100e9 * 1e3)
    assert found.traffic_ms == pytest.approx((2 * 64 * 1024 + 64 * 64 * 9) * 4 / 10e9 * 1e3)
    assert found.ms == pytest.approx(0.01 + found.compute_ms + found.traffic_ms)
    assert found.bound == "compute"


def test_halves_speed_arithmetic_up_and_halve_traffic() -> None:
    """Twice the rate here, and half the bytes."""
    whole, half = price(conv(64, 64, 32), cost()), price(conv(64, 64, 32).at("fp16"), cost())
    assert (half.compute_ms, half.traffic_ms) == pytest.approx((whole.compute_ms / 2, whole.traffic_ms / 2))


def test_costs_rise_in_steps_of_whole_tiles() -> None:
    """33 channels take the arithmetic of 64, 31 that of 32; pruning between two steps gains none."""
    tiled = cost(tile=Tile(channels=(32, 64)))
    times = [price(conv(64, channels, 32), tiled).compute_ms for channels in (31, 32, 33, 64, 65, 128)]
    assert times[0] == times[1] < times[2] == times[3] < times[4] == times[5] == 2 * times[3]


def test_tiny_operators_cost_their_launch() -> None:
    """A network of ten almost empty operators takes ten launches and the fixed time."""
    tiny = Operator("pointwise", 1, 1)
    assert price(tiny, cost()).bound == "launch"
    assert price_graph([tiny] * 10, cost()).ms == pytest.approx(1.1, rel=1e-3)


def test_parts_are_off_independently() -> None:
    """One class: its own 10 %. Two of equal time: 10 % of each in squares. Tiny graphs: launches and fixed time."""
    exact = {"launch_us": span(10, 10, 10), "fixed_ms": span(1e-9, 1e-9, 1e-9)}
    one = price_graph([conv(256, 256, 128)] * 4, cost(**exact))
    assert (one.lower_ms, one.upper_ms) == pytest.approx((0.9 * one.ms, 1.1 * one.ms), rel=1e-3)
    both = price_graph([conv(256, 256, 128), conv(256, 256, 128, kernel=5)], cost(**exact))
    shares = [9 / 34, 25 / 34]
    assert both.upper_ms / both.ms - 1 == pytest.approx(0.1 * math.hypot(*shares), rel=0.02)
    tiny = price_graph([Operator("pointwise", 1, 1)] * 10, cost())
    assert (tiny.lower_ms, tiny.upper_ms) == pytest.approx(
        (1.1 - math.hypot(0.05, 0.5), 1.1 + math.hypot(0.1, 1)), rel=1e-3
    )


def test_winograd_blocks_of_outputs_are_whole() -> None:
    """Blocks of 8 x 16: maps of 17 to 32 columns and 17 to 24 rows cost the same; 5x5 kernels know no blocks."""
    tiled = cost(tile=Tile(window=(8, 16)))
    assert price(conv(64, 64, 17), tiled).compute_ms == price(conv(64, 64, 24), tiled).compute_ms
    assert price(conv(64, 64, 24), tiled).compute_ms < price(conv(64, 64, 25), tiled).compute_ms
    five = [price(conv(64, 64, size, kernel=5), tiled).compute_ms for size in (17, 18)]
    assert five[0] < five[1]


def test_another_runtime_widens_the_interval() -> None:
    """Rows of one runtime, artifacts of another: unless the rows themselves are asked for."""
    doubtful = cost(runtime_doubt={"lower": 0.5, "upper": 2})
    ops = [conv(256, 256, 128)]
    own, other = price_graph(ops, doubtful, same_runtime=True), price_graph(ops, doubtful)
    assert (other.lower_ms, other.upper_ms) == pytest.approx((0.5 * own.lower_ms, 2 * own.upper_ms))


@pytest.mark.parametrize("name", [name for name in NOT_HERE if "int8" in load_target(name).target.dtypes])
def test_integers_may_gain_nothing_where_they_were_not_measured(name: str) -> None:
    """The interval of an INT8 graph on these CPUs contains its FP32 time."""
    known = load_target(name).target.cost
    assert known is not None
    for shape in (conv(16, 16, 64), conv(128, 128, 32), conv(256, 256, 8, kernel=1)):
        whole, integer = price_graph([shape], known), price_graph([shape.at("int8")], known)
        assert integer.lower_ms < whole.ms <= integer.upper_ms
        assert integer.ms <= whole.ms * 1.01


def cnv(width: float) -> list[Operator]:
    """QuTiBench's CNV at a share of its width: six unpadded 3x3 convolutions at 32 px, two poolings, three linear."""
    ops, size, cin = list[Operator](), 32, 3
    for number, channels in enumerate(int(c * width) for c in (64, 64, 128, 128, 256, 256)):
        after = size - 2
        weights = cin * channels * 9
        ops.append(
            Operator("conv", cin * size**2, channels * after**2, kernel=3, cin=cin, cout=channels, weights=weights,
                     macs=weights * after**2, out_h=after, out_w=after)
        )  # fmt: skip
        size, cin = after, channels
        if number in (1, 3):
            ops.append(Operator("pool", channels * size**2, channels * size**2 // 4))
            size //= 2
    for outputs in (int(512 * width), int(512 * width), 10):
        ops.append(Operator("linear", cin, outputs, cin=cin, cout=outputs, macs=cin * outputs, weights=cin * outputs))
        cin = outputs
    return [op.at("fp16") for op in ops]


def test_narrow_networks_stop_gaining() -> None:
    """Published for a TX2 (FP16): widths 100 / 50 / 25 / 12.5 % take 1.12 / 0.53 / 0.42 / 0.41 ms, MACs fall 60 times.

    The published times exclude copies.
    """
    known = load_target("jetson-tx2-gpu").target.cost
    assert known is not None
    full, half, quarter, eighth = (price_graph(cnv(w), known).ms for w in (1, 0.5, 0.25, 0.125))
    assert sum(op.macs for op in cnv(1)) / sum(op.macs for op in cnv(0.125)) > 50
    assert 1.2 < full / eighth < 4
    copies = known.fixed_ms.value
    assert 1.3 < (full - copies) / (eighth - copies) < 4
    assert (quarter - copies) / (eighth - copies) < 1.2
    assert 0.3 < eighth - copies < 0.5 and 0.6 < full - copies < 1.2 and half < full
    assert price_graph(cnv(1), known).upper_ms > 1.12


@pytest.mark.parametrize("name", NOT_HERE)
@settings(max_examples=25)
@given(channels=st.integers(1, 300), size=st.integers(1, 64))
def test_more_of_anything_is_never_cheaper(name: str, channels: int, size: int) -> None:
    """One channel or one pixel row more: not below, whatever the tiles."""
    known = load_target(name).target.cost
    assert known is not None
    before = price_graph([conv(64, channels, size)], known).ms
    assert price_graph([conv(64, channels + 1, size)], known).ms >= before * (1 - 1e-9)
    assert price_graph([conv(64, channels, size + 1)], known).ms >= before * (1 - 1e-9)


@pytest.mark.parametrize("target", NOT_HERE)
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
def test_fewer_input_channels_never_cost_more(target: str, kernel: int) -> None:
    """Below 16 another class prices a convolution; where its rates are slower, they are not what pruning pays."""
    known = load_target(target).target.cost
    assert known is not None
    for size in (8, 32, 64):
        times = [price(conv(cin, 32, size, kernel=kernel), known.in_artifact()).ms for cin in (12, 15, 16, 24)]
        assert times == sorted(times)
