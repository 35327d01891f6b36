"""Encoded images to measure with."""

from pathlib import Path

from tests.runtime.pictures import color, encoded


def write_images(directory: Path, count: int = 4) -> list[Path]:
    """`count` PNG files."""
    files = [directory / f"image-{i}.png" for i in range(count)]
    for file in files:
        file.write_bytes(encoded(color()))
    return files
