"""What a collector says of itself is checked where it says it."""

from typing import Any

import pytest

from tenantcollect import CollectorOptions, PluginError, hookimpl
from tenantcollect.registry import Registry


@pytest.mark.parametrize(
    ("name", "value", "bound"),
    [
        ("snapshot", "no", "must be True or False, not 'no'"),
        ("snapshot", 0, "must be True or False, not 0"),
        ("snapshot", None, "must be True or False, not None"),
        ("concurrency_per_tenant", "2", "must be a whole number from 1 to 1000, not '2'"),
        ("concurrency_per_tenant", True, "must be a whole number from 1 to 1000, not True"),
        ("concurrency_per_tenant", 10**6, "must be a whole number from 1 to 1000, not 1000000"),
        ("lookback", 3, "must be a datetime.timedelta, not int"),
        ("interval", "PT1H", "must be a datetime.timedelta, not str"),
        ("settle", None, "must be a datetime.timedelta, not NoneType"),
    ],
)
def test_a_wrong_option_is_refused_by_its_name(name: str, value: Any, bound: str) -> None:
    """Nothing is guessed: a text that says no is no False."""

    class Script:
        @hookimpl
        def run(self) -> int:
            return 0

        @hookimpl
        def options(self) -> CollectorOptions:
            return CollectorOptions(**{name: value})

    with pytest.raises(PluginError) as refused:
        Registry({"a.x": Script()}, entry_points=lambda group: ()).collector("a.x")
    assert f"options().{name} {bound}" in str(refused.value)
    assert f"{__file__}:" in str(refused.value)
