"""In which order the keys of many tenants are listed."""

from datetime import timedelta

import pytest

from tenantcollect import CollectorOptions

from .conftest import Calls, collector, recording

ONE_DAY = CollectorOptions(initial_range=timedelta(days=1))


@pytest.mark.parametrize("asked", ["plan", "status"])
def test_the_stalest_key_comes_first(make, asked):
    """What was never collected before what was, whatever its name, and also where a limit leaves the rest out."""
    orchestrator = make({"acme.a": collector(recording(Calls()), options=ONE_DAY)})
    orchestrator.configure("t1", "acme", {})
    orchestrator.run()
    orchestrator.configure("t2", "acme", {})
    ask = getattr(orchestrator, asked)
    assert [row.tenant_id for row in ask()] == ["t2", "t1"]
    assert [row.tenant_id for row in ask(limit=1)] == ["t2"]
