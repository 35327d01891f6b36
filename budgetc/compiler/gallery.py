"""The pictures that tell most about a detector: what it missed, false alarms, what it found narrowly and surely."""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from budgetc.candidate import Written
from budgetc.core.dataset import Dataset, Sample
from budgetc.measurement.quality import Scored
from budgetc.report.pictures import Kind, Shown
from budgetc.runtime.artifact import Artifact, load_artifact

_SIDE = 176
"""Pixels of the longer side on the page."""
_EACH = 3
_OUTLINE = (0, 229, 255)
_FAINT, _STRONG = np.array([255, 214, 10], np.float32), np.array([214, 24, 24], np.float32)
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Judged:
    """Baseline or artifact: its file, and what it says of the confirmation split."""

    written: Written
    scored: Scored

    @property
    def alarms(self) -> NDArray[np.bool_]:
        """(n,) score > threshold."""
        return self.scored.scores > self.written.threshold


def gallery(dataset: Dataset, baseline: Judged, artifact: Judged) -> tuple[Shown, ...]:
    """At most three of each kind; an anomaly that was found narrowly is not shown again as found surely."""
    loaded = [
        (load_artifact(one.written.directory, cache=False), one.written.threshold) for one in (baseline, artifact)
    ]
    shown = []
    for kind, members in _kinds(artifact).items():
        for index in members:
            sample = artifact.scored.samples[index]
            plain, views = _views(dataset, sample, loaded)
            scores = float(baseline.scored.scores[index]), float(artifact.scored.scores[index])
            maps = (views[0], views[1]) if len(views) == 2 else None
            shown.append(Shown(kind, sample.file, sample.category, sample.defect, scores, plain, maps))
    return tuple(shown)


def _kinds(artifact: Judged) -> Mapping[Kind, Sequence[int]]:
    """Indices of pictures, the most telling first."""
    labels, alarms = artifact.scored.labels, artifact.alarms
    rising = [int(index) for index in np.argsort(artifact.scored.scores, kind="stable")]
    found = [index for index in rising if labels[index] and alarms[index]]
    return {
        "missed": [index for index in rising if labels[index] and not alarms[index]][:_EACH],
        "false alarm": [index for index in rising[::-1] if not labels[index] and alarms[index]][:_EACH],
        "worst": found[:_EACH],
        "best": found[_EACH:][::-1][:_EACH],
        "nearest normal": [index for index in rising[::-1] if not labels[index] and not alarms[index]][:_EACH],
    }


def _views(dataset: Dataset, sample: Sample, loaded: Sequence[tuple[Artifact, float]]) -> tuple[str, list[str]]:
    """The picture with its defect outlined, and the picture under each detector's map."""
    spec = loaded[-1][0].spec
    plain = dataset.read(sample, (spec.height, spec.width)).transpose(1, 2, 0)
    return _uri(_outlined(plain, dataset, sample)), list(_heated(dataset, sample, loaded))


def _heated(dataset: Dataset, sample: Sample, loaded: Sequence[tuple[Artifact, float]]) -> Iterator[str]:
    for artifact, threshold in loaded:
        if artifact.spec.map is None:
            continue
        pixels = dataset.read(sample, (artifact.spec.height, artifact.spec.width))
        heat = artifact.score_pixels(pixels).map
        if heat is not None:
            yield _uri(overlaid(pixels.transpose(1, 2, 0), heat, threshold))


def overlaid(plain: Pixels, heat: NDArray[np.float32], threshold: float) -> Pixels:
    """A gray picture under its map: clear up to half the threshold, yellow at it, red from twice the threshold.

    Args:
        plain: (height, width, 3).
        heat: (height, width).
    """
    scale = threshold if threshold > 0 else max(float(heat.max()), 1e-12)
    strength = np.clip((heat / scale - 0.5) / 1.5, 0, 1)[..., None]
    color = _FAINT + (_STRONG - _FAINT) * strength
    gray = np.repeat(plain.mean(2, keepdims=True), 3, axis=2)
    cover = 0.85 * np.sqrt(strength)
    mixed: Pixels = (gray * (1 - cover) + color * cover).astype(np.uint8)
    return mixed


def mask_of(dataset: Dataset, sample: Sample, size: tuple[int, int]) -> NDArray[np.bool_] | None:
    """(height, width) of a picture's defect; None without a mask."""
    if sample.mask is None:
        return None
    mask = Image.fromarray(dataset.read_mask(sample))
    found: NDArray[np.bool_] = np.asarray(mask.resize((size[1], size[0]), Image.Resampling.NEAREST))
    return found


def _outlined(plain: Pixels, dataset: Dataset, sample: Sample) -> Pixels:
    mask = mask_of(dataset, sample, (plain.shape[0], plain.shape[1]))
    if mask is None:
        return plain
    padded = np.pad(mask, 2)
    grown = np.zeros_like(mask)
    for dy in range(5):
        for dx in range(5):
            grown |= padded[dy : dy + mask.shape[0], dx : dx + mask.shape[1]]
    marked = plain.copy()
    marked[grown & ~mask] = _OUTLINE
    return marked


def _uri(pixels: Pixels) -> str:
    image = Image.fromarray(pixels)
    image.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
