"""Where a compilation ran."""

import platform
from importlib.metadata import version

from budgetc.measurement.host import cpu_features, cpu_name
from budgetc.report.schema import Environment

_PACKAGES = ("torch", "torch-pruning", "onnx", "onnxruntime", "onnxsim", "numpy", "scipy", "pillow")


def environment() -> Environment:
    """This process's machine and packages."""
    return Environment(
        budgetc=version("budgetc"),
        python=platform.python_version(),
        platform=platform.platform(),
        cpu=cpu_name(),
        cpu_features=cpu_features(),
        packages={name: version(name) for name in _PACKAGES},
    )


def training_versions() -> dict[str, str]:
    """What a training's result depends on, beside its inputs."""
    return {name: version(name) for name in ("budgetc", "torch", "torch-pruning", "numpy", "pillow")}
