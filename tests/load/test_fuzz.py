"""Damaged files: whatever is read is whole or refused on purpose; nothing else is ever raised."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from budgetc.detectors.backbones import BackboneConfig
from budgetc.detectors.families import build, bundle
from budgetc.detectors.stfpm import StfpmConfig
from budgetc.errors import BudgetcError
from budgetc.load.checkpoint import read_checkpoint
from budgetc.load.config import load_budget, load_recipe, load_target
from budgetc.load.datasets import load_dataset
from budgetc.load.model import load_model
from budgetc.report.schema import ArtifactSpec, Preprocessing, spec_text
from budgetc.runtime.preprocess import decode
from budgetc.runtime.spec import read_spec

ROOT = Path(__file__).parents[2]


def _bundle() -> bytes:
    torch.manual_seed(0)
    plain = BackboneConfig(arch="plain", widths=(4, 4), taps=(0, 1))
    buffer = io.BytesIO()
    torch.save(bundle(build("stfpm", StfpmConfig(input_size=(32, 32), teacher=plain, student=plain))), buffer)
    return buffer.getvalue()


def _arrays() -> bytes:
    buffer = io.BytesIO()
    images = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3), dtype=np.uint8)
    np.savez(buffer, train=images, test=images[:12] // 2, test_label=np.arange(12) % 2)
    return buffer.getvalue()


def _picture() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(buffer, "PNG")
    return buffer.getvalue()


def _artifact() -> bytes:
    spec = ArtifactSpec(detector="stfpm", model_sha256="0" * 64, preprocessing=Preprocessing(height=32, width=32),
                        threshold=1.5, threads=1)  # fmt: skip
    return spec_text(spec).encode()


def _text(path: str) -> bytes:
    return (ROOT / path).read_bytes()


LOADERS: dict[str, tuple[str, Callable[[], bytes], Callable[[Path], object]]] = {
    "bundle": ("model.pt", _bundle, load_model),
    "weights": ("w.safetensors", lambda: safetensors.torch.save({"a": torch.ones(2, 3)}), read_checkpoint),
    "arrays": ("data.npz", _arrays, load_dataset),
    "picture": ("a.png", _picture, lambda path: decode(path.read_bytes())),
    "budget": ("b.yaml", lambda: _text("targets/budgets/host-cpu.yaml"), load_budget),
    "target": ("t.yaml", lambda: _text("targets/devices/jetson-nano-gpu.yaml"), load_target),
    "recipe": ("r.yaml", lambda: _text("recipes/distill-quantize.yaml"), load_recipe),
    "artifact": ("artifact.json", _artifact, read_spec),
}  # fmt: skip

Edit = tuple[int, bytes, int]
"""Where, as a share of 2**16 of the file, what is put there, and how many bytes it replaces."""
_INTERESTING = [
    b"\0",
    b"\xff",
    b"\x80\x02",
    b"-1",
    b"1e999",
    b"nan",
    b"\xff\xff\xff\x7f",
    b"{",
    b"]",
    b"\n",
    b": &a *a",
    b"../",
    b"",
]
edits = st.lists(
    st.tuples(
        st.integers(0, 2**16 - 1), st.one_of(st.sampled_from(_INTERESTING), st.binary(max_size=8)), st.integers(0, 16)
    ),
    min_size=1, max_size=4,
)  # fmt: skip


def edited(data: bytes, changes: list[Edit], end: int) -> bytes:
    """With a few places replaced, and cut off after a share of 2**16 of it."""
    for share, put, gone in changes:
        at = len(data) * share >> 16
        data = data[:at] + put + data[at + gone :]
    return data[: max(1, len(data) * end >> 16)]


@pytest.mark.parametrize("kind", LOADERS)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(changes=edits, end=st.one_of(st.just(2**16), st.integers(0, 2**16)))
def test_damaged_files_are_refused_on_purpose(tmp_path: Path, kind: str, changes: list[Edit], end: int) -> None:
    """Whatever bytes change or are lost, reading gives a result or one of budgetc's own errors with the file's name."""
    name, make, load = LOADERS[kind]
    path = tmp_path / name
    path.write_bytes(edited(make(), changes, end))
    try:
        load(path)
    except BudgetcError as error:
        assert str(error).strip()
        assert kind == "picture" or name in str(error)


@pytest.mark.parametrize("kind", LOADERS)
def test_the_whole_file_is_read(tmp_path: Path, kind: str) -> None:
    """What the edits start from is valid."""
    name, make, load = LOADERS[kind]
    (tmp_path / name).write_bytes(make())
    load(tmp_path / name)
