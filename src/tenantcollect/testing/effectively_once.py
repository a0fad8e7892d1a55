"""E01–E29: every row of every window exactly once, whatever happens (floor: testing; PROTOCOL 8)."""

from tenantcollect.testing.checkpoints import CheckpointTests
from tenantcollect.testing.committing import CommitTests
from tenantcollect.testing.deaths import DeathTests
from tenantcollect.testing.fencing import FencingTests
from tenantcollect.testing.misuse import MisuseTests

__all__ = ["EffectivelyOnceSuite"]


class EffectivelyOnceSuite(CommitTests, CheckpointTests, DeathTests, FencingTests, MisuseTests):
    """G2: rows, coverage, cursor and history commit in one fenced transaction."""
