"""What a collector logs through its context."""

import logging
from datetime import timedelta

from tenantcollect import CollectorOptions, Secret

from .conftest import collector

SECRET = "tok-3f9a77"


def test_what_a_collector_logs_is_bounded(make, caplog):
    """A whole response, in the message, its arguments or what is extra, is masked and then cut, as an error is."""
    flood = f"{'x' * 1_985}{SECRET}{'y' * 5_000_000}"

    def run(context):
        context.logger.warning(flood)
        context.logger.warning("got %s", flood, extra={"body": flood})

    orchestrator = make({"acme.a": collector(run, options=CollectorOptions(initial_range=timedelta(days=1)))})
    orchestrator.configure("t1", "acme", {"TOKEN": Secret(SECRET)})
    with caplog.at_level(logging.WARNING, "tenantcollect"):
        orchestrator.run()
    plain, extra = (record for record in caplog.records if record.name == "tenantcollect.collectors.acme.a")
    for text in (plain.getMessage(), extra.getMessage(), vars(extra)["body"]):
        assert 3000 < len(text) < 4100
        assert "***" in text
        assert SECRET[:4] not in text
