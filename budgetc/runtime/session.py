"""onnxruntime sessions as `artifact.json` asks for them."""

from __future__ import annotations

import ctypes
import sys
from functools import lru_cache
from typing import TYPE_CHECKING

import onnxruntime

if TYPE_CHECKING:
    from pathlib import Path

    from budgetc.runtime.spec import Spec

_BLOCKING = "NchwcTransformer"


def session_options(spec: Spec) -> onnxruntime.SessionOptions:
    """How every session of an artifact runs."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = spec.threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    options.enable_mem_pattern = spec.session.memory_pattern
    if spec.threads > 1:
        # Spinning workers burn the cores of other processes between two images.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if spec.session.arena == "as-requested" and _exact_arena():
        options.add_session_config_entry("session.use_env_allocators", "1")
    return options


def open_session(
    graph: Path, spec: Spec, options: onnxruntime.SessionOptions, *, optimized: bool = False
) -> onnxruntime.InferenceSession:
    """Load a graph; one that is `optimized` already is taken as it is."""
    if optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        str(graph), options, providers=["CPUExecutionProvider"],
        disabled_optimizers=[] if spec.session.blocked else [_BLOCKING],
    )  # fmt: skip
    if spec.session.trim:
        _trim()
    return session


@lru_cache(maxsize=None)
def _exact_arena() -> bool:
    """Register the arena that all sessions of this process with `as-requested` share; False where it cannot be.

    An arena's strategy is no option of a session: it belongs to the process.
    """
    where = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    unlimited, same_as_requested, default = 0, 1, -1
    try:
        arena = onnxruntime.OrtArenaCfg(unlimited, same_as_requested, default, default)
        onnxruntime.create_and_register_allocator(where, arena)
    except Exception:  # the program around us may have registered its own
        return False
    return True


def _trim() -> None:
    """Give freed pages of the heap back; only glibc keeps them, and only glibc has the call."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
