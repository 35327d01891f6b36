"""Optimized graphs, made once on the machine that runs them.

onnxruntime folds constants and lays out weights for the processor at every load, which takes time and several times the
file's bytes. An optimized graph saves both: its weights lie in a file of their own and are mapped, not copied.
It only fits the runtime and the processor that made it, so both are part of its name.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime

from budgetc import errors
from budgetc.runtime.session import open_session, session_options

if TYPE_CHECKING:
    from budgetc.runtime.spec import Spec

_LAYOUT = 1
_GRAPH, _WEIGHTS, _DIGESTS = "graph.onnx", "weights.bin", "digests.json"
_CPUINFO = Path("/proc/cpuinfo")


def cache_directory() -> Path:
    """Where graphs are cached unless another place is given: `budgetc` in $XDG_CACHE_HOME, else in ~/.cache.

    Relative where the user has no home: a load then finds nothing, and an installation is refused.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "budgetc"


def cached_graph(spec: Spec, cache: Path | None = None) -> Path | None:
    """The optimized graph of an artifact, if it is cached and whole; a damaged one is warned of and not used."""
    directory = _place(spec, cache)
    if not os.path.isdir(directory):  # false, too, where it may not be looked at
        return None
    if not _whole(directory):
        advice = "model.onnx is loaded instead; `budgetc install` makes it again"
        warnings.warn(f"{directory}: the optimized graph is damaged; {advice}", stacklevel=2)
        return None
    return directory / _GRAPH


def cache_graph(model: Path, spec: Spec, cache: Path | None = None) -> Path:
    """Optimize the graph of an artifact on this machine, and cache it whole, by rename.

    Raises:
        InputRejected: the optimized graph does not say the same of noise.
        UsageError: the directory cannot be written.
    """
    place = _place(spec, cache)
    if cache is None and not place.is_absolute():
        raise errors.UsageError(f"{place.parent}: this user has no home directory; name a cache directory")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".new-", dir=place.parent))
        try:
            _optimize(model, spec, scratch)
            digests = {file.name: file_sha256(file) for file in sorted(scratch.iterdir())}
            (scratch / _DIGESTS).write_text(json.dumps(digests), encoding="utf-8")
            _replace(scratch, place)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise errors.UsageError(
            f"{place}: cannot be written ({error.strerror}); name another cache directory"
        ) from error
    return place / _GRAPH


def file_sha256(path: Path) -> str:
    """Hex digest of a file, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _place(spec: Spec, cache: Path | None) -> Path:
    """A directory a graph, named after all that it depends on."""
    depends = [_LAYOUT, spec.model_sha256, spec.session.blocked, onnxruntime.__version__, _processor()]
    return (cache or cache_directory()) / hashlib.sha256(json.dumps(depends).encode()).hexdigest()[:32]


def _processor() -> list[str]:
    """Architecture and instruction sets, as the kernel spells them."""
    try:
        lines = _CPUINFO.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return [platform.machine(), platform.processor()]
    flags = {flag for line in lines if line.startswith(("flags", "Features")) for flag in line.split(":")[1].split()}
    return [platform.machine(), *sorted(flags)]


def _optimize(model: Path, spec: Spec, directory: Path) -> None:
    options = session_options(spec)
    options.optimized_model_filepath = str(directory / _GRAPH)
    options.add_session_config_entry("session.optimized_model_external_initializers_file_name", _WEIGHTS)
    options.add_session_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "1024")
    before = open_session(model, spec, options)
    after = open_session(directory / _GRAPH, spec, session_options(spec), optimized=True)
    noise = {spec.input: np.random.default_rng(0).random((1, 3, spec.height, spec.width), dtype=np.float32)}
    pairs = zip(before.run(None, noise), after.run(None, noise))
    if not all(np.allclose(one, other, rtol=1e-4, atol=1e-6) for one, other in pairs):
        raise errors.InputRejected(
            f"{model}: onnxruntime {onnxruntime.__version__} scores differently once it has optimized the graph; "
            "load the artifact without installing it, and report this"
        )


def _whole(directory: Path) -> bool:
    try:
        digests = json.loads((directory / _DIGESTS).read_text(encoding="utf-8"))
        return _GRAPH in digests and all(file_sha256(directory / name) == sha for name, sha in digests.items())
    except (OSError, ValueError, TypeError, AttributeError):
        return False


def _replace(scratch: Path, place: Path) -> None:
    """Another process may do the same at this moment; whose directory stays does not matter."""
    old = scratch.with_name(f"{scratch.name}-old")
    with suppress(FileNotFoundError):
        place.rename(old)
    try:
        scratch.rename(place)
    except OSError:
        if not _whole(place):
            raise
    finally:
        shutil.rmtree(old, ignore_errors=True)
