"""Truncation: fewer stages, smaller pictures, no gradient step."""

import pytest
import torch

from budgetc.core.plan import Distill, Fp16, Quantize, Truncate
from budgetc.detectors.detector import Detector, as_input, weights_digest
from budgetc.detectors.families import build
from budgetc.detectors.gaussian import Gaussian, GaussianConfig
from budgetc.detectors.stfpm import Stfpm
from budgetc.errors import UsageError
from budgetc.export.onnx_file import export_detector
from budgetc.passes.apply import apply_step
from budgetc.passes.distill import distill
from budgetc.passes.shrink import scaled_size
from tests.small import SIZE, at_effort, lively, plain, small_stfpm, small_vae, target, work_for


def two_taps() -> Detector:
    """A network of three stages, judged at the last two."""
    backbone = plain(8, 16, 24).model_copy(update={"taps": (1, 2)})
    torch.manual_seed(0)
    return lively(build("gaussian", GaussianConfig(input_size=(64, 64), backbone=backbone)))


def network(detector: Detector) -> Gaussian:
    """Its network."""
    assert isinstance(detector.module, Gaussian)
    return detector.module


def test_the_stages_that_stay_compute_what_they_did() -> None:
    """Their weights are those of the larger network, and those of the last stage are gone from the file."""
    detector = two_taps()
    before = weights_digest(detector.module)
    cut = apply_step(detector, Truncate(stages=1), work_for(detector))
    image = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(
            network(cut).features(image), network(detector).backbone(network(detector).normalized(image))[0]
        )
    assert weights_digest(detector.module) == before
    whole, less = (len(export_detector(one, target()).model) for one in (detector, cut))
    assert less < 0.5 * whole


def test_pictures_get_smaller() -> None:
    """The exported file asks for the new size, and normals look normal at it."""
    detector = two_taps()
    work = work_for(detector)
    cut = apply_step(detector, Truncate(input=0.5), work)
    assert cut.config.input_size == (32, 32)
    module = network(cut)
    with torch.no_grad():
        whitened = module.whiten(module.features(as_input(work.pictures((32, 32)).as_cameras_differ())))
    assert float(whitened.mean((0, 2, 3)).abs().max()) < 1e-2


def test_formats_are_fitted_again() -> None:
    """A quantized detector stays one."""
    detector = two_taps()
    work = work_for(detector)
    cut = apply_step(apply_step(apply_step(detector, Quantize(), work), Fp16(), work), Truncate(stages=1), work)
    assert cut.quantization == Quantize()
    assert {known.compute for known in cut.formats.values()} == {"fp32", "int8"}
    assert all(not name.startswith("backbone.stages.2") for name in cut.formats)


def test_a_price_needs_no_fit() -> None:
    """At effort 0 the shapes are those of the truncated detector."""
    detector = two_taps()
    bare, fitted = (apply_step(detector, Truncate(stages=1, input=0.5), at_effort(work_for(detector), effort))
                    for effort in (0.0, 1.0))  # fmt: skip
    shapes = [{name: weight.shape for name, weight in one.module.state_dict().items()} for one in (bare, fitted)]
    assert shapes[0] == shapes[1]


def test_a_stage_before_the_first_tap_is_refused() -> None:
    """Nothing would be left to judge."""
    detector = two_taps()
    with pytest.raises(UsageError, match=r"truncate\.stages: 0; the detector's taps are stages \(1, 2\)"):
        apply_step(detector, Truncate(stages=0), work_for(detector))


def test_other_families_are_refused() -> None:
    """Their linear layers read pictures of one size."""
    detector = small_vae()
    with pytest.raises(UsageError, match="truncate does not know detectors of family vae"):
        apply_step(detector, Truncate(stages=1), work_for(detector))


def stfpm(detector: Detector) -> Stfpm:
    """Its networks."""
    assert isinstance(detector.module, Stfpm)
    return detector.module


@pytest.mark.parametrize(("step", "tap"), [(Truncate(stages=0), 0), (Truncate(first=1), 1)])
def test_the_taps_of_a_student_and_its_teacher_go_together(step: Truncate, tap: int) -> None:
    """What stays is compared as before, without a gradient step, adapters included; the rest is gone from the file."""
    detector = distill(small_stfpm(), Distill(student=0.5, epochs=0), work_for(small_stfpm()))
    cut = apply_step(detector, step, work_for(detector))
    image = torch.rand(2, 3, *SIZE)
    with torch.no_grad():
        before, after = stfpm(detector).taps(image), stfpm(cut).taps(image)
    for old, new in zip(before, after, strict=True):
        assert len(new) == 1
        assert torch.equal(old[tap], new[0])
    assert cut.parameters() < detector.parameters()


def test_candidates_share_a_teacher_that_was_cut() -> None:
    """Its outputs over all pictures are computed once."""
    detector = small_stfpm()
    work = work_for(detector)
    one, other = (apply_step(detector, step, work) for step in (Truncate(stages=0), Truncate(stages=0, input=0.5)))
    assert stfpm(one).teacher is stfpm(other).teacher
    assert other.config.input_size == (16, 16)


@pytest.mark.parametrize(
    ("size", "ratio", "stride", "expected"),
    [
        ((256, 256), 0.625, 16, (160, 160)),
        ((90, 120), 0.5, 32, (32, 64)),
        ((33, 47), 1.0, 32, (33, 47)),
        ((52, 20), 0.95, 32, (52, 20)),
    ],
)
def test_sides_are_multiples_of_the_stride(
    size: tuple[int, int], ratio: float, stride: int, expected: tuple[int, int]
) -> None:
    """An unchanged picture keeps its own size."""
    assert scaled_size(size, ratio, stride) == expected


def test_distilling_after_a_cut_is_refused() -> None:
    """The baseline's features lie on another grid: they would be broadcast, not imitated."""
    detector = two_taps()
    work = work_for(detector)
    cut = apply_step(detector, Truncate(stages=1, input=0.5), work)
    with pytest.raises(UsageError, match="leave out the truncate step before it"):
        apply_step(cut, Distill(student=0.5, epochs=1), work)
