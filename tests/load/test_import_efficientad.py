"""EfficientAD from anomalib's layout: its definition of map and score, its options, and every key accounted for."""

import sys
import types
from enum import Enum
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from budgetc.detectors.efficientad import EfficientAd
from budgetc.detectors.families import bundle
from budgetc.errors import InputRejected, UsageError
from budgetc.load.import_efficientad import read_patch_network
from budgetc.load.importing import import_weights
from budgetc.load.layouts import guess_layout
from budgetc.load.model import load_model

State = dict[str, Tensor]
FEATURES, PREFIX = 6, "model."
SIZES = [(256, 256), (300, 257)]
_ENUM = "anomalib.models.image.efficient_ad.torch_model"


def anomalib(seed: int = 0, *, quantiles: bool = True) -> State:
    """A narrow network in the names and the shapes of anomalib 2.7, but for channels."""
    g = torch.Generator().manual_seed(seed)
    state = State()

    def conv(name: str, inputs: int, outputs: int, kernel: int) -> None:
        bound = (2 / (inputs * kernel**2)) ** 0.5
        state[f"{name}.weight"] = torch.randn(outputs, inputs, kernel, kernel, generator=g) * bound
        state[f"{name}.bias"] = torch.randn(outputs, generator=g) * 0.1

    for part, features in (("teacher", FEATURES), ("student", 2 * FEATURES)):
        for number, shape in enumerate([(3, 4, 4), (4, 5, 4), (5, 5, 3), (5, features, 4)], 1):
            conv(f"{part}.conv{number}", *shape)
    for number, shape in enumerate([(3, 4, 4), (4, 4, 4), (4, 6, 4), (6, 6, 4), (6, 6, 4), (6, 6, 8)], 1):
        conv(f"ae.encoder.enconv{number}", *shape)
    for number in range(1, 7):
        conv(f"ae.decoder.deconv{number}", 6, 6, 4)
    conv("ae.decoder.deconv7", 6, 6, 3)
    conv("ae.decoder.deconv8", 6, FEATURES, 3)
    state["mean_std.mean"] = torch.randn(1, FEATURES, 1, 1, generator=g)
    state["mean_std.std"] = torch.rand(1, FEATURES, 1, 1, generator=g) + 0.5
    for name, value in {"qa_st": 0.5, "qb_st": 3.0, "qa_ae": 0.2, "qb_ae": 2.0}.items():
        state[f"quantiles.{name}"] = torch.tensor(value if quantiles else 0.0)
    return {PREFIX + key: value for key, value in state.items()}


def reference(state: State, image: Tensor, *, padding: bool, pad_maps: bool) -> tuple[Tensor, Tensor]:
    """Score and map as anomalib computes them."""
    own = {key.removeprefix(PREFIX): value for key, value in state.items()}
    x = (image - torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(
        1, 3, 1, 1
    )
    size, margin = image.shape[-2:], int(padding)

    def conv(name: str, y: Tensor, stride: int = 1, pad: int = 0) -> Tensor:
        return F.conv2d(y, own[f"{name}.weight"], own[f"{name}.bias"], stride, pad)

    def patches(name: str) -> Tensor:
        y = F.avg_pool2d(F.relu(conv(f"{name}.conv1", x, 1, 3 * margin)), 2, 2, margin)
        y = F.avg_pool2d(F.relu(conv(f"{name}.conv2", y, 1, 3 * margin)), 2, 2, margin)
        return conv(f"{name}.conv4", F.relu(conv(f"{name}.conv3", y, 1, margin)))

    def autoencoder() -> Tensor:
        y = x
        for number in range(1, 6):
            y = F.relu(conv(f"ae.encoder.enconv{number}", y, 2, 1))
        y = conv("ae.encoder.enconv6", y)
        for number, (part, less) in enumerate([(64, 1), (32, 0), (16, 1), (8, 0), (4, 1), (2, 1)], 1):
            y = F.interpolate(y, size=[side // part - less for side in size], mode="bilinear")
            y = F.relu(conv(f"ae.decoder.deconv{number}", y, 1, 2))
        y = F.interpolate(y, size=[-(-side // 4) - (0 if padding else 8) for side in size], mode="bilinear")
        return conv("ae.decoder.deconv8", F.relu(conv("ae.decoder.deconv7", y, 1, 1)), 1, 1)

    teacher = (patches("teacher") - own["mean_std.mean"]) / own["mean_std.std"]
    student = patches("student")
    maps = []
    for wanted, ours, which in ((teacher, student[:, :FEATURES], "st"), (autoencoder(), student[:, FEATURES:], "ae")):
        one = (wanted - ours).square().mean(1, keepdim=True)
        one = F.interpolate(F.pad(one, (4, 4, 4, 4)) if pad_maps else one, size=size, mode="bilinear")
        lower, upper = own[f"quantiles.qa_{which}"], own[f"quantiles.qb_{which}"]
        maps.append(0.1 * (one - lower) / (upper - lower) if lower or upper else one)
    joined = 0.5 * maps[0] + 0.5 * maps[1]
    return joined.amax((-3, -2, -1)), joined


def _save(path: Path, data: object) -> Path:
    torch.save(data, path)
    return path


@torch.no_grad()
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("padding", "pad_maps"), [(False, True), (False, False), (True, True), (True, False)])
def test_scores_and_maps_are_anomalibs(tmp_path: Path, size: tuple[int, int], padding: bool, pad_maps: bool) -> None:
    """With each of its options, which the checkpoint says; a bundle of it scores the same."""
    if padding and any(side % 4 for side in size):
        size = (size[0], 260)  # anomalib's own networks do not meet at other sizes
    state = anomalib()
    options = {"padding": padding, "pad_maps": pad_maps, "lr": 1e-4}
    path = _save(tmp_path / "last.ckpt", {"state_dict": state, "hyper_parameters": options})
    found = import_weights(path, detector="efficientad", input_size=size)
    image = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1))
    expected = reference(state, image, padding=padding, pad_maps=pad_maps)
    assert expected[1].std() > 1e-3
    torch.testing.assert_close(found.detector.module(image), expected, rtol=0, atol=1e-5)
    again = load_model(_save(tmp_path / "model.pt", bundle(found.detector))).detector
    torch.testing.assert_close(again.module(image), expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_maps_without_quantiles_stay_as_they_are(tmp_path: Path) -> None:
    """As in a network that was never validated; a note says so."""
    state = anomalib(quantiles=False)
    found = import_weights(_save(tmp_path / "w.pth", state), detector="efficientad")
    image = torch.rand(1, 3, 256, 256)
    expected = reference(state, image, padding=False, pad_maps=True)
    torch.testing.assert_close(found.detector.module(image), expected, rtol=1e-5, atol=1e-5)
    assert "quantiles were never set" in found.notes[1]


def test_the_enumeration_in_a_checkpoint_is_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """anomalib's checkpoints name its class of model sizes: its value is taken, nothing of theirs is imported; another
    class in its place is refused.
    """

    def checkpoint(module: str, name: str) -> Path:
        kind = Enum(name, {"S": "small"}, type=str)  # type: ignore[misc]
        kind.__module__, kind.__qualname__ = module, name
        fake = types.ModuleType(module)
        setattr(fake, name, kind)
        with monkeypatch.context() as patched:
            for part in range(1, module.count(".") + 1):
                patched.setitem(sys.modules, ".".join(module.split(".")[:part]), types.ModuleType("package"))
            patched.setitem(sys.modules, module, fake)
            options = {"model_size": kind("small"), "padding": True}
            return _save(tmp_path / f"{name}.ckpt", {"state_dict": anomalib(), "hyper_parameters": options})

    found = import_weights(checkpoint(_ENUM, "EfficientAdModelSize"), detector="efficientad")
    assert found.detector.config.model_dump()["padding"] is True
    assert _ENUM not in sys.modules
    with pytest.raises(InputRejected, match=r"Python objects or code"):
        import_weights(checkpoint("somebody.else", "Another"), detector="efficientad")


def test_padding_is_an_option_of_its_own(tmp_path: Path) -> None:
    """Where the file says nothing; where it contradicts, or for another detector, it is refused."""
    plain = _save(tmp_path / "w.pth", anomalib())
    padded = import_weights(plain, detector="efficientad", padding=True).detector.module
    assert isinstance(padded, EfficientAd) and padded.grid == (64, 64)
    said = _save(tmp_path / "c.ckpt", {"state_dict": anomalib(), "hyper_parameters": {"padding": False}})
    with pytest.raises(UsageError, match="trained without it"):
        import_weights(said, detector="efficientad", padding=True)
    with pytest.raises(UsageError, match="--padding is for efficientad, not for stfpm"):
        import_weights(plain, detector="stfpm", padding=True)
    with pytest.raises(UsageError, match="efficientad has no backbone"):
        import_weights(plain, detector="efficientad", backbone="resnet18")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"ae.encoder.enconv3.bias": None}, r"1 keys missing: model\.ae\.encoder\.enconv3\.bias"),
        ({"quantiles.qa_st": None}, r"1 keys missing: model\.quantiles\.qa_st"),
        ({"teacher.extra": torch.ones(1)}, r"1 keys not expected: model\.teacher\.extra"),
        ({"student.conv4.weight": torch.ones(7, 5, 4, 4)}, r"student\.conv4\.weight is \(7, 5, 4, 4\)"),
        ({"ae.decoder.deconv7.weight": torch.ones(6, 6, 4, 4)}, r"deconv7\.weight is .*expected \(6, 6, 3, 3\)"),
        ({"mean_std.std": torch.zeros(1, FEATURES, 1, 1)}, r"mean_std\.std has channels of 0"),
        ({"teacher.conv6.weight": torch.ones(6, 6, 1, 1)}, r"PDN-M .*only PDN-S"),
        ({"teacher.conv1.weight": None}, r"no EfficientAD found; expected keys such as model\.teacher"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, change: dict[str, Tensor | None], match: str) -> None:
    """With the key as the file spells it."""
    state: dict[str, Tensor | None] = {**anomalib(), **{PREFIX + key: value for key, value in change.items()}}
    path = _save(tmp_path / "w.pth", {key: value for key, value in state.items() if value is not None})
    with pytest.raises(InputRejected, match=match):
        import_weights(path, detector="efficientad")


def test_state_of_the_framework_is_dropped(tmp_path: Path) -> None:
    """Thresholds and normalization of anomalib's post-processor are not of the network."""
    state = anomalib() | {"post_processor._image_threshold": torch.tensor(0.5)}
    import_weights(_save(tmp_path / "w.pth", state), detector="efficientad")


def test_its_layout_is_recognized() -> None:
    """`compile` on such a file prints the command that imports it."""
    assert guess_layout(anomalib()).options == "--detector efficientad"


def test_a_finished_teacher_is_read() -> None:
    """In the names of its authors; other weights are none, and layers that do not meet are refused."""
    state = {key.removeprefix("model.teacher."): value for key, value in anomalib().items() if "teacher" in key}
    network = read_patch_network("pdn.pth", state)
    assert network is not None and (*network.widths, network.channels) == (4, 5, 5, FEATURES)
    assert read_patch_network("pdn.pth", {**state, "fc.weight": torch.ones(1)}) is None
    with pytest.raises(InputRejected, match="do not fit together as a PDN-S"):
        read_patch_network("pdn.pth", {**state, "conv2.weight": torch.ones(5, 9, 4, 4)})
