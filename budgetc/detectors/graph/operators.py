"""Operators that are no layers: the name in a graph -> what torch computes.

Called with the tensors that the node reads and with its attributes by name. Names and meanings are those of ONNX,
attributes are settled: sizes as numbers, padding in torch's order. Axis 0 is the batch.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, FiniteFloat
from torch import Tensor

_Numbers = Annotated[tuple[int, ...], Field(max_length=65536)]
Attribute = Annotated[int, Field(ge=-(2**53), le=2**53)] | FiniteFloat | Annotated[str, Field(max_length=32)] | _Numbers
Operator = Callable[..., Tensor]


def _slice(
    x: Tensor, *, starts: Sequence[int], ends: Sequence[int], axes: Sequence[int], steps: Sequence[int]
) -> Tensor:
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        x = x.narrow(axis, start, end - start)
        if step != 1:
            places = [slice(None)] * axis + [slice(None, None, step)]
            x = x[tuple(places)]
    return x


def _gather(x: Tensor, *, indices: Sequence[int], axis: int) -> Tensor:
    return x.index_select(axis, torch.tensor(indices, device=x.device))


def _take(x: Tensor, indices: Tensor, *, axis: int) -> Tensor:
    """Entries of an axis by computed indices, whose shape takes the axis' place."""
    taken = x.index_select(axis, indices.flatten())
    return taken.reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])


def _gather_elements(x: Tensor, indices: Tensor, *, axis: int) -> Tensor:
    return x.gather(axis, indices)


def _extreme(function: Callable[..., Tensor]) -> Operator:
    return lambda x, *, axis, keepdims: function(x, dim=axis, keepdim=bool(keepdims))


def _squeeze(x: Tensor, *, axes: Sequence[int]) -> Tensor:
    for axis in sorted(axes, reverse=True):
        x = x.squeeze(axis)
    return x


def _unsqueeze(x: Tensor, *, axes: Sequence[int]) -> Tensor:
    for axis in sorted(axes):
        x = x.unsqueeze(axis)
    return x


def _reshape(x: Tensor, *, shape: Sequence[int]) -> Tensor:
    """As ONNX: 0 is the side that was there."""
    return x.reshape([side or int(x.shape[axis]) for axis, side in enumerate(shape)])


def _to_rows(x: Tensor) -> Tensor:
    """However wide they are: pruning narrows them."""
    return x.reshape(-1, int(x.shape[-1]))


def _from_rows(x: Tensor, *, sides: Sequence[int]) -> Tensor:
    return x.reshape(*sides, int(x.shape[-1]))


def _flatten(x: Tensor) -> Tensor:
    # As Reshape in the file: behind Flatten, onnxruntime 1.32 computes the next layer in FP32.
    return x.reshape(int(x.shape[0]), -1)


def _resize(x: Tensor, *, size: Sequence[int], mode: str, corners: int = 0) -> Tensor:
    kinds = {"nearest": "nearest", "exact": "nearest-exact", "linear": "bilinear", "cubic": "bicubic"}
    align = bool(corners) if mode in ("linear", "cubic") else None
    return F.interpolate(x, size=tuple(size), mode=kinds[mode], align_corners=align)


def _pad(x: Tensor, *, pads: Sequence[int], mode: str = "constant", value: float = 0.0) -> Tensor:
    return F.pad(x, tuple(pads), mode=mode, value=value if mode == "constant" else None)


def _max_pool(
    x: Tensor, *, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int],
    ceil: int = 0,
) -> Tensor:  # fmt: skip
    return F.max_pool2d(x, tuple(kernel), tuple(stride), tuple(padding), tuple(dilation), ceil_mode=bool(ceil))


def _average_pool(
    x: Tensor, *, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], ceil: int = 0, counts: int = 0
) -> Tensor:
    return F.avg_pool2d(
        x, tuple(kernel), tuple(stride), tuple(padding), ceil_mode=bool(ceil), count_include_pad=bool(counts)
    )


def _layer_norm(x: Tensor, *parts: Tensor, axis: int, eps: float) -> Tensor:
    bias = parts[1] if len(parts) > 1 else None
    result: Tensor = F.layer_norm(x, x.shape[axis:], parts[0], bias, eps)
    return result


def _rms_norm(x: Tensor, scale: Tensor, *, axis: int, eps: float) -> Tensor:
    mean = x.square().mean(dim=tuple(range(axis, x.dim())), keepdim=True)
    result: Tensor = x / (mean + eps).sqrt() * scale
    return result


def _product(x: Tensor, *, dim: Sequence[int], keepdim: bool) -> Tensor:
    for axis in sorted(dim, reverse=True):
        x = x.prod(axis, keepdim=keepdim)
    return x


def _lp_normalization(x: Tensor, *, axis: int, p: int) -> Tensor:
    # No floor, as ONNX has none.
    return torch.div(x, torch.linalg.vector_norm(x, p, dim=axis, keepdim=True))


def _depth_to_space(x: Tensor, *, block: int, mode: str) -> Tensor:
    if mode == "CRD":
        return F.pixel_shuffle(x, block)
    batch, channels, height, width = (int(side) for side in x.shape)
    parts = x.reshape(batch, block, block, channels // block**2, height, width).permute(0, 3, 4, 1, 5, 2)
    return parts.reshape(batch, channels // block**2, height * block, width * block)


def _reduced(function: Callable[..., Tensor]) -> Operator:
    return lambda x, *, axes, keepdims: function(x, dim=tuple(axes), keepdim=bool(keepdims)) if axes else x


def _sum_square(x: Tensor, *, dim: Sequence[int], keepdim: bool) -> Tensor:
    return x.square().sum(dim=tuple(dim), keepdim=keepdim)


def _l2(x: Tensor, *, dim: Sequence[int], keepdim: bool) -> Tensor:
    result: Tensor = torch.linalg.vector_norm(x, dim=tuple(dim), keepdim=keepdim)
    return result


def _l1(x: Tensor, *, dim: Sequence[int], keepdim: bool) -> Tensor:
    return x.abs().sum(dim=tuple(dim), keepdim=keepdim)


def _folded(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    def of_all(*parts: Tensor) -> Tensor:
        result = parts[0]
        for part in parts[1:]:
            result = function(result, part)
        return result

    return of_all


def _cast(x: Tensor, *, to: Literal["float", "int", "bool"]) -> Tensor:
    return x.to({"float": torch.float32, "int": torch.int64, "bool": torch.bool}[to])


def _clip(x: Tensor, *, low: float | None = None, high: float | None = None) -> Tensor:
    return x.clamp(low, high)


OPERATORS: Mapping[str, Operator] = {
    "Abs": torch.abs,
    "Acos": torch.acos,
    "Add": torch.add,
    "And": torch.logical_and,
    "ArgMax": _extreme(torch.argmax),
    "ArgMin": _extreme(torch.argmin),
    "Asin": torch.asin,
    "Atan": torch.atan,
    "AveragePool": _average_pool,
    "Cast": _cast,
    "Ceil": torch.ceil,
    "Celu": lambda x, *, alpha: F.celu(x, alpha),
    "Clip": _clip,
    "Concat": lambda *parts, axis: torch.cat(parts, axis),
    "Cos": torch.cos,
    "Cosh": torch.cosh,
    "DepthToSpace": _depth_to_space,
    "Div": torch.div,
    "Einsum": lambda *parts, equation: torch.einsum(equation, *parts),
    "Elu": lambda x, *, alpha: F.elu(x, alpha),
    "Equal": torch.eq,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Expand": lambda x, *, shape: x.expand(*shape),
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "Gelu": lambda x, *, approximate: F.gelu(x, approximate=approximate),
    "Flatten": _flatten,
    "FromRows": _from_rows,
    "Floor": torch.floor,
    "GlobalAveragePool": lambda x: F.adaptive_avg_pool2d(x, 1),
    "GlobalMaxPool": lambda x: x.amax((2, 3), keepdim=True),
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "GroupNorm": lambda x, scale, bias, *, groups, eps: F.group_norm(x, groups, scale, bias, eps),
    "HardSigmoid": lambda x, *, alpha, beta: (x * alpha + beta).clamp(0, 1),
    "HardSwish": F.hardswish,
    "InstanceNorm": lambda x, scale, bias, *, eps: F.instance_norm(x, weight=scale, bias=bias, eps=eps),
    "LayerNorm": _layer_norm,
    "LeakyRelu": lambda x, *, alpha: F.leaky_relu(x, alpha),
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "Log": torch.log,
    "LogSoftmax": lambda x, *, axis: F.log_softmax(x, axis),
    "LpNormalization": _lp_normalization,
    "MatMul": torch.matmul,
    "Max": _folded(torch.maximum),
    "MaxPool": _max_pool,
    "Min": _folded(torch.minimum),
    "Mish": F.mish,
    "Mul": torch.mul,
    "Neg": torch.neg,
    "Not": torch.logical_not,
    "Or": torch.logical_or,
    "PRelu": lambda x, slope: torch.where(x < 0, x * slope, x),
    "Pad": _pad,
    "Pow": torch.pow,
    "Reciprocal": torch.reciprocal,
    "ReduceL1": _reduced(_l1),
    "ReduceL2": _reduced(_l2),
    "ReduceLogSumExp": _reduced(torch.logsumexp),
    "ReduceMax": _reduced(torch.amax),
    "ReduceMean": _reduced(torch.mean),
    "ReduceMin": _reduced(torch.amin),
    "ReduceProd": _reduced(_product),
    "ReduceSum": _reduced(torch.sum),
    "ReduceSumSquare": _reduced(_sum_square),
    "Relu": torch.relu,
    "RMSNorm": _rms_norm,
    "Reshape": _reshape,
    "Resize": _resize,
    "Round": torch.round,
    "Selu": F.selu,
    "Sigmoid": torch.sigmoid,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Sinh": torch.sinh,
    "Slice": _slice,
    "Softmax": lambda x, *, axis: F.softmax(x, axis),
    "Softplus": F.softplus,
    "Softsign": F.softsign,
    "Sqrt": torch.sqrt,
    "Squeeze": _squeeze,
    "Sub": torch.sub,
    "Sum": _folded(torch.add),
    "Take": _take,
    "Tan": torch.tan,
    "Tanh": torch.tanh,
    "ThresholdedRelu": lambda x, *, alpha: torch.where(x > alpha, x, torch.zeros_like(x)),
    "Tile": lambda x, *, repeats: x.repeat(*repeats),
    "TopK": lambda x, *, k, axis, largest: torch.topk(x, k, axis, bool(largest)).values,
    "ToRows": _to_rows,
    "TopPlaces": lambda x, *, k, axis, largest: torch.topk(x, k, axis, bool(largest)).indices,
    "Transpose": lambda x, *, perm: x.permute(*perm),
    "Unsqueeze": _unsqueeze,
    "Where": torch.where,
}
"""Operator -> torch. The table is closed: a bundle names nothing outside it."""
