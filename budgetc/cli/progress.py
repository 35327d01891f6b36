"""What a person sees while work goes on: sentences, and one moving line on a terminal."""

import sys
import time
from dataclasses import dataclass, field
from typing import TextIO

_WIDTH = 24
_PERIOD_S = 0.1


@dataclass
class Display:
    """Writes to stderr, so that results on stdout stay clean; the moving line only where a person watches."""

    stream: TextIO = field(default_factory=lambda: sys.stderr)
    _last_s: float = 0.0
    _open: bool = False
    """Whether a moving line stands unfinished."""

    def say(self, sentence: str) -> None:
        """A sentence of its own line."""
        self.clear()
        self.stream.write(printable(sentence) + "\n")
        self.stream.flush()

    def progress(self, what: str, done: int, of: int) -> None:
        """Move the line; at the end it vanishes."""
        if not self.stream.isatty():
            return
        if done >= of:
            self.clear()
            return
        if time.monotonic() - self._last_s < _PERIOD_S:
            return
        self._last_s, self._open = time.monotonic(), True
        filled = round(_WIDTH * done / max(of, 1))
        self.stream.write(f"\r\x1b[K{printable(what)} [{'#' * filled:<{_WIDTH}}] {done}/{of}")
        self.stream.flush()

    def clear(self) -> None:
        """Take the moving line away."""
        if self._open:
            self.stream.write("\r\x1b[K")
            self._open = False


def printable(text: str, keep: str = "\n\t") -> str:
    """Without control characters but `keep`: names of files come from others, and a terminal obeys them."""
    return "".join(character if character.isprintable() or character in keep else "?" for character in text)
