"""Score heads where numbers are hardest: distances too large and too small for FP16, and cosines near 1."""

from typing import Any

import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from budgetc.detectors.detector import deployed_part
from tests.small import small

COUNT = 60


def noise(channels: int, side: int, seed: int = 0) -> Tensor:
    return torch.randn(COUNT, channels, side, side, generator=torch.Generator().manual_seed(seed))


def growing(low: float, high: float) -> Tensor:
    """(n, 1, 1, 1) from 10^low to 10^high."""
    return torch.logspace(low, high, COUNT).view(-1, 1, 1, 1)


def long_features() -> tuple[list[Tensor], list[Tensor]]:
    """A teacher's and a student's taps, whose sums of squares leave FP16, and whose directions differ by ever more."""
    teacher = [noise(16, 8, 1) * 100, noise(24, 4, 2) * 100]
    return teacher, [one + noise(one.shape[1], one.shape[2], 3) * 100 * growing(-1.5, 0) for one in teacher]


def far_away(module: nn.Module) -> tuple[Tensor, list[Tensor]]:
    """Descriptors of a teacher and of students that are up to 600 deviations of normals from it."""
    module.get_buffer("center").zero_()
    module.get_buffer("scale").fill_(1)
    far = noise(8, 4) * growing(1, 2.3)
    return torch.zeros_like(far), [far + noise(8, 4, 1), far - noise(8, 4, 1)]


def near_the_prior() -> tuple[Tensor, Tensor]:
    """Means and log variances of posteriors that say almost nothing."""
    logvar = torch.logspace(-2.5, -0.5, COUNT)[:, None].expand(-1, 4)
    return torch.zeros_like(logvar), logvar


def whitened(module: nn.Module) -> Tensor:
    """Features that a whitening leaves as they are, up to 600 from the mean of normals."""
    whiten = module.get_submodule("whiten.conv")
    nn.init.zeros_(whiten.get_parameter("bias"))
    nn.init.dirac_(whiten.get_parameter("weight"))
    return noise(24, 4) * growing(1, 2.3)


def read_by_the_head(family: str, module: nn.Module) -> tuple[str, Any]:
    """The method whose result the head reads, and a hard one."""
    match family:
        case "reverse_distillation" | "stfpm":
            return "taps", long_features()
        case "efficientad":
            far = noise(384, 4) * growing(0, 1.2)  # as many channels as published
            return "features", [far, far * 0, far, far * 0]
        case "uninformed_students":
            return "descriptors", far_away(module)
        case "gaussian":
            return "features", whitened(module)
        case "flow_vae":
            return "directions", (near_the_prior(), near_the_prior())
        case _:
            return "encode", near_the_prior()


def in_precision(value: Any, dtype: torch.dtype) -> Any:
    """All tensors of a nested tuple or list; pairs of mean and log variance keep their names."""
    from budgetc.detectors.variational import Latent

    if isinstance(value, Tensor):
        return value.to(dtype)
    parts = [in_precision(one, dtype) for one in value]
    flat = isinstance(value, tuple) and all(isinstance(one, Tensor) and one.dim() == 2 for one in value)
    return Latent(*parts) if flat else parts


class SumsInHalves(TorchDispatchMode):
    """A mean adds up what it divides: torch would do that in FP32, a GPU's FP16 kernels need not."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.mean.dim and args[0].dtype == torch.float16:
            total = args[0].sum(*args[1:])
            return total * (total.numel() / args[0].numel())
        return func(*args, **(kwargs or {}))


def agreement(exact: Tensor, found: Tensor) -> float:
    """Of ranks; none where a score is no number, or all are alike."""
    if not torch.isfinite(found).all() or len(found.unique()) < 2:
        return 0.0
    return float(spearmanr(exact, found).statistic)


FAMILIES = ("efficientad", "flow_vae", "gaussian", "reverse_distillation", "stfpm", "uninformed_students", "vae")


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_only_the_head_for_halves_keeps_the_order(family: str) -> None:
    """Everything behind the network in FP16, sums too, against FP32: ranks stay with `half_safe` alone."""
    module: Any = deployed_part(small(family).module)
    name, hard = read_by_the_head(family, module)

    def scores(dtype: torch.dtype, *, half_safe: bool) -> Tensor:
        module.to(dtype).half_safe = half_safe
        setattr(module, name, lambda image: in_precision(hard, dtype))
        with SumsInHalves():  # type: ignore[no-untyped-call]  # of torch
            found: Tensor = module(torch.zeros(1, 1, dtype=dtype))[0]
        return found.float()

    exact = scores(torch.float32, half_safe=False)
    safe, plain = (scores(torch.float16, half_safe=half_safe) for half_safe in (True, False))
    assert agreement(exact, safe) > 0.995
    assert agreement(exact, plain) < 0.99


@pytest.mark.parametrize("family", ["reverse_distillation", "stfpm"])
@torch.no_grad()
def test_directions_that_are_almost_the_same_differ_still(family: str) -> None:
    """Angles of 3e-5 to 1e-3 in FP32: against double precision, where 1 - cosine would be a multiple of 6e-8."""
    module: Any = deployed_part(small(family).module)
    teacher = [noise(16, 8, 1), noise(24, 4, 2)]
    student = [one + noise(one.shape[1], one.shape[2], 3) * growing(-4.5, -3) for one in teacher]

    def scores(dtype: torch.dtype) -> Tensor:
        module.to(dtype).taps = lambda image: in_precision((teacher, student), dtype)
        found: Tensor = module(torch.zeros(1, 1, dtype=dtype))[0]
        return found.double()

    exact = scores(torch.float64)
    torch.testing.assert_close(scores(torch.float32), exact, rtol=0.02, atol=0)
