"""`run_outside`: foreign code in a child process comes back as data, or as a refusal that says what happened."""

import importlib
import io
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import safetensors.torch
import torch
from torch import nn

from budgetc.errors import InputRejected, UsageError
from budgetc.load.outside import sandbox
from budgetc.load.outside.sandbox import Answer, CodeKind, Request, run_outside
from tests.load.outside import foreign

HERE = "tests.load.outside.foreign"


def made(factory: str, content: bytes | None = None) -> Answer:
    return run_outside(Request("factory", factory, content, factory=f"{HERE}:{factory}"))


def saved(module: nn.Module, kind: CodeKind) -> bytes:
    example, buffer = torch.zeros(1, 3, 24, 32), io.BytesIO()
    match kind:
        case "torchscript":
            torch.jit.save(torch.jit.trace(module, example), buffer)
        case "pt2":
            torch.export.save(torch.export.export(module, (example,)), buffer)
        case _:
            torch.save(module, buffer)
    return buffer.getvalue()


def check_same(graph: bytes | None, module: nn.Module) -> None:
    """The graph scores a picture as the module does."""
    assert graph is not None
    picture = torch.rand(1, 3, 24, 32, generator=torch.Generator().manual_seed(3))
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    with torch.no_grad():
        for found, wanted in zip(session.run(None, {"image": picture.numpy()}), module.eval()(picture), strict=True):
            np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["pickle", "torchscript", "pt2"])
def test_networks_in_files_that_are_code(kind: CodeKind) -> None:
    """Whole modules of every container come back as the graph that they compute."""
    module = foreign.Scores().eval()
    found = run_outside(Request(kind, "m", saved(module, kind), size=(24, 32)))
    check_same(found.graph, module)


def test_a_factory_with_and_without_weights() -> None:
    """The weights of a file replace the factory's own; the module says its input size."""
    check_same(made("scores").graph, foreign.Scores())
    other = foreign.Scores()
    nn.init.constant_(other.head.weight, 0.5)
    check_same(made("scores", safetensors.torch.save(other.state_dict())).graph, other)


def test_output_names_of_a_module() -> None:
    """Keys of a dictionary stay the names; a score and a map are told apart by their shapes."""
    graph = onnx.load_model_from_string(made("Named").graph or b"")
    assert [one.name for one in graph.graph.output] == ["anomaly", "heat", "label"]
    graph = onnx.load_model_from_string(made("Scores").graph or b"")
    assert [one.name for one in graph.graph.output] == ["score", "map"]


def test_weights_of_a_pickled_checkpoint() -> None:
    """A checkpoint that needs full unpickling gives its tensors, and nothing else of it comes along."""
    buffer = io.BytesIO()
    torch.save({"state_dict": {"a.weight": torch.ones(2, 3)}, "callback": foreign.Scores()}, buffer)
    found = run_outside(Request("pickle", "m", buffer.getvalue()))
    assert found.graph is None and found.weights is not None
    assert {name: tuple(value.shape) for name, value in found.weights.items()} == {"a.weight": (2, 3)}


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("Undecided", "decide by values of the picture"),
        ("Noisy", "draws random numbers: output score is another one every time .* z = mu where not self.training"),
        ("Broken", r"\(1, 3, 24, 32\).*no such thing as a picture"),
        ("Elsewhere", "no output of its exported graph depends on the picture"),
        ("interrupted", r"ended the process.*\(signal 2; KeyboardInterrupt\)"),
        ("leaving", r"ended the process.*\(exit 1; enough\)"),
        ("Wordy", "returns builtins.str, expected a score"),
        ("killed", r"ended the process.*signal 9"),
        ("hungry", "memory|enforce fail|DefaultCPUAllocator"),
        ("wrong_inside", r"KeyError: 'b' \(foreign\.py, line \d+\)"),
    ],
)
def test_code_that_fails(factory: str, message: str) -> None:
    """Whatever it does, this process goes on and says what happened."""
    with pytest.raises(InputRejected, match=message):
        made(factory)


@pytest.mark.parametrize(
    "factory", ["no_json", "deep", "of_another_form", "without_graph", "no_tensors", "linked", "huge"]
)
def test_answers_that_the_code_wrote_itself(factory: str) -> None:
    """They are read as data, and refused when they are none."""
    with pytest.raises(InputRejected, match="what it left behind is no answer"):
        made(factory)


def test_processes_that_are_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """They end with the one that was started, and nobody waits for them."""
    monkeypatch.setattr(sandbox, "_SECONDS", 60)
    started = time.monotonic()
    check_same(made("deserted").graph, foreign.Scores())
    assert time.monotonic() - started < 60


def test_modules_that_lie_where_a_trusted_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust is for the file: what is called like a library in the present folder is not run for it."""
    mark = tmp_path / "ran"
    for name in ("resource", "torch", "onnx"):
        (tmp_path / f"{name}.py").write_text(f"import os\nos.mkdir({str(mark)!r})\n")
    monkeypatch.chdir(tmp_path)
    check_same(
        run_outside(Request("pickle", "m", saved(foreign.Scores().eval(), "pickle"), size=(24, 32))).graph,
        foreign.Scores(),
    )
    assert not mark.exists()


def test_a_pickled_module_of_a_class_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network is pickled without its class, which is found where the user is."""
    (tmp_path / "beside_it.py").write_text("from tests.load.outside.foreign import Scores\nclass Own(Scores): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    content = saved(importlib.import_module("beside_it").Own().eval(), "pickle")
    monkeypatch.setattr(sys, "path", [one for one in sys.path if one != str(tmp_path)])
    monkeypatch.chdir(tmp_path)
    check_same(run_outside(Request("pickle", "m", content, size=(24, 32))).graph, foreign.Scores())


def test_code_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is stopped."""
    monkeypatch.setattr(sandbox, "_SECONDS", 2)
    with pytest.raises(InputRejected, match="did not end within"):
        made("slow")


@pytest.mark.parametrize(
    ("factory", "message"),
    [("no.such.package:make", "cannot be imported"), (f"{HERE}:absent", "has no 'absent'"),
     (f"{HERE}:weights_alone", r"gave collections\.OrderedDict, expected a torch\.nn\.Module$"),
     (f"{HERE}:not_a_module", r"gave builtins\.int, expected a torch\.nn\.Module"),
     (":make", r"expected package\.module:factory, such as"), ("a/mods.py:make", r"did you mean a\.mods:make"),
     ("/a/mods.py:make", r"run budgetc in /a, and name mods:make"),
     (".mods:make", r"expected package\.module:factory"), ("mods:", r"expected package\.module:factory"),
     (f"{HERE}:needs_something", "is called without arguments")],
)  # fmt: skip
def test_a_factory_that_is_none(factory: str, message: str) -> None:
    """The command line was wrong, not a file."""
    with pytest.raises(UsageError, match=message):
        run_outside(Request("factory", factory, None, factory=factory))


def test_weights_that_do_not_fit() -> None:
    """Every key is accounted for."""
    with pytest.raises(InputRejected, match=r"1 unknown: extra"):
        made("scores", safetensors.torch.save(foreign.Scores().state_dict() | {"extra": torch.zeros(1)}))


def test_a_child_runs_nothing_in_this_process(tmp_path: Path) -> None:
    """What a trusted file does happens in the child; this process imports nothing of it."""
    buffer = io.BytesIO()
    torch.save({"state_dict": {"a": torch.ones(1)}, "x": foreign.Payload(tmp_path / "ran")}, buffer)
    run_outside(Request("pickle", "m", buffer.getvalue()))
    assert (tmp_path / "ran").exists(), "the payload of a trusted file runs: that is what trust means"
