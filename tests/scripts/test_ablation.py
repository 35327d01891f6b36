"""benchmarks/ablation.py: what is left out, and the line of a search that found nothing."""

import importlib
import re
from collections.abc import Iterator
from types import ModuleType

import pytest

from budgetc.core.plan import Distill, Plan, Prune, Quantize
from tests.report.example import make_report, with_limits

WINNER = 400_000


@pytest.fixture
def ablation(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The script, which finds what lies beside it."""
    monkeypatch.syspath_prepend("benchmarks")
    yield importlib.import_module("ablation")


def test_the_usage_names_what_is_required(ablation: ModuleType) -> None:
    """The line can be copied."""
    usage = str(ablation.__doc__).split("\n\n")[1]
    assert set(re.findall(r"(?<![\[-])(--?[a-z]+)", usage)) == {"--case", "--model", "--budget", "--data", "--out",
                                                             "--store", "-o"}  # fmt: skip


def test_a_kind_is_left_out_once(ablation: ModuleType) -> None:
    """Both steps of a kind go at once: a second search would be the same, in the same folder."""
    plan = Plan(recipe="r", steps=(Distill(student=0.5), Prune(keep=0.5), Distill(student=0.25), Quantize()), seed=0)
    assert ablation.kinds_of(plan) == ["distill", "prune", "quantize"]


def test_what_complies_over_the_winner(ablation: ModuleType) -> None:
    """By its bytes."""
    line = ablation.line_without("x", make_report(), WINNER)
    assert (line.value, line.ok, line.spread) == (1.057, True, "distill(student 0.25) > quantize")


def test_the_nearest_miss_over_the_winner(ablation: ModuleType) -> None:
    """Where nothing was built to the end, what was priced and screened."""
    budget = with_limits(make_report(), latency_p95="10 ms")
    line = ablation.line_without("x", make_report(budget=budget, artifact=None, comparison=None, chosen=None), WINNER)
    assert (line.ok, line.spread.partition(";")[0]) == (False, "nothing complies")
    assert line.value > 0.9


def test_nothing_at_all(ablation: ModuleType) -> None:
    """A figure that JSON can hold, and a name that says it."""
    line = ablation.line_without("x", make_report(candidates=(), artifact=None, comparison=None, chosen=None), WINNER)
    assert (line.bar, line.value, line.ok) == ("x: nothing complies", 0, False)
