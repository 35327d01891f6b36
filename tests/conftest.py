"""What every test shares: reproducible properties, and the way to optional real data."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# A shared machine is slow at times: only pytest-timeout judges durations. In CI a failure must repeat.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of optional real data that `BUDGETC_TEST_DATA` names; skips where it is unset."""
    folder = os.environ.get("BUDGETC_TEST_DATA")
    if not folder:
        pytest.skip("BUDGETC_TEST_DATA is unset: it names the folder of optional real data")
    path = Path(folder)
    if not path.is_dir():
        pytest.fail(f"BUDGETC_TEST_DATA is {folder!r}, which is not a folder")
    return path


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing that this user has installed or fetched changes what tests see, and tests leave nothing behind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield
