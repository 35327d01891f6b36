"""How far another runtime may be from the one whose rows were fitted: each of the others left out in turn."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from budgetc.core.cost import Factor
from budgetc.core.row import Row

_SAME = {"mobilenet_v1_1.0": "mobilenet", "mobilenet_v2_1.0": "mobilenet_v2", "mobilenet_v3_large": "mobilenet_v3"}
"""Names of one network in rows of different runtimes."""
_OUTDATED = ("TFLite 1.15",)
"""Runtimes of 2019 whose kernels no later one has (TensorFlow Lite before XNNPACK: 3.0 to 3.5 times ncnn)."""
_LEAST_RUNTIMES = 2
_Key = tuple[str, str, str, str]


def runtime_doubt(rows: Iterable[Row], fitted: Sequence[str]) -> Factor | None:
    """Time of other runtimes over the fitted one's, on the same network, board and number of threads, at FP32.

    Nobody knows which of them the runtime of an artifact is like, so the edges are those of the runtime that lies
    furthest on each side: between the 5th and the 95th percentile of its networks.

    Args:
        rows: CPU rows of many boards; their operators are not looked at.
        fitted: what the runtime of the fitted rows starts with.

    Returns:
        None where fewer than two other runtimes share a network and a board with it.
    """
    cpu = [row for row in rows if row.unit == "cpu"]
    own_rows = [row for row in cpu if row.runtime.startswith(tuple(fitted))]
    # Where the board computes in FP16 and the fitted runtime uses that, even its FP32 files run so.
    halves = {row.device for row in own_rows if row.precision == "fp16"}
    plain = [row for row in cpu if row.precision == "fp32" and row.device not in halves]
    known = _times([row for row in own_rows if row.precision == "fp32"])
    ratios = defaultdict[str, list[float]](list)
    for row in plain:
        own = known.get(_key(row)) if row.threads else _all_cores(row, known)
        if own is not None and not row.runtime.startswith((*fitted, *_OUTDATED)):
            ratios[row.runtime].append(row.latency_ms / own)
    if len(ratios) < _LEAST_RUNTIMES:
        return None
    edges = {name: np.percentile(found, [5, 95]) for name, found in sorted(ratios.items())}
    told = "; ".join(f"{name} {low:.2f}-{high:.2f} (n {len(ratios[name])})" for name, (low, high) in edges.items())
    return Factor(
        lower=round(min(1.0, *(float(low) for low, _ in edges.values())), 2),
        upper=round(max(1.0, *(float(high) for _, high in edges.values())), 2),
        source=f"each other runtime over {' or '.join(fitted)}, same network, board and threads: {told}",
    )


def _key(row: Row) -> _Key:
    return row.device, _SAME.get(row.model, row.model), row.input_hw, row.threads


def _times(rows: Iterable[Row]) -> dict[_Key, float]:
    found: dict[_Key, float] = {}
    for row in rows:
        found[_key(row)] = min(row.fastest_ms or row.latency_ms, found.get(_key(row), np.inf))
    return found


def _all_cores(row: Row, known: dict[_Key, float]) -> float | None:
    """The fastest time of its network on its board: a row that does not say how many threads it used had them all."""
    device, model, size, _ = _key(row)
    return min((ms for key, ms in known.items() if key[:3] == (device, model, size)), default=None)
