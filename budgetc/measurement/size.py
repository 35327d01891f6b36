"""Bytes of the files that an artifact needs to score."""

from pathlib import Path

from budgetc import errors
from budgetc.core.layout import DEPLOYED
from budgetc.core.measurement import Measurement


def deployed_bytes(directory: Path) -> dict[str, int]:
    """File -> bytes of the graph and of `artifact.json`: all that the detector is.

    Not counted: the reports, which no device needs, and `device/`, which is a copy of the runtime (a script of a few
    kB, the same for every artifact) with the same configuration once more.

    Raises:
        InputRejected: one of the files is missing.
    """
    missing = [name for name in DEPLOYED if not (directory / name).is_file()]
    if missing:
        raise errors.InputRejected(
            f"{directory}: {' and '.join(missing)} missing; an artifact has {', '.join(DEPLOYED)}"
        )
    return {name: (directory / name).stat().st_size for name in DEPLOYED}


def measure_size(directory: Path) -> Measurement:
    """`artifact_size`: the sum of `deployed_bytes`, exact.

    Raises:
        InputRejected: as `deployed_bytes`.
    """
    total = sum(deployed_bytes(directory).values())
    return Measurement(metric="artifact_size", value=total, unit="B", n=1, kind="measured", device="any")
