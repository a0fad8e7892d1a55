"""What is given by a file or the environment, because it must not stand on a command line (floor: cli)."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tenantcollect.ciphers import Cipher

KEYS_VARIABLE = "TENANTCOLLECT_CIPHER_KEYS"
CIPHERS = "tenantcollect.ciphers"
LARGEST_FILE = 64 * 1024


def text_of(name: str, given: str) -> str:
    """What was given for ``name``; of ``@FILE`` what stands in the file. Raises :class:`ConfigurationError`."""
    from tenantcollect.errors import ConfigurationError

    if not given.startswith("@"):
        return given
    try:
        with Path(given[1:]).open("rb") as file:
            raw = file.read(LARGEST_FILE + 1)
        if len(raw) > LARGEST_FILE:
            raise ConfigurationError(f"{name} {given}: the file is larger than {LARGEST_FILE // 1024} KiB")
        return raw.decode("utf-8-sig").strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigurationError(f"{name} {given}: the file cannot be read ({reason})") from None


def cipher_problem() -> str | None:
    """Why the keys in the environment cannot be used; None if they can, or there are none."""
    from tenantcollect.errors import ConfigurationError

    try:
        environment_cipher()
    except ConfigurationError as error:
        return str(error)
    return None


def environment_cipher() -> "Cipher | None":
    """The cipher of the keys in the environment; None if there are none. Each process that needs one calls it.

    Raises :class:`ConfigurationError` for keys that are none, and where the extra is missing.
    """
    text = text_of(KEYS_VARIABLE, os.environ.get(KEYS_VARIABLE, "").strip())
    if not text:
        return None
    from importlib.metadata import entry_points

    from tenantcollect.errors import ConfigurationError

    entry = next(iter(entry_points(group=CIPHERS, name="fernet")), None)
    if entry is None:
        raise ConfigurationError('no cipher is installed; run: pip install --force-reinstall "tenantcollect[crypto]"')
    cipher: Cipher = entry.load()(text)
    return cipher
