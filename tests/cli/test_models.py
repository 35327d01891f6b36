"""`inspect` of a detector."""

import json
from pathlib import Path

import pytest
import torch

from budgetc.compiler.training import save_bundle
from budgetc.detectors.backbones import BackboneConfig
from budgetc.detectors.families import build
from budgetc.detectors.stfpm import StfpmConfig
from tests.cli.command import Command


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A tiny STFPM."""
    torch.manual_seed(0)
    backbone = BackboneConfig(arch="plain", widths=(8, 16), taps=(0, 1))
    save_bundle(build("stfpm", StfpmConfig(input_size=(32, 32), teacher=backbone, student=backbone)), tmp_path / "m.pt")
    return tmp_path / "m.pt"


def test_inspect_as_text_and_json(budgetc: Command, model: Path) -> None:
    """A table for a person, one object for a program."""
    text = budgetc("inspect", model).out
    assert "teacher" in text and "no: feeds an output" in text
    assert json.loads(budgetc("inspect", model, "--json").out)["parts"][0]["name"] == "teacher"


def test_inspect_for_an_unknown_target(budgetc: Command, model: Path) -> None:
    """Exit 2, as everywhere."""
    assert budgetc("inspect", model, "--target", "no-such-target").code == 2
