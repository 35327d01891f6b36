"""One JSON line a result: what every benchmark prints."""

import json
import platform
from dataclasses import dataclass
from typing import Literal

from budgetc.measurement.host import cpu_name


@dataclass(frozen=True)
class Line:
    """A figure against its goal."""

    bar: str
    value: float
    goal: str
    """Such as `>= 0.9`."""
    ok: bool
    unit: str
    n: int
    spread: str
    """Range or interval, in words; empty where the value is exact."""
    kind: Literal["measured", "emulated", "proxy", "predicted", "published"] = "measured"

    def show(self) -> None:
        """Print it."""
        machine = f"{cpu_name()}, {platform.system()} {platform.machine()}"
        if self.kind == "published":
            machine = "the publication's"
        print(json.dumps({**self.__dict__, "machine": machine}), flush=True)
