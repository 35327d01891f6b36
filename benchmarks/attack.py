"""What mild sensor faults do to a detector before and after compression: an attack that no pass was tuned to.

    python benchmarks/attack.py --case NAME --model model.pt --data DIR --artifact DIR [--quick]

Every picture of the confirmation split, normal or not, gets the same fault, as if one camera had it; both score it.
The bar is on the difference under the fault: what the artifact loses against the baseline that sees the same.
"""

import argparse
import io
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from line import Line  # beside this script
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from budgetc.candidate import write
from budgetc.core.dataset import Dataset, Sample
from budgetc.export.onnx_file import export_detector
from budgetc.load.config import load_target
from budgetc.load.datasets import load_dataset
from budgetc.load.model import load_model
from budgetc.measurement.host import device
from budgetc.measurement.quality import Scored, by_category, loss_between
from budgetc.runtime.artifact import Artifact, load_artifact

Pixels = NDArray[np.uint8]
"""(height, width, 3)."""
WORSE = 0.02


def _levels(picture: NDArray[np.floating]) -> Pixels:
    found: Pixels = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    return found


def _underexposed(picture: Pixels, rng: np.random.Generator) -> Pixels:
    return _levels(picture * 0.9)


def _gamma(picture: Pixels, rng: np.random.Generator) -> Pixels:
    return _levels(255 * (picture / 255) ** 1.1)


def _white_balance(picture: Pixels, rng: np.random.Generator) -> Pixels:
    return _levels(picture * np.array([1.05, 1.0, 0.95]))


def _read_noise(picture: Pixels, rng: np.random.Generator) -> Pixels:
    return _levels(picture + rng.normal(0, 3, picture.shape))


def _column_pattern(picture: Pixels, rng: np.random.Generator) -> Pixels:
    fixed = np.random.default_rng(7).normal(0, 2, (1, picture.shape[1], 1))
    return _levels(picture + fixed)


def _hot_pixels(picture: Pixels, rng: np.random.Generator) -> Pixels:
    hot = np.random.default_rng(8).random(picture.shape[:2]) < 5e-4
    return np.where(hot[:, :, None], np.uint8(255), picture)


def _jpeg(picture: Pixels, rng: np.random.Generator) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=70)
    return np.asarray(Image.open(buffer))


def _defocus(picture: Pixels, rng: np.random.Generator) -> Pixels:
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(0.7)))


def _vignette(picture: Pixels, rng: np.random.Generator) -> Pixels:
    y, x = (np.linspace(-1, 1, size) for size in picture.shape[:2])
    return _levels(picture * (1 - 0.075 * (y[:, None] ** 2 + x[None] ** 2))[:, :, None])


FAULTS: dict[str, Callable[[Pixels, np.random.Generator], Pixels]] = {
    "10 % underexposed": _underexposed, "gamma 1.1": _gamma, "white balance off by 5 %": _white_balance,
    "read noise of 3 levels": _read_noise, "column pattern of 2 levels": _column_pattern,
    "0.05 % hot pixels": _hot_pixels, "JPEG at quality 70": _jpeg, "defocus of 0.7 px": _defocus,
    "15 % vignetting": _vignette,
}  # fmt: skip


def main() -> None:
    """One case, fault by fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", required=True, help="what the lines are headed with")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--artifact", type=Path, required=True)
    parser.add_argument("--quick", action="store_true", help="two faults")
    options = parser.parse_args()
    detector, dataset = load_model(options.model).detector, load_dataset(options.data)
    with tempfile.TemporaryDirectory() as scratch:
        exported = export_detector(detector, load_target("host-cpu").target)
        write(exported, detector, Path(scratch), threshold=0.0, threads=1)
        baseline, artifact = load_artifact(Path(scratch), cache=False), load_artifact(options.artifact, cache=False)
    size = detector.config.input_size
    for line in lines(options.case, dataset, size, (baseline, artifact), quick=options.quick):
        line.show()


def lines(
    case: str, dataset: Dataset, size: tuple[int, int], pair: tuple[Artifact, Artifact], *, quick: bool
) -> Iterator[Line]:
    """AUROC of both without a fault and under each, and what the artifact loses."""
    pictures = [_picture(dataset, sample, size) for sample in dataset.samples["confirmation"]]
    faults = {"no fault": lambda picture, rng: picture, **FAULTS}
    for name in list(faults)[: 3 if quick else None]:
        rng = np.random.default_rng(0)
        seen = [faults[name](picture, rng) for picture in pictures]
        before, after = (_scored(dataset, artifact, seen) for artifact in pair)
        aurocs = [by_category(one).over("mean").value for one in (before, after)]
        loss = loss_between(before, after).over("mean")
        words = f"{aurocs[0]:.4f} -> {aurocs[1]:.4f}; {loss.lower:.4f} to {loss.upper:.4f} (paired, clustered)"
        goal = "reported" if name == "no fault" else f"<= {WORSE}"
        yield Line(f"{case}, {name}: AUROC lost", round(loss.value, 4), goal, name == "no fault" or loss.value <= WORSE,
                   "1", len(seen), words)  # fmt: skip


def _picture(dataset: Dataset, sample: Sample, size: tuple[int, int]) -> Pixels:
    """As the camera gave it; where the data set makes a picture itself, at the size of the baseline."""
    path = Path(dataset.root) / sample.file
    if path.is_file():
        return np.asarray(Image.open(path).convert("RGB"))
    return dataset.read(sample, size).transpose(1, 2, 0)


def _scored(dataset: Dataset, artifact: Artifact, pictures: list[Pixels]) -> Scored:
    scores = np.array([artifact.score(picture).score for picture in pictures], dtype=np.float64)
    return Scored("confirmation", dataset.samples["confirmation"], scores, device(1))


if __name__ == "__main__":
    main()
