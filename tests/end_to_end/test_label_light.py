"""Normals and nothing else: `budgetc compile model.pt --budget b.yaml --data only-normals/`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from budgetc.compiler.evaluating import evaluate_detector
from budgetc.compiler.label_light import PROXY
from budgetc.compiler.planning import plan_detector
from budgetc.compiler.training import train_bundle
from budgetc.compiler.untrained import new_stfpm
from budgetc.load.config import load_budget
from budgetc.report.verify import check_artifact, verify_artifact
from budgetc.training.loop import Effort
from tests.end_to_end.command import budgetc
from tests.end_to_end.conftest import SIDE, surface

BUDGET = """
target: host-cpu
limits: {{artifact_size: 1 MiB, auroc: {{min: 0.05{evidence}}}}}
search: {{recipes: [quantize], trainings: 0, time: 5 min}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """only-normals/, model.pt, and a budget that accepts synthetic anomalies beside one that does not."""
    folder = tmp_path_factory.mktemp("light")
    good = folder / "only-normals" / "train" / "good"
    good.mkdir(parents=True)
    for number, picture in enumerate(surface(np.random.default_rng(0), 30)):
        Image.fromarray(picture).save(good / f"{number:02d}.png")
    stfpm = new_stfpm((SIDE, SIDE), teacher="plain", teacher_widths=(8, 12, 16, 16), student_widths=(8, 12, 16, 16))
    train_bundle(stfpm, data=folder / "only-normals", out=folder / "model.pt", effort=Effort(2, 1e-2, 0))
    (folder / "b.yaml").write_text(BUDGET.format(evidence=""))
    (folder / "accepting.yaml").write_text(BUDGET.format(evidence=", evidence: proxy"))
    return folder


def compiled(folder: Path, budget: str) -> tuple[int, str, dict[str, Any]]:
    """Exit code, what is printed, and the report."""
    line = ("compile", "model.pt", "--budget", f"{budget}.yaml", "--data", "only-normals", "-o", budget)
    ended = budgetc(*line, "--store", "store", cwd=folder)
    assert "the AUROC rests on synthetic anomalies" in ended.stderr
    return ended.returncode, ended.stdout, json.loads((folder / budget / "report.json").read_text())


@pytest.mark.slow
def test_without_acceptance_the_verdict_is_inconclusive(folder: Path) -> None:
    """Exit code 5; the smallest is kept, the figures are named a proxy, false alarms are measured."""
    code, printed, report = compiled(folder, "b")
    assert code == 5
    assert printed.startswith("b: inconclusive\n")
    assert "warning" in printed and "the AUROC rests on synthetic anomalies" in printed
    assert {one["limit"]: one["outcome"] for one in report["verdict"]["limits"]}["auroc"] == "inconclusive"
    quality, agreement = report["artifact"]["quality"], report["comparison"]["rank_agreement"]
    assert (quality["auroc_mean"]["kind"], quality["false_positive_rate"]["kind"]) == ("proxy", "measured")
    assert agreement["lower"] <= agreement["value"] <= agreement["upper"] <= 1
    assert sum(row["fate"] == "finalist" for row in report["candidates"]) == 1
    sizes = [row["artifact_size"] for row in report["candidates"] if row["fate"] == "trained"]
    assert all(size >= sum(report["artifact"]["files"].values()) for size in sizes)


def test_where_it_is_accepted_the_verdict_says_so(folder: Path) -> None:
    """Exit code 0, but never a plain pass; and the report holds without the data."""
    code, printed, report = compiled(folder, "accepting")
    assert code == 0, printed
    assert printed.startswith("accepting: compliant (proxy)\n")
    assert "pass (proxy)" in printed and "rank agreement" in printed and "false alarms on held-out normals" in printed
    assert report["exhibits"]["missing"] == []
    assert report["exhibits"]["areas"]  # masks are drawn, too
    assert verify_artifact(folder / "accepting").holds
    strict = load_budget(folder / "b.yaml").budget
    assert check_artifact(folder / "accepting", strict).overall == "inconclusive"


def test_an_evaluation_names_the_proxy(folder: Path) -> None:
    """Of held-out normals alone."""
    found = evaluate_detector(folder / "model.pt", data=folder / "only-normals")
    assert found.quality.auroc_mean.kind == "proxy"
    assert PROXY in found.warnings


def test_the_dry_run_says_what_it_can_show(folder: Path) -> None:
    """Before anything is searched."""
    found = plan_detector(folder / "model.pt", budget=folder / "b.yaml", data=folder / "only-normals")
    assert found.can_certify == "nothing here certifies 0.050: anomalies are synthetic"
    said = " ".join(found.label_light)
    assert "below 24 their order is largely luck; that takes about 200 normals of other parts in all" in said
    assert "cannot show that real defects are found" in said
