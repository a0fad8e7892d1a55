"""What can be made to happen at a named point."""

import pytest

from tenantcollect import ConfigurationError
from tenantcollect.testing import COLLECTOR_POINTS, POINTS, At, CrashAt, Crashed, DieAt


@pytest.mark.parametrize("make", [CrashAt, DieAt, lambda point: At(point, print)])
def test_a_point_that_does_not_exist_is_refused(make):
    """A misspelt point would never be reached; the error lists those that are."""
    with pytest.raises(ConfigurationError, match=f"'before_comit'; the points are {', '.join(COLLECTOR_POINTS)}"):
        make("before_comit")


def test_every_point_of_a_backend_is_one_of_a_window():
    """A collector's window passes all that its backend passes."""
    assert set(POINTS) < set(COLLECTOR_POINTS)


def test_a_point_is_counted():
    """From the ``nth`` time on, and not before; other points count for nothing."""
    crash = CrashAt("read", nth=2)
    for point in ("read", "run", "warn"):
        crash(point)
    for _ in range(2):
        with pytest.raises(Crashed):
            crash("read")
