"""How well the maps of a deployed file mark the defects: pixel AUROC and AUPRO, against the masks of a data set."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from budgetc.core.dataset import Dataset, Sample, SplitName
from budgetc.core.measurement import Measurement
from budgetc.core.quality import CategoryPixels, PixelQuality
from budgetc.core.statistics import MarkedMap, PixelCounts, count_pixels, pixels_by_category
from budgetc.core.statistics.pixels import REPLICATES, Area
from budgetc.measurement.host import device, runtime
from budgetc.runtime.artifact import Artifact

_SELF_AND_NEIGHBORS = np.ones((3, 3), dtype=np.int32)
"""Regions hang together over corners, too, as in the evaluation that comes with MVTec AD."""


def score_maps(
    artifact: Artifact, dataset: Dataset, split: SplitName,
    *, confidence: float = 0.95, name: str | None = None, progress: Callable[[int], None] = lambda done: None,
) -> PixelQuality | None:  # fmt: skip
    """Pixel AUROC and AUPRO by category, at the size of the map; None where the detector has none.

    Anomalies without a mask are left out. A category is scored only where it has a mask, and its maps are in memory
    together.

    Args:
        artifact: what is deployed.
        dataset: with masks.
        split: whose images.
        confidence: of each bound, one-sided.
        name: of the split in the figures, if it has another one there.
        progress: gets how many images are done.
    """
    if artifact.spec.map is None:
        return None
    done, counts, reasons, images = 0, dict[str, PixelCounts](), dict[str, str](), dict[str, int]()
    for category in sorted({sample.category for sample in dataset.samples[split]}):
        every = [one for one in dataset.samples[split] if one.category == category]
        known = [one for one in every if one.label == 0 or one.mask is not None]
        missing = len(every) - len(known)
        if not any(one.mask for one in known):
            reasons[category] = f"no masks ({missing} anomalies)" if missing else "no anomalies"
            continue
        marked = _marked(artifact, dataset, known)
        done += len(every)
        if not any(one.regions.any() for one in marked):
            reasons[category] = "its masks are empty"
            continue
        counts[category], images[category] = count_pixels(marked), len(known)
        reasons[category] = f"anomalies without a mask are left out: {missing}" if missing else ""
        progress(done)
    return _quality(counts, images, reasons, _Frame(artifact, name or split, confidence))


def regions_of(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.int32]:
    """(height, width) of 0 outside of the defects of a mask, else the number of the connected region.

    A pixel belongs to a defect where at least half of what it covers does, or, in a mask so small that none is left by
    that, where any does.
    """
    from scipy import ndimage  # a second to import, and only needed here

    whole = Image.fromarray(mask.astype(np.uint8) * 255)
    share = np.asarray(whole.resize((size[1], size[0]), Image.Resampling.BOX))
    marked = share >= 128 if (share >= 128).any() else share > 0
    regions, _ = ndimage.label(marked, structure=_SELF_AND_NEIGHBORS)
    return np.asarray(regions, dtype=np.int32)


def _marked(artifact: Artifact, dataset: Dataset, samples: Sequence[Sample]) -> list[MarkedMap]:
    size = (artifact.spec.height, artifact.spec.width)
    marked = []
    for sample in samples:
        heat = artifact.score_pixels(dataset.read(sample, size)).map
        assert heat is not None, "a detector with a map gives one for every image"
        regions = np.broadcast_to(np.int32(0), heat.shape)  # normals are many, and this takes no memory
        if sample.mask is not None:
            regions = regions_of(dataset.read_mask(sample), heat.shape)
        marked.append(MarkedMap(heat, regions, sample.group))
    return marked


class _Frame:
    """What all figures of one file and split share."""

    def __init__(self, artifact: Artifact, split: str, confidence: float) -> None:
        self.split, self.confidence = split, confidence
        self.device, self.runtime = device(artifact.spec.threads), runtime()

    def measurement(self, metric: str, found: Area, n: int, note: str) -> Measurement:
        """One of them; n counts images."""
        return Measurement(
            metric=metric, value=found.value, unit="1", lower=found.lower, upper=found.upper,
            confidence=None if found.lower is None else self.confidence, n=n, kind="measured", device=self.device,
            split=self.split, runtime=self.runtime, note=note,
        )  # fmt: skip


def _quality(
    counts: dict[str, PixelCounts], images: dict[str, int], reasons: dict[str, str], frame: _Frame
) -> PixelQuality:
    if not counts:
        none = tuple(CategoryPixels(category=name, reason=reason) for name, reason in reasons.items())
        return PixelQuality(auroc=None, auroc_worst=None, aupro=None, aupro_worst=None, categories=none)
    found = pixels_by_category(counts, confidence=frame.confidence)
    how = f"bounds of {REPLICATES} bootstrap samples of groups"
    rows = []
    for name, reason in reasons.items():
        row = CategoryPixels(category=name, reason=reason)
        if name in counts:
            areas, said = found.categories[name], f"{counts[name].groups_bad} groups with a defect; {how}"
            row = row.model_copy(update={
                "auroc": frame.measurement("pixel_auroc", areas.auroc, images[name], said),
                "aupro": frame.measurement("aupro", areas.aupro, images[name], said),
            })  # fmt: skip
        rows.append(row)
    n, said = sum(images.values()), how
    if len(reasons) > 1:
        without = ", ".join(name for name in reasons if name not in counts)
        said = f"{len(counts)} of {len(reasons)} categories; {f'no masks: {without}; ' if without else ''}{how}"
    return PixelQuality(
        auroc=frame.measurement("pixel_auroc", found.mean.auroc, n, f"mean of {said}" if len(reasons) > 1 else said),
        auroc_worst=frame.measurement("pixel_auroc", found.worst.auroc, n, f"worst of {said}"),
        aupro=frame.measurement("aupro", found.mean.aupro, n, f"mean of {said}" if len(reasons) > 1 else said),
        aupro_worst=frame.measurement("aupro", found.worst.aupro, n, f"worst of {said}"),
        categories=tuple(rows),
    )
