"""Re-checks an artifact from its files alone: a straight list of checks, each with its own sentence."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from budgetc.core.budget import Budget
from budgetc.core.frozen import Frozen
from budgetc.core.layout import (
    ARTIFACT,
    ARTIFACT_FILES,
    DEPLOYED,
    MODEL,
    OUT_FILES,
    REPORT_HTML,
    REPORT_JSON,
    REPORT_MARKDOWN,
)
from budgetc.core.verdict import Verdict
from budgetc.errors import InputRejected
from budgetc.report.evidence import judge_report
from budgetc.report.schema import ArtifactSpec, Report

_File = TypeVar("_File", bound=Frozen)
Look = Callable[[Path, Report], str | None]
_FIRST = f"{REPORT_JSON} is a report"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    """What holds when it passes."""
    problem: str | None
    """What was found instead; None when it holds."""


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """All checks in order; later ones are absent where an earlier one made them meaningless."""

    checks: tuple[Check, ...]
    verdict: Verdict | None
    """As it follows from the stored measurements; None where the report cannot be read or has no artifact."""

    @property
    def holds(self) -> bool:
        """Whether every check passed: nothing was changed, and the verdict follows from the numbers."""
        return all(check.problem is None for check in self.checks)

    @property
    def problems(self) -> tuple[str, ...]:
        """What does not hold."""
        return tuple(check.problem for check in self.checks if check.problem is not None)


def read_report(out: Path) -> Report:
    """`report.json` of an artifact.

    Raises:
        InputRejected: `out` is no directory, or the file is missing, damaged or not of this schema.
    """
    return _read(out, REPORT_JSON, Report)


def check_artifact(out: Path, budget: Budget) -> Verdict:
    """The stored measurements against a budget, maybe another one: a gate that measures nothing.

    Raises:
        InputRejected: there is no artifact, or its files are not what its report describes.
    """
    result = verify_artifact(out)
    if not result.holds:
        raise InputRejected(
            f"{out} cannot be judged, because it is not what its report describes: {result.problems[0]}"
        )
    verdict = judge_report(read_report(out), budget)
    assert verdict is not None, "a report that holds has an artifact"
    return verdict


def verify_artifact(out: Path) -> VerifyResult:
    """Check that OUT is whole, holds nothing else, and that its verdict follows from its measurements.

    Raises:
        InputRejected: `out` is no directory.
    """
    try:
        report = read_report(out)
    except InputRejected as error:
        if not out.is_dir():
            raise
        return VerifyResult((Check(_FIRST, str(error)),), None)
    checks = [Check(_FIRST, None)]
    checks += [Check(name, _looked(look, out, report)) for name, look in _CHECKS]
    return VerifyResult(tuple(checks), judge_report(report))


def _looked(look: Look, out: Path, report: Report) -> str | None:
    try:
        return look(out, report)
    except OSError as error:
        return f"{error.filename or out} cannot be read: {error.strerror or error}"


def _an_artifact_is_described(out: Path, report: Report) -> str | None:
    if report.artifact is None:
        return f"{REPORT_JSON} describes no artifact ({report.why or 'nothing complied'}): there is nothing to deploy"
    return None


def _artifact_json_parses(out: Path, report: Report) -> str | None:
    if report.artifact is None:
        return None
    try:
        _read(out, ARTIFACT, ArtifactSpec)
    except InputRejected as error:
        return str(error)
    return None


def _digests_match(out: Path, report: Report) -> str | None:
    for name, stated in report.outputs.items():
        path = out / name
        if name not in OUT_FILES:
            return f"{REPORT_JSON}: outputs names {name!r}, which is no file of an artifact"
        if not _is_plain_file(path):
            return f"{name} is missing, or is not a plain file: {REPORT_JSON} lists it"
        if _sha256(path) != stated:
            return f"{name} was changed after it was written: its sha256 is not the one in {REPORT_JSON}"
    return None


def _everything_is_listed(out: Path, report: Report) -> str | None:
    written = {REPORT_MARKDOWN, REPORT_HTML}
    needed = ARTIFACT_FILES | written if report.artifact is not None else written
    unlisted = sorted(needed - set(report.outputs))
    if unlisted:
        return f"{unlisted[0]} has no digest in {REPORT_JSON}: nothing would tell if it were changed"
    return None


def _nothing_else_is_there(out: Path, report: Report) -> str | None:
    found = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_symlink() or not path.is_dir()}
    foreign = sorted(found - set(report.outputs) - {REPORT_JSON})
    return f"{foreign[0]!r} is in the artifact's directory, but not in {REPORT_JSON}" if foreign else None


def _parts_agree(out: Path, report: Report) -> str | None:
    if report.artifact is None:
        return None
    try:
        spec = _read(out, ARTIFACT, ArtifactSpec)
    except InputRejected:
        return f"{ARTIFACT} cannot be compared with {REPORT_JSON}: it cannot be read"
    if spec.model != MODEL or spec.model_sha256 != report.outputs.get(MODEL):
        return f"{ARTIFACT}: model_sha256 is not the digest of {MODEL} in {REPORT_JSON}"
    if spec.detector != report.detector:
        return f"{ARTIFACT}: detector is {spec.detector!r}, {REPORT_JSON} says {report.detector!r}"
    if spec.threshold != report.artifact.quality.threshold:
        return f"{ARTIFACT}: threshold is {spec.threshold}, {REPORT_JSON} judged {report.artifact.quality.threshold}"
    for one in report.artifact.quality.categories:
        own = spec.thresholds.get(one.category)
        if own != one.threshold:
            return f"{ARTIFACT}: threshold of {one.category!r} is {own}, {REPORT_JSON} judged {one.threshold}"
    return None


def _sizes_match(out: Path, report: Report) -> str | None:
    if report.artifact is None:
        return None
    files = report.artifact.files
    uncounted = sorted({MODEL, ARTIFACT} - set(files))
    if uncounted:
        return f"{uncounted[0]} is deployed, but {REPORT_JSON} does not count its bytes"
    for name, stated in files.items():
        path = out / name
        if name not in DEPLOYED or not _is_plain_file(path):
            return f"{REPORT_JSON}: artifact.files names {name!r}, which is no deployed file of this artifact"
        size = path.stat().st_size
        if size != stated:
            return f"{name} has {size} bytes, {REPORT_JSON} says {stated}"
    total = [one.value for one in report.artifact.measurements if one.metric == "artifact_size"]
    if total and total[0] != sum(files.values()):
        return f"{REPORT_JSON}: artifact_size is {total[0]:.0f} B, its files add up to {sum(files.values())} B"
    return None


def _chosen_is_a_candidate(out: Path, report: Report) -> str | None:
    if report.artifact is None:
        return None
    ids = [candidate.id for candidate in report.candidates]
    if report.chosen is None or ids.count(report.chosen) != 1:
        return f"{REPORT_JSON}: chosen is {report.chosen!r}, which is not one of its {len(ids)} candidates"
    return None


def _verdict_follows(out: Path, report: Report) -> str | None:
    derived = judge_report(report)
    if report.verdict == derived:
        return None
    stored = "none" if report.verdict is None else report.verdict.overall
    follows = "none" if derived is None else derived.overall
    if stored != follows:
        return f"{REPORT_JSON}: the verdict says {stored!r}, its own measurements say {follows!r}"
    return f"{REPORT_JSON}: the verdict is not the one that follows from its own measurements and limits"


_CHECKS: tuple[tuple[str, Look], ...] = (
    ("the report describes an artifact", _an_artifact_is_described),
    (f"{ARTIFACT} is a specification", _artifact_json_parses),
    ("every file has a digest in the report", _everything_is_listed),
    ("every digest matches", _digests_match),
    ("nothing else is in the directory", _nothing_else_is_there),
    ("specification and report agree", _parts_agree),
    ("sizes on disk are those reported", _sizes_match),
    ("the chosen candidate is in the list", _chosen_is_a_candidate),
    ("the verdict follows from the measurements", _verdict_follows),
)


def _read(out: Path, name: str, kind: type[_File]) -> _File:
    if not out.is_dir():
        raise InputRejected(f"{out} is not a directory; an artifact is a directory with {ARTIFACT} and {REPORT_JSON}")
    path = out / name
    if not _is_plain_file(path):
        raise InputRejected(f"{name} is missing from {out}, or is not a plain file: copy the whole artifact again")
    try:
        return kind.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise InputRejected(f"{name}: {where}: {first['msg']}; it is damaged, or of another budgetc") from error
    except OSError as error:
        raise InputRejected(f"{name} cannot be read: {error.strerror or error}") from error


def _is_plain_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
