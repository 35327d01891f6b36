"""Whether the network that was made of a model computes the same as onnxruntime computes of the model itself."""

from collections.abc import Mapping, Sequence
from typing import NoReturn

import numpy as np
import torch
from numpy.typing import NDArray

from budgetc.detectors.graph import Graph
from budgetc.errors import InputRejected
from budgetc.load.graph.building import Model, Preparation
from budgetc.load.graph.settling import run

TOLERANCE = 1e-4
"""Of the largest value of a result."""
_JITTER = 2.0**-18
"""Relative change of pixels that shows how well a result is defined: sums in another order differ by about as much."""
_CONDITION = 4.0
"""Times the change that this makes, two right computations of a result may differ."""
Array = NDArray[np.float32]


def pictures(size: tuple[int, int]) -> Array:
    """(4, 3, H, W) in [0, 1]: noise, waves of two kinds with a dark hole in the last, and all gray."""
    rng = np.random.default_rng(0)
    height, width = size
    y, x = np.mgrid[:height, :width]
    noise = rng.random((3, height, width))
    waves = [0.5 + 0.4 * np.sin(a * y + b * x + np.arange(3)[:, None, None]) for a, b in ((0.3, 0.7), (0.9, 0.2))]
    waves[1] = np.where((y > height // 2) & (x < width // 2), 0.1, waves[1])
    made: Array = np.stack([noise, *waves, np.full((3, height, width), 0.5)]).astype(np.float32)
    return made


def prepared(images: Array, model: Model, preparation: Preparation) -> Array:
    """(n, 3, H, W) in [0, 1] -> what the model reads."""
    if model.input.channels == 1:
        images = (images * np.array([[[0.299]], [[0.587]], [[0.114]]])).sum(1, keepdims=True)
    mean, std = (np.array(x).reshape(1, -1, 1, 1) for x in (preparation.mean, preparation.std))
    read = (images * preparation.scale - mean) / std
    ordered = read.transpose(0, 2, 3, 1) if model.input.last else read
    return np.asarray(ordered, np.float32)


@torch.no_grad()
def differs(wanted: Model, module: Graph, preparation: Preparation) -> str | None:
    """Why scores or maps are not those of the model; None where they are.

    Args:
        wanted: the model before it was simplified.
        module: what was made of it.
        preparation: what it expects of a picture.
    """
    images = pictures(wanted.input.size)
    sign = -1 if preparation.lower_is_anomalous else 1
    reference, moved = (_results(wanted, preparation, one) for one in (images, _jittered(images)))
    _refuse_no_numbers(wanted, reference)
    try:
        found = module(torch.from_numpy(images))
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        return f"torch does not compute several pictures at once ({str(error).splitlines()[0]})"
    if wanted.outputs.score is not None:
        scores, others = (np.array([one[wanted.outputs.score].ravel()[0] for one in results]) * sign
                          for results in (reference, moved))  # fmt: skip
        if (reason := _apart(found[0].numpy(), scores, others)) is not None:
            return f"the score {wanted.outputs.score!r} differs by {reason}"
    if wanted.outputs.map is not None:
        maps, others = (
            np.stack([one[wanted.outputs.map].reshape(one[wanted.outputs.map].shape[-2:]) for one in results]) * sign
            for results in (reference, moved)
        )
        raw = dict(module.results(torch.from_numpy(images)))[str(module.config.map)] if module.config.batched else None
        own = np.stack([_raw_map(module, image) for image in images]) if raw is None else raw.numpy()
        if (reason := _apart(own.reshape(maps.shape), maps, others)) is not None:
            return f"the map {wanted.outputs.map!r} differs by {reason}"
    return None


def _results(wanted: Model, preparation: Preparation, images: Array) -> list[dict[str, NDArray[np.generic]]]:
    names = list(wanted.outputs.names)
    return [run(wanted.where, wanted.onnx, read[None], names) for read in prepared(images, wanted, preparation)]


def _jittered(images: Array) -> Array:
    signs = np.random.default_rng(1).choice([-1.0, 1.0], images.shape)
    return np.asarray(images * (1 + _JITTER * signs), np.float32)


def _refuse_no_numbers(model: Model, reference: Sequence[Mapping[str, NDArray[np.generic]]]) -> None:
    for name in model.outputs.names:
        bad = sum(not np.isfinite(one[name].astype(np.float64)).all() for one in reference)
        if bad:
            raise InputRejected(
                f"{model.where}: {name!r} is NaN or infinite for {bad} of {len(reference)} pictures that it was tried "
                "on; its training went wrong, or it expects pictures prepared otherwise (--scale, --mean, --std of "
                "budgetc import)"
            )


def _raw_map(module: Graph, image: Array) -> NDArray[np.float32]:
    """As the model has it, before it is resized to the picture."""
    results = dict(module.results(torch.from_numpy(image[None])))
    return results[str(module.config.map)].numpy()


def _apart(
    own: NDArray[np.floating], wanted: NDArray[np.floating], moved: NDArray[np.floating] | None = None
) -> str | None:
    """How far results are apart; `moved` are those of jittered pictures, one a picture, which allow more where a result
    is ill-conditioned, such as an instance norm of a flat picture.
    """
    if own.shape != wanted.shape:
        return f"its shape: {own.shape} instead of {wanted.shape}"
    scale = max(float(np.abs(wanted).max()), 1e-12)
    apart = np.abs(own - wanted).reshape(len(own), -1).max(1) / scale
    if moved is None:
        allowed = np.full(len(own), TOLERANCE)
    else:
        shift = np.abs(moved - wanted).reshape(len(own), -1).max(1) / scale
        allowed = np.maximum(TOLERANCE, _CONDITION * np.nan_to_num(shift, posinf=0.0))
    worst = int((apart / allowed).argmax())
    if apart[worst] <= allowed[worst]:
        return None
    return f"{apart[worst]:.2g} of its largest value, allowed is {allowed[worst]:.2g}"


@torch.no_grad()
def first_difference(model: Model, module: Graph, sources: Mapping[str, str], preparation: Preparation) -> str:
    """The first node of the simplified model whose result is another one, as a message names it."""
    made = {one for node in model.onnx.graph.node for one in node.output}
    compared = {name: source for name, source in sources.items() if source in made}
    for image in pictures(model.input.size):
        read = prepared(image[None], model, preparation)
        wanted = run(model.where, model.onnx, read, sorted(set(compared.values())))
        for name, result in module.results(torch.from_numpy(image[None])):
            if name not in compared or wanted[compared[name]].dtype.kind != "f":
                continue
            theirs = wanted[compared[name]].astype(np.float32)
            reason = _apart(result.numpy().reshape(-1), theirs.reshape(-1))
            if reason is not None:
                node = next(n for n in model.onnx.graph.node if compared[name] in n.output)
                return f"first at {node.op_type} {compared[name]!r}, by {reason}"
    return "by sums of small differences: no node alone is off"


def refuse(model: Model, reason: str | None, first: str) -> NoReturn:
    """Refuse what computes something else.

    Raises:
        InputRejected: always.
    """
    raise InputRejected(
        f"{model.where}: rebuilt from budgetc's layers it is not the same detector: {reason}; {first}. "
        "Export the model without this node, or with other settings of it"
    )
