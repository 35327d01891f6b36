"""The flow VAE: its published shapes, its score, and what a config may say."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn

from budgetc.core.plan import Quantize
from budgetc.detectors.detector import as_input
from budgetc.detectors.families import build, bundle, from_bundle
from budgetc.detectors.flow_vae import (
    KERNEL,
    FlowEncoder,
    FlowVae,
    FlowVaeConfig,
    fewest_paddings,
    fit_units,
    flow_loss,
)
from budgetc.detectors.layers import units
from budgetc.detectors.variational import Latent, VaeOutput
from budgetc.passes.quantize import quantize
from tests.small import FIELDS, flows, small_flow_vae, work_for


def _encoder(seed: int = 0) -> FlowEncoder:
    module = small_flow_vae(seed).module
    assert isinstance(module, FlowVae)
    return module.encoder


def test_the_defaults_are_the_published_network() -> None:
    """Paddings 0; 2,0; 2,2; 0, flatten 512 and 2.19 million parameters (arXiv 2107.11750)."""
    config = FlowVaeConfig()
    assert config.paddings == ((0, 0), (2, 0), (2, 2), (0, 0))
    assert config.widths[-1] * config.sizes[-1][0] * config.sizes[-1][1] == 512
    assert (config.frame_size, config.fields, config.latents) == ((120, 160), 6, 12)
    with torch.device("meta"):
        assert sum(weight.numel() for weight in FlowVae(config).encoder.parameters()) == 2_186_544


@pytest.mark.parametrize(("size", "frame"), [((87, 116), (90, 120)), ((56, 77), (60, 80))])
def test_smaller_published_sizes_work(size: tuple[int, int], frame: tuple[int, int]) -> None:
    """The frames are the published ones, and what is encoded is decoded to its own size."""
    config = FlowVaeConfig(input_size=size)
    assert config.frame_size == frame
    with torch.device("meta"):
        assert FlowVae(config)(torch.zeros(1, 12, *size)).reconstruction.shape == (1, 12, *size)


@given(st.integers(5, 400))
def test_paddings_leave_no_border_unread(side: int) -> None:
    """At stride 3 the windows cover a padded side exactly, and no smaller padding does."""
    for stride, padding in zip((3, 3, 3, 1), fewest_paddings(side, 4), strict=True):
        assert side + 2 * padding >= KERNEL and (side + 2 * padding - KERNEL) % stride == 0
        assert not any(
            side + 2 * less >= KERNEL and (side + 2 * less - KERNEL) % stride == 0 for less in range(padding)
        )
        side = (side + 2 * padding - KERNEL) // stride + 1


def test_paddings_are_recorded() -> None:
    """A bundle says what was chosen, so that another rule would not change old detectors."""
    detector = small_flow_vae()
    config = bundle(detector)["config"]
    assert config["paddings"] == [list(pair) for pair in detector.config.paddings]  # type: ignore[attr-defined]
    assert from_bundle(bundle(detector)).config == detector.config


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"paddings": [[0, 0]]}, "paddings: 1 for 4"),
        ({"paddings": [[9, 9]] * 4}, "must lie in 0..4"),
        ({"frame_size": [20, 20]}, "smaller than its center"),
        ({"frame_size": [10**9, 10**9]}, "at most 4096"),
        ({"input_size": "wide"}, "input_size"),
        ({"input_size": [4, 9]}, "too small: the first window has 5"),
        ({"input_size": [9, 9], "paddings": [[0, 0]] * 4}, "too small for 4 convolutions"),
        ({"largest": float("inf")}, "finite"),
    ],
)
def test_impossible_configs_are_refused(fields: dict[str, object], said: str) -> None:
    """Each with the field that is wrong."""
    with pytest.raises(ValidationError, match=said):
        FlowVaeConfig.model_validate(fields)


def test_directions_do_not_see_each_other() -> None:
    """Vertical motion changes d_v alone."""
    fields = as_input(flows(4))
    other = fields.clone()
    other[:, 6:] = as_input(flows(4, seed=1))[:, 6:]
    with torch.no_grad():
        before, after = _encoder()(fields), _encoder()(other)
    assert torch.equal(before[1], after[1])
    assert not torch.allclose(before[2], after[2])


def test_the_score_is_the_larger_distance_in_units_of_normals() -> None:
    """Five percent of the normals that it was fitted to exceed 1 in each direction."""
    encoder, normals = _encoder(), as_input(flows(64, seed=3))
    with torch.no_grad():
        fit_units(encoder, *encoder.distances(normals))
        score, horizontal, vertical = encoder(normals)
    gains = [float(encoder.get_buffer(name)) for name in ("gain_h", "gain_v")]
    assert torch.allclose(score, torch.maximum(horizontal * gains[0], vertical * gains[1]))
    for distance, gain in zip((horizontal, vertical), gains, strict=True):
        assert float((distance * gain > 1).float().mean()) == pytest.approx(0.05, abs=0.02)


def test_both_directions_together_are_what_passes_compare() -> None:
    """The KL of the joined posterior is d_h + d_v."""
    from budgetc.detectors.variational import kl_per_latent

    encoder, fields = _encoder(), as_input(flows(4))
    with torch.no_grad():
        joined = kl_per_latent(encoder.encode(fields)).sum(1)
        assert torch.allclose(joined, sum(encoder.distances(fields), torch.zeros(4)), rtol=1e-5)
    assert encoder.latents == 6


@pytest.mark.parametrize("half_safe", [False, True])
def test_the_score_is_finite_however_far_from_normals(half_safe: bool) -> None:
    """Where e^logvar would overflow, in FP32 and in FP16, the distance is only very large."""
    encoder = _encoder()
    encoder.half_safe = half_safe
    with torch.no_grad():
        for direction in (encoder.horizontal, encoder.vertical):
            direction.logvar.linear.bias.fill_(500)
            direction.mu.linear.bias.fill_(500)
        distances = torch.stack(encoder.distances(as_input(flows(2))))
    assert torch.isfinite(distances).all()
    assert not half_safe or float(distances.max()) < 65504


def test_the_loss_is_the_published_one() -> None:
    """0.5 squared error summed over pixels, and both KL divergences, by hand."""
    fields = torch.full((2, 2, 3, 3), 0.75)
    latent = Latent(torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.zeros(2, 2))
    output = VaeOutput(latent, torch.zeros_like(fields))  # sigmoid(0) = 0.5
    expected = 0.5 * 18 * 0.25**2 + (0.5 * (1 + 4) + 0) / 2
    assert float(flow_loss(output, fields)) == pytest.approx(expected)


def test_heads_stay_in_fp32_and_apart() -> None:
    """mu and logvar share no INT8 tensor, and neither do the inputs of both directions (trap 5)."""
    detector = small_flow_vae()
    rounded = quantize(detector, Quantize(first_convolution=True), work_for(detector))
    heads = [name for name, unit in units(rounded.module) if unit.head]
    assert len(heads) == 4
    assert not set(heads) & set(rounded.formats)
    inputs = [rounded.formats[f"encoder.{one}.input"].output for one in ("horizontal", "vertical")]
    assert None not in inputs
    assert all(rounded.formats[f"encoder.{one}.blocks.0"].compute == "int8" for one in ("horizontal", "vertical"))


def test_the_activation_is_rounded_on_both_sides() -> None:
    """No integer kernel computes ELU: the layer's result is rounded before it, and its own after it."""
    detector = small_flow_vae()
    rounded = quantize(detector, Quantize(), work_for(detector))
    known = rounded.formats["encoder.vertical.blocks.1"]
    assert known.before_activation is not None and known.output is not None
    assert isinstance(dict(units(detector.module))["encoder.vertical.blocks.1"].activation, nn.ELU)
    assert known.output.zero_point > 0  # ELU has values below 0


def test_training_finds_other_motion() -> None:
    """A few epochs on slow motion: fast motion scores higher."""
    from budgetc.training.baseline import train_detector
    from budgetc.training.loop import Effort
    from budgetc.training.pictures import make_pictures

    torch.manual_seed(0)
    detector = build("flow_vae", FlowVaeConfig(input_size=FIELDS, widths=(8, 16, 16), latents=4))
    normals = flows(48, seed=5)
    made = make_pictures(normals, [str(i // 4) for i in range(48)], seed=0, variants=1, upright=True, motion=True)
    trained, curve = train_detector(detector, made, Effort(12, 3e-3, seed=0))
    assert curve.held_out_loss is not None
    test = flows(16, seed=6)
    fast = np.clip((test.astype(float) - 128) * 3 + 128, 1, 255).astype(np.uint8)
    with torch.no_grad():
        low, high = (trained.deployed()(as_input(images))[0] for images in (test, fast))
    assert float(high.median()) > 1.5 * float(low.median())
