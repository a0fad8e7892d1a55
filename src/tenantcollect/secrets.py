"""Masking by value: what makes G6 true for texts that other people wrote (floor: ground, pure)."""

import base64
import re
from collections.abc import Iterable
from typing import Self
from urllib.parse import quote, quote_plus

from attrs import field, frozen

__all__ = ["MASK", "Masker", "one_line", "storable"]

MASK = "***"
SHORTEST_SECRET = 4
LONGEST_TEXT = 4000
URL_PASSWORD = re.compile(r"(?<=://)([^/\s:@]*):([^/\s@]+)@")
# Control, line-separating and bidirectional characters that would let a text forge a line or a terminal.
FORGERY = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@frozen
class Masker:
    """Replaces secret values, also url-encoded and base64 forms, in any text; its repr shows none of them."""

    forms: tuple[str, ...] = field(repr=False, default=())

    @classmethod
    def of(cls, secrets: Iterable[str]) -> Self:
        """A masker of ``secrets``; values shorter than four characters would mask ordinary words and are left."""
        forms = {form for secret in secrets if len(secret) >= SHORTEST_SECRET for form in _forms(secret)}
        return cls(tuple(sorted(forms, key=lambda form: (-len(form), form))))

    def mask(self, text: str) -> str:
        """``text`` with every secret, and every password inside a URL, replaced by ``***``."""
        for form in self.forms:
            text = text.replace(form, MASK)
        return URL_PASSWORD.sub(rf"\1:{MASK}@", text)

    def storable(self, text: str) -> str:
        """``text`` masked, then cut, as errors, warnings and progress are stored."""
        return storable(self.mask(text))


def _forms(secret: str) -> Iterable[str]:
    raw = secret.encode("utf-8", "surrogatepass")
    yield secret
    yield repr(secret)[1:-1]
    yield quote(secret, safe="", errors="replace")
    yield quote(secret, errors="replace")
    yield quote_plus(secret, errors="replace")
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for offset in range(3):
            # A secret inside a longer base64 text (Basic auth) stands at one of three alignments.
            form = encode(b"\0" * offset + raw).decode("ascii").rstrip("=")[(offset * 8 + 5) // 6 :]
            form = form[:-1] if (offset + len(raw)) % 3 else form
            if len(form) >= SHORTEST_SECRET:
                yield form


def storable(text: str) -> str:
    """``text`` without NUL and surrogates, cut at 4000 characters with the end kept visible."""
    text = text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
    if len(text) <= LONGEST_TEXT:
        return text
    half = (LONGEST_TEXT - 5) // 2
    return f"{text[:half]} ... {text[-half:]}"


def one_line(text: str) -> str:
    """``text`` with everything that could forge a line or drive a terminal written as an escape."""
    return FORGERY.sub(lambda match: ascii(match.group())[1:-1], text)
