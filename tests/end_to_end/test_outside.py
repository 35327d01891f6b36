"""A user's own module: imported by its factory, then distilled, pruned, quantized and compiled like any other."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from budgetc.load.datasets import load_dataset
from budgetc.runtime.artifact import load_artifact
from tests.end_to_end import mine

ROOT = Path(__file__).parents[2]
RECIPE = """
name: generic
description: every pass that works on a network of any architecture
steps:
  - step: distill
    settings: {student: 0.5, epochs: 4, learning_rate: 0.003}
  - step: prune
    settings: {keep: 0.75, epochs: 2}
  - step: quantize
  - step: store-bits
    settings: {bits: 6}
"""


def train(module: mine.Restorer, images: np.ndarray) -> None:
    """As its owner would."""
    pictures = torch.from_numpy(images).float() / 255
    optimizer = torch.optim.Adam(module.parameters(), 0.01)
    torch.manual_seed(0)
    for _ in range(40):
        optimizer.zero_grad()
        loss = module(pictures)["heat"].mean()
        loss.backward()
        optimizer.step()
    module.eval()


def budgetc(*arguments: str | Path, cwd: Path = ROOT) -> str:
    """The command line, where the user's package is."""
    line = [sys.executable, "-m", "budgetc", *map(str, arguments)]
    done = subprocess.run(line, cwd=cwd, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_users_module(case: Path, tmp_path: Path) -> None:
    """From a state_dict to an artifact that keeps a budget, through every pass; the report names where it came from."""
    torch.manual_seed(0)
    module = mine.Restorer()
    dataset = load_dataset(case / "data.npz")
    train(module, dataset.images("train", (32, 32)))
    torch.save(module.state_dict(), tmp_path / "w.pt")
    factory = "tests.end_to_end.mine:make"
    budgetc("import", tmp_path / "w.pt", "--detector", factory, "--score", "anomaly", "-o", tmp_path / "model.pt")
    (tmp_path / "generic.yaml").write_text(RECIPE)
    budget = (case / "budget.yaml").read_text().replace("tiny.yaml", "generic.yaml")
    (tmp_path / "budget.yaml").write_text(budget.replace("64 KiB", "20 KiB").replace("min: 0.6", "min: 0.5"))
    out = tmp_path / "out"
    budgetc(
        "compile", tmp_path / "model.pt", "--budget", tmp_path / "budget.yaml", "--data", case / "data.npz", "-o", out
    )
    report = json.loads((out / "report.json").read_text())
    chosen = next(row for row in report["candidates"] if row["id"] == report["chosen"])
    assert [step["step"] for step in chosen["plan"]["steps"]] == ["distill", "prune", "quantize", "store-bits"]
    assert report["inputs"][f"model source ({factory})"]
    picture = dataset.images("confirmation", (32, 32))[0]
    with torch.no_grad():
        wanted = float(module(torch.from_numpy(picture)[None].float() / 255)["anomaly"])
    scored = load_artifact(out).score(picture.transpose(1, 2, 0))
    assert scored.map is not None
    assert abs(scored.score - wanted) < 0.3 * wanted
    layers = json.loads(budgetc("inspect", tmp_path / "model.pt", "--json"))["layers"]
    assert any(one["group"] is not None for one in layers) and any(one["stays"] is not None for one in layers)
