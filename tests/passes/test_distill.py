"""Distillation to smaller networks."""

import pytest
import torch

from budgetc.core.plan import Distill, Prune, Quantize
from budgetc.detectors.detector import Detector, as_input, weights_digest
from budgetc.detectors.families import build
from budgetc.detectors.latents import fit_prototypes
from budgetc.detectors.stfpm import Stfpm, StfpmConfig
from budgetc.detectors.vae import Vae, VaeConfig
from budgetc.errors import UsageError
from budgetc.passes.distill import distill
from budgetc.passes.prune import prune
from budgetc.passes.quantize import quantize
from budgetc.training import features
from tests.small import SIZE, at_effort, lively, plain, small, small_stfpm, small_vae, textures, work_for

QUICK = Distill(student=0.5, epochs=2)


def _nets(detector: Detector) -> Stfpm:
    assert isinstance(detector.module, Stfpm)
    return detector.module


@pytest.mark.parametrize("family", ["efficientad", "reverse_distillation", "stfpm", "uninformed_students", "vae"])
def test_the_result_has_fewer_parameters(family: str) -> None:
    """Narrower layers are really built."""
    detector = small(family)
    assert distill(detector, QUICK, work_for(detector)).parameters() < 0.9 * detector.parameters()


@pytest.mark.parametrize(
    ("family", "step"),
    [
        *((family, QUICK) for family in ("efficientad", "gaussian", "reverse_distillation", "stfpm",
                                         "uninformed_students")),
        *(("stfpm", QUICK.model_copy(update={"loss": loss})) for loss in ("relation", "map", "ranking")),
        *((family, QUICK.model_copy(update={"teacher": 0.5})) for family in ("stfpm", "uninformed_students")),
    ],
)  # fmt: skip
def test_a_teacher_whose_outputs_do_not_fit_into_memory_teaches_the_same(
    monkeypatch: pytest.MonkeyPatch, family: str, step: Distill
) -> None:
    """They are computed again for every step: slower, and nothing is kept."""
    detector = small(family)
    kept = distill(detector, step, work_for(detector))
    monkeypatch.setattr(features, "MOST_BYTES", 1)
    work = work_for(detector)
    again = distill(detector, step, work)
    assert work.cache.bytes() == 0
    image = as_input(textures(4, seed=5))
    torch.testing.assert_close(again.module(image), kept.module(image), rtol=3e-5, atol=2e-5)


def test_without_a_teacher_ratio_the_teacher_is_the_same_object() -> None:
    """It is frozen, so nothing is gained by a copy, and its cached outputs serve on."""
    detector = small_stfpm()
    assert _nets(distill(detector, QUICK, work_for(detector))).teacher is _nets(detector).teacher


def test_a_student_of_another_width_gets_adapters_to_the_teachers_taps() -> None:
    """Both networks return maps of the same channels."""
    detector = small_stfpm()
    result = distill(detector, QUICK, work_for(detector))
    assert isinstance(result.config, StfpmConfig)
    assert result.config.student.tap_channels == (16, 24)
    result.deployed()(torch.rand(1, 3, *SIZE))


def test_a_smaller_teacher_is_trained_once_for_all_students() -> None:
    """It does not depend on the student, so candidates share it."""
    detector = small_stfpm()
    work = work_for(detector)
    narrow, wide = (distill(detector, Distill(student=s, teacher=0.5, epochs=2), work) for s in (0.5, 1.0))
    assert _nets(narrow).teacher is _nets(wide).teacher
    assert _nets(narrow).teacher is not _nets(detector).teacher


def test_an_untrained_teacher_is_never_taken_for_a_trained_one() -> None:
    """Pricing at effort 0 shares the memory of trainings, under another key."""
    detector = small_stfpm()
    work = work_for(detector)
    step = Distill(student=0.5, teacher=0.5, epochs=4)
    bare = _nets(distill(detector, step, at_effort(work, 0))).teacher
    trained = _nets(distill(detector, step, work)).teacher
    assert weights_digest(bare) != weights_digest(trained)


def test_the_order_of_candidates_does_not_change_their_weights() -> None:
    """A student is the same whether its teacher was trained for it or found."""
    detector = small_stfpm()
    step = Distill(student=0.5, teacher=0.5, epochs=2)
    alone = distill(detector, step, work_for(detector))
    work = work_for(detector)
    distill(detector, Distill(student=1.0, teacher=0.5, epochs=2), work)
    assert weights_digest(distill(detector, step, work).module) == weights_digest(alone.module)


@pytest.mark.parametrize("family", ["efficientad", "reverse_distillation", "stfpm", "uninformed_students", "vae"])
def test_training_brings_it_nearer_to_the_baseline(family: str) -> None:
    """The held-out loss of many epochs is lower than that of one."""
    detector = small(family)
    short, long = work_for(detector), work_for(detector)
    distill(detector, Distill(student=0.5, epochs=1), short)
    distill(detector, Distill(student=0.5, epochs=12), long)
    assert (long.curves[-1].held_out_loss or 9) < (short.curves[-1].held_out_loss or 0)


def test_the_new_latents_are_those_of_the_baseline() -> None:
    """On pictures nobody trained on, the posterior comes nearer to the baseline's than it was before training."""
    detector = small_vae()
    with torch.no_grad():
        detector.module.encoder.mu.linear.bias.fill_(3.0)  # type: ignore[union-attr,operator]  # far from every first guess
    step, image = Distill(student=0.5, epochs=12, learning_rate=0.01), as_input(textures(6, seed=7))

    def means(of: Detector) -> torch.Tensor:
        with torch.no_grad():
            found: torch.Tensor = of.module.encoder.encode(image).mu  # type: ignore[union-attr,operator]
        return found

    bare, trained = (distill(detector, step, work_for(detector, effort=effort)) for effort in (0, 1))
    assert (means(trained) - means(detector)).abs().mean() < (means(bare) - means(detector)).abs().mean()


def test_maps_on_damaged_pictures_can_teach_too() -> None:
    """The loss changes what the student learns."""
    detector = small_stfpm()
    plain = distill(detector, QUICK, work_for(detector))
    mapped = distill(detector, Distill(student=0.5, epochs=2, loss="map", loss_weight=5.0), work_for(detector))
    assert weights_digest(plain.module) != weights_digest(mapped.module)


def test_the_latent_space_of_a_vae_stays_and_its_decoder_goes() -> None:
    """The score is defined on the latents; only training needs a decoder."""
    detector = small_vae()
    result = distill(detector, QUICK, work_for(detector))
    assert isinstance(result.config, VaeConfig)
    assert (result.config.latents, result.config.decoder) == (4, False)
    assert result.module.decoder is None


def test_a_vae_has_no_teacher_to_shrink() -> None:
    """The message names the setting."""
    detector = small_vae()
    with pytest.raises(UsageError, match=r"distill\.teacher: a vae deploys no teacher"):
        distill(detector, Distill(teacher=0.5), work_for(detector))


@pytest.mark.parametrize("family", ["efficientad", "reverse_distillation", "stfpm", "uninformed_students", "vae"])
def test_a_quantized_detector_is_calibrated_again(family: str) -> None:
    """Formats by the same settings as before, for the units and activations of the new network."""
    detector = small(family)
    work = work_for(detector)
    integer = quantize(detector, Quantize(method="percentile"), work)
    result = distill(integer, QUICK, work)
    assert result.quantization == Quantize(method="percentile")
    assert result.formats.keys() >= {n for n in integer.formats if n.startswith(("student", "encoder"))}
    again = quantize(result, Quantize(method="percentile"), work).formats  # of biases that are rounded by now
    for name, known in result.formats.items():
        assert known.output is not None and known.output.scale == pytest.approx(again[name].output.scale, rel=1e-3)  # type: ignore[union-attr]


@pytest.mark.parametrize("family", ["efficientad", "reverse_distillation", "stfpm", "uninformed_students", "vae"])
def test_training_under_rounding_changes_weights(family: str) -> None:
    """Quantization-aware training is training, not only calibration."""
    detector = small(family)
    step = Distill(student=0.5, epochs=4)
    after = distill(detector, step, work_for(detector))
    work = work_for(detector)
    aware = distill(quantize(detector, Quantize(), work), step, work)
    assert [curve.epochs for curve in work.curves] == [4, 1]
    assert weights_digest(after.module) != weights_digest(aware.module)


@pytest.mark.parametrize("family", ["efficientad", "reverse_distillation", "stfpm", "uninformed_students", "vae"])
def test_zero_epochs_train_nothing(family: str) -> None:
    """A step that asks for no epochs gets none, at full effort too."""
    detector = small(family)
    work = work_for(detector)
    distill(quantize(detector, Quantize(), work), Distill(student=0.5, epochs=0), work)
    assert sum(curve.epochs for curve in work.curves) == 0


def test_effort_scales_the_epochs() -> None:
    """A quick rung trains a share of them, and at least one."""
    detector = small_vae()
    for effort, expected in ((1.0, 4), (0.5, 2), (0.01, 1)):
        work = work_for(detector, effort=effort)
        distill(detector, Distill(student=0.5, epochs=4), work)
        assert work.curves[-1].epochs == expected


@pytest.mark.parametrize("family", ["efficientad", "reverse_distillation", "stfpm", "uninformed_students", "vae"])
def test_a_pruned_detector_gets_smaller_too(family: str) -> None:
    """Ratios are of the channels there are, not of those there once were."""
    detector = small(family)
    work = work_for(detector, effort=0)
    pruned = prune(detector, Prune(keep=0.5, round_to=4), work)
    assert distill(pruned, Distill(student=0.5), work).parameters() < pruned.parameters()


def test_a_vae_without_hidden_layers_still_has_its_latents() -> None:
    """Heads of the same latents on the flattened convolutions, with fewer weights than narrowing leaves."""
    detector = small_vae()
    dropped = distill(detector, Distill(student=0.5, epochs=1, drop_hidden=True), work_for(detector))
    assert isinstance(dropped.config, VaeConfig)
    assert dropped.config.hidden == ()
    _, kl = dropped.deployed()(torch.rand(2, 3, *SIZE))
    assert kl.shape == (2, 4)


def test_only_a_vae_has_hidden_layers_to_drop() -> None:
    """Others say so instead of ignoring the setting."""
    detector = small_stfpm()
    with pytest.raises(UsageError, match="drop_hidden: only a vae"):
        distill(detector, Distill(drop_hidden=True), work_for(detector))


def test_a_student_takes_its_share_of_what_pruning_left() -> None:
    """Half of the pruned widths, not of the ones that the configuration still names."""
    detector = small_stfpm()
    work = work_for(detector, effort=0)
    narrow = distill(prune(wide_student(), Prune(keep=0.5, round_to=8), work), Distill(student=0.5), work)
    direct_half = distill(wide_student(), Distill(student=0.5), work)
    assert isinstance(narrow.config, StfpmConfig) and isinstance(direct_half.config, StfpmConfig)
    assert narrow.config.student.widths == (8, 16)
    assert direct_half.config.student.widths == (16, 24)


def wide_student() -> Detector:
    """Whose stages are pruned, for adapters hide them from the taps."""
    torch.manual_seed(0)
    student = plain(32, 48).model_copy(update={"tap_channels": (16, 24)})
    return build("stfpm", StfpmConfig(input_size=SIZE, teacher=plain(16, 24), student=student))


@pytest.mark.parametrize(
    ("step", "share"),
    [
        (Distill(student=1.0, backbone="separable"), 0.5),
        (Distill(student=1.0, depth=0), 0.6),
        (Distill(input=0.5), 1.0),
    ],
)
def test_a_student_may_differ_in_more_than_width(step: Distill, share: float) -> None:
    """Depthwise, shallower, of smaller pictures: it has fewer weights or reads less, and it runs and learns."""
    detector = small_stfpm()
    work = work_for(detector)
    result = distill(detector, step.model_copy(update={"epochs": 1}), work)
    size = result.config.input_size
    assert size == ((16, 16) if step.input == 0.5 else SIZE)
    student, before = (sum(w.numel() for w in _nets(one).student.parameters()) for one in (result, detector))
    assert student < share * before
    score, found = result.deployed()(torch.rand(2, 3, *size))
    assert score.shape == (2,) and found.shape == (2, 1, *size)
    assert work.curves[-1].epochs == 1


def one_tap() -> Detector:
    """Compared at its third stage alone, so that two may be shared."""
    torch.manual_seed(0)
    deep = plain(8, 16, 24).model_copy(update={"taps": (2,)})
    return lively(build("stfpm", StfpmConfig(input_size=SIZE, teacher=deep, student=deep)))


@pytest.mark.parametrize("shared", [1, 2])
def test_a_shared_trunk_is_computed_once_and_learns_nothing(shared: int) -> None:
    """The student starts behind it: fewer weights, the same teacher, and features of its own."""
    detector = one_tap()
    work = work_for(detector)
    result, alone = (distill(detector, Distill(shared=s, epochs=2), work) for s in (shared, 0))
    assert result.parameters() < alone.parameters()
    assert _nets(result).teacher is _nets(detector).teacher
    image = torch.rand(2, 3, *SIZE)
    with torch.no_grad():
        teacher, student = _nets(result).taps(image)
        network = _nets(result)
        again = network.student(network.teacher.trunk(network.normalized(image), shared))
        assert torch.equal(teacher[0], network.teacher(network.normalized(image))[0])
        torch.testing.assert_close(student, again)
        torch.testing.assert_close(student, network.student_taps(image))


def test_a_trunk_that_reaches_a_tap_is_refused() -> None:
    """The student would be handed the answer."""
    with pytest.raises(UsageError, match=r"shared: 3 stages reach tap 2 of the teacher; share at most 2"):
        distill(one_tap(), Distill(shared=3), work_for(one_tap(), effort=0))


def test_a_pruned_teacher_has_a_narrower_trunk() -> None:
    """The student reads as many channels as there are."""
    detector = one_tap()
    work = work_for(detector, effort=0)
    pruned = prune(detector, Prune(keep=1.0, teacher=0.5, round_to=4), work)
    result = distill(pruned, Distill(shared=1), work)
    result.deployed()(torch.rand(1, 3, *SIZE))
    assert isinstance(result.config, StfpmConfig)
    assert result.config.student.inputs == 4


@pytest.mark.parametrize("prototypes", [0, 3])
@pytest.mark.parametrize("loss", ["feature", "divergence", "relation", "ranking"])
def test_a_vae_imitates_in_fewer_latents_and_on_smaller_pictures(prototypes: int, loss: str) -> None:
    """Whatever the loss, training brings it nearer."""
    torch.manual_seed(0)
    shape = VaeConfig(input_size=SIZE, widths=(16, 8), hidden=(), latents=4, prototypes=prototypes)
    detector = lively(build("vae", shape))
    assert isinstance(detector.module, Vae)
    if detector.module.encoder.distance is not None:
        with torch.no_grad():
            fit_prototypes(detector.module.encoder.distance, detector.module.encoder.encode(as_input(textures(24))).mu)
    short, long = work_for(detector), work_for(detector)
    for work, epochs in ((short, 1), (long, 12)):
        step = Distill.model_validate({"loss": loss, "latents": 0.5, "input": 0.5, "epochs": epochs})
        result = distill(detector, step, work)
    assert isinstance(result.config, VaeConfig)
    assert (result.config.latents, result.config.input_size) == (2, (16, 16))
    assert (long.curves[-1].training_loss or 9) < (short.curves[-1].training_loss or 0)


def test_fewer_latents_are_the_most_active_ones() -> None:
    """Those whose posterior says most of a picture, and in their old order."""
    detector = small_vae()
    assert isinstance(detector.module, Vae)
    with torch.no_grad():
        detector.module.encoder.mu.linear.bias.copy_(torch.tensor([3.0, 0.0, -6.0, 0.0]))
    step = Distill(latents=0.5, student=1.0, epochs=30, learning_rate=0.01)
    result = distill(detector, step, work_for(detector))
    assert isinstance(result.module, Vae)
    with torch.no_grad():
        mean = result.module.encoder.encode(as_input(textures(8, seed=5))).mu.mean(0)
    assert mean[0] > 1 and mean[1] < -2
