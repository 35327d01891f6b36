"""What all untrained detectors share: a checked configuration, and weights that a seed decides."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from pydantic import ValidationError

from budgetc.detectors.detector import Detector, DetectorConfig
from budgetc.detectors.families import build
from budgetc.errors import UsageError

_MAXIMUM_SEED = 2**31


@contextmanager
def shape_of(family: str) -> Iterator[None]:
    """Within it, a configuration that cannot be is a mistake of whoever asked for it.

    Raises:
        UsageError: instead of a ValidationError, in the words of the configuration.
    """
    try:
        yield
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"no such {family}: {f'{where}: {said}' if where else said}") from error


def start(family: str, config: DetectorConfig, seed: int) -> Detector:
    """A detector with the random weights of a seed.

    Raises:
        UsageError: torch takes no such seed, or the weights do not fit into memory.
    """
    if not 0 <= seed < _MAXIMUM_SEED:
        raise UsageError(f"--seed {seed}: expected 0 to {_MAXIMUM_SEED - 1}")
    torch.manual_seed(seed)
    try:
        return build(family, config)
    except RuntimeError as error:  # torch's word for memory that is not there
        raise UsageError(f"no such {family}: {str(error).splitlines()[0]}") from error
