"""An executor for the tests of one file: a child that is still sound serves the next test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tenantcollect.contrib.processes import Processes

ROOT = str(Path(__file__).parents[2])


@pytest.fixture(scope="module")
def importable() -> Iterator[None]:
    """Children find the tests' own modules."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        yield


@pytest.fixture(scope="module")
def executor(importable: None) -> Iterator[Processes]:
    """Children with little memory; all of them are ended after the last test."""
    executor = Processes(memory_limit=100 * 2**20)
    yield executor
    executor.shutdown(cancel_futures=True)
