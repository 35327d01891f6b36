"""Who is measured with the full protocol and scored on the sealed confirmation split."""

from collections.abc import Sequence

from budgetc.search.space import FULL, QUICK, Row, Rules, alike, compliant, eligible, order

MOST = 3
"""Finalists that may be scored on the confirmation split."""


def finalists(rows: Sequence[Row], rules: Rules, standard_error: float) -> tuple[str, ...]:
    """Up to three ids, small first: the order in which they are confirmed.

    The smallest structure that passed on the selection split passed partly by luck: so come also the
    smallest that passed by one standard error of its AUROC, and the one with the highest AUROC. Where these are
    fewer than three, the next smallest fill up, other networks before other number formats of the same. Of structures
    that are almost equally small, the one with the higher AUROC comes first.
    """
    passed = _ranked([row for row in rows if compliant(row, rules)])
    if not passed:
        return ()
    floor = rules.floor or 0.0
    safe = [row for row in passed if row.auroc[FULL] >= floor + standard_error]
    best = max(passed, key=lambda row: row.auroc[FULL])
    chosen = {row.id for row in (passed[0], *safe[:1], best)}
    others = [row for row in passed if row.id not in chosen]
    networks = {row.network for row in passed if row.id in chosen}
    smallest = {row.network: row for row in reversed(others) if row.network not in networks}
    for row in sorted(others, key=lambda row: row is not smallest.get(row.network)):
        if len(chosen) < MOST:
            chosen.add(row.id)
    return tuple(row.id for row in passed if row.id in chosen)


def backup(rows: Sequence[Row], rules: Rules) -> Row | None:
    """What to judge before the confirmation split is opened, should the smallest fail there.

    The smallest structure of a network that nothing is known of and that needs no training, until as many networks
    as there may be finalists have passed, in as many bits as one that did; None where it is enough, or nothing is left.
    """
    passed = [row for row in rows if compliant(row, rules)]
    judged = {row.network for row in rows if FULL in row.auroc}
    fewest = min((row.stored_bits for row in passed), default=0.0)
    left = [
        row
        for row in rows
        if not row.trains and row.stored_bits >= fewest and row.network not in judged and eligible(row, rules)
    ]
    return min(left, key=order) if left and 0 < len({row.network for row in passed}) < MOST else None


def safeguard(rows: Sequence[Row], rules: Rules, standard_error: float) -> Row | None:
    """What to judge before the confirmation split is opened, where all that passed may have passed by luck.

    Where nothing passed by a standard error of its AUROC: the structure that was better in a quick training than any of
    these, best first. Then what is smaller than the smallest safe one and stores the same training in fewer bits. None
    where it is enough, or nothing is left.
    """
    passed = [row for row in rows if compliant(row, rules)]
    if not passed or rules.floor is None:
        return None
    best = max(row.auroc[FULL] for row in passed)
    left = [row for row in rows if eligible(row, rules) and FULL not in row.auroc]
    safe = min((row for row in passed if row.auroc[FULL] >= rules.floor + standard_error), key=order, default=None)
    if safe is not None:
        kin = [row for row in left if row.training and row.training == safe.training and order(row) < order(safe)]
        return max(kin, key=order, default=None)
    likely = [row for row in left if row.auroc.get(QUICK, 0.0) > best]
    return max(likely, key=lambda row: row.auroc[QUICK], default=None) if rules.trainings_left > 0 else None


def closest(rows: Sequence[Row], rules: Rules) -> Row | None:
    """Who came nearest where nothing complies: of what keeps latency and memory and has a score, what keeps the size
    comes first (a price before training is one or two kilobytes off), then the highest AUROC, then the smallest.
    """
    tried = [row for row in rows if row.auroc and row.fits and not row.failed]
    return min(tried, key=lambda row: (not eligible(row, rules), -max(row.auroc.values()), order(row)), default=None)


def _ranked(rows: Sequence[Row]) -> list[Row]:
    """Small first; within one percent of the smallest of its kind the higher AUROC first."""
    ranked, rest = list[Row](), sorted(rows, key=order)
    while rest:
        equals = [row for row in rest if alike(row, rest[0])]
        ranked += sorted(equals, key=lambda row: (-row.auroc[FULL], order(row)))
        rest = rest[len(equals) :]
    return ranked


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
        equal = compliant(row, rules) and row.size <= winner.size * 1.02
        if close or equal:
            found.append(row.id)
    return tuple(sorted(found))
