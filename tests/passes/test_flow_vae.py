"""Every pass on a detector of motion: the file scores as the network, heads are fitted again."""

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest

from budgetc.core.admissible import foreign_setting
from budgetc.core.plan import Direct, Distill, Fp16, Prune, Qat, Quantize, Smaller, Step, StoreBits, Truncate
from budgetc.detectors.detector import Detector, as_input, score_images, weights_digest
from budgetc.detectors.families import bundle, from_bundle
from budgetc.detectors.flow_vae import FlowVae, FlowVaeConfig
from budgetc.errors import UsageError
from budgetc.export.onnx_file import export_detector
from budgetc.passes.apply import apply_step
from budgetc.runtime.artifact import Artifact
from budgetc.runtime.spec import Flow, Spec
from tests.small import FIELDS, flows, small_flow_vae, target, work_for

STEPS: dict[str, tuple[Step, ...]] = {
    "int8": (Quantize(),),
    "int8 from the first layer on": (Quantize(first_convolution=True),),
    "qat": (Quantize(), Qat(epochs=1)),
    "direct": (Direct(student=0.5, epochs=2),),
    "distill": (Distill(student=0.5, epochs=2),),
    "prune": (Prune(keep=0.5, epochs=1),),
    "bits": (StoreBits(bits=4),),
    "fp16": (Fp16(),),
    "all": (Distill(student=1.0, epochs=1), Prune(keep=0.75, epochs=1), Quantize(), StoreBits(bits=4)),
}


def _built(steps: tuple[Step, ...], effort: float) -> Detector:
    detector = small_flow_vae()
    work = work_for(detector, effort=effort)
    for step in steps:
        detector = apply_step(detector, step, work)
    return detector


def _scores(model: bytes, images: np.ndarray) -> np.ndarray:
    spec = Spec(
        "flow_vae", "model.onnx", "", "image", "score", None, *FIELDS, 1.0, 1, flow=Flow(*FIELDS, 6, 3.4),
        parts=("d_h", "d_v"),
    )  # fmt: skip
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    artifact = Artifact(spec, session)
    return np.array([artifact.score_pixels(image).score for image in images])


@pytest.mark.parametrize("name", STEPS)
def test_the_file_scores_as_the_network(name: str) -> None:
    """INT8 within a step of its heads' inputs, all else as float sums allow."""
    detector, images = _built(STEPS[name], 1.0), flows(12, seed=9)
    reference = score_images(detector.deployed(), images)
    found = _scores(export_detector(detector, target()).model, images)
    integer = any(known.compute == "int8" for known in detector.formats.values())
    off = np.abs(found - reference) / max(float(np.ptp(reference)), 1e-6)
    assert np.median(off) < (0.05 if integer else 1e-4)


def test_units_are_fitted_after_every_change() -> None:
    """Five percent of the normals exceed 1 in each direction, through the rounded network, too (trap 7)."""
    detector = small_flow_vae()
    work = work_for(detector)
    changed = apply_step(detector, Quantize(), work)
    normals = work.pictures(FIELDS).as_taken
    part = changed.deployed()
    assert isinstance(changed.module, FlowVae)
    for name, output in (("gain_h", 1), ("gain_v", 2)):
        gain = float(changed.module.encoder.get_buffer(name))
        assert gain != float(detector.module.get_submodule("encoder").get_buffer(name))
        distances = part(as_input(normals))[output].detach().numpy()
        assert np.quantile(distances * gain, 0.95) == pytest.approx(1.0, rel=1e-4)


def test_passes_leave_their_input_alone() -> None:
    """Pruning and its decoder, too."""
    detector = small_flow_vae()
    before = weights_digest(detector.module)
    for name in ("prune", "direct", "int8"):
        for step in STEPS[name]:
            apply_step(detector, step, work_for(detector))
    assert weights_digest(detector.module) == before


def test_directions_may_be_pruned_differently() -> None:
    """The configuration bounds the widths of both, and the bundle loads again."""
    pruned = _built((Prune(keep=0.4, epochs=0),), 1.0)
    assert isinstance(pruned.config, FlowVaeConfig) and not pruned.config.decoder
    assert pruned.parameters() < 0.5 * small_flow_vae().parameters()
    again = from_bundle(bundle(replace(pruned, threshold=1.0)))
    images = flows(3)
    assert np.allclose(score_images(again.deployed(), images), score_images(pruned.deployed(), images))


def test_direct_training_may_read_smaller_fields() -> None:
    """Of frames as much smaller; paddings follow, and what would leave nothing to read is refused."""
    detector = small_flow_vae()
    old, new = detector.config, _built((Direct(student=0.5, input=0.5, epochs=0),), 0.0).config
    assert isinstance(old, FlowVaeConfig) and isinstance(new, FlowVaeConfig)
    assert new.motion == old.motion.at(new.input_size)
    assert new.input_size == tuple(round(side / 2) for side in old.input_size)
    with pytest.raises(UsageError, match=r"direct.input: 0.01 is too small"):
        _built((Direct(input=0.01, epochs=0),), 0.0)


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (Truncate(), "fit one size of picture"),
        (Prune(latents=0.5), "prune.latents: both directions"),
        (Distill(input=0.5), "distill.input: fields of another size"),
        (Direct(latents=0.5), "direct.latents: both directions"),
        (Direct(drop_hidden=True), "drop_hidden: only a vae"),
        (Distill(depth=2), "a block of a flow_vae has one convolution"),
        (Distill(backbone="separable"), "convolutions of a flow_vae are dense"),
        (Distill(loss="map"), "a flow_vae has no map to imitate"),
        (Distill(shared=1), "no teacher"),
    ],
)
def test_settings_of_other_families_are_refused(step: Smaller | Truncate | Prune, said: str) -> None:
    """Nothing is ignored in silence."""
    reason = foreign_setting(step, "flow_vae")  # type: ignore[arg-type]  # `Smaller` itself is no step
    assert reason is not None and said in reason
