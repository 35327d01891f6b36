"""A cost model scaled to a board that is known to be twice as slow as predicted."""

import json
import math
import zipfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from budgetc.compiler.calibrating import (
    Calibration,
    Compared,
    Question,
    _job,
    _subjects,
    calibrate_imported,
    calibrate_kit,
    doubt_of,
    fitted,
    target_text,
)
from budgetc.core.cost import CostModel
from budgetc.errors import InputRejected, UsageError
from budgetc.load.config import load_target
from budgetc.measurement.predicted import predict
from tests.runtime.tiny import tiny_model, write_artifact

TARGET = "x86-avx2"


def calibration(*ratios: float, before: float = 3.0) -> Calibration:
    """Files whose graphs took so many times the prediction."""
    files = tuple(
        Compared(file=f"{i}.pt", graph_ms=r, predicted_graph_ms=1.0, preprocess_ms=before, predicted_preprocess_ms=1.0,
                 p95_over_p50=1.1, base_mib=40.0)
        for i, r in enumerate(ratios)
    )  # fmt: skip
    return Calibration(
        target=TARGET, device="board kit: Board, 1 thread", runtime="onnxruntime 1.16.3", graph_scale=sorted(ratios)[1],
        preprocess_scale=before, doubt=doubt_of(ratios), files=files,
    )  # fmt: skip


def shipped() -> CostModel:
    """The cost model to start from."""
    cost = load_target(TARGET).target.cost
    assert cost is not None
    return cost


def test_predictions_are_those_of_the_board(tmp_path: Path) -> None:
    """The file that is written predicts a graph's time twice as long, decoding three times, and says of which board."""
    before = load_target(TARGET)
    path = tmp_path / "mine.yaml"
    path.write_text(target_text(before, calibration(1.9, 2.0, 2.1), "mine"))
    after = load_target(path).target
    model = tiny_model(layers=3, channels=16)
    old, new = predict(model, before.target), predict(model, after)
    assert new.graph_ms == pytest.approx(2 * old.graph_ms, rel=1e-2)
    assert new.latency_ms - new.graph_ms == pytest.approx(3 * (old.latency_ms - old.graph_ms), rel=1e-2)
    assert after.name == "mine" and after.cost is not None
    assert after.cost.p99_over_mean.value >= after.cost.p95_over_mean.value == 1.1
    assert "onnxruntime 1.16.3 on board kit" in after.cost.describes
    assert path.read_text().startswith("# An x86-64 CPU")


def test_the_interval_follows_from_the_scatter() -> None:
    """Files that agree leave little doubt, but some; files that do not, much; too few say nothing."""
    alike, apart, few = doubt_of([2.0, 2.0, 2.0]), doubt_of([1.0, 2.0, 4.0]), doubt_of([2.0, 2.0])
    assert alike.upper == pytest.approx(1.05)
    assert few.upper == pytest.approx(1.3) and "assumption" in few.source
    # t(0.95, 2) = 2.92, of log 1, 2, 4: sd = log 2
    assert apart.upper == pytest.approx(math.exp(2.92 * math.log(2) * math.sqrt(4 / 3)), rel=1e-3)
    assert apart.lower == pytest.approx(1 / apart.upper)
    assert fitted(shipped(), calibration(1.9, 2.0, 2.1)).runtime_doubt.upper < shipped().runtime_doubt.upper


def empty_results(question: Question, path: Path, **fields: object) -> Path:
    """A results.json of these very files that holds nothing."""
    with ExitStack() as opened:
        files = _job(question, _subjects(question, opened)).packed().files
    found = {"schema_version": 1, "id": "x", "files": dict(files), "load": 0, "error": None, "board": {},
             "versions": {}, "samples": [], "done": [], **fields}  # fmt: skip
    path.write_text(json.dumps(found))
    return path


def test_results_without_figures_are_refused(tmp_path: Path) -> None:
    """With what is missing, and of which file."""
    question = Question(TARGET, [write_artifact(tmp_path / "artifact")])
    results = empty_results(question, tmp_path / "results.json")
    with pytest.raises(InputRejected, match=r"hold no latency_p50, .* of .*artifact"):
        calibrate_imported(question, results, tmp_path / "mine.yaml")


def test_a_target_that_predicts_nothing_is_refused(tmp_path: Path) -> None:
    """There is nothing to scale."""
    (tmp_path / "results.json").write_text(
        '{"schema_version": 1, "id": "x", "files": {}, "load": 0, "error": null, "board": {}, "versions": {}, '
        '"samples": [], "done": []}'
    )
    with pytest.raises(UsageError, match="has no cost model"):
        calibrate_imported(Question("host-cpu", [tmp_path]), tmp_path / "results.json", tmp_path / "mine.yaml")
    with pytest.raises(UsageError, match="no files to measure"):
        calibrate_imported(Question(TARGET, []), tmp_path / "results.json", tmp_path / "mine.yaml")


def test_results_of_other_files_are_refused(tmp_path: Path) -> None:
    """A scale is about files that were measured."""
    small, large = (write_artifact(tmp_path / str(layers), layers=layers) for layers in (1, 2))
    results = empty_results(Question(TARGET, [small]), tmp_path / "results.json")
    with pytest.raises(InputRejected, match="was measured with another file0/"):
        calibrate_imported(Question(TARGET, [large]), results, tmp_path / "mine.yaml")
    assert not (tmp_path / "mine.yaml").exists()


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"load": 8}, "beside 8 busy processes"),
     ({"samples": [{"after": "screen", "throttled_by": ["cpu"]}]}, "throttled by cpu")],
)  # fmt: skip
def test_a_board_that_was_not_at_rest_is_no_scale(tmp_path: Path, fields: dict[str, object], message: str) -> None:
    """Its figures are not those of the next hour."""
    question = Question(TARGET, [write_artifact(tmp_path / "artifact")])
    results = empty_results(question, tmp_path / "results.json", **fields)
    with pytest.raises(InputRejected, match=message):
        calibrate_imported(question, results, tmp_path / "mine.yaml")


def test_one_graph_twice_is_refused(tmp_path: Path) -> None:
    """It would pass for files that agree."""
    same = [write_artifact(tmp_path / name) for name in ("one", "two")]
    with pytest.raises(UsageError, match="one graph twice tells no scatter"):
        calibrate_kit(Question(TARGET, same), tmp_path / "kit.zip")


def test_the_command_of_a_kit_works_as_printed(tmp_path: Path) -> None:
    """Quoted, with every option."""
    question = Question(TARGET, [write_artifact(tmp_path / "an artifact")], group="a|b")
    calibrate_kit(question, tmp_path / "kit.zip")
    with zipfile.ZipFile(tmp_path / "kit.zip") as kit:
        text = kit.read("README.txt").decode()
    assert f"'{tmp_path}/an artifact' -o TARGET.yaml --group 'a|b' --import results.json" in text
