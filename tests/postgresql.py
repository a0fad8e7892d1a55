"""A real PostgreSQL for the tests, as the shipped kit starts it."""

from tenantcollect.testing.postgresql import fresh_database, running_server

__all__ = ["fresh_database", "running_server"]
