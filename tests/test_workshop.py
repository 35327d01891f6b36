"""Keys hold what a result depends on and nothing else; what the store knows is not computed again."""

from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from budgetc import workshop
from budgetc.candidate import build, finish, price, score_split
from budgetc.core.dataset import Sample
from budgetc.core.plan import Distill, Plan, Prune, Quantize, Step
from budgetc.detectors.detector import weights_digest
from budgetc.runtime.artifact import load_artifact
from budgetc.store.run_directory import RunDirectory
from budgetc.workshop import Memory, Workshop, circumstances, file_key, price_key, training_key
from tests.small import dataset, small_stfpm, target

DISTILL = Distill(student=0.5, epochs=1)


def plan(*steps: Step, seed: int = 0, recipe: str = "test") -> Plan:
    return Plan(recipe=recipe, steps=steps, seed=seed)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunDirectory]:
    """A run directory of its own."""
    with RunDirectory.open(tmp_path / "run") as opened:
        yield opened


def shop_with(run: RunDirectory, **changes: object) -> Workshop:
    return Workshop(small_stfpm(), dataset(), target(**changes), run, seed=0, key="k")


@pytest.mark.parametrize(
    "changes", [{"name": "other"}, {"threads": 2}, {"max_opset": 13}, {"weight_levels": 127}, {"dtypes": ("fp32",)}]
)
def test_a_training_does_not_depend_on_the_target(run: RunDirectory, changes: dict[str, object]) -> None:
    """Distilling and pruning FP32 networks is the same for every device, even where INT8 follows."""
    steps = plan(DISTILL, Prune(keep=0.5), Quantize())
    assert training_key(steps, shop_with(run, **changes), 1.0) == training_key(steps, shop_with(run), 1.0)


def test_training_under_rounding_depends_on_the_levels_only(run: RunDirectory) -> None:
    """What is quantized before it is trained feels how coarse the target's weights are."""
    steps = plan(Quantize(), DISTILL)
    here = training_key(steps, shop_with(run), 1.0)
    assert training_key(steps, shop_with(run, weight_levels=127), 1.0) != here
    assert training_key(steps, shop_with(run, name="other", threads=2, max_opset=13), 1.0) == here


@pytest.mark.parametrize("levels", [63, 127])
def test_weights_of_a_file_span_what_the_target_multiplies(run: RunDirectory, levels: int, tmp_path: Path) -> None:
    """Where an x86 CPU lacks VNNI, products of larger ones saturate there, and nowhere else."""
    shop = shop_with(run, weight_levels=levels)
    written = finish(build(plan(Quantize()), shop, 1.0), shop, tmp_path / "out")
    model = onnx.load_model(written.files() / "model.onnx")
    integers = [numpy_helper.to_array(one) for one in model.graph.initializer if one.data_type == TensorProto.INT8]
    assert max(int(np.abs(one.astype(int)).max()) for one in integers) == levels


def test_a_training_depends_on_what_matters(run: RunDirectory) -> None:
    """Steps, seeds, rung and inputs; not the recipe's name, not what follows the last training step."""
    shop = shop_with(run)
    here = training_key(plan(DISTILL), shop, 1.0)
    assert training_key(plan(DISTILL, Quantize(), recipe="another"), shop, 1.0) == here
    others = [
        training_key(plan(Distill(student=0.25, epochs=1)), shop, 1.0), training_key(plan(DISTILL, seed=1), shop, 1.0),
        training_key(plan(DISTILL), shop, 0.3), training_key(plan(DISTILL), replace(shop, key="other"), 1.0),
        training_key(plan(DISTILL), replace(shop, seed=1), 1.0),
    ]  # fmt: skip
    assert len({here, *others}) == 6
    assert training_key(plan(Quantize()), shop, 1.0) is None


def test_a_price_depends_on_how_the_target_takes_files(run: RunDirectory) -> None:
    """Not on what the target is called."""
    here = price_key(plan(DISTILL), shop_with(run))
    assert price_key(plan(DISTILL), shop_with(run, name="other", description="another")) == here
    assert price_key(plan(DISTILL), shop_with(run, max_opset=13)) != here


@pytest.mark.parametrize("package", ["budgetc", "numpy", "onnxruntime", "pillow"])
def test_scores_and_times_depend_on_what_decodes_and_runs(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Another version of what reads, resizes or scores a picture: nothing that is known of it holds."""
    here = circumstances(1)
    monkeypatch.setattr(workshop, "version", lambda name: "other" if name == package else version(name))
    assert circumstances(1) != here


def test_scores_and_times_depend_on_the_threads() -> None:
    """Sums are added in another order, and faster."""
    assert circumstances(2) != circumstances(1)


def test_scores_of_other_circumstances_are_not_served(
    monkeypatch: pytest.MonkeyPatch, run: RunDirectory, tmp_path: Path
) -> None:
    """The same file and split, but another version of what reads pictures: they are read again."""
    shop, seen = shop_with(run), list[str]()
    written = finish(build(plan(), shop, 1.0), shop, tmp_path / "first")
    score_split(written, shop, "selection")
    monkeypatch.setattr(workshop, "version", lambda name: "other" if name == "pillow" else version(name))
    score_split(written, counting(shop, seen), "selection")
    assert len(seen) == 8


def test_results_of_older_code_are_not_served(monkeypatch: pytest.MonkeyPatch, run: RunDirectory) -> None:
    """Whoever changes what the same inputs give raises one number, and prices, files and scores are found anew."""
    shop = shop_with(run)

    def keys() -> list[object]:
        return [price_key(plan(DISTILL), shop), file_key(shop.baseline, shop), circumstances(1)]

    here = keys()
    monkeypatch.setattr(workshop, "RESULTS", -1)
    assert all(now != then for now, then in zip(keys(), here, strict=True))


def test_a_known_price_writes_no_files_until_they_are_wanted(run: RunDirectory, tmp_path: Path) -> None:
    """The same figures; the files are the same too, once somebody asks for them."""
    shop = shop_with(run)
    first = price(plan(DISTILL), shop, tmp_path / "first")
    again = price(plan(DISTILL), shop, tmp_path / "again")
    assert (again.size, again.structure, again.parameters) == (first.size, first.structure, first.parameters)
    assert not (tmp_path / "again").exists()
    assert (again.files() / "model.onnx").read_bytes() == (first.files() / "model.onnx").read_bytes()


def counting(shop: Workshop, seen: list[str]) -> Workshop:
    """The workshop of another run, which notes every image that is read."""
    data = dataset()

    def read(sample: Sample, size: tuple[int, int]) -> np.ndarray:
        seen.append(sample.file)
        return data.read(sample, size)

    return replace(shop, dataset=replace(data, read=read), memory=Memory())


def test_a_finished_file_comes_from_the_store(run: RunDirectory, tmp_path: Path) -> None:
    """Bytes and threshold are those of the first; no image is read, and the runtime accepts it."""
    shop, seen = shop_with(run), list[str]()
    first = finish(build(plan(), shop, 1.0), shop, tmp_path / "first")
    again = finish(build(plan(), shop, 1.0), counting(shop, seen), tmp_path / "again")
    assert seen == []
    assert (again.size, again.threshold, again.structure) == (first.size, first.threshold, first.structure)
    assert load_artifact(again.directory).spec == load_artifact(first.directory).spec


def test_a_finished_file_whose_record_is_lost_is_finished_again(run: RunDirectory, tmp_path: Path) -> None:
    """A crash between the two writes costs one step."""
    shop = shop_with(run)
    first = finish(build(plan(), shop, 1.0), shop, tmp_path / "first")
    for record in (run.path / "results").glob("*/*.json"):
        record.unlink()
    again = finish(build(plan(), shop, 1.0), shop, tmp_path / "again")
    assert (again.size, again.threshold) == (first.size, first.threshold)


def test_scores_come_from_the_store(run: RunDirectory, tmp_path: Path) -> None:
    """By the file's digest and the split's images: the same file elsewhere is not run again, another split is."""
    shop, seen = shop_with(run), list[str]()
    written = finish(build(plan(), shop, 1.0), shop, tmp_path / "first")
    first = score_split(written, shop, "selection")
    other = counting(shop, seen)
    again = score_split(finish(build(plan(), shop, 1.0), other, tmp_path / "again"), other, "selection")
    np.testing.assert_array_equal(again.scores, first.scores)
    assert seen == []
    score_split(written, other, "confirmation")
    assert len(seen) == 8


@pytest.mark.parametrize("step", [Distill(student=0.5, teacher=0.5, epochs=1), Prune(keep=0.5, teacher=0.5, epochs=1)])
def test_a_shared_teacher_comes_from_the_store(run: RunDirectory, step: Distill | Prune) -> None:
    """Another process that trains another student under the same teacher gets the very same network."""
    shop = shop_with(run)
    narrow = step.model_copy(update={"student": 0.25} if isinstance(step, Distill) else {"keep": 0.25})
    build(plan(step), shop, 1.0)
    here = build(plan(narrow), replace(shop, memory=Memory()), 1.0)
    with RunDirectory.open(run.path.with_name("alone")) as other:
        alone = build(plan(narrow), replace(shop, run=other, memory=Memory()), 1.0)
    assert weights_digest(here.detector.module) == weights_digest(alone.detector.module)
    known = len(list((run.path / "results").glob("*/*.blob")))
    assert known == 3  # two trainings, one teacher


def test_memory_forgets_other_inputs() -> None:
    """Pictures and features belong to one model and one split of the data."""
    memory, first, second = Memory(), small_stfpm(), small_stfpm()
    assert memory.admit("k", 0, first, dataset())[0] is first
    memory.networks["teacher"] = first.module
    assert memory.admit("k", 0, second, dataset())[0] is first
    assert "teacher" in memory.networks
    assert memory.admit("other", 0, second, dataset())[0] is second
    assert not memory.networks
