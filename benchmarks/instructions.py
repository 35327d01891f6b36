"""Instructions that onnxruntime executes on a Cortex-A57, counted under QEMU: INT8 over FP32, operator by operator.

    python benchmarks/instructions.py [--quick]

Every operator is a graph of its own, in FP32 and in INT8, at the shapes of small detectors. Counted is what one more
call costs inside onnxruntime's library. `issue cycles` are the least in which its vector arithmetic can be issued if a
128-bit multiplication starts every cycle, and other arithmetic beside it in a second pipe (how the A57 is commonly
described; not checked against its manual). Neither figure is a time: loads, caches and stalls are not in it.
Fetches the emulator's environment the first time, as `budgetc measure --emulate` does.
"""

import argparse
import os
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from line import Line  # beside this script
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from budgetc.core.target import Emulation
from budgetc.measurement.emulator import Emulator, emulator

CALLS = 2
"""More of the second run than of the first."""
_CALL = """
import sys, numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
(read,) = session.get_inputs()
x = numpy.random.default_rng(0).integers(0, 256, read.shape).astype("uint8" if "uint8" in read.type else "float32")
for _ in range(int(sys.argv[2])):
    session.run(None, {"x": x})
print(next(line.split()[0] for line in open("/proc/self/maps") if "pybind11_state" in line and "r-xp" in line))
"""
_MULTIPLY = (
    "fmla",
    "fmls",
    "fmul",
    "smull",
    "smlal",
    "umull",
    "umlal",
    "mla",
    "mul",
    "smull2",
    "smlal2",
    "umull2",
    "umlal2",
)
_MOVE = ("ldr", "ldp", "ldur", "str", "stp", "stur", "ld1", "ld4", "st1", "st4", "ld1r", "dup", "ins", "umov", "mov")


@dataclass(frozen=True)
class Shape:
    """A convolution with a square kernel over a square input, stride 1."""

    name: str
    inputs: int
    outputs: int
    kernel: int
    side: int
    groups: int = 1


SHAPES = (
    Shape("1x1, 32 -> 96 at 32 x 32", 32, 96, 1, 32),
    Shape("3x3, 32 -> 32 at 16 x 16", 32, 32, 3, 16),
    Shape("1x1, 96 -> 24 at 16 x 16", 96, 24, 1, 16),
    Shape("depthwise 3x3, 96 at 32 x 32", 96, 96, 3, 32, 96),
    Shape("depthwise 5x5, 96 at 16 x 16", 96, 96, 5, 16, 96),
)


def main() -> None:
    """All shapes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one shape")
    options = parser.parse_args()
    played = emulator(Emulation(machine="aarch64", cpu="cortex-a57"), fetch=True)
    assert played is not None
    for shape in SHAPES[1:2] if options.quick else SHAPES:
        for line in lines(shape, played):
            line.show()


def lines(shape: Shape, played: Emulator) -> Iterator[Line]:
    """Instructions and issue cycles of INT8 over those of FP32."""
    with tempfile.TemporaryDirectory() as scratch:
        counts = []
        for integer in (False, True):
            path = Path(scratch) / "one.onnx"
            onnx.save(convolution(shape, integer=integer), path)
            counts.append(counted(path, played, Path(scratch)))
    before, after = (sum(count.values()) for count in counts)
    slow, fast = (issue(count) for count in counts)
    for what, pair in {"instructions": (after, before), "vector issue cycles": (fast, slow)}.items():
        words = f"{pair[0]:.0f} and {pair[1]:.0f} {what} a call"
        name = f"{shape.name}: {what} of INT8 over FP32"
        yield Line(name, round(pair[0] / pair[1], 3), "reported", True, "1", CALLS, words, kind="emulated")


def issue(count: Counter[str]) -> float:
    """Cycles in which vector arithmetic can be issued at best."""
    vector = {name[:-2]: number for name, number in count.items() if name.endswith(".v")}
    multiplications = sum(number for name, number in vector.items() if name in _MULTIPLY)
    others = sum(number for name, number in vector.items() if name not in _MULTIPLY and name not in _MOVE)
    return max(multiplications, (multiplications + others) / 2)


def counted(model: Path, played: Emulator, scratch: Path) -> Counter[str]:
    """Instruction -> how often a call executes it; `.v` where its first operand is a vector register."""
    few, many = (_traced(model, calls, played, scratch) for calls in (1, 1 + CALLS))
    return Counter({name: (many[name] - few[name]) / CALLS for name in many})


def _traced(model: Path, calls: int, played: Emulator, scratch: Path) -> Counter[str]:
    """Totals of a process inside onnxruntime's library, whose place is known once it was loaded before."""
    within = ""
    for _ in range(4):
        trace, total = scratch / "trace", Counter[str]()
        options = ["-d", "in_asm,exec,nochain", "-dfilter", within, "-D", str(trace)] if within else []
        if within:
            os.mkfifo(trace)
        with _started(model, calls, played, options) as process:
            if within:
                with trace.open(encoding="ascii", errors="replace") as lines:
                    total = _totals(lines)
            first, last = process.communicate()[0].strip().split("-")
        trace.unlink(missing_ok=True)
        place = f"0x{first}..0x{last}"
        if within == place:
            return total
        within = place
    raise RuntimeError("onnxruntime's library was loaded at another place each time")


def _started(model: Path, calls: int, played: Emulator, options: list[str]) -> subprocess.Popen[str]:
    qemu, *rest = played.command
    command = [qemu, *options, *rest, "-c", _CALL, str(model), str(calls)]
    return subprocess.Popen(command, env={**os.environ, **played.environment}, stdout=subprocess.PIPE, text=True)


def _totals(trace: Iterable[str]) -> Counter[str]:
    """A block's instructions are listed when QEMU first meets it, then a line is written each time it is entered."""
    blocks, entered = dict[str, list[str]](), Counter[str]()
    block = list[str]()
    for line in trace:
        if line.startswith("Trace"):
            entered[line.split("/")[1]] += 1
        elif line.startswith("IN:"):
            block = []
        elif line.startswith("0x"):
            address, _, rest = line.partition(":")
            if not block:
                blocks[address[2:].zfill(16)] = block
            block.append(_named(rest.split()))
    total = Counter[str]()
    for address, times in entered.items():
        for name in blocks.get(address, ()):
            total[name] += times
    return total


def _named(words: list[str]) -> str:
    """`fmla.v` of `4f800000 fmla v0.4s, v1.4s, v2.s[0]`."""
    first = words[2].lstrip("{") if len(words) > 2 else ""
    return words[1] + (".v" if first.startswith("v") else "")


def convolution(shape: Shape, *, integer: bool) -> onnx.ModelProto:
    """One convolution and its ReLU, from U8 to U8 where integer."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(shape.outputs, shape.inputs // shape.groups, shape.kernel, shape.kernel)).astype(
        np.float32
    )
    tensors: dict[str, NDArray[np.generic]] = {"weight": weight, "bias": np.zeros(shape.outputs, np.float32)}
    before, after = list[onnx.NodeProto](), list[onnx.NodeProto]()
    names = {"read": "x", "weight": "weight", "bias": "bias", "written": "y"}
    if integer:
        names = {"read": "xd", "weight": "wd", "bias": "bd", "written": "r"}
        scale = (np.abs(weight).reshape(shape.outputs, -1).max(1) / 127).astype(np.float32)
        tensors = {"whole": np.rint(weight / scale.reshape(-1, 1, 1, 1)).astype(np.int8), "scale": scale,
                   "step": np.array(0.02, np.float32), "zero": np.array(0, np.uint8),
                   "sums": np.zeros(shape.outputs, np.int32), "sum_step": 0.02 * scale}  # fmt: skip
        before = [
            helper.make_node("DequantizeLinear", ["x", "step", "zero"], ["xd"]),
            helper.make_node("DequantizeLinear", ["whole", "scale"], ["wd"], axis=0),
            helper.make_node("DequantizeLinear", ["sums", "sum_step"], ["bd"], axis=0),
        ]
        after = [helper.make_node("QuantizeLinear", ["r", "step", "zero"], ["y"])]
    conv = helper.make_node("Conv", [names["read"], names["weight"], names["bias"]], ["c"], group=shape.groups,
                            pads=[shape.kernel // 2] * 4)  # fmt: skip
    ends = [
        helper.make_tensor_value_info(name, TensorProto.UINT8 if integer else TensorProto.FLOAT,
                                      [1, channels, shape.side, shape.side])
        for name, channels in (("x", shape.inputs), ("y", shape.outputs))
    ]  # fmt: skip
    nodes = [*before, conv, helper.make_node("Relu", ["c"], [names["written"]]), *after]
    initializers = [numpy_helper.from_array(value, name) for name, value in tensors.items()]
    graph = helper.make_graph(nodes, "one", ends[:1], ends[1:], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


if __name__ == "__main__":
    main()
