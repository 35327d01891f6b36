"""Python and bytes over the system's ssh, which may be cut at any moment.

Everything that runs on the board is a Python program on ssh's standard input: no shell has to quote it, and its answer
is one marked line, whatever else a login prints. Files go through `cat` for the same reason: sftp fails where a
.bashrc prints something.
"""

import json
import secrets
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any

from budgetc.errors import TargetUnreachable
from budgetc.measurement.board.address import OPTIONS, Address

_PROGRAM = """
import json, os, sys
os.chdir(os.path.expanduser("~"))
def answer(found):
    sys.stdout.write("\\n@@%s %s\\n" % ({mark!r}, json.dumps(found)))
    sys.stdout.flush()
values = json.loads({values!r})
"""
_ANSWER_SECONDS = 60.0
_UPLOAD_SECONDS = 600.0
_TAIL = 600
_LOST = 255
"""ssh's own exit code where the connection, not the command, failed."""


class Cut(Exception):
    """The link broke, or cannot be made at the moment; the text is what ssh said."""


@dataclass
class Link:
    """A board behind ssh. What is cut is tried again for `patience` seconds, once the board was reached at all."""

    address: Address
    patience: float = 600.0
    say: Callable[[str], None] = lambda sentence: None
    _reached: bool = field(default=False, init=False)

    def python(self, program: str, values: object = None, *, seconds: float = 0.0) -> Any:
        """What a program on the board gives to `answer(...)`; `values` is there under this name.

        The program must be one that may run twice: a cut link does not tell whether it ran. It runs in the home
        directory, and may take `seconds` longer than usual.

        Raises:
            TargetUnreachable: no answer.
        """
        return self.again(lambda: self._python(program, values, seconds))

    def append(self, data: bytes, path: str) -> None:
        """Add bytes to a file on the board; raises `Cut` with an unknown part of them there."""
        done = self._ssh([f"cat >> ~/{path}"], data, _UPLOAD_SECONDS)
        if done.returncode:
            raise TargetUnreachable(
                f"{self.address}: {path} cannot be written: {_last(done.stderr)}; free space there, or make it writable"
            )

    def again(self, action: Callable[[], Any]) -> Any:
        """Carry out an action until the link holds.

        Raises:
            TargetUnreachable: it does not for `patience` seconds, or was never there.
        """
        began, pause = monotonic(), 0.5
        while True:
            try:
                found = action()
            except Cut as cut:
                if not self._reached or monotonic() - began > self.patience:
                    raise self._unreachable(str(cut)) from cut
                self.say(f"{self.address}: the link is cut ({cut}); trying again")
                sleep(pause)
                pause = min(2 * pause, 15.0)
            else:
                self._reached = True
                return found

    def _python(self, program: str, values: object, seconds: float) -> Any:
        mark = secrets.token_hex(8)
        source = _PROGRAM.format(mark=mark, values=json.dumps(values)) + program
        done = self._ssh([self.address.python, "-"], source.encode(), seconds + _ANSWER_SECONDS)
        for line in done.stdout.decode(errors="replace").splitlines():
            if line.startswith(f"@@{mark} "):
                return json.loads(line.partition(" ")[2])
        if done.returncode == 127 or "not found" in _last(done.stderr):
            raise TargetUnreachable(
                f"{self.address}: {self.address.python} does not start there ({_last(done.stderr)}); install Python "
                "3.6 or newer, or name one: ssh://user@host?python=PATH"
            )
        if done.returncode == 0:
            raise Cut("it ended before the answer")
        raise TargetUnreachable(f"{self.address}: a program ended with {done.returncode}: {_last(done.stderr)}")

    def _ssh(self, command: list[str], data: bytes, seconds: float) -> "subprocess.CompletedProcess[bytes]":
        try:
            done = subprocess.run(
                [*self.address.command(), *command], input=data, capture_output=True, timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise Cut(f"no answer in {seconds:g} s") from error
        except FileNotFoundError as error:
            raise TargetUnreachable("there is no ssh here; install OpenSSH's client, or use --kit") from error
        if done.returncode == _LOST or done.returncode < 0:
            said = _last(done.stderr)
            if "Host key verification failed" in done.stderr.decode(errors="replace"):
                raise TargetUnreachable(
                    f"{self.address}: its host key is not the known one ({said}). Compare it with the key on the board "
                    "itself, then put it into known_hosts (ssh-keyscan; ssh-keygen -R drops an old one)"
                )
            if "Permission denied" in said and not self._reached:
                raise TargetUnreachable(
                    f"{self.address}: {said}: no key of yours is accepted; run ssh-copy-id once, or name a key in "
                    f"~/.ssh/config or {OPTIONS}"
                )
            raise Cut(said)
        return done

    def _unreachable(self, said: str) -> TargetUnreachable:
        waited = f" for {self.patience:g} s" if self._reached else ""
        return TargetUnreachable(
            f"{self.address}: cannot be reached{waited} ({said}); see that it is on and `ssh` gets there without a "
            "question, or carry a kit to it: budgetc measure --kit. What was measured is kept; the same command goes on"
        )


def _last(said: bytes) -> str:
    """The end of what a program said, on one line."""
    return " ".join(said.decode(errors="replace").split())[-_TAIL:] or "it said nothing"
