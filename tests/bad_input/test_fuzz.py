"""PROTOCOL section 9 with inputs that nobody thought of: whatever it is, it is told, and costs nobody else anything."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tenantcollect import ConfigurationError, Orchestrator, connect, hookimpl
from tenantcollect.cli.importing import parse
from tenantcollect.keys import checked_tenant
from tenantcollect.registry import Registry
from tests.bad_input.hub import SECRET, Thing
from tests.bad_input.test_api import edit, explained

few = settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
many = settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])

# Every code point, and more often those that somebody finds out about in production.
characters = st.characters() | st.sampled_from("\0\n\r\t\x1b\x85\u2028\u202e\ufeff\ud800\udfff'\"\\[]{}=.,#-_ é\u0301")
texts = st.text(characters, max_size=30)
leaves = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))
times = st.datetimes(timezones=st.none() | st.timezones()).map(lambda moment: moment.isoformat())
pairs = st.lists(st.lists(times | texts | st.integers(), min_size=1, max_size=3), max_size=3)


def toml(value: Any) -> str:
    """A value as TOML may write it; what TOML cannot write is one of the mistakes."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",\n".join(map(toml, value)) + "]"
    return json.dumps(value)


names = st.sampled_from(["tenant", "acme", "hub", "A", "secret", "secret_env"]) | texts
headers = st.lists(names, min_size=1, max_size=4).map(lambda parts: f"[{'.'.join(map(json.dumps, parts))}]")
statements = st.tuples(st.lists(names, min_size=1, max_size=3), values).map(
    lambda pair: f"{'.'.join(map(json.dumps, pair[0]))} = {toml(pair[1])}"
)
files = st.lists(headers | statements | texts, max_size=8).map("\n".join)


@many
@given(text=files)
@example(text="A = " + "9" * 5000)
@example(text="A = " + "[" * 5000)
@example(text='[tenant."\u0301".hub]\n"\ud800" = "\ud800"')
def test_any_file_is_imported_or_told_with_its_lines(text: str) -> None:
    """Of any text there are tables, or problems with a line that the file has; nothing else comes of it."""
    tables, problems = parse(text, {})
    assert all(1 <= problem.line <= text.count("\n") + 1 for problem in problems)
    assert all(problem.text for problem in problems)
    if not problems:
        assert all(checked_tenant(table.tenant_id) == table.tenant_id for table in tables)


@many
@given(name=texts | st.text("ab.-_1A", max_size=70))
@example(name="")
@example(name="a." + "x" * 64)
def test_any_name_of_an_entry_point_is_taken_or_listed(name: str) -> None:
    """A collector of any name is there, or listed with what is wrong with its name; its neighbour is not troubled."""
    registry = Registry({name: Thing(), "neighbour.thing": Thing()})
    rows = {row.name: row for row in registry.rows()}
    assert rows["neighbour.thing"].error is None
    assert name in rows
    problem = rows[name].error
    if problem is None:
        assert registry.collector(name).name == name
    else:  # without a dot the name is that of a data source, which has no run()
        assert "not a valid name" in problem or "belongs to a script" in problem


@few
@given(tenant_id=texts | values)
def test_any_tenant_is_stored_as_it_is_or_refused(hub: Orchestrator, tenant_id: Any) -> None:
    """What ``configure`` takes comes back in NFC, runs and is explained; all else is refused by its name."""
    try:
        normal = checked_tenant(tenant_id)
    except ConfigurationError:
        with pytest.raises(ConfigurationError, match="tenant_id"):
            hub.configure(tenant_id, "hub", {})
        return
    hub.configure(tenant_id, "hub", {})
    assert hub.run([tenant_id]).windows.completed == 1
    assert explained(hub, normal).tenant_id == normal
    hub.disconnect(tenant_id, "hub")


class Saying(Thing):
    """Raises this text."""

    def __init__(self, text: str) -> None:
        self.text = text

    @hookimpl
    def run(self) -> None:
        raise ValueError(self.text)


@few
@given(text=st.text(characters, max_size=200), times=st.sampled_from([1, 1, 1000]))
def test_any_error_is_kept_masked_and_storable(url: str, hub: Orchestrator, text: str, times: int) -> None:
    """Whatever a collector raises is stored, cut and masked."""
    hub.configure("bad", "hub", {"TOKEN": SECRET})
    with connect(url, collectors={"hub.thing": Saying(f"{text}{SECRET}{text}" * times)}) as saying:
        assert saying.run("bad").windows.failed == 1
    [row] = hub.history("bad", limit=1)
    assert row.error is not None
    assert SECRET[:8] not in row.error
    assert len(row.error) <= 4000
    row.error.encode("utf-8")
    assert "\0" not in row.error
    hub.replay("bad")


@few
@given(stored=pairs.map(json.dumps) | values.map(json.dumps) | st.text(max_size=30).map(lambda t: t.replace("\0", "")))
@example(stored='[["0001-01-01T00:00:00+14:00", "2026-01-01T00:00:00+00:00"]]')
@example(stored='[["2026-01-01", "2026-01-02"]]')
@example(stored="NaN")
@example(stored="9" * 5000)
def test_any_coverage_is_trusted_or_told(url: str, hub: Orchestrator, stored: str) -> None:
    """A key whose coverage somebody edited goes on or refuses with the cure, which helps; the other tenant goes on."""
    hub.configure("bad", "hub", {})
    edit(url, "coverage", stored.encode("utf-8", "replace").decode())
    row = explained(hub)
    if row.reason == "config_invalid":
        assert row.action == "collect it anew: tenantcollect replay bad hub thing"
    hub.trigger("good")
    assert explained(hub, "good").reason == "runnable"
    assert hub.run().error is None
    assert explained(hub, "good").reason in ("not_due", "up_to_date")
    list(hub.status())
    list(hub.plan())
    hub.replay("bad")
    assert hub.run("bad").windows.failed == 0
    assert explained(hub).reason in ("not_due", "up_to_date")
