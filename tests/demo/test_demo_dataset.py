"""The demo's data on disk, and through the loader that compiles read it with."""

import hashlib
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import rankdata

from budgetc.core.dataset import SPLITS, Dataset
from budgetc.demo.build import CONTRAST
from budgetc.demo.dataset import write_demo_data
from budgetc.demo.defects import DEFECTS
from budgetc.demo.textures import CATEGORIES, layout, texture
from budgetc.errors import UsageError
from budgetc.load.datasets import load_dataset


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set of seed 0."""
    path = tmp_path_factory.mktemp("demo") / "data"
    write_demo_data(path)
    return path


@pytest.fixture(scope="module")
def dataset(root: Path) -> Dataset:
    """The same through the loader."""
    return load_dataset(root)


def pixels(path: Path) -> np.ndarray:
    """A gray image as an array."""
    with Image.open(path) as image:
        return np.asarray(image)


def digest(root: Path) -> str:
    """sha256 over names and bytes of all files."""
    found = hashlib.sha256()
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        found.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return found.hexdigest()


def test_good_images_are_the_photograph(root: Path) -> None:
    """A good image is its cell of the texture, bit for bit."""
    photographs = {category: texture(category) for category in CATEGORIES}
    good = [cell for cell in layout(0) if cell.mask_file is None]
    assert good
    for cell in good:
        top, left, bottom, right = cell.box
        assert np.array_equal(pixels(root / cell.file), photographs[cell.category][top:bottom, left:right])


def test_masks_mark_what_was_changed(root: Path) -> None:
    """A bad image equals its cell outside the mask and differs inside; masks are 0 and 255."""
    photographs = {category: texture(category) for category in CATEGORIES}
    bad = [(cell, root / cell.mask_file) for cell in layout(0) if cell.mask_file is not None]
    assert len(bad) == 10 * len(DEFECTS) * len(CATEGORIES)
    for cell, mask_path in bad:
        top, left, bottom, right = cell.box
        changed = pixels(root / cell.file) != photographs[cell.category][top:bottom, left:right]
        mask = pixels(mask_path)
        assert set(np.unique(mask)) == {0, 255}
        assert not changed[mask == 0].any()
        assert changed[mask == 255].mean() > 0.5


def test_the_seed_decides_every_byte(root: Path, tmp_path: Path) -> None:
    """Same seed, same files; another seed or contrast, others."""
    write_demo_data(tmp_path / "same")
    write_demo_data(tmp_path / "seed", seed=1)
    write_demo_data(tmp_path / "contrast", contrast=0.5)
    assert digest(tmp_path / "same") == digest(root)
    assert len({digest(path) for path in (root, tmp_path / "seed", tmp_path / "contrast")}) == 3


def test_regions_stay_in_one_split(dataset: Dataset) -> None:
    """No region is in two splits, and all 768 images are in one."""
    places = defaultdict(set)
    for split in SPLITS:
        for sample in dataset.samples[split]:
            places[sample.group].add(split)
    assert all(len(splits) == 1 for splits in places.values())
    assert sum(len(dataset.samples[split]) for split in SPLITS) == 768


@pytest.mark.parametrize("seed", [0, 1])
def test_enough_good_and_bad_to_judge(root: Path, seed: int) -> None:
    """Every category has at least 10 good and 10 bad images, all defect types, in selection and in confirmation."""
    dataset = load_dataset(root, seed=seed)
    for split in ("selection", "confirmation"):
        labels = Counter((sample.category, sample.label) for sample in dataset.samples[split])
        types = {(sample.category, sample.defect) for sample in dataset.samples[split] if sample.label}
        assert min(labels[category, label] for category in CATEGORIES for label in (0, 1)) >= 10
        assert types == {(category, defect) for category in CATEGORIES for defect in DEFECTS}


def test_every_anomaly_has_its_mask(dataset: Dataset) -> None:
    """The loader finds a mask for each bad image and none for good ones."""
    samples = [sample for split in SPLITS for sample in dataset.samples[split]]
    assert all((sample.mask is not None) == bool(sample.label) for sample in samples)


def test_four_statistics_do_not_solve_it(tmp_path: Path) -> None:
    """At the demo's contrast, mean, contrast and gradients of an image leave the mean AUROC below 0.85."""
    root = tmp_path / "data"
    write_demo_data(root, contrast=CONTRAST)
    aurocs = []
    for category in CATEGORIES:
        train = np.stack([_statistics(path) for path in sorted((root / category / "train/good").iterdir())])
        precision = np.linalg.inv(np.cov(train.T))
        files = sorted((root / category / "test").rglob("*.png"))
        offsets = np.stack([_statistics(path) for path in files]) - train.mean(0)
        scores = np.einsum("ni,ij,nj->n", offsets, precision, offsets)
        bad = np.array([path.parent.name != "good" for path in files])
        ranks = rankdata(scores)[bad].sum() - bad.sum() * (bad.sum() + 1) / 2
        aurocs.append(ranks / (bad.sum() * (~bad).sum()))
    assert np.mean(aurocs) < 0.85


def _statistics(path: Path) -> np.ndarray:
    image = pixels(path).astype(float)
    slope = np.hypot(*np.gradient(image))
    return np.array([image.mean(), image.std(), slope.mean(), (slope**2).mean()])


def test_an_existing_folder_is_refused(root: Path) -> None:
    """Nothing of the user's is overwritten."""
    with pytest.raises(UsageError, match=r"exists\. Remove it or name another folder"):
        write_demo_data(root)


@pytest.mark.parametrize("contrast", [0.0, -1.0, 11.0, float("nan")])
def test_impossible_contrast_is_refused(tmp_path: Path, contrast: float) -> None:
    """A contrast outside (0, 10] is an error, and nothing is left behind."""
    with pytest.raises(UsageError, match="contrast is"):
        write_demo_data(tmp_path / "data", contrast=contrast)
    assert not list(tmp_path.iterdir())
