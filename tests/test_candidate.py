"""One plan -> a built, priced and scored file."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from budgetc.candidate import Workshop, applicable, build, finish, price, recall, score_split
from budgetc.core.dataset import SplitName
from budgetc.core.plan import Distill, Fp16, Plan, Prune, Qat, Quantize, Step, Truncate
from budgetc.detectors.detector import Detector, score_images, weights_digest
from budgetc.errors import BudgetcError
from budgetc.export.onnx_file import export_detector
from budgetc.measurement.quality import FEWEST_NORMALS, fit_threshold, fit_thresholds, score_pixels
from budgetc.runtime.artifact import load_artifact
from budgetc.runtime.monitor import Monitor
from budgetc.runtime.spec import read_spec
from budgetc.store.run_directory import RunDirectory
from tests.small import FAMILIES, dataset, flow_dataset, small, small_stfpm, small_vae, target, textures

STEPS: dict[str, tuple[Step, ...]] = {
    "unchanged": (),
    "quantize": (Quantize(),),
    "quantize all layers": (Quantize(first_convolution=True),),
    "quantize but the last layers": (Quantize(last_layers=False, bias_correction=True), Fp16()),
    "quantize qat": (Quantize(), Qat(epochs=1), Fp16()),
    "fp16": (Fp16(),),
    "distill": (Distill(student=0.5, epochs=2),),
    "distill quantize fp16": (Distill(student=0.5, epochs=2), Quantize(), Fp16()),
    "prune": (Prune(keep=0.5, epochs=2),),
    "quantize distill prune": (Quantize(), Distill(student=1.0, epochs=2), Prune(keep=0.5, epochs=2), Fp16()),
}
FOR_STFPM: dict[str, tuple[Step, ...]] = {
    "quantize student": (Quantize(scope="student"),),
    "distill teacher": (Distill(student=0.5, teacher=0.5, epochs=2), Quantize()),
    "distill behind a shared trunk": (Truncate(first=1), Distill(student=0.5, shared=1, epochs=2), Quantize()),
    "distill separable": (Distill(student=1.0, backbone="separable", depth=2, epochs=2), Quantize(), Fp16()),
    "truncate and quantize": (Truncate(stages=0), Quantize()),
    "prune distill quantize": (Prune(keep=0.5, epochs=2), Distill(student=1.0, epochs=2), Quantize()),
    "distill quantize prune": (Distill(student=1.0, epochs=2), Quantize(), Prune(keep=0.5, epochs=2)),
}
EVERY = [(family, name) for family in FAMILIES for name in STEPS] + [("stfpm", name) for name in FOR_STFPM]


def _plan(*steps: Step) -> Plan:
    return Plan(recipe="test", steps=steps, seed=0)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunDirectory]:
    """A run directory of its own."""
    with RunDirectory.open(tmp_path / "run") as opened:
        yield opened


def _shop(detector: Detector, run: RunDirectory) -> Workshop:
    data = dataset() if detector.config.motion is None else flow_dataset()
    return Workshop(detector, data, target(), run, seed=0, key="k")


@pytest.mark.parametrize(("family", "name"), EVERY)
def test_an_untrained_structure_has_the_price_of_the_trained_one(
    family: str, name: str, run: RunDirectory, tmp_path: Path
) -> None:
    """Bytes, digest of the structure and parameters are exact before a gradient step."""
    shop = _shop(small(family), run)
    plan = _plan(*{**STEPS, **FOR_STFPM}[name])
    priced = price(plan, shop, tmp_path / "priced")
    trained = finish(build(plan, shop, 1.0), shop, tmp_path / "trained")
    assert (priced.size, priced.structure, priced.parameters) == (trained.size, trained.structure, trained.parameters)
    for name in ("model.onnx", "artifact.json"):
        assert (tmp_path / "priced" / name).stat().st_size == (tmp_path / "trained" / name).stat().st_size


def _frames(detector: Detector, run: RunDirectory, **counts: int) -> Workshop:
    return Workshop(detector, replace(dataset(**counts), upright=True), target(), run, seed=0, key="k")


@pytest.mark.parametrize("calibration", [9, 10, 300])
def test_a_monitor_is_priced(calibration: int, run: RunDirectory, tmp_path: Path) -> None:
    """Detectors of frames carry its table, of at most 255 scores, whose bytes are known before a gradient step."""
    shop = _frames(small_vae(), run, calibration=calibration)
    priced = price(_plan(Quantize()), shop, tmp_path / "priced")
    trained = finish(build(_plan(Quantize()), shop, 1.0), shop, tmp_path / "trained")
    table = read_spec(trained.directory / "artifact.json").monitor
    assert priced.size == trained.size
    assert (0 if table is None else len(table.codes())) == {9: 0, 10: 10, 300: 255}[calibration]


def _unified(detector: Detector, run: RunDirectory) -> Workshop:
    """Every other picture is of another category; so many of each that both get thresholds of their own."""
    data = dataset(calibration=2 * FEWEST_NORMALS)
    splits = {
        name: tuple(replace(one, category="ab"[number % 2]) for number, one in enumerate(samples))
        for name, samples in data.samples.items()
    }
    return Workshop(detector, replace(data, samples=splits), target(), run, seed=0, key="k")


def test_every_file_has_thresholds_of_its_own(run: RunDirectory, tmp_path: Path) -> None:
    """Of all categories and of each, fitted through the very file; their bytes are known before a gradient step."""
    shop, found = _unified(small_stfpm(), run), []
    for name, steps in (("baseline", ()), ("compressed", (Distill(student=0.5, epochs=1), Quantize()))):
        priced = price(_plan(*steps), shop, tmp_path / f"{name}-priced")
        written = finish(build(_plan(*steps), shop, 1.0), shop, tmp_path / name)
        assert priced.size == written.size
        scores, samples = score_split(written, shop, "calibration").scores, shop.dataset.samples["calibration"]
        spec = read_spec(written.directory / "artifact.json")
        assert spec.thresholds == fit_thresholds(scores, samples)
        assert spec.threshold == fit_threshold(scores)
        found.append(spec.thresholds)
    assert [sorted(one) for one in found] == [["a", "b"], ["a", "b"]]
    assert found[0] != found[1]


def test_one_category_costs_no_byte(run: RunDirectory, tmp_path: Path) -> None:
    """Its threshold is that of all."""
    written = finish(build(_plan(), _shop(small_stfpm(), run), 1.0), _shop(small_stfpm(), run), tmp_path / "out")
    assert "thresholds" not in json.loads((written.directory / "artifact.json").read_text())


def test_pictures_have_no_monitor(run: RunDirectory, tmp_path: Path) -> None:
    """Their order means nothing."""
    shop = _shop(small_vae(), run)
    assert load_artifact(finish(build(_plan(), shop, 1.0), shop, tmp_path / "out").directory).spec.monitor is None


def test_the_monitor_is_fitted_to_the_compressed_file(run: RunDirectory, tmp_path: Path) -> None:
    """p-values of 300 held-out normals are uniform (KS at 5 %, for a table of 200) by its own table; by the baseline's,
    which knows other scores, they are not.
    """
    shop, tables, artifacts = _frames(small_vae(), run, calibration=200), [], []
    for name, steps in (("baseline", ()), ("compressed", (Distill(student=0.5, epochs=1), Quantize()))):
        written = finish(build(_plan(*steps), shop, 1.0), shop, tmp_path / name)
        artifacts.append(load_artifact(written.directory, cache=False))
        tables.append(artifacts[-1].monitor().table)
    scores = score_pixels(artifacts[1], textures(300, seed=99))
    critical = 1.36 * np.sqrt(1 / 300 + 1 / 200)
    for table, uniform in zip(tables, (False, True), strict=True):
        monitor = Monitor(table, smoothing=0)
        found = kstest([monitor.update(score).p_value for score in scores.tolist()], "uniform").statistic
        assert (found < critical) == uniform


@pytest.mark.parametrize("steps", [(), (Quantize(),), (Distill(student=0.5, epochs=2),)])
def test_pricing_leaves_the_baseline_as_it_is(steps: tuple[Step, ...], run: RunDirectory, tmp_path: Path) -> None:
    """Biases that are all zero are filled in for the price, in a copy: the baseline keeps its zeros."""
    detector = small_stfpm()
    with torch.no_grad():
        for name, weight in detector.module.named_parameters():
            if name.endswith("bias"):
                weight.zero_()
    before = weights_digest(detector.module)
    price(_plan(*steps), _shop(detector, run), tmp_path / "priced")
    assert weights_digest(detector.module) == before


def test_pricing_trains_nothing(run: RunDirectory, tmp_path: Path) -> None:
    """No epoch is run, and training pictures are not even read."""
    data = dataset()

    def read(sample: object, size: tuple[int, int]) -> np.ndarray:
        name = sample.file  # type: ignore[attr-defined]
        assert name.startswith("calibration"), name
        return data.read(sample, size)  # type: ignore[arg-type]

    shop = Workshop(small_stfpm(), replace(data, read=read), target(), run, seed=0, key="k")
    plan = _plan(Quantize(), Distill(student=0.5, teacher=0.5), Prune(keep=0.5))
    assert all(record.epochs == 0 for record in build(plan, shop, 0.0).trail)
    price(plan, shop, tmp_path / "priced")


def test_passes_never_see_test_images(run: RunDirectory, tmp_path: Path) -> None:
    """Building and finishing read training and calibration normals, and nothing that could be an anomaly."""
    data, seen = dataset(), set[SplitName]()

    def read(sample: object, size: tuple[int, int]) -> np.ndarray:
        seen.add(sample.file.split("/")[0])  # type: ignore[attr-defined]
        return data.read(sample, size)  # type: ignore[arg-type]

    shop = Workshop(small_vae(), replace(data, read=read), target(), run, seed=0, key="k")
    finish(build(_plan(Distill(student=0.5, epochs=1), Quantize()), shop, 1.0), shop, tmp_path / "out")
    assert seen == {"train", "calibration"}


@pytest.mark.parametrize("family", FAMILIES)
def test_rungs_scale_epochs(family: str, run: RunDirectory) -> None:
    """The trail says what each step trained, at each share of the effort."""
    shop = _shop(small(family), run)
    plan = _plan(Distill(student=0.5, epochs=8), Quantize())
    for effort, epochs in ((0.25, 2), (0.5, 4)):
        trail = build(plan, shop, effort).trail
        assert [record.epochs for record in trail] == [epochs, 0]
        assert trail[0].held_out_loss is not None


@pytest.mark.parametrize("family", FAMILIES)
def test_a_training_comes_from_the_store_the_second_time(family: str, run: RunDirectory) -> None:
    """Weights, formats and trail are those of the first; another rung or inputs are another training."""
    shop = _shop(small(family), run)
    plan = _plan(Distill(student=0.5, epochs=2), Quantize(), Fp16())
    first, again = build(plan, shop, 1.0), build(plan, shop, 1.0)
    trained = {"seconds": True}
    assert again.trail[0] == first.trail[0]  # seconds included: nothing was trained
    assert [one.model_dump(exclude=trained) for one in again.trail] == [
        one.model_dump(exclude=trained) for one in first.trail
    ]
    assert (again.detector.formats, again.detector.config) == (first.detector.formats, first.detector.config)
    assert weights_digest(again.detector.module) == weights_digest(first.detector.module)
    assert export_detector(again.detector, target()).model == export_detector(first.detector, target()).model
    assert build(plan, replace(shop, key="other"), 1.0).trail != first.trail


def test_a_fresh_store_gives_the_same_file(tmp_path: Path) -> None:
    """The same plan, inputs and seed: the same bytes, whatever was built before it."""
    files = []
    other = _plan(Distill(student=1.0, teacher=0.5, epochs=2))
    plan = _plan(Distill(student=0.5, teacher=0.5, epochs=2), Quantize())
    for number, before in enumerate(((), (other,))):
        with RunDirectory.open(tmp_path / f"run{number}") as run:
            shop = _shop(small_stfpm(), run)
            for earlier in before:
                price(plan, shop, tmp_path / "untrained")
                build(earlier, shop, 1.0)
            files.append(export_detector(build(plan, shop, 1.0).detector, target()).model)
    assert files[0] == files[1]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_threshold_is_exceeded_by_few_calibration_normals(family: str, run: RunDirectory, tmp_path: Path) -> None:
    """It is fitted through the file, after every change of the network, and is what `artifact.json` says."""
    shop = _shop(small(family), run)
    written = finish(build(_plan(Quantize()), shop, 1.0), shop, tmp_path / "out")
    scores = score_split(written, shop, "calibration").scores
    assert written.threshold == pytest.approx(np.quantile(scores, 0.95))
    assert json.loads((tmp_path / "out" / "artifact.json").read_text())["threshold"] == written.threshold


def test_scores_of_a_split_are_in_the_order_of_its_samples(run: RunDirectory, tmp_path: Path) -> None:
    """Through the file, equal to PyTorch's within the tolerance of the parity gate."""
    shop = _shop(small_stfpm(), run)
    written = finish(build(_plan(), shop, 1.0), shop, tmp_path / "out")
    scored = score_split(written, shop, "selection")
    expected = score_images(shop.baseline.deployed(), shop.dataset.images("selection", (32, 32)))
    assert scored.labels.tolist() == [0, 1] * 4
    np.testing.assert_allclose(scored.scores, expected, rtol=1e-3)


def test_what_the_user_has_installed_is_not_looked_at(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threshold and scores of a candidate are those of its own file."""

    def looked(*_: object) -> None:
        raise AssertionError("a cached graph was looked for")

    monkeypatch.setattr("budgetc.runtime.artifact.cached_graph", looked)
    shop = _shop(small_stfpm(), run)
    score_split(finish(build(_plan(), shop, 1.0), shop, tmp_path / "out"), shop, "selection")


def test_a_file_that_is_not_the_network_is_not_finished(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bias that is lost between network and file is caught before anybody measures."""

    def lossy(detector: Detector, wanted: object) -> object:
        broken = small_stfpm()
        with torch.no_grad():
            for name, weight in broken.module.named_parameters():
                if name.endswith("norm.bias"):
                    weight.zero_()
        return export_detector(broken, target())

    monkeypatch.setattr("budgetc.candidate.export_detector", lossy)
    shop = _shop(small_stfpm(), run)
    with pytest.raises(BudgetcError, match="differ from the reference"):
        finish(build(_plan(), shop, 1.0), shop, tmp_path / "out")


def test_the_written_directory_is_an_artifact(run: RunDirectory, tmp_path: Path) -> None:
    """The runtime loads it; a map is declared only where there is one."""
    for family, has_map in (("stfpm", True), ("vae", False)):
        shop = replace(_shop(small(family), run), key=family)
        written = price(_plan(), shop, tmp_path / family)
        assert (load_artifact(written.directory).spec.map is not None) is has_map


@pytest.mark.parametrize(
    ("step", "family", "changes", "said"),
    [
        (Quantize(), "stfpm", {"dtypes": ("fp32",)}, "no INT8 kernels"),
        (Fp16(), "stfpm", {"dtypes": ("fp32",)}, "does not take FP16"),
        (Quantize(scope="student"), "vae", {}, "one network"),
        (Distill(teacher=0.5), "vae", {}, "no teacher"),
        (Qat(), "stfpm", {}, "a quantize step"),
    ],
)
def test_plans_that_cannot_be_built_say_why(step: Step, family: str, changes: dict[str, object], said: str) -> None:
    """Before anything is built, by target and family."""
    assert said in (applicable(_plan(step), family, target(**changes)) or "")


@pytest.mark.parametrize("family", FAMILIES)
def test_plans_that_can_be_built_have_no_objection(family: str) -> None:
    """None means go."""
    assert applicable(_plan(Quantize(), Distill(), Prune(), Fp16()), family, target()) is None


def test_what_was_trained_on_the_way_is_what_a_shorter_plan_trains(run: RunDirectory, tmp_path: Path) -> None:
    """So that the store may hand it to one: same weights, same trail but for the time it took."""
    steps = (Quantize(), Distill(student=0.5, epochs=2), Prune(keep=0.5, epochs=2))
    build(_plan(*steps), _shop(small_stfpm(), run), 1.0)
    kept = recall(_plan(*steps[:2]), _shop(small_stfpm(), run))
    with RunDirectory.open(tmp_path / "other") as other:
        trained = build(_plan(*steps[:2]), _shop(small_stfpm(), other), 1.0)
    assert kept is not None
    assert weights_digest(kept.detector.module) == weights_digest(trained.detector.module)
    assert kept.detector.formats == trained.detector.formats
    losses = [[step.training_loss for step in one.trail] for one in (kept, trained)]
    assert losses[0] == losses[1]


def test_nothing_is_trained_to_recall_a_plan(run: RunDirectory) -> None:
    """None where a training is missing; where nothing trains, the detector itself."""
    shop = _shop(small_stfpm(), run)
    assert recall(_plan(Distill(student=0.5, epochs=2)), shop) is None
    quantized = recall(_plan(Quantize()), shop)
    assert quantized is not None and quantized.detector.formats
    assert not [event for event in run.events if event.event == "training"]
