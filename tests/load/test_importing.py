"""`import_weights`: published layouts become detectors, and every key is accounted for."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from budgetc.detectors.families import build, bundle
from budgetc.detectors.stfpm import Stfpm, StfpmConfig
from budgetc.detectors.vae import Vae, VaeConfig
from budgetc.errors import InputRejected, UsageError
from budgetc.load.importing import import_weights
from budgetc.load.model import load_model
from tests.detectors.torchvision_reference import reference_features, reference_state

TEACHER, STUDENT = reference_state("resnet18", seed=1), reference_state("resnet18", seed=2)


def without_layer4(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if not key.startswith(("layer4", "fc"))}


def prefixed(teacher: str, student: str) -> dict[str, Tensor]:
    """Both networks in one state_dict; only the teacher brings its dead layers."""
    state = {f"{teacher}{key}": value for key, value in TEACHER.items()}
    return state | {f"{student}{key}": value for key, value in without_layer4(STUDENT).items()}


def save(path: Path, data: object) -> Path:
    torch.save(data, path)
    return path


def assert_same_features(module: nn.Module) -> None:
    assert isinstance(module, Stfpm)
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for network, state in ((module.teacher, TEACHER), (module.student, STUDENT)):
            for found, expected in zip(network(image), reference_features("resnet18", state, image), strict=True):
                torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("teacher", "student"),
    [
        ("teacher.", "student."),
        ("teacher_model.", "student_model."),
        ("model.teacher_model.feature_extractor.", "model.student_model.feature_extractor."),
    ],
)
def test_both_networks_in_one_file(tmp_path: Path, teacher: str, student: str) -> None:
    """Published prefixes are found by name, and the features are those of the weights."""
    path = save(tmp_path / "w.pth", prefixed(teacher, student))
    result = import_weights(path, detector="stfpm", backbone="resnet18", input_size=(64, 64))
    assert_same_features(result.detector.module)
    assert any(f"{teacher}fc (2 keys), {teacher}layer4 (" in note and "dropped" in note for note in result.notes)
    assert result.detector.threshold is None


def test_lightning_checkpoint(tmp_path: Path) -> None:
    """The state_dict of a checkpoint is used; state of metrics and thresholds is dropped and said."""
    state = prefixed("model.teacher_model.", "model.student_model.") | {"image_threshold.value": torch.tensor(0.5)}
    path = save(tmp_path / "last.ckpt", {"state_dict": state, "epoch": 5, "global_step": 10})
    result = import_weights(path, detector="stfpm")
    assert_same_features(result.detector.module)
    assert any("image_threshold (1 keys)" in note for note in result.notes)


def test_safetensors(tmp_path: Path) -> None:
    """safetensors carry the same names."""
    path = tmp_path / "w.safetensors"
    safetensors.torch.save_file(prefixed("teacher.", "student."), path)
    assert_same_features(import_weights(path, detector="stfpm").detector.module)


def test_two_files(tmp_path: Path) -> None:
    """Teacher and student may each be a plain torchvision file."""
    teacher = save(tmp_path / "teacher.pth", TEACHER)
    student = save(tmp_path / "student.pth", without_layer4(STUDENT))
    assert_same_features(import_weights(teacher, detector="stfpm", student=student).detector.module)


def test_own_prefixes(tmp_path: Path) -> None:
    """Networks with unspeaking names are told apart by the prefix options."""
    path = save(tmp_path / "w.pth", prefixed("net_a.", "net_b."))
    with pytest.raises(InputRejected, match=r"which network is the teacher\? Found prefixes 'net_a\.', 'net_b\.'"):
        import_weights(path, detector="stfpm")
    result = import_weights(path, detector="stfpm", teacher_prefix="net_a", student_prefix="net_b.")
    assert_same_features(result.detector.module)


def test_our_own_names_and_the_way_to_a_bundle(tmp_path: Path) -> None:
    """The state_dict of an imported detector imports again, and its bundle loads with equal weights."""
    first = import_weights(save(tmp_path / "w.pth", prefixed("teacher.", "student.")), detector="stfpm").detector
    again = import_weights(save(tmp_path / "own.pt", first.module.state_dict()), detector="stfpm").detector
    assert_same_features(again.module)
    loaded = load_model(save(tmp_path / "model.pt", bundle(again))).detector
    assert_same_features(loaded.module)


def test_wide_resnet_is_recognized(tmp_path: Path) -> None:
    """The architecture follows from the keys, and another --backbone is refused."""
    wide = reference_state("wide_resnet50_2", seed=0, layers=3)
    path = save(
        tmp_path / "w.pth", {f"{part}.{key}": value for part in ("teacher", "student") for key, value in wide.items()}
    )
    config = import_weights(path, detector="stfpm").detector.config
    assert isinstance(config, StfpmConfig)
    assert config.teacher.arch == config.student.arch == "wide_resnet50_2"
    with pytest.raises(InputRejected, match="the teacher is a wide_resnet50_2, expected resnet18"):
        import_weights(path, detector="stfpm", backbone="resnet18")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("student.layer2.0.bn1.bias"), r"student .*1 keys missing: student\.layer2\.0\.bn1\.bias"),
        (lambda s: s.update({"teacher.layer2.0.se.weight": torch.zeros(1)}), r"not expected: teacher\.layer2\.0\.se"),
        (lambda s: s.update({"neck.weight": torch.zeros(1)}), r"belong to no network: neck\.weight"),
        (
            lambda s: s.update({"student.layer1.0.conv1.weight": torch.zeros(32, 64, 3, 3)}),
            r"of another shape: student\.layer1\.0\.conv1\.weight is \(32, 64, 3, 3\), expected \(64, 64, 3, 3\)",
        ),
        (lambda s: s.update({"student.conv1.weight": torch.zeros(64, 1, 7, 7)}), r"conv1\.weight is \(64, 1, 7, 7\)"),
        (lambda s: s.update({"student.bn1.bias": torch.full((64,), torch.inf)}), r"infinite values in student\.bn1"),
        (lambda s: [s.pop(k) for k in list(s) if k.startswith("student")], "holds one resnet18.*--student"),
        (lambda s: [s.pop(k) for k in list(s) if ".bn" in k and "student" in k], r"keys missing: .* and \d+ more"),
        (lambda s: [s.pop(k) for k in list(s) if "conv1" in k], "no ResNet-18 or Wide-ResNet-50-2 found"),
    ],
)
def test_stfpm_keys_that_do_not_fit(
    tmp_path: Path, change: Callable[[dict[str, Tensor]], object], message: str
) -> None:
    """Every missing, extra or misshapen key is named."""
    state = prefixed("teacher.", "student.")
    change(state)
    with pytest.raises(InputRejected, match=message):
        import_weights(save(tmp_path / "w.pth", state), detector="stfpm")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"detector": "padim"}, "padim: unknown; budgetc imports efficientad, reverse_distillation, stfpm, vae"),
        ({"detector": "vae", "backbone": "resnet18"}, "vae has no backbone"),
        ({"detector": "stfpm", "backbone": "vgg16"}, "imports know resnet18 and wide_resnet50_2"),
    ],
)
def test_options_that_cannot_be_meant(tmp_path: Path, options: dict[str, str], message: str) -> None:
    """Options are checked before the file is opened, and are usage errors."""
    with pytest.raises(UsageError, match=message):
        import_weights(tmp_path / "absent.pth", **options)  # type: ignore[arg-type]


def test_what_is_no_state_dict(tmp_path: Path) -> None:
    """Bundles and other data say what they are."""
    config = VaeConfig(input_size=(32, 32), widths=(4,), hidden=(), latents=2, decoder=False)
    with pytest.raises(InputRejected, match="is a budgetc bundle already"):
        import_weights(save(tmp_path / "model.pt", bundle(build("vae", config))), detector="vae")
    with pytest.raises(InputRejected, match="holds no state_dict"):
        import_weights(save(tmp_path / "list.pt", [1]), detector="vae")


# VAE


class PublishedEncoder(nn.Module):
    """The published encoder's layout: one Sequential of convolutions, linear layers, two heads."""

    def __init__(self, side: int, *, bias: bool) -> None:
        super().__init__()
        widths = (3, 6, 5, 4)
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise(widths):
            layers += [nn.Conv2d(a, b, 3, padding=1, bias=bias), nn.BatchNorm2d(b), nn.LeakyReLU(0.1), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers)
        self.fc1, self.fc2 = nn.Linear(4 * (side // 8) ** 2, 20), nn.Linear(20, 10)
        self.fc_mu, self.fc_logvar = nn.Linear(10, 3), nn.Linear(10, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.features(x).flatten(1)
        x = F.leaky_relu(self.fc2(F.leaky_relu(self.fc1(x), 0.1)), 0.1)
        return self.fc_mu(x), self.fc_logvar(x)


@pytest.mark.parametrize("bias", [False, True])
def test_published_vae(tmp_path: Path, bias: bool) -> None:
    """Widths and input size follow from the shapes; mu and logvar are those of the original network."""
    torch.manual_seed(0)
    original = PublishedEncoder(40, bias=bias).train()
    original(torch.rand(8, 3, 40, 40))  # moves the statistics away from their start
    state = {f"encoder.{key}": value for key, value in original.eval().state_dict().items()}
    state |= {"decoder.fc.weight": torch.zeros(4, 3), "decoder.fc.bias": torch.zeros(4)}
    result = import_weights(save(tmp_path / "w.pth", state), detector="vae")
    assert result.detector.config == VaeConfig(
        input_size=(40, 40), widths=(6, 5, 4), hidden=(20, 10), latents=3, decoder=False
    )
    assert any("decoder.fc.weight" in note for note in result.notes)
    image = torch.rand(2, 3, 40, 40)
    assert isinstance(result.detector.module, Vae)
    with torch.no_grad():
        torch.testing.assert_close(tuple(result.detector.module.encoder.encode(image)), original(image))


def test_our_vae_names_even_sorted(tmp_path: Path) -> None:
    """Our own keys import from safetensors, which sorts them; more than ten layers keep their order."""
    config = VaeConfig(input_size=(16, 16), widths=(4, 3), hidden=tuple(range(20, 8, -1)), latents=2)
    torch.manual_seed(0)
    original = build("vae", config).module.eval()
    path = tmp_path / "w.safetensors"
    safetensors.torch.save_file(original.state_dict(), path)
    result = import_weights(path, detector="vae").detector
    image = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(result.deployed()(image), original.get_submodule("encoder")(image))


def test_the_size_of_a_rectangle_is_asked_for(tmp_path: Path) -> None:
    """Where the flattened size is no square the user is asked; a wrong answer is refused, a right one taken."""
    config = VaeConfig(input_size=(16, 24), widths=(4, 3), hidden=(8,), latents=2, decoder=False)
    path = save(tmp_path / "w.pth", build("vae", config).module.state_dict())
    with pytest.raises(InputRejected, match="no square of 3 channels; give --input-size"):
        import_weights(path, detector="vae")
    with pytest.raises(InputRejected, match="another --input-size was trained"):
        import_weights(path, detector="vae", input_size=(32, 32))
    assert import_weights(path, detector="vae", input_size=(16, 24)).detector.config == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: [s.pop(k) for k in list(s) if "logvar" in k], "one for logvar, found .*none"),
        (lambda s: s.pop("features.1.running_mean"), r"1 keys missing: features\.1\.running_mean"),
        (lambda s: s.pop("fc1.bias"), r"1 keys missing: fc1\.bias"),
        (lambda s: s.update({"scale": torch.zeros(1)}), "1 keys that no encoder layer explains: scale"),
        (
            lambda s: s.update({"features.0.weight": torch.zeros(6, 1, 3, 3)}),
            r"reads 1 channels.*images have 3 \(RGB\)",
        ),
        (
            lambda s: s.update({"features.4.weight": torch.zeros(5, 9, 3, 3)}),
            r"features\.4 reads 9 channels, expected 6",
        ),
        (lambda s: s.update({"features.4.weight": torch.zeros(5, 6, 5, 5)}), "5x5 kernel"),
        (lambda s: s.update({"fc2.weight": torch.zeros(10, 21)}), "fc2 does not read what fc1 yields"),
        (lambda s: s.update({"fc1.bias": torch.zeros(7)}), r"encoder\.hidden\.0\.linear\.bias"),
        (lambda s: [s.pop(k) for k in list(s) if k.startswith("features.1.")], "3 convolutions but 2 BatchNorms"),
        (lambda s: [s.pop(k) for k in list(s) if k.startswith("features.")], "no convolutions found"),
    ],
)
def test_vae_keys_that_do_not_fit(tmp_path: Path, change: Callable[[dict[str, Tensor]], object], message: str) -> None:
    """Every defect of the chain is named."""
    state = PublishedEncoder(40, bias=False).state_dict()
    change(state)
    with pytest.raises(InputRejected, match=message):
        import_weights(save(tmp_path / "w.pth", state), detector="vae")
