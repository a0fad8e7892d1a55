"""G6 at rest, with a cipher of the host's own that fails: for one value, for a while, or always."""

from base64 import b64encode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import ANY

import pytest
from pydantic import BaseModel, ConfigDict, SecretStr
from sqlalchemy import NullPool, create_engine, select

from tenantcollect import (
    CollectorOptions,
    ConfigurationError,
    Orchestrator,
    TenantcollectError,
    connect,
    hookimpl,
)
from tenantcollect.backends.sql.catalog import SqlCatalog
from tenantcollect.backends.sql.schema import tables
from tenantcollect.contrib.crypto import FernetCipher
from tenantcollect.testing import VirtualClock

START = datetime(2026, 1, 1, tzinfo=UTC)
CONFIG = tables().config


class Settings(BaseModel):
    model_config = ConfigDict(extra="allow")

    TOKEN: SecretStr
    ORG: str = "all"


class Crm:
    """The data source."""

    @hookimpl
    def config(self) -> type[BaseModel]:
        return Settings


class Contact:
    """Notes the env that it is run with."""

    def __init__(self) -> None:
        self.seen: dict[str, dict[str, str]] = {}

    @hookimpl
    def options(self) -> CollectorOptions:
        return CollectorOptions(initial_range=timedelta(days=1))

    @hookimpl
    def run(self, env: dict[str, str], tenant_id: str) -> None:
        self.seen[tenant_id] = env


class Deal:
    """Another script of the same source."""

    @hookimpl
    def options(self) -> CollectorOptions:
        return CollectorOptions(initial_range=timedelta(days=1))

    @hookimpl
    def run(self) -> None: ...


class Service:
    """A cipher that asks a service, which knows texts to fail for, or is down; notes what it decrypted."""

    def __init__(self, key_id: str = "k1") -> None:
        self.key_id = key_id
        self.fails: Callable[[str], bool] = lambda text: False
        self.gives: Callable[[str], str] = lambda text: text[::-1]
        self.decrypted: list[str] = []

    def encrypt(self, text: str, *, bound_to: str) -> str:
        return self.gives(self._asked(text))

    def decrypt(self, ciphertext: str, *, bound_to: str, key_id: str) -> str:
        self.decrypted.append(ciphertext[::-1])
        return self._asked(ciphertext[::-1])

    def _asked(self, text: str) -> str:
        if self.fails(text):
            raise TimeoutError(f"no answer for {text}")
        return text


@pytest.fixture
def contact() -> Contact:
    """The collector of ``crm``."""
    return Contact()


@pytest.fixture
def service() -> Service:
    """The cipher of most tests."""
    return Service()


@pytest.fixture
def open_(url: str, contact: Contact, clock: VirtualClock) -> Iterator[Callable[[Any], Orchestrator]]:
    """Connects with a cipher."""
    made: list[Orchestrator] = []

    def connected(cipher: Any, **more: object) -> Orchestrator:
        made.append(connect(url, cipher=cipher, clock=clock, collectors={"crm": Crm(), "crm.contact": contact, **more}))
        return made[-1]

    yield connected
    for one in made:
        one.close()


@pytest.fixture
def orchestrator(open_: Callable[[Any], Orchestrator], service: Service) -> Orchestrator:
    """With two tenants of several secrets."""
    one = open_(service)
    for tenant in ("acme", "globex"):
        one.configure(tenant, "crm", {"TOKEN": f"s3cret-{tenant}", "ORG": "wide", "PEM": f"pem-{tenant}"})
    return one


def stored(url: str) -> dict[tuple[str, str], str]:
    """What stands in the table, by tenant and key."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        rows = connection.execute(select(CONFIG.c.tenant_id, CONFIG.c.key, CONFIG.c.value)).all()
    engine.dispose()
    return {(tenant, key): value for tenant, key, value in rows}


@pytest.mark.parametrize("down", [lambda text: text == "s3cret-acme", lambda text: True], ids=["for one", "for all"])
def test_a_cipher_that_fails_stops_nobody_from_looking_and_mending(orchestrator, url, service, down):
    """Of each value it is told; what is set anew or removed is not even decrypted, and the rest stays as it is."""
    before = stored(url)
    service.fails = down
    assert orchestrator.config("acme", "crm") == {"TOKEN": "***", "ORG": "wide", "PEM": "***"}
    secrets = [row for row in orchestrator.doctor() if row.topic == "secrets"]
    assert any("TOKEN of acme crm" in row.detail and "Service raised TimeoutError" in row.detail for row in secrets)
    assert "s3cret" not in repr(secrets)
    [acme, globex] = orchestrator.rotate_keys()
    assert "TOKEN" in acme.unreadable
    assert acme.newest + len(acme.unreadable) == globex.newest + len(globex.unreadable) == 2
    orchestrator.configure("acme", "crm", {"ORG": "narrow"})
    assert stored(url) == before | {("acme", "ORG"): "narrow"}
    orchestrator.configure("acme", "crm", {"PEM": None})
    service.decrypted.clear()
    service.fails = lambda text: False
    orchestrator.configure("acme", "crm", {"TOKEN": "s3cret-newer"})
    assert service.decrypted == []


def test_a_cipher_that_fails_costs_the_windows_that_need_it_a_while_and_no_hold(orchestrator, contact, service, clock):
    """As any failure that may pass: others go on, and it is tried again without anybody."""
    service.fails = lambda text: text == "s3cret-acme"
    assert orchestrator.run().windows.completed == 1
    assert list(contact.seen) == ["globex"]
    [row] = orchestrator.explain("acme")
    assert (row.reason, row.action) == ("backoff", None)
    assert "TOKEN cannot be decrypted: the cipher Service raised TimeoutError at" in row.detail
    service.fails = lambda text: False
    clock.advance(timedelta(minutes=1))
    orchestrator.run()
    assert contact.seen["acme"]["TOKEN"] == "s3cret-acme"


def test_rotation_goes_on_where_the_cipher_cannot_encrypt_one_value(orchestrator, open_, url):
    """It is told by its name, stays as it was, and can be read all the same."""
    newer = Service("k2")
    newer.fails = lambda text: text == "pem-acme"
    newer.decrypt = Service().decrypt  # type: ignore[method-assign]
    before = stored(url)
    [acme, globex] = open_(newer).rotate_keys()
    assert (acme.older, globex.older) == (1, 2)
    assert "Service raised TimeoutError" in acme.unreadable["PEM"]
    changed = {place for place, text in stored(url).items() if text != before[place]}
    assert changed == {("acme", "TOKEN"), ("globex", "TOKEN"), ("globex", "PEM")}
    newer.fails = lambda text: False
    assert [row.older for row in open_(newer).rotate_keys()] == [1, 0]
    assert not any(row.unreadable for row in open_(newer).rotate_keys())


@pytest.mark.parametrize("lacking", [None, FernetCipher([b64encode(b"n" * 32)])], ids=["no cipher", "another key"])
def test_a_process_without_the_cipher_key_stops_only_what_it_tried_and_only_for_a_while(
    orchestrator, open_, service, contact, clock, lacking
):
    """Its mistake is not that of the others: one that has the key goes on with all the rest, and soon with that."""
    wrong = open_(lacking)
    assert wrong.run("acme").windows.failed == 1
    [row] = wrong.explain("acme", "crm", "contact")
    assert (row.reason, row.until) == ("config_invalid", ANY)
    assert row.until <= START + timedelta(minutes=1)
    assert "Give this process that cipher key" in row.detail
    assert row.action == "mend what the detail names, then: tenantcollect resume acme crm"
    assert open_(service, **{"crm.deal": Deal()}).run().windows.completed == 3
    assert list(contact.seen) == ["globex"]
    for _ in range(10):
        clock.advance(timedelta(hours=1))
        assert wrong.run("acme", "crm", "contact").windows.failed == 1
        [row] = wrong.explain("acme", "crm", "contact")
        assert row.until <= clock() + timedelta(hours=1)
    orchestrator.resume("acme")
    assert orchestrator.run("acme").windows.completed == 2
    assert contact.seen["acme"]["TOKEN"] == "s3cret-acme"


@pytest.mark.parametrize("gives", [lambda text: text, lambda text: text[:-1], lambda text: text.encode(), lambda _: ""])
def test_rotation_replaces_no_secret_by_what_the_cipher_does_not_give_back(orchestrator, open_, url, gives):
    """What can be read now must be readable afterwards."""
    wrong = Service("k2")
    wrong.gives = gives
    before = stored(url)
    with pytest.raises(ConfigurationError, match="Service cannot be used"):
        open_(wrong).rotate_keys()
    assert stored(url) == before


def test_without_the_cipher_no_secret_is_stored_beside_encrypted_ones(orchestrator, open_, url):
    """Nor is an encrypted one replaced; what is no secret can be set, and anything be removed."""
    forgetful, before = open_(None), stored(url)
    for tenant, env in (
        ("acme", {"TOKEN": "s3cret-new"}),
        ("initech", {"TOKEN": "s3cret-new"}),
        ("acme", {"NEW": "x"}),
    ):
        with pytest.raises(ConfigurationError, match="TENANTCOLLECT_CIPHER_KEYS"):
            forgetful.configure(tenant, "crm", env)
    assert stored(url) == before
    assert [source.tenant_id for source in forgetful.configured()] == ["acme", "globex"]
    forgetful.configure("acme", "crm", {"ORG": "narrow", "PEM": None})
    forgetful.disconnect("globex", "crm")
    assert set(stored(url)) == {("acme", "TOKEN"), ("acme", "ORG")}


def test_without_any_cipher_secrets_are_plaintext_also_one_that_looks_encrypted(open_, url):
    """As before: only what is encrypted asks for a cipher."""
    plain = open_(None)
    for text in ("tcenc1:k1:abc", "TCENC1:k1:abc", "s3cret"):
        plain.configure("acme", "crm", {"TOKEN": text})
    assert stored(url) == {("acme", "TOKEN"): "s3cret"}


@pytest.mark.parametrize("with_cipher", [True, False], ids=["encrypted", "plain"])
def test_marking_a_value_as_secret_loses_none_that_is_set_meanwhile(open_, service, url, with_cipher):
    """What is marked is what stands there then, and it is encrypted if there is a cipher."""
    plain = open_(None)
    plain.configure("acme", "crm", {"TOKEN": "s3cret-old", "ORG": "old"})
    marking, write = open_(service if with_cipher else None), SqlCatalog.write

    def late(catalog: SqlCatalog, *given: Any, **more: Any) -> None:
        if catalog is marking.catalog:
            plain.configure("acme", "crm", {"ORG": "newer"})
        write(catalog, *given, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SqlCatalog, "write", late)
        marking.configure("acme", "crm", {}, secrets=["ORG"])
    assert marking.config("acme", "crm")["ORG"] == "***"
    assert marking.catalog.env("acme", "crm")["ORG"] == "newer"
    assert stored(url)["acme", "ORG"] == ("tcenc1:k1:rewen" if with_cipher else "newer")


def test_several_sources_are_configured_in_one_transaction(orchestrator, url, service):
    """A cipher that fails at the last of them, or a database that does, leaves all as they were."""
    before = stored(url)
    service.fails = lambda text: text == "s3cret-z"
    with pytest.raises(TenantcollectError, match="Service raised TimeoutError"):
        orchestrator.configure_all({(tenant, "crm"): {"TOKEN": f"s3cret-{tenant}"} for tenant in ("z", "acme", "a")})
    assert stored(url) == before
    service.fails = lambda text: False
    orchestrator.configure_all({(tenant, "crm"): {"TOKEN": f"s3cret-{tenant}"} for tenant in ("z", "acme", "a")})
    assert [source.tenant_id for source in orchestrator.configured()] == ["a", "acme", "globex", "z"]
    assert orchestrator.run().windows.completed == 4
