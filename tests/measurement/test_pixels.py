"""Maps of a deployed file against masks: what has figures, and what says why not."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from budgetc.core.dataset import Dataset, Sample
from budgetc.measurement.pixels import regions_of, score_maps
from budgetc.runtime.artifact import load_artifact
from tests.runtime.tiny import SIDE, write_artifact


def category(root: Path, name: str, *, masks: int, bad: int = 4) -> list[Sample]:
    """Four good pictures and `bad` with a bright square, the first `masks` of which have a mask."""
    samples = [Sample(f"{name}/good/{n}.png", f"{name}-good-{n}", name, "good") for n in range(4)]
    for n in range(bad):
        mask = None
        if n < masks:
            marked = np.zeros((2 * SIDE, 2 * SIDE), np.uint8)
            marked[16:32, 16:40] = 255
            mask = f"{name}/{n}_mask.png"
            (root / name).mkdir(exist_ok=True)
            Image.fromarray(marked).save(root / mask)
        samples.append(Sample(f"{name}/hole/{n}.png", f"{name}-{n}", name, "hole", mask))
    return samples


def dataset(root: Path, samples: list[Sample]) -> Dataset:
    def read(sample: Sample, size: tuple[int, int]) -> NDArray[np.uint8]:
        rng = np.random.default_rng(list(sample.file.encode()))
        picture = rng.integers(0, 160, (3, *size)).astype(np.uint8)
        if sample.label:
            picture[:, 8:16, 8:20] += 95
        return picture

    def read_mask(sample: Sample) -> NDArray[np.bool_]:
        return np.asarray(Image.open(root / str(sample.mask)).convert("L")) > 0

    splits = {"train": (), "calibration": (), "selection": (), "confirmation": tuple(samples)}
    return Dataset(str(root), "0" * 64, splits, read, read_mask=read_mask)  # type: ignore[arg-type]  # keys are names of splits


def test_a_category_without_masks_is_said_and_in_no_mean(tmp_path: Path) -> None:
    """The mean is that of the two others, and its note names the one that is missing."""
    samples = [*category(tmp_path, "brick", masks=4), *category(tmp_path, "grass", masks=0),
               *category(tmp_path, "sand", masks=3)]  # fmt: skip
    found = score_maps(load_artifact(write_artifact(tmp_path / "a")), dataset(tmp_path, samples), "confirmation")
    assert found is not None
    brick, grass, sand = found.categories
    assert (grass.auroc, grass.aupro, grass.reason) == (None, None, "no masks (4 anomalies)")
    assert (brick.reason, sand.reason) == ("", "anomalies without a mask are left out: 1")
    assert None not in (brick.aupro, sand.aupro, found.aupro, found.aupro_worst)
    values = [one.aupro.value for one in (brick, sand) if one.aupro is not None]
    assert found.aupro is not None
    assert found.aupro.value == pytest.approx(np.mean(values))
    assert "mean of 2 of 3 categories; no masks: grass" in (found.aupro.note or "")
    assert found.aupro.n == 8 + 7
    assert found.aupro_worst is not None
    assert found.aupro_worst.value == min(values)


def test_without_any_mask_there_are_reasons_alone(tmp_path: Path) -> None:
    """Nothing is called zero."""
    artifact, data = load_artifact(write_artifact(tmp_path / "a")), dataset(tmp_path, category(tmp_path, "a", masks=0))
    found = score_maps(artifact, data, "confirmation")
    assert found is not None
    assert (found.auroc, found.auroc_worst, found.aupro, found.aupro_worst) == (None, None, None, None)
    assert [one.reason for one in found.categories] == ["no masks (4 anomalies)"]


def test_without_a_map_there_is_nothing_to_compare(tmp_path: Path) -> None:
    """A latent-space VAE gives none."""
    artifact = load_artifact(write_artifact(tmp_path / "a", map=None))
    assert score_maps(artifact, dataset(tmp_path, category(tmp_path, "a", masks=4)), "confirmation") is None


def test_regions_hang_together_over_corners() -> None:
    """As in the evaluation of MVTec AD; two that do not touch are two."""
    marked = np.zeros((32, 32), bool)
    marked[0:8, 0:8] = marked[8:16, 8:16] = marked[24:28, 24:28] = True
    regions = regions_of(marked, (16, 16))
    assert regions.shape == (16, 16)
    assert int(regions.max()) == 2
    assert regions[0, 0] == regions[7, 7] != regions[13, 13] != 0
    assert int((regions > 0).sum()) == 16 + 16 + 4


def test_a_defect_smaller_than_a_pixel_of_the_map_is_kept() -> None:
    """Else AUPRO would forget just the defects that are hard."""
    marked = np.zeros((256, 256), bool)
    marked[70:72, 100:102] = True
    assert int((regions_of(marked, (32, 32)) > 0).sum()) == 1
