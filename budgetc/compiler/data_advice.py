"""What to photograph next, from what a data set has and lacks."""

from collections.abc import Iterator, Sequence

from budgetc.compiler.data_record import Curve, Finding, Stock
from budgetc.core.dataset import GOOD

DEFECT_GROUPS = 10
"""Parts with a defect type below which its recall and AUROC say little: 4 go to selection, 6 to confirmation."""
TEST_GROUPS = 50
"""Normal groups in test of which selection gets 20."""
FEW_SCENES = 3
_ENOUGH_TO_TELL = 40


def photograph_next(
    missing: Sequence[str],
    stock: Sequence[Stock],
    curves: Sequence[Curve],
    findings: Sequence[Finding],
    *,
    scenes: int | None = None,
) -> tuple[str, ...]:
    """Short concrete sentences: what is missing first, then what changes figures most.

    `scenes` is the number of clips with normal frames, where pictures are frames.
    """
    if scenes is not None:
        few = scenes < FEW_SCENES
        clips = [f"normal frames of {FEW_SCENES - scenes} other drives, as train/<scene>: {scenes} scene says nothing "
                 "about other days and places"] if few else []  # fmt: skip
        return (*missing, *clips, *_normals(stock, curves))
    leaks = [one for one in findings if one.kind == "same part" and "in train and in test" in one.text]
    decide = [f"nothing yet for {len(leaks)} clusters of groups that look like one part in train and in test: decide "
              "by eye, and give them one name in groups.csv on one side"] if leaks else []  # fmt: skip
    return (
        *missing, *decide, *_normals(stock, curves), *_coverage(findings), *_defects(stock), *_test_normals(stock),
    )  # fmt: skip


def _normals(stock: Sequence[Stock], curves: Sequence[Curve]) -> Iterator[str]:
    have = {one.category: one for one in stock if one.part == "train"}
    for curve in curves:
        count, of = have[curve.category].pictures, _of(curve.category)
        match curve.trend:
            case "still improves" if curve.per_doubling is not None:
                rise = f"AUROC still rises by {curve.per_doubling:.3f}"
                fall = f"the scores of unseen normals still fall by {100 * curve.per_doubling:.0f} %"
                gain = rise if curve.metric == "auroc" else fall
                yield f"about {count} more normals{of}, of other parts: {gain} with every doubling"
            case "too few to tell":
                more = max(_ENOUGH_TO_TELL - count, DEFECT_GROUPS)
                yield f"at least {more} more normals{of}, of other parts: {count} are too few to tell if more help"
            case _:
                pass


def _coverage(findings: Sequence[Finding]) -> Iterator[str]:
    for one in findings:
        if one.kind == "coverage":
            yield f"normals for train taken as in the test: {one.text}"


def _defects(stock: Sequence[Stock]) -> Iterator[str]:
    for one in stock:
        if one.part == "test" and one.defect != GOOD and one.groups < DEFECT_GROUPS:
            yield (
                f"defect type {one.defect}{_of(one.category)}: {one.pictures} pictures of {one.groups} parts: "
                f"at least {DEFECT_GROUPS - one.groups} more parts with it"
            )


def _test_normals(stock: Sequence[Stock]) -> Iterator[str]:
    groups = sum(one.groups for one in stock if one.part == "test" and one.defect == GOOD)
    if 0 < groups < TEST_GROUPS:
        yield (
            f"normals for test: {TEST_GROUPS - groups} more parts ({groups} now): intervals, and the threshold's "
            f"false alarms, are only as sure as the number of parts"
        )


def _of(category: str) -> str:
    return "" if category == "all" else f" of {category}"
