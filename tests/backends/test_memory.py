"""The memory backend keeps the contracts."""

from tenantcollect.testing import EffectivelyOnceSuite, LocksSuite, MemoryHarness, StateSuite


class TestLocks(LocksSuite):
    harness_class = MemoryHarness


class TestState(StateSuite):
    harness_class = MemoryHarness


class TestEffectivelyOnce(EffectivelyOnceSuite):
    harness_class = MemoryHarness
