"""What a run directory remembers of the inputs it was started with, and whether a run may go on in it."""

from collections.abc import Mapping
from pathlib import Path

from budgetc.errors import UsageError
from budgetc.store.run_directory import RunDirectory

_INPUTS = "inputs"


def check_resumable(run: Path) -> None:
    """Refuse to resume where nothing was started.

    Raises:
        UsageError: there is no such run directory.
    """
    if not run.is_dir():
        raise UsageError(
            f"--resume: there is no run directory {run}; leave --resume out to start a run, or correct -o or --budget"
        )


def check_apart(store: Path | None, out: Path) -> None:
    """Refuse a store where the artifact goes, which holds nothing else.

    Raises:
        UsageError: `store` is `out` or lies in it.
    """
    if store is not None and out.resolve() in (store.resolve(), *store.resolve().parents):
        raise UsageError(f"--store {store} lies in {out}, which holds the artifact only: choose another --store")


def record_inputs(run: RunDirectory, digests: Mapping[str, str], budget: Mapping[str, object], *, resume: bool) -> None:
    """Write into the log what this run starts from; with `resume`, only if that is what it was started from before.

    A run that was killed before it recorded anything did nothing that could differ.

    Raises:
        UsageError: an input, or the store, is another than that of the last attempt.
    """
    now = {**digests, "store": _store(run)}
    before = next((event.data for event in reversed(run.events) if event.event == _INPUTS), None)
    if resume and before is not None:
        _check_same(run.path, _recorded(before), now)
    run.record(_INPUTS, {"digests": dict(digests), "store": now["store"], "budget": dict(budget)})


def _store(run: RunDirectory) -> str:
    """The place of the store; empty where it is the run directory itself, which may be moved."""
    return "" if run.store.root == run.path else str(run.store.root.resolve())


def _recorded(before: Mapping[str, object]) -> dict[str, str]:
    digests = before["digests"]
    assert isinstance(digests, dict)  # the log refuses what this program did not write
    return {**digests, "store": str(before.get("store", ""))}


def _check_same(run: Path, before: Mapping[str, str], now: Mapping[str, str]) -> None:
    names = [name for name in (*now, *(set(before) - set(now))) if before.get(name) != now.get(name)]
    if not names:
        return
    differences = "; ".join(f"{name} was {_shown(before.get(name))}, is {_shown(now.get(name))}" for name in names)
    raise UsageError(
        f"--resume: {run} was started with other inputs: {differences}. Restore what it was started with; or leave "
        "--resume out: what still applies is taken from the store"
    )


def _shown(digest: str | None) -> str:
    if digest is None:
        return "absent"
    return digest[:12] if len(digest) == 64 else digest or "in the run directory"
