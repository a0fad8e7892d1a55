"""G6 at rest: the config table with a cipher, a copied ciphertext, a wrong key, a lost key, and new keys."""

import threading
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr, model_validator
from sqlalchemy import NullPool, create_engine, insert, select, update

from tenantcollect import (
    CollectorOptions,
    ConfigurationError,
    Orchestrator,
    Secret,
    SecretUnreadable,
    connect,
    hookimpl,
)
from tenantcollect.backends.sql.schema import tables
from tenantcollect.ciphers import PREFIX
from tenantcollect.contrib.crypto import FernetCipher
from tenantcollect.testing import VirtualClock

OLD, NEW = (urlsafe_b64encode(letter * 32).decode() for letter in (b"o", b"n"))
START = datetime(2026, 1, 1, tzinfo=UTC)
CONFIG = tables().config
Connect = Callable[..., Orchestrator]


class Settings(BaseModel):
    TOKEN: SecretStr
    ORG: str = "all"
    PEM: SecretStr | None = None

    @model_validator(mode="after")
    def _either(self) -> "Settings":
        if self.ORG == "wants-pem" and self.PEM is None:
            raise ValueError("PEM is needed")
        return self


class Contact:
    """Notes the env that it is run with."""

    def __init__(self) -> None:
        self.seen: dict[str, dict[str, str]] = {}

    @hookimpl
    def config(self) -> type[BaseModel]:
        return Settings

    @hookimpl
    def options(self) -> CollectorOptions:
        return CollectorOptions(initial_range=timedelta(days=1))

    @hookimpl
    def run(self, env: dict[str, str], tenant_id: str) -> None:
        self.seen[tenant_id] = env


@pytest.fixture
def contact() -> Contact:
    """The collector of ``crm``."""
    return Contact()


@pytest.fixture
def open_(url: str, contact: Contact, clock: VirtualClock) -> Iterator[Connect]:
    """Connects with cipher keys, newest first; without any, there is no cipher."""
    made: list[Orchestrator] = []

    def connected(*keys: str, **more: Any) -> Orchestrator:
        cipher = FernetCipher(keys) if keys else None
        made.append(connect(url, cipher=cipher, clock=clock, collectors={"crm.contact": contact}, **more))
        return made[-1]

    yield connected
    for one in made:
        one.close()


@pytest.fixture
def execute(url: str) -> Iterator[Callable[[Any], Any]]:
    """Executes a statement on a connection of its own; rows, if there are any."""
    engine = create_engine(url, poolclass=NullPool)

    def run(statement: Any) -> Any:
        with engine.begin() as connection:
            result = connection.execute(statement)
            return result.all() if result.returns_rows else None

    yield run
    engine.dispose()


def texts(execute: Callable[[Any], Any], key: str = "TOKEN") -> dict[str, str]:
    """What stands in the table for ``key``, by tenant."""
    return dict(execute(select(CONFIG.c.tenant_id, CONFIG.c.value).where(CONFIG.c.key == key)))


def test_g6_secrets_are_encrypted_at_rest_and_nothing_else_is(open_, execute, contact):
    """What the collector is given is what was configured; the table shows no secret."""
    orchestrator = open_(OLD)
    orchestrator.configure("acme", "crm", {"TOKEN": "s3cret-token", "ORG": "wide"})
    assert texts(execute, "ORG") == {"acme": "wide"}
    assert "s3cret" not in texts(execute)["acme"]
    assert orchestrator.config("acme", "crm") == {"TOKEN": "***", "ORG": "wide"}
    assert orchestrator.run().windows.completed == 1
    assert contact.seen == {"acme": {"TOKEN": "s3cret-token", "ORG": "wide"}}


def test_g6_a_value_that_is_given_as_a_secret_is_one(open_, execute, contact):
    """The type says it, as ``secrets=`` does; and it stays one."""
    orchestrator = open_(OLD)
    orchestrator.configure("acme", "crm", {"TOKEN": "s3cret-token", "ORG": Secret("hidden-org")})
    orchestrator.configure("acme", "crm", {"ORG": "hidden-too"})
    assert orchestrator.config("acme", "crm")["ORG"] == "***"
    assert "hidden" not in texts(execute, "ORG")["acme"]
    orchestrator.run()
    assert contact.seen["acme"]["ORG"] == "hidden-too"


def test_secrets_from_before_the_cipher_are_read_and_encrypted_later(open_, execute, contact):
    """A plain value is read as it is, encrypted when it is set again, or by ``rotate_keys``."""
    before = open_()
    for tenant in ("acme", "globex"):
        before.configure(tenant, "crm", {"TOKEN": "s3cret-token"})
    orchestrator = open_(OLD)
    assert orchestrator.run().windows.completed == 2
    assert contact.seen["globex"] == {"TOKEN": "s3cret-token"}
    assert set(texts(execute).values()) == {"s3cret-token"}
    orchestrator.configure("acme", "crm", {"TOKEN": "s3cret-token"})
    assert [text.startswith(PREFIX) for _, text in sorted(texts(execute).items())] == [True, False]
    assert [(row.plain, row.newest) for row in orchestrator.rotate_keys()] == [(0, 1), (1, 0)]
    assert "s3cret" not in str(texts(execute))


@pytest.mark.parametrize("keys", [(), (OLD,)])
def test_a_secret_that_looks_encrypted_comes_back_as_it_was(open_, contact, keys):
    """Whatever a vendor's token begins with."""
    token = f"{PREFIX}12345678:abc"
    open_(*keys).configure("acme", "crm", {"TOKEN": token, "ORG": token})
    open_(OLD).run()
    assert contact.seen["acme"] == {"TOKEN": token, "ORG": token}


def test_rotation_changes_keys_and_nothing_else(open_, execute, clock):
    """All secrets get the newest key, once; holds, revisions and times of change stay; then the old key can go."""
    old = open_(OLD)
    old.configure("acme", "crm", {"TOKEN": "s3cret-token", "PEM": "s3cret-pem"})
    old.configure("globex", "crm", {"TOKEN": "s3cret-token"})
    both = open_(NEW, OLD)
    before = (list(both.configured()), both.catalog.version(), execute(select(CONFIG.c.key, CONFIG.c.updated_at)))
    [acme, globex] = both.rotate_keys(dry_run=True)
    assert (acme.older, globex.older, acme.dry_run) == (2, 1, True)
    assert both.rotate_keys(dry_run=True) == [acme, globex]
    assert [row.older for row in both.rotate_keys("acme")] == [2]
    assert [(row.older, row.newest) for row in both.rotate_keys()] == [(0, 2), (1, 0)]
    assert [(row.older, row.newest) for row in both.rotate_keys()] == [(0, 2), (0, 1)]
    assert (list(both.configured()), both.catalog.version()) == before[:2]
    assert sorted(execute(select(CONFIG.c.key, CONFIG.c.updated_at))) == sorted(before[2])
    assert open_(NEW).run().windows.completed == 2


def test_rotation_encrypts_what_a_collector_declares_secret_since(open_, execute):
    """A key that was no secret when it was stored, and is one now, is encrypted and marked."""
    open_().configure("acme", "crm", {"TOKEN": "s3cret-token"})
    execute(update(CONFIG).values(is_secret=False))
    orchestrator = open_(OLD)
    assert [row.plain for row in orchestrator.rotate_keys("acme", "crm")] == [1]
    assert "s3cret" not in texts(execute)["acme"]
    assert execute(select(CONFIG.c.is_secret)) == [(True,)]


def test_a_mark_that_was_taken_away_in_the_table_reveals_nothing(open_, execute):
    """What is encrypted is secret, whatever the row says."""
    orchestrator = open_(OLD)
    orchestrator.configure("acme", "crm", {"TOKEN": "s3cret-token", "ORG": Secret("hidden-org")})
    execute(update(CONFIG).values(is_secret=False))
    assert orchestrator.config("acme", "crm") == {"TOKEN": "***", "ORG": "***"}


def test_rotation_needs_a_cipher_and_a_look_does_not(open_):
    """Without one nothing is changed, and the error says how to give one; a dry run says how the secrets stand."""
    orchestrator = open_()
    orchestrator.configure("acme", "crm", {"TOKEN": "s3cret-token"})
    with pytest.raises(ConfigurationError, match="TENANTCOLLECT_CIPHER_KEYS"):
        orchestrator.rotate_keys()
    assert [row.plain for row in orchestrator.rotate_keys(dry_run=True)] == [1]


def test_a_cipher_beside_a_catalog_of_the_hosts_is_refused(url):
    """It would encrypt nothing, and nobody would notice."""
    with pytest.raises(ConfigurationError, match="encrypt there"):
        connect(url, catalog=object(), cipher=FernetCipher([OLD]))


def test_a_cipher_does_not_travel_to_other_processes_but_how_to_make_it_does(url):
    """An object would have to be pickled with its keys; a function reads them where it is called."""
    with ProcessPoolExecutor() as executor:
        with pytest.raises(ConfigurationError, match=r"a cipher.*app="):
            connect(url, executor=executor, cipher=FernetCipher([OLD]))
        made: list[FernetCipher] = []

        def make() -> FernetCipher:
            made.append(FernetCipher([OLD]))
            return made[-1]

        with connect(url, executor=executor, cipher=make) as orchestrator:
            assert orchestrator.catalog._at_rest.cipher is made[0]


def lose_the_key(open_: Connect, execute: Callable[[Any], Any]) -> Orchestrator:
    """Of acme and globex; only globex was given a secret with the key that is left."""
    open_(OLD).configure("acme", "crm", {"TOKEN": "s3cret-acme", "ORG": "a"})
    orchestrator = open_(NEW)
    orchestrator.configure("globex", "crm", {"TOKEN": "s3cret-globex"})
    return orchestrator


def copy_a_ciphertext(open_: Connect, execute: Callable[[Any], Any]) -> Orchestrator:
    """That of globex stands at acme's place."""
    orchestrator = open_(NEW)
    orchestrator.configure("acme", "crm", {"TOKEN": "s3cret-acme", "ORG": "a"})
    orchestrator.configure("globex", "crm", {"TOKEN": "s3cret-globex"})
    copied = CONFIG.c.key == "TOKEN", CONFIG.c.tenant_id == "acme"
    execute(update(CONFIG).where(*copied).values(value=texts(execute)["globex"]))
    return orchestrator


def lose_the_cipher(open_: Connect, execute: Callable[[Any], Any]) -> Orchestrator:
    """The process is started without any key; the secret of globex is one from before there was a cipher."""
    orchestrator = open_()
    orchestrator.configure("globex", "crm", {"TOKEN": "s3cret-globex"})
    open_(OLD).configure("acme", "crm", {"TOKEN": "s3cret-acme", "ORG": "a"})
    return orchestrator


@pytest.mark.parametrize("harm", [lose_the_key, copy_a_ciphertext, lose_the_cipher])
def test_a_secret_that_cannot_be_decrypted_holds_its_own_source_only(open_, execute, contact, harm):
    """The error names the key of the env and the cures; other tenants go on; nothing is overwritten."""
    orchestrator = harm(open_, execute)
    kept = texts(execute)["acme"]
    assert orchestrator.run().windows.completed == 1
    assert contact.seen == {"globex": {"TOKEN": "s3cret-globex"}}
    [row] = orchestrator.explain("acme")
    assert row.reason == "config_invalid"
    for part in ("TOKEN cannot be decrypted", "resume acme crm", "config set acme crm TOKEN=-"):
        assert part in row.detail
    assert "s3cret" not in repr([*orchestrator.explain(), *orchestrator.history(), *orchestrator.status()])
    [check] = orchestrator.check("acme")
    assert (check.ok, check.reason) == (False, "config_invalid")
    assert orchestrator.config("acme", "crm") == {"TOKEN": "***", "ORG": "a"}
    [rotation, _] = orchestrator.rotate_keys(dry_run=True)
    assert list(rotation.unreadable) == ["TOKEN"]
    with pytest.raises(SecretUnreadable):
        orchestrator.catalog.env("acme", "crm")
    assert texts(execute)["acme"] == kept


@pytest.mark.parametrize("harm", [lose_the_key, copy_a_ciphertext])
def test_configuring_other_keys_leaves_what_cannot_be_decrypted(open_, execute, contact, harm):
    """It is neither dropped nor overwritten, also where it is marked again; setting it anew is the way out."""
    orchestrator = harm(open_, execute)
    kept = texts(execute)["acme"]
    orchestrator.run()
    orchestrator.configure("acme", "crm", {"ORG": "b"}, secrets=["TOKEN", "ORG"])
    orchestrator.configure("acme", "crm", {"PEM": "s3cret-pem"})
    assert texts(execute)["acme"] == kept
    with pytest.raises(ConfigurationError) as refused:
        orchestrator.configure("acme", "crm", {"ORGG": "b"})
    assert "ORGG" in refused.value.fields
    orchestrator.configure("acme", "crm", {"TOKEN": "s3cret-new"})
    assert orchestrator.run().windows.completed == 1
    assert contact.seen["acme"] == {"TOKEN": "s3cret-new", "ORG": "b", "PEM": "s3cret-pem"}


def test_what_cannot_be_read_is_not_missed_by_a_rule_over_all_keys(open_, contact):
    """A model that wants one of two keys cannot be asked about one that is there and cannot be read."""
    open_(OLD).configure("acme", "crm", {"TOKEN": "s3cret-token", "PEM": "s3cret-pem"})
    orchestrator = open_(NEW)
    orchestrator.configure("acme", "crm", {"TOKEN": "s3cret-new", "ORG": "wants-pem"})
    with pytest.raises(ConfigurationError, match="PEM is needed"):
        orchestrator.configure("globex", "crm", {"TOKEN": "s3cret-new", "ORG": "wants-pem"})
    orchestrator.configure("acme", "crm", {"PEM": None, "ORG": None})
    assert orchestrator.run().windows.completed == 1
    assert contact.seen == {"acme": {"TOKEN": "s3cret-new"}}


def test_a_key_that_is_given_back_ends_the_hold(open_, clock, contact):
    """By ``resume`` at once; without anybody, within the hour."""
    for tenant in ("acme", "globex"):
        open_(OLD).configure(tenant, "crm", {"TOKEN": "s3cret-token"})
    assert open_(NEW).run().windows.failed == 2
    orchestrator = open_(NEW, OLD)
    assert orchestrator.run().windows.completed == 0
    orchestrator.resume("acme", "crm")
    orchestrator.run()
    assert list(contact.seen) == ["acme"]
    clock.advance(timedelta(hours=1))
    orchestrator.run()
    assert list(contact.seen) == ["acme", "globex"]


def test_rotation_does_not_overwrite_what_is_configured_meanwhile(open_, url):
    """A value that was set while the cipher worked is another one, and stays."""
    open_(OLD).configure("acme", "crm", {"TOKEN": "s3cret-token"})
    both = open_(NEW, OLD)
    cipher = both.catalog._at_rest.cipher

    class Interrupted:
        key_id = cipher.key_id
        decrypt = staticmethod(cipher.decrypt)

        def encrypt(self, text: str, *, bound_to: str) -> str:
            open_(NEW).configure("acme", "crm", {"TOKEN": "s3cret-newer"})
            return cipher.encrypt(text, bound_to=bound_to)

    interrupted = connect(url, cipher=Interrupted(), collectors={"crm.contact": Contact()})
    assert [row.older for row in interrupted.rotate_keys()] == [1]
    interrupted.close()
    assert open_(NEW).catalog.env("acme", "crm") == {"TOKEN": "s3cret-newer"}


def test_rotation_beside_configure_loses_nothing_and_stands_still_for_nobody(open_):
    """Thirty of each at once, on the same two keys: no deadlock, and the last value that was set is there."""
    open_(OLD).configure("acme", "crm", {"TOKEN": "s3cret-0", "PEM": "pem-0"})
    rotating, configuring = open_(NEW, OLD), open_(OLD, NEW)
    errors: list[BaseException] = []

    def again_and_again(action: Callable[[int], object]) -> None:
        try:
            for number in range(1, 31):
                action(number)
        except BaseException as error:  # noqa: BLE001 - told below
            errors.append(error)

    def configure(number: int) -> None:
        configuring.configure("acme", "crm", {"PEM": f"pem-{number}", "TOKEN": f"s3cret-{number}"})

    threads = [
        threading.Thread(target=again_and_again, args=[action])
        for action in (configure, lambda _: rotating.rotate_keys(), lambda _: rotating.rotate_keys())
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert open_(NEW, OLD).catalog.env("acme", "crm") == {"TOKEN": "s3cret-30", "PEM": "pem-30"}


def test_rows_that_a_host_writes_by_itself_are_read_and_rotated(open_, execute, contact):
    """Also where no row of ours goes with them."""
    execute(insert(CONFIG).values(tenant_id="acme", data_source="crm", key="TOKEN", value="s3cret-token"))
    orchestrator = open_(OLD)
    assert [row.plain for row in orchestrator.rotate_keys()] == [1]
    assert "s3cret" not in texts(execute)["acme"]
    orchestrator.run()
    assert contact.seen == {"acme": {"TOKEN": "s3cret-token"}}
