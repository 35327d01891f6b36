"""A network as a list of nodes in the order they compute: what a bundle holds of a graph beside its weights."""

from math import prod
from typing import Annotated, Literal

from pydantic import Field, model_validator

from budgetc.core.frozen import Frozen
from budgetc.detectors.detector import DetectorConfig
from budgetc.detectors.graph.operators import OPERATORS, Attribute
from budgetc.detectors.layers import LEAKY_SLOPE, Activation

IMAGE = "image"
"""What nodes call the input, (b, 3, H, W) in [0, 1]."""
MAX_NODES = 4096
MAX_INPUTS = 1024
"""Of one node."""
MAX_CONSTANTS = 64 * 10**6
"""Numbers in all constants."""

Name = Annotated[str, Field(pattern=r"^[a-z]{1,16}[0-9]{1,6}$")]
"""With a digit, so that it is no attribute of a torch module."""
Read = Literal["image"] | Name
Size = Annotated[int, Field(ge=1, le=2**20)]
Pair = tuple[Size, Size]
Margin = Annotated[int, Field(ge=0, le=2**12)]
Margins = tuple[Margin, Margin]
Source = Annotated[str, Field(max_length=512)]


class _Node(Frozen):
    name: Name
    source: Source = ""
    """What its result is called in the file that the graph was read from."""


class ConvNode(_Node):
    """A convolution with bias and activation, of equal padding on opposite sides."""

    kind: Literal["conv"] = "conv"
    inputs: tuple[Read]
    channels: Pair
    """(in, out)."""
    kernel: Pair
    stride: Pair = (1, 1)
    padding: Margins = (0, 0)
    dilation: Pair = (1, 1)
    groups: Size = 1
    activation: Activation = "none"
    slope: float = LEAKY_SLOPE
    head: bool = False
    """Part of the score: smooths a map, say."""


class UpNode(_Node):
    """A transposed convolution with bias and activation; `subpixel` is the integer form of 2x2 at stride 2."""

    kind: Literal["up"] = "up"
    inputs: tuple[Read]
    channels: Pair
    kernel: Pair
    stride: Pair = (1, 1)
    padding: Margins = (0, 0)
    extra: Margins = (0, 0)
    """Rows and columns added at the end, `output_padding`."""
    dilation: Pair = (1, 1)
    groups: Size = 1
    activation: Activation = "none"
    slope: float = LEAKY_SLOPE
    subpixel: bool = False


class LinearNode(_Node):
    """A fully connected layer with bias and activation: (b, in) -> (b, out)."""

    kind: Literal["linear"] = "linear"
    inputs: tuple[Read]
    features: Pair
    """(in, out)."""
    activation: Activation = "none"
    slope: float = LEAKY_SLOPE
    head: bool = False
    """Part of the score: means and variances of a latent space, say."""


class AddNode(_Node):
    """The sum of two results of one shape, and an activation."""

    kind: Literal["add"] = "add"
    inputs: tuple[Read, Read]
    activation: Activation = "none"
    slope: float = LEAKY_SLOPE


class ConcatNode(_Node):
    """Feature maps side by side."""

    kind: Literal["concat"] = "concat"
    inputs: Annotated[tuple[Read, ...], Field(min_length=1, max_length=MAX_INPUTS)]


class RoundNode(_Node):
    """Where a layer reads what no layer wrote: a place to round, when the layer computes in INT8."""

    kind: Literal["round"] = "round"
    inputs: tuple[Read]
    first: bool = False
    """Whether what is read is the picture, in three channels, so that the convolution behind it may stay in FP32."""


class CallNode(_Node):
    """Any other operator: plain float torch."""

    kind: Literal["call"] = "call"
    op: str
    inputs: Annotated[tuple[Read, ...], Field(min_length=1, max_length=MAX_INPUTS)]
    attributes: dict[Annotated[str, Field(pattern=r"^[a-z]{1,16}$")], Attribute] = {}


class ConstantShape(Frozen):
    """A tensor that nodes read; its values are among the weights."""

    name: Name
    shape: Annotated[tuple[Annotated[int, Field(ge=0, le=2**31)], ...], Field(max_length=8)]
    dtype: Literal["float", "int", "bool"] = "float"
    table: bool = False
    """Whether it is large enough to be stored in fewer bits, as weights are."""


Node = Annotated[
    ConvNode | UpNode | LinearNode | AddNode | ConcatNode | RoundNode | CallNode, Field(discriminator="kind")
]
UnitNode = ConvNode | UpNode | LinearNode | AddNode | ConcatNode | RoundNode
LayerNode = ConvNode | UpNode | LinearNode


def is_body(node: Node) -> bool:
    """Whether a node has weights and is no part of the score."""
    return isinstance(node, LayerNode) and not (isinstance(node, ConvNode | LinearNode) and node.head)


class GraphConfig(DetectorConfig):
    """Nodes in the order they compute, and which results are the score and the map."""

    nodes: Annotated[tuple[Node, ...], Field(min_length=1, max_length=MAX_NODES)]
    constants: Annotated[tuple[ConstantShape, ...], Field(max_length=MAX_NODES)] = ()
    score: Name | None = None
    """One number a picture; None: the largest value of the map."""
    map: Name | None = None
    """One number a place."""
    batched: bool = True
    """Whether the nodes compute several pictures at once as they compute each."""

    @property
    def score_reads(self) -> tuple[str, ...]:
        """Results of layers that the score is computed of: what another network has to reproduce."""
        body = {node.name for node in self.nodes if is_body(node)}
        own = frozenset(body)
        for node in reversed(self.nodes):
            if node.name in body:
                body.update(node.inputs)
        # Not on the way: a layer that comes earlier in the file may read what part of the score reads, too.
        found = [name for node in self.nodes if node.name not in body for name in node.inputs if name in body]
        wanted = [name for name in (self.score, self.map) if name in own]
        seen = {*found, *wanted} - {IMAGE, *(one.name for one in self.constants)}
        return tuple(node.name for node in self.nodes if node.name in seen)

    @model_validator(mode="after")
    def _in_order(self) -> "GraphConfig":
        known = [IMAGE, *(one.name for one in self.constants)]
        seen = set(known)
        if len(seen) < len(known):
            raise ValueError("two constants have one name")
        tables = [one for one in self.constants if one.table]
        if any(one.dtype != "float" or not prod(one.shape) or not one.shape for one in tables):
            raise ValueError("a table of something else than floats")
        for node in self.nodes:
            unknown = [name for name in node.inputs if name not in seen]
            if unknown:
                raise ValueError(f"{node.name} reads {unknown[0]}, which no node before it writes")
            if node.name in seen:
                raise ValueError(f"two nodes are called {node.name}")
            if isinstance(node, CallNode) and node.op not in OPERATORS:
                raise ValueError(f"{node.name} has the unknown operator {node.op!r}")
            seen.add(node.name)
        if self.score is None and self.map is None:
            raise ValueError("neither score nor map")
        for wanted in (self.score, self.map):
            if wanted is not None and wanted not in seen:
                raise ValueError(f"no node is called {wanted}")
        if sum(prod(one.shape) for one in self.constants) > MAX_CONSTANTS:
            raise ValueError(f"constants of more than {MAX_CONSTANTS} numbers")
        return self
