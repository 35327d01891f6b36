"""`read_inert`: weights beside foreign objects, without running or importing anything of the file."""

import sys
import zipfile
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from budgetc.errors import InputRejected
from budgetc.load.container import read_model_file
from budgetc.load.inert import Inert, read_inert
from budgetc.load.pickled import Made
from tests.load.test_pickled import CALLS


class Shared(nn.Module):
    """A network with everything that a state_dict has an opinion about."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.again = self.first[0]
        self.register_buffer("kept", torch.arange(6).view(2, 3).T)
        self.register_buffer("hidden", torch.ones(2), persistent=False)
        self.register_buffer("absent", None)
        self.register_parameter("none", None)
        self.halved = nn.Parameter(torch.rand(3, 2).half())


def inert(path: Path) -> Inert:
    return read_inert(read_model_file(path))


def saved(path: Path, data: object) -> Path:
    torch.save(data, path)
    return path


def zipped(path: Path, pickle: bytes, **storages: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle)
        for name, content in storages.items():
            archive.writestr(f"archive/data/{name.removeprefix('s')}", content)
    return path


@pytest.fixture
def torch_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """The class pickles as one of a known package."""
    monkeypatch.setattr(Shared, "__module__", "timm")
    module: Any = type(sys)("timm")
    module.Shared = Shared
    monkeypatch.setitem(sys.modules, "timm", module)


@pytest.mark.usefixtures("torch_module")
@pytest.mark.parametrize("wrapped", [True, False])
def test_a_pickled_network_is_its_state_dict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrapped: bool) -> None:
    """Names, shapes, types and values are those of `state_dict()`; nothing is imported."""
    network = Shared()
    path = saved(tmp_path / "m.pt", {"model": network} if wrapped else network)
    monkeypatch.delitem(sys.modules, "timm")
    found = inert(path)
    expected = network.state_dict()
    assert set(found.data["model"]) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found.data["model"][name], value, rtol=0, atol=0)
    assert isinstance(found.network, Made)
    assert "timm" not in sys.modules


def test_weights_beside_foreign_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An enum in the settings stays a description, the tensors are whole: views, integers, bfloat16, none at all."""
    mode = Enum("mode", {"ADD": "add"}, module="lightning")
    module: Any = type(sys)("lightning")
    module.mode = mode
    monkeypatch.setitem(sys.modules, "lightning", module)
    base = torch.arange(12.0).view(3, 4)
    state = {"view": base[1:, ::2], "turned": base.T, "one": torch.tensor(3), "none": torch.zeros(0, 5),
             "half": torch.rand(3).bfloat16(), "flags": torch.tensor([True, False])}  # fmt: skip
    path = saved(tmp_path / "m.ckpt", {"state_dict": state, "hyper_parameters": {"mode": mode("add")}, "epoch": 3})
    found = inert(path)
    for name, value in state.items():
        torch.testing.assert_close(found.data["state_dict"][name], value, rtol=0, atol=0)
    assert found.data["epoch"] == 3
    assert {str(one) for one in found.classes} == {"lightning.mode"}


@pytest.mark.parametrize("opcode", CALLS)
def test_code_is_refused_by_its_name(tmp_path: Path, opcode: str) -> None:
    """Not run, and not accepted either."""
    mark = tmp_path / "ran"
    path = zipped(tmp_path / "m.ckpt", CALLS[opcode](str(mark)))
    with pytest.raises(InputRejected, match=r"code that no checkpoint needs \(posix\.mkdir\).*never runs code"):
        inert(path)
    assert not mark.exists()


@pytest.mark.parametrize("name", ["eval", "exec", "__import__", "compile", "open", "breakpoint", "setattr"])
def test_builtins_that_act_are_refused(tmp_path: Path, name: str) -> None:
    """Those that make plain data, and getattr of older enums, are known."""
    path = zipped(tmp_path / "m.ckpt", b"cbuiltins\n" + name.encode() + b"\n(VX\ntR.")
    with pytest.raises(InputRejected, match=rf"builtins\.{name}"):
        inert(path)


def tensor(shape: bytes, strides: bytes, *, offset: int = 0, count: int = 4, kind: bytes = b"FloatStorage") -> bytes:
    """The pickle of `{"state_dict": {"w": tensor}}`."""
    storage = b"(Vstorage\nctorch\n" + kind + b"\nV0\nVcpu\nI%d\ntQ" % count
    rebuilt = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"I%d\n(" % offset + shape + b"t(" + strides + b"t"
    return b"}Vstate_dict\n}Vw\n" + rebuilt + b"I00\n}tRss."


@pytest.mark.parametrize(
    ("pickle", "said"),
    [
        (tensor(b"I5\n", b"I1\n"), "fewer numbers"),
        (tensor(b"I4\n", b"I1\n", offset=1), "fewer numbers"),
        (tensor(b"I4\n", b"I2\n"), "fewer numbers"),
        (tensor(b"I1000000000\n", b"I0\n"), "fewer numbers"),
        (tensor(b"I4\n", b"I1\n", count=5), "fewer numbers"),
        (tensor(b"I-4\n", b"I1\n"), "impossible shape"),
        (tensor(b"I4\n", b"I-1\n"), "impossible shape"),
        (tensor(b"F4.0\n", b"I1\n"), "impossible shape"),
        (tensor(b"I4\n", b""), "impossible shape"),
        (tensor(b"I4\n", b"I1\n", kind=b"StrangeStorage"), "unknown type"),
        (tensor(b"I4\n", b"I1\n").replace(b"V0\n", b"V7\n"), "damaged"),
    ],
)
def test_tensors_that_lie(tmp_path: Path, pickle: bytes, said: str) -> None:
    """A shape is never believed beyond the bytes that are there."""
    with pytest.raises(InputRejected, match=said):
        inert(zipped(tmp_path / "m.ckpt", pickle, s0=bytes(16)))


def test_the_lies_are_near_a_truth(tmp_path: Path) -> None:
    """The same pickle with honest numbers is a tensor."""
    found = inert(zipped(tmp_path / "m.ckpt", tensor(b"I2\nI2\n", b"I2\nI1\n"), s0=bytes(16)))
    torch.testing.assert_close(found.data["state_dict"]["w"], torch.zeros(2, 2))


def test_a_network_within_itself(tmp_path: Path) -> None:
    """Twice its own child: an endless tree ends with a refusal."""
    pickle = b"ctimm\nNet\n(tRq\x00}V_modules\n}Va\nh\x00sVb\nh\x00ssb."
    with pytest.raises(InputRejected, match="more than 10000 modules"):
        inert(zipped(tmp_path / "m.pt", pickle))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda archive: archive.writestr("archive/byteorder", "big"), "big-endian"),
        (lambda archive: None, "holds a weight w that is no plain tensor"),
    ],
)
def test_other_ways_to_be_refused(tmp_path: Path, change: Callable[[zipfile.ZipFile], None], said: str) -> None:
    """Numbers in another order, and a network whose weight is something else."""
    path = zipped(tmp_path / "m.pt", b"ctimm\nNet\n(tR}V_modules\n}sV_parameters\n}Vw\nI1\nssb.")
    with zipfile.ZipFile(path, "a") as archive:
        change(archive)
    with pytest.raises(InputRejected, match=said):
        inert(path)


def test_the_old_container_is_not_read(tmp_path: Path) -> None:
    """Of torch before 1.6: no directory to find the numbers in."""
    path = tmp_path / "m.pt"
    torch.save({"w": torch.zeros(2)}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(InputRejected, match=r"no zip of torch\.save"):
        inert(path)
