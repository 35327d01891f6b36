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


def read_rows(path: Path, networks: Path | None = None) -> Rows:
    """Rows of a file at batch 1.

    Args:
        path: CSV with a header. A latency (`latency_ms_60s` or `latency_ms`), and either `layers_spec` or all of
            device, unit, model, input_hw, precision, runtime. Optional: threads, batch, source, notes, stage,
            pom_5v_in_mw.
        networks: shapes of named networks; needed where rows name them.

    Raises:
        UsageError: a file cannot be read, or `networks` is missing. InputRejected: with line and column, a value that
            is no number or no layer, or a row that is too short or too long.
    """
    table = _Table(path)
    if "layers_spec" in table.columns:
        return [table.written_out(line, cells) for line, cells in table.lines], Counter()
    table.need(*_NAMED)
    if networks is None:
        raise UsageError(f"{path}: its rows name networks; give the file of their shapes, --networks networks.json")
    shapes = read_networks(networks)
    rows, left_out = list[Row](), Counter[str]()
    for line, cells in table.lines:
        found = table.named(line, cells, shapes)
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
    return [table.row(line, cells) for line, cells in table.lines if cells.get("batch", "1") in ("1", "")]


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

    def written_out(self, line: int, cells: dict[str, str]) -> Row:
        """A row whose layers stand in it."""
        layers = tuple(self._layer(line, text) for text in cells["layers_spec"].split(";") if text.strip())
        if not layers:
            raise InputRejected(f"{self.path}: line {line}, column layers_spec: empty; expected layers joined by ;")
        return self.row(line, {**_WRITTEN_OUT, **{name: value for name, value in cells.items() if value}}, layers)

    def named(self, line: int, cells: dict[str, str], shapes: Shapes) -> Row | str:
        """A row of a named network, or why it is left out."""
        definition = "ncnn benchmark" if cells["runtime"].startswith("ncnn") else "torchvision"
        known = find_network(shapes, cells["model"], cells["input_hw"], definition)
        row = self.row(line, cells, known or ())  # checked even where it is left out
        if cells.get("batch", "1") not in ("1", ""):
            return "batch above 1"
        return row if known is not None else f"no shapes of the network ({definition})"

    def row(self, line: int, cells: dict[str, str], operators: tuple[Operator, ...] = ()) -> Row:
        """A row of a network."""
        column = next(name for name in _LATENCIES if name in self.columns)
        notes = cells.get("notes", "")
        fastest = re.search(r"\bmin=(\d+(?:\.\d+)?)", notes)
        latency = self._positive(line, column, cells)
        return Row(
            cells["device"], cells["unit"], cells.get("model", ""), cells["precision"], _version(cells),
            cells.get("threads", ""), latency, operators, input_hw=cells.get("input_hw", ""),
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
            raise InputRejected(f"{self.path}: line {line}, column {column}: {text!r}; expected a positive number")
        return value

    def _layer(self, line: int, text: str) -> Operator:
        match = _LAYER.fullmatch(text.strip())
        if match is None:
            raise InputRejected(
                f"{self.path}: line {line}, column layers_spec: layer {text!r}; "
                "expected conv|dw|fc:IN>OUTkKERNELpPADDINGhSIZE>SIZE"
            )
        cin, cout, kernel, _, before, after = map(int, match.groups()[1:])
        if match[1] == "fc":
            return Operator("linear", cin, cout, cin=cin, cout=cout, macs=cin * cout, weights=cin * cout)
        groups = max(cin, 1) if match[1] == "dw" else 1
        weights = cin * cout * kernel**2 // groups
        return Operator(
            "conv", cin * before**2, cout * after**2, kernel=kernel, stride=max(round(before / max(after, 1)), 1),
            cin=cin, cout=cout, groups=groups, macs=weights * after**2, weights=weights, out_h=after, out_w=after,
        )  # fmt: skip


def _version(cells: dict[str, str]) -> str:
    """The ncnn rows come from two versions of it, up to 40 % apart on one board."""
    if cells["runtime"] != "ncnn":
        return cells["runtime"]
    source = cells.get("source", "")
    return "ncnn 2023" if "issue #4175" in source else "ncnn README" if "README" in source else "ncnn"
