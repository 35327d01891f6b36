"""The scripts of a job on this machine: what a kit does, without any link."""

import fcntl
import json
import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from budgetc.errors import InputRejected, UsageError
from budgetc.measurement.board.job import SCRIPTS, Job
from budgetc.measurement.board.kit import PAIRS, BoardNeeded, KitMeter, kit_job, read_kits
from budgetc.measurement.board.meter import Conditions, memory_part, screen_part, soak_part
from budgetc.measurement.board.parts import SoakPart
from budgetc.measurement.board.results import parse_results, read_results
from budgetc.measurement.latency import LatencyResult, Pairs
from budgetc.runtime import load_artifact
from budgetc.runtime.device_lock import locked
from tests.measurement.scene import write_images
from tests.runtime import fake_tensorrt
from tests.runtime.test_device_engine import fake_board
from tests.runtime.tiny import write_artifact
from tests.small import target


def unpack(job: Job, place: Path) -> Path:
    """The kit, as somebody unpacks it."""
    zipfile.ZipFile(BytesIO(job.packed().data)).extractall(place)
    return place


def run(place: Path) -> "subprocess.CompletedProcess[str]":
    """`python3 run_me.py`, as somebody who has the kit and nothing else."""
    environment = {
        **os.environ, "BUDGETC_BOARD_LOCK": str(place / "board.lock"), "PYTHONPATH": "",
        "PATH": f"{place / 'bin'}:{os.environ['PATH']}", "XDG_CACHE_HOME": str(place / "cache"),
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-I", "run_me.py"], cwd=place, env=environment, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip


def test_all_parts(job: Job, tmp_path: Path) -> None:
    """Times, memory and a soak beside a busy process; samples of the board's state around each."""
    parts = (*job.do, memory_part("artifact", 1), screen_part("artifact", 60), soak_part("artifact", 0.01, row_s=0.2))
    done = run(unpack(replace(job, do=parts, load=1), tmp_path / "kit"))
    assert done.returncode == 0, done.stderr
    assert "4 of 4: soak of artifact" in done.stderr
    found = read_results(tmp_path / "kit" / "results.json")
    assert [part.do for part in found.done] == [part["do"] for part in parts]
    assert [sample.after for sample in found.samples] == ["before", "scores", "memory", "screen", "soak"]
    assert "busy processes beside: 1" in found.device("kit", 1)
    soak = found.done[-1]
    assert isinstance(soak, SoakPart) and soak.drift >= 0


def test_equal_jobs_are_equal_files(job: Job) -> None:
    """So that a job is found again; another part makes another job."""
    assert job.packed() == job.packed()
    assert replace(job, load=1).packed().id != job.packed().id


def test_a_kit_without_images_is_refused(job: Job) -> None:
    """Nothing could be scored."""
    with pytest.raises(UsageError, match="no images"):
        replace(job, images=()).packed()


def test_tensorrt(job: Job, tmp_path: Path) -> None:
    """The engine is built once, in the user's own cache, and is what is timed; the versions say so."""
    of_nano = target(runtime="tensorrt", compute_unit="gpu", compute_dtype="fp16")
    kit = unpack(replace(job, do=(*job.do, memory_part("artifact", 1)), target=of_nano), tmp_path / "kit")
    fake_board(kit, tmp_path / "log")
    for _ in range(2):
        done = run(kit)
        assert done.returncode == 0, done.stderr
    found = read_results(kit / "results.json")
    assert found.runtime == f"tensorrt {fake_tensorrt.__version__}"
    here = load_artifact(job.subjects["artifact"]).score(job.images[0]).score
    assert found.scores("artifact")[0] == pytest.approx(here + fake_tensorrt.SHIFT, abs=1e-5)
    assert sum("--saveEngine" in line and "--fp16" in line for line in (tmp_path / "log").read_text().splitlines()) == 1


def test_a_board_without_trtexec(job: Job, tmp_path: Path) -> None:
    """Says so, with its own code."""
    kit = unpack(replace(job, target=target(runtime="tensorrt", compute_unit="gpu")), tmp_path / "kit")
    fake_board(kit, tmp_path / "log")
    (kit / "bin" / "trtexec").unlink()
    done = run(kit)
    assert done.returncode == 6
    assert "there is no trtexec" in done.stderr


@pytest.mark.parametrize("name", ["artifact/model.onnx", "images/00.png", "score.py"])
def test_damage_on_the_way_is_seen(job: Job, tmp_path: Path, name: str) -> None:
    """Before anything is measured."""
    kit = unpack(job, tmp_path / "kit")
    with (kit / name).open("ab") as file:
        file.write(b" ")
    done = run(kit)
    assert done.returncode == 2
    assert f"{name}: damaged on the way" in done.stderr
    with pytest.raises(UsageError, match="damaged on the way"):
        read_results(kit / "results.json")


def test_a_busy_board_has_its_own_code(job: Job, tmp_path: Path) -> None:
    """7, with what to do."""
    kit = unpack(job, tmp_path / "kit")
    with (kit / "board.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = run(kit)
    assert done.returncode == 7
    assert "another measurement has the board" in done.stderr


def test_a_failure_leaves_what_was_measured(job: Job, tmp_path: Path) -> None:
    """A kit that is run again, busy or damaged, does not lose its good results."""
    kit = unpack(job, tmp_path / "kit")
    assert run(kit).returncode == 0
    good = (kit / "results.json").read_bytes()
    with (kit / "board.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert run(kit).returncode == 7
    (kit / "score.py").write_text("damaged")
    assert run(kit).returncode == 2
    assert (kit / "results.json").read_bytes() == good


def test_a_busy_board_is_no_result(job: Job, tmp_path: Path) -> None:
    """Of a kit: somebody sits there, and nothing has to be carried back."""
    kit = unpack(job, tmp_path / "kit")
    with (kit / "board.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        run(kit)
    assert not (kit / "results.json").exists()


def test_the_lock_of_a_careful_user_is_open_to_the_next(tmp_path: Path) -> None:
    """Whatever the umask of the first one is."""
    before = os.umask(0o077)
    try:
        os.close(locked(str(tmp_path / "lock")))
    finally:
        os.umask(before)
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("kind", ["pipe", "link", "directory"])
def test_what_lies_where_the_lock_should_be_is_not_used(tmp_path: Path, kind: str) -> None:
    """A pipe is not waited for, a link not followed."""
    path = tmp_path / "lock"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match=r"no regular file|symbolic links"):
        locked(str(path))
    assert not (tmp_path / "elsewhere").exists()


def test_a_stopped_kit_leaves_nothing_in_the_way(job: Job, tmp_path: Path) -> None:
    """SIGTERM ends its processes and removes its temporary files."""
    kit, scratch = unpack(replace(job, do=(soak_part("artifact", 5.0),)), tmp_path / "kit"), tmp_path / "scratch"
    scratch.mkdir()
    environment = {**os.environ, "BUDGETC_BOARD_LOCK": str(kit / "board.lock"), "TMPDIR": str(scratch)}
    with subprocess.Popen([sys.executable, "-I", "run_me.py"], cwd=kit, env=environment, stderr=subprocess.PIPE) as one:
        assert one.stderr is not None and b"1 of 1: soak" in one.stderr.readline()
        assert list(scratch.glob("tmp*"))
        one.terminate()
        assert one.wait(20) == 143
    assert list(scratch.glob("tmp*")) == []


def test_a_kit_that_may_not_be_written_says_so(job: Job, tmp_path: Path) -> None:
    """Without a traceback."""
    kit = unpack(job, tmp_path / "kit")
    (kit / "results.json.part").mkdir()
    done = run(kit)
    assert done.returncode == 6
    assert "needs a directory that may be written" in done.stderr and "Traceback" not in done.stderr


def test_a_kit_runs_once_at_a_time(job: Job, tmp_path: Path) -> None:
    """Two in one directory would write one results.json."""
    kit = unpack(job, tmp_path / "kit")
    with (kit / "job.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = run(kit)
    assert done.returncode == 7
    assert "this very job runs already" in done.stderr


def test_a_missing_module_is_named(job: Job, tmp_path: Path) -> None:
    """With its own code, and what to install; the worker's word is enough."""
    kit = unpack(job, tmp_path / "kit")
    (kit / "worker.py").write_text("import json; print(json.dumps({'missing': 'onnxruntime', 'error': ''}))")
    job_file = json.loads((kit / "job.json").read_text())
    del job_file["files"]["worker.py"]
    (kit / "job.json").write_text(json.dumps(job_file))
    done = run(kit)
    assert done.returncode == 6
    assert "has no module onnxruntime; install it there" in done.stderr


def test_an_onnxruntime_that_is_too_old_is_named(job: Job, tmp_path: Path) -> None:
    """Opset 17 needs 1.12, which needs Python 3.7: said by the README, and by the kit before it measures."""
    kit = unpack(job, tmp_path / "kit")
    assert "onnxruntime 1.12 or newer for Python 3.7" in (kit / "README.txt").read_text()
    (kit / "onnxruntime.py").write_text("__version__ = '1.10.0'")
    done = run(kit)
    assert done.returncode == 6
    assert "has onnxruntime 1.10.0, and the graph needs 1.12 or newer" in done.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 2}, "schema_version"),
        ({"done": [{"do": "scores", "subject": "artifact", "scores": [float("nan")]}]}, "scores"),
        ({"done": [{"do": "guess", "subject": "artifact"}]}, "done"),
        ({"extra": 1}, "extra"),
    ],
)  # fmt: skip
def test_what_is_no_result_is_refused(change: dict[str, Any], message: str) -> None:
    """Every number is checked before it is believed."""
    good = {"schema_version": 1, "id": "x", "files": {}, "load": 0, "error": None, "board": {}, "versions": {},
            "samples": [], "done": []}  # fmt: skip
    assert parse_results(json.dumps(good).encode(), "file").done == ()
    with pytest.raises(InputRejected, match=message):
        parse_results(json.dumps({**good, **change}).encode(), "file")


TIMES: dict[str, Any] = {"decode_ms": [1.0, 1.0], "graph_ms": [2.0, 2.0], "post_ms": [0.0, 0.1], "total_ms": [3.0, 3.1]}
MEMORY = {"base": 10.0, "load": 20.0, "run": 15.0, "load_ms": 1.0}
ROW = {"seconds": 1.0, "n": 5, "p50_ms": 1.0, "p95_ms": 1.0}


def part(do: str, **fields: Any) -> dict[str, Any]:
    """A part that was done."""
    return {"do": do, "subject": "artifact", **fields}


def screen(**times: Any) -> dict[str, Any]:
    """Times of a process, some of them others."""
    return part("screen", times={**TIMES, **times}, settled=True)


IMPOSSIBLE: list[tuple[dict[str, Any], str]] = [
    ({"done": [part("scores", scores=[1.0])]}, "scores of artifact are 1, and its images are 2"),
    ({"done": [part("soak", rows=[{"seconds": 1.0, "n": 5, "p95_ms": 1.0}])]}, "p50_ms"),
    ({"done": [part("soak", rows=[{**ROW, "p50_ms": 0}])]}, "p50_ms"),
    ({"samples": [{"after": "before", "throttled_by": 5}]}, "throttled_by"),
    ({"samples": [{"after": "before", "temperatures_c": {"a": "hot"}}]}, "temperatures_c"),
    ({"samples": [{"after": "before", "temperatures_c": [1]}]}, "temperatures_c"),
    ({"board": {"machine_id": {"a": 1}}}, "board.machine_id"),
    ({"done": [part("memory", processes=[{**MEMORY, "base": 30.0}])]}, "less than base"),
    ({"done": [screen(total_ms=[3.0, 0.001])]}, "total_ms 0.001 is less"),
    ({"done": [screen(**{name: [] for name in TIMES})]}, "total_ms"),
    ({"done": [screen(post_ms=[0.1])]}, "not of equally many calls"),
    ({"done": [part("pair", baseline="b", settled=True, blocks=[{"subject": "artifact", "times": TIMES}] * 2)]},
     "of one subject only"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), IMPOSSIBLE)
def test_what_cannot_have_been_measured_is_refused(change: dict[str, Any], message: str) -> None:
    """With the name of the field, whatever the JSON around it looks like."""
    good: dict[str, Any] = {
        "schema_version": 1, "id": "x", "files": {"images/00.png": "0", "images/01.png": "1"}, "load": 0, "error": None,
        "board": {"machine_id": "m", "cores": 4, "governors": ["performance"]}, "versions": {}, "samples": [],
        "done": [part("scores", scores=[1.0, 2.0]), screen(), part("memory", processes=[MEMORY]),
                 part("soak", rows=[ROW])],
    }  # fmt: skip
    assert len(parse_results(json.dumps(good).encode(), "file").done) == 4
    with pytest.raises(InputRejected, match=message):
        parse_results(json.dumps({**good, **change}).encode(), "file")


@dataclass(frozen=True)
class Measured:
    """What a kit with one finalist brought back."""

    results: Path
    finalist: Path
    baseline: Path
    images: list[Path]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    """One short pair, five times over."""
    folder = tmp_path_factory.mktemp("kit")
    finalist = write_artifact(folder / "finalist")
    baseline, images = write_artifact(folder / "baseline", layers=3), write_images(folder)
    job = kit_job({"finalist": finalist}, baseline, images, rng=np.random.default_rng(0), command="compile")
    pair = {**job.do[0], "calls": 60, "cap": 0.2}
    kit = unpack(replace(job, do=(pair, memory_part("finalist", 3))), folder / "kit")
    done = run(kit)
    assert done.returncode == 0, done.stderr
    found = json.loads((kit / "results.json").read_text())
    found["done"] = [found["done"][0]] * 5 + found["done"][1:]
    (kit / "results.json").write_text(json.dumps(found))
    return Measured(kit / "results.json", finalist, baseline, images)


def changed(measured: Measured, place: Path, **fields: Any) -> Path:
    """The results with other fields."""
    place.write_text(json.dumps({**json.loads(measured.results.read_text()), **fields}))
    return place


def imported(measured: Measured, results: Path) -> LatencyResult:
    """Latency from these results."""
    return KitMeter(read_kits([results]), Conditions("")).latency(
        measured.finalist, measured.baseline, measured.images, rng=np.random.default_rng(0), limits={}, known=Pairs(),
        progress=lambda sentence: None, keep=lambda known: None,
    )  # fmt: skip


def test_too_few_pairs_decide_nothing(measured: Measured, tmp_path: Path) -> None:
    """Four pairs are no full protocol, whatever they show."""
    done = json.loads(measured.results.read_text())["done"][1:]
    with pytest.raises(BoardNeeded, match="4 pairs of processes on the board, and 5 are needed"):
        imported(measured, changed(measured, tmp_path / "few.json", done=done))


@pytest.mark.parametrize(
    ("name", "message"),
    [("worker.py", "by other scripts"), ("images/00.png", "another images/00.png"),
     ("images/99.png", "another images/99.png"), ("baseline/config.json", "another baseline/config.json")],
)  # fmt: skip
def test_figures_of_other_pictures_scripts_or_baselines_are_refused(
    measured: Measured, tmp_path: Path, name: str, message: str
) -> None:
    """Only what was measured with the very files of the kit is imported."""
    files = {**json.loads(measured.results.read_text())["files"], name: "0" * 64}
    results = changed(measured, tmp_path / "other.json", files=files)
    with pytest.raises(InputRejected, match=message):
        imported(measured, results)
    if not name.startswith("baseline"):
        with pytest.raises(InputRejected, match=message):
            KitMeter(read_kits([results]), Conditions("")).memory(measured.finalist, measured.images)


def test_a_kit_measures_finalists(measured: Measured, tmp_path: Path) -> None:
    """Percentiles, ratio and memory of the file that was in it; any other file asks for a further kit."""
    conditions = Conditions("")
    meter = KitMeter(read_kits([measured.results]), conditions)
    latency = meter.latency(
        measured.finalist, measured.baseline, measured.images, rng=np.random.default_rng(0), limits={}, known=Pairs(),
        progress=lambda sentence: None, keep=lambda known: None,
    )  # fmt: skip
    assert latency.artifact["latency_p95"].kind == "measured"
    assert latency.artifact["latency_p95"].device.startswith("board results.json: ")
    assert len(latency.pairs.used) == 5
    assert meter.memory(measured.finalist, measured.images)["peak_memory"].n == 3
    assert conditions.facts["python"]
    for file in (measured.baseline, write_artifact(tmp_path / "other", layers=2)):
        with pytest.raises(BoardNeeded):
            meter.memory(file, measured.images)
    with pytest.raises(BoardNeeded):
        meter.latency(
            measured.finalist, tmp_path / "other", measured.images, rng=np.random.default_rng(0), limits={},
            known=Pairs(), progress=lambda sentence: None, keep=lambda known: None,
        )  # fmt: skip


def test_a_kit_holds_the_full_protocol(measured: Measured) -> None:
    """Eight pairs and three processes of each finalist, and as many processes of the baseline."""
    finalists = {"a": measured.finalist, "b": measured.finalist}
    job = kit_job(finalists, measured.baseline, measured.images, rng=np.random.default_rng(0), command="compile")
    pairs = [part["subject"] for part in job.do if part["do"] == "pair"]
    assert pairs == ["a", "b"] * PAIRS
    assert {part["subject"] for part in job.do if part["do"] == "memory"} == {"a", "b", "baseline"}


def test_kits_of_two_boards_do_not_mix(measured: Measured, tmp_path: Path) -> None:
    """Figures of one report are of one board."""
    other = json.loads(measured.results.read_text())
    other["board"]["machine_id"] = "another"
    (tmp_path / "other.json").write_text(json.dumps(other))
    with pytest.raises(InputRejected, match="different boards"):
        read_kits([measured.results, tmp_path / "other.json"])


def test_its_scripts_are_all_there() -> None:
    """Each under the name that the others call it by."""
    assert all(Path(path).is_file() for path in SCRIPTS.values())
