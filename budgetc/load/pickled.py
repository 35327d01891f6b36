"""A pickle as data: what it would build, written down and never built.

The opcodes are those of the standard library's `pickletools`. A machine of some lists carries them out on plain values;
where a pickle names a global it gets a `Named`, where it calls something a `Made` with the arguments. No module is
imported and no function of the file's choice is called, so that a hostile pickle is as harmless as a hostile text.
"""

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_OPCODES = 5_000_000
_SCALARS = (str, int, float, bool, bytes, type(None))
_CONSTANTS = frozenset((
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8",
))  # fmt: skip
_FIXED: Mapping[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}


class NotPlain(Exception):
    """A pickle that the machine does not follow; the sentence says where it stopped."""


class Broken(NotPlain):
    """A pickle, or the archive that it is in, of which something is missing."""


@dataclass(frozen=True, slots=True)
class Named:
    """A global: a class or function, by its name alone."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True, slots=True)
class Persistent:
    """What lies outside the pickle, such as the numbers of a tensor."""

    value: Any


@dataclass(eq=False, repr=False, slots=True)
class Made:
    """What a call of `maker` would have returned."""

    maker: Any
    arguments: Any
    state: Any = None
    """As given to `__setstate__`, or None."""
    entries: dict[Any, Any] = field(default_factory=dict)
    """As set by `[]`, of a subclass of dict."""
    items: list[Any] = field(default_factory=list)
    """As appended."""


@dataclass(frozen=True, slots=True)
class Pickled:
    """The object of a pickle, and all globals that it names."""

    root: Any
    globals: frozenset[Named]


class _Mark:
    """The opcode of this name on the stack."""


def read_pickle(data: bytes) -> Pickled:
    """What a pickle describes.

    Sets come as lists, and keys that are no text or number as anonymous ones: nothing deeper is hashed or compared.

    Raises:
        NotPlain: damaged, more than MAX_OPCODES, or by means that torch.save does not use.
    """
    machine = _Machine()
    try:
        for count, (opcode, argument, place) in enumerate(pickletools.genops(data)):
            if count > MAX_OPCODES:
                raise NotPlain(f"has more than {MAX_OPCODES} opcodes")
            if opcode.name == "STOP":
                break
            machine.step(opcode.name, argument, place)
        root = machine.pop()
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise Broken(f"is damaged ({type(error).__name__}: {str(error)[:100]})") from error
    return Pickled(root, frozenset(machine.found))


class _Machine:
    """Stack and memo of a pickle."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.found: set[Named] = set()
        self._steps: dict[str, Callable[[], None]] = {
            "MARK": lambda: self.stack.append(_Mark), "POP": self._drop, "POP_MARK": self._marked_away,
            "DUP": lambda: self.stack.append(self.stack[-1]), "MEMOIZE": lambda: self._put(len(self.memo)),
            "EMPTY_LIST": lambda: self.stack.append([]), "LIST": lambda: self.stack.append(self.marked()),
            "EMPTY_SET": lambda: self.stack.append([]), "FROZENSET": lambda: self.stack.append(self.marked()),
            "EMPTY_TUPLE": lambda: self.stack.append(()), "TUPLE": lambda: self.stack.append(tuple(self.marked())),
            "TUPLE1": lambda: self._tuple(1), "TUPLE2": lambda: self._tuple(2), "TUPLE3": lambda: self._tuple(3),
            "EMPTY_DICT": lambda: self.stack.append({}), "DICT": self._dict,
            "APPEND": lambda: self._extend([self.pop()]), "APPENDS": lambda: self._extend(self.marked()),
            "ADDITEMS": lambda: self._extend(self.marked()),
            "SETITEM": lambda: self._set([self.stack.pop(-2), self.pop()]),
            "SETITEMS": lambda: self._set(self.marked()),
            "STACK_GLOBAL": lambda: self._name(self.stack.pop(-2), self.pop()),
            "REDUCE": self._call, "NEWOBJ": self._call, "NEWOBJ_EX": self._call_with_names, "OBJ": self._obj,
            "BUILD": self._build, "BINPERSID": lambda: self.stack.append(Persistent(self.pop())),
        }  # fmt: skip

    def step(self, name: str, argument: Any, place: int | None) -> None:
        """Carry out one opcode."""
        if name in self._steps:
            self._steps[name]()
        elif name in _CONSTANTS:
            self.stack.append(argument)
        elif name in _FIXED:
            self.stack.append(_FIXED[name])
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[int(argument)])
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self._put(int(argument))
        elif name == "GLOBAL":
            self._name(*argument.split(" ", 1))
        elif name == "INST":
            arguments = tuple(self.marked())
            self._name(*argument.split(" ", 1))
            self.stack.append(Made(self.pop(), arguments))
        elif name not in ("PROTO", "FRAME"):
            raise NotPlain(f"uses the opcode {name} (byte {place}), which torch.save does not")

    def pop(self) -> Any:
        """The uppermost value, which is no mark."""
        value = self.stack.pop()
        if value is _Mark:
            raise ValueError("a mark where a value is due")
        return value

    def marked(self) -> list[Any]:
        """Everything above the last mark."""
        values: list[Any] = []
        while (value := self.stack.pop()) is not _Mark:
            values.append(value)
        return values[::-1]

    def _drop(self) -> None:
        self.stack.pop()

    def _marked_away(self) -> None:
        self.marked()

    def _put(self, place: int) -> None:
        self.memo[place] = self.stack[-1]

    def _tuple(self, count: int) -> None:
        self.stack[-count:] = [tuple(self.stack[-count:])]

    def _dict(self) -> None:
        values = self.marked()
        self.stack.append({})
        self._set(values)

    def _extend(self, values: list[Any]) -> None:
        target = self.stack[-1]
        (target.items if isinstance(target, Made) else target).extend(values)

    def _set(self, values: list[Any]) -> None:
        target = self.stack[-1]
        entries = target.entries if isinstance(target, Made) else target
        if not isinstance(entries, dict):
            raise ValueError("entries of what is no dict")
        for key, value in zip(values[::2], values[1::2], strict=True):
            entries[key if isinstance(key, _SCALARS) else object()] = value

    def _name(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("a global whose name is no text")
        found = Named(module, name)
        self.found.add(found)
        self.stack.append(found)

    def _call(self) -> None:
        arguments, maker = self.pop(), self.pop()
        self.stack.append(Made(maker, arguments))

    def _call_with_names(self) -> None:
        named, arguments, maker = self.pop(), self.pop(), self.pop()
        self.stack.append(Made(maker, (arguments, named)))

    def _obj(self) -> None:
        maker, *arguments = self.marked()
        self.stack.append(Made(maker, tuple(arguments)))

    def _build(self) -> None:
        state, target = self.pop(), self.stack[-1]
        if not isinstance(target, Made):
            raise ValueError("a state for what was not called into being")
        target.state = state
