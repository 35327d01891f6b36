"""Files that would run code or read elsewhere: every command that takes a model refuses them, and nothing runs."""

import io
import os
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.cli.command import Command
from tests.load.outside.foreign import Payload


def saved(data: object, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(data, buffer, **options)
    return buffer.getvalue()


def in_a_bundle(mark: Path) -> bytes:
    return saved({"format": "budgetc/1", "detector": "stfpm", "config": {}, "state_dict": {"a": Payload(mark)}})


def in_the_old_format(mark: Path) -> bytes:
    return saved({"state_dict": Payload(mark)}, _use_new_zipfile_serialization=False)


def as_a_bare_pickle(mark: Path) -> bytes:
    return pickle.dumps({"state_dict": Payload(mark)}, protocol=4)


def in_the_first_protocol(mark: Path) -> bytes:
    return pickle.dumps(Payload(mark), protocol=0)


def in_a_checkpoint(mark: Path) -> bytes:
    return saved({"state_dict": {"a": torch.zeros(1)}, "hyper_parameters": {"deep": [Payload(mark)]}})


class Hooked(nn.Linear):
    """A module whose state is set by code."""

    def __setstate__(self, state: Any) -> None:
        os.mkdir(state["mark"])


def as_a_whole_module(mark: Path) -> bytes:
    module = Hooked(1, 1)
    module.mark = str(mark)  # type: ignore[assignment]  # of no tensor's type, as attackers do
    return saved(module)


def in_torchscript(mark: Path) -> bytes:
    """Scripts may hold pickled constants beside their code."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), buffer)
    return with_entry(buffer.getvalue(), "constants.pkl", pickle.dumps(Payload(mark)))


def in_an_exported_program(mark: Path) -> bytes:
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(nn.Linear(2, 2), (torch.zeros(1, 2),)), buffer)
    return with_entry(buffer.getvalue(), "sample_inputs/model.pt", saved(Payload(mark)))


def with_entry(archive: bytes, ending: str, content: bytes) -> bytes:
    """A zip whose entry of this ending holds something else."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            new.writestr(name, content if name.endswith(ending) else old.read(name))
    return buffer.getvalue()


def behind_numpy(mark: Path) -> bytes:
    """An array of objects under the name of a model."""
    buffer = io.BytesIO()
    np.save(buffer, np.array([Payload(mark)], dtype=object), allow_pickle=True)
    return buffer.getvalue()


FILES: tuple[Callable[[Path], bytes], ...] = (
    in_a_bundle, in_the_old_format, as_a_bare_pickle, in_the_first_protocol, in_a_checkpoint, as_a_whole_module,
    in_torchscript, in_an_exported_program, behind_numpy,
)  # fmt: skip
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("compile", "MODEL", "--budget", "host-cpu", "--data", "DATA"),
    ("plan", "MODEL", "--budget", "host-cpu", "--data", "DATA"),
    ("measure", "MODEL", "--data", "DATA"),
    ("evaluate", "MODEL", "--data", "DATA"),
    ("inspect", "MODEL"),
    ("explain", "MODEL", "--target", "jetson-nano-cpu"),
    ("import", "MODEL", "--detector", "vae"),
    ("train", "stfpm", "--data", "DATA", "--teacher", "resnet18", "--teacher-weights", "MODEL"),
)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize("make", FILES, ids=lambda make: make.__name__)
def test_no_code_runs(
    budgetc: Command, tmp_path: Path, data: Path, make: Callable[[Path], bytes], command: tuple[str, ...]
) -> None:
    """Exit 4, the file is named, and the canary is not there."""
    canary, model = tmp_path / "ran", tmp_path / "model.pt"
    model.write_bytes(make(canary))
    line = [{"MODEL": str(model), "DATA": str(data)}.get(word, word) for word in command]
    where = ("-o", tmp_path / "out") if command[0] in ("compile", "import", "train") else ()
    ended = budgetc(*line, *where)
    assert ended.code == 4, ended.err
    assert str(model) in ended.err
    assert not canary.exists()
    assert not (tmp_path / "out").exists()


def test_an_array_of_objects_as_data(budgetc: Command, tmp_path: Path) -> None:
    """A data set that would have to be unpickled is refused, too."""
    canary, arrays = tmp_path / "ran", tmp_path / "data.npz"
    np.savez(arrays, train=np.array([Payload(canary)], dtype=object), test=np.zeros(1), test_label=np.zeros(1))
    ended = budgetc("data", "check", arrays)
    assert ended.code == 4, ended.err
    assert not canary.exists()
