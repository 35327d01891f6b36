import numpy as np
import pytest
from PIL import Image

from budgetc.errors import InputRejected
from budgetc.runtime.preprocess import decode, resize_rgb, to_input
from tests.runtime.pictures import color, encoded, every_kind


@pytest.mark.parametrize("name", sorted(every_kind()))
def test_every_kind_of_image_becomes_rgb(name: str) -> None:
    """Whatever the format and mode, the result is an RGB image that shows something."""
    image = decode(every_kind()[name])
    assert image.mode == "RGB"
    assert np.ptp(np.asarray(image)) > 50


def test_lossless_color_is_exact() -> None:
    """Pixels of a lossless RGB file arrive unchanged."""
    assert np.array_equal(np.asarray(decode(encoded(color()))), np.asarray(color()))


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    """65535 becomes 255, half of it 128: the whole range survives, rounded."""
    deep = Image.fromarray(np.array([[0, 257, 32896, 65535, 128, 129]], np.uint16))
    assert np.asarray(decode(encoded(deep)))[0, :, 0].tolist() == [0, 1, 128, 255, 0, 1]


def test_exif_orientation_is_applied() -> None:
    """A camera that was turned by 90 degrees gives an upright image."""
    turned = decode(every_kind()["turned.jpg"])
    upright = decode(every_kind()["photo.jpg"]).transpose(Image.Transpose.ROTATE_270)
    assert turned.size == (40, 60)
    assert np.array_equal(np.asarray(turned), np.asarray(upright))


def test_alpha_is_dropped() -> None:
    """Transparency does not change colors."""
    assert np.array_equal(np.asarray(decode(every_kind()["alpha.png"])), np.asarray(color()))


def test_cmyk_ink_becomes_light() -> None:
    """A file for print has the colors of the picture, not of its ink."""
    found = np.asarray(decode(every_kind()["print.jpg"]), np.int64)
    assert np.abs(found - np.asarray(color(), np.int64)).mean() < 12


def test_huge_image_is_refused() -> None:
    """More than 64 megapixels are refused before they are decoded."""
    with pytest.raises(InputRejected, match="9000 x 8000 = 72 megapixels; at most 64"):
        decode(encoded(Image.new("1", (9000, 8000))))


def test_decompression_bomb_is_refused() -> None:
    """A header that promises more than Pillow's own limit is refused like any huge image."""
    with pytest.raises(InputRejected, match="too many pixels"):
        decode(encoded(Image.new("1", (15_000, 12_000))))


@pytest.mark.parametrize("data", [b"", b"not an image", encoded(color())[:200], encoded(color(), "JPEG")[:-300]])
def test_damaged_image_is_refused(data: bytes) -> None:
    """Empty, foreign and cut files are refused; nothing is filled with gray."""
    with pytest.raises(InputRejected, match="not a readable image"):
        decode(data)


def test_postscript_is_refused() -> None:
    """Formats whose decoder starts another program are not opened."""
    with pytest.raises(InputRejected, match="one of PNG, JPEG"):
        decode(encoded(color(), "EPS"))


@pytest.mark.parametrize(
    ("pixels", "message"),
    [(np.zeros((4, 4), np.float32), "float pixels"), (np.full((4, 4), 1 << 20, np.int32), "32-bit pixels")],
)
def test_pixels_of_unknown_range_are_refused(pixels: np.ndarray, message: str) -> None:
    """Floats and large integers say nothing about what is white."""
    with pytest.raises(InputRejected, match=message):
        decode(encoded(Image.fromarray(pixels), "TIFF"))


def test_resize_gives_channels_height_width() -> None:
    """Height and width are not mixed up, and the array is contiguous."""
    pixels = resize_rgb(color(), 20, 50)
    assert pixels.shape == (3, 20, 50)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous


def test_resize_to_the_same_size_changes_nothing() -> None:
    """An image that already fits keeps its pixels."""
    assert np.array_equal(resize_rgb(color(), 40, 60).transpose(1, 2, 0), np.asarray(color()))


def test_input_is_a_float_batch_from_zero_to_one() -> None:
    """One image gets a batch axis, a batch keeps its own, 255 becomes exactly 1."""
    pixels = np.array([0, 51, 255], np.uint8).reshape(3, 1, 1)
    one, two = to_input(pixels), to_input(np.stack([pixels, pixels]))
    assert one.dtype == np.float32
    assert one.shape == (1, 3, 1, 1)
    assert two.shape == (2, 3, 1, 1)
    assert one.ravel().tolist() == [0.0, float(np.float32(0.2)), 1.0]
