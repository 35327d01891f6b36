import hashlib
import os
from pathlib import Path

import pytest

from budgetc.core.target import Target
from budgetc.errors import ConfigError
from budgetc.load.config import (
    list_budgets,
    list_recipes,
    list_targets,
    load_budget,
    load_recipe,
    load_target,
    shipped_dir,
)
from budgetc.search.space import network_of

LIMIT = "limits: {latency_p95: 25 ms}\n"


def written(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", list_budgets())
def test_every_shipped_budget_names_a_shipped_target_and_recipes(name: str) -> None:
    """A budget that ships can be used as it is."""
    loaded = load_budget(name)
    assert load_target(loaded.budget.target, relative_to=loaded.path.parent).target.name == loaded.budget.target
    for recipe in loaded.budget.search.recipes:
        load_recipe(recipe, relative_to=loaded.path.parent)


@pytest.mark.parametrize("name", list_targets())
def test_every_shipped_target_is_called_like_its_file(name: str) -> None:
    """The name in the file is the name it is found by, and every fact has a source."""
    target = load_target(name).target
    assert target.name == name
    assert all(fact.source for fact in target.facts)


@pytest.mark.parametrize("name", list_recipes())
def test_every_shipped_recipe_has_distinct_plans_that_can_be_enumerated(name: str) -> None:
    """At most 48 networks a recipe, and 128 plans of them; no two the same."""
    recipe = load_recipe(name).recipe
    plans = list(recipe.plans(seed=0))
    ids = [plan.id for plan in plans]
    assert recipe.name == name
    assert 0 < len({network_of(plan) for plan in plans}) <= 48
    assert len(ids) <= 128
    assert len(set(ids)) == len(ids)


def test_the_default_recipes_ship() -> None:
    """A budget that names no recipe finds the default ones."""
    assert set(list_recipes()) >= {"quantize", "distill-quantize", "quantize-distill-prune"}


def test_a_recipe_may_keep_the_teacher() -> None:
    """`null` among the widths means the plan without a smaller teacher."""
    teachers = {plan.steps[0].teacher for plan in load_recipe("distill-quantize").recipe.plans(0)}  # type: ignore[union-attr]
    assert teachers == {None, 0.5, 0.25, 0.125}


def test_detect_is_settled_and_explained() -> None:
    """The loaded target has a number of weight levels, and a fact that says where it comes from."""
    target = load_target("host-cpu").target
    assert target.weight_levels in (63, 127)
    assert target.facts[-1].fact == "INT8 weight levels"
    assert f"+-{target.weight_levels}" in target.facts[-1].value


def test_stated_weight_levels_are_kept(tmp_path: Path) -> None:
    """Only `detect` is settled here."""
    text = (shipped_dir("target") / "host-cpu.yaml").read_text().replace("weight_levels: detect", "weight_levels: 63")
    target: Target = load_target(written(tmp_path, text)).target
    assert target.weight_levels == 63
    assert "INT8 weight levels" not in [fact.fact for fact in target.facts]


def test_the_digest_is_of_the_bytes(tmp_path: Path) -> None:
    """sha256 names the file's exact content."""
    path = written(tmp_path, f"target: host-cpu\n{LIMIT}")
    loaded = load_budget(path)
    assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert loaded.path == path


def test_a_path_wins_over_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in the working directory is meant before one that ships."""
    written(tmp_path, "target: mine\nlimits: {artifact_size: 1 MiB}", "host-cpu.yaml")
    monkeypatch.chdir(tmp_path)
    assert load_budget("host-cpu.yaml").budget.target == "mine"
    assert load_budget("host-cpu").budget.target == "host-cpu"


def test_a_folder_of_the_same_name_hides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder cannot be a budget, so the name is looked up."""
    (tmp_path / "host-cpu").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_budget("host-cpu").budget.target == "host-cpu"


def test_paths_in_a_budget_start_at_its_folder(tmp_path: Path) -> None:
    """An own target beside an own budget is found from any working directory."""
    written(tmp_path, (shipped_dir("target") / "host-cpu.yaml").read_text(), "board.yaml")
    written(tmp_path, (shipped_dir("recipe") / "quantize.yaml").read_text(), "own.yaml")
    assert load_target("board.yaml", relative_to=tmp_path).path == tmp_path / "board.yaml"
    assert load_recipe("own.yaml", relative_to=tmp_path).path == tmp_path / "own.yaml"


@pytest.mark.parametrize("loader", [load_budget, load_target, load_recipe])
def test_a_fifo_instead_of_a_file_is_refused(tmp_path: Path, loader: object) -> None:
    """It is found as a path and refused, not waited for."""
    os.mkfifo(tmp_path / "host-cpu.yaml")
    with pytest.raises(ConfigError, match="is not a regular file"):
        loader(tmp_path / "host-cpu.yaml")  # type: ignore[operator]


def test_unknown_names_list_the_known_ones() -> None:
    """Each kind says what there is and what was probably meant."""
    with pytest.raises(ConfigError, match=r"unknown budget 'hostcpu'.*did you mean 'host-cpu'"):
        load_budget("hostcpu")
    with pytest.raises(ConfigError, match=r"unknown target 'zzz'.*targets/devices/; known: host-cpu"):
        load_target("zzz")
    with pytest.raises(ConfigError, match=r"unknown recipe 'quantise'.*did you mean 'quantize'"):
        load_recipe("quantise")


def test_a_name_cannot_leave_the_shipped_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path is a path, never a name."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"unknown budget '\.\./devices/host-cpu'"):
        load_budget("../devices/host-cpu")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("- 1", "the file: expected a map of keys and values, found a list of 1"),
        ("just text", "expected a map of keys and values, found 'just text'"),
        (LIMIT, "target: is required but missing"),
        ("target: t", "limits: is required but missing"),
        (f"target: t\n{LIMIT}evidnce: measured", "evidnce: unknown key; did you mean 'evidence'"),
        (f"target: t\n{LIMIT}zzz: 1", "zzz: unknown key; known: target, evidence"),
        (f"target: t\n{LIMIT}evidence: mesured", "evidence: expected 'measured' or 'predicted', found 'mesured'; did"),
        (f"target: 3\n{LIMIT}", "target: expected text, found 3"),
        ("target: t\nlimits: {latency_p95: 10}", "limits.latency_p95: .*a unit such as '25 ms', found 10"),
        ("target: t\nlimits: {latncy_p95: 10 ms}", "limits.latncy_p95: unknown key; did you mean 'latency_p95'"),
        ("target: t\nlimits: {latency_p95: -1 ms}", "limits.latency_p95: expected a number with one of the units"),
        ("target: t\nlimits: {latency_p95: 0 ms}", "limits.latency_p95: expected greater than 0, found '0 ms'"),
        ("target: t\nlimits: {peak_memory: 3 Mb}", "limits.peak_memory: .*units B, kB, MB, GB, KiB.*found '3 Mb'"),
        ("target: t\nlimits: {}", "limits: no limit is given"),
        ("target: t\nlimits:", "limits: has no value; write one or remove the key"),
        ("target: t\nlimits: {artifact_size: 1 MiB, auroc: }", "limits.auroc: has no value"),
        ("target: t\nlimits: {auroc: {}}", "limits.auroc: auroc needs min, max_drop or both"),
        ("target: t\nlimits: {auroc: {min: 95}}", "limits.auroc.min: .*found 95; write 0.95 for 95 %"),
        ("target: t\nlimits: {auroc: {min: 95 %}}", "limits.auroc.min: .*found '95 %'; write a share such as 0.95"),
        ("target: t\nlimits: {auroc: {min: '0.9'}}", "limits.auroc.min: expected a number, found '0.9'"),
        ("target: t\nlimits: {auroc: {min: 0}}", "limits.auroc.min: expected greater than 0, found 0"),
        ("target: t\nlimits: {auroc: {mim: 0.9}}", "limits.auroc.mim: unknown key; did you mean 'min'"),
        ("target: t\nlimits: {auroc: {min: 0.9, policy: noninferior}}", "policy noninferior .* needs max_drop"),
        (f"target: t\n{LIMIT}search: {{trainings: true}}", "search.trainings: expected a whole number, found True"),
        (f"target: t\n{LIMIT}search: {{seed: 1.5}}", "search.seed: expected a whole number, found 1.5"),
        (f"target: t\n{LIMIT}search: {{recipes: quantize}}", "search.recipes: expected a list, found 'quantize'"),
        (f"target: t\n{LIMIT}search: {{time: 30}}", "search.time: expected a number with a unit"),
    ],
)  # fmt: skip
def test_a_wrong_budget_says_what_to_write_instead(tmp_path: Path, text: str, sentence: str) -> None:
    """File, field, what was found, what was expected."""
    with pytest.raises(ConfigError, match=sentence) as caught:
        load_budget(written(tmp_path, text))
    assert str(caught.value).startswith(str(tmp_path / "mine.yaml"))


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    """Nobody fixes one typo a run."""
    with pytest.raises(ConfigError, match=r"not a valid budget, 2 problems:\n  .*\n  .*") as caught:
        load_budget(written(tmp_path, "target: t\nevidence: x\nlimits: {latency_p95: 10}"))
    assert "evidence" in str(caught.value) and "limits.latency_p95" in str(caught.value)


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        ("[{step: quantise}]", "steps.0: expected .*'prune', found 'quantise'; did you mean 'quantize'"),
        ("[{step: quantize, settings: {scopee: all}}]", "steps.0.scopee: unknown key; did you mean 'scope'"),
        ("[{step: fp16}, {step: quantize, choices: {scope: [al]}}]", "steps.1.scope: .*found 'al'; did you mean 'all'"),
        ("[{step: prune, settings: {keep: 50}}]", "steps.0.keep: .*found 50; write 0.5 for 50 %"),
        ("[{step: prune, settings: {keep: [1]}}]", "steps.0.settings.keep: expected .* or text.*, found a list of 1"),
        ("[{step: prune, choices: {keep: 0.5}}]", "steps.0.choices.keep: expected a list, found 0.5"),
        ("[{step: prune, choices: {keep: []}}]", "steps.0.choices.keep: no value to try"),
        ("[{step: prune, settings: {keep: 0.5}, choices: {keep: [0.5]}}]", "keep is in settings and in choices"),
        ("[]", "steps: .*at least 1 item"),
        ("[{step: prune, option: true}]", "steps.0.option: unknown key; did you mean 'optional'"),
    ],
)
def test_a_wrong_recipe_says_what_to_write_instead(tmp_path: Path, steps: str, sentence: str) -> None:
    """Steps are settled when the recipe is loaded, not when the search meets them."""
    with pytest.raises(ConfigError, match=sentence):
        load_recipe(written(tmp_path, f"name: x\ndescription: y\nsteps: {steps}"))
