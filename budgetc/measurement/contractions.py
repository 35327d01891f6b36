"""What an Einsum multiplies, contracted pair by pair from the left, as the runtimes do."""

from collections.abc import Sequence
from math import prod


def contraction(equation: str, shapes: Sequence[Sequence[int]]) -> tuple[int, int, int]:
    """(rows, depth, columns) of one product of matrices with as many multiplications as all pairs together.

    Depth is that of the largest product, columns are the sides of the last operand that stay.

    Raises:
        ValueError: an ellipsis, or labels that do not fit the shapes.
    """
    left, _, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if "." in equation or [len(term) for term in terms] != [len(shape) for shape in shapes]:
        raise ValueError(f"einsum {equation!r} of shapes {[tuple(shape) for shape in shapes]}")
    sizes = {
        label: side for term, shape in zip(terms, shapes, strict=True) for label, side in zip(term, shape, strict=True)
    }
    if "->" not in equation:
        right = "".join(sorted(label for label in sizes if left.count(label) == 1))
    labels, macs, depth = set(terms[0]), 0, 1
    for number, term in enumerate(terms[1:], 1):
        wanted = set(right).union(*terms[number + 1 :])
        both = labels | set(term)
        macs += prod(sizes[label] for label in both)
        depth = max(depth, prod(sizes[label] for label in both - wanted))
        labels = both & wanted
    if len(terms) == 1:
        macs = prod(sizes.values())
    columns = prod(sizes[label] for label in set(terms[-1]) & labels - set(terms[0]))
    return max(1, macs // (depth * columns)), depth, columns
