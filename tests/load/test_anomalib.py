"""Checkpoints and torch exports of anomalib: the files are its own, scores and maps are its own.

`anomalib.npz` was made by `benchmarks/anomalib_fixture.py` in environments with anomalib 2.7.0, 2.1.0 and 1.2.0. It
holds the pickles of real files; their weights follow from their names by a rule.
"""

import io
import json
import runpy
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from budgetc.detectors.detector import as_input
from budgetc.detectors.families import bundle
from budgetc.errors import InputRejected
from budgetc.load.importing import Imported, import_weights
from budgetc.load.model import load_model

GOLDEN = Path(__file__).with_name("anomalib.npz")
SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "anomalib_fixture.py"))
CASES, DETECTORS, STRIDE, LARGE = (SCRIPT[name] for name in ("CASES", "DETECTORS", "STRIDE", "LARGE"))
pictures_of, side_of, weight_of = (SCRIPT[name] for name in ("pictures_of", "side_of", "weight_of"))


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    with np.load(GOLDEN) as arrays:
        return dict(arrays)


def real_file(folder: Path, golden: dict[str, Any], name: str) -> Path:
    """The file that anomalib wrote, but for the state of its optimizer, which is 0."""
    path = folder / name
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", golden[name].tobytes())
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/version", "3")
        for number, size, weight, shape in json.loads(str(golden[f"{name}.storages"])):
            content = weight_of(weight, tuple(shape)).tobytes() if weight else bytes(size)
            archive.writestr(f"archive/data/{number}", content)
    return path


def factor(imported: Imported) -> float:
    """How many times anomalib's our score is."""
    model = next(name for name, family in DETECTORS.items() if family == imported.detector.family)
    return float(SCRIPT["gain_of"](model, imported.detector.config.model_dump()))


@pytest.mark.parametrize("suffix", ["ckpt", "pt"])
@pytest.mark.parametrize("case", CASES)
def test_scores_and_maps_are_anomalibs(tmp_path: Path, golden: dict[str, Any], case: str, suffix: str) -> None:
    """Within 1e-4 of what its inner model returns, for a checkpoint of Lightning and the export of the whole model."""
    imported = import_weights(real_file(tmp_path, golden, f"{case}.{suffix}"), detector=DETECTORS[CASES[case][0]])
    scores, maps = golden[f"{case}.scores"], golden[f"{case}.maps"]
    assert scores.std() > 0.001, "three pictures that are alike would prove nothing"
    side, stride = side_of(case), STRIDE if side_of(case) == LARGE else 1
    with torch.no_grad():
        score, found = imported.detector.deployed()(as_input(pictures_of(side)))
    np.testing.assert_allclose(score.numpy() / factor(imported), scores, rtol=0, atol=1e-4)
    np.testing.assert_allclose(found.numpy()[:1, :, ::stride, ::stride] / factor(imported), maps, rtol=0, atol=1e-4)


@pytest.mark.parametrize("suffix", ["ckpt", "pt"])
@pytest.mark.parametrize("version", ["1.2.0", "2.1.0"])
def test_files_of_older_versions(tmp_path: Path, golden: dict[str, Any], version: str, suffix: str) -> None:
    """Their transforms and pre-processors are pickled objects; size, normalization and scores are the same."""
    path = real_file(tmp_path, golden, f"{version}-stfpm.{suffix}")
    imported = import_weights(path, detector="stfpm")
    assert imported.detector.config.input_size == (64, 64)
    assert not any("assumed" in note for note in imported.notes)
    with torch.no_grad():
        score, _ = imported.detector.deployed()(as_input(pictures_of(64)))
    np.testing.assert_allclose(score.numpy() / factor(imported), golden["stfpm.scores"], rtol=0, atol=1e-4)
    with pytest.raises(InputRejected, match=r"(?s)budgetc import \S+ --detector stfpm .*-o model\.pt"):
        load_model(path)


def test_what_the_file_says_is_believed(tmp_path: Path, golden: dict[str, Any]) -> None:
    """Size, layers and the joining of maps; thresholds are dropped, and it is said what scores are."""
    two = import_weights(real_file(tmp_path, golden, "stfpm-two-layers.ckpt"), detector="stfpm")
    config = two.detector.config.model_dump()
    assert (config["input_size"], config["teacher"]["taps"], two.detector.threshold) == ((64, 64), (2, 3), None)
    assert any("post_processor (6 keys)" in note for note in two.notes)
    assert any("4096 times anomalib's" in note for note in two.notes)
    product = import_weights(real_file(tmp_path, golden, "reverse-multiply.ckpt"), detector="reverse_distillation")
    assert product.detector.config.model_dump()["joining"] == "product"
    assert any("AnomalyMapGenerationMode, read as text and not run" in note for note in product.notes)


def test_a_product_survives_its_bundle_and_half_precision(tmp_path: Path, golden: dict[str, Any]) -> None:
    """The joining is part of the configuration, and the head for FP16 computes the same."""
    imported = import_weights(real_file(tmp_path, golden, "reverse-multiply.ckpt"), detector="reverse_distillation")
    torch.save(bundle(imported.detector), tmp_path / "model.pt")
    network = load_model(tmp_path / "model.pt").detector.deployed()
    picture = as_input(pictures_of(64)[:1])
    with torch.no_grad():
        expected, _ = network(picture)
        network.half_safe = True  # type: ignore[assignment]  # as the export sets it
        found, _ = network(picture)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=0)
    assert float(expected[0]) / factor(imported) == pytest.approx(golden["reverse-multiply.scores"][0], abs=1e-4)


def test_compile_says_the_import_line(tmp_path: Path, golden: dict[str, Any]) -> None:
    """For a checkpoint whose pickle names classes of anomalib too."""
    path = real_file(tmp_path, golden, "reverse.ckpt")
    with pytest.raises(InputRejected, match=r"(?s)budgetc import \S+ --detector reverse_distillation -o model\.pt"):
        load_model(path)


@pytest.mark.parametrize("length", [0, 100])
def test_damaged_exports_are_not_to_be_trusted(tmp_path: Path, golden: dict[str, Any], length: int) -> None:
    """Where numbers are missing no trust helps: both commands say so, and name no --trust-model."""
    whole, cut = real_file(tmp_path, golden, "stfpm.pt"), tmp_path / "cut.pt"
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(cut, "w") as new:
        largest = max(old.infolist(), key=lambda entry: entry.file_size).filename
        for name in old.namelist():
            if name != largest or length:
                new.writestr(name, old.read(name)[:length] if name == largest else old.read(name))
    for read in (lambda: import_weights(cut, detector="stfpm"), lambda: load_model(cut)):
        with pytest.raises(InputRejected, match=r"cut.pt: .*(damaged|fewer numbers).*copy or download") as refused:
            read()
        assert "trust" not in str(refused.value)


def test_the_other_detector_is_named(tmp_path: Path, golden: dict[str, Any]) -> None:
    """Asked for STFPM, given reverse distillation."""
    path = real_file(tmp_path, golden, "reverse.pt")
    with pytest.raises(InputRejected, match="anomalib's ReverseDistillation, not stfpm; give --detector reverse_dist"):
        import_weights(path, detector="stfpm")


OTHERS = {
    "Padim": ("gaussian.mean", "gaussian.inv_covariance", "idx", "feature_extractor.feature_extractor.conv1.weight"),
    "Patchcore": ("memory_bank", "feature_extractor.feature_extractor.conv1.weight"),
    "Fastflow": ("fast_flow_blocks.0.module_list.0.w_perm", "norms.0.weight"),
    "Cflow": ("decoders.0.module_list.0.w", "encoder.feature_extractor.conv1.weight"),
    "Dinomaly": ("bottleneck.0.fc1.weight", "decoder.0.norm1.weight", "encoder.feature_extractor.cls_token"),
    "UniNet": ("teachers.source_teacher.conv1.weight", "bottleneck.bn_layer.0.conv1.weight"),
    "Cfa": ("memory_bank", "descriptor.layer.conv2d.weight"),
    "Draem": ("reconstructive_subnetwork.encoder.block1.0.weight",),
}


@pytest.mark.parametrize("model", OTHERS)
def test_other_models_are_named(tmp_path: Path, model: str) -> None:
    """By the names of their weights, whichever command meets them."""
    path = tmp_path / "last.ckpt"
    torch.save({"state_dict": {f"model.{key}": torch.zeros(1) for key in OTHERS[model]}}, path)
    said = rf"is anomalib's {model}, which budgetc does not have; of anomalib it imports EfficientAd \("
    with pytest.raises(InputRejected, match=said):
        import_weights(path, detector="stfpm")
    with pytest.raises(InputRejected, match=said):
        load_model(path)


def test_an_export_names_its_class(tmp_path: Path) -> None:
    """Whatever its weights are called."""
    path = tmp_path / "model.pt"
    pickled = b"}Vmodel\ncanomalib.models.image.novel.lightning_model\nNovel\n)R}V_modules\n}sbs."
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled.replace(b"_modules\n}s", b"_modules\n}s" + WEIGHT))
        archive.writestr("archive/data/0", bytes(16))
    with pytest.raises(InputRejected, match="is anomalib's Novel, which budgetc does not have"):
        import_weights(path, detector="stfpm")


WEIGHT = (
    b"V_parameters\n}Vw\nctorch._utils\n_rebuild_tensor_v2\n((Vstorage\nctorch\nFloatStorage\nV0\nVcpu\nI4\ntQI0\n"
    b"(I4\nt(I1\ntI00\n}tRss"
)


def described(**settings: Any) -> dict[str, Any]:
    """A transform as anomalib 2.7 writes it down."""
    steps = [
        {"class_path": f"torchvision.transforms.v2.{name}", "init_args": given} for name, given in settings.items()
    ]
    return {"class_path": "torchvision.transforms.v2.Compose", "init_args": {"transforms": steps}}


def checkpoint(golden: dict[str, Any], folder: Path, **changes: Any) -> Path:
    """The STFPM checkpoint with other entries beside its weights."""
    whole = torch.load(io.BytesIO(real_file(folder, golden, "stfpm.ckpt").read_bytes()), weights_only=True)
    path = folder / "changed.ckpt"
    torch.save({"state_dict": whole["state_dict"], "anomalib_components_enabled": {}} | changes, path)
    return path


def test_pre_processors(tmp_path: Path, golden: dict[str, Any]) -> None:
    """Another normalization, none, a crop, a side alone, and one that budgetc cannot carry out."""
    normalize = {"mean": [0.5, 0.4, 0.3], "std": [0.1, 0.2, 0.3], "inplace": False}
    transform = described(Resize={"size": [96, 128]}, ToImage={}, Normalize=normalize, CenterCrop={"size": [64, 96]})
    path = checkpoint(golden, tmp_path, anomalib_pre_processor_config={"transform": transform})
    imported = import_weights(path, detector="stfpm")
    config = imported.detector.config.model_dump()
    assert (config["input_size"], config["mean"], config["std"]) == ((64, 96), (0.5, 0.4, 0.3), (0.1, 0.2, 0.3))
    assert any("middle (64, 96) out of pictures of (96, 128); budgetc does not: cut" in note for note in imported.notes)

    for stated, mean in ((True, pytest.approx((0.485, 0.456, 0.406))), (False, (0, 0, 0))):
        path = checkpoint(golden, tmp_path, hyper_parameters={"pre_processor": stated})
        assert import_weights(path, detector="stfpm").detector.config.model_dump()["mean"] == mean

    path = checkpoint(golden, tmp_path, anomalib_components_enabled={"pre_processor": False})
    config = import_weights(path, detector="stfpm").detector.config.model_dump()
    assert (config["input_size"], config["mean"], config["std"]) == ((256, 256), (0, 0, 0), (1, 1, 1))

    path = checkpoint(golden, tmp_path, anomalib_pre_processor_config={"transform": None})
    imported = import_weights(path, detector="stfpm")
    assert any("its pre-processor is not in the file: ImageNet's" in note for note in imported.notes)

    path = checkpoint(golden, tmp_path, anomalib_pre_processor_config={"transform": described(Grayscale={})})
    with pytest.raises(InputRejected, match="has the transform Grayscale; budgetc knows Resize, CenterCrop"):
        import_weights(path, detector="stfpm")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"backbone": "resnet34"}, "with the backbone 'resnet34'; budgetc imports resnet18 and wide_resnet50_2"),
        ({"layers": ("layer3", "layer1")}, r"its layers \(3, 1\) are none of a resnet18"),
    ],
)
def test_what_is_not_supported_is_named(
    tmp_path: Path, golden: dict[str, Any], settings: dict[str, Any], said: str
) -> None:
    """Backbones and layers."""
    with pytest.raises(InputRejected, match=said):
        import_weights(checkpoint(golden, tmp_path, hyper_parameters=settings), detector="stfpm")
