"""CollectorSuite lets a good collector pass, and finds each bad one by the rule that it breaks."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree as ET

import pytest

from tests.testing import bad_endings, bad_secrets, bad_tenants, bad_times, good_collectors

HERE = Path(__file__).parent


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "module", [good_collectors, bad_times, bad_tenants, bad_secrets, bad_endings], ids=lambda module: module.__name__
)
def test_each_collector_fails_by_the_rules_it_breaks_alone(module: ModuleType, tmp_path: Path) -> None:
    """It fails exactly the tests of the rules that it breaks, and is told what to do; the good ones fail none."""
    broken = {
        name: kind.breaks
        for name, kind in vars(module).items()
        if "breaks" in getattr(kind, "__dict__", ()) and kind.__module__ == module.__name__
    }
    found = failures(Path(str(module.__file__)), tmp_path / "report.xml")
    assert {name: set(of) for name, of in found.items()} == {name: set(of) for name, of in broken.items()}
    untold = [
        (name, rule, found[name][rule])
        for name, of in broken.items()
        for rule, cure in of.items()
        if cure not in found[name][rule]
    ]
    assert not untold


def failures(module: Path, report: Path) -> Mapping[str, Mapping[str, str]]:
    """What one run of a module's collectors fails with, by collector and rule."""
    command = [sys.executable, "-m", "pytest", str(module), "-q", f"--junitxml={report}", "-k", "event or erase"]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    subprocess.run(
        [*command, "-p", "no:cacheprovider", "-p", "no:xdist"],
        env={**plain, "TZ": "UTC"},
        cwd=HERE.parents[1],
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


def test_a_suite_of_backends_without_a_harness_says_so(tmp_path: Path) -> None:
    """Whoever only subclasses it is told by each of its tests which attribute is missing."""
    empty = "from tenantcollect.testing import LocksSuite\nclass TestMine(LocksSuite):\n    pass\n"
    assert "TestMine must name its harness_class" in _said(tmp_path, empty)


def _said(folder: Path, text: str) -> str:
    (folder / "test_mine.py").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120).stdout
