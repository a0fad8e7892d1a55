"""A short storm for every change; `nox -s storm` rides the long ones."""

import pytest

from tests.acceptance.storm.__main__ import ridden
from tests.acceptance.storm.plan import Plan
from tests.acceptance.storm.server import NoServer


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("evict", "seconds"), [(True, 6.0), (False, 4.0)])
def test_g2_g3_g5_a_storm_over_postgresql_harms_no_row(evict: bool, seconds: float) -> None:
    """Kills, pauses, restarts, ended backends and cut commits at once: every row is there exactly once (X12)."""
    try:
        figures = ridden(Plan(seed=1, seconds=seconds, evict=evict, slack=15))
    except NoServer as reason:
        pytest.skip(str(reason))
    assert not figures.findings, str(figures)
    struck = {what for what, times in figures.faults.items() if times}
    assert struck >= {"kills", "pauses", "restarts", "terminations"}
    assert struck & {"reply lost", "never sent", "sent late"}


@pytest.mark.timeout(300)
def test_g2_g3_g5_a_storm_over_sqlite_harms_no_row() -> None:
    """The same with what can befall a file: processes that are killed and paused."""
    figures = ridden(Plan(seed=1, seconds=4.0, server=False, processes=4, tenants=8, slack=15))
    assert not figures.findings, str(figures)
    assert figures.faults["kills"]
    assert figures.faults["pauses"]
