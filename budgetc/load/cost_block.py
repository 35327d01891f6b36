"""The `cost:` block that ends a target's file: machines write it, people write everything above."""

import io
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from budgetc.core.cost import CostModel
from budgetc.errors import ConfigError

_START = "\ncost:\n"


def with_cost(text: str, cost: CostModel) -> str:
    """The text of a target's file with another `cost:` block; without one it is appended.

    Raises:
        ConfigError: something follows the block, which would be lost.
    """
    head, found, block = text.partition(_START)
    after = next((line for line in block.splitlines() if line and line[0] not in " -#"), None)
    if after is not None:
        raise ConfigError(f"`cost:` must be the last block of a target's file; move {after!r} above it")
    written = io.StringIO()
    yaml = YAML()
    yaml.width, yaml.indent = 118, 2
    yaml.dump({"cost": _plain(cost.model_dump(mode="json", exclude_none=True, exclude_defaults=True))}, written)
    return f"{head if found else text.rstrip()}\n{written.getvalue()}"


def write_cost(path: Path, cost: CostModel) -> None:
    """Replace the `cost:` block of a target's file, and nothing else of it."""
    changed = with_cost(path.read_text(encoding="utf-8"), cost)
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(changed, encoding="utf-8")
    beside.replace(path)


def _plain(value: Any, depth: int = 0) -> Any:
    """Nested maps of the outer levels in block style, small ones on one line."""
    if isinstance(value, dict):
        made = CommentedMap({key: _plain(item, depth + 1) for key, item in value.items()})
        if depth and not any(isinstance(item, (dict, list)) and depth < 2 for item in value.values()):
            made.fa.set_flow_style()
        return made
    return [_plain(item, depth + 1) for item in value] if isinstance(value, list) else value
