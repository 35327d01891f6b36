"""How much the anomaly score moves when one layer alone is rounded."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from budgetc.detectors.detector import Detector, deployed_part, lowest_score, score_images
from budgetc.detectors.rounding import NumberFormat

_SMALL = 1e-3
"""Share of the median score that is added to all: what is far below it need not be told apart."""


def score_perturbation(
    detector: Detector, formats: Mapping[str, NumberFormat], images: NDArray[np.uint8]
) -> dict[str, float]:
    """Unit -> root mean square of the change of log scores where its format alone is applied.

    Scores are distances, so what counts is by which factor they change. Images that look damaged should be among them:
    a range that normals fill may cut off what an anomaly would add.

    Args:
        detector: its own formats are ignored, and its head is the one of the float network.
        formats: INT8 units.
        images: (n, 3, height, width).
    """
    lowest = lowest_score(deployed_part(detector.module))
    wanted = score_images(replace(detector, formats={}).deployed(), images) - lowest
    floor = _SMALL * float(np.median(wanted)) + np.finfo(np.float32).tiny
    found = {}
    for name, known in formats.items():
        scores = score_images(replace(detector, formats={name: known}).deployed(), images) - lowest
        found[name] = float(np.sqrt(np.square(np.log((scores + floor) / (wanted + floor))).mean()))
    return found
