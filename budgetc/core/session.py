"""How the runtime loads and runs a graph: what `artifact.json` asks for beside the number of threads."""

from typing import Literal

from budgetc.core.frozen import Frozen

Compute = Literal["fp32", "int8"]
"""What most layers of a file run in."""


class SessionOptions(Frozen):
    """Settings of an onnxruntime session that change memory; the defaults are onnxruntime's own."""

    arena: Literal["power-of-two", "as-requested"] = "power-of-two"
    """How much the allocator takes from the system when it runs out (`kNextPowerOfTwo`, `kSameAsRequested`)."""
    memory_pattern: bool = True
    """Whether the second run gets one planned block, beside the chunks that the first run took."""
    blocked: bool = True
    """Whether FP32 convolutions run in the channel-blocked layout NCHWc: several times faster, and between INT8
    layers two more copies of the largest activation."""
    trim: bool = False
    """Whether what loading freed goes back to the system (glibc's `malloc_trim`)."""
    preoptimized: bool = False
    """Whether memory and latency hold for the optimized graph that `budgetc install` caches on the machine."""

    def words(self) -> str:
        """For people."""
        said = [
            "exact arena" if self.arena == "as-requested" else "",
            "" if self.memory_pattern else "no memory pattern",
            "" if self.blocked else "plain layout",
            "heap trimmed after loading" if self.trim else "",
            "installed graph" if self.preoptimized else "",
        ]
        return ", ".join(filter(None, said)) or "onnxruntime's defaults"


class Sessions(Frozen):
    """The options of every file of one compilation."""

    fp32: SessionOptions = SessionOptions()
    int8: SessionOptions = SessionOptions()
    """Of files with at least one INT8 layer."""


DEFAULT_SESSIONS = Sessions()
