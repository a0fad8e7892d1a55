"""G6 at rest: what a cipher and the text around its ciphertexts promise."""

import copy
import json
import pickle
import subprocess
import sys
from base64 import urlsafe_b64encode
from typing import Any

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from tenantcollect.ciphers import PREFIX, AtRest, encrypted_with
from tenantcollect.contrib.crypto import FernetCipher
from tenantcollect.errors import CipherKeyMissing, ConfigurationError, SecretUnreadable, TenantcollectError
from tenantcollect.secrets import Secret

OLD, NEW = (urlsafe_b64encode(letter * 32).decode() for letter in (b"o", b"n"))
CIPHER = FernetCipher([OLD])
PLACE = ("acme", "crm", "TOKEN")
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
stored_like = st.one_of(texts, texts.map(lambda text: PREFIX + text), texts.map(lambda text: f"{PREFIX}:{text}"))


@given(text=stored_like)
@pytest.mark.parametrize("cipher", [None, CIPHER], ids=["plain", "encrypted"])
def test_every_text_comes_back_as_it_was(cipher: FernetCipher | None, text: str) -> None:
    """With a cipher or without, also a secret that looks as if it were encrypted."""
    at_rest = AtRest(cipher)
    stored = at_rest.stored(text, PLACE)
    assert at_rest.text(stored, PLACE) == text
    assert bool(encrypted_with(stored)) is (cipher is not None)
    assert AtRest(CIPHER).text(stored, PLACE) == text


def test_the_stored_text_names_the_cipher_key_and_shows_no_secret() -> None:
    """Its id stands there, so that a key that is lost can be named; never the key, never the secret."""
    stored = AtRest(CIPHER).stored("hunter2!", PLACE)
    assert encrypted_with(stored) == CIPHER.key_id
    assert "hunter2!" not in stored
    assert CIPHER.key_id not in OLD
    assert AtRest(CIPHER).stored("hunter2!", PLACE) != stored


@pytest.mark.parametrize("place", [("beta", *PLACE[1:]), ("acme", "git", "TOKEN"), ("acme", "crm", "OTHER")])
def test_a_copied_ciphertext_opens_nowhere_else(place: tuple[str, str, str]) -> None:
    """Neither for another tenant, nor another data source, nor another key."""
    with pytest.raises(SecretUnreadable, match="copied here"):
        AtRest(CIPHER).text(AtRest(CIPHER).stored("hunter2!", PLACE), place)


def test_places_are_not_confused_by_where_their_parts_end() -> None:
    """A tenant whose id ends like a data source begins is another place."""
    stored = AtRest(CIPHER).stored("x", ('a"', "b", "c"))
    with pytest.raises(SecretUnreadable):
        AtRest(CIPHER).text(stored, ("a", '"b', "c"))


def test_a_lost_key_is_named_by_its_id() -> None:
    """The error says which key is missing and which are there, and holds none of them."""
    stored = AtRest(CIPHER).stored("hunter2!", PLACE)
    with pytest.raises(CipherKeyMissing, match=CIPHER.key_id) as raised:
        AtRest(FernetCipher([NEW])).text(stored, PLACE)
    assert FernetCipher([NEW]).key_id in str(raised.value)
    assert OLD not in str(raised.value)
    assert NEW not in str(raised.value)
    with pytest.raises(CipherKeyMissing, match=f"{CIPHER.key_id}.*TENANTCOLLECT_CIPHER_KEYS"):
        AtRest().text(stored, PLACE)


@pytest.mark.parametrize(
    "damage",
    [
        lambda stored: stored[:-8],
        lambda stored: stored.replace("gA", "gB", 1),
        lambda stored: f"{PREFIX}{CIPHER.key_id}:",
        lambda stored: f"{PREFIX}{CIPHER.key_id}:é",
        lambda stored: f"{PREFIX}{CIPHER.key_id}:{Fernet(OLD).encrypt(b'not ours').decode()}",
        lambda stored: f"{PREFIX}{CIPHER.key_id}",
        lambda stored: f"{PREFIX}my secret: is this",
    ],
)
def test_a_damaged_ciphertext_is_refused_and_not_shown(damage: object) -> None:
    """Cut, changed, made by another program, or no ciphertext at all: a clear error, without what stands there."""
    with pytest.raises(SecretUnreadable) as raised:
        AtRest(CIPHER).text(damage(AtRest(CIPHER).stored("hunter2!", PLACE)), PLACE)  # type: ignore[operator]
    assert not isinstance(raised.value, CipherKeyMissing)
    assert "my secret" not in str(raised.value)


def test_the_newest_key_encrypts_and_all_decrypt() -> None:
    """What an older key encrypted is read, and is known to be older."""
    old, both = AtRest(CIPHER), AtRest(FernetCipher([NEW, OLD]))
    stored = old.stored("hunter2!", PLACE)
    assert both.text(stored, PLACE) == "hunter2!"
    assert (old.newest(stored), both.newest(stored)) == (True, False)
    assert both.newest(both.stored("hunter2!", PLACE))


def test_keys_are_read_from_a_text() -> None:
    """Commas and white space part them; the first is the newest."""
    assert FernetCipher.parse(f" {NEW},{OLD}\n").key_ids == (FernetCipher([NEW]).key_id, CIPHER.key_id)


@pytest.mark.parametrize("keys", [[], ["short"], [OLD, "kéy"], [OLD, OLD[:-4]], "", [None], b"\xff", [b"short"]])
def test_what_is_no_key_is_refused_by_its_number(keys: Any) -> None:
    """The error says how to make one, and shows nothing of what was given."""
    with pytest.raises(ConfigurationError, match="generate_key") as raised:
        FernetCipher(keys)
    assert not any(isinstance(key, str) and key and key in str(raised.value) for key in keys)


def test_a_cipher_shows_and_pickles_no_key() -> None:
    """Its repr has the ids only."""
    assert repr(CIPHER) == f"FernetCipher({CIPHER.key_id})"
    for give_away in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            give_away(CIPHER)


def test_of_a_hosts_own_cipher_only_our_errors_keep_their_words() -> None:
    """A key server's error may repeat the secret; where it was raised is said instead."""

    class Broken:
        key_id = "kms"

        def encrypt(self, text: str, *, bound_to: str) -> str:
            raise ValueError(f"refused {text}")

        def decrypt(self, ciphertext: str, *, bound_to: str, key_id: str) -> str:
            raise SecretUnreadable(f"no grant for {json.loads(bound_to)[0]}")

    at_rest = AtRest(Broken())
    with pytest.raises(TenantcollectError, match=r"Broken raised ValueError at .*test_ciphers\.py:\d+") as raised:
        at_rest.stored("hunter2!", PLACE)
    assert "hunter2!" not in str(raised.value)
    assert raised.value.__context__ is None
    with pytest.raises(SecretUnreadable, match="no grant for acme"):
        at_rest.text(f"{PREFIX}kms:abc", PLACE)


def test_without_the_extra_the_error_says_how_to_install_it() -> None:
    """Whoever imports the cipher without `cryptography` is told the command."""
    code = "import sys; sys.modules['cryptography.fernet'] = None; import tenantcollect.contrib.crypto"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("tenantcollect.errors.ConfigurationError")
    assert 'pip install "tenantcollect[crypto]"' in ended.stderr


@pytest.mark.parametrize("key", [OLD, OLD.encode(), Secret(OLD)], ids=["text", "bytes", "secret"])
def test_a_key_may_be_a_text_bytes_or_a_secret(key: str | bytes | Secret) -> None:
    """As ``Fernet.generate_key()`` gives it, as it stands in the environment, as a host keeps it; one or several."""
    assert FernetCipher([key]).key_ids == FernetCipher(key).key_ids == CIPHER.key_ids


def reverse(text: str) -> str:
    """The same, from behind."""
    return text[::-1]


class Reversing:
    """A cipher that keeps every rule but that of secrecy; each answer can be given another."""

    def __init__(self, **answers: Any) -> None:
        self._answers = {"key_id": "k1", "encrypt": reverse, "decrypt": reverse} | answers

    @property
    def key_id(self) -> Any:
        key_id = self._answers["key_id"]
        return key_id() if callable(key_id) else key_id

    def encrypt(self, text: str, *, bound_to: str) -> Any:
        return self._answers["encrypt"](text)

    def decrypt(self, ciphertext: str, *, bound_to: str, key_id: str) -> Any:
        return self._answers["decrypt"](ciphertext)


@pytest.mark.parametrize("key_id", ["", "arn:aws:kms:x", "projects/x", "k" * 65, "k\n", "clé", 7, None, b"k"])
def test_a_key_id_that_could_not_be_read_back_is_refused(key_id: Any) -> None:
    """What would be stored under it would be lost, or taken for a plain text."""
    at_rest = AtRest(Reversing(key_id=key_id))
    for ask in (lambda: at_rest.stored("hunter2!", PLACE), lambda: at_rest.newest("tcenc1:k1:!2retnuh")):
        with pytest.raises(ConfigurationError, match="Reversing cannot be used: its key_id must be 1 to 64"):
            ask()


@pytest.mark.parametrize("made", [b"!2retnuh", None, "", "é", "a\0", "a\nb", "\ud800"])
def test_a_ciphertext_that_is_none_is_refused_before_it_is_stored(made: Any) -> None:
    """A text of printable ASCII, as the contract has it."""
    with pytest.raises(ConfigurationError, match="printable ASCII"):
        AtRest(Reversing(encrypt=lambda text: made)).stored("hunter2!", PLACE)


@pytest.mark.parametrize("found", [b"hunter2!", None])
def test_what_decrypts_to_no_text_is_refused(found: Any) -> None:
    """No collector is given bytes for a text."""
    with pytest.raises(ConfigurationError, match="decrypts to"):
        AtRest(Reversing(decrypt=lambda text: found)).text("tcenc1:k1:!2retnuh", PLACE)


def test_what_is_encrypted_anew_is_proven_first() -> None:
    """What replaces a secret that could be read must give it back."""
    assert AtRest(Reversing()).anew("hunter2!", PLACE) == "tcenc1:k1:!2retnuh"
    with pytest.raises(ConfigurationError, match="give back"):
        AtRest(Reversing(encrypt=lambda text: text[:-1])).anew("hunter2!", PLACE)


def test_g6_a_key_id_that_cannot_be_asked_is_told_as_any_failure_of_a_cipher() -> None:
    """It may be a call to a key server."""
    token = "hunter2!"

    def ask() -> str:
        raise TimeoutError(f"no answer for {token}")

    with pytest.raises(TenantcollectError, match="the cipher Reversing raised TimeoutError at ") as raised:
        AtRest(Reversing(key_id=ask)).newest("tcenc1:k1:!2retnuh")
    assert token not in str(raised.value)
