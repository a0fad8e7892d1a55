"""How a secret stands in a table: the contract of a cipher, and the text around what it made (floor: contracts, pure).

tcenc1:<cipher key id>:<ciphertext>     encrypted
tcenc1::<text>                          a plain text that begins like an encrypted one
anything else                           a plain text
"""

import json
import re
from collections.abc import Callable
from typing import Protocol

from attrs import frozen

from tenantcollect.errors import CipherKeyMissing, ConfigurationError, SecretUnreadable
from tenantcollect.secrets import discreetly

__all__ = ["NO_CIPHER", "PREFIX", "AtRest", "Cipher", "encrypted_with", "plain"]

PREFIX = "tcenc1:"
KEY_ID = re.compile(r"[0-9A-Za-z._-]{1,64}")
UNKNOWN = "?"
CIPHERTEXT = re.compile(r"[\x20-\x7e]+")
NO_CIPHER = "give connect() a cipher, or set TENANTCOLLECT_CIPHER_KEYS for the command line"


class Cipher(Protocol):
    """1. ``decrypt`` gives back what ``encrypt`` was given, for the same ``bound_to`` and with the same cipher key
    only: a ciphertext that was copied or changed is refused. 2. A ciphertext is printable ASCII. 3. Both may be
    called from any thread. What does not keep to this is refused before anything is stored.
    """

    @property
    def key_id(self) -> str:
        """The id of the cipher key that encrypts from now on: 1 to 64 of letters, digits and ``._-``, which tell
        nothing of the key.
        """
        ...

    def encrypt(self, text: str, *, bound_to: str) -> str:
        """The ciphertext of ``text``, which only ``decrypt`` with the same ``bound_to`` opens."""
        ...

    def decrypt(self, ciphertext: str, *, bound_to: str, key_id: str) -> str:
        """The text that was encrypted with the cipher key ``key_id``.

        Raises :class:`SecretUnreadable`, saying why, and naming no secret: nobody can open it, and the source is held.
        Raises :class:`CipherKeyMissing` where only this process was not given the key: another one may go on with it.
        Of any other error only the class is kept, and the window is tried again later.
        """
        ...


@frozen
class AtRest:
    """The stored texts of secrets, with a cipher or without."""

    cipher: Cipher | None = None

    def stored(self, text: str, bound_to: tuple[str, str, str]) -> str:
        """What to store for the secret ``text``: encrypted with the newest cipher key, if there is a cipher.

        ``bound_to`` is its place: tenant, data source and config key. Raises :class:`ConfigurationError` for what no
        cipher may give.
        """
        if (cipher := self.cipher) is None:
            return plain(text)
        key_id = self._key_id(cipher)
        made = self._asked(lambda: cipher.encrypt(text, bound_to=_bound(bound_to)))
        if not isinstance(made, str) or not CIPHERTEXT.fullmatch(made):
            raise self._wrong("a ciphertext is a text of printable ASCII characters, and not empty")
        return f"{PREFIX}{key_id}:{made}"

    def anew(self, text: str, bound_to: tuple[str, str, str]) -> str:
        """As :meth:`stored`, and proven to give the same text back."""
        stored = self.stored(text, bound_to)
        if self.text(stored, bound_to) != text:
            raise self._wrong("it does not give back what it encrypted")
        return stored

    def text(self, stored: str, bound_to: tuple[str, str, str]) -> str:
        """The secret that stands in ``stored``. Raises :class:`SecretUnreadable`, saying why."""
        key_id, text = _parted(stored)
        if not key_id:
            return text
        if key_id == UNKNOWN:
            raise SecretUnreadable("it begins as what is encrypted, and names no cipher key: it was damaged or changed")
        if (cipher := self.cipher) is None:
            raise CipherKeyMissing(f"it is encrypted with the cipher key {key_id}, and there is no cipher; {NO_CIPHER}")
        found = self._asked(lambda: cipher.decrypt(text, bound_to=_bound(bound_to), key_id=key_id))
        if not isinstance(found, str):
            raise self._wrong(f"it decrypts to {type(found).__name__}, and not to a text")
        return found

    def newest(self, stored: str) -> bool:
        """Whether ``stored`` was encrypted with the newest cipher key."""
        return self.cipher is not None and encrypted_with(stored) == self._key_id(self.cipher)

    def require(self) -> None:
        """Raises :class:`ConfigurationError` unless there is a cipher."""
        if self.cipher is None:
            raise ConfigurationError(f"there is no cipher; {NO_CIPHER}")

    def _key_id(self, cipher: Cipher) -> str:
        key_id = self._asked(lambda: cipher.key_id)
        if not isinstance(key_id, str) or not KEY_ID.fullmatch(key_id):
            raise self._wrong("its key_id must be 1 to 64 of letters, digits, '.', '_' and '-'")
        return key_id

    def _asked(self, ask: Callable[[], object]) -> object:
        """What the cipher answers."""
        return discreetly(f"the cipher {type(self.cipher).__name__}", ask)

    def _wrong(self, problem: str) -> ConfigurationError:
        return ConfigurationError(f"the cipher {type(self.cipher).__name__} cannot be used: {problem}")


def plain(text: str) -> str:
    """What to store for a ``text`` that is not encrypted."""
    return f"{PREFIX}:{text}" if text.startswith(PREFIX) else text


def encrypted_with(stored: str) -> str:
    """The id of the cipher key that ``stored`` was encrypted with; empty = it is a plain text."""
    return _parted(stored)[0]


def _parted(stored: str) -> tuple[str, str]:
    """The id of the cipher key and the ciphertext, or nothing and the plain text."""
    if not stored.startswith(PREFIX):
        return "", stored
    key_id, colon, rest = stored.removeprefix(PREFIX).partition(":")
    return (key_id, rest) if colon and (not key_id or KEY_ID.fullmatch(key_id)) else (UNKNOWN, "")


def _bound(place: tuple[str, str, str]) -> str:
    """The place as one text, different for different places."""
    return json.dumps(place)
