"""SQLite and PostgreSQL behind the contracts of state, leases and catalog (floor: backends)."""

from tenantcollect.backends.sql.backend import SqlBackend
from tenantcollect.backends.sql.migrate import include_name

__all__ = ["SqlBackend", "include_name"]
