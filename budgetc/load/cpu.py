"""What the CPU of this machine can do with INT8: read once, judged by a pure function."""

import platform
from collections.abc import Collection
from pathlib import Path
from typing import Literal

_ARM = ("aarch64", "arm64", "armv7l", "armv8l")
_VNNI = ("avx_vnni", "avx512_vnni", "avx512vnni")


def weight_levels_for(machine: str, flags: Collection[str]) -> tuple[Literal[63, 127], str]:
    """How many levels INT8 weights may span on each side of zero, and why.

    x86 without VNNI adds two U8 x S8 products in 16 bits, which saturate beyond +-64 levels
    (`vpmaddubsw`, Intel SDM volume 2); ARM widens to 32 bits first.

    `machine` is that of `platform.machine()`, `flags` those of /proc/cpuinfo.
    """
    if machine.lower() in _ARM:
        dot = "dot products" if "asimddp" in flags else "no dot products"
        return 127, f"ARM ({dot}) does not saturate in 16 bits"
    vnni = [flag for flag in _VNNI if flag in flags]
    if vnni:
        return 127, f"{vnni[0]} adds products in 32 bits"
    return 63, "no VNNI: pairs of U8 x S8 products would saturate 16 bits"


def host_cpu(cpuinfo: Path = Path("/proc/cpuinfo")) -> tuple[str, frozenset[str]]:
    """Machine name and CPU flags; no flags where the system does not list them."""
    try:
        text = cpuinfo.read_text(encoding="ascii", errors="replace")
    except OSError:
        return platform.machine(), frozenset()
    lines = (line.partition(":") for line in text.splitlines())
    flags = {flag for name, _, value in lines if name.strip() in ("flags", "Features") for flag in value.split()}
    return platform.machine(), frozenset(flags)
