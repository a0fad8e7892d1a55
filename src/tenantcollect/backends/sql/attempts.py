"""Reading the history of attempts (floor: backends; G8)."""

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime

from sqlalchemy import ColumnElement, literal_column, select, true, tuple_

from tenantcollect.backends.sql.engine import Database
from tenantcollect.backends.sql.expressions import key_rows, same_key
from tenantcollect.backends.sql.readings import attempt_of
from tenantcollect.backends.sql.schedule import selected
from tenantcollect.keys import Key, Selection
from tenantcollect.state import HistoryRow
from tenantcollect.windows import utc

__all__ = ["SqlAttempts"]

PAGE = 500
NEWEST = ("completed_at", "window_seq", "fence", "window_id")


class SqlAttempts:
    """The attempts of one database; each read is short."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def newest(self, selection: Selection, *, limit: int, before: datetime | None = None) -> Iterator[HistoryRow]:
        """Newest first, page by page, each a read of its own."""
        history = self._database.known_tables().history
        order = [history.c[name] for name in NEWEST]
        bound: ColumnElement[bool] = true() if before is None else history.c.completed_at < utc(before, "before")
        while limit > 0:
            with self._database.reading() as connection:
                page = select(history).where(bound, selected(connection, history, selection))
                page = page.order_by(*(column.desc() for column in order))
                found = connection.execute(page.limit(literal_column(str(min(limit, PAGE))))).all()
            attempts = self._database.unread.sift(history, found, attempt_of)
            yield from attempts
            last = next((row.window_id for row in reversed(found) if row.window_id is not None), None)
            if len(found) < min(limit, PAGE) or last is None:
                return
            limit -= len(attempts)
            other = history.alias("other")
            least = select(*(other.c[name] for name in NEWEST)).where(other.c.window_id == last)
            bound = tuple_(*order) < least.scalar_subquery()

    def latest(self, keys: Collection[Key]) -> Mapping[Key, HistoryRow]:
        """By the index of (KEY, completed_at): the history of a key may be long."""
        history = self._database.known_tables().history
        with self._database.reading() as connection:
            asked = key_rows(connection, keys)
            other = history.alias("other")
            newest = select(other.c.window_id).where(same_key(other, asked))
            newest = newest.order_by(*(other.c[name].desc() for name in NEWEST)).limit(literal_column("1"))
            mine = history.c.window_id == newest.correlate(asked).scalar_subquery()
            found = select(history).select_from(asked).join(history, mine)
            attempts = self._database.unread.sift(history, connection.execute(found), attempt_of)
        return {attempt.key: attempt for attempt in attempts}
