"""Rows files: CSV of published latencies -> rows with the operators that were timed.

A row writes its layers out (`layers_spec`), or names a network whose shapes stand in networks.json. It belongs to the
definition of its source: rows of ncnn to ncnn's own networks.
"""

import csv
import io
import math
import re
from collections import Counter
from pathlib import Path

from budgetc.core.operator import Operator
from budgetc.core.row import Row
from budgetc.errors import InputRejected, UsageError
from budgetc.load.networks import Shapes, find_network, read_networks

_LAYER = re.compile(r"(conv|dw|fc):(\d+)>(\d+)k(\d+)p(\d+)h(\d+)>(\d+)")
_LATENCIES = ("latency_ms_60s", "latency_ms")
"""Of two columns the first: the mean of a minute, not of 100 runs."""
_NAMED = ("device", "unit", "model", "input_hw", "precision", "runtime")
"""Columns that a row of a named network needs."""
_WRITTEN_OUT = {"device": "Jetson Nano", "unit": "gpu", "precision": "fp32", "runtime": "TensorRT"}
"""What rows with layers are where they do not say: the published CNNs of the Jetson Nano have no such columns."""
Rows = tuple[list[Row], Counter[str]]
"""Rows, and how many were left out for what reason."""


def read_rows(path: Path, networks: Path | None = None, *, strict: bool = True) -> Rows:
    """Rows of a file at batch 1; names, sizes and numbers in any case and spacing.

    Args:
        path: CSV with a header. In each row a latency (`latency_ms_60s` or `latency_ms`), and either `layers_spec` or
            all of device, unit, model, input_hw, precision, runtime. Optional: threads, batch, source, notes, stage,
            pom_5v_in_mw.
        networks: shapes of named networks; needed where rows name them.
        strict: refuse a file with a value that is no number or no layer; else such rows are left out and counted.

    Raises:
        UsageError: a file cannot be read, or `networks` is missing. InputRejected: with line and column, a value that
            is no number or no layer (where `strict`), or a row that is too short or too long.
    """
    table = _Table(path)
    shapes: Shapes = {}
    if any(not cells.get("layers_spec") for _, cells in table.lines):
        table.need(*_NAMED)
        if networks is None:
            raise UsageError(f"{path}: its rows name networks; give the file of their shapes, --networks networks.json")
        shapes = read_networks(networks)
    rows, left_out = list[Row](), Counter[str]()
    for line, cells in table.lines:
        try:
            found = table.known(line, cells, shapes)
        except _BadCell as bad:
            if strict:
                raise
            found = bad.reason
        if isinstance(found, Row):
            rows.append(found)
        else:
            left_out[found] += 1
    return rows, left_out


def read_times(path: Path) -> list[Row]:
    """Rows at batch 1 without their operators: what the same network takes elsewhere needs no shapes.

    Raises:
        as `read_rows`.
    """
    table = _Table(path)
    if "layers_spec" in table.columns:
        return []
    table.need(*_NAMED)
    return [table.row(line, cells) for line, cells in table.lines if _whole(cells.get("batch", "")) in ("1", "")]


class _BadCell(InputRejected):
    """A value that cannot be what its column holds; `reason` counts such rows."""

    def __init__(self, place: str, column: str, found: str) -> None:
        super().__init__(f"{place}, column {column}: {found}")
        self.reason = f"column {column} cannot be read"


class _Table:
    """A CSV file, and what its cells mean."""

    def __init__(self, path: Path) -> None:
        try:
            text = path.read_text(encoding="utf-8-sig")
        except OSError as error:
            raise UsageError(f"{path}: cannot be read ({error.strerror}); expected a CSV file of rows") from error
        except UnicodeDecodeError as error:
            raise InputRejected(f"{path}: byte {error.start} is not UTF-8; expected a CSV file of rows") from error
        reader = csv.reader(io.StringIO(text, newline=""))
        self.path = path
        self.lines: list[tuple[int, dict[str, str]]] = []
        try:
            self.columns = [name.strip() for name in next(reader, [])]
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    self.lines.append((reader.line_num, self._cells(reader.line_num, cells)))
        except csv.Error as error:
            raise InputRejected(f"{path}: line {reader.line_num}: {error}; expected CSV") from error
        if not any(name in self.columns for name in _LATENCIES):
            raise InputRejected(f"{path}: line 1: no column {' or '.join(_LATENCIES)}; found {self._found()}")

    def _found(self) -> str:
        return ", ".join(self.columns) or "an empty file"

    def _cells(self, line: int, cells: list[str]) -> dict[str, str]:
        if len(cells) != len(self.columns):
            raise InputRejected(
                f"{self.path}: line {line}: {len(cells)} cells; expected {len(self.columns)}, one for each column"
            )
        return dict(zip(self.columns, (cell.strip() for cell in cells), strict=True))

    def need(self, *columns: str) -> None:
        """Refuse a file without these columns."""
        missing = [name for name in columns if name not in self.columns]
        if missing:
            raise InputRejected(
                f"{self.path}: line 1: no column {', '.join(missing)}; expected layers_spec, or all of "
                f"{', '.join(columns)}; found {self._found()}"
            )

    def known(self, line: int, cells: dict[str, str], shapes: Shapes) -> Row | str:
        """A row with its operators, or why it is left out."""
        if cells.get("layers_spec"):
            filled = {**_WRITTEN_OUT, **{name: value for name, value in cells.items() if value}}
            row = self.row(line, filled, self._layers(line, cells["layers_spec"]))
            unknown = None
        else:
            definition = "ncnn benchmark" if cells["runtime"].lower().startswith("ncnn") else "torchvision"
            operators = find_network(shapes, cells["model"].lower(), _size(cells["input_hw"]), definition)
            row = self.row(line, cells, operators or ())  # checked even where it is left out
            unknown = None if operators else f"no shapes of the network ({definition})"
        if _whole(cells.get("batch", "")) not in ("1", ""):
            return "batch is not 1"
        return unknown or row

    def _layers(self, line: int, text: str) -> tuple[Operator, ...]:
        layers = tuple(self._layer(line, layer) for layer in text.split(";") if layer.strip())
        if not layers:
            raise _BadCell(f"{self.path}: line {line}", "layers_spec", f"{text!r}; expected layers joined by ;")
        return layers

    def row(self, line: int, cells: dict[str, str], operators: tuple[Operator, ...] = ()) -> Row:
        """A row of a network."""
        column = next(
            (name for name in _LATENCIES if cells.get(name)), next(n for n in _LATENCIES if n in self.columns)
        )
        notes = cells.get("notes", "")
        fastest = re.search(r"\bmin=(\d+(?:\.\d+)?)", notes)
        latency = self._positive(line, column, cells)
        return Row(
            cells["device"], cells["unit"].lower(), cells.get("model", ""), cells["precision"].lower(), _version(cells),
            _whole(cells.get("threads", "")), latency, operators, input_hw=_size(cells.get("input_hw", "")),
            stage=cells.get("stage", ""), fastest_ms=float(fastest[1]) or None if fastest else None,
            power_w=self._positive(line, "pom_5v_in_mw", cells) / 1e3 if cells.get("pom_5v_in_mw") else None,
        )  # fmt: skip

    def _positive(self, line: int, column: str, cells: dict[str, str]) -> float:
        text = cells.get(column, "")
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 < value < math.inf:
            raise _BadCell(f"{self.path}: line {line}", column, f"{text!r}; expected a positive number")
        return value

    def _layer(self, line: int, text: str) -> Operator:
        match = _LAYER.fullmatch(text.strip())
        if match is None:
            raise _BadCell(
                f"{self.path}: line {line}", "layers_spec",
                f"layer {text!r}; expected conv|dw|fc:IN>OUTkKERNELpPADDINGhSIZE>SIZE",
            )  # fmt: skip
        cin, cout, kernel, padding, before, after = map(int, match.groups()[1:])
        if match[1] == "fc":
            return Operator("linear", cin, cout, cin=cin, cout=cout, macs=cin * cout, weights=cin * cout)
        groups = max(cin, 1) if match[1] == "dw" else 1
        weights, span = cin * cout * kernel**2 // groups, before + 2 * padding - kernel
        return Operator(
            "conv", cin * before**2, cout * after**2, kernel=kernel, stride=_stride(span, after),
            cin=cin, cout=cout, groups=groups, macs=weights * after**2, weights=weights, out_h=after, out_w=after,
        )  # fmt: skip


def _stride(span: int, after: int) -> int:
    """Of a kernel that has `span` places to go and returns `after` outputs."""
    return max(span // (after - 1), 1) if after > 1 else 1


def _size(text: str) -> str:
    """`224x224` of `224 X 224`."""
    return "".join(text.lower().split())


def _whole(text: str) -> str:
    """`4` of `4.0`; other text as it is."""
    whole, point, rest = text.partition(".")
    return whole if point and not rest.strip("0") else text


def _version(cells: dict[str, str]) -> str:
    """The ncnn rows come from two versions of it, up to 40 % apart on one board."""
    if cells["runtime"].lower() != "ncnn":
        return cells["runtime"]
    source = cells.get("source", "")
    return "ncnn 2023" if "issue #4175" in source else "ncnn README" if "README" in source else "ncnn"
