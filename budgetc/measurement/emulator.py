"""A processor that is not here, played by QEMU, with the Python and the onnxruntime that score on it.

x86-64 runs this very environment. AArch64 needs an own one: Python of Debian 12 (what apt downloads is checked against
Debian's signature) and wheels of known digests, 110 MB on disk, fetched once into the user's cache. OpenCV, 74 MB more,
lies beside it and is only fetched for a detector of motion.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from budgetc.core.target import Emulation
from budgetc.errors import TargetUnreachable
from budgetc.runtime.cache import cache_directory
from budgetc.runtime.flow import opencv_version

_SUITE = "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm main\n"
_CONTENTS = "contents.json"
_APT = """\
Dir "{0}"; Dir::State::status "{0}/status"; Dir::Etc::SourceList "{0}/sources.list"; Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Parts "/dev/null"; APT::Architecture "arm64"; APT::Architectures {{ "arm64"; }};
APT::Sandbox::User "root"; Acquire::Languages "none";
"""


@dataclass(frozen=True, slots=True)
class _Layer:
    """A part of the environment for AArch64 that is fetched on its own."""

    name: str
    provides: str
    """Part of `Emulator.runtime`."""
    wheels: Mapping[str, str]
    """For CPython 3.11 on manylinux2014_aarch64 -> sha256."""
    debian: tuple[str, ...] = ()
    """Packages."""

    @property
    def place(self) -> Path:
        """Where it lies, in the user's cache."""
        cache = cache_directory()
        if cache is None:
            raise TargetUnreachable("this user has no home directory; set XDG_CACHE_HOME to an absolute path")
        digest = sha256(json.dumps([self.debian, self.wheels, _SUITE]).encode()).hexdigest()
        return cache / f"emulator-{self.name}-{digest[:16]}"


_BASE = _Layer(
    "aarch64",
    "onnxruntime 1.16.3",  # the last for a Jetson Nano, and what goes with it
    {
        "onnxruntime==1.16.3": "00cccc37a5195c8fca5011b9690b349db435986bd508eb44c9fce432da9228a4",
        "numpy==1.26.4": "7ab55401287bfec946ced39700c053796e7cc0e3acbef09993a9ad2adba6ca6e",
        "pillow==11.3.0": "7d1aa4de119a0ecac0a34a9c8bde33f34022e2e8f99104e47a3ca392fd60e37d",
    },
    ("libc6", "libgcc-s1", "libstdc++6", "zlib1g", "libexpat1", "libffi8", "libbz2-1.0", "liblzma5", "libssl3",
     "libcrypt1", "libuuid1", "python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib"),
)  # fmt: skip
_OPENCV = _Layer(
    "aarch64-opencv",
    "OpenCV 4.11.0",  # the last that was built for the numpy 1 of a Nano's Python 3.8
    {"opencv-python-headless==4.11.0.86": "6efabcaa9df731f29e5ea9051776715b1bdd1845d7c9530065c7951d2a2899eb"},
)


@dataclass(frozen=True, slots=True)
class Emulator:
    """How to run Python on an emulated processor."""

    command: tuple[str, ...]
    """QEMU and the Python that it runs; a script and its arguments follow."""
    environment: dict[str, str]
    device: str
    """`QEMU 7.2.22, cortex-a57`."""
    runtime: str
    """`onnxruntime 1.16.3`; of a detector of motion `onnxruntime 1.16.3, OpenCV 4.11.0`."""
    contents: dict[str, str]
    """Name of every fetched file -> sha256; empty where nothing was fetched."""


def emulator(wanted: Emulation, *, fetch: bool, flow: bool = False) -> Emulator | None:
    """The emulator of a processor; None where its environment is not fetched yet and `fetch` does not ask for it.

    Args:
        wanted: the processor.
        fetch: whether what is missing may be downloaded.
        flow: whether a detector of motion shall run, which needs OpenCV.

    Raises:
        TargetUnreachable: QEMU is not installed, or what it needs cannot be fetched.
        UsageError: OpenCV is missing in this environment, which x86-64 runs.
    """
    name = f"qemu-{wanted.machine}-static"
    qemu = shutil.which(name)
    if qemu is None:
        if not fetch:
            return None
        raise TargetUnreachable(
            f"{name} is not on the PATH; install it (Debian and Ubuntu: apt install qemu-user-static)"
        )
    device = f"QEMU {_version_of(qemu)}, {wanted.cpu}"
    if wanted.machine == "x86_64":
        # numpy's OpenBLAS takes an emulated Nehalem for a processor with AVX; nothing here multiplies matrices with it.
        environment = {"OPENBLAS_CORETYPE": "Nehalem"}
        runtime = f"onnxruntime {version('onnxruntime')}" + (f", OpenCV {opencv_version()}" if flow else "")
        return Emulator((qemu, "-cpu", wanted.cpu, sys.executable), environment, device, runtime, {})
    layers = (_BASE, _OPENCV) if flow else (_BASE,)
    for layer in layers:
        if not (layer.place / _CONTENTS).is_file():
            if not fetch:
                return None
            _fetch(layer)
    contents = dict[str, str]()
    for layer in layers:
        contents |= json.loads((layer.place / _CONTENTS).read_text(encoding="utf-8"))
    root = _BASE.place / "root"
    environment = {"PYTHONPATH": os.pathsep.join(str(layer.place / "packages") for layer in layers)}
    command = (qemu, "-cpu", wanted.cpu, "-L", str(root), str(root / "usr/bin/python3.11"))
    return Emulator(command, environment, device, ", ".join(layer.provides for layer in layers), contents)


def _version_of(qemu: str) -> str:
    """`7.2.22` of `qemu-aarch64 version 7.2.22 (Debian ...)`."""
    said = _run([qemu, "--version"], "QEMU does not start")
    return said.split("version", 1)[-1].split()[0]


def _fetch(layer: _Layer) -> None:
    """Everything of a layer, whole and by rename."""
    place = layer.place
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".new-") as scratch:
        new = Path(scratch) / "new"
        files = _fetch_debian(layer, new / "root", Path(scratch)) if layer.debian else []
        files += _fetch_wheels(layer, new / "packages", Path(scratch))
        contents = {file.name: sha256(file.read_bytes()).hexdigest() for file in files}
        (new / _CONTENTS).write_text(json.dumps(contents, indent=1), encoding="utf-8")
        if not place.exists():  # another process may have been faster
            new.rename(place)


def _fetch_debian(layer: _Layer, root: Path, scratch: Path) -> list[Path]:
    apt = scratch / "apt"
    for directory in ("lists/partial", "debs"):
        (apt / directory).mkdir(parents=True)
    root.mkdir(parents=True)
    (apt / "status").touch()
    (apt / "sources.list").write_text(_SUITE, encoding="utf-8")
    (apt / "apt.conf").write_text(_APT.format(apt), encoding="utf-8")
    known = {"APT_CONFIG": str(apt / "apt.conf")}
    reason = "Python for AArch64 cannot be fetched from Debian"
    _run(["apt-get", "update", "-o", f"Dir::State={apt}", "-o", f"Dir::Cache={apt}"], reason, environment=known)
    _run(["apt-get", "download", "-o", f"Dir::State={apt}", "-o", f"Dir::Cache={apt}", *layer.debian], reason,
         environment=known, cwd=apt / "debs")  # fmt: skip
    files = sorted((apt / "debs").glob("*.deb"))
    for file in files:
        _run(["dpkg-deb", "-x", str(file), str(root)], f"{file.name} cannot be unpacked")
    return files


def _fetch_wheels(layer: _Layer, packages: Path, scratch: Path) -> list[Path]:
    listed, downloads = scratch / "requirements.txt", scratch / "wheels"
    lines = [f"{name} --hash=sha256:{digest}\n" for name, digest in layer.wheels.items()]
    listed.write_text("".join(lines), encoding="utf-8")
    _run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes",
          "--platform", "manylinux2014_aarch64", "--python-version", "3.11", "--dest", str(downloads),
          "--requirement", str(listed)], f"{layer.provides} for AArch64 cannot be fetched from PyPI")  # fmt: skip
    files = sorted(downloads.glob("*.whl"))
    for file in files:
        shutil.unpack_archive(file, packages, "zip")
    return files


def _run(
    command: Sequence[str], reason: str, *, environment: dict[str, str] | None = None, cwd: Path | None = None
) -> str:
    """What a command prints.

    Raises:
        TargetUnreachable: it is not there or fails; the message begins with `reason`.
    """
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            cwd=cwd,
            env={**os.environ, **(environment or {})},
        )
    except OSError as error:
        raise TargetUnreachable(f"{reason}: {command[0]} cannot be started ({error.strerror})") from error
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())[-500:]
        raise TargetUnreachable(f"{reason}: {' '.join(command[:2])} says: {said}")
    return done.stdout
