"""What a storm must catch: the library with one of its nets cut, applied inside the workers only.

Where a second net holds as long as the first is gone, the mutant cuts both, and says so.
"""

from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen

__all__ = ["MUTANTS", "Mutant"]

HISTORY = "tenantcollect_data_source_run_history"
GUARD = "tenantcollect_window_guard"
SEALED_ONCE = f"DROP INDEX {HISTORY}_sealed_once"


@frozen(kw_only=True)
class Mutant:
    """``apply`` patches the process it is called in; ``sql`` is run once, before the storm.

    ``holds`` = another net holds: this one must do no harm.
    """

    says: str
    apply: Callable[[], None] = lambda: None
    sql: tuple[str, ...] = ()
    holds: bool = False


def without_comparing(*columns: str) -> Callable[[], None]:
    """The conditions of opening and sealing, without those on ``columns``."""

    def apply() -> None:
        import sqlalchemy as sa

        from tenantcollect.backends.sql import changes, state

        def fewer(*conditions: Any) -> Any:
            return sa.and_(*(one for one in conditions if getattr(_left(one), "name", None) not in columns))

        changes.and_ = state.and_ = fewer  # type: ignore[assignment, attr-defined]

    return apply


def _left(condition: Any) -> Any:
    return getattr(condition, "left", None)


def believe_the_error() -> None:
    """A COMMIT whose reply was lost has not happened, and the window is simply tried again."""
    from tenantcollect.backends.sql.state import SqlState

    SqlState.outcome = lambda self, claim: False  # type: ignore[method-assign]


def believe_the_error_and_compare_nothing() -> None:
    """The same, where no step is compared either."""
    believe_the_error()
    without_comparing("window_seq", "open_window_id")()


def leak_the_heartbeat() -> None:
    """The beats of a pass go on after it, also for windows that have ended."""
    from tenantcollect.worker.heartbeat import Heartbeat
    from tenantcollect.worker.turn import Turn

    Heartbeat.__exit__ = lambda self, *_: None  # type: ignore[method-assign]
    Heartbeat.let_go = lambda self, key: None  # type: ignore[method-assign]
    Turn.ended = property(lambda self: False)  # type: ignore[assignment, method-assign]


def forget_the_upstreams() -> None:
    """A dependent runs as if it had none."""
    from tenantcollect.scheduling import Facts

    Facts.upstreams = lambda self, key: []  # type: ignore[method-assign]


def refuse_nothing() -> None:
    """Whatever a collector sends reaches the server."""
    from tenantcollect.backends.sql import watching

    watching._refuse = lambda window, statement: None


def bind_to_another_tenant() -> None:
    """Every transaction is told the same tenant."""
    from tenantcollect.backends.sql import postgresql

    postgresql.BEGIN_WINDOW = postgresql.BEGIN_WINDOW.replace("{tenant_id}", "left({tenant_id}, 7) || '0'")


MUTANTS: Mapping[str, Mutant] = {
    "fence": Mutant(
        says="the seal compares neither fence, holder, window nor step, and the history's unique index is gone",
        apply=without_comparing("fence", "holder", "open_window_id", "window_seq"),
        sql=(SEALED_ONCE,),
    ),
    "compare_and_set": Mutant(
        says="neither opening nor sealing compares the step, and the history's unique index is gone",
        apply=without_comparing("window_seq"),
        sql=(SEALED_ONCE,),
    ),
    "outcome": Mutant(
        says="a lost reply counts as not committed, the step is not compared, the history's keys are gone",
        apply=believe_the_error_and_compare_nothing,
        sql=(SEALED_ONCE, f"ALTER TABLE {HISTORY} DROP CONSTRAINT {HISTORY}_pkey"),
    ),
    "guard": Mutant(
        says="no COMMIT of a collector's own is refused before the server sees it, and the server lets it pass",
        apply=refuse_nothing,
        sql=(f"ALTER TABLE {GUARD} DROP CONSTRAINT {GUARD}_must_be_sealed",),
    ),
    "heartbeat": Mutant(says="beats go on for windows and passes that have ended", apply=leak_the_heartbeat),
    "order": Mutant(says="upstreams are not asked", apply=forget_the_upstreams),
    "tenant": Mutant(says="transactions are bound to a wrong tenant", apply=bind_to_another_tenant),
    # One net alone: another one holds.
    "only_fence": Mutant(
        says="neither fence nor holder is compared; the step is", apply=without_comparing("fence", "holder"), holds=True
    ),
    "only_outcome": Mutant(
        says="a lost reply counts as not committed; the step is compared", apply=believe_the_error, holds=True
    ),
}
