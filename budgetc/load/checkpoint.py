"""A file of weights from outside: the checked state_dict, and what the file says beside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from budgetc.errors import InputRejected, UsageError
from budgetc.load.anomalib import Stated, stated_by
from budgetc.load.container import FileContent, read_model_file
from budgetc.load.inert import Damaged, Inert, read_inert
from budgetc.load.layouts import find_state_dict, is_bystander
from budgetc.load.origin import How, Origin
from budgetc.load.outside.trust import refuse_needless, run_trusted
from budgetc.load.tensors import NeedsCode, check_tensors, load_plain


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Weights, and where they come from."""

    weights: Mapping[str, Tensor]
    stated: Stated
    notes: tuple[str, ...]
    source: Origin


def read_checkpoint(path: Path, *, trust: str | None = None) -> Checkpoint:
    """The checked tensors of a file, unwrapped from a Lightning checkpoint or a pickled network.

    Nothing is run in this process, and nothing at all without `trust`: `sha256:` and the digest of the file.

    Raises:
        UsageError: `trust` is no digest, or the trusted file is a whole network.
        InputRejected: an unsafe or damaged file, one without weights, or a pre-processor that budgetc cannot carry out.
    """
    file = read_model_file(path)
    found, how = _read(file, trust)
    refuse_bundle(path, found.data)
    weights = find_state_dict(found.data)
    if weights is None:
        kind = type(found.data).__name__
        raise InputRejected(f"{path}: holds no state_dict (found {kind}), expected names with tensors")
    checked = check_tensors(str(path), weights, dropped=is_bystander)
    stated = stated_by(str(path), found.data, found.network, checked)
    return Checkpoint(checked, stated, (*stated.notes, *_notes(found)), Origin(how=how, sha256=file.sha256))


def _read(file: FileContent, trust: str | None) -> tuple[Inert, How]:
    try:
        plain = load_plain(file)
    except InputRejected as refusal:
        if trust is not None and isinstance(refusal, NeedsCode):
            answer = run_trusted(file, trust, refusal, None)
            if answer.weights is None:
                raise UsageError(f"{file.path}: is a whole network; leave --detector out") from refusal
            return Inert(answer.weights, None, frozenset()), "trusted code"
        if file.kind != "torch":
            raise
        try:
            return read_inert(file), "weights"
        except Damaged as damaged:
            raise damaged from refusal
        except InputRejected:
            raise refusal from None
    refuse_needless(file.path, trust, "a file of weights alone")
    return Inert(plain, None, frozenset()), "weights"


def refuse_bundle(path: Path, data: object) -> None:
    """What `budgetc import` makes is nothing to import.

    Raises:
        InputRejected: a bundle.
    """
    if isinstance(data, Mapping) and "format" in data:
        raise InputRejected(f"{path}: is a budgetc bundle already; compile takes it as it is")


def _notes(found: Inert) -> tuple[str, ...]:
    if not found.classes:
        return ()
    first, *others = sorted(map(str, found.classes))
    more = f" and {len(others)} others" if others else ""
    return (f"the file is not weights alone: it names {first}{more}, read as text and not run",)
