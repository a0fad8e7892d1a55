"""How a suite is bound to a backend (floor: testing)."""

from collections.abc import Callable, Iterator
from typing import Any, ClassVar, TypeVar

import pytest

from tenantcollect.testing.harness import Harness

__all__ = ["Suite", "needs"]

Test = TypeVar("Test", bound=Callable[..., Any])


def needs(*capabilities: str) -> Callable[[Test], Test]:
    """Mark a test with what it needs of the backend; where that is missing it is skipped, saying so."""

    def mark(test: Test) -> Test:
        vars(test)["needs"] = frozenset(capabilities)
        return test

    return mark


class Suite:
    """Subclass a suite in a ``Test…`` class, name the ``harness_class`` and override ``make_harness``::

    class TestMyLocks(LocksSuite):
        harness_class = MyHarness

        @pytest.fixture
        def make_harness(self, tmp_path):
            return lambda: MyHarness(tmp_path)
    """

    harness_class: ClassVar[type[Harness]]

    @pytest.fixture
    def make_harness(self) -> Callable[[], Harness]:
        """Makes the harness on a fresh store; called only if the backend can do what the test needs."""
        return self.harness_class

    @pytest.fixture
    def harness(self, request: pytest.FixtureRequest) -> Iterator[Harness]:
        """The backend under test, and what goes with it."""
        if not hasattr(self, "harness_class"):
            pytest.fail(
                f"{type(self).__name__} must name its harness_class, a Harness with your backend", pytrace=False
            )
        needed: frozenset[str] = getattr(request.function, "needs", frozenset())
        if missing := needed - self.harness_class.capabilities:
            pytest.skip(f"{self.harness_class.__name__} declares no {', '.join(sorted(missing))}")
        harness: Harness = request.getfixturevalue("make_harness")()
        yield harness
        harness.close()
