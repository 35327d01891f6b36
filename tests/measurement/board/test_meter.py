"""What a report says of a board."""

from budgetc.load.config import load_target
from budgetc.measurement.board.meter import Conditions, unlike


def test_a_board_of_another_kind_is_named() -> None:
    """Another processor, or fewer cores than threads."""
    nano = load_target("jetson-nano-cpu").target
    assert nano.threads == 4
    words = unlike(nano, {"machine": "x86_64", "cores": 2})
    assert "is x86_64, and the target is aarch64" in words and "has 2 cores, and the target uses 4 threads" in words
    assert unlike(nano, {"machine": "aarch64", "cores": 4}) == unlike(nano, {}) == ""


def test_a_board_is_known_before_anything_is_measured() -> None:
    """Where the store knows every figure, the report still says of which board they are."""
    conditions = Conditions("ssh://board")
    conditions.meet({"model": "Nano", "free_bytes": 3, "versions": {"onnxruntime": "1.16.3", "PIL": "9.0"}})
    assert conditions.facts == {"model": "Nano"}
    assert conditions.versions == {"onnxruntime": "1.16.3", "Pillow": "9.0"}
