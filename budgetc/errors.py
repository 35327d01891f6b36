"""Everything budgetc raises on purpose, and the exit code each one becomes.

BudgetcError            1  anything below; itself: one candidate cannot be built or trained
|- UsageError           2  a command line or library call that cannot be meant
|  `- ConfigError       2  a YAML file (budget, target, recipe) that is not valid
|- NotCompliant         3  searched, and no candidate keeps the budget
|- InputRejected        4  a model, data set or artifact that is unsafe or invalid
|- Inconclusive         5  the evidence cannot decide a limit
|- StorageFailed        1  the disk is full or broken; what was stored before is whole
|- TargetUnreachable    6  the device or runtime that should measure is not there
`- Locked               7  another process works in this run directory
"""

from typing import ClassVar


class BudgetcError(Exception):
    """An error whose message says what was found, where, what was expected and what to do.

    Raised itself where a candidate cannot be built: the search records it and goes on.
    """

    exit_code: ClassVar[int] = 1


class UsageError(BudgetcError):
    """The command line or the arguments of a call contradict themselves or name nothing."""

    exit_code = 2


class ConfigError(UsageError):
    """A YAML file is malformed, or a field of it is missing, misspelt or out of range."""


class NotCompliant(BudgetcError):
    """The search ended and nothing it found keeps every limit."""

    exit_code = 3


class InputRejected(BudgetcError):
    """A model, data set or artifact is unsafe, damaged or not what it was declared to be."""

    exit_code = 4


class Inconclusive(BudgetcError):
    """Measured as often as allowed, and a limit is still neither kept nor broken for sure."""

    exit_code = 5


class StorageFailed(BudgetcError):
    """The file system cannot hold or give back what the run needs."""

    exit_code = 1


class TargetUnreachable(BudgetcError):
    """The device, or the runtime on it, cannot be reached or started."""

    exit_code = 6


class Locked(BudgetcError):
    """Another process holds the lock of this run directory."""

    exit_code = 7
