"""A small, real case: textures with blots, a plain student-teacher detector of a few thousand weights."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from budgetc.compiler.training import train_bundle
from budgetc.compiler.untrained import new_reverse_distillation, new_stfpm, new_vae
from budgetc.training.loop import Effort

SIDE = 32
RECIPE = """
name: tiny
description: two widths, INT8 or not
steps:
  - step: distill
    optional: true
    settings: {epochs: 4, learning_rate: 0.01}
    choices:
      teacher: [null, 0.5]
      student: [1.0, 0.5]
  - step: quantize
    optional: true
"""
BUDGET = """
target: host-cpu
data: data.npz
limits:
  latency_p95: 1 s
  peak_memory: 1 GiB
  artifact_size: 64 KiB
  auroc: {min: 0.6}
search: {recipes: [tiny.yaml], trainings: 12, time: 5 min}
"""


def surface(rng: np.random.Generator, count: int) -> NDArray[np.uint8]:
    """(count, 32, 32) stripes of one period at any phase, with sensor noise."""
    phase = rng.uniform(0, 2 * np.pi, (count, 1, 1))
    stripes = 128 + 50 * np.sin(np.arange(SIDE)[None, None, :] * 0.8 + phase)
    return np.clip(stripes + rng.normal(0, 6, (count, SIDE, SIDE)), 0, 255).astype(np.uint8)


def write_arrays(path: Path, *, seed: int = 0) -> None:
    """A data set as `.npz`: 60 normals to train on, 40 good and 40 bad to test, every image its own group."""
    rng = np.random.default_rng(seed)
    good, bad = surface(rng, 40), surface(rng, 40)
    for image in bad:
        y, x = rng.integers(0, SIDE - 14, 2)
        image[y : y + 14, x : x + 14] = rng.choice([0, 255], (14, 14))
    np.savez(
        path,
        train=surface(rng, 60), test=np.concatenate([good, bad]), test_label=np.array([0] * 40 + [1] * 40),
        train_group=np.array([f"n{i}" for i in range(60)]), test_group=np.array([f"t{i}" for i in range(80)]),
    )  # fmt: skip


@pytest.fixture(scope="session")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data.npz, stfpm.pt, vae.pt, reverse.pt, tiny.yaml and budget.yaml."""
    folder = tmp_path_factory.mktemp("case")
    write_arrays(folder / "data.npz")
    (folder / "tiny.yaml").write_text(RECIPE)
    (folder / "budget.yaml").write_text(BUDGET)
    stfpm = new_stfpm((SIDE, SIDE), teacher="plain", teacher_widths=(16, 24, 32, 32), student_widths=(8, 16, 16, 16))
    effort = Effort(epochs=5, learning_rate=1e-2, seed=0)
    train_bundle(stfpm, data=folder / "data.npz", out=folder / "stfpm.pt", effort=effort)
    vae = new_vae((SIDE, SIDE), widths=(16, 8), hidden=(32,), latents=6)
    train_bundle(vae, data=folder / "data.npz", out=folder / "vae.pt", effort=Effort(3, 1e-3, 0))
    reverse = new_reverse_distillation((SIDE, SIDE), teacher="plain", teacher_widths=(8, 16, 24, 32))
    train_bundle(reverse, data=folder / "data.npz", out=folder / "reverse.pt", effort=effort)
    return folder
