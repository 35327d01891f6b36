"""Names of the machine and the runtime that a measurement was made with."""

import platform
from functools import cache
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


def device(threads: int) -> str:
    """`host: AMD EPYC, 1 thread`: what every measurement on this machine says it ran on."""
    return f"host: {cpu_name()}, {threads} thread{'' if threads == 1 else 's'}"


def cpu_name() -> str:
    """The processor's own name, or its architecture where it has none."""
    return _first("model name", "Model") or platform.processor() or platform.machine()


def cpu_features() -> tuple[str, ...]:
    """Instruction-set flags as the kernel spells them, sorted; empty where it lists none.

    `avx512_vnni` or `avx_vnni` mean integer dot products without 16-bit saturation.
    """
    return tuple(sorted(set(_first("flags", "Features").split())))


@cache
def runtime() -> str:
    """`onnxruntime 1.32.0`."""
    from budgetc.runtime.artifact import RUNTIME  # here, because it loads onnxruntime

    return RUNTIME


def _first(*keys: str) -> str:
    """The first line of /proc/cpuinfo with one of the keys (x86 and ARM name them differently)."""
    if not _CPUINFO.exists():
        return ""
    lines = [line.partition(":") for line in _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()]
    return next((value.strip() for key, _, value in lines if key.strip() in keys), "")
