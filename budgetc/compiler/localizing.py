"""Maps against masks, through the store: what `candidate.score_split` is for scores."""

from dataclasses import asdict

from budgetc.candidate import Workshop, Written
from budgetc.core.dataset import SplitName
from budgetc.core.layout import ARTIFACT
from budgetc.core.plan import fingerprint
from budgetc.core.quality import PixelQuality
from budgetc.measurement.pixels import score_maps
from budgetc.runtime.artifact import load_artifact
from budgetc.runtime.spec import read_spec
from budgetc.workshop import circumstances


def locate(written: Written, shop: Workshop, split: SplitName, confidence: float) -> PixelQuality | None:
    """Pixel AUROC and AUPRO of a file on a split, on this machine; None where it has no map."""
    spec, samples = read_spec(written.files() / ARTIFACT), shop.dataset.samples[split]
    if spec.map is None:
        return None

    def compute() -> PixelQuality:
        artifact = load_artifact(written.directory, cache=False)
        found = score_maps(
            artifact, shop.dataset, split, confidence=confidence,
            progress=lambda done: shop.progress("comparing maps with masks", done, len(samples)),
        )  # fmt: skip
        assert found is not None, "the file has a map"
        return found

    key = fingerprint(["maps", spec.model_sha256, shop.dataset.digest, split, [one.file for one in samples],
                       asdict(spec.session), confidence, circumstances(spec.threads)])  # fmt: skip
    return shop.store.cached(key, PixelQuality, compute)
