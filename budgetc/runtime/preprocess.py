"""How encoded bytes become the input of a graph: the one implementation, for training and on the device."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from budgetc import errors

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_PIXELS = 64_000_000
# Raster formats that Pillow decodes in its own process; EPS, for one, would start Ghostscript.
FORMATS = ("PNG", "JPEG", "BMP", "PPM", "TIFF", "WEBP", "GIF")


def decode(data: bytes) -> Image.Image:
    """An upright RGB image from the bytes of a PNG, JPEG, BMP, PPM, TIFF, WebP or GIF file.

    The EXIF orientation is applied; 16-bit gray is scaled to 8 bits; alpha is dropped, not
    blended; of several frames the first counts.

    Raises:
        InputRejected: not a complete image, more than 64 megapixels, or float pixels.
    """
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
        _refuse_huge(image)
        image = ImageOps.exif_transpose(image)
        image.load()
        return to_rgb(image)
    except errors.InputRejected:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise errors.InputRejected(f"image of too many pixels: {error}; scale it below 64 megapixels") from error
    except Exception as error:  # decoders meet damaged bytes with a dozen exception types
        formats = ", ".join(FORMATS)
        found = "of no known format" if isinstance(error, UnidentifiedImageError) else error
        raise errors.InputRejected(
            f"not a readable image ({len(data)} bytes): {found}; expected a complete file, one of {formats}"
        ) from error


def to_rgb(image: Image.Image) -> Image.Image:
    """The same picture in mode RGB, whatever its mode (gray, palette, CMYK, alpha, 16-bit gray).

    Raises:
        InputRejected: pixels are floats or 32-bit integers, whose range nothing declares.
    """
    if image.mode.startswith("I"):
        return _from_16_bit(image).convert("RGB")
    if image.mode == "F":
        raise errors.InputRejected("image has float pixels of unknown range; save it with 8 or 16 bits a channel")
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")  # straight to RGB, Pillow warns about palettes with transparency
    return image if image.mode == "RGB" else image.convert("RGB")


def resize_rgb(image: Image.Image, height: int, width: int) -> NDArray[np.uint8]:
    """Pillow-bilinear resize of an RGB image to (3, height, width) uint8.

    Pillow versions can differ by one level a pixel: of 20 pairs of sizes, 13.0 and 10.4 differed for one (40 wide and
    60 high to 32 x 32). A board with another Pillow therefore gives slightly other scores.
    """
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(image, dtype=np.uint8).transpose(2, 0, 1))


def to_input(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """uint8 (3, H, W) or (n, 3, H, W) -> float32 (n, 3, H, W) in [0, 1]."""
    batch = pixels if pixels.ndim == 4 else pixels[np.newaxis]
    return batch.astype(np.float32) / np.float32(255)


def _refuse_huge(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        found = f"{width} x {height} = {width * height / 1e6:.0f} megapixels"
        raise errors.InputRejected(f"image of {found}; at most {MAX_PIXELS // 10**6} are decoded: scale it down")


def _from_16_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise errors.InputRejected(
            f"image has 32-bit pixels from {values.min()} to {values.max()}; save it with 8 or 16 bits a channel"
        )
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))
