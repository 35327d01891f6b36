"""A detector from normals alone: what `budgetc train` does."""

import io
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from budgetc.candidate import Built, Workshop, finish
from budgetc.core.dataset import Dataset
from budgetc.detectors.detector import Detector
from budgetc.detectors.efficientad import EfficientAd, fit_quantiles
from budgetc.detectors.families import bundle
from budgetc.errors import UsageError
from budgetc.load.config import load_target
from budgetc.load.datasets import load_dataset
from budgetc.load.motion import as_read_by
from budgetc.load.origin import Origin
from budgetc.store.durable import write_durably
from budgetc.store.run_directory import RunDirectory
from budgetc.training.baseline import train_detector
from budgetc.training.efficientad import Source
from budgetc.training.features import outputs_of
from budgetc.training.loop import Curve, Effort, Progress, silent
from budgetc.training.pictures import make_pictures


@dataclass(frozen=True, slots=True)
class Trained:
    """A bundle on disk, and how its training went."""

    detector: Detector
    path: Path
    size_bytes: int
    curve: Curve
    images: int
    """Training normals, before turned copies."""
    calibration: int
    """Normals that the threshold was fitted on."""

    @property
    def threshold(self) -> float:
        """The score that 5 % of the calibration normals exceed."""
        assert self.detector.threshold is not None, "training fits it"
        return self.detector.threshold


def train_bundle(
    detector: Detector, *, data: str | Path, out: str | Path, effort: Effort, group: str | None = None,
    variants: int | None = None, train_device: str = "cpu", threads: int = 1, source: Source | None = None,
    progress: Progress = silent,
) -> Trained:  # fmt: skip
    """Train a detector on the normals of a data set and write it as a bundle, with its threshold.

    Test pictures are never looked at. The threshold is fitted on calibration normals through the exported file,
    which is also held against PyTorch.

    Args:
        detector: untrained, as made by `new_stfpm` and its like; its network is trained in place.
        data: its training part is used.
        out: the bundle, usually `model.pt`; its folder must exist.
        effort: epochs, rate, batch and seed.
        group: regular expression that names the part or clip of a file, where no groups.csv does.
        variants: pictures made of each normal, itself included; None takes as many as make a few thousand.
        train_device: `cpu`, or what torch calls an accelerator that it can see, such as `cuda`.
        threads: of training on the CPU; results depend on it, so it does not follow the machine.
        source: `efficientad`: what its teacher learns from first, as `new_efficientad` returns it.
        progress: gets (what, done, of).

    Raises:
        UsageError: the device is not there, or `out` cannot be a file.
        InputRejected: the data is invalid.
        BudgetcError: the exported file's scores are not those of the network.
    """
    path = _checked_out(Path(out))
    device = _checked_device(train_device)
    torch.set_num_threads(threads)
    dataset = as_read_by(load_dataset(data, group=group), detector.config.motion)
    groups = [sample.group for sample in dataset.samples["train"]]
    pictures = make_pictures(
        dataset.images("train", detector.config.input_size), groups, seed=effort.seed, variants=variants,
        upright=dataset.upright, motion=dataset.inputs is not None,
    )  # fmt: skip
    trained, curve = train_detector(detector, pictures, effort, progress=progress, device=device, source=source)
    _fit_head(trained, dataset)
    calibrated = replace(trained, threshold=_fit_threshold(trained, dataset, effort.seed))
    size = save_bundle(calibrated, path)
    return Trained(calibrated, path, size, curve, len(groups), len(dataset.samples["calibration"]))


def save_bundle(detector: Detector, out: str | Path, source: Origin | None = None) -> int:
    """Write a detector, and what it was imported from, as `model.pt`, whole or not at all; returns its bytes.

    Raises:
        UsageError: `out` cannot be a file.
    """
    path = _checked_out(Path(out))
    buffer = io.BytesIO()
    torch.save(bundle(detector) | ({} if source is None else {"source": source.model_dump()}), buffer)
    write_durably(path, buffer.getvalue())
    return len(buffer.getvalue())


def _checked_out(path: Path) -> Path:
    if path.is_dir():
        raise UsageError(f"-o {path}: is a folder; expected the name of a file such as {path / 'model.pt'}")
    if not path.parent.is_dir():
        raise UsageError(f"-o {path}: the folder {path.parent} does not exist; create it first")
    return path


def _checked_device(name: str) -> torch.device:
    if name == "cpu":
        return torch.device("cpu")
    if name == "cuda":
        if torch.cuda.is_available():
            return torch.device("cuda")
        raise UsageError("--train-device cuda: torch sees no CUDA device here; use --train-device cpu")
    raise UsageError(f"--train-device {name}: expected cpu or cuda")


def _fit_head(detector: Detector, dataset: Dataset) -> None:
    """What is relative to normals that no network was trained on; in place."""
    module = detector.module
    if isinstance(module, EfficientAd):
        fit_quantiles(module, *outputs_of(module.maps, dataset.images("calibration", module.size)))


def _fit_threshold(detector: Detector, dataset: Dataset, seed: int) -> float:
    target = load_target("host-cpu").target
    with tempfile.TemporaryDirectory() as scratch, RunDirectory.open(Path(scratch) / "run") as run:
        shop = Workshop(detector, dataset, target, run, seed, key="")
        return finish(Built(detector, ()), shop, Path(scratch) / "file").threshold
