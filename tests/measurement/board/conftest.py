"""A board on loopback, and small things to measure there."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from budgetc.measurement.board.job import Job
from tests.loopback import Loopback, loopback
from tests.measurement.scene import write_images
from tests.runtime.tiny import write_artifact


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    """One sshd for all tests."""
    with loopback(tmp_path_factory.mktemp("board")) as started:
        yield started


@pytest.fixture
def board(server: Loopback) -> Iterator[Loopback]:
    """The board as it was at first."""
    known = server.known_hosts.read_text()
    yield server
    server.known_hosts.write_text(known)
    for name in (".noise", ".limits"):
        (server.home / name).unlink(missing_ok=True)


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """An artifact that scores in a fraction of a millisecond."""
    return write_artifact(tmp_path / "artifact")


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """Four pictures."""
    (tmp_path / "images").mkdir()
    return write_images(tmp_path / "images")


SCORES: dict[str, Any] = {"do": "scores", "subject": "artifact"}


@pytest.fixture
def job(artifact: Path, images: list[Path]) -> Job:
    """Scores only: the shortest job."""
    return Job({"artifact": artifact}, images, (SCORES,))
