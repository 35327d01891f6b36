"""Measure on a board what the job beside this file asks for: `python3 run_me.py` writes results.json.

`run_me.py --start` does it in the background, where no closed terminal and no cut link ends it; `--status SECONDS`
waits for the end at most that long. Both print one JSON object. Starting what runs, or is done, changes nothing.

Needs Python 3.6 on Linux, and what score.py needs; nothing of budgetc. One job at a time has the board. The clock of
the board is never read: durations are of its monotonic clock.
Exit codes: 0 measured, 2 the job cannot be read, 4 an artifact or image cannot be used, 6 something is missing or the
job took too long, 7 the board is busy with another job.
"""

import hashlib
import importlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from statistics import median
from typing import Any, Callable

HERE = os.path.dirname(os.path.abspath(__file__))
CODES = {"UsageError": 2, "InputRejected": 4, "TargetUnreachable": 6, "Locked": 7}
BOARD_LOCK = "/tmp/budgetc-board.lock"
BUSY = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    for _ in range(10 ** 6):\n        pass\n"
TAIL = 2000


class Failed(Exception):
    """The job cannot be done; `kind` is the name of the class in budgetc.errors."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Process:
    """A fresh `worker.py` with one detector; killed when the `with` block ends."""

    def __init__(self, subject: str, images: "list[str]", cache: str, known: "dict[str, str]") -> None:
        self.subject, self.known = subject, known
        self.command = [sys.executable, os.path.join(HERE, "worker.py"), os.path.join(HERE, subject)]
        self.command += [os.path.join(HERE, image) for image in images]
        with open(os.path.join(HERE, subject, "config.json"), encoding="utf-8") as file:
            self.config = json.load(file)
        self.engine = self.config.get("runtime") == "tensorrt"
        self.environment = dict(os.environ)
        if not self.engine:  # an engine takes minutes to build: it stays in the user's own cache
            self.environment["XDG_CACHE_HOME"] = os.path.join(cache, subject)
        self.versions = {}  # type: dict[str, str]

    def __enter__(self) -> "Process":
        self.install()
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, env=self.environment
        )
        try:
            self.versions = dict(self.reply()["versions"], **self.known)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *unused: Any) -> None:
        self.process.kill()
        self.process.communicate()
        self.errors.close()

    def install(self) -> None:
        """What is measured is what the artifact says of itself: with the optimized graph, or without."""
        wanted = self.config.get("session", {}).get("preoptimized")
        if self.engine or (wanted and not os.path.isdir(self.environment["XDG_CACHE_HOME"])):
            command = [sys.executable, self.command[1], "--install", self.command[2]]
            done = subprocess.run(command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            if done.returncode:
                raise Failed(
                    "TargetUnreachable", f"{self.subject}: cannot be installed: {tail(done.stdout + done.stderr)}"
                )

    def ask(self, do: str, *, calls: int) -> "dict[str, Any]":
        """The answer to one command of the worker."""
        try:
            self.process.stdin.write(json.dumps({"do": do, "calls": calls}).encode() + b"\n")  # type: ignore[union-attr]
            self.process.stdin.flush()  # type: ignore[union-attr]
        except BrokenPipeError:
            pass  # its end is read below
        return self.reply()

    def reply(self) -> "dict[str, Any]":
        """One line of the worker."""
        line = self.process.stdout.readline()  # type: ignore[union-attr]
        if not line:
            code = self.process.wait()
            self.errors.seek(0)
            hint = " (often the kernel, out of memory)" if code == -9 else ""
            raise Failed(
                "TargetUnreachable",
                f"{self.subject}: the scoring process ended with {code}{hint}; it said: {tail(self.errors.read())}",
            )
        found = json.loads(line.decode())  # type: dict[str, Any]
        if found.get("missing"):
            raise Failed(
                "TargetUnreachable",
                f"{sys.executable} has no module {found['missing']}; install it there: "
                f"{sys.executable} -m pip install numpy pillow onnxruntime (1.12 or newer, for Python 3.7; 1.16 is the "
                "last for Ubuntu 18.04, with Python 3.8); tensorrt comes with JetPack, for the system's python3",
            )
        if "error" in found:
            raise Failed(found["kind"], f"{self.subject}: {found['error']}")
        return found


class Measuring:
    """Carries out the parts of a job, one after the other."""

    def __init__(self, job: "dict[str, Any]", say: "Callable[[str], None]", known: "dict[str, str]") -> None:
        self.job, self.say, self.known = job, say, known
        self.facts, self.worker = (importlib.import_module(name) for name in ("facts", "worker"))
        self.results = {
            "schema_version": 1,
            "id": job["id"],
            "files": job["files"],
            "load": job["load"],
            "error": None,
            "board": self.facts.facts(),
            "versions": {},
            "samples": [],
            "done": [],
        }  # type: dict[str, Any]
        self.cache = ""

    def run(self) -> None:
        """All parts; what is done stays in the results when one of them fails."""
        self.cache = tempfile.mkdtemp()
        busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(self.job["load"])]
        try:
            self.sampled("before")
            for number, part in enumerate(self.job["do"], 1):
                self.say(f"{number} of {len(self.job['do'])}: {part['do']} of {part['subject']}")
                found = getattr(self, "do_" + part["do"])(part)
                self.results["done"].append(dict(found, do=part["do"], subject=part["subject"]))
                self.sampled(part["do"])
        finally:
            for process in busy:
                process.kill()
                process.wait()
            shutil.rmtree(self.cache, ignore_errors=True)

    def sampled(self, after: str) -> None:
        """Note clocks, temperatures and load while the board is still warm."""
        self.results["samples"].append(dict(self.facts.sample(), after=after))

    def process(self, subject: str) -> Process:
        """A fresh process."""
        return Process(subject, self.job["images"], self.cache, self.known)

    def do_scores(self, part: "dict[str, Any]") -> "dict[str, Any]":
        """The score of every image."""
        with self.process(part["subject"]) as process:
            self.results["versions"] = process.versions
            return {"scores": process.ask("score", calls=len(self.job["images"]))["scores"]}

    def do_memory(self, part: "dict[str, Any]") -> "dict[str, Any]":
        """Peak memory of several fresh processes."""
        processes = []
        for _ in range(part["repeats"]):
            with self.process(part["subject"]) as process:
                self.results["versions"] = process.versions
                processes.append(process.ask("memory", calls=part["calls"]))
        return {"processes": processes}

    def do_screen(self, part: "dict[str, Any]") -> "dict[str, Any]":
        """Times of one process after a short warm-up."""
        with self.process(part["subject"]) as process:
            self.results["versions"] = process.versions
            settled = self.worker.warm_up(process, calls=10, seconds=0.25, agreement=0.1)[1]
            return {"times": process.ask("time", calls=part["calls"]), "settled": settled}

    def do_pair(self, part: "dict[str, Any]") -> "dict[str, Any]":
        """One process of each subject, alive together, timed in alternating blocks."""
        with self.process(part["subject"]) as first, self.process(part["baseline"]) as second:
            self.results["versions"] = first.versions
            processes = {"artifact": first, "baseline": second}
            warm = {name: self.worker.warm_up(process) for name, process in sorted(processes.items())}
            each = [warm[name][0] for name in ("artifact", "baseline")]
            calls = self.worker.calls_of_block(*each, calls=part["calls"], cap=part["cap"])
            blocks = [{"subject": one, "times": processes[one].ask("time", calls=calls)} for one in part["order"]]
        settled = all(one[1] for one in warm.values())
        return {"baseline": part["baseline"], "blocks": blocks, "settled": settled}

    def do_soak(self, part: "dict[str, Any]") -> "dict[str, Any]":
        """One process that scores for minutes, in rows."""
        rows = []
        with self.process(part["subject"]) as process:
            self.results["versions"] = process.versions
            each = self.worker.warm_up(process, calls=10, seconds=0.25, agreement=0.1)[0]
            calls = max(5, int(part["row_s"] * 1000 / each))
            start = time.monotonic()
            while True:
                times = sorted(process.ask("time", calls=calls)["total_ms"])
                seconds = time.monotonic() - start
                rows.append(
                    dict(self.facts.sample(), seconds=seconds, n=len(times), p50_ms=median(times),
                         p95_ms=times[math.ceil(0.95 * len(times)) - 1])
                )  # fmt: skip
                if seconds >= 60 * part["minutes"]:
                    return {"rows": rows}


def tail(said: bytes) -> str:
    """The end of what a process said, on one line."""
    return " ".join(said[-TAIL:].decode("utf-8", "replace").split()) or "nothing"


def read_job() -> "dict[str, Any]":
    """The job beside this file, and that all of its files are here and whole."""
    path = os.path.join(HERE, "job.json")
    try:
        with open(path, encoding="utf-8") as file:
            job = json.load(file)  # type: dict[str, Any]
        wrong = sorted(name for name in job["files"] if digest(os.path.join(HERE, name)) != job["files"][name])
    except (OSError, ValueError, KeyError) as error:
        raise Failed(
            "UsageError", f"{path}: the job or a file of it cannot be read ({error}); copy it again"
        ) from error
    if wrong:
        raise Failed("UsageError", f"{os.path.join(HERE, wrong[0])}: damaged on the way; copy the whole job again")
    return job


def opencv(otherwise: str) -> str:
    """Its version, asked for in another process, so that its memory counts as the detector's; what to do without it."""
    version, complaint = importlib.import_module("facts").imported("cv2", HERE)
    if not version:
        raise Failed("TargetUnreachable", f"{sys.executable} has no module cv2 ({complaint}); {otherwise}")
    return str(version)


def digest(path: str) -> str:
    """sha256 of a file."""
    found = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            found.update(block)
    return found.hexdigest()


def locked(path: str) -> Any:
    """The locked file; None where another process holds it."""
    return importlib.import_module("lock").locked(path)


def whole_board(seconds: float) -> Any:
    """The lock of the board, waited for at most that long."""
    path = os.environ.get("BUDGETC_BOARD_LOCK", BOARD_LOCK)
    start = time.monotonic()
    while True:
        try:
            file = locked(path)
        except OSError as error:
            raise Failed(
                "TargetUnreachable",
                f"{path}: cannot be locked ({error.strerror}); remove it, or name another file in BUDGETC_BOARD_LOCK",
            ) from error
        if file is not None:
            return file
        if time.monotonic() - start >= seconds:
            raise Failed(
                "Locked", f"{path}: another measurement has the board, and two at once would measure each other; "
                "wait for its end, or find its run_me.py with ps and stop it"
            )  # fmt: skip
        time.sleep(0.2)


def write(results: "dict[str, Any]") -> None:
    """results.json, whole and by rename."""
    path = os.path.join(HERE, "results.json")
    with open(path + ".part", "w") as file:
        json.dump(results, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(path + ".part", path)


def too_late(*unused: Any) -> None:
    """The alarm's handler."""
    raise Failed(
        "TargetUnreachable",
        "the job's own deadline passed, and results count only whole; let nothing else run here, and do it again",
    )


def stopped(*unused: Any) -> None:
    """The handler of SIGTERM: what was started ends, and no temporary file stays."""
    raise SystemExit(128 + signal.SIGTERM)


def write_failure(results: "dict[str, Any]", background: bool) -> None:
    """results.json, unless it holds what this job measured before; that somebody else measures is for a terminal."""
    try:
        with open(os.path.join(HERE, "results.json"), encoding="utf-8") as file:
            before = json.load(file)
    except (OSError, ValueError):
        before = {"error": "none"}
    whole = before.get("error") is None and results["id"] in ("", before.get("id"))
    if not whole and (background or results["error"]["kind"] != "Locked"):
        write(results)


def measure(say: "Callable[[str], None]", background: bool) -> int:
    """Do the job and write the results; the exit code."""
    results = {"schema_version": 1, "id": "", "files": {}, "load": 0, "board": {}, "versions": {}, "samples": [],
               "done": []}  # type: dict[str, Any]  # fmt: skip
    try:
        job = read_job()
        results["id"], results["files"] = job["id"], job["files"]
        outdated = importlib.import_module("facts").outdated(job.get("onnxruntime"), HERE)
        if outdated:
            raise Failed("TargetUnreachable", outdated)
        known = {"OpenCV": opencv(job["opencv"])} if job.get("opencv") else {}
        lock = whole_board(job["lock_wait_s"])
        measuring = Measuring(job, say, known)
        results = measuring.results
        signal.signal(signal.SIGALRM, too_late)
        signal.signal(signal.SIGTERM, stopped)
        signal.alarm(math.ceil(job["deadline_s"]))
        try:
            measuring.run()
        finally:
            signal.alarm(0)
            os.close(lock)
    except Failed as error:
        results["error"] = {"kind": error.kind, "message": str(error)}
        say(f"failed: {error}")
        write_failure(results, background)
        return CODES[error.kind]
    write(results)
    say(f"{os.path.join(HERE, 'results.json')} is written")
    return 0


def log() -> str:
    """The end of what a job in the background said."""
    try:
        with open(os.path.join(HERE, "log.txt"), "rb") as file:
            return tail(file.read())
    except OSError:
        return "nothing"


def complain(sentence: str) -> None:
    """One line on stderr."""
    sys.stderr.write(sentence + "\n")
    sys.stderr.flush()


def main(arguments: "list[str]") -> int:
    """The exit code."""
    if arguments[:1] == ["--start"]:
        print(json.dumps({"state": importlib.import_module("lock").start(HERE), "log": log()}))
        return 0
    if arguments[:1] == ["--status"]:
        state = importlib.import_module("lock").status(HERE, float(arguments[1]) if arguments[1:] else 0)
        print(json.dumps({"state": state, "log": log()}))
        return 0
    background = arguments[:1] == ["--locked"]
    try:
        lock = None if background else locked(os.path.join(HERE, "job.lock"))
        if lock is None and not background:
            complain("this very job runs already; results.json appears at its end")
            return CODES["Locked"]
        return measure(complain, background)
    except OSError as error:
        complain(f"{error}; the kit needs a directory that may be written and has room: copy it to another one")
        return CODES["TargetUnreachable"]
    except KeyboardInterrupt:
        complain("stopped; nothing is written")
        return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.path.insert(0, HERE)
    sys.exit(main(sys.argv[1:]))
