"""A file of weights from outside: the checked state_dict, and what the file says beside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from budgetc.errors import InputRejected
from budgetc.load.anomalib import Stated, stated_by
from budgetc.load.container import FileContent, read_model_file
from budgetc.load.inert import Inert, read_inert
from budgetc.load.layouts import find_state_dict, is_bystander
from budgetc.load.tensors import check_tensors, load_plain


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Weights, and where they come from."""

    weights: Mapping[str, Tensor]
    stated: Stated
    notes: tuple[str, ...]
    sha256: str


def read_checkpoint(path: Path) -> Checkpoint:
    """The checked tensors of a file, unwrapped from a Lightning checkpoint or a pickled network; nothing is run.

    Raises:
        InputRejected: an unsafe or damaged file, one without weights, or a pre-processor that budgetc cannot carry out.
    """
    file = read_model_file(path)
    found = _inert_or_plain(file)
    if isinstance(found.data, Mapping) and "format" in found.data:
        raise InputRejected(f"{path}: is a budgetc bundle already; compile takes it as it is")
    weights = find_state_dict(found.data)
    if weights is None:
        kind = type(found.data).__name__
        raise InputRejected(f"{path}: holds no state_dict (found {kind}), expected names with tensors")
    checked = check_tensors(str(path), weights, dropped=is_bystander)
    stated = stated_by(str(path), found.data, found.network, checked)
    return Checkpoint(checked, stated, (*stated.notes, *_notes(found)), file.sha256)


def _inert_or_plain(file: FileContent) -> Inert:
    try:
        data: Any = load_plain(file)
    except InputRejected:
        if file.kind != "torch":
            raise
        return read_inert(file)
    return Inert(data, None, frozenset())


def _notes(found: Inert) -> tuple[str, ...]:
    if not found.classes:
        return ()
    first, *others = sorted(map(str, found.classes))
    more = f" and {len(others)} others" if others else ""
    return (f"the file is not weights alone: it names {first}{more}, read as text and not run",)
