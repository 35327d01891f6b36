"""Encoded images to measure with."""

from pathlib import Path

from budgetc.candidate import write
from budgetc.core.target import Target
from budgetc.export.onnx_file import export_detector
from tests.runtime.pictures import color, encoded
from tests.small import small_flow_vae, target


def write_images(directory: Path, count: int = 4) -> list[Path]:
    """`count` PNG files."""
    files = [directory / f"image-{i}.png" for i in range(count)]
    for file in files:
        file.write_bytes(encoded(color()))
    return files


def write_flow_artifact(directory: Path, of: Target | None = None) -> Path:
    """An artifact that reads motion, six fields of 24 x 32."""
    detector = small_flow_vae()
    write(export_detector(detector, of or target()), detector, directory, threshold=1.0, threads=1)
    return directory
