"""What a file costs on a device that is not here."""

import pytest

from budgetc.core.plan import Fp16
from budgetc.errors import UsageError
from budgetc.export.onnx_file import export_detector
from budgetc.load.config import list_targets, load_target
from budgetc.measurement.predicted import predict, predicted_measurements
from budgetc.passes.fp16 import fp16
from tests.small import small_stfpm, small_vae, target
from tests.targets import predicted_target

NOT_HERE = [name for name in list_targets() if load_target(name).target.cost is not None]


def test_latency_is_preprocessing_and_graph() -> None:
    """32 x 32 pixels at 100 ms a megapixel and 1 ms an image, before 1 ms fixed and the operators."""
    known = predicted_target()
    found = predict(export_detector(small_stfpm(), known).model, known)
    assert found.latency_ms == pytest.approx(found.graph_ms + 1 + 100 * 1024 / 1e6)
    assert found.graph_ms == pytest.approx(1 + sum(op.ms for op in found.operators))
    assert sum(op.share for op in found.operators) == pytest.approx((found.graph_ms - 1) / found.graph_ms)
    assert found.lower_ms < found.latency_ms < found.upper_ms


def test_memory_is_base_weights_and_activations() -> None:
    """50 MiB + 10 MiB + twice the weights + live activations."""
    known = predicted_target()
    found = predict(export_detector(small_vae(), known).model, known)
    weights = sum(parameter.numel() for name, parameter in small_vae().deployed().named_parameters()
                  if name.endswith(("conv.weight", "linear.weight")))  # fmt: skip
    own = 10 * 2**20 + 2 * 4 * weights
    assert own < found.model_memory_bytes < own + 2**20
    assert found.peak_memory_bytes - found.model_memory_bytes == 50 * 2**20
    assert found.peak_memory_lower_bytes < found.peak_memory_bytes < found.peak_memory_upper_bytes


def test_measurements_say_that_they_are_predicted() -> None:
    """Metric names of the limits, the target's name, the runtime described, edges at the model's confidence."""
    known = predicted_target()
    prediction = predict(export_detector(small_stfpm(), known).model, known)
    found = predicted_measurements(prediction, known)
    assert set(found) == {"latency_p50", "latency_p95", "latency_p99", "peak_memory", "model_memory"}
    for metric, measurement in found.items():
        assert (measurement.metric, measurement.kind, measurement.device) == (metric, "predicted", "elsewhere")
        assert measurement.runtime == "a device for tests" and measurement.confidence == 0.9
        assert measurement.lower is not None and measurement.upper is not None
        assert measurement.lower <= measurement.value <= measurement.upper


def test_percentiles_follow_from_the_run_to_run_spread() -> None:
    """p95 is the mean times 1.1, its upper edge the mean's times 1.2."""
    known = predicted_target()
    prediction = predict(export_detector(small_stfpm(), known).model, known)
    found = predicted_measurements(prediction, known)
    assert found["latency_p95"].value == pytest.approx(1.1 * found["latency_p50"].value)
    assert found["latency_p95"].upper == pytest.approx(1.2 * prediction.upper_ms)


def test_a_target_without_coefficients_predicts_nothing() -> None:
    """host-cpu measures."""
    with pytest.raises(UsageError, match=r"target test-cpu has no cost model.*add `cost:`"):
        predict(b"", target())


@pytest.mark.parametrize("name", NOT_HERE)
def test_every_shipped_target_prices_every_family(name: str) -> None:
    """Detectors export for the target and get a finite interval in a sane order."""
    known = load_target(name).target
    for detector in (small_stfpm(), small_vae(), fp16(small_vae(), Fp16())):
        found = predict(export_detector(detector, known).model, known)
        assert 0 < found.lower_ms < found.latency_ms < found.upper_ms < 60_000
        assert 30 * 2**20 < found.peak_memory_lower_bytes < found.peak_memory_upper_bytes < 2 * 2**30


def test_halves_are_faster_on_the_gpu_and_not_on_the_cpu() -> None:
    """FP16 storage changes no time where it is cast up at load."""
    for name in ("jetson-nano-gpu", "jetson-nano-cpu"):
        known = load_target(name).target
        whole, half = (
            predict(export_detector(d, known).model, known).latency_ms
            for d in (small_stfpm(), fp16(small_stfpm(), Fp16()))
        )
        assert half < whole if name == "jetson-nano-gpu" else half == whole
