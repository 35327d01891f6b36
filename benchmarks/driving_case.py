"""Driving: a beta-VAE at 96 px on frames of moving traffic, judged under eight OOD factors.

In-distribution are a dash-cam on a highway and the shots of a street clip. The shots are too short to be cut into four
stretches of time and go to training whole, so all test normals are of the highway. Two other scenes, the cabin of a car
and a cartoon, are scored beside the factors.
"""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from line import Line  # beside this script
from PIL import Image

from budgetc.compiler.controlling import judge_controls
from budgetc.compiler.training import Trained, train_bundle
from budgetc.compiler.untrained import new_vae
from budgetc.core.dataset import Dataset
from budgetc.core.measurement import Measurement
from budgetc.core.statistics import auroc
from budgetc.detectors.detector import Detector, score_images
from budgetc.load.datasets import load_dataset
from budgetc.load.model import load_model
from budgetc.measurement.controls import Described, describe_images
from budgetc.measurement.quality import Scored, quality_of
from budgetc.runtime.preprocess import decode, resize_rgb
from budgetc.training.loop import Effort

RECIPES = ("quantize", "vae-direct-quantize")
GPU_RECIPES = ("fp16", "vae-direct-fp16")
"""What a GPU without INT8 cannot run is refused there with the reason, and FP16 is left."""
SIDE = 96
PROTOTYPES = 16
EPOCHS = 24
FACTORS = """\
factors:
  rain: [0.1]
  fog: [0.1]
  darkness: [0.1]
  noise: [0.1]
  blur: [0.1]
  occlusion: [0.1]
  dead-rows: [0.1]
  glare: [0.1]
held_back: [glare]
"""
"""One severity for all, so that no factor is tuned, and the pooled AUROC is the mean over factors. Settled after
several sets of scenes had been looked at, so that the baseline's mean lies in .80 to .95 (.84 on copies of the
calibration normals). At .3 the statistics of the control tell every factor but occlusion with an AUROC of 1: how far
the VAE is above the control depends on this choice."""
OTHERS = {"cabin": "carphone", "cartoon": "bigbuckbunny"}
"""Scenes beside the data and the clips they are: as part of it each would weigh more than a factor."""
CUT = 40
"""Gray levels between two frames, on average over the picture, from which on they are of two shots."""


def make_data(source: Path, folder: Path) -> Path:
    """Scenes with the factors of their test frames: folder/data.

    Args:
        source: has train/highway and other/{bikes,carphone,bigbuckbunny}.
        folder: exists; nothing in it is kept.
    """
    data = folder / "data"
    shutil.rmtree(data, ignore_errors=True)
    shutil.copytree(source / "train" / "highway", data / "train" / "highway")
    for number, shot in enumerate(_shots(sorted((source / "other" / "bikes").iterdir()))):
        scene = data / "train" / f"street-{number}"
        scene.mkdir()
        for frame in shot:
            shutil.copy(frame, scene)
    for other, clip in OTHERS.items():
        shutil.copytree(source / "other" / clip, folder / other, dirs_exist_ok=True)
    (data / "factors.yaml").write_text(FACTORS)
    return data


def train(data: Path, model: Path, *, quick: bool) -> list[Line]:
    """As `budgetc train vae --input-size 96 --prototypes 16 --variants 1 --batch 8 --epochs 24`; its worth."""
    effort = Effort(2 if quick else EPOCHS, 1e-3, seed=0, batch=8, label="training vae")
    trained = train_bundle(
        new_vae((SIDE, SIDE), prototypes=PROTOTYPES), data=data, out=model, effort=effort, variants=1
    )
    return [*_training(trained), *baseline_lines(data, load_model(model).detector)]


def baseline_lines(data: Path, detector: Detector) -> list[Line]:
    """AUROC on selection by factor and the controls beside it; the other scenes."""
    dataset = load_dataset(data)
    scored = _scored(detector, dataset)
    quality = quality_of(scored, detector.threshold or 0.0)
    mean = quality.auroc_mean
    lines = [_line("mean over factors", mean, goal=".80 to .95", ok=0.80 <= mean.value <= 0.95)]
    lines += [_line(row.defect, row.auroc) for row in quality.defects]
    others = [_other(data.parent / scene, detector, scored) for scene in OTHERS]
    return [*lines, *_controls(dataset, scored), *others]


def _training(trained: Trained) -> Iterator[Line]:
    for name, value in (("epochs", trained.curve.epochs), ("bundle", trained.size_bytes)):
        yield Line(f"driving baseline {name}", float(value), "reported", True, "1", trained.images, "")


def _scored(detector: Detector, dataset: Dataset) -> Scored:
    images = dataset.images("selection", detector.config.input_size)
    scores = score_images(detector.deployed(), images).astype(np.float64)
    return Scored("selection", dataset.samples["selection"], scores, "torch")


def _controls(dataset: Dataset, scored: Scored) -> Iterator[Line]:
    train, judged = (Described(name, dataset.samples[name], describe_images(dataset, name))
                     for name in ("train", "selection"))  # fmt: skip
    for control in judge_controls(train, judged, {"baseline": scored}, over="mean"):
        if control.auroc is None:
            continue
        yield _line(f"control, {control.control}", control.auroc)
        yield _line(f"above the control, {control.control}", control.gaps["baseline"], goal=">= 0.05",
                    ok=control.gaps["baseline"].value >= 0.05)  # fmt: skip
        for factor, value in control.defects.items():
            yield Line(f"driving control {control.control}, {factor}", round(value, 4), "reported", True, "1",
                       control.auroc.n, "")  # fmt: skip


def _other(frames: Path, detector: Detector, scored: Scored) -> Line:
    height, width = detector.config.input_size
    pixels = np.stack([resize_rgb(decode(frame.read_bytes()), height, width) for frame in sorted(frames.iterdir())])
    normal = scored.scores[scored.labels == 0]
    both = np.concatenate([normal, score_images(detector.deployed(), pixels)])
    value = auroc(both, np.repeat([0, 1], [len(normal), len(pixels)]))
    return Line(
        f"driving baseline AUROC, another scene, {frames.name}", round(value, 4), "reported", True, "1", len(both), ""
    )


def _line(name: str, found: Measurement, goal: str = "reported", ok: bool = True) -> Line:
    spread = f"{found.lower:.3f} to {found.upper:.3f}, {found.note}"
    return Line(f"driving baseline AUROC, {name}", round(found.value, 4), goal, ok, "1", found.n, spread)


def _shots(frames: Sequence[Path]) -> list[list[Path]]:
    """Consecutive frames, cut where the picture changes as a whole; shots of less than a block are left out."""
    small = [np.asarray(Image.open(frame).convert("L").resize((40, 24)), dtype=np.float32) for frame in frames]
    shots: list[list[Path]] = [[frames[0]]]
    for number in range(1, len(frames)):
        if np.abs(small[number] - small[number - 1]).mean() > CUT:
            shots.append([])
        shots[-1].append(frames[number])
    return [shot for shot in shots if len(shot) >= 10]
