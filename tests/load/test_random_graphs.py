"""Any small graph computes the same in the runtime and in budgetc's layers."""

from typing import Any

import numpy as np
import onnx
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper

from tests.graphs import model_of, read, runtime

node = helper.make_node


class Growing:
    """A random graph of feature maps (1, c, h, w), from hypothesis' choices."""

    def __init__(self, data: st.DataObject) -> None:
        self.draw = data.draw
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, Any] = {}
        self.maps: list[tuple[str, tuple[int, int, int]]] = [("image", (3, 8, 8))]
        self.rng = np.random.default_rng(self.draw(st.integers(0, 2**16)))

    def grow(self) -> None:
        """One more node, or a few."""
        name, shape = self.draw(st.sampled_from(self.maps[-4:]))
        kinds = [self._conv, self._activation, self._pool, self._resize, self._join, self._residual, self._branch]
        self.draw(st.sampled_from(kinds))(name, shape)

    def put(self, op: str, inputs: list[str], shape: tuple[int, int, int], **attributes: Any) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(node(op, inputs, [name], **attributes))
        self.maps.append((name, shape))
        return name

    def weight(self, value: Any) -> str:
        name = f"w{len(self.weights)}"
        self.weights[name] = value
        return name

    def _conv(self, name: str, shape: tuple[int, int, int]) -> None:
        groups = self.draw(st.sampled_from([1, shape[0]]))
        outputs = shape[0] if groups > 1 else self.draw(st.sampled_from([2, 4]))
        pads = self.draw(st.sampled_from([[1, 1, 1, 1], [0, 0, 2, 2], [2, 1, 0, 1]]))
        weight = self.weight(self.rng.normal(0, 0.4, (outputs, shape[0] // groups, 3, 3)).astype(np.float32))
        bias = [self.weight(self.rng.normal(0, 0.4, outputs).astype(np.float32))] if self.draw(st.booleans()) else []
        made = self.put("Conv", [name, weight, *bias], (outputs, *shape[1:]), group=groups, pads=pads)
        if self.draw(st.booleans()):
            gains = [self.weight(self.rng.uniform(0.5, 1.5, outputs).astype(np.float32)) for _ in range(4)]
            made = self.put("BatchNormalization", [made, *gains], (outputs, *shape[1:]))
        self._activation(made, (outputs, *shape[1:]))

    def _activation(self, name: str, shape: tuple[int, int, int]) -> None:
        kind = self.draw(st.sampled_from(["Relu", "LeakyRelu", "Sigmoid", "Elu", "Tanh", "HardSwish"]))
        self.put(kind, [name], shape)

    def _pool(self, name: str, shape: tuple[int, int, int]) -> None:
        kind = self.draw(st.sampled_from(["MaxPool", "AveragePool"]))
        if min(shape[1:]) >= 4:
            half = (shape[0], shape[1] // 2, shape[2] // 2)
            self.put(kind, [name], half, kernel_shape=[2, 2], strides=[2, 2])

    def _resize(self, name: str, shape: tuple[int, int, int]) -> None:
        if max(shape[1:]) <= 8:
            scales = self.weight(np.array([1, 1, 2, 2], np.float32))
            mode = self.draw(st.sampled_from(["nearest", "linear"]))
            self.put("Resize", [name, "", scales], (shape[0], shape[1] * 2, shape[2] * 2), mode=mode)

    def _join(self, name: str, shape: tuple[int, int, int]) -> None:
        for other, its in self.maps:
            if its[1:] == shape[1:] and other != name:
                self.put("Concat", [name, other], (shape[0] + its[0], *shape[1:]), axis=1)
                return

    def _residual(self, name: str, shape: tuple[int, int, int]) -> None:
        for other, its in self.maps[::-1]:
            if its == shape and other != name:
                self.put(self.draw(st.sampled_from(["Add", "Mul", "Sub"])), [name, other], shape)
                return

    def _branch(self, name: str, shape: tuple[int, int, int]) -> None:
        """Squeeze and excitation."""
        pooled = self.put("GlobalAveragePool", [name], (shape[0], 1, 1))
        weight = self.weight(self.rng.normal(0, 0.4, (shape[0], shape[0], 1, 1)).astype(np.float32))
        gate = self.put("Sigmoid", [self.put("Conv", [pooled, weight], (shape[0], 1, 1))], (shape[0], 1, 1))
        self.put("Mul", [name, gate], shape)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_random_graphs(data: st.DataObject) -> None:
    """Whatever is chosen: several pictures at once give what the runtime gives for each."""
    graph = Growing(data)
    for _ in range(data.draw(st.integers(1, 8))):
        graph.grow()
    graph._conv(*graph.maps[-1])  # what has no weights is refused
    graph.nodes.append(node("ReduceL2", [graph.maps[-1][0]], ["score"], keepdims=0))
    model = model_of(graph.nodes, graph.weights)
    module = read(model).detector.module
    images = np.random.default_rng(0).random((2, 3, 8, 8), np.float32)
    wanted = [float(runtime(model, image[None]).ravel()[0]) for image in images]
    with torch.no_grad():
        np.testing.assert_allclose(module(torch.from_numpy(images))[0].numpy(), wanted, rtol=1e-3, atol=1e-6)
