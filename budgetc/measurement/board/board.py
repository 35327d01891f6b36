"""One job at a time on a board behind ssh; no cut link loses more than time."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from time import monotonic
from typing import Any

from budgetc.core.quantities import format_bytes
from budgetc.errors import InputRejected, TargetUnreachable
from budgetc.measurement.board.address import Address
from budgetc.measurement.board.job import SCRIPTS, Job, Packed
from budgetc.measurement.board.link import Cut, Link
from budgetc.measurement.board.opset import PYTHONS, older
from budgetc.measurement.board.results import Results, parse_results
from budgetc.runtime.device_flow import INSTALL

_JOBS = ".cache/budgetc/jobs"
"""In the home directory there. Of a job that was fetched nothing stays."""
_WAIT_SECONDS = 20.0
_INSTALL = {
    "onnxruntime": f"{{python}} -m pip install {{needed}} (onnxruntime {PYTHONS})",
    "tensorrt": "TensorRT comes with JetPack, for the system's python3 (apt-get install python3-libnvinfer "
    "libnvinfer-bin)",
}
_RESTARTS = 2
"""How often a job is started again that ended without results: the board restarted, or lacked memory."""
_ROOM = 3, 16 * 2**20
"""Free bytes that a job needs: a multiple of itself, and more."""

_LOOK = """
if sys.version_info[:2] < (3, 6):
    answer({"python": list(sys.version_info[:3])})
    sys.exit(0)
import importlib, shutil
found = {"python": list(sys.version_info[:3]), "free": shutil.disk_usage(".").free, "missing": {}, "versions": {}}
for name in values["modules"]:
    try:
        found["versions"][name] = importlib.import_module(name).__version__
    except Exception as error:
        found["missing"][name] = str(error)
space = {"__name__": "facts"}
exec(values["facts"], space)
if "tensorrt" in values["modules"]:
    try:
        engine = {"__name__": "engine"}
        exec(values["engine"], engine)
        engine["trtexec"]()
    except Exception as error:
        found["missing"]["trtexec"] = str(error)
answer(dict(found, facts=space["facts"]()))
"""
_STEP = """
import hashlib, shutil, subprocess, zipfile
place = os.path.join(values["jobs"], values["id"])
part = place + ".zip"
os.makedirs(values["jobs"], exist_ok=True)

def size():
    return os.path.getsize(part) if os.path.exists(part) else 0

def run(*arguments):
    said = subprocess.check_output([sys.executable, os.path.join(place, "run_me.py")] + list(arguments))
    return json.loads(said.decode())

if values["start"] and not os.path.exists(place) and size():
    if hashlib.sha256(open(part, "rb").read()).hexdigest() == values["sha256"]:
        shutil.rmtree(place + ".new", ignore_errors=True)
        zipfile.ZipFile(part).extractall(place + ".new")
        os.rename(place + ".new", place)
    os.remove(part)
if size() > values["size"]:
    os.remove(part)
found = {"state": "absent", "size": size(), "log": ""}
if os.path.exists(place):
    if values["start"]:
        run("--start")
    found = run("--status", str(values["seconds"]))
    if found["state"] == "done":
        with open(os.path.join(place, "results.json")) as file:
            found["results"] = file.read()
        found["sha256"] = hashlib.sha256(found["results"].encode()).hexdigest()
answer(found)
"""
"""Looks after a job, unpacking and starting it where asked; whatever of that is done already is not done again."""
_REMOVE = """
import shutil
place = os.path.join(values["jobs"], values["id"])
shutil.rmtree(place, ignore_errors=True)
answer(not os.path.exists(place))
"""


@dataclass
class Board:
    """A board at an address."""

    address: Address
    say: Callable[[str], None] = lambda sentence: None
    patience: float = 600.0
    """Seconds that a link may stay cut."""
    runtime: str = "onnxruntime"
    """Or `tensorrt`."""
    motion: bool = False
    """Whether detectors of motion are measured, which need OpenCV."""
    link: Link = field(init=False)

    def __post_init__(self) -> None:
        self.link = Link(self.address, self.patience, self.say)

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What the board says of itself.

        Raises:
            TargetUnreachable: it is not there, or lacks what a measurement needs.
        """
        scripts = {name: Path(SCRIPTS[f"{name}.py"]).read_text(encoding="utf-8") for name in ("facts", "engine")}
        modules = ["numpy", self.runtime, "PIL", *(["cv2"] if self.motion else [])]
        found = self.link.python(_LOOK, {**scripts, "modules": modules})
        if found["python"] < [3, 6]:
            version = ".".join(map(str, found["python"]))
            raise TargetUnreachable(
                f"{self.address}: {self.address.python} is Python {version}, and 3.6 is needed; name a newer one: "
                "ssh://user@host?python=PATH"
            )
        if found["missing"]:
            raise TargetUnreachable(self._lacks(found["missing"]))
        facts: dict[str, Any] = {**found["facts"], "versions": found["versions"], "free_bytes": found["free"]}
        return facts

    def _lacks(self, missing: Mapping[str, str]) -> str:
        """Module -> why it cannot be imported, as a sentence that says what to install."""
        python, why = self.address.python, "; ".join(missing.values())
        needed = " ".join({"PIL": "pillow", "cv2": "OpenCV"}.get(name, name) for name in missing)
        most = " ".join({"PIL": "pillow"}.get(name, name) for name in missing if name != "cv2")
        advice = (
            [f"install it on the board: {_INSTALL[self.runtime].format(python=python, needed=most)}"] if most else []
        )
        advice += [INSTALL] if "cv2" in missing else []
        return (
            f"{self.address}: {python} there has no {needed} ({why}); {'; '.join(advice)}, or name another Python: "
            "ssh://user@host?python=PATH"
        )

    def require(self, onnxruntime: str | None) -> None:
        """The board has at least this version of onnxruntime, where it is the runtime.

        Raises:
            TargetUnreachable: it is older.
        """
        found = self.facts["versions"].get("onnxruntime")
        if self.runtime == "onnxruntime" and onnxruntime and found and older(found, onnxruntime):
            raise TargetUnreachable(
                f"{self.address}: {self.address.python} has onnxruntime {found}, and the graph needs {onnxruntime} or "
                f"newer ({PYTHONS}); install a newer one there, or name another Python: ssh://user@host?python=PATH"
            )

    def run(self, job: Job) -> Results:
        """Do a job there, or find it again and wait for it.

        Raises:
            TargetUnreachable, InputRejected, Locked: what went wrong there, or on the way.
        """
        packed, facts = job.packed(), self.facts
        self.require(packed.onnxruntime)
        need = _ROOM[0] * len(packed.data) + _ROOM[1]
        if facts["free_bytes"] < need:
            raise TargetUnreachable(
                f"{self.address}: {format_bytes(facts['free_bytes'])} are free in the home directory, "
                f"{format_bytes(need)} are needed: free some there"
            )
        found = self._finished(packed, job.deadline_s + job.lock_wait_s + self.patience)
        results = parse_results(found["results"].encode(), f"{self.address}: results of job {packed.id}")
        self.link.python(_REMOVE, {"jobs": _JOBS, "id": packed.id})
        results.check(str(self.address))
        if results.id != packed.id or dict(results.files) != dict(packed.files):
            raise InputRejected(
                f"{self.address}: the results are of job {results.id}, expected {packed.id}; measure again"
            )
        return results

    def _finished(self, packed: Packed, at_most: float) -> dict[str, Any]:
        """The job's state with its results, once it is done."""
        began, died, state = monotonic(), 0, self._step(packed)
        while state["state"] != "done":
            if monotonic() - began > at_most:
                raise TargetUnreachable(
                    f"{self.address}: job {packed.id} should have ended long ago; see log.txt in ~/{_JOBS}/{packed.id}"
                )
            if state["state"] == "absent":
                state = self._send(packed, state["size"])
            elif state["state"] == "running":
                state = self._step(packed, seconds=_WAIT_SECONDS)
            elif died == _RESTARTS:
                raise TargetUnreachable(
                    f"{self.address}: the job ended {died + 1} times without results; its log ends: {state['log']}"
                )
            else:
                died += 1
                self.say(f"{self.address}: the job was stopped there (log: {state['log']}); starting it again")
                state = self._step(packed, start=True)
        return state

    def _send(self, packed: Packed, there: int) -> dict[str, Any]:
        """Send what is missing of the zip and start the job; where that is cut, look again what came of it."""
        try:
            self.link.append(packed.data[there:], f"{_JOBS}/{packed.id}.zip")
        except Cut:
            return self._step(packed)
        return self._step(packed, start=True, seconds=_WAIT_SECONDS)

    def _step(self, packed: Packed, *, start: bool = False, seconds: float = 0.0) -> dict[str, Any]:
        values = {
            "jobs": _JOBS, "id": packed.id, "size": len(packed.data), "start": start, "seconds": seconds,
            "sha256": hashlib.sha256(packed.data).hexdigest(),
        }  # fmt: skip

        def ask() -> dict[str, Any]:
            found: dict[str, Any] = self.link.python(_STEP, values, seconds=seconds)
            whole = "results" not in found or hashlib.sha256(found["results"].encode()).hexdigest() == found["sha256"]
            if not whole:
                raise Cut("the results were damaged on the way")
            return found

        return self.link.again(ask)  # type: ignore[no-any-return]
