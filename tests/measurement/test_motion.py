"""What optical flow costs where nothing can be measured."""

from pathlib import Path

import pytest

from budgetc.core.dataset import Motion
from budgetc.errors import UsageError
from budgetc.load.config import load_target
from budgetc.measurement.motion import flow_price
from budgetc.measurement.predicted import predict, predict_files
from tests.measurement.scene import write_flow_artifact

NANO = load_target("jetson-nano-cpu").target


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_flow_artifact(tmp_path_factory.mktemp("flow") / "out", NANO)


def test_predictions_hold_the_flow(artifact: Path) -> None:
    """Its price is in the latency and widens its interval, and OpenCV is in the memory; the graph's stays the same."""
    whole, bare = predict_files(artifact, NANO), predict((artifact / "model.onnx").read_bytes(), NANO)
    assert NANO.cost is not None
    priced = flow_price(Motion((24, 32), (25, 34), 6, 3.4), NANO.cost.in_artifact(), NANO)
    assert whole.graph_ms == bare.graph_ms
    assert whole.latency_ms == pytest.approx(bare.latency_ms + priced.value)
    assert whole.upper_ms - whole.lower_ms == pytest.approx(bare.upper_ms - bare.lower_ms + priced.upper - priced.lower)
    assert whole.peak_memory_bytes - bare.peak_memory_bytes == whole.model_memory_bytes - bare.model_memory_bytes > 1e7
    assert 0 < priced.lower < priced.value / 2 and priced.upper > 2 * priced.value


def test_one_new_field_is_priced_whatever_is_kept() -> None:
    """Steady state: older fields are there, so that more of them cost no flow; larger ones do."""
    assert NANO.cost is not None
    few, many, large = (flow_price(Motion(size, size, fields, 8.0), NANO.cost, NANO).value
                        for size, fields in (((56, 77), 2), ((56, 77), 6), ((113, 152), 6)))  # fmt: skip
    assert few == many
    assert 3 < large / many < 5


def test_a_gpu_has_no_price_of_it(artifact: Path) -> None:
    """Left out it would look free."""
    with pytest.raises(UsageError, match=r"optical flow of this detector runs on the processor.*board's CPU"):
        predict_files(artifact, load_target("jetson-nano-gpu").target)
