"""Which pictures belong together: stated in groups.csv, read off the file names, or seen in the pixels."""

import csv
import io
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from budgetc.errors import InputRejected, UsageError
from budgetc.load.listing import Entry, Picture, named

NEAR_COPY_RMS = 1.0
"""Gray levels between two thumbnails, and 5 % of their contrast: what saving a picture again changes.

A coarser measure merges different parts: on photographs of metal tiles, 64-bit difference hashes within
two bits put 88 of 1046 pictures into one group and 324 pairs of different tiles together; this one none
that are not the same scratch.
"""
NEAR_COPY_CONTRAST = 0.05
FLAT = 4.0
"""Gray levels of contrast (standard deviation); a picture with less is a copy only of its exact content."""


def read_groups_csv(path: Path, entries: Iterable[Entry]) -> dict[str, str]:
    """groups.csv: header `file,group`, one line for every picture, files relative to the root.

    Raises:
        InputRejected: unreadable, another header, or pictures and lines that do not match one to one.
    """
    try:
        rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputRejected(f"{path}: cannot be read ({error}); expected UTF-8 lines `file,group`") from error
    if not rows or rows[0] != ["file", "group"]:
        raise InputRejected(f"{path}: line 1: found {','.join(rows[0]) if rows else 'nothing'}; expected `file,group`")
    groups: dict[str, str] = {}
    for number, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        if len(row) != 2 or not row[0] or not row[1]:
            raise InputRejected(f"{path}: line {number}: found {','.join(row)!r}; expected a file and its group")
        if row[0] in groups:
            raise InputRejected(f"{path}: line {number}: {row[0]} is named twice; keep one line")
        groups[row[0]] = row[1]
    files = [entry.file for entry in entries]
    absent = sorted(set(groups) - set(files))
    if absent:
        raise InputRejected(f"{path}: names what is no picture of the data set: {named(absent)}")
    unnamed = [file for file in files if file not in groups]
    if unnamed:
        raise InputRejected(f"{path}: pictures without a line: {named(unnamed)}; every picture needs its group")
    return groups


def groups_by_pattern(pattern: str, entries: Iterable[Entry]) -> dict[str, str]:
    """File -> what the first parenthesis of a regular expression finds in its relative path.

    Raises:
        UsageError: not a regular expression with a parenthesis.
        InputRejected: naming the files in which it finds nothing.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"group: {pattern!r} is not a regular expression ({error})") from error
    if compiled.groups < 1:
        raise UsageError(f"group: {pattern!r} has no parenthesis; its first one must enclose the name of the group")
    found = {entry.file: compiled.search(entry.file) for entry in entries}
    missed = [file for file, match in found.items() if match is None or not match[1]]
    if missed:
        raise InputRejected(f"group: {pattern!r} finds no group in {named(missed)}")
    return {file: match[1] for file, match in found.items() if match is not None}


def groups_by_content(entries: Iterable[Entry], pictures: Mapping[str, Picture]) -> dict[str, str]:
    """Each picture is its own group, together with its exact and, in its category, its near copies.

    A group is called after its first file.
    """
    entries = tuple(entries)
    union = _Union(entry.file for entry in entries)
    _join_same_content(union, entries, pictures)
    for category in {entry.category for entry in entries}:
        files = [entry.file for entry in entries if entry.category == category]
        for one, other in _near_copies(np.stack([pictures[file].thumbnail for file in files])):
            union.join(files[one], files[other])
    return union.roots()


def merge_same_content(
    groups: Mapping[str, str], entries: Iterable[Entry], pictures: Mapping[str, Picture]
) -> dict[str, str]:
    """Stated groups, those that share a picture's exact content made one, called after the first of them."""
    first_file: dict[str, str] = {}
    entries = tuple(entries)
    union = _Union(groups.values())
    for entry in entries:
        copy = first_file.setdefault(pictures[entry.file].sha256, entry.file)
        union.join(groups[copy], groups[entry.file])
    roots = union.roots()
    return {entry.file: roots[groups[entry.file]] for entry in entries}


class _Union:
    """Disjoint sets of names; the smallest name stands for its set."""

    def __init__(self, names: Iterable[str]) -> None:
        self._parent = {name: name for name in names}

    def join(self, one: str, other: str) -> None:
        first, second = sorted((self._root(one), self._root(other)))
        self._parent[second] = first

    def roots(self) -> dict[str, str]:
        return {name: self._root(name) for name in self._parent}

    def _root(self, name: str) -> str:
        while self._parent[name] != name:
            self._parent[name] = self._parent[self._parent[name]]
            name = self._parent[name]
        return name


def _join_same_content(union: _Union, entries: Iterable[Entry], pictures: Mapping[str, Picture]) -> None:
    first_file: dict[str, str] = {}
    for entry in entries:
        union.join(first_file.setdefault(pictures[entry.file].sha256, entry.file), entry.file)


def _near_copies(thumbnails: NDArray[np.uint8]) -> Iterable[tuple[int, int]]:
    """Pairs of rows (n, 1024) that differ by less than saving a picture again does."""
    levels = thumbnails.astype(np.float32) - 128
    means, contrasts = levels.mean(axis=1), levels.std(axis=1)
    squares = np.square(levels).mean(axis=1)
    order = np.argsort(means, kind="stable")
    for start in range(0, len(order), 256):
        rows = order[start : start + 256]
        # The RMS difference is at least the difference of the means: no near copy lies outside this window.
        stop = np.searchsorted(means[order], means[rows[-1]] + NEAR_COPY_RMS, side="right")
        window = order[start:stop]
        product = levels[rows] @ levels[window].T / levels.shape[1]
        rms = np.sqrt(np.maximum(0, squares[rows, None] + squares[window] - 2 * product))
        contrast = np.minimum(contrasts[rows, None], contrasts[window])
        near = (rms <= NEAR_COPY_RMS) & (rms <= NEAR_COPY_CONTRAST * contrast) & (contrast >= FLAT)
        for i, j in np.argwhere(near):
            if rows[i] != window[j]:
                yield int(rows[i]), int(window[j])
