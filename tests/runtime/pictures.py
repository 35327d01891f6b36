"""Encoded pictures of every kind that a camera or a tool writes."""

import io

import numpy as np
from PIL import Image

_SMOOTH = np.add.outer(np.arange(40), np.arange(60))  # (40, 60), 0..98
_GRAIN = np.random.default_rng(0).integers(0, 20, _SMOOTH.shape)
_COLORS = np.stack([_SMOOTH * 2 + _GRAIN, 40 + _SMOOTH, 255 - _SMOOTH * 2], axis=-1).astype(np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """The bytes of an image file."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def color() -> Image.Image:
    """60 x 40 RGB, no two corners alike."""
    return Image.fromarray(_COLORS)


def every_kind() -> dict[str, bytes]:
    """Name -> file of the same scene in each supported format and mode."""
    rgb = color()
    with_alpha = rgb.copy()
    with_alpha.putalpha(rgb.convert("L"))
    turned = Image.Exif()
    turned[0x0112] = 6
    return {
        "rgb.png": encoded(rgb),
        "gray.png": encoded(rgb.convert("L")),
        "gray-alpha.png": encoded(with_alpha.convert("LA")),
        "alpha.png": encoded(with_alpha),
        "palette.png": encoded(rgb.quantize(16)),
        "see-through-palette.png": encoded(rgb.quantize(16), transparency=b"\x00" * 8),
        "bilevel.png": encoded(rgb.convert("1")),
        "deep.png": encoded(Image.fromarray((_SMOOTH * 600).astype(np.uint16))),
        "deep.tiff": encoded(Image.fromarray((_SMOOTH * 600).astype(np.uint16)), "TIFF"),
        "photo.jpg": encoded(rgb, "JPEG", quality=90),
        "turned.jpg": encoded(rgb, "JPEG", quality=90, exif=turned),
        "print.jpg": encoded(rgb.convert("CMYK"), "JPEG", quality=90),
        "plain.bmp": encoded(rgb, "BMP"),
        "plain.ppm": encoded(rgb, "PPM"),
        "web.webp": encoded(rgb, "WEBP", quality=90),
        "old.gif": encoded(rgb.quantize(64), "GIF"),
    }
