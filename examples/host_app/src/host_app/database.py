"""The host's own database: its engine, its table."""

from sqlalchemy import Column, Engine, MetaData, Table, Text, create_engine, select

METADATA = MetaData()
CUSTOMER = Table("customer", METADATA, Column("id", Text, primary_key=True), Column("name", Text, nullable=False))


def connected(url: str) -> Engine:
    """The host's engine, with its table made."""
    engine = create_engine(url)
    METADATA.create_all(engine)
    return engine


def for_tenantcollect(engine: Engine) -> Engine | str:
    """What ``tenantcollect.connect`` takes: the engine, but of SQLite the URL (it sets its own pragmas)."""
    if engine.dialect.name == "sqlite":
        return engine.url.render_as_string(hide_password=False)
    return engine


def customer_name(engine: Engine, tenant_id: str) -> str | None:
    """The name of a customer; None if there is no such customer."""
    with engine.connect() as connection:
        return connection.scalar(select(CUSTOMER.c.name).where(CUSTOMER.c.id == tenant_id))
