"""Successive frames -> flow fields: what a detector of motion reads, on a board and on the compiler's machine.

On a board it lies beside `score.py` as `flow.py`. Needs numpy and OpenCV. Bi3DOF (Feng, Ng, Easwaran, "Improving
Variational Autoencoder based Out-of-Distribution Detection for Embedded Real-time Applications", arXiv 2107.11750):
gray, center crop, CLAHE, and Farneback's optical flow (2003), warm-started with the field before.
"""

from collections import deque
from typing import Any

import numpy as np

CLIP_LIMIT, TILES = 2.0, (8, 8)
PYRAMID_SCALE, PYRAMID_LEVELS, WINDOW, ITERATIONS, POLY_N, POLY_SIGMA = 0.5, 1, 15, 1, 5, 1.1
MIDDLE, STEPS = 128, 127
"""The byte of no motion, and the bytes from it to the largest motion in either direction."""

INSTALL = (
    "motion needs OpenCV; install it there: for the system's python3 apt-get install libopencv-python (JetPack) or "
    "python3-opencv (Debian, Ubuntu), for any other python3 -m pip install opencv-python-headless"
)
"""Said where it is missing."""


class FlowStream:
    """The latest flow fields of one clip; give it every frame, in order.

    Args:
        size: (height, width) of the fields: the center of the frames.
        fields: how many successive ones are read at once.
        largest: pixels between two frames that the last byte stands for; more counts as that.
        threads: of OpenCV, in all of this process.

    Raises:
        ImportError: OpenCV is missing.
    """

    def __init__(self, size: "tuple[int, int]", fields: int, largest: float, threads: int = 1) -> None:
        try:
            import cv2  # here, because only detectors of motion need it
        except ImportError as error:
            raise ImportError(f"{error}; {INSTALL}") from error
        self._cv2 = cv2  # type: Any
        cv2.setNumThreads(threads)
        self._light = cv2.createCLAHE(clipLimit=CLIP_LIMIT, tileGridSize=TILES)
        self.version = str(cv2.__version__)
        self.size, self.scale = size, STEPS / largest
        self._kept = deque(maxlen=fields)  # type: deque[Any]
        self.frame = size[::-1]
        """(width, height) of frames; those of `stream_of` are larger than the fields."""
        self.reset()

    def reset(self) -> "FlowStream":
        """Start a new clip: no field reaches from one to the next."""
        self._last = None  # type: Any
        self._flow = None  # type: Any
        self._kept.clear()
        return self

    @property
    def missing(self) -> int:
        """Frames that are still to come before all fields are there."""
        fields = self._kept.maxlen or 0
        return fields - len(self._kept) + (self._last is None)

    def push(self, frame: Any) -> None:
        """Take the next frame: (height, width, 3) uint8, RGB, not smaller than the fields."""
        gray = self._light.apply(self._cropped(self._cv2.cvtColor(frame, self._cv2.COLOR_RGB2GRAY)))
        if self._last is not None:
            self._flow = self._cv2.calcOpticalFlowFarneback(
                self._last, gray, self._start(), PYRAMID_SCALE, PYRAMID_LEVELS, WINDOW, ITERATIONS, POLY_N,
                POLY_SIGMA, self._cv2.OPTFLOW_USE_INITIAL_FLOW,
            )  # fmt: skip
            steps = np.clip(np.rint(self._flow * self.scale), -STEPS, STEPS)
            self._kept.append((steps + MIDDLE).astype(np.uint8).transpose(2, 0, 1))
        self._last = gray

    def fields(self) -> Any:
        """(2 * fields, height, width) uint8: all horizontal ones, the oldest first, then all vertical ones.

        Fields that are still missing are fields of no motion.
        """
        still = np.full((2, *self.size), MIDDLE, np.uint8)
        known = [still] * ((self._kept.maxlen or 0) - len(self._kept)) + list(self._kept)
        return np.ascontiguousarray(np.stack(known, axis=1).reshape(-1, *self.size))

    def take(self, frame: Any) -> Any:
        """`push` and then `fields`."""
        self.push(frame)
        return self.fields()

    def _start(self) -> Any:
        return np.zeros((*self.size, 2), np.float32) if self._flow is None else self._flow.copy()

    def _cropped(self, gray: Any) -> Any:
        (height, width), (wanted, wide) = gray.shape, self.size
        top, left = (height - wanted) // 2, (width - wide) // 2
        return np.ascontiguousarray(gray[top : top + wanted, left : left + wide])


def stream_of(spec: "dict[str, Any]") -> FlowStream:
    """The stream of an `artifact.json`.

    Raises:
        ImportError: OpenCV is missing.
    """
    picture = spec["preprocessing"]
    flow = picture["flow"]
    stream = FlowStream((picture["height"], picture["width"]), flow["fields"], flow["largest"], spec["threads"])
    stream.frame = (flow["frame_width"], flow["frame_height"])
    return stream
