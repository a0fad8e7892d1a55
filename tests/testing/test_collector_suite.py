"""CollectorSuite lets a good collector pass, and finds each bad one by the rule that it breaks."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

BAD = Path(__file__).with_name("bad_collectors.py")
ANY_ORDER, HALF_OPEN, TENANTS = "windows_come_in_any_order", "windows_are_half_open", "tenants_stay_apart"

EXPECTED = {
    "Good": {},
    "Stamps": {},
    "LacksTheMark": {"hooks_are_sound": "lacks @hookimpl"},
    "ProvidesAText": {"hooks_are_sound": "provides() must return a list"},
    "DependsOnNobody": {"hooks_are_sound": "into `seed`"},
    "WritesNothing": {"the_window_is_collected": "name a window in which your fake has data"},
    "Fails": {"the_window_is_collected": "OSError: no such host"},
    "InsertsOnly": {"running_again_changes_nothing": "use upsert()"},
    "TakesTheEnd": {HALF_OPEN: "start_date <= item.at < end_date"},
    "LosesTheStart": {HALF_OPEN: "the start is part of the window", ANY_ORDER: "lacks 1 rows"},
    "KeepsTheLast": {ANY_ORDER: "merge with what is there"},
    "WritesNaive": {"times_are_utc": "a naive datetime names no instant"},
    "WritesSummerTime": {"times_are_utc": "use .astimezone(UTC)"},
    "ReadsTheWallClock": {"times_are_utc": "never use datetime.now()"},
    "DeletesEverybodys": {TENANTS: "every DELETE and UPDATE needs .where(table.c.tenant_id == tenant_id)"},
    "ReadsEverybodys": {TENANTS: "select its upstream rows with .where(table.c.tenant_id == tenant_id)"},
    "NamesOneTenant": {TENANTS: "write the tenant_id that run() is given"},
    "SharesAKey": {TENANTS: "shop_unowned: tenant_id is no part of the primary key"},
    "LeaksIntoRows": {"no_secret_leaks": "SHOP_TOKEN stands in a row"},
    "LeaksIntoCursor": {"no_secret_leaks": "SHOP_TOKEN stands in context.cursor"},
    "LeaksIntoWarnings": {"no_secret_leaks": "SHOP_TOKEN stands in a warning"},
    "LeaksIntoErrors": {"no_secret_leaks": "send it in a header"},
    "LeaksIntoTheLog": {"no_secret_leaks": "log through context.logger"},
    "LeaksOnTheScreen": {"no_secret_leaks": "do not print"},
    "NeverLooks": {"a_cancelled_window_ends": "call context.raise_if_cancelled()"},
    "SwallowsCancellation": {"a_cancelled_window_ends": "let WindowCancelled go"},
    "LocksItself": {
        "a_crash_loses_nothing": "keep nothing in variables of the module",
        "a_lost_lease_writes_nothing": "share nothing between two runs",
    },
    "ErasesAll": {"erase_deletes_one_tenant_only": "deleted rows of another tenant"},
    "WritesOutside": {
        "running_again_changes_nothing": "lacks 1 rows",
        HALF_OPEN: "other rows than one",
        ANY_ORDER: "other rows than one",
        "a_cancelled_window_ends": "write through db only",
        "a_crash_loses_nothing": "write through db only",
        "a_lost_lease_writes_nothing": "share nothing between two runs",
    },
}
"""Which tests of the suite fail for a collector, and what each of them says."""


@pytest.mark.timeout(600)
def test_each_bad_collector_fails_by_its_rules_alone(tmp_path: Path) -> None:
    """It fails exactly the tests of the rules that it breaks, and is told what to do; the good ones fail none."""
    found = failures(tmp_path / "report.xml")
    assert {name: set(of) for name, of in found.items()} == {name: set(of) for name, of in EXPECTED.items()}
    untold = [
        (name, rule, found[name][rule])
        for name, of in EXPECTED.items()
        for rule, cure in of.items()
        if cure not in found[name][rule]
    ]
    assert not untold


def failures(report: Path) -> Mapping[str, Mapping[str, str]]:
    """What one run of all bad collectors fails with, by collector and rule."""
    command = [sys.executable, "-m", "pytest", str(BAD), "-q", f"--junitxml={report}", "-k", "event or erase"]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    subprocess.run(
        [*command, "-p", "no:cacheprovider", "-p", "no:xdist"],
        env={**plain, "TZ": "UTC"},
        cwd=BAD.parents[2],
        capture_output=True,
        check=False,
        timeout=600,
    )
    found: dict[str, dict[str, str]] = {}
    for case in ET.parse(report).iter("testcase"):
        of = found.setdefault(case.attrib["classname"].rpartition(".Test")[2], {})
        rule = case.attrib["name"].partition("[")[0].removeprefix("test_")
        of.update((rule, str(ended.text)) for ended in case if ended.tag in ("failure", "error"))
    return found


def test_a_suite_that_names_nothing_says_what_it_needs(tmp_path: Path) -> None:
    """Whoever only subclasses it learns which attributes are missing, and with the window too: which fixture."""
    empty = "from tenantcollect.testing import CollectorSuite\nclass TestMine(CollectorSuite):\n    pass\n"
    assert "must name its collectors" in _said(tmp_path, empty)
    rest = (
        "from datetime import UTC, datetime\nfrom tenantcollect import Window\n"
        "from tenantcollect.sources.git import commit, source\n"
    )
    named = (
        "    collectors = {'git': source, 'git.commit': commit}\n"
        "    window = Window(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))\n"
    )
    assert "write a fixture env(self)" in _said(tmp_path, rest + empty.replace("    pass\n", named))


def _said(folder: Path, text: str) -> str:
    (folder / "test_mine.py").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120).stdout
