"""Session options: how they are chosen from figures, and that every file gets those of its format."""

import json
import platform
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from budgetc.candidate import Workshop, build, finish, price
from budgetc.compiler.inputs import Inputs
from budgetc.compiler.pipeline import make_workshop
from budgetc.compiler.sessions import DEFAULT, LEAN, PLAIN, choose, choose_sessions, gain, option_sets, references
from budgetc.core.budget import Budget, Limits
from budgetc.core.layout import ARTIFACT
from budgetc.core.measurement import Measurement
from budgetc.core.plan import Plan, Quantize, Step, StoreBits
from budgetc.core.recipe import Recipe
from budgetc.core.session import Compute, SessionOptions, Sessions
from budgetc.detectors.detector import Detector
from budgetc.detectors.families import build as build_detector
from budgetc.detectors.stfpm import StfpmConfig
from budgetc.errors import InputRejected, TargetUnreachable
from budgetc.runtime.spec import read_spec
from budgetc.store.run_directory import RunDirectory
from tests.measurement.scene import write_images
from tests.small import dataset, lively, plain, small_stfpm, target, textures

MIB = 2**20
INSTALLED = LEAN.model_copy(update={"preoptimized": True})
QUANTIZE = Recipe.model_validate({"name": "q", "description": "", "steps": [{"step": "quantize", "optional": True}]})


def found(
    memory_mib: float,
    ratio: float,
    *,
    running_mib: float | None = None,
    base_mib: float = 50,
    fastest: float | None = None,
) -> dict[str, Measurement]:
    def one(name: str, value: float) -> Measurement:
        unit = "1" if name.endswith("ratio") else "B"
        return Measurement(metric=name, value=value, unit=unit, n=2, kind="measured", device="simulated")  # type: ignore[arg-type]

    time = one("latency_p50_ratio", ratio).model_copy(update={"lower": fastest})
    return {
        "model_memory": one("model_memory", memory_mib * MIB),
        "latency_p50_ratio": time,
        "run_memory": one("run_memory", (running_mib or memory_mib) * MIB),
        "peak_memory": one("peak_memory", (base_mib + memory_mib) * MIB),
    }


def limits(peak_mib: int | None) -> Limits:
    return Limits.model_validate({"artifact_size": "1 MiB", **({"peak_memory": f"{peak_mib} MiB"} if peak_mib else {})})


@pytest.mark.parametrize(
    ("peak_mib", "compute", "expected"),
    [(None, "int8", LEAN), (130, "int8", LEAN), (100, "int8", PLAIN), (100, "fp32", INSTALLED),
     (90, "int8", PLAIN), (89, "int8", LEAN), (94, "fp32", LEAN), (1, "fp32", LEAN)],
)  # fmt: skip
def test_memory_is_bought_only_where_the_limit_needs_it(
    peak_mib: int | None, compute: Compute, expected: SessionOptions
) -> None:
    """Else the least that is free: no slower, and without an install step. INT8 may be slowed down more than FP32.

    A limit that nothing keeps buys nothing: what was tried is the baseline, and candidates are smaller.
    """
    tried = [(DEFAULT, found(74, 1.0)), (LEAN, found(60, 1.02)), (PLAIN, found(40, 1.25)), (INSTALLED, found(45, 1.0))]
    assert choose(tried, limits(peak_mib), compute) == expected


def test_without_an_install_step_before_with_one() -> None:
    """Where both keep the limit, the one that the user need not do anything for, even if it is slower and larger."""
    tried = [(DEFAULT, found(74, 1.0)), (LEAN, found(60, 1.08)), (INSTALLED, found(30, 1.0))]
    assert choose(tried, limits(120), "fp32") == LEAN
    assert choose(tried, limits(100), "fp32") == INSTALLED


@pytest.mark.parametrize(("fastest", "ratio", "expected"), [(1.0, 1.2, DEFAULT), (1.0, 1.04, LEAN)])
def test_one_fast_process_makes_no_set_free(fastest: float, ratio: float, expected: SessionOptions) -> None:
    """The median of the processes counts, not the luckiest of them."""
    tried = [(DEFAULT, found(74, 1.0)), (LEAN, found(45, ratio, fastest=fastest))]
    assert choose(tried, limits(None), "fp32") == expected


@pytest.mark.parametrize(("memory_mib", "ratio"), [(19.5, 1.0), (18.6, 1.0), (17, 1.06)])
def test_a_gain_within_the_noise_is_none(memory_mib: float, ratio: float) -> None:
    """Less than a MiB, less than 5 %, or slower: onnxruntime's defaults stay."""
    large = 400 if memory_mib == 18.6 else 20
    tried = [(DEFAULT, found(large, 1.0)), (LEAN, found(large - (20 - memory_mib), ratio))]
    assert choose(tried, limits(None), "int8") == DEFAULT


def test_memory_after_loading_counts_where_loading_takes_the_most() -> None:
    """Unpacked weights make the peak while they are loaded, whatever the options; but never for a higher peak."""
    tried = [(DEFAULT, found(87, 1.0, running_mib=80)), (LEAN, found(88, 1.0, running_mib=45))]
    assert choose(tried, limits(None), "fp32") == LEAN
    higher = [tried[0], (LEAN, found(95, 1.0, running_mib=45))]
    assert choose(higher, limits(None), "fp32") == DEFAULT


@pytest.mark.parametrize(
    ("after", "words"),
    [(found(86.6, 1.0, running_mib=45),
      "45.0 MiB above the runtime while running instead of 80.0 MiB, 1.00 x the time"),
     (found(60, 1.0, running_mib=45), "60.0 MiB above the runtime instead of 86.9 MiB, 1.00 x the time"),
     (None, "86.9 MiB above the runtime")],
)  # fmt: skip
def test_the_sentence_names_the_figure_that_decided(after: dict[str, Measurement] | None, words: str) -> None:
    """Where loading takes the most whatever the options, the memory of running; nothing is compared to itself."""
    default = found(86.9, 1.0, running_mib=80)
    assert gain(after or default, default) == words


def test_an_install_step_is_tried_only_under_a_limit() -> None:
    """And the plain layout only between INT8 layers."""
    assert option_sets("fp32", limited=False) == (DEFAULT, LEAN)
    assert option_sets("int8", limited=False) == (DEFAULT, LEAN, PLAIN)
    assert option_sets("fp32", limited=True) == (DEFAULT, LEAN, INSTALLED)
    assert [one.preoptimized for one in option_sets("int8", limited=True)] == [False] * 3 + [True] * 2


def test_references_are_packed_as_the_search_packs() -> None:
    """The fewest bits of each format; a format without plans needs no options."""

    def plan(*steps: Step) -> Plan:
        return Plan(recipe="r", steps=steps, seed=0)

    four, six = StoreBits(bits=4), StoreBits(bits=6)
    assert references([plan()]) == {"fp32": ()}
    found = references([plan(), plan(six), plan(Quantize(samples=9), six), plan(Quantize(), four), plan(Quantize())])
    assert found == {"fp32": (six,), "int8": (Quantize(), four)}


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunDirectory]:
    """A run directory of its own."""
    with RunDirectory.open(tmp_path / "out.run") as opened:
        yield opened


def inputs(detector: Detector, *recipes: Recipe, **changes: object) -> Inputs:
    budget = Budget.model_validate({"target": "test-cpu", "limits": {"artifact_size": "1 MiB"}})
    digests = {name: "1" * 64 for name in ("model", "budget", "target", "data")}
    return Inputs(Path("m.pt"), detector, budget, Path("b.yaml"), target(**changes), recipes, dataset(), digests)


def wide() -> Detector:
    """Few weights, and activations of 2 MiB."""
    torch.manual_seed(0)
    network = plain(32, 16)
    return lively(build_detector("stfpm", StfpmConfig(input_size=(256, 256), teacher=network, student=network)))


@pytest.mark.slow
@pytest.mark.skipif(platform.system() != "Linux", reason="peak memory is read from Linux's /proc")
def test_options_are_measured_on_this_machine(run: RunDirectory, tmp_path: Path) -> None:
    """Every set on both formats, once: the store knows the figures afterwards."""
    case, images, said = inputs(wide(), QUANTIZE), write_images(tmp_path), list[str]()
    data = replace(dataset(), read=lambda sample, size: textures(1, size=size)[0])
    shop = make_workshop(replace(case, dataset=data), run)
    sessions, trials = choose_sessions(case, shop, images, said.append)
    assert [(one.compute, one.options) for one in trials] == [
        (c, o) for c in ("fp32", "int8") for o in option_sets(c, limited=False)
    ]
    assert [one.options for one in trials if one.chosen] == [sessions.fp32, sessions.int8]
    assert [sentence.split(":")[0] for sentence in said] == ["session options for fp32", "session options for int8"]
    assert choose_sessions(case, shop, images, said.append) == (sessions, trials)
    figures = {(one.compute, one.options): {m.metric: m.value for m in one.measurements} for one in trials}
    assert figures["fp32", LEAN]["run_memory"] < figures["fp32", DEFAULT]["run_memory"] - MIB
    assert figures["int8", DEFAULT]["latency_p50_ratio"] == 1.0
    assert not (run.path / "sessions").exists() or not list((run.path / "sessions").iterdir())


@pytest.mark.skipif(platform.system() != "Linux", reason="peak memory is read from Linux's /proc")
def test_nothing_is_tried_where_there_is_nothing_to_save(run: RunDirectory, tmp_path: Path) -> None:
    """A detector that adds little to the runtime keeps the defaults."""
    case = inputs(small_stfpm())
    assert choose_sessions(case, make_workshop(case, run), write_images(tmp_path), print) == (Sessions(), ())


def refuse(*_: object, **__: object) -> None:
    raise InputRejected("scores differently once it is optimized")


def die(*_: object, **__: object) -> None:
    raise TargetUnreachable("the scoring process was ended by signal 9")


def small_case(monkeypatch: pytest.MonkeyPatch) -> Inputs:
    """Under a limit that nothing keeps; small, and tried in spite of it."""
    monkeypatch.setattr("budgetc.compiler.sessions.EMPTY", 0)
    case = inputs(small_stfpm())
    return replace(case, budget=case.budget.model_copy(update={"limits": limits(1)}))


@pytest.mark.skipif(platform.system() != "Linux", reason="peak memory is read from Linux's /proc")
def test_a_set_that_cannot_be_measured_is_left_out(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the reason, also when the store knows it; the others are tried, in three processes each."""
    monkeypatch.setattr("budgetc.runtime.artifact.install_artifact", refuse)
    case, images, said = small_case(monkeypatch), write_images(tmp_path), list[str]()
    shop = make_workshop(case, run)
    _, trials = choose_sessions(case, shop, images, said.append)
    assert [one.options for one in trials] == [DEFAULT, LEAN]
    assert {found.n for one in trials for found in one.measurements} == {3}
    assert said[0] == (
        f"session options for fp32: left out {INSTALLED.words()}: scores differently once it is optimized"
    )
    assert choose_sessions(case, shop, images, said.append)[1] == trials
    assert said[2:] == said[:2]


@pytest.mark.skipif(platform.system() != "Linux", reason="peak memory is read from Linux's /proc")
def test_processes_that_die_leave_the_defaults(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compilation goes on."""
    monkeypatch.setattr("budgetc.compiler.sessions.measure_sessions", die)
    case, said = small_case(monkeypatch), list[str]()
    assert choose_sessions(case, make_workshop(case, run), write_images(tmp_path), said.append) == (Sessions(), ())
    assert said == [
        "session options for fp32: onnxruntime's defaults, nothing could be tried: "
        "the scoring process was ended by signal 9"
    ]


def never(sentence: str) -> None:
    raise AssertionError("nothing was to be measured")


@pytest.mark.parametrize("stated", [None, LEAN])
def test_a_target_that_is_not_here_states_them(run: RunDirectory, stated: SessionOptions | None) -> None:
    """Or takes onnxruntime's defaults."""
    case = inputs(small_stfpm(), QUANTIZE, session=stated)
    elsewhere = case.target.model_copy(update={} if stated else {"measured_on": None})
    case = replace(case, target=elsewhere)
    wanted = stated or DEFAULT
    found = choose_sessions(case, make_workshop(case, run), [], never)
    assert found == (Sessions(fp32=wanted, int8=wanted), ())


@pytest.mark.parametrize("how", ["priced", "finished"])
def test_every_file_is_written_with_those_of_its_format(run: RunDirectory, tmp_path: Path, how: str) -> None:
    """Also from the store, which keeps the files of other options apart."""
    first = Workshop(small_stfpm(), dataset(), target(), run, seed=0, key="k")
    other = replace(first, sessions=Sessions(fp32=LEAN, int8=PLAIN))

    def written(shop: Workshop, plan: Plan, name: str) -> dict[str, object]:
        directory = tmp_path / name
        made: Callable[[], Path] = {
            "priced": lambda: price(plan, shop, directory).files(),
            "finished": lambda: finish(build(plan, shop, 1.0), shop, directory).files(),
        }[how]
        spec: dict[str, object] = json.loads((made() / ARTIFACT).read_text())
        read_spec(directory / ARTIFACT)
        return spec

    for steps, expected in (((), LEAN), ((Quantize(),), PLAIN)):
        plan = Plan(recipe="r", steps=steps, seed=0)
        assert "session" not in written(first, plan, f"{how} first {len(steps)}")
        for name in ("anew", "again"):
            session = written(other, plan, f"{how} {name} {len(steps)}")["session"]
            assert SessionOptions.model_validate(session) == expected
