"""A lock that ends with its process, and a job in the background that holds one.

Needs Python 3.6 and nothing else. Lies beside `run_me.py` as `lock.py`.
"""

import errno
import fcntl
import os
import signal
import stat
import sys
import time
from typing import Any


def locked(path: str) -> Any:
    """The file, locked for this process and its children as long as they live; None where another holds it.

    Raises:
        OSError: it cannot be opened or created, or is no regular file.
    """
    file = _opened(path)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", path)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    except OSError:
        os.close(file)
        raise
    return file


def _opened(path: str) -> int:
    """Where anybody may write, nobody's link is followed and nobody's pipe is waited for."""
    safe = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    while True:
        try:
            return os.open(path, safe)  # the file of another user may be locked, but not created again
        except FileNotFoundError:
            pass
        try:
            file = os.open(path, safe | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            continue
        os.fchmod(file, 0o644)  # whatever this user's umask is: the next one has to open it
        return file


def start(here: str) -> str:
    """Measure in the background, unless that is being done or is done."""
    lock = locked(os.path.join(here, "job.lock"))
    if lock is None:
        return status(here, 0)
    if os.path.exists(os.path.join(here, "results.json")):
        os.close(lock)
        return status(here, 0)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            log = os.open(os.path.join(here, "log.txt"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            for stream, source in ((0, os.open(os.devnull, os.O_RDONLY)), (1, log), (2, log)):
                os.dup2(source, stream)
            os.set_inheritable(lock, True)
            os.execv(sys.executable, [sys.executable, os.path.join(here, "run_me.py"), "--locked", str(lock)])
        os._exit(0)
    os.wait()
    return "running"


def status(here: str, seconds: float) -> str:
    """Whether the job runs, is done, or stopped without results; waits at most that long for the end of a running one.

    The lock tells: it ends with the process, however that ends.
    """
    began = time.monotonic()
    while True:
        # In this order: a job that ends in between has its results by then.
        lock = locked(os.path.join(here, "job.lock"))
        if os.path.exists(os.path.join(here, "results.json")):
            state = "done"
        else:
            state = "running" if lock is None else "stopped"
        if lock is not None:
            os.close(lock)
        if state != "running" or time.monotonic() - began >= seconds:
            break
        time.sleep(0.1)
    return state
