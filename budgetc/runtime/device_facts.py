"""What a board says of itself; needs Python 3.6 and nothing else. Lies beside `run_me.py` as `facts.py`.

Times of the board's clock are never asked for: a board without a battery starts in 1970.
"""

import glob
import hashlib
import os
import platform
import subprocess
import sys
from typing import Any

_TOOL_SECONDS = 10


def facts(root: str = "/") -> "dict[str, Any]":
    """What stays the same while a board runs: names, memory, power mode, governors.

    Args:
        root: where /proc, /sys and /etc are.
    """
    cpu = _fields(os.path.join(root, "proc/cpuinfo"))
    identity = _text(os.path.join(root, "etc/machine-id"))
    return {
        "model": _text(os.path.join(root, "proc/device-tree/model")) or _text(os.path.join(root, _PRODUCT)),
        "cpu": cpu.get("model name") or cpu.get("Model") or platform.machine(),
        "machine": platform.machine(),
        "features": " ".join(sorted((cpu.get("flags") or cpu.get("Features") or "").split())),
        "cores": os.cpu_count() or 0,
        "memory_bytes": _bytes(_fields(os.path.join(root, "proc/meminfo")).get("MemTotal", "")),
        "kernel": platform.release(),
        "system": _system(os.path.join(root, "etc/os-release")),
        "tegra": _text(os.path.join(root, "etc/nv_tegra_release")).split("\n")[0],
        "machine_id": hashlib.sha256(identity.encode()).hexdigest()[:16] if identity else "",
        "power_mode": power_mode(_said(["nvpmodel", "-q"])),
        "governors": sorted({_text(path) for path in glob.glob(os.path.join(root, _GOVERNORS)) if _text(path)}),
        "python": platform.python_version(),
    }


def sample(root: str = "/") -> "dict[str, Any]":
    """What changes while a board runs: clocks, temperatures, throttling, load, free memory."""
    clocks = {
        os.path.basename(os.path.dirname(os.path.dirname(path))): _number(path, 1e-3)
        for path in glob.glob(os.path.join(root, "sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq"))
    }
    for path in glob.glob(os.path.join(root, "sys/class/devfreq/*/cur_freq")):
        clocks[os.path.basename(os.path.dirname(path))] = _number(path, 1e-6)
    cooling = {
        _text(os.path.join(place, "type")) or os.path.basename(place): _number(os.path.join(place, "cur_state"), 1.0)
        for place in glob.glob(os.path.join(root, "sys/class/thermal/cooling_device*"))
    }
    temperatures = {
        _text(os.path.join(zone, "type")) or os.path.basename(zone): _number(os.path.join(zone, "temp"), 1e-3)
        for zone in glob.glob(os.path.join(root, "sys/class/thermal/thermal_zone*"))
    }
    return {
        "clocks_mhz": _known(clocks),
        "temperatures_c": _known(temperatures),
        "throttled_by": throttled_by(_known(cooling), _said(["vcgencmd", "get_throttled"])),
        "load_average": [float(part) for part in _text(os.path.join(root, "proc/loadavg")).split()[:3]],
        "available_bytes": _bytes(_fields(os.path.join(root, "proc/meminfo")).get("MemAvailable", "")),
    }


def outdated(needed: "str | None", here: str) -> str:
    """What is wrong with the onnxruntime of this Python; empty where it is new enough, or missing."""
    if needed is None:
        return ""
    found = imported("onnxruntime", here)[0]
    if not found or numbers(found) >= numbers(needed):
        return ""
    return (
        f"{sys.executable} has onnxruntime {found}, and the graph needs {needed} or newer, for Python 3.7 or newer "
        "(1.16 with Python 3.8 on Ubuntu 18.04); install it there, and run this with that Python"
    )


def imported(module: str, here: str) -> "tuple[str, str]":
    """The version of a module in a process of its own, and the last line that it says; empty where it is missing."""
    done = subprocess.run(
        [sys.executable, "-c", f"import {module}; print('@@' + {module}.__version__)"],
        cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    said, complaint = (text.decode("utf-8", "replace") for text in (done.stdout, done.stderr))
    return said.rpartition("@@")[2].strip() if "@@" in said else "", (complaint.strip().split("\n") or [""])[-1]


def numbers(version: str) -> "list[int]":
    """`1.10.0` -> [1, 10], which compares."""
    return [int(part) for part in version.split(".")[:2] if part.isdigit()]


_PRODUCT = "sys/devices/virtual/dmi/id/product_name"
_GOVERNORS = "sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor"
_NOW = 0xF
"""Bits of a Raspberry Pi's `get_throttled` that speak of this moment; the upper ones of the time since it started."""


def power_mode(said: str) -> str:
    """`NV Power Mode: MAXN` and a line with its number -> `MAXN`; empty where there are no modes."""
    lines = [line.partition(":")[2].strip() for line in said.split("\n") if "Power Mode" in line]
    return lines[0] if lines else ""


def throttled_by(cooling: "dict[str, float]", said: str) -> "list[str]":
    """What slows the board down now: cooling devices of the kernel that slow clocks, and the firmware's own word."""
    found = sorted(name for name, state in cooling.items() if state > 0 and "fan" not in name.lower())
    word = said.strip().partition("=")[2]
    try:
        if int(word or "0", 16) & _NOW:
            found.append("firmware " + word)
    except ValueError:
        pass
    return found


def _known(values: "dict[str, Any]") -> "dict[str, float]":
    return {name: value for name, value in sorted(values.items()) if value is not None}


def _said(command: "list[str]") -> str:
    """What a tool prints; empty where it is missing, fails or hangs."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=_TOOL_SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().replace("\0", "").strip()
    except OSError:
        return ""


def _number(path: str, scale: float) -> "float | None":
    try:
        return round(float(_text(path)) * scale, 3)
    except ValueError:
        return None


def _fields(path: str) -> "dict[str, str]":
    """`name: value` lines; of a name that repeats, the first."""
    found = {}  # type: dict[str, str]
    for line in _text(path).split("\n"):
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip(), value.strip())
    return found


def _bytes(text: str) -> int:
    """`4059712 kB` -> bytes."""
    parts = text.split()
    return int(parts[0]) * 1024 if parts and parts[0].isdigit() else 0


def _system(path: str) -> str:
    lines = [line.partition("=")[2].strip('"') for line in _text(path).split("\n") if line.startswith("PRETTY_NAME=")]
    return lines[0] if lines else platform.system()
