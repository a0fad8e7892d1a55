"""The app with one customer, and with a collector that needs no network."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import pytest
from fastapi.testclient import TestClient
from host_app.app import create_app
from host_app.database import CUSTOMER, connected
from pydantic import BaseModel, Field, SecretStr
from sqlalchemy import Column, Integer, MetaData, Table, Text

from tenantcollect import AuthenticationError, hookimpl, upsert

METADATA = MetaData()
CONTACT = Table(
    "crm_contact",
    METADATA,
    Column("tenant_id", Text, primary_key=True),
    Column("day", Text, primary_key=True),
    Column("times", Integer, nullable=False),
)


class CrmConfig(BaseModel):
    CRM_TOKEN: SecretStr = Field(title="API token", min_length=8)
    CRM_REGION: Literal["eu", "us"] = Field(default="eu", title="Region")
    CRM_PAGE: int = Field(default=50, title="Page size", le=100)
    CRM_ARCHIVED: bool = Field(default=False, title="Archived contacts too")
    CRM_NOTE: str | None = Field(default=None, title="Note")


@hookimpl
def config():
    return CrmConfig


@hookimpl
def tables():
    return METADATA


@hookimpl
def run(config, db, tenant_id, start_date):
    if config.CRM_TOKEN.get_secret_value() == "revoked-token":
        raise AuthenticationError("the CRM refused the token")
    upsert(db, CONTACT, [{"tenant_id": tenant_id, "day": start_date.isoformat(), "times": 1}])
    return 1


CRM = SimpleNamespace(config=config, tables=tables, run=run)


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """A SQLite database of this test, with the customer Acme."""
    url = f"sqlite:///{tmp_path / 'host.db'}"
    engine = connected(url)
    with engine.begin() as connection:
        connection.execute(CUSTOMER.insert().values(id="acme", name="Acme <Corp>"))
    engine.dispose()
    return url


@pytest.fixture
def client(database_url: str) -> Iterator[TestClient]:
    """A browser."""
    engine = connected(database_url)
    with TestClient(create_app(engine, collectors={"crm.contact": CRM})) as client:
        yield client
    engine.dispose()
