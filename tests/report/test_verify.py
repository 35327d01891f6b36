"""Verification: every way to tamper with an artifact has its own sentence."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from budgetc.errors import InputRejected
from budgetc.report.verify import check_artifact, read_report, verify_artifact
from tests.report.example import described, with_limits, write_out


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a JSON file in place."""
    content = json.loads(path.read_bytes())
    change(content)
    path.write_text(json.dumps(content))


def edit_report(out: Path, change: Callable[[dict[str, Any]], object]) -> None:
    edit(out / "report.json", change)


def edit_artifact(out: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change artifact.json and hide it: digest and size in the report follow."""
    edit(out / "artifact.json", change)
    data = (out / "artifact.json").read_bytes()

    def follow(report: dict[str, Any]) -> None:
        report["outputs"]["artifact.json"] = hashlib.sha256(data).hexdigest()
        report["artifact"]["files"]["artifact.json"] = len(data)
        total = sum(report["artifact"]["files"].values())
        for one in report["artifact"]["measurements"]:
            if one["metric"] == "artifact_size":
                one["value"] = total
        for limit in report["verdict"]["limits"]:
            if limit["limit"] == "artifact_size":
                limit["measurement"]["value"] = total
                limit["margin"] = 1 - total / limit["bound"]

    edit_report(out, follow)


def append(out: Path, name: str) -> None:
    with (out / name).open("ab") as file:
        file.write(b"x")


def sole_problem(out: Path) -> str:
    result = verify_artifact(out)
    assert not result.holds
    assert len(result.problems) == 1, result.problems
    return result.problems[0]


def test_a_whole_artifact_holds(out: Path) -> None:
    """Every check is named and passes; the verdict is derived again."""
    result = verify_artifact(out)
    assert result.problems == ()
    assert result.holds
    assert len(result.checks) == 10
    assert result.verdict is not None and result.verdict.overall == "compliant"


def test_hiding_a_change_of_artifact_json_needs_more_than_its_digest(out: Path) -> None:
    """The tool of the tests below works: a change of no meaning, well hidden, is the one that passes."""
    edit_artifact(out, lambda spec: spec)
    assert verify_artifact(out).problems == ()


@pytest.mark.parametrize("name", ["model.onnx", "device/score.py", "device/config.json", "report.md", "report.html"])
def test_a_changed_file(out: Path, name: str) -> None:
    """Its digest gives it away."""
    data = bytearray((out / name).read_bytes())
    data[0] ^= 1
    (out / name).write_bytes(bytes(data))
    assert sole_problem(out) == f"{name} was changed after it was written: its sha256 is not the one in report.json"


def test_a_missing_file(out: Path) -> None:
    """Named."""
    (out / "device" / "score.py").unlink()
    assert sole_problem(out).startswith("device/score.py is missing")


def test_a_link_in_place_of_a_file(out: Path, tmp_path: Path) -> None:
    """Even to the same bytes: they could change later."""
    (out / "device" / "score.py").rename(tmp_path / "elsewhere")
    (out / "device" / "score.py").symlink_to(tmp_path / "elsewhere")
    assert sole_problem(out).startswith("device/score.py is missing, or is not a plain file")


@pytest.mark.parametrize("name", ["notes.txt", "device/extra.py", ".hidden"])
def test_a_foreign_file(out: Path, name: str) -> None:
    """OUT is the artifact and nothing else."""
    (out / name).write_text("x")
    assert sole_problem(out) == f"'{name}' is in the artifact's directory, but not in report.json"


@pytest.mark.parametrize("name", ["model.onnx", "device/config.json", "report.md", "report.html"])
def test_a_file_without_a_digest(out: Path, name: str) -> None:
    """It could be changed and nothing would tell."""
    edit_report(out, lambda report: report["outputs"].pop(name))
    assert (
        f"{name} has no digest in report.json: nothing would tell if it were changed" in verify_artifact(out).problems
    )


def test_a_report_cannot_point_outside(out: Path) -> None:
    """Only the files of an artifact are opened."""
    edit_report(out, lambda report: report["outputs"].update({"../../etc/passwd": "0" * 64}))
    assert sole_problem(out) == "report.json: outputs names '../../etc/passwd', which is no file of an artifact"


def test_sizes_on_disk(out: Path) -> None:
    """A report that claims fewer bytes."""
    edit_report(out, lambda report: report["artifact"]["files"].update({"model.onnx": 1000}))
    assert sole_problem(out) == "model.onnx has 422400 bytes, report.json says 1000"


def test_a_file_that_is_not_counted(out: Path) -> None:
    """Leaving the graph out makes an artifact look small."""
    edit_report(out, lambda report: report["artifact"]["files"].pop("model.onnx"))
    assert sole_problem(out) == "model.onnx is deployed, but report.json does not count its bytes"


def test_a_counted_file_that_is_not_deployed(out: Path) -> None:
    """Nor may the files name what is no part of the artifact."""
    edit_report(out, lambda report: report["artifact"]["files"].update({"../x": 1}))
    assert "artifact.files names '../x', which is no deployed file" in sole_problem(out)


def test_a_size_that_is_no_sum(out: Path) -> None:
    """The measured size is that of the files, also where the verdict was made to fit."""
    result_before = verify_artifact(out)
    assert result_before.holds

    def change(report: dict[str, Any]) -> None:
        (size,) = (one for one in report["artifact"]["measurements"] if one["metric"] == "artifact_size")
        size["value"] -= 1000

    edit_report(out, change)
    assert any("artifact_size is 421" in problem and "its files add up to" in problem
               for problem in verify_artifact(out).problems)  # fmt: skip


def test_a_better_verdict_than_the_measurements(out: Path) -> None:
    """The stored measurement breaks the limit; the stored verdict says compliant."""

    def change(report: dict[str, Any]) -> None:
        report["budget"]["limits"]["latency_p95"] = "10 ms"

    edit_report(out, change)
    assert sole_problem(out) == ("report.json: the verdict says 'compliant', its own measurements say 'not compliant'")


def test_a_verdict_changed_in_a_detail(out: Path) -> None:
    """The overall word agrees, a margin does not."""
    edit_report(out, lambda report: report["verdict"]["limits"][0].update(margin=0.9))
    assert "the verdict is not the one that follows from its own measurements" in sole_problem(out)


def test_a_stopped_run_that_says_compliant(out: Path) -> None:
    """A partial report is never compliant."""
    edit_report(out, lambda report: report.update(complete=False))
    assert sole_problem(out) == "report.json: the verdict says 'compliant', its own measurements say 'inconclusive'"


@pytest.mark.parametrize("chosen", [None, "0123456789"])
def test_a_choice_that_is_no_candidate(out: Path, chosen: str | None) -> None:
    """The artifact must be one of the candidates."""
    edit_report(out, lambda report: report.update(chosen=chosen))
    assert sole_problem(out) == f"report.json: chosen is {chosen!r}, which is not one of its 5 candidates"


def test_another_threshold(out: Path) -> None:
    """The false alarms in the report are those of its threshold."""
    edit_artifact(out, lambda spec: spec.update(threshold=0.5))
    assert sole_problem(out) == "artifact.json: threshold is 0.5, report.json judged 0.0314159265"


def test_another_threshold_of_a_category(out: Path) -> None:
    """Those that `run --category` judges by are in the report, too."""
    edit_artifact(out, lambda spec: spec.update(thresholds={"brick": 0.5}))
    assert sole_problem(out) == "artifact.json: threshold of 'brick' is 0.5, report.json judged None"


def test_another_model_digest(out: Path) -> None:
    """artifact.json and report.json speak of the same graph."""
    edit_artifact(out, lambda spec: spec.update(model_sha256="0" * 64))
    assert sole_problem(out) == "artifact.json: model_sha256 is not the digest of model.onnx in report.json"


def test_another_detector(out: Path) -> None:
    """And of the same detector."""
    edit_artifact(out, lambda spec: spec.update(detector="vae"))
    assert sole_problem(out) == "artifact.json: detector is 'vae', report.json says 'stfpm'"


def test_an_unknown_field_in_artifact_json(out: Path) -> None:
    """It may change the meaning of the others."""
    edit_artifact(out, lambda spec: spec.update(magic=1))
    assert "artifact.json: magic: Extra inputs are not permitted" in verify_artifact(out).problems[0]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"", "Invalid JSON"), (b"{", "Invalid JSON"), (b"[]", "should be an object"), (b"\xff\xfe", "Invalid JSON"),
     (b"[" * 100_000, "recursion limit"), (b'{"schema_version": 2}', "schema_version")],
)  # fmt: skip
def test_a_report_that_is_none(out: Path, content: bytes, sentence: str) -> None:
    """One sentence, and nothing further is checked."""
    (out / "report.json").write_bytes(content)
    result = verify_artifact(out)
    assert [check.problem is None for check in result.checks] == [False]
    assert result.verdict is None
    assert result.problems[0].startswith("report.json: ")
    assert sentence in result.problems[0]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(position=st.integers(min_value=0), flip=st.integers(min_value=1, max_value=255))
def test_one_byte_of_an_output_never_goes_unnoticed(out: Path, position: int, flip: int) -> None:
    """Anywhere in any file but report.json itself."""
    names = ["artifact.json", "device/config.json", "device/score.py", "report.md", "report.html"]
    path = out / names[position % len(names)]
    before = path.read_bytes()
    data = bytearray(before)
    data[position % len(data)] ^= flip
    path.write_bytes(bytes(data))
    assert not verify_artifact(out).holds
    path.write_bytes(before)


def test_no_report(out: Path) -> None:
    """The artifact without its proof."""
    (out / "report.json").unlink()
    assert "report.json is missing" in sole_problem(out)


def test_no_directory(tmp_path: Path) -> None:
    """Nothing to verify is an input error, not a failed check."""
    with pytest.raises(InputRejected, match="is not a directory; an artifact is a directory with"):
        verify_artifact(tmp_path / "nowhere")


def test_a_refusal_on_disk_is_no_artifact(tmp_path: Path) -> None:
    """Nothing complied, nothing was kept: verify says that there is nothing to deploy."""
    out = tmp_path / "out"
    write_out(out, lambda digests, size: described({}, size, artifact=None, comparison=None, chosen=None, why=""))
    for name in ("model.onnx", "artifact.json", "device/config.json", "device/score.py"):
        (out / name).unlink()
    assert sole_problem(out) == "report.json describes no artifact (nothing complied): there is nothing to deploy"


def test_check_against_another_budget(out: Path) -> None:
    """The gate of the next release: the same measurements, other limits."""
    report = read_report(out)
    assert check_artifact(out, report.budget).overall == "compliant"
    assert check_artifact(out, with_limits(report, latency_p95="10 ms")).overall == "not compliant"
    assert check_artifact(out, with_limits(report, latency_p95="18 ms")).overall == "inconclusive"


def test_check_does_not_judge_what_was_changed(out: Path) -> None:
    """A verdict on other files would be worth nothing."""
    append(out, "model.onnx")
    with pytest.raises(InputRejected, match=r"cannot be judged.*model\.onnx was changed"):
        check_artifact(out, described({}, 0).budget)


def test_verify_needs_neither_torch_nor_onnx(out: Path) -> None:
    """In an interpreter where importing them fails, both verify and check work."""
    script = """
import sys
for name in ("torch", "torch_pruning", "onnx", "onnxruntime", "onnxsim", "scipy", "numpy"):
    sys.modules[name] = None
from pathlib import Path
from budgetc.report.verify import check_artifact, read_report, verify_artifact
out = Path(sys.argv[1])
print(verify_artifact(out).holds, check_artifact(out, read_report(out).budget).overall)
"""
    done = subprocess.run([sys.executable, "-c", script, str(out)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "True compliant\n"), done.stderr


def test_a_damaged_monitor_is_found(out: Path) -> None:
    """Its table is decoded, even where digest and size in the report follow the change."""
    block = {"scores": "AgABAA==", "lowest": 0.0, "step": 0.1, "drift": 0.0, "threshold": 1.0, "run_length": 1000}

    def add(spec: dict[str, Any]) -> None:
        spec["monitor"] = {**block, "window": 20}

    edit_artifact(out, add)
    problems = verify_artifact(out).problems
    assert "artifact.json: monitor: Value error, monitor: scores are not in ascending order" in problems[0]
