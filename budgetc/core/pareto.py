"""The candidates that no other candidate beats."""

from collections.abc import Sequence
from math import isnan


def pareto_front(points: Sequence[Sequence[float]]) -> list[int]:
    """Indexes, in ascending order, of the points that no other point dominates; every coordinate is minimized.

    A point dominates another if it is nowhere larger and somewhere smaller, so equal points stay together.

    Args:
        points: n points of the same number of coordinates.

    Raises:
        ValueError: a coordinate is nan, or points differ in length.
    """
    for index, point in enumerate(points):
        if len(point) != len(points[0]):
            raise ValueError(f"point {index} has {len(point)} coordinates, the first has {len(points[0])}")
        if any(isnan(coordinate) for coordinate in point):
            raise ValueError(f"point {index} has a coordinate that is nan: {tuple(point)}")
    front: list[int] = []
    # In lexicographic order only an earlier point can dominate, and some point of the front then does.
    for index in sorted(range(len(points)), key=lambda at: tuple(points[at])):
        if not any(_dominates(points[other], points[index]) for other in front):
            front.append(index)
    return sorted(front)


def _dominates(first: Sequence[float], second: Sequence[float]) -> bool:
    pairs = list(zip(first, second, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)
