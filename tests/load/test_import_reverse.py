"""Reverse distillation from published layouts: every key is accounted for, and features are those of the weights."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from budgetc.detectors.families import bundle
from budgetc.detectors.reverse_distillation import ReverseDistillation
from budgetc.errors import InputRejected, UsageError
from budgetc.load.importing import import_weights
from budgetc.load.layouts import guess_layout
from budgetc.load.model import load_model
from tests.detectors.torchvision_reference import reference_features, reference_state

ENCODER = reference_state("resnet18", seed=1)
State = dict[str, Tensor]


def _norm(state: State, name: str, channels: int, generator: torch.Generator) -> None:
    state[f"{name}.weight"] = torch.rand(channels, generator=generator) + 0.5
    state[f"{name}.bias"] = torch.randn(channels, generator=generator) * 0.1
    state[f"{name}.running_mean"] = torch.randn(channels, generator=generator) * 0.1
    state[f"{name}.running_var"] = torch.rand(channels, generator=generator) + 0.5
    state[f"{name}.num_batches_tracked"] = torch.tensor(7)


def _weight(state: State, name: str, *shape: int, generator: torch.Generator) -> None:
    state[f"{name}.weight"] = torch.randn(*shape, generator=generator) * (2 / (shape[1] * shape[2] ** 2)) ** 0.5


def authors(seed: int = 3) -> tuple[State, State]:
    """Random `bn` and `decoder` of a ResNet-18, in the authors' names and shapes, dead layers included."""
    g = torch.Generator().manual_seed(seed)
    bn, decoder = State(), State()
    for number, (into, out, kernel) in enumerate([(64, 128, 3), (128, 256, 3), (128, 256, 3), (1024, 512, 1)], 1):
        _weight(bn, f"conv{number}", out, into, kernel, kernel, generator=g)
        _norm(bn, f"bn{number}", out, g)
    for block, into in enumerate((768, 512)):
        for number, source in ((1, into), (2, 512)):
            _weight(bn, f"bn_layer.{block}.conv{number}", 512, source, 3, 3, generator=g)
            _norm(bn, f"bn_layer.{block}.bn{number}", 512, g)
    _weight(bn, "bn_layer.0.downsample.0", 512, 768, 1, 1, generator=g)
    _norm(bn, "bn_layer.0.downsample.1", 512, g)
    for layer, (into, out) in enumerate([(512, 256), (256, 128), (128, 64)], 1):
        for block in range(2):
            shape = (into, out, 2, 2) if block == 0 else (out, out, 3, 3)
            _weight(decoder, f"layer{layer}.{block}.conv1", *shape, generator=g)
            _weight(decoder, f"layer{layer}.{block}.conv2", out, out, 3, 3, generator=g)
            for number in (1, 2):
                _norm(decoder, f"layer{layer}.{block}.bn{number}", out, g)
        _weight(decoder, f"layer{layer}.0.upsample.0", into, out, 2, 2, generator=g)
        _norm(decoder, f"layer{layer}.0.upsample.1", out, g)
    return bn, decoder


def reference_restored(bn: State, decoder: State, taps: list[Tensor]) -> list[Tensor]:
    """What the authors' code makes of three taps, finest first."""

    def norm(state: State, name: str, x: Tensor) -> Tensor:
        mean, variance, gain, shift = (
            state[f"{name}.{field}"] for field in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, variance, gain, shift)

    def conv(state: State, name: str, x: Tensor, stride: int = 1) -> Tensor:
        weight = state[f"{name}.weight"]
        return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)

    def block(state: State, name: str, x: Tensor, *, up: bool) -> Tensor:
        first = f"{name}.conv1"
        doubled = up and state[f"{first}.weight"].shape[-1] == 2
        y = F.conv_transpose2d(x, state[f"{first}.weight"], stride=2) if doubled else None
        down = 2 if f"{name}.downsample.0.weight" in state else 1
        y = F.relu(norm(state, f"{name}.bn1", conv(state, first, x, down) if y is None else y))
        y = norm(state, f"{name}.bn2", conv(state, f"{name}.conv2", y))
        if doubled:
            x = norm(state, f"{name}.upsample.1", F.conv_transpose2d(x, state[f"{name}.upsample.0.weight"], stride=2))
        elif down == 2:
            x = norm(state, f"{name}.downsample.1", conv(state, f"{name}.downsample.0", x, 2))
        return F.relu(x + y)

    first = F.relu(norm(bn, "bn2", conv(bn, "conv2", F.relu(norm(bn, "bn1", conv(bn, "conv1", taps[0], 2))), 2)))
    x = torch.cat([first, F.relu(norm(bn, "bn3", conv(bn, "conv3", taps[1], 2))), taps[2]], 1)
    for number in range(2):
        x = block(bn, f"bn_layer.{number}", x, up=False)
    restored = list[Tensor]()
    for layer in range(1, 4):
        for number in range(2):
            x = block(decoder, f"layer{layer}.{number}", x, up=True)
        restored.insert(0, x)
    return restored


BN, DECODER = authors()


def anomalib() -> State:
    """The three networks in one Lightning state_dict."""
    return {
        **{f"model.encoder.feature_extractor.{key}": value for key, value in ENCODER.items() if key[:6] != "layer4"
           and not key.startswith("fc")},
        **{f"model.bottleneck.{key}": value for key, value in BN.items()},
        **{f"model.decoder.{key}": value for key, value in DECODER.items()},
        "image_threshold.value": torch.tensor(0.5),
    }  # fmt: skip


def _save(path: Path, data: object) -> Path:
    torch.save(data, path)
    return path


@torch.no_grad()
def _assert_same(module: torch.nn.Module) -> None:
    assert isinstance(module, ReverseDistillation)
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    taps = reference_features("resnet18", ENCODER, image)
    for found, expected in zip(module.teacher(image), taps, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    for found, expected in zip(module.student(taps), reference_restored(BN, DECODER, taps), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_the_authors_file_and_an_encoder(tmp_path: Path) -> None:
    """`{'bn': ..., 'decoder': ...}` and torchvision's weights; the never executed conv4 is dropped and said."""
    path = _save(tmp_path / "wres.pth", {"bn": BN, "decoder": DECODER})
    encoder = _save(tmp_path / "resnet18.pth", ENCODER)
    result = import_weights(path, detector="reverse_distillation", teacher_weights=encoder, input_size=(64, 64))
    _assert_same(result.detector.module)
    assert any("bn.conv4.weight" in note or "keys" in note for note in result.notes)
    loaded = load_model(_save(tmp_path / "model.pt", bundle(result.detector))).detector
    _assert_same(loaded.module)


def test_anomalibs_checkpoint(tmp_path: Path) -> None:
    """All three networks under its prefixes; its input size and smoothing are the published ones."""
    result = import_weights(_save(tmp_path / "last.ckpt", {"state_dict": anomalib()}), detector="reverse_distillation")
    _assert_same(result.detector.module)
    config = result.detector.config.model_dump()
    assert (config["input_size"], config["smoothing"], config["upsampling"]) == ((256, 256), 4.0, "transposed")


def test_without_an_encoder_it_says_which_file_to_give(tmp_path: Path) -> None:
    """The authors' checkpoint has none."""
    path = _save(tmp_path / "wres.pth", {"bn": BN, "decoder": DECODER})
    with pytest.raises(InputRejected, match=r"no encoder; give .* --teacher-weights FILE \(torchvision's wide_resnet"):
        import_weights(path, detector="reverse_distillation")
    assert guess_layout({"bn.bn_layer.0.conv1.weight": BN["conv1.weight"]}).options == (
        "--detector reverse_distillation --teacher-weights ENCODER_FILE"
    )


def _without(state: State) -> None:
    del state["model.decoder.layer2.1.bn2.running_var"]


def _surprised(state: State) -> None:
    state["model.decoder.layer4.0.conv1.weight"] = torch.zeros(1)


def _foreign(state: State) -> None:
    state["model.classifier.weight"] = torch.zeros(1)


def _misshapen(state: State) -> None:
    state["model.bottleneck.conv2.weight"] = torch.zeros(8, 128, 3, 3)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_without, r"decoder \(resnet18\): 1 keys missing: model\.decoder\.layer2\.1\.bn2\.running_var"),
        (_surprised, r"decoder \(resnet18\): 1 keys not expected: model\.decoder\.layer4"),
        (_foreign, "1 keys that belong to no network: model.classifier.weight"),
        (_misshapen, r"bottleneck \(resnet18\): 1 keys of another shape: .*conv2.weight is \(8, 128, 3, 3\)"),
    ],
)
def test_keys_that_do_not_fit_are_named(tmp_path: Path, damage: Callable[[State], None], said: str) -> None:
    """Which network, what is wrong, and the key."""
    state = anomalib()
    damage(state)
    with pytest.raises(InputRejected, match=said):
        import_weights(_save(tmp_path / "w.pth", state), detector="reverse_distillation")


def test_another_backbone_or_size_is_refused(tmp_path: Path) -> None:
    """The keys say what it is; sides are multiples of the embedding's stride."""
    path = _save(tmp_path / "w.pth", anomalib())
    with pytest.raises(InputRejected, match="the encoder is a resnet18, expected wide_resnet50_2"):
        import_weights(path, detector="reverse_distillation", backbone="wide_resnet50_2")
    with pytest.raises(InputRejected, match="multiples of 32"):
        import_weights(path, detector="reverse_distillation", input_size=(100, 100))
    with pytest.raises(UsageError, match="--teacher-weights is for reverse_distillation, not for vae"):
        import_weights(path, detector="vae", teacher_weights=path)


def test_anomalibs_wide_embedding_is_half_as_wide_inside() -> None:
    """Its blocks have 512 channels where the authors' have 1024, and load all the same."""
    from budgetc.detectors.backbones import BackboneConfig
    from budgetc.detectors.reverse_distillation import ReverseConfig, mirror_of
    from budgetc.load.import_reverse import network_of

    teacher = BackboneConfig(arch="wide_resnet50_2", taps=(1, 2, 3))
    config = ReverseConfig.model_validate({"input_size": (64, 64), "teacher": teacher, **mirror_of(teacher)})
    with torch.device("meta"):
        module = network_of(config, 512).module
        assert isinstance(module, ReverseDistillation)
        module.eval()(torch.zeros(1, 3, 64, 64))
    assert sum(weight.numel() for weight in module.student.neck.parameters()) == pytest.approx(20.2e6, rel=0.01)
    assert tuple(module.get_parameter("student.neck.0.conv2.conv.weight").shape) == (512, 512, 3, 3)
