"""`read_pickle`: what a pickle describes, and that nothing it names is ever called."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgetc.load.pickled import Made, Named, NotPlain, Persistent, read_pickle

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
PLAIN = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.tuples(inner, inner, inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(PLAIN, st.integers(3, pickle.HIGHEST_PROTOCOL))
def test_plain_data_is_what_pickle_makes_of_it(data: Any, protocol: int) -> None:
    """Scalars, lists, tuples and dicts, shared or not."""
    found = read_pickle(pickle.dumps([data, data], protocol))
    assert found.root == [data, data]
    assert found.globals == frozenset()


def test_text_protocols_are_read_too() -> None:
    """Protocols 0 to 2, as old files have them."""
    data = {"a": [1, 2**70, -1.5, None, True], "b": ("x", ("y",), ()), "c": {}}
    for protocol in range(3):
        assert read_pickle(pickle.dumps(data, protocol)).root == data


CALLS: dict[str, Callable[[str], bytes]] = {
    "REDUCE": lambda mark: b"cposix\nmkdir\n(V" + mark.encode() + b"\ntR.",
    "INST": lambda mark: b"(V" + mark.encode() + b"\niposix\nmkdir\n.",
    "OBJ": lambda mark: b"(cposix\nmkdir\nV" + mark.encode() + b"\no.",
    "NEWOBJ": lambda mark: b"cposix\nmkdir\n(V" + mark.encode() + b"\nt\x81.",
    "NEWOBJ_EX": lambda mark: b"\x80\x04cposix\nmkdir\n(V" + mark.encode() + b"\nt}\x92.",
    "STACK_GLOBAL": lambda mark: b"\x80\x04Vposix\nVmkdir\n\x93(V" + mark.encode() + b"\ntR.",
    "BUILD": lambda mark: b"cposix\nmkdir\n(tR(V" + mark.encode() + b"\ntb.",
    "persistent": lambda mark: b"cposix\nmkdir\n(V" + mark.encode() + b"\ntRQ.",
    "nested": lambda mark: b"}Va\n(cposix\nmkdir\n(V" + mark.encode() + b"\ntRls.",
    "key of a dict": lambda mark: b"}cposix\nmkdir\n(V" + mark.encode() + b"\ntRI1\ns.",
}
"""Pickles that make a directory by one opcode each."""


@pytest.mark.parametrize("opcode", CALLS)
def test_no_opcode_calls(tmp_path: Path, opcode: str) -> None:
    """What would be called is written down by its name."""
    mark = tmp_path / "ran"
    found = read_pickle(CALLS[opcode](str(mark)))
    assert found.globals == {Named("posix", "mkdir")}
    assert not mark.exists()


@pytest.mark.parametrize("opcode", ["REDUCE", "OBJ", "STACK_GLOBAL", "nested"])
def test_the_canaries_would_sing(tmp_path: Path, opcode: str) -> None:
    """The same pickles do run under the standard library."""
    mark = tmp_path / "ran"
    pickle.loads(CALLS[opcode](str(mark)))
    assert mark.is_dir()


def test_a_call_keeps_its_arguments_entries_and_state() -> None:
    """Of a subclass of dict with attributes, by whichever opcodes."""

    found = read_pickle(b"cpackage\nThing\n(I1\nI2\ntR(Vkey\nI3\nu(I4\nI5\ne}Vname\nI6\nsb.").root
    assert isinstance(found, Made)
    assert (found.maker, found.arguments) == (Named("package", "Thing"), (1, 2))
    assert (found.entries, found.items, found.state) == ({"key": 3}, [4, 5], {"name": 6})


def test_persistent_ids_are_kept() -> None:
    """torch.save puts its storages there."""
    assert read_pickle(b"(Vstorage\nV0\ntQ.").root == Persistent(("storage", "0"))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "damaged"),
        (b".", "damaged"),
        (b"I1\n", "damaged"),
        (b"(.", "mark"),
        (b"}I1\nI2\n", "damaged"),
        (b"I1\nb.", "damaged"),
        (b"I1\nI2\nb.", "state for what was not called"),
        (b"I1\nI2\na.", "damaged"),
        (b"g7\n.", "damaged"),
        (b"Pname\n.", "opcode PERSID"),
        (b"\x82\x01.", "opcode EXT1"),
        (b"\x97.", "opcode NEXT_BUFFER"),
        (b"I1\nI2\n\x93.", "no text"),
    ],
)
def test_what_is_no_whole_pickle(data: bytes, said: str) -> None:
    """Says what is wrong, and raises nothing else."""
    with pytest.raises(NotPlain, match=said):
        read_pickle(data)


def test_depth_and_doubling_cost_nothing() -> None:
    """A hundred thousand tuples in each other, also as a key, and 2^1000 shared lists: no overflow, no time."""
    deep = b")" + b"\x85" * 100_000
    assert read_pickle(b"}" + deep + b"I1\ns.").root
    doubling = b"]" + b"".join(b"q%c(h%ch%cl" % ((place % 250,) * 3) for place in range(1000)) + b"."
    assert len(read_pickle(doubling).root) == 2


@given(st.data())
def test_noise_raises_nothing_else(data: st.DataObject) -> None:
    """Any bytes, and a good pickle with any byte changed."""
    whole = bytearray(pickle.dumps({"a": [os.path.join, Path("x")], "b": (1, "c" * 30)}, 2))
    whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    for content in (bytes(whole), data.draw(st.binary())):
        try:
            read_pickle(content)
        except NotPlain:
            continue
