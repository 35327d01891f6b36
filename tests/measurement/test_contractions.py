"""`contraction`: how often an Einsum multiplies."""

import numpy as np
import pytest
from onnx import helper

from budgetc.measurement.contractions import contraction
from budgetc.measurement.operators import read_workload
from tests.graphs import model_of, weight
from tests.small import target


@pytest.mark.parametrize(
    ("equation", "shapes", "product"),
    [
        ("ij,jk->ik", [(5, 7), (7, 3)], (5, 7, 3)),
        ("bij,bjk->bik", [(2, 5, 7), (2, 7, 3)], (10, 7, 3)),
        ("ij,jk", [(5, 7), (7, 3)], (5, 7, 3)),
        ("bdp,pde,bep->bp", [(1, 32, 256), (256, 32, 32), (1, 32, 256)], (256 * (32 + 1), 32, 1)),
        ("i,i->", [(9,), (9,)], (1, 9, 1)),
        ("ij->j", [(5, 7)], (35, 1, 1)),
    ],
)
def test_products(equation: str, shapes: list[tuple[int, ...]], product: tuple[int, int, int]) -> None:
    """Pair by pair from the left, what nobody reads later summed at once."""
    assert contraction(equation, shapes) == product


def test_what_is_no_einsum_of_these_shapes() -> None:
    """Ellipses and wrong ranks are named."""
    for equation in ("...ij,jk->...ik", "ij,k->i"):
        with pytest.raises(ValueError, match="einsum"):
            contraction(equation, [(5, 7), (7, 3)])


def test_a_mahalanobis_distance_is_priced() -> None:
    """Its covariances are weights that are read, and its multiplications are no longer missing."""
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["x"], strides=[2, 2]),
        helper.make_node("Reshape", ["x", "shape"], ["z"]),
        helper.make_node("Einsum", ["z", "inverse", "z"], ["d"], equation="bip,pij,bjp->bp"),
        helper.make_node("ReduceMax", ["d"], ["score"], axes=[1], keepdims=0),
    ]  # fmt: skip
    weights = {"w": weight(8, 3, 2, 2), "shape": np.array([0, 8, -1]), "inverse": weight(16, 8, 8)}
    work = read_workload(model_of(nodes, weights).SerializeToString(), target())
    (einsum,) = [one for one in work.operators if one.name == "Einsum"]
    assert work.unknown == () and einsum.weights == 16 * 8 * 8 and einsum.macs == 16 * 8 * 8 + 16 * 8
