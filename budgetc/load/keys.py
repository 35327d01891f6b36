"""Keys of other people's networks under our names: each is taken, known to be dead, or refused."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from budgetc.errors import InputRejected
from budgetc.load.layouts import is_bystander
from budgetc.load.tensors import named

NORM_FIELDS = ("weight", "bias", "running_mean", "running_var")
_STARTS = ("conv1.", "bn1.", "layer", "fc.", "stem.", "stages.")
"""Of the keys of a backbone whose names have no prefix: torchvision's names, and ours."""


@dataclass(frozen=True, slots=True)
class Part:
    """One network of a file."""

    title: str
    """What errors call it."""
    where: str
    weights: Mapping[str, Tensor]
    """All of the file."""
    prefix: str
    names: Mapping[str, str]
    """Its keys without the prefix -> ours."""
    dead: Callable[[str], bool]
    """Whether a key, without the prefix, is of layers that the detector does not execute."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Weights of several networks under our names, and which keys were left."""

    weights: Mapping[str, Tensor]
    dropped: tuple[str, ...]


def take(parts: Sequence[Part], expected: Mapping[str, Tensor]) -> Taken:
    """The weights of all parts as float32.

    Args:
        parts: networks of one or more files.
        expected: our names, with tensors whose shapes count (on the meta device, if you like).

    Raises:
        InputRejected: a key is missing, of another shape, of no layer of its network, or of no network at all.
    """
    weights, dropped = dict[str, Tensor](), list[str]()
    for part in parts:
        dropped += _take(part, expected, weights)
    return Taken(weights, (*dropped, *_strangers(parts)))


def refuse(where: str, problems: Mapping[str, Sequence[str]]) -> None:
    """Raise for keys that do not fit.

    Args:
        problems: what is wrong, such as "missing" -> the keys of which that is true.

    Raises:
        InputRejected: there are any.
    """
    found = [f"{len(keys)} keys {what}: {named(list(keys))}" for what, keys in problems.items() if keys]
    if found:
        raise InputRejected(f"{where}: {'; '.join(found)}")


def said_of_dropped(dropped: Sequence[str], prefixes: Sequence[str]) -> list[str]:
    """A note on keys that the detector does not need, by module; none where only counters were left out.

    Args:
        prefixes: of the networks: a module is named with the one that its keys have.
    """
    modules = Counter(_module(key, prefixes) for key in dropped if not is_counter(key))
    listed = ", ".join(f"{module} ({count} keys)" for module, count in sorted(modules.items()))
    return [f"dropped, since the detector does not need them: {listed}"] if modules else []


def is_counter(key: str) -> bool:
    """Whether a key counts what BatchNorm has seen: training alone needs it."""
    return key.endswith("num_batches_tracked")


def _take(part: Part, expected: Mapping[str, Tensor], weights: dict[str, Tensor]) -> list[str]:
    own = {key.removeprefix(part.prefix): value for key, value in part.weights.items() if key.startswith(part.prefix)}
    rest = [key for key in own if key not in part.names]
    dead = [key for key in rest if is_counter(key) or part.dead(key)]
    refuse(f"{part.where}: {part.title}", {
        "missing": sorted(part.prefix + key for key in part.names if key not in own),
        # With an empty prefix everything in the file starts with it; other networks are then not ours to judge.
        "not expected": sorted(part.prefix + key for key in set(rest) - set(dead)) if part.prefix else [],
        "of another shape": [
            f"{part.prefix}{key} is {tuple(own[key].shape)}, expected {tuple(expected[ours].shape)}"
            for key, ours in part.names.items()
            if key in own and own[key].shape != expected[ours].shape
        ],
    })  # fmt: skip
    weights |= {ours: own[theirs].float() for theirs, ours in part.names.items()}
    return [part.prefix + key for key in dead]


def _strangers(parts: Sequence[Part]) -> list[str]:
    """Keys of no network: those of known frameworks are dropped, any other is refused."""
    dropped = list[str]()
    for where, weights in {id(part.weights): (part.where, part.weights) for part in parts}.values():
        here = [part for part in parts if part.weights is weights]
        outside = [key for key in weights if not any(_belongs(key, part) for part in here)]
        refuse(where, {"that belong to no network": sorted(key for key in outside if not is_bystander(key))})
        dropped += outside
    return dropped


def _belongs(key: str, part: Part) -> bool:
    return key.startswith(part.prefix) if part.prefix else key in part.names or key.startswith(_STARTS)


def _module(key: str, prefixes: Sequence[str]) -> str:
    prefix = next((prefix for prefix in prefixes if prefix and key.startswith(prefix)), "")
    return prefix + key.removeprefix(prefix).split(".")[0]
