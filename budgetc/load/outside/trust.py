"""Whether a file that is code may run: only where its digest is named."""

import re
from pathlib import Path

from budgetc.errors import InputRejected, UsageError
from budgetc.load.container import FileContent
from budgetc.load.outside.sandbox import Answer, CodeKind, Request, run_outside
from budgetc.load.tensors import NeedsCode


def refuse_needless(path: Path, trust: str | None, what: str) -> None:
    """An option that would do nothing, where somebody believes that a digest was checked.

    Raises:
        UsageError: `trust` was given.
    """
    if trust is not None:
        raise UsageError(f"--trust-model: {path} is {what}, which holds no code; leave the option out")


def run_trusted(file: FileContent, trust: str | None, refusal: NeedsCode, size: tuple[int, int] | None) -> Answer:
    """What the code of a file makes, if `trust` is `sha256:` and the digest of this very file.

    Args:
        file: its bytes; they alone are loaded, whatever happens to the path meanwhile.
        trust: of `--trust-model`.
        refusal: what is said where nothing was trusted.
        size: (height, width) of pictures, where the file does not say it.

    Raises:
        UsageError: `trust` is no digest.
        InputRejected: not trusted, another file, or its code fails.
    """
    if trust is None:
        raise refusal
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", trust):
        raise UsageError(f"--trust-model {trust}: expected sha256: and 64 hexadecimal digits")
    if trust != f"sha256:{file.sha256}":
        raise InputRejected(
            f"{file.path}: its digest is sha256:{file.sha256}, --trust-model names {trust}: this is another file than "
            "the one that was trusted"
        )
    kind: CodeKind = "torchscript" if file.kind == "torchscript" else "pt2" if file.kind == "pt2" else "pickle"
    return run_outside(Request(kind, str(file.path), file.data, size=size))
