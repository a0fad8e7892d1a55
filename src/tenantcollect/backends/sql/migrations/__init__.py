"""Alembic's environment and our revisions, found as a package resource (floor: backends)."""
