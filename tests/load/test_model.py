"""`load_model`: bundles come in whole, everything else is refused with what to do."""

import hashlib
import io
import os
import pickle
import random
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import safetensors.torch
import torch
from torch import nn

from budgetc.detectors.backbones import BackboneConfig, build_backbone
from budgetc.detectors.families import build, bundle
from budgetc.detectors.stfpm import StfpmConfig
from budgetc.detectors.vae import VaeConfig
from budgetc.errors import InputRejected
from budgetc.load.model import load_model
from tests.detectors.torchvision_reference import reference_state

PLAIN = BackboneConfig(arch="plain", widths=(6, 8), taps=(0, 1))


def tiny_bundle() -> dict[str, Any]:
    """A whole, valid STFPM bundle of a few kilobytes."""
    torch.manual_seed(0)
    return bundle(build("stfpm", StfpmConfig(input_size=(32, 48), teacher=PLAIN, student=PLAIN)))


def save(path: Path, data: object) -> Path:
    torch.save(data, path)
    return path


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return save(tmp_path / "model.pt", tiny_bundle())


def test_a_bundle_comes_back_whole(good: Path) -> None:
    """Same scores as the detector that was saved, and the digest of the bytes."""
    torch.manual_seed(0)
    original = build("stfpm", StfpmConfig(input_size=(32, 48), teacher=PLAIN, student=PLAIN))
    loaded = load_model(good)
    image = torch.rand(2, 3, 32, 48)
    with torch.no_grad():
        torch.testing.assert_close(loaded.detector.deployed()(image), original.deployed()(image), rtol=0, atol=0)
    assert loaded.sha256 == hashlib.sha256(good.read_bytes()).hexdigest()
    assert loaded.size_bytes == good.stat().st_size


@pytest.mark.parametrize("name", ["weights.onnx", "modell größe ü.pt", "-o", "no extension"])
def test_the_name_does_not_matter(good: Path, name: str) -> None:
    """Content decides, never extension, and odd names are just names."""
    path = good.rename(good.with_name(name))
    assert load_model(path).detector.family == "stfpm"


def test_a_vae_without_decoder_and_with_threshold(tmp_path: Path) -> None:
    """An encoder-only VAE and its threshold survive."""
    config = VaeConfig(input_size=(32, 32), widths=(4, 4), hidden=(8,), latents=3, decoder=False)
    path = save(tmp_path / "vae.pt", bundle(build("vae", config)) | {"threshold": 1.5})
    assert load_model(path).detector.threshold == 1.5


def test_pruned_widths_are_accepted(tmp_path: Path) -> None:
    """Weights narrower than the configuration are what structured pruning leaves."""
    data = tiny_bundle()
    narrow = build_backbone(BackboneConfig(arch="plain", widths=(4, 8), taps=(1,))).state_dict()
    wide = BackboneConfig(arch="plain", widths=(6, 8), taps=(1,))
    data["config"] = StfpmConfig(input_size=(32, 32), teacher=wide, student=wide).model_dump(mode="json")
    data["state_dict"] = {f"{part}.{key}": value for part in ("teacher", "student") for key, value in narrow.items()}
    detector = load_model(save(tmp_path / "pruned.pt", data)).detector
    assert detector.module.get_parameter("student.stages.0.0.conv.weight").shape == (4, 3, 3, 3)


# What is no file, or no whole file


def test_absent_directory_fifo_and_empty(tmp_path: Path) -> None:
    """Each kind of non-file is named, and a FIFO does not block."""
    (tmp_path / "empty.pt").touch()
    os.mkfifo(tmp_path / "fifo.pt")
    for name, message in (
        ("absent.pt", "No such file"),
        ("", "is a directory"),
        ("fifo.pt", "not a regular file"),
        ("empty.pt", "is empty"),
        ("nul\0byte", "cannot be opened"),
    ):
        with pytest.raises(InputRejected, match=message):
            load_model(tmp_path / name)


def test_truncated_at_every_place(good: Path) -> None:
    """However little of the file arrived, it is refused as damaged."""
    data = good.read_bytes()
    for length in [1, 2, 4, 10, *range(16, len(data), 173), len(data) - 1]:
        good.write_bytes(data[:length])
        with pytest.raises(InputRejected, match=r"truncated|empty|damaged"):
            load_model(good)


def test_legacy_format_truncated_at_every_place(tmp_path: Path) -> None:
    """The format of torch before 1.6 has no directory; truncation is found all the same."""
    path = tmp_path / "old.pt"
    torch.save(tiny_bundle(), path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    assert load_model(path).detector.family == "stfpm"
    for length in range(3, len(data), 211):
        path.write_bytes(data[:length])
        with pytest.raises(InputRejected, match=r"truncated|damaged"):
            load_model(path)


def test_flipped_bits_are_found(good: Path) -> None:
    """A changed byte of a weight is a damaged file, not a slightly other detector."""
    data = bytearray(good.read_bytes())
    with zipfile.ZipFile(good) as archive:
        entry = next(item for item in archive.infolist() if "/data/" in item.filename and item.file_size > 100)
    start = entry.header_offset + 30 + sum(struct.unpack_from("<HH", data, entry.header_offset + 26))
    data[start + entry.file_size // 2] ^= 1
    good.write_bytes(bytes(data))
    with pytest.raises(InputRejected, match="damaged"):
        load_model(good)


def test_random_bytes(tmp_path: Path) -> None:
    """Noise, also behind the first bytes of each known format, is refused and nothing else is raised."""
    rng = random.Random(0)
    path = tmp_path / "noise.pt"
    for start in (b"", b"PK\x03\x04", b"\x80\x02", b"\x80\x04", b"\x08\x07\x12", struct.pack("<Q", 64) + b"{"):
        for _ in range(20):
            path.write_bytes(start + rng.randbytes(rng.randint(1, 500)))
            with pytest.raises(InputRejected):
                load_model(path)


# What would run code


class Payload:
    """Creates a file when unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.mark),)


def test_pickle_payloads_do_not_run(tmp_path: Path) -> None:
    """A payload is refused in every container, with its name, and never runs."""
    mark, path = tmp_path / "ran", tmp_path / "model.pt"
    hostile = tiny_bundle() | {"threshold": Payload(mark)}
    torch.save(hostile, path)
    with pytest.raises(InputRejected, match=r"code \(posix\.mkdir\).*never runs code.*state_dict"):
        load_model(path)
    torch.save(hostile, path, _use_new_zipfile_serialization=False)
    with pytest.raises(InputRejected, match="never runs code"):
        load_model(path)
    path.write_bytes(pickle.dumps(hostile))
    with pytest.raises(InputRejected, match="never runs code") as refused:
        load_model(path)
    assert "weights_only" not in str(refused.value), "nobody is told to switch the protection off"
    assert not mark.exists()


def test_whole_module_is_refused(tmp_path: Path) -> None:
    """A pickled nn.Module says to save the state_dict."""
    path = save(tmp_path / "model.pt", nn.Sequential(nn.Linear(2, 2)))
    with pytest.raises(InputRejected, match=r"torch\.nn\.modules.*state_dict"):
        load_model(path)


def test_torchscript_is_refused(tmp_path: Path) -> None:
    """TorchScript contains code."""
    path = tmp_path / "model.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), path)
    with pytest.raises(InputRejected, match="TorchScript"):
        load_model(path)


def test_exported_program_is_refused(tmp_path: Path) -> None:
    """A .pt2 archive is refused under any name."""
    path = tmp_path / "model.pt2"
    torch.export.save(torch.export.export(nn.Linear(2, 2), (torch.zeros(1, 2),)), path)
    with pytest.raises(InputRejected, match=r"\.pt2"):
        load_model(path.rename(tmp_path / "model.pt"))


def test_onnx_git_lfs_and_other_zips(tmp_path: Path) -> None:
    """Files of other kinds are recognized and answered with what is supported."""
    path = tmp_path / "model.pt"
    identity = onnx.helper.make_node("Identity", ["x"], ["y"])
    ports = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
    graph = onnx.helper.make_graph([identity], "g", ports[:1], ports[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputRejected, match="input 'x' has 1 dimensions"):
        load_model(path)
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(InputRejected, match="git lfs pull"):
        load_model(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(InputRejected, match=r"no data\.pkl"):
        load_model(path)


# Zip limits


def rezip(path: Path, change: Callable[[zipfile.ZipFile], None]) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(buffer, "w") as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            change(new)
    path.write_bytes(buffer.getvalue())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda z: z.writestr("model/../../x", b""), "leads out"),
        (lambda z: z.writestr("/etc/x", b""), "leads out"),
        (lambda z: z.writestr("..\\x", b""), "leads out"),
        (lambda z: z.writestr("model/data.pkl", b""), "twice"),
        (lambda z: z.writestr("bomb", bytes(10**7), compress_type=zipfile.ZIP_DEFLATED), "unpacks"),
        (lambda z: [z.writestr(f"e{i}", b"") for i in range(20_001)], "entries, at most 20000"),
    ],
    ids=["dots", "absolute", "backslash", "duplicate", "bomb", "entries"],
)
def test_suspicious_zips(good: Path, change: Callable[[zipfile.ZipFile], None], message: str) -> None:
    """Each limit of the zip directory has its own refusal."""
    rezip(good, change)
    with pytest.raises(InputRejected, match=message):
        load_model(good)


# Bundles that lie


def _without(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda data: data["state_dict"].pop(key)


def _weight(key: str, value: torch.Tensor) -> Callable[[dict[str, Any]], None]:
    return lambda data: data["state_dict"].update({key: value})


def _config(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda data: data["config"].update(fields)


def _format(name: str, raw: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    return lambda data: data["formats"].update({name: raw})


UNIT = "student.stages.0.0"
FIRST = "student.stages.0.0.conv.weight"
LAST = "student.stages.1.1.conv.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_weight(FIRST, torch.full((6, 3, 3, 3), torch.nan)), rf"NaN or infinite values in {FIRST}"),
        (_weight(FIRST, torch.full((6, 3, 3, 3), -torch.inf)), "NaN or infinite"),
        (_without(FIRST), rf"1 keys missing: {FIRST}"),
        (_weight("backdoor", torch.zeros(1)), "1 keys unknown: backdoor"),
        (lambda d: d["state_dict"].update({f"x{i:02}": torch.zeros(1) for i in range(13)}), "13 keys.*x09 and 3 more"),
        (_weight(FIRST, torch.zeros(6, 1, 3, 3)), r"reads 1 channels; images have 3 \(RGB\)"),
        (_weight("teacher.stages.0.0.conv.weight", torch.zeros(6, 4, 3, 3)), "reads 4 channels; images have 3"),
        (_weight(FIRST, torch.zeros(6, 3, 5, 5)), r"of another shape.*\(6, 3, 5, 5\)"),
        (_weight(FIRST, torch.zeros(7, 3, 3, 3)), r"is \(7, 3, 3, 3\), the config allows \(6, 3, 3, 3\)"),
        (_weight(FIRST, torch.zeros(5, 3, 3, 3)), "do not fit together"),
        (_weight(LAST, torch.zeros(8, 8, 3, 3, dtype=torch.complex64)), "complex64"),
        (_weight(LAST, torch.zeros(1).expand(8, 8, 3, 3)), "file holds fewer numbers"),
        (_weight(LAST, torch.zeros(1).expand(10**6, 10**6, 3, 3)), "file holds fewer numbers"),
        (_weight(LAST, torch.zeros(8, 8).to_sparse()), "not a dense"),
        (lambda d: d["state_dict"].update({LAST: 3}), "is int, expected a tensor"),
        (lambda d: d["state_dict"].clear(), "holds no weights"),
        (lambda d: d.update(state_dict=[1]), "field state_dict"),
        (lambda d: d.pop("state_dict"), "field state_dict.*required"),
        (
            lambda d: d.update(detector="padim"),
            "'padim' is unknown; budgetc has efficientad, flow_vae, gaussian, graph, reverse_distillation, stfpm, "
            "uninformed_students, vae",
        ),
        (lambda d: d.update(detector=["stfpm"]), "field detector"),
        (lambda d: d.update(format="budgetc/9"), "'budgetc/9', this budgetc reads 'budgetc/1'"),
        (lambda d: d.update(extra=1), "field extra"),
        (lambda d: d.update(threshold=float("nan")), "field threshold"),
        (lambda d: d.update(formats={"student": {"compute": "int3"}}), "compute"),
        (_format(UNIT, {"compute": "int8", "weight_scale": [0.1] * 5}), "has 5 scales for 6 channels"),
        (_format(UNIT, {"compute": "int8", "weight_scale": [0.0] * 6}), "no positive number"),
        (
            _format(UNIT, {"compute": "fp32", "output": {"scale": float("inf"), "zero_point": 0}}),
            "output.scale.*finite",
        ),
        (_format(UNIT, {"compute": "fp32", "output": {"scale": 0.1, "zero_point": 256}}), r"outside of 0\.\.255"),
        (_format("student.nothing", {"compute": "fp32"}), "student.nothing is for no layer"),
        (lambda d: d.update(quantization={"samples": 0}), "quantization.samples"),
        (_config(teacher=None), r"config\.teacher"),
        (_config(input_size=[10**9, 32]), r"input_size is .* must lie in 1\.\.4096"),
        (_config(typo=1), r"config\.typo"),
        (_config(mean=["x" * 70_000] * 3), "config has .* at most 65536"),
    ],
)
def test_bundles_that_lie(tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str) -> None:
    """Each defect of an otherwise valid bundle is refused by name, before anything is allocated for it."""
    data = tiny_bundle()
    change(data)
    path = save(tmp_path / "model.pt", data)
    with pytest.raises(InputRejected, match=message) as refusal:
        load_model(path)
    assert refusal.value.exit_code == 4
    assert str(path) in str(refusal.value)


@pytest.mark.parametrize("hidden", [(2**31, 2**31), (2**62, 2**62), (10**5, 10**5)])
def test_huge_declared_networks(tmp_path: Path, hidden: tuple[int, ...]) -> None:
    """A configuration of terabytes is refused without allocating them."""
    config = VaeConfig(input_size=(32, 32), widths=(4, 4), hidden=(8,), latents=3, decoder=False)
    data = bundle(build("vae", config))
    data["config"]["hidden"] = list(hidden)
    with pytest.raises(InputRejected, match=r"declares|impossible network|config\.hidden"):
        load_model(save(tmp_path / "model.pt", data))


# Plain weights: the line that makes a bundle of them


def test_plain_teacher_and_student_say_the_import_line(tmp_path: Path) -> None:
    """The import line is filled in with detector and backbone as the keys tell."""
    state = reference_state("resnet18", seed=0, layers=1)
    both = {f"{part}_model.{key}": value for part in ("teacher", "student") for key, value in state.items()}
    path = save(tmp_path / "my weights.pth", {"state_dict": both, "epoch": 3})
    with pytest.raises(InputRejected) as refusal:
        load_model(path)
    assert f"budgetc import '{path}' --detector stfpm --backbone resnet18 -o model.pt" in str(refusal.value)


def test_a_lone_backbone_says_that_a_student_is_missing(tmp_path: Path) -> None:
    """One network of two: the line names the option for the other file."""
    path = save(tmp_path / "w.pth", reference_state("wide_resnet50_2", seed=0, layers=1))
    with pytest.raises(InputRejected, match=r"(?s)alone.*--backbone wide_resnet50_2 --student") as refusal:
        load_model(path)
    assert "plain state_dict" in str(refusal.value)


def test_safetensors_and_vae_keys_say_the_import_line(tmp_path: Path) -> None:
    """safetensors are plain weights too; mu and logvar heads mean a VAE; a leading dash is made harmless."""
    path = tmp_path / "weights"
    path.write_bytes(safetensors.torch.save({"fc_mu.weight": torch.zeros(1), "fc_logvar.weight": torch.zeros(1)}))
    with pytest.raises(InputRejected, match=r"(?s)budgetc import \S+ --detector vae -o model\.pt"):
        load_model(path)


def test_plain_data_without_weights(tmp_path: Path) -> None:
    """A file of torch.save with something else in it is said to be that."""
    with pytest.raises(InputRejected, match="found list"):
        load_model(save(tmp_path / "list.pt", [1, 2, 3]))
