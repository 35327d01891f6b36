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
import stat
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


def cache_directory() -> Path | None:
    """Where graphs are cached unless another place is given: `budgetc` in $XDG_CACHE_HOME, else in ~/.cache.

    A relative $XDG_CACHE_HOME is ignored, as the XDG Base Directory Specification asks. None where the user has no
    home either: a load then finds nothing, and an installation is refused.
    """
    known = Path(os.environ.get("XDG_CACHE_HOME", "")), Path(os.path.expanduser("~/.cache"))
    return next((path / "budgetc" for path in known if path.is_absolute()), None)


def cached_graph(spec: Spec, cache: Path | None = None) -> Path | None:
    """The optimized graph of an artifact, if it is cached; one that is damaged, or that others could have written, is
    warned of and not used.
    """
    directory = cache or cache_directory()
    place = None if directory is None else directory / _name(spec)
    if place is None or not os.path.lexists(place):  # false, too, where it may not be looked at
        return None
    flaw = _flaw(place)
    if flaw is not None:
        warn_unused(flaw)
        return None
    return place / _GRAPH


def warn_unused(flaw: str) -> None:
    """Say why an optimized graph that is there is not loaded."""
    warnings.warn(f"{flaw}; model.onnx is loaded instead; `budgetc install` makes it again", stacklevel=3)


def cache_graph(model: Path, spec: Spec, cache: Path | None = None) -> Path:
    """Optimize the graph of an artifact on this machine, and cache it whole, by rename.

    Raises:
        InputRejected: the optimized graph does not say the same of noise.
        UsageError: the directory cannot be written, or others could write into it.
    """
    directory = cache or cache_directory()
    if directory is None:
        named = os.environ.get("XDG_CACHE_HOME")
        found = f"is {named!r}, not an absolute path" if named else "is not set"
        raise errors.UsageError(f"this user has no home directory, and XDG_CACHE_HOME {found}; name a cache directory")
    place = directory / _name(spec)
    try:
        directory.mkdir(0o755, parents=True, exist_ok=True)
        if not _safe(directory):
            raise errors.UsageError(f"{_unsafe(directory)}, and no graph in it would be used; name another directory")
        scratch = directory / f".new-{os.getpid()}-{os.urandom(4).hex()}"
        scratch.mkdir(0o755)  # not mkdtemp, whose directories only their maker may read
        try:
            _write(model, spec, scratch)
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


def _name(spec: Spec) -> str:
    """A directory a graph, named after all that it depends on."""
    depends = [_LAYOUT, spec.model_sha256, spec.session.blocked, onnxruntime.__version__, _processor()]
    return hashlib.sha256(json.dumps(depends).encode()).hexdigest()[:32]


def _processor() -> list[str]:
    """Architecture and instruction sets, as the kernel spells them."""
    try:
        lines = _CPUINFO.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return [platform.machine(), platform.processor()]
    flags = {flag for line in lines if line.startswith(("flags", "Features")) for flag in line.split(":")[1].split()}
    return [platform.machine(), *sorted(flags)]


def _write(model: Path, spec: Spec, directory: Path) -> None:
    """Graph, weights and digests, for whom the umask lets read the directory."""
    _optimize(model, spec, directory)
    digests = {file.name: file_sha256(file) for file in sorted(directory.iterdir())}
    (directory / _DIGESTS).write_text(json.dumps(digests), encoding="utf-8")
    for file in directory.iterdir():
        file.chmod(directory.stat().st_mode & 0o644)


def _optimize(model: Path, spec: Spec, directory: Path) -> None:
    options = session_options(spec)
    options.optimized_model_filepath = str(directory / _GRAPH)
    options.add_session_config_entry("session.optimized_model_external_initializers_file_name", _WEIGHTS)
    options.add_session_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "1024")
    try:
        before = open_session(model, spec, options)
    except Exception as error:  # the model was loaded before: what fails is to write
        advice = "free space, or name another cache directory"
        raise errors.UsageError(
            f"{directory.parent}: onnxruntime cannot write there ({str(error).strip()}); {advice}"
        ) from error
    after = open_session(directory / _GRAPH, spec, session_options(spec), optimized=True)
    noise = {spec.input: np.random.default_rng(0).random(spec.input_shape, dtype=np.float32)}
    pairs = zip(before.run(None, noise), after.run(None, noise))
    if not all(np.allclose(one, other, rtol=1e-4, atol=1e-6) for one, other in pairs):
        raise errors.InputRejected(
            f"{model}: onnxruntime {onnxruntime.__version__} scores differently once it has optimized the graph; "
            "load the artifact without installing it, and report this"
        )


def _flaw(place: Path) -> str | None:
    """What speaks against loading the graph that is there. Its digests are in the cache, too, and only say whether it
    is whole: that it was made of `model.onnx` is believed because of who could write it.
    """
    try:
        for path in (place.parent, place, *(place / name for name in sorted(os.listdir(place)))):
            if not _safe(path):
                return f"{_unsafe(path)}, so the optimized graph is not trusted"
        digests = json.loads((place / _DIGESTS).read_text(encoding="utf-8"))
        whole = _GRAPH in digests and all(file_sha256(place / name) == sha for name, sha in digests.items())
    except PermissionError:
        return f"{place}: the optimized graph may not be read by this user"
    except (OSError, ValueError, TypeError, AttributeError):
        whole = False
    return None if whole else f"{place}: the optimized graph is damaged"


def _safe(path: Path) -> bool:
    """Whether it is itself a directory or file, and nobody but this user and root could have written it."""
    found = os.lstat(path)
    real = stat.S_ISDIR(found.st_mode) or stat.S_ISREG(found.st_mode)
    if os.name == "nt":  # which has neither owners nor modes to ask for
        return real
    return real and found.st_uid in (0, os.geteuid()) and not found.st_mode & 0o022


def _unsafe(path: Path) -> str:
    return f"{path}: is a link, belongs to another user or may be written by others"


def _replace(scratch: Path, place: Path) -> None:
    """Another process may do the same at this moment; whose directory stays does not matter."""
    old = scratch.with_name(f"{scratch.name}-old")
    with suppress(FileNotFoundError):
        place.rename(old)
    try:
        scratch.rename(place)
    except OSError:
        if _flaw(place) is not None:
            raise
    finally:
        shutil.rmtree(old, ignore_errors=True)
