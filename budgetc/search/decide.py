"""The next step of a search: cost before quality, then towards small size.

Bytes are known for every structure before anything is trained, so only AUROC is modeled. A training
is spent where P(complies) x log(size of the best so far / size) is largest: the expected gain in the
logarithm of size. The search ends when nothing smaller can still comply.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from budgetc.search.gaussian_process import posterior
from budgetc.search.space import (
    FULL,
    QUICK,
    Decision,
    PriceStructure,
    Row,
    Rules,
    Screen,
    Stop,
    Train,
    alike,
    eligible,
    incumbent,
    order,
    tells_at_once,
)

HOPELESS = 0.05
"""Probability of complying below which a structure is not worth a training."""
_PATIENCE = 12
"""Trainings, of any rung, before a search that found nothing compliant may give up: a model of fewer is a guess."""
_NOISE = 0.004
"""Deviation of an AUROC between two trainings of the same structure that differ in their seed."""
_SHIFT, _SHIFT_WEIGHT = 0.05, 0.5
"""AUROC(full) - AUROC(quick) before any structure was trained at both, and how many pairs that counts for."""
_SHIFT_NOISE = 0.08
"""Deviation of that difference between structures, before it was seen; counts for one pair."""

_AT_HAND = 8
"""How much sooner a structure is looked at whose network needs no training or has it: that is seconds, not minutes."""


@dataclass(frozen=True, slots=True)
class Prospect:
    """A structure that is smaller than the best so far and not yet known to fail."""

    row: Row
    chance: float
    """Probability that its fully trained AUROC reaches the floor."""
    gain: float
    at_hand: bool
    """Whether its network needs no training, or is trained already and only stored otherwise."""


def decide(rows: Sequence[Row], rules: Rules) -> Decision:
    """What to do next. Equal inputs give equal decisions.

    Args:
        rows: everything known, in any order; all of one settings length.
        rules: limits and what is left to spend.
    """
    unpriced = [row.id for row in rows if row.size is None and not row.failed]
    if unpriced:
        return PriceStructure(unpriced[0])
    best = incumbent(rows, rules)
    open_rows = [row for row in rows if eligible(row, rules) and not _settled(row)]
    if best is not None:
        # What needs no training is looked at among equals, too: the best of them is chosen.
        open_rows = [row for row in open_rows if order(row) < order(best) or (tells_at_once(row) and alike(row, best))]
    if not open_rows:
        return Stop(_nothing_open(rows, rules, best))
    if rules.time_is_up:
        # Pricing alone may take all of a short time: what needs no training is still judged, and is an answer.
        at_once = [row for row in open_rows if tells_at_once(row)]
        if best is not None or not at_once or any(row.auroc for row in rows):
            return Stop(f"the time is up; {len(open_rows)} smaller structures were not judged")
        open_rows = at_once
    ranked = prospects(rows, open_rows, best, rules)
    if best is not None and ranked[0].chance < HOPELESS:
        return Stop(f"each of the {len(ranked)} smaller structures has less than {HOPELESS:.0%} chance to comply")
    if best is None and _any_of(ranked) < HOPELESS and _trainings(rows) >= _PATIENCE:
        return Stop(f"together, the {len(ranked)} structures left have less than {HOPELESS:.0%} chance to comply")
    return _spend(ranked, rows, rules)


def _trainings(rows: Sequence[Row]) -> int:
    return len({(row.training or row.id, rung) for row in rows if row.trains for rung in row.auroc})


def _any_of(ranked: list[Prospect]) -> float:
    """Chance that at least one complies, were they independent: to give up needs more than to stop improving."""
    return 1 - math.prod(1 - prospect.chance for prospect in ranked)


def _spend(ranked: list[Prospect], rows: Sequence[Row], rules: Rules) -> Decision:
    free = [found for found in ranked if not found.row.trains or found.at_hand or rules.trainings_left > 0]
    if not free:
        return Stop(f"all trainings are spent; {len(ranked)} smaller structures were not judged")
    chosen = free[0]
    if chosen.row.fits is None:
        return Screen(chosen.row.id)
    reason = f"{chosen.chance:.0%} chance to reach the AUROC floor, at {chosen.row.size} B"
    if not chosen.row.trains or chosen.at_hand:
        return Train(chosen.row.id, FULL, reason)
    family = [row for row in rows if row.training == chosen.row.training and row.training] or [chosen.row]
    # After the last training nothing could follow that makes an artifact of a quick one.
    if rules.trainings_left == 1 or any(QUICK in row.auroc for row in family):
        return Train(chosen.row.id, FULL, reason)
    # A quick training shows what the network can where its weights are hardly rounded.
    first = max((row for row in family if eligible(row, rules)), key=lambda row: (row.stored_bits, row.id))
    return Train(first.id, QUICK, reason)


def prospects(rows: Sequence[Row], open_rows: Sequence[Row], best: Row | None, rules: Rules) -> list[Prospect]:
    """Open structures, best expected gain first; hopeless ones last, the likeliest of them first."""
    reference = best if best is not None else max(open_rows, key=order)
    assert reference.size is not None
    # One percent more than the largest keeps a gain for the largest itself.
    ceiling = reference.size * 1.01
    chances = _chances(rows, open_rows, rules)
    trained = {row.training for row in rows if row.training and FULL in row.auroc}
    found = []
    for row, chance in zip(open_rows, chances, strict=True):
        assert row.size is not None
        # What needs no training tells at once, and PTQ is where a user would start.
        gain = math.inf if tells_at_once(row) else chance * math.log(ceiling / row.size)
        at_hand = not row.trains or row.training in trained
        found.append(Prospect(row, chance, gain * (_AT_HAND if at_hand else 1), at_hand))
    return sorted(found, key=_rank)


def _rank(prospect: Prospect) -> tuple[bool, float, tuple[int, str]]:
    hopeless = prospect.chance < HOPELESS
    return hopeless, -prospect.chance if hopeless else -prospect.gain, order(prospect.row)


def _settled(row: Row) -> bool:
    return FULL in row.auroc


def _chances(rows: Sequence[Row], queries: Sequence[Row], rules: Rules) -> list[float]:
    if rules.floor is None:
        return [1.0] * len(queries)
    shift, shift_noise = _shift(rows)
    known, values, noise = [], [], []
    for row in rows:
        if FULL in row.auroc:
            known.append(row.settings)
            values.append(row.auroc[FULL])
            noise.append(_NOISE)
        elif QUICK in row.auroc:
            known.append(row.settings)
            values.append(min(row.auroc[QUICK] + shift, 1.0))
            noise.append(shift_noise)
    dimensions = len(queries[0].settings)
    found = posterior(
        np.array(known, dtype=np.float64).reshape(-1, dimensions),
        np.array(values, dtype=np.float64),
        np.array(noise, dtype=np.float64),
        np.array([row.settings for row in queries], dtype=np.float64),
        prior_mean=rules.floor,
    )
    return [float(chance) for chance in found.above(rules.floor)]


def _shift(rows: Sequence[Row]) -> tuple[float, float]:
    """Mean and deviation of AUROC(full) - AUROC(quick), both shrunk to what is usual."""
    pairs = [row.auroc[FULL] - row.auroc[QUICK] for row in rows if FULL in row.auroc and QUICK in row.auroc]
    mean = (_SHIFT * _SHIFT_WEIGHT + sum(pairs)) / (_SHIFT_WEIGHT + len(pairs))
    squares = sum((pair - mean) ** 2 for pair in pairs)
    return mean, math.sqrt((_SHIFT_NOISE**2 + squares) / (1 + len(pairs)))


def _nothing_open(rows: Sequence[Row], rules: Rules, best: Row | None) -> str:
    if best is not None:
        return _none_smaller(rows, best)
    if not any(eligible(row, rules) for row in rows):
        return "no structure keeps size, latency and memory: nothing was worth training"
    return "every structure that keeps size, latency and memory was judged"


def _none_smaller(rows: Sequence[Row], best: Row) -> str:
    unbuilt = sum(row.failed for row in rows)
    built = sum(not row.failed and row.size is not None and order(row) < order(best) for row in rows)
    if built == 0:
        found = "no smaller structure could be judged" if unbuilt else "no structure is smaller"
    else:
        found = (
            "the only smaller structure does not comply"
            if built == 1
            else f"none of the {built} smaller structures complies"
        )
    return f"{found}; {unbuilt} of {len(rows)} could not be built" if unbuilt else found
