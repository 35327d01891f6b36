"""`inspect_detector`: parts, layers and possible steps, found without data or training."""

from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import helper

from budgetc.compiler.inspecting import inspect_detector
from budgetc.compiler.training import save_bundle
from budgetc.detectors.backbones import BackboneConfig
from budgetc.detectors.families import build
from budgetc.detectors.stfpm import StfpmConfig
from budgetc.detectors.vae import VaeConfig
from budgetc.load.importing import import_network
from budgetc.load.onnx_graph import OnnxOptions
from tests.graphs import model_of, weight
from tests.small import small_reverse

TAPPED = BackboneConfig(arch="plain", widths=(8, 16), taps=(0, 1))


def stfpm(folder: Path) -> Path:
    torch.manual_seed(0)
    save_bundle(build("stfpm", StfpmConfig(input_size=(32, 32), teacher=TAPPED, student=TAPPED)), folder / "model.pt")
    return folder / "model.pt"


def test_parts_and_layers(tmp_path: Path) -> None:
    """Multiplications are those of the shapes, and every weighted layer says what pruning and INT8 do with it."""
    found = inspect_detector(stfpm(tmp_path))
    teacher, student = found.parts
    assert (teacher.name, student.name, teacher.deployed, student.deployed) == ("teacher", "student", True, True)
    first = found.layers[0]
    assert (first.kind, first.shape, first.macs) == ("conv 3x3 / 2", (8, 3, 3, 3), 8 * 27 * 16 * 16)
    assert teacher.macs == sum(one.macs for one in found.layers if one.name.startswith("teacher"))
    assert found.deployed_parameters == teacher.parameters + student.parameters
    tapped = [one for one in found.layers if one.stays is not None]
    assert {one.stays for one in tapped} == {"feeds an output"}
    assert {one.shape[0] for one in tapped} == {8, 16}
    assert all((one.group is None) != (one.stays is None) for one in found.layers)
    assert found.integer_kernels == sum(one.float_because is None for one in found.layers) > 0


def test_what_never_ships(tmp_path: Path) -> None:
    """The decoder of a VAE is named as dead, its heads as parts of the score."""
    config = VaeConfig(input_size=(32, 32), widths=(8, 8), hidden=(16,), latents=3)
    save_bundle(build("vae", config), tmp_path / "vae.pt")
    found = inspect_detector(tmp_path / "vae.pt")
    assert [(part.name, part.deployed) for part in found.parts] == [("encoder", True), ("decoder", False)]
    assert found.parts[1].macs == 0
    assert {one.float_because for one in found.layers if one.name == "encoder.mu"} == {"it is part of the score"}
    assert not any(one.name.startswith("decoder") for one in found.layers)


def test_a_target_without_int8(tmp_path: Path) -> None:
    """The step says why, once; the layers only that it is so."""
    found = inspect_detector(stfpm(tmp_path), target="jetson-nano-gpu")
    steps = {one.step: one.reason for one in found.steps}
    assert "no INT8" in (steps["quantize"] or "") and steps["fp16"] is None
    assert found.integer_kernels is None
    assert all(one.float_because is not None for one in found.layers)


@pytest.mark.parametrize("upsampling", ["transposed", "subpixel"])
def test_layers_that_upsample(tmp_path: Path, upsampling: str) -> None:
    """Transposed convolutions are layers like others; every weight that ships belongs to one."""
    save_bundle(small_reverse(upsampling=upsampling), tmp_path / "model.pt")
    found = inspect_detector(tmp_path / "model.pt")
    assert sum(one.parameters for one in found.layers) == found.deployed_parameters
    assert sum(one.macs for one in found.layers) == sum(part.macs for part in found.parts)
    ups = [one for one in found.layers if one.kind.startswith("transposed conv")]
    assert len(ups) == (2 if upsampling == "transposed" else 0)
    assert {one.stays for one in ups} <= {"moves its channels to places"}
    assert all(one.float_because is None for one in ups), "the step quantize makes sub-pixel convolutions of them"


def test_a_network_from_outside(tmp_path: Path) -> None:
    """A transposed convolution without an integer form; what the file was made of, and how it was read."""
    nodes = [
        helper.make_node("ConvTranspose", ["image", "w"], ["x"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("ReduceL2", ["x"], ["score"], keepdims=0),
    ]  # fmt: skip
    model = model_of(nodes, {"w": weight(3, 5, 4, 4)})
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    imported = import_network(tmp_path / "model.onnx", OnnxOptions())
    save_bundle(imported.detector, tmp_path / "model.pt", imported.source)
    found = inspect_detector(tmp_path / "model.pt")
    (layer,) = found.layers
    assert (layer.kind, layer.macs) == ("transposed conv 4x4 / 2", 3 * 5 * 16 * 8 * 8)
    assert layer.stays == "feeds an output"
    assert "no runtime" in str(layer.float_because)
    assert found.source == imported.source and imported.source.how == "onnx"
    assert inspect_detector(tmp_path / "model.onnx").source is None


def test_every_layer_of_a_transformer_says_why(tmp_path: Path) -> None:
    """Rows of tokens count as often as they are multiplied, and a group that stays gives each member its reason."""
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["x"], strides=[4, 4]),
        helper.make_node("Reshape", ["x", "shape"], ["r"]), helper.make_node("Transpose", ["r"], ["t"], perm=[0, 2, 1]),
        helper.make_node("LayerNormalization", ["t", "gain", "zero"], ["n"], axis=-1, name="norm"),
        helper.make_node("MatMul", ["n", "m"], ["h"]), helper.make_node("Relu", ["h"], ["g"]),
        helper.make_node("MatMul", ["g", "k"], ["o"]), helper.make_node("Add", ["o", "t"], ["s"]),
        helper.make_node("LayerNormalization", ["s", "gain", "zero"], ["u"], axis=-1),
        helper.make_node("MatMul", ["u", "q"], ["v"]), helper.make_node("Sub", ["v", "bank"], ["d"]),
        helper.make_node("ReduceL2", ["d"], ["score"], keepdims=0),
    ]  # fmt: skip
    weights = {"w": weight(24, 3, 4, 4), "shape": np.array([0, 24, -1]), "gain": np.ones(24, np.float32),
               "zero": np.zeros(24, np.float32), "m": weight(24, 40), "k": weight(40, 24),
               "q": weight(24, 300), "bank": weight(64, 300)}  # fmt: skip
    (tmp_path / "model.onnx").write_bytes(model_of(nodes, weights, shape=(1, 3, 32, 32)).SerializeToString())
    found = inspect_detector(tmp_path / "model.onnx")
    patches, wider, narrower, _, bank = found.layers
    assert (wider.macs, narrower.macs) == (64 * 24 * 40, 64 * 40 * 24)
    assert (wider.group, wider.stays) == (wider.name, None)
    assert patches.stays == narrower.stays == "is read by an operator of fixed size (LayerNorm 'n')"
    assert (bank.kind, bank.macs, bank.stays) == ("constant 64x300", 0, "is a constant")
