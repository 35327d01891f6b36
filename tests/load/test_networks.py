"""Shapes of named networks."""

import json
from pathlib import Path

import pytest

from budgetc.errors import InputRejected
from budgetc.load.networks import find_network, read_networks
from tests.rows import layers, write_networks


def resnet(tmp_path: Path) -> Path:
    """One residual network of torchvision at 224 px."""
    network = {"model": "resnet18", "aliases": [], "input_hw": "224x224", "definition": "torchvision", "ops": layers(1)}
    (tmp_path / "n.json").write_text(json.dumps({"networks": [network]}))
    return tmp_path / "n.json"


def test_residual_networks_scale_to_other_square_sizes(tmp_path: Path) -> None:
    """Their maps, not their weights and not what follows the pooling; only where no border is cut off."""
    shapes = read_networks(resnet(tmp_path))
    before, after = (find_network(shapes, "resnet18", size, "torchvision") for size in ("224x224", "448x448"))
    assert before is not None and after is not None
    assert (after[0].macs, after[0].out_h, after[0].weights) == (4 * before[0].macs, 64, before[0].weights)
    assert after[-1] == before[-1]
    for size in ("225x225", "256x320", "", "large"):
        assert find_network(shapes, "resnet18", size, "torchvision") is None


def test_other_networks_are_known_at_their_size_only(tmp_path: Path) -> None:
    """By model or alias, of their definition."""
    shapes = read_networks(write_networks(tmp_path / "n.json"))
    assert find_network(shapes, "net4_int8", "32x32", "ncnn benchmark") == find_network(
        shapes, "net4", "32x32", "ncnn benchmark"
    )
    assert find_network(shapes, "net4", "64x64", "ncnn benchmark") is None
    assert find_network(shapes, "net4", "32x32", "torchvision") is None


@pytest.mark.parametrize("content", ["[]", "{}", "no JSON", '{"networks": [{"model": "a"}]}', '{"networks": [3]}'])
def test_files_of_another_form_are_refused(tmp_path: Path, content: str) -> None:
    """With what was expected."""
    (tmp_path / "n.json").write_text(content)
    with pytest.raises(InputRejected, match=r'n\.json: .*expected \{"networks"'):
        read_networks(tmp_path / "n.json")


def test_a_number_that_is_none_is_refused(tmp_path: Path) -> None:
    """Else it would fail in the middle of a fit."""
    ops = [{**layers(1)[0], "macs": "many"}]
    network = {"model": "a", "input_hw": "1x1", "definition": "torchvision", "ops": ops}
    (tmp_path / "n.json").write_text(json.dumps({"networks": [network]}))
    with pytest.raises(InputRejected, match="macs of 'conv' is 'many', no natural number"):
        read_networks(tmp_path / "n.json")
