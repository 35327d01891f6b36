"""Strict YAML: plain data or an error that names line and column, never a guess.

The parser only yields events; values are made here, by the YAML 1.2 core schema, so that `1e-3` is
a number, `no` is text and `12:30` is not 750. Anchors, merge keys, tags and duplicate keys are errors.
"""

import math
import os
import re
import stat
from pathlib import Path
from typing import Any, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from budgetc.errors import ConfigError

MAX_BYTES = 1 << 20
MAX_DEPTH = 20
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_A_NUMBER = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def read_yaml(path: Path) -> object:
    """The content of a YAML file as dict, list, str, int, float, bool and None.

    Raises:
        ConfigError: not a regular UTF-8 file of at most 1 MiB, or not YAML that means one thing only.
    """
    return parse_yaml(read_config_bytes(path), path)


def read_config_bytes(path: Path) -> bytes:
    """The bytes of a regular file of at most 1 MiB; a FIFO or a device is refused without reading it.

    Raises:
        ConfigError: missing, unreadable, not a regular file, or too large.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(f"{path}: cannot be read ({reason}); expected a YAML file") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ConfigError(f"{path}: is not a regular file; expected a YAML file")
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{path}: is larger than 1 MiB; a budget, target or recipe is a few lines")
    return content


def parse_yaml(content: bytes, path: Path) -> object:
    """The same as `read_yaml`, of bytes that were read already; `path` is for messages.

    Raises:
        ConfigError: as `read_yaml`.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    builder = _Builder(path)
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            builder.take(event)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
        raise ConfigError(f"{path}: {where}not valid YAML: {error.problem or error.context}") from error
    except YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    return builder.document()


class _Builder:
    """Plain data from parser events, refusing what plain data cannot say unambiguously."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._documents: list[object] = []
        self._open: list[dict[str, object] | list[object]] = []
        self._keys: list[str | None] = []
        """For every open map the key whose value comes next."""

    def document(self) -> object:
        """The one document."""
        if len(self._documents) != 1:
            found = "is empty" if not self._documents else "holds several documents (`---`); keep one"
            raise ConfigError(f"{self._path}: {found}")
        return self._documents[0]

    def take(self, event: Any) -> None:
        """Add one event of the parser."""
        if isinstance(event, DocumentStartEvent) and (event.version or event.tags):
            self._refuse(event, "directives such as %YAML or %TAG are not allowed; remove the line")
        if isinstance(event, AliasEvent):
            self._refuse(event, f"alias *{event.anchor} is not allowed; write the value out")
        if isinstance(event, ScalarEvent):
            self._refuse_properties(event)
            self._scalar(event)
        elif isinstance(event, MappingStartEvent | SequenceStartEvent):
            self._refuse_properties(event)
            self._enter(event)
        elif isinstance(event, MappingEndEvent | SequenceEndEvent):
            self._open.pop()
            self._keys.pop()

    def _enter(self, event: Any) -> None:
        if len(self._open) == MAX_DEPTH:
            self._refuse(event, f"nested deeper than {MAX_DEPTH} levels")
        container: dict[str, object] | list[object] = {} if isinstance(event, MappingStartEvent) else []
        self._place(event, container)
        self._open.append(container)
        self._keys.append(None)

    def _scalar(self, event: Any) -> None:
        plain = bool(event.implicit[0])
        value = self._resolve(event) if plain else str(event.value)
        top = self._open[-1] if self._open else None
        if isinstance(top, dict) and self._keys[-1] is None:
            self._keys[-1] = self._key(event, value, top)
        else:
            self._place(event, value)

    def _key(self, event: Any, value: object, known: dict[str, object]) -> str:
        if not isinstance(value, str):
            self._refuse(event, f"a key must be text, found {event.value!r}; quote it if it is meant")
        if value == "<<":
            self._refuse(event, "merge keys (<<) are not allowed; write the keys out")
        if value in known:
            self._refuse(event, f"key {value!r} appears twice in the same map; keep one")
        return value

    def _place(self, event: Any, value: object) -> None:
        if not self._open:
            self._documents.append(value)
            return
        top = self._open[-1]
        if isinstance(top, list):
            top.append(value)
            return
        key = self._keys[-1]
        if key is None:
            self._refuse(event, "a key must be text, found a map or a list")
        top[key] = value
        self._keys[-1] = None

    def _resolve(self, event: Any) -> object:
        text = str(event.value)
        if text in _NULL:
            return None
        if text in _BOOL:
            return _BOOL[text]
        if _INT.fullmatch(text):
            return self._integer(event, text)
        if _NOT_A_NUMBER.fullmatch(text):
            self._refuse(event, f"found {text}; expected a finite number")
        if _FLOAT.fullmatch(text):
            value = float(text)
            if not math.isfinite(value):
                self._refuse(event, f"found {text}, which is too large for a number")
            return value
        return text

    def _integer(self, event: Any, text: str) -> int:
        # 64 bits are enough for any size or seed, and int() of a megabyte of digits is slow.
        value = int(text, 0 if text[:2] in ("0x", "0o") else 10) if len(text) <= 40 else 2**64
        if abs(value) >= 2**63:
            self._refuse(event, f"found {text[:20]}..., which does not fit into 64 bits")
        return value

    def _refuse_properties(self, event: Any) -> None:
        if event.anchor is not None:
            self._refuse(event, f"anchor &{event.anchor} is not allowed; write the value out where it is needed")
        if event.tag is not None:
            self._refuse(event, f"tag {event.tag} is not allowed; write a plain value")

    def _refuse(self, event: Any, sentence: str) -> NoReturn:
        mark = event.start_mark
        raise ConfigError(f"{self._path}: line {mark.line + 1}, column {mark.column + 1}: {sentence}")
