"""Sweep files, and what they multiply out to."""

from pathlib import Path

import pytest

from budgetc.errors import ConfigError, UsageError
from budgetc.load.config import load_budget, load_target
from budgetc.sweeps.members import load_sweep, members_of

BUDGET = """
target: mine.yaml
data: photos
limits: {artifact_size: 1 MiB, auroc: {min: 0.9}}
search: {recipes: [own.yaml, quantize], time: 10 min}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A budget with a target and a recipe of its own beside it."""
    shipped = load_target("host-cpu").path.read_text()
    (tmp_path / "mine.yaml").write_text(shipped.replace("name: host-cpu", "name: mine"))
    (tmp_path / "budget.yaml").write_text(BUDGET)
    (tmp_path / "own.yaml").write_text("name: own\ndescription: d\nsteps:\n  - step: quantize\n")
    return tmp_path


def test_paths_start_at_the_file(folder: Path) -> None:
    """Models and data always; budgets and targets where such a file is there, else they are names."""
    (folder / "sweep.yaml").write_text(
        "models: [a.pt]\nbudgets: [budget.yaml, host-cpu]\n"
        "targets: [mine.yaml, host-cpu]\nseeds: [0, 1]\ndata: photos\n"
    )
    found = load_sweep(folder / "sweep.yaml")
    assert found.models == (str(folder / "a.pt"),)
    assert found.budgets == (str(folder / "budget.yaml"), "host-cpu")
    assert found.targets == (str(folder / "mine.yaml"), "host-cpu")
    assert (found.seeds, found.data) == ((0, 1), str(folder / "photos"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("models: [a.pt]\n", "budgets"),
        ("models: []\nbudgets: [b]\n", "models"),
        ("models: [a.pt]\nbudgets: [b]\ntarget: [host-cpu]\n", "did you mean 'targets'"),
        ("models: a.pt\nbudgets: [b]\n", "models: expected a list"),
        ("models: [a.pt]\nbudgets: [b]\nseeds: [one]\n", r"seeds\.0: expected a whole number"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """Field and expectation, as for every other file."""
    (tmp_path / "sweep.yaml").write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_sweep(tmp_path / "sweep.yaml")


def test_every_combination_once(folder: Path) -> None:
    """Named by what differs; combinations that share most follow each other."""
    found = list(
        members_of(["a.pt", "b.pt"], ["host-cpu", "x86-avx2"], [folder / "budget.yaml"], [0, 1], folder=folder)
    )
    assert len({member.name for member in found}) == 8
    assert [member.model.stem for member in found] == ["a"] * 4 + ["b"] * 4
    assert found[0].name == "a.budget.host-cpu.seed0"
    assert (found[1].target, found[1].seed) == ("x86-avx2", 0)


def test_without_replacements_the_budget_is_taken_as_it_is(folder: Path) -> None:
    """Its own file, target and seed."""
    (member,) = members_of(["a.pt"], [], [folder / "budget.yaml"], [], folder=folder)
    assert (member.name, member.budget, member.target, member.seed) == ("a.budget", folder / "budget.yaml", "mine", 0)


def test_a_replaced_target_is_a_budget_of_its_own(folder: Path) -> None:
    """A file that loads from anywhere and means the same but for what was replaced."""
    (folder / "out").mkdir()
    (member,) = members_of(["a.pt"], ["host-cpu"], [folder / "budget.yaml"], [7], folder=folder / "out")
    before, after = load_budget(folder / "budget.yaml").budget, load_budget(member.budget).budget
    assert member.budget.is_relative_to(folder / "out" / "budgets")
    assert load_target(after.target).target.name == "host-cpu"
    assert (after.search.seed, after.data) == (7, str(folder / "photos"))
    assert after.search.recipes == (str(folder / "own.yaml"), "quantize")
    assert (after.limits, after.search.time) == (before.limits, before.search.time)


def test_a_replaced_seed_keeps_the_target_beside_the_budget(folder: Path) -> None:
    """A relative target still means the same file."""
    (folder / "out").mkdir()
    (member,) = members_of(["a.pt"], [], [folder / "budget.yaml"], [7], folder=folder / "out")
    assert load_target(load_budget(member.budget).budget.target, member.budget.parent).target.name == "mine"


def test_two_of_one_name_are_refused(folder: Path) -> None:
    """One would overwrite the other."""
    with pytest.raises(UsageError, match=r"two combinations are called a\.budget: rename a file"):
        list(members_of(["a.pt", "elsewhere/a.pt"], [], [folder / "budget.yaml"], [], folder=folder))


def test_an_unknown_target_is_refused_before_anything_is_done(folder: Path) -> None:
    """The known ones are listed."""
    with pytest.raises(ConfigError, match="unknown target 'jetson'"):
        list(members_of(["a.pt"], ["jetson"], [folder / "budget.yaml"], [], folder=folder))
