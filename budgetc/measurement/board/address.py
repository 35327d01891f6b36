"""`ssh://user@host:port?python=python3.8`: which board, and which Python on it."""

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from budgetc.errors import UsageError

OPTIONS = "BUDGETC_SSH_OPTIONS"
"""Environment variable with more arguments for ssh, such as `-i key -o UserKnownHostsFile=file`; ~/.ssh/config holds,
too. Neither can switch off that the host key is checked and nothing is asked."""
_EXPECTED = "expected ssh://user@host, ssh://user@host:port, or one of them with ?python=PATH"
_FIXED = (
    "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=15", "-o", "ServerAliveInterval=10",
    "-o", "ServerAliveCountMax=3", "-o", "ClearAllForwardings=yes", "-T",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Address:
    """A board as ssh finds it."""

    host: str
    user: str | None = None
    port: int | None = None
    python: str = "python3"
    """Command or path on the board."""
    options: tuple[str, ...] = ()
    """Further arguments of ssh."""

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        return f"ssh://{user}{self.host}" + (f":{self.port}" if self.port else "")

    def command(self) -> list[str]:
        """The system's ssh, up to the command that runs on the board. Of an option given twice, ssh takes the first."""
        port = ["-p", str(self.port)] if self.port else []
        user = ["-l", self.user] if self.user else []
        return ["ssh", *_FIXED, *self.options, *port, *user, "--", self.host]


def parse_address(text: str, environment: Mapping[str, str] = os.environ) -> Address:
    """The board that a URL names.

    Raises:
        UsageError: it is no URL of a board.
    """
    try:
        url = urlsplit(text)
        port, query = url.port, parse_qs(url.query)
        if port == 0:
            raise ValueError("no board listens on port 0")
    except ValueError as error:
        raise UsageError(f"--device {text}: {error}; {_EXPECTED}") from error
    # urlsplit's own hostname is in lower case, and names in ~/.ssh/config are not.
    bare = url.netloc.rpartition("@")[2]
    host = bare.partition("]")[0][1:] if bare.startswith("[") else bare.partition(":")[0]
    if (
        url.scheme != "ssh"
        or url.password is not None
        or url.path.strip("/")
        or url.fragment
        or set(query) - {"python"}
    ):
        raise UsageError(f"--device {text}: {_EXPECTED}; a password is never taken, use a key")
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.:%-]*", host) or not re.fullmatch(
        r"|[A-Za-z0-9_][A-Za-z0-9_.-]*", url.username or ""
    ):
        raise UsageError(f"--device {text}: user or host has characters that no user or host has; {_EXPECTED}")
    python = query.get("python", ["python3"])[-1]
    if not re.fullmatch(r"[A-Za-z0-9_/~.][A-Za-z0-9_/.~+-]*", python):
        raise UsageError(f"--device {text}: python is {python!r}; expected a command or path without spaces")
    try:
        options = tuple(shlex.split(environment.get(OPTIONS, "")))
    except ValueError as error:
        raise UsageError(f"{OPTIONS}: {error}; expected arguments of ssh, quoted as in a shell") from error
    return Address(host, url.username or None, port, python, options)
