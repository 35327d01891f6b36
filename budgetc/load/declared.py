"""`factors.yaml` beside frames: which OOD factors the in-distribution test frames are also judged under."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError

from budgetc.core.dataset import GOOD, Sample, SplitName
from budgetc.errors import InputRejected
from budgetc.load.factors import FactorName, Factors, changed
from budgetc.load.images import FolderReader
from budgetc.load.listing import FACTORS_FILE
from budgetc.load.splits import Splits
from budgetc.load.yaml_file import read_yaml
from budgetc.runtime.preprocess import resize_rgb


@dataclass(frozen=True)
class FactorReader:
    """Reads frames and their changed copies; a module-level class, so that worker processes can be handed one."""

    frames: FolderReader
    copies: Mapping[str, tuple[str, FactorName, float]]
    """File of a copy -> file of its frame, factor, severity."""
    seed: int

    def __call__(self, sample: Sample, size: tuple[int, int]) -> NDArray[np.uint8]:
        """(3, height, width); a copy is changed at the frame's own size and resized then.

        Raises:
            InputRejected: as `FolderReader`.
        """
        return resize_rgb(self.picture(sample.file), *size)

    def picture(self, file: str) -> Image.Image:
        """A frame or a copy at the frame's own size.

        Raises:
            InputRejected: as `FolderReader`.
        """
        if file not in self.copies:
            return self.frames.picture(file)
        frame, factor, severity = self.copies[file]
        pixels = np.asarray(self.frames.picture(frame))
        return Image.fromarray(changed(pixels, factor, severity, seed=f"{self.seed}/{frame}"))


def read_factors(root: Path) -> Factors | None:
    """The declaration in a data set's folder; None where there is none.

    Raises:
        ConfigError: not strict YAML. InputRejected: no valid declaration.
    """
    path = root / FACTORS_FILE
    if not path.exists():
        return None
    try:
        return Factors.model_validate(read_yaml(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "[key]")
        raise InputRejected(f"{path}: {where or 'content'}: {first['msg'].removeprefix('Value error, ')}") from error


def with_copies(splits: Splits, factors: Factors) -> tuple[Splits, dict[str, tuple[str, FactorName, float]]]:
    """Test normals followed by their changed copies, which stay in the frame's group and split."""
    copies: dict[str, tuple[str, FactorName, float]] = {}

    def extended(name: SplitName, samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
        if name not in ("selection", "confirmation"):
            return samples
        shown = [f for f in factors.factors if name == "confirmation" or f not in factors.held_back]
        made = []
        for factor in shown:
            for severity in factors.factors[factor]:
                for sample in samples:
                    if sample.defect != GOOD:
                        continue
                    file = f"{sample.file}#{factor}={severity:g}"
                    copies[file] = (sample.file, factor, severity)
                    made.append(Sample(file, sample.group, sample.category, factor))
        return (*samples, *made)

    return {name: extended(name, samples) for name, samples in splits.items()}, copies
