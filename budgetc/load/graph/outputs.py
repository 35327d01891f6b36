"""Which outputs of a model are its score and its map."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from budgetc.errors import InputRejected

_NUMBER = re.compile(r"(.+)\[(\d{1,6})\]")
Results = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Outputs:
    """Names of outputs; without a score it is the largest value of the map."""

    score: str | None
    map: str | None
    notes: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Both, where they are."""
        return tuple(name for name in (self.score, self.map) if name is not None)


def with_number(where: str, model: onnx.ModelProto, score: str | None) -> None:
    """Add an output of one number of another, in place, where a name as `logits[1]` asks for it.

    Raises:
        InputRejected: the other one has fewer.
    """
    asked = _NUMBER.fullmatch(score or "")
    name = score or ""
    known = {value.name: value.type.tensor_type.shape.dim for value in model.graph.output}
    if asked is None or name in known or asked[1] not in known:
        return
    count = known[asked[1]][-1].dim_value if known[asked[1]] else 1
    if 0 < count <= int(asked[2]):
        raise InputRejected(
            f"{where}: --score {name!r}: {asked[1]!r} has {count} number{'s' * (count > 1)}, which are counted from 0"
        )
    place = numpy_helper.from_array(np.array(int(asked[2]), np.int64), f"{name}.place")
    model.graph.initializer.append(place)
    model.graph.node.append(helper.make_node("Gather", [asked[1], place.name], [name], axis=-1))
    model.graph.output.append(
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1] * (len(known[asked[1]]) - 1))
    )


def choose_outputs(where: str, found: Results, wanted: tuple[str | None, str | None], *, line: str) -> Outputs:
    """The one number a picture and the one map, by their shapes where no name says which.

    Args:
        where: the file.
        found: outputs for one picture.
        wanted: the outputs to take for score and map; None: by their shapes.
        line: what a user writes `--score` or `--map` behind.

    Raises:
        InputRejected: a name that is no output or has another shape, several candidates, or none.
    """
    score, map_ = wanted
    for option, name, fits in (("--score", score, _is_score), ("--map", map_, _is_map)):
        if name is not None and (name not in found or not fits(found[name])):
            shape = f"has the shape {found[name].shape}" if name in found else "is no output"
            raise InputRejected(f"{where}: {option} {name!r} {shape}; outputs are {_listed(found)}")
    # A name for one of them says that the other is meant to be found, or is not there.
    chosen = (
        score or _only(where, f"{line} --score", {name: x for name, x in found.items() if _is_score(x)}),
        map_ or _only(where, f"{line} --map", {name: x for name, x in found.items() if _is_map(x)}),
    )
    if chosen == (None, None):
        raise InputRejected(
            f"{where}: no output is an anomaly score (one float) or a map (1, 1, H, W); outputs are {_listed(found)}. "
            f"{_advice(line, found)}"
        )
    notes = []
    dropped = {name: x for name, x in found.items() if name not in chosen}
    if dropped:
        notes.append(f"outputs that are not shipped: {_listed(dropped)}")
    if chosen[0] is None:
        notes.append(f"there is no score among the outputs: it is the largest value of {chosen[1]!r}")
    return Outputs(*chosen, tuple(notes))


def _advice(line: str, found: Results) -> str:
    rows = [name for name, x in found.items() if x.dtype.kind == "f" and 1 < x.size == x.shape[-1]]
    if not rows:
        return "Export the model with the score as an output"
    given = shlex.quote(f"{rows[0]}[{found[rows[0]].size - 1}]")
    return (f"Where one of several numbers is the score, as of a classifier, say which, counted from 0: "
            f"{line} --score {given} -o model.pt")  # fmt: skip


def _is_score(x: NDArray[np.generic]) -> bool:
    return x.dtype.kind == "f" and x.size == 1


def _is_map(x: NDArray[np.generic]) -> bool:
    return x.dtype.kind == "f" and x.ndim >= 2 and x.size > 1 and x.size == x.shape[-1] * x.shape[-2] and 1 not in (
        x.shape[-1], x.shape[-2]
    )  # fmt: skip


def _only(where: str, line: str, candidates: Results) -> str | None:
    if len(candidates) > 1:
        raise InputRejected(
            f"{where}: {len(candidates)} outputs could be meant: {_listed(candidates)}; say which with "
            f"{line} {shlex.quote(next(iter(candidates)))} -o model.pt"
        )
    return next(iter(candidates), None)


def _listed(found: Results) -> str:
    return ", ".join(f"{name} {x.dtype} {x.shape}" for name, x in found.items()) or "none"
