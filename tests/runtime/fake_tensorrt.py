"""Stands for TensorRT and CUDA on a board: engines are graphs that onnxruntime runs, and whose scores are 0.25 higher.

A file of its own, because it is copied as `tensorrt.py` beside the scripts of a board.
"""

import ctypes
from typing import Any

import numpy as np
import onnxruntime

__version__ = "8.2.1.8"
SHIFT = 0.25
_blocks: list[Any] = []


class _Cuda:
    """libcudart.so, whose GPU is this process."""

    def cudaMalloc(self, place: Any, size: Any) -> int:
        _blocks.append(ctypes.create_string_buffer(size.value))
        place._obj.value = ctypes.addressof(_blocks[-1])
        return 0

    def cudaMemcpy(self, to: Any, source: Any, size: Any, kind: int) -> int:
        ctypes.memmove(to, source, size.value)
        return 0


_load = ctypes.CDLL


def _loaded(name: Any, *arguments: Any, **options: Any) -> Any:
    return _Cuda() if name == "libcudart.so" else _load(name, *arguments, **options)


ctypes.CDLL = _loaded  # type: ignore[misc,assignment]


class Logger:
    ERROR = 1

    def __init__(self, level: int) -> None:
        self.level = level


class Runtime:
    def __init__(self, logger: Logger) -> None:
        self.logger = logger

    def deserialize_cuda_engine(self, data: bytes) -> "Engine | None":
        return Engine(data[7:]) if data.startswith(b"engine:") else None


class Engine:
    def __init__(self, model: bytes) -> None:
        self.session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        self.inputs, self.outputs = self.session.get_inputs(), self.session.get_outputs()
        self.nodes = [*self.inputs, *self.outputs]
        self.num_bindings = len(self.nodes)

    def get_binding_name(self, index: int) -> str:
        return str(self.nodes[index].name)

    def get_binding_shape(self, index: int) -> list[int]:
        return list(self.nodes[index].shape)

    def get_binding_dtype(self, index: int) -> str:
        return "float"

    def create_execution_context(self) -> "Engine":
        return self

    def execute_v2(self, places: list[int]) -> bool:
        views = [_view(place, node.shape) for place, node in zip(places, self.nodes, strict=True)]
        feeds = {node.name: view for node, view in zip(self.inputs, views, strict=False)}
        for view, found in zip(views[len(self.inputs) :], self.session.run(None, feeds), strict=True):
            view[...] = found + np.float32(SHIFT)
        return True


def nptype(kind: str) -> type:
    return np.float32


def _view(place: int, shape: list[int]) -> Any:
    floats = (ctypes.c_float * int(np.prod(shape))).from_address(place)
    return np.ctypeslib.as_array(floats).reshape(shape)
