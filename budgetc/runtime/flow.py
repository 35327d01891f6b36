"""Frames -> flow fields in the runtime and in training: `device_flow` with budgetc's decoder and errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from budgetc import errors
from budgetc.runtime.device_flow import FlowStream
from budgetc.runtime.preprocess import resize_rgb

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from budgetc.runtime.spec import Spec


def new_stream(size: tuple[int, int], fields: int, largest: float, threads: int = 1) -> FlowStream:
    """A stream of flow fields of (height, width) `size`.

    Raises:
        UsageError: OpenCV is missing.
    """
    try:
        return FlowStream(size, fields, largest, threads)
    except ImportError as error:
        raise errors.UsageError(
            f"optical flow needs OpenCV, which cannot be imported ({error.__cause__ or error}); install the extra: "
            "pip install 'budgetc[flow]'"
        ) from error


def open_stream(spec: Spec) -> FlowStream:
    """The stream of an artifact that reads motion.

    Raises:
        UsageError: OpenCV is missing.
    """
    assert spec.flow is not None, "only artifacts that read motion have a stream"
    return new_stream((spec.height, spec.width), spec.flow.fields, spec.flow.largest, spec.threads)


def opencv_version() -> str:
    """Other versions may give other fields.

    Raises:
        UsageError: OpenCV is missing.
    """
    return new_stream((8, 8), 1, 1.0).version


def frame_pixels(image: Image.Image, spec: Spec) -> NDArray[np.uint8]:
    """An RGB image as a stream takes it: (frame height, frame width, 3)."""
    assert spec.flow is not None, "only artifacts that read motion have frames"
    return to_frame(resize_rgb(image, spec.flow.frame_height, spec.flow.frame_width))


def to_frame(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(3, height, width) -> (height, width, 3)."""
    return np.ascontiguousarray(pixels.transpose(1, 2, 0))
