"""A board that is this machine: a real sshd on its own port, with its own keys, home directory and noisy .bashrc."""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from budgetc.measurement.board.address import Address
from budgetc.measurement.board.board import Board

_SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
_CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
PidFile {folder}/sshd.pid
AuthorizedKeysFile {folder}/user.pub
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UsePAM no
ForceCommand {folder}/login
"""
_LOGIN = """#!/bin/sh
# What a login does: a home of its own, and a .bashrc that talks.
HOME={home}; export HOME
BUDGETC_BOARD_LOCK={home}/board.lock; export BUDGETC_BOARD_LOCK
PATH={home}/bin:$PATH; export PATH
cd "$HOME"
[ -f .noise ] && cat .noise
[ -f .limits ] && . ./.limits
exec sh -c "$SSH_ORIGINAL_COMMAND"
"""


@dataclass
class Loopback:
    """The board, and what can be done to it."""

    folder: Path
    port: int
    known_hosts: Path = field(init=False)

    def __post_init__(self) -> None:
        self.known_hosts = self.folder / "known_hosts"

    @property
    def home(self) -> Path:
        """Of its only user."""
        return self.folder / "home"

    @property
    def jobs(self) -> Path:
        """Where jobs lie."""
        return self.home / ".cache" / "budgetc" / "jobs"

    @property
    def options(self) -> str:
        """BUDGETC_SSH_OPTIONS."""
        key = f"-F none -i {self.folder}/user -o IdentitiesOnly=yes"
        return f"{key} -o UserKnownHostsFile={self.known_hosts} -o GlobalKnownHostsFile=/dev/null -o LogLevel=ERROR"

    @property
    def url(self) -> str:
        """For --device."""
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}?python={sys.executable}"

    def address(self) -> Address:
        """The same, parsed."""
        return Address("127.0.0.1", getpass.getuser(), self.port, sys.executable, tuple(self.options.split()))

    def board(self, *, patience: float = 20.0, said: "list[str] | None" = None) -> Board:
        """A board that gives up soon."""
        return Board(self.address(), (said if said is not None else []).append, patience)

    def without_opencv(self) -> str:
        """A Python there that lacks it."""
        (self.home / "none").mkdir(exist_ok=True)
        (self.home / "none" / "cv2.py").write_text("raise ImportError('no OpenCV')\n")
        python = self.home / "bin" / "without-opencv"
        python.write_text(f'#!/bin/sh\nPYTHONPATH={self.home}/none exec {sys.executable} "$@"\n')
        python.chmod(0o755)
        return str(python)

    def cut(self) -> int:
        """End every connection, as a pulled cable does; how many there were."""
        sessions = _children(int((self.folder / "sshd.pid").read_text()))
        for pid in sessions:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(sessions)

    def wait_for(self, pattern: str, seconds: float = 30.0) -> Path:
        """The first path under the jobs that matches."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = sorted(self.jobs.glob(pattern)) if self.jobs.is_dir() else []
            if found:
                return found[0]
            time.sleep(0.02)
        raise AssertionError(f"no {pattern} in {self.jobs} after {seconds:g} s")


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    direct = [int(one) for one in text.split()]
    return [*direct, *(below for one in direct for below in _safe_children(one))]


def _safe_children(pid: int) -> list[int]:
    """Only sshd's own: what it started for a user lives on, as it does on a board."""
    with suppress(OSError):
        if Path(f"/proc/{pid}/comm").read_text().startswith("sshd"):
            return [one for one in _children(pid) if Path(f"/proc/{one}/comm").read_text().startswith("sshd")]
    return []


@contextmanager
def loopback(folder: Path) -> Iterator[Loopback]:
    """Start sshd; skips where it or ssh is not installed."""
    if not os.path.exists(_SSHD) or shutil.which("ssh") is None:
        pytest.skip("sshd or ssh is not installed (Debian: openssh-server, openssh-client)")
    (folder / "home" / "bin").mkdir(parents=True)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    login = folder / "login"
    login.write_text(_LOGIN.format(home=folder / "home"))
    login.chmod(0o755)
    (folder / "sshd_config").write_text(_CONFIG.format(port=port, folder=folder))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    server = subprocess.Popen([_SSHD, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=subprocess.DEVNULL)
    board = Loopback(folder, port)
    key = (folder / "host.pub").read_text().split()
    board.known_hosts.write_text(f"[127.0.0.1]:{port} {key[0]} {key[1]}\n")
    try:
        _listening(port)
        yield board
    finally:
        board.cut()
        server.terminate()
        server.wait()


def _listening(port: int) -> None:
    for _ in range(200):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    pytest.skip("sshd does not start on this machine")
