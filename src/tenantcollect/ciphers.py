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

from tenantcollect.errors import ConfigurationError, SecretUnreadable
from tenantcollect.secrets import discreetly

__all__ = ["NO_CIPHER", "AtRest", "Cipher"]

PREFIX = "tcenc1:"
KEY_ID = re.compile(r"[0-9A-Za-z._-]{0,64}")
NO_CIPHER = "give connect() a cipher, or set TENANTCOLLECT_CIPHER_KEYS for the command line"


class Cipher(Protocol):
    """1. ``decrypt`` gives back what ``encrypt`` was given, for the same ``bound_to`` and with the same cipher key
    only: a ciphertext that was copied or changed is refused. 2. A ciphertext is printable ASCII. 3. Both may be
    called from any thread.
    """

    @property
    def key_id(self) -> str:
        """The id of the cipher key that encrypts from now on: letters and digits that tell nothing of the key."""
        ...

    def encrypt(self, text: str, *, bound_to: str) -> str:
        """The ciphertext of ``text``, which only ``decrypt`` with the same ``bound_to`` opens."""
        ...

    def decrypt(self, ciphertext: str, *, bound_to: str, key_id: str) -> str:
        """The text that was encrypted with the cipher key ``key_id``.

        Raises :class:`SecretUnreadable`, saying why, and naming no secret. Of any other error only the class is
        kept, and the window is tried again later.
        """
        ...


@frozen
class AtRest:
    """The stored texts of secrets, with a cipher or without."""

    cipher: Cipher | None = None

    def stored(self, text: str, bound_to: tuple[str, str, str]) -> str:
        """What to store for the secret ``text``: encrypted with the newest cipher key, if there is a cipher.

        ``bound_to`` is its place: tenant, data source and config key.
        """
        if (cipher := self.cipher) is None:
            return plain(text)
        bound = _bound(bound_to)
        return self._asked(lambda: f"{PREFIX}{cipher.key_id}:{cipher.encrypt(text, bound_to=bound)}")

    def text(self, stored: str, bound_to: tuple[str, str, str]) -> str:
        """The secret that stands in ``stored``. Raises :class:`SecretUnreadable`, saying why."""
        key_id, text = _parted(stored)
        if not key_id:
            return text
        if (cipher := self.cipher) is None:
            raise SecretUnreadable(f"it is encrypted with the cipher key {key_id}, and there is no cipher; {NO_CIPHER}")
        return self._asked(lambda: cipher.decrypt(text, bound_to=_bound(bound_to), key_id=key_id))

    def newest(self, stored: str) -> bool:
        """Whether ``stored`` was encrypted with the newest cipher key."""
        cipher = self.cipher
        return cipher is not None and encrypted_with(stored) == self._asked(lambda: cipher.key_id)

    def require(self) -> None:
        """Raises :class:`ConfigurationError` unless there is a cipher."""
        if self.cipher is None:
            raise ConfigurationError(f"there is no cipher; {NO_CIPHER}")

    def _asked(self, ask: Callable[[], str]) -> str:
        """What the cipher answers."""
        return discreetly(f"the cipher {type(self.cipher).__name__}", ask)


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
    return (key_id, rest) if colon and KEY_ID.fullmatch(key_id) else ("?", "")


def _bound(place: tuple[str, str, str]) -> str:
    """The place as one text, different for different places."""
    return json.dumps(place)
