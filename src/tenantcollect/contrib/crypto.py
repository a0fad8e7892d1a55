"""Encrypts secrets at rest with Fernet keys; needs the extra ``[crypto]`` (floor: contrib).

Fernet is AES-128-CBC with HMAC-SHA256 of the `cryptography` package. It takes no associated data, so the place a
secret is bound to is encrypted with it and compared when it is read.
"""

import base64
import hashlib
import json
from collections.abc import Iterable
from typing import NoReturn, Self, SupportsIndex

from tenantcollect.errors import CipherKeyMissing, ConfigurationError, SecretUnreadable
from tenantcollect.secrets import Secret

try:
    from cryptography.fernet import Fernet, InvalidToken, MultiFernet
except ImportError:
    raise ConfigurationError(
        'secrets cannot be encrypted without the package cryptography; run: pip install "tenantcollect[crypto]"'
    ) from None

__all__ = ["FernetCipher"]

ID_LENGTH = 8
NEW_KEY = 'python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"'


class FernetCipher:
    """A :class:`~tenantcollect.ciphers.Cipher` of Fernet keys, newest first: the first encrypts, all decrypt.

    The id of a key is the beginning of its SHA-256. Shows and pickles no key. Raises
    :class:`ConfigurationError` for no key, and for a text that is none.
    """

    def __init__(self, keys: str | bytes | Secret | Iterable[str | bytes | Secret]) -> None:
        given = [keys] if isinstance(keys, str | bytes | Secret) else keys
        texts = [_text(key, number) for number, key in enumerate(given, start=1)]
        if not texts:
            raise ConfigurationError(f"a cipher needs a key; make one with: {NEW_KEY}")
        self._fernet = MultiFernet([_fernet(text, number) for number, text in enumerate(texts, start=1)])
        self.key_ids = tuple(_id(text) for text in texts)
        """The ids of all keys, newest first."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """The cipher of the keys in ``text``, separated by commas or white space, newest first."""
        return cls(text.replace(",", " ").split())

    @property
    def key_id(self) -> str:
        """The id of the newest key."""
        return self.key_ids[0]

    def encrypt(self, text: str, *, bound_to: str) -> str:
        """See :meth:`tenantcollect.ciphers.Cipher.encrypt`."""
        return self._fernet.encrypt(json.dumps([bound_to, text]).encode()).decode("ascii")

    def decrypt(self, ciphertext: str, *, bound_to: str, key_id: str) -> str:
        """See :meth:`tenantcollect.ciphers.Cipher.decrypt`."""
        if key_id not in self.key_ids:
            given = ", ".join(self.key_ids)
            raise CipherKeyMissing(f"it is encrypted with the cipher key {key_id}, which is not given ({given} is)")
        try:
            bound, text = json.loads(self._fernet.decrypt(ciphertext))
        except (InvalidToken, ValueError, TypeError):
            raise SecretUnreadable(f"it was damaged or changed after the cipher key {key_id} encrypted it") from None
        if bound != bound_to:
            raise SecretUnreadable("it was encrypted for another tenant, data source or key, and copied here")
        return str(text)

    def __repr__(self) -> str:
        return f"FernetCipher({', '.join(self.key_ids)})"

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        """Raises :class:`TypeError`: a key that is pickled is written somewhere."""
        raise TypeError("a FernetCipher does not pickle; make it where it is used")


def _text(key: str | bytes | Secret, number: int) -> Secret:
    """A key as a text; ``Fernet.generate_key()`` gives bytes."""
    try:
        return Secret(key.decode("ascii") if isinstance(key, bytes) else key)
    except (ValueError, TypeError):
        raise _no_key(number) from None


def _fernet(key: Secret, number: int) -> Fernet:
    try:
        return Fernet(key.reveal())
    except (ValueError, TypeError):
        raise _no_key(number) from None


def _no_key(number: int) -> ConfigurationError:
    return ConfigurationError(f"cipher key {number} is not 32 bytes in URL-safe base64; make one with: {NEW_KEY}")


def _id(key: Secret) -> str:
    return hashlib.sha256(base64.urlsafe_b64decode(key.reveal())).hexdigest()[:ID_LENGTH]
