"""The store: shared by runs, at the same time if need be; what is damaged is a miss, what fails is not kept."""

import subprocess
import sys
from pathlib import Path

import pytest

from budgetc.core.frozen import Frozen
from budgetc.core.plan import fingerprint
from budgetc.errors import UsageError
from budgetc.store.run_directory import RunDirectory
from budgetc.store.shared import Store

KEY = fingerprint("some result")
WRITE = """
import sys
from pathlib import Path
from budgetc.core.plan import fingerprint
from budgetc.store.shared import Store
with Store.open(Path(sys.argv[1])) as store:
    for number in range(150):
        content = bytes([number % 5]) * 20_000
        store.put_blob(fingerprint(number % 5), content)
        for other in range(5):
            found = store.get_blob(fingerprint(other))
            assert found in (None, bytes([other]) * 20_000), "half an entry"
        store.count_use(fingerprint("split"), fingerprint([sys.argv[2], number % 3]))
"""


class Pair(Frozen):
    first: int
    rest: tuple[float, ...]


def test_runs_share_a_store(tmp_path: Path) -> None:
    """What one run kept, another with another output directory finds."""
    with RunDirectory.open(tmp_path / "a.run", store=tmp_path / "store") as run:
        run.store.put_blob(KEY, b"payload")
    with RunDirectory.open(tmp_path / "b.run", store=tmp_path / "store") as run:
        assert run.store.get_blob(KEY) == b"payload"
    assert not (tmp_path / "a.run" / "results").exists()


def test_a_run_directory_is_a_store_for_others(tmp_path: Path) -> None:
    """A first run that named no store can be built upon later."""
    with RunDirectory.open(tmp_path / "a.run") as run:
        run.store.put_json(KEY, 1)
    with RunDirectory.open(tmp_path / "b.run", store=tmp_path / "a.run") as run:
        assert run.store.get_json(KEY) == 1


def test_uses_of_a_confirmation_split_are_counted_in_the_store(tmp_path: Path) -> None:
    """Another output directory counts on; the log of each run says when it was the one that opened it."""
    split = fingerprint("split")
    with RunDirectory.open(tmp_path / "a.run", store=tmp_path / "store") as run:
        assert run.count_use(split, fingerprint("a")) == 1
    with RunDirectory.open(tmp_path / "b.run", store=tmp_path / "store") as run:
        assert run.count_use(split, fingerprint("a")) == 1
        assert run.count_use(split, fingerprint("b")) == 2
        assert [event.data["uses"] for event in run.events] == [2]


def test_processes_write_at_the_same_time(tmp_path: Path) -> None:
    """Nobody ever reads half an entry, no write is lost, and every use is counted once."""
    lines = [[sys.executable, "-c", WRITE, str(tmp_path / "store"), name] for name in "ab"]
    writers = [subprocess.Popen(line, stderr=subprocess.PIPE, text=True) for line in lines]
    for writer in writers:
        assert writer.wait(timeout=60) == 0, writer.communicate()[1]
        writer.communicate()
    with Store.open(tmp_path / "store") as store:
        assert all(store.get_blob(fingerprint(number)) == bytes([number]) * 20_000 for number in range(5))
        assert store.count_use(fingerprint("split"), fingerprint(["a", 0])) == (6, False)


def test_leftovers_are_cleared_only_by_a_lone_user(tmp_path: Path) -> None:
    """What looks like the remains of a crash may be the write of somebody else that is under way."""
    with Store.open(tmp_path) as first:
        first.put_blob(KEY, b"x")
        under_way = tmp_path / "results" / KEY[:2] / f".{KEY}.blob.1-0-abc.tmp"
        under_way.write_bytes(b"half")
        with Store.open(tmp_path):
            assert under_way.exists()
    with Store.open(tmp_path):
        assert not under_way.exists()


def test_cached_computes_once(tmp_path: Path) -> None:
    """The second call, by another user of the store, returns an equal value without computing."""
    value = Pair(first=1, rest=(0.1, 2.0))
    with Store.open(tmp_path) as store:
        assert store.cached(KEY, Pair, lambda: value) == value
    with Store.open(tmp_path) as store:
        assert store.cached(KEY, Pair, lambda: pytest.fail("computed again")) == value


def test_cached_keeps_no_failure(tmp_path: Path) -> None:
    """A step that failed is tried again."""

    def fail() -> Pair:
        raise RuntimeError("no")

    with Store.open(tmp_path) as store:
        with pytest.raises(RuntimeError, match="no"):
            store.cached(KEY, Pair, fail)
        assert store.get_json(KEY) is None
        assert store.cached(KEY, list[int], lambda: [1]) == [1]


@pytest.mark.parametrize("content", [b"garbage", b""])
def test_cached_heals_a_damaged_entry(tmp_path: Path, content: bytes) -> None:
    """It is computed again, stored again, and whoever asked to hear of damage does."""
    heard: list[str] = []
    with Store.open(tmp_path, damaged=heard.append) as store:
        store.cached(KEY, list[int], lambda: [1])
        (tmp_path / "results" / KEY[:2] / f"{KEY}.json").write_bytes(content)
        assert store.cached(KEY, list[int], lambda: [1]) == [1]
        assert heard == [f"{KEY}.json"]
        assert store.cached(KEY, list[int], lambda: pytest.fail("not healed")) == [1]


def test_cached_reads_nothing_of_another_shape(tmp_path: Path) -> None:
    """An entry that pydantic does not take is a miss, too."""
    with Store.open(tmp_path) as store:
        store.put_json(KEY, {"first": "one"})
        assert store.cached(KEY, Pair, lambda: Pair(first=2, rest=())) == Pair(first=2, rest=())


def test_a_directory_of_something_else_is_no_store(tmp_path: Path) -> None:
    """Refused before the run directory is made, and nothing is added."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_bytes(b"")
    with pytest.raises(UsageError, match=r"photos is not a store of budgetc \(it holds 'cat.png'\)"):
        RunDirectory.open(tmp_path / "out.run", store=tmp_path / "photos").__enter__()
    assert not (tmp_path / "out.run").exists()
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["cat.png"]


def test_a_file_is_no_store(tmp_path: Path) -> None:
    """Refused with what to do."""
    (tmp_path / "store").write_text("mine")
    with pytest.raises(UsageError, match="store is a file; a store is a directory"):
        Store.open(tmp_path / "store").__enter__()
