"""Watches the scores of successive frames: conformal p-values, a martingale over the latest of them, and CUSUM.

One frame over the threshold may be chance; the monitor says when the frames no longer look like the normals that the
artifact was calibrated on. Ramakrishna et al., "Efficient Out-of-Distribution Detection Using Latent Space of
beta-VAE", arXiv 2108.11800, the detector that Bansal et al., arXiv 2409.00880, compress; here for any score.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import random
from bisect import bisect_left, bisect_right
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any, Sequence

import numpy as np

from budgetc import errors

LEVELS = 65_535
"""Steps between the lowest and the highest score of a table."""
MAX_WINDOW = 1000
_AGAIN = "compile the detector again, or copy the whole artifact again"
_EXTREME = 2
"""The rank that a score above all of the table has: p = 2 / (n + 1), so that one odd frame proves little."""


@dataclass(frozen=True)
class MonitorTable:
    """The block `monitor` of `artifact.json`: calibration scores, and when to raise an alarm."""

    scores: str
    """Ascending scores of calibration normals: base64 of little-endian uint16, in steps above `lowest`."""
    lowest: float
    step: float
    drift: float
    """Delta of CUSUM: what the log of the martingale must exceed for the sum to grow."""
    threshold: float
    """Of the sum: alarm when it is greater."""
    run_length: int
    """Frames in which four of five streams of normals raise no alarm: what drift and threshold were fitted for."""
    window: int = 20
    """Frames that the martingale looks back on (W, arXiv 2108.11800)."""

    def codes(self) -> list[int]:
        """The scores in steps above `lowest`, ascending.

        Raises:
            InputRejected: they are none, damaged or not in order, or a number is out of its range.
        """
        numbers = {"lowest": self.lowest, "step": self.step, "drift": self.drift, "threshold": self.threshold}
        for name, value in numbers.items():
            if not math.isfinite(value) or (name != "lowest" and value < 0):
                _refuse(name, value, "a finite number" if name == "lowest" else "a finite number, not negative")
        for name, count, most in (("window", self.window, MAX_WINDOW), ("run_length", self.run_length, 10**9)):
            if not 1 <= count <= most:
                _refuse(name, count, f"1 to {most}")
        try:
            codes: list[int] = np.frombuffer(base64.b64decode(self.scores, validate=True), dtype="<u2").tolist()
        except (binascii.Error, ValueError) as error:
            raise errors.InputRejected(f"monitor: scores cannot be decoded ({error}); {_AGAIN}") from error
        if not codes:
            raise errors.InputRejected(f"monitor: the table has no scores, at least one is needed; {_AGAIN}")
        if codes != sorted(codes):
            raise errors.InputRejected(f"monitor: scores are not in ascending order; {_AGAIN}")
        return codes

    def code(self, score: float) -> int:
        """The step that a score is in, or one beyond where it is lower or higher than all of the table."""
        return _code(score, self.lowest, self.step)


@dataclass(frozen=True)
class MonitorState:
    """What the monitor says after a frame."""

    p_value: float
    """Share of normals with such a score or a higher one."""
    log_martingale: float
    """Natural logarithm; above 0 the latest p-values are smaller than those of normals."""
    cusum: float
    alarm: bool
    """cusum > threshold. The sum falls by at most the drift a frame and more: after long trouble call `reset`."""
    frame: int
    """Frames since the start or the last reset, this one included."""


class Monitor:
    """A monitor of one stream of frames; give every frame's score, in order, to `update`.

    Args:
        table: from an artifact, fitted on the scores of this very file.
        smoothing: seed. None takes the p-values that arXiv 2108.11800 uses, max(#{calibration >= score} + 1, 2) /
            (n + 1): deterministic, never too small, and what drift and threshold were fitted with. With a seed they
            are (#{calibration > score} + u (#{calibration = score} + 1)) / (n + 1), u uniform: exactly uniform for
            exchangeable normals, also where scores tie (Vovk, Gammerman, Shafer, Algorithmic Learning in a Random
            World, 2005, section 2.3).

    Raises:
        InputRejected: the table is empty or damaged.
    """

    def __init__(self, table: MonitorTable, *, smoothing: int | None = None) -> None:
        self.table, self.smoothing = table, smoothing
        self._codes = table.codes()
        self.reset()

    def reset(self) -> None:
        """Forget all frames."""
        self._evidence: deque[float] = deque(maxlen=self.table.window)
        self._cusum, self._frame = 0.0, 0

    def update(self, score: float) -> MonitorState:
        """Take the score of the next frame.

        Raises:
            InputRejected: it is no finite number; the monitor stays as it was.
        """
        if not math.isfinite(score):
            raise errors.InputRejected(f"monitor: frame {self._frame + 1} has the score {score}; expected a number")
        self._frame += 1
        p = self._p_value(score)
        self._evidence.append(-math.log(p))
        log_martingale = log_mixture(math.fsum(self._evidence), len(self._evidence))
        self._cusum = max(0.0, self._cusum + log_martingale - self.table.drift)
        return MonitorState(p, log_martingale, self._cusum, self._cusum > self.table.threshold, self._frame)

    def _p_value(self, score: float) -> float:
        code, total = self.table.code(score), len(self._codes)
        below, above = bisect_left(self._codes, code), total - bisect_right(self._codes, code)
        if self.smoothing is None:
            return p_value(total - below, total)
        # One generator a frame: a state that was saved needs no generator's.
        uniform = 1 - random.Random((self.smoothing << 64) + self._frame).random()
        return (above + uniform * (total - below - above + 1)) / (total + 1)

    def to_json(self) -> str:
        """All that the monitor remembers, for `from_json` in another process."""
        state = {
            "table": _digest(self.table), "smoothing": self.smoothing, "frame": self._frame, "cusum": self._cusum,
            "evidence": list(self._evidence),
        }  # fmt: skip
        return json.dumps(state)

    @classmethod
    def from_json(cls, text: str, table: MonitorTable) -> Monitor:
        """The monitor that wrote `text`; the next frame continues where it stood.

        Raises:
            InputRejected: not written by `to_json`, or with another table: p-values of two files do not mix.
        """
        try:
            state: dict[str, Any] = json.loads(text)
            monitor = cls(table, smoothing=None if state["smoothing"] is None else int(state["smoothing"]))
            known = str(state["table"])
            monitor._frame, monitor._cusum = int(state["frame"]), float(state["cusum"])
            monitor._evidence.extend(float(value) for value in state["evidence"])
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise errors.InputRejected(
                f"the state of a monitor cannot be read ({error!r}); start a new monitor"
            ) from error
        if known != _digest(table):
            raise errors.InputRejected(
                "the state of a monitor is one of another artifact: its p-values are of other scores; start a new one"
            )
        if not all(math.isfinite(value) for value in (monitor._cusum, *monitor._evidence)):
            raise errors.InputRejected("the state of a monitor holds no finite numbers; start a new monitor")
        return monitor


def p_value(at_least: int, total: int) -> float:
    """Conformal p-value of a score that `at_least` of `total` calibration scores reach (arXiv 2108.11800)."""
    return max(at_least + 1, _EXTREME) / (total + 1)


def log_mixture(evidence: float, frames: int) -> float:
    """Log of the simple mixture martingale: log of the integral over e in (0, 1) of prod e p^(e - 1).

    Vovk, Nouretdinov, Gammerman, "Testing exchangeability on-line", ICML 2003. The product depends on the p-values
    only through their `evidence` s, the sum of -log p over k `frames`, and integrating e^k exp((1 - e) s) by parts
    gives sum over j >= 0 of s^j / ((k + 1) ... (k + 1 + j)): only positive terms, so nothing cancels.
    """
    term = total = 1 / (frames + 1)
    scale, j = 0.0, 0
    while j <= evidence or term > 1e-17 * total:
        j += 1
        term *= evidence / (frames + 1 + j)
        total += term
        if total > 1e200:
            term, total, scale = term / 1e200, total / 1e200, scale + math.log(1e200)
    return scale + math.log(total)


def pack_scores(scores: Sequence[float]) -> tuple[str, float, float]:
    """`scores`, `lowest` and `step` of a table, of scores in any order."""
    ordered = sorted(map(float, scores))
    lowest = short(ordered[0] - 1e-8 * abs(ordered[0]))  # rounding must not lift it above a score
    step = short((ordered[-1] - lowest) / LEVELS * (1 + 1e-8))
    codes = np.array([_code(score, lowest, step) for score in ordered], dtype="<u2")
    return base64.b64encode(codes.tobytes()).decode(), lowest, step


def _code(score: float, lowest: float, step: float) -> int:
    """The step that a score is in. Frames go through it as the table's scores do: what is monotone and the same for
    both leaves p-values valid, and ties that are there stay ties.
    """
    steps = (score - lowest) / step if step > 0 else (score > lowest) - (score < lowest)
    return math.floor(min(max(steps, -1), LEVELS + 1))


def short(value: float) -> float:
    """To nine digits: enough to tell FP32 scores apart, and at most 16 bytes."""
    return float(f"{value:.9g}")


def _digest(table: MonitorTable) -> str:
    return hashlib.sha256(json.dumps(asdict(table), sort_keys=True).encode()).hexdigest()


def _refuse(name: str, value: object, expected: str) -> None:
    raise errors.InputRejected(f"monitor: {name} is {value!r}, expected {expected}; {_AGAIN}")
