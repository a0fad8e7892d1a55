"""Texts that hide, and masking by value: what makes G6 true for texts that other people wrote (floor: ground, pure)."""

import base64
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NoReturn, Self, SupportsIndex
from urllib.parse import quote, quote_plus

from attrs import field, frozen

from tenantcollect.errors import TenantcollectError

__all__ = ["MASK", "Masker", "Secret", "discreetly", "one_line", "storable"]

MASK = "***"
SHORTEST_SECRET = 4
SHORTEST_LINE = 16
LONGEST_TEXT = 4000
PASSWORDS = re.compile(
    r"""(?P<url>(?<=://)[^/\s:@]*:)[^/\s"'<>]+@|(?P<pair>\b(?:password|passwd|pwd)=)(?:'[^']*'|[^\s&'"]+)""",
    re.IGNORECASE,
)
# What browsers' encodeURIComponent, encodeURI and our own libraries leave as it is.
URL_SAFE = ("", "/", "!'()*", "!#$&'()*+,/:;=?@[]")
# Control, line-separating and bidirectional characters that would let a text forge a line or a terminal, and
# surrogates, which no stream can write.
FORGERY = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class Secret:
    """A text that shows itself to nobody who does not ask: not in repr, str, format or JSON, and it does not pickle."""

    __slots__ = ("_text",)

    def __init__(self, text: "str | Secret") -> None:
        self._text: str = text.reveal() if isinstance(text, Secret) else text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __eq__(self, other: object) -> bool:
        return self._text == other._text if isinstance(other, Secret) else NotImplemented

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __repr__(self) -> str:
        return f"Secret({MASK!r})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        """Raises :class:`TypeError`: what is pickled is written somewhere."""
        raise TypeError("a Secret does not pickle; hand over where it can be read, not the secret")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self


@contextmanager
def discreetly(what: str) -> Iterator[None]:
    """Run code of the host's that handles secrets which nobody has told us yet, so that they cannot be masked.

    Of what it raises, our own errors go through; of any other the class and the place are kept, not the message.
    """
    try:
        yield
    except TenantcollectError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, its message may hold a secret
        told = f"{what} raised {type(error).__name__} {_place(error)}"
        raise TenantcollectError(f"{told}; its message may hold a secret and is not kept") from None


def _place(error: BaseException) -> str:
    """Where ``error`` was raised."""
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    return f"at {at.tb_frame.f_code.co_filename}:{at.tb_lineno}" if at is not None else "somewhere"


@frozen
class Masker:
    """Replaces secret values in any text, also in the forms that URLs, base64, JSON and repr give them.

    In base64 it finds a secret at any place of a longer text, as in ``user:secret`` of Basic auth; not one that
    is broken over several lines. Its own repr shows none of them.
    """

    forms: tuple[str, ...] = field(repr=False, default=())

    @classmethod
    def of(cls, secrets: Iterable[str]) -> Self:
        """A masker of ``secrets``; values shorter than four characters would mask words and are left.

        Of a secret of several lines, such as a private key, each long line is a secret too.
        """
        parts = {part for secret in secrets for part in _parts(secret) if len(part) >= SHORTEST_SECRET}
        return cls(tuple(sorted({form for part in parts for form in _forms(part)})))

    def mask(self, text: str) -> str:
        """``text`` with every secret, and every password inside a URL or a DSN, replaced by ``***``."""
        shown, at = [], 0
        for start, end in _merged(span for form in self.forms for span in _spans(text, form)):
            shown += [text[at:start], MASK]
            at = end
        return PASSWORDS.sub(_hidden, "".join((*shown, text[at:])))

    def storable(self, text: str) -> str:
        """``text`` masked, then cut, as errors, warnings and progress are stored."""
        return storable(self.mask(text))


def _hidden(found: re.Match[str]) -> str:
    return f"{found['url']}{MASK}@" if found["url"] is not None else f"{found['pair']}{MASK}"


def _spans(text: str, form: str) -> Iterator[tuple[int, int]]:
    start = text.find(form)
    while start >= 0:
        yield start, start + len(form)
        start = text.find(form, start + 1)


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def _parts(secret: str) -> Iterator[str]:
    yield secret
    yield secret.strip()
    yield from (line for line in map(str.strip, secret.splitlines()) if len(line) >= SHORTEST_LINE)


def _forms(secret: str) -> Iterator[str]:
    raw = secret.encode("utf-8", "surrogatepass")
    yield from (secret, repr(secret)[1:-1], ascii(secret)[1:-1], repr(raw)[2:-1])
    yield repr("'\"" + secret)[4:-1]  # in a text that holds both kinds of quotes
    for escaped in (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]):
        yield from (escaped, escaped.replace("/", "\\/"))
    urls = [quote(secret, safe=safe, errors="replace") for safe in URL_SAFE]
    for url in (*urls, quote_plus(secret, errors="replace")):
        yield from (url, re.sub("%..", lambda code: code.group().lower(), url))
    yield from _base64_forms(raw)


def _base64_forms(raw: bytes) -> Iterator[str]:
    """What the secret alone decides: inside a longer base64 text it stands at one of three alignments."""
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for offset in range(3):
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
