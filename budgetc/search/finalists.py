"""Who is measured with the full protocol and scored on the sealed confirmation split."""

from collections.abc import Sequence

from budgetc.search.space import FULL, Row, Rules, compliant, order


def finalists(rows: Sequence[Row], rules: Rules, standard_error: float) -> tuple[str, ...]:
    """Up to three ids, small first: the order in which they are confirmed.

    The smallest structure that passed on the selection split passed partly by luck: so come also the
    smallest that passed by one standard error of its AUROC, and the one with the highest AUROC.
    """
    passed = sorted((row for row in rows if compliant(row, rules)), key=order)
    if not passed:
        return ()
    floor = rules.floor or 0.0
    chosen = [passed[0]]
    chosen += [row for row in passed if row.auroc[FULL] >= floor + standard_error][:1]
    chosen += [max(passed, key=lambda row: (row.auroc[FULL], [-part for part in (row.size or 0,)]))]
    return tuple(row.id for row in sorted(set_by_id(chosen), key=order))


def set_by_id(rows: Sequence[Row]) -> list[Row]:
    """Each row once."""
    return list({row.id: row for row in rows}.values())


def near_ties(rows: Sequence[Row], rules: Rules, chosen: str, standard_error: float) -> tuple[str, ...]:
    """Ids that a slightly other measurement would have chosen instead.

    Smaller structures whose AUROC misses the floor by less than half a standard error, and compliant
    ones of almost the same size.
    """
    winner = next(row for row in rows if row.id == chosen)
    assert winner.size is not None
    found = []
    for row in rows:
        if row.id == chosen or row.size is None or FULL not in row.auroc or row.fits is not True:
            continue
        missed = (rules.floor or 0.0) - row.auroc[FULL]
        close = row.size < winner.size and 0 < missed < standard_error / 2
        alike = compliant(row, rules) and row.size <= winner.size * 1.02
        if close or alike:
            found.append(row.id)
    return tuple(sorted(found))
