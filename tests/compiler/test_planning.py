"""What the dry run says about certificates."""

from budgetc.compiler.planning import certification
from budgetc.core.dataset import Sample


def split(groups: int, pictures: int) -> list[Sample]:
    """`groups` good and as many bad parts, each photographed `pictures` times."""
    return [
        Sample(f"{defect}{group}-{number}", f"{defect}{group}", "all", defect)
        for defect in ("good", "dent") for group in range(groups) for number in range(pictures)
    ]  # fmt: skip


def test_independent_images_certify() -> None:
    """120 single images each are enough for .90 where the AUROC is .95."""
    assert certification(0.9, 0.95, split(120, 1)).startswith("120 good and bad images each certify 0.900")


def test_photographs_of_one_part_count_once() -> None:
    """20 parts, six times each, are 20."""
    said = certification(0.9, 0.95, split(20, 6))
    assert said.startswith("20 good and bad groups (parts, or blocks of frames) each cannot certify 0.900")
