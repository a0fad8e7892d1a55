"""Rows and their JSON: the same fields, plain values."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from tenantcollect import reports
from tenantcollect.events import WindowCommitted
from tenantcollect.keys import Key
from tenantcollect.policy import Reason
from tenantcollect.reports import CollectorRow, FindingRow, PassReport, Severity, StatusRow, WindowCounts, as_json
from tenantcollect.windows import Window

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ROWS = [getattr(reports, name) for name in reports.__all__ if name not in ("Probe", "Severity", "as_json")]


@pytest.mark.parametrize("row", ROWS)
def test_rows_are_frozen_values_with_the_fields_of_the_json(row: type[Any]) -> None:
    """A row cannot be changed by who reads it, and its JSON has exactly its fields."""
    required = [a.name for a in attrs.fields(row) if a.default is attrs.NOTHING]
    made = row(**dict.fromkeys(required))
    assert made == row(**dict.fromkeys(required))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(made, attrs.fields(row)[0].name, 1)
    assert list(json.loads(json.dumps(as_json(made)))) == [a.name for a in attrs.fields(row)]


def test_times_are_iso_8601_with_offset_and_ranges_are_pairs() -> None:
    """What a script reads needs no knowledge of ours."""
    row = StatusRow(
        tenant_id="acme",
        data_source="git",
        script="commit",
        status="COMPLETED",
        reason=Reason.UP_TO_DATE,
        fresh_until=NOW,
        coverage=((NOW, NOW + timedelta(days=1)),),
        warnings=("slow",),
    )
    read = json.loads(json.dumps(as_json(row)))
    assert read["fresh_until"] == "2026-01-01T00:00:00+00:00"
    assert read["coverage"] == [["2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00"]]
    assert (read["reason"], read["warnings"], read["lag"]) == ("up_to_date", ["slow"], None)


def test_a_report_nests_its_counts_as_attributes_and_as_json() -> None:
    """report.windows.completed in a program is .windows.completed in the JSON."""
    report = PassReport(started_at=NOW, completed_at=NOW, windows=WindowCounts(completed=3))
    assert report.windows.completed == as_json(report)["windows"]["completed"] == 3


def test_a_schema_is_passed_through_and_other_values_are_plain() -> None:
    """Mappings, durations in seconds, events with their keys and windows."""
    schema = {"properties": {"TOKEN": {"writeOnly": True}}, "required": ["TOKEN"]}
    assert as_json(CollectorRow(name="git.commit", config_schema=schema))["config_schema"] == schema
    assert as_json(timedelta(minutes=2)) == 120.0
    committed = WindowCommitted(
        key=Key("acme", "git", "commit"),
        window=Window(NOW, NOW + timedelta(days=1)),
        records=None,
        attempt=1,
        seconds=0.5,
    )
    assert json.loads(json.dumps(as_json(committed)))["key"]["tenant_id"] == "acme"
    assert as_json(committed)["window"] == {"start": "2026-01-01T00:00:00+00:00", "end": "2026-01-02T00:00:00+00:00"}


def test_a_finding_is_made_by_how_much_it_matters() -> None:
    """Only what is ok needs nothing to be done."""
    assert FindingRow.ok("clock", "0.0 s apart") == FindingRow(topic="clock", detail="0.0 s apart")
    for severity in Severity:
        if severity is not Severity.OK:
            made = getattr(FindingRow, severity)("clock", "an hour apart", "run NTP")
            assert (made.severity, made.action) == (severity, "run NTP")
