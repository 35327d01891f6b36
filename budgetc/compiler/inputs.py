"""Everything a compilation starts from, read and checked before a minute is spent."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from budgetc.candidate import applicable
from budgetc.core.budget import Budget, Evidence
from budgetc.core.dataset import Dataset, evenly
from budgetc.core.plan import Plan, Step, Truncate, fingerprint
from budgetc.core.recipe import Recipe
from budgetc.core.target import Target
from budgetc.detectors.detector import Detector, score_images
from budgetc.detectors.gaussian import GaussianConfig
from budgetc.detectors.reverse_distillation import subpixel_form
from budgetc.detectors.stfpm import StfpmConfig
from budgetc.errors import InputRejected, UsageError
from budgetc.load.config import load_budget, load_recipe, load_target
from budgetc.load.datasets import load_dataset
from budgetc.load.model import load_model
from budgetc.load.motion import as_read_by
from budgetc.runtime.flow import opencv_version

_TRIED = 8
"""Pictures of calibration, and as many of selection, that tell whether a detector works at all."""


class ReadData(Protocol):
    """As `load_dataset`."""

    def __call__(self, path: Path, *, group: str | None) -> Dataset: ...


@dataclass(frozen=True, slots=True)
class Device:
    """A real board whose figures take the place of a target's prediction."""

    url: str | None = None
    """`ssh://user@host:port`: everything is measured there."""
    kit: Path | None = None
    """Zip to be written for a board without a network: the search predicts, the finalists are measured there."""
    results: tuple[Path, ...] = ()
    """What kits brought back."""

    @property
    def digest(self) -> str:
        """What tells a run from another: a kit and its results are two steps of one."""
        return fingerprint(["board", self.url] if self.url is not None else ["kit"])

    def options(self) -> list[str]:
        """Of the command line."""
        if self.url is not None:
            return ["--device", self.url]
        kit = ["--kit", str(self.kit)] if self.kit is not None else []
        return kit + [part for path in self.results for part in ("--import", str(path))]


@dataclass(frozen=True, slots=True)
class Inputs:
    """A model, a budget with its target and recipes, and data in four splits."""

    model: Path
    detector: Detector
    budget: Budget
    budget_path: Path
    target: Target
    recipes: tuple[Recipe, ...]
    dataset: Dataset
    digests: Mapping[str, str]
    """Model, budget, target, data and each recipe -> sha256."""
    device: Device | None = None
    notes: tuple[str, ...] = ()
    """How the model was read, where that says something of it."""

    @property
    def digest(self) -> str:
        """One digest of all inputs."""
        return fingerprint(dict(self.digests))

    def command(self, out: Path) -> str:
        """The line that starts this compilation."""
        parts = ["budgetc", "compile", str(self.model), "--budget", str(self.budget_path)]
        accepted = ["--evidence", self.budget.evidence] if "evidence" in self.digests else []
        board = self.device.options() if self.device is not None else []
        return shlex.join([*parts, *accepted, *board, "--data", self.dataset.root, "-o", str(out)])


def load_inputs(
    model: str | Path, budget: str | Path, data: str | Path | None = None, *, evidence: Evidence | None = None,
    device: Device | None = None, read: ReadData = load_dataset,
) -> Inputs:  # fmt: skip
    """Read all inputs; nothing is written. `evidence` wins over the budget's; `read` may know a data set already.

    `device` is a board that is measured instead of predicting.

    Raises:
        UsageError: no data was named.
        ConfigError: budget, target or a recipe is unknown or invalid.
        InputRejected: model or data is unsafe or invalid, or the model does not score this data.
    """
    loaded = load_budget(budget)
    settled = loaded.budget if evidence is None else loaded.budget.model_copy(update={"evidence": evidence})
    folder = loaded.path.parent
    target = load_target(loaded.budget.target, folder)
    recipes = [load_recipe(name, folder) for name in loaded.budget.search.recipes]
    bundle = load_model(Path(model))
    # Always the same split: with another one, what a baseline was trained on could be what it is judged by.
    dataset = read(_data_path(loaded.budget, loaded.path, data), group=loaded.budget.group)
    dataset = as_read_by(dataset, bundle.detector.config.motion)
    digests = {"model": bundle.sha256, "budget": loaded.sha256, "target": target.sha256, "data": dataset.digest}
    if bundle.source is not None and bundle.source.sha256 is not None:
        digests[bundle.source.title] = bundle.source.sha256
    if settled != loaded.budget:
        digests["evidence"] = fingerprint(evidence)
    if dataset.inputs is not None:
        digests["opencv"] = opencv_version()
    if device is not None:
        digests["device"] = device.digest
    digests |= {f"recipe {one.recipe.name}": one.sha256 for one in recipes}
    check_scores(model, bundle.detector, dataset)
    # The baseline takes the form that has integer kernels, too: it is no gain of a candidate.
    return Inputs(
        Path(model), subpixel_form(bundle.detector), settled, loaded.path, target.target,
        tuple(one.recipe for one in recipes), dataset, digests, device, bundle.notes,
    )  # fmt: skip


def _data_path(budget: Budget, budget_path: Path, data: str | Path | None) -> Path:
    if data is not None:
        return Path(data)
    if budget.data is None:
        raise UsageError(
            f"{budget_path} names no data set (key data), and --data was not given: "
            "pass --data DIR with the images the detector is for"
        )
    return budget_path.parent / budget.data


def check_scores(model: str | Path, detector: Detector, dataset: Dataset) -> None:
    """A few normals and anomalies get scores that are numbers, and not all the same.

    Raises:
        InputRejected: they do not: what is broken in the model must not become the measure of all candidates.
    """
    chosen = [dataset.samples[split][number] for split in ("calibration", "selection")
              for number in evenly(len(dataset.samples[split]), _TRIED)]  # fmt: skip
    read, size = dataset.inputs or dataset.read, detector.config.input_size
    scores = score_images(detector.deployed(), np.stack([read(sample, size) for sample in chosen]))
    broken = [sample.file for sample, score in zip(chosen, scores, strict=True) if not np.isfinite(score)]
    if broken:
        raise InputRejected(
            f"{model}: the score of {broken[0]} is {scores[~np.isfinite(scores)][0]}; its training went wrong, "
            "or its weights do not belong together"
        )
    if len(chosen) > 1 and np.ptp(scores) == 0:
        raise InputRejected(
            f"{model}: gives the score {scores[0]:g} to each of {len(chosen)} pictures that it was tried on, normals "
            "and anomalies alike; it was not trained, or its weights were lost when it was saved"
        )


def default_out(model: Path, budget_path: Path) -> Path:
    """`<model stem>.<budget stem>/` beside the model."""
    return model.parent / f"{model.stem}.{budget_path.stem}"


def all_plans(inputs: Inputs) -> tuple[list[Plan], list[tuple[Plan, str]]]:
    """Every plan of the budget's recipes once, the unchanged detector first; and the impossible, with the reason.

    A recipe for other families has no plans here, so that one budget serves several detectors.

    Raises:
        UsageError: all of them are for other families.
    """
    seed = inputs.budget.search.seed
    plans = {(unchanged := Plan(recipe="none", steps=(), seed=seed)).id: unchanged}
    dropped: dict[str, tuple[Plan, str]] = {}
    for recipe in _fitting(inputs.recipes, inputs.detector.family):
        for plan in (settled(plan, inputs.detector) for plan in recipe.plans(seed)):
            reason = applicable(plan, inputs.detector.family, inputs.target)
            if reason is None:
                plans.setdefault(plan.id, plan)
            else:
                dropped.setdefault(plan.id, (plan, reason))
    return list(plans.values()), list(dropped.values())


def settled(plan: Plan, detector: Detector) -> Plan:
    """The plan with every cut named by the taps that it leaves, so that equal networks are one plan."""
    match detector.config:
        case GaussianConfig() as config:
            taps = config.backbone.taps
        case StfpmConfig() as config:
            taps = config.teacher.taps
        case _:
            return plan
    steps: list[Step] = []
    for step in plan.steps:
        if isinstance(step, Truncate):
            deep = tuple(tap for tap in taps if step.stages is None or tap <= step.stages)
            left = tuple(tap for tap in deep if step.first is None or tap >= step.first)
            # What leaves no tap stays as it is written: the step says what is wrong with it.
            if left:
                last, first = None if left[-1] == taps[-1] else left[-1], None if left[0] == taps[0] else left[0]
                step, taps = step.model_copy(update={"stages": last, "first": first}), left
        if step != Truncate():
            steps.append(step)
    return plan.model_copy(update={"steps": tuple(steps)})


def _fitting(recipes: tuple[Recipe, ...], family: str) -> list[Recipe]:
    fitting = [recipe for recipe in recipes if not recipe.detectors or family in recipe.detectors]
    if recipes and not fitting:
        named = "; ".join(f"{recipe.name} is for {', '.join(recipe.detectors)}" for recipe in recipes)
        raise UsageError(
            f"search.recipes: none is for detectors of family {family} ({named}); "
            "`budgetc recipes list` shows the others"
        )
    return fitting
