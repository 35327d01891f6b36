"""Fit the cost models of targets/devices/ to published rows and print how well they do, one JSON object a line.

    python scripts/fit_targets.py [DIRECTORY] [--write]

DIRECTORY (default: devices/ in $BUDGETC_TEST_DATA) holds nano_gpu_tensorrt_fp32_cnns.csv, published_latencies.csv,
networks.json and jetson_validate.csv. The last is never fitted: only errors on it are printed. `--write` replaces the
`cost:` block at the end of each target file, and nothing above it.
"""

import argparse
import io
import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import floor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from scipy.stats import t as student_t

from budgetc.core.cost import Band, CostModel, FitStatistic
from budgetc.load.rows import Row, as_fused, read_cnns, read_published
from budgetc.measurement.fitting import Sample, fit_rates, predictions, scaled, statistic
from budgetc.measurement.priors import NANO_GPU, nano_cpu

TARGETS = Path(__file__).resolve().parent.parent / "targets" / "devices"
BOARDS = ("Snapdragon 810", "Raspberry Pi 4B")
"""Same core as the Nano's, and its successor: the boards whose class rates it borrows."""
SMALL_MS = 10.0
"""Predictions below have their own interval, where enough rows were held out there."""
MANY = 30
"""Rows from which on quantiles are taken."""
Pairs = NDArray[np.float64]
SMALL = {5.0: 8.0, 10.0: 4.0}
"""Weight of rows below so many ms: artifacts are small, and only 13 of the 4,292 CNNs are below 5 ms."""


@dataclass(frozen=True, slots=True)
class Data:
    """Everything that is read."""

    cnns: list[Row]
    published: list[Row]
    validate: list[Row]


def read(directory: Path) -> Data:
    """All rows of a directory."""
    networks = directory / "networks.json"
    cnns = read_cnns(directory / "nano_gpu_tensorrt_fp32_cnns.csv")
    published, _ = read_published(directory / "published_latencies.csv", networks)
    validate, left_out = read_published(directory / "jetson_validate.csv", networks)
    print(json.dumps({"file": "jetson_validate.csv", "left_out": dict(left_out)}))
    return Data(cnns, published, validate)


def samples(rows: Iterable[Row], *, weight: float | None = None, scale: float = 1.0) -> list[Sample]:
    """Rows with the weight of their latency, or a given one."""
    return [Sample(_operators(r), r.latency_ms / scale, weight or _weight(r.latency_ms)) for r in rows]


def _operators(row: Row) -> tuple[Any, ...]:
    if row.unit != "gpu":
        return tuple(op.at("int8") if row.precision == "int8" and op.macs else op for op in row.operators)
    return tuple(op.at("fp16") if row.precision == "fp16" else op for op in as_fused(row.operators))


def _weight(ms: float) -> float:
    return next((weight for below, weight in SMALL.items() if ms < below), 1.0)


def fit_gpu(data: Data) -> CostModel:
    """TensorRT on the Nano: the CNNs and the named networks, intervals from stages and networks held out."""
    # Channel shuffles run as kernels that the shapes do not list: twice the predicted time, and no layer to blame.
    named = [r for r in data.published if _nano_gpu(r) and not r.model.startswith("shufflenet")]
    fitted = fit_rates(samples(data.cnns) + samples(named, weight=3), NANO_GPU)
    held, pairs = list[FitStatistic](), list[Pairs]()
    for stage in sorted({r.stage for r in data.cnns}):
        inside, outside = ([r for r in data.cnns if (r.stage == stage) is side] for side in (True, False))
        model = fit_rates(samples(outside) + samples(named, weight=3), NANO_GPU)
        held.append(statistic(samples(inside), model, f"CNNs FP32, stage {stage}", "held out"))
        pairs.append(_pairs(samples(inside), model))
    # Named networks are few, and further from the series than its stages from each other: they widen the interval.
    names = np.concatenate([_pairs(samples([r]), _without(data, named, r)) for r in named])
    fitted = fitted.model_copy(update={"bands": _bands(np.concatenate(pairs), names)})
    held = [h.model_copy(update={"coverage": None}) for h in held]
    fit = [statistic(samples(data.cnns), fitted, "CNNs FP32", "fitted"),
           statistic(samples(named), fitted, "named networks FP32 and FP16", "fitted")]  # fmt: skip
    for precision in ("fp32", "fp16"):
        for runtime, rows in _runtimes(r for r in data.validate if _nano_gpu(r) and r.precision == precision):
            fit.append(statistic(samples(rows), fitted, f"named {precision.upper()}, {runtime}", "never fitted"))
    return fitted.model_copy(update={"fit": (*fit, *held), "nominal": _nominal(fit)})


def _nominal(fit: Sequence[FitStatistic]) -> float:
    """What the intervals may be called: at most 90 %, and no more than they hold of rows that were never fitted."""
    seen = [one for one in fit if one.use == "never fitted" and one.coverage is not None]
    share = sum(one.n * (one.coverage or 0.0) for one in seen) / sum(one.n for one in seen)
    return min(0.9, floor(10 * share) / 10)


def _without(data: Data, named: Sequence[Row], row: Row) -> CostModel:
    rest = [r for r in named if r.model != row.model]
    return fit_rates(samples(data.cnns) + samples(rest, weight=3), NANO_GPU)


def _nano_gpu(row: Row) -> bool:
    return row.device in ("Jetson Nano", "Jetson Nano 2GB") and row.unit == "gpu" and "TensorRT" in row.runtime


def _runtimes(rows: Iterable[Row]) -> list[tuple[str, list[Row]]]:
    listed = list(rows)
    return [(name, [r for r in listed if r.runtime == name]) for name in sorted({r.runtime for r in listed})]


def fit_cpu(data: Data, threads: int) -> CostModel:
    """ncnn on the Nano's A57: rates of boards with related cores, one scale from two networks on the Nano itself."""
    boards = {name: _ncnn(data.published, name, threads) for name in BOARDS}
    reference = {r.model: r.latency_ms for r in boards[BOARDS[0]]}
    scales = {
        name: float(np.exp(np.median([np.log(r.latency_ms / reference[r.model]) for r in rows])))
        for name, rows in boards.items()
    }
    nano = _ncnn(data.published, "Jetson Nano", threads)

    def fit(without: str = "") -> tuple[CostModel, float]:
        """Rates of the boards, and how much slower the Nano is."""
        rows = [s for name, known in boards.items()
                for s in samples((r for r in known if r.model != without), weight=1, scale=scales[name])]  # fmt: skip
        model = fit_rates(rows, nano_cpu(threads), strength=0.3)
        return model, _scale(samples(nano), model)

    left_out = list[Pairs]()
    for network in sorted(reference):
        model, slower = fit(network)
        for name, known in boards.items():
            held = samples((r for r in known if r.model == network), scale=scales[name] / slower)
            left_out += [_pairs(held, scaled(model, slower))] if held else []
    model, slower = fit()
    fitted = scaled(model, slower)
    fitted = fitted.model_copy(
        update={"bands": _bands(np.concatenate(left_out)), "artifact_rates": _without_winograd(fitted)}
    )
    fit_statistics = [statistic(samples(nano), fitted, "ncnn FP32, Jetson Nano, scale only", "fitted")]
    for precision in ("fp32", "int8"):
        chosen = (r for r in data.validate if _is(r, "Jetson Nano", threads, precision))
        for runtime, rows in _runtimes(chosen):
            fit_statistics.append(
                statistic(samples(rows), fitted, f"{runtime}, {precision.upper()}, Jetson Nano", "never fitted")
            )
    return fitted.model_copy(update={"fit": tuple(fit_statistics)})


def _without_winograd(model: CostModel) -> dict[str, Any]:
    """onnxruntime's CPU kernels (MLAS) multiply 3x3 directly: at the rate of the other dense kernels."""
    return {"conv3x3": model.rates["convkxk"]}


def _is(row: Row, device: str, threads: int, precision: str) -> bool:
    return (row.device, row.unit, row.threads, row.precision) == (device, "cpu", str(threads), precision)


def _ncnn(rows: Iterable[Row], device: str, threads: int) -> list[Row]:
    return [r for r in rows if _is(r, device, threads, "fp32") and r.runtime == "ncnn README"]


def _pairs(known: Sequence[Sample], model: CostModel) -> Pairs:
    """(n, 2): truth, prediction."""
    return np.column_stack([[s.ms for s in known], predictions(known, model)[:, 0]])


def _scale(known: Sequence[Sample], model: CostModel) -> float:
    """Geometric mean of truth over prediction."""
    pairs = _pairs(known, model)
    return float(np.exp(np.log(pairs[:, 0] / pairs[:, 1]).mean()))


def _bands(*groups: Pairs) -> tuple[Band, ...]:
    """Intervals that hold 90 % of every group of held-out rows, apart for small and large predictions."""
    small = [group[group[:, 1] < SMALL_MS] for group in groups]
    large = [group[group[:, 1] >= SMALL_MS] for group in groups]
    if sum(len(group) for group in small) < MANY:
        return (Band(**_edges(groups)),)
    # The small rows are of one series: their interval is never the narrower one.
    return Band(below_ms=SMALL_MS, **_edges([*small, *large])), Band(**_edges(large))


def _edges(groups: Sequence[Pairs]) -> dict[str, float]:
    """Quantiles where rows are many; the prediction interval of a normal log ratio where they are few."""
    lower, upper = [1.0], [1.0]
    for group in groups:
        ratios = np.log(group[:, 0] / group[:, 1])
        if len(ratios) >= MANY:
            edges = np.percentile(ratios, [5, 95])
        elif len(ratios) > 1:
            wide = student_t.ppf(0.95, len(ratios) - 1) * ratios.std(ddof=1) * np.sqrt(1 + 1 / len(ratios))
            edges = ratios.mean() + np.array([-wide, wide])
        else:
            continue
        lower.append(float(np.exp(edges[0])))
        upper.append(float(np.exp(edges[1])))
    return {"lower": round(min(lower), 3), "upper": round(max(upper), 3)}


def write(name: str, cost: CostModel) -> None:
    """Replace the `cost:` block that ends a target's file."""
    path = TARGETS / f"{name}.yaml"
    head, found, _ = path.read_text(encoding="utf-8").partition("\ncost:\n")
    if not found:
        raise SystemExit(f"{path}: no line `cost:` to replace")
    block = io.StringIO()
    yaml = YAML()
    yaml.width, yaml.indent = 118, 2
    yaml.dump({"cost": _plain(cost.model_dump(mode="json", exclude_none=True, exclude_defaults=True))}, block)
    path.write_text(f"{head}\n{block.getvalue()}", encoding="utf-8")


def _plain(value: Any, depth: int = 0) -> Any:
    """Nested maps of the outer levels in block style, small ones on one line."""
    if isinstance(value, dict):
        made = CommentedMap({key: _plain(item, depth + 1) for key, item in value.items()})
        if depth and not any(isinstance(item, (dict, list)) and depth < 2 for item in value.values()):
            made.fa.set_flow_style()
        return made
    return [_plain(item, depth + 1) for item in value] if isinstance(value, list) else value


def main(arguments: Sequence[str]) -> None:
    """Fit, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    default = os.environ.get("BUDGETC_TEST_DATA")
    parser.add_argument("directory", nargs="?", type=Path, default=Path(default) / "devices" if default else None)
    parser.add_argument("--write", action="store_true", help="rewrite the cost: blocks in targets/devices/")
    options = parser.parse_args(arguments)
    if options.directory is None:
        parser.error("give the directory of the rows, or set BUDGETC_TEST_DATA")
    data = read(options.directory)
    fitted = {"jetson-nano-gpu": fit_gpu(data), "jetson-nano-cpu": fit_cpu(data, 4),
              "jetson-nano-cpu-1-thread": fit_cpu(data, 1)}  # fmt: skip
    for name, cost in fitted.items():
        for group in cost.fit:
            print(json.dumps({"target": name, **group.model_dump()}))
        if options.write:
            write(name, cost)


if __name__ == "__main__":
    main(sys.argv[1:])
