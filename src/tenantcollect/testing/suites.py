"""The suites for collectors, and those of PROTOCOL 8 for backends, ready to be subclassed (floor: testing)."""

import pytest

pytest.register_assert_rewrite(
    *(
        f"tenantcollect.testing.{name}"
        for name in (
            "checkpoints",
            "committing",
            "deaths",
            "fencing",
            "locks",
            "misuse",
            "revisions",
            "schedule",
            "state",
            "values",
        )
    )
)

from tenantcollect.testing.effectively_once import EffectivelyOnceSuite  # noqa: E402 - assertions first
from tenantcollect.testing.locks import LocksSuite  # noqa: E402
from tenantcollect.testing.rules import CollectorSuite  # noqa: E402
from tenantcollect.testing.state import StateSuite  # noqa: E402

__all__ = ["CollectorSuite", "EffectivelyOnceSuite", "LocksSuite", "StateSuite"]
